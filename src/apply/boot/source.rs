//! Sources of `fs` resources that lie where a zone can write: in its root, or in a folder of the host that it
//! is shown.
//!
//! There the zone's root is free to put a link in the place of any file: followed on the host, it would show another
//! zone, or the same one at its next boot, any file of the host. So such a path is resolved once, beneath the top
//! directory that the zone can write to, and no link is followed there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::apply::rundir::image;
use crate::apply::{Op, running};
use crate::plan::boot::Special;
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::sys::path::{STRICT, open_beneath, reason};

/// Where zones can write: a top as the host's path, the same with links resolved, and whether it is a root.
#[derive(Debug)]
struct Top {
    path: PathBuf,
    real: PathBuf,
    root: bool,
}

impl Top {
    fn new(path: PathBuf, root: bool) -> Self {
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        Self { path, real, root }
    }
}

/// The tops of all that zones can write to, outer ones first.
#[derive(Debug, Default)]
pub struct Tops(Vec<Top>);

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub enum SourceLocation {
    /// Nowhere where a zone can write.
    Host,
    /// Below this top, by its own name.
    Zone(PathBuf),
    /// Below this top, by a link on the way.
    Link(PathBuf),
}

/// Symbolic links that one path may go through, as in the kernel.
const MAX_LINKS: usize = 40;

impl Tops {
    /// Reads where zones can write. Looks at no zone while there are no paths.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of<'p>(op: &Op<'_>, mut paths: impl Iterator<Item = &'p str>) -> Result<Self, StoreError> {
        if paths.next().is_none() {
            return Ok(Self::default());
        }
        let mut tops = Vec::new();
        for entry in op.store.catalog()? {
            let zonepath = Some(entry.zonepath).filter(|p| !p.is_empty());
            let root = zonepath.map(|p| (op.store.root().host_path(Path::new(&p)).join("root"), true));
            let shared = entry.shared.into_iter().map(|path| (PathBuf::from(path), false));
            tops.extend(root.into_iter().chain(shared).map(|(path, root)| Top::new(path, root)));
        }
        // A running zone keeps the directories of its boot until it ends.
        for (name, running) in running::all(op.store.root()) {
            let shown = image::of_running(op.store.root(), &name, running.init).map(|found| found.shared);
            tops.extend(shown.into_iter().flatten().map(|path| Top::new(path.into(), false)));
        }
        tops.sort_by_cached_key(|top| top.path.components().count());
        Ok(Self(tops))
    }

    /// Says where a path leads. The top of a shared folder itself has a name of the host's.
    pub fn place(&self, path: &str) -> SourceLocation {
        let path = Path::new(path);
        let lies = |top: &Top, whole: &Path| path.starts_with(whole) && (top.root || path != whole);
        for top in &self.0 {
            if let Some(whole) = [&top.path, &top.real].into_iter().find(|whole| lies(top, whole)) {
                // Its own name may lie, by a link, below another top.
                let outer = self.entered(whole).0;
                return outer.map_or(SourceLocation::Zone(whole.clone()), |top| {
                    SourceLocation::Link(top.path.clone())
                });
            }
        }
        let (entered, end) = self.entered(path);
        let entered = entered.or_else(|| self.0.iter().find(|top| top.root && end == top.real));
        entered.map_or(SourceLocation::Host, |top| SourceLocation::Link(top.path.clone()))
    }

    /// Follows a path of the host, link by link, until a name is to be looked up where a zone can write: returns
    /// the top of that, and how far it came.
    fn entered(&self, path: &Path) -> (Option<&Top>, PathBuf) {
        let mut at = PathBuf::from("/");
        let mut todo: Vec<OsString> = parts(path);
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            if let Some(top) = self.0.iter().find(|top| at.starts_with(&top.real)) {
                return (Some(top), at);
            }
            at.push(&part);
            let Ok(target) = fs::read_link(&at) else { continue };
            links += 1;
            if links > MAX_LINKS {
                break;
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            todo.extend(parts(&target));
        }
        (None, at)
    }
}

/// Returns the names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    names.map(|c| c.as_os_str().to_owned()).rev().collect()
}

/// Opens a source: as the host sees it, or beneath the top directory that a zone can write to.
///
/// # Errors
/// The system's error; `ELOOP` for a link there.
pub fn open(path: &str, within: Option<&Path>, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let Some(root) = within else { return Ok(rustix::fs::open(path, flags, Mode::empty())?) };
    // The name of the top is the host's, and may be a link of the host's.
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, folder, Mode::empty())?;
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new("."));
    open_beneath(top.as_fd(), below, flags, Mode::empty(), STRICT)
}

/// Finds out the kind of a source that lies where a zone can write.
pub fn look_at(path: &str, within: &Path) -> Special {
    let found = open(path, Some(within), OFlags::PATH).and_then(|fd| Ok(rustix::fs::fstat(&fd)?.st_mode));
    match found.map(FileType::from_raw_mode) {
        Ok(FileType::Directory) => Special::Dir,
        Ok(FileType::RegularFile) => Special::File,
        Ok(_) => Special::Other,
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => Special::Missing(format!(
            "a symbolic link below {} is not followed: a zone could change it",
            within.shown()
        )),
        Err(e) => Special::Missing(reason(&e)),
    }
}
