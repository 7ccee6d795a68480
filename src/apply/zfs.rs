//! The facts that ZFS has about the datasets of a spec, and the owners of their mounts. Reads only.
//!
//! ZFS is opened when the first name is asked for: a zone without it never touches it.

#[cfg(test)]
pub(super) mod fake;
pub mod holders;
pub mod holding;
pub mod storage;
pub mod system;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use system::ZfsSystem;

use super::paths::Root;
use super::release::Release;
use super::running;
use crate::plan::options::MountOptions;
use crate::plan::zfs::{CurrentMount, DatasetFacts, FilesystemFacts, MountOwner};
use crate::spec::ZoneName;
use crate::sys::made;
use crate::sys::mountinfo::{self, MountEntry};
use crate::zfs::{self, DatasetError, DatasetKind, Mountpoint, Zfs};

/// How often a mount is looked for that the kernel still counts and no process shows: it may be that of
/// a zone that ends at this moment.
const LOOKS: u32 = 40;
const BETWEEN: Duration = Duration::from_millis(25);

/// Asks ZFS on behalf of one zone.
#[derive(Debug)]
pub struct Asker<'a> {
    root: &'a Root,
    zone: &'a ZoneName,
    zfs: OnceCell<Result<Zfs, String>>,
    /// The pools that were asked about, and whether each is imported read-only.
    pools: RefCell<BTreeMap<String, bool>>,
}

impl<'a> Asker<'a> {
    /// Makes an asker; nothing is opened yet.
    pub fn new(root: &'a Root, zone: &'a ZoneName) -> Self {
        Self { root, zone, zfs: OnceCell::new(), pools: RefCell::default() }
    }

    pub(super) fn zfs(&self) -> Result<&Zfs, &str> {
        self.zfs.get_or_init(|| Zfs::open().map_err(|e| chain(&e))).as_ref().map_err(String::as_str)
    }

    /// Finds out the kind of a dataset and the owner of its mount.
    pub fn dataset(&self, name: &str) -> DatasetFacts {
        if let Some(version) = too_old() {
            let why =
                format!("the ZFS of this host ({version}) cannot map ids; install OpenZFS 2.2 or newer");
            return DatasetFacts::Unknown(why);
        }
        let zfs = match self.zfs() {
            Ok(zfs) => zfs,
            Err(why) => return DatasetFacts::Unknown(why.to_owned()),
        };
        match zfs.dataset(name) {
            Ok(d) if d.kind == Some(DatasetKind::Filesystem) && !d.is_snapshot => {
                DatasetFacts::Filesystem(self.filesystem(&d))
            }
            Ok(_) => DatasetFacts::NotFilesystem,
            Err(DatasetError::DatasetNotFound(_)) => {
                not_imported(zfs, name).map_or(DatasetFacts::Missing, DatasetFacts::Unknown)
            }
            Err(e) => DatasetFacts::Unknown(chain(&e)),
        }
    }

    fn filesystem(&self, d: &zfs::Dataset) -> FilesystemFacts {
        let mut limits = limits(d);
        limits.read_only |= self.is_read_only(zfs::name::pool(&d.name));
        FilesystemFacts {
            legacy: d.mountpoint() == Mountpoint::Legacy,
            locked: is_locked(d),
            limits,
            mounted: self.holder(d),
        }
    }

    /// Says whether a pool is imported read-only. All its datasets share one question.
    fn is_read_only(&self, pool: &str) -> bool {
        *self
            .pools
            .borrow_mut()
            .entry(pool.to_owned())
            .or_insert_with(|| self.zfs().is_ok_and(|zfs| zfs.is_read_only(pool)))
    }

    /// Says whether there is a volume of that name that has a device.
    pub fn is_volume(&self, name: &str) -> bool {
        let found = self.zfs().ok().and_then(|zfs| zfs.dataset(name).ok());
        found.is_some_and(|d| {
            d.kind == Some(DatasetKind::Volume) && d.word("volmode").as_deref() != Some("none")
        })
    }

    /// Finds the owner of a filesystem's mount, this zone's own processes aside.
    fn holder(&self, d: &zfs::Dataset) -> Option<CurrentMount> {
        // The kernel keeps statistics of mounted filesystems, under the number of the object set.
        let counted = d.number("objsetid").map(|id| kstat(&d.name, id));
        for look in 0..LOOKS {
            if counted.as_ref().is_some_and(|file| !file.exists()) {
                return None;
            }
            let mut all = holders(self.root, &|entry| is_of(entry, &d.name));
            let own = MountOwner::Zone(self.zone.to_string());
            let found = all.iter().position(|(_, holder)| holder.who != own);
            match found {
                Some(at) => return Some(all.swap_remove(at).1),
                None if !all.is_empty() => return None,
                // A release that keeps no such statistics: what processes show is all there is to know.
                None if counted.as_ref().is_none_or(|file| !file.parent().is_some_and(Path::is_dir)) => {
                    return None;
                }
                None if look + 1 < LOOKS => std::thread::sleep(BETWEEN),
                None => {}
            }
        }
        Some(CurrentMount { point: String::new(), who: MountOwner::Nobody })
    }
}

/// Returns the version of the ZFS module when that knows nothing of user namespaces: it can neither map ids nor give
/// datasets away.
pub(super) fn too_old() -> Option<String> {
    without(Release::delegates)
}

/// Returns the version of the ZFS module when that cannot hide snapshots.
pub(super) fn shows_snapshots() -> Option<String> {
    without(Release::hides_snapshots)
}

/// Returns the version of the ZFS module when that lacks a feature. A private build, whose version is no number, has
/// it as far as this check knows: the kernel will say otherwise.
fn without(has: fn(Release) -> bool) -> Option<String> {
    let text = made::read("/sys/module/zfs/version").ok()?;
    Release::parse(&text).is_some_and(|release| !has(release)).then(|| text.trim().to_owned())
}

/// Says so when the pool of a dataset that is not found is not imported.
pub(super) fn not_imported(zfs: &dyn ZfsSystem, name: &str) -> Option<String> {
    let pool = zfs::name::pool(name);
    let away = zfs.pools().is_ok_and(|pools| !pools.contains_key(pool));
    away.then(|| format!("its pool {pool} is not imported; use zpool import {pool}"))
}

/// Returns the mount options in the properties of a filesystem.
pub(super) fn limits(d: &zfs::Dataset) -> MountOptions {
    let off = |property| d.number(property) == Some(0);
    MountOptions {
        read_only: d.number("readonly") == Some(1),
        no_suid: off("setuid"),
        devices: !off("devices"),
        no_exec: off("exec"),
        no_atime: off("atime"),
        ..MountOptions::default()
    }
}

/// Says whether a filesystem cannot be mounted because its key is not loaded.
pub(super) fn is_locked(d: &zfs::Dataset) -> bool {
    d.word("keystatus").as_deref() == Some("unavailable")
}

/// Returns the file that is there while the kernel has a filesystem mounted anywhere.
pub(super) fn kstat(name: &str, id: u64) -> PathBuf {
    Path::new("/proc/spl/kstat/zfs").join(zfs::name::pool(name)).join(format!("objset-{id:#x}"))
}

/// Says whether a filesystem, or a snapshot of it, may be mounted somewhere: false only where surely none is. The
/// kernel keeps statistics of mounted ones, but for snapshots.
pub(super) fn may_be_mounted(zfs: &dyn ZfsSystem, d: &zfs::Dataset) -> bool {
    zfs.is_mounted(d).unwrap_or(true) || zfs.snapshots(&d.name, false).next().is_some()
}

/// The same of a filesystem and all below it.
pub(super) fn any_may_be_mounted(zfs: &dyn ZfsSystem, name: &str) -> bool {
    // Where the kernel cannot be asked, it may be mounted.
    let below = |child: Result<zfs::Dataset, _>| {
        child.map_or(true, |c| c.kind == Some(DatasetKind::Filesystem) && any_may_be_mounted(zfs, &c.name))
    };
    zfs.dataset(name).map_or(true, |d| may_be_mounted(zfs, &d)) || zfs.children(name).any(below)
}

fn is_of(entry: &MountEntry, name: &str) -> bool {
    entry.kind == "zfs" && entry.source == Path::new(name)
}

/// Finds the processes that have one of these datasets mounted, besides the host and a zone that is being booted,
/// whose first process this is: two boots that both found a dataset free both see it here. The host's table, which
/// may be long, is not read.
pub fn mounted_by_others<'n>(
    root: &Root,
    names: &[&'n str],
    booting: Option<i32>,
) -> Option<(&'n str, CurrentMount)> {
    let wanted = |entry: &MountEntry| names.iter().any(|name| is_of(entry, name));
    let apart = std::iter::once(own()).chain(booting).filter_map(|pid| namespace(pid, "mnt")).collect();
    let found = holders_besides(root, &wanted, &apart).into_iter().next();
    found.and_then(|(source, holder)| Some((*names.iter().find(|n| source == Path::new(n))?, holder)))
}

fn own() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Looks through the mount tables of all processes, each mount namespace once.
fn holders(root: &Root, wanted: &dyn Fn(&MountEntry) -> bool) -> Vec<(PathBuf, CurrentMount)> {
    holders_besides(root, wanted, &BTreeSet::new())
}

/// The same without the mount namespaces of these numbers.
fn holders_besides(
    root: &Root,
    wanted: &dyn Fn(&MountEntry) -> bool,
    apart: &BTreeSet<u64>,
) -> Vec<(PathBuf, CurrentMount)> {
    let zones = zones_now(root);
    let own = own();
    let host = namespace(own, "mnt");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for pid in std::iter::once(own).chain(pids) {
        let Some(mnt) = namespace(pid, "mnt").filter(|mnt| !apart.contains(mnt)) else { continue };
        // A process sees the part of its namespace that lies below its root.
        let top = std::fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
        if !seen.insert((mnt, top)) {
            continue;
        }
        for entry in mountinfo::mounts_of(pid).unwrap_or_default().into_iter().filter(|e| wanted(e)) {
            let who = match zone_of(pid, &zones) {
                _ if host == Some(mnt) => MountOwner::Host,
                Some(zone) => MountOwner::Zone(zone),
                None => MountOwner::Process { pid, program: program(pid), namespace: mnt },
            };
            found.push((
                entry.source,
                CurrentMount { point: entry.point.to_string_lossy().into_owned(), who },
            ));
        }
    }
    found
}

/// Returns the running zones with the numbers of their process namespaces.
fn zones_now(root: &Root) -> Vec<(String, u64)> {
    let all = running::all(root).into_iter();
    all.filter_map(|(name, r)| Some((name.to_string(), namespace(r.init, "pid")?))).collect()
}

fn namespace(pid: i32, kind: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok().map(|m| m.ino())
}

/// Returns the zone that a process belongs to: it or one of those that started it is in the zone's
/// process namespace.
fn zone_of(pid: i32, zones: &[(String, u64)]) -> Option<String> {
    let mut pid = pid;
    while pid > 1 {
        let own = namespace(pid, "pid")?;
        if let Some((zone, _)) = zones.iter().find(|(_, pids)| *pids == own) {
            return Some(zone.clone());
        }
        let stat = made::read(format!("/proc/{pid}/stat")).ok()?;
        pid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    }
    None
}

fn program(pid: i32) -> String {
    let name = made::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// Returns an error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
