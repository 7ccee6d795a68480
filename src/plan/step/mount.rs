//! Steps that mount what needs the host's rights.

use std::path::PathBuf;

use super::{Mount, MountSource, Node};
use crate::spec::shown::Show;

/// A step that mounts something with the host's rights. All end with the zone's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountStep {
    /// Mount the zone's root with its ids mapped.
    Root {
        /// The host's folder.
        path: PathBuf,
    },
    /// Keep a directory of the zone's root as it is, or read-only, whatever is around it
    /// (`file-mac-profile`).
    Part {
        /// The directory, as the zone sees it.
        dir: &'static str,
        /// It can be written to.
        writable: bool,
    },
    /// Make the zone's root read-only but for its writable parts and other mounts on it.
    ReadOnly {
        /// The profile that says so.
        profile: &'static str,
        /// Directories to make before, so that something can be mounted on them later.
        made: Vec<String>,
    },
    /// Mount a directory of the host's software, read-only and with ids that are not mapped.
    Inherit {
        /// The directory, the same in host and zone.
        dir: String,
        /// Programs of it that run with rights of their own, by paths below it: each gets a mount with mapped
        /// ids. None: whatever has such bits runs without them.
        programs: Option<Vec<String>>,
    },
    /// Mount memory for run-time files.
    Memory {
        /// Where.
        dir: &'static str,
        /// Permission bits of its top.
        mode: u32,
        /// How much of the machine's memory it may hold, in percent.
        percent: u32,
    },
    /// Make the zone's `/dev` with its nodes.
    Dev {
        /// The nodes.
        nodes: Vec<Node>,
    },
    /// Put the console into `/dev`.
    Console,
    /// Mount `/proc` from outside, with folders of it covered for good: the zone's root could remove covers that
    /// were made from inside.
    Proc {
        /// Folders below `/proc` that are empty.
        hidden: Vec<&'static str>,
        /// Folders below `/proc` that are read-only.
        fixed: Vec<&'static str>,
    },
    /// Mount `/sys` from outside, read-only for good: a mount made from inside the zone's root can change.
    Sys,
    /// Mount an `fs` resource.
    Fs(Box<Mount>),
}

impl MountStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Root { path } => format!("mount {} on / with mapped ids", path.shown()),
            Self::Part { dir, writable } => {
                format!("keep {dir} {}", if *writable { "writable" } else { "read-only" })
            }
            Self::ReadOnly { profile, made } => {
                format!("file-mac-profile={profile}: make / read-only, after {}", made.join(" "))
            }
            Self::Inherit { dir, programs } => {
                let how = match programs {
                    None => ", nosuid".to_owned(),
                    Some(list) if list.is_empty() => String::new(),
                    Some(list) => format!(", and with mapped ids of it {}", list.join(" ")),
                };
                format!("inherit-pkg-dir {dir}: mount the host's {dir} read-only, its files nobody's{how}")
            }
            Self::Memory { dir, mode, percent } => {
                format!("mount tmpfs on {dir}, mode {mode:o}, {percent}% of the memory")
            }
            Self::Dev { nodes } => {
                let names: Vec<_> = nodes.iter().map(|n| n.path.as_str()).collect();
                format!("make /dev with {}", names.join(" "))
            }
            Self::Console => "put the console on /dev/console".into(),
            Self::Proc { hidden, fixed } => {
                let hidden = hidden.iter().map(|folder| format!(", with nothing in /proc/{folder}"));
                let fixed = fixed.iter().map(|folder| format!(", /proc/{folder} read-only for good"));
                format!("mount /proc{}", hidden.chain(fixed).collect::<String>())
            }
            Self::Sys => "mount /sys, read-only for good".into(),
            Self::Fs(m) => {
                let how = match m.source {
                    MountSource::Bind if !m.options.recursive => "mount, without what is mounted below it,",
                    MountSource::Bind | MountSource::Device | MountSource::Zfs => "mount",
                    MountSource::Tmpfs => return format!("fs {}: mount tmpfs{}", m.dir, m.options.suffix()),
                    MountSource::Image => "mount through a loop device",
                };
                let kind =
                    if m.source == MountSource::Bind { String::new() } else { format!(" as {}", m.fstype) };
                let check = m.raw.as_ref().map_or(String::new(), |raw| format!("check {raw}, then "));
                format!("fs {}: {check}{how} {}{kind}{}", m.dir, m.special, m.options.suffix())
            }
        }
    }
}
