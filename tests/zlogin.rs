//! `zlogin` into a zone made by hand (`support`): commands, identities, streams, what leaks.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Zone, drain, errors, text, until};
use zones::spec::state::ZoneState;

#[test]
fn statuses_are_those_of_the_command() {
    let Some(zone) = Zone::start("statuses") else { return };
    for status in [0, 1, 2, 77, 126, 127, 255] {
        assert_eq!(zone.sh(&format!("exit {status}")).status.code(), Some(status));
    }
    for signal in [1, 2, 9, 11, 15] {
        assert_eq!(zone.sh(&format!("kill -{signal} $$")).status.code(), Some(128 + signal), "{signal}");
    }
    assert_eq!(zone.sh("no-such-command 2>&1").status.code(), Some(127));
    // The end of the command is the end: what it leaves behind is not waited for.
    let start = Instant::now();
    assert!(
        zone.zlogin(&["statuses", "sleep 30 >/dev/null 2>&1 &"]).output().expect("runs").status.success()
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn streams_stay_apart_and_words_are_joined() {
    let Some(zone) = Zone::start("streams") else { return };
    let out = zone.sh("echo out; echo err >&2");
    assert_eq!((text(&out).as_str(), errors(&out).as_str()), ("out\n", "err\n"));
    // As rsh does: one text, which the shell there splits and expands again.
    let out = zone.zlogin(&["streams", "echo", "a   b", "$HOME", "-l"]).output().expect("runs");
    assert_eq!(text(&out), "a b /root -l\n");
    let out = zone.zlogin(&["streams", "printf '%s.' \"$0\"", "a"]).output().expect("runs");
    assert_eq!(text(&out), "bash.a.");
}

#[test]
fn ten_megabytes_of_anything_pass_both_ways() {
    let Some(zone) = Zone::start("binary") else { return };
    let mut seed = 1_u32;
    let data: Vec<u8> = (0..10 << 20)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    // Through pipes of ours, which are handed over.
    let mut child = zone
        .zlogin(&["binary", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zlogin runs");
    let mut input = child.stdin.take().expect("a pipe");
    let copy = data.clone();
    let writer = std::thread::spawn(move || input.write_all(&copy).expect("cat reads"));
    let got = drain(child.stdout.take().expect("a pipe"));
    writer.join().expect("the writer ends");
    assert!(child.wait().expect("it ends").success());
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    // Through sockets, which are not, and so are relayed.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("sockets");
    let output = theirs.try_clone().expect("a copy");
    let mut child = zone
        .zlogin(&["binary", "cat; readlink /proc/self/fd/0 >&2"])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::from(std::os::fd::OwnedFd::from(output)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("zlogin runs");
    let mut writer = ours.try_clone().expect("a copy");
    let copy = data.clone();
    let writer = std::thread::spawn(move || {
        writer.write_all(&copy).expect("cat reads");
        writer.shutdown(std::net::Shutdown::Write).expect("an open socket");
    });
    let got = drain(ours);
    writer.join().expect("the writer ends");
    let stderr = drain(child.stderr.take().expect("a pipe"));
    assert!(child.wait().expect("it ends").success());
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    assert!(stderr.starts_with(b"pipe:"), "a socket reached the zone: {}", String::from_utf8_lossy(&stderr));
}

#[test]
fn the_environment_is_exact() {
    let Some(zone) = Zone::start("env") else { return };
    let env = |args: &[&str]| {
        let mut command = zone.zlogin(args);
        command.env("TERM", "vt100").env("SECRET", "of the host").env("LD_PRELOAD", "");
        let out = command.output().expect("zlogin runs");
        let mut lines: Vec<_> = text(&out).lines().map(str::to_owned).collect();
        // What a shell adds by itself.
        lines.retain(|l| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|p| l.starts_with(p)));
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(
        env(&["env", "/usr/bin/env"]),
        "HOME=/root LOGNAME=root MAIL=/var/mail/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin SHELL=/bin/bash TERM=vt100"
    );
    assert_eq!(
        env(&["-l", "ann", "env", "/usr/bin/env"]),
        "HOME=/home/ann LOGNAME=ann MAIL=/var/mail/ann PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin SHELL=/bin/sh TERM=vt100 USER=ann"
    );
    let shell = if Path::new("/usr/sbin/sh").exists() { "/sbin/sh" } else { "/bin/sh" };
    assert_eq!(
        env(&["-S", "env", "/usr/bin/env"]),
        format!("HOME=/ PATH=/usr/sbin:/usr/bin SHELL={shell} TERM=vt100")
    );
}

#[test]
fn a_login_has_the_zones_locale_and_environment() {
    let Some(zone) = Zone::start("locale") else { return };
    let setup = "mkdir -p /etc/default; echo 'LANG=\"C.UTF-8\"' > /etc/default/locale; \
        printf '# all logins\\nHTTP_PROXY=http://proxy:3128\\nLANG=C\\nHOME=/trap\\n' > /etc/environment";
    assert_eq!(text(&zone.sh("echo ü | wc -m")), "3\n");
    assert!(zone.sh(setup).status.success());
    assert_eq!(
        text(&zone.sh("echo ü | wc -m; echo $LANG $HTTP_PROXY $HOME")),
        "2\nC.UTF-8 http://proxy:3128 /root\n"
    );
    let as_ann = zone.zlogin(&["-l", "ann", "locale", "echo ü | wc -m"]).output().expect("runs");
    assert_eq!(text(&as_ann), "2\n");
    // A repair depends on nothing of it.
    let safe = zone.zlogin(&["-S", "locale", "env"]).output().expect("runs");
    assert!(!text(&safe).contains("LANG") && !text(&safe).contains("PROXY"), "{safe:?}");
    // What is no file, or never ends, holds nobody up.
    for trap in ["rm /etc/environment; mkfifo /etc/environment", "ln -sf /dev/zero /etc/environment"] {
        assert!(zone.sh(trap).status.success());
        assert_eq!(text(&zone.sh("echo in $HTTP_PROXY $LANG")), "in C.UTF-8\n", "{trap}");
    }
}

#[test]
fn a_login_finds_its_users_session() {
    let Some(zone) = Zone::start("session") else { return };
    let of = |user: &str| {
        let echo = "echo $XDG_RUNTIME_DIR,$DBUS_SESSION_BUS_ADDRESS";
        text(&zone.zlogin(&["-l", user, "session", echo]).output().expect("runs"))
    };
    assert_eq!(of("ann"), ",\n");
    // A folder that is somebody else's is no session.
    assert!(zone.sh("mkdir -m 700 -p /run/user/1000").status.success());
    assert_eq!(of("ann"), ",\n");
    assert!(zone.sh("chown 1000:1000 /run/user/1000").status.success());
    assert_eq!(of("ann"), "/run/user/1000,\n");
    let bus = "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => shift, Listen => 1) or die' \
        /run/user/1000/bus && chown 1000:1000 /run/user/1000/bus";
    assert!(zone.sh(bus).status.success());
    assert_eq!(of("ann"), "/run/user/1000,unix:path=/run/user/1000/bus\n");
    assert_eq!(of("root"), ",\n");
}

#[test]
fn commands_below_usr_local_are_found() {
    let setup = "mount -t tmpfs tmpfs usr/local; mkdir usr/local/bin usr/local/sbin; \
        printf '#!/bin/sh\\necho local tool\\n' > usr/local/bin/tool; chmod 755 usr/local/bin/tool";
    let Some(zone) = Zone::start_with("local", "", setup, "") else { return };
    for args in [&["local", "tool"][..], &["-l", "ann", "local", "tool"]] {
        assert_eq!(text(&zone.zlogin(args).output().expect("runs")), "local tool\n", "{args:?}");
    }
}

#[test]
fn identities() {
    let Some(zone) = Zone::start("identities") else { return };
    let as_user =
        |user: &str, command: &str| zone.zlogin(&["-l", user, "identities", command]).output().expect("runs");
    assert_eq!(text(&zone.sh("id -u; id -G; pwd; hostname")), "0\n0 29\n/root\nidentities\n");
    assert_eq!(text(&as_user("ann", "id -u; id -G; pwd; echo $0")), "1000\n1000 29 44\n/home/ann\n-sh\n");
    assert_eq!(
        text(&as_user("ann", "grep -E '^(CapEff|CapPrm|CapInh|CapAmb)' /proc/self/status | cut -f2 | uniq")),
        "0000000000000000\n"
    );
    // Another user's command runs in a login shell, which reads the profile, also when it is a plain one.
    assert!(zone.sh("echo 'export FROM=profile' > /etc/profile").status.success());
    assert_eq!(text(&as_user("ann", "printenv FROM")), "profile\n");
    assert_eq!(text(&as_user("root", "printenv FROM")), "");
    let refused = |user: &str| {
        let out = as_user(user, "echo in");
        assert_eq!((out.status.code(), text(&out).as_str()), (Some(1), ""), "{user}");
        errors(&out)
    };
    assert_eq!(refused("nobody-here"), "zlogin: zone 'identities': unknown user 'nobody-here'\n");
    assert_eq!(
        refused("far"),
        "zlogin: zone 'identities': user 'far' has an id that the zone does not have\n"
    );
    assert!(refused("shelless").starts_with("zlogin: zone 'identities': cannot execute '/no/such/shell': "));
    // From the host, they are ids of the zone's range.
    let mut child = zone
        .zlogin(&["-l", "ann", "identities", "echo; exec sleep 60"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut byte).expect("it began");
    // Alone, once the process that brought it into the zone has been reaped.
    let children =
        || fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("it lives");
    until("one child", || children().split_whitespace().count() == 1);
    let pid = children();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("it lives");
    let uid = support::FIRST_ID + 1000;
    assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "{status}");
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number")),
        nix::sys::signal::SIGKILL,
    );
    assert_eq!(child.wait().expect("it ends").code(), Some(137));
}

#[test]
fn a_hostile_passwd_cannot_do_harm() {
    let Some(zone) = Zone::start("hostile") else { return };
    let write = |text: &[u8]| fs::write(zone.path("/etc/passwd"), text).expect("a writable file");
    let ann = || zone.zlogin(&["-l", "ann", "hostile", "id -u"]).output().expect("zlogin runs");
    let mut long = vec![b'a'; 10 << 20];
    long.extend_from_slice(b"\nann:x:1000:1000::/:/bin/sh\n");
    write(&long);
    assert_eq!(text(&ann()), "1000\n");
    for bad in [
        &b"ann:x:0\0:0::/:/bin/sh\n"[..],
        b"ann:x\n",
        b"ann:x:4294967295:0::/:/bin/sh\n",
        b"ann:x:4294967296:0::/:/bin/sh\n",
        b"ann:x:-1:0::/:/bin/sh\n",
        b"",
    ] {
        write(bad);
        let out = ann();
        assert_eq!(errors(&out), "zlogin: zone 'hostile': unknown user 'ann'\n", "{bad:?}");
        // Root gets in to repair it.
        assert_eq!(text(&zone.sh("id -u; echo $0")), "0\nsh\n", "{bad:?}");
    }
    // A pipe instead of the file does not hold us up; a link of /proc leads nowhere.
    let replace =
        |command: &str| assert!(zone.sh(&format!("cd /etc && rm -f passwd && {command}")).status.success());
    replace("mkfifo passwd");
    assert!(errors(&ann()).contains("cannot read '/etc/passwd'"));
    replace("ln -s /proc/self/fd/0 passwd");
    let mut child = zone.zlogin(&["-l", "ann", "hostile", "id"]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "ann:x:0:0::/:/bin/sh\n").expect("a file");
    let out = child.stdin(Stdio::from(fs::File::open(file.path()).expect("a file"))).output().expect("runs");
    assert!(errors(&out).contains("cannot read '/etc/passwd'"), "{out:?}");
    // A group of the host's range is refused, not passed over.
    replace(": > passwd");
    write(b"ann:x:1000:1000::/:/bin/sh\n");
    fs::write(zone.path("/etc/group"), "out:x:70000:ann\n").expect("a writable file");
    assert!(errors(&ann()).contains("an id that the zone does not have"));
}

#[test]
fn nothing_of_the_host_leaks() {
    let Some(zone) = Zone::start("leaks") else { return };
    // Three streams, and the folder that `ls` reads.
    assert_eq!(text(&zone.sh("ls /proc/self/fd; ls /proc/$$/fd; :")), "0\n1\n2\n3\n0\n1\n2\n");
    let mut command = zone.zlogin(&["-S", "leaks", "readlink /proc/$$/cwd /proc/$$/root"]);
    assert_eq!(text(&command.current_dir("/usr").output().expect("runs")), "/\n/\n");
    // Descriptors that our caller leaked to us end here.
    let out = std::process::Command::new("bash")
        .args(["-c", "exec 7</etc 8</dev/zero 99</etc/passwd; exec \"$0\" leaks 'ls /proc/$$/fd; :'"])
        .arg(env!("CARGO_BIN_EXE_zlogin"))
        .env("ZONES_ROOT", zone.folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    assert_eq!(text(&out), "0\n1\n2\n", "{}", errors(&out));
    // A folder as standard input would lead out of the zone.
    let mut command = zone.zlogin(&["leaks", "readlink /proc/self/fd/0; ls /proc/self/fd/0/ 2>&1; cat"]);
    let out = command.stdin(Stdio::from(fs::File::open("/etc").expect("a folder"))).output().expect("runs");
    assert!(text(&out).starts_with("pipe:"), "{out:?}");
    // No terminal, a session of its own, the usual umask, signals as usual.
    let out = zone.sh("ps -o tty= -p $$; test $$ = $(ps -o sid= -p $$) && echo leader; umask");
    assert_eq!(text(&out), "?\nleader\n0022\n");
    let mut command = std::process::Command::new("bash");
    command.args([
        "-c",
        "trap '' INT PIPE USR1 HUP; exec \"$0\" leaks 'exec grep -E ^Sig.[lg] /proc/self/status'",
    ]);
    command.arg(env!("CARGO_BIN_EXE_zlogin")).env("ZONES_ROOT", zone.folder.path());
    let out = text(&command.output().expect("bash runs"));
    assert!(
        out.contains("SigBlk:\t0000000000000000\n") && out.contains("SigIgn:\t0000000000000000\n"),
        "{out}"
    );
    // Capabilities are those of the zone, and no new ones can come: all of them, but in its user namespace.
    let bounds = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        status.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).map(str::to_owned)
    };
    assert_eq!(
        Some(text(&zone.sh("grep CapBnd: /proc/self/status | cut -f2")).trim_end().to_owned()),
        bounds(&zone.init.to_string())
    );
}

#[test]
fn nothing_reaches_the_process_before_it_has_become_the_zones() {
    let Some(zone) = Zone::start("watched") else { return };
    // Somebody in the zone looks at every new process as fast as possible, and tries to open what it runs.
    let mut watcher = zone
        .zlogin(&[
            "watched",
            "while :; do for p in /proc/[0-9]*; do readlink $p/exe; cat $p/environ; done; done 2>/dev/null",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut out = watcher.stdout.take().expect("a pipe");
    // On a busy machine the entering could be over before it has begun to look.
    let mut first = [0; 1];
    out.read_exact(&mut first).expect("the watcher sees something");
    let reader = std::thread::spawn(move || drain(out));
    for _ in 0..60 {
        let mut command = zone.zlogin(&["watched", "true"]);
        assert!(command.env("SECRET", "of-the-host").status().expect("runs").success());
    }
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(watcher.id()).expect("a pid")),
        nix::sys::signal::SIGTERM,
    )
    .expect("the watcher lives");
    assert_eq!(watcher.wait().expect("it ends").code(), Some(143));
    let seen = String::from_utf8_lossy(&reader.join().expect("the reader ends")).into_owned();
    assert!(seen.contains("/usr/bin/"), "the watcher saw nothing at all");
    let leak = seen
        .find("zlogin")
        .or_else(|| seen.find("of-the-host"))
        .map(|n| seen[n.saturating_sub(200)..][..400].to_owned());
    assert_eq!(leak, None, "the host's program was readable");
}

#[test]
fn input() {
    let Some(zone) = Zone::start("input") else { return };
    // A shell without a terminal reads its commands from us.
    let mut child =
        zone.zlogin(&["input"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("zlogin runs");
    child.stdin.take().expect("a pipe").write_all(b"echo shell $0; exit 5\n").expect("it reads");
    assert_eq!(drain(child.stdout.take().expect("a pipe")), b"shell -bash\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
    // -n leaves our input alone.
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "text").expect("a file");
    let open = || Stdio::from(fs::File::open(file.path()).expect("a file"));
    let out =
        zone.zlogin(&["-n", "input", "cat; readlink /proc/self/fd/0"]).stdin(open()).output().expect("runs");
    assert_eq!(text(&out), "/dev/null\n");
    let out = zone.zlogin(&["input", "cat"]).stdin(open()).output().expect("runs");
    assert_eq!(text(&out), "text");
}

#[test]
fn signals_are_passed_on() {
    let Some(zone) = Zone::start("signals") else { return };
    for (signal, status) in [("INT", 130), ("TERM", 143), ("QUIT", 131), ("HUP", 129)] {
        let mut child = zone.zlogin(&["signals", "exec sleep 60"]).spawn().expect("runs");
        // The shell before it ignores SIGQUIT.
        let own = child.id();
        until("the command", || {
            let inner = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
            fs::read_to_string(format!("/proc/{}/comm", inner.trim())).is_ok_and(|c| c == "sleep\n")
        });
        support::run(
            std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]),
        );
        let ended = child.wait().expect("it ends");
        assert_eq!((ended.code(), ended.signal()), (Some(status), None), "{signal}");
    }
    // The group gets it, and may answer in its own way.
    let script = "trap 'echo caught; exit 3' TERM; echo; sleep 60 & wait";
    let mut child = zone.zlogin(&["signals", script]).stdout(Stdio::piped()).spawn().expect("runs");
    let mut out = child.stdout.take().expect("a pipe");
    let mut byte = [0];
    std::io::Read::read_exact(&mut out, &mut byte).expect("it began");
    support::run(std::process::Command::new("kill").arg(child.id().to_string()));
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
    assert_eq!(drain(out), b"caught\n");
}

#[test]
fn states_and_refusals() {
    let Some(mut zone) = Zone::start("states") else { return };
    let refused = |zone: &Zone, args: &[&str]| {
        let out = zone.zlogin(args).output().expect("zlogin runs");
        assert_eq!(text(&out), "", "{args:?}");
        (out.status.code().expect("an exit"), errors(&out))
    };
    let usage = "usage: zlogin [ -dnQCES ] [ -e cmdchar ] [-l user] zonename [command [args ...] ]\n";
    assert_eq!(refused(&zone, &[]), (2, usage.into()));
    assert_eq!(refused(&zone, &["-x", "states"]), (2, usage.into()));
    assert_eq!(
        refused(&zone, &["global", "true"]),
        (1, "'zlogin' not applicable to the global zone\n".into())
    );
    assert_eq!(refused(&zone, &["other", "true"]), (1, "zlogin: zone 'other' unknown\n".into()));
    assert_eq!(refused(&zone, &["../x", "true"]), (1, "zlogin: zone '../x' unknown\n".into()));
    let not_running =
        |state: &str| (1, format!("zlogin: login allowed only to running zones (states is '{state}').\n"));
    zone.record(ZoneState::ShuttingDown, None);
    assert_eq!(refused(&zone, &["states", "true"]), not_running("shutting_down"));
    zone.record(ZoneState::Ready, None);
    assert_eq!(refused(&zone, &["states", "true"]), not_running("ready"));
    zone.record(ZoneState::Running, None);
    // Not everybody may.
    let mut command = std::process::Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        env!("CARGO_BIN_EXE_zlogin"),
        "states",
        "true",
    ]);
    let out = command.env("ZONES_ROOT", zone.folder.path()).output().expect("setpriv runs");
    if errors(&out).contains("setpriv:") {
        eprintln!("the programs are not reachable for others: {}", errors(&out));
    } else {
        assert_eq!(errors(&out), "You lack sufficient privilege to run this command (all privs required)\n");
    }
    // The zone ends while somebody is in it, and with it the record.
    let mut child =
        zone.zlogin(&["states", "echo; exec sleep 60"]).stdout(Stdio::piped()).spawn().expect("runs");
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut byte).expect("it began");
    zone.kill();
    assert_eq!(child.wait().expect("it ends").code(), Some(137));
    // The zone has no spec here, so without its record nobody knows it.
    assert_eq!(refused(&zone, &["states", "true"]), (1, "zlogin: zone 'states' unknown\n".into()));
    fs::create_dir_all(zone.root.spec_dir()).expect("a folder");
    fs::write(zone.root.spec_file(&zone.name), "format = 1\n").expect("a file");
    assert_eq!(
        refused(&zone, &["states", "true"]),
        (1, "zlogin: cannot login to a zone which is 'configured'\n".into())
    );
}

#[test]
fn limits_are_those_of_the_zone() {
    let Some(zone) = Zone::start("limits") else { return };
    support::run(std::process::Command::new("prlimit").args([
        "--pid",
        &zone.init.to_string(),
        "--memlock=123456:123456",
        "--nofile=1000:2000",
    ]));
    let out = zone.sh("grep -E 'locked|open files' /proc/self/limits | tr -s ' '");
    assert_eq!(text(&out), "Max open files 1000 2000 files \nMax locked memory 123456 123456 bytes \n");
}

#[test]
fn the_zones_cgroup_is_joined() {
    let Some(zone) = Zone::start("cgroup") else { return };
    let Some(mount) = cgroup2() else {
        eprintln!("skipped: no cgroup v2");
        return;
    };
    let folder = mount.join(format!("zones-test-{}", std::process::id()));
    fs::create_dir(&folder).expect("root may make cgroups");
    zone.record(ZoneState::Running, folder.to_str().map(str::to_owned));
    let group = || text(&zone.sh("grep ^0:: /proc/self/cgroup"));
    let name = format!("0::/zones-test-{}", std::process::id());
    let first = group();
    // Where the zone's init has gone, if that is within.
    fs::create_dir(folder.join("init.scope")).expect("root may make cgroups");
    fs::write(folder.join("init.scope/cgroup.procs"), zone.init.to_string())
        .expect("root may move processes");
    let second = group();
    fs::write(mount.join("cgroup.procs"), zone.init.to_string()).expect("root may move processes");
    for folder in [folder.join("init.scope"), folder] {
        until("an empty cgroup", || fs::remove_dir(&folder).is_ok());
    }
    assert_eq!((first, second), (format!("{name}\n"), format!("{name}/init.scope\n")));
}

fn cgroup2() -> Option<std::path::PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2"))?;
    Some(line.split(' ').nth(1)?.into())
}

#[test]
fn zonename_says_where_one_is() {
    let zonename = || std::process::Command::new(env!("CARGO_BIN_EXE_zonename"));
    let out = zonename().output().expect("zonename runs");
    assert_eq!((text(&out).as_str(), out.status.code()), ("global\n", Some(0)));
    let out = zonename().arg("-?").output().expect("zonename runs");
    assert_eq!(
        (text(&out).as_str(), errors(&out).as_str(), out.status.code()),
        ("", "usage: zonename\n", Some(2))
    );
    assert_eq!(zonename().args(["a", "b"]).output().expect("zonename runs").status.code(), Some(2));
    let Some(zone) = Zone::start("named") else { return };
    for (program, output) in [(env!("CARGO_BIN_EXE_zonename"), "named\n"), (env!("CARGO_BIN_EXE_zlogin"), "")]
    {
        let mut copy = zone.zlogin(&["named", "cat > /tmp/program && chmod 755 /tmp/program"]);
        support::run(copy.stdin(Stdio::from(fs::File::open(program).expect("a program"))));
        let out = zone.sh("/tmp/program named true");
        let out = if output.is_empty() { out } else { zone.sh("/tmp/program") };
        assert_eq!(text(&out), output, "{}", errors(&out));
        if output.is_empty() {
            assert_eq!(errors(&out), "'zlogin' may only be used from the global zone\n");
        }
    }
}
