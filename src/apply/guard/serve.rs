//! The guard's loop: requests in, workers out.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::caller::{Identity, Status, identity};
use super::work::GuardJob;
use crate::apply::helper::{Arrived, Helper, HelperSocket, HelperState, Serve};
use crate::apply::logfile::LogFile;
use crate::apply::paths::Root;
use crate::apply::rundir::image::{self, ImageStamp};
use crate::apply::running;
use crate::guard::Locks;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::sys::cgroup;
use crate::sys::channel::Channel;
use crate::sys::made;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::process::{self, Handle};
use crate::sys::seccomp::{Listener, Waiting};

/// Workers at once.
const WORKERS: usize = 64;

/// Workers at once for one user of the zone, and for all of them, but its root: they cannot use up what
/// root needs. A worker that reads memory which never comes cannot even be killed.
const WORKERS_OF_USER: usize = 16;
const WORKERS_OF_USERS: usize = 48;

/// How often workers are looked at whose callers may have died.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// A request that waits for a worker.
struct Queued {
    listener: Rc<Listener>,
    waiting: Waiting,
    caller: Result<Status, String>,
}

impl Queued {
    /// Returns the user whose share of the workers it takes; `u32::MAX` when the caller is gone.
    fn user(&self) -> u32 {
        self.caller.as_ref().map_or(u32::MAX, Status::user)
    }
}

/// A worker.
struct Worker {
    pid: i32,
    handle: Handle,
    of: Queued,
}

/// The guard of one zone.
pub struct Guard {
    root: Root,
    name: ZoneName,
    locks: Locks,
    /// Which image of the zone they are of.
    image: Option<ImageStamp>,
    users: Identity,
    /// User id of the zone's root, on the host.
    zone_root: u32,
    /// The zone's first process.
    pid: i32,
    init: Handle,
    /// The zone's folder of cgroup v2.
    cgroup: Option<PathBuf>,
    socket: HelperSocket,
    listeners: Vec<Rc<Listener>>,
    queue: VecDeque<Queued>,
    workers: Vec<Worker>,
    /// Both ends of the channel by which workers report.
    reports: (Channel, Channel),
    log: LogFile,
}

impl Serve for Guard {
    const HELPER: Helper = super::HELPER;

    fn new(root: &Root, name: &ZoneName, state: HelperState) -> io::Result<Self> {
        let HelperState { pid, init, socket, held } = state;
        process::reset_signals();
        process::hide();
        let users = identity(&File::open(format!("/proc/{pid}/ns/user"))?)?;
        let zone_root = zone_root(pid).unwrap_or(0);
        if init.wait_gone(0)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut log = LogFile::new(root.zone_lib(name));
        // The stamp is taken before the image is read, so that an image which replaces it meanwhile is seen as another.
        let stamp = image::stamp(root, name);
        let locks = read_locks(root, name, pid, &mut log);
        let reports = Channel::pair()?;
        rustix::io::ioctl_fionbio(reports.1.as_fd(), true)?;
        // The descriptors of many listeners.
        let _ = process::raise_descriptor_limit();
        Ok(Self {
            cgroup: running::record(root, name).and_then(|r| r.cgroup).map(PathBuf::from),
            root: root.clone(),
            name: name.clone(),
            locks,
            image: stamp,
            users,
            zone_root,
            pid,
            init,
            socket,
            listeners: held.into_iter().map(|fd| Rc::new(Listener::from_fd(fd))).collect(),
            queue: VecDeque::new(),
            workers: Vec::new(),
            reports,
            log,
        })
    }

    fn serve(mut self) -> ! {
        loop {
            self.start_workers();
            self.wait_once();
        }
    }

    fn log(name: &ZoneName, text: &str) {
        log_line(name, text);
    }
}

impl Guard {
    fn wait_once(&mut self) {
        fn entry(fd: BorrowedFd<'_>) -> PollFd<'_> {
            PollFd::from_borrowed_fd(fd, PollFlags::IN)
        }
        let mut fds =
            vec![entry(self.init.as_fd()), entry(self.socket.as_fd()), entry(self.reports.0.as_fd())];
        fds.extend(self.listeners.iter().map(|l| entry(l.as_fd())));
        fds.extend(self.workers.iter().map(|w| entry(w.handle.as_fd())));
        fds.extend(self.socket.keepers().iter().map(|k| entry(k.as_fd())));
        let timeout = (!self.workers.is_empty()).then_some(LOOK);
        let quiet = matches!(poll(&mut fds, timeout.as_ref()), Ok(0));
        let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let (mut listeners, mut workers) = (self.listeners.len(), self.workers.len());
        let mut seen = seen.into_iter();
        let mut next = || seen.next().unwrap_or(PollFlags::empty());
        if !next().is_empty() {
            // The first process has ended, and the kernel has ended all others before it.
            process::exit_now(0);
        }
        let (connection, report) = (!next().is_empty(), !next().is_empty());
        // From behind, so that a removal does not move the elements that are still to be looked at.
        let flags: Vec<PollFlags> = (0..listeners).map(|_| next()).collect();
        let ended: Vec<bool> = (0..workers).map(|_| !next().is_empty()).collect();
        let hung_up: Vec<bool> = (0..self.socket.keepers().len()).map(|_| !next().is_empty()).collect();
        while workers > 0 {
            workers -= 1;
            if ended[workers] {
                let worker = self.workers.swap_remove(workers);
                self.has_ended(&worker);
            }
        }
        while listeners > 0 {
            listeners -= 1;
            if flags[listeners].contains(PollFlags::IN) {
                self.take_up(listeners);
            } else if !flags[listeners].is_empty() {
                // No process is left that could ask.
                self.listeners.swap_remove(listeners);
            }
        }
        self.socket.forget_keepers(hung_up.into_iter());
        if report && let Ok(message) = self.reports.0.receive() {
            self.note(&message.text);
        }
        if connection {
            self.connection();
        }
        if quiet {
            self.end_orphans();
        }
    }

    fn take_up(&mut self, number: usize) {
        let listener = self.listeners[number].clone();
        match listener.receive() {
            Ok(Some(waiting)) => {
                let caller = Status::read(waiting.thread).map_err(|e| e.to_string());
                self.queue.push_back(Queued { listener, waiting, caller });
            }
            Ok(None) => {}
            Err(e) => {
                self.listeners.swap_remove(number);
                self.note(&format!("a listener is given up: {e}"));
            }
        }
    }

    /// Reads the image again when a running zone has got another one. One that is gone changes nothing: a run-time folder
    /// that somebody removed comes back.
    fn follow_image(&mut self) {
        let stamp = image::stamp(&self.root, &self.name);
        if stamp.is_some() && stamp != self.image {
            self.image = stamp;
            self.locks = read_locks(&self.root, &self.name, self.pid, &mut self.log);
        }
    }

    /// Starts as many workers as there is room for.
    fn start_workers(&mut self) {
        if !self.queue.is_empty() {
            self.follow_image();
        }
        let mut at = 0;
        while self.workers.len() < WORKERS && at < self.queue.len() {
            let user = self.queue[at].user();
            let busy = |of: &dyn Fn(u32) -> bool| self.workers.iter().filter(|w| of(w.of.user())).count();
            let full =
                busy(&|u| u == user) >= WORKERS_OF_USER || busy(&|u| u != self.zone_root) >= WORKERS_OF_USERS;
            if user != self.zone_root && full {
                at += 1;
                continue;
            }
            if let Some(queued) = self.queue.remove(at) {
                self.start_worker(queued);
            }
        }
    }

    fn start_worker(&mut self, queued: Queued) {
        // The zone pays for it: in the zone's cgroup it also ends when the zone is killed.
        let folder = self.cgroup.as_deref().and_then(|zone| cgroup_of(queued.waiting.thread, zone));
        let side = ns::spawn(Kinds::empty(), folder.as_ref().map(AsFd::as_fd))
            .or_else(|_| ns::spawn(Kinds::empty(), None));
        match side {
            Ok(Side::Child) => {
                let job = GuardJob {
                    locks: &self.locks,
                    users: self.users,
                    listener: &queued.listener,
                    waiting: queued.waiting,
                    status: &queued.caller,
                    reports: &self.reports.1,
                };
                job.run()
            }
            Ok(Side::Parent(pid, fd)) => {
                self.workers.push(Worker { pid, handle: Handle::from_fd(fd), of: queued });
            }
            Err(e) => {
                queued.listener.answer(queued.waiting.id, libc::EAGAIN);
                self.note(&format!("refused: no process can be made to check a request: {e}"));
            }
        }
    }

    fn has_ended(&mut self, worker: &Worker) {
        let ended = process::reap(worker.pid);
        // The worker was killed before it could answer.
        if worker.of.listener.answer(worker.of.waiting.id, libc::EPERM) {
            self.note(&format!("refused: a check ended without an answer ({ended:?})"));
        }
    }

    /// Ends workers whose callers have been killed, as the kernel would have ended their calls.
    fn end_orphans(&mut self) {
        for worker in self.workers.iter().filter(|w| !w.of.listener.is_waiting(w.of.waiting.id)) {
            let _ = worker.handle.signal(libc::SIGKILL);
        }
        self.queue.retain(|q| q.listener.is_waiting(q.waiting.id));
    }

    fn connection(&mut self) {
        let held: Vec<_> = self.listeners.iter().map(|l| l.as_fd()).collect();
        if let Some(Arrived { fd, sender }) = self.socket.answer(&held) {
            self.listeners.push(Rc::new(Listener::from_fd(fd)));
            sender.confirm();
        }
    }

    fn note(&mut self, text: &str) {
        note(&mut self.log, &self.name, text);
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = (&self.root, &self.locks, self.listeners.len(), self.workers.len());
        f.debug_tuple("Guard").field(&self.name).field(&state).finish()
    }
}

/// Reads what the zone cannot change of its datasets. An image that cannot be read locks everything.
fn read_locks(root: &Root, name: &ZoneName, pid: i32, log: &mut LogFile) -> Locks {
    match image::of_running(root, name, pid) {
        Ok(found) => super::locks(found.datasets),
        Err(e) => {
            note(log, name, &format!("every request is refused: {e}"));
            Locks::default()
        }
    }
}

fn note(log: &mut LogFile, name: &ZoneName, text: &str) {
    if let Some(line) = log.add(text) {
        log_line(name, &line);
    }
}

/// Writes a line to the system log, where there is one (facility daemon, level warning).
pub(super) fn log_line(name: &ZoneName, text: &str) {
    if let Ok(socket) = UnixDatagram::unbound() {
        // A log that does not keep up must not stop the guard.
        let _ = socket.set_nonblocking(true);
        let line = format!("<28>zoneadmd: [zone '{name}'] guard: {}", text.shown());
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

/// Returns the host's id of the zone's user 0.
fn zone_root(pid: i32) -> Option<u32> {
    let map = made::read(format!("/proc/{pid}/uid_map")).ok()?;
    map.lines().find_map(|l| {
        let mut fields = l.split_whitespace();
        (fields.next() == Some("0")).then(|| fields.next()?.parse().ok())?
    })
}

/// Opens the cgroup of a thread, if it lies in the zone's.
fn cgroup_of(thread: i32, zone: &Path) -> Option<OwnedFd> {
    let path = cgroup::of_process(thread, zone)?;
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}
