//! Standard streams: what a hostile command can do to those of the caller, and that nothing is lost.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Zone, drain, errors, text};
use crate::{ended, place};

/// What root of a zone tries with a standard stream; it prints what has worked.
const ATTACK: &str = include_str!("../escapes/attack/stream.py");

/// Starts the attack on one stream of `zlogin`; it says on standard error what has worked and then reads its
/// input, so that the streams can be looked at.
fn attack(zone: &Zone, stream: u32) -> Command {
    place(zone, "/tmp/attack.py", ATTACK);
    // The attack leaves the pipe as one that does not wait, and cat(1) would give up.
    let wait = "python3 -c 'import os; os.set_blocking(0, True)'";
    let script = format!("python3 /tmp/attack.py {stream}; {wait}; cat > /dev/null");
    let mut command = zone.zlogin(&[zone.name.as_str(), &script]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs the attack, and `look` while it goes on, and returns what has worked.
fn attacked(mut command: Command, feed: bool, look: impl FnOnce()) -> String {
    let mut child = command.spawn().expect("zlogin runs");
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut stderr, &mut said).expect("a readable pipe");
    look();
    if feed {
        drop(child.stdin.take());
        ended(&mut child, "the attack");
    } else {
        let _ = child.kill();
        let _ = child.wait();
    }
    said.trim().to_owned()
}

/// Returns the flags of an open file, as the caller has them.
fn flags(fd: &impl AsFd) -> rustix::fs::OFlags {
    rustix::fs::fcntl_getfl(fd).expect("an open file")
}

#[test]
fn a_log_of_the_host_only_grows() {
    let Some(zone) = Zone::start("log") else { return };
    let path = zone.folder.path().join("host.log");
    fs::write(&path, "AUDIT line 1\nAUDIT line 2\n").expect("a file");
    for stream in [1, 2] {
        let log = File::options().append(true).open(&path).expect("a file");
        let before = flags(&log);
        let copy = || log.try_clone().expect("a copy");
        let mut command = attack(&zone, stream);
        let said = if stream == 1 {
            command.stdout(copy());
            attacked(command, true, || ())
        } else {
            place(&zone, "/tmp/attack.py", &ATTACK.replace("sys.stderr", "sys.stdout"));
            command.stdout(Stdio::piped()).stderr(copy());
            let mut child = command.spawn().expect("zlogin runs");
            drop(child.stdin.take());
            let said = drain(child.stdout.take().expect("a pipe"));
            ended(&mut child, "the attack");
            String::from_utf8_lossy(&said).trim().to_owned()
        };
        assert_eq!(fs::metadata(&path).expect("a file").len(), 26, "{said}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "AUDIT line 1\nAUDIT line 2\n", "{said}");
        assert_eq!(flags(&log), before, "{said}");
        // What is the pipe's of the zone may be changed.
        assert!(!said.contains("name"), "a path of the host is known to the zone: {said}");
    }
    // It does grow.
    let log = File::options().append(true).open(&path).expect("a file");
    let status = zone.zlogin(&["log", "echo AUDIT line 3"]).stdout(log).status().expect("zlogin runs");
    assert!(status.success());
    assert!(fs::read_to_string(&path).expect("a file").ends_with("line 2\nAUDIT line 3\n"));
}

#[test]
fn an_input_file_of_the_host_keeps_its_position_locks_and_name() {
    let Some(zone) = Zone::start("file") else { return };
    let path = zone.folder.path().join("input");
    fs::write(&path, vec![b'x'; 300_000]).expect("a file");
    let mut input = File::open(&path).expect("a file");
    input.seek(SeekFrom::Start(100)).expect("a file");
    let mut command = attack(&zone, 0);
    command.stdin(input.try_clone().expect("a copy"));
    let other = File::open(&path).expect("a file");
    let said = attacked(command, true, || other.try_lock().expect("the zone holds no lock"));
    assert!(!said.contains("name") && !said.contains("seek"), "{said}");
    assert!(!flags(&input).contains(rustix::fs::OFlags::NONBLOCK), "{said}");
    assert_eq!(input.stream_position().expect("a file"), 300_000, "all of it was read: {said}");
    // What a command does not read is not taken: neither all of it, nor what it leaves.
    for (command, position) in [("true", 0), ("head -c 5 > /dev/null; exec <&-", 5), ("read line", 300_000)] {
        input.seek(SeekFrom::Start(0)).expect("a file");
        let mut run = zone.zlogin(&["file", command]);
        assert!(run.stdin(input.try_clone().expect("a copy")).status().is_ok(), "{command}");
        let got = input.stream_position().expect("a file");
        // head(1) reads a block.
        assert!(got == position || command.starts_with("head") && got <= 8192, "{command}: {got}");
    }
}

#[test]
fn a_pipe_of_the_host_keeps_its_flags_and_size() {
    let Some(zone) = Zone::start("pipe") else { return };
    for stream in [0, 1] {
        let (read, write) = zones::sys::tty::pipe().expect("a pipe");
        let size = rustix::pipe::fcntl_getpipe_size(&read).expect("a pipe");
        let before = (flags(&read), flags(&write));
        let mut command = attack(&zone, stream);
        let copy = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a copy"));
        if stream == 0 {
            command.stdin(copy(&read));
        } else {
            command.stdout(copy(&write));
        }
        let said = attacked(command, stream == 1, || ());
        assert_eq!((flags(&read), flags(&write)), before, "{stream}: {said}");
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&read).expect("a pipe"), size, "{stream}: {said}");
    }
}

#[test]
fn a_stream_that_fails_is_reported() {
    let Some(zone) = Zone::start("full") else { return };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("a full device"));
    let out = zone.zlogin(&["full", "echo x"]).stdout(full()).output().expect("zlogin runs");
    let why = "zlogin: zone 'full': cannot write standard output: No space left on device\n";
    assert_eq!((out.status.code(), errors(&out).as_str()), (Some(1), why));
    let out = zone.zlogin(&["-Qi", "full", "echo x"]).stdout(full()).output().expect("zlogin runs");
    assert_eq!((out.status.code(), errors(&out).as_str()), (Some(1), why));
    // A log on a full disk, and a command that takes no notice.
    let script = "mount -t tmpfs -o size=64k,mode=700 tmpfs \"$D\" && cd \"$D\" &&
        \"$Z\" full 'trap \"\" PIPE; head -c 1000000 /dev/zero; true' > log; echo status=$?; stat -c %s log";
    let folder = zone.folder.path().join("disk");
    fs::create_dir(&folder).expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).env("D", &folder).env("Z", env!("CARGO_BIN_EXE_zlogin"));
    let out = command.env("ZONES_ROOT", zone.folder.path()).output().expect("unshare runs");
    assert_eq!(text(&out), "status=1\n65536\n", "{}", errors(&out));
    assert_eq!(errors(&out).lines().last(), Some(why.trim_end()));
    // What cannot be read is no end of input.
    let folder = Stdio::from(File::open("/etc").expect("a folder"));
    let out = zone.zlogin(&["full", "cat"]).stdin(folder).output().expect("zlogin runs");
    let why = "zlogin: zone 'full': cannot read standard input: Is a directory\n";
    assert_eq!((out.status.code(), errors(&out).as_str()), (Some(1), why));
}

#[test]
fn one_log_for_output_and_errors_keeps_their_order() {
    let Some(zone) = Zone::start("order") else { return };
    let path = zone.folder.path().join("log");
    let log = File::create(&path).expect("a file");
    let script = "for n in $(seq 500); do echo out $n; echo err $n >&2; done";
    let mut command = zone.zlogin(&["order", script]);
    command.stdout(log.try_clone().expect("a copy")).stderr(log);
    assert!(command.status().expect("zlogin runs").success());
    let expected: String = (1..=500).map(|n| format!("out {n}\nerr {n}\n")).collect();
    assert_eq!(fs::read_to_string(&path).expect("a file"), expected);
}

#[test]
fn a_loop_over_lines_keeps_what_a_command_does_not_read() {
    let Some(zone) = Zone::start("lines") else { return };
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", script]).env("Z", env!("CARGO_BIN_EXE_zlogin"));
        let out = command.env("ZONES_ROOT", zone.folder.path()).output().expect("bash runs");
        assert_eq!(errors(&out), "");
        text(&out)
    };
    let file = zone.folder.path().join("lines");
    fs::write(&file, "a\nb\nc\nd\n").expect("a file");
    let all = "while read l; do $Z lines true; echo $l; done";
    let two = "while read l; do $Z lines 'read m; echo $m'; echo $l; done";
    for (script, expected) in [(all, "a\nb\nc\nd\n"), (two, "b\na\nd\nc\n")] {
        assert_eq!(shell(&format!("{script} < {}", file.display())), expected);
        assert_eq!(shell(&format!("printf 'a\\nb\\nc\\nd\\n' | {script}")), expected);
    }
}

#[test]
fn the_ends_of_streams_get_across() {
    let Some(zone) = Zone::start("across") else { return };
    let pipe = |command: &str, input: Stdio, output: Stdio| {
        zone.zlogin(&["across", command]).stdin(input).stdout(output).spawn().expect("zlogin runs")
    };
    // The command sees the end of input and goes on; a slow one loses nothing; from a file as from a pipe.
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let file = zone.folder.path().join("data");
    fs::write(&file, &data).expect("a file");
    for from_file in [true, false] {
        let input = if from_file { File::open(&file).expect("a file").into() } else { Stdio::piped() };
        let mut child = pipe("sleep 0.3; cat; printf end", input, Stdio::piped());
        let (input, copy) = (child.stdin.take(), data.clone());
        let writer = std::thread::spawn(move || input.map(|mut pipe| pipe.write_all(&copy)));
        let got = drain(child.stdout.take().expect("a pipe"));
        writer.join().expect("a thread").transpose().expect("all is read");
        assert!(got.len() == data.len() + 3 && got.starts_with(&data) && got.ends_with(b"end"));
        assert!(ended(&mut child, "a copy").success());
    }
    // Nobody reads the output: the command is told, and ends by it.
    let mut child = pipe("yes", Stdio::null(), Stdio::piped());
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 100]).expect("output");
    drop(out);
    assert_eq!(ended(&mut child, "no reader").code(), Some(141));
    // Nobody reads the input: the command's end is the end.
    let mut child = pipe("exec <&-; exit 7", Stdio::piped(), Stdio::null());
    assert_eq!(ended(&mut child, "no input").code(), Some(7));
    // A process that is left behind holds neither the command nor its streams.
    let mut child = pipe("sleep 60 & echo out", Stdio::null(), Stdio::piped());
    assert_eq!(drain(child.stdout.take().expect("a pipe")), b"out\n");
    assert!(ended(&mut child, "a process left behind").success());
}

#[test]
fn a_null_device_is_one_of_its_own() {
    let Some(zone) = Zone::start("null") else { return };
    let null = File::options().read(true).write(true).open("/dev/null").expect("a null device");
    let copy = || Stdio::from(null.try_clone().expect("a copy"));
    let script = "python3 -c 'import os; [os.set_blocking(n, False) for n in (0, 1)]' &&
        readlink /proc/self/fd/0 >&2";
    let out = zone.zlogin(&["null", script]).stdin(copy()).stdout(copy()).output().expect("zlogin runs");
    assert_eq!(errors(&out), "/dev/null\n");
    assert!(!flags(&null).contains(rustix::fs::OFlags::NONBLOCK));
    assert!(Path::new("/dev/null").metadata().is_ok_and(|m| !m.is_file()));
}

#[test]
fn streams_can_be_opened_by_name() {
    let Some(zone) = Zone::start("names") else { return };
    let file = zone.folder.path().join("input");
    fs::write(&file, "in\n").expect("a file");
    let script = "cat /proc/self/fd/0 && echo out > /proc/self/fd/1 && echo err > /proc/self/fd/2";
    for user in ["root", "ann"] {
        let (read, write) = zones::sys::tty::pipe().expect("a pipe");
        zones::sys::tty::write_all(write.as_fd(), b"in\n").expect("a pipe");
        drop(write);
        for input in [File::open(&file).expect("a file").into(), read] {
            let mut command = zone.zlogin(&["-l", user, "names", script]);
            let out = command.stdin(Stdio::from(input)).output().expect("zlogin runs");
            assert_eq!((text(&out).as_str(), errors(&out).as_str()), ("in\nout\n", "err\n"), "{user}");
        }
    }
}
