//! The native properties that are not texts: which number the kernel keeps for which word, and what
//! holds when nothing is set.
//!
//! From OpenZFS 2.3; 2.2 and 2.4 use the same numbers. Where several words stand for one number, the first is shown.

type WordTable = &'static [(&'static str, u64)];

const SWITCH: WordTable = &[("off", 0), ("on", 1)];
const YES_NO: WordTable = &[("no", 0), ("yes", 1)];
const CHECKSUM: WordTable = &[
    ("on", 1),
    ("off", 2),
    ("fletcher2", 6),
    ("fletcher4", 7),
    ("sha256", 8),
    ("noparity", 10),
    ("sha512", 11),
    ("skein", 12),
    ("edonr", 13),
    ("blake3", 14),
];
const DEDUP: WordTable = &[
    ("on", 1),
    ("off", 2),
    ("verify", 257),
    ("sha256", 8),
    ("sha256,verify", 264),
    ("sha512", 11),
    ("sha512,verify", 267),
    ("skein", 12),
    ("skein,verify", 268),
    ("edonr,verify", 269),
    ("blake3", 14),
    ("blake3,verify", 270),
];
const COMPRESSION: WordTable = &[
    ("on", 1),
    ("off", 2),
    ("lzjb", 3),
    ("gzip", 10),
    ("gzip-1", 5),
    ("gzip-2", 6),
    ("gzip-3", 7),
    ("gzip-4", 8),
    ("gzip-5", 9),
    ("gzip-6", 10),
    ("gzip-7", 11),
    ("gzip-8", 12),
    ("gzip-9", 13),
    ("zle", 14),
    ("lz4", 15),
    ("zstd", 16),
    ("zstd-fast", 13_200),
];
const ENCRYPTION: WordTable = &[
    ("on", 1),
    ("off", 2),
    ("aes-128-ccm", 3),
    ("aes-192-ccm", 4),
    ("aes-256-ccm", 5),
    ("aes-128-gcm", 6),
    ("aes-192-gcm", 7),
    ("aes-256-gcm", 8),
];
const ACLTYPE: WordTable =
    &[("off", 0), ("posix", 1), ("nfsv4", 2), ("disabled", 0), ("noacl", 0), ("posixacl", 1)];
const ACLINHERIT: WordTable = &[
    ("discard", 0),
    ("noallow", 1),
    ("restricted", 4),
    ("passthrough", 3),
    ("secure", 4),
    ("passthrough-x", 5),
];
const DNODESIZE: WordTable =
    &[("legacy", 0), ("auto", 1), ("1k", 1024), ("2k", 2048), ("4k", 4096), ("8k", 8192), ("16k", 16_384)];
const VERSION: WordTable = &[("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("current", 5)];
const CACHE: WordTable = &[("none", 0), ("metadata", 1), ("all", 2)];

/// Properties kept as a number that stands for a word, with the number that holds when nothing is set.
const CHOICES: &[(&str, u64, WordTable)] = &[
    ("redundant_metadata", 0, &[("all", 0), ("most", 1), ("some", 2), ("none", 3)]),
    ("sync", 0, &[("standard", 0), ("always", 1), ("disabled", 2)]),
    ("checksum", 1, CHECKSUM),
    ("dedup", 2, DEDUP),
    ("compression", 1, COMPRESSION),
    ("snapdir", 0, &[("hidden", 0), ("visible", 1), ("disabled", 2)]),
    ("snapdev", 0, &[("hidden", 0), ("visible", 1)]),
    ("aclmode", 0, &[("discard", 0), ("groupmask", 2), ("passthrough", 3), ("restricted", 4)]),
    ("acltype", 0, ACLTYPE),
    ("aclinherit", 4, ACLINHERIT),
    ("copies", 1, &[("1", 1), ("2", 2), ("3", 3)]),
    ("primarycache", 2, CACHE),
    ("secondarycache", 2, CACHE),
    ("prefetch", 2, CACHE),
    ("logbias", 0, &[("latency", 0), ("throughput", 1)]),
    ("xattr", 2, &[("off", 0), ("sa", 2), ("on", 2), ("dir", 1)]),
    ("dnodesize", 0, DNODESIZE),
    ("volmode", 0, &[("default", 0), ("full", 1), ("geom", 1), ("dev", 2), ("none", 3)]),
    ("direct", 1, &[("disabled", 0), ("standard", 1), ("always", 2)]),
    ("atime", 1, SWITCH),
    ("relatime", 1, SWITCH),
    ("devices", 1, SWITCH),
    ("exec", 1, SWITCH),
    ("setuid", 1, SWITCH),
    ("readonly", 0, SWITCH),
    ("zoned", 0, SWITCH),
    ("vscan", 0, SWITCH),
    ("nbmand", 0, SWITCH),
    ("overlay", 1, SWITCH),
    ("version", 0, VERSION),
    ("canmount", 1, &[("off", 0), ("on", 1), ("noauto", 2)]),
    ("mounted", 0, YES_NO),
    ("defer_destroy", 0, YES_NO),
    ("keystatus", 0, &[("none", 0), ("unavailable", 1), ("available", 2)]),
    ("normalization", 0, &[("none", 0), ("formD", 16), ("formKC", 96), ("formC", 80), ("formKD", 32)]),
    ("casesensitivity", 0, &[("sensitive", 0), ("insensitive", 1), ("mixed", 2)]),
    ("keyformat", 0, &[("none", 0), ("raw", 1), ("hex", 2), ("passphrase", 3)]),
    ("encryption", 2, ENCRYPTION),
    ("utf8only", 0, SWITCH),
    ("volthreading", 1, SWITCH),
    ("longname", 0, SWITCH),
];

/// Properties kept as a plain number, with their default.
const NUMBERS: &[(&str, u64)] = &[
    ("quota", 0),
    ("reservation", 0),
    ("refquota", 0),
    ("refreservation", 0),
    ("filesystem_limit", u64::MAX),
    ("snapshot_limit", u64::MAX),
    ("recordsize", 128 << 10),
    ("special_small_blocks", 0),
    ("volsize", 0),
    ("volblocksize", 16 << 10),
    ("pbkdf2iters", 0),
];

/// The fast levels of zstd, in the order of their numbers.
const FAST: [u64; 21] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 500, 1000];

/// A level of zstd as the kernel keeps it: above the 7 bits of the method.
const ZSTD: u64 = 16;

fn zstd_number(word: &str) -> Option<u64> {
    let level = word.strip_prefix("zstd-")?;
    if let Some(fast) = level.strip_prefix("fast-") {
        let fast: u64 = fast.parse().ok()?;
        let at = FAST.iter().position(|f| *f == fast)?;
        return Some(ZSTD | (103 + at as u64) << 7);
    }
    level.parse().ok().filter(|n| (1..=19).contains(n)).map(|n: u64| ZSTD | n << 7)
}

fn zstd_word(number: u64) -> Option<String> {
    let level = number >> 7;
    match level {
        _ if number & 0x7f != ZSTD => None,
        1..=19 => Some(format!("zstd-{level}")),
        103.. => FAST.get(usize::try_from(level - 103).ok()?).map(|fast| format!("zstd-fast-{fast}")),
        _ => None,
    }
}

/// Returns the number that the kernel keeps for a word of a native property; none when the property
/// is not a choice among words or has no such word.
///
/// ```
/// use zones::zfs::{index_number, index_word};
///
/// assert_eq!(index_number("zoned", "on"), Some(1));
/// assert_eq!(index_number("compression", "zstd-3"), Some(400));
/// assert_eq!(index_word("canmount", 2).as_deref(), Some("noauto"));
/// assert_eq!(index_number("mountpoint", "legacy"), None);
/// ```
pub fn index_number(property: &str, word: &str) -> Option<u64> {
    let (_, _, words) = CHOICES.iter().find(|(name, ..)| *name == property)?;
    let listed = words.iter().find(|(w, _)| *w == word).map(|(_, n)| *n);
    listed.or_else(|| zstd_number(word).filter(|_| property == "compression"))
}

/// Returns the word for a number of a native property.
pub fn index_word(property: &str, number: u64) -> Option<String> {
    let (_, _, words) = CHOICES.iter().find(|(name, ..)| *name == property)?;
    let listed = words.iter().find(|(_, n)| *n == number).map(|(w, _)| (*w).to_owned());
    // The number of zstd-fast is that of its first level; the level itself is shown.
    zstd_word(number).filter(|_| property == "compression").or(listed)
}

/// Returns the default of a native property, if it is kept as a number.
pub fn default_number(property: &str) -> Option<u64> {
    let choice = CHOICES.iter().find(|(name, ..)| *name == property).map(|(_, default, _)| *default);
    choice.or_else(|| NUMBERS.iter().find(|(name, _)| *name == property).map(|(_, default)| *default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_number_and_back() {
        for (property, default, words) in CHOICES {
            assert_eq!(default_number(property), Some(*default), "{property}");
            for (word, number) in *words {
                assert_eq!(index_number(property, word), Some(*number), "{property} {word}");
                let shown = index_word(property, *number).unwrap();
                assert_eq!(index_number(property, &shown), Some(*number), "{property} {shown}");
            }
        }
        for level in ["zstd-1", "zstd-19", "zstd-fast-1", "zstd-fast-10", "zstd-fast-1000"] {
            let number = index_number("compression", level).unwrap();
            assert_eq!(index_word("compression", number).as_deref(), Some(level));
        }
        // Taken from the headers of 2.3.2.
        assert_eq!(index_number("compression", "zstd-19"), Some(2448));
        assert_eq!(index_number("compression", "zstd-fast-1000"), Some(15_760));
        for bad in ["zstd-0", "zstd-20", "zstd-fast-11", "zstd-", "zstd-x", "fast"] {
            assert_eq!(index_number("compression", bad), None, "{bad}");
        }
        assert_eq!(index_number("checksum", "zstd-3"), None);
        assert_eq!(default_number("filesystem_limit"), Some(u64::MAX));
        assert_eq!(default_number("mountpoint"), None);
    }
}
