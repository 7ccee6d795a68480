//! How other programs reach the supervisor of a zone.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::apply::paths::Root;
use crate::apply::protocol::SUPERVISOR;
use crate::apply::rundir::{CONSOLE, WATCHED};
use crate::apply::trust;
use crate::plan::bootargs::BootArgs;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::sys::channel::{Channel, Message};
use crate::sys::naive::handed_on;
use crate::sys::path::reason;
use crate::sys::process::{default_sigchld, start_time};
use crate::sys::trace;

/// Why the supervisor could not be asked, or its refusal.
#[derive(Debug, Error)]
pub enum CallError {
    /// No process listens.
    #[error("call to zoneadmd failed: {}", reason(.0))]
    Unreachable(#[source] io::Error),
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// The program is not there.
    #[error("cannot start zoneadmd: {0}")]
    NotStarted(String),
}

/// Says whether a supervisor answers.
pub fn is_listening(root: &Root, name: &ZoneName) -> bool {
    UnixStream::connect(root.zone_run(name).join(CONSOLE)).is_ok()
}

/// Says whether a client watches the console.
pub fn is_watched(root: &Root, name: &ZoneName) -> bool {
    let text = trust::read(&root.zone_run(name).join(WATCHED), 32).unwrap_or_default();
    text.trim().parse().is_ok_and(|pid| start_time(pid).is_some())
}

/// Longest answer that is one line.
const ANSWER_MAX: usize = 4096;

/// The first word of the answer that refuses a request.
pub const REFUSED: &str = "ERROR ";

/// The first word of the answer to a client of a console that has one already; its process id follows.
pub const BUSY: &str = "BUSY ";

/// The one line of a supervisor's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupervisorReply {
    /// It does it.
    Ok,
    /// The console has the client with this process id.
    Busy(String),
    /// It does not, and says why.
    Refused(String),
    /// A supervisor of a former release does not, and says something about the request.
    Former(String),
}

/// Asks a supervisor, in the present protocol or, where it does not know that, in the former one. Its output after
/// the answer is still to be read from the connection.
///
/// # Errors
/// The system's error; `NotFound` or `ConnectionRefused` when there is no supervisor.
pub fn ask(socket: &Path, request: &str) -> io::Result<(UnixStream, SupervisorReply)> {
    // The blank line: see `protocol`.
    if let Some((stream, line)) = exchange(socket, &format!("\n{}\n", SUPERVISOR.request(request)))? {
        let answer = match (line.as_str(), line.strip_prefix(BUSY), line.strip_prefix(REFUSED)) {
            ("OK", ..) => SupervisorReply::Ok,
            (_, Some(holder), _) => SupervisorReply::Busy(holder.to_owned()),
            (.., text) => SupervisorReply::Refused(text.unwrap_or(&line).to_owned()),
        };
        return Ok((stream, answer));
    }
    log::debug!("zoneadmd is of a former release: ask again in its way");
    let (stream, line) = exchange(socket, &format!("{request}\n"))?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((stream, if line == "OK" { SupervisorReply::Ok } else { SupervisorReply::Former(line) }))
}

/// Sends a request and reads a line; none when the connection is closed instead.
fn exchange(socket: &Path, request: &str) -> io::Result<Option<(UnixStream, String)>> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, Interrupted};
    let mut stream = UnixStream::connect(socket)?;
    let mut line = Vec::new();
    let mut read = || -> io::Result<()> {
        stream.write_all(request.as_bytes())?;
        // Byte by byte: what follows the line belongs to the conversation.
        let mut byte = [0];
        while line.len() < ANSWER_MAX {
            match (stream.read(&mut byte), byte) {
                (Err(e), _) if e.kind() == Interrupted => {}
                (Err(e), _) => return Err(e),
                (Ok(0), _) | (Ok(_), [b'\n']) => break,
                (Ok(_), [byte]) => line.push(byte),
            }
        }
        Ok(())
    };
    match read() {
        Err(e) if !matches!(e.kind(), BrokenPipe | ConnectionReset) => return Err(e),
        _ => {}
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    Ok((!line.is_empty()).then_some((stream, line)))
}

/// Has the supervisor of a halted zone give its socket and its client away and end; none when there is no such
/// supervisor.
///
/// # Errors
/// The system's error.
pub fn take_over(socket: &Path) -> io::Result<Option<Message>> {
    let current = format!("\n{}\n", SUPERVISOR.request("HANDOVER"));
    for request in [current.as_str(), "HANDOVER\n"] {
        let Ok(mut stream) = UnixStream::connect(socket) else { return Ok(None) };
        log::debug!("ask zoneadmd to hand the console over");
        stream.write_all(request.as_bytes())?;
        let message = Channel::from_fd(stream.into()).receive()?;
        if !message.fds.is_empty() {
            return Ok(Some(message));
        }
        if message.text.starts_with(REFUSED) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Asks the supervisor of a ready zone to start init.
///
/// # Errors
/// [`CallError`].
pub fn boot(root: &Root, name: &ZoneName, args: &BootArgs) -> Result<(), CallError> {
    log::debug!("ask zoneadmd to start init");
    let request = format!("BOOT {}", args.line());
    let (_, answer) = ask(&root.zone_run(name).join(CONSOLE), &request).map_err(CallError::Unreachable)?;
    match answer {
        SupervisorReply::Ok => Ok(()),
        SupervisorReply::Busy(text) | SupervisorReply::Refused(text) | SupervisorReply::Former(text) => {
            Err(CallError::Refused(text))
        }
    }
}

/// Ends the supervisor that serves the console of a halted zone; a client that watches gets the reason.
pub fn dismiss(root: &Root, name: &ZoneName, notice: &str) {
    // The second descriptor is the connection of the client; the first is the socket itself.
    if let Ok(Some(message)) = take_over(&root.zone_run(name).join(CONSOLE))
        && let Some(watcher) = message.fds.into_iter().nth(1)
    {
        let mut watcher = UnixStream::from(watcher);
        // This process does not wait for a client that does not read.
        let _ = watcher.set_nonblocking(true);
        let _ = watcher.write_all(format!("\r\n[{}]\r\n", notice.shown()).as_bytes());
    }
}

/// Finds the program `zoneadmd`: beside the running program, as they are installed and built.
pub fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let beside = own.parent()?.join("zoneadmd");
    // Test programs lie one folder below the others.
    let above = own.parent()?.parent()?.join("zoneadmd");
    [beside, above].into_iter().find(|p| p.is_file())
}

/// Starts a supervisor for a zone that has none: it takes a running zone over, or serves the console of a halted
/// one. Returns when it answers.
///
/// # Errors
/// [`CallError`].
#[allow(clippy::disallowed_methods)] // our own program, off the way to init
pub fn start(root: &Root, name: &ZoneName) -> Result<(), CallError> {
    if is_listening(root, name) {
        return Ok(());
    }
    let program = program().ok_or_else(|| CallError::NotStarted("it is not beside this program".into()))?;
    let mut command = Command::new(program);
    command.arg("-z").arg(name.as_str()).env_clear().env("ZONES_ROOT", root.prefix()).current_dir("/");
    command.envs(handed_on()).envs(trace::handed_on());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A caller that ignores the signal would have its children reaped before they can be waited for.
    default_sigchld();
    let mut child = command.spawn().map_err(|e| CallError::NotStarted(reason(&e)))?;
    // It puts itself into the background once it answers.
    let status = child.wait().map_err(|e| CallError::NotStarted(reason(&e)))?;
    let limit = Instant::now() + Duration::from_secs(2);
    while !is_listening(root, name) {
        if Instant::now() > limit {
            return Err(CallError::NotStarted(format!("it does not answer ({status})")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use super::*;

    /// Serves a socket as supervisors up to 0.1.0 did: a blank line closes the connection, `BOOT` is answered,
    /// `HANDOVER` is not as long as the zone runs, and any other word takes the console. Returns the requests.
    fn former(socket: &Path, connections: usize) -> JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(socket).expect("a socket");
        std::thread::spawn(move || {
            let serve = |stream: UnixStream| {
                let mut line = String::new();
                let reader = stream.try_clone().expect("a copy");
                BufReader::with_capacity(1, reader.take(8192)).read_line(&mut line).expect("a line");
                let mut stream = stream;
                let answer = match line.split_whitespace().next() {
                    None | Some("HANDOVER") => "",
                    Some("BOOT") if line.contains("-s") => "OK\n",
                    Some("BOOT") => "zone is already booted\n",
                    Some(_) => "OK\nhello",
                };
                stream.write_all(answer.as_bytes()).expect("the client reads");
                line
            };
            (0..connections).map(|_| serve(listener.accept().expect("a connection").0)).collect()
        })
    }

    #[test]
    fn a_supervisor_of_the_former_release_is_asked_in_its_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(Some(folder.path()));
        let name = ZoneName::new("zion").expect("a name");
        std::fs::create_dir_all(root.zone_run(&name)).expect("a folder");
        let socket = root.zone_run(&name).join(CONSOLE);
        let server = former(&socket, 8);
        boot(&root, &name, &BootArgs::parse("-s")).expect("it boots");
        let refused = boot(&root, &name, &BootArgs::parse("-v")).expect_err("it refuses");
        assert_eq!(refused.to_string(), "zone is already booted");
        let (mut stream, answer) = ask(&socket, "CONNECT 5 C 0").expect("an answer");
        assert_eq!(answer, SupervisorReply::Ok);
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the console");
        assert_eq!(text, "hello", "nothing of the console is lost");
        assert!(take_over(&socket).expect("no error").is_none());
        let asked = server.join().expect("it ends");
        let wanted = ["\n", "BOOT -s\n", "\n", "BOOT -v\n", "\n", "CONNECT 5 C 0\n", "\n", "HANDOVER\n"];
        assert_eq!(asked, wanted);
    }
}
