//! Resource limits, priority and scheduling of this process (getrlimit(2), setpriority(2), sched(7)).

#![allow(unsafe_code)]

use std::io;

use super::enter::{limits_to_set, set_limit};

/// `SCHED_OTHER`.
pub const NORMAL: i32 = libc::SCHED_OTHER;
/// `SCHED_BATCH`.
pub const BATCH: i32 = libc::SCHED_BATCH;
/// `SCHED_IDLE`.
pub const IDLE: i32 = libc::SCHED_IDLE;

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

/// Sets the scheduling policy, one of the three without priorities, the normal nice value and the normal
/// input and output priority. What this process starts inherits all of them.
///
/// # Errors
/// The system's error.
pub fn schedule(policy: i32) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: an all-zero parameter is the one that these policies demand; it is readable for the call.
    let done = unsafe {
        let param: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, policy, &raw const param)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both calls take numbers. A kernel without io priorities has none to reset.
    let done = unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
