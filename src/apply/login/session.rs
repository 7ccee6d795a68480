//! A conversation between the caller's terminal and something remote: a terminal in the zone, or the console.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};

use super::LoginError;
use super::escape::{EscapeFilter, Specials, Typed};
use crate::apply::relay::{FlowState, Output};
use crate::sys::process::{self, Child};
use crate::sys::stream::Stream;
use crate::sys::tty::{self, Raw, Signals, TerminalState};

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

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The user typed the escape, or the user's terminal is gone.
    Disconnected,
    /// The other side has closed the connection.
    Closed,
    /// The process on the other side has ended.
    Exited(process::ChildEnd),
    /// This signal asked us to end.
    Signal(Signal),
}

/// A session.
pub struct LoginSession<'a> {
    /// The other side; does not wait.
    pub remote: BorrowedFd<'a>,
    /// The other side is a terminal: it has a size, and a character marks the end of input.
    pub is_terminal: bool,
    /// The process on the other side, when it is a child of ours.
    pub child: Option<&'a Child>,
    /// Escape character.
    pub escape: Option<u8>,
    /// Signals that have been taken over, [`SIGNALS`] all of them.
    pub signals: &'a Signals,
}

impl LoginSession<'_> {
    /// Carries bytes both ways until one side has had enough.
    ///
    /// # Errors
    /// [`LoginError::Relay`], [`LoginError::Stream`].
    pub fn run(&self) -> Result<SessionEnd, LoginError> {
        let input = Stream::input();
        let mut output = Output::new(self.remote, Stream::output());
        let stdin = rustix::stdio::stdin();
        let look = TerminalState::of(stdin);
        let mut filter = EscapeFilter::new(self.escape, specials(&look));
        let mut raw = Raw::enter(stdin);
        let mut listening = true;
        let mut remote_open = true;
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
            if let Some(child) = self.child {
                fds.push(PollFd::new(child, PollFlags::IN));
            }
            if remote_open {
                let wanted = if pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
                fds.push(PollFd::from_borrowed_fd(self.remote, wanted));
                output.polls(&mut fds);
            }
            if listening && pending.len() < MAX_PENDING {
                fds.push(PollFd::new(&input, PollFlags::IN));
            }
            let seen = wait(&mut fds)?;
            drop(fds);
            let mut seen = seen.into_iter();
            let mut any = || seen.next().is_some_and(|e| !e.is_empty());
            let signalled = any();
            let ended = self.child.is_some() && any();
            let went = if remote_open {
                any();
                output.turn(&mut seen)?
            } else {
                FlowState::Open
            };
            let typed = listening && seen.next().is_some_and(|e| !e.is_empty());
            if ended && let Some(end) = self.child.and_then(Child::end) {
                output.read_rest();
                return self.show_rest(&mut output, end);
            }
            if signalled && let Some(end) = self.on_signals(stdin, &mut raw) {
                return Ok(end);
            }
            if typed {
                let mut buffer = [0; CHUNK];
                let n = match input.read(&mut buffer) {
                    Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                        None
                    }
                    read => Some(read.unwrap_or(0)),
                };
                if n == Some(0) {
                    if raw.is_some() {
                        return Ok(SessionEnd::Disconnected);
                    }
                    listening = false;
                    pending.extend(look.special(libc::VEOF).filter(|_| self.is_terminal));
                }
                match filter.take(&buffer[..n.unwrap_or(0)]) {
                    Typed::Send(bytes) => pending.extend(bytes),
                    Typed::Disconnect(bytes, shown) => {
                        let _ = tty::write(self.remote, &bytes);
                        output.write_notice(&shown);
                        return Ok(SessionEnd::Disconnected);
                    }
                }
            }
            if went == FlowState::NoReader {
                return Ok(SessionEnd::Disconnected);
            }
            if went == FlowState::SourceEnded || !self.carry_input(&mut pending) {
                if self.child.is_none() {
                    return Ok(SessionEnd::Closed);
                }
                // The terminal is closed but its process lives: its end is the end.
                remote_open = false;
                pending.clear();
            }
        }
    }

    /// Shows the output written before the end of the process. Output of other processes that still have the
    /// terminal open is not waited for.
    fn show_rest(
        &self,
        output: &mut Output<BorrowedFd<'_>>,
        end: process::ChildEnd,
    ) -> Result<SessionEnd, LoginError> {
        while output.has_pending() {
            let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
            output.polls(&mut fds);
            let seen = wait(&mut fds)?;
            drop(fds);
            let mut seen = seen.into_iter();
            if seen.next().is_some_and(|e| !e.is_empty())
                && let Some(signal) = super::asked_to_end(self.signals)
            {
                return Ok(SessionEnd::Signal(signal));
            }
            output.turn(&mut seen)?;
        }
        Ok(SessionEnd::Exited(end))
    }

    /// Sends the waiting bytes; says whether the other side is still there.
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

    fn on_signals<'t>(&self, stdin: BorrowedFd<'t>, raw: &mut Option<Raw<'t>>) -> Option<SessionEnd> {
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
                other => return Some(SessionEnd::Signal(other)),
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

/// Waits until one of these has input; returns which of them have.
fn wait(fds: &mut [PollFd<'_>]) -> Result<Vec<PollFlags>, LoginError> {
    match poll(fds, None) {
        Ok(_) => Ok(fds.iter().map(PollFd::revents).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![PollFlags::empty(); fds.len()]),
        Err(e) => Err(LoginError::Relay(e.into())),
    }
}

fn specials(look: &TerminalState) -> Specials {
    Specials {
        eof: look.special(libc::VEOF),
        eol: look.special(libc::VEOL),
        kill: look.special(libc::VKILL),
        interrupt: look.special(libc::VINTR),
        suspend: look.special(libc::VSUSP),
    }
}
