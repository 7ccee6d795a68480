//! The broker: takes connections, and has one process for each of them.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with, sockopt,
};

use super::room::Room;
use super::{
    BrokerRequest, BrokeredProgram, Caller, MESSAGE_MAX, REQUEST_MAX, answer, client, order, plain, socket,
};
use crate::apply::caller::{log, name_of};
use crate::apply::paths::Root;
use crate::apply::trust;
use crate::spec::shown::Show;
use crate::sys::channel::Channel;
use crate::sys::naive::without;
use crate::sys::ns::{self, Side};
use crate::sys::peer::Peer;
use crate::sys::process;
use crate::sys::pty::{self, Pty};
use crate::sys::tty::{self, Signals};

/// How long a client may take for each thing that it has to say, in milliseconds.
const PATIENCE: u64 = 10_000;
/// The answer to a peer of another user namespace.
const STRANGER: &str = "the caller is in another user namespace than this host";
/// The log says so once in this time, and how many more there were.
const STRANGERS_EACH: Duration = Duration::from_secs(60);
/// A broker that was started for a connection ends when there has been none for so long.
const IDLE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// The broker.
pub struct Broker {
    root: Root,
    listener: OwnedFd,
    /// The socket is the service manager's.
    activated: bool,
    room: Room,
    strangers: Strangers,
}

/// Peers of other user namespaces. They can come as often as they like, and must not fill the log.
#[derive(Default)]
struct Strangers {
    told: Option<Instant>,
    untold: u32,
}

impl Strangers {
    /// Returns the log line for a peer that was refused, if one is due.
    fn note(&mut self, peer: &Peer) -> Option<String> {
        if self.told.is_some_and(|at| at.elapsed() < STRANGERS_EACH) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told = Some(Instant::now());
        let more = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            n => format!(" (and {n} more since this was last said)"),
        };
        Some(format!("uid {}, pid {}: refused: {STRANGER}{more}", peer.uid, peer.pid))
    }
}

impl Broker {
    /// Takes over the socket of the service manager (sd_listen_fds(3)), else makes one.
    ///
    /// # Errors
    /// Returns the message of an error.
    pub fn open(root: &Root) -> Result<Self, String> {
        let (listener, activated) = match inherited()? {
            Some(listener) => (listener, true),
            None => (make(root)?, false),
        };
        Ok(Self {
            root: root.clone(),
            listener,
            activated,
            room: Room::default(),
            strangers: Strangers::default(),
        })
    }

    /// Serves until a signal ends it, or no client has come for a while.
    ///
    /// # Errors
    /// The system's error.
    pub fn serve(mut self) -> io::Result<()> {
        process::default_sigchld();
        let signals = Signals::take(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT])?;
        loop {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            let limit = (self.activated && self.room.is_empty()).then_some(&IDLE);
            match poll(&mut fds, limit) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let called = !fds[0].revents().is_empty();
            while let Some(signal) = signals.next() {
                if signal != Signal::SIGCHLD {
                    // A client that is being served is served to the end.
                    if !self.activated {
                        let _ = fs::remove_file(socket(&self.root));
                    }
                    return Ok(());
                }
            }
            self.room.sweep(|pid| process::reap(pid).is_some());
            if called {
                self.answer();
            }
        }
    }

    fn answer(&mut self) {
        // A client that has gone again is no failure.
        let Ok(connection) = accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        let Ok(peer) = Peer::of(connection.as_fd()) else { return };
        let channel = Channel::from_fd(connection);
        let refuse = |why: &str| {
            let _ = channel.send_bytes(format!("{}{why}", answer::REFUSED).as_bytes());
        };
        // Before anything is counted or made for it: its user may have any number of ids there.
        if !peer.is_of_this_host() && !without("other-namespaces") {
            if let Some(line) = self.strangers.note(&peer) {
                log(&self.root, &line);
            }
            return refuse(STRANGER);
        }
        let user = self.room.user(peer.uid);
        if let Some(why) = self.room.refuse(user, process::is_ending) {
            return refuse(&why);
        }
        match ns::fork() {
            Ok(Side::Parent(pid, _)) => self.room.take(pid, user),
            Ok(Side::Child) => {
                // An open copy here would look like a listening broker after its end.
                let Ok(null) = tty::null() else { process::exit_now(1) };
                self.listener = null;
                process::exit_now(i32::from(serve(&self.root, &channel, &peer).is_err()))
            }
            Err(_) => refuse("no process for it"),
        }
    }
}

/// Takes over a listening socket from the service manager, if there is one.
fn inherited() -> Result<Option<OwnedFd>, String> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    let wrong = |what: &str| Err(format!("the socket of the service manager {what}"));
    if number("LISTEN_FDS") != Some(1) {
        return wrong("is not one");
    }
    let Ok(fd) = process::adopt_fd(3) else { return wrong("is not open") };
    let good = sockopt::socket_type(&fd).is_ok_and(|t| t == SocketType::SEQPACKET)
        && sockopt::socket_acceptconn(&fd).is_ok_and(|listens| listens);
    if good { Ok(Some(fd)) } else { wrong("does not listen for whole messages (ListenSequentialPacket=)") }
}

/// Makes the socket. It has its name once it listens.
fn make(root: &Root) -> Result<OwnedFd, String> {
    let path = socket(root);
    let failed =
        |e: io::Error| format!("cannot listen at {}: {}", path.shown(), crate::sys::path::reason(&e));
    let dir = root.run_dir();
    if !dir.is_dir() {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(failed)?;
    }
    let trusted = fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir() && trust::is_trusted(&m, 0o022));
    if !trusted {
        return Err(format!("{} is not a directory that only root can write to", dir.shown()));
    }
    if client::connect(&path).is_some() {
        return Err(format!("another broker listens at {}", path.shown()));
    }
    let beside = dir.join(format!("{}.{}", super::SOCKET, std::process::id()));
    let attempt = || -> io::Result<OwnedFd> {
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        bind(&fd, &SocketAddrUnix::new(&beside)?)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o666))?;
        listen(&fd, 128)?;
        fs::rename(&beside, &path)?;
        Ok(fd)
    };
    attempt().map_err(|e| {
        let _ = fs::remove_file(&beside);
        failed(e)
    })
}

/// Serves one connection, in a process of its own.
fn serve(root: &Root, channel: &Channel, peer: &Peer) -> io::Result<()> {
    rustix::process::setsid()?;
    let (caller, request) = match admit(channel, peer) {
        Ok(Some(admitted)) => admitted,
        // The peer only checked whether the broker listens.
        Ok(None) => return Ok(()),
        Err(why) => {
            log(root, &format!("uid {}, pid {}: refused: {why}", peer.uid, peer.pid));
            return channel.send_bytes(format!("{}{why}", answer::REFUSED).as_bytes());
        }
    };
    log::debug!("uid {}, pid {}: asks for {}", peer.uid, peer.pid, request.program.name());
    let refused = |why: &str| channel.send_bytes(format!("{}{why}", answer::REFUSED).as_bytes());
    let Some(file) = request.program.find() else {
        return refused(&format!("{} is not beside zonesd", request.program.name()));
    };
    let work = match ProgramStart::prepare(root, file, &caller, &request) {
        Ok(work) => work,
        Err(e) => return refused(&format!("cannot prepare it: {}", crate::sys::path::reason(&e))),
    };
    let ProgramStart { ours, theirs, terminal, command } = work;
    let shown: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
    channel.send(answer::OPEN, &shown)?;
    // From here on only the client has them: they close with it.
    drop(theirs);
    // The terminal has to look like the caller's before a program sees it.
    match channel.receive_bytes(MESSAGE_MAX, PATIENCE)? {
        Some(bytes) if bytes == order::GO.as_bytes() => {}
        _ => return Ok(()),
    }
    let signals =
        Signals::take(&[Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGTTOU])?;
    if let Some(terminal) = &terminal {
        rustix::process::ioctl_tiocsctty(terminal)?;
    }
    match ns::fork()? {
        Side::Child => command.become_program(&ours, terminal.as_ref().map(AsFd::as_fd)),
        Side::Parent(pid, _) => {
            let pid = Pid::from_raw(pid);
            // Parent and child both set the group: neither waits for the other.
            let _ = nix::unistd::setpgid(pid, pid);
            drop((ours, terminal));
            watch(channel, pid, &signals)
        }
    }
}

/// Finds out the caller and its request; none when there is no request.
fn admit(channel: &Channel, peer: &Peer) -> Result<Option<(Caller, BrokerRequest)>, String> {
    let bytes = channel.receive_bytes(REQUEST_MAX, PATIENCE).map_err(|e| match e.raw_os_error() {
        Some(libc::ETIMEDOUT) => "no request in time".to_owned(),
        Some(libc::EMSGSIZE) => format!("a request of more than {REQUEST_MAX} bytes"),
        Some(libc::EBADMSG) => "descriptors with a request".to_owned(),
        _ => format!("no request: {}", crate::sys::path::reason(&e)),
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    // Looked up again, after the request: a process that has ended since has no rights.
    if !peer.is_of_this_host() {
        return Err(STRANGER.into());
    }
    let request =
        BrokerRequest::parse(&bytes).ok_or("a request that is not understood; are both of one release?")?;
    if peer.uid == 0 {
        return Err("root needs no broker".into());
    }
    let name = name_of(peer.uid).filter(|n| !n.is_empty());
    let name = name.ok_or_else(|| format!("user id {} has no name on this host", peer.uid))?;
    Ok(Some((Caller { uid: peer.uid, pid: peer.pid, name }, request)))
}

/// The arguments and environment of a program to start.
struct ExecSpec {
    file: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    /// It finishes its work, whatever becomes of its user.
    steady: bool,
}

/// A program and the ways into and out of it.
struct ProgramStart {
    /// Standard streams of the program.
    ours: [OwnedFd; 3],
    /// Their other sides, for the client: the terminal if there is one, then pipes in the order of the
    /// streams.
    theirs: Vec<OwnedFd>,
    terminal: Option<OwnedFd>,
    command: ExecSpec,
}

impl ProgramStart {
    fn prepare(root: &Root, file: PathBuf, caller: &Caller, request: &BrokerRequest) -> io::Result<Self> {
        let mut theirs = Vec::new();
        let mut terminal = None;
        if request.terminal {
            let Pty { master, slave, .. } = pty::open_in(Path::new("/dev/pts"))?;
            theirs.push(master);
            terminal = Some(slave);
        }
        let slave = || terminal.as_ref().map(OwnedFd::try_clone).transpose();
        let input = match slave()?.filter(|_| request.input) {
            Some(slave) => slave,
            None if request.input => {
                let (read, write) = tty::pipe()?;
                theirs.push(write);
                read
            }
            None => tty::null()?,
        };
        let mut out = |slave: Option<OwnedFd>| -> io::Result<OwnedFd> {
            if let Some(slave) = slave {
                return Ok(slave);
            }
            let (read, write) = tty::pipe()?;
            theirs.push(read);
            Ok(write)
        };
        let output = out(slave()?)?;
        let errors = out(slave()?.filter(|_| request.errors))?;
        let command = ExecSpec::new(root, file, caller, request)?;
        Ok(Self { ours: [input, output, errors], theirs, terminal, command })
    }
}

impl ExecSpec {
    fn new(root: &Root, file: PathBuf, caller: &Caller, request: &BrokerRequest) -> io::Result<Self> {
        let text =
            |bytes: Vec<u8>| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let name = request.program.name();
        let mut args = vec![text(name.into())?];
        for word in &request.args {
            args.push(text(word.as_bytes().to_vec())?);
        }
        let mut env = vec![
            text(b"PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_vec())?,
            text(caller.to_env().into_bytes())?,
            text([b"ZONES_ROOT=", root.prefix().as_os_str().as_bytes()].concat())?,
        ];
        for (name, value) in [("TERM", &request.term), ("LANG", &request.lang)] {
            if let Some(value) = plain(value) {
                env.push(text(format!("{name}={value}").into_bytes())?);
            }
        }
        let steady = request.program != BrokeredProgram::Zlogin;
        Ok(Self { file: text(file.into_os_string().into_vec())?, args, env, steady })
    }

    /// Becomes the program, in a process group of its own, in front on the terminal.
    fn become_program(&self, streams: &[OwnedFd; 3], terminal: Option<BorrowedFd<'_>>) -> ! {
        let attempt = || -> io::Result<std::convert::Infallible> {
            let own = Pid::this();
            nix::unistd::setpgid(own, own)?;
            if let (Some(terminal), Some(own)) = (terminal, rustix::process::Pid::from_raw(own.as_raw())) {
                // SIGTTOU is blocked: a background process may set the foreground group.
                rustix::termios::tcsetpgrp(terminal, own)?;
            }
            let [input, output, errors] = streams;
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(errors)?;
            process::close_on_exec_from(3)?;
            rustix::process::chdir("/")?;
            process::reset_signals();
            process::no_core();
            process::fresh_keyring();
            if self.steady {
                process::ignore(&[libc::SIGHUP, libc::SIGTSTP]);
            }
            Ok(nix::unistd::execve(&self.file, &self.args, &self.env)?)
        };
        match attempt() {
            Ok(never) => match never {},
            Err(e) => {
                let text = format!(
                    "zonesd: cannot execute {}: {}\n",
                    self.file.to_string_lossy(),
                    crate::sys::path::reason(&e)
                );
                let _ = tty::write_all(streams[2].as_fd(), text.as_bytes());
                process::exit_now(126)
            }
        }
    }
}

/// Waits for the end of the program, passing on the client's messages.
fn watch(channel: &Channel, pid: Pid, signals: &Signals) -> io::Result<()> {
    let mut present = true;
    loop {
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        if present {
            fds.push(PollFd::new(channel, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let heard = present && fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        while signals.next().is_some() {}
        if heard {
            match channel.receive_bytes(MESSAGE_MAX, 0) {
                Ok(Some(bytes)) => pass_on(&bytes, pid),
                Ok(None) | Err(_) => {
                    present = false;
                    leave(pid);
                }
            }
        }
        let told = match waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, status)) => Some(format!("{}{status}", answer::EXIT)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(format!("{}{}", answer::KILLED, signal as i32)),
            Ok(WaitStatus::Stopped(..)) if present => {
                let _ = channel.send_bytes(answer::STOPPED.as_bytes());
                None
            }
            Ok(WaitStatus::Stopped(..)) => {
                leave(pid);
                None
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => None,
            Err(e) => return Err(e.into()),
        };
        if let Some(told) = told {
            // An error is ignored: the client may have gone.
            let _ = channel.send_bytes(told.as_bytes());
            return Ok(());
        }
    }
}

/// Signals the program that its user is gone; a stopped program continues first.
fn leave(group: Pid) {
    let _ = killpg(group, Signal::SIGHUP);
    let _ = killpg(group, Signal::SIGCONT);
}

/// Sends the program a signal that its user could send at a terminal.
fn pass_on(bytes: &[u8], group: Pid) {
    let text = String::from_utf8_lossy(bytes);
    let Some(name) = text.strip_prefix(order::SIGNAL) else { return };
    let signal = client::PASSED.iter().chain(&[Signal::SIGCONT]).find(|s| s.as_str() == name);
    if let Some(signal) = signal {
        let _ = killpg(group, *signal);
    }
}
