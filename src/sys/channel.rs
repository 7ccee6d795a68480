//! A two-way channel between a process and its child that carries short messages and descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg, socket_with,
    socketpair,
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

    /// Connects to a socket that takes whole messages. Does not wait: a full queue is an error.
    ///
    /// # Errors
    /// The system's error.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Self { fd })
    }

    /// Sends bytes as one message.
    ///
    /// # Errors
    /// The system's error; `EMSGSIZE` when it is longer than the socket can hold.
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        Ok(rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL).map(|_| ())?)
    }

    /// Waits for a message of at most `limit` bytes, at most `millis`. A descriptor in it never comes into
    /// this process. None: the other end is gone.
    ///
    /// # Errors
    /// `ETIMEDOUT`; `EMSGSIZE` when it is longer; `EBADMSG` when there are descriptors with it; else the
    /// system's error.
    pub fn receive_bytes(&self, limit: usize, millis: u64) -> io::Result<Option<Vec<u8>>> {
        if !super::process::wait_readable(self.fd.as_fd(), millis)? {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        let mut buffer = vec![0; limit];
        let mut control = RecvAncillaryBuffer::default();
        let mut receive = || {
            let mut pieces = [IoSliceMut::new(&mut buffer)];
            recvmsg(&self.fd, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
        };
        // See `receive`.
        let got = match receive() {
            Err(rustix::io::Errno::CONNRESET) => receive(),
            other => other,
        };
        let got = match got {
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => other?,
        };
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::from_raw_os_error(libc::EBADMSG));
        }
        if got.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        buffer.truncate(got.bytes);
        Ok((got.bytes > 0).then_some(buffer))
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// The system's error.
    pub fn receive(&self) -> io::Result<Message> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0u8; MAX_MESSAGE];
        let mut reset = false;
        let got = loop {
            match recvmsg(
                &self.fd,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                // The error is reported once, when the other end has gone without having read all; all that it had
                // sent is here.
                Err(rustix::io::Errno::CONNRESET) if !reset => reset = true,
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
