//! Attacks on processes that enter a zone, and on what they look up there.

use std::time::{Duration, Instant};

use super::Lab;

/// Guards `sys::enter::Target::port` (no number in the zone while in the host's namespaces: its mounts and
/// connections would be read from `/proc`) and `sys::process::hide` (nothing else of it is readable, and
/// nobody can trace it, before it runs a program of the zone).
#[test]
fn a_process_that_enters_shows_nothing_of_the_host() {
    let Some(lab) = Lab::new() else { return };
    lab.booted("zion", "");
    let attacker = lab.attacker("zion", include_str!("attack/watch.py"), &[]);
    for _ in 0..60 {
        assert_eq!(lab.run_with("zlogin", &["zion", "true"], &[("SECRET", "of-the-host")], "").status, 0);
    }
    let told = attacker.end();
    let mut words = told.splitn(3, ' ');
    let seen: u32 = words.next().expect("a number").parse().expect("a number");
    assert!(seen >= 10, "the attacker has seen nothing: {told}");
    assert_eq!(words.nth(1).map(str::trim), Some("{}"), "{told}");
    lab.halted("zion");
}

/// Guards `sys::process::Child::end`: a process of the zone that traces another one keeps its end from
/// whoever waits for it, and zlogin waited for ever, deaf to `^C`.
#[test]
fn a_tracer_in_the_zone_does_not_hold_a_login_up() {
    let Some(lab) = Lab::new() else { return };
    lab.booted("zion", "");
    let attacker = lab.attacker("zion", include_str!("attack/hold.py"), &[]);
    let start = Instant::now();
    let run = lab.run("zlogin", &["zion", "exec sleep 1"]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.err.contains("does not let its status out"), "{run:?}");
    assert_ne!(attacker.end(), "0\n", "the attacker has traced nothing");
    assert_eq!(lab.run("zlogin", &["zion", "exit 7"]).status, 7);
    lab.halted("zion");
}
