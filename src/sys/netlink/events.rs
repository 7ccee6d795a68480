//! Changes of some links, as the kernel reports them.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::NetError;

/// The group of link changes (`RTMGRP_LINK`).
const LINKS: u32 = 1;
/// Where a message has the number of its link: behind its header, in `struct ifinfomsg`.
const INDEX_AT: u32 = 20;
/// As many links as a filter can compare with: its jumps are bytes.
const MOST: usize = 200;

/// Changes of links. It belongs to the network namespace that it was opened in.
#[derive(Debug)]
pub struct Events {
    fd: OwnedFd,
}

impl Events {
    /// Listens to what happens to these links of the namespace of this process. The kernel leaves out the
    /// others: on a host with many zones each would else be woken by all.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn of(links: &[u32]) -> Result<Self, NetError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        let code = filter(links);
        let program = libc::sock_fprog {
            len: u16::try_from(code.len()).unwrap_or(0),
            filter: code.as_ptr().cast_mut(),
        };
        let size = |n: usize| libc::socklen_t::try_from(n).unwrap_or(0);
        // SAFETY: the descriptor is open; program and code live across the call, and the kernel only reads them.
        let attached = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size(size_of::<libc::sock_fprog>()),
            )
        };
        if attached != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: all zeros is a valid address of this kind.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = u16::try_from(libc::AF_NETLINK).unwrap_or(16);
        address.nl_groups = LINKS;
        // SAFETY: the address lives across the call, and its size is passed along.
        let bound = unsafe {
            libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size(size_of::<libc::sockaddr_nl>()))
        };
        if bound != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(Self { fd })
    }

    /// Reads and discards all reports. The links are queried afterwards: more may have changed since, and reports
    /// that find no room in the socket are lost.
    pub fn take(&self) {
        let mut buffer = [0_u8; 8192];
        loop {
            match recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok(_) | Err(rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A filter of the old kind that takes messages about these links only; with too many of them, all.
fn filter(links: &[u32]) -> Vec<libc::sock_filter> {
    let one = |code: u32, jt: usize, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: u8::try_from(jt).unwrap_or(0),
        jf,
        k,
    };
    let take = one(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX);
    if links.len() > MOST {
        return vec![take];
    }
    let mut code = vec![one(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, INDEX_AT)];
    for (n, link) in links.iter().enumerate() {
        // Values are loaded in network order.
        code.push(one(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, links.len() - n, 0, link.to_be()));
    }
    code.push(one(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    code.push(take);
    code
}
