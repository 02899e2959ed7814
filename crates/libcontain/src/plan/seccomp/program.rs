//! Writing classic BPF: labels, jumps, argument compares, and the search tree over call numbers.
//!
//! The program is written from its end to its start. All jumps of classic BPF go forward, so whatever an
//! instruction jumps to is written already and its distance is known: a target that an 8-bit jump cannot
//! reach gets a stepping stone (an unconditional 32-bit jump, or for a verdict simply another return) right
//! behind the instruction. Nothing here knows profiles; a tree is handed ranges and targets.

use super::Insn;
use super::evaluate::op;
use super::rules::{Compare, Test};

/// Where a jump leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To an answer (SECCOMP_RET_*).
    Return(u32),
    /// To an instruction, counted from the program's end.
    At(usize),
}

/// Numbers from `start` up to the next range's start lead to `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub start: u32,
    pub target: Target,
}

/// A partition of all numbers, in ascending order, neighbours with one target merged.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// From `start` on, `target`. Starts come in ascending order; the last one said for a start counts.
    pub fn set(&mut self, start: u32, target: Target) {
        if self.0.last().is_some_and(|last| last.start == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.target != target) {
            self.0.push(Range { start, target });
        }
    }
}

/// The arguments' layout and what counts of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    pub wide: bool,
    pub big_endian: bool,
}

impl Words {
    /// Offsets of the low and the high half of an argument in `struct seccomp_data`.
    fn offsets(self, arg: u8) -> (u32, u32) {
        let base = 16 + 8 * u32::from(arg);
        if self.big_endian { (base + 4, base) } else { (base, base + 4) }
    }
}

/// The halves of a 64-bit value.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// How many single numbers may be picked out of one range by equality before the tree splits instead.
const MAX_PICKS: usize = 3;

/// The writer. `reversed` holds the program back to front.
#[derive(Debug, Default)]
pub(super) struct Writer {
    reversed: Vec<Insn>,
    /// Each answer's nearest return.
    returns: Vec<(u32, usize)>,
    /// A distance did not fit: a mistake of this file, reported rather than loaded.
    broken: bool,
}

impl Writer {
    /// The program, first instruction first; `None` if a jump could not be written.
    pub fn finish(mut self) -> Option<Vec<Insn>> {
        self.reversed.reverse();
        (!self.broken).then_some(self.reversed)
    }

    pub fn len(&self) -> usize {
        self.reversed.len()
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Insn { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// Whether a conditional jump can reach `index`, with one more instruction in between (the stepping stone
    /// of its other branch).
    fn near(&self, index: usize) -> bool {
        self.reversed.len() - index <= usize::from(u8::MAX)
    }

    /// An instruction near enough that leads to `target`.
    fn reach(&mut self, target: Target) -> usize {
        match target {
            Target::At(index) if self.near(index) => index,
            Target::At(index) => {
                let Ok(distance) = u32::try_from(self.reversed.len() - index - 1) else {
                    self.broken = true;
                    return index;
                };
                self.push(op::JUMP, 0, 0, distance)
            }
            Target::Return(value) => {
                let known = self.returns.iter().position(|&(v, _)| v == value);
                if let Some(&(_, index)) = known.and_then(|i| self.returns.get(i))
                    && self.near(index)
                {
                    return index;
                }
                let index = self.push(op::RETURN, 0, 0, value);
                match known.and_then(|i| self.returns.get_mut(i)) {
                    Some(entry) => entry.1 = index,
                    None => self.returns.push((value, index)),
                }
                index
            }
        }
    }

    fn distance(&mut self, index: usize) -> u8 {
        u8::try_from(self.reversed.len() - index - 1).unwrap_or_else(|_| {
            self.broken = true;
            0
        })
    }

    /// `if (accumulator OP k) yes else no`.
    pub fn jump(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.reach(yes), self.reach(no));
        let (jt, jf) = (self.distance(yes), self.distance(no));
        Target::At(self.push(code, jt, jf, k))
    }

    /// Loads the word at `offset` and goes on at `then`.
    pub fn load(&mut self, offset: u32, then: Target) -> Target {
        self.fall_to(then);
        Target::At(self.push(op::LOAD, 0, 0, offset))
    }

    /// Makes `target` the instruction that comes next.
    fn fall_to(&mut self, target: Target) {
        let last = self.reversed.len().wrapping_sub(1);
        match target {
            Target::At(index) if index == last => {}
            Target::Return(value) => {
                self.push(op::RETURN, 0, 0, value);
            }
            Target::At(index) => match u32::try_from(last - index) {
                Ok(distance) => {
                    self.push(op::JUMP, 0, 0, distance);
                }
                Err(_) => self.broken = true,
            },
        }
    }

    /// One argument compare: `yes` if it holds.
    pub fn test(&mut self, test: &Test, words: Words, yes: Target, no: Target) -> Target {
        let (yes, no) = if test.compare.negated() { (no, yes) } else { (yes, no) };
        let (low_at, high_at) = words.offsets(test.arg);
        let ((low, high), (low_mask, high_mask)) = (halves(test.datum), halves(test.mask));
        let below = match test.compare {
            Compare::Gt | Compare::Le => self.word(op::JGT, low_at, u32::MAX, low, yes, no),
            Compare::Ge | Compare::Lt => self.word(op::JGE, low_at, u32::MAX, low, yes, no),
            _ => self.word(op::JEQ, low_at, low_mask, low, yes, no),
        };
        if !words.wide || high_mask == 0 {
            return below;
        }
        if !test.compare.ordered() {
            return self.word(op::JEQ, high_at, high_mask, high, below, no);
        }
        let equal = self.jump(op::JEQ, high, below, no);
        let above = self.jump(op::JGT, high, yes, equal);
        self.load(high_at, above)
    }

    /// Loads a word, masks it and compares it.
    fn word(&mut self, code: u16, offset: u32, mask: u32, k: u32, yes: Target, no: Target) -> Target {
        if mask == 0 {
            return yes;
        }
        let mut next = self.jump(code, k, yes, no);
        if mask != u32::MAX {
            self.fall_to(next);
            next = Target::At(self.push(op::AND, 0, 0, mask));
        }
        self.load(offset, next)
    }

    /// One argument against many values: `(value, target)` in the order to try them, `no` if none fits. All
    /// values agree in their high half, so that each half is loaded once.
    pub fn switch(&mut self, arg: u8, words: Words, values: &[(u64, Target)], no: Target) -> Target {
        let (low_at, high_at) = words.offsets(arg);
        let mut next = no;
        for &(value, target) in values.iter().rev() {
            next = self.jump(op::JEQ, halves(value).0, target, next);
        }
        let below = self.load(low_at, next);
        match values.first() {
            Some(&(value, _)) if words.wide => self.word(op::JEQ, high_at, u32::MAX, halves(value).1, below, no),
            _ => below,
        }
    }

    /// A search over the accumulator (the call's number): to the target of the range that it lies in.
    pub fn search(&mut self, ranges: &Ranges) -> Target {
        let leaves = leaves(&ranges.0);
        self.branch(&leaves)
    }

    fn branch(&mut self, leaves: &[&[Range]]) -> Target {
        match leaves {
            [] => Target::Return(0),
            [leaf] => self.leaf(leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.len() / 2);
                let start = right.first().and_then(|leaf| leaf.first()).map_or(0, |range| range.start);
                let above = self.branch(right);
                let below = self.branch(left);
                self.jump(op::JGE, start, above, below)
            }
        }
    }

    /// A range and the single numbers picked out of it.
    fn leaf(&mut self, leaf: &[Range]) -> Target {
        let Some(base) = leaf.first() else { return Target::Return(0) };
        let mut next = base.target;
        for pick in leaf.iter().skip(1).step_by(2) {
            next = self.jump(op::JEQ, pick.start, pick.target, next);
        }
        next
    }
}

/// Cuts ranges into leaves of a search tree: each is one range, or a range with up to [`MAX_PICKS`] single
/// numbers in it (base, pick, base, pick, base), which costs one instruction each where a split costs two.
fn leaves(ranges: &[Range]) -> Vec<&[Range]> {
    let mut leaves = Vec::with_capacity(ranges.len());
    let mut rest = ranges;
    while let Some(base) = rest.first() {
        let mut picks = 0;
        while picks < MAX_PICKS
            && let Some([pick, after]) = rest.get(2 * picks + 1..2 * picks + 3)
            && after.start - pick.start == 1
            && after.target == base.target
        {
            picks += 1;
        }
        let (leaf, tail) = rest.split_at((2 * picks + 1).min(rest.len()));
        leaves.push(leaf);
        // The last base may go on with picks of its own: it opens the next leaf too.
        let continues = picks == MAX_PICKS
            && matches!(tail, [pick, after, ..] if after.start - pick.start == 1 && after.target == base.target);
        rest = if continues { rest.get(2 * picks..).unwrap_or_default() } else { tail };
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::{Data, evaluate};
    use super::*;

    fn ranges(list: &[(u32, u32)]) -> Ranges {
        let mut out = Ranges::default();
        for &(start, value) in list {
            out.set(start, Target::Return(value));
        }
        out
    }

    fn number(nr: u32) -> Data {
        Data { nr, arch: 0xc000_003e, instruction_pointer: 0, args: [0; 6] }
    }

    /// Compiles a search and asks it for every number up to `end`.
    fn answers(ranges: &Ranges, end: u32) -> (Vec<u32>, usize) {
        let mut writer = Writer::default();
        let tree = writer.search(ranges);
        writer.load(0, tree);
        let program = writer.finish().unwrap();
        ((0..end).map(|nr| evaluate(&program, &number(nr)).unwrap()).collect(), program.len())
    }

    #[test]
    fn neighbours_with_one_target_are_merged() {
        let merged = ranges(&[(0, 1), (3, 2), (3, 1), (5, 1), (7, 9)]);
        assert_eq!(merged.0.iter().map(|r| r.start).collect::<Vec<_>>(), [0, 7]);
    }

    #[test]
    fn a_search_answers_every_number() {
        let (got, size) = answers(&ranges(&[(0, 1), (3, 2), (4, 1), (5, 3), (6, 1), (9, 4)]), 12);
        assert_eq!(got, [1, 1, 1, 2, 1, 3, 1, 1, 1, 4, 4, 4]);
        assert_eq!(size, 1 + 2 + 1 + 4, "load, two picks, one split, four returns");
    }

    #[test]
    fn long_programs_keep_their_jumps() {
        for step in [1_u32, 2, 3, 7] {
            let list: Vec<_> = (0..1500).map(|i| (i * step, i % 701)).collect();
            let (got, _) = answers(&ranges(&list), 1500 * step);
            for (nr, value) in got.iter().enumerate() {
                assert_eq!(*value, u32::try_from(nr).unwrap() / step % 701);
            }
        }
    }

    #[test]
    fn picks_continue_over_leaves() {
        let list: Vec<_> = (0..40).map(|i| (i, if i % 2 == 0 { 1 } else { 2 })).collect();
        let (got, _) = answers(&ranges(&list), 40);
        assert!(got.iter().zip(&list).all(|(a, b)| *a == b.1));
    }
}
