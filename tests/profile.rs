//! `file-mac-profile`: what root of a zone can write to, and what it can do about that.

mod lab;

use std::fs;
use std::os::unix::fs::symlink;

use lab::Lab;

/// Places of a zone's disk, and under which of strict, fixed-configuration and flexible-configuration
/// something can be written there.
const PLACES: &[(&str, [bool; 3])] = &[
    ("/", [false, false, false]),
    ("/mnt", [false, false, false]),
    ("/usr", [false, false, false]),
    ("/etc", [false, false, true]),
    ("/root", [false, false, true]),
    ("/home", [false, false, true]),
    ("/var", [false, true, true]),
    ("/var/log", [false, true, true]),
    ("/var/tmp", [false, true, true]),
    ("/var/lib", [false, true, true]),
    ("/var/lib/dpkg", [false, false, true]),
    ("/var/spool", [false, true, true]),
    ("/var/spool/cron", [false, false, true]),
    // Not on the disk, or given by a resource.
    ("/tmp", [true, true, true]),
    ("/run", [true, true, true]),
    ("/dev/shm", [true, true, true]),
    ("/data", [true, true, true]),
    ("/memory", [true, true, true]),
];

const PROFILES: [&str; 3] = ["strict", "fixed-configuration", "flexible-configuration"];

/// A zone whose `fs` resources have mount points that are not there before its first boot.
fn zone(lab: &Lab, profile: &str) {
    let data = lab.path().join("data");
    fs::create_dir_all(&data).expect("a folder to give");
    lab.installed(
        "zion",
        &format!(
            "set file-mac-profile={profile}\n\
             add fs; set type=lofs; set special={}; set dir=/data; end\n\
             add fs; set type=tmpfs; set special=swap; set dir=/memory; end",
            data.display()
        ),
    );
    fs::create_dir_all(lab.in_zone("zion", "/var/lib/dpkg")).expect("a record of packages");
    fs::create_dir_all(lab.in_zone("zion", "/home")).expect("homes");
    fs::create_dir_all(lab.in_zone("zion", "/mnt")).expect("a mount point");
}

fn set(lab: &Lab, lines: &str) {
    let run = lab.run_with("zonecfg", &["-z", "zion"], &[], lines);
    assert_eq!(run.status, 0, "{run:?}");
}

#[test]
fn each_profile_has_its_writable_parts() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "none");
    fs::create_dir_all(lab.in_zone("zion", "/var/spool/cron")).expect("a folder of jobs");
    for (n, profile) in PROFILES.iter().enumerate() {
        set(&lab, &format!("set file-mac-profile={profile}"));
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        for (dir, writable) in PLACES {
            let file = format!("{}/written-{n}", dir.trim_end_matches('/'));
            let run = lab.sh("zion", &format!("echo {n} > {file} && rm {file}"));
            assert_eq!(run.status == 0, writable[n], "{profile}: {dir}: {run:?}");
            if !writable[n] {
                assert!(run.err.contains("Read-only file system"), "{profile}: {dir}: {run:?}");
            }
        }
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        lab.assert_clean();
    }
}

#[test]
fn what_is_written_in_a_part_is_on_the_zones_disk() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "fixed-configuration");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.ok("zlogin", &["zion", "echo kept > /var/log/kept; echo given > /data/given; echo gone > /tmp/gone"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    assert_eq!(fs::read_to_string(lab.in_zone("zion", "/var/log/kept")).expect("on disk"), "kept\n");
    assert_eq!(fs::read_to_string(lab.path().join("data/given")).expect("given"), "given\n");
    assert!(!lab.in_zone("zion", "/tmp/gone").exists(), "/tmp is memory");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "cat /var/log/kept /data/given"]), "kept\ngiven\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

/// What root of a zone may try to write to a file of a read-only root, below `$D` as a working folder in
/// memory. Each script ends well when it believes to have got through.
const ATTACKS: &[&str] = &[
    "mount -o remount,rw / && echo x > $F",
    "mount -o remount,bind,rw / && echo x > $F",
    "mount -o remount,bind,rw $(dirname $F) && echo x > $F",
    "umount / && echo x > $F",
    "umount -l / && echo x > $F",
    "mount --bind / $D && mount -o remount,bind,rw $D && echo x > $D$F",
    "mount --rbind / $D && echo x > $D$F",
    "mount --bind $(dirname $F) $D && echo x > $D/$(basename $F)",
    "mount --make-rshared / ; mount --bind / $D && echo x > $D$F",
    "mount --move / $D && echo x > $D$F",
    "echo x > /proc/self/root$F",
    "echo x > /proc/1/root$F",
    "cd / && echo x > /proc/self/cwd$F",
    "exec 3< $F && echo x > /proc/self/fd/3",
    "unshare -m sh -c 'mount -o remount,bind,rw / && echo x > '$F",
    "unshare -Urm sh -c 'mount -o remount,bind,rw / && echo x > '$F",
    "unshare -Urm sh -c \"mount --rbind / $D && mount -o remount,bind,rw $D && echo x > $D$F\"",
    "unshare -Urm umount -l /etc && echo x > $F",
    "nsenter -t 1 -m -- sh -c 'echo x > '$F",
    // mount_setattr(2) with AT_RECURSIVE, read-only cleared; and on a detached copy (open_tree(2)).
    "perl -e '$p = \"/\"; $a = pack(\"Q4\", 0, 1, 0, 0); syscall(442, -100, $p, 0x8000, $a, 32) == 0 or die $!' && \
     echo x > $F",
    "perl -e '$p = \"/\"; $t = syscall(428, -100, $p, 0x80001 | 0x8000); $t >= 0 or die $!; $e = \"\"; \
     $a = pack(\"Q4\", 0, 1, 0, 0); syscall(442, $t, $e, 0x9000, $a, 32) == 0 or die $!'",
    "mkdir -p $D/root && cd $D/root && mount --rbind / . && pivot_root . . && echo x > $F",
    "ln $F $D/link && echo x > $D/link",
    "ln $F /var/log/link && echo x > /var/log/link",
    "mv $F /var/log/moved",
    "rm -f $F",
    "chmod 777 $F",
    "chown 1000 $F",
    "touch -m $F",
    "chattr +i $F",
    "truncate -s 0 $F",
    // The disk below the mount, as a device.
    "mknod $D/disk b $(mountpoint -d / | tr : ' ') && dd if=/dev/zero of=$D/disk count=0",
    "mount -t devtmpfs none $D",
];

/// Attacks on the parts of fixed-configuration that are read-only among writable ones.
const ON_PARTS: &[&str] = &[
    "umount /var/spool/cron",
    "umount -l /var",
    "mv /var/spool/cron /var/spool/other",
    "mv /var/spool /var/other",
    "mv /var/lib /var/lib2",
    "rm -rf /var/lib/dpkg; mkdir /var/lib/dpkg",
    "mount -o remount,bind,rw /var/lib/dpkg",
    "mount --bind /var $D && echo x > $D/spool/cron/x && test -e /var/spool/cron/x",
    "echo x > /var/spool/../spool/cron/x",
];

#[test]
fn root_of_the_zone_cannot_write_around_it() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "fixed-configuration");
    let file = lab.in_zone("zion", "/etc/target");
    fs::write(&file, "as installed\n").expect("written");
    for place in ["/var/lib/dpkg/status", "/mnt/target"] {
        fs::write(lab.in_zone("zion", place), "as installed\n").expect("written");
    }
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let state = |place: &str| {
        let path = lab.in_zone("zion", place);
        let meta = std::os::unix::fs::MetadataExt::ctime_nsec(&fs::metadata(&path).expect("there"));
        (fs::read_to_string(path).expect("readable"), meta)
    };
    for place in ["/etc/target", "/var/lib/dpkg/status", "/mnt/target"] {
        let before = state(place);
        for (n, attack) in ATTACKS.iter().enumerate() {
            let run = lab.sh("zion", &format!("D=/run/a{n}; F={place}; mkdir -p $D; {attack}"));
            assert_ne!(run.status, 0, "must fail: {attack}: {run:?}");
            assert!(!run.err.contains("not found"), "cannot be tried: {attack}: {run:?}");
            assert_eq!(state(place), before, "after {attack}");
        }
    }
    for (n, attack) in ON_PARTS.iter().enumerate() {
        let run = lab.sh("zion", &format!("D=/run/b{n}; mkdir -p $D; {attack}"));
        assert_ne!(run.status, 0, "must fail: {attack}: {run:?}");
        assert_eq!(state("/var/lib/dpkg/status").0, "as installed\n", "after {attack}");
        let cron = fs::read_dir(lab.in_zone("zion", "/var/spool/cron")).expect("made at boot");
        assert_eq!(cron.count(), 0, "after {attack}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn what_is_mounted_over_it_ends_with_the_zone() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "strict");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    // Memory over the directory, and an overlay of it: both are the zone's to make, and change nothing.
    let overlay = "mkdir -p /run/u /run/w && mount -t overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w none /etc";
    for mount in ["mount -t tmpfs none /etc", overlay] {
        let run = lab.sh("zion", &format!("{mount} && echo x > /etc/planted && cat /etc/planted"));
        assert!(run.status != 0 || run.out == "x\n", "{run:?}");
        assert!(!lab.in_zone("zion", "/etc/planted").exists(), "after {mount}");
        lab.ok("zoneadm", &["-z", "zion", "reboot"]);
        assert_ne!(lab.sh("zion", "cat /etc/planted").status, 0, "after {mount}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_writable_boot_lasts_until_the_next_one() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "strict");
    let writes = |wanted: bool| {
        let run = lab.sh("zion", "echo x > /etc/written && rm /etc/written");
        assert_eq!(run.status == 0, wanted, "{run:?}");
    };
    lab.ok("zoneadm", &["-z", "zion", "boot", "-w"]);
    writes(true);
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    writes(false);
    lab.ok("zoneadm", &["-z", "zion", "reboot", "-w"]);
    writes(true);
    // The zone's own reboot is none of the administrator's.
    let first = lab::record(&lab, "zion", "init");
    lab.run("zlogin", &["zion", "kill -39 1"]);
    let again = || {
        let text = fs::read_to_string(lab.path().join("run/zones/zion/running")).unwrap_or_default();
        text.contains("state=running") && !text.contains(&format!("init={first} "))
    };
    for _ in 0..500 {
        if again() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(again(), "it reboots");
    writes(false);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    // A ready zone has its mounts.
    lab.ok("zoneadm", &["-z", "zion", "ready"]);
    let run = lab.run("zoneadm", &["-z", "zion", "boot", "-w"]);
    assert!(run.status == 1 && run.err.contains("halt the zone, then boot -w"), "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    writes(false);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn the_plan_shows_the_parts() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "fixed-configuration");
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    for line in [
        "keep /var writable\n",
        "keep /var/lib/dpkg read-only\n",
        "keep /var/spool/cron read-only\n",
        "mount tmpfs on /tmp, mode 1777",
        "file-mac-profile=fixed-configuration: make / read-only, after /proc /sys\n",
    ] {
        assert!(plan.contains(line), "{plan} lacks {line}");
    }
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot", "-w"]);
    assert!(!plan.contains("read-only, after") && !plan.contains("keep /var"), "{plan}");
    set(&lab, "set file-mac-profile=dynamic-zones");
    for command in [&["verify"][..], &["boot"]] {
        let run = lab.run("zoneadm", &[&["-z", "zion"], command].concat());
        assert!(
            run.status == 1 && run.err.contains("use 'set file-mac-profile=fixed-configuration'"),
            "{run:?}"
        );
    }
}

#[test]
fn what_a_boot_writes_into_the_root_is_there() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "strict");
    set(&lab, "set hostid=80f0c086");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "80f0c086\n");
    assert_eq!(lab.ok("zlogin", &["zion", "stat -f -c %T /proc /sys; hostname"]), "proc\nsysfs\nzion\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_copy_and_a_moved_zone_have_the_profile() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab, "strict");
    fs::write(lab.in_zone("zion", "/etc/mine"), "as installed\n").expect("written");
    lab.configure("twin", "set file-mac-profile=strict");
    lab.ok("zoneadm", &["-z", "twin", "clone", "zion"]);
    lab.ok("zoneadm", &["-z", "zion", "move", "/zones/other"]);
    for zone in ["zion", "twin"] {
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        let run = lab.sh(zone, "cat /etc/mine; echo x > /etc/mine");
        assert!(run.status != 0 && run.out == "as installed\n", "{run:?}");
        lab.ok("zoneadm", &["-z", zone, "halt"]);
    }
    lab.assert_clean();
}

#[test]
fn a_part_that_is_a_link_leads_nowhere() {
    for lab in [Lab::new(), Lab::without_openat2()].into_iter().flatten() {
        leads_nowhere(&lab);
    }
}

fn leads_nowhere(lab: &Lab) {
    zone(lab, "fixed-configuration");
    let victim = lab.path().join("victim");
    fs::create_dir(&victim).expect("a folder of the host");
    let var = lab.in_zone("zion", "/var");
    fs::rename(&var, var.with_file_name("away")).expect("moved");
    symlink(&victim, &var).expect("a link");
    let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(run.status == 1 && run.err.contains("mount point /var is a symbolic link"), "{run:?}");
    assert_eq!(fs::read_dir(&victim).expect("there").count(), 0);
    lab.assert_clean();
}

#[test]
fn what_is_inherited_is_not_hidden() {
    let Some(lab) = Lab::on_disk() else { return };
    // Below /tmp, which a profile puts into memory, and below a resource.
    let folders = ["tools", "over/tools"].map(|name| lab.path().join(name));
    for folder in &folders {
        fs::create_dir_all(folder).expect("a folder to inherit");
        fs::write(folder.join("file"), "inherited\n").expect("a file");
    }
    let [tools, deep] = folders.each_ref().map(|folder| folder.display());
    let over = lab.path().join("over");
    let lines = format!(
        "add inherit-pkg-dir; set dir={tools}; end\nadd inherit-pkg-dir; set dir={deep}; end\n\
         add fs; set type=tmpfs; set special=swap; set dir={}; end\n",
        over.display()
    );
    for profile in ["strict", "none"] {
        lab.installed("zion", &format!("set file-mac-profile={profile}\n{lines}"));
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        let run = lab.sh("zion", &format!("cat {tools}/file {deep}/file; stat -f -c %T {}", over.display()));
        assert_eq!(run.out, "inherited\ninherited\ntmpfs\n", "{profile}: {run:?}");
        let run = lab.sh("zion", &format!("touch {tools}/new {deep}/new"));
        assert!(run.status != 0 && run.err.matches("Read-only").count() == 2, "{run:?}");
        for verb in ["halt", "uninstall -F"] {
            let words: Vec<&str> = ["-z", "zion"].into_iter().chain(verb.split(' ')).collect();
            lab.ok("zoneadm", &words);
        }
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], "delete -F\n").status, 0);
    }
    lab.assert_clean();
}

#[test]
fn places_of_the_zones_own_are_not_inherited() {
    let Some(lab) = Lab::new() else { return };
    for (number, (dir, own)) in
        [("/dev/shm", "memory"), ("/proc/sys", "/proc"), ("/run", "memory")].into_iter().enumerate()
    {
        let zone = format!("z{number}");
        lab.configure(&zone, &format!("add inherit-pkg-dir; set dir={dir}; end"));
        let run = lab.run("zoneadm", &["-z", &zone, "verify"]);
        let text = format!("could not verify inherit-pkg-dir {dir}: every zone has its own {own} there");
        assert!(run.status != 0 && run.err.contains(&text), "{run:?}");
    }
}
