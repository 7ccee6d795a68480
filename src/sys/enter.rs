//! Entering a zone that runs: from a root process of the host to a process that has nothing of the host but the
//! descriptors that it was given on purpose.
//!
//! The order matters:
//!
//! | # | where | step | why so |
//! |---|---|---|---|
//! | 1 | host | pidfd of the zone's first process, then its start time once more | the pidfd cannot come to mean another process; the record is believed only if it meant this one |
//! | 2 | host | limits, scheduling class, capability bounds and cgroup of that process | read from the host's `/proc`; the zone's own may lie |
//! | 3 | host | this process becomes undumpable | nothing in the zone can read it, its descriptors or its `exe` before it has executed a program of the zone |
//! | 4 | host | one fork into the zone's cgroup: the porter | this process stays on the host |
//! | 5 | porter | standard streams, all others close on exec, limits, scheduling class, a session keyring of its own | raising a limit needs the host's rights; if the zone has used up its keys, an empty keyring is there already |
//! | 6 | porter | all namespaces of the zone in one call, the pid namespace for its children | the kernel joins the user namespace first: from there on the process has no right outside the zone. The zone cannot see the porter: it has no number there. A process that the zone can see while it is in namespaces of the host shows it their mounts and connections (`/proc/PID/mountinfo`, `/proc/PID/net`) |
//! | 7 | porter | root of the zone, under the zone's filters, with its personality, only the capabilities that the zone may have | before the first look at anything that the zone controls |
//! | 8 | porter | a second fork, whose child has the first process for its parent; end of the porter | the first process can wait for the one that the zone sees |
//! | 9 | child | all descriptors but the standard streams and the channel closed, a new session | a name of the zone such as `/proc/self/fd/7` leads to nothing of the host, and while the process executes its program, when the kernel lets root of the zone have its descriptors already, nothing else is open; no controlling terminal of the host to push input into |
//! | 10 | child | whatever the caller does: identity, terminal, exec | |

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::cgroup;
use super::channel::Channel;
use super::made;
use super::naive::without;
use super::ns::{self, Kinds, Side};
use super::path::{self, reason};
use super::process::{self, Child, Handle};
use super::rlimit::{ResourceLimit, limits_to_set, policy_of, set_limit, set_policy};
use super::seccomp::{self, asm::Instruction};
use super::trace;
use super::tty;

/// A step of entering that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {}", reason(source))]
pub struct EnterError {
    step: &'static str,
    #[source]
    source: io::Error,
}

/// Names a step, for the error that it may end in.
fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> EnterError {
    move |e| EnterError { step, source: e.into() }
}

/// A zone that can be entered.
#[derive(Debug)]
pub struct EnterTarget {
    init: OwnedFd,
    kinds: Kinds,
    dropped: Vec<u32>,
    limits: Vec<ResourceLimit>,
    policy: i32,
    oom_score: Option<String>,
    cgroup: Option<OwnedFd>,
}

/// A system call filter for a process that enters.
#[derive(Clone, Copy)]
pub struct SeccompFilter<'a> {
    /// The filter.
    pub program: &'a [Instruction],
    /// Gives away what hears it; the process waits until then.
    pub hand_over: &'a dyn Fn(BorrowedFd<'_>) -> io::Result<()>,
}

/// The limits of every process that enters.
#[derive(Clone, Copy, Debug)]
pub struct Confine<'a> {
    /// The filter; none where the numbers of system calls are not known.
    pub program: Option<&'a [Instruction]>,
    /// The personality of the program that it executes (personality(2)).
    pub personality: u32,
}

/// How long the kernel may take to end a process that was killed, in milliseconds.
const PATIENCE: u64 = 1000;

/// The words that the new process and its parent exchange about the filter.
const LISTENER: &str = "listener";

/// The process that entered, as the host sees it.
#[derive(Debug)]
pub struct Entered {
    /// The process; its id is also that of its session and of its process group.
    pub child: Child,
    /// Ends when it executes a program. A message without descriptors before that is why it failed.
    pub channel: Channel,
}

impl EnterTarget {
    /// Opens the zone whose first process is `init`, started at `start` (see [`process::start_time`]).
    ///
    /// `cgroup` is the zone's folder of cgroup v2. Entering processes join the one below it that the first
    /// process is in: a folder whose limits an init has split up among others holds no process itself.
    ///
    /// # Errors
    /// When the process is gone, or the system refuses.
    pub fn open(init: i32, start: u64, cgroup: Option<&Path>) -> Result<Self, EnterError> {
        let pid = rustix::process::Pid::from_raw(init)
            .ok_or_else(|| at("find the zone's first process")(rustix::io::Errno::SRCH))?;
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(at("find the zone's first process"))?;
        if process::start_time(init) != Some(start) {
            return Err(at("find the zone's first process")(rustix::io::Errno::SRCH));
        }
        let open_folder = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(at("open the zone's cgroup"))
        };
        Ok(Self {
            init: handle,
            kinds: kinds_of(init).map_err(at("look at the zone's namespaces"))?,
            dropped: dropped_capabilities(init).map_err(at("read the zone's capabilities"))?,
            limits: limits_to_set(init).map_err(at("read the zone's limits"))?,
            policy: policy_of(init),
            oom_score: oom_score_to_set(init),
            cgroup: cgroup
                .map(|folder| {
                    open_folder(&cgroup::of_process(init, folder).unwrap_or_else(|| folder.to_owned()))
                })
                .transpose()?,
        })
    }

    /// Enters the zone with a new process, which runs `inside` as root of the zone, in `/` and in a new
    /// session, with the given standard streams (none: those of this process).
    ///
    /// The process is held to `confine`. With `filter`, the process is put under it before it does anything else in the zone, and goes on once
    /// what hears the filter has been given away.
    ///
    /// `inside` ends in [`exec`]; the error that it returns otherwise goes to [`Entered::channel`].
    ///
    /// A zone can hold up a process in its cgroup. So `stop` is asked, whenever `wake` has something to
    /// read, whether to give up.
    ///
    /// # Errors
    /// When the system refuses an action on the host, or `stop` said so; later failures are reported on the channel.
    pub fn enter(
        &self,
        streams: [Option<OwnedFd>; 3],
        wake: BorrowedFd<'_>,
        mut stop: impl FnMut() -> bool,
        filter: Option<SeccompFilter<'_>>,
        confine: Confine<'_>,
        inside: impl FnOnce(&Channel) -> String,
    ) -> Result<Entered, EnterError> {
        process::hide();
        process::default_sigchld();
        let (ours, theirs) = Channel::pair().map_err(at("make a channel"))?;
        let (number, porters) = Channel::pair().map_err(at("make a channel"))?;
        let cgroup = self.cgroup.as_ref().map(AsFd::as_fd);
        let (porter, handle) = match ns::spawn(Kinds::empty(), cgroup).map_err(at("start a process"))? {
            Side::Parent(pid, handle) => (pid, Handle::from_fd(handle)),
            Side::Child => {
                // Nothing of the parent's program may run here, not even when something panics.
                let _never_return = Quit;
                drop((ours, number));
                self.port(streams, &theirs, porters, filter.as_ref(), confine, inside);
                quit()
            }
        };
        drop((theirs, porters));
        let mut wait = |what: BorrowedFd<'_>| -> Result<(), EnterError> {
            while !tty::wait_for(what, wake).map_err(at("wait for the new process"))? {
                if stop() {
                    let _ = handle.signal(libc::SIGKILL);
                    // A process that waits in the kernel for something of the zone ends when that lets it go.
                    if handle.wait_gone(PATIENCE).unwrap_or(false) {
                        process::reap(porter);
                    }
                    return Err(at("enter the zone")(rustix::io::Errno::INTR));
                }
            }
            Ok(())
        };
        if let Some(filter) = &filter {
            wait(ours.as_fd())?;
            pass_on(&ours, filter)?;
        }
        wait(number.as_fd())?;
        let told = number.receive().map_err(at("hear the new process"))?;
        let Ok(pid) = told.text.parse() else {
            // It has failed before there was another process: the caller waits for it in place of that one.
            let child = Child::new(porter).map_err(at("wait for a process"))?;
            return Ok(Entered { child, channel: ours });
        };
        // Its end is waited for in the same way: a zone can hold it up there as well.
        wait(handle.as_fd())?;
        process::reap(porter);
        let child = Child::new(pid).map_err(at("wait for a process"))?;
        Ok(Entered { child, channel: ours })
    }

    /// Steps 5 to 10 of the module's table.
    fn port(
        &self,
        streams: [Option<OwnedFd>; 3],
        channel: &Channel,
        number: Channel,
        filter: Option<&SeccompFilter<'_>>,
        confine: Confine<'_>,
        inside: impl FnOnce(&Channel) -> String,
    ) {
        let spawned = self
            .cross(streams, confine, || filter.map_or(Ok(()), |f| be_filtered(channel, f)))
            .and_then(|()| ns::spawn_sibling().map_err(at("start a process in the zone")));
        let failure = match spawned {
            Ok(Side::Parent(pid, _)) => {
                let _ = number.send(&pid.to_string(), &[]);
                return;
            }
            Ok(Side::Child) => {
                drop(number);
                let failure = begin(channel).map_or_else(|e| e.to_string(), |()| inside(channel));
                let _ = channel.send(&failure, &[]);
                // Values of this process own descriptors that are closed: none of them may be dropped.
                quit()
            }
            Err(e) => e.to_string(),
        };
        let _ = channel.send(&failure, &[]);
    }

    /// Steps 5 to 7 of the module's table.
    fn cross(
        &self,
        streams: [Option<OwnedFd>; 3],
        confine: Confine<'_>,
        filter: impl FnOnce() -> Result<(), EnterError>,
    ) -> Result<(), EnterError> {
        let [input, output, errors] = &streams;
        let placed = [
            input.as_ref().map(dup2_stdin),
            output.as_ref().map(dup2_stdout),
            errors.as_ref().map(dup2_stderr),
        ];
        placed.into_iter().flatten().collect::<Result<(), _>>().map_err(at("place the standard streams"))?;
        process::close_on_exec_from(3).map_err(at("close descriptors"))?;
        for (resource, limit) in &self.limits {
            set_limit(*resource, limit).map_err(at("set the zone's limits"))?;
        }
        // A caller with a real-time class does not bring it into the zone.
        set_policy(self.policy).map_err(at("set the zone's scheduling class"))?;
        let score = || match &self.oom_score {
            Some(score) => std::fs::write("/proc/self/oom_score_adj", score),
            None => Ok(()),
        };
        if !without("host-proc") {
            score().map_err(at("set the out-of-memory score"))?;
        }
        process::plain_personality();
        process::fresh_keyring();
        let left_out = if without("users") { Kinds::USER } else { Kinds::empty() };
        ns::join(self.init.as_fd(), (self.kinds | Kinds::PID) - left_out)
            .map_err(at("enter the zone's namespaces"))?;
        if without("host-proc") {
            score().map_err(at("set the out-of-memory score"))?;
        }
        process::become_root().map_err(at("become root of the zone"))?;
        process::take_personality(confine.personality);
        // Both need the capability that is dropped next.
        confine.program.map_or(Ok(()), seccomp::confine).map_err(at("filter system calls"))?;
        filter()?;
        process::drop_capabilities(&self.dropped).map_err(at("drop capabilities"))?;
        process::fresh_keyring();
        Ok(())
    }
}

/// Steps 9 and 10: the rest of the work, for the process that the zone sees.
fn begin(channel: &Channel) -> Result<(), EnterError> {
    trace::stop();
    process::close_all_but(&[channel.as_fd().as_raw_fd()]).map_err(at("close descriptors"))?;
    if !without("session") {
        rustix::process::setsid().map_err(at("begin a session"))?;
    }
    rustix::process::chdir("/").map_err(at("change to the zone's root"))
}

/// Puts this process under a filter and has the parent give away what hears it.
fn be_filtered(parent: &Channel, filter: &SeccompFilter<'_>) -> Result<(), EnterError> {
    let step = "guard the process";
    let listener = seccomp::install(filter.program).map_err(at(step))?;
    parent.send(LISTENER, &[listener.as_fd()]).map_err(at(step))?;
    drop(listener);
    if parent.receive().map_err(at(step))?.text == LISTENER { Ok(()) } else { quit() }
}

/// The parent's side of [`be_filtered`].
fn pass_on(child: &Channel, filter: &SeccompFilter<'_>) -> Result<(), EnterError> {
    let step = "guard the process";
    let message = child.receive().map_err(at(step))?;
    let Some(listener) = message.fds.into_iter().next() else {
        let text = if message.text.is_empty() { "it was killed".to_owned() } else { message.text };
        return Err(at("enter the zone")(io::Error::other(text)));
    };
    (filter.hand_over)(listener.as_fd()).map_err(at(step))?;
    child.send(LISTENER, &[]).map_err(at(step))
}

/// Ends the process instead of returning to where it was forked.
struct Quit;

impl Drop for Quit {
    fn drop(&mut self) {
        quit()
    }
}

/// Ends this process at once, without running anything that the program has registered.
fn quit() -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(1) }
}

/// Returns the kinds of namespace to join besides the pid namespace.
///
/// The first two are the zone's in any case: the kernel refuses to join our own user namespace, and
/// with the zone's rights no other mount namespace of ours. Some of the rest may be the host's, on
/// a host without them, and joining those would need rights that root of the zone lacks.
fn kinds_of(pid: i32) -> io::Result<Kinds> {
    let mut kinds = Kinds::USER | Kinds::MOUNT;
    for (name, kind) in
        [("uts", Kinds::UTS), ("ipc", Kinds::IPC), ("net", Kinds::NET), ("cgroup", Kinds::CGROUP)]
    {
        let number = |who: &str| std::fs::metadata(format!("/proc/{who}/ns/{name}")).map(|m| m.ino());
        match (number("self"), number(&pid.to_string())) {
            (Ok(ours), Ok(theirs)) if ours != theirs => kinds |= kind,
            (Ok(_), Ok(_)) => {}
            // A kernel built without this kind.
            (Err(e), _) if e.kind() == io::ErrorKind::NotFound => {}
            (Err(e), _) | (_, Err(e)) => return Err(e),
        }
    }
    Ok(kinds)
}

/// Returns the capabilities that the bounding set of a process lacks.
fn dropped_capabilities(pid: i32) -> io::Result<Vec<u32>> {
    let status = made::read(format!("/proc/{pid}/status"))?;
    let bounds = status.lines().find_map(|l| l.strip_prefix("CapBnd:"));
    let bounds = bounds.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let bounds = bounds.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    Ok((0..u64::BITS).filter(|n| bounds & (1 << n) == 0).collect())
}

/// Returns the out-of-memory score of a process when ours is another: a protected shell of the host
/// must not make processes of a zone unkillable.
pub(super) fn oom_score_to_set(pid: i32) -> Option<String> {
    let theirs = made::read(format!("/proc/{pid}/oom_score_adj")).ok()?;
    let ours = made::read("/proc/self/oom_score_adj").ok()?;
    (theirs != ours).then_some(theirs)
}

/// Opens a regular file of the zone that this process is in; never waits for it, and follows no link of
/// `/proc` out of where it is.
///
/// # Errors
/// The system's error; `EINVAL` when it is not a regular file.
pub fn open_regular(path: &str) -> io::Result<File> {
    if without("regular") {
        return File::open(path);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let top = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // The file is checked before it is opened: opening alone starts a device, or a pipe's writer.
    let name = path::open_beneath(top.as_fd(), Path::new(path), OFlags::PATH, Mode::empty(), path::IN_ROOT)?;
    let regular = |fd: BorrowedFd<'_>| -> io::Result<(u64, u64)> {
        let stat = rustix::fs::fstat(fd)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok((stat.st_dev, stat.st_ino))
    };
    let seen = regular(name.as_fd())?;
    let file = path::open_beneath(top.as_fd(), Path::new(path), flags, Mode::empty(), path::IN_ROOT)?;
    if regular(file.as_fd())? != seen {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    Ok(file.into())
}

/// Becomes a user of the zone, for good.
///
/// # Errors
/// The system's error; `EINVAL` when an id is not one of the zone's.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let list: Vec<_> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if !without("groups") {
        setgroups(&list)?;
    }
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    process::hide();
    Ok(())
}

/// Executes a program with default signals and mask; returns only on failure.
pub fn exec(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    process::reset_signals();
    match nix::unistd::execve(program, args, env) {
        Err(e) => e.into(),
    }
}

/// Changes the working directory.
///
/// # Errors
/// The system's error.
pub fn change_folder(path: &str) -> io::Result<()> {
    Ok(rustix::process::chdir(path)?)
}

/// Sends a signal to the process group that an entered process leads, or to the process while it has
/// not got that far.
pub fn signal_group(pid: i32, signal: nix::sys::signal::Signal) {
    use nix::sys::signal::{kill, killpg};
    let pid = nix::unistd::Pid::from_raw(pid);
    if killpg(pid, signal).is_err() {
        let _ = kill(pid, signal);
    }
}
