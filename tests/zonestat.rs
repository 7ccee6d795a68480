//! What zones use, as `zonestat` tells it. With limits it is tested in the machine with pure cgroup v2.

mod lab;

use std::process::Command;

use lab::Lab;

fn zonestat(lab: &Lab, args: &[&str]) -> (i32, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_zonestat"))
        .env("ZONES_ROOT", lab.path())
        .args(args)
        .output()
        .expect("zonestat runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (run.status.code().unwrap_or(-1), text(run.stdout), text(run.stderr))
}

#[test]
fn a_busy_zone_is_seen_to_be_busy() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let (_, idle, _) = zonestat(&lab, &["-p", "-z", "zion", "0.2", "1"]);
    let tasks = |line: &str| line.trim().split(':').nth(7).and_then(|n| n.parse::<u32>().ok());
    lab.sh(
        "zion",
        "for i in 1 2 3; do timeout 20 sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null & done",
    );
    let (status, text, err) = zonestat(&lab, &["--json", "-z", "zion", "0.5", "2"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let reports: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(reports.len(), 2);
    let zone = &reports[1][0];
    assert_eq!((zone["zone"].as_str(), zone["cpu-cap"].is_null()), (Some("zion"), true));
    // Whatever else this machine does, three loops get some of it.
    if let Some(cpu) = zone["cpu"].as_u64() {
        assert!(cpu + reports[0][0]["cpu"].as_u64().unwrap_or(0) > 0, "{text}");
        assert!(zone["memory"].as_u64().is_some_and(|m| m > 4096), "{text}");
        assert!(zone["tasks"].as_u64() > tasks(&idle).map(u64::from), "{idle}{text}");
    }
    let (_, table, _) = zonestat(&lab, &["0.1", "1"]);
    let names: Vec<&str> = table.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, ["ZONE", "global", "zion"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    let (status, out, err) = zonestat(&lab, &["-p", "-z", "zion", "0.1", "1"]);
    assert_eq!((status, out.as_str(), err.as_str()), (1, "", "zonestat: zone 'zion' is not running\n"));
    lab.assert_clean();
}

#[test]
fn a_wrong_command_line() {
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_zonestat")).args(args).output().expect("zonestat runs");
        (out.status.code(), String::from_utf8(out.stderr).expect("text"))
    };
    let (status, err) = run(&["soon"]);
    assert!(
        status == Some(2) && err.starts_with("zonestat: 'soon' is not a number of seconds\nusage: "),
        "{err}"
    );
    assert_eq!(run(&["1", "0"]).0, Some(2));
    assert_eq!(run(&["--what"]).0, Some(2));
}
