//! Requests to a supervisor, and how long it waits, in a folder of run-time files without a zone.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::*;
use crate::sys::ns::{self, Side};

/// A supervisor without zone and client, as after a halt.
fn idle() -> (tempfile::TempDir, Supervisor) {
    let temp = tempfile::tempdir().expect("a folder");
    let (root, name) = (Root::new(Some(temp.path())), ZoneName::new("zion").expect("a name"));
    fs::create_dir_all(root.zone_run(&name)).expect("a folder");
    let console = Console::take_over_or_open(&root, &name).expect("a console");
    let supervisor =
        Supervisor { root, name, console, init: None, idle: None, guard: None, links: None, restores: None };
    (temp, supervisor)
}

/// This process in the place of a zone's first one.
fn init(ended: Option<Ended>) -> InitProcess {
    let pid = i32::try_from(std::process::id()).expect("a number");
    let running = Running {
        id: 1,
        state: ZoneState::Running,
        init: pid,
        init_start: 1,
        supervisor: pid,
        supervisor_start: 1,
        stop_reason: None,
        announced: None,
        cgroup: None,
        links: None,
    };
    InitProcess { running, handle: Handle::open(pid).expect("it lives"), channel: None, ended }
}

/// Sends a request and returns the other end of the connection.
fn ask(supervisor: &mut Supervisor, request: &str) -> UnixStream {
    let (mut ours, theirs) = UnixStream::pair().expect("a connection");
    ours.set_read_timeout(Some(Duration::from_secs(5))).expect("an answer that does not come fails");
    ours.write_all(request.as_bytes()).expect("sent");
    supervisor.answer(theirs);
    ours
}

/// Returns the whole answer to a request after which the connection is closed.
fn answer(supervisor: &mut Supervisor, request: &str) -> String {
    let mut text = String::new();
    ask(supervisor, request).read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn a_request_that_is_not_understood_is_refused() {
    let (_temp, mut supervisor) = idle();
    for (request, wanted) in [
        ("\nzoneadmd 1 FROB 7 x\n", format!("{REFUSED}zoneadmd does not know the request FROB\n")),
        ("FROB\n", format!("{REFUSED}zoneadmd does not know the request FROB\n")),
        (
            "\nzoneadmd 2 HANDOVER\n",
            format!(
                "{REFUSED}zoneadmd speaks version 1 of its protocol, not 2: programs of two releases are in use\n"
            ),
        ),
        ("\nzoneadmd 1\n", String::new()),
        ("\n\n", String::new()),
    ] {
        assert_eq!(answer(&mut supervisor, request), wanted, "{request:?}");
        assert!(!supervisor.console.has_client(), "{request:?}");
    }
}

#[test]
fn no_zone_is_booted_that_is_not_ready() {
    let (_temp, mut supervisor) = idle();
    let not_ready = "the zone is not ready";
    for (request, wanted) in [
        ("\nzoneadmd 1 BOOT\n", format!("{REFUSED}{not_ready}\n")),
        ("\nzoneadmd 1 BOOT -s\n", format!("{REFUSED}{not_ready}\n")),
        // A program of a former release knows no word for it.
        ("BOOT\n", format!("{not_ready}\n")),
    ] {
        assert_eq!(answer(&mut supervisor, request), wanted, "{request:?}");
    }
    supervisor.init = Some(init(None));
    let wanted = format!("{REFUSED}zone is already booted\n");
    assert_eq!(answer(&mut supervisor, "\nzoneadmd 1 BOOT\n"), wanted);
    let record = supervisor.root.zone_run(&supervisor.name).join("running");
    assert!(!record.exists(), "nothing is written for it");
}

#[test]
fn the_console_has_one_client() {
    let (_temp, mut supervisor) = idle();
    let watched = supervisor.root.zone_run(&supervisor.name).join(crate::apply::rundir::WATCHED);
    let mut first = ask(&mut supervisor, "\nzoneadmd 1 CONNECT 71 C 1\n");
    let mut text = [0; 3];
    first.read_exact(&mut text).expect("an answer");
    assert_eq!(&text, b"OK\n");
    assert_eq!(fs::read_to_string(&watched).expect("noted"), "71");
    assert_eq!(supervisor.console.client_text(), "71 1");
    let busy = crate::apply::console::client::BUSY;
    assert_eq!(answer(&mut supervisor, "\nzoneadmd 1 CONNECT 72 C 0\n"), format!("{busy}71\n"));
    assert_eq!(answer(&mut supervisor, "CONNECT 73 C 0\n"), "71\n");
    assert_eq!(supervisor.console.client_text(), "71 1");
    supervisor.console.last_notice("NOTICE: Zone halted");
    let mut rest = String::new();
    first.read_to_string(&mut rest).expect("its end");
    assert_eq!(rest, "\r\n[NOTICE: Zone halted.  Disconnecting...]\r\n");
    assert!(!watched.exists());
}

#[test]
fn a_supervisor_hands_over_what_it_serves_unless_the_zone_runs() {
    let (_temp, mut supervisor) = idle();
    supervisor.init = Some(init(None));
    let refused = Channel::from_fd(ask(&mut supervisor, "\nzoneadmd 1 HANDOVER\n").into());
    let answer = refused.receive().expect("an answer");
    assert_eq!((answer.text, answer.fds.len()), (format!("{REFUSED}the zone runs"), 0));
    // Of a zone that has ended nothing is left to serve.
    supervisor.init = Some(init(Some(Ended::Exit(0))));
    let (_client, theirs) = UnixStream::pair().expect("a connection");
    let client = crate::apply::console::client_from("71 1", theirs);
    for (client, wanted) in [(None, ("none", 1)), (Some(client), ("71 1", 2))] {
        supervisor.console.client = client;
        let (mut ours, theirs) = UnixStream::pair().expect("a connection");
        ours.write_all(b"\nzoneadmd 1 HANDOVER\n").expect("sent");
        let Side::Parent(pid, _) = ns::fork().expect("a process") else {
            supervisor.answer(theirs);
            process::exit_now(3)
        };
        drop(theirs);
        let answer = Channel::from_fd(ours.into()).receive().expect("an answer");
        assert_eq!((answer.text.as_str(), answer.fds.len()), wanted);
        assert_eq!(process::wait(pid).expect("it ends"), Ended::Exit(0), "it serves no more");
    }
}

#[test]
fn only_root_is_answered() {
    let (temp, mut supervisor) = idle();
    let socket = temp.path().join("run/zones/zion").join(crate::apply::rundir::CONSOLE);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&socket).expect("a socket"));
    assert_eq!(mode & 0o777, 0o600);
    let mut ours = UnixStream::connect(Path::new(&socket)).expect("it listens");
    ours.write_all(b"\nzoneadmd 1 FROB\n").expect("sent");
    supervisor.request();
    let mut text = String::new();
    // Bytes that were not read reset the connection.
    let _ = ours.read_to_string(&mut text);
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(text.starts_with(REFUSED), is_root, "{text}");
}

#[test]
fn how_long_a_supervisor_waits() {
    let (_temp, mut supervisor) = idle();
    let second = Some(Duration::from_secs(1));
    assert_eq!(supervisor.poll_timeout(), second, "it looks at the clock, to end");
    supervisor.init = Some(init(None));
    assert_eq!(supervisor.poll_timeout(), None, "the zone runs");
    supervisor.init = Some(init(Some(Ended::Exit(0))));
    assert_eq!(supervisor.poll_timeout(), Some(Duration::from_millis(10)), "it waits for the lock");
    supervisor.init = None;
    let _client = ask(&mut supervisor, "\nzoneadmd 1 CONNECT 71 C 0\n");
    assert_eq!(supervisor.poll_timeout(), None, "a client watches");
    supervisor.console.drop_client();
    assert_eq!(supervisor.poll_timeout(), second);
}

/// The state in which a supervisor leaves itself and the files when its zone has ended.
#[derive(Debug, PartialEq, Eq)]
struct AfterEnd {
    /// Whether the supervisor serves on.
    stays: bool,
    /// Whether it waits for the lock.
    waits: bool,
    /// The names in the run-time folder; none when that is gone.
    files: Option<Vec<String>>,
    /// The text that the client of the console has read; none without a client.
    heard: Option<String>,
}

/// The end of a zone: how process 1 ended, what its record said by then, whether another process has the lock of the
/// zone, and what the client of the console wanted, if there is one.
struct ZoneEnd {
    by: i32,
    record: fn(Running) -> Option<Running>,
    locked: bool,
    client: Option<&'static str>,
}

/// The exit status of a supervisor that serves on without its zone.
const SERVES_STATUS: i32 = 3;
/// The exit status of a supervisor that waits for the lock.
const WAITS_STATUS: i32 = 4;

fn after(end: &ZoneEnd) -> AfterEnd {
    let (_temp, mut supervisor) = idle();
    let run = supervisor.root.zone_run(&supervisor.name);
    let store = FileStore::open(supervisor.root.clone());
    let lock = end.locked.then(|| store.try_lock(&supervisor.name, "a test").expect("a lock").expect("free"));
    let ours = end.client.map(|text| {
        let (ours, theirs) = UnixStream::pair().expect("a connection");
        supervisor.console.client = Some(crate::apply::console::client_from(text, theirs));
        ours
    });
    let Side::Parent(pid, _) = ns::fork().expect("a process") else {
        // The supervisor, which alone can wait for process 1.
        let Ok(Side::Parent(first, _)) = ns::fork() else {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        };
        let mut init = init(None);
        init.running.init = first;
        init.running.init_start = process::start_time(first).unwrap_or(0);
        init.handle = Handle::open(first).unwrap_or_else(|_| process::exit_now(10));
        for file in [crate::apply::rundir::SPEC, crate::apply::rundir::IMAGE, JOURNAL] {
            let _ = fs::write(run.join(file), "");
        }
        if let Some(record) = (end.record)(init.running.clone()) {
            let _ = write_record(&supervisor.root, &supervisor.name, &record);
        }
        let ended = init.handle.signal(end.by).is_ok() && init.handle.wait_gone(5000).is_ok_and(|gone| gone);
        supervisor.init = Some(init);
        if !ended {
            process::exit_now(11);
        }
        supervisor.init_has_ended();
        process::exit_now(if supervisor.init.is_some() { WAITS_STATUS } else { SERVES_STATUS })
    };
    drop(supervisor.console.client.take());
    let status = process::wait(pid).expect("it ends");
    drop(lock);
    let mut heard = ours.map(|mut ours| {
        let mut text = String::new();
        ours.read_to_string(&mut text).expect("text");
        text
    });
    if let Some(text) = &mut heard {
        *text = text.replace("\r\n", " ").trim().to_owned();
    }
    let files = fs::read_dir(&run).ok().map(|list| {
        let mut names: Vec<_> =
            list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    });
    let (stays, waits) = match status {
        Ended::Exit(0) => (false, false),
        Ended::Exit(SERVES_STATUS) => (true, false),
        Ended::Exit(WAITS_STATUS) => (true, true),
        other => panic!("{other:?}"),
    };
    AfterEnd { stays, waits, files, heard }
}

fn names(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_zone_that_has_ended_by_itself_is_taken_down() {
    for by in [libc::SIGINT, libc::SIGKILL, libc::SIGTERM] {
        let end = ZoneEnd { by, record: Some, locked: false, client: None };
        let wanted = AfterEnd { stays: false, waits: false, files: None, heard: None };
        assert_eq!(after(&end), wanted, "signal {by}");
        // A client keeps the console, unless it wanted to leave with the zone.
        let watched = ZoneEnd { client: Some("71 0"), ..end };
        let wanted = AfterEnd {
            stays: true,
            waits: false,
            files: names(&["console.sock"]),
            heard: Some("[NOTICE: Zone halted]".into()),
        };
        assert_eq!(after(&watched), wanted, "signal {by}");
        let leaving = ZoneEnd { client: Some("71 1"), ..watched };
        let heard = Some("[NOTICE: Zone halted.  Disconnecting...]".into());
        assert_eq!(
            after(&leaving),
            AfterEnd { stays: false, waits: false, files: None, heard },
            "signal {by}"
        );
    }
}

#[test]
fn a_zone_that_a_command_ends_is_left_to_it() {
    for (stop_reason, client, heard) in [
        (StopReason::Halt, None, None),
        (StopReason::Reboot, None, None),
        (StopReason::Halt, Some("71 0"), Some("[NOTICE: Zone halted]")),
        (StopReason::Reboot, Some("71 1"), Some("[NOTICE: Zone rebooting]")),
    ] {
        let record: fn(Running) -> Option<Running> = match stop_reason {
            StopReason::Halt => |r| Some(Running { stop_reason: Some(StopReason::Halt), ..r }),
            StopReason::Reboot => |r| Some(Running { stop_reason: Some(StopReason::Reboot), ..r }),
        };
        let end = ZoneEnd { by: libc::SIGKILL, record, locked: true, client };
        let wanted = AfterEnd {
            stays: client.is_some(),
            waits: false,
            files: names(&["console.sock", "image", "journal", "running", "spec.toml"]),
            heard: heard.map(str::to_owned),
        };
        assert_eq!(after(&end), wanted, "{stop_reason:?}");
    }
    // The command that had announced it has died: its lock is free.
    let halt = |r| Some(Running { stop_reason: Some(StopReason::Halt), ..r });
    let end = ZoneEnd { by: libc::SIGKILL, record: halt, locked: false, client: None };
    assert_eq!(after(&end), AfterEnd { stays: false, waits: false, files: None, heard: None });
}

#[test]
fn a_zone_waits_for_a_command_that_only_looks_at_it() {
    for record in [Some as fn(Running) -> Option<Running>, |_| None] {
        let end = ZoneEnd { by: libc::SIGINT, record, locked: true, client: Some("71 0") };
        let done = after(&end);
        assert!(done.stays && done.waits, "{done:?}");
        assert_eq!(done.heard.as_deref(), Some(""), "nothing has been decided");
        let files = done.files.expect("the folder stays");
        assert!(files.contains(&"spec.toml".to_owned()), "{files:?}");
    }
}

#[test]
fn a_reboot_that_fails_leaves_a_halted_zone() {
    // The zone has no spec any more, which is found as the first thing.
    let ends = [
        ZoneEnd { by: libc::SIGHUP, record: Some, locked: false, client: Some("71 0") },
        ZoneEnd {
            by: libc::SIGKILL,
            record: |r| Some(Running { stop_reason: Some(StopReason::Reboot), ..r }),
            locked: false,
            client: Some("71 0"),
        },
    ];
    for end in ends {
        let wanted = AfterEnd {
            stays: true,
            waits: false,
            files: names(&["console.sock"]),
            heard: Some("[NOTICE: Zone rebooting]  [NOTICE: Zone boot failed]".into()),
        };
        assert_eq!(after(&end), wanted, "signal {}", end.by);
        let alone = after(&ZoneEnd { client: None, ..end });
        assert_eq!(alone, AfterEnd { stays: false, waits: false, files: None, heard: None });
    }
    // A halt from inside is none, whatever the record of another zone says.
    let other = |r: Running| {
        let stop_reason = Some(StopReason::Reboot);
        Some(Running { init_start: r.init_start + 1, stop_reason, ..r })
    };
    let end = ZoneEnd { by: libc::SIGINT, record: other, locked: false, client: Some("71 0") };
    assert_eq!(after(&end).heard.as_deref(), Some("[NOTICE: Zone halted]"));
}

#[test]
fn lost_files_of_a_zone_are_restored() {
    let (_temp, mut supervisor) = idle();
    let run = supervisor.root.zone_run(&supervisor.name);
    fs::remove_dir_all(&run).expect("removed");
    supervisor.restore();
    assert!(run.join(crate::apply::rundir::CONSOLE).exists(), "the socket is there again");
    assert_eq!(record(&supervisor.root, &supervisor.name), None, "no zone runs");
    let init = init(None);
    let wanted = init.running.clone();
    supervisor.init = Some(init);
    supervisor.restore();
    assert_eq!(record(&supervisor.root, &supervisor.name).as_ref(), Some(&wanted));
    // A record that a command has written is not written over.
    let ready = Running { state: ZoneState::Ready, ..wanted };
    write_record(&supervisor.root, &supervisor.name, &ready).expect("written");
    supervisor.restore();
    assert_eq!(record(&supervisor.root, &supervisor.name), Some(ready));
    // The socket serves.
    let mut ours = UnixStream::connect(run.join(crate::apply::rundir::CONSOLE)).expect("it listens");
    ours.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    ours.write_all(b"\nzoneadmd 1 FROB\n").expect("sent");
    supervisor.request();
}
