//! Settings of single processes and machines: what is asked for in one field and seen in one place.

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, bundle, root};

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
