//! `zoneadm move`: the zone gets another zonepath. Its root is renamed where one file system holds both
//! places, its ZFS file system where it has one, and copied else.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{InstallError, dataset, observe, run};
use crate::apply::fault;
use crate::apply::paths::{Root, real_path};
use crate::apply::zfs::holders;
use crate::apply::zfs::system::ZfsSystem;
use crate::apply::{NO_ZFS_FACTS, Notice, Op};
use crate::plan::dataset::{is_within, names as dataset_names};
use crate::plan::install::{
    DatasetPlace, InstallPlan, InstallPlanError, MoveFacts, MoveSource, ZonepathState, plan_move,
};
use crate::spec::name::collapse_slashes;
use crate::spec::shown::Show;
use crate::spec::store::ZoneStore;
use crate::spec::{ResourceKind, Value, ZoneSpec, schema};
use crate::sys::mountinfo::{MountEntry, mount_at, mounts, mounts_below};
use crate::sys::path::{At, Dir, Owned, STRICT, mount_of};
use crate::sys::tree::remove_tree;
use crate::zfs::{self, Mountpoint, PropertySource, Zfs};

/// Returns the spec with another zonepath, to be verified.
///
/// # Errors
/// [`InstallError::Refused`] when it can be no zonepath.
pub fn moved_spec(spec: &ZoneSpec, path: &str) -> Result<ZoneSpec, InstallError> {
    let wanted = collapse_slashes(path);
    let mut moved = spec.clone();
    if let Some(def) = schema::global("zonepath") {
        let checked = def.check(&Value::simple(wanted.as_str()), None);
        let checked = checked.map_err(|e| InstallError::Impossible(e.to_string()))?;
        moved.props.set(def, checked);
    }
    Ok(moved)
}

/// Moves a zone. `moved` is its spec with the new zonepath.
///
/// # Errors
/// [`InstallError`]; the zone is then where it was.
pub fn move_zone(op: &mut Op<'_>, moved: &ZoneSpec) -> Result<(), InstallError> {
    let plan = move_plan(op, moved)?;
    run::run(op, &plan)
}

/// Returns what [`move_zone`] would do. Touches nothing.
///
/// # Errors
/// [`InstallError`] when it would be refused.
pub fn move_plan(op: &Op<'_>, moved: &ZoneSpec) -> Result<InstallPlan, InstallError> {
    let root = op.store.root();
    let zonepath = observe::zonepath(op)?;
    let mut silent = Silent;
    let there = Op::shown(op.store, op.name, moved, &NO_ZFS_FACTS, &mut silent);
    let target = observe::install_facts(&there, Path::new("/"), false)?;
    // It is there, and no link leads to it.
    observe::open_root(root, op.name, &zonepath)?;
    let table = mounts()?;
    let real = real_path(root, &zonepath);
    let shown = |point: PathBuf| match point.strip_prefix(&real) {
        Ok(rest) => zonepath.join(rest),
        Err(_) => point,
    };
    let below = mounts_below(&table, &real).into_iter().filter(|p| *p != real).map(shown).collect();
    let written = op.spec.props.text("zonepath").unwrap_or_default().to_owned();
    let wanted = moved.props.text("zonepath").unwrap_or_default().to_owned();
    let facts = MoveFacts {
        source: source(op, &table, &real, &zonepath)?,
        same_mount: same_mount(root, &zonepath, &target.zonepath, &target.found)?,
        zonepath,
        written,
        wanted,
        target,
        mounts: below,
    };
    Ok(plan_move(&facts, op.name)?)
}

/// For questions without an output.
struct Silent;

impl Notice for Silent {
    fn say(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
    fn progress(&mut self, _: u64, _: u64, _: &str) {}
}

/// Finds out the kind of a zonepath.
fn source(
    op: &Op<'_>,
    table: &[MountEntry],
    real: &Path,
    zonepath: &Path,
) -> Result<MoveSource, InstallError> {
    if mount_at(table, real).is_none_or(|m| m.point != real) {
        return Ok(MoveSource::Directory);
    }
    let Some(name) = dataset::mounted_at(table, real) else { return Ok(MoveSource::Mounted) };
    let Ok(d) = Zfs::open().map_err(drop).and_then(|zfs| zfs.dataset(name).map_err(drop)) else {
        return Ok(MoveSource::Mounted);
    };
    // Mounted by other means than its property: those would mount it there again.
    let altroot = Zfs::open().ok().and_then(|zfs| zfs.altroot(zfs::name::pool(name)));
    if !matches!(d.mountpoint().below(altroot.as_deref()), Mountpoint::Path(path) if Path::new(&path) == real)
    {
        return Ok(MoveSource::Mounted);
    }
    let own = matches!(d.source("mountpoint"), PropertySource::Local | PropertySource::Received);
    let mountpoint = d.text("mountpoint").filter(|_| own).map(str::to_owned);
    let place = DatasetPlace { name: name.to_owned(), path: zonepath.to_owned(), mountpoint };
    let free = dataset::is_for(&d, op) && !is_named(op, name)?;
    Ok(MoveSource::Dataset { place, free, altroot })
}

/// Says whether a configuration names the dataset or one below it: it would not find it any more.
fn is_named(op: &Op<'_>, name: &str) -> Result<bool, InstallError> {
    let names = |spec: &ZoneSpec| {
        let of = |kind, prop| spec.stored(kind).iter().filter_map(move |r| r.text(prop));
        dataset_names(spec).iter().any(|text| is_within(text, name))
            || of(ResourceKind::Fs, "special").any(|text| is_within(text, name))
            || of(ResourceKind::Device, "match").any(|text| text.contains(name))
    };
    if names(op.spec) {
        return Ok(true);
    }
    for zone in op.store.names()? {
        // An unreadable spec may name it.
        match op.store.load(&zone) {
            Ok(Some(stored)) if !names(&stored.spec) => {}
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// Says whether a rename leads from one zonepath to another.
fn same_mount(root: &Root, old: &Path, new: &Path, found: &ZonepathState) -> Result<bool, InstallError> {
    let above = match found {
        ZonepathState::Absent { missing } => {
            missing.first().map_or(new, PathBuf::as_path).parent().unwrap_or(new)
        }
        ZonepathState::Directory { .. } => new.parent().unwrap_or(new),
        ZonepathState::Link(_) | ZonepathState::NotADirectory(_) => return Ok(false),
    };
    let (from, _) = observe::open_parent(root, old)?;
    let to = observe::open(root, above)?;
    let mount = |dir: &Dir| mount_of(dir.as_fd()).at("read", dir.path());
    Ok(mount(&from)? == mount(&to)?)
}

/// Gives a directory another name. It may have it already.
pub(super) fn rename_dir(op: &Op<'_>, from: &Path, to: &Path) -> Result<bool, InstallError> {
    let root = op.store.root();
    let (old, old_name) = match observe::open_parent(root, from) {
        Err(InstallError::Path(e)) if e.is_not_found() => return Ok(false),
        other => other?,
    };
    if old.stat(&old_name)?.is_none() {
        return Ok(false);
    }
    let (new, new_name) = observe::open_parent(root, to)?;
    match rustix::fs::renameat(&old, &old_name, &new, &new_name) {
        Ok(()) => {}
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            return Err(InstallPlanError::CannotMove {
                path: to.to_owned(),
                why: "directory not empty".into(),
            }
            .into());
        }
        Err(e) => return Err(e).at("rename", from)?,
    }
    // The spec that is saved next must not be on disk before the rename is.
    for dir in [&new, &old] {
        rustix::fs::fsync(dir).at("sync", dir.path())?;
    }
    Ok(true)
}

/// Brings a ZFS file system from one name and place to another. Each part may have been done already.
pub(super) fn move_dataset(
    op: &mut Op<'_>,
    from: &DatasetPlace,
    to: &DatasetPlace,
) -> Result<bool, InstallError> {
    let failed = |why: String| InstallError::Relocate { name: from.name.clone(), why };
    let zfs = Zfs::open().map_err(|e| failed(e.to_string()))?;
    let root = op.store.root().clone();
    // Before the rename it has the one name, after it the other.
    let now = if zfs.dataset(&from.name).is_ok() { &from.name } else { &to.name };
    let held = |list: &[holders::DatasetUser]| holders::lines(list);
    if dataset::is_mounted(&root, now, &from.path)? {
        dataset::unmount(&root, &from.path)
            .map_err(|why| failed(format!("{why}{}", held(&holders::of_mount(&root, now, &from.path)))))?;
    }
    fault::point("dataset-unmounted");
    relocate(&zfs, &root, now, to).map_err(&failed)?;
    if !dataset::is_mounted(&root, &to.name, &to.path)? {
        let (parent, base) = observe::open_parent(&root, &to.path)?;
        let (dir, _) = parent.make_dir(Path::new(&base), Owned::root(0o700))?;
        dataset::mount_on(&zfs, &to.name, &to.path, &dir).map_err(&failed)?;
    }
    fault::point("dataset-mounted");
    dataset::remove_mount_point(op, &from.path)?;
    Ok(true)
}

/// Gives a file system that is not mounted its name and mount point. Each part may have been done already.
pub(super) fn relocate(zfs: &dyn ZfsSystem, root: &Root, now: &str, to: &DatasetPlace) -> Result<(), String> {
    if now != to.name {
        let retried = retry(|| zfs.rename(now, &to.name));
        retried.map_err(|e| format!("{e}{}", holders::lines(&holders::holders(root, now))))?;
    }
    fault::point("dataset-renamed");
    let d = zfs.dataset(&to.name).map_err(|e| e.to_string())?;
    let own = matches!(d.source("mountpoint"), PropertySource::Local | PropertySource::Received);
    match &to.mountpoint {
        Some(path) if !own || d.text("mountpoint") != Some(path) => {
            let props = [("mountpoint", path.as_str())].into();
            zfs.set_props(&to.name, &props).map_err(|e| e.to_string())?;
        }
        None if own => zfs.inherit(&to.name, "mountpoint", false).map_err(|e| e.to_string())?,
        Some(_) | None => {}
    }
    fault::point("mountpoint-set");
    Ok(())
}

/// Tries again while something that ends at this moment still uses the dataset.
fn retry(mut call: impl FnMut() -> Result<(), zfs::RenameError>) -> Result<(), zfs::RenameError> {
    use zfs::error::Meaning;
    for _ in 0..dataset::TRIES {
        match call() {
            Err(e) if e.is_busy() => std::thread::sleep(dataset::BETWEEN),
            other => return other,
        }
    }
    call()
}

/// Removes everything in a directory, which stays.
pub(super) fn empty(op: &mut Op<'_>, path: &Path) -> Result<bool, InstallError> {
    let dir = match observe::open(op.store.root(), path) {
        Err(InstallError::Path(e)) if e.is_not_found() => return Ok(false),
        other => other?,
    };
    let kept: BTreeSet<&str> = BTreeSet::from([".zfs", "lost+found"]);
    let what = format!("removing {}", path.shown());
    for (name, kind) in dir.entries()? {
        if kind == FileType::Directory && name.to_str().is_some_and(|n| kept.contains(n)) {
            continue;
        }
        let out = &mut *op.out;
        remove_tree(&dir, &name, &mut |done| {
            fault::point("source-removing");
            out.progress(done, 0, &what);
        })?;
    }
    Ok(true)
}

/// Removes a copy at another place.
pub(super) fn clean_up(op: &mut Op<'_>, path: &Path, mounted: bool) -> Result<bool, InstallError> {
    op.out.say(&format!("Cleaning up zonepath {}...", path.shown()));
    empty(op, path)?;
    if mounted {
        return Ok(true);
    }
    match observe::open_parent(op.store.root(), path)?.0.dir(path.file_name().unwrap_or_default(), STRICT) {
        Ok(_) => run::remove_dir(op, path),
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(e.into()),
    }
}
