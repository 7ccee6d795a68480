//! File systems of a zone: type, options, source and checker.

use std::fs;
use std::path::{Path, PathBuf};

use super::VerifyReport;
use crate::apply::files::reason;
use crate::apply::zfs::Asker;
use crate::plan::{options, order, zfs};
use crate::spec::Props;
use crate::sys::made;

const NFS_MAGIC: i64 = 0x6969;

/// Where mount and fsck helpers lie.
const HELPERS: [&str; 4] = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"];

pub fn check(resource: &Props, asker: &Asker<'_>, found: &mut VerifyReport) {
    let text = |name| resource.text(name).unwrap_or_default();
    let (dir, special, kind) = (text("dir"), text("special"), text("type"));
    if let Some(what) = order::reserved_fs(dir) {
        found.error(format!(
            "could not verify fs {dir}: the zone's own {what} is mounted there; choose another dir"
        ));
        return;
    }
    if options::is_forbidden(kind) {
        found.error(format!("cannot verify fs {dir}: type {kind} is not allowed."));
        return;
    }
    if let Err(e) = options::parse(kind, resource.list("options")) {
        found.error(format!("could not verify fs {dir}: {e}"));
    }
    if kind == "zfs" {
        let dataset = asker.dataset(special);
        if let Err(e) = zfs::check(dir, special, &dataset) {
            found.error(e.to_string());
        }
        found.seen.insert(special.to_owned(), dataset);
        return;
    }
    let linux = options::linux_type(kind);
    if !matches!(kind, "lofs" | "tmpfs") && !is_known(linux) {
        found.error(format!("could not verify fs {dir}: type {kind} is not known to this kernel"));
    }
    // Linux: there are no raw devices; `raw` asks for a check before the mount, so a disk without it
    // is mounted unchecked, as mount(8) does, and is no error.
    if let Some(raw) = resource.text("raw") {
        if helper("fsck", linux).is_none() {
            found.error(format!(
                "could not verify fs {dir}: could not access /sbin/fsck.{linux}: No such file or directory"
            ));
        }
        if let Err(e) = fs::metadata(raw) {
            found.error(format!("could not verify fs {dir}: could not access {raw}: {}", reason(&e)));
        }
    }
    if matches!(kind, "tmpfs" | "overlay") {
        return;
    }
    match fs::metadata(special) {
        Err(e) => {
            found.error(format!("could not verify fs {dir}: could not access {special}: {}", reason(&e)));
        }
        Ok(_) if rustix::fs::statfs(special).is_ok_and(|s| s.f_type == NFS_MAGIC) => {
            found.error(format!("cannot verify fs {dir}: {special} is on an NFS mounted file system."));
        }
        Ok(_) => {}
    }
}

fn helper(kind: &str, fstype: &str) -> Option<PathBuf> {
    HELPERS.iter().map(|dir| Path::new(dir).join(format!("{kind}.{fstype}"))).find(|p| p.exists())
}

/// Says whether the kernel knows a type, could load it, or has a helper that mounts it.
fn is_known(fstype: &str) -> bool {
    let loaded = made::read("/proc/filesystems").unwrap_or_default();
    if loaded.lines().any(|l| l.split_whitespace().last() == Some(fstype)) {
        return true;
    }
    let release = made::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release.trim());
    let loadable = fs::read_to_string(modules.join("modules.dep")).unwrap_or_default();
    let file = format!("/{fstype}.ko");
    let is_module = |l: &str| l.split(':').next().is_some_and(|path| path.contains(&file));
    loadable.lines().any(is_module) || helper("mount", fstype).is_some()
}
