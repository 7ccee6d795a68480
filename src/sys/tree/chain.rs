//! A way down a tree, however deep: of its directories only the innermost ones are open.
//!
//! The others are opened again, by `..`, on the way back. It must be the directory that was left: a tree may be
//! changed meanwhile, and then the walk ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::sys::naive::without;

/// Directories that are open at once, beside the first one.
const OPEN: usize = 64;

/// Directories, each in the one before it.
#[derive(Debug)]
pub(super) struct Chain {
    top: OwnedFd,
    /// Below the top. The last one is open.
    below: Vec<ChainLink>,
}

#[derive(Debug)]
enum ChainLink {
    Open(OwnedFd),
    /// Device and inode of a directory that was closed.
    Left((u64, u64)),
}

fn id(fd: BorrowedFd<'_>) -> rustix::io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

impl Chain {
    /// Begins at a directory.
    pub(super) fn new(top: OwnedFd) -> Self {
        Self { top, below: Vec::new() }
    }

    /// Returns the directory where it begins.
    pub(super) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Returns the innermost directory.
    pub(super) fn last(&self) -> BorrowedFd<'_> {
        match self.below.last() {
            Some(ChainLink::Open(fd)) => fd.as_fd(),
            _ => self.top.as_fd(),
        }
    }

    /// Goes into a directory of the innermost one.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn push(&mut self, fd: OwnedFd) -> io::Result<()> {
        self.below.push(ChainLink::Open(fd));
        if let Some(outer) = self.below.len().checked_sub(OPEN + 1)
            && let ChainLink::Open(fd) = &self.below[outer]
            && !without("depth")
        {
            self.below[outer] = ChainLink::Left(id(fd.as_fd())?);
        }
        Ok(())
    }

    /// Leaves the innermost directory; returns it, none at the top.
    ///
    /// # Errors
    /// The system's error, or the one around it has become another directory.
    pub(super) fn pop(&mut self) -> io::Result<Option<OwnedFd>> {
        let Some(ChainLink::Open(left)) = self.below.pop() else { return Ok(None) };
        if let Some(outer) = self.below.last_mut()
            && let ChainLink::Left(was) = outer
        {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&left, "..", flags, Mode::empty())?;
            if id(fd.as_fd())? != *was {
                return Err(io::Error::other("the directory was moved while the tree was read"));
            }
            *outer = ChainLink::Open(fd);
        }
        Ok(Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open(at: BorrowedFd<'_>, name: &str) -> OwnedFd {
        rustix::fs::openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open")
    }

    fn descend(top: &Path, depth: usize) -> Chain {
        let mut chain = Chain::new(open(rustix::fs::CWD, top.to_str().expect("text")));
        for _ in 0..depth {
            rustix::fs::mkdirat(chain.last(), "d", Mode::from_raw_mode(0o755)).expect("mkdir");
            chain.push(open(chain.last(), "d")).expect("push");
        }
        chain
    }

    #[test]
    fn the_way_back_is_the_way_down() {
        let temp = tempfile::tempdir().expect("temp");
        let mut chain = descend(temp.path(), 1000);
        let open = chain.below.iter().filter(|place| matches!(place, ChainLink::Open(_))).count();
        assert_eq!(open, OPEN);
        let mut ids: Vec<_> = chain
            .below
            .iter()
            .map(|place| match place {
                ChainLink::Open(fd) => id(fd.as_fd()).expect("stat"),
                ChainLink::Left(id) => *id,
            })
            .collect();
        while let Some(left) = chain.pop().expect("pop") {
            assert_eq!(Some(id(left.as_fd()).expect("stat")), ids.pop());
        }
        assert!(ids.is_empty());
    }

    #[test]
    fn another_directory_is_not_taken_for_the_one_that_was_left() {
        let temp = tempfile::tempdir().expect("temp");
        let mut chain = descend(temp.path(), OPEN + 10);
        let deep = temp.path().join("d/d/d");
        std::fs::create_dir(temp.path().join("other")).expect("dir");
        std::fs::rename(&deep, temp.path().join("other/d")).expect("moved");
        let error = std::iter::from_fn(|| chain.pop().map(|left| left.map(|_| ())).transpose())
            .find_map(Result::err)
            .expect("the move is seen");
        assert!(error.to_string().contains("was moved"), "{error}");
    }
}
