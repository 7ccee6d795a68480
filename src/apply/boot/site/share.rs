//! `fs` resources of type lofs: a directory or file of the host, with the mounts below it.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::super::error::{StepError, fail};
use super::super::shared::{self, Below, SharedMount};
use super::super::source;
use super::{MountToAttach, Site};
use crate::plan::step::Mount;
use crate::spec::shown::Show;
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::path::{STRICT, open_beneath};

impl Site<'_> {
    /// Mounts the shared directory or file.
    pub(super) fn share(&mut self, what: &str, mount: &Mount, attrs: Attrs) -> Result<(), StepError> {
        let fd = source::open(&mount.special, mount.within.as_deref(), OFlags::PATH)
            .map_err(|e| fail(what, format!("could not access {}", mount.special), e))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| fail(what, "cannot look at the source", e))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let recursive = mount.options.recursive && is_directory;
        let tree = MountFd::copy(fd.as_fd(), recursive).map_err(|e| fail(what, "cannot mount", e))?;
        let ids = self.users.as_ref().map(AsFd::as_fd);
        match tree.set(attrs, Attrs::empty(), ids, recursive) {
            Ok(()) => {
                return self.attach_fs(&MountToAttach { tree: &tree, what, dir: &mount.dir, is_directory });
            }
            Err(e) if shared::cannot_map(&e) => {}
            Err(e) => return Err(fail(what, "cannot set its attributes", e)),
        }
        drop(tree);
        // The kernel maps the ids of all mounts or of none: when one mount cannot map ids, the boot mounts them one
        // by one.
        let pieces = shared::pieces(fd.as_fd(), recursive)
            .map_err(|e| fail(what, format!("cannot look at what is mounted at {}", mount.special), e))?;
        shared::walk(&pieces, |piece| {
            let copy = shared::copy(piece, attrs, self.users.as_ref().map(AsFd::as_fd))
                .map_err(|e| fail(what, format!("cannot mount {}", piece.point.shown()), e))?;
            match copy {
                Some(tree) if piece.is_whole() => {
                    self.attach_fs(&MountToAttach { tree: &tree, what, dir: &mount.dir, is_directory })?;
                }
                Some(tree) => self.put_below(what, mount, piece, &tree)?,
                None if piece.is_whole() => {
                    return Err(StepError::new(what, piece.refused()));
                }
                None => {
                    self.cover(what, mount, piece)?;
                    self.warnings.push(format!("{what}: {}", piece.left_out()));
                    return Ok(Below::Closed);
                }
            }
            Ok(Below::Open)
        })
    }

    /// Puts a mount where it is in the shared directory. A mount point that is gone meanwhile is not made.
    fn put_below(
        &self,
        what: &str,
        mount: &Mount,
        piece: &SharedMount,
        tree: &MountFd,
    ) -> Result<(), StepError> {
        let path = Path::new(mount.dir.trim_start_matches('/')).join(&piece.inner);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let target = open_beneath(self.root_fd(), &path, flags, Mode::empty(), STRICT)
            .map_err(|e| fail(what, format!("mount point /{}", path.shown()), e))?;
        self.put(tree, target.as_fd()).map_err(|e| fail(what, "cannot attach the mount", e))
    }

    /// Puts an empty read-only directory there.
    fn cover(&self, what: &str, mount: &Mount, piece: &SharedMount) -> Result<(), StepError> {
        if !piece.is_directory() {
            return Ok(());
        }
        let attrs = Attrs::RDONLY | Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC;
        let tree = self.tmpfs(what, attrs, &[("mode", "755"), ("size", "4k"), ("nr_inodes", "1")])?;
        self.put_below(what, mount, piece, &tree)
    }
}
