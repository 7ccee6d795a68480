//! `scheduling-class`: the policy under which the zone's processes run, as the kernel tells it.

#![allow(clippy::disallowed_methods)]

mod lab;

use lab::{Lab, record};

/// Returns the policy of a process (proc_pid_stat(5), field 41): 0 is `SCHED_OTHER`, 3 `SCHED_BATCH`, 5
/// `SCHED_IDLE`.
fn policy(pid: &str) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit(") ").next().expect("fields");
    fields.split(' ').nth(38).and_then(|f| f.parse().ok()).expect("a policy")
}

fn set(lab: &Lab, class: &str) {
    let run = lab.run_with("zonecfg", &["-z", "zion"], &[], &format!("set scheduling-class={class}"));
    assert_eq!(run.status, 0, "{run:?}");
}

#[test]
fn every_process_of_the_zone_has_the_class() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    for (class, wanted) in [("FSS", 0), ("TS", 0), ("FX", 3), ("BATCH", 3), ("IDLE", 5)] {
        set(&lab, class);
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        let init = record(&lab, "zion", "init");
        assert_eq!(policy(&init), wanted, "{class}: init");
        // Who enters runs as those inside, and so do their children.
        let seen = lab.ok("zlogin", &["zion", "sh -c 'sed \"s/.*) //\" /proc/self/stat'"]);
        let field = seen.split_whitespace().nth(38).expect("a policy");
        assert_eq!(field, wanted.to_string(), "{class}: zlogin");
        if class == "FSS" {
            // Whatever class the caller has.
            let zlogin = lab.command("zlogin");
            let seen = std::process::Command::new("chrt")
                .args(["-f", "1"])
                .arg(zlogin.get_program())
                .args(["zion", "sh -c 'sed \"s/.*) //\" /proc/self/stat'"])
                .env("ZONES_ROOT", lab.path())
                .output()
                .expect("chrt starts");
            let text = String::from_utf8_lossy(&seen.stdout);
            let refused = String::from_utf8_lossy(&seen.stderr).contains("failed to set");
            assert!(refused || text.split_whitespace().nth(38) == Some("0"), "{seen:?}");
        }
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    lab.assert_clean();
}

#[test]
fn root_of_the_zone_gets_no_real_time() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "set scheduling-class=FSS");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    for attack in ["chrt -f 1 true", "chrt -r 1 true", "chrt -d --sched-runtime 1000000 0 true"] {
        assert_ne!(lab.sh("zion", attack).status, 0, "must fail: {attack}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    for class in ["RT", "SYS"] {
        set(&lab, class);
        for command in ["verify", "boot"] {
            let run = lab.run("zoneadm", &["-z", "zion", command]);
            assert!(run.status == 1 && run.err.contains("no real-time class"), "{class}: {run:?}");
        }
    }
    lab.assert_clean();
}
