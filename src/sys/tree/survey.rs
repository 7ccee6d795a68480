//! Files of a tree that run with the rights of their owner, and those that only some users may read.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::path::{Dir, SAME_MOUNT, open_beneath};

/// Levels of a tree that are held open at once; deeper levels are not looked at.
const DEPTH: usize = 400;

const CAPABILITY: &CStr = c"security.capability";

/// Permission bits of a regular file that make it run as its owner.
const SET_USER: u32 = 0o4000;
/// The same for its group: without the right to execute, the bit stood for mandatory locks.
const SET_GROUP: u32 = 0o2010;

/// The files that were found; paths are relative to the top, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Programs that run with rights of their own and are readable for every user.
    pub programs: Vec<PathBuf>,
    /// Programs of that kind that are closed to some users. They are among `closed` as well.
    pub hidden: Vec<PathBuf>,
    /// Files that are closed to some users, and directories that some users cannot list and enter.
    pub closed: Vec<PathBuf>,
}

/// The kinds of files that are looked for.
#[derive(Clone, Copy)]
pub struct SurveyFilter<'a> {
    /// Looks for all files that are closed to some users; otherwise such directories are passed over.
    pub closed: bool,
    /// Says of a directory, by its relative path, that no programs are looked for in it.
    pub data: &'a dyn Fn(&Path) -> bool,
    /// Says of a file, by its relative path, that it counts as a program whatever its mode is.
    pub also: &'a dyn Fn(&Path) -> bool,
}

impl std::fmt::Debug for SurveyFilter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SurveyFilter").field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// Says whether a mode gives a regular file the rights of its owner or of its group when it is executed.
pub fn is_set_id(mode: u32) -> bool {
    mode & SET_USER != 0 || mode & SET_GROUP == SET_GROUP
}

/// Says whether a mode lets every user read a file.
pub fn is_readable_to_all(mode: u32) -> bool {
    mode & 0o004 != 0
}

fn is_open_to_all(directory: u32) -> bool {
    directory & 0o005 == 0o005
}

/// Looks at all below a directory that every user can list and enter. Links are not followed and mounts not entered;
/// unreadable and vanishing files are passed over.
///
/// # Errors
/// The directory itself cannot be listed.
pub fn survey(top: &Dir, wanted: &SurveyFilter<'_>) -> io::Result<Survey> {
    let list = |fd: OwnedFd| -> io::Result<Level> {
        let dir = Dir::from_fd(fd.try_clone()?, PathBuf::new());
        let mut names = dir.entries().map_err(|e| e.cause)?;
        names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        Ok(Level { fd, todo: names, data: false })
    };
    let mut found = Survey::default();
    if !is_open_to_all(rustix::fs::fstat(top)?.st_mode) {
        found.closed.extend(wanted.closed.then(|| PathBuf::from(".")));
        return Ok(found);
    }
    let mut levels = vec![list(top.as_fd().try_clone_to_owned()?)?];
    let mut path = PathBuf::new();
    while let Some(level) = levels.last_mut() {
        let Some((name, kind)) = level.todo.pop() else {
            levels.pop();
            path.pop();
            continue;
        };
        path.push(&name);
        let (fd, data) = (level.fd.as_fd(), level.data);
        let next = match kind {
            FileType::RegularFile => {
                file(fd, &name, &path, data, wanted, &mut found);
                None
            }
            FileType::Directory => directory(fd, &name, &path, data, wanted, &mut found),
            _ => None,
        };
        match next.filter(|_| levels.len() < DEPTH).map(|(fd, data)| (list(fd), data)) {
            Some((Ok(level), data)) => levels.push(Level { data, ..level }),
            _ => {
                path.pop();
            }
        }
    }
    Ok(found)
}

struct Level {
    fd: OwnedFd,
    todo: Vec<(OsString, FileType)>,
    /// No programs are looked for from here on.
    data: bool,
}

fn file(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    data: bool,
    wanted: &SurveyFilter<'_>,
    found: &mut Survey,
) {
    let Ok(stat) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let mode = stat.st_mode;
    let readable = is_readable_to_all(mode);
    let program = !data
        && (is_set_id(mode) || mode & 0o111 != 0 && has_capability(parent, name) || (wanted.also)(path));
    match (program, readable) {
        (true, true) => found.programs.push(path.to_owned()),
        (true, false) => found.hidden.push(path.to_owned()),
        (false, _) => {}
    }
    if wanted.closed && !readable {
        found.closed.push(path.to_owned());
    }
}

/// Returns a directory that is to be entered, and whether no programs are looked for in it.
fn directory(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    data: bool,
    wanted: &SurveyFilter<'_>,
    found: &mut Survey,
) -> Option<(OwnedFd, bool)> {
    let data = data || (wanted.data)(path);
    if data && !wanted.closed {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match open_beneath(parent, Path::new(name), flags, Mode::empty(), SAME_MOUNT) {
        Ok(fd) => fd,
        Err(e) => {
            // Without the rights of root the file is closed to this process as well.
            if wanted.closed && Errno::from_io_error(&e) == Some(Errno::ACCESS) {
                found.closed.push(path.to_owned());
            }
            return None;
        }
    };
    let mode = rustix::fs::fstat(&fd).ok()?.st_mode;
    if wanted.closed && !is_open_to_all(mode) {
        found.closed.push(path.to_owned());
    }
    // Files in the other directories are only for those whom these let in, and so are their names.
    is_open_to_all(mode).then_some((fd, data))
}

/// Says whether a file gives capabilities to the process that executes it.
fn has_capability(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend(name.as_bytes());
    rustix::fs::lgetxattr(OsStr::from_bytes(&path), CAPABILITY, &mut [0u8; 64][..]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn paths(list: &[PathBuf]) -> Vec<String> {
        list.iter().map(|p| p.display().to_string()).collect()
    }

    fn tree() -> tempfile::TempDir {
        let top = tempfile::tempdir().expect("a folder");
        fs::set_permissions(top.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
        let at = |p: &str| top.path().join(p);
        for dir in ["bin", "share", "shut", "known", "listed", "lib"] {
            fs::create_dir(at(dir)).expect("a folder");
        }
        let files = [
            ("bin/su", 0o4755),
            ("bin/wall", 0o2755),
            ("bin/lock", 0o2644),
            ("bin/cat", 0o755),
            ("bin/hidden", 0o4711),
            ("bin/group", 0o4750),
            ("lib/plugin.so", 0o644),
            ("lib/secret", 0o640),
            ("lib/run", 0o711),
            ("share/su", 0o4755),
            ("share/key", 0o600),
            ("shut/su", 0o4755),
            ("shut/key", 0o600),
            ("known/su", 0o4755),
            ("listed/su", 0o4755),
        ];
        for (name, mode) in files {
            fs::write(at(name), "").expect("a file");
            fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).expect("chmod");
        }
        symlink("../bin/hidden", at("share/link")).expect("a link");
        for (dir, mode) in [("shut", 0o700), ("known", 0o711), ("listed", 0o744)] {
            fs::set_permissions(at(dir), PermissionsExt::from_mode(mode)).expect("chmod");
        }
        top
    }

    #[test]
    fn programs_and_what_is_not_for_everybody() {
        let tree = tree();
        let top = Dir::open_host(tree.path()).expect("open");
        let data = |p: &Path| p == Path::new("share");
        let also = |p: &Path| p == Path::new("lib/plugin.so");
        let all = survey(&top, &SurveyFilter { closed: true, data: &data, also: &also }).expect("a list");
        assert_eq!(paths(&all.programs), ["bin/su", "bin/wall", "lib/plugin.so"]);
        assert_eq!(paths(&all.hidden), ["bin/group", "bin/hidden"]);
        let closed =
            ["bin/group", "bin/hidden", "known", "lib/run", "lib/secret", "listed", "share/key", "shut"];
        assert_eq!(paths(&all.closed), closed);
        let quick = survey(&top, &SurveyFilter { closed: false, data: &data, also: &also }).expect("a list");
        assert_eq!((quick.programs, quick.closed), (all.programs, Vec::new()));
        fs::set_permissions(tree.path(), PermissionsExt::from_mode(0o711)).expect("chmod");
        let shut = survey(&top, &SurveyFilter { closed: true, data: &data, also: &also }).expect("a list");
        assert_eq!(shut, Survey { closed: vec![".".into()], ..Survey::default() });
    }
}
