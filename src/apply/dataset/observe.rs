//! The facts of a dataset that is to be delegated, and the other zones that claim it. Reads only.

use std::collections::BTreeMap;
use std::path::Path;

use crate::apply::store::FileStore;
use crate::apply::zfs::system::ZfsSystem;
use crate::apply::zfs::{
    Asker, chain, is_locked, limits, may_be_mounted, not_imported, shows_snapshots, too_old,
};
use crate::plan::dataset::{
    CHILD_LOCKS, ClaimKind, DatasetClaim, DatasetLookup, FilesystemMember, FilesystemTree, ZONE_MARK,
    is_within,
};
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::spec::value::ByteSize;
use crate::sys::made;
use crate::sys::mountinfo::{self, MountEntry};
use crate::zfs::{self, Dataset, DatasetError, DatasetKind, ListError, Mountpoint, PropertySource};

/// The property that decides whether snapshots are visible below `.zfs`.
pub const SNAPDIR: &str = "snapdir";

/// The property that says which block devices a volume has.
pub const VOLMODE: &str = "volmode";

/// Reads a dataset with everything below it. `locks` are the properties of it whose values are noted.
pub fn look_up(asker: &Asker<'_>, name: &str, locks: &[String]) -> DatasetLookup {
    if let Some(version) = too_old() {
        return DatasetLookup::Unknown(format!(
            "the ZFS of this host ({version}) cannot give datasets to zones; install OpenZFS 2.2.11, 2.3.9, 2.4.4 or newer"
        ));
    }
    match asker.zfs() {
        Ok(zfs) => look_up_in(zfs, name, locks),
        Err(why) => DatasetLookup::Unknown(why.to_owned()),
    }
}

fn look_up_in(zfs: &dyn ZfsSystem, name: &str, locks: &[String]) -> DatasetLookup {
    match zfs.dataset(name) {
        Ok(d) if d.is_snapshot => DatasetLookup::Snapshot,
        Ok(d) if d.kind == Some(DatasetKind::Filesystem) => match tree(zfs, &d, locks) {
            Ok(tree) => DatasetLookup::Filesystem(Box::new(tree)),
            Err(e) => DatasetLookup::Unknown(chain(&e)),
        },
        Ok(_) => DatasetLookup::Volume,
        Err(DatasetError::DatasetNotFound(_)) => match not_imported(zfs, name) {
            Some(why) => DatasetLookup::Unknown(format!("dataset does not exist: {why}")),
            None => DatasetLookup::Missing,
        },
        Err(e) => DatasetLookup::Unknown(chain(&e)),
    }
}

fn tree(zfs: &dyn ZfsSystem, d: &Dataset, locks: &[String]) -> Result<FilesystemTree, ListError> {
    let (mut members, mut table, mut hide, mut volmodes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // A filesystem that inherits follows the dataset itself.
    if !(hides(d) && *d.source(SNAPDIR) == PropertySource::Local) {
        hide.push(d.name.clone());
    }
    // The host's table may be long, and is read only when there is something to be found in it.
    let pool = zfs::name::pool(&d.name);
    let (altroot, read_only) = (zfs.altroot(pool), zfs.is_read_only(pool));
    if descend(zfs, d, altroot.as_deref(), &mut members, &mut hide, &mut volmodes)? {
        table = mountinfo::mounts().unwrap_or_default();
    }
    // The same check as that of zfs mount; the kernel refuses anything else.
    members.iter_mut().for_each(|m| m.limits.read_only |= read_only);
    members[0].locked_values = values(d, locks.iter().map(String::as_str));
    let mounted = table.iter().filter(|m| is_of(m, &d.name)).map(|m| m.point.shown().to_string());
    Ok(FilesystemTree {
        inherits: match d.source("mountpoint") {
            PropertySource::Inherited(from) => Some(from.clone()),
            _ => None,
        },
        zoned: d.zoned() && *d.source("zoned") == PropertySource::Local,
        mounted: mounted.collect(),
        read_only,
        cannot_hide_snapshots: shows_snapshots(),
        hide,
        volmodes,
        members,
    })
}

/// Says whether the snapshots of a filesystem are hidden below `.zfs`.
pub fn hides(d: &Dataset) -> bool {
    d.word(SNAPDIR).as_deref() == Some("disabled")
}

/// Says whether a mount is of a dataset, of one below it, or of a snapshot of those.
pub fn is_of(mount: &MountEntry, dataset: &str) -> bool {
    let source = mount.source.to_string_lossy();
    let name = source.split_once('@').map_or(&*source, |(name, _)| name);
    mount.kind == "zfs" && is_within(name, dataset)
}

/// Says whether a property is set on the dataset itself, or came with a stream.
fn says(d: &Dataset, property: &str) -> bool {
    matches!(d.source(property), PropertySource::Local | PropertySource::Received)
}

/// Returns a dataset with its `volmode`, when it has one of its own.
fn volmode(d: &Dataset) -> Option<(String, String)> {
    Some((d.name.clone(), d.word(VOLMODE).filter(|_| says(d, VOLMODE))?))
}

/// Collects a filesystem and those below it, and of the latter those that say themselves that their snapshots
/// are to be seen, and what of all, volumes too, says its `volmode` itself. Says whether one may be mounted.
fn descend(
    zfs: &dyn ZfsSystem,
    d: &Dataset,
    altroot: Option<&str>,
    members: &mut Vec<FilesystemMember>,
    shown: &mut Vec<String>,
    volmodes: &mut Vec<(String, String)>,
) -> Result<bool, ListError> {
    members.push(member(d, altroot));
    volmodes.extend(volmode(d));
    let mut mounted = may_be_mounted(zfs, d);
    for child in zfs.children(&d.name) {
        match child {
            Ok(child) if child.kind == Some(DatasetKind::Filesystem) => {
                if says(&child, SNAPDIR) && !hides(&child) {
                    shown.push(child.name.clone());
                }
                mounted |= descend(zfs, &child, altroot, members, shown, volmodes)?;
            }
            Ok(volume) => volmodes.extend(volmode(&volume)),
            // Destroyed a moment ago.
            Err(ListError::DatasetNotFound(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(mounted)
}

/// Says whether one of these has a mount on the host.
pub fn any_mounted<'f>(found: impl IntoIterator<Item = &'f DatasetLookup>) -> bool {
    found.into_iter().any(|f| matches!(f, DatasetLookup::Filesystem(tree) if !tree.mounted.is_empty()))
}

fn member(d: &Dataset, altroot: Option<&str>) -> FilesystemMember {
    let mountpoint = match d.mountpoint() {
        Mountpoint::Path(path) => path,
        Mountpoint::Legacy => "legacy".to_owned(),
        Mountpoint::None => "none".to_owned(),
    };
    let mounts = d.word("canmount").as_deref() == Some("on");
    let point = match d.mountpoint().below(altroot) {
        Mountpoint::Path(path) if mounts => Some(path),
        _ => None,
    };
    // The administrator of a zone can write any mark; a zonepath is never zoned.
    let marked = !d.zoned() && *d.source(ZONE_MARK) == PropertySource::Local;
    FilesystemMember {
        name: d.name.clone(),
        guid: d.guid,
        mountpoint,
        locked_values: values(d, CHILD_LOCKS.iter().copied()),
        given: false,
        point,
        no_overlay: d.word("overlay").as_deref() == Some("off"),
        locked: is_locked(d),
        limits: limits(d),
        zone: d.text(ZONE_MARK).filter(|_| marked).map(str::to_owned),
    }
}

/// Warns of filesystems that would be shared: none of a zone is, and ZFS' own library does not let them be.
pub fn shares(found: &DatasetLookup) -> Vec<String> {
    let DatasetLookup::Filesystem(tree) = found else { return Vec::new() };
    let mut warnings = Vec::new();
    for member in tree.members.iter().filter(|_| tree.zoned) {
        for property in ["sharenfs", "sharesmb"] {
            if let Some(value) = member.locked_values.get(property).filter(|v| *v != "off") {
                warnings.push(format!(
                    "dataset {}: {property} is {}, which has no effect while a zone has it and shares it once it is reclaimed",
                    member.name,
                    value.shown()
                ));
            }
        }
    }
    warnings
}

fn values<'p>(d: &Dataset, properties: impl Iterator<Item = &'p str>) -> BTreeMap<String, String> {
    // Each boot sets these again.
    properties.filter(|p| ![SNAPDIR, VOLMODE].contains(p)).map(|p| (p.to_owned(), value(d, p))).collect()
}

/// Returns the value of a property as it is shown to people.
pub fn value(d: &Dataset, property: &str) -> String {
    // An inherited value is on from the first boot on.
    if property == "zoned" && *d.source(property) != PropertySource::Local {
        return "on".to_owned();
    }
    if let Some(word) = d.word(property) {
        return word;
    }
    match (property, d.number(property)) {
        ("quota" | "reservation" | "refquota" | "refreservation", Some(0)) => "none".to_owned(),
        ("filesystem_limit" | "snapshot_limit", Some(u64::MAX)) => "none".to_owned(),
        (
            "quota" | "reservation" | "refquota" | "refreservation" | "recordsize" | "special_small_blocks",
            Some(n),
        ) => ByteSize(n).to_string(),
        (_, Some(n)) => n.to_string(),
        ("sharenfs" | "sharesmb", None) => d.text(property).unwrap_or("off").to_owned(),
        (_, None) => d.text(property).unwrap_or("-").to_owned(),
    }
}

/// Returns the number of the control device, `/dev/zfs`: major and minor.
pub fn control() -> Option<(u32, u32)> {
    let number = |text: &str| {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let shown = made::read("/sys/class/misc/zfs/dev").ok();
    shown.as_deref().and_then(number).or_else(|| misc(&made::read("/proc/misc").ok()?))
}

/// Finds the number in the list of misc devices, whose major number is 10.
fn misc(list: &str) -> Option<(u32, u32)> {
    let mut words = list.lines().map(|line| line.split_whitespace());
    words.find_map(|mut w| Some((10, w.next()?.parse().ok().filter(|_| w.next() == Some("zfs"))?)))
}

/// Returns all datasets that the configured zones of this host are to have, and with `zonepaths` those that hold
/// their zonepaths. These must be mounted; a caller that asks about datasets without a mount does not need them.
///
/// # Errors
/// The store cannot be read.
pub fn claims(store: &FileStore, zonepaths: bool) -> Result<Vec<DatasetClaim>, StoreError> {
    let table = if zonepaths { mountinfo::mounts().unwrap_or_default() } else { Vec::new() };
    let mut claims = Vec::new();
    for entry in store.catalog()? {
        let zone = entry.name.to_string();
        let mut claim =
            |dataset: String, kind| claims.push(DatasetClaim { zone: zone.clone(), dataset, kind });
        if !entry.zonepath.is_empty() {
            let path = store.root().host_path(Path::new(&entry.zonepath));
            let holder = mountinfo::mount_at(&table, &path).filter(|m| m.kind == "zfs");
            if let Some(dataset) = holder.and_then(|m| m.source.to_str()) {
                claim(dataset.to_owned(), ClaimKind::Zonepath);
            }
        }
        for (dataset, delegated) in entry.datasets {
            claim(dataset, if delegated { ClaimKind::Delegated } else { ClaimKind::Fs });
        }
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_control_device() {
        assert_eq!(misc(" 57 fuse\n249 zfs\n"), Some((10, 249)));
        assert_eq!(misc("249 zfsx\nx zfs\n"), None);
    }

    #[test]
    fn mounts_of_a_tree() {
        let mount = |kind: &str, source: &str| MountEntry {
            id: 1,
            device: (0, 1),
            root: "/".into(),
            point: "/x".into(),
            kind: kind.into(),
            source: source.into(),
        };
        for inside in ["tank/a", "tank/a/b", "tank/a@s", "tank/a/b@s"] {
            assert!(is_of(&mount("zfs", inside), "tank/a"), "{inside}");
        }
        assert!(!is_of(&mount("zfs", "tank/ab"), "tank/a") && !is_of(&mount("zfs", "tank"), "tank/a"));
        assert!(!is_of(&mount("tmpfs", "tank/a"), "tank/a"));
    }
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod observe_tests;
