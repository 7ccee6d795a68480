//! `install -a`: a tar archive, plain or packed.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use thiserror::Error;

use super::InstallError;
use super::left_out::shorten;
use super::tarball::{TarError, Tarball};
use super::unpack::{MemberError, Unpacker};
use crate::apply::Notice;
use crate::apply::fault;
use crate::plan::install::Packing;
use crate::spec::shown::Show;
use crate::sys::made;
use crate::sys::path::{At, Dir, reason};

/// Largest window that zstd may ask for (`--long=31`), where there is the memory for it.
const ZSTD_WINDOW_LOG: u32 = 31;

/// Memory that a decoder may use in any case, in bytes: enough for the strongest levels of xz and zstd without a
/// window of one's own choice.
const DECODER_MIN: u64 = 256 << 20;

/// An archive that cannot be unpacked.
#[derive(Debug, Error)]
#[error("archive {}: {problem}{}", path.shown(), place(member.as_deref(), *offset))]
pub struct ArchiveError {
    path: PathBuf,
    member: Option<String>,
    offset: u64,
    problem: String,
}

fn place(member: Option<&str>, offset: u64) -> String {
    match member {
        Some(member) => format!(" (member '{member}' at byte {offset} of the unpacked archive)"),
        None => format!(" (at byte {offset} of the unpacked archive)"),
    }
}

/// Opens an archive and recognizes its compression by its first bytes.
///
/// # Errors
/// The message of an error in the file.
pub(super) fn detect(path: &Path) -> Result<Packing, String> {
    let mut file = File::open(path).map_err(|e| reason(&e))?;
    if !file.metadata().map_err(|e| reason(&e))?.is_file() {
        return Err("not a regular file".to_owned());
    }
    detect_file(&mut file)
}

pub(super) fn detect_file(file: &mut File) -> Result<Packing, String> {
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(|e| reason(&e))?;
    file.rewind().map_err(|e| reason(&e))?;
    let other = [
        (&b"BZh"[..], "bzip2 archive; repack it with gzip, xz or zstd"),
        (b"PK\x03\x04", "zip archive; repack it as tar"),
        (b"LZIP", "lzip archive; repack it with gzip, xz or zstd"),
        (b"\x04\x22\x4d\x18", "lz4 archive; repack it with gzip, xz or zstd"),
        (b"070701", "cpio archive; repack it as tar"),
        (b"hsqs", "squashfs image; mount it and use -d"),
    ];
    if let Some((_, what)) = other.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(format!("this is a {what}"));
    }
    // A skippable frame may come first: 0x184D2A50 to 5F.
    let skippable = start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
    let packing = match start.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        _ if skippable => Packing::Zstd,
        [] => return Err("the file is empty".to_owned()),
        // The checksum of a header is what all flavours of tar have in common.
        _ if start.len() == 512 && Tarball::new(&start[..]).next().is_ok() => Packing::Plain,
        _ if start.len() == 512 && start.iter().all(|b| *b == 0) => Packing::Plain,
        _ if start.get(257..262) == Some(b"ustar") => Packing::Plain,
        _ => return Err("not a tar archive (plain, gzip, xz or zstd)".to_owned()),
    };
    Ok(packing)
}

/// Counts the bytes read of a file, for the progress.
struct Counted {
    file: File,
    count: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// Returns how much memory an archive may make its decoder use, in bytes: half of the machine's.
fn decoder_memory() -> u64 {
    let info = made::read("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = total.and_then(|t| t.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    (kib * 1024 / 2).max(DECODER_MIN)
}

fn unpacked(file: Counted, packing: Packing) -> io::Result<Box<dyn Read>> {
    let file = io::BufReader::with_capacity(256 * 1024, file);
    Ok(match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Packing::Xz => {
            let concatenated = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(decoder_memory(), concatenated)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
            decoder.window_log_max(decoder_memory().ilog2().min(ZSTD_WINDOW_LOG))?;
            Box::new(decoder)
        }
    })
}

/// Fills a root from an archive.
pub(super) fn populate(
    out: &mut dyn Notice,
    root: &Dir,
    path: &Path,
    packing: Packing,
) -> Result<(), InstallError> {
    let file = File::open(path).at("open", path)?;
    let mut unpacker = Unpacker::archive(root);
    extract(out, &mut unpacker, file, path, packing, true)?;
    unpacker.left_out.report(out, path);
    Ok(())
}

/// Unpacks one archive or layer. `strict` demands the end mark, which some makers of layers forget;
/// those are protected by their digest.
pub(super) fn extract(
    out: &mut dyn Notice,
    unpacker: &mut Unpacker<'_>,
    file: File,
    path: &Path,
    packing: Packing,
    strict: bool,
) -> Result<(), InstallError> {
    let total = file.metadata().at("read", path)?.len();
    let count = Rc::new(Cell::new(0));
    let from = unpacked(Counted { file, count: Rc::clone(&count) }, packing).at("read", path)?;
    let mut tar = Tarball::new(from);
    let what = format!("unpacking {}", path.shown());
    let mut reported = 0;
    loop {
        let at = tar.position();
        let failed = |problem: &dyn std::fmt::Display, member: Option<String>, offset| {
            InstallError::from(ArchiveError {
                path: path.to_owned(),
                member,
                offset,
                problem: problem.to_string(),
            })
        };
        let member = match tar.next() {
            Ok(Some(member)) => member,
            Ok(None) => break,
            Err(TarError::NoEnd) if !strict => break,
            Err(e) => return Err(failed(&e, None, at.max(tar.position()))),
        };
        let (name, offset) = (shorten(&member.name, 200), member.offset);
        match unpacker.member(member, &mut tar) {
            Ok(()) => {}
            // The target's file system, not the archive.
            Err(MemberError::Path(e)) if e.is_full() => return Err(e.into()),
            Err(e) => return Err(failed(&e, Some(name), offset)),
        }
        if count.get() >= reported + (1 << 19) {
            reported = count.get();
            fault::point("unpacking");
            out.progress(reported.min(total), total, &what);
        }
    }
    unpacker.finish().map_err(|e| {
        let (path, offset) = (path.to_owned(), tar.position());
        InstallError::from(ArchiveError { path, member: None, offset, problem: e.to_string() })
    })?;
    out.progress(total, total, &what);
    Ok(())
}
