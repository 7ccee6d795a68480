//! System call filters, with a listener and without (seccomp(2), seccomp_unotify(2)).

#![allow(unsafe_code)]

pub mod asm;
pub mod calls;
pub mod confine;
pub mod filter;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use asm::Instruction;

/// `struct sock_fprog`.
#[repr(C)]
struct SockFprog {
    length: u16,
    instructions: *const Instruction,
}

// Leaves out Spectre mitigations (SECCOMP_FILTER_FLAG_SPEC_ALLOW), which would slow every process of a zone down: the
// filter is no sandbox for untrusted code within one process.
const SPEC_ALLOW: u32 = 4;

/// Installs a filter in this process and all its children, and returns the listener for its notifications.
///
/// The caller needs `CAP_SYS_ADMIN` in its user namespace, and must be single-threaded.
///
/// # Errors
/// The system's error: `EBUSY` when a filter over this process has a listener already, `EINVAL` when
/// the kernel has no filters.
pub fn install(program: &[Instruction]) -> io::Result<Listener> {
    const NEW_LISTENER: u32 = 8;
    // Linux 5.19: once a request is taken up, only a deadly signal interrupts its caller, so that none
    // is carried out twice.
    const WAIT_KILLABLE: u32 = 32;
    let flags = SPEC_ALLOW | NEW_LISTENER;
    let fd = match set_filter(program, flags | WAIT_KILLABLE) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => set_filter(program, flags)?,
        other => other?,
    };
    // SAFETY: the kernel has just made the descriptor; no other object owns it.
    Ok(Listener { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
}

/// Installs a filter without notifications in this process and all its children.
///
/// The caller needs `CAP_SYS_ADMIN` in its user namespace, and must be single-threaded. Set-user-id programs
/// keep working.
///
/// # Errors
/// The system's error: `EINVAL` or `ENOSYS` when the kernel has no filters.
pub fn confine(program: &[Instruction]) -> io::Result<()> {
    set_filter(program, SPEC_ALLOW).map(drop)
}

fn set_filter(program: &[Instruction], flags: u32) -> io::Result<i32> {
    const SET_MODE_FILTER: i32 = 1;
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = SockFprog { length, instructions: program.as_ptr() };
    // SAFETY: the program points to as many instructions as it says, which outlive the call.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) };
    i32::try_from(done).ok().filter(|done| *done >= 0).ok_or_else(io::Error::last_os_error)
}

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Default)]
struct RawRequest {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    machine: u32,
    instruction: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct RawAnswer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const _: () = assert!(size_of::<RawRequest>() == 80 && size_of::<RawAnswer>() == 24);

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Its number, never given twice by a listener.
    pub id: u64,
    /// The thread that has called, as this process sees it; 0 when it cannot.
    pub thread: i32,
    /// The call's arguments.
    pub args: [u64; 6],
}

/// Where the calls arrive that a filter asks about.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl Listener {
    /// Takes over a descriptor.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Takes the next call up, which [`rustix::event::poll`] has announced; none when its caller has
    /// died meanwhile.
    ///
    /// # Errors
    /// The system's error; `ENOTTY` or `EINVAL` when the descriptor is no listener.
    pub fn receive(&self) -> io::Result<Option<Waiting>> {
        const RECEIVE: u32 = 0xc050_2100;
        let mut raw = RawRequest::default();
        match self.ioctl(RECEIVE, &raw mut raw) {
            Ok(()) => {
                let thread = i32::try_from(raw.pid).unwrap_or(0);
                Ok(Some(Waiting { id: raw.id, thread, args: raw.args }))
            }
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Says whether the caller still waits: only then was everything found by its number before this call its own.
    pub fn is_waiting(&self, id: u64) -> bool {
        const IS_VALID: u32 = 0x4008_2102;
        let mut id = id;
        self.ioctl(IS_VALID, &raw mut id).is_ok()
    }

    /// Answers a call: it succeeds, or fails with an error number. Says whether the caller still waited.
    pub fn answer(&self, id: u64, errno: i32) -> bool {
        const SEND: u32 = 0xc018_2101;
        let mut raw = RawAnswer { id, value: 0, error: -errno, flags: 0 };
        self.ioctl(SEND, &raw mut raw).is_ok()
    }

    fn ioctl<T>(&self, number: u32, argument: *mut T) -> io::Result<()> {
        // SAFETY: each of the three numbers carries the size of its argument, which lives across the call.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::Ioctl::from(number), argument) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
