//! The zone's own parts of a root: mount points, name, machine id, passwords, resolver.
//!
//! The root may come from anywhere, so every name in it is hostile here already.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::InstallError;
use crate::apply::etc::accounts;
use crate::apply::net::resolver;
use crate::plan::install::HostSymlink;
use crate::plan::step::COMMANDS;
use crate::sys::path::{Dir, IN_ROOT, Owned, PathError, STRICT};

/// Directories that must be real ones: boot mounts over them.
const REAL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Makes the mount points of a boot, and links; existing ones stay.
///
/// # Errors
/// [`InstallError`] when one cannot be made, or the root has something else in place of it.
pub(super) fn mount_points(root: &Dir, dirs: &[PathBuf], links: &[HostSymlink]) -> Result<(), InstallError> {
    for HostSymlink { name, target } in links {
        if root.stat(name)?.is_none() {
            root.symlink(target, name)?;
        }
    }
    for dir in dirs {
        let text = dir.to_str().unwrap_or_default();
        let there = match root.stat(dir) {
            Ok(there) => there,
            // Reached through a link of the root's own, as /lib/x where /lib is one: seen from inside it is there.
            Err(_) if root.dir(dir, IN_ROOT).is_ok() => continue,
            Err(e) => return Err(e.into()),
        };
        let Some(stat) = there else {
            let mode = match text {
                "/proc" | "/sys" => 0o555,
                "/tmp" => 0o1777,
                _ => 0o755,
            };
            root.make_dirs(dir, Owned::root(mode))?;
            continue;
        };
        if REAL.contains(&text) && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(InstallError::NotADirectory(root.join(dir)));
        }
    }
    Ok(())
}

/// Gives the root an identity. Files that a given tree brings along stay, but for the name and the
/// machine id, which must not exist twice.
///
/// # Errors
/// [`InstallError`] when a file cannot be written.
pub(super) fn identity(
    root: &Dir,
    hostname: &str,
    host: &Path,
    lock_passwords: bool,
) -> Result<(), InstallError> {
    if root.stat("etc")?.is_none() {
        root.make_dir("etc", Owned::root(0o755))?;
    }
    // Some systems have /etc as a link; it is followed as the zone would.
    let etc = root.dir("etc", IN_ROOT)?;
    etc.write("hostname", Owned::root(0o644), format!("{hostname}\n").as_bytes())?;
    // Tools that export containers leave empty files in place of mount points.
    let missing = |name: &str| -> Result<bool, InstallError> {
        let empty = |s: &rustix::fs::Stat| {
            s.st_size == 0 && FileType::from_raw_mode(s.st_mode) == FileType::RegularFile
        };
        Ok(etc.stat(name)?.as_ref().is_none_or(empty))
    };
    if missing("hosts")? {
        etc.write("hosts", Owned::root(0o644), resolver::hosts(hostname, &[]).as_bytes())?;
    }
    if missing("resolv.conf")?
        && let Some(resolver) = resolver::of_host(host)?
    {
        // Which links of the host the zone will have is not known yet.
        let (resolver, _) = resolver::scoped(&resolver, &[]);
        etc.write("resolv.conf", Owned::root(0o644), &resolver)?;
    }
    own_name(root);
    if lock_passwords && etc.stat("mtab")?.is_none() {
        etc.symlink("../proc/self/mounts", "mtab")?;
    }
    machine_id(root, &etc, lock_passwords)?;
    if lock_passwords {
        passwords(&etc)?;
    }
    Ok(())
}

/// Has the zone find `zonename` where other programs look for it too, unless it has one. A root that has no place
/// for it, as a sparse one, finds it by `PATH` alone.
fn own_name(root: &Dir) {
    if let Ok(bin) = root.dir("usr/bin", IN_ROOT)
        && matches!(bin.stat("zonename"), Ok(None))
        && bin.stat("env").is_ok_and(|there| there.is_some())
    {
        let _ = bin.symlink(format!("{COMMANDS}/zonename"), "zonename");
    }
}

/// Gives the root a machine id of its own; without `always` only where it has one.
///
/// # Errors
/// [`PathError`] when a file cannot be written.
pub(super) fn machine_id(root: &Dir, etc: &Dir, always: bool) -> Result<(), PathError> {
    let id = format!("{}\n", uuid::Uuid::new_v4().simple());
    let dbus = "var/lib/dbus/machine-id";
    let copy = root.stat(dbus).ok().flatten();
    if copy.is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile) {
        root.write(dbus, Owned::root(0o444), id.as_bytes())?;
    }
    if always || etc.stat("machine-id")?.is_some_and(|s| s.st_size > 0) {
        etc.write("machine-id", Owned::root(0o444), id.as_bytes())?;
    }
    Ok(())
}

/// Makes the shadow files anew, for the accounts that the root has.
fn passwords(etc: &Dir) -> Result<(), InstallError> {
    let read = |name: &str| -> Result<String, InstallError> {
        let content = etc.read(name, accounts::LIMIT, STRICT)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    let (passwd, group) = (read("passwd")?, read("group")?);
    let owned = match accounts::gid(&group, "shadow") {
        Some(gid) => Owned { mode: 0o640, uid: 0, gid },
        None => Owned::root(0o600),
    };
    etc.write("shadow", owned, accounts::shadow(&passwd).as_bytes())?;
    etc.write("gshadow", owned, accounts::gshadow(&group).as_bytes())?;
    Ok(())
}
