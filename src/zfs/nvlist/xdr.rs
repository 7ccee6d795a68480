//! The portable encoding (RFC 4506): big-endian, everything a multiple of four bytes.
//!
//! ```text
//! list    version, flags, pair…, 0, 0
//! pair    encoded size, size in the native form, name, type, elements, value
//! text    length, bytes (to 4)
//! array   count (not for bytes and texts), each element; nothing at all when it has none
//! ```

use super::{
    Cursor, DecodeError, EncodeError, List, MAX_DEPTH, NvValue, align, element_count, kind, writable,
};

const UNIQUE: u32 = 1;

pub(super) fn encode(list: &List) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![1, u8::from(cfg!(target_endian = "little")), 0, 0];
    whole(list, &mut out, 0)?;
    Ok(out)
}

fn whole(list: &List, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    if depth >= MAX_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    word(out, 0);
    word(out, UNIQUE);
    for (name, value) in list.iter() {
        pair(name, value, out, depth)?;
    }
    word(out, 0);
    word(out, 0);
    Ok(())
}

fn pair(name: &str, value: &NvValue, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    let too_long = || EncodeError::TooLong(name.chars().take(80).collect());
    i16::try_from(name.len() + 1).map_err(|_| too_long())?;
    let (kind, count) = value.kind();
    let start = out.len();
    word(out, 0);
    word(out, u32::try_from(native_size(name, value)).map_err(|_| too_long())?);
    string(name.as_bytes(), out)?;
    word(out, kind.cast_unsigned());
    word(out, element_count(name, count)?.cast_unsigned());
    if count > 0 {
        payload(value, out, depth)?;
    }
    // The C library counts the word of an empty array that it then does not write.
    let counted = if count == 0 && counts(value) { 4 } else { 0 };
    let size = i32::try_from(out.len() - start + counted).map_err(|_| too_long())?;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

/// Says whether an array of this type starts with its count.
fn counts(value: &NvValue) -> bool {
    let (kind, _) = value.kind();
    matches!(kind, kind::INT16_ARRAY..=kind::UINT64_ARRAY | kind::BOOLEAN_ARRAY..=kind::UINT8_ARRAY)
}

/// The size of the pair in memory, which the C reader allocates beforehand.
fn native_size(name: &str, value: &NvValue) -> usize {
    let (kind, count) = value.kind();
    let each = match kind {
        kind::BYTE | kind::INT8 | kind::UINT8 | kind::BYTE_ARRAY | kind::INT8_ARRAY | kind::UINT8_ARRAY => 1,
        kind::INT16 | kind::UINT16 | kind::INT16_ARRAY | kind::UINT16_ARRAY => 2,
        kind::INT32 | kind::UINT32 | kind::BOOLEAN_VALUE => 4,
        kind::INT32_ARRAY | kind::UINT32_ARRAY | kind::BOOLEAN_ARRAY => 4,
        kind::NVLIST => 24,
        kind::NVLIST_ARRAY => 32,
        kind::STRING => 0,
        _ => 8,
    };
    let texts = match value {
        NvValue::Text(text) => text.len() + 1,
        NvValue::Texts(all) => all.iter().map(|text| text.len() + 1).sum(),
        _ => 0,
    };
    align(16 + name.len() + 1, 8) + align(each * count + texts, 8)
}

fn payload(value: &NvValue, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    macro_rules! words {
        ($list:expr, $as:ty) => {{
            word(out, $list.len() as u32);
            $list.iter().for_each(|n| out.extend(<$as>::from(*n).to_be_bytes()));
        }};
    }
    match value {
        NvValue::Present => {}
        NvValue::Bool(b) => word(out, u32::from(*b)),
        NvValue::Byte(n) | NvValue::U8(n) => word(out, u32::from(*n)),
        // The kernel reads a character as a number below 256, also where it is signed.
        NvValue::I8(n) => word(out, u32::from(n.cast_unsigned())),
        NvValue::I16(n) => out.extend(i32::from(*n).to_be_bytes()),
        NvValue::U16(n) => word(out, u32::from(*n)),
        NvValue::I32(n) => out.extend(n.to_be_bytes()),
        NvValue::U32(n) => word(out, *n),
        NvValue::I64(n) | NvValue::HrTime(n) => out.extend(n.to_be_bytes()),
        NvValue::U64(n) => out.extend(n.to_be_bytes()),
        NvValue::Double(n) => out.extend(n.to_be_bytes()),
        NvValue::Text(text) => string(text, out)?,
        NvValue::List(inner) => whole(inner, out, depth + 1)?,
        NvValue::Bools(v) => words!(v, u32),
        NvValue::Bytes(v) => opaque(v, out),
        NvValue::U8s(v) => words!(v, u32),
        NvValue::I8s(v) => {
            word(out, v.len() as u32);
            v.iter().for_each(|n| word(out, u32::from(n.cast_unsigned())));
        }
        NvValue::I16s(v) => words!(v, i32),
        NvValue::U16s(v) => words!(v, u32),
        NvValue::I32s(v) => words!(v, i32),
        NvValue::U32s(v) => words!(v, u32),
        NvValue::I64s(v) => words!(v, i64),
        NvValue::U64s(v) => words!(v, u64),
        NvValue::Texts(v) => v.iter().try_for_each(|text| string(text, out))?,
        NvValue::Lists(v) => v.iter().try_for_each(|list| whole(list, out, depth + 1))?,
    }
    Ok(())
}

fn word(out: &mut Vec<u8>, n: u32) {
    out.extend(n.to_be_bytes());
}

fn string(text: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    writable(text)?;
    word(out, text.len() as u32);
    opaque(text, out);
    Ok(())
}

fn opaque(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes);
    out.resize(out.len() + align(bytes.len(), 4) - bytes.len(), 0);
}

pub(super) fn decode(bytes: &[u8]) -> Result<(List, &[u8]), DecodeError> {
    let mut cursor = Cursor(bytes);
    let list = read_whole(&mut cursor, 0)?;
    Ok((list, cursor.0))
}

impl Cursor<'_> {
    fn word(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn number(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn opaque(&mut self, length: usize) -> Result<&[u8], DecodeError> {
        // Checked before rounding up, which could overflow.
        if length > self.0.len() {
            return Err(DecodeError::Short);
        }
        Ok(&self.take(align(length, 4))?[..length])
    }

    fn string(&mut self) -> Result<Vec<u8>, DecodeError> {
        let length = self.word()? as usize;
        let text = self.opaque(length)?;
        if text.contains(&0) { Err(DecodeError::Length) } else { Ok(text.to_vec()) }
    }

    /// A small number: some writers extend the sign of a character, some do not.
    fn small(&mut self) -> Result<u8, DecodeError> {
        match self.number()? {
            n @ 0..=255 => Ok(n as u8),
            n @ -128..=-1 => Ok((n as i8).cast_unsigned()),
            _ => Err(DecodeError::Range),
        }
    }

    fn truth(&mut self) -> Result<bool, DecodeError> {
        match self.word()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Range),
        }
    }
}

fn read_whole(cursor: &mut Cursor<'_>, depth: usize) -> Result<List, DecodeError> {
    if depth >= MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let version = cursor.number()?;
    if version != 0 {
        return Err(DecodeError::Version(version));
    }
    cursor.word()?;
    let mut list = List::new();
    loop {
        let (encoded, decoded) = (cursor.number()?, cursor.number()?);
        if decoded == 0 {
            return if encoded == 0 { Ok(list) } else { Err(DecodeError::Length) };
        }
        let name = String::from_utf8(cursor.string()?).map_err(|_| DecodeError::Name)?;
        let (kind, count) = (cursor.number()?, cursor.number()?);
        let value = read_value(cursor, kind, count, depth)?;
        if usize::try_from(decoded) != Ok(native_size(&name, &value)) {
            return Err(DecodeError::Length);
        }
        if list.insert(name.clone(), value).is_some() {
            return Err(DecodeError::Duplicate(name));
        }
    }
}

fn read_value(cursor: &mut Cursor<'_>, kind: i32, count: i32, depth: usize) -> Result<NvValue, DecodeError> {
    let wrong = DecodeError::Type { kind, count };
    let array = matches!(kind, kind::BYTE_ARRAY..=kind::STRING_ARRAY | kind::NVLIST_ARRAY)
        || matches!(kind, kind::BOOLEAN_ARRAY..=kind::UINT8_ARRAY);
    let Ok(count) = usize::try_from(count) else { return Err(wrong) };
    if !array && count != usize::from(kind != kind::BOOLEAN) {
        return Err(wrong);
    }
    // Every element takes at least a word, but a byte.
    let words = if kind == kind::BYTE_ARRAY { count / 4 } else { count };
    if array && words > cursor.0.len() / 4 {
        return Err(DecodeError::Short);
    }
    let counted =
        matches!(kind, kind::INT16_ARRAY..=kind::UINT64_ARRAY | kind::BOOLEAN_ARRAY..=kind::UINT8_ARRAY);
    if counted && count > 0 && cursor.word()? as usize != count {
        return Err(DecodeError::Length);
    }
    macro_rules! many {
        ($read:expr) => {{
            let read = $read;
            (0..count).map(|_| read(&mut *cursor)).collect::<Result<Vec<_>, DecodeError>>()?
        }};
    }
    let short = |c: &mut Cursor<'_>| i16::try_from(c.number()?).map_err(|_| DecodeError::Range);
    let ushort = |c: &mut Cursor<'_>| u16::try_from(c.word()?).map_err(|_| DecodeError::Range);
    let long = |c: &mut Cursor<'_>| Ok(i64::from_be_bytes(c.array()?));
    let ulong = |c: &mut Cursor<'_>| Ok(u64::from_be_bytes(c.array()?));
    Ok(match kind {
        kind::BOOLEAN => NvValue::Present,
        kind::BOOLEAN_VALUE => NvValue::Bool(cursor.truth()?),
        kind::BYTE => NvValue::Byte(cursor.small()?),
        kind::UINT8 => NvValue::U8(cursor.small()?),
        kind::INT8 => NvValue::I8(cursor.small()?.cast_signed()),
        kind::INT16 => NvValue::I16(short(cursor)?),
        kind::UINT16 => NvValue::U16(ushort(cursor)?),
        kind::INT32 => NvValue::I32(cursor.number()?),
        kind::UINT32 => NvValue::U32(cursor.word()?),
        kind::INT64 => NvValue::I64(long(cursor)?),
        kind::UINT64 => NvValue::U64(ulong(cursor)?),
        kind::HRTIME => NvValue::HrTime(long(cursor)?),
        kind::DOUBLE => NvValue::Double(f64::from_be_bytes(cursor.array()?)),
        kind::STRING => NvValue::Text(cursor.string()?),
        kind::NVLIST => NvValue::List(read_whole(cursor, depth + 1)?),
        kind::BYTE_ARRAY => NvValue::Bytes(cursor.opaque(count)?.to_vec()),
        kind::BOOLEAN_ARRAY => NvValue::Bools(many!(Cursor::truth)),
        kind::INT8_ARRAY => NvValue::I8s(many!(|c: &mut Cursor<'_>| Ok(c.small()?.cast_signed()))),
        kind::UINT8_ARRAY => NvValue::U8s(many!(Cursor::small)),
        kind::INT16_ARRAY => NvValue::I16s(many!(short)),
        kind::UINT16_ARRAY => NvValue::U16s(many!(ushort)),
        kind::INT32_ARRAY => NvValue::I32s(many!(Cursor::number)),
        kind::UINT32_ARRAY => NvValue::U32s(many!(Cursor::word)),
        kind::INT64_ARRAY => NvValue::I64s(many!(long)),
        kind::UINT64_ARRAY => NvValue::U64s(many!(ulong)),
        kind::STRING_ARRAY => NvValue::Texts(many!(Cursor::string)),
        kind::NVLIST_ARRAY => NvValue::Lists(many!(|c: &mut Cursor<'_>| read_whole(c, depth + 1))),
        _ => return Err(wrong),
    })
}
