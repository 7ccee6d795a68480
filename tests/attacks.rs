//! What a hostile zone or a careless caller may try, and what must not come of it.

#![allow(clippy::disallowed_methods)]

mod lab;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Run, record};

/// Runs a shell script of at most ten seconds, with the programs' folder in `$B`.
fn shell(lab: &Lab, script: &str) -> Run {
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_zoneadm"));
    let mut command = Command::new("timeout");
    command
        .args(["10", "sh", "-c", script])
        .env("ZONES_ROOT", lab.path())
        .env("B", bin.parent().expect("a folder"));
    Run::from(command.stdin(Stdio::null()).output().expect("timeout(1) and sh(1)"))
}

#[test]
fn cgroups_of_a_zone_are_bounded_and_nobody_elses() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let text = fs::read_to_string(lab.path().join("run/zones/zion/running")).expect("a record");
    let Some(group) = text.split_whitespace().find_map(|w| w.strip_prefix("cgroup=")).map(PathBuf::from)
    else {
        eprintln!("SKIPPED: this host has no cgroup v2");
        return;
    };
    for folder in [group.as_path(), group.parent().expect("a parent")] {
        let mode = fs::metadata(folder).expect("it is there").mode();
        assert_eq!(mode & 0o022, 0, "{} is open to others: {mode:o}", folder.display());
    }
    // Names of 250 characters: a few levels of them are longer than any path may be.
    let script = "cd /sys/fs/cgroup; n=$(printf '%0250d' 1); i=0; \
        while [ $i -lt 100 ] && mkdir $n 2>/dev/null; do cd -P ./$n || break; i=$((i+1)); done; echo $i";
    let run = lab.sh("zion", script);
    let depth: u32 = run.out.trim().parse().expect("a number");
    assert!((17..100).contains(&depth), "{run:?}");
    let run = lab.sh("zion", "echo max > /sys/fs/cgroup/cgroup.max.depth");
    assert_ne!(run.status, 0, "the zone can take its limit away");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_ready_zone_holds_nothing_that_its_caller_had_open() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    // cat ends when the last process that has the pipe open has closed it.
    let run = shell(&lab, "{ $B/zoneadm -z zion ready 7>&1 >/dev/null; } | cat");
    assert_eq!((run.status, run.err.as_str()), (0, ""), "{run:?}");
    assert_eq!(lab.state("zion"), "ready");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_caller_that_ignores_its_children() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let ignoring =
        |line: &str| shell(&lab, &format!("trap '' CHLD PIPE HUP INT TERM; umask 077; exec $B/{line}"));
    assert_eq!(ignoring("zoneadm -z zion boot").status, 0);
    let run = ignoring("zlogin zion 'umask; grep SigIgn /proc/self/status; exit 3'");
    assert_eq!((run.out.as_str(), run.status), ("0022\nSigIgn:\t0000000000000000\n", 3), "{run:?}");
    lab.kill_supervisor("zion");
    let run = ignoring("zoneadm -z zion boot");
    assert!(run.err.contains("restarted zoneadmd to recover"), "{run:?}");
    assert_eq!(ignoring("zoneadm -z zion reboot").status, 0);
    assert_eq!(ignoring("zoneadm -z zion shutdown").status, 0);
    lab.assert_clean();
}

#[test]
fn a_zone_that_covers_its_dev_is_still_supervised() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let victim = lab.path().join("victim");
    fs::write(&victim, "the host's").expect("written");
    lab.ok("zlogin", &["zion", &format!("mount -t tmpfs t /dev && ln -s {} /dev/console", victim.display())]);
    let old = record(&lab, "zion", "supervisor");
    lab.kill_supervisor("zion");
    lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert_ne!(record(&lab, "zion", "supervisor"), old, "nobody supervises the zone");
    assert_eq!(fs::read_to_string(&victim).expect("it is there"), "the host's");
    // It ends from inside, and that is noticed.
    lab.run("zlogin", &["zion", "kill -38 1"]);
    lab.assert_clean();
    assert_eq!(lab.state("zion"), "installed");
}

#[test]
fn any_user_is_told_the_same_by_list() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let program = lab.path().join("zoneadm");
    fs::copy(env!("CARGO_BIN_EXE_zoneadm"), &program).expect("copied");
    let nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(args);
        Run::from(command.env("ZONES_ROOT", lab.path()).output().expect("setpriv(1)"))
    };
    assert_eq!(nobody(&["list", "-cp"]).out, lab.ok("zoneadm", &["list", "-cp"]));
    let run = nobody(&["-z", "zion", "halt"]);
    assert_eq!(
        (run.status, run.err.as_str()),
        (1, "zoneadm: zone 'zion': only a privileged user may halt a zone.\n")
    );
    let socket = fs::metadata(lab.path().join("run/zones/zion/console.sock")).expect("it is there");
    assert_eq!(socket.mode() & 0o077, 0, "the socket is open to others");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_halt_does_not_wait_for_an_orderly_shutdown() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = record(&lab, "zion", "init");
    let kill = |signal: &str, pid: &str| Command::new("kill").args([signal, pid]).status().expect("kill(1)");
    // By this signal the built-in init is asked to end the zone.
    let wait_for_power_off_in = |init: &str, field: &str| {
        let is_set = || {
            let status = fs::read_to_string(format!("/proc/{init}/status")).expect("init runs");
            let mask = status.lines().find_map(|l| l.strip_prefix(field)).expect("a mask");
            u64::from_str_radix(mask.trim(), 16).expect("hexadecimal") & (1 << (38 - 1)) != 0
        };
        for _ in 0..5000 {
            if is_set() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("init has no power-off signal in {field}");
    };
    // An init that hangs, once it has come so far that it takes a signal.
    let hang = |init: &str| {
        wait_for_power_off_in(init, "SigBlk:");
        kill("-STOP", init);
    };
    hang(&init);
    let begin = |init: &str| {
        let child = lab.command("zoneadm").args(["-z", "zion", "shutdown"]).spawn().expect("zoneadm");
        // The state is written before init is asked.
        wait_for_power_off_in(init, "ShdPnd:");
        assert_eq!(lab.state("zion"), "shutting_down");
        child
    };
    let mut shutdown = begin(&init);
    let start = Instant::now();
    let halt = lab.run("zoneadm", &["-z", "zion", "halt"]);
    assert_eq!((halt.status, halt.err.as_str()), (0, ""));
    assert!(start.elapsed() < Duration::from_secs(5), "halt took {:?}", start.elapsed());
    assert!(shutdown.wait().expect("it ends").success());
    lab.assert_clean();

    // The one who shuts down dies; the supervisor does the rest when init has ended after all.
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = record(&lab, "zion", "init");
    hang(&init);
    let mut shutdown = begin(&init);
    shutdown.kill().expect("it was there");
    shutdown.wait().expect("it ends");
    kill("-CONT", &init);
    lab.assert_clean();
    assert_eq!(lab.state("zion"), "installed");
}

/// What has been written down and not done is not said of the zone, and has no effect later.
#[test]
fn who_is_killed_before_the_end_of_the_zone_leaves_a_running_zone() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    let killed = |words: &[&str]| {
        let mut command = lab.command("zoneadm");
        command.args(["-z", "zion"]).args(words).env("ZONES_TEST_KILL_AT", "announced");
        assert_eq!(command.output().expect("zoneadm").status.signal(), Some(9), "{words:?}");
    };
    lab.ok("zoneadm", &["-z", "zion", "ready"]);
    killed(&["halt"]);
    assert_eq!(lab.state("zion"), "ready");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = record(&lab, "zion", "init");
    for words in
        [&["shutdown", "-r"][..], &["reboot"], &["halt"], &["shutdown"], &["shutdown", "-r", "--", "-v"]]
    {
        killed(words);
        assert_eq!(lab.state("zion"), "running", "{words:?}");
        let boot = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!((boot.status, boot.err.contains("already booted")), (0, true), "{words:?} {boot:?}");
        assert_eq!(record(&lab, "zion", "init"), init, "the zone is the same after {words:?}");
    }
    // The zone ends by itself: nobody has asked for another boot.
    lab.ok("zlogin", &["zion", "/sbin/init", "0"]);
    for _ in 0..200 {
        if lab.state("zion") == "installed" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(lab.state("zion"), "installed");
    lab.assert_clean();
}

/// A service that is slow to stop does not cost the zone its reboot.
#[test]
fn the_wish_to_reboot_survives_a_slow_shutdown() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    // It takes the request, and ends when it is told a second time.
    let script = lab.in_zone("zion", "/var/tmp/init");
    let text = "#!/bin/bash\ntrap 'touch /var/tmp/asked' PWR\ntrap 'exit 0' TERM\ntouch /var/tmp/up\nwhile :; do sleep 0.05; done\n";
    fs::write(&script, text).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::copy(&script, lab.in_zone("zion", "/var/tmp/other")).expect("copied");
    lab.configure_again("zion", "set bootargs=\"-i /var/tmp/init\"");
    let file = |name: &str| lab.in_zone("zion", &format!("/var/tmp/{name}"));
    let until = |what: &str, done: &dyn Fn() -> bool| {
        assert!(
            (0..1000).any(|_| done() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }),
            "{what}"
        );
    };
    for (words, then, text) in [
        (&["shutdown", "-t", "1", "-r"][..], "running", "it will be booted again"),
        // The arguments are those of the next boot alone.
        (&["shutdown", "-t", "1", "-r", "--", "-i", "/var/tmp/other"], "running", "it will be booted again"),
        (&["shutdown", "-t", "1"][..], "installed", "it will be halted"),
    ] {
        if lab.state("zion") == "installed" {
            lab.ok("zoneadm", &["-z", "zion", "boot"]);
        }
        until("init runs", &|| file("up").exists());
        let init = record(&lab, "zion", "init");
        let run = lab.run("zoneadm", &[&["-z", "zion"], words].concat());
        assert!(
            run.status == 1 && run.err.contains("still shutting down") && run.err.contains(text),
            "{run:?}"
        );
        assert!(file("asked").exists(), "it was not asked");
        assert_eq!(lab.state("zion"), "shutting_down");
        for name in ["asked", "up"] {
            fs::remove_file(file(name)).expect("a file of the first boot");
        }
        assert!(Command::new("kill").args(["-TERM", &init]).status().is_ok_and(|s| s.success()));
        until(then, &|| lab.state("zion") == then);
        let other = words.contains(&"/var/tmp/other");
        assert!(
            !other || lab.ok("zlogin", &["-S", "zion", "cat /proc/1/cmdline"]).contains("/var/tmp/other")
        );
    }
    lab.assert_clean();
}

#[test]
fn an_init_that_cannot_be_asked_to_end() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot", "--", "-i", "/usr/bin/cat"]);
    let start = Instant::now();
    let run = lab.run("zoneadm", &["-z", "zion", "shutdown"]);
    assert!(
        run.status == 1 && run.err.contains("takes no signal") && run.err.contains("use halt"),
        "{run:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(lab.state("zion"), "running");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn uninstall_takes_away_what_a_crash_has_left() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = record(&lab, "zion", "init");
    // The supervisor first: it would tidy up.
    lab.kill_supervisor("zion");
    assert!(Command::new("kill").args(["-9", &init]).status().expect("kill(1)").success());
    for _ in 0..500 {
        if lab.state("zion") == "installed" {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!lab.leftovers().is_empty(), "the test shows nothing");
    lab.ok("zoneadm", &["-z", "zion", "uninstall", "-F"]);
    lab.assert_clean();

    // Who watches the console of a zone that goes is told, and let go.
    lab.ok("zoneadm", &["-z", "zion", "install"]);
    let mut watch = lab.command("zlogin");
    watch.args(["-C", "zion"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let watch = watch.spawn().expect("zlogin");
    for _ in 0..500 {
        if lab.path().join("run/zones/zion/watched").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    lab.ok("zoneadm", &["-z", "zion", "uninstall", "-F"]);
    let said = Run::from(watch.wait_with_output().expect("it ends"));
    assert!(said.out.contains("[NOTICE: Zone is being uninstalled.  Disconnecting...]"), "{said:?}");
    lab.assert_clean();
}

#[test]
fn zone_numbers_are_unique_also_after_the_last_one() {
    let Some(lab) = Lab::on_disk() else { return };
    for zone in ["a", "b", "c", "d"] {
        lab.installed(zone, "");
    }
    let numbers = lab.path().join("run/zones/.next-id");
    let boot = |zone: &str| {
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        record(&lab, zone, "id")
    };
    assert_eq!(boot("a"), "1");
    assert_eq!(boot("b"), "2");
    assert_eq!(boot("c"), "3");
    lab.ok("zoneadm", &["-z", "a", "halt"]);
    fs::write(&numbers, "9998\n").expect("written");
    assert_eq!(boot("a"), "9999");
    assert_eq!(boot("d"), "1");
    lab.ok("zoneadm", &["-z", "a", "halt"]);
    assert_eq!(boot("a"), "4", "2 and 3 are in use");
    // A file that a crash has cut short.
    lab.ok("zoneadm", &["-z", "d", "halt"]);
    fs::write(&numbers, "").expect("written");
    assert_eq!(boot("d"), "1");
    lab.ok("zoneadm", &["-z", "d", "halt"]);
    assert_eq!(boot("d"), "5");
    for zone in ["a", "b", "c", "d"] {
        lab.ok("zoneadm", &["-z", zone, "halt"]);
    }
    lab.assert_clean();
}

#[test]
fn mount_points_that_cannot_be() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    for (dir, expected) in [
        ("/usr/no-such-folder/x", "make it on the host, or choose another dir"),
        ("/dev/console", "the zone's own console is mounted there"),
        ("/etc/hostname/x", "Not a directory"),
    ] {
        let lines = format!("remove -F fs; add fs; set type=lofs; set special=/tmp; set dir={dir}; end");
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], &lines).status, 0);
        let boot = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert!(boot.status == 1 && boot.err.contains(expected), "{boot:?}");
        assert!(!boot.err.contains("os error"), "{boot:?}");
        lab.assert_clean();
    }
}

/// A zone whose process 1 was killed is not taken for one that runs while the kernel still takes it apart.
#[test]
fn a_boot_right_after_a_kill_boots() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    for verb in ["boot", "ready"] {
        for _ in 0..15 {
            lab.ok("zoneadm", &["-z", "zion", verb]);
            let init = record(&lab, "zion", "init");
            lab.kill_supervisor("zion");
            assert!(Command::new("kill").args(["-9", &init]).status().is_ok_and(|s| s.success()));
            let again = lab.run("zoneadm", &["-z", "zion", verb]);
            assert_eq!(again.status, 0, "{again:?}");
            assert!(!again.err.contains("already"), "{again:?}");
            let new = record(&lab, "zion", "init");
            assert!(
                new != init && std::path::Path::new("/proc").join(&new).exists(),
                "{init} {new} {again:?}"
            );
            lab.ok("zoneadm", &["-z", "zion", "halt"]);
        }
    }
    lab.assert_clean();
}
