//! Steps that make datasets a zone's.

use std::path::PathBuf;

use super::Inverse;
use crate::spec::shown::Show;

/// A step that makes datasets the zone's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetStep {
    /// Take a dataset that the zone is to have from the host: mounted nowhere, `zoned` on, snapshots
    /// hidden, root directories owned by the zone's root.
    Withdraw {
        /// Its name.
        dataset: String,
        /// Where the host has it or something below it mounted, in the order of mounting.
        mounted: Vec<String>,
        /// `zoned` is on and local already.
        zoned: bool,
        /// The filesystems on which `snapdir` is set to `disabled`.
        hide: Vec<String>,
        /// The value that `volmode` gets on it; none when it has it.
        volmode: Option<String>,
        /// Datasets below it that set another `volmode` themselves: they inherit from now on.
        volumes: Vec<String>,
        /// The filesystems whose root directories are looked at.
        members: Vec<String>,
    },
    /// Keep the user namespace at hand, so that datasets can be taken from it when all its processes
    /// are gone.
    Pin {
        /// The zone's run-time folder.
        run: PathBuf,
    },
    /// Give a dataset and all below it to the zone.
    Delegate {
        /// Its name.
        dataset: String,
        /// The properties that the zone cannot change on the dataset itself.
        locks: Vec<String>,
        /// The properties that it cannot change on everything below it.
        below: Vec<String>,
    },
}

impl DatasetStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Withdraw { dataset, mounted, zoned, hide, volmode, volumes, .. } => {
                let unmount = if mounted.is_empty() {
                    String::new()
                } else {
                    format!(
                        "unmount {} on the host, ",
                        mounted.iter().rev().cloned().collect::<Vec<_>>().join(" ")
                    )
                };
                let hidden = match hide.iter().filter(|name| *name != dataset).count() {
                    _ if hide.is_empty() => String::new(),
                    0 => ", snapdir=disabled".to_owned(),
                    more => format!(", snapdir=disabled, also on {more} below it"),
                };
                let mut nodes = volmode.as_ref().map_or_else(String::new, |mode| format!(", volmode={mode}"));
                if !volumes.is_empty() {
                    nodes.push_str(&format!(", inherit volmode on {}", volumes.join(" ").shown()));
                }
                format!(
                    "dataset {dataset}: {unmount}{} zoned=on{hidden}{nodes}",
                    if *zoned { "keep" } else { "set" }
                )
            }
            Self::Pin { run } => format!("keep the user namespace at hand in {}", run.shown()),
            Self::Delegate { dataset, locks, below } => {
                format!(
                    "dataset {dataset}: give it to the zone with all below it; {} locked, and {} below it",
                    locks.join(", "),
                    below.join(", ")
                )
            }
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Withdraw { .. } => Inverse::Stays,
            Self::Pin { run } => Inverse::Release(run.clone()),
            // A dataset goes back with the namespace that was given it.
            Self::Delegate { .. } => Inverse::WithNamespaces,
        }
    }
}
