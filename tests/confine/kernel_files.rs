//! What `/proc` and `/sys` let a zone read and write. Nothing there is covered: see `zones(7)`.

use super::Lab;

/// What root of a zone may open for writing: what belongs to its own namespaces, and the reports of pressure,
/// where a write asks to be woken.
const WRITABLE: &[&str] = &["/proc/pressure/*", "/sys/fs/cgroup/cgroup.*"];

/// Settings of the kernel among them, each with a name: a new one that a kernel brings may be the host's.
const OWN_SETTINGS: &str = include_str!("own-settings");

/// Settings of the host that can be opened below `/proc/sys`: a write is refused.
const HELD: &[&str] = &["/proc/sys/net/netfilter/nf_hooks_lwtunnel"];

/// Says whether a name is that of a pattern, whose stars stand for any text.
fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((first, rest)) => name.strip_prefix(first).is_some_and(|tail| {
            (0..=tail.len()).any(|at| tail.is_char_boundary(at) && is_like(&tail[at..], rest))
        }),
    }
}

/// What shows or changes the host, and is closed to root of a zone because it belongs to root of the host.
const CLOSED: &[&str] = &[
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/vmallocinfo",
    "/proc/sys/kernel/usermodehelper/bset",
    "/sys/firmware/dmi/tables/DMI",
    "/sys/firmware/acpi/tables/FACP",
    "/dev/kmsg",
    "/dev/mem",
    "/dev/port",
];

const WALK: &str = r#"
import re, sys
ADDRESS = re.compile(rb"(?<![0-9a-fA-F])(?:0x)?ffff[0-9a-f]{12}(?![0-9a-fA-F])")
def files():
    for top in ("/proc", "/proc/sys", "/sys"):
        for folder, folders, names in os.walk(top):
            if folder == "/proc":
                # Processes are the zone's own, and these lead to one of them.
                own = ("self", "thread-self", "net", "mounts", "sys")
                folders[:] = [f for f in folders if not f.isdigit() and f not in own]
                names = [n for n in names if n not in own]
            for name in names:
                yield folder + "/" + name
def text(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try: return os.read(fd, 1 << 16)
        finally: os.close(fd)
    except OSError:
        return b""
count = 0
for path in files():
    count += 1
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        print("write", path)
    except OSError:
        pass
    for found in ADDRESS.findall(text(path)):
        if found.lower().strip(b"0xf"):
            print("address", path)
            break
print("count", count)
"#;

/// Guards: the zone's ids, none of which is the host's root, and the kernel's own checks behind them.
#[test]
fn a_zone_writes_to_what_is_its_own_and_learns_no_addresses() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let run = lab.python("zion", WALK, &[]);
    assert_eq!(run.status, 0, "{run:?}");
    let settings = OWN_SETTINGS.lines().filter(|l| !l.starts_with('#'));
    let own = settings.chain(WRITABLE.iter().copied());
    let (mut count, mut unknown) = (0, Vec::new());
    for line in run.out.lines() {
        let (what, path) = line.split_once(' ').expect("two words");
        match what {
            "count" => count = path.parse().expect("a number"),
            "write" if HELD.contains(&path) => {
                // No number: the kernel takes it from nobody, and nothing changes when it comes through.
                let write = format!(
                    "try: os.write(os.open({path:?}, os.O_WRONLY), b'x')\nexcept OSError as e: print({path:?}, e.errno)\n"
                );
                assert_eq!(lab.answers("zion", &write, &[]), [(path.to_owned(), libc::EPERM)]);
            }
            "write" if own.clone().any(|w| is_like(path, w)) => {}
            "write" => unknown.push(path),
            // A host may show them to everybody; `zoneadm doctor` says so.
            "address" if path == "/proc/kallsyms" && shown() => {}
            _ => panic!("{path} shows where the kernel lies"),
        }
    }
    assert!(unknown.is_empty(), "it can write to {}", unknown.join(" "));
    assert!(count > 1000, "only {count} files were looked at");
    lab.halted("zion");
}

fn shown() -> bool {
    let number = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/kernel/{name}"))
            .map_or(0, |t| t.trim().parse().unwrap_or(0))
    };
    number("kptr_restrict") == 0 && number("perf_event_paranoid") <= 1
}

#[test]
fn what_shows_the_host_is_closed_and_cannot_be_opened_by_a_mount() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    // The first is open to everybody, and shows that the script sees what is.
    let control = "/proc/version";
    let script = std::iter::once(&control).chain(CLOSED).fold(String::from("found = []\n"), |text, path| {
        format!(
            "{text}for mode in (os.O_RDONLY, os.O_WRONLY):\n    try:\n        os.listdir({path:?}) if os.path.isdir({path:?}) \
             else os.read(os.open({path:?}, mode | os.O_NONBLOCK), 1)\n        found.append({path:?})\n    except OSError as e:\n        \
             if e.errno not in (1, 2, 6, 9, 13): found.append({path:?} + str(e))\n"
        )
    }) + "for p in found: print(p, 0)\n";
    let open: Vec<_> = lab.answers("zion", &script, &[]).into_iter().map(|(path, _)| path).collect();
    assert_eq!(open, [control]);
    let run = lab.sh("zion", "ls /sys/kernel/debug /sys/kernel/tracing | grep -v -e : -e '^$'");
    assert_eq!(run.out, "", "{run:?}");
    for fstype in
        ["debugfs", "tracefs", "securityfs", "pstore", "efivarfs", "configfs", "devtmpfs", "hugetlbfs"]
    {
        let run = lab.sh("zion", &format!("mount -t {fstype} none /mnt"));
        assert_ne!(run.status, 0, "{fstype}: {run:?}");
    }
    for node in ["c 1 11", "c 1 1", "c 1 4", "b 254 0"] {
        assert_ne!(lab.sh("zion", &format!("mknod /root/node {node}")).status, 0, "{node}");
    }
    // What is mounted cannot be made writable, and a /proc of one's own shows no more.
    assert_ne!(lab.sh("zion", "mount -o remount,rw /sys").status, 0);
    let run = lab
        .sh("zion", "unshare -Urmpf --mount-proc sh -c 'test -e /proc/1/status && ! cat /proc/timer_list'");
    assert_eq!(run.status, 0, "nested containers have a /proc of their own: {run:?}");
    lab.halted("zion");
}
