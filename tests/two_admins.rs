//! Two administrators at one zone: what one changes while the other works on it.
//!
//! The lock that an operation takes is held by the test, so that the other side is seen to wait for it, to
//! be refused, or to go by what holds once the lock is free. Random verbs of eight workers come last.

mod lab;

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Run};
use zones::apply::paths::Root;
use zones::apply::store::{FileStore, Locked};
use zones::spec::ZoneName;

/// A share whose removal can be seen in a zone that has booted.
const SHARE: &str = "add fs; set dir=/share; set special=/srv; set type=lofs; end";

fn name(zone: &str) -> ZoneName {
    ZoneName::new(zone).expect("a name")
}

fn lock(lab: &Lab, zone: &str) -> Locked {
    FileStore::open(Root::new(Some(lab.path()))).lock(&name(zone), "zoneadm clone").expect("the lock")
}

fn start(lab: &Lab, program: &str, args: &[&str]) -> Child {
    let mut command = lab.command(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

fn end(child: Child) -> Run {
    Run::from(child.wait_with_output().expect("the program ends"))
}

/// Waits until a process waits for a lock of a file (flock(2)).
fn waits_for_lock(child: &Child) {
    let wanted = format!(" {} ", child.id());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let locks = fs::read_to_string("/proc/locks").expect("proc is there");
        if locks.lines().any(|l| l.contains("->") && l.contains("FLOCK") && l.contains(&wanted)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it does not wait for the lock");
}

/// A change that an editor or another zonecfg makes while a verb waits.
struct Change {
    what: &'static str,
    /// Whether the zone still has the name that the verb was called with.
    make: fn(&Lab),
}

fn edit(lab: &Lab, change: impl Fn(&str) -> String) {
    let file = lab.path().join("etc/zones.d/a.toml");
    let text = fs::read_to_string(&file).expect("a spec");
    let new = change(&text);
    assert_ne!(text, new);
    fs::write(&file, new).expect("the spec is written");
}

const CHANGES: &[Change] = &[
    Change {
        what: "a share is removed",
        make: |lab| {
            edit(lab, |t| {
                let at = t.find("[[fs]]").expect("a share");
                let rest = t[at + 6..].find("[[").map_or("", |end| &t[at + 6 + end..]);
                format!("{}{rest}", &t[..at])
            });
        },
    },
    Change {
        what: "the zone is deleted",
        make: |lab| {
            fs::remove_file(lab.path().join("etc/zones.d/a.toml")).expect("the spec is removed");
            let _ = fs::remove_dir_all(lab.path().join("var/lib/zones/a"));
        },
    },
    Change {
        what: "the zonepath is another one",
        make: |lab| edit(lab, |t| t.replace("/zones/%{zonename}", "/zones/elsewhere")),
    },
    Change {
        what: "the zone is incomplete",
        make: |lab| {
            let path = lab.path().join("var/lib/zones/a/state");
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "state=incomplete\n").expect("the state is written");
        },
    },
    Change {
        what: "the zone is configured",
        make: |lab| {
            let _ = fs::remove_file(lab.path().join("var/lib/zones/a/state"));
        },
    },
    Change { what: "the spec is damaged", make: |lab| edit(lab, |t| format!("{t}\nnonsense = [")) },
];

/// How a zone is made, and a verb that is tried on it. `source` is an installed zone beside it.
const VERBS: [(&str, &[&str]); 13] = [
    ("configured", &["install"]),
    ("configured", &["clone", "source"]),
    ("configured", &["attach", "-F"]),
    ("installed", &["uninstall", "-F"]),
    ("installed", &["verify"]),
    ("installed", &["boot"]),
    ("installed", &["ready"]),
    ("installed", &["detach"]),
    ("installed", &["move", "/zones/other"]),
    ("installed", &["mark", "incomplete"]),
    ("running", &["halt"]),
    ("running", &["reboot"]),
    ("running", &["shutdown"]),
];

fn prepare(state: &str, source: bool) -> Option<Lab> {
    let lab = Lab::new()?;
    lab.configure("a", SHARE);
    if source {
        lab.installed("source", "");
    }
    if state != "configured" {
        lab.ok("zoneadm", &["-z", "a", "install"]);
    }
    if state == "running" {
        lab.ok("zoneadm", &["-z", "a", "boot"]);
    }
    Some(lab)
}

/// What can be seen of a zone after a verb, with the lab's own folder left out of the texts.
fn outcome(lab: &Lab, run: &Run) -> String {
    let listed = lab.run("zoneadm", &["list", "-cp"]);
    let zone = |line: &&str| line.split(':').nth(1) == Some("a");
    let line: Vec<&str> = listed.out.lines().filter(zone).flat_map(|l| l.split(':').skip(1)).collect();
    let uuid = |field: &&&str| field.len() != 36;
    let line: Vec<&&str> = line.iter().filter(uuid).collect();
    let share = lab.run("zlogin", &["a", "grep -c ' /share ' /proc/mounts"]).out;
    let trees = ["a", "elsewhere", "other"].map(|t| lab.path().join(format!("zones/{t}/root")).exists());
    let text = format!("{} {} {} {line:?} {share:?} {trees:?}", run.status, run.out, run.err);
    // A zone that is gone before it was looked up is named as it was typed.
    let text = text.replace("zoneadm: a: No such", "zoneadm: zone 'a': No such");
    text.replace(&lab.path().display().to_string(), "ROOT")
}

/// Each verb of zoneadm, waiting while each change is made, does what it does when it is typed afterwards.
fn as_if_typed_afterwards(number: usize) {
    let (state, words) = VERBS[number];
    for change in CHANGES {
        let args = [&["-z", "a"], words].concat();
        let source = words.contains(&"source");
        let (Some(one), Some(other)) = (prepare(state, source), prepare(state, source)) else { return };
        (change.make)(&one);
        let expected = outcome(&one, &one.run("zoneadm", &args));

        let held = lock(&other, "a");
        let child = start(&other, "zoneadm", &args);
        waits_for_lock(&child);
        (change.make)(&other);
        drop(held);
        let seen = outcome(&other, &end(child));
        assert_eq!(seen, expected, "{words:?} while {}", change.what);
    }
}

/// One test for each of the verbs, so that each has the time that a busy machine needs.
macro_rules! verbs {
    ($($test:ident $number:literal)*) => {
        $(
            #[test]
            fn $test() {
                as_if_typed_afterwards($number);
            }
        )*

        #[test]
        fn each_verb_has_a_test() {
            assert_eq!([$($number),*], std::array::from_fn::<usize, { VERBS.len() }, _>(|n| n));
        }
    };
}

verbs! {
    install_goes_by_what_holds_under_the_lock 0
    clone_goes_by_what_holds_under_the_lock 1
    attach_goes_by_what_holds_under_the_lock 2
    uninstall_goes_by_what_holds_under_the_lock 3
    verify_goes_by_what_holds_under_the_lock 4
    boot_goes_by_what_holds_under_the_lock 5
    ready_goes_by_what_holds_under_the_lock 6
    detach_goes_by_what_holds_under_the_lock 7
    move_goes_by_what_holds_under_the_lock 8
    mark_goes_by_what_holds_under_the_lock 9
    halt_goes_by_what_holds_under_the_lock 10
    reboot_goes_by_what_holds_under_the_lock 11
    shutdown_goes_by_what_holds_under_the_lock 12
}

#[test]
fn a_change_waits_for_an_operation_and_names_it_when_that_takes_long() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("a", SHARE);
    let before = fs::read_to_string(lab.path().join("etc/zones.d/a.toml")).expect("a spec");
    let changes: &[&[&str]] = &[
        &["-z", "a", "set autoboot=true"],
        &["-z", "a", "set zonename=b"],
        &["-z", "a", "set zonepath=/zones/elsewhere"],
        &["-z", "a", "remove -F fs"],
        &["-z", "a", "delete -F"],
        &["-z", "a", "create -F"],
    ];
    let held = lock(&lab, "a");
    let children: Vec<_> = changes.iter().map(|args| start(&lab, "zonecfg", args)).collect();
    for (child, args) in children.into_iter().zip(changes) {
        let run = end(child);
        let named = "an operation is in progress: zoneadm clone (process ";
        let own = format!("{named}{}, for ", std::process::id());
        // What an installed zone does not allow is refused at once.
        let at_once = run.err.contains("already installed");
        assert!(run.status != 0 && (at_once || run.err.contains(&own)), "{args:?}: {run:?}");
    }
    assert_eq!(fs::read_to_string(lab.path().join("etc/zones.d/a.toml")).expect("a spec"), before);
    // One that takes a moment is waited for.
    let child = start(&lab, "zonecfg", &["-z", "a", "set autoboot=true"]);
    std::thread::sleep(Duration::from_millis(200));
    drop(held);
    let run = end(child);
    assert_eq!((run.status, run.err.as_str()), (0, ""));
    assert!(lab.ok("zonecfg", &["-z", "a", "info autoboot"]).contains("true"));
}

#[test]
fn lock_files_go_with_the_zone() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("a", "");
    lab.ok("zoneadm", &["-z", "a", "boot"]);
    lab.kill_supervisor("a");
    lab.ok("zoneadm", &["-z", "a", "boot"]);
    lab.ok("zoneadm", &["-z", "a", "halt"]);
    lab.ok("zonecfg", &["-z", "a", "set zonename=b"]);
    lab.ok("zoneadm", &["-z", "b", "uninstall", "-F"]);
    // Who waits for the lock of a zone that is deleted leaves none behind either.
    let held = lock(&lab, "b");
    let child = start(&lab, "zoneadm", &["-z", "b", "install"]);
    waits_for_lock(&child);
    fs::remove_file(lab.path().join("etc/zones.d/b.toml")).expect("the spec is removed");
    held.forget();
    let run = end(child);
    assert!(run.status == 1 && run.err.contains("No such zone configured"), "{run:?}");
    lab.run("zonecfg", &["-z", "b", "delete -F"]);
    let run_dir = lab.path().join("run/zones");
    let left: Vec<_> = fs::read_dir(run_dir).expect("a folder").flatten().map(|e| e.file_name()).collect();
    let of_zones = |f: &&std::ffi::OsString| {
        let text = f.to_string_lossy();
        text.starts_with(".lock.") || text.starts_with(".adopt.") || !text.starts_with('.')
    };
    assert_eq!(left.iter().filter(of_zones).count(), 0, "{left:?}");
}

#[test]
fn ids_of_a_running_zone_are_never_free() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("a", "");
    lab.ok("zoneadm", &["-z", "a", "boot"]);
    let map = |zone: &str| lab.sh(zone, "cat /proc/self/uid_map").out;
    let ids = map("a");
    // Its files are gone, as after `rm -rf` in the wrong place.
    fs::remove_file(lab.path().join("etc/zones.d/a.toml")).expect("the spec is removed");
    fs::remove_dir_all(lab.path().join("var/lib/zones/a")).expect("its folder is removed");
    lab.installed("b", "");
    lab.ok("zoneadm", &["-z", "b", "boot"]);
    let other = map("b");
    assert!(!other.is_empty());
    assert_ne!(ids, other);
}

/// Numbers that look random and are the same for the same seed (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("a small number")
    }
}

const ZONES: &[&str] = &["a", "b", "c", "d", "e", "f"];

/// What one worker types next.
fn anything(n: &mut Numbers) -> (&'static str, Vec<String>) {
    let zone = ZONES[n.below(ZONES.len())];
    let other = ZONES[n.below(ZONES.len())];
    let (program, rest): (_, &[&str]) = match n.below(16) {
        0..=2 => ("zoneadm", &["install"]),
        3 => ("zoneadm", &["uninstall", "-F"]),
        4..=5 => ("zoneadm", &["boot"]),
        6 => ("zoneadm", &["halt"]),
        7 => ("zoneadm", &["reboot"]),
        8 => ("zoneadm", &["ready"]),
        9 => ("zoneadm", &["clone", other]),
        10 => ("zonecfg", &["delete -F"]),
        11..=13 => ("zonecfg", &["create; commit"]),
        14 => ("zonecfg", &["set autoboot=true"]),
        _ => return ("zonecfg", vec!["-z".into(), zone.into(), format!("set zonename={other}")]),
    };
    let words = ["-z", zone].into_iter().chain(rest.iter().copied());
    (program, words.map(str::to_owned).collect())
}

/// Each worker counts on in a spec of all, and is told so only when that has been saved.
fn count_on(lab: &Lab, worker: usize, count: usize) -> bool {
    let line = format!("add attr; set name=w{worker}x{count}; set type=boolean; set value=true; end");
    lab.run("zonecfg", &["-z", "ledger", &line]).status == 0
}

#[test]
fn eight_workers_leave_no_dead_end_no_lost_update_and_no_orphan() {
    let Some(lab) = Lab::new() else { return };
    let seconds = std::env::var("ZONES_TEST_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let seed = std::env::var("ZONES_TEST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(11);
    lab.configure("ledger", "");
    let end = Instant::now() + Duration::from_secs(seconds);
    let saved: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let lab = &lab;
                scope.spawn(move || {
                    let mut numbers = Numbers(seed + 7919 * (worker as u64 + 1));
                    let mut saved = Vec::new();
                    for count in 0.. {
                        if Instant::now() > end {
                            break;
                        }
                        if numbers.below(20) == 0 {
                            if count_on(lab, worker, count) {
                                saved.push(format!("w{worker}x{count}"));
                            }
                            continue;
                        }
                        let (program, args) = anything(&mut numbers);
                        lab.run(program, &args.iter().map(String::as_str).collect::<Vec<_>>());
                    }
                    saved
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("a worker")).collect()
    });
    let ledger = lab.ok("zonecfg", &["-z", "ledger", "export"]);
    assert!(!saved.is_empty());
    for name in saved {
        assert!(ledger.contains(&format!("set name=\"{name}\"\n")), "{name} was saved, and is lost");
    }
    lab.ok("zoneadm", &["list", "-cp"]);
    for zone in ZONES {
        // From whatever is there, by the commands that an administrator would type.
        let state = lab.run("zoneadm", &["-z", zone, "list", "-p"]).out;
        match state.split(':').nth(2) {
            None => lab.configure(zone, ""),
            Some("configured") => {}
            Some(word) => {
                if matches!(word, "running" | "ready" | "shutting_down") {
                    lab.ok("zoneadm", &["-z", zone, "halt"]);
                }
                lab.ok("zoneadm", &["-z", zone, "uninstall", "-F"]);
            }
        }
        // One that was renamed while it was installed has kept the path that a new zone of its old name has.
        lab.ok("zonecfg", &["-z", zone, "set zonepath=/zones/%{zonename}"]);
    }
    for zone in ZONES {
        for words in [&["install"][..], &["boot"], &["halt"], &["uninstall", "-F"]] {
            lab.ok("zoneadm", &[&["-z", *zone], words].concat());
        }
        lab.ok("zonecfg", &["-z", zone, "delete -F"]);
    }
    lab.assert_clean();
    let left: Vec<_> = fs::read_dir(lab.path().join("zones")).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "trees without a zone: {left:?}");
}
