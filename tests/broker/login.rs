//! Logins through the broker.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BIN, DAEMON, SYS, World, admins, until};
use rexpect::session::{PtySession, spawn_command};

#[test]
fn login_needs_a_password_of_the_zone() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("daemon", "login")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let command = "daemon is not authorized for failsafe or non-interactive login to zion zone (solaris.zone.manage/zion).";
    w.refused(DAEMON, "zlogin", &["zion", "id"], command);
    w.refused(DAEMON, "zlogin", &["-S", "zion", "id"], command);
    w.refused(DAEMON, "zlogin", &["zion"], command);
    let console = "daemon is not authorized for console access to zion zone (solaris.zone.manage/zion).";
    w.refused(DAEMON, "zlogin", &["-C", "zion"], console);
    w.refused(SYS, "zlogin", &["zion", "id"], "sys is not authorized for failsafe or non-interactive login");
    // At a terminal: with a password, made here for a user of the zone.
    let made = w.lab.sh(
        "zion",
        "useradd -m -s /bin/sh ann && echo ann:open-sesame | chpasswd && test -x /bin/login && echo made",
    );
    let mut s = session(&w, SYS, "zlogin zion");
    expect(&mut s, "sys is not authorized to login to zion zone (solaris.zone.login/zion).");
    let mut s = session(&w, DAEMON, "zlogin -l -froot zion");
    expect(&mut s, "no user name begins with '-'");
    let mut s = session(&w, DAEMON, "zlogin -i zion id");
    expect(&mut s, "not authorized for failsafe or non-interactive login");
    if made.out != "made\n" {
        eprintln!("SKIPPED: no user with a password can be made here: {made:?}");
        return;
    }
    let mut s = session(&w, DAEMON, "zlogin -l ann zion");
    expect(&mut s, "assword:");
    s.send_line("wrong").expect("sent");
    expect(&mut s, "ncorrect");
    drop(s);
    let mut s = session(&w, DAEMON, "zlogin -l ann zion");
    expect(&mut s, "assword:");
    s.send_line("open-sesame").expect("sent");
    // login(1) throws away what was typed before it was asked for.
    expect(&mut s, "$ ");
    s.send_line("id -un; uname -n").expect("sent");
    expect(&mut s, "ann\r\nzion\r\n");
}

pub fn session(w: &World, uid: u32, words: &str) -> PtySession {
    let mut words = words.split(' ');
    let program = w.program(words.next().expect("a program"));
    let args: Vec<&str> = words.collect();
    let script = format!("{program} {}; echo status=$?", args.join(" "));
    shell(w, uid, &script)
}

/// Runs a script of a user at a terminal.
pub fn shell(w: &World, uid: u32, script: &str) -> PtySession {
    let id = uid.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "bash", "-c", script]);
    command.env("ZONES_ROOT", w.lab.path()).env("TERM", "dumb");
    spawn_command(command, Some(20_000)).expect("a terminal")
}

pub fn expect(session: &mut PtySession, what: &str) -> String {
    session.exp_string(what).unwrap_or_else(|e| panic!("waiting for {what:?}: {e}"))
}

#[test]
fn a_terminal_through_the_broker() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let zlogin = w.program("zlogin");
    // A session: a terminal of the zone with the size and modes of the caller's, which come back.
    let script = format!(
        "stty rows 50 cols 132; before=$(stty -g); tty; {zlogin} zion; echo status=$?; \
         test \"$before\" = \"$(stty -g)\" && echo same"
    );
    let mut s = shell(&w, BIN, &script);
    let tty = s.read_line().expect("a line");
    expect(&mut s, "[Connected to zone 'zion' pts/");
    s.send_line("PS1=; echo READY").expect("sent");
    expect(&mut s, "READY\r\n");
    s.send_line("stty size; echo $TERM; echo E''ND").expect("sent");
    assert!(expect(&mut s, "END\r\n").contains("50 132\r\ndumb\r\n"));
    assert!(
        Command::new("stty").args(["-F", &tty, "rows", "33", "cols", "99"]).status().expect("stty").success()
    );
    until("the new size", || {
        s.send_line("stty size; echo E''ND").expect("sent");
        expect(&mut s, "END\r\n").contains("33 99")
    });
    // The interrupt character is for the program in the zone.
    s.send_line("sleep 100; echo int=$?").expect("sent");
    std::thread::sleep(Duration::from_millis(500));
    s.send_control('c').expect("sent");
    s.send_line("echo int=$?").expect("sent");
    expect(&mut s, "int=130");
    s.send_line("exit 3").expect("sent");
    expect(&mut s, "closed]");
    expect(&mut s, "status=0");
    expect(&mut s, "same");

    // Escapes are for the zlogin that works for the user; the console is one of them.
    let mut s = session(&w, BIN, "zlogin -C zion");
    expect(&mut s, "[Connected to zone 'zion' console]");
    s.send("\r~.").expect("sent");
    s.flush().expect("sent");
    expect(&mut s, "console closed]");
    expect(&mut s, "status=0");

    // A command: its status, also that of a signal; its streams apart; interrupted by the terminal.
    let mut s = session(&w, BIN, "zlogin zion exit 7");
    expect(&mut s, "status=7");
    let mut s = session(&w, BIN, "zlogin zion sleep 100");
    std::thread::sleep(Duration::from_secs(1));
    s.send_control('c').expect("sent");
    expect(&mut s, "status=130");
    let run = w.run(BIN, "zlogin", &["zion", "echo out; echo err >&2; kill -9 $$"]);
    assert_eq!((run.out.as_str(), run.err.as_str(), run.status), ("out\n", "err\n", 137));
    // Suspended and continued by the shell of the user.
    let mut s = shell(
        &w,
        BIN,
        &format!("set -m; {zlogin} zion 'sleep 3; echo slept'; echo stopped=$?; fg; echo end=$?"),
    );
    std::thread::sleep(Duration::from_secs(1));
    s.send_control('z').expect("sent");
    expect(&mut s, "stopped=14");
    expect(&mut s, "slept");
    expect(&mut s, "end=0");
    // The question of uninstall, answered at the terminal of the user.
    w.lab.installed("gone", &admins(&[("bin", "manage")]));
    w.refused(BIN, "zoneadm", &["-z", "gone", "uninstall"], "Input not from terminal and -F not specified");
    let mut s = session(&w, BIN, "zoneadm -z gone uninstall");
    expect(&mut s, "Are you sure you want to uninstall zone gone (y/[n])? ");
    s.send_line("y").expect("sent");
    expect(&mut s, "status=0");
    assert_eq!(w.lab.state("gone"), "configured");
    // What is piped in and out is carried whole.
    let mut command = w.command(BIN, "zlogin", &["zion", "md5sum; head -c 3000000 /dev/zero"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("zlogin starts");
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &vec![b'x'; 1 << 20]));
    let out = child.wait_with_output().expect("it ends");
    writer.join().expect("a thread").expect("all is read");
    let digest = "b561f87202d04959e37588ee05cf5b10";
    assert!(String::from_utf8_lossy(&out.stdout[..40]).starts_with(digest), "{:?}", &out.stdout[..40]);
    assert_eq!(out.stdout.iter().filter(|b| **b == 0).count(), 3_000_000);
}
