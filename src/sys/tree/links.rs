//! Hard links of a copy: where the first name of a file is, for those that follow.
//!
//! A name is found again by its path below the target. In a deep tree a path is longer than the kernel takes, and
//! many of them more than memory; such a file gets another name aside, in a directory that is removed when
//! the copy is done.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::chain::Chain;
use super::copy::{CopyError, SourceEntry};
use super::remove::{RemoveError, remove_tree};
use crate::sys::path::{Dir, PathError, SAME_MOUNT, open_beneath, random_name};

/// Longest path that is kept, in bytes, and in directories: a zone can make a million files of two names.
const LONGEST: usize = 256;
const DEEPEST: usize = 64;

/// Where a copied file has a name.
#[derive(Debug)]
enum First {
    At(PathBuf),
    Aside(String),
}

/// The files of a source with more than one name that have been copied.
#[derive(Debug, Default)]
pub(super) struct HardLinks {
    first: HashMap<(u64, u64), First>,
    aside: Option<(OsString, OwnedFd)>,
}

impl HardLinks {
    /// Gives a copied file another name in the last directory of the target. None when it has not been copied,
    /// or has as many names as the file system gives one file: then it is to be copied.
    pub(super) fn link(&mut self, to: &Chain, name: &OsStr, stat: &Stat) -> Option<Result<(), Errno>> {
        let id = (stat.st_dev, stat.st_ino);
        let linked = match self.first.get(&id)? {
            First::At(path) => at(to.top(), path)
                .and_then(|(dir, first)| rustix::fs::linkat(&dir, first, to.last(), name, AtFlags::empty())),
            First::Aside(first) => {
                let (_, aside) = self.aside.as_ref()?;
                rustix::fs::linkat(aside, first, to.last(), name, AtFlags::empty())
            }
        };
        if linked == Err(Errno::MLINK) {
            self.first.remove(&id);
            return None;
        }
        Some(linked)
    }

    /// Notes where a file with several names has been made.
    pub(super) fn note_made(&mut self, to: &Chain, place: &SourceEntry<'_>, stat: &Stat) -> io::Result<()> {
        if stat.st_nlink < 2 {
            return Ok(());
        }
        let near = place.path.as_os_str().len() <= LONGEST && place.path.components().count() <= DEEPEST;
        let first = if near {
            First::At(place.path.to_owned())
        } else {
            let name = self.first.len().to_string();
            if self.aside.is_none() {
                self.aside = Some(make_aside(to.top())?);
            }
            let Some((_, aside)) = &self.aside else { return Ok(()) };
            match rustix::fs::linkat(to.last(), place.name, aside, &name, AtFlags::empty()) {
                // The file has as many links as it can: each further name becomes a file of its own.
                Err(Errno::MLINK) => return Ok(()),
                other => other?,
            }
            First::Aside(name)
        };
        self.first.insert((stat.st_dev, stat.st_ino), first);
        Ok(())
    }

    /// Removes the names aside.
    pub(super) fn clear(&mut self, to: &Chain, top: &Path) -> Result<(), CopyError> {
        let Some((name, _)) = self.aside.take() else { return Ok(()) };
        let fail = |cause| PathError { action: "remove", path: top.join(&name), cause };
        let dir = Dir::from_fd(to.top().try_clone_to_owned().map_err(fail)?, top.to_owned());
        match remove_tree(&dir, &name, &mut |_| {}) {
            Ok(_) => Ok(()),
            Err(RemoveError::Path(e)) => Err(e.into()),
            Err(e) => Err(fail(io::Error::other(e.to_string())).into()),
        }
    }
}

/// Opens the directory of a path below another one; returns the last part as well.
fn at<'p>(top: BorrowedFd<'_>, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
    let name = path.file_name().unwrap_or_default();
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dir = open_beneath(top, parent, flags, Mode::empty(), SAME_MOUNT);
    Ok((dir.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?, name))
}

/// Makes a directory that nothing of the source has the name of.
fn make_aside(top: BorrowedFd<'_>) -> io::Result<(OsString, OwnedFd)> {
    let name = random_name(".copying.")?;
    rustix::fs::mkdirat(top, &name, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(top, &name, flags, Mode::empty())?;
    Ok((name, fd))
}
