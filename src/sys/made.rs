//! Files that the kernel makes up as they are read: below `/proc`, `/sys` and in cgroups.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::naive::without;

/// Most of these files are shorter.
const PAGE: usize = 4096;

/// Reads such a file. They are said to be empty, so that a read that goes by the size asks the kernel for it again
/// and again, some bytes at a time; this one asks for a page.
///
/// A process may give itself a name of any bytes. Bytes that are no text become U+FFFD, so that the rest of the file
/// counts.
///
/// # Errors
/// The system's error.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    read_file(&File::open(path)?)
}

/// The same for a file that is open.
///
/// # Errors
/// As [`read`].
pub fn read_file(mut file: &File) -> io::Result<String> {
    let mut bytes = vec![0; PAGE];
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            bytes.resize(2 * filled, 0);
        }
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    if without("names") {
        return String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole() {
        for length in [0, 1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE] {
            let text: String = ('a'..='z').cycle().take(length).collect();
            let temp = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(temp.path(), &text).expect("written");
            assert_eq!(read(temp.path()).expect("read"), text, "{length}");
        }
        let own = std::process::id().to_string();
        assert!(read("/proc/self/stat").expect("read").starts_with(&own));
    }

    #[test]
    fn what_is_no_text_hides_nothing() {
        let temp = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(temp.path(), b"1 (\xff) S").expect("written");
        assert_eq!(read(temp.path()).expect("read"), "1 (\u{fffd}) S");
        assert_eq!(read("/proc/self/none").expect_err("none").kind(), io::ErrorKind::NotFound);
    }
}
