//! A summary of every configured zone, read from a cache as far as it is fresh.
//!
//! The cache is only ever a cache: each line carries a stamp of the spec and of the state file as
//! they were when it was made (inode, size, times), and a line whose stamps differ is made anew from
//! the files. So an edit by hand is always seen, and a missing or broken cache costs time only.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use super::state::StateRecord;
use super::{FileStore, STATE};
use crate::apply::files;
use crate::plan::dataset;
use crate::plan::image::shared;
use crate::spec::idmap::{IdMap, IdRange};
use crate::spec::schema::ResourceKind;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::spec::{ZoneName, ZoneSpec};

const CACHE: &str = ".list.cache"; // no zone has a name with a dot in front
const HEADER: &str = "zones list cache 4\n";

/// A file changed so recently may change again without a new time stamp (file systems count time in
/// steps of up to two seconds), so its line is not kept.
const SETTLED: i64 = 2;

/// The data of a zone for `zoneadm list` and for checks between zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Name.
    pub name: ZoneName,
    /// The state on disk; whether the zone runs is for the kernel to say.
    pub state: ZoneState,
    /// Zonepath, tokens expanded; empty when unset.
    pub zonepath: String,
    /// Unique id; empty when there is none.
    pub uuid: String,
    /// Brand.
    pub brand: String,
    /// `shared` or `exclusive`.
    pub ip_type: String,
    /// Whether the host boots it.
    pub autoboot: bool,
    /// Ranges of the `idmap` resources, users and groups; empty for a private range.
    pub idmap: Vec<IdRange>,
    /// ZFS datasets, and whether each is delegated; the others are file systems.
    pub datasets: Vec<(String, bool)>,
    /// Paths of the host below which the zone can make and change names: directories shown to it and not read-only.
    pub shared: Vec<String>,
    /// Why spec or state cannot be read; then the fields above hold the known part.
    pub problem: Option<Problem>,
}

/// Why spec or state of a zone cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The text, with the file.
    pub text: String,
    /// Whether the file was read and makes no sense. Otherwise it is there for others who may read it.
    pub damaged: bool,
}

impl Problem {
    fn new(name: &ZoneName, e: &StoreError) -> Self {
        let text = match e {
            // The texts of the other errors name the file.
            StoreError::Denied => format!("zone '{name}': {e}"),
            _ => e.to_string(),
        };
        Self { text, damaged: matches!(e, StoreError::Invalid(_)) }
    }
}

impl CatalogEntry {
    fn new(name: ZoneName, record: StateRecord) -> Self {
        Self {
            name,
            state: record.state,
            zonepath: String::new(),
            uuid: record.uuid.unwrap_or_default(),
            brand: String::new(),
            ip_type: String::new(),
            autoboot: false,
            idmap: Vec::new(),
            datasets: Vec::new(),
            shared: Vec::new(),
            problem: None,
        }
    }

    /// Returns the known data of a running zone whose spec is gone.
    pub fn lost(name: &ZoneName) -> Self {
        let mut entry = Self::new(name.clone(), StateRecord::NONE);
        let text = format!("zone '{name}' is active, but it has no spec");
        entry.problem = Some(Problem { text, damaged: true });
        entry
    }

    /// Fills in the data of the spec.
    pub fn describe(&mut self, spec: &ZoneSpec) {
        let global = |name| spec.global(name).unwrap_or_default();
        self.zonepath = spec.zonepath().unwrap_or_default();
        self.brand = global("brand");
        self.ip_type = global("ip-type");
        self.autoboot = global("autoboot") == "true";
        if let Some(uuid) = spec.props.text("uuid") {
            uuid.clone_into(&mut self.uuid);
        }
        let fs = spec.stored(ResourceKind::Fs).iter().filter(|fs| fs.text("type") == Some("zfs"));
        let fs = fs.filter_map(|fs| Some((fs.text("special")?.to_owned(), false)));
        self.datasets = dataset::names(spec).into_iter().map(|name| (name, true)).chain(fs).collect();
        self.shared = shared(spec);
        // A map that breaks a rule is verify's matter.
        if let Ok(Some(IdMap { mut uid, gid })) = IdMap::from_spec(spec) {
            uid.extend(gid);
            uid.sort_unstable();
            uid.dedup();
            self.idmap = uid;
        }
    }

    fn line(&self, stamp: Stamps) -> Option<String> {
        let Self { name, state, zonepath, uuid, brand, ip_type, autoboot, idmap, datasets, shared, problem } =
            self;
        let datasets: String =
            datasets.iter().map(|(name, own)| format!("{}{name},", if *own { '+' } else { '-' })).collect();
        let list: String = shared.iter().map(|path| format!("{path},")).collect();
        let texts = [zonepath, uuid, brand, ip_type, &datasets, &list];
        if problem.is_some()
            || shared.iter().any(|path| path.contains(','))
            || texts.iter().any(|t| t.contains(['\t', '\n']))
        {
            return None;
        }
        let mut line = format!("{name}\t{:x}\t{:x}\t{state}\t{autoboot}", stamp.spec, stamp.state);
        for text in texts {
            line.push('\t');
            line.push_str(text);
        }
        line.push('\t');
        for r in idmap {
            let _ = write!(line, "{} {} {},", r.inside, r.outside, r.count);
        }
        Some(line)
    }

    fn parse(name: &ZoneName, fields: &mut std::str::Split<'_, char>) -> Option<Self> {
        let state = StateRecord::state_of_word(fields.next()?)?;
        let autoboot = fields.next()?.parse().ok()?;
        let mut text = || fields.next().map(str::to_owned);
        let (zonepath, uuid, brand, ip_type) = (text()?, text()?, text()?, text()?);
        // No name of a dataset has a comma.
        let names = text()?;
        let datasets = names.split_terminator(',').map(|n| match n.split_at_checked(1) {
            Some(("+", name)) => Some((name.to_owned(), true)),
            Some(("-", name)) => Some((name.to_owned(), false)),
            _ => None,
        });
        let datasets = datasets.collect::<Option<_>>()?;
        let shared = fields.next()?.split_terminator(',').map(str::to_owned).collect();
        let ranges = fields.next()?;
        let mut idmap = Vec::new();
        for range in ranges.split_terminator(',') {
            let mut n = range.split(' ').map(str::parse);
            let (inside, outside, count) = (n.next()?.ok()?, n.next()?.ok()?, n.next()?.ok()?);
            idmap.push(IdRange { inside, outside, count });
        }
        let name = name.clone();
        let problem = None;
        Some(Self { name, state, zonepath, uuid, brand, ip_type, autoboot, idmap, datasets, shared, problem })
    }
}

/// Digests that identify the versions of the two files of a zone; 0 for a missing file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamps {
    spec: u64,
    state: u64,
    /// Whether both files have rested long enough.
    settled: bool,
}

fn digest(stat: &Stat) -> u64 {
    let numbers = [
        stat.st_dev as i64,
        stat.st_ino as i64,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec as i64,
        stat.st_ctime,
        stat.st_ctime_nsec as i64,
        i64::from(stat.st_mode),
    ];
    // Stable between runs and programs, which the hasher of the library does not promise. A multiplication carries
    // each bit upwards only; the rotation brings the upper half back down.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for number in numbers {
        hash = (hash ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
    hash.max(1)
}

impl FileStore {
    /// Returns a summary of every configured zone, sorted by name. A zone whose files cannot be
    /// read is there with its problem.
    ///
    /// # Errors
    /// The folder of the specs cannot be read.
    pub fn catalog(&self) -> Result<Vec<CatalogEntry>, StoreError> {
        let names = self.names_on_disk()?;
        let mut folders = self.lib_names().ok().map(|names| names.into_iter().peekable());
        let specs = self.open_dir(&self.root.spec_dir());
        let lib = self.open_dir(&self.root.lib_dir());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let stamp = |dir: &Option<std::os::fd::OwnedFd>, path: &str| -> (u64, i64) {
            let stat = dir.as_ref().and_then(|d| rustix::fs::statat(d, path, AtFlags::SYMLINK_NOFOLLOW).ok());
            stat.map_or((0, 0), |s| (digest(&s), s.st_ctime))
        };
        let cached = self.read_cache();
        let mut lines = cached.lines().skip(1).peekable();
        let mut entries = Vec::with_capacity(names.len());
        let mut kept: Vec<Cow<'_, str>> = Vec::with_capacity(names.len());
        let mut changed = cached.is_empty();
        let mut path = String::new();
        for name in names {
            path.clear();
            let _ = write!(path, "{name}.toml");
            let (spec, spec_time) = stamp(&specs, &path);
            // Looking for a name that is not there costs more than reading the folder once.
            let has_folder = folders.as_mut().is_none_or(|folders| {
                while folders.next_if(|folder| *folder < name).is_some() {}
                folders.next_if_eq(&name).is_some()
            });
            let (state, state_time) = if has_folder {
                path.clear();
                let _ = write!(path, "{name}/{STATE}");
                stamp(&lib, &path)
            } else {
                (0, 0)
            };
            let settled = spec_time.max(state_time) + SETTLED < now;
            let stamps = Stamps { spec, state, settled };
            // Both are sorted by name: walk them side by side.
            while lines.next_if(|line| name_of(line) < name.as_str()).is_some() {
                changed = true;
            }
            if let Some(line) = lines.next_if(|line| name_of(line) == name.as_str()) {
                if let Some(entry) = from_line(line, &name, stamps) {
                    kept.push(Cow::Borrowed(line));
                    entries.push(entry);
                    continue;
                }
                changed = true;
            }
            let Some(entry) = self.summarize(name, state != 0) else { continue };
            if settled && let Some(line) = entry.line(stamps) {
                changed = true;
                kept.push(Cow::Owned(line));
            }
            entries.push(entry);
        }
        if changed || lines.next().is_some() {
            self.write_cache(&kept);
        }
        Ok(entries)
    }

    /// Returns the summary of one zone, read from its files; none when there is no such zone.
    pub fn entry(&self, name: &ZoneName) -> Option<CatalogEntry> {
        self.summarize(name.clone(), true)
    }

    /// Reads one zone; none when it has just gone. `has_state`: it may have a state file.
    fn summarize(&self, name: ZoneName, has_state: bool) -> Option<CatalogEntry> {
        let record = if has_state {
            StateRecord::read(&self.root.zone_lib(&name).join(STATE))
        } else {
            Ok(StateRecord::NONE)
        };
        let (record, mut problem) = match record {
            Ok(record) => (record, None),
            // The safe guess: nothing is removed or overwritten that may be there.
            Err(e) => {
                (StateRecord { state: ZoneState::Incomplete, uuid: None }, Some(Problem::new(&name, &e)))
            }
        };
        let mut entry = CatalogEntry::new(name, record);
        match self.read_spec(&entry.name) {
            Ok(Some((_, spec))) => entry.describe(&spec),
            Ok(None) => return None,
            Err(e) => problem = Some(Problem::new(&entry.name, &e)),
        }
        entry.problem = problem;
        Some(entry)
    }

    fn open_dir(&self, path: &std::path::Path) -> Option<std::os::fd::OwnedFd> {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    fn read_cache(&self) -> String {
        let bytes = files::read(&self.root.lib_dir().join(CACHE), 1 << 30).ok().flatten().unwrap_or_default();
        String::from_utf8(bytes)
            .ok()
            .filter(|t| t.starts_with(HEADER) && t.ends_with('\n'))
            .unwrap_or_default()
    }

    /// Saves the cache as far as that is possible; who may not, or cannot, does without.
    fn write_cache(&self, lines: &[Cow<'_, str>]) {
        let dir = self.root.lib_dir();
        if !dir.is_dir() && std::fs::create_dir_all(&dir).is_err() {
            return;
        }
        let length = lines.iter().map(|line| line.len() + 1).sum::<usize>();
        let mut text = String::with_capacity(HEADER.len() + length);
        text.push_str(HEADER);
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        // Not synced: after a crash of the host a broken cache is made anew.
        let draft = dir.join(format!("{CACHE}.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&draft)
            .and_then(|mut f| f.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&draft, dir.join(CACHE)));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
    }
}

fn name_of(line: &str) -> &str {
    line.split('\t').next().unwrap_or_default()
}

fn from_line(line: &str, name: &ZoneName, stamps: Stamps) -> Option<CatalogEntry> {
    let mut fields = line.split('\t');
    fields.next()?;
    let mut stamp = || u64::from_str_radix(fields.next()?, 16).ok();
    if stamp()? != stamps.spec || stamp()? != stamps.state {
        return None;
    }
    CatalogEntry::parse(name, &mut fields)
}
