//! What `limitpriv` gives and takes, checked by calls of the kernel that need it.

#![allow(clippy::disallowed_methods)]

mod lab;

use lab::{Lab, Run};

/// A call that one privilege allows: the privilege in Solaris' or Linux' words, and a script that succeeds
/// with it and fails without.
const CALLS: &[(&str, &str)] = &[
    ("net_rawaccess", "perl -e 'socket(S, 2, 3, 1) or die $!'"),
    ("net_icmpaccess", "perl -e 'socket(S, 2, 3, 1) or die $!'"),
    ("net_observability", "perl -e 'socket(S, 17, 3, 0) or die $!'"),
    (
        "net_privaddr",
        "perl -MSocket -e 'socket(S, 2, 1, 0) and bind(S, sockaddr_in(80, INADDR_ANY)) or die $!'",
    ),
    // SIOCSIFFLAGS: the loopback interface, down and up.
    (
        "sys_ip_config",
        "perl -e 'socket(S, 2, 2, 0) or die; for (0, 0x49) { $f = pack(\"a16s\", \"lo\", $_); \
         ioctl(S, 0x8914, $f) or die $! }'",
    ),
    ("proc_chroot", "chroot / true"),
    ("sys_mount", "mount -t tmpfs none /mnt"),
    ("sys_admin", "hostname other"),
    ("cap_setuid", "setpriv --reuid=1000 --keep-groups true"),
    ("cap_setgid", "setpriv --regid=1000 --keep-groups true"),
    ("proc_setid", "setpriv --reuid=1000 --regid=1000 --clear-groups true"),
    ("cap_setpcap", "setpriv --securebits=+noroot true"),
    ("file_chown", "touch /root/f && chown 1000 /root/f"),
    // Made and put aside by the test, as user 1000.
    ("file_dac_read", "cat /var/tmp/theirs/secret"),
    ("file_dac_search", "ls /var/tmp/theirs/secret"),
    ("file_dac_write", "echo x >> /var/tmp/theirs/secret"),
    ("file_owner", "chmod 700 /var/tmp/theirs"),
    ("cap_fsetid", "chgrp 1000 /root/set && chmod 2755 /root/set && test -g /root/set"),
    ("proc_owner", "kill -0 $(cat /run/other)"),
    ("cap_kill", "kill -CONT $(cat /run/other)"),
    ("cap_sys_ptrace", "readlink /proc/$(cat /run/other)/exe"),
    ("proc_priocntl", "renice -n 7 -p $(cat /run/other)"),
    ("proc_lock_memory", "perl -e 'shmctl(shmget(4711, 0, 0), 11, 0) or die $!'"),
    ("ipc_owner", "perl -e 'shmread(shmget(4711, 8, 0), $x, 0, 8) or die $!'"),
];

fn prepare(lab: &Lab) {
    // Before root loses its rights: a user's files, process and shared memory.
    let run = lab.sh(
        "zion",
        "touch /root/set; \
         setpriv --reuid=1000 --regid=1000 --clear-groups sh -c '\
            umask 077; mkdir -p /var/tmp/theirs; echo secret > /var/tmp/theirs/secret; \
            chmod 0 /var/tmp/theirs/secret' >/dev/null 2>&1; true",
    );
    assert_eq!(run.status, 0, "{run:?}");
}

/// Has a user of the zone wait and own a segment of shared memory; the zone's rights do not matter, for
/// the user is entered from outside.
fn other_user(lab: &Lab) {
    let script = "echo $$ > /dev/shm/other; perl -e 'shmget(4711, 8, 01600)'; exec sleep 1000";
    let zlogin = lab.command("zlogin").args(["-l", "other", "zion", script]).spawn();
    drop(zlogin.expect("zlogin starts"));
    for _ in 0..500 {
        if lab.sh("zion", "test -s /dev/shm/other && cp /dev/shm/other /run/other").status == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the other user's process does not start");
}

fn with(lab: &Lab, limitpriv: &str) {
    let lines = format!("set limitpriv=\"{limitpriv}\"");
    let run = lab.run_with("zonecfg", &["-z", "zion"], &[], &lines);
    assert_eq!(run.status, 0, "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
}

fn zone(lab: &Lab) {
    lab.installed("zion", "");
    let passwd = lab.in_zone("zion", "/etc/passwd");
    let text = std::fs::read_to_string(&passwd).expect("the zone has one");
    std::fs::write(&passwd, text + "other:x:1000:1000::/tmp:/bin/sh\n").expect("written");
}

#[test]
fn every_call_works_by_default_and_fails_without_its_privilege() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    with(&lab, "default");
    prepare(&lab);
    other_user(&lab);
    for (name, script) in CALLS {
        let run = lab.sh("zion", script);
        assert_eq!(run.status, 0, "{name} is there, and its call fails: {run:?}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    for (name, script) in CALLS {
        with(&lab, &format!("default,!{name}"));
        if script.contains("/run/other") || script.contains("4711") {
            other_user(&lab);
        }
        let Run { status, err, .. } = lab.sh("zion", script);
        assert_ne!(status, 0, "{name} is taken away, and its call succeeds");
        assert!(!err.contains("not found"), "{name}: {err}");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    lab.assert_clean();
}

/// Returns the lines of the five sets of a process of the zone.
fn sets(lab: &Lab, process: &str) -> Vec<String> {
    let text = lab.ok("zlogin", &["zion", &format!("grep ^Cap /proc/{process}/status")]);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn init_and_whoever_enters_have_the_same_rights() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    for list in ["default", "default,!sys_mount,!net_rawaccess", "basic,cap_kill,setuid,setgid", "all"] {
        with(&lab, list);
        let keep = zones::spec::privilege::granted(Some(list)).expect("good").keep;
        let (init, entered) = (sets(&lab, "1"), sets(&lab, "self"));
        assert_eq!(init, entered, "{list}");
        let bounds: Vec<_> = init.iter().filter_map(|l| l.strip_prefix("CapBnd:\t")).collect();
        assert_eq!(bounds, [format!("{keep:016x}")], "{list}");
        assert!(
            init.contains(&format!("CapInh:\t{:016x}", 0)) && init.contains(&format!("CapAmb:\t{:016x}", 0))
        );
        // A user of the zone has none, and a set-user-id program no more than root.
        let user = lab.run("zlogin", &["-l", "other", "zion", "grep CapEff /proc/self/status"]);
        assert_eq!(user.out, format!("CapEff:\t{:016x}\n", 0), "{user:?}");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    lab.assert_clean();
}

#[test]
fn a_zone_without_the_right_to_reboot_can_still_end() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    with(&lab, "default,!cap_sys_boot");
    lab.ok("zoneadm", &["-z", "zion", "shutdown"]);
    assert_eq!(lab.state("zion"), "installed");
    with(&lab, "default,!cap_sys_boot");
    lab.run("zlogin", &["zion", "kill -38 1"]);
    lab.assert_clean();
    assert_eq!(lab.state("zion"), "installed");
}

#[test]
fn lists_that_cannot_be_are_refused_by_verify_and_boot() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    for (list, text) in [
        (
            "default,sys_time",
            "is not permitted within the zone's privilege set: the clock is the whole machine's",
        ),
        (
            "default,cap_sys_module",
            "is not permitted within the zone's privilege set: it acts on the whole machine",
        ),
        ("default,!proc_exec", "required privilege \"proc_exec\" is missing"),
        ("cap_kill,proc_exec,proc_fork", "privilege \"net_access\" cannot be taken"),
        ("default,sys_tiem", "unknown privilege \"sys_tiem\""),
    ] {
        let lines = format!("set limitpriv=\"{list}\"");
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], &lines).status, 0);
        for command in ["verify", "boot"] {
            let run = lab.run("zoneadm", &["-z", "zion", command]);
            assert!(run.status == 1 && run.err.contains(text), "{command} {list}: {run:?}");
        }
    }
    assert_eq!(
        lab.run_with("zonecfg", &["-z", "zion"], &[], "set limitpriv=default,contract_event").status,
        0
    );
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(
        run.status == 0 && run.err.contains("contract_event has no effect: Linux has no process contracts"),
        "{run:?}"
    );
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    assert!(plan.contains("give up all capabilities but chown dac_override"), "{plan}");
    lab.assert_clean();
}
