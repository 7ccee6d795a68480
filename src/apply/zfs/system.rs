//! The ZFS of a machine, as the operations see it: the calls that they make, by their meaning.
//!
//! The operations are given a [`ZfsSystem`], so that their tests run on datasets in memory, without root, and with a
//! failure at any call. Only the edges of the operations open the real [`Zfs`].

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::kstat;
use crate::zfs::nvlist::List;
use crate::zfs::{
    AttachError, CloneError, CreateError, Dataset, DatasetError, DatasetKind, DestroyError, DetachError,
    GetHoldsError, InheritError, ListError, PermissionsError, PoolError, PromoteError, RenameError,
    SetPropFailure, SnapshotDestructionFailure, SnapshotFailure, Zfs,
};

/// Datasets, each read when it is asked for: a walk that finds what it looks for reads no more.
pub type DatasetWalk<'a> = Box<dyn Iterator<Item = Result<Dataset, ListError>> + 'a>;

/// The calls of ZFS that the operations make. Each does, and fails, as the method of [`Zfs`] of that name.
#[expect(clippy::missing_errors_doc, reason = "the methods of Zfs say it")]
pub trait ZfsSystem {
    /// Returns a dataset or snapshot with its properties.
    fn dataset(&self, name: &str) -> Result<Dataset, DatasetError>;
    /// Walks through the children of a filesystem, with their properties.
    fn children<'a>(&'a self, name: &str) -> DatasetWalk<'a>;
    /// Walks through the snapshots of a filesystem or volume.
    fn snapshots<'a>(&'a self, name: &str, props: bool) -> DatasetWalk<'a>;
    /// Returns the holds of a snapshot.
    fn get_holds(&self, snapshot: &str) -> Result<BTreeMap<String, u64>, GetHoldsError>;
    /// Returns the permissions that are set on a dataset itself.
    fn permissions(&self, name: &str) -> Result<List, PermissionsError>;
    /// Returns the pools that are imported.
    fn pools(&self) -> Result<BTreeMap<String, List>, PoolError>;
    /// Returns the directory below which everything of a pool is mounted.
    fn altroot(&self, pool: &str) -> Option<String>;
    /// Says whether a pool is imported read-only.
    fn is_read_only(&self, pool: &str) -> bool;
    /// Says whether the kernel has a filesystem mounted anywhere; none where it does not say.
    fn is_mounted(&self, d: &Dataset) -> Option<bool>;

    /// Makes a filesystem or volume.
    fn create(
        &self,
        name: &str,
        kind: DatasetKind,
        props: &List,
        key: Option<&[u8]>,
    ) -> Result<(), CreateError>;
    /// Makes a clone of a snapshot.
    fn clone(&self, name: &str, origin: &str, props: &List) -> Result<(), CloneError>;
    /// Makes a clone the owner of the snapshots up to its origin.
    fn promote(&self, name: &str) -> Result<(), PromoteError>;
    /// Gives a dataset or snapshot another name.
    fn rename(&self, from: &str, to: &str) -> Result<(), RenameError>;
    /// Destroys a filesystem or volume.
    fn destroy(&self, name: &str) -> Result<(), DestroyError>;
    /// Takes snapshots, all or none.
    fn snapshot(&self, snaps: &[&str], props: &List) -> Result<(), SnapshotFailure>;
    /// Destroys snapshots, all or none.
    fn destroy_snaps(&self, snaps: &[&str], defer: bool) -> Result<(), SnapshotDestructionFailure>;
    /// Sets properties.
    fn set_props(&self, name: &str, props: &List) -> Result<(), SetPropFailure>;
    /// Removes the local value of a property.
    fn inherit(&self, name: &str, property: &str, received: bool) -> Result<(), InheritError>;
    /// Takes permissions away.
    fn revoke(&self, name: &str, list: &List) -> Result<(), PermissionsError>;
    /// Gives a dataset and all below it to a user namespace.
    fn userns_attach(&self, name: &str, namespace: BorrowedFd<'_>) -> Result<(), AttachError>;
    /// Takes a dataset back from a user namespace.
    fn userns_detach(&self, name: &str, namespace: BorrowedFd<'_>) -> Result<(), DetachError>;
}

impl ZfsSystem for Zfs {
    fn dataset(&self, name: &str) -> Result<Dataset, DatasetError> {
        Self::dataset(self, name)
    }

    fn children<'a>(&'a self, name: &str) -> DatasetWalk<'a> {
        Box::new(Self::children(self, name))
    }

    fn snapshots<'a>(&'a self, name: &str, props: bool) -> DatasetWalk<'a> {
        Box::new(Self::snapshots(self, name, props))
    }

    fn get_holds(&self, snapshot: &str) -> Result<BTreeMap<String, u64>, GetHoldsError> {
        Self::get_holds(self, snapshot)
    }

    fn permissions(&self, name: &str) -> Result<List, PermissionsError> {
        Self::permissions(self, name)
    }

    fn pools(&self) -> Result<BTreeMap<String, List>, PoolError> {
        Self::pools(self)
    }

    fn altroot(&self, pool: &str) -> Option<String> {
        Self::altroot(self, pool)
    }

    fn is_read_only(&self, pool: &str) -> bool {
        Self::is_read_only(self, pool)
    }

    fn is_mounted(&self, d: &Dataset) -> Option<bool> {
        let file = kstat(&d.name, d.number("objsetid")?);
        if file.exists() {
            return Some(true);
        }
        // A release that keeps no statistics has no folder for them.
        file.parent().is_some_and(Path::is_dir).then_some(false)
    }

    fn create(
        &self,
        name: &str,
        kind: DatasetKind,
        props: &List,
        key: Option<&[u8]>,
    ) -> Result<(), CreateError> {
        Self::create(self, name, kind, props, key)
    }

    fn clone(&self, name: &str, origin: &str, props: &List) -> Result<(), CloneError> {
        Self::clone(self, name, origin, props)
    }

    fn promote(&self, name: &str) -> Result<(), PromoteError> {
        Self::promote(self, name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), RenameError> {
        Self::rename(self, from, to)
    }

    fn destroy(&self, name: &str) -> Result<(), DestroyError> {
        Self::destroy(self, name)
    }

    fn snapshot(&self, snaps: &[&str], props: &List) -> Result<(), SnapshotFailure> {
        Self::snapshot(self, snaps, props)
    }

    fn destroy_snaps(&self, snaps: &[&str], defer: bool) -> Result<(), SnapshotDestructionFailure> {
        Self::destroy_snaps(self, snaps, defer)
    }

    fn set_props(&self, name: &str, props: &List) -> Result<(), SetPropFailure> {
        Self::set_props(self, name, props)
    }

    fn inherit(&self, name: &str, property: &str, received: bool) -> Result<(), InheritError> {
        Self::inherit(self, name, property, received)
    }

    fn revoke(&self, name: &str, list: &List) -> Result<(), PermissionsError> {
        Self::revoke(self, name, list)
    }

    fn userns_attach(&self, name: &str, namespace: BorrowedFd<'_>) -> Result<(), AttachError> {
        Self::userns_attach(self, name, namespace)
    }

    fn userns_detach(&self, name: &str, namespace: BorrowedFd<'_>) -> Result<(), DetachError> {
        Self::userns_detach(self, name, namespace)
    }
}
