//! The end of a zone.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::start::{clear, remove_run_files};
use super::{BootArgs, BootError, asking, recover_supervisor, start};
use crate::apply::console::client;
use crate::apply::fault;
use crate::apply::paths::Root;
use crate::apply::rundir::{self, CONSOLE, Going, JOURNAL, Running, write_record, write_record_only};
use crate::apply::stuck::{self, Left};
use crate::apply::{Op, dataset, engine, mend, running};
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::sys::path::reason;
use crate::sys::process::Handle;

/// How long `shutdown` waits for the zone's own shutdown unless it is told, in seconds: longer than systemd gives a
/// service to stop, which is 90 s.
pub const SHUTDOWN_SECONDS: u64 = 120;

/// How long a killed process may take to end, in milliseconds.
const KILL_MILLIS: u64 = 10_000;

/// How long one is waited for before it is looked at what it does: also on a busy host the kernel needs less for
/// an ordinary zone, and who halts a zone to remove it finds it installed.
const LOOK_MILLIS: u64 = 2_000;

/// Halts a zone at once: kills every process and takes everything down. `killed` says that the caller has
/// ended it already, by [`interrupt_shutdown`].
///
/// # Errors
/// [`BootError`]; the zone stays in `shutting_down` then, and halt can be repeated.
pub fn halt(op: &mut Op<'_>, killed: bool) -> Result<(), BootError> {
    op.lock()?;
    if let Some(running) = find_and_mend(op) {
        return take_down(op, &running, Going::Halt);
    }
    let strays = running::strays(op.store.root(), op.name);
    clear(op.store.root(), op.name);
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
        handle.signal(libc::SIGKILL).map_err(BootError::system("kill process 1"))?;
    }
    Ok(true)
}

/// Asks the zone's init for an orderly end, waits for it at most so many seconds, and boots again when `again` is
/// given.
///
/// # Errors
/// [`BootError`]. A zone that has not ended in time is still on its way down; its supervisor does the rest then,
/// and boots it again if that was asked for.
pub fn shutdown(op: &mut Op<'_>, again: Option<&BootArgs>, seconds: u64) -> Result<(), BootError> {
    let lock = op.lock()?;
    let Some(mut running) = find_and_mend(op) else {
        clear(op.store.root(), op.name);
        op.out.warn("zone is already halted");
        return Ok(());
    };
    if running.state == ZoneState::Ready {
        return Err(BootError::NotRunning);
    }
    let handle = open(&running)?;
    let asking = asking::find(&running)?;
    running.going = Some(if again.is_some() { Going::Reboot } else { Going::Halt });
    running.state = ZoneState::ShuttingDown;
    let done = rundir::keep_args(op.store.root(), op.name, again);
    warn_unwritten(op, done);
    note(op, &running);
    if let Some(handle) = handle {
        asking.ask(op, &running, &handle)?;
        if !handle.wait_gone(seconds.saturating_mul(1000)).map_err(BootError::system("wait for init"))? {
            // It cannot be told to stay, so nothing is taken back: who ends it now is its supervisor.
            recover_supervisor(op, &running);
            return Err(BootError::Slow { seconds, again: again.is_some() });
        }
    }
    clean(op, &running)?;
    match again {
        Some(args) => start::start(op, args, start::Goal::Running, lock),
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

/// Writes the record of a zone that is ended. What frees the host must not need room: a record that cannot
/// be written is a warning.
fn note(op: &mut Op<'_>, running: &Running) {
    let done = write_record(op.store.root(), op.name, running);
    warn_unwritten(op, done);
}

fn warn_unwritten(op: &mut Op<'_>, done: io::Result<()>) {
    if let Err(e) = done {
        op.out.warn(&format!("WARNING: cannot write the record of the zone: {}; going on", reason(&e)));
    }
}

fn open(running: &Running) -> Result<Option<Handle>, BootError> {
    match Handle::open(running.init) {
        // Between the look at the record and the open the number may have been given again.
        Ok(handle) if running.is_alive() => Ok(Some(handle)),
        Ok(_) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(BootError::System { action: "open process 1", source: e }),
    }
}

/// Kills a zone and removes what is left of it. The caller holds the lock.
///
/// # Errors
/// [`BootError`]; the zone stays in `shutting_down` then.
pub fn take_down(op: &mut Op<'_>, running: &Running, going: Going) -> Result<(), BootError> {
    let mut running = running.clone();
    let handle = open(&running)?;
    running.going = Some(going);
    running.state = ZoneState::ShuttingDown;
    // The copy of the record is not: it is not believed any more in a moment.
    warn_unwritten(op, write_record_only(op.store.root(), op.name, &running));
    if let Some(handle) = handle {
        handle.signal(libc::SIGKILL).map_err(BootError::system("kill process 1"))?;
        match wait_for_end(&running, &handle, going)? {
            None => {}
            Some(left @ Left::CleanUp(_)) if going == Going::Halt => {
                op.out.warn(&format!("WARNING: {left}"));
                return Ok(());
            }
            Some(left) => return Err(BootError::Stuck(left)),
        }
    }
    clean(op, &running)
}

/// Waits for the end of a zone that was killed. Returns what is left of it: at once when that is the kernel's
/// to finish, nothing is to be done afterwards and a supervisor removes the rest then; else after [`KILL_MILLIS`].
fn wait_for_end(running: &Running, handle: &Handle, going: Going) -> Result<Option<Left>, BootError> {
    let start = Instant::now();
    let rest_is_removed = going == Going::Halt && running.supervisor_alive();
    loop {
        if handle.wait_gone(LOOK_MILLIS).map_err(BootError::system("wait for process 1"))? {
            return Ok(None);
        }
        let late = start.elapsed() >= Duration::from_millis(KILL_MILLIS);
        match stuck::look(running) {
            Some(left @ Left::CleanUp(_)) if rest_is_removed => return Ok(Some(left)),
            Some(left) if late => return Ok(Some(left)),
            None if !running.is_alive() => return Ok(None),
            _ => {}
        }
    }
}

/// Removes what is left of a zone whose processes are gone, and lets its supervisor go.
fn clean(op: &mut Op<'_>, running: &Running) -> Result<(), BootError> {
    let root = op.store.root();
    fault::at("killed");
    for error in dataset::take_back(root, op.name) {
        op.out.warn(&format!("WARNING: {error}"));
    }
    for error in engine::recover(&root.zone_run(op.name).join(JOURNAL)) {
        op.out.warn(&format!("WARNING: {error}"));
    }
    if let Some(path) = &running.cgroup {
        running::remove_cgroup(op.name.as_str(), Path::new(path))
            .map_err(BootError::system("remove the zone's cgroup"))?;
    }
    // A supervisor whose console nobody watches ends by itself now; one that is watched stays.
    let mut watched = false;
    if running.supervisor_alive() {
        let start = Instant::now();
        let limit = Duration::from_secs(2);
        if let Ok(supervisor) = Handle::open(running.supervisor) {
            while running.supervisor_alive() && start.elapsed() < limit {
                if supervisor.wait_gone(5).map_err(BootError::system("wait for zoneadmd"))? {
                    break;
                }
                watched = client::is_watched(root, op.name);
                if watched {
                    break;
                }
            }
        }
    }
    remove_run_files(root, op.name, watched);
    Ok(())
}
