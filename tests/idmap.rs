//! Explicit `idmap` resources in real zones: whose is what, seen from inside and from the host.

mod lab;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use lab::{Lab, Run, record};
use zones::apply::paths::Root;
use zones::apply::store::{FileStore, first_choice};

/// Users 0 to 99 and 1000 to 1099, groups 0 to 199 and 1000 to 1099; in the spec not in that order.
const RANGES: &str = "add idmap; set type=uid; set start=1000; set target=810000; set count=100; end\n\
    add idmap; set type=gid; set start=0; set target=900000; set count=200; end\n\
    add idmap; set type=uid; set start=0; set target=800000; set count=100; end\n\
    add idmap; set type=gid; set start=1000; set target=910000; set count=100; end";

/// A lab whose zones are given ids by number. Two of those at once, of this run or of another one on this
/// machine, would refuse each other's ids.
fn numbered() -> Option<(fs::File, Lab)> {
    let alone = fs::File::open(std::env::temp_dir()).expect("a folder");
    alone.lock().expect("a lock");
    Some((alone, Lab::new()?))
}

const ACCOUNTS: &str = "ann:x:1000:1000::/tmp:/bin/sh\n";

fn zone(lab: &Lab) {
    lab.installed("zion", RANGES);
    let passwd = lab.in_zone("zion", "/etc/passwd");
    let text = fs::read_to_string(&passwd).expect("the zone has one");
    fs::write(&passwd, text + ACCOUNTS).expect("written");
}

/// Returns owner and group of a file of the running zone, as the host's ids.
fn outside(lab: &Lab, file: &str) -> (u32, u32) {
    let path = format!("/proc/{}/root{file}", record(lab, "zion", "init"));
    let meta = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    (meta.uid(), meta.gid())
}

fn inside(lab: &Lab, file: &str) -> String {
    lab.ok("zlogin", &["zion", &format!("stat -c %u:%g {file}")]).trim().to_owned()
}

fn ann(lab: &Lab, script: &str) -> Run {
    lab.run("zlogin", &["-l", "ann", "zion", script])
}

#[test]
fn several_ranges_of_users_and_groups_are_sorted_into_the_maps() {
    let Some((_alone, lab)) = numbered() else { return };
    zone(&lab);
    lab.ok("zoneadm", &["-z", "zion", "verify"]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = record(&lab, "zion", "init");
    let map = |file: &str| {
        let text = fs::read_to_string(format!("/proc/{init}/{file}")).expect("a map");
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(map("uid_map"), "0 800000 100 1000 810000 100");
    assert_eq!(map("gid_map"), "0 900000 200 1000 910000 100");
    // Its processes run under them.
    let run = ann(&lab, "id -u; id -g");
    assert_eq!(run.out, "1000\n1000\n", "{run:?}");
    let ids = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let first = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key)).expect("a line");
            line.split_whitespace().next().expect("an id").to_owned()
        };
        (first("Uid:"), first("Gid:"))
    };
    assert_eq!(ids(&init), ("800000".into(), "900000".into()));
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn devices_terminals_and_the_console_belong_to_the_zones_root() {
    let Some((_alone, lab)) = numbered() else { return };
    zone(&lab);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let nodes = lab.ok("zlogin", &["zion", "find /dev -xdev ! -name .zonename"]);
    let mut seen = 0;
    for node in nodes.lines().chain(["/dev/console", "/dev/pts", "/dev/pts/ptmx", "/dev/shm", "/run"]) {
        if node == "/dev/mqueue" {
            continue;
        }
        // Group 5 is that of terminals.
        let terminal = node == "/dev/console" && inside(&lab, node) == "0:5";
        let (group, text) = if terminal { (900_005, "0:5") } else { (900_000, "0:0") };
        assert_eq!(outside(&lab, node), (800_000, group), "{node} from outside");
        assert_eq!(inside(&lab, node), text, "{node} from inside");
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} nodes: {nodes}");
    for node in ["/dev/null", "/dev/tty", "/dev/ptmx", "/dev/console"] {
        assert!(nodes.lines().any(|n| n == node), "{node} is missing: {nodes}");
    }
    if std::path::Path::new("/dev/fuse").exists() {
        assert!(nodes.lines().any(|n| n == "/dev/fuse"), "{nodes}");
    } else {
        eprintln!("SKIPPED: this host has no /dev/fuse");
    }
    // The host has made them; the zone can use them, and make none.
    lab.ok(
        "zlogin",
        &["zion", "echo x > /dev/null && head -c 1 /dev/zero > /dev/null && chmod 660 /dev/full"],
    );
    assert_ne!(lab.sh("zion", "mknod /dev/mine c 1 3").status, 0);
    // A terminal belongs to who opens it, with the group of terminals.
    let script = r#"perl -MFcntl -e 'sysopen(M, "/dev/ptmx", O_RDWR) or die $!; $n = pack("i", 0);
        ioctl(M, 0x80045430, $n) or die $!; printf "%d\n", unpack("i", $n); $| = 1; print ""; sleep 1000' "#;
    let mut child = lab
        .command("zlogin")
        .args(["-l", "ann", "zion", &format!("{script}> /dev/shm/number & sleep 1000")])
        .spawn()
        .expect("zlogin starts");
    let number = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let run = lab.sh("zion", "ls /dev/pts | grep -v ptmx | tail -n 1");
        run.out.trim().parse::<u32>().ok()
    });
    let number = number.expect("a terminal");
    assert_eq!(outside(&lab, &format!("/dev/pts/{number}")), (810_000, 900_005));
    assert_eq!(inside(&lab, &format!("/dev/pts/{number}")), "1000:5");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    // It has ended with its zone.
    let _ = child.wait();
    lab.assert_clean();
}

#[test]
fn a_fuse_mount_belongs_to_the_zones_root() {
    if !std::path::Path::new("/dev/fuse").exists() || std::env::consts::ARCH != "x86_64" {
        eprintln!("SKIPPED: this host has no /dev/fuse, or another number of mount(2) than x86_64");
        return;
    }
    let Some((_alone, lab)) = numbered() else { return };
    zone(&lab);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    // A server of one directory that answers INIT (26) and GETATTR (3), and says that user 7 and group 8 own it.
    let script = r#"mkdir -p /run/f && perl -MFcntl -e '
        sysopen(F, "/dev/fuse", O_RDWR) or die "open: $!";
        ($s, $t, $d) = ("none", "/run/f", "fuse");
        $o = sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fileno(F));
        syscall(165, $s, $t, $d, 6, $o) == 0 or die "mount: $!";
        unless (fork) {
            while (sysread(F, $q, 1 << 17)) {
                ($n, $code, $id) = unpack("LLQ", $q);
                $body = $code == 26 ? pack("L4SSLLSSL8", 7, 31, 65536, 0, 1, 1, 65536, 1, 1, 0, (0) x 8)
                    : $code == 3 ? pack("QLLQ6L10", 1, 0, 0, 1, (0) x 5, (0) x 3, 040755, 1, 7, 8, 0, 512, 0)
                    : undef;
                $a = pack("LlQ", 16 + length($body // ""), defined $body ? 0 : -38, $id) . ($body // "");
                syswrite(F, $a);
            }
            exit 0;
        }
        print join(":", (stat "/run/f")[4, 5]), "\n";
        system("grep -h /run/f /proc/self/mountinfo; umount -l /run/f");'"#;
    let run = lab.sh("zion", script);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(run.status == 0 && lines.len() == 2, "{run:?}");
    assert_eq!(lines[0], "7:8", "{run:?}");
    assert!(lines[1].contains("user_id=0,group_id=0"), "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn files_have_the_ids_of_their_range_and_others_show_as_nobody() {
    let Some((_alone, lab)) = numbered() else { return };
    zone(&lab);
    let data = lab.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let lines = format!(
        "add fs; set type=lofs; set special={}; set dir=/data; end\n\
         add fs; set type=tmpfs; set special=swap; set dir=/memory; set options=\"mode=1777\"; end",
        data.display()
    );
    assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], &lines).status, 0);
    for (name, id) in [("known", 1005), ("between", 500), ("beyond", 70_000)] {
        fs::write(data.join(name), "x").expect("written");
        chown(data.join(name), Some(id), Some(id)).expect("given away");
    }
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.ok(
        "zlogin",
        &["zion", "touch /var/tmp/root /data/root; chmod 1777 /data; chown 7:150 /var/tmp/root"],
    );
    let run = ann(&lab, "touch /var/tmp/ann /data/ann /memory/ann");
    assert_eq!(run.status, 0, "{run:?}");
    // On the disk: the ids of the zone. Through the zone's mounts: those of the ranges.
    let disk = |path: &std::path::Path| {
        let meta = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (meta.uid(), meta.gid())
    };
    for (file, on_disk, here, there) in [
        ("/var/tmp/root", Some((7, 150)), (800_007, 900_150), "7:150"),
        ("/var/tmp/ann", Some((1000, 1000)), (810_000, 910_000), "1000:1000"),
        ("/memory/ann", None, (810_000, 910_000), "1000:1000"),
        ("/memory", None, (800_000, 900_000), "0:0"),
    ] {
        if let Some(ids) = on_disk {
            assert_eq!(disk(&lab.in_zone("zion", file)), ids, "{file} on disk");
        }
        assert_eq!(outside(&lab, file), here, "{file} from outside");
        assert_eq!(inside(&lab, file), there, "{file} from inside");
    }
    for (file, ids) in [("root", (0, 0)), ("ann", (1000, 1000))] {
        assert_eq!(disk(&data.join(file)), ids, "{file} in a shared folder");
    }
    assert_eq!(inside(&lab, "/data/known"), "1005:1005");
    for file in ["between", "beyond"] {
        assert_eq!(inside(&lab, &format!("/data/{file}")), "65534:65534", "{file}");
        // Nobody of the zone owns them, its root included.
        for attack in ["chown 0", "chmod 777"] {
            assert_ne!(lab.sh("zion", &format!("{attack} /data/{file}")).status, 0, "{attack} {file}");
        }
    }
    for id in ["100", "999", "1100", "70000"] {
        assert_ne!(lab.sh("zion", &format!("chown {id} /data/root")).status, 0, "{id} is nobody's");
        assert_ne!(lab.sh("zion", &format!("setpriv --reuid {id} true")).status, 0, "{id} is nobody's");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_map_that_breaks_a_rule_is_refused_by_verify_and_boot() {
    let Some((_alone, lab)) = numbered() else { return };
    lab.installed("zion", "");
    let range = |kind: &str, start: u32, target: u32, count: u32| {
        format!(
            "add idmap; set type={kind}; set start={start}; set target={target}; set count={count}; end\n"
        )
    };
    let spec = lab.path().join("etc/zones.d/zion.toml");
    let bare = fs::read_to_string(&spec).expect("a spec");
    for (lines, text) in [
        (range("uid", 0, 800_000, 10), "idmap: gid 0 is not mapped"),
        (range("gid", 0, 800_000, 10), "idmap: uid 0 is not mapped"),
        (range("both", 1, 800_000, 10), "idmap: uid 0 is not mapped"),
        (range("both", 0, 0, 10), "holds the host's root"),
        (
            range("both", 0, 800_000, 10) + &range("uid", 5, 900_000, 10),
            "idmap: ranges of uids overlap in the zone at 5",
        ),
        (
            range("both", 0, 800_000, 10) + &range("gid", 20, 800_009, 10),
            "idmap: ranges of gids overlap on the host at 800009",
        ),
        (range("both", 0, 4_294_967_290, 10), "go beyond the last id"),
    ] {
        // zonecfg may refuse to commit it; whoever edits the file gets past that.
        let mut toml = bare.clone();
        for line in lines.lines() {
            toml += "\n[[idmap]]\n";
            for part in line.split("; ").filter_map(|p| p.strip_prefix("set ")) {
                let (key, value) = part.split_once('=').expect("a property");
                let value = if key == "type" { format!("'{value}'") } else { value.to_owned() };
                toml += &format!("{key} = {value}\n");
            }
        }
        fs::write(&spec, toml).expect("written");
        for command in ["verify", "boot"] {
            let run = lab.run("zoneadm", &["-z", "zion", command]);
            assert!(run.status == 1 && run.err.contains(text), "{command}: {lines}: {run:?} lacks {text}");
        }
        assert_eq!(lab.state("zion"), "installed");
        lab.assert_clean();
    }
    fs::write(&spec, bare).expect("written");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn two_zones_have_the_same_ids_only_when_both_ask_for_it() {
    let Some((_alone, lab)) = numbered() else { return };
    let range = |more: &str| format!("add idmap; set start=0; set target=800000; set count=1000; {more}end");
    lab.configure("neo", &range("set shared=true; "));
    lab.ok("zoneadm", &["-z", "neo", "install"]);
    lab.configure("zion", &range(""));
    let run = lab.run("zoneadm", &["-z", "zion", "install"]);
    assert!(run.status == 1 && run.err.contains("or set shared=true in both"), "{run:?}");
    let lines = "select idmap start=0; set shared=true; end";
    assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], lines).status, 0);
    lab.ok("zoneadm", &["-z", "zion", "install"]);
    for zone in ["neo", "zion"] {
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        assert_eq!(lab.ok("zlogin", &[zone, "awk '{ print $2 }' /proc/self/uid_map"]), "800000\n");
    }
    // Same ids, still no way to each other's processes.
    let other = record(&lab, "neo", "init");
    assert_ne!(lab.sh("zion", &format!("kill -0 {other}")).status, 0);
    for zone in ["neo", "zion"] {
        lab.ok("zoneadm", &["-z", zone, "halt"]);
    }
    lab.assert_clean();
}

/// The private range of a zone: its first id, as it is kept.
fn kept(lab: &Lab, zone: &str) -> u32 {
    let text = fs::read_to_string(lab.path().join(format!("var/lib/zones/{zone}/idmap"))).expect("a range");
    text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn zones_of_two_roots_never_run_with_the_same_ids() {
    let (Some(one), Some(two)) = (Lab::on_disk(), Lab::on_disk()) else { return };
    one.installed("zion", "");
    one.ok("zoneadm", &["-z", "zion", "boot"]);
    two.installed("neo", "");
    two.ok("zoneadm", &["-z", "neo", "boot"]);
    let first = kept(&one, "zion");
    assert_ne!(first, kept(&two, "neo"));
    two.ok("zoneadm", &["-z", "neo", "halt"]);
    let range = two.path().join("var/lib/zones/neo/idmap");
    let refused = |lab: &Lab, zone: &str, other: &Lab, holder: &str, id: u32| {
        let run = lab.run("zoneadm", &["-z", zone, "boot"]);
        let text = format!(
            "zoneadm: zone '{zone}': uid {id} of the host is one of zone '{holder}' of the root {}, which runs; \
             halt that zone, or give this one ids of its own by idmap resources\n",
            other.path().display()
        );
        assert!(run.status == 1 && run.err.starts_with(&text), "{run:?}");
        assert_eq!(lab.state(zone), "installed");
        lab.assert_clean();
    };
    // A range that was given while the other zone did not run, or was brought from another machine.
    fs::write(&range, format!("0 {first} 65536\n")).expect("written");
    refused(&two, "neo", &one, "zion", first);
    // Its supervisor is not what says that a zone runs.
    one.kill_supervisor("zion");
    refused(&two, "neo", &one, "zion", first);
    // One id is enough.
    let map = format!("add idmap; set start=0; set target={}; set count=20; end", first + 65_535);
    assert_eq!(two.run_with("zonecfg", &["-z", "neo"], &[], &map).status, 0);
    refused(&two, "neo", &one, "zion", first + 65_535);
    assert_eq!(two.run_with("zonecfg", &["-z", "neo"], &[], "remove -F idmap").status, 0);
    one.ok("zoneadm", &["-z", "zion", "halt"]);
    two.ok("zoneadm", &["-z", "neo", "boot"]);
    refused(&one, "zion", &two, "neo", first);
    two.ok("zoneadm", &["-z", "neo", "halt"]);
    two.assert_clean();
}

#[test]
fn a_range_of_a_running_zone_of_another_root_is_not_given() {
    let (Some(one), Some(two)) = (Lab::new(), Lab::new()) else { return };
    let store = FileStore::open(Root::new(Some(two.path())));
    let first = first_choice(store.root());
    let map = format!("add idmap; set start=0; set target={}; set count=10; end", first + 10);
    one.installed("zion", &map);
    one.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(!store.is_free_range(first).expect("a store"));
    two.installed("neo", "");
    two.ok("zoneadm", &["-z", "neo", "boot"]);
    assert_eq!(kept(&two, "neo"), first + 65_536);
    for (lab, zone) in [(&one, "zion"), (&two, "neo")] {
        lab.ok("zoneadm", &["-z", zone, "halt"]);
    }
    assert!(store.is_free_range(first).expect("a store"));
    one.assert_clean();
}

/// What tells of a zone's ids may be gone, and may be of a zone that is gone.
#[test]
fn ids_of_another_root_are_known_by_the_zone_and_not_by_a_file() {
    let (Some(one), Some(two)) = (Lab::new(), Lab::new()) else { return };
    one.installed("zion", "");
    one.ok("zoneadm", &["-z", "zion", "boot"]);
    two.installed("neo", "");
    fs::create_dir_all(two.path().join("var/lib/zones/neo")).expect("a folder");
    let range = format!("0 {} 65536\n", kept(&one, "zion"));
    fs::write(two.path().join("var/lib/zones/neo/idmap"), range).expect("written");
    let file = one.claims().pop().expect("a claim");
    let text = fs::read(&file).expect("it reads");
    fs::remove_file(&file).expect("removed");
    if zones::sys::cgroup::mount_point().is_some() {
        let run = two.run("zoneadm", &["-z", "neo", "boot"]);
        let init = record(&one, "zion", "init");
        assert!(
            run.status == 1 && run.err.contains(&format!("of zone 'zion' of another root (process {init})")),
            "{run:?}"
        );
    } else {
        eprintln!("SKIPPED: without cgroup v2 nothing but the file tells of it");
    }
    one.ok("zoneadm", &["-z", "zion", "halt"]);
    // As after a kill of everything.
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(&file, text).expect("written");
    two.ok("zoneadm", &["-z", "neo", "boot"]);
    assert!(!file.exists());
    two.ok("zoneadm", &["-z", "neo", "halt"]);
    two.assert_clean();
}

#[test]
fn zones_of_two_roots_share_ids_only_when_both_ask_for_it() {
    let (Some((_alone, one)), Some(two)) = (numbered(), Lab::new()) else { return };
    let range = |more: &str| format!("add idmap; set start=0; set target=830000; set count=1000; {more}end");
    one.installed("zion", &range("set shared=true; "));
    one.ok("zoneadm", &["-z", "zion", "boot"]);
    two.installed("neo", &range(""));
    let run = two.run("zoneadm", &["-z", "neo", "boot"]);
    assert!(run.status == 1 && run.err.contains("uid 830000 of the host is one of zone 'zion'"), "{run:?}");
    let lines = "select idmap start=0; set shared=true; end";
    assert_eq!(two.run_with("zonecfg", &["-z", "neo"], &[], lines).status, 0);
    two.ok("zoneadm", &["-z", "neo", "boot"]);
    for (lab, zone) in [(&one, "zion"), (&two, "neo")] {
        lab.ok("zoneadm", &["-z", zone, "halt"]);
    }
    one.assert_clean();
}

#[test]
fn the_smallest_maps_boot_and_are_entered() {
    let Some((_alone, lab)) = numbered() else { return };
    lab.installed("zion", "");
    for (lines, map, group_of_terminals) in [
        // Ten ids from 1000 on, users and groups each on a line of their own.
        (
            "add idmap; set type=uid; set start=0; set target=1000; set count=10; end\n\
             add idmap; set type=gid; set start=0; set target=1000; set count=10; end",
            "0 1000 10",
            "5",
        ),
        // Root alone: there is no group of terminals.
        ("remove -F idmap\nadd idmap; set start=0; set target=1000; set count=1; end", "0 1000 1", "0"),
    ] {
        let run = lab.run_with("zonecfg", &["-z", "zion"], &[], lines);
        assert_eq!(run.status, 0, "{run:?}");
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        let script = "cat /proc/self/uid_map /proc/self/gid_map | xargs; id -u; \
            perl -MFcntl -e 'sysopen(M, \"/dev/ptmx\", O_RDWR) or die $!; $n = pack(\"i\", 0); \
            ioctl(M, 0x80045430, $n) or die $!; print join(\":\", (stat \"/dev/pts/\" . unpack(\"i\", $n))[4, 5]), \"\\n\"'";
        let seen = lab.ok("zlogin", &["zion", script]);
        assert_eq!(seen, format!("{map} {map}\n0\n0:{group_of_terminals}\n"));
        assert_eq!(outside(&lab, "/dev/null"), (1000, 1000));
        assert_eq!(outside(&lab, "/root"), (1000, 1000));
        // Files of accounts that have no id are nobody's, and in nobody's way.
        lab.ok("zlogin", &["zion", "touch /root/mine && rm /root/mine"]);
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        lab.assert_clean();
    }
}
