//! Programs and maps of the kernel's virtual machine (bpf(2)).
//!
//! Programs are put together by [`asm`] when they are needed: the values that they compare with are part of the
//! code, so no table beside them could be changed or lost.

#![allow(unsafe_code)]

pub mod asm;
pub mod sysctl;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::path::reason;

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP: i32 = 1;
const MAP_UPDATE: i32 = 2;
const MAP_DELETE: i32 = 3;
const MAP_NEXT: i32 = 4;
const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_TEST: i32 = 10;
const PROG_BY_ID: i32 = 13;
const MAP_BY_ID: i32 = 14;
const OBJECT_INFO: i32 = 15;
const PROG_QUERY: i32 = 16;

/// Where a program is attached to settings of the kernel (`BPF_CGROUP_SYSCTL`).
const AT_SYSCTL: u32 = 18;
/// Programs attached above and below run as well (`BPF_F_ALLOW_MULTI`), and each of them may refuse.
const ALL_RUN: u32 = 2;
/// A name must not be longer.
const NAME: usize = 16;
/// Programs that are looked at on one cgroup.
const MAX_ATTACHED: usize = 16;
/// Maps that one of our programs may use.
const MAX_MAPS: usize = 8;

/// The purpose of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramType {
    /// It filters the packets that a link receives or sends (`BPF_PROG_TYPE_SCHED_CLS`).
    Classifier = 3,
    /// It decides whether processes of a cgroup read or write a setting (`BPF_PROG_TYPE_CGROUP_SYSCTL`).
    Sysctl = 23,
}

/// How a map finds its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// By any key; values come and go.
    Hash,
    /// By number from 0; every value is there from the beginning, zeroed.
    Array,
}

/// Calls the kernel with a block of arguments: 32-bit words, at the places that bpf.h gives them.
fn bpf(command: i32, arguments: &mut [u64]) -> io::Result<i32> {
    // SAFETY: the block lives across the call and its size is passed along; each caller has put addresses of memory
    // that lives as long into it. Fields that the kernel does not know must be zero, and are.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, arguments.as_mut_ptr(), size_of_val(arguments)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(done).unwrap_or(0)) }
}

/// Two 32-bit numbers, one after the other in memory.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn address<T>(memory: &[T]) -> u64 {
    memory.as_ptr() as u64
}

/// A name as the kernel takes it: letters, digits, `_`, `.`; the rest zero.
fn name_words(name: &str) -> [u64; 2] {
    let mut bytes = [0; NAME];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(NAME - 1)) {
        *to = from;
    }
    let (low, high) = bytes.split_at(8);
    let word = |b: &[u8]| u64::from_ne_bytes(b.try_into().unwrap_or_default());
    [word(low), word(high)]
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made the descriptor, close-on-exec, and no other object owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A table that programs and processes share. It lives as long as a descriptor or a program has it.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key: usize,
    value: usize,
}

impl Map {
    /// Makes a map for keys and values of these sizes in bytes.
    ///
    /// # Errors
    /// The system's error; `ENOSYS` for a kernel without bpf(2), `EPERM` where it is forbidden.
    pub fn new(shape: MapType, name: &str, key: usize, value: usize, entries: u32) -> io::Result<Self> {
        // 1 is BPF_F_NO_PREALLOC: memory is taken as values come.
        let (kind, flags) = match shape {
            MapType::Hash => (1, 1),
            MapType::Array => (2, 0),
        };
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let [low, high] = name_words(name);
        // type, key_size, value_size, max_entries, map_flags, inner_map_fd, numa_node, map_name at 28.
        let mut block = [0_u64; 7];
        block[0] = pair(kind, size(key));
        block[1] = pair(size(value), entries);
        block[2] = pair(flags, 0);
        let name: Vec<u8> = [low.to_ne_bytes(), high.to_ne_bytes()].concat();
        let word = |at: usize| u32::from_ne_bytes(name[at..at + 4].try_into().unwrap_or_default());
        block[3] = pair(0, word(0));
        block[4] = pair(word(4), word(8));
        block[5] = pair(word(12), 0);
        Ok(Self { fd: own(bpf(MAP_CREATE, &mut block)?), key, value })
    }

    /// Opens a map by its number; `key` and `value` are the sizes that it was made with.
    ///
    /// # Errors
    /// The system's error; `EINVAL` when the sizes are others.
    pub fn by_id(id: u32, key: usize, value: usize) -> io::Result<Self> {
        let mut block = [pair(id, 0), 0];
        Self::from_fd(own(bpf(MAP_BY_ID, &mut block)?), key, value)
    }

    /// Takes over a map; `key` and `value` are the sizes that it was made with.
    ///
    /// # Errors
    /// As [`Map::by_id`].
    pub fn from_fd(fd: OwnedFd, key: usize, value: usize) -> io::Result<Self> {
        let map = Self { fd, key, value };
        // struct bpf_map_info: type, id, key_size, value_size, …
        let info = info(map.fd.as_fd())?;
        if (info[2] as usize, info[3] as usize) == (key, value) {
            Ok(map)
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }

    /// Opens the same map once more.
    ///
    /// # Errors
    /// The system's error.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, key: self.key, value: self.value })
    }

    /// Returns its number in the kernel, which [`Map::by_id`] takes.
    ///
    /// # Errors
    /// The system's error.
    pub fn id(&self) -> io::Result<u32> {
        Ok(info(self.fd.as_fd())?[1])
    }

    /// Returns the descriptor's number, for [`asm::Asm::set_map`].
    pub fn number(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn element(&self, command: i32, key: &[u8], value: u64, flags: u64) -> io::Result<()> {
        if key.len() != self.key {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // map_fd, key, value, flags.
        let mut block = [pair(number(self.fd.as_fd()), 0), address(key), value, flags];
        bpf(command, &mut block).map(drop)
    }

    /// Returns the value of a key, none when it has none.
    ///
    /// # Errors
    /// The system's error.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        // The kernel writes whole words of 8 bytes for each value.
        let mut value = vec![0_u8; self.value.next_multiple_of(8)];
        match self.element(MAP_LOOKUP, key, value.as_mut_ptr() as u64, 0) {
            Ok(()) => {
                value.truncate(self.value);
                Ok(Some(value))
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets the value of a key, in place of the former one.
    ///
    /// # Errors
    /// The system's error; `E2BIG` when the map is full.
    pub fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() != self.value {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.element(MAP_UPDATE, key, address(value), 0)
    }

    /// Gives a key that has none a value. Says whether it did.
    ///
    /// # Errors
    /// The system's error; `E2BIG` when the map is full.
    pub fn add(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        if value.len() != self.value {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // 1 is BPF_NOEXIST.
        match self.element(MAP_UPDATE, key, address(value), 1) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes a key; a missing one is no error.
    ///
    /// # Errors
    /// The system's error.
    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        match self.element(MAP_DELETE, key, 0, 0) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// Returns some of the keys, at most so many.
    ///
    /// # Errors
    /// The system's error.
    pub fn some_keys(&self, most: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        while keys.len() < most {
            let mut next = vec![0_u8; self.key];
            let last = keys.last().map_or(0, |k| address(k));
            // map_fd, key, next_key.
            let mut block = [pair(number(self.fd.as_fd()), 0), last, next.as_mut_ptr() as u64, 0];
            match bpf(MAP_NEXT, &mut block) {
                Ok(_) => keys.push(next),
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(keys)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A program that the kernel has checked and taken.
#[derive(Debug)]
pub struct BpfProgram {
    fd: OwnedFd,
}

impl BpfProgram {
    /// Gives the kernel a program that filters frames.
    ///
    /// # Errors
    /// As [`BpfProgram::load_as`].
    pub fn load(name: &str, code: &[u64]) -> io::Result<Self> {
        Self::load_as(ProgramType::Classifier, name, code)
    }

    /// Gives a program to the kernel.
    ///
    /// # Errors
    /// The system's error with, when the kernel finds fault with the program, the end of its report.
    pub fn load_as(kind: ProgramType, name: &str, code: &[u64]) -> io::Result<Self> {
        match Self::try_load(kind, name, code, &mut []) {
            // Once more, for the report: making it costs time.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) => {
                let mut log = vec![0_u8; 1 << 20];
                match Self::try_load(kind, name, code, &mut log) {
                    Err(e) => {
                        let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
                        let text = String::from_utf8_lossy(&log[..end]).into_owned();
                        let tail: Vec<&str> = text.lines().rev().take(12).collect();
                        let tail: Vec<&str> = tail.into_iter().rev().collect();
                        Err(io::Error::new(e.kind(), format!("{}: {}", reason(&e), tail.join("; "))))
                    }
                    taken => taken,
                }
            }
            other => other,
        }
    }

    fn try_load(kind: ProgramType, name: &str, code: &[u64], log: &mut [u8]) -> io::Result<Self> {
        let license = b"MIT\0";
        let [low, high] = name_words(name);
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        // prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags,
        // prog_name, prog_ifindex, expected_attach_type.
        let (level, log_at) = if log.is_empty() { (0, 0) } else { (1, log.as_mut_ptr() as u64) };
        let mut block = [
            pair(kind as u32, size(code.len())),
            address(code),
            address(license),
            pair(level, size(log.len())),
            log_at,
            0,
            low,
            high,
            0,
        ];
        Ok(Self { fd: own(bpf(PROG_LOAD, &mut block)?) })
    }

    /// Attaches a program of [`ProgramType::Sysctl`] to a cgroup, for as long as that is there.
    ///
    /// # Errors
    /// The system's error; `EPERM` where a cgroup above forbids it.
    pub fn attach(&self, cgroup: BorrowedFd<'_>) -> io::Result<()> {
        // target_fd, attach_bpf_fd, attach_type, attach_flags.
        let mut block = [pair(number(cgroup), number(self.fd.as_fd())), pair(AT_SYSCTL, ALL_RUN)];
        bpf(PROG_ATTACH, &mut block).map(drop)
    }

    /// Takes a program of [`ProgramType::Sysctl`] off a cgroup.
    ///
    /// # Errors
    /// The system's error; `ENOENT` when it is not attached there.
    pub fn detach(&self, cgroup: BorrowedFd<'_>) -> io::Result<()> {
        let mut block = [pair(number(cgroup), number(self.fd.as_fd())), pair(AT_SYSCTL, 0)];
        bpf(PROG_DETACH, &mut block).map(drop)
    }

    /// Returns the numbers of the programs of [`ProgramType::Sysctl`] that are attached to a cgroup itself, as many as
    /// there is room for.
    ///
    /// # Errors
    /// The system's error; `EINVAL` for a kernel without `CONFIG_CGROUP_BPF`.
    pub fn attached(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
        let mut ids = [0_u32; MAX_ATTACHED];
        // target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt.
        let room = u32::try_from(MAX_ATTACHED).unwrap_or(0);
        let mut block = [pair(number(cgroup), AT_SYSCTL), 0, ids.as_mut_ptr() as u64, pair(room, 0)];
        match bpf(PROG_QUERY, &mut block) {
            // There are more, and the room is full.
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => return Ok(ids.to_vec()),
            other => other?,
        };
        let [a, b, c, d, ..] = block[3].to_ne_bytes();
        let count = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(0).min(MAX_ATTACHED);
        Ok(ids[..count].to_vec())
    }

    /// Says whether the program was loaded by root under this name.
    ///
    /// # Errors
    /// The system's error.
    pub fn is_named(&self, name: &str) -> io::Result<bool> {
        // struct bpf_prog_info: created_by_uid at 48, name at 64.
        let words = info(self.fd.as_fd())?;
        let [low, high] = name_words(name);
        let found = [pair(words[16], words[17]), pair(words[18], words[19])];
        Ok(words[12] == 0 && found == [low, high])
    }

    /// Takes over a program.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens a program by its number.
    ///
    /// # Errors
    /// The system's error; `ENOENT` when it is gone.
    pub fn by_id(id: u32) -> io::Result<Self> {
        let mut block = [pair(id, 0), 0];
        Ok(Self { fd: own(bpf(PROG_BY_ID, &mut block)?) })
    }

    /// Returns the numbers of the maps that the program uses, in the order of their first use.
    ///
    /// # Errors
    /// The system's error.
    pub fn maps(&self) -> io::Result<Vec<u32>> {
        let mut ids = [0_u32; MAX_MAPS];
        // struct bpf_prog_info: nr_map_ids at 52, map_ids at 56.
        let mut words = [0_u32; INFO_WORDS];
        words[13] = u32::try_from(MAX_MAPS).unwrap_or(0);
        let at = (ids.as_mut_ptr() as u64).to_ne_bytes();
        for (word, half) in at.chunks_exact(4).enumerate() {
            words[14 + word] = u32::from_ne_bytes(half.try_into().unwrap_or_default());
        }
        info_into(self.fd.as_fd(), &mut words)?;
        let count = usize::try_from(words[13]).unwrap_or(0).min(MAX_MAPS);
        Ok(ids[..count].to_vec())
    }

    /// Returns how many instructions the kernel has walked to check the program: the cost of loading it, whatever
    /// else the machine does. None on Linux before 5.16, which does not report it.
    ///
    /// # Errors
    /// The system's error.
    pub fn checked(&self) -> io::Result<Option<u32>> {
        // struct bpf_prog_info: verified_insns at 216.
        let mut words = [0_u32; 64];
        info_into(self.fd.as_fd(), &mut words)?;
        Ok(Some(words[54]).filter(|n| *n > 0))
    }

    /// Runs the program on a frame that is not sent anywhere, and returns its verdict.
    ///
    /// # Errors
    /// The system's error.
    pub fn try_on(&self, frame: &[u8]) -> io::Result<i32> {
        // prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration, ctx_size_in,
        // ctx_size_out, ctx_in, ctx_out.
        let mut block = [
            pair(number(self.fd.as_fd()), 0),
            pair(u32::try_from(frame.len()).unwrap_or(0), 0),
            address(frame),
            0,
            pair(1, 0),
            0,
            0,
            0,
        ];
        bpf(PROG_TEST, &mut block)?;
        let bytes = block[0].to_ne_bytes();
        Ok(i32::from_ne_bytes(bytes[4..].try_into().unwrap_or_default()))
    }
}

impl AsFd for BpfProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Words of information that are asked for: as much as the oldest kernel that runs zones knows.
const INFO_WORDS: usize = 32;

fn info(fd: BorrowedFd<'_>) -> io::Result<[u32; INFO_WORDS]> {
    let mut words = [0; INFO_WORDS];
    info_into(fd, &mut words)?;
    Ok(words)
}

fn info_into(fd: BorrowedFd<'_>, words: &mut [u32]) -> io::Result<()> {
    let size = u32::try_from(size_of_val(words)).unwrap_or(0);
    // bpf_fd, info_len, info.
    let mut block = [pair(number(fd), size), words.as_mut_ptr() as u64];
    bpf(OBJECT_INFO, &mut block).map(drop)
}
