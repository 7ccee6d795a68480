//! What root of a zone can do to the mounts that it has been given.

use super::Lab;

/// Takes each restriction off each mount, by mount_setattr(2), and tells which went.
const LOOSEN: &str = r#"
import ctypes, os, re, struct
libc = ctypes.CDLL(None, use_errno=True)
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
seen = set()
for line in open("/proc/self/mountinfo"):
    words = line.split()
    point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), words[4])
    for flag in FLAGS.keys() & set(words[5].split(",")):
        attr = struct.pack("QQQQ", 0, FLAGS[flag], 0, 0)
        done = libc.syscall(442, -100, os.fsencode(point), 0, attr, len(attr))
        print("loose" if done == 0 else "held", point, flag)
for name, flags in (("sysfs-rw", 0), ("sysfs-ro", 1)):
    os.makedirs("/var/tmp/" + name, exist_ok=True)
    done = libc.mount(b"sysfs", os.fsencode("/var/tmp/" + name), b"sysfs", 14 | flags, None)
    print("mount", name, "done" if done == 0 else os.strerror(ctypes.get_errno()))
print("umount", "done" if libc.umount2(b"/sys", 2) == 0 else "refused")
"#;

/// What a zone mounts itself while it boots, and could mount again without these: they hold nothing back.
const OF_THE_ZONE: [&str; 4] = ["/proc", "/dev/pts", "/dev/mqueue", "/sys/fs/cgroup"];

/// Guards: every mount that is to restrict the zone is made outside its user namespace, and comes to it
/// locked.
#[test]
fn restrictions_of_mounts_stay() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = lab.path().join("shared");
    std::fs::create_dir(&shared).expect("a folder");
    let fs = |dir: &str, options: &str| {
        let special = shared.display();
        format!("add fs\nset type=lofs\nset special={special}\nset dir={dir}\nadd options {options}\nend\n")
    };
    let lines = fs("/all", "[ro,nosuid,nodev,noexec]") + &fs("/write", "[nosuid,noexec]");
    lab.booted("zion", &lines);
    let run = lab.sh("zion", &format!("python3 - <<'END'\n{LOOSEN}\nEND"));
    assert_eq!(run.status, 0, "{run:?}");
    for held in ["held /sys ro", "held /usr ro", "held /all noexec", "held /write nosuid", "held / nodev"] {
        assert!(run.out.lines().any(|l| l == held), "{held}: {run:?}");
    }
    let of_the_zone = |line: &&str| {
        let point = line.split(' ').nth(1).unwrap_or_default();
        !OF_THE_ZONE.contains(&point)
    };
    let loose: Vec<_> = run.out.lines().filter(|l| l.starts_with("loose")).filter(of_the_zone).collect();
    assert!(loose.is_empty(), "{loose:?}");
    // Another one would be as good, and a container in the zone needs one.
    assert!(run.out.contains("mount sysfs-rw Operation not permitted"), "{run:?}");
    assert!(run.out.contains("mount sysfs-ro done") && run.out.contains("umount refused"), "{run:?}");
    lab.halted("zion");
}
