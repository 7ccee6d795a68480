//! Delegation: which user namespace may see and administer a dataset.

use std::os::fd::BorrowedFd;

use super::Zfs;
use super::error::{Meaning, errors};
use crate::sys::zfs::{Ioctl, ZfsRequest};

errors! {
    /// Why [`Zfs::userns_attach`] failed.
    AttachError {
        EINVAL => DatasetNameInvalid "'{0}' is not the name of a dataset";
        ENOENT => DatasetNotFound "the name '{0}' is empty or starts with a slash";
        EEXIST => AlreadyAttached "the dataset '{0}' is attached to that user namespace already";
        EPERM => NotGlobalRoot "only root of the host may attach '{0}' to a user namespace";
        EBADF => BadDescriptor "cannot attach '{0}': the descriptor is not open";
        ZFS_ERR_NOT_USER_NAMESPACE => NotUserNamespace "cannot attach '{0}': the descriptor is not a user namespace";
        ZFS_ERR_NO_USER_NS_SUPPORT | ENXIO => NoUserNamespaces "cannot attach '{0}': the kernel has no user namespaces";
        ZFS_ERR_IOC_CMD_UNAVAIL => NoDelegation "cannot attach '{0}': this ZFS cannot delegate to user namespaces; install OpenZFS 2.2.11, 2.3.9, 2.4.4 or newer";
    }

    /// Why [`Zfs::userns_detach`] failed.
    DetachError {
        EINVAL => DatasetNameInvalid "'{0}' is not the name of a dataset";
        ENOENT => NotAttached "the dataset '{0}' is not attached to that user namespace";
        EPERM => NotGlobalRoot "only root of the host may detach '{0}' from a user namespace";
        EBADF => BadDescriptor "cannot detach '{0}': the descriptor is not open";
        ZFS_ERR_NOT_USER_NAMESPACE => NotUserNamespace "cannot detach '{0}': the descriptor is not a user namespace";
        ZFS_ERR_NO_USER_NS_SUPPORT | ENXIO => NoUserNamespaces "cannot detach '{0}': the kernel has no user namespaces";
        ZFS_ERR_IOC_CMD_UNAVAIL => NoDelegation "cannot detach '{0}': this ZFS cannot delegate to user namespaces";
    }
}

impl Zfs {
    /// Makes a dataset and all below it visible in a user namespace, and writable where `zoned` is on.
    ///
    /// The kernel remembers the *name*: it outlives a destroy and does not follow a rename. No call lists the
    /// attached datasets, and the namespace stays alive until the last detach. Whether the dataset exists, is a
    /// filesystem or belongs to another zone is not checked: the caller has to check.
    ///
    /// ```no_run
    /// # use std::{fs::File, os::fd::AsFd};
    /// # use zones::zfs::Zfs;
    /// let namespace = File::open("/proc/4711/ns/user")?;
    /// Zfs::open()?.userns_attach("tank/zion", namespace.as_fd())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn userns_attach(&self, name: &str, namespace: BorrowedFd<'_>) -> Result<(), AttachError> {
        let done = self.userns(Ioctl::UsernsAttach, name, namespace);
        done.map_err(|number| AttachError::from_errno(number, name))
    }

    /// Takes a dataset from a user namespace. Its mounts there stay.
    ///
    /// ```no_run
    /// # use std::{fs::File, os::fd::AsFd};
    /// # use zones::zfs::{DetachError, Zfs};
    /// let namespace = File::open("/run/zones/zion/userns")?;
    /// match Zfs::open()?.userns_detach("tank/zion", namespace.as_fd()) {
    ///     Err(DetachError::NotAttached(_)) => {}
    ///     other => other?,
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DetachError`].
    pub fn userns_detach(&self, name: &str, namespace: BorrowedFd<'_>) -> Result<(), DetachError> {
        let done = self.userns(Ioctl::UsernsDetach, name, namespace);
        done.map_err(|number| DetachError::from_errno(number, name))
    }

    fn userns(&self, number: Ioctl, name: &str, namespace: BorrowedFd<'_>) -> Result<(), i32> {
        let request = ZfsRequest::new(name)?.descriptor(namespace);
        self.device.call(number, &request, 0).map(drop).map_err(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::CallFailure;
    use super::*;

    #[test]
    fn numbers_have_the_meaning_of_the_call() {
        assert_eq!(AttachError::from_errno(1046, "t").name(), "NotUserNamespace");
        assert_eq!(DetachError::from_errno(libc::ENOENT, "t").name(), "NotAttached");
        assert_eq!(AttachError::from_errno(libc::ENOENT, "").name(), "DatasetNotFound");
        assert!(AttachError::from_errno(1029, "t").to_string().contains("install OpenZFS"));
        let other = AttachError::from_errno(libc::EROFS, "t");
        assert_eq!(other, AttachError::Any(CallFailure::ReadOnlyPool("t".to_owned())));
    }
}
