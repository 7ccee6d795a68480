//! `zoneadm reclaim`: a dataset that a zone has had goes back to the host.
//!
//! The administrator of a zone could write anything into its datasets: programs that run with the rights of the
//! host's root, device nodes, mount points over the host's system. As long as `zoned` is on, none of that matters.
//! So they are searched before `zoned` is turned off, through mounts that no other process sees and in which no file
//! takes effect.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use thiserror::Error;

use super::observe::{SNAPDIR, VOLMODE, hides};
use super::walk::{WalkEntry, walk};
use super::withdraw::{StillMounted, free, mount};
use super::{attached_datasets, observe, take_back};
use crate::apply::store::FileStore;
use crate::apply::zfs::system::ZfsSystem;
use crate::apply::zfs::{chain, is_locked};
use crate::apply::{Notice, running};
use crate::plan::dataset::{ClaimKind, is_within};
use crate::plan::options::MountOptions;
use crate::plan::reclaim::{Danger, Mend, NAMED, ReclaimFinding, bad_mountpoint, leads, mend};
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::sys::mountinfo::{self, MountEntry};
use crate::zfs::{
    self, Dataset, DatasetKind, ListError, Mountpoint, PropertySource, Zfs, index_number, nvlist::NvValue,
};

/// Properties by which systemd's generator of mounts would act on values that the zone has set.
const SYSTEMD: &str = "org.openzfs.systemd:";

/// So deep and so many may empty folders be.
const DEPTH: u32 = 8;
const MANY: usize = 256;

/// Files between two reports.
const REPORT: u64 = 4096;

/// Why a dataset is not reclaimed.
#[derive(Debug, Error)]
pub enum ReclaimError {
    /// ZFS cannot be asked, or refuses.
    #[error("{}", chain(&**.0))]
    Zfs(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A volume, a snapshot, or a dataset that is not zoned.
    #[error("{dataset} {why}")]
    Wrong {
        /// The dataset.
        dataset: String,
        /// Its kind.
        why: String,
    },
    /// A zone has it or is to have it.
    #[error("{dataset} is in use: {why}")]
    InUse {
        /// The dataset.
        dataset: String,
        /// Whose it is, and the way out.
        why: String,
    },
    /// A process or the host has it mounted.
    #[error("{dataset} is in use: {source}")]
    Mounted {
        /// The dataset.
        dataset: String,
        /// The user of it, or of a dataset below it.
        source: StillMounted,
    },
    /// Dangers were found and reported.
    #[error(
        "{dataset} is not reclaimed because of the above; put it right and try again, or use -F to reclaim it with what was found made harmless"
    )]
    Found {
        /// The dataset.
        dataset: String,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

fn zfs_error(error: impl std::error::Error + Send + Sync + 'static) -> ReclaimError {
    ReclaimError::Zfs(Box::new(error))
}

/// Turns `zoned` off on a dataset and all below it when no danger was found, or with `force`. Reports its findings
/// and changes.
///
/// # Errors
/// [`ReclaimError`]; without [`ReclaimError::Zfs`], nothing has been changed.
pub fn reclaim(store: &FileStore, out: &mut dyn Notice, name: &str, force: bool) -> Result<(), ReclaimError> {
    let zfs = Zfs::open().map_err(zfs_error)?;
    reclaim_of(&zfs, store, out, name, force)
}

/// Does the same in a ZFS that is open.
fn reclaim_of(
    zfs: &dyn ZfsSystem,
    store: &FileStore,
    out: &mut dyn Notice,
    name: &str,
    force: bool,
) -> Result<(), ReclaimError> {
    let tree = subject(zfs, name)?;
    unused(store, zfs, name)?;
    let others = other_mount_targets(zfs, &tree[0].name).map_err(zfs_error)?;
    let altroot = zfs.altroot(zfs::name::pool(name));
    let own: Vec<MountTarget> = tree.iter().filter_map(|d| MountTarget::of(d, altroot.as_deref())).collect();
    let mut findings = mountpoints(store, &own, &others)?;
    let mut places = others;
    places.extend(own);
    for d in tree.iter().filter(|d| d.kind == Some(DatasetKind::Filesystem)) {
        let prompt = d.text("keylocation").filter(|l| !matches!(*l, "none" | "prompt"));
        if let Some(location) = prompt.filter(|_| *d.source("keylocation") == PropertySource::Local) {
            findings.push(ReclaimFinding::Key { dataset: d.name.clone(), location: location.to_owned() });
        }
        files(zfs, d, &places, out, &mut findings);
    }
    for finding in &findings {
        out.warn(&finding.to_string());
    }
    if !findings.is_empty() && !force {
        return Err(ReclaimError::Found { dataset: name.to_owned() });
    }
    // Looking through it took a while.
    unused(store, zfs, name)?;
    if !findings.is_empty() {
        make_harmless(zfs, &tree, &findings, out)?;
    }
    let hidden: BTreeSet<String> =
        mend(&findings).into_iter().filter(|m| m.property == SNAPDIR).map(|m| m.dataset).collect();
    for d in &tree {
        tidy(zfs, d, hidden.contains(&d.name), out)?;
    }
    volumes(zfs, &tree, out)?;
    // The children first: none of them is left behind when this is cut short.
    for d in tree.iter().rev() {
        if *d.source("zoned") == PropertySource::Local || *d.source("zoned") == PropertySource::Received {
            zfs.inherit(&d.name, "zoned", false).map_err(zfs_error)?;
        }
    }
    out.say(&format!("{name} is the host's again: zoned is off, and nothing of it is mounted yet."));
    Ok(())
}

/// Reads the dataset with everything below it, each before its children.
fn subject(zfs: &dyn ZfsSystem, name: &str) -> Result<Vec<Dataset>, ReclaimError> {
    let wrong = |why: String| ReclaimError::Wrong { dataset: name.to_owned(), why };
    let d = zfs.dataset(name).map_err(zfs_error)?;
    if d.is_snapshot || d.kind != Some(DatasetKind::Filesystem) {
        return Err(wrong("is not a file system".into()));
    }
    if !d.zoned() {
        return Err(wrong("is not zoned: it is the host's already".into()));
    }
    if let PropertySource::Inherited(from) = d.source("zoned") {
        return Err(wrong(format!("is zoned because {from} is; reclaim {from}")));
    }
    if let Some((above, _)) = name.rsplit_once('/')
        && zfs.dataset(above).is_ok_and(|d| d.zoned())
    {
        return Err(wrong(format!("would stay zoned because {above} is; reclaim {above}")));
    }
    let mut tree = Vec::new();
    descend(zfs, d, &mut tree).map_err(zfs_error)?;
    Ok(tree)
}

fn descend(zfs: &dyn ZfsSystem, d: Dataset, tree: &mut Vec<Dataset>) -> Result<(), ListError> {
    let name = d.name.clone();
    let volume = d.kind == Some(DatasetKind::Volume);
    tree.push(d);
    if volume {
        return Ok(());
    }
    for child in zfs.children(&name) {
        match child {
            Ok(child) => descend(zfs, child, tree)?,
            // Destroyed a moment ago.
            Err(ListError::DatasetNotFound(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Refuses a dataset that a zone has, is to have, or that is mounted. The attachments of a dead zone are taken back.
fn unused(store: &FileStore, zfs: &dyn ZfsSystem, name: &str) -> Result<(), ReclaimError> {
    let in_use = |why: String| ReclaimError::InUse { dataset: name.to_owned(), why };
    let root = store.root();
    let overlaps = |other: &str| is_within(other, name) || is_within(name, other);
    for zone in running::candidates(root) {
        if !attached_datasets(root, &zone).iter().any(|noted| overlaps(noted)) {
            continue;
        }
        let lock = store.try_lock(&zone, "zoneadm reclaim")?;
        if lock.is_none() || running::find(root, &zone).is_some() {
            return Err(in_use(format!("zone '{zone}' runs with it; halt it with zoneadm -z {zone} halt")));
        }
        take_back(root, &zone);
    }
    let claims = observe::claims(store, true)?;
    let mine = claims.iter().find(|c| match c.kind {
        ClaimKind::Delegated => overlaps(&c.dataset),
        ClaimKind::Fs => is_within(&c.dataset, name),
        ClaimKind::Zonepath => is_within(&c.dataset, name),
    });
    if let Some(claim) = mine {
        let zone = &claim.zone;
        return Err(in_use(match claim.kind {
            ClaimKind::Delegated => format!(
                "zone '{zone}' is configured to have {0}; to take it away, type:\nzonecfg -z {zone} 'remove dataset name={0}'",
                claim.dataset
            ),
            ClaimKind::Fs | ClaimKind::Zonepath => format!("zone '{zone}' has {}", claim.dataset),
        }));
    }
    free(root, zfs, name).map_err(|source| ReclaimError::Mounted { dataset: name.to_owned(), source })
}

/// Where a filesystem would be mounted.
struct MountTarget {
    dataset: String,
    path: PathBuf,
    zoned: bool,
}

impl MountTarget {
    fn of(d: &Dataset, altroot: Option<&str>) -> Option<Self> {
        let never = d.kind != Some(DatasetKind::Filesystem) || d.word("canmount").as_deref() == Some("off");
        match d.mountpoint().below(altroot) {
            Mountpoint::Path(path) if !never => {
                Some(Self { dataset: d.name.clone(), path: path.into(), zoned: d.zoned() })
            }
            _ => None,
        }
    }
}

/// Looks at where the host would mount everything.
fn mountpoints(
    store: &FileStore,
    own: &[MountTarget],
    others: &[MountTarget],
) -> Result<Vec<ReclaimFinding>, ReclaimError> {
    let table = mountinfo::mounts().unwrap_or_default();
    let zonepaths: BTreeSet<String> = store.catalog()?.into_iter().map(|e| e.zonepath).collect();
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for MountTarget { dataset, path: place, .. } in own {
        let path = place.to_string_lossy().into_owned();
        let dataset = dataset.clone();
        let place = place.as_path();
        let at = |other: &&MountTarget| !other.zoned && other.path == place;
        let bad = bad_mountpoint(&path)
            .map(str::to_owned)
            .or_else(|| others.iter().find(at).map(|other| format!("is that of {}, too", other.dataset)))
            .or_else(|| {
                let first = seen.insert(place.components().collect::<PathBuf>());
                (!first).then(|| "is that of another file system of it, too".into())
            })
            .or_else(|| {
                let holds = |z: &&String| !z.is_empty() && Path::new(z).starts_with(place);
                let within = |z: &&String| !z.is_empty() && place.starts_with(z);
                zonepaths.iter().find(|z| holds(z) || within(z)).map(|z| format!("meets the zonepath {z}"))
            })
            .or_else(|| on_host(place, &table))
            .or_else(|| {
                // A link in it would be on the way, once it is mounted.
                let mounted = |other: &MountTarget| table.iter().any(|m| m.point == other.path);
                let above = |other: &&MountTarget| place.starts_with(&other.path) && !mounted(other);
                let other = others.iter().find(above)?;
                Some(format!("lies below that of {}, which is not mounted now", other.dataset))
            });
        if let Some(why) = bad {
            findings.push(ReclaimFinding::Mountpoint { dataset, path, why });
        }
    }
    Ok(findings)
}

/// Returns the mount points of all other filesystems.
fn other_mount_targets(zfs: &dyn ZfsSystem, not: &str) -> Result<Vec<MountTarget>, ListError> {
    fn collect(
        zfs: &dyn ZfsSystem,
        name: &str,
        altroot: Option<&str>,
        not: &str,
        out: &mut Vec<MountTarget>,
    ) -> Result<(), ListError> {
        for child in zfs.children(name) {
            let child = match child {
                Ok(child) => child,
                Err(ListError::DatasetNotFound(_)) => continue,
                Err(e) => return Err(e),
            };
            if child.name == not || child.kind != Some(DatasetKind::Filesystem) {
                continue;
            }
            out.extend(MountTarget::of(&child, altroot));
            collect(zfs, &child.name, altroot, not, out)?;
        }
        Ok(())
    }
    let mut out = Vec::new();
    for pool in zfs.pools().unwrap_or_default().into_keys().filter(|pool| pool != not) {
        let altroot = zfs.altroot(&pool);
        out.extend(zfs.dataset(&pool).ok().and_then(|d| MountTarget::of(&d, altroot.as_deref())));
        collect(zfs, &pool, altroot.as_deref(), not, &mut out)?;
    }
    Ok(out)
}

/// Describes the host's file at a path that should not be covered.
fn on_host(path: &Path, table: &[MountEntry]) -> Option<String> {
    if let Some(mount) = table.iter().find(|m| m.point == path) {
        return Some(format!("has {} mounted on it", mount.source.shown()));
    }
    if let Some(link) = path.ancestors().find(|p| p.symlink_metadata().is_ok_and(|m| m.is_symlink())) {
        return Some(format!("leads through the symbolic link {}", link.shown()));
    }
    match path.symlink_metadata() {
        Ok(m) if !m.is_dir() => Some("is not a directory".into()),
        Ok(_) if has_files(path, DEPTH) => {
            Some("is a directory with files in it, which would be hidden".into())
        }
        _ => None,
    }
}

/// Says whether there is more below a folder than empty folders: those are where something was mounted.
fn has_files(path: &Path, depth: u32) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.take(MANY).enumerate().any(|(number, entry)| {
        let folder = entry.file_type().is_ok_and(|t| t.is_dir());
        !folder || depth == 0 || number + 1 == MANY || has_files(&entry.path(), depth - 1)
    })
}

/// Looks for dangerous files in a filesystem and in its snapshots.
fn files(
    zfs: &dyn ZfsSystem,
    d: &Dataset,
    places: &[MountTarget],
    out: &mut dyn Notice,
    findings: &mut Vec<ReclaimFinding>,
) {
    let off = |property: &str| d.number(property) == Some(0);
    let covered = |danger: Danger| off(danger.property());
    if is_locked(d) {
        let why = "its key is not loaded".to_owned();
        findings.push(ReclaimFinding::Unseen { source: d.name.clone(), why });
        return;
    }
    let own = places.iter().find(|p| p.dataset == d.name).map(|place| place.path.clone());
    let mut links = Vec::new();
    let mut link = |path: &Path| {
        let Some(own) = &own else { return };
        let path = own.join(path.strip_prefix("/").unwrap_or(path));
        let led = places.iter().filter(|p| p.dataset != d.name && leads(&path, &p.path));
        let led: Vec<&str> = led.map(|p| p.dataset.as_str()).collect();
        // A zone can make any number of them.
        if !led.is_empty() && links.len() < NAMED {
            let (path, led) = (path.shown().to_string(), led.join(", "));
            links.push(format!("would have the symbolic link {path} below it, on the way to {led}"));
        }
    };
    look_through(&d.name, &covered, &mut link, out, findings);
    if let Some(path) = &own {
        let path = path.to_string_lossy();
        let finding =
            |why| ReclaimFinding::Mountpoint { dataset: d.name.clone(), path: path.to_string(), why };
        findings.extend(links.into_iter().map(finding));
    }
    for snapshot in zfs.snapshots(&d.name, false).flatten() {
        // Mounted below .zfs, a snapshot follows no property.
        look_through(&snapshot.name, &|_| false, &mut |_| {}, out, findings);
    }
}

fn look_through(
    source: &str,
    covered: &dyn Fn(Danger) -> bool,
    link: &mut dyn FnMut(&Path),
    out: &mut dyn Notice,
    findings: &mut Vec<ReclaimFinding>,
) {
    let careful = MountOptions { read_only: true, no_suid: true, no_exec: true, ..MountOptions::default() };
    let (mut named, mut more, mut kinds, mut looked) = (0, 0, Vec::new(), 0);
    let mut visit = |entry: &WalkEntry<'_>| {
        looked += 1;
        if looked % REPORT == 0 {
            out.progress(looked, 0, source);
        }
        if FileType::from_raw_mode(entry.stat.st_mode) == FileType::Symlink {
            link(&entry.path());
        }
        for danger in dangers(entry).into_iter().filter(|danger| !covered(*danger)) {
            if named < NAMED {
                named += 1;
                let path = entry.path().shown().to_string();
                findings.push(ReclaimFinding::File { source: source.to_owned(), path, danger });
            } else {
                more += 1;
                if !kinds.contains(&danger) {
                    kinds.push(danger);
                }
            }
        }
        ControlFlow::Continue(())
    };
    let why = match mount(source, &careful, None) {
        Ok(tree) => walk(&tree, &mut visit).err().map(|(path, e)| format!("{}: {e}", path.shown())),
        Err(e) => Some(e.to_string()),
    };
    if more > 0 {
        findings.push(ReclaimFinding::More { source: source.to_owned(), count: more, dangers: kinds });
    }
    if let Some(why) = why {
        findings.push(ReclaimFinding::Unseen { source: source.to_owned(), why });
    }
}

fn dangers(entry: &WalkEntry<'_>) -> Vec<Danger> {
    let mode = entry.stat.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::BlockDevice | FileType::CharacterDevice => vec![Danger::Device],
        FileType::RegularFile => {
            let mut list = Vec::new();
            if mode & 0o4000 != 0 {
                list.push(Danger::SetUid);
            }
            // Without execution for the group the bit once meant locking.
            if mode & 0o2010 == 0o2010 {
                list.push(Danger::SetGid);
            }
            if entry.has_capabilities() {
                list.push(Danger::Capabilities);
            }
            list
        }
        _ => Vec::new(),
    }
}

/// Sets the properties that make the findings harmless.
fn make_harmless(
    zfs: &dyn ZfsSystem,
    tree: &[Dataset],
    findings: &[ReclaimFinding],
    out: &mut dyn Notice,
) -> Result<(), ReclaimError> {
    let off = |m: &Mend| {
        let is = |d: &Dataset| d.name == m.dataset && d.word("canmount").as_deref() == Some("off");
        m.property == "canmount" && tree.iter().any(is)
    };
    for m in mend(findings).into_iter().filter(|m| !off(m)) {
        let value = index_number(m.property, m.value).unwrap_or(0);
        match zfs.set_props(&m.dataset, &[(m.property, NvValue::from(value))].into()) {
            Ok(()) => out.say(&format!("{}: {}={}", m.dataset, m.property, m.value)),
            // Releases before 2.3 always show snapshots to a process that knows the path.
            Err(e) if m.property == SNAPDIR => out.warn(&format!(
                "{}: its snapshots cannot be hidden ({e}); destroy those that are named above",
                m.dataset
            )),
            Err(e) => return Err(zfs_error(e)),
        }
    }
    Ok(())
}

/// Takes `volmode=none` from a dataset without volumes, which the boot has set for the zone. Volumes stay without
/// block devices: with them the kernel and udev of the host would read the zone's data at once.
fn volumes(zfs: &dyn ZfsSystem, tree: &[Dataset], out: &mut dyn Notice) -> Result<(), ReclaimError> {
    let Some(top) = tree.first() else { return Ok(()) };
    if top.word(VOLMODE).as_deref() != Some("none") || *top.source(VOLMODE) != PropertySource::Local {
        return Ok(());
    }
    let name = &top.name;
    if tree.iter().any(|d| d.kind == Some(DatasetKind::Volume)) {
        out.say(&format!(
            "{name}: {VOLMODE} stays none, so the host reads nothing of what the zone has written to its volumes; \
             for their block devices, type: zfs inherit {VOLMODE} '{name}'"
        ));
        return Ok(());
    }
    zfs.inherit(name, VOLMODE, false).map_err(zfs_error)?;
    out.say(&format!("{name}: {VOLMODE} cleared, it was none for the zone"));
    Ok(())
}

/// Removes properties by which the zone may have made the host act on its own (shares, mounts of systemd),
/// permissions that it may have given to users of the host, and `snapdir=disabled`, unless snapshots are to stay
/// `hidden`.
fn tidy(zfs: &dyn ZfsSystem, d: &Dataset, hidden: bool, out: &mut dyn Notice) -> Result<(), ReclaimError> {
    if hides(d) && *d.source(SNAPDIR) == PropertySource::Local && !hidden {
        zfs.inherit(&d.name, SNAPDIR, false).map_err(zfs_error)?;
        out.say(&format!("{}: {SNAPDIR} cleared, it was disabled for the zone", d.name));
    }
    // The ids are those of the host, whatever the zone took them for.
    let allowed = zfs.permissions(&d.name).map_err(zfs_error)?;
    if !allowed.is_empty() {
        zfs.revoke(&d.name, &allowed).map_err(zfs_error)?;
        let whose = allowed.names().map(|name| name.shown().to_string()).collect::<Vec<_>>().join(" ");
        out.say(&format!("{}: permissions that were given by zfs allow taken away: {whose}", d.name));
    }
    for (property, p) in &d.props {
        let set = matches!(p.source, PropertySource::Local | PropertySource::Received);
        let shared = matches!(property.as_str(), "sharenfs" | "sharesmb") && p.value.as_str() != Some("off");
        if set && (shared || property.starts_with(SYSTEMD)) {
            zfs.inherit(&d.name, property, false).map_err(zfs_error)?;
            let was = p.value.as_str().unwrap_or_default().shown();
            out.say(&format!("{}: {property} cleared, it was {was}", d.name));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "reclaim_tests.rs"]
mod reclaim_tests;
