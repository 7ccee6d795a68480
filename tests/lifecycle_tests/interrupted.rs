//! Killed at any moment, a clone is cleared by uninstall, and a move, detach or attach is undone or finished
//! by the next command.

use super::*;

/// Enough content for a moment in the middle of a copy.
fn big(p: &Place) {
    for i in 0..20 {
        put(&p.path(&format!("tree/usr/d{i}/file")), "x".repeat(200_000).as_bytes(), 0o644);
    }
}

#[test]
fn a_clone_killed_anywhere_is_cleared() {
    let p = Place::new();
    big(&p);
    p.installed("zion", "");
    put(&p.path("zones/zion/root/etc/ssh/ssh_host_ed25519_key"), b"old", 0o600);
    let before = picture(&p.path("zones/zion"));
    p.zone("neo", "");
    let mut at = 1;
    while p.killed(&["-z", "neo", "clone", "zion"], at) {
        if p.state("neo") != "configured" {
            p.good(&["-z", "neo", "uninstall", "-F"]);
        }
        assert_eq!(p.state("neo"), "configured", "{at}");
        assert!(!p.path("zones/neo").exists(), "{at}");
        assert_eq!(p.state("zion"), "installed");
        at += 1;
    }
    assert!(at > 15, "{at}");
    assert_eq!(p.state("neo"), "installed", "the last one got through");
    assert_eq!(picture(&p.path("zones/zion")), before, "the source is as it was");
    p.good(&["-z", "zion", "verify"]);
}

/// Kills a move at each place; the zone must be whole in one of two places after the next command.
fn moves(p: &Place, to: &str, next: &[&str]) -> (u32, u32) {
    let before = picture(&p.path("zones/zion"));
    let (mut at, mut there) = (1, 0);
    while p.killed(&["-z", "zion", "move", to], at) {
        let done = p.run(&[&["-z", "zion"], next].concat());
        assert!(!p.path("var/lib/zones/zion/journal").exists(), "{at}: {done:?}");
        assert_eq!(p.state("zion"), "installed", "{at}");
        let (here, other) = if p.spec("zion").contains(&format!("zonepath = \"{to}\"")) {
            there += 1;
            (to, "/zones/zion")
        } else {
            ("/zones/zion", to)
        };
        assert_eq!(picture(&p.path(here)), before, "{at}: {done:?}");
        assert!(!p.path(other).exists(), "{at}: {done:?}");
        let word = if here == to { "finished" } else { "taken back" };
        // The journal is removed last: then there is nothing to say.
        assert!(
            done.err.contains(&format!("an interrupted move of the zone has been {word}"))
                || done.err.is_empty()
        );
        if here == to {
            p.good(&["-z", "zion", "move", "/zones/zion"]);
        }
        at += 1;
    }
    assert_eq!(picture(&p.path(to)), before);
    p.good(&["-z", "zion", "move", "/zones/zion"]);
    (at - 1, there)
}

#[test]
fn a_move_killed_anywhere_is_here_or_there() {
    let p = Place::new();
    p.installed("zion", "");
    let (places, there) = moves(&p, "/new/place", &["verify"]);
    assert!(places >= 6 && there > 0, "{places} {there}");
    // Also when the next command is one that is refused in the end.
    let (places, _) = moves(&p, "/newer/place", &["halt"]);
    assert!(places >= 6, "{places}");
}

#[test]
fn a_move_across_file_systems_killed_anywhere() {
    let p = Place::new();
    let disk = Mounted::tmpfs(p.path("disk"));
    big(&p);
    p.installed("zion", "");
    let (places, there) = moves(&p, "/disk/zion", &["detach", "-n"]);
    assert!(places >= 14 && there > 1, "{places} {there}");
    drop(disk);
}

#[test]
fn a_detach_or_attach_killed_anywhere() {
    let p = Place::new();
    p.installed("zion", "");
    let (uuid, before) = (p.uuid("zion"), picture(&p.path("zones/zion")));
    let manifest = p.path("zones/zion/SUNWdetached.toml");
    let mut states = Vec::new();
    for operation in ["detach", "attach"] {
        let mut at = 1;
        while p.killed(&["-z", "zion", operation], at) {
            p.run(&["-z", "zion", "verify"]);
            assert!(!p.path("var/lib/zones/zion/journal").exists(), "{operation} {at}");
            let state = p.state("zion");
            assert_eq!(manifest.exists(), state == "configured", "{operation} {at}");
            assert_eq!(p.uuid("zion"), uuid, "{operation} {at}");
            match (operation, state.as_str()) {
                ("detach", "configured") => drop(p.good(&["-z", "zion", "attach"])),
                ("attach", "installed") => drop(p.good(&["-z", "zion", "detach"])),
                _ => {}
            }
            states.push(state);
            at += 1;
        }
        assert!(at > 4, "{operation} {at}");
    }
    for state in ["configured", "installed"] {
        assert!(states.iter().any(|s| s == state), "{states:?}");
    }
    assert_eq!(picture(&p.path("zones/zion")), before);
}
