//! The beginning of process 1 in namespaces of its own.

use std::os::fd::AsFd;

use super::super::{bounds, limits, zone};
use super::{Build, StepError, fail};
use crate::apply::paths::Root;
use crate::plan::image::IdMaps;
use crate::plan::step::BootStep;
use crate::sys::channel::Channel;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::process::{self, Handle};

impl Build<'_> {
    /// Begins process 1, which does its own steps of the plan.
    pub(super) fn namespaces(
        &mut self,
        root: &Root,
        ids: &IdMaps,
        all: &[BootStep],
    ) -> Result<(), StepError> {
        let IdMaps { uid_map, gid_map } = ids;
        let what = "namespaces";
        let (ours, theirs) = Channel::pair().map_err(|e| fail(what, "cannot make a channel", e))?;
        let kinds = Kinds::USER | Kinds::PID | Kinds::UTS;
        let cgroup = self.cgroup.as_ref().map(AsFd::as_fd);
        limits::processes(&self.image.limits.group)
            .map_err(|e| fail(what, "cannot limit the number of processes", e))?;
        // The namespace's use of a user's limits counts against its owner. Were that the host's root, one zone could
        // leave it, and all other zones, without inotify instances, queued signals and the like.
        let mut ours = Some(ours);
        let (image, bounds) = (self.image, self.bounds.take());
        let (uid, owner) = (self.site.uid, (self.site.uid, self.site.gid));
        let begin = || {
            if let Some(limits) = &bounds {
                let helper = process::as_owner(uid, || {
                    bounds::start(limits, owner, kinds, cgroup, || {
                        ours = None;
                        zone::run(&theirs, image, all)
                    })
                });
                return helper.and_then(|h| h).and_then(|h| h.finish(uid_map, gid_map));
            }
            let begun = process::as_owner(uid, || match ns::spawn(kinds, cgroup)? {
                Side::Child => {
                    ours = None;
                    zone::run(&theirs, image, all)
                }
                Side::Parent(pid, fd) => Ok((pid, Handle::from_fd(fd))),
            });
            begun.and_then(|begun| begun)
        };
        let begun = self
            .site
            .begin(self.host, &root.run_dir(), begin)
            .map_err(|e| fail(what, "cannot make a mount namespace", e))?;
        match begun {
            Ok(begun) => self.process = Some(begun),
            Err(e) => {
                let hint = match e.raw_os_error() {
                    Some(libc::ENOSPC | libc::EUSERS) => {
                        "the limit of user namespaces is used up (sysctl user.max_user_namespaces)"
                    }
                    Some(libc::EPERM) => "user namespaces are switched off on this host",
                    Some(libc::EINVAL) => "this kernel lacks a kind of namespace",
                    _ => "cannot make them",
                };
                return Err(fail(what, hint, e));
            }
        }
        drop(theirs);
        self.channel = ours;
        let pid = self.process.as_ref().map_or(0, |(pid, _)| *pid);
        if bounds.is_none() {
            ns::write_id_maps(pid, uid_map, gid_map)
                .map_err(|e| fail("idmap", "the kernel refuses the id map", e))?;
        }
        let users = ns::open(pid, "user").map_err(|e| fail(what, "cannot open the user namespace", e))?;
        self.site.map_to(users);
        Ok(())
    }
}
