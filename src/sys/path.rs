//! Names below a directory whose content is not trusted.
//!
//! A zone's root is hostile: a name in it may be a link to anywhere, or become one between two
//! calls. Everything that this crate opens, makes or links below such a root goes through [`Dir`]:
//! a name is resolved once, by `openat2`, to a descriptor that is surely beneath the directory, and
//! only the descriptor is used from then on. Where the kernel or a filter refuses `openat2`, a walk
//! with `O_PATH | O_NOFOLLOW` gives the same answers.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatxFlags, Uid};
use rustix::io::Errno;
use thiserror::Error;

use super::naive::without;

use crate::spec::shown::Show;

/// Symbolic links that one resolution may go through, as in the kernel.
const MAX_LINKS: usize = 40;

/// How often a resolution is tried again when a rename elsewhere disturbs it.
const MAX_TRIES: usize = 64;

/// Something that could not be done to a path.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {}", path.shown(), reason(cause))]
pub struct PathError {
    /// The action: `open`, `create`, `remove`.
    pub action: &'static str,
    /// The object.
    pub path: PathBuf,
    /// The system's reason. Part of the text, so it is no `source`.
    pub cause: io::Error,
}

impl PathError {
    /// Says whether the file system is full or the quota used up.
    pub fn is_full(&self) -> bool {
        matches!(Errno::from_io_error(&self.cause), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// Says whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }
}

/// Adds action and path to a result of a system call.
pub trait At<T> {
    /// Turns the error into one that names the action and the path.
    ///
    /// # Errors
    /// The same failures, now with their object.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|e| PathError { action, path: path.as_ref().to_owned(), cause: e.into() })
    }
}

/// Returns the system's words for an error, without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The treatment of a name that leads through a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymlinkPolicy {
    /// The name is refused (`ELOOP`).
    Refuse,
    /// The link is followed as the zone would see it, with the directory as its `/`.
    InRoot,
}

/// Whether a name may lead into another mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// Yes.
    Cross,
    /// No (`EXDEV`), not even a bind mount of the same file system.
    Stay,
}

/// Rules of one resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// Symbolic links.
    pub links: SymlinkPolicy,
    /// Mount points.
    pub mounts: Mounts,
}

/// Links refused, mounts crossed: the rule for files of our own.
pub const STRICT: Resolve = Resolve { links: SymlinkPolicy::Refuse, mounts: Mounts::Cross };

/// Links refused, mounts not crossed: the rule for removing and copying.
pub const SAME_MOUNT: Resolve = Resolve { links: SymlinkPolicy::Refuse, mounts: Mounts::Stay };

/// Links seen as from inside: the rule for layers of an image.
pub const IN_ROOT: Resolve = Resolve { links: SymlinkPolicy::InRoot, mounts: Mounts::Cross };

/// Opens a name beneath a directory, out of which it cannot lead.
///
/// `..` is refused even where it would stay beneath: no caller needs it.
///
/// # Errors
/// As `openat`; `ELOOP` for a refused link, `EXDEV` for a way out or a refused mount.
pub fn open_beneath(
    dir: BorrowedFd<'_>,
    name: &Path,
    flags: OFlags,
    mode: Mode,
    how: Resolve,
) -> io::Result<OwnedFd> {
    let name = inner_name(name)?;
    if without("links") {
        return Ok(rustix::fs::openat(dir, &name, (flags - OFlags::NOFOLLOW) | OFlags::CLOEXEC, mode)?);
    }
    match kernel_open(dir, &name, flags, mode, how) {
        // An old kernel has no such call; an old filter of a container answers EPERM to it.
        Err(Errno::NOSYS | Errno::PERM) => Ok(walk_open(dir, &name, flags, mode, how)?),
        other => Ok(other?),
    }
}

/// Strips what makes a name absolute and refuses what leads upwards. The empty name is the directory.
fn inner_name(name: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::XDEV.into()),
        }
    }
    if clean.as_os_str().is_empty() {
        clean.push(".");
    }
    Ok(clean)
}

fn kernel_open(
    dir: BorrowedFd<'_>,
    name: &Path,
    flags: OFlags,
    mode: Mode,
    how: Resolve,
) -> rustix::io::Result<OwnedFd> {
    let mut resolve = ResolveFlags::NO_MAGICLINKS;
    resolve |= match how.links {
        SymlinkPolicy::Refuse => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        SymlinkPolicy::InRoot => ResolveFlags::IN_ROOT,
    };
    if how.mounts == Mounts::Stay {
        resolve |= ResolveFlags::NO_XDEV;
    }
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, name, flags | OFlags::CLOEXEC, mode, resolve) {
            // A rename or mount elsewhere happened meanwhile and the kernel will not vouch for the way.
            Err(Errno::AGAIN) if tries < MAX_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// The same without `openat2`: one component after the other, each by `O_PATH | O_NOFOLLOW`.
fn walk_open(
    dir: BorrowedFd<'_>,
    name: &Path,
    flags: OFlags,
    mode: Mode,
    how: Resolve,
) -> rustix::io::Result<OwnedFd> {
    const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let here = c".";
    let mount = mount_of(dir)?;
    let stay = |fd: OwnedFd| match how.mounts {
        Mounts::Stay if mount_of(fd.as_fd())? != mount => Err(Errno::XDEV),
        _ => Ok(fd),
    };
    // The way from the directory to here; empty means the directory itself.
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut todo: Vec<OsString> = name.components().rev().map(|c| c.as_os_str().to_owned()).collect();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let at = way.last().map_or(dir, AsFd::as_fd);
        if part == "." {
            continue;
        }
        if part == ".." {
            way.pop();
            continue;
        }
        let last = todo.is_empty();
        if last && flags.contains(OFlags::CREATE) {
            return stay(rustix::fs::openat(at, &part, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?);
        }
        let fd = rustix::fs::openat(at, &part, STEP, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if kind == FileType::Symlink && !(last && flags.contains(OFlags::NOFOLLOW)) {
            links += 1;
            if how.links == SymlinkPolicy::Refuse || links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(at, &part, Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                way.clear();
            }
            let parts = target.components().filter(|c| *c != Component::RootDir);
            todo.extend(parts.map(|c| c.as_os_str().to_owned()).collect::<Vec<_>>().into_iter().rev());
            continue;
        }
        let fd = stay(fd)?;
        if last {
            if flags.contains(OFlags::PATH) {
                if flags.contains(OFlags::DIRECTORY) && kind != FileType::Directory {
                    return Err(Errno::NOTDIR);
                }
                return Ok(fd);
            }
            // Opened again by name: the file must be the one that was checked.
            let again = rustix::fs::openat(at, &part, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?;
            let (was, is) = (rustix::fs::fstat(&fd)?, rustix::fs::fstat(&again)?);
            if (was.st_dev, was.st_ino) != (is.st_dev, is.st_ino) {
                return Err(Errno::AGAIN);
            }
            return stay(again);
        }
        if kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        way.push(fd);
    }
    let at = way.last().map_or(dir, AsFd::as_fd);
    rustix::fs::openat(at, here, flags | OFlags::CLOEXEC, mode)
}

/// Returns the identity of a mount: its number, or the device on kernels before 5.8.
pub fn mount_of(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok(stat.stx_mnt_id);
    }
    Ok((u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor))
}

/// A directory below which names are resolved and out of which no name leads.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// Mode and owner of something that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owned {
    /// Returns a mode owned by root.
    pub const fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a directory of the host, following links: the path is the administrator's.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be opened or is no directory.
    pub fn open_host(path: &Path) -> Result<Self, PathError> {
        let fd = rustix::fs::open(path, DIR_FLAGS, Mode::empty()).at("open", path)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Takes a descriptor of a directory; the path is for messages.
    pub fn from_fd(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// Returns the path under which it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a name below, for messages.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        let name = name.as_ref();
        self.path.join(name.strip_prefix("/").unwrap_or(name))
    }

    /// Opens a name below; see [`open_beneath`].
    ///
    /// # Errors
    /// [`PathError`] with the path.
    pub fn open(
        &self,
        name: impl AsRef<Path>,
        flags: OFlags,
        mode: u32,
        how: Resolve,
    ) -> Result<OwnedFd, PathError> {
        let name = name.as_ref();
        open_beneath(self.as_fd(), name, flags, Mode::from_raw_mode(mode), how).at("open", self.join(name))
    }

    /// Opens a directory below.
    ///
    /// # Errors
    /// [`PathError`] when it is missing, no directory, or beyond what `how` allows.
    pub fn dir(&self, name: impl AsRef<Path>, how: Resolve) -> Result<Self, PathError> {
        let name = name.as_ref();
        let fd = self.open(name, DIR_FLAGS, 0, how)?;
        Ok(Self { fd, path: self.join(name) })
    }

    /// Opens the parent of a name and returns it with the last part.
    ///
    /// # Errors
    /// [`PathError`] when the parent is missing or the name is empty or ends in `..`.
    pub fn parent(&self, name: impl AsRef<Path>, how: Resolve) -> Result<(Self, OsString), PathError> {
        let name = name.as_ref();
        let clean = inner_name(name).at("open", self.join(name))?;
        let (Some(last), Some(parent)) = (clean.file_name(), clean.parent()) else {
            return Err(Errno::INVAL).at("open", self.join(name));
        };
        Ok((self.dir(parent, how)?, last.to_owned()))
    }

    /// Makes one directory and says whether it was missing. Its mode is exact, whatever the umask.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be made, or something else has the name.
    pub fn make_dir(&self, name: impl AsRef<Path>, owned: Owned) -> Result<(Self, bool), PathError> {
        let name = name.as_ref();
        let (parent, last) = self.parent(name, STRICT)?;
        let made = match rustix::fs::mkdirat(&parent, &last, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(e).at("create", self.join(name)),
        };
        let dir = parent.dir(&last, STRICT)?;
        if made {
            dir.set_owned(owned)?;
        }
        Ok((dir, made))
    }

    /// Makes a directory and, with mode 0755, those above it that are missing.
    ///
    /// # Errors
    /// [`PathError`] when one cannot be made, or a link or file is in the way.
    pub fn make_dirs(&self, name: impl AsRef<Path>, owned: Owned) -> Result<Self, PathError> {
        let name = name.as_ref();
        let clean = inner_name(name).at("create", self.join(name))?;
        let mut upper = PathBuf::new();
        let parts: Vec<_> = clean.components().collect();
        for part in parts.iter().take(parts.len().saturating_sub(1)) {
            upper.push(part);
            self.make_dir(&upper, Owned::root(0o755))?;
        }
        if clean == Path::new(".") {
            return self.dir(".", STRICT);
        }
        Ok(self.make_dir(&clean, owned)?.0)
    }

    /// Sets mode and owner of the directory itself.
    ///
    /// # Errors
    /// [`PathError`] when the system refuses.
    pub fn set_owned(&self, owned: Owned) -> Result<(), PathError> {
        set_owned(self.as_fd(), owned).at("set owner and mode of", &self.path)
    }

    /// Puts a file in place: written beside, then renamed over whatever has the name (a link is
    /// replaced, never followed). Missing parents are not made.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be written, or a directory has the name.
    pub fn write(&self, name: impl AsRef<Path>, owned: Owned, content: &[u8]) -> Result<(), PathError> {
        let name = name.as_ref();
        let whole = self.join(name);
        let (parent, last) = self.parent(name, STRICT)?;
        let mut beside = OsString::from(".new.");
        beside.push(&last);
        // A name close to the limit leaves no room beside itself.
        if beside.len() > 255 {
            beside = OsString::from_vec(beside.as_bytes()[..255].to_vec());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |name: &OsStr| rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600));
        let mut made = create(&beside);
        // Left by an earlier, interrupted run; or a directory of this name that was made by hand.
        if made.as_ref().err() == Some(&Errno::EXIST) {
            if rustix::fs::unlinkat(&parent, &beside, AtFlags::empty()).is_err() && !without("beside") {
                beside = random_name(".new.").at("create", &whole)?;
            }
            made = create(&beside);
        }
        let fd = made.at("create", &whole)?;
        let put = write_all(fd.as_fd(), content)
            .and_then(|()| set_owned(fd.as_fd(), owned))
            .and_then(|()| Ok(rustix::fs::renameat(&parent, &beside, &parent, &last)?));
        if put.is_err() {
            let _ = rustix::fs::unlinkat(&parent, &beside, AtFlags::empty());
        }
        put.at("write", whole)
    }

    /// Makes a symbolic link, or leaves one that has the same target already.
    ///
    /// # Errors
    /// [`PathError`] when something else has the name.
    pub fn symlink(&self, target: impl AsRef<OsStr>, name: impl AsRef<Path>) -> Result<(), PathError> {
        let (target, name) = (target.as_ref(), name.as_ref());
        let (parent, last) = self.parent(name, STRICT)?;
        match rustix::fs::symlinkat(target, &parent, &last) {
            Err(Errno::EXIST) if parent.read_link(&last)?.as_deref() == Some(target) => Ok(()),
            other => other.at("create", self.join(name)),
        }
    }

    /// Returns where a link points; none when there is no such name or it is no link.
    ///
    /// # Errors
    /// [`PathError`] when the parent cannot be opened.
    pub fn read_link(&self, name: impl AsRef<Path>) -> Result<Option<OsString>, PathError> {
        let name = name.as_ref();
        let (parent, last) = match self.parent(name, STRICT) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other?,
        };
        match rustix::fs::readlinkat(&parent, &last, Vec::new()) {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(e) => Err(e).at("read", self.join(name)),
        }
    }

    /// Returns the metadata of a name, of the link itself for a link; none when there is no such name.
    ///
    /// # Errors
    /// [`PathError`] when a parent is a link or cannot be searched.
    pub fn stat(&self, name: impl AsRef<Path>) -> Result<Option<Stat>, PathError> {
        let name = name.as_ref();
        let (parent, last) = match self.parent(name, STRICT) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other?,
        };
        match rustix::fs::statat(&parent, &last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).at("read", self.join(name)),
        }
    }

    /// Reads a regular file of at most `limit` bytes; none when it is missing, something else, or longer.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be read.
    pub fn read(
        &self,
        name: impl AsRef<Path>,
        limit: usize,
        how: Resolve,
    ) -> Result<Option<Vec<u8>>, PathError> {
        let name = name.as_ref();
        // Without O_NONBLOCK a pipe with this name would hold us up for ever.
        let fd = match self.open(name, OFlags::RDONLY | OFlags::NONBLOCK, 0, how) {
            Err(e) if e.is_not_found() => return Ok(None),
            // A link, or a socket.
            Err(e) if matches!(Errno::from_io_error(&e.cause), Some(Errno::LOOP | Errno::NXIO)) => {
                return Ok(None);
            }
            other => other?,
        };
        let stat = rustix::fs::fstat(&fd).at("read", self.join(name))?;
        let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > limit {
            return Ok(None);
        }
        let mut content = Vec::with_capacity(size + 1);
        loop {
            if content.len() == content.capacity() {
                content.reserve(8192);
            }
            let n = rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut content))
                .at("read", self.join(name))?;
            if n == 0 {
                return Ok(Some(content));
            }
            if content.len() > limit {
                return Ok(None);
            }
        }
    }

    /// Returns the names in the directory with their types, sorted.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be read.
    pub fn entries(&self) -> Result<Vec<(OsString, FileType)>, PathError> {
        entries(self.as_fd()).at("read", &self.path)
    }
}

/// Returns a name that was not used before.
///
/// # Errors
/// The system gives no random numbers.
pub fn random_name(start: &str) -> rustix::io::Result<OsString> {
    let mut chance = [0_u8; 16];
    rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{start}{:032x}", u128::from_ne_bytes(chance)).into())
}

/// Returns the names in an open directory with their types, sorted.
///
/// # Errors
/// The system's error.
pub fn entries(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<(OsString, FileType)>> {
    let mut list = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            list.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
        }
    }
    list.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(list)
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sets owner, then mode: a change of owner clears the set-id bits.
pub fn set_owned(fd: BorrowedFd<'_>, owned: Owned) -> io::Result<()> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(owned.uid)), Some(Gid::from_raw(owned.gid)))?;
    Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(owned.mode))?)
}

/// Writes everything.
pub fn write_all(fd: BorrowedFd<'_>, mut content: &[u8]) -> io::Result<()> {
    while !content.is_empty() {
        match rustix::io::write(fd, content) {
            Ok(n) => content = &content[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
