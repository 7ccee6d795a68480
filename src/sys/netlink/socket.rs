//! The socket: requests out, answers in.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use thiserror::Error;

use super::codec::{Builder, attribute, messages, text, u32_at};
use crate::sys::path::reason;

/// Ask for an answer (`NLM_F_ACK`).
const ACK: u16 = 0x4;
/// Ask for all (`NLM_F_DUMP`).
const DUMP: u16 = 0x300;
/// The answer has attributes that explain (`NLM_F_ACK_TLVS`).
const EXPLAINED: u16 = 0x200;
/// The answer to a request (`NLMSG_ERROR`).
const ERROR: u16 = 2;
/// The end of a dump (`NLMSG_DONE`).
const DONE: u16 = 3;
/// The list changed while it was read (`NLM_F_DUMP_INTR`).
const INTERRUPTED: u16 = 0x10;
/// How often a list that changes is read again.
const TRIES: usize = 20;

/// A request that the kernel refused.
#[derive(Debug, Error)]
#[error("{}", self.words())]
pub struct NetError {
    /// The reason.
    pub cause: io::Error,
    /// The kernel's own words, where it gives some.
    pub hint: Option<String>,
}

impl NetError {
    /// Returns the number of the error (errno(3)).
    pub fn number(&self) -> i32 {
        self.cause.raw_os_error().unwrap_or(0)
    }

    fn words(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({})", reason(&self.cause), hint.trim_end_matches('.')),
            None => reason(&self.cause),
        }
    }
}

impl From<io::Error> for NetError {
    fn from(cause: io::Error) -> Self {
        Self { cause, hint: None }
    }
}

impl From<rustix::io::Errno> for NetError {
    fn from(cause: rustix::io::Errno) -> Self {
        Self { cause: cause.into(), hint: None }
    }
}

/// A socket of rtnetlink. It belongs to the network namespace that it was opened in, also after its
/// process has gone to another.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the network namespace of this process.
    ///
    /// # Errors
    /// The system's error.
    pub fn open() -> Result<Self, NetError> {
        // No protocol is number 0, which is NETLINK_ROUTE.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        // Both options make answers better and are not needed: an older kernel works without them.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_GET_STRICT_CHK] {
            let on: libc::c_int = 1;
            // SAFETY: the descriptor is open, and the value is an int that lives across the call.
            unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    (&raw const on).cast(),
                    libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4),
                );
            }
        }
        Ok(Self { fd, sequence: 0, buffer: Vec::with_capacity(1 << 16) })
    }

    /// Sends a request that changes something and waits until it has.
    ///
    /// # Errors
    /// [`NetError`] with the kernel's reason.
    pub fn change(&mut self, request: Builder) -> Result<(), NetError> {
        self.exchange(request, ACK, &mut |_| {}).map(drop)
    }

    /// Sends a request for one thing and returns its body; none when there is no such thing.
    ///
    /// # Errors
    /// [`NetError`] with the kernel's reason.
    pub fn one(&mut self, request: Builder) -> Result<Option<Vec<u8>>, NetError> {
        let mut found = None;
        match self.exchange(request, ACK, &mut |body| found = Some(body.to_vec())) {
            Err(e) if matches!(e.number(), libc::ENODEV | libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
            Ok(_) => Ok(found),
        }
    }

    /// Sends a request for a list and hands the body of each element to `each`.
    ///
    /// # Errors
    /// [`NetError`] with the kernel's reason.
    pub fn all<T>(
        &mut self,
        request: &Builder,
        each: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetError> {
        let mut found = Vec::new();
        for _ in 0..TRIES {
            found.clear();
            if self.exchange(request.clone(), DUMP, &mut |body| found.extend(each(body)))? {
                return Ok(found);
            }
        }
        Ok(found)
    }

    /// Sends a request and reads until its end. Returns whether the replies are a consistent snapshot.
    fn exchange(
        &mut self,
        request: Builder,
        flags: u16,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, NetError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = request.finish(self.sequence);
        let all = u16::from_ne_bytes([bytes[6], bytes[7]]) | flags;
        bytes[6..8].copy_from_slice(&all.to_ne_bytes());
        send(&self.fd, &bytes, SendFlags::empty())?;
        let mut whole = true;
        loop {
            self.buffer.clear();
            match recv(&self.fd, spare_capacity(&mut self.buffer), RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => drop(other?),
            }
            for message in messages(&self.buffer).filter(|m| m.sequence == self.sequence) {
                whole &= message.flags & INTERRUPTED == 0;
                match message.kind {
                    ERROR => return outcome(message.body, message.flags).map(|()| whole),
                    DONE => {
                        // A dump that fails says so at its end.
                        let code = u32_at(message.body, 0).map_or(0, u32::cast_signed);
                        if code < 0 {
                            return Err(io::Error::from_raw_os_error(-code).into());
                        }
                        return Ok(whole);
                    }
                    _ => each(message.body),
                }
            }
        }
    }
}

/// Reads an answer: the number of the error, the request's header (or all of it), attributes.
fn outcome(body: &[u8], flags: u16) -> Result<(), NetError> {
    let code = u32_at(body, 0).map_or(-libc::EPROTO, u32::cast_signed);
    if code == 0 {
        return Ok(());
    }
    let length = u32_at(body, 4).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    // The text is attribute 1 (`NLMSGERR_ATTR_MSG`).
    let hint = (flags & EXPLAINED != 0)
        .then(|| body.get(4 + length.next_multiple_of(4)..))
        .flatten()
        .and_then(|attributes| attribute(attributes, 1))
        .map(text)
        .filter(|t| !t.is_empty());
    Err(NetError { cause: io::Error::from_raw_os_error(-code), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_number_and_words() {
        let request = Builder::new(16, 0).fixed(&[0; 16]).text(3, "eth0").finish(1);
        let mut body = (-libc::ENODEV).to_ne_bytes().to_vec();
        body.extend(&request);
        let words = Builder::new(0, 0).text(1, "Unknown device type").finish(0);
        body.extend(&words[16..]);
        let e = outcome(&body, EXPLAINED).expect_err("an error");
        assert_eq!(e.number(), libc::ENODEV);
        assert_eq!(e.to_string(), "No such device (Unknown device type)");
        assert_eq!(outcome(&body, 0).expect_err("an error").hint, None);
        assert!(outcome(&[0; 20], 0).is_ok());
        assert!(outcome(&[], 0).is_err());
    }

    #[test]
    fn every_namespace_has_its_loopback() {
        let mut socket = Socket::open().expect("netlink is there");
        let links = super::super::link::all(&mut socket).expect("links");
        assert!(links.iter().any(|l| l.name == "lo"), "{links:?}");
        assert_eq!(super::super::link::named(&mut socket, "no-such-link").expect("an answer"), None);
    }
}
