//! A seccomp filter that looks at one group of ioctl numbers, as classic BPF.
//!
//! ```text
//!  machine ──> number of the call ──> not ioctl, not seccomp: allowed
//!                     ├─ ioctl:   number outside the group: allowed; inside: as the rules say, else EPERM
//!                     └─ seccomp: a filter with a listener: EBUSY
//! ```
//!
//! A program may call the kernel by other conventions than its own: a 64-bit one by `int 0x80`, or by
//! the x32 numbers. Each has numbers of its own, and all of them reach the same device.
//!
//! Why a filter with a listener is refused: of two filters that both ask a listener, the newer one is
//! heard. While ours has its listener the kernel allows no second one. Once all who hold ours are dead
//! it would: the zone could answer itself, "go on".

use super::asm::{AT_MACHINE, AT_NUMBER, Assembler, Instruction, Label, RET_ALLOW, RET_ASK, argument, errno};

/// Group of ioctl numbers of `/dev/zfs`: `0x5a00` to `0x5aff`.
pub const GROUP: u32 = 0x5a00;
/// The bits of a number that say to which group it belongs.
pub const GROUP_MASK: u32 = 0xffff_ff00;

/// The treatment of one ioctl number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// The listener decides.
    Ask,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 8;

/// A way of calling the kernel: the machine's number in `linux/audit.h` and the calls that matter.
struct Convention {
    machine: u32,
    /// Bits of a call's number that count.
    mask: u32,
    ioctl: &'static [u32],
    seccomp: u32,
}

/// x32 is x86-64 with bit 30 set, where ioctl has a second number.
const X86_64: Convention =
    Convention { machine: 0xc000_003e, mask: 0xbfff_ffff, ioctl: &[16, 514], seccomp: 317 };
const I386: Convention = Convention { machine: 0x4000_0003, mask: u32::MAX, ioctl: &[54], seccomp: 354 };
const AARCH64: Convention = Convention { machine: 0xc000_00b7, mask: u32::MAX, ioctl: &[29], seccomp: 277 };
const ARM: Convention = Convention { machine: 0x4000_0028, mask: u32::MAX, ioctl: &[54], seccomp: 383 };
const ALL: [Convention; 4] = [X86_64, I386, AARCH64, ARM];

/// Makes the filter. `rules` are the ioctl numbers that are not simply refused.
pub fn filter(rules: &[(u32, Action)]) -> Vec<Instruction> {
    let mut a = Assembler::default();
    let (ioctl, seccomp, inside) = (a.label(), a.label(), a.label());
    let conventions: Vec<(Label, &Convention)> = ALL.iter().map(|c| (a.label(), c)).collect();
    a.load(AT_MACHINE);
    for (label, convention) in &conventions {
        a.goto_if(convention.machine, *label);
    }
    // No machine that runs this program knows another convention.
    a.ret(errno(libc::ENOSYS));
    for (label, convention) in &conventions {
        a.here(*label);
        a.load(AT_NUMBER);
        if convention.mask != u32::MAX {
            a.and(convention.mask);
        }
        for number in convention.ioctl {
            a.goto_if(*number, ioctl);
        }
        a.goto_if(convention.seccomp, seccomp);
        a.ret(RET_ALLOW);
    }
    a.here(seccomp);
    a.load(argument(1));
    a.and(NEW_LISTENER);
    a.ret_if(0, RET_ALLOW);
    a.ret(errno(libc::EBUSY));
    a.here(ioctl);
    a.load(argument(1));
    a.and(GROUP_MASK);
    a.goto_if(GROUP, inside);
    a.ret(RET_ALLOW);
    a.here(inside);
    a.load(argument(1));
    for (number, action) in rules {
        let what = match action {
            Action::Allow => RET_ALLOW,
            Action::Ask => RET_ASK,
        };
        a.ret_if(*number, what);
    }
    a.ret(errno(libc::EPERM));
    a.finish()
}

#[cfg(test)]
mod tests {
    use super::super::asm::{RET_ERRNO, tests::run};
    use super::*;

    const RULES: &[(u32, Action)] = &[(0x5a12, Action::Allow), (0x5a16, Action::Ask)];

    fn ways() -> Vec<(u32, u32)> {
        let x32 = 1 << 30;
        let mut list = vec![(X86_64.machine, 16 | x32), (X86_64.machine, 514 | x32)];
        for c in &ALL {
            list.extend(c.ioctl.iter().map(|n| (c.machine, *n)));
        }
        list
    }

    #[test]
    fn every_way_to_ioctl_is_seen() {
        let program = filter(RULES);
        for (machine, number) in ways() {
            let result = |cmd: u64| run(&program, machine, number, &[3, cmd]);
            assert_eq!(result(0x5a12), RET_ALLOW);
            assert_eq!(result(0x5a16), RET_ASK);
            // The kernel takes the lower half only.
            assert_eq!(result(0xdead_beef_0000_5a16), RET_ASK);
            for other in (0x5a00..=0x5aff).filter(|n| ![0x5a12, 0x5a16].contains(n)) {
                assert_eq!(result(other), RET_ERRNO | 1, "{other:#x}");
            }
            for outside in [0, 0x5401, 0x59ff, 0x5b00, 0x15a16, 0xc000_5a16] {
                assert_eq!(result(outside), RET_ALLOW, "{outside:#x}");
            }
        }
    }

    #[test]
    fn no_second_listener() {
        let program = filter(RULES);
        for c in &ALL {
            let result = |flags: u64| run(&program, c.machine, c.seccomp, &[1, flags]);
            for flags in 0..64 {
                let wanted = if flags & 8 == 0 { RET_ALLOW } else { RET_ERRNO | 16 };
                assert_eq!(result(flags), wanted, "{flags}");
            }
            assert_eq!(result(1 << 35 | 8), RET_ERRNO | 16);
        }
    }

    #[test]
    fn all_else_is_allowed_at_once() {
        let program = filter(RULES);
        for c in &ALL {
            for number in (0..600).filter(|n| !c.ioctl.contains(n) && *n != c.seccomp) {
                assert_eq!(run(&program, c.machine, number, &[3, 0x5a48]), RET_ALLOW);
            }
        }
        // Big-endian MIPS, for one.
        assert_eq!(run(&program, 8, 0, &[]), RET_ERRNO | 38);
    }
}
