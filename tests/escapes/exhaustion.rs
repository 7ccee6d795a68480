//! A zone that uses up what the kernel has of something: the host and the other zones still have theirs.

use std::process::Command;

use super::Lab;

/// The attack.
const USE_UP: &str = include_str!("attack/use_up.py");

/// Uses something up in one zone and tries to use it in another one and on the host. Returns what the
/// attacker has got, and why no more.
fn used_up(lab: &Lab, what: &str, most: &str) -> (u64, String) {
    // Otherwise no zone has keys.
    let lines = "add attr; set name=allow-syscalls; set type=string; set value=keys; end";
    lab.booted("zion", lines);
    lab.booted("web", lines);
    let attacker = lab.attacker("zion", USE_UP, &[what, most]);
    // As many as somebody needs.
    let some = if what == "mounts" { "2" } else { "5" };
    let other = lab.attacker("web", USE_UP, &[what, some]);
    assert_eq!(other.end(), format!("{some} 0\n"), "another zone has no {what} left");
    if what != "mounts" {
        let host = super::Attacker::on_host(USE_UP, &[what, some]);
        assert_eq!(host.end(), format!("{some} 0\n"), "the host has no {what} left");
    }
    // It can be entered and repaired, and ends.
    let run = lab.sh("zion", "echo still there");
    assert_eq!(run.out, "still there\n", "{what}: {run:?}");
    let told = attacker.end();
    let (number, why) = told.trim().split_once(' ').expect("two words");
    lab.ok("zoneadm", &["-z", "web", "halt"]);
    lab.halted("zion");
    (number.parse().expect("a number"), why.to_owned())
}

/// Guards `process::as_owner`: what a user namespace uses is counted against whoever made it.
#[test]
fn inotify_instances() {
    let Some(lab) = Lab::on_disk() else { return };
    let (number, why) = used_up(&lab, "inotify", "100000");
    assert!(number > 10 && why == "EMFILE", "{number} {why}");
}

/// The kernel counts keys by user of the host: a zone's root has as many as any user (`kernel.keys.maxkeys`).
#[test]
fn keys() {
    let Some(lab) = Lab::on_disk() else { return };
    let (number, why) = used_up(&lab, "keys", "100000");
    assert!(number > 10 && why == "EDQUOT", "{number} {why}");
}

/// Guards the limit of a zone's `/dev/pts`: without one, one zone takes what all zones share. The kernel keeps
/// some for the host (`kernel.pty.reserve`).
#[test]
fn terminals() {
    let Some(lab) = Lab::on_disk() else { return };
    let (number, why) = used_up(&lab, "terminals", "1500");
    assert!(number <= 1024, "one zone has {number} terminals, {why}");
    assert!(number > 10 && (why == "ENOSPC" || why == "EMFILE"), "{number} {why}");
}

/// The kernel counts mounts by mount namespace (`fs.mount-max`).
#[test]
fn mounts() {
    let Some(lab) = Lab::on_disk() else { return };
    let (number, why) = used_up(&lab, "mounts", "40");
    // Each is a copy of the whole tree, and what is mounted in a shared one appears in every copy.
    assert!(number > 2 && why == "ENOSPC", "{number} {why}");
    let mounts = Command::new("sh").args(["-c", "wc -l < /proc/self/mountinfo"]).output().expect("sh(1)");
    let count: u32 = String::from_utf8_lossy(&mounts.stdout).trim().parse().expect("a number");
    assert!(count < 5000, "the zone's mounts are the host's: {count}");
}
