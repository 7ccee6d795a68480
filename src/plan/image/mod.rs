//! The image of a zone: what the zone is while it runs, decided, as one value.
//!
//! ```text
//! spec + facts ── decide ──> image ── order ──> the steps of a boot
//!                              └──── kept in the run-time folder, for as long as the zone runs
//! ```
//!
//! An image is not derived a second time: a running zone changes the facts (its datasets are mounted, its addresses
//! answer, its cpus are taken), and its spec may have been edited. The guard of its datasets and every process that
//! enters it go by the image.
//!
//! Further actions of a boot, which depend on the state of the host at that moment, are [`BootChanges`]: a dataset
//! that the host has mounted is taken from it once, and the zone may mount its datasets as it likes from then on.

mod decide;
mod error;
mod facts;
pub(super) mod known;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::confine::{self, Confinement};
use super::limits::{SchedPolicy, Setting};
use super::net::ZoneLink;
use super::profile::{self, Profile};
use super::step::{DatasetStep, FileStep, InitProgram, InsideStep, Mount, MountSource, Node};
use super::{dataset, options, spl};
use crate::spec::schema::ResourceKind;
use crate::spec::{Props, ZoneSpec};

pub use decide::{IDLE_SYSTEMD, decide, foreign_brand, init_words, zfs_fs};
pub use error::PlanError;
pub use facts::{BootFacts, Special};

/// A word of one of this release's own tables.
type KnownWord = &'static str;

/// The desired state of a running zone.
///
/// An unknown field is an error, as a missing one is: it may restrict something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneImage {
    /// Which ids of the host it has.
    pub ids: IdMaps,
    /// Its cgroup; none on a host without cgroup v2.
    pub cgroup: Option<ZoneCgroup>,
    /// Its share of the machine.
    pub limits: ZoneLimits,
    /// The datasets that it administers.
    pub datasets: Vec<Delegation>,
    /// Its host name and identity.
    pub names: ZoneIdentity,
    /// Its mounts, beside the file systems of the kernel.
    pub mounts: ZoneMounts,
    /// Its device nodes.
    pub nodes: Vec<Node>,
    /// The covered parts of the kernel's file systems.
    pub covers: ProcCovers,
    /// Its network links.
    pub links: Vec<ZoneLink>,
    /// The profile of a read-only root; none where its root is writable, also where that was asked for at the boot.
    pub profile: Option<Profile>,
    /// The confinement of its processes.
    pub confinement: Confinement,
    /// The capabilities that its processes can have, one bit for each number.
    pub capabilities: u64,
    /// Its first program, as the plan of the boot had it.
    pub init: InitCommand,
}

/// The ids of a zone, as lines of `/proc/PID/uid_map`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMaps {
    /// Of users.
    pub uid_map: String,
    /// Of groups.
    pub gid_map: String,
}

/// The cgroup of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneCgroup {
    /// Folder in the host's tree of cgroup v2.
    pub path: PathBuf,
    /// A program refuses its processes to write settings of the host.
    pub guarded: bool,
}

/// The limits of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneLimits {
    /// Of its cgroup, in order.
    pub group: Vec<Setting>,
    /// Of its ipc namespace, below `/proc/sys/kernel`.
    pub ipc: Vec<Setting>,
    /// Bytes that each process may lock into memory.
    pub locked: Option<u64>,
    /// How its processes are scheduled.
    pub policy: SchedPolicy,
    /// Of namespaces and watches: files below `/proc/sys/user`, and values.
    #[serde(deserialize_with = "confine::known_counts")]
    pub counts: Vec<(KnownWord, u32)>,
}

/// A dataset that a zone administers, with all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Its name.
    pub name: String,
    /// The properties that the zone cannot change on the dataset itself.
    pub locks: Vec<String>,
    /// The properties that it cannot change on everything below it.
    pub below: Vec<String>,
}

/// The names of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneIdentity {
    /// Its host name.
    pub host: String,
    /// Its hosts and resolver files are written, where they are not its own.
    pub written: bool,
    /// Its `/etc` follows the host's, whose programs it has.
    pub follows_host: bool,
    /// Its host id.
    pub host_id: Option<u32>,
}

/// The mounts of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneMounts {
    /// The host's folder that is its root.
    pub root: PathBuf,
    /// The parts of the root that differ from their surroundings.
    pub parts: Vec<RootPart>,
    /// InheritedDir directories below which all else may lie.
    pub first: Vec<InheritedDir>,
    /// Directories in memory.
    pub memory: Vec<MemoryDir>,
    /// All that may lie below one of those, or below each other, in order.
    pub then: Vec<OrderedMount>,
}

/// A directory of the root that stays as it is, or read-only, whatever is around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootPart {
    /// The directory, as the zone sees it.
    #[serde(deserialize_with = "profile::known_part")]
    pub dir: KnownWord,
    /// It can be written to.
    pub writable: bool,
}

/// A directory of the host's software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InheritedDir {
    /// The directory, the same in host and zone.
    pub dir: String,
    /// Programs of it that run with rights of their own, by paths below it; none: no program does.
    pub programs: Option<Vec<String>>,
}

/// A directory in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryDir {
    /// Where.
    #[serde(deserialize_with = "super::order::known_memory")]
    pub dir: KnownWord,
    /// Permission bits of its top.
    pub mode: u32,
    /// How much of the machine's memory it may hold, in percent.
    pub percent: u32,
}

/// Something that is mounted in its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderedMount {
    /// An inherited directory.
    Inherit(InheritedDir),
    /// An `fs` resource.
    Fs(Box<Mount>),
}

/// The covered parts of the zone's `/proc`. `/sys` is read-only in every zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcCovers {
    /// Folders that are empty.
    #[serde(deserialize_with = "known_folders")]
    pub hidden: Vec<KnownWord>,
    /// Folders that are read-only.
    #[serde(deserialize_with = "known_folders")]
    pub fixed: Vec<KnownWord>,
}

/// The first program of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitCommand {
    /// Which.
    pub program: InitProgram,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Actions of a boot that depend on the state of host and datasets at that moment. They are no part of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootChanges {
    /// The zone's run-time folder.
    pub run: PathBuf,
    /// The first changes on the host.
    pub first: Option<FileStep>,
    /// How the datasets are taken from the host.
    pub withdraw: Vec<DatasetStep>,
    /// The mounts of the datasets' filesystems, which the zone can change when it runs.
    pub mounts: Vec<InsideStep>,
}

/// A zone, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedZone {
    /// The image.
    pub image: ZoneImage,
    /// The further actions of a boot.
    pub at_boot: BootChanges,
    /// Settings of the spec that are left out, harmlessly.
    pub warnings: Vec<String>,
}

/// The part of an image that holds for processes that enter a running zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRules {
    /// The confinement of a process that enters.
    pub confinement: Confinement,
    /// The ZFS requests that the zone may make: none about other datasets, nor about locked properties of its own.
    pub datasets: Vec<Delegation>,
    /// The folders of the host that the zone can write to, but for its root.
    pub shared: Vec<String>,
}

impl From<ZoneImage> for ZoneRules {
    fn from(image: ZoneImage) -> Self {
        let ZoneImage { confinement, datasets, mounts, .. } = image;
        let shared = mounts.then.iter().flat_map(|placed| match placed {
            OrderedMount::Fs(mount) => mount.shared(),
            OrderedMount::Inherit(_) => Vec::new(),
        });
        Self { confinement, datasets, shared: shared.collect() }
    }
}

impl ZoneRules {
    /// Derives it from the spec that a zone was booted with, for zones that have no image.
    pub fn of_spec(spec: &ZoneSpec) -> Self {
        // The host's settings at the boot have been decided then; none of them changes the rest.
        let confinement = Confinement::of(spec, confine::Kernel::default());
        Self {
            confinement: confinement.unwrap_or_else(|_| Confinement::strictest()),
            datasets: delegated(spec),
            shared: shared(spec),
        }
    }
}

/// Returns the datasets that a spec delegates, with what of them is locked.
pub fn delegated(spec: &ZoneSpec) -> Vec<Delegation> {
    let with_locks = |name: String| Delegation {
        locks: dataset::locks(spec, &name),
        below: dataset::locks_below(spec, &name),
        name,
    };
    dataset::names(spec).into_iter().map(with_locks).collect()
}

/// Returns the folders of the host that the `fs` resources of a spec let the zone write to.
pub fn shared(spec: &ZoneSpec) -> Vec<String> {
    spec.stored(ResourceKind::Fs).iter().flat_map(writable).collect()
}

fn writable(fs: &Props) -> Vec<String> {
    let kind = fs.text("type").unwrap_or_default();
    let read_only = options::parse(kind, fs.list("options")).is_ok_and(|o| o.read_only);
    let special = fs.text("special").filter(|_| kind == "lofs" && !read_only);
    let upper = fs.list("options").flat_map(|o| o.split(',')).filter_map(|o| o.strip_prefix("upperdir="));
    special.into_iter().chain(upper).map(str::to_owned).collect()
}

impl Mount {
    /// Returns the folders of the host that the zone can write to by it.
    fn shared(&self) -> Vec<String> {
        let special =
            (self.source == MountSource::Bind && !self.options.read_only).then(|| self.special.clone());
        let upper = self.options.data.iter().filter(|(name, _)| name == "upperdir");
        special.into_iter().chain(upper.filter_map(|(_, value)| value.clone())).collect()
    }
}

/// Reads folders of `/proc` that zones have covered.
fn known_folders<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<KnownWord>, D::Error> {
    known::many(from, &[spl::FOLDER, confine::SETTINGS_FOLDER])
}
