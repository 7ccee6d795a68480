//! How a name that others have chosen is shown.
//!
//! A zone chooses the names of its files, processes and users, and may put line ends and control sequences of the
//! terminal into them. Printed as it is, such a name could forge a line of a message, with the name of our program
//! in front. So paths and names go into texts by [`Show::shown`] only.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// A name on its way into a text: one line of it, with control characters as Rust writes them in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a>(&'a OsStr);

/// Names that can be shown.
pub trait Show {
    /// Returns the name as it may stand in a text. Bytes that are not UTF-8 become U+FFFD.
    fn shown(&self) -> Shown<'_>;
}

impl Show for OsStr {
    fn shown(&self) -> Shown<'_> {
        Shown(self)
    }
}

impl Show for str {
    fn shown(&self) -> Shown<'_> {
        Shown(OsStr::new(self))
    }
}

impl Show for Path {
    fn shown(&self) -> Shown<'_> {
        Shown(self.as_os_str())
    }
}

impl Show for PathBuf {
    fn shown(&self) -> Shown<'_> {
        self.as_path().shown()
    }
}

/// Says whether a character does something to the text around it: control characters, line ends beyond
/// ASCII, and those that turn the direction in which a line is written.
pub fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a character as a text may have it.
pub fn escape(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if is_obeyed(c) { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// Whether names are shown as they are, so that the test of an attack can be seen to fail (`sys::naive`).
#[cfg(feature = "naive")]
static AS_THEY_ARE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Leaves this defence out, or not.
#[cfg(feature = "naive")]
pub fn leave_out(so: bool) {
    AS_THEY_ARE.store(so, std::sync::atomic::Ordering::Relaxed);
}

/// Leaves this defence out: never, but in a build for tests.
#[cfg(not(feature = "naive"))]
pub const fn leave_out(_so: bool) {}

/// Longest name that is shown whole, in bytes: no path that is longer can be used. A zone can make trees so deep
/// that the paths in them are of megabytes.
const WHOLE: usize = 4096;

/// A longer name is shown by bytes of its start and of its end.
const PART: usize = 1024;

/// Returns the printable form of a name.
fn text_of(name: &OsStr) -> Cow<'_, str> {
    let bytes = name.as_encoded_bytes();
    if bytes.len() <= WHOLE {
        return name.to_string_lossy();
    }
    let part = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (start, end) = (part(&bytes[..PART]), part(&bytes[bytes.len() - PART..]));
    Cow::Owned(format!("{start}[...]{end}"))
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = text_of(self.0);
        #[cfg(feature = "naive")]
        if AS_THEY_ARE.load(std::sync::atomic::Ordering::Relaxed) {
            return f.pad(&text);
        }
        if text.contains(is_obeyed) {
            f.pad(&text.chars().flat_map(escape).collect::<String>())
        } else {
            f.pad(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_name_stays_on_its_line() {
        let shown = |bytes: &[u8]| OsStr::from_bytes(bytes).shown().to_string();
        assert_eq!(shown(b"/usr/lib"), "/usr/lib");
        assert_eq!(shown(b"a\nzoneadm: zone 'x': \t\r"), "a\\nzoneadm: zone 'x': \\t\\r");
        assert_eq!(shown(b"\x1b]0;x\x07"), "\\u{1b}]0;x\\u{7}");
        assert_eq!(shown(b"\xff"), "\u{fffd}");
        for c in ['\u{85}', '\u{9b}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{7f}', '\0'] {
            let text = String::from(c).shown().to_string();
            assert!(text.is_ascii() && !text.contains(c), "{text}");
        }
        assert_eq!("\u{e4}\\n \u{4e2d}".shown().to_string(), "\u{e4}\\n \u{4e2d}");
        assert_eq!(format!("{:<4}|", "a\n".shown()), "a\\n |");
    }

    #[test]
    fn a_path_that_nobody_can_use_is_not_shown_whole() {
        let path = PathBuf::from(format!("/start{}/end", "/d".repeat(60_000)));
        let text = path.shown().to_string();
        assert!(text.starts_with("/start/d/d") && text.ends_with("/d/d/end") && text.len() < 3000, "{text}");
        let longest = "x".repeat(4096);
        assert_eq!(longest.shown().to_string(), longest);
    }
}
