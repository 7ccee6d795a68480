//! Reads tar archives, member by member: ustar, pax and GNU, with sparse files in all their forms.
//!
//! The archive is untrusted: every length is checked before it is believed, nothing of a size that
//! the archive chooses is held in memory. Only headers are decoded by the `tar` crate; its own
//! iterator reads extension headers of any size into memory.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};
use thiserror::Error;

use super::acl::AclKind;

const BLOCK: u64 = 512;

/// Longest extension header: names are at most 4,096 bytes, attributes 64 KiB each.
const EXTENSION_MAX: u64 = 1 << 20;

/// Most stretches of data in one sparse file.
const SPARSE_MAX: usize = 1 << 20;

/// An error in an archive.
#[derive(Debug, Error)]
pub(super) enum TarError {
    #[error("it ends in the middle of the archive: the file is truncated")]
    Truncated,
    #[error("it has no end mark: the file is truncated")]
    NoEnd,
    #[error("bad header, checksum does not match")]
    Checksum,
    #[error("bad header: {0}")]
    Header(&'static str),
    #[error("{}", crate::sys::path::reason(.0))]
    Read(io::Error),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Read(error) }
    }
}

/// A key and its value.
pub(super) type PaxRecord = (Vec<u8>, Vec<u8>);

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Pipe,
    Device,
    Unknown,
}

/// One member, without its content.
#[derive(Clone, Debug)]
pub(super) struct ArchiveMember {
    /// Where its header begins.
    pub(super) offset: u64,
    pub(super) kind: MemberKind,
    pub(super) name: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, i64),
    pub(super) xattrs: Vec<PaxRecord>,
    /// Access lists, as text.
    pub(super) acls: Vec<(AclKind, Vec<u8>)>,
    /// Stretches of data (offset and length) and the whole size, for a sparse file.
    pub(super) sparse: Option<(Vec<(u64, u64)>, u64)>,
}

/// An archive that is being read.
pub(super) struct Tarball<R> {
    from: R,
    /// Bytes of the archive that were read.
    at: u64,
    /// Bytes of the member's content that were not.
    left: u64,
    padding: u64,
    ended: bool,
}

/// The statements of extension headers about the next member.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    pax: Vec<PaxRecord>,
}

impl<R: Read> Tarball<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, at: 0, left: 0, padding: 0, ended: false }
    }

    /// Returns how many bytes of the unpacked archive were read.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Reads the content of the member.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        loop {
            match self.from.read(&mut buffer[..want]) {
                Ok(0) => return Err(TarError::Truncated),
                Ok(n) => {
                    self.at += n as u64;
                    self.left -= n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), TarError> {
        while !buffer.is_empty() {
            let n = self.read(buffer)?;
            if n == 0 {
                return Err(TarError::Header("content is shorter than it says"));
            }
            buffer = &mut buffer[n..];
        }
        Ok(())
    }

    /// Skips the rest of the member.
    fn skip(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 8192];
        self.left += std::mem::take(&mut self.padding);
        while self.left > 0 {
            self.read(&mut buffer)?;
        }
        Ok(())
    }

    /// Reads one block; none at the very end of the file.
    fn block(&mut self) -> Result<Option<[u8; 512]>, TarError> {
        let mut block = [0; 512];
        let mut filled = 0;
        while filled < block.len() {
            match self.from.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.at += BLOCK;
        Ok(Some(block))
    }

    /// Moves to the next member; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<ArchiveMember>, TarError> {
        let mut extension = Extension::default();
        loop {
            if self.ended {
                return Ok(None);
            }
            self.skip()?;
            let offset = self.at;
            let block = self.block()?.ok_or(TarError::NoEnd)?;
            if block.iter().all(|b| *b == 0) {
                self.ended = true;
                self.drain()?;
                return Ok(None);
            }
            let header = checked(&block)?;
            self.set_size(header.entry_size().map_err(|_| TarError::Header("size"))?)?;
            match header.entry_type() {
                EntryType::GNULongName => extension.name = Some(text(self.extension()?)),
                EntryType::GNULongLink => extension.target = Some(text(self.extension()?)),
                EntryType::XHeader => extension.pax = pax_records(&self.extension()?)?,
                // Git archive and others write a comment here.
                EntryType::XGlobalHeader => {
                    self.extension()?;
                }
                kind => return self.member(offset, &header, kind, extension).map(Some),
            }
        }
    }

    fn set_size(&mut self, size: u64) -> Result<(), TarError> {
        let whole = size.checked_next_multiple_of(BLOCK).ok_or(TarError::Header("size"))?;
        self.left = size;
        self.padding = whole - size;
        Ok(())
    }

    /// After the end mark nothing counts, but a packed archive ends with its checksum.
    fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = vec![0; 64 * 1024];
        for _ in 0..1024 {
            match self.from.read(&mut buffer) {
                Ok(0) => break,
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the content of an extension header.
    fn extension(&mut self) -> Result<Vec<u8>, TarError> {
        if self.left > EXTENSION_MAX {
            return Err(TarError::Header("a name or attribute of more than 1 MiB"));
        }
        let mut content = vec![0; usize::try_from(self.left).unwrap_or(0)];
        self.read_exact(&mut content)?;
        Ok(content)
    }

    fn member(
        &mut self,
        offset: u64,
        header: &Header,
        kind: EntryType,
        extension: Extension,
    ) -> Result<ArchiveMember, TarError> {
        let Extension { name, target, pax } = extension;
        let find = |key: &str| pax.iter().rev().find(|(k, _)| k == key.as_bytes()).map(|(_, v)| v.as_slice());
        let number = |key| find(key).map(|v| decimal(v).ok_or(TarError::Header("pax number"))).transpose();
        if let Some(size) = number("size")? {
            self.set_size(size)?;
        }
        // Some programs leave a field blank for 0.
        let blank = |field: &[u8]| field.iter().all(|b| matches!(b, 0 | b' '));
        let fields = header.as_old();
        let id = |key, field: &[u8], own: io::Result<u64>| -> Result<u32, TarError> {
            let own = if blank(field) { Ok(0) } else { own };
            let id = number(key)?.map_or_else(|| own.map_err(|_| TarError::Header("owner")), Ok)?;
            // The largest number means "leave it as it is" to the kernel.
            u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(TarError::Header("owner"))
        };
        let mut member = ArchiveMember {
            offset,
            kind: MemberKind::Unknown,
            name: name
                .or_else(|| find("path").map(<[u8]>::to_vec))
                .unwrap_or_else(|| header.path_bytes().into_owned()),
            target: target
                .or_else(|| find("linkpath").map(<[u8]>::to_vec))
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
            mode: match header.mode() {
                Ok(mode) => mode & 0o7777,
                Err(_) if blank(&fields.mode) => 0,
                Err(_) => return Err(TarError::Header("mode")),
            },
            uid: id("uid", &fields.uid, header.uid())?,
            gid: id("gid", &fields.gid, header.gid())?,
            mtime: find("mtime")
                .and_then(time)
                .unwrap_or_else(|| (header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0), 0)),
            xattrs: Vec::new(),
            acls: Vec::new(),
            sparse: None,
        };
        for (key, value) in &pax {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                member.xattrs.push((name.to_vec(), value.clone()));
            } else if let Some(kind) = AclKind::of_key(key) {
                member.acls.push((kind, value.clone()));
            }
        }
        member.kind = match kind {
            // Archives of old mark a directory by the slash alone.
            EntryType::Regular | EntryType::Continuous if member.name.ends_with(b"/") => {
                MemberKind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::File,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink,
            EntryType::Link => MemberKind::HardLink,
            EntryType::Fifo => MemberKind::Pipe,
            EntryType::Char | EntryType::Block => MemberKind::Device,
            _ => MemberKind::Unknown,
        };
        if kind == EntryType::GNUSparse {
            member.sparse = Some(self.gnu_sparse(header)?);
        } else if member.kind == MemberKind::File {
            self.pax_sparse(&mut member, &pax)?;
        }
        Ok(member)
    }

    /// The map of an old GNU sparse file: four stretches in the header, more in blocks that follow it.
    fn gnu_sparse(&mut self, header: &Header) -> Result<(Vec<(u64, u64)>, u64), TarError> {
        let bad = |_| TarError::Header("sparse map");
        let gnu = header.as_gnu().ok_or(TarError::Header("sparse file in a foreign format"))?;
        let size = gnu.real_size().map_err(bad)?;
        let mut map = Vec::new();
        let mut add = |list: &[GnuSparseHeader]| -> Result<(), TarError> {
            for part in list.iter().filter(|p| !p.is_empty()) {
                map.push((part.offset().map_err(bad)?, part.length().map_err(bad)?));
            }
            if map.len() > SPARSE_MAX { Err(TarError::Header("sparse map too long")) } else { Ok(()) }
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let block = self.block()?.ok_or(TarError::Truncated)?;
            let mut extended = GnuExtSparseHeader::new();
            extended.as_mut_bytes().copy_from_slice(&block);
            add(&extended.sparse)?;
            more = extended.is_extended();
        }
        self.check_map(&map, size)?;
        Ok((map, size))
    }

    /// The map of a pax sparse file: in records (0.0, 0.1), or before the content (1.0).
    fn pax_sparse(&mut self, member: &mut ArchiveMember, pax: &[PaxRecord]) -> Result<(), TarError> {
        let bad = TarError::Header("sparse map");
        let values = |key: &str| -> Vec<&[u8]> {
            let key = format!("GNU.sparse.{key}");
            pax.iter().filter(|(k, _)| *k == key.as_bytes()).map(|(_, v)| v.as_slice()).collect()
        };
        let last = |key| values(key).last().and_then(|v| decimal(v));
        let Some(size) = last("realsize").or_else(|| last("size")) else { return Ok(()) };
        if let Some(name) = values("name").last() {
            member.name = name.to_vec();
        }
        let mut numbers = Vec::new();
        if last("major") == Some(1) {
            let count = self.line()?;
            let count = usize::try_from(count).ok().filter(|n| *n <= SPARSE_MAX).ok_or(bad)?;
            for _ in 0..count * 2 {
                numbers.push(self.line()?);
            }
            // The map fills whole blocks.
            let rest = usize::try_from(self.at.next_multiple_of(BLOCK) - self.at).unwrap_or(0);
            self.read_exact(&mut vec![0; rest])?;
        } else if let Some(map) = values("map").last() {
            for number in map.split(|b| *b == b',').filter(|n| !n.is_empty()) {
                numbers.push(decimal(number).ok_or(TarError::Header("sparse map"))?);
            }
        } else {
            let (offsets, lengths) = (values("offset"), values("numbytes"));
            if offsets.len() != lengths.len() {
                return Err(bad);
            }
            for value in offsets.iter().zip(&lengths).flat_map(|(o, l)| [o, l]) {
                numbers.push(decimal(value).ok_or(TarError::Header("sparse map"))?);
            }
        }
        let map: Vec<_> = numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect();
        self.check_map(&map, size)?;
        member.sparse = Some((map, size));
        Ok(())
    }

    /// Reads a decimal number and a newline from the content.
    fn line(&mut self) -> Result<u64, TarError> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            match byte[0] {
                b'\n' => return decimal(&digits).ok_or(TarError::Header("sparse map")),
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(TarError::Header("sparse map")),
            }
        }
    }

    /// Stretches must be in order, within the file, and as long together as the content.
    fn check_map(&self, map: &[(u64, u64)], size: u64) -> Result<(), TarError> {
        let mut end = 0u64;
        let mut total = 0u64;
        for (offset, length) in map {
            let next = offset.checked_add(*length).filter(|n| *offset >= end && *n <= size);
            end = next.ok_or(TarError::Header("sparse map"))?;
            total += length;
        }
        if total > self.left || i64::try_from(size).is_err() {
            return Err(TarError::Header("sparse map"));
        }
        Ok(())
    }
}

/// Verifies the checksum, of bytes as unsigned or, as some old programs did, as signed numbers.
fn checked(block: &[u8; 512]) -> Result<Header, TarError> {
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    let wanted = header.cksum().map_err(|_| TarError::Checksum)?;
    let field = |i: usize| (148..156).contains(&i);
    let bytes = block.iter().enumerate().map(|(i, b)| if field(i) { b' ' } else { *b });
    let unsigned: u32 = bytes.clone().map(u32::from).sum();
    let signed: i32 = bytes.map(|b| i32::from(b.cast_signed())).sum();
    if unsigned == wanted || i64::from(signed) == i64::from(wanted) {
        Ok(header)
    } else {
        Err(TarError::Checksum)
    }
}

/// Cuts a GNU long name at its terminator.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Reads records `LENGTH KEY=VALUE\n`.
fn pax_records(mut content: &[u8]) -> Result<Vec<PaxRecord>, TarError> {
    let bad = || TarError::Header("pax record");
    let mut records = Vec::new();
    while content.first().is_some_and(|b| *b != 0) {
        let blank = content.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length = decimal(&content[..blank]).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
        let record = content.get(blank + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        content = &content[length..];
    }
    Ok(records)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Reads seconds with fraction, `-1.5` being half a second before -1.
fn time(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: i64 = digits.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

#[cfg(test)]
#[path = "tarball_tests.rs"]
mod tests;
