//! `dataset` resources: the facts of a dataset, whether a zone can have it, and its properties that the zone cannot
//! change. This module only computes.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::options::MountOptions;
use super::profile::Profile;
use super::step::{DatasetStep, InsideStep};
use crate::spec::ZoneSpec;
use crate::spec::name::expand_tokens;
use crate::spec::schema::ResourceKind;
use crate::spec::words::{POOL_ATTR, SNAPSHOTS_ATTR};

/// Properties of a delegated dataset itself that its zone cannot change.
pub const ROOT_LOCKS: &[&str] = &[
    "quota",
    "reservation",
    "refquota",
    "refreservation",
    "filesystem_limit",
    "snapshot_limit",
    "sharenfs",
    "sharesmb",
    "snapdir",
    "volmode",
    "zoned",
];

/// Properties of everything below a delegated dataset that its zone cannot change.
///
/// `snapdir`: a look at a snapshot below `.zfs` makes the kernel start mount(8) as root of the host, in the host's
/// mount namespace, on the path that the file system was mounted with. The zone chooses that path and its content,
/// for one a symbolic link to `/etc`.
///
/// `volmode`: the kernel and udev of the host read a volume that has a block device there, and its bytes are the
/// zone's.
pub const CHILD_LOCKS: &[&str] = &["sharenfs", "sharesmb", "snapdir", "volmode", "zoned"];

/// The property that says which zone a file system was made for by `zoneadm install`.
pub const ZONE_MARK: &str = "zones:zone";

/// The kind of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetLookup {
    /// ZFS cannot be asked, cannot delegate, or answers with an error; why.
    Unknown(String),
    /// There is none of that name.
    Missing,
    /// A volume.
    Volume,
    /// A snapshot.
    Snapshot,
    /// A filesystem.
    Filesystem(Box<FilesystemTree>),
}

/// A filesystem with everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemTree {
    /// The ancestor whose `mountpoint` it has.
    pub inherits: Option<String>,
    /// `zoned` is on, and set on the dataset itself.
    pub zoned: bool,
    /// Its pool is imported read-only.
    pub read_only: bool,
    /// The release of ZFS, when it cannot hide snapshots (before 2.3).
    pub cannot_hide_snapshots: Option<String>,
    /// The filesystems whose snapshots are to be hidden: those without `snapdir=disabled`.
    pub hide: Vec<String>,
    /// The values of `volmode` where it is set or received: on filesystems and volumes, by their names.
    pub volmodes: Vec<(String, String)>,
    /// Where the host has it, or something below it, mounted; in the order of mounting.
    pub mounted: Vec<String>,
    /// The filesystems: first the dataset itself, each before its children.
    pub members: Vec<FilesystemMember>,
}

/// One filesystem of a delegated tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemMember {
    /// Its name.
    pub name: String,
    /// The number by which it is known for ever.
    pub guid: u64,
    /// Its `mountpoint`: a path, `legacy` or `none`.
    pub mountpoint: String,
    /// The values of its locked properties, as they are shown.
    pub locked_values: BTreeMap<String, String>,
    /// Its root directory is the zone's, as an earlier boot has found or made it.
    pub given: bool,
    /// Where it is to be mounted, the alternate root of its pool counted: `mountpoint` is a path and `canmount` is
    /// on.
    pub point: Option<String>,
    /// Its `overlay` is off.
    pub no_overlay: bool,
    /// It is encrypted and its key is not loaded.
    pub locked: bool,
    /// The mount options in its properties (`readonly`, `setuid`, `devices`, `exec`, `atime`).
    pub limits: MountOptions,
    /// The zone whose zonepath it was made for.
    pub zone: Option<String>,
}

impl FilesystemMember {
    /// Says whether the host checks the owner of its root directory. The zone's first process checks the filesystems
    /// that it mounts. Each boot checks each filesystem once, for a rollback, a stream or another zone may have
    /// changed it.
    fn is_looked_at(&self) -> bool {
        !self.locked && (!self.given || self.point.is_none())
    }
}

/// A dataset that a zone is configured to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetClaim {
    /// The zone.
    pub zone: String,
    /// The dataset.
    pub dataset: String,
    /// How.
    pub kind: ClaimKind,
}

/// How a zone has a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// By a `dataset` resource.
    Delegated,
    /// By an `fs` resource of type `zfs`.
    Fs,
    /// Its zonepath lies on it.
    Zonepath,
}

impl fmt::Display for DatasetClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zone, dataset, kind } = self;
        match kind {
            ClaimKind::Delegated => write!(f, "dataset {dataset} of zone '{zone}'"),
            ClaimKind::Fs => write!(f, "{dataset}, an fs of zone '{zone}'"),
            ClaimKind::Zonepath => write!(f, "{dataset}, which holds the zonepath of zone '{zone}'"),
        }
    }
}

/// Why a zone cannot have a dataset.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DelegationProblem {
    /// It cannot be asked about.
    #[error("{0}")]
    Unknown(String),
    /// No such dataset.
    #[error("dataset does not exist")]
    Missing,
    /// Volumes go another way.
    #[error(
        "it is a volume, which a zone gets by a device resource: add device; set match=/dev/zvol/dsk/{0}; end"
    )]
    Volume(String),
    /// Snapshots cannot be delegated.
    #[error("it is a snapshot; delegate the file system")]
    Snapshot,
    /// The zone must be able to say what is mounted where, so the property must be its own.
    #[error("mountpoint cannot be inherited: it comes from {from}; use zfs set mountpoint=PATH {dataset}")]
    Inherited {
        /// The dataset.
        dataset: String,
        /// The ancestor on which it is set.
        from: String,
    },
    /// The spec has it already.
    #[error("the zone has {0} already, and everything below it")]
    Twice(String),
    /// Another zone or resource claims it.
    #[error("it overlaps with {0}")]
    Overlap(DatasetClaim),
    /// The zone's root could have the host mount snapshots anywhere, and no attribute of the spec allows it.
    #[error(
        "the ZFS of this host ({release}) lets the root of a zone have a snapshot mounted over any directory of the host; install OpenZFS 2.3 or newer, or, if the zone's root is trusted like the host's, type:\nzonecfg -z {zone} 'add attr; set name={SNAPSHOTS_ATTR}; set type=boolean; set value=true; end'"
    )]
    Snapshots {
        /// The zone.
        zone: String,
        /// The release of ZFS.
        release: String,
    },
    /// It would have to be changed to be the zone's.
    #[error(
        "its pool {0} is imported read-only, and what makes it a zone's cannot be set; use zpool export {0} && zpool import {0}"
    )]
    ReadOnly(String),
    /// It is a whole pool, and no attribute of the spec confirms it.
    #[error(
        "it is the whole pool {pool}, with all that anybody ever makes in it; if the zone is to have that, type:\nzonecfg -z {zone} 'add attr; set name={POOL_ATTR}; set type=string; set value={pool}; end'"
    )]
    Pool {
        /// The zone.
        zone: String,
        /// The pool.
        pool: String,
    },
}

/// A dataset that a zone cannot have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("cannot open ZFS dataset '{dataset}': {why}")]
pub struct DelegationError {
    /// The dataset.
    pub dataset: String,
    /// Why.
    pub why: DelegationProblem,
}

/// Says whether a dataset is another one or lies below it.
pub fn is_within(name: &str, other: &str) -> bool {
    name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn overlap(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

/// Returns the names of a spec's `dataset` resources, in its order, tokens expanded.
pub fn names(spec: &ZoneSpec) -> Vec<String> {
    let list = spec.stored(ResourceKind::Dataset).iter().filter_map(|d| d.text("name"));
    list.map(|name| expand_tokens(name, &spec.name)).collect()
}

/// Returns the properties that a zone cannot change on a delegated dataset itself: those that no zone
/// can, and the resource's own `lock` list.
pub fn locks(spec: &ZoneSpec, name: &str) -> Vec<String> {
    with_own_locks(ROOT_LOCKS, spec, name)
}

/// Returns the same for everything below it.
pub fn locks_below(spec: &ZoneSpec, name: &str) -> Vec<String> {
    with_own_locks(CHILD_LOCKS, spec, name)
}

/// Returns the `volmode` that a delegated dataset has while it is the zone's.
pub fn volmode(spec: &ZoneSpec, name: &str) -> String {
    let is_it = |text: &str| expand_tokens(text, &spec.name) == name;
    let resource = spec.stored(ResourceKind::Dataset).iter().find(|d| d.text("name").is_some_and(is_it));
    resource.and_then(|d| d.text("volmode")).unwrap_or("none").to_owned()
}

fn with_own_locks(always: &[&str], spec: &ZoneSpec, name: &str) -> Vec<String> {
    let is_it = |text: &str| expand_tokens(text, &spec.name) == name;
    let own = spec.stored(ResourceKind::Dataset).iter().filter(|d| d.text("name").is_some_and(is_it));
    let more = own.filter_map(|d| d.text("lock")).flat_map(|list| list.split(',')).map(str::trim);
    let mut all: Vec<String> = always.iter().map(|p| (*p).to_owned()).collect();
    for property in more.filter(|p| !p.is_empty()) {
        if !all.iter().any(|p| p == property) {
            all.push(property.to_owned());
        }
    }
    all
}

/// Checks the `dataset` resources of a spec; `found` looks one up, `claims` are the datasets that the zones of this
/// host are configured to have, this one among them. Returns the refusals.
///
/// Below the file system of a zonepath a dataset may be delegated: it is mounted by itself.
pub fn check<'f>(
    spec: &ZoneSpec,
    found: impl Fn(&str) -> &'f DatasetLookup,
    claims: &[DatasetClaim],
) -> Vec<DelegationError> {
    let mut refused = Vec::new();
    let list = names(spec);
    for (at, name) in list.iter().enumerate() {
        let why = match found(name) {
            DatasetLookup::Unknown(why) => Some(DelegationProblem::Unknown(why.clone())),
            DatasetLookup::Missing => Some(DelegationProblem::Missing),
            DatasetLookup::Volume => Some(DelegationProblem::Volume(name.clone())),
            DatasetLookup::Snapshot => Some(DelegationProblem::Snapshot),
            DatasetLookup::Filesystem(tree) => inherited(name, tree)
                .or_else(|| {
                    let mut earlier = list[..at].iter();
                    earlier
                        .find(|earlier| overlap(name, earlier))
                        .map(|earlier| DelegationProblem::Twice(earlier.clone()))
                })
                .or_else(|| claimed(spec, name, tree, claims).map(DelegationProblem::Overlap))
                .or_else(|| whole_pool(spec, name))
                .or_else(|| snapshots(spec, tree))
                .or_else(|| read_only(spec, name, tree)),
        };
        refused.extend(why.map(|why| DelegationError { dataset: name.clone(), why }));
    }
    refused
}

/// Returns the other zone that is to have a dataset, one above it, or one below it delegated.
pub fn delegated_elsewhere<'c>(
    zone: &str,
    name: &str,
    claims: &'c [DatasetClaim],
) -> Option<&'c DatasetClaim> {
    claims.iter().find(|c| c.kind == ClaimKind::Delegated && c.zone != zone && overlap(name, &c.dataset))
}

fn claimed(
    spec: &ZoneSpec,
    name: &str,
    tree: &FilesystemTree,
    claims: &[DatasetClaim],
) -> Option<DatasetClaim> {
    let own = spec.name.as_str();
    let taken = claims.iter().find(|claim| match claim.kind {
        ClaimKind::Delegated => claim.zone != own && overlap(name, &claim.dataset),
        ClaimKind::Fs => overlap(name, &claim.dataset),
        ClaimKind::Zonepath => is_within(&claim.dataset, name),
    });
    // A zonepath that is not mounted at the moment is known by its mark.
    let marked = || {
        let (member, zone) = tree.members.iter().find_map(|m| Some((m, m.zone.clone()?)))?;
        Some(DatasetClaim { zone, dataset: member.name.clone(), kind: ClaimKind::Zonepath })
    };
    taken.cloned().or_else(marked)
}

fn inherited(name: &str, tree: &FilesystemTree) -> Option<DelegationProblem> {
    let from = tree.inherits.clone()?;
    Some(DelegationProblem::Inherited { dataset: name.to_owned(), from })
}

/// On a pool that is imported read-only nothing can be set: a dataset is to be as an earlier boot has made it.
fn read_only(spec: &ZoneSpec, name: &str, tree: &FilesystemTree) -> Option<DelegationProblem> {
    let DatasetStep::Withdraw { zoned, hide, volmode, volumes, .. } =
        withdraw(name, tree, volmode(spec, name))
    else {
        return None;
    };
    let is_as_wanted = zoned && hide.is_empty() && volmode.is_none() && volumes.is_empty();
    let pool = name.split('/').next().unwrap_or(name).to_owned();
    (tree.read_only && !is_as_wanted).then_some(DelegationProblem::ReadOnly(pool))
}

fn snapshots(spec: &ZoneSpec, tree: &FilesystemTree) -> Option<DelegationProblem> {
    let release = tree
        .cannot_hide_snapshots
        .clone()
        .filter(|_| !spec.attrs(SNAPSHOTS_ATTR).any(|value| value == "true"))?;
    Some(DelegationProblem::Snapshots { zone: spec.name.to_string(), release })
}

fn whole_pool(spec: &ZoneSpec, name: &str) -> Option<DelegationProblem> {
    if name.contains('/') {
        return None;
    }
    let said = spec.attrs(POOL_ATTR).any(|pools| pools.split(',').any(|pool| pool.trim() == name));
    (!said).then(|| DelegationProblem::Pool { zone: spec.name.to_string(), pool: name.to_owned() })
}

/// Returns the step on the host before the zone's namespaces are made: they begin with a copy of the host's mounts,
/// and a copied mount of the dataset would keep it busy.
///
/// `volmode` is the value that the dataset gets; datasets below it inherit that.
pub fn withdraw(name: &str, tree: &FilesystemTree, volmode: String) -> DatasetStep {
    let says =
        |dataset: &str| tree.volmodes.iter().find(|(d, _)| d == dataset).map(|(_, mode)| mode.as_str());
    let others = tree.volmodes.iter().filter(|(d, mode)| d != name && *mode != volmode);
    DatasetStep::Withdraw {
        dataset: name.to_owned(),
        mounted: tree.mounted.clone(),
        zoned: tree.zoned,
        hide: if tree.cannot_hide_snapshots.is_none() { tree.hide.clone() } else { Vec::new() },
        volmode: (says(name) != Some(&volmode)).then(|| volmode.clone()),
        volumes: others.map(|(d, _)| d.clone()).collect(),
        members: tree.members.iter().filter(|m| m.is_looked_at()).map(|m| m.name.clone()).collect(),
    }
}

/// Returns the mounts that are made inside, in the order of their mount points.
///
/// Nothing is mounted where a profile closes the root.
pub fn mounts<'a>(
    trees: impl Iterator<Item = &'a FilesystemTree>,
    closed: Option<Profile>,
) -> Vec<InsideStep> {
    let members = trees.flat_map(|t| &t.members).filter(|m| !m.locked);
    let mut list: Vec<(&str, &FilesystemMember)> =
        members.filter_map(|m| Some((m.point.as_deref()?, m))).collect();
    list.sort_by(|a, b| a.0.cmp(b.0));
    let step = |(dir, m): (&str, &FilesystemMember)| InsideStep::MountDataset {
        name: m.name.clone(),
        dir: dir.to_owned(),
        options: m.limits.clone(),
        no_overlay: m.no_overlay,
        closed,
    };
    list.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Props, Value, ZoneName};

    fn spec(datasets: &[&str]) -> ZoneSpec {
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a good name"));
        for name in datasets {
            add(&mut spec, ResourceKind::Dataset, &[("name", name)]);
        }
        spec
    }

    fn add(spec: &mut ZoneSpec, kind: ResourceKind, pairs: &[(&str, &str)]) {
        let mut props = Props::default();
        for (name, text) in pairs {
            props.set(kind.def().prop(name).expect("the table has it"), Value::simple(*text));
        }
        spec.stored_mut(kind).push(props);
    }

    fn filesystem(names: &[&str]) -> DatasetLookup {
        let member = |name: &&str| FilesystemMember { name: (*name).into(), ..FilesystemMember::default() };
        DatasetLookup::Filesystem(Box::new(FilesystemTree {
            members: names.iter().map(member).collect(),
            ..FilesystemTree::default()
        }))
    }

    fn claim(zone: &str, dataset: &str, kind: ClaimKind) -> DatasetClaim {
        DatasetClaim { zone: zone.into(), dataset: dataset.into(), kind }
    }

    fn refused(spec: &ZoneSpec, found: &DatasetLookup, claims: &[DatasetClaim]) -> Vec<String> {
        check(spec, |_| found, claims).into_iter().map(|r| r.why.to_string()).collect()
    }

    #[test]
    fn a_release_that_shows_snapshots_is_accepted_twice_or_not_at_all() {
        let mut s = spec(&["tank/a"]);
        let tree = FilesystemTree {
            cannot_hide_snapshots: Some("2.2.2".into()),
            hide: vec!["tank/a".into()],
            ..FilesystemTree::default()
        };
        let found = DatasetLookup::Filesystem(Box::new(tree.clone()));
        let why = refused(&s, &found, &[]);
        assert!(why[0].contains("(2.2.2)") && why[0].contains("install OpenZFS 2.3"), "{why:?}");
        assert!(why[0].contains("zonecfg -z zion 'add attr; set name=accept-snapshot-mounts; "), "{why:?}");
        for (value, refusals) in [("false", 1), ("true", 0)] {
            s.stored_mut(ResourceKind::Attr).clear();
            let pairs = [("name", SNAPSHOTS_ATTR), ("type", "boolean"), ("value", value)];
            add(&mut s, ResourceKind::Attr, &pairs);
            assert_eq!(refused(&s, &found, &[]).len(), refusals, "{value}");
        }
        let hidden = |tree: &FilesystemTree| match withdraw("tank/a", tree, "none".into()) {
            DatasetStep::Withdraw { hide, .. } => hide,
            other => panic!("{other:?}"),
        };
        assert!(hidden(&tree).is_empty());
        assert_eq!(hidden(&FilesystemTree { cannot_hide_snapshots: None, ..tree }), ["tank/a"]);
    }

    #[test]
    fn volumes_have_no_devices_on_the_host_unless_the_spec_says_so() {
        let mut s = spec(&["tank/a"]);
        let set = |s: &ZoneSpec, volmodes: &[(&str, &str)]| {
            let volmodes = volmodes.iter().map(|(d, mode)| ((*d).to_owned(), (*mode).to_owned())).collect();
            match withdraw(
                "tank/a",
                &FilesystemTree { volmodes, ..FilesystemTree::default() },
                volmode(s, "tank/a"),
            ) {
                DatasetStep::Withdraw { volmode, volumes, .. } => {
                    (volmode.unwrap_or_default(), volumes.join(" "))
                }
                other => panic!("{other:?}"),
            }
        };
        let is = |mode: &str, volumes: &str| (mode.to_owned(), volumes.to_owned());
        assert_eq!(set(&s, &[]), is("none", ""));
        assert_eq!(set(&s, &[("tank/a", "dev")]), is("none", ""));
        assert_eq!(
            set(&s, &[("tank/a", "none"), ("tank/a/v", "full"), ("tank/a/w", "none")]),
            is("", "tank/a/v")
        );
        s.stored_mut(ResourceKind::Dataset).clear();
        add(&mut s, ResourceKind::Dataset, &[("name", "tank/a"), ("volmode", "dev")]);
        assert_eq!(set(&s, &[("tank/a", "none"), ("tank/a/v", "full")]), is("dev", "tank/a/v"));
        assert_eq!(set(&s, &[("tank/a", "dev")]), is("", ""));
    }

    #[test]
    fn what_is_no_filesystem_of_its_own_is_refused() {
        let s = spec(&["tank/a"]);
        assert_eq!(refused(&s, &DatasetLookup::Missing, &[]), ["dataset does not exist"]);
        assert_eq!(refused(&s, &DatasetLookup::Unknown("no ZFS".into()), &[]), ["no ZFS"]);
        assert!(refused(&s, &DatasetLookup::Volume, &[])[0].contains("set match=/dev/zvol/dsk/tank/a"));
        assert!(refused(&s, &DatasetLookup::Snapshot, &[])[0].contains("snapshot"));
        let tree = FilesystemTree { inherits: Some("tank".into()), ..FilesystemTree::default() };
        let inherited = DatasetLookup::Filesystem(Box::new(tree));
        assert_eq!(
            refused(&s, &inherited, &[]),
            ["mountpoint cannot be inherited: it comes from tank; use zfs set mountpoint=PATH tank/a"]
        );
        assert_eq!(refused(&s, &filesystem(&["tank/a"]), &[]), [] as [&str; 0]);
        let text = check(&s, |_| &DatasetLookup::Missing, &[])[0].to_string();
        assert_eq!(text, "cannot open ZFS dataset 'tank/a': dataset does not exist");
    }

    #[test]
    fn nobody_shares_a_dataset() {
        use ClaimKind::{Delegated, Fs, Zonepath};
        let (s, found) = (spec(&["tank/a/b"]), filesystem(&["tank/a/b"]));
        for (dataset, kind, shared) in [
            ("tank/a/b", Delegated, true),
            ("tank/a", Delegated, true),
            ("tank/a/b/c", Delegated, true),
            ("tank/a/bc", Delegated, false),
            ("tank/a/b/c", Fs, true),
            ("tank/a", Fs, true),
            ("tank/a/b/c", Zonepath, true),
            ("tank/a/b", Zonepath, true),
            ("tank/a", Zonepath, false),
        ] {
            let claims = [claim("other", dataset, kind)];
            assert_eq!(refused(&s, &found, &claims).len(), usize::from(shared), "{dataset} {kind:?}");
        }
        let own = |kind| refused(&s, &found, &[claim("zion", "tank/a/b", kind)]);
        assert!(own(Delegated).is_empty());
        assert_eq!(own(Fs), ["it overlaps with tank/a/b, an fs of zone 'zion'"]);
        assert_eq!(
            refused(&s, &found, &[claim("other", "tank/a", Delegated)]),
            ["it overlaps with dataset tank/a of zone 'other'"]
        );
        let twice = spec(&["tank/a", "tank/b", "tank/a/b"]);
        assert_eq!(refused(&twice, &found, &[]), ["the zone has tank/a already, and everything below it"]);
        let member = FilesystemMember {
            name: "tank/a/b/z".into(),
            zone: Some("old".into()),
            ..FilesystemMember::default()
        };
        let marked = FilesystemTree { members: vec![member], ..FilesystemTree::default() };
        let why = refused(&s, &DatasetLookup::Filesystem(Box::new(marked)), &[]);
        assert_eq!(why, ["it overlaps with tank/a/b/z, which holds the zonepath of zone 'old'"]);
    }

    #[test]
    fn a_whole_pool_only_when_it_is_said_twice() {
        let mut s = spec(&["tank"]);
        let why = refused(&s, &filesystem(&["tank"]), &[]);
        let command =
            "zonecfg -z zion 'add attr; set name=delegate-pool; set type=string; set value=tank; end'";
        assert!(why[0].ends_with(command), "{why:?}");
        add(&mut s, ResourceKind::Attr, &[("name", POOL_ATTR), ("type", "string"), ("value", "rpool")]);
        assert_eq!(refused(&s, &filesystem(&["tank"]), &[]).len(), 1);
        add(&mut s, ResourceKind::Attr, &[("name", POOL_ATTR), ("type", "string"), ("value", "a, tank")]);
        assert!(refused(&s, &filesystem(&["tank"]), &[]).is_empty());
    }

    #[test]
    fn locks_and_tokens() {
        let mut s = spec(&[]);
        let pairs = [("name", "tank/%{zonename}"), ("lock", "compression, quota,recordsize")];
        add(&mut s, ResourceKind::Dataset, &pairs);
        assert_eq!(names(&s), ["tank/zion"]);
        let locked = locks(&s, "tank/zion");
        assert_eq!(locked[..ROOT_LOCKS.len()], *ROOT_LOCKS);
        assert_eq!(locked[ROOT_LOCKS.len()..], ["compression", "recordsize"]);
        assert_eq!(locks(&s, "tank/other"), *ROOT_LOCKS);
    }

    #[test]
    fn mounted_by_their_mount_points() {
        let member = |name: &str, point: &str, locked| FilesystemMember {
            name: name.into(),
            point: Some(point.into()),
            locked,
            ..FilesystemMember::default()
        };
        let mut tree = FilesystemTree::default();
        tree.members.push(member("t", "/b", false));
        tree.members.push(member("t/x", "/b/c", false));
        tree.members.push(member("t/y", "/a", false));
        tree.members.push(member("t/z", "/c", true));
        tree.members.push(FilesystemMember { name: "t/none".into(), ..FilesystemMember::default() });
        let lines: Vec<_> = mounts([&tree].into_iter(), None).iter().map(InsideStep::describe).collect();
        assert_eq!(
            lines,
            [
                "dataset t/y: mount it on /a inside",
                "dataset t: mount it on /b inside",
                "dataset t/x: mount it on /b/c inside"
            ]
        );
    }
}
