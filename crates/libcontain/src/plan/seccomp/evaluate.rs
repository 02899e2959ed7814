//! An interpreter for seccomp's subset of classic BPF: what the kernel would answer.
//!
//! For tests, for `cntr plan` and for whoever wants to ask a filter about one call. It accepts exactly the
//! instructions that this compiler and libseccomp write; anything else, and a program that runs off its end,
//! is `None`, never a panic.

use super::Insn;
use super::arch::AUDIT_LITTLE_ENDIAN;

/// Opcodes: `BPF_LD | BPF_W | BPF_ABS` and so on (linux/bpf_common.h).
pub(super) mod op {
    pub const LOAD: u16 = 0x20;
    pub const AND: u16 = 0x54;
    pub const JUMP: u16 = 0x05;
    pub const JEQ: u16 = 0x15;
    pub const JGT: u16 = 0x25;
    pub const JGE: u16 = 0x35;
    pub const JSET: u16 = 0x45;
    pub const RETURN: u16 = 0x06;
}

/// `struct seccomp_data`: what a filter sees of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// The number, x32 bit included.
    pub nr: u32,
    /// AUDIT_ARCH_*; its byte order says how `args` lie in memory.
    pub arch: u32,
    /// Where the call was made.
    pub instruction_pointer: u64,
    /// The arguments.
    pub args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> Option<u32> {
        let long = match offset {
            0 => return Some(self.nr),
            4 => return Some(self.arch),
            8 | 12 => self.instruction_pointer,
            _ => *self.args.get(usize::try_from(offset.checked_sub(16)? / 8).ok()?)?,
        };
        let first = if self.arch & AUDIT_LITTLE_ENDIAN != 0 { long } else { long.rotate_left(32) };
        match offset % 8 {
            0 => u32::try_from(first & 0xffff_ffff).ok(),
            4 => u32::try_from(first >> 32).ok(),
            _ => None,
        }
    }
}

/// Runs `program` on `data`: the value returned (SECCOMP_RET_*), or `None` if the kernel would not load it.
#[must_use]
pub fn evaluate(program: &[Insn], data: &Data) -> Option<u32> {
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let insn = program.get(at)?;
        let taken = match insn.code {
            op::RETURN => return Some(insn.k),
            op::LOAD => {
                accumulator = data.word(insn.k)?;
                None
            }
            op::AND => {
                accumulator &= insn.k;
                None
            }
            op::JUMP => {
                at = at.checked_add(usize::try_from(insn.k).ok()?)?;
                None
            }
            op::JEQ => Some(accumulator == insn.k),
            op::JGT => Some(accumulator > insn.k),
            op::JGE => Some(accumulator >= insn.k),
            op::JSET => Some(accumulator & insn.k != 0),
            _ => return None,
        };
        at += 1 + match taken {
            Some(true) => usize::from(insn.jt),
            Some(false) => usize::from(insn.jf),
            None => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
        Insn { code, jt, jf, k }
    }

    fn data(arch: u32) -> Data {
        Data { nr: 7, arch, instruction_pointer: 1 << 32, args: [0x1122_3344_5566_7788, 0, 0, 0, 0, 9] }
    }

    #[test]
    fn loads_words_in_the_byte_order_of_the_caller() {
        for (arch, offset, expected) in [
            (0xc000_003e, 0, Some(7)),
            (0xc000_003e, 4, Some(0xc000_003e)),
            (0xc000_003e, 12, Some(1)),
            (0xc000_003e, 16, Some(0x5566_7788)),
            (0xc000_003e, 20, Some(0x1122_3344)),
            (0x8000_0016, 16, Some(0x1122_3344)),
            (0x8000_0016, 20, Some(0x5566_7788)),
            (0xc000_003e, 56, Some(9)),
            (0xc000_003e, 60, Some(0)),
            (0xc000_003e, 64, None),
            (0xc000_003e, 18, None),
        ] {
            assert_eq!(data(arch).word(offset), expected, "{arch:x} {offset}");
        }
    }

    #[test]
    fn jumps_and_returns() {
        let program = [
            insn(op::LOAD, 0, 0, 0),
            insn(op::AND, 0, 0, 3),
            insn(op::JGE, 0, 1, 3),
            insn(op::JUMP, 0, 0, 1),
            insn(op::RETURN, 0, 0, 1),
            insn(op::RETURN, 0, 0, 2),
        ];
        assert_eq!(evaluate(&program, &data(0)), Some(2));
        assert_eq!(evaluate(&program, &Data { nr: 6, ..data(0) }), Some(1));
        assert_eq!(evaluate(&program[..4], &data(0)), None, "runs off its end");
        assert_eq!(evaluate(&[insn(0x07, 0, 0, 0)], &data(0)), None, "unknown instruction");
    }
}
