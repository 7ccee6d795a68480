//! Device nodes in the `/dev` of a zone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mkdirat, mknodat, statat,
};
use rustix::io::Errno;

use super::super::error::{StepError, fail};
use super::Site;
use crate::plan::step::Node;
use crate::spec::shown::Show;
use crate::sys::naive::without;
use crate::sys::path::{STRICT, open_beneath};

/// Name of the file in `/dev` with the zone's name, which belongs to the host's root.
pub(in crate::apply::boot) const ZONE_NAME: &str = ".zonename";

impl Site<'_> {
    /// Makes a device node in the zone's `/dev`, the directories on its way, and gives them to the zone's root.
    ///
    /// # Errors
    /// [`StepError`]: something of the name is there, the way leads over a link, or into a file system that the zone
    /// has mounted there.
    pub fn node(&self, node: &Node) -> Result<(), StepError> {
        let dev = self.dev().map_err(|e| node_error(&node.path, e))?;
        self.node_in(dev.as_fd(), node)
    }

    /// Opens the `/dev` that the zone got at its boot. Its root can mount anything there, also a directory that it
    /// shares with the host, where a node would be the host's; it cannot make a file that belongs to the host's root.
    fn dev(&self) -> io::Result<OwnedFd> {
        let dev = self.open(Path::new("/dev"))?;
        let mark = statat(&dev, ZONE_NAME, AtFlags::SYMLINK_NOFOLLOW).ok();
        let is_ours = mark.is_some_and(|m| m.st_uid == 0 && fstat(&dev).is_ok_and(|d| d.st_dev == m.st_dev))
            && rustix::fs::fstatfs(&dev)?.f_type == libc::TMPFS_MAGIC;
        if !is_ours && !without("zone-dev") {
            let why = format!("/dev is not the one of the zone's boot, or has no {ZONE_NAME} any more");
            return Err(io::Error::other(why));
        }
        Ok(dev)
    }

    /// The same in a directory that is going to be the zone's `/dev`.
    pub(in crate::apply::boot) fn node_in(&self, dev: BorrowedFd<'_>, node: &Node) -> Result<(), StepError> {
        let path = Path::new(&node.path);
        let mut way: Vec<_> = path.ancestors().skip(1).filter(|d| !d.as_os_str().is_empty()).collect();
        way.reverse();
        for dir in way {
            self.own_dir(dev, dir).map_err(|e| node_error(&node.path, e))?;
        }
        self.make_node(dev, node).map_err(|e| node_error(&node.path, e))
    }

    /// Makes a directory of the zone's root, where there is none.
    pub(in crate::apply::boot) fn own_dir(&self, dev: BorrowedFd<'_>, dir: &Path) -> io::Result<()> {
        let (parent, name) = beneath(dev, dir)?;
        match mkdirat(&parent, &name, Mode::from(0o755)) {
            Err(Errno::EXIST) => Ok(()),
            other => Ok(other.and_then(|()| self.own(parent.as_fd(), &name))?),
        }
    }

    /// Gives an entry to the zone's root.
    pub(in crate::apply::boot) fn own(&self, at: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<()> {
        let owner = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        chownat(at, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn make_node(&self, dev: BorrowedFd<'_>, node: &Node) -> io::Result<()> {
        let (parent, name) = beneath(dev, Path::new(&node.path))?;
        let (kind, device) = identity(node);
        mknodat(&parent, &name, kind, Mode::from(node.mode), device)?;
        let given = self.own(parent.as_fd(), &name);
        Ok(given.inspect_err(|_| {
            let _ = rustix::fs::unlinkat(&parent, &name, AtFlags::empty());
        })?)
    }

    /// Removes a device node from the zone's `/dev`; the directories stay. A node that the zone has removed itself is
    /// gone already. Processes with an open device keep it.
    ///
    /// # Errors
    /// [`StepError`]: the entry is another one by now.
    pub fn remove_node(&self, node: &Node) -> Result<(), StepError> {
        let gone = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(fail("device", format!("cannot remove /dev/{}", node.path.shown()), e)),
        };
        let remove = || {
            let dev = self.dev()?;
            let (parent, name) = beneath(dev.as_fd(), Path::new(&node.path))?;
            let stat = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if (FileType::from_raw_mode(stat.st_mode), stat.st_rdev) != identity(node) {
                return Err(io::Error::other("the zone has put something else there"));
            }
            Ok(rustix::fs::unlinkat(&parent, &name, AtFlags::empty())?)
        };
        remove().or_else(gone)
    }
}

/// Returns the kind of a node and the number of its device.
fn identity(node: &Node) -> (FileType, u64) {
    let kind = if node.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    (kind, makedev(node.major, node.minor))
}

/// Opens the directory of an entry without following links, and returns it with the entry's name. Of another file
/// system it is refused.
fn beneath(top: BorrowedFd<'_>, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let name = path.file_name().map(PathBuf::from).ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = open_beneath(top, parent, flags, Mode::empty(), STRICT)?;
    if fstat(&parent)?.st_dev != fstat(top)?.st_dev && !without("zone-dev") {
        return Err(io::Error::other("the zone has mounted another file system on the way"));
    }
    Ok((parent, name))
}

fn node_error(path: &str, e: io::Error) -> StepError {
    fail("device", format!("cannot make /dev/{}", path.shown()), e)
}
