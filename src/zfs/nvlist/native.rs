//! The encoding in memory: the C structures one after the other, pointers as zeros.
//!
//! ```text
//! list    version i32, flags u32, pair…, end i32 = 0
//! pair    size i32, name size i16, 0 i16, elements i32, type i32, name\0 (to 8), value (to 8)
//! map     as value: 24 bytes (version i32, flags u32, 16 zeros); pair… and end follow the pair
//! texts   as value: 8 zeros each, then each text with its end
//! maps    as value: 8 zeros each, 24 bytes each; the pairs and ends follow the pair
//! ```

use super::{
    Cursor, DecodeError, EncodeError, List, MAX_DEPTH, NvValue, align, element_count, kind, writable,
};

/// Names are unique (`NV_UNIQUE_NAME`).
const UNIQUE: u32 = 1;
const HEADER: usize = 16;
const EMBEDDED: usize = 24;

pub(super) fn encode(list: &List) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![0, u8::from(cfg!(target_endian = "little")), 0, 0];
    out.extend(0i32.to_ne_bytes());
    out.extend(UNIQUE.to_ne_bytes());
    pairs(list, &mut out, 0)?;
    Ok(out)
}

fn pairs(list: &List, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    if depth >= MAX_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    for (name, value) in list.iter() {
        pair(name, value, out)?;
        match value {
            NvValue::List(inner) => pairs(inner, out, depth + 1)?,
            NvValue::Lists(inner) => inner.iter().try_for_each(|l| pairs(l, out, depth + 1))?,
            _ => {}
        }
    }
    out.extend(0i32.to_ne_bytes());
    Ok(())
}

fn pair(name: &str, value: &NvValue, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    writable(name.as_bytes())?;
    let too_long = || EncodeError::TooLong(name.chars().take(80).collect());
    let name_size = i16::try_from(name.len() + 1).map_err(|_| too_long())?;
    let (kind, count) = value.kind();
    let start = out.len();
    out.extend(0i32.to_ne_bytes());
    out.extend(name_size.to_ne_bytes());
    out.extend([0, 0]);
    out.extend(element_count(name, count)?.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(name.as_bytes());
    out.push(0);
    pad(out, start);
    payload(value, out)?;
    pad(out, start);
    let size = i32::try_from(out.len() - start).map_err(|_| too_long())?;
    out[start..start + 4].copy_from_slice(&size.to_ne_bytes());
    Ok(())
}

fn pad(out: &mut Vec<u8>, start: usize) {
    let length = align(out.len() - start, 8);
    out.resize(start + length, 0);
}

fn payload(value: &NvValue, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    macro_rules! numbers {
        ($list:expr) => {
            $list.iter().for_each(|n| out.extend(n.to_ne_bytes()))
        };
    }
    match value {
        NvValue::Present => {}
        NvValue::Bool(b) => out.extend(i32::from(*b).to_ne_bytes()),
        NvValue::Byte(n) | NvValue::U8(n) => out.push(*n),
        NvValue::I8(n) => out.extend(n.to_ne_bytes()),
        NvValue::I16(n) => out.extend(n.to_ne_bytes()),
        NvValue::U16(n) => out.extend(n.to_ne_bytes()),
        NvValue::I32(n) => out.extend(n.to_ne_bytes()),
        NvValue::U32(n) => out.extend(n.to_ne_bytes()),
        NvValue::I64(n) | NvValue::HrTime(n) => out.extend(n.to_ne_bytes()),
        NvValue::U64(n) => out.extend(n.to_ne_bytes()),
        NvValue::Double(n) => out.extend(n.to_ne_bytes()),
        NvValue::Text(text) => string(text, out)?,
        NvValue::List(_) => embedded(out),
        NvValue::Bools(v) => v.iter().for_each(|b| out.extend(i32::from(*b).to_ne_bytes())),
        NvValue::Bytes(v) | NvValue::U8s(v) => out.extend(v),
        NvValue::I8s(v) => numbers!(v),
        NvValue::I16s(v) => numbers!(v),
        NvValue::U16s(v) => numbers!(v),
        NvValue::I32s(v) => numbers!(v),
        NvValue::U32s(v) => numbers!(v),
        NvValue::I64s(v) => numbers!(v),
        NvValue::U64s(v) => numbers!(v),
        NvValue::Texts(v) => {
            out.resize(out.len() + v.len() * 8, 0);
            v.iter().try_for_each(|text| string(text, out))?;
        }
        NvValue::Lists(v) => {
            out.resize(out.len() + v.len() * 8, 0);
            v.iter().for_each(|_| embedded(out));
        }
    }
    Ok(())
}

fn string(text: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    writable(text)?;
    out.extend(text);
    out.push(0);
    Ok(())
}

fn embedded(out: &mut Vec<u8>) {
    out.extend(0i32.to_ne_bytes());
    out.extend(UNIQUE.to_ne_bytes());
    out.resize(out.len() + EMBEDDED - 8, 0);
}

pub(super) fn decode(bytes: &[u8]) -> Result<(List, &[u8]), DecodeError> {
    let mut cursor = Cursor(bytes);
    let version = i32::from_ne_bytes(cursor.array()?);
    if version != 0 {
        return Err(DecodeError::Version(version));
    }
    cursor.take(4)?;
    let list = read_pairs(&mut cursor, 0)?;
    Ok((list, cursor.0))
}

fn read_pairs(cursor: &mut Cursor<'_>, depth: usize) -> Result<List, DecodeError> {
    if depth >= MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let mut list = List::new();
    loop {
        let size = i32::from_ne_bytes(cursor.array()?);
        if size == 0 {
            return Ok(list);
        }
        let size = usize::try_from(size).ok().and_then(|n| n.checked_sub(4)).ok_or(DecodeError::Length)?;
        let mut inner = Cursor(cursor.take(size)?);
        let (name, head) = read_head(&mut inner)?;
        let value = read_value(&head, inner.0, cursor, depth)?;
        if list.insert(name.clone(), value).is_some() {
            return Err(DecodeError::Duplicate(name));
        }
    }
}

struct PairHeader {
    kind: i32,
    count: usize,
}

fn read_head(pair: &mut Cursor<'_>) -> Result<(String, PairHeader), DecodeError> {
    let name_size = i16::from_ne_bytes(pair.array()?);
    pair.take(2)?;
    let count = i32::from_ne_bytes(pair.array()?);
    let kind = i32::from_ne_bytes(pair.array()?);
    let name_size = usize::try_from(name_size).map_err(|_| DecodeError::Length)?;
    let field = pair.take(align(HEADER + name_size, 8) - HEADER)?;
    let name = match field[..name_size].split_last() {
        Some((0, name)) if !name.contains(&0) => name,
        _ => return Err(DecodeError::Name),
    };
    let name = std::str::from_utf8(name).map_err(|_| DecodeError::Name)?.to_owned();
    let count = usize::try_from(count).map_err(|_| DecodeError::Type { kind, count })?;
    Ok((name, PairHeader { kind, count }))
}

/// Reads the value in `data`; the maps in it come from `after`, behind the pair.
fn read_value(
    head: &PairHeader,
    data: &[u8],
    after: &mut Cursor<'_>,
    depth: usize,
) -> Result<NvValue, DecodeError> {
    let &PairHeader { kind, count } = head;
    let wrong = DecodeError::Type { kind, count: i32::try_from(count).unwrap_or(i32::MAX) };
    let wanted = match kind {
        kind::BOOLEAN => 0,
        kind::BYTE_ARRAY..=kind::STRING_ARRAY | kind::NVLIST_ARRAY => count,
        kind::BOOLEAN_ARRAY..=kind::UINT8_ARRAY => count,
        _ => 1,
    };
    if count != wanted {
        return Err(wrong);
    }
    let mut data = Cursor(data);
    macro_rules! one {
        ($type:ty) => {
            <$type>::from_ne_bytes(data.array()?)
        };
    }
    // A count is believed only as far as there are bytes for it.
    macro_rules! many {
        ($type:ty) => {{
            let bytes = data.take(count.checked_mul(size_of::<$type>()).ok_or(DecodeError::Length)?)?;
            bytes
                .chunks_exact(size_of::<$type>())
                .map(|c| <$type>::from_ne_bytes(c.try_into().expect("exact chunk")))
        }};
    }
    let value = match kind {
        kind::BOOLEAN => NvValue::Present,
        kind::BOOLEAN_VALUE => NvValue::Bool(truth(one!(i32))?),
        kind::BYTE => NvValue::Byte(one!(u8)),
        kind::INT8 => NvValue::I8(one!(i8)),
        kind::UINT8 => NvValue::U8(one!(u8)),
        kind::INT16 => NvValue::I16(one!(i16)),
        kind::UINT16 => NvValue::U16(one!(u16)),
        kind::INT32 => NvValue::I32(one!(i32)),
        kind::UINT32 => NvValue::U32(one!(u32)),
        kind::INT64 => NvValue::I64(one!(i64)),
        kind::UINT64 => NvValue::U64(one!(u64)),
        kind::HRTIME => NvValue::HrTime(one!(i64)),
        kind::DOUBLE => NvValue::Double(one!(f64)),
        kind::STRING => NvValue::Text(read_string(&mut data)?),
        kind::BOOLEAN_ARRAY => NvValue::Bools(many!(i32).map(truth).collect::<Result<_, _>>()?),
        kind::BYTE_ARRAY => NvValue::Bytes(data.take(count)?.to_vec()),
        kind::UINT8_ARRAY => NvValue::U8s(data.take(count)?.to_vec()),
        kind::INT8_ARRAY => NvValue::I8s(many!(i8).collect()),
        kind::INT16_ARRAY => NvValue::I16s(many!(i16).collect()),
        kind::UINT16_ARRAY => NvValue::U16s(many!(u16).collect()),
        kind::INT32_ARRAY => NvValue::I32s(many!(i32).collect()),
        kind::UINT32_ARRAY => NvValue::U32s(many!(u32).collect()),
        kind::INT64_ARRAY => NvValue::I64s(many!(i64).collect()),
        kind::UINT64_ARRAY => NvValue::U64s(many!(u64).collect()),
        kind::STRING_ARRAY => {
            data.take(count.checked_mul(8).ok_or(DecodeError::Length)?)?;
            NvValue::Texts((0..count).map(|_| read_string(&mut data)).collect::<Result<_, _>>()?)
        }
        kind::NVLIST => {
            data.take(EMBEDDED)?;
            NvValue::List(read_pairs(after, depth + 1)?)
        }
        kind::NVLIST_ARRAY => {
            data.take(count.checked_mul(8 + EMBEDDED).ok_or(DecodeError::Length)?)?;
            NvValue::Lists((0..count).map(|_| read_pairs(after, depth + 1)).collect::<Result<_, _>>()?)
        }
        _ => return Err(wrong),
    };
    // The rest may only be the padding.
    if data.0.len() >= 8 { Err(DecodeError::Length) } else { Ok(value) }
}

fn truth(n: i32) -> Result<bool, DecodeError> {
    match n {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Range),
    }
}

fn read_string(data: &mut Cursor<'_>) -> Result<Vec<u8>, DecodeError> {
    let end = data.0.iter().position(|b| *b == 0).ok_or(DecodeError::Short)?;
    let text = data.take(end)?.to_vec();
    data.take(1)?;
    Ok(text)
}
