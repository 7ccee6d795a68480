//! Clients that are killed, lie, wait or leave things behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::login::{expect, session, shell};
use super::{BIN, SYS, World, admins, become_user, request, start, until};
use crate::lab::{Lab, Run};
use zones::sys::channel::Channel;

#[test]
fn a_client_that_is_killed_leaves_nothing_half_done() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    // The operation is finished.
    for wait in [0, 20, 60, 150] {
        let mut child = w.command(BIN, "zoneadm", &["-z", "zion", "boot"]).spawn().expect("zoneadm starts");
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("killed");
        child.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(300));
        // It waits for an operation that goes on.
        let run = w.lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert!(run.status == 0 || run.err.contains("already"), "{run:?}");
        assert_eq!(w.lab.state("zion"), "running", "after {wait} ms");
        assert_eq!(w.lab.sh("zion", "echo up").out, "up\n");
        w.lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    // A session ends with its client, and the connection with it.
    let mut child = w.command(BIN, "zlogin", &["zion", "sleep 1234"]).spawn().expect("zlogin starts");
    until("the command", || w.lab.sh("zion", "pgrep -f 'sleep 1234'").status == 0);
    child.kill().expect("killed");
    child.wait().expect("it ends");
    until("the end of the command", || w.lab.sh("zion", "pgrep -x sleep").status != 0);
    until("the end of the connection", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", w.broker.id()));
        children.expect("a broker").is_empty()
    });
    // The broker may go: what it has begun does not.
    let mut s = session(&w, BIN, "zlogin -Q zion");
    s.send_line("PS1=; echo REA''DY").expect("sent");
    expect(&mut s, "READY");
    let World { broker, lab } = &w;
    let zoneadm = w.program("zoneadm");
    assert!(Command::new("kill").arg(broker.id().to_string()).status().expect("kill").success());
    until("the end of the broker", || !lab.path().join("run/zones/.broker").exists());
    s.send_line("echo still''here").expect("sent");
    expect(&mut s, "stillhere");
    s.send_line("exit").expect("sent");
    expect(&mut s, "status=0");
    assert_eq!(lab.state("zion"), "running");
    let run = w.run(BIN, "zoneadm", &["-z", "zion", "halt"]);
    assert!(run.status == 1 && run.err.contains("only a privileged user may halt a zone."), "{run:?}");
    let mut s = shell(&w, BIN, &format!("{zoneadm} -z zion halt"));
    expect(&mut s, "admin has no effect: no broker listens at ");
    let run = w.lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(run.err.contains("no broker listens"), "{run:?}");
    // The file of one that was killed is in nobody's way, nor are sessions that go on.
    fs::remove_file(lab.path().join("run/zones/.broker")).ok();
    let mut second = start(lab);
    let mut s = session(&w, BIN, "zlogin -Q zion");
    s.send_line("PS1=; echo REA''DY").expect("sent");
    expect(&mut s, "READY");
    second.kill().expect("killed");
    second.wait().expect("it ends");
    s.send_line("echo still''here").expect("sent");
    expect(&mut s, "stillhere");
    assert!(w.run(BIN, "zoneadm", &["-z", "zion", "halt"]).err.contains("only a privileged user"));
    let mut third = start(lab);
    until("the third broker", || w.run(BIN, "zoneadm", &["-z", "zion", "verify"]).status == 0);
    w.ok(BIN, "zoneadm", &["-z", "zion", "halt"]);
    third.kill().expect("killed");
    third.wait().expect("it ends");
}

#[test]
fn nobody_is_believed_about_who_he_is() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    let boot = request("zoneadm", "000", &["-z", "zion", "boot"]);
    // What a client says about itself, in the request and in its own environment.
    let run = w
        .command(SYS, "zoneadm", &["-z", "zion", "boot"])
        .env("ZONES_CALLER", "2:1:bin")
        .env("USER", "bin")
        .env("LOGNAME", "bin")
        .output();
    let run = Run::from(run.expect("it runs"));
    assert!(run.err.contains("User sys is not authorized"), "{run:?}");
    // Descriptors and credentials that come with it.
    let null = fs::File::open("/dev/null").expect("a file");
    let answer = w.raw(BIN, |channel| {
        let text = String::from_utf8(boot.clone()).expect("text");
        channel.send(&text, &[std::os::fd::AsFd::as_fd(&null)]).expect("sent");
    });
    assert_eq!(answer.as_deref(), Some("refused descriptors with a request"));
    // Perl sends the credentials of process 1, which root may do and others may not; neither counts.
    let forged = r#"
        use Socket;
        my ($uid, $path) = @ARGV;
        socket(my $s, AF_UNIX, 5, 0) or die; connect($s, sockaddr_un($path)) or die "connect: $!";
        my $text = "zones-broker 1\0zoneadm\x00000\0\0\0-z\0zion\0boot";
        my $iov = pack("PQ", $text, length $text);
        my $ids = pack("iii", $$, 2, 2);
        my $control = pack("Qii", 16 + 12, 1, 2) . $ids . "\0" x 4;
        my $msg = pack("QLx4PQPQi", 0, 0, $iov, 1, $control, 28, 0);
        my $sent = syscall(46, fileno($s), $msg, 0x4000);
        print "not sent: $!\n" if $sent < 0;
        if ($sent < 0) { send($s, $text, 0) }
        recv($s, my $answer, 4096, 0); print "$answer\n";
        send($s, "go", 0); recv($s, $answer, 4096, 0); print "$answer\n";
    "#;
    for (uid, as_root) in [(SYS, false), (0, true)] {
        let mut perl = Command::new("setpriv");
        let id = uid.to_string();
        perl.args(["--reuid", &id, "--regid", &id, "--clear-groups", "perl", "-e", forged, &id])
            .arg(w.socket());
        let out = perl.output().expect("perl runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let good =
            if as_root { text.contains("refused root needs no broker") } else { text.contains("exit 1") };
        assert!(good, "{text} {}", String::from_utf8_lossy(&out.stderr));
    }
    // A user of the host who has no name there, whatever a zone calls that number.
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    w.lab.sh("zion", "echo 'bin:x:54321:54321::/:/bin/sh' >> /etc/passwd");
    w.refused(54321, "zoneadm", &["-z", "zion", "halt"], "user id 54321 has no name on this host");
    w.refused(SYS, "zoneadm", &["-z", "zion", "halt"], "User sys is not authorized");
    // Of another user namespace, where bin of the host may be called root.
    let ask = r#"
        use Socket; socket(my $s, AF_UNIX, 5, 0) or die; connect($s, sockaddr_un($ARGV[0])) or die "connect: $!";
        $SIG{PIPE} = 'IGNORE'; send($s, "zones-broker 1\0zoneadm\x00000\0\0\0-z\0zion\0halt", 0);
        my $b; recv($s, $b, 4096, 0) // recv($s, $b, 4096, 0); print "$b\n";
    "#;
    let mut perl = Command::new("setpriv");
    perl.args(["--reuid", "2", "--regid", "2", "--clear-groups", "unshare", "-U", "-r", "perl", "-e", ask]);
    let out = perl.arg(w.socket()).output().expect("perl runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(text, "refused the caller is in another user namespace than this host\n", "{out:?}");
    // A process of the zone that is given the socket in spite of all. The zone itself has none.
    let seen = w.lab.sh("zion", "ls -a /run/zones 2>&1; grep -c broker /proc/net/unix");
    assert!(!seen.out.contains(".broker"), "{seen:?}");
    let pid = crate::lab::record(&w.lab, "zion", "init");
    let mut perl = Command::new("nsenter");
    // Its user, process and network namespace, with the files of the host.
    perl.args(["-t", &pid, "-U", "-p", "-n", "-S", "0", "-G", "0", "perl", "-e", ask]);
    let folder = w.lab.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    let out = perl.arg(w.socket()).output().expect("perl runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(text, "refused the caller is in another user namespace than this host\n", "{out:?}");
    assert_eq!(w.lab.state("zion"), "running");
    assert!(w.log().contains("another user namespace"));
}

#[test]
fn nobody_waits_for_somebody_else() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    // Some who say nothing at all.
    let socket = w.socket();
    let silent = std::thread::spawn(move || {
        become_user(SYS);
        (0..32).map(|_| Channel::connect(&socket).expect("a broker")).collect::<Vec<_>>()
    });
    let silent = silent.join().expect("a thread");
    let start = Instant::now();
    w.ok(BIN, "zoneadm", &["-z", "zion", "verify"]);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    // They have used up what one user may have, and nobody else's.
    w.refused(SYS, "zoneadm", &["-z", "zion", "verify"], "too many connections of user id 3");
    let told = silent[0].receive_bytes(4096, 20_000).expect("an answer").expect("an answer");
    assert_eq!(String::from_utf8_lossy(&told), "refused no request in time");
    drop(silent);
    until("the end of their connections", || {
        w.run(SYS, "zoneadm", &["-z", "zion", "verify"]).err.contains("User sys is not authorized")
    });
    // Too long, and noise.
    let long = vec![b'x'; 100_000];
    let answer = w.raw(BIN, |c| c.send_bytes(&long).expect("sent"));
    assert_eq!(answer.as_deref(), Some("refused a request of more than 65536 bytes"));
    for noise in [&b"\0"[..], b"zones-broker 1", b"zones-broker 1\0sh\x00000\0\0\0-c\0id", &[0xff; 64]] {
        let answer = w.raw(BIN, |c| c.send_bytes(noise).expect("sent"));
        assert!(
            answer.is_some_and(|a| a.starts_with("refused a request that is not understood")),
            "{noise:?}"
        );
    }
    // Words are words: no shell, no option of another program, no second line in the log.
    let evil = request("zlogin", "000", &["zion\nuid 0 (root), pid 1: all allowed", "$(touch /x)"]);
    let answer = w.raw(SYS, |c| {
        c.send_bytes(&evil).expect("sent");
        assert_eq!(c.receive().expect("an answer").text, "open");
        c.send_bytes(b"go").expect("sent");
    });
    assert_eq!(answer.as_deref(), Some("exit 1"));
    assert!(w.log().lines().all(|l| !l.starts_with("uid 0")), "{}", w.log());
    // Nothing of this has ended the broker.
    w.ok(BIN, "zoneadm", &["-z", "zion", "verify"]);
}

#[test]
fn the_worker_has_nothing_of_the_client() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let mut command = w.command(BIN, "zlogin", &["zion", "sleep 77"]);
    command
        .env("LD_PRELOAD", "/x.so")
        .env("PAGER", "x")
        .env("HOME", "/x")
        .env("LANG", "de_DE.UTF-8")
        .env("TERM", "a;b");
    let mut child = command.current_dir("/tmp").spawn().expect("zlogin starts");
    let worker = || {
        let broker = w.broker.id();
        let children =
            |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let monitor = children(&broker.to_string());
        let monitor = monitor.split_whitespace().next()?.to_owned();
        let worker = children(&monitor).split_whitespace().next()?.to_owned();
        let comm = fs::read_to_string(format!("/proc/{worker}/comm")).ok()?;
        (comm.trim() == "zlogin").then_some(worker)
    };
    until("the worker", || worker().is_some());
    until("the command", || w.lab.sh("zion", "pgrep -f 'sleep 77'").status == 0);
    let pid = worker().expect("a worker");
    let env = fs::read(format!("/proc/{pid}/environ")).expect("an environment");
    let mut names: Vec<_> = env
        .split(|b| *b == 0)
        .filter(|v| !v.is_empty())
        .map(|v| String::from_utf8_lossy(v).split('=').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["LANG", "PATH", "ZONES_CALLER", "ZONES_ROOT"]);
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder"), PathBuf::from("/"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    assert!(status.contains("Umask:\t0022") && status.contains("Uid:\t0\t0\t0\t0"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let core = limits.lines().find(|l| l.starts_with("Max core")).expect("a limit");
    assert!(core.split_whitespace().nth(4) == Some("0"), "{core}");
    // Its streams are pipes of the broker's; nothing is open that the client has.
    for (stream, kind) in [(0, "pipe:"), (1, "pipe:"), (2, "pipe:")] {
        let link = fs::read_link(format!("/proc/{pid}/fd/{stream}")).expect("a stream");
        assert!(link.display().to_string().starts_with(kind), "{link:?}");
    }
    child.kill().expect("killed");
    child.wait().expect("it ends");
}

#[test]
fn a_socket_of_the_service_manager() {
    let Some(lab) = Lab::new() else { return };
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
    lab.configure("zion", &admins(&[("bin", "manage")]));
    fs::create_dir_all(lab.path().join("run/zones")).expect("a folder");
    let socket = lab.path().join("run/zones/.broker");
    // As systemd does it: a listening socket as descriptor 3.
    let perl = r#"
        use Socket; use POSIX; $^F = 9;
        socket(my $s, AF_UNIX, $ARGV[1], 0) or die; bind($s, sockaddr_un($ARGV[0])) or die "bind: $!"; listen($s, 5);
        chmod 0666, $ARGV[0];
        POSIX::dup2(fileno($s), 3); $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; exec($ARGV[2]) or die;
    "#;
    let begin = |kind: &str| {
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("perl");
        command.args(["-e", perl]).arg(&socket).arg(kind).arg(env!("CARGO_BIN_EXE_zonesd"));
        command.env("ZONES_ROOT", lab.path()).stderr(Stdio::piped()).spawn().expect("perl starts")
    };
    let wrong = begin("1").wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("ListenSequentialPacket="), "{wrong:?}");
    let mut broker = begin("5");
    until("the broker", || Channel::connect(&socket).is_ok());
    let told = {
        let socket = socket.clone();
        std::thread::spawn(move || {
            become_user(BIN);
            let channel = Channel::connect(&socket).expect("a broker");
            channel.send_bytes(&request("zoneadm", "000", &["-z", "zion", "verify"])).expect("sent");
            assert_eq!(channel.receive().expect("an answer").text, "open");
            channel.send_bytes(b"go").expect("sent");
            channel.receive_bytes(100, 20_000).expect("an end")
        })
    };
    assert_eq!(told.join().expect("a talk").as_deref(), Some(&b"exit 0"[..]));
    // A second broker does not take the socket away.
    let second =
        Command::new(env!("CARGO_BIN_EXE_zonesd")).env("ZONES_ROOT", lab.path()).output().expect("it ends");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another broker listens at"), "{second:?}");
    assert!(Command::new("kill").arg(broker.id().to_string()).status().expect("kill").success());
    assert!(broker.wait().expect("it ends").success());
    // The socket is the service manager's: it stays.
    assert!(socket.exists());
}
