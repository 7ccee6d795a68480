//! The lock of one operation on a zone, and the data that is read under it.
//!
//! Everything that an operation relies on (spec, state, rights, ids, zonepath, name) may be changed by another one at
//! this moment. So an operation locks the zone first and reads then, through [`Locked`], which nothing
//! but the lock makes. Programs that only print read from the store without a lock.
//!
//! | program | takes the lock of | waits |
//! |---|---|---|
//! | zoneadm, for itself or for a user of the broker | the zone, and the source of a clone | until it is free |
//! | zonecfg: commit, rename, delete | the zone under its old and its new name | for [`PATIENCE`], then refuses |
//! | zoneadmd, when a zone has ended by itself | the zone | not: it tries again |
//!
//! Locks of two zones are taken in the order of their names. The lock of the whole store comes last.

use std::time::{Duration, Instant};

use super::FileStore;
use crate::apply::lock::{self, OpLock};
use crate::apply::trust;
use crate::spec::state::ZoneState;
use crate::spec::store::{StoreError, Stored, ZoneStore};
use crate::spec::{ZoneName, ZoneSpec};

/// How long a change of the configuration waits for an operation to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// A zone whose lock this process holds. Ends with the value.
#[derive(Debug)]
pub struct Locked {
    store: FileStore,
    name: ZoneName,
    lock: OpLock,
}

impl Locked {
    /// Returns the zone.
    pub fn name(&self) -> &ZoneName {
        &self.name
    }

    /// Reads the zone's spec as it is now; none when there is no such zone.
    ///
    /// # Errors
    /// The spec cannot be read or understood.
    pub fn spec(&self) -> Result<Option<ZoneSpec>, StoreError> {
        Ok(self.store.load(&self.name)?.map(|Stored { spec, .. }| spec))
    }

    /// Returns the zone's state as it is now; none when there is no such zone.
    ///
    /// # Errors
    /// The state file cannot be read or understood.
    pub fn state(&self) -> Result<Option<ZoneState>, StoreError> {
        self.store.state(&self.name)
    }

    /// Notes in the lock file which program works on the zone now, for the refusals of others.
    pub fn note(&self, what: &str) {
        self.lock.note(what);
    }

    /// Returns the descriptors that hold the lock.
    pub fn descriptors(&self) -> impl Iterator<Item = std::os::fd::RawFd> {
        self.lock.descriptors()
    }

    /// Gives the lock up for every process that holds it (see [`OpLock::release`]).
    pub fn release(&self) {
        log::debug!("the lock of zone '{}' is given up", self.name);
        self.lock.release();
    }

    /// Removes the lock files of a zone that is no more, and gives the lock up.
    pub fn forget(self) {
        let _ = std::fs::remove_file(self.store.root.adopt_lock(&self.name));
        self.lock.forget();
    }
}

impl FileStore {
    /// Locks a zone for an operation, which is named for others (such as `zoneadm boot`); waits until no
    /// other operation is in progress.
    ///
    /// # Errors
    /// The lock file cannot be made, or others than root can write to the folders of the zone.
    pub fn lock(&self, zone: &ZoneName, what: &str) -> Result<Locked, StoreError> {
        self.refuse_foreign(zone)?;
        loop {
            log::debug!("wait for the lock of zone '{zone}' ({what})");
            if let Some(lock) = self.take(zone, true)? {
                return Ok(self.locked(zone, lock, what));
            }
        }
    }

    /// The same, but does not wait: none when another operation is in progress.
    ///
    /// # Errors
    /// As [`FileStore::lock`].
    pub fn try_lock(&self, zone: &ZoneName, what: &str) -> Result<Option<Locked>, StoreError> {
        self.refuse_foreign(zone)?;
        Ok(self.take(zone, false)?.map(|lock| self.locked(zone, lock, what)))
    }

    /// Locks zones for a change of their configuration. An operation in progress may take minutes: it is
    /// waited for a moment only.
    ///
    /// # Errors
    /// [`StoreError::Busy`] with the operation that is in progress, or a lock file cannot be made.
    pub(super) fn lock_to_change(
        &self,
        zones: &mut [&ZoneName],
        what: &str,
    ) -> Result<Vec<Locked>, StoreError> {
        zones.sort_unstable();
        let start = Instant::now();
        let mut locks: Vec<Locked> = Vec::new();
        for zone in zones {
            if locks.last().is_some_and(|last| last.name() == *zone) {
                continue;
            }
            let lock = loop {
                match self.take(zone, false)? {
                    Some(lock) => break lock,
                    None if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                    None => return Err(StoreError::Busy(self.holder(zone))),
                }
            };
            locks.push(self.locked(zone, lock, what));
        }
        Ok(locks)
    }

    /// Returns who works on a zone: the command, the process, and since when.
    pub fn holder(&self, zone: &ZoneName) -> String {
        OpLock::holder(&self.lock_file(zone))
    }

    /// Removes the lock file of a name without a zone, unless a process holds it: that process removes it.
    pub(super) fn forget_lock(&self, zone: &ZoneName) {
        if self.lock_file(zone).symlink_metadata().is_ok()
            && let Ok(Some(lock)) = self.take(zone, false)
        {
            self.locked(zone, lock, "zonecfg").forget();
        }
    }

    fn take(&self, zone: &ZoneName, waits: bool) -> Result<Option<OpLock>, StoreError> {
        OpLock::of_zone(&self.lock_file(zone), &self.root.lib_dir().join(".locks"), zone, waits)
    }

    fn locked(&self, zone: &ZoneName, lock: OpLock, what: &str) -> Locked {
        lock.note(what);
        log::debug!("zone '{zone}' is locked ({what})");
        Locked { store: self.clone(), name: zone.clone(), lock }
    }

    /// Refuses folders that others can write to: an operation acts by what these folders say.
    fn refuse_foreign(&self, zone: &ZoneName) -> Result<(), StoreError> {
        trust::folders(&self.root, zone).map_err(StoreError::Invalid)
    }

    fn lock_file(&self, zone: &ZoneName) -> std::path::PathBuf {
        lock::file(&self.root, zone)
    }
}
