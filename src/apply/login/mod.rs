//! Logging in to a running zone, and connecting to its console.
//!
//! ```text
//! zlogin (host, root) ── fork ──► child: enters the zone (sys::enter), becomes the user, executes the shell
//!   │                                        ▲
//!   ├─ command: relays between the caller's streams and pipes into the zone      (streams, command, ending)
//!   ├─ session: relays between the caller's terminal and one in the zone         (session, escape)
//!   └─ console: relays between the caller's terminal and the supervisor's socket (console)
//! ```

mod command;
mod console;
mod direct;
mod ending;
mod environment;
mod escape;
mod identity;
mod inside;
mod session;
mod streams;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::apply::confine;
use crate::apply::console::client::CallError;
use crate::apply::guard::{self, Guarded};
use crate::apply::paths::Root;
use crate::apply::relay::StreamError;
use crate::apply::running::Running;
use crate::plan::confine::Confinement;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::sys::channel::Channel;
use crate::sys::enter::{Confine, EnterError, EnterTarget, Entered, SeccompFilter, signal_group};
use crate::sys::made;
use crate::sys::path::reason;
use crate::sys::process::{self, Child, Ended};
use crate::sys::tty::{self, Signals, TerminalState};

pub use console::ConsoleConnection;
pub use session::SessionEnd;

use command::LoginCommand;
use ending::LAST;
use inside::LoginJob;
use session::{LoginSession, SIGNALS};
use streams::CommandStreams;

/// Why a login does not come about.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Another client has the console; holds the process id.
    #[error("Console is already in use by process ID {0}.")]
    ConsoleBusy(String),
    /// The console cannot be reached.
    #[error("cannot connect to the console: {}", reason(.0))]
    Console(#[source] io::Error),
    /// The supervisor that serves the console cannot be started.
    #[error("{0}")]
    Supervisor(#[from] CallError),
    /// The zone cannot be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The login failed inside the zone.
    #[error("{}", .0.shown())]
    Inside(String),
    /// The guard of the zone's datasets cannot be reached.
    #[error("{0}")]
    Guard(#[from] guard::GuardError),
    /// The new process was killed before it had reported anything.
    #[error("the login was killed before it began")]
    Killed,
    /// The process has ended, and a tracer in the zone keeps its status.
    #[error("the command has ended, and a process of the zone that traces it does not let its status out")]
    Kept,
    /// This signal came before the login did.
    #[error("interrupted")]
    Interrupted(Signal),
    /// The process was killed for a signal and does not end.
    #[error(
        "process {pid} was killed and does not end: it waits in the kernel, for a file system of the zone \
         perhaps, and is left there"
    )]
    Left {
        /// Its number on the host.
        pid: i32,
        /// The signal that asked for the end.
        signal: Signal,
    },
    /// A stream of the caller fails.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Bytes cannot be carried.
    #[error("cannot relay input and output: {}", reason(.0))]
    Relay(#[source] io::Error),
}

impl LoginError {
    /// Returns the signal that has ended the login, if one has.
    pub fn signal(&self) -> Option<Signal> {
        match self {
            Self::Interrupted(signal) | Self::Left { signal, .. } => Some(*signal),
            _ => None,
        }
    }
}

/// A login that is wanted.
#[derive(Clone, Debug)]
pub struct Login {
    /// Login name.
    pub user: String,
    /// `-S`: smallest environment, as root, nothing of the zone trusted but a shell.
    pub safe: bool,
    /// The zone's own login(1) asks who it is, and for a password; the user is a proposal.
    pub authenticate: bool,
    /// Text for the shell; none for a login shell.
    pub command: Option<OsString>,
    /// Nothing to read for the command.
    pub no_input: bool,
    /// `TERM` of the caller.
    pub term: Option<OsString>,
}

/// A login on a terminal of the zone.
pub struct Attached {
    child: Child,
    channel: Channel,
    master: OwnedFd,
    signals: Signals,
    /// Number of the terminal, for `pts/NUMBER`.
    pub number: u32,
}

/// The zone that is logged in to.
#[derive(Debug)]
pub struct LoginZone<'a> {
    root: &'a Root,
    name: &'a ZoneName,
    running: &'a Running,
    /// A process that enters is guarded.
    guarded: bool,
    /// Its confinement.
    confinement: Confinement,
}

impl<'a> LoginZone<'a> {
    /// Collects the facts for a login to a running zone, and restarts its guard if that has died. Returns the
    /// warnings for the administrator then.
    ///
    /// # Errors
    /// [`LoginError::Guard`].
    pub fn new(
        root: &'a Root,
        name: &'a ZoneName,
        running: &'a Running,
    ) -> Result<(Self, Option<&'static str>), LoginError> {
        let guarded = guard::is_needed(root, name) && !guard::is_left_out();
        let found = if guarded { guard::ensure(root, name, running)? } else { Guarded::Yes };
        let mut confinement = confine::of_running(root, name, running.init);
        // No process can send ZFS a request that passes neither the guard nor the filter.
        confinement.zfs &= guarded;
        Ok((Self { root, name, running, guarded, confinement }, found.warning()))
    }

    /// Enters the zone with a process that does the job, guarded when that is needed, unless a signal says
    /// to end.
    fn enter(
        &self,
        target: &EnterTarget,
        streams: [Option<OwnedFd>; 3],
        signals: &Signals,
        job: &LoginJob,
    ) -> Result<Entered, LoginError> {
        let mut asked = None;
        let mut stop = || {
            asked = asked.or(asked_to_end(signals));
            asked.is_some()
        };
        let program = guard::program();
        let hand_over = |listener: BorrowedFd<'_>| guard::enlist(self.root, self.name, listener);
        let filter = self.guarded.then_some(SeccompFilter { program: &program, hand_over: &hand_over });
        let inside = |channel: &Channel| job.run(channel).to_string();
        let program = confine::program(&self.confinement);
        let confine = Confine { program: program.as_deref(), personality: self.confinement.personality };
        let entered = target.enter(streams, signals.as_fd(), &mut stop, filter, confine, inside);
        asked.map_or(Ok(entered?), |signal| Err(LoginError::Interrupted(signal)))
    }
}

/// Opens a zone that can be entered.
fn open(zone: &Running) -> Result<EnterTarget, LoginError> {
    log::debug!("enter the zone of process {}", zone.init);
    Ok(EnterTarget::open(zone.init, zone.init_start, zone.cgroup.as_deref().map(Path::new))?)
}

impl Login {
    fn job(&self, terminal: Option<TerminalState>) -> LoginJob {
        let (user, command, term) = (self.user.clone(), self.command.clone(), self.term.clone());
        LoginJob { user, safe: self.safe, authenticate: self.authenticate, command, term, terminal }
    }

    /// Runs a command, or a shell that reads standard input, without a terminal, and returns how it ended.
    /// The zone must be running, not only ready.
    ///
    /// # Errors
    /// When the login does not come about.
    pub fn run(&self, zone: &LoginZone<'_>) -> Result<Ended, LoginError> {
        const TAKEN: &[Signal] = &[
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGTSTP,
            Signal::SIGCHLD,
        ];
        let target = open(zone.running)?;
        let CommandStreams { inside, relay } =
            CommandStreams::prepare(self.no_input).map_err(LoginError::Relay)?;
        let signals = Signals::take(TAKEN).map_err(LoginError::Relay)?;
        let job = self.job(None);
        let entered = zone.enter(&target, inside, &signals, &job)?;
        LoginCommand::new(entered, relay, signals).wait()
    }

    /// Begins a login on a new terminal of the zone, which must be running, not only ready.
    ///
    /// # Errors
    /// When the login does not come about.
    pub fn attach(&self, zone: &LoginZone<'_>) -> Result<Attached, LoginError> {
        let target = open(zone.running)?;
        let null = tty::null().map_err(LoginError::Relay)?;
        let also_null = || null.try_clone().map(Some).map_err(LoginError::Relay);
        let streams = [also_null()?, also_null()?, also_null()?];
        let signals = Signals::take(SIGNALS).map_err(LoginError::Relay)?;
        let job = self.job(Some(TerminalState::of(io::stdin().as_fd())));
        let Entered { child, channel } = zone.enter(&target, streams, &signals, &job)?;
        // The files that the zone shows the new process may block it for ever; the user must not be blocked as well.
        while !tty::wait_for(channel.as_fd(), signals.as_fd()).map_err(LoginError::Relay)? {
            if let Some(signal) = asked_to_end(&signals) {
                signal_group(child.pid, Signal::SIGKILL);
                let (ended, pid) = (child.ends_within(LAST), child.pid);
                return Err(if ended {
                    LoginError::Interrupted(signal)
                } else {
                    LoginError::Left { pid, signal }
                });
            }
        }
        let message = channel.receive().map_err(LoginError::Relay)?;
        let number = message.text.parse();
        match (message.fds.into_iter().next(), number) {
            (Some(master), Ok(number)) => Ok(Attached { child, channel, master, signals, number }),
            _ if message.text.is_empty() => Err(LoginError::Killed),
            _ => Err(LoginError::Inside(message.text)),
        }
    }
}

/// Returns the first signal that asks for the end, of those that have come.
fn asked_to_end(signals: &Signals) -> Option<Signal> {
    let mut asked = None;
    while let Some(signal) = signals.next() {
        if !matches!(signal, Signal::SIGCHLD | Signal::SIGWINCH | Signal::SIGTSTP) {
            asked = asked.or(Some(signal));
        }
    }
    asked
}

/// Returns how a process has ended, if that can be known.
///
/// # Errors
/// [`LoginError::Kept`].
pub fn known(end: process::ChildEnd) -> Result<Ended, LoginError> {
    match end {
        process::ChildEnd::Known(ended) => Ok(ended),
        process::ChildEnd::Kept => Err(LoginError::Kept),
    }
}

/// Reads why a login failed inside the zone, if it did.
fn failure_of(channel: &Channel) -> Result<(), LoginError> {
    // While the new process executes its program, root of the zone can take the other end from it, and keep it
    // open for ever without a word.
    if !process::wait_readable(channel.as_fd(), 0).map_err(LoginError::Relay)? {
        return Ok(());
    }
    let message = channel.receive().map_err(LoginError::Relay)?;
    if message.text.is_empty() { Ok(()) } else { Err(LoginError::Inside(message.text)) }
}

impl Attached {
    /// Talks until the shell ends or the user disconnects.
    ///
    /// # Errors
    /// The system's error.
    pub fn talk(&self, escape: Option<u8>) -> Result<SessionEnd, LoginError> {
        let remote = self.master.as_fd();
        let child = Some(&self.child);
        let session = LoginSession { remote, is_terminal: true, child, escape, signals: &self.signals };
        let end = session.run()?;
        if let SessionEnd::Exited(_) = end {
            failure_of(&self.channel)?;
        }
        Ok(end)
    }
}

/// File on a zone's `/dev` that holds the zone's name.
const NAME_FILE: &str = "/dev/.zonename";

/// Returns the name of the zone that this process is in; none on the host.
///
/// The host makes the file when the zone boots and owns it. Root of the zone can put another one in its place, and
/// so can only give its own users a wrong name: the host does not read it, and each user id there means itself.
pub fn current_zone() -> Option<ZoneName> {
    let map = made::read("/proc/self/uid_map").unwrap_or_default();
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    let file = Path::new(NAME_FILE);
    let meta = file.symlink_metadata().ok()?;
    if !meta.is_file() || meta.len() > 256 {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    ZoneName::new(text.trim_end()).ok()
}

/// Says whether this process has the rights that entering a zone needs.
pub fn is_privileged() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    let needed =
        CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    rustix::process::geteuid().is_root()
        && capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}
