//! The start of a zone: fork the supervisor, carry the plan out, report back.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::host::{self, Ready};
use super::{BootArgs, BootError, observe, with_default, zone};
use crate::apply::dataset::{self, record::Record, withdraw::Told};
use crate::apply::init_image::INIT;
use crate::apply::journal::{self, Journal};
use crate::apply::net::Probe;
use crate::apply::paths::Root;
use crate::apply::running::{RECORD, Running};
use crate::apply::store::Locked;
use crate::apply::supervisor::{self, Console, Supervisor};
use crate::apply::{Op, claim, found, guard, running, trust};
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
    if let Some(strays) = found::strays(op.store.root(), op.name) {
        return Err(BootError::Strays(strays));
    }
    let (facts, asked) = observe::facts_and_answers(op)?;
    let plan = plan(op.spec, &args, &facts)?;
    let ids = claim::Ids::of(op.store, op.name, op.spec)?;
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
        Journal::begin(&dir.join("journal")).map_err(|e| failed("cannot begin the journal", e))?;
    // The spec that was planned from: the saved one may be another by now.
    let kept = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(dir.join("spec.toml"));
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
        return Err(journal.undo_all().into_iter().fold(text, |text, left| format!("{text}; {left}")));
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

/// Makes the run-time folder of a zone. Everybody may look at the record in it, so that `list` says the
/// same to all; the socket is closed to others.
///
/// # Errors
/// The system's error.
pub fn make_run_dir(root: &Root, dir: &Path) -> io::Result<()> {
    if !root.run_dir().is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(root.run_dir())?;
    }
    match fs::DirBuilder::new().mode(0o711).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    // What is read here is believed, and what is written here follows links.
    for dir in [&root.run_dir(), dir] {
        let meta = fs::symlink_metadata(dir)?;
        if !meta.is_dir() || !trust::is_trusted(&meta, 0o022) {
            let text = format!("{} is not a directory that only root can write to", dir.shown());
            return Err(io::Error::other(text));
        }
    }
    Ok(())
}

/// Stores the built-in init once for all zones and returns its path.
fn init_file(root: &Root) -> io::Result<PathBuf> {
    let path = root.run_dir().join(".init");
    let whole = fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.len() == INIT.len() as u64);
    // The same length may still be another version; comparing costs less than it risks.
    if whole && fs::read(&path).is_ok_and(|bytes| bytes == INIT) {
        return Ok(path);
    }
    let beside = root.run_dir().join(format!(".init.{}", std::process::id()));
    fs::write(&beside, INIT)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
    fs::rename(&beside, &path)?;
    Ok(path)
}

/// Writes the record of a zone whole or not at all; where there is no room for another file, over the
/// one that is there. What is kept of it elsewhere follows.
///
/// # Errors
/// The system's error.
pub fn write_record(root: &Root, name: &ZoneName, running: &Running) -> io::Result<()> {
    let done = write_record_only(root, name, running);
    found::keep(root, name, running);
    done
}

/// The same without what is kept of it elsewhere.
///
/// # Errors
/// The system's error.
pub(super) fn write_record_only(root: &Root, name: &ZoneName, running: &Running) -> io::Result<()> {
    replace_record(&root.zone_run(name).join(RECORD), &running.to_string())
}

/// Makes a record, replaces it, or writes over it on a full file system.
///
/// # Errors
/// The system's error.
pub fn replace_record(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    match options.write(true).create_new(true).open(path) {
        // By one call: whoever reads meanwhile finds no record, or all of it.
        Ok(mut file) => {
            return file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path)));
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let beside = path.with_extension("new");
    let done = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    let Err(error) = done else { return Ok(()) };
    let _ = fs::remove_file(&beside);
    if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Err(error);
    }
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    // The record is written by one call, so that a reader sees the old words or the new ones, and blanks after them.
    let old = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(4096);
    io::Write::write_all(&mut file, format!("{text:old$}").as_bytes())
}

/// Keeps the arguments of a boot that the supervisor makes when the zone has ended, where they are given.
///
/// # Errors
/// The system's error.
pub(super) fn keep_args(root: &Root, name: &ZoneName, args: Option<&BootArgs>) -> io::Result<()> {
    let path = root.zone_run(name).join(NEXT_BOOT);
    match args.filter(|args| **args != BootArgs::default()) {
        Some(args) => replace_record(&path, &args.kept()),
        None => match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        },
    }
}

/// Returns the arguments that were kept, none when there are none.
pub fn kept_args(root: &Root, name: &ZoneName) -> Option<BootArgs> {
    let text = fs::read_to_string(root.zone_run(name).join(NEXT_BOOT)).ok()?;
    Some(BootArgs::from_kept(&text))
}

/// File that holds the arguments of the boot after a shutdown.
const NEXT_BOOT: &str = "next-boot";

/// Gives the next zone id, 1 to 9999, that no running zone has.
///
/// # Errors
/// The system's error.
pub fn next_id(root: &Root) -> io::Result<u32> {
    let path = root.run_dir().join(".next-id");
    let file = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
    file.lock()?;
    let text = io::read_to_string(&file)?;
    // Until the numbers have come round once, the next one is free. A file that is new, cut short or
    // foreign tells nothing about that.
    let last = text.trim_end().parse::<u32>().ok().filter(|n| *n < MAX_ID);
    let mut used = Vec::new();
    let mut id = last.map_or_else(|| after(first_number(&text)), |n| n + 1);
    if last.is_none() {
        used.extend(running::all(root).into_iter().map(|(_, r)| r.id));
        while used.contains(&id) {
            id = after(id);
        }
    }
    fs::write(&path, if used.is_empty() { format!("{id}\n") } else { format!("{id} {WRAPPED}\n") })?;
    Ok(id)
}

/// Highest number of a zone.
const MAX_ID: u32 = 9999;

/// Stands after the last number once a number may be in use.
const WRAPPED: &str = "wrapped";

fn first_number(text: &str) -> u32 {
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn after(id: u32) -> u32 {
    if id >= MAX_ID { 1 } else { id + 1 }
}

/// Removes what a crash has left of a zone that does not run. The caller holds the lock.
pub fn sweep(root: &Root, name: &ZoneName) {
    let dir = root.zone_run(name);
    let copy = found::copy_of_record(root, name);
    if !dir.is_dir() && (copy.is_none() || make_run_dir(root, &dir).is_err()) {
        return found::forget(root, name);
    }
    if copy.is_some() {
        found::put_files_back(root, name);
    }
    dataset::take_back(root, name);
    journal::recover(&dir.join("journal"));
    if let Some(old) = running::record(root, name).or(copy).filter(|r| !r.is_alive()) {
        if let Some(cgroup) = old.cgroup {
            let _ = running::remove_cgroup(name.as_str(), Path::new(&cgroup));
        }
        let _ = fs::remove_file(dir.join(RECORD));
    }
    found::forget(root, name);
}

/// Removes all that is left of a zone that does not run, but for the console while somebody serves it.
/// The caller holds the lock.
pub(super) fn clear(root: &Root, name: &ZoneName) {
    sweep(root, name);
    remove_run_files(root, name, supervisor::client::is_listening(root, name));
}

/// Removes the files of a zone that runs no longer; with `keep_console`, all but the console's.
pub fn remove_run_files(root: &Root, name: &ZoneName, keep_console: bool) {
    let dir = root.zone_run(name);
    claim::release(root, name);
    for file in [RECORD, "running.new", "journal", "spec.toml", NEXT_BOOT, guard::SOCKET] {
        let _ = fs::remove_file(dir.join(file));
    }
    found::forget(root, name);
    if !keep_console {
        let _ = fs::remove_file(dir.join(supervisor::SOCKET));
        let _ = fs::remove_file(dir.join(supervisor::console::WATCHED));
        let _ = fs::remove_dir(&dir);
    }
}
