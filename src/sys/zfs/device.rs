//! `/dev/zfs`: the ioctls that libzfs_core lacks.
//!
//! Every one takes a `struct zfs_cmd` whose layout has not changed from 2.2 to 2.4 (13,744 bytes on
//! 64-bit machines), with pointers to packed lists. [`ZfsRequest`] owns such a structure and fills the
//! pointers in only for the time of the call.

#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::errno;

/// The calls used here, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ioctl {
    /// The configurations of all pools.
    PoolConfigs = 0x5a04,
    /// Configuration and statistics of a pool.
    PoolStats = 0x5a05,
    /// Properties and statistics of a dataset.
    ObjsetStats = 0x5a12,
    /// The next child of a dataset.
    DatasetListNext = 0x5a14,
    /// The next snapshot of a dataset.
    SnapshotListNext = 0x5a15,
    /// Set properties.
    SetProp = 0x5a16,
    /// A pool's properties.
    PoolGetProps = 0x5a27,
    /// Give or take permissions of users.
    SetFsacl = 0x5a28,
    /// The permissions of users.
    GetFsacl = 0x5a29,
    /// Inherit a property, or take its received value.
    InheritProp = 0x5a2b,
    /// The properties as received.
    ObjsetRecvdProps = 0x5a33,
    /// Give a dataset to a user namespace.
    UsernsAttach = 0x5a85,
    /// Take a dataset from a user namespace.
    UsernsDetach = 0x5a86,
}

/// The data in every answer about a dataset (`dmu_objset_stats_t`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct RawStats {
    clones: u64,
    creation_txg: u64,
    guid: u64,
    kind: u32,
    is_snapshot: u8,
    inconsistent: u8,
    redacted: u8,
    origin: [u8; 256],
    _pad: u8,
}

/// `struct zfs_cmd`. Fields that we never touch are only there for their size.
#[derive(Clone)]
#[repr(C)]
pub(super) struct ZfsCmd {
    pub(super) name: [u8; 4096],
    pub(super) src: u64,
    pub(super) src_size: u64,
    pub(super) dst: u64,
    pub(super) dst_size: u64,
    pub(super) dst_filled: i32,
    _pad: i32,
    pub(super) history: u64,
    pub(super) value: [u8; 8192],
    pub(super) string: [u8; 256],
    guid: u64,
    pub(super) conf: u64,
    pub(super) conf_size: u64,
    pub(super) cookie: u64,
    objset_type: u64,
    take_away: u64,
    /// Length and address.
    pub(super) history_range: [u64; 2],
    obj: u64,
    _iflags: u64,
    _share: [u64; 4],
    stats: RawStats,
    _begin: [u64; 38],
    _inject: [u64; 44],
    _defer_destroy: u32,
    _flags: u32,
    _action_handle: u64,
    pub(super) cleanup_fd: i32,
    simple: u8,
    _pad2: [u8; 3],
    _objects: [u64; 3],
    _stat: [u64; 5],
    _zoneid: u64,
}

const _: () = {
    assert!(size_of::<ZfsCmd>() == 13_744);
    assert!(size_of::<RawStats>() == 288 && offset_of!(RawStats, _pad) == 287);
    assert!(offset_of!(ZfsCmd, src) == 4096);
    assert!(offset_of!(ZfsCmd, value) == 4144);
    assert!(offset_of!(ZfsCmd, string) == 12_336);
    assert!(offset_of!(ZfsCmd, conf) == 12_600);
    assert!(offset_of!(ZfsCmd, cookie) == 12_616);
    assert!(offset_of!(ZfsCmd, history_range) == 12_640);
    assert!(offset_of!(ZfsCmd, objset_type) == 12_624);
    assert!(offset_of!(ZfsCmd, take_away) == 12_632);
    assert!(offset_of!(ZfsCmd, stats) == 12_704);
    assert!(offset_of!(ZfsCmd, cleanup_fd) == 13_664);
};

/// The kernel's counts for a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The guid, which never changes.
    pub guid: u64,
    /// The transaction in which it was made.
    pub creation_txg: u64,
    /// Clones of this snapshot.
    pub clones: u64,
    /// 2 for a filesystem, 3 for a volume.
    pub kind: u32,
    /// Is a snapshot.
    pub is_snapshot: bool,
    /// Is being received or destroyed.
    pub inconsistent: bool,
    /// The snapshot from which it was cloned; empty if it was not.
    pub origin: String,
}

/// One request to the control device.
#[derive(Clone)]
pub struct ZfsRequest {
    command: Box<ZfsCmd>,
    source: Vec<u8>,
}

/// The largest answer that is asked for: more than any dataset or pool has.
const ANSWER_MAX: usize = 256 << 20;

impl ZfsRequest {
    /// Starts a request about a dataset or pool.
    ///
    /// # Errors
    /// `ENAMETOOLONG` or `EINVAL` when the name cannot be put into a request.
    pub fn new(name: &str) -> Result<Self, i32> {
        // SAFETY: the structure holds integers and arrays of integers; all zeros is a value of it.
        let command: Box<ZfsCmd> = Box::new(unsafe { std::mem::zeroed() });
        let mut request = Self { command, source: Vec::new() };
        put(&mut request.command.name, name)?;
        Ok(request)
    }

    /// Adds a text: the name of the property for [`Ioctl::InheritProp`].
    ///
    /// # Errors
    /// As [`ZfsRequest::new`].
    pub fn value(mut self, text: &str) -> Result<Self, i32> {
        put(&mut self.command.value, text)?;
        Ok(self)
    }

    /// Adds a packed list of arguments.
    pub fn list(mut self, packed: Vec<u8>) -> Self {
        self.source = packed;
        self
    }

    /// Sets the number that marks a place in an enumeration, or "received" for properties.
    pub fn cookie(mut self, cookie: u64) -> Self {
        self.command.cookie = cookie;
        self
    }

    /// Has permissions taken away that would be given otherwise.
    pub fn revoke(mut self) -> Self {
        self.command.take_away = 1;
        self
    }

    /// Asks for the bare statistics, without properties.
    pub fn simple(mut self) -> Self {
        self.command.simple = 1;
        self
    }

    /// Adds a descriptor.
    pub fn descriptor(mut self, fd: BorrowedFd<'_>) -> Self {
        self.command.cleanup_fd = fd.as_raw_fd();
        // A field that the C library sets; no released kernel module looks at it.
        self.command.objset_type = 2;
        self
    }

    /// Goes on with an enumeration after an answer: same request, name and place of before.
    ///
    /// # Errors
    /// As [`ZfsRequest::new`].
    pub fn next(&mut self, name: &str, cookie: u64) -> Result<(), i32> {
        self.command.name.fill(0);
        self.command.cookie = cookie;
        put(&mut self.command.name, name)
    }
}

fn put(field: &mut [u8], text: &str) -> Result<(), i32> {
    if text.len() >= field.len() {
        return Err(errno::ENAMETOOLONG);
    }
    if text.contains('\0') {
        return Err(errno::EINVAL);
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

fn get(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// The end of a request that succeeded.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The name, which enumerations change.
    pub name: String,
    /// The place in an enumeration.
    pub cookie: u64,
    /// The list that came back, packed.
    pub list: Vec<u8>,
    /// The data that is always returned for a dataset.
    pub stats: Stats,
}

/// The control device.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

impl Device {
    /// Opens `/dev/zfs`.
    ///
    /// # Errors
    /// The system's: not there, or not allowed.
    pub fn open() -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/zfs")?;
        Ok(Self { fd: file.into() })
    }

    /// Sends a request. `answer` says how many bytes are expected back (0: no list); when that was
    /// too few, asks again from the start.
    ///
    /// # Errors
    /// The error number, with the list that came all the same (the properties that could not be set).
    pub fn call(&self, number: Ioctl, request: &ZfsRequest, answer: usize) -> Result<Reply, (i32, Vec<u8>)> {
        let mut room = answer;
        loop {
            let mut command = request.command.clone();
            let mut buffer = vec![0u8; room];
            let errno = self.once(number, &mut command, &request.source, &mut buffer);
            if errno == errno::EINTR {
                continue;
            }
            let filled = command.dst_filled != 0;
            let needed = usize::try_from(command.dst_size).unwrap_or(usize::MAX);
            if errno == errno::ENOMEM && room > 0 && room < needed && needed <= ANSWER_MAX {
                // It may have grown by the time we ask again.
                room = needed + needed / 4;
                continue;
            }
            buffer.truncate(if filled { needed.min(room) } else { 0 });
            if errno != 0 {
                return Err((errno, buffer));
            }
            return Ok(Reply {
                name: get(&command.name),
                cookie: command.cookie,
                list: buffer,
                stats: Stats {
                    guid: command.stats.guid,
                    creation_txg: command.stats.creation_txg,
                    clones: command.stats.clones,
                    kind: command.stats.kind,
                    is_snapshot: command.stats.is_snapshot != 0,
                    inconsistent: command.stats.inconsistent != 0,
                    origin: get(&command.stats.origin),
                },
            });
        }
    }

    fn once(&self, number: Ioctl, command: &mut ZfsCmd, source: &[u8], buffer: &mut [u8]) -> i32 {
        command.src = if source.is_empty() { 0 } else { source.as_ptr() as u64 };
        command.src_size = source.len() as u64;
        command.dst = if buffer.is_empty() { 0 } else { buffer.as_mut_ptr() as u64 };
        command.dst_size = buffer.len() as u64;
        // SAFETY: the structure has the size and layout that these ioctls read and write; its two
        // pointers cover exactly the buffers, which outlive the call.
        let done =
            unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::Ioctl::from(number as u32), &raw mut *command) };
        if done == 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(errno::EIO) }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit() {
        assert_eq!(ZfsRequest::new(&"x".repeat(4096)).err(), Some(errno::ENAMETOOLONG));
        assert_eq!(ZfsRequest::new("a\0b").err(), Some(errno::EINVAL));
        let mut request = ZfsRequest::new("tank/a").unwrap().value("quota").unwrap().cookie(7);
        assert_eq!((get(&request.command.name), request.command.cookie), ("tank/a".to_owned(), 7));
        request.next("t", 8).unwrap();
        assert_eq!((get(&request.command.name), request.command.cookie), ("t".to_owned(), 8));
    }
}
