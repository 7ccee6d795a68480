//! The steps of cloning a zone.

use std::path::PathBuf;

use super::{
    CopyFrom, InstallFacts, InstallPlan, InstallPlanError, InstallStep, LOST_FOUND, NewDataset,
    ZonepathState, inherited, make_zonepath, mount_points,
};
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::{ZoneName, ZoneSpec};

/// The zone that is cloned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceZone {
    /// Its name.
    pub name: ZoneName,
    /// Its zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// The ZFS file system that is mounted there, whole.
    pub dataset: Option<String>,
    /// Mount points at or below its root and our other entries.
    pub mounts: Vec<PathBuf>,
}

/// A delegated dataset to be cloned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneTarget {
    /// The source's.
    pub from: String,
    /// The target's, which does not exist yet.
    pub to: String,
    /// The dataset and all below it, outer ones first.
    pub members: Vec<String>,
}

/// The facts of the machine that `clone` needs, and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneFacts {
    /// The place of the new zone.
    pub target: InstallFacts,
    /// The zone that is cloned.
    pub source: SourceZone,
    /// `-m copy`, or cloning has failed.
    pub copy: bool,
    /// `-s`: the snapshot, whole name.
    pub snapshot: Option<String>,
    /// `--with-datasets`.
    pub trees: Vec<CloneTarget>,
    /// The first number that no `SUNWzone` snapshot of the cloned datasets has.
    pub number: u64,
}

impl CloneFacts {
    /// Says whether the zonepath can become a ZFS clone; the reason when it cannot.
    ///
    /// # Errors
    /// The reason why a file system of the source is not usable.
    pub fn clonable(&self) -> Result<(&str, &str), String> {
        let Some(dataset) = &self.source.dataset else {
            return Err(format!("{} is not a ZFS file system", self.source.zonepath.shown()));
        };
        let target = &self.target;
        let Some(NewDataset { name, exists }) = &target.dataset else {
            let above = target.zonepath.parent().unwrap_or(&target.zonepath);
            return Err(format!("{} is not the mount point of a ZFS file system", above.shown()));
        };
        if *exists {
            return Err(format!("the ZFS file system {name} exists"));
        }
        if pool(dataset) != pool(name) {
            return Err(format!("{name} is in another pool than {dataset}"));
        }
        if matches!(target.found, ZonepathState::Directory { mounted: true, .. }) {
            return Err(format!("a file system is already mounted on {}", target.zonepath.shown()));
        }
        Ok((dataset, name))
    }
}

fn pool(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// Returns the steps that make a zone from another one.
///
/// # Errors
/// [`InstallPlanError`] when the zonepath or the source does not allow it.
pub fn plan_clone(facts: &CloneFacts, spec: &ZoneSpec) -> Result<InstallPlan, InstallPlanError> {
    let CloneFacts { target, source, copy, snapshot, trees, number } = facts;
    if !source.mounts.is_empty() {
        let mounts = source.mounts.clone();
        return Err(InstallPlanError::Mounted { root: source.zonepath.join("root"), mounts });
    }
    let made = make_zonepath(target)?;
    let clone = match facts.clonable() {
        _ if *copy => None,
        Ok((dataset, name)) => Some((dataset, name)),
        Err(why) => match snapshot {
            Some(snapshot) => return Err(InstallPlanError::CannotClone { snapshot: snapshot.clone(), why }),
            None => None,
        },
    };
    let label = format!("SUNWzone{number}");
    let mut fresh: Vec<String> =
        trees.iter().flat_map(|t| &t.members).map(|name| format!("{name}@{label}")).collect();
    let from_trees = fresh.clone();
    let origin = clone.map(|(dataset, _)| match snapshot {
        Some(given) => given.clone(),
        None => {
            let origin = format!("{dataset}@{label}");
            fresh.push(origin.clone());
            origin
        }
    });

    let mut steps = vec![InstallStep::SetState { from: ZoneState::Configured, to: ZoneState::Incomplete }];
    steps.extend(take(&fresh, &spec.name));
    steps.extend(trees.iter().map(|t| InstallStep::CloneTree {
        from: t.from.clone(),
        snapshot: label.clone(),
        to: t.to.clone(),
        source: source.name.clone(),
    }));
    let zonepath = &target.zonepath;
    if let (Some((_, name)), Some(snapshot)) = (clone, origin) {
        steps.push(InstallStep::CloneDataset { snapshot, name: name.to_owned(), path: zonepath.clone() });
    } else {
        let from = match snapshot {
            Some(snapshot) => CopyFrom::Snapshot(snapshot.clone()),
            None => CopyFrom::Path(source.zonepath.clone()),
        };
        steps.extend(made);
        steps.push(InstallStep::CopyZone { from, to: zonepath.clone(), moving: false });
    }
    let root = zonepath.join("root");
    let (dirs, links) = mount_points(&inherited(spec), &target.host_links);
    let hostname = spec.name.to_string();
    steps.extend([
        InstallStep::MountPoints { root: root.clone(), dirs, links },
        InstallStep::Reidentify { root: root.clone(), source: source.name.clone(), hostname },
        InstallStep::Sync { root },
    ]);
    if !from_trees.is_empty() {
        steps.push(InstallStep::ReleaseSnapshots { names: from_trees });
    }
    steps.push(InstallStep::SetState { from: ZoneState::Incomplete, to: ZoneState::Installed });
    Ok(InstallPlan { zone: spec.name.clone(), operation: "clone".into(), steps })
}

/// Returns one snapshot step for each pool: ZFS takes the snapshots within a pool in one moment.
fn take(names: &[String], zone: &ZoneName) -> Vec<InstallStep> {
    let mut steps: Vec<(&str, Vec<String>)> = Vec::new();
    for name in names {
        let of = pool(name.split('@').next().unwrap_or(name));
        match steps.iter_mut().find(|(pool, _)| *pool == of) {
            Some((_, list)) => list.push(name.clone()),
            None => steps.push((of, vec![name.clone()])),
        }
    }
    let step = |(_, names)| InstallStep::TakeSnapshots { names, zone: zone.clone() };
    steps.into_iter().map(step).collect()
}

/// Says whether a directory counts as empty.
pub(super) fn is_empty(entries: &[String]) -> bool {
    entries.iter().all(|e| e == LOST_FOUND)
}
