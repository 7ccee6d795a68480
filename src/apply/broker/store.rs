//! The store of a user who has the authorization `config`: reads as that user, saves through the broker.

use std::ffi::OsString;
use std::io::Read;

use nix::unistd::User;

use super::client::{Answered, exchange};
use super::{BrokeredProgram, is_listening};
use crate::apply::caller::{Caller, own_name};
use crate::apply::store::FileStore;
use crate::spec::rights::{self, Auth};
use crate::spec::state::ZoneState;
use crate::spec::store::{Commit, ContentToken, Revision, StoreError, Stored, ZoneStore};
use crate::spec::verify::{HostKnows, Severity, verify};
use crate::spec::{ZoneName, ZoneSpec, toml};

/// Exit status that means that another user has saved the spec meanwhile.
pub const CONFLICT: u8 = 3;

/// Longest input: two specs.
const INPUT_MAX: u64 = 2 * toml::SIZE_MAX as u64 + 1;

/// A store of which one zone may be saved through the broker.
pub struct BrokeredStore {
    inner: FileStore,
    user: String,
}

impl BrokeredStore {
    /// Returns the store of an ordinary user; none where there is no broker.
    pub fn open(inner: &FileStore) -> Option<Self> {
        is_listening(inner.root()).then(|| Self { inner: inner.clone(), user: own_name() })
    }

    /// Returns the authorization that the user lacks to change a zone; none when it lacks none, or there is no such
    /// zone.
    pub fn lacks(&self, zone: &ZoneName) -> Option<String> {
        let stored = self.inner.load(zone).ok()??;
        (!rights::has(&stored.spec, &self.user, Auth::Config)).then(|| not_authorized(&self.user, zone))
    }
}

fn not_authorized(user: &str, zone: &ZoneName) -> String {
    format!("User {user} is not authorized to config this zone ({}).", Auth::Config.on(zone))
}

impl ZoneStore for BrokeredStore {
    fn load(&self, name: &ZoneName) -> Result<Option<Stored>, StoreError> {
        self.inner.load(name)
    }

    fn is_saved(&self, name: &ZoneName, token: &ContentToken) -> bool {
        self.inner.is_saved(name, token)
    }

    fn commit(&self, commit: &Commit<'_>) -> Result<ContentToken, StoreError> {
        let zone = &commit.spec.name;
        // A new or renamed zone has no `admin` resource yet, so no user has a right to it.
        let (Some(base), None) = (commit.base, commit.renamed_from) else { return Err(StoreError::Denied) };
        let text = [base.0.as_bytes(), &[0], toml::render(commit.spec).as_bytes()].concat();
        let args = vec![OsString::from("-z"), zone.as_str().into()];
        let answered = exchange(self.inner.root(), BrokeredProgram::Zonecfg, args, &text);
        let Answered { status, out, errors } = answered.ok_or(StoreError::Denied)?.map_err(StoreError::Io)?;
        match (status, self.inner.load(zone)?) {
            (0, Some(saved)) => Ok(saved.token),
            (CONFLICT, Some(saved)) => Err(StoreError::Conflict(Box::new(saved))),
            (0 | CONFLICT, None) => Err(StoreError::NoZone),
            _ if errors.trim().is_empty() => Err(StoreError::Io(format!("the broker has failed: {out}"))),
            _ => Err(StoreError::Io(errors.trim().to_owned())),
        }
    }

    fn delete(&self, name: &ZoneName, force: bool) -> Result<(), StoreError> {
        self.inner.delete(name, force)
    }

    fn template(&self, name: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        self.inner.template(name, zone)
    }

    fn templates(&self) -> Result<Vec<String>, StoreError> {
        self.inner.templates()
    }

    fn state(&self, name: &ZoneName) -> Result<Option<ZoneState>, StoreError> {
        self.inner.state(name)
    }

    fn names(&self) -> Result<Vec<ZoneName>, StoreError> {
        self.inner.names()
    }

    fn by_uuid(&self, uuid: &str) -> Result<Option<ZoneName>, StoreError> {
        self.inner.by_uuid(uuid)
    }

    fn writable(&self, name: &ZoneName) -> bool {
        let stored = self.inner.load(name).ok().flatten();
        stored.is_some_and(|s| rights::has(&s.spec, &self.user, Auth::Config)) || self.inner.writable(name)
    }

    fn revisions(&self, name: &ZoneName) -> Result<Vec<Revision>, StoreError> {
        self.inner.revisions(name)
    }

    fn detached(&self, zonepath: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        self.inner.detached(zonepath, zone)
    }

    fn revision(&self, name: &ZoneName, number: u32) -> Result<ZoneSpec, StoreError> {
        self.inner.revision(name, number)
    }
}

/// Saves, with the rights of root, the input of a user: the text that the edit began with, a zero byte, and the new
/// spec. Returns the exit status and the messages.
pub fn take_commit(store: &FileStore, zone: &ZoneName, caller: &Caller, input: impl Read) -> (u8, String) {
    match try_commit(store, zone, caller, input) {
        Ok(()) => (0, String::new()),
        Err((status, text)) => {
            caller.refused(store.root(), &format!("zone '{zone}': config"), &text);
            (status, text)
        }
    }
}

fn try_commit(
    store: &FileStore,
    zone: &ZoneName,
    caller: &Caller,
    input: impl Read,
) -> Result<(), (u8, String)> {
    let failed = |text: String| (1, text);
    let store_failed = |e: StoreError| match e {
        StoreError::Conflict(_) => (CONFLICT, e.to_string()),
        _ => (1, e.to_string()),
    };
    let saved = store.load(zone).map_err(store_failed)?.ok_or_else(|| store_failed(StoreError::NoZone))?;
    if !caller.has(&saved.spec, Auth::Config) {
        return Err(failed(not_authorized(caller.name(), zone)));
    }
    let mut bytes = Vec::new();
    input.take(INPUT_MAX + 1).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
    let zero = bytes.iter().position(|b| *b == 0).filter(|_| bytes.len() as u64 <= INPUT_MAX);
    let zero = zero.ok_or_else(|| failed("the configuration is too long or cut short".into()))?;
    if bytes[..zero] != *saved.token.0.as_bytes() {
        return Err((CONFLICT, "the configuration was changed by somebody else meanwhile".into()));
    }
    let mut new = toml::parse(zone, &bytes[zero + 1..]).map_err(|e| failed(e.to_string()))?;
    new.tidy();
    if let Some(what) = rights::forbidden(&saved.spec, &new) {
        let config = Auth::Config.on(zone);
        return Err(failed(format!(
            "User {} is not authorized to change {what}: it is beyond {config}, and for root only.",
            caller.name()
        )));
    }
    let is_user = |name: &str| matches!(User::from_name(name), Ok(Some(_)));
    let host = HostKnows { is_user: &is_user, runs_brand: &|brand| store.runs_brand(brand) };
    let error = verify(&new, &host).into_iter().find(|f| f.severity == Severity::Error);
    if let Some(error) = error {
        return Err(failed(error.text));
    }
    // The spec that was compared is the one that is replaced, or none is.
    let request =
        Commit { spec: &new, base: Some(&saved.token), renamed_from: None, overwrite: false, mends: false };
    store.commit(&request).map_err(store_failed)?;
    caller.allowed(store.root(), zone, "config");
    Ok(())
}
