//! The lock of an operation: a file of its own, and a range of one file that is there already.
//!
//! | lock | where | purpose |
//! |---|---|---|
//! | file | `/run/zones/.lock.NAME` (flock(2)) | names the command that works on the zone |
//! | reserve | one byte of `/var/lib/zones/.locks`, by the zone's name (an open file description lock) | needs no space: the one that is left when no file can be made below `/run` |
//!
//! A process that locks a zone takes both, the file first. Where the file cannot be made the reserve alone is
//! enough, because all others want it as well. Where the reserve is not available (nothing can be written below
//! `/var`) the file alone is enough: a lock by the reserve alone is not taken while there is a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::files::{failed, read};
use super::paths::Root;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::sys::made;

/// Length of a note in bytes, if it is not a longer one. Three lines count, and blanks after them.
const NOTE: usize = 120;

/// How often a lock file that comes and goes is looked for.
const TRIES: usize = 100;

/// Returns the lock file of a zone.
pub fn file(root: &Root, zone: &ZoneName) -> PathBuf {
    root.run_dir().join(format!(".lock.{zone}"))
}

/// Says whether another process has an operation on a zone in progress, as far as the kernel shows that.
pub fn is_worked_on(root: &Root, zone: &ZoneName) -> bool {
    OpLock::is_held_by_another(&file(root, zone))
}

/// An exclusive lock, held until it is dropped.
///
/// A process that is forked meanwhile holds it as well, and keeps it when this one ends: so zoneadm
/// hands it over to the supervisor without a gap. Programs that are executed do not get it.
#[derive(Debug)]
pub struct OpLock {
    /// None where there was no room for it.
    file: Option<File>,
    reserve: Option<Reserve>,
    path: PathBuf,
}

impl OpLock {
    /// Waits for the lock on a file, which is made when it is missing.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn wait(path: &Path) -> Result<Self, StoreError> {
        loop {
            if let Some(file) = lock_file(path, true).map_err(failed("lock", path))? {
                return Ok(Self { file: Some(file), reserve: None, path: path.to_owned() });
            }
        }
    }

    /// Takes the lock of a zone; with `waits`, as soon as no other process has it.
    ///
    /// # Errors
    /// Neither the lock file nor the reserve can be used.
    pub fn of_zone(
        path: &Path,
        reserve: &Path,
        zone: &ZoneName,
        waits: bool,
    ) -> Result<Option<Self>, StoreError> {
        let path = path.to_owned();
        let mut last = None;
        for _ in 0..TRIES {
            match lock_file(&path, waits) {
                Ok(None) => return Ok(None),
                Ok(Some(file)) => match Reserve::take(reserve, zone, waits) {
                    Ok(None) => return Ok(None),
                    // An error hides no holder: a process that has the reserve alone could write to it, and this one
                    // could as well.
                    other => return Ok(Some(Self { file: Some(file), reserve: other.ok().flatten(), path })),
                },
                Err(e) if needs_room(&e) => match Reserve::take(reserve, zone, waits) {
                    Ok(None) => return Ok(None),
                    Err(_) => return Err(failed("lock", &path)(e)),
                    // A file that was made meanwhile may be locked by a process that could not have the reserve.
                    Ok(Some(_)) if path.symlink_metadata().is_ok() => last = Some(e),
                    Ok(reserve) => return Ok(Some(Self { file: None, reserve, path })),
                },
                Err(e) => return Err(failed("lock", &path)(e)),
            }
        }
        let busy = || io::Error::from(io::ErrorKind::ResourceBusy);
        Err(failed("lock", &path)(last.unwrap_or_else(busy)))
    }

    /// Gives the lock up for every process that holds it: a zone's process 1, which was forked while
    /// it was held, must not keep others out as long as it waits.
    pub fn release(&self) {
        if let Some(reserve) = &self.reserve {
            reserve.release();
        }
        if let Some(file) = &self.file {
            let _ = file.unlock();
        }
    }

    /// Removes the lock file, and gives the lock up. A process that waits for it notices, and makes a new
    /// file.
    pub fn forget(self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Returns the descriptors that hold the lock.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let reserve = self.reserve.as_ref().map(|r| r.file.as_raw_fd());
        self.file.as_ref().map(AsRawFd::as_raw_fd).into_iter().chain(reserve)
    }

    /// Notes in the file which process holds the lock. Only the texts of refusals depend on it, so a full file
    /// system is no reason to fail.
    pub fn note(&self, what: &str) {
        let Some(file) = &self.file else { return };
        let text = format!("{what}\n{}\n{}\n", std::process::id(), seconds(SystemTime::now()));
        // Written over the last one, and filled up so that nothing of it is left: to empty the file first would
        // have the file system free a block and find another one.
        let _ = file.write_all_at(format!("{text:NOTE$}").as_bytes(), 0);
    }

    /// Says whether another process holds the lock on a file, without touching it: proc_locks(5) shows that to
    /// every user, by device and inode.
    pub fn is_held_by_another(path: &Path) -> bool {
        let Ok(meta) = fs::symlink_metadata(path) else { return false };
        let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
        let file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
        let own = std::process::id().to_string();
        let locks = made::read("/proc/locks").unwrap_or_default();
        locks.lines().any(|line| {
            // Such as "7: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF"; a waiting process has "->" in front of its
            // kind.
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words[..], [_, "FLOCK", _, "WRITE", pid, of, ..] if of == file && pid != own)
        })
    }

    /// Returns which process holds the lock on a file, as far as it is noted there.
    pub fn holder(path: &Path) -> String {
        let bytes = read(path, 256).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.lines();
        match (lines.next(), lines.next(), lines.next().and_then(|n| n.parse::<u64>().ok())) {
            (Some(what), Some(pid), Some(since)) => {
                let ago = seconds(SystemTime::now()).saturating_sub(since);
                format!("{} (process {}, for {ago} s)", what.shown(), pid.shown())
            }
            _ => "an operation".to_owned(),
        }
    }
}

/// Says whether a file could not be made because the disk is full or read-only.
fn needs_room(e: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(e.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// Makes and locks a file; none when another process has the lock and this one does not wait.
fn lock_file(path: &Path, waits: bool) -> io::Result<Option<File>> {
    loop {
        let file = open(path)?;
        if waits {
            file.lock()?;
        } else {
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(e)) => return Err(e),
                Ok(()) => {}
            }
        }
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Says whether a file still has its name: a lock on a removed file keeps no other process out.
fn is_at(file: &File, path: &Path) -> bool {
    let number = |meta: io::Result<fs::Metadata>| meta.ok().map(|m| (m.dev(), m.ino()));
    let own = number(file.metadata());
    own.is_some() && own == number(fs::symlink_metadata(path))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let opened = options.open(path).or_else(|e| match (e.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(dir)) => {
            DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
            options.open(path)
        }
        _ => Err(e),
    });
    match opened {
        // A lock needs no right to write.
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(|_| e)
        }
        other => other,
    }
}

/// The lock of a zone that needs no space: a byte of a file that all zones share.
#[derive(Debug)]
struct Reserve {
    file: File,
    at: i64,
}

impl Reserve {
    /// Takes the byte; none when another process has it and this one does not wait.
    fn take(path: &Path, zone: &ZoneName, waits: bool) -> io::Result<Option<Self>> {
        let reserve = Self { file: open(path)?, at: place(zone) };
        match reserve.set(libc::F_WRLCK, waits) {
            Ok(()) => Ok(Some(reserve)),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn set(&self, kind: i32, waits: bool) -> Result<(), Errno> {
        let range = libc::flock {
            l_type: libc::c_short::try_from(kind).unwrap_or_default(),
            l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
            l_start: self.at,
            l_len: 1,
            l_pid: 0,
        };
        loop {
            let argument = if waits { FcntlArg::F_OFD_SETLKW(&range) } else { FcntlArg::F_OFD_SETLK(&range) };
            match fcntl(&self.file, argument) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    fn release(&self) {
        let _ = self.set(libc::F_UNLCK, false);
    }
}

/// Returns the place of a zone's byte: the FNV-1a hash of its name. Two zones of one place would wait for
/// each other, which is no harm.
fn place(zone: &ZoneName) -> i64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let hash =
        zone.as_str().bytes().fold(start, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    i64::try_from(hash >> 2).unwrap_or_default()
}

/// Returns the seconds since the epoch.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(dir: &Path, zone: &str) -> Option<OpLock> {
        let zone = ZoneName::new(zone).expect("a name");
        let file = dir.join("run").join(format!(".lock.{zone}"));
        OpLock::of_zone(&file, &dir.join(".locks"), &zone, false).expect("a lock or none")
    }

    #[test]
    fn a_lock_by_the_reserve_alone_keeps_others_out() {
        let temp = tempfile::tempdir().expect("a folder");
        let zone = ZoneName::new("a").expect("a name");
        let reserve = Reserve::take(&temp.path().join(".locks"), &zone, false).expect("open").expect("free");
        assert!(attempt(temp.path(), "a").is_none(), "although there is a lock file");
        assert!(attempt(temp.path(), "b").is_some(), "another zone's");
        reserve.release();
        let lock = attempt(temp.path(), "a").expect("free again");
        assert_eq!(lock.descriptors().count(), 2);
        assert!(Reserve::take(&temp.path().join(".locks"), &zone, false).expect("open").is_none());
        assert!(attempt(temp.path(), "a").is_none());
        lock.release();
        assert!(attempt(temp.path(), "a").is_some());
    }

    #[test]
    fn a_lock_file_that_was_removed_while_it_was_held_lets_nobody_else_in() {
        let temp = tempfile::tempdir().expect("a folder");
        let lock = attempt(temp.path(), "a").expect("free");
        fs::remove_dir_all(temp.path().join("run")).expect("a cleaner");
        assert!(attempt(temp.path(), "a").is_none());
        drop(lock);
        assert!(attempt(temp.path(), "a").is_some());
    }
}
