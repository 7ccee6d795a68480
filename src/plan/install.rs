//! What installing and uninstalling a zone consist of: a list of steps, decided from a spec and from
//! what was observed, before anything is touched.
//!
//! The list is printed by `zoneadm plan`, written to the journal, and carried out by
//! [`crate::apply::install`]. Steps hold every decision already made; who carries them out decides
//! nothing any more.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::spec::state::ZoneState;
use crate::spec::{ResourceKind, ZoneName, ZoneSpec};

/// Names in a zonepath that are ours; everything else there belongs to the administrator.
pub const STANDARD_ENTRIES: [&str; 4] = ["dev", "lu", "root", "SUNWattached.xml"];

/// What a fresh file system of its own brings along at its top.
pub const LOST_FOUND: &str = "lost+found";

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

/// How an archive is packed, told by its first bytes and never by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain tar",
            Self::Gzip => "tar, gzip",
            Self::Xz => "tar, xz",
            Self::Zstd => "tar, zstd",
        })
    }
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Sha-256 in hexadecimal; verified before the first step.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// How it is packed.
    pub packing: Packing,
}

/// What is kept of a place that is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// The directory itself.
    Directory,
    /// All directories, no files.
    Directories,
}

/// A place of the host that is not copied into a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveOut {
    /// Path; its last part may hold a `*`.
    pub path: PathBuf,
    /// What is kept of it.
    pub keep: Keep,
}

/// Where the content of the zone's root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The host's software is mounted at boot; only `/etc`, `/var` and the like are made.
    Sparse {
        /// The host's root; `/` but in tests.
        host: PathBuf,
    },
    /// A copy of the host's own system.
    Host {
        /// The host's root; `/` but in tests.
        host: PathBuf,
        /// Mounts that belong to the system: a `/usr` or `/var` of its own.
        enter: Vec<PathBuf>,
        /// What is not copied.
        leave_out: Vec<LeaveOut>,
    },
    /// A copy of a tree.
    Tree {
        /// Its top.
        dir: PathBuf,
    },
    /// A tar archive.
    Archive {
        /// The file.
        file: PathBuf,
        /// How it is packed.
        packing: Packing,
    },
    /// An OCI image layout.
    Image {
        /// The folder.
        layout: PathBuf,
        /// Layers, lowest first.
        layers: Vec<Layer>,
    },
    /// A distribution's own installer.
    Suite {
        /// Name of the suite.
        suite: String,
        /// The installer.
        tool: PathBuf,
    },
}

/// What was asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing: sparse if the spec inherits directories, else a copy of the host.
    Default,
    /// A source.
    Given(Source),
}

/// What has the place of the zonepath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
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
pub struct HostLink {
    /// Its name.
    pub name: PathBuf,
    /// Where it points.
    pub target: PathBuf,
}

/// What `install` must know of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// What is there.
    pub found: Found,
    /// Type of the file system that it will lie on, as the mount table has it.
    pub file_system: String,
    /// Links at the top of the host's root.
    pub host_links: Vec<HostLink>,
    /// Zonepaths of all zones and our own folders: nothing of a zone is copied into another.
    pub private: Vec<PathBuf>,
    /// Mounts of the host that are part of its system.
    pub system_mounts: Vec<PathBuf>,
}

/// What `uninstall` must know of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UninstallFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// What is there.
    pub found: Found,
    /// Mount points at or below the zone's root and our other entries.
    pub mounts: Vec<PathBuf>,
    /// State on disk.
    pub state: ZoneState,
}

/// Why there is no plan. Nothing has been touched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The spec has no zonepath.
    #[error("zonepath is not set")]
    NoZonepath,
    /// The zonepath holds something.
    #[error(
        "zonepath {} is not empty: it holds '{entry}'; empty it or choose another zonepath", path.display()
    )]
    NotEmpty {
        /// The zonepath.
        path: PathBuf,
        /// One of the names in it.
        entry: String,
    },
    /// The zonepath holds a detached zone.
    #[error("Cannot install detached zone.\nUse attach or remove {} directory.", .0.display())]
    Detached(PathBuf),
    /// A link on the way to the zonepath.
    #[error("zonepath {}: Resolved path mismatch: {} is a symbolic link", path.display(), link.display())]
    Link {
        /// The zonepath.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// A file on the way to the zonepath.
    #[error("zonepath {}: {} is not a directory", path.display(), at.display())]
    NotADirectory {
        /// The zonepath.
        path: PathBuf,
        /// What is in the way.
        at: PathBuf,
    },
    /// The zonepath would be copied into itself.
    #[error("cannot copy {}: the zonepath {} lies in it", dir.display(), path.display())]
    SourceHoldsZonepath {
        /// The source.
        dir: PathBuf,
        /// The zonepath.
        path: PathBuf,
    },
    /// The source is the zonepath, or lies in it.
    #[error("cannot copy {}: it lies in the zonepath {}", dir.display(), path.display())]
    SourceInZonepath {
        /// The source.
        dir: PathBuf,
        /// The zonepath.
        path: PathBuf,
    },
    /// Something is mounted in the zone.
    #[error("These file systems are mounted on subdirectories of {}.{}", root.display(), lines(mounts))]
    Mounted {
        /// The zone's root.
        root: PathBuf,
        /// Mount points.
        mounts: Vec<PathBuf>,
    },
}

fn lines(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| format!("\n  {}", p.display())).collect()
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
            Self::OwnDir { path, mode } => {
                format!("give directory {} to root (mode {mode:04o})", path.display())
            }
            Self::MakeRoot { path, storage: Storage::Directory } => {
                format!("make the zone's root {} as a directory", path.display())
            }
            Self::Populate { root, source } => format!("fill {} {}", root.display(), describe_source(source)),
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
            Self::OwnDir { path: _, mode: _ }
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
        matches!(self, Self::Populate { .. } | Self::RemoveTree { .. })
    }
}

fn describe_source(source: &Source) -> String {
    match source {
        Source::Sparse { host: _ } => "with a minimal private tree (sparse root)".to_owned(),
        Source::Host { host, enter, leave_out } => {
            let more: String = enter.iter().map(|m| format!(" and {}", m.display())).collect();
            let out = leave_out.len();
            format!("with a copy of {}{more}, leaving out {out} private or passing places", host.display())
        }
        Source::Tree { dir } => format!("with a copy of {}", dir.display()),
        Source::Archive { file, packing } => format!("from archive {} ({packing})", file.display()),
        Source::Image { layout, layers } => {
            format!("from image {} ({} layers)", layout.display(), layers.len())
        }
        Source::Suite { suite, tool } => format!("with suite {suite} by {}", tool.display()),
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
            steps.push(InstallStep::MakeDir { path: zonepath.clone(), mode: 0o700 });
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
    match &facts.found {
        Found::Absent { missing: _ } => {}
        Found::Directory { entries, mode: _, uid: _, mounted } => {
            if !facts.mounts.is_empty() {
                let mounts = facts.mounts.clone();
                return Err(Refusal::Mounted { root: zonepath.join("root"), mounts });
            }
            let ours = |e: &&String| STANDARD_ENTRIES.contains(&e.as_str());
            let step = |e: &String| InstallStep::RemoveTree { path: zonepath.join(e) };
            removals.extend(entries.iter().filter(ours).map(step));
            let foreign = entries.iter().any(|e| !ours(&e) && !(*mounted && e == LOST_FOUND));
            if foreign {
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
#[path = "install_tests.rs"]
mod tests;
