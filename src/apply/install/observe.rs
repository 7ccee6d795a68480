//! Fills the facts of the plans of install and uninstall. Reads only.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::journal::{self, Unfinished};
use super::{InstallError, dataset};
use crate::apply::Op;
use crate::apply::paths::{Root, real_path};
use crate::apply::zfs::storage;
use crate::plan::install::{
    Elsewhere, HostSymlink, InstallFacts, InstallPlanError, InstallStep, OwnDataset, STANDARD_ENTRIES,
    UninstallFacts, ZonepathState,
};
use crate::plan::storage::explain;
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::spec::store::ZoneStore;
use crate::sys::mountinfo::{MountEntry, mounts, mounts_below};
use crate::sys::path::{At, Dir, Mounts, Resolve, STRICT, mount_of};

/// Directories that belong to a system also when they are file systems of their own.
const SYSTEM_DIRS: [&str; 5] = ["/usr", "/usr/local", "/opt", "/var", "/var/lib"];

/// File systems on disks: anything else below the root is not part of a system.
const DISKS: [&str; 13] = [
    "bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "squashfs",
    "xfs", "zfs",
];

/// Returns the zonepath as the host sees it.
pub(super) fn zonepath(op: &Op<'_>) -> Result<PathBuf, InstallError> {
    let path = op.spec.zonepath().ok_or(InstallPlanError::NoZonepath)?;
    Ok(op.store.root().host_path(Path::new(&path)))
}

/// Looks at the machine for an installation. `copies_host` asks also for what only a copy of the
/// host must know.
pub(super) fn install_facts(
    op: &Op<'_>,
    host: &Path,
    copies_host: bool,
) -> Result<InstallFacts, InstallError> {
    let root = op.store.root();
    let zonepath = zonepath(op)?;
    let found = find(root, &zonepath)?;
    let table = mounts()?;
    let real = real_path(root, &zonepath);
    let mut facts = InstallFacts {
        zonepath,
        found,
        dataset: dataset::child(&table, &real),
        host_links: host_links(host)?,
        private: Vec::new(),
        system_mounts: Vec::new(),
    };
    if copies_host {
        facts.private = private(op)?;
        facts.system_mounts = system_mounts(&table);
    }
    Ok(facts)
}

/// Looks at the machine for the removal of a zone.
pub(super) fn uninstall_facts(op: &Op<'_>) -> Result<UninstallFacts, InstallError> {
    let root = op.store.root();
    let zonepath = zonepath(op)?;
    let found = find(root, &zonepath)?;
    let real = real_path(root, &zonepath);
    let table = mounts()?;
    let mounts = mounts_in(root, &zonepath, &table);
    let state = op.store.installed_state(op.name)?;
    let left = journal::unfinished(&root.zone_lib(op.name))?;
    let dataset = dataset::own(op, &table, &real).map(|mut own| {
        own.fresh = left.as_ref().is_some_and(|left| is_fresh(left, &own.name));
        own
    });
    let left = left.map(|left| left_over(&left)).unwrap_or_default();
    let elsewhere = elsewhere(op, &zonepath, &found, dataset.as_ref())?;
    Ok(UninstallFacts { zonepath, found, mounts, dataset, state, elsewhere, left })
}

/// Looks for the files of a zone when they are not at its zonepath.
fn elsewhere(
    op: &Op<'_>,
    zonepath: &Path,
    found: &ZonepathState,
    dataset: Option<&OwnDataset>,
) -> Result<Option<Elsewhere>, InstallError> {
    let seen = match found {
        ZonepathState::Directory { entries, .. } => {
            entries.iter().any(|e| e == "root") || dataset.is_some_and(|d| d.mounted)
        }
        ZonepathState::Absent { missing: _ } => false,
        ZonepathState::Link(_) | ZonepathState::NotADirectory(_) => true,
    };
    if seen || op.store.installed_state(op.name)? == ZoneState::Configured {
        return Ok(None);
    }
    let list = storage::candidates(op.store.root(), op.name, zonepath).ok();
    let has_owner_mark = list.as_ref().is_some_and(|list| list.iter().any(|c| c.has_owner_mark));
    let text = explain(&real_path(op.store.root(), zonepath), list.as_deref());
    Ok(Some(Elsewhere { has_owner_mark, text }))
}

/// Opens the root of an installed zone, links refused; a missing one is reported in the words of verify.
pub(super) fn open_root(root: &Root, name: &ZoneName, zonepath: &Path) -> Result<Dir, InstallError> {
    match open(root, &zonepath.join("root")) {
        Err(InstallError::Path(e)) if e.is_not_found() => {
            let (path, why) = (zonepath.to_owned(), storage::missing(root, name, zonepath));
            Err(InstallPlanError::Missing { path, why }.into())
        }
        other => other,
    }
}

/// Says whether an interrupted operation was making a file system as a clone, or removing such a one.
fn is_fresh(left: &Unfinished, dataset: &str) -> bool {
    left.plan.steps.iter().any(|step| match step {
        InstallStep::CloneDataset { snapshot: _, name, path: _ } => name == dataset,
        InstallStep::DestroyDataset { name, path: _, fresh } => *fresh && name == dataset,
        _ => false,
    })
}

/// Returns the steps that remove the leftovers of an interrupted clone elsewhere: they are in its own steps, and in
/// those of an uninstall that was interrupted after it.
fn left_over(left: &Unfinished) -> Vec<InstallStep> {
    let begun = left.last.map_or(0, |(last, _)| last + 1).min(left.plan.steps.len());
    let mut steps = Vec::new();
    for (i, step) in left.plan.steps.iter().enumerate() {
        match step {
            InstallStep::TakeSnapshots { .. } | InstallStep::CloneTree { .. } if i < begun => {
                // Clones go before their snapshots.
                steps.extend(step.inverse().map(|inverse| (i, inverse)));
            }
            InstallStep::DestroySnapshots { .. } | InstallStep::DestroyTree { .. } => {
                steps.push((0, step.clone()));
            }
            _ => {}
        }
    }
    steps.sort_by_key(|(i, _)| std::cmp::Reverse(*i));
    steps.into_iter().map(|(_, step)| step).collect()
}

/// Returns the mount points at and below the zone's own part of a zonepath, as the administrator writes them.
pub(super) fn mounts_in(root: &Root, zonepath: &Path, table: &[MountEntry]) -> Vec<PathBuf> {
    let real = real_path(root, zonepath);
    let ours = |point: &PathBuf| {
        let first = point.strip_prefix(&real).ok().and_then(|p| p.components().next());
        first.is_some_and(|c| STANDARD_ENTRIES.iter().any(|e| c.as_os_str() == *e))
    };
    // Not as the alternate root resolves.
    let shown = |point: PathBuf| match point.strip_prefix(&real) {
        Ok(rest) => zonepath.join(rest),
        Err(_) => point,
    };
    mounts_below(table, &real).into_iter().filter(ours).map(shown).collect()
}

/// Finds the state of a zonepath. Links are looked for below the alternate root only: the caller answers for the
/// path above it.
pub(super) fn find(root: &Root, zonepath: &Path) -> Result<ZonepathState, InstallError> {
    let top = Dir::open_host(root.prefix())?;
    let below = zonepath.strip_prefix(root.prefix()).unwrap_or(zonepath);
    let mut path = PathBuf::new();
    let mut missing = Vec::new();
    for part in below.components() {
        path.push(part);
        if !missing.is_empty() {
            missing.push(top.join(&path));
            continue;
        }
        let Some(stat) = top.stat(&path)? else {
            missing.push(top.join(&path));
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::Symlink => return Ok(ZonepathState::Link(top.join(path))),
            _ => return Ok(ZonepathState::NotADirectory(top.join(path))),
        }
    }
    if missing.pop().is_some() {
        return Ok(ZonepathState::Absent { missing });
    }
    let dir = top.dir(&path, STRICT)?;
    let entries = dir.entries()?.into_iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    let stat = rustix::fs::fstat(&dir).at("read", dir.path())?;
    let (parent, _) = top.parent(&path, STRICT)?;
    let mounted = mount_of(std::os::fd::AsFd::as_fd(&dir)).at("read", dir.path())?
        != mount_of(std::os::fd::AsFd::as_fd(&parent)).at("read", parent.path())?;
    Ok(ZonepathState::Directory { entries, mode: stat.st_mode & 0o7777, uid: stat.st_uid, mounted })
}

/// Returns the links at the top of the host's root.
fn host_links(host: &Path) -> Result<Vec<HostSymlink>, InstallError> {
    let top = Dir::open_host(host)?;
    let mut links = Vec::new();
    for (name, kind) in top.entries()? {
        if matches!(kind, FileType::Symlink | FileType::Unknown)
            && let Some(target) = top.read_link(&name)?
        {
            links.push(HostSymlink { name: name.into(), target: target.into() });
        }
    }
    Ok(links)
}

/// Returns what belongs to zones on this machine. A spec that cannot be read stops the copy: its
/// zonepath is not known, and one zone's data must not get into another.
fn private(op: &Op<'_>) -> Result<Vec<PathBuf>, InstallError> {
    let root = op.store.root();
    let mut list = vec![root.spec_dir(), root.lib_dir(), root.run_dir()];
    for name in op.store.names()? {
        let stored = op.store.load(&name)?;
        list.extend(stored.and_then(|s| s.spec.zonepath()).map(|p| root.host_path(Path::new(&p))));
    }
    Ok(list)
}

fn system_mounts(table: &[MountEntry]) -> Vec<PathBuf> {
    let part = |m: &&MountEntry| {
        DISKS.contains(&m.kind.as_str()) && SYSTEM_DIRS.iter().any(|d| m.point == Path::new(d))
    };
    table.iter().filter(part).map(|m| m.point.clone()).collect()
}

/// Opens a directory of the host that lies below the alternate root, links refused.
pub(super) fn open(root: &Root, path: &Path) -> Result<Dir, InstallError> {
    Ok(Dir::open_host(root.prefix())?.dir(below(root, path), STRICT)?)
}

/// Opens the parent of a path below the alternate root, links refused.
pub(super) fn open_parent(root: &Root, path: &Path) -> Result<(Dir, std::ffi::OsString), InstallError> {
    Ok(Dir::open_host(root.prefix())?
        .parent(below(root, path), Resolve { mounts: Mounts::Cross, ..STRICT })?)
}

fn below<'a>(root: &Root, path: &'a Path) -> &'a Path {
    path.strip_prefix(root.prefix()).unwrap_or(path)
}
