//! Looks at the host, and tries the features that can only be known by trying: a user namespace, and mounts with
//! mapped ids. Both are gone again when the answer is known; the mounts are never attached anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::facts::{Cgroup, HostFacts, Inherited, Layout, Security, UserNamespaces, ZoneStorage};
use super::{look, observe_zfs};
use crate::apply::boot::shared;
use crate::apply::inherit;
use crate::apply::store::FileStore;
use crate::apply::zfs::holding;
use crate::apply::{broker, confine};
use crate::spec::ZoneName;
use crate::spec::schema::ResourceKind;
use crate::spec::store::ZoneStore;
use crate::sys::cgroup;
use crate::sys::mountinfo;
use crate::sys::path::reason;

/// Kinds that every zone has besides a user namespace: the file in `/proc/self/ns`, and the word in the
/// name of its limit.
const KINDS: [&str; 6] = ["mnt", "pid", "uts", "ipc", "net", "cgroup"];

/// The user namespace of the host has this inode in every kernel.
const HOST_USERS: u64 = 0xEFFF_FFFD;

/// Looks at everything. The caller must be single-threaded: a process is made in a new namespace.
pub fn facts(store: &FileStore) -> HostFacts {
    let root = rustix::process::geteuid().is_root();
    let namespace = root.then(shared::users);
    let namespace_fd = namespace.as_ref().and_then(|n| n.as_ref().ok()).map(AsFd::as_fd);
    HostFacts {
        root,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        users: UserNamespaces {
            supported: Path::new("/proc/self/ns/user").exists(),
            max: look::number("/proc/sys/user/max_user_namespaces"),
            inside: fs::metadata("/proc/self/ns/user").is_ok_and(|m| m.ino() != HOST_USERS),
            tried: namespace.as_ref().map(|n| n.as_ref().map(drop).map_err(reason)),
        },
        missing_namespaces: kinds(|kind| !Path::new("/proc/self/ns").join(kind).exists()),
        forbidden_namespaces: kinds(|kind| {
            look::number(format!("/proc/sys/user/max_{kind}_namespaces")) == Some(0)
        }),
        security: security(),
        places: places(store, namespace_fd),
        cgroup: groups(root),
        seccomp: Path::new("/proc/sys/kernel/seccomp")
            .exists()
            .then(|| look::words("/proc/sys/kernel/seccomp/actions_avail")),
        loop_control: Path::new("/dev/loop-control").exists(),
        fuse: Path::new("/dev/fuse").exists(),
        overlay: overlay(),
        foreign_ids: ["subuid", "subgid", "passwd", "group"]
            .iter()
            .flat_map(|file| look::foreign_ids(file, &look::text(format!("/etc/{file}")).unwrap_or_default()))
            .collect(),
        inherited: inherited(store),
        administered: administered(store),
        broker: broker::is_listening(store.root()),
        zfs: observe_zfs::facts(store),
    }
}

/// Directories that the default template inherits, looked at beside those of the zones that there are.
const USUAL: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt"];

fn inherited(store: &FileStore) -> BTreeMap<String, Inherited> {
    let mut dirs: BTreeSet<String> = USUAL.iter().map(|dir| (*dir).to_owned()).collect();
    for name in store.names().unwrap_or_default() {
        let Ok(Some(stored)) = store.load(&name) else { continue };
        let list = stored.spec.stored(ResourceKind::InheritPkgDir).iter();
        dirs.extend(list.filter_map(|resource| resource.text("dir").map(str::to_owned)));
    }
    // A directory behind a link is looked at where it lies.
    let is_dir = |dir: &String| fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir());
    let look = |dir: String| {
        let seen = inherit::search(store.root(), &dir).ok()?;
        Some((dir, Inherited { closed: seen.closed, hidden: seen.hidden }))
    };
    dirs.into_iter().filter(is_dir).filter_map(look).collect()
}

/// Returns the zones that have `admin` resources.
fn administered(store: &FileStore) -> Vec<String> {
    let has = |name: &ZoneName| {
        let stored = store.load(name).ok().flatten();
        stored.is_some_and(|s| !s.spec.stored(ResourceKind::Admin).is_empty())
    };
    let names = store.names().unwrap_or_default();
    names.iter().filter(|name| has(name)).map(ToString::to_string).collect()
}

fn kinds(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    KINDS.into_iter().filter(|kind| wanted(kind)).map(str::to_owned).collect()
}

fn security() -> Security {
    let modules = look::text("/sys/kernel/security/lsm").unwrap_or_default();
    // These modules do not restrict zones.
    let modules = modules.split(',').filter(|m| !matches!(*m, "" | "capability"));
    Security {
        modules: modules.map(str::to_owned).collect(),
        apparmor_restricts: look::number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
            .is_some_and(|n| n != 0),
        selinux: look::number("/sys/fs/selinux/enforce").map(|n| n != 0),
        shows_addresses: shows_addresses(),
    }
}

/// Says whether every process sees the kernel's addresses: where nothing else forbids it, a process that may trace
/// the kernel with perf does.
fn shows_addresses() -> bool {
    let setting = |name: &str| look::text(format!("/proc/sys/kernel/{name}"))?.trim().parse::<i32>().ok();
    setting("kptr_restrict") == Some(0) && setting("perf_event_paranoid").is_some_and(|n| n <= 1)
}

fn groups(root: bool) -> Cgroup {
    let v2 = cgroup::mount_point();
    let v1 = mountinfo::mounts().unwrap_or_default().iter().any(|m| m.kind == "cgroup");
    Cgroup {
        layout: match (&v2, v1) {
            (Some(_), false) => Layout::V2,
            (Some(_), true) => Layout::Hybrid,
            (None, true) => Layout::V1,
            (None, false) => Layout::None,
        },
        controllers: v2.map(|m| look::words(m.join("cgroup.controllers"))).unwrap_or_default(),
        guards_settings: root.then(confine::guards_settings),
        taken: look::v1_controllers(&look::text("/proc/cgroups").unwrap_or_default()),
    }
}

fn overlay() -> bool {
    if look::words("/proc/filesystems").iter().any(|w| w == "overlay") {
        return true;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = Path::new("/lib/modules").join(release);
    look::text(modules.join("modules.dep"))
        .is_some_and(|t| t.lines().any(|l| l.split(':').next().unwrap_or("").contains("/overlay.ko")))
}

/// Where zones lie: the usual folder, that of the state (and of most shared folders), and the zonepaths
/// of configured zones; the first of each file system.
fn places(store: &FileStore, users: Option<std::os::fd::BorrowedFd<'_>>) -> Vec<ZoneStorage> {
    let mut wanted =
        vec![store.root().host_path(Path::new("/zones")), store.root().host_path(Path::new("/var"))];
    let zonepaths = store.catalog().unwrap_or_default().into_iter().map(|e| e.zonepath);
    wanted.extend(zonepaths.filter(|p| !p.is_empty()).map(|p| store.root().host_path(Path::new(&p))));
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for path in wanted {
        let Some(existing) = path.ancestors().find(|p| p.is_dir()) else { continue };
        let Ok(device) = fs::metadata(existing).map(|m| m.dev()) else { continue };
        if seen.contains(&device) {
            continue;
        }
        seen.push(device);
        out.push(place(path.clone(), existing, users));
    }
    out
}

fn place(path: PathBuf, existing: &Path, users: Option<std::os::fd::BorrowedFd<'_>>) -> ZoneStorage {
    let (kind, options) = mount_of(existing);
    let quota_words = ["usrquota", "grpquota", "prjquota", "uquota", "gquota", "pquota", "quota"];
    let quotas = match kind.as_str() {
        "zfs" => Some(true),
        "ext2" | "ext3" | "ext4" | "xfs" | "f2fs" => {
            Some(options.split(',').any(|o| quota_words.contains(&o.split('=').next().unwrap_or(o))))
        }
        _ => None,
    };
    ZoneStorage {
        path,
        idmap: users.map(|users| try_idmap(existing, users).map_err(|e| reason(&e))),
        kind,
        held: holding::of(existing, true),
        quotas,
    }
}

fn try_idmap(directory: &Path, users: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    let fd = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    shared::try_mapping(fd.as_fd(), users)
}

/// Returns the type of the file system of a directory, and its options.
fn mount_of(directory: &Path) -> (String, String) {
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let table = mountinfo::mounts().unwrap_or_default();
    // Of mounts over each other the last one is seen.
    let best =
        table.iter().filter(|m| directory.starts_with(&m.point)).max_by_key(|m| m.point.as_os_str().len());
    let Some(point) = best.map(|m| m.point.clone()) else { return ("unknown".to_owned(), String::new()) };
    let kind = table.iter().rfind(|m| m.point == point).map_or_else(String::new, |m| m.kind.clone());
    let lines = look::text("/proc/self/mounts").unwrap_or_default();
    let options = lines.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let at = fields.nth(1)?;
        (at.replace("\\040", " ") == point.to_string_lossy()).then(|| fields.nth(1).unwrap_or("").to_owned())
    });
    (kind, options.unwrap_or_default())
}
