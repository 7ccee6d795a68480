//! The process at the other end of a socket of the host, by the kernel's word and nothing else.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::made;
use super::process::Handle;

/// Number of the option that gives a pidfd of the peer (Linux 6.5), of every architecture but the two
/// that number their options in their own way.
const SO_PEERPIDFD: i32 = if cfg!(any(target_arch = "sparc64", target_arch = "sparc")) { 0x56 } else { 77 };

/// The process that has connected.
#[derive(Debug)]
pub struct Peer {
    /// Its process id when it connected.
    pub pid: i32,
    /// Its effective user id then, as this process' user namespace has it.
    pub uid: u32,
    /// The process itself. Before Linux 6.5, the process that has the number now.
    handle: Option<Handle>,
    by_number: bool,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The system's error.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let found = getsockopt(&socket, PeerCredentials)?;
        let pidfd = pidfd(socket);
        let by_number = pidfd.is_none();
        let handle = pidfd.map(Handle::from_fd).or_else(|| Handle::open(found.pid()).ok());
        Ok(Self { pid: found.pid(), uid: found.uid(), handle, by_number })
    }

    /// Says whether the process lives and is in the user namespace of this one: user ids mean the same to
    /// both. Zero as its number is a process of a pid namespace that this one cannot see.
    pub fn is_of_this_host(&self) -> bool {
        let Some(handle) = self.handle.as_ref().filter(|_| self.pid > 0) else { return false };
        let identity = |path: String| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        let theirs = identity(format!("/proc/{}/ns/user", self.pid));
        let same = theirs.is_some() && theirs == identity("/proc/self/ns/user".into());
        // The number may have come to mean another process, which then has not this user.
        let user = !self.by_number || has_user(self.pid, self.uid);
        // Read by its number: it is the peer's if the peer has not ended since.
        same && user && handle.wait_gone(0).is_ok_and(|gone| !gone)
    }
}

/// Says whether a thread of a process acts as this user.
fn has_user(pid: i32, uid: u32) -> bool {
    let user_of = |status: String| -> Option<u32> {
        status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
    };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| made::read(thread.path().join("status")).ok())
        .any(|status| user_of(status) == Some(uid))
}

fn pidfd(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut fd: i32 = -1;
    let mut length = libc::socklen_t::try_from(size_of::<i32>()).ok()?;
    // SAFETY: the kernel writes one number, for which there is room, and its length.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut length,
        )
    };
    if done != 0 || fd < 0 {
        return None;
    }
    // SAFETY: on success the kernel has stored a fresh descriptor that no other object owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (a, _b) = UnixStream::pair().expect("sockets");
        let peer = Peer::of(a.as_fd()).expect("a peer");
        assert_eq!(peer.pid.cast_unsigned(), std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(peer.is_of_this_host());
        let own = Peer::of(a.as_fd()).expect("a peer");
        assert!(Peer { by_number: true, ..own }.is_of_this_host());
        let own = Peer::of(a.as_fd()).expect("a peer");
        assert!(!Peer { by_number: true, uid: own.uid + 1, ..own }.is_of_this_host());
        // A process that cannot be seen or has ended has no rights.
        assert!(!Peer { pid: 0, ..Peer::of(a.as_fd()).expect("a peer") }.is_of_this_host());
        assert!(!Peer { handle: None, ..peer }.is_of_this_host());
    }
}
