//! The zonepath: where it is, whose it is, and whether it is this zone's alone.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};

use super::mapping::Trial;
use super::{Purpose, VerifyReport};
use crate::apply::files::reason;
use crate::apply::store::FileStore;
use crate::apply::zfs::{holding, storage};
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::naive::without;
use crate::sys::path::{Dir, STRICT};

const NFS_MAGIC: i64 = 0x6969;
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// The meaning of each bit of a mode, in the order in which complaints are printed.
const BITS: [(u32, &str); 9] = [
    (0o400, "owner readable"),
    (0o200, "owner writable"),
    (0o100, "owner executable"),
    (0o040, "group readable"),
    (0o020, "group writable"),
    (0o010, "group executable"),
    (0o004, "world readable"),
    (0o002, "world writable"),
    (0o001, "world executable"),
];

pub fn check(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    purpose: Purpose,
    trial: &Trial,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    let Some(zonepath) = spec.zonepath() else { return Ok(()) };
    let before = found.errors();
    let path = store.root().host_path(Path::new(&zonepath));
    let state = store.installed_state(name)?;
    let makes = matches!(purpose, Purpose::Install | Purpose::CloneAll | Purpose::Move);
    let installed = state == ZoneState::Installed && !makes;
    check_links(store.root().prefix(), &zonepath, &path, found);
    if purpose != Purpose::Boot {
        check_overlap(store, name, &zonepath, found)?;
    }
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_symlink() => {}
        Ok(meta) if !meta.is_dir() => found.error(format!("{zonepath} is not a directory.")),
        Ok(_) if installed && storage::is_missing(store.root(), Path::new(&zonepath)) => {
            // Owner and mode are those of the directory on which the storage was mounted.
            found.error(format!("{zonepath}: {}", storage::missing(store.root(), name, &path)));
        }
        Ok(meta) => {
            let root = path.join("root");
            check_file_system(&zonepath, &path, purpose, found);
            trial.zonepath(&zonepath, if root.is_dir() { &root } else { &path }, found);
            check_parents(store.root().prefix(), &path, found);
            if purpose == Purpose::Verify && !without("zonepath") {
                complain(&zonepath, &meta, 0o700, found);
            } else if found.errors() == before || without("parents") {
                // Only now: a user who could put another directory here could have that one changed.
                make_owned(store.root().prefix(), &zonepath, &path, 0o700, found);
            }
            if state != ZoneState::Configured && !makes {
                check_root(&zonepath, &path.join("root"), state, found);
            }
        }
        Err(e)
            if e.kind() == io::ErrorKind::NotFound
                && (state == ZoneState::Configured || purpose == Purpose::Move) =>
        {
            if purpose == Purpose::Verify {
                found.warn(format!("WARNING: {zonepath} does not exist, so it could not be verified.\nWhen 'zoneadm install' is run, it will be created and verified again."));
            }
            check_above(store.root().prefix(), &path, purpose, trial, found);
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            found.error(format!("{zonepath}: {}", storage::missing(store.root(), name, &path)));
        }
        Err(e) => found.error(format!("{zonepath}: {}", reason(&e))),
    }
    if found.errors() > before {
        found.error(format!("could not verify zonepath {zonepath} because of the above errors."));
    }
    Ok(())
}

/// A zonepath that leads elsewhere by a link would let two zones share a place under two names.
fn check_links(prefix: &Path, zonepath: &str, path: &Path, found: &mut VerifyReport) {
    let Some((existing, rest)) = nearest(path) else { return };
    let (Ok(real), Ok(base)) = (fs::canonicalize(&existing), fs::canonicalize(prefix)) else { return };
    let wanted = base.join(path.strip_prefix(prefix).unwrap_or(path));
    if real.join(&rest) != wanted {
        found.error(format!("{zonepath}: Resolved path mismatch: it leads to {}", real.join(rest).shown()));
    }
}

/// Returns the part of a path that exists, and the rest.
fn nearest(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let existing = path.ancestors().find(|p| p.symlink_metadata().is_ok())?;
    Some((existing.to_owned(), path.strip_prefix(existing).ok()?.components().collect()))
}

fn check_overlap(
    store: &FileStore,
    name: &ZoneName,
    zonepath: &str,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    let path = store.root().host_path(Path::new(zonepath));
    for other in store.catalog()? {
        if let Some(shared) = other.shared.iter().find(|shared| path.starts_with(shared)) {
            found.error(format!(
                "{name} zonepath ({zonepath}) lies in {shared}, which zone {} can write to.",
                other.name
            ));
        }
        if other.name == *name || other.zonepath.is_empty() {
            continue;
        }
        // Whole components: /zones/a does not contain /zones/ab.
        let (mine, theirs) = (Path::new(zonepath), Path::new(&other.zonepath));
        if mine.starts_with(theirs) || theirs.starts_with(mine) {
            found.error(format!(
                "{name} zonepath ({zonepath}) and {} zonepath ({}) overlap.",
                other.name, other.zonepath
            ));
        }
    }
    Ok(())
}

/// Gives the zonepath to root alone. It is opened without following any link below the root, and the open directory
/// is the one that is changed.
fn make_owned(prefix: &Path, shown: &str, path: &Path, mode: u32, found: &mut VerifyReport) {
    if without("zonepath") {
        return;
    }
    let opened = path.strip_prefix(prefix).map_err(|_| "lies outside the root".to_owned()).and_then(|rest| {
        let prefix = Dir::open_host(prefix).map_err(|e| e.to_string())?;
        prefix.dir(rest, STRICT).map_err(|e| e.to_string())
    });
    let dir = match opened {
        Ok(dir) => dir,
        Err(why) => return found.error(format!("{shown}: {why}")),
    };
    let stat = match rustix::fs::fstat(&dir) {
        Ok(stat) => stat,
        Err(e) => return found.error(format!("{shown}: {}", reason(&e.into()))),
    };
    if (stat.st_uid, stat.st_gid) != (0, 0) {
        match rustix::fs::fchown(&dir, Some(Uid::ROOT), Some(Gid::ROOT)) {
            Ok(()) => found.warn(format!("{shown}: changing owner to root.")),
            Err(e) => found.error(format!("{shown}: could not change owner to root: {}", reason(&e.into()))),
        }
    }
    if stat.st_mode & 0o777 != mode {
        match rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode)) {
            Ok(()) => found.warn(format!("{shown}: changing permissions to {mode:04o}.")),
            Err(e) => found.error(format!("{shown}: could not change permissions: {}", reason(&e.into()))),
        }
    }
}

fn complain(shown: &str, meta: &Metadata, wanted: u32, found: &mut VerifyReport) {
    if meta.uid() != 0 {
        found.error(format!("{shown} is not owned by root."));
    }
    for (bit, what) in BITS {
        match (wanted & bit != 0, meta.mode() & bit != 0) {
            (true, false) => found.error(format!("{shown} must be {what}.")),
            (false, true) => found.error(format!("{shown} must not be {what}.")),
            _ => {}
        }
    }
}

/// Checks every directory from the root to the zonepath.
fn check_parents(prefix: &Path, path: &Path, found: &mut VerifyReport) {
    let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(prefix));
    above.for_each(|dir| check_parent(dir, found));
}

/// A user who may write beside the zonepath could put another directory in its place.
fn check_parent(parent: &Path, found: &mut VerifyReport) {
    let Ok(meta) = fs::metadata(parent) else { return };
    let shown = parent.shown();
    if meta.uid() != 0 {
        found.error(format!("{shown} is not owned by root."));
    }
    // With the sticky bit others may write, but not replace what belongs to root.
    if meta.mode() & 0o1000 == 0 {
        for (bit, what) in BITS.into_iter().filter(|(b, _)| *b & 0o022 != 0) {
            if meta.mode() & bit != 0 {
                found.error(format!("{shown} must not be {what}."));
            }
        }
    }
}

/// Checks the place where a missing zonepath will be made.
fn check_above(prefix: &Path, path: &Path, purpose: Purpose, trial: &Trial, found: &mut VerifyReport) {
    if let Some((existing, _)) = nearest(path) {
        let above = existing.ancestors().take_while(|dir| dir.starts_with(prefix));
        above.for_each(|dir| check_parent(dir, found));
        let shown = existing.shown().to_string();
        check_file_system(&shown, &existing, purpose, found);
        trial.zonepath(&shown, &existing, found);
    }
}

fn check_file_system(shown: &str, path: &Path, purpose: Purpose, found: &mut VerifyReport) {
    if let Ok(kind) = rustix::fs::statfs(path).map(|s| s.f_type) {
        if kind == NFS_MAGIC {
            found.error(format!("Zonepath {shown} is on an NFS mounted file system."));
        }
        if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
            found.warn(format!("WARNING: {shown} is on a temporary file system."));
        }
    }
    let held = holding::of(path, purpose != Purpose::Boot);
    if held.no_suid {
        found.error(format!(
            "{shown} is on a file system mounted nosuid: nobody could change user in the zone{}.",
            held.command("setuid=on")
        ));
    }
    if held.read_only {
        found.warn(format!(
            "WARNING: {shown} is on a file system that is read-only: the zone can write nothing{}.",
            held.command("readonly=off")
        ));
    }
    // A zone with the host's software has its programs elsewhere.
    if held.no_exec {
        found.warn(format!(
            "WARNING: {shown} is on a file system mounted noexec: no program on it can be run in the zone{}.",
            held.command("exec=on")
        ));
    }
    if held.loses_acls {
        found.warn(format!(
            "WARNING: {shown} is on ZFS, and this kernel is older than Linux 6.2: entries of access lists (setfacl) for \
             single users and groups are stored with numbers of the host and do not count in the zone; use a newer \
             kernel, or a delegated dataset for files with access lists."
        ));
    }
}

fn check_root(zonepath: &str, root: &Path, state: ZoneState, found: &mut VerifyReport) {
    let shown = format!("{zonepath}/root");
    match fs::symlink_metadata(root) {
        Ok(meta) if meta.is_dir() => complain(&shown, &meta, 0o755, found),
        Ok(_) => found.error(format!("{shown} is not a directory.")),
        Err(e) if state == ZoneState::Installed => found.error(format!("{shown}: {}", reason(&e))),
        Err(_) => {}
    }
}
