//! `clone --with-datasets`: the delegated datasets of a zone, cloned for another one.
//!
//! They are snapshotted with all below them in one moment, and cloned from the top down. Their files
//! have the host ids of the zone that they were made in, so those of a clone are given the ids of the
//! new zone: blocks of files stay shared.

use std::path::Path;

use super::{InstallError, dataset, snapshots};
use crate::apply::Op;
use crate::apply::fault;
use crate::apply::zfs::system::ZfsSystem;
use crate::plan::dataset::{is_within, names};
use crate::plan::install::CloneTarget;
use crate::spec::idmap::{IdMap, IdRange};
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::tree::{IdShift, shift_ids};
use crate::zfs::{self, Dataset, DatasetError, DatasetKind, Zfs, name};

/// Native properties that the zone administers itself, beside those that any clone gets.
const OF_THE_ZONE: &[&str] = &["canmount", "mountpoint", "readonly", "snapdev", "volmode"];

fn delegated_error(why: String) -> InstallError {
    InstallError::Impossible(format!("--with-datasets: {why}"))
}

/// Pairs the datasets to clone: each dataset of the source becomes that of the target at the same place in its
/// configuration.
///
/// # Errors
/// [`InstallError::Impossible`] with everything that is in the way of the first pair.
pub(super) fn trees(op: &Op<'_>, source: &ZoneSpec) -> Result<Vec<CloneTarget>, InstallError> {
    let (theirs, ours) = (names(source), names(op.spec));
    if theirs.is_empty() {
        return Err(delegated_error(format!("zone '{}' has no dataset resource", source.name)));
    }
    if theirs.len() != ours.len() {
        return Err(delegated_error(format!(
            "zone '{}' has {} dataset resources and zone '{}' {}; each needs one to become",
            source.name,
            theirs.len(),
            op.name,
            ours.len()
        )));
    }
    let zfs = Zfs::open().map_err(|e| delegated_error(e.to_string()))?;
    pairs(&zfs, theirs.into_iter().zip(ours))
}

/// Checks each pair against ZFS, and those before it.
pub(super) fn pairs(
    zfs: &dyn ZfsSystem,
    names: impl Iterator<Item = (String, String)>,
) -> Result<Vec<CloneTarget>, InstallError> {
    let mut trees: Vec<CloneTarget> = Vec::new();
    for (from, to) in names {
        if let Some(other) = trees.iter().find(|t| overlap(&t.to, &to)) {
            return Err(delegated_error(format!("{to} and {} overlap", other.to)));
        }
        let members = check(zfs, &from, &to)?;
        trees.push(CloneTarget { from, to, members });
    }
    Ok(trees)
}

fn overlap(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

/// Checks one pair; returns the datasets to clone, outer ones first.
fn check(zfs: &dyn ZfsSystem, from: &str, to: &str) -> Result<Vec<String>, InstallError> {
    let is_filesystem = |d: &Dataset| d.kind == Some(DatasetKind::Filesystem) && !d.is_snapshot;
    match zfs.dataset(from) {
        Ok(d) if is_filesystem(&d) => {}
        Ok(_) => return Err(delegated_error(format!("{from} is not a file system"))),
        Err(e) => return Err(delegated_error(e.to_string())),
    }
    if !name::is_filesystem(to) || to.len() > name::NAME_MAX {
        return Err(delegated_error(format!("'{to}' is not a name for a dataset")));
    }
    if name::pool(from) != name::pool(to) {
        return Err(delegated_error(format!("{to} is in another pool than {from}, and a clone cannot be")));
    }
    if overlap(from, to) {
        return Err(delegated_error(format!("{to} and {from} overlap")));
    }
    match zfs.dataset(to) {
        Err(DatasetError::DatasetNotFound(_)) => {}
        Err(e) => return Err(delegated_error(e.to_string())),
        Ok(_) => {
            return Err(delegated_error(format!(
                "{to} exists already; name a dataset that does not, or leave the option out"
            )));
        }
    }
    let above = to.rsplit_once('/').map_or(to, |(above, _)| above);
    if !zfs.dataset(above).is_ok_and(|d| is_filesystem(&d)) {
        return Err(delegated_error(format!(
            "{above}, below which {to} would be made, is no file system; use zfs create -p {above}"
        )));
    }
    let mut members = Vec::new();
    collect(zfs, from, &mut members)?;
    for member in &members {
        let d = zfs.dataset(member).map_err(|e| delegated_error(e.to_string()))?;
        if d.word("keystatus").as_deref() == Some("unavailable") {
            return Err(delegated_error(format!(
                "the key of {member} is not loaded; use zfs load-key {member}"
            )));
        }
        let longest = to.len() + member.len() - from.len();
        if longest > name::NAME_MAX {
            return Err(delegated_error(format!("the clone of {member} would have too long a name")));
        }
    }
    Ok(members)
}

fn collect(zfs: &dyn ZfsSystem, name: &str, list: &mut Vec<String>) -> Result<(), InstallError> {
    list.push(name.to_owned());
    let mut children = Vec::new();
    for child in zfs.children(name) {
        children.push(child.map_err(|e| delegated_error(e.to_string()))?.name);
    }
    children.sort();
    children.iter().try_for_each(|child| collect(zfs, child, list))
}

fn failed(what: &str, why: impl std::fmt::Display) -> InstallError {
    InstallError::Impossible(format!("cannot clone {what}: {why}"))
}

/// Clones a tree.
///
/// # Errors
/// [`InstallError`] naming the dataset; [`destroy_tree`] removes those made before.
pub(super) fn clone_tree(
    op: &mut Op<'_>,
    from: &str,
    snapshot: &str,
    to: &str,
    source: &ZoneName,
) -> Result<bool, InstallError> {
    let zfs = snapshots::open("clone datasets")?;
    let maps = maps(op, source)?;
    clone_members(&zfs, op, from, snapshot, to, maps.as_ref())
}

pub(super) fn clone_members(
    zfs: &dyn ZfsSystem,
    op: &mut Op<'_>,
    from: &str,
    snapshot: &str,
    to: &str,
    maps: Option<&(IdMap, IdMap)>,
) -> Result<bool, InstallError> {
    let mut members = Vec::new();
    collect(zfs, from, &mut members)?;
    for member in &members {
        let origin = format!("{member}@{snapshot}");
        // Made after the snapshot: it is not part of it.
        if zfs.dataset(&origin).is_err() {
            continue;
        }
        let d = zfs.dataset(member).map_err(|e| failed(member, e))?;
        let clone = format!("{to}{}", &member[from.len()..]);
        let mut props = snapshots::props_for_clone(&d, OF_THE_ZONE);
        if d.kind == Some(DatasetKind::Filesystem) {
            // Properties that the zone may not change are not taken over either.
            props.insert("sharenfs", "off");
            props.insert("sharesmb", "off");
        }
        if member == from {
            props.insert("zoned", 1u64);
        }
        zfs.clone(&clone, &origin, &props).map_err(|e| failed(member, e))?;
        fault::point("member-cloned");
        if let (Some(DatasetKind::Filesystem), Some((theirs, ours))) = (d.kind, maps) {
            shift(op, zfs, &clone, theirs, ours)?;
        }
    }
    op.out.say(&format!("Dataset {from} has been cloned as {to}."));
    Ok(true)
}

/// Returns the ids of both zones; none when files need not change.
fn maps(op: &Op<'_>, source: &ZoneName) -> Result<Option<(IdMap, IdMap)>, InstallError> {
    let stored = op.store.load(source)?.ok_or(StoreError::NoZone)?;
    // Never booted: there is no file of it yet.
    let Some(theirs) = op.store.known_id_map(source, &stored.spec)? else { return Ok(None) };
    let ours = op.store.id_map(op.name, op.spec)?;
    Ok((theirs != ours).then_some((theirs, ours)))
}

fn shift(
    op: &mut Op<'_>,
    zfs: &dyn ZfsSystem,
    name: &str,
    theirs: &IdMap,
    ours: &IdMap,
) -> Result<(), InstallError> {
    let tree = dataset::mount(zfs, name, None).map_err(|why| failed(name, why))?;
    let top = dataset::top_of(&tree, Path::new(name))?;
    let other = |from: &[IdRange], to: &[IdRange], id: u32| {
        let inside = from.iter().find_map(|r| r.zone(id))?;
        to.iter().find_map(|r| r.host(inside))
    };
    let ids = IdShift {
        uid: &|id| other(&theirs.uid, &ours.uid, id),
        gid: &|id| other(&theirs.gid, &ours.gid, id),
    };
    let what = format!("changing owners in {name}");
    let out = &mut *op.out;
    shift_ids(&top, &ids, &mut |done| {
        if done.is_multiple_of(512) {
            fault::point("ids-shifting");
            out.progress(done, 0, &what);
        }
    })?;
    Ok(())
}

/// Destroys what [`clone_tree`] has made: datasets at these names that are clones of these snapshots.
///
/// # Errors
/// [`InstallError`] naming the dataset.
pub(super) fn destroy_tree(from: &str, snapshot: &str, to: &str) -> Result<bool, InstallError> {
    destroy_clones(&snapshots::open("destroy clones of datasets")?, from, snapshot, to)
}

pub(super) fn destroy_clones(
    zfs: &dyn ZfsSystem,
    from: &str,
    snapshot: &str,
    to: &str,
) -> Result<bool, InstallError> {
    let mut clones = Vec::new();
    if zfs.dataset(to).is_err() {
        return Ok(false);
    }
    collect(zfs, to, &mut clones)?;
    for clone in clones.iter().rev() {
        let origin = format!("{from}{}@{snapshot}", &clone[to.len()..]);
        let ours = zfs.dataset(clone).is_ok_and(|d| d.origin.as_deref() == Some(origin.as_str()));
        if ours {
            destroy(zfs, clone).map_err(|e| failed(clone, e))?;
        }
    }
    Ok(true)
}

fn destroy(zfs: &dyn ZfsSystem, name: &str) -> Result<(), zfs::DestroyError> {
    for _ in 0..dataset::TRIES {
        match zfs.destroy(name) {
            Err(e) if dataset::is_busy(&e) => std::thread::sleep(dataset::BETWEEN),
            other => return other,
        }
    }
    zfs.destroy(name)
}
