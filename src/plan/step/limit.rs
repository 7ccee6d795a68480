//! Steps that give a zone its share of the machine.

use std::path::PathBuf;

use super::Inverse;
use crate::plan::confine::HOST_SETTINGS;
use crate::plan::limits::{SchedPolicy, Setting};
use crate::spec::shown::Show;

/// A step that gives the zone its share of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitStep {
    /// Make the zone's cgroup.
    Cgroup {
        /// Folder in the host's cgroup v2 tree.
        path: PathBuf,
        /// Whether a program refuses its processes to write [`HOST_SETTINGS`].
        guarded: bool,
    },
    /// Give the cgroup its limits, before anything runs in it.
    Limits {
        /// Folder in the host's cgroup v2 tree.
        path: PathBuf,
        /// Files and values.
        settings: Vec<Setting>,
    },
    /// Forget the caller's resource limits and priority: every zone begins with those of the host's process 1.
    Process {
        /// Bytes that each process may lock into memory.
        locked: Option<u64>,
        /// How processes are scheduled.
        policy: SchedPolicy,
    },
    /// Make the zone's ipc namespace with limits. It belongs to the host: root of the zone could change
    /// those of its own.
    Ipc {
        /// Knobs below `/proc/sys/kernel`, and values.
        settings: Vec<Setting>,
    },
    /// Limit the numbers of namespaces and watches that the zone can have, all its users together.
    Counts {
        /// Files below `/proc/sys/user`, and values.
        limits: Vec<(&'static str, u32)>,
    },
}

impl LimitStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Cgroup { path, guarded: false } => format!("make cgroup {}", path.shown()),
            Self::Cgroup { path, guarded: true } => {
                let settings =
                    HOST_SETTINGS.iter().map(|name| format!("/proc/sys/{name}")).collect::<Vec<_>>();
                format!("make cgroup {} and refuse it to write {}", path.shown(), settings.join(" "))
            }
            Self::Limits { settings, .. } => format!("limit {}", list(settings)),
            Self::Process { locked, policy } => {
                let mut text = "take the resource limits of the host's process 1".to_owned();
                if let Some(bytes) = locked {
                    text.push_str(&format!(", at most {bytes} bytes locked by a process"));
                }
                match policy {
                    SchedPolicy::Normal => {}
                    SchedPolicy::Batch => text.push_str(", SCHED_BATCH"),
                    SchedPolicy::Idle => text.push_str(", SCHED_IDLE"),
                }
                text
            }
            Self::Ipc { settings } => format!("make an ipc namespace and limit {}", list(settings)),
            Self::Counts { limits } => {
                let words: Vec<_> = limits.iter().map(|(file, n)| format!("{file}={n}")).collect();
                format!("make a user namespace around the zone's that limits it to {}", words.join(" "))
            }
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Cgroup { path, .. } => Inverse::RemoveCgroup(path.clone()),
            Self::Limits { .. } | Self::Process { .. } | Self::Ipc { .. } | Self::Counts { .. } => {
                Inverse::WithNamespaces
            }
        }
    }
}

/// Returns settings as `file=value` words.
fn list(settings: &[Setting]) -> String {
    let words: Vec<_> =
        settings.iter().map(|s| format!("{}={}", s.file, s.value.replace(' ', ","))).collect();
    words.join(" ")
}
