//! The steps of moving, detaching and attaching a zone: it stays whole, and is elsewhere or in other hands
//! afterwards.

use std::path::PathBuf;

use super::clone::is_empty;
use super::{
    ATTACHED, CopyFrom, DETACHED, DatasetPlace, InstallFacts, InstallPlan, InstallPlanError, InstallStep,
    NewDataset, ZonepathState, make_zonepath,
};
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;

/// The kind of the zonepath that is to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveSource {
    /// A directory.
    Directory,
    /// A file system is mounted there, and it is not ours to mount it elsewhere.
    Mounted,
    /// A ZFS file system.
    Dataset {
        /// The present place.
        place: DatasetPlace,
        /// It may get another name: `install` has made it and no configuration names it.
        free: bool,
        /// The directory below which everything of its pool is mounted.
        altroot: Option<String>,
    },
}

/// The facts of the machine that `move` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// The property as it is written now.
    pub written: String,
    /// The property as it will be.
    pub wanted: String,
    /// The state of the zonepath.
    pub source: MoveSource,
    /// The new place.
    pub target: InstallFacts,
    /// A rename leads from the one to the other.
    pub same_mount: bool,
    /// Mount points below the zonepath.
    pub mounts: Vec<PathBuf>,
}

/// Returns the steps that move a zone.
///
/// # Errors
/// [`InstallPlanError`] when the new place does not allow it, or something is mounted in the zone.
pub fn plan_move(facts: &MoveFacts, zone: &ZoneName) -> Result<InstallPlan, InstallPlanError> {
    let MoveFacts { zonepath: old, written, wanted, source, target, same_mount, mounts } = facts;
    let new = &target.zonepath;
    let refuse = |why: &str| Err(InstallPlanError::CannotMove { path: wanted.into(), why: why.to_owned() });
    if new == old {
        return refuse("the zone is there already");
    }
    if new.starts_with(old) {
        return refuse("it lies in the zone");
    }
    if !mounts.is_empty() {
        return Err(InstallPlanError::Mounted { root: old.clone(), mounts: mounts.clone() });
    }
    let mut parents = Vec::new();
    let mut taken = false;
    match &target.found {
        ZonepathState::Absent { missing } => {
            parents.extend(missing.iter().map(|p| InstallStep::MakeDir { path: p.clone(), mode: 0o755 }));
        }
        ZonepathState::Directory { entries, mode: _, uid: _, mounted } => {
            if !is_empty(entries) {
                return refuse("directory not empty");
            }
            taken = *mounted;
        }
        ZonepathState::Link(_) | ZonepathState::NotADirectory(_) => drop(make_zonepath(target)?),
    }
    let mut steps = Vec::new();
    let mut after = Vec::new();
    match source {
        MoveSource::Dataset { .. } if taken => return refuse("a file system is already mounted there"),
        MoveSource::Dataset { place, free, altroot } => {
            steps.extend(parents);
            let to = new_place(place, *free, altroot.as_deref(), target)?;
            steps.push(InstallStep::MoveDataset { from: place.clone(), to });
        }
        MoveSource::Directory if *same_mount && !taken => {
            steps.extend(parents);
            steps.push(InstallStep::RenameDir { from: old.clone(), to: new.clone() });
        }
        MoveSource::Directory | MoveSource::Mounted => {
            steps.extend(make_zonepath(target)?);
            let from = CopyFrom::Path(old.clone());
            steps.push(InstallStep::CopyZone { from, to: new.clone(), moving: true });
            steps.push(InstallStep::Sync { root: new.clone() });
            let mounted = *source == MoveSource::Mounted;
            after.push(InstallStep::CleanUp { path: old.clone(), mounted });
        }
    }
    steps.push(InstallStep::SetZonepath { from: written.clone(), to: wanted.clone() });
    steps.extend(after);
    Ok(InstallPlan { zone: zone.clone(), operation: "move".into(), steps })
}

/// Returns where a ZFS file system goes: to the name that fits the new place, else under its own.
fn new_place(
    place: &DatasetPlace,
    free: bool,
    altroot: Option<&str>,
    target: &InstallFacts,
) -> Result<DatasetPlace, InstallPlanError> {
    let path = target.zonepath.clone();
    let pool = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    if let Some(NewDataset { name, exists }) = &target.dataset {
        if *name == place.name {
            return Ok(DatasetPlace { name: name.clone(), path, mountpoint: None });
        }
        if *exists {
            return Err(InstallPlanError::DatasetExists { path, dataset: name.clone() });
        }
        if free && pool(name) == pool(&place.name) && !name.starts_with(&format!("{}/", place.name)) {
            return Ok(DatasetPlace { name: name.clone(), path, mountpoint: None });
        }
    }
    // A path that is no text cannot be the value of the property.
    let Some(altroot) = altroot else {
        let mountpoint = path.to_str().map(str::to_owned);
        return Ok(DatasetPlace { name: place.name.clone(), path, mountpoint });
    };
    // The value of the property does not include the alternate root.
    let mountpoint = path.strip_prefix(altroot).ok().and_then(|below| below.to_str());
    let Some(mountpoint) = mountpoint.map(|below| Some(format!("/{below}"))) else {
        let why = format!("it is not below the alternate root {} of the pool", altroot.shown());
        return Err(InstallPlanError::CannotMove { path, why });
    };
    Ok(DatasetPlace { name: place.name.clone(), path, mountpoint })
}

/// The facts of the machine that `detach` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// Mount points at or below the root.
    pub mounts: Vec<PathBuf>,
}

/// Returns the steps that detach a zone.
///
/// # Errors
/// [`InstallPlanError::Mounted`].
pub fn plan_detach(facts: &DetachFacts, zone: &ZoneName) -> Result<InstallPlan, InstallPlanError> {
    let DetachFacts { zonepath, mounts } = facts;
    if !mounts.is_empty() {
        return Err(InstallPlanError::Mounted { root: zonepath.join("root"), mounts: mounts.clone() });
    }
    let steps = vec![
        InstallStep::WriteManifest { path: zonepath.join(DETACHED) },
        InstallStep::NoteState { from: ZoneState::Installed, to: ZoneState::Configured },
    ];
    Ok(InstallPlan { zone: zone.clone(), operation: "detach".into(), steps })
}

/// The facts of the machine that `attach` needs. That the zone fits this host was checked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachFacts {
    /// The zonepath as the host sees it.
    pub zonepath: PathBuf,
    /// The state of the zonepath.
    pub found: ZonepathState,
    /// The state of the zone.
    pub state: ZoneState,
    /// `-F`.
    pub force: bool,
    /// The uuid and the first id that the zone gets back.
    pub identity: (Option<String>, Option<u32>),
    /// `-u`, for a zone with the host's software: the host's root.
    pub refresh: Option<PathBuf>,
    /// The ZFS file system that a `zoneadm` has made for the zone, and its owner mark: the name of a zone.
    pub dataset: Option<(String, String)>,
}

/// Returns the steps that attach a zone.
///
/// # Errors
/// [`InstallPlanError`] when there is none at its zonepath.
pub fn plan_attach(facts: &AttachFacts, zone: &ZoneName) -> Result<InstallPlan, InstallPlanError> {
    let AttachFacts { zonepath, found, state, force, identity, refresh, dataset } = facts;
    let entries = match found {
        ZonepathState::Directory { entries, .. } => entries,
        ZonepathState::Absent { missing: _ } => {
            return Err(InstallPlanError::CannotAttach(format!("{} does not exist", zonepath.shown())));
        }
        ZonepathState::Link(link) => {
            return Err(InstallPlanError::Link { path: zonepath.clone(), link: link.clone() });
        }
        ZonepathState::NotADirectory(at) => {
            return Err(InstallPlanError::NotADirectory { path: zonepath.clone(), at: at.clone() });
        }
    };
    let has = |name: &str| entries.iter().any(|e| e == name);
    if !has("root") {
        return Err(InstallPlanError::CannotAttach(format!(
            "{} has no directory root: no zone is there",
            zonepath.shown()
        )));
    }
    let manifest = zonepath.join(DETACHED);
    if !has(DETACHED) && !force {
        return Err(InstallPlanError::CannotAttach(format!(
            "{} does not exist: no zone was detached there; -F attaches what is there without a check",
            manifest.shown()
        )));
    }
    let mut steps = vec![InstallStep::OwnDir { path: zonepath.clone(), mode: 0o700 }];
    if let ZonepathState::Directory { mode: 0o700, uid: 0, .. } = found {
        steps.clear();
    }
    if let Some((name, mark)) = dataset.as_ref().filter(|(_, mark)| *mark != zone.as_str()) {
        let (from, to) = (mark.clone(), zone.to_string());
        steps.push(InstallStep::MarkDataset { name: name.clone(), from, to });
    }
    let root = zonepath.join("root");
    steps.extend(refresh.iter().map(|host| InstallStep::Refresh { root: root.clone(), host: host.clone() }));
    if *identity != (None, None) {
        steps.push(InstallStep::Adopt { uuid: identity.0.clone(), first: identity.1 });
    }
    steps.push(InstallStep::NoteState { from: *state, to: ZoneState::Installed });
    if has(DETACHED) {
        steps.push(match force {
            true => InstallStep::RenameFile { from: manifest, to: zonepath.join(ATTACHED) },
            false => InstallStep::RemoveFile { path: manifest },
        });
    }
    Ok(InstallPlan { zone: zone.clone(), operation: "attach".into(), steps })
}
