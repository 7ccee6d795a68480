//! `zoneadm clone`: a zone made from another one, as a ZFS clone where that is possible, else as a copy.

use std::path::Path;

use super::{InstallError, dataset, delegated, observe, promote, run, snapshots, source};
use crate::apply::Op;
use crate::apply::paths::real_path;
use crate::apply::zfs::holders;
use crate::plan;
use crate::plan::install::{
    ATTACHED, CloneFacts, CopyFrom, DETACHED, InstallPlan, InstallPlanError, SourceZone, ZonepathState,
    plan_clone,
};
use crate::plan::sysconfig::SysConfig;
use crate::spec::shown::Show;
use crate::spec::{Props, ResourceKind, ZoneSpec};
use crate::sys::mountinfo::mounts;
use crate::sys::path::{Dir, STRICT};
use crate::sys::tree::{CopyFilter, CopyRule};
use crate::zfs::name::filesystem;

/// The options of `clone`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneOptions {
    /// `-m copy`.
    pub copy: bool,
    /// `-s`: a whole name, `@NAME` or `NAME`.
    pub snapshot: Option<String>,
    /// `--with-datasets`.
    pub datasets: bool,
}

/// Makes a zone from another one. The caller has the locks of both.
///
/// # Errors
/// [`InstallError`]; [`InstallError::Unfinished`] leaves the zone incomplete, all others as it was.
pub fn clone(
    op: &mut Op<'_>,
    source: &ZoneSpec,
    args: &CloneOptions,
    profile: Option<&SysConfig>,
) -> Result<(), InstallError> {
    check(op.spec, source)?;
    let mut facts = facts(op, source, args)?;
    let plan = plan_clone(&facts, op.spec)?.with_profile(profile);
    for text in shared(op.spec, source) {
        op.out.warn(&text);
    }
    if let (false, ZonepathState::Directory { mounted: true, .. }, Some(_)) =
        (args.copy, &facts.target.found, &facts.source.dataset)
    {
        let path = facts.target.zonepath.shown();
        op.out.warn(&format!("A file system is already mounted on {path},\npreventing use of a ZFS clone."));
    }
    match run::run(op, &plan) {
        // Its steps have been undone.
        Err(e @ InstallError::Clone { .. })
            if !facts.copy && facts.snapshot.is_none() && facts.clonable().is_ok() =>
        {
            op.out.warn(&format!("WARNING: {e}; its files are copied instead"));
            facts.copy = true;
            facts.target = observe::install_facts(op, Path::new("/"), false)?;
            run::run(op, &plan_clone(&facts, op.spec)?.with_profile(profile))
        }
        done => done,
    }
}

/// Returns what [`clone`] would do. Touches nothing.
///
/// # Errors
/// [`InstallError`] when it would be refused.
pub fn clone_plan(
    op: &Op<'_>,
    source: &ZoneSpec,
    args: &CloneOptions,
    profile: Option<&SysConfig>,
) -> Result<InstallPlan, InstallError> {
    check(op.spec, source)?;
    Ok(plan_clone(&facts(op, source, args)?, op.spec)?.with_profile(profile))
}

fn check(spec: &ZoneSpec, source: &ZoneSpec) -> Result<(), InstallError> {
    if spec.global("brand") != source.global("brand") {
        let (source, target) = (&source.name, &spec.name);
        let text = format!("Zones '{source}' and '{target}' have different brand types.");
        return Err(InstallError::Impossible(text));
    }
    if let Some(uuid) = spec.props.text("uuid").filter(|u| source.props.text("uuid") == Some(u)) {
        return Err(InstallError::Impossible(format!(
            "uuid {uuid} is configured in both zones; use 'zonecfg -z {} clear uuid'",
            spec.name
        )));
    }
    Ok(())
}

fn facts(op: &Op<'_>, spec: &ZoneSpec, args: &CloneOptions) -> Result<CloneFacts, InstallError> {
    let root = op.store.root();
    let target = observe::install_facts(op, Path::new("/"), false)?;
    let zonepath = spec.zonepath().ok_or(InstallPlanError::NoZonepath)?;
    let zonepath = root.host_path(Path::new(&zonepath));
    // Opened as everything of a zone is: a link on the way would lead into another zone.
    observe::open_root(root, &spec.name, &zonepath)?;
    let real = real_path(root, &zonepath);
    let table = mounts()?;
    let source = SourceZone {
        name: spec.name.clone(),
        mounts: observe::mounts_in(root, &zonepath, &table),
        dataset: dataset::mounted_at(&table, &real).map(str::to_owned),
        zonepath,
    };
    let snapshot = match &args.snapshot {
        Some(text) => Some(snapshot(&source, text)?),
        None => None,
    };
    let trees = if args.datasets { delegated::trees(op, spec)? } else { Vec::new() };
    let mut facts = CloneFacts { target, source, copy: args.copy, snapshot, trees, number: 1 };
    facts.number = number(&facts)?;
    Ok(facts)
}

/// Returns the first number that is free for snapshots of all that is cloned.
fn number(facts: &CloneFacts) -> Result<u64, InstallError> {
    let root = facts.source.dataset.iter().filter(|_| !facts.copy && facts.snapshot.is_none());
    let names: Vec<&String> = facts.trees.iter().flat_map(|t| &t.members).chain(root).collect();
    if names.is_empty() {
        return Ok(1);
    }
    let zfs = snapshots::open("take a snapshot")?;
    let mut number = 1;
    for name in &names {
        let highest = promote::highest(&zfs, name);
        let highest =
            highest.map_err(|why| InstallError::Clone { what: format!("take a snapshot of {name}"), why })?;
        number = number.max(highest + 1);
    }
    let taken = |number: u64| names.iter().any(|name| zfs.dataset(&promote::label(name, number)).is_ok());
    while taken(number) {
        number += 1;
    }
    Ok(number)
}

/// Finds the snapshot that `-s` names: it must be one of the zone, and hold its root.
fn snapshot(source: &SourceZone, text: &str) -> Result<String, InstallError> {
    let bad = |why: String| InstallError::Impossible(format!("cannot use snapshot {text}: {why}"));
    let Some(dataset) = &source.dataset else {
        return Err(bad(format!("{} is not a ZFS file system", source.zonepath.shown())));
    };
    let name = match text.split_once('@') {
        Some(("", label)) => format!("{dataset}@{label}"),
        Some((of, _)) if of != dataset => {
            return Err(bad(format!("it is not one of {dataset}, the file system of zone {}", source.name)));
        }
        Some(_) => text.to_owned(),
        None => format!("{dataset}@{text}"),
    };
    let zfs = crate::zfs::Zfs::open().map_err(|e| bad(e.to_string()))?;
    match zfs.dataset(&name) {
        Ok(d) if d.is_snapshot => {}
        Ok(_) => return Err(bad(format!("{name} is not a snapshot"))),
        Err(e) => return Err(bad(e.to_string())),
    }
    let tree = dataset::mount(&zfs, &name, None).map_err(&bad)?;
    let top = dataset::top_of(&tree, Path::new(&name))?;
    match top.dir("root", STRICT) {
        Ok(_) => Ok(name),
        Err(_) => Err(bad(format!("{name} does not hold the root of a zone"))),
    }
}

/// Says what both zones would use at the same time.
fn shared(target: &ZoneSpec, source: &ZoneSpec) -> Vec<String> {
    let mut texts = Vec::new();
    let both = |kind: ResourceKind, same: &dyn Fn(&Props, &Props) -> bool, tell: &mut dyn FnMut(&Props)| {
        for mine in target.stored(kind) {
            if source.stored(kind).iter().any(|theirs| same(mine, theirs)) {
                tell(mine);
            }
        }
    };
    let equal = |name: &'static str| {
        move |a: &Props, b: &Props| a.text(name).is_some_and(|text| b.text(name) == Some(text))
    };
    let text = |p: &Props, name: &str| p.text(name).unwrap_or_default().to_owned();
    let writable = |p: &Props| !p.list("options").any(|o| o == "ro");
    let same_fs = |a: &Props, b: &Props| {
        let lofs = a.text("type") == Some("lofs");
        a.text("type") != Some("tmpfs")
            && equal("special")(a, b)
            && equal("type")(a, b)
            && (!lofs || (writable(a) && writable(b)))
    };
    both(ResourceKind::Fs, &same_fs, &mut |fs| {
        texts.push(match fs.text("type") {
            Some("lofs") => format!(
                "WARNING: read-write lofs file system on '{}' is configured in both zones.",
                text(fs, "dir")
            ),
            kind => format!(
                "WARNING: {} file system on '{}' is configured in both zones.",
                kind.unwrap_or_default(),
                text(fs, "special")
            ),
        });
    });
    let address = |p: &Props| p.text("address").map(|a| a.split('/').next().unwrap_or(a).to_owned());
    both(ResourceKind::Net, &|a, b| address(a).is_some() && address(a) == address(b), &mut |net| {
        texts.push(format!(
            "WARNING: network address '{}' is configured in both zones.",
            address(net).unwrap_or_default()
        ));
    });
    both(ResourceKind::Device, &equal("match"), &mut |device| {
        texts.push(format!("WARNING: device '{}' is configured in both zones.", text(device, "match")));
    });
    let theirs = plan::dataset::names(source);
    for name in plan::dataset::names(target).iter().filter(|n| theirs.contains(n)) {
        texts.push(format!("WARNING: dataset '{name}' is configured in both zones."));
    }
    texts
}

/// Copies the files of a zone.
pub(super) fn copy_zone(
    op: &mut Op<'_>,
    from: &CopyFrom,
    to: &Path,
    moving: bool,
) -> Result<bool, InstallError> {
    let root = op.store.root().clone();
    let target = observe::open(&root, to)?;
    match from {
        CopyFrom::Path(path) => {
            if moving {
                op.out.say(&format!("Moving across file systems; copying zonepath {}...", path.shown()));
            } else {
                op.out.say(&format!("Copying {}...", path.shown()));
            }
            copy_from(op, &observe::open(&root, path)?, &target, moving)?;
        }
        CopyFrom::Snapshot(name) => {
            op.out.say(&format!("Copying {name}..."));
            let failed = |why: String| InstallError::Clone { what: format!("copy snapshot {name}"), why };
            let zfs = snapshots::open(&format!("copy snapshot {name}"))?;
            let tree = dataset::mount(&zfs, name, None).map_err(|why| {
                failed(format!("{why}{}", holders::lines(&holders::holders(&root, filesystem(name)))))
            })?;
            copy_from(op, &dataset::top_of(&tree, Path::new(name))?, &target, moving)?;
        }
    }
    Ok(true)
}

fn copy_from(op: &mut Op<'_>, from: &Dir, to: &Dir, moving: bool) -> Result<(), InstallError> {
    let mut filter = CopyFilter::new();
    // Snapshots that ZFS shows, and manifests of an earlier time.
    for name in [".zfs", "lost+found", DETACHED, ATTACHED] {
        filter.add(name, CopyRule::Skip);
    }
    let done = source::copy(op, from, to, &filter)?;
    // The original is about to go.
    if moving && let Some((path, _)) = &done.unlisted {
        return Err(InstallError::Impossible(format!(
            "{} has more attributes than the kernel lists (64 KiB of names); remove them or the file first",
            path.shown()
        )));
    }
    if moving && !done.lost_xattrs.is_empty() {
        let list: Vec<_> = done.lost_xattrs.iter().map(|name| name.shown().to_string()).collect();
        return Err(InstallError::Impossible(format!(
            "the file system of {} cannot keep these attributes: {}",
            to.path().shown(),
            list.join(", ")
        )));
    }
    Ok(())
}
