//! The helper of `zones.service`: boots what has `autoboot=true` and stops what runs.

mod lab;

use std::fs;
use std::path::Path;
use std::process::Command;

use lab::Lab;

#[test]
fn zones_with_autoboot_are_booted_and_stopped_with_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("first", "set autoboot=true");
    lab.installed("second", "set autoboot=true");
    lab.installed("third", "set autoboot=false");
    let programs = Path::new(env!("CARGO_BIN_EXE_zoneadm")).parent().expect("a folder of programs");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/zones-autoboot");
    let helper = lab.path().join("zones-autoboot");
    let text = fs::read_to_string(source).expect("the helper");
    fs::write(&helper, text.replace("@SBINDIR@", &programs.to_string_lossy()))
        .expect("the helper as installed");
    let told = |what: &str| {
        let out = Command::new("bash").arg(&helper).arg(what).env("ZONES_ROOT", lab.path()).output();
        let out = out.expect("bash can be started");
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{what}: {told}");
        told
    };
    let run = |what: &str| assert_eq!(told(what), "", "{what}");
    let states = || ["first", "second", "third"].map(|zone| lab.state(zone));
    run("start");
    assert_eq!(states(), ["running", "running", "installed"]);
    run("stop");
    assert_eq!(states(), ["installed", "installed", "installed"]);
    // One whose storage is missing is not passed over in silence.
    let (here, away) = (lab.path().join("zones/first/root"), lab.path().join("away"));
    fs::rename(&here, &away).expect("moved");
    assert_eq!(lab.state("first"), "unavailable");
    let said = told("start");
    assert!(said.contains("zone first") && said.contains("its files are not there"), "{said}");
    assert_eq!(states(), ["unavailable", "running", "installed"]);
    run("stop");
    fs::rename(&away, &here).expect("moved back");
    assert_eq!(states(), ["installed", "installed", "installed"]);
    lab.assert_clean();
}
