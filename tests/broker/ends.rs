//! A login that a user of the host wants ended ends, and the user's streams are as safe as root's.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{BIN, World, admins};

#[test]
fn a_deaf_command_is_ended_through_the_broker() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let deaf = "trap '' HUP INT QUIT TERM; echo; while :; do sleep 60; done";
    for (words, status) in [(vec!["zion", deaf], 143), (vec!["-S", "zion", deaf], 143)] {
        let mut child = w.command(BIN, "zlogin", &words).stdout(Stdio::piped()).spawn().expect("zlogin");
        child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it began");
        assert!(Command::new("kill").arg(child.id().to_string()).status().is_ok_and(|s| s.success()));
        let start = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                break status.code();
            }
            if start.elapsed() > Duration::from_secs(20) {
                child.kill().expect("a child of ours");
                child.wait().expect("a child of ours");
                panic!("{words:?}: zlogin does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(ended, Some(status), "{words:?}");
    }
}

#[test]
fn a_reader_that_does_not_read_holds_no_user_up() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let mut child =
        w.command(BIN, "zlogin", &["zion", "yes"]).stdout(Stdio::piped()).spawn().expect("zlogin");
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it began");
    std::thread::sleep(Duration::from_millis(500));
    assert!(Command::new("kill").arg(child.id().to_string()).status().is_ok_and(|s| s.success()));
    let start = Instant::now();
    while child.try_wait().expect("a child of ours").is_none() {
        if start.elapsed() > Duration::from_secs(20) {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
            panic!("zlogin does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().expect("a child of ours").code(), Some(143));
    // A stream that cannot be written to is reported.
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let run = w.command(BIN, "zlogin", &["zion", "echo x"]).stdout(full).output().expect("zlogin");
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(String::from_utf8_lossy(&run.stderr).contains("cannot write standard output: No space left"));
}

#[test]
fn a_loop_over_lines_keeps_what_a_command_does_not_read() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let path = w.lab.path().join("lines");
    std::fs::write(&path, "a\nb\nc\n").expect("written");
    let mut input = File::open(&path).expect("a file");
    let loops = format!("while read l; do {} zion true; echo $l; done", w.program("zlogin"));
    let shell = |stdin: Stdio, script: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=2", "--regid=2", "--clear-groups", "bash", "-c", script]);
        let out = command.env("ZONES_ROOT", w.lab.path()).stdin(stdin).output().expect("setpriv");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(shell(input.try_clone().expect("a copy").into(), &loops), "a\nb\nc\n");
    input.rewind().expect("a file");
    assert_eq!(shell(input.into(), &format!("cat | {loops}")), "a\nb\nc\n");
}
