//! Attacks on processes that enter a zone, and on what they look up there.

use std::time::{Duration, Instant};

use super::Lab;

/// Guards `sys::enter::Target::port` (no number in the zone while in the host's namespaces: its mounts and
/// connections would be read from `/proc`) and `sys::process::hide` (nothing else of it is readable, and
/// nobody can trace it, before it runs a program of the zone). Who takes the channel of one that executes its
/// program holds no login up.
#[test]
fn a_process_that_enters_shows_nothing_of_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let attacker = lab.attacker("zion", include_str!("attack/watch.py"), &[]);
    for _ in 0..60 {
        assert_eq!(lab.run_with("zlogin", &["zion", "true"], &[("SECRET", "of-the-host")], "").status, 0);
    }
    let told = attacker.end();
    let mut words = told.splitn(3, ' ');
    let seen: u32 = words.next().expect("a number").parse().expect("a number");
    assert!(seen >= 10, "the attacker has seen nothing: {told}");
    assert_eq!(words.nth(1).map(str::trim), Some("{}"), "{told}");
    lab.halted("zion");
}

/// Guards `sys::process::Child::end`: a process of the zone that traces another one keeps its end from
/// whoever waits for it, and zlogin waited for ever, deaf to `^C`.
#[test]
fn a_tracer_in_the_zone_does_not_hold_a_login_up() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let attacker = lab.attacker("zion", include_str!("attack/hold.py"), &[]);
    let start = Instant::now();
    let run = lab.run("zlogin", &["zion", "exec sleep 1"]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.err.contains("does not let its status out"), "{run:?}");
    assert_ne!(attacker.end(), "0\n", "the attacker has traced nothing");
    assert_eq!(lab.run("zlogin", &["zion", "exit 7"]).status, 7);
    lab.halted("zion");
}

/// Guards `process::close_all_but` in `sys::enter::begin`: a process that is about to become a user of the
/// zone has descriptors of its caller, and a home of `/proc/self/fd/7` was one of the host's folders.
#[test]
fn a_home_that_is_a_descriptor() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    for number in 3..16 {
        lab.user("zion", &format!("eve{number}:x:1000:1000::/proc/self/fd/{number}:/bin/sh"));
        let run =
            lab.host(&format!("exec 7</; exec $B/zlogin -l eve{number} zion 'pwd -P; stat -c %d:%i .'"));
        let top = lab.sh("zion", "cd /; pwd -P; stat -c %d:%i .");
        assert_eq!((run.out.as_str(), run.status), (top.out.as_str(), 0), "{number}: {run:?}");
    }
    lab.halted("zion");
}

/// Guards `close_on_exec_from`, `close_all_but`, `fresh_keyring`, `setgroups` and the environment made anew.
#[test]
fn nothing_of_the_caller_gets_in() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    lab.user("zion", "ann:x:1000:1000::/var:/bin/sh");
    std::fs::write(lab.in_zone("zion", "/var/tmp/secret.py"), include_str!("attack/secret.py"))
        .expect("written");
    // A key in a session keyring of the caller's, further groups, a descriptor, a variable.
    let caller = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None)
assert libc.syscall(250, 1, 0) > 0 and libc.syscall(248, b'user', b'of-the-host', b's', 1, -3) > 0
os.setgroups([4, 27])
os.dup2(os.open('/', os.O_RDONLY), 7)
os.environ['SECRET'] = 'of-the-host'
os.chdir('/usr')
os.execv(sys.argv[1], ['zlogin'] + sys.argv[2:])"#;
    let file = lab.path().join("caller.py");
    std::fs::write(&file, caller).expect("written");
    for (user, words) in [("root", ""), ("ann", "-l ann "), ("root", "-S ")] {
        let line = format!(
            "exec python3 {} $B/zlogin {words}zion 'python3 /var/tmp/secret.py; readlink /proc/$$/cwd; id -un'",
            file.display()
        );
        let run = lab.host(&line);
        // A user's home may be anywhere, but in the zone.
        let folder = run.out.lines().nth(1).unwrap_or_default();
        assert!(folder == "/" || folder == "/var" || folder == "/root", "{run:?}");
        assert_eq!(run.out, format!("found []\n{folder}\n{user}\n"), "{words}: {run:?}");
    }
    lab.halted("zion");
}

/// Guards the user namespace, which is joined before and with all others: a process that enters owns nothing
/// of the host, its own program least of all. A user's shell of `/proc/self/exe` makes it run that program
/// once more, this time for everybody in the zone to see.
#[test]
fn what_runs_is_not_overwritten() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    lab.user("zion", "eve:x:0:0::/:/proc/self/exe");
    let copy = lab.path().join("zlogin");
    std::fs::copy(env!("CARGO_BIN_EXE_zlogin"), &copy).expect("copied");
    let before = std::fs::read(&copy).expect("readable");
    let attacker = lab.attacker("zion", include_str!("attack/overwrite.py"), &[]);
    let line = format!(
        "for n in $(seq 60); do {0} zion true; {0} -l eve zion </dev/null >/dev/null 2>&1; done; true",
        copy.display()
    );
    let run = lab.host(&line);
    assert_eq!(run.status, 0, "{run:?}");
    let told = attacker.end();
    let numbers: Vec<u32> = told.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    let [seen, written, control] = numbers[..] else { panic!("{told}") };
    assert_eq!(written, 0, "the program of the host was written to");
    assert!(std::fs::read(&copy).expect("readable") == before, "the program of the host was changed");
    assert!(seen >= 10 && control == 5, "the attacker has seen nothing: {told}");
    lab.halted("zion");
}

/// Guards the read-only mount through which the built-in init is executed. Its file belongs to the host's
/// root; here everybody may write to it, so that only the mount keeps it.
#[test]
fn the_built_in_init_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let file = lab.path().join("run/zones/.init");
    let before = std::fs::metadata(&file).and_then(|m| m.modified()).expect("it is there");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("chmod");
    let script = "import os, sys\ntry:\n os.utime('/proc/1/exe')\n print('touched')\nexcept OSError as e:\n print(e.errno)\n\
        try:\n os.open('/proc/1/exe', os.O_WRONLY)\n print('opened')\nexcept OSError as e:\n print('no')\n";
    // 30: EROFS.
    assert_eq!(lab.script("zion", script, &[]).out, "30\nno\n");
    let after = std::fs::metadata(&file).and_then(|m| m.modified()).expect("it is there");
    assert_eq!(after, before, "the zone has reached the host's file");
    lab.halted("zion");
}

/// Guards the order of `sys::enter`: what has to be written to `/proc` is written to the host's, before the
/// zone's is there.
#[test]
fn a_false_proc_is_written_by_nobody() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let cover = "mount -t tmpfs t /proc && mkdir -p /proc/self /proc/thread-self /proc/sys/kernel && \
        for f in self/oom_score_adj self/setgroups self/uid_map thread-self/oom_score_adj; do \
        echo kept > /proc/$f && chmod 666 /proc/$f; done";
    assert_eq!(lab.sh("zion", cover).status, 0);
    // Another score than the zone's: there is something to write.
    let run = lab.host("echo 500 > /proc/self/oom_score_adj; exec $B/zlogin zion 'cat /proc/*self/*'");
    assert_eq!(run.out, "kept\n".repeat(4), "{run:?}");
    lab.kill_supervisor("zion");
    lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.sh("zion", "cat /proc/*self/*").out, "kept\n".repeat(4));
    lab.halted("zion");
}

/// Guards `process::drop_capabilities`, whoever calls and whatever he has given to be inherited.
#[test]
fn capabilities_are_the_zones() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "set limitpriv=\"default,!sys_mount\"");
    let run = lab.host(
        "exec setpriv --inh-caps=+chown,+kill,+sys_chroot --ambient-caps=+chown,+kill,+sys_chroot $B/zlogin zion 'grep ^Cap /proc/self/status; cat /proc/1/status'",
    );
    let sets = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.starts_with("Cap")).map(str::to_owned).collect()
    };
    let all = sets(&run.out);
    assert_eq!(all.len(), 10, "{run:?}");
    assert_eq!(all[..5], all[5..], "init has others");
    let zero = format!("{:016x}", 0);
    assert_eq!(all[0], format!("CapInh:\t{zero}"));
    assert_eq!(all[4], format!("CapAmb:\t{zero}"));
    let bounds = u64::from_str_radix(all[3].trim_start_matches("CapBnd:").trim(), 16).expect("hexadecimal");
    // CAP_SYS_ADMIN, 21; CAP_SYS_MODULE, 16; CAP_SYS_RAWIO, 17.
    assert_eq!(bounds & (1 << 21 | 1 << 16 | 1 << 17), 0, "{all:?}");
    assert_ne!(lab.sh("zion", "mount -t tmpfs t /mnt").status, 0);
    lab.halted("zion");
}

/// Guards `process::close_all_but` and the environment of init: nothing that whoever typed `zoneadm` had is
/// with a zone's first process, also not after a reboot from inside.
#[test]
fn the_first_process_has_nothing_of_the_callers() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let line = "exec 7</ 8<>/dev/null; export SECRET=of-the-host; cd /usr; \
        exec setpriv --groups=4,27 $B/zoneadm -z zion boot";
    let run = lab.host(line);
    assert_eq!(run.status, 0, "{run:?}");
    let script = "readlink /proc/1/fd/* | grep -vFx -e /run/initctl -e 'anon_inode:[signalfd]' | sort -u; tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort | xargs; \
        grep ^Groups: /proc/1/status; readlink /proc/1/cwd";
    // The pipe and the signals are what the built-in init has opened itself.
    let seen = "/dev/console\nHOME PATH TERM container\nGroups:\t \n/\n";
    assert_eq!(lab.sh("zion", script).out, seen);
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert_eq!(lab.sh("zion", script).out, seen);
    lab.halted("zion");
}
