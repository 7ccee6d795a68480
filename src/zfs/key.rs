//! Keys of encrypted datasets.

use super::Zfs;
use super::dataset::{check_filesystem, is};
use super::error::{Meaning, errors, pack};
use super::nvlist::List;
use crate::sys::zfs::errno;

/// The changes that [`Zfs::change_key`] can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// Becomes, or stays, an encryption root, with a new key.
    NewKey,
    /// Takes the key of its parent.
    Inherit,
    /// Becomes an encryption root; the key stays (for receives).
    ForceNewKey,
    /// Takes the key of its parent; nothing is rewrapped (for receives).
    ForceInherit,
}

errors! {
    /// Why [`Zfs::load_key`] failed.
    LoadKeyError {
        EINVAL => FilesystemNameInvalid "'{0}' is not the name of a filesystem or volume", told_apart;
        EINVAL => PropertyInvalid "'{0}' is not an encryption root, or the key is malformed";
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EACCES => EncryptionKeyInvalid "the key of '{0}' is wrong";
        EEXIST => EncryptionKeyAlreadyLoaded "the key of '{0}' is loaded already";
    }

    /// Why [`Zfs::unload_key`] failed. [`super::error::CallFailure::DatasetBusy`]: mounted.
    UnloadKeyError {
        EINVAL => FilesystemNameInvalid "'{0}' is not the name of a filesystem or volume", told_apart;
        EINVAL => PropertyInvalid "'{0}' is not an encryption root";
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EACCES => EncryptionKeyNotLoaded "the key of '{0}' is not loaded";
    }

    /// Why [`Zfs::change_key`] failed.
    ChangeKeyError {
        EINVAL => FilesystemNameInvalid "'{0}' is not the name of a filesystem or volume", told_apart;
        EINVAL => PropertyInvalid "'{0}' is not encrypted, or a property or the key is invalid";
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EACCES => EncryptionKeyNotLoaded "the key of '{0}' is not loaded";
    }
}

impl Zfs {
    /// Loads the key of an encryption root; with `noop`, only tries whether it is right
    /// (`lzc_load_key`).
    ///
    /// ```no_run
    /// # use zones::zfs::{LoadKeyError, Zfs};
    /// let zfs = Zfs::open()?;
    /// match zfs.load_key("tank/secret", false, &[0; 32]) {
    ///     Err(LoadKeyError::EncryptionKeyAlreadyLoaded(_)) => {}
    ///     other => other?,
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadKeyError`].
    pub fn load_key(&self, name: &str, noop: bool, key: &[u8]) -> Result<(), LoadKeyError> {
        self.core().and_then(|c| c.load_key(name, noop, key)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, LoadKeyError::FilesystemNameInvalid)?;
            }
            Err(LoadKeyError::from_core(e, name))
        })
    }

    /// Forgets the key of an encryption root that is not in use (`lzc_unload_key`).
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.unload_key("tank/secret")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`UnloadKeyError`].
    pub fn unload_key(&self, name: &str) -> Result<(), UnloadKeyError> {
        self.core().and_then(|c| c.unload_key(name)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, UnloadKeyError::FilesystemNameInvalid)?;
            }
            Err(UnloadKeyError::from_core(e, name))
        })
    }

    /// Wraps the data key of an encrypted dataset anew (`lzc_change_key`).
    ///
    /// ```no_run
    /// # use zones::zfs::{KeyChange, Zfs, nvlist::List};
    /// let zfs = Zfs::open()?;
    /// zfs.change_key("tank/secret", KeyChange::NewKey, &List::new(), Some(&[1; 32]))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChangeKeyError`].
    pub fn change_key(
        &self,
        name: &str,
        change: KeyChange,
        props: &List,
        key: Option<&[u8]>,
    ) -> Result<(), ChangeKeyError> {
        // The numbers of dcp_cmd_t.
        let command = match change {
            KeyChange::NewKey => 2,
            KeyChange::Inherit => 3,
            KeyChange::ForceNewKey => 4,
            KeyChange::ForceInherit => 5,
        };
        let props = pack(props)?;
        self.core().and_then(|c| c.change_key(name, command, &props, key)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_filesystem(name, ChangeKeyError::FilesystemNameInvalid)?;
            }
            Err(ChangeKeyError::from_core(e, name))
        })
    }
}
