//! Messages of netlink as bytes: a builder and a reader. Nothing here talks to the kernel.
//!
//! A message is a header of 16 bytes, a fixed part that its family knows, and attributes: length,
//! kind, value, each padded to 4 bytes; values may hold attributes themselves (netlink(7)). Numbers
//! are in the byte order of the machine unless an attribute says otherwise.

/// Bytes of a message's header.
const HEADER: usize = 16;
/// Bytes of an attribute's header.
const ATTRIBUTE: usize = 4;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The bits of a kind that are the kind.
const KIND: u16 = 0x3fff;

/// A request (`NLM_F_REQUEST`).
const REQUEST: u16 = 0x1;

/// A message that is being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// Begins a request of a kind (`RTM_*`) with flags (`NLM_F_*`).
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        Self { bytes }
    }

    /// Appends a fixed part, padded to 4 bytes.
    #[must_use]
    pub fn fixed(mut self, part: &[u8]) -> Self {
        self.bytes.extend_from_slice(part);
        self.pad();
        self
    }

    /// Appends an attribute.
    ///
    /// # Panics
    /// When the value is longer than 65,531 bytes.
    #[must_use]
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE + value.len()).expect("attributes are short");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends an attribute of 8 bits.
    #[must_use]
    pub fn byte(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    /// Appends an attribute of 32 bits.
    #[must_use]
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends a text with its final zero.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Appends an attribute that holds what `fill` appends.
    ///
    /// # Panics
    /// When that is longer than 65,531 bytes.
    #[must_use]
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE]);
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start).expect("attributes are short");
        filled.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        filled
    }

    /// Returns the bytes of the message with this number.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetlinkMessage<'a> {
    /// Its kind.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// The bytes after the header.
    pub body: &'a [u8],
}

/// Takes the messages of a buffer apart. A message that is cut off at the end is passed over.
pub fn messages(buffer: &[u8]) -> impl Iterator<Item = NetlinkMessage<'_>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        if length < HEADER || length > rest.len() {
            return None;
        }
        let message = NetlinkMessage {
            kind: u16_at(rest, 4)?,
            flags: u16_at(rest, 6)?,
            sequence: u32_at(rest, 8)?,
            body: &rest[HEADER..length],
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Takes attributes apart: kind and value of each.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & KIND;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Returns the value of the first attribute of a kind.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// Returns the text of an attribute, without its final zero.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Returns 16 bits at a place.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Returns 32 bits at a place.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_reads_back() {
        let bytes = Builder::new(16, 0x600)
            .fixed(&[1; 16])
            .text(3, "eth0")
            .nest(18, |b| b.text(1, "veth").nest(2, |b| b.number(1, 7)))
            .byte(9, 5)
            .finish(42);
        assert_eq!(bytes.len() % 4, 0);
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(found.len(), 1);
        let message = found[0];
        assert_eq!((message.kind, message.flags, message.sequence), (16, 0x601, 42));
        let body = &message.body[16..];
        assert_eq!(attribute(body, 3).map(text).as_deref(), Some("eth0"));
        let info = attribute(body, 18).expect("a nest");
        assert_eq!(attribute(info, 1).map(text).as_deref(), Some("veth"));
        let data = attribute(info, 2).expect("a nest");
        assert_eq!(u32_at(attribute(data, 1).expect("a number"), 0), Some(7));
        assert_eq!(attribute(body, 9), Some(&[5][..]));
        assert_eq!(attribute(body, 10), None);
    }

    #[test]
    fn two_messages_in_one_buffer() {
        let mut bytes = Builder::new(1, 0).fixed(b"abc").finish(1);
        bytes.extend(Builder::new(2, 0).finish(2));
        let kinds: Vec<u16> = messages(&bytes).map(|m| m.kind).collect();
        assert_eq!(kinds, [1, 2]);
    }

    #[test]
    fn broken_bytes_end_the_reading() {
        let whole = Builder::new(16, 0).fixed(&[0; 16]).text(3, "eth0").finish(1);
        for cut in 0..whole.len() {
            assert_eq!(messages(&whole[..cut]).count(), 0, "cut at {cut}");
        }
        // Lengths that are too short or lead outside.
        assert_eq!(messages(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 5, 5, 5, 5]).count(), 0);
        assert_eq!(attributes(&[]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1, 0]).collect::<Vec<_>>(), [(1, &[][..])]);
    }
}
