//! Zones that run and whose run-time folder has been removed: by a cleaner, or by hand. The kernel says
//! that they run, and nothing may be started or removed below them.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Lab, record};
use zones::apply::paths::Root;
use zones::apply::store::FileStore;
use zones::spec::ZoneName;

const MARK: &str = "sleep 43219";

/// How a zone loses what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The record alone.
    Record,
    /// The zone's folder below `run/zones`.
    Folder,
    /// The folder of all zones.
    Everything,
    /// The folder, and what is kept of it below `var/lib/zones`.
    BothFolders,
    /// The folder; and the supervisor is killed.
    FolderAndSupervisor,
    /// All of these.
    BothFoldersAndSupervisor,
}

const ALL: [Loss; 6] = [
    Loss::Record,
    Loss::Folder,
    Loss::Everything,
    Loss::BothFolders,
    Loss::FolderAndSupervisor,
    Loss::BothFoldersAndSupervisor,
];

impl Loss {
    /// Says whether the zone can then be found by its cgroup only.
    fn needs_cgroup(self) -> bool {
        matches!(self, Self::BothFolders | Self::BothFoldersAndSupervisor)
    }

    fn happens_to(self, lab: &Lab, zone: &str) {
        if matches!(self, Self::FolderAndSupervisor | Self::BothFoldersAndSupervisor) {
            lab.kill_supervisor(zone);
        }
        let run = lab.path().join("run/zones");
        match self {
            Self::Record => fs::remove_file(run.join(zone).join("running")).expect("a record"),
            Self::Everything => fs::remove_dir_all(run).expect("a folder"),
            _ => fs::remove_dir_all(run.join(zone)).expect("a folder"),
        }
        if self.needs_cgroup() {
            let _ = fs::remove_dir_all(lab.path().join("var/lib/zones/.running"));
        }
    }
}

/// Ends what a failed test leaves: no command may find it.
struct Survivor(i32);

impl Drop for Survivor {
    fn drop(&mut self) {
        if Path::new(&format!("/proc/{}/ns", self.0)).exists() {
            let _ = Command::new("kill").args(["-9", &self.0.to_string()]).status();
        }
    }
}

fn has_unified() -> bool {
    ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .any(|path| Path::new(path).exists())
}

/// Boots a zone with a process that tells it from a second one on the same root.
fn booted(lab: &Lab, zone: &str) -> (i32, Survivor) {
    lab.installed(zone, &format!("set zonepath=/zones/{zone}"));
    started(lab, zone)
}

fn started(lab: &Lab, zone: &str) -> (i32, Survivor) {
    lab.ok("zoneadm", &["-z", zone, "boot"]);
    let run = lab.sh(zone, &format!("setsid {MARK} >/dev/null 2>&1 </dev/null & echo started"));
    assert_eq!(run.status, 0, "{run:?}");
    let init: i32 = record(lab, zone, "init").parse().expect("a number");
    let survivor = Survivor(init);
    wait_until("the process of the zone", || lives_in(init));
    (init, survivor)
}

/// Says whether the marked process is in the pid namespace of this first process.
fn lives_in(init: i32) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(&init.to_string()) else { return false };
    fs::read_dir("/proc").expect("proc").flatten().any(|e| {
        let pid = e.file_name().to_string_lossy().into_owned();
        let line = fs::read(e.path().join("cmdline")).unwrap_or_default();
        line == MARK.replace(' ', "\0").into_bytes().into_iter().chain([0]).collect::<Vec<_>>()
            && namespace(&pid).as_ref() == Some(&own)
    })
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn each(check: impl Fn(&Lab, Loss, i32)) {
    for loss in ALL {
        if loss.needs_cgroup() && !has_unified() {
            continue;
        }
        let Some(lab) = Lab::new() else { return };
        let (init, _survivor) = booted(&lab, "lost");
        loss.happens_to(&lab, "lost");
        check(&lab, loss, init);
        lab.run("zoneadm", &["-z", "lost", "halt"]);
        assert!(!lives_in(init), "{loss:?}: the zone's processes have ended");
        eprintln!("{loss:?}: nothing may be left");
        lab.assert_clean();
    }
}

#[test]
fn list_shows_a_zone_whose_record_is_lost_as_running() {
    each(|lab, loss, _| {
        assert_eq!(lab.state("lost"), "running", "{loss:?}");
        let all = lab.ok("zoneadm", &["list", "-p"]);
        assert!(all.lines().any(|l| l.contains(":lost:running:")), "{loss:?}: {all}");
        let all = lab.ok("zoneadm", &["list", "-cp"]);
        assert_eq!(all.lines().filter(|l| l.contains(":lost:")).count(), 1, "{loss:?}: {all}");
    });
}

#[test]
fn boot_of_a_zone_whose_record_is_lost_says_that_it_runs_and_puts_the_record_back() {
    each(|lab, loss, init| {
        let run = lab.run("zoneadm", &["-z", "lost", "boot"]);
        assert!(run.err.contains("already booted"), "{loss:?}: {run:?}");
        assert_eq!(record(lab, "lost", "init"), init.to_string(), "{loss:?}");
        assert_eq!(record(lab, "lost", "state"), "running", "{loss:?}");
        let id: u32 = record(lab, "lost", "id").parse().expect("a number");
        assert!((1..=9999).contains(&id), "{loss:?}: {id}");
        assert_eq!(
            lab.processes().iter().filter(|(_, what)| what.contains("zoneadmd")).count(),
            1,
            "{loss:?}"
        );
        let run = lab.sh("lost", &format!("pgrep -fx '{MARK}'"));
        assert_eq!(run.status, 0, "{loss:?}: the same system: {run:?}");
        assert!(lab.path().join("run/zones/lost/console.sock").exists(), "{loss:?}");
    });
}

#[test]
fn halt_ends_a_zone_whose_record_is_lost() {
    each(|lab, loss, init| {
        let run = lab.run("zoneadm", &["-z", "lost", "halt"]);
        assert_eq!(run.status, 0, "{loss:?}: {run:?}");
        assert!(!run.err.contains("already halted"), "{loss:?}: {run:?}");
        assert!(!lives_in(init), "{loss:?}");
        assert_eq!(lab.state("lost"), "installed", "{loss:?}");
        lab.assert_clean();
        assert!(!lab.path().join("var/lib/zones/.running/lost").exists(), "{loss:?}: nothing is left");
    });
}

#[test]
fn reboot_and_shutdown_find_a_zone_whose_record_is_lost() {
    each(|lab, loss, init| {
        lab.ok("zoneadm", &["-z", "lost", "reboot"]);
        let new = record(lab, "lost", "init");
        assert_ne!(new, init.to_string(), "{loss:?}");
        assert!(!lives_in(init), "{loss:?}: the former system has ended");
        let _survivor = Survivor(new.parse().expect("a number"));
        loss.happens_to(lab, "lost");
        let run = lab.run("zoneadm", &["-z", "lost", "shutdown"]);
        assert_eq!(run.status, 0, "{loss:?}: {run:?}");
        assert_eq!(lab.state("lost"), "installed", "{loss:?}");
    });
}

#[test]
fn what_would_remove_or_move_a_zone_refuses_while_it_runs_without_a_record() {
    each(|lab, loss, init| {
        let root = lab.in_zone("lost", "etc");
        for args in [&["uninstall", "-F"][..], &["move", "/zones/elsewhere"], &["detach"]] {
            let all: Vec<&str> = ["-z", "lost"].iter().chain(args).copied().collect();
            let run = lab.run("zoneadm", &all);
            assert_ne!(run.status, 0, "{loss:?} {args:?}: {run:?}");
            assert!(root.is_dir(), "{loss:?} {args:?}: the tree is there");
        }
        lab.configure("copy", "set zonepath=/zones/copy");
        let run = lab.run("zoneadm", &["-z", "copy", "clone", "lost"]);
        assert_ne!(run.status, 0, "{loss:?} clone: {run:?}");
        for line in ["delete -F", "set zonename=other; commit"] {
            let run = lab.run("zonecfg", &["-z", "lost", line]);
            assert_ne!(run.status, 0, "{loss:?} {line}: {run:?}");
            assert!(lab.path().join("etc/zones.d/lost.toml").exists(), "{loss:?} {line}");
        }
        assert!(lives_in(init), "{loss:?}: it runs on");
    });
}

#[test]
fn a_login_works_without_the_record_and_puts_it_back() {
    each(|lab, loss, init| {
        let run = lab.sh("lost", "echo from the zone");
        assert_eq!((run.status, run.out.as_str()), (0, "from the zone\n"), "{loss:?}: {run:?}");
        assert_eq!(record(lab, "lost", "init"), init.to_string(), "{loss:?}");
    });
}

/// In the middle of a boot the kernel shows the processes of a zone that nobody may enter yet.
#[test]
fn a_zone_that_somebody_works_on_does_not_run_because_the_kernel_shows_processes() {
    let Some(lab) = Lab::new() else { return };
    let (_, _survivor) = booted(&lab, "lost");
    Loss::BothFolders.happens_to(&lab, "lost");
    let name = ZoneName::new("lost").expect("a name");
    let held = FileStore::open(Root::new(Some(lab.path()))).lock(&name, "zoneadm boot").expect("the lock");
    assert_eq!(lab.state("lost"), "installed");
    let login = lab.sh("lost", "true");
    assert!(login.status == 1 && login.err.contains("allowed only to running zones"), "{login:?}");
    drop(held);
    assert_eq!(lab.state("lost"), "running");
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
    lab.assert_clean();
}

#[test]
fn the_console_answers_again_after_the_folder_was_lost() {
    for loss in [Loss::Folder, Loss::Everything, Loss::FolderAndSupervisor] {
        let Some(lab) = Lab::new() else { return };
        let (_, _survivor) = booted(&lab, "lost");
        loss.happens_to(&lab, "lost");
        let shown = lab.path().join("shown");
        let mut console = lab
            .command("zlogin")
            .args(["-C", "lost"])
            .stdin(std::process::Stdio::piped())
            .stdout(fs::File::create(&shown).expect("a file"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("zlogin starts");
        // It is noted who watches, by the one supervisor that there is.
        let watched = lab.path().join("run/zones/lost/watched");
        wait_until("the console", || watched.exists());
        let count = || lab.processes().iter().filter(|(_, what)| what.contains("zoneadmd")).count();
        assert_eq!(count(), 1, "{loss:?}: {:?}", lab.processes());
        lab.ok("zoneadm", &["-z", "lost", "halt"]);
        // It is told after the command has ended.
        let is_told = || fs::read_to_string(&shown).is_ok_and(|text| text.contains("Zone halted"));
        wait_until(&format!("{loss:?}: the notice"), is_told);
        let _ = console.kill();
        console.wait().expect("its end");
        // A supervisor without a zone waits ten seconds for another client.
        wait_until("its end", || lab.leftovers().is_empty());
    }
}

#[test]
fn a_zone_that_ends_or_reboots_by_itself_without_its_folder_is_taken_down() {
    for loss in [Loss::Folder, Loss::Everything, Loss::BothFolders] {
        if loss.needs_cgroup() && !has_unified() {
            continue;
        }
        let Some(lab) = Lab::new() else { return };
        let (init, _survivor) = booted(&lab, "lost");
        loss.happens_to(&lab, "lost");
        Command::new("kill").args(["-9", &init.to_string()]).status().expect("kill");
        wait_until("the end", || lab.state("lost") == "installed");
        lab.assert_clean();

        lab.ok("zoneadm", &["-z", "lost", "boot"]);
        let init = record(&lab, "lost", "init");
        loss.happens_to(&lab, "lost");
        let _survivor = Survivor(init.parse().expect("a number"));
        restart(&init);
        let record_of = || fs::read_to_string(lab.path().join("run/zones/lost/running")).unwrap_or_default();
        wait_until("the new system", || record_of().contains("state=running"));
        assert_ne!(record(&lab, "lost", "init"), init, "{loss:?}");
        lab.ok("zoneadm", &["-z", "lost", "halt"]);
        lab.assert_clean();
    }
}

/// Sends what the built-in init takes for a restart; from the host, as a login would put the folder back.
fn restart(init: &str) {
    let pid = nix::unistd::Pid::from_raw(init.parse().expect("a number"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it lives");
}

#[test]
fn a_restart_is_not_lost_while_somebody_holds_the_lock_of_a_zone_without_its_folder() {
    for loss in [Loss::Folder, Loss::BothFolders] {
        if loss.needs_cgroup() && !has_unified() {
            continue;
        }
        let Some(lab) = Lab::new() else { return };
        let (init, _survivor) = booted(&lab, "lost");
        loss.happens_to(&lab, "lost");
        let root = zones::apply::paths::Root::new(Some(lab.path()));
        let store = zones::apply::store::FileStore::open(root);
        let zone = zones::spec::ZoneName::new("lost").expect("a name");
        let lock = store.lock(&zone, "a look at the zone").expect("a lock");
        restart(&init.to_string());
        wait_until("the end of the old system", || !lives_in(init));
        // The supervisor sees the end of process 1 now, and cannot have the lock.
        std::thread::sleep(Duration::from_millis(300));
        drop(lock);
        let record_of = || fs::read_to_string(lab.path().join("run/zones/lost/running")).unwrap_or_default();
        wait_until("the new system", || record_of().contains("state=running"));
        let _survivor = Survivor(record(&lab, "lost", "init").parse().expect("a number"));
        lab.ok("zoneadm", &["-z", "lost", "halt"]);
        lab.assert_clean();
    }
}

#[test]
fn a_ready_zone_that_lost_its_folder_boots() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("lost", "set zonepath=/zones/lost");
    lab.ok("zoneadm", &["-z", "lost", "ready"]);
    let _survivor = Survivor(record(&lab, "lost", "init").parse().expect("a number"));
    Loss::Folder.happens_to(&lab, "lost");
    assert_eq!(lab.state("lost"), "ready");
    lab.ok("zoneadm", &["-z", "lost", "boot"]);
    assert_eq!(lab.state("lost"), "running");
    assert_eq!(lab.sh("lost", "true").status, 0);
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
    lab.assert_clean();
}

#[test]
fn the_spec_as_booted_its_image_and_the_journal_come_back() {
    let Some(lab) = Lab::new() else { return };
    let (_, _survivor) = booted(&lab, "lost");
    let run = lab.path().join("run/zones/lost");
    let read = |name: &str| fs::read_to_string(run.join(name)).unwrap_or_default();
    let files = || ["spec.toml", "image", "journal"].map(read);
    let before = files();
    assert!(before.iter().all(|text| !text.is_empty()), "{before:?}");
    lab.configure_again("lost", "set hostid=1234abcd");
    Loss::FolderAndSupervisor.happens_to(&lab, "lost");
    lab.run("zoneadm", &["-z", "lost", "boot"]);
    assert_eq!(files(), before, "as booted, not as saved now");
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
}

/// Returns the zone's cgroup, where there is one.
fn group(lab: &Lab, zone: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(lab.path().join("run/zones").join(zone).join("running")).ok()?;
    text.split_whitespace().find_map(|w| w.strip_prefix("cgroup=")).map(PathBuf::from)
}

#[test]
fn a_cgroup_that_somebody_is_in_is_not_booted_into() {
    let Some(lab) = Lab::new() else { return };
    let (_, _survivor) = booted(&lab, "lost");
    let Some(folder) = group(&lab, "lost") else { return };
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
    fs::create_dir_all(&folder).expect("a cgroup");
    let mut stray = Command::new("sleep").arg("43218").spawn().expect("a process");
    fs::write(folder.join("cgroup.procs"), stray.id().to_string()).expect("moved");
    let pid = stray.id().to_string();
    for (program, args) in [
        ("zoneadm", &["-z", "lost", "boot"][..]),
        ("zoneadm", &["-z", "lost", "uninstall", "-F"]),
        ("zonecfg", &["-z", "lost", "delete -F"]),
    ] {
        let run = lab.run(program, args);
        assert_ne!(run.status, 0, "{args:?}: {run:?}");
        assert!(run.err.contains(&pid) && run.err.contains("sleep"), "{args:?} names it: {run:?}");
        assert!(run.err.contains("halt"), "{args:?} names the way out: {run:?}");
        assert!(stray.try_wait().expect("its state").is_none(), "{args:?}: it lives");
    }
    let run = lab.run("zoneadm", &["-z", "lost", "halt"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(stray.wait().expect("its end").code().is_none(), "halt ended it");
    assert!(!folder.exists());
    lab.assert_clean();
}

#[test]
fn a_record_of_an_earlier_boot_of_the_host_is_not_believed() {
    let Some(lab) = Lab::new() else { return };
    let (init, _survivor) = booted(&lab, "lost");
    let kept = lab.path().join("var/lib/zones/.running/lost");
    let text = fs::read_to_string(&kept).expect("a record that is kept");
    assert!(text.contains(&format!("init={init}")), "{text}");
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
    fs::create_dir_all(kept.parent().expect("a folder")).expect("a folder");
    // A living process has the number and the start time by chance: this test itself.
    let me = std::process::id();
    let stat = fs::read_to_string("/proc/self/stat").expect("proc");
    let start =
        stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(19).expect("a field").to_owned();
    let line = |boot: &str| {
        format!("id=1 state=running init={me} start={start} supervisor=1 sstart=1 boot={boot}\n")
    };
    fs::write(&kept, line("01234567-0000-0000-0000-000000000000")).expect("written");
    assert_eq!(lab.state("lost"), "installed");
    lab.ok("zoneadm", &["-z", "lost", "boot"]);
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
    lab.assert_clean();
}

/// Hides cgroup v2 from this thread and what it starts.
fn hide_unified() {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    for place in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        if Path::new(place).join("cgroup.controllers").exists() {
            mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none).expect("a cover");
        }
    }
}

/// Tries what finds a zone that runs, and ends it.
fn is_found_and_ended(lab: &Lab, what: &str, init: i32) {
    assert_eq!(lab.state("lost"), "running", "{what}");
    assert!(lab.ok("zoneadm", &["list"]).lines().any(|l| l == "lost"), "{what}");
    let run = lab.run("zoneadm", &["-z", "lost", "uninstall", "-F"]);
    assert!(run.status != 0 && lab.in_zone("lost", "etc").is_dir(), "{what}: {run:?}");
    let run = lab.run("zonecfg", &["-z", "lost", "delete -F"]);
    assert!(run.status != 0 && lab.path().join("etc/zones.d/lost.toml").exists(), "{what}: {run:?}");
    let run = lab.run("zoneadm", &["-z", "lost", "boot"]);
    assert!(run.err.contains("already booted"), "{what}: {run:?}");
    assert_eq!(record(lab, "lost", "init"), init.to_string(), "{what}");
    assert_eq!(lab.sh("lost", "echo in").out, "in\n", "{what}");
    lab.ok("zoneadm", &["-z", "lost", "halt"]);
    assert!(!lives_in(init), "{what}");
    assert_eq!(lab.state("lost"), "installed", "{what}");
}

#[test]
fn a_host_without_cgroup_v2_finds_a_zone_that_lost_its_folder() {
    for loss in ALL {
        let Some(lab) = Lab::new() else { return };
        hide_unified();
        let (init, _survivor) = booted(&lab, "lost");
        assert!(group(&lab, "lost").is_none(), "the zone has no cgroup of version 2");
        loss.happens_to(&lab, "lost");
        is_found_and_ended(&lab, &format!("{loss:?}"), init);
    }
}

#[test]
fn a_host_without_cgroup_v2_takes_no_other_process_for_a_zone() {
    let Some(lab) = Lab::new() else { return };
    hide_unified();
    lab.installed("lost", "set zonepath=/zones/lost");
    // The first process of a namespace, which calls itself what the zone's would; and one that calls itself
    // its supervisor, and is not root's.
    let script = format!("exec -a init {MARK}");
    let child = Command::new("unshare").args(["-Urpf", "--kill-child", "bash", "-c", &script]).spawn();
    let mut child = child.expect("unshare");
    let place = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(place.path(), open(0o755)).expect("chmod");
    nix::unistd::mkfifo(&place.path().join("lost"), nix::sys::stat::Mode::from_bits_truncate(0o644))
        .expect("a pipe");
    let mut fake = Command::new("setpriv");
    fake.args(["--reuid", "65534", "--clear-groups", "bash", "-c", "exec -a zoneadmd head -z lost"]);
    let mut fake = fake.current_dir(place.path()).env("ZONES_ROOT", lab.path()).spawn().expect("setpriv");
    let line = || fs::read(format!("/proc/{}/cmdline", fake.id())).unwrap_or_default();
    wait_until("the process", || line() == b"zoneadmd\0-z\0lost\0");
    assert_eq!(lab.state("lost"), "installed");
    assert_eq!(lab.ok("zoneadm", &["list"]).lines().filter(|l| *l == "lost").count(), 0);
    lab.ok("zoneadm", &["-z", "lost", "uninstall", "-F"]);
    for process in [&mut child, &mut fake] {
        assert!(process.try_wait().expect("its state").is_none(), "it lives");
        process.kill().expect("ended");
        process.wait().expect("ended");
    }
}

/// A pool: a cgroup at the top, removed with the test.
struct Pool(PathBuf);

impl Drop for Pool {
    fn drop(&mut self) {
        for _ in 0..500 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_zone_of_a_pool_that_lost_both_folders_is_found() {
    let tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let Some(top) = tops.into_iter().find(|t| t.join("cgroup.controllers").exists()) else { return };
    for (loss, change) in [
        (Loss::BothFolders, None),
        (Loss::BothFoldersAndSupervisor, None),
        (Loss::BothFoldersAndSupervisor, Some("clear pool")),
    ] {
        let name = format!("test-pool-{}", std::process::id());
        let pool = Pool(top.join(&name));
        fs::create_dir_all(&pool.0).expect("a cgroup");
        let Some(lab) = Lab::new() else { return };
        lab.installed("lost", &format!("set zonepath=/zones/lost\nset pool={name}"));
        let (init, _survivor) = started(&lab, "lost");
        assert!(group(&lab, "lost").expect("a cgroup").starts_with(&pool.0));
        loss.happens_to(&lab, "lost");
        if let Some(change) = change {
            lab.configure_again("lost", change);
        }
        is_found_and_ended(&lab, &format!("{loss:?} {change:?}"), init);
        assert_eq!(
            fs::read_dir(&pool.0).expect("a cgroup").flatten().filter(|e| e.path().is_dir()).count(),
            0
        );
    }
}
