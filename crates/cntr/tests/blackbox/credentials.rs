//! Advisories about credentials (class C of the attacks): nobody gets an id, a group or a capability that the config
//! does not give him. What `exec` adds to this comes with `exec`.

use serde_json::{Value, json};

use crate::support::{Sandbox, bundle, root};

/// The line of /proc/self/status that begins with `name`.
fn status_line<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

/// CVE-2016-8867: an ordinary user whose config gives him bounding and permitted capabilities, and no ambient ones, has
/// none after execve(2): a runtime that raises them unasked gives him root's powers.
#[test]
fn ambient_capabilities_are_only_those_asked_for() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/status");
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let some = json!(["CAP_NET_RAW", "CAP_CHOWN"]);
    config["process"]["capabilities"] = json!({ "bounding": some, "permitted": some, "effective": some });
    sandbox.write(&config);
    let status = sandbox.run_ok().stdout;
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(status_line(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_line(&status, "CapBnd:"), "0000000000002001");
    sandbox.assert_clean();
}

/// CVE-2022-29162 and its kin: what `spec` writes has no inheritable capabilities, and a container of it has none.
#[test]
fn the_spec_command_gives_no_inheritable_capabilities() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.cntr(&["spec"]).ok();
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(sandbox.bundle().join("config.json")).unwrap()).unwrap();
    assert!(config["process"]["capabilities"].get("inheritable").is_none(), "{config:#}");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["cat", "/proc/self/status"]);
    config["linux"]["cgroupsPath"] = json!(sandbox.cgroups_path());
    sandbox.write(&config);
    let status = sandbox.run_ok().stdout;
    assert_eq!(status_line(&status, "CapInh:"), "0000000000000000");
    sandbox.assert_clean();
}

/// CVE-2026-30892, CVE-2024-40635, CVE-2026-46680: an id that is no id (for setresuid(2) the largest number means
/// "leave it as it is", which is root) is refused, and never read as another one.
#[test]
fn ids_out_of_range_are_refused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for member in ["uid", "gid"] {
        for id in [json!(4_294_967_295_u64), json!(4_294_967_296_u64), json!(-1), json!("0"), json!(1.5), json!("root")]
        {
            let mut config = bundle::minimal(&sandbox.cgroups_path(), "id");
            config["process"]["user"][member] = id.clone();
            sandbox.write(&config);
            let out = sandbox.verb(&["run"]).run();
            assert_eq!(out.code, Some(1), "{member} {id}: {out:#?}");
            assert!(out.stderr.contains(member), "{member} {id}: {out:#?}");
            sandbox.assert_clean();
        }
    }
    for id in [json!(4_294_967_295_u64), json!(4_294_967_296_u64), json!(-1)] {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "id");
        config["process"]["user"]["additionalGids"] = json!([5, id]);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(1), "additionalGids {id}: {out:#?}");
        assert!(out.stderr.contains("additionalGids"), "{id}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// CVE-2021-43784: a length that is kept in 16 bits. More than 64 KiB of mappings, and of a namespace path, are an error and
/// never a shorter text that means something else.
#[test]
fn long_texts_are_refused_and_not_cut() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut mapped = bundle::minimal(&sandbox.cgroups_path(), "true");
    let maps: Vec<Value> = (0..5000).map(|i| json!({ "containerID": i, "hostID": 100_000 + i, "size": 1 })).collect();
    mapped["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    mapped["linux"]["uidMappings"] = json!(maps);
    mapped["linux"]["gidMappings"] = json!(maps);
    let mut joined = bundle::minimal(&sandbox.cgroups_path(), "true");
    let path = format!("/proc/self/ns/net{}", "/".repeat(70_000));
    joined["linux"]["namespaces"][4]["path"] = json!(path);
    for (config, place) in [(mapped, "linux.uidMappings"), (joined, "linux.namespaces[4]")] {
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(1), "{place}: {out:#?}");
        assert!(out.stderr.contains(place), "{out:#?}");
        sandbox.assert_clean();
    }
}
