//! Logging in to a running zone, and connecting to its console.
//!
//! ```text
//! zlogin (host, root) ── fork ──► child: enters the zone (sys::enter), becomes the user, executes the shell
//!   │                                        ▲
//!   ├─ command: waits; files and pipes were handed over, terminals are relayed   (streams)
//!   ├─ session: relays between the caller's terminal and one in the zone         (session, escape)
//!   └─ console: relays between the caller's terminal and the supervisor's socket (console)
//! ```

mod console;
mod environment;
mod escape;
mod identity;
mod inside;
mod session;
mod streams;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};

use crate::apply::paths::Root;
use crate::apply::running::{self, Running};
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::sys::enter::{EnterError, Target, signal_group};
use crate::sys::process::{Ended, reap};
use crate::sys::tty::{self, Look, Signals};

pub use console::{Console, SOCKET};
pub use session::End;

use inside::Job;
use session::{SIGNALS, Session};
use streams::Streams;

/// Why a login does not come about.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The zone is not running.
    #[error("login allowed only to running zones ({0} is '{1}').")]
    NotRunning(ZoneName, ZoneState),
    /// Somebody else has the console; holds the process id.
    #[error("Console is already in use by process ID {0}.")]
    ConsoleBusy(String),
    /// The console cannot be reached.
    #[error("cannot connect to the console")]
    Console(#[source] io::Error),
    /// The zone cannot be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The login failed inside the zone.
    #[error("{0}")]
    Inside(String),
    /// Bytes cannot be carried.
    #[error("cannot relay the terminal")]
    Relay(#[source] io::Error),
}

/// A login that is wanted.
#[derive(Clone, Debug)]
pub struct Login {
    /// Login name.
    pub user: String,
    /// `-S`: smallest environment, as root, nothing of the zone trusted but a shell.
    pub safe: bool,
    /// Text for the shell; none for a login shell.
    pub command: Option<OsString>,
    /// Nothing to read for the command.
    pub no_input: bool,
    /// `TERM` of the caller.
    pub term: Option<OsString>,
}

/// A login on a terminal of the zone.
pub struct Attached {
    pid: i32,
    master: OwnedFd,
    signals: Signals,
    /// Number of the terminal, for `pts/NUMBER`.
    pub number: u32,
}

/// Opens a running zone.
fn open(root: &Root, zone: &ZoneName) -> Result<Target, LoginError> {
    let running: Option<Running> = running::find(root, zone);
    let state = running.as_ref().map_or(ZoneState::Installed, |r| r.state);
    match running {
        Some(r) if r.state == ZoneState::Running => {
            Ok(Target::open(r.init, r.init_start, r.cgroup.as_deref().map(Path::new))?)
        }
        _ => Err(LoginError::NotRunning(zone.clone(), state)),
    }
}

impl Login {
    fn job(&self, terminal: Option<Look>) -> Job {
        let (user, command, term) = (self.user.clone(), self.command.clone(), self.term.clone());
        Job { user, safe: self.safe, command, term, terminal }
    }

    /// Runs a command, or a shell that reads standard input, without a terminal, and returns how it ended.
    ///
    /// # Errors
    /// When the login does not come about.
    pub fn run(&self, root: &Root, zone: &ZoneName) -> Result<Ended, LoginError> {
        const TAKEN: &[Signal] = &[
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGTSTP,
            Signal::SIGCHLD,
        ];
        let target = open(root, zone)?;
        let Streams { inside, mut relay } = Streams::prepare(self.no_input).map_err(LoginError::Relay)?;
        let signals = Signals::take(TAKEN).map_err(LoginError::Relay)?;
        let job = self.job(None);
        let entered = target.enter(inside, |channel| job.run(channel).to_string())?;
        let mut channel = Some(entered.channel);
        loop {
            let mut seen = (false, false);
            relay
                .turn(|fds| {
                    let ours = fds.len();
                    fds.push(PollFd::new(&signals, PollFlags::IN));
                    fds.extend(channel.iter().map(|c| PollFd::new(c, PollFlags::IN)));
                    match poll(fds, None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                    let mut events = fds.drain(ours..).map(|fd| !fd.revents().is_empty());
                    seen = (events.next() == Some(true), events.next() == Some(true));
                    Ok(())
                })
                .map_err(LoginError::Relay)?;
            let (signalled, told) = seen;
            if told && let Some(channel) = channel.take() {
                failure_of(&channel)?;
            }
            while signalled && let Some(signal) = signals.next() {
                match signal {
                    Signal::SIGCHLD => {
                        if let Some(end) = reap(entered.pid) {
                            // It may have failed and ended between two looks.
                            channel.as_ref().map_or(Ok(()), failure_of)?;
                            relay.finish();
                            return Ok(end);
                        }
                    }
                    // The group has no parent in its session, so the kernel ignores a plain SIGTSTP there.
                    Signal::SIGTSTP => {
                        signal_group(entered.pid, Signal::SIGSTOP);
                        tty::stop_self();
                        signal_group(entered.pid, Signal::SIGCONT);
                    }
                    other => signal_group(entered.pid, other),
                }
            }
        }
    }

    /// Begins a login on a new terminal of the zone.
    ///
    /// # Errors
    /// When the login does not come about.
    pub fn attach(&self, root: &Root, zone: &ZoneName) -> Result<Attached, LoginError> {
        let target = open(root, zone)?;
        let null = || std::fs::File::open("/dev/null").map(|f| Some(f.into()));
        let streams = [null(), null(), null()].map(|n| n.map_err(LoginError::Relay));
        let [Ok(input), Ok(output), Ok(errors)] = streams else {
            return Err(LoginError::Relay(io::Error::last_os_error()));
        };
        let signals = Signals::take(SIGNALS).map_err(LoginError::Relay)?;
        let job = self.job(Some(Look::of(io::stdin().as_fd())));
        let entered = target.enter([input, output, errors], |channel| job.run(channel).to_string())?;
        let message = entered.channel.receive().map_err(LoginError::Relay)?;
        let number = message.text.parse();
        match (message.fds.into_iter().next(), number) {
            (Some(master), Ok(number)) => Ok(Attached { pid: entered.pid, master, signals, number }),
            _ => Err(LoginError::Inside(message.text)),
        }
    }
}

/// Reads why a login failed inside the zone, if it did.
fn failure_of(channel: &crate::sys::channel::Channel) -> Result<(), LoginError> {
    let message = channel.receive().map_err(LoginError::Relay)?;
    if message.text.is_empty() { Ok(()) } else { Err(LoginError::Inside(message.text)) }
}

impl Attached {
    /// Talks until the shell ends or the user disconnects.
    ///
    /// # Errors
    /// The system's error.
    pub fn talk(&self, escape: Option<u8>) -> Result<End, LoginError> {
        let remote = self.master.as_fd();
        let child = Some(self.pid);
        let session = Session { remote, is_terminal: true, child, escape, signals: &self.signals };
        session.run().map_err(LoginError::Relay)
    }
}

/// File on a zone's `/dev` that holds the zone's name.
const NAME_FILE: &str = "/dev/.zonename";
/// What the kernel shows for an owner who has no id in this user namespace.
const NOBODY: u32 = 65_534;

/// Returns the name of the zone that this process is in; none on the host.
///
/// The file is mounted into the zone by the host. It must lie on another mount than what it would lie on
/// by itself, and belong to an id that the zone does not have: root of the zone cannot make such a file.
pub fn current_zone() -> Option<ZoneName> {
    use std::os::unix::fs::MetadataExt;
    let file = Path::new(NAME_FILE);
    let meta = file.symlink_metadata().ok()?;
    if !meta.is_file() || meta.len() > 256 || (meta.uid() != NOBODY && meta.uid() != 0) {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    ZoneName::new(text.trim_end()).ok()
}
