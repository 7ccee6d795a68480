//! Looks at ZFS: the installed release, its datasets, and other programs that act on them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::facts::ZfsOnHost;
use super::look;
use crate::apply::store::FileStore;
use crate::spec::schema::ResourceKind;
use crate::spec::store::ZoneStore;
use crate::zfs::{Dataset, PropertySource, Zfs};

const CACHES: &str = "/etc/zfs/zfs-list.cache";
/// Where drop-ins for our units may lie.
const UNIT_FOLDERS: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// Looks at everything.
pub fn facts(store: &FileStore) -> ZfsOnHost {
    let mut facts = ZfsOnHost {
        module: look::text("/sys/module/zfs/version"),
        program: program(),
        ..ZfsOnHost::default()
    };
    facts.private_users = drop_ins();
    if facts.module.is_none() {
        return facts;
    }
    facts.spl = crate::apply::boot::observe::spl();
    facts.device_mode = fs::metadata("/dev/zfs").ok().map(|m| m.permissions().mode() & 0o7777);
    facts.mount_units = mount_units();
    facts.delegated = delegated(store);
    match Zfs::open() {
        Err(e) => facts.device_trouble = Some(crate::apply::zfs::chain(&e)),
        Ok(zfs) => {
            facts.library_trouble = zfs.library_trouble().map(str::to_owned);
            match zoned(&zfs) {
                Ok(names) => facts.zoned = names,
                Err(e) => facts.list_trouble = Some(e),
            }
        }
    }
    facts
}

/// Returns the release of the `zfs` command.
fn program() -> Option<String> {
    // The command itself is asked: sparse zones run it, and no library reports its release.
    #[allow(clippy::disallowed_methods)]
    let done = Command::new("zfs")
        .arg("version")
        .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        // Without the module, releases before 2.4 wait ten seconds for it.
        .env("ZFS_MODULE_TIMEOUT", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&done.stdout);
    text.lines()
        .find_map(|l| l.trim().strip_prefix("zfs-").filter(|l| !l.starts_with("kmod")))
        .map(str::to_owned)
}

/// Returns the datasets on which `zoned` is set, in the order of their names.
fn zoned(zfs: &Zfs) -> Result<Vec<String>, String> {
    let pools = zfs.pools().map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    let mut look = |dataset: &Dataset| {
        let here = matches!(dataset.source("zoned"), PropertySource::Local | PropertySource::Received);
        if dataset.zoned() && here {
            found.push(dataset.name.clone());
        }
        // Below it all is the zone's.
        !dataset.zoned()
    };
    for pool in pools.keys() {
        // A pool that is suspended or being exported answers with an error; the others still count.
        let Ok(top) = zfs.dataset(pool) else { continue };
        let mut todo = if look(&top) { vec![top.name] } else { Vec::new() };
        while let Some(parent) = todo.pop() {
            for child in zfs.children(&parent) {
                let child = child.map_err(|e| e.to_string())?;
                if look(&child) {
                    todo.push(child.name);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the datasets that configured zones have.
fn delegated(store: &FileStore) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in store.catalog().unwrap_or_default() {
        // A spec that cannot be read is for verify to complain about.
        let Ok(Some(stored)) = store.load(&entry.name) else { continue };
        for dataset in stored.spec.stored(ResourceKind::Dataset).iter().filter_map(|d| d.text("name")) {
            found.insert(dataset.to_owned(), entry.name.to_string());
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

fn mount_units() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for file in files(Path::new(CACHES)) {
        for name in look::cached_names(&look::text(&file).unwrap_or_default()) {
            found.insert(name, file.clone());
        }
    }
    found
}

fn drop_ins() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in UNIT_FOLDERS.map(Path::new) {
        let units = ["zones.service", "zone@.service", "zones-broker.service"];
        let mut candidates: Vec<_> = units.iter().map(|unit| folder.join(unit)).collect();
        for drop_in in ["zones.service.d", "zone@.service.d", "zones-broker.service.d", "service.d"] {
            candidates.extend(files(&folder.join(drop_in)));
        }
        found.extend(
            candidates.into_iter().filter(|f| look::text(f).is_some_and(|t| look::has_private_users(&t))),
        );
    }
    found
}
