//! A zonepath that is a ZFS file system of its own: made at install, destroyed at uninstall.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::{InstallError, observe, promote};
use crate::apply::Op;
use crate::apply::fault;
use crate::apply::paths::{Root, real_path};
use crate::apply::zfs::holders::{self, DatasetUser};
use crate::apply::zfs::system::ZfsSystem;
use crate::plan::install::{NewDataset, OwnDataset, STANDARD_ENTRIES};
use crate::spec::shown::Show;
use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::mountinfo::{MountEntry, mount_at};
use crate::sys::path::{At, Dir, Owned, STRICT, reason};
use crate::sys::tree::remove_tree;
use crate::zfs::{self, DatasetKind, Mountpoint, PropertySource, Zfs, nvlist::List};

/// The property that says which zone a file system was made for. Its children inherit it, and are not
/// believed.
pub(super) const MARK: &str = crate::plan::dataset::ZONE_MARK;

/// A file system that was just unmounted may still be in use for a moment.
pub(super) const TRIES: u32 = 40;
pub(super) const BETWEEN: Duration = Duration::from_millis(50);

/// Returns the dataset that is mounted, whole, exactly at a path.
pub(super) fn mounted_at<'t>(table: &'t [MountEntry], path: &Path) -> Option<&'t str> {
    let mount = mount_at(table, path)?;
    let whole = mount.kind == "zfs" && mount.point == path && mount.root == Path::new("/");
    mount.source.to_str().filter(|_| whole)
}

/// Returns the file system that a zonepath would be if it were one of its own: a child of the one whose
/// mount point is the folder above, mounted by inheritance.
pub(super) fn child(table: &[MountEntry], real: &Path) -> Option<NewDataset> {
    let (above, base) = (real.parent()?, real.file_name()?.to_str()?);
    let parent = mounted_at(table, above)?;
    let zfs = Zfs::open().ok()?;
    let place = zfs.dataset(parent).ok()?.mountpoint().below(zfs.altroot(zfs::name::pool(parent)).as_deref());
    let inherits = matches!(place, Mountpoint::Path(p) if Path::new(&p) == above);
    let name = format!("{parent}/{base}");
    let good = inherits && name.len() <= zfs::name::NAME_MAX && zfs::name::is_filesystem(&name);
    let exists = zfs.dataset(&name).is_ok();
    good.then_some(NewDataset { name, exists })
}

/// Finds the file system that was made for a zone at its zonepath, mounted or not.
pub(super) fn own(op: &Op<'_>, table: &[MountEntry], real: &Path) -> Option<OwnDataset> {
    let (name, mounted) = match mounted_at(table, real) {
        Some(name) => (name.to_owned(), true),
        None => (child(table, real)?.name, false),
    };
    let d = Zfs::open().ok()?.dataset(&name).ok()?;
    is_for(&d, op).then_some(OwnDataset { name, mounted, fresh: false })
}

/// Says whether a file system was made for a zone.
pub(super) fn is_for(d: &zfs::Dataset, op: &Op<'_>) -> bool {
    d.text(MARK) == Some(op.name.as_str()) && *d.source(MARK) == PropertySource::Local
}

/// Makes and mounts the file system; a plain directory where that fails. Says whether there was nothing
/// before.
pub(super) fn make(op: &mut Op<'_>, name: &str, path: &Path, mode: u32) -> Result<bool, InstallError> {
    let (parent, base) = observe::open_parent(op.store.root(), path)?;
    let (dir, made) = parent.make_dir(Path::new(&base), Owned::root(mode))?;
    match create(op, name, path, &dir) {
        Ok(()) => {
            drop(dir);
            observe::open(op.store.root(), path)?.set_owned(Owned::root(mode))?;
            op.out.say("A ZFS file system has been created for this zone.");
            Ok(true)
        }
        Err(why) => {
            op.out.warn(&format!(
                "WARNING: cannot make the ZFS file system {name}: {why}; {} becomes a directory",
                path.shown()
            ));
            Ok(made)
        }
    }
}

fn create(op: &Op<'_>, name: &str, path: &Path, dir: &Dir) -> Result<(), String> {
    let zfs = Zfs::open().map_err(|e| e.to_string())?;
    create_in(&zfs, op, name, path, dir)
}

pub(super) fn create_in(
    zfs: &dyn ZfsSystem,
    op: &Op<'_>,
    name: &str,
    path: &Path,
    dir: &Dir,
) -> Result<(), String> {
    let props: List = [("sharenfs", "off"), ("sharesmb", "off"), (MARK, op.name.as_str())].into();
    zfs.create(name, DatasetKind::Filesystem, &props, None).map_err(|e| e.to_string())?;
    fault::point("dataset-made");
    mount_on(zfs, name, path, dir).map_err(|why| match zfs.destroy(name) {
        Ok(()) => why,
        Err(e) => format!("{why}; {e}"),
    })
}

/// Mounts a file system on a directory that has this path.
pub(super) fn mount_on(zfs: &dyn ZfsSystem, name: &str, path: &Path, dir: &Dir) -> Result<(), String> {
    let tree = mount(zfs, name, Some(path))?;
    tree.attach(dir.as_fd()).map_err(|e| format!("cannot mount it: {}", reason(&e)))
}

/// Mounts a file system or a snapshot, detached, as its properties say. Without a path it is for our own
/// eyes: nothing in it can be run or opened as a device.
pub(super) fn mount(zfs: &dyn ZfsSystem, name: &str, path: Option<&Path>) -> Result<MountFd, String> {
    let d = zfs.dataset(name).map_err(|e| e.to_string())?;
    let private = Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC | Attrs::NOATIME;
    let mut attrs = if path.is_none() { private } else { Attrs::empty() };
    for (property, attr) in [
        ("setuid", Attrs::NOSUID),
        ("devices", Attrs::NODEV),
        ("exec", Attrs::NOEXEC),
        ("atime", Attrs::NOATIME),
    ] {
        if d.number(property) == Some(0) {
            attrs |= attr;
        }
    }
    let made = NewFs::open("zfs").and_then(|fs| {
        fs.set("source", name)?;
        // The way to the snapshots below `.zfs`; the kernel takes no comma here.
        if let Some(path) = path.and_then(Path::to_str).filter(|p| !p.contains(',')) {
            fs.set("mntpoint", path)?;
        }
        fs.mount(attrs)
    });
    made.map_err(|e| format!("cannot mount it: {e}"))
}

/// Destroys the file system of a zone with its snapshots. Its clones are promoted before. A file system that cannot
/// be destroyed is emptied. A `fresh` one was made a moment ago: it holds only copies.
pub(super) fn destroy(op: &mut Op<'_>, name: &str, path: &Path, fresh: bool) -> Result<bool, InstallError> {
    let failed = |why: String| InstallError::Dataset { name: name.to_owned(), why };
    let zfs = Zfs::open().map_err(|e| failed(e.to_string()))?;
    destroy_in(&zfs, op, name, path, fresh)
}

pub(super) fn destroy_in(
    zfs: &dyn ZfsSystem,
    op: &mut Op<'_>,
    name: &str,
    path: &Path,
    fresh: bool,
) -> Result<bool, InstallError> {
    let failed = |why: String| InstallError::Dataset { name: name.to_owned(), why };
    if !zfs.dataset(name).is_ok_and(|d| is_for(&d, op)) {
        // It went before we were stopped, or was never made; the mount point may be there.
        return remove_mount_point(op, path);
    }
    let root = op.store.root().clone();
    let mounted = is_mounted(&root, name, path)?;
    if !mounted && !fresh {
        let tree = mount(zfs, name, None).map_err(&failed)?;
        let top = top_of(&tree, path)?;
        if top.entries()?.iter().any(|(e, _)| !STANDARD_ENTRIES.iter().any(|ours| e == ours) && e != ".zfs") {
            return Err(failed(format!(
                "it holds additional user data and is not mounted; use zfs mount {name}"
            )));
        }
    }
    let needed = |h: &DatasetUser| !matches!(h, DatasetUser::Clone { .. });
    let mut hindrances: Vec<_> = holders::of_datasets(zfs, name).into_iter().filter(needed).collect();
    if hindrances.is_empty() {
        if let Err(why) = promote::dependants(op, zfs, name) {
            hindrances = holders::of_datasets(zfs, name);
            return empty(op, name, path, &why, &hindrances);
        }
    } else {
        return empty(op, name, path, "something depends on it", &hindrances);
    }
    if mounted && let Err(why) = unmount(&root, path) {
        let hindrances = holders::of_mount(&root, name, path);
        return empty(op, name, path, &why, &hindrances);
    }
    fault::point("dataset-emptied");
    let snapshots = zfs.snapshots(name, false).collect::<Result<Vec<_>, _>>();
    let snapshots = snapshots.map_err(|e| failed(e.to_string()))?;
    let names: Vec<&str> = snapshots.iter().map(|s| s.name.as_str()).collect();
    if !names.is_empty() {
        zfs.destroy_snaps(&names, false)
            .map_err(|e| failed(format!("{e}{}", holders::lines(&holders::holders(&root, name)))))?;
    }
    if !fresh {
        promote::release_origin(zfs, name);
    }
    fault::point("dataset-released");
    for last in (0..TRIES).rev() {
        match zfs.destroy(name) {
            Ok(()) => break,
            Err(e) if last == 0 || !is_busy(&e) => {
                return Err(failed(format!("{e}{}", holders::lines(&holders::holders(&root, name)))));
            }
            Err(_) => std::thread::sleep(BETWEEN),
        }
    }
    fault::point("dataset-destroyed");
    if !fresh {
        op.out.say("The ZFS file system for this zone has been destroyed.");
    }
    remove_mount_point(op, path)?;
    Ok(true)
}

/// Says whether a file system is mounted, whole, exactly at a path.
pub(super) fn is_mounted(root: &Root, name: &str, path: &Path) -> Result<bool, InstallError> {
    let table = crate::sys::mountinfo::mounts()?;
    Ok(mounted_at(&table, &real_path(root, path)) == Some(name))
}

/// Opens the top of a mount that is attached nowhere.
pub(super) fn top_of(tree: &MountFd, shown: &Path) -> Result<Dir, InstallError> {
    let fd = rustix::fs::openat(tree, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    Ok(Dir::from_fd(fd.at("open", shown)?, shown.to_owned()))
}

pub(super) fn is_busy(error: &zfs::DestroyError) -> bool {
    matches!(error, zfs::DestroyError::Any(failure) if failure.is_busy())
}

/// Unmounts by way of the folder above, which no link can lead elsewhere.
pub(super) fn unmount(root: &Root, path: &Path) -> Result<(), String> {
    let (parent, base) = observe::open_parent(root, path).map_err(|e| e.to_string())?;
    let at = Path::new("/proc/self/fd").join(parent.as_fd().as_raw_fd().to_string()).join(base);
    rustix::mount::unmount(&at, UnmountFlags::NOFOLLOW)
        .map_err(|e| format!("{} cannot be unmounted: {}", path.shown(), reason(&e.into())))
}

/// Removes the zone's files from a file system that stays.
fn empty(
    op: &mut Op<'_>,
    name: &str,
    path: &Path,
    why: &str,
    hindrances: &[DatasetUser],
) -> Result<bool, InstallError> {
    op.out.warn(&format!(
        "WARNING: cannot destroy the ZFS file system {name}: {why}; the zone's files in it are removed{}",
        holders::lines(hindrances)
    ));
    let dir = observe::open(op.store.root(), path)?;
    for entry in STANDARD_ENTRIES {
        remove_tree(&dir, entry.as_ref(), &mut |_| fault::point("entry-removing"))?;
    }
    Ok(true)
}

/// Removes the folder that a file system was mounted on, if it is empty.
pub(super) fn remove_mount_point(op: &mut Op<'_>, path: &Path) -> Result<bool, InstallError> {
    let Ok((parent, base)) = observe::open_parent(op.store.root(), path) else { return Ok(false) };
    match parent.dir(&base, STRICT) {
        Ok(dir) if dir.entries()?.is_empty() => {
            drop(dir);
            super::run::remove_dir(op, path)
        }
        _ => Ok(false),
    }
}
