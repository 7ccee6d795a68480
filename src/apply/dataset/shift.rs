//! `zoneadm shift-ids`: the files of a zone's datasets get the zone's ids, when they have those of another zone or of
//! the host: after an attach, a stream, or a change of the zone's `idmap`.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use super::observe::is_of;
use super::withdraw::{StillMounted, free, mount};
use crate::apply::zfs::system::ZfsSystem;
use crate::apply::zfs::{chain, is_locked};
use crate::apply::{Notice, Op};
use crate::plan::dataset::{is_within, names};
use crate::plan::options::MountOptions;
use crate::spec::idmap::{IdMap, IdRange, PRIVATE_COUNT, PRIVATE_FIRST};
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::sys::mount::FsError;
use crate::sys::mountinfo;
use crate::sys::path::{Dir, reason};
use crate::sys::tree::{CopyError, IdShift, shift_ids};
use crate::zfs::{Dataset, DatasetKind, Zfs};

/// Why files were not given other ids.
#[derive(Debug, Error)]
pub enum ShiftError {
    /// The zone has no such dataset.
    #[error("{0} is no dataset of the zone; zonecfg info dataset names those that are")]
    NotOfTheZone(String),
    /// The zone has none at all.
    #[error("the zone has no dataset resource")]
    None,
    /// The ids that are to be replaced are those that the files are to get.
    #[error("ids {0} to {1} of the host are the zone's own, some of them; choose others with -f")]
    Own(u32, u32),
    /// ZFS cannot be asked.
    #[error("{}", chain(&**.0))]
    Zfs(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file system is mounted on the host.
    #[error("'{}' is mounted on {}; unmount it first", filesystem.shown(), point.shown())]
    Mounted {
        /// The file system or snapshot.
        filesystem: PathBuf,
        /// Where.
        point: PathBuf,
    },
    /// It is mounted elsewhere.
    #[error(transparent)]
    StillMounted(#[from] StillMounted),
    /// The files cannot be read without a key.
    #[error("{dataset}: its key is not loaded; use zfs load-key {dataset}")]
    NoKey {
        /// The dataset.
        dataset: String,
    },
    /// Its files cannot be changed.
    #[error("{dataset}: {source}")]
    Files {
        /// The dataset.
        dataset: String,
        /// The reason.
        source: FilesError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the files of one filesystem were not changed, or not all of them.
#[derive(Debug, Error)]
pub enum FilesError {
    /// It cannot be mounted.
    #[error("cannot mount it: {0}")]
    Mount(#[source] FsError),
    /// Its root directory cannot be opened.
    #[error("{}", reason(.0))]
    Open(#[source] io::Error),
    /// A file cannot be read or changed.
    #[error(transparent)]
    Change(#[from] CopyError),
}

fn zfs_error(error: impl std::error::Error + Send + Sync + 'static) -> ShiftError {
    ShiftError::Zfs(Box::new(error))
}

/// Maps an id of the host; none for one that stays.
///
/// With `first` the range of ids from there, else those of any private range of a zone.
fn new_id(id: u32, first: Option<u32>, own: &[IdRange]) -> Option<u32> {
    if own.iter().any(|range| range.zone(id).is_some()) {
        return None;
    }
    let inside = match first {
        Some(first) => id.checked_sub(first).filter(|inside| *inside < PRIVATE_COUNT)?,
        None => id.checked_sub(PRIVATE_FIRST)? % PRIVATE_COUNT,
    };
    own.iter().find_map(|range| range.host(inside))
}

/// Gives the files of a dataset of the zone, or of all, and of those below, the zone's ids. The zone is locked and
/// does not run. An interrupted run is finished by the next one: files that have the zone's ids already stay as they
/// are.
///
/// # Errors
/// [`ShiftError`]; files that were changed before stay so.
pub fn shift(op: &mut Op<'_>, dataset: Option<&str>, first: Option<u32>) -> Result<(), ShiftError> {
    let all = names(op.spec);
    let wanted: Vec<String> = match dataset {
        Some(name) if all.iter().any(|top| is_within(name, top)) => vec![name.to_owned()],
        Some(name) => return Err(ShiftError::NotOfTheZone(name.to_owned())),
        None if all.is_empty() => return Err(ShiftError::None),
        None => all,
    };
    let map = op.store.id_map(op.name, op.spec)?;
    if let Some(first) = first {
        let range = IdRange { inside: 0, outside: first, count: PRIVATE_COUNT };
        if map.uid.iter().chain(&map.gid).any(|own| own.overlaps_outside(&range)) {
            return Err(ShiftError::Own(first, first.saturating_add(PRIVATE_COUNT - 1)));
        }
    }
    let zfs = Zfs::open().map_err(zfs_error)?;
    let table = mountinfo::mounts().unwrap_or_default();
    for name in &wanted {
        if let Some(mount) = table.iter().find(|m| is_of(m, name)) {
            return Err(ShiftError::Mounted { filesystem: mount.source.clone(), point: mount.point.clone() });
        }
        free(op.store.root(), &zfs, name)?;
    }
    for name in &wanted {
        let d = zfs.dataset(name).map_err(zfs_error)?;
        below(&zfs, &d, &map, first, op.out)?;
    }
    Ok(())
}

fn below(
    zfs: &dyn ZfsSystem,
    d: &Dataset,
    map: &IdMap,
    first: Option<u32>,
    out: &mut dyn Notice,
) -> Result<(), ShiftError> {
    if d.kind != Some(DatasetKind::Filesystem) {
        return Ok(());
    }
    if is_locked(d) {
        return Err(ShiftError::NoKey { dataset: d.name.clone() });
    }
    let changed = one(&d.name, map, first, out)
        .map_err(|source| ShiftError::Files { dataset: d.name.clone(), source })?;
    out.say(&format!("{}: {changed} owners and groups changed to ids of the zone.", d.name));
    for child in zfs.children(&d.name) {
        below(zfs, &child.map_err(zfs_error)?, map, first, out)?;
    }
    Ok(())
}

/// Changes one filesystem, through a private mount. Returns how many ids of users and groups were replaced.
fn one(name: &str, map: &IdMap, first: Option<u32>, out: &mut dyn Notice) -> Result<u64, FilesError> {
    let careful = MountOptions { no_suid: true, no_exec: true, no_atime: true, ..MountOptions::default() };
    let tree = mount(name, &careful, None).map_err(FilesError::Mount)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(&tree, ".", flags, Mode::empty()).map_err(|e| FilesError::Open(e.into()))?;
    let changed = std::cell::Cell::new(0u64);
    let new = |id: u32, own: &[IdRange]| {
        let new = new_id(id, first, own)?;
        changed.set(changed.get() + 1);
        Some(new)
    };
    let ids = IdShift { uid: &|id| new(id, &map.uid), gid: &|id| new(id, &map.gid) };
    let what = format!("changing owners in {name}");
    let top = Dir::from_fd(top, Path::new(name).to_owned());
    shift_ids(&top, &ids, &mut |done| {
        if done.is_multiple_of(512) {
            out.progress(done, 0, &what);
        }
    })?;
    Ok(changed.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_other_zones_or_of_the_host_become_the_zones() {
        let own = [IdRange { inside: 0, outside: PRIVATE_FIRST + 3 * PRIVATE_COUNT, count: PRIVATE_COUNT }];
        let to = |inside| Some(PRIVATE_FIRST + 3 * PRIVATE_COUNT + inside);
        assert_eq!(new_id(PRIVATE_FIRST + 33, None, &own), to(33));
        assert_eq!(new_id(PRIVATE_FIRST + 9 * PRIVATE_COUNT + 7, None, &own), to(7));
        // Ids of the zone stay, so that the change can be repeated; ids of the host stay unless `-f` names them.
        assert_eq!(new_id(PRIVATE_FIRST + 3 * PRIVATE_COUNT + 7, None, &own), None);
        assert_eq!((new_id(0, None, &own), new_id(1000, None, &own)), (None, None));
        assert_eq!((new_id(1000, Some(0), &own), new_id(PRIVATE_FIRST, Some(0), &own)), (to(1000), None));
        // An id that the zone does not have stays.
        let few = [IdRange { inside: 0, outside: PRIVATE_FIRST, count: 10 }];
        assert_eq!(new_id(PRIVATE_FIRST + PRIVATE_COUNT + 10, None, &few), None);
    }
}
