//! Two zones are locked in one order, whoever wants them: nobody waits for ever.

use super::*;
use std::time::{Duration, Instant};

/// Waits for a process, and kills it when it takes too long.
fn ends(mut child: std::process::Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if child.try_wait().expect("a child").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[test]
fn clones_crosswise_do_not_wait_for_each_other() {
    let p = Place::new();
    p.installed("a", "");
    p.installed("b", "");
    let start = |target: &str, source: &str| {
        let mut command = p.command(&["-z", target, "clone", source]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("zoneadm")
    };
    for _ in 0..20 {
        let pair = [start("a", "b"), start("b", "a"), start("a", "b"), start("b", "a")];
        assert!(pair.map(ends) == [true; 4], "a deadlock");
    }
}

#[test]
fn several_clones_of_one_zone_at_once() {
    let p = Place::new();
    p.installed("zion", "");
    let names = ["a", "b", "y", "z"];
    let children = names.map(|name| {
        p.zone(name, "");
        let mut command = p.command(&["-z", name, "clone", "zion"]);
        command.stdout(Stdio::null()).spawn().expect("zoneadm")
    });
    assert!(children.into_iter().all(ends));
    for name in names {
        assert_eq!(p.state(name), "installed");
        assert_eq!(read(&p.path(&format!("zones/{name}/root/etc/hostname"))), format!("{name}\n"));
    }
}
