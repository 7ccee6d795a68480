//! `make demo`, with the programs under test: a zone's whole life, and the host as it was before.
//!
//! Alone in this file, and run alone: it compares the host's mounts and processes.

mod lab;

use std::path::Path;
use std::process::Command;

use lab::Lab;

#[test]
fn the_demo_runs_and_leaves_the_host_as_before() {
    if Lab::new().is_none() {
        return;
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_zonecfg")).parent().expect("a folder of programs");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/demo.sh");
    let out = Command::new(script).arg(programs).output().expect("the demo can be started");
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(out.status.success(), "{}\n{text}", out.status);
    for line in [
        "uid=0(root) gid=0(root)",
        "written by root of zion",
        "Read-only file system",
        "mounts: as before",
        "processes: as before",
        "links: as before",
        "files: nothing left",
    ] {
        assert!(text.contains(line), "'{line}' is missing in\n{text}");
    }
}
