//! Finding a zone that runs although its run-time folder tells nothing of it, and putting that folder back.
//!
//! A cleaner may have removed the folder, and the supervisor may have died. What finds the zone then:
//!
//! | what is left | what it tells |
//! |---|---|
//! | `/var/lib/zones/.running/NAME`, a copy of the small files of the run-time folder | everything |
//! | the populated cgroup of the zone's name (cgroup v2) | that it runs, and its first process |
//! | its processes, where the host has no cgroup v2 (see `found::processes`) | the same |

mod copy;
mod pools;
mod processes;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::apply::boot::start::{make_run_dir, next_id, replace_record};
use crate::apply::dataset::registry;
use crate::apply::lock;
use crate::apply::paths::{Root, group_suffix};
use crate::apply::running::{self, RECORD, Running};
use crate::apply::store::FileStore;
use crate::apply::supervisor::{self, client};
use crate::plan::limits;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::{ZoneName, toml};
use crate::sys::path::reason;
use crate::sys::process::{Handle, start_time};
use crate::sys::task::first_of_namespace;
use crate::sys::{cgroup, ns};

/// How long a supervisor may take to answer again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Keeps a copy of a record, and of what belongs to it.
pub fn keep(root: &Root, zone: &ZoneName, running: &Running) {
    // Without the copy the zone is found by its cgroup only, which is enough in all but rare cases.
    let _ = copy::keep(root, zone, running);
}

/// Forgets the copy of a zone that runs no longer.
pub fn forget(root: &Root, zone: &ZoneName) {
    copy::remove(root, zone);
}

/// Returns the copy of a record that was made in this boot of the host, whether or not the zone lives.
pub fn copy_of_record(root: &Root, zone: &ZoneName) -> Option<Running> {
    copy::record(root, zone)
}

/// Finds a running zone that has no record. Its number is 0 where only the kernel tells of it.
///
/// A zone that is just being booted or ended looks the same to the kernel. So the kernel is not asked while
/// another process has an operation on the zone in progress: nobody is to enter a zone that is half made.
pub fn find(root: &Root, zone: &ZoneName) -> Option<Running> {
    if let Some(copy) = copy_of_record(root, zone).filter(Running::is_alive) {
        return Some(copy);
    }
    let found = match cgroup::mount_point() {
        Some(mount) => by_group(root, zone, &mount),
        None => processes::find(root, zone),
    }?;
    if lock::is_worked_on(root, zone) {
        return None;
    }
    // An operation that has ended since the first look has written it.
    running::record(root, zone).filter(Running::is_alive).or(Some(found))
}

/// Returns the names of all zones that may run without a record, beside those that are known anyway.
pub fn names(root: &Root, known: &BTreeSet<ZoneName>) -> Vec<ZoneName> {
    let files = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let unknown = |name: &str| ZoneName::new(name).ok().filter(|name| !known.contains(name));
    let mut names: Vec<_> = files(&copy::folder(root)).iter().filter_map(|name| unknown(name)).collect();
    let Some(mount) = cgroup::mount_point() else {
        names.extend(processes::names(root));
        return names;
    };
    let suffix = group_suffix(root);
    let named = |dir: &Path, file: &str, name: &str| {
        let name = name.strip_suffix(&suffix).filter(|n| !n.contains('@'))?;
        unknown(name).filter(|_| cgroup::is_populated(&dir.join(file)))
    };
    let shared = mount.join("zones");
    if cgroup::children(&shared).is_some_and(|count| count > 0) {
        names.extend(files(&shared).iter().filter_map(|file| named(&shared, file, file)));
    }
    // With cpus of their own.
    let top = pools::top(&mount);
    names.extend(top.iter().filter_map(|file| named(&mount, file, file.strip_prefix("zones.")?)));
    names
        .extend(pools::names(&mount, &suffix, |name| !known.contains(name) && root.spec_file(name).exists()));
    names
}

/// Returns the folders that a zone's cgroup may have.
fn groups(root: &Root, zone: &ZoneName) -> Vec<PathBuf> {
    let Some(mount) = cgroup::mount_point() else { return Vec::new() };
    let name = format!("{zone}{}", group_suffix(root));
    let mut list = vec![mount.join("zones").join(&name), mount.join(format!("zones.{name}"))];
    // Its pool, as the spec tells it now: to read the whole spec is too much for those without.
    let bytes = fs::read(root.spec_file(zone)).unwrap_or_default();
    if bytes.windows(4).any(|w| w == b"pool")
        && let Ok(spec) = toml::parse(zone, &bytes)
    {
        list.push(limits::folder(&spec, &mount, &name));
    }
    list
}

/// Finds a zone by the cgroup of its name.
fn by_group(root: &Root, zone: &ZoneName, mount: &Path) -> Option<Running> {
    let first = |group: PathBuf| {
        let list = if cgroup::is_populated(&group) { cgroup::members(&group) } else { Vec::new() };
        list.into_iter().find(|pid| first_of_namespace(*pid)).map(|init| (group, init))
    };
    // A pool may be another one than the spec says now. A cgroup of that name there may be anything, such
    // as a container's: the process must be in the zone's tree.
    let elsewhere = || {
        let name = format!("{zone}{}", group_suffix(root));
        let mut found = pools::groups(mount, &name).into_iter().filter_map(first);
        found.find(|(_, init)| processes::is_in_tree_of(root, zone, *init))
    };
    let (group, init) = groups(root, zone).into_iter().find_map(first).or_else(elsewhere)?;
    lives(init, Some(&group))
}

/// Returns the record of a zone of which only its first process is known.
fn lives(init: i32, group: Option<&Path>) -> Option<Running> {
    Some(Running {
        id: 0,
        state: ZoneState::Running,
        init,
        init_start: start_time(init)?,
        supervisor: 0,
        supervisor_start: 0,
        going: None,
        cgroup: group.map(|path| path.to_string_lossy().into_owned()),
    })
}

/// Processes in the cgroup of a zone that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strays {
    /// The cgroup.
    pub group: PathBuf,
    /// The first of the processes.
    pub pid: i32,
}

impl std::fmt::Display for Strays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} is in the zone's cgroup {}; 'zoneadm halt' ends it",
            crate::apply::stuck::named(self.pid),
            self.group.shown()
        )
    }
}

/// Looks for processes in the cgroup of a zone that has no first process.
pub fn strays(root: &Root, zone: &ZoneName) -> Option<Strays> {
    let group = groups(root, zone).into_iter().find(|path| cgroup::is_populated(path))?;
    let pid = cgroup::members(&group).into_iter().next()?;
    Some(Strays { group, pid })
}

/// Puts back what the run-time folder of a zone has lost, and has its supervisor answer there again. The
/// caller holds the zone's lock. Says whether anything was missing.
///
/// # Errors
/// The system's error; the zone can be ended all the same.
pub fn put_back(root: &Root, zone: &ZoneName, running: &Running) -> io::Result<bool> {
    let dir = root.zone_run(zone);
    let record = running::record(root, zone).filter(Running::is_alive);
    if record.is_some() && dir.join(supervisor::SOCKET).exists() {
        return Ok(false);
    }
    make_run_dir(root, &dir)?;
    copy::put_back(root, zone);
    pin_again(&dir, running.init);
    let mut running = record.clone().unwrap_or_else(|| running.clone());
    if !running.supervisor_alive()
        && let Some(pid) = processes::supervisor(root, zone)
    {
        (running.supervisor, running.supervisor_start) = (pid, start_time(pid).unwrap_or(0));
    }
    if running.id == 0 {
        running.id = next_id(root)?;
    }
    if record.is_none() {
        replace_record(&dir.join(RECORD), &running.to_string())?;
    }
    keep(root, zone, &running);
    answer_again(root, zone, &running);
    Ok(true)
}

/// Returns the datasets that are attached to a zone, or may be, also where its run-time folder is lost.
pub fn datasets(root: &Root, zone: &ZoneName) -> Vec<String> {
    let noted = registry::noted(&root.zone_run(zone));
    if !noted.is_empty() {
        return noted;
    }
    let kept = copy::file(root, zone, registry::LIST).unwrap_or_default();
    String::from_utf8_lossy(&kept).lines().map(str::to_owned).collect()
}

/// Copies the files that the run-time folder lacks.
pub fn put_files_back(root: &Root, zone: &ZoneName) {
    copy::put_back(root, zone);
}

/// Pins the namespace that datasets are attached to, when the pin has gone with the folder.
fn pin_again(run: &Path, init: i32) {
    if !registry::noted(run).is_empty()
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
    if !running.supervisor_alive() || handle.signal(supervisor::RESTORE).is_err() {
        return;
    }
    let start = Instant::now();
    while !client::is_listening(root, zone) && start.elapsed() < ANSWERS_WITHIN {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Puts a lost folder back where nobody else works on the zone, for whoever only enters it.
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
