//! Bytes are a seccomp profile, as JSON or as numbers. What is compiled has jumps in range, no more instructions than the
//! kernel takes, ends on every path, and answers as a reader of the profile would; or the profile is refused.

#[allow(dead_code, reason = "tests/seccomp.rs uses more of it")]
#[path = "../../crates/libcontain/tests/profiles/naive.rs"]
mod naive;

use libcontain::Level;
use libcontain::plan::seccomp::{ACTIONS, Arch, FLAGS, Insn, MAX_INSNS, OPERATORS, compile};
use libcontain::spec::LinuxSeccomp;
use serde_json::{Value, json};

use super::bytes::Bytes;
use naive::{Naive, audits, difference, named_numbers, vectors};

/// Those that the naive reading knows.
const ARCHS: [Arch; 7] = [Arch::X86_64, Arch::Aarch64, Arch::X86, Arch::X32, Arch::Arm, Arch::S390x, Arch::Ppc64le];

/// Calls that are alike everywhere, that some architectures lack or multiplex, old, new and unknown.
const CALLS: [&str; 24] = [
    "read",
    "write",
    "dup",
    "clone",
    "personality",
    "futex",
    "futex_waitv",
    "mseal",
    "socket",
    "accept",
    "semop",
    "shmat",
    "socketcall",
    "ipc",
    "set_tls",
    "cachestat",
    "clock_gettime64",
    "openat2",
    "setup",
    "restart_syscall",
    "io_uring_setup",
    "arch_prctl",
    "sync_file_range2",
    "no_such_call",
];

pub fn judge(data: &[u8]) {
    let profile = match data {
        [b' ' | b'\n' | b'{', ..] => serde_json::from_slice(data).ok(),
        _ => serde_json::from_value(decode(data)).ok(),
    };
    let Some(profile) = profile else { return };
    let natives =
        if data.len().is_multiple_of(2) { [Arch::X86_64, Arch::Aarch64] } else { [Arch::S390x, Arch::Ppc64le] };
    for native in natives {
        compiled(&profile, native);
    }
}

fn compiled(profile: &LinuxSeccomp, native: Arch) {
    let compile = || {
        let mut problems = Vec::new();
        (compile(profile, native, &mut problems), problems)
    };
    let (filter, problems) = compile();
    assert_eq!((&filter, &problems), (&compile().0, &compile().1));
    let Some(filter) = filter else {
        return assert!(problems.iter().any(|p| p.level == Level::Error && !p.text.is_empty()), "{problems:?}");
    };
    assert!(problems.iter().all(|problem| problem.level == Level::Warning));
    acceptable(&filter.program);
    let listed: Vec<String> = profile.architectures().iter().flatten().map(ToString::to_string).collect();
    if !listed.iter().all(|name| ARCHS.iter().any(|arch| arch.name() == name)) {
        return;
    }
    let naive = Naive::new(profile, native);
    let vectors = vectors(profile, 8);
    let vectors = sample(&vectors, 40, filter.program.len());
    for (arch, audit) in audits(&naive.archs) {
        let numbers = sample(&named_numbers(profile, arch), 80, filter.program.len());
        assert_eq!(difference(&filter, &naive, audit, &numbers, &vectors), None);
    }
}

/// At most about so many of a list: which ones differs from input to input, and a profile with hundreds of calls does not
/// take all the time.
fn sample<T: Copy>(list: &[T], most: usize, seed: usize) -> Vec<T> {
    let step = list.len().div_ceil(most).max(1);
    list.iter().skip(seed % step).step_by(step).copied().collect()
}

/// What the kernel checks when it loads a program (bpf_check_classic and seccomp_check_filter).
fn acceptable(program: &[Insn]) {
    assert!(!program.is_empty() && program.len() <= MAX_INSNS, "{} instructions", program.len());
    assert_eq!(program.last().map(|insn| insn.code), Some(0x06), "the last one returns");
    for (at, insn) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match insn.code {
            0x20 => assert!(insn.k % 4 == 0 && insn.k < 64, "{insn:?}"),
            0x54 | 0x06 => {}
            0x05 => assert!(usize::try_from(insn.k).unwrap() < left, "{insn:?}"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(usize::from(insn.jt) < left && usize::from(insn.jf) < left, "{insn:?}");
            }
            _ => panic!("{insn:?}"),
        }
    }
}

/// A profile out of bytes.
fn decode(data: &[u8]) -> Value {
    let mut bytes = Bytes::new(data);
    let default = bytes.pick(&ACTIONS).to_string();
    let bits = bytes.byte();
    let archs: Vec<&str> =
        ARCHS.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0).map(|(_, a)| a.name()).collect();
    let flags = bytes.byte();
    let flags: Vec<&str> =
        FLAGS.iter().enumerate().filter(|(i, _)| flags >> i & 1 != 0).map(|(_, (f, _))| *f).collect();
    let default_errno = errno(&mut bytes);
    let mut calls = Vec::new();
    while !bytes.is_empty() && calls.len() < 100 {
        let names: Vec<&str> = (0..=bytes.below(3)).map(|_| *bytes.pick(&CALLS)).collect();
        let action = *bytes.pick(&ACTIONS);
        let errno = errno(&mut bytes);
        let args: Vec<Value> = (0..bytes.below(5)).map(|_| arg(&mut bytes)).collect();
        calls.push(json!({ "names": names, "action": action, "errnoRet": errno, "args": args }));
    }
    json!({ "defaultAction": default, "defaultErrnoRet": default_errno, "architectures": archs, "flags": flags,
        "listenerPath": "/agent", "syscalls": calls })
}

fn errno(bytes: &mut Bytes<'_>) -> Value {
    match bytes.byte() {
        0..=199 => Value::Null,
        n @ 200..=250 => json!(n - 200),
        n => json!(4090 + 3 * u32::from(n - 250)),
    }
}

fn arg(bytes: &mut Bytes<'_>) -> Value {
    let (index, op) = (bytes.below(8), *bytes.pick(&OPERATORS));
    // mostly one of few arguments, so that compares meet
    let index = if index == 7 { 6 } else { index % 3 };
    json!({ "index": index, "op": op, "value": bytes.number(), "valueTwo": bytes.number() })
}
