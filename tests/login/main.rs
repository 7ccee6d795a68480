//! What a command in a zone gets of the caller's streams, and how it ends when the caller wants that, in a
//! zone made by hand (`support`).

#[path = "../support/mod.rs"]
mod support;

mod ends;
mod streams;

use std::io::Write;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use support::Zone;

/// Waits for a program that is bound to end, which is killed and a failure when it does not.
fn ended(child: &mut Child, what: &str) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if start.elapsed() > Duration::from_secs(20) {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
            panic!("{what}: zlogin does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a program.
fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    support::run(std::process::Command::new("kill").args([&format!("-{name}"), &pid]));
}

/// Puts a program into the zone.
fn place(zone: &Zone, path: &str, text: &str) {
    let mut command = zone.zlogin(&[zone.name.as_str(), &format!("cat > {path}")]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("zlogin runs");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    assert!(ended(&mut child, path).success());
}
