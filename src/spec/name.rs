//! Checked names: a value of these types has passed its rule once and for all.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest zone name in bytes, terminator not counted (`ZONENAME_MAX` - 1).
pub const ZONE_NAME_MAX: usize = 63;

/// Longest path that a spec may hold, in bytes (`MAXPATHLEN` - 1).
pub const PATH_MAX: usize = 1023;

/// The name of a zone: `[A-Za-z0-9][A-Za-z0-9_.-]*`, shorter than 64 bytes.
///
/// The name becomes a file name, a host name and a cgroup name, so nothing else may pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

/// A name that breaks the rule for zone names.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}: Bogus zone name")]
pub struct BogusZoneName(pub String);

impl ZoneName {
    /// Returns the checked name.
    ///
    /// # Errors
    /// [`BogusZoneName`] when the text breaks the rule. `global` and `SUNW…` pass: which operations they allow is
    /// decided by [`ZoneName::is_global`] and [`ZoneName::is_reserved`].
    pub fn new(text: &str) -> Result<Self, BogusZoneName> {
        let bytes = text.as_bytes();
        let good = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.len() <= ZONE_NAME_MAX
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
        if good { Ok(Self(text.to_owned())) } else { Err(BogusZoneName(text.to_owned())) }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the host itself.
    pub fn global() -> Self {
        Self("global".to_owned())
    }

    /// Says whether this is the host itself.
    pub fn is_global(&self) -> bool {
        self.0 == "global"
    }

    /// Says whether the name is kept for templates (`SUNW…`, and Solaris 11's `SYS…`).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("SUNW") || self.0.starts_with("SYS")
    }
}

impl TryFrom<String> for ZoneName {
    type Error = BogusZoneName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> Self {
        name.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Expands the tokens that Solaris 11 allows in values; today `%{zonename}`.
pub fn expand_tokens(text: &str, zone: &ZoneName) -> String {
    text.replace("%{zonename}", zone.as_str())
}

/// Collapses repeated slashes and drops the trailing one, as zonecfg does with `zonepath`.
pub fn collapse_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    if out.len() > 1 && out.ends_with('/') {
        out.pop();
    }
    out
}

/// Puts `path` (absolute) below the alternate root `prefix`; the root `/` changes nothing.
pub fn below(prefix: &Path, path: &Path) -> PathBuf {
    if prefix == Path::new("/") {
        return path.to_owned();
    }
    prefix.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_names() {
        for good in ["zion", "Z", "0a", "a_b.c-d", "global", &"x".repeat(63)] {
            assert!(ZoneName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "..", "a\n", "é", &"x".repeat(64)] {
            assert!(ZoneName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slashes() {
        assert_eq!(collapse_slashes("//zones///zion/"), "/zones/zion");
        assert_eq!(collapse_slashes("///"), "/");
    }
}
