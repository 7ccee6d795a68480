//! Mounts for a zone that runs, with attributes that its root cannot take away.
//!
//! At a boot the kernel locks all mounts, because process 1 copies them from a mount namespace of the host's into one of
//! the zone's (mount_namespaces(7)). A mount that is attached in the zone's namespace later would not be locked: root of
//! the zone could make it writable, or let its device nodes be opened. So it is copied that way first, by a process that
//! ends then:
//!
//! ```text
//! host's namespace ── unshare ──> host's, with the mount ── join users, unshare ──> the zone's, locked ── copy ──> out
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, mount_change};

use crate::sys::channel::Channel;
use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::process;

/// The directory that is covered in the namespaces of the process, which no other process sees.
const PLACE: &str = "/proc";
/// Name of the mount point below it.
const NAME: &str = "mount";

/// Before the number of an error.
const ERROR: &str = "error ";

/// Returns a copy of a detached mount whose attributes a user namespace cannot change.
pub fn locked(tree: &MountFd, users: Option<&OwnedFd>) -> io::Result<MountFd> {
    let users = users.ok_or(io::ErrorKind::InvalidInput)?;
    let (ours, theirs) = Channel::pair()?;
    match ns::fork()? {
        Side::Child => {
            process::hide();
            let sent = match copy(tree, users.as_fd()) {
                Ok(copy) => theirs.send("", &[copy.as_fd()]),
                Err(e) => theirs.send(&format!("{ERROR}{}", e.raw_os_error().unwrap_or(libc::EIO)), &[]),
            };
            process::exit_now(i32::from(sent.is_err()))
        }
        Side::Parent(pid, _) => {
            drop(theirs);
            let answer = ours.receive();
            process::wait(pid)?;
            let answer = answer?;
            if let Some(number) = answer.text.strip_prefix(ERROR).and_then(|n| n.parse().ok()) {
                return Err(io::Error::from_raw_os_error(number));
            }
            let fd = answer.fds.into_iter().next().ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(MountFd::from_fd(fd))
        }
    }
}

fn copy(tree: &MountFd, users: BorrowedFd<'_>) -> io::Result<MountFd> {
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    ns::unshare(Kinds::MOUNT)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let memory = NewFs::open("tmpfs").and_then(|fs| {
        fs.set("mode", "755")?;
        fs.mount(Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC)
    });
    let memory = memory.map_err(|e| e.source)?;
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode) == FileType::Directory;
    if is_directory {
        rustix::fs::mkdirat(&memory, NAME, Mode::from(0o755))?;
    } else {
        rustix::fs::mknodat(&memory, NAME, FileType::RegularFile, Mode::from(0o600), 0)?;
    }
    memory.attach(open(Path::new(PLACE))?.as_fd())?;
    let at = Path::new(PLACE).join(NAME);
    tree.attach(open(&at)?.as_fd())?;
    if !without("locked-later") {
        ns::join(users, Kinds::USER)?;
        ns::unshare(Kinds::MOUNT)?;
    }
    MountFd::copy(open(&at)?.as_fd(), is_directory)
}
