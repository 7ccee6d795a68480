//! Terminals: nothing of a zone can type for whoever entered it (TIOCSTI), or change the terminal that he
//! sits at.

use super::Lab;

/// Guards the session of its own (`sys::enter::begin`) and `login::streams`: a command has neither the
/// caller's terminal for its own nor as a stream. A login has one of the zone's.
#[test]
fn terminals_of_the_caller() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    lab.user("zion", "ann:x:1000:1000::/var:/bin/sh");
    let script = include_str!("attack/secret.py");
    std::fs::write(lab.in_zone("zion", "/var/tmp/secret.py"), script).expect("written");
    let file = terminal_of(&lab);
    for words in ["zion", "-S zion", "-l ann zion"] {
        let line = format!("python3 {} $B/zlogin {words} python3 /var/tmp/secret.py", file.display());
        let run = lab.host(&line);
        assert_eq!(run.out.trim(), "found []", "{words}: {run:?}");
    }
    // A login without a command has a terminal, and that is one of the zone's.
    let typed = "sleep 1; printf 'tty; stat -L -c %%d /dev/stdin; stat -c %%d /dev/pts\\nexit\\n'";
    let line = format!("({typed}; sleep 1) | python3 {} $B/zlogin zion", terminal_of(&lab).display());
    let run = lab.host(&line);
    let mut lines = run.out.lines().skip_while(|l| !l.ends_with("/dev/pts/0")).skip(1);
    let (mine, zones) = (lines.next(), lines.next());
    assert!(mine.is_some() && mine == zones, "the terminal is not of the zone's /dev/pts: {run:?}");
    lab.halted("zion");
}

/// Guards the filter of system calls: AF_VSOCK knows no network namespace, and reaches the hypervisor and the
/// host from anywhere.
#[test]
fn sockets_of_virtual_machines() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let script = "import socket\ntry:\n socket.socket(40, socket.SOCK_STREAM)\n print('made')\nexcept OSError as e:\n print('refused')\n";
    assert_eq!(lab.script("zion", script, &[]).out, "refused\n");
    lab.halted("zion");
}

/// Makes a script that runs a program on a terminal of the host and types what it reads.
fn terminal_of(lab: &Lab) -> std::path::PathBuf {
    let script = r#"
import os, pty, select, sys
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
inputs, text = [0, master], b''
try:
    while True:
        for fd in select.select(inputs, [], [])[0]:
            data = os.read(fd, 4096)
            if fd == master:
                text += data
            elif data:
                os.write(master, data)
            else:
                inputs.remove(0)
except OSError:
    pass
sys.stdout.write(text.decode(errors='replace').replace('\r', ''))"#;
    let file = lab.path().join("terminal.py");
    std::fs::write(&file, script).expect("written");
    file
}
