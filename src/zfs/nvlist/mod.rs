//! Name-value lists: the maps in which ZFS takes arguments and gives answers.
//!
//! [`List`] is such a map, [`NvValue`] one of its values, with each of the types that the C library knows. Two
//! encodings exist. [`List::to_native`] is the encoding of the kernel's descriptor, [`List::to_xdr`] that of disks.
//! [`List::decode`] reads either: the first byte says which.
//!
//! A decoder may be given bytes of an untrusted writer. It never panics, never allocates more than a small multiple
//! of its input, and refuses input that has two readings: duplicate names, bytes after the end, nesting deeper than
//! the kernel's own limit.

mod native;
#[cfg(test)]
mod tests;
mod xdr;

use std::collections::BTreeMap;

use thiserror::Error;

/// Deepest nesting that is decoded, as in the kernel (`nvpair_max_recursion`).
pub const MAX_DEPTH: usize = 20;

/// A value in a [`List`].
#[derive(Clone, Debug, PartialEq)]
pub enum NvValue {
    /// The name alone says something (`DATA_TYPE_BOOLEAN`); sets are maps to this.
    Present,
    /// True or false.
    Bool(bool),
    /// One byte.
    Byte(u8),
    /// A signed 8-bit number.
    I8(i8),
    /// An unsigned 8-bit number.
    U8(u8),
    /// A signed 16-bit number.
    I16(i16),
    /// An unsigned 16-bit number.
    U16(u16),
    /// A signed 32-bit number.
    I32(i32),
    /// An unsigned 32-bit number.
    U32(u32),
    /// A signed 64-bit number.
    I64(i64),
    /// An unsigned 64-bit number; ZFS' number of choice.
    U64(u64),
    /// Nanoseconds.
    HrTime(i64),
    /// A floating point number. The kernel refuses it.
    Double(f64),
    /// Text. Bytes, because the value of a user property need not be UTF-8.
    Text(Vec<u8>),
    /// A map.
    List(List),
    /// Several of [`NvValue::Bool`].
    Bools(Vec<bool>),
    /// Several of [`NvValue::Byte`]; keys are passed so.
    Bytes(Vec<u8>),
    /// Several of [`NvValue::I8`].
    I8s(Vec<i8>),
    /// Several of [`NvValue::U8`].
    U8s(Vec<u8>),
    /// Several of [`NvValue::I16`].
    I16s(Vec<i16>),
    /// Several of [`NvValue::U16`].
    U16s(Vec<u16>),
    /// Several of [`NvValue::I32`].
    I32s(Vec<i32>),
    /// Several of [`NvValue::U32`].
    U32s(Vec<u32>),
    /// Several of [`NvValue::I64`].
    I64s(Vec<i64>),
    /// Several of [`NvValue::U64`].
    U64s(Vec<u64>),
    /// Several of [`NvValue::Text`].
    Texts(Vec<Vec<u8>>),
    /// Several of [`NvValue::List`].
    Lists(Vec<List>),
}

impl NvValue {
    /// Returns the text, if this is one and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Returns the number, if this is one of an unsigned type.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U64(n) => Some(*n),
            Self::U32(n) => Some(u64::from(*n)),
            Self::U16(n) => Some(u64::from(*n)),
            Self::U8(n) | Self::Byte(n) => Some(u64::from(*n)),
            _ => None,
        }
    }

    /// Returns the number, if this is one of a signed type.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I64(n) | Self::HrTime(n) => Some(*n),
            Self::I32(n) => Some(i64::from(*n)),
            Self::I16(n) => Some(i64::from(*n)),
            Self::I8(n) => Some(i64::from(*n)),
            _ => None,
        }
    }

    /// Returns the map, if this is one.
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for NvValue {
            fn from(value: $from) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

from!(bool => Bool, u32 => U32, u64 => U64, i32 => I32, i64 => I64, Vec<u64> => U64s, List => List, Vec<List> => Lists);

impl From<&str> for NvValue {
    fn from(value: &str) -> Self {
        Self::Text(value.as_bytes().to_vec())
    }
}

impl From<String> for NvValue {
    fn from(value: String) -> Self {
        Self::Text(value.into_bytes())
    }
}

/// A map from names to values; the order of its names is that of the alphabet.
///
/// ```
/// use zones::zfs::nvlist::{List, NvValue};
///
/// let list: List = [("compression", NvValue::from("lz4")), ("quota", NvValue::from(1u64 << 30))].into();
/// assert_eq!(list.u64("quota"), Some(1 << 30));
/// assert_eq!(List::decode(&list.to_native()?)?, list);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List(BTreeMap<String, NvValue>);

impl List {
    /// Returns an empty map.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns a set: each name present, without a value.
    pub fn set<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        names.into_iter().map(|name| (name.as_ref().to_owned(), NvValue::Present)).collect()
    }

    /// Puts a value under a name; returns the former value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<NvValue>) -> Option<NvValue> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<NvValue> {
        self.0.remove(name)
    }

    /// Returns the value under a name.
    pub fn get(&self, name: &str) -> Option<&NvValue> {
        self.0.get(name)
    }

    /// Returns the unsigned number under a name.
    pub fn u64(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// Returns the text under a name.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Returns the map under a name.
    pub fn list(&self, name: &str) -> Option<&Self> {
        self.get(name)?.as_list()
    }

    /// Says whether a name is there, whatever its value.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Walks through names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NvValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Walks through the names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the encoding that the kernel and the C library use in memory.
    ///
    /// # Errors
    /// [`EncodeError`] when a name or text cannot be expressed.
    pub fn to_native(&self) -> Result<Vec<u8>, EncodeError> {
        native::encode(self)
    }

    /// Returns the encoding that is the same on every machine.
    ///
    /// # Errors
    /// As [`List::to_native`].
    pub fn to_xdr(&self) -> Result<Vec<u8>, EncodeError> {
        xdr::encode(self)
    }

    /// Reads a map in either encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one list with one reading.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (list, rest) = Self::decode_prefix(bytes)?;
        if rest.is_empty() { Ok(list) } else { Err(DecodeError::Trailing(rest.len())) }
    }

    /// Reads a map from the start of a buffer that may be longer, as the kernel does; returns the rest.
    ///
    /// # Errors
    /// As [`List::decode`].
    pub fn decode_prefix(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let Some((head, body)) = bytes.split_first_chunk::<4>() else { return Err(DecodeError::Short) };
        let [encoding, endian, _, _] = *head;
        match encoding {
            0 if endian == u8::from(cfg!(target_endian = "little")) => native::decode(body),
            0 => Err(DecodeError::Endian),
            1 => xdr::decode(body),
            other => Err(DecodeError::Encoding(other)),
        }
    }
}

impl FromIterator<(String, NvValue)> for List {
    fn from_iter<I: IntoIterator<Item = (String, NvValue)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<N: Into<String>, V: Into<NvValue>, const K: usize> From<[(N, V); K]> for List {
    fn from(pairs: [(N, V); K]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl IntoIterator for List {
    type Item = (String, NvValue);
    type IntoIter = std::collections::btree_map::IntoIter<String, NvValue>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Why a list cannot be written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The formats end names and texts with a zero byte.
    #[error("the name or text '{0}' has a zero byte inside")]
    Nul(String),
    /// Lengths are 16 bits for names, 31 for values.
    #[error("'{0}' is too long for a list")]
    TooLong(String),
    /// See [`MAX_DEPTH`].
    #[error("the list is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Why bytes are not a list.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end in the middle.
    #[error("the list is cut short")]
    Short,
    /// Neither of the two encodings.
    #[error("unknown encoding {0} of a list")]
    Encoding(u8),
    /// Written on a machine of the other byte order.
    #[error("the list has the byte order of another machine")]
    Endian,
    /// A later format.
    #[error("unknown version {0} of a list")]
    Version(i32),
    /// Not a type that is known, or a number of elements that it cannot have.
    #[error("a list's value has the type {kind} with {count} elements")]
    Type {
        /// The number of the type.
        kind: i32,
        /// How many elements it says it has.
        count: i32,
    },
    /// A length that contradicts another.
    #[error("the lengths in a list contradict each other")]
    Length,
    /// Names are UTF-8 in all that ZFS writes.
    #[error("a name in a list is not text")]
    Name,
    /// A truth value that is neither 0 nor 1, or a small number out of its range.
    #[error("a value in a list is out of range")]
    Range,
    /// A name that occurs twice is refused: readers differ in which one counts.
    #[error("the name '{0}' is twice in a list")]
    Duplicate(String),
    /// See [`MAX_DEPTH`].
    #[error("the list is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than a list.
    #[error("{0} bytes follow the list")]
    Trailing(usize),
}

/// Numbers of the types, as in `nvpair.h`.
mod kind {
    pub const BOOLEAN: i32 = 1;
    pub const BYTE: i32 = 2;
    pub const INT16: i32 = 3;
    pub const UINT16: i32 = 4;
    pub const INT32: i32 = 5;
    pub const UINT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const UINT64: i32 = 8;
    pub const STRING: i32 = 9;
    pub const BYTE_ARRAY: i32 = 10;
    pub const INT16_ARRAY: i32 = 11;
    pub const UINT16_ARRAY: i32 = 12;
    pub const INT32_ARRAY: i32 = 13;
    pub const UINT32_ARRAY: i32 = 14;
    pub const INT64_ARRAY: i32 = 15;
    pub const UINT64_ARRAY: i32 = 16;
    pub const STRING_ARRAY: i32 = 17;
    pub const HRTIME: i32 = 18;
    pub const NVLIST: i32 = 19;
    pub const NVLIST_ARRAY: i32 = 20;
    pub const BOOLEAN_VALUE: i32 = 21;
    pub const INT8: i32 = 22;
    pub const UINT8: i32 = 23;
    pub const BOOLEAN_ARRAY: i32 = 24;
    pub const INT8_ARRAY: i32 = 25;
    pub const UINT8_ARRAY: i32 = 26;
    pub const DOUBLE: i32 = 27;
}

impl NvValue {
    /// The number of the type, and of the elements.
    fn kind(&self) -> (i32, usize) {
        match self {
            Self::Present => (kind::BOOLEAN, 0),
            Self::Bool(_) => (kind::BOOLEAN_VALUE, 1),
            Self::Byte(_) => (kind::BYTE, 1),
            Self::I8(_) => (kind::INT8, 1),
            Self::U8(_) => (kind::UINT8, 1),
            Self::I16(_) => (kind::INT16, 1),
            Self::U16(_) => (kind::UINT16, 1),
            Self::I32(_) => (kind::INT32, 1),
            Self::U32(_) => (kind::UINT32, 1),
            Self::I64(_) => (kind::INT64, 1),
            Self::U64(_) => (kind::UINT64, 1),
            Self::HrTime(_) => (kind::HRTIME, 1),
            Self::Double(_) => (kind::DOUBLE, 1),
            Self::Text(_) => (kind::STRING, 1),
            Self::List(_) => (kind::NVLIST, 1),
            Self::Bools(v) => (kind::BOOLEAN_ARRAY, v.len()),
            Self::Bytes(v) => (kind::BYTE_ARRAY, v.len()),
            Self::I8s(v) => (kind::INT8_ARRAY, v.len()),
            Self::U8s(v) => (kind::UINT8_ARRAY, v.len()),
            Self::I16s(v) => (kind::INT16_ARRAY, v.len()),
            Self::U16s(v) => (kind::UINT16_ARRAY, v.len()),
            Self::I32s(v) => (kind::INT32_ARRAY, v.len()),
            Self::U32s(v) => (kind::UINT32_ARRAY, v.len()),
            Self::I64s(v) => (kind::INT64_ARRAY, v.len()),
            Self::U64s(v) => (kind::UINT64_ARRAY, v.len()),
            Self::Texts(v) => (kind::STRING_ARRAY, v.len()),
            Self::Lists(v) => (kind::NVLIST_ARRAY, v.len()),
        }
    }
}

/// Rounds up to a multiple of a power of two.
const fn align(length: usize, to: usize) -> usize {
    (length + to - 1) & !(to - 1)
}

/// Refuses a name or text that the formats cannot hold.
fn writable(text: &[u8]) -> Result<(), EncodeError> {
    let shown = || String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
    if text.contains(&0) {
        return Err(EncodeError::Nul(shown()));
    }
    if text.len() >= i32::MAX as usize / 2 { Err(EncodeError::TooLong(shown())) } else { Ok(()) }
}

/// Number of elements as the formats hold it.
fn element_count(name: &str, count: usize) -> Result<i32, EncodeError> {
    // The largest element takes 32 bytes in the native form, whose length must fit, too.
    let small = i32::try_from(count).ok().filter(|n| *n < i32::MAX / 64);
    small.ok_or_else(|| EncodeError::TooLong(name.to_owned()))
}

/// A reader of bytes that knows where it is.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.0 = tail;
        Ok(*head)
    }
}
