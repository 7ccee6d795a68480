//! The manifest that `zoneadm detach` leaves in a zonepath: the spec as it was written, comments included, and below
//! it a table about the zone's origin.
//!
//! ```toml
//! format = 1
//! zonepath = "/zones/zion"
//!
//! [detached]
//! zone = "zion"
//! host = "tank"
//! time = 1790000000
//! uuid = "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b"
//! first-id = 1000000000
//! machine = "x86_64"
//! system = "debian 12"
//! ```
//!
//! A manifest may come from anywhere. It is read as a spec is, and the table is only reported: no decision depends
//! on it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FileStore, files};
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::spec::toml::{SIZE_MAX, parse};
use crate::spec::{ZoneName, ZoneSpec};

/// The line that begins the table.
const HEADER: &str = "[detached]";

/// Where a detached zone comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Origin {
    /// The zone's name on the former host.
    pub zone: String,
    /// Name of the host.
    pub host: String,
    /// When it was detached, seconds since the epoch.
    pub time: u64,
    /// Its uuid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// First host id of its private range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_id: Option<u32>,
    /// The processor of the host.
    pub machine: String,
    /// Distribution of the host and its version.
    pub system: String,
}

/// The content of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The spec of the zone.
    pub spec: ZoneSpec,
    /// Its origin; none when a file holds only the spec.
    pub origin: Option<Origin>,
}

#[derive(Serialize, Deserialize)]
struct Table {
    detached: Origin,
}

/// Returns a manifest from the text of a spec.
///
/// # Errors
/// [`StoreError::Io`] when the table cannot be written.
pub fn render(spec: &str, origin: &Origin) -> Result<String, StoreError> {
    let table = ::toml::to_string(&Table { detached: origin.clone() })
        .map_err(|e| StoreError::Io(format!("the manifest cannot be written: {e}")))?;
    let gap = if spec.ends_with('\n') { "\n" } else { "\n\n" };
    Ok(format!("{spec}{gap}{table}"))
}

/// Reads a manifest. Without a zone, the spec gets the name in the manifest.
///
/// # Errors
/// [`StoreError::Invalid`] with line and column of the error.
pub fn read(bytes: &[u8], zone: Option<&ZoneName>, shown: &Path) -> Result<Manifest, StoreError> {
    let invalid = |text: String| StoreError::Invalid(format!("{}:{text}", shown.shown()));
    let (spec, table) = split(bytes);
    let origin = match std::str::from_utf8(table) {
        Ok("") => None,
        Ok(text) => {
            // Lines count from the top of the file.
            let above = spec.iter().filter(|b| **b == b'\n').count();
            let read = ::toml::from_str::<Table>(text);
            let at = |e: &::toml::de::Error| {
                let start = e.span().map_or(0, |s| s.start.min(text.len()));
                let line = above + text[..start].matches('\n').count() + 1;
                format!("{line}:1: {}", e.message().replace('\n', ", "))
            };
            Some(read.map_err(|e| invalid(at(&e)))?.detached)
        }
        Err(_) => return Err(invalid("1:1: not UTF-8".to_owned())),
    };
    let told = origin.as_ref().and_then(|o| ZoneName::new(&o.zone).ok());
    let name = match zone.cloned().or(told) {
        Some(name) => name,
        None => ZoneName::new("detached").map_err(|e| StoreError::Invalid(e.to_string()))?,
    };
    let spec = parse(&name, spec).map_err(|e| invalid(e.to_string()))?;
    Ok(Manifest { spec, origin })
}

/// Splits off the table. It begins at the last line with its header, for a text in the spec may hold such a line
/// too.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut found = None;
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if line.trim_ascii() == HEADER.as_bytes() {
            found = Some(at);
        }
        at += line.len();
    }
    bytes.split_at(found.unwrap_or(bytes.len()))
}

impl FileStore {
    /// Reads a manifest; none when there is none.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn manifest(&self, path: &Path, zone: &ZoneName) -> Result<Option<Manifest>, StoreError> {
        let Some(bytes) = files::read(path, SIZE_MAX)? else { return Ok(None) };
        read(&bytes, Some(zone), path).map(Some)
    }

    /// Returns the text of a zone's spec.
    ///
    /// # Errors
    /// There is no such zone, or the file cannot be read or understood.
    pub fn spec_text(&self, zone: &ZoneName) -> Result<String, StoreError> {
        self.read_spec(zone)?.map(|(text, _)| text).ok_or(StoreError::NoZone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_back() {
        let origin = Origin {
            zone: "zion".into(),
            host: "tank".into(),
            time: 1_790_000_000,
            uuid: Some("64788f65-1b43-47b8-9d4b-17ed5e3a0d2b".into()),
            first_id: Some(1_000_065_536),
            machine: "x86_64".into(),
            system: "debian 12".into(),
        };
        let spec = "# mine\nformat = 1\nzonepath = \"/zones/zion\" # here\n\n[[fs]]\ndir = \"/d\"\n";
        let text = render(spec, &origin).expect("render");
        assert!(text.starts_with(spec), "{text}");
        let found = read(text.as_bytes(), None, Path::new("m")).expect("read");
        assert_eq!((found.spec.name.as_str(), found.origin), ("zion", Some(origin)));
        assert_eq!(found.spec.zonepath().as_deref(), Some("/zones/zion"));
        let neo = ZoneName::new("neo").expect("name");
        assert_eq!(read(text.as_bytes(), Some(&neo), Path::new("m")).expect("read").spec.name, neo);
    }

    #[test]
    fn only_a_spec_and_what_is_not_one() {
        let plain = read(b"format = 1\n", None, Path::new("m")).expect("read");
        assert_eq!(plain.origin, None);
        let wrong = |text: &str| read(text.as_bytes(), None, Path::new("m")).expect_err("wrong").to_string();
        assert!(wrong("format = 1\nx = 1\n[detached]\n").starts_with("m:2:1: unknown property"));
        assert!(wrong("format = 1\n\n[detached]\nzone = \"z\"\nhost = 5\n").starts_with("m:5:1: "));
        assert!(wrong("[detached]\nzone = \"z\"\n").starts_with("m:1:1: "), "no format");
        // A later release may add fields.
        assert!(read(b"format = 1\n[detached]\nmore = 1\n", None, Path::new("m")).is_ok());
    }
}
