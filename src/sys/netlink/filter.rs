//! Programs on the way in and out of a link: the queue discipline `clsact` and its filters
//! (tc-bpf(8)).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::codec::{Builder, attribute, text, u32_at};
use super::{CREATE, EXCLUSIVE, NetError, REPLACE, Socket};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// The program's result is the verdict (`TCA_BPF_FLAG_ACT_DIRECT`).
const DIRECT: u32 = 1;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// The parent of the queue that a link sends by (`TC_H_ROOT`).
const ROOT: u32 = 0xffff_ffff;
/// Least bytes of a token bucket, and of the queue before it. A sender hands over up to 64 KiB at once, and
/// several of these before it learns how much the link takes.
const BURST: u32 = 20_000;
const QUEUE: u32 = 256_000;

/// Handle and parent of the one `clsact` of a link.
const CLSACT: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
/// Every protocol (`ETH_P_ALL`), in network order.
const ALL: u32 = 0x0003_u16.to_be() as u32;
/// Our filter comes first; packets that it does not match go on to the others.
const PRIORITY: u32 = 1;
/// The filter's number, `zone`, so that it is not confused with a foreign one.
const HANDLE: u32 = 0x7a6f_6e65;

/// Which way a program looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Packets that the link receives.
    In,
    /// Packets that the link sends.
    Out,
}

impl Direction {
    fn parent(self) -> u32 {
        match self {
            Self::In => 0xffff_fff2,
            Self::Out => 0xffff_fff3,
        }
    }
}

/// `struct tcmsg`.
fn header(link: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (at, value) in [(4, link), (8, handle), (12, parent), (16, info)] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// Makes programs possible on a link. Says whether it did: false when they were already.
///
/// # Errors
/// [`NetError`]; `ENOENT` for a kernel without `clsact`.
pub fn prepare(socket: &mut Socket, link: u32) -> Result<bool, NetError> {
    let request = Builder::new(RTM_NEWQDISC, CREATE | EXCLUSIVE)
        .fixed(&header(link, CLSACT, CLSACT_PARENT, 0))
        .text(TCA_KIND, "clsact");
    match socket.change(request) {
        Ok(()) => Ok(true),
        Err(e) if e.number() == libc::EEXIST => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes back what [`prepare`] has done, with all programs of the link.
///
/// # Errors
/// [`NetError`].
pub fn unprepare(socket: &mut Socket, link: u32) -> Result<(), NetError> {
    socket.change(Builder::new(RTM_DELQDISC, 0).fixed(&header(link, CLSACT, CLSACT_PARENT, 0)))
}

/// Has a link send no more than so many bits per second: a token bucket filter (tc-tbf(8)), which queues excess
/// packets for up to a tenth of a second, or up to 256,000 bytes of them where that is longer.
///
/// # Errors
/// [`NetError`]; `ENOENT` for a kernel without such a queue.
pub fn shape(socket: &mut Socket, link: u32, bits: u64) -> Result<(), NetError> {
    let rate = bits / 8;
    let part = |divisor: u64, least: u32| u32::try_from(rate / divisor).unwrap_or(u32::MAX).max(least);
    // At least a few packets, also of the largest size that is common.
    let (burst, queue) = (part(100, BURST), part(10, QUEUE));
    // `struct tc_tbf_qopt`: two of `struct tc_ratespec` (for ethernet), the second one nothing; limit of the queue;
    // bucket, which another attribute gives in bytes; nothing.
    let mut options = [0; 36];
    options[1] = 1;
    let plain = u32::try_from(rate).unwrap_or(u32::MAX);
    options[8..12].copy_from_slice(&plain.to_ne_bytes());
    options[24..28].copy_from_slice(&queue.to_ne_bytes());
    let request = Builder::new(RTM_NEWQDISC, CREATE | REPLACE)
        .fixed(&header(link, 0, ROOT, 0))
        .text(TCA_KIND, "tbf")
        .nest(TCA_OPTIONS, |b| {
            let b = b.bytes(TCA_TBF_PARMS, &options).number(TCA_TBF_BURST, burst);
            if rate > u64::from(plain) { b.bytes(TCA_TBF_RATE64, &rate.to_ne_bytes()) } else { b }
        });
    socket.change(request)
}

/// Attaches a program to a link, in one step in place of the one that zones have there.
///
/// # Errors
/// [`NetError`]; `ENOENT` for a kernel without `cls_bpf`.
pub fn put(
    socket: &mut Socket,
    link: u32,
    way: Direction,
    program: BorrowedFd<'_>,
    name: &str,
) -> Result<(), NetError> {
    let request = Builder::new(RTM_NEWTFILTER, CREATE)
        .fixed(&header(link, HANDLE, way.parent(), PRIORITY << 16 | ALL))
        .text(TCA_KIND, "bpf")
        .nest(TCA_OPTIONS, |b| {
            b.number(TCA_BPF_FD, program.as_raw_fd().cast_unsigned())
                .text(TCA_BPF_NAME, name)
                .number(TCA_BPF_FLAGS, DIRECT)
        });
    socket.change(request)
}

/// Takes a program off a link.
///
/// # Errors
/// [`NetError`]; `ENOENT` when there is none.
pub fn remove(socket: &mut Socket, link: u32, way: Direction) -> Result<(), NetError> {
    let request = Builder::new(RTM_DELTFILTER, 0)
        .fixed(&header(link, HANDLE, way.parent(), PRIORITY << 16 | ALL))
        .text(TCA_KIND, "bpf");
    socket.change(request)
}

/// A program on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// Its name.
    pub name: String,
    /// Its number in the kernel.
    pub id: u32,
}

/// Returns the program that zones have put on a link.
///
/// # Errors
/// [`NetError`].
pub fn find(socket: &mut Socket, link: u32, way: Direction) -> Result<Option<AttachedProgram>, NetError> {
    let list = list(socket, link, way, |fixed, rest| {
        let options = attribute(rest, TCA_OPTIONS)?;
        let ours = u32_at(fixed, 8) == Some(HANDLE) && attribute(rest, TCA_KIND).map(text)? == "bpf";
        ours.then(|| {
            Some(AttachedProgram {
                name: text(attribute(options, TCA_BPF_NAME)?),
                id: attribute(options, TCA_BPF_ID).and_then(|v| u32_at(v, 0))?,
            })
        })?
    })?;
    Ok(list.into_iter().next())
}

/// Returns how many filters a link has, of whomever.
///
/// # Errors
/// [`NetError`].
pub fn count(socket: &mut Socket, link: u32, way: Direction) -> Result<usize, NetError> {
    // The kernel lists the chain of filters of a priority as well, as an element without a handle.
    let list = list(socket, link, way, |fixed, _| (u32_at(fixed, 8) != Some(0)).then_some(()))?;
    Ok(list.len())
}

fn list<T>(
    socket: &mut Socket,
    link: u32,
    way: Direction,
    each: impl Fn(&[u8], &[u8]) -> Option<T>,
) -> Result<Vec<T>, NetError> {
    let request = Builder::new(RTM_GETTFILTER, 0).fixed(&header(link, 0, way.parent(), 0));
    let list = socket.all(&request, |body| {
        let (fixed, rest) = body.split_at_checked(20)?;
        each(fixed, rest)
    });
    match list {
        // The link has no filters at all.
        Err(e) if matches!(e.number(), libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) => {
            Ok(Vec::new())
        }
        other => other,
    }
}
