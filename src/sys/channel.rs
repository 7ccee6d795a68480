//! A two-way channel between a process and its child that carries short messages and descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Longest message in bytes.
pub const MAX_MESSAGE: usize = 4096;
const MAX_FDS: usize = 8;

/// One end of a channel. A message arrives whole or not at all.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
}

/// A message with the descriptors that came with it. Empty text without descriptors: the other end is gone.
#[derive(Debug, Default)]
pub struct Message {
    /// The text.
    pub text: String,
    /// The descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

impl Channel {
    /// Makes both ends.
    ///
    /// # Errors
    /// The system's error.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { fd: a }, Self { fd: b }))
    }

    /// Takes over a connected socket.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// The system's error; `EPIPE` when the other end is gone.
    pub fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let bytes = &text.as_bytes()[..text.len().min(MAX_MESSAGE)];
        loop {
            match sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(|_| ()).map_err(Into::into),
            }
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// The system's error.
    pub fn receive(&self) -> io::Result<Message> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0u8; MAX_MESSAGE];
        let got = loop {
            match recvmsg(
                &self.fd,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(Message::default()),
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(list) = message {
                fds.extend(list);
            }
        }
        Ok(Message { text: String::from_utf8_lossy(&buffer[..got.bytes]).into_owned(), fds })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
