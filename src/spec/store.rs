//! Where specs are kept, as the shell sees it. The real store is `apply::store`.

use thiserror::Error;

use super::state::ZoneState;
use super::{ZoneName, ZoneSpec, words};

/// Identifies the content of a saved spec. A commit notices by it that the spec was changed since it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentToken(pub String);

/// A spec as it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The spec.
    pub spec: ZoneSpec,
    /// The spec that was read.
    pub token: ContentToken,
}

/// A request to save.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// The spec to save. Its name is the new name of the zone.
    pub spec: &'a ZoneSpec,
    /// The token of the spec that the edit started from; none for a zone that did not exist.
    pub base: Option<&'a ContentToken>,
    /// The former name, when the zone is renamed.
    pub renamed_from: Option<&'a ZoneName>,
    /// Save even if the spec was changed since `base` was read.
    pub overwrite: bool,
    /// Replace a saved text that cannot be understood; it is kept as a revision.
    pub mends: bool,
}

/// One kept former spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Number, counting from 1.
    pub number: u32,
    /// When it was saved, seconds since the epoch.
    pub time: u64,
    /// Login name of the user who saved it.
    pub user: String,
}

/// Why the store cannot do it. The texts are those of the Solaris library where it has one.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No spec of that name.
    #[error("No such zone configured")]
    NoZone,
    /// A rename meets an existing zone.
    #[error("Zone name already in use")]
    NameInUse,
    /// The state of the zone forbids it.
    #[error("Zone state is invalid for the requested operation")]
    BadState(ZoneState),
    /// An operation on the zone is in progress; holds which, by which process, and for how long.
    #[error("an operation is in progress: {0}; try again when it has ended")]
    Busy(String),
    /// The caller may not.
    #[error("Permission denied")]
    Denied,
    /// The spec was saved by another user since it was read; holds the spec that is saved now.
    #[error("the configuration was changed by somebody else meanwhile")]
    Conflict(Box<Stored>),
    /// The file cannot be understood; the text has file, line and column.
    #[error("{0}")]
    Invalid(String),
    /// No such revision.
    #[error("no revision {0}")]
    NoRevision(u32),
    /// The system refused; the text has path and action.
    #[error("{0}")]
    Io(String),
    /// A file system is full or a quota used up; the text has path and action.
    #[error("{0}")]
    Full(String),
}

/// A keeper of specs, templates and states.
pub trait ZoneStore {
    /// Reads a spec; none when there is no such zone.
    fn load(&self, name: &ZoneName) -> Result<Option<Stored>, StoreError>;
    /// Says whether the saved spec is still the one that the token stands for.
    fn is_saved(&self, name: &ZoneName, token: &ContentToken) -> bool;
    /// Saves a spec atomically and returns the saved spec. Keeps the former one as a revision.
    fn commit(&self, commit: &Commit<'_>) -> Result<ContentToken, StoreError>;
    /// Deletes a spec. With `force` also one whose zone is incomplete or installed, or whose file is broken.
    fn delete(&self, name: &ZoneName, force: bool) -> Result<(), StoreError>;
    /// Reads a template or example by its own name (no mapping of foreign names here).
    fn template(&self, name: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError>;
    /// Returns the names of the templates, sorted.
    fn templates(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    /// Returns the state; none when there is no such zone.
    fn state(&self, name: &ZoneName) -> Result<Option<ZoneState>, StoreError>;
    /// Returns the names of all configured zones, sorted.
    fn names(&self) -> Result<Vec<ZoneName>, StoreError>;
    /// Finds a zone by its uuid.
    fn by_uuid(&self, uuid: &str) -> Result<Option<ZoneName>, StoreError>;
    /// Says whether this host runs zones of a brand: its own, or one that the configuration of the global zone names
    /// as another word for it.
    fn runs_brand(&self, brand: &str) -> bool {
        let is_alias = |aliases: &str| aliases.split(',').any(|alias| alias == brand);
        let host = || self.load(&ZoneName::global()).ok().flatten();
        words::BRANDS.contains(&brand)
            || host().is_some_and(|host| host.spec.props.text("brand-aliases").is_some_and(is_alias))
    }
    /// Says whether the caller may save this zone.
    fn writable(&self, name: &ZoneName) -> bool;
    /// Returns the kept former specs, oldest first.
    fn revisions(&self, name: &ZoneName) -> Result<Vec<Revision>, StoreError>;
    /// Reads what `zoneadm detach` left in a zonepath; none when there is nothing.
    fn detached(&self, zonepath: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        let _ = (zonepath, zone);
        Ok(None)
    }
    /// Reads a former spec.
    fn revision(&self, name: &ZoneName, number: u32) -> Result<ZoneSpec, StoreError>;
}
