//! Removes a tree.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use thiserror::Error;

use super::chain::Chain;
use crate::spec::shown::Show;
use crate::sys::path::{At, Dir, PathError, SAME_MOUNT, open_beneath};

/// Entries between two reports.
const REPORT: u64 = 512;

/// Why a tree could not be removed. Files removed before the error stay removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// Something is mounted in the tree.
    #[error("something is mounted on {}: unmount it first", .0.shown())]
    Mounted(PathBuf),
    /// A process makes new entries as fast as they are removed.
    #[error("{} does not become empty: something still writes to it", .0.shown())]
    Restless(PathBuf),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A directory on the way down.
struct Level {
    name: OsString,
    dirs: VecDeque<CString>,
    scanned: bool,
    tries: u32,
}

impl Level {
    fn new(name: &OsStr) -> Self {
        Self { name: name.to_owned(), dirs: VecDeque::new(), scanned: false, tries: 0 }
    }
}

/// Removes a name from a directory: a file, a link, or a tree with all below it.
///
/// Never follows a link and never enters a mount. A name that does not exist is no error. `report`
/// is called with the number of removed entries now and then, and at the end. Returns that number.
///
/// # Errors
/// [`RemoveError`]; the tree is then partly there and a second call goes on.
pub fn remove_tree(parent: &Dir, name: &OsStr, report: &mut dyn FnMut(u64)) -> Result<u64, RemoveError> {
    let mut count = Count { removed: 0, report };
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => {
            count.add();
            return Ok(count.finish());
        }
        Err(Errno::NOENT) => return Ok(0),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::BUSY) => return Err(RemoveError::Mounted(parent.join(Path::new(name)))),
        Err(e) => return Err(e).at("remove", parent.join(Path::new(name)))?,
    }
    let top = parent.join(Path::new(name));
    let Some(fd) = open(parent.as_fd(), name).map_err(|e| refused("open", e, || top.clone()))? else {
        return Ok(count.finish());
    };
    let mut tree = Removal { top, chain: Chain::new(fd), levels: vec![Level::new(name)] };
    // No room on the stack for a large buffer, and one is enough for all levels.
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    while let Some(level) = tree.levels.last_mut() {
        if !level.scanned {
            level.scanned = true;
            tree.scan(&mut buffer, &mut count)?;
        } else if let Some(dir) = level.dirs.pop_front() {
            tree.enter(Level::new(OsStr::from_bytes(dir.as_bytes())))?;
        } else {
            tree.leave(parent, &mut count)?;
        }
    }
    Ok(count.finish())
}

/// Opens a directory so that its entries can be removed; none when it has gone.
fn open(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match open_beneath(at, Path::new(name), flags, Mode::empty(), SAME_MOUNT) {
        Ok(fd) => {
            super::subvolume::make_writable(fd.as_fd())?;
            Ok(Some(fd))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Says what could not be done to a path, which is put together here.
fn refused(action: &'static str, cause: io::Error, path: impl FnOnce() -> PathBuf) -> RemoveError {
    match Errno::from_io_error(&cause) {
        Some(Errno::BUSY | Errno::XDEV) => RemoveError::Mounted(path()),
        _ => PathError { action, path: path(), cause }.into(),
    }
}

struct Count<'a> {
    removed: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Count<'_> {
    fn add(&mut self) {
        self.removed += 1;
        if self.removed.is_multiple_of(REPORT) {
            (self.report)(self.removed);
        }
    }

    fn finish(self) -> u64 {
        (self.report)(self.removed);
        self.removed
    }
}

/// Neither the limit of open files nor the length of a path can stop the removal of a tree that a zone has
/// made, and nothing of it needs to be moved first: a file system may refuse that.
struct Removal {
    top: PathBuf,
    /// The stack holds as many directories as there are levels.
    chain: Chain,
    levels: Vec<Level>,
}

impl Removal {
    /// Path of a name in the innermost level, for messages.
    fn path(&self, name: Option<&OsStr>) -> PathBuf {
        let mut path = self.top.clone();
        path.extend(self.levels.iter().skip(1).map(|l| l.name.as_os_str()));
        path.extend(name);
        path
    }

    /// Opens a directory of the innermost level as the next one; a missing one is no error.
    fn enter(&mut self, level: Level) -> Result<(), RemoveError> {
        let opened = open(self.chain.last(), &level.name);
        let Some(fd) = opened.map_err(|e| refused("open", e, || self.path(Some(&level.name))))? else {
            return Ok(());
        };
        self.chain.push(fd).at("open", self.top.join(&level.name))?;
        self.levels.push(level);
        Ok(())
    }

    /// Removes all but directories from the innermost level and notes the directories.
    fn scan(&mut self, buffer: &mut [MaybeUninit<u8>], count: &mut Count<'_>) -> Result<(), RemoveError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        scan(self.chain.last(), &mut level.dirs, buffer, count).map_err(|(name, error)| {
            let name = Some(name.as_os_str()).filter(|n| !n.is_empty());
            refused("remove", error.into(), || self.path(name))
        })
    }

    /// Removes the innermost level itself, which is empty now.
    fn leave(&mut self, parent: &Dir, count: &mut Count<'_>) -> Result<(), RemoveError> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        self.chain.pop().at("open", &self.top)?;
        let at = if self.levels.is_empty() { parent.as_fd() } else { self.chain.last() };
        match rustix::fs::unlinkat(at, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) => count.add(),
            Err(Errno::NOENT) => {}
            // Entries made meanwhile; or left out, as some file systems do when a directory shrinks while it is read.
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.tries < 100 => {
                level.tries += 1;
                level.scanned = false;
                if self.levels.is_empty() {
                    self.levels.push(level);
                } else {
                    self.enter(level)?;
                }
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                return Err(RemoveError::Restless(self.path_of(&level)));
            }
            Err(e) => return Err(refused("remove", e.into(), || self.path_of(&level))),
        }
        Ok(())
    }

    /// Path of a level that was just left.
    fn path_of(&self, level: &Level) -> PathBuf {
        if self.levels.is_empty() { self.top.clone() } else { self.path(Some(&level.name)) }
    }
}

/// Reads a directory once from its start, removes files and notes the directories. The error holds the name, empty
/// for the directory itself.
fn scan(
    dir: BorrowedFd<'_>,
    dirs: &mut VecDeque<CString>,
    buffer: &mut [MaybeUninit<u8>],
    count: &mut Count<'_>,
) -> Result<(), (OsString, Errno)> {
    let whole = |e| (OsString::new(), e);
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0)).map_err(whole)?;
    let mut entries = RawDir::new(dir, buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(whole)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            dirs.push_back(name.to_owned());
            continue;
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) => count.add(),
            Err(Errno::NOENT) => {}
            // The file system did not report the type, or the entry has changed: EISDIR, or by POSIX EPERM.
            Err(Errno::ISDIR) => dirs.push_back(name.to_owned()),
            Err(e) => return Err((OsStr::from_bytes(name.to_bytes()).to_owned(), e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn remove(at: &Path, name: &str) -> Result<u64, RemoveError> {
        remove_tree(&Dir::open_host(at).expect("open"), OsStr::new(name), &mut |_| {})
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let temp = tempfile::tempdir().expect("temp");
        let keep = temp.path().join("keep");
        std::fs::create_dir_all(keep.join("sub")).expect("dir");
        std::fs::write(keep.join("file"), "x").expect("file");
        let tree = temp.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).expect("dir");
        symlink(&keep, tree.join("a/out")).expect("link");
        symlink(keep.join("file"), tree.join("a/b/out")).expect("link");
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), Mode::from_raw_mode(0o600)).expect("pipe");
        symlink(&keep, temp.path().join("toplink")).expect("link");
        assert_eq!(remove(temp.path(), "tree").expect("remove"), 6);
        assert_eq!(remove(temp.path(), "toplink").expect("remove"), 1);
        assert_eq!(remove(temp.path(), "tree").expect("again"), 0);
        assert!(keep.join("file").exists() && keep.join("sub").exists());
    }

    #[test]
    fn deep_and_wide_trees_go() {
        let temp = tempfile::tempdir().expect("temp");
        let top = Dir::open_host(temp.path()).expect("open");
        let mut at = top.make_dir("tree", crate::sys::path::Owned::root(0o755)).expect("dir").0;
        // Far deeper than a path can be long, and than files can be open.
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755)).expect("mkdir");
            let fd = open_beneath(at.as_fd(), Path::new("d"), OFlags::RDONLY, Mode::empty(), SAME_MOUNT);
            at = Dir::from_fd(fd.expect("open"), PathBuf::from("d"));
        }
        std::fs::create_dir_all(temp.path().join("tree/x/y")).expect("dir");
        for i in 0..2000 {
            std::fs::write(temp.path().join(format!("tree/f{i}")), "").expect("file");
        }
        let mut reports = Vec::new();
        let removed = remove_tree(&top, OsStr::new("tree"), &mut |n| reports.push(n)).expect("remove");
        assert_eq!(removed, 3000 + 2 + 2000 + 1);
        assert!(reports.len() > 5 && reports.last() == Some(&removed), "{reports:?}");
        assert!(!temp.path().join("tree").exists());
    }

    #[test]
    fn errors_name_the_entry() {
        let temp = tempfile::tempdir().expect("temp");
        let error = remove(Path::new("/proc/self"), "status").expect_err("procfs does not remove");
        assert!(error.to_string().contains("/proc/self/status"), "{error}");
        drop(temp);
    }
}
