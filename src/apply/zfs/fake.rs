//! A ZFS in memory, for unit tests of the operations: they run without root, and any changing call can fail.
//!
//! It behaves by meaning: properties are inherited, clones hold their origin, a dataset with snapshots is busy. The
//! table that the real library is checked by, tests/zfs/cases.jsonl, is run on it as well.

mod state;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::fd::BorrowedFd;

use self::state::{FakeDataset, FakeState, FakeValue};
use super::system::{DatasetWalk, ZfsSystem};
use crate::sys::zfs::errno;
use crate::zfs::error::{Batch, Meaning};
use crate::zfs::name::{is_filesystem, is_snapshot, pool};
use crate::zfs::nvlist::{List, NvValue};
use crate::zfs::{
    AttachError, CloneError, CreateError, Dataset, DatasetError, DatasetKind, DestroyError, DetachError,
    GetHoldsError, InheritError, ListError, PermissionsError, PoolError, PromoteError, RenameError,
    SetPropFailure, SnapshotDestructionFailure, SnapshotFailure,
};

/// Datasets in memory.
#[derive(Debug, Default)]
pub struct FakeZfs(RefCell<FakeState>);

/// Runs a deed on datasets as `make` makes them: undisturbed, and then once for each changing call that it made, with
/// a failure of that call. `look` gets the call that failed, the state before, the datasets afterwards, and what the
/// deed returned. Returns the calls of the undisturbed run.
pub fn with_each_fault<T>(
    make: impl Fn() -> FakeZfs,
    deed: impl Fn(&FakeZfs) -> T,
    look: impl Fn(Option<&str>, &str, &FakeZfs, T),
) -> Vec<String> {
    let zfs = make();
    let before = zfs.state();
    let done = deed(&zfs);
    // Before `look` makes calls of its own.
    let calls = zfs.calls();
    look(None, &before, &zfs, done);
    for (at, call) in calls.iter().enumerate() {
        let zfs = make();
        zfs.0.borrow_mut().fault = Some(at + 1);
        let done = deed(&zfs);
        assert_eq!(zfs.calls().get(at), Some(call), "another call than undisturbed");
        look(Some(call), &before, &zfs, done);
    }
    calls
}

/// How a test makes its datasets, and looks at them.
impl FakeZfs {
    /// Makes pools without datasets.
    pub fn new(pools: &[&str]) -> Self {
        let zfs = Self::default();
        for pool in pools {
            zfs.0.borrow_mut().add(pool, DatasetKind::Filesystem, None, &List::new());
        }
        zfs
    }

    /// Adds a filesystem.
    pub fn filesystem(&self, name: &str, props: &List) {
        self.0.borrow_mut().make(name, DatasetKind::Filesystem, props).expect("a filesystem");
    }

    /// Adds a volume.
    pub fn volume(&self, name: &str) {
        self.0.borrow_mut().make(name, DatasetKind::Volume, &[("volsize", 1u64)].into()).expect("a volume");
    }

    /// Adds a snapshot.
    pub fn taken(&self, name: &str, props: &List) {
        assert_eq!(self.0.borrow_mut().take(&[name], props), []);
    }

    /// Adds a clone.
    pub fn cloned(&self, name: &str, origin: &str, props: &List) {
        self.0.borrow_mut().make_clone(name, origin, props).expect("a clone");
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut FakeDataset)) {
        change(self.0.borrow_mut().datasets.get_mut(name).expect(name));
    }

    /// Sets a property as a stream brings it.
    pub fn received(&self, name: &str, property: &str, value: impl Into<NvValue>) {
        let value = Some(value.into());
        self.with(name, |d| d.props.entry(property.to_owned()).or_default().received = value);
    }

    /// Gives a property that the kernel computes, as `keystatus`.
    pub fn computed(&self, name: &str, property: &str, value: u64) {
        self.with(name, |d| _ = d.computed.insert(property.to_owned(), NvValue::U64(value)));
    }

    /// Sets permissions of users.
    pub fn allowed(&self, name: &str, list: List) {
        self.with(name, |d| d.permissions = list);
    }

    /// Holds a snapshot.
    pub fn held(&self, name: &str, tag: &str) {
        self.with(name, |d| _ = d.holds.insert(tag.to_owned()));
    }

    /// Ends a hold.
    pub fn released(&self, name: &str, tag: &str) {
        self.with(name, |d| _ = d.holds.remove(tag));
        self.0.borrow_mut().let_go();
    }

    /// Lets a filesystem be seen mounted so many times more.
    pub fn mounted_for(&self, name: &str, looks: u32) {
        self.with(name, |d| d.mounted = looks);
    }

    /// Lets a dataset be too busy to be destroyed or renamed so many times more.
    pub fn busy_for(&self, name: &str, tries: u32) {
        self.with(name, |d| d.busy = tries);
    }

    /// Imports the pools below a directory, and read-only: every changing call fails.
    pub fn imported(&self, altroot: &str, read_only: bool) {
        let mut state = self.0.borrow_mut();
        state.altroot = Some(altroot.to_owned());
        state.read_only = read_only;
    }

    /// Refuses a property, as a release does that has it not, or not its value.
    pub fn refuse(&self, property: &str) {
        self.0.borrow_mut().refused.insert(property.to_owned());
    }

    /// Returns the changing calls that were made, those that failed too.
    pub fn calls(&self) -> Vec<String> {
        self.0.borrow().calls.clone()
    }

    /// Forgets the calls that were made so far.
    pub fn forget_calls(&self) {
        self.0.borrow_mut().calls.clear();
    }

    /// Returns everything that a changing call can change, one dataset a line.
    pub fn state(&self) -> String {
        let state = self.0.borrow();
        let mut text = String::new();
        for (name, d) in &state.datasets {
            let _ = write!(text, "{name}");
            if d.kind == DatasetKind::Volume {
                text.push_str(" volume");
            }
            if let Some(origin) = d.origin.and_then(|guid| state.name_of(guid)) {
                let _ = write!(text, " origin={origin}");
            }
            if d.deferred {
                text.push_str(" deferred");
            }
            for (property, FakeValue { local, received }) in &d.props {
                let shown =
                    |v: &NvValue| v.as_str().map_or_else(|| format!("{:?}", v.as_u64()), str::to_owned);
                let shown =
                    |v: &NvValue| shown(v).trim_start_matches("Some(").trim_end_matches(')').to_owned();
                for (value, mark) in [(local, ""), (received, "received:")] {
                    if let Some(value) = value {
                        let _ = write!(text, " {mark}{property}={}", shown(value));
                    }
                }
            }
            if !d.permissions.is_empty() {
                let _ = write!(text, " allowed={}", d.permissions.names().collect::<Vec<_>>().join(","));
            }
            if state.attached.contains(name) {
                text.push_str(" attached");
            }
            text.push('\n');
        }
        for name in state.attached.iter().filter(|name| !state.datasets.contains_key(*name)) {
            let _ = writeln!(text, "{name} attached, not there");
        }
        text
    }

    /// Makes a changing call, unless it is the one that fails.
    fn change<E>(
        &self,
        call: String,
        fault: impl FnOnce(i32) -> E,
        deed: impl FnOnce(&mut FakeState) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.0.borrow_mut();
        state.calls.push(call);
        if state.fault == Some(state.calls.len()) {
            return Err(fault(errno::EIO));
        }
        if state.read_only {
            return Err(fault(errno::EROFS));
        }
        deed(&mut state)
    }

    /// The same for a call about several objects.
    fn change_each<E: Meaning>(
        &self,
        call: String,
        what: &'static str,
        names: &[&str],
        deed: impl FnOnce(&mut FakeState) -> Vec<(Option<String>, E)>,
    ) -> Result<(), Batch<E>> {
        let first = names.first().copied().unwrap_or_default();
        let fault =
            |number| Batch::of_each(what, vec![(Some(first.to_owned()), E::from_errno(number, first))]);
        self.change(call, fault, |state| match deed(state) {
            errors if errors.is_empty() => Ok(()),
            errors => Err(Batch::of_each(what, errors)),
        })
    }

    fn walk(&self, of: &str, snapshots: bool, props: bool) -> DatasetWalk<'_> {
        let state = self.0.borrow();
        let failed =
            |number| -> DatasetWalk<'_> { Box::new(std::iter::once(Err(ListError::from_errno(number, of)))) };
        if !is_filesystem(of) {
            return failed(errno::EINVAL);
        }
        if !state.datasets.contains_key(of) {
            return failed(errno::ENOENT);
        }
        let names = state.names(of, snapshots);
        Box::new(names.into_iter().filter_map(move |name| self.0.borrow().tell(&name, props)).map(Ok))
    }
}

impl ZfsSystem for FakeZfs {
    fn dataset(&self, name: &str) -> Result<Dataset, DatasetError> {
        if !is_filesystem(name) && !is_snapshot(name) {
            return Err(DatasetError::NameInvalid(name.to_owned()));
        }
        self.0.borrow().tell(name, true).ok_or_else(|| DatasetError::DatasetNotFound(name.to_owned()))
    }

    fn children<'a>(&'a self, name: &str) -> DatasetWalk<'a> {
        self.walk(name, false, true)
    }

    fn snapshots<'a>(&'a self, name: &str, props: bool) -> DatasetWalk<'a> {
        self.walk(name, true, props)
    }

    fn get_holds(&self, snapshot: &str) -> Result<BTreeMap<String, u64>, GetHoldsError> {
        if !is_snapshot(snapshot) {
            return Err(GetHoldsError::SnapshotNameInvalid(snapshot.to_owned()));
        }
        let state = self.0.borrow();
        let d = state.datasets.get(snapshot);
        let d = d.ok_or_else(|| GetHoldsError::SnapshotNotFound(snapshot.to_owned()))?;
        Ok(d.holds.iter().map(|tag| (tag.clone(), 1)).collect())
    }

    fn permissions(&self, name: &str) -> Result<List, PermissionsError> {
        let state = self.0.borrow();
        let d = state.datasets.get(name);
        d.map(|d| d.permissions.clone()).ok_or_else(|| PermissionsError::DatasetNotFound(name.to_owned()))
    }

    fn pools(&self) -> Result<BTreeMap<String, List>, PoolError> {
        let state = self.0.borrow();
        let pools = state.datasets.keys().filter(|name| pool(name) == name.as_str());
        Ok(pools.map(|name| (name.clone(), List::new())).collect())
    }

    fn altroot(&self, _: &str) -> Option<String> {
        self.0.borrow().altroot.clone()
    }

    fn is_read_only(&self, _: &str) -> bool {
        self.0.borrow().read_only
    }

    fn is_mounted(&self, d: &Dataset) -> Option<bool> {
        let mut state = self.0.borrow_mut();
        let d = state.datasets.get_mut(&d.name)?;
        let is = d.mounted > 0;
        d.mounted = d.mounted.saturating_sub(1);
        Some(is)
    }

    fn create(
        &self,
        name: &str,
        kind: DatasetKind,
        props: &List,
        _: Option<&[u8]>,
    ) -> Result<(), CreateError> {
        let fault = |number| CreateError::from_errno(number, name);
        self.change(format!("create {name}"), fault, |s| s.make(name, kind, props))
    }

    fn clone(&self, name: &str, origin: &str, props: &List) -> Result<(), CloneError> {
        let fault = |number| CloneError::from_errno(number, name);
        self.change(format!("clone {name} of {origin}"), fault, |s| s.make_clone(name, origin, props))
    }

    fn promote(&self, name: &str) -> Result<(), PromoteError> {
        let fault = |number| PromoteError::from_errno(number, name);
        self.change(format!("promote {name}"), fault, |s| s.give_snapshots(name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), RenameError> {
        let fault = |number| RenameError::from_errno(number, from);
        self.change(format!("rename {from} to {to}"), fault, |s| s.give_name(from, to))
    }

    fn destroy(&self, name: &str) -> Result<(), DestroyError> {
        let fault = |number| DestroyError::from_errno(number, name);
        self.change(format!("destroy {name}"), fault, |s| s.remove(name))
    }

    fn snapshot(&self, snaps: &[&str], props: &List) -> Result<(), SnapshotFailure> {
        let call = format!("snapshot {}", snaps.join(" "));
        self.change_each(call, "take snapshots", snaps, |s| s.take(snaps, props))
    }

    fn destroy_snaps(&self, snaps: &[&str], defer: bool) -> Result<(), SnapshotDestructionFailure> {
        let call = format!("destroy {}{}", snaps.join(" "), if defer { ", deferred" } else { "" });
        self.change_each(call, "destroy snapshots", snaps, |s| s.drop_snaps(snaps, defer))
    }

    fn set_props(&self, name: &str, props: &List) -> Result<(), SetPropFailure> {
        let names: Vec<&str> = props.names().collect();
        let call = format!("set {} of {name}", names.join(" "));
        self.change_each(call, "set properties", &names, |s| s.set(name, props))
    }

    fn inherit(&self, name: &str, property: &str, received: bool) -> Result<(), InheritError> {
        let fault = |number| InheritError::from_errno(number, name);
        self.change(format!("inherit {property} of {name}"), fault, |s| s.unset(name, property, received))
    }

    fn revoke(&self, name: &str, list: &List) -> Result<(), PermissionsError> {
        let fault = |number| PermissionsError::from_errno(number, name);
        self.change(format!("revoke permissions of {name}"), fault, |s| match s.datasets.get_mut(name) {
            None => Err(PermissionsError::DatasetNotFound(name.to_owned())),
            Some(d) => {
                for who in list.names() {
                    d.permissions.remove(who);
                }
                Ok(())
            }
        })
    }

    fn userns_attach(&self, name: &str, _: BorrowedFd<'_>) -> Result<(), AttachError> {
        let fault = |number| AttachError::from_errno(number, name);
        self.change(format!("attach {name}"), fault, |s| match () {
            () if !is_filesystem(name) => Err(AttachError::DatasetNameInvalid(name.to_owned())),
            () if s.attached.insert(name.to_owned()) => Ok(()),
            () => Err(AttachError::AlreadyAttached(name.to_owned())),
        })
    }

    fn userns_detach(&self, name: &str, _: BorrowedFd<'_>) -> Result<(), DetachError> {
        let fault = |number| DetachError::from_errno(number, name);
        self.change(format!("detach {name}"), fault, |s| match s.attached.remove(name) {
            true => Ok(()),
            false => Err(DetachError::NotAttached(name.to_owned())),
        })
    }
}

#[cfg(test)]
#[path = "fake_tests.rs"]
mod fake_tests;
