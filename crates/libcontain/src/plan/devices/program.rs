//! A [`Policy`] as an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! Owns the few instructions that are needed and the shape of the program. The shape is chosen for the cost of
//! loading it (verifier and JIT: about 1 µs per instruction, 2.5 µs with the usual three branches per rule):
//! rules are grouped by type, access and major number, and the minor numbers of a group are compared one by
//! one or, from six on, looked up in a 64-bit map. runc's default rules take 24 instructions.
//!
//! Invariants: no instruction is unreachable (the verifier refuses that); the answer is the one that the v1
//! controller gives: an allowing exception has to cover all of the request, a denying one any part of it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Access, Exception, Kind, Policy, is_whole};

const R0: u8 = 0;
const R1: u8 = 1;
const TYPE: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
const ACCESS: u8 = 5;

const LDX_W: u8 = 0x61;
const LD_IMM64: u8 = 0x18;
const MOV32: u8 = 0xb4;
const MOV64: u8 = 0xb7;
const SUB64: u8 = 0x17;
const RSH64: u8 = 0x77;
const AND64: u8 = 0x57;
const JA: u8 = 0x05;
const JEQ: u8 = 0x15;
const JGT: u8 = 0x25;
const JSET: u8 = 0x45;
const JNE: u8 = 0x55;
const EXIT: u8 = 0x95;
/// Added to an operation: the operand is a register, not the immediate.
const REG: u8 = 0x08;

/// The instructions of a device program.
#[derive(Clone, PartialEq, Eq)]
pub struct Program(Vec<Insn>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Insn {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Program {
    /// How many instructions it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a program says at least yes or no.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The instructions as `struct bpf_insn` of this machine.
    #[must_use]
    pub fn bytes(&self) -> Vec<[u8; 8]> {
        self.0.iter().map(|insn| insn.bytes()).collect()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({} instructions)", self.0.len())
    }
}

impl Insn {
    fn bytes(self) -> [u8; 8] {
        // The registers are bit fields, whose order is that of the machine's bytes.
        let (low, high) = if cfg!(target_endian = "little") { (self.dst, self.src) } else { (self.src, self.dst) };
        let ([o0, o1], [i0, i1, i2, i3]) = (self.off.to_ne_bytes(), self.imm.to_ne_bytes());
        [self.code, low | (high << 4), o0, o1, i0, i1, i2, i3]
    }
}

impl Policy {
    /// The program; `Ok(None)` when everything is allowed, which takes no program.
    ///
    /// # Errors
    /// The rules make a program that is too long for the reach of a jump, 32 767 instructions.
    pub fn program(&self) -> Result<Option<Program>, String> {
        let exceptions = without_covered(&self.exceptions);
        if self.allows_everything(&exceptions) {
            return Ok(None);
        }
        let mut asm = Asm::new();
        if !exceptions.is_empty() {
            self.exceptions_into(&exceptions, &mut asm);
        }
        asm.verdict(self.allow);
        if asm.is_target(Asm::HIT) {
            asm.bind(Asm::HIT);
            asm.verdict(!self.allow);
        }
        let n = asm.code.len();
        let code =
            asm.link().ok_or_else(|| format!("too many device rules: they make a program of {n} instructions"))?;
        Ok(Some(Program(code)))
    }

    fn allows_everything(&self, exceptions: &[Exception]) -> bool {
        let whole = |e: &&Exception| is_whole(e) && e.access == Access::ALL;
        if self.allow { exceptions.is_empty() } else { exceptions.iter().filter(whole).count() == 2 }
    }

    fn exceptions_into(&self, exceptions: &[Exception], asm: &mut Asm) {
        asm.load_request();
        let miss = asm.label();
        if self.allow {
            asm.jump(JEQ, ACCESS, 0, miss); // A request for nothing (access(2) with X_OK) overlaps with nothing.
        }
        let mut rest: Vec<&Exception> = exceptions.iter().collect();
        for access in accesses(&rest) {
            // The runtime's own `c *:* m` and `b *:* m`: one test for both types.
            let both = |e: &&Exception| is_whole(e) && e.access == access;
            if rest.iter().filter(|e| both(e)).count() == 2 {
                self.group(access, &rest.iter().copied().filter(both).collect::<Vec<_>>(), asm);
                rest.retain(|e| !both(e));
            }
        }
        for (kind, number) in [(Kind::Char, 2), (Kind::Block, 1)] {
            let mine: Vec<&Exception> = rest.iter().copied().filter(|e| e.kind == kind).collect();
            if mine.is_empty() {
                continue;
            }
            let next = asm.label();
            asm.jump(JNE, TYPE, number, next);
            for access in accesses(&mine) {
                self.group(access, &mine.iter().copied().filter(|e| e.access == access).collect::<Vec<_>>(), asm);
            }
            asm.bind(next);
        }
        asm.bind(miss);
    }

    /// Exceptions of one type with the same access.
    fn group(&self, access: Access, exceptions: &[&Exception], asm: &mut Asm) {
        let done = asm.label();
        if access != Access::ALL && self.allow {
            let part = asm.label();
            asm.jump(JSET, ACCESS, access.bits().into(), part);
            asm.always(done);
            asm.bind(part);
        } else if access != Access::ALL {
            asm.jump(JSET, ACCESS, Access::ALL.without(access).bits().into(), done);
        }
        if exceptions.iter().any(|e| is_whole(e)) {
            asm.always(Asm::HIT);
        } else {
            numbers(exceptions, asm);
        }
        asm.bind(done);
    }
}

fn numbers(exceptions: &[&Exception], asm: &mut Asm) {
    let any_major: Vec<u32> = exceptions.iter().filter(|e| e.major.is_none()).filter_map(|e| e.minor).collect();
    minors(any_major, asm);
    let mut by_major: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for exception in exceptions {
        match (exception.major, exception.minor) {
            (Some(major), Some(minor)) => by_major.entry(major).or_default().push(minor),
            (Some(major), None) => asm.jump(JEQ, MAJOR, major, Asm::HIT),
            (None, _) => {}
        }
    }
    for (major, list) in by_major {
        let next = asm.label();
        asm.jump(JNE, MAJOR, major, next);
        minors(list, asm);
        asm.bind(next);
    }
}

/// Goes to `HIT` when the minor number is in the list.
fn minors(mut list: Vec<u32>, asm: &mut Asm) {
    list.sort_unstable();
    let mut rest = list.as_slice();
    while let Some((&first, others)) = rest.split_first() {
        let base = if first < 64 { 0 } else { first };
        let here = rest.partition_point(|m| m - base < 64);
        let bits = rest.iter().take(here).fold(0u64, |bits, m| bits | 1 << (m - base));
        if here > 5 && i32::try_from(base).is_ok() || here > 4 && base == 0 && u32::try_from(bits).is_ok() {
            asm.bitmap(base, bits);
            rest = rest.get(here..).unwrap_or_default();
        } else {
            asm.jump(JEQ, MINOR, first, Asm::HIT);
            rest = others;
        }
    }
}

fn accesses(exceptions: &[&Exception]) -> Vec<Access> {
    let mut seen = Vec::new();
    for e in exceptions {
        if !seen.contains(&e.access) {
            seen.push(e.access);
        }
    }
    seen
}

/// Leaves out what a wildcard says anyhow.
fn without_covered(exceptions: &[Exception]) -> Vec<Exception> {
    let wild: Vec<&Exception> = exceptions.iter().filter(|e| e.major.is_none() || e.minor.is_none()).collect();
    let covered = |e: &Exception| wild.iter().any(|w| w.takes_in(e) && e.access.without(w.access).is_empty());
    exceptions.iter().copied().filter(|e| !covered(e)).collect()
}

/// An assembler with forward jumps only.
struct Asm {
    code: Vec<Insn>,
    /// Instruction and the label it jumps to.
    jumps: Vec<(usize, usize)>,
    /// Where each label is.
    labels: Vec<usize>,
}

impl Asm {
    /// The label of the exceptions' verdict.
    const HIT: usize = 0;

    fn new() -> Asm {
        Asm { code: Vec::new(), jumps: Vec::new(), labels: vec![0] }
    }

    fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.code.push(Insn { code, dst, src, off, imm });
    }

    fn label(&mut self) -> usize {
        self.labels.push(0);
        self.labels.len() - 1
    }

    fn bind(&mut self, label: usize) {
        if let Some(place) = self.labels.get_mut(label) {
            *place = self.code.len();
        }
    }

    fn is_target(&self, label: usize) -> bool {
        self.jumps.iter().any(|(_, to)| *to == label)
    }

    fn always(&mut self, label: usize) {
        self.jumps.push((self.code.len(), label));
        self.push(JA, 0, 0, 0, 0);
    }

    /// Immediates are sign-extended to 64 bits, so numbers from 2^31 on are compared through a register.
    fn jump(&mut self, op: u8, reg: u8, value: u32, label: usize) {
        let (code, src, imm) = if let Ok(imm) = i32::try_from(value) {
            (op, 0, imm)
        } else {
            self.push(MOV32, R0, 0, 0, value.cast_signed());
            (op | REG, R0, 0)
        };
        self.jumps.push((self.code.len(), label));
        self.push(code, reg, src, 0, imm);
    }

    /// `struct bpf_cgroup_dev_ctx { access_type, major, minor }`; `access_type` is the access above the type.
    fn load_request(&mut self) {
        self.push(LDX_W, TYPE, R1, 0, 0);
        self.push(LDX_W, MAJOR, R1, 4, 0);
        self.push(LDX_W, MINOR, R1, 8, 0);
        self.push(MOV64 | REG, ACCESS, TYPE, 0, 0);
        self.push(RSH64, ACCESS, 0, 0, 16);
        self.push(AND64, TYPE, 0, 0, 0xffff);
    }

    /// Goes to `HIT` when the bit of the minor number, counted from `base`, is set.
    fn bitmap(&mut self, base: u32, bits: u64) {
        let mut index = MINOR;
        if base != 0 {
            self.push(MOV64 | REG, R1, MINOR, 0, 0);
            self.push(SUB64, R1, 0, 0, base.cast_signed());
            index = R1;
        }
        let out = self.label();
        self.jump(JGT, index, 63, out); // Unsigned: what is below `base` is far above 63.
        if let Ok(small) = u32::try_from(bits) {
            self.push(MOV32, R0, 0, 0, small.cast_signed());
        } else {
            let [low, high] = halves(bits);
            self.push(LD_IMM64, R0, 0, 0, low);
            self.push(0, 0, 0, 0, high);
        }
        self.push(RSH64 | REG, R0, index, 0, 0);
        self.jump(JSET, R0, 1, Asm::HIT);
        self.bind(out);
    }

    fn verdict(&mut self, allow: bool) {
        self.push(MOV64, R0, 0, 0, allow.into());
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// Fills in the distances; `None` when one is too long.
    fn link(mut self) -> Option<Vec<Insn>> {
        for (from, label) in self.jumps {
            let off = self.labels.get(label)?.checked_sub(from + 1)?;
            self.code.get_mut(from)?.off = i16::try_from(off).ok()?;
        }
        Some(self.code)
    }
}

fn halves(bits: u64) -> [i32; 2] {
    let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
    [i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h])]
}
