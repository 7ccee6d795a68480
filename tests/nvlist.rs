//! The reader of ZFS' lists against bytes that somebody else wrote: it never panics, and never takes
//! more memory than a small multiple of what it was given. Alone in this file, for its allocator counts.
//!
//! `NVLIST_SECONDS=300 cargo test --test nvlist` goes on for that long. What is found is printed and kept
//! in the corpus, which every run of the tests replays.

#![allow(unsafe_code)] // a counting allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zones::zfs::nvlist::{List, MAX_DEPTH, NvValue};

#[path = "../fuzz/harness.rs"]
#[allow(dead_code)]
mod harness;

thread_local! {
    /// Bytes in use by this thread, and the most there were.
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it is; only numbers are kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.get().wrapping_add(layout.size());
        NOW.set(now);
        MOST.set(MOST.get().max(now));
        // SAFETY: the caller keeps the rules of this trait, which are those of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.set(NOW.get().wrapping_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An entry of a map has room for eleven in its node, and the smallest takes 24 bytes of input.
const TIMES: usize = 64;
const BESIDES: usize = 4096;

/// Reads and returns how many bytes were in use at most.
fn memory_to_read(data: &[u8]) -> usize {
    let before = NOW.get();
    MOST.set(before);
    drop(List::decode(data));
    MOST.get().saturating_sub(before)
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/nvlist")
}

/// The lists that the corpus starts from, by name.
fn seeds() -> Vec<(&'static str, List)> {
    let property = |value: NvValue, source: &str| {
        NvValue::List([("value", value), ("source", NvValue::from(source))].into())
    };
    let dataset: List = [
        ("quota", property(NvValue::U64(10 << 30), "tank/zion")),
        ("mountpoint", property(NvValue::from("/export"), "tank")),
        ("zoned", property(NvValue::U64(1), "tank/zion")),
        ("user:note", property(NvValue::Text(vec![0xff, b'x']), "tank/zion")),
    ]
    .into();
    let disk = |n: u64| -> List { [("type", NvValue::from("file")), ("id", NvValue::U64(n))].into() };
    let tree: List = [
        ("type", NvValue::from("root")),
        ("children", NvValue::Lists(vec![disk(0), disk(1), disk(2)])),
        ("vdev_stats", NvValue::U64s((0..40).collect())),
    ]
    .into();
    let pool: List = [(
        "tank",
        NvValue::List([("version", NvValue::U64(5000)), ("vdev_tree", NvValue::List(tree))].into()),
    )]
    .into();
    let scalars: List = [
        ("present", NvValue::Present),
        ("bool", NvValue::Bool(true)),
        ("byte", NvValue::Byte(200)),
        ("i8", NvValue::I8(-1)),
        ("u8", NvValue::U8(255)),
        ("i16", NvValue::I16(i16::MIN)),
        ("u16", NvValue::U16(u16::MAX)),
        ("i32", NvValue::I32(i32::MIN)),
        ("u32", NvValue::U32(u32::MAX)),
        ("i64", NvValue::I64(i64::MIN)),
        ("u64", NvValue::U64(u64::MAX)),
        ("time", NvValue::HrTime(-5)),
        ("double", NvValue::Double(0.5)),
        ("nan", NvValue::Double(f64::NAN)),
        ("text", NvValue::from("some text")),
        ("", NvValue::from("")),
    ]
    .into();
    let arrays: List = [
        ("bools", NvValue::Bools(vec![true, false])),
        ("bytes", NvValue::Bytes(vec![1, 2, 3, 4, 5])),
        ("i8s", NvValue::I8s(vec![-1, 0, 1])),
        ("u8s", NvValue::U8s(vec![9; 9])),
        ("i16s", NvValue::I16s(vec![-1, 300])),
        ("u16s", NvValue::U16s(vec![7, 8, 9])),
        ("i32s", NvValue::I32s(vec![-7])),
        ("u32s", NvValue::U32s(vec![1, 2])),
        ("i64s", NvValue::I64s(vec![-1])),
        ("u64s", NvValue::U64s(vec![u64::MAX, 0])),
        ("texts", NvValue::Texts(vec![b"a".to_vec(), Vec::new(), b"bcd".to_vec()])),
        ("lists", NvValue::Lists(vec![List::new(), disk(1)])),
        ("none", NvValue::U64s(Vec::new())),
        ("no texts", NvValue::Texts(Vec::new())),
        ("no lists", NvValue::Lists(Vec::new())),
    ]
    .into();
    let mut deep = List::new();
    for _ in 0..MAX_DEPTH - 1 {
        deep = [("x", deep)].into();
    }
    vec![
        ("empty", List::new()),
        ("dataset", dataset),
        ("pool", pool),
        ("scalars", scalars),
        ("arrays", arrays),
        ("deep", deep),
        ("set", List::set(["tank/a@1", "tank/b@1", "tank/c@1"])),
    ]
}

#[test]
fn the_corpus_starts_from_what_the_encoder_writes() {
    for (name, list) in seeds() {
        let native = (format!("{name}-native"), list.to_native().expect("a list that can be written"));
        let xdr = (format!("{name}-xdr"), list.to_xdr().expect("a list that can be written"));
        for (file, bytes) in [native, xdr] {
            let path = corpus().join(&file);
            if std::env::var_os("BLESS").is_some() {
                fs::create_dir_all(corpus()).expect("a folder");
                fs::write(&path, &bytes).expect("a file");
            }
            assert_eq!(fs::read(&path).ok(), Some(bytes), "{file}: BLESS=1 writes it");
        }
    }
}

/// A small generator of numbers that look random (xorshift), the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).expect("a length")).expect("below a length")
    }
}

/// Numbers that lengths and counts go wrong with.
const NASTY: [u32; 12] =
    [0, 1, 7, 8, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_ffff];

/// Damages a list: what a fuzzer does, without its knowledge of where it has been.
fn damage(random: &mut Random, data: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..=random.below(6) {
        let length = data.len();
        let at = random.below(length);
        match random.below(9) {
            0 if length > 0 => data[at] ^= 1 << random.below(8),
            1 if length > 0 => data[at] = random.next().to_le_bytes()[0],
            2 => data.truncate(at),
            3 if length >= 4 => {
                let word = NASTY[random.below(NASTY.len())];
                let bytes = if random.below(2) == 0 { word.to_le_bytes() } else { word.to_be_bytes() };
                let at = (at & !3).min(length - 4);
                data[at..at + 4].copy_from_slice(&bytes);
            }
            // Types and counts are small numbers.
            4 if length >= 4 => {
                let word = u32::try_from(random.below(32)).expect("small");
                let bytes = if random.below(2) == 0 { word.to_le_bytes() } else { word.to_be_bytes() };
                let at = (at & !3).min(length - 4);
                data[at..at + 4].copy_from_slice(&bytes);
            }
            5 => {
                let end = (at + 4 * random.below(16)).min(length);
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
            6 => {
                let end = (at + 4 * random.below(16)).min(length);
                data.drain(at..end);
            }
            7 => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len()) & !3;
                let end = (from + 4 * random.below(32)).min(other.len());
                data.splice(
                    (at & !3).min(length)..length.min(at + 4 * random.below(32)).max(at & !3),
                    other[from.min(end)..end].iter().copied(),
                );
            }
            _ if length > 1 => data[1] = 1,
            _ => {}
        }
        // Most of what is not one of the two encodings is refused at its first byte.
        if let Some(first) = data.first_mut() {
            *first &= 1;
        }
    }
}

#[test]
fn damaged_lists_are_refused_or_read_within_bounds() {
    let seconds = std::env::var("NVLIST_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let seed = std::env::var("NVLIST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_0002);
    let mut random = Random(seed);
    let mut files: Vec<_> = fs::read_dir(corpus()).expect("a corpus").flatten().map(|e| e.path()).collect();
    files.sort();
    let starts: Vec<Vec<u8>> = files.iter().map(|f| fs::read(f).expect("a readable input")).collect();
    assert!(starts.len() >= 10, "only {} inputs", starts.len());
    let mut pool = starts.clone();
    let (mut tried, mut read) = (0u64, 0u64);
    while Instant::now() < end {
        for _ in 0..100 {
            let mut data = pool[random.below(pool.len())].clone();
            damage(&mut random, &mut data, &starts);
            data.truncate(64 << 10);
            tried += 1;
            let used = memory_to_read(&data);
            let good = catch_unwind(|| harness::nvlist(&data)).is_ok();
            if !good || used > TIMES * data.len() + BESIDES {
                let hex: String = data.iter().map(|b| format!("{b:02x}")).collect();
                panic!("{} bytes take {used} bytes of memory, or fail: {hex}", data.len());
            }
            if List::decode(&data).is_ok() {
                read += 1;
                // What is still a list is a good start for more of the same.
                if pool.len() < 4096 {
                    pool.push(data);
                } else {
                    let at = starts.len() + random.below(pool.len() - starts.len());
                    pool[at] = data;
                }
            }
        }
    }
    println!("{tried} tried, {read} of them lists");
    assert!(tried > 1000 && read > tried / 100, "{tried} tried, {read} of them lists");
}

#[test]
fn counts_are_believed_only_as_far_as_there_are_bytes() {
    // An array of 2^25 elements in a list of 64 bytes, in every type and both encodings.
    for kind in 0u32..40 {
        for count in [1u32 << 25, 0x7fff_ffff, 0x0800_0000] {
            let words = |le: bool, list: &[u32]| -> Vec<u8> {
                list.iter().flat_map(|w| if le { w.to_le_bytes() } else { w.to_be_bytes() }).collect()
            };
            let mut native = vec![0, 1, 0, 0];
            native.extend(words(true, &[0, 1, 48, 2, count, kind, 0x61, 0, 0, 0, 0, 0, 0, 0, 0]));
            let mut xdr = vec![1, 1, 0, 0];
            xdr.extend(words(
                false,
                &[0, 1, 48, 48, 1, 0x6100_0000, kind, count, count, 0, 0, 0, 0, 0, 0, 0],
            ));
            for data in [native, xdr] {
                let used = memory_to_read(&data);
                assert!(used <= TIMES * data.len() + BESIDES, "type {kind}, count {count}: {used} bytes");
                harness::nvlist(&data);
            }
        }
    }
}

#[test]
fn nesting_without_end_is_refused_without_a_deep_stack() {
    // Each level is a pair "x" of one list; 10,000 of them.
    let mut native = vec![0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    let mut xdr = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for _ in 0..10_000 {
        for word in [48u32, 2, 1, 19] {
            native.extend(word.to_le_bytes());
        }
        native.extend(*b"x\0\0\0\0\0\0\0");
        native.extend([0; 24]);
        for word in [64u32, 48, 1] {
            xdr.extend(word.to_be_bytes());
        }
        xdr.extend(*b"x\0\0\0");
        for word in [19u32, 1, 0, 1] {
            xdr.extend(word.to_be_bytes());
        }
    }
    for data in [native, xdr] {
        assert_eq!(List::decode(&data), Err(zones::zfs::nvlist::DecodeError::TooDeep));
        assert!(memory_to_read(&data) < 64 << 10);
    }
}
