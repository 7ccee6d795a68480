//! Standard streams of whoever runs a command in a hostile zone, and how long it can keep him.

use std::fs::{self, File};
use std::io::Seek;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_getfl};

use super::Lab;

/// Runs the attack on the stream of this number, which is given to `zlogin`; the others lead nowhere but the
/// one on which the attack tells what has worked.
fn attack(lab: &Lab, number: usize, stream: OwnedFd) -> String {
    let script = include_str!("attack/stream.py");
    fs::write(lab.in_zone("zion", "/var/tmp/stream.py"), script).expect("a file of the zone");
    let mut command = lab.command("zlogin");
    command.args(["zion", "python3", "/var/tmp/stream.py", &number.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    match number {
        0 => command.stdin(stream),
        _ => command.stdout(stream),
    };
    let out = command.output().expect("zlogin");
    assert!(out.status.success(), "{out:?}");
    drop(command);
    String::from_utf8_lossy(&out.stderr).trim().to_owned()
}

fn flags(fd: &impl AsFd) -> OFlags {
    fcntl_getfl(fd).expect("an open file")
}

/// Guards `sys::tty::given_for`: an open file of the caller is not the zone's to truncate, rewrite and inflate,
/// though it was opened to append.
#[test]
fn a_log_of_the_caller() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let path = lab.path().join("host.log");
    fs::write(&path, "AUDIT line 1\n").expect("written");
    let log = File::options().append(true).open(&path).expect("a file");
    let before = flags(&log);
    let told = attack(&lab, 1, log.try_clone().expect("a copy").into());
    assert_eq!(fs::metadata(&path).expect("a file").len(), 13, "{told}");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "AUDIT line 1\n", "{told}");
    assert_eq!(flags(&log), before, "{told}");
    assert!(!told.contains("name"), "{told}");
    lab.halted("zion");
}

/// Guards the same for files to read: their position is the caller's as well, and their path is the host's.
#[test]
fn an_input_file_of_the_caller() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let mut input = File::options().read(true).open(env!("CARGO_BIN_EXE_zlogin")).expect("a file");
    input.seek(std::io::SeekFrom::Start(100)).expect("a file");
    let told = attack(&lab, 0, input.try_clone().expect("a copy").into());
    assert_eq!(input.stream_position().expect("a file"), 100, "{told}");
    assert!(!told.contains("name") && !told.contains("seek"), "{told}");
    lab.halted("zion");
}

/// Guards the same for pipes: one that does not wait is that for everybody who uses it.
#[test]
fn pipes_of_the_caller() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    for number in [0, 1] {
        let (read, write) = zones::sys::tty::pipe().expect("a pipe");
        let size = rustix::pipe::fcntl_getpipe_size(&read).expect("a pipe");
        let shown = if number == 0 { &read } else { &write };
        let before = flags(shown);
        let copy = shown.try_clone().expect("a copy");
        let told = attack(&lab, number, copy);
        assert_eq!(flags(shown), before, "{number}: {told}");
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&read).expect("a pipe"), size, "{number}: {told}");
    }
    lab.halted("zion");
}

/// Guards the same for all else: only `/dev/null` is given to a zone, and a new one.
#[test]
fn sockets_directories_and_devices_of_the_caller() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let (socket, _other) = UnixStream::pair().expect("sockets");
    let name = rustix::fs::open("/etc/hostname", OFlags::PATH, rustix::fs::Mode::empty());
    let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("a counter");
    let null = File::open("/dev/null").expect("a device");
    let before = flags(&null);
    let memory = rustix::fs::memfd_create("memory", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let streams: [(&str, OwnedFd); 7] = [
        ("memory", memory),
        ("a socket", socket.into()),
        ("a directory", File::open("/").expect("a directory").into()),
        ("a device", File::open("/dev/zero").expect("a device").into()),
        ("a name", name.expect("a file")),
        ("a counter", counter),
        ("a null device", null.try_clone().expect("a copy").into()),
    ];
    let show = "readlink /proc/self/fd/0 >&2; stat -L -c %F /proc/self/fd/0 >&2; \
        python3 -c 'import os; os.set_blocking(0, False)'";
    for (what, stream) in streams {
        let mut command = lab.command("zlogin");
        let out = command.args(["zion", show]).stdin(stream).output().expect("zlogin");
        let told = String::from_utf8_lossy(&out.stderr);
        let good = if what == "a null device" { "/dev/null\n" } else { "pipe:[" };
        assert!(told.starts_with(good), "{what}: {told}");
    }
    assert_eq!(flags(&null), before);
    lab.halted("zion");
}

/// Guards `login::ending`: a command that hears no signal, and a process that leaves its session, keep nobody.
#[test]
fn a_caller_is_let_go() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    lab.user("zion", "root:x:0:0::/:/var/tmp/shell");
    let shell = "#!/bin/sh\ntrap '' HUP INT TERM QUIT\n(setsid sleep 300 &)\nwhile :; do sleep 1; done\n";
    let file = lab.in_zone("zion", "/var/tmp/shell");
    fs::write(&file, shell).expect("written");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    let run = lab.host("timeout -k 14 1 $B/zlogin zion uptime </dev/null >/dev/null 2>&1; echo $?");
    assert_eq!(run.out, "124\n", "{run:?}");
    lab.halted("zion");
}
