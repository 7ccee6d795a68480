//! A zone whose files cannot be seen: the places in ZFS that may hold them, and the command to type. This module
//! only computes.

use std::path::{Path, PathBuf};

use crate::spec::shown::Show;

/// A filesystem that may hold the files of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// It carries the zone's owner mark ([`ZONE_MARK`](super::dataset::ZONE_MARK)).
    pub has_owner_mark: bool,
    /// Where it is to be mounted, when its `mountpoint` is a path.
    pub place: Option<PathBuf>,
    /// Where the host has it mounted.
    pub mounted: Option<PathBuf>,
    /// The directory below which everything of its pool is mounted.
    pub altroot: Option<String>,
    /// Its key is not loaded.
    pub locked: bool,
    /// Its `canmount` is off.
    pub never: bool,
}

impl Candidate {
    /// Says whether it would be mounted at a place or above it, and is not.
    fn is_missed(&self, at: &Path) -> bool {
        let place = self.place.as_deref().filter(|place| *place != Path::new("/"));
        // A folder of file systems that is not mounted itself is no part of the way.
        self.mounted.is_none()
            && (self.has_owner_mark || !self.never)
            && place.is_some_and(|place| at.starts_with(place))
    }
}

/// Says where the files of a zone may be, and which command to type. `zonepath` is the former place, as the host
/// sees it; `found` are the filesystems of the imported pools, none when ZFS cannot be asked.
pub fn explain(zonepath: &Path, found: Option<&[Candidate]>) -> String {
    let Some(list) = found else {
        return "its files are not there; mount the file system that holds them".to_owned();
    };
    let mut parts = Vec::new();
    let mut way: Vec<&Candidate> = list.iter().filter(|c| c.is_missed(zonepath)).collect();
    way.sort_by_key(|c| c.place.as_ref().map(|place| place.components().count()));
    if !way.is_empty() {
        parts.push(not_mounted(&way));
    }
    let elsewhere = list.iter().filter(|c| c.has_owner_mark && !c.is_missed(zonepath));
    parts.extend(
        elsewhere.filter(|c| c.mounted.as_deref() != Some(zonepath)).map(|c| owned_elsewhere(c, zonepath)),
    );
    if parts.is_empty() && list.iter().any(|c| c.mounted.as_deref() == Some(zonepath)) {
        return "it has no directory root".to_owned();
    }
    if parts.is_empty() {
        return "its files are not there, and no file system of an imported pool is the zone's; use zpool import \
                if they are in another pool, or mount the file system that holds them"
            .to_owned();
    }
    parts.join("; ")
}

fn not_mounted(way: &[&Candidate]) -> String {
    let names: Vec<&str> = way.iter().map(|c| c.name.as_str()).collect();
    let (what, are, whose) = match &names[..] {
        [first @ .., last] if !first.is_empty() => {
            (format!("file systems {} and {last}", first.join(", ")), "are", "their")
        }
        one => (format!("file system {}", one.join(", ")), "is", "its"),
    };
    let key =
        if way.iter().any(|c| c.locked) { format!(", {whose} key is not loaded") } else { String::new() };
    let commands: Vec<String> = way.iter().map(|c| command(c)).collect();
    format!("its ZFS {what} {are} not mounted{key}; use {}", commands.join(" && "))
}

fn command(c: &Candidate) -> String {
    let name = quoted(&c.name);
    let on = if c.never { format!("zfs set canmount=on {name} && ") } else { String::new() };
    let key = if c.locked { "-l " } else { "" };
    format!("{on}zfs mount {key}{name}")
}

/// Says where a file system with the zone's owner mark is, and how it comes to the zonepath.
fn owned_elsewhere(c: &Candidate, zonepath: &Path) -> String {
    let name = quoted(&c.name);
    let altroot = c.altroot.as_deref().unwrap_or("/");
    let Ok(target) = zonepath.strip_prefix(altroot) else {
        return format!(
            "{} is marked as the zone's, in a pool whose alternate root {} the zonepath is not below; import the pool \
             without one",
            c.name,
            altroot.shown()
        );
    };
    let target = Path::new("/").join(target);
    let target = target.shown();
    let place = match (&c.mounted, &c.place) {
        (Some(point), _) => format!("is mounted on {}", point.shown()),
        (None, Some(place)) => format!("would be mounted on {}", place.shown()),
        (None, None) => "has no mountpoint".to_owned(),
    };
    let then = if c.mounted.is_some() { String::new() } else { format!(" && {}", command(c)) };
    format!("{} is marked as the zone's and {place}; use zfs set mountpoint={target} {name}{then}", c.name)
}

/// A name may have blanks.
fn quoted(name: &str) -> String {
    if name.contains(' ') { format!("'{name}'") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, has_owner_mark: bool, place: &str, mounted: bool) -> Candidate {
        let place = Some(PathBuf::from(place));
        Candidate {
            name: name.into(),
            has_owner_mark,
            mounted: place.clone().filter(|_| mounted),
            place,
            ..Candidate::default()
        }
    }

    fn said(list: &[Candidate]) -> String {
        explain(Path::new("/t/z"), Some(list))
    }

    #[test]
    fn what_is_on_the_way_is_mounted_from_above() {
        let list =
            [one("t", false, "/t", true), one("x/z", true, "/t/z", false), one("x", false, "/t", false)];
        assert_eq!(
            said(&list),
            "its ZFS file systems x and x/z are not mounted; use zfs mount x && zfs mount x/z"
        );
        let mut list = [one("t/z", true, "/t/z", false)];
        list[0].locked = true;
        list[0].never = true;
        assert_eq!(
            said(&list),
            "its ZFS file system t/z is not mounted, its key is not loaded; use zfs set canmount=on t/z && zfs mount -l t/z"
        );
        // The root of the host's own system, and a folder that is never mounted.
        let mut folder = one("t", false, "/t", false);
        folder.never = true;
        assert!(said(&[one("r", false, "/", false), folder]).contains("use zpool import"));
    }

    #[test]
    fn what_is_marked_elsewhere_is_named() {
        assert_eq!(
            said(&[one("t/y", true, "/t/y", true)]),
            "t/y is marked as the zone's and is mounted on /t/y; use zfs set mountpoint=/t/z t/y"
        );
        let mut list = [one("t/y", true, "/t/y", false)];
        list[0].place = None;
        assert_eq!(
            said(&list),
            "t/y is marked as the zone's and has no mountpoint; use zfs set mountpoint=/t/z t/y && zfs mount t/y"
        );
        assert!(explain(Path::new("/t/z"), None).contains("mount the file system"));
    }
}
