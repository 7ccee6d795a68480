//! The store of specs and states: `/etc/zones.d` and `/var/lib/zones`, below the root.
//!
//! Every file is replaced atomically, and every change happens under the lock of the zone (see [`Locked`])
//! and, inside it, one lock for the whole store (`/var/lib/zones/.lock`), which is held for a few system
//! calls only. Readers take no lock.
//!
//! | operation | order | a crash in between leaves |
//! |---|---|---|
//! | save | former spec kept as a revision, new one renamed over it | the former spec, perhaps kept twice |
//! | rename | note, new spec, folder of states moved, old spec removed, note removed | a note; the next change finishes it |
//! | delete | folder of states set aside, spec removed, folder removed | a configured zone, or a folder that the next delete removes |

mod catalog;
mod locked;
pub mod manifest;
mod revisions;
mod state;
mod templates;

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::apply::etc::hostname;
use crate::apply::paths::Root;
use crate::apply::{files, running};
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::{Commit, ContentToken, Revision, StoreError, Stored, ZoneStore};
use crate::spec::{ZoneName, ZoneSpec, schema, toml};

pub use super::lock::OpLock;
pub use catalog::{CatalogEntry, Problem};
pub use locked::Locked;
pub use state::first_choice;

/// Name of the state file in a zone's folder.
const STATE: &str = "state";

/// Prefix of a folder of states that a delete has set aside.
const GONE: &str = ".gone.";

pub use crate::plan::install::DETACHED;

/// The note of an unfinished rename.
const RENAME: &str = ".rename";

/// The keeper of specs, templates and states on disk.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: Root,
}

impl FileStore {
    /// Returns the store below a root. Touches nothing.
    pub fn open(root: Root) -> Self {
        Self { root }
    }

    /// Returns the root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Takes the lock of the store and finishes an operation that a crash interrupted.
    fn hold(&self) -> Result<OpLock, StoreError> {
        let lock = OpLock::wait(&self.root.lib_dir().join(".lock"))?;
        self.finish_rename()?;
        Ok(lock)
    }

    /// Finishes a rename that was killed, so that no program sees the zone under both names. A user without the
    /// right to do so sees the files as they are.
    fn settle(&self) {
        if self.root.lib_dir().join(RENAME).symlink_metadata().is_ok() {
            let _ = self.hold();
        }
    }

    /// Reads text and spec of a zone; none when there is no such zone.
    fn read_spec(&self, name: &ZoneName) -> Result<Option<(String, ZoneSpec)>, StoreError> {
        self.read_spec_file(&self.root.spec_file(name), name)
    }

    fn read_spec_file(
        &self,
        path: &std::path::Path,
        name: &ZoneName,
    ) -> Result<Option<(String, ZoneSpec)>, StoreError> {
        let Some(bytes) = files::read_trusted(path, toml::SIZE_MAX)? else { return Ok(None) };
        let invalid = |e: toml::TextError| StoreError::Invalid(format!("{}:{e}", path.shown()));
        let spec = toml::parse(name, &bytes).map_err(invalid)?;
        // The reader has just seen that it is UTF-8.
        Ok(Some((String::from_utf8(bytes).unwrap_or_default(), spec)))
    }

    /// Returns the names of the zones that have a spec, sorted.
    fn names_on_disk(&self) -> Result<Vec<ZoneName>, StoreError> {
        self.settle();
        let zone = |file: &str| ZoneName::new(file.strip_suffix(".toml")?).ok();
        let mut names = list(&self.root.spec_dir(), zone)?;
        names.retain(|n| !n.is_global() && !n.is_reserved());
        Ok(names)
    }

    /// Returns the names of the zones that have a folder of states, sorted.
    fn lib_names(&self) -> Result<Vec<ZoneName>, StoreError> {
        list(&self.root.lib_dir(), |file| ZoneName::new(file).ok())
    }

    /// Says whether there is a zone of a name: a configured one, or one that runs without a spec.
    ///
    /// # Errors
    /// The folder of specs cannot be read.
    pub fn exists(&self, name: &ZoneName) -> Result<bool, StoreError> {
        if name.is_global() {
            return Ok(true);
        }
        let file = self.root.spec_file(name);
        match file.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(running::find(&self.root, name).is_some()),
            Err(e) => Err(files::failed("read", &file)(e)),
        }
    }

    /// Returns the state of a zone that has a spec.
    fn present_state(&self, name: &ZoneName) -> Result<ZoneState, StoreError> {
        match running::find(&self.root, name) {
            Some(running) => Ok(running.state),
            None => self.installed_state(name),
        }
    }

    /// Saves another zonepath of a zone, whatever its state; says whether there was anything to change.
    /// Everything else of the spec stays as it is written.
    ///
    /// # Errors
    /// The spec cannot be read or written.
    pub fn set_zonepath(&self, name: &ZoneName, path: &str) -> Result<bool, StoreError> {
        let _lock = self.hold()?;
        let (old, mut spec) = self.read_spec(name)?.ok_or(StoreError::NoZone)?;
        let Some(def) = schema::global("zonepath") else { return Ok(false) };
        spec.props.set(def, crate::spec::Value::simple(path));
        let invalid =
            |e: toml::TextError| StoreError::Invalid(format!("{}:{e}", self.root.spec_file(name).shown()));
        let text = toml::update(&old, &spec).map_err(invalid)?;
        if text == old {
            return Ok(false);
        }
        self.keep_revision(name, old.as_bytes())?;
        self.write_spec(name, &text)?;
        self.note_author(name, &text);
        Ok(true)
    }

    /// Saves a spec in place of a text that cannot be understood, which is kept as a revision. The caller holds the
    /// locks.
    fn mend(&self, spec: &ZoneSpec) -> Result<ContentToken, StoreError> {
        let name = &spec.name;
        let installed = self.installed_state(name)? == ZoneState::Installed;
        if let Some(zonepath) = spec.zonepath().filter(|_| installed) {
            let root = std::path::Path::new(&zonepath).join("root");
            if !self.root.host_path(&root).is_dir() {
                return Err(StoreError::Invalid(format!(
                    "zone {name} is installed, and its root is not at {}; set zonepath to the directory that has it",
                    root.shown()
                )));
            }
        }
        if let Some(damaged) = files::read_trusted(&self.root.spec_file(name), toml::SIZE_MAX)? {
            self.keep_revision(name, &damaged)?;
        }
        let text = toml::render(spec);
        let token = self.write_spec(name, &text)?;
        self.note_author(name, &text);
        Ok(token)
    }

    fn refuse_active(&self, name: &ZoneName) -> Result<(), StoreError> {
        match running::find(&self.root, name) {
            Some(running) => Err(StoreError::BadState(running.state)),
            None => running::strays(&self.root, name).map_or(Ok(()), |s| Err(StoreError::Io(s.to_string()))),
        }
    }

    /// Refuses to forget a zone whose tree is there: no command would find that again.
    fn refuse_unowned(&self, name: &ZoneName) -> Result<(), StoreError> {
        // An unreadable state file or spec names no tree.
        let state = self.installed_state(name).unwrap_or(ZoneState::Configured);
        let spec = self.read_spec(name).ok().flatten().map(|(_, spec)| spec);
        let Some(path) = spec.and_then(|s| s.zonepath()).filter(|_| state != ZoneState::Configured) else {
            return Ok(());
        };
        let tree = self.root.host_path(std::path::Path::new(&path)).join("root");
        if tree.symlink_metadata().is_err() {
            return Ok(());
        }
        Err(StoreError::Io(format!(
            "the zone is {state}, and its tree {} would belong to no zone: remove both with 'zoneadm -z {name} \
             uninstall -F', or keep the tree with 'zoneadm -z {name} mark -F configured'; then delete",
            tree.shown()
        )))
    }

    fn write_spec(&self, name: &ZoneName, text: &str) -> Result<ContentToken, StoreError> {
        if text.len() > toml::SIZE_MAX {
            return Err(StoreError::Io(format!(
                "the spec of {name} would be larger than 16 MiB and is not saved"
            )));
        }
        files::replace(&self.root.spec_file(name), text.as_bytes())?;
        Ok(ContentToken(text.to_owned()))
    }

    /// Moves everything of a zone to a new name. The spec is saved under it in the same step.
    fn rename_zone(&self, from: &ZoneName, to: &ZoneName, text: &str) -> Result<ContentToken, StoreError> {
        self.refuse_active(from)?;
        if self.root.spec_file(to).symlink_metadata().is_ok() || running::find(&self.root, to).is_some() {
            return Err(StoreError::NameInUse);
        }
        if self.installed_state(to)? != ZoneState::Configured {
            // A zone whose spec was lost: its root may still be there.
            return Err(StoreError::NameInUse);
        }
        files::remove_tree(&self.root.zone_lib(to))?;
        let note = self.root.lib_dir().join(RENAME);
        files::replace(&note, format!("{from} {to}\n").as_bytes())?;
        let token = self.write_spec(to, text).inspect_err(|_| {
            let _ = files::remove(&note);
        })?;
        self.finish_rename()?;
        Ok(token)
    }

    /// Finishes a rename of which the note is there: forward when the new spec was saved.
    fn finish_rename(&self) -> Result<(), StoreError> {
        let note = self.root.lib_dir().join(RENAME);
        let Some(bytes) = files::read(&note, 256)? else { return Ok(()) };
        let text = String::from_utf8_lossy(&bytes);
        let mut names = text.split_whitespace().map(ZoneName::new);
        if let (Some(Ok(from)), Some(Ok(to))) = (names.next(), names.next())
            && self.root.spec_file(&to).symlink_metadata().is_ok()
        {
            if !self.root.zone_lib(&to).exists() {
                files::rename(&self.root.zone_lib(&from), &self.root.zone_lib(&to))?;
                files::sync_dir(&self.root.lib_dir())?;
            }
            files::remove(&self.root.spec_file(&from))?;
            files::sync_dir(&self.root.spec_dir())?;
            self.forget_lock(&from);
            self.rename_root(&from, &to);
        }
        files::remove(&note)
    }

    /// Gives the root of a renamed zone its new name. A root that makes it impossible keeps the former one.
    fn rename_root(&self, from: &ZoneName, to: &ZoneName) {
        let spec = self.read_spec(to).ok().flatten().map(|(_, spec)| spec);
        if let Some(path) = spec.and_then(|spec| spec.zonepath()) {
            let root = self.root.host_path(std::path::Path::new(&path)).join("root");
            let _ = hostname::follow(&root, from, to);
        }
    }

    /// Holds an installed zone where it is: a token in its zonepath must not carry it elsewhere with
    /// the new name.
    fn pinned(&self, spec: &ZoneSpec, saved: &ZoneSpec) -> Result<Option<ZoneSpec>, StoreError> {
        let (Some(path), Some(def)) = (saved.zonepath(), schema::global("zonepath")) else { return Ok(None) };
        let by_token = spec.props.text("zonepath").is_some_and(|p| p.contains("%{"));
        if !by_token || spec.zonepath().as_ref() == Some(&path) {
            return Ok(None);
        }
        if self.installed_state(&saved.name)? == ZoneState::Configured {
            return Ok(None);
        }
        let mut spec = spec.clone();
        spec.props.set(def, crate::spec::Value::Simple(path));
        Ok(Some(spec))
    }

    /// Deletes a zone that is locked.
    fn delete_locked(&self, name: &ZoneName, force: bool) -> Result<(), StoreError> {
        let _lock = self.hold()?;
        self.refuse_active(name)?;
        let file = self.root.spec_file(name);
        let lib = self.root.zone_lib(name);
        let known = file.symlink_metadata().is_ok();
        if force && known {
            self.refuse_unowned(name)?;
        }
        if !force {
            if self.read_spec(name)?.is_none() {
                return Err(StoreError::NoZone);
            }
            let state = self.installed_state(name)?;
            if state != ZoneState::Configured {
                return Err(StoreError::BadState(state));
            }
        } else if !known && lib.symlink_metadata().is_err() {
            return Err(StoreError::NoZone);
        }
        let aside = self.root.lib_dir().join(format!("{GONE}{name}.{}", std::process::id()));
        if files::rename(&lib, &aside)? {
            files::sync_dir(&self.root.lib_dir())?;
        }
        if known {
            files::remove(&file)?;
            files::sync_dir(&self.root.spec_dir())?;
        }
        self.sweep();
        Ok(())
    }

    /// Removes folders that a broken-off delete has set aside.
    fn sweep(&self) {
        for path in
            list(&self.root.lib_dir(), |f| f.starts_with(GONE).then(|| f.to_owned())).unwrap_or_default()
        {
            let _ = files::remove_tree(&self.root.lib_dir().join(path));
        }
    }
}

/// Returns what `pick` makes of the names in a folder, sorted; nothing when it does not exist.
fn list<T: Ord>(dir: &std::path::Path, pick: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(files::failed("read", dir)(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(files::failed("read", dir))?;
        found.extend(entry.file_name().to_str().and_then(&pick));
    }
    found.sort_unstable();
    Ok(found)
}

impl ZoneStore for FileStore {
    fn load(&self, name: &ZoneName) -> Result<Option<Stored>, StoreError> {
        self.settle();
        Ok(self.read_spec(name)?.map(|(text, spec)| Stored { spec, token: ContentToken(text) }))
    }

    fn is_saved(&self, name: &ZoneName, token: &ContentToken) -> bool {
        let bytes = files::read(&self.root.spec_file(name), toml::SIZE_MAX);
        bytes.is_ok_and(|b| b.is_some_and(|b| b == token.0.as_bytes()))
    }

    fn commit(&self, commit: &Commit<'_>) -> Result<ContentToken, StoreError> {
        let to = &commit.spec.name;
        let from = commit.renamed_from.unwrap_or(to);
        let mut locks = self.lock_to_change(&mut [from, to], "zonecfg commit")?;
        let _lock = self.hold()?;
        let saved = match self.read_spec(from) {
            Err(StoreError::Invalid(_)) if commit.mends && from == to => return self.mend(commit.spec),
            saved => saved?,
        };
        match (&saved, commit.base) {
            (Some((text, _)), Some(base)) if base.0 == *text => {}
            (None, None) => {}
            (Some(_), _) if commit.overwrite => {}
            (Some((text, spec)), _) => {
                let stored = Stored { spec: spec.clone(), token: ContentToken(text.clone()) };
                return Err(StoreError::Conflict(Box::new(stored)));
            }
            // Deleted meanwhile. Saving it again must be meant.
            (None, Some(_)) if commit.overwrite => {}
            (None, Some(_)) => return Err(StoreError::NoZone),
        }
        let Some((old_text, old_spec)) = &saved else {
            return self.write_spec(to, &toml::render(commit.spec));
        };
        let pinned = self.pinned(commit.spec, old_spec)?;
        let spec = pinned.as_ref().unwrap_or(commit.spec);
        let invalid =
            |e: toml::TextError| StoreError::Invalid(format!("{}:{e}", self.root.spec_file(from).shown()));
        let text = toml::update(old_text, spec).map_err(invalid)?;
        if from != to {
            self.keep_revision(from, old_text.as_bytes())?;
            let token = self.rename_zone(from, to, &text)?;
            self.note_author(to, &text);
            locks.drain(..).filter(|lock| lock.name() == from).for_each(Locked::forget);
            return Ok(token);
        }
        if text == *old_text {
            return Ok(ContentToken(text));
        }
        self.keep_revision(to, old_text.as_bytes())?;
        let token = self.write_spec(to, &text)?;
        self.note_author(to, &text);
        Ok(token)
    }

    fn delete(&self, name: &ZoneName, force: bool) -> Result<(), StoreError> {
        let locks = self.lock_to_change(&mut [name], "zonecfg delete")?;
        let done = self.delete_locked(name, force);
        if self.root.spec_file(name).symlink_metadata().is_err() && self.refuse_active(name).is_ok() {
            locks.into_iter().for_each(Locked::forget);
        }
        done
    }

    fn detached(&self, zonepath: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        let zonepath = std::path::Path::new(zonepath);
        let path = self.root.host_path(zonepath);
        // Without a root in it a folder is no detached zone, whatever else lies there.
        if !zonepath.is_absolute() || !path.join("root").is_dir() {
            return Ok(None);
        }
        Ok(self.manifest(&path.join(DETACHED), zone)?.map(|found| found.spec))
    }

    fn templates(&self) -> Result<Vec<String>, StoreError> {
        self.template_names()
    }

    fn template(&self, name: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        self.find_template(name, zone)
    }

    fn state(&self, name: &ZoneName) -> Result<Option<ZoneState>, StoreError> {
        if name.is_global() {
            return Ok(Some(ZoneState::Running));
        }
        match self.root.spec_file(name).symlink_metadata() {
            Ok(_) => self.present_state(name).map(Some),
            // The spec of a running zone was removed: the zone is there all the same.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(running::find(&self.root, name).map(|running| running.state))
            }
            Err(e) => Err(files::failed("read", &self.root.spec_file(name))(e)),
        }
    }

    fn names(&self) -> Result<Vec<ZoneName>, StoreError> {
        self.names_on_disk()
    }

    fn by_uuid(&self, uuid: &str) -> Result<Option<ZoneName>, StoreError> {
        let is = |e: &CatalogEntry| e.uuid.eq_ignore_ascii_case(uuid);
        Ok(self.catalog()?.into_iter().find(is).map(|e| e.name))
    }

    fn writable(&self, _name: &ZoneName) -> bool {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        // The folder decides, as the file is replaced, not written; before the first zone there is none, and its
        // parent decides.
        let dir: PathBuf = self.root.spec_dir();
        let near = dir.ancestors().find(|d| d.exists());
        near.is_some_and(|d| accessat(CWD, d, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok())
    }

    fn revisions(&self, name: &ZoneName) -> Result<Vec<Revision>, StoreError> {
        self.list_revisions(name)
    }

    fn revision(&self, name: &ZoneName, number: u32) -> Result<ZoneSpec, StoreError> {
        self.read_revision(name, number)
    }
}
