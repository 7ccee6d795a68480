//! The mounts of a zone: its root, the mount points in it, and attaching to them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat};

use super::super::error::{Cause, MountPointError, StepError, fail};
use super::super::waypoint;
use super::Site;
use crate::spec::shown::Show;
use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::naive::without;
use crate::sys::path::{STRICT, open_beneath};
use crate::sys::process;

/// A mount that is ready, and the place in the zone where it belongs.
#[derive(Clone, Copy)]
pub(in crate::apply::boot) struct MountToAttach<'a> {
    pub tree: &'a MountFd,
    /// The name in messages: the resource, or the directory.
    pub what: &'a str,
    /// The mount point, from the zone's root on.
    pub dir: &'a str,
    /// The mount is a directory, and no file.
    pub is_directory: bool,
}

/// Explains why a mount has not got mapped ids or its attributes.
fn not_mapped(what: &str, e: io::Error) -> StepError {
    let action = match e.raw_os_error() {
        Some(libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP) => {
            "its file system cannot map ids on this kernel"
        }
        _ => "cannot set its attributes",
    };
    fail(what, action, e)
}

impl Site<'_> {
    /// Maps the ids of a detached mount and sets its attributes.
    pub(in crate::apply::boot) fn shift(
        &self,
        tree: &MountFd,
        what: &str,
        set: Attrs,
        recursive: bool,
    ) -> Result<(), StepError> {
        let ids = self.users.as_ref().map(AsFd::as_fd);
        // The host's own read-only, noexec and like attributes are kept; nothing is cleared.
        tree.set(set, Attrs::empty(), ids, recursive).map_err(|e| not_mapped(what, e))
    }

    /// Makes a copy of the mount at a descriptor that has attributes and mapped ids from the beginning.
    pub(in crate::apply::boot) fn mapped(
        &self,
        at: BorrowedFd<'_>,
        what: &str,
        set: Attrs,
    ) -> Result<MountFd, StepError> {
        let copy = MountFd::peer(at, false).map_err(|e| fail(what, "cannot mount it", e))?;
        let ids = self.users.as_ref().map(AsFd::as_fd);
        copy.set(set, Attrs::empty(), ids).map_err(|e| not_mapped(what, e))
    }

    /// Mounts the zone's root.
    pub fn mount_root(&mut self, path: &Path) -> Result<(), StepError> {
        let what = format!("root {}", path.shown());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(&what, "cannot open it", e))?;
        let attrs = if without("nodev") { Attrs::empty() } else { Attrs::NODEV };
        let tree = self.mapped(fd.as_fd(), &what, attrs)?;
        self.set_root(tree).map_err(|e| fail(&what, "cannot mount it", e))
    }

    pub(in crate::apply::boot) fn root_fd(&self) -> BorrowedFd<'_> {
        self.root.as_ref().map_or(CWD, AsFd::as_fd)
    }

    /// Opens a mount point in the zone, making missing directories as the zone's root would.
    pub(in crate::apply::boot) fn target(
        &self,
        dir: &str,
        directory: bool,
    ) -> Result<OwnedFd, MountPointError> {
        let open = |name: &Path, flags: OFlags| {
            open_beneath(self.root_fd(), name, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty(), STRICT)
        };
        let path = Path::new(dir.trim_start_matches('/'));
        let whole = Path::new(dir);
        let explain = |at: &Path, source: io::Error| {
            let at = at.to_owned();
            match source.raw_os_error() {
                Some(libc::ELOOP) => match waypoint::misled(whole, |_| self.base()) {
                    Some(misled) => MountPointError::Misled(misled),
                    None => MountPointError::Link { at, source },
                },
                _ => MountPointError::Open { at, source },
            }
        };
        let dir = || dir.to_owned();
        match open(path, OFlags::empty()) {
            Ok(fd) => {
                let stat = rustix::fs::fstat(&fd).map_err(|e| explain(path, e.into()))?;
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                return match (directory, is_directory) {
                    (true, false) => Err(MountPointError::NotADirectory { dir: dir() }),
                    (false, true) => Err(MountPointError::Directory { dir: dir() }),
                    _ => Ok(fd),
                };
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(explain(path, e)),
        }
        let mut at = PathBuf::new();
        let mut parent: Option<OwnedFd> = None;
        for part in path.components() {
            let Component::Normal(name) = part else {
                return Err(MountPointError::Invalid { dir: dir() });
            };
            at.push(name);
            let last = at.as_path() == path;
            let wanted = if last && !directory { OFlags::empty() } else { OFlags::DIRECTORY };
            let next = match open(&at, wanted) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let within = parent.as_ref().map_or(self.root_fd(), AsFd::as_fd);
                    process::with_fs_ids(self.uid, self.gid, || {
                        if last && !directory {
                            mknodat(within, name, FileType::RegularFile, Mode::from(0o644), 0)
                        } else {
                            mkdirat(within, name, Mode::from(0o755))
                        }
                    })
                    .map_err(|e| match e {
                        rustix::io::Errno::ROFS => {
                            MountPointError::ReadOnly { at: at.clone(), source: e.into() }
                        }
                        e => MountPointError::Make { at: at.clone(), source: e.into() },
                    })?;
                    open(&at, wanted)
                }
                other => other,
            };
            parent = Some(next.map_err(|e| explain(&at, e))?);
        }
        parent.ok_or_else(|| MountPointError::Invalid { dir: dir() })
    }

    /// Opens a directory or file of the zone.
    pub(super) fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        let below = path.strip_prefix("/").unwrap_or(path);
        open_beneath(self.root_fd(), below, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), STRICT)
    }

    /// Returns the zone's root, where the way to a mount point begins.
    fn base(&self) -> Option<waypoint::OpenDirectory> {
        Some((self.root_fd().try_clone_to_owned().ok()?, PathBuf::from("/")))
    }

    /// Attaches a mount to its mount point in the zone, which is made when it is missing.
    pub(in crate::apply::boot) fn attach(&self, mount: &MountToAttach<'_>) -> Result<(), StepError> {
        let what = mount.what;
        let target = self.target(mount.dir, mount.is_directory).map_err(|e| StepError::new(what, e))?;
        self.put(mount.tree, target.as_fd()).map_err(|e| fail(what, "cannot attach the mount", e))
    }

    /// Attaches the mount of an `fs` resource, as [`Self::attach`] does. When a symbolic link is on the way to the
    /// mount point, the error also says which other `dir` the resource can have.
    pub(in crate::apply::boot) fn attach_fs(&self, mount: &MountToAttach<'_>) -> Result<(), StepError> {
        self.attach(mount).map_err(|e| match waypoint::misled(Path::new(mount.dir), |_| self.base()) {
            Some(misled) => e.with_note(misled.way_out()),
            None => e,
        })
    }

    pub(in crate::apply::boot) fn tmpfs(
        &self,
        what: &str,
        attrs: Attrs,
        options: &[(&str, &str)],
    ) -> Result<MountFd, StepError> {
        let made = NewFs::open("tmpfs").and_then(|fs| {
            for (key, value) in options {
                fs.set(key, value)?;
            }
            fs.mount(attrs)
        });
        made.map_err(|source| {
            StepError::new(what, Cause::Mount { action: "cannot mount tmpfs".into(), source })
        })
    }

    /// Mounts memory.
    ///
    /// # Errors
    /// [`StepError`]
    pub fn memory(&self, dir: &str, mode: u32, percent: u32) -> Result<(), StepError> {
        let (uid, gid, mode) = (self.uid.to_string(), self.gid.to_string(), format!("{mode:o}"));
        let size = format!("{percent}%");
        let options = [("uid", uid.as_str()), ("gid", &gid), ("mode", &mode), ("size", &size)];
        let tree = self.tmpfs(dir, Attrs::NOSUID | Attrs::NODEV, &options)?;
        self.attach(&MountToAttach { tree: &tree, what: dir, dir, is_directory: true })
    }
}
