//! Nothing in a config is ignored in silence: each field of the runtime-spec (tests/data/spec-fields.txt), set to
//! another value, changes the plan, is refused, or is warned about, on a machine with every v1 controller and on one
//! with v2 alone. What acts elsewhere than in a plan is listed here with the reason.
//!
//! The config goes the way of `create`: from a file, through the parser and the checks.

use std::collections::{BTreeMap, BTreeSet};

use libcontain::plan::cgroup::{Layout, Mode};
use libcontain::plan::process;
use libcontain::{Bundle, CreateOptions, Error, Host, Plan, Runtime};
use serde_json::{Value, json};

use crate::hosts::{hybrid, inner, user, v1, v2};

/// Fields (all that begin with the word) that no plan shows, and where they act.
const ELSEWHERE: [(&str, &str); 11] = [
    ("process.commandLine", "config.md#process: Windows only"),
    ("process.user.username", "config.md#windows-user: Windows only"),
    ("hooks.prestart[]", "the parent runs them from the config at the plan's gate: hooks.rs"),
    ("hooks.createRuntime[]", "the parent runs them from the config at the plan's gate: hooks.rs"),
    ("hooks.poststart[]", "run by `start` from the stored config: container.rs"),
    ("hooks.poststop[]", "run by `delete` from the stored config: container.rs"),
    ("process.execCPUAffinity", "config.md#linux-process: for `exec` only"),
    ("linux.resources.memory.checkBeforeUpdate", "config-linux.md#memory: for `update` only"),
    ("solaris", "config.md#platform-specific-configuration: for other platforms"),
    ("windows", "config.md#platform-specific-configuration: for other platforms"),
    ("vm", "config.md#platform-specific-configuration: for virtual machines"),
];

/// Likewise, of the platforms that are no part of the types at all.
const PLATFORMS: [&str; 2] = ["zos", "freebsd"];

/// One line of the list: the field, another value, and what the config has to be for the field to mean anything.
struct Case {
    field: &'static str,
    value: Value,
    with: Value,
}

fn cases() -> Vec<Case> {
    let lines = include_str!("../data/spec-fields.txt").lines();
    let fields = lines.filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("features: "));
    fields.map(case).collect()
}

fn case(line: &'static str) -> Case {
    let (field, rest) = line.split_once(" = ").unwrap_or_else(|| panic!("no value: {line}"));
    let (value, with) = rest.split_once(" with ").unwrap_or((rest, "{}"));
    let json = |text| serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    Case { field, value: json(value), with: json(with) }
}

pub fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] },
        "linux": {
            "cgroupsPath": "/c1",
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
        },
    })
}

/// JSON merge patch (RFC 7396).
pub fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in members {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
            value => merge(&mut into[name], value),
        }
    }
}

/// Sets a dotted field; see the list about `[]` and `*`.
fn set(config: &mut Value, field: &str, value: &Value) {
    let mut at = config;
    for name in field.split('.') {
        let (name, list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
        let name = if name == "*" { at.as_object().unwrap().keys().next().unwrap().clone() } else { name.to_owned() };
        at = &mut at[name];
        if list {
            at = &mut at[0];
        }
    }
    *at = value.clone();
}

fn planned(config: &Value, host: &Host) -> Result<Plan, Error> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let bundle = Bundle::open(dir.path())?;
    let bundle = Bundle::new("/run/bundle", bundle.spec().clone());
    Runtime::new("/run/cntr").with_host(host.clone()).plan(&"c1".parse().unwrap(), &bundle, &CreateOptions::default())
}

/// What `create` makes of a config: the plan with its warnings, or all errors.
pub fn answer(config: &Value, host: &Host) -> Result<Plan, String> {
    planned(config, host).map_err(|error| error.to_string())
}

/// Whether what the field is part of, or the list it is in, is warned about as a whole.
fn warned_as_a_whole(plan: &Plan, field: &str) -> bool {
    let Some((object, _)) = field.rsplit_once('.') else { return false };
    let wholes = [object.replace("[]", "[0]"), object.trim_end_matches("[]").to_owned()];
    plan.warnings.iter().any(|warning| wholes.contains(&warning.at.to_string()))
}

/// What a config may be besides [`base`], and the machine: a field may be silent in one and not in another.
fn surroundings() -> Vec<(&'static str, Host, Value)> {
    let of = |kinds: &str| kinds.split(' ').map(|kind| json!({ "type": kind })).collect::<Vec<_>>();
    let all = "pid network ipc uts mount";
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let user =
        json!({ "linux": { "namespaces": of(&format!("{all} user cgroup")), "uidMappings": map, "gidMappings": map } });
    let join = |kinds: &str, kind: &str| {
        let path = json!({ "type": kind, "path": format!("/run/ns/{kind}") });
        let entries = of(kinds).into_iter().map(|ns| if ns["type"] == kind { path.clone() } else { ns });
        json!({ "linux": { "namespaces": entries.collect::<Vec<_>>() } })
    };
    let without = |kind: &str| json!({ "linux": { "namespaces": of(all).into_iter().filter(|ns| ns["type"] != kind).collect::<Vec<_>>() } });
    let mut absent = v2();
    absent.cgroups = Layout { mode: Mode::Absent, hierarchies: vec![] };
    vec![
        ("v1", v1(), json!({})),
        ("hybrid", hybrid(), json!({})),
        ("v2", v2(), json!({})),
        ("no cgroups", absent, json!({})),
        ("v1, user namespace", v1(), user.clone()),
        ("v2, user namespace", v2(), user.clone()),
        ("ordinary user", self::user(), user.clone()),
        ("root of a user namespace", inner(), json!({})),
        ("user namespace joined", v2(), join("pid network ipc uts mount user", "user")),
        ("mount namespace joined", v2(), join(all, "mount")),
        (
            "a bound /dev",
            v2(),
            json!({ "mounts": [{ "destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"] }] }),
        ),
        ("no mount namespace", v2(), without("mount")),
        ("no namespace", v2(), json!({ "linux": { "namespaces": [] } })),
    ]
}

/// A config that is refused without the field is no surrounding for it; but there is one for every field.
#[test]
fn no_field_is_ignored_in_silence() {
    let (mut silent, mut heard) = (Vec::new(), BTreeSet::new());
    for (around, host, patch) in surroundings() {
        let mut answers = BTreeMap::new(); // many fields share what is around them
        for Case { field, value, with } in cases() {
            let mut without = base();
            merge(&mut without, &patch);
            merge(&mut without, &with);
            let mut set_to = without.clone();
            set(&mut set_to, field, &value);
            let before = answers.entry(without.to_string()).or_insert_with(|| answer(&without, &host));
            let acts = before.is_err() || *before != answer(&set_to, &host);
            let elsewhere = PLATFORMS.contains(&field) || ELSEWHERE.iter().any(|(word, _)| field.starts_with(word));
            if before.is_ok() && (acts || elsewhere) {
                heard.insert(field);
            }
            if !acts && !elsewhere && !before.as_ref().is_ok_and(|plan| warned_as_a_whole(plan, field)) {
                silent.push(format!("{around}: {field} = {value}"));
            }
        }
    }
    assert!(silent.is_empty(), "{} are ignored:\n{}", silent.len(), silent.join("\n"));
    let unheard: Vec<&str> = cases().iter().map(|c| c.field).filter(|field| !heard.contains(field)).collect();
    assert_eq!(unheard, vec![""; 0], "refused whatever is around it");
}

/// A field of the list of those that act elsewhere does not change a plan: an entry goes when its field arrives there.
#[test]
fn what_acts_elsewhere_is_of_the_list_and_changes_no_plan() {
    for (word, why) in ELSEWHERE {
        assert!(!why.is_empty());
        let of_word: Vec<Case> = cases().into_iter().filter(|c| c.field.starts_with(word)).collect();
        assert!(!of_word.is_empty(), "{word} is no field");
        for Case { field, value, with } in of_word {
            let mut without = base();
            merge(&mut without, &with);
            let mut set_to = without.clone();
            set(&mut set_to, field, &value);
            assert_eq!(answer(&without, &v2()), answer(&set_to, &v2()), "{field} acts in the plan");
        }
    }
}

/// The judge itself: a config that sets a field to the value it has is silent, one with a typing error is not.
#[test]
fn a_silent_field_would_be_noticed() {
    let host = v2();
    let mut config = base();
    let before = answer(&config, &host);
    assert!(before.is_ok(), "{before:?}");
    set(&mut config, "process.cwd", &json!("/"));
    assert_eq!(before, answer(&config, &host));
    config["unknownMember"] = json!(7);
    assert_eq!(before, answer(&config, &host), "config.md#extensibility: unknown members are ignored");
    config["linux"]["resources"] = json!({ "network": { "priorities": [{ "name": "lo", "priority": 7 }] } });
    let warned = answer(&config, &host).unwrap();
    assert!(warned_as_a_whole(&warned, "linux.resources.network.priorities[].name"));
    assert!(!warned_as_a_whole(&warned, "linux.resources.network.classID"));
}

/// Where the spec lists the values of a field: every word of it is understood, or refused by its name because this
/// build cannot do it. A word that a type does not know would be refused as well, but as unknown.
const WORDS: [(&str, &str, &str); 16] = [
    (
        "process.rlimits[].type",
        r#"{"process":{"rlimits":[{"soft":1,"hard":1}]}}"#,
        "RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_LOCKS RLIMIT_MEMLOCK RLIMIT_MSGQUEUE RLIMIT_NICE \
      RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_STACK",
    ),
    ("process.scheduler.policy", r#"{"process":{"scheduler":{}}}"#, "SCHED_OTHER SCHED_BATCH SCHED_ISO SCHED_IDLE"),
    ("process.scheduler.policy", r#"{"process":{"scheduler":{"priority":1}}}"#, "SCHED_FIFO SCHED_RR"),
    (
        "process.scheduler.policy",
        r#"{"process":{"scheduler":{"runtime":10000,"deadline":20000,"period":30000}}}"#,
        "SCHED_DEADLINE",
    ),
    (
        "process.scheduler.flags[]",
        r#"{"process":{"scheduler":{"policy":"SCHED_OTHER","flags":[""]}}}"#,
        "SCHED_FLAG_RESET_ON_FORK SCHED_FLAG_RECLAIM SCHED_FLAG_DL_OVERRUN SCHED_FLAG_KEEP_POLICY SCHED_FLAG_KEEP_PARAMS \
      SCHED_FLAG_UTIL_CLAMP_MIN SCHED_FLAG_UTIL_CLAMP_MAX",
    ),
    (
        "process.ioPriority.class",
        r#"{"process":{"ioPriority":{"priority":1}}}"#,
        "IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE",
    ),
    ("linux.namespaces[].type", r#"{"linux":{"namespaces":[{},{"type":"mount"}]}}"#, "pid network ipc uts cgroup time"),
    ("linux.namespaces[].type", r#"{"linux":{"namespaces":[{}]}}"#, "mount"),
    (
        "linux.namespaces[].type",
        r#"{"linux":{"namespaces":[{},{"type":"mount"}],"uidMappings":[{"containerID":0,"hostID":9,"size":1}],
     "gidMappings":[{"containerID":0,"hostID":9,"size":1}]}}"#,
        "user",
    ),
    ("linux.devices[].type", r#"{"linux":{"devices":[{"path":"/dev/x","major":1,"minor":3}]}}"#, "c b u p"),
    ("linux.resources.devices[].type", r#"{"linux":{"resources":{"devices":[{"allow":true,"access":"r"}]}}}"#, "a c b"),
    ("linux.rootfsPropagation", "{}", "private rprivate slave rslave shared rshared unbindable runbindable"),
    ("linux.personality.domain", r#"{"linux":{"personality":{}}}"#, "LINUX LINUX32"),
    (
        "linux.memoryPolicy.mode",
        r#"{"linux":{"memoryPolicy":{"nodes":"0"}}}"#,
        "MPOL_BIND MPOL_INTERLEAVE MPOL_WEIGHTED_INTERLEAVE MPOL_PREFERRED MPOL_PREFERRED_MANY",
    ),
    ("linux.memoryPolicy.mode", r#"{"linux":{"memoryPolicy":{}}}"#, "MPOL_DEFAULT MPOL_LOCAL MPOL_PREFERRED"),
    (
        "linux.memoryPolicy.flags[]",
        r#"{"linux":{"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0","flags":[""]}}}"#,
        "MPOL_F_NUMA_BALANCING MPOL_F_RELATIVE_NODES MPOL_F_STATIC_NODES",
    ),
];

const SECCOMP_WORDS: [(&str, &str, &str); 5] = [
    (
        "linux.seccomp.defaultAction",
        r#"{"linux":{"seccomp":{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}}}"#,
        "SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_TRAP SCMP_ACT_ERRNO SCMP_ACT_TRACE SCMP_ACT_ALLOW SCMP_ACT_LOG",
    ),
    (
        "linux.seccomp.syscalls[].action",
        r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent.sock","syscalls":[{"names":["mkdir"]}]}}}"#,
        "SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_TRAP SCMP_ACT_ERRNO SCMP_ACT_TRACE SCMP_ACT_ALLOW SCMP_ACT_LOG \
      SCMP_ACT_NOTIFY",
    ),
    (
        "linux.seccomp.syscalls[].args[].op",
        r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO",
     "args":[{"index":0,"value":1,"valueTwo":1}]}]}}}"#,
        "SCMP_CMP_NE SCMP_CMP_LT SCMP_CMP_LE SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_MASKED_EQ",
    ),
    (
        "linux.seccomp.flags[]",
        r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","flags":[""]}}}"#,
        "SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ),
    (
        "linux.seccomp.architectures[]",
        r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":[""]}}}"#,
        "SCMP_ARCH_X86 SCMP_ARCH_X86_64 SCMP_ARCH_X32 SCMP_ARCH_ARM SCMP_ARCH_AARCH64 SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 SCMP_ARCH_MIPS64N32 \
      SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PPC SCMP_ARCH_PPC64 SCMP_ARCH_PPC64LE SCMP_ARCH_S390 \
      SCMP_ARCH_S390X SCMP_ARCH_RISCV64 SCMP_ARCH_LOONGARCH64",
    ),
];

#[test]
fn every_word_of_the_spec_is_understood() {
    let mut faults = Vec::new();
    for (field, with, words) in WORDS.into_iter().chain(SECCOMP_WORDS) {
        for word in words.split_whitespace() {
            let mut config = base();
            merge(&mut config, &serde_json::from_str(with).unwrap());
            set(&mut config, field, &json!(word));
            if let Err(text) = answer(&config, &v2()) {
                faults.push(format!("{field} = {word}: {text}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// These no runtime knows: they are of the spec's list and not of libseccomp's, or have no syscall table here.
#[test]
fn architectures_without_a_table_are_refused_by_name() {
    for arch in ["PARISC", "PARISC64", "M68K", "SH", "SHEB"] {
        let mut config = base();
        config["linux"]["seccomp"] =
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [format!("SCMP_ARCH_{arch}")] });
        let text = answer(&config, &v2()).unwrap_err();
        let says = format!("linux.seccomp.architectures[0]: string SCMP_ARCH_{arch} is not a valid arch for seccomp");
        assert!(text.starts_with(&says), "{text}");
    }
}

/// The capabilities of Linux 5.9 and later, each in each set.
#[test]
fn every_capability_of_the_kernel_is_understood() {
    let sets = |of: &dyn Fn(&str) -> Value| {
        let mut config = base();
        for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
            config["process"]["capabilities"][set] = of(set);
        }
        answer(&config, &v2()).unwrap_or_else(|text| panic!("{text}"))
    };
    for name in process::names(process::known_mask(40)) {
        let one = json!([name]);
        // From one row to the next one more set has it: effective and ambient ones have to be in others as well.
        let rows =
            ["", "bounding", "bounding permitted", "bounding permitted effective", "bounding permitted inheritable"];
        let rows = rows.map(|row| sets(&|set| if row.contains(set) { one.clone() } else { json!([]) }));
        let all = sets(&|set| if set == "effective" { json!([]) } else { one.clone() });
        let plans: Vec<&Plan> = rows.iter().chain([&all]).collect();
        for (i, plan) in plans.iter().enumerate() {
            assert!(!plans[..i].contains(plan), "{name}: row {i} is as an earlier one");
        }
    }
}

/// What a new mount is without any option, and what nobody can see afterwards: `silent` and `loud` are about the kernel's
/// log, `iversion` is decided by each file system.
const NOT_SEEN: &str = "async defaults iversion loud noiversion nolazytime nomand silent";
/// Besides, of a new file system: what it is anyway.
const OF_A_NEW_ONE: &str = "atime dev diratime exec norelatime nostrictatime ratime rdev rdiratime relatime rexec \
    rnorelatime rnostrictatime rrelatime rrw rsuid rsymfollow rw suid symfollow";
/// Besides, of a bind mount: what belongs to the superblock, which is the source's (mount(2), `MS_BIND`).
const OF_A_BIND: &str = "bind dirsync lazytime mand sync";

/// Every mount option that `features` lists changes the plan of a bind mount and of a new file system, or has a reason.
#[test]
fn no_mount_option_is_ignored_in_silence() {
    let features = serde_json::to_value(libcontain::features::features("1", "")).unwrap();
    let words: Vec<&str> = features["mountOptions"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let planned = |fstype: &str, options: Vec<&str>| {
        let mut config = base();
        // a user namespace that is joined has the maps of id-mapped mounts; in a cgroup namespace cgroups are mounted
        let more = json!([{ "type": "user", "path": "/run/user" }, { "type": "cgroup" }]);
        config["linux"]["namespaces"].as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
        config["mounts"] = json!([{ "destination": "/m", "type": fstype, "source": "/s", "options": options }]);
        answer(&config, &v2())
    };
    let silent = |fstype, first: &[&'static str]| -> Vec<&str> {
        let without = planned(fstype, first.to_vec());
        let same = |word: &&str| planned(fstype, [first, &[word]].concat()) == without;
        words.iter().copied().filter(same).collect()
    };
    let sorted = |lists: [&'static str; 2]| -> Vec<&str> {
        let mut words: Vec<&str> = lists.iter().flat_map(|list| list.split_whitespace()).collect();
        words.sort_unstable();
        words
    };
    assert_eq!(silent("bind", &["bind"]), sorted([NOT_SEEN, OF_A_BIND]));
    assert_eq!(silent("tmpfs", &[]), sorted([NOT_SEEN, OF_A_NEW_ONE]));
    assert_eq!(silent("cgroup", &[]), sorted([NOT_SEEN, OF_A_NEW_ONE]));
}
