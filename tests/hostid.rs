//! The host id of a zone: what programs in it are told, and that the zone cannot choose it.

#![allow(clippy::disallowed_methods)]

mod lab;

use std::fs;
use std::os::unix::fs::symlink;

use lab::Lab;

fn set(lab: &Lab, lines: &str) {
    let run = lab.run_with("zonecfg", &["-z", "zion"], &[], lines);
    assert_eq!(run.status, 0, "{run:?}");
}

#[test]
fn programs_in_the_zone_see_the_configured_host_id() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "set hostid=80f0c086");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "80f0c086\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    // Another number takes the place of the former one, with and without 0x; small ones are padded.
    for (text, shown) in [("0xFFFFFFFE", "fffffffe\n"), ("0", "00000000\n"), ("1f", "0000001f\n")] {
        set(&lab, &format!("set hostid={text}"));
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), shown, "{text}");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    // Nothing of it stays: a zone without the property has its own file, or none.
    set(&lab, "clear hostid");
    fs::write(lab.in_zone("zion", "/etc/hostid"), 0x0bad_cafe_u32.to_ne_bytes()).expect("written");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "0badcafe\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    set(&lab, "set hostid=12345678");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "12345678\n");
    assert_eq!(
        fs::read(lab.in_zone("zion", "/etc/hostid")).expect("the disk's own file"),
        0x0bad_cafe_u32.to_ne_bytes()
    );
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_whole_root_zone_has_a_host_id_too() {
    let Some(lab) = Lab::new() else { return };
    // Enough of a system to print it: what the host's hostid(1) and sh(1) need.
    let tree = lab.path().join("tree");
    let script = "set -e; mkdir -p $T/etc $T/dev $T/proc $T/sys $T/run $T/tmp $T/root; \
        for p in $(command -v sh) $(command -v hostid); do \
            for f in $p $(ldd $p | grep -o '/[^ ]*'); do mkdir -p $T${f%/*}; cp -L $f $T$f; done; done; \
        test -e $T/bin/sh || { mkdir -p $T/bin; cp -L /bin/sh $T/bin/sh; }";
    let made = std::process::Command::new("sh").args(["-c", script]).env("T", &tree).status();
    assert!(made.is_ok_and(|s| s.success()), "a small tree");
    let run = lab.run_with(
        "zonecfg",
        &["-z", "zion"],
        &[],
        "create -b; set zonepath=/zones/zion; set hostid=cafe0001; exit",
    );
    assert_eq!(run.status, 0, "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "install", "-d", &tree.to_string_lossy()]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "cafe0001\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn root_of_the_zone_cannot_choose_it() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "set hostid=80f0c086");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    for attack in [
        "echo abcd > /etc/hostid",
        "rm -f /etc/hostid",
        "mv /etc/hostid /etc/other",
        "umount /etc/hostid",
        "umount -l /etc/hostid",
        "mount -o remount,bind,rw /etc/hostid",
        "mount -o remount,rw /etc/hostid && echo abcd > /etc/hostid",
        "echo abcd > /dev/.hostid",
        "chmod 666 /dev/.hostid",
        "unshare -m umount /etc/hostid",
        "unshare -Urm umount /etc/hostid",
        "mount --bind /etc /mnt",
    ] {
        let run = lab.sh("zion", attack);
        assert_ne!(run.status, 0, "must fail: {attack}: {run:?}");
        assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "80f0c086\n", "after {attack}");
    }
    // The host's file belongs to nobody in the zone; its name can go, what it says cannot.
    lab.ok("zlogin", &["zion", "rm -f /dev/.hostid"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "80f0c086\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_hostile_root_leads_nothing_astray() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "set hostid=80f0c086");
    let (etc, file) = (lab.in_zone("zion", "/etc"), lab.in_zone("zion", "/etc/hostid"));
    let victim = lab.path().join("victim");
    fs::create_dir(&victim).expect("a folder of the host");
    fs::write(victim.join("hostid"), "the host's").expect("written");
    let refused = |text: &str| {
        let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert!(run.status == 1 && run.err.contains(text), "{run:?}");
        assert_eq!(fs::read_to_string(victim.join("hostid")).expect("untouched"), "the host's");
        assert_eq!(fs::read_dir(&victim).expect("there").count(), 1);
        lab.assert_clean();
    };
    symlink(victim.join("hostid"), &file).expect("a link");
    refused("hostid: mount point /etc/hostid is a symbolic link");
    fs::remove_file(&file).expect("removed");
    symlink(victim.join("new"), &file).expect("a link to nowhere");
    refused("hostid: mount point /etc/hostid is a symbolic link");
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("a folder");
    refused("hostid: mount point /etc/hostid is a directory");
    fs::remove_dir(&file).expect("removed");
    fs::rename(&etc, etc.with_file_name("etc.away")).expect("moved");
    symlink(&victim, &etc).expect("a link");
    refused("symbolic link");
    fs::remove_file(&etc).expect("removed");
    fs::rename(etc.with_file_name("etc.away"), &etc).expect("moved back");
    // What is no link is covered, whatever it is, and never opened.
    assert!(
        std::process::Command::new("mkfifo").arg(&file).status().is_ok_and(|s| s.success()),
        "mkfifo is needed"
    );
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "hostid"]), "80f0c086\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}
