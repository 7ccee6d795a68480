//! Processes: pidfds, start times, and the state that a process sheds before it becomes a zone's.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::made;
use super::naive::without;
use super::trace;

/// Reads proc_pid_stat(5): the name of the process, and what follows it.
pub(super) fn stat(pid: i32) -> Option<(String, String)> {
    let stat = made::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold blanks and parentheses itself.
    let (start, rest) = stat.rsplit_once(')')?;
    Some((start.split_once('(')?.1.to_owned(), rest.to_owned()))
}

/// Returns when a process started, in clock ticks since boot (proc_pid_stat(5), field 22); none when
/// there is no such process or it is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = stat(pid)?;
    let mut fields = stat.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Says whether a process is on its way out: killed, or in exit(2). It may still be there for a while.
pub fn is_ending(pid: i32) -> bool {
    // PF_EXITING (proc_pid_stat(5), field 9), and SIGKILL among the pending signals (proc_pid_status(5)).
    const EXITING: u64 = 4;
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    let flags = stat(pid).and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().filter_map(|l| l.strip_prefix("SigPnd:").or(l.strip_prefix("ShdPnd:")));
    let mut masks = pending.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    flags.is_some_and(|f| f & EXITING != 0) || masks.any(|mask| mask & KILL != 0)
}

/// Says whether a process is one of the kernel's own, of this name. No other process can look like it: the
/// flag `PF_KTHREAD` (proc_pid_stat(5), field 9) is the kernel's to give.
pub fn is_kernel_thread(pid: i32, name: &str) -> bool {
    const KTHREAD: u64 = 0x0020_0000;
    let Some((own, rest)) = stat(pid) else { return false };
    let flags = rest.split_whitespace().nth(6).and_then(|f| f.parse::<u64>().ok());
    own == name && flags.is_some_and(|f| f & KTHREAD != 0)
}

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug)]
pub struct Handle {
    fd: OwnedFd,
}

impl Handle {
    /// Opens a process.
    ///
    /// # Errors
    /// The system's error; `ESRCH` when it is gone.
    pub fn open(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        Ok(Self { fd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Takes over a pidfd.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends a signal; a process that is gone already is no error.
    ///
    /// # Errors
    /// The system's error.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: the call takes an open descriptor, numbers and a null pointer for "no extra information".
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                std::os::fd::AsRawFd::as_raw_fd(&self.fd),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        let error = io::Error::last_os_error();
        if done == 0 || error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }

    /// Waits until the process has ended, at most so many milliseconds; says whether it has.
    ///
    /// # Errors
    /// The system's error.
    pub fn wait_gone(&self, millis: u64) -> io::Result<bool> {
        wait_readable(self.fd.as_fd(), millis)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until a descriptor is readable, at most so many milliseconds; says whether it is.
///
/// # Errors
/// The system's error.
pub fn wait_readable(fd: BorrowedFd<'_>, millis: u64) -> io::Result<bool> {
    let start = std::time::Instant::now();
    loop {
        let left = std::time::Duration::from_millis(millis).saturating_sub(start.elapsed());
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Runs `work` with the file-system ids of another user, so that new files belong to that user and permission is
/// checked as for that user (setfsuid(2)).
///
/// Needed below id-mapped mounts, on which host ids that the map lacks can create nothing.
pub fn with_fs_ids<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    /// Restores the ids also when `work` panics.
    struct Restore(u32, u32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: both calls take numbers and act on this thread only.
            unsafe {
                libc::setfsuid(self.0);
                libc::setfsgid(self.1);
            }
        }
    }
    // SAFETY: as above; the group comes first, since the user may not change it.
    let (old_gid, old_uid) = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
    let _restore = Restore(old_uid.cast_unsigned(), old_gid.cast_unsigned());
    work()
}

/// Runs `work` as another user of the host, with this process' capabilities kept, such as the future owner of a user
/// namespace: the use of a user's limits by a namespace (user.max_*, inotify, pending signals) is counted against
/// its owner.
///
/// The saved user id stays, so that there is a way back. The ids of a child that `work` makes stay as they
/// are there.
///
/// # Errors
/// The system's error; `work` has not run then.
pub fn as_owner<T>(uid: u32, work: impl FnOnce() -> T) -> io::Result<T> {
    if without("owner") {
        return Ok(work());
    }
    // The raw call: it changes this thread only, and there is no other.
    let set = |real: u32, effective: u32| -> io::Result<()> {
        // SAFETY: the call takes numbers.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, real, effective, u32::MAX) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    let before = (rustix::process::getuid().as_raw(), rustix::process::geteuid().as_raw());
    let sets = rustix::thread::capabilities(None)?;
    set(uid, uid)?;
    // The change has put them out of force; they are permitted as long as the saved id is root's.
    let done = rustix::thread::set_capabilities(None, sets).map(|()| work());
    set(before.0, before.1)?;
    rustix::thread::set_capabilities(None, sets)?;
    Ok(done?)
}

/// Becomes root of the user namespace that this process is in: all user ids, group ids, no others.
///
/// # Errors
/// The system's error.
pub fn become_root() -> io::Result<()> {
    // SAFETY: the calls take numbers and a null list of length 0; the process is single-threaded, so
    // the raw calls, which change one thread only, change the whole process.
    let done = unsafe {
        (without("groups") || libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) == 0)
            && libc::syscall(libc::SYS_setresgid, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_setresuid, 0, 0, 0) == 0
    };
    let error = io::Error::last_os_error();
    // A change of ids sets what /proc/sys/fs/suid_dumpable says, and a host may say "readable".
    hide();
    if done { Ok(()) } else { Err(error) }
}

/// Becomes a user and a group of the user namespace that this process is in, and keeps its capabilities there.
///
/// # Errors
/// The system's error.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    // SAFETY: the calls take numbers; the process is single-threaded, so the raw ones change all of it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
    };
    let error = io::Error::last_os_error();
    hide();
    if !done {
        return Err(error);
    }
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Gives capabilities up for good: from the bounding set and from the sets in force (capabilities(7)).
///
/// Numbers that the kernel does not know are passed over.
///
/// # Errors
/// The system's error.
pub fn drop_capabilities(numbers: &[u32]) -> io::Result<()> {
    if without("capabilities") {
        return Ok(());
    }
    for number in numbers {
        // SAFETY: PR_CAPBSET_DROP takes a number.
        let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, u64::from(*number), 0, 0, 0) };
        let error = io::Error::last_os_error();
        if done != 0 && error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    let mut sets = rustix::thread::capabilities(None)?;
    let gone = numbers.iter().filter(|n| **n < 64).fold(0u64, |mask, n| mask | 1 << n);
    let gone = rustix::thread::CapabilitySet::from_bits_retain(gone);
    sets.permitted -= gone;
    sets.effective -= gone;
    sets.inheritable = rustix::thread::CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Begins a session keyring of this process' own, so that no key of the caller's is reachable.
/// A kernel without keyrings has none to leak.
pub fn fresh_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    if without("keyring") {
        return;
    }
    // SAFETY: a null name asks for an anonymous keyring; the rest are numbers.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
}

/// Marks every descriptor from `first` on to be closed by the next exec (close_range(2), Linux 5.11).
///
/// # Errors
/// The system's error.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    if without("descriptors") {
        return Ok(());
    }
    // SAFETY: the call takes numbers.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes all descriptors of this process but standard input, output and error (0 to 2) and those in `keep`, whose
/// close-on-exec flags stay as they are: an exec that follows closes those that have the flag. All others are closed
/// at once, with the flag or without it (close_range(2), Linux 5.9).
///
/// The stream of the log ([`trace`]) is closed as well unless it is in `keep`; the log then goes to the system.
///
/// # Errors
/// The system's error.
pub fn close_all_but(keep: &[i32]) -> io::Result<()> {
    if without("descriptors") {
        return Ok(());
    }
    let mut keep: Vec<u32> = keep.iter().filter_map(|n| u32::try_from(*n).ok()).filter(|n| *n > 2).collect();
    keep.sort_unstable();
    keep.dedup();
    trace::closed_but(&keep);
    let mut first = 3;
    for number in keep.into_iter().chain([u32::MAX]) {
        if number > first {
            let last = if number == u32::MAX { u32::MAX } else { number - 1 };
            // SAFETY: the call takes numbers; descriptors owned by live values are in `keep` by contract.
            let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// Lets this process have as many descriptors as its hard limit allows.
///
/// # Errors
/// The system's error.
pub fn raise_descriptor_limit() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?)
}

/// Resets the state that a process inherits across exec: signal mask and dispositions, umask.
pub fn reset_signals() {
    // SAFETY: the set is initialised by sigemptyset; the dispositions set are the default ones, and their
    // struct is at least as long as the kernel's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        // The raw call: the C library refuses 32 and 33, which a caller may have left ignored. Zeros are the
        // default action, no flags, an empty mask, in the kernel's layout of every machine.
        let default = [0_u64; 4];
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8);
        }
        libc::umask(0o022);
    }
}

/// Keeps every signal that comes from now on until the program that is executed next asks for it. A first
/// process gets none that it neither handles nor blocks.
pub fn hold_signals() {
    // SAFETY: the set is initialised by sigfillset.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Gives up a personality of the caller's, such as addresses that are not random.
pub fn plain_personality() {
    take_personality(0);
}

/// Takes a personality (personality(2)); 0 is that of a plain Linux process.
pub fn take_personality(flags: u32) {
    // SAFETY: personality(2) takes a number.
    unsafe { libc::personality(libc::c_ulong::from(flags)) };
}

/// Takes the out-of-memory score of another process: how likely the kernel kills this one when there is no
/// memory left (proc_pid_oom_score_adj(5)).
///
/// # Errors
/// The system's error.
pub fn take_oom_score(pid: i32) -> io::Result<()> {
    match super::enter::oom_score_to_set(pid) {
        Some(score) => std::fs::write("/proc/self/oom_score_adj", score),
        None => Ok(()),
    }
}

/// Lets this process run on every processor that its cpuset has, whatever its caller was bound to.
pub fn run_anywhere() {
    // Larger than any machine: the kernel uses the processors that there are.
    let all = [u8::MAX; 1024];
    // SAFETY: the mask is readable for the length that is passed.
    unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, all.len(), all.as_ptr()) };
}

/// Ignores these signals, also in the program that this process executes.
pub fn ignore(signals: &[i32]) {
    for signal in signals {
        // SAFETY: the disposition set is one of the two that are no function.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Has this process and the program that it executes leave no core behind: it may hold secrets of others.
pub fn no_core() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A process that enters takes the limits of the zone, which must not be beyond reach then.
    let now = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: now.maximum });
}

/// Has ended children wait to be reaped, also when the caller ignores them.
pub fn default_sigchld() {
    // SAFETY: the disposition set is the default one.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Makes this process unreadable to others (`/proc/PID`, ptrace) until its next exec.
pub fn hide() {
    let dumpable = libc::c_ulong::from(without("hiding"));
    // SAFETY: PR_SET_DUMPABLE takes a number.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable, 0, 0, 0) };
}

/// Replaces this process with the program at a descriptor. Returns only on failure.
pub fn exec_fd(program: BorrowedFd<'_>, args: &[&std::ffi::CStr], env: &[&std::ffi::CStr]) -> io::Error {
    let list = |strings: &[&std::ffi::CStr]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (list(args), list(env));
    // SAFETY: both lists end with a null pointer and point to C strings that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            std::os::fd::AsRawFd::as_raw_fd(&program),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// How a child of this process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Reaps a child that has ended; none while it lives or when it is no child of ours.
pub fn reap(pid: i32) -> Option<Ended> {
    let mut status = 0;
    // SAFETY: waitpid(2) stores one number.
    let got = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    if got != pid {
        return None;
    }
    if libc::WIFSIGNALED(status) {
        Some(Ended::Signal(libc::WTERMSIG(status)))
    } else {
        Some(Ended::Exit(libc::WEXITSTATUS(status)))
    }
}

/// A child of this process that may be traced: then the kernel shows its end to the tracer first, and to
/// this process only once the tracer lets go.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: i32,
    handle: Handle,
}

/// The end of a child, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildEnd {
    /// How it ended.
    Known(Ended),
    /// It has ended, and a tracer withholds its exit status.
    Kept,
}

impl Child {
    /// How long a tracer may take to see the end of a child, in milliseconds.
    const TRACER_MILLIS: u64 = 1000;

    /// Takes over a child of this process.
    ///
    /// # Errors
    /// The system's error.
    pub fn new(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, handle: Handle::open(pid)? })
    }

    /// Waits until the child has ended, at most so long; says whether it has.
    pub fn ends_within(&self, limit: std::time::Duration) -> bool {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.handle.wait_gone(millis).unwrap_or(true)
    }

    /// Reaps the child if it has ended; none while it lives.
    pub fn end(&self) -> Option<ChildEnd> {
        if let Some(ended) = reap(self.pid) {
            return Some(ChildEnd::Known(ended));
        }
        if !self.handle.wait_gone(0).unwrap_or(true) {
            return None;
        }
        let start = std::time::Instant::now();
        loop {
            if let Some(ended) = reap(self.pid) {
                return Some(ChildEnd::Known(ended));
            }
            if start.elapsed().as_millis() >= u128::from(Self::TRACER_MILLIS) {
                return Some(ChildEnd::Kept);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Waits for a child to end and reaps it.
///
/// # Errors
/// The system's error; `ECHILD` when it is no child of ours.
pub fn wait(pid: i32) -> io::Result<Ended> {
    loop {
        let mut status = 0;
        // SAFETY: waitpid(2) stores one number.
        let got = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if got == pid {
            let signal = libc::WIFSIGNALED(status);
            return Ok(if signal {
                Ended::Signal(libc::WTERMSIG(status))
            } else {
                Ended::Exit(libc::WEXITSTATUS(status))
            });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

/// Ends this process at once, without running anything that the program has registered.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// Takes over a descriptor that came through an exec, by its number, and marks it close-on-exec.
///
/// Each number may be taken over once.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn adopt_fd(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD takes numbers; it fails when the descriptor is not open.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, and by contract no other object of this process owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(number) })
}

/// Returns the number of a real-time signal, counted from `SIGRTMIN`.
pub fn realtime(offset: i32) -> i32 {
    libc::SIGRTMIN() + offset
}
