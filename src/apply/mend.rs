//! Puts a lost run-time folder of a running zone back.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apply::console::{RESTORE, client};
use crate::apply::dataset::registry;
use crate::apply::paths::Root;
use crate::apply::rundir::{self, CONSOLE, RECORD, Running, copy, make_run_dir, replace_record};
use crate::apply::running;
use crate::apply::store::FileStore;
use crate::spec::ZoneName;
use crate::sys::ns;
use crate::sys::path::reason;
use crate::sys::process::{Handle, start_time};

/// How long a supervisor may take to answer again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Restores missing files of a zone's run-time folder, and has its supervisor answer there again. The caller holds
/// the zone's lock. Says whether anything was missing.
///
/// # Errors
/// The system's error; the zone can be ended all the same.
pub fn put_back(root: &Root, zone: &ZoneName, running: &Running) -> io::Result<bool> {
    let dir = root.zone_run(zone);
    let record = rundir::record(root, zone).filter(Running::is_alive);
    if record.is_some() && dir.join(CONSOLE).exists() {
        return Ok(false);
    }
    make_run_dir(root, &dir)?;
    copy::put_back(root, zone);
    pin_again(&dir, running.init);
    let mut running = record.clone().unwrap_or_else(|| running.clone());
    if !running.supervisor_alive()
        && let Some(pid) = running::supervisor(root, zone)
    {
        (running.supervisor, running.supervisor_start) = (pid, start_time(pid).unwrap_or(0));
    }
    if running.id == 0 {
        running.id = running::next_id(root)?;
    }
    if record.is_none() {
        replace_record(&dir.join(RECORD), &running.to_string())?;
    }
    let _ = copy::keep(root, zone, &running);
    answer_again(root, zone, &running);
    Ok(true)
}

/// Pins the namespace that datasets are attached to, when the pin has gone with the folder.
fn pin_again(run: &Path, init: i32) {
    if !registry::recorded(run).is_empty()
        && !registry::is_pinned(run)
        && let Ok(users) = ns::open(init, "user")
    {
        let _ = registry::pin(run, users.as_fd());
    }
}

/// Has a living supervisor serve its sockets in the folder again.
fn answer_again(root: &Root, zone: &ZoneName, running: &Running) {
    if !running.supervisor_alive() || client::is_listening(root, zone) {
        return;
    }
    let Ok(handle) = Handle::open(running.supervisor) else { return };
    if !running.supervisor_alive() || handle.signal(RESTORE).is_err() {
        return;
    }
    let start = Instant::now();
    while !client::is_listening(root, zone) && start.elapsed() < ANSWERS_WITHIN {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Restores a lost folder where no other process works on the zone, for a command that only enters it.
pub fn mend(store: &FileStore, zone: &ZoneName, running: &Running) -> Result<(), String> {
    if store.root().zone_run(zone).join(RECORD).exists() {
        return Ok(());
    }
    match store.try_lock(zone, "a mend of the run-time folder") {
        Ok(Some(_lock)) => put_back(store.root(), zone, running).map(drop).map_err(|e| reason(&e)),
        Ok(None) => Ok(()),
        Err(e) => Err(e.to_string()),
    }
}
