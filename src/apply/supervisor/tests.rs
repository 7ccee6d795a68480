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
