use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8.., 0..20)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z:@#/._-]{0,12}", "[^\0]{0,5}"]
}

fn several<T: std::fmt::Debug + Clone>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..5)
}

fn scalar() -> impl Strategy<Value = NvValue> {
    let one = prop_oneof![
        Just(NvValue::Present),
        any::<bool>().prop_map(NvValue::Bool),
        any::<u8>().prop_map(NvValue::Byte),
        any::<i8>().prop_map(NvValue::I8),
        any::<u8>().prop_map(NvValue::U8),
        any::<i16>().prop_map(NvValue::I16),
        any::<u16>().prop_map(NvValue::U16),
        any::<i32>().prop_map(NvValue::I32),
        any::<u32>().prop_map(NvValue::U32),
        any::<i64>().prop_map(NvValue::I64),
        any::<u64>().prop_map(NvValue::U64),
        any::<i64>().prop_map(NvValue::HrTime),
        prop::num::f64::NORMAL.prop_map(NvValue::Double),
        text().prop_map(NvValue::Text),
    ];
    let many = prop_oneof![
        several(any::<bool>()).prop_map(NvValue::Bools),
        several(any::<u8>()).prop_map(NvValue::Bytes),
        several(any::<i8>()).prop_map(NvValue::I8s),
        several(any::<u8>()).prop_map(NvValue::U8s),
        several(any::<i16>()).prop_map(NvValue::I16s),
        several(any::<u16>()).prop_map(NvValue::U16s),
        several(any::<i32>()).prop_map(NvValue::I32s),
        several(any::<u32>()).prop_map(NvValue::U32s),
        several(any::<i64>()).prop_map(NvValue::I64s),
        several(any::<u64>()).prop_map(NvValue::U64s),
        several(text()).prop_map(NvValue::Texts),
    ];
    prop_oneof![one, many]
}

fn list() -> impl Strategy<Value = List> {
    let leaf = prop::collection::btree_map(name(), scalar(), 0..6).prop_map(List);
    leaf.prop_recursive(4, 40, 5, |inner| {
        let value = prop_oneof![
            scalar(),
            inner.clone().prop_map(NvValue::List),
            prop::collection::vec(inner, 0..3).prop_map(NvValue::Lists),
        ];
        prop::collection::btree_map(name(), value, 0..5).prop_map(List)
    })
}

proptest! {
    #[test]
    fn native_round_trip(list in list()) {
        let bytes = list.to_native().unwrap();
        prop_assert_eq!(bytes.len() % 4, 0);
        prop_assert_eq!(List::decode(&bytes).unwrap(), list);
    }

    #[test]
    fn xdr_round_trip(list in list()) {
        let bytes = list.to_xdr().unwrap();
        prop_assert_eq!(bytes.len() % 4, 0);
        prop_assert_eq!(List::decode(&bytes).unwrap(), list);
    }

    /// Decoding ends for any bytes; every list that it accepts can be written and read again.
    #[test]
    fn any_bytes(encoding in 0u8..2, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        bytes.splice(0..0, [encoding, 1, 0, 0]);
        if let Ok(list) = List::decode(&bytes) {
            prop_assert_eq!(List::decode(&list.to_native().unwrap()).unwrap(), list);
        }
    }

    /// A damaged list is refused or is another list, and never a panic.
    #[test]
    fn damage(list in list(), xdr in any::<bool>(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = if xdr { list.to_xdr().unwrap() } else { list.to_native().unwrap() };
        for (at, with) in hits {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        if let Ok(other) = List::decode(&bytes) {
            prop_assert!(other.to_native().is_ok());
        }
    }

    #[test]
    fn cut_short(list in list(), xdr in any::<bool>(), at in any::<prop::sample::Index>()) {
        let bytes = if xdr { list.to_xdr().unwrap() } else { list.to_native().unwrap() };
        prop_assert!(List::decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

/// The bytes that libnvpair 2.3.2 packed on x86-64 for the same list.
#[test]
#[cfg(target_endian = "little")]
fn known_bytes() {
    let inner: List = [("n", 7u64)].into();
    let mut list: List =
        [("a", NvValue::Present), ("bv", true.into()), ("by", NvValue::Bytes(vec![1, 2, 255]))].into();
    list.insert("e", NvValue::U32s(vec![]));
    list.insert("i8", NvValue::I8(3));
    list.insert("i8a", NvValue::I8s(vec![1, 2, 3]));
    list.insert("la", vec![inner.clone(), inner.clone()]);
    list.insert("m", inner);
    list.insert("s", "hi");
    list.insert("sa", NvValue::Texts(vec![b"x".to_vec(), vec![]]));
    list.insert("u16", NvValue::U16s(vec![1, 2, 65535]));
    let native =
        hex("00010000 00000000 01000000 18000000 02000000 00000000 01000000 61000000 00000000 20000000 \
         03000000 01000000 15000000 62760000 00000000 01000000 00000000 20000000 03000000 03000000 \
         0a000000 62790000 00000000 0102ff00 00000000 18000000 02000000 00000000 0e000000 65000000 \
         00000000 20000000 03000000 01000000 16000000 69380000 00000000 03000000 00000000 20000000 \
         04000000 03000000 19000000 69386100 00000000 01020300 00000000 58000000 03000000 02000000 \
         14000000 6c610000 00000000 00000000 00000000 00000000 00000000 00000000 01000000 00000000 \
         00000000 00000000 00000000 00000000 01000000 00000000 00000000 00000000 00000000 20000000 \
         02000000 01000000 08000000 6e000000 00000000 07000000 00000000 00000000 20000000 02000000 \
         01000000 08000000 6e000000 00000000 07000000 00000000 00000000 30000000 02000000 01000000 \
         13000000 6d000000 00000000 00000000 01000000 00000000 00000000 00000000 00000000 20000000 \
         02000000 01000000 08000000 6e000000 00000000 07000000 00000000 00000000 20000000 02000000 \
         01000000 09000000 73000000 00000000 68690000 00000000 30000000 03000000 02000000 11000000 \
         73610000 00000000 00000000 00000000 00000000 00000000 78000000 00000000 20000000 04000000 \
         03000000 0c000000 75313600 00000000 01000200 ffff0000 00000000");
    let xdr =
        hex("01010000 00000000 00000001 00000018 00000018 00000001 61000000 00000001 00000000 0000001c \
         00000020 00000002 62760000 00000015 00000001 00000001 0000001c 00000020 00000002 62790000 \
         0000000a 00000003 0102ff00 0000001c 00000018 00000001 65000000 0000000e 00000000 0000001c \
         00000020 00000002 69380000 00000016 00000001 00000003 00000028 00000020 00000003 69386100 \
         00000019 00000003 00000003 00000001 00000002 00000003 00000078 00000058 00000002 6c610000 \
         00000014 00000002 00000000 00000001 00000020 00000020 00000001 6e000000 00000008 00000001 \
         00000000 00000007 00000000 00000000 00000000 00000001 00000020 00000020 00000001 6e000000 \
         00000008 00000001 00000000 00000007 00000000 00000000 00000048 00000030 00000001 6d000000 \
         00000013 00000001 00000000 00000001 00000020 00000020 00000001 6e000000 00000008 00000001 \
         00000000 00000007 00000000 00000000 00000020 00000020 00000001 73000000 00000009 00000001 \
         00000002 68690000 00000024 00000030 00000002 73610000 00000011 00000002 00000001 78000000 \
         00000000 00000028 00000020 00000003 75313600 0000000c 00000003 00000003 00000001 00000002 \
         0000ffff 00000000 00000000 00000000");
    assert_eq!(list.to_native().unwrap(), native);
    // The library counts a word for the empty array `e` that it does not write; it is left at the end.
    assert_eq!(list.to_xdr().unwrap(), xdr[..xdr.len() - 4]);
    assert_eq!(List::decode(&native).unwrap(), list);
    assert_eq!(List::decode_prefix(&xdr).unwrap(), (list, &[0u8; 4][..]));
}

/// The C library outside the kernel extends the sign of a character (-3 here); the kernel does not.
#[test]
fn sign_of_a_character() {
    let list: List = [("i8", NvValue::I8(-3))].into();
    let head = "01010000 00000000 00000001 0000001c 00000020 00000002 69380000 00000016 00000001";
    for word in ["fffffffd", "000000fd"] {
        let bytes = hex(&format!("{head} {word} 00000000 00000000"));
        assert_eq!(List::decode(&bytes).unwrap(), list, "{word}");
    }
    let bytes = hex(&format!("{head} 00000100 00000000 00000000"));
    assert_eq!(List::decode(&bytes), Err(DecodeError::Range));
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn refused() {
    let list: List = [("a", 1u64), ("b", 2u64)].into();
    let mut bytes = list.to_native().unwrap();
    let b = bytes.iter().position(|c| *c == b'b').unwrap();
    bytes[b] = b'a';
    assert_eq!(List::decode(&bytes), Err(DecodeError::Duplicate("a".to_owned())));
    bytes[b] = b'c';
    bytes.push(0);
    assert_eq!(List::decode(&bytes), Err(DecodeError::Trailing(1)));
    assert!(List::decode_prefix(&bytes).is_ok());
    bytes[1] ^= 1;
    assert_eq!(List::decode(&bytes), Err(DecodeError::Endian));
    bytes[0] = 9;
    assert_eq!(List::decode(&bytes), Err(DecodeError::Encoding(9)));
    assert_eq!(List::decode(&[0, 1]), Err(DecodeError::Short));

    let mut deep = List::new();
    for _ in 0..MAX_DEPTH - 1 {
        deep = [("x", deep)].into();
    }
    assert!(List::decode(&deep.to_native().unwrap()).is_ok());
    let deeper: List = [("x", deep)].into();
    assert_eq!(deeper.to_native(), Err(EncodeError::TooDeep));
    assert_eq!(deeper.to_xdr(), Err(EncodeError::TooDeep));

    let nul: List = [("a", "b\0c")].into();
    assert_eq!(nul.to_native(), Err(EncodeError::Nul("b\0c".to_owned())));
    let long: List = [("x".repeat(40_000), true)].into();
    assert!(matches!(long.to_native(), Err(EncodeError::TooLong(_))));
    assert!(matches!(long.to_xdr(), Err(EncodeError::TooLong(_))));
}
