//! Puts members of an archive into a zone's root.
//!
//! The archive is hostile: a name may lead upwards, or through a link that an earlier member made.
//! Every name is resolved beneath the root to a descriptor of its folder, and the last part is made
//! there with calls that follow nothing.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CString, OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use thiserror::Error;

use super::acl::{self, AclKind};
use super::left_out::LeftOut;
use super::tarball::{ArchiveMember, MemberKind, TarError, Tarball};
use crate::apply::etc::accounts;
use crate::spec::shown::Show;
use crate::sys::naive::without;
use crate::sys::path::{At, Dir, IN_ROOT, Owned, PathError, Resolve, STRICT, SymlinkPolicy, set_owned};
use crate::sys::tree::{RemoveError, SparseWriter, remove_tree, set_times, set_xattr};

/// Prefix of names that remove something of a lower layer.
const WHITEOUT: &str = ".wh.";

/// The name that removes everything of lower layers in its folder.
const OPAQUE: &str = ".wh..wh..opq";

/// Bytes of access lists that are kept for the end of an archive.
const ACLS_MAX: usize = 64 << 20;

/// Why a member could not be unpacked.
#[derive(Debug, Error)]
pub(super) enum MemberError {
    #[error("its name leads out of the zone's root")]
    LeadsOut,
    #[error("its name goes through a symbolic link")]
    ThroughLink,
    #[error("it is a hard link to '{}', which is not there", .0.shown())]
    NoTarget(String),
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

/// Attributes that a directory gets when all its files are in it.
struct DirAttributes {
    owned: Owned,
    mtime: (i64, i64),
}

/// Names that were seen. An archive can hold more of them than there is memory, so they are kept as hashes with a
/// random key, which the archive cannot foresee.
#[derive(Default)]
struct SeenNames {
    numbers: HashSet<u64>,
    hasher: RandomState,
}

impl SeenNames {
    /// Adds a name; says whether it is new.
    fn insert(&mut self, name: &Path) -> bool {
        self.numbers.insert(self.hasher.hash_one(name))
    }

    fn contains(&self, name: &Path) -> bool {
        self.numbers.contains(&self.hasher.hash_one(name))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Unpacks one archive, or one layer of an image after the other, into a root.
pub(super) struct Unpacker<'a> {
    root: &'a Dir,
    how: Resolve,
    /// Names of the present layer; none for a plain archive.
    layer: Option<SeenNames>,
    /// Directories get their attributes last: their content changes the time. There is one entry for a directory,
    /// however often the archive names it, and nothing in it whose length the archive decides.
    dirs: BTreeMap<PathBuf, DirAttributes>,
    /// The folder of the last member, since most have the same.
    folder: Option<(PathBuf, Dir)>,
    buffer: Vec<u8>,
    /// Access lists come last: the names in them are those of the root's own accounts.
    acls: BTreeMap<PathBuf, Vec<(AclKind, Vec<u8>)>>,
    /// Bytes of these.
    acl_bytes: usize,
    pub(super) left_out: LeftOut,
}

impl<'a> Unpacker<'a> {
    /// Returns an unpacker for a plain archive: no name may go through a link.
    pub(super) fn archive(root: &'a Dir) -> Self {
        Self::new(root, STRICT, None)
    }

    /// Returns an unpacker for layers of an image: links of lower layers are followed inside the
    /// root, as the image specification demands.
    pub(super) fn image(root: &'a Dir) -> Self {
        Self::new(root, Resolve { links: SymlinkPolicy::InRoot, ..STRICT }, Some(SeenNames::default()))
    }

    fn new(root: &'a Dir, how: Resolve, layer: Option<SeenNames>) -> Self {
        let (dirs, left_out) = (BTreeMap::new(), LeftOut::default());
        let (acls, buffer) = (BTreeMap::new(), vec![0; 256 * 1024]);
        Self { root, how, layer, dirs, folder: None, buffer, acls, acl_bytes: 0, left_out }
    }

    /// Unpacks one member, whose content is next in the archive.
    pub(super) fn member<R: std::io::Read>(
        &mut self,
        member: ArchiveMember,
        tar: &mut Tarball<R>,
    ) -> Result<(), MemberError> {
        let name = inner_name(&member.name)?;
        let Some(last) = name.file_name().map(OsStr::to_owned) else {
            // The root itself keeps owner and mode: boot relies on them.
            return Ok(());
        };
        if self.layer.is_some() && last.as_bytes().starts_with(WHITEOUT.as_bytes()) {
            return self.whiteout(&name, &last);
        }
        self.put_acls_off(&name, &member);
        match member.kind {
            MemberKind::Device => self.left_out.devices.add(&member.name),
            MemberKind::Unknown => self.left_out.unknown.add(&member.name),
            MemberKind::Directory => self.directory(name, &last, member)?,
            MemberKind::File => self.file(&name, &last, &member, tar)?,
            MemberKind::HardLink => self.hard_link(&name, &last, &member)?,
            MemberKind::Symlink | MemberKind::Pipe => self.special(&name, &last, &member)?,
        }
        Ok(())
    }

    /// Ends an archive or layer: directories get their attributes, inner ones first.
    pub(super) fn finish(&mut self) -> Result<(), MemberError> {
        self.folder = None;
        for (name, attributes) in std::mem::take(&mut self.dirs).into_iter().rev() {
            let last = name.file_name().unwrap_or_default().to_owned();
            let Ok(parent) = self.root.dir(name.parent().unwrap_or(Path::new("")), self.how) else {
                continue; // replaced by a later member
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&parent, &last, flags, Mode::empty()) {
                Ok(fd) => {
                    let (seconds, nanos) = attributes.mtime;
                    set_owned(fd.as_fd(), attributes.owned)
                        .and_then(|()| set_times(fd.as_fd(), seconds, nanos))
                        .at("set attributes of", self.root.join(&name))?;
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(e).at("open", self.root.join(&name))?,
            }
        }
        self.put_acls()?;
        if let Some(layer) = &mut self.layer {
            layer.clear();
        }
        Ok(())
    }

    /// Notes a name and its folders as made by the present layer.
    fn note(&mut self, name: &Path) {
        if let Some(layer) = &mut self.layer {
            for path in name.ancestors() {
                if !layer.insert(path) {
                    break;
                }
            }
        }
    }

    /// Opens the folder of a name; folders that are missing are made.
    fn folder(&mut self, name: &Path) -> Result<Dir, MemberError> {
        let folder = name.parent().unwrap_or(Path::new(""));
        if let Some((path, dir)) = &self.folder
            && path == folder
        {
            return Ok(Dir::from_fd(
                dir.as_fd().try_clone_to_owned().at("open", dir.path())?,
                dir.path().to_owned(),
            ));
        }
        let dir = self.make_folder(folder)?;
        let copy = dir.as_fd().try_clone_to_owned().at("open", dir.path())?;
        self.folder = Some((folder.to_owned(), Dir::from_fd(copy, dir.path().to_owned())));
        Ok(dir)
    }

    fn make_folder(&self, folder: &Path) -> Result<Dir, MemberError> {
        // From the innermost existing one outwards, without recursion: the name is of any length.
        let mut missing = Vec::new();
        let mut at = folder;
        let mut dir = loop {
            match self.root.dir(at, self.how) {
                Ok(dir) => break dir,
                Err(e) if e.is_not_found() && at.parent().is_some() => {
                    missing.extend(at.file_name());
                    at = at.parent().unwrap_or(Path::new(""));
                }
                Err(e) if is_loop(&e) => return Err(MemberError::ThroughLink),
                Err(e) => return Err(e.into()),
            }
        };
        for part in missing.into_iter().rev() {
            dir = dir.make_dir(Path::new(part), Owned::root(0o755))?.0;
        }
        Ok(dir)
    }

    /// Makes room for a member: an existing file of its name is removed, unless both are directories. Says whether a
    /// directory is there already.
    fn make_room(&mut self, folder: &Dir, last: &OsStr, kind: MemberKind) -> Result<bool, MemberError> {
        let path = folder.join(Path::new(last));
        let stat = match rustix::fs::statat(folder, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.at("read", &path)?,
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir && kind == MemberKind::Directory {
            return Ok(true);
        }
        self.folder = None;
        if !is_dir {
            rustix::fs::unlinkat(folder, last, AtFlags::empty()).at("replace", &path)?;
        } else if self.layer.is_some() {
            remove_tree(folder, last, &mut |_| {})?;
        } else {
            rustix::fs::unlinkat(folder, last, AtFlags::REMOVEDIR).at("replace", &path)?;
        }
        Ok(false)
    }

    fn directory(&mut self, name: PathBuf, last: &OsStr, member: ArchiveMember) -> Result<(), MemberError> {
        let folder = self.folder(&name)?;
        if !self.make_room(&folder, last, member.kind)? {
            rustix::fs::mkdirat(&folder, last, Mode::from_raw_mode(0o700))
                .at("create", folder.join(Path::new(last)))?;
        }
        self.note(&name);
        self.count_ids(&member);
        if !member.xattrs.is_empty() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, last, flags, Mode::empty())
                .map_err(Into::into)
                .and_then(|fd| self.xattrs(fd.as_fd(), &member))
                .at("set attributes of", folder.join(Path::new(last)))?;
        }
        let owned = Owned { mode: member.mode, uid: member.uid, gid: member.gid };
        self.dirs.insert(name, DirAttributes { owned, mtime: member.mtime });
        Ok(())
    }

    fn file<R: std::io::Read>(
        &mut self,
        name: &Path,
        last: &OsStr,
        member: &ArchiveMember,
        tar: &mut Tarball<R>,
    ) -> Result<(), MemberError> {
        let folder = self.folder(name)?;
        self.make_room(&folder, last, member.kind)?;
        let path = folder.join(Path::new(last));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&folder, last, flags, Mode::from_raw_mode(0o600)).at("create", &path)?;
        let mut writer = SparseWriter::new(fd.as_fd());
        let mut copy = |mut length: u64, writer: &mut SparseWriter<'_>| -> Result<(), MemberError> {
            while length > 0 {
                // The whole buffer: a decoder gives odd pieces, in which no hole would be seen.
                let want = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
                let mut filled = 0;
                while filled < want {
                    match tar.read(&mut self.buffer[filled..want])? {
                        0 => break,
                        n => filled += n,
                    }
                }
                writer.write(&self.buffer[..filled]).at("write", &path)?;
                if filled < want {
                    break;
                }
                length -= filled as u64;
            }
            Ok(())
        };
        match &member.sparse {
            None => copy(u64::MAX, &mut writer)?,
            Some((map, size)) => {
                for (offset, length) in map {
                    writer.skip_to(*offset);
                    copy(*length, &mut writer)?;
                }
                writer.skip_to(*size);
            }
        }
        writer.finish().at("write", &path)?;
        self.attributes(fd.as_fd(), member).at("set attributes of", &path)?;
        self.note(name);
        Ok(())
    }

    fn hard_link(&mut self, name: &Path, last: &OsStr, member: &ArchiveMember) -> Result<(), MemberError> {
        let target = inner_name(&member.target)?;
        let shown = || String::from_utf8_lossy(&member.target).into_owned();
        let (from, from_last) = match self.root.parent(&target, self.how) {
            Err(e) if is_loop(&e) => return Err(MemberError::ThroughLink),
            Err(_) => return Err(MemberError::NoTarget(shown())),
            Ok(found) => found,
        };
        let folder = self.folder(name)?;
        if target == name {
            return Ok(());
        }
        if rustix::fs::statat(&from, &from_last, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Err(MemberError::NoTarget(shown()));
        }
        self.make_room(&folder, last, member.kind)?;
        // Without AT_SYMLINK_FOLLOW a link gets a second name; it is not followed.
        rustix::fs::linkat(&from, &from_last, &folder, last, AtFlags::empty())
            .at("link", folder.join(Path::new(last)))?;
        self.note(name);
        Ok(())
    }

    /// Makes a symbolic link or a pipe.
    fn special(&mut self, name: &Path, last: &OsStr, member: &ArchiveMember) -> Result<(), MemberError> {
        let folder = self.folder(name)?;
        self.make_room(&folder, last, member.kind)?;
        // Results of earlier look-ups through this name are no longer valid.
        self.folder = None;
        let path = folder.join(Path::new(last));
        if member.kind == MemberKind::Symlink {
            rustix::fs::symlinkat(OsStr::from_bytes(&member.target), &folder, last).at("create", &path)?;
        } else {
            rustix::fs::mkfifoat(&folder, last, Mode::from_raw_mode(0o600)).at("create", &path)?;
        }
        self.count_ids(member);
        let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        rustix::fs::chownat(&folder, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .at("set owner of", &path)?;
        if member.kind == MemberKind::Pipe {
            rustix::fs::chmodat(&folder, last, Mode::from_raw_mode(member.mode), AtFlags::empty())
                .at("set mode of", &path)?;
        }
        let at = Timespec { tv_sec: member.mtime.0, tv_nsec: member.mtime.1 };
        let times = Timestamps { last_access: at, last_modification: at };
        rustix::fs::utimensat(&folder, last, &times, AtFlags::SYMLINK_NOFOLLOW).at("set time of", &path)?;
        self.note(name);
        Ok(())
    }

    fn count_ids(&mut self, member: &ArchiveMember) {
        if member.uid > 65_535 || member.gid > 65_535 {
            self.left_out.foreign_ids.add(&member.name);
        }
    }

    fn attributes(&mut self, fd: BorrowedFd<'_>, member: &ArchiveMember) -> std::io::Result<()> {
        self.count_ids(member);
        set_owned(fd, Owned { mode: member.mode, uid: member.uid, gid: member.gid })?;
        self.xattrs(fd, member)?;
        set_times(fd, member.mtime.0, member.mtime.1)
    }

    fn xattrs(&mut self, fd: BorrowedFd<'_>, member: &ArchiveMember) -> std::io::Result<()> {
        for (name, value) in &member.xattrs {
            // Attributes with a meaning for the host's kernel or its policy only are not taken over.
            let is_acl = name.starts_with(b"system.posix_acl_");
            let kept = name.starts_with(b"user.") || name == b"security.capability" || without("attributes");
            let known = CString::new(name.as_slice()).ok().filter(|_| kept || is_acl);
            let set = known.map_or(Ok(false), |known| set_xattr(fd, &known, value));
            match set {
                Ok(true) => {}
                // A list that is none.
                Err(e) if !is_acl || Errno::from_io_error(&e) != Some(Errno::INVAL) => return Err(e),
                _ => self.left_out.xattrs.add(&[name.as_slice(), b" of ", &member.name].concat()),
            }
        }
        Ok(())
    }

    /// Keeps a member's access lists for the end. For a name that comes twice the last member counts.
    fn put_acls_off(&mut self, name: &Path, member: &ArchiveMember) {
        self.acls.remove(name);
        if member.acls.is_empty() || !matches!(member.kind, MemberKind::File | MemberKind::Directory) {
            return;
        }
        let bytes = member.acls.iter().map(|(_, text)| text.len()).sum::<usize>() + member.name.len();
        if self.acl_bytes + bytes > ACLS_MAX {
            return self.left_out.acls.add(&member.name);
        }
        self.acl_bytes += bytes;
        self.acls.insert(name.to_owned(), member.acls.clone());
    }

    /// Gives files and directories their access lists.
    fn put_acls(&mut self) -> Result<(), MemberError> {
        if self.acls.is_empty() {
            return Ok(());
        }
        let file = |name: &str| -> String {
            let content = self.root.read(name, accounts::LIMIT, IN_ROOT).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&content).into_owned()
        };
        let (users, groups) = (file("etc/passwd"), file("etc/group"));
        let id_of = |name: &str, user: bool| acl::lookup(if user { &users } else { &groups }, name);
        self.acl_bytes = 0;
        for (name, lists) in std::mem::take(&mut self.acls) {
            let Ok((parent, last)) = self.root.parent(&name, self.how) else { continue };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            // A file that a later member has replaced.
            let Ok(fd) = rustix::fs::openat(&parent, &last, flags, Mode::empty()) else { continue };
            for (kind, text) in lists {
                let set = acl::encode(&text, &id_of).map_or(Ok(false), |list| {
                    match set_xattr(fd.as_fd(), kind.attribute(), &list) {
                        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::ACCESS)) => {
                            Ok(false)
                        }
                        other => other,
                    }
                });
                if !set.at("set the access list of", self.root.join(&name))? {
                    self.left_out.acls.add(name.as_os_str().as_bytes());
                }
            }
        }
        Ok(())
    }

    /// Removes the files of lower layers that a layer hides.
    fn whiteout(&mut self, name: &Path, last: &OsStr) -> Result<(), MemberError> {
        let folder = name.parent().unwrap_or(Path::new("")).to_owned();
        let dir = match self.root.dir(&folder, self.how) {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        self.folder = None;
        if last == OPAQUE {
            return self.clear(&folder, &dir);
        }
        let hidden = OsString::from_vec(last.as_bytes()[WHITEOUT.len()..].to_vec());
        // Bookkeeping of an old union file system.
        let is_name = !hidden.is_empty() && hidden != "." && hidden != "..";
        if !is_name || hidden.as_bytes().starts_with(WHITEOUT.as_bytes()) {
            return Ok(());
        }
        let made_here = self.layer.as_ref().is_some_and(|l| l.contains(&folder.join(&hidden)));
        if !made_here {
            remove_tree(&dir, &hidden, &mut |_| {})?;
        }
        Ok(())
    }

    /// Removes everything in a folder that the present layer has not made.
    fn clear(&self, folder: &Path, dir: &Dir) -> Result<(), MemberError> {
        for (name, kind) in dir.entries()? {
            let path = folder.join(&name);
            if !self.layer.as_ref().is_some_and(|l| l.contains(&path)) {
                remove_tree(dir, &name, &mut |_| {})?;
            } else if kind == FileType::Directory {
                self.clear(&path, &dir.dir(Path::new(&name), STRICT)?)?;
            }
        }
        Ok(())
    }
}

fn is_loop(error: &PathError) -> bool {
    Errno::from_io_error(&error.cause) == Some(Errno::LOOP)
}

/// Returns a name below the root: absolute names are meant from there, upwards leads none.
fn inner_name(name: &[u8]) -> Result<PathBuf, MemberError> {
    let mut clean = PathBuf::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(MemberError::LeadsOut),
            part => clean.push(OsStr::from_bytes(part)),
        }
    }
    Ok(clean)
}
