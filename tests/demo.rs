//! `make demo`, with the programs under test: a zone's whole life, and the host as it was before.
//!
//! Alone in this file, and run alone: it compares the host's mounts and processes.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let args = Arguments::from_args();
    let can = host_can();
    if let Err(why) = &can {
        let required =
            std::env::var("ZONES_TEST_REQUIRE").is_ok_and(|v| v.split(',').any(|t| t == "namespaces"));
        assert!(!required, "the demo must run here, but {why}");
        eprintln!("the demo is skipped: {why}");
    }
    let demo =
        Trial::test("the_demo_runs_and_leaves_the_host_as_before", run).with_ignored_flag(can.is_err());
    libtest_mimic::run(&args, vec![demo]).exit();
}

/// Says whether this host lets us boot a zone at all.
fn host_can() -> Result<(), String> {
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "true"])
        .output()
        .map_err(|e| format!("unshare cannot be started: {e}"))?;
    if !nix::unistd::Uid::effective().is_root() {
        return Err("only root can boot a zone".into());
    }
    if !out.status.success() {
        return Err(format!("namespaces are refused: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Ok(())
}

fn run() -> Result<(), libtest_mimic::Failed> {
    let programs = Path::new(env!("CARGO_BIN_EXE_zonecfg")).parent().expect("a folder of programs");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/demo.sh");
    let out = Command::new(script).arg(programs).output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let all = format!("{stdout}{stderr}");
    if !out.status.success() {
        return Err(format!("{}\n{all}", out.status).into());
    }
    for line in [
        "uid=0(root) gid=0(root)",
        "written by root of zion",
        "Read-only file system",
        "mounts: as before",
        "processes: as before",
        "links: as before",
        "files: nothing left",
    ] {
        if !all.contains(line) {
            return Err(format!("'{line}' is missing in\n{all}").into());
        }
    }
    Ok(())
}
