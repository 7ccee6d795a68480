//! The host ids of a running zone, published to the zones of all other roots of the machine.
//!
//! A store keeps the id ranges of its own zones apart. Zones of another root (`-R`) have a store of their own
//! and the same host. So a boot notes in the machine's `/run/zones/.ids`, whatever its root is, which ids its
//! zone has, before it makes the zone's user namespace. A zone of another root that has one of these ids ends
//! the boot, and a range that such a zone has is given to no zone.
//!
//! Each root has a folder there, `@HASH` as in the names of its cgroups, or `@` for the root `/`, so that a boot looks
//! at the zones of other roots and not at those of its own. A file in it is called as the zone is. When the zone has
//! one private range, `:FIRST` follows, so that one look at the folder shows the ranges of a thousand zones. Its
//! lines:
//!
//! | line | meaning |
//! |---|---|
//! | `by PID START` | the process that boots the zone, and when that started |
//! | `uid FIRST COUNT`, `gid FIRST COUNT` | ids of the host; `shared` behind them: zones may share them |
//! | `root PATH` | the root, up to the end of the file |
//!
//! A file is believed while that process lives or the zone runs. A zone that runs without one, because it was
//! removed, is found by its cgroup.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::apply::paths::{Root, group_suffix};
use crate::apply::{running, trust};
use crate::spec::idmap::{IdMap, IdRange};
use crate::spec::shown::Show;
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::cgroup;
use crate::sys::naive::without;
use crate::sys::process::start_time;
use crate::sys::task::first_of_namespace;

/// The ids of a zone, and those that it shares with no other zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedIds {
    all: IdMap,
    exclusive: IdMap,
}

impl ClaimedIds {
    /// Returns the ids of a zone whose id map the store has given.
    pub fn of(all: IdMap, spec: &ZoneSpec) -> Self {
        let explicit = matches!(IdMap::from_spec(spec), Ok(Some(_)));
        let exclusive = IdMap::exclusive(spec).ok().filter(|_| explicit).unwrap_or_else(|| all.clone());
        Self { all, exclusive }
    }

    /// Returns the ids of a zone that has a private range and nothing else.
    fn private(first: u32) -> Self {
        let map = IdMap::private(first);
        Self { exclusive: map.clone(), all: map }
    }

    /// Returns the first id of a private range, when the zone has that and nothing else.
    fn first_private(&self) -> Option<u32> {
        let first = self.all.uid.first()?.outside;
        (self.all == IdMap::private(first) && self.exclusive == self.all).then_some(first)
    }

    /// Returns the first id that two zones may not both have.
    fn conflict(&self, other: &Self) -> Option<(&'static str, u32)> {
        self.exclusive.overlap(&other.all).or_else(|| self.all.overlap(&other.exclusive))
    }
}

/// A zone of another root, and the ids that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdClaim {
    /// The zone.
    pub zone: String,
    /// Its root; none for a zone that is known by its cgroup only.
    pub root: Option<PathBuf>,
    /// A process of the zone, or the one that boots it, and when that started.
    by: (i32, u64),
    ids: ClaimedIds,
}

/// Why a zone does not get its ids.
#[derive(Debug)]
pub enum ClaimError {
    /// A running zone of another root has some of them.
    Taken {
        /// `uid` or `gid`.
        kind: &'static str,
        /// The first id that both would have.
        id: u32,
        /// The other zone.
        holder: Box<IdClaim>,
    },
    /// The claims cannot be read or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { kind, id, holder } => {
                write!(f, "{kind} {id} of the host is one of zone '{}' of ", holder.zone.shown())?;
                match &holder.root {
                    Some(root) => write!(f, "the root {}", root.shown())?,
                    None => write!(f, "another root (process {})", holder.by.0)?,
                }
                write!(f, ", which runs; halt that zone, or give this one ids of its own by idmap resources")
            }
            Self::Io(path, e) => {
                let why = crate::sys::path::reason(e);
                write!(f, "cannot note the zone's ids in {}: {why}", path.shown())
            }
        }
    }
}

impl std::error::Error for ClaimError {}

/// Notes the ids of a zone that is about to boot, unless a zone of another root has them. The caller holds
/// the zone's lock, and has released what an earlier boot has noted.
///
/// # Errors
/// [`ClaimError`]; nothing is noted then.
pub fn claim(root: &Root, zone: &ZoneName, ids: ClaimedIds) -> Result<(), ClaimError> {
    let dir = folder();
    let failed = |e| ClaimError::Io(dir.clone(), e);
    let _lock = lock(&dir).map_err(failed)?;
    let conflict = |other: &ClaimedIds| ids.conflict(other);
    let may_conflict =
        |name: &Name| name.private.is_none_or(|first| conflict(&ClaimedIds::private(first)).is_some());
    for (file, other) in claims(&dir, root, may_conflict).map_err(failed)? {
        let Some((kind, id)) = conflict(&other.ids).filter(|_| !without("roots")) else { continue };
        if other.is_held() {
            return Err(ClaimError::Taken { kind, id, holder: Box::new(other) });
        }
        if let Some(file) = file {
            forget(&file);
        }
    }
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let by = (own, start_time(own).unwrap_or(0));
    let name = Name { zone: zone.to_string(), private: ids.first_private() };
    let claim = IdClaim { zone: zone.to_string(), root: Some(absolute(root)), by, ids };
    // The claim is written by one call: a reader without the lock finds none, as a moment before, or all of it.
    let own = own_folder(&dir, root);
    let path = own.join(name.to_string());
    loop {
        match fs::write(&path, claim.print()).inspect_err(|_| drop(fs::remove_file(&path))) {
            // This zone is the first of its root, or the last one before it takes the folder away just now.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(&own).map_err(failed)?;
            }
            done => return done.map_err(failed),
        }
    }
}

/// Forgets the ids of a zone that runs no longer. With the first id of its private range, the folder need not be
/// looked through.
pub fn release(root: &Root, zone: &ZoneName, private: Option<u32>) {
    let dir = own_folder(&folder(), root);
    let name = Name { zone: zone.to_string(), private };
    if private.is_some() && forget(&dir.join(name.to_string())) {
        return;
    }
    for name in names(&dir).unwrap_or_default().iter().filter(|name| name.zone == zone.as_str()) {
        forget(&dir.join(name.to_string()));
    }
}

/// Removes a file, and the folder of its root with the last one. Returns whether there was such a file.
fn forget(file: &Path) -> bool {
    let removed = fs::remove_file(file).is_ok();
    if let Some(dir) = file.parent().filter(|_| removed) {
        // The kernel keeps the folder while there are others in it.
        let _ = fs::remove_dir(dir);
    }
    removed
}

/// The ids of zones, as the files say.
#[derive(Debug, Default)]
pub struct Known {
    /// Zones of this root. The file of a zone that has just ended may be among them.
    pub own: BTreeMap<ZoneName, Vec<IdRange>>,
    /// Zones of other roots that run.
    pub others: Vec<IdRange>,
}

/// Returns the ids that zones have.
///
/// # Errors
/// The system's error; that there is nothing to read is none.
pub fn known(root: &Root) -> io::Result<Known> {
    let dir = folder();
    let own = own_folder(&dir, root);
    let ranges = |ids: IdMap| ids.uid.into_iter().chain(ids.gid);
    let mut known = Known::default();
    for name in names(&own)? {
        let private = name.private.map(IdMap::private);
        let Some(ids) = private.or_else(|| Some(name.read(&own)?.ids.all)) else { continue };
        let Ok(zone) = ZoneName::new(&name.zone) else { continue };
        known.own.entry(zone).or_default().extend(ranges(ids));
    }
    if !without("roots") {
        let others = claims(&dir, root, |_| true)?.into_iter();
        let held = others.map(|(_, claim)| claim).filter(IdClaim::is_held);
        known.others = held.flat_map(|claim| ranges(claim.ids.all)).collect();
    }
    Ok(known)
}

/// The name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    zone: String,
    /// The first id of the zone's private range, when that is all that it has.
    private: Option<u32>,
}

impl Name {
    fn parse(file: &str) -> Self {
        let private = file.split_once(':').and_then(|(zone, first)| Some((zone, first.parse().ok()?)));
        let (zone, private) = private.map_or((file, None), |(zone, first)| (zone, Some(first)));
        Self { zone: zone.to_owned(), private }
    }

    /// Reads the file; none when it is gone or cannot be understood.
    fn read(&self, dir: &Path) -> Option<IdClaim> {
        let bytes = fs::read(dir.join(self.to_string())).ok()?;
        IdClaim::parse(&self.zone, &bytes)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.zone)?;
        self.private.map_or(Ok(()), |first| write!(f, ":{first}"))
    }
}

/// Lists the names of a root's files.
fn names(dir: &Path) -> io::Result<Vec<Name>> {
    Ok(entries(dir)?.iter().map(|file| Name::parse(file)).collect())
}

/// Lists what is in a folder; nothing when there is none.
fn entries(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    let mut list = Vec::new();
    for entry in entries {
        list.extend(entry?.file_name().into_string());
    }
    Ok(list)
}

/// The machine's own: ids are, whatever root a zone has.
fn folder() -> PathBuf {
    Root::new(Some(Path::new("/"))).run_dir().join(".ids")
}

fn own_folder(dir: &Path, root: &Root) -> PathBuf {
    dir.join(root_name(&group_suffix(root)))
}

/// Returns the name of a root's folder.
fn root_name(suffix: &str) -> &str {
    if suffix.is_empty() { "@" } else { suffix }
}

/// Locks the folder, which is made when there is none. Only root can open it, so no other user can hold the lock.
fn lock(dir: &Path) -> io::Result<File> {
    if !dir.is_dir() {
        if let Some(above) = dir.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(above)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    if !fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir() && trust::is_trusted(&m, 0o077)) {
        return Err(io::Error::other("it is not a directory that only root can open"));
    }
    let file = File::open(dir)?;
    file.lock()?;
    Ok(file)
}

fn absolute(root: &Root) -> PathBuf {
    std::path::absolute(root.prefix()).unwrap_or_else(|_| root.prefix().to_owned())
}

/// Returns those claims of other roots whose names are wanted, each with its file, if there is one.
fn claims(
    dir: &Path,
    root: &Root,
    wanted: impl Fn(&Name) -> bool,
) -> io::Result<Vec<(Option<PathBuf>, IdClaim)>> {
    let suffix = group_suffix(root);
    let mut known = BTreeSet::new();
    // A thousand zones have few roots, and each lookup of a path costs some system calls.
    let mut ours = BTreeMap::new();
    let mut list = Vec::new();
    // The zones of one root are kept apart by its store.
    for folder in entries(dir)?.into_iter().filter(|folder| folder != root_name(&suffix)) {
        let dir = dir.join(&folder);
        for name in names(&dir)? {
            let group = format!("{}{}", name.zone, folder.trim_end_matches('@'));
            if !wanted(&name) {
                known.insert(group);
                continue;
            }
            let Some(claim) = name.read(&dir) else { continue };
            known.insert(group);
            let is_ours =
                ours.entry(claim.root.clone()).or_insert_with_key(|other| is_same(root, other.as_deref()));
            if !*is_ours {
                list.push((Some(dir.join(name.to_string())), claim));
            }
        }
    }
    list.extend(without_file(&suffix, &known).into_iter().map(|claim| (None, claim)));
    Ok(list)
}

fn suffix_of(name: &str) -> &str {
    name.find('@').map_or("", |at| &name[at..])
}

/// Says whether a root is ours by another path.
fn is_same(root: &Root, other: Option<&Path>) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    other.is_some_and(|other| real(other).is_some_and(|other| real(root.prefix()) == Some(other)))
}

/// Finds running zones of other roots that have no file.
fn without_file(suffix: &str, known: &BTreeSet<String>) -> Vec<IdClaim> {
    let Some(mount) = cgroup::mount_point() else { return Vec::new() };
    let shared = mount.join("zones");
    let mut list = Vec::new();
    // With cpus of their own, zones have a group at the top.
    for (dir, prefix) in [(&shared, ""), (&mount, "zones.")] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let file = entry.file_name();
            let Some(name) = file.to_str().and_then(|f| f.strip_prefix(prefix)) else { continue };
            if suffix_of(name) != suffix && !known.contains(name) {
                list.extend(by_group(name, &entry.path()));
            }
        }
    }
    list
}

fn by_group(name: &str, group: &Path) -> Option<IdClaim> {
    let zone = ZoneName::new(name.split('@').next()?).ok()?;
    if !cgroup::is_populated(group) {
        return None;
    }
    let init = cgroup::members(group).into_iter().find(|pid| first_of_namespace(*pid))?;
    let ranges = running::ids(init);
    let all = IdMap { uid: ranges.clone(), gid: ranges };
    let ids = ClaimedIds { exclusive: all.clone(), all };
    Some(IdClaim { zone: zone.to_string(), root: None, by: (init, start_time(init)?), ids })
}

impl IdClaim {
    /// Says whether the zone runs or is being booted.
    fn is_held(&self) -> bool {
        let zone = ZoneName::new(&self.zone).ok();
        start_time(self.by.0) == Some(self.by.1)
            || self
                .root
                .as_ref()
                .zip(zone)
                .is_some_and(|(root, zone)| running::find(&Root::new(Some(root)), &zone).is_some())
    }

    fn print(&self) -> Vec<u8> {
        let mut text = format!("by {} {}\n", self.by.0, self.by.1);
        let ClaimedIds { all, exclusive } = &self.ids;
        for (kind, all, exclusive) in [("uid", &all.uid, &exclusive.uid), ("gid", &all.gid, &exclusive.gid)] {
            for range in all {
                let shared = if exclusive.contains(range) { "" } else { " shared" };
                text += &format!("{kind} {} {}{shared}\n", range.outside, range.count);
            }
        }
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(b"root ");
        bytes.extend_from_slice(self.root.as_deref().unwrap_or(Path::new("/")).as_os_str().as_bytes());
        bytes
    }

    fn parse(zone: &str, bytes: &[u8]) -> Option<Self> {
        let zone = ZoneName::new(zone).ok()?.to_string();
        let mut by = None;
        let none = || IdMap { uid: Vec::new(), gid: Vec::new() };
        let mut ids = ClaimedIds { all: none(), exclusive: none() };
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some(root) = rest.strip_prefix(b"root ") {
                let root = PathBuf::from(OsString::from_vec(root.to_vec()));
                return Some(Self { zone, root: Some(root), by: by?, ids });
            }
            let (line, after) = rest.split_at(rest.iter().position(|b| *b == b'\n')?);
            rest = &after[1..];
            let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
            let [kind, first, second, ref shared @ ..] = words[..] else { return None };
            if kind == "by" {
                by = Some((first.parse().ok()?, second.parse().ok()?));
                continue;
            }
            let range = IdRange { inside: 0, outside: first.parse().ok()?, count: second.parse().ok()? };
            let lists = [&mut ids.all, &mut ids.exclusive];
            for map in lists.into_iter().take(if shared.is_empty() { 2 } else { 1 }) {
                if kind == "uid" { &mut map.uid } else { &mut map.gid }.push(range);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[(u32, u32)], shared: &[(u32, u32)]) -> ClaimedIds {
        let ranges = |list: &[(u32, u32)]| -> Vec<IdRange> {
            list.iter()
                .map(|(outside, count)| IdRange { inside: 0, outside: *outside, count: *count })
                .collect()
        };
        let exclusive: Vec<_> = ranges(all);
        let all: Vec<_> = exclusive.iter().copied().chain(ranges(shared)).collect();
        let map = |list: Vec<IdRange>| IdMap { uid: list.clone(), gid: list };
        ClaimedIds { all: map(all), exclusive: map(exclusive) }
    }

    #[test]
    fn a_claim_reads_back() {
        let claim = IdClaim {
            zone: "zion".into(),
            root: Some("/alt\nuid 0 1".into()),
            by: (7, 8),
            ids: ids(&[(1_000_000_000, 65_536)], &[(5, 1)]),
        };
        assert_eq!(IdClaim::parse("zion", &claim.print()), Some(claim.clone()));
        for bad in ["", "by 7 8\n", "root /alt", "by 7\nroot /", "by 7 8\nuid x 1\nroot /"] {
            assert_eq!(IdClaim::parse("zion", bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_name_tells_the_private_range() {
        for (file, zone, private) in
            [("zion", "zion", None), ("zion:1000000000", "zion", Some(1_000_000_000))]
        {
            let name = Name::parse(file);
            assert_eq!((name.zone.as_str(), name.private), (zone, private));
            assert_eq!(name.to_string(), file);
        }
        assert_eq!(ClaimedIds::private(1_000_000_000).first_private(), Some(1_000_000_000));
        assert_eq!(ids(&[(1_000_000_000, 1)], &[]).first_private(), None);
        let nothing = IdMap { uid: Vec::new(), gid: Vec::new() };
        assert_eq!(
            ClaimedIds { exclusive: nothing, all: IdMap::private(1_000_000_000) }.first_private(),
            None
        );
    }

    #[test]
    fn what_both_call_shared_is_no_conflict() {
        let (mine, theirs) = (ids(&[(100, 10)], &[(200, 10)]), ids(&[(300, 10)], &[(205, 10)]));
        assert_eq!(mine.conflict(&theirs), None);
        assert_eq!(mine.conflict(&ids(&[(209, 1)], &[])), Some(("uid", 209)));
        assert_eq!(mine.conflict(&ids(&[], &[(109, 1)])), Some(("uid", 109)));
        assert_eq!(mine.conflict(&ids(&[(110, 90), (210, 5)], &[])), None);
    }
}
