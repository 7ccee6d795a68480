//! Inherited directories: which programs of them run with rights of their own, and what of them is closed to
//! a zone.
//!
//! Finding the programs takes a look at every file, so the list is kept beside the state of zones, with a stamp of
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
use crate::plan::inherit::{is_data, must_be_roots};
use crate::sys::path::Dir;
use crate::sys::stable_hash::StableHash;
use crate::sys::tree::{Survey, SurveyFilter, survey};

const HEADER: &str = "zones inherited programs 1";

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
    if let Some(known) = stored_list(root, top) {
        return known;
    }
    // A directory that is not there fails where it is mounted.
    let found = walk(top, false).unwrap_or_default();
    let programs = lines(&found);
    if may_keep {
        keep(root, top, &programs);
    }
    programs
}

/// Searches a directory anew: for its programs, and for files that are closed to others.
///
/// # Errors
/// The directory cannot be read.
pub fn search(root: &Root, dir: &str) -> io::Result<Survey> {
    let top = Path::new(dir);
    let found = walk(top, true)?;
    keep(root, top, &lines(&found));
    Ok(found)
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

/// Returns the stored list, unless its stamp is out of date.
fn stored_list(root: &Root, top: &Path) -> Option<Vec<String>> {
    let bytes = files::read(&cache(root, top), 1 << 24).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let good = lines.next()? == HEADER && Path::new(lines.next()?) == top;
    let noted = lines.next().filter(|_| good)?;
    let programs: Vec<String> = lines.map(str::to_owned).collect();
    (noted == stamp(top, &programs).0).then_some(programs)
}

/// Returns the programs that were found. A path that does not fit on one line is left out: the program runs without
/// rights of its own.
fn lines(found: &Survey) -> Vec<String> {
    let name = |path: &PathBuf| path.to_str().filter(|p| !p.contains(char::is_control)).map(str::to_owned);
    found.programs.iter().filter_map(name).collect()
}

/// Stores a list as far as that is possible: a process that may not write it searches again.
fn keep(root: &Root, top: &Path, programs: &[String]) {
    let (stamp, changed) = stamp(top, programs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
    if now.saturating_sub(changed) > SETTLED {
        let mut text = format!("{HEADER}\n{}\n{stamp}\n", top.to_string_lossy());
        for program in programs {
            let _ = writeln!(text, "{program}");
        }
        let path = cache(root, top);
        let draft = path.with_extension(format!("{}", std::process::id()));
        // Not synced: a broken list is made anew.
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&draft)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
    }
}

/// Returns what changes when programs come or go, and when the last of it has changed (seconds).
fn stamp(top: &Path, programs: &[String]) -> (String, i64) {
    let holders = programs.iter().filter_map(|p| Path::new(p).parent());
    let folders: BTreeSet<&Path> = USUAL.iter().map(Path::new).chain(holders).collect();
    let metadata = |path: PathBuf| fs::metadata(&path).ok().map(|meta| (path, meta));
    let packages = PACKAGES.iter().find_map(|path| metadata(path.into()));
    let folders = folders.into_iter().filter_map(|folder| metadata(top.join(folder)));
    let mut hash = StableHash::new();
    let mut last = 0;
    for (path, meta) in packages.into_iter().chain(folders) {
        hash = hash.path(&path).file(&meta);
        last = last.max(meta.ctime());
    }
    (format!("{:016x}", hash.finish()), last)
}
