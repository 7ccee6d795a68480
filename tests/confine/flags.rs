//! `security-flags`, `fs-allowed`, and limits of namespaces.

use super::Lab;

const EPERM: i32 = 1;

/// Replaces what a zone is configured with by these lines, and boots it.
fn with(lab: &Lab, lines: &str) {
    let run = lab.run_with("zonecfg", &["-z", "zion"], &[], lines);
    assert_eq!(run.status, 0, "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
}

/// Tells the personality, and where the stack lies in two programs one after the other.
const LOOK: &str = r#"
print("personality", libc.personality(0xffffffff), flush=True)
def stack():
    line = os.popen("grep -F '[stack]' /proc/self/maps").read()
    return line.split("-")[0]
print("random", int(len({stack() for _ in range(4)}) > 1), flush=True)
"#;

/// Begins a file system, and moves what is there about.
const MOUNTS: &str = r#"
say("tmpfs", call((165, 40), b"none", b"/mnt", b"tmpfs", 0, 0))
say("with the old prefix", call((165, 40), b"none", b"/mnt", b"tmpfs", 0xc0ed0000, 0))
say("fsopen", call((430, 430), b"tmpfs", 1))
say("bind", call((165, 40), b"/root", b"/mnt", b"", 4096, 0))
say("read-only", call((165, 40), b"", b"/mnt", b"", 4096 | 32 | 4 | 1, 0))
say("private", call((165, 40), b"", b"/mnt", b"", 1 << 18, 0))
if X86:
    say("i386", call32(21, 0, 0, 0))
"#;

fn tell(pairs: &[(&str, i32)]) -> Vec<(String, i32)> {
    pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}

/// Guards: the personality at the start, and its flags that the filter refuses.
#[test]
fn security_flags_are_what_processes_begin_with_and_cannot_leave() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let turn_off = "say('off', call((135, 92), 0x40000))\nif X86: say('off', call32(136, 0x40000))\n";
    let off = |errno: i32| {
        tell(&[("off", errno), ("off", errno)][..if cfg!(target_arch = "x86_64") { 2 } else { 1 }])
    };
    let init = || lab.ok("zlogin", &["zion", "cat /proc/1/personality"]).trim().to_owned();

    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.answers("zion", LOOK, &[]), tell(&[("personality", 0), ("random", 1)]));
    assert_eq!(lab.answers("zion", turn_off, &[]), off(0));
    lab.ok("zoneadm", &["-z", "zion", "halt"]);

    with(&lab, "add security-flags; set lower=aslr,forbidnullmap; set default=all; end");
    assert_eq!(lab.answers("zion", LOOK, &[]), tell(&[("personality", 0), ("random", 1)]));
    assert_eq!(lab.answers("zion", turn_off, &[]), off(EPERM));
    assert_eq!(init(), "00000000");
    // The lowest page, by any way: MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE.
    let null = "say('null', call((9, 222), 0, 4096, 3, 0x32, -1, 0))\nsay('zero', call((135, 92), 0x100000))";
    assert_eq!(lab.answers("zion", null, &[]), tell(&[("null", EPERM), ("zero", EPERM)]));
    lab.ok("zoneadm", &["-z", "zion", "halt"]);

    with(&lab, "select security-flags; clear lower; set default=none; end");
    assert_eq!(lab.answers("zion", LOOK, &[]), tell(&[("personality", 0x40000), ("random", 0)]));
    assert_eq!(init(), "00040000");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);

    for (lines, text) in [
        ("set lower=all; set default=all", "security-flags lower: noexecstack cannot be kept on"),
        ("clear lower; set upper=none", "security-flags upper: aslr and forbidnullmap cannot be kept off"),
    ] {
        let lines = format!("select security-flags; {lines}; end");
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], &lines).status, 0);
        for command in ["verify", "boot"] {
            let run = lab.run("zoneadm", &["-z", "zion", command]);
            assert!(run.status == 1 && run.err.contains(text), "{command}: {run:?}");
        }
        let back = "select security-flags; clear upper; set default=none; clear lower; end";
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], back).status, 0);
    }
    lab.assert_clean();
}

/// Guards: mount(2) and fsopen(2) of a zone with `fs-allowed=-`.
#[test]
fn fs_allowed_closes_or_is_refused() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    // Without it the same calls work.
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let open = lab.answers("zion", MOUNTS, &[]);
    assert!(open.iter().take(6).all(|(_, errno)| *errno == 0), "{open:?}");
    assert!(open.iter().skip(6).all(|(_, errno)| *errno != EPERM), "{open:?}");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    with(&lab, "set fs-allowed=-");
    let closed = lab.answers("zion", MOUNTS, &[]);
    for (name, errno) in &closed {
        let wanted = if ["bind", "read-only", "private"].contains(&name.as_str()) { 0 } else { EPERM };
        assert_eq!(*errno, wanted, "{name}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    for (types, text) in
        [("ext4", "the kernel lets no zone mount ext4"), ("-,tmpfs", "'-' with types cannot be enforced")]
    {
        let lines = format!("set fs-allowed={types}");
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], &lines).status, 0);
        for command in ["verify", "boot"] {
            let run = lab.run("zoneadm", &["-z", "zion", command]);
            assert!(run.status == 1 && run.err.contains(text), "{command} {types}: {run:?}");
        }
    }
    // Whoever says what the kernel allows anyway is told nothing.
    assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], "set fs-allowed=tmpfs,overlay").status, 0);
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(run.status == 0 && !run.err.contains("fs-allowed"), "{run:?}");
    lab.assert_clean();
}

/// Registers a program for files that begin with certain bytes, in the zone's own binfmt_misc.
const REGISTER: &str = r#"
say("mount", call((165, 40), b"none", b"/mnt", b"binfmt_misc", 0, 0))
def register():
    try:
        with open("/mnt/register", "wb", buffering=0) as f: f.write(b":zion:M::ZIONZION::/usr/bin/true:F")
        return 0
    except OSError as e:
        return e.errno
say("register", register())
"#;

/// From Linux 6.7 on binfmt_misc belongs to the user namespace that mounts it, as the manual says: what one zone
/// registers starts nothing on the host nor in another zone, and ends with the zone.
#[test]
fn formats_that_a_zone_registers_are_its_own() {
    let manual = include_str!("../../man/zones.7");
    assert!(manual.contains("From Linux 6.7 on, binfmt_misc belongs to the user namespace"), "zones(7)");
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    lab.booted("web", "");
    let found = lab.answers("zion", REGISTER, &[]);
    if found[0].1 != 0 {
        assert!(
            ["mount", "register"].iter().all(|w| found.iter().any(|(n, e)| n == w && *e != 0)),
            "{found:?}"
        );
        eprintln!("SKIPPED: this kernel lets no zone mount binfmt_misc");
    } else {
        assert_eq!(found[1].1, 0, "{found:?}");
        let file = |path: std::path::PathBuf| {
            std::fs::write(&path, "ZIONZION").expect("written");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("chmod");
            path
        };
        for zone in ["zion", "web"] {
            file(lab.in_zone(zone, "/root/strange"));
        }
        let by_python = "import os\ntry: os.execv('/root/strange', ['x'])\nexcept OSError as e: print('strange', e.errno)";
        let run = lab.python("zion", by_python, &[]);
        assert_eq!((run.status, run.out.as_str()), (0, ""), "the zone starts it: {run:?}");
        assert_eq!(lab.answers("web", by_python, &[]), tell(&[("strange", libc::ENOEXEC)]));
        let here = std::process::Command::new(file(lab.path().join("strange"))).status();
        assert_eq!(here.expect_err("no program").raw_os_error(), Some(libc::ENOEXEC), "the host");
        // A zone that takes all its programs for others is not entered any more, and is halted.
        let all = "open('/mnt/register', 'wb', buffering=0).write(b':all:M::\\x7fELF::/nothing:')";
        assert_eq!(lab.python("zion", all, &[]).status, 0);
        assert_ne!(lab.sh("zion", "true").status, 0, "it is entered");
        assert_ne!(lab.run("zlogin", &["-S", "zion", "true"]).status, 0, "it is entered with -S");
        assert_eq!(lab.sh("web", "true").status, 0, "another zone");
        lab.ok("zoneadm", &["-z", "zion", "reboot"]);
        assert_eq!(lab.sh("zion", "true").status, 0, "the registration ends with the zone");
    }
    lab.ok("zoneadm", &["-z", "web", "halt"]);
    lab.halted("zion");
}

/// How many namespaces of a kind processes of users make at once; then whether root can change the number.
const COUNT: &str = r#"
import time
USER, NET = 0x10000000, 0x40000000
# Each process waits in a namespace of its own, the odd ones as another user.
def made(kind):
    hold, let_go = os.pipe()
    count = 0
    for i in range(6):
        told, tell = os.pipe()
        if os.fork() == 0:
            os.close(let_go)
            if i % 2 and kind == USER: os.setresuid(1000 + i, 1000 + i, 1000 + i)
            os.write(tell, bytes([call((272, 97), kind)]))
            os.read(hold, 1)
            os._exit(0)
        os.close(tell)
        count += os.read(told, 1) == b"\0"
    os.close(let_go)
    for _ in range(6): os.wait()
    return count
def raised():
    try:
        open("/proc/sys/user/max_user_namespaces", "w").write("9999")
        return 0
    except OSError as e:
        return e.errno
print("net", made(NET), flush=True)
print("user", made(USER), flush=True)
print("raise", raised(), flush=True)
# The kernel counts those that have ended until it has cleared them away.
for _ in range(500):
    again = made(USER)
    if again > 1: break
    time.sleep(0.01)
print("user after that", again, flush=True)
"#;

/// Guards: `Step::Counts`, the namespace around the zone's own: all users of the zone together, whatever the zone
/// is allowed to do with its own numbers.
#[test]
fn a_zone_makes_as_many_namespaces_as_it_may_and_cannot_change_that() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let free = lab.answers("zion", COUNT, &[]);
    assert_eq!(free[..3], tell(&[("net", 6), ("user", 6), ("raise", 13)]), "nothing is configured");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    with(
        &lab,
        "add attr; set name=max-user-namespaces; set type=uint; set value=2; end\n\
         add attr; set name=max-net-namespaces; set type=uint; set value=0; end",
    );
    let wanted = |errno| tell(&[("net", 0), ("user", 2), ("raise", errno), ("user after that", 2)]);
    assert_eq!(lab.answers("zion", COUNT, &[]), wanted(13));
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    let text = "around the zone's that limits it to max_user_namespaces=2 max_net_namespaces=0";
    assert!(plan.contains(text), "{plan}");
    // The rest of the zone is as ever.
    for script in ["test $(id -u) = 0 && touch /root/f && chown 1000 /root/f", "mount -t tmpfs none /mnt"] {
        let run = lab.sh("zion", script);
        assert_eq!(run.status, 0, "{script}: {run:?}");
    }
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert_eq!(lab.answers("zion", COUNT, &[]), wanted(13), "after a reboot");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    // With the capability that the kernel asks for, the zone changes its own numbers, and gains nothing.
    with(&lab, "set limitpriv=default,sys_resource");
    assert_eq!(lab.answers("zion", COUNT, &[]), wanted(0));
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}
