//! Carries the plan of a boot out: in the supervisor the steps that need the host's rights, and in the zone's first
//! process the steps inside.

mod bounds;
mod device;
pub mod error;
mod exec;
pub mod fsck;
pub mod glob;
pub mod host;
pub mod inside;
pub mod limits;
pub mod observe;
mod proc;
pub mod shared;
pub mod site;
mod source;
pub mod start;
pub mod waypoint;
pub mod zone;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Op;
use super::net::NetworkError;
use super::running::Strays;
use super::stuck::Left;
use crate::plan::boot::{BootPlan, PlanError, plan};
pub use crate::plan::bootargs::BootArgs;
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::sys::path::reason;

/// Why an operation on a zone's life failed.
#[derive(Debug, Error)]
pub enum BootError {
    /// The spec has no zonepath.
    #[error("zonepath not specified; set it with zonecfg")]
    NoZonepath,
    /// The zone's root cannot be used.
    #[error("could not use the zone's root {}: {why}", path.shown())]
    Root {
        /// The folder.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The plan cannot be made.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The supervisor failed; the reason has been reported and everything has been undone.
    #[error("call to zoneadmd failed")]
    Call,
    /// The mounts of a ready zone are made already.
    #[error("the root of a ready zone with a file-mac-profile is read-only; halt the zone, then boot -w")]
    ReadOnly,
    /// A call of the system failed.
    #[error("cannot {action}: {}", reason(.source))]
    System {
        /// The action that failed.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The host's network cannot be looked at.
    #[error("network: {0}")]
    Network(#[source] NetworkError),
    /// The zone is not running.
    #[error("not running")]
    NotRunning,
    /// The zone did not end in time.
    #[error(
        "zone is still shutting down after {seconds} seconds; when it has ended it will be {}; use halt to end it \
         at once, or -t to wait longer",
        if *.reboots { "booted again" } else { "halted" }
    )]
    Slow {
        /// How long it was waited for.
        seconds: u64,
        /// A boot comes afterwards.
        reboots: bool,
    },
    /// Init cannot be asked.
    #[error("unable to shutdown zone: its init takes no signal that would end it; use halt")]
    Deaf,
    /// Processes of the zone do not die.
    #[error("unable to destroy zone: {0}")]
    Stuck(Left),
    /// Something else is where the zone's processes are to be.
    #[error("{0}")]
    Strays(Strays),
}

impl BootError {
    /// Returns a function that names the failed action of a system call.
    pub fn system(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

/// Makes the plan of a boot without touching anything.
///
/// # Errors
/// [`BootError`] as the boot itself would meet.
pub fn plan_boot(op: &Op<'_>, args: &BootArgs) -> Result<BootPlan, BootError> {
    Ok(plan(op.spec, &with_default(op, args), &observe::facts(op, false)?)?)
}

/// Returns the arguments that count: those given, else the `bootargs` property.
pub fn with_default(op: &Op<'_>, args: &BootArgs) -> BootArgs {
    if args.words.is_empty() {
        let line = op.spec.props.text("bootargs").unwrap_or_default();
        return BootArgs { writable: args.writable, ..BootArgs::parse(line) };
    }
    args.clone()
}
