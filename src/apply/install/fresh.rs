//! Identities that must not exist twice: a clone gets others than its source.
//!
//! The root was another zone's, whose administrator may have put anything under any name. So folders are
//! found as the zone would find them and never out of the root, and only names in them are removed or
//! replaced.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{InstallError, identity};
use crate::apply::Op;
use crate::apply::etc::hostname;
use crate::apply::etc::keys::{KEYS, folder, in_path, is_file, key, make_keys};
use crate::apply::fault;
use crate::spec::shown::Show;
use crate::sys::naive::without;
use crate::sys::path::{At, Dir, Owned, PathError};

/// Secrets, seeds and numbers that a system makes anew when they are missing: folder, how the name
/// starts and how it ends.
const MADE_ANEW: &[(&str, &str, &str)] = &[
    ("etc/ssh", "ssh_host_", ""),
    ("etc/dropbear", "dropbear_", "_host_key"),
    ("var/lib/systemd", "random-seed", ""),
    ("var/lib/systemd", "credential.secret", ""),
    ("var/lib/urandom", "random-seed", ""),
    ("var/lib/NetworkManager", "secret_key", ""),
    ("var/lib/NetworkManager", "internal-", ".lease"),
    ("var/lib/dhcp", "", ".leases"),
];

/// Gives the root of a clone its own identity.
///
/// # Errors
/// [`InstallError`] naming the file.
pub(super) fn reidentify(op: &mut Op<'_>, root: &Dir, source: &str, name: &str) -> Result<(), InstallError> {
    let Some(etc) = folder(root, "etc")? else { return Ok(()) };
    // The source may have been given another host name by its administrator.
    let former = hostname::in_etc(&etc).unwrap_or_else(|| source.to_owned());
    put(op, etc.write("hostname", Owned::root(0o644), format!("{name}\n").as_bytes()))?;
    put(op, hostname::hosts(&etc, &[&former, source], name))?;
    put(op, identity::machine_id(root, &etc, false))?;
    if is_file(&etc, "hostid")? {
        let id = uuid::Uuid::new_v4();
        put(op, etc.write("hostid", Owned::root(0o644), &id.as_bytes()[..4]))?;
    }
    fault::point("identity-renewed");
    renew(op, root, name)?;
    Ok(())
}

/// Makes the secrets of a root anew. Returns the kinds of keys of the ssh server that are new.
///
/// # Errors
/// [`InstallError`] naming the file.
pub(super) fn renew(op: &mut Op<'_>, root: &Dir, hostname: &str) -> Result<Vec<&'static str>, InstallError> {
    let ssh = folder(root, "etc/ssh")?;
    let mut lost = Vec::new();
    for kind in KEYS {
        if let Some(ssh) = &ssh
            && is_file(ssh, &key(kind))?
        {
            lost.push(kind);
        }
    }
    for (folder, start, end) in MADE_ANEW {
        remove(root, folder, start, end)?;
    }
    if let Some(ssh) = ssh.filter(|_| !lost.is_empty()) {
        keys(op, &ssh, &lost, hostname)?;
    }
    Ok(lost)
}

/// Goes on where the zone has a directory in place of a file: nothing takes an identity from that.
fn put(op: &mut Op<'_>, written: Result<(), PathError>) -> Result<(), InstallError> {
    match written {
        Err(e) if Errno::from_io_error(&e.cause) == Some(Errno::ISDIR) && !without("identity") => {
            op.out.warn(&format!("WARNING: {} is a directory and stays as it is", e.path.shown()));
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Removes files, links and pipes by name; directories stay.
fn remove(root: &Dir, folder: &str, start: &str, end: &str) -> Result<(), InstallError> {
    // Where there is none, nothing looks for these files.
    let Some(dir) = self::folder(root, folder)? else { return Ok(()) };
    for (name, kind) in dir.entries()? {
        let Some(text) = name.to_str() else { continue };
        let fits = text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end);
        if !fits || kind == FileType::Directory {
            continue;
        }
        match rustix::fs::unlinkat(&dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(e).at("remove", dir.join(&name))?,
        }
    }
    Ok(())
}

/// Makes keys with the host's own program, which the zone has never seen.
fn keys(op: &mut Op<'_>, ssh: &Dir, kinds: &[&str], hostname: &str) -> Result<(), InstallError> {
    let Some(tool) = in_path("ssh-keygen") else {
        op.out.say(
            "The ssh host keys have been removed and this host has no ssh-keygen to make new ones; \
             run 'ssh-keygen -A' in the zone.",
        );
        return Ok(());
    };
    if let Some(failed) = make_keys(&tool, &op.store.root().zone_lib(op.name), ssh, kinds, hostname)? {
        op.out.warn(&format!("WARNING: {failed}"));
    }
    Ok(())
}
