//! Acting in the name of another process: its ids, its user namespace, its capabilities.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::ns::{self, Kinds};
use super::process;

/// The ids of a process, as the host counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User ids: real, effective, saved, file system.
    pub users: [u32; 4],
    /// Group ids, in the same order.
    pub groups: [u32; 4],
    /// Further groups.
    pub further: Vec<u32>,
    /// Effective capabilities, as bits.
    pub effective: u64,
    /// Permitted capabilities, as bits.
    pub permitted: u64,
}

impl Credentials {
    /// Reads the lines of `/proc/PID/status` (proc_pid_status(5)); none when one is missing.
    pub fn parse(status: &str) -> Option<Self> {
        let line = |name: &str| {
            status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::split_whitespace)
        };
        let four = |name: &str| -> Option<[u32; 4]> {
            let list: Option<Vec<u32>> = line(name)?.map(|w| w.parse().ok()).collect();
            list?.try_into().ok()
        };
        let bits = |name: &str| u64::from_str_radix(line(name)?.next()?, 16).ok();
        Some(Self {
            users: four("Uid")?,
            groups: four("Gid")?,
            further: line("Groups")?.map(|w| w.parse().ok()).collect::<Option<_>>()?,
            effective: bits("CapEff")?,
            permitted: bits("CapPrm")?,
        })
    }
}

/// Takes on other ids in a user namespace, for good. Only a single-threaded process with all rights of the host can.
///
/// The ids come first, as the host knows them: inside the namespace they have other numbers. Joining it
/// gives all capabilities there, of which those are kept that the other has.
///
/// # Errors
/// The system's error. The process may be half changed then, and must end.
pub fn become_other(who: &Credentials, users: BorrowedFd<'_>) -> io::Result<()> {
    // SECBIT_NO_SETUID_FIXUP: the change of ids takes no capabilities away, which joining needs.
    const KEEP: libc::c_ulong = 1 << 2;
    let check = |done: bool| if done { Ok(()) } else { Err(io::Error::last_os_error()) };
    let [real, effective, saved, files] = who.users;
    let [real_group, effective_group, saved_group, files_group] = who.groups;
    // SAFETY: the calls take numbers and a list with its length; the process is single-threaded, so that
    // the raw calls, which change one thread only, change the whole process.
    unsafe {
        check(libc::prctl(libc::PR_SET_SECUREBITS, KEEP, 0, 0, 0) == 0)?;
        check(libc::syscall(libc::SYS_setgroups, who.further.len(), who.further.as_ptr()) == 0)?;
        check(libc::syscall(libc::SYS_setresgid, real_group, effective_group, saved_group) == 0)?;
        check(libc::syscall(libc::SYS_setresuid, real, effective, saved) == 0)?;
        // These two calls return the former id and no failure: a second call returns the id that is set now.
        libc::setfsgid(files_group);
        libc::setfsuid(files);
        let now = (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX));
        if (now.0.cast_unsigned(), now.1.cast_unsigned()) != (files, files_group) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    ns::join(users, Kinds::USER)?;
    process::hide();
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(who.effective),
        permitted: CapabilitySet::from_bits_retain(who.permitted),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Has this process killed after so many seconds; 0: not any more.
pub fn deadline(seconds: u32) {
    // SAFETY: alarm(2) takes a number.
    unsafe { libc::alarm(seconds) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_process_is() {
        let status =
            "Name:\tzfs\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapPrm:\t00ff\nCapEff:\t000f\n";
        let who = Credentials::parse(status).expect("all lines are there");
        assert_eq!((who.users, who.groups), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((who.further.as_slice(), who.permitted, who.effective), (&[9, 10][..], 0xff, 0xf));
        let nobody = status.replace("9 10 ", "");
        assert_eq!(Credentials::parse(&nobody).map(|w| w.further), Some(vec![]));
        assert_eq!(Credentials::parse("Uid:\t1\t2\t3\t4\n"), None);
        let own = std::fs::read_to_string("/proc/self/status").expect("this process lives");
        assert!(Credentials::parse(&own).is_some());
    }
}
