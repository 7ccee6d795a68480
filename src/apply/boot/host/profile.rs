//! `file-mac-profile`: a root that is read-only but for parts of it.
//!
//! Read-only is an attribute of the mounts, not of the file system, so processes of the host can still write. The
//! zone's process copies the mounts into a namespace of its own user namespace, and by that the kernel locks them
//! (mount_namespaces(7)): root of the zone can remove neither the attribute nor the mounts, and a bind mount of them
//! is read-only, too.

use std::os::fd::AsFd;

use super::{Build, StepError, fail};
use crate::sys::mount::{Attrs, MountFd};

impl Build<'_> {
    /// Mounts a directory of the root over itself: it keeps its own attributes when those around it change,
    /// and cannot be renamed.
    pub(super) fn part(&self, dir: &str, writable: bool) -> Result<(), StepError> {
        let target = self.site.target(dir, true).map_err(|e| StepError::new(dir, e))?;
        // The copy keeps the mapping of ids and the attributes of the zone's root.
        let tree = self.site.within(|| MountFd::copy(target.as_fd(), false));
        let tree = tree.map_err(|e| fail(dir, "cannot mount it", e))?;
        if !writable {
            tree.set(Attrs::RDONLY, Attrs::empty(), None, false)
                .map_err(|e| fail(dir, "cannot make it read-only", e))?;
        }
        self.site.within(|| tree.attach(target.as_fd())).map_err(|e| fail(dir, "cannot attach the mount", e))
    }

    /// Makes the zone's root read-only. Mounts below it stay as they are.
    pub(super) fn read_only(&self, made: &[String]) -> Result<(), StepError> {
        let what = "file-mac-profile";
        for dir in made {
            // The step that mounts something on it reports the error.
            let _ = self.site.target(dir, true);
        }
        let root = self.site.root_fd().try_clone_to_owned();
        let root = root.map_err(|e| fail(what, "cannot open the zone's root", e))?;
        self.site
            .within(|| MountFd::from_fd(root).set(Attrs::RDONLY, Attrs::empty(), None, false))
            .map_err(|e| fail(what, "cannot make the zone's root read-only", e))
    }
}
