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

/// Group of ioctl numbers of `/dev/zfs`: `0x5a00` to `0x5aff`.
pub const GROUP: u32 = 0x5a00;
const GROUP_MASK: u32 = 0xffff_ff00;

/// What happens to one ioctl number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// The listener decides.
    Ask,
}

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u16,
    when_true: u8,
    when_false: u8,
    k: u32,
}

// BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_JMP | BPF_JA, BPF_ALU | BPF_AND, BPF_RET, all with a constant.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP: u16 = 0x05;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ASK: u32 = 0x7fc0_0000;
const RET_ERRNO: u32 = 0x0005_0000;

// Places in `struct seccomp_data`, and of the lower half of the second argument.
const AT_NUMBER: u32 = 0;
const AT_MACHINE: u32 = 4;
const AT_ARGUMENT_1: u32 = if cfg!(target_endian = "little") { 24 } else { 28 };

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

/// A place in the program that is not known yet.
#[derive(Clone, Copy)]
struct Label(usize);

/// Instructions with open jumps.
#[derive(Default)]
struct Assembler {
    program: Vec<Instruction>,
    places: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    fn here(&mut self, label: Label) {
        self.places[label.0] = Some(self.program.len());
    }

    fn push(&mut self, code: u16, when_true: u8, when_false: u8, k: u32) {
        self.program.push(Instruction { code, when_true, when_false, k });
    }

    fn load(&mut self, at: u32) {
        self.push(LOAD, 0, 0, at);
    }

    fn and(&mut self, mask: u32) {
        self.push(AND, 0, 0, mask);
    }

    fn ret(&mut self, what: u32) {
        self.push(RETURN, 0, 0, what);
    }

    /// Goes to a label if the value is this one. Conditional jumps reach 255 instructions, plain ones
    /// any.
    fn goto_if(&mut self, value: u32, label: Label) {
        self.push(JUMP_EQUAL, 0, 1, value);
        self.jumps.push((self.program.len(), label));
        self.push(JUMP, 0, 0, 0);
    }

    fn ret_if(&mut self, value: u32, what: u32) {
        self.push(JUMP_EQUAL, 0, 1, value);
        self.ret(what);
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            // Every label has its place by now, behind the jump: BPF knows no way back.
            let to = self.places[label.0].unwrap_or(at + 1);
            self.program[at].k = u32::try_from(to.saturating_sub(at + 1)).unwrap_or(0);
        }
        self.program
    }
}

fn errno(number: i32) -> u32 {
    RET_ERRNO | number.unsigned_abs()
}

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
    a.load(AT_ARGUMENT_1);
    a.and(NEW_LISTENER);
    a.ret_if(0, RET_ALLOW);
    a.ret(errno(libc::EBUSY));
    a.here(ioctl);
    a.load(AT_ARGUMENT_1);
    a.and(GROUP_MASK);
    a.goto_if(GROUP, inside);
    a.ret(RET_ALLOW);
    a.here(inside);
    a.load(AT_ARGUMENT_1);
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
    use super::*;

    const RULES: &[(u32, Action)] = &[(0x5a12, Action::Allow), (0x5a16, Action::Ask)];

    /// Runs a program as the kernel does; panics on what the kernel would not load.
    fn run(program: &[Instruction], machine: u32, number: u32, args: [u64; 2]) -> u32 {
        let mut data = [0u8; 64];
        data[0..4].copy_from_slice(&number.to_ne_bytes());
        data[4..8].copy_from_slice(&machine.to_ne_bytes());
        data[16..24].copy_from_slice(&args[0].to_ne_bytes());
        data[24..32].copy_from_slice(&args[1].to_ne_bytes());
        assert!(program.len() <= 4096);
        let (mut at, mut value) = (0, 0);
        loop {
            let i = program[at];
            at += 1;
            match i.code {
                LOAD => {
                    let from = i.k as usize;
                    assert!(from.is_multiple_of(4));
                    value = u32::from_ne_bytes(data[from..from + 4].try_into().expect("four bytes"));
                }
                AND => value &= i.k,
                JUMP_EQUAL => at += usize::from(if value == i.k { i.when_true } else { i.when_false }),
                JUMP => at += i.k as usize,
                RETURN => return i.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

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
            let result = |cmd: u64| run(&program, machine, number, [3, cmd]);
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
            let result = |flags: u64| run(&program, c.machine, c.seccomp, [1, flags]);
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
                assert_eq!(run(&program, c.machine, number, [3, 0x5a48]), RET_ALLOW);
            }
        }
        // Big-endian MIPS, for one.
        assert_eq!(run(&program, 8, 0, [0, 0]), RET_ERRNO | 38);
    }
}
