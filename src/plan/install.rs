//! The steps of installing and uninstalling a zone, decided from a spec and the facts of the machine, before
//! anything is touched.
//!
//! The list is printed by `zoneadm plan`, written to the journal, and carried out by [`crate::apply::install`]. The
//! steps hold every decision; carrying them out decides nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::sysconfig::SysConfig;
use crate::spec::state::ZoneState;
use crate::spec::{ResourceKind, ZoneName, ZoneSpec};

mod clone;
mod facts;
mod source;
mod step;
mod transfer;

pub use clone::{CloneFacts, CloneTarget, SourceZone, plan_clone};
pub use facts::{
    Elsewhere, HostSymlink, InstallFacts, InstallPlanError, NewDataset, OwnDataset, UninstallFacts,
    ZonepathState,
};
pub use source::{InstallRequest, InstallSource, Keep, Layer, LeaveOut, Packing, Suite};
pub use step::{CopyFrom, DatasetPlace, InstallStep};
pub use transfer::{AttachFacts, DetachFacts, MoveFacts, MoveSource, plan_attach, plan_detach, plan_move};

/// Names in a zonepath that are ours; everything else there belongs to the administrator.
pub const STANDARD_ENTRIES: [&str; 5] = ["dev", "lu", "root", ATTACHED, "SUNWattached.xml"];

/// Names that a fresh file system of its own has at its top.
pub const LOST_FOUND: &str = "lost+found";

/// The name that ZFS shows at the top of a file system whose `snapdir` is visible.
const SNAPSHOTS: &str = ".zfs";

/// The manifest that marks a zonepath as one of a detached zone.
pub const DETACHED: &str = "SUNWdetached.toml";

/// The same as Solaris writes it.
const DETACHED_XML: &str = "SUNWdetached.xml";

/// The treatment of the manifest of a zone that was attached without checks.
pub const ATTACHED: &str = "SUNWattached.toml";

/// Where the zone's root lies. Journals name it, so that a later release may add other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// A plain directory; it works on every file system.
    Directory,
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

impl InstallPlan {
    /// Says whether the plan carries a whole zone elsewhere or out of and into the care of this host:
    /// it is taken back or finished, and the zone is never incomplete.
    pub fn is_transfer(&self) -> bool {
        matches!(self.operation.as_str(), "move" | "detach" | "attach")
    }

    /// Says whether the zone is removed: that frees space, and must not need any.
    pub fn only_removes(&self) -> bool {
        self.operation == "uninstall"
    }

    /// Adds the steps for a profile, before all files are synced to disk.
    #[must_use]
    pub fn with_profile(mut self, profile: Option<&SysConfig>) -> Self {
        let sync = self.steps.iter().enumerate().find_map(|(at, step)| match step {
            InstallStep::Sync { root } => Some((at, root.clone())),
            _ => None,
        });
        if let (Some(profile), Some((at, root))) = (profile, sync) {
            self.steps.insert(at, InstallStep::Configure { root, profile: Box::new(profile.clone()) });
        }
        self
    }

    /// Says whether a failure in a step leaves the results of the earlier steps in place.
    pub fn is_past_return(&self, step: usize) -> bool {
        if self.is_transfer() {
            return self.decisive().is_some_and(|at| step > at);
        }
        self.steps[..=step].iter().any(InstallStep::is_past_return)
    }

    /// Returns the number of the step that decides a transfer.
    pub fn decisive(&self) -> Option<usize> {
        self.steps.iter().position(InstallStep::is_decisive)
    }
}

/// Returns the steps that make a zonepath where there is none.
fn make_zonepath(facts: &InstallFacts) -> Result<Vec<InstallStep>, InstallPlanError> {
    let zonepath = &facts.zonepath;
    let mut steps = Vec::new();
    match &facts.found {
        ZonepathState::Absent { missing } => {
            steps.extend(missing.iter().map(|p| InstallStep::MakeDir { path: p.clone(), mode: 0o755 }));
            let path = zonepath.clone();
            steps.push(match &facts.dataset {
                Some(NewDataset { name, exists: false }) if missing.is_empty() => {
                    InstallStep::MakeDataset { name: name.clone(), path, mode: 0o700 }
                }
                Some(NewDataset { name, exists: true }) if missing.is_empty() => {
                    return Err(InstallPlanError::DatasetExists { path, dataset: name.clone() });
                }
                _ => InstallStep::MakeDir { path, mode: 0o700 },
            });
        }
        ZonepathState::Directory { entries, mode, uid, mounted: _ } => {
            if entries.iter().any(|e| e == DETACHED || e == DETACHED_XML) {
                return Err(InstallPlanError::Detached(zonepath.clone()));
            }
            if let Some(entry) = entries.iter().find(|e| *e != LOST_FOUND) {
                return Err(InstallPlanError::NotEmpty { path: zonepath.clone(), entry: entry.clone() });
            }
            if *mode != 0o700 || *uid != 0 {
                steps.push(InstallStep::OwnDir { path: zonepath.clone(), mode: 0o700 });
            }
        }
        ZonepathState::Link(link) => {
            return Err(InstallPlanError::Link { path: zonepath.clone(), link: link.clone() });
        }
        ZonepathState::NotADirectory(at) => {
            return Err(InstallPlanError::NotADirectory { path: zonepath.clone(), at: at.clone() });
        }
    }
    Ok(steps)
}

/// Returns the steps that install a zone.
///
/// # Errors
/// [`InstallPlanError`] when the zonepath or the source does not allow it.
pub fn plan_install(
    facts: &InstallFacts,
    spec: &ZoneSpec,
    request: &InstallRequest,
) -> Result<InstallPlan, InstallPlanError> {
    let zonepath = &facts.zonepath;
    let mut steps = vec![InstallStep::SetState { from: ZoneState::Configured, to: ZoneState::Incomplete }];
    steps.extend(make_zonepath(facts)?);
    let inherited = inherited(spec);
    let source = match request {
        InstallRequest::Given(source) => source.clone(),
        InstallRequest::Default if inherited.is_empty() => host_copy(facts),
        InstallRequest::Default => InstallSource::Sparse { host: "/".into() },
    };
    if let InstallSource::Tree { dir } = &source {
        let (dir, path) = (dir.clone(), zonepath.clone());
        if zonepath.starts_with(&dir) {
            return Err(InstallPlanError::SourceHoldsZonepath { dir, path });
        }
        if dir.starts_with(zonepath) {
            return Err(InstallPlanError::SourceInZonepath { dir, path });
        }
    }
    let lock_passwords = matches!(source, InstallSource::Sparse { .. } | InstallSource::Host { .. });
    let host = match &source {
        InstallSource::Sparse { host } | InstallSource::Host { host, .. } => host.clone(),
        _ => "/".into(),
    };
    let root = zonepath.join("root");
    let (dirs, links) = mount_points(&inherited, &facts.host_links);
    let hostname = spec.name.to_string();
    steps.extend([
        InstallStep::MakeRoot { path: root.clone(), storage: Storage::Directory },
        InstallStep::Populate { root: root.clone(), source },
        InstallStep::MountPoints { root: root.clone(), dirs, links },
        InstallStep::Identity { root: root.clone(), hostname, host, lock_passwords },
        InstallStep::Sync { root },
        InstallStep::SetState { from: ZoneState::Incomplete, to: ZoneState::Installed },
    ]);
    Ok(InstallPlan { zone: spec.name.clone(), operation: "install".into(), steps })
}

/// Returns the directories that a zone shows of its host.
fn inherited(spec: &ZoneSpec) -> Vec<&Path> {
    let list = spec.stored(ResourceKind::InheritPkgDir).iter();
    list.filter_map(|r| r.text("dir").map(Path::new)).collect()
}

/// Returns the directories that boot mounts over, and the links of the host into inherited ones.
fn mount_points(inherited: &[&Path], host_links: &[HostSymlink]) -> (Vec<PathBuf>, Vec<HostSymlink>) {
    let mut dirs: Vec<PathBuf> = ["/dev", "/proc", "/sys", "/run", "/tmp"].map(PathBuf::from).into();
    let links: Vec<HostSymlink> = host_links
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

fn host_copy(facts: &InstallFacts) -> InstallSource {
    let mut leave_out: Vec<LeaveOut> = super::host::LEAVE_OUT
        .iter()
        .map(|(path, keep)| LeaveOut { path: path.into(), keep: *keep })
        .collect();
    let private = facts.private.iter().chain([&facts.zonepath]);
    leave_out.extend(private.map(|path| LeaveOut { path: path.clone(), keep: Keep::Nothing }));
    InstallSource::Host { host: "/".into(), enter: facts.system_mounts.clone(), leave_out }
}

/// Returns the steps that remove an installed or incomplete zone. An interrupted removal gets the same list: a
/// missing file is no error.
///
/// # Errors
/// [`InstallPlanError`] when something is mounted in the zone, or the zonepath has another kind than before.
pub fn plan_uninstall(facts: &UninstallFacts, zone: &ZoneName) -> Result<InstallPlan, InstallPlanError> {
    let zonepath = &facts.zonepath;
    let mut removals = Vec::new();
    let destroy = |d: &OwnDataset| {
        let (name, path) = (d.name.clone(), zonepath.clone());
        InstallStep::DestroyDataset { name, path, fresh: d.fresh && !d.mounted }
    };
    // A dataset that is not mounted was left by an installation or removal that was interrupted.
    let unmounted = facts.dataset.as_ref().filter(|d| !d.mounted);
    if let Some(Elsewhere { has_owner_mark, text }) = &facts.elsewhere {
        let (path, why) = (zonepath.clone(), text.clone());
        if facts.state == ZoneState::Installed {
            return Err(InstallPlanError::Forgets { zone: zone.to_string(), path, why });
        }
        if *has_owner_mark && unmounted.is_none() {
            return Err(InstallPlanError::Marked { path, why });
        }
    }
    removals.extend(unmounted.map(destroy));
    match &facts.found {
        ZonepathState::Absent { missing: _ } => {}
        ZonepathState::Directory { entries, mode: _, uid: _, mounted } => {
            if !facts.mounts.is_empty() {
                let mounts = facts.mounts.clone();
                return Err(InstallPlanError::Mounted { root: zonepath.join("root"), mounts });
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
        ZonepathState::Link(link) => {
            return Err(InstallPlanError::Link { path: zonepath.clone(), link: link.clone() });
        }
        ZonepathState::NotADirectory(at) => {
            return Err(InstallPlanError::NotADirectory { path: zonepath.clone(), at: at.clone() });
        }
    }
    let mut steps = vec![InstallStep::SetState { from: facts.state, to: ZoneState::Incomplete }];
    steps.extend(removals);
    steps.extend(facts.left.iter().cloned());
    steps.push(InstallStep::SetState { from: ZoneState::Incomplete, to: ZoneState::Configured });
    Ok(InstallPlan { zone: zone.clone(), operation: "uninstall".into(), steps })
}

#[cfg(test)]
#[path = "install/tests.rs"]
mod tests;
