//! The order of the steps for real configs, and the proof that each fact about it can fail.

use libcontain::Host;
use libcontain::plan::{Op, Open, Plan, Request, plan};
use libcontain::spec::Spec;

use crate::configs::{CONFIGS, config, config_on, request};
use crate::hosts::{HOSTS, hybrid, user, v2};
use crate::rules::{self, RULES, violations};

/// Every plan that can be made of the configs, for every machine, waiting for `start` and not.
fn plans() -> Vec<(String, Plan)> {
    let mut plans = Vec::new();
    for (name, ..) in CONFIGS {
        for (machine, host) in HOSTS {
            for wait_for_start in [true, false] {
                let asked = Request { wait_for_start, ..request() };
                let made = plan(&asked, &config_on(name, machine), &host());
                plans.extend(made.ok().map(|plan| (format!("{name} on {machine}"), plan)));
            }
        }
    }
    let asked = Request { wait_for_start: false, ..request() };
    plans.push(("run without /proc".to_owned(), plan(&asked, &without_proc(), &v2()).unwrap()));
    plans.extend([nnp(false), nnp(true)].map(|plan| ("docker with ambient capabilities".to_owned(), plan)));
    plans
}

/// Docker's config with or without no_new_privs, with ambient capabilities and what else the other configs lack.
fn nnp(no_new_privs: bool) -> Plan {
    let mut config = json(&config("docker-default"));
    config["process"]["noNewPrivileges"] = no_new_privs.into();
    for set in ["ambient", "inheritable"] {
        config["process"]["capabilities"][set] = config["process"]["capabilities"]["bounding"].clone();
    }
    config["process"]["scheduler"] = serde_json::json!({ "policy": "SCHED_BATCH" });
    config["process"]["ioPriority"] = serde_json::json!({ "class": "IOPRIO_CLASS_BE", "priority": 4 });
    config["linux"]["personality"] = serde_json::json!({ "domain": "LINUX" });
    config["linux"]["memoryPolicy"] = serde_json::json!({ "mode": "MPOL_LOCAL" });
    plan(&request(), &serde_json::from_value(config).unwrap(), &hybrid()).unwrap()
}

/// What is written through procfs, and none that would do: `subset=pid` has no /proc/sys.
fn without_proc() -> Spec {
    let mut config = json(&config("terminal-labels"));
    config["mounts"][0]["options"] = serde_json::json!(["subset=pid"]);
    serde_json::from_value(config).unwrap()
}

fn json(spec: &Spec) -> serde_json::Value {
    serde_json::to_value(spec).unwrap()
}

fn place(plan: &Plan, which: fn(&Op) -> bool) -> usize {
    plan.steps.iter().position(|s| which(&s.op)).unwrap_or_else(|| panic!("no such step in\n{plan}"))
}

fn has(plan: &Plan, which: fn(&Op) -> bool) -> bool {
    plan.steps.iter().any(|s| which(&s.op))
}

#[test]
fn every_plan_is_in_order() {
    for (name, plan) in plans() {
        assert_eq!(violations(&plan), [""; 0], "{name}:\n{plan}");
    }
}

/// Swaps two steps that a rule is about: the judge must say so. A rule that no plan is subject to proves nothing.
#[test]
fn every_rule_can_fail() {
    let plans = plans();
    for rule in RULES {
        let subject = plans
            .iter()
            .find_map(|(_, plan)| Some((plan, rule.places(&plan.steps)?)).filter(|_| rule.applies(&plan.steps)));
        let Some((plan, (last, first))) = subject else { panic!("no plan has both steps of: {}", rule.why) };
        let mut broken = plan.clone();
        broken.steps.swap(last, first);
        assert!(violations(&broken).contains(&rule.why), "not noticed: {}", rule.why);
    }
}

#[test]
fn the_other_facts_can_fail() {
    let plan = nnp(true);
    let broken = |edit: fn(&mut Plan)| {
        let mut plan = plan.clone();
        edit(&mut plan);
        violations(&plan).len()
    };
    assert_eq!(broken(|_| {}), 0);
    assert_ne!(broken(|p| drop(p.steps.pop())), 0, "without exec");
    assert_ne!(broken(|p| p.steps.insert(0, p.steps[p.steps.len() - 1].clone())), 0, "two times exec");
    assert_ne!(broken(|p| drop(p.needs.pop())), 0, "a slot without a need");
    assert_ne!(broken(|p| p.needs.push(p.needs[0].clone())), 0, "a need without a slot");
    assert_ne!(broken(|p| p.steps.retain(|s| !rules::ready(&s.op))), 0, "without ready");
    let swapped = |which: fn(&Op) -> bool, why: &str| {
        let mut plan = plan.clone();
        let places: Vec<usize> = (0..plan.steps.len()).filter(|i| which(&plan.steps[*i].op)).collect();
        plan.steps.swap(places[0], places[1]);
        assert!(violations(&plan).contains(&why), "not noticed: {why}");
    };
    swapped(rules::mount, "mounts are made in the config's order");
    swapped(
        |op| matches!(op, Op::IoPriority(_) | Op::MemoryPolicy(_)),
        "scheduler, I/O priority, personality and memory policy in runc's order",
    );
    swapped(|op| rules::umask(op) || rules::close(op), "the profile has to allow little of the runtime");
    let hooks = plan_of("hooks");
    let without_images = Plan { images: vec![], ..hooks };
    assert_ne!(violations(&without_images).len(), 0, "a hook without its image");
    let mut early = plan_of("options");
    let place = early.steps.iter().position(|s| matches!(s.op, Op::RemountReadonly(_))).unwrap();
    assert_eq!(violations(&early).len(), 0);
    let Op::RemountReadonly(path) = &mut early.steps[place].op else { unreachable!() };
    *path = c"/dev".into();
    let step = early.steps.remove(place);
    let nodes = early.steps.iter().position(|s| rules::node(&s.op)).unwrap();
    early.steps.insert(nodes, step);
    assert!(violations(&early).contains(&"a mount becomes read-only when nothing more is made in it"));
}

fn plan_of(name: &str) -> Plan {
    plan(&request(), &config(name), &v2()).unwrap()
}

#[test]
fn seccomp_stands_where_privilege_and_profile_allow() {
    let (without, with) = (nnp(false), nnp(true));
    assert!(place(&without, rules::seccomp) < place(&without, rules::bounding));
    assert!(place(&with, rules::seccomp) > place(&with, rules::find_program));
    assert_eq!(place(&with, rules::seccomp) + 1, place(&with, rules::ready), "as late as an error can be told");
    assert!(!has(&without, rules::no_new_privs));
}

#[test]
fn the_cgroup_is_joined_early_only_for_its_namespace() {
    let spec = config("docker-default");
    let early = plan(&request(), &config("userns"), &hybrid()).unwrap();
    let late = plan(&request(), &spec, &hybrid()).unwrap();
    assert!(place(&early, rules::join_cgroup) < place(&early, rules::root));
    assert_eq!(
        has(&late, rules::unshare_cgroup),
        has(&late, rules::join_cgroup) && place(&late, rules::join_cgroup) < place(&late, rules::root)
    );
    assert!(!has(&plan(&request(), &spec, &v2()).unwrap(), rules::join_cgroup), "v2 is joined by the clone");
}

/// mount(2) would refuse what is on the mountpoint already, and it is when the host's /sys is bound before.
#[test]
fn a_cgroup_tree_is_mounted_over_the_hosts() {
    let detached = |spec: &Spec| {
        let plan = plan(&request(), spec, &user()).unwrap();
        let steps = plan.steps.iter().map(|step| &step.op);
        let trees: Vec<bool> = steps
            .filter_map(|op| match op {
                Op::Filesystem(tree) if tree.fstype.as_c_str() == c"cgroup2" => Some(tree.detached.is_some()),
                _ => None,
            })
            .collect();
        trees
    };
    let mut config = json(&config("rootless"));
    config["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "cgroup" }));
    let spec = |config: &serde_json::Value| serde_json::from_value(config.clone()).unwrap();
    assert_eq!(detached(&spec(&config)), [true]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.iter_mut().filter(|mount| mount["destination"] == "/sys").for_each(|mount| {
        mount["type"] = "sysfs".into();
        mount["options"] = serde_json::json!([]);
    });
    assert_eq!(detached(&spec(&config)), [false]);
}

/// On v2 init is born under the device rules of the container, by which it may not open a disk that is mounted for it.
#[test]
fn a_disk_is_opened_outside_of_the_device_rules() {
    let mut config = json(&config("bare"));
    config["linux"]["namespaces"] = serde_json::json!([{ "type": "mount" }]);
    config["mounts"] = serde_json::json!([{ "destination": "/mnt", "type": "ext4", "source": "/dev/sda1" }]);
    let spec: Spec = serde_json::from_value(config).unwrap();
    let by_parent = |host: &Host| {
        let plan = plan(&request(), &spec, host).unwrap();
        plan.needs.iter().any(|need| matches!(need.what, Open::Filesystem { mapped: None, .. }))
    };
    assert_eq!([v2(), hybrid(), user()].map(|host| by_parent(&host)), [true, false, false]);
}

#[test]
fn a_joined_user_namespace_is_entered_last_by_root_and_first_by_others() {
    let rooted = plan(&request(), &config("joined-user"), &v2()).unwrap();
    let ordinary = plan(&request(), &config("joined-user"), &user()).unwrap();
    let order = |plan: &Plan| (place(plan, rules::set_user_ns), place(plan, rules::other_ns));
    assert!(order(&rooted).0 > order(&rooted).1);
    assert!(order(&ordinary).0 < order(&ordinary).1);
    assert!(place(&rooted, rules::set_user_ns) < place(&rooted, rules::fork));
    assert_eq!(rooted.spawn.flags, 0, "init's namespaces are made by the second clone");
}

#[test]
fn a_third_process_only_when_a_pid_time_or_user_namespace_is_joined() {
    for (name, forks) in [
        ("joined", true),
        ("joined-user", true),
        ("crio", false),
        ("buildkit", false),
        ("userns", false),
        ("spec", false),
    ] {
        assert_eq!(has(&plan_of(name), rules::fork), forks, "{name}");
    }
}

#[test]
fn run_does_not_wait_for_start() {
    let run = Request { wait_for_start: false, ..request() };
    let run = plan(&run, &config("spec"), &v2()).unwrap();
    assert!(!has(&run, rules::await_start) && !has(&run, rules::arm_start));
    let create = plan_of("spec");
    assert!(has(&create, rules::await_start) && has(&create, rules::arm_start));
}

#[test]
fn the_root_is_entered_as_asked() {
    let enters = |asked: &Request<'_>, name| {
        let plan = plan(asked, &config(name), &v2()).unwrap();
        plan.steps[place(&plan, rules::enter_root)].op.clone()
    };
    assert_eq!(enters(&request(), "spec"), Op::PivotRoot);
    assert_eq!(enters(&Request { no_pivot: true, ..request() }, "spec"), Op::Chroot);
    assert_eq!(enters(&request(), "bare"), Op::Chroot, "without a mount namespace");
}

#[test]
fn without_pivot_root_no_procfs_of_the_host_stays() {
    let here = ["/proc", "/sys", "/srv/chroot/proc"].map(Into::into).to_vec();
    let host = Host { kernel_mounts: here, ..v2() };
    let hides = |op: &Op| matches!(op, Op::HideHost(_));
    let hidden = |asked: &Request<'_>, name| {
        let plan = plan(asked, &config(name), &host).unwrap();
        let steps = &plan.steps[..place(&plan, rules::enter_root)];
        assert!(steps.iter().rev().skip_while(|step| !rules::mount(&step.op)).all(|step| !hides(&step.op)));
        steps.iter().filter(|step| hides(&step.op)).count()
    };
    assert_eq!(hidden(&Request { no_pivot: true, ..request() }, "spec"), 3);
    assert_eq!(hidden(&request(), "spec"), 0);
    assert_eq!(hidden(&Request { no_pivot: true, ..request() }, "bare"), 0, "without a mount namespace");
}

#[test]
fn hooks_have_their_images_and_the_program_is_the_last() {
    let plan = plan_of("hooks");
    let lists: Vec<(&str, usize, Option<u32>)> = plan
        .steps
        .iter()
        .filter_map(|s| match &s.op {
            Op::Hook(hook) => Some((hook.list, hook.index, hook.timeout)),
            _ => None,
        })
        .collect();
    let expected = [
        ("createContainer", 0, None),
        ("createContainer", 1, None),
        ("startContainer", 0, Some(2)),
        ("startContainer", 1, None),
    ];
    assert_eq!(lists, expected);
    assert_eq!(plan.images.last().unwrap().argv, [c"sh".to_owned()]);
    let inherits = plan.images.iter().find(|i| i.candidates == [c"/bin/inherits".to_owned()]).unwrap();
    assert_eq!(inherits.env, plan.images.last().unwrap().env, "a startContainer hook without env sees the container's");
    let own = plan.images.iter().find(|i| i.candidates == [c"/bin/ready".to_owned()]).unwrap();
    assert_eq!((own.env.len(), own.home_of), (2, None));
}
