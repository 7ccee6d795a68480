//! Programs and supervisors of two releases: what they say to each other on the sockets, and that a request which
//! is not understood changes nothing.
//!
//! `ZONES_TEST_FORMER` names a folder with the programs of a former release; without it, its side of the
//! conversation is that of the recorded requests.

mod lab;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::{Lab, Run, record};

/// Sends bytes to a socket of the zone and returns what comes back until the connection is closed, or nothing more
/// comes for a while.
fn say(lab: &Lab, socket: &str, text: &str) -> String {
    let path = lab.path().join("run/zones/zion").join(socket);
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    stream.write_all(text.as_bytes()).expect("sent");
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_watched(lab: &Lab) -> bool {
    lab.path().join("run/zones/zion/watched").exists()
}

#[test]
fn an_unknown_request_does_not_take_the_console() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    for (request, answer) in [
        ("\nzoneadmd 1 LIVE now\n", "ERROR zoneadmd does not know the request LIVE\n"),
        ("LIVE now\n", "ERROR zoneadmd does not know the request LIVE\n"),
        (
            "zoneadmd 2 CONNECT 1 C 0\n",
            "ERROR zoneadmd speaks version 1 of its protocol, not 2: programs of two releases are in use\n",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "ERROR zoneadmd does not know the request GET\n"),
        ("\x1b[2J\n", "ERROR zoneadmd does not know the request \\u{1b}[2J\n"),
        ("\nzoneadmd 1 BOOT\n", "ERROR zone is already booted\n"),
        ("\nzoneadmd 1 HANDOVER\n", "ERROR the zone runs"),
        ("\nzoneadmd 1\n", ""),
        ("\n", ""),
        ("", ""),
    ] {
        if !request.is_empty() {
            assert_eq!(say(&lab, "console.sock", request), answer, "{request:?}");
        }
        assert!(!is_watched(&lab), "{request:?} has taken the console");
    }
    // Nor is anything broken by it.
    assert_eq!(lab.sh("zion", "echo here").out, "here\n");
    assert_eq!(lab.state("zion"), "running");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

/// What programs up to 0.1.0 send is still understood, so that those which run during an upgrade go on.
#[test]
fn requests_of_the_former_release_are_served() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "ready"]);
    assert_eq!(say(&lab, "console.sock", "BOOT -s\n"), "OK\n");
    assert_eq!(lab.state("zion"), "running");
    assert_eq!(say(&lab, "console.sock", "BOOT \n"), "zone is already booted\n");
    let path = lab.path().join("run/zones/zion/console.sock");
    let connect = |pid: u32| {
        let mut stream = UnixStream::connect(&path).expect("somebody listens");
        stream.write_all(format!("CONNECT {pid} C 1\n").as_bytes()).expect("sent");
        let (mut line, mut byte) = (Vec::new(), [0]);
        while stream.read(&mut byte).is_ok_and(|n| n == 1) && byte != *b"\n" {
            line.push(byte[0]);
        }
        (stream, String::from_utf8_lossy(&line).into_owned())
    };
    let own = std::process::id();
    let (mut console, answer) = connect(own);
    assert_eq!(answer, "OK");
    assert_eq!(connect(7).1, own.to_string(), "the client that has it");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    let mut text = String::new();
    console.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    console.read_to_string(&mut text).expect("text until it is let go");
    assert!(text.ends_with("[NOTICE: Zone halted.  Disconnecting...]\r\n"), "{text:?}");
    lab.assert_clean();
}

/// Returns the folder with the programs of a former release.
fn former() -> Option<PathBuf> {
    let folder = std::env::var_os("ZONES_TEST_FORMER").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: ZONES_TEST_FORMER names no folder with the programs of a former release");
    }
    folder
}

/// Runs a program of the former release.
fn run_former(folder: &Path, lab: &Lab, program: &str, args: &[&str]) -> Run {
    let mut command = Command::new(folder.join(program));
    command.args(args).env("ZONES_ROOT", lab.path()).stdin(Stdio::null());
    Run::from(command.output().expect("the program of the former release"))
}

/// Watches the console until it shows a text, with the program of one release.
fn watch(mut command: Command, lab: &Lab, wanted: &str) -> bool {
    command.env("ZONES_ROOT", lab.path()).args(["-C", "zion"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("zlogin starts");
    let mut typed = child.stdin.take().expect("a pipe");
    typed.write_all(b"\r").expect("typed");
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    let mut out = child.stdout.take().expect("a pipe");
    while !text.contains(wanted) {
        match out.read(&mut buffer) {
            Ok(n @ 1..) => text += &String::from_utf8_lossy(&buffer[..n]),
            _ => break,
        }
    }
    drop(typed);
    let _ = child.kill();
    let _ = child.wait();
    text.contains(wanted)
}

#[test]
fn a_zone_of_the_former_release_is_served_by_the_present_programs() {
    let (Some(lab), Some(folder)) = (Lab::new(), former()) else { return };
    lab.installed("zion", "");
    let old = |program: &str, args: &[&str]| {
        let run = run_former(&folder, &lab, program, args);
        assert_eq!(run.status, 0, "{program} {args:?}: {run:?}");
    };
    let supervised_by = |programs: &Path| {
        let pid = record(&lab, "zion", "supervisor");
        let program = fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
        assert_eq!(program.parent(), Some(programs), "{}", program.display());
    };
    let present = Path::new(env!("CARGO_BIN_EXE_zoneadm")).parent().expect("a folder");
    for end in ["halt", "shutdown", "reboot"] {
        old("zoneadm", &["-z", "zion", "boot"]);
        supervised_by(&folder);
        assert_eq!(lab.state("zion"), "running");
        assert_eq!(lab.sh("zion", "echo here").out, "here\n");
        assert!(watch(lab.command("zlogin"), &lab, "#"), "{end}: the console");
        // The client is gone before the next one comes.
        assert!((0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !is_watched(&lab)
        }));
        lab.ok("zoneadm", &["-z", "zion", end]);
        if end == "reboot" {
            supervised_by(present);
            assert_eq!(lab.sh("zion", "echo here").out, "here\n");
            // And the other way round.
            assert!(watch(Command::new(folder.join("zlogin")), &lab, "#"), "the console of the present");
            old("zlogin", &["zion", "true"]);
            old("zoneadm", &["-z", "zion", "reboot"]);
            lab.ok("zoneadm", &["-z", "zion", "halt"]);
        }
        lab.assert_clean();
    }
    // Ready by one release, booted by the other.
    old("zoneadm", &["-z", "zion", "ready"]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.state("zion"), "running");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.ok("zoneadm", &["-z", "zion", "ready"]);
    old("zoneadm", &["-z", "zion", "boot"]);
    // What a release has never heard of, it cannot take back.
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}
