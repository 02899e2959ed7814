//! The seccomp compiler against two judges: a naive reading of the profile written for this test, and
//! libseccomp itself where it is installed. Real profiles over every number, random ones over the numbers and
//! arguments that matter to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use libcontain::plan::seccomp::{Arch, Data, Filter, OPERATORS, compile, evaluate};
use libcontain::spec::{self, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompOperator as Op};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;

#[path = "profiles/libseccomp.rs"]
mod libseccomp;
#[path = "profiles/naive.rs"]
mod naive;

use naive::{ENOSYS, Naive, X32, audits, difference, named_numbers, vectors};

/// What the engines pass by default. containerd makes its profile in code: this is what `ctr run --seccomp` of containerd
/// 2.1.9 wrote.
const REAL: [(&str, &str); 3] = [
    ("docker", include_str!("profiles/docker.json")),
    ("podman", include_str!("profiles/podman.json")),
    ("containerd", include_str!("profiles/containerd.json")),
];

fn parse(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn compiled(profile: &LinuxSeccomp, native: Arch) -> Filter {
    let mut problems = Vec::new();
    compile(profile, native, &mut problems).unwrap_or_else(|| panic!("{problems:?}"))
}

/// Every number that means something under an AUDIT_ARCH, neighbours and extremes.
fn all_numbers(arch: Arch) -> Vec<u32> {
    let base = match arch {
        Arch::X32 => X32,
        Arch::Mipsel64 => 5000,
        _ => 0,
    };
    let mut numbers: Vec<u32> = (0..1024).map(|n| base + n).collect();
    if arch == Arch::X86_64 {
        // What an x32 program calls, whether the filter speaks of x32 or not.
        numbers.extend((0..1024).map(|n| X32 + n));
    }
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

const X86_FAMILY: [Arch; 3] = [Arch::X86_64, Arch::X86, Arch::X32];

#[test]
fn real_profiles_mean_what_they_say() {
    for (name, json) in REAL {
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
        1 => Just((Action::ScmpActNotify, None)),
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
const PLAIN: &[&str] = &["read", "close", "dup", "dup", "clone", "personality", "futex", "futex_waitv", "no_such_call"];
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
    let default = action().prop_filter("no default", |(action, _)| *action != Action::ScmpActNotify);
    (default, prop::sample::subsequence(archs, 0..=archs.len()), prop::collection::vec(entry(names, args), 0..10))
        .prop_map(|(action, archs, entries)| {
            serde_json::from_value(serde_json::json!({
                "defaultAction": action.0.to_string(), "defaultErrnoRet": action.1,
                "architectures": archs, "syscalls": entries, "listenerPath": "/agent",
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
