//! What a start may cost: processes and syscalls, counted by strace(1).

use serde_json::{Value, json};

use crate::support::{Sandbox, View, bundle, have, host, read, root};

/// At most this many syscalls on files of cgroups, opening and closing descriptors left out: of the `spec` bundle on v2, and
/// on v1 so many for each hierarchy.
const CGROUP_CALLS: (usize, usize) = (14, 5);

/// At most this many syscalls for `run` of the `spec` bundle, the program's own included.
const SYSCALLS: usize = 450;

/// And this many for the seal, most of them of the second start.
const SEAL: usize = 55;

/// The bundle of `cntr spec`, without a terminal and with a program that does nothing.
pub(crate) fn spec_bundle() -> (Sandbox, Value) {
    let sandbox = Sandbox::new();
    sandbox.cntr(&["spec"]).ok();
    let mut config: Value =
        serde_json::from_str(&read(sandbox.path("bundle/config.json"))).expect("what spec writes is JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    config["linux"]["cgroupsPath"] = json!(sandbox.cgroups_path());
    sandbox.write(&config);
    (sandbox, config)
}

/// strace's log of `run`: one line per syscall, with its process in front.
fn trace(sandbox: &Sandbox) -> Vec<String> {
    let log = sandbox.path("trace");
    sandbox.verb(&["run"]).wrapped(&["strace", "-f", "-qq", "-o", &log.to_string_lossy()]).ok();
    read(&log).lines().map(String::from).collect()
}

/// How many processes (not threads) were made. strace writes a call that another process interrupts in two
/// lines: the arguments are in the first, the result is in the second.
fn forks(trace: &[String]) -> usize {
    let mut pending = std::collections::BTreeMap::new();
    let mut made = 0;
    for line in trace {
        let (pid, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        let begins = ["clone(", "clone3(", "fork(", "vfork("].iter().any(|name| call.starts_with(name));
        let resumes = ["clone", "fork", "vfork"].iter().any(|name| call.starts_with(&format!("<... {name}")));
        let thread = if resumes { pending.remove(pid).unwrap_or(false) } else { call.contains("CLONE_THREAD") };
        if begins && call.contains("<unfinished") {
            pending.insert(pid, thread);
        } else if (begins || resumes) && !thread && !call.contains("= -1 ") {
            made += 1;
        }
    }
    made
}

#[test]
fn syscalls_of_run() {
    if !root() || !have("strace") {
        return;
    }
    if cfg!(debug_assertions) && std::env::var_os("CNTR_BIN").is_none() {
        // std checks every descriptor that it closes with a call of its own then.
        crate::support::skip("a debug build makes more system calls: set CNTR_BIN to a release build");
        return;
    }
    let (sandbox, _) = spec_bundle();
    let table = sandbox.path("counts");
    sandbox.verb(&["run"]).wrapped(&["strace", "-f", "-c", "-o", &table.to_string_lossy()]).ok();
    let text = read(&table);
    let total = text.lines().last().expect("a total");
    // "% time  seconds  usecs/call  calls  errors  total"; the errors column may be empty
    let calls: usize = crate::support::words(total)[3].parse().unwrap_or_else(|e| panic!("{e}: {text}"));
    let allowed = SYSCALLS + SEAL;
    assert!(calls <= allowed, "{calls} syscalls, {allowed} allowed:\n{text}");
    sandbox.assert_clean();
}

#[test]
fn processes_of_run() {
    if !root() || !have("strace") {
        return;
    }
    let (sandbox, _) = spec_bundle();
    let trace = trace(&sandbox);
    // the runtime and the container's process; the first one was not forked in the trace
    assert_eq!(
        forks(&trace) + 1,
        2,
        "{:#?}",
        trace.iter().filter(|l| l.contains("clone") || l.contains("fork")).collect::<Vec<_>>()
    );
    sandbox.assert_clean();
}

#[test]
fn processes_of_run_with_a_joined_namespace() {
    if !root() || !have("strace") {
        return;
    }
    for kind in ["pid", "user", "time"] {
        let (sandbox, mut config) = spec_bundle();
        let script = match kind {
            "pid" => "exec unshare -p --fork --kill-child sleep 1000",
            "user" => "exec unshare -U sleep 1000",
            _ => "exec unshare -T sleep 1000",
        };
        let mut holder = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let file = if kind == "user" { "user".to_owned() } else { format!("{kind}_for_children") };
        let path = format!("/proc/{}/ns/{file}", holder.id());
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        crate::support::wait_for(&path, || std::fs::read_link(&path).is_ok_and(|n| n != own).then_some(()));
        if kind == "user" {
            for map in ["uid_map", "gid_map"] {
                std::fs::write(format!("/proc/{}/{map}", holder.id()), "0 0 4294967295").unwrap();
            }
        }
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
        bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": kind, "path": path })));
        sandbox.write(&config);
        let made = forks(&trace(&sandbox)) + 1;
        host("kill", &["-KILL", &holder.id().to_string()]);
        holder.wait().unwrap();
        // the runtime, the intermediate, init; and for a user namespace who makes the mounts that are locked for it
        let allowed = if kind == "user" { 4 } else { 3 };
        assert!(made <= allowed, "{kind}: {made} processes");
        sandbox.assert_clean();
    }
}

/// Nobody is moved: moving another process, or one's own by `cgroup.procs`, waits for a grace period of the whole machine
/// (5 to 20 ms). On v2 init is born in its cgroup, on v1 it writes itself to `tasks`.
#[test]
fn joining_a_cgroup() {
    if !root() || !have("strace") {
        return;
    }
    for view in [View::Host, View::V2] {
        if view == View::V2 && !std::path::Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists() {
            continue; // there is no v2 here, or nothing else
        }
        let sandbox = Sandbox::with_view(view);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
        sandbox.write(&config);
        let log = sandbox.path("trace");
        let strace = ["-f", "-qq", "-e", "trace=open,openat,openat2,mkdir,mkdirat,rmdir,unlinkat,statfs,access,clone3"];
        // Around the runtime alone, and not around what makes its view.
        let traced = format!("strace -o {} {}", log.display(), strace.join(" "));
        let script = format!("#!/bin/sh\nexec {traced} {} \"$@\"\n", crate::support::runtime().display());
        let wrapper = sandbox.path("traced");
        std::fs::write(&wrapper, script).unwrap();
        host("chmod", &["755", &wrapper.to_string_lossy()]);
        sandbox.seen(&wrapper).arg("--root").arg(sandbox.state_root()).args(&["run", &sandbox.id]).ok();
        let text = read(&log);
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("/sys/fs/cgroup")).collect();
        let init =
            text.lines().filter_map(|l| l.split_once(' ')).map(|(pid, _)| pid).find(|pid| !text.starts_with(pid));
        let (v1, v2) = (text.contains("/sys/fs/cgroup/devices/"), text.contains("CLONE_INTO_CGROUP"));
        assert!(!text.contains("cgroup.procs") && !text.contains("cgroup.threads"), "{view:?}: {lines:#?}");
        for line in lines.iter().filter(|l| l.contains("/tasks\"")) {
            assert!(v1 && init.is_some_and(|pid| line.starts_with(pid)), "not by init itself: {line}");
        }
        let hierarchies = lines.iter().filter(|l| l.contains("mkdir")).count();
        let tasks = lines.iter().filter(|l| l.contains("/tasks\"")).count();
        assert_eq!(tasks + usize::from(v2), hierarchies, "{view:?}: {lines:#?}");
        let most = if v1 { CGROUP_CALLS.1 * hierarchies } else { CGROUP_CALLS.0 };
        assert!(lines.len() <= most, "{view:?}: {} calls, {most} allowed: {lines:#?}", lines.len());
        sandbox.assert_clean();
    }
}
