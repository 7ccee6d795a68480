//! Looks for the files of a zone that are not at its zonepath. Reads only, and only when they are missed: every
//! filesystem of every pool is asked.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use thiserror::Error;

use super::system::ZfsSystem;
use super::{chain, is_locked};
use crate::apply::paths::{Root, real_path};
use crate::plan::dataset::ZONE_MARK;
use crate::plan::storage::{Candidate, explain};
use crate::spec::ZoneName;
use crate::sys::mountinfo::{self, MountEntry};
use crate::zfs::{Dataset, DatasetKind, Mountpoint, OpenError, PoolError, PropertySource, Zfs};

/// Says whether the files of an installed zone are invisible. Without the right to look they count as visible.
pub fn is_missing(root: &Root, zonepath: &Path) -> bool {
    let seen = root.host_path(zonepath).join("root").symlink_metadata();
    seen.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

/// Says of one zone after another whether its files are invisible. Zonepaths mostly stand side by side, so their
/// folder is opened once and each root is looked up from there.
pub struct RootLookup<'a> {
    root: &'a Root,
    parent: Option<(PathBuf, OwnedFd)>,
}

impl<'a> RootLookup<'a> {
    /// Returns a lookup in an alternate root, or in that of the host.
    pub fn new(root: &'a Root) -> Self {
        Self { root, parent: None }
    }

    /// Does what [`is_missing`] does.
    pub fn is_missing(&mut self, zonepath: &Path) -> bool {
        let (Some(folder), Some(name)) = (zonepath.parent(), zonepath.file_name()) else {
            return is_missing(self.root, zonepath);
        };
        if self.parent.as_ref().is_none_or(|(path, _)| path != folder) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(opened) = rustix::fs::open(self.root.host_path(folder), flags, Mode::empty()) else {
                return is_missing(self.root, zonepath);
            };
            self.parent = Some((folder.to_owned(), opened));
        }
        let Some((_, parent)) = &self.parent else { return is_missing(self.root, zonepath) };
        let seen = rustix::fs::statat(parent, Path::new(name).join("root"), AtFlags::SYMLINK_NOFOLLOW);
        seen.is_err_and(|e| e == Errno::NOENT)
    }
}

/// Says where the files of a zone may be, and which command brings them back.
pub fn missing(root: &Root, zone: &ZoneName, zonepath: &Path) -> String {
    explain(&real_path(root, zonepath), candidates(root, zone, zonepath).ok().as_deref())
}

/// Why the filesystems of the imported pools cannot be looked through.
#[derive(Debug, Error)]
pub enum ZfsLookupError {
    /// The control device cannot be opened.
    #[error("{}", chain(.0))]
    Open(#[from] OpenError),
    /// The pools cannot be listed.
    #[error("{}", chain(.0))]
    Pools(#[from] PoolError),
}

/// Returns the filesystems of the imported pools that carry the owner mark of a zone, and those that would be mounted
/// at its zonepath or above it.
///
/// # Errors
/// [`ZfsLookupError`]: ZFS cannot be asked.
pub fn candidates(root: &Root, zone: &ZoneName, zonepath: &Path) -> Result<Vec<Candidate>, ZfsLookupError> {
    let zfs = Zfs::open()?;
    let table = mountinfo::mounts().unwrap_or_default();
    let look =
        StorageLookup { zfs: &zfs, zone: zone.as_str(), real: real_path(root, zonepath), table: &table };
    let mut found = Vec::new();
    for pool in zfs.pools()?.into_keys() {
        // A pool that was exported a moment ago.
        let Ok(top) = zfs.dataset(&pool) else { continue };
        look.below(&top, zfs.altroot(&pool).as_deref(), &mut found);
    }
    Ok(found)
}

struct StorageLookup<'a> {
    zfs: &'a dyn ZfsSystem,
    zone: &'a str,
    real: PathBuf,
    table: &'a [MountEntry],
}

impl StorageLookup<'_> {
    fn below(&self, d: &Dataset, altroot: Option<&str>, found: &mut Vec<Candidate>) {
        found.extend(self.candidate(d, altroot));
        for child in self.zfs.children(&d.name).flatten().filter(|c| c.kind == Some(DatasetKind::Filesystem))
        {
            self.below(&child, altroot, found);
        }
    }

    fn candidate(&self, d: &Dataset, altroot: Option<&str>) -> Option<Candidate> {
        // The administrator of a zone can write any owner mark on a zoned dataset.
        if d.zoned() {
            return None;
        }
        let has_owner_mark = d.text(ZONE_MARK) == Some(self.zone)
            && matches!(d.source(ZONE_MARK), PropertySource::Local | PropertySource::Received);
        let place = match d.mountpoint().below(altroot) {
            Mountpoint::Path(path) => Some(PathBuf::from(path)),
            Mountpoint::Legacy | Mountpoint::None => None,
        };
        if !has_owner_mark && !place.as_ref().is_some_and(|place| self.real.starts_with(place)) {
            return None;
        }
        let mount = self.table.iter().rev().find(|m| m.kind == "zfs" && m.source == Path::new(&d.name));
        Some(Candidate {
            name: d.name.clone(),
            has_owner_mark,
            place,
            mounted: mount.map(|m| m.point.clone()),
            altroot: altroot.map(str::to_owned),
            locked: is_locked(d),
            never: d.word("canmount").as_deref() == Some("off"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_lookup_finds_what_one_look_finds() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let root = Root::new(Some(dir.path()));
        let here = |path: &str| dir.path().join(path);
        fs::create_dir_all(here("zones/there/root")).expect("a zone with its root");
        fs::create_dir_all(here("zones/unmounted")).expect("a zonepath without a root");
        fs::create_dir_all(here("other/there/root")).expect("a zone of another folder");
        fs::create_dir_all(here("zones/link")).expect("a zonepath");
        symlink("/nowhere", here("zones/link/root")).expect("a link");
        fs::write(here("file"), "").expect("a file");
        let cases = [
            ("/zones/there", false),
            ("/zones/unmounted", true),
            ("/zones/none", true),
            ("/other/there", false),
            ("/other/none", true),
            // A link leads somewhere within the zone: it is there.
            ("/zones/link", false),
            ("/nofolder/none", true),
            // The kernel says that a file is no folder, and not that the root is missing.
            ("/file/none", false),
            ("/zones/there/..", true),
            ("/", true),
        ];
        let mut lookup = RootLookup::new(&root);
        for (zonepath, missing) in cases {
            assert_eq!(is_missing(&root, Path::new(zonepath)), missing, "{zonepath}");
            assert_eq!(lookup.is_missing(Path::new(zonepath)), missing, "{zonepath} in a lookup");
        }
        fs::remove_dir(here("zones/there/root")).expect("an unmounted root");
        assert!(lookup.is_missing(Path::new("/zones/there")), "a lookup looks each time");
    }
}
