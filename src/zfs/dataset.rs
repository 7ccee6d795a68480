//! Filesystems and volumes: make, clone, rename, destroy.

use super::error::{CallFailure, Meaning, errors, pack};
use super::name::{NAME_MAX, is_filesystem, is_snapshot, pool};
use super::nvlist::List;
use super::{Zfs, error};
use crate::sys::zfs::errno;

/// The kind of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// Holds files.
    Filesystem,
    /// Is a block device; needs the property `volsize`.
    Volume,
}

impl DatasetKind {
    fn number(self) -> i32 {
        match self {
            Self::Filesystem => 2,
            Self::Volume => 3,
        }
    }

    /// Returns the kind by the kernel's number.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::Filesystem),
            3 => Some(Self::Volume),
            _ => None,
        }
    }
}

errors! {
    /// Why [`Zfs::create`] failed.
    CreateError {
        EINVAL => FilesystemNameInvalid "'{0}' is not a name for a filesystem or volume", told_apart;
        EEXIST => FilesystemExists "the dataset '{0}' exists already";
        ENOENT => ParentNotFound "the parent of '{0}' does not exist";
        ZFS_ERR_WRONG_PARENT => WrongParent "the parent of '{0}' is not a filesystem";
        EINVAL | ZFS_ERR_BADPROP => PropertyInvalid "a property for '{0}' is unknown or has an invalid value";
    }

    /// Why [`Zfs::clone`] failed.
    CloneError {
        EINVAL => FilesystemNameInvalid "'{0}' is not a name for a filesystem or volume", told_apart;
        EINVAL | ENOENT => SnapshotNameInvalid "'{0}' is not the name of a snapshot", told_apart;
        EXDEV => PoolsDiffer "'{0}' is not in the pool of its origin";
        EEXIST => FilesystemExists "the dataset '{0}' exists already";
        ENOENT => DatasetNotFound "the origin or the parent of '{0}' does not exist";
        EINVAL => PropertyInvalid "a property for '{0}' is unknown or has an invalid value";
    }

    /// Why [`Zfs::promote`] failed.
    PromoteError {
        EINVAL => FilesystemNameInvalid "'{0}' is not the name of a filesystem or volume", told_apart;
        EINVAL | ENOTSOCK => NotClone "'{0}' is not a clone";
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EEXIST => SnapshotExists "the snapshot '{0}' would have to move but its name is taken";
        EACCES => EncryptionRootDiffers "'{0}' would leave its encryption root";
    }

    /// Why [`Zfs::rename`] failed.
    RenameError {
        EINVAL => FilesystemNameInvalid "'{0}' is not a name for a filesystem or volume", told_apart;
        EEXIST => FilesystemExists "the dataset '{0}' exists already";
        ENOENT => FilesystemNotFound "the dataset '{0}' or the new parent does not exist";
        ZFS_ERR_WRONG_PARENT => WrongParent "the parent of '{0}' is not a filesystem";
        EINVAL | EXDEV => PoolsDiffer "'{0}' cannot be moved to another pool or below itself";
    }

    /// Why [`Zfs::destroy`] failed. [`CallFailure::DatasetBusy`]: mounted, open, or with snapshots.
    DestroyError {
        EINVAL => FilesystemNameInvalid "'{0}' is not the name of a filesystem or volume", told_apart;
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EEXIST => HasChildren "the dataset '{0}' has children";
    }

    /// Why [`Zfs::exists`] failed: only before the kernel was asked.
    ExistsError {}
}

/// Refuses a text that is no name of a filesystem, or too long for one: the reason of an `EINVAL`.
pub(super) fn check_filesystem<E: Meaning>(name: &str, invalid: fn(String) -> E) -> Result<(), E> {
    if !is_filesystem(name) {
        return Err(invalid(name.to_owned()));
    }
    if name.len() > NAME_MAX { Err(CallFailure::NameTooLong(name.to_owned()).into()) } else { Ok(()) }
}

/// Refuses a text that is no name of a snapshot, or too long for one: the reason of an `EINVAL`.
pub(super) fn check_snapshot<E: Meaning>(name: &str, invalid: fn(String) -> E) -> Result<(), E> {
    if !is_snapshot(name) {
        return Err(invalid(name.to_owned()));
    }
    if name.len() > NAME_MAX { Err(CallFailure::NameTooLong(name.to_owned()).into()) } else { Ok(()) }
}

/// Says whether an error is this number.
pub(super) fn is(error: &crate::sys::zfs::CoreError, number: i32) -> bool {
    *error == crate::sys::zfs::CoreError::Errno(number)
}

impl Zfs {
    /// Makes a filesystem or volume (`lzc_create`). It is not mounted.
    ///
    /// Numbers and choices among words are unsigned numbers in `props` ([`super::index_number`]), all
    /// other properties texts. `key` is the wrapping key of a new encryption root.
    ///
    /// ```no_run
    /// # use zones::zfs::{DatasetKind, Zfs, nvlist::List};
    /// let zfs = Zfs::open()?;
    /// zfs.create("tank/vol", DatasetKind::Volume, &[("volsize", 1u64 << 30)].into(), None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(
        &self,
        name: &str,
        kind: DatasetKind,
        props: &List,
        key: Option<&[u8]>,
    ) -> Result<(), CreateError> {
        let props = pack(props)?;
        self.core().and_then(|c| c.create(name, kind.number(), &props, key)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, CreateError::FilesystemNameInvalid)?;
            }
            Err(CreateError::from_core(e, name))
        })
    }

    /// Makes a clone of a snapshot in the same pool (`lzc_clone`). It is not mounted, and it inherits
    /// from its new parent: no local property of the origin comes along.
    ///
    /// ```no_run
    /// # use zones::zfs::{Zfs, nvlist::List};
    /// let zfs = Zfs::open()?;
    /// zfs.clone("tank/copy", "tank/zion@new", &List::new())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CloneError`].
    pub fn clone(&self, name: &str, origin: &str, props: &List) -> Result<(), CloneError> {
        let props = pack(props)?;
        self.core().and_then(|c| c.clone(name, origin, &props)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, CloneError::FilesystemNameInvalid)?;
                check_snapshot(origin, CloneError::SnapshotNameInvalid)?;
            }
            if is(&e, errno::ENOENT) && !is_snapshot(origin) {
                return Err(CloneError::SnapshotNameInvalid(origin.to_owned()));
            }
            Err(CloneError::from_core(e, name))
        })
    }

    /// Makes a clone the owner of the snapshots up to its origin; its former origin becomes the clone
    /// (`lzc_promote`).
    ///
    /// ```no_run
    /// # use zones::zfs::{PromoteError, Zfs};
    /// let zfs = Zfs::open()?;
    /// if let Err(PromoteError::SnapshotExists(name)) = zfs.promote("tank/copy") {
    ///     println!("rename {name} first");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PromoteError`]; [`PromoteError::SnapshotExists`] names the snapshot in the way.
    pub fn promote(&self, name: &str) -> Result<(), PromoteError> {
        let done = self.core().map_err(|e| (e, String::new())).and_then(|c| c.promote(name));
        done.or_else(|(e, conflict)| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, PromoteError::FilesystemNameInvalid)?;
            }
            let about = if is(&e, errno::EEXIST) && !conflict.is_empty() { &conflict } else { name };
            Err(PromoteError::from_core(e, about))
        })
    }

    /// Gives a filesystem or volume another name in its pool (`lzc_rename`). Mounts stay where they
    /// are: unmount before, mount afterwards.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.rename("tank/zion", "tank/zion2")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RenameError`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), RenameError> {
        self.core().and_then(|c| c.rename(from, to)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(from, RenameError::FilesystemNameInvalid)?;
                check_filesystem(to, RenameError::FilesystemNameInvalid)?;
                if pool(from) == pool(to) {
                    let other = CallFailure::ZFSGenericError { name: from.to_owned(), errno: errno::EINVAL };
                    return Err(other.into());
                }
            }
            let target = is(&e, errno::EEXIST) || is(&e, errno::ZFS_ERR_WRONG_PARENT);
            Err(RenameError::from_core(e, if target { to } else { from }))
        })
    }

    /// Destroys a filesystem or volume that has no children and no snapshots and is not in use
    /// (`lzc_destroy`).
    ///
    /// ```no_run
    /// # use zones::zfs::{Zfs, error::Meaning};
    /// let zfs = Zfs::open()?;
    /// match zfs.destroy("tank/zion") {
    ///     Err(e) if e.is_busy() => println!("mounted, open, or with snapshots"),
    ///     other => other?,
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DestroyError`].
    pub fn destroy(&self, name: &str) -> Result<(), DestroyError> {
        self.core().and_then(|c| c.destroy(name)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, DestroyError::FilesystemNameInvalid)?;
            }
            Err(DestroyError::from_core(e, name))
        })
    }

    /// Says whether there is a filesystem, volume or snapshot of this name (`lzc_exists`). In a zone, a dataset that
    /// it cannot see does not exist.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// assert!(!Zfs::open()?.exists("tank/nothing")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ExistsError`].
    pub fn exists(&self, name: &str) -> Result<bool, ExistsError> {
        self.core().and_then(|c| c.exists(name)).map_err(|e| error::Meaning::from_core(e, name))
    }
}
