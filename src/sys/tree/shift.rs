//! Gives the files of a tree other ids, as those of another zone.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::chain::Chain;
use super::copy::CopyError;
use super::data::set_xattr;
use crate::sys::path::{At, Dir, PathError, SAME_MOUNT, entries, open_beneath};

/// Longest attribute that holds ids: an access list of 5,000 entries.
const ATTRIBUTE_MAX: usize = 65_536;

const CAPABILITY: &CStr = c"security.capability";
const ACLS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

/// Maps ids; none for an id that stays.
pub struct IdShift<'a> {
    /// User ids.
    pub uid: &'a dyn Fn(u32) -> Option<u32>,
    /// Group ids.
    pub gid: &'a dyn Fn(u32) -> Option<u32>,
}

impl std::fmt::Debug for IdShift<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdShift").finish_non_exhaustive()
    }
}

/// Changes owners, groups, access lists and file capabilities of a directory and all below it; modes stay as they
/// are. Links are not followed and mounts not entered. No other process may write to the tree meanwhile. Returns the
/// number of entries.
///
/// # Errors
/// [`CopyError`]; a part of the tree is then changed.
pub fn shift_ids(top: &Dir, ids: &IdShift<'_>, progress: &mut dyn FnMut(u64)) -> Result<u64, CopyError> {
    let stat = rustix::fs::fstat(top).at("read", top.path())?;
    let mut shift = Shift { ids, seen: HashSet::new(), done: 0 };
    shift.open(top.as_fd(), &stat, top.path())?;
    let mut chain = Chain::new(top.as_fd().try_clone_to_owned().at("open", top.path())?);
    let mut levels = vec![top.entries()?];
    let mut path = top.path().to_owned();
    while let Some(todo) = levels.last_mut() {
        let Some((name, _)) = todo.pop() else {
            levels.pop();
            chain.pop().at("open", &path)?;
            path.pop();
            continue;
        };
        path.push(&name);
        let next = shift.entry(chain.last(), &name, &path)?;
        progress(shift.done);
        match next {
            Some((fd, todo)) => {
                chain.push(fd).at("read", &path)?;
                levels.push(todo);
            }
            None => {
                path.pop();
            }
        }
    }
    Ok(shift.done)
}

type Level = (OwnedFd, Vec<(OsString, FileType)>);

struct Shift<'a> {
    ids: &'a IdShift<'a>,
    /// Files of several names that have been seen: their new ids may be old ids of others.
    seen: HashSet<(u64, u64)>,
    done: u64,
}

impl Shift<'_> {
    /// Changes one entry; returns a directory to be entered.
    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<Option<Level>, CopyError> {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.at("read", path)?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 && !self.seen.insert((stat.st_dev, stat.st_ino)) {
            return Ok(None);
        }
        let flags = match kind {
            FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
            FileType::RegularFile => OFlags::RDONLY | OFlags::NONBLOCK,
            // These have neither lists nor capabilities, and opening them can have effects.
            _ => {
                self.done += 1;
                return Ok(self.plain(parent, name, &stat).at("set owner of", path).map(|()| None)?);
            }
        };
        let fd = open_beneath(parent, Path::new(name), flags | OFlags::NOFOLLOW, Mode::empty(), SAME_MOUNT);
        let fd = match fd {
            // A mount belongs to another file system, whose files are not this tree's.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::XDEV) => return Ok(None),
            other => other.at("open", path)?,
        };
        self.open(fd.as_fd(), &stat, path)?;
        if kind != FileType::Directory {
            return Ok(None);
        }
        let todo = entries(fd.as_fd()).at("read", path)?;
        Ok(Some((fd, todo)))
    }

    fn owners(&self, stat: &Stat) -> Option<(Option<Uid>, Option<Gid>)> {
        let uid = (self.ids.uid)(stat.st_uid).map(Uid::from_raw);
        let gid = (self.ids.gid)(stat.st_gid).map(Gid::from_raw);
        (uid.is_some() || gid.is_some()).then_some((uid, gid))
    }

    fn plain(&self, parent: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> io::Result<()> {
        if let Some((uid, gid)) = self.owners(stat) {
            rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Changes an open file or directory.
    fn open(&mut self, fd: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<(), PathError> {
        self.done += 1;
        // A change of owner takes set-id bits and capabilities away.
        let capability = attribute(fd, CAPABILITY).at("read attributes of", path)?;
        let changed = || -> io::Result<()> {
            if let Some((uid, gid)) = self.owners(stat) {
                rustix::fs::fchown(fd, uid, gid)?;
                if stat.st_mode & 0o6000 != 0 {
                    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
                }
                if let Some(value) = &capability {
                    set_xattr(fd, CAPABILITY, &capability_of(value, self.ids))?;
                }
            }
            for name in ACLS {
                if let Some(value) = attribute(fd, name)?
                    && let Some(shifted) = acl_of(&value, self.ids)
                {
                    set_xattr(fd, name, &shifted)?;
                }
            }
            Ok(())
        };
        changed().at("set owner of", path)
    }
}

/// Reads an attribute; none where there is none.
fn attribute(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Ok(size) => {
                value.truncate(size);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < ATTRIBUTE_MAX => value.resize(ATTRIBUTE_MAX, 0),
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Returns a file capability for the root of the other zone (`struct vfs_ns_cap_data`: the id of the root
/// is the last of six words).
fn capability_of(value: &[u8], ids: &IdShift<'_>) -> Vec<u8> {
    let mut out = value.to_vec();
    if let Some(word) = out.get_mut(20..24)
        && let Ok(bytes) = <[u8; 4]>::try_from(&*word)
        && let Some(root) = (ids.uid)(u32::from_le_bytes(bytes))
    {
        word.copy_from_slice(&root.to_le_bytes());
    }
    out
}

/// Returns an access list with other ids, if any differs: a word with the version, then entries of tag,
/// permissions and id.
fn acl_of(value: &[u8], ids: &IdShift<'_>) -> Option<Vec<u8>> {
    const USER: u16 = 2;
    const GROUP: u16 = 8;
    let mut out = value.to_vec();
    for entry in out.get_mut(4..)?.chunks_exact_mut(8) {
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let new = match u16::from_le_bytes([entry[0], entry[1]]) {
            USER => (ids.uid)(id),
            GROUP => (ids.gid)(id),
            _ => None,
        };
        if let Some(new) = new {
            entry[4..].copy_from_slice(&new.to_le_bytes());
        }
    }
    (out != value).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    fn up(id: u32) -> Option<u32> {
        (1000..2000).contains(&id).then(|| id + 1000)
    }

    #[test]
    fn everything_of_the_range_is_shifted_once_and_nothing_else() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let temp = tempfile::tempdir().expect("temp");
        let at = |p: &str| temp.path().join("tree").join(p);
        std::fs::create_dir_all(at("d")).expect("dir");
        let outside = temp.path().join("outside");
        std::fs::write(&outside, "x").expect("file");
        chown(&outside, Some(1001), Some(1001)).expect("chown");
        symlink(&outside, at("link")).expect("link");
        std::os::unix::fs::lchown(at("link"), Some(1007), Some(1008)).expect("chown");
        for (name, id) in [("d/file", 1500), ("d/setuid", 1000), ("host", 5), ("above", 2000)] {
            std::fs::write(at(name), name).expect("file");
            chown(at(name), Some(id), Some(id)).expect("chown");
        }
        std::fs::hard_link(at("d/file"), at("twice")).expect("link");
        std::fs::set_permissions(at("d/setuid"), PermissionsExt::from_mode(0o6755)).expect("chmod");
        chown(at("d"), Some(1000), Some(3)).expect("chown");
        let top = Dir::open_host(&temp.path().join("tree")).expect("open");
        // Ids that overlap with their own successors.
        let ids = IdShift { uid: &|id| (1000..3000).contains(&id).then(|| id + 1000), gid: &up };
        let count = shift_ids(&top, &ids, &mut |_| {}).expect("shift");
        let owner = |p: &str| {
            let stat = at(p).symlink_metadata().expect("stat");
            (stat.uid(), stat.gid())
        };
        assert_eq!(owner("d"), (2000, 3));
        assert_eq!((owner("d/file"), owner("twice")), ((2500, 2500), (2500, 2500)), "once");
        assert_eq!((owner("link"), owner("host"), owner("above")), ((2007, 2008), (5, 5), (3000, 2000)));
        assert_eq!(at("d/setuid").metadata().expect("stat").mode() & 0o7777, 0o6755);
        assert_eq!(outside.metadata().expect("stat").uid(), 1001, "a link is not followed");
        assert_eq!(count, 7);
    }

    #[test]
    fn ids_in_attributes() {
        let ids = IdShift { uid: &up, gid: &up };
        let mut acl = vec![2, 0, 0, 0];
        for (tag, id) in [(1u16, u32::MAX), (2, 1001), (2, 7), (8, 1002), (4, u32::MAX)] {
            acl.extend(tag.to_le_bytes());
            acl.extend([5, 0]);
            acl.extend(id.to_le_bytes());
        }
        let shifted = acl_of(&acl, &ids).expect("changed");
        let id =
            |n: usize| u32::from_le_bytes(shifted[4 + n * 8 + 4..4 + n * 8 + 8].try_into().expect("word"));
        assert_eq!((id(0), id(1), id(2), id(3), id(4)), (u32::MAX, 2001, 7, 2002, u32::MAX));
        assert_eq!(acl_of(&shifted[..12], &ids), None);
        assert_eq!(acl_of(&[], &ids), None);
        let mut capability = vec![0u8; 20];
        capability.extend(1000u32.to_le_bytes());
        assert_eq!(capability_of(&capability, &ids)[20..], 2000u32.to_le_bytes());
        assert_eq!(capability_of(&capability[..20], &ids), capability[..20]);
    }
}
