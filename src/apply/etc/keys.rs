//! The keys of a zone's ssh server. The host's own ssh-keygen makes them, a program that the zone cannot have
//! changed.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::EtcError;
use crate::apply::files;
use crate::sys::naive::without;
use crate::sys::path::{At, Dir, IN_ROOT, Owned};

/// Kinds of keys of the ssh server that are made anew. No server starts without one, and not every
/// distribution makes them when they are missing.
pub const KEYS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// Opens a folder of the zone; none when there is none.
///
/// # Errors
/// [`EtcError`]: the folder cannot be opened for another reason.
pub fn folder(root: &Dir, name: &str) -> Result<Option<Dir>, EtcError> {
    match root.dir(name, IN_ROOT) {
        Ok(dir) => Ok(Some(dir)),
        Err(e) => match Errno::from_io_error(&e.cause) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) if !without("identity") => {
                Ok(None)
            }
            _ => Err(e.into()),
        },
    }
}

/// Returns the name of the file of a key.
pub fn key(kind: &str) -> String {
    format!("ssh_host_{kind}_key")
}

/// Says whether a regular file has a name.
///
/// # Errors
/// [`EtcError`]: the folder cannot be looked at.
pub fn is_file(dir: &Dir, name: &str) -> Result<bool, EtcError> {
    let stat = dir.stat(name)?;
    Ok(stat.is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile))
}

/// Finds a program of the host.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let runs =
        |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|d| d.is_absolute()).map(|d| d.join(name)).find(runs)
}

/// Gives a zone whose `/etc/ssh` has the settings of a server its first keys; returns the failures.
///
/// # Errors
/// [`EtcError`] naming the file.
pub fn first_keys(root: &Dir, state: &Path, hostname: &str) -> Result<Option<String>, EtcError> {
    let Some(ssh) = folder(root, "etc/ssh")? else { return Ok(None) };
    if !is_file(&ssh, "sshd_config")? {
        return Ok(None);
    }
    for kind in KEYS {
        if ssh.stat(key(kind))?.is_some() {
            return Ok(None);
        }
    }
    match in_path("ssh-keygen") {
        Some(tool) => make_keys(&tool, state, &ssh, &KEYS, hostname),
        None => Ok(Some("this host has no ssh-keygen to make the zone's ssh host keys".into())),
    }
}

/// Makes keys in a folder that the zone cannot reach, and puts them into the zone; returns the failures.
///
/// # Errors
/// [`EtcError`] naming the file.
pub fn make_keys(
    tool: &Path,
    state: &Path,
    ssh: &Dir,
    kinds: &[&str],
    hostname: &str,
) -> Result<Option<String>, EtcError> {
    let folder = state.join("ssh-keys");
    let clear = || match files::remove_tree(&folder) {
        Ok(()) => Ok(()),
        Err(e) => Err(EtcError::Store(e)),
    };
    clear()?;
    fs::create_dir_all(&folder).at("create", &folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).at("set mode of", &folder)?;
    let mut missing = Vec::new();
    for kind in kinds {
        let made = one_key(tool, &folder, kind, hostname).and_then(|(private, public)| {
            ssh.write(key(kind), Owned::root(0o600), &private)?;
            Ok(ssh.write(format!("{}.pub", key(kind)), Owned::root(0o644), &public)?)
        });
        if made.is_err() {
            missing.push(*kind);
        }
    }
    clear()?;
    let failed = || {
        format!("ssh host keys could not be made ({}); run 'ssh-keygen -A' in the zone", missing.join(", "))
    };
    Ok((!missing.is_empty()).then(failed))
}

#[allow(clippy::disallowed_methods)] // keys are made by the program that will read them
fn one_key(tool: &Path, folder: &Path, kind: &str, hostname: &str) -> Result<(Vec<u8>, Vec<u8>), EtcError> {
    let file = folder.join(kind);
    let status = Command::new(tool)
        .args(["-q", "-N", "", "-t", kind, "-C", &format!("root@{hostname}"), "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .at("run", tool)?;
    if !status.success() {
        return Err(std::io::Error::other(status.to_string())).at("run", tool)?;
    }
    let mut public = OsString::from(&file);
    public.push(".pub");
    let private = fs::read(&file).at("read", &file)?;
    Ok((private, fs::read(&public).at("read", Path::new(&public))?))
}
