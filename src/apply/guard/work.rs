//! One request, from the copy to the answer, in a process of its own.
//!
//! | # | as | step |
//! |---|---|---|
//! | 1 | host | open the caller, whose ids the guard has read: it must still wait afterwards |
//! | 2 | host | the user namespace is the zone's own, the descriptor the control device |
//! | 3 | host | copy the request and its lists |
//! | 4 | host | decide ([`crate::guard`]) |
//! | 5 | caller | ids, user namespace, capabilities of the caller |
//! | 6 | caller | the ioctl, on the caller's own descriptor, with the copy |
//! | 7 | caller | write the answer back |
//!
//! From the third step on nothing that the caller changes makes a difference.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::FileType;

use super::caller::{Identity, Status, WaitingThread, identity, printable};
use crate::guard::{Checked, CheckedRequest, Error, Locks, ReceiveTarget, Verdict, calls, decide};
use crate::sys::assume::{become_other, deadline};
use crate::sys::channel::Channel;
use crate::sys::process;
use crate::sys::seccomp::{Listener, Waiting};
use crate::sys::zfs::foreign::{self, ForeignRequest, Inputs, MemoryRange};
use crate::zfs::nvlist::{List, NvValue};
use crate::zfs::{DatasetError, PropertySource, Zfs};

/// Longest list of arguments. The largest that a program sends, all properties of a dataset with
/// hundreds of long values, has less than half a million bytes.
const LIST_MAX: u64 = 2 << 20;

/// Most that is given back. The kernel's own lists of errors have a few thousand bytes.
const ANSWER_MAX: u64 = 16 << 20;

/// How long the caller's memory may take to be read or written, in seconds. Memory that another program
/// serves (userfaultfd(2), FUSE) may take for ever.
const COPY_SECONDS: u32 = 10;

/// The input of a worker.
pub struct GuardJob<'a> {
    /// The locked properties.
    pub locks: &'a Locks,
    /// The zone's user namespace.
    pub users: Identity,
    /// Where the request came from.
    pub listener: &'a Listener,
    /// The request.
    pub waiting: Waiting,
    /// The data that was read of its caller meanwhile.
    pub status: &'a Result<Status, String>,
    /// Where the log is written.
    pub reports: &'a Channel,
}

impl GuardJob<'_> {
    /// Does it and ends the process.
    pub fn run(&self) -> ! {
        process::hide();
        deadline(COPY_SECONDS);
        if let Some(errno) = self.answer() {
            self.listener.answer(self.waiting.id, errno);
        }
        process::exit_now(0)
    }

    fn report(&self, text: &str) {
        let line: String = text.chars().map(printable).take(1000).collect();
        let _ = self.reports.send(&line, &[]);
    }

    /// Returns 0 or the error number; none when the caller is gone.
    fn answer(&self) -> Option<i32> {
        let open = |status| WaitingThread::open(self.waiting.thread, status).map_err(|e| e.to_string());
        let opened = self.status.as_ref().map_err(Clone::clone).and_then(open);
        // Its number may have been given to another process meanwhile.
        if !self.listener.is_waiting(self.waiting.id) {
            return None;
        }
        let caller = match opened {
            Ok(caller) => caller,
            Err(e) => {
                self.report(&format!("refused: thread {} cannot be looked at: {e}", self.waiting.thread));
                return Some(libc::EPERM);
            }
        };
        let number = u32::try_from(self.waiting.args[1] & 0xffff_ffff).unwrap_or(0);
        let Some((call, checked)) = calls::find(number).and_then(|c| match c.rule {
            calls::IoctlRule::Check(what) => Some((c, what)),
            _ => None,
        }) else {
            return Some(libc::EPERM);
        };
        let errno = match self.handle(&caller, number, checked) {
            Ok(errno) => {
                log::debug!("{} of thread {}: answered with {errno}", call.name, self.waiting.thread);
                errno
            }
            Err(RequestFailure { errno, why }) => {
                log::debug!("{} of thread {}: refused with {errno}", call.name, self.waiting.thread);
                if let Some(why) = why {
                    self.report(&format!("refused {}: {why}; {}", call.name, caller.status.shown));
                }
                errno
            }
        };
        Some(errno)
    }

    fn handle(&self, caller: &WaitingThread<'_>, number: u32, call: Checked) -> Result<i32, RequestFailure> {
        if identity(&caller.users).map_err(quiet)? != self.users {
            return Err(RequestFailure::new(libc::EPERM, "the caller is in another user namespace"));
        }
        let device = caller.descriptor(low(self.waiting.args[0])).map_err(quiet)?;
        if !is_control_device(&device).map_err(quiet)? {
            return Err(RequestFailure { errno: libc::ENOTTY, why: None });
        }
        let place = self.waiting.args[2];
        let bytes = caller.read(MemoryRange { at: place, size: foreign::SIZE as u64 }).map_err(quiet)?;
        let copy =
            ForeignRequest::from_bytes(&bytes).ok_or_else(|| quiet(io::ErrorKind::InvalidData.into()))?;
        let request = copied(caller, &copy, call)?;
        let target = target(&request);
        deadline(0);

        let (verb, name) = (call.verb(), request.name.clone());
        let (mut request, left_out) = match decide(request, self.locks, &target) {
            Verdict::Perform { request, left_out } => (request, left_out),
            Verdict::Refuse { error, reason } => {
                let errno = match error {
                    Error::NotPermitted => libc::EPERM,
                    Error::NotFound => libc::ENOENT,
                    Error::Invalid => libc::EINVAL,
                };
                return Err(RequestFailure::new(errno, &format!("{verb} on {name}: {reason}")));
            }
        };
        let stream = stream(caller, &copy, &mut request)?;
        let packed = |list: &Option<List>| {
            let pack =
                |list: &List| list.to_native().map_err(|e| RequestFailure::new(libc::EINVAL, &e.to_string()));
            list.as_ref().map(pack).transpose()
        };
        let (source, local) = (packed(&request.arguments)?, packed(&request.local)?);
        let room = copy.answer().size.min(ANSWER_MAX);
        let legacy = call == Checked::Receive;
        let inputs = Inputs {
            source: source.as_deref(),
            local: local.as_deref(),
            stream: stream.as_ref().filter(|_| legacy).map(AsFd::as_fd),
            room: usize::try_from(room).unwrap_or(0),
        };
        become_other(&caller.status.credentials, caller.users.as_fd())
            .map_err(|e| RequestFailure::new(libc::EPERM, &format!("cannot act as the caller: {e}")))?;
        let done = copy.perform(device.as_fd(), number, &inputs);

        deadline(COPY_SECONDS);
        let answer = copy.answer();
        let returned = if done.answer.is_empty() { Ok(()) } else { caller.write(answer.at, &done.answer) };
        let returned = returned.and_then(|()| caller.write(place, done.request.as_bytes()));
        if !left_out.is_empty() && done.errno == 0 {
            let names = left_out.join(" ");
            self.report(&format!("left out of {verb} on {name}: {names}; {}", caller.status.shown));
        }
        Ok(match returned {
            Err(_) if done.errno == 0 => libc::EFAULT,
            _ => done.errno,
        })
    }
}

/// An early end.
struct RequestFailure {
    errno: i32,
    /// For the log; none for an error of the caller's alone.
    why: Option<String>,
}

impl RequestFailure {
    fn new(errno: i32, why: &str) -> Self {
        Self { errno, why: Some(why.to_owned()) }
    }
}

/// An error as the kernel would have given it.
fn quiet(error: io::Error) -> RequestFailure {
    RequestFailure { errno: error.raw_os_error().unwrap_or(libc::EPERM), why: None }
}

fn low(argument: u64) -> i32 {
    u32::try_from(argument & 0xffff_ffff).unwrap_or(u32::MAX).cast_signed()
}

fn is_control_device(fd: &OwnedFd) -> io::Result<bool> {
    let theirs = rustix::fs::fstat(fd)?;
    // Where there is no device, no process can have it open.
    let Ok(ours) = rustix::fs::stat("/dev/zfs") else { return Ok(false) };
    let is_device = |mode| FileType::from_raw_mode(mode) == FileType::CharacterDevice;
    Ok(is_device(ours.st_mode) && is_device(theirs.st_mode) && ours.st_rdev == theirs.st_rdev)
}

/// Copies the checked part of a request.
fn copied(
    caller: &WaitingThread<'_>,
    copy: &ForeignRequest,
    call: Checked,
) -> Result<CheckedRequest, RequestFailure> {
    let text = |field: Option<&str>| {
        // No name of ZFS' is anything but ASCII.
        field.map(str::to_owned).ok_or_else(|| RequestFailure::new(libc::EINVAL, "a name is not text"))
    };
    let list = |piece: MemoryRange| -> Result<Option<List>, RequestFailure> {
        if piece.size == 0 {
            return Ok(None);
        }
        if piece.size > LIST_MAX {
            return Err(RequestFailure::new(libc::E2BIG, &format!("a list has {} bytes", piece.size)));
        }
        let bytes = caller.read(piece).map_err(quiet)?;
        // The length is that of the list, as the kernel does it: the buffer may be longer.
        let (list, _) = List::decode_prefix(&bytes)
            .map_err(|e| RequestFailure::new(libc::EINVAL, &format!("a list cannot be read: {e}")))?;
        Ok(Some(list))
    };
    // Other requests have something else there, or nothing.
    let (by_name, by_stream) = match call {
        Checked::Inherit | Checked::Rename => (true, false),
        Checked::Receive => (true, true),
        _ => (false, false),
    };
    Ok(CheckedRequest {
        call,
        name: text(copy.name())?,
        value: if by_name { text(copy.value())? } else { String::new() },
        origin: if by_stream { text(copy.origin())? } else { String::new() },
        cookie: copy.cookie(),
        arguments: match call {
            Checked::Inherit | Checked::Destroy | Checked::Rename => None,
            _ => list(copy.source())?,
        },
        local: if by_stream { list(copy.local())? } else { None },
    })
}

/// Looks at the dataset that properties are received into.
fn target(request: &CheckedRequest) -> ReceiveTarget {
    let Some(name) = request.received_into() else { return ReceiveTarget::default() };
    // A dataset that cannot be read may have any property set.
    let unknown = || ReceiveTarget { set: BTreeSet::from(["zoned".to_owned()]) };
    let Ok(zfs) = Zfs::open() else { return unknown() };
    let mut set = BTreeSet::new();
    match zfs.dataset(name) {
        Ok(dataset) => {
            let own = |s: &PropertySource| matches!(s, PropertySource::Local | PropertySource::Received);
            set.extend(dataset.props.into_iter().filter(|(_, p)| own(&p.source)).map(|(name, _)| name));
        }
        Err(DatasetError::DatasetNotFound(_) | DatasetError::NameInvalid(_)) => {
            return ReceiveTarget::default();
        }
        Err(_) => return unknown(),
    }
    if let Ok(received) = zfs.received_props(name) {
        set.extend(received.into_keys());
    }
    ReceiveTarget { set }
}

/// Takes a copy of the descriptor that a stream is received from, and puts its number into the request.
fn stream(
    caller: &WaitingThread<'_>,
    copy: &ForeignRequest,
    request: &mut CheckedRequest,
) -> Result<Option<OwnedFd>, RequestFailure> {
    match request.call {
        Checked::Receive => {
            let fd = caller.descriptor(low(copy.cookie())).map_err(quiet)?;
            // An odd number that is no count of bytes of a stream: see `ForeignRequest::perform`.
            const PLACE: i32 = 1021;
            let fd = rustix::io::fcntl_dupfd_cloexec(&fd, PLACE).map_err(|e| quiet(e.into()))?;
            Ok(Some(fd))
        }
        Checked::ReceiveNew => {
            let Some(arguments) = &mut request.arguments else { return Ok(None) };
            // Without effect since OpenZFS 2.0, and the number has no meaning here.
            arguments.remove("cleanup_fd");
            let Some(NvValue::I32(number)) = arguments.get("input_fd") else {
                return Err(RequestFailure { errno: libc::EINVAL, why: None });
            };
            let fd = caller.descriptor(*number).map_err(quiet)?;
            arguments.insert("input_fd", NvValue::I32(fd.as_raw_fd()));
            Ok(Some(fd))
        }
        _ => Ok(None),
    }
}
