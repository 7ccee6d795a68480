//! Permissions of users on datasets, as zfs-allow(8) gives them.

use super::Zfs;
use super::error::{CallFailure, Meaning, errors};
use super::nvlist::{List, NvValue};
use crate::sys::zfs::{Ioctl, ZfsRequest};

/// Bytes that are expected back at first.
const ROOM: usize = 16 << 10;

errors! {
    /// Why [`Zfs::permissions`] or [`Zfs::revoke`] failed.
    PermissionsError {
        EINVAL => NameInvalid "'{0}' is not the name of a dataset";
        ENOENT => DatasetNotFound "the dataset '{0}' does not exist";
        ENOTSUP => NotSupported "the pool of '{0}' is too old for permissions";
    }
}

impl Zfs {
    /// Returns the permissions that are set on a dataset itself; empty without any. The names are the kernel's: whom
    /// they are for (`u` a user, `g` a group, `e` everyone, `c` the creator, `s` a set), where they count (`l`
    /// there, `d` below, `-` for sets), a dollar sign, and the id or name. Ids are those of the host, no matter in
    /// which user namespace the permission was given.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// let zfs = Zfs::open()?;
    /// let list = zfs.permissions("tank/zion")?;
    /// zfs.revoke("tank/zion", &list)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PermissionsError`].
    pub fn permissions(&self, name: &str) -> Result<List, PermissionsError> {
        let failed = |number| PermissionsError::from_errno(number, name);
        let request = ZfsRequest::new(name).map_err(failed)?;
        let reply =
            self.device.call(Ioctl::GetFsacl, &request, ROOM).map_err(|(number, _)| failed(number))?;
        // With those of its ancestors, each under the dataset that it is set on.
        let mut all = List::decode(&reply.list).map_err(CallFailure::from)?;
        Ok(match all.remove(name) {
            Some(NvValue::List(list)) => list,
            _ => List::default(),
        })
    }

    /// Takes permissions away, as they were listed.
    ///
    /// # Errors
    /// [`PermissionsError`].
    pub fn revoke(&self, name: &str, list: &List) -> Result<(), PermissionsError> {
        let failed = |number| PermissionsError::from_errno(number, name);
        let packed = list.to_native().map_err(CallFailure::from)?;
        let request = ZfsRequest::new(name).map_err(failed)?.list(packed).revoke();
        self.device.call(Ioctl::SetFsacl, &request, 0).map(drop).map_err(|(number, _)| failed(number))
    }
}
