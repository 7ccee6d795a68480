//! `zoneadm verify`: whether this host can run a zone as its spec says. Also run before install,
//! ready, boot and reboot.
//!
//! Everything is reported, not only the first problem. Errors of the spec by itself are found by
//! [`crate::spec::verify`]; here the machine is looked at. Plain verify changes nothing; the other commands correct
//! the owner and mode of the zonepath, and say so.

mod fs;
mod inherit;
mod limits;
mod mapping;
mod mountpoint;
mod net;
mod zonepath;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use nix::unistd::User;

use super::boot::glob;
use super::boot::observe::{self, RootInit, root_init, zone_root};
use super::store::FileStore;
use super::zfs::Asker;
use super::{SeenDatasets, broker, confine, dataset};
use crate::plan::confine::{Confinement, UNFILTERED, UNGUARDED};
use crate::plan::dataset::{DatasetLookup, DelegationError};
use crate::plan::{
    self, boot,
    boot::{IDLE_SYSTEMD, zfs_fs},
};
use crate::spec::idmap::IdMap;
use crate::spec::schema::{self, Honour, PropDef, ResourceKind, ValueKind};
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::verify::{HostKnows, Severity, obstacles, verify as verify_spec};
use crate::spec::{Props, Value, ZoneName, ZoneSpec, privilege};

/// The command for which a zone is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `zoneadm verify`: reports everything and changes nothing.
    Verify,
    /// `zoneadm install`, `clone`, `attach`: the zonepath may still be missing.
    Install,
    /// `zoneadm clone --with-datasets`: zonepath and datasets may still be missing.
    CloneAll,
    /// `zoneadm move`: the new zonepath, which may be missing, of a zone that is installed.
    Move,
    /// `ready`, `boot`, `reboot`: quick, so without a look at all other zones.
    Boot,
}

/// One line for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyLine {
    /// An error keeps the zone from being used.
    pub severity: Severity,
    /// The whole text.
    pub text: String,
}

/// The findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The lines, in the order of the checks.
    pub lines: Vec<VerifyLine>,
    /// The facts about ZFS file systems.
    pub seen: SeenDatasets,
}

impl VerifyReport {
    fn error(&mut self, text: impl Into<String>) {
        self.lines.push(VerifyLine { severity: Severity::Error, text: text.into() });
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.lines.push(VerifyLine { severity: Severity::Warning, text: text.into() });
    }

    fn errors(&self) -> usize {
        self.lines.iter().filter(|l| l.severity == Severity::Error).count()
    }

    /// Says whether the zone can be used.
    pub fn is_ok(&self) -> bool {
        self.errors() == 0
    }
}

/// Checks a zone.
///
/// # Errors
/// The store cannot be read.
pub fn check(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    purpose: Purpose,
) -> Result<VerifyReport, StoreError> {
    let mut found = VerifyReport::default();
    check_spec(store, spec, purpose, &mut found);
    check_brand(store, spec, &mut found);
    let trial = mapping::Trial::new(purpose);
    if spec.zonepath().is_some() {
        zonepath::check(store, name, spec, purpose, &trial, &mut found)?;
    }
    let asker = Asker::new(store.root(), name);
    for resource in spec.stored(ResourceKind::Fs) {
        fs::check(resource, &asker, &mut found);
    }
    mapping::check(store, name, spec, purpose, &trial, &mut found);
    if purpose == Purpose::Verify {
        mountpoint::check(store, name, spec, &mut found)?;
    }
    check_inherited(spec, &mut found);
    if let Err(e) = plan::zfs::check_unique(spec.stored(ResourceKind::Fs).iter().filter_map(zfs_fs)) {
        found.error(e.to_string());
    }
    if purpose != Purpose::CloneAll {
        check_datasets(store, name, spec, &asker, purpose, &mut found)?;
    }
    net::check(store, name, spec, purpose, &mut found)?;
    limits::check(spec, purpose, &mut found);
    check_privileges(spec, &mut found);
    check_confinement(spec, &mut found);
    if purpose == Purpose::Verify {
        check_control_device(spec, &mut found);
        check_volumes(spec, &mut found);
        check_init(store, spec, &mut found);
        check_spl(spec, &mut found);
        for resource in spec.stored(ResourceKind::InheritPkgDir) {
            inherit::check(store.root(), resource, &mut found);
        }
    }
    // Without a broker users of the host lose their rights on the zone, and the zone loses nothing: a warning.
    if purpose == Purpose::Verify && !spec.stored(ResourceKind::Admin).is_empty() {
        let root = store.root();
        if !broker::is_listening(root) {
            found.warn(format!("WARNING: {}", broker::missing(&broker::socket(root))));
        }
    }
    check_ids(store, name, spec, &mut found)?;
    Ok(found)
}

/// Warns when the zone's systemd cannot run on this host, so that the zone boots without the services of its system.
fn check_init(store: &FileStore, spec: &ZoneSpec, found: &mut VerifyReport) {
    let sparse = !spec.stored(ResourceKind::InheritPkgDir).is_empty();
    let root = zone_root(store.root(), spec).ok().filter(|_| !sparse);
    if root.is_some_and(|root| root_init(&root) == RootInit::IdleSystemd) {
        found.warn(format!("WARNING: {IDLE_SYSTEMD}"));
    }
}

/// Reports the consequences of the state of `/proc/spl` on the host ([`plan::spl`]).
fn check_spl(spec: &ZoneSpec, found: &mut VerifyReport) {
    match plan::spl::decide(spec, observe::spl()) {
        Ok(decision) => decision.note.into_iter().for_each(|note| found.warn(format!("WARNING: {note}"))),
        Err(text) => found.error(text),
    }
}

/// Reports errors of the spec by itself.
fn check_spec(store: &FileStore, spec: &ZoneSpec, purpose: Purpose, found: &mut VerifyReport) {
    let is_user = |user: &str| matches!(User::from_name(user), Ok(Some(_)));
    let host = HostKnows { is_user: &is_user, runs_brand: &|brand| store.runs_brand(brand) };
    for finding in verify_spec(spec, &host) {
        match finding.severity {
            Severity::Error => found.error(finding.text),
            // Warn only in `verify`; repeated at each boot a warning would be ignored. Obstacles to a boot are
            // errors here, and reported as such below.
            Severity::Warning if purpose == Purpose::Verify && !finding.keeps_from_booting => {
                found.warn(format!("WARNING: {}", finding.text));
            }
            Severity::Warning => {}
        }
    }
    for (subject, why) in refused_parts(spec) {
        found.error(format!("could not verify {subject}: {why}"));
    }
    for (subject, why) in obstacles(spec) {
        found.error(format!("could not verify {subject}: {why}"));
    }
}

/// Returns the resources and properties of the spec that are not carried out and must not be ignored either, with the
/// reason.
fn refused_parts(spec: &ZoneSpec) -> Vec<(String, &'static str)> {
    let mut out = Vec::new();
    // A property that is "false" demands nothing.
    let demands = |props: &Props, def: &PropDef| match props.get(def.name) {
        Some(Value::Simple(text)) => def.kind != ValueKind::Bool || text != "false",
        Some(Value::List(_)) => true,
        None => false,
    };
    for def in schema::globals() {
        if let Honour::Refused(why) = def.honour
            && demands(&spec.props, def)
        {
            out.push((def.name.to_owned(), why));
        }
    }
    for kind in ResourceKind::every() {
        let list = match kind.def().within {
            None => Cow::Borrowed(spec.stored(kind)),
            Some(_) => spec.everywhere(kind),
        };
        if let (Honour::Refused(why), false) = (kind.def().honour, list.is_empty()) {
            out.push((kind.def().title().into_owned(), why));
        }
        for def in kind.def().props.iter().filter(|d| d.honour != kind.def().honour) {
            if let Honour::Refused(why) = def.honour
                && list.iter().any(|p| demands(p, def))
            {
                out.push((format!("{} {}", kind.def().title(), def.name), why));
            }
        }
    }
    out
}

fn check_brand(store: &FileStore, spec: &ZoneSpec, found: &mut VerifyReport) {
    let brand = spec.global("brand").unwrap_or_default();
    if !store.runs_brand(&brand) {
        found.error(boot::foreign_brand(&brand));
    }
}

/// Checks whether each inherited directory has a place in the zone.
fn check_inherited(spec: &ZoneSpec, found: &mut VerifyReport) {
    // An unknown profile is reported by the check of the spec.
    let profile = plan::profile::Profile::of(spec).ok().flatten();
    let memory: Vec<&str> = plan::order::memory(spec, profile).into_iter().map(|m| m.dir).collect();
    if let Err(e) = plan::order::inherited(spec, &[], &memory) {
        found.error(e.to_string());
    }
}

/// Checks the datasets that the zone is to administer.
fn check_datasets(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    asker: &Asker<'_>,
    purpose: Purpose,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    let names = plan::dataset::names(spec);
    let mounts = || spec.stored(ResourceKind::Fs).iter().filter_map(zfs_fs);
    if names.is_empty() && mounts().next().is_none() {
        return Ok(());
    }
    let looked: BTreeMap<String, DatasetLookup> = names
        .into_iter()
        .map(|name| {
            let tree = dataset::observe::look_up(asker, &name, &plan::dataset::locks(spec, &name));
            (name, tree)
        })
        .collect();
    let claims = dataset::observe::claims(store, dataset::observe::any_mounted(looked.values()))?;
    if let Err(e) = plan::zfs::check_not_delegated(name.as_str(), mounts(), &claims) {
        found.error(e.to_string());
    }
    // A boot reports the same itself.
    if purpose == Purpose::Verify {
        let record = dataset::record::read(store.root(), name);
        for tree in looked.values() {
            for text in record.differences(tree).into_iter().chain(dataset::observe::shares(tree)) {
                found.warn(format!("WARNING: {text}"));
            }
        }
    }
    let look = |name: &str| looked.get(name).unwrap_or(&DatasetLookup::Missing);
    for DelegationError { dataset, why } in plan::dataset::check(spec, look, &claims) {
        found.error(format!("could not verify zfs dataset {dataset}: {why}"));
    }
    Ok(())
}

fn check_privileges(spec: &ZoneSpec, found: &mut VerifyReport) {
    match privilege::granted(spec.props.text("limitpriv")) {
        Ok(granted) => granted
            .idle
            .iter()
            .for_each(|(name, why)| found.warn(format!("WARNING: limitpriv: {name} has no effect: {why}"))),
        Err(errors) => errors.iter().for_each(|e| found.error(e.to_string())),
    }
}

/// Checks whether the confinement of the zone's processes can be enforced here.
fn check_confinement(spec: &ZoneSpec, found: &mut VerifyReport) {
    let kernel = confine::kernel();
    match Confinement::of(spec, kernel) {
        Ok(_) if !kernel.filters => {
            found.warn(format!("WARNING: system calls of the zone are not filtered: {UNFILTERED}"));
        }
        Ok(_) => {}
        Err(errors) => errors.iter().for_each(|e| found.error(e.to_string())),
    }
    if !confine::guards_settings() {
        found.warn(format!("WARNING: {UNGUARDED}"));
    }
}

/// Warns of a device resource that matches the control device of ZFS in a zone without datasets.
fn check_control_device(spec: &ZoneSpec, found: &mut VerifyReport) {
    if !plan::dataset::names(spec).is_empty() {
        return;
    }
    let (folder, control) = (Path::new("/dev"), Path::new("/dev/zfs"));
    for pattern in spec.stored(ResourceKind::Device).iter().filter_map(|d| d.text("match")) {
        let below = pattern.strip_prefix("/dev/").unwrap_or(pattern);
        if glob::expand(folder, below).iter().any(|path| path == control) {
            found.warn(format!(
                "WARNING: device {pattern}: /dev/zfs is left out: it comes with a dataset resource, whose guard \
                 looks at what is asked of it"
            ));
        }
    }
}

/// Warns of a device resource that names a volume of a dataset whose volumes have no devices.
fn check_volumes(spec: &ZoneSpec, found: &mut VerifyReport) {
    let has_no_devices = |name: &&String| plan::dataset::volmode(spec, name) == "none";
    let datasets: Vec<String> = plan::dataset::names(spec);
    for pattern in spec.stored(ResourceKind::Device).iter().filter_map(|d| d.text("match")) {
        let below = pattern.strip_prefix("/dev/").unwrap_or(pattern);
        let Some(volume) = below.strip_prefix("zvol/") else { continue };
        let volume = ["dsk/", "rdsk/"].iter().find_map(|d| volume.strip_prefix(d)).unwrap_or(volume);
        let holder =
            datasets.iter().filter(has_no_devices).find(|name| plan::dataset::is_within(volume, name));
        if let Some(dataset) = holder {
            found.warn(format!(
                "WARNING: device {pattern}: volumes of the dataset {dataset} have no devices while a zone has it; \
                 to have them, select that dataset resource and set volmode=dev"
            ));
        }
    }
}

/// Compares explicit id ranges with those of the other zones. Private ranges never overlap.
fn check_ids(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    // Errors of the ranges by themselves were reported by the spec's own check.
    let Ok(Some(map)) = IdMap::from_spec(spec) else { return Ok(()) };
    for entry in store.catalog()?.iter().filter(|e| e.name != *name) {
        let theirs = match (entry.idmap.is_empty(), store.private_range(&entry.name)?) {
            (false, _) => entry.idmap.clone(),
            (true, Some(range)) => vec![range],
            (true, None) => continue,
        };
        let touched = map.uid.iter().chain(&map.gid).find(|m| theirs.iter().any(|t| t.overlaps_outside(m)));
        if let Some(range) = touched
            && !may_share(store, &entry.name, spec, &map)
        {
            let last = range.outside + (range.count - 1);
            let (first, other) = (range.outside, &entry.name);
            found.error(format!(
                "{name} idmap (ids {first} to {last} of the host) and {other} idmap overlap. Choose another target, \
                 or set shared=true in both."
            ));
        }
    }
    Ok(())
}

/// Says whether a zone and another one may both have ids of the host whose numbers overlap. They may when the overlap
/// is between users of the one and groups of the other, or in ranges that both of them call shared.
fn may_share(store: &FileStore, other: &ZoneName, spec: &ZoneSpec, map: &IdMap) -> bool {
    let Ok(Some(theirs)) = store.load(other) else { return false };
    let Ok(Some(all)) = IdMap::from_spec(&theirs.spec) else { return false };
    let (Ok(mine), Ok(theirs)) = (IdMap::exclusive(spec), IdMap::exclusive(&theirs.spec)) else {
        return false;
    };
    mine.overlap(&all).is_none() && theirs.overlap(map).is_none()
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
