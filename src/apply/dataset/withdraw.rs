//! The host lets go of a dataset that a zone is to have.
//!
//! Setting `zoned` through ZFS' own library unmounts first; so do we, for a mount of the host would keep
//! the zone from mounting it. What was unmounted is mounted again when it cannot be had after all.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::UnmountFlags;

use super::observe::is_of;
use super::registry::mounted;
use crate::apply::zfs::limits;
use crate::plan::options::MountOptions;
use crate::spec::idmap::IdRange;
use crate::sys::mount::{Attrs, FsError, NewFs, Tree};
use crate::sys::mountinfo;
use crate::sys::path::reason;
use crate::zfs::{Zfs, nvlist::Value};

/// How long a filesystem that was unmounted may be in use for.
const LETS_GO: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(10);

/// The zone's ids on the host.
#[derive(Clone, Debug)]
pub struct Ids {
    /// User and group of the zone's root.
    pub root: (u32, u32),
    /// Ranges of users and of groups.
    pub maps: (Vec<IdRange>, Vec<IdRange>),
}

impl Ids {
    fn has(&self, uid: u32, gid: u32) -> bool {
        let within =
            |ranges: &[IdRange], id: u32| ranges.iter().any(|r| id >= r.outside && id - r.outside < r.count);
        within(&self.maps.0, uid) && within(&self.maps.1, gid)
    }
}

/// Takes a dataset from the host: unmounts it and all below it, sets `zoned`, and gives the root
/// directories of `members` to the zone's root. Returns warnings.
///
/// # Errors
/// The reason as text; the host has its mounts back then.
pub fn withdraw(zfs: &Zfs, dataset: &str, members: &[String], ids: &Ids) -> Result<Vec<String>, String> {
    let undo = unmount_all(zfs, dataset)?;
    if let Err(why) = free(zfs, dataset) {
        mount_again(zfs, &undo);
        return Err(why);
    }
    zfs.set_props(dataset, &[("zoned", Value::from(1u64))].into())
        .map_err(|e| format!("cannot set 'zoned' property for ZFS dataset '{dataset}': {e}"))?;
    let mut warnings = Vec::new();
    for member in members {
        warnings.extend(give(member, ids));
    }
    free(zfs, dataset)?;
    Ok(warnings)
}

/// One mount of the host that was taken away.
struct Unmounted {
    source: String,
    point: PathBuf,
}

fn unmount_all(zfs: &Zfs, dataset: &str) -> Result<Vec<Unmounted>, String> {
    let mut done = Vec::new();
    loop {
        let table = mountinfo::mounts().map_err(|e| e.to_string())?;
        // What was mounted last lies on top.
        let Some(mount) = table.into_iter().rev().find(|m| is_of(m, dataset)) else { return Ok(done) };
        match rustix::mount::unmount(&mount.point, UnmountFlags::NOFOLLOW) {
            Ok(()) => done
                .push(Unmounted { source: mount.source.to_string_lossy().into_owned(), point: mount.point }),
            Err(e) => {
                mount_again(zfs, &done);
                let why = io::Error::from(e);
                return Err(format!(
                    "the host has {} mounted on {}, which cannot be unmounted: {}",
                    mount.source.display(),
                    mount.point.display(),
                    reason(&why)
                ));
            }
        }
    }
}

/// Mounts again what was unmounted, as its properties say. Snapshots come back by themselves.
fn mount_again(zfs: &Zfs, list: &[Unmounted]) {
    for Unmounted { source, point } in list.iter().rev().filter(|u| !u.source.contains('@')) {
        let Ok(d) = zfs.dataset(source) else { continue };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Failing here leaves the mount to the administrator, who is told about the first error.
        let _ = mount(source, &limits(&d), point.to_str()).map_err(|e| e.source).and_then(|tree| {
            let target = rustix::fs::open(point, flags, Mode::empty())?;
            tree.attach(target.as_fd())
        });
    }
}

/// Waits until nobody has any of the tree mounted.
fn free(zfs: &Zfs, dataset: &str) -> Result<(), String> {
    let start = Instant::now();
    while let Some(busy) = mounted(zfs, dataset) {
        if start.elapsed() > LETS_GO {
            return Err(format!("'{busy}' is in use"));
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(())
}

/// Makes a detached mount of a filesystem with what its properties say.
///
/// # Errors
/// [`FsError`].
pub fn mount(name: &str, options: &MountOptions, point: Option<&str>) -> Result<Tree, FsError> {
    let mut attrs = Attrs::empty();
    for (on, attr) in [
        (options.read_only, Attrs::RDONLY),
        (options.no_suid, Attrs::NOSUID),
        (!options.devices, Attrs::NODEV),
        (options.no_exec, Attrs::NOEXEC),
        (options.no_atime, Attrs::NOATIME),
    ] {
        attrs.set(attr, on);
    }
    let fs = NewFs::open("zfs")?;
    fs.set("source", name)?;
    // The way to the snapshots below `.zfs`; the kernel takes no comma here.
    if let Some(point) = point.filter(|p| !p.contains(',')) {
        fs.set("mntpoint", point)?;
    }
    if options.read_only {
        fs.flag("ro")?;
    }
    fs.mount(attrs)
}

/// Gives the root directory of a filesystem to the zone's root unless somebody of the zone has it.
/// Returns a warning.
fn give(member: &str, ids: &Ids) -> Option<String> {
    let failed = |what: &str, e: &io::Error| Some(format!("dataset {member}: {what}: {}", reason(e)));
    // Nothing in it is trusted, and nothing but the top is touched.
    let tree = match mount(
        member,
        &MountOptions { no_suid: true, no_exec: true, ..MountOptions::default() },
        None,
    ) {
        Ok(tree) => tree,
        Err(e) => return failed("cannot look at its root directory", &e.source),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = match rustix::fs::openat(&tree, ".", flags, Mode::empty()) {
        Ok(top) => top,
        Err(e) => return failed("cannot open its root directory", &e.into()),
    };
    let stat = match rustix::fs::fstat(&top) {
        Ok(stat) => stat,
        Err(e) => return failed("cannot look at its root directory", &e.into()),
    };
    if ids.has(stat.st_uid, stat.st_gid) {
        return None;
    }
    let owner = (Some(Uid::from_raw(ids.root.0)), Some(Gid::from_raw(ids.root.1)));
    match rustix::fs::fchown(&top, owner.0, owner.1) {
        Ok(()) => None,
        Err(e) => failed("cannot give its root directory to the zone's root", &e.into()),
    }
}
