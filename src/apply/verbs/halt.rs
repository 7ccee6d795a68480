//! The end of a zone.

use super::{asking, recover_supervisor};
use crate::apply::boot::start::Goal;
use crate::apply::boot::{BootArgs, BootError};
use crate::apply::net::PortRemoval;
use crate::apply::paths::Root;
use crate::apply::rundir::{self, CONSOLE, Running, StopReason, write_record};
use crate::apply::supervisor::start;
use crate::apply::teardown::{open, recover_and_remove_files, remove_remains, take_down, warn_unwritten};
use crate::apply::{Op, fault, mend, running};
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::sys::path::reason;

/// How long `shutdown` waits for the zone's own shutdown by default, in seconds: longer than systemd gives a service
/// to stop, which is 90 s.
pub const SHUTDOWN_SECONDS: u64 = 120;

/// Halts a zone at once: kills every process and takes everything down. `killed` says that the caller has
/// ended it already, by [`interrupt_shutdown`].
///
/// # Errors
/// [`BootError`]; the zone stays in `shutting_down` then, and halt can be repeated.
pub fn halt(op: &mut Op<'_>, killed: bool) -> Result<(), BootError> {
    op.lock()?;
    if let Some(running) = find_and_mend(op) {
        return take_down(op, &running, StopReason::Halt);
    }
    let strays = running::strays(op.store.root(), op.name);
    recover_and_remove_files(op.store.root(), op.name);
    if let Some(strays) = strays {
        running::remove_cgroup(op.name.as_str(), &strays.group)
            .map_err(BootError::system("remove the zone's cgroup"))?;
        return Ok(());
    }
    if !killed {
        op.out.warn("zone is already halted");
    }
    Ok(())
}

/// Kills a zone for whose orderly shutdown another zoneadm waits, up to a minute, with the zone's lock: then
/// it has the lock no longer. Returns whether there was such a zone.
///
/// # Errors
/// [`BootError`]: process 1 cannot be killed.
pub fn interrupt_shutdown(root: &Root, name: &ZoneName) -> Result<bool, BootError> {
    let found = running::find(root, name).filter(|r| r.state == ZoneState::ShuttingDown);
    let Some(running) = found else { return Ok(false) };
    if let Some(handle) = open(&running)? {
        log::debug!("kill process 1, {}, for whose end another process waits", running.init);
        handle.signal(libc::SIGKILL).map_err(BootError::system("kill process 1"))?;
    }
    Ok(true)
}

/// Asks the zone's init for an orderly end, waits for it at most so many seconds, and boots the zone again when
/// `reboot` is given.
///
/// # Errors
/// [`BootError`]. A zone that has not ended in time is still on its way down; its supervisor does the rest then,
/// and boots it again if that was asked for.
pub fn shutdown(op: &mut Op<'_>, reboot: Option<&BootArgs>, seconds: u64) -> Result<(), BootError> {
    let lock = op.lock()?;
    let Some(mut running) = find_and_mend(op) else {
        recover_and_remove_files(op.store.root(), op.name);
        op.out.warn("zone is already halted");
        return Ok(());
    };
    if running.state == ZoneState::Ready {
        return Err(BootError::NotRunning);
    }
    let handle = open(&running)?;
    let asking = asking::find(&running)?;
    let done = rundir::keep_args(op.store.root(), op.name, reboot);
    warn_unwritten(op, done);
    let before = running.clone();
    running = running.announce(if reboot.is_some() { StopReason::Reboot } else { StopReason::Halt });
    note(op, &running);
    fault::point("announced");
    if let Some(handle) = handle {
        log::debug!("ask process 1, {}, to end, and wait {seconds} s", running.init);
        let asked = asking.begin(op, &running, &handle);
        if asked.is_ok() {
            running.announced = None;
            note(op, &running);
        }
        if let Err(e) = asked.and_then(|asked| asked.end(&running)) {
            note(op, &before);
            return Err(e);
        }
        if !handle.wait_gone(seconds.saturating_mul(1000)).map_err(BootError::system("wait for init"))? {
            // The shutdown cannot be stopped any more, so nothing is taken back: the supervisor ends the zone.
            recover_supervisor(op, &running);
            return Err(BootError::Slow { seconds, reboots: reboot.is_some() });
        }
    }
    let ports = if reboot.is_some() { PortRemoval::Awaited } else { PortRemoval::Beside };
    remove_remains(op, &running, ports)?;
    match reboot {
        Some(args) => start::start(op, args, Goal::Running, lock),
        None => Ok(()),
    }
}

/// Finds a running zone, and puts its run-time folder back when that has been removed. The caller holds the
/// lock.
pub(super) fn find_and_mend(op: &mut Op<'_>) -> Option<Running> {
    let root = op.store.root();
    let recorded = running::record(root, op.name).filter(Running::is_alive);
    if recorded.is_some() && root.zone_run(op.name).join(CONSOLE).exists() {
        return recorded;
    }
    let found = running::find(root, op.name)?;
    match mend::put_back(root, op.name, &found) {
        Ok(false) => return Some(found),
        Ok(true) => {
            op.out.warn("WARNING: the run-time folder of the running zone was lost and has been put back");
        }
        Err(e) => op.out.warn(&format!(
            "WARNING: the run-time folder of the running zone was lost and cannot be put back: {}",
            reason(&e)
        )),
    }
    running::find(root, op.name).or(Some(found))
}

/// Writes the record of a zone that is ended. An action that frees the host must not need room: a record that cannot
/// be written is a warning.
fn note(op: &mut Op<'_>, running: &Running) {
    let done = write_record(op.store.root(), op.name, running);
    warn_unwritten(op, done);
}
