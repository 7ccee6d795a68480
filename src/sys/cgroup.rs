//! The zone's folder in the host's cgroup v2 tree (cgroups(7)).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::process::wait_readable;

/// Finds where cgroup v2 is mounted; none when the host has only version 1.
pub fn mount_point() -> Option<PathBuf> {
    // Both usual places first: reading all of mountinfo costs more than two statfs calls.
    for place in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let is_v2 = rustix::fs::statfs(place).is_ok_and(|s| s.f_type == libc::CGROUP2_SUPER_MAGIC);
        if is_v2 {
            return Some(place.into());
        }
    }
    None
}

/// Makes the folder and the ones above it, and opens it.
///
/// # Errors
/// The system's error.
pub fn make(path: &Path) -> io::Result<OwnedFd> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path)?,
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    Ok(fs::File::open(path)?.into())
}

/// Gives the files that a delegate may write to the zone's root.
///
/// # Errors
/// The system's error.
pub fn delegate(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        match std::os::unix::fs::chown(path.join(file), Some(uid), Some(gid)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Kills every process below the folder and removes it with all below it. A folder that is gone
/// already is no error.
///
/// # Errors
/// The system's error; `EBUSY` when a process does not die.
pub fn remove(path: &Path) -> io::Result<()> {
    // cgroup.kill is there from Linux 5.14 on; before that the processes have died with process 1.
    if fs::write(path.join("cgroup.kill"), "1").is_err() && !path.exists() {
        return Ok(());
    }
    let mut last = Ok(());
    for _ in 0..200 {
        last = remove_tree(path);
        match &last {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                // The kernel says "populated 0" a moment before the folder can go.
                let events = fs::File::open(path.join("cgroup.events"))?;
                wait_readable(std::os::fd::AsFd::as_fd(&events), 0)?;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            _ => return last,
        }
    }
    last
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(()) => return Ok(()),
        Err(_) => {}
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
