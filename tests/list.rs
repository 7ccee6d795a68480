//! `zoneadm list` where the files of one zone make no sense: whoever watches the others does not lose them.

mod lab;

use std::fs;

use lab::{Lab, Run};

/// Zones of which one runs, one is installed, and one each has a damaged spec, a damaged state, and no spec
/// while it runs.
fn world() -> Option<Lab> {
    let lab = Lab::new()?;
    for zone in ["good", "lost"] {
        lab.installed(zone, "");
        lab.ok("zoneadm", &["-z", zone, "boot"]);
    }
    for zone in ["spec", "state", "both"] {
        lab.installed(zone, "");
    }
    lab.ok("zoneadm", &["-z", "both", "boot"]);
    let path = |file: &str| lab.path().join(file);
    for zone in ["spec", "both"] {
        fs::write(path(&format!("etc/zones.d/{zone}.toml")), "zonepath = \n").expect("a damaged spec");
    }
    fs::write(path("var/lib/zones/state/state"), "what?\n").expect("a damaged state");
    fs::remove_file(path("etc/zones.d/lost.toml")).expect("a spec");
    Some(lab)
}

fn put_back(lab: &Lab) {
    for zone in ["good", "lost", "both"] {
        let _ = lab.run("zoneadm", &["-z", zone, "halt"]);
    }
}

/// Returns name, state and path of each zone of the colon form.
fn colons(run: &Run) -> Vec<(String, String, String)> {
    let fields = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        assert_eq!(fields.len(), 7, "{line}");
        (fields[1].to_owned(), fields[2].to_owned(), fields[3].to_owned())
    };
    run.out.lines().map(fields).collect()
}

#[test]
fn one_damaged_zone_does_not_hide_the_others() {
    let Some(lab) = world() else { return };
    let states = |args: &[&str]| {
        let run = lab.run("zoneadm", args);
        assert_eq!(run.status, 0, "{args:?}: {run:?}");
        let of = |(name, state, _): &(String, String, String)| format!("{name}={state}");
        let mut words: Vec<String> = colons(&run).iter().map(of).collect();
        words.sort();
        words.join(" ")
    };
    // What runs is said by the kernel, whatever the files say.
    assert_eq!(states(&["list", "-np"]), "both=running good=running lost=running");
    let all = "both=running good=running lost=running spec=damaged state=damaged";
    assert_eq!(states(&["list", "-cnp"]), all);
    assert_eq!(states(&["list", "-inp"]), all);
    // A person hears of each, once, with its file.
    let run = lab.run("zoneadm", &["list", "-cn"]);
    assert_eq!(run.status, 0, "{run:?}");
    let named = ["spec.toml:1:12:", "both.toml:1:12:", "/state/state:1:1: not a zone state"];
    for what in named.iter().chain(&["zone 'lost' is active, but it has no spec"]) {
        assert_eq!(run.err.matches(what).count(), 1, "{what}: {}", run.err);
    }
    // In the table each column has a word.
    let run = lab.run("zoneadm", &["list", "-cv"]);
    assert_eq!(run.status, 0, "{run:?}");
    let line = |zone: &str| {
        let line = run.out.lines().find(|l| l.split_whitespace().nth(1) == Some(zone));
        line.expect(zone).split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("spec"), "damaged - linux shared");
    assert_eq!(line("lost"), "running - linux shared");
    let run = lab.run("zoneadm", &["list", "-cn", "--json"]);
    assert_eq!(run.status, 0, "{run:?}");
    let zones: serde_json::Value = serde_json::from_str(&run.out).expect("json");
    let zone = |name: &str| {
        let found = zones.as_array().expect("an array").iter().find(|z| z["name"] == name);
        found.expect(name).clone()
    };
    assert!(zone("good")["problem"].is_null() && zone("good")["state"] == "running");
    assert!(zone("spec")["state"] == "damaged" && zone("spec")["zonepath"] == "");
    assert!(zone("spec")["problem"].as_str().is_some_and(|t| t.contains("spec.toml:1:")));
    assert!(zone("lost")["state"] == "running" && !zone("lost")["problem"].is_null());
    put_back(&lab);
}

#[test]
fn who_asks_for_the_damaged_zone_is_told_by_the_status() {
    let Some(lab) = world() else { return };
    for zone in ["spec", "state", "both", "lost"] {
        for form in [&["list"][..], &["list", "-p"], &["list", "-v"], &["list", "--json"]] {
            let run = lab.run("zoneadm", &[&["-z", zone], form].concat());
            assert!(run.status == 1 && !run.err.is_empty(), "{zone} {form:?}: {run:?}");
        }
    }
    assert_eq!(lab.run("zoneadm", &["-z", "good", "list", "-p"]).status, 0);
    put_back(&lab);
}

#[test]
fn a_spec_that_only_others_may_read_is_not_called_damaged() {
    use std::os::unix::fs::PermissionsExt;
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(lab.path(), 0o711);
    mode(&lab.path().join("etc/zones.d/zion.toml"), 0o600);
    let copy = lab.path().join("zoneadm");
    // By a program of its own: a file that is open for writing here, and in what is forked meanwhile, is busy.
    let made = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_zoneadm")).arg(&copy).status();
    assert!(made.expect("cp").success());
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "1", "--regid", "1", "--clear-groups"]).arg(&copy).args(["list", "-cnp"]);
    let run = Run::from(command.env("ZONES_ROOT", lab.path()).output().expect("setpriv of util-linux"));
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.out.starts_with("-:zion:installed::"), "{run:?}");
    assert!(run.err.contains("zone 'zion': Permission denied"), "{run:?}");
}
