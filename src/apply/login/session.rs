//! A conversation between the caller's terminal and something remote: a terminal in the zone, or the console.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};

use super::escape::{Filter, Specials, Typed};
use crate::sys::process::{self, Child};
use crate::sys::tty::{self, Look, Raw, Signals};

/// Signals that a session takes over.
pub const SIGNALS: &[Signal] = &[
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
    Signal::SIGCHLD,
];

/// How much typed input may wait for the other side. Escapes are noticed up to there.
const MAX_PENDING: usize = 64 << 10;
const CHUNK: usize = 16 << 10;
/// What is carried at most after the end of the process: more than a terminal holds.
const MAX_REST: usize = 256 << 10;

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The user typed the escape, or the user's terminal is gone.
    Disconnected,
    /// The other side has closed.
    Closed,
    /// The process on the other side has ended.
    Exited(process::End),
    /// This signal asked us to end.
    Signal(Signal),
}

/// A session.
pub struct Session<'a> {
    /// The other side; does not wait.
    pub remote: BorrowedFd<'a>,
    /// The other side is a terminal: it has a size, and is told the end of input by a character.
    pub is_terminal: bool,
    /// The process on the other side, when it is a child of ours.
    pub child: Option<&'a Child>,
    /// Escape character.
    pub escape: Option<u8>,
    /// Signals that have been taken over, [`SIGNALS`] all of them.
    pub signals: &'a Signals,
}

impl Session<'_> {
    /// Carries bytes both ways until one side has had enough.
    ///
    /// # Errors
    /// The system's error.
    pub fn run(&self) -> io::Result<End> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let (stdin, stdout) = (stdin.as_fd(), stdout.as_fd());
        let look = Look::of(stdin);
        let mut filter = Filter::new(self.escape, specials(&look));
        let mut raw = Raw::enter(stdin);
        let mut listening = true;
        let mut remote_open = true;
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let wanted = if pending.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
            if let Some(child) = self.child {
                fds.push(PollFd::new(child, PollFlags::IN));
            }
            if remote_open {
                fds.push(PollFd::from_borrowed_fd(self.remote, wanted));
            }
            if listening && pending.len() < MAX_PENDING {
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let mut seen = fds.iter().map(PollFd::revents);
            let signalled = seen.next().is_some_and(|e| !e.is_empty());
            let ended = self.child.is_some() && seen.next().is_some_and(|e| !e.is_empty());
            let remote = if remote_open { seen.next() } else { None }.unwrap_or(PollFlags::empty());
            let typed = listening && seen.next().is_some_and(|e| !e.is_empty());
            drop(fds);
            if ended && let Some(end) = self.child.and_then(Child::end) {
                // Everything that was written before the end is here already. What is written on and
                // on by others, who still have the terminal open, is not waited for.
                let mut carried = 0;
                while carried < MAX_REST
                    && let Some(more @ 1..) = self.carry_output(stdout)
                {
                    carried += more;
                }
                return Ok(End::Exited(end));
            }
            if signalled && let Some(end) = self.on_signals(stdin, &mut raw) {
                return Ok(end);
            }
            if typed {
                let mut buffer = [0; CHUNK];
                let n = tty::read(stdin, &mut buffer).unwrap_or(0);
                if n == 0 {
                    if raw.is_some() {
                        return Ok(End::Disconnected);
                    }
                    listening = false;
                    pending.extend(look.special(libc::VEOF).filter(|_| self.is_terminal));
                }
                match filter.take(&buffer[..n]) {
                    Typed::Send(bytes) => pending.extend(bytes),
                    Typed::Disconnect(bytes, shown) => {
                        let _ = tty::write(self.remote, &bytes);
                        let _ = tty::write_all(stdout, &shown);
                        return Ok(End::Disconnected);
                    }
                }
            }
            let alive = if remote.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.carry_output(stdout).is_some()
            } else {
                true
            };
            if !alive || !self.carry_input(&mut pending) {
                if self.child.is_none() {
                    return Ok(End::Closed);
                }
                // The terminal is closed but its process lives: its end is the end.
                remote_open = false;
                pending.clear();
            }
        }
    }

    /// Carries one chunk from the other side; says how long it was, none when it has closed.
    fn carry_output(&self, stdout: BorrowedFd<'_>) -> Option<usize> {
        let mut buffer = [0; CHUNK];
        match tty::read(self.remote, &mut buffer) {
            Ok(0) => None,
            Ok(n) => tty::write_all(stdout, &buffer[..n]).ok().map(|()| n),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Some(0),
            Err(_) => None,
        }
    }

    /// Sends what is waiting; says whether the other side is still there.
    fn carry_input(&self, pending: &mut Vec<u8>) -> bool {
        while !pending.is_empty() {
            match tty::write(self.remote, pending) {
                Ok(n) => drop(pending.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn on_signals<'t>(&self, stdin: BorrowedFd<'t>, raw: &mut Option<Raw<'t>>) -> Option<End> {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGCHLD => {}
                Signal::SIGWINCH => self.pass_size_on(stdin),
                Signal::SIGTSTP => {
                    let was_raw = raw.take().is_some();
                    tty::stop_self();
                    if was_raw {
                        *raw = Raw::enter(stdin);
                    }
                    self.pass_size_on(stdin);
                }
                other => return Some(End::Signal(other)),
            }
        }
        None
    }

    fn pass_size_on(&self, stdin: BorrowedFd<'_>) {
        if self.is_terminal {
            tty::copy_size(stdin, self.remote);
        }
    }
}

fn specials(look: &Look) -> Specials {
    Specials {
        eof: look.special(libc::VEOF),
        eol: look.special(libc::VEOL),
        kill: look.special(libc::VKILL),
        interrupt: look.special(libc::VINTR),
        suspend: look.special(libc::VSUSP),
    }
}
