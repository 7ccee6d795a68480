//! Content and attributes of single files.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, SeekFrom, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::sys::naive::without;
use crate::sys::path::{Owned, set_owned, write_all};

/// Runs of zeros of this length become holes.
const HOLE: usize = 4096;

/// Ways to copy content between two files. Remembers those that the file systems have refused.
#[derive(Debug)]
pub(super) struct Mover {
    clone: bool,
    range: bool,
    buffer: Vec<u8>,
}

impl Mover {
    pub(super) fn new() -> Self {
        Self { clone: true, range: true, buffer: Vec::new() }
    }

    /// Copies a file of `stat` into an empty one: as a reflink where the file system can, else with
    /// its holes. Says whether it became a reflink.
    pub(super) fn copy(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<bool> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(false);
        }
        if self.clone {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(true),
                // Another file system, or one that does not support it: the next file needs no attempt.
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => self.clone = false,
                // This file only. ZFS says AGAIN while the source is not on disk yet.
                Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM | Errno::AGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let whole = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512) >= size;
        let mut at = 0;
        while at < size {
            let (start, end) = if whole { (0, size) } else { next_data(from, at, size)? };
            if start >= size {
                break;
            }
            let reached = self.copy_part(from, to, start, end)?;
            if reached < end {
                // The file has become shorter meanwhile.
                break;
            }
            at = end;
        }
        rustix::fs::ftruncate(to, size)?;
        Ok(false)
    }

    fn copy_part(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        mut at: u64,
        end: u64,
    ) -> io::Result<u64> {
        while self.range && at < end {
            let (mut in_at, mut out_at) = (at, at);
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut in_at), to, Some(&mut out_at), length) {
                // Some files report a size and give nothing this way; reading decides.
                Ok(0) => break,
                Ok(n) => at += n as u64,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                    self.range = false;
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.buffer.resize(256 * 1024, 0);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
            match rustix::io::pread(from, &mut self.buffer[..want], at) {
                Ok(0) => break,
                Ok(n) => {
                    rustix::fs::seek(to, SeekFrom::Start(at))?;
                    write_all(to, &self.buffer[..n])?;
                    at += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(at)
    }
}

/// Returns the next stretch that holds data, the end of the file when there is none.
fn next_data(fd: BorrowedFd<'_>, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let start = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok((size, size)),
        Err(Errno::INVAL) => return Ok((at, size)),
        Err(e) => return Err(e.into()),
    };
    match rustix::fs::seek(fd, SeekFrom::Hole(start)) {
        Ok(end) if end > start => Ok((start, end.min(size))),
        _ => Ok((start, size)),
    }
}

/// Writes an empty file from its start to its end, runs of zeros as holes.
#[derive(Debug)]
pub struct SparseWriter<'a> {
    to: BorrowedFd<'a>,
    at: u64,
}

impl<'a> SparseWriter<'a> {
    /// Returns a writer at the start of the file.
    pub fn new(to: BorrowedFd<'a>) -> Self {
        Self { to, at: 0 }
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// The system's error.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        // Stretches that hold anything but zeros are written, each with one call.
        let mut start = 0;
        let mut at = 0;
        while at < content.len() {
            let next = (at + HOLE).min(content.len());
            if next - at == HOLE && content[at..next].iter().all(|b| *b == 0) {
                put(self.to, self.at + start as u64, &content[start..at])?;
                start = next;
            }
            at = next;
        }
        put(self.to, self.at + start as u64, &content[start..])?;
        self.at += content.len() as u64;
        Ok(())
    }

    /// Leaves a hole up to an offset, which must not lie before the bytes written so far.
    pub fn skip_to(&mut self, at: u64) {
        self.at = self.at.max(at);
    }

    /// Gives the file the size that was reached.
    ///
    /// # Errors
    /// The system's error.
    pub fn finish(self) -> io::Result<u64> {
        rustix::fs::ftruncate(self.to, self.at)?;
        Ok(self.at)
    }
}

fn put(to: BorrowedFd<'_>, mut at: u64, mut content: &[u8]) -> io::Result<()> {
    while !content.is_empty() {
        match rustix::io::pwrite(to, content, at) {
            Ok(n) => {
                content = &content[n..];
                at += n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Sets the time of last change (and of last use) of an open file or directory.
///
/// # Errors
/// The system's error.
pub fn set_times(fd: BorrowedFd<'_>, seconds: i64, nanos: i64) -> io::Result<()> {
    Ok(rustix::fs::futimens(fd, &times(seconds, nanos))?)
}

pub(super) fn times(seconds: i64, nanos: i64) -> Timestamps {
    let at = Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps { last_access: at, last_modification: at }
}

/// Sets an extended attribute and says whether the file system keeps it.
///
/// Labels of a security module belong to the host's policy: a refusal of those is no error.
///
/// # Errors
/// The system's error, but for "not supported".
pub fn set_xattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<bool> {
    let label = [c"security.selinux", c"security.ima", c"security.evm", c"security.SMACK64"];
    match rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOTSUP) => Ok(false),
        Err(Errno::PERM | Errno::INVAL) if label.contains(&name) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// The attributes that a copy of a file or directory does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Attributes that the file system cannot keep.
    pub(super) names: Vec<String>,
    /// There are more than the kernel lists; what matters to permissions is there all the same.
    pub(super) unlisted: bool,
}

/// Gives a file or directory owner, mode, attributes and times of another. Returns the attributes that the copy lacks.
pub(super) fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<Lost> {
    // The owner first: changing it clears set-id bits and file capabilities.
    let mode = Mode::from_raw_mode(stat.st_mode).bits() & 0o7777;
    set_owned(to, Owned { mode, uid: stat.st_uid, gid: stat.st_gid })?;
    let lost = copy_xattrs(from, to)?;
    if lost.names.iter().any(|name| name.as_bytes() == ACCESS.to_bytes()) {
        // With an access list these bits are the most that anybody in it has, and not the group's own.
        rustix::fs::fchmod(to, Mode::from_raw_mode(mode & !0o070))?;
    }
    let nanos = |n| i64::try_from(n).unwrap_or(0);
    rustix::fs::futimens(
        to,
        &Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: nanos(stat.st_atime_nsec) },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: nanos(stat.st_mtime_nsec) },
        },
    )?;
    Ok(lost)
}

/// The access list of a file.
const ACCESS: &CStr = c"system.posix_acl_access";

/// Attributes that decide who may use a file, and how.
const PERMISSIONS: [&CStr; 3] = [ACCESS, c"system.posix_acl_default", c"security.capability"];

fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<Lost> {
    let mut lost = Lost::default();
    let names = match xattr_names(from) {
        Err(Errno::TOOBIG) if !without("attribute-lists") => {
            lost.unlisted = true;
            for name in PERMISSIONS {
                copy_xattr(from, to, name, &mut lost)?;
            }
            return Ok(lost);
        }
        other => other?,
    };
    for name in names.split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // Metadata of an overlay of the host: useless in the zone, misleading to a later overlay.
        if !name.to_bytes().starts_with(b"trusted.overlay.") {
            copy_xattr(from, to, name, &mut lost)?;
        }
    }
    Ok(lost)
}

/// Returns the names of a file's attributes, each with a NUL behind it. `E2BIG` when they are longer than 64 KiB
/// together, which is the kernel's own limit.
fn xattr_names(from: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let size = match rustix::fs::flistxattr_query(from) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other?,
    };
    // Slack for attributes that are added between the two calls.
    let mut names = vec![0u8; size + 1024];
    let size = rustix::fs::flistxattr(from, &mut names[..])?;
    names.truncate(size);
    Ok(names)
}

/// Copies one attribute, if the file has it.
fn copy_xattr(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, lost: &mut Lost) -> io::Result<()> {
    let size = match rustix::fs::fgetxattr_query(from, name) {
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0u8; size];
    let size = rustix::fs::fgetxattr(from, name, &mut value[..])?;
    let kept = match set_xattr(to, name, &value[..size]) {
        Err(e) => match Errno::from_io_error(&e) {
            Some(Errno::TOOBIG | Errno::RANGE) => false,
            // Some file systems have a block for all attributes of a file and say this when it is full.
            Some(Errno::NOSPC) if has_room(to)? => false,
            _ => return Err(e),
        },
        Ok(kept) => kept,
    };
    if !kept {
        lost.names.push(name.to_string_lossy().into_owned());
    }
    Ok(())
}

/// Says whether a file system has room for an attribute of any size.
fn has_room(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::fstatfs(fd)?;
    let free = stat.f_bavail.saturating_mul(u64::try_from(stat.f_bsize).unwrap_or(0));
    Ok(free > 1 << 20)
}
