//! Subvolumes of btrfs: a zone makes them where it can make directories, and can close them to writing.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Setter, ioctl, opcode};

/// The inode of each subvolume's directory.
const TOP: u64 = 256;

const MAGIC: u32 = 0x9123_683e;

/// `BTRFS_SUBVOL_RDONLY`.
const READ_ONLY: u64 = 2;

/// Opens a subvolume to writing again; anything else stays as it is.
///
/// # Errors
/// The system's error.
pub(super) fn make_writable(dir: BorrowedFd<'_>) -> io::Result<()> {
    if rustix::fs::fstat(dir)?.st_ino != TOP || !is_btrfs(dir)? {
        return Ok(());
    }
    let flags = match flags(dir) {
        // Another file system may have the same number.
        Err(Errno::NOTTY | Errno::INVAL) => return Ok(()),
        other => other?,
    };
    if flags & READ_ONLY == 0 || crate::sys::naive::without("subvolumes") {
        return Ok(());
    }
    // SAFETY: BTRFS_IOC_SUBVOL_SETFLAGS reads one number of 64 bits.
    let set = unsafe { Setter::<{ opcode::write::<u64>(0x94, 26) }, u64>::new(flags & !READ_ONLY) };
    // SAFETY: the type of the argument is that of the request.
    Ok(unsafe { ioctl(dir, set) }?)
}

fn flags(dir: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    // SAFETY: BTRFS_IOC_SUBVOL_GETFLAGS writes one number of 64 bits.
    let get = unsafe { Getter::<{ opcode::read::<u64>(0x94, 25) }, u64>::new() };
    // SAFETY: the type of the argument is that of the request.
    unsafe { ioctl(dir, get) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a number of 32 bits in a longer one
fn is_btrfs(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(dir)?.f_type as u32 == MAGIC)
}
