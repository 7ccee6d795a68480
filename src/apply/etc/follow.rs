//! The files in a sparse zone's `/etc` that go with the host's programs follow the host.
//!
//! A sparse zone runs the host's present programs, so its links of `alternatives`, the dynamic linker's cache and
//! the certificates must match them. A stamp of the host's files is kept beside the state of the zone; while it is
//! the same, a boot does nothing. Else every file that is still as it was taken is taken anew. A file that the
//! zone's administrator has changed since, as its change time shows, is the zone's own and is noted as such. Files
//! that the host does not have are never removed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Stat};

use super::{EtcError, sparse};
use crate::apply::fault;
use crate::apply::files;
use crate::sys::path::{At, Dir, Owned, PathError, STRICT};
use crate::sys::stable_hash::StableHash;
use crate::sys::tree::is_readable_to_all;

/// Name of the record in a zone's folder.
const RECORD: &str = "etc";
const HEADER: &str = "zones etc 1";
const RECORD_MAX: usize = 1 << 20;

/// Names in the host's `/etc` that belong to its programs and not to the administrator of the zone.
pub(super) const OF_PROGRAMS: &[&str] = &[
    "alternatives",
    "alpine-release",
    "debian_version",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "lsb-release",
    "os-release",
    "redhat-release",
];

/// The certificates in `/etc`. They follow the host's too, but an administrator may have added some.
const CERTIFICATES: &[&str] =
    &["ca-certificates", "ca-certificates.conf", "pki/ca-trust", "ssl/cert.pem", "ssl/certs"];

/// Names in `/etc` that follow the host's.
fn followed() -> impl Iterator<Item = &'static str> {
    OF_PROGRAMS.iter().chain(CERTIFICATES).copied()
}

/// Directories below them that change when their files do.
const INNER: &[&str] = &["pki/ca-trust/extracted/openssl", "pki/ca-trust/extracted/pem"];

/// Most levels of directories that are read.
const DEPTH: usize = 8;

/// The record of the last copy.
#[derive(Debug, Default)]
struct FollowRecord {
    stamp: String,
    /// Its time, in seconds since the epoch.
    time: i64,
    /// Names that are the zone's own.
    own: BTreeSet<PathBuf>,
}

/// Returns the files that change when the host's programs do. Directories are looked at, not their entries.
fn stamp(host: &Path) -> String {
    let mut hash = StableHash::new();
    for name in followed().chain(INNER.iter().copied()) {
        let Ok(meta) = std::fs::symlink_metadata(host.join("etc").join(name)) else { continue };
        hash = hash.text(name).file(&meta);
    }
    format!("{:016x}", hash.finish())
}

fn read(state: &Path) -> Option<FollowRecord> {
    let text = String::from_utf8(files::read(&state.join(RECORD), RECORD_MAX).ok()??).ok()?;
    let mut lines = text.strip_suffix('\n')?.split('\n');
    (lines.next()? == HEADER).then_some(())?;
    let (stamp, time) = (lines.next()?.to_owned(), lines.next()?.parse().ok()?);
    Some(FollowRecord { stamp, time, own: lines.map(PathBuf::from).collect() })
}

fn write(state: &Path, record: &FollowRecord) -> Result<(), PathError> {
    let dir = Dir::open_host(state)?;
    let mut text = format!("{HEADER}\n{}\n{}\n", record.stamp, record.time);
    for name in record.own.iter().filter_map(|p| p.to_str()).filter(|n| !n.contains('\n')) {
        let _ = writeln!(text, "{name}");
    }
    dir.write(RECORD, Owned::root(0o600), text.as_bytes())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed())
}

/// Writes a record of the files that have just been taken.
///
/// # Errors
/// [`PathError`] when the record cannot be written.
pub fn note(host: &Path, state: &Path) -> Result<(), PathError> {
    write(state, &FollowRecord { stamp: stamp(host), time: now(), own: BTreeSet::new() })
}

/// Gives a clone the record of its source.
pub fn inherit(from: &Path, to: &Path) -> Result<(), PathError> {
    read(from).map_or(Ok(()), |record| write(to, &record))
}

/// Brings a zone up to date, if the host has changed since.
///
/// # Errors
/// [`EtcError`] naming the file; the next boot tries again.
pub fn boot(host: &Path, root: &Path, state: &Path) -> Result<(), EtcError> {
    let present = stamp(host);
    let record = read(state);
    if record.as_ref().is_some_and(|record| record.stamp == present) {
        return Ok(());
    }
    let root = Dir::open_host(root)?;
    let (from, to) = (Dir::open_host(&host.join("etc"))?, root.dir("etc", STRICT)?);
    let mut record = record.unwrap_or_default();
    if record.time == 0 {
        // A zone of an earlier release: the time of the last file that its installation wrote stands for the record.
        record.time = to.stat("machine-id")?.map_or_else(now, |stat| mtime(&stat).0);
    }
    let mut own = BTreeSet::new();
    for name in followed().map(Path::new) {
        each(&from, name, DEPTH, &mut |path| renew(&from, &to, path, &record, &mut own))?;
    }
    fault::point("etc-renewed");
    sparse::copy_etc(&from, &root, &followed().collect::<Vec<_>>())?;
    Ok(write(state, &FollowRecord { stamp: present, time: now(), own })?)
}

/// Removes the zone's file where it is as it was taken, to make room for that of the host.
fn renew(
    from: &Dir,
    to: &Dir,
    path: &Path,
    record: &FollowRecord,
    own: &mut BTreeSet<PathBuf>,
) -> Result<(), EtcError> {
    // A parent that is a link was made by the zone, and so were the files below it.
    let Ok(Some(there)) = to.stat(path) else { return Ok(()) };
    let Some(theirs) = from.stat(path)? else { return Ok(()) };
    if is_same(from, to, path, &theirs, &there)? {
        return Ok(());
    }
    let is_dir = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
    if is_dir || mtime(&there).0 > record.time || record.own.contains(path) || !is_public(&theirs) {
        own.insert(path.to_owned());
        return Ok(());
    }
    let (parent, name) = to.parent(path, STRICT)?;
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e).at("remove", to.join(path))?,
    }
}

fn is_public(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink || is_readable_to_all(stat.st_mode)
}

fn is_same(from: &Dir, to: &Dir, path: &Path, theirs: &Stat, ours: &Stat) -> Result<bool, EtcError> {
    let kind = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
    Ok(match (kind(theirs), kind(ours)) {
        (FileType::Symlink, FileType::Symlink) => from.read_link(path)? == to.read_link(path)?,
        (FileType::RegularFile, FileType::RegularFile) => {
            theirs.st_size == ours.st_size && mtime(theirs) == mtime(ours)
        }
        _ => false,
    })
}

#[allow(clippy::unnecessary_cast)] // their types differ from machine to machine
fn mtime(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

/// Calls `work` for each file and link of the host below a name.
fn each(
    from: &Dir,
    path: &Path,
    depth: usize,
    work: &mut dyn FnMut(&Path) -> Result<(), EtcError>,
) -> Result<(), EtcError> {
    let Some(stat) = from.stat(path)? else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return work(path);
    }
    if depth > 0 {
        for (name, _) in from.dir(path, STRICT)?.entries()? {
            each(from, &path.join(name), depth - 1, work)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A host and a zone with its state.
    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let world = Self(tempfile::tempdir().expect("a folder"));
            for dir in ["host/etc/alternatives", "host/etc/ssl/certs", "root", "state"] {
                fs::create_dir_all(world.0.path().join(dir)).expect("a folder");
            }
            world.link("awk", "/usr/bin/mawk");
            world.put("host/etc/ssl/certs/ca.crt", "old");
            world.put("host/etc/ld.so.cache", "old");
            let root = Dir::open_host(&world.at("root")).expect("a root");
            root.make_dir("etc", Owned::root(0o755)).expect("a folder");
            sparse::copy_etc(
                &Dir::open_host(&world.at("host/etc")).expect("a folder"),
                &root,
                &followed().collect::<Vec<_>>(),
            )
            .expect("taken");
            note(&world.at("host"), &world.at("state")).expect("noted");
            world
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// Writes a file beside and renames it, as the host's tools do.
        fn put(&self, path: &str, text: &str) {
            fs::write(self.at("beside"), text).expect("written");
            fs::rename(self.at("beside"), self.at(path)).expect("renamed");
        }

        fn link(&self, name: &str, target: &str) {
            let path = self.at("host/etc/alternatives").join(name);
            let _ = fs::remove_file(&path);
            symlink(target, path).expect("a link");
        }

        fn awk(&self) -> PathBuf {
            fs::read_link(self.at("root/etc/alternatives/awk")).expect("a link")
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.at("root/etc").join(name)).expect("readable")
        }

        /// Sets the times as if all files had been taken an hour ago.
        fn age(&self) {
            let mut record = read(&self.at("state")).expect("a record");
            record.time -= 3600;
            write(&self.at("state"), &record).expect("written");
            let hour = rustix::fs::Timespec { tv_sec: now() - 7200, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: hour, last_modification: hour };
            for name in ["alternatives/awk", "ssl/certs/ca.crt", "ld.so.cache"] {
                for top in ["root/etc", "host/etc"] {
                    let path = self.at(top).join(name);
                    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
                        .expect("set");
                }
            }
        }

        fn boot(&self) {
            boot(&self.at("host"), &self.at("root"), &self.at("state")).expect("up to date");
        }
    }

    #[test]
    fn what_the_host_changes_is_taken() {
        let world = World::new();
        world.link("awk", "/usr/bin/gawk");
        world.link("vi", "/usr/bin/vim");
        world.put("host/etc/ssl/certs/ca.crt", "today's");
        world.put("host/etc/ld.so.cache", "today's");
        world.boot();
        assert_eq!(world.awk(), Path::new("/usr/bin/gawk"));
        assert!(world.at("root/etc/alternatives/vi").is_symlink());
        assert_eq!(
            (world.read("ssl/certs/ca.crt"), world.read("ld.so.cache")),
            ("today's".into(), "today's".into())
        );
    }

    #[test]
    fn what_the_zone_has_changed_is_its_own_for_good() {
        let world = World::new();
        world.age();
        fs::write(world.at("root/etc/ssl/certs/ca.crt"), "mine").expect("written");
        fs::write(world.at("root/etc/ssl/certs/more.crt"), "mine too").expect("written");
        for text in ["new", "newer"] {
            world.put("host/etc/ssl/certs/ca.crt", text);
            world.put("host/etc/ld.so.cache", text);
            world.boot();
            assert_eq!(
                (world.read("ssl/certs/ca.crt"), world.read("ld.so.cache")),
                ("mine".into(), text.into())
            );
        }
        assert_eq!(world.read("ssl/certs/more.crt"), "mine too");
        // A file that the zone has removed is taken from the host again.
        fs::remove_file(world.at("root/etc/ssl/certs/ca.crt")).expect("removed");
        world.put("host/etc/ld.so.cache", "newest");
        world.boot();
        assert_eq!(world.read("ssl/certs/ca.crt"), "newer");
    }

    #[test]
    fn no_link_of_the_zone_is_followed() {
        let world = World::new();
        fs::remove_dir_all(world.at("root/etc/ssl")).expect("removed");
        fs::create_dir_all(world.at("trap/certs")).expect("a folder");
        fs::write(world.at("trap/certs/ca.crt"), "the host's own").expect("written");
        symlink("../../trap", world.at("root/etc/ssl")).expect("a link");
        world.put("host/etc/ssl/certs/ca.crt", "new");
        assert!(boot(&world.at("host"), &world.at("root"), &world.at("state")).is_err());
        assert_eq!(fs::read_to_string(world.at("trap/certs/ca.crt")).expect("there"), "the host's own");
    }
}
