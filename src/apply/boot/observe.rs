//! Looks at the machine for what the plan of a boot depends on. Nothing is changed here.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::BootError;
use super::device::matching;
use crate::apply::paths::Root;
use crate::apply::zfs::Asker;
use crate::apply::{Op, dataset};
use crate::plan;
use crate::plan::boot::{Facts, Special, zfs_fs};
use crate::spec::ZoneSpec;
use crate::spec::idmap::IdRange;
use crate::spec::schema::ResourceKind;
use crate::sys::cgroup;
use crate::sys::path::{IN_ROOT, open_beneath, reason};

/// Looks at everything. With `allocate`, a zone without an id range gets one; without, as for a
/// printed plan, a range that has not been given yet shows as one that begins at the first.
///
/// # Errors
/// [`BootError`] when the zone's root or its id map cannot be used.
pub fn facts(op: &Op<'_>, allocate: bool) -> Result<Facts, BootError> {
    let root = zone_root(op.store.root(), op.spec)?;
    let ids = if allocate {
        op.store.id_map(op.name, op.spec)?
    } else {
        op.store
            .known_id_map(op.name, op.spec)?
            .unwrap_or_else(|| crate::spec::idmap::IdMap::private(crate::spec::idmap::PRIVATE_FIRST))
    };
    let lines = |ranges: &[IdRange]| -> String {
        ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect()
    };
    let sparse = !op.spec.stored(ResourceKind::InheritPkgDir).is_empty();
    let mut facts = Facts {
        uid_map: lines(&ids.uid),
        gid_map: lines(&ids.gid),
        host: super::limits::host(op.spec),
        cgroup: cgroup::mount_point().map(|m| group_folder(op, &m)),
        fuse: Path::new("/dev/fuse").exists(),
        own_init: if sparse { None } else { own_init(&root) },
        ..Facts::default()
    };
    for dir in op.spec.stored(ResourceKind::InheritPkgDir).iter().filter_map(|r| r.text("dir")) {
        let inside = root.join(dir.trim_start_matches('/'));
        if fs::symlink_metadata(&inside).is_ok_and(|m| m.is_symlink()) {
            facts.linked.push(dir.to_owned());
        }
    }
    let asker = Asker::new(op.store.root(), op.name);
    for fs in op.spec.stored(ResourceKind::Fs) {
        if let Some((_, dataset)) = zfs_fs(fs) {
            facts.datasets.insert(dataset.to_owned(), asker.dataset(dataset));
        } else if let Some(special) = fs.text("special") {
            facts.specials.insert(special.to_owned(), look_at(special));
        }
    }
    for name in plan::dataset::names(op.spec) {
        let found = dataset::observe::look(&asker, &name);
        facts.delegations.insert(name, found);
    }
    if !facts.delegations.is_empty() {
        facts.claims = dataset::observe::claims(op.store)?;
        facts.control = dataset::observe::control();
    }
    facts.run = op.store.root().zone_run(op.name);
    for pattern in op.spec.stored(ResourceKind::Device).iter().filter_map(|r| r.text("match")) {
        facts.devices.insert(pattern.to_owned(), matching(pattern, &asker));
    }
    facts.net = crate::apply::net::observe::facts(op.store, op.name, op.spec).map_err(BootError::Network)?;
    facts.root = root;
    Ok(facts)
}

/// Returns the folder of the zone's cgroup.
fn group_folder(op: &Op<'_>, mount: &Path) -> PathBuf {
    plan::limits::folder(op.spec, mount, &format!("{}{}", op.name, group_suffix(op.store.root())))
}

/// Returns the host's folder that is the zone's root.
///
/// # Errors
/// [`BootError`] when there is none or it cannot be read.
pub fn zone_root(root: &Root, spec: &ZoneSpec) -> Result<PathBuf, BootError> {
    let path = spec.zonepath().ok_or(BootError::NoZonepath)?;
    let path = root.host_path(Path::new(&path)).join("root");
    match fs::symlink_metadata(&path) {
        Ok(m) if m.is_dir() => Ok(path),
        Ok(_) => Err(BootError::Root { path, why: "it is not a directory".into() }),
        Err(e) => Err(BootError::Root { why: reason(&e), path }),
    }
}

/// Returns what tells the cgroups of this root from those of zones with the same names below another
/// root: nothing for `/`.
pub fn group_suffix(root: &Root) -> String {
    if root.prefix() == Path::new("/") {
        return String::new();
    }
    let mut hasher = DefaultHasher::new();
    root.prefix().hash(&mut hasher);
    format!("@{:08x}", hasher.finish() & 0xffff_ffff)
}

fn look_at(special: &str) -> Special {
    match fs::metadata(special) {
        Ok(m) if m.is_dir() => Special::Dir,
        Ok(m) if m.is_file() => Special::File,
        Ok(m) if m.file_type().is_block_device() => Special::Block,
        Ok(_) => Special::Other,
        Err(e) => Special::Missing(reason(&e)),
    }
}

/// Finds the init of the zone's root, when it has one that can run here.
fn own_init(root: &Path) -> Option<String> {
    let dir = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let name = Path::new("sbin/init");
    let fd = open_beneath(
        std::os::fd::AsFd::as_fd(&dir),
        name,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        IN_ROOT,
    )
    .ok()?;
    let stat = rustix::fs::fstat(&fd).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile;
    if !is_file || stat.st_mode & 0o111 == 0 {
        return None;
    }
    // systemd demands that cgroup v2 is the one hierarchy (systemd 256 and later know no other).
    let target = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let systemd = target.file_name().is_some_and(|n| n == "systemd");
    let unified = cgroup::mount_point().is_some_and(|m| m == Path::new("/sys/fs/cgroup"));
    (!systemd || unified).then(|| "/sbin/init".to_owned())
}
