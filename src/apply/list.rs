//! `zoneadm list`: which zones there are, and the forms in which they are printed.
//!
//! Order: the zones that the kernel knows, the host first, then by id; then the others by name.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use super::net::follow;
use super::paths::Root;
use super::running;
use super::store::{CatalogEntry, FileStore, Problem};
use super::zfs::storage::RootLookup;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::spec::{ZoneName, schema};

/// Which zones are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `-c`: every state.
    pub configured: bool,
    /// `-i`: also installed ones.
    pub installed: bool,
    /// `-n`: not the host itself.
    pub no_global: bool,
    /// `-z`: this zone alone, whatever its state.
    pub only: Option<ZoneName>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// One name per line.
    #[default]
    Names,
    /// `-v`: the table for people.
    Table,
    /// `-p`: the stable colon form for programs.
    Colons,
    /// `--json`: an array of objects.
    Json,
}

/// One zone of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number of an active zone; 0 for the host.
    pub id: Option<u32>,
    /// Name.
    pub name: String,
    /// State, as it is now.
    pub state: ZoneState,
    /// Zonepath.
    pub path: String,
    /// Unique id, empty when there is none.
    pub uuid: String,
    /// Brand.
    pub brand: String,
    /// `shared` or `exclusive`.
    pub ip_type: String,
    /// Whether the host boots it.
    pub autoboot: bool,
    /// Whether it runs and may use links of the host, which [`Listing::links`] then looks at.
    pub may_have_links: bool,
    /// Why spec or state cannot be read; then the fields above hold the known part.
    pub problem: Option<Problem>,
}

/// The word in place of the state of a zone that does not run and whose files make no sense.
pub const DAMAGED: &str = "damaged";

/// The result of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The zones, in order.
    pub rows: Vec<Row>,
}

impl Listing {
    /// Returns the changes of the host's links that running zones of the listing use.
    pub fn links(&self, root: &Root) -> Vec<String> {
        let running = self.rows.iter().filter(|row| row.may_have_links);
        let zones = running.filter_map(|row| ZoneName::new(&row.name).ok());
        zones.flat_map(|zone| follow::link_warnings(root, &zone)).collect()
    }

    /// Returns what could not be read, each with its file.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(|row| Some(row.problem.as_ref()?.text.as_str()))
    }
}

impl Row {
    /// Returns the row of the host itself.
    pub fn global() -> Self {
        Self {
            id: Some(0),
            name: "global".to_owned(),
            state: ZoneState::Running,
            path: "/".to_owned(),
            uuid: String::new(),
            brand: default_of("brand").to_owned(),
            ip_type: "shared".to_owned(),
            autoboot: false,
            may_have_links: false,
            problem: None,
        }
    }

    /// Returns the row of the zone that this very process is in.
    pub fn inside(name: &ZoneName) -> Self {
        Self { id: None, name: name.to_string(), ..Self::global() }
    }

    fn of(roots: &mut RootLookup<'_>, entry: CatalogEntry, active: Option<&running::Running>) -> Self {
        let CatalogEntry {
            name,
            state,
            zonepath,
            uuid,
            brand,
            ip_type,
            autoboot,
            idmap: _,
            datasets: _,
            shared: _,
            problem,
        } = entry;
        Self {
            // A zone that is known from the kernel alone has no number yet.
            id: active.map(|r| r.id).filter(|id| *id != 0),
            name: name.to_string(),
            state: active.map_or_else(|| stored(roots, state, &zonepath), |r| r.state),
            path: zonepath,
            uuid,
            brand: if brand.is_empty() { default_of("brand").to_owned() } else { brand },
            ip_type: if ip_type.is_empty() { default_of("ip-type").to_owned() } else { ip_type },
            autoboot,
            may_have_links: active.is_some_and(|running| running.links != Some(0)),
            problem,
        }
    }

    /// Returns the word for the state. The kernel decides whether a zone runs, whatever its files say.
    pub fn status(&self) -> &'static str {
        let damaged = self.problem.as_ref().is_some_and(|p| p.damaged);
        if damaged && !self.state.is_active() { DAMAGED } else { self.state.as_str() }
    }

    fn short_ip_type(&self) -> &str {
        if self.ip_type == "exclusive" { "excl" } else { "shared" }
    }
}

/// Returns the state of a zone that does not run: an installed one is unavailable while its files are not there.
fn stored(roots: &mut RootLookup<'_>, state: ZoneState, zonepath: &str) -> ZoneState {
    let mut missing = || !zonepath.is_empty() && roots.is_missing(Path::new(zonepath));
    if state == ZoneState::Installed && missing() { ZoneState::Unavailable } else { state }
}

fn default_of(name: &str) -> &'static str {
    schema::global(name).and_then(|d| d.default).unwrap_or_default()
}

/// Collects the zones of a listing.
///
/// # Errors
/// The folder of the specs cannot be read, or the one zone that is asked for does not exist.
pub fn list(store: &FileStore, wanted: &Selection) -> Result<Listing, StoreError> {
    let mut out = Listing::default();
    let mut roots = RootLookup::new(store.root());
    let mut take = |entry: CatalogEntry, active: Option<&running::Running>| {
        out.rows.push(Row::of(&mut roots, entry, active));
    };
    if let Some(name) = &wanted.only {
        if name.is_global() {
            return Ok(Listing { rows: vec![Row::global()] });
        }
        let active = running::find(store.root(), name);
        match store.entry(name) {
            Some(entry) => take(entry, active.as_ref()),
            None if active.is_some() => take(CatalogEntry::lost(name), active.as_ref()),
            None => return Err(StoreError::NoZone),
        }
        return Ok(out);
    }
    let active = running::all(store.root());
    if wanted.configured || wanted.installed {
        let catalog = store.catalog()?;
        let order: HashMap<&ZoneName, usize> = active.iter().enumerate().map(|(i, (n, _))| (n, i)).collect();
        let mut first: Vec<Option<CatalogEntry>> = vec![None; active.len()];
        let mut rest = Vec::with_capacity(catalog.len());
        for entry in catalog {
            match order.get(&entry.name) {
                Some(i) => first[*i] = Some(entry),
                None if wanted.configured || may_be_installed(&entry) => rest.push(entry),
                None => {}
            }
        }
        for ((name, r), entry) in active.iter().zip(first) {
            take(entry.unwrap_or_else(|| CatalogEntry::lost(name)), Some(r));
        }
        for entry in rest {
            take(entry, None);
        }
    } else {
        for (name, r) in &active {
            take(store.entry(name).unwrap_or_else(|| CatalogEntry::lost(name)), Some(r));
        }
    }
    if !wanted.no_global {
        out.rows.insert(0, Row::global());
    }
    Ok(out)
}

/// A state that cannot be read may be that of an installed zone.
fn may_be_installed(entry: &CatalogEntry) -> bool {
    entry.state == ZoneState::Installed || entry.problem.is_some() && entry.state == ZoneState::Incomplete
}

/// Finds a running zone by the number that `list` shows.
pub fn by_id(store: &FileStore, id: u32) -> Option<ZoneName> {
    running::all(store.root()).into_iter().find(|(_, r)| r.id == id).map(|(name, _)| name)
}

/// Finds a zone by the operand of `-z`: a name, else the number of a running zone.
///
/// # Errors
/// The store cannot be read.
pub fn find(store: &FileStore, text: &str) -> Result<Option<ZoneName>, StoreError> {
    if let Ok(name) = ZoneName::new(text)
        && store.exists(&name)?
    {
        return Ok(Some(name));
    }
    let id: Option<u32> = text.parse().ok();
    Ok(match id {
        Some(0) => ZoneName::new("global").ok(),
        Some(id) => by_id(store, id),
        None => None,
    })
}

/// Prints a listing.
///
/// # Errors
/// Those of the stream.
pub fn print(rows: &[Row], format: ListFormat, out: &mut dyn Write) -> io::Result<()> {
    match format {
        ListFormat::Names => rows.iter().try_for_each(|r| writeln!(out, "{}", r.name)),
        ListFormat::Table => {
            let line = |out: &mut dyn Write, f: [&str; 6]| {
                let [id, name, state, path, brand, ip] = f;
                writeln!(out, "{id:>4} {name:<16} {state:<10} {path:<30} {brand:<8} {ip:<6}")
            };
            line(out, ["ID", "NAME", "STATUS", "PATH", "BRAND", "IP"])?;
            rows.iter().try_for_each(|r| {
                // Each column has a word: a script that splits at blanks still finds its column.
                let path = if r.path.is_empty() { "-" } else { &r.path };
                line(out, [&id(r), &r.name, r.status(), path, &r.brand, r.short_ip_type()])
            })
        }
        ListFormat::Colons => rows.iter().try_for_each(|r| {
            let path = r.path.replace(':', "\\:");
            let (id, name, state, uuid) = (id(r), &r.name, r.status(), &r.uuid);
            writeln!(out, "{id}:{name}:{state}:{path}:{uuid}:{}:{}", r.brand, r.short_ip_type())
        }),
        ListFormat::Json => {
            out.write_all(b"[")?;
            for (i, r) in rows.iter().enumerate() {
                let uuid = (!r.uuid.is_empty()).then_some(&r.uuid);
                let object = serde_json::json!({
                    "id": r.id,
                    "name": r.name,
                    "state": r.status(),
                    "zonepath": r.path,
                    "uuid": uuid,
                    "brand": r.brand,
                    "ip-type": r.ip_type,
                    "autoboot": r.autoboot,
                    "problem": r.problem.as_ref().map(|p| &p.text),
                });
                write!(out, "{}\n  {object}", if i == 0 { "" } else { "," })?;
            }
            out.write_all(if rows.is_empty() { b"]\n" } else { b"\n]\n" })
        }
    }
}

fn id(row: &Row) -> String {
    row.id.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let zion = Row {
            id: Some(3),
            name: "zion".into(),
            path: "/zones/zion".into(),
            uuid: "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b".into(),
            ..Row::global()
        };
        let morpheus = Row {
            id: None,
            name: "morpheus".into(),
            state: ZoneState::Installed,
            path: "/zones/with:colon".into(),
            uuid: String::new(),
            ip_type: "exclusive".into(),
            ..zion.clone()
        };
        let long = Row {
            name: "a-name-that-is-longer-than-its-column".into(),
            state: ZoneState::ShuttingDown,
            ..zion.clone()
        };
        vec![Row::global(), zion, long, morpheus]
    }

    fn printed(rows: &[Row], format: ListFormat) -> String {
        let mut out = Vec::new();
        print(rows, format, &mut out).expect("memory takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn table() {
        let wanted = [
            "  ID NAME             STATUS     PATH                           BRAND    IP    ",
            "   0 global           running    /                              linux    shared",
            "   3 zion             running    /zones/zion                    linux    shared",
            "   3 a-name-that-is-longer-than-its-column shutting_down /zones/zion                    linux    shared",
            "   - morpheus         installed  /zones/with:colon              linux    excl  ",
            "",
        ];
        assert_eq!(printed(&rows(), ListFormat::Table), wanted.join("\n"));
    }

    #[test]
    fn colons_and_names() {
        let rows = rows();
        let wanted = [
            "0:global:running:/::linux:shared",
            "3:zion:running:/zones/zion:64788f65-1b43-47b8-9d4b-17ed5e3a0d2b:linux:shared",
            "3:a-name-that-is-longer-than-its-column:shutting_down:/zones/zion:64788f65-1b43-47b8-9d4b-17ed5e3a0d2b:linux:shared",
            "-:morpheus:installed:/zones/with\\:colon::linux:excl",
            "",
        ];
        assert_eq!(printed(&rows, ListFormat::Colons), wanted.join("\n"));
        assert_eq!(printed(&rows[..2], ListFormat::Names), "global\nzion\n");
    }

    #[test]
    fn json() {
        let value: serde_json::Value =
            serde_json::from_str(&printed(&rows(), ListFormat::Json)).expect("json");
        assert_eq!(value.as_array().map(Vec::len), Some(4));
        assert_eq!(value[3]["state"], "installed");
        assert!(value[3]["id"].is_null() && value[3]["uuid"].is_null());
        assert_eq!(value[3]["ip-type"], "exclusive");
        assert_eq!(value[2]["state"], "shutting_down");
        assert_eq!(printed(&[], ListFormat::Json), "[]\n");
    }
}
