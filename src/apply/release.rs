//! Numbers of releases, and facts about those of OpenZFS.

use std::fmt;

/// A release as three numbers; what follows them does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

impl Release {
    /// Reads `2.3.2-2~bpo12+2`, `6.1.0-50-cloud-amd64`, `6.18`; none when no number stands in front.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().trim_start_matches('v');
        let mut numbers = [None; 3];
        for slot in &mut numbers {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                break;
            }
            *slot = rest[..digits].parse().ok();
            match rest[digits..].strip_prefix('.') {
                Some(next) => rest = next,
                None => break,
            }
        }
        Some(Self(numbers[0]?, numbers[1].unwrap_or(0), numbers[2].unwrap_or(0)))
    }

    /// Says whether OpenZFS of this release can give datasets to user namespaces.
    pub fn delegates(self) -> bool {
        self >= Self(2, 2, 0)
    }

    /// Says whether OpenZFS of this release can hide snapshots also from a process that knows the path
    /// (`snapdir=disabled`).
    pub fn hides_snapshots(self) -> bool {
        self >= Self(2, 3, 0)
    }

    /// Says whether upstream's OpenZFS of this release has CVE-2026-79619. Distributions may have mended
    /// it without changing the number.
    pub fn is_open(self) -> bool {
        match self {
            Self(2, 2, patch) => patch <= 10,
            Self(2, 3, patch) => patch <= 8,
            Self(2, 4, patch) => patch <= 3,
            _ => false,
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}
