//! Who a login becomes, when the zone's files lie.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Lab;
use super::lab::record;

/// Guards `identity::parse_id`: to the kernel the highest id means "stay who you are", which is root.
#[test]
fn numbers_that_are_none() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let bad = [
        "-1",
        "4294967295",
        "4294967296",
        "-4294967296",
        "18446744073709551616",
        "0x0",
        "+0",
        " 0",
        "",
        "70000",
    ];
    for (n, bad) in bad.iter().enumerate() {
        for line in [format!("eve{n}:x:{bad}:1000::/:/bin/sh"), format!("mal{n}:x:1000:{bad}::/:/bin/sh")] {
            let name = line.split(':').next().expect("a name").to_owned();
            lab.user("zion", &line);
            let run = lab.run("zlogin", &["-l", &name, "zion", "id"]);
            assert!(run.status == 1 && run.out.is_empty(), "{line}: {run:?}");
        }
    }
    // A group of the host's, or one that would be passed over.
    for bad in ["-1", "70000"] {
        lab.user("zion", "ann:x:1000:1000::/:/bin/sh");
        fs::write(lab.in_zone("zion", "/etc/group"), format!("a:x:{bad}:ann\nb:x:7:ann\n")).expect("written");
        let run = lab.run("zlogin", &["-l", "ann", "zion", "id -G"]);
        assert!(run.status == 1 || run.out == "1000 7\n", "{bad}: {run:?}");
    }
    lab.halted("zion");
}

/// Guards `enter::open_regular`: nothing but a file is read, and nothing is waited for.
#[test]
fn files_that_are_none() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    for name in ["passwd", "group"] {
        let file = lab.in_zone("zion", &format!("/etc/{name}"));
        let kept = fs::read(&file).expect("the zone has one");
        for made in [
            "mkfifo $f",
            "mkdir $f",
            "ln -s /proc/self/fd/0 $f",
            "ln -s /proc/self/root/etc/$n.real $f",
            "ln -s /proc/1/cwd/etc/$n.real $f",
            "ln -s /dev/zero $f",
            "ln -s $f $f",
            "ln -s /dev/console $f",
            "ln -s /proc/self/mem $f",
            "mknod $f c 1 5 2>/dev/null || ln -s nothing $f",
            "truncate -s 1T $f",
        ] {
            let script = format!("cd /etc; n={name}; f=/etc/{name}; rm -rf $f; {made}");
            assert_eq!(lab.sh("zion", &script).status, 0, "{made}");
            // With input that would make a user of whoever reads it.
            let input = "root:x:0:0::/:/bin/sh\nnobody:x:0:0::/:/bin/sh\n";
            let mut command = Command::new("timeout");
            command.args(["10", env!("CARGO_BIN_EXE_zlogin"), "-l", "nobody", "zion", "id -u"]);
            let typed = lab.path().join("typed");
            fs::write(&typed, input).expect("written");
            command.env("ZONES_ROOT", lab.path()).stdin(fs::File::open(&typed).expect("a file"));
            let run = super::Run::from(command.output().expect("timeout(1)"));
            assert_ne!(run.status, 124, "{name}: {made}: the login waits: {run:?}");
            assert_ne!(run.out, "0\n", "{name}: {made}: {run:?}");
            // Root gets in to repair it.
            assert_eq!(lab.sh("zion", "id -u").out, "0\n", "{name}: {made}");
            let again = format!("rm -rf /etc/{name}");
            assert_eq!(lab.sh("zion", &again).status, 0);
        }
        fs::write(&file, kept).expect("written");
    }
    lab.halted("zion");
}

/// Guards the same against a zone that exchanges the file meanwhile.
#[test]
fn files_that_change() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let etc = lab.in_zone("zion", "/etc");
    lab.user("zion", "ann:x:1000:1000::/:/bin/sh");
    symlink("/proc/self/fd/0", etc.join("other")).expect("a link");
    let attacker = lab.attacker("zion", include_str!("attack/flip.py"), &["/etc", "passwd", "other"]);
    let typed = lab.path().join("typed");
    fs::write(&typed, "ann:x:0:0::/:/bin/sh\n").expect("written");
    let (mut became, mut times) = (0, 0);
    while times < 60 || !attacker.has_said_something() {
        times += 1;
        assert!(times < 1000, "the attacker does not get on");
        let mut command = lab.command("zlogin");
        command.args(["-l", "ann", "zion", "id -u"]).stdin(fs::File::open(&typed).expect("a file"));
        let run = super::Run::from(command.output().expect("zlogin"));
        assert!(run.out == "1000\n" || run.status == 1 && run.out.is_empty(), "{run:?}");
        became += u32::from(run.status == 0);
    }
    let flips = attacker.flips();
    assert!(flips >= 5000, "only {flips} flips");
    assert!(became > 0, "nobody got in at all");
    lab.halted("zion");
}

/// Guards the lookup of our own: no program of the host asks the zone's name service, which may be any code.
#[test]
fn a_name_service_of_the_zone_is_not_loaded() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let library = lab.in_zone("zion", "/var/lib/libnss_evil.so.2");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/escapes/attack/nss.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("a C compiler, which Rust needs to link").success());
    let prepare = "echo /var/lib > /etc/ld.so.conf; ldconfig; echo 'passwd: evil files' > /etc/nsswitch.conf; \
        echo 'group: evil files' >> /etc/nsswitch.conf; getent passwd nobody >/dev/null; cat /var/tmp/loaded";
    let run = lab.sh("zion", prepare);
    assert!(run.out.contains("getent"), "the library does not work: {run:?}");
    for words in [&["zion", "true"][..], &["-l", "nobody", "zion", "true"], &["-S", "zion", "true"]] {
        lab.run("zlogin", words);
    }
    lab.kill_supervisor("zion");
    lab.run("zoneadm", &["-z", "zion", "boot"]);
    let loaded = lab.sh("zion", "sort -u /var/tmp/loaded").out;
    for name in ["zlogin", "zoneadm", "zoneadmd"] {
        assert!(!loaded.lines().any(|l| l == name), "{name} has run code of the zone: {loaded}");
    }
    lab.halted("zion");
}

/// Guards `made::read`: a process may call itself by bytes that are no text, and what the kernel says of it counts all
/// the same. A zone whose first process was not understood would be taken for one that has ended.
#[test]
fn a_first_process_whose_name_is_no_text() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let init = lab.in_zone("zion", "/var/tmp/init");
    let script = "#!/bin/sh\nprintf '\\377) Z 1' >/proc/self/comm\ntouch /var/tmp/renamed\nwhile :; do sleep 1000; done\n";
    fs::write(&init, script).expect("written");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("chmod");
    lab.ok("zoneadm", &["-z", "zion", "boot", "--", "-i", "/var/tmp/init"]);
    let renamed = lab.in_zone("zion", "/var/tmp/renamed");
    for _ in 0..1000 {
        if renamed.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = record(&lab, "zion", "init");
    let name = fs::read(format!("/proc/{pid}/comm")).expect("its first process lives");
    assert_eq!(name, b"\xff) Z 1\n");
    assert_eq!(lab.state("zion"), "running");
    assert_eq!(lab.ok("zlogin", &["zion", "echo here"]), "here\n");
    let again = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(again.err.contains("already booted"), "{again:?}");
    lab.halted("zion");
    assert!(!Path::new("/proc").join(&pid).exists(), "halt ends it");
}
