//! `inherit-pkg-dir`: a directory of the host, seen as one of its ordinary users sees it.
//!
//! The mount maps no ids, so the zone's root is neither the owner of the host's files nor has it power over
//! them: what others may not read, it may not read. A mount with mapped ids, over the file itself, is made for each
//! program that runs as its owner. All of them are made before the zone's own namespace is, which locks
//! them: their read-only attribute cannot be taken away, for it alone keeps the zone's root, their owner, from writing.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::{Build, StepError, fail};
use crate::sys::mount::{Attrs, Tree};
use crate::sys::naive::without;
use crate::sys::path::{SAME_MOUNT, open_beneath};
use crate::sys::tree::is_readable_to_all;

impl Build<'_> {
    pub(super) fn inherit(&self, dir: &str, programs: Option<&[String]>) -> Result<(), StepError> {
        let what = format!("inherit-pkg-dir {dir}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty())
            .map_err(|e| fail(&what, "cannot open it", &e.into()))?;
        let mut attrs = Attrs::RDONLY | Attrs::NODEV;
        // The mounts of the programs begin as copies of this one.
        attrs.set(Attrs::NOSUID, programs.is_none());
        let tree = if without("unmapped") {
            self.mapped(fd.as_fd(), &what, attrs)?
        } else {
            let copy = Tree::peer(fd.as_fd(), false).map_err(|e| fail(&what, "cannot mount it", &e))?;
            copy.set(attrs, Attrs::empty(), None).map_err(|e| fail(&what, "cannot set its attributes", &e))?
        };
        self.attach(&tree, &what, dir, true)?;
        // All of it is mapped then, the programs too, and no mount is mapped twice.
        let programs = programs.filter(|list| !list.is_empty() && !without("unmapped"));
        let Some(programs) = programs else { return Ok(()) };
        self.within(|| Ok(programs.iter().try_for_each(|p| self.program(&tree, &what, p))))
            .map_err(|e| fail(&what, "cannot mount its programs", &e))?
    }

    /// Mounts a program over itself, with mapped ids.
    fn program(&self, tree: &Tree, what: &str, path: &str) -> Result<(), StepError> {
        // It may have gone, or have become something else, since the list was made.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = open_beneath(tree.as_fd(), Path::new(path), flags, Mode::empty(), SAME_MOUNT) else {
            return Ok(());
        };
        let stat = rustix::fs::fstat(&file);
        let stat = stat.map_err(|e| fail(what, &format!("cannot look at {path}"), &e.into()))?;
        // Its owner in the zone could read what others may not.
        let readable = is_readable_to_all(stat.st_mode) || without("readable");
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !readable {
            return Ok(());
        }
        let failed = |e| fail(what, &format!("cannot mount {path}"), &e);
        // Read-only, as what it is a copy of.
        let mount = self.mapped(file.as_fd(), what, Attrs::NODEV).map_err(|mut e| {
            e.why.push_str("; with setuid=false it is mounted without");
            e
        })?;
        if without("readonly-programs") {
            mount.set(Attrs::empty(), Attrs::RDONLY, None, false).map_err(failed)?;
        }
        mount.attach(file.as_fd()).map_err(failed)
    }
}
