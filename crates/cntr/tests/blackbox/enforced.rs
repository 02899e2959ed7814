//! Limits that bite: real programs run into them, on whichever version of cgroups the machine has the controller. The files
//! are `limits.rs`' subject; here it is the kernel that says whether they arrived where the processes are.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, View, bundle, read, root, skip, verify_cgroup, wait_for, words};

const MIB: u64 = 1 << 20;

/// `v1` where the machine has a v1 hierarchy of this controller, `v2` where v2 has it; says so where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

fn controller(name: &str) -> Option<Version> {
    let on_v1 = |l: &str| words(l)[2] == "cgroup" && words(l)[3].split(',').any(|o| o == name);
    if read("/proc/self/mounts").lines().any(on_v1) {
        return Some(Version::V1);
    }
    let name = if name == "blkio" { "io" } else { name };
    let v2 = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"];
    if v2.iter().any(|file| read(file).split_whitespace().any(|c| c == name)) {
        return Some(Version::V2);
    }
    skip(&format!("no {name} controller"));
    None
}

fn config(sandbox: &Sandbox, script: &str, resources: Value) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["resources"] = resources;
    config
}

fn run(script: &str, resources: Value) -> Output {
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, script, resources));
    let out = sandbox.verb(&["run"]).run();
    sandbox.assert_clean();
    out
}

/// A container that has started, and where it is in the controller's hierarchy.
fn started(script: &str, resources: Value, controller: &str, version: Version) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, script, resources));
    sandbox.verb(&["create"]).ok();
    let dir = verify_cgroup::directory(sandbox.pid(), if version == Version::V1 { controller } else { "" }).unwrap();
    sandbox.verb(&["start"]).ok();
    (sandbox, dir)
}

/// The number in a line `key N`.
fn count(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or_else(|| panic!("no {key} in {text:?}"))
}

/// Asks for memory and writes all of it. Not with zeros: Linux 6.12 gives such pages back when memory is short.
fn eat(mib: u64) -> String {
    format!("exec dd if=/dev/urandom of=/dev/null bs={mib}M count=1")
}

fn has_swap() -> bool {
    read("/proc/swaps").lines().count() > 1
}

#[test]
fn memory() {
    if !root() {
        return;
    }
    let Some(version) = controller("memory") else { return };
    let mut limit = json!({ "memory": { "limit": 16 * MIB } });
    if has_swap() {
        limit["memory"]["swap"] = json!(16 * MIB); // nothing of it
    }
    assert_eq!(run(&eat(4), limit.clone()).code, Some(0));
    let out = run(&eat(64), limit.clone());
    assert_eq!(out.code, Some(128 + 9), "{out:#?}");
    let (sandbox, dir) = started(&eat(64), limit, "memory", version);
    sandbox.wait_status("stopped");
    let file = if version == Version::V1 { "memory.oom_control" } else { "memory.events" };
    assert_eq!(count(&read(dir.join(file)), "oom_kill"), 1);
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// What does not fit goes to swap space as far as that is allowed.
#[test]
fn memory_and_swap() {
    if !root() || controller("memory").is_none() {
        return;
    }
    if !has_swap() {
        return skip("no swap space");
    }
    let limits = |swap: u64| json!({ "memory": { "limit": 24 * MIB, "swap": swap * MIB } });
    let out = run(&eat(64), limits(24));
    assert_eq!(out.code, Some(128 + 9), "none: {out:#?}");
    let out = run(&eat(64), limits(24 + 96));
    assert_eq!(out.code, Some(0), "enough: {out:#?}");
    let out = run(&eat(64), limits(24 + 16));
    assert_eq!(out.code, Some(128 + 9), "too little: {out:#?}");
}

/// v1: who is over the limit waits instead of being killed, and can be deleted even so.
#[test]
fn memory_without_a_killer() {
    if !root() || controller("memory").is_none_or(|version| version == Version::V2) {
        return;
    }
    let resources = json!({ "memory": { "limit": 16 * MIB, "disableOOMKiller": true } });
    let (sandbox, dir) = started(&eat(64), resources, "memory", Version::V1);
    let control = || read(dir.join("memory.oom_control"));
    wait_for("memory to run out", || (count(&control(), "under_oom") == 1).then_some(()));
    assert_eq!((count(&control(), "oom_kill"), sandbox.status().as_str()), (0, "running"));
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// It stops at the limit, and the container can be ended.
#[test]
fn fork_bomb() {
    if !root() {
        return;
    }
    let Some(version) = controller("pids") else { return };
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null & while :; do :; done";
    let (sandbox, dir) = started(bomb, json!({ "pids": { "limit": 24 } }), "pids", version);
    let mut most = 0;
    wait_for("the limit", || {
        most = most.max(read(dir.join("pids.current")).trim().parse().unwrap());
        (count(&read(dir.join("pids.events")), "max") > 0).then_some(())
    });
    assert!(most <= 24, "{most}");
    assert_eq!(sandbox.status(), "running");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// CPU time in µs, periods, and periods in which it was throttled.
fn bandwidth(dir: &std::path::Path, version: Version) -> (u64, u64, u64) {
    let stat = read(dir.join("cpu.stat"));
    let usage = match version {
        Version::V1 => {
            let file = dir.to_string_lossy().replace("/cpu/", "/cpuacct/");
            read(format!("{file}/cpuacct.usage")).trim().parse::<u64>().unwrap() / 1000
        }
        Version::V2 => count(&stat, "usage_usec"),
    };
    (usage, count(&stat, "nr_periods"), count(&stat, "nr_throttled"))
}

/// CPU time against the periods that went by: the quota in each where it was throttled, and not more in any. Little enough
/// that a busy machine leaves it as much.
#[test]
fn cpu_quota() {
    if !root() {
        return;
    }
    let Some(version) = controller("cpu") else { return };
    for (quota, period) in [(6_000, 100_000), (3_000, 50_000)] {
        let resources = json!({ "cpu": { "quota": quota, "period": period } });
        let (sandbox, dir) = started("while :; do :; done", resources, "cpu", version);
        let mut seen = Vec::new();
        let fits = (0..8).any(|_| {
            let before = bandwidth(&dir, version);
            std::thread::sleep(Duration::from_millis(1500));
            let after = bandwidth(&dir, version);
            let [usage, periods, throttled] = [after.0 - before.0, after.1 - before.1, after.2 - before.2];
            seen.push((usage, periods, throttled));
            throttled >= 8 && usage * 10 >= quota * throttled * 9 && usage * 10 <= quota * periods * 11
        });
        assert!(fits, "{quota} in {period}: CPU time, periods, throttled: {seen:?}");
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

/// Two that want the same CPU have it in proportion to their shares.
#[test]
fn cpu_shares() {
    if !root() || controller("cpuset").is_none() {
        return;
    }
    let Some(version) = controller("cpu") else { return };
    let one = |shares: u64| {
        let resources = json!({ "cpu": { "shares": shares, "cpus": "0" } });
        started("while :; do :; done", resources, "cpu", version)
    };
    let ((many, many_dir), (few, few_dir)) = (one(1024), one(128));
    // contract.md 4.9: 1024 -> 100, 128 -> 21
    let expected = if version == Version::V1 { 8.0 } else { 100.0 / 21.0 };
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let usage = || [&many_dir, &few_dir].map(|dir| bandwidth(dir, version).0);
        let before = usage();
        std::thread::sleep(Duration::from_secs(2));
        let after = usage();
        ratios.push((after[0] - before[0]) as f64 / (after[1] - before[1]).max(1) as f64 / expected);
        if ratios.last().is_some_and(|ratio| (0.8..=1.25).contains(ratio)) {
            break;
        }
    }
    assert!(ratios.last().is_some_and(|ratio| (0.8..=1.25).contains(ratio)), "of what was expected: {ratios:?}");
    for sandbox in [many, few] {
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn cpuset() {
    if !root() || controller("cpuset").is_none() {
        return;
    }
    let cpus = std::thread::available_parallelism().unwrap().get();
    for cpu in 0..cpus.min(2) {
        let resources = json!({ "cpu": { "cpus": cpu.to_string(), "mems": "0" } });
        let out = run("grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status", resources);
        assert_eq!(words(&out.stdout), ["Cpus_allowed_list:", &cpu.to_string(), "Mems_allowed_list:", "0"], "{out:#?}");
    }
}

/// v1: a group has no real-time budget unless it was given some.
#[test]
fn realtime() {
    let file = std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us");
    if !root() || !file.exists() {
        return skip("needs cpu.rt_runtime_us");
    }
    for (cpu, code) in [(json!({}), 1), (json!({ "realtimeRuntime": 1000, "realtimePeriod": 500_000 }), 0)] {
        let sandbox = Sandbox::new();
        let mut config = config(&sandbox, "cut -d ' ' -f 40,41 /proc/self/stat", json!({ "cpu": cpu }));
        config["process"]["scheduler"] = json!({ "policy": "SCHED_RR", "priority": 1 });
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!((out.code, out.stdout.as_str()), (Some(code), if code == 0 { "1 2\n" } else { "" }), "{out:#?}");
        assert!(code == 0 || out.stderr.contains("linux.resources.cpu.realtimeRuntime"), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// By v1's controller or by a device program: to allow some of nothing, and to deny some of all.
#[test]
fn devices() {
    if !root() {
        return;
    }
    let rule =
        |allow: bool, access: &str| json!({ "allow": allow, "type": "c", "major": 1, "minor": 11, "access": access });
    let all = |allow: bool| json!({ "allow": allow, "access": "rwm" });
    // Reading, writing; mknod is allowed by default, and what it makes is not worth more.
    for (rules, expected) in [
        (json!([]), "r no w no"),
        (json!([all(false)]), "r no w no"),
        (json!([all(false), rule(true, "r")]), "r yes w no"),
        (json!([all(false), rule(true, "w")]), "r no w yes"),
        (json!([all(false), rule(true, "rw")]), "r yes w yes"),
        (json!([all(false), rule(true, "rw"), rule(false, "r")]), "r no w yes"),
        (json!([all(true)]), "r yes w yes"),
        (json!([all(true), rule(false, "r")]), "r no w yes"),
        (json!([all(true), rule(false, "rw")]), "r no w no"),
        (json!([all(true), rule(false, "rw"), rule(true, "w")]), "r no w yes"),
    ] {
        for view in [View::Host, View::V2] {
            if view == View::V2 && !std::path::Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists() {
                continue; // the host's view is v2's, or there is none
            }
            let sandbox = Sandbox::with_view(view);
            let script = "mknod /run/made c 1 11 || exit 9; for f in /dev/kmsg /run/made; do \
                (: <$f) 2>/tmp/r && r=yes || r=no; (: >$f) 2>/tmp/w && w=yes || w=no; echo r $r w $w; done; \
                cat /tmp/[rw] >&2; : </dev/null >/dev/zero";
            let mut config = config(&sandbox, script, json!({ "devices": rules }));
            config["linux"]["devices"] = json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
            let caps = json!(["CAP_SYSLOG", "CAP_MKNOD"]);
            config["process"]["capabilities"] = json!({ "bounding": caps, "permitted": caps, "effective": caps });
            sandbox.write(&config);
            let out = sandbox.verb(&["run"]).run();
            assert_eq!(
                (out.code, out.stdout.as_str()),
                (Some(0), &*format!("{expected}\n{expected}\n")),
                "{rules} {out:#?}"
            );
            let denied = out.stderr.lines().filter(|l| l.contains("Operation not permitted")).count();
            assert_eq!(denied, expected.matches("no").count(), "{rules} {out:#?}");
            sandbox.assert_clean();
        }
    }
}

#[test]
fn huge_pages() {
    if !root() || controller("hugetlb").is_none() {
        return;
    }
    let free = read("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    if free.trim().parse::<u64>().unwrap_or(0) < 3 {
        return skip("needs three free huge pages of 2 MB");
    }
    for (limit, code) in [(4 * MIB, 1), (6 * MIB, 0)] {
        let sandbox = Sandbox::new();
        let resources = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": limit }] });
        let mut config = config(&sandbox, "busybox fallocate -l 6291456 /mnt/file", resources);
        let mount =
            json!({ "destination": "/mnt", "type": "hugetlbfs", "source": "hugetlbfs", "options": ["pagesize=2M"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(code), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// A loop device, detached when dropped.
struct Loop(String);

impl Loop {
    fn new(sandbox: &Sandbox) -> Option<Loop> {
        let file = sandbox.path("disk");
        std::fs::write(&file, vec![1; 4 << 20]).unwrap();
        let out = Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(&file).output().ok()?;
        let name = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if name.is_empty() {
            skip(&format!("no loop device: {}", String::from_utf8_lossy(&out.stderr)));
            return None;
        }
        Some(Loop(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).output();
    }
}

#[test]
fn block_io() {
    if !root() || controller("blkio").is_none() {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(device) = Loop::new(&sandbox) else { return };
    let number = read(format!("/sys/block/{}/dev", device.0.trim_start_matches("/dev/")));
    let (major, minor) = number.trim().split_once(':').unwrap();
    let (major, minor): (u64, u64) = (major.parse().unwrap(), minor.parse().unwrap());
    let rate = json!([{ "major": major, "minor": minor, "rate": MIB }]);
    let resources = json!({
        "devices": [{ "allow": true, "type": "b", "major": major, "minor": minor, "access": "r" }],
        "blockIO": { "throttleReadBpsDevice": rate },
    });
    // 3 MiB at 1 MiB/s. The clock starts when init is there already.
    let mut config = config(&sandbox, "exec dd if=/dev/disk of=/dev/null bs=64k count=48", resources);
    config["linux"]["devices"] = json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]);
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    let start = Instant::now();
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    let took = start.elapsed();
    assert!(took > Duration::from_millis(2200), "{took:?}");
    sandbox.verb(&["delete"]).ok();
    drop(device);
    sandbox.assert_clean();
}
