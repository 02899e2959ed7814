//! The engines' own configs over a busybox rootfs, through `run` and through create, start, kill and delete;
//! on the machine as it is and on a pure v2 view of it.

use serde_json::Value;

use crate::support::probe::Probe;
use crate::support::verify::{Findings, lacking, verify};
use crate::support::{Sandbox, View, bundle, have, read, root, skip, slow, verify_cgroup, wait_for};

fn prepare(view: View, name: &str) -> (Sandbox, Value) {
    let sandbox = Sandbox::with_view(view);
    let mut config = bundle::engine(name, &sandbox.cgroups_path());
    if view == View::V2 {
        bundle::drop_limits_without_v2_controller(&mut config);
    }
    sandbox.write(&config);
    (sandbox, config)
}

/// `run` in the foreground (runc 1.1.5 leaves the tmpfs of a read-only cgroup mount writable): the probe's output comes through the runtime, its exit status too.
fn run(view: View, name: &str) {
    if !root() {
        return;
    }
    let (sandbox, config) = prepare(view, name);
    let out = sandbox.run_ok();
    let mut findings = Findings::default();
    verify(&config, &Probe::parse(&out.stdout), &mut findings);
    findings.equal("stderr", &"", &out.stderr.as_str());
    findings.done(name);
    sandbox.assert_clean();
}

/// create, start, and delete when it has ended; the limits are read while it is `created`.
fn create_start_delete(view: View, name: &str) {
    if !root() {
        return;
    }
    let (sandbox, config) = prepare(view, name);
    let pid_file = sandbox.path("pid");
    let created = sandbox.cntr(&["create", "--pid-file"]).arg(&pid_file).arg(&sandbox.id).ok();
    let state = sandbox.state().expect("a created container");
    let mut findings = Findings::default();
    state_is_complete(&state, &sandbox, &config, &mut findings);
    let pid = state["pid"].as_i64().unwrap() as i32;
    findings.equal("status after create", &"created", &state["status"].as_str().unwrap());
    findings.equal("--pid-file", &pid.to_string().as_str(), &read(&pid_file).as_str());
    findings.equal("output before start", &"", &read(&created.stdout_file).as_str());
    verify_cgroup::verify(&config, pid, view, &mut findings);

    let started = sandbox.verb(&["start"]).ok();
    findings.equal("output of start", &"", &format!("{}{}", started.stdout, started.stderr).as_str());
    sandbox.wait_status("stopped");
    findings.equal("pid when stopped", &Some(0), &sandbox.state().unwrap()["pid"].as_i64());
    verify(&config, &Probe::parse(&read(&created.stdout_file)), &mut findings);
    findings.done(name);

    sandbox.verb(&["delete"]).ok();
    let gone = sandbox.verb(&["state"]).run();
    assert!(gone.code == Some(1) && gone.stderr.contains("container does not exist"), "{gone:#?}");
    sandbox.assert_clean();
}

fn state_is_complete(state: &Value, sandbox: &Sandbox, config: &Value, findings: &mut Findings) {
    let bundle = sandbox.bundle().to_string_lossy().into_owned();
    findings.equal("state.id", &Some(sandbox.id.as_str()), &state["id"].as_str());
    findings.equal("state.bundle", &Some(bundle.as_str()), &state["bundle"].as_str());
    findings.equal("state.rootfs", &Some(format!("{bundle}/rootfs").as_str()), &state["rootfs"].as_str());
    findings.check(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "state.ociVersion");
    findings.check(state["created"].as_str().is_some_and(|v| v.ends_with('Z') && v.contains('T')), "state.created");
    let annotations = config["annotations"].as_object().filter(|m| !m.is_empty());
    findings.equal("state.annotations", &annotations, &state["annotations"].as_object());
}

/// A container that runs until it is killed: running, kill, stopped, delete.
fn start_kill_delete(view: View, name: &str) {
    if !root() {
        return;
    }
    let (sandbox, mut config) = prepare(view, name);
    let script = "trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    bundle::set(&mut config, "/process/args/2", Some(script.into()));
    sandbox.write(&config);
    let created = sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || read(&created.stdout_file).contains("ready").then_some(()));
    assert_eq!(sandbox.status(), "running");
    let refused = sandbox.verb(&["delete"]).run();
    let text = format!("cannot delete container {} that is not stopped: running", sandbox.id);
    assert!(refused.code == Some(1) && refused.stderr.contains(&text), "{refused:#?}");
    let twice = sandbox.verb(&["start"]).run();
    assert!(twice.code == Some(1) && twice.stderr.contains("cannot start an already running container"), "{twice:#?}");
    sandbox.verb(&["kill"]).ok();
    sandbox.wait_status("stopped");
    assert!(read(&created.stdout_file).contains("got TERM"), "{}", read(&created.stdout_file));
    let late = sandbox.verb(&["start"]).run();
    assert!(late.code == Some(1) && late.stderr.contains("cannot start a container that has stopped"), "{late:#?}");
    let dead = sandbox.cntr(&["kill", &sandbox.id, "KILL"]).run();
    assert!(dead.code == Some(1) && dead.stderr.contains("container not running"), "{dead:#?}");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// docker-privileged asks for all capabilities: on a machine whose root lacks one the error names it.
fn privileged(view: View) {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(view);
    let mut config = bundle::load("docker-privileged");
    config["linux"]["cgroupsPath"] = sandbox.cgroups_path().into();
    if view == View::V2 {
        bundle::drop_limits_without_v2_controller(&mut config);
    }
    let lacking = lacking(&config["process"]["capabilities"]["bounding"]);
    if lacking.is_empty() {
        skip("this machine's root has every capability that docker-privileged asks for");
        return;
    }
    sandbox.write(&config);
    for verb in ["create", "run"] {
        let out = sandbox.verb(&[verb]).run();
        assert_eq!(out.code, Some(1), "{out:#?}");
        assert_eq!(out.stderr.trim_end().lines().count(), 1, "one error: {out:#?}");
        for text in lacking.iter().map(String::as_str).chain(["process.capabilities.bounding"]) {
            assert!(out.stderr.contains(text), "{text} is not named: {out:#?}");
        }
        sandbox.assert_clean();
    }
}

/// Two containers in one cgroup: what a stopped one finds there is not its own, and `delete` does not kill it.
#[test]
fn delete_leaves_foreign_processes_in_the_cgroup() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let other = format!("{}-b", sandbox.id);
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "true"));
    sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    sandbox.cntr(&["run", "-d", &other]).ok();
    let status = || {
        let state: Value = serde_json::from_str(&sandbox.cntr(&["state", &other]).ok().stdout).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(), "running");
    let busy = sandbox.verb(&["delete"]).run();
    assert_eq!(status(), "running", "{busy:#?}");
    assert!(busy.code == Some(1) && busy.stderr.contains("cgroup"), "the busy cgroup is not reported: {busy:#?}");
    sandbox.cntr(&["delete", "--force", &other]).ok();
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// Nobody will ever write into the exec fifo of a dead init.
#[test]
fn start_of_a_container_whose_init_was_just_killed() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    for _ in 0..20 {
        sandbox.verb(&["create"]).ok();
        let pid = nix::unistd::Pid::from_raw(sandbox.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        let out = sandbox.verb(&["start"]).run();
        assert_eq!(out.code, Some(1), "{out:#?}");
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

/// The same with an init that dies, and is reaped, between the look at the status and the opening of the fifo: strace(1)
/// holds `start` there, and a shell as pid 1 reaps, which not every machine's does at once.
#[test]
fn init_that_is_gone_when_start_opens_the_fifo() {
    if !root() || !have("strace") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    let script = r#"
        "$1" "$2" "$3" create --pid-file ../pid "$5" || exit 99
        hold="-P $3/$5/exec.fifo -P exec.fifo -e inject=openat:delay_enter=${SLOW}500000"
        strace -o ../trace $hold "$@" & start=$!
        sleep $((SLOW / 2)).5; pid=$(cat ../pid); kill -9 $pid; sleep 0.3
        [ -e /proc/$pid ] && echo not reaped
        kill -0 $start || echo start was not held
        wait $start; echo ended $?
        "$1" "$2" "$3" delete --force "$5""#;
    let namespaces = ["unshare", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"];
    let out = sandbox.verb(&["start"]).wrapped(&namespaces).env("SLOW", &slow().to_string()).ok();
    assert_eq!(out.stdout, "ended 1\n", "{out:#?}");
    let trace = read(sandbox.path("trace"));
    assert!(trace.contains("exec.fifo") && trace.contains("DELAYED"), "{trace}");
    sandbox.assert_clean();
}

/// The bundle stands among the labels of state.json, where annotations stand too.
#[test]
fn an_annotation_called_bundle() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    config["annotations"] = serde_json::json!({ "bundle": "/etc", "a": "b" });
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    let dir = sandbox.bundle().to_string_lossy().into_owned();
    let state = sandbox.state().unwrap();
    assert_eq!(state["bundle"], dir.as_str(), "{state}");
    assert_eq!(state["annotations"]["a"], "b", "{state}");
    let list: Value = serde_json::from_str(&sandbox.cntr(&["list", "-f", "json"]).ok().stdout).unwrap();
    assert_eq!(list[0]["bundle"], dir.as_str(), "{list}");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

macro_rules! engines {
    ($($module:ident $view:expr;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn docker_default_run() { run($view, bundle::ENGINES[0]); }
            #[test]
            fn docker_limits_run() { run($view, bundle::ENGINES[1]); }
            #[test]
            fn podman_default_run() { run($view, bundle::ENGINES[2]); }
            #[test]
            fn ctr_default_run() { run($view, bundle::ENGINES[3]); }
            #[test]
            fn docker_default_create() { create_start_delete($view, bundle::ENGINES[0]); }
            #[test]
            fn docker_limits_create() { create_start_delete($view, bundle::ENGINES[1]); }
            #[test]
            fn podman_default_create() { create_start_delete($view, bundle::ENGINES[2]); }
            #[test]
            fn ctr_default_create() { create_start_delete($view, bundle::ENGINES[3]); }
            #[test]
            fn each_config_is_killed() {
                for name in bundle::ENGINES {
                    start_kill_delete($view, name);
                }
            }
            #[test]
            fn docker_privileged() { privileged($view); }
        }
    )*};
}

engines! {
    host View::Host;
    v2 View::V2;
}

/// What engines check with Go's reader must be what runs: names in any case, a member given twice, null, bytes that are
/// not UTF-8, text behind the document.
#[test]
fn a_config_means_what_it_means_in_go() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let config =
        bundle::minimal(&sandbox.cgroups_path(), "hostname; echo \"$1,$2\"; id -u; pwd; cat /proc/self/cgroup");
    let mut text = serde_json::to_vec(&config).unwrap();
    assert_eq!(text.pop(), Some(b'}'));
    text.extend(br#","HOSTNAME":"from-go","hostname":null,"Process":{"user":{"uid":7},"ARGS":[null,null,null,"sh"],"cwd":"/tmp"}"#);
    text.extend(br#","annotations":{"a":"1","a":null},"linux":{"resources":{"pids":{"limit":null}}},"new":[{}]} more"#);
    std::fs::write(sandbox.bundle().join("config.json"), &text).unwrap();
    // Of the arguments, three nulls leave what was there, and the fourth is new.
    let out = sandbox.run_ok();
    assert!(out.stdout.starts_with("from-go\n,\n7\n/tmp\n"), "{out:#?}");
    let at = text.windows(7).position(|w| w == b"from-go").unwrap();
    text[at] = 0xe9;
    std::fs::write(sandbox.bundle().join("config.json"), &text).unwrap();
    assert!(sandbox.run_ok().stdout.starts_with("\u{fffd}rom-go\n"));
    sandbox.assert_clean();
}
