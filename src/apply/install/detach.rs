//! `zoneadm detach` and `attach`: a zone leaves the care of this host, or comes into it.
//!
//! The root stays where it is. The manifest ([`manifest`](fn@manifest)) goes with it: the host that attaches the
//! zone, this one or another, reads in it the zone's requirements.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{InstallError, dataset, observe, run};
use crate::apply::Op;
use crate::apply::etc::hostname;
use crate::apply::paths::real_path;
use crate::apply::store::manifest::{self, Manifest, Origin};
use crate::apply::zfs::system::ZfsSystem;
use crate::plan::install::{
    AttachFacts, DETACHED, DetachFacts, InstallPlan, InstallPlanError, plan_attach, plan_detach,
};
use crate::spec::shown::Show;
use crate::spec::store::ZoneStore;
use crate::spec::{ResourceKind, ZoneName, ZoneSpec};
use crate::sys::mountinfo::mounts;
use crate::sys::path::{At, Dir, Owned};
use crate::zfs::{PropertySource, Zfs};

/// Longest `os-release` that is read.
const RELEASE_MAX: usize = 64 * 1024;

/// The options of `attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachArgs {
    /// `-F`: without a check.
    pub force: bool,
    /// `-u`, `-U`: the files that go with the host's software are taken from this host.
    pub update: bool,
    /// The host's root; `/` but in tests.
    pub host: PathBuf,
}

/// Detaches a zone: it is configured afterwards, and its root and a manifest stay.
///
/// # Errors
/// [`InstallError`]; the zone is then installed as before.
pub fn detach(op: &mut Op<'_>) -> Result<(), InstallError> {
    let plan = detach_plan(op)?;
    run::run(op, &plan)
}

/// Returns what [`detach`] would do. Touches nothing.
///
/// # Errors
/// [`InstallError`] when it would be refused.
pub fn detach_plan(op: &Op<'_>) -> Result<InstallPlan, InstallError> {
    let zonepath = observe::zonepath(op)?;
    observe::open_root(op.store.root(), op.name, &zonepath)?;
    let mounts = observe::mounts_in(op.store.root(), &zonepath, &mounts()?);
    Ok(plan_detach(&DetachFacts { zonepath, mounts }, op.name)?)
}

/// Returns the manifest that [`detach`] would write.
///
/// # Errors
/// [`InstallError`] when the zone's spec or state cannot be read.
pub fn manifest(op: &Op<'_>) -> Result<String, InstallError> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let name = rustix::system::uname();
    let origin = Origin {
        zone: op.name.to_string(),
        host: name.nodename().to_string_lossy().into_owned(),
        time,
        uuid: op.store.uuid(op.name)?,
        first_id: op.store.private_range(op.name)?.map(|r| r.outside),
        machine: name.machine().to_string_lossy().into_owned(),
        system: system(Path::new("/")),
    };
    Ok(manifest::render(&op.store.spec_text(op.name)?, &origin)?)
}

/// Writes the manifest into the zonepath.
pub(super) fn write_manifest(op: &Op<'_>, path: &Path) -> Result<bool, InstallError> {
    let text = manifest(op)?;
    let (parent, name) = observe::open_parent(op.store.root(), path)?;
    parent.write(Path::new(&name), Owned::root(0o600), text.as_bytes())?;
    rustix::fs::syncfs(&parent).at("sync", path)?;
    Ok(true)
}

/// Removes a file; it may be gone.
pub(super) fn remove_file(op: &Op<'_>, path: &Path) -> Result<bool, InstallError> {
    let (parent, name) = match observe::open_parent(op.store.root(), path) {
        Err(InstallError::Path(e)) if e.is_not_found() => return Ok(false),
        other => other?,
    };
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e).at("remove", path)?,
    }
}

/// Gives a file another name; it may have it.
pub(super) fn rename_file(op: &Op<'_>, from: &Path, to: &Path) -> Result<bool, InstallError> {
    let root = op.store.root();
    let (old, old_name) = observe::open_parent(root, from)?;
    let (new, new_name) = observe::open_parent(root, to)?;
    match rustix::fs::renameat(&old, &old_name, &new, &new_name) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e).at("rename", from)?,
    }
}

/// Notes at a ZFS file system which zone owns it: sets its owner mark, the property [`dataset::MARK`]. An empty `zone`
/// restores the value that a received stream has brought.
pub(super) fn set_owner_mark(name: &str, zone: &str) -> Result<bool, InstallError> {
    let failed = |why: String| InstallError::Relocate { name: name.to_owned(), why };
    let zfs = Zfs::open().map_err(|e| failed(e.to_string()))?;
    mark_in(&zfs, name, zone).map_err(failed)
}

pub(super) fn mark_in(zfs: &dyn ZfsSystem, name: &str, zone: &str) -> Result<bool, String> {
    let done = if zone.is_empty() {
        zfs.inherit(name, dataset::MARK, true).map_err(|e| e.to_string())
    } else {
        zfs.set_props(name, &[(dataset::MARK, zone)].into()).map_err(|e| e.to_string())
    };
    done.map(|()| true)
}

/// Attaches a zone: it is installed afterwards.
///
/// # Errors
/// [`InstallError`]; the zone is then configured as before.
pub fn attach(op: &mut Op<'_>, args: &AttachArgs) -> Result<(), InstallError> {
    let (plan, notes) = attach_plan(op, args)?;
    for note in notes {
        op.out.warn(&note);
    }
    let zonepath = observe::zonepath(op)?;
    let manifest = op.store.manifest(&zonepath.join(DETACHED), op.name).ok().flatten();
    run::run(op, &plan)?;
    let former = manifest.and_then(|m| m.origin).and_then(|origin| ZoneName::new(&origin.zone).ok());
    if let Some(former) = former.filter(|former| former != op.name)
        && let Err(e) = hostname::follow(&zonepath.join("root"), &former, op.name)
    {
        op.out.warn(&format!("WARNING: the zone keeps the host name {former}: {e}"));
    }
    Ok(())
}

/// Returns the steps of [`attach`] and the messages to print before. Touches nothing.
///
/// # Errors
/// [`InstallError`] when it would be refused.
pub fn attach_plan(op: &Op<'_>, args: &AttachArgs) -> Result<(InstallPlan, Vec<String>), InstallError> {
    let root = op.store.root();
    let zonepath = observe::zonepath(op)?;
    let found = observe::find(root, &zonepath)?;
    let real = real_path(root, &zonepath);
    let mut facts = AttachFacts {
        found,
        state: op.store.installed_state(op.name)?,
        force: args.force,
        identity: (None, None),
        refresh: None,
        dataset: owner_mark(&real)?,
        zonepath,
    };
    // A missing directory needs no check.
    plan_attach(&facts, op.name)?;
    let mut notes = Vec::new();
    let found = op.store.manifest(&facts.zonepath.join(DETACHED), op.name);
    let found = match found {
        Err(_) if args.force => None,
        other => other?,
    };
    let sparse = is_sparse(op.spec);
    facts.refresh = Some(args.host.clone()).filter(|_| args.update && sparse);
    if let Some(Manifest { spec, origin }) = found {
        if !args.force {
            check_spec(op.spec, &spec)?;
        }
        if let Some(origin) = origin {
            if !args.force {
                check_host(&origin, &args.host, sparse, args.update)?;
            }
            facts.identity = identity(op, &origin, &mut notes)?;
        }
    }
    Ok((plan_attach(&facts, op.name)?, notes))
}

/// Checks a manifest that a zone may be attached with, before anything of it is here: what `attach -n` does.
///
/// # Errors
/// [`InstallError`] with the part that does not fit.
pub fn check_manifest(bytes: &[u8], shown: &Path) -> Result<(), InstallError> {
    let Manifest { spec, origin } = manifest::read(bytes, None, shown)?;
    match origin {
        Some(origin) => check_host(&origin, Path::new("/"), is_sparse(&spec), false),
        None => Err(InstallPlanError::CannotAttach(format!(
            "{}: not the manifest of a detached zone: it has no table [detached]",
            shown.shown()
        ))
        .into()),
    }
}

fn is_sparse(spec: &ZoneSpec) -> bool {
    !spec.stored(ResourceKind::InheritPkgDir).is_empty()
}

/// Refuses a configuration that the root was not made for: without the host's directories a sparse root
/// has no programs.
fn check_spec(ours: &ZoneSpec, theirs: &ZoneSpec) -> Result<(), InstallError> {
    let dirs = |spec: &ZoneSpec| -> Vec<String> {
        let list = spec.stored(ResourceKind::InheritPkgDir).iter();
        let mut dirs: Vec<_> = list.filter_map(|r| r.text("dir").map(str::to_owned)).collect();
        dirs.sort();
        dirs
    };
    let tell = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(" ") };
    let (ours, theirs) = (dirs(ours), dirs(theirs));
    if ours == theirs {
        return Ok(());
    }
    Err(InstallPlanError::CannotAttach(format!(
        "the zone was detached with other inherit-pkg-dir resources ({}) than it is configured with ({}); \
         'create -a' of zonecfg takes them over, -F attaches it as it is",
        tell(theirs),
        tell(ours)
    ))
    .into())
}

fn check_host(origin: &Origin, host: &Path, sparse: bool, update: bool) -> Result<(), InstallError> {
    let name = rustix::system::uname();
    let machine = name.machine().to_string_lossy();
    let refuse = |text: String| Err(InstallPlanError::CannotAttach(text).into());
    if !origin.machine.is_empty() && origin.machine != machine {
        return refuse(format!(
            "the zone is of a host of type {}, and this one is of type {machine}; -F attaches it all the same",
            origin.machine.shown()
        ));
    }
    let here = system(host);
    if sparse && !update && !origin.system.is_empty() && origin.system != here {
        return refuse(format!(
            "the zone uses the host's software, and was detached from {} where this host is {here}; \
             -u takes what goes with it from this host, -F attaches it as it is",
            origin.system.shown()
        ));
    }
    Ok(())
}

/// Decides which of its uuid and ids the zone gets back.
fn identity(
    op: &Op<'_>,
    origin: &Origin,
    notes: &mut Vec<String>,
) -> Result<(Option<String>, Option<u32>), InstallError> {
    let mut uuid = origin.uuid.as_deref().and_then(|u| uuid::Uuid::parse_str(u).ok()).map(|u| u.to_string());
    if let Some(taken) = &uuid
        && let Some(other) = op.store.by_uuid(taken)?.filter(|other| other != op.name)
    {
        notes.push(format!("WARNING: zone '{other}' has the uuid of the detached zone; it gets a new one"));
        uuid = None;
    }
    // A uuid of the configuration, or one that the zone already has on this host, is preferred to the manifest's.
    if op.store.uuid(op.name)?.is_some() {
        uuid = None;
    }
    let explicit = !op.spec.stored(ResourceKind::Idmap).is_empty();
    let wanted = origin.first_id.filter(|_| !explicit);
    let present = op.store.private_range(op.name)?.map(|range| range.outside);
    let is_free = wanted.map_or(Ok(true), |first| op.store.is_free_range(first))?;
    let first = restored_range(wanted, present, is_free);
    if let Some(wanted) = wanted.filter(|_| first.or(present) != wanted)
        && !op.spec.stored(ResourceKind::Dataset).is_empty()
    {
        let why = if is_free { "are not those that it has" } else { "are taken" };
        notes.push(format!(
            "WARNING: the ids from {wanted}, to which the files in the zone's datasets belong, {why} here; \
             give them to the zone's new ones"
        ));
    }
    Ok((uuid, first))
}

/// Returns the first id of the range that the zone gets from its manifest: none when it has a range here already, or
/// when another zone has the range.
fn restored_range(wanted: Option<u32>, present: Option<u32>, is_free: bool) -> Option<u32> {
    wanted.filter(|_| present.is_none() && is_free)
}

/// Returns the ZFS file system that is mounted at a zonepath and its owner mark, the name of a zone; none when no
/// `zoneadm` has made it. The mark is empty when a received stream has brought it: it becomes this host's own at the
/// attach.
fn owner_mark(real: &Path) -> Result<Option<(String, String)>, InstallError> {
    let table = mounts()?;
    let Some(name) = dataset::mounted_at(&table, real) else { return Ok(None) };
    let Some(d) = Zfs::open().ok().and_then(|zfs| zfs.dataset(name).ok()) else { return Ok(None) };
    Ok(match (d.text(dataset::MARK), d.source(dataset::MARK)) {
        (Some(zone), PropertySource::Local) => Some((name.to_owned(), zone.to_owned())),
        (Some(_), PropertySource::Received) => Some((name.to_owned(), String::new())),
        _ => None,
    })
}

/// Returns which distribution a system is, as `debian 12`.
fn system(host: &Path) -> String {
    let release = Dir::open_host(host).ok().and_then(|dir| {
        // A link into /usr/lib on most systems.
        let how = crate::sys::path::IN_ROOT;
        dir.read("etc/os-release", RELEASE_MAX, how).ok().flatten()
    });
    let text = String::from_utf8_lossy(&release.unwrap_or_default()).into_owned();
    let field = |name: &str| {
        let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    };
    [field("ID"), field("VERSION_ID")].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::restored_range;

    #[test]
    fn a_range_is_restored_only_where_the_zone_has_none_and_it_is_free() {
        assert_eq!(restored_range(Some(70_000), None, true), Some(70_000));
        assert_eq!(restored_range(Some(70_000), None, false), None);
        // A zone that has a range keeps it, and the plan must not name another.
        assert_eq!(restored_range(Some(70_000), Some(140_000), true), None);
        assert_eq!(restored_range(None, None, true), None);
    }
}
