//! A seccomp profile as a reader of the spec understands it, asked one system call at a time: the judge of the compiler,
//! for tests/seccomp.rs and for fuzzing.

use std::collections::BTreeSet;

use libcontain::plan::seccomp::{Arch, Call, Data, Filter, evaluate};
use libcontain::spec::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op};

pub const ENOSYS: u32 = 0x0005_0000 | 38;
pub const X32: u32 = 0x4000_0000;

/// The profile, read word by word for each question: slow, and without a line shared with the compiler.
pub struct Naive<'a> {
    profile: &'a LinuxSeccomp,
    pub archs: Vec<Arch>,
    /// Every name that some architecture knows, and the entry that it stands in.
    pub named: Vec<(usize, &'a str, Call)>,
}

/// Calls by the number that selects them from socketcall(2) and from ipc(2).
const SOCKETS: [&str; 21] = [
    "-",
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPC: [&str; 25] = [
    "-",
    "semop",
    "semget",
    "semctl",
    "semtimedop",
    "-",
    "-",
    "-",
    "-",
    "-",
    "-",
    "msgsnd",
    "msgrcv",
    "msgget",
    "msgctl",
    "-",
    "-",
    "-",
    "-",
    "-",
    "-",
    "shmat",
    "shmdt",
    "shmget",
    "shmctl",
];

/// A test that a rule makes, as the naive reading sees it.
#[derive(Clone)]
pub struct Check {
    arg: usize,
    pub op: Op,
    value: u64,
    two: u64,
}

/// One rule that bears on a call.
pub struct Bearing {
    pub checks: Vec<Check>,
    pub action: u32,
}

impl<'a> Naive<'a> {
    pub fn new(profile: &'a LinuxSeccomp, native: Arch) -> Self {
        let listed = profile.architectures().iter().flatten().map(|arch| {
            let name = arch.to_string();
            *Arch::ALL.iter().find(|known| known.name() == name).unwrap()
        });
        let entries = profile.syscalls().iter().flatten().enumerate();
        let names = entries.flat_map(|(i, entry)| entry.names().iter().map(move |name| (i, name.as_str())));
        let named = names.filter_map(|(i, name)| Some((i, name, Call::named(name)?))).collect();
        Naive { profile, archs: std::iter::once(native).chain(listed).collect(), named }
    }

    pub fn value(action: Action, errno: Option<u32>) -> u32 {
        let errno = errno.unwrap_or(1);
        match action {
            Action::ScmpActKill | Action::ScmpActKillThread => 0,
            Action::ScmpActKillProcess => 0x8000_0000,
            Action::ScmpActTrap => 0x0003_0000,
            Action::ScmpActErrno => 0x0005_0000 | errno,
            Action::ScmpActTrace => 0x7ff0_0000 | errno,
            Action::ScmpActLog => 0x7ffc_0000,
            Action::ScmpActAllow => 0x7fff_0000,
            Action::ScmpActNotify => 0x7fc0_0000,
        }
    }

    fn default(&self) -> u32 {
        Self::value(self.profile.default_action(), self.profile.default_errno_ret())
    }

    fn wide(arch: Arch) -> bool {
        matches!(arch, Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 | Arch::S390x | Arch::Ppc64le)
    }

    fn multiplexes(arch: Arch) -> bool {
        matches!(arch, Arch::X86 | Arch::S390x | Arch::Ppc64le)
    }

    /// Whether `nr` is how `arch` reaches a call: itself, or a multiplexer with a selector.
    fn selects(arch: Arch, nr: u32, mux: Option<&[&str]>, name: &str, call: Call) -> Option<Option<u64>> {
        if arch.number(call) == Some(nr) {
            return Some(None);
        }
        let selector = mux?.iter().position(|listed| *listed == name)?;
        Some(Some(u64::try_from(selector).unwrap()))
    }

    /// What the number multiplexes.
    fn mux(arch: Arch, nr: u32) -> Option<&'static [&'static str]> {
        let is = |name| Self::multiplexes(arch) && Call::named(name).and_then(|call| arch.number(call)) == Some(nr);
        if is("socketcall") { Some(&SOCKETS) } else { is("ipc").then_some(&IPC) }
    }

    /// The rules that bear on a number, in the profile's order.
    pub fn bearing(&self, arch: Arch, nr: u32) -> Vec<Bearing> {
        let mut found = Vec::new();
        let mux = Self::mux(arch, nr);
        for (i, entry) in self.profile.syscalls().iter().flatten().enumerate() {
            let action = Self::value(entry.action(), entry.errno_ret());
            if action == self.default() {
                continue;
            }
            let checks: Vec<Check> = entry.args().iter().flatten().map(check).collect();
            let indices: BTreeSet<_> = checks.iter().map(|check| check.arg).collect();
            let lists = if indices.len() < checks.len() {
                checks.into_iter().map(|check| vec![check]).collect()
            } else {
                vec![checks]
            };
            for selector in self
                .named
                .iter()
                .filter_map(|(of, name, call)| if *of == i { Self::selects(arch, nr, mux, name, *call) } else { None })
            {
                for list in &lists {
                    let mut checks = list.clone();
                    if let Some(value) = selector {
                        checks.retain(|check| check.arg != 0);
                        checks.push(Check { arg: 0, op: Op::ScmpCmpEq, value, two: 0 });
                    }
                    checks.sort_by_key(|check| check.arg);
                    checks.retain(|check| !always(check, Self::wide(arch)));
                    found.push(Bearing { checks, action });
                }
            }
        }
        found
    }

    /// The greatest number named, private ones of Arm aside.
    pub fn newest(&self, arch: Arch) -> u32 {
        let numbers = self.named.iter().filter_map(|(_, _, call)| arch.number(*call));
        numbers.filter(|nr| *nr < 0x000f_0000 || *nr >= X32).max().unwrap_or(0)
    }

    pub fn stub(&self) -> bool {
        ![Action::ScmpActAllow, Action::ScmpActLog, Action::ScmpActTrace].contains(&self.profile.default_action())
    }

    /// Which of the filter's architectures makes the call; `None` for a stranger.
    pub fn arch(&self, audit: u32, nr: u32) -> Option<Arch> {
        let x86_64 = Arch::X86_64.audit();
        if audit == x86_64 && nr >= X32 && self.archs.contains(&Arch::X32) {
            return Some(Arch::X32);
        }
        let stranger = audit == x86_64 && nr >= X32 && nr != u32::MAX;
        let found = self.archs.iter().find(|arch| **arch != Arch::X32 && arch.audit() == audit).copied();
        found.filter(|_| !stranger)
    }

    /// All there is to say about one number.
    fn meets(&self, audit: u32, nr: u32, newest: &dyn Fn(Arch) -> u32) -> Meets {
        let Some(arch) = self.arch(audit, nr) else { return Meets { rules: Vec::new(), wide: true, otherwise: 0 } };
        let rules = self.bearing(arch, nr);
        let skipped = arch == Arch::X86_64 && nr == u32::MAX;
        let newest = newest(arch);
        let unknown = self.stub() && newest != 0 && nr > newest && !skipped && rules.is_empty();
        let multiplexer = matches!(arch, Arch::S390x) && nr == 0 && self.stub() && newest != 0;
        let otherwise = if unknown || multiplexer { ENOSYS } else { self.default() };
        Meets { rules, wide: Self::wide(arch), otherwise }
    }
}

/// What a number meets.
struct Meets {
    rules: Vec<Bearing>,
    wide: bool,
    otherwise: u32,
}

impl Meets {
    fn answer(&self, data: &Data) -> u32 {
        if let Some(rule) = self.rules.iter().find(|rule| rule.checks.is_empty()) {
            return rule.action;
        }
        let holding = self.rules.iter().filter(|rule| rule.checks.iter().all(|check| holds(check, data, self.wide)));
        let place = |rule: &&Bearing| rule.checks.iter().map(|check| place(check, self.wide)).collect::<Vec<_>>();
        holding.min_by_key(place).map_or(self.otherwise, |rule| rule.action)
    }
}

fn check(arg: &LinuxSeccompArg) -> Check {
    Check { arg: arg.index(), op: arg.op(), value: arg.value(), two: arg.value_two().unwrap_or(0) }
}

fn cut(value: u64, wide: bool) -> u64 {
    if wide { value } else { value & 0xffff_ffff }
}

fn always(check: &Check, wide: bool) -> bool {
    check.op == Op::ScmpCmpMaskedEq && cut(check.value, wide) == 0
}

fn holds(check: &Check, data: &Data, wide: bool) -> bool {
    let (arg, value) = (cut(data.args[check.arg], wide), cut(check.value, wide));
    match check.op {
        Op::ScmpCmpNe => arg != value,
        Op::ScmpCmpLt => arg < value,
        Op::ScmpCmpLe => arg <= value,
        Op::ScmpCmpEq => arg == value,
        Op::ScmpCmpGe => arg >= value,
        Op::ScmpCmpGt => arg > value,
        Op::ScmpCmpMaskedEq => arg & value == check.two & value,
    }
}

/// Where a check stands among others: the tuple that sorts first is tried first.
fn place(check: &Check, wide: bool) -> (usize, bool, u8, u64) {
    let masked = check.op == Op::ScmpCmpMaskedEq;
    let low_only = !wide || masked && check.value <= 0xffff_ffff;
    let datum = cut(if masked { check.two & check.value } else { check.value }, wide);
    let (rank, datum) = match check.op {
        Op::ScmpCmpEq | Op::ScmpCmpNe | Op::ScmpCmpMaskedEq => (0, !datum),
        Op::ScmpCmpLt | Op::ScmpCmpLe => (1, datum),
        Op::ScmpCmpGe | Op::ScmpCmpGt => (2, !datum),
    };
    (5 - check.arg, low_only, rank, datum)
}

/// Values around every number that the profile compares with.
pub fn interesting(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut values = BTreeSet::from([0, 1, 2, u64::MAX, 1 << 32, 0xffff_ffff]);
    let args = profile.syscalls().iter().flatten().flat_map(|entry| entry.args().iter().flatten());
    for value in
        args.flat_map(|arg| [arg.value(), arg.value_two().unwrap_or(0), arg.value() & arg.value_two().unwrap_or(0)])
    {
        for near in [value.wrapping_sub(1), value, value.wrapping_add(1)] {
            values.extend([near, near & 0xffff_ffff, near ^ (1 << 32), near ^ (1 << 63)]);
        }
    }
    values.into_iter().collect()
}

/// Argument vectors: every interesting value in each place, and a pseudo-random rest.
pub fn vectors(profile: &LinuxSeccomp, count: usize) -> Vec<[u64; 6]> {
    let values = interesting(profile);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[usize::try_from(state % u64::try_from(values.len()).unwrap()).unwrap()]
    };
    let mut out: Vec<[u64; 6]> = values.iter().map(|value| [*value; 6]).collect();
    out.extend((0..count).map(|_| std::array::from_fn(|_| next())));
    out
}

/// The numbers that a random profile names, and their neighbours.
pub fn named_numbers(profile: &LinuxSeccomp, arch: Arch) -> Vec<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|entry| entry.names());
    let muxes = ["socketcall", "ipc"].map(String::from);
    let named = names.chain(&muxes).filter_map(|name| arch.number(Call::named(name)?));
    let near = named.flat_map(|nr| [nr.saturating_sub(1), nr, nr + 1]);
    near.chain([0, 600, X32, X32 + 600, u32::MAX]).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The first question on which program and naive reading differ.
pub fn difference(filter: &Filter, naive: &Naive, arch: u32, numbers: &[u32], vectors: &[[u64; 6]]) -> Option<String> {
    let newest: Vec<u32> = naive.archs.iter().map(|arch| naive.newest(*arch)).collect();
    let newest = |arch| newest[naive.archs.iter().position(|known| *known == arch).unwrap()];
    numbers.iter().find_map(|&nr| {
        let meets = naive.meets(arch, nr, &newest);
        vectors.iter().find_map(|&args| {
            let data = Data { nr, arch, instruction_pointer: 0x7f00_dead_beef, args };
            let (got, expected) = (evaluate(&filter.program, &data), meets.answer(&data));
            (got != Some(expected)).then(|| format!("{data:x?}: got {got:x?}, expected {expected:x}"))
        })
    })
}

/// All the ways in which a kernel of `archs` is called, and one in which it is not.
pub fn audits(archs: &[Arch]) -> Vec<(Arch, u32)> {
    archs.iter().map(|arch| (*arch, arch.audit())).chain([(archs[0], 0x4000_0028 ^ 0x55)]).collect()
}
