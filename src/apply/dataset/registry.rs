//! The datasets attached to a zone's user namespace, written down so that they can always be taken back.
//!
//! In the zone's run-time folder: `datasets`, one name a line, and `userns`, the namespace itself,
//! mounted there. Both are there before the first attachment and until after the last detachment.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::observe::is_of;
use crate::apply::fault;
use crate::apply::rundir::{DATASETS, DATASETS_DRAFT, USERS};
use crate::apply::zfs::chain;
use crate::apply::zfs::system::ZfsSystem;
use crate::spec::shown::Show;
use crate::sys::made;
use crate::sys::mount::MountFd;
use crate::sys::mountinfo;
use crate::sys::path::reason;
use crate::zfs::{AttachError, DatasetKind, DetachError, OpenError, Zfs};

/// The kernel's number for the file system of namespaces.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// How long the end of the zone's mounts is waited for. Usually a few milliseconds.
const MOUNTS_END: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(10);

/// Mounts a user namespace on a file of the zone's run-time folder. To be called in the host's mount
/// namespace.
///
/// # Errors
/// The system's error.
pub fn pin(run: &Path, users: BorrowedFd<'_>) -> io::Result<()> {
    let path = run.join(USERS);
    // A leftover of an earlier zone would hide this one.
    unpin(&path)?;
    fs::write(&path, "")?;
    let target = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    fault::point("pin");
    MountFd::copy(users, false)?.attach(target.as_fd())?;
    fault::point("pinned");
    Ok(())
}

fn unpin(path: &Path) -> io::Result<()> {
    while holds_namespace(path) {
        rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Says whether a user namespace is pinned in a zone's run-time folder.
pub fn is_pinned(run: &Path) -> bool {
    holds_namespace(&run.join(USERS))
}

fn holds_namespace(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|s| s.f_type == NSFS_MAGIC)
}

/// Notes that a dataset is about to be attached.
///
/// # Errors
/// The system's error.
pub fn note(run: &Path, dataset: &str) -> io::Result<()> {
    let mut names = recorded(run);
    names.push(dataset.to_owned());
    write(run, &names)
}

/// Strikes a dataset off that was detached.
///
/// # Errors
/// The system's error.
pub fn strike(run: &Path, dataset: &str) -> io::Result<()> {
    let mut names = recorded(run);
    names.retain(|name| name != dataset);
    write(run, &names)
}

fn write(run: &Path, names: &[String]) -> io::Result<()> {
    let text: String = names.iter().flat_map(|name| [name, "\n"]).collect();
    fs::write(run.join(DATASETS_DRAFT), text)?;
    fs::rename(run.join(DATASETS_DRAFT), run.join(DATASETS))?;
    fault::point("noted");
    Ok(())
}

/// Returns the datasets that are attached to a zone, or may be.
pub fn recorded(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join(DATASETS)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Gives a dataset and all below it to a user namespace.
///
/// # Errors
/// [`AttachError`].
pub fn attach(zfs: &dyn ZfsSystem, dataset: &str, users: BorrowedFd<'_>) -> Result<(), AttachError> {
    let done = zfs.userns_attach(dataset, users);
    fault::point("attached");
    match done {
        // This very namespace has it: it was made a moment ago, so no other process can have attached it.
        Ok(()) | Err(AttachError::AlreadyAttached(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Says whether a zone's run-time folder lists datasets to take back.
pub fn is_left(run: &Path) -> bool {
    [USERS, DATASETS, DATASETS_DRAFT].iter().any(|file| run.join(file).symlink_metadata().is_ok())
}

/// Takes everything back that a zone was given, and waits until none of it is mounted any more. To be
/// called when the zone's processes are gone, in the host's mount namespace; may be repeated. Returns
/// what went wrong.
pub fn release(run: &Path) -> Vec<String> {
    if !is_left(run) {
        return Vec::new();
    }
    match Zfs::open() {
        Ok(zfs) => release_of(Some(&zfs), run),
        // The module has gone, and with it all that it knew.
        Err(OpenError::NoModule) => release_of(None, run),
        Err(e) => vec![chain(&e)],
    }
}

/// Does the same in a ZFS that is open, or where there is none any more.
fn release_of(zfs: Option<&dyn ZfsSystem>, run: &Path) -> Vec<String> {
    let names = recorded(run);
    let pin = run.join(USERS);
    if let Some(zfs) = zfs
        && holds_namespace(&pin)
    {
        let errors = match File::open(&pin) {
            Ok(users) => detach_all(zfs, &names, users.as_fd()),
            Err(e) => vec![format!("cannot open {}: {}", pin.shown(), reason(&e))],
        };
        if !errors.is_empty() {
            // List and namespace stay, for the next command to try again.
            return errors;
        }
    }
    fault::point("detached");
    let mut errors: Vec<String> =
        zfs.into_iter().flat_map(|zfs| names.iter().filter_map(|name| still_mounted(zfs, name))).collect();
    match unpin(&pin) {
        Ok(()) => {
            fault::point("unpinned");
            let _ = fs::remove_file(run.join(DATASETS_DRAFT));
            let _ = fs::remove_file(run.join(DATASETS));
        }
        Err(e) => errors.push(format!("cannot unmount {}: {}", pin.shown(), reason(&e))),
    }
    errors
}

fn detach_all(zfs: &dyn ZfsSystem, names: &[String], users: BorrowedFd<'_>) -> Vec<String> {
    names.iter().filter_map(|name| detach(zfs, name, users).err().map(|e| chain(&e))).collect()
}

/// Takes a dataset and all below it from a user namespace. That it has none of it is no failure.
///
/// # Errors
/// [`DetachError`].
pub fn detach(zfs: &dyn ZfsSystem, dataset: &str, users: BorrowedFd<'_>) -> Result<(), DetachError> {
    match zfs.userns_detach(dataset, users) {
        Err(DetachError::NotAttached(_)) => Ok(()),
        other => other,
    }
}

/// Waits for the mounts of a dataset and of those below it to end, which the kernel does a moment after
/// the last process of the zone.
fn still_mounted(zfs: &dyn ZfsSystem, name: &str) -> Option<String> {
    let start = Instant::now();
    loop {
        let busy = mounted(zfs, name)?;
        if start.elapsed() > MOUNTS_END {
            return Some(format!("dataset {busy} is still in use: {}", holder(&busy)));
        }
        std::thread::sleep(BETWEEN);
    }
}

/// Returns the first filesystem of a tree that the kernel has mounted anywhere.
pub fn mounted(zfs: &dyn ZfsSystem, name: &str) -> Option<String> {
    let d = zfs.dataset(name).ok()?;
    let is_mounted =
        |d: &crate::zfs::Dataset| d.kind == Some(DatasetKind::Filesystem) && zfs.is_mounted(d) == Some(true);
    if is_mounted(&d) {
        return Some(d.name);
    }
    zfs.children(name)
        .flatten()
        .filter(|c| c.kind == Some(DatasetKind::Filesystem))
        .find_map(|c| mounted(zfs, &c.name))
}

/// Returns the process that has a dataset mounted, as far as `/proc` shows it.
fn holder(dataset: &str) -> String {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let mut found = pids.filter_map(|pid| {
        let table = mountinfo::mounts_of(pid).ok()?;
        table.into_iter().find(|m| is_of(m, dataset)).map(|m| (pid, m))
    });
    match found.next() {
        Some((pid, mount)) => {
            let name = made::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            let point = mount.point.shown();
            format!("process {pid} ({}) has it mounted on {point}", name.trim().shown())
        }
        None => "a process of the host has a file of it open".to_owned(),
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod registry_tests;
