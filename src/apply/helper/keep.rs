//! Access to a helper: for a command with a descriptor for it, and for zoneadmd, which holds all of them as well.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Helper;
use crate::apply::console::client::REFUSED;
use crate::apply::paths::Root;
use crate::apply::protocol::Protocol;
use crate::spec::ZoneName;
use crate::sys::channel::{Channel, Message};

/// How long the replacement of a dead helper, and the answer of a helper, may take.
pub const REPLACED_WITHIN: Duration = Duration::from_secs(2);

/// The request to serve a descriptor, which comes with it.
const LISTEN: &str = "LISTEN";
/// The request to be given every descriptor, now and later.
const KEEP: &str = "KEEP";
/// A descriptor.
const ONE: &str = "one";
/// All descriptors that there were have been sent.
const ALL: &str = "all";
/// The helper serves it.
const HEARD: &str = "heard";

/// Connects to the helper of a zone.
///
/// # Errors
/// The system's error; `NotFound` or `ConnectionRefused` when there is none.
pub fn connect(kind: &Helper, root: &Root, name: &ZoneName) -> io::Result<UnixStream> {
    UnixStream::connect(root.zone_run(name).join(kind.socket))
}

/// Has the helper serve a descriptor, and waits until it does.
///
/// # Errors
/// The system's error; `ECONNREFUSED` when there is no helper.
pub fn enlist(kind: &Helper, root: &Root, name: &ZoneName, fd: BorrowedFd<'_>) -> io::Result<()> {
    let (_, message) = call(kind, root, name, LISTEN, &[fd])?;
    if message.text == HEARD { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
}

/// Sends a request to the helper and returns its first answer. A helper of a former release, which closes the
/// connection on a request with a version, is asked again in the former protocol.
fn call(
    kind: &Helper,
    root: &Root,
    name: &ZoneName,
    request: &str,
    fds: &[BorrowedFd<'_>],
) -> io::Result<(Channel, Message)> {
    let ask = |request: &str| {
        let stream = connect(kind, root, name)?;
        stream.set_read_timeout(Some(REPLACED_WITHIN))?;
        let channel = Channel::from_fd(stream.into());
        channel.send(request, fds)?;
        let message = channel.receive()?;
        io::Result::Ok((channel, message))
    };
    let (channel, message) = ask(&kind.protocol.request(request))?;
    if message.text.is_empty() { ask(request) } else { Ok((channel, message)) }
}

/// Holds every descriptor of a helper, so that the helper can be replaced.
#[derive(Debug)]
pub struct Keeper {
    channel: Channel,
    held: Vec<OwnedFd>,
}

impl Keeper {
    /// Connects to the helper of a zone; none when there is no helper.
    pub fn connect(kind: &Helper, root: &Root, name: &ZoneName) -> Option<Self> {
        let (channel, mut message) = call(kind, root, name, KEEP, &[]).ok()?;
        let mut keeper = Self { channel, held: Vec::new() };
        loop {
            keeper.held.extend(message.fds);
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

    /// Takes the descriptors that the helper has sent. Says whether the helper lives.
    pub fn take(&mut self) -> bool {
        let Ok(message) = self.channel.receive() else { return false };
        if message.text.is_empty() {
            return false;
        }
        self.held.retain(|fd| !is_dead(fd));
        self.held.extend(message.fds);
        true
    }

    /// Returns the descriptors.
    pub fn held(&self) -> Vec<BorrowedFd<'_>> {
        self.held.iter().map(AsFd::as_fd).collect()
    }
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Says whether no process is left at the other end.
fn is_dead(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().contains(PollFlags::HUP)
}

/// The socket on which a helper is asked to serve descriptors, and the connections of the processes that keep all
/// descriptors that it serves.
#[derive(Debug)]
pub struct HelperSocket {
    socket: UnixListener,
    protocol: Protocol,
    keepers: Vec<Channel>,
}

/// A descriptor that has come to be served.
#[derive(Debug)]
pub struct Arrived {
    /// The descriptor.
    pub fd: OwnedFd,
    /// Where its sender waits until it is served.
    pub sender: FdSender,
}

/// The process that has sent a descriptor.
#[derive(Debug)]
pub struct FdSender(Channel);

impl FdSender {
    /// Confirms to the sender that it is served.
    pub fn confirm(self) {
        let _ = self.0.send(HEARD, &[]);
    }
}

impl HelperSocket {
    /// Puts the socket of a helper together.
    pub fn new(socket: UnixListener, protocol: Protocol) -> Self {
        Self { socket, protocol, keepers: Vec::new() }
    }

    /// Returns the connections of the processes that keep the descriptors; they send nothing.
    pub fn keepers(&self) -> &[Channel] {
        &self.keepers
    }

    /// Forgets the processes that have ended.
    pub fn forget_keepers(&mut self, mut has_gone: impl Iterator<Item = bool>) {
        self.keepers.retain(|_| !has_gone.next().unwrap_or(false));
    }

    /// Answers a connection; `held` are the descriptors that are served. Returns another descriptor to serve.
    pub fn answer(&mut self, held: &[BorrowedFd<'_>]) -> Option<Arrived> {
        let (stream, _) = self.socket.accept().ok()?;
        // The folder is closed to others; this holds even if its mode is changed.
        let is_root = rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|c| c.uid.is_root());
        let patience = Some(Duration::from_secs(1));
        if !is_root
            || stream.set_read_timeout(patience).is_err()
            || stream.set_write_timeout(patience).is_err()
        {
            return None;
        }
        let channel = Channel::from_fd(stream.into());
        let message = channel.receive().ok()?;
        let refuse = |why| drop(channel.send(&format!("{REFUSED}{why}"), &[]));
        let request = match self.protocol.parse(&message.text) {
            Ok(request) => request.words(),
            Err(why) => {
                refuse(why);
                return None;
            }
        };
        match (request, message.fds.into_iter().next()) {
            (LISTEN, Some(fd)) => {
                // The keepers have it before anybody depends on it.
                self.keepers.retain(|k| k.send(ONE, &[fd.as_fd()]).is_ok());
                return Some(Arrived { fd, sender: FdSender(channel) });
            }
            (KEEP, _) => {
                let sent = held.iter().try_for_each(|fd| channel.send(ONE, &[*fd]));
                if sent.and_then(|()| channel.send(ALL, &[])).is_ok() {
                    self.keepers.push(channel);
                }
            }
            // A process that only checks whether the helper lives sends nothing.
            ("", _) => {}
            _ => refuse(self.protocol.unknown(request)),
        }
        None
    }
}

impl AsFd for HelperSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::protocol::GUARD;

    const KIND: Helper = Helper {
        title: "helper",
        state: "STATE",
        socket: "helper.sock",
        protocol: GUARD,
        own_name: "it",
        name: "the helper",
        consequence: "nothing works",
    };

    struct World {
        root: Root,
        name: ZoneName,
        socket: UnixListener,
        _folder: tempfile::TempDir,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(Some(folder.path()));
        let name = ZoneName::new("zion").expect("a name");
        std::fs::create_dir_all(root.zone_run(&name)).expect("a folder");
        let socket = UnixListener::bind(root.zone_run(&name).join(KIND.socket)).expect("a socket");
        World { root, name, socket, _folder: folder }
    }

    /// Guards up to 0.1.0 closed the connection on an unknown request.
    #[test]
    fn a_guard_of_the_former_release_is_asked_in_its_way() {
        let World { root, name, socket, _folder } = world();
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
        enlist(&KIND, &root, &name, any.as_fd()).expect("it is served");
        assert!(Keeper::connect(&KIND, &root, &name).is_some_and(|k| k.held().is_empty()));
        let asked = server.join().expect("it ends");
        assert_eq!(asked, ["zoneadmd-guard 1 LISTEN", "LISTEN", "zoneadmd-guard 1 KEEP", "KEEP"]);
    }

    /// The socket answers root alone: as another user this has nothing to try.
    #[test]
    fn what_is_served_is_kept_and_an_unknown_request_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: the socket of a helper answers root alone");
            return;
        }
        let World { root, name, socket, _folder } = world();
        let server = std::thread::spawn(move || {
            let (mut socket, mut held) = (HelperSocket::new(socket, KIND.protocol), Vec::<OwnedFd>::new());
            for _ in 0..6 {
                let fds: Vec<_> = held.iter().map(AsFd::as_fd).collect();
                if let Some(Arrived { fd, sender }) = socket.answer(&fds) {
                    held.push(fd);
                    sender.confirm();
                }
            }
            (held.len(), socket.keepers().len())
        });
        let any = std::fs::File::open("/dev/null").expect("a descriptor");
        enlist(&KIND, &root, &name, any.as_fd()).expect("it is served");
        let mut keeper = Keeper::connect(&KIND, &root, &name).expect("a helper");
        assert_eq!(keeper.held().len(), 1, "what was there before");
        enlist(&KIND, &root, &name, any.as_fd()).expect("it is served");
        assert!(keeper.take(), "it lives");
        assert_eq!(keeper.held().len(), 2, "what comes later");
        let say = |text: &str| {
            let channel = Channel::from_fd(connect(&KIND, &root, &name).expect("a helper").into());
            channel.send(text, &[]).expect("sent");
            channel.receive().expect("an answer").text
        };
        assert_eq!(say("zoneadmd-guard 1 RELOAD"), "ERROR zoneadmd-guard does not know the request RELOAD");
        assert_eq!(say("LISTEN"), "ERROR zoneadmd-guard does not know the request LISTEN", "without one");
        assert!(say("zoneadmd-guard 7 KEEP").starts_with("ERROR zoneadmd-guard speaks version 1"));
        assert_eq!(server.join().expect("it ends"), (2, 1));
        assert!(!keeper.take(), "it is dead");
        assert_eq!(keeper.held().len(), 2, "and what it had is here");
    }
}
