//! The devices of volumes.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BLKZNAME` (`_IOR(0x12, 125, char[256])`): the name of the volume behind a device.
const BLKZNAME: u32 = 0x8100_127d;

/// Returns the name of the volume whose device is open: `tank/vol`, or `tank/vol@snap`.
///
/// # Errors
/// The system's error; `ENOTTY` when the device is no volume's.
pub fn name(device: BorrowedFd<'_>) -> io::Result<String> {
    // More than any name, whatever a release calls the longest one.
    let mut buffer = [0u8; 4096];
    // SAFETY: the request writes a name and its end mark, 256 bytes, into a buffer that is larger and
    // lives through the call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::Ioctl::from(BLKZNAME), buffer.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let end = buffer.iter().position(|b| *b == 0).unwrap_or(buffer.len());
    Ok(String::from_utf8_lossy(&buffer[..end]).into_owned())
}
