//! The way to a mount point in a zone, which leads through no link: the zone's root could make one that leads
//! anywhere. So a link on the way is reported, with its target.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, openat, readlinkat};

use crate::spec::shown::Show;

/// Links that are followed to find out where a way leads, as many as the kernel follows.
const MOST: usize = 40;

/// The outcome of a look at the way to a path of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathLookup {
    /// Nothing but directories, and at its end a directory or not.
    There {
        /// The path is a directory.
        directory: bool,
    },
    /// Directories as far as this; the rest is missing.
    Missing(PathBuf),
    /// Something that is no directory.
    NoDirectory(PathBuf),
    /// A symbolic link.
    Link {
        /// Which.
        at: PathBuf,
        /// The path that the link says.
        target: PathBuf,
        /// The path with the target in place of the link.
        leads: PathBuf,
    },
    /// It cannot be looked at.
    Unknown,
}

/// A directory that is open, and the path of the zone where it is seen.
pub type OpenDirectory = (OwnedFd, PathBuf);

/// Looks at the way to a path. `base` gives the directory where the way to it begins: the zone's root, or a
/// mount.
pub fn look_up(path: &Path, base: impl Fn(&Path) -> Option<OpenDirectory>) -> PathLookup {
    let Some((mut fd, mut at)) = base(path) else { return PathLookup::Unknown };
    let rest = path.strip_prefix(&at).unwrap_or(path).to_owned();
    let names: Vec<&OsStr> = rest
        .components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    for (n, name) in names.iter().enumerate() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = match openat(&fd, *name, flags, Mode::empty()) {
            Ok(next) => next,
            Err(rustix::io::Errno::NOENT) => return PathLookup::Missing(at.join(name)),
            Err(rustix::io::Errno::NOTDIR) => return PathLookup::NoDirectory(at),
            Err(_) => return PathLookup::Unknown,
        };
        let Ok(stat) = rustix::fs::fstat(&next) else { return PathLookup::Unknown };
        let here = at.join(name);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::Symlink => {
                let Ok(target) = readlinkat(next.as_fd(), "", Vec::new()) else { return PathLookup::Unknown };
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                let leads = names[n + 1..].iter().fold(resolved(&at, &target), |path, name| path.join(name));
                return PathLookup::Link { at: here, target, leads };
            }
            _ if n + 1 == names.len() => return PathLookup::There { directory: false },
            _ => return PathLookup::NoDirectory(here),
        }
        (fd, at) = (next, here);
    }
    PathLookup::There { directory: true }
}

/// Returns where a link in a directory leads; no way leads out of the root.
fn resolved(dir: &Path, target: &Path) -> PathBuf {
    let mut out = dir.to_owned();
    for part in target.components() {
        match part {
            Component::RootDir => out = PathBuf::from("/"),
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// Follows all links of a way; returns the path without links, none when they lead in a circle.
pub fn follow(path: &Path, base: impl Fn(&Path) -> Option<OpenDirectory>) -> Option<(PathBuf, PathLookup)> {
    let mut path = path.to_owned();
    for _ in 0..MOST {
        match look_up(&path, &base) {
            PathLookup::Link { leads, .. } => path = leads,
            way => return Some((path, way)),
        }
    }
    None
}

/// A link on the way to a mount point, for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misled {
    /// The link.
    pub at: PathBuf,
    /// The path that the link says.
    pub target: PathBuf,
    /// The mount point that works.
    pub instead: Option<PathBuf>,
}

impl fmt::Display for Misled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is a symbolic link to {} in the zone", self.at.shown(), self.target.shown())
    }
}

impl Misled {
    /// Says what to do about the `dir` of a resource.
    pub fn way_out(&self) -> String {
        match &self.instead {
            Some(dir) => format!("use dir={}", dir.shown()),
            None => "choose a dir without links on its way".to_owned(),
        }
    }
}

/// Returns the first link on the way to a mount point.
pub fn misled(path: &Path, base: impl Fn(&Path) -> Option<OpenDirectory>) -> Option<Misled> {
    let PathLookup::Link { at, target, .. } = look_up(path, &base) else { return None };
    // A way that ends in memory or on a device cannot be looked at before the boot mounts that, so it is believed.
    let instead = follow(path, base).filter(|(_, way)| !matches!(way, PathLookup::NoDirectory(_)));
    Some(Misled { at, target, instead: instead.map(|(path, _)| path) })
}
