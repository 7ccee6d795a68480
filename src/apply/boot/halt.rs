//! The end of a zone.

use std::path::Path;
use std::time::{Duration, Instant};

use super::start::{remove_run_files, sweep, write_record};
use super::{BootArgs, BootError, start};
use crate::apply::running::{self, Going, Running};
use crate::apply::{Op, journal, supervisor};
use crate::spec::state::ZoneState;
use crate::sys::cgroup;
use crate::sys::process::Handle;

/// How long `shutdown` waits for the zone's own shutdown, in seconds.
pub const SHUTDOWN_SECONDS: u64 = 60;

/// How long a killed process may take to end, in milliseconds.
const KILL_MILLIS: u64 = 10_000;

/// Halts a zone at once: kills every process and takes everything down.
///
/// # Errors
/// [`BootError`]; the zone stays in `shutting_down` then, and halt can be repeated.
pub fn halt(op: &mut Op<'_>) -> Result<(), BootError> {
    let _lock = op.store.lock(op.name)?;
    if let Some(running) = running::find(op.store.root(), op.name) {
        return take_down(op, &running, Going::Halt);
    }
    sweep(op.store.root(), op.name);
    remove_run_files(op.store.root(), op.name, supervisor::client::is_listening(op.store.root(), op.name));
    op.out.warn("zone is already halted");
    Ok(())
}

/// Asks the zone's init for an orderly end, waits for it, and boots again when `again` is given.
///
/// # Errors
/// [`BootError`]; the zone runs on when it does not end in time.
pub fn shutdown(op: &mut Op<'_>, again: Option<&BootArgs>) -> Result<(), BootError> {
    let lock = op.store.lock(op.name)?;
    let Some(mut running) = running::find(op.store.root(), op.name) else {
        op.out.warn("zone is already halted");
        return Ok(());
    };
    if running.state == ZoneState::Ready {
        return Err(BootError::NotRunning);
    }
    let handle = open(&running)?;
    let going = if again.is_some() { Going::Reboot } else { Going::Halt };
    running.going = Some(going);
    let before = running.state;
    running.state = ZoneState::ShuttingDown;
    write_record(op.store.root(), op.name, &running).map_err(BootError::system("write the record"))?;
    if let Some(handle) = handle {
        // SIGRTMIN+4 is what systemd(1) takes as "power off"; the built-in init knows it too.
        let power_off = power_off_signal(&running).unwrap_or(libc::SIGPWR);
        handle.signal(power_off).map_err(BootError::system("signal init"))?;
        if !handle.wait_gone(SHUTDOWN_SECONDS * 1000).map_err(BootError::system("wait for init"))? {
            running.going = None;
            running.state = before;
            write_record(op.store.root(), op.name, &running)
                .map_err(BootError::system("write the record"))?;
            return Err(BootError::Slow(SHUTDOWN_SECONDS));
        }
    }
    clean(op, &running)?;
    match again {
        Some(args) => start::start(op, args, start::Goal::Running, lock),
        None => Ok(()),
    }
}

/// Returns the signal that makes this init power off; none for an init that is not known.
fn power_off_signal(running: &Running) -> Option<i32> {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", running.init)).ok()?;
    match name.trim() {
        // The built-in init is executed by descriptor: the kernel names it after its file, or, before
        // Linux 6.14, after the number.
        "systemd" | "init" | ".init" => Some(crate::sys::process::realtime(4)),
        n if n.bytes().all(|b| b.is_ascii_digit()) => Some(crate::sys::process::realtime(4)),
        _ => None,
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
    write_record(op.store.root(), op.name, &running).map_err(BootError::system("write the record"))?;
    if let Some(handle) = handle {
        handle.signal(libc::SIGKILL).map_err(BootError::system("kill process 1"))?;
        if !handle.wait_gone(KILL_MILLIS).map_err(BootError::system("wait for process 1"))? {
            return Err(BootError::Stuck(running.init));
        }
    }
    clean(op, &running)
}

/// Removes what is left of a zone whose processes are gone, and lets its supervisor go.
fn clean(op: &Op<'_>, running: &Running) -> Result<(), BootError> {
    let root = op.store.root();
    let errors = journal::recover(&root.zone_run(op.name).join("journal"));
    if let Some(path) = &running.cgroup {
        cgroup::remove(Path::new(path)).map_err(BootError::system("remove the zone's cgroup"))?;
    }
    drop(errors);
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
                watched = supervisor::client::is_watched(root, op.name);
                if watched {
                    break;
                }
            }
        }
    }
    remove_run_files(root, op.name, watched);
    Ok(())
}
