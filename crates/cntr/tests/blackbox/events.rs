//! `events`: the record is runc's, member for member; an out-of-memory kill and the container's end are told when they happen.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::support::{Cmd, Sandbox, View, bundle, have, patience, read, root, skip, verify_cgroup, wait_for};

fn ended(sandbox: &Sandbox) {
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

fn records(text: &str, kind: &str) -> usize {
    text.lines().filter(|line| line.starts_with(&format!("{{\"type\":\"{kind}\",\"id\":\"cntr-box-"))).count()
}

/// JSON with the order of its members.
#[derive(Debug)]
enum Tree {
    Leaf(Value),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Tree;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf(Value::Null))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Members that the installed runc does not know yet, or cannot read: 1.1 asks for a file of reserved huge pages that no
/// kernel has, and then says nothing of any.
const ONLY_OURS: [&str; 4] = ["data.cpu.psi", "data.memory.psi", "data.blkio.psi", "data.hugetlb.*"];
const ONLY_NEW_RUNCS: [&str; 1] = ["data.memory.event_count"];
/// What moves, and is left out while it is zero. Everything else has to be there, and to be equal.
const MOVES: [&str; 12] = [
    "data.cpu.usage.*",
    "data.cpu.throttling.*",
    "data.cpuset.memory_pressure",
    "data.memory.cache",
    "data.memory.usage.usage",
    "data.memory.usage.max",
    "data.memory.swap.usage",
    "data.memory.swap.max",
    "data.memory.kernel.*",
    "data.memory.raw.*",
    "data.blkio.*",
    "data.hugetlb.*",
];

fn is_among(path: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|p| p.strip_suffix('*').map_or(path == *p, |start| path.starts_with(start)))
}

fn compare(path: &str, ours: &Tree, theirs: &Tree, faults: &mut Vec<String>) {
    match (ours, theirs) {
        (Tree::Object(ours), Tree::Object(theirs)) => {
            let names = |of: &[(String, Tree)], other: &[(String, Tree)]| -> Vec<String> {
                of.iter().map(|(n, _)| n.clone()).filter(|n| other.iter().any(|(o, _)| o == n)).collect()
            };
            let (our_order, their_order) = (names(ours, theirs), names(theirs, ours));
            if our_order != their_order {
                faults.push(format!("{path}: order {our_order:?}, runc's {their_order:?}"));
            }
            for (name, value) in ours {
                let path = format!("{path}.{name}");
                match theirs.iter().find(|(n, _)| n == name) {
                    Some((_, other)) => compare(&path, value, other, faults),
                    None if is_among(&path, &ONLY_OURS) || is_among(&path, &MOVES) => {}
                    None => faults.push(format!("{path}: runc has none")),
                }
            }
            for (name, _) in theirs.iter().filter(|(name, _)| !ours.iter().any(|(n, _)| n == name)) {
                let path = format!("{path}.{name}");
                // What memory.stat counts is the kernel's and there in any case.
                let may_lack = is_among(&path, &MOVES) && !path.starts_with("data.memory.raw");
                if !may_lack && !is_among(&path, &ONLY_NEW_RUNCS) {
                    faults.push(format!("{path}: is missing"));
                }
            }
        }
        (Tree::List(ours), Tree::List(theirs)) => {
            if ours.len() != theirs.len() && !is_among(path, &MOVES) {
                faults.push(format!("{path}: {} items, runc's {}", ours.len(), theirs.len()));
            }
            for (ours, theirs) in ours.iter().zip(theirs) {
                compare(path, ours, theirs, faults);
            }
        }
        (Tree::Leaf(ours), Tree::Leaf(theirs)) => {
            let same_kind = std::mem::discriminant(ours) == std::mem::discriminant(theirs);
            if !same_kind || (ours != theirs && !is_among(path, &MOVES)) {
                faults.push(format!("{path}: {ours}, runc's {theirs}"));
            }
        }
        _ => faults.push(format!("{path}: {ours:?}, runc's {theirs:?}")),
    }
}

/// The limits that this machine can set.
fn resources() -> Value {
    let mut config = json!({ "linux": { "resources": {
        "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 }, "cpu": { "quota": 20_000, "period": 50_000 },
    }}});
    if verify_cgroup::directory(std::process::id() as i32, "memory").is_none() {
        bundle::drop_limits_without_v2_controller(&mut config);
    }
    config["linux"]["resources"].take()
}

#[test]
fn the_record_is_runcs() {
    if !root() || !have("runc") {
        return;
    }
    let sandbox = Sandbox::created(View::Host, &resources(), "exec sleep 1000");
    sandbox.verb(&["start"]).ok();
    // The same bundle for runc, in a cgroup of its own.
    let other = format!("{}-r", sandbox.id);
    let theirs_dir = sandbox.path("theirs");
    std::fs::create_dir(&theirs_dir).unwrap();
    let mut config: Value = serde_json::from_str(&read(sandbox.path("bundle/config.json"))).unwrap();
    config["linux"]["cgroupsPath"] = format!("/{other}").into();
    config["root"]["path"] = sandbox.rootfs().to_string_lossy().into();
    std::fs::write(theirs_dir.join("config.json"), config.to_string()).unwrap();
    let runc_root = sandbox.path("runc");
    let runc = |args: &[&str]| {
        let argv = ["runc", "--root", &runc_root.to_string_lossy()].map(Into::into).to_vec();
        Cmd::new(argv, &sandbox.path("out")).cwd(&theirs_dir).args(args).arg(&other)
    };
    let started = runc(&["run", "-d"]).run();
    let theirs = (started.code == Some(0)).then(|| runc(&["events", "--stats"]).ok().stdout);
    runc(&["delete", "--force"]).run();
    let ours = sandbox.verb(&["events", "--stats"]).ok();
    ended(&sandbox);
    let Some(theirs) = theirs else { return skip(&format!("runc cannot run it: {}", started.stderr)) };
    assert_eq!(ours.stderr, "");
    assert!(ours.stdout.ends_with("}}\n") && ours.stdout.lines().count() == 1, "{ours:#?}");
    let ours = ours.stdout.replace(&sandbox.id, "ID");
    let theirs = theirs.replace(&other, "ID");
    let mut faults = Vec::new();
    let tree = |text: &str| serde_json::from_str::<Tree>(text).unwrap();
    let (Tree::Object(a), Tree::Object(b)) = (tree(&ours), tree(&theirs)) else { panic!("{ours} {theirs}") };
    assert_eq!(a.iter().map(|m| &m.0).collect::<Vec<_>>(), b.iter().map(|m| &m.0).collect::<Vec<_>>());
    for ((name, ours), (_, theirs)) in a.iter().zip(&b) {
        compare(name, ours, theirs, &mut faults);
    }
    assert!(faults.is_empty(), "{faults:#?}\nours: {ours}\nrunc's: {theirs}");
}

/// In whichever state, with whichever cgroups, each member that is an object is there.
#[test]
fn a_record_in_each_state() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = Sandbox::created(view, &Value::Null, "exec sleep 1000");
        let record = || {
            let out = sandbox.verb(&["events", "--stats"]).ok();
            let record: Value = serde_json::from_str(&out.stdout).unwrap();
            assert_eq!((&record["type"], &record["id"]), (&json!("stats"), &json!(sandbox.id)));
            for object in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"] {
                assert!(record["data"][object].is_object(), "{object}: {record}");
            }
            assert_eq!(record["data"].get("network_interfaces"), Some(&Value::Null));
            record
        };
        assert!(record()["data"]["cpu"]["usage"]["total"].as_u64() > Some(0), "{view:?}: init has run");
        sandbox.verb(&["pause"]).ok();
        record();
        sandbox.verb(&["resume"]).ok();
        sandbox.verb(&["start"]).ok();
        record();
        sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
        sandbox.wait_status("stopped");
        let out = sandbox.verb(&["events", "--stats"]).run();
        let says = format!("container with id {} is not running", sandbox.id);
        assert!(out.code == Some(1) && out.stderr.contains(&says) && out.stdout.is_empty(), "{out:#?}");
        ended(&sandbox);
    }
}

#[test]
fn intervals() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::created(View::Host, &Value::Null, "exec sleep 1000");
    for given in ["0s", "-5s", "0"] {
        let out = sandbox.verb(&["events", "--interval", given]).run();
        assert!(out.code == Some(1) && out.stderr.contains("duration interval must be greater than 0"), "{out:#?}");
    }
    for given in ["5", "1x", ""] {
        let out = sandbox.verb(&["events", "--interval", given]).run();
        let says = format!("invalid value \"{given}\" for flag -interval: parse error");
        assert!(out.code == Some(1) && out.stderr.replace("\\\"", "\"").contains(&says), "{out:#?}");
        assert!(out.stdout.starts_with("Incorrect Usage: "), "{out:#?}");
    }
    let running = sandbox.verb(&["events", "--interval=50ms"]).spawn();
    let start = Instant::now();
    wait_for("four records", || (records(&running.stdout(), "stats") >= 4).then_some(()));
    assert!(start.elapsed() >= Duration::from_millis(150), "four intervals of 50 ms in {:?}", start.elapsed());
    ended(&sandbox);
    let out = running.wait();
    assert!(out.code == Some(0) && out.stderr.is_empty(), "{out:#?}");
    assert_eq!(records(&out.stdout, "stats"), out.stdout.lines().count(), "{out:#?}");
}

/// The hour shows that neither is found out by looking.
#[test]
fn an_out_of_memory_kill_and_the_end_are_told() {
    if !root() {
        return;
    }
    if resources().get("memory").is_none() {
        return skip("needs a memory controller");
    }
    let script = "while [ ! -e /go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null bs=256M count=1; echo $?; exec sleep 1000";
    let sandbox = Sandbox::created(View::Host, &json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } }), script);
    let events = sandbox.verb(&["events", "--interval", "1h"]).spawn();
    sandbox.verb(&["start"]).ok();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(events.stdout(), "");
    std::fs::write(sandbox.rootfs().join("go"), "").unwrap();
    let start = Instant::now();
    wait_for("the event", || (records(&events.stdout(), "oom") > 0).then_some(()));
    assert!(start.elapsed() < patience(3), "told after {:?}", start.elapsed());
    assert_eq!(sandbox.status(), "running", "the program was killed, not its parent");
    assert!(events.stdout().starts_with(&format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", sandbox.id)));
    sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
    let start = Instant::now();
    let out = events.wait();
    assert!(out.code == Some(0) && out.stderr.is_empty(), "{out:#?}");
    assert!(start.elapsed() < patience(3), "ended after {:?}", start.elapsed());
    ended(&sandbox);
}

/// Init itself is killed: first the event, then the end.
#[test]
fn out_of_memory_at_the_end() {
    if !root() {
        return;
    }
    if resources().get("memory").is_none() {
        return skip("needs a memory controller");
    }
    let script = "exec dd if=/dev/zero of=/dev/null bs=256M count=1";
    let sandbox = Sandbox::created(View::Host, &json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } }), script);
    let events = sandbox.verb(&["events", "--interval", "1h"]).spawn();
    wait_for("events to watch", || watches(events.child.id()).then_some(()));
    sandbox.verb(&["start"]).ok();
    let out = events.wait();
    assert!(out.code == Some(0) && records(&out.stdout, "oom") >= 1, "{out:#?}");
    ended(&sandbox);
}

/// Whether a process sleeps in poll(2).
fn watches(pid: u32) -> bool {
    read(format!("/proc/{pid}/wchan")).contains("poll")
        || read(format!("/proc/{pid}/syscall")).split(' ').next().is_some_and(|call| ["7", "271"].contains(&call))
}

/// Who only looks at the first lines need not kill it.
#[test]
fn a_reader_that_leaves_ends_it() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::created(View::Host, &Value::Null, "exec sleep 1000");
    let mut events = sandbox.verb(&["events", "--interval", "1h"]).stdout(Stdio::piped()).spawn();
    wait_for("events to watch", || watches(events.child.id()).then_some(()));
    drop(events.child.stdout.take());
    let out = events.wait();
    assert!(out.code == Some(0) && out.stderr.is_empty(), "{out:#?}");
    ended(&sandbox);
}

/// Without a pid namespace of its own a container lives on without init.
#[test]
fn it_ends_with_the_last_process() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "setsid sleep 1000 & exec sleep 1000");
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    sandbox.write(&config);
    sandbox.cntr(&["create", "--bundle", &sandbox.bundle().to_string_lossy(), &sandbox.id]).ok();
    sandbox.verb(&["start"]).ok();
    let pids = || sandbox.cntr(&["ps", "--format", "json", &sandbox.id]).ok().stdout;
    wait_for("two processes", || (pids().split(',').count() == 2).then_some(()));
    let mut events = sandbox.verb(&["events", "--interval", "1h"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    sandbox.cntr(&["kill", &sandbox.id, "TERM"]).ok();
    wait_for("one process", || (pids().split(',').count() == 1).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert!(events.child.try_wait().unwrap().is_none(), "one is left");
    sandbox.cntr(&["kill", "--all", &sandbox.id, "KILL"]).ok();
    assert_eq!(events.wait().code, Some(0));
    assert_eq!(pids(), "null\n");
    ended(&sandbox);
}
