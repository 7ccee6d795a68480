//! Resource limits, priority and scheduling of this process (getrlimit(2), setpriority(2), sched(7)).

#![allow(unsafe_code)]

use super::made;
use std::io;

/// A resource and its limit.
pub(super) type ResourceLimit = (libc::__rlimit_resource_t, libc::rlimit);

/// `SCHED_OTHER`.
pub const NORMAL: i32 = libc::SCHED_OTHER;
/// `SCHED_BATCH`.
pub const BATCH: i32 = libc::SCHED_BATCH;
/// `SCHED_IDLE`.
pub const IDLE: i32 = libc::SCHED_IDLE;

/// The names of the limits in `/proc/PID/limits` (proc_pid_limits(5)).
const NAMES: [(&str, libc::__rlimit_resource_t); 16] = [
    ("Max cpu time", libc::RLIMIT_CPU),
    ("Max file size", libc::RLIMIT_FSIZE),
    ("Max data size", libc::RLIMIT_DATA),
    ("Max stack size", libc::RLIMIT_STACK),
    ("Max core file size", libc::RLIMIT_CORE),
    ("Max resident set", libc::RLIMIT_RSS),
    ("Max processes", libc::RLIMIT_NPROC),
    ("Max open files", libc::RLIMIT_NOFILE),
    ("Max locked memory", libc::RLIMIT_MEMLOCK),
    ("Max address space", libc::RLIMIT_AS),
    ("Max file locks", libc::RLIMIT_LOCKS),
    ("Max pending signals", libc::RLIMIT_SIGPENDING),
    ("Max msgqueue size", libc::RLIMIT_MSGQUEUE),
    ("Max nice priority", libc::RLIMIT_NICE),
    ("Max realtime priority", libc::RLIMIT_RTPRIO),
    ("Max realtime timeout", libc::RLIMIT_RTTIME),
];

/// Returns the limits of a process that differ from ours.
///
/// Read from `/proc`: prlimit(2) asks for rights over the process' user namespace, which the host's root
/// need not have in a container.
pub(super) fn limits_to_set(pid: i32) -> io::Result<Vec<ResourceLimit>> {
    let read = |who: &str| -> io::Result<Vec<ResourceLimit>> {
        Ok(parse(&made::read(format!("/proc/{who}/limits"))?))
    };
    let ours = read("self")?;
    let same = |theirs: &ResourceLimit| {
        let limits = |l: &ResourceLimit| (l.0, l.1.rlim_cur, l.1.rlim_max);
        ours.iter().any(|own| limits(own) == limits(theirs))
    };
    Ok(read(&pid.to_string())?.into_iter().filter(|l| !same(l)).collect())
}

fn parse(text: &str) -> Vec<ResourceLimit> {
    let value = |word: &str| match word {
        "unlimited" => Some(libc::RLIM_INFINITY),
        number => number.parse().ok(),
    };
    let limit = |line: &str| {
        let (resource, rest) =
            NAMES.iter().find_map(|(name, number)| Some((*number, line.strip_prefix(name)?)))?;
        let mut words = rest.split_whitespace();
        let (rlim_cur, rlim_max) = (value(words.next()?)?, value(words.next()?)?);
        Some((resource, libc::rlimit { rlim_cur, rlim_max }))
    };
    text.lines().filter_map(limit).collect()
}

pub(super) fn set_limit(resource: libc::__rlimit_resource_t, limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the limit is readable for the call.
    let done = unsafe { libc::setrlimit(resource, std::ptr::from_ref(limit)) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the resource limits of another process. A limit that this process may not raise (without
/// `CAP_SYS_RESOURCE`, as in a container) stays as it is.
///
/// # Errors
/// The system's error.
pub fn take_from(pid: i32) -> io::Result<()> {
    for (resource, limit) in limits_to_set(pid)? {
        match set_limit(resource, &limit) {
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Limits the memory that a process may lock, in bytes, for good (`RLIMIT_MEMLOCK`).
///
/// # Errors
/// The system's error.
pub fn lock_at_most(bytes: u64) -> io::Result<()> {
    set_limit(libc::RLIMIT_MEMLOCK, &libc::rlimit { rlim_cur: bytes, rlim_max: bytes })
}

/// Limits the number of processes of a user, for good, where that is lower than the limit that is there
/// (`RLIMIT_NPROC`). A user namespace that is made under the limit, by another user than root, can hold no
/// more in all.
///
/// # Errors
/// The system's error.
pub fn processes_at_most(number: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is writable for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_max = limit.rlim_max.min(number);
    limit.rlim_cur = limit.rlim_cur.min(limit.rlim_max);
    set_limit(libc::RLIMIT_NPROC, &limit)
}

/// Returns the scheduling policy of a process, if it is one of the three without priorities; else the normal
/// one.
pub(super) fn policy_of(pid: i32) -> i32 {
    // SAFETY: the call takes a number.
    let policy = unsafe { libc::sched_getscheduler(pid) };
    if [BATCH, IDLE].contains(&policy) { policy } else { NORMAL }
}

/// Sets the scheduling policy, one of the three without priorities. Its children inherit it.
pub(super) fn set_policy(policy: i32) -> io::Result<()> {
    // SAFETY: these policies demand an all-zero parameter; it is readable for the call.
    let done = unsafe {
        let param: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, policy, &raw const param)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the scheduling policy, one of the three without priorities, the normal nice value and the normal input and
/// output priority. Its children inherit all of them.
///
/// # Errors
/// The system's error.
pub fn schedule(policy: i32) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    set_policy(policy)?;
    // SAFETY: both calls take numbers. A kernel without io priorities has none to reset.
    let done = unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_whole() {
        let text = made::read("/proc/self/limits").expect("proc is there");
        let found = parse(&text);
        assert_eq!(found.len(), NAMES.len(), "{text}");
        for (resource, limit) in found {
            let mut real = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the limit is writable for the call.
            assert_eq!(unsafe { libc::getrlimit(resource, &raw mut real) }, 0);
            assert_eq!((limit.rlim_cur, limit.rlim_max), (real.rlim_cur, real.rlim_max), "{resource}");
        }
    }
}
