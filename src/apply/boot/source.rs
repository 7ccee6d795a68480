//! Sources of `fs` resources that lie in the root of a zone.
//!
//! One zone's folder may be shown to another one, and then the path of the source leads through folders in
//! which that zone's root is free to put a link in the place of anything: followed on the host, it would
//! show the second zone whatever the first one likes. So such a path is resolved once, beneath the root of
//! the zone that it lies in, and no link is followed there.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::apply::Op;
use crate::plan::boot::Special;
use crate::spec::store::StoreError;
use crate::sys::path::{STRICT, open_beneath, reason};

/// The roots of all zones, as the host's paths and with links resolved.
#[derive(Debug, Default)]
pub struct Roots(Vec<(PathBuf, PathBuf)>);

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Into no zone.
    Host,
    /// Into the zone with this root, by its own name.
    Zone(PathBuf),
    /// Into the zone with this root, by a link on the way.
    Link(PathBuf),
}

impl Roots {
    /// Reads where the zones are. Looks at no other zone while no path could lie in one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of<'p>(op: &Op<'_>, paths: impl Iterator<Item = &'p str>) -> Result<Self, StoreError> {
        let is_root = |path: &Path| path.components().any(|c| c.as_os_str() == "root");
        let real = |path: &str| fs::canonicalize(path).is_ok_and(|path| is_root(&path));
        if !paths.into_iter().any(|path| is_root(Path::new(path)) || real(path)) {
            return Ok(Self::default());
        }
        let zonepaths = op.store.catalog()?.into_iter().map(|entry| entry.zonepath);
        let roots = zonepaths.filter(|p| !p.is_empty()).map(|zonepath| {
            let root = op.store.root().host_path(Path::new(&zonepath)).join("root");
            let real = fs::canonicalize(&root).unwrap_or_else(|_| root.clone());
            (root, real)
        });
        Ok(Self(roots.collect()))
    }

    /// Says where a path leads.
    pub fn place(&self, path: &str) -> Place {
        let path = Path::new(path);
        let lies = |(root, real): &&(PathBuf, PathBuf)| path.starts_with(root) || path.starts_with(real);
        if let Some((root, real)) = self.0.iter().find(lies) {
            return Place::Zone(if path.starts_with(root) { root } else { real }.clone());
        }
        let leads = fs::canonicalize(path).ok();
        let found = leads.and_then(|leads| self.0.iter().find(|(_, real)| leads.starts_with(real)));
        found.map_or(Place::Host, |(root, _)| Place::Link(root.clone()))
    }
}

/// Opens a source: as the host sees it, or beneath the root of the zone in which it lies.
///
/// # Errors
/// The system's error; `ELOOP` for a link in the zone.
pub fn open(path: &str, within: Option<&Path>, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let Some(root) = within else { return Ok(rustix::fs::open(path, flags, Mode::empty())?) };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, folder, Mode::empty())?;
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new("."));
    open_beneath(top.as_fd(), below, flags, Mode::empty(), STRICT)
}

/// Looks at what a source in a zone is.
pub fn look_at(path: &str, within: &Path) -> Special {
    let found = open(path, Some(within), OFlags::PATH).and_then(|fd| Ok(rustix::fs::fstat(&fd)?.st_mode));
    match found.map(FileType::from_raw_mode) {
        Ok(FileType::Directory) => Special::Dir,
        Ok(FileType::RegularFile) => Special::File,
        Ok(_) => Special::Other,
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => Special::Missing(format!(
            "a symbolic link below {} is not followed: the zone there could change it",
            within.display()
        )),
        Err(e) => Special::Missing(reason(&e)),
    }
}
