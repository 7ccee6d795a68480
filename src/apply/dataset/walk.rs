//! A walk through a filesystem that a zone may have filled. Nothing in it is trusted: links are not
//! followed, files not opened, and a tree of any depth takes one descriptor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use crate::sys::mount::MountFd;
use crate::sys::path::{SAME_MOUNT, open_beneath};

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Something in the tree.
pub struct WalkEntry<'a> {
    dir: BorrowedFd<'a>,
    name: &'a OsStr,
    above: &'a [OsString],
    /// Its metadata.
    pub stat: Stat,
}

impl WalkEntry<'_> {
    /// Returns its path from the top of the filesystem, with a slash in front.
    pub fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.above);
        path.push(self.name);
        path
    }

    /// Says whether it is a regular file that gives capabilities to the process that executes it.
    pub fn has_capabilities(&self) -> bool {
        if FileType::from_raw_mode(self.stat.st_mode) != FileType::RegularFile {
            return false;
        }
        let path = Path::new("/proc/self/fd").join(self.dir.as_raw_fd().to_string()).join(self.name);
        let mut value = [0_u8; 64];
        // Whatever it is that cannot be read, it is there.
        !matches!(
            rustix::fs::lgetxattr(&path, "security.capability", &mut value),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP)
        )
    }
}

/// Walks through a private detached mount, each directory before its entries; `visit` may break it off. The top
/// itself is not visited.
///
/// # Errors
/// The system's error, with the path.
pub fn walk(
    tree: &MountFd,
    visit: &mut dyn FnMut(&WalkEntry<'_>) -> ControlFlow<()>,
) -> Result<(), (PathBuf, io::Error)> {
    let top = open_beneath(tree.as_fd(), Path::new("."), DIR, Mode::empty(), SAME_MOUNT);
    let mut at: OwnedFd = top.map_err(|e| (PathBuf::from("/"), e))?;
    let mut above: Vec<OsString> = Vec::new();
    // Directories that are still to be entered, for each level.
    let mut waiting: Vec<Vec<OsString>> = Vec::new();
    let mut fresh = true;
    loop {
        let failed = |e: rustix::io::Errno, above: &[OsString]| {
            let mut path = PathBuf::from("/");
            path.extend(above);
            (path, io::Error::from(e))
        };
        if fresh {
            match level(at.as_fd(), &above, visit) {
                Ok(ControlFlow::Continue(dirs)) => waiting.push(dirs),
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(e) => return Err(failed(e, &above)),
            }
        }
        match waiting.last_mut().and_then(Vec::pop) {
            Some(name) => {
                let next = open_beneath(at.as_fd(), Path::new(&name), DIR, Mode::empty(), SAME_MOUNT);
                above.push(name);
                at = next.map_err(|e| {
                    let mut path = PathBuf::from("/");
                    path.extend(&above);
                    (path, e)
                })?;
                fresh = true;
            }
            None => {
                waiting.pop();
                if above.pop().is_none() {
                    return Ok(());
                }
                // No other process has the mount, so the way up is the way that led down.
                at = rustix::fs::openat(&at, "..", DIR, Mode::empty()).map_err(|e| failed(e, &above))?;
                fresh = false;
            }
        }
    }
}

/// Visits one directory and returns those in it.
fn level(
    at: BorrowedFd<'_>,
    above: &[OsString],
    visit: &mut dyn FnMut(&WalkEntry<'_>) -> ControlFlow<()>,
) -> rustix::io::Result<ControlFlow<(), Vec<OsString>>> {
    let mut dirs = Vec::new();
    for entry in rustix::fs::Dir::read_from(at)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let stat = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)?;
        if visit(&WalkEntry { dir: at, name, above, stat }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // The folder of the snapshots is no part of the tree.
        let control = above.is_empty() && name == ".zfs";
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && !control {
            dirs.push(name.to_owned());
        }
    }
    Ok(ControlFlow::Continue(dirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn capabilities_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        let net_raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let set =
            rustix::fs::setxattr(&file, "security.capability", &net_raw, rustix::fs::XattrFlags::empty());
        let fd = rustix::fs::open(folder.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let (Ok(()), Ok(tree)) = (set, MountFd::copy(fd.expect("opened").as_fd(), false)) else {
            eprintln!("SKIPPED: no rights");
            return;
        };
        let mut seen = Vec::new();
        walk(&tree, &mut |e| {
            seen.push(e.has_capabilities());
            ControlFlow::Continue(())
        })
        .expect("walked");
        assert_eq!(seen, [true]);
    }

    #[test]
    fn a_tree_is_seen_whole_whatever_its_depth() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut path = folder.path().to_owned();
        for _ in 0..40 {
            path.push("d");
        }
        std::fs::create_dir_all(&path).expect("made");
        std::fs::write(path.join("file"), "").expect("written");
        std::fs::set_permissions(path.join("file"), std::fs::Permissions::from_mode(0o4755)).expect("chmod");
        std::os::unix::fs::symlink("/", folder.path().join("link")).expect("linked");
        std::fs::create_dir(folder.path().join("e")).expect("made");
        std::fs::write(folder.path().join("e/x"), "").expect("written");
        let fd = rustix::fs::open(folder.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let Ok(tree) = MountFd::copy(fd.expect("opened").as_fd(), false) else {
            eprintln!("SKIPPED: mounts cannot be copied here");
            return;
        };
        let mut seen = Vec::new();
        walk(&tree, &mut |e| {
            seen.push((e.path(), e.stat.st_mode & 0o7777, e.has_capabilities()));
            ControlFlow::Continue(())
        })
        .expect("walked");
        assert_eq!(seen.len(), 40 + 1 + 1 + 1 + 1);
        let deep = Path::new("/").join("d/".repeat(40)).join("file");
        assert!(seen.iter().any(|(p, mode, caps)| *p == deep && *mode == 0o4755 && !caps));
        assert!(seen.iter().any(|(p, ..)| p == Path::new("/e/x")));
        let mut first = 0;
        walk(&tree, &mut |_| {
            first += 1;
            ControlFlow::Break(())
        })
        .expect("walked");
        assert_eq!(first, 1);
    }
}
