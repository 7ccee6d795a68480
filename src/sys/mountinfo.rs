//! The mount tables of processes, `/proc/PID/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::sys::path::{At, PathError};

const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Number of the mount.
    pub id: u64,
    /// Number of the file system's device, major and minor, as stat(2) returns it for its files.
    pub device: (u32, u32),
    /// Directory of the file system that is shown.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type of the file system.
    pub kind: String,
    /// The source of the mount.
    pub source: PathBuf,
}

/// Reads the table, in the order of mounting.
///
/// # Errors
/// [`PathError`] when `/proc` is not there.
pub fn mounts() -> Result<Vec<MountEntry>, PathError> {
    let table = std::fs::read(TABLE).at("read", TABLE)?;
    Ok(entries(&table))
}

/// Reads the table of another process, as far as its root reaches.
///
/// # Errors
/// The system's error; `ENOENT` when the process is gone.
pub fn mounts_of(pid: i32) -> std::io::Result<Vec<MountEntry>> {
    Ok(entries(&std::fs::read(format!("/proc/{pid}/mountinfo"))?))
}

fn entries(table: &[u8]) -> Vec<MountEntry> {
    table.split(|b| *b == b'\n').filter_map(parse).collect()
}

/// Reads one line; none when it is malformed.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = std::str::from_utf8(fields.nth(1)?).ok()?.split_once(':')?;
    let device = (device.0.parse().ok()?, device.1.parse().ok()?);
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    // Optional fields end with a dash.
    fields.find(|f| *f == b"-")?;
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    Some(MountEntry { id, device, root, point, kind, source })
}

/// Blank, tab, newline and backslash stand as `\040` and the like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = |d: &[u8]| d.iter().all(|b| (b'0'..=b'7').contains(b));
        match tail.get(..3) {
            Some(d) if *first == b'\\' && digits(d) => {
                out.push((d[0] - b'0') << 6 | (d[1] - b'0') << 3 | (d[2] - b'0'));
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// Returns the mount that a path lies on: the longest mount point above it, the last one mounted there.
pub fn mount_at<'a>(table: &'a [MountEntry], path: &Path) -> Option<&'a MountEntry> {
    table.iter().filter(|m| path.starts_with(&m.point)).max_by_key(|m| m.point.as_os_str().len())
}

/// Returns the mount points at a path and below it, sorted.
pub fn mounts_below(table: &[MountEntry], path: &Path) -> Vec<PathBuf> {
    let mut points: Vec<_> =
        table.iter().filter(|m| m.point.starts_with(path)).map(|m| m.point.clone()).collect();
    points.sort();
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_blanks_and_optional_fields() {
        let line =
            br"36 35 98:0 /a\040b /mnt\011x\134y rw,noatime shared:1 master:2 - ext4 /dev/root\0401 rw";
        let mount = parse(line).expect("line");
        assert_eq!(mount.root, Path::new("/a b"));
        assert_eq!(mount.point, Path::new("/mnt\tx\\y"));
        assert_eq!((mount.id, mount.device, mount.kind.as_str()), (36, (98, 0), "ext4"));
        assert_eq!(mount.source, Path::new("/dev/root 1"));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 98:0 / /mnt rw"), None);
    }

    #[test]
    fn places_by_whole_components() {
        let mount = |point: &str, kind: &str| MountEntry {
            id: 1,
            device: (0, 1),
            root: "/".into(),
            point: point.into(),
            kind: kind.into(),
            source: "x".into(),
        };
        let table = [
            mount("/", "ext4"),
            mount("/zones", "xfs"),
            mount("/zones/a/root/x", "tmpfs"),
            mount("/zones", "zfs"),
        ];
        let kind = |p: &str| mount_at(&table, Path::new(p)).map(|m| m.kind.as_str());
        assert_eq!((kind("/zones/b"), kind("/zonesx")), (Some("zfs"), Some("ext4")));
        assert_eq!(mounts_below(&table, Path::new("/zones/a/root")), [Path::new("/zones/a/root/x")]);
        assert_eq!(mounts_below(&table, Path::new("/zones/a/roo")), [] as [&Path; 0]);
        assert!(mounts().expect("table").iter().any(|m| m.point == Path::new("/")));
    }
}
