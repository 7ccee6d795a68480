//! The facts of the machine from which a zone is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::plan::spl::Spl;
use crate::plan::step::Node;
use crate::plan::{confine, dataset, limits, net, zfs};

/// The facts of the machine that a boot depends on.
#[derive(Clone, Debug, Default)]
pub struct BootFacts {
    /// The zone's brand, when the host runs no zones of it.
    pub foreign_brand: Option<String>,
    /// The host's folder that becomes the zone's root.
    pub root: PathBuf,
    /// The host name that the zone's root has for it, when it has one.
    pub hostname: Option<String>,
    /// A boot has put addresses into the zone's hosts file.
    pub named: bool,
    /// Lines of the zone's uid map.
    pub uid_map: String,
    /// Lines of the zone's gid map.
    pub gid_map: String,
    /// The host's mechanisms for limits.
    pub host: limits::Host,
    /// The kernel's mechanisms for the confinement of processes.
    pub kernel: confine::Kernel,
    /// Folder for the zone's cgroup, when the host has cgroup v2.
    pub cgroup: Option<PathBuf>,
    /// Inherited directories that are symbolic links in the zone's root: they need no mount.
    pub linked: Vec<String>,
    /// Programs of inherited directories that run with rights of their own, for those where that is wanted.
    pub programs: BTreeMap<String, Vec<String>>,
    /// Directories of the zone's root that its profile counts only where they are there.
    pub present: BTreeSet<String>,
    /// The kind of each `special`.
    pub specials: BTreeMap<String, Special>,
    /// The zone's root in which a `special` lies, when it lies in one.
    pub within: BTreeMap<String, PathBuf>,
    /// Other paths of `fs` resources that lead into the root of a zone.
    pub in_zones: BTreeSet<String>,
    /// The kind of each `special` of type `zfs`.
    pub datasets: BTreeMap<String, zfs::DatasetFacts>,
    /// The kind of each `dataset`.
    pub delegations: BTreeMap<String, dataset::DatasetLookup>,
    /// The datasets that the zones of this host are configured to have.
    pub claims: Vec<dataset::DatasetClaim>,
    /// The differences from the zone's last boot.
    pub notes: Vec<String>,
    /// Major and minor number of `/dev/zfs`.
    pub control: Option<(u32, u32)>,
    /// The zone's run-time folder.
    pub run: PathBuf,
    /// Nodes that each `device match` has found.
    pub devices: BTreeMap<String, Vec<Node>>,
    /// The zone has a cgroup, and the kernel a program that keeps it from writing settings of the host.
    pub guards_settings: bool,
    /// The host's `/proc/spl`, which shows the names of everybody's datasets.
    pub spl: Spl,
    /// The host has `/dev/fuse`.
    pub fuse: bool,
    /// Links and addresses of the host.
    pub net: net::NetFacts,
    /// The init program of the zone's root that can run here, when there is one.
    pub own_init: Option<String>,
    /// The root of the zone has systemd, which cannot run here.
    pub idle_systemd: bool,
}

/// The kind of a `special` on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Special {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A block device.
    Block,
    /// Something else.
    Other,
    /// It cannot be reached; the system's reason.
    Missing(String),
}
