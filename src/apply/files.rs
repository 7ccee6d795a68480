//! Reads and replaces small files so that no reader ever sees half of one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::apply::trust;
use crate::spec::shown::Show;
use crate::spec::store::StoreError;

/// Returns the system's word for an error, without the number that Rust adds.
pub fn reason(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), |n| nix::errno::Errno::from_raw(n).desc().to_owned())
}

/// Returns the error of an action on a path.
pub fn failed(action: &str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let text = format!("{action} {}", path.shown());
    move |e| match e.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full(format!("cannot {text}: {}", reason(&e)))
        }
        _ => StoreError::Io(format!("cannot {text}: {}", reason(&e))),
    }
}

/// Opens a file for reading; none when it does not exist.
///
/// No link is followed and no pipe is waited for: the folder belongs to the administrator, but a file in it may not
/// be of the kind that it seems.
pub fn open(path: &Path) -> Result<Option<File>, StoreError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => Err(StoreError::Invalid(format!(
            "{}: a symbolic link is not followed; put the file itself here",
            path.shown()
        ))),
        Err(e) => Err(failed("open", path)(e)),
    }
}

/// Reads a regular file of at most `limit` bytes; one byte more is read, so that the caller notices a longer one.
pub fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
    read_if(path, limit, |_| Ok(()))
}

/// The same for a file that directs actions of the host's root: it must belong to root, and other users must not be
/// able to write to it.
pub fn read_trusted(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
    read_if(path, limit, |meta| {
        let path = path.shown();
        if !trust::is_trusted(meta, 0) {
            let text =
                format!("{path}: it belongs to user {}, and must be root's: chown root {path}", meta.uid());
            return Err(StoreError::Invalid(text));
        }
        if !trust::is_trusted(meta, 0o002) {
            return Err(StoreError::Invalid(format!("{path}: everybody can write to it: chmod o-w {path}")));
        }
        Ok(())
    })
}

fn read_if(
    path: &Path,
    limit: usize,
    check: impl FnOnce(&fs::Metadata) -> Result<(), StoreError>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let meta = file.metadata().map_err(failed("read", path))?;
    if !meta.is_file() {
        return Err(StoreError::Invalid(format!("{}: not a regular file", path.shown())));
    }
    check(&meta)?;
    let size = usize::try_from(meta.len()).unwrap_or(limit).min(limit);
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(Some(bytes))
}

/// Makes a folder and those above it, mode 0755.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("create", path))
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|d| d.sync_all()).map_err(failed("sync", path))
}

/// Removes a file; it may be gone already.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Removes a folder with its files; it may be gone already.
#[allow(clippy::disallowed_methods)] // a folder of ours: nothing is mounted in it
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Moves a file or folder; false when there is nothing to move.
pub fn rename(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(failed("rename", from)(e)),
    }
}

/// Removes the new file unless it was renamed to its final name.
struct TempFile(Option<PathBuf>);

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Replaces a file: written beside, synced, renamed, folder synced.
///
/// A crash leaves the old or the new content under the name, and at most a temporary file beside it, which no
/// program reads and the next replacement removes. Owner and mode of the old file stay.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(StoreError::Io(format!("cannot write {}: not a file name", path.shown())));
    };
    make_dir(dir)?;
    // The caller holds the lock of the store, so a draft of this name is a left-over.
    let draft = dir.join(format!(".{name}.new"));
    remove(&draft)?;
    let write = failed("write", path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&draft)
        .map_err(&write)?;
    let mut guard = TempFile(Some(draft.clone()));
    let mut mode = 0o644;
    if let Ok(old) = fs::symlink_metadata(path)
        && old.is_file()
    {
        let new = file.metadata().map_err(&write)?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).map_err(&write)?;
        }
        mode = old.mode() & 0o777;
    }
    // The mode is set explicitly: it must not depend on the umask of the user who edits.
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(&write)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(&write)?;
    fs::rename(&draft, path).map_err(&write)?;
    guard.0 = None;
    log::debug!("{} is written", path.shown());
    sync_dir(dir)
}

/// Replaces a file of a few bytes; where there is no room for another one, writes over it. The new bytes
/// are put where the old ones are, and blanks after them: a file so small is one sector of a disk.
pub fn replace_small(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let full = match replace(path, bytes) {
        Err(StoreError::Full(text)) => text,
        other => return other,
    };
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        let old = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(512);
        let mut text = bytes.to_vec();
        text.resize(old.max(bytes.len()), b' ');
        file.write_all(&text)?;
        file.sync_all()
    };
    write().map_err(|_| StoreError::Full(full))
}
