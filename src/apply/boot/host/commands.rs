//! The commands of a zone's own, in memory: `zonename` in every zone, and with the built-in init what ends it.
//!
//! The host's systemd has the names `init`, `halt` and the like in `/sbin` for programs that speak to systemd
//! alone. In a sparse zone, where they are the host's, each is covered by ours.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, mkdirat, symlinkat};
use rustix::io::Errno;

use super::{Build, StepError, fail};
use crate::plan::step::{COMMANDS, ENDING};
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::path::{IN_ROOT, STRICT, open_beneath, write_all};

/// The covers share one text, which goes by the name that it is called by.
const TEXT: &str = include_str!("../../../init/commands.sh");

/// The name that the file itself has.
const FILE: &str = "zonename";

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Build<'_> {
    /// Makes the commands; with `ending`, those that end the zone as well.
    pub(super) fn commands(&mut self, ending: bool) -> Result<(), StepError> {
        let failed = |e: Errno| fail(COMMANDS, "cannot make it", e);
        let top = Path::new(COMMANDS.trim_start_matches('/'));
        let run = open_beneath(self.site.root_fd(), Path::new("run"), DIRECTORY, Mode::empty(), STRICT)
            .map_err(|e| fail(COMMANDS, "cannot open /run", e))?;
        // They are the host's, as the file with the zone's name is: the zone's root cannot forge them.
        for dir in ["zone", "zone/bin"] {
            mkdirat(&run, dir, Mode::from(0o755)).map_err(failed)?;
        }
        let bin = open_beneath(self.site.root_fd(), top, DIRECTORY, Mode::empty(), STRICT)
            .map_err(|e| fail(COMMANDS, "cannot open it", e))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&bin, FILE, flags, Mode::from(0o555)).map_err(failed)?;
        write_all(file.as_fd(), TEXT.as_bytes()).map_err(|e| fail(COMMANDS, "cannot write it", e))?;
        drop(file);
        if !ending {
            return Ok(());
        }
        for name in ENDING {
            symlinkat(FILE, &bin, name).map_err(failed)?;
        }
        self.cover_hosts(&bin)
    }

    /// Covers the host's commands of these names, where the zone has the host's.
    fn cover_hosts(&mut self, bin: &impl AsFd) -> Result<(), StepError> {
        let what = "/sbin/init";
        let sbin = Path::new("sbin");
        let Ok(sbin) = open_beneath(self.site.root_fd(), sbin, DIRECTORY, Mode::empty(), IN_ROOT) else {
            return Ok(());
        };
        let stat = rustix::fs::fstatvfs(&sbin).map_err(|e| fail(what, "cannot look at /sbin", e))?;
        // A folder that the zone can write to keeps its commands: they are the zone's own, and its packages replace them.
        if !stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(bin, FILE, flags, Mode::empty())
            .map_err(|e| fail(what, "cannot open ours", e))?;
        let attrs = Attrs::RDONLY | Attrs::NOSUID | Attrs::NODEV;
        let covered = self.site.within(|| {
            let ours = MountFd::peer(file.as_fd(), false)?.set(attrs, Attrs::empty(), None)?;
            // The first that is attached is copied for the others, attributes and all.
            let mut attached = false;
            for name in ENDING.map(OsStr::new) {
                let copy = if attached { Some(ours.duplicate()?) } else { None };
                // The link itself: its target is another program as well.
                match copy.as_ref().unwrap_or(&ours).attach_at(sbin.as_fd(), name) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    other => {
                        other?;
                        attached = true;
                    }
                }
            }
            Ok(())
        });
        // A kernel that mounts nothing on links: the zone runs all the same, and has the commands by PATH.
        if let Err(e) = covered {
            let e = crate::sys::path::reason(&e);
            let text =
                format!("{what} of this zone is the host's and does not end it; {COMMANDS}/init does ({e})");
            self.report.warnings.push(text);
        }
        Ok(())
    }
}
