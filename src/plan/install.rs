//! What installing and uninstalling a zone consist of: a list of steps, decided from a spec and from
//! what was observed, before anything is touched.
//!
//! The list is printed by `zoneadm plan`, written to the journal, and carried out by
//! [`crate::apply::install`]. Steps hold every decision already made; who carries them out decides
//! nothing any more.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::state::ZoneState;
use crate::spec::{ResourceKind, ZoneName, ZoneSpec};

mod facts;
mod source;

pub use facts::{Found, HostLink, InstallFacts, NewDataset, OwnDataset, Refusal, UninstallFacts};
pub use source::{Keep, Layer, LeaveOut, Packing, Request, Source};

/// Names in a zonepath that are ours; everything else there belongs to the administrator.
pub const STANDARD_ENTRIES: [&str; 4] = ["dev", "lu", "root", "SUNWattached.xml"];

/// What a fresh file system of its own brings along at its top.
pub const LOST_FOUND: &str = "lost+found";

/// What ZFS shows at the top of a file system whose `snapdir` is visible.
const SNAPSHOTS: &str = ".zfs";

/// The manifest that marks a zonepath as one of a detached zone.
pub const DETACHED: &str = "SUNWdetached.xml";

/// Where the zone's root lies. Chosen from the facts by [`Storage::choose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// A plain directory; it works on every file system.
    Directory,
}

impl Storage {
    /// Chooses the storage by the kind of file system that the zonepath will lie on.
    pub fn choose(_file_system: &str) -> Self {
        Self::Directory
    }
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
        /// What it lies on.
        storage: Storage,
    },
    /// Fills the root.
    Populate {
        /// Path of the root.
        root: PathBuf,
        /// From where.
        source: Source,
    },
    /// Makes what boot mounts over, and the links of the host that go with it.
    MountPoints {
        /// Path of the root.
        root: PathBuf,
        /// Directories below the root.
        dirs: Vec<PathBuf>,
        /// Links at the top of the root.
        links: Vec<HostLink>,
    },
    /// Gives the root its own name and machine id, and passwords to nobody.
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
}

impl InstallStep {
    /// Returns a sentence without full stop that says what the step does.
    pub fn describe(&self) -> String {
        match self {
            Self::SetState { from: _, to } => format!("mark the zone {to}"),
            Self::MakeDir { path, mode } => format!("make directory {} (mode {mode:04o})", path.display()),
            Self::MakeDataset { name, path, mode } => {
                format!("make ZFS file system {name}, mounted on {} (mode {mode:04o})", path.display())
            }
            Self::DestroyDataset { name, path } => {
                format!("destroy ZFS file system {name}, mounted on {}", path.display())
            }
            Self::OwnDir { path, mode } => {
                format!("give directory {} to root (mode {mode:04o})", path.display())
            }
            Self::MakeRoot { path, storage: Storage::Directory } => {
                format!("make the zone's root {} as a directory", path.display())
            }
            Self::Populate { root, source } => format!("fill {} {}", root.display(), source.describe()),
            Self::MountPoints { root, dirs, links } => {
                let mut text = format!("make mount points below {}:", root.display());
                for dir in dirs {
                    text.push_str(&format!(" {}", dir.display()));
                }
                for HostLink { name, target } in links {
                    text.push_str(&format!(" {} -> {}", name.display(), target.display()));
                }
                text
            }
            Self::Identity { root: _, hostname, host: _, lock_passwords } => {
                let passwords = if *lock_passwords { ", no password valid" } else { "" };
                format!("give the zone its own identity: host name {hostname}, new machine id{passwords}")
            }
            Self::Sync { root } => format!("wait until {} is on disk", root.display()),
            Self::RemoveTree { path } => {
                format!("remove {} and all below it, but no mount", path.display())
            }
            Self::RemoveDir { path } => format!("remove directory {} if it is empty", path.display()),
            Self::KeepUserData { path } => {
                format!("leave {}: it contains additional user data", path.display())
            }
        }
    }

    /// Returns the step that takes this one back; none when there is nothing to take back, or when
    /// it goes with what an earlier step has made.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::SetState { from, to } => Some(Self::SetState { from: *to, to: *from }),
            Self::MakeDir { path, mode: _ } => Some(Self::RemoveDir { path: path.clone() }),
            Self::MakeRoot { path, storage: Storage::Directory } => {
                Some(Self::RemoveTree { path: path.clone() })
            }
            Self::MakeDataset { name, path, mode: _ } => {
                Some(Self::DestroyDataset { name: name.clone(), path: path.clone() })
            }
            Self::DestroyDataset { name: _, path: _ }
            | Self::OwnDir { path: _, mode: _ }
            | Self::Populate { root: _, source: _ }
            | Self::MountPoints { root: _, dirs: _, links: _ }
            | Self::Identity { root: _, hostname: _, host: _, lock_passwords: _ }
            | Self::Sync { root: _ }
            | Self::RemoveTree { path: _ }
            | Self::RemoveDir { path: _ }
            | Self::KeepUserData { path: _ } => None,
        }
    }

    /// Says whether a failure in this step or later leaves the zone incomplete. Before, everything
    /// is taken back and the zone is configured again.
    pub fn is_past_return(&self) -> bool {
        matches!(self, Self::Populate { .. } | Self::RemoveTree { .. } | Self::DestroyDataset { .. })
    }
}

/// The steps of one operation, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallPlan {
    /// The zone.
    pub zone: ZoneName,
    /// `install` or `uninstall`.
    pub operation: String,
    /// Steps.
    pub steps: Vec<InstallStep>,
}

impl fmt::Display for InstallPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}  {}", i + 1, step.describe())?;
        }
        Ok(())
    }
}

/// Returns the steps that install a zone.
///
/// # Errors
/// [`Refusal`] when the zonepath or the source does not allow it.
pub fn plan_install(
    facts: &InstallFacts,
    spec: &ZoneSpec,
    request: &Request,
) -> Result<InstallPlan, Refusal> {
    let zonepath = &facts.zonepath;
    let mut steps = vec![InstallStep::SetState { from: ZoneState::Configured, to: ZoneState::Incomplete }];
    match &facts.found {
        Found::Absent { missing } => {
            steps.extend(missing.iter().map(|p| InstallStep::MakeDir { path: p.clone(), mode: 0o755 }));
            let path = zonepath.clone();
            steps.push(match &facts.dataset {
                Some(NewDataset { name, exists: false }) if missing.is_empty() => {
                    InstallStep::MakeDataset { name: name.clone(), path, mode: 0o700 }
                }
                Some(NewDataset { name, exists: true }) if missing.is_empty() => {
                    return Err(Refusal::DatasetExists { path, dataset: name.clone() });
                }
                _ => InstallStep::MakeDir { path, mode: 0o700 },
            });
        }
        Found::Directory { entries, mode, uid, mounted: _ } => {
            if entries.iter().any(|e| e == DETACHED) {
                return Err(Refusal::Detached(zonepath.clone()));
            }
            if let Some(entry) = entries.iter().find(|e| *e != LOST_FOUND) {
                return Err(Refusal::NotEmpty { path: zonepath.clone(), entry: entry.clone() });
            }
            if *mode != 0o700 || *uid != 0 {
                steps.push(InstallStep::OwnDir { path: zonepath.clone(), mode: 0o700 });
            }
        }
        Found::Link(link) => {
            return Err(Refusal::Link { path: zonepath.clone(), link: link.clone() });
        }
        Found::NotADirectory(at) => {
            return Err(Refusal::NotADirectory { path: zonepath.clone(), at: at.clone() });
        }
    }
    let inherited: Vec<&Path> = spec
        .stored(ResourceKind::InheritPkgDir)
        .iter()
        .filter_map(|r| r.text("dir").map(Path::new))
        .collect();
    let source = match request {
        Request::Given(source) => source.clone(),
        Request::Default if inherited.is_empty() => host_copy(facts),
        Request::Default => Source::Sparse { host: "/".into() },
    };
    if let Source::Tree { dir } = &source {
        let (dir, path) = (dir.clone(), zonepath.clone());
        if zonepath.starts_with(&dir) {
            return Err(Refusal::SourceHoldsZonepath { dir, path });
        }
        if dir.starts_with(zonepath) {
            return Err(Refusal::SourceInZonepath { dir, path });
        }
    }
    let lock_passwords = matches!(source, Source::Sparse { .. } | Source::Host { .. });
    let host = match &source {
        Source::Sparse { host } | Source::Host { host, .. } => host.clone(),
        _ => "/".into(),
    };
    let root = zonepath.join("root");
    let (dirs, links) = mount_points(&inherited, &facts.host_links);
    let hostname = spec.name.to_string();
    steps.extend([
        InstallStep::MakeRoot { path: root.clone(), storage: Storage::choose(&facts.file_system) },
        InstallStep::Populate { root: root.clone(), source },
        InstallStep::MountPoints { root: root.clone(), dirs, links },
        InstallStep::Identity { root: root.clone(), hostname, host, lock_passwords },
        InstallStep::Sync { root },
        InstallStep::SetState { from: ZoneState::Incomplete, to: ZoneState::Installed },
    ]);
    Ok(InstallPlan { zone: spec.name.clone(), operation: "install".into(), steps })
}

/// Returns the directories that boot mounts over, and the links of the host into inherited ones.
fn mount_points(inherited: &[&Path], host_links: &[HostLink]) -> (Vec<PathBuf>, Vec<HostLink>) {
    let mut dirs: Vec<PathBuf> = ["/dev", "/proc", "/sys", "/run", "/tmp"].map(PathBuf::from).into();
    let links: Vec<HostLink> = host_links
        .iter()
        .filter(|link| {
            let target = Path::new("/").join(&link.target);
            inherited.iter().any(|dir| target.starts_with(dir) || Path::new("/").join(&link.name) == **dir)
        })
        .cloned()
        .collect();
    for dir in inherited {
        let linked = links.iter().any(|l| Path::new("/").join(&l.name) == **dir);
        if !linked && !dirs.iter().any(|d| d == dir) {
            dirs.push((*dir).to_owned());
        }
    }
    (dirs, links)
}

fn host_copy(facts: &InstallFacts) -> Source {
    let mut leave_out: Vec<LeaveOut> = super::host::LEAVE_OUT
        .iter()
        .map(|(path, keep)| LeaveOut { path: path.into(), keep: *keep })
        .collect();
    let private = facts.private.iter().chain([&facts.zonepath]);
    leave_out.extend(private.map(|path| LeaveOut { path: path.clone(), keep: Keep::Nothing }));
    Source::Host { host: "/".into(), enter: facts.system_mounts.clone(), leave_out }
}

/// Returns the steps that remove an installed or incomplete zone. It is the same list for one whose
/// removal was interrupted: what has gone already is no error.
///
/// # Errors
/// [`Refusal`] when something is mounted in the zone, or the zonepath is not what it was.
pub fn plan_uninstall(facts: &UninstallFacts, zone: &ZoneName) -> Result<InstallPlan, Refusal> {
    let zonepath = &facts.zonepath;
    let mut removals = Vec::new();
    let destroy =
        |d: &OwnDataset| InstallStep::DestroyDataset { name: d.name.clone(), path: zonepath.clone() };
    // One that is not mounted was being made or destroyed when something stopped that.
    if let Some(dataset) = facts.dataset.as_ref().filter(|d| !d.mounted) {
        if facts.state == ZoneState::Installed {
            let (path, dataset) = (zonepath.clone(), dataset.name.clone());
            return Err(Refusal::NotMounted { path, dataset });
        }
        removals.push(destroy(dataset));
    }
    match &facts.found {
        Found::Absent { missing: _ } => {}
        Found::Directory { entries, mode: _, uid: _, mounted } => {
            if !facts.mounts.is_empty() {
                let mounts = facts.mounts.clone();
                return Err(Refusal::Mounted { root: zonepath.join("root"), mounts });
            }
            let ours = |e: &&String| STANDARD_ENTRIES.contains(&e.as_str());
            let step = |e: &String| InstallStep::RemoveTree { path: zonepath.join(e) };
            let natural = |e: &String| *mounted && [LOST_FOUND, SNAPSHOTS].contains(&e.as_str());
            let foreign = entries.iter().any(|e| !(ours(&e) || natural(e)));
            let dataset = facts.dataset.as_ref().filter(|d| d.mounted && !foreign);
            if dataset.is_none() {
                removals.extend(entries.iter().filter(ours).map(step));
            }
            if let Some(dataset) = dataset {
                removals.push(destroy(dataset));
            } else if foreign {
                removals.push(InstallStep::KeepUserData { path: zonepath.clone() });
            } else if !mounted {
                removals.push(InstallStep::RemoveDir { path: zonepath.clone() });
            }
        }
        Found::Link(link) => {
            return Err(Refusal::Link { path: zonepath.clone(), link: link.clone() });
        }
        Found::NotADirectory(at) => {
            return Err(Refusal::NotADirectory { path: zonepath.clone(), at: at.clone() });
        }
    }
    let mut steps = vec![InstallStep::SetState { from: facts.state, to: ZoneState::Incomplete }];
    steps.extend(removals);
    steps.push(InstallStep::SetState { from: ZoneState::Incomplete, to: ZoneState::Configured });
    Ok(InstallPlan { zone: zone.clone(), operation: "uninstall".into(), steps })
}

#[cfg(test)]
#[path = "install/tests.rs"]
mod tests;
