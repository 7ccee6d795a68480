//! Hands a dataset over from the host to a zone.
//!
//! Setting `zoned` through ZFS' own library unmounts first; so do we, for a mount of the host would keep the zone
//! from mounting it. The unmounted filesystems are mounted again when the delegation fails after all.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::mount::UnmountFlags;
use thiserror::Error;

use super::observe::{SNAPDIR, VOLMODE, is_of};
use super::registry::mounted;
use super::walk::walk;
use crate::apply::fault;
use crate::apply::paths::Root;
use crate::apply::zfs::system::ZfsSystem;
use crate::apply::zfs::{any_may_be_mounted, limits, mounted_by_others};
use crate::plan::options::MountOptions;
use crate::plan::zfs::{CurrentMount, MountOwner};
use crate::spec::idmap::{IdRange, PRIVATE_FIRST};
use crate::spec::shown::Show;
use crate::sys::made;
use crate::sys::mount::{Attrs, FsError, MountFd, NewFs};
use crate::sys::mountinfo::{self, MountEntry};
use crate::sys::path::{PathError, reason};
use crate::zfs::{DatasetError, InheritError, SetPropFailure, Zfs, index_number, nvlist::NvValue};

/// How long an unmounted filesystem may stay in use.
const LETS_GO: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(10);

/// How many files are checked for owners that the zone does not have.
const LOOKS: u32 = 20_000;

/// The zone's ids on the host.
#[derive(Clone, Debug)]
pub struct ZoneIds {
    /// The zone.
    pub zone: String,
    /// User and group of the zone's root.
    pub root: (u32, u32),
    /// Ranges of users and of groups.
    pub maps: (Vec<IdRange>, Vec<IdRange>),
}

impl ZoneIds {
    fn has(&self, uid: u32, gid: u32) -> bool {
        let within =
            |ranges: &[IdRange], id: u32| ranges.iter().any(|r| id >= r.outside && id - r.outside < r.count);
        within(&self.maps.0, uid) && within(&self.maps.1, gid)
    }
}

/// A dataset that a zone is to have.
#[derive(Debug)]
pub struct DelegationRequest<'a> {
    /// Its name.
    pub dataset: &'a str,
    /// It was zoned before.
    pub zoned: bool,
    /// The filesystems whose snapshots are to be hidden.
    pub hide: &'a [String],
    /// The `volmode` that it is to have, when it has another.
    pub volmode: Option<&'a str>,
    /// Datasets below it that have a `volmode` of their own, which is another.
    pub volumes: &'a [String],
    /// The filesystems whose root directories are given to the zone's root.
    pub members: &'a [String],
}

/// The report about the datasets that a zone has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandoverReport {
    /// For the administrator.
    pub warnings: Vec<String>,
    /// Filesystems whose root directories could not be given to the zone.
    pub not_given: Vec<String>,
}

/// Why a dataset cannot be handed over.
#[derive(Debug, Error)]
pub enum WithdrawError {
    /// A mount of the host cannot be taken away.
    #[error(
        "{} is mounted on {} and cannot be unmounted: {}",
        filesystem.shown(),
        point.shown(),
        .user.as_ref().map_or_else(|| reason(.source), ToString::to_string)
    )]
    Unmount {
        /// The filesystem or snapshot.
        filesystem: String,
        /// Where it is mounted.
        point: PathBuf,
        /// The mount or process that keeps it busy, where it is known.
        user: Option<MountUser>,
        /// The system's reason.
        source: io::Error,
    },
    /// It is mounted elsewhere.
    #[error(transparent)]
    Mounted(#[from] StillMounted),
    /// A property cannot be set.
    #[error("cannot set '{property}' property for ZFS dataset '{dataset}': {source}")]
    Set {
        /// The property.
        property: &'static str,
        /// The dataset.
        dataset: String,
        /// The reason of ZFS.
        source: SetPropFailure,
    },
    /// A property cannot be inherited.
    #[error("cannot inherit '{property}' property for ZFS dataset '{dataset}': {source}")]
    Inherit {
        /// The property.
        property: &'static str,
        /// The dataset.
        dataset: String,
        /// The reason of ZFS.
        source: InheritError,
    },
    /// The release of ZFS has no such word for a property.
    #[error("{property}={word} is not known")]
    NotKnown {
        /// The property.
        property: &'static str,
        /// The word.
        word: String,
    },
    /// The dataset cannot be looked at.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The host's table of mounts cannot be read.
    #[error(transparent)]
    Mounts(#[from] PathError),
}

impl WithdrawError {
    /// Returns a function that names the property and the dataset that could not be set.
    fn set(property: &'static str, dataset: &str) -> impl FnOnce(SetPropFailure) -> Self {
        move |source| Self::Set { property, dataset: dataset.to_owned(), source }
    }
}

/// A filesystem of a dataset is mounted somewhere.
#[derive(Debug, Error)]
#[error("'{dataset}' is mounted {holder}")]
pub struct StillMounted {
    /// The filesystem.
    pub dataset: String,
    /// The mount point, and the process that has it.
    pub holder: CurrentMount,
}

/// A user that keeps a mount of the host busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountUser {
    /// Another mount below it.
    Mount {
        /// The source of the mount.
        source: PathBuf,
        /// Where.
        point: PathBuf,
    },
    /// A process.
    Process {
        /// Its number.
        pid: i32,
        /// Its name.
        name: String,
        /// The way in which it uses it.
        path: PathBuf,
    },
}

impl fmt::Display for MountUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { source, point } => write!(f, "{} is mounted on {}", source.shown(), point.shown()),
            Self::Process { pid, name, path } => {
                write!(f, "process {pid} ({}) uses {}; end it first", name.shown(), path.shown())
            }
        }
    }
}

/// The root directory of a filesystem could not be given to the zone. Its text is a warning: the zone boots.
#[derive(Debug, Error)]
#[error("dataset {dataset}: {action}: {}", reason(.source))]
pub struct NotGiven {
    /// The filesystem.
    pub dataset: String,
    /// The failed action, and its consequence for the zone.
    pub action: &'static str,
    /// The reason.
    pub source: io::Error,
}

impl NotGiven {
    /// Returns a function that names the filesystem and the failed action.
    fn of<E: Into<io::Error>>(dataset: &str, action: &'static str) -> impl Fn(E) -> Self {
        move |e| Self { dataset: dataset.to_owned(), action, source: e.into() }
    }
}

/// Hands a dataset over: unmounts it and all below it, sets `zoned`, hides snapshots, removes the block devices of
/// volumes, and gives the root directories to the zone's root.
///
/// # Errors
/// [`WithdrawError`]. The host has its mounts back then, unless `zoned` was set already.
pub fn withdraw(
    root: &Root,
    zfs: &dyn ZfsSystem,
    wanted: &DelegationRequest<'_>,
    ids: &ZoneIds,
) -> Result<HandoverReport, WithdrawError> {
    let DelegationRequest { dataset, zoned, hide, volmode, volumes, members } = *wanted;
    let mut undo = Vec::new();
    let mut unmounted = Ok(());
    // The host's table of mounts may be long: it is read only when a filesystem of the dataset may be in it.
    if any_may_be_mounted(zfs, dataset) {
        undo = unmount_all(zfs, dataset)?;
        unmounted = free(root, zfs, dataset).map_err(WithdrawError::from);
    }
    fault::point("unmounted");
    let taken = unmounted.and_then(|()| {
        // `zoned` is set already. To set it again would write to the pool at every boot, and fail on a read-only
        // pool.
        if zoned {
            return Ok(());
        }
        // Set also where `zoned` is inherited or received: only a local value makes ZFS refuse changes of the quota
        // from inside.
        let set = zfs.set_props(dataset, &[("zoned", NvValue::from(1u64))].into());
        set.map_err(WithdrawError::set("zoned", dataset))
    });
    if let Err(why) = taken {
        mount_again(zfs, &undo);
        return Err(why);
    }
    fault::point("zoned");
    for name in hide {
        // A release without this word must fail here: no other value may be set instead.
        let disabled = number_of(SNAPDIR, "disabled")?;
        zfs.set_props(name, &[(SNAPDIR, NvValue::from(disabled))].into())
            .map_err(WithdrawError::set(SNAPDIR, name))?;
    }
    devices(zfs, dataset, volmode, volumes)?;
    let mut report = HandoverReport::default();
    for member in members {
        match give(zfs, member, ids) {
            Ok(warning) => report.warnings.extend(warning),
            Err(warning) => {
                report.warnings.push(warning.to_string());
                report.not_given.push(member.clone());
            }
        }
    }
    // Our own mounts for the check must be gone before the zone mounts them, and until `zoned` was set the host
    // could mount them again.
    if !members.is_empty() || !zoned {
        free(root, zfs, dataset)?;
    }
    Ok(report)
}

/// Sets `volmode`, which gives the volumes of a dataset their block devices or takes them away.
fn devices(
    zfs: &dyn ZfsSystem,
    dataset: &str,
    volmode: Option<&str>,
    volumes: &[String],
) -> Result<(), WithdrawError> {
    let set = |name: &str, number: u64| {
        zfs.set_props(name, &[(VOLMODE, NvValue::from(number))].into())
            .map_err(WithdrawError::set(VOLMODE, name))
    };
    if let Some(mode) = volmode {
        set(dataset, number_of(VOLMODE, mode)?)?;
    }
    for name in volumes {
        // Setting the value adds or removes devices at once; inheriting it does not in every release. So it is set
        // first and inherited then.
        let now = zfs.dataset(dataset)?.number(VOLMODE).unwrap_or(0);
        set(name, now)?;
        zfs.inherit(name, VOLMODE, false).map_err(|source| WithdrawError::Inherit {
            property: VOLMODE,
            dataset: name.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Returns the number of a word of a property.
fn number_of(property: &'static str, word: &str) -> Result<u64, WithdrawError> {
    index_number(property, word).ok_or_else(|| WithdrawError::NotKnown { property, word: word.to_owned() })
}

/// A mount of the host that was unmounted, and can be mounted again.
struct Unmounted {
    source: String,
    point: PathBuf,
}

fn unmount_all(zfs: &dyn ZfsSystem, dataset: &str) -> Result<Vec<Unmounted>, WithdrawError> {
    let mut done = Vec::new();
    loop {
        let table = mountinfo::mounts()?;
        // The last mount lies on top.
        let Some(mount) = table.iter().rev().find(|m| is_of(m, dataset)) else { return Ok(done) };
        let source = mount.source.to_string_lossy().into_owned();
        if let Err(e) = rustix::mount::unmount(&mount.point, UnmountFlags::NOFOLLOW) {
            let (point, user) = (mount.point.clone(), user(mount, &table));
            mount_again(zfs, &done);
            return Err(WithdrawError::Unmount { filesystem: source, point, user, source: e.into() });
        }
        done.push(Unmounted { source, point: mount.point.clone() });
    }
}

/// Says what keeps a mount busy: another mount below it, or a process.
fn user(mount: &MountEntry, table: &[MountEntry]) -> Option<MountUser> {
    let below = |m: &&MountEntry| m.id != mount.id && m.point.starts_with(&mount.point);
    if let Some(other) = table.iter().rev().find(below) {
        return Some(MountUser::Mount { source: other.source.clone(), point: other.point.clone() });
    }
    let device = std::fs::metadata(&mount.point).ok()?.dev();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let links = ["cwd", "root", "exe"].map(|l| process.path().join(l)).into_iter();
        let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mapped = std::fs::read_dir(process.path().join("map_files")).into_iter().flatten().flatten();
        for link in links.chain(open.chain(mapped).map(|e| e.path())) {
            // Never opened, only looked at: the path may lead to any file.
            if std::fs::metadata(&link).is_ok_and(|m| m.dev() == device) {
                let name = made::read(process.path().join("comm")).unwrap_or_default();
                let path = std::fs::read_link(&link).unwrap_or_default();
                return Some(MountUser::Process { pid, name: name.trim().to_owned(), path });
            }
        }
    }
    None
}

/// Mounts again the filesystems that were unmounted, with the options in their properties. Snapshots come back by
/// themselves.
fn mount_again(zfs: &dyn ZfsSystem, list: &[Unmounted]) {
    for Unmounted { source, point } in list.iter().rev().filter(|u| !u.source.contains('@')) {
        let Ok(d) = zfs.dataset(source) else { continue };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A failure leaves the mount to the administrator; the first error is reported.
        let _ = mount(source, &limits(&d), point.to_str()).map_err(|e| e.source).and_then(|tree| {
            let target = rustix::fs::open(point, flags, Mode::empty())?;
            tree.attach(target.as_fd())
        });
    }
}

/// Waits until no process has a mount of the tree.
///
/// # Errors
/// [`StillMounted`]: the process that has one.
pub fn free(root: &Root, zfs: &dyn ZfsSystem, dataset: &str) -> Result<(), StillMounted> {
    let start = Instant::now();
    while let Some(busy) = mounted(zfs, dataset) {
        if start.elapsed() > LETS_GO {
            let nobody = || CurrentMount { point: String::new(), who: MountOwner::Nobody };
            let holder = mounted_by_others(root, &[&busy], None).map_or_else(nobody, |(_, holder)| holder);
            return Err(StillMounted { dataset: busy, holder });
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(())
}

/// The mount point that ZFS is given for filesystems that a zone can write to: no snapshot is ever mounted below it.
pub const NOWHERE: &str = "/dev/null";

/// Makes a detached mount of a filesystem with the options in its properties. `point` is where the host has it.
///
/// # Errors
/// [`FsError`].
pub fn mount(name: &str, options: &MountOptions, point: Option<&str>) -> Result<MountFd, FsError> {
    let mut attrs = Attrs::empty();
    for (on, attr) in [
        (options.read_only, Attrs::RDONLY),
        (options.no_suid, Attrs::NOSUID),
        (!options.devices, Attrs::NODEV),
        (options.no_exec, Attrs::NOEXEC),
        (options.no_atime, Attrs::NOATIME),
    ] {
        attrs.set(attr, on);
    }
    let fs = NewFs::open("zfs")?;
    fs.set("source", name)?;
    // Below this the host mounts snapshots when a process looks at them; the kernel takes no comma here.
    fs.set("mntpoint", point.filter(|p| !p.contains(',')).unwrap_or(NOWHERE))?;
    if options.read_only {
        fs.flag("ro")?;
    }
    fs.mount(attrs)
}

/// Gives the root directory of a filesystem that the zone has mounted to the zone's root, unless a user of the zone
/// owns it. Returns a warning.
///
/// # Errors
/// [`NotGiven`]: the directory is not the zone's.
pub fn adopt(member: &str, mount: Option<OwnedFd>, ids: &ZoneIds) -> Result<Option<String>, NotGiven> {
    const GIVE: &str = "cannot give its root directory to the zone";
    let tree = MountFd::from_fd(mount.ok_or(io::ErrorKind::NotFound).map_err(NotGiven::of(member, GIVE))?);
    let stat = rustix::fs::fstat(&tree).map_err(NotGiven::of(member, GIVE))?;
    // The zone may have the overflow id there (65534).
    if ids.has(stat.st_uid, stat.st_gid) {
        return Ok(None);
    }
    let (uid, gid) = (Uid::from_raw(ids.root.0), Gid::from_raw(ids.root.1));
    rustix::fs::chownat(&tree, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .map_err(NotGiven::of(member, GIVE))?;
    Ok(Zfs::open().ok().and_then(|zfs| foreign(&zfs, member, &tree, ids)))
}

/// Gives the root directory of a filesystem to the zone's root unless a user of the zone owns it, and nothing else:
/// only the administrator knows the meaning of other owners in a tree. Returns a warning.
fn give(zfs: &dyn ZfsSystem, member: &str, ids: &ZoneIds) -> Result<Option<String>, NotGiven> {
    const LOOK: &str = "cannot look at its root directory, which the zone's root may not be able to use";
    const GIVE: &str =
        "cannot give its root directory to the zone, which the zone's root may not be able to use";
    // Nothing in it is trusted, and nothing but the top is touched.
    let careful = MountOptions { no_suid: true, no_exec: true, ..MountOptions::default() };
    let tree = mount(member, &careful, None).or_else(|e| match e.source.raw_os_error() {
        // The pool is imported read-only.
        Some(libc::EROFS) => mount(member, &MountOptions { read_only: true, ..careful }, None),
        _ => Err(e),
    });
    let tree = tree.map_err(|e| NotGiven::of(member, LOOK)(e.source))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(&tree, ".", flags, Mode::empty()).map_err(NotGiven::of(member, LOOK))?;
    let stat = rustix::fs::fstat(&top).map_err(NotGiven::of(member, LOOK))?;
    if ids.has(stat.st_uid, stat.st_gid) {
        return Ok(None);
    }
    rustix::fs::fchown(&top, Some(Uid::from_raw(ids.root.0)), Some(Gid::from_raw(ids.root.1)))
        .map_err(NotGiven::of(member, GIVE))?;
    Ok(foreign(zfs, member, &tree, ids))
}

/// Looks for a file whose owner the zone does not have.
fn foreign(zfs: &dyn ZfsSystem, member: &str, tree: &MountFd, ids: &ZoneIds) -> Option<String> {
    let (mut left, mut found) = (LOOKS, None);
    let walked = walk(tree, &mut |entry| {
        if !ids.has(entry.stat.st_uid, entry.stat.st_gid) {
            let path = entry.path();
            // `.zfs` and the mount points of children are not files of the zone; skip them.
            let child = path.to_str().is_some_and(|p| zfs.dataset(&format!("{member}{p}")).is_ok());
            if !child && path != Path::new("/.zfs") {
                found = Some((path, entry.stat.st_uid, entry.stat.st_gid));
            }
        }
        left -= 1;
        if found.is_some() || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // An unreadable directory cannot be read by the zone either.
    let (path, uid, gid) = found.filter(|_| walked.is_ok())?;
    let (zone_uid, zone_gid) = ids.root;
    let zone = &ids.zone;
    // Ids in the range of private zones are recognized without `-f`.
    let from = if uid.min(gid) < PRIVATE_FIRST { "-f 0 " } else { "" };
    Some(format!(
        "dataset {member}: {} and perhaps other files belong to ids of the host ({uid}:{gid}), which are \
         nobody in the zone, whose root is {zone_uid}:{zone_gid} there; with the zone halted, use zoneadm -z {zone} \
         shift-ids {from}{member}",
        path.shown()
    ))
}

#[cfg(test)]
#[path = "withdraw_tests.rs"]
mod withdraw_tests;
