//! The zone's `/proc` and `/sys`, mounted from outside.
//!
//! They show the namespaces of the process that mounts them, so they are mounted from within the zone's; but that
//! process keeps the host's rights, and so the mounts, and the covers over them, come to the zone locked
//! (mount_namespaces(7)): it can neither remove them nor give them more rights.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::process::{self, Ended};

/// Mounts the `proc` of a process namespace onto a directory.
///
/// # Errors
/// The system's error.
pub fn mount(pids: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    in_child(|| {
        // From here on children are in the zone's namespace; this process is not.
        ns::join(pids, Kinds::PID)?;
        in_child(|| {
            let attrs = Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC;
            let tree = NewFs::open("proc").and_then(|fs| fs.mount(attrs)).map_err(|e| e.source)?;
            tree.attach(target)
        })
    })
}

/// Returns the `sysfs` of a network namespace, not attached anywhere.
///
/// # Errors
/// The system's error; also when this thread cannot return to its own network namespace.
pub fn sys(net: BorrowedFd<'_>) -> io::Result<MountFd> {
    let read_only = if without("sys") { Attrs::empty() } else { Attrs::RDONLY };
    let attrs = Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC | read_only;
    let own = ns::own_network()?;
    ns::join(net, Kinds::NET)?;
    let made = NewFs::open("sysfs").and_then(|fs| fs.mount(attrs)).map_err(|e| e.source);
    ns::join(own.as_fd(), Kinds::NET)?;
    made
}

/// Calls `work` in a process of its own.
pub(super) fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match ns::fork()? {
        // Error numbers fit into an exit status.
        Side::Child => {
            process::exit_now(work().map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0))
        }
        Side::Parent(pid, _) => match process::wait(pid)? {
            Ended::Exit(0) => Ok(()),
            Ended::Exit(number) => Err(io::Error::from_raw_os_error(number)),
            Ended::Signal(_) => Err(io::ErrorKind::Interrupted.into()),
        },
    }
}
