use super::*;
use crate::error::Level;
use crate::plan::systemd::Manager;

pub(super) fn hierarchy(dir: &str, own: &str, v2: bool, controllers: &[&str]) -> Hierarchy {
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

pub(super) fn v1() -> Layout {
    let mut hierarchies: Vec<Hierarchy> = ALL_V1.iter().map(|name| hierarchy(name, "/", false, &[name])).collect();
    hierarchies.push(hierarchy("systemd", "/", false, &["name=systemd"]));
    Layout { mode: Mode::V1, hierarchies }
}

pub(super) fn v2() -> Layout {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    Layout { mode: Mode::V2, hierarchies: vec![hierarchy("", "/", true, &controllers)] }
}

/// Like the machine that this was written on.
pub(super) fn hybrid() -> Layout {
    let mut hierarchies: Vec<Hierarchy> = ["cpu", "cpuset", "devices", "freezer", "pids"]
        .iter()
        .map(|name| hierarchy(name, "/", false, &[name]))
        .collect();
    hierarchies.push(hierarchy("memory", "/api/x", false, &["memory"]));
    hierarchies.push(hierarchy("systemd", "/", false, &["name=systemd"]));
    hierarchies.push(hierarchy("unified", "/", true, &["hugetlb"]));
    Layout { mode: Mode::Hybrid, hierarchies }
}

pub(super) fn spec(linux: &str) -> Spec {
    let mut spec = Spec::default();
    spec.set_linux(Some(serde_json::from_str(linux).unwrap()));
    spec
}

pub(super) fn planned(linux: &str, layout: &Layout, rootless: bool) -> (Plan, Vec<Problem>) {
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

fn on_systemd(linux: &str, layout: Layout, version: u32, user: bool) -> (Plan, Vec<Problem>) {
    let control_group = if user { "/user.slice/user-7.slice/user@7.service/" } else { "" };
    let manager = Manager { version, control_group: control_group.to_owned(), user };
    let host = Host { cgroups: layout, manager: Some(manager), rootless_cgroups: user, ..Host::privileged() };
    let mut spec = spec(linux);
    let annotations = [("org.systemd.property.KillSignal".to_owned(), "9".to_owned())];
    spec.set_annotations(Some(annotations.into()));
    let mut problems = Vec::new();
    let plan = plan("c1", &spec, &host, &mut problems);
    (plan, problems)
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.unit.iter().flat_map(|unit| &unit.properties).map(|p| p.name.as_str()).collect()
}

#[test]
fn what_systemd_is_asked_for() {
    let linux = r#"{"cgroupsPath":"a-b.slice:p:n","resources":{"unified":{"memory.oom.group":"0"},"pids":{"limit":3},"memory":{"limit":9}}}"#;
    let start = ["Description", "Slice", "Delegate", "MemoryAccounting", "CPUAccounting"];
    let then = ["TasksAccounting", "DefaultDependencies", "KillSignal"];
    let end = ["DevicePolicy", "DeviceAllow", "DeviceAllow"];
    let (plan, problems) = on_systemd(linux, v2(), 257, false);
    assert_eq!(problems, []);
    let limits = ["MemoryMax", "TasksMax"];
    assert_eq!(names(&plan), [&start[..], &["IOAccounting"], &then, &["OOMPolicy"], &end, &limits].concat());
    assert_eq!(plan.unit.as_ref().map(|unit| (unit.name.as_str(), unit.holds_processes)), Some(("p-n.scope", true)));
    assert_eq!(plan.dirs[0].absolute(), "/sys/fs/cgroup/a.slice/a-b.slice/p-n.scope");
    // The files have the limits as well.
    let files: Vec<&str> = plan.writes.iter().map(|w| w.file.as_str()).collect();
    assert_eq!(files, ["pids.max", "memory.max", "memory.oom.group"]);
    assert!(plan.devices.is_some());
    // Scopes have the policy since 253.
    let (plan, _) = on_systemd(linux, v2(), 252, false);
    assert_eq!(names(&plan), [&start[..], &["IOAccounting"], &then, &end, &limits].concat());
    // One path in every hierarchy.
    let (plan, problems) = on_systemd(&linux.replace("unified", "rdma_"), v1(), 247, false);
    assert_eq!(problems, []);
    assert_eq!(names(&plan), [&start[..], &["BlockIOAccounting"], &then, &end, &["MemoryLimit", "TasksMax"]].concat());
    assert_eq!(plan.dirs.len(), 15);
    assert!(plan.dirs.iter().all(|dir| dir.path == "/a.slice/a-b.slice/p-n.scope"));
    let (plan, _) = on_systemd("{}", hybrid(), 247, false);
    assert!(
        plan.dirs.iter().all(|dir| dir.path == "/system.slice/runc-c1.scope")
            && names(&plan).contains(&"BlockIOAccounting")
    );
}

#[test]
fn a_slice_is_a_unit_without_processes() {
    let (plan, _) = on_systemd(
        r#"{"cgroupsPath":"a.slice:p:a-b.slice","resources":{"unified":{"memory.oom.group":"1"}}}"#,
        v2(),
        257,
        false,
    );
    let unit = plan.unit.as_ref().unwrap();
    assert_eq!((unit.name.as_str(), unit.holds_processes), ("a-b.slice", false));
    assert_eq!(unit.properties[1].to_string(), format!("{:<36} Wants = [a.slice]", "linux.cgroupsPath"));
    assert!(!names(&plan).iter().any(|name| ["Slice", "Delegate", "OOMPolicy"].contains(name)));
    assert_eq!(plan.dirs[0].path, "/a.slice/a-b.slice");
}

#[test]
fn a_users_systemd() {
    let (plan, problems) = on_systemd("{}", v2(), 257, true);
    assert_eq!(problems, []);
    assert_eq!(plan.dirs[0].path, "/user.slice/user-7.slice/user@7.service/user.slice/runc-c1.scope");
    // The unit is asked for in any case, so its cgroup is not left out; what he may not do with devices is.
    assert_eq!((plan.tolerate_failure, plan.tolerate_devices), (false, true));
    for layout in [v1(), hybrid()] {
        let (plan, problems) = on_systemd("{}", layout, 247, true);
        assert!(plan.unit.is_none() && plan.dirs.is_empty());
        let text = "linux.cgroupsPath: cannot use rootless systemd cgroups manager on cgroup v1";
        assert!(problems.len() == 1 && problems[0].to_string().starts_with(text), "{problems:?}");
    }
}

#[test]
fn where_there_can_be_no_unit() {
    let absent = Layout { mode: Mode::Absent, hierarchies: vec![] };
    let cases = [
        ("{}", absent, "systemd cannot make a cgroup: there is no cgroup file system at /sys/fs/cgroup"),
        (
            r#"{"cgroupsPath":"/docker/ab"}"#,
            v2(),
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/docker/ab\" instead",
        ),
        (r#"{"cgroupsPath":"x:y:z"}"#, v2(), "invalid slice name: x"),
        (r#"{"cgroupsPath":"::a/b"}"#, v2(), "invalid unit name \"a/b.scope\": it contains '/'"),
    ];
    for (linux, layout, text) in cases {
        let (plan, problems) = on_systemd(linux, layout, 257, false);
        assert_eq!((plan.unit, plan.dirs.len(), problems.len()), (None, 0, 1), "{problems:?}");
        assert_eq!((problems[0].at, problems[0].level), (PATH, Level::Error));
        assert!(problems[0].text.starts_with(text), "{problems:?}");
    }
}

/// The path of one driver is no path of the other's.
#[test]
fn a_units_name_without_systemd() {
    for (path, told) in
        [("system.slice:docker:ab", 1), (":runc:ab", 0), ("a:b", 0), ("x/a.slice:b:c", 0), ("a.slice", 0)]
    {
        let (plan, problems) = planned(&format!(r#"{{"cgroupsPath":"{path}"}}"#), &v2(), false);
        assert_eq!(plan.dirs[0].path, format!("/{path}"));
        assert_eq!(problems.iter().filter(|p| p.level == Level::Warning).count(), told, "{path}: {problems:?}");
        assert_eq!(problems.len(), told);
    }
}
