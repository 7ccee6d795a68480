//! The state of a zone beside the spec that outlives a boot: installed state, uuid and id range, below
//! `/var/lib/zones/NAME`.
//!
//! | file | content |
//! |---|---|
//! | `state` | `state=installed uuid=…`; missing for a configured zone |
//! | `idmap` | `INSIDE OUTSIDE COUNT`, the private range; kept until the zone is uninstalled or deleted |

use std::path::Path;

use super::{FileStore, STATE};
use crate::apply::files;
use crate::apply::paths::Root;
use crate::apply::rundir::copy;
use crate::apply::{claim, running};
use crate::spec::idmap::{IdMap, IdRange, PRIVATE_COUNT, PRIVATE_FIRST};
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::stable_hash::StableHash;

const IDMAP: &str = "idmap";

/// The content of a state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// The state.
    pub state: ZoneState,
    /// The zone's id, made when it first left `configured`.
    pub uuid: Option<String>,
}

impl StateRecord {
    /// The record of a zone that has none.
    pub const NONE: Self = Self { state: ZoneState::Configured, uuid: None };

    /// Reads a record; none when it is not understood.
    pub fn parse(line: &str) -> Option<Self> {
        let field = |name: &str| {
            line.split_whitespace().find_map(|w| w.strip_prefix(name).and_then(|r| r.strip_prefix('=')))
        };
        let state = Self::state_of_word(field("state")?)?;
        Some(Self { state, uuid: field("uuid").map(str::to_owned) })
    }

    /// Returns the state that a word of a state file means.
    pub fn state_of_word(word: &str) -> Option<ZoneState> {
        match word {
            "configured" => Some(ZoneState::Configured),
            "incomplete" => Some(ZoneState::Incomplete),
            "installed" => Some(ZoneState::Installed),
            "unavailable" => Some(ZoneState::Unavailable),
            _ => None,
        }
    }

    fn print(&self) -> String {
        match &self.uuid {
            Some(uuid) => format!("state={} uuid={uuid}\n", self.state),
            None => format!("state={}\n", self.state),
        }
    }

    /// Reads the record of a file; a missing file is a configured zone.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let Some(bytes) = files::read(path, 4096)? else { return Ok(Self::NONE) };
        std::str::from_utf8(&bytes).ok().and_then(Self::parse).ok_or_else(|| {
            StoreError::Invalid(format!(
                "{}:1:1: not a zone state; write 'state=installed' or another state into it, or remove it",
                path.shown()
            ))
        })
    }
}

impl FileStore {
    fn record(&self, zone: &ZoneName) -> Result<StateRecord, StoreError> {
        StateRecord::read(&self.root.zone_lib(zone).join(STATE))
    }

    /// Returns the state of the zone's files on disk, whether or not it runs: `Configured`, `Incomplete`,
    /// `Installed` or `Unavailable`.
    ///
    /// # Errors
    /// The state file cannot be read or understood.
    pub fn installed_state(&self, zone: &ZoneName) -> Result<ZoneState, StoreError> {
        Ok(self.record(zone)?.state)
    }

    /// Saves the state of the zone's files on disk. Makes the uuid when the zone first leaves `Configured`; the
    /// return to it erases the uuid and frees the private id range.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_installed_state(&self, zone: &ZoneName, state: ZoneState) -> Result<(), StoreError> {
        let _lock = self.hold()?;
        let dir = self.root.zone_lib(zone);
        if state == ZoneState::Configured {
            files::remove(&dir.join(IDMAP))?;
            files::remove(&dir.join(STATE))?;
            copy::remove_spare(&self.root, zone);
            return if dir.is_dir() { files::sync_dir(&dir) } else { Ok(()) };
        }
        // A state file that cannot be read is replaced: this is the way out of it.
        let old = self.record(zone).unwrap_or(StateRecord::NONE);
        let given = self.load(zone).ok().flatten().and_then(|s| s.spec.props.text("uuid").map(str::to_owned));
        let uuid = given.or(old.uuid.clone()).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let new = StateRecord { state, uuid: Some(uuid) };
        // A file that is there already needs no room.
        if new == old { Ok(()) } else { files::replace_small(&dir.join(STATE), new.print().as_bytes()) }
    }

    /// Saves the state of the zone's files on disk, and keeps its uuid and its private id range, which belong to it
    /// also while it is detached.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_state(&self, zone: &ZoneName, state: ZoneState) -> Result<(), StoreError> {
        let _lock = self.hold()?;
        let old = self.record(zone).unwrap_or(StateRecord::NONE);
        let given = self.load(zone).ok().flatten().and_then(|s| s.spec.props.text("uuid").map(str::to_owned));
        let uuid = given.or(old.uuid).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let text = StateRecord { state, uuid: Some(uuid) }.print();
        files::replace(&self.root.zone_lib(zone).join(STATE), text.as_bytes())
    }

    /// Gives a configured zone a uuid, and a private id range, unless that is taken meanwhile.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn adopt(&self, zone: &ZoneName, uuid: Option<&str>, first: Option<u32>) -> Result<(), StoreError> {
        let _lock = self.hold()?;
        let dir = self.root.zone_lib(zone);
        if let Some(first) = first
            && self.private_range(zone)?.is_none()
            && !self.taken_ids()?.iter().any(|taken| touches(*taken, first))
        {
            files::replace(
                &dir.join(IDMAP),
                format!(
                    "0 {first} {PRIVATE_COUNT}
"
                )
                .as_bytes(),
            )?;
        }
        if let Some(uuid) = uuid {
            let state = self.record(zone)?.state;
            let text = StateRecord { state, uuid: Some(uuid.to_owned()) }.print();
            files::replace(&dir.join(STATE), text.as_bytes())?;
        }
        Ok(())
    }

    /// Says whether a private range from here is free.
    ///
    /// # Errors
    /// The ranges of the other zones cannot be read.
    pub fn is_free_range(&self, first: u32) -> Result<bool, StoreError> {
        let fits =
            first >= PRIVATE_FIRST && u64::from(first) + u64::from(PRIVATE_COUNT) < u64::from(u32::MAX);
        Ok(fits && !self.taken_ids()?.iter().any(|taken| touches(*taken, first)))
    }

    /// Returns the zone's uuid: of the spec, else the one made at install.
    ///
    /// # Errors
    /// The spec or the state file cannot be read.
    pub fn uuid(&self, zone: &ZoneName) -> Result<Option<String>, StoreError> {
        let given = self.load(zone)?.and_then(|s| s.spec.props.text("uuid").map(str::to_owned));
        Ok(given.or(self.record(zone)?.uuid))
    }

    /// Returns the zone's ids: of the `idmap` resources, else a private range, which is allocated
    /// the first time and kept.
    ///
    /// # Errors
    /// The resources break a rule, or the range cannot be saved, or none is free.
    pub fn id_map(&self, zone: &ZoneName, spec: &ZoneSpec) -> Result<IdMap, StoreError> {
        if let Some(map) = self.known_id_map(zone, spec)? {
            return Ok(map);
        }
        let _lock = self.hold()?;
        // Another process may have been faster.
        if let Some(map) = self.known_id_map(zone, spec)? {
            return Ok(map);
        }
        let first = free_range(self.taken_ids()?, first_choice(&self.root))
            .ok_or_else(|| StoreError::Io("no range of 65536 user ids is free for the zone".into()))?;
        let text = format!("0 {first} {PRIVATE_COUNT}\n");
        files::replace(&self.root.zone_lib(zone).join(IDMAP), text.as_bytes())?;
        Ok(IdMap::private(first))
    }

    /// Returns the zone's ids without allocating any; none when that is still to be done.
    ///
    /// # Errors
    /// The resources break a rule, or the kept range cannot be read.
    pub fn known_id_map(&self, zone: &ZoneName, spec: &ZoneSpec) -> Result<Option<IdMap>, StoreError> {
        if let Some(map) = IdMap::from_spec(spec).map_err(|e| StoreError::Invalid(e.to_string()))? {
            return Ok(Some(map));
        }
        Ok(self.private_range(zone)?.map(|r| IdMap::private(r.outside)))
    }

    /// Returns the private range that is kept for a zone.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn private_range(&self, zone: &ZoneName) -> Result<Option<IdRange>, StoreError> {
        let path = self.root.zone_lib(zone).join(IDMAP);
        let Some(bytes) = files::read(&path, 4096)? else { return Ok(None) };
        let range = std::str::from_utf8(&bytes).ok().and_then(parse_range);
        // Never replaced by a fresh range: the zone's files may belong to the old one.
        let range = range.filter(|r| r.inside == 0 && r.count == PRIVATE_COUNT);
        range.map(Some).ok_or_else(|| {
            let sample = format!("0 {PRIVATE_FIRST} {PRIVATE_COUNT}");
            StoreError::Invalid(format!("{}:1:1: not an id range such as '{sample}'", path.shown()))
        })
    }

    /// Collects every host id that a new range must not touch.
    fn taken_ids(&self) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut taken = Vec::new();
        let mut take =
            |first: u32, count: u32| taken.push((first.into(), u64::from(first) + u64::from(count)));
        for name in self.lib_names()? {
            // One unreadable file of another zone must not let two zones share ids.
            if let Some(range) = self.private_range(&name)? {
                take(range.outside, range.count);
            }
        }
        for entry in self.catalog()? {
            for range in &entry.idmap {
                take(range.outside, range.count);
            }
        }
        // A running zone has its ids whatever has become of its files. The claims of zones are read by one call; the
        // kernel is asked only about zones without a claim.
        let known = claim::known(&self.root)
            .map_err(|e| StoreError::Io(format!("cannot read which ids zones have: {e}")))?;
        let silent = running::candidates(&self.root).into_iter().filter(|zone| !known.own.contains_key(zone));
        let silent = silent.filter_map(|zone| running::find(&self.root, &zone));
        let asked: Vec<_> = silent.flat_map(|zone| running::ids(zone.init)).collect();
        for range in known.own.values().flatten().chain(&known.others).chain(&asked) {
            take(range.outside, range.count);
        }
        for (file, fields) in [("subuid", 1..3), ("subgid", 1..3), ("passwd", 2..3), ("group", 2..3)] {
            let path = Path::new("/etc").join(file);
            let text = files::read(&path, 64 << 20)?.unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines() {
                let numbers: Vec<u32> = line
                    .split(':')
                    .skip(fields.start)
                    .take(fields.len())
                    .filter_map(|f| f.trim().parse().ok())
                    .collect();
                match numbers[..] {
                    [first, count] => take(first, count),
                    [id] => take(id, 1),
                    _ => {}
                }
            }
        }
        Ok(taken)
    }
}

/// Says whether ids, from the first to the one past the last, are in the private range from `first`.
fn touches((start, end): (u64, u64), first: u32) -> bool {
    let (first, past) = (u64::from(first), u64::from(first) + u64::from(PRIVATE_COUNT));
    start < past && first < end
}

fn parse_range(line: &str) -> Option<IdRange> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let range = IdRange {
        inside: numbers.next()?.ok()?,
        outside: numbers.next()?.ok()?,
        count: numbers.next()?.ok()?,
    };
    numbers.next().is_none().then_some(range)
}

/// Returns where the private ranges of a root begin to be given. Zones of another root that do not run now are
/// not known here, so that each begins at a place of its own.
pub fn first_choice(root: &Root) -> u32 {
    if root.prefix() == Path::new("/") {
        return PRIVATE_FIRST;
    }
    let ranges = (u32::MAX - PRIVATE_FIRST) / PRIVATE_COUNT;
    let hash = StableHash::new().path(root.prefix()).finish();
    let number = u32::try_from(hash % u64::from(ranges)).unwrap_or(0);
    PRIVATE_FIRST + number * PRIVATE_COUNT
}

/// Returns the lowest free private range from a first one on, or else the lowest one; `taken` holds first ids
/// and the ids past the last.
fn free_range(mut taken: Vec<(u64, u64)>, from: u32) -> Option<u32> {
    taken.sort_unstable();
    let (first, count) = (u64::from(PRIVATE_FIRST), u64::from(PRIVATE_COUNT));
    let search = |mut candidate: u64| {
        for (start, end) in &taken {
            if *start >= candidate + count {
                break;
            }
            if *end > candidate {
                candidate = first + (end - first).div_ceil(count) * count;
            }
        }
        // The last id means "no id" to the kernel.
        (candidate + count <= u64::from(u32::MAX)).then(|| u32::try_from(candidate).ok()).flatten()
    };
    search(from.into()).or_else(|| search(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_root_begins_at_a_place_of_its_own() {
        let first = |path: &str| first_choice(&Root::new(Some(Path::new(path))));
        assert_eq!(first("/"), PRIVATE_FIRST);
        // As release 0.1.0 has it.
        assert_eq!(first("/alt"), 2_089_798_144);
        assert_eq!((first("/alt") - PRIVATE_FIRST) % PRIVATE_COUNT, 0);
        assert_eq!(first("/alt"), first("/alt/"));
        assert_ne!(first("/alt"), first("/other"));
        // Past the last range it goes on at the first one.
        let last = PRIVATE_FIRST + ((u32::MAX - PRIVATE_FIRST) / PRIVATE_COUNT - 1) * PRIVATE_COUNT;
        assert_eq!(free_range(vec![], last), Some(last));
        assert_eq!(free_range(vec![(last.into(), u64::from(last) + 1)], last), Some(PRIVATE_FIRST));
    }

    #[test]
    fn the_lowest_free_range() {
        let lowest = |taken| free_range(taken, PRIVATE_FIRST);
        let first = u64::from(PRIVATE_FIRST);
        assert_eq!(lowest(vec![]), Some(PRIVATE_FIRST));
        assert_eq!(lowest(vec![(0, 1), (100_000, 165_536)]), Some(PRIVATE_FIRST));
        let step = u64::from(PRIVATE_COUNT);
        assert_eq!(
            lowest(vec![(first + step, first + 2 * step), (first, first + step)]),
            Some(1_000_131_072)
        );
        assert_eq!(lowest(vec![(first + step - 1, first + step)]), Some(1_000_065_536));
        assert_eq!(lowest(vec![(5, first + 1), (first + 2 * step, first + 3 * step)]), Some(1_000_065_536));
        assert_eq!(lowest(vec![(0, u64::from(u32::MAX))]), None);
    }

    #[test]
    fn records() {
        let r = StateRecord {
            state: ZoneState::Installed,
            uuid: Some("64788f65-1b43-47b8-9d4b-17ed5e3a0d2b".into()),
        };
        assert_eq!(StateRecord::parse(&r.print()), Some(r));
        assert_eq!(
            StateRecord::parse("state=incomplete\n"),
            Some(StateRecord { state: ZoneState::Incomplete, uuid: None })
        );
        for bad in ["", "state=running", "installed", "uuid=x"] {
            assert_eq!(StateRecord::parse(bad), None, "{bad}");
        }
    }
}
