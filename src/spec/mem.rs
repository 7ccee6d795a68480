//! A store in memory, with the same rules as the one on disk. For tests and fuzzing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::state::ZoneState;
use super::store::{Commit, ContentToken, Revision, StoreError, Stored, ZoneStore};
use super::{ZoneName, ZoneSpec};

#[derive(Debug)]
struct StoredZone {
    spec: ZoneSpec,
    serial: u32,
    state: ZoneState,
    former: Vec<ZoneSpec>,
}

/// Specs and templates in memory.
#[derive(Debug, Default)]
pub struct MemStore {
    zones: RefCell<BTreeMap<String, StoredZone>>,
    templates: BTreeMap<String, ZoneSpec>,
    /// No zone may be saved.
    pub read_only: bool,
}

impl MemStore {
    /// Adds a template.
    pub fn add_template(&mut self, name: &str, spec: ZoneSpec) {
        self.templates.insert(name.to_owned(), spec);
    }

    /// Sets the state of a zone.
    pub fn set_state(&self, name: &str, state: ZoneState) {
        if let Some(zone) = self.zones.borrow_mut().get_mut(name) {
            zone.state = state;
        }
    }

    /// Returns the saved spec of a zone.
    pub fn saved(&self, name: &str) -> Option<ZoneSpec> {
        self.zones.borrow().get(name).map(|z| z.spec.clone())
    }

    fn token(serial: u32) -> ContentToken {
        ContentToken(serial.to_string())
    }
}

impl ZoneStore for MemStore {
    fn load(&self, name: &ZoneName) -> Result<Option<Stored>, StoreError> {
        let zones = self.zones.borrow();
        Ok(zones.get(name.as_str()).map(|z| Stored { spec: z.spec.clone(), token: Self::token(z.serial) }))
    }

    fn is_saved(&self, name: &ZoneName, token: &ContentToken) -> bool {
        self.zones.borrow().get(name.as_str()).is_some_and(|z| Self::token(z.serial) == *token)
    }

    fn commit(&self, commit: &Commit<'_>) -> Result<ContentToken, StoreError> {
        if self.read_only {
            return Err(StoreError::Denied);
        }
        let mut zones = self.zones.borrow_mut();
        let new = commit.spec.name.to_string();
        let old = commit.renamed_from.map_or_else(|| new.clone(), ToString::to_string);
        if old != new && zones.contains_key(&new) {
            return Err(StoreError::NameInUse);
        }
        let saved = zones.get(&old).map(|z| Self::token(z.serial));
        if !commit.overwrite && saved.as_ref() != commit.base {
            return Err(match zones.get(&old) {
                Some(z) => StoreError::Conflict(Box::new(Stored {
                    spec: z.spec.clone(),
                    token: Self::token(z.serial),
                })),
                None => StoreError::NoZone,
            });
        }
        let mut zone = zones.remove(&old).unwrap_or_else(|| StoredZone {
            spec: commit.spec.clone(),
            serial: 0,
            state: ZoneState::Configured,
            former: Vec::new(),
        });
        if zone.serial > 0 {
            zone.former.push(zone.spec);
        }
        zone.spec = commit.spec.clone();
        zone.serial += 1;
        let token = Self::token(zone.serial);
        zones.insert(new, zone);
        Ok(token)
    }

    fn delete(&self, name: &ZoneName, force: bool) -> Result<(), StoreError> {
        let mut zones = self.zones.borrow_mut();
        let state = zones.get(name.as_str()).map(|z| z.state).ok_or(StoreError::NoZone)?;
        if state.is_active() || (state != ZoneState::Configured && !force) {
            return Err(StoreError::BadState(state));
        }
        zones.remove(name.as_str());
        Ok(())
    }

    fn template(&self, name: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        Ok(self.templates.get(name).map(|t| ZoneSpec { name: zone.clone(), ..t.clone() }))
    }

    fn state(&self, name: &ZoneName) -> Result<Option<ZoneState>, StoreError> {
        Ok(self.zones.borrow().get(name.as_str()).map(|z| z.state))
    }

    fn names(&self) -> Result<Vec<ZoneName>, StoreError> {
        Ok(self.zones.borrow().values().map(|z| z.spec.name.clone()).collect())
    }

    fn by_uuid(&self, uuid: &str) -> Result<Option<ZoneName>, StoreError> {
        let zones = self.zones.borrow();
        let found = zones.values().find(|z| z.spec.props.text("uuid") == Some(uuid));
        Ok(found.map(|z| z.spec.name.clone()))
    }

    fn writable(&self, _: &ZoneName) -> bool {
        !self.read_only
    }

    fn revisions(&self, name: &ZoneName) -> Result<Vec<Revision>, StoreError> {
        let zones = self.zones.borrow();
        let count = zones.get(name.as_str()).map_or(0, |z| z.former.len());
        Ok((1..=u32::try_from(count).unwrap_or(u32::MAX))
            .map(|number| Revision { number, time: u64::from(number), user: "root".into() })
            .collect())
    }

    fn revision(&self, name: &ZoneName, number: u32) -> Result<ZoneSpec, StoreError> {
        let zones = self.zones.borrow();
        let former = zones.get(name.as_str()).map_or(&[][..], |z| &z.former);
        let index = (number as usize).checked_sub(1).ok_or(StoreError::NoRevision(number))?;
        former.get(index).cloned().ok_or(StoreError::NoRevision(number))
    }
}
