//! `linux.intelRdt` on a directory that stands in for resctrl, which needs hardware: real containers, and the files that the
//! kernel would have read.
//!
//! What the kernel does and an ordinary directory does not: it makes the files of a class together with its directory (here
//! the library's writes make them, and `mon_groups` is made by the test), and its `rmdir(2)` does not mind them (here the
//! test, or a hook, takes them away first).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use libcontain::{Container, CreateOptions, Error, Host, Resctrl, Runtime, Update};
use serde_json::{Value, json};
use support::{World, null, rooted, set};

struct Machine(World);

impl Machine {
    fn new(test: &str) -> Option<Machine> {
        let machine = Machine(rooted(test)?);
        for dir in ["info", "gold/mon_groups"] {
            fs::create_dir_all(machine.file(dir)).unwrap();
        }
        for (file, text) in [
            ("info/last_cmd_status", "mask f7 has non-consecutive 1-bits\n"),
            ("gold/schemata", "    L3:0=0000f;1=fffff\n    MB:0=100;1=100\n"),
            ("gold/tasks", ""),
        ] {
            fs::write(machine.file(file), text).unwrap();
        }
        Some(machine)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path("resctrl").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn runtime(&self) -> Runtime {
        let mount = self.file("").to_string_lossy().trim_end_matches('/').to_owned();
        let resctrl = Resctrl { mount, cache: true, bandwidth: true, monitoring: true };
        self.0.runtime().with_host(Host { resctrl: Some(resctrl), ..Host::probe().unwrap() })
    }

    fn create(&self, config: &Value) -> Result<Container, Error> {
        let null = null();
        let options = CreateOptions { stdio: [Some(null.as_fd()); 3], ..CreateOptions::default() };
        self.runtime().create(&self.0.name(), &self.0.bundle(config), &options)
    }

    fn config(&self, rdt: Value) -> Value {
        let mut config = self.0.minimal("sleep 1000");
        config["linux"]["intelRdt"] = rdt;
        config
    }

    fn state(&self) -> Value {
        let text = fs::read(self.0.path("state").join(&self.0.id).join("state.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

#[test]
fn a_class_of_its_own() {
    let Some(machine) = Machine::new("a_class_of_its_own") else { return };
    let rdt = json!({ "l3CacheSchema": "L3:0=f;1=f\nMB:0=5", "memBwSchema": "MB:0=20" });
    let container = machine.create(&machine.config(rdt)).unwrap();
    let id = &machine.0.id;
    assert_eq!(machine.read(&format!("{id}/schemata")), "L3:0=f;1=f\nMB:0=20\n");
    assert_eq!(machine.read(&format!("{id}/tasks")), container.pid().to_string());
    let state = machine.state();
    assert_eq!(state["intel_rdt_path"], machine.file(id).to_str().unwrap());
    assert!(state.get("intel_rdt_mon_path").is_none());
    fs::remove_file(machine.file(id).join("schemata")).unwrap();
    fs::remove_file(machine.file(id).join("tasks")).unwrap();
    container.delete(true).unwrap();
    assert!(!machine.file(id).exists());
    machine.0.assert_clean();
}

/// Nothing to be set: it is made all the same, and nothing is written to its schemata.
#[test]
fn nothing_but_the_presence() {
    let Some(machine) = Machine::new("nothing_but_the_presence") else { return };
    let container = machine.create(&machine.config(json!({}))).unwrap();
    let dir = machine.file(&machine.0.id);
    assert!(dir.join("tasks").exists() && !dir.join("schemata").exists());
    fs::remove_file(dir.join("tasks")).unwrap();
    container.delete(true).unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_class_that_is_there() {
    let Some(machine) = Machine::new("a_class_that_is_there") else { return };
    let before = machine.read("gold/schemata");
    for rdt in [
        json!({ "closID": "gold" }),
        json!({ "closID": "gold", "l3CacheSchema": "L3:0=f" }),
        json!({ "closID": "gold", "schemata": ["L3:1=FFFFF", "MB:1=100"] }),
    ] {
        let container = machine.create(&machine.config(rdt)).unwrap();
        assert_eq!(machine.read("gold/tasks"), container.pid().to_string());
        container.delete(true).unwrap();
        assert!(machine.read("gold/schemata") == before && machine.file("gold/tasks").exists());
    }
    let error = machine.create(&machine.config(json!({ "closID": "gold", "l3CacheSchema": "L3:0=ff" }))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exists with other schemata: not L3:0=ff"), "{text}");
    assert_eq!(error.at(), Some("linux.intelRdt"));
    assert_eq!(machine.read("gold/schemata"), before);
    machine.0.assert_clean();
}

#[test]
fn a_named_class_that_is_not_there() {
    let Some(machine) = Machine::new("a_named_class_that_is_not_there") else { return };
    let text = machine.create(&machine.config(json!({ "closID": "silver" }))).unwrap_err().to_string();
    let expected =
        "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty): stat ";
    assert!(text.contains(expected) && text.ends_with("silver: no such file or directory"), "{text}");
    machine.0.assert_clean();

    // with schemata it is made, and it stays: others may be in it by then
    let rdt = json!({ "closID": "silver", "schemata": ["L3:0=f", "MB:0=20"] });
    let container = machine.create(&machine.config(rdt)).unwrap();
    assert_eq!(machine.read("silver/schemata"), "L3:0=f\nMB:0=20\n");
    container.delete(true).unwrap();
    assert!(machine.file("silver").exists());
    machine.0.assert_clean();
}

#[test]
fn a_monitoring_group() {
    let Some(machine) = Machine::new("a_monitoring_group") else { return };
    let container = machine.create(&machine.config(json!({ "closID": "gold", "enableMonitoring": true }))).unwrap();
    let (pid, group) = (container.pid().to_string(), format!("gold/mon_groups/{}", machine.0.id));
    assert_eq!((machine.read("gold/tasks"), machine.read(&format!("{group}/tasks"))), (pid.clone(), pid));
    assert_eq!(machine.state()["intel_rdt_mon_path"], machine.file(&group).to_str().unwrap());
    fs::remove_file(machine.file(&group).join("tasks")).unwrap();
    container.delete(true).unwrap();
    assert!(!machine.file(&group).exists() && machine.file("gold").exists());
}

/// A class that was made for a container that could not be made goes with it, named or not; one that was there stays.
#[test]
fn a_failure_leaves_no_class() {
    let Some(machine) = Machine::new("a_failure_leaves_no_class") else { return };
    let id = machine.0.id.clone();
    for (rdt, class) in [
        (json!({ "l3CacheSchema": "L3:0=f" }), id.as_str()),
        (json!({ "closID": "silver", "l3CacheSchema": "L3:0=f" }), "silver"),
        (json!({ "closID": "gold" }), "gold"),
    ] {
        let mut config = machine.config(rdt);
        let script = format!("cd {} && rm -f schemata tasks; exit 1", machine.file(class).display());
        set(&mut config, "/hooks/createRuntime/-", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
        let text = machine.create(&config).unwrap_err().to_string();
        assert!(text.contains("error running createRuntime hook #0: exit status 1"), "{text}");
        assert_eq!(machine.file(class).exists(), class == "gold", "{class}");
        machine.0.assert_clean();
    }
}

#[test]
fn an_update() {
    let Some(machine) = Machine::new("an_update") else { return };
    let mut container = machine.create(&machine.config(json!({ "closID": "gold" }))).unwrap();
    let update = |cache: Option<&str>, bandwidth: Option<&str>| Update {
        l3_cache_schema: cache.map(str::to_owned),
        mem_bw_schema: bandwidth.map(str::to_owned),
        ..Update::default()
    };
    for (cache, bandwidth, text) in [
        (Some("L3:0=f"), None, "L3:0=f\n"),
        (None, Some("MB:0=30"), "MB:0=30\n"),
        (Some("L3:0=ff\nMB:0=1"), Some("MB:0=40;1=50"), "L3:0=ff\nMB:0=40;1=50\n"),
        (None, None, "L3:0=ff\nMB:0=40;1=50\n"),
    ] {
        container.update(&update(cache, bandwidth)).unwrap();
        assert_eq!(machine.read("gold/schemata"), text);
    }
    // refused after the limits were written, by a directory in its place
    let file = |name: &str| machine.file(name);
    fs::rename(file("gold/schemata"), file("gold/kept")).unwrap();
    fs::create_dir(file("gold/schemata")).unwrap();
    let pids = std::path::Path::new("/sys/fs/cgroup/pids").join(&machine.0.id).join("pids.max");
    let before = (machine.state(), fs::read_to_string(&pids).ok());
    let mut refused = update(Some("L3:0=f7"), None);
    if before.1.is_some() {
        refused.resources = serde_json::from_value(json!({ "pids": { "limit": 7 } })).unwrap();
    }
    let error = container.update(&refused).unwrap_err();
    assert_eq!(error.at(), Some("linux.intelRdt"));
    assert!(error.to_string().contains("/gold/schemata: is a directory"), "{error}");
    assert_eq!((machine.state(), fs::read_to_string(&pids).ok()), before);
    fs::remove_dir(file("gold/schemata")).unwrap();
    container.delete(true).unwrap();
    // without a class of its own
    let mut container = machine.0.create(&machine.0.minimal("sleep 1000")).unwrap();
    let text = container.update(&update(Some("L3:0=f"), None)).unwrap_err().to_string();
    assert!(text.contains("updating a non-existent Intel RDT configuration is not supported"), "{text}");
    container.delete(true).unwrap();
    machine.0.assert_clean();
}

/// Here the write is refused because a directory is in its place; the kernel's own reason is quoted.
#[test]
fn what_the_kernel_says_is_quoted() {
    let Some(machine) = Machine::new("what_the_kernel_says_is_quoted") else { return };
    fs::create_dir_all(machine.file(&machine.0.id).join("schemata")).unwrap();
    let text = machine.create(&machine.config(json!({ "l3CacheSchema": "L3:0=f7" }))).unwrap_err().to_string();
    assert!(text.contains("failed to write \"L3:0=f7\" to ") && text.contains("is a directory"), "{text}");
    assert!(text.ends_with("last_cmd_status: mask f7 has non-consecutive 1-bits"), "{text}");
    // it was there before
    assert!(machine.file(&machine.0.id).exists());
    machine.0.assert_clean();
}
