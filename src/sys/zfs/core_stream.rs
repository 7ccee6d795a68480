//! The functions of libzfs_core that write and read streams.

#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::core::{Core, CoreError, LzcReply, c, check, function, or_null};

/// Bytes of a stream's first record (`dmu_replay_record_t`).
pub const RECORD_SIZE: usize = 312;

/// The data to send.
#[derive(Clone, Copy, Debug)]
pub struct SendCall<'a> {
    /// The snapshot.
    pub snapshot: &'a str,
    /// The snapshot or bookmark that the receiver has.
    pub from: Option<&'a str>,
    /// The bits of `enum lzc_send_flags`.
    pub flags: u32,
    /// Where an interrupted receive wants to go on: object and offset.
    pub resume: Option<(u64, u64)>,
    /// A bookmark of redactions.
    pub redactions: Option<&'a str>,
}

/// The data to receive, and how.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveCall<'a> {
    /// The snapshot to make.
    pub snapshot: &'a str,
    /// Packed properties that count as received.
    pub props: &'a [u8],
    /// Packed properties that count as set here.
    pub cmdprops: &'a [u8],
    /// The wrapping key of a new encryption root.
    pub key: Option<&'a [u8]>,
    /// The origin of a clone.
    pub origin: Option<&'a str>,
    /// Roll back and destroy whatever is in the way.
    pub force: bool,
    /// Repair damaged blocks only.
    pub heal: bool,
    /// Keep what came when the stream breaks off.
    pub resumable: bool,
    /// Keep encrypted data as they are.
    pub raw: bool,
    /// The stream.
    pub fd: BorrowedFd<'a>,
    /// The first record, if it was read from the stream already.
    pub header: Option<&'a [u8; RECORD_SIZE]>,
}

/// The result of a receive, also of a failed one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// 0, or the error number.
    pub errno: i32,
    /// Bytes read.
    pub bytes: u64,
    /// `ZPROP_ERR_NOCLEAR` and `ZPROP_ERR_NORESTORE`.
    pub flags: u64,
    /// The properties that could not be set, packed.
    pub errors: Vec<u8>,
}

struct ReceiveNames {
    snapshot: CString,
    origin: Option<CString>,
}

impl ReceiveNames {
    fn new(call: &ReceiveCall<'_>) -> Result<Self, CoreError> {
        Ok(Self { snapshot: c(call.snapshot)?, origin: call.origin.map(c).transpose()? })
    }
}

impl Core {
    /// Writes a stream to a descriptor.
    pub fn send(&self, call: &SendCall<'_>, to: BorrowedFd<'_>) -> Result<(), CoreError> {
        let snapshot = c(call.snapshot)?;
        let from = call.from.map(c).transpose()?;
        let redactions = call.redactions.map(c).transpose()?;
        let (s, f) = (snapshot.as_ptr(), or_null(from.as_ref()));
        let (fd, flags) = (to.as_raw_fd(), call.flags as c_uint);
        let errno = match (call.resume, redactions.as_ref()) {
            (None, None) => {
                let send = function!(self, send, "lzc_send");
                // SAFETY: the names live until the call returns and the descriptor is open.
                // SAFETY: the names are C strings that outlive the call, and the rest are numbers.
                unsafe { send(s, f, fd, flags) }
            }
            (Some((object, offset)), None) => {
                let send = function!(self, send_resume, "lzc_send_resume");
                // SAFETY: see above.
                unsafe { send(s, f, fd, flags, object, offset) }
            }
            (None, Some(bookmark)) => {
                let send = function!(self, send_redacted, "lzc_send_redacted");
                // SAFETY: see above.
                unsafe { send(s, f, fd, flags, bookmark.as_ptr()) }
            }
            (Some((object, offset)), Some(bookmark)) => {
                let send = function!(self, send_resume_redacted, "lzc_send_resume_redacted");
                // SAFETY: see above.
                unsafe { send(s, f, fd, flags, object, offset, bookmark.as_ptr()) }
            }
        };
        check(errno)
    }

    /// Estimates a stream.
    pub fn send_space(&self, snapshot: &str, from: Option<&str>, flags: u32) -> Result<u64, CoreError> {
        let f = function!(self, send_space, "lzc_send_space");
        let (snapshot, from) = (c(snapshot)?, from.map(c).transpose()?);
        let mut space = 0;
        // SAFETY: the names live until the call returns, which writes one number.
        check(unsafe { f(snapshot.as_ptr(), or_null(from.as_ref()), flags, &raw mut space) })?;
        Ok(space)
    }

    /// Estimates the rest of an interrupted stream of which `bytes` have been sent.
    pub fn send_space_resume(&self, call: &SendCall<'_>, bytes: u64) -> Result<u64, CoreError> {
        let f = function!(self, send_space_resume_redacted, "lzc_send_space_resume_redacted");
        let (snapshot, from) = (c(call.snapshot)?, call.from.map(c).transpose()?);
        let redactions = call.redactions.map(c).transpose()?;
        let (object, offset) = call.resume.unwrap_or((0, 0));
        let (mut space, no_fd) = (0, -1);
        // SAFETY: the names live until the call returns, which writes one number.
        check(unsafe {
            f(
                snapshot.as_ptr(),
                or_null(from.as_ref()),
                call.flags,
                object,
                offset,
                bytes,
                or_null(redactions.as_ref()),
                no_fd,
                &raw mut space,
            )
        })?;
        Ok(space)
    }

    /// Makes a bookmark of what differs between a snapshot and its redacted clones.
    pub fn redact(&self, snapshot: &str, bookmark: &str, snaps: &[u8]) -> Result<(), CoreError> {
        let f = function!(self, redact, "lzc_redact");
        let (snapshot, bookmark, snaps) = (c(snapshot)?, c(bookmark)?, self.list(snaps)?);
        // SAFETY: all pointers live until the call returns.
        check(unsafe { f(snapshot.as_ptr(), bookmark.as_ptr(), snaps.raw) })
    }

    /// `lzc_receive`, or `lzc_receive_resumable` if so asked.
    pub fn receive(&self, call: &ReceiveCall<'_>) -> Result<(), CoreError> {
        let (names, props) = (ReceiveNames::new(call)?, self.list(call.props)?);
        let f = if call.resumable {
            function!(self, receive_resumable, "lzc_receive_resumable")
        } else {
            function!(self, receive, "lzc_receive")
        };
        let (force, raw, fd) = (c_int::from(call.force), c_int::from(call.raw), call.fd.as_raw_fd());
        // SAFETY: names and list live until the call returns; the descriptor is open.
        check(unsafe {
            f(names.snapshot.as_ptr(), props.raw, or_null(names.origin.as_ref()), force, raw, fd)
        })
    }

    /// `lzc_receive_with_header`: the first record has been read already.
    pub fn receive_with_header(&self, call: &ReceiveCall<'_>) -> Result<(), CoreError> {
        let f = function!(self, receive_with_header, "lzc_receive_with_header");
        let (names, props) = (ReceiveNames::new(call)?, self.list(call.props)?);
        // SAFETY: names, list and record live until the call returns; the descriptor is open.
        check(unsafe {
            f(
                names.snapshot.as_ptr(),
                props.raw,
                or_null(names.origin.as_ref()),
                c_int::from(call.force),
                c_int::from(call.resumable),
                c_int::from(call.raw),
                call.fd.as_raw_fd(),
                call.header.map_or(ptr::null(), |h| h.as_ptr()),
            )
        })
    }

    /// `lzc_receive_one`: as with header; also returns which properties could not be set.
    pub fn receive_one(&self, call: &ReceiveCall<'_>) -> Result<Received, CoreError> {
        let f = function!(self, receive_one, "lzc_receive_one");
        let (names, props) = (ReceiveNames::new(call)?, self.list(call.props)?);
        self.received(|bytes, flags, handle, errors| {
            // SAFETY: all pointers live until the call returns; the descriptor is open; -1 is no
            // clean-up descriptor.
            unsafe {
                f(
                    names.snapshot.as_ptr(),
                    props.raw,
                    or_null(names.origin.as_ref()),
                    c_int::from(call.force),
                    c_int::from(call.resumable),
                    c_int::from(call.raw),
                    call.fd.as_raw_fd(),
                    call.header.map_or(ptr::null(), |h| h.as_ptr()),
                    -1,
                    bytes,
                    flags,
                    handle,
                    errors,
                )
            }
        })
    }

    /// `lzc_receive_with_cmdprops`: as one, with properties set here and a key.
    pub fn receive_with_cmdprops(&self, call: &ReceiveCall<'_>) -> Result<Received, CoreError> {
        let f = function!(self, receive_with_cmdprops, "lzc_receive_with_cmdprops");
        let (names, props, cmdprops) =
            (ReceiveNames::new(call)?, self.list(call.props)?, self.list(call.cmdprops)?);
        self.received(|bytes, flags, handle, errors| {
            // SAFETY: as in receive_one; the key is only read.
            unsafe {
                f(
                    names.snapshot.as_ptr(),
                    props.raw,
                    cmdprops.raw,
                    call.key.map_or(ptr::null_mut(), |k| k.as_ptr().cast_mut()),
                    call.key.map_or(0, |k| k.len() as c_uint),
                    or_null(names.origin.as_ref()),
                    c_int::from(call.force),
                    c_int::from(call.resumable),
                    c_int::from(call.raw),
                    call.fd.as_raw_fd(),
                    call.header.map_or(ptr::null(), |h| h.as_ptr()),
                    -1,
                    bytes,
                    flags,
                    handle,
                    errors,
                )
            }
        })
    }

    /// `lzc_receive_with_heal` (2.2 and later): as with cmdprops, and can repair.
    pub fn receive_with_heal(&self, call: &ReceiveCall<'_>) -> Result<Received, CoreError> {
        let f = function!(self, receive_with_heal, "lzc_receive_with_heal");
        let (names, props, cmdprops) =
            (ReceiveNames::new(call)?, self.list(call.props)?, self.list(call.cmdprops)?);
        self.received(|bytes, flags, handle, errors| {
            // SAFETY: as in receive_one; the key is only read.
            unsafe {
                f(
                    names.snapshot.as_ptr(),
                    props.raw,
                    cmdprops.raw,
                    call.key.map_or(ptr::null_mut(), |k| k.as_ptr().cast_mut()),
                    call.key.map_or(0, |k| k.len() as c_uint),
                    or_null(names.origin.as_ref()),
                    c_int::from(call.force),
                    c_int::from(call.heal),
                    c_int::from(call.resumable),
                    c_int::from(call.raw),
                    call.fd.as_raw_fd(),
                    call.header.map_or(ptr::null(), |h| h.as_ptr()),
                    -1,
                    bytes,
                    flags,
                    handle,
                    errors,
                )
            }
        })
    }

    fn received(
        &self,
        call: impl FnOnce(*mut u64, *mut u64, *mut u64, *mut *mut super::core::Nv) -> c_int,
    ) -> Result<Received, CoreError> {
        let (mut bytes, mut flags) = (0u64, 0u64);
        let LzcReply { errno, list } =
            self.answer(|out| call(&raw mut bytes, &raw mut flags, ptr::null_mut(), out))?;
        Ok(Received { errno, bytes, flags, errors: list })
    }
}
