//! The end that a caller asks for comes in time, whatever the zone does.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Zone, drain, run, until};
use crate::{ended, place, signal};

/// Starts a command that says when it has begun.
fn begun(zone: &Zone, words: &[&str]) -> Child {
    let mut words = words.to_vec();
    let command = format!("{}; ", words.pop().expect("a command"));
    words.extend([zone.name.as_str(), command.as_str()]);
    let mut child = zone.zlogin(&words).stdout(Stdio::piped()).spawn().expect("zlogin runs");
    let mut byte = [0];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut byte).expect("it began");
    child
}

const DEAF: &str = "trap '' HUP INT QUIT TERM";

#[test]
fn a_command_that_hears_no_signal_is_ended() {
    let Some(zone) = Zone::start("deaf") else { return };
    let deaf = format!("{DEAF}; echo; while :; do sleep 60; done");
    let forked = format!("{DEAF}; (setsid sleep 60 &) ; echo; sleep 60; sleep 60");
    for (name, status) in [("HUP", 129), ("INT", 130), ("QUIT", 131), ("TERM", 143)] {
        let mut children = vec![begun(&zone, &[&deaf])];
        if name == "TERM" {
            children.push(begun(&zone, &["-S", &deaf]));
            children.push(begun(&zone, &[&forked]));
        }
        children.iter().for_each(|child| signal(child, name));
        for child in &mut children {
            assert_eq!(ended(child, name).code(), Some(status), "{name}");
        }
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let Some(zone) = Zone::start("second") else { return };
    let mut child = begun(&zone, &[&format!("{DEAF}; echo; while :; do sleep 60; done")]);
    let start = Instant::now();
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(400));
    assert!(child.try_wait().expect("a child of ours").is_none(), "the first one kills");
    signal(&child, "TERM");
    assert_eq!(ended(&mut child, "a second signal").code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(5), "it was the time that killed it");
}

#[test]
fn a_command_that_is_stopped_hears_a_signal() {
    let Some(zone) = Zone::start("stopped") else { return };
    let mut child = begun(&zone, &["echo; kill -STOP $$; exit 4"]);
    let own = child.id();
    until("a stopped command", || {
        let inner = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        fs::read_to_string(format!("/proc/{}/stat", inner.trim())).is_ok_and(|s| s.contains(") T "))
    });
    signal(&child, "TERM");
    assert_eq!(ended(&mut child, "a stopped command").code(), Some(143));
}

/// timeout(1) sends its signal twice, to the program and to the group.
#[test]
fn a_command_has_time_to_clean_up() {
    let Some(zone) = Zone::start("clean") else { return };
    let mut command = Command::new("timeout");
    let script = "trap 'sleep 1; echo cleaned; exit 3' TERM; while :; do sleep 0.1; done";
    command.args(["2", env!("CARGO_BIN_EXE_zlogin"), "clean", script]).env("ZONES_ROOT", zone.folder.path());
    let out = command.stdin(Stdio::null()).output().expect("timeout runs");
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(124), &b"cleaned\n"[..]), "{out:?}");
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() {
    let Some(zone) = Zone::start("reader") else { return };
    for words in [&["reader", "yes"][..], &["reader", "head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2"]]
    {
        let mut command = zone.zlogin(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("zlogin runs");
        std::thread::sleep(Duration::from_millis(500));
        signal(&child, "TERM");
        let status = ended(&mut child, "no reader").code();
        assert!(status == Some(143) || words[1] != "yes" && status == Some(0), "{words:?}: {status:?}");
    }
    // Nor does a terminal.
    let mut command = zone.zlogin(&["-Qi", "reader", "yes"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("zlogin runs");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "TERM");
    assert_eq!(ended(&mut child, "no reader of a terminal").code(), Some(143));
}

/// A file system over `/etc` that never answers.
const SILENT: &str = include_str!("../escapes/attack/silent.py");

#[test]
fn a_file_system_that_does_not_answer_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let node = folder.path().join("fuse");
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    // A node of our own: the host's is for its root only.
    run(Command::new("mknod").args(["-m", "666"]).arg(&node).args(["c", "10", "229"]));
    if let Err(e) = fs::File::open(&node) {
        eprintln!("skipped: this kernel has no FUSE, or nodes do not work here: {e}");
        return;
    }
    let setup = format!(": > dev/fuse; mount --bind {} dev/fuse", node.display());
    let Some(zone) = Zone::start_with("silent", "", &setup, "") else { return };
    // Who has no spec may mount nothing.
    fs::write(zone.root.zone_run(&zone.name).join("spec.toml"), "format = 1\n").expect("a file");
    place(&zone, "/tmp/silent.py", SILENT);
    let mut server = zone.zlogin(&["silent", "exec python3 /tmp/silent.py"]);
    let mut server = server.stdout(Stdio::piped()).spawn().expect("zlogin runs");
    let mut line = String::new();
    let out = server.stdout.as_mut().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a pipe");
    assert_eq!(line, "mounted\n");
    for (words, name, status) in [
        (&["-S", "silent", "id"][..], "INT", 130),
        (&["silent", "id"], "TERM", 143),
        (&["-l", "ann", "silent", "id"], "HUP", 129),
        (&["-Qi", "silent", "id"], "TERM", 143),
        (&["-Qi", "-S", "silent", "id"], "QUIT", 131),
    ] {
        let mut command = zone.zlogin(words);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("zlogin runs");
        let own = child.id();
        let mut waits = 0;
        until("a process that waits in the kernel", || {
            let inner = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{}/stat", inner.trim())).unwrap_or_default();
            waits = if stat.contains(") S ") || stat.contains(") D ") { waits + 1 } else { 0 };
            waits > 100
        });
        signal(&child, name);
        let ended = ended(&mut child, &format!("{words:?}")).code();
        let said = String::from_utf8_lossy(&drain(child.stderr.take().expect("a pipe"))).into_owned();
        assert_eq!(ended, Some(status), "{words:?}: {said}");
        let left = "was killed and does not end: it waits in the kernel";
        // A session that has its terminal already just closes it.
        assert!(said.contains(left) || words.contains(&"-Qi"), "{words:?}: {said}");
    }
    server.kill().expect("a child of ours");
    server.wait().expect("a child of ours");
}
