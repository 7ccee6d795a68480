//! File systems of the kernel that are mounted from outside.

use std::fs::Permissions;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use super::super::site::MountToAttach;
use super::super::{proc, zone};
use super::{Build, NO_PROCESS, StepError, fail};
use crate::apply::net;
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::ns;

/// Closes a folder of the host's `/proc` to all users but root, in every `/proc` that is mounted from now on.
pub(super) fn close(folder: &str) -> Result<(), StepError> {
    let dir = format!("/proc/{folder}");
    let closed = std::fs::metadata(&dir).and_then(|meta| {
        let mode = meta.permissions().mode() & 0o770;
        std::fs::set_permissions(&dir, Permissions::from_mode(mode))
    });
    closed.map_err(|e| fail(dir, "cannot close it", e))
}

impl Build<'_> {
    /// Waits until process 1 has reported its network namespace.
    pub(super) fn hear_network(&mut self, what: &str) -> Result<(), StepError> {
        if self.net.is_none() {
            let channel = self.channel.as_ref().ok_or_else(|| StepError::new(what, NO_PROCESS))?;
            self.net = Some(zone::network_of(channel).map_err(|e| StepError::new(what, e))?);
        }
        Ok(())
    }

    /// Mounts the zone's `/proc` and covers folders of it: by nothing, or by themselves, read-only. Made here, the
    /// covers are locked in the zone.
    pub(super) fn proc(&self, hidden: &[&str], fixed: &[&str]) -> Result<(), StepError> {
        let what = "/proc";
        let pid = self.process.as_ref().map_or(0, |(pid, _)| *pid);
        let pids = ns::open(pid, "pid").map_err(|e| fail(what, "cannot open the process namespace", e))?;
        let target = self.site.target(what, true).map_err(|e| StepError::new(what, e))?;
        self.site
            .within(|| proc::mount(pids.as_fd(), target.as_fd()))
            .map_err(|e| fail(what, "cannot mount it", e))?;
        for folder in hidden {
            let dir = format!("/proc/{folder}");
            let attrs = Attrs::RDONLY | Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC;
            let cover =
                self.site.tmpfs(&dir, attrs, &[("mode", "555"), ("size", "4k"), ("nr_inodes", "1")])?;
            self.site.attach(&MountToAttach { tree: &cover, what: &dir, dir: &dir, is_directory: true })?;
        }
        for folder in fixed {
            let dir = format!("/proc/{folder}");
            let target = self.site.target(&dir, true).map_err(|e| StepError::new(&dir, e))?;
            let cover = self
                .site
                .within(|| MountFd::copy(target.as_fd(), false))
                .map_err(|e| fail(&dir, "cannot mount it", e))?;
            cover
                .set(Attrs::RDONLY, Attrs::empty(), None, false)
                .map_err(|e| fail(&dir, "cannot make it read-only", e))?;
            self.site.attach(&MountToAttach { tree: &cover, what: &dir, dir: &dir, is_directory: true })?;
        }
        Ok(())
    }

    /// Mounts the zone's `/sys`. Made here, it is read-only for good, and so is every other one that the zone
    /// mounts: the kernel gives none with more rights than those that are locked.
    pub(super) fn sys(&mut self) -> Result<(), StepError> {
        let what = "/sys";
        self.hear_network(what)?;
        let Some(net) = &self.net else { return Ok(()) };
        // The zone works without it.
        let handed_on = net::ordinary::hand_on(net.as_fd(), &self.ids.maps.1);
        self.report.warnings.extend(handed_on.err().map(|e| e.to_string()));
        let target = self.site.target(what, true).map_err(|e| StepError::new(what, e))?;
        let tree = proc::sys(net.as_fd()).map_err(|e| fail(what, "cannot make it", e))?;
        self.site.within(|| tree.attach(target.as_fd())).map_err(|e| fail(what, "cannot attach the mount", e))
    }
}
