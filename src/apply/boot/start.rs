//! The start of a zone: fork the supervisor, carry the plan out, report back.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::host::{self, Ready};
use super::{BootArgs, BootError, observe, with_default, zone};
use crate::apply::console::{Console, client};
use crate::apply::dataset::{self, record::Record, withdraw::Told};
use crate::apply::journal::Journal;
use crate::apply::net::Probe;
use crate::apply::paths::Root;
use crate::apply::rundir::{
    self, GUARD, JOURNAL, NEXT_BOOT, RECORD, RECORD_DRAFT, Running, SPEC, copy, init_file, make_run_dir,
    write_record,
};
use crate::apply::running::next_id;
use crate::apply::store::Locked;
use crate::apply::supervisor::{self, Supervisor};
use crate::apply::{Op, claim, engine, running};
use crate::plan::boot::{Facts, Plan, plan};
use crate::plan::dataset::Found;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::spec::toml;
use crate::sys::channel::Channel;
use crate::sys::ns::{Side, fork};
use crate::sys::path::reason;
use crate::sys::process;

/// Before what the supervisor tells besides success or failure.
const WARNING: &str = "WARNING: ";

/// How far a start goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Init waits.
    Ready,
    /// Init runs.
    Running,
}

/// A boot that is decided, and has asked on the wire who has the zone's addresses: the answers come while
/// the rest is done.
#[derive(Debug)]
pub struct Begun<'a> {
    /// What is done.
    pub plan: &'a Plan,
    /// What was observed.
    pub facts: &'a Facts,
    /// What was asked.
    pub asked: Probe,
    /// The text of the spec that it was decided from.
    pub spec: String,
    /// The zone's ids.
    pub ids: claim::Ids,
}

/// Starts a zone that the kernel does not know. The supervisor holds the lock as well, until the start has
/// succeeded or failed, whatever happens to this process.
///
/// # Errors
/// [`BootError`]; everything has been undone then.
pub fn start(op: &mut Op<'_>, args: &BootArgs, goal: Goal, lock: &Locked) -> Result<(), BootError> {
    let args = with_default(op, args);
    sweep(op.store.root(), op.name);
    if let Some(strays) = running::strays(op.store.root(), op.name) {
        return Err(BootError::Strays(strays));
    }
    let (facts, asked) = observe::facts_and_answers(op)?;
    let plan = plan(op.spec, &args, &facts)?;
    let ids = claim::Ids::of(op.store.id_map(op.name, op.spec)?, op.spec);
    let begun = Begun { plan: &plan, facts: &facts, asked, spec: toml::render(op.spec), ids };
    for text in &plan.warnings {
        op.out.warn(&format!("WARNING: {text}"));
    }
    let (ours, theirs) = Channel::pair().map_err(BootError::system("make a channel"))?;
    match fork().map_err(BootError::system("start the supervisor"))? {
        Side::Child => {
            drop(ours);
            supervise(op, &args, goal, begun, &theirs, lock)
        }
        Side::Parent(pid, _) => {
            drop(theirs);
            let answer = loop {
                let answer = ours.receive().map_err(BootError::system("hear the supervisor"))?;
                match answer.text.strip_prefix(WARNING) {
                    Some(_) => op.out.warn(&answer.text),
                    None => break answer,
                }
            };
            match answer.text.as_str() {
                "ok" => Ok(()),
                "" => {
                    // Killed in the middle. Whatever it made ends with it, unless init runs already; what is
                    // left is taken away now.
                    let _ = process::wait(pid);
                    match running::find(op.store.root(), op.name) {
                        Some(left) => super::halt::take_down(op, &left, running::Going::Halt)?,
                        None => clear(op.store.root(), op.name),
                    }
                    op.out.warn("zoneadmd ended before the zone was up; what it made has been undone");
                    Err(BootError::Call)
                }
                text => {
                    op.out.warn(text);
                    Err(BootError::Call)
                }
            }
        }
    }
}

/// The supervisor's life from the fork on.
fn supervise(
    op: &Op<'_>,
    args: &BootArgs,
    goal: Goal,
    begun: Begun<'_>,
    report: &Channel,
    lock: &Locked,
) -> ! {
    // A process of its own: no terminal, no folder, no session of the caller is kept.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    process::default_sigchld();
    // Process 1 of a ready zone waits with these open: a caller that reads until the end would wait too.
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    // A pipe of the caller's among them would not end for its reader as long as process 1 waits.
    let kept: Vec<_> = lock.descriptors().chain([report.as_fd().as_raw_fd()]).collect();
    let _ = process::close_all_but(&kept);
    let (root, name) = (op.store.root(), op.name);
    let tell = |text: &str| {
        // The one who asked may be gone; the console has it, too.
        let _ = report.send(&format!("{WARNING}{text}"), &[]);
    };
    match bring_up(root, name, args, goal, begun, &tell) {
        Ok(supervisor) => {
            lock.release();
            let sent = report.send("ok", &[]);
            drop(sent);
            supervisor.become_daemon()
        }
        Err(e) => {
            let _ = report.send(&e, &[]);
            lock.release();
            process::exit_now(1)
        }
    }
}

/// Brings a zone up in this process, which becomes its supervisor. `tell` hears what the administrator
/// should know.
///
/// # Errors
/// The reason as text; everything has been undone then.
pub fn bring_up(
    root: &Root,
    name: &ZoneName,
    args: &BootArgs,
    goal: Goal,
    begun: Begun<'_>,
    tell: &dyn Fn(&str),
) -> Result<Supervisor, String> {
    let dir = root.zone_run(name);
    make_run_dir(root, &dir).map_err(|e| format!("cannot make {}: {}", dir.shown(), reason(&e)))?;
    let mut console =
        Console::take_over_or_open(root, name).map_err(|e| format!("console: {}", reason(&e)))?;
    let line = args.line();
    if goal == Goal::Running {
        let with = if line.is_empty() { String::new() } else { format!(" with arguments: {line}") };
        let root = if args.writable { " with a writable root" } else { "" };
        console.notice(&format!("NOTICE: Zone booting up{root}{with}"));
    }
    for word in &args.ignored {
        console.notice(&format!("WARNING: Ignoring invalid boot arguments: {word}"));
    }
    let result = up(root, name, goal, begun, &console);
    match result {
        Ok((running, ready)) => {
            for text in &ready.told.warnings {
                console.notice(&format!("{WARNING}{text}"));
                tell(text);
            }
            if goal == Goal::Ready {
                console.notice("NOTICE: Zone readied");
            }
            Ok(Supervisor::new(root.clone(), name.clone(), console, running, ready))
        }
        Err(text) => {
            console.boot_failed();
            remove_run_files(root, name, console.has_client());
            if console.has_client() {
                // Somebody watches: the console stays, served by a process that does nothing else.
                supervisor::stay_for_client(root, name, console);
            }
            Err(text)
        }
    }
}

/// Carries the plan out, writes the record, and starts init when that is the goal.
///
/// # Errors
/// The reason as text; everything has been undone then.
pub fn up(
    root: &Root,
    name: &ZoneName,
    goal: Goal,
    begun: Begun<'_>,
    console: &Console,
) -> Result<(Running, Ready), String> {
    let dir = root.zone_run(name);
    let failed = |what: &str, e: io::Error| format!("{what}: {}", reason(&e));
    claim::claim(root, name, begun.ids).map_err(|e| e.to_string())?;
    let init = init_file(root).map_err(|e| failed("cannot store the built-in init", e))?;
    let mut journal =
        Journal::begin(&dir.join(JOURNAL)).map_err(|e| failed("cannot begin the journal", e))?;
    // The spec that was planned from: the saved one may be another by now.
    let kept =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join(SPEC));
    let kept = kept.and_then(|mut file| file.write_all(begun.spec.as_bytes()));
    kept.map_err(|e| failed("cannot keep the spec as booted", e))?;
    let facts = begun.facts;
    let ids = first_host_id(&facts.uid_map).zip(first_host_id(&facts.gid_map));
    let ids = ids.ok_or("the id map of the zone has no root")?;
    let (steps, asked) = (&begun.plan.steps, begun.asked);
    let work = host::Work { steps, asked, console: console.slave(), init: &init };
    let mut ready = host::make_ready(root, name, ids, work, &mut journal).map_err(|e| e.to_string())?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut running = Running {
        id: next_id(root).map_err(|e| failed("cannot number the zone", e))?,
        state: ZoneState::Ready,
        init: ready.pid,
        init_start: process::start_time(ready.pid).unwrap_or(0),
        supervisor: own,
        supervisor_start: process::start_time(own).unwrap_or(0),
        going: None,
        cgroup: facts.cgroup.as_ref().map(|p| p.to_string_lossy().into_owned()),
    };
    if goal == Goal::Running {
        running.state = ZoneState::Running;
    }
    if let Err(e) = note_datasets(root, name, facts, &ready.told) {
        // What the next boot could tell by it is not worth this one.
        ready.told.warnings.push(e.to_string());
    }
    // The record comes before init: whatever runs can be found. Were this process to die in
    // between, process 1 would end with its channel and the record would not be believed.
    let done = write_record(root, name, &running).map_err(|e| failed("cannot write the record", e));
    let done =
        done.and_then(|()| if goal == Goal::Running { start_init(&ready, zone::BOOT) } else { Ok(()) });
    if let Err(text) = done {
        let _ = ready.handle.signal(libc::SIGKILL);
        let _ = process::wait(ready.pid);
        return Err(engine::undo_all(&mut journal)
            .into_iter()
            .fold(text, |text, left| format!("{text}; {left}")));
    }
    Ok((running, ready))
}

/// Notes what the zone's datasets are like, for its next boot.
fn note_datasets(root: &Root, name: &ZoneName, facts: &Facts, told: &Told) -> Result<(), StoreError> {
    if facts.delegations.is_empty() {
        return Ok(());
    }
    let trees = facts.delegations.values().filter_map(|found| match found {
        Found::Filesystem(tree) => Some(&**tree),
        _ => None,
    });
    let now = Record::of(first_host_id(&facts.uid_map).unwrap_or_default(), trees, &told.not_given);
    dataset::record::note_boot(root, name, &now)
}

/// Tells process 1 to start init and waits until the exec has happened.
///
/// # Errors
/// The reason as text.
pub fn start_init(ready: &Ready, word: &str) -> Result<(), String> {
    ready.channel.send(word, &[]).map_err(|e| format!("process 1 has ended: {}", reason(&e)))?;
    // The channel closes on exec; a message instead of the end is a failure.
    let answer = ready.channel.receive().map_err(|e| format!("cannot hear process 1: {}", reason(&e)))?;
    if answer.text.is_empty() {
        return Ok(());
    }
    Err(answer.text.strip_prefix("error ").unwrap_or(&answer.text).to_owned())
}

/// Returns the host id of the zone's id 0, from the lines of a map.
pub fn first_host_id(map: &str) -> Option<u32> {
    map.lines().find_map(|l| {
        let mut fields = l.split_whitespace();
        (fields.next() == Some("0")).then(|| fields.next()?.parse().ok()).flatten()
    })
}

/// Removes what a crash has left of a zone that does not run. The caller holds the lock.
pub fn sweep(root: &Root, name: &ZoneName) {
    let dir = root.zone_run(name);
    let copy = copy::record(root, name);
    if !dir.is_dir() && (copy.is_none() || make_run_dir(root, &dir).is_err()) {
        return copy::remove(root, name);
    }
    if copy.is_some() {
        copy::put_back(root, name);
    }
    dataset::take_back(root, name);
    engine::recover(&dir.join(JOURNAL));
    if let Some(old) = running::record(root, name).or(copy).filter(|r| !r.is_alive()) {
        if let Some(cgroup) = old.cgroup {
            let _ = running::remove_cgroup(name.as_str(), Path::new(&cgroup));
        }
        let _ = fs::remove_file(dir.join(RECORD));
    }
    copy::remove(root, name);
}

/// Removes all that is left of a zone that does not run, but for the console while somebody serves it.
/// The caller holds the lock.
pub(super) fn clear(root: &Root, name: &ZoneName) {
    sweep(root, name);
    remove_run_files(root, name, client::is_listening(root, name));
}

/// Removes the files of a zone that runs no longer; with `keep_console`, all but the console's.
pub fn remove_run_files(root: &Root, name: &ZoneName, keep_console: bool) {
    let dir = root.zone_run(name);
    claim::release(root, name);
    for file in [RECORD, RECORD_DRAFT, JOURNAL, SPEC, NEXT_BOOT, GUARD] {
        let _ = fs::remove_file(dir.join(file));
    }
    copy::remove(root, name);
    if !keep_console {
        let _ = fs::remove_file(dir.join(rundir::CONSOLE));
        let _ = fs::remove_file(dir.join(rundir::WATCHED));
        let _ = fs::remove_dir(&dir);
    }
}
