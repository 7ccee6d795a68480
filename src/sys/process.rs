//! Processes: pidfds, start times, and what a process sheds before it becomes a zone's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Returns when a process started, in clock ticks since boot (proc_pid_stat(5), field 22); none when
/// there is no such process or it is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, in parentheses, may hold blanks and parentheses itself.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug)]
pub struct Handle {
    fd: OwnedFd,
}

impl Handle {
    /// Opens a process.
    ///
    /// # Errors
    /// The system's error; `ESRCH` when it is gone.
    pub fn open(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        Ok(Self { fd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Takes over a pidfd.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends a signal; a process that is gone already is no error.
    ///
    /// # Errors
    /// The system's error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Waits until the process has ended, at most so many milliseconds; says whether it has.
    ///
    /// # Errors
    /// The system's error.
    pub fn wait_gone(&self, millis: u64) -> io::Result<bool> {
        wait_readable(self.fd.as_fd(), millis)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until a descriptor is readable, at most so many milliseconds; says whether it is.
///
/// # Errors
/// The system's error.
pub fn wait_readable(fd: BorrowedFd<'_>, millis: u64) -> io::Result<bool> {
    let start = std::time::Instant::now();
    loop {
        let left = std::time::Duration::from_millis(millis).saturating_sub(start.elapsed());
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
