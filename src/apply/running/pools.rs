//! Cgroups that zones may have beside `zones`, at the top of the hierarchy: one of their own, and one in a pool.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::spec::ZoneName;
use crate::sys::cgroup;

/// How long a listing is good for the next zone: a list of thousands of zones reads once.
const FRESH: Duration = Duration::from_millis(100);

/// The cgroups that were seen.
#[derive(Default)]
struct SeenCgroups {
    /// Names of the cgroups at the top.
    top: Vec<String>,
    /// The cgroups of the second level, by name.
    second: BTreeMap<String, Vec<PathBuf>>,
}

/// Returns the names of the cgroups at the top.
pub(super) fn top(mount: &Path) -> Vec<String> {
    with_seen(mount, |seen| seen.top.clone())
}

/// Returns the cgroups of a name that are in a possible pool.
pub(super) fn groups(mount: &Path, name: &str) -> Vec<PathBuf> {
    with_seen(mount, |seen| seen.second.get(name).cloned().unwrap_or_default())
}

/// Returns the zones that pass a test and whose name with the suffix is that of such a cgroup with a process in it.
pub(super) fn names(mount: &Path, suffix: &str, is_zone: impl Fn(&ZoneName) -> bool) -> Vec<ZoneName> {
    with_seen(mount, |seen| {
        let zone = |name: &str| ZoneName::new(name.strip_suffix(suffix)?).ok().filter(&is_zone);
        let found = seen.second.iter().filter_map(|(name, paths)| Some((zone(name)?, paths)));
        let populated = found.filter(|(_, paths)| paths.iter().any(|p| cgroup::is_populated(p)));
        populated.map(|(name, _)| name).collect()
    })
}

fn with_seen<T>(mount: &Path, read: impl FnOnce(&SeenCgroups) -> T) -> T {
    static LAST: Mutex<Option<(Instant, SeenCgroups)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let old = last.take().filter(|(at, _)| at.elapsed() < FRESH);
    read(&last.insert(old.unwrap_or_else(|| (Instant::now(), read_cgroups(mount)))).1)
}

fn read_cgroups(mount: &Path) -> SeenCgroups {
    let mut seen = SeenCgroups::default();
    let shared = cgroup::children(&mount.join("zones")).is_some();
    if cgroup::children(mount) == Some(u64::from(shared)) {
        return seen;
    }
    for pool in folders(mount).filter(|path| !path.ends_with("zones")) {
        seen.top.extend(pool.file_name().and_then(|n| n.to_str()).map(str::to_owned));
        for group in folders(&pool) {
            if let Some(name) = group.file_name().and_then(|n| n.to_str()) {
                seen.second.entry(name.to_owned()).or_default().push(group);
            }
        }
    }
    seen
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path())
}
