//! Templates: of the host's folder, else the ones built in, so that `create` works without an
//! installation.

use std::fs;
use std::path::{Path, PathBuf};

use super::{FileStore, list};
use crate::spec::schema::ResourceKind;
use crate::spec::store::StoreError;
use crate::spec::{ZoneName, ZoneSpec, toml};

/// The templates and examples of the repository's `zones.d`, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("blank", include_str!("../../../zones.d/blank.toml")),
    ("database", include_str!("../../../zones.d/database.toml")),
    ("default", include_str!("../../../zones.d/default.toml")),
    ("delegated", include_str!("../../../zones.d/delegated.toml")),
    ("solaris", include_str!("../../../zones.d/solaris.toml")),
    ("untrusted", include_str!("../../../zones.d/untrusted.toml")),
    ("webserver", include_str!("../../../zones.d/webserver.toml")),
];

impl FileStore {
    /// Returns the names of the templates, sorted.
    ///
    /// # Errors
    /// The folder of the templates cannot be read.
    pub fn template_names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = list(&self.root.template_dir(), |f| f.strip_suffix(".toml").map(str::to_owned))?;
        names.extend(BUILT_IN.iter().map(|(n, _)| (*n).to_owned()));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    pub(super) fn find_template(&self, name: &str, zone: &ZoneName) -> Result<Option<ZoneSpec>, StoreError> {
        // The name becomes a file name, so it must be a valid name of a zone.
        if ZoneName::new(name).is_err() {
            return Ok(None);
        }
        let path = self.root.template_dir().join(format!("{name}.toml"));
        let mut spec = match self.read_spec_file(&path, zone)? {
            Some((_, spec)) => spec,
            None => {
                let Some((_, text)) = BUILT_IN.iter().find(|(n, _)| *n == name) else { return Ok(None) };
                toml::parse(zone, text.as_bytes())
                    .map_err(|e| StoreError::Invalid(format!("built-in template {name}:{e}")))?
            }
        };
        suit_host(&mut spec);
        Ok(Some(spec))
    }
}

/// Drops from a sparse root directories that this host does not have, and links into directories that are shared
/// anyway (`/bin` is `/usr/bin` on most hosts).
fn suit_host(spec: &mut ZoneSpec) {
    let shared: Vec<PathBuf> = spec
        .stored(ResourceKind::InheritPkgDir)
        .iter()
        .filter_map(|r| r.text("dir").map(PathBuf::from))
        .collect();
    let useful = |dir: &Path| {
        let Ok(meta) = fs::symlink_metadata(dir) else { return false };
        if !meta.is_symlink() {
            return meta.is_dir();
        }
        let Ok(target) = fs::canonicalize(dir) else { return false };
        target.is_dir() && !shared.iter().any(|other| other != dir && target.starts_with(other))
    };
    spec.stored_mut(ResourceKind::InheritPkgDir)
        .retain(|r| r.text("dir").is_some_and(|d| useful(Path::new(d))));
    spec.tidy();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::verify::{HostKnows, verify};

    #[test]
    fn every_template_reads() {
        let zone = ZoneName::new("zion").expect("a good name");
        for (name, text) in BUILT_IN {
            let spec = toml::parse(&zone, text.as_bytes()).unwrap_or_else(|e| panic!("{name}:{e}"));
            let path = spec.zonepath();
            let wanted = if *name == "blank" { None } else { Some("/zones/zion") };
            assert_eq!(path.as_deref(), wanted, "{name}");
            let findings: Vec<_> =
                verify(&spec, &HostKnows { is_user: &|_| true, runs_brand: &|b| b == "linux" })
                    .into_iter()
                    .map(|f| f.text)
                    .collect();
            let expected: &[&str] = if *name == "blank" { &["zonepath not specified"] } else { &[] };
            assert_eq!(findings, expected, "{name}");
        }
    }

    #[test]
    fn the_list_is_the_folder() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/zones.d");
        let mut files: Vec<_> = fs::read_dir(dir)
            .expect("zones.d")
            .map(|e| e.expect("entry").file_name().to_string_lossy().trim_end_matches(".toml").to_owned())
            .collect();
        files.sort();
        assert_eq!(files, BUILT_IN.iter().map(|(n, _)| *n).collect::<Vec<_>>());
    }
}
