//! `fs` resources of type `zfs`: the facts of a dataset, and whether a zone can have it.

use crate::spec::shown::Show;
use std::fmt;

use thiserror::Error;

use super::dataset::{DatasetClaim, delegated_elsewhere};
use super::options::MountOptions;

/// The kind of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetFacts {
    /// ZFS cannot be asked, or answers with an error; why.
    Unknown(String),
    /// There is none of that name.
    Missing,
    /// A volume, a snapshot, or something newer.
    NotFilesystem,
    /// A filesystem.
    Filesystem(FilesystemFacts),
}

/// The facts of a filesystem that a mount depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemFacts {
    /// Its `mountpoint` is `legacy`.
    pub legacy: bool,
    /// It is encrypted and its key is not loaded.
    pub locked: bool,
    /// The mount options in its properties (`readonly`, `setuid`, `devices`, `exec`, `atime`). The kernel leaves
    /// most of them to the caller of mount(2).
    pub limits: MountOptions,
    /// Where it is mounted already, the zone itself aside.
    pub mounted: Option<CurrentMount>,
}

/// Where a dataset is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentMount {
    /// The mount point as its holder sees it.
    pub point: String,
    /// The owner of the mount.
    pub who: MountOwner,
}

/// The owner of a dataset's mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountOwner {
    /// The host: a process in our own mount namespace.
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

impl fmt::Display for CurrentMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = self.point.shown();
        match &self.who {
            MountOwner::Host => write!(f, "on {point}"),
            MountOwner::Same => write!(f, "on {point} of this zone"),
            MountOwner::Zone(zone) => write!(f, "on {point} of zone '{zone}'"),
            MountOwner::Process { pid, program, namespace } => {
                write!(f, "on {point} by process {pid} ({}) in mount namespace {namespace}", program.shown())
            }
            MountOwner::Nobody => write!(f, "in a mount namespace that no process is in"),
        }
    }
}

/// Why a zone cannot have a dataset as a file system.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ZfsMountError {
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
        claim: DatasetClaim,
    },
    /// It is mounted already.
    #[error("could not verify fs {dir}: zfs '{special}' is already mounted {holder}")]
    Mounted {
        /// Mount point.
        dir: String,
        /// Dataset.
        special: String,
        /// The place and the owner.
        holder: CurrentMount,
    },
}

fn because(why: &Option<String>) -> String {
    why.as_ref().map_or(String::new(), |why| format!(": {why}"))
}

/// Says whether a dataset can be mounted on `dir` of a zone, and with which limits.
///
/// # Errors
/// [`ZfsMountError`].
pub fn check<'a>(
    dir: &str,
    special: &str,
    found: &'a DatasetFacts,
) -> Result<&'a MountOptions, ZfsMountError> {
    let (dir, special) = (dir.to_owned(), special.to_owned());
    match found {
        DatasetFacts::Unknown(why) => Err(ZfsMountError::NoAccess { dir, special, why: Some(why.clone()) }),
        DatasetFacts::Missing => Err(ZfsMountError::NoAccess { dir, special, why: None }),
        DatasetFacts::NotFilesystem => Err(ZfsMountError::NotFilesystem { dir, special }),
        DatasetFacts::Filesystem(f) if !f.legacy => Err(ZfsMountError::NotLegacy { dir, special }),
        DatasetFacts::Filesystem(f) if f.locked => Err(ZfsMountError::Locked { dir, special }),
        DatasetFacts::Filesystem(f) => match &f.mounted {
            Some(holder) => Err(ZfsMountError::Mounted { dir, special, holder: holder.clone() }),
            None => Ok(&f.limits),
        },
    }
}

/// Checks that no other zone administers a dataset of these pairs of mount point and dataset.
///
/// # Errors
/// [`ZfsMountError::Delegated`].
pub fn check_not_delegated<'a>(
    zone: &str,
    list: impl IntoIterator<Item = (&'a str, &'a str)>,
    claims: &[DatasetClaim],
) -> Result<(), ZfsMountError> {
    for (dir, special) in list {
        if let Some(claim) = delegated_elsewhere(zone, special, claims) {
            let claim = claim.clone();
            return Err(ZfsMountError::Delegated { dir: dir.to_owned(), special: special.to_owned(), claim });
        }
    }
    Ok(())
}

/// Finds the first of these pairs of mount point and dataset whose dataset an earlier one has.
///
/// # Errors
/// [`ZfsMountError::Mounted`].
pub fn check_unique<'a>(list: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), ZfsMountError> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (dir, special) in list {
        if let Some((first, _)) = seen.iter().find(|(_, s)| *s == special) {
            let holder = CurrentMount { point: (*first).to_owned(), who: MountOwner::Same };
            return Err(ZfsMountError::Mounted { dir: dir.to_owned(), special: special.to_owned(), holder });
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

    fn refused(found: &DatasetFacts) -> String {
        check("/d", "tank/zion", found).expect_err("must be refused").to_string()
    }

    fn mounted(who: MountOwner) -> String {
        let holder = CurrentMount { point: "/mnt".into(), who };
        let f = FilesystemFacts { legacy: true, mounted: Some(holder), ..FilesystemFacts::default() };
        refused(&DatasetFacts::Filesystem(f))
            .rsplit_once("already mounted ")
            .expect("the holder")
            .1
            .to_owned()
    }

    #[test]
    fn the_texts_of_solaris() {
        assert_eq!(
            refused(&DatasetFacts::Missing),
            "could not verify fs /d: could not access zfs dataset 'tank/zion'"
        );
        assert_eq!(
            refused(&DatasetFacts::Unknown("no ZFS".into())),
            "could not verify fs /d: could not access zfs dataset 'tank/zion': no ZFS"
        );
        assert_eq!(
            refused(&DatasetFacts::NotFilesystem),
            "cannot verify fs /d: 'tank/zion' is not a file system"
        );
        let f = FilesystemFacts { locked: true, ..FilesystemFacts::default() };
        assert_eq!(
            refused(&DatasetFacts::Filesystem(f.clone())),
            "could not verify fs /d: zfs 'tank/zion' mountpoint is not \"legacy\""
        );
        assert!(refused(&DatasetFacts::Filesystem(FilesystemFacts { legacy: true, ..f })).contains("key"));
    }

    #[test]
    fn the_holder_is_named() {
        assert_eq!(mounted(MountOwner::Host), "on /mnt");
        assert_eq!(mounted(MountOwner::Zone("other".into())), "on /mnt of zone 'other'");
        let process = MountOwner::Process { pid: 7, program: "sh".into(), namespace: 42 };
        assert_eq!(mounted(process), "on /mnt by process 7 (sh) in mount namespace 42");
        assert_eq!(mounted(MountOwner::Nobody), "in a mount namespace that no process is in");
        let twice = check_unique([("/a", "t/x"), ("/b", "t/y"), ("/c", "t/x")]).expect_err("twice");
        assert_eq!(
            twice.to_string(),
            "could not verify fs /c: zfs 't/x' is already mounted on /a of this zone"
        );
        assert_eq!(check_unique([("/a", "t/x"), ("/b", "t/y")]), Ok(()));
    }

    #[test]
    fn the_stricter_one_holds() {
        let limits = MountOptions { no_exec: true, read_only: true, ..MountOptions::default() };
        let asked = MountOptions { devices: true, no_suid: true, ..MountOptions::default() };
        let both = limited(asked, &limits);
        assert!(both.no_exec && both.read_only && both.no_suid && !both.devices && !both.no_atime);
    }
}
