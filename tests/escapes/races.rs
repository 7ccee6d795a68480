//! Races for the paths along which the host reaches into a zone: somebody exchanges a folder and a link, at
//! least [`FLIPS`] times, while boots, logins and removals go by.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, unlinkat};

use super::{Attacker, Lab, both_ways};

/// How often the names are exchanged at least.
const FLIPS: u32 = 5000;

/// Does something at least twenty times, and goes on until the names have been exchanged often enough. Returns
/// how often.
fn meanwhile(attacker: &Attacker, mut work: impl FnMut()) -> u32 {
    let mut times = 0;
    while times < 20 || !attacker.has_said_something() {
        work();
        times += 1;
        assert!(times < 500, "the attacker does not get on");
    }
    times
}

/// Begins to exchange two names of a folder of the host.
fn flip(folder: &Path, one: &str, other: &str) -> Attacker {
    Attacker::on_host(include_str!("attack/flip.py"), &[&folder.display().to_string(), one, other])
}

/// Makes a folder outside that everybody may write to, so that only the way there is guarded.
fn outside(lab: &Lab, name: &str) -> std::path::PathBuf {
    let outside = lab.path().join(name);
    fs::create_dir(&outside).expect("a folder");
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).expect("chmod");
    outside
}

fn ended(attacker: Attacker) {
    let flips = attacker.flips();
    assert!(flips >= FLIPS, "only {flips} flips");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").file_name());
    entries.map(|n| n.to_string_lossy().into_owned()).collect()
}

both_ways! {
    /// Guards `boot::host::Build::target`: what is made and mounted goes to a descriptor beneath the root.
    mount_target(lab) {
        let outside = outside(lab, "outside");
        lab.installed("zion", "add fs\nset type=tmpfs\nset special=swap\nset dir=/data/in/deep\nend");
        let root = lab.path().join("zones/zion/root");
        fs::create_dir(root.join("data")).expect("a folder");
        symlink(&outside, root.join("other")).expect("a link");
        let attacker = flip(&root, "data", "other");
        let (mut went, mut refused) = (0, 0);
        let times = meanwhile(&attacker, || {
            let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
            if run.status == 0 {
                went += 1;
                lab.ok("zoneadm", &["-z", "zion", "halt"]);
            } else {
                refused += 1;
                assert!(run.err.contains("is a symbolic link") || run.err.contains("mount point"), "{run:?}");
            }
            assert_eq!(names(&outside), [""; 0], "something was made outside");
        });
        ended(attacker);
        assert!(refused > 0 && went + refused == times, "nothing was in the way: {went}, {refused}");
        lab.assert_clean();
    }

    /// Guards what a boot writes into the zone's `/etc`.
    own_files(lab) {
        let outside = outside(lab, "outside");
        lab.installed("zion", "set hostid=12345678");
        let root = lab.path().join("zones/zion/root");
        symlink(&outside, root.join("other")).expect("a link");
        let attacker = flip(&root, "etc", "other");
        meanwhile(&attacker, || {
            let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
            if run.status == 0 {
                lab.run("zlogin", &["-S", "zion", "true"]);
                lab.ok("zoneadm", &["-z", "zion", "halt"]);
            }
            assert_eq!(names(&outside), [""; 0], "something was made outside");
        });
        ended(attacker);
        lab.assert_clean();
    }

    /// Guards `boot::source::open`: what one zone is given of another one's root, that one cannot make into
    /// something of the host.
    source(lab) {
        let outside = outside(lab, "outside");
        fs::create_dir(outside.join("in")).expect("a folder");
        fs::write(outside.join("in/of-the-host"), "").expect("a file");
        lab.booted("zion", "");
        lab.sh("zion", "mkdir -p /var/share/in; chmod -R 755 /var/share; ln -s / /var/none");
        let root = lab.path().join("zones/zion/root");
        symlink(&outside, root.join("var/other")).expect("a link");
        let share = root.join("var/share/in").display().to_string();
        lab.installed("web", &format!("add fs\nset type=lofs\nset special={share}\nset dir=/got\nend"));
        // Root of the zone does it.
        let attacker = lab.attacker("zion", include_str!("attack/flip.py"), &["/var", "share", "other"]);
        let (mut went, mut refused) = (0, 0);
        let times = meanwhile(&attacker, || {
            let run = lab.run("zoneadm", &["-z", "web", "boot"]);
            if run.status == 0 {
                went += 1;
                assert_eq!(lab.sh("web", "ls /got").out, "", "a folder of the host is in the zone");
                lab.ok("zoneadm", &["-z", "web", "halt"]);
            } else {
                refused += 1;
            }
        });
        ended(attacker);
        assert!(went + refused == times && refused > 0, "nothing was in the way: {went}, {refused}");
        lab.halted("zion");
    }

    /// Guards `boot::source::Tops`: a folder of the host that one zone can write to holds the source of another
    /// one, or of its own next boot.
    shared_source(lab) {
        let outside = outside(lab, "outside");
        fs::create_dir(outside.join("in")).expect("a folder");
        fs::write(outside.join("in/of-the-host"), "").expect("a file");
        let shared = lab.path().join("shared");
        fs::create_dir_all(shared.join("theirs/in")).expect("a folder");
        symlink(&shared, lab.path().join("other-way")).expect("a link");
        symlink(&outside, shared.join("other")).expect("a link");
        let lofs = |special: &Path, dir: &str| {
            format!("add fs\nset type=lofs\nset special={}\nset dir={dir}\nend\n", special.display())
        };
        let both = lofs(&shared, "/shared") + &lofs(&shared.join("theirs/in"), "/got");
        lab.booted("zion", &both);
        lab.installed("web", &lofs(&shared.join("theirs/in"), "/got"));
        lab.installed("far", &lofs(&lab.path().join("other-way/theirs/in"), "/got"));
        let run = lab.run("zoneadm", &["-z", "far", "boot"]);
        assert!(run.status != 0 && run.err.contains("leads by a link into"), "{run:?}");
        let attacker = lab.attacker("zion", include_str!("attack/flip.py"), &["/shared", "theirs", "other"]);
        let (mut went, mut refused) = (0, 0);
        meanwhile(&attacker, || {
            let run = lab.run("zoneadm", &["-z", "web", "boot"]);
            if run.status == 0 {
                went += 1;
                assert_eq!(lab.sh("web", "ls /got").out, "", "a folder of the host is in the zone");
                lab.ok("zoneadm", &["-z", "web", "halt"]);
            } else {
                refused += 1;
            }
        });
        ended(attacker);
        assert!(refused > 0, "nothing was in the way: {went}");
        // Its own next boot.
        assert_eq!(lab.sh("zion", "cd /shared && mv theirs real").status, 0);
        symlink(&outside, shared.join("evil")).expect("a link");
        fs::rename(shared.join("evil"), shared.join("theirs")).expect("in its place");
        let run = lab.run("zoneadm", &["-z", "zion", "reboot"]);
        assert!(run.status != 0 && run.err.contains("is not followed"), "{run:?}");
        assert_eq!(lab.sh("zion", "ls /got").out, "");
        // What it runs with counts, also when its spec has lost it.
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], "remove -F fs\n").status, 0);
        let run = lab.run("zoneadm", &["-z", "web", "boot"]);
        assert!(run.status != 0 && run.err.contains("is not followed"), "{run:?}");
        lab.halted("zion");
    }

    /// Guards `sys::tree::copy`: what is copied from a folder that changes meanwhile lies beneath it.
    copy(lab) {
        let outside = outside(lab, "outside");
        for n in 0..50 {
            fs::write(outside.join(format!("of-the-host{n}")), "").expect("a file");
        }
        let from = lab.path().join("from");
        for folder in ["usr", "etc", "var/deep"] {
            fs::create_dir_all(from.join(folder)).expect("a folder");
        }
        for n in 0..50 {
            fs::write(from.join(format!("var/deep/file{n}")), "").expect("a file");
        }
        symlink(&outside, from.join("var/other")).expect("a link");
        lab.configure("zion", "");
        let attacker = flip(&from.join("var"), "deep", "other");
        let source = from.display().to_string();
        let mut copied = 0;
        meanwhile(&attacker, || {
            let run = lab.run("zoneadm", &["-z", "zion", "install", "-d", &source]);
            copied += u32::from(run.status == 0);
            let var = lab.path().join("zones/zion/root/var");
            for name in ["deep", "other"] {
                let is_dir = fs::symlink_metadata(var.join(name)).is_ok_and(|m| m.is_dir());
                let all = if is_dir { names(&var.join(name)) } else { Vec::new() };
                assert!(!all.iter().any(|n| n.starts_with("of-the-host")), "files from outside were copied");
            }
            lab.run("zoneadm", &["-z", "zion", "uninstall", "-F"]);
        });
        ended(attacker);
        assert!(copied > 0, "nothing was installed at all");
        lab.assert_clean();
    }

    /// Guards `sys::tree::remove`: what is removed lies beneath the root.
    removal(lab) {
        let outside = outside(lab, "outside");
        for n in 0..50 {
            fs::write(outside.join(format!("kept{n}")), "").expect("a file");
        }
        lab.configure("zion", "");
        let mut flips = 0;
        for _ in 0..12 {
            lab.ok("zoneadm", &["-z", "zion", "install"]);
            let var = lab.path().join("zones/zion/root/var");
            fs::create_dir(var.join("deep")).expect("a folder");
            for n in 0..200 {
                fs::write(var.join(format!("deep/kept{n}")), "").expect("a file");
                // There is time between the look at a name and its turn.
                fs::write(var.join(format!("file{n}")), "").expect("a file");
            }
            symlink(&outside, var.join("other")).expect("a link");
            let attacker = flip(&var, "deep", "other");
            let mut tries = 0;
            while lab.run("zoneadm", &["-z", "zion", "uninstall", "-F"]).status != 0 {
                tries += 1;
                assert!(tries < 20, "it cannot be removed");
            }
            flips += attacker.flips();
            assert_eq!(names(&outside).len(), 50, "something was removed outside");
        }
        assert!(flips >= FLIPS, "only {flips} flips");
        lab.assert_clean();
    }

    /// Guards `supervisor::daemon::give_console`: a new supervisor puts a console into the zone that runs. What
    /// `/` is there, the zone's init decides.
    console(lab) {
        let victim = outside(lab, "victim");
        fs::write(victim.join("console"), "the host's").expect("a file");
        lab.installed("zion", "");
        fs::create_dir_all(lab.in_zone("zion", "/jail/dev")).expect("a folder");
        symlink(&victim, lab.in_zone("zion", "/jail/other")).expect("a link");
        let init = lab.in_zone("zion", "/init");
        fs::write(&init, include_str!("attack/jailed.py")).expect("a program");
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("chmod");
        lab.ok("zoneadm", &["-z", "zion", "boot", "--", "-i", "/init"]);
        let dev = fs::File::open(lab.in_zone("zion", "/jail/dev")).expect("it is there");
        let attacker = lab.attacker("zion", include_str!("attack/flip.py"), &["/jail", "dev", "other"]);
        let mut went = 0;
        meanwhile(&attacker, || {
            lab.kill_supervisor("zion");
            lab.run("zoneadm", &["-z", "zion", "boot"]);
            assert_eq!(names(&victim), ["console"]);
            assert_eq!(fs::read_to_string(victim.join("console")).expect("it is there"), "the host's");
            went += u32::from(unlinkat(&dev, "console", AtFlags::empty()).is_ok());
        });
        ended(attacker);
        assert!(went > 0, "the console never went where init says");
        lab.halted("zion");
    }
}
