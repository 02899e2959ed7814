//! What Go would make of a config, and what is said where it would make nothing of it.

use super::*;
use crate::spec::{Capability, LinuxNamespaceType, LinuxResources, LinuxSchedulerFlag};
use serde_json::{Value, json};
use std::fmt::Write as _;

fn spec(text: &str) -> Spec {
    let (spec, warnings) = from_json::<Spec>("config.json", text.as_bytes()).expect(text);
    assert_eq!(warnings, []);
    spec
}

fn error(text: &str) -> String {
    from_json::<Spec>("config.json", text.as_bytes()).expect_err(text).text
}

#[test]
fn parse_errors_name_the_place() {
    let table = [
        (
            "{\n\"process\": {\n\"args\": \"sh\"}}",
            "config.json: process.args: invalid type: string \"sh\", expected a sequence (line 3)",
        ),
        (
            "{\"process\":{\"args\":[\"a\",\n7]}}",
            "config.json: process.args[1]: invalid type: integer `7`, expected a string (line 2)",
        ),
        (
            r#"{"process":{"user":{"uid":4294967296}}}"#,
            "config.json: process.user.uid: invalid value: integer `4294967296`, expected u32 (line 1)",
        ),
        (
            r#"{"process":{"user":{"uid":-1}}}"#,
            "config.json: process.user.uid: invalid value: integer `-1`, expected u32 (line 1)",
        ),
        (
            r#"{"process":{"user":{"uid":1.5}}}"#,
            "config.json: process.user.uid: invalid type: floating point `1.5`, expected u32 (line 1)",
        ),
        (
            r#"{"process":{"user":[0,0]}}"#,
            "config.json: process.user: invalid type: sequence, expected an object (line 1)",
        ),
        (
            r#"{"process":{"terminal":"yes"}}"#,
            "config.json: process.terminal: invalid type: string \"yes\", expected a boolean (line 1)",
        ),
        ("[]", "config.json: invalid type: sequence, expected an object (line 1)"),
        ("7", "config.json: invalid type: integer `7`, expected an object (line 1)"),
        ("", "config.json: is empty, expected a JSON object"),
        (" \n", "config.json: is empty, expected a JSON object"),
        ("null", "config.json: config cannot be null, expected a JSON object"),
        ("\u{feff}{}", "config.json: expected value (line 1)"),
        ("\u{fffd}{}", "config.json: expected value (line 1)"),
        (r#"{"hostname":"a",}"#, "config.json: trailing comma (line 1)"),
        (r#"{"process":{"args":["a" "b"]}}"#, "config.json: process.args[1]: expected `,` or `]` (line 1)"),
        (r#"{"process":{"args":["a""#, "config.json: process.args[1]: EOF while parsing a list (line 1)"),
        (
            "{\"annotations\":{\"a.b\":1}}",
            "config.json: annotations.a.b: invalid type: integer `1`, expected a string (line 1)",
        ),
        (
            r#"{"linux":{"seccomp":{"syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG"}]}}}"#,
            "config.json: linux.seccomp.defaultAction: must be given (line 1)",
        ),
        (r#"{"process":{"rlimits":[{"soft":1}]}}"#, "config.json: process.rlimits[0].type: must be given (line 1)"),
        (
            r#"{"mounts":[{"destination":"/","options":["a"]},{"options":{}}]}"#,
            "config.json: mounts[1].options: invalid type: map, expected a sequence (line 1)",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(error(text), expected);
    }
    let found = from_json::<Spec>("config.json", br#"{"process":{"args":"sh"}}"#).expect_err("wrong type");
    assert_eq!(found.at.as_deref(), Some("process.args"));
}

/// Refusals of a member of `process`, `linux` or `linux.seccomp`, the list of expected words cut off.
fn refused(table: &[(&str, &str, &str)]) {
    for (parent, member, expected) in table {
        let text = match *parent {
            "linux.seccomp" => format!(r#"{{"linux":{{"seccomp":{{"defaultAction":"SCMP_ACT_LOG",{member}}}}}}}"#),
            parent => format!(r#"{{"{parent}":{{{member}}}}}"#),
        };
        let expected = format!("config.json: {parent}.{expected}");
        let found = error(&text);
        assert!(found.starts_with(&expected), "{found}\n{expected}");
    }
}

#[test]
fn unknown_words_are_refused_with_runc_texts() {
    refused(&[
        (
            "linux",
            r#""namespaces":[{"type":"pid"},{"type":"x"}]"#,
            "namespaces[1].type: namespace \"x\" does not exist, expected one of mount, cgroup, uts, ipc, user, pid, network, time (line 1)",
        ),
        (
            "linux",
            r#""devices":[{"type":"x","path":"/a"}]"#,
            "devices[0].type: invalid device type \"x\", expected one of a, b, c, u, p (line 1)",
        ),
        (
            "linux",
            r#""resources":{"devices":[{"type":"x"}]}"#,
            "resources.devices[0].type: invalid cgroup device type \"x\", expected one of a, b, c, u, p (line 1)",
        ),
        (
            "linux",
            r#""personality":{"domain":"X"}"#,
            "personality.domain: invalid personality domain X, expected one of LINUX, LINUX32",
        ),
        (
            "linux",
            r#""memoryPolicy":{"mode":"X"}"#,
            "memoryPolicy.mode: invalid memory policy mode \"X\", expected one of MPOL_",
        ),
        (
            "linux",
            r#""memoryPolicy":{"mode":"MPOL_BIND","flags":["X"]}"#,
            "memoryPolicy.flags[0]: invalid memory policy flag \"X\"",
        ),
        ("linux", r#""namespaces":[{"type":"Pid"}]"#, "namespaces[0].type: namespace \"Pid\" does not exist, expected"),
        ("linux", r#""namespaces":[{}]"#, "namespaces[0].type: must be given"),
        ("linux", r#""namespaces":[null]"#, "namespaces[0].type: must be given"),
        ("linux", r#""memoryPolicy":{"nodes":"0"}"#, "memoryPolicy.mode: invalid memory policy mode \"\", expected"),
        ("linux", r#""personality":{}"#, "personality.domain: invalid personality domain , expected"),
    ]);
}

#[test]
fn unknown_words_of_the_process_are_refused_with_runc_texts() {
    refused(&[
        (
            "process",
            r#""rlimits":[{"type":"RLIMIT_X"}]"#,
            "rlimits[0].type: wrong rlimit value: RLIMIT_X, expected one of RLIMIT_CPU, ",
        ),
        ("process", r#""rlimits":[{"type":7}]"#, "rlimits[0].type: invalid type: integer `7`, expected a string"),
        (
            "process",
            r#""scheduler":{"policy":"X"}"#,
            "scheduler.policy: invalid scheduler policy: X, expected one of SCHED_OTHER, ",
        ),
        (
            "process",
            r#""scheduler":{"policy":"SCHED_RR","flags":["X"]}"#,
            "scheduler.flags[0]: invalid scheduler flag: X, expected one of SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, ",
        ),
        (
            "process",
            r#""scheduler":{"policy":"SCHED_RR","flags":["SCHED_RESET_ON_FORK"]}"#,
            "scheduler.flags[0]: invalid scheduler flag: SCHED_RESET_ON_FORK, expected",
        ),
        ("process", r#""scheduler":{}"#, "scheduler.policy: scheduler policy is required, expected one of SCHED_"),
        ("process", r#""scheduler":{"policy":""}"#, "scheduler.policy: scheduler policy is required"),
        ("process", r#""ioPriority":{"priority":1}"#, "ioPriority.class: invalid ioPriority.Class: \"\", expected"),
        ("process", r#""ioPriority":{"class":null}"#, "ioPriority.class: invalid ioPriority.Class: \"\", expected"),
        ("process", r#""rlimits":[{"type":"NOFILE"}]"#, "rlimits[0].type: wrong rlimit value: NOFILE, expected"),
        (
            "process",
            r#""ioPriority":{"class":"X"}"#,
            "ioPriority.class: invalid ioPriority.Class: \"X\", expected one of IOPRIO_CLASS_RT, ",
        ),
    ]);
}

#[test]
fn sections_for_other_platforms_are_not_read() {
    let found =
        spec(r#"{"ociVersion":"1.3.0","vm":{},"Windows":{"layerFolders":7},"solaris":[],"zos":null,"freebsd":1}"#);
    assert_eq!(found.version(), "1.3.0");
    assert!(found.vm().is_none() && found.windows().is_none() && found.solaris().is_none());
}

#[test]
fn unknown_words_of_seccomp_are_refused_with_runc_texts() {
    refused(&[
        (
            "linux.seccomp",
            r#""syscalls":[{"names":["read"],"action":"SCMP_ACT_X"}]"#,
            "syscalls[0].action: string SCMP_ACT_X is not a valid action for seccomp, expected one of SCMP_ACT_KILL, ",
        ),
        (
            "linux.seccomp",
            r#""syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"op":"SCMP_CMP_XX"}]}]"#,
            "syscalls[0].args[0].op: string SCMP_CMP_XX is not a valid operator for seccomp, expected one of SCMP_CMP_NE, ",
        ),
        (
            "linux.seccomp",
            r#""architectures":["SCMP_ARCH_Z80"]"#,
            "architectures[0]: string SCMP_ARCH_Z80 is not a valid arch for seccomp (line 1)",
        ),
        (
            "linux.seccomp",
            r#""flags":["SECCOMP_X"]"#,
            "flags[0]: seccomp flag SECCOMP_X is not known to runc, expected one of SECCOMP_FILTER_FLAG_LOG, ",
        ),
    ]);
}

#[test]
fn names_match_in_any_case_and_exact_ones_first() {
    let found = spec(
        r#"{"OCIVERSION":"1.2.0","Process":{"CWD":"/a","Args":["x"],"NoNewPrivileges":true},"LINUX":{"maskedpaths":["/m"]}}"#,
    );
    assert_eq!(found.version(), "1.2.0");
    let process = found.process().as_ref().expect("process");
    assert_eq!((process.cwd().to_str(), process.no_new_privileges()), (Some("/a"), Some(true)));
    assert_eq!(found.linux().as_ref().and_then(|l| l.masked_paths().clone()), Some(vec!["/m".to_owned()]));
    let (resources, _) =
        from_json::<LinuxResources>("-", br#"{"CPU":{"Cpus":"1"},"BLOCKio":{"Weight":5}}"#).expect("resources");
    assert_eq!(resources.cpu().as_ref().and_then(|c| c.cpus().clone()).as_deref(), Some("1"));
    assert_eq!(resources.block_io().as_ref().and_then(crate::spec::LinuxBlockIo::weight), Some(5));
    // Keys that are data stay as they are.
    let found = spec(r#"{"annotations":{"A":"1","a":"2"}}"#);
    assert_eq!(found.annotations().as_ref().map(std::collections::HashMap::len), Some(2));
}

#[test]
fn null_is_absent_and_absent_is_zero() {
    let found = spec(
        r#"{"ociVersion":null,"process":{"terminal":null,"user":null,"args":null,"cwd":null},"mounts":[{"type":"proc"}],"hooks":{"poststop":[{"args":["x"]}]},"annotations":{"a":null,"b":""},"linux":{"uidMappings":[{"size":null,"hostID":5}]}}"#,
    );
    assert_eq!(found.version(), "");
    let process = found.process().as_ref().expect("process");
    assert_eq!((process.user().uid(), process.args(), process.cwd().to_str()), (0, &None, Some("")));
    assert_eq!(found.mounts().as_ref().map(|m| m[0].destination().clone()), Some(PathBuf::new()));
    assert_eq!(
        found.hooks().as_ref().and_then(|h| h.poststop().clone()).map(|h| h[0].path().clone()),
        Some(PathBuf::new())
    );
    let annotation = |key: &str| found.annotations().as_ref().and_then(|a| a.get(key)).map(String::as_str);
    assert_eq!((annotation("a"), annotation("b")), (Some(""), Some("")));
    let mapping = found.linux().as_ref().and_then(|l| l.uid_mappings().clone()).expect("mapping")[0];
    assert_eq!((mapping.host_id(), mapping.size()), (5, 0));
    assert_eq!(spec(r#"{"process":{}}"#).process().as_ref().map(|p| p.user().gid()), Some(0));
}

#[test]
fn lists_of_cpus() {
    let found =
        |initial: &str| spec(&format!(r#"{{"process":{{"execCPUAffinity":{{"initial":"{initial}","final":"1"}}}}}}"#));
    let affinity =
        |initial| found(initial).process().as_ref().and_then(|p| p.exec_cpu_affinity().clone()).expect("given");
    assert_eq!(affinity("0-3,7").initial().as_deref(), Some("0-3,7"));
    assert_eq!((affinity("").initial(), affinity("").cpu_affinity_final().as_deref()), (&None, Some("1")));
    refused(&[
        (
            "process",
            r#""execCPUAffinity":{"initial":"0-"}"#,
            "execCPUAffinity.initial: bad CPUAffinity.Initial: \"0-\", expected a list such as \"0-3,7\" (line 1)",
        ),
        (
            "process",
            r#""execCPUAffinity":{"final":"x"}"#,
            "execCPUAffinity.final: bad CPUAffinity.Final: \"x\", expected",
        ),
    ]);
}

/// A seccomp profile of zero values is none.
#[test]
fn an_empty_seccomp_profile_is_none() {
    let table = [
        (r#"{"linux":{"seccomp":{}}}"#, "/linux/seccomp", json!(null)),
        (
            r#"{"linux":{"Seccomp":{"defaultAction":"","architectures":[],"syscalls":null}},"hostname":"h"}"#,
            "",
            json!({"ociVersion":"","linux":{},"hostname":"h"}),
        ),
        (
            r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_LOG"},"seccomp":{}}}"#,
            "/linux/seccomp/defaultAction",
            json!("SCMP_ACT_LOG"),
        ),
    ];
    for (text, pointer, expected) in table {
        let (found, _) = from_json::<Spec>("config.json", text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let found = serde_json::to_value(&found).expect("json");
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null), &expected, "{text}");
    }
}

/// What Go 1.19's `encoding/json` makes of these, with structs of the same members (contract G3).
#[test]
fn documents_are_read_as_go_reads_them() {
    let table: &[(&str, &str, Value)] = &[
        // Repeated members are merged: objects by member, lists by item, maps by key, whatever the case of the names.
        (r#"{"hostname":"a","Hostname":"b"}"#, "/hostname", json!("b")),
        (r#"{"hostname":"a","hostname":null}"#, "/hostname", json!("a")),
        (r#"{"process":{"cwd":"/a","args":["x"]},"PROCESS":{"cwd":"/b"}}"#, "/process/args", json!(["x"])),
        (r#"{"process":{"cwd":"/a","args":["x"]},"PROCESS":{"cwd":"/b"}}"#, "/process/cwd", json!("/b")),
        (r#"{"process":{"cwd":"/a"},"process":null}"#, "/process", json!(null)),
        (r#"{"process":{"args":["a"]},"process":{"args":null}}"#, "/process/args", json!(null)),
        (r#"{"process":{"args":["a","b"],"args":["c"]}}"#, "/process/args", json!(["c"])),
        (r#"{"process":{"args":["a","b"],"args":[null,"z"]}}"#, "/process/args", json!(["a", "z"])),
        (r#"{"process":{"noNewPrivileges":true,"noNewPrivileges":null}}"#, "/process/noNewPrivileges", json!(true)),
        (
            r#"{"mounts":[{"destination":"/a","type":"t"},{"destination":"/b"}],"mounts":[{"destination":"/c"}]}"#,
            "/mounts",
            json!([{"destination":"/c","type":"t"}]),
        ),
        (
            r#"{"mounts":[{"destination":"/a","options":["x","y"]}],"mounts":[{"options":["z"]},{"destination":"/n"}]}"#,
            "/mounts",
            json!([{"destination":"/a","options":["z"]},{"destination":"/n"}]),
        ),
        (
            r#"{"annotations":{"a":"1"},"annotations":{"b":"2"},"annotations":{"a":"3"}}"#,
            "/annotations",
            json!({"a":"3","b":"2"}),
        ),
        (r#"{"linux":{"sysctl":{"a.b":"1"},"SYSCTL":{"A.B":"2"}}}"#, "/linux/sysctl", json!({"a.b":"1","A.B":"2"})),
        (r#"{"annotations":{"k":"1","k":"2"}}"#, "/annotations", json!({"k":"2"})),
        (r#"{"linux":{"netDevices":{"eth0":{"name":"x"},"eth0":{}}}}"#, "/linux/netDevices/eth0/name", json!(null)),
        (r#"{"x":1,"x":{},"hostname":"h"}"#, "/hostname", json!("h")),
        // null is the zero value, of items and map values too.
        (r#"{"annotations":{"a":null,"A":"x"}}"#, "/annotations", json!({"a":"","A":"x"})),
        (r#"{"annotations":{"a":"1","a":null}}"#, "/annotations", json!({"a":""})),
        (r#"{"linux":{"netDevices":{"eth0":null}}}"#, "/linux/netDevices/eth0", json!({"name":null})),
        (r#"{"process":{"args":["a",null]}}"#, "/process/args", json!(["a", ""])),
        (r#"{"mounts":[null,{"destination":"/x"}]}"#, "/mounts", json!([{"destination":""},{"destination":"/x"}])),
        (r#"{"linux":{"resources":{"pids":{}}}}"#, "/linux/resources/pids/limit", json!(-1)),
        (r#"{"linux":{"resources":{"pids":{"limit":null}}}}"#, "/linux/resources/pids/limit", json!(-1)),
        (r#"{"linux":{"resources":{"memory":{"limit":null}}}}"#, "/linux/resources/memory", json!({})),
        // Two letters outside ASCII fold to ASCII ones.
        ("{\"ho\u{17f}tname\":\"long s\"}", "/hostname", json!("long s")),
        ("{\"linux\":{\"mas\u{212a}edPaths\":[\"/k\"]}}", "/linux/maskedPaths", json!(["/k"])),
        // What follows is not read.
        (r#"{"hostname":"x"} trailing"#, "/hostname", json!("x")),
        (r#"{"hostname":"x"}}"#, "/hostname", json!("x")),
        // Half a surrogate pair.
        (r#"{"hostname":"\ud800x"}"#, "/hostname", json!("\u{fffd}x")),
        (r#"{"host\ud800":"x"}"#, "/hostname", json!(null)),
    ];
    for (text, pointer, expected) in table {
        let (found, _) = from_json::<Spec>("config.json", text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let found = serde_json::to_value(&found).expect("json");
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null), expected, "{text}");
    }
    let (found, _) = from_json::<Spec>("config.json", b"{\"hostname\":\"a\xffb\xe2\x82\"}").expect("replaced");
    assert_eq!(found.hostname().as_deref(), Some("a\u{fffd}b\u{fffd}\u{fffd}"));
}

#[test]
fn a_repeated_member_of_a_wrong_type_is_one_even_where_it_would_not_count() {
    assert!(error(r#"{"hostname":7,"hostname":"a"}"#).contains("hostname: invalid type: integer `7`"));
    for text in [
        r#"{"hostname":"a","hostname":7,"hostname":"b"}"#,
        r#"{"process":{"user":{"uid":1}},"process":{"user":{"uid":"1"}}}"#,
        r#"{"mounts":[],"mounts":{}}"#,
        r#"{"mounts":[],"mounts":"x"}"#,
        r#"{"process":{"user":{"uid":5,"uid":null}}}"#,
    ] {
        assert!(error(text).contains("given more than once, as"), "{}", error(text));
    }
    let found = error("{\"hostname\":\"a\",\n\"hostname\":\"b\",\n\"process\":{\"args\":7}}");
    assert_eq!(found, "config.json: process.args: invalid type: integer `7`, expected a sequence");
}

/// Every number of the config that cannot be negative, and the most that Go's type of it holds.
const UNSIGNED: &[(&str, u64)] = &[
    ("process.user.uid", u32::MAX as u64),
    ("process.user.gid", u32::MAX as u64),
    ("process.user.umask", u32::MAX as u64),
    ("process.user.additionalGids[0]", u32::MAX as u64),
    ("process.consoleSize.height", u64::MAX),
    ("process.consoleSize.width", u64::MAX),
    ("process.scheduler.runtime", u64::MAX),
    ("process.scheduler.deadline", u64::MAX),
    ("process.scheduler.period", u64::MAX),
    ("process.rlimits[0].soft", u64::MAX),
    ("process.rlimits[0].hard", u64::MAX),
    ("linux.uidMappings[0].containerID", u32::MAX as u64),
    ("linux.uidMappings[0].hostID", u32::MAX as u64),
    ("linux.uidMappings[0].size", u32::MAX as u64),
    ("linux.gidMappings[0].size", u32::MAX as u64),
    ("mounts[0].uidMappings[0].hostID", u32::MAX as u64),
    ("linux.devices[0].fileMode", u32::MAX as u64),
    ("linux.devices[0].uid", u32::MAX as u64),
    ("linux.devices[0].gid", u32::MAX as u64),
    ("linux.resources.memory.swappiness", u64::MAX),
    ("linux.resources.cpu.shares", u64::MAX),
    ("linux.resources.cpu.burst", u64::MAX),
    ("linux.resources.cpu.period", u64::MAX),
    ("linux.resources.cpu.realtimePeriod", u64::MAX),
    ("linux.resources.blockIO.weight", u16::MAX as u64),
    ("linux.resources.blockIO.leafWeight", u16::MAX as u64),
    ("linux.resources.blockIO.weightDevice[0].weight", u16::MAX as u64),
    ("linux.resources.blockIO.weightDevice[0].leafWeight", u16::MAX as u64),
    ("linux.resources.blockIO.throttleReadBpsDevice[0].rate", u64::MAX),
    ("linux.resources.network.classID", u32::MAX as u64),
    ("linux.resources.network.priorities[0].priority", u32::MAX as u64),
    ("linux.resources.rdma.mlx.hcaHandles", u32::MAX as u64),
    ("linux.resources.rdma.mlx.hcaObjects", u32::MAX as u64),
    ("linux.seccomp.defaultErrnoRet", u32::MAX as u64),
    ("linux.seccomp.syscalls[0].errnoRet", u32::MAX as u64),
    ("linux.seccomp.syscalls[0].args[0].index", u64::MAX),
    ("linux.seccomp.syscalls[0].args[0].value", u64::MAX),
    ("linux.seccomp.syscalls[0].args[0].valueTwo", u64::MAX),
    ("linux.timeOffsets.boottime.nanosecs", u32::MAX as u64),
];

/// The others; the least is the negative successor of the most.
const SIGNED: &[(&str, u64)] = &[
    ("process.oomScoreAdj", i32::MAX as u64),
    ("process.ioPriority.priority", i64::MAX as u64),
    ("process.scheduler.nice", i32::MAX as u64),
    ("process.scheduler.priority", i32::MAX as u64),
    ("hooks.poststop[0].timeout", i64::MAX as u64),
    ("linux.devices[0].major", i64::MAX as u64),
    ("linux.devices[0].minor", i64::MAX as u64),
    ("linux.resources.devices[0].major", i64::MAX as u64),
    ("linux.resources.devices[0].minor", i64::MAX as u64),
    ("linux.resources.memory.limit", i64::MAX as u64),
    ("linux.resources.memory.reservation", i64::MAX as u64),
    ("linux.resources.memory.swap", i64::MAX as u64),
    ("linux.resources.memory.kernel", i64::MAX as u64),
    ("linux.resources.memory.kernelTCP", i64::MAX as u64),
    ("linux.resources.cpu.quota", i64::MAX as u64),
    ("linux.resources.cpu.realtimeRuntime", i64::MAX as u64),
    ("linux.resources.cpu.idle", i64::MAX as u64),
    ("linux.resources.pids.limit", i64::MAX as u64),
    ("linux.resources.hugepageLimits[0].limit", i64::MAX as u64),
    ("linux.resources.blockIO.weightDevice[0].major", i64::MAX as u64),
    ("linux.resources.blockIO.throttleReadBpsDevice[0].minor", i64::MAX as u64),
    ("linux.timeOffsets.monotonic.secs", i64::MAX as u64),
];

/// Within the range a number is taken, beyond it the error names the member.
#[test]
fn numbers_have_the_range_of_gos_types() {
    for (place, max) in UNSIGNED {
        number_is_in_range(place, &["0".to_owned(), max.to_string()], &["-1".to_owned(), next(*max)]);
    }
    for (place, max) in SIGNED {
        let least = format!("-{}", next(*max));
        let beyond = format!("-{}", next(*max + 1));
        number_is_in_range(place, &[max.to_string(), least], &[next(*max), beyond]);
    }
}

/// One more, also where that is too much for the type.
fn next(number: u64) -> String {
    (u128::from(number) + 1).to_string()
}

fn number_is_in_range(place: &str, good: &[String], bad: &[String]) {
    for number in good {
        let found = from_json::<Spec>("config.json", config_with(place, number).as_bytes());
        assert!(found.is_ok(), "{place} {number}: {found:?}");
    }
    for number in bad.iter().map(String::as_str).chain(["1.5", "1e2", "\"1\"", "true", "[1]"]) {
        let found = error(&config_with(place, number));
        assert!(found.starts_with(&format!("config.json: {place}: invalid ")), "{place} {number}: {found}");
    }
}

/// A config in which this place holds this text, with what its neighbours have to have.
fn config_with(place: &str, text: &str) -> String {
    let place = place.replace("[0]", ".0");
    place.rsplit('.').fold(text.to_owned(), |inner, name| match name {
        "0" => format!("[{inner}]"),
        "seccomp" => inner.replacen('{', "{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_LOG\",", 1) + "}",
        "syscalls" => {
            let inner = inner.replacen('{', "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_LOG\",", 1);
            format!(
                "{{\"syscalls\":{}}}",
                inner
                    .replace("[{\"index", "[{\"op\":\"SCMP_CMP_EQ\",\"index")
                    .replace("[{\"value", "[{\"op\":\"SCMP_CMP_EQ\",\"value")
            )
        }
        "rlimits" => format!("{{\"rlimits\":{}}}", inner.replacen('{', "{\"type\":\"RLIMIT_CPU\",", 1)),
        "devices" => format!("{{\"devices\":{}}}", inner.replacen('{', "{\"type\":\"c\",", 1)),
        "scheduler" => format!("{{\"scheduler\":{}}}", inner.replacen('{', "{\"policy\":\"SCHED_OTHER\",", 1)),
        "ioPriority" => {
            format!("{{\"ioPriority\":{}}}", inner.replacen('{', "{\"class\":\"IOPRIO_CLASS_BE\",", 1))
        }
        name => format!("{{\"{name}\":{inner}}}"),
    })
}

#[test]
fn words_are_those_of_the_spec_where_oci_spec_errs() {
    let found = spec(
        r#"{"process":{"scheduler":{"policy":"SCHED_RR","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]}}}"#,
    );
    let flags = found.process().as_ref().and_then(|p| p.scheduler().clone()).and_then(|s| s.flags().clone());
    assert_eq!(flags, Some(vec![LinuxSchedulerFlag::SchedResetOnFork, LinuxSchedulerFlag::SchedFlagDLOverrun]));
}

#[test]
fn much_repetition_takes_little_time() {
    let nulls = vec![r#"{"size":null,"size":1,"size":2}"#; 500].join(",");
    let found = spec(&format!(r#"{{"linux":{{"uidMappings":[{nulls}]}}}}"#));
    let mappings = found.linux().as_ref().and_then(|l| l.uid_mappings().clone()).expect("mappings");
    assert!(mappings.len() == 500 && mappings.iter().all(|m| m.size() == 2));
    let mut text = "{".to_owned();
    for i in 0..200_000 {
        write!(text, r#""hostname":"{i}","new{i}":{i},"#).expect("string");
    }
    text.push_str(r#""hostname":"last"}"#);
    let start = std::time::Instant::now();
    assert_eq!(spec(&text).hostname().as_deref(), Some("last"));
    assert!(start.elapsed().as_secs() < 20);
}

/// The stack must not grow with the text.
#[test]
fn nesting_is_no_danger() {
    let deep = |n: usize| "[".repeat(n);
    for text in [deep(8 << 20), format!("{{\"x\":{}", deep(8 << 20)), format!("{{\"process\":{}", deep(8 << 20))] {
        assert!(from_json::<Spec>("config.json", text.as_bytes()).is_err());
    }
    let repeated = format!("{{\"hostname\":\"a\",\"hostname\":\"b\",\"x\":{}", deep(8 << 20));
    assert!(error(&repeated).contains("hostname: recursion limit exceeded"), "{}", error(&repeated));
}

#[test]
fn unknown_members_are_ignored_at_any_depth() {
    let found = spec(r#"{"new":{"deep":[{"a":1e99}]},"process":{"future":[1,2],"cwd":"/x"},"hostname":"h"}"#);
    assert_eq!(found.hostname().as_deref(), Some("h"));
    assert_eq!(found.process().as_ref().and_then(|p| p.cwd().to_str()), Some("/x"));
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(from_json::<Spec>("config.json", deep.as_bytes()).is_ok());
}

#[test]
fn unknown_capabilities_become_warnings() {
    let text = r#"{"process":{"cwd":"/","capabilities":{"bounding":["CAP_KILL","CAP_TEST","CAP_CHOWN","CAP_\nX"],"effective":["CAP_TEST","CAP_KILL"],"ambient":["CAP_NEW"]}},"hostname":"h"}"#;
    let (found, warnings) = from_json::<Spec>("config.json", text.as_bytes()).expect("warnings only");
    let shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let clause = "[config.md#linux-process]";
    assert_eq!(
        shown,
        [
            format!(
                "process.capabilities.bounding[1]: ignoring unknown or unavailable capabilities: [CAP_TEST] {clause}"
            ),
            format!(
                "process.capabilities.bounding[3]: ignoring unknown or unavailable capabilities: [CAP_\\nX] {clause}"
            ),
            format!(
                "process.capabilities.ambient[0]: ignoring unknown or unavailable capabilities: [CAP_NEW] {clause}"
            ),
        ]
    );
    let capabilities = found.process().as_ref().and_then(|p| p.capabilities().clone()).expect("capabilities");
    assert_eq!(capabilities.bounding(), &Some([Capability::Kill, Capability::Chown].into()));
    assert_eq!(capabilities.effective(), &Some([Capability::Kill].into()));
    assert_eq!(capabilities.ambient(), &Some([].into()));
    assert!(
        error(r#"{"process":{"capabilities":{"bounding":[7]}}}"#)
            .contains("process.capabilities.bounding[0]: invalid type: integer `7`")
    );
    assert!(
        error(r#"{"process":{"capabilities":{"bounding":["CAP_X"],"permitted":"all"}}}"#)
            .contains("process.capabilities.permitted: invalid type")
    );
}

#[test]
fn wellformed_configs_agree_with_plain_serde() {
    let made = Spec::default();
    let text = serde_json::to_vec(&made).expect("json");
    let (found, _) = from_json::<Spec>("config.json", &text).expect("own output");
    assert_eq!(found, made);
    assert_eq!(
        found.linux().as_ref().and_then(|l| l.namespaces().clone()).map(|n| n[0].typ()),
        Some(LinuxNamespaceType::Pid)
    );
}

#[test]
fn texts_stay_short_and_on_one_line() {
    let long = "x".repeat(100_000);
    let found = error(&format!(r#"{{"process":{{"args":"{long}"}}}}"#));
    assert!(found.len() < 700 && found.ends_with("… (line 1)"), "{found}");
    assert!(error(&format!(r#"{{"linux":{{"namespaces":[{{"type":"{long}\n"}}]}}}}"#)).len() < 400);
}

#[test]
fn bundles_that_cannot_be_opened() {
    let temp = tempfile::tempdir().expect("temp dir");
    let dir = temp.path();
    let open = |dir: &Path| Bundle::open(dir).expect_err("refused");
    let missing = open(&dir.join("none"));
    assert_eq!(missing.to_string(), format!("chdir {}/none: no such file or directory", dir.display()));
    assert_eq!(missing.errno(), Some(libc::ENOENT));
    assert_eq!(open(dir).to_string(), "JSON specification file config.json not found");
    let config = dir.join("config.json");
    std::fs::create_dir(&config).expect("mkdir");
    assert_eq!(open(dir).to_string(), "config.json: is a directory, expected a regular file");
    assert_eq!(open(&config).to_string(), "JSON specification file config.json not found");
    std::fs::remove_dir(&config).expect("rmdir");
    rustix::fs::mknodat(rustix::fs::CWD, &config, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("mkfifo");
    assert_eq!(open(dir).to_string(), "config.json: is a FIFO, expected a regular file");
    std::fs::remove_file(&config).expect("rm");
    std::os::unix::fs::symlink("/dev/zero", &config).expect("symlink");
    assert_eq!(open(dir).to_string(), "config.json: is a character device, expected a regular file");
    std::fs::remove_file(&config).expect("rm");
    File::create_new(&config).and_then(|f| f.set_len(100 << 20)).expect("sparse file");
    assert_eq!(open(dir).to_string(), "config.json: 104857600 bytes is more than the limit of 16 MiB");
    assert_eq!(open(&config).to_string(), format!("chdir {}: not a directory", config.display()));
}

#[test]
fn files_without_a_length_are_read_up_to_the_limit() {
    let zero = File::open("/dev/zero").expect("/dev/zero");
    assert_eq!(
        read_some(&zero, 0).expect_err("endless").text,
        "config.json: the file is more than the limit of 16 MiB"
    );
}

#[test]
fn an_opened_bundle_keeps_what_was_written() {
    let temp = tempfile::tempdir().expect("temp dir");
    let text = r#"{ "ociVersion": "1.0.2",   "unknown": 7 }"#;
    std::fs::write(temp.path().join("config.json"), text).expect("write");
    let bundle = Bundle::open(temp.path().join(".")).expect("bundle");
    assert_eq!(bundle.config_bytes(), text.as_bytes());
    assert_eq!((bundle.spec().version().as_str(), bundle.dir()), ("1.0.2", temp.path()));
    assert!(Bundle::open("src").expect_err("no config").to_string().starts_with("JSON specification"));
    assert!(Bundle::new("/b", Spec::default()).config_bytes().starts_with(b"{"));
}
