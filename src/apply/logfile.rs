//! The guard's log: every refusal, but never so many that a zone could fill the disk.

use crate::spec::shown::Show;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Name of the file below the zone's folder in `/var/lib/zones`. When it is full it becomes the older
/// half, under this name with `.old`.
pub const LOG: &str = "guard.log";

/// Largest size of one of the two files, in bytes.
const SIZE_MAX: u64 = 256 << 10;

/// Lines that are written at once; afterwards one each second.
const BURST: u32 = 50;

/// The log of one zone.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Lines that may be written now.
    left: u32,
    filled: Instant,
    passed_over: u64,
}

impl LogFile {
    /// Begins to write below a zone's folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { path: folder.join(LOG), left: BURST, filled: Instant::now(), passed_over: 0 }
    }

    /// Writes a line, or counts it. Returns the line for the system log, if any.
    pub fn add(&mut self, text: &str) -> Option<String> {
        let seconds = u32::try_from(self.filled.elapsed().as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.left = self.left.saturating_add(seconds).min(BURST);
            self.filled = Instant::now();
        }
        if self.left == 0 {
            self.passed_over += 1;
            return None;
        }
        self.left -= 1;
        let before = match std::mem::take(&mut self.passed_over) {
            0 => String::new(),
            n => format!("({n} lines before this one are not shown) "),
        };
        let line = format!("{before}{text}");
        // A zone whose folder is gone has no log; the system log has the line.
        let _ = self.write(&line);
        Some(line)
    }

    fn write(&self, line: &str) -> std::io::Result<()> {
        append(&self.path, line)
    }
}

/// Writes a line with the time to a log: one, whatever names are in it. When it is full it becomes the older half first.
///
/// # Errors
/// The system's error.
pub fn append(path: &Path, line: &str) -> std::io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|m| m.len() >= SIZE_MAX) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    options.open(path)?.write_all(format!("{} {}\n", time(now), line.shown()).as_bytes())
}

/// Writes a time, in seconds since 1970, as RFC 3339 has it.
fn time(seconds: u64) -> String {
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |y: u64| y.is_multiple_of(4) && !y.is_multiple_of(100) || y.is_multiple_of(400);
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(time(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_name_of_the_zone_makes_no_line_of_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = LogFile::new(folder.path().to_owned());
        log.add("refused destroy on tank/a\n2026-01-01T00:00:00Z all is well\x1b[2J").expect("it is shown");
        let text = fs::read_to_string(folder.path().join(LOG)).expect("a log");
        assert!(
            text.lines().count() == 1 && text.contains("\\n2026-01-01") && !text.contains('\x1b'),
            "{text:?}"
        );
    }

    #[test]
    fn a_flood_is_counted_and_the_files_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = LogFile::new(folder.path().to_owned());
        let shown = (0..1000).filter(|n| log.add(&format!("line {n}")).is_some()).count();
        // A slow machine may take a second or two for it.
        assert!((BURST as usize..=BURST as usize + 5).contains(&shown), "{shown}");
        log.left = 1;
        let line = log.add("the last").expect("it is shown");
        assert!(line.contains("lines before this one are not shown) the last"), "{line}");
        log.left = u32::MAX;
        let long = "x".repeat(1000);
        for _ in 0..600 {
            log.add(&long);
            log.left = BURST;
        }
        let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |m| m.len());
        assert!(size("guard.log.old") >= SIZE_MAX && size("guard.log.old") < SIZE_MAX + 2000);
        assert!(size(LOG) < SIZE_MAX + 2000);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);
    }
}
