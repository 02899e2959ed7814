//! `linux.resources` field by field: the files of the running container's cgroup as an engine reads them, from outside; and
//! what is said about a field that this machine, or its version of cgroups, has no file for.

use serde_json::{Value, json};

use crate::support::verify::Findings;
use crate::support::{Output, Sandbox, View, bundle, pure_v2, read, root, skip, verify_cgroup};

/// Makes a container with these resources and shows each file, of the controller's hierarchy ("" for v2).
#[track_caller]
fn files(view: View, resources: &Value, files: &[(&str, &str)]) -> Vec<String> {
    let sandbox = Sandbox::with_view(view);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "sleep 1000");
    config["linux"]["resources"] = resources.clone();
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    let pid = sandbox.pid();
    let shown = files.iter().map(|(controller, file)| {
        let dir = verify_cgroup::directory(pid, controller).unwrap_or_else(|| panic!("no hierarchy {controller}"));
        read(dir.join(file))
    });
    let shown = shown.collect();
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
    shown
}

#[track_caller]
fn run(resources: &Value) -> Output {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    config["linux"]["resources"] = resources.clone();
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    sandbox.assert_clean();
    out
}

/// Whether the machine has a v1 hierarchy with this file, in cgroups that can be limited; says so otherwise.
fn has(controller: &str, file: &str) -> bool {
    let dir = format!("/sys/fs/cgroup/{controller}");
    let own = verify_cgroup::directory(std::process::id() as i32, controller);
    let probe = std::path::Path::new(&dir).join(format!("cntr-probe-{}-{file}", std::process::id()));
    if own.is_none() || std::fs::create_dir(&probe).is_err() {
        skip(&format!("needs a v1 hierarchy {controller}"));
        return false;
    }
    let found = probe.join(file).exists();
    let _ = std::fs::remove_dir(&probe);
    if !found {
        skip(&format!("needs {file}"));
    }
    found
}

/// The value of a `key value` line, or the only one.
fn line<'t>(text: &'t str, key: &str) -> &'t str {
    text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_else(|| panic!("no {key:?} in {text:?}")).trim()
}

#[test]
fn memory() {
    if !root() || !has("memory", "memory.oom_control") {
        return;
    }
    let resources =
        json!({ "memory": { "disableOOMKiller": true, "swappiness": 7, "limit": 64 << 20, "reservation": 32 << 20 } });
    let asked = ["memory.oom_control", "memory.swappiness", "memory.limit_in_bytes", "memory.soft_limit_in_bytes"];
    let seen = files(View::Host, &resources, &asked.map(|file| ("memory", file)));
    assert_eq!(line(&seen[0], "oom_kill_disable"), "1");
    assert_eq!(seen[1..], ["7\n", "67108864\n", "33554432\n"]);
    let off = json!({ "memory": { "disableOOMKiller": false, "swappiness": 0 } });
    let seen = files(View::Host, &off, &asked[..2].iter().map(|file| ("memory", *file)).collect::<Vec<_>>());
    assert_eq!((line(&seen[0], "oom_kill_disable"), seen[1].as_str()), ("0", "0\n"));
}

/// Given up by the kernel: a warning, and the container runs.
#[test]
fn kernel_memory_is_a_warning() {
    if !root() {
        return;
    }
    for (field, value) in [("kernel", json!(1 << 26)), ("kernelTCP", json!(1 << 26)), ("useHierarchy", json!(true))] {
        let out = run(&json!({ "memory": { field: value } }));
        let says = format!("linux.resources.memory.{field}: ignored");
        assert!(out.code == Some(0) && out.stderr.contains("warning") && out.stderr.contains(&says), "{out:#?}");
    }
}

#[test]
fn cpu() {
    if !root() || !has("cpu", "cpu.cfs_burst_us") {
        return;
    }
    let seen = |cpu: Value, names: &[&str]| {
        files(View::Host, &json!({ "cpu": cpu }), &names.iter().map(|file| ("cpu", *file)).collect::<Vec<_>>())
    };
    let bandwidth = ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"];
    let asked = json!({ "quota": 20_000, "period": 50_000, "burst": 5_000 });
    assert_eq!(seen(asked, &bandwidth), ["20000\n", "50000\n", "5000\n"]);
    assert_eq!(seen(json!({ "quota": -1, "period": 40_000 }), &bandwidth[..2]), ["-1\n", "40000\n"]);
    assert_eq!(seen(json!({ "idle": 1 }), &["cpu.idle"]), ["1\n"]);
    assert_eq!(seen(json!({ "shares": 77 }), &["cpu.shares"]), ["77\n"]);
    if !has("cpuset", "cpuset.cpus") {
        return; // as of Debian's kernel 6.12
    }
    let cpuset = json!({ "cpu": { "cpus": "0", "mems": "0" } });
    assert_eq!(files(View::Host, &cpuset, &[("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.mems")]), ["0\n", "0\n"]);
}

/// Out of the share that the parent has; what is too much for it is an error of the field.
#[test]
fn cpu_realtime() {
    if !root() || !has("cpu", "cpu.rt_runtime_us") {
        return;
    }
    let names = [("cpu", "cpu.rt_runtime_us"), ("cpu", "cpu.rt_period_us")];
    for (runtime, period) in [(1_000, 500_000), (2_000, 2_000_000)] {
        let asked = json!({ "cpu": { "realtimeRuntime": runtime, "realtimePeriod": period } });
        assert_eq!(files(View::Host, &asked, &names), [format!("{runtime}\n"), format!("{period}\n")]);
    }
    let out = run(&json!({ "cpu": { "realtimeRuntime": 10_000_000, "realtimePeriod": 500_000 } }));
    assert!(out.code == Some(1) && out.stderr.contains("linux.resources.cpu.realtime"), "{out:#?}");
}

/// The whole disk: there is one on every machine. Rates are per second.
#[test]
fn block_io() {
    if !root() || !has("blkio", "blkio.throttle.read_bps_device") {
        return;
    }
    let Some((major, minor)) = bundle::block_device() else { return skip("needs a block device") };
    let rate = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let asked = json!({ "blockIO": {
        "throttleReadBpsDevice": rate(1 << 30), "throttleWriteBpsDevice": rate(2 << 30),
        "throttleReadIOPSDevice": rate(30_000), "throttleWriteIOPSDevice": rate(40_000),
    }});
    let names =
        ["read_bps", "write_bps", "read_iops", "write_iops"].map(|name| format!("blkio.throttle.{name}_device"));
    let names: Vec<(&str, &str)> = names.iter().map(|name| ("blkio", name.as_str())).collect();
    let value = |rate: u64| format!("{major}:{minor} {rate}\n");
    assert_eq!(files(View::Host, &asked, &names), [value(1 << 30), value(2 << 30), value(30_000), value(40_000)]);
}

/// The BFQ scheduler's file where the kernel has no other.
#[test]
fn block_io_weight() {
    if !root() || !has("blkio", "blkio.bfq.weight") {
        return;
    }
    let seen = files(View::Host, &json!({ "blockIO": { "weight": 321 } }), &[("blkio", "blkio.bfq.weight")]);
    assert_eq!(seen, ["321\n"]);
    let Some((major, minor)) = bundle::block_device() else { return skip("needs a block device") };
    // The kernel takes a weight for a device only while BFQ schedules it; leaf weights went with CFQ (Linux 5.0).
    for (member, file) in [("weight", "weight_device"), ("leafWeight", "leaf_weight_device")] {
        let out = run(&json!({ "blockIO": { "weightDevice": [{ "major": major, "minor": minor, member: 100 }] } }));
        let place = format!("linux.resources.blockIO.weightDevice[0].{member}");
        assert!(out.code == Some(0) || out.stderr.contains(&place) && out.stderr.contains(file), "{out:#?}");
    }
    let out = run(&json!({ "blockIO": { "leafWeight": 100 } }));
    assert!(out.code == Some(1) && out.stderr.contains("linux.resources.blockIO.leafWeight"), "{out:#?}");
}

#[test]
fn pids() {
    if !root() || !has("pids", "pids.max") {
        return;
    }
    for (limit, seen) in [(33, "33\n"), (0, "1\n"), (-1, "max\n")] {
        assert_eq!(files(View::Host, &json!({ "pids": { "limit": limit } }), &[("pids", "pids.max")]), [seen]);
    }
}

/// On a hybrid machine v2 may be the one that has the controller.
#[test]
fn hugepages() {
    if !root() {
        return;
    }
    let v2 = ["", "unified/"].map(|dir| read(format!("/sys/fs/cgroup/{dir}cgroup.controllers")));
    let v2 = v2.iter().any(|controllers| controllers.contains("hugetlb"));
    if !v2 || !std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        return skip("needs hugetlb of cgroup v2 and huge pages of 2 MB");
    }
    let asked =
        json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }, { "pageSize": "1GB", "limit": 0 }] });
    for view in [View::Host, View::V2] {
        let names = [("", "hugetlb.2MB.max"), ("", "hugetlb.1GB.max"), ("", "hugetlb.2MB.rsvd.max")];
        assert_eq!(files(view, &asked, &names), ["4194304\n", "0\n", "4194304\n"], "{view:?}");
    }
    let out = run(&json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 0 }] }));
    assert!(out.code == Some(1) && out.stderr.contains("linux.resources.hugepageLimits[0]"), "{out:#?}");
}

/// Any file of v2 by its name; what is not there is refused, also where the machine has v1.
#[test]
fn unified() {
    if !root() {
        return;
    }
    let asked = json!({ "unified": { "cgroup.max.depth": "5", "cgroup.max.descendants": "7" } });
    let names = [("", "cgroup.max.depth"), ("", "cgroup.max.descendants")];
    assert_eq!(files(View::V2, &asked, &names), ["5\n", "7\n"]);
    let sandbox = Sandbox::with_view(View::V2);
    for (name, says) in
        [("nosuch.max", "controller \"nosuch\" not available"), ("a/b", "must be a file name (no slashes)")]
    {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        config["linux"]["resources"]["unified"] = json!({ name: "1" });
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let text = out.stderr.replace("\\\"", "\"");
        assert!(out.code == Some(1) && text.contains("linux.resources.unified") && text.contains(says), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// No such hierarchy: a limit that nobody would enforce is an error, never a silence.
#[test]
fn controllers_that_are_not_there() {
    if !root() {
        return;
    }
    let table = [
        ("net_cls", json!({ "network": { "classID": 7 } }), "linux.resources.network.classID"),
        (
            "net_prio",
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 1 }] } }),
            "linux.resources.network.priorities[0]",
        ),
        ("rdma", json!({ "rdma": { "mlx5_1": { "hcaHandles": 3 } } }), "linux.resources.rdma"),
    ];
    for (controller, resources, place) in table {
        if verify_cgroup::directory(std::process::id() as i32, controller).is_some()
            || read("/sys/fs/cgroup/cgroup.controllers").contains(controller)
        {
            continue;
        }
        let out = run(&resources);
        // v2 has no successor of the two for networks, which is no fault of the machine's
        let (code, says) = match controller {
            "net_cls" | "net_prio" if pure_v2() => (0, format!("{place}: ignored")),
            _ => (1, format!("{place}: cannot set {controller} limit")),
        };
        assert!(out.code == Some(code) && out.stderr.contains(&says), "{out:#?}");
    }
}

/// An absolute path counts from the mount, a relative one from the runtime's own cgroup; `..` leads nowhere.
#[test]
fn cgroups_path() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for (path, ends) in [("/ID", "/ID"), ("/../ID/./x/..", "/ID"), ("ID", "/ID"), ("x/../ID", "/ID")] {
        let path = path.replace("ID", &sandbox.id);
        let ends = ends.replace("ID", &sandbox.id);
        sandbox.write(&bundle::minimal(&path, "cat /proc/self/cgroup"));
        let out = sandbox.run_ok();
        let hierarchies = read("/proc/self/cgroup").lines().count();
        assert!(
            out.stdout.lines().count() == hierarchies && out.stdout.lines().all(|l| l.ends_with(&ends)),
            "{path}: {out:#?}"
        );
        let absolute = out.stdout.lines().all(|l| l.splitn(3, ':').nth(2) == Some(ends.as_str()));
        assert!(absolute || !path.starts_with('/'), "{path}: {out:#?}");
        sandbox.assert_clean();
    }
    let mut findings = Findings::default();
    let config = bundle::minimal(&sandbox.cgroups_path(), "sleep 1000");
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    verify_cgroup::verify(&config, sandbox.pid(), sandbox.view, &mut findings);
    sandbox.verb(&["delete", "--force"]).ok();
    findings.done("linux.cgroupsPath");
    sandbox.assert_clean();
}
