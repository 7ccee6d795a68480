//! The zone's `/dev`: nodes that the host makes, message queues, and the console's terminal.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, symlinkat};

use super::super::site::{MountToAttach, ZONE_NAME};
use super::{Build, Cause, StepError, fail};
use crate::plan::step::Node;
use crate::spec::shown::Show;
use crate::sys::mount::{Attrs, MountFd, NewFs};

impl Build<'_> {
    /// Makes and mounts the zone's `/dev`.
    pub(super) fn dev(&self, nodes: &[Node]) -> Result<(), StepError> {
        let (uid, gid) = (self.site.uid.to_string(), self.site.gid.to_string());
        let options =
            [("uid", uid.as_str()), ("gid", &gid), ("mode", "755"), ("size", "4m"), ("nr_inodes", "16384")];
        let tree = self.site.tmpfs("/dev", Attrs::NOSUID | Attrs::NOEXEC, &options)?;
        let at = tree.as_fd();
        let own = |name: &Path| self.site.own(at, name);
        let error =
            |name: &Path, e: io::Error| fail("device", format!("cannot make /dev/{}", name.shown()), e);
        for node in nodes {
            self.site.node_in(at, node)?;
        }
        for dir in ["pts", "shm", "mqueue"].map(Path::new) {
            self.site.own_dir(at, dir).map_err(|e| error(dir, e))?;
        }
        let links = [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ];
        for (name, to) in links {
            symlinkat(to, at, name)
                .and_then(|()| own(Path::new(name)))
                .map_err(|e| error(Path::new(name), e.into()))?;
        }
        // The name of the zone, owned by the host: the zone's root can remove the file, not forge it.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let name = Path::new(ZONE_NAME);
        let file =
            rustix::fs::openat(at, name, flags, Mode::from(0o444)).map_err(|e| error(name, e.into()))?;
        rustix::io::write(&file, format!("{}\n", self.zone).as_bytes()).map_err(|e| error(name, e.into()))?;
        self.site.attach(&MountToAttach { tree: &tree, what: "/dev", dir: "/dev", is_directory: true })
    }

    /// Mounts the message queues of an ipc namespace that belongs to the host: only the host can.
    pub(super) fn queues(&self) -> Result<(), StepError> {
        let what = "/dev/mqueue";
        match NewFs::open("mqueue").and_then(|fs| fs.mount(Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC)) {
            Ok(tree) => self.site.attach(&MountToAttach { tree: &tree, what, dir: what, is_directory: true }),
            // A kernel without POSIX message queues.
            Err(e) if e.source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            Err(source) => {
                Err(StepError::new(what, Cause::Mount { action: "cannot mount mqueue".into(), source }))
            }
        }
    }

    /// Makes the mount of the console, and the file that it goes onto.
    ///
    /// It is attached from inside, after the zone's mounts have been locked: a new supervisor must be able to
    /// take it away, since nothing can be mounted over a terminal that is gone.
    pub(super) fn make_console(&mut self) -> Result<(), StepError> {
        let what = "console";
        let owner = (Some(Uid::from_raw(self.site.uid)), Some(Gid::from_raw(self.site.gid)));
        rustix::fs::fchown(self.console, owner.0, owner.1)
            .map_err(|e| fail(what, "cannot give it away", e))?;
        rustix::fs::fchmod(self.console, Mode::from(0o620))
            .map_err(|e| fail(what, "cannot give it away", e))?;
        let path = rustix::termios::ttyname(self.console, Vec::new())
            .map_err(|e| fail(what, "cannot name it", e))?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(what, "cannot open it", e))?;
        self.site.target("/dev/console", false).map_err(|e| StepError::new(what, e))?;
        self.terminal = Some(MountFd::copy(fd.as_fd(), false).map_err(|e| fail(what, "cannot mount it", e))?);
        Ok(())
    }
}
