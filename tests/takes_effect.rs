//! When a change of the configuration takes effect: what the table says of it, tried on a zone that runs.

#![allow(clippy::disallowed_methods)]

mod lab;

use lab::Lab;
use zones::spec::schema::{self, ResourceKind, TakesEffect};

const FORMER: &str = "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b";
const PRESENT: &str = "0b6e1f0c-5a55-4a4e-8c39-1f4f5c2f7d11";

/// What a zone is seen to have, of each property that is changed below.
fn seen(lab: &Lab) -> Vec<(&'static str, String)> {
    let inside = |script: &str| lab.sh("zion", script).out;
    vec![
        ("hostid", inside("hostid")),
        ("limitpriv", inside("grep CapBnd /proc/self/status")),
        ("max-sem-ids", inside("cat /proc/sys/kernel/sem")),
        ("fs", inside("cat /export/told 2>/dev/null")),
        ("uuid", lab.ok("zoneadm", &["-z", "zion", "list", "-p"])),
    ]
}

fn effect(name: &str) -> TakesEffect {
    let global = schema::global(name).map(|def| def.takes_effect(None));
    global.or_else(|| ResourceKind::from_name(name).map(|kind| kind.def().takes_effect())).expect(name)
}

#[test]
fn a_zone_that_runs_keeps_what_the_table_gives_it_at_the_next_boot() {
    let Some(lab) = Lab::new() else { return };
    let shared = lab.path().join("shared");
    std::fs::create_dir(&shared).expect("a folder");
    std::fs::write(shared.join("told"), "shared\n").expect("written");
    lab.installed("zion", &format!("set hostid=80f0c086\nset uuid={FORMER}\nset max-sem-ids=100"));
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let booted = seen(&lab);
    let fs = format!("add fs\nset dir=/export\nset special={}\nset type=lofs\nend", shared.display());
    let others = "set hostid=cafe0001\nset limitpriv=default,!file_chown\nset max-sem-ids=90";
    lab.configure_again("zion", &format!("{others}\nset uuid={PRESENT}\n{fs}"));
    let saved = seen(&lab);
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    let again = seen(&lab);
    for (((name, former), (_, now)), (_, later)) in booted.iter().zip(&saved).zip(&again) {
        assert_ne!(former, later, "{name} was changed");
        match effect(name) {
            TakesEffect::NextBoot(_) => assert_eq!(former, now, "{name} waits for a boot"),
            TakesEffect::Now(_) => assert!(former != now && now.contains(PRESENT), "{name}: {now}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let (_, told) = again.iter().find(|(name, _)| *name == "fs").expect("looked at");
    assert_eq!(told, "shared\n");
    // A reboot from inside takes what is saved as well.
    lab.configure_again("zion", "set hostid=cafe0002");
    let was = lab.ok("zoneadm", &["-z", "zion", "list", "-p"]);
    lab.sh("zion", "kill -39 1");
    let follows = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        lab.sh("zion", "hostid").out == "cafe0002\n"
    });
    assert!(follows, "booted again with {:?}", lab.sh("zion", "hostid"));
    assert_ne!(was.split(':').next(), lab.ok("zoneadm", &["-z", "zion", "list", "-p"]).split(':').next());
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}
