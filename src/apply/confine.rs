//! Puts processes of a zone under the system call filter of its plan: the first one at boot, and each that enters.

use std::io;
use std::path::Path;

use crate::apply::guard;
use crate::apply::paths::Root;
use crate::apply::rundir::image;
use crate::plan::confine::{Confinement, Kernel};
use crate::spec::ZoneName;
use crate::sys::bpf::sysctl;
use crate::sys::made;
use crate::sys::naive::without;
use crate::sys::path::reason;
use crate::sys::seccomp::asm::Instruction;
use crate::sys::seccomp::confine::{IS_KNOWN_MACHINE, SyscallPolicy};
use crate::sys::{cgroup, process, seccomp};

/// Looks at the settings of the host's kernel that the confinement of a zone depends on.
pub fn kernel() -> Kernel {
    let number = |name: &str| made::read(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok();
    // A kernel without the one places everything at random, and without the other forbids nothing.
    Kernel {
        randomize: number("kernel/randomize_va_space").and_then(|n| u32::try_from(n).ok()).unwrap_or(2),
        lowest_address: number("vm/mmap_min_addr").unwrap_or(0),
        filters: IS_KNOWN_MACHINE,
        counts_fanotify: Path::new("/proc/sys/user/max_fanotify_marks").exists(),
    }
}

/// Says whether a zone of this host can be kept from writing settings of the host by a program on its cgroup.
pub fn guards_settings() -> bool {
    without("host-settings") || cgroup::mount_point().is_some_and(|top| sysctl::is_possible(&top))
}

/// Returns the filter for processes of a zone; none on a machine whose calls are not known.
pub fn program(confinement: &Confinement) -> Option<Vec<Instruction>> {
    let Confinement { mut open, forbidden, mounts, zfs, .. } = confinement.clone();
    open.extend(left_out());
    let policy = SyscallPolicy {
        open,
        personality: if without("personality") { 0 } else { forbidden },
        mounts: mounts || without("new-file-systems"),
        zfs: zfs || guard::is_left_out(),
    };
    (IS_KNOWN_MACHINE && !without("system-calls")).then(|| seccomp::confine::program(&policy))
}

/// Returns the groups that a build for tests opens to every zone: what owners do without write access.
fn left_out() -> impl Iterator<Item = &'static str> {
    let groups = [
        ("dnotify", without("dnotify")),
        ("leases", without("leases")),
        ("snapshots", without("snapshots")),
        ("write-hints", without("write-hints")),
    ];
    groups.into_iter().filter(|(_, out)| *out).map(|(group, _)| group)
}

/// Confines this process, the zone's first.
///
/// # Errors
/// The system's error.
pub fn put(confinement: &Confinement) -> io::Result<()> {
    process::take_personality(confinement.personality);
    program(confinement).map_or(Ok(()), |program| seccomp::confine(&program))
}

/// Returns why a filter could not be installed.
pub fn because(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS) => {
            "this kernel has no filters of system calls (CONFIG_SECCOMP_FILTER)".to_owned()
        }
        _ => reason(error),
    }
}

/// Returns the confinement of a running zone, whose process 1 is `init`.
pub fn of_running(root: &Root, name: &ZoneName, init: i32) -> Confinement {
    image::of_running(root, name, init).map_or_else(|_| Confinement::strictest(), |found| found.confinement)
}

#[cfg(test)]
mod tests {
    use crate::plan::confine::GROUPS;
    use crate::sys::seccomp::calls::{CALLS, FCNTL, IOCTL};
    use crate::sys::seccomp::confine::FAMILIES;

    #[test]
    fn the_groups_of_the_plan_are_those_of_the_table() {
        let mut named: Vec<_> = CALLS.iter().filter_map(|c| c.group).chain([FAMILIES]).collect();
        named.extend(FCNTL.iter().chain(IOCTL).map(|r| r.group));
        named.sort_unstable();
        named.dedup();
        assert_eq!(named, GROUPS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
