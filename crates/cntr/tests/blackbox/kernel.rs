//! Kernels and seccomp filters that lack a system call, one by one and together: a container runs as ever, or it is
//! refused by the name of what is missing and nothing is left; what makes no container works in any case.

use serde_json::{Value, json};

use crate::budget::spec_bundle;
use crate::exec::idle;
use crate::namespaces::{Holder, in_user_namespace, join};
use crate::support::enosys::CALLS;
use crate::support::probe::Probe;
use crate::support::verify::{Findings, verify};
use crate::support::{Sandbox, View, bundle, read, root, wait_for};

/// Containers are made without these.
const DISPENSABLE: [&str; 3] = ["clone3", "pidfd_getfd", "faccessat2"];

/// All of them are newer than Linux 4.18.
fn all() -> Vec<&'static str> {
    CALLS.iter().map(|(name, _)| *name).collect()
}

/// A container of each kind that a call can make a difference to, with its config.
fn containers() -> Vec<(&'static str, Sandbox, Value)> {
    let (spec, config) = spec_bundle();
    let mut containers = vec![("spec", spec, config)];
    let sandbox = Sandbox::new();
    let config = bundle::engine("docker-default", &sandbox.cgroups_path());
    sandbox.write(&config);
    containers.push(("docker", sandbox, config));
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "id -u; cat /proc/self/uid_map");
    in_user_namespace(&sandbox, &mut config);
    sandbox.write(&config);
    containers.push(("user namespace", sandbox, config));
    containers
}

#[test]
fn each_call_that_is_missing_is_named_or_done_without() {
    if !root() {
        return;
    }
    for name in all() {
        let calls: &[&str] = &[name];
        for (kind, sandbox, config) in containers() {
            let run = sandbox.verb(&["run"]).without(&[name]).run();
            if DISPENSABLE.contains(&name) {
                assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{kind} without {name}: {run:#?}");
                if kind == "docker" {
                    let mut findings = Findings::default();
                    verify(&config, &Probe::parse(&run.stdout), &mut findings);
                    findings.done(name);
                }
            } else {
                let create = sandbox.verb(&["create"]).without(&[name]).run();
                for out in [run, create] {
                    assert_refused(&out, calls);
                }
                assert!(!sandbox.state_dir().exists());
            }
            sandbox.assert_clean();
        }
    }
}

fn assert_refused(out: &crate::support::Output, calls: &[&str]) {
    assert_eq!((out.code, out.stdout.as_str()), (Some(1), ""), "{out:#?}");
    assert!(out.stderr.contains("linux: this kernel or its seccomp filter lacks "), "{out:#?}");
    for name in all() {
        let told = out.stderr.contains(&format!("{name}(2) (Linux 5."));
        let expected = calls.contains(&name) && !DISPENSABLE.contains(&name);
        assert_eq!(told, expected, "{name}, of {calls:?}: {out:#?}");
    }
}

#[test]
fn old_kernels_are_refused_by_all_that_they_lack() {
    if !root() {
        return;
    }
    let since_5_4 = ["openat2", "pidfd_getfd", "faccessat2", "close_range", "mount_setattr"].to_vec();
    let since_5_10 = vec!["mount_setattr"];
    for calls in [all(), since_5_4, since_5_10] {
        for (_, sandbox, _) in containers() {
            for verb in ["create", "run"] {
                assert_refused(&sandbox.verb(&[verb]).without(&calls).run(), &calls);
                sandbox.assert_clean();
            }
            let plan = sandbox.cntr(&["plan"]).without(&calls).run();
            assert_refused(&plan, &calls);
        }
    }
}

/// On an old kernel, for what was made without the filter: everything but `start`, which says what it lacks.
#[test]
fn what_makes_no_container_needs_none_of_them() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for command in [&["--version"][..], &["features"], &["spec"], &["list"], &["help"]] {
        let out = sandbox.cntr(command).without(&all()).run();
        // no state root yet
        assert_eq!(out.code, Some(i32::from(command == ["list"])), "{out:#?}");
    }
    for pid_namespace in [true, false] {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "sleep 1000 & echo ready; wait");
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| pid_namespace || n["type"] != "pid");
        sandbox.write(&config);
        let created = sandbox.verb(&["create"]).ok();
        let out = sandbox.verb(&["start"]).without(&all()).run();
        assert!(out.code == Some(1) && out.stderr.contains("lacks pidfd_open(2) (Linux 5.3)"), "{out:#?}");
        assert_eq!(sandbox.status(), "created");
        sandbox.verb(&["start"]).ok();
        wait_for("the program", || read(&created.stdout_file).contains("ready").then_some(()));
        for command in [&["state"][..], &["ps"]] {
            sandbox.verb(command).without(&all()).ok();
        }
        assert!(sandbox.cntr(&["list", "-q"]).without(&all()).ok().stdout.contains(&sandbox.id));
        sandbox.cntr(&["kill", &sandbox.id, "0"]).without(&all()).ok();
        sandbox.cntr(&["kill", &sandbox.id, "KILL"]).without(&all()).ok();
        sandbox.wait_status("stopped");
        // Without a pid namespace the others may outlive init for a moment, and there is somebody to kill.
        let refused =
            || Some(sandbox.cntr(&["kill", &sandbox.id, "KILL"]).without(&all()).run()).filter(|o| o.code == Some(1));
        let out = wait_for("everybody's end", refused);
        assert!(out.stderr.contains("container not running"), "{out:#?}");
        sandbox.verb(&["delete"]).without(&all()).ok();
        sandbox.verb(&["create"]).ok();
        sandbox.verb(&["delete", "--force"]).without(&all()).ok();
        sandbox.assert_clean();
    }
}

/// systemd's RestrictNamespaces= answers ENOSYS to clone3 and to nothing else. What it does beyond making a process is
/// done otherwise: entering the cgroup, time namespaces, the third process, handlers of signals.
#[test]
fn all_that_clone3_does_is_done_by_others() {
    if !root() {
        return;
    }
    let holder = Holder::new(&["-p", "--fork", "--kill-child"]);
    for view in [View::Host, View::V2] {
        for kind in ["plain", "user", "joined pid", "cgroup", "time", "user and time"] {
            let sandbox = Sandbox::with_view(view);
            let script = "cat /proc/self/cgroup; grep 'Sig[BIC]' /proc/self/status; readlink /proc/self/ns/time; cat /proc/self/timens_offsets";
            let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
            if kind.contains("user") {
                in_user_namespace(&sandbox, &mut config);
            }
            for new in ["cgroup", "time"].into_iter().filter(|new| kind.contains(new)) {
                bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": new })));
            }
            if kind == "joined pid" {
                join(&mut config, "pid", &holder.path("pid_for_children"));
            }
            sandbox.write(&config);
            let outputs = [sandbox.verb(&["run"]), sandbox.verb(&["run"]).without(&["clone3"])].map(|cmd| {
                let out = cmd.ok();
                sandbox.assert_clean();
                // the number of a namespace is another each time; the lines are compared
                let own = |link: &str| {
                    link.starts_with("time:")
                        && link != std::fs::read_link("/proc/self/ns/time").unwrap().to_string_lossy()
                };
                out.stdout.lines().map(|l| if own(l) { "a time namespace" } else { l }.to_owned()).collect::<Vec<_>>()
            });
            assert_eq!(outputs[0], outputs[1], "{view:?} {kind}");
            let made = outputs[1].iter().any(|line| line == "a time namespace");
            assert_eq!(made, kind.contains("time"), "{view:?} {kind}: {outputs:#?}");
            let plan = sandbox.cntr(&["plan"]).without(&["clone3"]).ok().stdout;
            assert!(plan.starts_with("spawn   clone ") && !plan.contains("clone3"), "{plan}");
        }
    }
}

/// Needed for one thing only, and refused for that one.
#[test]
fn a_seccomp_listener_cannot_be_taken_without_pidfd_getfd() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent.sock",
        "syscalls": [{ "names": ["sync"], "action": "SCMP_ACT_NOTIFY" }] });
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).without(&["pidfd_getfd"]).run();
    let text = "linux.seccomp: this kernel or its seccomp filter lacks pidfd_getfd(2) (Linux 5.6)";
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    sandbox.assert_clean();
}

/// Hooks in the container, and a program that cannot be executed, whose failure comes over the same ways.
#[test]
fn hooks_and_failures_without_clone3() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /tmp/hooks");
    let hook = |path: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo hook >>{path}")] }]);
    let outside = sandbox.rootfs().join("tmp/hooks");
    config["hooks"] =
        json!({ "createRuntime": hook(&outside.to_string_lossy()), "startContainer": hook("/tmp/hooks") });
    sandbox.write(&config);
    assert_eq!(sandbox.verb(&["run"]).without(&["clone3"]).ok().stdout, "hook\nhook\n");
    config["process"]["args"] = json!(["/nonexistent"]);
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).without(&["clone3"]).run();
    assert!(out.stderr.contains("stat /nonexistent: no such file or directory"), "{out:#?}");
    sandbox.assert_clean();
}

/// Who cannot look at a container does not say that it has stopped: callers believe it, and clean up.
#[test]
fn what_cannot_be_looked_at_has_not_ended() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, _| {});
    for files in 3..32 {
        for command in [&["exec", &sandbox.id, "true"][..], &["kill", &sandbox.id, "0"], &["state", &sandbox.id]] {
            let out = sandbox.cntr(command).shell(&format!("ulimit -n {files}; exec \"$@\"")).run();
            let said = out.stdout + &out.stderr;
            assert!(!said.contains("stopped") && !said.contains("not running"), "{files} files, {command:?}: {said}");
        }
    }
    let out = sandbox.cntr(&["exec", &sandbox.id, "true"]).denied(&["pidfd_open"]).run();
    assert!(out.code == Some(255) && out.stderr.contains("lacks pidfd_open(2)"), "{out:#?}");
    for calls in [&["pidfd_open"][..], &["pidfd_send_signal"]] {
        sandbox.cntr(&["kill", &sandbox.id, "0"]).denied(calls).ok();
    }
    sandbox.cntr(&["kill", &sandbox.id, "9"]).denied(&["pidfd_open"]).ok();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).denied(&["pidfd_open"]).ok();
    sandbox.assert_clean();
}
