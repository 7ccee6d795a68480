//! Which zone has which address on which link, and which link for itself: a symbolic link for each in
//! a folder of the run-time files, whose target is the claim. Made under the lock; a claim is worth
//! something only while its zone runs or is being booted.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::apply::paths::Root;
use crate::apply::running;
use crate::plan::net::LinkMode;
use crate::plan::net::link::Remains;
use crate::spec::ZoneName;
use crate::sys::process::start_time;

/// Name of the folder below that of run-time files.
const FOLDER: &str = ".net";

/// Returns the folder of the claims.
pub fn folder(root: &Root) -> PathBuf {
    root.run_dir().join(FOLDER)
}

/// Returns the path of a claim on an address.
fn address_path(folder: &Path, link: &str, vlan: u16, ip: &IpAddr) -> PathBuf {
    folder.join(link).join(if vlan == 0 { ip.to_string() } else { format!("{ip}.{vlan}") })
}

/// Returns the path of a claim on a whole link.
fn link_path(folder: &Path, link: &str) -> PathBuf {
    folder.join(link).join("link")
}

/// Returns the zone whose claim this is, if the claim is worth something and not that of `own`.
fn holder(root: &Root, path: &Path, own: &str) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    let mut words = target.to_str()?.split(' ');
    let name = ZoneName::new(words.next()?).ok()?;
    let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let lives = start_time(pid) == Some(start) || running::find(root, &name).is_some();
    (lives && name.as_str() != own).then(|| name.to_string())
}

/// Returns the zone that has an address on a link.
pub fn of_address(root: &Root, link: &str, vlan: u16, ip: &IpAddr, own: &str) -> Option<String> {
    holder(root, &address_path(&folder(root), link, vlan, ip), own)
}

/// Returns the zone that has a link for itself.
pub fn of_link(root: &Root, link: &str, own: &str) -> Option<String> {
    holder(root, &link_path(&folder(root), link), own)
}

/// The parts of a link that a zone claims.
fn paths(remains: &Remains) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = remains
        .addresses
        .iter()
        .map(|ip| address_path(&remains.claims, &remains.lower, remains.vlan, ip))
        .collect();
    if matches!(remains.way, LinkMode::Moved) || (remains.way == LinkMode::Wire && remains.vlan == 0) {
        list.push(link_path(&remains.claims, &remains.lower));
    }
    list
}

/// Claims the parts of a link. Returns the zone that has one already, with the path of its claim.
///
/// # Errors
/// The system's error.
pub fn make(root: &Root, remains: &Remains) -> io::Result<Option<(String, PathBuf)>> {
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let target = format!("{} {pid} {}", remains.zone, start_time(pid).unwrap_or(0));
    fs::create_dir_all(remains.claims.join(&remains.lower))?;
    for path in paths(remains) {
        if let Some(zone) = holder(root, &path, &remains.zone) {
            return Ok(Some((zone, path)));
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => symlink(&target, &path)?,
        }
    }
    Ok(None)
}

/// Takes the claims of a link back, and folders that are empty then.
pub fn remove(remains: &Remains) {
    for path in paths(remains) {
        let own = fs::read_link(&path)
            .is_ok_and(|t| t.to_str().is_some_and(|t| t.split(' ').next() == Some(&remains.zone)));
        if own {
            let _ = fs::remove_file(&path);
        }
    }
    // Both calls fail while other zones have claims.
    let _ = fs::remove_dir(remains.claims.join(&remains.lower));
    let _ = fs::remove_dir(&remains.claims);
}
