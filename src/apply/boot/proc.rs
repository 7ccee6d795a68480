//! The zone's `/proc`, mounted from outside.
//!
//! It shows the process namespace of whoever makes it, so a helper makes it that is in the zone's; but
//! what the helper has of the host's rights stays, and so the mount, and what is put over it, comes to the
//! zone locked.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::mount::{Attrs, NewFs};
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

/// Does something in a process of its own.
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
