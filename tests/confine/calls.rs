//! The filter of system calls.

use super::{Lab, answers};

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
const NO_FAMILY: i32 = 97;

/// An attack, and the filter's answer. The last column: on a kernel that has the call at all, it is the filter
/// that refuses it; else the kernel refuses it to every user namespace as well.
const ATTACKS: &[(&str, &str, i32, bool)] = &[
    ("kexec_load", "call((246, 104), 0, 0, 0, 0)", EPERM, false),
    ("init_module", "call((175, 105), 0, 0, 0)", EPERM, false),
    ("finit_module", "call((313, 273), -1, 0, 0)", EPERM, false),
    ("delete_module", "call((176, 106), 0, 0)", EPERM, false),
    ("swapon", "call((167, 224), 0, 0)", EPERM, false),
    ("acct", "call((163, 89), 0)", EPERM, false),
    ("quotactl", "call((179, 60), 0, 0, 0, 0)", EPERM, false),
    ("settimeofday", "call((164, 170), 0, 0)", EPERM, true),
    ("clock_settime", "call((227, 112), 0, ctypes.create_string_buffer(16))", EPERM, false),
    ("syslog", "call((103, 116), 10, 0, 0)", EPERM, true),
    ("bpf", "call((321, 280), 17, 0, 0)", EPERM, false),
    ("perf_event_open", "call((298, 241), perf, 0, -1, -1, 0)", EPERM, true),
    ("userfaultfd", "call((323, 282), 1)", EPERM, true),
    ("open_by_handle_at", "call((304, 265), -100, 0, 0)", EPERM, true),
    ("add_key", "call((248, 217), b'user', b'zion', b'x', 1, -2)", ENOSYS, true),
    ("request_key", "call((249, 218), b'user', b'none', b'x', -2)", ENOSYS, true),
    ("io_uring_setup", "call((425, 425), 1, 0)", ENOSYS, true),
    ("io_uring_enter", "call((426, 426), -1, 0, 0, 0, 0, 0)", ENOSYS, true),
    ("io_uring_register", "call((427, 427), -1, 99, 0, 0)", ENOSYS, true),
    ("READ_IMPLIES_EXEC", "call((135, 92), 0x400000)", EPERM, true),
    ("MMAP_PAGE_ZERO", "call((135, 92), 0x100000)", EPERM, true),
    ("AF_VSOCK", "call((41, 198), 40, 1, 0)", NO_FAMILY, true),
    ("AF_VSOCK, upper bits", "call((41, 198), 0xf00000028, 1, 0)", NO_FAMILY, true),
    ("AF_VSOCK pair", "call((53, 199), 40, 1, 0, 0)", NO_FAMILY, true),
    ("AF_KEY", "call((41, 198), 15, 3, 2)", NO_FAMILY, false),
    ("audit", "call((41, 198), 16, 3, 9)", NO_FAMILY, true),
    ("TIOCSTI", "call((16, 29), terminal, 0x5412, b'x')", EPERM, true),
    ("TIOCSTI, upper bits", "call((16, 29), terminal, 0xf00005412, b'x')", EPERM, true),
    ("TIOCLINUX", "call((16, 29), terminal, 0x541c, bytearray_)", EPERM, true),
    ("F_SETLEASE, write", "call((72, 25), leased, 1024, 1)", EINVAL, true),
    ("F_SETLEASE, read", "call((72, 25), leased, 1024, 0)", EINVAL, true),
    ("F_SETLEASE, upper bits", "call((72, 25), leased, 0xf00000400, 1)", EINVAL, true),
    ("F_SETDELEG", "call((72, 25), leased, 1040, bytearray_)", EINVAL, false),
    ("F_NOTIFY", "call((72, 25), folder, 1026, 0x10)", EINVAL, true),
    ("F_SET_RW_HINT", "call((72, 25), leased, 1036, hint)", EINVAL, true),
    ("BTRFS_IOC_SNAP_CREATE", "call((16, 29), folder, 0x50009401, page_)", EPERM, true),
    ("BTRFS_IOC_SNAP_CREATE_V2", "call((16, 29), folder, 0x50009417, page_)", EPERM, true),
    ("above the table", "call((470, 470), 0)", ENOSYS, false),
];

/// The same by the other conventions of an x86-64 kernel.
const X86: &[(&str, &str, i32, bool)] = &[
    ("x32 getpid", "call((0x40000027,))", ENOSYS, false),
    ("x32 socket", "call((0x40000029,), 40, 1, 0)", ENOSYS, false),
    ("x32 ioctl", "call((0x40000202,), terminal, 0x5412, b'x')", ENOSYS, false),
    ("iopl", "call((172,), 3)", EPERM, false),
    ("i386 init_module", "call32(128)", EPERM, false),
    ("i386 syslog", "call32(103, 10)", EPERM, true),
    ("i386 stime", "call32(25, 0)", EPERM, true),
    ("i386 vm86", "call32(166, 1)", EPERM, true),
    ("i386 io_uring_setup", "call32(425, 1)", ENOSYS, true),
    ("i386 userfaultfd", "call32(374, 1)", EPERM, true),
    ("i386 personality", "call32(136, 0x400000)", EPERM, true),
    ("i386 socket", "call32(359, 40, 1)", NO_FAMILY, true),
    ("i386 socketcall", "call32(102, 1, 0)", ENOSYS, true),
    ("i386 F_SETLEASE", "call32(55, leased, 1024, 1)", EINVAL, true),
    ("i386 fcntl64 F_SETLEASE", "call32(221, leased, 1024, 1)", EINVAL, true),
    ("i386 fcntl64 F_SETDELEG", "call32(221, leased, 1040, 0)", EINVAL, false),
    ("i386 fcntl64 F_NOTIFY", "call32(221, folder, 1026, 0x10)", EINVAL, true),
    ("i386 TIOCSTI", "call32(54, terminal, 0x5412, 0)", EPERM, true),
];

/// What software needs.
const NEEDED: &[(&str, &str)] = &[
    ("getpid", "call((39, 172))"),
    ("ask for the personality", "call((135, 92), 0xffffffff)"),
    ("addresses that are not random", "call((135, 92), 0x40000)"),
    ("32-bit personality", "call((135, 92), 8)"),
    ("plain personality", "call((135, 92), 0)"),
    ("keyctl", "call((250, 219), 0, -3, 0)"),
    ("unix", "call((41, 198), 1, 1, 0)"),
    ("inet6", "call((41, 198), 10, 2, 0)"),
    ("route", "call((41, 198), 16, 3, 0)"),
    ("uevent", "call((41, 198), 16, 3, 15)"),
    ("packet", "call((41, 198), 17, 3, 0)"),
    ("socketpair", "call((53, 199), 1, 1, 0, pair)"),
    ("user namespace", "in_child(lambda: call((272, 97), 0x10000000))"),
    (
        "mount",
        "in_child(lambda: call((272, 97), 0x20000) or call((165, 40), b'none', b'/mnt', b'tmpfs', 0, 0))",
    ),
    ("fsopen", "call((430, 430), b'tmpfs', 1)"),
    ("trace", "in_child(lambda: call((101, 117), 0, 0, 0, 0))"),
    ("a filter of its own", "in_child(lambda: call((317, 277), 1, 0, nested))"),
    ("duplicate", "call((72, 25), leased, 1030, 0)"),
    ("lock of a record", "call((72, 25), leased, 6, flock_)"),
    ("TIOCGWINSZ", "call((16, 29), terminal, 0x5413, bytearray_)"),
];

/// What the attacks work on.
const SETUP: &str = r#"
import pty, fcntl
def in_child(work):
    child = os.fork()
    if child == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
# A terminal that is the controlling one: only then TIOCSTI needs no capability of the host.
if os.fork():
    _, status = os.wait()
    os._exit(os.waitstatus_to_exitcode(status))
os.setsid()
master, terminal = pty.openpty()
fcntl.ioctl(terminal, 0x540e, 0)
attr = bytearray(128)
# A software event, the cpu clock, of this process in user mode.
struct.pack_into("<IIQ", attr, 0, 1, 128, 0)
struct.pack_into("<Q", attr, 40, 1 << 5 | 1 << 6)
perf = (ctypes.c_char * 128).from_buffer(attr)
bytearray_ = ctypes.create_string_buffer(64)
pair = ctypes.create_string_buffer(8)
hint = ctypes.create_string_buffer(struct.pack("<Q", 2))
page_ = ctypes.create_string_buffer(4096)
os.close(os.open("/root/leased", os.O_WRONLY | os.O_CREAT))
leased = os.open("/root/leased", os.O_RDONLY)
folder = os.open("/root", os.O_RDONLY)
# Where leases and watches are not refused, they send it.
import signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
# F_RDLCK of the whole file.
flock_ = ctypes.create_string_buffer(struct.pack("<hhxxxxqqi", 0, 0, 0, 0, 0))
allow = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7fff0000))
nested = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 1, ctypes.addressof(allow)))
"#;

fn is_x86() -> bool {
    cfg!(target_arch = "x86_64")
}

fn attacks() -> Vec<(&'static str, &'static str, i32, bool)> {
    ATTACKS.iter().chain(X86.iter().filter(|_| is_x86())).copied().collect()
}

fn script<'a>(calls: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    calls.fold(SETUP.to_owned(), |text, (name, call)| format!("{text}say({name:?}, {call})\n"))
}

fn attack_script() -> String {
    script(attacks().into_iter().map(|(name, call, ..)| (name, call)))
}

/// Guards: `Step::Confine` of the first process, and the filter of whoever enters.
#[test]
fn attacks_are_refused_to_init_and_to_whoever_enters() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let wanted: Vec<_> = attacks().iter().map(|(name, _, errno, _)| ((*name).to_owned(), *errno)).collect();
    // The built-in init starts it.
    let rc = lab.in_zone("zion", "/etc/rc.local");
    std::fs::write(&rc, "#!/bin/sh\n/usr/bin/python3 /root/init.py >/root/answers.new 2>&1; mv /root/answers.new /root/answers\n")
        .expect("written");
    std::fs::set_permissions(&rc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let text = format!("{}\n{}", super::PRELUDE, attack_script());
    std::fs::write(lab.in_zone("zion", "/root/init.py"), text).expect("written");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.answers("zion", &attack_script(), &[]), wanted, "by zlogin");
    for _ in 0..1000 {
        if lab.in_zone("zion", "/root/answers").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let said = std::fs::read_to_string(lab.in_zone("zion", "/root/answers")).expect("init has run it");
    assert_eq!(answers(&said), wanted, "below init");
    let status = lab.ok("zlogin", &["zion", "grep -h ^Seccomp: /proc/1/status /proc/self/status"]);
    assert_eq!(status, "Seccomp:\t2\nSeccomp:\t2\n");
    lab.halted("zion");
}

/// The attacks above are attacks: without the filter the kernel answers otherwise.
#[cfg(feature = "naive")]
#[test]
fn without_the_filter_the_kernel_answers_otherwise() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let bare = [("ZONES_TEST_WITHOUT", "system-calls")];
    let run = lab.run_with("zoneadm", &["-z", "zion", "boot"], &bare, "");
    assert_eq!(run.status, 0, "{run:?}");
    let found = lab.answers("zion", &attack_script(), &bare);
    let mut held = 0;
    for ((name, errno), (_, _, filtered, differs)) in found.iter().zip(attacks()) {
        eprintln!("{name}: {errno} without the filter, {filtered} with it");
        // The kernel may lack the call, or have it closed by a setting.
        if differs && *errno != ENOSYS && *errno != NO_FAMILY {
            held += i32::from(*errno != filtered);
        }
    }
    assert!(held >= 10, "only {held} attacks are the filter's to refuse");
    lab.halted("zion");
}

#[test]
fn what_software_needs_goes_on() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let found = lab.answers("zion", &script(NEEDED.iter().copied()), &[]);
    let wanted: Vec<_> = NEEDED.iter().map(|(name, _)| ((*name).to_owned(), 0)).collect();
    assert_eq!(found, wanted);
    // A set-user-id program still gets its user: there is no no_new_privs.
    let passwd = lab.in_zone("zion", "/etc/passwd");
    let text = std::fs::read_to_string(&passwd).expect("the zone has one");
    std::fs::write(&passwd, text + "other:x:1000:1000::/tmp:/bin/sh\n").expect("written");
    let run = lab.sh("zion", "cp /usr/bin/id /var/tmp/id && chmod 4755 /var/tmp/id");
    assert_eq!(run.status, 0, "{run:?}");
    let run = lab.run(
        "zlogin",
        &["-l", "other", "zion", "/var/tmp/id -u; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status"],
    );
    assert_eq!(run.out, "0\nNoNewPrivs:\t0\nSeccomp:\t2\n", "{run:?}");
    for (tool, script) in [
        ("strace", "strace -f -o /dev/null true"),
        ("strace", "strace -f --seccomp-bpf -o /dev/null true"),
        ("gdb", "gdb -nx -batch -ex run -ex quit --args true"),
        ("bwrap", "bwrap --ro-bind / / --proc /proc --dev /dev --unshare-all true"),
        ("unshare", "unshare -Urmpf --mount-proc true"),
    ] {
        let run = lab.sh("zion", &format!("command -v {tool} >/dev/null || exit 0; {script}"));
        assert_eq!(run.status, 0, "{script}: {run:?}");
    }
    lab.halted("zion");
}

/// The filter keeps systemd from nothing that it needs to come up.
#[test]
fn systemd_is_the_first_process() {
    let Some(lab) = Lab::on_disk() else { return };
    let systemd = "/usr/lib/systemd/systemd";
    let groups = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"];
    if !std::path::Path::new(systemd).exists() || !groups.iter().any(|g| std::path::Path::new(g).exists()) {
        eprintln!("SKIPPED: systemd, or the version of control groups that it needs, is not on this host");
        return;
    }
    lab.installed("zion", "");
    let state = |env: &[(&str, &str)]| {
        let run = lab.run_with("zoneadm", &["-z", "zion", "boot", "--", "-i", systemd], env, "");
        assert_eq!(run.status, 0, "{run:?}");
        let script = "for i in $(seq 150); do s=$(systemctl is-system-running 2>/dev/null); \
            case $s in running|degraded) break;; esac; sleep 0.2; done; echo $s; \
            systemctl --failed --no-legend --plain | cut -d' ' -f1; systemctl is-active systemd-journald";
        let run = lab.run_with("zlogin", &["zion", script], env, "");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        run.out
    };
    let with = state(&[]);
    assert!(with.starts_with("running\n") || with.starts_with("degraded\n"), "{with}");
    assert!(with.ends_with("\nactive\n"), "{with}");
    // What fails, fails for another reason.
    #[cfg(feature = "naive")]
    assert_eq!(with, state(&[("ZONES_TEST_WITHOUT", "system-calls")]));
    lab.assert_clean();
}

#[test]
fn an_attribute_opens_groups_and_no_more() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted(
        "zion",
        "add attr; set name=allow-syscalls; set type=string; set value=keys,families,perf,io-uring; end",
    );
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    assert!(plan.contains("reach past the zone, but not families io-uring keys perf"), "{plan}");
    let found = lab.answers("zion", &attack_script(), &[]);
    let opened = ["perf_event_open", "add_key", "request_key", "io_uring_setup", "io_uring_enter"];
    for ((name, errno), (_, _, refused, _)) in found.iter().zip(attacks()) {
        // What the kernel says is its own affair; that AF_KEY is not built in looks like the filter.
        if opened.contains(&name.as_str()) || name == "io_uring_register" {
            assert_ne!(*errno, refused, "{name} is opened");
        } else if name == "i386 io_uring_setup" {
            assert_ne!(*errno, ENOSYS, "{name} is opened");
        } else if name != "AF_KEY" {
            assert_eq!(*errno, refused, "{name} is not opened");
        }
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    let lines = "select attr name=allow-syscalls; set value=everything; end";
    assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], lines).status, 0);
    for command in ["verify", "boot"] {
        let run = lab.run("zoneadm", &["-z", "zion", command]);
        let text = "attr allow-syscalls: there is no group of system calls 'everything'; there are bpf, dnotify, families";
        assert!(run.status == 1 && run.err.contains(text), "{command}: {run:?}");
    }
    lab.assert_clean();
}

/// Guards: an image that cannot be read opens nothing to whoever enters, and the spec beside it says nothing.
#[test]
fn a_zone_whose_image_is_not_understood_is_entered_under_the_strictest_filter() {
    let Some(lab) = Lab::on_disk() else { return };
    let opened =
        |group: &str| format!("add attr; set name=allow-syscalls; set type=string; set value={group}; end");
    lab.booted("zion", &opened("io-uring"));
    let script = script([("io_uring_setup", "call((425, 425), 1, 0)")].into_iter());
    let answer = || lab.answers("zion", &script, &[])[0].1;
    let run = lab.path().join("run/zones/zion");
    let image = std::fs::read_to_string(run.join("image")).expect("an image");
    let spec = std::fs::read_to_string(run.join("spec.toml")).expect("a spec");
    assert_ne!(answer(), ENOSYS);
    // The saved spec and the one in the run-time folder do not count while the zone runs.
    lab.configure_again("zion", "remove attr name=allow-syscalls");
    for other in [&spec.replace("io-uring", "keys"), "no spec"] {
        std::fs::write(run.join("spec.toml"), other).expect("written");
        assert_ne!(answer(), ENOSYS, "{other}");
    }
    std::fs::remove_file(run.join("spec.toml")).expect("removed");
    assert_ne!(answer(), ENOSYS);
    for other in ["", &image[..image.len() / 2], &image.replace("\"format\":1", "\"format\":2")] {
        std::fs::write(run.join("image"), other).expect("written");
        std::fs::write(run.join("spec.toml"), &spec).expect("written");
        assert_eq!(answer(), ENOSYS, "{other}");
    }
    // A zone of a release that kept no image is held to the spec that it was booted with.
    std::fs::remove_file(run.join("image")).expect("removed");
    assert_ne!(answer(), ENOSYS);
    std::fs::write(run.join("spec.toml"), spec.replace("io-uring", "keys")).expect("written");
    assert_eq!(answer(), ENOSYS);
    std::fs::remove_file(run.join("spec.toml")).expect("removed");
    assert_eq!(answer(), ENOSYS);
    lab.halted("zion");
}
