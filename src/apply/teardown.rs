//! Takes a zone down: ends its processes, and removes its remains.
//!
//! Every end of a zone goes through here, whatever causes it: a command, the zone itself, a boot that failed, or the
//! next command after a crash.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apply::boot::BootError;
use crate::apply::console::client;
use crate::apply::net::PortRemoval;
use crate::apply::paths::Root;
use crate::apply::rundir::{
    self, GUARD, IMAGE, IMAGE_DRAFT, JOURNAL, NEXT_BOOT, RECORD, RECORD_DRAFT, Running, SPEC, StopReason,
    copy, make_run_dir, write_record_only,
};
use crate::apply::store::FileStore;
use crate::apply::stuck::{self, Left};
use crate::apply::{Op, claim, dataset, engine, fault, running};
use crate::spec::ZoneName;
use crate::sys::path::reason;
use crate::sys::process::Handle;

/// How long a killed process may take to end, in milliseconds.
const KILL_MILLIS: u64 = 10_000;

/// How long to wait for the processes before looking at their state: also on a busy host the kernel needs less for
/// an ordinary zone, so a halt that is followed by an uninstall finds the zone installed.
const LOOK_MILLIS: u64 = 2_000;

/// Warns of a record that could not be written: an action that frees the host must not need room.
pub fn warn_unwritten(op: &mut Op<'_>, done: io::Result<()>) {
    if let Err(e) = done {
        op.out.warn(&format!("WARNING: cannot write the record of the zone: {}; going on", reason(&e)));
    }
}

/// Opens the first process of a zone; none when it has ended.
///
/// # Errors
/// [`BootError`]: it cannot be opened.
pub fn open(running: &Running) -> Result<Option<Handle>, BootError> {
    match Handle::open(running.init) {
        // Between the look at the record and the open the number may have been given again.
        Ok(handle) if running.is_alive() => Ok(Some(handle)),
        Ok(_) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(BootError::System { action: "open process 1", source: e }),
    }
}

/// Kills a zone and removes its remains. The caller holds the lock.
///
/// # Errors
/// [`BootError`]; the zone stays in `shutting_down` then.
pub fn take_down(op: &mut Op<'_>, running: &Running, stop_reason: StopReason) -> Result<(), BootError> {
    let handle = open(running)?;
    let mut running = running.clone().announce(stop_reason);
    // The copy of the record is not: it is not believed any more in a moment.
    warn_unwritten(op, write_record_only(op.store.root(), op.name, &running));
    fault::point("announced");
    if let Some(handle) = handle {
        log::debug!("kill process 1, {}", running.init);
        handle.signal(libc::SIGKILL).map_err(BootError::system("kill process 1"))?;
        running.announced = None;
        // The former record says nearly as much, as long as this command lives.
        let _ = write_record_only(op.store.root(), op.name, &running);
        match wait_for_end(&running, &handle, stop_reason)? {
            None => {}
            Some(left @ Left::CleanUp(_)) if stop_reason == StopReason::Halt => {
                op.out.warn(&format!("WARNING: {left}"));
                return Ok(());
            }
            Some(left) => return Err(BootError::Stuck(left)),
        }
    }
    // A reboot waits until the port is removed, because the next boot makes one of the same name.
    let ports = if stop_reason == StopReason::Halt { PortRemoval::Beside } else { PortRemoval::Awaited };
    remove_remains(op, &running, ports)
}

/// Waits for the end of a zone that was killed. Returns its remains: at once when only the kernel has to finish, no
/// further action depends on it and a supervisor removes the rest then; else after [`KILL_MILLIS`].
fn wait_for_end(
    running: &Running,
    handle: &Handle,
    stop_reason: StopReason,
) -> Result<Option<Left>, BootError> {
    let start = Instant::now();
    let rest_is_removed = stop_reason == StopReason::Halt && running.supervisor_alive();
    loop {
        if handle.wait_gone(LOOK_MILLIS).map_err(BootError::system("wait for process 1"))? {
            return Ok(None);
        }
        let late = start.elapsed() >= Duration::from_millis(KILL_MILLIS);
        match stuck::remains(running) {
            Some(left @ Left::CleanUp(_)) if rest_is_removed => return Ok(Some(left)),
            Some(left) if late => return Ok(Some(left)),
            None if !running.is_alive() => return Ok(None),
            _ => {}
        }
    }
}

/// Removes the remains of a zone whose processes are gone, and lets its supervisor go.
///
/// # Errors
/// [`BootError`]: something of it is left, and the command can be repeated.
pub fn remove_remains(op: &mut Op<'_>, running: &Running, ports: PortRemoval) -> Result<(), BootError> {
    let root = op.store.root();
    fault::point("killed");
    for error in dataset::take_back(root, op.name) {
        op.out.warn(&format!("WARNING: {error}"));
    }
    for error in engine::recover(&root.zone_run(op.name).join(JOURNAL), ports) {
        op.out.warn(&format!("WARNING: {error}"));
    }
    if let Some(path) = &running.cgroup {
        running::remove_cgroup(op.name.as_str(), Path::new(path))
            .map_err(BootError::system("remove the zone's cgroup"))?;
    }
    // No process has the ids any more. The supervisor ends meanwhile.
    release_ids(op.store, op.name);
    copy::remove(root, op.name);
    // A supervisor whose console has no client ends by itself now; one with a client stays.
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
    remove_files(root, op.name, watched);
    Ok(())
}

/// Undoes what a boot or a halt that crashed has left of a zone that does not run: its mounts, links, datasets, cgroup
/// and record. The other files of its run-time folder stay. The caller holds the lock.
pub fn recover_after_crash(root: &Root, name: &ZoneName) {
    let dir = root.zone_run(name);
    let copy = copy::record(root, name);
    if !dir.is_dir() && (copy.is_none() || make_run_dir(root, &dir).is_err()) {
        return copy::remove(root, name);
    }
    if copy.is_some() {
        copy::put_back(root, name);
    }
    claim::release(root, name, None);
    dataset::take_back(root, name);
    engine::recover(&dir.join(JOURNAL), PortRemoval::Awaited);
    if let Some(old) = running::record(root, name).or(copy).filter(|r| !r.is_alive()) {
        if let Some(cgroup) = old.cgroup {
            let _ = running::remove_cgroup(name.as_str(), Path::new(&cgroup));
        }
        let _ = fs::remove_file(dir.join(RECORD));
    }
    copy::remove(root, name);
}

/// Does as [`recover_after_crash`], and removes the files of the run-time folder as well, but for the console's while a
/// process serves it. The caller holds the lock.
pub fn recover_and_remove_files(root: &Root, name: &ZoneName) {
    recover_after_crash(root, name);
    remove_run_files(root, name, client::is_listening(root, name));
}

/// Removes the files of a zone that runs no longer, and its claim of ids; with `keep_console`, all files but the
/// console's.
pub fn remove_run_files(root: &Root, name: &ZoneName, keep_console: bool) {
    release_ids(&FileStore::open(root.clone()), name);
    copy::remove(root, name);
    remove_files(root, name, keep_console);
}

/// Takes back the claim of a zone's ids, which are those of its private range as a rule.
fn release_ids(store: &FileStore, name: &ZoneName) {
    let private = store.private_range(name).ok().flatten();
    claim::release(store.root(), name, private.map(|range| range.outside));
}

/// Removes the files of the run-time folder; with `keep_console`, all but the console's.
pub fn remove_files(root: &Root, name: &ZoneName, keep_console: bool) {
    let dir = root.zone_run(name);
    for file in [RECORD, RECORD_DRAFT, JOURNAL, SPEC, IMAGE, IMAGE_DRAFT, NEXT_BOOT, GUARD] {
        let _ = fs::remove_file(dir.join(file));
    }
    if !keep_console {
        let _ = fs::remove_file(dir.join(rundir::CONSOLE));
        let _ = fs::remove_file(dir.join(rundir::WATCHED));
        let _ = fs::remove_dir(&dir);
    }
}

#[cfg(test)]
#[path = "teardown/tests.rs"]
mod tests;
