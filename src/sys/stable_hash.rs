//! A hash that is the same in every release: names that are found again after an upgrade are made with it.
//!
//! It is SipHash-1-3 with keys of zero over bytes that are written down here. The first releases had the
//! hasher of the standard library, which promises nothing between two of its versions: neither the
//! function, nor which bytes of a path or text it is given. Both are kept here as they were, so that cgroups, links and
//! lists that a former release has made keep their names.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes to be hashed. Each method adds a value so that no other sequence of values has the same bytes.
#[derive(Debug, Default)]
pub struct StableHash(Vec<u8>);

impl StableHash {
    /// Returns a hash of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number, eight bytes, the lowest first.
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// Adds a number with a sign, as [`StableHash::number`] in two's complement.
    pub fn signed(self, number: i64) -> Self {
        self.number(number.cast_unsigned())
    }

    /// Adds a text and a byte that no text in UTF-8 has.
    pub fn text(mut self, text: &str) -> Self {
        self.0.extend(text.as_bytes());
        self.0.push(0xff);
        self
    }

    /// Adds the names of a path, and a number that marks where each of them ends. Paths that differ in repeated
    /// slashes, in a slash at the end and in `.` are the same; so are `/a` and `a`.
    pub fn path(mut self, path: &Path) -> Self {
        let mut ends = 0_u64;
        for (i, name) in path.as_os_str().as_bytes().split(|byte| *byte == b'/').enumerate() {
            if !name.is_empty() && (i == 0 || name != b".") {
                self.0.extend(name);
                ends = ends.wrapping_add(name.len() as u64).rotate_right(2);
            }
        }
        self.number(ends)
    }

    /// Adds what changes when a file is replaced or written: its device, inode, size and times.
    pub fn file(self, file: &Metadata) -> Self {
        let hash = self.number(file.dev()).number(file.ino()).number(file.size());
        let hash = hash.signed(file.mtime()).signed(file.mtime_nsec());
        hash.signed(file.ctime()).signed(file.ctime_nsec())
    }

    /// Returns the hash of all that was added.
    pub fn finish(&self) -> u64 {
        siphash_1_3(&self.0)
    }
}

/// Returns the SipHash (Aumasson, Bernstein, 2012) with one round for each word, three at the end, and keys of zero.
fn siphash_1_3(bytes: &[u8]) -> u64 {
    let mut v =
        [0x736f_6d65_7073_6575_u64, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let (words, rest) = bytes.as_chunks::<8>();
    // The last word ends with the length.
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len().to_le_bytes()[0];
    for word in words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word)) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of programs of release 0.1.0, by the hasher of Rust 1.95.
    #[test]
    fn the_function_never_changes() {
        let vectors: [(u8, u64); 9] = [
            (0, 0xd1fb_a762_150c_532c),
            (1, 0x68a9_1412_8e01_e473),
            (7, 0x2f09_8ab0_c751_325a),
            (8, 0xead4_11e6_7ebe_2eea),
            (9, 0x7592_7f9d_9512_4362),
            (15, 0xf30e_b725_bb91_c9ea),
            (16, 0x8972_1884_33a5_c5b7),
            (63, 0x385d_3e39_e5f3_7359),
            (64, 0x75e0_5fd5_bbc8_70c6),
        ];
        for (length, hash) in vectors {
            assert_eq!(siphash_1_3(&(0..length).collect::<Vec<u8>>()), hash, "{length} bytes");
        }
    }

    #[test]
    fn the_bytes_of_a_value_never_change() {
        let paths = [
            ("/", 0xbd60_acb6_58c7_9e45),
            ("/alt", 0x2a03_a273_c8d8_9852),
            ("/alt/.", 0x2a03_a273_c8d8_9852),
            ("/tmp/x", 0x0acb_e98a_9231_75b8),
            ("/mnt//a/./b/", 0x0a0b_585a_3919_86bd),
            ("/a/..", 0xcee4_f1bc_c592_0655),
            ("/srv/zones test", 0xa974_4100_c8c8_70b5),
            ("rel/x", 0xe810_b6c3_4251_4487),
        ];
        for (path, hash) in paths {
            assert_eq!(StableHash::new().path(Path::new(path)).finish(), hash, "{path}");
        }
        let port = |root: &str, zone: &str| StableHash::new().path(Path::new(root)).text(zone).finish();
        assert_eq!(port("/", "zion"), 0x8fd3_b904_1a82_6f6c);
        assert_eq!(port("/", "web"), 0xc03e_d255_d5e8_c9b8);
        assert_eq!(port("/tmp/x", "zion"), 0x77b2_7490_2442_3b99);
        let numbers = |hash: StableHash, n: [u64; 3], s: [i64; 4]| {
            s.iter().fold(n.iter().fold(hash, |h, n| h.number(*n)), |h, n| h.signed(*n))
        };
        let one = numbers(StableHash::new().text("passwd"), [1, 2, 3], [1, 2, 3, 4]);
        assert_eq!(one.finish(), 0x5470_6b1b_6f29_6543);
        let two = numbers(one.text("group"), [5, 6, 7], [-1, 0, 0, 9]);
        assert_eq!(two.finish(), 0x57bf_05ce_a8ea_f73e);
        let path = StableHash::new().path(Path::new("/usr/bin"));
        assert_eq!(numbers(path, [1, 2, 3], [1, 2, 3, 4]).finish(), 0x4590_59af_5dcc_c305);
    }

    #[test]
    fn other_names_have_other_bytes() {
        let hash = |path: &str| StableHash::new().path(Path::new(path)).finish();
        assert_ne!(hash("/foo/bar"), hash("/foobar"));
        assert_ne!(hash("/./x"), hash("./x"));
        assert_eq!(hash("/x"), hash("x"));
        let texts = |a: &str, b: &str| StableHash::new().text(a).text(b).finish();
        assert_ne!(texts("ab", "c"), texts("a", "bc"));
    }
}
