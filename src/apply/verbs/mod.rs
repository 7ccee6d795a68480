//! The operations on a zone that runs or is to run: `ready`, `boot`, `reboot`, `shutdown`, `halt`.

mod asking;
mod halt;

use crate::apply::boot::start::Goal;
use crate::apply::boot::{BootArgs, BootError, plan_boot, with_default};
use crate::apply::console::client;
use crate::apply::rundir::{Running, StopReason};
use crate::apply::supervisor::start;
use crate::apply::teardown::take_down;
use crate::apply::{Op, guard};
use crate::plan::profile::Profile;
use crate::spec::state::ZoneState;
use crate::sys::process;

pub use halt::{SHUTDOWN_SECONDS, halt, interrupt_shutdown, shutdown};

/// Makes a zone ready: everything is set up, and init waits.
///
/// # Errors
/// [`BootError`]; everything has been undone then.
pub fn ready(op: &mut Op<'_>) -> Result<(), BootError> {
    let lock = op.lock()?;
    match halt::find_and_mend(op) {
        Some(r) if r.state == ZoneState::Ready && !process::is_ending(r.init) => {
            op.out.warn("zone is already ready");
            return Ok(());
        }
        Some(r) => take_down(op, &r, StopReason::Halt)?,
        None => {}
    }
    start::start(op, &BootArgs::default(), Goal::Ready, lock)
}

/// Boots a zone.
///
/// # Errors
/// [`BootError`]; everything has been undone then.
pub fn boot(op: &mut Op<'_>, args: &BootArgs) -> Result<(), BootError> {
    let lock = op.lock()?;
    match halt::find_and_mend(op) {
        // A zone whose process 1 was killed a moment ago runs no more, though it is still there: a halt that was
        // killed in the middle leaves such a one, too. The end comes first.
        Some(r) if r.state == ZoneState::ShuttingDown || process::is_ending(r.init) => {
            take_down(op, &r, StopReason::Reboot)?;
            start::start(op, args, Goal::Running, lock)
        }
        Some(r) if r.state == ZoneState::Ready => {
            if args.writable && !matches!(Profile::of(op.spec), Ok(None)) {
                return Err(BootError::ReadOnly);
            }
            boot_ready(op, &r, args)
        }
        Some(r) => {
            op.out.warn("zone is already booted");
            recover_supervisor(op, &r);
            Ok(())
        }
        None => start::start(op, args, Goal::Running, lock),
    }
}

/// Halts and boots a running zone, with its saved spec read anew by the caller.
///
/// # Errors
/// [`BootError`].
pub fn reboot(op: &mut Op<'_>, args: &BootArgs) -> Result<(), BootError> {
    let lock = op.lock()?;
    let running = halt::find_and_mend(op).ok_or(BootError::NotRunning)?;
    // A zone that could not boot again is not halted either.
    plan_boot(op, args)?;
    take_down(op, &running, StopReason::Reboot)?;
    start::start(op, args, Goal::Running, lock)
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
            take_down(op, running, StopReason::Halt)?;
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
