//! How other programs reach the supervisor of a zone.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::apply::paths::Root;
use crate::apply::rundir::{CONSOLE, WATCHED};
use crate::apply::trust;
use crate::plan::bootargs::BootArgs;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::sys::channel::Channel;
use crate::sys::naive::handed_on;
use crate::sys::path::reason;
use crate::sys::process::{default_sigchld, start_time};
use crate::sys::trace;

/// Why the supervisor could not be asked, or what it answered.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens.
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

/// Says whether somebody watches the console.
pub fn is_watched(root: &Root, name: &ZoneName) -> bool {
    let text = trust::read(&root.zone_run(name).join(WATCHED), 32).unwrap_or_default();
    text.trim().parse().is_ok_and(|pid| start_time(pid).is_some())
}

/// Asks the supervisor of a ready zone to start init.
///
/// # Errors
/// [`CallError`].
pub fn boot(root: &Root, name: &ZoneName, args: &BootArgs) -> Result<(), CallError> {
    let mut stream =
        UnixStream::connect(root.zone_run(name).join(CONSOLE)).map_err(CallError::Unreachable)?;
    log::debug!("ask zoneadmd to start init");
    stream.write_all(format!("BOOT {}\n", args.line()).as_bytes()).map_err(CallError::Unreachable)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(CallError::Unreachable)?;
    match answer.trim_end() {
        "OK" => Ok(()),
        "" => Err(CallError::Unreachable(io::ErrorKind::UnexpectedEof.into())),
        text => Err(CallError::Refused(text.to_owned())),
    }
}

/// Ends the supervisor that serves the console of a halted zone; who watches is told why.
pub fn dismiss(root: &Root, name: &ZoneName, notice: &str) {
    let Ok(mut stream) = UnixStream::connect(root.zone_run(name).join(CONSOLE)) else { return };
    log::debug!("ask zoneadmd to hand the console over");
    if stream.write_all(b"HANDOVER\n").is_err() {
        return;
    }
    // The second descriptor is the connection of the one who watches; the first is the socket itself.
    if let Ok(message) = Channel::from_fd(stream.into()).receive()
        && let Some(watcher) = message.fds.into_iter().nth(1)
    {
        let mut watcher = UnixStream::from(watcher);
        // One who does not read is not waited for.
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

/// Starts a supervisor for a zone that has none: it takes a running zone over, or serves the console
/// of one that is halted. Returns when it answers.
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
