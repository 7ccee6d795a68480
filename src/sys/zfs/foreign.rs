//! Requests that another process has written for the control device, carried out from a copy.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::device::ZfsCmd;
use super::errno;

/// Bytes of a request.
pub const SIZE: usize = size_of::<ZfsCmd>();

/// A copy of a request. Its addresses and descriptors mean something in the other process only.
#[derive(Clone)]
pub struct ForeignRequest {
    command: Box<ZfsCmd>,
}

/// A piece of the other process' memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// Where it begins; 0 for none.
    pub at: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// The values in place of the addresses and descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// The packed arguments; none: the request has none.
    pub source: Option<&'a [u8]>,
    /// The second packed list, properties of the older receive.
    pub local: Option<&'a [u8]>,
    /// The stream of the older receive, whose number the place counter carries.
    pub stream: Option<BorrowedFd<'a>>,
    /// Most bytes that may come back.
    pub room: usize,
}

/// The end of a request.
pub struct IoctlReply {
    /// 0, or the error number.
    pub errno: i32,
    /// The request as the kernel has left it, with the other process' addresses and descriptors.
    pub request: ForeignRequest,
    /// The packed list that came back.
    pub answer: Vec<u8>,
}

impl ForeignRequest {
    /// Reads a request; none if the bytes are not as many as one has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SIZE {
            return None;
        }
        // SAFETY: as many bytes as the structure has, which holds integers only: any bits are a value.
        let command = unsafe { bytes.as_ptr().cast::<ZfsCmd>().read_unaligned() };
        Some(Self { command: Box::new(command) })
    }

    /// Returns the bytes of the request.
    pub fn as_bytes(&self) -> &[u8] {
        let start = std::ptr::from_ref::<ZfsCmd>(&self.command).cast::<u8>();
        // SAFETY: the structure lives as long as `self`; all its padding is named, so that every byte is set.
        unsafe { std::slice::from_raw_parts(start, SIZE) }
    }

    /// Returns the name; none if it is not text.
    pub fn name(&self) -> Option<&str> {
        text(&self.command.name)
    }

    /// Returns the second name or property; none if it is not text.
    pub fn value(&self) -> Option<&str> {
        text(&self.command.value)
    }

    /// Returns the origin of a clone; none if it is not text.
    pub fn origin(&self) -> Option<&str> {
        text(&self.command.string)
    }

    /// Returns the number that marks a place, or "received", or a descriptor.
    pub fn cookie(&self) -> u64 {
        self.command.cookie
    }

    /// Returns where the packed arguments are.
    pub fn source(&self) -> MemoryRange {
        MemoryRange { at: self.command.src, size: self.command.src_size }
    }

    /// Returns where the second packed list is.
    pub fn local(&self) -> MemoryRange {
        MemoryRange { at: self.command.conf, size: self.command.conf_size }
    }

    /// Returns where the answer goes.
    pub fn answer(&self) -> MemoryRange {
        MemoryRange { at: self.command.dst, size: self.command.dst_size }
    }

    /// Carries the request out with these inputs, through a descriptor of the control device.
    pub fn perform(&self, device: BorrowedFd<'_>, number: u32, inputs: &Inputs<'_>) -> IoctlReply {
        let mut command = self.command.clone();
        let mut buffer = vec![0u8; inputs.room];
        let piece = |bytes: Option<&[u8]>| bytes.map_or((0, 0), |b| (b.as_ptr() as u64, b.len() as u64));
        (command.src, command.src_size) = piece(inputs.source);
        (command.conf, command.conf_size) = piece(inputs.local);
        command.dst = if buffer.is_empty() { 0 } else { buffer.as_mut_ptr() as u64 };
        (command.dst_size, command.dst_filled) = (buffer.len() as u64, 0);
        // Nothing that is checked uses these; whatever they point to is not ours.
        (command.history, command.history_range, command.cleanup_fd) = (0, [0, 0], -1);
        let stream = inputs.stream.map(|fd| u64::from(fd.as_raw_fd().unsigned_abs()));
        if let Some(number) = stream {
            command.cookie = number;
        }
        // SAFETY: the structure has the size and layout that these ioctls read and write; its pointers
        // cover exactly the buffers, which outlive the call, or are null.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::Ioctl::from(number), &raw mut *command) };
        let errno =
            if done == 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(errno::EIO) };
        let size = usize::try_from(command.dst_size).unwrap_or(usize::MAX);
        buffer.truncate(if command.dst_filled != 0 { size } else { 0 });
        let ours = &self.command;
        (command.src, command.src_size) = (ours.src, ours.src_size);
        (command.conf, command.conf_size) = (ours.conf, ours.conf_size);
        command.dst = ours.dst;
        (command.history, command.history_range) = (ours.history, ours.history_range);
        command.cleanup_fd = ours.cleanup_fd;
        // The kernel puts the number of bytes read there, unless it fails before it reads.
        if stream == Some(command.cookie) {
            command.cookie = ours.cookie;
        }
        IoctlReply { errno, request: Self { command }, answer: buffer }
    }
}

/// Returns the text before the first zero byte; of a field without one, all but its last byte.
fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len() - 1);
    std::str::from_utf8(&field[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut bytes = vec![0u8; SIZE];
        bytes[..6].copy_from_slice(b"tank/a");
        bytes[4096..4104].copy_from_slice(&77u64.to_ne_bytes());
        bytes[4104..4112].copy_from_slice(&5u64.to_ne_bytes());
        bytes[4112..4120].copy_from_slice(&88u64.to_ne_bytes());
        bytes[4144..4149].copy_from_slice(b"quota");
        bytes[12_600..12_608].copy_from_slice(&99u64.to_ne_bytes());
        bytes[12_616..12_624].copy_from_slice(&1u64.to_ne_bytes());
        let request = ForeignRequest::from_bytes(&bytes).expect("the size is right");
        assert_eq!(
            (request.name(), request.value(), request.origin()),
            (Some("tank/a"), Some("quota"), Some(""))
        );
        assert_eq!(request.source(), MemoryRange { at: 77, size: 5 });
        assert_eq!((request.answer().at, request.local().at, request.cookie()), (88, 99, 1));
        assert_eq!(request.as_bytes(), bytes);
        assert!(ForeignRequest::from_bytes(&bytes[1..]).is_none());
        bytes[0] = 0xff;
        assert!(ForeignRequest::from_bytes(&bytes).expect("the size is right").name().is_none());
        bytes[..4096].fill(b'x');
        assert_eq!(
            ForeignRequest::from_bytes(&bytes).expect("the size is right").name().map(str::len),
            Some(4095)
        );
    }

    #[test]
    fn what_is_another_process_stays_its_own() {
        let mut bytes = vec![0xa5u8; SIZE];
        bytes[4128..4132].fill(0);
        let request = ForeignRequest::from_bytes(&bytes).expect("the size is right");
        let null = std::fs::File::open("/dev/null").expect("there is one");
        let inputs = Inputs { source: Some(b"x"), local: Some(b"y"), stream: None, room: 16 };
        let done = request.perform(std::os::fd::AsFd::as_fd(&null), 0x5a12, &inputs);
        assert_eq!((done.errno, done.answer.len()), (libc::ENOTTY, 0));
        bytes[4120..4128].copy_from_slice(&16u64.to_ne_bytes());
        assert!(done.request.as_bytes() == bytes, "only the answer's size is new");
    }
}
