//! Snapshots and clones of ZFS file systems, taken for a new zone.

use std::path::Path;

use super::dataset::{MARK, mount_on};
use super::{InstallError, observe};
use crate::apply::Op;
use crate::apply::fault;
use crate::apply::zfs::system::ZfsSystem;
use crate::sys::path::{Dir, Owned};
use crate::zfs::{Dataset, PropertySource, Zfs, name::filesystem, nvlist::List};

/// Native properties that a clone takes over when they are set on its source. The others belong to the place
/// (`mountpoint`, `canmount`, `share…`), to the key, or to the administration of zones (`zoned`).
const KEPT: &[&str] = &[
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "checksum",
    "compression",
    "copies",
    "dedup",
    "devices",
    "direct",
    "dnodesize",
    "exec",
    "filesystem_limit",
    "logbias",
    "overlay",
    "prefetch",
    "primarycache",
    "quota",
    "recordsize",
    "redundant_metadata",
    "refquota",
    "relatime",
    "reservation",
    "secondarycache",
    "setuid",
    "snapdir",
    "snapshot_limit",
    "special_small_blocks",
    "sync",
    "vscan",
    "xattr",
];

/// User properties that are not the clone's: systemd would mount it, and the mark is of another zone.
const NOT_KEPT: [&str; 2] = ["org.openzfs.systemd:", "zones:"];

/// Returns the properties of a dataset, set on it or received, that a clone of it gets as well: those of
/// the usual list and `more`, and user properties.
pub(super) fn props_for_clone(d: &Dataset, more: &[&str]) -> List {
    let own =
        d.props.iter().filter(|(_, p)| matches!(p.source, PropertySource::Local | PropertySource::Received));
    let wanted = |name: &str| match name.contains(':') {
        true => !NOT_KEPT.iter().any(|start| name.starts_with(start)),
        false => KEPT.contains(&name) || more.contains(&name),
    };
    own.filter(|(name, _)| wanted(name)).map(|(name, p)| (name.clone(), p.value.clone())).collect()
}

fn failed(what: impl std::fmt::Display, why: impl std::fmt::Display) -> InstallError {
    InstallError::Clone { what: what.to_string(), why: why.to_string() }
}

/// Opens ZFS on behalf of a step.
pub(super) fn open(what: &str) -> Result<Zfs, InstallError> {
    Zfs::open().map_err(|e| failed(what, e))
}

fn taking(names: &[String]) -> String {
    format!("take snapshot {}", names.join(", "))
}

/// Takes snapshots in one moment.
pub(super) fn take(names: &[String], zone: &str) -> Result<bool, InstallError> {
    take_all(&open(&taking(names))?, names, zone)
}

pub(super) fn take_all(zfs: &dyn ZfsSystem, names: &[String], zone: &str) -> Result<bool, InstallError> {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    zfs.snapshot(&all, &[(MARK, zone)].into()).map_err(|e| failed(taking(names), e))?;
    Ok(true)
}

/// Destroys those snapshots that were taken for a zone; others of these names stay.
pub(super) fn destroy(names: &[String], zone: &str) -> Result<bool, InstallError> {
    destroy_ours(&open("destroy snapshots")?, names, zone)
}

pub(super) fn destroy_ours(zfs: &dyn ZfsSystem, names: &[String], zone: &str) -> Result<bool, InstallError> {
    let ours = |name: &str| {
        let taken = |s: &Dataset| s.text(MARK) == Some(zone) && *s.source(MARK) == PropertySource::Local;
        zfs.dataset(name).is_ok_and(|s| taken(&s))
    };
    let list: Vec<&str> = names.iter().map(String::as_str).filter(|n| ours(n)).collect();
    if list.is_empty() {
        return Ok(false);
    }
    // Deferred: a snapshot that has got a foreign clone meanwhile is destroyed with that clone.
    zfs.destroy_snaps(&list, true).map_err(|e| failed("destroy snapshots", e))?;
    Ok(true)
}

/// Lets snapshots go with the last of their clones.
pub(super) fn release(op: &mut Op<'_>, names: &[String]) -> Result<bool, InstallError> {
    let_go(&open("release snapshots")?, op, names)
}

pub(super) fn let_go(zfs: &dyn ZfsSystem, op: &mut Op<'_>, names: &[String]) -> Result<bool, InstallError> {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Err(e) = zfs.destroy_snaps(&all, true) {
        op.out.warn(&format!("WARNING: snapshots will have to be destroyed by hand: {e}"));
    }
    Ok(true)
}

/// Makes a clone the file system of the zone and mounts it.
pub(super) fn clone(op: &mut Op<'_>, snapshot: &str, name: &str, path: &Path) -> Result<bool, InstallError> {
    op.out.say(&format!("Cloning snapshot {snapshot}"));
    make_clone(&open(&format!("clone snapshot {snapshot}"))?, op, snapshot, name, path)
}

pub(super) fn make_clone(
    zfs: &dyn ZfsSystem,
    op: &mut Op<'_>,
    snapshot: &str,
    name: &str,
    path: &Path,
) -> Result<bool, InstallError> {
    let what = || format!("clone snapshot {snapshot}");
    let source = zfs.dataset(filesystem(snapshot)).map_err(|e| failed(what(), e))?;
    let mut props = props_for_clone(&source, &[]);
    for (property, value) in [("sharenfs", "off"), ("sharesmb", "off"), (MARK, op.name.as_str())] {
        props.insert(property, value);
    }
    zfs.clone(name, snapshot, &props).map_err(|e| failed(what(), e))?;
    fault::point("dataset-cloned");
    let mounted =
        place(op, path).and_then(|dir| mount_on(zfs, name, path, &dir).map_err(|e| failed(what(), e)));
    if let Err(e) = mounted {
        // Nothing is in it that its origin does not have.
        return Err(match zfs.destroy(name) {
            Ok(()) => e,
            Err(more) => failed(format!("{e}; cannot destroy {name}"), more),
        });
    }
    observe::open(op.store.root(), path)?.set_owned(Owned::root(0o700))?;
    op.out.say("Instead of copying, a ZFS clone has been created for this zone.");
    Ok(true)
}

/// Makes the mount point.
fn place(op: &Op<'_>, path: &Path) -> Result<Dir, InstallError> {
    let (parent, base) = observe::open_parent(op.store.root(), path)?;
    Ok(parent.make_dir(Path::new(&base), Owned::root(0o700))?.0)
}
