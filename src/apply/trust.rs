//! Whether files in a folder can be believed: they direct actions with the rights of the host's root, so no other
//! user may have written them.
//!
//! Below `/` these folders are the system's. Below an alternate root they may be anybody's.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::apply::paths::Root;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::sys::naive::without;

/// The write permissions of group and others.
const OTHERS: u32 = 0o022;

/// Checks the folders in which the engine works on a zone: their specs, states and run-time files. A folder that
/// does not exist yet is made by the engine, and so is good.
///
/// # Errors
/// A text that names the folder and the way out.
pub fn folders(root: &Root, zone: &ZoneName) -> Result<(), String> {
    let run = [root.run_dir(), root.zone_run(zone)];
    let kept = [root.spec_dir(), root.lib_dir(), root.zone_lib(zone)];
    run.iter().try_for_each(|dir| folder(dir, OTHERS))?;
    // The administrator may have a group that edits specs.
    kept.iter().try_for_each(|dir| folder(dir, 0o002))
}

fn folder(path: &Path, writers: u32) -> Result<(), String> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let path = path.shown();
    if !meta.is_dir() {
        return Err(format!("{path} is not a directory; move it away"));
    }
    if !is_trusted(&meta, 0) {
        return Err(format!("{path} belongs to user {}; it must be root's: chown root {path}", meta.uid()));
    }
    if !is_trusted(&meta, writers) {
        return Err(format!(
            "others than root can write to {path}: chmod {} {path}",
            if writers == OTHERS { "go-w" } else { "o-w" }
        ));
    }
    Ok(())
}

/// Says whether a file or folder belongs to root, or to whom this process acts for, and none of these
/// mode bits is set.
pub fn is_trusted(meta: &Metadata, writers: u32) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    without("trust") || (meta.uid() == 0 || meta.uid() == ours) && meta.mode() & writers == 0
}

/// Reads a small run-time file that only root can have written; none when there is none, or it is something else.
/// Never waits, and follows no link.
pub fn read(path: &Path, limit: u64) -> Option<String> {
    String::from_utf8(read_bytes(path, limit)?).ok()
}

/// The same for what need not be text.
pub fn read_bytes(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let folder = fs::symlink_metadata(path.parent()?).ok()?;
    if !folder.is_dir() || !is_trusted(&folder, OTHERS) {
        return None;
    }
    let file = open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || !is_trusted(&meta, OTHERS) {
        return None;
    }
    // With room for one byte more than there is, the end is found by one call.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(limit)).unwrap_or(0) + 1);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_what_nobody_else_can_have_written_is_read() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = temp.path().join("file");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        fs::write(&path, "text").expect("written");
        set(&path, 0o644);
        assert_eq!(read(&path, 100).as_deref(), Some("text"));
        assert_eq!(read(&path, 2).as_deref(), Some("te"));
        set(&path, 0o664);
        assert_eq!(read(&path, 100), None, "the group can write");
        set(&path, 0o644);
        set(temp.path(), 0o777);
        assert_eq!(read(&path, 100), None, "anybody can put a file there");
        set(temp.path(), 0o700);
        let link = temp.path().join("link");
        symlink(&path, &link).expect("a link");
        assert_eq!(read(&link, 100), None);
        let pipe = temp.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert_eq!(read(&pipe, 100), None, "and does not wait for a writer");
    }
}
