//! `zoneadm doctor` as a program, on this host. What its words mean is checked beside the code.

#![allow(clippy::disallowed_methods)] // programs are what is tested here

mod lab;

use std::process::{Command, Output};

use lab::Lab;
use serde_json::Value;

fn doctor(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zoneadm")).args(words).output().expect("zoneadm can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn checks(out: &Output) -> Vec<Value> {
    let value: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(value["zones"].as_bool(), Some(out.status.success()), "{value:#}");
    value["checks"].as_array().expect("an array").clone()
}

fn find<'a>(checks: &'a [Value], topic: &str) -> &'a Value {
    checks.iter().find(|c| c["topic"] == topic).unwrap_or_else(|| panic!("no check of {topic}"))
}

#[test]
fn where_zones_run_the_doctor_says_so() {
    if Lab::new().is_none() {
        return;
    }
    let out = doctor(&["doctor"]);
    let said = text(&out.stdout);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    assert!(said.ends_with("Zones can run on this host.\n"), "{said}");
    let checks = checks(&doctor(&["doctor", "--json"]));
    for topic in ["kernel", "user namespaces", "other namespaces", "seccomp notification"] {
        assert_eq!(find(&checks, topic)["state"], "ok", "{topic}");
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    assert_eq!(find(&checks, "kernel")["found"], format!("Linux {}", kernel.trim()));
    // Each line of the table is one of the JSON.
    let lines = said.lines().filter(|l| ["ok ", "warning ", "missing "].iter().any(|w| l.starts_with(w)));
    assert_eq!(lines.count(), checks.len());
}

#[test]
fn nothing_is_left_of_what_is_tried() {
    let Some(lab) = Lab::new() else { return };
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("a table").lines().count();
    let before = mounts();
    assert!(doctor(&["-R", &lab.path().display().to_string(), "doctor"]).status.success());
    assert_eq!(mounts(), before);
    let files = Command::new("find").arg(lab.path()).args(["-type", "f"]).output().expect("find");
    let left = text(&files.stdout);
    // What every reader of the zones keeps for the next one, and the mark of the throw-away root.
    let ours = ["/var/lib/zones/.list.cache", "/var/lib/zones/.inherit.", "/.alive"];
    assert!(left.lines().all(|l| ours.iter().any(|o| l.contains(o))), "{left}");
}

#[test]
fn zonepaths_on_another_file_system_are_tried() {
    let Some(lab) = Lab::new() else { return };
    // Its own mount namespace, so that the host never sees the mount.
    let script = format!("mount -t proc proc {0}/zones && \"$1\" -R {0} doctor --json", lab.path().display());
    let out = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(env!("CARGO_BIN_EXE_zoneadm"))
        .output()
        .expect("unshare of util-linux");
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let checks = checks(&out);
    let ids = find(&checks, &format!("ids on {}/zones", lab.path().display()));
    assert_eq!((&ids["state"], &ids["blocks"]), (&"missing".into(), &true.into()), "{ids}");
    assert!(ids["found"].as_str().is_some_and(|f| f.starts_with("proc cannot be mounted with mapped ids")));
}

#[test]
fn a_host_without_user_namespaces() {
    if Lab::new().is_none() {
        return;
    }
    // The limit belongs to the user namespace above, so it can be set without touching the host.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$1\" doctor --json";
    let out = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_zoneadm"))
        .output()
        .expect("unshare of util-linux");
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let checks = checks(&out);
    let users = find(&checks, "user namespaces");
    assert_eq!(users["found"], "switched off: user.max_user_namespaces is 0");
    assert!(users["advice"].as_str().is_some_and(|a| a.starts_with("sysctl -w ")));
    assert_eq!(find(&checks, "host")["state"], "warning");
}

#[test]
fn called_wrongly() {
    for words in [&["doctor", "-x"][..], &["doctor", "more"], &["-z", "zion", "doctor"]] {
        let out = doctor(words);
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(text(&out.stderr).starts_with("usage:\tzoneadm doctor [--json]\n"), "{out:?}");
    }
    assert!(text(&doctor(&["help", "doctor"]).stdout).contains("what to do about it"));
}
