//! The datasets of the fake, and how they change.

use std::collections::{BTreeMap, BTreeSet};

use crate::zfs::error::{CallFailure, Meaning};
use crate::zfs::name::{NAME_MAX, filesystem, is_filesystem, is_snapshot, pool};
use crate::zfs::nvlist::{List, NvValue};
use crate::zfs::{
    CloneError, CreateError, Dataset, DatasetKind, DestroyError, DestroySnapError, InheritError,
    PromoteError, Property, PropertySource, RenameError, SetPropError, SnapshotError, default_number,
};

/// Native properties that are texts.
const TEXTS: [&str; 5] = ["mountpoint", "sharenfs", "sharesmb", "keylocation", "mlslabel"];

/// Properties that no dataset inherits.
const OWN: [&str; 9] = [
    "quota",
    "refquota",
    "reservation",
    "refreservation",
    "filesystem_limit",
    "snapshot_limit",
    "canmount",
    "volsize",
    "keylocation",
];

/// The values of a property that is set on a dataset.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeValue {
    pub(super) local: Option<NvValue>,
    pub(super) received: Option<NvValue>,
}

/// A dataset or snapshot.
#[derive(Clone, Debug)]
pub(super) struct FakeDataset {
    pub(super) kind: DatasetKind,
    pub(super) guid: u64,
    pub(super) txg: u64,
    /// The guid of the snapshot: its name may change.
    pub(super) origin: Option<u64>,
    pub(super) props: BTreeMap<String, FakeValue>,
    /// Properties that the kernel computes.
    pub(super) computed: BTreeMap<String, NvValue>,
    pub(super) permissions: List,
    pub(super) holds: BTreeSet<String>,
    pub(super) deferred: bool,
    /// How many more times it is seen mounted.
    pub(super) mounted: u32,
    /// How many more times it is too busy to be destroyed or renamed.
    pub(super) busy: u32,
}

#[derive(Debug, Default)]
pub(super) struct FakeState {
    pub(super) datasets: BTreeMap<String, FakeDataset>,
    pub(super) txg: u64,
    pub(super) attached: BTreeSet<String>,
    pub(super) refused: BTreeSet<String>,
    pub(super) altroot: Option<String>,
    pub(super) read_only: bool,
    pub(super) calls: Vec<String>,
    pub(super) fault: Option<usize>,
}

fn is_valid(property: &str, value: &NvValue) -> bool {
    if default_number(property).is_some() {
        return value.as_u64().is_some();
    }
    value.as_str().is_some() && (property.contains(':') || TEXTS.contains(&property))
}

/// Returns the name of a dataset and its parent; for a snapshot, that of its dataset.
fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('@').or_else(|| name.rsplit_once('/')).map(|(above, _)| above)
}

fn check<E: Meaning>(name: &str, valid: bool, invalid: fn(String) -> E) -> Result<(), E> {
    match () {
        () if !valid => Err(invalid(name.to_owned())),
        () if name.len() > NAME_MAX => Err(CallFailure::NameTooLong(name.to_owned()).into()),
        () => Ok(()),
    }
}

impl FakeState {
    fn is_child(&self, name: &str, of: &str) -> bool {
        parent(name) == Some(of) && self.datasets.contains_key(name)
    }

    pub(super) fn names(&self, of: &str, snapshots: bool) -> Vec<String> {
        let wanted = |name: &&String| self.is_child(name, of) && name.contains('@') == snapshots;
        self.datasets.keys().filter(wanted).cloned().collect()
    }

    fn clones(&self, guid: u64) -> Vec<String> {
        self.datasets.iter().filter(|(_, d)| d.origin == Some(guid)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn name_of(&self, guid: u64) -> Option<String> {
        self.datasets.iter().find(|(_, d)| d.guid == guid).map(|(name, _)| name.clone())
    }

    pub(super) fn add(&mut self, name: &str, kind: DatasetKind, origin: Option<u64>, props: &List) {
        self.txg += 1;
        let set = |(name, value): (&str, &NvValue)| {
            (name.to_owned(), FakeValue { local: Some(value.clone()), received: None })
        };
        let d = FakeDataset {
            kind,
            guid: 1000 + self.txg,
            txg: self.txg,
            origin,
            props: props.iter().map(set).collect(),
            computed: BTreeMap::new(),
            permissions: List::new(),
            holds: BTreeSet::new(),
            deferred: false,
            mounted: 0,
            busy: 0,
        };
        self.datasets.insert(name.to_owned(), d);
    }

    /// Removes deferred snapshots that nothing holds any more.
    pub(super) fn let_go(&mut self) {
        let gone = |(name, d): (&String, &FakeDataset)| {
            (d.deferred && d.holds.is_empty() && self.clones(d.guid).is_empty()).then(|| name.clone())
        };
        for name in self.datasets.iter().filter_map(gone).collect::<Vec<_>>() {
            self.datasets.remove(&name);
        }
    }

    /// Returns a dataset as the kernel tells of it.
    pub(super) fn tell(&self, name: &str, with_props: bool) -> Option<Dataset> {
        let d = self.datasets.get(name)?;
        let is_snapshot = name.contains('@');
        let mut props = BTreeMap::new();
        let mut at = Some(name);
        while let Some(from) = at.filter(|_| with_props) {
            let here = self.datasets.get(from).into_iter().flat_map(|d| &d.props);
            for (property, value) in here.filter(|(p, _)| from == name || !OWN.contains(&p.as_str())) {
                let source = match &value.local {
                    _ if from != name => PropertySource::Inherited(from.to_owned()),
                    Some(_) => PropertySource::Local,
                    None => PropertySource::Received,
                };
                if let Some(value) = value.local.clone().or_else(|| value.received.clone()) {
                    props.entry(property.clone()).or_insert(Property { value, source });
                }
            }
            at = parent(from);
        }
        let clones = self.clones(d.guid);
        if with_props {
            let mut computed = d.computed.clone();
            if is_snapshot {
                computed.insert("userrefs".into(), NvValue::U64(d.holds.len() as u64));
                computed.insert("clones".into(), NvValue::List(List::set(&clones)));
            } else {
                computed.insert("objsetid".into(), NvValue::U64(d.guid));
            }
            let source = PropertySource::Default;
            let computed =
                computed.into_iter().map(|(p, value)| (p, Property { value, source: source.clone() }));
            props.extend(computed);
        }
        Some(Dataset {
            name: name.to_owned(),
            kind: Some(d.kind),
            is_snapshot,
            guid: d.guid,
            creation_txg: d.txg,
            clones: if is_snapshot { clones.len() as u64 } else { 0 },
            inconsistent: false,
            origin: d.origin.and_then(|guid| self.name_of(guid)),
            props,
        })
    }

    pub(super) fn make(&mut self, name: &str, kind: DatasetKind, props: &List) -> Result<(), CreateError> {
        check(name, is_filesystem(name), CreateError::FilesystemNameInvalid)?;
        let invalid = props.iter().any(|(p, v)| !is_valid(p, v));
        if invalid || (kind == DatasetKind::Volume && !props.contains("volsize")) {
            return Err(CreateError::PropertyInvalid(name.to_owned()));
        }
        let above = parent(name).and_then(|above| self.datasets.get(above));
        match above.map(|above| above.kind) {
            None => return Err(CreateError::ParentNotFound(name.to_owned())),
            Some(DatasetKind::Volume) => return Err(CreateError::WrongParent(name.to_owned())),
            Some(DatasetKind::Filesystem) if self.datasets.contains_key(name) => {
                return Err(CreateError::FilesystemExists(name.to_owned()));
            }
            Some(DatasetKind::Filesystem) => {}
        }
        self.add(name, kind, None, props);
        Ok(())
    }

    pub(super) fn make_clone(&mut self, name: &str, origin: &str, props: &List) -> Result<(), CloneError> {
        check(name, is_filesystem(name), CloneError::FilesystemNameInvalid)?;
        check(origin, is_snapshot(origin), CloneError::SnapshotNameInvalid)?;
        if pool(name) != pool(origin) {
            return Err(CloneError::PoolsDiffer(name.to_owned()));
        }
        let above = parent(name).is_some_and(|above| self.datasets.contains_key(above));
        let Some((guid, kind)) = self.datasets.get(origin).filter(|_| above).map(|d| (d.guid, d.kind)) else {
            return Err(CloneError::DatasetNotFound(name.to_owned()));
        };
        if self.datasets.contains_key(name) {
            return Err(CloneError::FilesystemExists(name.to_owned()));
        }
        if props.iter().any(|(p, v)| !is_valid(p, v)) {
            return Err(CloneError::PropertyInvalid(name.to_owned()));
        }
        self.add(name, kind, Some(guid), props);
        Ok(())
    }

    pub(super) fn give_snapshots(&mut self, name: &str) -> Result<(), PromoteError> {
        check(name, is_filesystem(name), PromoteError::FilesystemNameInvalid)?;
        let Some(d) = self.datasets.get(name) else {
            return Err(PromoteError::FilesystemNotFound(name.to_owned()));
        };
        let Some(guid) = d.origin else { return Err(PromoteError::NotClone(name.to_owned())) };
        let origin = self.name_of(guid).expect("an origin has no end before its clones");
        let (source, last) = (filesystem(&origin).to_owned(), self.datasets[&origin].txg);
        let moved = self.names(&source, true).into_iter().filter(|s| self.datasets[s].txg <= last);
        let to = |old: &str| format!("{name}@{}", old.rsplit('@').next().unwrap_or_default());
        let moved: Vec<(String, String)> = moved.map(|old| (old.clone(), to(&old))).collect();
        if let Some((old, _)) = moved.iter().find(|(_, new)| self.datasets.contains_key(new)) {
            // The kernel gives the part behind the mark.
            return Err(PromoteError::SnapshotExists(old.rsplit('@').next().unwrap_or_default().to_owned()));
        }
        for (old, new) in moved {
            let snapshot = self.datasets.remove(&old).expect("it was listed");
            self.datasets.insert(new, snapshot);
        }
        let former = self.datasets.get_mut(&source).and_then(|d| d.origin.replace(guid));
        self.datasets.get_mut(name).expect("it is there").origin = former;
        Ok(())
    }

    pub(super) fn give_name(&mut self, from: &str, to: &str) -> Result<(), RenameError> {
        let valid = |name: &str| if from.contains('@') { is_snapshot(name) } else { is_filesystem(name) };
        check(from, valid(from), RenameError::FilesystemNameInvalid)?;
        check(to, valid(to), RenameError::FilesystemNameInvalid)?;
        if pool(from) != pool(to) || to.starts_with(&format!("{from}/")) {
            return Err(RenameError::PoolsDiffer(from.to_owned()));
        }
        assert!(!from.contains('@') || filesystem(from) == filesystem(to), "a snapshot does not move");
        let Some(above) = parent(to).and_then(|above| self.datasets.get(above)).map(|d| d.kind) else {
            return Err(RenameError::FilesystemNotFound(from.to_owned()));
        };
        let Some(d) = self.datasets.get_mut(from) else {
            return Err(RenameError::FilesystemNotFound(from.to_owned()));
        };
        if d.busy > 0 {
            d.busy -= 1;
            return Err(CallFailure::DatasetBusy(from.to_owned()).into());
        }
        if above == DatasetKind::Volume && !to.contains('@') {
            return Err(RenameError::WrongParent(to.to_owned()));
        }
        if self.datasets.contains_key(to) {
            return Err(RenameError::FilesystemExists(to.to_owned()));
        }
        // Attachments keep the old name. A zoned dataset is renamed as any other: the library of zfs(8) refuses, and
        // the kernel does not.
        let below = |name: &str| {
            name.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
        };
        for old in self.datasets.keys().filter(|name| below(name)).cloned().collect::<Vec<_>>() {
            let d = self.datasets.remove(&old).expect("it was listed");
            self.datasets.insert(format!("{to}{}", &old[from.len()..]), d);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), DestroyError> {
        check(name, is_filesystem(name), DestroyError::FilesystemNameInvalid)?;
        let has_snapshots = !self.names(name, true).is_empty();
        let has_children = !self.names(name, false).is_empty();
        let Some(d) = self.datasets.get_mut(name) else {
            return Err(DestroyError::FilesystemNotFound(name.to_owned()));
        };
        if d.busy > 0 || d.mounted > 0 || has_snapshots {
            d.busy = d.busy.saturating_sub(1);
            return Err(CallFailure::DatasetBusy(name.to_owned()).into());
        }
        if has_children {
            return Err(DestroyError::HasChildren(name.to_owned()));
        }
        self.datasets.remove(name);
        self.let_go();
        Ok(())
    }

    pub(super) fn take(&mut self, snaps: &[&str], props: &List) -> Vec<(Option<String>, SnapshotError)> {
        let all = |e: fn(String) -> SnapshotError| vec![(None, e(snaps.join(" ")))];
        if snaps.iter().any(|s| !is_snapshot(s)) {
            return all(SnapshotError::NameInvalid);
        }
        if snaps.iter().any(|s| s.len() > NAME_MAX) {
            return all(|names| CallFailure::NameTooLong(names).into());
        }
        if snaps.iter().any(|s| pool(s) != pool(snaps[0])) {
            return all(SnapshotError::PoolsDiffer);
        }
        if snaps.iter().map(|s| filesystem(s)).collect::<BTreeSet<_>>().len() < snaps.len() {
            return all(SnapshotError::DuplicateSnapshots);
        }
        if props.iter().any(|(p, v)| !p.contains(':') || !is_valid(p, v)) {
            return all(SnapshotError::PropertyInvalid);
        }
        let mut errors = Vec::new();
        for snap in snaps {
            let of = filesystem(snap);
            let own = |e: fn(String) -> SnapshotError| (Some((*snap).to_owned()), e((*snap).to_owned()));
            if !self.datasets.contains_key(of) {
                errors.push(own(SnapshotError::FilesystemNotFound));
            } else if self.datasets.contains_key(*snap) {
                errors.push(own(SnapshotError::SnapshotExists));
            }
        }
        for snap in snaps.iter().filter(|_| errors.is_empty()) {
            let kind = self.datasets[filesystem(snap)].kind;
            self.add(snap, kind, None, props);
        }
        errors
    }

    pub(super) fn drop_snaps(
        &mut self,
        snaps: &[&str],
        defer: bool,
    ) -> Vec<(Option<String>, DestroySnapError)> {
        let mut errors = Vec::new();
        for snap in snaps {
            let own = |e: fn(String) -> DestroySnapError| (Some((*snap).to_owned()), e((*snap).to_owned()));
            if !self.datasets.contains_key(pool(snap)) {
                errors.push(own(DestroySnapError::PoolNotFound));
            }
            // A snapshot that is not there counts as destroyed.
            let Some(d) = self.datasets.get(*snap).filter(|_| !defer) else { continue };
            if !self.clones(d.guid).is_empty() {
                errors.push(own(DestroySnapError::SnapshotIsCloned));
            } else if !d.holds.is_empty() {
                errors.push(own(DestroySnapError::SnapshotIsHeld));
            }
        }
        for snap in snaps.iter().filter(|_| errors.is_empty()) {
            if let Some(d) = self.datasets.get_mut(*snap) {
                d.deferred = true;
            }
        }
        self.let_go();
        errors
    }

    pub(super) fn set(&mut self, name: &str, props: &List) -> Vec<(Option<String>, SetPropError)> {
        if !is_filesystem(name) && !is_snapshot(name) {
            return vec![(None, SetPropError::NameInvalid(name.to_owned()))];
        }
        let refused = self.refused.clone();
        let Some(d) = self.datasets.get_mut(name) else {
            return vec![(None, SetPropError::DatasetNotFound(name.to_owned()))];
        };
        let mut errors = Vec::new();
        for (property, value) in props.iter() {
            if is_valid(property, value) && !refused.contains(property) {
                d.props.entry(property.to_owned()).or_default().local = Some(value.clone());
            } else {
                errors.push((Some(property.to_owned()), SetPropError::PropertyInvalid(property.to_owned())));
            }
        }
        errors
    }

    pub(super) fn unset(&mut self, name: &str, property: &str, received: bool) -> Result<(), InheritError> {
        if !is_filesystem(name) && !is_snapshot(name) {
            return Err(InheritError::NameInvalid(name.to_owned()));
        }
        let Some(d) = self.datasets.get_mut(name) else {
            return Err(InheritError::DatasetNotFound(name.to_owned()));
        };
        let known = default_number(property).is_some() || property.contains(':') || TEXTS.contains(&property);
        if !known || (OWN.contains(&property) && !received) {
            return Err(InheritError::PropertyInvalid(property.to_owned()));
        }
        let left = d.props.remove(property).and_then(|value| value.received).filter(|_| received);
        if left.is_some() {
            d.props.insert(property.to_owned(), FakeValue { local: None, received: left });
        }
        Ok(())
    }
}
