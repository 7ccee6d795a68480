//! `zoneadmd`: the supervisor of one zone. It keeps the console, notices the end of the zone, boots
//! it again when it asked for that, and otherwise does nothing.
//!
//! A command that stops a zone says so in its record first. The supervisor takes the zone down itself only when the
//! record says nothing: then the zone ended from inside.
//!
//! ```text
//!  zoneadm ──fork──> supervisor ──clone──> process 1 of the zone
//!     │  plan, lock     │  host's steps        │  steps inside
//!     │                 │ <────── ready ────── │
//!     │                 │ ─────── boot ──────> │ exec init
//!     │ <───── ok ───── │
//!     exit              exec zoneadmd
//! ```
//!
//! The supervisor is a copy of `zoneadm` until the zone runs: nothing is executed on the way to
//! init. Afterwards it becomes `zoneadmd`, small and with a name of its own, and keeps the console.
//! Halting needs no supervisor: the kernel ends everything with process 1.
//!
//! A single socket serves all of them. The first line that is not blank is the request of a connection, after the name
//! and version of the protocol ([`super::protocol`]): `HANDOVER` (a new supervisor takes socket and client over), `BOOT
//! ARGS` (start init of a ready zone), or `CONNECT PID LOCALE FLAG` (a client of the console; with flag 1 it leaves
//! when the zone halts). It is answered with a line, `OK`, `BUSY PID` or `ERROR TEXT`; any other request is refused.

mod daemon;
mod error;
pub mod start;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::PollFlags;

pub use daemon::{resume, start_alone};
use error::{RebootError, StartInitError};

use super::boot::host::ReadyZone;
use super::boot::start::{Begun, Goal, start_init, up};
use super::boot::{BootArgs, observe, with_default};
use super::console::Console;
use super::console::client::REFUSED;
use super::dataset::{self, withdraw::HandoverReport};
use super::guard::{self, Guard};
use super::helper::Watch;
use super::net::follow::Follow;
use super::net::{PortRemoval, ProgramsAhead};
use super::paths::Root;
use super::protocol::{ProtocolError, SUPERVISOR, VersionedRequest};
use super::rundir::{
    GUARD, JOURNAL, Running, StopReason, copy, kept_args, make_run_dir, record, record_as_written,
    write_record,
};
use super::running;
use super::store::{FileStore, Locked};
use super::teardown::{remove_files, remove_run_files};
use super::{NO_ZFS_FACTS, Notice, Op, claim, engine};
use crate::plan::boot::plan;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::spec::toml;
use crate::sys::channel::Channel;
use crate::sys::path::reason;
use crate::sys::poll::PollSet;
use crate::sys::process::{self, Ended, Handle};
use crate::sys::tty::Signals;

/// How long a supervisor without zone and client waits for one, in seconds.
const IDLE_SECONDS: u64 = 10;

/// The process that the supervisor watches.
#[derive(Debug)]
struct InitProcess {
    running: Running,
    handle: Handle,
    /// Open while the zone is ready.
    channel: Option<Channel>,
    /// Set once the process has ended and the take-down waits for the lock.
    ended: Option<Ended>,
}

/// A descriptor that the supervisor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polled {
    /// The socket, for requests.
    Listener,
    /// The console's terminal.
    Terminal,
    /// Process 1: readable once that has ended.
    Init,
    /// The client of the console.
    Client,
    /// The guard.
    Guard,
    /// The signal to restore files.
    Restore,
    /// Changes of the host's links.
    Links,
}

/// The supervisor of one zone.
#[derive(Debug)]
pub struct Supervisor {
    root: Root,
    name: ZoneName,
    console: Console,
    init: Option<InitProcess>,
    idle: Option<Instant>,
    /// The zone's guard, when it has delegated datasets.
    guard: Option<Watch>,
    /// The host's links that the zone uses.
    links: Option<Follow>,
    /// Where [`RESTORE`](super::console::RESTORE) arrives.
    restores: Option<Signals>,
}

impl Supervisor {
    /// Returns the supervisor of a zone that has just been brought up.
    pub fn new(root: Root, name: ZoneName, console: Console, running: Running, ready: ReadyZone) -> Self {
        let channel = (running.state == ZoneState::Ready).then_some(ready.channel);
        let init = InitProcess { running, handle: ready.handle, channel, ended: None };
        Self { root, name, console, init: Some(init), idle: None, guard: None, links: None, restores: None }
    }

    /// Serves until the zone has ended and no client watches. Never returns.
    pub fn serve(mut self) -> ! {
        self.restores = Signals::take(&[Signal::SIGHUP]).ok();
        self.watch_guard();
        self.follow_links();
        loop {
            if self.init.is_none() && !self.console.has_client() {
                let since = *self.idle.get_or_insert_with(Instant::now);
                // While the lock is taken another command works on the zone, and may want this console.
                if since.elapsed() >= Duration::from_secs(IDLE_SECONDS)
                    && let Ok(Some(lock)) =
                        FileStore::open(self.root.clone()).try_lock(&self.name, "zoneadmd")
                {
                    self.leave(lock);
                }
            } else {
                self.idle = None;
            }
            self.wait_once();
        }
    }

    /// Ends the supervisor and removes its files. The lock ends with the process and not before: a boot
    /// must not find the folder half gone.
    fn leave(&self, lock: Locked) -> ! {
        // The zone's ids are released already: that comes before the removal of its record.
        copy::remove(&self.root, &self.name);
        remove_files(&self.root, &self.name, false);
        if lock.state().is_ok_and(|state| state.is_none()) {
            lock.forget();
        }
        process::exit_now(0)
    }

    /// Returns the descriptors that the supervisor waits for, and the events that it can react to now.
    fn poll_set(&self) -> PollSet<'_, Polled> {
        let mut set = PollSet::new();
        set.add(Polled::Listener, self.console.listener.as_fd(), PollFlags::IN);
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.console.may_read_output());
        wanted.set(PollFlags::OUT, !self.console.typed.is_empty());
        set.add(Polled::Terminal, self.console.master.as_fd(), wanted);
        if let Some(init) = self.init.as_ref().filter(|i| i.ended.is_none()) {
            set.add(Polled::Init, init.handle.as_fd(), PollFlags::IN);
        }
        if let Some(client) = &self.console.client {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, self.console.may_read_input());
            wanted.set(PollFlags::OUT, !client.pending.is_empty());
            set.add(Polled::Client, client.stream.as_fd(), wanted);
        }
        if let Some(guard) = &self.guard {
            set.add(Polled::Guard, guard.as_fd(), PollFlags::IN);
        }
        if let Some(restores) = &self.restores {
            set.add(Polled::Restore, restores.as_fd(), PollFlags::IN);
        }
        if let Some(links) = &self.links {
            set.add(Polled::Links, links.as_fd(), PollFlags::IN);
        }
        set
    }

    /// Returns how long the supervisor waits when nothing happens; none for ever.
    fn poll_timeout(&self) -> Option<Duration> {
        // A take-down that waits for the lock tries again soon; an idle supervisor looks at the clock.
        let own = match &self.init {
            Some(init) if init.ended.is_some() => Some(Duration::from_millis(10)),
            None if !self.console.has_client() => Some(Duration::from_secs(1)),
            _ => None,
        };
        own.into_iter().chain(self.console.throttled_for()).min()
    }

    fn wait_once(&mut self) {
        let waits = self.init.as_ref().is_some_and(|i| i.ended.is_some());
        // A descriptor that was not ready is asked for again in the next round.
        let events = self.poll_set().wait(self.poll_timeout());
        let (output, client) = (events.of(Polled::Terminal), events.of(Polled::Client));
        if output.intersects(PollFlags::IN | PollFlags::HUP) {
            self.console.pump_out();
        }
        if output.contains(PollFlags::OUT) {
            self.console.flush_in();
        }
        let gone = PollFlags::HUP | PollFlags::ERR;
        if client.contains(PollFlags::OUT) && !self.console.flush_out() {
            self.console.drop_client();
        }
        if client.intersects(PollFlags::IN | gone) && !self.console.pump_in() {
            self.console.drop_client();
        }
        if events.any(Polled::Init) {
            self.init_has_ended();
        } else if waits {
            self.take_down();
        }
        if events.any(Polled::Guard) && !self.guard.as_mut().is_some_and(Watch::take) {
            self.guard_has_ended();
        }
        if events.any(Polled::Links) {
            self.turn_links();
        }
        if events.any(Polled::Listener) {
            self.request();
        }
        if events.any(Polled::Restore) && self.restores.as_ref().and_then(Signals::next).is_some() {
            self.restore();
        }
    }

    /// Restores missing parts of the run-time folder: the sockets, and the record, unless the command that asked for
    /// it has written that.
    fn restore(&mut self) {
        let done = self.console.listen_again(&self.root, &self.name);
        if let Err(e) = done {
            log(&self.name, &format!("cannot serve the console's socket again: {}", reason(&e)));
        }
        let Some(running) = self.init.as_ref().map(|i| i.running.clone()) else { return };
        if record(&self.root, &self.name).is_none()
            && let Err(e) = write_record(&self.root, &self.name, &running)
        {
            log(&self.name, &format!("cannot write the record of the zone: {}", reason(&e)));
        }
        if !self.root.zone_run(&self.name).join(GUARD).exists() {
            self.guard = match self.guard.take() {
                Some(watch) => watch.replace::<Guard>(&self.root, &self.name, running.init),
                None => guard::watch(&self.root, &self.name, running.init, log),
            };
        }
    }

    /// Holds the descriptors that the guard of the running zone needs, together with the guard.
    fn watch_guard(&mut self) {
        let Some(init) = self.init.as_ref().map(|i| i.running.init) else { return };
        if self.guard.is_none() {
            self.guard = guard::watch(&self.root, &self.name, init, log);
        }
    }

    /// Follows the host's links that the running zone uses.
    fn follow_links(&mut self) {
        let Some(init) = self.init.as_ref().map(|i| i.running.init) else { return };
        match Follow::begin(&self.root, &self.name, init) {
            Ok(links) => self.links = links,
            Err(e) => log(&self.name, &format!("the host's links are not followed: {e}")),
        }
        self.turn_links();
    }

    fn turn_links(&mut self) {
        for error in self.links.as_mut().map(Follow::turn).unwrap_or_default() {
            log(&self.name, &error);
        }
    }

    fn guard_has_ended(&mut self) {
        let lives = self.init.as_ref().filter(|i| i.ended.is_none()).map(|i| i.running.init);
        self.guard = match (self.guard.take(), lives) {
            (Some(watch), Some(init)) => watch.replace::<Guard>(&self.root, &self.name, init),
            _ => None,
        };
    }

    fn request(&mut self) {
        let Ok((stream, _)) = self.console.listener.accept() else { return };
        // The folder is closed to others; this holds even if its mode is changed.
        let is_root = rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|c| c.uid.is_root());
        if !is_root || stream.set_read_timeout(Some(Duration::from_secs(1))).is_err() {
            return;
        }
        self.answer(stream);
    }

    /// Answers the request that comes over a connection.
    fn answer(&mut self, stream: UnixStream) {
        let Some(line) = read_request(&stream) else { return };
        log::debug!("asked: {line}");
        let request = match SUPERVISOR.parse(&line) {
            Ok(request) => request,
            Err(why) => return refuse(stream, &why),
        };
        let is_former = matches!(request, VersionedRequest::Former(_));
        let mut words = request.words().split_whitespace();
        match words.next() {
            None => {}
            Some("HANDOVER") => self.hand_over(stream),
            Some("BOOT") => {
                self.boot(stream, request.words().strip_prefix("BOOT").unwrap_or_default(), is_former);
            }
            Some("CONNECT") => {
                let pid = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
                let leaves = words.nth(1) == Some("1");
                self.console.connect(stream, pid, leaves, is_former);
            }
            Some(_) => refuse(stream, &SUPERVISOR.unknown(request.words())),
        }
    }

    fn hand_over(&mut self, stream: UnixStream) {
        let channel = Channel::from_fd(stream.into());
        if self.init.as_ref().is_some_and(|i| i.ended.is_none()) {
            let _ = channel.send(&format!("{REFUSED}the zone runs"), &[]);
            return;
        }
        let mut fds = vec![self.console.listener.as_fd()];
        fds.extend(self.console.client.as_ref().map(|c| c.stream.as_fd()));
        if channel.send(&self.console.client_text(), &fds).is_ok() {
            process::exit_now(0);
        }
    }

    /// Answers a request to start init of the zone, which is to be ready.
    fn boot(&mut self, mut stream: UnixStream, args: &str, is_former: bool) {
        let word = if is_former { "" } else { REFUSED };
        let answer = self.start_init(args).map_or_else(|e| format!("{word}{e}"), |()| "OK".into());
        let _ = stream.write_all(format!("{}\n", answer.replace('\n', " ")).as_bytes());
    }

    fn start_init(&mut self, args: &str) -> Result<(), StartInitError> {
        let Some(init) = self.init.as_mut() else { return Err(StartInitError::NotReady) };
        let Some(channel) = init.channel.take() else { return Err(StartInitError::Booted) };
        let args = BootArgs::parse(args);
        let line = args.line();
        let with = if line.is_empty() { String::new() } else { format!(" with arguments: {line}") };
        self.console.notice(&format!("NOTICE: Zone booting up{with}"));
        let word = super::boot::zone::boot_word(&args);
        let handle = Handle::open(init.running.init)?;
        let ready = ReadyZone { pid: init.running.init, handle, channel, report: HandoverReport::default() };
        init.running.state = ZoneState::Running;
        write_record(&self.root, &self.name, &init.running)?;
        start_init(&ready, &word, || {}).inspect_err(|_| self.console.boot_failed())?;
        Ok(())
    }

    fn init_has_ended(&mut self) {
        let Some(init) = self.init.as_mut() else { return };
        // Without a status (the zone was taken over from another supervisor) it counts as halted.
        init.ended = Some(process::reap(init.running.init).unwrap_or(Ended::Signal(libc::SIGINT)));
        self.take_down();
    }

    /// Takes the ended zone down, unless the command that ended it does so or the lock is taken just now.
    fn take_down(&mut self) {
        let Some(init) = self.init.as_ref() else { return };
        let Some(ended) = init.ended else { return };
        let is_ours = |r: &Running| r.init == init.running.init && r.init_start == init.running.init_start;
        let store = FileStore::open(self.root.clone());
        let lock = store.try_lock(&self.name, "zoneadmd, which takes the zone down").ok().flatten();
        // A killed zone was ended by the command that had announced it, even if that died right then.
        let killed = ended == Ended::Signal(libc::SIGKILL);
        let mut ours =
            if killed { record_as_written(&self.root, &self.name) } else { record(&self.root, &self.name) };
        ours = ours.filter(is_ours);
        if ours.is_none() {
            ours = copy::record(&self.root, &self.name).filter(is_ours);
            // Nothing shows whether the process that has the lock ends the zone or only looks at it.
            if ours.is_none() && lock.is_none() {
                return;
            }
            // A command that takes a zone down removes the copy of its record, and its cgroup, as well.
            let left =
                || init.running.cgroup.as_ref().is_some_and(|path| std::path::Path::new(path).exists());
            ours = ours.or_else(|| left().then(|| init.running.clone()));
            if ours.is_some()
                && lock.is_some()
                && make_run_dir(&self.root, &self.root.zone_run(&self.name)).is_ok()
            {
                copy::put_back(&self.root, &self.name);
            }
        }
        let asked = ours.as_ref().and_then(|r| r.stop_reason);
        let elsewhere = match ours {
            None => Some(StopReason::Halt),
            // The command that said so holds the lock until all is removed. If the lock is free, that command has
            // died.
            Some(_) => asked.filter(|_| lock.is_none()),
        };
        if let Some(reason) = elsewhere {
            (self.init, self.links) = (None, None);
            match reason {
                StopReason::Reboot => self.console.notice("NOTICE: Zone rebooting"),
                StopReason::Halt => self.console.last_notice("NOTICE: Zone halted"),
            }
            if !self.console.has_client() {
                // zoneadm waits for this, removes the rest, and opens a new socket if it boots again.
                process::exit_now(0);
            }
            return;
        }
        let Some(lock) = lock else { return };
        let again = asked.map_or(ended == Ended::Signal(libc::SIGHUP), |reason| reason == StopReason::Reboot);
        // A shutdown for which zoneadm waits no longer has kept its arguments.
        let args = asked.and_then(|_| kept_args(&self.root, &self.name));
        let cgroup = init.running.cgroup.clone();
        (self.init, self.guard, self.links) = (None, None, None);
        let mut errors = dataset::take_back(&self.root, &self.name);
        errors.extend(engine::recover(&self.root.zone_run(&self.name).join(JOURNAL), PortRemoval::Awaited));
        for error in errors {
            log(&self.name, &error);
        }
        if let Some(path) = cgroup {
            let _ = running::remove_cgroup(self.name.as_str(), std::path::Path::new(&path));
        }
        remove_run_files(&self.root, &self.name, true);
        // In a pid namespace, reboot(2) ends process 1 by SIGHUP, and halt and power-off by SIGINT.
        if again {
            self.console.notice("NOTICE: Zone rebooting");
            match self.reboot(&store, &lock, args) {
                Ok(()) => drop(lock),
                Err(e) => {
                    log(&self.name, &e.to_string());
                    self.console.boot_failed();
                    remove_run_files(&self.root, &self.name, true);
                    if !self.console.has_client() {
                        self.leave(lock);
                    }
                }
            }
            return;
        }
        self.console.last_notice("NOTICE: Zone halted");
        if !self.console.has_client() {
            self.leave(lock);
        }
    }

    /// Boots the zone again, in this process, with its saved spec, and with arguments or those of the spec.
    fn reboot(
        &mut self,
        store: &FileStore,
        lock: &Locked,
        args: Option<BootArgs>,
    ) -> Result<(), RebootError> {
        let spec = lock.spec()?.ok_or(StoreError::NoZone)?;
        let mut out = SystemLog(&self.name);
        let op = Op::under(lock, store, &spec, &NO_ZFS_FACTS, &mut out);
        let args = with_default(&op, &args.unwrap_or_default());
        let (facts, asked) = observe::facts_and_answers(&op)?;
        let plan = plan(&spec, &args, &facts)?;
        let ids = claim::ClaimedIds::of(store.id_map(&self.name, &spec)?, &spec);
        let ahead = ProgramsAhead::default();
        let begun = Begun { plan: &plan, facts: &facts, asked, ahead, spec: toml::render(&spec), ids };
        let (running, ready) = up(&self.root, &self.name, Goal::Running, begun, &self.console)?;
        for text in plan.warnings.iter().chain(&ready.report.warnings) {
            log(&self.name, &format!("WARNING: {text}"));
            self.console.notice(&format!("WARNING: {text}"));
        }
        self.init = Some(InitProcess { running, handle: ready.handle, channel: None, ended: None });
        self.watch_guard();
        self.follow_links();
        Ok(())
    }
}

/// Serves the console of a zone whose boot failed, for its client, in a process of its own.
pub fn stay_for_client(root: &Root, name: &ZoneName, console: Console) {
    if let Ok(crate::sys::ns::Side::Child) = crate::sys::ns::fork() {
        // Every other descriptor of the failed boot is closed, the caller's lock among them.
        let (root, name) = (root.clone(), name.clone());
        Supervisor { root, name, console, init: None, idle: None, guard: None, links: None, restores: None }
            .become_daemon();
    }
}

/// Reads a request; none when there is none. The blank line before it is for supervisors that know no other way to
/// say that they do not understand.
fn read_request(stream: &UnixStream) -> Option<String> {
    // The reader takes one byte at a time, because the bytes after the line belong to the console.
    let mut reader = BufReader::with_capacity(1, stream.take(8192));
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    if line == "\n" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    Some(line.trim_end().to_owned())
}

/// Refuses a request, whatever release it is of.
fn refuse(mut stream: UnixStream, why: &ProtocolError) {
    let _ = stream.write_all(format!("{REFUSED}{why}\n").as_bytes());
}

/// Messages without a receiver go here: to the system log.
struct SystemLog<'a>(&'a ZoneName);

impl Notice for SystemLog<'_> {
    fn say(&mut self, text: &str) {
        log(self.0, text);
    }
    fn warn(&mut self, text: &str) {
        log(self.0, text);
    }
    fn progress(&mut self, _: u64, _: u64, _: &str) {}
}

/// Writes a line to the system log, where there is one (syslog(3), facility daemon, level error).
fn log(name: &ZoneName, text: &str) {
    let line = format!("<27>zoneadmd: [zone '{name}'] {}", text.shown());
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

#[cfg(test)]
mod tests;
