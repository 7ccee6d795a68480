//! The end of a zone, with processes of the test in the places of process 1 and of the supervisor.

use super::*;
use crate::apply::NO_ZFS_FACTS;
use crate::apply::op::HeardMessages;
use crate::apply::rundir::{CONSOLE, WATCHED, write_record};
use crate::apply::store::FileStore;
use crate::spec::ZoneSpec;
use crate::spec::state::ZoneState;
use crate::sys::ns::{self, Side};
use crate::sys::process::{self, Ended, start_time};

/// Starts a process that does nothing for some milliseconds.
fn sleeper(millis: u64) -> i32 {
    match ns::fork().expect("a process") {
        Side::Child => {
            std::thread::sleep(Duration::from_millis(millis));
            process::exit_now(0)
        }
        Side::Parent(pid, _) => pid,
    }
}

/// Ends a process of the test, and says how it had ended before.
fn reaped(pid: i32) -> Ended {
    if let Ok(handle) = Handle::open(pid) {
        let _ = handle.signal(libc::SIGTERM);
    }
    process::wait(pid).expect("it ends")
}

const LONG: u64 = 60_000;
const HALT: StopReason = StopReason::Halt;

/// A zone whose run-time folder holds all files, and its process 1.
struct Zone {
    _temp: tempfile::TempDir,
    store: FileStore,
    name: ZoneName,
    running: Running,
}

impl Zone {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a folder");
        let store = FileStore::open(Root::new(Some(temp.path())));
        let (root, name) = (store.root().clone(), ZoneName::new("zion").expect("a name"));
        for dir in [root.zone_run(&name), root.lib_dir()] {
            fs::create_dir_all(dir).expect("a folder");
        }
        let init = sleeper(LONG);
        let running = Running {
            id: 1,
            state: ZoneState::Running,
            init,
            init_start: start_time(init).expect("it lives"),
            supervisor: 0,
            supervisor_start: 0,
            stop_reason: None,
            announced: None,
            cgroup: None,
            links: None,
        };
        for file in [SPEC, IMAGE, JOURNAL, GUARD, CONSOLE, NEXT_BOOT] {
            fs::write(root.zone_run(&name).join(file), "").expect("a file");
        }
        write_record(&root, &name, &running).expect("a record");
        Self { _temp: temp, store, name, running }
    }

    fn with_supervisor(millis: u64) -> Self {
        let mut zone = Self::new();
        zone.running.supervisor = sleeper(millis);
        zone.running.supervisor_start = start_time(zone.running.supervisor).expect("it lives");
        zone
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.store.root().zone_run(&self.name).join(file)
    }

    /// Takes the zone down; returns the messages, and the error as the last of them.
    fn take_down(&self, stop_reason: StopReason) -> Vec<String> {
        let lock = self.store.lock(&self.name, "a test").expect("a lock");
        let (spec, mut out) = (ZoneSpec::new(self.name.clone()), HeardMessages::default());
        let mut op = Op::under(&lock, &self.store, &spec, &NO_ZFS_FACTS, &mut out);
        let done = take_down(&mut op, &self.running, stop_reason);
        out.0.extend(done.err().map(|e| format!("error: {e}")));
        out.0
    }

    /// Returns the names that are left in the run-time folder.
    fn left(&self) -> Vec<String> {
        let Ok(list) = fs::read_dir(self.path("")) else { return vec!["nothing".to_owned()] };
        let mut names: Vec<_> =
            list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn has_copy(&self) -> bool {
        copy::record(self.store.root(), &self.name).is_some()
    }
}

const KILLED: Ended = Ended::Signal(libc::SIGKILL);

#[test]
fn a_zone_is_killed_and_nothing_of_it_is_left() {
    for stop_reason in [HALT, StopReason::Reboot] {
        let zone = Zone::new();
        assert!(zone.has_copy());
        assert_eq!(zone.take_down(stop_reason), Vec::<String>::new());
        assert_eq!(reaped(zone.running.init), KILLED);
        assert_eq!(zone.left(), ["nothing"]);
        assert!(!zone.has_copy());
        // The same again, by a command that has read the record before.
        assert_eq!(zone.take_down(stop_reason).len(), 1, "its record cannot be written");
        assert_eq!(zone.left(), ["nothing"]);
    }
}

#[test]
fn another_process_with_the_number_of_process_1_lives_on() {
    let mut zone = Zone::new();
    zone.running.init_start += 1;
    assert_eq!(zone.take_down(HALT), Vec::<String>::new());
    assert_eq!(zone.left(), ["nothing"]);
    assert_eq!(reaped(zone.running.init), Ended::Signal(libc::SIGTERM), "it was left to the test");
}

#[test]
fn a_record_that_cannot_be_written_keeps_no_zone_alive() {
    let zone = Zone::new();
    fs::remove_file(zone.path(RECORD)).expect("removed");
    fs::create_dir(zone.path(RECORD)).expect("a folder in its place");
    let said = zone.take_down(HALT);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("warning: WARNING: cannot write the record of the zone: "), "{said:?}");
    assert!(said[0].ends_with("; going on"), "{said:?}");
    assert_eq!(reaped(zone.running.init), KILLED);
    assert_eq!(zone.left(), [RECORD]);
}

#[test]
fn a_step_that_cannot_be_undone_is_told_and_the_rest_goes() {
    let zone = Zone::new();
    // A journal of the first release: no step stands in a plan before.
    let line = "{\"line\":\"started\",\"step\":0,\"inverse\":{\"remove_cgroup\":\"/elsewhere/zion\"}}\n";
    fs::write(zone.path(JOURNAL), line).expect("a journal");
    let why = "it is not this zone's";
    assert_eq!(
        zone.take_down(HALT),
        [format!("warning: WARNING: cannot remove cgroup /elsewhere/zion: {why}")]
    );
    assert_eq!(reaped(zone.running.init), KILLED);
    assert_eq!(zone.left(), ["nothing"]);

    // Processes of the zone may be in a cgroup that stays, so the command fails and can be repeated.
    let mut zone = Zone::new();
    zone.running.cgroup = Some("/elsewhere/zion".into());
    let said = zone.take_down(HALT);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("error: ") && said[0].ends_with(why), "{said:?}");
    assert_eq!(reaped(zone.running.init), KILLED);
    assert!(zone.has_copy() && zone.left().contains(&RECORD.to_owned()), "{:?}", zone.left());
    zone.running.cgroup = None;
    assert_eq!(zone.take_down(HALT), Vec::<String>::new());
    assert_eq!(zone.left(), ["nothing"]);
}

#[test]
fn a_supervisor_is_waited_for_unless_a_client_watches_it() {
    let zone = Zone::with_supervisor(200);
    let begin = Instant::now();
    assert_eq!(zone.take_down(HALT), Vec::<String>::new());
    assert!(begin.elapsed() >= Duration::from_millis(150), "it has been waited for");
    assert_eq!((reaped(zone.running.init), reaped(zone.running.supervisor)), (KILLED, Ended::Exit(0)));
    assert_eq!(zone.left(), ["nothing"]);

    let zone = Zone::with_supervisor(LONG);
    fs::write(zone.path(WATCHED), std::process::id().to_string()).expect("a client");
    assert_eq!(zone.take_down(HALT), Vec::<String>::new());
    assert_eq!(reaped(zone.running.supervisor), Ended::Signal(libc::SIGTERM), "it serves on");
    assert_eq!(reaped(zone.running.init), KILLED);
    assert_eq!(zone.left(), [CONSOLE, WATCHED]);
    assert!(!zone.has_copy());
}

#[test]
fn what_a_crash_has_left_is_undone_at_the_next_command() {
    let zone = Zone::new();
    assert_eq!(reaped(zone.running.init), Ended::Signal(libc::SIGTERM));
    recover_after_crash(zone.store.root(), &zone.name);
    assert!(!zone.has_copy());
    assert_eq!(
        zone.left(),
        [CONSOLE, GUARD, IMAGE, NEXT_BOOT, SPEC],
        "journal and record have had their use"
    );
    recover_and_remove_files(zone.store.root(), &zone.name);
    assert_eq!(zone.left(), ["nothing"]);
    // Of a zone that runs nothing is believed to be left.
    let zone = Zone::new();
    recover_after_crash(zone.store.root(), &zone.name);
    assert!(zone.left().contains(&RECORD.to_owned()), "{:?}", zone.left());
    assert_eq!(reaped(zone.running.init), Ended::Signal(libc::SIGTERM));
}
