//! The seccomp compiler against two judges: a naive reading of the profile written for this test, and
//! libseccomp itself where it is installed. Real profiles over every number, random ones over the numbers and
//! arguments that matter to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use libcontain::plan::seccomp::{Arch, Call, Data, Filter, OPERATORS, compile, evaluate};
use libcontain::spec::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;

const ENOSYS: u32 = 0x0005_0000 | 38;
const X32: u32 = 0x4000_0000;

#[path = "profiles/libseccomp.rs"]
mod libseccomp;

const DOCKER: &str = include_str!("profiles/docker.json");
const PODMAN: &str = include_str!("profiles/podman.json");

fn parse(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn compiled(profile: &LinuxSeccomp, native: Arch) -> Filter {
    let mut problems = Vec::new();
    compile(profile, native, &mut problems).unwrap_or_else(|| panic!("{problems:?}"))
}

/// The profile, read word by word for each question: slow, and without a line shared with the compiler.
struct Naive<'a> {
    profile: &'a LinuxSeccomp,
    archs: Vec<Arch>,
    /// Every name that some architecture knows, and the entry that it stands in.
    named: Vec<(usize, &'a str, Call)>,
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
struct Check {
    arg: usize,
    op: Op,
    value: u64,
    two: u64,
}

/// One rule that bears on a call.
struct Bearing {
    checks: Vec<Check>,
    action: u32,
}

impl<'a> Naive<'a> {
    fn new(profile: &'a LinuxSeccomp, native: Arch) -> Self {
        let listed = profile.architectures().iter().flatten().map(|arch| {
            let name = arch.to_string();
            *Arch::ALL.iter().find(|known| known.name() == name).unwrap()
        });
        let entries = profile.syscalls().iter().flatten().enumerate();
        let names = entries.flat_map(|(i, entry)| entry.names().iter().map(move |name| (i, name.as_str())));
        let named = names.filter_map(|(i, name)| Some((i, name, Call::named(name)?))).collect();
        Naive { profile, archs: std::iter::once(native).chain(listed).collect(), named }
    }

    fn value(action: Action, errno: Option<u32>) -> u32 {
        let errno = errno.unwrap_or(1);
        match action {
            Action::ScmpActKill | Action::ScmpActKillThread => 0,
            Action::ScmpActKillProcess => 0x8000_0000,
            Action::ScmpActTrap => 0x0003_0000,
            Action::ScmpActErrno => 0x0005_0000 | errno,
            Action::ScmpActTrace => 0x7ff0_0000 | errno,
            Action::ScmpActLog => 0x7ffc_0000,
            Action::ScmpActAllow => 0x7fff_0000,
            Action::ScmpActNotify => panic!("not here"),
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
    fn bearing(&self, arch: Arch, nr: u32) -> Vec<Bearing> {
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
    fn newest(&self, arch: Arch) -> u32 {
        let numbers = self.named.iter().filter_map(|(_, _, call)| arch.number(*call));
        numbers.filter(|nr| *nr < 0x000f_0000 || *nr >= X32).max().unwrap_or(0)
    }

    fn stub(&self) -> bool {
        ![Action::ScmpActAllow, Action::ScmpActLog, Action::ScmpActTrace].contains(&self.profile.default_action())
    }

    /// Which of the filter's architectures makes the call; `None` for a stranger.
    fn arch(&self, audit: u32, nr: u32) -> Option<Arch> {
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
fn interesting(profile: &LinuxSeccomp) -> Vec<u64> {
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
fn vectors(profile: &LinuxSeccomp, count: usize) -> Vec<[u64; 6]> {
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

/// Every number that means something under an AUDIT_ARCH, neighbours and extremes.
fn all_numbers(arch: Arch) -> Vec<u32> {
    let base = match arch {
        Arch::X32 => X32,
        Arch::Mipsel64 => 5000,
        _ => 0,
    };
    let mut numbers: Vec<u32> = (0..700).map(|n| base + n).collect();
    numbers.extend([
        0x000f_0000,
        0x000f_0002,
        0x000f_0005,
        0x000f_0007,
        X32 - 1,
        X32,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 1,
        u32::MAX,
    ]);
    numbers
}

/// The numbers that a random profile names, and their neighbours.
fn named_numbers(profile: &LinuxSeccomp, arch: Arch) -> Vec<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|entry| entry.names());
    let muxes = ["socketcall", "ipc"].map(String::from);
    let named = names.chain(&muxes).filter_map(|name| arch.number(Call::named(name)?));
    let near = named.flat_map(|nr| [nr.saturating_sub(1), nr, nr + 1]);
    near.chain([0, 600, X32, X32 + 600, u32::MAX]).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The first question on which program and naive reading differ.
fn difference(filter: &Filter, naive: &Naive, arch: u32, numbers: &[u32], vectors: &[[u64; 6]]) -> Option<String> {
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
fn audits(archs: &[Arch]) -> Vec<(Arch, u32)> {
    archs.iter().map(|arch| (*arch, arch.audit())).chain([(archs[0], 0x4000_0028 ^ 0x55)]).collect()
}

const X86_FAMILY: [Arch; 3] = [Arch::X86_64, Arch::X86, Arch::X32];

#[test]
fn real_profiles_mean_what_they_say() {
    for (name, json) in [("docker", DOCKER), ("podman", PODMAN)] {
        let profile = parse(json);
        let vectors = vectors(&profile, 60);
        for native in [Arch::X86_64, Arch::Aarch64, Arch::S390x, Arch::Riscv64, Arch::Ppc64le] {
            let filter = compiled(&profile, native);
            let naive = Naive::new(&profile, native);
            for (arch, audit) in audits(&naive.archs) {
                let mut vectors = vectors.as_slice();
                if native != Arch::X86_64 {
                    vectors = &vectors[..12];
                }
                assert_eq!(difference(&filter, &naive, audit, &all_numbers(arch), vectors), None, "{name} {arch:?}");
            }
        }
    }
}

fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        4 => Just((Action::ScmpActAllow, None)),
        2 => Just((Action::ScmpActErrno, None)),
        3 => prop_oneof![Just(38_u32), Just(22), Just(0)].prop_map(|errno| (Action::ScmpActErrno, Some(errno))),
        1 => Just((Action::ScmpActKill, None)),
        1 => Just((Action::ScmpActKillProcess, None)),
        1 => Just((Action::ScmpActTrap, None)),
        1 => Just((Action::ScmpActLog, None)),
        1 => Just((Action::ScmpActTrace, Some(7))),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![
        0_u64,
        1,
        2,
        5,
        16,
        0xffff_ffff,
        1 << 32,
        (1 << 32) | 5,
        (5 << 32) | 1,
        0x7e02_0000,
        0x8000_0000,
        1 << 63,
        u64::MAX,
    ])
}

fn arg() -> impl Strategy<Value = serde_json::Value> {
    (0_usize..6, value(), prop::option::of(value()), prop::sample::select(OPERATORS.to_vec())).prop_map(
        |(index, value, two, op)| serde_json::json!({"index": index % 3, "value": value, "valueTwo": two, "op": op}),
    )
}

/// Calls that every architecture of x86 has under its own number, and one that none has.
const PLAIN: &[&str] = &["read", "write", "dup", "dup", "clone", "personality", "futex", "futex_waitv", "no_such_call"];
/// The same, and calls that some architectures lack or multiplex.
const MIXED: &[&str] = &[
    "read",
    "dup",
    "dup",
    "dup",
    "socket",
    "accept",
    "semop",
    "shmat",
    "socketcall",
    "clone",
    "personality",
    "futex",
    "clock_gettime64",
    "cachestat",
    "mseal",
    "set_tls",
    "no_such_call",
];

fn entry(names: &'static [&'static str], args: usize) -> impl Strategy<Value = serde_json::Value> {
    let names = prop::sample::select(names);
    (prop::collection::btree_set(names, 1..4), action(), prop::collection::vec(arg(), 0..args)).prop_map(|(names, action, args)| {
        serde_json::json!({"names": names, "action": action.0.to_string(), "errnoRet": action.1, "args": args})
    })
}

fn profile(
    archs: &'static [&'static str],
    names: &'static [&'static str],
    args: usize,
) -> impl Strategy<Value = LinuxSeccomp> {
    (action(), prop::sample::subsequence(archs, 0..=archs.len()), prop::collection::vec(entry(names, args), 0..10))
        .prop_map(|(action, archs, entries)| {
            serde_json::from_value(serde_json::json!({
                "defaultAction": action.0.to_string(), "defaultErrnoRet": action.1,
                "architectures": archs, "syscalls": entries,
            }))
            .unwrap()
        })
}

const X86_NAMES: &[&str] = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

fn check_random(archs: &'static [&'static str], native: Arch, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&profile(archs, MIXED, 4), |profile| {
        let mut problems = Vec::new();
        let Some(filter) = compile(&profile, native, &mut problems) else {
            prop_assert!(problems.iter().all(|p| p.text.contains("under the same argument compares")), "{problems:?}");
            return Ok(());
        };
        let naive = Naive::new(&profile, native);
        let vectors = vectors(&profile, 40);
        for (arch, audit) in audits(&naive.archs) {
            prop_assert_eq!(difference(&filter, &naive, audit, &named_numbers(&profile, arch), &vectors), None);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn random_profiles_mean_what_they_say() {
    check_random(X86_NAMES, Arch::X86_64, 200);
    check_random(&["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"], Arch::Aarch64, 60);
    check_random(&["SCMP_ARCH_S390X"], Arch::S390x, 60);
    check_random(&["SCMP_ARCH_PPC64LE"], Arch::Ppc64le, 60);
}
