//! The steps of the operations that change a zone's files on disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{HostSymlink, InstallSource, Storage};
use crate::plan::sysconfig::SysConfig;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;

/// Where the files of a zone are copied from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyFrom {
    /// A zonepath.
    Path(PathBuf),
    /// A snapshot of the ZFS file system of one.
    Snapshot(String),
}

/// A ZFS file system that is a zonepath, under a name and at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetPlace {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub path: PathBuf,
    /// Its own `mountpoint`; none when it inherits.
    pub mountpoint: Option<String>,
}

/// One step of an installation or of its removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum InstallStep {
    /// Notes the state of the zone.
    SetState {
        /// State before.
        from: ZoneState,
        /// State after.
        to: ZoneState,
    },
    /// Makes a directory that is missing.
    MakeDir {
        /// Path.
        path: PathBuf,
        /// Permission bits; the owner is root.
        mode: u32,
    },
    /// Makes and mounts a ZFS file system.
    MakeDataset {
        /// Its name.
        name: String,
        /// Where it will be mounted, by inheritance.
        path: PathBuf,
        /// Permission bits of its top; the owner is root.
        mode: u32,
    },
    /// Destroys a ZFS file system with its snapshots and removes its mount point.
    DestroyDataset {
        /// Its name.
        name: String,
        /// Where it is mounted.
        path: PathBuf,
        /// It was made a moment ago: nothing of the administrator can be in it.
        #[serde(default)]
        fresh: bool,
    },
    /// Corrects owner and mode of a directory that exists.
    OwnDir {
        /// Path.
        path: PathBuf,
        /// Permission bits; the owner becomes root.
        mode: u32,
    },
    /// Makes the zone's root.
    MakeRoot {
        /// Path.
        path: PathBuf,
        /// The kind of file system below it.
        storage: Storage,
    },
    /// Fills the root.
    Populate {
        /// Path of the root.
        root: PathBuf,
        /// The source.
        source: InstallSource,
    },
    /// Makes what boot mounts over, and the links of the host that go with it.
    MountPoints {
        /// Path of the root.
        root: PathBuf,
        /// Directories below the root.
        dirs: Vec<PathBuf>,
        /// Links at the top of the root.
        links: Vec<HostSymlink>,
    },
    /// Gives the root its own name and machine id, and locks all passwords.
    Identity {
        /// Path of the root.
        root: PathBuf,
        /// Host name of the zone.
        hostname: String,
        /// The host's root, from which the resolver's file is taken; `/` but in tests.
        host: PathBuf,
        /// Whether the password files are made new: they would be the host's otherwise.
        lock_passwords: bool,
    },
    /// Writes the settings of a profile into the root: `install -c` and `clone -c`.
    Configure {
        /// Path of the root.
        root: PathBuf,
        /// The profile. A journal does not have it: it holds passwords, and an interrupted step is not repeated.
        #[serde(skip)]
        profile: Box<SysConfig>,
    },
    /// Waits until everything is on disk.
    Sync {
        /// Path of the root.
        root: PathBuf,
    },
    /// Removes a tree, never crossing a mount nor following a link.
    RemoveTree {
        /// Path.
        path: PathBuf,
    },
    /// Removes a directory if it is empty.
    RemoveDir {
        /// Path.
        path: PathBuf,
    },
    /// Leaves the zonepath: it holds data that is not ours.
    KeepUserData {
        /// The zonepath.
        path: PathBuf,
    },
    /// Takes snapshots, all in one moment, and marks them with the zone they are for.
    TakeSnapshots {
        /// Their names.
        names: Vec<String>,
        /// The zone.
        zone: ZoneName,
    },
    /// Destroys snapshots that were taken for a zone and have no clones.
    DestroySnapshots {
        /// Their names.
        names: Vec<String>,
        /// The zone.
        zone: ZoneName,
    },
    /// Lets snapshots go with the last of their clones.
    ReleaseSnapshots {
        /// Their names.
        names: Vec<String>,
    },
    /// Makes a clone the ZFS file system of the zone and mounts it.
    CloneDataset {
        /// The snapshot.
        snapshot: String,
        /// Name of the clone.
        name: String,
        /// Where it will be mounted, by inheritance.
        path: PathBuf,
    },
    /// Clones a delegated dataset with its children.
    CloneTree {
        /// The dataset.
        from: String,
        /// Name of the snapshot, behind the `@`.
        snapshot: String,
        /// The new dataset.
        to: String,
        /// The zone that has the dataset now: its ids are on the files.
        source: ZoneName,
    },
    /// Destroys the datasets of a tree that are clones, and nothing else.
    DestroyTree {
        /// The dataset that was cloned.
        from: String,
        /// Name of the snapshot, behind the `@`.
        snapshot: String,
        /// The clone.
        to: String,
    },
    /// Copies the files of a zone.
    CopyZone {
        /// The source.
        from: CopyFrom,
        /// To which zonepath; it is there and empty.
        to: PathBuf,
        /// The zone moves: nothing may get lost on the way.
        moving: bool,
    },
    /// Empties a directory, never crossing a mount nor following a link.
    Empty {
        /// Path.
        path: PathBuf,
    },
    /// Replaces what must not exist twice: host name, machine id, host id, keys of the ssh server, seeds.
    Reidentify {
        /// Path of the root.
        root: PathBuf,
        /// Name of the zone that the root is a clone of.
        source: ZoneName,
        /// Host name of the zone.
        hostname: String,
    },
    /// Gives a directory another name on the same file system.
    RenameDir {
        /// Path.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// Gives the ZFS file system of a zone another name, or another place, or both.
    MoveDataset {
        /// The present value.
        from: DatasetPlace,
        /// The new value.
        to: DatasetPlace,
    },
    /// Saves another zonepath in the configuration.
    SetZonepath {
        /// The value before, as it is written.
        from: String,
        /// The value after.
        to: String,
    },
    /// Removes the old files of a zone that has moved to another file system.
    CleanUp {
        /// The former zonepath.
        path: PathBuf,
        /// A file system is mounted there: it is emptied and stays.
        mounted: bool,
    },
    /// Notes the state of the zone; unlike `SetState`, its uuid and its ids are kept in any case.
    NoteState {
        /// State before.
        from: ZoneState,
        /// State after.
        to: ZoneState,
    },
    /// Writes what `attach` and `create -a` need into the zonepath.
    WriteManifest {
        /// The file.
        path: PathBuf,
    },
    /// Removes a file.
    RemoveFile {
        /// Path.
        path: PathBuf,
    },
    /// Gives a file another name in its folder; one of that name is replaced.
    RenameFile {
        /// Path.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// Gives the zone the uuid and the ids that it had when it was detached.
    Adopt {
        /// The uuid; none when it is taken here.
        uuid: Option<String>,
        /// First host id of the private range; none when that is taken here or there was none.
        first: Option<u32>,
    },
    /// Takes over again the files that go with the host's software.
    Refresh {
        /// Path of the root.
        root: PathBuf,
        /// The host's root; `/` but in tests.
        host: PathBuf,
    },
    /// Notes at a ZFS file system which zone it is of.
    MarkDataset {
        /// Its name.
        name: String,
        /// The zone before.
        from: String,
        /// The zone after.
        to: String,
    },
}

impl InstallStep {
    /// Returns a sentence without full stop that describes the step.
    pub fn describe(&self) -> String {
        match self {
            Self::SetState { from: _, to } => format!("mark the zone {to}"),
            Self::MakeDir { path, mode } => format!("make directory {} (mode {mode:04o})", path.shown()),
            Self::MakeDataset { name, path, mode } => {
                format!("make ZFS file system {name}, mounted on {} (mode {mode:04o})", path.shown())
            }
            Self::DestroyDataset { name, path, fresh: _ } => {
                format!("destroy ZFS file system {name}, mounted on {}", path.shown())
            }
            Self::OwnDir { path, mode } => {
                format!("give directory {} to root (mode {mode:04o})", path.shown())
            }
            Self::MakeRoot { path, storage: Storage::Directory } => {
                format!("make the zone's root {} as a directory", path.shown())
            }
            Self::Populate { root, source } => format!("fill {} {}", root.shown(), source.describe()),
            Self::MountPoints { root, dirs, links } => {
                let mut text = format!("make mount points below {}:", root.shown());
                for dir in dirs {
                    text.push_str(&format!(" {}", dir.shown()));
                }
                for HostSymlink { name, target } in links {
                    text.push_str(&format!(" {} -> {}", name.shown(), target.shown()));
                }
                text
            }
            Self::Identity { root: _, hostname, host: _, lock_passwords } => {
                let passwords = if *lock_passwords { ", no password valid" } else { "" };
                format!("give the zone its own identity: host name {hostname}, new machine id{passwords}")
            }
            Self::Configure { root: _, profile } => format!("apply the profile: {}", profile.describe()),
            Self::Sync { root } => format!("wait until {} is on disk", root.shown()),
            Self::RemoveTree { path } => {
                format!("remove {} and all below it, but no mount", path.shown())
            }
            Self::RemoveDir { path } => format!("remove directory {} if it is empty", path.shown()),
            Self::KeepUserData { path } => {
                format!("leave {}: it contains additional user data", path.shown())
            }
            Self::TakeSnapshots { names, zone: _ } => format!("take snapshot {}", names.join(", ")),
            Self::DestroySnapshots { names, zone: _ } => format!("destroy snapshot {}", names.join(", ")),
            Self::ReleaseSnapshots { names } => {
                format!("let snapshot {} go with the last of its clones", names.join(", "))
            }
            Self::CloneDataset { snapshot, name, path } => {
                format!("clone snapshot {snapshot} as {name}, mounted on {}", path.shown())
            }
            Self::CloneTree { from, snapshot, to, source: _ } => {
                format!("clone {from}@{snapshot} and what is below it as {to}")
            }
            Self::DestroyTree { from, snapshot, to } => {
                format!("destroy {to} as far as it is a clone of {from}@{snapshot}")
            }
            Self::CopyZone { from: CopyFrom::Path(from), to, moving: _ } => {
                format!("copy {} to {}", from.shown(), to.shown())
            }
            Self::CopyZone { from: CopyFrom::Snapshot(from), to, moving: _ } => {
                format!("copy snapshot {from} to {}", to.shown())
            }
            Self::Empty { path } => format!("remove all below {}, but no mount", path.shown()),
            Self::Reidentify { root: _, source, hostname } => format!(
                "give the zone an identity other than {source}'s: host name {hostname}, new machine id, host id, \
                 ssh host keys"
            ),
            Self::RenameDir { from, to } => format!("rename {} to {}", from.shown(), to.shown()),
            Self::MoveDataset { from, to } if from.name == to.name => format!(
                "mount ZFS file system {} on {} instead of {}",
                to.name,
                to.path.shown(),
                from.path.shown()
            ),
            Self::MoveDataset { from, to } => {
                format!("rename ZFS file system {} to {}, mounted on {}", from.name, to.name, to.path.shown())
            }
            Self::SetZonepath { from: _, to } => format!("save zonepath {to}"),
            Self::CleanUp { path, mounted: false } => {
                format!("remove {} and all below it, but no mount", path.shown())
            }
            Self::CleanUp { path, mounted: true } => {
                format!("empty the file system mounted on {}", path.shown())
            }
            Self::NoteState { from: _, to } => format!("mark the zone {to}, its uuid and ids kept"),
            Self::WriteManifest { path } => format!("write {}", path.shown()),
            Self::RemoveFile { path } => format!("remove {}", path.shown()),
            Self::RenameFile { from, to } => format!("rename {} to {}", from.shown(), to.shown()),
            Self::Adopt { uuid, first } => {
                let uuid = uuid.as_deref().unwrap_or("made new");
                match first {
                    Some(first) => format!("give the zone its identity: uuid {uuid}, ids from {first}"),
                    None => format!("give the zone its identity: uuid {uuid}"),
                }
            }
            Self::Refresh { root, host: _ } => {
                format!("take what goes with the host's software into {} again", root.shown())
            }
            Self::MarkDataset { name, from: _, to } => {
                format!("mark ZFS file system {name} as that of zone {to}")
            }
        }
    }

    /// Returns the step that undoes this one; none when there is nothing to undo, or when the result goes with that
    /// of an earlier step.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::SetState { from, to } => Some(Self::SetState { from: *to, to: *from }),
            Self::MakeDir { path, mode: _ } => Some(Self::RemoveDir { path: path.clone() }),
            Self::MakeRoot { path, storage: Storage::Directory } => {
                Some(Self::RemoveTree { path: path.clone() })
            }
            Self::MakeDataset { name, path, mode: _ } => {
                Some(Self::DestroyDataset { name: name.clone(), path: path.clone(), fresh: false })
            }
            Self::TakeSnapshots { names, zone } => {
                Some(Self::DestroySnapshots { names: names.clone(), zone: zone.clone() })
            }
            Self::CloneDataset { snapshot: _, name, path } => {
                Some(Self::DestroyDataset { name: name.clone(), path: path.clone(), fresh: true })
            }
            Self::CloneTree { from, snapshot, to, source: _ } => {
                Some(Self::DestroyTree { from: from.clone(), snapshot: snapshot.clone(), to: to.clone() })
            }
            Self::CopyZone { from: _, to, moving: _ } => Some(Self::Empty { path: to.clone() }),
            Self::RenameDir { from, to } => Some(Self::RenameDir { from: to.clone(), to: from.clone() }),
            Self::MoveDataset { from, to } => Some(Self::MoveDataset { from: to.clone(), to: from.clone() }),
            Self::SetZonepath { from, to } => Some(Self::SetZonepath { from: to.clone(), to: from.clone() }),
            Self::NoteState { from, to } => Some(Self::NoteState { from: *to, to: *from }),
            Self::WriteManifest { path } => Some(Self::RemoveFile { path: path.clone() }),
            Self::RenameFile { from, to } => Some(Self::RenameFile { from: to.clone(), to: from.clone() }),
            Self::MarkDataset { name, from, to } => {
                Some(Self::MarkDataset { name: name.clone(), from: to.clone(), to: from.clone() })
            }
            Self::DestroyDataset { .. }
            | Self::OwnDir { .. }
            | Self::Populate { .. }
            | Self::MountPoints { .. }
            | Self::Identity { .. }
            | Self::Configure { .. }
            | Self::Sync { .. }
            | Self::RemoveTree { .. }
            | Self::RemoveDir { .. }
            | Self::KeepUserData { .. }
            | Self::DestroySnapshots { .. }
            | Self::ReleaseSnapshots { .. }
            | Self::DestroyTree { .. }
            | Self::Empty { .. }
            | Self::Reidentify { .. }
            | Self::CleanUp { .. }
            | Self::RemoveFile { .. }
            | Self::Adopt { .. }
            | Self::Refresh { .. } => None,
        }
    }

    /// Says whether a failure in this step or later leaves the zone incomplete. Before, everything
    /// is taken back and the zone is configured again. A zone that moves is never incomplete.
    pub fn is_past_return(&self) -> bool {
        matches!(
            self,
            Self::Populate { .. }
                | Self::RemoveTree { .. }
                | Self::DestroyDataset { .. }
                | Self::CopyZone { from: _, to: _, moving: false }
        )
    }

    /// Says whether this is the step that decides a transfer: an interrupted one is taken back before
    /// it and finished after it.
    pub fn is_decisive(&self) -> bool {
        matches!(self, Self::SetZonepath { .. } | Self::NoteState { .. })
    }
}
