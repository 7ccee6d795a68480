//! Copies a tree.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use thiserror::Error;

use super::chain::Chain;
use super::data::{Lost, Mover, copy_attributes};
use super::filter::{CopyFilter, CopyRule};
use super::links::HardLinks;
use crate::sys::path::{At, Dir, PathError, SAME_MOUNT, STRICT, open_beneath};

/// The first id that a zone's usual range of 65,536 does not hold.
const ID_LIMIT: u32 = 65_536;

/// Why a tree could not be copied.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The result of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Entries made.
    pub entries: u64,
    /// Bytes of files, holes not counted.
    pub bytes: u64,
    /// Files that share their blocks with the source.
    pub reflinks: u64,
    /// Device nodes left out.
    pub devices: u64,
    /// Sockets left out.
    pub sockets: u64,
    /// Mounts not entered.
    pub mounts: Vec<PathBuf>,
    /// Extended attributes that the target's file system cannot keep, some of them if there are many.
    pub lost_xattrs: BTreeSet<String>,
    /// The first file or directory with more attributes than the kernel lists, and how many there are.
    pub unlisted: Option<(PathBuf, u64)>,
    /// Entries that belong to an id beyond a zone's usual range.
    pub foreign_ids: u64,
}

/// Number of attributes that are named in a message: a zone can make a million of them.
const NAMED: usize = 16;

impl Copied {
    /// Notes the attributes that a file or directory loses.
    fn note_lost(&mut self, lost: Lost, path: impl AsRef<Path>) {
        for name in lost.names {
            if self.lost_xattrs.len() < NAMED {
                self.lost_xattrs.insert(name);
            }
        }
        if lost.unlisted {
            let unlisted = self.unlisted.get_or_insert_with(|| (path.as_ref().to_owned(), 0));
            unlisted.1 += 1;
        }
    }
}

/// How much there is to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Entries.
    pub entries: u64,
    /// Bytes of files, holes not counted.
    pub bytes: u64,
}

/// Called with entries and bytes done and the path below the tree.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64, &Path);

/// Copies everything in a directory into another one: content (reflinked where possible), holes,
/// hard links, owners, modes, times and extended attributes. Sockets and device nodes are left out,
/// mounts are not entered, links are copied and never followed.
///
/// # Errors
/// [`CopyError`]; the target is then partly there.
pub fn copy_tree(
    from: &Dir,
    to: &Dir,
    filter: &CopyFilter,
    progress: Progress<'_>,
) -> Result<Copied, CopyError> {
    CopyVisitor::new(to, progress)?.run(from, None, filter)
}

/// The same for some names of a directory. Missing names are passed over, and so are those that the target has
/// already, but for directories, which are filled.
///
/// # Errors
/// [`CopyError`].
pub fn copy_names(
    from: &Dir,
    to: &Dir,
    names: &[OsString],
    filter: &CopyFilter,
) -> Result<Copied, CopyError> {
    let mut ignore = |_: u64, _: u64, _: &Path| {};
    let mut copy = CopyVisitor::new(to, &mut ignore)?;
    copy.keep = true;
    copy.run(from, Some(names), filter)
}

/// Counts what [`copy_tree`] would copy.
///
/// # Errors
/// [`CopyError`] when something cannot be read.
pub fn measure(from: &Dir, filter: &CopyFilter) -> Result<Measured, CopyError> {
    let mut measure = MeasureVisitor::default();
    walk(from, None, filter, &mut measure)?;
    Ok(measure.sum)
}

/// The work at each entry of a [`walk`]: [`MeasureVisitor`] counts, [`CopyVisitor`] copies.
trait Visitor {
    /// A directory is entered; the entries in it are visited next.
    fn enter_dir(&mut self, place: &SourceEntry<'_>, fd: BorrowedFd<'_>) -> Result<(), CopyError>;
    /// A directory is left: everything in it has been visited.
    fn leave_dir(&mut self, fd: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<(), CopyError>;
    /// A directory is not entered: the filter wants it empty, or, with `mount`, something is mounted on it.
    fn closed_dir(&mut self, place: &SourceEntry<'_>, stat: &Stat, mount: bool) -> Result<(), CopyError>;
    /// An entry that is no directory: a file, link, pipe, socket or device.
    fn non_dir(
        &mut self,
        place: &SourceEntry<'_>,
        kind: FileType,
        filter: &CopyFilter,
    ) -> Result<(), CopyError>;
}

/// An entry of the source.
pub(super) struct SourceEntry<'a> {
    parent: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
    /// Below the tree.
    pub(super) path: &'a Path,
    /// For messages.
    source: LazyPath<'a>,
}

/// A path for messages, put together when there is one: in a deep tree it is long.
struct LazyPath<'a> {
    top: Rc<Path>,
    below: &'a Path,
    whole: OnceCell<PathBuf>,
}

impl<'a> LazyPath<'a> {
    fn new(top: &Rc<Path>, below: &'a Path) -> Self {
        Self { top: Rc::clone(top), below, whole: OnceCell::new() }
    }
}

impl AsRef<Path> for LazyPath<'_> {
    fn as_ref(&self) -> &Path {
        self.whole.get_or_init(|| self.top.join(self.below))
    }
}

/// A directory on the way from the top of the walk to the present entry.
struct Level {
    stat: Stat,
    /// Its entries that have not been visited, the next one last.
    todo: Vec<(OsString, FileType)>,
    /// Of its entries only directories are visited.
    dirs_only: bool,
}

/// Visits everything in a directory, or these names of it, depth first.
fn walk(
    from: &Dir,
    names: Option<&[OsString]>,
    filter: &CopyFilter,
    visitor: &mut dyn Visitor,
) -> Result<(), CopyError> {
    let fd = from.as_fd().try_clone_to_owned().at("open", from.path())?;
    let stat = rustix::fs::fstat(&fd).at("read", from.path())?;
    let mut todo = match names {
        Some(names) => names.iter().map(|n| (n.clone(), FileType::Unknown)).collect(),
        None => from.entries()?,
    };
    todo.reverse();
    let mut chain = Chain::new(fd);
    let mut levels = vec![Level { stat, todo, dirs_only: false }];
    let mut path = PathBuf::new();
    let top: Rc<Path> = from.path().into();
    while let Some(level) = levels.last_mut() {
        let Some((name, kind)) = level.todo.pop() else {
            let left = chain.pop().at("open", LazyPath::new(&top, &path))?;
            if let (Some(left), Some(level)) = (left, levels.pop()) {
                visitor.leave_dir(left.as_fd(), &level.stat, &path)?;
                path.pop();
                continue;
            }
            break;
        };
        path.push(&name);
        let source = LazyPath::new(&top, &path);
        let place = SourceEntry { parent: chain.last(), name: &name, path: &path, source };
        let rule = match filter.rule(&path) {
            CopyRule::Copy if level.dirs_only => CopyRule::DirsOnly,
            rule => rule,
        };
        match visit(&place, kind, rule, filter, visitor)? {
            Some((fd, next)) => {
                chain.push(fd).at("read", LazyPath::new(&top, &path))?;
                levels.push(next);
            }
            None => {
                path.pop();
            }
        }
    }
    Ok(())
}

/// Visits one entry; returns a directory that is to be entered, and its level.
fn visit(
    place: &SourceEntry<'_>,
    mut kind: FileType,
    rule: CopyRule,
    filter: &CopyFilter,
    visitor: &mut dyn Visitor,
) -> Result<Option<(OwnedFd, Level)>, CopyError> {
    if rule == CopyRule::Skip {
        return Ok(None);
    }
    let stat = || match rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
        // Gone since the directory was read.
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some).at("read", &place.source),
    };
    if kind == FileType::Unknown {
        let Some(stat) = stat()? else { return Ok(None) };
        kind = FileType::from_raw_mode(stat.st_mode);
    }
    if kind != FileType::Directory {
        if rule == CopyRule::Copy {
            visitor.non_dir(place, kind, filter)?;
        }
        return Ok(None);
    }
    let how = if filter.may_enter(place.path) { STRICT } else { SAME_MOUNT };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let fd = match open_beneath(place.parent, Path::new(place.name), flags, Mode::empty(), how) {
        Ok(fd) => fd,
        Err(e) => match Errno::from_io_error(&e) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Some(Errno::XDEV) => {
                if let Some(stat) = stat()?.filter(|s| filter.lets(s.st_mode, true)) {
                    visitor.closed_dir(place, &stat, true)?;
                }
                return Ok(None);
            }
            _ => return Err(e).at("open", &place.source)?,
        },
    };
    let stat = rustix::fs::fstat(&fd).at("read", &place.source)?;
    if !filter.lets(stat.st_mode, true) {
        return Ok(None);
    }
    if rule == CopyRule::Empty {
        visitor.closed_dir(place, &stat, false)?;
        return Ok(None);
    }
    visitor.enter_dir(place, fd.as_fd())?;
    let mut todo = crate::sys::path::entries(fd.as_fd()).at("read", &place.source)?;
    todo.reverse();
    Ok(Some((fd, Level { stat, todo, dirs_only: rule == CopyRule::DirsOnly })))
}

#[derive(Default)]
struct MeasureVisitor {
    sum: Measured,
    /// Files of several names that have been counted.
    seen: HashSet<(u64, u64)>,
}

impl Visitor for MeasureVisitor {
    fn enter_dir(&mut self, _: &SourceEntry<'_>, _: BorrowedFd<'_>) -> Result<(), CopyError> {
        self.sum.entries += 1;
        Ok(())
    }

    fn leave_dir(&mut self, _: BorrowedFd<'_>, _: &Stat, _: &Path) -> Result<(), CopyError> {
        Ok(())
    }

    fn closed_dir(&mut self, _: &SourceEntry<'_>, _: &Stat, _: bool) -> Result<(), CopyError> {
        self.sum.entries += 1;
        Ok(())
    }

    fn non_dir(
        &mut self,
        place: &SourceEntry<'_>,
        kind: FileType,
        filter: &CopyFilter,
    ) -> Result<(), CopyError> {
        self.sum.entries += 1;
        if kind == FileType::RegularFile {
            match rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
                // A file of a thousand names is copied once.
                Ok(stat) if stat.st_nlink > 1 && !self.seen.insert((stat.st_dev, stat.st_ino)) => {}
                Ok(stat) if filter.lets(stat.st_mode, false) => self.sum.bytes += bytes_without_holes(&stat),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e).at("read", &place.source)?,
            }
        }
        Ok(())
    }
}

/// Returns how many bytes a file takes, holes not counted (stat(3type): `st_blocks`).
fn bytes_without_holes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

struct CopyVisitor<'a> {
    /// The directory of the target that is being filled is the last one.
    to: Chain,
    /// Path of the first one.
    top: Rc<Path>,
    links: HardLinks,
    mover: Mover,
    progress: Progress<'a>,
    done: Copied,
    /// Names that the target has already are passed over.
    keep: bool,
}

impl<'a> CopyVisitor<'a> {
    fn new(to: &Dir, progress: Progress<'a>) -> Result<Self, PathError> {
        let top = to.path().into();
        let to = Chain::new(to.open(".", OFlags::RDONLY | OFlags::DIRECTORY, 0, STRICT)?);
        let (links, mover, done) = (HardLinks::default(), Mover::new(), Copied::default());
        Ok(Self { to, top, links, mover, progress, done, keep: false })
    }

    /// Copies by a walk, and removes its temporary files.
    fn run(
        mut self,
        from: &Dir,
        names: Option<&[OsString]>,
        filter: &CopyFilter,
    ) -> Result<Copied, CopyError> {
        let walked = walk(from, names, filter, &mut self);
        let cleared = self.links.clear(&self.to, &self.top);
        walked?;
        cleared?;
        Ok(self.done)
    }

    fn count(&mut self, place: &SourceEntry<'_>, stat: &Stat, bytes: u64) {
        self.done.entries += 1;
        self.done.bytes += bytes;
        self.done.foreign_ids += u64::from(stat.st_uid >= ID_LIMIT || stat.st_gid >= ID_LIMIT);
        (self.progress)(self.done.entries, self.done.bytes, place.path);
    }

    /// Makes a directory, closed to all but root until it has its content.
    fn make_dir(&self, place: &SourceEntry<'_>) -> Result<OwnedFd, PathError> {
        let target = LazyPath::new(&self.top, place.path);
        match rustix::fs::mkdirat(self.to.last(), place.name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) if self.keep => {}
            other => other.at("create", &target)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        open_beneath(self.to.last(), Path::new(place.name), flags, Mode::empty(), SAME_MOUNT)
            .at("open", &target)
    }

    fn copy_file(&mut self, place: &SourceEntry<'_>, filter: &CopyFilter) -> Result<(), CopyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open =
            |flags| open_beneath(place.parent, Path::new(place.name), flags, Mode::empty(), SAME_MOUNT);
        // Reading shall not change the time of last use; only the owner may ask for that.
        let from = match open(flags | OFlags::NOATIME) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::PERM) => open(flags),
            other => other,
        };
        let from = match from {
            Ok(from) => from,
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
                Some(Errno::XDEV) => {
                    self.done.mounts.push(place.source.as_ref().to_owned());
                    return Ok(());
                }
                _ => return Err(e).at("open", &place.source)?,
            },
        };
        let stat = rustix::fs::fstat(&from).at("read", &place.source)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || !filter.lets(stat.st_mode, false) || self.link_if_copied(place, &stat)? {
            return Ok(());
        }
        let here = self.to.last();
        let target = LazyPath::new(&self.top, place.path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = match rustix::fs::openat(here, place.name, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) if self.keep => return Ok(()),
            other => other.at("create", &target)?,
        };
        self.done.reflinks +=
            u64::from(self.mover.copy(from.as_fd(), to.as_fd(), &stat).at("write", &target)?);
        let lost = copy_attributes(from.as_fd(), to.as_fd(), &stat).at("set attributes of", &target)?;
        self.done.note_lost(lost, &place.source);
        self.links.note_made(&self.to, place, &stat).at("link", &target)?;
        self.count(place, &stat, bytes_without_holes(&stat));
        Ok(())
    }

    /// Makes a hard link when the file has been copied under another name, and says whether it has.
    fn link_if_copied(&mut self, place: &SourceEntry<'_>, stat: &Stat) -> Result<bool, CopyError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let target = LazyPath::new(&self.top, place.path);
        match self.links.link(&self.to, place.name, stat) {
            None => return Ok(false),
            Some(Err(Errno::EXIST)) if self.keep => {}
            Some(other) => other.at("link", &target)?,
        }
        self.count(place, stat, 0);
        Ok(true)
    }
}

impl Visitor for CopyVisitor<'_> {
    fn enter_dir(&mut self, place: &SourceEntry<'_>, fd: BorrowedFd<'_>) -> Result<(), CopyError> {
        let dir = self.make_dir(place)?;
        let stat = rustix::fs::fstat(fd).at("read", &place.source)?;
        self.to.push(dir).at("create", LazyPath::new(&self.top, place.path))?;
        self.count(place, &stat, 0);
        Ok(())
    }

    fn leave_dir(&mut self, fd: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<(), CopyError> {
        let target = LazyPath::new(&self.top, path);
        let Some(dir) = self.to.pop().at("open", &target)? else { return Ok(()) };
        let lost = copy_attributes(fd, dir.as_fd(), stat).at("set attributes of", &target)?;
        self.done.note_lost(lost, &target);
        Ok(())
    }

    fn closed_dir(&mut self, place: &SourceEntry<'_>, stat: &Stat, mount: bool) -> Result<(), CopyError> {
        let dir = self.make_dir(place)?;
        let mode = stat.st_mode & 0o7777;
        let owned = crate::sys::path::Owned { mode, uid: stat.st_uid, gid: stat.st_gid };
        crate::sys::path::set_owned(dir.as_fd(), owned)
            .at("set owner and mode of", LazyPath::new(&self.top, place.path))?;
        if mount {
            self.done.mounts.push(place.source.as_ref().to_owned());
        }
        self.count(place, stat, 0);
        Ok(())
    }

    fn non_dir(
        &mut self,
        place: &SourceEntry<'_>,
        kind: FileType,
        filter: &CopyFilter,
    ) -> Result<(), CopyError> {
        match kind {
            FileType::RegularFile => return self.copy_file(place, filter),
            FileType::Socket => self.done.sockets += 1,
            FileType::BlockDevice => self.done.devices += 1,
            FileType::CharacterDevice | FileType::Symlink | FileType::Fifo => {
                let stat = match rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => return Ok(()),
                    other => other.at("read", &place.source)?,
                };
                if FileType::from_raw_mode(stat.st_mode) != kind {
                    return Ok(());
                }
                // The device of number 0 is none: an overlay of the zone says by it that a name is gone.
                if kind == FileType::CharacterDevice && stat.st_rdev != 0 {
                    self.done.devices += 1;
                    return Ok(());
                }
                if self.link_if_copied(place, &stat)? {
                    return Ok(());
                }
                self.copy_special(place, kind, &stat)?;
            }
            FileType::Directory | FileType::Unknown => {}
        }
        Ok(())
    }
}

impl CopyVisitor<'_> {
    /// Copies a link, a pipe or a whiteout.
    fn copy_special(
        &mut self,
        place: &SourceEntry<'_>,
        kind: FileType,
        stat: &Stat,
    ) -> Result<(), CopyError> {
        let here = self.to.last();
        let target = LazyPath::new(&self.top, place.path);
        let made = if kind == FileType::Symlink {
            let text =
                rustix::fs::readlinkat(place.parent, place.name, Vec::new()).at("read", &place.source)?;
            rustix::fs::symlinkat(text, here, place.name)
        } else {
            rustix::fs::mknodat(here, place.name, kind, Mode::from_raw_mode(0o600), 0)
        };
        match made {
            Err(Errno::EXIST) if self.keep => return Ok(()),
            other => other.at("create", &target)?,
        }
        let finish = || -> io::Result<()> {
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(here, place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            if kind != FileType::Symlink {
                rustix::fs::chmodat(
                    here,
                    place.name,
                    Mode::from_raw_mode(stat.st_mode & 0o7777),
                    AtFlags::empty(),
                )?;
            }
            let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
            let times = super::data::times(stat.st_mtime, nanos);
            Ok(rustix::fs::utimensat(here, place.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
        };
        finish().at("set attributes of", &target)?;
        self.links.note_made(&self.to, place, stat).at("link", &target)?;
        self.count(place, stat, 0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
