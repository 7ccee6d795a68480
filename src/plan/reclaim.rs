//! `zoneadm reclaim`: the dangers in a dataset that is to return to the host, and what is done about them. This
//! module only computes.

use crate::spec::shown::Show;
use std::fmt;
use std::path::{Component, Path};

/// Folders that hold the host's system: nothing of a zone's is mounted on them.
const SYSTEM: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run",
    "/sbin", "/sys", "/tmp", "/usr", "/var",
];

/// Folders that are not covered themselves, while something may be mounted below them.
const SHARED: &[&str] = &["/", "/home", "/media", "/mnt", "/opt", "/srv", "/zones"];

/// How many files of one filesystem are named.
pub const NAMED: usize = 20;

/// The reason why a file is dangerous to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Runs with the rights of its owner.
    SetUid,
    /// Runs with the rights of its group.
    SetGid,
    /// Runs with capabilities.
    Capabilities,
    /// A block or character device.
    Device,
}

impl Danger {
    /// Returns the property that makes it harmless when it is off.
    pub fn property(self) -> &'static str {
        match self {
            Self::Device => "devices",
            Self::SetUid | Self::SetGid | Self::Capabilities => "setuid",
        }
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SetUid => "setuid",
            Self::SetGid => "setgid",
            Self::Capabilities => "file capabilities",
            Self::Device => "device",
        })
    }
}

/// Something that speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReclaimFinding {
    /// A mount point that is not reasonable on the host.
    Mountpoint {
        /// The filesystem.
        dataset: String,
        /// Where it would be mounted.
        path: String,
        /// Why it should not.
        why: String,
    },
    /// A file that could be used against the host.
    File {
        /// The filesystem or snapshot.
        source: String,
        /// The file, from the top of the filesystem.
        path: String,
        /// Why.
        danger: Danger,
    },
    /// More such files than are named.
    More {
        /// The filesystem or snapshot.
        source: String,
        /// How many.
        count: usize,
        /// The kinds of danger, each once.
        dangers: Vec<Danger>,
    },
    /// A filesystem or snapshot that could not be looked through.
    Unseen {
        /// Which.
        source: String,
        /// Why.
        why: String,
    },
    /// A key that the host would fetch from where the zone says.
    Key {
        /// The encryption root.
        dataset: String,
        /// Where the key would come from.
        location: String,
    },
}

impl fmt::Display for ReclaimFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mountpoint { dataset, path, why } => {
                // A name may have blanks, and more behind them that looks like another dataset's.
                let quoted = if dataset.contains(' ') { format!("'{dataset}'") } else { dataset.clone() };
                let path = path.shown();
                write!(f, "{dataset}: mountpoint {path} {why}; use zfs set mountpoint=none {quoted}")
            }
            Self::File { source, path, danger } => write!(f, "{source}: {path} ({danger})"),
            Self::More { source, count, .. } => write!(f, "{source}: and {count} more such files"),
            Self::Unseen { source, why } => write!(f, "{source}: cannot be looked through: {why}"),
            Self::Key { dataset, location } => {
                write!(f, "{dataset}: its key would be read from {}; use zfs change-key", location.shown())
            }
        }
    }
}

/// Returns why a path should not be a mount point of the host, as far as the path alone shows.
pub fn bad_mountpoint(path: &str) -> Option<&'static str> {
    let p = Path::new(path);
    if !p.is_absolute() || p.components().any(|c| c == Component::ParentDir) {
        return Some("is not a plain path");
    }
    if SYSTEM.iter().any(|s| p.starts_with(s)) || SHARED.iter().any(|s| p == Path::new(s)) {
        return Some("is a folder of the system");
    }
    None
}

/// Says whether a symbolic link would be on the way to a mount point. Its file system may ignore case, or treat an
/// accented letter as two, so names that may be the same count as the same.
pub fn leads(link: &Path, place: &Path) -> bool {
    let same = |a: Component<'_>, b: Component<'_>| {
        let (a, b) = (a.as_os_str().to_string_lossy(), b.as_os_str().to_string_lossy());
        a == b || !(a.is_ascii() && b.is_ascii()) || a.eq_ignore_ascii_case(&b)
    };
    let mut way = place.components();
    link.components().all(|part| way.next().is_some_and(|w| same(part, w)))
}

/// The properties that are set so that a filesystem cannot do harm in spite of the findings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mend {
    /// The filesystem.
    pub dataset: String,
    /// The property.
    pub property: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// Returns what makes the findings harmless; each once.
pub fn mend(findings: &[ReclaimFinding]) -> Vec<Mend> {
    let mut list = Vec::new();
    let mut add = |dataset: &str, property, value| {
        list.push(Mend { dataset: dataset.to_owned(), property, value });
    };
    // On Linux a snapshot is mounted without regard to setuid and devices: it is hidden instead.
    let file = |source: &str, danger: Danger| match source.split_once('@') {
        Some((dataset, _)) => (dataset.to_owned(), "snapdir", "disabled"),
        None => (source.to_owned(), danger.property(), "off"),
    };
    for finding in findings {
        match finding {
            ReclaimFinding::Mountpoint { dataset, .. } => add(dataset, "canmount", "noauto"),
            ReclaimFinding::File { source, danger, .. } => {
                let (dataset, property, value) = file(source, *danger);
                add(&dataset, property, value);
            }
            ReclaimFinding::More { source, dangers, .. } => {
                for danger in dangers {
                    let (dataset, property, value) = file(source, *danger);
                    add(&dataset, property, value);
                }
            }
            ReclaimFinding::Unseen { source, .. } => {
                let (dataset, property, value) = file(source, Danger::SetUid);
                add(&dataset, property, value);
                let (dataset, property, value) = file(source, Danger::Device);
                add(&dataset, property, value);
                // It may hold links on the way to the mount points below it.
                if !source.contains('@') {
                    add(source, "canmount", "noauto");
                }
            }
            ReclaimFinding::Key { dataset, .. } => add(dataset, "canmount", "noauto"),
        }
    }
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points() {
        for bad in ["/", "/etc", "/usr/local/x", "/var/lib", "relative", "/data/../etc", "/home", "/zones"] {
            assert!(bad_mountpoint(bad).is_some(), "{bad}");
        }
        for good in ["/data", "/home/zion", "/srv/x", "/tank/zone/zion", "/etcetera", "/zones/old"] {
            assert_eq!(bad_mountpoint(good), None, "{good}");
        }
    }

    #[test]
    fn links_on_the_way() {
        let leads = |link: &str, place: &str| super::leads(Path::new(link), Path::new(place));
        for (link, place) in [
            ("/back/a", "/back/a"),
            ("/back/a", "/back//a/./b/"),
            ("/back/A", "/back/a/b"),
            ("/back/\u{e9}", "/back/e\u{301}"),
        ] {
            assert!(leads(link, place), "{link} {place}");
        }
        for (link, place) in [("/back/a", "/back"), ("/back/a", "/back/ab"), ("/back/a/b", "/back/a/c")] {
            assert!(!leads(link, place), "{link} {place}");
        }
    }

    #[test]
    fn what_was_found_is_made_harmless() {
        let file =
            |source: &str, danger| ReclaimFinding::File { source: source.into(), path: "/x".into(), danger };
        let findings = [
            file("t/a", Danger::SetUid),
            file("t/a", Danger::Capabilities),
            file("t/a@s", Danger::Device),
            ReclaimFinding::More { source: "t/a".into(), count: 3, dangers: vec![Danger::Device] },
            ReclaimFinding::Mountpoint { dataset: "t/b".into(), path: "/".into(), why: "is bad".into() },
            ReclaimFinding::Unseen { source: "t/c".into(), why: "no key".into() },
        ];
        let set: Vec<_> =
            mend(&findings).iter().map(|m| format!("{} {}={}", m.dataset, m.property, m.value)).collect();
        assert_eq!(
            set,
            [
                "t/a devices=off",
                "t/a setuid=off",
                "t/a snapdir=disabled",
                "t/b canmount=noauto",
                "t/c canmount=noauto",
                "t/c devices=off",
                "t/c setuid=off"
            ]
        );
        assert_eq!(findings[0].to_string(), "t/a: /x (setuid)");
        assert!(findings[4].to_string().ends_with("use zfs set mountpoint=none t/b"));
    }
}
