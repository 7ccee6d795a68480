//! Mounts as descriptors: the mount interface of Linux 5.2 and later (fsopen(2), open_tree(2),
//! mount_setattr(2), move_mount(2)).
//!
//! A mount is made detached, gets its attributes while no process can see it, and is attached onto a descriptor or a
//! name in one, never onto a path: a link or rename in the zone cannot lead it astray.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bitflags::bitflags;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use thiserror::Error;

use super::naive::without;
use super::path::reason;

bitflags! {
    /// Attributes of one mount (mount_setattr(2), `MOUNT_ATTR_*`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Attrs: u64 {
        /// Nothing can be written through the mount.
        const RDONLY = 0x01;
        /// Set-user-id and file capabilities have no effect.
        const NOSUID = 0x02;
        /// Device nodes cannot be opened.
        const NODEV = 0x04;
        /// Nothing can be executed.
        const NOEXEC = 0x08;
        /// Access times are not updated.
        const NOATIME = 0x10;
        /// Access times are always updated.
        const STRICTATIME = 0x20;
        /// Access times of directories are not updated.
        const NODIRATIME = 0x80;
        /// Symbolic links are not followed.
        const NOSYMFOLLOW = 0x0020_0000;
    }
}

const ATIME_MASK: u64 = 0x70;
const ATTR_IDMAP: u64 = 0x0010_0000;

/// `struct mount_attr` of mount_setattr(2), version 0.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A mount, detached or attached.
#[derive(Debug)]
pub struct MountFd {
    fd: OwnedFd,
}

impl MountFd {
    /// Makes a detached copy of the mount at a descriptor, of its subtree from there on, with the mounts below it
    /// when `recursive`. Its propagation is private: on most hosts mounts are shared, and a mount below a copy in a
    /// zone would appear on the host as well.
    ///
    /// # Errors
    /// The system's error.
    pub fn copy(at: BorrowedFd<'_>, recursive: bool) -> io::Result<Self> {
        Self::peer(at, recursive)?.set(Attrs::empty(), Attrs::empty(), None)
    }

    /// Makes such a copy that gets its attributes next.
    ///
    /// # Errors
    /// The system's error.
    pub fn peer(at: BorrowedFd<'_>, recursive: bool) -> io::Result<PeerMount> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        Ok(PeerMount { tree: Self { fd: open_tree(at, "", flags)? }, recursive })
    }

    /// Makes a detached copy of a private mount from a name in it on, with the attributes and mapped ids that the
    /// mount has. The name is no path, and a link is not followed.
    ///
    /// # Errors
    /// The system's error; `EINVAL` for a mount that is not attached in the caller's mount namespace.
    pub fn part(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        Ok(Self { fd: open_tree(dir, name, flags)? })
    }

    /// Makes another detached copy of a private mount, with the attributes and mapped ids that the mount has.
    ///
    /// # Errors
    /// The system's error; `EINVAL` for a mount that is not attached in the caller's mount namespace.
    pub fn duplicate(&self) -> io::Result<Self> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self { fd: open_tree(&self.fd, "", flags)? })
    }

    /// Changes attributes; with `ids`, the mount shows the file system's ids as that user namespace
    /// maps them. The propagation becomes private. With `recursive`, mounts below change too.
    ///
    /// # Errors
    /// The system's error; `EINVAL` when the file system cannot map ids.
    pub fn set(
        &self,
        set: Attrs,
        clear: Attrs,
        ids: Option<BorrowedFd<'_>>,
        recursive: bool,
    ) -> io::Result<()> {
        let propagation = if without("propagation") { 0 } else { libc::MS_PRIVATE };
        let mut attr = MountAttr { set: set.bits(), clear: clear.bits(), propagation, userns_fd: 0 };
        if (set.bits() | clear.bits()) & ATIME_MASK != 0 {
            attr.clear |= ATIME_MASK;
        }
        if let Some(ns) = ids {
            attr.set |= ATTR_IDMAP;
            attr.userns_fd = u64::try_from(ns.as_raw_fd()).unwrap_or(0);
        }
        let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
        mount_setattr(self.fd.as_fd(), flags, &attr)
    }

    /// Attaches the detached mount on top of a directory or file.
    ///
    /// # Errors
    /// The system's error.
    pub fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(&self.fd, "", target, "", flags)?)
    }

    /// Attaches the detached mount on top of a name in a directory. The name is no path, and a link is not followed.
    ///
    /// # Errors
    /// The system's error.
    pub fn attach_at(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        Ok(move_mount(&self.fd, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}

/// A copy that is still a peer of the original mount. It can be attached only as the [`MountFd`] that it becomes
/// with its attributes, by the same call that makes its propagation private.
#[derive(Debug)]
pub struct PeerMount {
    tree: MountFd,
    recursive: bool,
}

impl PeerMount {
    /// Gives the copy its attributes, as [`MountFd::set`].
    ///
    /// # Errors
    /// As [`MountFd::set`].
    pub fn set(self, set: Attrs, clear: Attrs, ids: Option<BorrowedFd<'_>>) -> io::Result<MountFd> {
        self.tree.set(set, clear, ids, self.recursive)?;
        Ok(self.tree)
    }
}

impl MountFd {
    /// Takes over a detached mount that came from another process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Returns the descriptor of the mount.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for MountFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn mount_setattr(fd: BorrowedFd<'_>, flags: i32, attr: &MountAttr) -> io::Result<()> {
    // SAFETY: `attr` is a live `struct mount_attr` whose size is passed along, the path is a static
    // empty C string, and the kernel only reads both.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A file system could not be made; `log` is the kernel's message about it.
#[derive(Debug, Error)]
#[error("{}", self.text())]
pub struct FsError {
    /// The option that was refused, when it was one.
    pub option: Option<String>,
    /// The kernel's message, empty when there is none.
    pub log: String,
    /// The error number.
    pub source: io::Error,
}

impl FsError {
    fn text(&self) -> String {
        match (&self.option, self.log.is_empty()) {
            (Some(option), true) => format!("option '{option}' is not understood ({})", reason(&self.source)),
            (Some(option), false) => format!("option '{option}' is not understood ({})", self.log),
            (None, true) => reason(&self.source),
            (None, false) => format!("{} ({})", reason(&self.source), self.log),
        }
    }
}

/// A file system on its way to be mounted.
#[derive(Debug)]
pub struct NewFs {
    fd: OwnedFd,
}

impl NewFs {
    /// Begins a file system of a type.
    ///
    /// # Errors
    /// [`FsError`]; `ENODEV` when the kernel does not know the type.
    pub fn open(fstype: &str) -> Result<Self, FsError> {
        let fd = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC);
        Ok(Self { fd: fd.map_err(|e| FsError { option: None, log: String::new(), source: e.into() })? })
    }

    /// Sets an option with a value.
    ///
    /// # Errors
    /// [`FsError`] that names the option.
    pub fn set(&self, key: &str, value: &str) -> Result<(), FsError> {
        fsconfig_set_string(self.fd.as_fd(), key, value)
            .map_err(|e| self.error(Some(format!("{key}={value}")), e))
    }

    /// Sets an option without a value.
    ///
    /// # Errors
    /// [`FsError`] that names the option.
    pub fn flag(&self, key: &str) -> Result<(), FsError> {
        fsconfig_set_flag(self.fd.as_fd(), key).map_err(|e| self.error(Some(key.to_owned()), e))
    }

    /// Makes the file system and its detached mount.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn mount(self, attrs: Attrs) -> Result<MountFd, FsError> {
        fsconfig_create(self.fd.as_fd()).map_err(|e| self.error(None, e))?;
        let attrs = MountAttrFlags::from_bits_retain(u32::try_from(attrs.bits()).unwrap_or(0));
        let fd = fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attrs)
            .map_err(|e| self.error(None, e))?;
        Ok(MountFd { fd })
    }

    fn error(&self, option: Option<String>, errno: rustix::io::Errno) -> FsError {
        // The context's descriptor yields the kernel's messages, one a read, as "e TYPE: text".
        let mut log = Vec::new();
        let mut buffer = [0u8; 512];
        while let Ok(n) = rustix::io::read(&self.fd, &mut buffer) {
            if n == 0 || log.len() >= 4 {
                break;
            }
            let line = String::from_utf8_lossy(&buffer[..n]).trim().to_owned();
            log.push(line.split_once(' ').map_or(line.clone(), |(_, text)| text.to_owned()));
        }
        FsError { option, log: log.join("; "), source: errno.into() }
    }
}
