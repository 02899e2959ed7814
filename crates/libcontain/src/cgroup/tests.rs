//! On the machine's own hierarchies: each test makes cgroups below a path of its own and removes them.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use oci_spec::runtime::Spec;

use super::*;
use crate::host::Host;
use crate::plan::cgroup::{Layout, Mode as Mounted, Plan, plan};

/// A machine with these cgroups.
fn on(layout: &Layout, rootless: bool) -> Host {
    Host { cgroups: layout.clone(), rootless_cgroups: rootless, ..Host::privileged() }
}

/// A path nobody else uses, whose cgroups are gone when it is dropped, however the test ends.
struct Place {
    path: String,
    layout: Layout,
}

impl Place {
    fn new() -> Option<Place> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let layout = probe().unwrap();
        if layout.mode == Mounted::Absent {
            eprintln!("skipped: no cgroups at {ROOT}");
            return None;
        }
        let path = format!("/cntr-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Place { path, layout })
    }

    fn plan(&self, resources: &str) -> Plan {
        self.plan_at("/c", resources)
    }

    fn plan_at(&self, below: &str, resources: &str) -> Plan {
        let linux = format!(r#"{{"cgroupsPath":"{}{below}","resources":{resources}}}"#, self.path);
        let mut spec = Spec::default();
        spec.set_linux(Some(serde_json::from_str(&linux).unwrap()));
        let mut problems = Vec::new();
        let plan = plan("c", &spec, &on(&self.layout, false), &mut problems);
        assert_eq!(problems, []);
        plan
    }

    /// With the key that state.json has for it.
    fn dirs(&self) -> impl Iterator<Item = (String, String)> {
        self.layout.hierarchies.iter().map(|h| match h.dir.as_str() {
            "" => (String::new(), format!("{ROOT}{}", self.path)),
            "unified" => (String::new(), format!("{ROOT}/unified{}", self.path)),
            dir => (dir.to_owned(), format!("{ROOT}/{dir}{}", self.path)),
        })
    }

    /// The directories that are there for this path.
    fn left(&self) -> Vec<String> {
        self.dirs().map(|(_, dir)| dir).filter(|dir| std::fs::metadata(dir).is_ok()).collect()
    }

    fn v1(&self) -> bool {
        self.layout.mode != Mounted::V2
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let rest = Cgroup::from_paths(&self.dirs().collect());
        let _ = rest.kill_all();
        let _ = rest.remove();
    }
}

/// What the cgroup names, in the form of state.json.
fn paths(cgroup: &Cgroup) -> BTreeMap<String, String> {
    let keys = |m: &Member| if m.v2 { vec![String::new()] } else { m.keys.clone() };
    cgroup.members.iter().flat_map(|m| keys(m).into_iter().map(|key| (key, m.path.clone()))).collect()
}

/// Those of the plan's directories that are there.
fn existing(plan: &Plan) -> Vec<String> {
    plan.paths().into_values().filter(|path| std::fs::metadata(path).is_ok()).collect()
}

/// A process in the cgroup.
fn inhabitant(cgroup: &Cgroup) -> Child {
    let child = Command::new("/bin/sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
    for path in paths(cgroup).values() {
        std::fs::write(format!("{path}/cgroup.procs"), child.id().to_string()).unwrap();
    }
    child
}

/// The signal that ended it, not its own end after a while.
fn ended_by(mut child: Child) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap())
}

fn value(cgroup: &Cgroup, key: &str, file: &str) -> String {
    std::fs::read_to_string(format!("{}/{file}", paths(cgroup)[key])).unwrap().trim().to_owned()
}

#[test]
fn probe_finds_this_machine() {
    let layout = probe().unwrap();
    for h in &layout.hierarchies {
        assert!(std::fs::metadata(format!("{ROOT}/{}{}/cgroup.procs", h.dir, h.own)).is_ok(), "{h:?}");
    }
}

#[test]
fn limits_are_what_was_asked_for() {
    let Some(place) = Place::new() else { return };
    if !place.v1() {
        return eprintln!("skipped: reads v1 files");
    }
    let plan = place.plan(
        r#"{"memory":{"limit":67108864,"reservation":33554432,"swap":134217728,"swappiness":7},"pids":{"limit":50},
            "cpu":{"shares":512,"quota":50000,"period":100000,"burst":1000,"cpus":"0","mems":"0"},
            "devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"minor":20,"access":"rw"}]}"#,
    );
    let cgroup = Cgroup::create(&plan).unwrap();
    assert_eq!(paths(&cgroup), plan.paths());
    cgroup.apply(&plan).unwrap();
    let expected = [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("memory", "memory.swappiness", "7"),
        ("pids", "pids.max", "50"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_burst_us", "1000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
    ];
    for (key, file, expected) in expected {
        assert_eq!(value(&cgroup, key, file), expected, "{file}");
    }
    let devices = value(&cgroup, "devices", "devices.list");
    let expected = "b 8:20 rw\nc *:* m\nb *:* m\nc 1:3 rwm\nc 1:8 rwm\nc 1:7 rwm\nc 5:0 rwm\nc 1:5 rwm\nc 1:9 rwm\n\
                    c 136:* rwm\nc 5:2 rwm\nc 10:200 rwm";
    assert_eq!(devices, expected);
    assert_eq!(cgroup.oom_kills(), 0);
    cgroup.remove().unwrap();
    assert_eq!(existing(&plan), [""; 0]);
}

#[test]
fn a_default_of_allowing_is_written_too() {
    let Some(place) = Place::new() else { return };
    if !place.v1() {
        return eprintln!("skipped: reads v1 files");
    }
    let rules = r#"{"devices":[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","major":8,"access":"w"}]}"#;
    let plan = place.plan(rules);
    let cgroup = Cgroup::create(&plan).unwrap();
    cgroup.apply(&plan).unwrap();
    assert_eq!(value(&cgroup, "devices", "devices.list"), "a *:* rwm"); // The kernel lists no exceptions then.
    cgroup.remove().unwrap();
}

/// The kernel's own controller as the reference for the emulation: the config's rules written one by one give
/// the list that the policy comes down to.
#[test]
fn the_policy_is_what_the_kernel_makes_of_the_rules() {
    let Some(place) = Place::new() else { return };
    if !place.v1() {
        return eprintln!("skipped: needs the v1 devices controller");
    }
    let (plan, mut compared, mut state) = (place.plan("{}"), 0, 1u64);
    let cgroup = Cgroup::create(&plan).unwrap();
    let dir = paths(&cgroup)["devices"].clone();
    let write = |allow: bool, line: &str| {
        let file = if allow { "devices.allow" } else { "devices.deny" };
        std::fs::write(format!("{dir}/{file}"), line).unwrap();
    };
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..300 {
        let rules: Vec<(bool, String, String)> = (0..random(12))
            .map(|_| {
                let (allow, kind) = (random(4) != 0, ["b", "c"][usize::try_from(random(2)).unwrap()]);
                let (major, minor) = (random(3), random(4));
                let access = ["r", "w", "m", "rw", "rm", "rwm"][usize::try_from(random(6)).unwrap()];
                let (json, text) =
                    if minor == 3 { ("-1".to_owned(), "*".to_owned()) } else { (minor.to_string(), minor.to_string()) };
                let rule = format!(
                    r#"{{"allow":{allow},"type":"{kind}","major":{major},"minor":{json},"access":"{access}"}}"#
                );
                (allow, rule, format!("{kind} {major}:{text} {access}"))
            })
            .collect();
        let json: Vec<&str> = rules.iter().map(|(_, json, _)| json.as_str()).collect();
        let mut problems = Vec::new();
        let rules_of_config = serde_json::from_str::<Vec<_>>(&format!("[{}]", json.join(","))).unwrap();
        let policy = crate::plan::devices::policy(&rules_of_config, &mut problems);
        if !problems.is_empty() {
            continue; // A hole in a wildcard: the kernel would ignore it without a word.
        }
        write(false, "a");
        rules.iter().for_each(|(allow, _, line)| write(*allow, line));
        crate::plan::devices::policy(&[], &mut problems).exceptions.iter().for_each(|e| write(true, &e.to_string()));
        let expected: Vec<String> = policy.exceptions.iter().map(ToString::to_string).collect();
        assert_eq!(value(&cgroup, "devices", "devices.list"), expected.join("\n"), "{rules:?}");
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
    cgroup.remove().unwrap();
}

#[test]
fn huge_pages_are_limited_on_v2_where_v1_has_none() {
    let Some(place) = Place::new() else { return };
    let on =
        |v2: bool| place.layout.hierarchies.iter().any(|h| h.v2 == v2 && h.controllers.iter().any(|c| c == "hugetlb"));
    if on(false) || !on(true) {
        return eprintln!("skipped: no hugetlb in a v2 hierarchy");
    }
    let plan = place.plan(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#);
    let cgroup = Cgroup::create(&plan).unwrap();
    cgroup.apply(&plan).unwrap();
    assert_eq!(value(&cgroup, "", "hugetlb.2MB.max"), "4194304");
    assert_eq!(value(&cgroup, "", "cgroup.subtree_control"), "", "the leaf is the container's");
    cgroup.remove().unwrap();
}

#[test]
fn a_value_the_kernel_refuses_names_its_place() {
    let Some(place) = Place::new() else { return };
    if !place.v1() {
        return eprintln!("skipped: writes v1 files");
    }
    let cases = [
        (r#"{"cpu":{"cpus":"4095"}}"#, "linux.resources.cpu.cpus: write ", "cpuset.cpus \"4095\": "),
        (r#"{"cpu":{"shares":300000}}"#, "linux.resources.cpu.shares: the maximum allowed cpu-shares is 262144", ""),
        (r#"{"cpu":{"shares":1}}"#, "linux.resources.cpu.shares: the minimum allowed cpu-shares is 2", ""),
        (r#"{"cpu":{"period":5}}"#, "linux.resources.cpu.period: write ", "cpu.cfs_period_us \"5\": invalid argument"),
    ];
    for (resources, start, part) in cases {
        let plan = place.plan(resources);
        let cgroup = Cgroup::create(&plan).unwrap();
        let text = cgroup.apply(&plan).unwrap_err().to_string();
        assert!(text.starts_with(start) && text.contains(part), "{text}");
        cgroup.remove().unwrap();
    }
}

#[test]
fn processes_are_found_killed_and_removed() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let cgroup = Cgroup::create(&plan).unwrap();
    cgroup.apply(&plan).unwrap();
    let child = inhabitant(&cgroup);
    assert_eq!(cgroup.pids().unwrap(), [child.id()]);

    let text = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(text.contains("container's cgroup is not empty: 1 process(es) found"), "{text}");
    assert_eq!(cgroup.pids().unwrap(), [child.id()], "refusing leaves it alone");

    let text = cgroup.remove_within(Duration::from_millis(1)).unwrap_err().to_string();
    let start =
        format!("unable to remove container's cgroup: process {} did not end within 0 s: rmdir /sys/fs/", child.id());
    assert!(text.starts_with(&start), "{text}");

    let found = Cgroup::from_paths(&plan.paths());
    assert_eq!(paths(&found), plan.paths());
    let text = found.remove_now().unwrap_err().to_string();
    assert!(text.starts_with("unable to remove container's cgroup: rmdir ") && text.ends_with(" busy"), "{text}");
    assert_eq!(found.pids().unwrap(), [child.id()]);
    found.kill_all().unwrap();
    assert_eq!(ended_by(child), Some(9));
    assert_eq!(found.pids().unwrap(), [0u32; 0]);
    found.remove().unwrap();
    found.remove_now().unwrap();
    assert_eq!(existing(&plan), [""; 0]);
}

#[test]
fn what_is_gone_is_empty_thawed_and_removed() {
    let Some(place) = Place::new() else { return };
    let gone = Cgroup::from_paths(&place.plan("{}").paths());
    assert_eq!(gone.pids().unwrap(), [0u32; 0]);
    assert!(!gone.frozen());
    gone.thaw().unwrap();
    gone.kill_all().unwrap();
    assert_eq!(gone.oom_kills(), 0);
    gone.remove_now().unwrap();
    gone.remove().unwrap();
}

/// A single-threaded process that joins by itself, through descriptors that were opened for it.
#[test]
fn children_join_through_tasks() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let cgroup = Cgroup::create(&plan).unwrap();
    let open = |m: &Member| std::fs::File::options().write(true).open(m.file("tasks")).unwrap();
    let tasks: Vec<_> = cgroup.members.iter().filter(|m| !m.v2).map(open).collect();
    let script = "for f in $TASKS; do echo 0 > /proc/$PARENT/fd/$f || exit 1; done; exec cat /proc/self/cgroup";
    let numbers: Vec<String> = tasks.iter().map(|fd| std::os::fd::AsRawFd::as_raw_fd(fd).to_string()).collect();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script).env("TASKS", numbers.join(" ")).env("PARENT", std::process::id().to_string());
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let joined = text.lines().filter(|line| line.ends_with(&format!("{}/c", place.path))).count();
    let v1 = plan.dirs.iter().filter(|d| !d.v2).count();
    assert_eq!((joined, cgroup.clone_fd().is_some()), (v1, plan.dirs.len() > v1), "{text} {output:?}");
    cgroup.remove().unwrap();
}

#[test]
fn a_frozen_cgroup_is_seen_refused_thawed_and_killed() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let cgroup = Cgroup::create(&plan).unwrap();
    assert!(!cgroup.frozen());
    let child = inhabitant(&cgroup);
    cgroup.freeze().unwrap();
    assert!(cgroup.frozen());
    cgroup.thaw().unwrap();
    assert!(!cgroup.frozen());
    cgroup.freeze().unwrap();
    cgroup.kill_all().unwrap();
    assert_eq!(ended_by(child), Some(9));
    assert!(!cgroup.frozen());
    cgroup.freeze().unwrap();
    let text = Cgroup::create(&plan).unwrap_err().to_string();
    assert_eq!(text, "linux.cgroupsPath: container's cgroup unexpectedly frozen");
    cgroup.thaw().unwrap();
    cgroup.remove().unwrap();
}

/// v1 lets nothing frozen die, and a container may freeze what is below its own cgroup.
#[test]
fn what_a_container_has_frozen_itself_dies() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let Some(path) = plan.paths().remove("freezer") else { return eprintln!("skipped: needs the v1 freezer") };
    let cgroup = Cgroup::create(&plan).unwrap();
    let child = inhabitant(&cgroup);
    let below = format!("{path}/a/b");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(format!("{below}/cgroup.procs"), child.id().to_string()).unwrap();
    std::fs::write(format!("{path}/a/freezer.state"), "FROZEN").unwrap();
    std::fs::write(format!("{below}/freezer.state"), "FROZEN").unwrap();
    assert!(!cgroup.frozen(), "what is below does not count");
    cgroup.kill_all().unwrap();
    assert_eq!(ended_by(child), Some(9));
    cgroup.remove().unwrap();
}

/// No freezer and no `cgroup.kill`: whoever forks is killed as well.
#[test]
fn without_a_freezer_all_are_killed() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let Some(path) = plan.paths().remove("pids") else { return eprintln!("skipped: needs the v1 pids controller") };
    let _all = Cgroup::create(&plan).unwrap();
    let one = Cgroup::from_paths(&BTreeMap::from([("pids".to_owned(), path.clone())]));
    assert!(!one.has_freezer());
    one.freeze().unwrap();
    one.thaw().unwrap();
    let mut children = Vec::new();
    for _ in 0..8 {
        // Each replaces itself for ever.
        let script = format!("echo 0 >{path}/cgroup.procs; f() {{ (sleep 0.01; f) & }}; f; wait; exec sleep 1000");
        children.push(Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap());
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    one.kill_all().unwrap();
    assert_eq!(one.pids().unwrap(), [0u32; 0]);
    for mut child in children {
        child.wait().unwrap();
    }
    one.remove().unwrap();
}

/// On v1 the removal counts as one event more; the file of v2 says that it is gone, and not that nothing has happened: it
/// polls as changed for ever.
#[test]
fn a_removed_cgroup_is_no_want_of_memory() {
    let Some(place) = Place::new() else { return };
    let cgroup = Cgroup::create(&place.plan("{}")).unwrap();
    let Some(mut oom) = cgroup.watch_oom().unwrap() else { return eprintln!("skipped: nobody counts memory") };
    assert_eq!(oom.happened(), Ok(false));
    cgroup.remove().unwrap();
    let told = crate::wait::polls(oom.as_fd(), oom.awaited(), Some(Duration::from_secs(5))).unwrap();
    let expected = if matches!(oom, Oom::V1 { .. }) { Ok(false) } else { Err(Errno::NODEV) };
    assert_eq!((told, oom.happened()), (true, expected));
}

/// Both freezers: that of v2 stands beside v1 on a hybrid machine.
#[test]
fn each_freezer_alone_freezes_and_kills() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let _all = Cgroup::create(&plan).unwrap();
    for (key, path) in plan.paths().into_iter().filter(|(key, _)| key.is_empty() || key == "freezer") {
        let one = Cgroup::from_paths(&BTreeMap::from([(key.clone(), path)]));
        let child = inhabitant(&one);
        one.freeze().unwrap();
        assert!(one.frozen(), "{key}");
        one.kill_all().unwrap();
        assert_eq!(ended_by(child), Some(9), "{key}");
        assert!(!one.frozen(), "{key}");
    }
}

#[test]
fn what_left_the_v2_cgroup_is_killed_as_well() {
    let Some(place) = Place::new() else { return };
    if place.layout.mode != Mounted::Hybrid {
        return eprintln!("skipped: needs a hybrid machine");
    }
    let cgroup = Cgroup::create(&place.plan("{}")).unwrap();
    let child = inhabitant(&cgroup);
    let unified = place.layout.hierarchies.iter().find(|h| h.v2).unwrap();
    std::fs::write(format!("{ROOT}/unified{}/cgroup.procs", unified.own), child.id().to_string()).unwrap();
    cgroup.kill_all().unwrap();
    assert_eq!(ended_by(child), Some(9));
    cgroup.remove().unwrap();
}

#[test]
fn cgroups_of_the_container_go_with_it() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("{}");
    let cgroup = Cgroup::create(&plan).unwrap();
    for path in plan.paths().values() {
        std::fs::create_dir_all(format!("{path}/a/b")).unwrap();
    }
    cgroup.remove_now().unwrap();
    assert_eq!(existing(&plan), [""; 0]);
}

#[test]
fn failing_to_make_one_removes_all() {
    let Some(place) = Place::new() else { return };
    let mut plan = place.plan("{}");
    let last = plan.dirs.last_mut().unwrap();
    last.path = format!("{}/a\nb", place.path); // cgroup_mkdir: no newlines, /proc/PID/cgroup has lines.
    let error = Cgroup::create(&plan).unwrap_err();
    assert_eq!((error.call, error.errno), ("mkdir", Errno::INVAL.raw_os_error()));
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn existing_levels_stay_and_are_filled() {
    let Some(place) = Place::new() else { return };
    let first = Cgroup::create(&place.plan_at("/a/b", "{}")).unwrap();
    let second = Cgroup::create(&place.plan_at("/a/c", "{}")).unwrap();
    first.remove().unwrap();
    if paths(&second).contains_key("cpuset") {
        assert_eq!(value(&second, "cpuset", "cpuset.mems"), value(&second, "cpuset", "../cpuset.mems"));
        assert_ne!(value(&second, "cpuset", "cpuset.mems"), "");
    }
    second.remove().unwrap();
    assert_eq!(place.left().len(), place.plan("{}").dirs.len());
}

#[test]
fn the_root_of_a_hierarchy_is_never_a_containers() {
    let roots = ["", "/", "/memory", "/unified/", "//memory", "/memory/", "/memory/..", "/../../.."];
    let roots = roots.into_iter().chain(["/memory/../..", "/memory/a/..", "/memory/./.", "x/a/b"]);
    for path in roots.map(|path| format!("{ROOT}{path}")).chain(["/tmp".to_owned(), "/etc/a/b".to_owned()]) {
        let found = Cgroup::from_paths(&BTreeMap::from([("memory".to_owned(), path.clone())]));
        assert_eq!(paths(&found), BTreeMap::new(), "{path}");
    }
    let unified = BTreeMap::from([(String::new(), format!("{ROOT}/unified"))]);
    assert_eq!(paths(&Cgroup::from_paths(&unified)).is_empty(), !dir::is_v2(ROOT));
}

#[test]
fn threaded_parents_make_threaded_containers() {
    let Some(place) = Place::new() else { return };
    let Some(unified) = place.layout.hierarchies.iter().find(|h| h.v2) else {
        return eprintln!("skipped: no v2 hierarchy");
    };
    let parent = format!("{ROOT}/{}{}/t", unified.dir, place.path);
    std::fs::create_dir_all(&parent).unwrap();
    std::fs::write(format!("{parent}/cgroup.type"), "threaded").unwrap();

    let mut plan = place.plan_at("/t/a/b", "{}");
    let cgroup = Cgroup::create(&plan).unwrap();
    assert_eq!(value(&cgroup, "", "cgroup.type"), "threaded");
    cgroup.remove().unwrap();

    plan.dirs.iter_mut().for_each(|d| d.domain = d.v2);
    for (path, state) in [("/t/a/b", "in threaded mode"), ("/t/c", "in an invalid state")] {
        plan.dirs.iter_mut().for_each(|d| d.path = format!("{}{path}", place.path));
        if path == "/t/a/b" {
            std::fs::create_dir(format!("{parent}/a/b")).unwrap();
            std::fs::write(format!("{parent}/a/b/cgroup.type"), "threaded").unwrap();
        }
        let text = Cgroup::create(&plan).unwrap_err().to_string();
        assert!(text.starts_with("linux.cgroupsPath: cannot enter cgroupv2 \"/sys") && text.ends_with(state), "{text}");
    }
}

#[test]
fn many_at_once_below_the_same_parents() {
    let Some(place) = Place::new() else { return };
    std::thread::scope(|scope| {
        for i in 0..8 {
            let place = &place;
            scope.spawn(move || {
                for j in 0..10 {
                    let mut plan = place.plan_at(&format!("/p{}/q/{i}", j / 2), "{}");
                    if i % 2 == 1 {
                        // Fails at the end, and takes away what it made, parents included.
                        plan.dirs.last_mut().unwrap().path.push('\n');
                        Cgroup::create(&plan).unwrap_err();
                        continue;
                    }
                    let cgroup = Cgroup::create(&plan).unwrap();
                    cgroup.apply(&plan).unwrap();
                    cgroup.remove().unwrap();
                }
            });
        }
    });
}

/// As an ordinary user: this test starts itself as one.
#[test]
fn rootless_goes_without_what_it_may_not_make() {
    if rustix::process::geteuid().is_root() {
        let name = "cgroup::tests::rootless_goes_without_what_it_may_not_make";
        let mut again = Command::new(std::env::current_exe().unwrap());
        std::os::unix::process::CommandExt::uid(again.arg("--exact").arg(name).arg("--nocapture"), 65534);
        match again.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => eprintln!("skipped: the test program cannot be started as nobody: {error}"),
        }
        return;
    }
    let layout = probe().unwrap();
    let unprivileged = |linux: &str, layout: &Layout| {
        let mut spec = Spec::default();
        spec.set_linux(Some(serde_json::from_str(linux).unwrap()));
        let plan = plan("cntr-test-rootless", &spec, &on(layout, true), &mut Vec::new());
        let cgroup = Cgroup::create(&plan).map_err(|e| e.to_string())?;
        cgroup.apply(&plan).map(|()| cgroup.members.len()).map_err(|e| e.to_string())
    };
    assert_eq!(unprivileged("{}", &layout), Ok(0));
    let text = unprivileged(r#"{"cgroupsPath":"/cntr-test-rootless"}"#, &layout).unwrap_err();
    assert!(
        text.starts_with("linux.cgroupsPath: mkdir /sys/fs/cgroup/") && text.ends_with(": permission denied"),
        "{text}"
    );
    let limits = r#"{"resources":{"pids":{"limit":5}}}"#;
    if layout.hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == "pids")) {
        let text = unprivileged(limits, &layout).unwrap_err();
        let expected = "linux.resources.pids.limit: cannot set pids limit: container could not join or create cgroup";
        assert!(text.starts_with(expected) || text.contains("rootless needs no limits"), "{text}");
    }
    let mut v2 = Layout { mode: Mounted::V2, ..layout };
    v2.hierarchies.retain(|h| h.v2);
    v2.hierarchies.iter_mut().for_each(|h| h.controllers = vec!["pids".to_owned()]);
    if !v2.hierarchies.is_empty() {
        assert_eq!(unprivileged("{}", &v2), Ok(0));
        let text = unprivileged(limits, &v2).unwrap_err();
        let expected = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
        assert!(text.starts_with(&format!("linux.resources.pids.limit: {expected}: mkdir")), "{text}");
    }
}

/// Below half a CPU neither the old quota nor the old period fits the other's new value, one way or the other.
#[test]
fn what_was_written_in_two_rounds_goes_back() {
    let Some(place) = Place::new() else { return };
    if !place.layout.hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == "cpu")) {
        return eprintln!("skipped: no cpu controller");
    }
    let bandwidth = |quota: u32, period: u32| format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#);
    let half = bandwidth(50_000, 100_000);
    let made = ["/c", "/c/d"].map(|below| {
        let plan = place.plan_at(below, &half);
        let cgroup = Cgroup::create(&plan).unwrap();
        cgroup.apply(&plan).unwrap();
        cgroup
    });
    let Some(cpu) = made[1].v1("cpu") else { return eprintln!("skipped: needs the v1 controller cpu") };
    let now = || ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| cpu.read(file).unwrap());
    for other in [bandwidth(3_000, 10_000), bandwidth(400_000, 1_000_000)] {
        let mut plan = place.plan_at("/c/d", &other);
        plan.writes.retain(|write| write.file.starts_with("cpu."));
        let prepared = made[1].prepare(&plan).unwrap();
        let undo = prepared.undo();
        prepared.write().unwrap();
        assert_ne!(now(), ["50000", "100000"], "{other}");
        assert_eq!((undo.revert(), now()), (vec![], ["50000", "100000"].map(str::to_owned)), "{other}");
    }
}

/// A device program on a hybrid machine's v2 cgroup, where nothing else restricts devices.
#[test]
fn the_device_program_denies() {
    let Some(place) = Place::new() else { return };
    let mut layout = place.layout.clone();
    layout.hierarchies.retain(|h| h.v2);
    layout.mode = Mounted::V2;
    let Some(dir) = layout.hierarchies.first().map(|h| h.dir.clone()) else {
        return eprintln!("skipped: no v2 hierarchy");
    };
    let only_v2 = Place { path: place.path.clone(), layout };
    for allowed in [false, true] {
        let rule = format!(r#"{{"allow":{allowed},"type":"c","major":1,"minor":11,"access":"r"}}"#);
        let mut plan = only_v2.plan(&format!(r#"{{"devices":[{{"allow":false,"access":"rwm"}},{rule}]}}"#));
        plan.dirs.iter_mut().for_each(|d| d.enable = false);
        let cgroup = Cgroup::create(&plan).unwrap();
        cgroup.apply(&plan).unwrap();
        let join = format!("echo 0 > {ROOT}/{dir}{}/c/cgroup.procs && : < /dev/null && : > /dev/zero", place.path);
        let run = |script: &str| {
            Command::new("/bin/sh").arg("-c").arg(script).stderr(Stdio::null()).status().unwrap().success()
        };
        assert!(run(&join));
        assert_eq!(run(&format!("{join} && : < /dev/kmsg")), allowed, "reading /dev/kmsg (1:11)");
        cgroup.remove().unwrap();
    }
}
