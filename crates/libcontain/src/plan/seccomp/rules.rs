//! From the profile's list to what each call of one architecture meets: which rule wins, in which order
//! argument compares are tried.
//!
//! Precedence, for rules on one call of one architecture (libseccomp documents none; this is what it does, so
//! that a profile means the same under runc; tests/seccomp.rs compares):
//! 1. a rule whose answer is the default's says nothing;
//! 2. the first rule without compares decides, whatever compares stand before or behind it;
//! 3. otherwise the first rule whose compares all hold, tried in this order: higher argument first,
//!    equalities before upper bounds before lower bounds, tighter bounds and greater values first, a shorter
//!    list of compares before its extensions; the profile's order for the rest;
//! 4. otherwise the default. Two rules with the same compares and different answers are an error.

use super::arch::{Arch, Call};
use crate::spec::{LinuxSeccompArg, LinuxSeccompOperator};
use std::cmp::{Ordering, Reverse};

/// What a compare does with argument and datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

impl Compare {
    /// The compare is written as its opposite with the branches swapped.
    pub fn negated(self) -> bool {
        matches!(self, Compare::Ne | Compare::Lt | Compare::Le)
    }

    pub fn ordered(self) -> bool {
        matches!(self, Compare::Lt | Compare::Le | Compare::Ge | Compare::Gt)
    }

    fn rank(self) -> u8 {
        match self {
            Compare::Eq | Compare::Ne | Compare::MaskedEq => 0,
            Compare::Lt | Compare::Le => 1,
            Compare::Ge | Compare::Gt => 2,
        }
    }
}

impl From<LinuxSeccompOperator> for Compare {
    fn from(operator: LinuxSeccompOperator) -> Self {
        match operator {
            LinuxSeccompOperator::ScmpCmpNe => Compare::Ne,
            LinuxSeccompOperator::ScmpCmpLt => Compare::Lt,
            LinuxSeccompOperator::ScmpCmpLe => Compare::Le,
            LinuxSeccompOperator::ScmpCmpEq => Compare::Eq,
            LinuxSeccompOperator::ScmpCmpGe => Compare::Ge,
            LinuxSeccompOperator::ScmpCmpGt => Compare::Gt,
            LinuxSeccompOperator::ScmpCmpMaskedEq => Compare::MaskedEq,
        }
    }
}

/// One argument compare; bits outside `mask` do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    pub arg: u8,
    pub compare: Compare,
    pub mask: u64,
    pub datum: u64,
}

impl Test {
    pub fn new(arg: u8, from: &LinuxSeccompArg) -> Self {
        let compare = Compare::from(from.op());
        let (mask, datum) = match compare {
            Compare::MaskedEq => (from.value(), from.value_two().unwrap_or(0)),
            _ => (u64::MAX, from.value()),
        };
        Test { arg, compare, mask, datum: datum & mask }
    }

    /// The compare as a 32-bit architecture makes it; `None` if it always holds.
    fn lowered(mut self, wide: bool) -> Option<Self> {
        if !wide {
            self.mask &= u64::from(u32::MAX);
            self.datum &= u64::from(u32::MAX);
        }
        (self.mask != 0).then_some(self)
    }

    /// Libseccomp's order within one level of its tree.
    fn order(&self, other: &Self) -> Ordering {
        let place = |t: &Test| (Reverse(t.arg), Reverse(t.mask > u64::from(u32::MAX)), t.compare.rank());
        let values = match self.compare {
            Compare::Lt | Compare::Le => self.datum.cmp(&other.datum),
            _ => other.datum.cmp(&self.datum),
        };
        place(self).cmp(&place(other)).then(values)
    }
}

/// Compares that must all hold, at most one per argument, in the arguments' order.
pub(super) type Tests = Vec<Test>;

/// One rule for one kind of call: if `tests` hold, `action`.
#[derive(Debug)]
pub(super) struct Rule {
    /// SECCOMP_RET_* with its data.
    pub action: u32,
    /// Which entry of `linux.seccomp.syscalls` it comes from.
    pub entry: usize,
    pub tests: Tests,
}

/// The rules of one entry for one of its names, as indices into [`Rules::list`].
#[derive(Debug)]
struct Named {
    call: Call,
    direct: std::ops::Range<usize>,
    /// The multiplexing call and the rules for it.
    through: Option<(Call, std::ops::Range<usize>)>,
}

/// The whole profile, by rule and by name, in its order.
#[derive(Debug, Default)]
pub(super) struct Rules {
    list: Vec<Rule>,
    named: Vec<Named>,
}

/// What a call meets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Always this answer.
    Always(u32),
    /// The first whose tests hold, else the default.
    FirstOf(Ordered),
}

/// Tests and what they answer, in the order to try them.
pub(super) type Ordered = Vec<(Tests, u32)>;

/// Two entries that ask for different answers to the same compares.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub earlier: usize,
    pub later: usize,
}

impl Rules {
    /// Adds one entry: `action` for each of `names` if one of `alternatives` holds; `None` for an entry that
    /// says what the default says, whose names are merely known. Names that no architecture has are skipped,
    /// as runc does: profiles name calls of kernels to come.
    pub fn add(&mut self, entry: usize, action: Option<u32>, alternatives: &[Tests], names: &[String], through: bool) {
        let start = self.list.len();
        if let Some(action) = action {
            self.list.extend(alternatives.iter().map(|tests| Rule { action, entry, tests: tests.clone() }));
        }
        let direct = start..self.list.len();
        let mut before = None;
        for name in names {
            let Some(call) = Call::named_after(name, before) else { continue };
            before = Some(call);
            let through = call.multiplexed().filter(|_| through).and_then(|(name, selector)| {
                let start = self.list.len();
                if let Some(action) = action {
                    self.list.extend(alternatives.iter().map(|tests| selected(tests, selector, action, entry)));
                }
                Some((Call::named(name)?, start..self.list.len()))
            });
            self.named.push(Named { call, direct: direct.clone(), through });
        }
    }

    /// The greatest number named for `arch`, and `(number, index of rule)` in ascending order. Arm's private
    /// calls do not count: what they are numbered says nothing about their age.
    pub fn numbers(&self, arch: Arch) -> (Option<u32>, Vec<(u32, usize)>) {
        let mut numbers = Vec::with_capacity(self.named.len() + self.list.len());
        let mut newest = None;
        for named in &self.named {
            if let Some(number) = arch.number(named.call) {
                if arch != Arch::Arm || number < super::arch::ARM_PRIVATE {
                    newest = newest.max(Some(number));
                }
                numbers.extend(named.direct.clone().map(|rule| (number, rule)));
            }
            if arch.multiplexes()
                && let Some((call, rules)) = &named.through
                && let Some(number) = arch.number(*call)
            {
                numbers.extend(rules.clone().map(|rule| (number, rule)));
            }
        }
        numbers.sort_unstable();
        (newest, numbers)
    }

    /// What wins among the rules of one number.
    pub fn verdict(&self, group: &[(u32, usize)], wide: bool) -> Result<Verdict, Conflict> {
        let mut candidates = Vec::new();
        for rule in group.iter().filter_map(|&(_, index)| self.list.get(index)) {
            let tests: Tests = rule.tests.iter().filter_map(|test| test.lowered(wide)).collect();
            if tests.is_empty() {
                return Ok(Verdict::Always(rule.action));
            }
            candidates.push((tests, rule));
        }
        candidates.sort_by(|(a, _), (b, _)| order(a, b));
        for (i, (tests, rule)) in candidates.iter().enumerate() {
            let behind = candidates.iter().skip(i + 1);
            for (other_tests, other) in behind.take_while(|(other, _)| tied(tests, other)) {
                if conflicting(tests, rule, other_tests, other) {
                    let (earlier, later) = (rule.entry.min(other.entry), rule.entry.max(other.entry));
                    return Err(Conflict { earlier, later });
                }
            }
        }
        candidates.dedup_by(|(a, rule), (b, kept)| a == b && rule.action == kept.action);
        Ok(Verdict::FirstOf(candidates.into_iter().map(|(tests, rule)| (tests, rule.action)).collect()))
    }
}

/// A rule of a call as the multiplexer sees it: the first argument selects the call; the others are compared
/// as they come, as libseccomp does (they are not the call's own arguments, but nothing better can be done).
fn selected(tests: &Tests, selector: u64, action: u32, entry: usize) -> Rule {
    let selector = Test { arg: 0, compare: Compare::Eq, mask: u64::MAX, datum: selector };
    let others = tests.iter().filter(|test| test.arg != 0).copied();
    Rule { action, entry, tests: std::iter::once(selector).chain(others).collect() }
}

/// The order in which lists of tests are tried.
fn order(a: &Tests, b: &Tests) -> Ordering {
    let unequal = a.iter().zip(b).map(|(a, b)| a.order(b)).find(|order| order.is_ne());
    unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Whether `b`, behind `a`, may still begin with the same tests.
fn tied(a: &Tests, b: &Tests) -> bool {
    a.len() <= b.len() && a.iter().zip(b).all(|(a, b)| a.order(b).is_eq())
}

/// Whether one rule silently takes what the other, written earlier or equally, speaks of: libseccomp refuses
/// both (EEXIST), and so does runc.
fn conflicting(short: &Tests, rule: &Rule, long: &Tests, other: &Rule) -> bool {
    let shadowed = short.len() == long.len() || other.entry < rule.entry;
    rule.action != other.action && shadowed && short.iter().zip(long).all(|(a, b)| a == b)
}
