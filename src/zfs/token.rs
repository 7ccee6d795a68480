//! The token that an interrupted receive gives to the sender.

use std::io::Read;
use std::str::FromStr;

use flate2::read::ZlibDecoder;
use thiserror::Error;

use super::nvlist::List;
use super::{Send, SendFlags};

/// Longest list that a token is believed to hold.
const LIST_MAX: usize = 1 << 20;

/// The value of the property `receive_resume_token`: where to go on.
///
/// ```no_run
/// # use std::{fs::File, os::fd::AsFd};
/// # use zones::zfs::{ResumeToken, Zfs};
/// let zfs = Zfs::open()?;
/// let copy = zfs.dataset("tank/copy")?;
/// let token: ResumeToken = copy.text("receive_resume_token").ok_or("nothing to resume")?.parse()?;
/// let file = File::create("/backup/rest")?;
/// zfs.send(&token.send(), file.as_fd())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    /// The snapshot that was sent, by the name it had.
    pub name: String,
    /// The guid of that snapshot.
    pub guid: u64,
    /// The guid of the snapshot or bookmark to start from, for an incremental stream.
    pub from_guid: Option<u64>,
    /// The object to go on with.
    pub object: u64,
    /// The offset in it.
    pub offset: u64,
    /// Bytes received so far.
    pub bytes: u64,
    /// The features of the stream.
    pub flags: SendFlags,
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not four parts, or one of them is not a number.
    #[error("this is not a resume token")]
    Form,
    /// A later format.
    #[error("the resume token has the unknown version {0}")]
    Version(u64),
    /// Damaged in transit.
    #[error("the resume token is damaged: its checksum is wrong")]
    Checksum,
    /// Its content cannot be read, or lacks a part.
    #[error("the resume token is damaged")]
    Content,
}

impl ResumeToken {
    /// Returns the data left to send. An incremental stream needs [`Send::from`], too: the snapshot or bookmark of
    /// [`ResumeToken::from_guid`].
    pub fn send(&self) -> Send<'_> {
        Send::new(&self.name).flags(self.flags).resume(self.object, self.offset)
    }
}

impl FromStr for ResumeToken {
    type Err = TokenError;

    /// Reads `VERSION-CHECKSUM-LENGTH-DATA`, all hexadecimal, the data a compressed list.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().splitn(4, '-');
        let mut number = |radix| {
            let part = parts.next().ok_or(TokenError::Form)?;
            u64::from_str_radix(part, radix).map_err(|_| TokenError::Form)
        };
        let (version, checksum, length) = (number(10)?, number(16)?, number(16)?);
        if version != 1 {
            return Err(TokenError::Version(version));
        }
        let data = bytes(parts.next().ok_or(TokenError::Form)?).ok_or(TokenError::Form)?;
        if sum(&data) != checksum {
            return Err(TokenError::Checksum);
        }
        let length = usize::try_from(length).ok().filter(|n| *n <= LIST_MAX).ok_or(TokenError::Content)?;
        let mut packed = Vec::new();
        let read = ZlibDecoder::new(&data[..]).take(LIST_MAX as u64 + 1).read_to_end(&mut packed);
        if read.is_err() || packed.len() != length {
            return Err(TokenError::Content);
        }
        let list = List::decode(&packed).map_err(|_| TokenError::Content)?;
        let flag = |name, flag| if list.contains(name) { flag } else { SendFlags::empty() };
        Ok(Self {
            name: list.str("toname").ok_or(TokenError::Content)?.to_owned(),
            guid: list.u64("toguid").ok_or(TokenError::Content)?,
            from_guid: list.u64("fromguid").filter(|guid| *guid != 0),
            object: list.u64("object").unwrap_or(0),
            offset: list.u64("offset").unwrap_or(0),
            bytes: list.u64("bytes").unwrap_or(0),
            flags: flag("largeblockok", SendFlags::LARGE_BLOCKS)
                | flag("embedok", SendFlags::EMBEDDED)
                | flag("compressok", SendFlags::COMPRESSED)
                | flag("rawok", SendFlags::RAW),
        })
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    if !digits.remainder().is_empty() {
        return None;
    }
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok()).collect()
}

/// The first word of fletcher4: the sum of the whole words.
fn sum(data: &[u8]) -> u64 {
    let words = data.chunks_exact(4).map(|w| u32::from_ne_bytes(w.try_into().expect("four bytes")));
    words.fold(0, |all, word| all.wrapping_add(u64::from(word)))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;
    use crate::zfs::nvlist::NvValue;

    fn token(list: &List) -> String {
        let packed = list.to_native().unwrap();
        let mut zip = ZlibEncoder::new(Vec::new(), Compression::new(6));
        zip.write_all(&packed).unwrap();
        let data = zip.finish().unwrap();
        let mut text = format!("1-{:x}-{:x}-", sum(&data), packed.len());
        data.iter().for_each(|b| write!(text, "{b:02x}").unwrap());
        text
    }

    #[test]
    fn round_trip_and_damage() {
        let mut list: List = [("toguid", 7u64), ("object", 8), ("offset", 512), ("bytes", 1000)].into();
        list.insert("toname", "tank/a@1");
        list.insert("compressok", NvValue::Present);
        let text = token(&list);
        let read: ResumeToken = text.parse().unwrap();
        assert_eq!((read.name.as_str(), read.guid, read.from_guid), ("tank/a@1", 7, None));
        assert_eq!((read.object, read.offset, read.bytes), (8, 512, 1000));
        assert_eq!(read.flags, SendFlags::COMPRESSED);
        let damaged = |from: &str, to: &str| text.replacen(from, to, 1).parse::<ResumeToken>().unwrap_err();
        assert_eq!(damaged("1-", "2-"), TokenError::Version(2));
        assert_eq!(damaged("789c", "789d"), TokenError::Checksum);
        assert_eq!("1-2-3".parse::<ResumeToken>(), Err(TokenError::Form));
        assert_eq!("-".parse::<ResumeToken>(), Err(TokenError::Form));
        list.remove("toname");
        assert_eq!(token(&list).parse::<ResumeToken>(), Err(TokenError::Content));
    }
}
