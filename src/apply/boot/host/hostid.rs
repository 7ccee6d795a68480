//! The zone's own host id.
//!
//! gethostid(3) reads four bytes of `/etc/hostid`. The zone's file is covered by a read-only file of the host: the
//! zone's root can neither change nor remove it (only mount something over it), and the file on the zone's disk is
//! kept.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{Build, Cause, StepError, fail};
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::path::{STRICT, open_beneath};

/// Where gethostid(3) looks.
const FILE: &str = "/etc/hostid";

/// Name of the host's file on the zone's `/dev`.
const SOURCE: &str = ".hostid";

impl Build<'_> {
    /// Puts the host id into the zone.
    pub(super) fn host_id(&self, id: u32) -> Result<(), StepError> {
        let what = "hostid";
        let failed = |action: &'static str, e: rustix::io::Errno| fail(what, action, e);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The private /dev of this boot: no process of the zone has seen it yet.
        let dev = open_beneath(self.site.root_fd(), Path::new("dev"), flags, Mode::empty(), STRICT)
            .map_err(|e| fail(what, "cannot open /dev", e))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&dev, SOURCE, flags, Mode::from(0o444))
            .map_err(|e| failed("cannot make its file", e))?;
        // The C library reads the number in the machine's own order of bytes.
        let written =
            rustix::io::write(&file, &id.to_ne_bytes()).map_err(|e| failed("cannot write its file", e))?;
        if written != 4 {
            return Err(StepError::new(what, Cause::Short));
        }
        drop(file);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = rustix::fs::openat(&dev, SOURCE, flags, Mode::empty())
            .map_err(|e| failed("cannot open its file", e))?;
        let tree = self.site.within(|| MountFd::copy(source.as_fd(), false));
        let tree = tree.map_err(|e| fail(what, "cannot mount its file", e))?;
        let attrs = Attrs::RDONLY | Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC;
        tree.set(attrs, Attrs::empty(), None, false).map_err(|e| fail(what, "cannot protect its file", e))?;
        let target = self.site.target(FILE, false).map_err(|e| StepError::new(what, e))?;
        self.site
            .within(|| tree.attach(target.as_fd()))
            .map_err(|e| fail(what, format!("cannot mount it on {FILE}"), e))
    }
}
