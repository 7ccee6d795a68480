//! The zone's folder in the host's cgroup v2 tree (cgroups(7)).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::made;
use super::naive::without;

/// How deep a zone may nest cgroups of its own, and how many it may have. Without a limit it could build a tree that
/// takes minutes to remove, or that outgrows the path lengths and stacks of programs that walk it.
const LIMITS: [(&str, &str); 2] = [("cgroup.max.depth", "32"), ("cgroup.max.descendants", "4096")];

/// How long killed processes may take to leave a folder.
const DIES_WITHIN: Duration = Duration::from_secs(3);

/// Finds where cgroup v2 is mounted; none when the host has only version 1. Where it was found once it is not looked
/// for again: a host does not move it.
pub fn mount_point() -> Option<PathBuf> {
    static FOUND: OnceLock<&str> = OnceLock::new();
    let is_v2 = |place: &str| rustix::fs::statfs(place).is_ok_and(|s| s.f_type == libc::CGROUP2_SUPER_MAGIC);
    let find = || ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().find(|place| is_v2(place));
    let place = FOUND.get().copied().or_else(|| find().map(|place| *FOUND.get_or_init(|| place)));
    place.map(PathBuf::from)
}

/// Makes the folder and the ones above it, and opens it.
///
/// # Errors
/// The system's error.
pub fn make(path: &Path) -> io::Result<OwnedFd> {
    // The mode is given: the caller may have no umask, and a folder that every user of the host can write
    // to would let each of them put cgroups into the zone's.
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    Ok(fs::File::open(path)?.into())
}

/// Switches controllers on for a folder: in every folder above it, up to `top`, where they are not on yet. The
/// processes that are there already are not limited by that. `top` is [`mount_point`].
///
/// # Errors
/// The system's error; `ENOENT` when the host has no such controller.
pub fn enable(top: Option<&Path>, path: &Path, controllers: &[&str]) -> io::Result<()> {
    let Some(top) = top.filter(|top| path.starts_with(top)) else {
        return Err(Errno::NOENT.into());
    };
    let mut above: Vec<&Path> = path.ancestors().skip(1).take_while(|p| p.starts_with(top)).collect();
    above.reverse();
    for folder in above {
        let file = folder.join("cgroup.subtree_control");
        let on = made::read(&file)?;
        let missing = controllers.iter().filter(|c| !on.split_whitespace().any(|o| o == **c));
        let words: Vec<String> = missing.map(|c| format!("+{c}")).collect();
        if !words.is_empty() {
            fs::write(&file, words.join(" "))?;
        }
    }
    Ok(())
}

/// Switches every controller on for a folder that this host has: for zonestat, and for limits that the zone sets
/// itself. A limit of the folder holds for all below it, whatever is set there. A controller that the host does not
/// delegate is left out.
pub fn enable_all(top: Option<&Path>, path: &Path) {
    let all = top.and_then(|top| made::read(top.join("cgroup.controllers")).ok()).unwrap_or_default();
    let words: Vec<&str> = all.split_whitespace().collect();
    if enable(top, path, &words).is_err() {
        for word in words {
            let _ = enable(top, path, &[word]);
        }
    }
}

/// Gives the files that a delegate may write to the zone's root, within limits that stay the host's.
///
/// # Errors
/// The system's error.
pub fn delegate(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    for (file, limit) in LIMITS {
        match fs::write(path.join(file), limit) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    let limits: &[_] = if without("cgroup-files") { &["cgroup.max.depth"] } else { &[] };
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"].iter().chain(limits) {
        match std::os::unix::fs::chown(path.join(file), Some(uid), Some(gid)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Returns how many cgroups are in one; none when it is not there. The kernel counts a link for each (kernfs), so
/// that the folder need not be read.
pub fn children(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.nlink().saturating_sub(2))
}

/// Says whether a process is in the folder or below it.
pub fn is_populated(path: &Path) -> bool {
    let events = made::read(path.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|l| l == "populated 1")
}

/// Returns the processes in the folder and below it, those of the folder first. Unreadable folders are passed over.
pub fn members(path: &Path) -> Vec<i32> {
    let mut list = Vec::new();
    if let Ok(folder) = rustix::fs::open(path, FOLDER, Mode::empty()) {
        members_below(folder.as_fd(), &mut list);
    }
    list
}

/// By descriptor, as in [`remove`].
fn members_below(folder: BorrowedFd<'_>, list: &mut Vec<i32>) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::openat(folder, "cgroup.procs", flags, Mode::empty()) {
        let text = made::read_file(&fs::File::from(file)).unwrap_or_default();
        list.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()));
    }
    let Ok(dir) = rustix::fs::Dir::read_from(folder) else { return };
    for entry in dir.flatten() {
        let name = entry.file_name();
        if entry.file_type() == rustix::fs::FileType::Directory
            && !matches!(name.to_bytes(), b"." | b"..")
            && let Ok(inner) = rustix::fs::openat(folder, name, FOLDER, Mode::empty())
        {
            members_below(inner.as_fd(), list);
        }
    }
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
    let start = Instant::now();
    loop {
        match remove_tree(path) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < DIES_WITHIN => {
                // A killed process is in the folder until it has ended, which takes a while on a busy machine;
                // some kernels let go of it a moment later still.
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    match rustix::fs::open(parent, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => Ok(()),
        parent => Ok(remove_below(parent?.as_fd(), Path::new(name))?),
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// By descriptor: the names that a zone chose may add up to more than a path can hold.
fn remove_below(parent: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<()> {
    let remove = || match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    };
    if remove().is_ok() {
        return Ok(());
    }
    match rustix::fs::openat(parent, name, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        here => {
            let here = here?;
            for entry in rustix::fs::Dir::read_from(&here)? {
                let entry = entry?;
                let inner = entry.file_name().to_bytes();
                if entry.file_type() == rustix::fs::FileType::Directory && !matches!(inner, b"." | b"..") {
                    remove_below(here.as_fd(), Path::new(std::ffi::OsStr::from_bytes(inner)))?;
                }
            }
        }
    }
    remove()
}

/// Returns the cgroup folder that a process or thread is in; none when it lies outside the given folder.
pub fn of_process(pid: i32, folder: &Path) -> Option<PathBuf> {
    let text = made::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::"))?;
    beneath(folder, Path::new(path))
}

/// Puts a path of `/proc/PID/cgroup`, which begins at the hierarchy's root, into the folder that one of
/// its beginnings names.
fn beneath(folder: &Path, path: &Path) -> Option<PathBuf> {
    let named = path.ancestors().find(|a| {
        let relative = a.strip_prefix("/").unwrap_or(a);
        !relative.as_os_str().is_empty() && folder.ends_with(relative)
    })?;
    Some(folder.join(path.strip_prefix(named).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_below_the_zones() {
        let of = |path: &str| beneath(Path::new("/sys/fs/cgroup/zones/zion"), Path::new(path));
        let folder = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of("/zones/zion"), folder("/sys/fs/cgroup/zones/zion"));
        assert_eq!(of("/zones/zion/init.scope"), folder("/sys/fs/cgroup/zones/zion/init.scope"));
        assert_eq!(of("/zones/zion/a/zion/b"), folder("/sys/fs/cgroup/zones/zion/a/zion/b"));
        for other in ["/", "", "/zones/zion2", "/zones", "/user.slice/x"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
