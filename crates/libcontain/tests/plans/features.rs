//! What the `features` document says is so: each word of each of its lists, put into a config, is taken and changes the
//! plan; a word that is not in the list is refused, or told of. What is called enabled is planned, what is not is refused.
//!
//! What each mount option does is in silent.rs.

use libcontain::plan::{Gate, Op};
use libcontain::{Bundle, Host, Plan, Resctrl};
use serde_json::{Value, json};

use crate::hosts::{hybrid, systemd, systemd_user, systemd_v1, v1, v2};
use crate::silent::{answer, base, merge};

fn document() -> Value {
    serde_json::to_value(libcontain::features::features("1", "")).unwrap()
}

fn words(pointer: &str) -> Vec<String> {
    let document = document();
    let list = document.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no list {pointer}"));
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn with(patch: &Value) -> Value {
    let mut config = base();
    merge(&mut config, patch);
    config
}

fn plan(patch: &Value) -> Result<Plan, String> {
    answer(&with(patch), &v2())
}

/// Each word is taken and does something; the others are refused by an error that names the place and the word.
fn list(pointer: &str, place: &str, others: &[&str], patch: impl Fn(&str) -> Value) {
    let words = words(pointer);
    assert!(!words.is_empty());
    for word in &words {
        let plan = plan(&patch(word)).unwrap_or_else(|e| panic!("{pointer}: {word}: {e}"));
        assert_eq!(plan.warnings, [], "{pointer}: {word}");
    }
    for word in others {
        let refused = plan(&patch(word)).expect_err(word);
        assert!(refused.contains(place) && refused.contains(word), "{word}: {refused}");
    }
}

fn seccomp(profile: &Value) -> Value {
    json!({ "linux": { "seccomp": profile } })
}

fn rule(rule: &Value) -> Value {
    seccomp(&json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "syscalls": [rule],
    }))
}

#[test]
fn hooks() {
    for word in words("/hooks") {
        let hooks = |path: &str| json!({ "hooks": { &word: [{ "path": path }] } });
        let bare = plan(&json!({})).unwrap();
        let plan = plan(&hooks("/bin/true")).unwrap();
        let gate = |plan: &Plan| plan.steps.iter().any(|s| matches!(s.op, Op::Gate(Gate::Hooks)));
        let inside = |plan: &Plan| plan.steps.iter().any(|s| matches!(&s.op, Op::Hook(hook) if hook.list == word));
        match word.as_str() {
            "prestart" | "createRuntime" => assert!(gate(&plan) && !gate(&bare), "{word}"),
            "createContainer" | "startContainer" => assert!(inside(&plan) && !inside(&bare), "{word}"),
            // By `start` and `delete`, from the stored config.
            _ => assert!(["poststart", "poststop"].contains(&word.as_str()), "{word}"),
        }
        let refused = answer(&with(&hooks("bin/true")), &v2()).unwrap_err();
        assert!(refused.contains(&format!("hooks.{word}[0].path")), "{refused}");
    }
}

#[test]
fn namespaces() {
    let kinds =
        |word: &str| json!({ "linux": { "namespaces": [{ "type": "mount" }, { "type": word, "path": "/run/ns" }] } });
    // A mount namespace is there already.
    let words = words("/linux/namespaces");
    assert_eq!(words.len(), 8);
    for word in words.iter().filter(|word| *word != "mount") {
        let plan = plan(&kinds(word)).unwrap_or_else(|e| panic!("{word}: {e}"));
        let place = "linux.namespaces[1]";
        assert!(plan.steps.iter().any(|s| s.at.to_string() == place && matches!(s.op, Op::SetNs(..))), "{word}");
    }
    let mount = plan(&json!({})).unwrap();
    assert!(mount.steps.iter().any(|s| matches!(s.op, Op::PivotRoot)));
    for word in ["future", "Pid", "net", "mnt", ""] {
        let refused = plan(&kinds(word)).expect_err(word);
        assert!(
            refused.contains(&format!("linux.namespaces[1].type: namespace \"{word}\" does not exist")),
            "{refused}"
        );
    }
}

#[test]
fn capabilities() {
    let bounding = |names: Value| {
        let plan = plan(&json!({ "process": { "capabilities": { "bounding": names } } })).unwrap();
        let mask = plan.steps.iter().find_map(|s| if let Op::Bounding(mask) = s.op { Some(mask) } else { None });
        (mask.unwrap(), plan.warnings.len())
    };
    for (number, word) in words("/linux/capabilities").into_iter().enumerate() {
        assert_eq!(bounding(json!([word])), (1 << number, 0), "{word}");
    }
    assert_eq!(bounding(json!(["CAP_FUTURE"])).0, 0);
    let config = with(&json!({ "process": { "capabilities": { "bounding": ["CAP_FUTURE"] } } }));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let told: Vec<String> = Bundle::open(dir.path()).unwrap().warnings().iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("CAP_FUTURE"), "{told:?}");
}

#[test]
fn seccomp_words() {
    let place = "linux.seccomp";
    let list = |name: &str, others: &[&str], patch: &dyn Fn(&str) -> Value| {
        list(&format!("/linux/seccomp/{name}"), place, others, patch);
    };
    list("actions", &["SCMP_ACT_FUTURE", "scmp_act_allow"], &|word| {
        rule(&json!({ "names": ["getcwd"], "action": word }))
    });
    list("operators", &["SCMP_CMP_FUTURE", "SCMP_CMP_MASKED"], &|word| {
        let args = json!([{ "index": 0, "value": 5, "valueTwo": 1, "op": word }]);
        rule(&json!({ "names": ["getcwd"], "action": "SCMP_ACT_LOG", "args": args }))
    });
    list("archs", &["SCMP_ARCH_FUTURE", "x86_64"], &|word| {
        seccomp(&json!({ "defaultAction": "SCMP_ACT_LOG", "architectures": [word] }))
    });
    list("knownFlags", &["SECCOMP_FILTER_FLAG_FUTURE", "SECCOMP_FILTER_FLAG_NEW_LISTENER"], &|word| {
        let rule = json!({ "names": ["getcwd"], "action": "SCMP_ACT_NOTIFY" });
        seccomp(&json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "flags": [word], "syscalls": [rule],
        }))
    });
}

/// Different words mean different filters; two pairs are one by definition.
#[test]
fn seccomp_words_are_told_apart() {
    let filter = |patch: Value| {
        plan(&patch).unwrap().steps.into_iter().find_map(|s| match s.op {
            Op::Seccomp(filter) => Some(format!("{filter:?}")),
            _ => None,
        })
    };
    let distinct = |name: &str, patch: &dyn Fn(&str) -> Value| {
        let mut filters: Vec<_> =
            words(&format!("/linux/seccomp/{name}")).iter().map(|word| filter(patch(word))).collect();
        let all = filters.len();
        filters.sort();
        filters.dedup();
        (all, filters.len())
    };
    // KILL is KILL_THREAD; a rule of the default action says nothing.
    let actions = distinct("actions", &|word| rule(&json!({ "names": ["getcwd"], "action": word })));
    assert_eq!(actions, (9, 8));
    let operators = distinct("operators", &|word| {
        let args = json!([{ "index": 0, "value": 5, "valueTwo": 1, "op": word }]);
        rule(&json!({ "names": ["getcwd"], "action": "SCMP_ACT_LOG", "args": args }))
    });
    assert_eq!(operators, (7, 7));
}

/// A kernel of today takes all flags; a test that is itself run under a filter may see none.
#[test]
fn supported_flags_are_known_flags() {
    let (known, supported) = (words("/linux/seccomp/knownFlags"), words("/linux/seccomp/supportedFlags"));
    assert!(supported.iter().all(|flag| known.contains(flag)), "{supported:?}");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let major: u32 = release.split('.').next().unwrap().parse().unwrap();
    if major >= 6 && !supported.is_empty() {
        assert_eq!(supported, known, "{release}");
    }
}

#[test]
fn memory_policies() {
    let policy = |mode: &str, flags: &[&str]| {
        let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode) { "" } else { "0" };
        json!({ "linux": { "memoryPolicy": { "mode": mode, "nodes": nodes, "flags": flags } } })
    };
    list("/linux/memoryPolicy/modes", "linux.memoryPolicy.mode", &["MPOL_FUTURE", "MPOL_MAX"], |word| {
        policy(word, &[])
    });
    list("/linux/memoryPolicy/flags", "linux.memoryPolicy.flags[0]", &["MPOL_F_FUTURE"], |word| {
        policy("MPOL_BIND", &[word])
    });
}

/// Other words are options of the file system, of which a bind mount has none: runc warns. A word of the list is
/// never taken for one.
#[test]
fn mount_options() {
    let told = |word: &str| {
        let user = json!({ "type": "user", "path": "/run/user" }); // whose ids `idmap` takes
        let mount = json!({ "destination": "/m", "type": "bind", "source": "/s", "options": ["bind", word] });
        let mut config = with(&json!({ "mounts": [mount] }));
        config["linux"]["namespaces"].as_array_mut().unwrap().push(user);
        answer(&config, &v2()).map_or_else(|e| e, |plan| format!("{:?}", plan.warnings))
    };
    let specific = "bind mounts cannot have any filesystem-specific options applied";
    for word in words("/mountOptions") {
        assert!(!told(&word).contains(specific), "{word}: {}", told(&word));
    }
    for word in ["future", "RO", "rro2"] {
        assert!(told(word).contains(specific) && told(word).contains(word), "{}", told(word));
    }
}

#[test]
fn what_is_enabled_is_planned() {
    let document = document();
    let says =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_bool).unwrap_or_else(|| panic!("{pointer}"));
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let idmapped = json!({ "destination": "/m", "type": "bind", "source": "/s", "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map });
    let lsm = Host { apparmor: Some(true), selinux: Some(true), ..v2() };
    let offered = Resctrl { mount: "/sys/fs/resctrl".into(), cache: true, bandwidth: true, monitoring: true };
    let resctrl = || Host { resctrl: Some(offered.clone()), ..v2() };
    let rows = [
        ("/linux/seccomp/enabled", seccomp(&json!({ "defaultAction": "SCMP_ACT_LOG" })), v2()),
        ("/linux/apparmor/enabled", json!({ "process": { "apparmorProfile": "p" } }), lsm.clone()),
        ("/linux/selinux/enabled", json!({ "process": { "selinuxLabel": "u:r:t:s0" } }), lsm),
        ("/linux/netDevices/enabled", json!({ "linux": { "netDevices": { "eth0": {} } } }), v2()),
        ("/linux/intelRdt/enabled", json!({ "linux": { "intelRdt": { "closID": "x" } } }), resctrl()),
        ("/linux/intelRdt/schemata", json!({ "linux": { "intelRdt": { "schemata": ["L3:0=f"] } } }), resctrl()),
        ("/linux/intelRdt/monitoring", json!({ "linux": { "intelRdt": { "enableMonitoring": true } } }), resctrl()),
        ("/linux/mountExtensions/idmap/enabled", json!({ "mounts": [idmapped] }), v2()),
    ];
    for (pointer, patch, host) in rows {
        let answer = answer(&with(&patch), &host);
        assert_eq!(says(pointer), answer.is_ok(), "{pointer}: {answer:?}");
        if let Ok(plan) = answer {
            assert_ne!(plan, self::answer(&base(), &host).unwrap(), "{pointer}: nothing is planned for it");
        }
    }
}

#[test]
fn cgroups() {
    let document = document();
    let says = |name: &str| document["linux"]["cgroup"][name].as_bool().unwrap();
    let limit = json!({ "linux": { "resources": { "pids": { "limit": 5 } } } });
    for (name, host) in [("v1", v1()), ("v1", hybrid()), ("v2", v2())] {
        let plan = answer(&with(&limit), &host).unwrap();
        assert!(says(name) && plan.cgroup.writes.iter().any(|w| w.value == "5"), "{name}");
    }
    let rdma = json!({ "linux": { "resources": { "rdma": { "mlx5_1": { "hcaHandles": 3 } } } } });
    for host in [v1(), v2()] {
        let plan = answer(&with(&rdma), &host).unwrap();
        assert!(says("rdma") && plan.cgroup.writes.iter().any(|w| w.file == "rdma.max"));
    }
    for (name, host) in [("systemd", systemd()), ("systemd", systemd_v1()), ("systemdUser", systemd_user())] {
        let mut config = with(&limit);
        config["linux"]["cgroupsPath"] = "-:cntr:c1".into();
        if name == "systemdUser" {
            let map = json!([{ "containerID": 0, "hostID": host.euid, "size": 1 }]);
            merge(&mut config, &json!({ "linux": { "uidMappings": map, "gidMappings": map } }));
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        }
        let unit = answer(&config, &host).unwrap().cgroup.unit.unwrap();
        assert!(says(name) && unit.properties.iter().any(|p| p.name == "TasksMax"), "{name}: {unit:?}");
    }
}

/// Those that a runtime acts upon, and those that it may one day or that hide something, and no others.
#[test]
fn unsafe_annotations() {
    let unsafe_ones = words("/potentiallyUnsafeConfigAnnotations");
    let reserved = ["bundle", "org.criu.config", "org.systemd.property."];
    let hook = json!({ "createContainer": [{ "path": "/bin/true" }] });
    let changes = |name: &str| {
        let annotated = |name: &str| {
            let group = json!({ "user": { "additionalGids": [5] } });
            plan(&json!({ "annotations": { name: "1" }, "hooks": hook, "process": group })).map(|mut plan| {
                // The hooks' state document shows every annotation.
                plan.steps.retain(|s| !matches!(s.op, Op::Hook(_)));
                plan
            })
        };
        annotated(name) != annotated("x")
    };
    for name in unsafe_ones.iter().filter(|name| !reserved.contains(&name.as_str())) {
        assert!(changes(name), "{name} is called unsafe and does nothing");
    }
    for name in ["run.oci.other", "io.kubernetes.cri.sandbox-id", "org.opencontainers.image.title"] {
        assert!(!changes(name) && !unsafe_ones.iter().any(|u| u == name), "{name}");
    }
}
