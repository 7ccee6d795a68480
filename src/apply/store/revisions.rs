//! Former specs: `/var/lib/zones/NAME/revisions/NUMBER-TIME-USER.toml`, each a whole text.
//!
//! Time and user are those of the save that made the text, not of the one that replaced it. A text
//! that was edited by hand has the owner of the file as its author.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{Uid, User, geteuid};

use super::{FileStore, files, list};
use crate::spec::store::{Revision, StoreError};
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::made;

/// Number of former specs that are kept; the oldest make room.
const KEPT: usize = 100;

/// The user who saved the present text last, and a digest by which an edit by hand since is noticed.
const AUTHOR: &str = "author";

struct StoredRevision {
    revision: Revision,
    file: String,
}

impl FileStore {
    fn revision_dir(&self, zone: &ZoneName) -> PathBuf {
        self.root.zone_lib(zone).join("revisions")
    }

    fn stored_revisions(&self, zone: &ZoneName) -> Result<Vec<StoredRevision>, StoreError> {
        let mut found = list(&self.revision_dir(zone), |file| {
            let mut parts = file.strip_suffix(".toml")?.splitn(3, '-');
            let number: u32 = parts.next()?.parse().ok()?;
            let time: u64 = parts.next()?.parse().ok()?;
            Some((number, time, parts.next()?.to_owned(), file.to_owned()))
        })?;
        found.dedup_by_key(|f| f.0);
        let kept =
            |(number, time, user, file)| StoredRevision { revision: Revision { number, time, user }, file };
        Ok(found.into_iter().map(kept).collect())
    }

    /// Keeps a text that is about to be replaced.
    pub(super) fn keep_revision(&self, zone: &ZoneName, text: &[u8]) -> Result<(), StoreError> {
        let dir = self.revision_dir(zone);
        let kept = self.stored_revisions(zone)?;
        if let Some(last) = kept.last()
            && files::read(&dir.join(&last.file), text.len())?.as_deref() == Some(text)
        {
            // A crash came between keeping and replacing it.
            return Ok(());
        }
        let number = kept.last().map_or(1, |k| k.revision.number + 1);
        let path = self.root.spec_file(zone);
        let meta = path.symlink_metadata().map_err(files::failed("read", &path))?;
        let user = self.author(zone, text).unwrap_or_else(|| login(Uid::from_raw(meta.uid())));
        let time = meta.mtime().max(0);
        files::replace(&dir.join(format!("{number:06}-{time}-{user}.toml")), text)?;
        for old in kept.iter().rev().skip(KEPT - 1) {
            files::remove(&dir.join(&old.file))?;
        }
        Ok(())
    }

    /// Notes the user who has just saved a text. Only the output of `log` depends on it, so a failure does not fail
    /// the save.
    pub(super) fn note_author(&self, zone: &ZoneName, text: &str) {
        let line = format!("{:016x} {}\n", digest(text.as_bytes()), caller());
        let _ = std::fs::write(self.revision_dir(zone).join(AUTHOR), line);
    }

    fn author(&self, zone: &ZoneName, text: &[u8]) -> Option<String> {
        let bytes = files::read(&self.revision_dir(zone).join(AUTHOR), 1024).ok()??;
        let line = String::from_utf8(bytes).ok()?;
        let (hash, user) = line.trim_end().split_once(' ')?;
        (u64::from_str_radix(hash, 16).ok()? == digest(text)).then(|| file_name(user))
    }

    pub(super) fn list_revisions(&self, zone: &ZoneName) -> Result<Vec<Revision>, StoreError> {
        Ok(self.stored_revisions(zone)?.into_iter().map(|k| k.revision).collect())
    }

    pub(super) fn read_revision(&self, zone: &ZoneName, number: u32) -> Result<ZoneSpec, StoreError> {
        let kept = self.stored_revisions(zone)?;
        let found =
            kept.iter().find(|k| k.revision.number == number).ok_or(StoreError::NoRevision(number))?;
        let path = self.revision_dir(zone).join(&found.file);
        let (_, spec) = self.read_spec_file(&path, zone)?.ok_or(StoreError::NoRevision(number))?;
        Ok(spec)
    }
}

/// Returns the login name of the user of this process, also behind `sudo` and `su`.
fn caller() -> String {
    if let Some(caller) = crate::apply::caller::Caller::from_env() {
        return file_name(caller.name());
    }
    // Set once at login and kept by every change of user since (pam_loginuid).
    let login_uid = made::read("/proc/self/loginuid").ok().and_then(|t| t.trim().parse().ok());
    let uid = login_uid.filter(|u| *u != u32::MAX).map_or_else(geteuid, Uid::from_raw);
    login(uid)
}

fn login(uid: Uid) -> String {
    let name = User::from_uid(uid).ok().flatten().map(|u| u.name);
    file_name(&name.unwrap_or_else(|| uid.to_string()))
}

/// Makes a login name fit for a file name.
fn file_name(user: &str) -> String {
    let clean: String =
        user.chars().take(64).map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    if clean.is_empty() { "_".to_owned() } else { clean }
}

fn digest(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
