//! Datasets mounted by the zone's first process, in the zone's own user and mount namespaces: the
//! mounts are the zone's, as if its own `zfs mount -a` had made them, and that finds them made.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use thiserror::Error;

use super::withdraw::mount;
use crate::plan::options::MountOptions;
use crate::plan::profile::Profile;
use crate::spec::shown::Show;
use crate::sys::mount::MountFd;
use crate::sys::mountinfo;
use crate::sys::path::reason;

/// Places of the kernel, which nothing is mounted on or below.
const FORBIDDEN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Directories without which no work in the zone is possible, not even its administrator's to undo it. Datasets of a
/// stream of another system have their mount points on them.
const SYSTEM: [&str; 14] = [
    "/bin",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/run",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/sbin",
];

/// The overflow id: it stands for all ids that the zone does not have.
const OVERFLOW: u32 = 65_534;

/// A filesystem, and where its properties want it.
#[derive(Clone, Copy, Debug)]
pub struct MountRequest<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its mount point.
    pub dir: &'a str,
    /// The mount options in its properties.
    pub options: &'a MountOptions,
    /// Its `overlay` is off: it covers no files.
    pub no_overlay: bool,
    /// The profile that closes the root.
    pub closed: Option<Profile>,
}

/// The result for a filesystem. Its mount point was set by the zone's administrator, so an error is only reported
/// and keeps no zone from booting.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why it is not mounted.
    pub problem: Option<String>,
    /// The mount, when its root directory seems to belong to no user of the zone.
    pub foreign: Option<MountFd>,
}

/// Returns the mount points of all that the boot has mounted below the root of this process.
pub fn mounted_by_boot() -> Vec<PathBuf> {
    let table = mountinfo::mounts().unwrap_or_default();
    table.into_iter().map(|m| m.point).filter(|point| point != Path::new("/")).collect()
}

/// Mounts a filesystem, unless that would cover one of these mount points or a directory of the system. A filesystem
/// that is not mounted is checked too: the zone may mount it elsewhere.
pub fn mount_at(wanted: &MountRequest<'_>, own: &[PathBuf]) -> Outcome {
    let MountRequest { name, dir, options, .. } = *wanted;
    let failed = |why: &dyn Display| Some(format!("cannot mount {name} on {}: {why}", dir.shown()));
    let tree = match mount(name, options, None) {
        Ok(tree) => tree,
        Err(e) => return Outcome { problem: failed(&e), foreign: None },
    };
    let placed =
        place(wanted, own).and_then(|target| tree.attach(target.as_fd()).map_err(PlaceError::System));
    let problem = placed.err().and_then(|e| failed(&e));
    let ours = rustix::fs::fstat(&tree).is_ok_and(|top| top.st_uid != OVERFLOW && top.st_gid != OVERFLOW);
    Outcome { problem, foreign: Some(tree).filter(|_| !ours) }
}

/// Why a filesystem is not mounted where its properties want it. The message names both before it.
#[derive(Debug, Error)]
enum PlaceError {
    /// A call of the system failed.
    #[error("{}", reason(.0))]
    System(#[source] io::Error),
    /// The directory holds files, and the filesystem is to cover none.
    #[error("the directory is not empty and its overlay is off; use zfs set overlay=on {dataset}")]
    NotEmpty {
        /// The filesystem.
        dataset: String,
    },
    /// The directory is the root of the zone, or belongs to the kernel.
    #[error("the zone's own files are there; use zfs set mountpoint")]
    ZonesOwn,
    /// The mount would leave no zone to work in.
    #[error(
        "it would cover {dir}, a directory of the system; use zfs set canmount=noauto {dataset}, or zfs set mountpoint"
    )]
    CoversSystem {
        /// The directory.
        dir: &'static str,
        /// The filesystem.
        dataset: String,
    },
    /// Something that the boot has mounted would be hidden.
    #[error(
        "it would cover {}, which the boot has mounted; use zfs set canmount=noauto {dataset}, or zfs set mountpoint",
        point.shown()
    )]
    CoversMount {
        /// Its mount point.
        point: PathBuf,
        /// The filesystem.
        dataset: String,
    },
    /// The profile closes this part of the root.
    #[error("nothing is mounted there under file-mac-profile={profile}; use zfs set mountpoint")]
    Closed {
        /// The profile.
        profile: &'static str,
    },
}

/// Finds the directory on which a filesystem is mounted; makes it where there is none.
fn place(wanted: &MountRequest<'_>, own: &[PathBuf]) -> Result<OwnedFd, PlaceError> {
    let path = Path::new(wanted.dir);
    may_be(wanted, path, own)?;
    make_dirs(path).map_err(|e| PlaceError::System(e.into()))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| PlaceError::System(e.into()))?;
    // The way there may lead through links.
    let here = format!("/proc/self/fd/{}", target.as_raw_fd());
    may_be(wanted, &std::fs::read_link(&here).map_err(PlaceError::System)?, own)?;
    let full = || std::fs::read_dir(here).is_ok_and(|mut entries| entries.next().is_some());
    if wanted.no_overlay && full() {
        return Err(PlaceError::NotEmpty { dataset: wanted.name.to_owned() });
    }
    Ok(target)
}

fn may_be(wanted: &MountRequest<'_>, path: &Path, own: &[PathBuf]) -> Result<(), PlaceError> {
    if path == Path::new("/") || FORBIDDEN.iter().any(|f| path.starts_with(f)) {
        return Err(PlaceError::ZonesOwn);
    }
    let dataset = || wanted.name.to_owned();
    if let Some(dir) = SYSTEM.iter().find(|dir| path == Path::new(dir)) {
        return Err(PlaceError::CoversSystem { dir, dataset: dataset() });
    }
    if let Some(covered) = own.iter().find(|point| point.starts_with(path)) {
        return Err(PlaceError::CoversMount { point: covered.clone(), dataset: dataset() });
    }
    if let Some(profile) = wanted.closed.filter(|profile| profile.is_closed(path)) {
        return Err(PlaceError::Closed { profile: profile.name() });
    }
    Ok(())
}

/// Makes a directory with those above it, as `zfs mount` does.
fn make_dirs(path: &Path) -> rustix::io::Result<()> {
    let above: Vec<&Path> = path.ancestors().collect();
    for dir in above.into_iter().rev().skip(1) {
        match rustix::fs::mkdirat(CWD, dir, Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            // It may be there all the same, on something that is read-only.
            Err(_) if dir.is_dir() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
