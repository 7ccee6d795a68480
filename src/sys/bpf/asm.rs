//! An assembler for programs of the kernel's virtual machine (bpf(2)): a few words that make
//! instructions, and labels. Nothing here talks to the kernel.
//!
//! Registers: [`R0`] holds results, [`R1`] to [`R5`] arguments, which a call destroys; [`R6`] to [`R9`]
//! are kept; [`FP`] is the end of 512 bytes of stack, whose places are negative.

use std::collections::BTreeMap;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(u8);

/// Results.
pub const R0: Reg = Reg(0);
/// First argument; the packet when a program begins.
pub const R1: Reg = Reg(1);
/// Second argument.
pub const R2: Reg = Reg(2);
/// Third argument.
pub const R3: Reg = Reg(3);
/// Fourth argument.
pub const R4: Reg = Reg(4);
/// Fifth argument.
pub const R5: Reg = Reg(5);
/// Kept over calls.
pub const R6: Reg = Reg(6);
/// Kept over calls.
pub const R7: Reg = Reg(7);
/// Kept over calls.
pub const R8: Reg = Reg(8);
/// Kept over calls.
pub const R9: Reg = Reg(9);
/// End of the stack; cannot be written.
pub const FP: Reg = Reg(10);

/// How much is loaded or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits.
    Double,
}

impl Size {
    fn code(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }
}

/// When a jump is taken. All compare without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum If {
    /// Equal.
    Equal,
    /// Not equal.
    Differ,
    /// Greater.
    Above,
    /// Greater or equal.
    AtLeast,
    /// Some of these bits are set.
    Bits,
}

impl If {
    fn code(self) -> u8 {
        match self {
            Self::Equal => 0x10,
            Self::Above => 0x20,
            Self::AtLeast => 0x30,
            Self::Bits => 0x40,
            Self::Differ => 0x50,
        }
    }
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AluOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Bits that both have.
    And,
    /// Bitwise exclusive or.
    Xor,
    /// Towards the lower bits.
    ShiftRight,
    /// Towards the higher bits.
    ShiftLeft,
}

impl AluOp {
    fn code(self) -> u8 {
        match self {
            Self::Add => 0x00,
            Self::Sub => 0x10,
            Self::Mul => 0x20,
            Self::And => 0x50,
            Self::Xor => 0xa0,
            Self::ShiftLeft => 0x60,
            Self::ShiftRight => 0x70,
        }
    }
}

/// A place in the program that jumps lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfLabel(usize);

/// A program that is being written.
#[derive(Clone, Debug, Default)]
pub struct Asm {
    code: Vec<u64>,
    jumps: Vec<(usize, BpfLabel)>,
    places: Vec<Option<usize>>,
}

impl Asm {
    /// Begins a program.
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, code: u8, dst: Reg, src: Reg, offset: i16, value: i32) {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = value.to_le_bytes();
        self.code.push(u64::from_ne_bytes(if cfg!(target_endian = "little") {
            [code, dst.0 | src.0 << 4, low, high, a, b, c, d]
        } else {
            [code, dst.0 << 4 | src.0, high, low, d, c, b, a]
        }));
    }

    /// Makes a label that has no place yet.
    pub fn label(&mut self) -> BpfLabel {
        self.places.push(None);
        BpfLabel(self.places.len() - 1)
    }

    /// Puts a label here.
    pub fn here(&mut self, label: BpfLabel) {
        self.places[label.0] = Some(self.code.len());
    }

    /// Sets a register to a number.
    pub fn set(&mut self, dst: Reg, value: i32) {
        self.put(0xb7, dst, R0, 0, value);
    }

    /// Sets a register to a number of 64 bits.
    pub fn set_wide(&mut self, dst: Reg, value: u64) {
        self.wide(dst, R0, value);
    }

    /// Sets a register to a map, by its descriptor.
    pub fn set_map(&mut self, dst: Reg, fd: i32) {
        // Source register 1 says that the number is a descriptor (BPF_PSEUDO_MAP_FD).
        self.wide(dst, R1, u64::from(fd.cast_unsigned()));
    }

    fn wide(&mut self, dst: Reg, src: Reg, value: u64) {
        let half = |v: u64| u32::try_from(v & 0xffff_ffff).unwrap_or(0).cast_signed();
        self.put(WIDE, dst, src, 0, half(value));
        self.put(0x00, R0, R0, 0, half(value >> 32));
    }

    /// Copies a register.
    pub fn copy(&mut self, dst: Reg, src: Reg) {
        self.put(0xbf, dst, src, 0, 0);
    }

    /// Computes with a number.
    pub fn op(&mut self, op: AluOp, dst: Reg, value: i32) {
        self.put(0x07 | op.code(), dst, R0, 0, value);
    }

    /// Computes with a register.
    pub fn op_reg(&mut self, op: AluOp, dst: Reg, src: Reg) {
        self.put(0x0f | op.code(), dst, src, 0, 0);
    }

    /// Points a register at a place of the stack.
    pub fn stack(&mut self, dst: Reg, at: i16) {
        self.copy(dst, FP);
        self.op(AluOp::Add, dst, i32::from(at));
    }

    /// Loads from memory.
    pub fn load(&mut self, size: Size, dst: Reg, src: Reg, at: i16) {
        self.put(0x61 | size.code(), dst, src, at, 0);
    }

    /// Stores a register.
    pub fn store(&mut self, size: Size, dst: Reg, at: i16, src: Reg) {
        self.put(0x63 | size.code(), dst, src, at, 0);
    }

    /// Stores a number.
    pub fn store_number(&mut self, size: Size, dst: Reg, at: i16, value: i32) {
        self.put(0x62 | size.code(), dst, R0, at, value);
    }

    /// Stores `src` at an address if `R0` equals the value there; `R0` is the former value then.
    pub fn compare_exchange(&mut self, dst: Reg, at: i16, src: Reg) {
        self.put(0xdb, dst, src, at, 0xf1);
    }

    /// Jumps.
    pub fn jump(&mut self, to: BpfLabel) {
        self.jumps.push((self.code.len(), to));
        self.put(JUMP, R0, R0, 0, 0);
    }

    /// Jumps if the lower 32 bits of a register compare so with a number.
    pub fn jump_if(&mut self, reg: Reg, when: If, value: i32, to: BpfLabel) {
        self.jumps.push((self.code.len(), to));
        self.put(0x06 | when.code(), reg, R0, 0, value);
    }

    /// Jumps if a register compares so, on 64 bits, with a number.
    pub fn jump_if_wide(&mut self, reg: Reg, when: If, value: i32, to: BpfLabel) {
        self.jumps.push((self.code.len(), to));
        self.put(0x05 | when.code(), reg, R0, 0, value);
    }

    /// Jumps if two registers compare so, on 64 bits.
    pub fn jump_if_reg(&mut self, reg: Reg, when: If, other: Reg, to: BpfLabel) {
        self.jumps.push((self.code.len(), to));
        self.put(0x0d | when.code(), reg, other, 0, 0);
    }

    /// Jumps if a register is negative.
    pub fn jump_if_negative(&mut self, reg: Reg, to: BpfLabel) {
        self.jumps.push((self.code.len(), to));
        self.put(0xc5, reg, R0, 0, 0);
    }

    /// Jumps unless the bytes at a place of the stack are these. Destroys `scratch`.
    pub fn jump_unless_bytes(&mut self, at: i16, bytes: &[u8], scratch: Reg, to: BpfLabel) {
        let mut at = at;
        let mut rest = bytes;
        // The verifier wants accesses to the stack aligned.
        while !rest.is_empty() {
            let step = match (at.rem_euclid(4), rest.len()) {
                (0, 4..) => 4,
                (0 | 2, 2..) => 2,
                _ => 1,
            };
            let (part, left) = rest.split_at(step);
            let (size, value) = match *part {
                [a, b, c, d] => (Size::Word, i32::from_ne_bytes([a, b, c, d])),
                [a, b] => (Size::Half, i32::from(u16::from_ne_bytes([a, b]))),
                _ => (Size::Byte, i32::from(part[0])),
            };
            self.load(size, scratch, FP, at);
            self.jump_if(scratch, If::Differ, value, to);
            at += i16::try_from(step).unwrap_or(1);
            rest = left;
        }
    }

    /// Calls a function of the kernel (bpf-helpers(7)).
    pub fn call(&mut self, function: i32) {
        self.put(0x85, R0, R0, 0, function);
    }

    /// Ends the program with `R0` as its result.
    pub fn exit(&mut self) {
        self.put(EXIT, R0, R0, 0, 0);
    }

    /// Ends the program with a number.
    pub fn exit_with(&mut self, value: i32) {
        self.set(R0, value);
        self.exit();
    }

    /// Returns the instructions, with jumps that lead to their labels. Unreachable instructions are left out: the
    /// kernel refuses them.
    ///
    /// # Panics
    /// When a label was never put anywhere or is too far away: a mistake in a program of ours.
    pub fn finish(self) -> Vec<u64> {
        let targets: BTreeMap<usize, usize> = self
            .jumps
            .iter()
            .map(|(from, label)| (*from, self.places[label.0].expect("every label has a place")))
            .collect();
        let reached = self.reached(&targets);
        // New index of each instruction, or of the next kept one.
        let mut places = Vec::with_capacity(reached.len() + 1);
        let mut kept = 0_i64;
        for reached in &reached {
            places.push(kept);
            kept += i64::from(*reached);
        }
        places.push(kept);
        let mut code = Vec::new();
        for (at, instruction) in self.code.iter().enumerate().filter(|(at, _)| reached[*at]) {
            let mut bytes = instruction.to_ne_bytes();
            if let Some(to) = targets.get(&at) {
                let distance = i16::try_from(places[*to] - places[at] - 1).expect("programs are short");
                bytes[2..4].copy_from_slice(&distance.to_ne_bytes());
            }
            code.push(u64::from_ne_bytes(bytes));
        }
        code
    }

    /// Says of each instruction whether it is reachable.
    fn reached(&self, targets: &BTreeMap<usize, usize>) -> Vec<bool> {
        let mut reached = vec![false; self.code.len()];
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            if at >= reached.len() || std::mem::replace(&mut reached[at], true) {
                continue;
            }
            open.extend(targets.get(&at));
            match self.code[at].to_ne_bytes()[0] {
                EXIT | JUMP => {}
                // Two places long.
                WIDE => {
                    reached[at + 1] = true;
                    open.push(at + 2);
                }
                _ => open.push(at + 1),
            }
        }
        reached
    }
}

const EXIT: u8 = 0x95;
const JUMP: u8 = 0x05;
const WIDE: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_as_the_kernel_reads_them() {
        let mut a = Asm::new();
        let end = a.label();
        a.set(R0, -1);
        a.load(Size::Word, R2, R1, 8);
        a.jump_if(R2, If::Equal, 5, end);
        a.set_wide(R3, 0x1122_3344_5566_7788);
        a.here(end);
        a.exit();
        // Bytes: code, registers, offset, number.
        let bytes: Vec<[u8; 8]> = a.finish().into_iter().map(u64::to_ne_bytes).collect();
        assert_eq!(
            bytes,
            [
                [0xb7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff],
                [0x61, 0x12, 8, 0, 0, 0, 0, 0],
                [0x16, 0x02, 2, 0, 5, 0, 0, 0],
                [0x18, 0x03, 0, 0, 0x88, 0x77, 0x66, 0x55],
                [0x00, 0x00, 0, 0, 0x44, 0x33, 0x22, 0x11],
                [0x95, 0x00, 0, 0, 0, 0, 0, 0],
            ]
        );
    }

    #[test]
    fn what_nothing_leads_to_is_left_out() {
        let mut a = Asm::new();
        let (on, dead) = (a.label(), a.label());
        a.jump(on);
        a.here(dead);
        a.set_wide(R3, 7);
        a.jump(dead);
        a.here(on);
        a.exit();
        let code = a.finish();
        assert_eq!(code.len(), 2);
        assert_eq!(code[0].to_ne_bytes()[2..4], [0, 0]);
    }

    #[test]
    fn bytes_are_compared_in_aligned_steps() {
        let count = |at, length| {
            let mut a = Asm::new();
            let end = a.label();
            a.jump_unless_bytes(at, &vec![1; length], R0, end);
            a.here(end);
            a.exit();
            (a.finish().len() - 1) / 2
        };
        assert_eq!(count(-16, 6), 2);
        assert_eq!(count(-10, 6), 2);
        assert_eq!(count(-9, 6), 3);
        assert_eq!(count(-16, 16), 4);
    }
}
