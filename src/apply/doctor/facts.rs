//! The doctor's observations, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::apply::zfs::holding::Holding;
use crate::plan::spl::Spl;

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The caller may do everything on the host, so the trials were made.
    pub root: bool,
    /// Release of the kernel, as uname(2) has it.
    pub kernel: String,
    /// User namespaces.
    pub users: UserNamespaces,
    /// Kinds of namespaces that zones have, by their names in `/proc/PID/ns`, which the kernel lacks.
    pub missing_namespaces: Vec<String>,
    /// Kinds of which none may be made (`user.max_KIND_namespaces` is 0).
    pub forbidden_namespaces: Vec<String>,
    /// Security modules.
    pub security: Security,
    /// Where zones lie, one for each file system.
    pub places: Vec<ZoneStorage>,
    /// Control groups.
    pub cgroup: Cgroup,
    /// The actions that a seccomp filter may have; none when the kernel has no filters.
    pub seccomp: Option<Vec<String>>,
    /// `/dev/loop-control` is there.
    pub loop_control: bool,
    /// `/dev/fuse` is there.
    pub fuse: bool,
    /// The kernel has overlay, built in, loaded or as a module that it can load.
    pub overlay: bool,
    /// Ids in the range of zones that have another owner, each as `FILE: WHO has FIRST-LAST`.
    pub foreign_ids: Vec<String>,
    /// Directories that zones inherit, with what of them is closed to others.
    pub inherited: BTreeMap<String, Inherited>,
    /// Zones with `admin` resources.
    pub administered: Vec<String>,
    /// A broker listens that gives the rights of `admin` resources.
    pub broker: bool,
    /// ZFS.
    pub zfs: ZfsOnHost,
}

/// Files of an inherited directory that are closed to users of the host without rights on them, and so to zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Files and directories.
    pub closed: Vec<PathBuf>,
    /// Programs among them that would run with rights of their own.
    pub hidden: Vec<PathBuf>,
}

/// User namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserNamespaces {
    /// The kernel has them.
    pub supported: bool,
    /// `user.max_user_namespaces`.
    pub max: Option<u64>,
    /// The result of making one with mapped ids; none when it was not tried.
    pub tried: Option<Result<(), String>>,
    /// The doctor itself runs in a user namespace that is not the host's.
    pub inside: bool,
}

/// Security modules that have a say in what zones may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Names of the active modules, in the kernel's order; empty when it does not say.
    pub modules: Vec<String>,
    /// AppArmor takes the rights of unprivileged programs in new user namespaces away.
    pub apparmor_restricts: bool,
    /// SELinux is there; whether it enforces.
    pub selinux: Option<bool>,
    /// The kernel shows its own addresses to every process.
    pub shows_addresses: bool,
}

/// A file system on which zones lie or will lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneStorage {
    /// The directory that matters, which need not be there yet.
    pub path: PathBuf,
    /// Type of its file system.
    pub kind: String,
    /// The result of mounting it with mapped ids; none when it was not tried.
    pub idmap: Option<Result<(), String>>,
    /// The file system's effect on files on it.
    pub held: Holding,
    /// It can be limited how much a zone takes of it; none when that is not known.
    pub quotas: Option<bool>,
}

/// How control groups are mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Not at all.
    #[default]
    None,
    /// Version 1 only.
    V1,
    /// Version 1 with version 2 beside it.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// Control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// How they are mounted.
    pub layout: Layout,
    /// Controllers of version 2.
    pub controllers: Vec<String>,
    /// Controllers that version 1 holds.
    pub taken: Vec<String>,
    /// A group can be kept from writing settings of the host; none when it was not tried.
    pub guards_settings: Option<bool>,
}

/// ZFS on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZfsOnHost {
    /// Release of the module; none when it is not loaded.
    pub module: Option<String>,
    /// Who can read `/proc/spl`.
    pub spl: Spl,
    /// Release of the `zfs` command, which a sparse zone runs as well; none when there is none.
    pub program: Option<String>,
    /// Why `/dev/zfs` cannot be used.
    pub device_trouble: Option<String>,
    /// Why the library cannot be used.
    pub library_trouble: Option<String>,
    /// Permissions of `/dev/zfs`.
    pub device_mode: Option<u32>,
    /// Datasets with `zoned=on` set on themselves or received.
    pub zoned: Vec<String>,
    /// Datasets of configured zones: name of the dataset, name of the zone.
    pub delegated: BTreeMap<String, String>,
    /// Names of datasets in the caches of zfs-mount-generator, with the file.
    pub mount_units: BTreeMap<String, PathBuf>,
    /// Units of ours that a drop-in has given a user namespace: file by file.
    pub private_users: Vec<PathBuf>,
    /// Why the datasets could not be listed.
    pub list_trouble: Option<String>,
}
