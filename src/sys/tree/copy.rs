//! Copies a tree.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use thiserror::Error;

use super::data::{Mover, copy_attributes};
use super::filter::{CopyFilter, Rule};
use crate::spec::shown::Show;
use crate::sys::path::{At, Dir, PathError, SAME_MOUNT, STRICT, open_beneath};

/// Levels of a source. Each holds two files open, and 1,024 is what a process may have at least.
const DEPTH: usize = 400;

/// The first id that a zone's usual range of 65,536 does not hold.
const ID_LIMIT: u32 = 65_536;

/// Why a tree could not be copied.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The source is nested too deeply to be sensible.
    #[error("{} is nested more than {DEPTH} directories deep", .0.shown())]
    TooDeep(PathBuf),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// What a copy has done.
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
    /// Extended attributes that the target's file system cannot keep.
    pub lost_xattrs: BTreeSet<String>,
    /// Entries that belong to an id beyond a zone's usual range.
    pub foreign_ids: u64,
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
    let mut copy = Copy::new(to, progress)?;
    walk(from, None, filter, &mut copy)?;
    Ok(copy.done)
}

/// The same for some names of a directory. Names that are missing are passed over, and so is what
/// the target has already, but for directories, which are filled.
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
    let mut copy = Copy::new(to, &mut ignore)?;
    copy.keep = true;
    walk(from, Some(names), filter, &mut copy)?;
    Ok(copy.done)
}

/// Counts what [`copy_tree`] would copy.
///
/// # Errors
/// [`CopyError`] when something cannot be read.
pub fn measure(from: &Dir, filter: &CopyFilter) -> Result<Measured, CopyError> {
    let mut measured = Measured::default();
    walk(from, None, filter, &mut measured)?;
    Ok(measured)
}

/// What is done at each entry of a walk.
trait Visitor {
    /// A directory is entered.
    fn enter(&mut self, place: &Place<'_>, fd: BorrowedFd<'_>) -> Result<(), CopyError>;
    /// A directory is left: everything in it has been visited.
    fn leave(&mut self, fd: BorrowedFd<'_>, stat: &Stat) -> Result<(), CopyError>;
    /// A directory is made without entering it.
    fn bare(&mut self, place: &Place<'_>, stat: &Stat, mount: bool) -> Result<(), CopyError>;
    /// Anything else.
    fn leaf(&mut self, place: &Place<'_>, kind: FileType, filter: &CopyFilter) -> Result<(), CopyError>;
}

/// An entry of the source.
struct Place<'a> {
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
    /// Below the tree.
    path: &'a Path,
    /// For messages.
    source: &'a Path,
}

struct Level {
    fd: OwnedFd,
    stat: Stat,
    todo: Vec<(OsString, FileType)>,
    dirs_only: bool,
}

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
    let mut levels = vec![Level { fd, stat, todo, dirs_only: false }];
    let mut path = PathBuf::new();
    while let Some(level) = levels.last_mut() {
        let Some((name, kind)) = level.todo.pop() else {
            let depth = levels.len();
            let Some(level) = levels.pop() else { break };
            if depth > 1 {
                visitor.leave(level.fd.as_fd(), &level.stat)?;
                path.pop();
            }
            continue;
        };
        path.push(&name);
        let source = from.join(&path);
        let place = Place { parent: level.fd.as_fd(), name: &name, path: &path, source: &source };
        let rule = match filter.rule(&path) {
            Rule::Copy if level.dirs_only => Rule::DirsOnly,
            rule => rule,
        };
        let next = visit(&place, kind, rule, filter, visitor)?;
        match next {
            Some(_) if levels.len() >= DEPTH => return Err(CopyError::TooDeep(source)),
            Some(next) => levels.push(next),
            None => {
                path.pop();
            }
        }
    }
    Ok(())
}

/// Visits one entry; returns a level for a directory that is to be entered.
fn visit(
    place: &Place<'_>,
    mut kind: FileType,
    rule: Rule,
    filter: &CopyFilter,
    visitor: &mut dyn Visitor,
) -> Result<Option<Level>, CopyError> {
    if rule == Rule::Skip {
        return Ok(None);
    }
    let stat = || match rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
        // Gone since the directory was read.
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some).at("read", place.source),
    };
    if kind == FileType::Unknown {
        let Some(stat) = stat()? else { return Ok(None) };
        kind = FileType::from_raw_mode(stat.st_mode);
    }
    if kind != FileType::Directory {
        if rule == Rule::Copy {
            visitor.leaf(place, kind, filter)?;
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
                    visitor.bare(place, &stat, true)?;
                }
                return Ok(None);
            }
            _ => return Err(e).at("open", place.source)?,
        },
    };
    let stat = rustix::fs::fstat(&fd).at("read", place.source)?;
    if !filter.lets(stat.st_mode, true) {
        return Ok(None);
    }
    if rule == Rule::Empty {
        visitor.bare(place, &stat, false)?;
        return Ok(None);
    }
    visitor.enter(place, fd.as_fd())?;
    let dir = Dir::from_fd(fd.try_clone().at("open", place.source)?, place.source.to_owned());
    let mut todo = dir.entries()?;
    todo.reverse();
    Ok(Some(Level { fd, stat, todo, dirs_only: rule == Rule::DirsOnly }))
}

impl Visitor for Measured {
    fn enter(&mut self, _: &Place<'_>, _: BorrowedFd<'_>) -> Result<(), CopyError> {
        self.entries += 1;
        Ok(())
    }

    fn leave(&mut self, _: BorrowedFd<'_>, _: &Stat) -> Result<(), CopyError> {
        Ok(())
    }

    fn bare(&mut self, _: &Place<'_>, _: &Stat, _: bool) -> Result<(), CopyError> {
        self.entries += 1;
        Ok(())
    }

    fn leaf(&mut self, place: &Place<'_>, kind: FileType, filter: &CopyFilter) -> Result<(), CopyError> {
        self.entries += 1;
        if kind == FileType::RegularFile {
            match rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if filter.lets(stat.st_mode, false) => self.bytes += stored(&stat),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e).at("read", place.source)?,
            }
        }
        Ok(())
    }
}

fn stored(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

struct Copy<'a> {
    /// The directory of the target that is being filled is the last one.
    to: Vec<Dir>,
    links: HashMap<(u64, u64), PathBuf>,
    mover: Mover,
    progress: Progress<'a>,
    done: Copied,
    keep: bool,
}

impl<'a> Copy<'a> {
    fn new(to: &Dir, progress: Progress<'a>) -> Result<Self, PathError> {
        let to = to.dir(".", STRICT)?;
        let done = Copied::default();
        Ok(Self { to: vec![to], links: HashMap::new(), mover: Mover::new(), progress, done, keep: false })
    }

    fn here(&self) -> &Dir {
        self.to.last().expect("the target itself is never popped")
    }

    fn count(&mut self, place: &Place<'_>, stat: &Stat, bytes: u64) {
        self.done.entries += 1;
        self.done.bytes += bytes;
        self.done.foreign_ids += u64::from(stat.st_uid >= ID_LIMIT || stat.st_gid >= ID_LIMIT);
        (self.progress)(self.done.entries, self.done.bytes, place.path);
    }

    /// Makes a directory, closed to all but root until it has its content.
    fn make(&self, place: &Place<'_>) -> Result<Dir, PathError> {
        let here = self.here();
        let path = here.join(place.name);
        match rustix::fs::mkdirat(here, place.name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) if self.keep => {}
            other => other.at("create", &path)?,
        }
        here.dir(Path::new(place.name), SAME_MOUNT)
    }

    fn file(&mut self, place: &Place<'_>, filter: &CopyFilter) -> Result<(), CopyError> {
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
                    self.done.mounts.push(place.source.to_owned());
                    return Ok(());
                }
                _ => return Err(e).at("open", place.source)?,
            },
        };
        let stat = rustix::fs::fstat(&from).at("read", place.source)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || !filter.lets(stat.st_mode, false) || self.linked(place, &stat)? {
            return Ok(());
        }
        let here = self.here();
        let target = here.join(place.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = match rustix::fs::openat(here, place.name, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) if self.keep => return Ok(()),
            other => other.at("create", &target)?,
        };
        self.done.reflinks +=
            u64::from(self.mover.copy(from.as_fd(), to.as_fd(), &stat).at("write", &target)?);
        let lost = copy_attributes(from.as_fd(), to.as_fd(), &stat).at("set attributes of", &target)?;
        self.done.lost_xattrs.extend(lost);
        self.count(place, &stat, stored(&stat));
        Ok(())
    }

    /// Makes a hard link when the file has been copied under another name.
    fn linked(&mut self, place: &Place<'_>, stat: &Stat) -> Result<bool, CopyError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let id = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&id) else {
            self.links.insert(id, place.path.to_owned());
            return Ok(false);
        };
        let here = self.here();
        let target = here.join(place.name);
        let (parent, name) = self.to[0].parent(first, SAME_MOUNT)?;
        match rustix::fs::linkat(&parent, &name, here, place.name, AtFlags::empty()) {
            // More names than this file system gives one file: a copy it is.
            Err(Errno::MLINK) => {
                self.links.remove(&id);
                return Ok(false);
            }
            Err(Errno::EXIST) if self.keep => {}
            other => other.at("link", &target)?,
        }
        self.count(place, stat, 0);
        Ok(true)
    }
}

impl Visitor for Copy<'_> {
    fn enter(&mut self, place: &Place<'_>, fd: BorrowedFd<'_>) -> Result<(), CopyError> {
        let dir = self.make(place)?;
        let stat = rustix::fs::fstat(fd).at("read", place.source)?;
        self.to.push(dir);
        self.count(place, &stat, 0);
        Ok(())
    }

    fn leave(&mut self, fd: BorrowedFd<'_>, stat: &Stat) -> Result<(), CopyError> {
        let Some(dir) = self.to.pop() else { return Ok(()) };
        let lost = copy_attributes(fd, dir.as_fd(), stat).at("set attributes of", dir.path())?;
        self.done.lost_xattrs.extend(lost);
        Ok(())
    }

    fn bare(&mut self, place: &Place<'_>, stat: &Stat, mount: bool) -> Result<(), CopyError> {
        let dir = self.make(place)?;
        let mode = stat.st_mode & 0o7777;
        dir.set_owned(crate::sys::path::Owned { mode, uid: stat.st_uid, gid: stat.st_gid })?;
        if mount {
            self.done.mounts.push(place.source.to_owned());
        }
        self.count(place, stat, 0);
        Ok(())
    }

    fn leaf(&mut self, place: &Place<'_>, kind: FileType, filter: &CopyFilter) -> Result<(), CopyError> {
        match kind {
            FileType::RegularFile => return self.file(place, filter),
            FileType::Socket => self.done.sockets += 1,
            FileType::CharacterDevice | FileType::BlockDevice => self.done.devices += 1,
            FileType::Symlink | FileType::Fifo => {
                let stat = match rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => return Ok(()),
                    other => other.at("read", place.source)?,
                };
                if FileType::from_raw_mode(stat.st_mode) != kind || self.linked(place, &stat)? {
                    return Ok(());
                }
                self.special(place, kind, &stat)?;
            }
            FileType::Directory | FileType::Unknown => {}
        }
        Ok(())
    }
}

impl Copy<'_> {
    /// Copies a link or a pipe.
    fn special(&mut self, place: &Place<'_>, kind: FileType, stat: &Stat) -> Result<(), CopyError> {
        let here = self.here();
        let target = here.join(place.name);
        let made = if kind == FileType::Symlink {
            let text =
                rustix::fs::readlinkat(place.parent, place.name, Vec::new()).at("read", place.source)?;
            rustix::fs::symlinkat(text, here, place.name)
        } else {
            rustix::fs::mkfifoat(here, place.name, Mode::from_raw_mode(0o600))
        };
        match made {
            Err(Errno::EXIST) if self.keep => return Ok(()),
            other => other.at("create", &target)?,
        }
        let finish = || -> io::Result<()> {
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(here, place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            if kind == FileType::Fifo {
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
        self.count(place, stat, 0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
