//! Booting and halting: `ready`, `boot`, `reboot`, `shutdown`, `halt`.
//!
//! ```text
//!  zoneadm ──fork──> supervisor ──clone──> process 1 of the zone
//!     │  plan, lock     │  host's steps        │  steps inside
//!     │                 │ <────── ready ────── │
//!     │                 │ ─────── boot ──────> │ exec init
//!     │ <───── ok ───── │
//!     exit              exec zoneadmd
//! ```
//!
//! The supervisor is a copy of `zoneadm` until the zone runs: nothing is executed on the way to
//! init. Afterwards it becomes `zoneadmd`, small and with a name of its own, and keeps the console.
//! Halting needs no supervisor: the kernel ends everything with process 1.

mod asking;
mod bounds;
mod device;
pub mod fsck;
pub mod glob;
pub mod halt;
pub mod host;
pub mod limits;
pub mod observe;
mod proc;
pub mod shared;
mod source;
pub mod start;
pub mod waypoint;
pub mod zone;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::console::client;
use super::running::{self, Running, Strays};
use super::stuck::Left;
use super::{Op, guard};
use crate::plan::boot::{Plan, PlanError, plan};
pub use crate::plan::bootargs::BootArgs;
use crate::plan::profile::Profile;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::sys::path::reason;
pub use halt::{SHUTDOWN_SECONDS, halt, interrupt_shutdown, shutdown};

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
    /// The supervisor failed; the reason has been told and everything has been undone.
    #[error("call to zoneadmd failed")]
    Call,
    /// The mounts of a ready zone are made already.
    #[error("the root of a ready zone with a file-mac-profile is read-only; halt the zone, then boot -w")]
    ReadOnly,
    /// A call of the system failed.
    #[error("cannot {action}: {}", reason(.source))]
    System {
        /// What was tried.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The host's network cannot be looked at.
    #[error("network: {0}")]
    Network(String),
    /// The zone is not running.
    #[error("not running")]
    NotRunning,
    /// The zone did not end in time.
    #[error(
        "zone is still shutting down after {seconds} seconds; when it has ended it will be {}; use halt to end it \
         at once, or -t to wait longer",
        if *.again { "booted again" } else { "halted" }
    )]
    Slow {
        /// How long it was waited for.
        seconds: u64,
        /// A boot comes afterwards.
        again: bool,
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
pub fn plan_boot(op: &Op<'_>, args: &BootArgs) -> Result<Plan, BootError> {
    Ok(plan(op.spec, &with_default(op, args), &observe::facts(op, false)?)?)
}

/// Returns the arguments that count: those given, else the `bootargs` property.
pub(super) fn with_default(op: &Op<'_>, args: &BootArgs) -> BootArgs {
    if args.words.is_empty() {
        let line = op.spec.props.text("bootargs").unwrap_or_default();
        return BootArgs { writable: args.writable, ..BootArgs::parse(line) };
    }
    args.clone()
}

/// Makes a zone ready: everything is set up, and init waits.
///
/// # Errors
/// [`BootError`]; everything has been undone then.
pub fn ready(op: &mut Op<'_>) -> Result<(), BootError> {
    let lock = op.lock()?;
    match halt::find_and_mend(op) {
        Some(r) if r.state == ZoneState::Ready => {
            op.out.warn("zone is already ready");
            return Ok(());
        }
        Some(r) => halt::take_down(op, &r, running::Going::Halt)?,
        None => {}
    }
    start::start(op, &BootArgs::default(), start::Goal::Ready, lock)
}

/// Boots a zone.
///
/// # Errors
/// [`BootError`]; everything has been undone then.
pub fn boot(op: &mut Op<'_>, args: &BootArgs) -> Result<(), BootError> {
    let lock = op.lock()?;
    match halt::find_and_mend(op) {
        Some(r) if r.state == ZoneState::Ready => {
            if args.writable && !matches!(Profile::of(op.spec), Ok(None)) {
                return Err(BootError::ReadOnly);
            }
            boot_ready(op, &r, args)
        }
        // A halt that was killed in the middle: the end comes first.
        Some(r) if r.state == ZoneState::ShuttingDown => {
            halt::take_down(op, &r, running::Going::Reboot)?;
            start::start(op, args, start::Goal::Running, lock)
        }
        Some(r) => {
            op.out.warn("zone is already booted");
            recover_supervisor(op, &r);
            Ok(())
        }
        None => start::start(op, args, start::Goal::Running, lock),
    }
}

/// Halts and boots a running zone, with its saved spec read anew by the caller.
///
/// # Errors
/// [`BootError`].
pub fn reboot(op: &mut Op<'_>, args: &BootArgs) -> Result<(), BootError> {
    let lock = op.lock()?;
    let running = halt::find_and_mend(op).ok_or(BootError::NotRunning)?;
    // What cannot boot is not halted either.
    plan_boot(op, args)?;
    halt::take_down(op, &running, running::Going::Reboot)?;
    start::start(op, args, start::Goal::Running, lock)
}

/// Starts init of a zone that is ready.
fn boot_ready(op: &mut Op<'_>, running: &Running, args: &BootArgs) -> Result<(), BootError> {
    let args = with_default(op, args);
    for word in &args.ignored {
        op.out.warn(&format!("WARNING: Ignoring invalid boot arguments: {word}"));
    }
    match client::boot(op.store.root(), op.name, &args) {
        Ok(()) => Ok(()),
        Err(e) => {
            // Without its supervisor a ready zone ends by itself; anything else is the zone's fault.
            op.out.warn(&e.to_string());
            halt::take_down(op, running, running::Going::Halt)?;
            Err(BootError::Call)
        }
    }
}

/// Starts a supervisor for a running zone whose own one has died, and says so.
fn recover_supervisor(op: &mut Op<'_>, running: &Running) {
    let guarded = guard::ensure(op.store.root(), op.name, running);
    if running.supervisor_alive() {
        if let Err(e) = guarded {
            op.out.warn(&format!("WARNING: {e}"));
        }
        return;
    }
    let state = running.state;
    let started = client::start(op.store.root(), op.name);
    match started {
        Ok(()) => op.out.warn(&format!(
            "WARNING: zone is in state '{state}', but zoneadmd does not appear to be available; restarted zoneadmd to recover."
        )),
        Err(e) => op.out.warn(&format!("WARNING: zoneadmd has died and cannot be restarted: {e}")),
    }
    if let Some(text) = guarded.ok().and_then(guard::Guarded::warning) {
        op.out.warn(text);
    }
}
