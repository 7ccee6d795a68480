//! `fs` resources of type `zfs`: what was observed of a dataset, and whether a zone can have it.

use crate::spec::shown::Show;
use std::fmt;

use thiserror::Error;

use super::dataset::{Claim, delegated_elsewhere};
use super::options::MountOptions;

/// What a dataset is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dataset {
    /// ZFS cannot be asked, or answers with an error; why.
    Unknown(String),
    /// There is none of that name.
    Missing,
    /// A volume, a snapshot, or something newer.
    NotFilesystem,
    /// A filesystem.
    Filesystem(Filesystem),
}

/// What matters of a filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Its `mountpoint` is `legacy`.
    pub legacy: bool,
    /// It is encrypted and its key is not loaded.
    pub locked: bool,
    /// What its properties (`readonly`, `setuid`, `devices`, `exec`, `atime`) say of a mount. The
    /// kernel leaves most of them to whoever mounts.
    pub limits: MountOptions,
    /// Where it is mounted already, the zone itself aside.
    pub mounted: Option<Holder>,
}

/// Where a dataset is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The mount point as its holder sees it.
    pub point: String,
    /// Who has it.
    pub who: Who,
}

/// Who has a dataset mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The host: whoever shares our own mount namespace.
    Host,
    /// Another resource of the same zone.
    Same,
    /// A zone.
    Zone(String),
    /// A process in another mount namespace.
    Process {
        /// Its number.
        pid: i32,
        /// Its name.
        program: String,
        /// The number of the namespace.
        namespace: u64,
    },
    /// A mount namespace that a descriptor or file keeps alive and no process is in.
    Nobody,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = self.point.shown();
        match &self.who {
            Who::Host => write!(f, "on {point}"),
            Who::Same => write!(f, "on {point} of this zone"),
            Who::Zone(zone) => write!(f, "on {point} of zone '{zone}'"),
            Who::Process { pid, program, namespace } => {
                write!(f, "on {point} by process {pid} ({}) in mount namespace {namespace}", program.shown())
            }
            Who::Nobody => write!(f, "in a mount namespace that no process is in"),
        }
    }
}

/// Why a zone cannot have a dataset as a file system.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be asked about.
    #[error("could not verify fs {dir}: could not access zfs dataset '{special}'{}", because(.why))]
    NoAccess {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
        /// The reason; none when there simply is no such dataset.
        why: Option<String>,
    },
    /// A volume or a snapshot.
    #[error("cannot verify fs {dir}: '{special}' is not a file system")]
    NotFilesystem {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
    },
    /// ZFS would mount it by itself.
    #[error("could not verify fs {dir}: zfs '{special}' mountpoint is not \"legacy\"")]
    NotLegacy {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
    },
    /// Nothing can be read without the key.
    #[error("could not verify fs {dir}: the key of zfs '{special}' is not loaded; use zfs load-key")]
    Locked {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
    },
    /// Another zone administers it.
    #[error("could not verify fs {dir}: zfs '{special}' overlaps with {claim}")]
    Delegated {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
        /// Whose it is.
        claim: Claim,
    },
    /// Somebody has it.
    #[error("could not verify fs {dir}: zfs '{special}' is already mounted {holder}")]
    Mounted {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
        /// Who and where.
        holder: Holder,
    },
}

fn because(why: &Option<String>) -> String {
    why.as_ref().map_or(String::new(), |why| format!(": {why}"))
}

/// Says whether a dataset can be mounted on `dir` of a zone, and with which limits.
///
/// # Errors
/// [`Refusal`].
pub fn check<'a>(dir: &str, special: &str, found: &'a Dataset) -> Result<&'a MountOptions, Refusal> {
    let (dir, special) = (dir.to_owned(), special.to_owned());
    match found {
        Dataset::Unknown(why) => Err(Refusal::NoAccess { dir, special, why: Some(why.clone()) }),
        Dataset::Missing => Err(Refusal::NoAccess { dir, special, why: None }),
        Dataset::NotFilesystem => Err(Refusal::NotFilesystem { dir, special }),
        Dataset::Filesystem(f) if !f.legacy => Err(Refusal::NotLegacy { dir, special }),
        Dataset::Filesystem(f) if f.locked => Err(Refusal::Locked { dir, special }),
        Dataset::Filesystem(f) => match &f.mounted {
            Some(holder) => Err(Refusal::Mounted { dir, special, holder: holder.clone() }),
            None => Ok(&f.limits),
        },
    }
}

/// Finds the first of these pairs of mount point and dataset whose dataset another zone administers.
///
/// # Errors
/// [`Refusal::Delegated`].
pub fn nobody_elses<'a>(
    zone: &str,
    list: impl IntoIterator<Item = (&'a str, &'a str)>,
    claims: &[Claim],
) -> Result<(), Refusal> {
    for (dir, special) in list {
        if let Some(claim) = delegated_elsewhere(zone, special, claims) {
            let claim = claim.clone();
            return Err(Refusal::Delegated { dir: dir.to_owned(), special: special.to_owned(), claim });
        }
    }
    Ok(())
}

/// Finds the first of these pairs of mount point and dataset whose dataset an earlier one has.
///
/// # Errors
/// [`Refusal::Mounted`].
pub fn once<'a>(list: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), Refusal> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (dir, special) in list {
        if let Some((first, _)) = seen.iter().find(|(_, s)| *s == special) {
            let holder = Holder { point: (*first).to_owned(), who: Who::Same };
            return Err(Refusal::Mounted { dir: dir.to_owned(), special: special.to_owned(), holder });
        }
        seen.push((dir, special));
    }
    Ok(())
}

/// Returns what both the resource and the dataset allow.
pub fn limited(mut options: MountOptions, limits: &MountOptions) -> MountOptions {
    options.read_only |= limits.read_only;
    options.no_suid |= limits.no_suid;
    options.no_exec |= limits.no_exec;
    options.no_atime |= limits.no_atime;
    options.devices &= limits.devices;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(found: &Dataset) -> String {
        check("/d", "tank/zion", found).expect_err("must be refused").to_string()
    }

    fn mounted(who: Who) -> String {
        let holder = Holder { point: "/mnt".into(), who };
        let f = Filesystem { legacy: true, mounted: Some(holder), ..Filesystem::default() };
        refused(&Dataset::Filesystem(f)).rsplit_once("already mounted ").expect("the holder").1.to_owned()
    }

    #[test]
    fn the_texts_of_solaris() {
        assert_eq!(
            refused(&Dataset::Missing),
            "could not verify fs /d: could not access zfs dataset 'tank/zion'"
        );
        assert_eq!(
            refused(&Dataset::Unknown("no ZFS".into())),
            "could not verify fs /d: could not access zfs dataset 'tank/zion': no ZFS"
        );
        assert_eq!(refused(&Dataset::NotFilesystem), "cannot verify fs /d: 'tank/zion' is not a file system");
        let f = Filesystem { locked: true, ..Filesystem::default() };
        assert_eq!(
            refused(&Dataset::Filesystem(f.clone())),
            "could not verify fs /d: zfs 'tank/zion' mountpoint is not \"legacy\""
        );
        assert!(refused(&Dataset::Filesystem(Filesystem { legacy: true, ..f })).contains("key"));
    }

    #[test]
    fn the_holder_is_named() {
        assert_eq!(mounted(Who::Host), "on /mnt");
        assert_eq!(mounted(Who::Zone("other".into())), "on /mnt of zone 'other'");
        let process = Who::Process { pid: 7, program: "sh".into(), namespace: 42 };
        assert_eq!(mounted(process), "on /mnt by process 7 (sh) in mount namespace 42");
        assert_eq!(mounted(Who::Nobody), "in a mount namespace that no process is in");
        let twice = once([("/a", "t/x"), ("/b", "t/y"), ("/c", "t/x")]).expect_err("twice");
        assert_eq!(
            twice.to_string(),
            "could not verify fs /c: zfs 't/x' is already mounted on /a of this zone"
        );
        assert_eq!(once([("/a", "t/x"), ("/b", "t/y")]), Ok(()));
    }

    #[test]
    fn the_stricter_one_holds() {
        let limits = MountOptions { no_exec: true, read_only: true, ..MountOptions::default() };
        let asked = MountOptions { devices: true, no_suid: true, ..MountOptions::default() };
        let both = limited(asked, &limits);
        assert!(both.no_exec && both.read_only && both.no_suid && !both.devices && !both.no_atime);
    }
}
