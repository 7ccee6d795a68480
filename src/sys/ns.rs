//! Namespaces: the process that begins a zone, its id maps, and joining.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bitflags::bitflags;

bitflags! {
    /// Kinds of namespace (`CLONE_NEW*`, namespaces(7)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Kinds: u64 {
        /// User and group ids, capabilities.
        const USER = libc::CLONE_NEWUSER as u64;
        /// Mounts.
        const MOUNT = libc::CLONE_NEWNS as u64;
        /// Process ids.
        const PID = libc::CLONE_NEWPID as u64;
        /// Host name.
        const UTS = libc::CLONE_NEWUTS as u64;
        /// System V and POSIX message queues, semaphores, shared memory.
        const IPC = libc::CLONE_NEWIPC as u64;
        /// Network stack.
        const NET = libc::CLONE_NEWNET as u64;
        /// Root of the cgroup tree.
        const CGROUP = libc::CLONE_NEWCGROUP as u64;
    }
}

/// `struct clone_args` of clone3(2), up to Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which side of [`spawn`] one is on.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The caller, with the new process' id and pidfd.
    Parent(i32, OwnedFd),
}

/// Makes a process in new namespaces, as fork(2) does, in one call; with `cgroup` (a folder of
/// cgroup v2) it is there from its first instruction.
///
/// The caller must be single-threaded: every program of this crate is, so the child may go on in Rust.
///
/// # Errors
/// The system's error; `EPERM`, `ENOSPC` or `EUSERS` when namespaces are switched off or used up.
pub fn spawn(kinds: Kinds, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut args = CloneArgs {
        flags: kinds.bits(),
        exit_signal: u64::try_from(libc::SIGCHLD).unwrap_or(17),
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(fd.as_raw_fd()).unwrap_or(0);
    }
    clone3(args)
}

/// Makes a copy of this process that is a child of this process' parent, and signals its end to that parent as this
/// process would. The process id that is returned is the one that the parent knows, when both are in one pid
/// namespace.
///
/// # Errors
/// The system's error.
pub fn spawn_sibling() -> io::Result<Side> {
    clone3(CloneArgs { flags: u64::from(libc::CLONE_PARENT.unsigned_abs()), ..CloneArgs::default() })
}

/// Makes a process in new namespaces that is a child of this process' parent; see [`spawn_sibling`].
///
/// # Errors
/// The system's error.
pub fn spawn_sibling_in(kinds: Kinds) -> io::Result<Side> {
    let flags = u64::from(libc::CLONE_PARENT.unsigned_abs()) | kinds.bits();
    clone3(CloneArgs { flags, ..CloneArgs::default() })
}

fn clone3(mut args: CloneArgs) -> io::Result<Side> {
    let mut pidfd: i32 = -1;
    args.flags |= u64::from(libc::CLONE_PIDFD.unsigned_abs());
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // SAFETY: the arguments live across the call and their size is passed along; no stack is given
    // and memory is not shared, so the child goes on with a copy of this stack, as after fork(2).
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<CloneArgs>()) };
    match pid {
        0 => Ok(Side::Child),
        1.. => {
            // SAFETY: on success the kernel has stored a fresh descriptor that no other object owns.
            let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent(i32::try_from(pid).unwrap_or(i32::MAX), fd))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a plain copy of this process; see [`spawn`].
///
/// # Errors
/// The system's error.
pub fn fork() -> io::Result<Side> {
    spawn(Kinds::empty(), None)
}

/// Moves this process into new namespaces.
///
/// # Errors
/// The system's error.
pub fn unshare(kinds: Kinds) -> io::Result<()> {
    // SAFETY: unshare(2) takes a number; the process is single-threaded.
    let done = unsafe { libc::unshare(i32::try_from(kinds.bits()).unwrap_or(0)) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves this process into the namespaces at a descriptor: of a file of `/proc/PID/ns`, or, with
/// several kinds, of a pidfd (Linux 5.8).
///
/// # Errors
/// The system's error.
pub fn join(fd: BorrowedFd<'_>, kinds: Kinds) -> io::Result<()> {
    // SAFETY: setns(2) takes a descriptor that is open and a number.
    let done = unsafe { libc::setns(fd.as_raw_fd(), i32::try_from(kinds.bits()).unwrap_or(0)) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Opens a namespace of a process by its name in `/proc/PID/ns` (`user`, `mnt`, …).
///
/// # Errors
/// The system's error.
pub fn open(pid: i32, name: &str) -> io::Result<OwnedFd> {
    Ok(std::fs::File::open(format!("/proc/{pid}/ns/{name}"))?.into())
}

/// Opens a namespace of this process by its kind, as `/proc/self/ns` names it.
///
/// # Errors
/// The system's error.
pub fn open_own(kind: &str) -> io::Result<OwnedFd> {
    Ok(std::fs::File::open(format!("/proc/self/ns/{kind}"))?.into())
}

/// Opens the network namespace of this thread.
///
/// # Errors
/// The system's error.
pub fn own_network() -> io::Result<OwnedFd> {
    Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
}

/// Writes the id maps of a new user namespace, lines of `inside outside count` (user_namespaces(7)).
///
/// # Errors
/// The system's error.
pub fn write_id_maps(pid: i32, uid: &str, gid: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/uid_map"), uid)?;
    std::fs::write(format!("/proc/{pid}/gid_map"), gid)
}

/// Switches the loopback interface of this network namespace on.
///
/// # Errors
/// The system's error.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero `ifreq` is valid; it is plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives across the call.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
