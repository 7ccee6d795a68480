//! The steps of a boot, as data: each can be printed, noted in the journal and undone.

mod dataset;
mod file;
mod inside;
mod limit;
mod mount;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::image::IdMaps;
use super::net::link::{Remains, ZoneLink};
use super::options::MountOptions;

pub use dataset::DatasetStep;
pub use file::FileStep;
pub use inside::InsideStep;
pub use limit::LimitStep;
pub use mount::MountStep;

/// A device node to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Path below the zone's `/dev`, such as `null` or `zvol/tank/vol`.
    pub path: String,
    /// Block device, else character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
}

/// The kind of file system of an `fs` resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A directory or file of the host, seen a second time.
    Bind,
    /// Memory.
    Tmpfs,
    /// A file system on a device.
    Device,
    /// A file system in a regular file, through a loop device.
    Image,
    /// A ZFS dataset.
    Zfs,
}

/// The mount of an `fs` resource, as the plan has decided it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where, as the zone sees it.
    pub dir: String,
    /// What.
    pub special: String,
    /// The zone's root in which that lies: it is resolved beneath, and links are not followed.
    pub within: Option<PathBuf>,
    /// Device to check first.
    pub raw: Option<String>,
    /// Linux' name of the type.
    pub fstype: String,
    /// How it is made.
    pub source: MountSource,
    /// Options.
    pub options: MountOptions,
}

/// The zone's first program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitProgram {
    /// A program of the zone's root.
    Own(String),
    /// The init that comes with this software.
    BuiltIn,
}

/// A step of a boot. The order of the list is the order of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootStep {
    /// Done by the supervisor, with the host's rights.
    Host(HostStep),
    /// Done by the zone's first process, which has none of them left.
    Inside(InsideStep),
}

/// A step of the host, by its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// The zone's share of the machine.
    Limit(LimitStep),
    /// The datasets that the zone administers.
    Dataset(DatasetStep),
    /// The beginning of the zone's first process in namespaces of its own, with these ids.
    Namespaces(IdMaps),
    /// The mounts in the zone.
    Mount(MountStep),
    /// Files of the zone, and one of the host.
    File(FileStep),
    /// A network link.
    Link(Box<ZoneLink>),
}

/// Where the commands lie that every zone has of its own.
pub const COMMANDS: &str = "/run/zone/bin";

/// Names of the commands that end or restart a zone with the built-in init.
pub const ENDING: [&str; 6] = ["halt", "init", "poweroff", "reboot", "shutdown", "telinit"];

/// How a step is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inverse {
    /// It ends with the zone's namespaces.
    WithNamespaces,
    /// It is never undone: a dataset that a zone has had stays its own.
    Stays,
    /// Take all datasets from the user namespace that is kept in this run-time folder, and let it go.
    Release(PathBuf),
    /// Kill the processes in the cgroup and remove it.
    RemoveCgroup(PathBuf),
    /// Remove the remains of a network link on the host.
    RemoveLink(Box<Remains>),
    /// Kill the first process; the kernel ends all others and the namespaces with it.
    KillInit,
}

impl BootStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Host(step) => step.describe(),
            Self::Inside(step) => step.describe(),
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Host(step) => step.inverse(),
            Self::Inside(step) => step.inverse(),
        }
    }

    /// Returns the step when it is one of the host.
    pub fn host(&self) -> Option<&HostStep> {
        if let Self::Host(step) = self { Some(step) } else { None }
    }

    /// Returns the step when the zone's first process does it.
    pub fn inside(&self) -> Option<&InsideStep> {
        if let Self::Inside(step) = self { Some(step) } else { None }
    }
}

impl HostStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Limit(step) => step.describe(),
            Self::Dataset(step) => step.describe(),
            Self::Namespaces(IdMaps { uid_map, .. }) => {
                let ranges: Vec<_> =
                    uid_map.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(":")).collect();
                format!(
                    "begin process 1 in new user, mount, pid, uts, ipc and net namespaces, ids {} (zone:host:count)",
                    ranges.join(" ")
                )
            }
            Self::Mount(step) => step.describe(),
            Self::File(step) => step.describe(),
            Self::Link(link) => link.describe(),
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Limit(step) => step.inverse(),
            Self::Dataset(step) => step.inverse(),
            Self::Namespaces(_) => Inverse::KillInit,
            Self::Mount(_) => Inverse::WithNamespaces,
            Self::File(step) => step.inverse(),
            Self::Link(link) => Inverse::RemoveLink(Box::new(link.remains())),
        }
    }
}

impl From<LimitStep> for BootStep {
    fn from(step: LimitStep) -> Self {
        Self::Host(HostStep::Limit(step))
    }
}

impl From<DatasetStep> for BootStep {
    fn from(step: DatasetStep) -> Self {
        Self::Host(HostStep::Dataset(step))
    }
}

impl From<MountStep> for BootStep {
    fn from(step: MountStep) -> Self {
        Self::Host(HostStep::Mount(step))
    }
}

impl From<FileStep> for BootStep {
    fn from(step: FileStep) -> Self {
        Self::Host(HostStep::File(step))
    }
}

impl From<HostStep> for BootStep {
    fn from(step: HostStep) -> Self {
        Self::Host(step)
    }
}

impl From<InsideStep> for BootStep {
    fn from(step: InsideStep) -> Self {
        Self::Inside(step)
    }
}

impl MountOptions {
    /// Returns the options as text behind a description.
    fn suffix(&self) -> String {
        let words = [
            (self.read_only, "read-only"),
            (self.no_suid, "nosuid"),
            (self.devices, "with devices"),
            (self.no_exec, "noexec"),
            (self.no_atime, "noatime"),
        ];
        let mut out: Vec<String> = words.iter().filter(|(on, _)| *on).map(|(_, w)| (*w).to_owned()).collect();
        out.extend(self.data.iter().map(|(k, v)| v.as_ref().map_or(k.clone(), |v| format!("{k}={v}"))));
        if out.is_empty() { String::new() } else { format!(", {}", out.join(", ")) }
    }
}
