//! The file system that holds the files of a zone, and its effect on them. Reads only.

use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

use crate::apply::release::Release;
use crate::sys::mountinfo;
use crate::zfs::{Zfs, name};

/// The statfs(2) type of ZFS.
pub const ZFS_MAGIC: i64 = 0x2fc1_2fc1;

/// From this kernel on access lists are stored with the ids that the zone has.
const STORES_ACLS: Release = Release(6, 2, 0);

/// A file system that holds files of zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Nothing can be written to it.
    pub read_only: bool,
    /// No program on it can be run.
    pub no_exec: bool,
    /// Programs on it do not change users.
    pub no_suid: bool,
    /// Its name, when it is one of ZFS.
    pub dataset: Option<String>,
    /// Its pool is imported read-only.
    pub pool_read_only: bool,
    /// Entries of access lists for single users and groups do not count in a zone.
    pub loses_acls: bool,
}

/// Finds out what holds a directory. The host's table of mounts may be long: it is read only for the name of a file
/// system of ZFS that is not usual. Whether access lists count is looked at with `lists`.
pub fn of(path: &Path, lists: bool) -> Holding {
    let flags = rustix::fs::statvfs(path).map_or(StatVfsMountFlags::empty(), |s| s.f_flag);
    let mut held = Holding {
        read_only: flags.contains(StatVfsMountFlags::RDONLY),
        no_exec: flags.contains(StatVfsMountFlags::NOEXEC),
        no_suid: flags.contains(StatVfsMountFlags::NOSUID),
        ..Holding::default()
    };
    let usual = !(held.read_only || held.no_exec || held.no_suid);
    if usual && !lists || rustix::fs::statfs(path).map_or(true, |s| s.f_type != ZFS_MAGIC) {
        return held;
    }
    held.loses_acls = lists && !stores_acls() && has_acls(path);
    if usual {
        return held;
    }
    let table = mountinfo::mounts().unwrap_or_default();
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mount = mountinfo::mount_at(&table, &real).filter(|m| m.kind == "zfs");
    held.dataset = mount.and_then(|m| m.source.to_str()).map(str::to_owned);
    if let Some(dataset) = &held.dataset
        && let Ok(zfs) = Zfs::open()
    {
        held.pool_read_only = zfs.is_read_only(name::pool(dataset));
    }
    held
}

/// Says whether files of a file system may have access lists (`acltype=posix`). One that has none says that it does
/// not support them.
fn has_acls(path: &Path) -> bool {
    let found = rustix::fs::getxattr(path, c"system.posix_acl_access", &mut [0u8; 0]);
    !matches!(found, Err(Errno::OPNOTSUPP))
}

/// Says whether this kernel stores access lists of mapped file systems itself. Before, each file system did, and
/// ZFS does not.
fn stores_acls() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Release::parse(&release).is_none_or(|release| release >= STORES_ACLS)
}

impl Holding {
    /// Returns the command that changes a property, in the form of the end of a sentence; none on other file
    /// systems.
    pub fn command(&self, setting: &str) -> String {
        match &self.dataset {
            Some(dataset) if self.pool_read_only && setting == "readonly=off" => {
                let pool = name::pool(dataset);
                format!("; its pool is imported read-only: use zpool export {pool} && zpool import {pool}")
            }
            Some(dataset) => format!("; use zfs set {setting} {dataset}"),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_that_of_the_file_system() {
        let mut held = Holding::default();
        assert_eq!(held.command("exec=on"), "");
        held.dataset = Some("tank/z".into());
        assert_eq!(held.command("exec=on"), "; use zfs set exec=on tank/z");
        assert_eq!(held.command("readonly=off"), "; use zfs set readonly=off tank/z");
        held.pool_read_only = true;
        assert!(held.command("readonly=off").ends_with("use zpool export tank && zpool import tank"));
    }
}
