//! The filter that every process of a zone is under.
//!
//! ```text
//!  machine ──> number of the call, by halves ──> allowed
//!                  ├─ refused: EPERM, or ENOSYS where programs try before they rely on it
//!                  ├─ above the last known number, or an x32 call: ENOSYS
//!                  └─ ioctl, fcntl, personality, socket, mount: by their arguments
//! ```
//!
//! The memory that an argument points to is never looked at: another thread could change it meanwhile. So
//! `socketcall`, the 32-bit call whose arguments lie in memory, makes no sockets at all unless the zone is allowed
//! to.
//!
//! The number -1 is let through. No call has it: a tracer puts it in the place of a call that it answers
//! itself.

use super::asm::{AT_MACHINE, AT_NUMBER, Assembler, Instruction, Label, Leaf, RET_ALLOW, argument, errno};
use super::calls::{CALLS, FCNTL, IOCTL, LAST, Machine, NONE, RestrictedCall, RestrictedRequest};
use super::filter as zfs;

/// The treatment of a call that is not simply allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallRule {
    /// It fails with this error number.
    Refuse(i32),
    /// By the request: refused are those that push input into a terminal, those of [`IOCTL`], and those of ZFS
    /// unless a guard checks them.
    Ioctl,
    /// By the request: none of [`FCNTL`].
    Fcntl,
    /// By the flags: none that makes a program easier to attack.
    Personality,
    /// By the address family.
    Socket,
    /// By the function: none that makes a socket of a family that cannot be seen.
    SocketCall,
    /// By the flags, when the zone may mount no new file systems.
    Mount,
    /// Refused when the zone may mount no new file systems.
    NewFileSystem,
}

/// The calls that one zone's filter lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallPolicy {
    /// Groups of calls that are opened, as the table names them, and [`FAMILIES`].
    pub open: Vec<&'static str>,
    /// Flags that personality(2) may not set.
    pub personality: u32,
    /// New file systems can be mounted, as far as the kernel lets a user namespace.
    pub mounts: bool,
    /// Requests to the control device of ZFS get past this filter: another one looks at them.
    pub zfs: bool,
}

/// The group that opens all address families but one: AF_VSOCK reaches the host.
pub const FAMILIES: &str = "families";

/// Unix, IPv4, IPv6, netlink, packet.
const USUAL_FAMILIES: [u32; 5] = [1, 2, 10, 16, 17];
/// Between a virtual machine and its host, past the network namespace.
const VSOCK: u32 = 40;
const NETLINK: u32 = 16;
/// The kernel has audit for the host only. Login programs take this error for a kernel without audit, and
/// every other one for a failure.
const NETLINK_AUDIT: u32 = 9;

// The requests of ioctl_tty(2) and ioctl_console(2) that put words into the mouth of another user.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// `SYS_SOCKET` and `SYS_SOCKETPAIR` of socketcall(2).
const MAKE_SOCKET: [u32; 2] = [1, 8];

// mount(2). Without one of these, a call makes a new file system.
const MS_OLD: u32 = 32 | 4096 | 8192;
const MS_PROPAGATION: u32 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;
/// A prefix that programs of the last century pass, and the kernel takes away: it has bits of the above.
const MS_MAGIC: u32 = 0xc0ed_0000;

/// `personality(0xffffffff)` asks.
const ASK_PERSONALITY: u32 = u32::MAX;

/// Private calls of 32-bit ARM, `cacheflush` and `set_tls` among them.
const ARM_PRIVATE: std::ops::Range<u32> = 0xf_0001..0xf_0007;

/// A way of calling the kernel: the machine's number in `linux/audit.h`.
const MACHINES: [(Machine, u32); 4] = [
    (Machine::X86_64, 0xc000_003e),
    (Machine::I386, 0x4000_0003),
    (Machine::Aarch64, 0xc000_00b7),
    (Machine::Arm, 0x4000_0028),
];

/// The ways of calling that there are where this program runs.
const HERE: &[Machine] = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
    &[Machine::X86_64, Machine::I386]
} else if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
    &[Machine::Aarch64, Machine::Arm]
} else {
    &[]
};

/// The numbers of this machine's calls are known: zones on it are filtered.
pub const IS_KNOWN_MACHINE: bool = !HERE.is_empty();

/// The blocks that look at arguments.
struct Blocks {
    ioctl: Label,
    fcntl: Label,
    personality: Label,
    socket: Label,
    socketcall: Label,
    mount: Label,
}

/// Makes the filter for the machine that this program runs on.
pub fn program(policy: &SyscallPolicy) -> Vec<Instruction> {
    program_for(HERE, policy)
}

fn program_for(machines: &[Machine], policy: &SyscallPolicy) -> Vec<Instruction> {
    let mut a = Assembler::default();
    let blocks = Blocks {
        ioctl: a.label(),
        fcntl: a.label(),
        personality: a.label(),
        socket: a.label(),
        socketcall: a.label(),
        mount: a.label(),
    };
    let all: Vec<_> = MACHINES.iter().filter(|(m, _)| machines.contains(m)).map(|m| (a.label(), m)).collect();
    a.load(AT_MACHINE);
    for (label, (_, number)) in &all {
        a.goto_if(*number, *label);
    }
    a.ret(errno(libc::ENOSYS));
    for (label, (machine, _)) in &all {
        a.here(*label);
        a.load(AT_NUMBER);
        a.search(&ranges(*machine, policy, &blocks));
    }
    arguments(&mut a, policy, &blocks);
    a.finish()
}

/// Returns what becomes of a call.
fn leaf(call: &RestrictedCall, policy: &SyscallPolicy, blocks: &Blocks) -> Leaf {
    if call.group.is_some_and(|g| policy.open.contains(&g)) {
        return Leaf::Return(RET_ALLOW);
    }
    match call.rule {
        SyscallRule::Refuse(number) => Leaf::Return(errno(number)),
        SyscallRule::Ioctl => Leaf::Goto(blocks.ioctl),
        SyscallRule::Fcntl => Leaf::Goto(blocks.fcntl),
        SyscallRule::Personality => Leaf::Goto(blocks.personality),
        SyscallRule::Socket => Leaf::Goto(blocks.socket),
        SyscallRule::SocketCall => Leaf::Goto(blocks.socketcall),
        SyscallRule::Mount | SyscallRule::NewFileSystem if policy.mounts => Leaf::Return(RET_ALLOW),
        SyscallRule::Mount => Leaf::Goto(blocks.mount),
        SyscallRule::NewFileSystem => Leaf::Return(errno(libc::EPERM)),
    }
}

/// Divides all numbers into ranges of one fate.
fn ranges(machine: Machine, policy: &SyscallPolicy, blocks: &Blocks) -> Vec<(u32, Leaf)> {
    let (allowed, unknown) = (Leaf::Return(RET_ALLOW), Leaf::Return(errno(libc::ENOSYS)));
    let mut calls: Vec<(u32, Leaf)> = CALLS
        .iter()
        .map(|c| (c.numbers[machine as usize], leaf(c, policy, blocks)))
        .filter(|(number, _)| *number != NONE)
        .collect();
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut all = vec![(0, allowed)];
    for (number, leaf) in calls {
        all.extend([(number, leaf), (number + 1, allowed)]);
    }
    all.push((LAST + 1, unknown));
    if machine == Machine::Arm {
        all.extend([(ARM_PRIVATE.start, allowed), (ARM_PRIVATE.end, unknown)]);
    }
    all.push((u32::MAX, allowed));
    // Of two ranges that begin at one number the later one counts; neighbours of the same treatment are merged.
    let mut merged: Vec<(u32, Leaf)> = Vec::with_capacity(all.len());
    for (start, leaf) in all {
        if merged.last().is_some_and(|last| last.0 == start) {
            merged.pop();
        }
        if merged.last().is_none_or(|last| last.1 != leaf) {
            merged.push((start, leaf));
        }
    }
    merged
}

/// Refuses the requests of a list whose group is not opened.
fn requests(a: &mut Assembler, list: &[RestrictedRequest], policy: &SyscallPolicy) {
    for request in list.iter().filter(|r| !policy.open.contains(&r.group)) {
        a.ret_if(request.number, errno(request.error));
    }
}

/// Checks arguments. The kernel uses only the lower half of each.
fn arguments(a: &mut Assembler, policy: &SyscallPolicy, blocks: &Blocks) {
    let refused = errno(libc::EPERM);
    a.here(blocks.ioctl);
    a.load(argument(1));
    a.ret_if(TIOCSTI, refused);
    a.ret_if(TIOCLINUX, refused);
    requests(a, IOCTL, policy);
    if !policy.zfs {
        a.and(zfs::GROUP_MASK);
        a.ret_if(zfs::GROUP, refused);
    }
    a.ret(RET_ALLOW);

    a.here(blocks.fcntl);
    a.load(argument(1));
    requests(a, FCNTL, policy);
    a.ret(RET_ALLOW);

    a.here(blocks.personality);
    a.load(argument(0));
    a.ret_if(ASK_PERSONALITY, RET_ALLOW);
    a.ret_if_any(policy.personality, refused);
    a.ret(RET_ALLOW);

    let no_family = errno(libc::EAFNOSUPPORT);
    let netlink = a.label();
    a.here(blocks.socket);
    a.load(argument(0));
    a.goto_if(NETLINK, netlink);
    if policy.open.contains(&FAMILIES) {
        a.ret_if(VSOCK, no_family);
        a.ret(RET_ALLOW);
    } else {
        for family in USUAL_FAMILIES.into_iter().filter(|f| *f != NETLINK) {
            a.ret_if(family, RET_ALLOW);
        }
        a.ret(no_family);
    }
    a.here(netlink);
    a.load(argument(2));
    a.ret_if(NETLINK_AUDIT, no_family);
    a.ret(RET_ALLOW);

    a.here(blocks.socketcall);
    a.load(argument(0));
    for function in MAKE_SOCKET {
        a.ret_if(function, errno(libc::ENOSYS));
    }
    a.ret(RET_ALLOW);

    let magic = a.label();
    a.here(blocks.mount);
    a.load(argument(3));
    a.and(0xffff_0000);
    a.goto_if(MS_MAGIC, magic);
    a.load(argument(3));
    a.ret_if_any(MS_OLD | MS_PROPAGATION, RET_ALLOW);
    a.ret(refused);
    a.here(magic);
    a.load(argument(3));
    a.ret_if_any(MS_OLD, RET_ALLOW);
    a.ret(refused);
}

#[cfg(test)]
mod tests {
    use super::super::asm::{RET_ERRNO, tests::run};
    use super::*;

    const ALL: [Machine; 4] = [Machine::X86_64, Machine::I386, Machine::Aarch64, Machine::Arm];

    fn policy() -> SyscallPolicy {
        SyscallPolicy { open: Vec::new(), personality: 0x0050_0000, mounts: true, zfs: false }
    }

    fn refused(number: i32) -> u32 {
        RET_ERRNO | number.unsigned_abs()
    }

    /// Calls one call of the table on every machine that has it.
    fn everywhere(policy: &SyscallPolicy, name: &str, args: &[u64]) -> Vec<u32> {
        let call = CALLS.iter().find(|c| c.name == name).expect("in the table");
        let program = program_for(&ALL, policy);
        let list = MACHINES.iter().filter(|(m, _)| call.numbers[*m as usize] != NONE);
        list.map(|(m, machine)| run(&program, *machine, call.numbers[*m as usize], args)).collect()
    }

    #[test]
    fn what_the_table_refuses_is_refused_on_every_machine() {
        for call in CALLS {
            let SyscallRule::Refuse(number) = call.rule else { continue };
            let results = everywhere(&policy(), call.name, &[]);
            assert!(!results.is_empty() && results.iter().all(|r| *r == refused(number)), "{}", call.name);
            let Some(group) = call.group else { continue };
            let open = SyscallPolicy { open: vec![group], ..policy() };
            assert!(everywhere(&open, call.name, &[]).iter().all(|r| *r == RET_ALLOW), "{}", call.name);
        }
    }

    #[test]
    fn all_else_up_to_the_last_known_call_is_allowed() {
        let program = program_for(&ALL, &policy());
        for (machine, number) in MACHINES {
            let named: Vec<u32> = CALLS.iter().map(|c| c.numbers[machine as usize]).collect();
            for other in (0..=LAST).filter(|n| !named.contains(n)) {
                assert_eq!(run(&program, number, other, &[]), RET_ALLOW, "{machine:?} {other}");
            }
            for unknown in [LAST + 1, 512, 547, 0x4000_0000, 0x4000_0010, 0xf_0000, u32::MAX - 1] {
                let result = run(&program, number, unknown, &[0, 1]);
                assert_eq!(result, refused(libc::ENOSYS), "{machine:?} {unknown:#x}");
            }
            assert_eq!(run(&program, number, u32::MAX, &[]), RET_ALLOW, "a call that a tracer answers");
            let private = run(&program, number, 0xf_0002, &[]);
            assert_eq!(private == RET_ALLOW, machine == Machine::Arm);
        }
        assert_eq!(run(&program, 8, 0, &[]), refused(libc::ENOSYS), "another machine");
    }

    #[test]
    fn terminals_are_not_typed_into() {
        for (request, is_refused) in
            [(0x5412, true), (0x541c, true), (0xdead_0000_5412, true), (0x5413, false)]
        {
            let wanted = if is_refused { refused(libc::EPERM) } else { RET_ALLOW };
            assert!(
                everywhere(&policy(), "ioctl", &[0, request]).iter().all(|r| *r == wanted),
                "{request:#x}"
            );
        }
    }

    #[test]
    fn what_an_owner_does_without_write_access_is_refused_unless_its_group_is_opened() {
        let ways: &[(&str, usize, &[RestrictedRequest])] =
            &[("fcntl", 4, FCNTL), ("fcntl64", 2, FCNTL), ("ioctl", 4, IOCTL)];
        for (name, machines, list) in ways {
            let all = |p: &SyscallPolicy, number: u64, wanted: u32| {
                let results = everywhere(p, name, &[0, number]);
                assert_eq!(results, vec![wanted; *machines], "{name} {number:#x}");
            };
            for request in *list {
                let open = SyscallPolicy { open: vec![request.group], ..policy() };
                for upper in [0, 0xdead << 32] {
                    all(&policy(), upper | u64::from(request.number), refused(request.error));
                    all(&open, upper | u64::from(request.number), RET_ALLOW);
                }
                let other = SyscallPolicy { open: vec!["perf"], ..policy() };
                all(&other, request.number.into(), refused(request.error));
            }
            for number in (0..64).chain(1024..1100).chain(0x5000_9400..0x5000_9440) {
                if !list.iter().any(|r| u64::from(r.number) == number) {
                    all(&policy(), number, RET_ALLOW);
                }
            }
        }
    }

    #[test]
    fn zfs_is_asked_for_nothing_where_nobody_looks() {
        let guarded = SyscallPolicy { zfs: true, ..policy() };
        for request in [0x5a00, 0x5a12, 0x5aff, 0xdead_0000_5a3c] {
            let results = everywhere(&policy(), "ioctl", &[0, request]);
            assert!(results.iter().all(|r| *r == refused(libc::EPERM)), "{request:#x}");
            assert!(everywhere(&guarded, "ioctl", &[0, request]).iter().all(|r| *r == RET_ALLOW));
        }
        for other in [0x59ff, 0x5b00, 0xc000_5a3c] {
            assert!(everywhere(&policy(), "ioctl", &[0, other]).iter().all(|r| *r == RET_ALLOW));
        }
    }

    #[test]
    fn personalities() {
        for (flags, is_refused) in [
            (0, false),
            (8, false),
            (0x0004_0000, false),
            (0xffff_ffff, false),
            (0x0040_0000, true),
            (0x0010_0000, true),
            (0xffff_fffe, true),
            (0x1_0040_0000, true),
        ] {
            let wanted = if is_refused { refused(libc::EPERM) } else { RET_ALLOW };
            assert!(
                everywhere(&policy(), "personality", &[flags]).iter().all(|r| *r == wanted),
                "{flags:#x}"
            );
        }
    }

    #[test]
    fn families() {
        let open = SyscallPolicy { open: vec![FAMILIES], ..policy() };
        for name in ["socket", "socketpair"] {
            let all = |p: &SyscallPolicy, args: &[u64], wanted: u32| {
                assert!(everywhere(p, name, args).iter().all(|r| *r == wanted), "{name} {args:?}");
            };
            for family in 0..64 {
                let usual = [1, 2, 10, 16, 17].contains(&family);
                let wanted = if usual { RET_ALLOW } else { refused(libc::EAFNOSUPPORT) };
                all(&policy(), &[family, 3, 0], wanted);
                let wanted = if family == 40 { refused(libc::EAFNOSUPPORT) } else { RET_ALLOW };
                all(&open, &[family, 3, 0], wanted);
            }
            for policy in [&policy(), &open] {
                all(policy, &[16, 3, 9], refused(libc::EAFNOSUPPORT));
                all(policy, &[16, 3, 15], RET_ALLOW);
                all(policy, &[0xf_0000_0028, 1, 0], refused(libc::EAFNOSUPPORT));
            }
        }
        assert_eq!(everywhere(&policy(), "socketcall", &[1, 0]), [refused(libc::ENOSYS)]);
        assert_eq!(everywhere(&policy(), "socketcall", &[8, 0]), [refused(libc::ENOSYS)]);
        assert_eq!(everywhere(&policy(), "socketcall", &[3, 0]), [RET_ALLOW]);
    }

    #[test]
    fn a_zone_without_file_systems_of_its_own() {
        let none = SyscallPolicy { mounts: false, ..policy() };
        let all = |p: &SyscallPolicy, flags: u64, wanted: u32| {
            let results = everywhere(p, "mount", &[0, 0, 0, flags, 0]);
            assert!(results.len() == 4 && results.iter().all(|r| *r == wanted), "{flags:#x}");
        };
        for new in [0, 1, 0x8000, 0xc0ed_0000, 0xc0ed_8001, 1 << 32 | 1] {
            all(&policy(), new, RET_ALLOW);
            all(&none, new, refused(libc::EPERM));
        }
        for old in [32, 4096, 4096 | 16384, 8192, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 0xc0ed_1000] {
            all(&none, old, RET_ALLOW);
        }
        assert!(everywhere(&none, "fsopen", &[]).iter().all(|r| *r == refused(libc::EPERM)));
        assert!(everywhere(&policy(), "fsopen", &[]).iter().all(|r| *r == RET_ALLOW));
    }

    #[test]
    fn the_program_is_short_and_its_paths_are() {
        let program = program(&policy());
        assert!(program.len() < 700, "{} instructions", program.len());
    }
}
