use super::*;
use crate::error::Level;

fn hierarchy(dir: &str, own: &str, v2: bool, controllers: &[&str]) -> Hierarchy {
    let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
    Hierarchy { dir: dir.to_owned(), controllers, own: own.to_owned(), v2 }
}

const ALL_V1: [&str; 14] = [
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "misc",
];

fn v1() -> Layout {
    let mut hierarchies: Vec<Hierarchy> = ALL_V1.iter().map(|name| hierarchy(name, "/", false, &[name])).collect();
    hierarchies.push(hierarchy("systemd", "/", false, &["name=systemd"]));
    Layout { mode: Mode::V1, hierarchies }
}

fn v2() -> Layout {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    Layout { mode: Mode::V2, hierarchies: vec![hierarchy("", "/", true, &controllers)] }
}

/// Like the machine that this was written on.
fn hybrid() -> Layout {
    let mut hierarchies: Vec<Hierarchy> = ["cpu", "cpuset", "devices", "freezer", "pids"]
        .iter()
        .map(|name| hierarchy(name, "/", false, &[name]))
        .collect();
    hierarchies.push(hierarchy("memory", "/api/x", false, &["memory"]));
    hierarchies.push(hierarchy("systemd", "/", false, &["name=systemd"]));
    hierarchies.push(hierarchy("unified", "/", true, &["hugetlb"]));
    Layout { mode: Mode::Hybrid, hierarchies }
}

fn spec(linux: &str) -> Spec {
    let mut spec = Spec::default();
    spec.set_linux(Some(serde_json::from_str(linux).unwrap()));
    spec
}

fn planned(linux: &str, layout: &Layout, rootless: bool) -> (Plan, Vec<Problem>) {
    let mut problems = Vec::new();
    let host = Host { cgroups: layout.clone(), rootless_cgroups: rootless, ..Host::privileged() };
    let plan = plan("c1", &spec(linux), &host, &mut problems);
    (plan, problems)
}

/// The writes but those of devices, as `file = value`, and the problems as text.
fn lowered(resources: &str, layout: &Layout) -> (Vec<String>, Vec<String>) {
    let (plan, problems) = planned(&format!(r#"{{"resources":{resources}}}"#), layout, false);
    let writes = plan.writes.iter().filter(|w| w.controller != "devices");
    let line = |w: &Write| match &w.how {
        How::Or(file, value) => format!("{}={} or {file}={value}", w.file, w.value),
        _ => format!("{}={}", w.file, w.value),
    };
    (writes.map(line).collect(), problems.iter().map(Problem::to_string).collect())
}

/// contract.md 4.9, row by row: resources, v1 files, v2 files. `!` marks a problem instead.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    (r#"{"memory":{"limit":1048576}}"#, &["memory.limit_in_bytes=1048576"], &["memory.max=1048576"]),
    (
        r#"{"memory":{"limit":-1}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
        &["memory.swap.max=max", "memory.max=max"],
    ),
    (r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, &[], &[]),
    (
        r#"{"memory":{"limit":100,"swap":300}}"#,
        &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=300"],
        &["memory.swap.max=200", "memory.max=100"],
    ),
    (
        r#"{"memory":{"limit":100,"swap":100}}"#,
        &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
        &["memory.swap.max=0", "memory.max=100"],
    ),
    (
        r#"{"memory":{"limit":100,"swap":-1}}"#,
        &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"],
        &["memory.swap.max=max", "memory.max=100"],
    ),
    (
        r#"{"memory":{"limit":-1,"swap":300}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=300"],
        &["memory.swap.max=300", "memory.max=max"],
    ),
    (
        r#"{"memory":{"swap":300}}"#,
        &["memory.memsw.limit_in_bytes=300"],
        &["!linux.resources.memory.swap: unable to set swap limit without memory limit"],
    ),
    (
        r#"{"memory":{"limit":300,"swap":100}}"#,
        &["memory.limit_in_bytes=300", "!linux.resources.memory.swap: memory+swap limit should be >= memory limit"],
        &["memory.max=300", "!linux.resources.memory.swap: memory+swap limit should be >= memory limit"],
    ),
    (
        r#"{"memory":{"limit":-2,"swap":-3}}"#,
        &["!linux.resources.memory.limit: -2 must", "!linux.resources.memory.swap: -3 must"],
        &["!linux.resources.memory.swap: -3 must", "!linux.resources.memory.limit: -2 must"],
    ),
    (r#"{"memory":{"reservation":7}}"#, &["memory.soft_limit_in_bytes=7"], &["memory.low=7"]),
    (r#"{"memory":{"reservation":-1}}"#, &["memory.soft_limit_in_bytes=-1"], &["memory.low=max"]),
    (
        r#"{"memory":{"swappiness":0}}"#,
        &["memory.swappiness=0"],
        &["!linux.resources.memory.swappiness: ignored: there is no such thing in cgroup v2"],
    ),
    (r#"{"memory":{"swappiness":18446744073709551615}}"#, &[], &[]),
    (
        r#"{"memory":{"swappiness":101}}"#,
        &["!linux.resources.memory.swappiness: invalid memory swappiness value: 101 (valid range is 0-100)"],
        &["!linux.resources.memory.swappiness: ignored"],
    ),
    (r#"{"memory":{"disableOOMKiller":false}}"#, &[], &[]),
    (
        r#"{"memory":{"disableOOMKiller":true}}"#,
        &["memory.oom_control=1"],
        &["!linux.resources.memory.disableOOMKiller: ignored"],
    ),
    (
        r#"{"memory":{"kernel":1,"kernelTCP":1,"useHierarchy":true}}"#,
        &[
            "!linux.resources.memory.kernel: ignored",
            "!linux.resources.memory.kernelTCP: ignored",
            "!linux.resources.memory.useHierarchy: ignored",
        ],
        &[
            "!linux.resources.memory.kernel: ignored",
            "!linux.resources.memory.kernelTCP: ignored",
            "!linux.resources.memory.useHierarchy: ignored",
        ],
    ),
    (r#"{"cpu":{"shares":1024}}"#, &["cpu.shares=1024"], &["cpu.weight=100"]),
    (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#, &[], &[]),
    (r#"{"cpu":{"quota":5000}}"#, &["cpu.cfs_quota_us=5000"], &["cpu.max=5000 100000"]),
    (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]),
    (r#"{"cpu":{"period":50000}}"#, &["cpu.cfs_period_us=50000"], &["cpu.max=max 50000"]),
    (
        r#"{"cpu":{"quota":5000,"period":10000,"burst":0}}"#,
        &["cpu.cfs_burst_us=0", "cpu.cfs_period_us=10000", "cpu.cfs_quota_us=5000"],
        &["cpu.max.burst=0", "cpu.max=5000 10000"],
    ),
    (
        r#"{"cpu":{"idle":1,"shares":5}}"#,
        &["cpu.idle=1", "!linux.resources.cpu.shares: ignored: unable to apply both"],
        &["cpu.idle=1", "!linux.resources.cpu.shares: ignored: unable to apply both"],
    ),
    (r#"{"cpu":{"idle":0,"shares":10}}"#, &["cpu.idle=0", "cpu.shares=10"], &["cpu.idle=0", "cpu.weight=4"]),
    (
        r#"{"cpu":{"idle":2}}"#,
        &["!linux.resources.cpu.idle: 2 must be 0 or 1"],
        &["!linux.resources.cpu.idle: 2 must be 0 or 1"],
    ),
    (
        r#"{"cpu":{"realtimeRuntime":900,"realtimePeriod":1000}}"#,
        &["cpu.rt_period_us=1000", "cpu.rt_runtime_us=900"],
        &["!linux.resources.cpu.realtimePeriod: ignored", "!linux.resources.cpu.realtimeRuntime: ignored"],
    ),
    (
        r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#,
        &["cpuset.cpus=0-1", "cpuset.mems=0"],
        &["cpuset.cpus=0-1", "cpuset.mems=0"],
    ),
    (r#"{"pids":{"limit":10}}"#, &["pids.max=10"], &["pids.max=10"]),
    (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"], &["pids.max=max"]),
    (r#"{"pids":{"limit":0}}"#, &["pids.max=1"], &["pids.max=1"]),
    (r#"{"blockIO":{"weight":0}}"#, &[], &[]),
    (
        r#"{"blockIO":{"weight":300}}"#,
        &["blkio.weight=300 or blkio.bfq.weight=300"],
        &["io.bfq.weight=300 or io.weight=2930"],
    ),
    (
        r#"{"blockIO":{"weight":9}}"#,
        &["!linux.resources.blockIO.weight: 9 is out of range: expected 10 to 1000"],
        &["!linux.resources.blockIO.weight: 9 is out of range"],
    ),
    (
        r#"{"blockIO":{"leafWeight":300}}"#,
        &["blkio.leaf_weight=300"],
        &["!linux.resources.blockIO.leafWeight: ignored"],
    ),
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":20,"leafWeight":30}]}}"#,
        &["blkio.weight_device=8:0 20 or blkio.bfq.weight_device=8:0 20", "blkio.leaf_weight_device=8:0 30"],
        &["io.bfq.weight=8:0 20", "!linux.resources.blockIO.weightDevice[0].leafWeight: ignored"],
    ),
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":2}],
            "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":0}]}}"#,
        &[
            "blkio.throttle.read_bps_device=8:0 1",
            "blkio.throttle.write_bps_device=8:1 2",
            "blkio.throttle.read_iops_device=8:2 3",
            "blkio.throttle.write_iops_device=8:3 0",
        ],
        &["io.max=8:0 rbps=1", "io.max=8:1 wbps=2", "io.max=8:2 riops=3", "io.max=8:3 wiops=max"],
    ),
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}"#,
        &["!linux.resources.blockIO.throttleReadBpsDevice[0]: -8:0 is no device number"],
        &["!linux.resources.blockIO.throttleReadBpsDevice[0]: -8:0 is no device number"],
    ),
    (
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
        &["hugetlb.2MB.limit_in_bytes=0", "hugetlb.2MB.rsvd.limit_in_bytes=0"],
        &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"],
    ),
    (
        r#"{"hugepageLimits":[{"pageSize":"../x","limit":0},{"pageSize":"2MB/../../x","limit":0},{"pageSize":"MB","limit":0},{"pageSize":"2mb","limit":0}]}"#,
        &[
            "!linux.resources.hugepageLimits[0].pageSize: \"../x\" is no page size",
            "!linux.resources.hugepageLimits[1].pageSize: \"2MB/../../x\" is no page size",
            "!linux.resources.hugepageLimits[2].pageSize: \"MB\" is no page size",
            "!linux.resources.hugepageLimits[3].pageSize: \"2mb\" is no page size",
        ],
        &["!", "!", "!", "!"],
    ),
    (
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
        &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
        &["!linux.resources.network.classID: ignored", "!linux.resources.network.priorities[0]: ignored"],
    ),
    (
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4},"a":{"hcaObjects":1}}}"#,
        &["rdma.max=a hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=4"],
        &["rdma.max=a hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=4"],
    ),
    (
        r#"{"rdma":{"a b":{"hcaObjects":1}}}"#,
        &["!linux.resources.rdma: \"a b\" is no device name"],
        &["!linux.resources.rdma: \"a b\" is no device name"],
    ),
    (
        r#"{"unified":{"memory.high":"1\n2","cgroup.max.depth":"3","memory.pressure":"x"},"pids":{"limit":1}}"#,
        &["pids.max=1", "!linux.resources.unified: invalid configuration: cannot use unified on cgroup v1"],
        &["pids.max=1", "cgroup.max.depth=3", "memory.high=1", "memory.high=2", "memory.pressure=x"],
    ),
    (
        r#"{"unified":{"../x.y":"1","nodot":"1","foo.bar":"1",".x":"1"}}"#,
        &["!linux.resources.unified"],
        &[
            "!linux.resources.unified: unified resource \"../x.y\" must be a file name (no slashes)",
            "!linux.resources.unified: unified resource \".x\" must be",
            "!linux.resources.unified: unified resource \"foo.bar\" can't be set: controller \"foo\" not available",
            "!linux.resources.unified: unified resource \"nodot\" must be",
        ],
    ),
    (r#"{"unified":{}}"#, &[], &[]),
];

#[test]
fn every_row_of_the_table() {
    for (resources, on_v1, on_v2) in TABLE {
        for (expected, layout) in [(on_v1, v1()), (on_v2, v2())] {
            let (writes, problems) = lowered(resources, &layout);
            let (wrong, right): (Vec<&str>, Vec<&str>) = expected.iter().partition(|line| line.starts_with('!'));
            let what = format!("{resources} on {:?}", layout.mode);
            assert_eq!(writes, right, "{what}");
            assert_eq!(problems.len(), wrong.len(), "{what}: {problems:?}");
            let all = problems.iter().zip(&wrong).all(|(p, w)| p.starts_with(w.trim_start_matches('!')));
            assert!(all, "{what}: {problems:?}");
        }
    }
}

#[test]
fn shares_become_weights() {
    let vectors = [
        (2, 1),
        (3, 2),
        (10, 4),
        (50, 10),
        (100, 17),
        (102, 17),
        (128, 21),
        (200, 29),
        (256, 35),
        (512, 59),
        (1000, 99),
        (1024, 100),
        (1536, 138),
        (2048, 174),
        (4096, 303),
        (8192, 532),
        (10240, 639),
        (65536, 3023),
        (100_000, 4340),
        (262_144, 10000),
        (1, 1),
        (u64::MAX, 10000),
    ];
    for (shares, weight) in vectors {
        let (writes, _) = lowered(&format!(r#"{{"cpu":{{"shares":{shares}}}}}"#), &v2());
        assert_eq!(writes, [format!("cpu.weight={weight}")], "{shares}");
    }
}

#[test]
fn block_io_weights_scale() {
    for (weight, scaled) in [(10, 1), (100, 910), (300, 2930), (500, 4950), (750, 7475), (1000, 10000)] {
        let (writes, _) = lowered(&format!(r#"{{"blockIO":{{"weight":{weight}}}}}"#), &v2());
        assert_eq!(writes, [format!("io.bfq.weight={weight} or io.weight={scaled}")]);
    }
}

#[test]
fn a_missing_controller_is_named() {
    let bare = Layout { mode: Mode::V1, hierarchies: vec![hierarchy("devices", "/", false, &["devices"])] };
    let v2 = Layout { mode: Mode::V2, hierarchies: vec![hierarchy("", "/", true, &["hugetlb"])] };
    let cases = [
        (
            r#"{"pids":{"limit":3}}"#,
            "linux.resources.pids.limit: cannot set pids limit: container could not join or create cgroup",
            "pids",
        ),
        (
            r#"{"memory":{"limit":3}}"#,
            "linux.resources.memory.limit: cannot set memory limit: container could not",
            "memory",
        ),
        (r#"{"memory":{"swap":3}}"#, "linux.resources.memory.swap: cannot set memory limit", "memory"),
        (r#"{"blockIO":{"weight":30}}"#, "linux.resources.blockIO.weight: cannot set blkio limit", "io"),
    ];
    for (resources, text, on_v2) in cases {
        let (_, problems) = lowered(resources, &bare);
        assert!(problems.len() == 1 && problems[0].starts_with(text), "{problems:?}");
        let (_, problems) = lowered(resources, &v2);
        assert!(problems.len() == 1 && problems[0].contains(&format!("no {on_v2} controller")), "{problems:?}");
    }
    let (_, problems) = planned("{}", &Layout { mode: Mode::Absent, hierarchies: vec![] }, false);
    assert_eq!(problems[0].at, At::field("linux.resources.devices"));
    let (plan, problems) = planned("{}", &Layout { mode: Mode::Absent, hierarchies: vec![] }, true);
    assert_eq!((plan.dirs.len(), problems.len()), (0, 0));
}

#[test]
fn a_hybrid_machine_uses_both_versions() {
    let (plan, problems) = planned(
        r#"{"cgroupsPath":"/x","resources":{"hugepageLimits":[{"pageSize":"2MB","limit":1}],"memory":{"limit":9}}}"#,
        &hybrid(),
        false,
    );
    assert_eq!(problems, []);
    let huge = plan.writes.iter().find(|w| w.controller == "hugetlb").unwrap();
    let dir = &plan.dirs[huge.dir];
    assert_eq!((dir.mount.as_str(), dir.v2, dir.enable, dir.domain), ("unified", true, true, true));
    assert_eq!(huge.file, "hugetlb.2MB.max");
    let (plan, _) = planned("{}", &hybrid(), false);
    assert!(plan.dirs.iter().any(|d| d.v2 && !d.enable), "joined, but not given controllers");
    assert_eq!(plan.devices, None, "v1 has the device rules");
}

#[test]
fn paths() {
    let nested = |own| Layout { mode: Mode::V2, hierarchies: vec![hierarchy("", own, true, &[])] };
    let cases = [
        ("", hybrid(), "memory", "/sys/fs/cgroup/memory/api/x/c1"),
        ("", hybrid(), "cpu", "/sys/fs/cgroup/cpu/c1"),
        ("", hybrid(), "name=systemd", "/sys/fs/cgroup/systemd/c1"),
        ("", hybrid(), "", "/sys/fs/cgroup/unified/c1"),
        ("a/../../b", hybrid(), "memory", "/sys/fs/cgroup/memory/api/x/b"),
        ("/../x", hybrid(), "memory", "/sys/fs/cgroup/memory/x"),
        ("/a//./b/", hybrid(), "", "/sys/fs/cgroup/unified/a/b"),
        ("/x", v2(), "", "/sys/fs/cgroup/x"),
        ("", nested("/user/shell"), "", "/sys/fs/cgroup/user/c1"),
        ("p/q", nested("/shell"), "", "/sys/fs/cgroup/p/q"),
        ("p", nested("/"), "", "/sys/fs/cgroup/p"),
        ("../p", nested("/a/b/c"), "", "/sys/fs/cgroup/a/b/p"),
        ("/p", nested("/a/b/c"), "", "/sys/fs/cgroup/p"),
    ];
    for (asked, layout, key, expected) in cases {
        let (plan, problems) = planned(&format!(r#"{{"cgroupsPath":{asked:?}}}"#), &layout, false);
        assert_eq!(problems, [], "{asked}");
        assert_eq!(plan.paths().get(key).map(String::as_str), Some(expected), "{asked} {key}");
    }
    for root in ["/", ".", "/..", "a/..", "/a/../.."] {
        let (plan, problems) = planned(&format!(r#"{{"cgroupsPath":{root:?}}}"#), &hybrid(), false);
        assert_eq!((plan.dirs.len(), problems.len()), (0, 1), "{root}");
        assert_eq!(problems[0].level, Level::Error);
    }
}

#[test]
fn controllers_mounted_together_share_a_directory() {
    let hierarchies = vec![
        hierarchy("cpu,cpuacct", "/", false, &["cpu", "cpuacct"]),
        hierarchy("devices", "/", false, &["devices"]),
        hierarchy("mine", "/", false, &["name=mine"]),
    ];
    let (plan, problems) = planned(
        r#"{"cgroupsPath":"/x","resources":{"cpu":{"shares":5}}}"#,
        &Layout { mode: Mode::V1, hierarchies },
        false,
    );
    assert_eq!(problems, []);
    assert_eq!(
        plan.paths().into_iter().collect::<Vec<_>>(),
        [
            ("cpu".to_owned(), "/sys/fs/cgroup/cpu,cpuacct/x".to_owned()),
            ("cpuacct".to_owned(), "/sys/fs/cgroup/cpu,cpuacct/x".to_owned()),
            ("devices".to_owned(), "/sys/fs/cgroup/devices/x".to_owned()),
        ]
    );
    let shares = plan.writes.iter().find(|w| w.file == "cpu.shares").unwrap();
    assert_eq!(plan.dirs[shares.dir].mount, "cpu,cpuacct");
}

#[test]
fn writes_follow_the_order_of_the_contract() {
    let resources = r#"{"resources":{"unified":{"cgroup.max.depth":"1"},"cpu":{"shares":5,"cpus":"0"},"memory":{"limit":9},"pids":{"limit":1},
        "blockIO":{"weight":10},"hugepageLimits":[{"pageSize":"2MB","limit":1}]}}"#;
    let order = |layout: &Layout, resources: &str| {
        let (plan, _) = planned(resources, layout, false);
        let mut names: Vec<String> = plan.writes.iter().map(|w| w.controller.clone()).collect();
        names.dedup();
        names
    };
    assert_eq!(order(&v2(), resources), ["pids", "memory", "io", "cpu", "cpuset", "hugetlb", "cgroup"]);
    let v1_only = resources.replace(r#""unified":{"cgroup.max.depth":"1"},"#, "");
    assert_eq!(order(&v1(), &v1_only), ["cpuset", "devices", "memory", "cpu", "pids", "blkio", "hugetlb"]);
}

#[test]
fn rootless_tolerates_only_what_nobody_asked_for() {
    let (plan, _) = planned("{}", &v2(), true);
    assert_eq!((plan.tolerate_failure, plan.tolerate_devices, plan.limited), (true, true, None));
    let (plan, _) = planned(r#"{"cgroupsPath":"/x"}"#, &v2(), true);
    assert!(!plan.tolerate_failure);
    let (plan, _) = planned(r#"{"resources":{"pids":{"limit":5}}}"#, &v2(), true);
    assert_eq!((plan.tolerate_failure, plan.limited), (true, Some(At::field("linux.resources.pids.limit"))));
    let (plan, _) = planned("{}", &v2(), false);
    assert_eq!((plan.tolerate_failure, plan.tolerate_devices), (false, false));
}

#[test]
fn plans_print_one_line_each() {
    let (plan, _) = planned(r#"{"cgroupsPath":"/x","resources":{"memory":{"limit":268435456}}}"#, &v2(), false);
    let expected = "\
linux.cgroupsPath                    /sys/fs/cgroup/x
linux.resources.memory.limit         memory.max = 268435456
linux.resources.devices              device program of 24 instructions";
    assert_eq!(plan.to_string(), expected);
}
