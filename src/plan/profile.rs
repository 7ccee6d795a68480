//! `file-mac-profile`: which parts of the zone's root can be written to.
//!
//! The root as a whole becomes read-only; its writable parts are mounted over themselves before that. A part lies on
//! the zone's disk like everything else: files written there are kept.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use super::image::known;
use crate::spec::ZoneSpec;

/// How much of the root is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// All of it.
    Strict,
    /// All but data of programs in `/var`.
    #[serde(rename = "fixed-configuration")]
    Fixed,
    /// The system's software only.
    #[serde(rename = "flexible-configuration")]
    Flexible,
}

/// A directory of the root whose mode differs from that of its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The directory, as the zone sees it.
    pub dir: &'static str,
    /// It can be written to.
    pub writable: bool,
    /// It is made where it is missing; the others count only where they are there.
    pub made: bool,
}

const fn part(dir: &'static str, writable: bool, made: bool) -> Part {
    Part { dir, writable, made }
}

/// The parts that `fixed-configuration` leaves writable. Parents of a read-only part are parts themselves: a
/// directory that something is mounted on cannot be renamed, so nothing else gets their names.
const FIXED: &[Part] = &[
    part("/var", true, true),
    part("/var/lib", true, true),
    // The records of installed packages: dpkg, rpm and pacman.
    part("/var/lib/dpkg", false, false),
    part("/var/lib/pacman", false, false),
    part("/var/lib/rpm", false, false),
    part("/var/spool", true, true),
    // Folders of jobs and units: made, so that a process of the zone cannot make them.
    part("/var/spool/cron", false, true),
];

/// The parts that `flexible-configuration` leaves writable.
const FLEXIBLE: &[Part] = &[
    part("/etc", true, true),
    part("/home", true, false),
    part("/root", true, false),
    part("/srv", true, false),
    part("/var", true, true),
];

/// The system's software, which no profile leaves writable.
const SOFTWARE: &[&str] = &["/bin", "/boot", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr"];

/// Directories in memory under every profile, beside those of every zone: mode and share of the machine's
/// memory in percent.
pub const MEMORY: (&str, u32, u32) = ("/tmp", 0o1777, 25);

/// Directories that must be there before the root is read-only: the zone's process mounts on them.
pub const MOUNT_POINTS: &[&str] = &["/proc", "/sys"];

impl Profile {
    /// Returns the profile of a zone; none when all of its root is writable.
    ///
    /// # Errors
    /// The reason why this one is for no zone.
    pub fn of(spec: &ZoneSpec) -> Result<Option<Self>, String> {
        match spec.props.text("file-mac-profile").unwrap_or_default() {
            "" | "none" => Ok(None),
            "strict" => Ok(Some(Self::Strict)),
            "fixed-configuration" => Ok(Some(Self::Fixed)),
            "flexible-configuration" => Ok(Some(Self::Flexible)),
            other => Err(format!(
                "file-mac-profile={other} is for a global zone, which has zones of its own; use \
                 'set file-mac-profile=fixed-configuration'"
            )),
        }
    }

    /// Returns the name of the profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Fixed => "fixed-configuration",
            Self::Flexible => "flexible-configuration",
        }
    }

    /// Returns the parts in the order of mounting; `present` are those that are directories of the root.
    pub fn parts(self, present: &BTreeSet<String>) -> impl Iterator<Item = Part> {
        self.table().iter().copied().filter(|p| p.made || present.contains(p.dir))
    }

    /// Returns the directories that count only where they are there.
    pub fn optional(self) -> impl Iterator<Item = &'static str> {
        self.table().iter().filter(|p| !p.made).map(|p| p.dir)
    }

    /// Says whether a mount on a directory would replace something that the profile protects: the system's software
    /// and configuration, the records of installed packages, jobs and units.
    pub fn is_closed(self, dir: &Path) -> bool {
        let meets = |closed: &str| dir.starts_with(closed) || Path::new(closed).starts_with(dir);
        let parts = FIXED.iter().filter(|p| !p.writable).map(|p| p.dir);
        SOFTWARE.iter().any(|c| meets(c))
            || self != Self::Flexible && ["/etc", "/root"].into_iter().chain(parts).any(meets)
    }

    fn table(self) -> &'static [Part] {
        match self {
            Self::Strict => &[],
            Self::Fixed => FIXED,
            Self::Flexible => FLEXIBLE,
        }
    }
}

/// Reads a directory that some profile names.
pub(super) fn known_part<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    let parts = FIXED.iter().chain(FLEXIBLE).map(|p| p.dir);
    known::one(from, &parts.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_read_only_can_be_renamed_away() {
        for profile in [Profile::Strict, Profile::Fixed, Profile::Flexible] {
            let parts = profile.table();
            assert!(parts.is_sorted_by_key(|p| p.dir), "{profile:?}: parents come first");
            for part in parts.iter().filter(|p| !p.writable) {
                let mut at = Path::new(part.dir);
                while let Some(parent) = at.parent().filter(|p| *p != Path::new("/")) {
                    let mounted = parts.iter().any(|p| Path::new(p.dir) == parent && p.made);
                    assert!(mounted, "{} lies in {}, which can be renamed", part.dir, parent.display());
                    at = parent;
                }
            }
        }
    }

    #[test]
    fn what_nothing_takes_the_place_of() {
        let closed = |profile: Profile, dir: &str| profile.is_closed(Path::new(dir));
        for profile in [Profile::Strict, Profile::Fixed, Profile::Flexible] {
            assert!(closed(profile, "/usr/lib") && closed(profile, "/"));
            for dir in ["/home", "/srv/x", "/opt/app", "/var/lib/app", "/etcetera", "/tank/zone/data"] {
                assert!(!closed(profile, dir), "{profile:?} {dir}");
            }
            for dir in ["/etc/cron.d", "/root", "/var", "/var/spool/cron/crontabs"] {
                assert_eq!(closed(profile, dir), profile != Profile::Flexible, "{profile:?} {dir}");
            }
        }
    }

    #[test]
    fn only_what_is_there_counts_unless_it_is_made() {
        let dirs = |profile: Profile, present: &[&str]| -> Vec<&str> {
            let present = present.iter().map(|d| (*d).to_owned()).collect();
            profile.parts(&present).map(|p| p.dir).collect()
        };
        assert!(dirs(Profile::Strict, &["/var", "/home"]).is_empty());
        assert_eq!(dirs(Profile::Flexible, &["/root"]), ["/etc", "/root", "/var"]);
        assert_eq!(
            dirs(Profile::Fixed, &["/var/lib/dpkg"]),
            ["/var", "/var/lib", "/var/lib/dpkg", "/var/spool", "/var/spool/cron"]
        );
    }
}
