//! Access to the guard: for zlogin with the listener of a process that enters, and for a command that finds the
//! guard dead.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::HELPER;
use crate::apply::console::client::{self, CallError};
use crate::apply::dataset::registry;
use crate::apply::helper::{self, REPLACED_WITHIN};
use crate::apply::paths::Root;
use crate::apply::running::Running;
use crate::spec::ZoneName;
use crate::sys::path::reason;

/// How long to wait before a guard that is being replaced is tried again.
const BETWEEN: Duration = Duration::from_millis(5);

/// Why the guard cannot be reached.
#[derive(Debug, Error)]
pub enum GuardError {
    /// It does not answer.
    #[error("the guard of its datasets does not answer: {}; halt and boot the zone", reason(.0))]
    Unreachable(#[source] io::Error),
    /// Its supervisor cannot be started.
    #[error("{0}")]
    Supervisor(#[from] CallError),
}

/// The state of a zone's guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It answers, or the zone needs none.
    Yes,
    /// Every process that held its listeners had died. There is a new one, but not for the processes that run.
    Replaced,
}

impl Guarded {
    /// Returns the warning for the administrator.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::Replaced => Some(
                "WARNING: the guard of the zone's datasets had died with zoneadmd: ZFS requests that are checked fail in all processes that run now, until the zone is rebooted; new logins are guarded again.",
            ),
        }
    }
}

/// Says whether a running zone has delegated datasets.
pub fn is_needed(root: &Root, name: &ZoneName) -> bool {
    !registry::recorded(&root.zone_run(name)).is_empty()
}

fn connect(root: &Root, name: &ZoneName) -> io::Result<UnixStream> {
    helper::connect(&HELPER, root, name)
}

/// Makes sure that a running zone with datasets has its guard and supervisor.
///
/// # Errors
/// [`GuardError`].
pub fn ensure(root: &Root, name: &ZoneName, running: &Running) -> Result<Guarded, GuardError> {
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
    Ok(Guarded::Replaced)
}

fn wait_for_guard(root: &Root, name: &ZoneName) -> Result<UnixStream, GuardError> {
    let start = Instant::now();
    loop {
        match connect(root, name) {
            Ok(stream) => return Ok(stream),
            Err(e) if start.elapsed() > REPLACED_WITHIN => return Err(GuardError::Unreachable(e)),
            Err(_) => std::thread::sleep(BETWEEN),
        }
    }
}

/// Has the guard hear a listener, and waits until it does.
///
/// # Errors
/// The system's error; `ECONNREFUSED` when there is no guard.
pub fn enlist(root: &Root, name: &ZoneName, listener: BorrowedFd<'_>) -> io::Result<()> {
    helper::enlist(&HELPER, root, name, listener)
}
