//! The system calls that processes of a zone are refused, with their numbers on each machine.
//!
//! Three reasons put a call here: it acts on the whole machine, and only the kernel's own check stands
//! between it and the zone; it reaches the host past the namespaces; or it is large, seldom used, and has
//! let unprivileged users through before. Where a group is named, an administrator can open the call to a
//! zone.

use super::confine::SyscallRule;

/// Columns of [`RestrictedCall::numbers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, also called from a 64-bit program.
    I386,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
}

/// A call that is not simply allowed.
#[derive(Clone, Copy, Debug)]
pub struct RestrictedCall {
    /// Its name.
    pub name: &'static str,
    /// Its number on each [`Machine`], [`NONE`] where there is no such call.
    pub numbers: [u32; 4],
    /// Its treatment.
    pub rule: SyscallRule,
    /// The word of `allow-syscalls` that opens it.
    pub group: Option<&'static str>,
}

/// The machine has no such call.
pub const NONE: u32 = u32::MAX;

/// The highest number of a call that was examined for this table: `file_setattr` of Linux 6.17, the same on every
/// machine. Higher numbers are refused as unknown to the kernel.
pub const LAST: u32 = 469;

const fn call(name: &'static str, numbers: [u32; 4], rule: SyscallRule) -> RestrictedCall {
    RestrictedCall { name, numbers, rule, group: None }
}

const fn opened_by(
    group: &'static str,
    name: &'static str,
    numbers: [u32; 4],
    rule: SyscallRule,
) -> RestrictedCall {
    RestrictedCall { name, numbers, rule, group: Some(group) }
}

/// A request of fcntl(2) or ioctl(2) that is refused unless its group is opened.
#[derive(Clone, Copy, Debug)]
pub struct RestrictedRequest {
    /// Its name.
    pub name: &'static str,
    /// Its number, the same on every [`Machine`].
    pub number: u32,
    /// The error number of the refusal.
    pub error: i32,
    /// The word of `allow-syscalls` that opens it.
    pub group: &'static str,
}

const fn request(name: &'static str, number: u32, error: i32, group: &'static str) -> RestrictedRequest {
    RestrictedRequest { name, number, error, group }
}

/// Requests of fcntl(2) by which the owner of a file does something to it without write access. Root of a zone
/// owns the files of the host that it is shown with mapped ids. The error is that of a kernel without them.
#[rustfmt::skip] // rows, not lines
pub const FCNTL: &[RestrictedRequest] = &[
    // A process that opens or executes the file waits for the holder of a lease, up to fs.lease-break-time.
    request("F_SETLEASE", 1024, libc::EINVAL, "leases"),
    request("F_SETDELEG", 1040, libc::EINVAL, "leases"),
    // A watch on a directory that no limit counts.
    request("F_NOTIFY", 1026, libc::EINVAL, "dnotify"),
    // The hint stays with the file and decides where the device puts later writes of the host.
    request("F_SET_RW_HINT", 1036, libc::EINVAL, "write-hints"),
    request("F_SET_FILE_RW_HINT", 1038, libc::EINVAL, "write-hints"),
];

/// Requests of ioctl(2) by which the owner of a file does something to it without write access.
#[rustfmt::skip] // rows, not lines
pub const IOCTL: &[RestrictedRequest] = &[
    // The owner of a subvolume makes a writable copy of it, in any writable directory of the file system.
    request("BTRFS_IOC_SNAP_CREATE", 0x5000_9401, libc::EPERM, "snapshots"),
    request("BTRFS_IOC_SNAP_CREATE_V2", 0x5000_9417, libc::EPERM, "snapshots"),
];

const REFUSE: SyscallRule = SyscallRule::Refuse(libc::EPERM);
/// The error is that of a kernel built without the call: programs that try it have a fallback then.
const MISSING: SyscallRule = SyscallRule::Refuse(libc::ENOSYS);

/// The table. x86-64, 32-bit x86, 64-bit ARM, 32-bit ARM.
#[rustfmt::skip] // rows, not lines
pub const CALLS: &[RestrictedCall] = &[
    // The kernel itself.
    call("kexec_load", [246, 283, 104, 347], REFUSE),
    call("kexec_file_load", [320, NONE, 294, 401], REFUSE),
    call("init_module", [175, 128, 105, 128], REFUSE),
    call("finit_module", [313, 350, 273, 379], REFUSE),
    call("delete_module", [176, 129, 106, 129], REFUSE),
    // Ports of the machine, and a mode of the processor that only DOS programs use.
    call("iopl", [172, 110, NONE, NONE], REFUSE),
    call("ioperm", [173, 101, NONE, NONE], REFUSE),
    call("vm86old", [NONE, 113, NONE, NONE], REFUSE),
    call("vm86", [NONE, 166, NONE, NONE], REFUSE),
    // The host's memory, accounting, quotas and exports.
    call("swapon", [167, 87, 224, 87], REFUSE),
    call("swapoff", [168, 115, 225, 115], REFUSE),
    call("acct", [163, 51, 89, 51], REFUSE),
    call("quotactl", [179, 131, 60, 131], REFUSE),
    call("quotactl_fd", [443, 443, 443, 443], REFUSE),
    call("nfsservctl", [180, 169, 42, 169], REFUSE),
    call("lookup_dcookie", [212, 253, 18, 249], REFUSE),
    // The host's clock. adjtimex and clock_adjtime also read, and the kernel refuses what sets.
    call("settimeofday", [164, 79, 170, 79], REFUSE),
    call("stime", [NONE, 25, NONE, NONE], REFUSE),
    call("clock_settime", [227, 264, 112, 262], REFUSE),
    call("clock_settime64", [NONE, 404, NONE, 404], REFUSE),
    // The host's log, which every user may read where kernel.dmesg_restrict is 0.
    call("syslog", [103, 103, 116, 103], REFUSE),
    // Loads a program's library by the rules of 1991.
    call("uselib", [134, 86, NONE, 86], REFUSE),
    // A file by its number, past the directories that lead to it.
    opened_by("handles", "open_by_handle_at", [304, 342, 265, 371], REFUSE),
    opened_by("bpf", "bpf", [321, 357, 280, 386], REFUSE),
    opened_by("perf", "perf_event_open", [298, 336, 241, 364], REFUSE),
    opened_by("userfaultfd", "userfaultfd", [323, 374, 282, 388], REFUSE),
    // request_key has the host's root start a program of the host; add_key has the kernel read certificates.
    opened_by("keys", "add_key", [248, 286, 217, 309], MISSING),
    opened_by("keys", "request_key", [249, 287, 218, 310], MISSING),
    // The calls that it carries out pass no filter.
    opened_by("io-uring", "io_uring_setup", [425, 425, 425, 425], MISSING),
    opened_by("io-uring", "io_uring_enter", [426, 426, 426, 426], MISSING),
    opened_by("io-uring", "io_uring_register", [427, 427, 427, 427], MISSING),
    // Looked at more closely.
    call("ioctl", [16, 54, 29, 54], SyscallRule::Ioctl),
    call("fcntl", [72, 55, 25, 55], SyscallRule::Fcntl),
    call("fcntl64", [NONE, 221, NONE, 221], SyscallRule::Fcntl),
    call("personality", [135, 136, 92, 136], SyscallRule::Personality),
    call("socket", [41, 359, 198, 281], SyscallRule::Socket),
    call("socketpair", [53, 360, 199, 288], SyscallRule::Socket),
    opened_by("socketcall", "socketcall", [NONE, 102, NONE, NONE], SyscallRule::SocketCall),
    call("mount", [165, 21, 40, 21], SyscallRule::Mount),
    call("fsopen", [430, 430, 430, 430], SyscallRule::NewFileSystem),
];
