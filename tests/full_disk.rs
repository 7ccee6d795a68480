//! Commands that free space must never need any: each command that ends or removes something, while one of the file
//! systems that it works on is full or read-only.
//!
//! Each file system is a small one in memory, mounted in a mount namespace of the test's own.

mod lab;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{Lab, Run, record};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// A file system of the lab, below its root.
const PLACES: [&str; 4] = ["etc", "var", "run", "zones"];

/// Its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No block and no inode is left.
    Full,
    /// No block is left: files can be made, and nothing written.
    Blocks,
    /// No inode is left: no file can be made, and those that are there can be written.
    Inodes,
    ReadOnly,
}

impl Fault {
    /// Returns the faults that one line of a table stands for.
    fn each(self) -> &'static [Self] {
        if self == Full { &[Full, Blocks, Inodes] } else { &[ReadOnly] }
    }
}

/// What a command does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It works.
    Works,
    /// It fails, nothing is lost, and its message has these words.
    Refuses(&'static str),
}

use Fault::{Blocks, Full, Inodes, ReadOnly};
use Outcome::{Refuses, Works};

struct World {
    lab: Lab,
}

impl World {
    fn new() -> Option<Self> {
        let lab = Lab::new()?;
        // For this thread and what it starts.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        for place in PLACES {
            let path = lab.path().join(place);
            fs::create_dir_all(&path).expect("a folder");
            let options = if place == "zones" { "size=48m,mode=755" } else { "size=3m,mode=755" };
            mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("a tmpfs");
        }
        Some(Self { lab })
    }

    fn path(&self, place: &str) -> PathBuf {
        self.lab.path().join(place)
    }

    /// Puts an empty file system in the place of `run`, as after a boot of the host.
    fn renew_run(&self) {
        let path = self.path("run");
        umount2(&path, MntFlags::MNT_DETACH).expect("unmounted");
        let options = Some("size=3m,mode=755");
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), options).expect("a tmpfs");
    }

    /// Fills a file system to the last byte or the last inode, or makes it read-only.
    fn harm(&self, place: &str, fault: Fault) {
        let path = self.path(place);
        let none: Option<&str> = None;
        if fault == ReadOnly {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            // A process that has just ended may still have a file open for writing.
            let start = Instant::now();
            while let Err(e) = mount(none, &path, none, flags, none) {
                assert!(start.elapsed() < Duration::from_secs(20), "{place} does not become read-only: {e}");
                std::thread::sleep(Duration::from_millis(5));
            }
            return;
        }
        if fault != Inodes {
            fill(&path);
        }
        let options = format!("nr_inodes={}", count(&path) + 1);
        let options = Some(options.as_str());
        if fault != Blocks && mount(none, &path, none, MsFlags::MS_REMOUNT, options).is_ok() {
            while fs::File::create_new(path.join(format!("fill.{}", count(&path)))).is_ok() {}
        }
        assert!(fs::write(path.join("fill.more"), "x").is_err(), "{place} is full");
    }

    fn mend(&self, place: &str) {
        let path = self.path(place);
        let none: Option<&str> = None;
        let _ = mount(none, &path, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, none);
        let _ = mount(none, &path, none, MsFlags::MS_REMOUNT, Some("nr_inodes=0"));
        for entry in fs::read_dir(&path).expect("a folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("fill") {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    fn run(&self, command: &[&str]) -> Run {
        self.lab.run(command[0], &command[1..])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for place in PLACES {
            self.mend(place);
        }
        for zone in ["z", "half"] {
            self.lab.run("zoneadm", &["-z", zone, "halt"]);
        }
        for place in PLACES {
            let _ = umount2(&self.path(place), MntFlags::MNT_DETACH);
        }
    }
}

fn fill(path: &Path) {
    // It may have no inode left.
    let Ok(mut file) = fs::File::create(path.join("fill")) else { return };
    for size in [65536, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Counts the files and folders of a file system.
fn count(path: &Path) -> usize {
    let inner =
        |e: fs::DirEntry| if e.path().is_dir() && !e.path().is_symlink() { count(&e.path()) } else { 1 };
    1 + fs::read_dir(path).into_iter().flatten().flatten().map(inner).sum::<usize>()
}

fn each(
    command: &[&str],
    begun: Option<&str>,
    table: &[(&str, Fault, Outcome)],
    check: impl Fn(&World, &str),
) {
    let rows = table.iter().flat_map(|(place, f, outcome)| f.each().iter().map(move |f| (place, f, outcome)));
    for (place, fault, outcome) in rows {
        let Some(world) = World::new() else { return };
        let lab = &world.lab;
        lab.installed("z", "set zonepath=/zones/z");
        lab.configure_again("z", "set hostid=12345678");
        if let Some(verb) = begun {
            lab.ok("zoneadm", &["-z", "z", verb]);
        }
        world.harm(place, *fault);
        let run = world.run(command);
        let what = format!("{command:?} with {place} {fault:?}: {run:?}");
        eprintln!("{what}");
        match outcome {
            Works => {
                assert_eq!(run.status, 0, "{what}");
                world.mend(place);
                check(&world, &what);
            }
            Refuses(words) => {
                assert_ne!(run.status, 0, "{what}");
                assert!(run.err.contains(words), "{what}: must name {words}");
                // Nothing is lost: as soon as there is room, the same works.
                world.mend(place);
                let again = world.run(command);
                assert_eq!(again.status, 0, "{what}: then {again:?}");
                check(&world, &what);
            }
        }
    }
}

fn has_ended(world: &World, what: &str) {
    assert_eq!(world.lab.state("z"), "installed", "{what}");
    assert!(world.lab.in_zone("z", "etc").is_dir(), "{what}: the tree stays");
    // A supervisor that could not be told by the record why the zone ended looks after it itself.
    let start = Instant::now();
    while !world.lab.processes().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", world.lab.processes());
        std::thread::sleep(Duration::from_millis(5));
    }
}

const ALL_WORK: [(&str, Fault, Outcome); 8] = [
    ("etc", Full, Works),
    ("etc", ReadOnly, Works),
    ("var", Full, Works),
    ("var", ReadOnly, Works),
    ("run", Full, Works),
    ("run", ReadOnly, Works),
    ("zones", Full, Works),
    ("zones", ReadOnly, Works),
];

#[test]
fn halt_needs_no_space() {
    each(&["zoneadm", "-z", "z", "halt"], Some("boot"), &ALL_WORK, has_ended);
}

#[test]
fn halt_of_a_ready_zone_needs_no_space() {
    each(&["zoneadm", "-z", "z", "halt"], Some("ready"), &ALL_WORK, has_ended);
}

#[test]
fn the_end_of_a_zone_by_itself_needs_no_space() {
    let rows = ALL_WORK.into_iter().flat_map(|(place, f, _)| f.each().iter().map(move |f| (place, *f)));
    for (place, fault) in rows {
        let Some(world) = World::new() else { return };
        world.lab.installed("z", "set zonepath=/zones/z");
        world.lab.ok("zoneadm", &["-z", "z", "boot"]);
        let init = record(&world.lab, "z", "init");
        world.harm(place, fault);
        let what = format!("{place} {fault:?}");
        assert!(std::process::Command::new("kill").args(["-9", &init]).status().is_ok_and(|s| s.success()));
        let start = Instant::now();
        while !world.lab.processes().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", world.lab.processes());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(world.lab.state("z"), "installed", "{what}");
        world.mend(place);
        world.lab.ok("zoneadm", &["-z", "z", "boot"]);
        has_ended_after_halt(&world, &what);
    }
}

fn has_ended_after_halt(world: &World, what: &str) {
    world.lab.ok("zoneadm", &["-z", "z", "halt"]);
    has_ended(world, what);
}

#[test]
fn all_file_systems_may_be_full_at_once() {
    for fault in [Full, Blocks, Inodes] {
        let Some(world) = World::new() else { return };
        let lab = &world.lab;
        lab.installed("z", "set zonepath=/zones/z");
        lab.ok("zoneadm", &["-z", "z", "boot"]);
        for place in PLACES {
            world.harm(place, fault);
        }
        for (program, args, state) in [
            ("zoneadm", &["-z", "z", "halt"][..], "installed"),
            ("zoneadm", &["-z", "z", "uninstall", "-F"], "configured"),
        ] {
            let run = lab.run(program, args);
            assert_eq!((run.status, lab.state("z").as_str()), (0, state), "{fault:?} {args:?}: {run:?}");
        }
        assert!(!world.path("zones/z").exists(), "{fault:?}");
        let run = lab.run("zonecfg", &["-z", "z", "delete -F"]);
        assert_eq!(run.status, 0, "{fault:?}: {run:?}");
        assert!(!world.path("etc/zones.d/z.toml").exists(), "{fault:?}");
    }
}

#[test]
fn shutdown_needs_no_space() {
    each(&["zoneadm", "-z", "z", "shutdown"], Some("boot"), &ALL_WORK, has_ended);
}

#[test]
fn the_halt_of_a_reboot_needs_no_space() {
    let rows = ALL_WORK.into_iter().flat_map(|(place, f, _)| f.each().iter().map(move |f| (place, *f)));
    for (place, fault) in rows {
        let Some(world) = World::new() else { return };
        world.lab.installed("z", "set zonepath=/zones/z");
        world.lab.ok("zoneadm", &["-z", "z", "boot"]);
        let old = record(&world.lab, "z", "init");
        world.harm(place, fault);
        let run = world.run(&["zoneadm", "-z", "z", "reboot"]);
        let what = format!("{place} {fault:?}: {run:?}");
        eprintln!("{what}");
        // The new system may need room; the old one has ended if so, and the message says what is missing.
        assert!(!Path::new("/proc").join(&old).join("root/etc").exists(), "{what}");
        assert!(run.status == 0 || run.err.contains("No space") || run.err.contains("Read-only"), "{what}");
        world.mend(place);
        world.lab.ok("zoneadm", &["-z", "z", "boot"]);
        world.lab.ok("zoneadm", &["-z", "z", "halt"]);
        assert_eq!(world.lab.processes(), [], "{what}");
    }
}

#[test]
fn uninstall_needs_no_space_and_refuses_at_once_what_it_could_not_finish() {
    let is_configured = |world: &World, what: &str| {
        assert_eq!(world.lab.state("z"), "configured", "{what}");
        assert!(!world.path("zones/z").exists(), "{what}: the tree is gone");
        let left = fs::read_dir(world.path("var/lib/zones/z")).into_iter().flatten().flatten();
        let names: Vec<_> = left.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        assert!(!names.iter().any(|n| n.starts_with("journal") || n == "state"), "{what}: {names:?}");
    };
    let table = [
        ("etc", Full, Works),
        ("etc", ReadOnly, Works),
        ("var", Full, Works),
        ("var", ReadOnly, Refuses("var/lib/zones")),
        ("run", Full, Works),
        ("run", ReadOnly, Works),
        ("zones", Full, Works),
        ("zones", ReadOnly, Refuses("zones/z")),
    ];
    each(&["zoneadm", "-z", "z", "uninstall", "-F"], None, &table, is_configured);
}

#[test]
fn an_uninstall_that_is_refused_on_a_read_only_file_system_touches_nothing() {
    for place in ["var", "zones"] {
        let Some(world) = World::new() else { return };
        world.lab.installed("z", "set zonepath=/zones/z");
        let files = count(&world.lab.in_zone("z", "/"));
        world.harm(place, ReadOnly);
        let run = world.run(&["zoneadm", "-z", "z", "uninstall", "-F"]);
        assert_eq!(run.status, 1, "{run:?}");
        assert!(run.err.contains("read-only") && run.err.contains("remount"), "{place}: {run:?}");
        assert_eq!(world.lab.state("z"), "installed", "{place}");
        assert_eq!(count(&world.lab.in_zone("z", "/")), files, "{place}");
    }
}

#[test]
fn an_install_that_ran_out_of_space_is_uninstalled_without_any() {
    let Some(world) = World::new() else { return };
    let lab = &world.lab;
    lab.configure("half", "set zonepath=/zones/half");
    // Room for the zonepath and a part of what belongs into the root.
    let (none, zones) = (None::<&str>, world.path("zones"));
    let options = format!("nr_inodes={}", count(&zones) + 20);
    mount(none, &zones, none, MsFlags::MS_REMOUNT, Some(options.as_str())).expect("few inodes");
    let run = lab.run("zoneadm", &["-z", "half", "install"]);
    assert!(run.status != 0 && run.err.contains("No space left"), "{run:?}");
    for place in ["var", "zones", "run"] {
        world.harm(place, Full);
    }
    assert_eq!(lab.state("half"), "incomplete");
    lab.ok("zoneadm", &["-z", "half", "uninstall", "-F"]);
    assert_eq!(lab.state("half"), "configured");
    assert!(!world.path("zones/half").exists());
}

#[test]
fn an_uninstall_without_room_that_is_killed_is_finished_by_the_next_one() {
    for at in ["1", "2", "4", "9"] {
        let Some(world) = World::new() else { return };
        let lab = &world.lab;
        lab.installed("z", "set zonepath=/zones/z");
        world.harm("var", Full);
        lab.run_with("zoneadm", &["-z", "z", "uninstall", "-F"], &[("ZONES_TEST_KILL_AT", at)], "");
        let whole = lab.in_zone("z", "etc/passwd").exists() && lab.in_zone("z", "var/log").exists();
        let state = lab.state("z");
        assert!(state == "incomplete" || state == "configured" || whole, "{at}: {state} tells the truth");
        if state != "configured" {
            lab.ok("zoneadm", &["-z", "z", "uninstall", "-F"]);
        }
        assert_eq!(lab.state("z"), "configured", "{at}");
        assert!(!world.path("zones/z").exists(), "{at}");
    }
}

#[test]
fn delete_needs_no_space() {
    let table = [
        ("etc", Full, Works),
        ("etc", ReadOnly, Refuses("read-only")),
        ("var", Full, Works),
        ("var", ReadOnly, Refuses("Read-only")),
        ("run", Full, Works),
        ("run", ReadOnly, Works),
        ("zones", Full, Works),
        ("zones", ReadOnly, Works),
    ];
    let rows =
        table.into_iter().flat_map(|(place, f, outcome)| f.each().iter().map(move |f| (place, *f, outcome)));
    for (place, fault, outcome) in rows {
        let Some(world) = World::new() else { return };
        world.lab.configure("z", "set zonepath=/zones/z");
        world.harm(place, fault);
        let run = world.run(&["zonecfg", "-z", "z", "delete -F"]);
        let what = format!("{place} {fault:?}: {run:?}");
        match outcome {
            Works => assert_eq!(run.status, 0, "{what}"),
            Refuses(words) => {
                assert!(run.status != 0 && run.err.contains(words), "{what}");
                world.mend(place);
                assert_eq!(world.lab.state("z"), "configured", "{what}");
                world.lab.ok("zonecfg", &["-z", "z", "delete -F"]);
            }
        }
        world.mend(place);
        assert!(!world.run(&["zonecfg", "-z", "z", "info"]).out.contains("zonepath"), "{what}");
    }
}

#[test]
fn a_forced_delete_leaves_no_tree_without_an_owner() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("z", "set zonepath=/zones/z");
    let run = lab.run("zonecfg", &["-z", "z", "delete -F"]);
    assert_ne!(run.status, 0, "{run:?}");
    assert!(
        run.err.contains("/zones/z/root") && run.err.contains("uninstall"),
        "it names the way out: {run:?}"
    );
    assert_eq!(lab.state("z"), "installed");
    assert!(lab.in_zone("z", "etc").is_dir());
    lab.ok("zoneadm", &["-z", "z", "mark", "incomplete"]);
    assert_ne!(lab.run("zonecfg", &["-z", "z", "delete -F"]).status, 0);
    // A tree that somebody has removed has no owner any more.
    fs::remove_dir_all(lab.path().join("zones/z")).expect("removed");
    lab.ok("zonecfg", &["-z", "z", "delete -F"]);
    assert!(!lab.path().join("etc/zones.d/z.toml").exists());
}

#[test]
fn what_removes_and_ends_needs_no_lock_file() {
    for fault in [Full, Blocks, Inodes, ReadOnly] {
        for (command, installed, after) in [
            (&["zoneadm", "-z", "z", "uninstall", "-F"][..], true, "configured"),
            (&["zoneadm", "-z", "z", "halt"], true, "installed"),
            (&["zoneadm", "-z", "z", "mark", "incomplete"], true, "incomplete"),
            (&["zoneadm", "-z", "z", "detach"], true, "configured"),
            (&["zoneadm", "-z", "z", "move", "/zones/other"], true, "installed"),
            (&["zonecfg", "-z", "z", "delete -F"], false, ""),
            (&["zonecfg", "-z", "z", "set zonename=other; commit"], false, ""),
        ] {
            let Some(world) = World::new() else { return };
            world.lab.configure("z", "set zonepath=/zones/z");
            if installed {
                world.lab.ok("zoneadm", &["-z", "z", "install"]);
            }
            world.renew_run();
            world.harm("run", fault);
            let run = world.run(command);
            let what = format!("{command:?} with an empty run that is {fault:?}: {run:?}");
            eprintln!("{what}");
            assert_eq!(run.status, 0, "{what}");
            if after.is_empty() {
                assert!(!world.path("etc/zones.d/z.toml").exists(), "{what}");
            } else {
                assert_eq!(world.lab.state("z"), after, "{what}");
            }
        }
    }
}

#[test]
fn a_zone_that_lost_its_folder_is_halted_without_space() {
    for fault in [Full, Blocks, Inodes, ReadOnly] {
        let Some(world) = World::new() else { return };
        world.lab.installed("z", "set zonepath=/zones/z");
        world.lab.ok("zoneadm", &["-z", "z", "boot"]);
        world.renew_run();
        world.harm("run", fault);
        assert_eq!(world.lab.state("z"), "running", "{fault:?}");
        let run = world.run(&["zoneadm", "-z", "z", "uninstall", "-F"]);
        assert!(run.status != 0 && world.lab.in_zone("z", "etc").is_dir(), "{fault:?}: {run:?}");
        let run = world.run(&["zoneadm", "-z", "z", "halt"]);
        assert_eq!(run.status, 0, "{fault:?}: {run:?}");
        has_ended(&world, &format!("{fault:?}: {run:?}"));
        let run = world.run(&["zoneadm", "-z", "z", "uninstall", "-F"]);
        assert_eq!((run.status, world.lab.state("z").as_str()), (0, "configured"), "{fault:?}: {run:?}");
    }
}

#[test]
fn a_lock_without_a_file_is_the_same_lock() {
    let Some(world) = World::new() else { return };
    world.lab.installed("z", "set zonepath=/zones/z");
    world.lab.configure("y", "set zonepath=/zones/y");
    world.renew_run();
    world.harm("run", Full);
    let root = zones::apply::paths::Root::new(Some(world.lab.path()));
    let store = zones::apply::store::FileStore::open(root);
    let zone = zones::spec::ZoneName::new("z").expect("a name");
    let lock = store.lock(&zone, "a test").expect("a lock without a file");
    let start = || {
        let mut command = world.lab.command("zoneadm");
        command.args(["-z", "z", "uninstall", "-F"]).spawn().expect("zoneadm")
    };
    let mut first = start();
    assert_eq!(world.run(&["zonecfg", "-z", "y", "delete -F"]).status, 0, "another zone's");
    world.mend("run");
    // There is room for a lock file now, and who makes one has to wait all the same.
    let mut second = start();
    let run = world.run(&["zonecfg", "-z", "z", "delete -F"]);
    assert!(run.status != 0, "it waits for a moment only: {run:?}");
    assert!(world.path("run/zones/.lock.z").exists());
    assert!(world.lab.in_zone("z", "etc").is_dir());
    for child in [&mut first, &mut second] {
        assert!(child.try_wait().expect("its state").is_none(), "it waits");
    }
    drop(lock);
    let ends = [first.wait().expect("its end"), second.wait().expect("its end")];
    assert_eq!(ends.iter().filter(|e| e.success()).count(), 1, "the other one finds it configured: {ends:?}");
    assert_eq!(world.lab.state("z"), "configured");
}

#[test]
fn detach_move_and_revert_fail_without_losing_anything_where_they_need_room() {
    for (place, fault) in [
        ("etc", Full),
        ("etc", ReadOnly),
        ("var", Full),
        ("var", ReadOnly),
        ("zones", Full),
        ("zones", ReadOnly),
        ("run", Full),
        ("run", ReadOnly),
    ]
    .into_iter()
    .flat_map(|(place, f)| f.each().iter().map(move |f| (place, *f)))
    {
        for command in [
            &["zoneadm", "-z", "z", "detach"][..],
            &["zoneadm", "-z", "z", "move", "/zones/other"],
            &["zonecfg", "-z", "z", "revert 1; commit"],
        ] {
            let Some(world) = World::new() else { return };
            world.lab.installed("z", "set zonepath=/zones/z");
            world.lab.configure_again("z", "set hostid=12345678");
            let spec = fs::read_to_string(world.path("etc/zones.d/z.toml")).expect("a spec");
            world.harm(place, fault);
            let run = world.run(command);
            let what = format!("{command:?} with {place} {fault:?}: {run:?}");
            eprintln!("{what}");
            world.mend(place);
            if run.status != 0 {
                assert!(!run.err.is_empty(), "{what}");
                assert_eq!(
                    fs::read_to_string(world.path("etc/zones.d/z.toml")).expect("a spec"),
                    spec,
                    "{what}"
                );
                assert_eq!(world.lab.state("z"), "installed", "{what}");
                let again = world.run(command);
                assert_eq!(again.status, 0, "{what}: then {again:?}");
            }
            let moved = command.contains(&"move");
            assert!(world.lab.in_zone(if moved { "other" } else { "z" }, "etc").is_dir(), "{what}");
        }
    }
}
