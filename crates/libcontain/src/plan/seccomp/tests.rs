//! Each rule of `linux.seccomp`, one by one; whole profiles are judged by tests/seccomp.rs.

use super::*;
use serde_json::{Value, json};

const ALLOW: u32 = RET_ALLOW;

fn profile(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

/// A profile with a default of ERRNO (EPERM) and these entries.
fn entries(entries: Value) -> LinuxSeccomp {
    profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": entries}))
}

fn filter(profile: &LinuxSeccomp) -> Filter {
    let mut problems = Vec::new();
    let filter = compile(profile, Arch::X86_64, &mut problems);
    filter.unwrap_or_else(|| panic!("{problems:?}"))
}

fn problems(profile: &LinuxSeccomp) -> Vec<String> {
    let mut problems = Vec::new();
    let filter = compile(profile, Arch::X86_64, &mut problems);
    assert_eq!(filter.is_none(), problems.iter().any(|p| p.level == Level::Error));
    problems.iter().map(ToString::to_string).collect()
}

/// What a call of `arch` meets with these first arguments.
fn ask(filter: &Filter, arch: Arch, nr: u32, first: &[u64]) -> u32 {
    let args = std::array::from_fn(|i| first.get(i).copied().unwrap_or(0));
    let data = Data { nr, arch: arch.audit(), instruction_pointer: 0, args };
    evaluate(&filter.program, &data).unwrap()
}

fn rule(op: &str, value: u64, two: u64) -> LinuxSeccomp {
    entries(json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "op": op, "value": value, "valueTwo": two}]}]))
}

#[test]
fn every_operator_compares_64_bits() {
    const BIG: u64 = 5 << 32 | 7;
    let around = [0, 7, BIG - 1, BIG, BIG + 1, 6 << 32, 4 << 32 | 9, u64::MAX];
    let holding = |op, arg: u64| match op {
        "NE" => arg != BIG,
        "LT" => arg < BIG,
        "LE" => arg <= BIG,
        "EQ" => arg == BIG,
        "GE" => arg >= BIG,
        _ => arg > BIG,
    };
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT"] {
        let filter = filter(&rule(&format!("SCMP_CMP_{op}"), BIG, 0));
        for arg in around {
            assert_eq!(ask(&filter, Arch::X86_64, 0, &[arg]) == ALLOW, holding(op, arg), "{op} {arg:x}");
        }
    }
    let masked = filter(&rule("SCMP_CMP_MASKED_EQ", 0xf << 32 | 0xf0, 3 << 32 | 0x55));
    assert_eq!(ask(&masked, Arch::X86_64, 0, &[0x13 << 32 | 0x5f]), ALLOW, "bits outside the mask do not count");
    assert_eq!(ask(&masked, Arch::X86_64, 0, &[0x12 << 32 | 0x5f]), RET_ERRNO | EPERM);
}

#[test]
fn actions_and_their_errno() {
    for (action, errno, expected) in [
        ("KILL", None, 0),
        ("KILL_THREAD", None, 0),
        ("KILL_PROCESS", None, 0x8000_0000),
        ("TRAP", None, 0x0003_0000),
        ("ERRNO", Some(22), 0x0005_0016),
        ("ERRNO", Some(0), 0x0005_0000),
        ("NOTIFY", None, 0x7fc0_0000),
        ("TRACE", None, 0x7ff0_0001),
        ("TRACE", Some(65535), 0x7ff0_ffff),
        ("LOG", None, 0x7ffc_0000),
        ("ALLOW", None, 0x7fff_0000),
    ] {
        let list = json!([{"names": ["read"], "action": format!("SCMP_ACT_{action}"), "errnoRet": errno}]);
        let profile = profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list, "listenerPath": "/agent"}));
        assert_eq!(ask(&filter(&profile), Arch::X86_64, 0, &[]), expected, "{action}");
    }
}

#[test]
fn args_on_one_index_are_alternatives_and_on_several_a_conjunction() {
    let arg = |index, value| json!({"index": index, "op": "SCMP_CMP_EQ", "value": value});
    let with = |args| filter(&entries(json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args}])));
    let both = with(json!([arg(0, 1), arg(1, 2)]));
    let either = with(json!([arg(0, 1), arg(0, 9), arg(1, 2)]));
    for (args, and, or) in [
        ([1, 2], true, true),
        ([1, 3], false, true),
        ([3, 2], false, true),
        ([9, 3], false, true),
        ([3, 3], false, false),
    ] {
        assert_eq!(ask(&both, Arch::X86_64, 0, &args) == ALLOW, and, "{args:?}");
        assert_eq!(ask(&either, Arch::X86_64, 0, &args) == ALLOW, or, "{args:?}");
    }
}

#[test]
fn precedence_follows_libseccomp() {
    let eq = json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": 5}]);
    let ge = json!([{"index": 0, "op": "SCMP_CMP_GE", "value": 1}]);
    let one = |action, args: &Value| json!({"names": ["read"], "action": format!("SCMP_ACT_{action}"), "args": args});
    let none = json!([]);
    for (list, expected, why) in [
        (json!([one("TRAP", &eq), one("ALLOW", &none)]), ALLOW, "unconditional wins over earlier compares"),
        (json!([one("ALLOW", &none), one("TRAP", &eq)]), ALLOW, "and over later ones"),
        (json!([one("LOG", &none), one("ALLOW", &none)]), RET_LOG, "the first of two"),
        (json!([one("ERRNO", &none), one("LOG", &eq)]), RET_LOG, "a rule equal to the default says nothing"),
        (json!([one("TRAP", &ge), one("ALLOW", &eq)]), ALLOW, "an equality before a bound"),
    ] {
        assert_eq!(ask(&filter(&entries(list)), Arch::X86_64, 0, &[5]), expected, "{why}");
    }
    let conflict = problems(&entries(json!([one("TRAP", &eq), one("ALLOW", &eq)])));
    assert!(conflict.len() == 1 && conflict[0].starts_with("linux.seccomp.syscalls[1].action: "), "{conflict:?}");
}

#[test]
fn architectures_and_strangers() {
    let list = json!([{"names": ["read", "socket", "no_such_call"], "action": "SCMP_ACT_ALLOW"}]);
    let native = filter(&entries(list.clone()));
    let all = filter(&profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list,
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]})));
    assert_eq!(ask(&native, Arch::X86_64, 0, &[]), ALLOW);
    assert_eq!(ask(&native, Arch::X86, 3, &[]), RET_KILL_THREAD, "not listed");
    assert_eq!(ask(&native, Arch::X86_64, 0x4000_0000, &[]), RET_KILL_THREAD, "x32 is not listed");
    assert_eq!(ask(&native, Arch::X86_64, u32::MAX, &[]), RET_ERRNO | EPERM, "a call that a tracer skips");
    assert_eq!(ask(&all, Arch::X86_64, 0, &[]), ALLOW, "the native one need not be listed");
    assert_eq!(ask(&all, Arch::X86, 3, &[]), ALLOW);
    assert_eq!(ask(&all, Arch::X32, 0x4000_0000, &[]), ALLOW);
    assert_eq!(ask(&all, Arch::Aarch64, 63, &[]), RET_KILL_THREAD);
    assert_eq!(ask(&all, Arch::X86, 359, &[]), ALLOW);
    assert_eq!(ask(&all, Arch::X86, 102, &[1]), ALLOW, "socketcall(SYS_SOCKET)");
    assert_eq!(ask(&all, Arch::X86, 102, &[2]), RET_ERRNO | EPERM, "socketcall(SYS_BIND)");
}

#[test]
fn calls_newer_than_the_profile_get_enosys() {
    let names = json!([{"names": ["read", "openat2"], "action": "SCMP_ACT_ERRNO"}]);
    for (action, expected) in [
        ("ERRNO", RET_ERRNO | ENOSYS),
        ("KILL_PROCESS", RET_ERRNO | ENOSYS),
        ("TRAP", RET_ERRNO | ENOSYS),
        ("ALLOW", RET_ALLOW),
        ("LOG", RET_LOG),
        ("TRACE", RET_TRACE | EPERM),
    ] {
        let value = json!({"defaultAction": format!("SCMP_ACT_{action}"), "syscalls": names});
        let filter = filter(&profile(value));
        assert_eq!(ask(&filter, Arch::X86_64, 438, &[]), expected, "{action}");
        assert_ne!(ask(&filter, Arch::X86_64, 436, &[]), RET_ERRNO | ENOSYS, "{action}: older than openat2");
    }
    let mut problems = Vec::new();
    let list = entries(json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]));
    let s390 = compile(&list, Arch::S390x, &mut problems).unwrap();
    assert_eq!(ask(&s390, Arch::S390x, 0, &[]), RET_ERRNO | ENOSYS, "s390 reports unknown numbers as 0");
}

#[test]
fn flags_default_to_spec_allow() {
    for (flags, expected) in [
        (json!(null), FLAG_SPEC_ALLOW),
        (json!([]), 0),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), 0),
        (json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), 6),
        (json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), 0),
    ] {
        let value = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags});
        assert_eq!(filter(&profile(value)).flags, expected, "{flags}");
    }
}

#[test]
fn a_listener_is_made_if_an_agent_is_asked() {
    let notify = json!([{"names": ["no_such_call"], "action": "SCMP_ACT_NOTIFY"}]);
    let nothing = json!([{"names": [], "action": "SCMP_ACT_NOTIFY"}]);
    let killable = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    for (calls, flags, expected) in [
        (&notify, &json!(null), FLAG_SPEC_ALLOW | FLAG_NEW_LISTENER),
        (&notify, &json!([]), FLAG_NEW_LISTENER),
        (&notify, &json!(["SECCOMP_FILTER_FLAG_TSYNC"]), FLAG_NEW_LISTENER),
        (&notify, &killable, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV),
        (&nothing, &json!([]), 0),
        (&nothing, &killable, 0),
    ] {
        let value = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": calls, "listenerPath": "/a"});
        let filter = filter(&profile(value));
        assert_eq!((filter.flags, filter.notifies()), (expected, expected & FLAG_NEW_LISTENER != 0), "{calls} {flags}");
    }
    let errno = json!([{"names": ["read"], "action": "SCMP_ACT_NOTIFY", "errnoRet": 1}]);
    let found = problems(&profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": errno, "listenerPath": "/a"})));
    assert!(found.len() == 1 && found[0].contains("SCMP_ACT_NOTIFY returns no errno"), "{found:?}");
    let alone = problems(&profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"})));
    assert!(alone.len() == 1 && alone[0].starts_with("linux.seccomp.listenerMetadata: must not be set"), "{alone:?}");
}

#[test]
fn what_a_filter_lets_through() {
    let eq = json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": 4}]);
    for (action, args, expected) in [
        ("ALLOW", json!(null), true),
        ("LOG", json!(null), true),
        ("ALLOW", eq.clone(), true),
        ("ALLOW", json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": 5}]), false),
        ("NOTIFY", json!(null), false),
        ("TRACE", json!(null), false),
    ] {
        let list = json!([{"names": ["prctl"], "action": format!("SCMP_ACT_{action}"), "args": args}]);
        let profile = profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list, "listenerPath": "/a"}));
        let allows = |name| filter(&profile).allows(Arch::X86_64, name, [4, 0, 0, 0, 0, 0]);
        assert_eq!((allows("prctl"), allows("read"), allows("no_such_call")), (expected, false, false), "{action}");
    }
}

#[test]
fn the_agents_socket_is_looked_for_from_the_bundle() {
    for (path, socket) in [("/run/agent", "/run/agent"), ("agent", "/bundle/agent"), ("@agent", "@agent")] {
        let profile =
            profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "m"}));
        let agent = Agent { socket: socket.into(), metadata: "m".into() };
        assert_eq!(Agent::of(&profile, Path::new("/bundle")), agent);
    }
}

#[test]
fn all_problems_are_found_at_once() {
    let found = problems(&profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_PARISC"],
        "syscalls": [
            {"names": ["write"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 2},
            {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096},
            {"names": [], "action": "SCMP_ACT_KILL", "args": [{"index": 6, "op": "SCMP_CMP_EQ", "value": 0}]},
        ],
    })));
    for (start, part) in [
        ("linux.seccomp.architectures[1]: ", "string SCMP_ARCH_PARISC is not a valid arch for seccomp"),
        ("linux.seccomp.defaultErrnoRet: ", "SCMP_ACT_ALLOW returns no errno"),
        ("linux.seccomp.syscalls[0].action: ", "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
        ("linux.seccomp.listenerPath: ", "seccomp listenerPath is not set"),
        ("linux.seccomp.syscalls[1].errnoRet: ", "SCMP_ACT_KILL returns no errno"),
        ("linux.seccomp.syscalls[2].errnoRet: ", "4096 is not an errno"),
        ("linux.seccomp.syscalls[3].args[0].index: ", "6 is not an argument"),
        ("linux.seccomp.syscalls[3].names: ", "at least one name"),
    ] {
        assert!(found.iter().any(|p| p.starts_with(start) && p.contains(part)), "{start}{part} in {found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
    let default = problems(&profile(json!({"defaultAction": "SCMP_ACT_NOTIFY"})));
    assert!(default[0].contains("SCMP_ACT_NOTIFY cannot be used as default action"));
}

#[test]
fn too_many_instructions_are_refused() {
    let arg = |value| json!([{"index": 0, "op": "SCMP_CMP_NE", "value": value}]);
    let list: Vec<_> =
        (0..2000).map(|i| json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": arg(i)})).collect();
    let found = problems(&entries(list.into()));
    assert!(found.len() == 1 && found[0].contains("4096"), "{found:?}");
}

#[test]
fn dockers_profile_stays_small() {
    let value: Value = serde_json::from_str(include_str!("../../../tests/profiles/docker.json")).unwrap();
    let filter = filter(&profile(value));
    assert!(filter.program.len() <= 230, "{} instructions", filter.program.len());
}

#[test]
fn printed_tables_are_sorted() {
    assert!(ACTIONS.is_sorted() && OPERATORS.is_sorted() && FLAGS.is_sorted_by_key(|(name, _)| *name));
}
