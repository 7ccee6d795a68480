//! `zlogin` at a terminal: sessions on a terminal of the zone, escapes, the console.

mod lab;
mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use lab::Lab;
use rexpect::session::{PtySession, spawn_command};
use support::{Zone, errors, run, text, until};

const PATIENCE: Option<u64> = Some(20_000);

/// Runs a script of the host on a terminal, with `zlogin` in `$Z`.
fn terminal(zone: &Zone, script: &str) -> PtySession {
    at_terminal(zone.folder.path(), script)
}

fn at_terminal(root: &Path, script: &str) -> PtySession {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("ZONES_ROOT", root).env("TERM", "dumb");
    command.env("Z", env!("CARGO_BIN_EXE_zlogin"));
    spawn_command(command, PATIENCE).expect("a terminal")
}

fn expect(session: &mut PtySession, what: &str) -> String {
    session.exp_string(what).unwrap_or_else(|e| panic!("waiting for {what:?}: {e}"))
}

/// Sends a line for a shell; what comes back begins after its echo.
fn line(session: &mut PtySession, text: &str) {
    session.send_line(text).expect("an open terminal");
    expect(session, "\n");
}

/// Waits for the prompt and sends a command that shows where its output ends.
fn ask(session: &mut PtySession, command: &str) -> String {
    line(session, &format!("{command}; echo E''ND"));
    // Without what the line editor of the shell says to the terminal.
    expect(session, "END").replace('\r', "").replace("\x1b[?2004l", "")
}

/// Types what no newline is to follow.
fn keys(session: &mut PtySession, bytes: &str) {
    session.send(bytes).expect("an open terminal");
    session.flush().expect("an open terminal");
}

#[test]
fn a_session_has_a_terminal_of_the_zone() {
    let Some(zone) = Zone::start("tty") else { return };
    let mut s = terminal(
        &zone,
        "stty rows 50 cols 132; before=$(stty -g); tty; $Z tty; echo status=$?; test $before = $(stty -g) && echo same",
    );
    let host_tty = s.read_line().expect("a line");
    expect(&mut s, "[Connected to zone 'tty' pts/0]\r\n");
    // The terminal that rexpect makes does not echo, and the zone's looks like it.
    s.send_line("PS1=; echo READY").expect("an open terminal");
    expect(&mut s, "READY\r\n");
    let mut sh = |command: &str| {
        s.send_line(&format!("{command}; echo E''ND")).expect("an open terminal");
        expect(&mut s, "END\r\n").replace('\r', "")
    };
    assert_eq!(
        sh("tty; stty size; echo $0 $TERM $HOME $USER; id -u"),
        "/dev/pts/0\n50 132\n-bash dumb /root root\n0\n"
    );
    assert_eq!(
        sh("ps -o tty= -p $$; stat -c '%u %g %a' /dev/pts/0; readlink /proc/$$/fd/0"),
        "pts/0\n0 5 620\n/dev/pts/0\n"
    );
    // The size follows the caller's window.
    run(Command::new("stty").args(["-F", &host_tty, "rows", "33", "cols", "99"]));
    until("the new size", || text(&zone.sh("stty -F /dev/pts/0 size")) == "33 99\n");
    s.send_line("exit 3").expect("an open terminal");
    expect(&mut s, "\r\n[Connection to zone 'tty' pts/0 closed]\r\n");
    expect(&mut s, "status=0\r\n");
    expect(&mut s, "same\r\n");
    s.exp_eof().expect("the end");
}

#[test]
fn escapes() {
    let Some(zone) = Zone::start("escapes") else { return };
    let begin = |words: &str| {
        let mut s = terminal(&zone, &format!("$Z -Q {words}; echo status=$?"));
        // A program that shows exactly what it is sent.
        s.send_line("stty raw -echo; echo R''EADY; exec od -An -v -c -w1").expect("an open terminal");
        expect(&mut s, "READY");
        s
    };
    let sent = |s: &mut PtySession, bytes: &str, shown: &[&str]| {
        keys(s, bytes);
        for one in shown {
            let got = expect(s, "\n");
            assert_eq!(got.trim(), *one, "{bytes:?}");
        }
    };
    let mut s = begin("escapes");
    expect(&mut s, "\n");
    sent(&mut s, "a~.", &["a", "~", "."]);
    sent(&mut s, "\r~~", &["\\r", "~"]);
    sent(&mut s, "\r~x", &["\\r", "~", "x"]);
    // The interrupt and suspend characters are the zone's business, and begin a line.
    sent(&mut s, "\x03\x1a", &["003", "032"]);
    keys(&mut s, "~.");
    expect(&mut s, "~.");
    expect(&mut s, "status=0");
    let mut s = begin("-e % escapes");
    expect(&mut s, "\n");
    sent(&mut s, "\r~.", &["\\r", "~", "."]);
    keys(&mut s, "\r%\x04");
    expect(&mut s, "%^D");
    expect(&mut s, "status=0");
    let mut s = begin("-E escapes");
    expect(&mut s, "\n");
    sent(&mut s, "\r~.\r~\x04", &["\\r", "~", ".", "\\r", "~", "004"]);
    drop(s);
}

#[test]
fn a_terminal_on_request_and_none_without() {
    let Some(zone) = Zone::start("request") else { return };
    // -i: a terminal although there is a command; its status counts, and its input ends with ours.
    let out = zone.zlogin(&["-Qi", "request", "tty; stty size; exit 5"]).output().expect("runs");
    assert_eq!((text(&out).as_str(), out.status.code()), ("/dev/pts/0\r\n24 80\r\n", Some(5)));
    let mut child = zone
        .zlogin(&["-Qi", "request", "stty -echo; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    child.stdin.take().expect("a pipe").write_all(b"line\n").expect("an open pipe");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success() && text(&out).ends_with("line\r\n"), "{out:?}");
    // A command at a terminal never gets hold of it.
    let mut s = terminal(
        &zone,
        "tty; $Z request 'readlink /proc/self/fd/0; readlink /proc/$$/fd/1 /proc/$$/fd/2; (: < /dev/tty) 2>&1 | tail -c 26; ps -o tty= -p $$'",
    );
    assert!(s.read_line().expect("a line").starts_with("/dev/pts/"));
    for _ in 0..3 {
        assert!(s.read_line().expect("a line").starts_with("pipe:"));
    }
    assert_eq!(s.read_line().expect("a line"), "No such device or address");
    assert_eq!(s.read_line().expect("a line"), "?");
    s.exp_eof().expect("the end");
    // What it reads is ours, what it writes comes in the order in which it was written.
    let mut s = terminal(
        &zone,
        "stty -echo; $Z request 'read x; for i in 1 2 3; do echo $x$i; echo e$i >&2; done'; echo status=$?",
    );
    s.send_line("typed").expect("an open terminal");
    expect(&mut s, "typed1\r\ne1\r\ntyped2\r\ne2\r\ntyped3\r\ne3\r\nstatus=0");
    // ^C reaches the command, and ends it there.
    let mut s = terminal(
        &zone,
        "trap : INT; $Z request 'trap \"echo trapped; exit 9\" INT; echo ready; sleep 60 & wait'; echo status=$?",
    );
    expect(&mut s, "ready");
    s.send_control('c').expect("an open terminal");
    expect(&mut s, "trapped");
    expect(&mut s, "status=9");
}

#[test]
fn a_session_ends_with_its_zone() {
    let Some(mut zone) = Zone::start("ending") else { return };
    let mut s = terminal(&zone, "$Z ending; echo status=$?");
    expect(&mut s, "[Connected to zone 'ending' pts/0]");
    expect(&mut s, "# ");
    zone.kill();
    expect(&mut s, "\r\n[Connection to zone 'ending' pts/0 closed]\r\nstatus=0\r\n");
}

#[test]
fn failures_of_a_session() {
    let Some(zone) = Zone::start("failures") else { return };
    let mut s = terminal(
        &zone,
        "$Z -l nobody-here failures; echo status=$?; $Z -l shelless failures; echo status=$?",
    );
    expect(&mut s, "zlogin: zone 'failures': unknown user 'nobody-here'\r\nstatus=1\r\n");
    expect(
        &mut s,
        "zlogin: zone 'failures': cannot execute '/no/such/shell': No such file or directory\r\nstatus=1",
    );
    // A zone that fakes its terminals is found out.
    assert!(zone.sh("umount -l /dev/pts && mkdir -p /dev/pts && mkfifo /dev/pts/ptmx").status.success());
    let out = zone.zlogin(&["-i", "failures", "true"]).output().expect("runs");
    assert!(errors(&out).contains("cannot make a terminal in the zone's /dev/pts"), "{out:?}");
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn stopping_stops_the_command_as_well() {
    let Some(zone) = Zone::start("stopping") else { return };
    let mut child = zone.zlogin(&["stopping", "exec sleep 60"]).stdout(Stdio::piped()).spawn().expect("runs");
    let state = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").map(|(_, rest)| rest[..1].to_owned()).unwrap_or_default()
    };
    let own = child.id().to_string();
    let mut inner = String::new();
    until("the command", || {
        inner = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        fs::read_to_string(format!("/proc/{inner}/comm")).is_ok_and(|c| c == "sleep\n")
    });
    let kill = |signal: &str| run(Command::new("kill").args([signal, &own]));
    kill("-TSTP");
    until("both stop", || state(&own) == "T" && state(&inner) == "T");
    kill("-CONT");
    until("both go on", || state(&own) == "S" && state(&inner) == "S");
    kill("-TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
}

/// Returns a field of the record of a running zone.
fn record(lab: &Lab, field: &str) -> String {
    let text = fs::read_to_string(lab.path().join("run/zones/zion/running")).expect("a record");
    let value = text.split_whitespace().find_map(|w| w.strip_prefix(field)?.strip_prefix('='));
    value.expect("the field").to_owned()
}

#[test]
fn the_console_of_a_zone_in_all_its_states() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    // Installed: nobody serves the console, and zlogin starts a supervisor for it.
    let mut s = at_terminal(
        lab.path(),
        "before=$(stty -g); $Z -C zion; echo status=$?; test $before = $(stty -g) && echo same",
    );
    expect(&mut s, "[Connected to zone 'zion' console]\r\n");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    expect(&mut s, "\r\n[NOTICE: Zone booting up]\r\n");
    expect(&mut s, "\r\nzion console: press Enter to log in\r\n");
    keys(&mut s, "\r");
    expect(&mut s, "# ");
    assert_eq!(ask(&mut s, "tty; ps -o tty= -p $$"), "/dev/console\nconsole\n");
    // One at a time.
    let mut other = at_terminal(lab.path(), "$Z -C zion; echo status=$?");
    let busy = other.read_line().expect("a line");
    assert!(busy.starts_with("Console is already in use by process ID ") && busy.ends_with('.'), "{busy}");
    expect(&mut other, "status=1");
    keys(&mut s, "\r~.");
    expect(&mut s, "~.\r\n[Connection to zone 'zion' console closed]\r\nstatus=0\r\nsame\r\n");
    // The supervisor dies, and with it the terminal: the next client starts another.
    let supervisor = record(&lab, "supervisor");
    run(Command::new("kill").args(["-9", &supervisor]));
    let mut s = at_terminal(lab.path(), "$Z -Q -C zion; echo status=$?");
    expect(&mut s, "\r\nzion console: press Enter to log in\r\n");
    assert_ne!(record(&lab, "supervisor"), supervisor);
    keys(&mut s, "\r");
    expect(&mut s, "# ");
    assert_eq!(ask(&mut s, "tty"), "/dev/console\n");
    // It stays over a halt and a boot.
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    expect(&mut s, "\r\n[NOTICE: Zone halted]\r\n");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    expect(&mut s, "\r\n[NOTICE: Zone booting up]\r\n");
    expect(&mut s, "press Enter to log in\r\n");
    keys(&mut s, "~.");
    expect(&mut s, "status=0");
    // -d: it leaves when the zone halts.
    let mut s = at_terminal(lab.path(), "$Z -C -d zion; echo status=$?");
    expect(&mut s, "[Connected to zone 'zion' console]\r\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    expect(&mut s, "\r\n[NOTICE: Zone halted.  Disconnecting...]\r\n");
    expect(&mut s, "\r\n[Connection to zone 'zion' console closed]\r\nstatus=0\r\n");
    lab.assert_clean();
    lab.ok("zoneadm", &["-z", "zion", "uninstall", "-F"]);
    let out = lab.run("zlogin", &["-C", "zion"]);
    assert_eq!((out.status, out.err.as_str()), (1, "zlogin: cannot login to a zone which is 'configured'\n"));
}
