use super::super::{Hierarchy, How, Mode};
use super::*;

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// Old, asked, stored, written.
const RULES: &[(&str, &str, &str, &str)] = &[
    // absent is kept, and not written
    (
        r#"{"memory":{"limit":64,"reservation":32,"swappiness":3,"disableOOMKiller":true},"cpu":{"shares":7,"realtimePeriod":9,"realtimeRuntime":8}}"#,
        r#"{"memory":{"reservation":40},"cpu":{"realtimePeriod":10}}"#,
        r#"{"memory":{"limit":64,"reservation":40,"swappiness":3,"disableOOMKiller":true},"cpu":{"shares":7,"realtimePeriod":10,"realtimeRuntime":8}}"#,
        r#"{"memory":{"reservation":40},"cpu":{"realtimePeriod":10}}"#,
    ),
    (
        r#"{"memory":{"limit":64},"blockIO":{"weight":10}}"#,
        r#"{}"#,
        r#"{"memory":{"limit":64},"blockIO":{"weight":10}}"#,
        r#"{}"#,
    ),
    // except for these, which are forgotten
    (
        r#"{"cpu":{"cpus":"0","mems":"0","burst":5,"idle":1,"shares":9},"pids":{"limit":9},"unified":{"memory.high":"1"}}"#,
        r#"{}"#,
        r#"{"cpu":{"shares":9}}"#,
        r#"{}"#,
    ),
    (
        r#"{}"#,
        r#"{"cpu":{"cpus":"0","mems":"1","burst":0},"pids":{"limit":0},"unified":{"memory.high":"1"}}"#,
        r#"{"cpu":{"cpus":"0","mems":"1","burst":0},"pids":{"limit":0},"unified":{"memory.high":"1"}}"#,
        r#"{"cpu":{"cpus":"0","mems":"1","burst":0},"pids":{"limit":0},"unified":{"memory.high":"1"}}"#,
    ),
    // quota and period
    (
        r#"{"cpu":{"quota":5,"period":6}}"#,
        r#"{"cpu":{"quota":7}}"#,
        r#"{"cpu":{"quota":7,"period":6}}"#,
        r#"{"cpu":{"quota":7,"period":6}}"#,
    ),
    (
        r#"{"cpu":{"quota":5,"period":6}}"#,
        r#"{"cpu":{"period":7}}"#,
        r#"{"cpu":{"quota":5,"period":7}}"#,
        r#"{"cpu":{"quota":5,"period":7}}"#,
    ),
    (
        r#"{"cpu":{"quota":5,"period":6}}"#,
        r#"{"cpu":{"quota":-1,"period":8}}"#,
        r#"{"cpu":{"quota":-1,"period":8}}"#,
        r#"{"cpu":{"quota":-1,"period":8}}"#,
    ),
    (
        r#"{"cpu":{"quota":5,"period":6}}"#,
        r#"{"cpu":{"quota":0,"shares":3}}"#,
        r#"{"cpu":{"shares":3}}"#,
        r#"{"cpu":{"shares":3}}"#,
    ),
    (
        r#"{"cpu":{"quota":5,"period":6}}"#,
        r#"{"pids":{"limit":3}}"#,
        r#"{"cpu":{},"pids":{"limit":3}}"#,
        r#"{"pids":{"limit":3}}"#,
    ),
    // memory and swap
    (
        r#"{"memory":{"limit":5,"swap":9}}"#,
        r#"{"memory":{"limit":6}}"#,
        r#"{"memory":{"limit":6,"swap":9}}"#,
        r#"{"memory":{"limit":6,"swap":9}}"#,
    ),
    (
        r#"{"memory":{"limit":5,"swap":9}}"#,
        r#"{"memory":{"swap":8}}"#,
        r#"{"memory":{"limit":5,"swap":8}}"#,
        r#"{"memory":{"limit":5,"swap":8}}"#,
    ),
    (
        r#"{"memory":{"limit":5,"swap":9}}"#,
        r#"{"memory":{"limit":-1}}"#,
        r#"{"memory":{"limit":-1}}"#,
        r#"{"memory":{"limit":-1}}"#,
    ),
    (
        r#"{"memory":{"limit":5,"swap":9}}"#,
        r#"{"memory":{"limit":-1,"swap":10}}"#,
        r#"{"memory":{"limit":-1,"swap":10}}"#,
        r#"{"memory":{"limit":-1,"swap":10}}"#,
    ),
    // 0 is "not set"
    (
        r#"{"memory":{"limit":5,"swap":9,"reservation":4},"cpu":{"shares":2},"blockIO":{"weight":20}}"#,
        r#"{"memory":{"limit":0,"swap":0,"reservation":0},"cpu":{"shares":0,"realtimePeriod":0},"blockIO":{"weight":0}}"#,
        r#"{"memory":{"limit":5,"swap":9,"reservation":4},"cpu":{"shares":2},"blockIO":{"weight":20}}"#,
        r#"{"memory":{"reservation":0},"cpu":{"shares":0,"realtimePeriod":0},"blockIO":{"weight":0}}"#,
    ),
    // idle takes the shares with it
    (r#"{"cpu":{"shares":9}}"#, r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"idle":1}}"#),
    (
        r#"{"cpu":{"shares":9,"idle":1}}"#,
        r#"{"cpu":{"idle":0,"shares":8}}"#,
        r#"{"cpu":{"idle":0,"shares":8}}"#,
        r#"{"cpu":{"idle":0,"shares":8}}"#,
    ),
    // the check is kept, until it is asked not to be made
    (
        r#"{"memory":{"checkBeforeUpdate":true}}"#,
        r#"{"memory":{"limit":3}}"#,
        r#"{"memory":{"limit":3,"checkBeforeUpdate":true}}"#,
        r#"{"memory":{"limit":3}}"#,
    ),
    (
        r#"{"memory":{"checkBeforeUpdate":true}}"#,
        r#"{"memory":{"checkBeforeUpdate":false}}"#,
        r#"{"memory":{"checkBeforeUpdate":false}}"#,
        r#"{"memory":{"checkBeforeUpdate":false}}"#,
    ),
    // lists by their subject; what was asked is written as it was asked
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10},{"major":8,"minor":1,"weight":11}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}]}}"#,
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":12},{"major":9,"minor":0,"weight":13},{"major":8,"minor":1,"weight":14}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":2}]}}"#,
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10},{"major":8,"minor":1,"weight":14},{"major":9,"minor":0,"weight":13}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":2}]}}"#,
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":12},{"major":9,"minor":0,"weight":13},{"major":8,"minor":1,"weight":14}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":2}]}}"#,
    ),
    (
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":2}],"rdma":{"a":{"hcaHandles":1},"b":{"hcaObjects":2}},"network":{"classID":1,"priorities":[{"name":"lo","priority":1}]}}"#,
        r#"{"hugepageLimits":[{"pageSize":"1GB","limit":3}],"rdma":{"b":{"hcaHandles":3}},"network":{"priorities":[{"name":"lo","priority":2},{"name":"x","priority":3}]}}"#,
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":3}],"rdma":{"a":{"hcaHandles":1},"b":{"hcaHandles":3}},"network":{"classID":1,"priorities":[{"name":"lo","priority":2},{"name":"x","priority":3}]}}"#,
        r#"{"hugepageLimits":[{"pageSize":"1GB","limit":3}],"rdma":{"b":{"hcaHandles":3}},"network":{"priorities":[{"name":"lo","priority":2},{"name":"x","priority":3}]}}"#,
    ),
    // devices: all of them or none
    (
        r#"{"devices":[{"allow":true,"access":"r"}]}"#,
        r#"{"devices":[]}"#,
        r#"{"devices":[{"allow":true,"access":"r"}]}"#,
        r#"{}"#,
    ),
    (
        r#"{"devices":[{"allow":true,"access":"r"}]}"#,
        r#"{"devices":[{"allow":false,"access":"w"}]}"#,
        r#"{"devices":[{"allow":false,"access":"w"}]}"#,
        r#"{"devices":[{"allow":false,"access":"w"}]}"#,
    ),
];

#[test]
fn what_is_kept_and_what_is_written() {
    for (old, asked, stored, written) in RULES {
        let merged = merge(&resources(old), &resources(asked));
        assert_eq!(merged.stored, resources(stored), "stored: {old} {asked}");
        assert_eq!(merged.written, resources(written), "written: {old} {asked}");
    }
}

fn layout(mode: Mode) -> Layout {
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let all = ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb"];
    let hierarchies = if mode == Mode::V2 {
        vec![Hierarchy {
            dir: String::new(),
            controllers: list(&["memory", "cpu", "io", "pids"]),
            own: "/".into(),
            v2: true,
        }]
    } else {
        let v1 =
            |name: &&str| Hierarchy { dir: (*name).into(), controllers: list(&[name]), own: "/".into(), v2: false };
        all.iter().map(v1).collect()
    };
    Layout { mode, hierarchies }
}

fn paths(mode: Mode) -> BTreeMap<String, String> {
    if mode == Mode::V2 {
        return BTreeMap::from([(String::new(), "/sys/fs/cgroup/x/c".to_owned())]);
    }
    ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb"]
        .map(|key| (key.to_owned(), format!("/sys/fs/cgroup/{key}/x/c")))
        .into()
}

fn planned(mode: Mode, old: &str, asked: &str, facts: &Facts) -> (Vec<String>, Vec<String>) {
    let (layout, mut problems) = (layout(mode), Vec::new());
    let merged = merge(&resources(old), &resources(asked));
    let plan = plan(&merged, dirs(&paths(mode), &layout), &layout, (facts, false), &mut problems);
    let line = |w: &Write| format!("{}={}", w.file, w.value);
    (plan.writes.iter().map(line).collect(), problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_directories_are_those_of_the_record() {
    let dirs = dirs(&paths(Mode::V1), &layout(Mode::V1));
    assert!(dirs.iter().any(|d| d.absolute() == "/sys/fs/cgroup/blkio/x/c" && d.keys == ["blkio"] && !d.v2));
    assert_eq!(dirs.len(), 6);
    let one = super::dirs(&paths(Mode::V2), &layout(Mode::V2));
    assert!(one.len() == 1 && one[0].v2 && one[0].absolute() == "/sys/fs/cgroup/x/c");
    assert_eq!(super::dirs(&BTreeMap::new(), &layout(Mode::V1)), []);
}

#[test]
fn memory_and_swap_on_v1_never_cross() {
    for (now, asked, order) in [
        (200, r#"{"limit":50,"swap":60}"#, ["limit", "memsw"]),
        (200, r#"{"limit":200,"swap":300}"#, ["limit", "memsw"]),
        (200, r#"{"limit":201,"swap":300}"#, ["memsw", "limit"]),
        (200, r#"{"limit":-1,"swap":-1}"#, ["memsw", "limit"]),
        (200, r#"{"limit":-1}"#, ["memsw", "limit"]),
        (200, r#"{"limit":100,"swap":-1}"#, ["limit", "memsw"]),
        (9_223_372_036_854_771_712, r#"{"limit":100,"swap":100}"#, ["limit", "memsw"]),
    ] {
        let facts = Facts { limit_with_swap: Some(now), ..Facts::default() };
        let (writes, problems) = planned(Mode::V1, "{}", &format!(r#"{{"memory":{asked}}}"#), &facts);
        let names: Vec<&str> = writes.iter().map(|w| if w.contains("memsw") { "memsw" } else { "limit" }).collect();
        assert_eq!((names.as_slice(), problems.len()), (&order[..], 0), "{now} {asked}: {writes:?}");
    }
    // A kernel without swap accounting.
    let (writes, _) = planned(Mode::V1, "{}", r#"{"memory":{"limit":-1}}"#, &Facts::default());
    assert!(writes[0].starts_with(LIMIT));
}

#[test]
fn files_that_hold_two_values_keep_the_other() {
    let facts = Facts { bandwidth: Some("5000 20000".into()), ..Facts::default() };
    for (old, asked, file) in [
        ("{}", r#"{"cpu":{"quota":7000}}"#, "cpu.max=7000 20000"),
        ("{}", r#"{"cpu":{"period":30000}}"#, "cpu.max=5000 30000"),
        (r#"{"cpu":{"quota":8000,"period":40000}}"#, r#"{"cpu":{"period":30000}}"#, "cpu.max=8000 30000"),
        (r#"{"cpu":{"quota":8000,"period":40000}}"#, r#"{"cpu":{"quota":-1}}"#, "cpu.max=max 40000"),
    ] {
        assert_eq!(planned(Mode::V2, old, asked, &facts).0, [file], "{old} {asked}");
    }
    let none = Facts { bandwidth: Some("max 100000".into()), ..Facts::default() };
    assert_eq!(planned(Mode::V2, "{}", r#"{"cpu":{"period":30000}}"#, &none).0, ["cpu.max=max 30000"]);
    assert_eq!(planned(Mode::V2, "{}", r#"{"cpu":{"quota":3000}}"#, &none).0, ["cpu.max=3000 100000"]);
    let (writes, _) = planned(Mode::V2, r#"{"memory":{"limit":100,"swap":300}}"#, r#"{"memory":{"limit":150}}"#, &none);
    assert_eq!(writes, ["memory.swap.max=150", "memory.max=150"]);
    let (writes, _) = planned(Mode::V2, "{}", r#"{"memory":{"limit":-1}}"#, &none);
    assert_eq!(writes, ["memory.swap.max=max", "memory.max=max"]);
}

#[test]
fn a_limit_below_the_usage_is_refused_where_that_was_asked_for() {
    let facts = Facts { usage: Some(1000), swap_usage: Some(500), ..Facts::default() };
    let checked = r#"{"memory":{"checkBeforeUpdate":true}}"#;
    let limit = "linux.resources.memory.limit: rejecting memory limit";
    for (old, asked, expected) in [
        (checked, r#"{"limit":1000}"#, vec![format!("{limit} 1000 <= usage 1000")]),
        (checked, r#"{"limit":1001}"#, vec![]),
        (checked, r#"{"limit":-1}"#, vec![]),
        (
            checked,
            r#"{"limit":1001,"swap":1500}"#,
            vec!["linux.resources.memory.swap: rejecting memory+swap limit 1500 <= usage 1500".into()],
        ),
        ("{}", r#"{"limit":900}"#, vec![]),
        ("{}", r#"{"limit":900,"checkBeforeUpdate":true}"#, vec![format!("{limit} 900 <= usage 1000")]),
        (checked, r#"{"limit":900,"checkBeforeUpdate":false}"#, vec![]),
        (checked, r#"{"reservation":900}"#, vec![]),
        // The one that is named to callers comes first.
        (
            checked,
            r#"{"limit":900,"swap":950}"#,
            vec![
                "linux.resources.memory.swap: rejecting memory+swap limit 950 <= usage 1500".into(),
                format!("{limit} 900 <= usage 1000"),
            ],
        ),
    ] {
        let (_, problems) = planned(Mode::V2, old, &format!(r#"{{"memory":{asked}}}"#), &facts);
        assert_eq!(problems, expected, "{old} {asked}");
    }
}

#[test]
fn problems_name_the_place_in_what_was_asked() {
    let old =
        r#"{"memory":{"limit":100,"swap":200},"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}]}}"#;
    for (asked, says) in [
        (r#"{"memory":{"limit":300}}"#, "linux.resources.memory.swap: memory+swap limit should be >= memory limit"),
        (r#"{"cpu":{"idle":2}}"#, "linux.resources.cpu.idle"),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}"#,
            "linux.resources.blockIO.throttleReadBpsDevice[0]",
        ),
        (
            r#"{"unified":{"memory.high":"1"}}"#,
            "linux.resources.unified: invalid configuration: cannot use unified on cgroup v1",
        ),
    ] {
        let (_, problems) = planned(Mode::V1, old, asked, &Facts::default());
        assert!(problems.len() == 1 && problems[0].starts_with(says), "{asked}: {problems:?}");
    }
}

#[test]
fn what_was_before_can_be_written_again() {
    for (file, value, before, text) in [
        ("pids.max", "7", "max", Some("max")),
        ("cpu.max", "1000 2000", "max 100000", Some("max 100000")),
        ("cpuset.cpus", "0", "", Some("\n")),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3", Some("0")),
        ("blkio.throttle.read_bps_device", "8:0 5", "8:16 1\n8:0 4", Some("8:0 4")),
        ("blkio.throttle.read_bps_device", "8:1 5", "8:16 1\n8:0 4", Some("8:1 0")),
        (
            "io.max",
            "8:0 rbps=5",
            "8:0 rbps=max wbps=3 riops=max wiops=max",
            Some("8:0 rbps=max wbps=3 riops=max wiops=max"),
        ),
        ("io.max", "8:0 rbps=5", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
        ("io.weight", "50", "default 100\n8:0 200", Some("100")),
        ("io.bfq.weight", "8:0 50", "default 100", Some("8:0 default")),
        ("blkio.bfq.weight", "50", "100", Some("100")),
        ("blkio.weight_device", "8:0 50", "8:0 70", Some("8:0 70")),
        ("rdma.max", "mlx hca_handle=3", "mlx hca_handle=max hca_object=2", Some("mlx hca_handle=max hca_object=2")),
        ("net_prio.ifpriomap", "lo 3", "lo 0\neth0 1", Some("lo 0")),
        ("memory.stat", "1", "anon 1\nfile 2", None),
    ] {
        assert_eq!(undo(file, value, before).as_deref(), text, "{file} {value}");
    }
}

/// Whatever is kept from one update to the next is there again when state.json is read.
#[test]
fn resources_survive_the_record() {
    for (_, _, stored, _) in RULES {
        let all = resources(stored);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(resources(&text), all, "{text}");
    }
}

#[test]
fn a_period_alone_is_what_a_refusal_is_about() {
    let facts = Facts { bandwidth: Some("5000 20000".into()), ..Facts::default() };
    for (old, asked, at) in [
        ("{}", r#"{"cpu":{"period":9}}"#, "period"),
        (r#"{"cpu":{"quota":7,"period":8}}"#, r#"{"cpu":{"period":9}}"#, "period"),
        (r#"{"cpu":{"quota":7,"period":8}}"#, r#"{"cpu":{"quota":9}}"#, "quota"),
    ] {
        let (layout, mut problems) = (layout(Mode::V2), Vec::new());
        let merged = merge(&resources(old), &resources(asked));
        let plan = plan(&merged, dirs(&paths(Mode::V2), &layout), &layout, (&facts, false), &mut problems);
        assert_eq!(plan.writes[0].at.to_string(), format!("linux.resources.cpu.{at}"), "{old} {asked}");
    }
}

#[test]
fn a_write_that_may_fail_for_now_is_marked() {
    let (layout, mut problems) = (layout(Mode::V1), Vec::new());
    let merged = merge(&LinuxResources::default(), &resources(r#"{"cpu":{"period":10000,"quota":3000}}"#));
    let plan = plan(&merged, dirs(&paths(Mode::V1), &layout), &layout, (&Facts::default(), false), &mut problems);
    let how: Vec<(&str, &How)> = plan.writes.iter().map(|w| (w.file.as_str(), &w.how)).collect();
    assert_eq!(how, [("cpu.cfs_period_us", &How::Again), ("cpu.cfs_quota_us", &How::Must)]);
}

/// Systemd hears of what is written and of nothing else, and the file says what systemd makes of it.
#[test]
fn a_manager_of_units_is_told() {
    let manager = Manager { version: 257, control_group: "/".into(), user: false };
    let told = |asked: &str| {
        let (layout, mut problems) = (layout(Mode::V2), Vec::new());
        let old = r#"{"memory":{"limit":5},"cpu":{"shares":7},"devices":[{"allow":false,"access":"rwm"}]}"#;
        let facts = Facts { bandwidth: Some("max 30000".into()), ..Facts::default() };
        let merged = merge(&resources(old), &resources(asked));
        let names: Vec<String> =
            properties(&merged, &layout, &facts, &manager, &mut problems).into_iter().map(|p| p.name).collect();
        let dirs = dirs(&paths(Mode::V2), &layout);
        let plan = plan(&merged, dirs, &layout, (&facts, true), &mut problems);
        assert_eq!(problems, []);
        (names, plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect::<Vec<_>>())
    };
    assert_eq!(told("{}"), (vec![], vec![]));
    assert_eq!(told(r#"{"devices":[]}"#), (vec![], vec![]));
    assert_eq!(told(r#"{"pids":{"limit":5}}"#), (vec!["TasksMax".to_owned()], vec!["pids.max=5".to_owned()]));
    let (names, writes) = told(r#"{"cpu":{"quota":10001}}"#);
    assert!(names.iter().any(|name| name == "CPUQuotaPerSecUSec"), "{names:?}");
    assert_eq!(writes, ["cpu.max=10200 30000"], "34 % of the time");
    let (names, _) = told(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert!(names.iter().any(|name| name == "DevicePolicy"), "{names:?}");
}

#[test]
fn a_manager_of_units_hears_of_the_old_values_again() {
    for (old, asked, back) in [
        (
            "{}",
            r#"{"memory":{"limit":5},"pids":{"limit":3}}"#,
            r#"{"memory":{"limit":-1,"swap":-1},"pids":{"limit":-1}}"#,
        ),
        (r#"{"memory":{"limit":6}}"#, r#"{"memory":{"limit":5,"swap":7}}"#, r#"{"memory":{"limit":6}}"#),
        (r#"{"memory":{"limit":6},"pids":{"limit":4}}"#, r#"{"pids":{"limit":3}}"#, r#"{"pids":{"limit":4}}"#),
        ("{}", r#"{"cpu":{"quota":5000,"shares":3}}"#, r#"{"cpu":{"quota":-1,"shares":1024}}"#),
        (r#"{"cpu":{"quota":1,"period":2}}"#, r#"{"cpu":{"quota":5000}}"#, r#"{"cpu":{"quota":1,"period":2}}"#),
        ("{}", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, r#"{"devices":[]}"#),
    ] {
        let old = resources(old);
        let back = resources(back);
        assert_eq!(before(&old, &merge(&old, &resources(asked)), &Facts::default()).written, back, "{asked}");
    }
}

/// Of what an update has had the record forget, the kernel knows: systemd would lift a limit otherwise, now or when it is
/// loaded again.
#[test]
fn a_manager_of_units_lifts_no_limit_that_was_forgotten() {
    let manager = Manager { version: 257, control_group: "/".into(), user: false };
    for (mode, bandwidth) in [(Mode::V1, "50000 200000"), (Mode::V2, "50000 200000"), (Mode::V1, "-1 200000")] {
        let facts = Facts { bandwidth: Some(bandwidth.into()), tasks: Some("77".into()), ..Facts::default() };
        let quota = bandwidth.split_once(' ').unwrap().0;
        let (layout, mut problems) = (layout(mode), Vec::new());
        let old = merge(&resources(r#"{"cpu":{"quota":50000,"period":200000},"pids":{"limit":77}}"#), &resources("{}"));
        let merged = merge(&old.stored, &resources(r#"{"cpu":{"period":100000},"pids":{"limit":5}}"#));
        let told = |merged: &Merged, problems: &mut Vec<Problem>| -> Vec<String> {
            let told = properties(merged, &layout, &facts, &manager, problems);
            told.iter().map(|p| format!("{}={:?}", p.name, p.value)).collect()
        };
        let of_a_second = |n: &str| format!("CPUQuotaPerSecUSec=U64({n})");
        let has =
            |list: &[String], line: String| assert!(list.contains(&line), "{mode:?} {bandwidth}: {line} in {list:?}");
        let none = u64::MAX.to_string();
        let unlimited = quota == "-1";
        has(&told(&merged, &mut problems), of_a_second(if unlimited { &none } else { "500000" }));
        let back = told(&before(&old.stored, &merged, &facts), &mut problems);
        has(&back, of_a_second(if unlimited { &none } else { "250000" }));
        has(&back, "TasksMax=U64(77)".to_owned());
        assert_eq!(problems, []);
    }
}
