//! The input of an operation on a zone, and its output.

use std::collections::BTreeMap;

use crate::apply::store::{FileStore, Locked};
use crate::spec::store::StoreError;
use crate::spec::{ZoneName, ZoneSpec};

/// Where an operation talks to the person or program that asked for it.
///
/// The operations know nothing of terminals: the same code runs below `zoneadm`, with a person at a terminal, and
/// below a service without one.
pub trait Notice {
    /// Prints a line of result on standard output, as it is.
    fn say(&mut self, text: &str);
    /// Prints a complaint on standard error; the receiver puts the program and the zone before it.
    fn warn(&mut self, text: &str);
    /// Reports how far `what` has come. A total of 0 means that it is not known.
    fn progress(&mut self, done: u64, total: u64, what: &str);
}

/// Messages that a test looks at; those of standard error have `warning: ` before them.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct HeardMessages(pub Vec<String>);

#[cfg(test)]
impl Notice for HeardMessages {
    fn say(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn warn(&mut self, text: &str) {
        self.0.push(format!("warning: {text}"));
    }
    fn progress(&mut self, _: u64, _: u64, _: &str) {}
}

/// The input of every operation on a zone.
pub struct Op<'a> {
    /// Specs and states.
    pub store: &'a FileStore,
    /// The zone.
    pub name: &'a ZoneName,
    /// Its saved spec.
    pub spec: &'a ZoneSpec,
    /// The ZFS file systems of its spec that have been looked at a moment ago, which takes its time.
    pub seen: &'a SeenDatasets,
    /// The receiver of its messages.
    pub out: &'a mut dyn Notice,
    /// The lock under which the spec was read; none where the operation is only shown.
    lock: Option<&'a Locked>,
}

impl<'a> Op<'a> {
    /// Returns an operation on a zone that is locked. The spec was read under that lock.
    pub fn under(
        lock: &'a Locked,
        store: &'a FileStore,
        spec: &'a ZoneSpec,
        seen: &'a SeenDatasets,
        out: &'a mut dyn Notice,
    ) -> Self {
        Self { store, name: lock.name(), spec, seen, out, lock: Some(lock) }
    }

    /// Returns an operation that only shows a plan: every change of the zone fails.
    pub fn shown(
        store: &'a FileStore,
        name: &'a ZoneName,
        spec: &'a ZoneSpec,
        seen: &'a SeenDatasets,
        out: &'a mut dyn Notice,
    ) -> Self {
        Self { store, name, spec, seen, out, lock: None }
    }

    /// Returns the zone's lock.
    ///
    /// # Errors
    /// The operation only shows a plan.
    pub fn lock(&self) -> Result<&'a Locked, StoreError> {
        self.lock.ok_or_else(|| StoreError::Io(format!("zone {} is not locked for this", self.name)))
    }
}

/// ZFS file systems that have been looked at, by name.
pub type SeenDatasets = BTreeMap<String, crate::plan::zfs::DatasetFacts>;

/// Empty: the caller has queried no file systems.
pub static NO_ZFS_FACTS: SeenDatasets = SeenDatasets::new();
