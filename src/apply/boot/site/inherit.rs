//! `inherit-pkg-dir`: a directory of the host, seen as one of its ordinary users sees it.
//!
//! The mount maps no ids, so the zone's root neither owns the host's files nor has capabilities over them: it may
//! not read files that are closed to others. Each program that runs as its owner (set-user-ID) gets a mount with
//! mapped ids over the file itself. These mounts are parts of one mapped mount of the whole directory, which no zone
//! sees. All of them are made before the zone's own mount namespace, which locks them: the zone's root, who owns the
//! mapped programs, cannot take their read-only attribute away and write to them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::super::error::{StepError, fail};
use super::{MountToAttach, Site};
use crate::spec::shown::Show;
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::naive::without;
use crate::sys::path::{SAME_MOUNT, open_beneath};
use crate::sys::tree::is_readable_to_all;

impl Site<'_> {
    /// Mounts a directory of the host, and its programs with mapped ids; none: they run without rights of their own.
    ///
    /// # Errors
    /// [`StepError`] that names it.
    pub fn inherit(&self, dir: &str, programs: Option<&[String]>) -> Result<(), StepError> {
        let what = format!("inherit-pkg-dir {dir}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| fail(&what, "cannot open it", e))?;
        let mut attrs = Attrs::RDONLY | Attrs::NODEV;
        // The mounts of the programs are put onto this one, so set-user-ID must work on it.
        attrs.set(Attrs::NOSUID, programs.is_none());
        let tree = if without("unmapped") {
            self.mapped(fd.as_fd(), &what, attrs)?
        } else {
            let copy = MountFd::peer(fd.as_fd(), false).map_err(|e| fail(&what, "cannot mount it", e))?;
            copy.set(attrs, Attrs::empty(), None).map_err(|e| fail(&what, "cannot set its attributes", e))?
        };
        self.attach(&MountToAttach { tree: &tree, what: &what, dir, is_directory: true })?;
        // Without the defence `unmapped` the whole directory is mapped, the programs too, and no mount can be mapped
        // twice.
        let programs = programs.filter(|list| !list.is_empty() && !without("unmapped"));
        let Some(programs) = programs else { return Ok(()) };
        // Read-only, as the mount that it is a copy of.
        let mapped = self
            .mapped(fd.as_fd(), &what, Attrs::RDONLY | Attrs::NODEV)
            .map_err(|e| e.with_note("with setuid=false it is mounted without its programs"))?;
        self.within(|| {
            // The kernel copies parts of attached mounts only.
            self.set_aside(&mapped)?;
            Ok(self.programs(&tree, &mapped, &what, programs))
        })
        .map_err(|e| fail(&what, "cannot mount its programs", e))?
    }

    /// Mounts programs over themselves, with mapped ids.
    fn programs(
        &self,
        tree: &MountFd,
        mapped: &MountFd,
        what: &str,
        list: &[String],
    ) -> Result<(), StepError> {
        let open = |top: &MountFd, folder: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            open_beneath(top.as_fd(), folder, flags, Mode::empty(), SAME_MOUNT).ok()
        };
        let mut folders = BTreeMap::new();
        for path in list.iter().map(Path::new) {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
            // A program may have been removed or replaced since the list was made.
            let opened =
                folders.entry(folder).or_insert_with(|| Some((open(mapped, folder)?, open(tree, folder)?)));
            let Some((from, to)) = opened else { continue };
            program(from.as_fd(), to.as_fd(), name)
                .map_err(|e| fail(what, format!("cannot mount {}", path.shown()), e))?;
        }
        Ok(())
    }
}

/// Mounts the program of a folder with mapped ids over the one of the same folder without.
fn program(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mount = match MountFd::part(from, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let stat = rustix::fs::fstat(&mount)?;
    // With mapped ids the zone's root owns the program and could read it although others may not.
    let readable = is_readable_to_all(stat.st_mode) || without("readable");
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !readable {
        return Ok(());
    }
    if without("readonly-programs") {
        mount.set(Attrs::empty(), Attrs::RDONLY, None, false)?;
    }
    match mount.attach_at(to, name) {
        // It was removed at this moment.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
