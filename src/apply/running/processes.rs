//! Finding zones among all processes of the host.
//!
//! | process | belongs to a zone when |
//! |---|---|
//! | supervisor | it is root's, in our user namespace, and was started as `zoneadmd -z NAME` for this root |
//! | first process | it is the first one of a pid namespace below ours, in a user namespace of its own, and the child of the zone's supervisor or in the zone's tree |
//!
//! A zone chooses the names and arguments of its processes, so these are not asked.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lives;
use crate::apply::paths::Root;
use crate::apply::rundir::Running;
use crate::spec::{ZoneName, toml};
use crate::sys::process::start_time;
use crate::sys::task::{first_of_namespace, parent};

/// How long a listing is good for the next zone: a list of thousands of zones reads once.
const FRESH: Duration = Duration::from_millis(100);

/// A process that may be the first one of a zone.
#[derive(Clone, Debug)]
struct FirstProcess {
    pid: i32,
    start: u64,
    parent: i32,
}

/// The processes of zones that were seen.
#[derive(Clone, Debug, Default)]
struct SeenProcesses {
    supervisors: Vec<(ZoneName, i32)>,
    firsts: Vec<FirstProcess>,
}

/// Finds the first process of a zone.
pub(super) fn find(root: &Root, zone: &ZoneName) -> Option<Running> {
    let seen = recent_processes(root);
    let supervisor = seen.supervisors.iter().find(|(name, _)| name == zone).map(|(_, pid)| *pid);
    let child = seen.firsts.iter().find(|f| Some(f.parent) == supervisor);
    // A first process that was taken over from a dead supervisor is no child of the new one.
    let first = child.or_else(|| {
        let tree = tree(root, zone).filter(|_| !seen.firsts.is_empty())?;
        seen.firsts.iter().find(|f| folder(&root_of(f.pid)) == Some(tree))
    })?;
    lives(first.pid, None).filter(|running| running.init_start == first.start)
}

/// Returns the names of the zones that may have processes.
pub(super) fn names(root: &Root) -> Vec<ZoneName> {
    let seen = recent_processes(root);
    let mut names: Vec<ZoneName> = seen.supervisors.iter().map(|(name, _)| name.clone()).collect();
    let is_child = |f: &FirstProcess| seen.supervisors.iter().any(|(_, pid)| *pid == f.parent);
    let trees: Vec<_> =
        seen.firsts.iter().filter(|f| !is_child(f)).filter_map(|f| folder(&root_of(f.pid))).collect();
    if !trees.is_empty() {
        let specs = fs::read_dir(root.spec_dir()).into_iter().flatten().flatten();
        let zones = specs.filter_map(|e| ZoneName::new(e.file_name().to_str()?.strip_suffix(".toml")?).ok());
        names.extend(zones.filter(|zone| tree(root, zone).is_some_and(|t| trees.contains(&t))));
    }
    names
}

/// Looks for the supervisor of a zone.
pub fn supervisor(root: &Root, zone: &ZoneName) -> Option<i32> {
    let users = fs::read_link("/proc/self/ns/user").ok()?;
    pids().find(|pid| supervised(root, &users, *pid).as_ref() == Some(zone))
}

/// Says whether the root of a process is the tree of a zone, and its user namespace another one than ours.
pub(super) fn is_in_tree_of(root: &Root, zone: &ZoneName, pid: i32) -> bool {
    let users = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let tree = tree(root, zone);
    tree.is_some() && tree == folder(&root_of(pid)) && users(&pid.to_string()) != users("self")
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// Looks at all processes, or returns the last listing while it is fresh.
fn recent_processes(root: &Root) -> SeenProcesses {
    static LAST: Mutex<Option<(Instant, Root, SeenProcesses)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((at, of, seen)) = &*last
        && at.elapsed() < FRESH
        && of == root
    {
        return seen.clone();
    }
    let seen = read_processes(root);
    *last = Some((Instant::now(), root.clone(), seen.clone()));
    seen
}

fn read_processes(root: &Root) -> SeenProcesses {
    let mut seen = SeenProcesses::default();
    let Ok(users) = fs::read_link("/proc/self/ns/user") else { return seen };
    for pid in pids() {
        if let Some(name) = supervised(root, &users, pid) {
            seen.supervisors.push((name, pid));
        } else if fs::read_link(format!("/proc/{pid}/ns/user")).is_ok_and(|u| u != users)
            && first_of_namespace(pid)
            && let Some(start) = start_time(pid)
            && let Some(parent) = parent(pid)
        {
            seen.firsts.push(FirstProcess { pid, start, parent });
        }
    }
    seen
}

/// Returns the zone that a process is the supervisor of.
fn supervised(root: &Root, users: &Path, pid: i32) -> Option<ZoneName> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let line = fs::read(dir.join("cmdline")).ok()?;
    let name = line.strip_prefix(b"zoneadmd\0-z\0")?.strip_suffix(b"\0")?;
    let name = ZoneName::new(std::str::from_utf8(name).ok()?).ok()?;
    let prefix = [b"ZONES_ROOT=", root.prefix().as_os_str().as_bytes()].concat();
    let is_ours = fs::metadata(&dir).is_ok_and(|m| m.uid() == 0)
        && fs::read_link(dir.join("ns/user")).is_ok_and(|u| u == users)
        && fs::read(dir.join("environ")).is_ok_and(|e| e.split(|b| *b == 0).any(|v| v == prefix));
    is_ours.then_some(name)
}

fn root_of(pid: i32) -> PathBuf {
    format!("/proc/{pid}/root").into()
}

/// Returns the identity of a folder.
fn folder(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((meta.dev(), meta.ino()))
}

/// Returns the folder that holds the tree of a zone, as its spec says now.
fn tree(root: &Root, zone: &ZoneName) -> Option<(u64, u64)> {
    let spec = toml::parse(zone, &fs::read(root.spec_file(zone)).ok()?).ok()?;
    folder(&root.host_path(Path::new(&spec.zonepath()?)).join("root"))
}
