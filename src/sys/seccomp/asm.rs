//! Programs of classic BPF over a system call (`struct seccomp_data`).

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u16,
    when_true: u8,
    when_false: u8,
    k: u32,
}

// BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ, _JGE, _JSET, BPF_JMP | BPF_JA, BPF_ALU | BPF_AND, BPF_RET, all
// with a constant.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_NOT_LESS: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const JUMP: u16 = 0x05;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// The call is carried out.
pub const RET_ALLOW: u32 = 0x7fff_0000;
/// A listener decides.
pub const RET_ASK: u32 = 0x7fc0_0000;
/// The call fails with the number in the lower half.
pub const RET_ERRNO: u32 = 0x0005_0000;

/// Place of the call's number in `struct seccomp_data`.
pub const AT_NUMBER: u32 = 0;
/// Place of the machine's number.
pub const AT_MACHINE: u32 = 4;

/// Returns the place of the lower half of an argument, counted from 0.
pub const fn argument(number: u32) -> u32 {
    16 + 8 * number + if cfg!(target_endian = "little") { 0 } else { 4 }
}

/// A place in the program that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// The treatment of a range of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The program ends with this result.
    Return(u32),
    /// It goes on there.
    Goto(Label),
}

/// Instructions with open jumps.
#[derive(Default)]
pub struct Assembler {
    program: Vec<Instruction>,
    places: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// Makes a label without a place.
    pub fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Gives a label its place: the next instruction.
    pub fn here(&mut self, label: Label) {
        self.places[label.0] = Some(self.program.len());
    }

    fn push(&mut self, code: u16, when_true: u8, when_false: u8, k: u32) {
        self.program.push(Instruction { code, when_true, when_false, k });
    }

    /// Takes the word at a place as the value.
    pub fn load(&mut self, at: u32) {
        self.push(LOAD, 0, 0, at);
    }

    /// Keeps these bits of the value.
    pub fn and(&mut self, mask: u32) {
        self.push(AND, 0, 0, mask);
    }

    /// Ends with a result.
    pub fn ret(&mut self, what: u32) {
        self.push(RETURN, 0, 0, what);
    }

    /// Goes to a label.
    pub fn goto(&mut self, label: Label) {
        self.jumps.push((self.program.len(), label));
        self.push(JUMP, 0, 0, 0);
    }

    /// Goes to a label if the value is this one. Conditional jumps reach 255 instructions, plain ones
    /// any.
    pub fn goto_if(&mut self, value: u32, label: Label) {
        self.push(JUMP_EQUAL, 0, 1, value);
        self.goto(label);
    }

    /// Ends with a result if the value is this one.
    pub fn ret_if(&mut self, value: u32, what: u32) {
        self.push(JUMP_EQUAL, 0, 1, value);
        self.ret(what);
    }

    /// Ends with a result if the value has any of these bits.
    pub fn ret_if_any(&mut self, bits: u32, what: u32) {
        self.push(JUMP_ANY_BIT, 0, 1, bits);
        self.ret(what);
    }

    /// Finds the range that the value lies in, by halves. Each range begins at its number and ends before
    /// the next one; the first begins at 0.
    pub fn search(&mut self, ranges: &[(u32, Leaf)]) {
        match ranges {
            [] => {}
            [(_, Leaf::Return(what))] => self.ret(*what),
            [(_, Leaf::Goto(label))] => self.goto(*label),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let upper = self.label();
                self.push(JUMP_NOT_LESS, 0, 1, high[0].0);
                self.goto(upper);
                self.search(low);
                self.here(upper);
                self.search(high);
            }
        }
    }

    /// Returns the program.
    pub fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            // Every label has its place by now, behind the jump: BPF knows no way back.
            let to = self.places[label.0].unwrap_or(at + 1);
            self.program[at].k = u32::try_from(to.saturating_sub(at + 1)).unwrap_or(0);
        }
        self.program
    }
}

/// Returns the result that refuses a call with an error number.
pub const fn errno(number: i32) -> u32 {
    RET_ERRNO | number.unsigned_abs()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a program as the kernel does; panics on a program that the kernel would not load.
    pub fn run(program: &[Instruction], machine: u32, number: u32, args: &[u64]) -> u32 {
        let mut data = [0u8; 64];
        data[0..4].copy_from_slice(&number.to_ne_bytes());
        data[4..8].copy_from_slice(&machine.to_ne_bytes());
        for (i, arg) in args.iter().enumerate() {
            data[16 + 8 * i..24 + 8 * i].copy_from_slice(&arg.to_ne_bytes());
        }
        assert!(program.len() <= 4096);
        let (mut at, mut value) = (0, 0);
        loop {
            let i = program[at];
            at += 1;
            let mut when = |yes: bool| at += usize::from(if yes { i.when_true } else { i.when_false });
            match i.code {
                LOAD => {
                    let from = i.k as usize;
                    assert!(from.is_multiple_of(4));
                    value = u32::from_ne_bytes(data[from..from + 4].try_into().expect("four bytes"));
                }
                AND => value &= i.k,
                JUMP_EQUAL => when(value == i.k),
                JUMP_NOT_LESS => when(value >= i.k),
                JUMP_ANY_BIT => when(value & i.k != 0),
                JUMP => at += i.k as usize,
                RETURN => return i.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn every_range_is_found() {
        let starts = [0, 1, 7, 8, 100, 469, 0xf_0000, u32::MAX];
        let ranges: Vec<_> = starts.iter().zip(1..).map(|(s, n)| (*s, Leaf::Return(n))).collect();
        let mut a = Assembler::default();
        a.load(AT_NUMBER);
        a.search(&ranges);
        let program = a.finish();
        for value in (0..600).chain([0xe_ffff, 0xf_0000, 0x4000_0000, u32::MAX - 1, u32::MAX]) {
            let wanted = starts.iter().filter(|s| **s <= value).count();
            assert_eq!(run(&program, 0, value, &[]) as usize, wanted, "{value}");
        }
    }
}
