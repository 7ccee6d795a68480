//! The guard of a zone with delegated datasets.
//!
//! ```text
//!  process of the zone ── ioctl ──> filter ── allowed ──> kernel
//!                                     │ asks
//!                                     ▼
//!                      guard ── fork ──> worker: copies the request, checks the copy,
//!                        │                       carries it out as the caller would
//!                        ├─ socket <── zlogin: a listener for each process that enters
//!                        └─ keeps  ──> zoneadmd: holds every listener as well
//! ```
//!
//! A process of its own, so that the end of zoneadmd changes nothing for the zone. It never touches the memory of a
//! caller, an access that may block for ever: a worker for each request does. It ends with the zone.
//!
//! While a process holds a listener, a dead guard can be replaced, and zoneadmd does so. When all holders are dead,
//! the kernel answers every request that would have been checked with `ENOSYS`: they fail, and nothing can bring
//! them back for the processes that run. All other requests go on.

mod caller;
mod keep;
mod serve;
mod work;

use std::io;
use std::os::fd::BorrowedFd;

use crate::apply::helper::{self, Helper, Watch};
use crate::apply::paths::Root;
use crate::apply::protocol;
use crate::apply::rundir::GUARD;
use crate::guard::{DelegatedDataset, Locks, calls};
use crate::plan::image::Delegation;
use crate::spec::ZoneName;
use crate::sys::seccomp::asm::Instruction;
use crate::sys::seccomp::filter::{Action, filter};

pub use keep::{GuardError, Guarded, enlist, ensure, is_needed};
pub use serve::Guard;

/// The guard as a helper of the zone.
pub const HELPER: Helper = Helper {
    title: "zoneadmd-guard",
    state: "ZONES_GUARD_STATE",
    socket: GUARD,
    protocol: protocol::GUARD,
    own_name: "the guard",
    name: "the guard of its datasets",
    consequence: "ZFS requests that are checked fail",
};

/// Returns the filter for processes of a zone with delegated datasets.
pub fn program() -> Vec<Instruction> {
    let rule = |call: &calls::ZfsIoctl| match call.rule {
        calls::IoctlRule::Allow => Some((call.number, Action::Allow)),
        calls::IoctlRule::Check(_) => Some((call.number, Action::Ask)),
        calls::IoctlRule::Refuse => None,
    };
    let rules: Vec<_> = calls::CALLS.iter().filter_map(rule).collect();
    filter(&rules)
}

/// Says whether a test asks for a zone without its guard, to show the guard's effect. Only in builds with debug
/// assertions.
pub fn is_left_out() -> bool {
    cfg!(debug_assertions) && std::env::var_os("ZONES_TEST_UNGUARDED").is_some()
}

/// Returns the properties that a zone cannot change on its datasets.
fn locks(datasets: Vec<Delegation>) -> Locks {
    let tree = |Delegation { name, locks, below }| DelegatedDataset { name, root: locks, below };
    Locks { trees: datasets.into_iter().map(tree).collect() }
}

/// Starts the guard of a zone, whose first process is `pid`. It answers when this returns.
///
/// # Errors
/// The system's error.
pub fn start(root: &Root, name: &ZoneName, pid: i32, listeners: &[BorrowedFd<'_>]) -> io::Result<()> {
    helper::start::<Guard>(root, name, pid, listeners)
}

/// Goes on, after the exec, as the guard of a zone. None: this process was not started that way.
///
/// # Errors
/// The system's error when a descriptor is missing or the zone has ended.
pub fn resume(root: &Root, name: &ZoneName) -> io::Result<Option<Guard>> {
    helper::resume(root, name)
}

/// Begins to watch the guard of a running zone. None: the zone has no datasets, or there is no guard.
pub fn watch(root: &Root, name: &ZoneName, init: i32, log: fn(&ZoneName, &str)) -> Option<Watch> {
    if !is_needed(root, name) || is_left_out() {
        return None;
    }
    Watch::begin::<Guard>(root, name, init, log)
}
