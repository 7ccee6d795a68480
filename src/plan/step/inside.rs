//! Steps that the first process of a zone does itself.

use super::{InitProgram, Inverse};
use crate::plan::confine::Confinement;
use crate::plan::options::MountOptions;
use crate::plan::profile::Profile;
use crate::spec::privilege;
use crate::spec::shown::Show;

/// A step that the zone's first process does itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsideStep {
    /// Set the host name.
    HostName {
        /// The name.
        name: String,
    },
    /// Switch the loopback interface on.
    Loopback,
    /// Mount `/proc` (unless that is done), `/dev/pts`, `/dev/mqueue` (and `/sys/fs/cgroup`) from inside.
    KernelFiles {
        /// Whether `/proc` is to be mounted.
        proc: bool,
        /// Whether the zone has a cgroup to show.
        cgroup: bool,
    },
    /// Make the zone's root the only root, and its mounts shared among the zone's processes.
    Pivot,
    /// Mount a filesystem of a delegated dataset, as the zone's own `zfs mount` would.
    MountDataset {
        /// Its name.
        name: String,
        /// Its mount point, as the zone sees it.
        dir: String,
        /// The mount options in its properties.
        options: MountOptions,
        /// Not on a directory that has files.
        no_overlay: bool,
        /// Not where this profile closes the root.
        closed: Option<Profile>,
    },
    /// Let only those requests to ZFS through that administer the zone's datasets, and check those that could change
    /// locked properties.
    Guard,
    /// Put all processes of the zone under a filter of system calls.
    Confine(Confinement),
    /// Give up the capabilities that the zone's privileges do not cover.
    Capabilities {
        /// Their numbers (capabilities(7)).
        drop: Vec<u32>,
    },
    /// Start the first program.
    Init {
        /// Which.
        program: InitProgram,
        /// Its arguments.
        args: Vec<String>,
    },
}

impl InsideStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::HostName { name } => format!("set the host name {name}"),
            Self::Loopback => "switch the loopback interface on".into(),
            Self::KernelFiles { proc, cgroup } => {
                format!(
                    "mount {}/dev/pts /dev/mqueue{} inside",
                    if *proc { "/proc " } else { "" },
                    if *cgroup { " /sys/fs/cgroup" } else { "" }
                )
            }
            Self::Pivot => "make the zone's root the only root, its mounts shared within the zone".into(),
            Self::MountDataset { name, dir, options, .. } => {
                // Devices never work on the mounts of a zone, whatever the property says.
                let options = MountOptions { devices: false, ..options.clone() };
                format!("dataset {name}: mount it on {} inside{}", dir.shown(), options.suffix())
            }
            Self::Guard => {
                "guard /dev/zfs: requests on the zone's datasets only, checked against the locks".into()
            }
            Self::Confine(confinement) => confinement.describe(),
            Self::Capabilities { drop } => {
                let keep = drop.iter().filter(|n| **n < u64::BITS).fold(u64::MAX, |keep, n| keep & !(1 << n));
                match privilege::names(keep).join(" ") {
                    none if none.is_empty() => "give up all capabilities".into(),
                    names => format!("give up all capabilities but {names}"),
                }
            }
            Self::Init { program, args } => {
                let name = match program {
                    InitProgram::Own(path) => path.clone(),
                    InitProgram::BuiltIn => "the built-in init".into(),
                };
                format!(
                    "start {name}{}",
                    if args.is_empty() { String::new() } else { format!(" with {}", args.join(" ")) }
                )
            }
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Init { .. } => Inverse::KillInit,
            Self::HostName { .. }
            | Self::Loopback
            | Self::KernelFiles { .. }
            | Self::Pivot
            | Self::MountDataset { .. }
            | Self::Guard
            | Self::Confine(_)
            | Self::Capabilities { .. } => Inverse::WithNamespaces,
        }
    }
}
