//! The facts of the machine, and the reasons in them that forbid a plan.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::InstallStep;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;

/// The state of the zonepath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZonepathState {
    /// Nothing; the folders above that are missing as well, outermost first.
    Absent {
        /// Folders to make.
        missing: Vec<PathBuf>,
    },
    /// A directory.
    Directory {
        /// Names in it, sorted.
        entries: Vec<String>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Whether a file system is mounted there.
        mounted: bool,
    },
    /// A symbolic link on the way or at the end.
    Link(PathBuf),
    /// Something else on the way or at the end.
    NotADirectory(PathBuf),
}

/// A top-level link of the host, like `/bin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSymlink {
    /// Its name.
    pub name: PathBuf,
    /// Where it points.
    pub target: PathBuf,
}

/// A ZFS file system that a zonepath can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDataset {
    /// Its name.
    pub name: String,
    /// There is one of that name already.
    pub exists: bool,
}

/// The ZFS file system that `install` has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnDataset {
    /// Its name.
    pub name: String,
    /// It is mounted on the zonepath.
    pub mounted: bool,
    /// It was being made as a clone when something stopped that: nothing of the administrator is in it.
    pub fresh: bool,
}

/// The facts of the machine that `install` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// The state of the zonepath.
    pub found: ZonepathState,
    /// The ZFS file system that it can be, when the folder above is the mount point of one.
    pub dataset: Option<NewDataset>,
    /// Links at the top of the host's root.
    pub host_links: Vec<HostSymlink>,
    /// Zonepaths of all zones and our own folders: nothing of a zone is copied into another.
    pub private: Vec<PathBuf>,
    /// Mounts of the host that are part of its system.
    pub system_mounts: Vec<PathBuf>,
}

/// The facts of the machine that `uninstall` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UninstallFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// The state of the zonepath.
    pub found: ZonepathState,
    /// Mount points at or below the zone's root and our other entries.
    pub mounts: Vec<PathBuf>,
    /// The ZFS file system that was made for the zone.
    pub dataset: Option<OwnDataset>,
    /// State on disk.
    pub state: ZoneState,
    /// Where the zone's files may be when they are not at the zonepath; none when they are.
    pub elsewhere: Option<Elsewhere>,
    /// The steps that remove leftovers of an interrupted `clone` elsewhere.
    pub left: Vec<InstallStep>,
}

/// Where the files of a zone may be that are not at its zonepath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// A file system carries the zone's owner mark.
    pub has_owner_mark: bool,
    /// The missing file system, and the command to type ([`crate::plan::storage::explain`]).
    pub text: String,
}

/// Why there is no plan. Nothing has been touched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InstallPlanError {
    /// The spec has no zonepath.
    #[error("zonepath is not set")]
    NoZonepath,
    /// The zonepath holds something.
    #[error(
        "zonepath {} is not empty: it holds '{}'; empty it or choose another zonepath", path.shown(), entry.shown()
    )]
    NotEmpty {
        /// The zonepath.
        path: PathBuf,
        /// One of the names in it.
        entry: String,
    },
    /// The zonepath holds a detached zone.
    #[error("Cannot install detached zone.\nUse attach or remove {} directory.", .0.shown())]
    Detached(PathBuf),
    /// A link on the way to the zonepath.
    #[error("zonepath {}: Resolved path mismatch: {} is a symbolic link", path.shown(), link.shown())]
    Link {
        /// The zonepath.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// A file on the way to the zonepath.
    #[error("zonepath {}: {} is not a directory", path.shown(), at.shown())]
    NotADirectory {
        /// The zonepath.
        path: PathBuf,
        /// The obstacle.
        at: PathBuf,
    },
    /// The zonepath would be copied into itself.
    #[error("cannot copy {}: the zonepath {} lies in it", dir.shown(), path.shown())]
    SourceHoldsZonepath {
        /// The source.
        dir: PathBuf,
        /// The zonepath.
        path: PathBuf,
    },
    /// The source is the zonepath, or lies in it.
    #[error("cannot copy {}: it lies in the zonepath {}", dir.shown(), path.shown())]
    SourceInZonepath {
        /// The source.
        dir: PathBuf,
        /// The zonepath.
        path: PathBuf,
    },
    /// A file system that ZFS would mount over the zonepath.
    #[error(
        "zonepath {}: the ZFS file system {dataset} exists and is not mounted; mount it, destroy it, or choose another zonepath", path.shown()
    )]
    DatasetExists {
        /// The zonepath.
        path: PathBuf,
        /// The dataset.
        dataset: String,
    },
    /// The files to be removed cannot be seen.
    #[error(
        "zonepath {}: {why}\nif its files are gone for good, use zoneadm -z {zone} mark incomplete && zoneadm -z {zone} uninstall -F", path.shown()
    )]
    Forgets {
        /// The zone.
        zone: String,
        /// The zonepath.
        path: PathBuf,
        /// The missing file system, and the command to type.
        why: String,
    },
    /// The unseen file system belongs to the zone, which is incomplete.
    #[error(
        "zonepath {}: {why}\nif the zone is not to have it any more, use zfs inherit {} FILESYSTEM", path.shown(), crate::plan::dataset::ZONE_MARK
    )]
    Marked {
        /// The zonepath.
        path: PathBuf,
        /// The missing file system, and the command to type.
        why: String,
    },
    /// The files of the zone cannot be seen.
    #[error("zonepath {}: {why}", path.shown())]
    Missing {
        /// The zonepath.
        path: PathBuf,
        /// The missing file system, and the command to type.
        why: String,
    },
    /// The snapshot cannot become the zonepath.
    #[error("cannot clone snapshot {snapshot}: {why}; with -m copy its files are copied")]
    CannotClone {
        /// The snapshot.
        snapshot: String,
        /// The missing file system.
        why: String,
    },
    /// The place to which a zone shall move is taken.
    #[error("could not move zone to {}: {why}", path.shown())]
    CannotMove {
        /// The new zonepath.
        path: PathBuf,
        /// The obstacle.
        why: String,
    },
    /// There is no zone to attach, or not one for this host.
    #[error("{0}")]
    CannotAttach(String),
    /// Something is mounted in the zone.
    #[error("These file systems are mounted on subdirectories of {}.{}", root.shown(), lines(mounts))]
    Mounted {
        /// The zone's root.
        root: PathBuf,
        /// Mount points.
        mounts: Vec<PathBuf>,
    },
}

fn lines(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| format!("\n  {}", p.shown())).collect()
}
