//! Directories of the host that a zone shares, and the mounts at them and below.
//!
//! A zone gets the mounts of such a directory as they are when it boots, each with the zone's ids. A file system
//! that cannot map ids is shared as it is, read-only, when the resource says `ro`; else an empty directory stands
//! there, so that nothing is written beneath a file system of the host.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use thiserror::Error;

use crate::spec::idmap::{PRIVATE_COUNT, PRIVATE_FIRST};
use crate::spec::shown::Show;
use crate::sys::channel::Channel;
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::mountinfo::{self, MountEntry};
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::path::mount_of;
use crate::sys::process;

/// File systems that show the kernel's own state. None is shared with a zone, which has its own of some.
const OF_KERNEL: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// Says whether a file system shows the kernel's own state.
pub fn is_of_kernel(kind: &str) -> bool {
    OF_KERNEL.contains(&kind)
}

/// A mount of the host that lies in a shared directory.
#[derive(Debug)]
pub struct SharedMount {
    /// The mount point, as a path of the host.
    pub point: PathBuf,
    /// The same below the directory; empty for the directory itself.
    pub inner: PathBuf,
    /// Type of the file system.
    pub kind: String,
    /// Number of the mount.
    pub id: u64,
    /// A descriptor of the directory or file that the host sees there.
    pub fd: OwnedFd,
}

impl SharedMount {
    /// Says whether it is the shared directory itself.
    pub fn is_whole(&self) -> bool {
        self.inner.as_os_str().is_empty()
    }

    /// Says whether the mount point is a directory.
    pub fn is_directory(&self) -> bool {
        let stat = rustix::fs::fstat(&self.fd);
        stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory)
    }

    /// Says why the directory is not shared.
    pub fn refused(&self) -> Unmappable {
        Unmappable { point: self.point.clone(), kind: self.kind.clone() }
    }

    /// Says that a mount is left out of the directory above it.
    pub fn left_out(&self) -> String {
        let (point, why) = (self.point.shown(), obstacle(&self.kind));
        let seen = if self.is_directory() { "an empty directory" } else { "the file below it" };
        format!("{point} is mounted there and cannot be shared: {why}; the zone sees {seen}")
    }
}

/// A directory of the host that cannot be shared, because its file system cannot map ids.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{} cannot be shared: {}{}", point.shown(), obstacle(kind), way_out(kind))]
pub struct Unmappable {
    /// Its mount point on the host.
    pub point: PathBuf,
    /// Type of the file system.
    pub kind: String,
}

fn obstacle(kind: &str) -> String {
    if is_of_kernel(kind) {
        format!("{kind} shows the kernel's own state")
    } else {
        format!("its file system ({kind}) cannot map ids on this kernel")
    }
}

fn way_out(kind: &str) -> &'static str {
    let read_only = "; 'add options ro' shares it read-only, its files as those of nobody";
    if is_of_kernel(kind) { "" } else { read_only }
}

/// Returns the mount that a directory or file lies on, and with `recursive` those below it that can be seen,
/// outer ones first.
///
/// # Errors
/// The system's error.
pub fn pieces(at: BorrowedFd<'_>, recursive: bool) -> io::Result<Vec<SharedMount>> {
    let own = |e: rustix::io::Errno| io::Error::from(e);
    let table = mountinfo::mounts().map_err(io::Error::other)?;
    let top = std::fs::read_link(format!("/proc/self/fd/{}", at.as_raw_fd()))?;
    let id = mount_of(at).map_err(own)?;
    let first = table.iter().find(|m| m.id == id).or_else(|| mountinfo::mount_at(&table, &top));
    let kind = first.map_or_else(|| "unknown".to_owned(), |m| m.kind.clone());
    let fd = at.try_clone_to_owned()?;
    let mut list = vec![SharedMount { point: top.clone(), inner: PathBuf::new(), kind, id, fd }];
    if recursive {
        list.extend(below(&table, &top));
    }
    Ok(list)
}

/// Returns the visible mounts below a directory. A mount that is covered by another one is not visible.
fn below(table: &[MountEntry], top: &Path) -> Vec<SharedMount> {
    let points = mountinfo::mounts_below(table, top).into_iter().filter(|point| point != top);
    let seen = points.filter_map(|point| {
        // Neither a link nor an automount is followed.
        let fd = rustix::fs::open(&point, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let fd = fd.ok()?;
        let id = mount_of(fd.as_fd()).ok()?;
        let entry = table.iter().find(|m| m.id == id && m.point == point)?;
        let inner = point.strip_prefix(top).ok()?.to_owned();
        Some(SharedMount { kind: entry.kind.clone(), inner, id, fd, point })
    });
    seen.collect()
}

/// The answer about a mount in a shared directory counts for the mounts below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// They are looked at as well.
    Open,
    /// They are passed over: something covers them, or they were reported already.
    Closed,
}

/// Visits mounts in their order, outer ones first, but for those below one that is closed.
///
/// # Errors
/// The visitor's first error.
pub fn walk<'p, E>(
    pieces: impl IntoIterator<Item = &'p SharedMount>,
    mut visit: impl FnMut(&'p SharedMount) -> Result<Below, E>,
) -> Result<(), E> {
    let mut closed: Vec<&Path> = Vec::new();
    for piece in pieces {
        let passed = closed.iter().any(|outer| piece.inner.starts_with(outer));
        if !passed && visit(piece)? == Below::Closed {
            closed.push(&piece.inner);
        }
    }
    Ok(())
}

/// Makes a copy of a mount for a zone: with the zone's ids, or read-only without them; none when neither can be.
///
/// # Errors
/// The system's error, but for those by which a file system says that it cannot map ids.
pub fn copy(piece: &SharedMount, attrs: Attrs, users: Option<BorrowedFd<'_>>) -> io::Result<Option<MountFd>> {
    let tree = MountFd::copy(piece.fd.as_fd(), false)?;
    match tree.set(attrs, Attrs::empty(), users, false) {
        Ok(()) => Ok(Some(tree)),
        Err(e) if !cannot_map(&e) => Err(e),
        Err(_) if attrs.contains(Attrs::RDONLY) && !is_of_kernel(&piece.kind) => {
            tree.set(attrs | Attrs::NOSUID | Attrs::NODEV, Attrs::empty(), None, false)?;
            Ok(Some(tree))
        }
        Err(_) => Ok(None),
    }
}

/// The outcome of a trial with a mount in a shared directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The zone gets it, with its ids or read-only without.
    Shared,
    /// The zone does not get it.
    LeftOut,
}

/// Tries what becomes of a mount.
///
/// # Errors
/// The system's error, but for those by which a file system says that it cannot map ids.
pub fn fate(piece: &SharedMount, read_only: bool, users: BorrowedFd<'_>) -> io::Result<Fate> {
    match try_mapping(piece.fd.as_fd(), users) {
        Ok(()) => Ok(Fate::Shared),
        Err(e) if !cannot_map(&e) => Err(e),
        Err(_) if read_only && !is_of_kernel(&piece.kind) => Ok(Fate::Shared),
        Err(_) => Ok(Fate::LeftOut),
    }
}

/// Says whether an error is that of a file system that cannot map ids.
pub fn cannot_map(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP))
}

/// Makes a mount of a directory or file with mapped ids, which is attached nowhere and gone at once.
///
/// # Errors
/// The system's error; see [`cannot_map`].
pub fn try_mapping(at: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    MountFd::copy(at, false)?.set(Attrs::empty(), Attrs::empty(), Some(users), false)
}

/// Makes a user namespace with the map of a zone, to try mounts with. The caller must be single-threaded: a
/// process is made in the namespace, and ends.
///
/// # Errors
/// The system's error.
pub fn users() -> io::Result<OwnedFd> {
    let (ours, theirs) = Channel::pair()?;
    match ns::spawn(Kinds::USER, None)? {
        Side::Child => {
            drop(ours);
            // Until the other end is closed, whatever closes it.
            let _ = theirs.receive();
            process::exit_now(0)
        }
        Side::Parent(pid, _) => {
            drop(theirs);
            let line = format!("0 {PRIVATE_FIRST} {PRIVATE_COUNT}\n");
            let made = ns::write_id_maps(pid, &line, &line).and_then(|()| ns::open(pid, "user"));
            drop(ours);
            let _ = process::wait(pid);
            made
        }
    }
}
