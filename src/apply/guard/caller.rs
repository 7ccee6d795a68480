//! The process whose request is checked, as the host sees it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::sys::assume::Credentials;
use crate::sys::made;
use crate::sys::zfs::foreign::MemoryRange;

/// Device and number of a namespace's file: its identity.
pub type Identity = (u64, u64);

/// The kernel's data about a thread that waits in its request. Its ids and rights do not change while the request
/// waits: only the thread itself could change them.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its ids and capabilities.
    pub credentials: Credentials,
    /// How a log names it.
    pub shown: String,
    /// The process that it belongs to.
    leader: i32,
}

impl Status {
    /// Reads it (proc_pid_status(5)), without touching anything that is the thread's own.
    ///
    /// # Errors
    /// The system's error.
    pub fn read(thread: i32) -> io::Result<Self> {
        Self::parse(&made::read(format!("/proc/{thread}/status"))?)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(status: &str) -> Option<Self> {
        let credentials = Credentials::parse(status)?;
        let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim();
        let leader = line("Tgid:").parse().ok()?;
        // The last number is the one in the innermost namespace.
        let inside = line("NStgid:").split_whitespace().next_back().unwrap_or("?");
        let program: String = line("Name:").chars().map(printable).collect();
        let shown = format!("pid {leader} ({inside} in the zone), uid {}, {program}", credentials.users[0]);
        Some(Self { credentials, shown, leader })
    }

    /// Returns the user id that the thread acts under.
    pub fn user(&self) -> u32 {
        self.credentials.users[1]
    }
}

/// A thread that waits in its request, opened. It was found by its number: the data is the caller's only if the
/// request is still waiting afterwards.
#[derive(Debug)]
pub struct WaitingThread<'a> {
    /// The data that was read before.
    pub status: &'a Status,
    /// Its user namespace.
    pub users: File,
    process: OwnedFd,
    memory: File,
}

/// Says which namespace a file is.
///
/// # Errors
/// The system's error.
pub fn identity(file: &File) -> io::Result<Identity> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()))
}

impl<'a> WaitingThread<'a> {
    /// Opens a thread.
    ///
    /// # Errors
    /// The system's error.
    pub fn open(thread: i32, status: &'a Status) -> io::Result<Self> {
        let file = |name: &str| format!("/proc/{thread}/{name}");
        Ok(Self {
            memory: File::options().read(true).write(true).open(file("mem"))?,
            users: File::open(file("ns/user"))?,
            process: open_process(thread, status.leader)?,
            status,
        })
    }

    /// Takes a copy of one of its descriptors.
    ///
    /// # Errors
    /// The system's error; `EBADF` when it is not open.
    pub fn descriptor(&self, number: i32) -> io::Result<OwnedFd> {
        Ok(pidfd_getfd(self.process.as_fd(), number, PidfdGetfdFlags::empty())?)
    }

    /// Copies a piece of its memory.
    ///
    /// # Errors
    /// `EFAULT` when it is not there.
    pub fn read(&self, piece: MemoryRange) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(piece.size).map_err(|_| fault())?];
        self.memory.read_exact_at(&mut bytes, piece.at).map_err(|_| fault())?;
        Ok(bytes)
    }

    /// Writes into its memory.
    ///
    /// # Errors
    /// `EFAULT` when it cannot be written there.
    pub fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, at).map_err(|_| fault())
    }
}

fn fault() -> io::Error {
    io::Error::from_raw_os_error(libc::EFAULT)
}

/// Opens a thread, whose descriptors need not be those of its process; the process where the kernel knows
/// no such (before Linux 6.9).
fn open_process(thread: i32, leader: i32) -> io::Result<OwnedFd> {
    const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();
    let open = |number: i32, flags| {
        let pid = Pid::from_raw(number).ok_or(rustix::io::Errno::SRCH)?;
        pidfd_open(pid, flags)
    };
    match open(thread, PidfdFlags::from_bits_retain(PIDFD_THREAD)) {
        Err(rustix::io::Errno::INVAL) => Ok(open(leader, PidfdFlags::empty())?),
        other => Ok(other?),
    }
}

/// Escapes control characters in names that a zone has chosen, so that they are plain text in a log.
pub fn printable(c: char) -> char {
    if c.is_ascii_graphic() || c == ' ' { c } else { '?' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_names_the_caller_by_its_leader_and_in_plain_text() {
        let status = "Name:\tz\x1b[fs\nTgid:\t7\nNStgid:\t7\t3\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n\
                      CapPrm:\t0\nCapEff:\t0\n";
        let status = Status::parse(status).expect("all lines are there");
        assert_eq!(status.shown, "pid 7 (3 in the zone), uid 1, z?[fs");
        assert_eq!((status.leader, status.user()), (7, 2));
        assert!(Status::parse("Name:\tzfs\n").is_none());
        assert_eq!(Status::read(-1).map_err(|e| e.kind()).err(), Some(io::ErrorKind::NotFound));
    }
}
