//! Killed at any moment, the zone is incomplete and the next command clears it.

use super::*;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

const CHILD: &str = "ZONES_TEST_CHILD";

/// Runs `install` or `uninstall` of a zone in a process of its own, which kills itself at a place.
/// Returns whether it was killed.
fn killed(zone: &Zone, operation: &str, at: u32) -> bool {
    let status = Command::new(std::env::current_exe().expect("exe"))
        .args(["--exact", "install_tests::interrupted::child", "--ignored"])
        .env(CHILD, format!("{operation} {}", zone.temp.path().display()))
        .env("ZONES_TEST_KILL_AT", at.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("child");
    assert!(status.success() || status.signal() == Some(9), "{operation} {at}: {status}");
    status.signal() == Some(9)
}

#[test]
#[ignore = "the process that other tests here kill"]
fn child() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let (operation, top) = text.split_once(' ').expect("operation and folder");
    let store = FileStore::open(Root::new(Some(&Path::new(top).join("root"))));
    let name = ZoneName::new("zion").expect("name");
    let spec = store.load(&name).expect("load").expect("zone").spec;
    let mut heard = Heard::default();
    let lock = store.lock(&name, "test").expect("the lock");
    let mut op = Op::under(&lock, &store, &spec, &NO_ZFS_FACTS, &mut heard);
    let args = [String::from("-d"), format!("{top}/tree")];
    match operation {
        "uninstall" => install::uninstall(&mut op, &[]).expect("uninstall"),
        "sparse" => {
            let host = Path::new(top).join("host");
            install::install_from(&mut op, InstallSource::Sparse { host }).expect("install");
        }
        _ => install::install(&mut op, &args, None).expect("install"),
    }
}

fn tree(zone: &Zone) {
    for i in 0..20 {
        put(&zone.beside(&format!("tree/usr/d{i}/file")), &"x".repeat(200_000), 0o644);
    }
}

/// An install killed at each place in turn; after each, uninstall must bring everything back.
fn every_place(operation: &str, inherit: &[&str]) -> u32 {
    let mut zone = Zone::new(inherit);
    tree(&zone);
    fake_host(&zone.beside("host"));
    let mut at = 1;
    while killed(&zone, operation, at) {
        let state = zone.state();
        let done = zone.journal();
        match state {
            // Before the first step was carried out there is nothing.
            ZoneState::Configured => assert!(!zone.path("zones").exists(), "{at}"),
            ZoneState::Incomplete => {
                let done = done.expect("a journal");
                assert_eq!(done.plan.operation, "install", "{at}");
                assert!(done.last.is_some(), "{at}");
                zone.uninstall().unwrap_or_else(|e| panic!("{operation} {at}: {e}"));
            }
            // All but the removal of the journal.
            ZoneState::Installed => zone.uninstall().expect("uninstall"),
            other => panic!("{at}: {other}"),
        }
        assert_eq!(zone.state(), ZoneState::Configured, "{at}");
        assert!(!zone.path("zones/zion").exists(), "{at}");
        assert!(zone.heard.warned.is_empty(), "{at}: {:?}", zone.heard.warned);
        at += 1;
    }
    assert_eq!(zone.state(), ZoneState::Installed, "the last one got through");
    assert!(zone.inside("etc/hostname").exists());
    at - 1
}

#[test]
fn a_sparse_install_killed_anywhere() {
    let places = every_place("sparse", SPARSE);
    assert!(places >= 16, "{places}");
}

#[test]
fn a_copy_killed_anywhere() {
    let places = every_place("tree", &[]);
    assert!(places >= 17, "{places}");
}

#[test]
fn an_uninstall_killed_anywhere_is_finished_by_the_next() {
    let mut zone = Zone::new(&[]);
    tree(&zone);
    let mut at = 1;
    loop {
        let dir = zone.beside("tree").display().to_string();
        zone.install(&["-d", &dir]).expect("install");
        // Enough for a report on the way; names of one file, since those are made in no time.
        for i in 0..600 {
            fs::hard_link(zone.inside("usr/d0/file"), zone.inside(&format!("usr/f{i}"))).expect("link");
        }
        let dead = killed(&zone, "uninstall", at);
        if zone.state() != ZoneState::Configured {
            assert!(dead, "{at}");
            assert!(matches!(zone.state(), ZoneState::Installed | ZoneState::Incomplete), "{at}");
            zone.uninstall().unwrap_or_else(|e| panic!("{at}: {e}"));
        }
        assert_eq!(zone.state(), ZoneState::Configured, "{at}");
        assert!(!zone.path("zones/zion").exists(), "{at}");
        assert!(zone.beside("tree/usr/d0/file").exists());
        if !dead {
            break;
        }
        at += 1;
    }
    assert!(at > 9, "{at}");
}

#[test]
fn an_incomplete_zone_can_be_installed_after_uninstall() {
    let mut zone = Zone::new(&[]);
    let file = zone.beside("bad");
    // A good start and no end.
    let mut header = tar::Header::new_gnu();
    header.set_path("file").expect("path");
    header.set_size(100_000);
    header.set_cksum();
    fs::write(&file, [&header.as_bytes()[..], &[7; 512]].concat()).expect("write");
    let file = file.display().to_string();
    zone.install(&["-a", &file]).expect_err("truncated");
    assert_eq!(zone.state(), ZoneState::Incomplete);
    let left = zone.journal().expect("journal");
    assert!(matches!(left.last, Some((_, install::journal::Phase::Started))));
    zone.uninstall().expect("uninstall");
    assert_eq!(zone.journal(), None);
    tree(&zone);
    let dir = zone.beside("tree").display().to_string();
    zone.install(&["-d", &dir]).expect("install");
    assert_eq!(zone.state(), ZoneState::Installed);
}
