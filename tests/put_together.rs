//! The mounts of a zone that is put together, and of one that runs, made and taken away by an ordinary user in namespaces
//! of its own. Only what needs more than one id is left to the tests with zones: whose a file is.

#![allow(clippy::disallowed_methods)]

mod ordinary;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use ordinary::Sleeper;
use rustix::mount::{MountFlags, mount_remount};
use zones::apply::boot::error::StepError;
use zones::apply::boot::site::Site;
use zones::apply::rundir::Running;
use zones::plan::options;
use zones::plan::step::{Mount, MountSource, Node};
use zones::spec::idmap::{IdMap, IdRange};
use zones::spec::state::ZoneState;
use zones::sys::mount::MountFd;
use zones::sys::ns::{self, Kinds, Side};
use zones::sys::process::{self, Ended, start_time};

fn main() {
    ordinary::run(&[
        ("a_zone_gets_its_mounts_and_loses_them", a_zone_gets_its_mounts_and_loses_them),
        ("a_root_that_is_none_is_refused", a_root_that_is_none_is_refused),
        ("mount_points_that_lead_elsewhere_are_refused", mount_points_that_lead_elsewhere_are_refused),
        ("sources_that_are_none_are_refused", sources_that_are_none_are_refused),
        ("file_systems_without_mapped_ids", file_systems_without_mapped_ids),
        ("an_inherited_directory_and_its_programs", an_inherited_directory_and_its_programs),
        ("an_inherited_directory_that_is_refused", an_inherited_directory_that_is_refused),
        ("a_zone_that_runs_gets_locked_mounts", a_zone_that_runs_gets_locked_mounts),
        ("a_zone_that_runs_gets_nodes_and_loses_them", a_zone_that_runs_gets_nodes_and_loses_them),
        (
            "nodes_are_refused_where_the_zone_has_changed_its_dev",
            nodes_are_refused_where_the_zone_has_changed_its_dev,
        ),
    ]);
}

/// A zone's root on memory, over which a site is begun.
struct World {
    host: BorrowedFd<'static>,
    zone: OwnedFd,
    site: Site<'static>,
    _users: Sleeper,
}

const ROOT: &str = "/tmp/root";

fn only_id() -> IdMap {
    let one = vec![IdRange { inside: 0, outside: 0, count: 1 }];
    IdMap { uid: one.clone(), gid: one }
}

impl World {
    /// Begins a zone that has no root yet.
    fn begun() -> Self {
        for dir in ["/run/zones", ROOT] {
            folder(dir);
        }
        let host: &'static OwnedFd = Box::leak(Box::new(ns::open_own("mnt").expect("a namespace")));
        let mut site = Site::building((0, 0), only_id());
        let zone = site.begin(host.as_fd(), Path::new("/run/zones"), || ns::open_own("mnt"));
        let users = Sleeper::start(Kinds::USER, || {});
        site.map_to(users.namespace("user"));
        let zone = zone.expect("a place for the zone").expect("a namespace");
        Self { host: host.as_fd(), zone, site, _users: users }
    }

    fn new() -> Self {
        let mut world = Self::begun();
        world.site.mount_root(Path::new(ROOT)).expect("a root");
        world
    }

    /// Does something among the zone's mounts.
    fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        ns::join(self.zone.as_fd(), Kinds::MOUNT).expect("the zone's");
        let done = work();
        ns::join(self.host, Kinds::MOUNT).expect("the host's");
        done
    }

    /// Returns the mounts of the zone, by mount point: type and attributes.
    fn mounts(&self) -> BTreeMap<String, String> {
        let mounts = self.inside(table);
        let of_zone = |(point, rest): (String, String)| {
            let point = point.strip_prefix("/root")?;
            Some((if point.is_empty() { "/" } else { point }.to_owned(), rest))
        };
        mounts.into_iter().filter_map(of_zone).collect()
    }

    /// Does something with the zone, which must fail, and changes neither mounts of the zone nor of the host.
    fn refused(&mut self, work: impl FnOnce(&mut Site<'static>) -> Result<(), StepError>) -> String {
        let before = (self.mounts(), table());
        let error = work(&mut self.site).expect_err("it must be refused");
        assert_eq!((self.mounts(), table()), before, "{error}");
        error.to_string()
    }
}

/// Returns the mounts of this process, by mount point: type and attributes.
fn table() -> Vec<(String, String)> {
    entries(&fs::read_to_string("/proc/self/mountinfo").expect("mounts"))
}

fn entries(text: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = words.iter().position(|w| *w == "-").map(|at| words[at + 1]).expect("a type");
        let attributes: Vec<&str> = words[5].split(',').filter(|w| *w != "relatime").collect();
        (words[4].to_owned(), format!("{kind} {}", attributes.join(",")))
    };
    text.lines().map(entry).collect()
}

fn folder(path: &str) {
    fs::create_dir_all(path).unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn file(path: &str, text: &str) {
    folder(Path::new(path).parent().and_then(Path::to_str).expect("a folder"));
    fs::write(path, text).unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn mount(kind: &str, special: &str, dir: &str, words: &str) -> Mount {
    let source = match kind {
        "lofs" => MountSource::Bind,
        "tmpfs" => MountSource::Tmpfs,
        _ => MountSource::Device,
    };
    Mount {
        dir: dir.into(),
        special: special.into(),
        within: None,
        raw: None,
        fstype: kind.into(),
        source,
        options: options::parse(kind, words.split(' ').filter(|w| !w.is_empty())).expect("known options"),
    }
}

fn shared(special: &str, dir: &str, words: &str) -> Mount {
    mount("lofs", special, dir, words)
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(point, rest)| ((*point).to_owned(), (*rest).to_owned())).collect()
}

fn a_zone_gets_its_mounts_and_loses_them() {
    file("/tmp/shared/below/file", "of the host\n");
    file("/tmp/one", "a file\n");
    folder("/tmp/shared/more");
    ordinary::memory("/tmp/shared/more").expect("mounted");
    folder("/tmp/root/there");
    let mut world = World::begun();
    let before = table();
    assert_eq!(world.mounts(), pairs(&[]));
    world.site.mount_root(Path::new(ROOT)).expect("a root");
    world.site.memory("/run", 0o750, 1).expect("memory");
    world.site.fs(&mount("tmpfs", "swap", "/run/more/memory", "size=64k noexec")).expect("memory in it");
    world.site.fs(&shared("/tmp/shared", "/there", "ro")).expect("a folder with what is mounted below");
    world.site.fs(&shared("/tmp/shared", "/new/way", "nosub noatime nosuid")).expect("a folder alone");
    world.site.fs(&shared("/tmp/one", "/new/one", "devices")).expect("a file");
    assert_eq!(table(), before, "the host has none of it");
    let all = [
        ("/", "tmpfs rw,nodev,idmapped"),
        ("/new/one", "tmpfs rw,idmapped"),
        ("/new/way", "tmpfs rw,nosuid,nodev,noatime,idmapped"),
        ("/run", "tmpfs rw,nosuid,nodev"),
        ("/run/more/memory", "tmpfs rw,nodev,noexec"),
        ("/there", "tmpfs ro,nodev,idmapped"),
        ("/there/more", "tmpfs ro,nodev,idmapped"),
    ];
    assert_eq!(world.mounts(), pairs(&all));
    world.inside(|| {
        let mode = |path: &str| fs::metadata(path).expect(path).permissions().mode() & 0o7777;
        assert_eq!(mode("/root/run"), 0o750);
        assert_eq!(mode("/root/run/more"), 0o755, "made on the way");
        assert_eq!(fs::read_to_string("/root/there/below/file").expect("a file"), "of the host\n");
        assert_eq!(fs::read_to_string("/root/new/one").expect("a file"), "a file\n");
        fs::write("/root/there/below/file", "").expect_err("it is read-only");
        fs::write("/root/new/way/below/file", "of the zone\n").expect("it can be written to");
        assert!(fs::write("/root/run/more/memory/x", vec![0; 100_000]).is_err(), "more than it holds");
    });
    assert_eq!(fs::read_to_string("/tmp/shared/below/file").expect("a file"), "of the zone\n");

    // Each is taken away alone, and what is gone cannot be taken away.
    let order = ["/there", "/run/more/memory", "/new/way", "/new/one", "/run"];
    let mut left = pairs(&all);
    for dir in order {
        world.site.unmount(Path::new(dir)).unwrap_or_else(|e| panic!("{dir}: {e}"));
        left.retain(|point, _| point != dir && !point.starts_with(&format!("{dir}/")));
        assert_eq!(world.mounts(), left, "{dir}");
        world.site.unmount(Path::new(dir)).expect_err(dir);
        assert_eq!(world.mounts(), left, "{dir}");
    }
    for nothing in ["/never/made", "/new", "/"] {
        world.site.unmount(Path::new(nothing)).expect_err(nothing);
        assert_eq!(world.mounts(), left, "{nothing}");
    }
    assert!(Path::new("/tmp/root/new/one").is_file(), "what a mount was made on stays");
    assert_eq!(table(), before);
}

fn a_root_that_is_none_is_refused() {
    file("/tmp/file", "");
    symlink(ROOT, "/tmp/link").expect("a link");
    let mut world = World::begun();
    for path in ["/tmp/file", "/tmp/link", "/tmp/none"] {
        let text = world.refused(|site| site.mount_root(Path::new(path)));
        assert!(text.starts_with(&format!("root {path}: cannot open it: ")), "{text}");
    }
    let host_dir = world.refused(|site| site.mount_root(Path::new("/usr/bin")));
    assert!(
        host_dir.starts_with("root /usr/bin: its file system cannot map ids on this kernel: "),
        "{host_dir}"
    );
    // A plan that makes no namespaces before.
    let mut early = Site::building((0, 0), only_id());
    let before = table();
    let text = early.mount_root(Path::new(ROOT)).expect_err("too early").to_string();
    assert_eq!(text, "root /tmp/root: cannot mount it: the plan makes no namespaces before it");
    assert_eq!(table(), before);
    world.site.mount_root(Path::new(ROOT)).expect("all that was wrong is gone");
}

fn mount_points_that_lead_elsewhere_are_refused() {
    folder("/tmp/shared");
    file("/tmp/one", "");
    file("/tmp/root/file", "");
    folder("/tmp/root/dir");
    folder("/tmp/root/closed");
    folder("/tmp/outside");
    for (target, name) in [("/dir", "link"), ("../../tmp/outside", "out"), ("loop", "loop")] {
        symlink(target, format!("{ROOT}/{name}")).expect("a link");
    }
    let mut world = World::new();
    world.site.fs(&mount("tmpfs", "swap", "/closed", "ro")).expect("memory");
    let before = tree();
    for (dir, why) in [
        ("/link", "mount point /link is a symbolic link to /dir in the zone; use dir=/dir"),
        ("/link/a/b", "mount point /link is a symbolic link to /dir in the zone; use dir=/dir/a/b"),
        (
            "/out/x",
            "mount point /out is a symbolic link to ../../tmp/outside in the zone; use dir=/tmp/outside/x",
        ),
        (
            "/loop",
            "mount point /loop is a symbolic link to loop in the zone; choose a dir without links on its way",
        ),
        ("/file", "mount point /file is not a directory"),
        (
            "/closed/new",
            "mount point /closed/new does not exist, and it lies in a directory that is read-only there; make it on \
             the host, or choose another dir",
        ),
    ] {
        for wanted in [shared("/tmp/shared", dir, "ro"), mount("tmpfs", "swap", dir, "")] {
            let text = world.refused(|site| site.fs(&wanted));
            assert_eq!(text, format!("fs {dir}: {why}"), "{}", wanted.fstype);
        }
        // Without the way out, which is a property of the resource.
        let text = world.refused(|site| site.memory(dir, 0o755, 1));
        let why = why.split("; use dir").next().and_then(|w| w.split("; choose a dir").next());
        assert_eq!(text, format!("{dir}: {}", why.expect("a text")));
        assert!(world.site.unmount(Path::new(dir)).is_err(), "{dir}");
    }
    for dir in ["/file/x", "/dir/../new", "/../new"] {
        let text = world.refused(|site| site.fs(&shared("/tmp/shared", dir, "")));
        assert!(text.starts_with(&format!("fs {dir}: mount point {dir}: ")), "{text}");
    }
    let text = world.refused(|site| site.fs(&shared("/tmp/one", "/dir", "")));
    assert_eq!(text, "fs /dir: mount point /dir is a directory and the source is none");
    assert_eq!(tree(), before, "nothing was made on a way that was refused");
}

/// Returns the names in the zone's root and in the folder beside it.
fn tree() -> Vec<String> {
    let mut list = Vec::new();
    for top in [ROOT, "/tmp/root/dir", "/tmp/outside"] {
        let names = fs::read_dir(top).expect(top).flatten().map(|e| e.path().display().to_string());
        list.extend(names);
    }
    list.sort();
    list
}

fn sources_that_are_none_are_refused() {
    file("/tmp/root/of-the-zone", "");
    file("/tmp/text", "no file system");
    folder("/tmp/dir");
    let mut world = World::new();
    let image = |special: &str| Mount { source: MountSource::Image, ..mount("ext4", special, "/data", "") };
    let odd = |kind: &str, option: &str| {
        let data = vec![(option.to_owned(), Some("odd".to_owned()))];
        let plain = mount(kind, "/tmp/text", "/data", "");
        Mount { options: options::MountOptions { data, ..plain.options.clone() }, ..plain }
    };
    let listed = [
        (shared("/tmp/none", "/data", ""), "could not access /tmp/none: "),
        (shared("/tmp/text/x", "/data", ""), "could not access /tmp/text/x: "),
        (odd("tmpfs", "nosuch"), "cannot mount tmpfs: option 'nosuch=odd' is not understood ("),
        (odd("tmpfs", "size"), "cannot mount tmpfs: option 'size=odd' is not understood ("),
        (odd("tmpfs", "uid"), "option 'uid=odd' names no id of the zone; give a number that its ids have"),
        (mount("tmpfs", "swap", "/data", "uid=1"), "option 'uid=1' names no id of the zone; give a number"),
        (image("/tmp/none"), "cannot open /tmp/none: "),
        (image("/tmp/dir"), "cannot open /tmp/dir: "),
        (
            Mount {
                options: options::parse("ext4", ["ro"].into_iter()).expect("known"),
                ..image("/tmp/dir")
            },
            "/tmp/dir is not an image file any more",
        ),
        (image("/tmp/text"), "cannot make a loop device for /tmp/text: "),
        (mount("nosuchfs", "/tmp/text", "/data", ""), "this kernel has no file system 'nosuchfs'"),
    ];
    for (wanted, why) in listed {
        let text = world.refused(|site| site.fs(&wanted));
        assert!(text.starts_with(&format!("fs /data: {why}")), "{text}");
        assert!(!Path::new("/tmp/root/data").exists(), "{text}");
    }
}

fn file_systems_without_mapped_ids() {
    // A user cannot map the ids of the host's own file systems.
    file("/tmp/shared/file", "");
    folder("/tmp/shared/programs");
    folder("/tmp/shared/z");
    bind("/usr/bin", "/tmp/shared/programs");
    let kind = table().into_iter().rev().find(|(p, _)| p == "/tmp/shared/programs").expect("mounted").1;
    let kind = kind.split(' ').next().expect("a type").to_owned();
    let mut world = World::new();
    let text = world.refused(|site| site.fs(&shared("/usr/bin", "/data", "nosub")));
    assert!(text.starts_with("fs /data: ") && text.ends_with(&format!(
        " cannot be shared: its file system ({kind}) cannot map ids on this kernel; 'add options ro' shares it \
         read-only, its files as those of nobody"
    )), "{text}");
    assert!(!Path::new("/tmp/root/data").exists());
    world.site.fs(&shared("/usr/bin", "/data", "nosub ro")).expect("read-only");
    assert_eq!(world.site.warnings, Vec::<String>::new());
    assert_eq!(world.mounts().get("/data").map(String::as_str), Some(&*format!("{kind} ro,nosuid,nodev")));

    // Below a directory that can, it is covered.
    world.site.fs(&shared("/tmp/shared", "/both", "")).expect("all but what is mounted there");
    let warning = format!(
        "fs /both: /tmp/shared/programs is mounted there and cannot be shared: its file system ({kind}) cannot map ids \
         on this kernel; the zone sees an empty directory"
    );
    assert_eq!(world.site.warnings, [warning]);
    let mounts = world.mounts();
    assert_eq!(mounts.get("/both").map(String::as_str), Some("tmpfs rw,nodev,idmapped"));
    let cover = Some("tmpfs ro,nosuid,nodev,noexec");
    assert_eq!(mounts.get("/both/programs").map(String::as_str), cover);
    world.inside(|| {
        assert_eq!(fs::read_dir("/root/both/programs").expect("a folder").count(), 0);
        assert!(Path::new("/root/both/file").exists());
    });
    for dir in ["/both", "/data"] {
        world.site.unmount(Path::new(dir)).expect(dir);
    }
    assert_eq!(world.mounts(), pairs(&[("/", "tmpfs rw,nodev,idmapped")]));
}

/// Shows a directory at another place, as the host may have done.
fn bind(from: &str, to: &str) {
    let open =
        |path: &str| rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).expect(path);
    MountFd::copy(open(from).as_fd(), false).and_then(|tree| tree.attach(open(to).as_fd())).expect(to);
}

/// A directory with programs, two of which run with rights of their own.
fn programs(dir: &str) -> Vec<String> {
    for (name, mode) in [("su", 0o4755), ("in/ping", 0o6755), ("in/closed", 0o4711), ("plain", 0o755)] {
        let path = format!("{dir}/{name}");
        file(&path, "#!\n");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    }
    folder(&format!("{dir}/folder"));
    symlink("su", format!("{dir}/link")).expect("a link");
    ["su", "in/ping", "in/closed", "folder", "link", "gone", "none/gone"].map(str::to_owned).to_vec()
}

fn an_inherited_directory_and_its_programs() {
    let listed = programs("/tmp/pkg");
    let world = World::new();
    let before = table();
    for (list, attributes) in [(None, "tmpfs ro,nosuid,nodev"), (Some(&[][..]), "tmpfs ro,nodev")] {
        world.site.inherit("/tmp/pkg", list).expect("a directory");
        let mounts = world.mounts();
        assert_eq!(mounts.len(), 2, "{mounts:?}");
        assert_eq!(mounts.get("/tmp/pkg").map(String::as_str), Some(attributes));
        world.site.unmount(Path::new("/tmp/pkg")).expect("unmounted");
    }
    // A program that is gone, or none any more, is passed over, and so is one that others may not read.
    world.site.inherit("/tmp/pkg", Some(&listed)).expect("a directory with programs");
    let mut all = vec![
        ("/", "tmpfs rw,nodev,idmapped"),
        ("/tmp/pkg", "tmpfs ro,nodev"),
        ("/tmp/pkg/in/ping", "tmpfs ro,nodev,idmapped"),
        ("/tmp/pkg/su", "tmpfs ro,nodev,idmapped"),
    ];
    assert_eq!(world.mounts(), pairs(&all));
    assert_eq!(table(), before, "the host has none of it");
    world.inside(|| fs::write("/root/tmp/pkg/su", "").expect_err("read-only"));
    world.site.unmount(Path::new("/tmp/pkg")).expect("unmounted, programs too");
    all.truncate(1);
    assert_eq!(world.mounts(), pairs(&all));
}

fn an_inherited_directory_that_is_refused() {
    programs("/tmp/pkg");
    folder("/tmp/file");
    folder("/tmp/way/pkg");
    file("/tmp/root/tmp/file", "");
    symlink("/elsewhere", "/tmp/root/tmp/way").expect("a link");
    let mut world = World::new();
    for dir in ["/tmp/none", "/tmp/pkg/su"] {
        let text = world.refused(|site| site.inherit(dir, None));
        assert!(text.starts_with(&format!("inherit-pkg-dir {dir}: cannot open it: ")), "{text}");
    }
    let text = world.refused(|site| site.inherit("/tmp/file", None));
    assert_eq!(text, "inherit-pkg-dir /tmp/file: mount point /tmp/file is not a directory");
    let text = world.refused(|site| site.inherit("/tmp/way/pkg", None));
    let why = "mount point /tmp/way is a symbolic link to /elsewhere in the zone";
    assert_eq!(text, format!("inherit-pkg-dir /tmp/way/pkg: {why}"));
    assert!(!Path::new("/tmp/root/elsewhere").exists());
    // Programs of a file system that cannot map ids: their directory is there by then, and ends with the namespaces.
    let error = world.site.inherit("/usr/bin", Some(&["su".to_owned()])).expect_err("it cannot map ids");
    let text = error.to_string();
    let why = "inherit-pkg-dir /usr/bin: its file system cannot map ids on this kernel: ";
    let way_out = "with setuid=false it is mounted without its programs";
    assert!(text.starts_with(why) && text.ends_with(way_out), "{text}");
    let attributes = world.mounts().remove("/usr/bin").expect("mounted");
    assert!(attributes.ends_with(" ro,nodev"), "{attributes}");
}

/// Says whether root of a zone can take an attribute of a mount away.
fn can_be_made_writable(zone: &Sleeper, point: &str) -> bool {
    let (users, mounts) = (zone.namespace("user"), zone.namespace("mnt"));
    let Side::Parent(pid, _) = ns::fork().expect("a process") else {
        let joined =
            ns::join(users.as_fd(), Kinds::USER).and_then(|()| ns::join(mounts.as_fd(), Kinds::MOUNT));
        let done = joined.is_ok() && mount_remount(point, MountFlags::BIND, "").is_ok();
        process::exit_now(if joined.is_err() { 2 } else { i32::from(!done) })
    };
    match process::wait(pid).expect("it ends") {
        Ended::Exit(0) => true,
        Ended::Exit(1) => false,
        other => panic!("the zone cannot be joined: {other:?}"),
    }
}

fn a_zone_that_runs_gets_locked_mounts() {
    file("/tmp/shared/file", "of the host\n");
    folder("/tmp/zone/dir");
    file("/tmp/zone/file", "");
    symlink("/tmp/zone/dir", "/tmp/zone/link").expect("a link");
    let zone = Sleeper::start(Kinds::USER | Kinds::MOUNT, || {
        ordinary::memory("/run").expect("mounted");
    });
    let record = record_of(&zone);
    let mounts = || {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", zone.pid)).expect("it lives");
        let of_zone =
            |(point, rest): (String, String)| Some((point.strip_prefix("/tmp/zone")?.to_owned(), rest));
        entries(&text).into_iter().filter_map(of_zone).collect::<BTreeMap<_, _>>()
    };
    let before = table();
    let mut site = Site::running(&record).expect("it runs");
    site.memory("/tmp/zone/dir", 0o700, 1).expect("memory");
    site.fs(&shared("/tmp/shared", "/tmp/zone/new/way", "ro")).expect("a folder");
    site.fs(&shared("/tmp/shared/file", "/tmp/zone/file", "nosuid noexec")).expect("a file");
    let all = [
        ("/dir", "tmpfs rw,nosuid,nodev"),
        ("/file", "tmpfs rw,nosuid,nodev,noexec,idmapped"),
        ("/new/way", "tmpfs ro,nodev,idmapped"),
    ];
    assert_eq!(mounts(), pairs(&all));
    assert_eq!(table(), before, "the host has none of it");
    assert!(!can_be_made_writable(&zone, "/tmp/zone/new/way"));
    assert!(can_be_made_writable(&zone, "/run"), "its own memory is not locked");
    for (dir, why) in [
        (
            "/tmp/zone/link",
            "mount point /tmp/zone/link is a symbolic link to /tmp/zone/dir in the zone; use dir=/tmp/zone/dir",
        ),
        ("/tmp/zone/file/x", "mount point /tmp/zone/file/x: not a directory"),
    ] {
        let text = site.fs(&shared("/tmp/shared", dir, "")).expect_err(dir).to_string();
        assert_eq!(text.to_lowercase(), format!("fs {dir}: {why}"));
        assert_eq!(mounts(), pairs(&all));
        site.unmount(Path::new(dir)).expect_err(dir);
        assert_eq!(mounts(), pairs(&all));
    }
    let mut left = pairs(&all);
    for dir in ["/new/way", "/file", "/dir"] {
        let path = format!("/tmp/zone{dir}");
        site.unmount(Path::new(&path)).expect(dir);
        left.remove(dir);
        assert_eq!(mounts(), left, "{dir}");
        site.unmount(Path::new(&path)).expect_err(dir);
    }
    assert_eq!(table(), before);
    drop(site);
    let other = Running { init_start: record.init_start + 1, ..record.clone() };
    assert!(Site::running(&other).is_err(), "its process id has gone to another");
    drop(zone);
    assert!(Site::running(&record).is_err(), "it has ended");
}

fn record_of(zone: &Sleeper) -> Running {
    Running {
        id: 1,
        state: ZoneState::Running,
        init: zone.pid,
        init_start: start_time(zone.pid).expect("it lives"),
        supervisor: 0,
        supervisor_start: 0,
        stop_reason: None,
        announced: None,
        cgroup: None,
        links: None,
    }
}

/// A node that needs no right: the kernel lets everybody make the character device 0:0, which leads to no driver.
fn node(path: &str) -> Node {
    Node { path: path.into(), block: false, major: 0, minor: 0, mode: 0o640 }
}

/// Starts a zone with a `/dev` as a boot makes it, and with what `more` does in it.
fn zone_with_dev(more: impl FnOnce()) -> Sleeper {
    Sleeper::start(Kinds::USER | Kinds::MOUNT, || {
        ordinary::memory("/dev").expect("mounted");
        fs::write("/dev/.zonename", "zion").expect("the mark of the boot");
        more();
    })
}

/// Returns what lies in the `/dev` of a zone, below its mark: kind and permission bits, or the target of a link.
fn devices(zone: &Sleeper) -> BTreeMap<String, String> {
    let top = format!("/proc/{}/root/dev", zone.pid);
    let mut found = BTreeMap::new();
    let mut open = vec![top.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a folder").flatten() {
            let (path, meta) = (entry.path().display().to_string(), entry.metadata().expect("it is there"));
            let name = path[top.len() + 1..].to_owned();
            let kind = match meta.file_type() {
                t if t.is_char_device() => format!("char {:x}", meta.rdev()),
                t if t.is_dir() => "dir".to_owned(),
                t if t.is_file() => "file".to_owned(),
                _ => "other".to_owned(),
            };
            if meta.is_dir() {
                open.push(path);
            }
            found.insert(name, format!("{kind} {:o}", meta.mode() & 0o7777));
        }
    }
    found.remove(".zonename");
    found
}

fn a_zone_that_runs_gets_nodes_and_loses_them() {
    let zone = zone_with_dev(|| fs::write("/dev/taken", "").expect("a file"));
    let site = Site::running(&record_of(&zone)).expect("it runs");
    site.node(&node("one")).expect("a node");
    site.node(&node("zvol/tank/vol")).expect("a node in folders of its own");
    site.node(&node("zvol/tank/other")).expect("a node in folders that are there");
    let mut all = pairs(&[
        ("one", "char 0 640"),
        ("taken", "file 644"),
        ("zvol", "dir 755"),
        ("zvol/tank", "dir 755"),
        ("zvol/tank/other", "char 0 640"),
        ("zvol/tank/vol", "char 0 640"),
    ]);
    assert_eq!(devices(&zone), all);
    for (path, why) in [("one", "File exists"), ("taken", "File exists"), ("one/x", "Not a directory")] {
        let text = site.node(&node(path)).expect_err(path).to_string();
        assert!(text.starts_with(&format!("device: cannot make /dev/{path}: {why}")), "{text}");
        assert_eq!(devices(&zone), all, "{path}");
    }
    // A device that an ordinary user may not make: its folder is made before, and stays.
    let null = Node { major: 1, minor: 3, ..node("more/null") };
    let text = site.node(&null).expect_err("no right to it").to_string();
    assert!(text.starts_with("device: cannot make /dev/more/null: Operation not permitted"), "{text}");
    all.insert("more".to_owned(), "dir 755".to_owned());
    assert_eq!(devices(&zone), all);

    for path in ["zvol/tank/vol", "one"] {
        site.remove_node(&node(path)).expect(path);
        all.remove(path);
        assert_eq!(devices(&zone), all);
        site.remove_node(&node(path)).expect("it is gone already");
    }
    site.remove_node(&node("never/made")).expect("it is gone already");
    for (path, other) in
        [("taken", node("taken")), ("zvol/tank/other", Node { minor: 1, ..node("zvol/tank/other") })]
    {
        let text = site.remove_node(&other).expect_err(path).to_string();
        assert_eq!(text, format!("device: cannot remove /dev/{path}: the zone has put something else there"));
        assert_eq!(devices(&zone), all);
    }
}

fn nodes_are_refused_where_the_zone_has_changed_its_dev() {
    folder("/tmp/shared");
    let refused = |zone: &Sleeper, path: &str| {
        let before = devices(zone);
        let site = Site::running(&record_of(zone)).expect("it runs");
        let (made, removed) = (site.node(&node(path)), site.remove_node(&node(path)));
        assert_eq!(devices(zone), before, "{path}");
        let text = |done: Result<(), StepError>| done.expect_err(path).to_string();
        (text(made), text(removed))
    };
    // The zone shows a directory of the host in place of its /dev, or takes the mark away.
    let not_ours = ": /dev is not the one of the zone's boot, or has no .zonename any more";
    let covered = zone_with_dev(|| bind("/tmp/shared", "/dev"));
    let unmarked = zone_with_dev(|| fs::remove_file("/dev/.zonename").expect("removed"));
    let unmounted = Sleeper::start(Kinds::USER | Kinds::MOUNT, || {
        ordinary::memory("/dev").expect("mounted");
        ordinary::memory("/tmp/shared").expect("mounted");
        fs::write("/tmp/shared/.zonename", "zion").expect("a mark on another file system");
        fs::write("/dev/.zonename", "").expect("a file to mount it on");
        bind("/tmp/shared/.zonename", "/dev/.zonename");
    });
    for zone in [&covered, &unmarked, &unmounted] {
        let (made, removed) = refused(zone, "one");
        assert_eq!(made, format!("device: cannot make /dev/one{not_ours}"));
        assert_eq!(removed, format!("device: cannot remove /dev/one{not_ours}"));
    }
    assert_eq!(fs::read_dir("/tmp/shared").expect("a folder").count(), 0, "the host's has no node");

    // Links and mounts on the way.
    let on_the_way = zone_with_dev(|| {
        symlink("/tmp/shared", "/dev/link").expect("a link");
        folder("/dev/mounted/dir");
        bind("/tmp/shared", "/dev/mounted");
    });
    let (made, _) = refused(&on_the_way, "link/one");
    assert!(made.starts_with("device: cannot make /dev/link/one: "), "{made}");
    let (made, removed) = refused(&on_the_way, "mounted/one");
    let why = ": the zone has mounted another file system on the way";
    assert_eq!(made, format!("device: cannot make /dev/mounted/one{why}"));
    assert_eq!(removed, format!("device: cannot remove /dev/mounted/one{why}"));
    assert_eq!(fs::read_dir("/tmp/shared").expect("a folder").count(), 0, "the host's has no node");
}
