//! The paths of all files and folders that the programs use, all below the alternate root (see ARCHITECTURE.md).

use std::path::{Path, PathBuf};

use crate::spec::ZoneName;
use crate::spec::name::below;
use crate::sys::stable_hash::StableHash;

/// The root below which specs, states and run-time files live: `-R`, else `ZONES_ROOT`, else `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    prefix: PathBuf,
}

impl Root {
    /// Returns the given root, else the value of `ZONES_ROOT`, else `/`.
    pub fn new(given: Option<&Path>) -> Self {
        let env = || std::env::var_os("ZONES_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
        let prefix = given.map(Path::to_owned).or_else(env).unwrap_or_else(|| PathBuf::from("/"));
        Self { prefix }
    }

    /// Returns the prefix itself.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Puts an absolute path of a spec (a zonepath) below the root.
    pub fn host_path(&self, path: &Path) -> PathBuf {
        below(&self.prefix, path)
    }

    /// Folder of the specs.
    pub fn spec_dir(&self) -> PathBuf {
        self.prefix.join("etc/zones.d")
    }

    /// Spec of a zone.
    pub fn spec_file(&self, zone: &ZoneName) -> PathBuf {
        self.spec_dir().join(format!("{zone}.toml"))
    }

    /// Folder of installed templates.
    pub fn template_dir(&self) -> PathBuf {
        self.prefix.join("usr/share/zones/zones.d")
    }

    /// Folder of what outlives a boot, all zones.
    pub fn lib_dir(&self) -> PathBuf {
        self.prefix.join("var/lib/zones")
    }

    /// Folder of what outlives a boot, one zone: state, uuid, id range, journal, revisions.
    pub fn zone_lib(&self, zone: &ZoneName) -> PathBuf {
        self.lib_dir().join(zone.as_str())
    }

    /// Folder of the files that do not outlive a boot, all zones.
    pub fn run_dir(&self) -> PathBuf {
        self.prefix.join("run/zones")
    }

    /// Folder of the files that do not outlive a boot, one zone: sockets, the spec as booted, the record of the
    /// running zone.
    pub fn zone_run(&self, zone: &ZoneName) -> PathBuf {
        self.run_dir().join(zone.as_str())
    }

    /// Lock of the commands that start a supervisor for a zone that has lost its own.
    pub fn adopt_lock(&self, zone: &ZoneName) -> PathBuf {
        self.run_dir().join(format!(".adopt.{zone}"))
    }
}

/// Returns the suffix that distinguishes the cgroups of this root from those of zones with the same names below
/// another root: nothing for `/`.
pub fn group_suffix(root: &Root) -> String {
    if root.prefix() == Path::new("/") {
        return String::new();
    }
    format!("@{:08x}", StableHash::new().path(root.prefix()).finish() & 0xffff_ffff)
}

/// Returns a path below the alternate root as the mount table has it.
pub fn real_path(root: &Root, path: &Path) -> PathBuf {
    match (path.strip_prefix(root.prefix()), std::fs::canonicalize(root.prefix())) {
        (Ok(rest), Ok(prefix)) => prefix.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_keep_their_names_from_release_to_release() {
        let suffix = |root: &str| group_suffix(&Root::new(Some(Path::new(root))));
        // As release 0.1.0 has them: its zones run on while the programs are replaced.
        assert_eq!(suffix("/"), "");
        assert_eq!(suffix("/alt"), "@c8d89852");
        assert_eq!(suffix("/alt/"), "@c8d89852");
        assert_eq!(suffix("/tmp/x"), "@923175b8");
    }
}
