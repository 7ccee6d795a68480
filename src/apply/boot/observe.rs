//! Collects the facts that the plan of a boot depends on. Nothing is changed here.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::BootError;
use super::device::matching;
use super::source::{self, SourceLocation, Tops};
use super::start::first_host_id;
use crate::apply::etc::hostname;
use crate::apply::net::{Probe, resolver};
use crate::apply::paths::{Root, group_suffix};
use crate::apply::store::first_choice;
use crate::apply::zfs::Asker;
use crate::apply::{Op, dataset, inherit};
use crate::plan;
use crate::plan::boot::{BootFacts, Special, zfs_fs};
use crate::plan::dataset::DatasetLookup;
use crate::plan::net::NetFacts;
use crate::plan::profile::Profile;
use crate::plan::spl::{self, Spl};
use crate::spec::idmap::{IdMap, IdRange};
use crate::spec::schema::ResourceKind;
use crate::spec::shown::Show;
use crate::spec::store::ZoneStore;
use crate::spec::{Props, ZoneSpec};
use crate::sys::cgroup;
use crate::sys::path::{IN_ROOT, STRICT, open_beneath, reason};

/// Collects all facts. With `allocate`, a zone without an id range gets one; without, as for a printed plan, a range
/// that has not been given yet shows as the first one that may be.
///
/// # Errors
/// [`BootError`] when the zone's root or its id map cannot be used.
pub fn facts(op: &Op<'_>, allocate: bool) -> Result<BootFacts, BootError> {
    all_but_network(op, allocate, network(op)?)
}

/// The same for a boot: asks on the wire which machines have the zone's addresses before it collects the rest, so
/// that the answers come meanwhile.
///
/// # Errors
/// As [`facts`].
pub fn facts_and_answers(op: &Op<'_>) -> Result<(BootFacts, Probe), BootError> {
    let net = network(op)?;
    // An error is ignored here: the planner reports it.
    let links = plan::net::plan(op.spec, &net).map_or_else(|_| Vec::new(), |network| network.links);
    let asked = Probe::begin(&links).map_err(BootError::Network)?;
    Ok((all_but_network(op, true, net)?, asked))
}

fn network(op: &Op<'_>) -> Result<NetFacts, BootError> {
    crate::apply::net::observe::facts(op.store, op.name, op.spec).map_err(BootError::Network)
}

/// Looks at everything but the network.
fn all_but_network(op: &Op<'_>, allocate: bool, net: NetFacts) -> Result<BootFacts, BootError> {
    let root = zone_root(op.store.root(), op.spec)?;
    let ids = if allocate {
        op.store.id_map(op.name, op.spec)?
    } else {
        op.store
            .known_id_map(op.name, op.spec)?
            .unwrap_or_else(|| IdMap::private(first_choice(op.store.root())))
    };
    let lines = |ranges: &[IdRange]| -> String {
        ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect()
    };
    let sparse = !op.spec.stored(ResourceKind::InheritPkgDir).is_empty();
    let init = if sparse { RootInit::None } else { root_init(&root) };
    let mut facts = BootFacts {
        foreign_brand: op.spec.global("brand").filter(|brand| !op.store.runs_brand(brand)),
        uid_map: lines(&ids.uid),
        gid_map: lines(&ids.gid),
        host: super::limits::host(op.spec),
        cgroup: cgroup::mount_point().map(|m| group_folder(op, &m)),
        guards_settings: crate::apply::confine::guards_settings(),
        spl: spl(),
        kernel: crate::apply::confine::kernel(),
        fuse: Path::new("/dev/fuse").exists(),
        hostname: hostname::of(&root),
        named: resolver::has_named(&op.store.root().zone_lib(op.name)),
        own_init: matches!(init, RootInit::Own(_)).then(|| "/sbin/init".to_owned()),
        idle_systemd: init == RootInit::IdleSystemd,
        net,
        ..BootFacts::default()
    };
    for resource in op.spec.stored(ResourceKind::InheritPkgDir) {
        let Some(dir) = resource.text("dir") else { continue };
        let inside = root.join(dir.trim_start_matches('/'));
        if fs::symlink_metadata(&inside).is_ok_and(|m| m.is_symlink()) {
            facts.linked.push(dir.to_owned());
        } else if plan::inherit::runs_set_id(resource) {
            facts.programs.insert(dir.to_owned(), inherit::programs(op.store.root(), dir, op.lock().is_ok()));
        }
    }
    if let Ok(Some(profile)) = Profile::of(op.spec) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(top) = rustix::fs::open(&root, flags, Mode::empty()) {
            let open = |dir: &str| {
                let below = Path::new(dir.trim_start_matches('/'));
                open_beneath(std::os::fd::AsFd::as_fd(&top), below, flags, Mode::empty(), STRICT)
            };
            facts.present.extend(profile.optional().filter(|d| open(d).is_ok()).map(str::to_owned));
        }
    }
    let asker = Asker::new(op.store.root(), op.name);
    let others: Vec<&Props> =
        op.spec.stored(ResourceKind::Fs).iter().filter(|fs| zfs_fs(fs).is_none()).collect();
    let paths = others.iter().flat_map(|fs| fs.text("special").into_iter().chain(other_paths(fs)));
    let tops = Tops::of(op, paths)?;
    for fs in op.spec.stored(ResourceKind::Fs) {
        if let Some((_, dataset)) = zfs_fs(fs) {
            let seen = op.seen.get(dataset).cloned();
            facts.datasets.insert(dataset.to_owned(), seen.unwrap_or_else(|| asker.dataset(dataset)));
            continue;
        }
        if let Some(special) = fs.text("special") {
            let found = match tops.place(special) {
                SourceLocation::Host => look_at(special),
                SourceLocation::Zone(root) => {
                    let found = source::look_at(special, &root);
                    facts.within.insert(special.to_owned(), root);
                    found
                }
                SourceLocation::Link(root) => Special::Missing(format!(
                    "it leads by a link into {}; name it by that path",
                    root.shown()
                )),
            };
            facts.specials.insert(special.to_owned(), found);
        }
        let in_zones = other_paths(fs).filter(|path| tops.place(path) != SourceLocation::Host);
        facts.in_zones.extend(in_zones.map(str::to_owned));
    }
    datasets(op, &asker, &mut facts)?;
    facts.run = op.store.root().zone_run(op.name);
    for pattern in op.spec.stored(ResourceKind::Device).iter().filter_map(|r| r.text("match")) {
        facts.devices.insert(pattern.to_owned(), matching(pattern, &asker));
    }
    if !facts.devices.is_empty() || !plan::dataset::names(op.spec).is_empty() {
        facts.control = dataset::observe::control();
    }
    facts.root = root;
    Ok(facts)
}

/// Finds out which users can read `/proc/spl`.
pub fn spl() -> Spl {
    let Ok(meta) = fs::metadata(Path::new("/proc").join(spl::FOLDER)) else { return Spl::Absent };
    let closed = meta.mode() & 0o007 == 0 && meta.uid() == 0 && meta.gid() == 0;
    if closed { Spl::Closed } else { Spl::Open }
}

/// Returns the folder of the zone's cgroup.
fn group_folder(op: &Op<'_>, mount: &Path) -> PathBuf {
    plan::limits::folder(op.spec, mount, &format!("{}{}", op.name, group_suffix(op.store.root())))
}

/// Looks at the datasets that are to be delegated.
fn datasets(op: &Op<'_>, asker: &Asker<'_>, facts: &mut BootFacts) -> Result<(), BootError> {
    let names = plan::dataset::names(op.spec);
    if names.is_empty() && facts.datasets.is_empty() {
        return Ok(());
    }
    let record = dataset::record::read(op.store.root(), op.name);
    let root = first_host_id(&facts.uid_map).unwrap_or_default();
    for name in names {
        let mut found = dataset::observe::look_up(asker, &name, &plan::dataset::locks(op.spec, &name));
        facts.notes.extend(record.differences(&found));
        if let DatasetLookup::Filesystem(tree) = &mut found {
            record.mark(root, tree);
        }
        facts.delegations.insert(name, found);
    }
    let mounted = dataset::observe::any_mounted(facts.delegations.values());
    facts.claims = dataset::observe::claims(op.store, mounted)?;
    Ok(())
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

/// Returns the paths of an `fs` resource, beside its source, that the host opens by name.
fn other_paths(fs: &Props) -> impl Iterator<Item = &str> {
    let options = fs.list("options").flat_map(|o| o.split([',', '=', ':'])).filter(|o| o.starts_with('/'));
    fs.text("raw").into_iter().chain(options)
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

/// The init of a zone's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootInit {
    /// There is none that can be executed.
    None,
    /// There is one that can run here; the name of its program.
    Own(String),
    /// It is systemd, and this host has not the one hierarchy of control groups that it needs.
    IdleSystemd,
}

/// Finds the init of a zone's root.
pub fn root_init(root: &Path) -> RootInit {
    let Some(target) = init_program(root) else { return RootInit::None };
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // systemd demands that cgroup v2 is the one hierarchy (systemd 256 and later know no other).
    let unified = cgroup::mount_point().is_some_and(|m| m == Path::new("/sys/fs/cgroup"));
    if name == "systemd" && !unified { RootInit::IdleSystemd } else { RootInit::Own(name) }
}

/// Returns where `/sbin/init` of a root leads, when that is a program.
fn init_program(root: &Path) -> Option<PathBuf> {
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
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}
