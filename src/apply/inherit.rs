//! Inherited directories: which programs of them run with rights of their own, and what of them is closed to
//! a zone.
//!
//! Finding them takes a look at every file, so the list is kept beside the state of zones, with a stamp of
//! the files that change when programs come and go: the data base of the host's packages and the directories that
//! hold programs. The list is only ever a hint. The mount of each program checks the file itself, and a program that
//! the list lacks runs without rights of its own until the next full search: [`search`].

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::files;
use super::paths::Root;
use crate::plan::inherit::{is_data, is_system, must_be_roots};
use crate::sys::path::Dir;
use crate::sys::stable_hash::StableHash;
use crate::sys::tree::{Survey, SurveyFilter, survey};

const HEADER: &str = "zones inherited files 2";
/// Words of a stored list, each before a path.
const PROGRAM: &str = "program";
const HIDDEN: &str = "hidden";
const CLOSED: &str = "closed";
/// The word before the stamp of all that is closed; a list of programs alone has none.
const WHOLE: &str = "whole";

/// Files that the package managers of the distributions write last. The first that is there counts.
const PACKAGES: [&str; 7] = [
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
];

/// Directories in which programs are put by hand.
const USUAL: [&str; 7] = [".", "bin", "sbin", "lib", "lib64", "libexec", "games"];

/// A file that was changed so many seconds ago may change again without a new time.
const SETTLED: i64 = 2;

/// Returns the programs of a directory that run with rights of their own and are readable for every user, as paths
/// below it. A command that only shows a plan does not write the list.
pub fn programs(root: &Root, dir: &str, may_keep: bool) -> Vec<String> {
    let top = Path::new(dir);
    let stored = read(root, top).filter(|list| list.stamp == stamp(top, &list.seen.programs).0);
    let seen = match stored {
        Some(list) => list.seen,
        None => {
            // A directory that is not there fails where it is mounted.
            let seen = walk(top, false).unwrap_or_default();
            if may_keep {
                keep(root, top, &seen, false);
            }
            seen
        }
    };
    seen.programs.iter().filter_map(|path| line(path)).collect()
}

/// Returns what of a directory is closed to zones, and its programs. What is known of a directory of the system counts
/// until the host's packages, the folders with programs or what was closed have changed; any other is searched anew.
/// With `may_keep`, what is found is kept for the next boot.
///
/// # Errors
/// The directory cannot be read.
pub fn closed(root: &Root, dir: &str, may_keep: bool) -> io::Result<Survey> {
    let top = Path::new(dir);
    match if is_system(top) { known(root, top) } else { None } {
        Some(seen) => Ok(seen),
        None if may_keep => search(root, dir),
        None => walk(top, true),
    }
}

/// Returns what is stored of all that is closed in a directory, as long as none of its stamps has changed.
fn known(root: &Root, top: &Path) -> Option<Survey> {
    let list = read(root, top)?;
    let whole = list.whole? == whole_stamp(top, &list.seen).0;
    (whole && list.stamp == stamp(top, &list.seen.programs).0).then_some(list.seen)
}

/// Searches a directory anew: for its programs, and for files that are closed to others.
///
/// # Errors
/// The directory cannot be read.
pub fn search(root: &Root, dir: &str) -> io::Result<Survey> {
    let top = Path::new(dir);
    let seen = walk(top, true)?;
    keep(root, top, &seen, true);
    Ok(seen)
}

fn walk(top: &Path, closed: bool) -> io::Result<Survey> {
    let dir = Dir::open_host(top).map_err(|e| e.cause)?;
    let (data, also) = (|below: &Path| is_data(top, below), |below: &Path| must_be_roots(top, below));
    survey(&dir, &SurveyFilter { closed, data: &data, also: &also })
}

fn cache(root: &Root, top: &Path) -> PathBuf {
    // No zone has a name with a dot in front.
    root.lib_dir().join(format!(".inherit.{:016x}", StableHash::new().path(top).finish()))
}

/// A stored list.
#[derive(Debug, PartialEq, Eq)]
struct KnownFiles {
    stamp: String,
    /// The stamp of what is closed, where the search has looked for that.
    whole: Option<String>,
    seen: Survey,
}

fn read(root: &Root, top: &Path) -> Option<KnownFiles> {
    let bytes = files::read(&cache(root, top), 1 << 24).ok()??;
    KnownFiles::parse(&String::from_utf8(bytes).ok()?, top)
}

/// Stores a list as far as that is possible: a process that may not write it searches again.
fn keep(root: &Root, top: &Path, seen: &Survey, whole: bool) {
    let mut seen = seen.clone();
    // A program whose path does not fit on one line runs without rights of its own.
    seen.programs.retain(|path| line(path).is_some());
    let whole = whole && seen.hidden.iter().chain(&seen.closed).all(|path| line(path).is_some());
    let (stamp, changed) = stamp(top, &seen.programs);
    let (whole, closed) = if whole {
        let (stamp, changed) = whole_stamp(top, &seen);
        (Some(stamp), changed)
    } else {
        (None, 0)
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
    if now.saturating_sub(changed.max(closed)) > SETTLED {
        let path = cache(root, top);
        let draft = path.with_extension(format!("{}", std::process::id()));
        // Not synced: a broken list is made anew.
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&draft)
            .and_then(|mut file| file.write_all(KnownFiles { stamp, whole, seen }.text(top).as_bytes()))
            .and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
    }
}

impl KnownFiles {
    fn parse(text: &str, top: &Path) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let good = lines.next()? == HEADER && Path::new(lines.next()?) == top;
        let stamp = lines.next().filter(|_| good)?.to_owned();
        let mut list = Self { stamp, whole: None, seen: Survey::default() };
        for line in lines {
            let (kind, rest) = line.split_once(' ')?;
            match kind {
                PROGRAM => list.seen.programs.push(rest.into()),
                HIDDEN => list.seen.hidden.push(rest.into()),
                CLOSED => list.seen.closed.push(rest.into()),
                WHOLE => list.whole = Some(rest.to_owned()),
                _ => return None,
            }
        }
        Some(list)
    }

    fn text(&self, top: &Path) -> String {
        let Survey { programs, hidden, closed } = &self.seen;
        let mut text = format!("{HEADER}\n{}\n{}\n", top.to_string_lossy(), self.stamp);
        for (kind, paths) in [(PROGRAM, programs), (HIDDEN, hidden), (CLOSED, closed)] {
            for path in paths.iter().filter_map(|path| line(path)) {
                let _ = writeln!(text, "{kind} {path}");
            }
        }
        // At the end, so that a list that was cut off does not count as whole.
        if let Some(stamp) = &self.whole {
            let _ = writeln!(text, "{WHOLE} {stamp}");
        }
        text
    }
}

/// Returns a path that fits on one line.
fn line(path: &Path) -> Option<String> {
    path.to_str().filter(|p| !p.contains(char::is_control)).map(str::to_owned)
}

/// Returns what changes when programs come or go, and when the last of it has changed (seconds).
fn stamp(top: &Path, programs: &[PathBuf]) -> (String, i64) {
    let holders = programs.iter().filter_map(|p| p.parent());
    let folders: BTreeSet<&Path> = USUAL.iter().map(Path::new).chain(holders).collect();
    let packages = PACKAGES.iter().map(PathBuf::from).find(|path| path.exists());
    stamp_of(packages.into_iter().chain(folders.into_iter().map(|folder| top.join(folder))))
}

/// Returns what changes when a file that is closed is opened to all, moved or removed.
fn whole_stamp(top: &Path, seen: &Survey) -> (String, i64) {
    stamp_of(seen.hidden.iter().chain(&seen.closed).map(|path| top.join(path)))
}

fn stamp_of(paths: impl Iterator<Item = PathBuf>) -> (String, i64) {
    let mut hash = StableHash::new();
    let mut last = 0;
    for path in paths {
        if let Ok(meta) = fs::metadata(&path) {
            hash = hash.path(&path).file(&meta);
            last = last.max(meta.ctime());
        }
    }
    (format!("{:016x}", hash.finish()), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_stored() {
        let top = Path::new("/usr");
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let seen = Survey {
            programs: paths(&["bin/su", "bin/a b"]),
            hidden: paths(&["bin/sudo"]),
            closed: paths(&["bin/sudo", "share/x"]),
        };
        let list = KnownFiles { stamp: "1".to_owned(), whole: Some("2".to_owned()), seen };
        let text = list.text(top);
        assert_eq!(KnownFiles::parse(&text, Path::new("/opt")), None);
        let cut = &text[..text.rfind(WHOLE).expect("its last line")];
        assert_eq!(KnownFiles::parse(cut, top).expect("a list").whole, None);
        assert_eq!(KnownFiles::parse(&text, top), Some(list));
        for wrong in
            ["", "\n", &text[1..], text.trim_end(), &format!("{text}\n"), &format!("{text}more of it\n")]
        {
            assert_eq!(KnownFiles::parse(wrong, top), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_list_counts_until_a_stamp_changes() {
        let temp = tempfile::tempdir().expect("a folder");
        let (root, top) = (Root::new(Some(temp.path())), temp.path().join("top"));
        let closed = top.join("closed");
        fs::create_dir_all(top.join("bin")).expect("a folder");
        fs::create_dir_all(root.lib_dir()).expect("a folder");
        fs::write(&closed, "").expect("a file");
        // A search would not find this, so a list can be told from a search.
        let seen =
            Survey { closed: vec!["closed".into()], hidden: vec!["closed".into()], ..Survey::default() };
        let store = |stamps: (String, i64), whole: (String, i64)| {
            let list = KnownFiles { stamp: stamps.0, whole: Some(whole.0), seen: seen.clone() };
            fs::write(cache(&root, &top), list.text(&top)).expect("a list");
        };
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(top.join("bin/program"), "").expect("a file"),
            &|| fs::write(&closed, "more").expect("a file"),
            &|| fs::remove_file(&closed).expect("a file"),
        ];
        for change in changes {
            store(stamp(&top, &[]), whole_stamp(&top, &seen));
            assert_eq!(known(&root, &top), Some(seen.clone()));
            // The file system's clock ticks more often than that.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            assert_eq!(known(&root, &top), None);
        }
        let of_a_boot = KnownFiles { stamp: stamp(&top, &[]).0, whole: None, seen: Survey::default() };
        fs::write(cache(&root, &top), of_a_boot.text(&top)).expect("a list");
        assert_eq!(known(&root, &top), None, "a boot looks for programs alone");
    }
}
