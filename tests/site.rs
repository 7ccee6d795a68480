//! Mounts and device nodes of a zone that runs: made and taken away by the same code that puts a zone together at its boot.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::Lab;
use zones::apply::boot::limits;
use zones::apply::boot::site::Site;
use zones::apply::dataset::registry;
use zones::apply::dataset::withdraw::DelegationRequest;
use zones::apply::paths::Root;
use zones::apply::rundir::{self, Running, image};
use zones::plan::image::{Delegation, ZoneImage};
use zones::plan::limits::Setting;
use zones::plan::options::{self, MountOptions};
use zones::plan::step::{Mount, MountSource, Node};
use zones::spec::ZoneName;
use zones::zfs::Zfs;

fn main() {
    let mut args = libtest_mimic::Arguments::from_args();
    // In this thread: only a process of one thread can work among the mounts of another namespace.
    args.test_threads = Some(1);
    let trial = |name, test: fn()| {
        libtest_mimic::Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("mounts_of_a_zone_that_runs", mounts_of_a_zone_that_runs),
        trial("nodes_of_a_zone_that_runs", nodes_of_a_zone_that_runs),
        trial("datasets_of_a_zone_that_runs", datasets_of_a_zone_that_runs),
        trial("limits_of_a_zone_that_runs", limits_of_a_zone_that_runs),
    ];
    libtest_mimic::run(&args, trials).exit()
}

fn running_of(lab: &Lab, zone: &str) -> Running {
    let root = Root::new(Some(lab.path()));
    rundir::record(&root, &ZoneName::new(zone).expect("a name")).expect("a record")
}

fn site_of(lab: &Lab, zone: &str) -> Site<'static> {
    Site::running(&running_of(lab, zone)).expect("it runs")
}

fn shared(special: &Path, dir: &str, words: &str) -> Mount {
    Mount {
        dir: dir.into(),
        special: special.display().to_string(),
        within: None,
        raw: None,
        fstype: "lofs".into(),
        source: MountSource::Bind,
        options: options::parse("lofs", words.split(' ').filter(|w| !w.is_empty())).expect("known options"),
    }
}

fn memory(dir: &str) -> Mount {
    let data = vec![("size".to_owned(), Some("1m".to_owned())), ("uid".to_owned(), Some("7".to_owned()))];
    let options = MountOptions { data, ..MountOptions::default() };
    let special = PathBuf::from("swap");
    Mount { fstype: "tmpfs".into(), source: MountSource::Tmpfs, options, ..shared(&special, dir, "") }
}

fn mounts_of_a_zone_that_runs() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let said = |script: &str| lab.sh("zion", script).out;
    let folder = lab.path().join("shared");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("file"), "of the host\n").expect("written");
    let host = || fs::read_to_string("/proc/self/mountinfo").expect("the mounts of the host");
    let before = host();
    let mut site = site_of(&lab, "zion");

    site.memory("/run/more", 0o750, 1).expect("memory");
    site.fs(&memory("/var/memory")).expect("memory");
    site.fs(&shared(&folder, "/var/shared", "ro")).expect("a folder");
    site.fs(&shared(&folder, "/var/both/ways", "")).expect("a folder");
    site.fs(&shared(&folder.join("file"), "/var/one", "ro")).expect("a file");
    assert_eq!(host(), before, "the host has none of it");
    let stat = "stat -c '%F %a %u' /run/more /var/memory; stat -f -c %T /run/more /var/memory";
    assert_eq!(said(stat), "directory 750 0\ndirectory 1777 7\ntmpfs\ntmpfs\n");
    assert_eq!(said("stat -c %u /var/shared/file; cat /var/shared/file"), "0\nof the host\n");
    assert_eq!(said("cat /var/one"), "of the host\n");
    assert_ne!(lab.sh("zion", "echo more > /var/shared/file").status, 0);
    let write = "mount -o remount,bind,rw /var/shared; echo more > /var/shared/file";
    assert_ne!(lab.sh("zion", write).status, 0, "its root cannot make it writable");
    assert_eq!(lab.sh("zion", "echo zone > /var/both/ways/file").status, 0);
    assert_eq!(fs::read_to_string(folder.join("file")).expect("a file"), "zone\n");
    let device = "mknod /var/both/ways/null c 1 3";
    assert_ne!(lab.sh("zion", device).status, 0, "no devices");

    // Undone, and what is not there cannot be undone.
    for dir in ["/run/more", "/var/memory", "/var/shared", "/var/both/ways", "/var/one"] {
        site.unmount(Path::new(dir)).unwrap_or_else(|e| panic!("{dir}: {e}"));
        assert_eq!(said(&format!("grep -c ' {dir} ' /proc/self/mountinfo")), "0\n", "{dir}");
        assert!(site.unmount(Path::new(dir)).is_err(), "{dir}");
    }

    // Its root may put a link in the place of a mount point: it is not followed, neither there nor back.
    lab.sh("zion", "rmdir /var/shared; ln -s /usr /var/shared; ln -s /etc /var/way");
    for dir in ["/var/shared", "/var/way/x"] {
        site.fs(&shared(&folder, dir, "")).expect_err(dir);
        assert!(site.unmount(Path::new(dir)).is_err(), "{dir}");
    }
    assert_eq!(host(), before, "the host has none of it");
    // This process is among the mounts of the host.
    assert!(folder.join("file").exists());
    drop(site);
    let running = running_of(&lab, "zion");
    let other = Running { init_start: running.init_start + 1, ..running.clone() };
    assert!(Site::running(&other).is_err(), "its process id has gone to another");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    assert!(Site::running(&running).is_err(), "it has ended");
    lab.assert_clean();
}

fn nodes_of_a_zone_that_runs() {
    let Some(lab) = Lab::on_disk() else { return };
    let folder = lab.path().join("shared");
    fs::create_dir(&folder).expect("a folder");
    let fs = format!("add fs\nset dir=/mnt/shared\nset special={}\nset type=lofs\nend\n", folder.display());
    lab.installed("zion", &fs);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let said = |script: &str| lab.sh("zion", script).out;
    let site = site_of(&lab, "zion");
    let zero = |path: &str| Node { path: path.into(), block: false, major: 1, minor: 5, mode: 0o640 };

    site.node(&zero("more/zero")).expect("a node");
    site.node(&zero("zero-too")).expect("a node");
    let stat = "stat -c '%F %t:%T %a %u' /dev/more/zero /dev/zero-too; head -c 2 /dev/more/zero | wc -c";
    let node = "character special file 1:5 640 0\n";
    assert_eq!(said(stat), format!("{node}{node}2\n"));
    // A name that is there is not replaced.
    site.node(&zero("null")).expect_err("a node of the boot");
    site.node(&zero("zero-too")).expect_err("twice");
    assert_eq!(said("stat -c %t:%T /dev/null"), "1:3\n");

    // Undone, and gone when the zone has removed it; another one of the name stays.
    for path in ["more/zero", "more/zero", "zero-too"] {
        site.remove_node(&zero(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    assert_eq!(said("ls -A /dev/more; ls /dev/zero-too"), "");
    site.remove_node(&zero("null")).expect_err("another device");
    lab.sh("zion", "echo own > /dev/zero-too");
    site.remove_node(&zero("zero-too")).expect_err("a file of the zone");
    assert_eq!(said("cat /dev/zero-too"), "own\n");

    // Its root may put links and mounts in the way: nothing is made behind them, least of all on the host.
    lab.sh("zion", "ln -s /mnt/shared /dev/link; mkdir /dev/over; mount --bind /mnt/shared /dev/over");
    for path in ["link/zero", "over/zero", "../mnt/shared/zero"] {
        site.node(&zero(path)).expect_err(path);
        site.remove_node(&zero(path)).expect_err(path);
    }
    lab.sh("zion", "mount --bind /mnt/shared /dev");
    let error = site.node(&zero("zero")).expect_err("another /dev").to_string();
    assert!(error.contains("is not the one of the zone's boot"), "{error}");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0, "nothing on the host");
    lab.sh("zion", "umount /dev; mount -t tmpfs none /dev; echo zion > /dev/.zonename");
    site.node(&zero("zero")).expect_err("memory of the zone");
    drop(site);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

/// Runs a command of the host.
fn host(words: &[&str]) -> std::process::Output {
    Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|e| panic!("{words:?}: {e}"))
}

/// A dataset is given to a zone that runs, with the files that the host had in it, and taken away again.
fn datasets_of_a_zone_that_runs() {
    let Ok(pool) = std::env::var("ZONES_TEST_POOL") else {
        return eprintln!("SKIPPED: the machine with ZFS has a pool for it");
    };
    let Some(lab) = Lab::on_disk() else { return };
    let (first, second) = (format!("{pool}/first"), format!("{pool}/second"));
    let place = lab.path().join("second");
    let mountpoint = format!("mountpoint={}", place.display());
    for words in [vec!["zfs", "create", &first], vec!["zfs", "create", "-o", &mountpoint, &second]] {
        assert!(host(&words).status.success(), "{words:?}");
    }
    fs::write(place.join("file"), "of the host\n").expect("a file");
    lab.installed("zion", &format!("add dataset\nset name={first}\nend"));
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let root = Root::new(Some(lab.path()));
    let zone = ZoneName::new("zion").expect("a name");
    let run = root.zone_run(&zone);
    let (site, zfs) = (site_of(&lab, "zion"), Zfs::open().expect("zfs"));
    let init = running_of(&lab, "zion").init;
    let hold = |datasets: Vec<Delegation>| {
        let image = image::kept(&root, &zone, init).expect("understood").expect("an image");
        image::change(&root, &zone, init, &ZoneImage { datasets, ..image }).expect("changed");
    };
    let first_only = image::kept(&root, &zone, init).expect("understood").expect("an image").datasets;
    let (locks, below) = (vec!["compression".to_owned()], vec!["compression".to_owned()]);
    let both = [&first_only[..], &[Delegation { name: second.clone(), locks, below }]].concat();
    let sees = |name: &str| lab.sh("zion", &format!("zfs list -Ho name {name}")).status == 0;
    assert!(sees(&first) && !sees(&second));

    let members = [second.clone()];
    let wanted = DelegationRequest {
        dataset: &second,
        zoned: false,
        hide: &[],
        volmode: None,
        volumes: &[],
        members: &members,
    };
    for round in ["given", "given again"] {
        let report = site.withdraw(&root, &zfs, &wanted, "zion").expect(round);
        assert_eq!(report.not_given, [] as [&str; 0], "{round}");
        assert!(!place.join("file").exists(), "{round}: the host has let go of it");
        site.delegate(&root, &zfs, &second, &zone).expect(round);
        assert_eq!(registry::recorded(&run), [first.clone(), second.clone()], "{round}");
        assert!(sees(&second), "{round}");
        let set = |what: &str| lab.sh("zion", &format!("zfs set {what} {second}")).status;
        assert_ne!(set("atime=off"), 0, "{round}: the guard knows nothing of it");
        hold(both.clone());
        assert_eq!(set("atime=off"), 0, "{round}");
        assert_ne!(set("compression=off"), 0, "{round}: locked");
        let use_it = format!(
            "zfs set mountpoint=/second {second} && {{ mountpoint -q /second || zfs mount {second}; }} && \
             zfs create {second}/below && cat /second/file && stat -c %u /second && touch /second/below/new"
        );
        let used = lab.sh("zion", &use_it);
        assert_eq!((used.status, used.out.as_str()), (0, "of the host\n0\n"), "{round}: {used:?}");
        let why = site.take_back(&root, &zfs, &second, &zone).expect_err(round).to_string();
        assert!(why.contains(" is mounted in the zone; unmount it there first"), "{why}");
        assert!(sees(&second), "{round}: it has it still");
        let done = lab.sh("zion", &format!("zfs destroy {second}/below && umount /second"));
        assert_eq!(done.status, 0, "{round}: {done:?}");
        site.take_back(&root, &zfs, &second, &zone).expect(round);
        hold(first_only.clone());
        assert!(sees(&first) && !sees(&second), "{round}");
        assert_eq!(registry::recorded(&run), std::slice::from_ref(&first), "{round}");
    }

    // A halt takes back a dataset that the zone was given while it ran, as it does with those of the boot.
    site.delegate(&root, &zfs, &second, &zone).expect("given");
    assert!(sees(&second));
    drop(site);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    for name in [&first, &second] {
        let done = host(&["zfs", "destroy", "-r", name]);
        assert!(done.status.success(), "{name}: {done:?}");
    }
    lab.assert_clean();
}

/// Limits of a zone that runs change at once, and all or none of them.
fn limits_of_a_zone_that_runs() {
    let has = |controller: &str| {
        let known = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        known.split_whitespace().any(|word| word == controller)
    };
    if !(has("memory") && has("pids") && has("cpuset")) {
        return eprintln!("SKIPPED: no cgroup v2 with the controllers memory, pids and cpuset");
    }
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "set max-lwps=300");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let group = PathBuf::from(running_of(&lab, "zion").cgroup.expect("a cgroup"));
    let top = Some(Path::new("/sys/fs/cgroup"));
    let value = |file: &str| fs::read_to_string(group.join(file)).expect(file).trim().to_owned();
    let setting =
        |file, value: &str| Setting { file, value: value.to_owned(), subject: format!("the test's {file}") };
    let limits = || (value("memory.max"), value("pids.max"));
    let before = limits();
    assert_eq!(before, ("max".to_owned(), "300".to_owned()));

    let wanted = [setting("memory.max", "134217728"), setting("pids.max", "100")];
    let former = limits::change(top, &group, &wanted).expect("changed");
    assert_eq!(limits(), ("134217728".to_owned(), "100".to_owned()));
    let spread = "for i in $(seq 150); do sleep 5 & done 2>&1; wait";
    assert_ne!(lab.sh("zion", spread).status, 0, "the zone cannot have so many processes");
    limits::change(top, &group, &former).expect("changed back");
    assert_eq!(limits(), before);

    // The kernel refuses the second limit, since there is no such processor, so the first one comes back.
    let bad = [setting("memory.max", "134217728"), setting("cpuset.cpus", "999")];
    let why = limits::change(top, &group, &bad).expect_err("no such processor").to_string();
    assert!(why.starts_with("the test's cpuset.cpus: cannot write 999 to "), "{why}");
    assert_eq!(limits(), before);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}
