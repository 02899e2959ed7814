//! Settings of single processes and machines: what is asked for in one field and seen in one place.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::namespaces::{Holder, in_user_namespace, join};
use crate::support::{Output, Sandbox, View, bundle, have, host, read, root, skip, wait_for};

/// A container of `script` with some members of its config changed.
fn prepared(script: &str, edit: impl FnOnce(&mut Value)) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    edit(&mut config);
    sandbox.write(&config);
    sandbox
}

/// Log lines are quoted once more.
fn says(out: &Output, text: &str) -> bool {
    out.stderr.replace("\\\"", "\"").contains(text)
}

#[track_caller]
fn refused(edit: impl FnOnce(&mut Value), text: &str) {
    let sandbox = prepared("true", edit);
    let out = sandbox.verb(&["create"]).run();
    assert!(out.code == Some(1) && says(&out, text), "{text}: {out:#?}");
    sandbox.assert_clean();
}

/// On a machine that has it, tests/rdt.rs of the library says more.
#[test]
fn no_intel_rdt() {
    if !root() || std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        return;
    }
    let text = "linux.intelRdt: intelRdt is specified in config, but Intel RDT is not enabled";
    refused(|c| c["linux"]["intelRdt"] = json!({}), text);
    refused(|c| c["linux"]["intelRdt"] = json!({ "l3CacheSchema": "L3:0=f" }), text);
    refused(|c| c["linux"]["intelRdt"] = json!({ "closID": "a/b" }), "invalid intelRdt.ClosID \"a/b\"");
}

const CPUS: &str = "grep Cpus_allowed_list /proc/self/status | cut -f 2";

/// A runtime that is bound to one CPU makes containers that are not; and hooks inside are the container's already.
#[test]
fn cpus_of_the_runtime_are_not_the_containers() {
    if !root() || !have("taskset") {
        return;
    }
    let all = host("sh", &["-c", CPUS]);
    if !all.contains(['-', ',']) {
        return skip("needs two CPUs");
    }
    for (view, cpus) in [(View::Host, None), (View::Host, Some("1")), (View::V2, None)] {
        let sandbox = Sandbox::with_view(view);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), &format!("{CPUS}; cat /tmp/hook"));
        let hook = format!("{CPUS} >{}/tmp/hook", sandbox.rootfs().display());
        config["hooks"]["createContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", hook] }]);
        if let Some(cpus) = cpus {
            config["linux"]["resources"]["cpu"] = json!({ "cpus": cpus, "mems": "0" });
        }
        sandbox.write(&config);
        let expected = cpus.unwrap_or(all.trim());
        let out = sandbox.verb(&["run"]).wrapped(&["taskset", "-c", "0"]).ok();
        assert_eq!(out.stdout, format!("{expected}\n{expected}\n"), "{view:?} {cpus:?}");
        sandbox.assert_clean();
    }
}

/// For later processes; init has all CPUs all the same.
#[test]
fn cpus_for_exec_are_checked() {
    if !root() {
        return;
    }
    let affinity = |initial: &str| json!({ "initial": initial, "final": "0" });
    let place = "process.execCPUAffinity.initial: bad CPUAffinity.Initial: ";
    refused(|c| c["process"]["execCPUAffinity"] = affinity("3-1"), &format!("{place}invalid range: 3-1"));
    refused(|c| c["process"]["execCPUAffinity"] = affinity("x"), &format!("{place}\"x\""));
    let all = host("sh", &["-c", CPUS]);
    let sandbox = prepared(CPUS, |c| c["process"]["execCPUAffinity"] = affinity("0"));
    assert_eq!(sandbox.run_ok().stdout, all);
}

/// Who keeps the runtime's groups, and who does not: with a user namespace of its own too, where they are nobody's.
#[test]
fn original_groups() {
    if !root() || !have("setpriv") {
        return;
    }
    let groups = |sandbox: &Sandbox| {
        let run = sandbox.verb(&["run"]).wrapped(&["setpriv", "--groups", "1234,4321", "--"]).ok();
        run.stdout.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let script = "grep ^Groups: /proc/self/status";
    let keep =
        |value: &'static str| move |c: &mut Value| c["annotations"]["run.oci.keep_original_groups"] = json!(value);
    assert_eq!(groups(&prepared(script, |_| {})), [""; 0]);
    assert_eq!(groups(&prepared(script, keep("0"))), [""; 0]);
    assert_eq!(groups(&prepared(script, keep("1"))), ["1234", "4321"]);
    // other rules go on: the user is changed, and a list that cannot be had is told
    let sandbox = prepared(&format!("{script}; id -u"), |c| {
        keep("1")(c);
        c["process"]["user"] = json!({ "uid": 5, "gid": 6, "additionalGids": [7] });
    });
    let out = sandbox.verb(&["run"]).wrapped(&["setpriv", "--groups", "1234,4321", "--"]).ok();
    assert_eq!(crate::support::words(&out.stdout), ["Groups:", "1234", "4321", "5"]);
    assert!(says(&out, "process.user.additionalGids: ignored"), "{out:#?}");

    for (value, seen) in [("0", &[][..]), ("1", &["65534", "65534"])] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        in_user_namespace(&sandbox, &mut config);
        keep(value)(&mut config);
        sandbox.write(&config);
        assert_eq!(groups(&sandbox), seen, "{value}");
    }
}

/// A user namespace that is joined may deny setgroups(2), so that groups are dropped before; or are not, if they are to
/// be kept.
#[test]
fn original_groups_in_a_joined_user_namespace() {
    if !root() || !have("setpriv") {
        return;
    }
    let holder = Holder::new(&["-U"]);
    let namespace = holder.path("user");
    for file in ["uid_map", "gid_map"] {
        fs::write(namespace.replace("ns/user", file), "0 100000 65536").unwrap();
    }
    for (value, seen) in [("0", &[][..]), ("1", &["65534", "65534"])] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "grep ^Groups: /proc/self/status");
        in_user_namespace(&sandbox, &mut config);
        for mappings in ["uidMappings", "gidMappings"] {
            bundle::set(&mut config, &format!("/linux/{mappings}"), None);
        }
        join(&mut config, "user", &namespace);
        config["annotations"]["run.oci.keep_original_groups"] = json!(value);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).wrapped(&["setpriv", "--groups", "1234,4321", "--"]).ok();
        assert_eq!(out.stdout.split_whitespace().skip(1).collect::<Vec<_>>(), seen, "{value}");
        sandbox.assert_clean();
    }
}

/// All six kinds, into two files of the host's that may have been there; the message of one that fails has nothing then.
#[test]
fn output_of_hooks_goes_where_annotations_say() {
    if !root() {
        return;
    }
    let lists = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let sandbox = Sandbox::new();
    let (output, errors) = (sandbox.path("output"), sandbox.path("bundle/errors"));
    fs::write(&output, "before\n").unwrap();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000");
    for list in lists {
        let script = format!("echo {list}; echo {list} failed >&2");
        config["hooks"][list] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    }
    // the second is relative: to the bundle
    config["annotations"] = json!({ "run.oci.hooks.stdout": output, "run.oci.hooks.stderr": "errors" });
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    wait_for("startContainer", || read(&output).contains("startContainer").then_some(()));
    sandbox.verb(&["delete", "--force"]).ok();
    let sorted = |text: String| text.lines().map(String::from).collect::<BTreeSet<_>>();
    let expected = lists.map(String::from).into_iter().chain(["before".into()]).collect::<BTreeSet<_>>();
    assert_eq!(sorted(read(&output)), expected);
    assert_eq!(sorted(read(&errors)), lists.map(|list| format!("{list} failed")).into());
    sandbox.assert_clean();

    for list in ["createRuntime", "createContainer"] {
        config["hooks"] =
            json!({ list: [{ "path": "/bin/sh", "args": ["sh", "-c", "echo lost; echo kept >&2; exit 3"] }] });
        config["annotations"] = json!({ "run.oci.hooks.stdout": output });
        sandbox.write(&config);
        let out = sandbox.verb(&["create"]).run();
        assert!(
            says(&out, &format!("error running {list} hook #0: exit status 3, stdout: , stderr: kept")),
            "{out:#?}"
        );
        assert!(read(&output).ends_with("lost\n"));
        sandbox.assert_clean();
    }
}

#[test]
fn output_of_hooks_that_goes_nowhere() {
    if !root() {
        return;
    }
    for list in ["createRuntime", "createContainer"] {
        let edit = |c: &mut Value| {
            c["hooks"] = json!({ list: [{ "path": "/bin/true" }] });
            c["annotations"] = json!({ "run.oci.hooks.stderr": "/nonesuch/x" });
        };
        refused(edit, "open /nonesuch/x: no such file or directory");
    }
}

/// Of other runtimes, or for another cgroup driver: handed on, and no more.
#[test]
fn other_annotations_mean_nothing() {
    if !root() {
        return;
    }
    let annotations = json!({ "run.oci.handler": "wasm", "run.oci.systemd.subgroup": "x", "module.wasm.image/variant": "compat",
        "org.systemd.property.CollectMode": "'inactive-or-failed'", "org.criu.config": "/nonesuch", "bundle": "/elsewhere" });
    let sandbox = prepared("sleep 1000", |c| c["annotations"] = annotations.clone());
    let out = sandbox.verb(&["create"]).ok();
    assert_eq!(out.stderr, "", "without a word");
    let state = sandbox.state().unwrap();
    assert_eq!(state["annotations"], annotations);
    assert_eq!(state["bundle"], sandbox.bundle().to_str().unwrap());
    sandbox.verb(&["delete", "--force"]).ok();
}

/// Nice value and policy (fields 19 and 41) of a program that is init itself, and what else it prints.
fn scheduled(scheduler: &Value, edit: impl FnOnce(&mut Value)) -> Output {
    let sandbox = prepared("", |c| {
        c["process"]["args"] = json!(["/bin/cut", "-d", " ", "-f", "19,40,41", "/proc/self/stat"]);
        c["process"]["scheduler"] = scheduler.clone();
        edit(c);
    });
    let out = sandbox.verb(&["run"]).run();
    sandbox.assert_clean();
    out
}

#[test]
fn scheduling_policies() {
    if !root() {
        return;
    }
    let fork = "SCHED_FLAG_RESET_ON_FORK";
    for (scheduler, seen) in [
        (json!({ "policy": "SCHED_OTHER", "nice": -5 }), "-5 0 0"),
        (json!({ "policy": "SCHED_OTHER", "nice": 19, "flags": [fork] }), "19 0 0"),
        (json!({ "policy": "SCHED_BATCH", "nice": 3 }), "3 0 3"),
        (json!({ "policy": "SCHED_IDLE" }), "0 0 5"),
        (json!({ "policy": "SCHED_FIFO", "priority": 7 }), "0 7 1"),
        (json!({ "policy": "SCHED_RR", "priority": 1, "flags": [fork] }), "0 1 2"),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000 }),
            "0 0 6",
        ),
    ] {
        let out = scheduled(&scheduler, |c| {
            // a v1 cgroup has no time for real-time processes unless it is given some (CONFIG_RT_GROUP_SCHED)
            if std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
                let time = json!({ "realtimeRuntime": 5000, "realtimePeriod": 1_000_000 });
                c["linux"]["resources"]["cpu"] = time;
            }
        });
        assert_eq!(out.stdout, format!("{seen}\n"), "{scheduler}: {out:#?}");
    }
}

/// What check cannot know, the kernel says, and the place is told; a policy that has no CPUs of its own is put in words.
#[test]
fn scheduling_that_the_kernel_refuses() {
    if !root() {
        return;
    }
    let deadline =
        json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000 });
    for scheduler in [
        json!({ "policy": "SCHED_FIFO", "priority": 0 }),
        json!({ "policy": "SCHED_FIFO", "priority": 100 }),
        json!({ "policy": "SCHED_FIFO", "priority": -1 }),
        json!({ "policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 5 }),
        json!({ "policy": "SCHED_ISO" }),
    ] {
        let out = scheduled(&scheduler, |_| {});
        assert!(says(&out, "process.scheduler: sched_setattr: invalid argument"), "{scheduler}: {out:#?}");
    }
    if host("nproc", &[]).trim() != "1" {
        let out = scheduled(&deadline, |c| c["linux"]["resources"]["cpu"] = json!({ "cpus": "0", "mems": "0" }));
        assert!(says(&out, "process scheduler can't be used together with AllowedCPUs"), "{out:#?}");
    }
    if std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        let out = scheduled(&json!({ "policy": "SCHED_RR", "priority": 1 }), |_| {});
        let hint = "sched_setattr: operation not permitted (a cgroup of v1 has no real-time budget";
        assert!(says(&out, hint), "{out:#?}");
    }
    refused(|c| c["process"]["scheduler"] = json!({}), "scheduler policy is required");
    refused(|c| c["process"]["scheduler"] = json!({ "policy": "SCHED_FUN" }), "invalid scheduler policy: SCHED_FUN");
}

#[test]
fn io_priorities() {
    if !root() {
        return;
    }
    for (class, priority, seen) in [
        ("RT", 0, "realtime: prio 0"),
        ("RT", 7, "realtime: prio 7"),
        ("BE", 3, "best-effort: prio 3"),
        ("IDLE", 0, "idle"),
    ] {
        let sandbox = prepared("busybox ionice -p 1; busybox ionice -p $$", |c| {
            c["process"]["ioPriority"] = json!({ "class": format!("IOPRIO_CLASS_{class}"), "priority": priority });
        });
        assert_eq!(sandbox.run_ok().stdout, format!("{seen}\n{seen}\n"));
    }
    let io = |class: &str, priority: i32| json!({ "class": class, "priority": priority });
    refused(|c| c["process"]["ioPriority"] = io("IOPRIO_CLASS_BE", 8), "invalid ioPriority.Priority: 8");
    refused(|c| c["process"]["ioPriority"] = io("IOPRIO_CLASS_X", 0), "invalid ioPriority.Class: \"IOPRIO_CLASS_X\"");
}

#[test]
fn personalities() {
    if !root() {
        return;
    }
    let script = "cat /proc/self/personality";
    for (domain, seen) in [("LINUX", "00000000\n"), ("LINUX32", "00000008\n")] {
        let sandbox = prepared(script, |c| c["linux"]["personality"] = json!({ "domain": domain }));
        let out = sandbox.run_ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), (seen, ""));
    }
    let flags = json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] });
    let out = prepared(script, |c| c["linux"]["personality"] = flags.clone()).run_ok();
    assert_eq!(out.stdout, "00000000\n");
    assert!(says(&out, "level=warning") && says(&out, "personality flags are not supported at this time"), "{out:#?}");
    refused(|c| c["linux"]["personality"] = json!({ "domain": "VAX" }), "invalid personality domain VAX");
}

#[test]
fn memory_policies() {
    if !root() || !std::path::Path::new("/proc/self/numa_maps").exists() {
        return;
    }
    let run = |policy: &Value| {
        let sandbox = prepared("head -n 1 /proc/self/numa_maps", |c| c["linux"]["memoryPolicy"] = policy.clone());
        let out = sandbox.verb(&["run"]).run();
        sandbox.assert_clean();
        out
    };
    for (policy, seen) in [
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }), "bind=relative:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED" }), "local"),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
    ] {
        let out = run(&policy);
        assert!(out.stdout.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(seen)), "{policy}: {out:#?}");
    }
    // no such node, flags that exclude each other
    for policy in [
        json!({ "mode": "MPOL_BIND", "nodes": "1023" }),
        json!({ "mode": "MPOL_BIND", "nodes": "5000" }),
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
    ] {
        let out = run(&policy);
        assert!(says(&out, "linux.memoryPolicy: set_mempolicy: invalid argument"), "{policy}: {out:#?}");
    }
    let nodes = "invalid memory policy nodes \"70000\"";
    refused(|c| c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "70000" }), nodes);
}

/// Told, and the container runs all the same.
#[test]
fn capabilities_that_cannot_be_given_are_told() {
    if !root() {
        return;
    }
    let sandbox = prepared("grep -E '^Cap(Eff|Amb):' /proc/self/status", |c| {
        let some = json!(["CAP_KILL", "CAP_BOGUS", "CAP_CHOWN"]);
        c["process"]["capabilities"] = json!({
            "bounding": some, "permitted": some, "effective": some, "inheritable": ["CAP_KILL"], "ambient": ["CAP_CHOWN", "CAP_KILL"],
        });
    });
    let out = sandbox.run_ok();
    let caps: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(caps, ["CapEff:", "0000000000000021", "CapAmb:", "0000000000000020"], "{out:#?}");
    for text in [
        "can't raise ambient capability CAP_CHOWN: operation not permitted",
        "ignoring unknown or unavailable capabilities: [CAP_BOGUS]",
    ] {
        assert!(says(&out, text) && says(&out, "level=warning"), "{text}: {out:#?}");
    }
}
