//! Settings of single processes and machines: what is asked for in one field and seen in one place.

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, View, bundle, have, host, root, skip};

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
