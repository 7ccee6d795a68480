//! How others reach the guard: zlogin with the listener of a process that enters, zoneadmd to hold all
//! of them as well, and whoever finds the guard dead.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

use super::SOCKET;
use super::serve::{ALL, HEARD, KEEP, LISTEN, ONE};
use crate::apply::console::client::{self, CallError};
use crate::apply::dataset::registry;
use crate::apply::paths::Root;
use crate::apply::protocol::GUARD;
use crate::apply::running::Running;
use crate::spec::ZoneName;
use crate::sys::channel::{Channel, Message};
use crate::sys::path::reason;

/// How long a guard that has died may take to be replaced.
const REPLACED_WITHIN: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(5);

/// Why the guard cannot be reached.
#[derive(Debug, Error)]
pub enum RefuseReason {
    /// It does not answer.
    #[error("the guard of its datasets does not answer: {}; halt and boot the zone", reason(.0))]
    Unreachable(#[source] io::Error),
    /// Its supervisor cannot be started.
    #[error("{0}")]
    Supervisor(#[from] CallError),
}

/// What was found of a zone's guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It answers, or the zone needs none.
    Yes,
    /// Everybody who held its listeners had died. There is a new one, but not for the processes that run.
    Anew,
}

impl Guarded {
    /// Returns what the administrator should know.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::Anew => Some(
                "WARNING: the guard of the zone's datasets had died with zoneadmd: ZFS requests that are checked fail in all processes that run now, until the zone is rebooted; new logins are guarded again.",
            ),
        }
    }
}

/// Says whether a running zone has delegated datasets.
pub fn is_needed(root: &Root, name: &ZoneName) -> bool {
    !registry::noted(&root.zone_run(name)).is_empty()
}

fn connect(root: &Root, name: &ZoneName) -> io::Result<UnixStream> {
    UnixStream::connect(root.zone_run(name).join(SOCKET))
}

/// Makes sure that a running zone with datasets has its guard and supervisor.
///
/// # Errors
/// [`RefuseReason`].
pub fn ensure(root: &Root, name: &ZoneName, running: &Running) -> Result<Guarded, RefuseReason> {
    if !is_needed(root, name) {
        return Ok(Guarded::Yes);
    }
    let answers = || connect(root, name).is_ok();
    let alive = answers();
    if running.supervisor_alive() {
        if alive {
            return Ok(Guarded::Yes);
        }
        wait_for_guard(root, name)?;
        return Ok(Guarded::Yes);
    }
    client::start(root, name)?;
    if alive {
        return Ok(Guarded::Yes);
    }
    wait_for_guard(root, name)?;
    Ok(Guarded::Anew)
}

fn wait_for_guard(root: &Root, name: &ZoneName) -> Result<UnixStream, RefuseReason> {
    let start = Instant::now();
    loop {
        match connect(root, name) {
            Ok(stream) => return Ok(stream),
            Err(e) if start.elapsed() > REPLACED_WITHIN => return Err(RefuseReason::Unreachable(e)),
            Err(_) => std::thread::sleep(BETWEEN),
        }
    }
}

/// Has the guard hear a listener, and waits until it does.
///
/// # Errors
/// The system's error; `ECONNREFUSED` when there is no guard.
pub fn enlist(root: &Root, name: &ZoneName, listener: BorrowedFd<'_>) -> io::Result<()> {
    let (_, message) = call(root, name, LISTEN, &[listener])?;
    if message.text == HEARD { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
}

/// Sends a request to the guard and returns its first answer. A guard of a former release, which closes the
/// connection on a request with a version, is asked again in its way.
fn call(
    root: &Root,
    name: &ZoneName,
    request: &str,
    fds: &[BorrowedFd<'_>],
) -> io::Result<(Channel, Message)> {
    let ask = |request: &str| {
        let stream = connect(root, name)?;
        stream.set_read_timeout(Some(REPLACED_WITHIN))?;
        let channel = Channel::from_fd(stream.into());
        channel.send(request, fds)?;
        let message = channel.receive()?;
        io::Result::Ok((channel, message))
    };
    let (channel, message) = ask(&GUARD.request(request))?;
    if message.text.is_empty() { ask(request) } else { Ok((channel, message)) }
}

/// Holds every listener of a guard, so that the guard can be replaced.
#[derive(Debug)]
pub struct Keeper {
    channel: Channel,
    listeners: Vec<OwnedFd>,
}

impl Keeper {
    /// Connects to the guard of a zone; none when there is no guard.
    pub fn connect(root: &Root, name: &ZoneName) -> Option<Self> {
        let (channel, first) = call(root, name, KEEP, &[]).ok()?;
        let mut keeper = Self { channel, listeners: Vec::new() };
        let mut message = first;
        loop {
            keeper.listeners.extend(message.fds);
            // Texts without descriptors may come together.
            if message.text.ends_with(ALL) {
                return Some(keeper);
            }
            if !message.text.ends_with(ONE) {
                return None;
            }
            message = keeper.channel.receive().ok()?;
        }
    }

    /// Takes what the guard has sent. Says whether the guard lives.
    pub fn take(&mut self) -> bool {
        let Ok(message) = self.channel.receive() else { return false };
        if message.text.is_empty() {
            return false;
        }
        self.listeners.retain(|fd| !is_dead(fd));
        self.listeners.extend(message.fds);
        true
    }

    /// Returns the listeners.
    pub fn listeners(&self) -> Vec<BorrowedFd<'_>> {
        self.listeners.iter().map(AsFd::as_fd).collect()
    }
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Says whether no process is left that could ask through a listener.
fn is_dead(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Guards up to 0.1.0 closed the connection on what they did not know.
    #[test]
    fn a_guard_of_the_former_release_is_asked_in_its_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(Some(folder.path()));
        let name = ZoneName::new("zion").expect("a name");
        std::fs::create_dir_all(root.zone_run(&name)).expect("a folder");
        let socket = UnixListener::bind(root.zone_run(&name).join(SOCKET)).expect("a socket");
        let server = std::thread::spawn(move || {
            let serve = || {
                let channel = Channel::from_fd(socket.accept().expect("a connection").0.into());
                let message = channel.receive().expect("a request");
                match (message.text.as_str(), message.fds.as_slice()) {
                    ("LISTEN", [_]) => channel.send("heard", &[]).expect("sent"),
                    ("KEEP", _) => channel.send("all", &[]).expect("sent"),
                    _ => {}
                }
                message.text
            };
            (0..4).map(|_| serve()).collect::<Vec<_>>()
        });
        let any = std::fs::File::open("/dev/null").expect("a descriptor");
        enlist(&root, &name, any.as_fd()).expect("it hears");
        assert!(Keeper::connect(&root, &name).is_some_and(|k| k.listeners().is_empty()));
        let asked = server.join().expect("it ends");
        assert_eq!(asked, ["zoneadmd-guard 1 LISTEN", "LISTEN", "zoneadmd-guard 1 KEEP", "KEEP"]);
    }
}
