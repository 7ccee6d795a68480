//! Which zones the kernel is running now.
//!
//! The kernel objects are the truth. The record of a zone only says how to find them. A cleaner may have removed the
//! run-time folder, and the supervisor may have died. The zone is found then by:
//!
//! | remains | known by them |
//! |---|---|
//! | `/var/lib/zones/.running/NAME`, a copy of the small files of the run-time folder | everything |
//! | the populated cgroup of the zone's name (cgroup v2) | its state, and its first process |
//! | its processes, where the host has no cgroup v2 (see `running::processes`) | the same |

mod number;
mod pools;
mod processes;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::apply::paths::{Root, group_suffix};
use crate::apply::rundir::copy;
use crate::apply::{lock, stuck};
use crate::plan::limits;
use crate::spec::idmap::IdRange;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::{ZoneName, toml};
use crate::sys::process::start_time;
use crate::sys::task::first_of_namespace;
use crate::sys::{cgroup, made};

pub use super::rundir::{RECORD, Running, StopReason, record};
pub use number::next_id;
pub use processes::supervisor;

/// Finds a running zone. A record whose process is gone is not believed, and neither is its absence.
pub fn find(root: &Root, zone: &ZoneName) -> Option<Running> {
    record(root, zone).filter(Running::is_alive).or_else(|| unrecorded(root, zone))
}

/// Returns the names of all zones that may run.
pub fn candidates(root: &Root) -> BTreeSet<ZoneName> {
    let entries = std::fs::read_dir(root.run_dir()).into_iter().flatten().flatten();
    let mut names: BTreeSet<_> =
        entries.filter_map(|e| ZoneName::new(e.file_name().to_str()?).ok()).collect();
    names.extend(unrecorded_names(root, &names));
    names
}

/// Finds all running zones, by id.
pub fn all(root: &Root) -> Vec<(ZoneName, Running)> {
    let names = candidates(root).into_iter();
    let found = names.filter_map(|name| find(root, &name).map(|running| (name, running)));
    let mut zones: Vec<_> = found.collect();
    zones.sort_by_key(|(_, r)| r.id);
    zones
}

/// Finds a running zone that has no record. Its number is 0 where only the kernel shows it.
///
/// A zone that is just being booted or ended looks the same to the kernel. So the kernel is not asked while another
/// process has an operation on the zone in progress: no process is to enter a half-made zone.
fn unrecorded(root: &Root, zone: &ZoneName) -> Option<Running> {
    if let Some(copy) = copy::record(root, zone).filter(Running::is_alive) {
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
    record(root, zone).filter(Running::is_alive).or(Some(found))
}

/// Returns the names of all zones that may run without a record, beside those that are known anyway.
fn unrecorded_names(root: &Root, known: &BTreeSet<ZoneName>) -> Vec<ZoneName> {
    let below = |dir: &Path, folders: bool| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let wanted = entries.filter(|e| !folders || e.file_type().is_ok_and(|kind| kind.is_dir()));
        wanted.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let unknown = |name: &str| ZoneName::new(name).ok().filter(|name| !known.contains(name));
    let mut names: Vec<_> =
        below(&copy::folder(root), false).iter().filter_map(|name| unknown(name)).collect();
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
        // The kernel's own files there have names that a zone may have as well.
        names.extend(below(&shared, true).iter().filter_map(|file| named(&shared, file, file)));
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
    // Its pool, by the present spec: reading the whole spec would cost too much for zones without a pool.
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
        stop_reason: None,
        announced: None,
        cgroup: group.map(|path| path.to_string_lossy().into_owned()),
        links: None,
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
            stuck::named(self.pid),
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

/// Returns the ids of the host that a process's user namespace has, users and groups; none when the process
/// is gone.
pub fn ids(pid: i32) -> Vec<IdRange> {
    let maps = ["uid_map", "gid_map"].map(|file| made::read(format!("/proc/{pid}/{file}")));
    let text = maps.into_iter().flatten().collect::<String>();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse);
            let mut next = || fields.next()?.ok();
            Some(IdRange { inside: next()?, outside: next()?, count: next()? })
        })
        .collect()
}

/// Removes a zone's cgroup and kills the processes in it. A path that is not the cgroup of a zone of that name is
/// left alone: a broken record must not end other processes.
///
/// # Errors
/// The system's error.
pub fn remove_cgroup(zone: &str, path: &Path) -> std::io::Result<()> {
    remove_group(cgroup::mount_point().as_deref(), zone, path)
}

/// The same below `top`, where cgroup v2 is mounted.
fn remove_group(top: Option<&Path>, zone: &str, path: &Path) -> std::io::Result<()> {
    let folder = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    // As `plan::limits::folder` names it, with the suffix of an alternate root.
    let name = folder.strip_prefix("zones.").unwrap_or(folder);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let below = top.is_some_and(|top| path.starts_with(top));
    let plain = path.components().all(|c| !matches!(c, Component::ParentDir));
    // A zone may be called `zones.x`.
    if below && plain && (name == zone || folder.split('@').next() == Some(zone)) {
        cgroup::remove(path)
    } else {
        Err(std::io::Error::other("it is not this zone's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// Folders stand for cgroups, and so does one for `cgroup.kill`: as on a kernel that has none it cannot be
    /// written, and it goes with the others.
    fn group(path: &Path) {
        for inner in ["cgroup.kill", "init.scope", "user.slice/of/a/user"] {
            fs::create_dir_all(path.join(inner)).expect("a folder");
        }
    }

    #[test]
    fn the_cgroup_of_the_zone_is_removed_with_all_below() {
        let temp = tempfile::tempdir().expect("a folder");
        let top = temp.path();
        for (zone, place) in [
            ("zion", "zones/zion"),
            ("zion", "zones/zion@c8d89852"),
            ("zion", "zones.zion"),
            ("zion", "pool/zones.zion@c8d89852"),
            ("zones.x", "zones/zones.x"),
        ] {
            let path = top.join(place);
            group(&path);
            remove_group(Some(top), zone, &path).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert!(!path.exists(), "{place}");
            assert!(path.parent().is_some_and(Path::exists), "{place}: the folder above stays");
            remove_group(Some(top), zone, &path).unwrap_or_else(|e| panic!("{place}, gone already: {e}"));
        }
    }

    #[test]
    fn a_cgroup_of_others_is_left_alone() {
        let temp = tempfile::tempdir().expect("a folder");
        let top = temp.path().join("cgroup");
        for place in ["zones/web", "zones", "user.slice/zion/user@0.service", "zones/zion2", "zones/web@zion"]
        {
            let path = top.join(place);
            group(&path);
            let error = remove_group(Some(&top), "zion", &path).expect_err(place);
            assert_eq!(error.to_string(), "it is not this zone's", "{place}");
            assert!(path.join("user.slice/of/a/user").exists(), "{place}");
        }
        let outside = temp.path().join("zion");
        group(&outside);
        group(&top.join("zones/zion"));
        for path in [outside.clone(), top.join("../zion"), top.join("zones/../../zion")] {
            remove_group(Some(&top), "zion", &path).expect_err("outside");
            assert!(outside.join("init.scope").exists(), "{}", path.display());
        }
        remove_group(None, "zion", &top.join("zones/zion")).expect_err("no cgroup v2");
        assert!(top.join("zones/zion/init.scope").exists());
    }

    #[test]
    fn a_cgroup_that_cannot_be_removed_is_told() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("zones/zion");
        // A plain file does not go with its folder, as those of the kernel do.
        for file in ["cgroup.kill", "init.scope/file", "user.slice/of/a/user/file", "file"] {
            group(&path);
            if file == "cgroup.kill" {
                fs::remove_dir(path.join(file)).expect("removed");
            }
            fs::write(path.join(file), "").expect("written");
            let error = remove_group(Some(temp.path()), "zion", &path).expect_err(file);
            assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty, "{file}");
            let killed = fs::read_to_string(path.join(file)).expect("it stays");
            assert_eq!(killed, if file == "cgroup.kill" { "1" } else { "" }, "{file}");
            fs::remove_file(path.join(file)).expect("removed");
            group(&path);
            remove_group(Some(temp.path()), "zion", &path).unwrap_or_else(|e| panic!("{file}, again: {e}"));
            assert!(!path.exists(), "{file}");
        }
    }
}
