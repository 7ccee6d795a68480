//! The order of mounts: a mount hides everything that was mounted below its directory before.

use std::path::Path;

use serde::Deserializer;
use thiserror::Error;

use super::image::{InheritedDir, MemoryDir, OrderedMount, known};
use super::profile::{self, Profile};
use super::step::Mount;
use crate::spec::ZoneSpec;
use crate::spec::schema::ResourceKind;

/// Where the kernel's file systems lie in a zone, beside its root and its devices.
const MOUNTED: &[(&str, &str)] = &[
    ("/proc", "proc"),
    ("/sys", "sysfs"),
    ("/dev/pts", "devpts"),
    ("/dev/mqueue", "mqueue"),
    ("/dev/console", "console"),
];

/// Says what of the zone's own lies on a directory where an `fs` resource can therefore not be.
pub fn reserved_fs(dir: &str) -> Option<&'static str> {
    if dir == "/" || dir == "/dev" {
        return Some("root or device tree");
    }
    MOUNTED.iter().find(|(own, _)| Path::new(dir).starts_with(own)).map(|(_, what)| *what)
}

/// Directories in memory that every zone has: mode and share of the machine's memory in percent. That is memory
/// which the end of the zone's processes does not free: the kernel's own limit is half of all for each.
const MEMORY: [(&str, u32, u32); 2] = [("/dev/shm", 0o1777, 25), ("/run", 0o755, 10)];

/// Returns the directories in memory.
pub fn memory(spec: &ZoneSpec, profile: Option<Profile>) -> Vec<MemoryDir> {
    let given = |dir: &str| spec.stored(ResourceKind::Fs).iter().any(|fs| fs.text("dir") == Some(dir));
    let all = MEMORY.into_iter().chain(profile.map(|_| profile::MEMORY)).filter(|m| !given(m.0));
    all.map(|(dir, mode, percent)| MemoryDir { dir, mode, percent }).collect()
}

/// Reads a directory that some zone has in memory.
pub(super) fn known_memory<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    known::one(from, &MEMORY.map(|m| m.0).into_iter().chain([profile::MEMORY.0]).collect::<Vec<_>>())
}

/// Directories of the zone's own, which nothing of the host's is mounted on or below.
const KERNEL: &[(&str, &str)] = &[("/dev", "devices"), ("/proc", "/proc"), ("/sys", "/sys")];

/// A directory that every zone has of its own, and the mount in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("could not verify inherit-pkg-dir {0}: every zone has its own {1} there; inherit another directory")]
pub struct Reserved(String, &'static str);

/// Returns the directories that a spec inherits, but for those that the host has as links into others.
///
/// # Errors
/// [`Reserved`], also for the directories of the zone's own memory.
pub fn inherited<'a>(
    spec: &'a ZoneSpec,
    linked: &[String],
    memory: &[&str],
) -> Result<Vec<&'a str>, Reserved> {
    let mut dirs: Vec<&str> =
        spec.stored(ResourceKind::InheritPkgDir).iter().filter_map(|r| r.text("dir")).collect();
    dirs.retain(|dir| !linked.iter().any(|l| l == dir));
    match dirs.iter().find_map(|dir| Some((*dir, reserved(dir, memory)?))) {
        Some((dir, what)) => Err(Reserved(dir.to_owned(), what)),
        None => Ok(dirs),
    }
}

fn reserved(dir: &str, memory: &[&str]) -> Option<&'static str> {
    if memory.iter().any(|m| Path::new(dir) == Path::new(m)) {
        return Some("memory");
    }
    KERNEL.iter().find(|(own, _)| Path::new(dir).starts_with(own)).map(|(_, what)| *what)
}

/// Says whether the first directory lies below the second.
fn below(dir: &str, other: &str) -> bool {
    Path::new(dir) != Path::new(other) && Path::new(dir).starts_with(other)
}

/// InheritedDir directories and `fs` resources, in their order.
#[derive(Debug)]
pub struct Order<'a> {
    /// Directories that are inherited before the zone's memory and devices are there.
    pub first: Vec<&'a str>,
    /// Everything that may lie below one of those, or below an `fs` resource.
    pub then: Vec<OrderedMount>,
}

/// Returns the order in which no mount hides another that belongs below it. Of two on one directory the `fs`
/// resource is visible.
pub fn order<'a>(
    mut inherit: Vec<&'a str>,
    mounts: Vec<Mount>,
    memory: &[&str],
    inherited: impl Fn(&str) -> InheritedDir,
) -> Order<'a> {
    inherit.sort_unstable_by_key(|dir| Path::new(*dir));
    inherit.dedup();
    let covered =
        |dir: &&str| memory.iter().any(|m| below(dir, m)) || mounts.iter().any(|m| below(dir, &m.dir));
    let (late, first): (Vec<&str>, Vec<&str>) = inherit.into_iter().partition(covered);
    let mut then: Vec<(String, OrderedMount)> =
        late.into_iter().map(|dir| (dir.to_owned(), OrderedMount::Inherit(inherited(dir)))).collect();
    then.extend(mounts.into_iter().map(|m| (m.dir.clone(), OrderedMount::Fs(Box::new(m)))));
    // The sort is stable: inherited directories come before mounts.
    then.sort_by(|a, b| Path::new(&a.0).cmp(Path::new(&b.0)));
    Order { first, then: then.into_iter().map(|(_, step)| step).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::options::MountOptions;
    use crate::plan::step::MountSource;

    fn mount(dir: &str) -> Mount {
        Mount {
            dir: dir.into(),
            special: "x".into(),
            within: None,
            raw: None,
            fstype: "tmpfs".into(),
            source: MountSource::Tmpfs,
            options: MountOptions::default(),
        }
    }

    #[test]
    fn nothing_hides_what_belongs_below_it() {
        let memory = ["/run", "/tmp", "/dev/shm"];
        let inherit = vec!["/usr", "/tmp/tools", "/opt/a/b", "/opt", "/srv/x", "/tmp-tools", "/opt/a"];
        let got =
            order(inherit, vec![mount("/srv"), mount("/opt/a"), mount("/tmp/tools/var")], &memory, |dir| {
                InheritedDir { dir: dir.to_owned(), programs: None }
            });
        assert_eq!(got.first, ["/opt", "/opt/a", "/tmp-tools", "/usr"]);
        let then: Vec<String> = got
            .then
            .iter()
            .map(|placed| match placed {
                OrderedMount::Inherit(InheritedDir { dir, .. }) => format!("inherit {dir}"),
                OrderedMount::Fs(m) => format!("fs {}", m.dir),
            })
            .collect();
        assert_eq!(
            then,
            [
                "fs /opt/a",
                "inherit /opt/a/b",
                "fs /srv",
                "inherit /srv/x",
                "inherit /tmp/tools",
                "fs /tmp/tools/var"
            ]
        );
    }

    #[test]
    fn places_of_the_zones_own() {
        for dir in ["/dev", "/dev/dri", "/proc/sys", "/sys", "/run", "/tmp", "/dev/shm"] {
            assert!(reserved(dir, &["/run", "/tmp", "/dev/shm"]).is_some(), "{dir}");
        }
        for dir in ["/devices", "/run/current-system", "/tmp/tools", "/usr"] {
            assert_eq!(reserved(dir, &["/run", "/tmp", "/dev/shm"]), None, "{dir}");
        }
    }
}
