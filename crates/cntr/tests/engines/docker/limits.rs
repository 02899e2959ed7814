//! Limits, `docker update`, `pause`, `stats`, `top`: what is asked for is in the container's cgroup.

use super::Docker;
use super::container::Container;
use crate::checks::Check;
use crate::support::{pure_v2, read, words};

pub const CHECKS: &[Check<Docker>] = &[
    ("limits", limits),
    ("limits_update", update),
    ("limits_cpuset", cpuset),
    ("limits_oom", oom),
    ("limits_pids", pids),
    ("pause", pause),
    ("stats", stats),
    ("top", top),
];

const MB: u64 = 1 << 20;

#[track_caller]
fn assert_limits(container: &Container<'_>, memory: u64, swap: u64, quota: u64, pids: u64) {
    let found = |controller, v1, v2| container.limit(controller, v1, v2);
    assert_eq!(found("memory", "memory.limit_in_bytes", "memory.max"), memory.to_string());
    if pure_v2() {
        assert_eq!(found("memory", "", "memory.swap.max"), (swap - memory).to_string());
        assert_eq!(found("cpu", "", "cpu.max"), format!("{quota} 100000"));
    } else {
        let limit = found("memory", "memory.memsw.limit_in_bytes", "");
        assert!(limit.is_empty() || limit == swap.to_string(), "{limit}");
        assert_eq!(found("cpu", "cpu.cfs_quota_us", ""), quota.to_string());
    }
    assert_eq!(found("pids", "pids.max", "pids.max"), pids.to_string());
}

fn limits(docker: &Docker) {
    let options = ["-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "--cpus", "1.5"];
    let more = ["--cpu-shares", "512", "--pids-limit", "77"];
    let container = docker.idle(&[&options[..], &more[..]].concat());
    assert_limits(&container, 64 * MB, 96 * MB, 150_000, 77);
    let soft = container.limit("memory", "memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(soft, (32 * MB).to_string());
    if !pure_v2() {
        assert_eq!(container.limit("cpu", "cpu.shares", ""), "512");
    }
}

fn update(docker: &Docker) {
    let container = docker.idle(&["-m", "64m", "--memory-swap", "96m", "--cpus", "1.5", "--pids-limit", "77"]);
    container.ok(&["update", "-m", "128m", "--memory-swap", "256m", "--cpus", "0.5", "--pids-limit", "88"]);
    assert_limits(&container, 128 * MB, 256 * MB, 50_000, 88);
    container.ok(&["update", "--pids-limit", "-1"]);
    assert_eq!(container.limit("pids", "pids.max", "pids.max"), "max");
    assert_eq!(container.limit("memory", "memory.limit_in_bytes", "memory.max"), (128 * MB).to_string());
    // too little for what runs: the old limit stays
    let out = docker.docker(&["update", "--pids-limit", "5", "-m", "1k", &container.id]).run();
    assert_ne!(out.code, Some(0), "{out:#?}");
}

fn cpuset(docker: &Docker) {
    let container = docker.idle(&["--cpuset-cpus", "1", "--cpuset-mems", "0"]);
    assert_eq!(container.limit("cpuset", "cpuset.cpus", "cpuset.cpus"), "1");
    let pid = container.field(".State.Pid");
    let allowed = docker.room.shell(&format!("grep Cpus_allowed_list /proc/{pid}/status")).ok().stdout;
    assert_eq!(words(&allowed)[1], "1");
    container.ok(&["update", "--cpuset-cpus", "0-1"]);
    assert_eq!(container.limit("cpuset", "cpuset.cpus", "cpuset.cpus"), "0-1");
}

/// The kernel ends it, and Docker knows why.
fn oom(docker: &Docker) {
    let container = docker.detached(&["-m", "16m", "--memory-swap", "16m"], "tail /dev/zero; echo $?; sleep 0.5");
    assert_eq!(container.ok(&["wait"]), "0\n");
    assert_eq!(container.ok(&["logs"]), "137\n");
    container.wait_field(".State.OOMKilled", "true");
}

fn pids(docker: &Docker) {
    let script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    let out = docker.run(&["--pids-limit", "5"], script);
    assert!(out.stderr.contains("can't fork"), "{out:#?}");
}

/// 0 for what is none yet.
fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

fn pause(docker: &Docker) {
    let container = docker.detached(&[], "while :; do echo >>/lines; done");
    let pid = container.field(".State.Pid");
    let count = || number(&docker.room.shell(&format!("wc -l </proc/{pid}/root/lines")).run().stdout);
    crate::support::wait_for("a line", || (count() > 0).then_some(()));
    container.ok(&["pause"]);
    assert_eq!(container.field(".State.Status"), "paused");
    let (v1, v2) = ("freezer.state", "cgroup.freeze");
    assert_eq!(container.limit("freezer", v1, v2), if pure_v2() { "1" } else { "FROZEN" });
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(), before);
    let out = container.exec(&[], "true");
    assert!(out.code == Some(1) && out.stderr.contains("is paused"), "{out:#?}");
    let image = container.ok(&["commit"]);
    assert_eq!(container.field(".State.Status"), "paused", "after a commit");
    container.ok(&["unpause"]);
    crate::support::wait_for("a container to go on", || (count() > before).then_some(()));
    assert_eq!(number(&docker.ok(&["run", "--rm", image.trim(), "sh", "-c", "wc -l </lines"])), before);
    container.ok(&["pause"]);
    container.ok(&["kill"]);
    assert_eq!(container.ok(&["wait"]), "137\n");
}

/// `stats` reads what the shim does; it has the right container's numbers.
fn stats(docker: &Docker) {
    let container = docker.idle(&["-m", "64m"]);
    let format = "{{.PIDs}} {{.MemUsage}}";
    let shown = container.ok(&["stats", "--no-stream", "--no-trunc", "--format", format]);
    assert!(shown.starts_with("2 ") && shown.trim_end().ends_with("/ 64MiB"), "{shown:?}");
    let used = container.limit("memory", "memory.usage_in_bytes", "memory.current");
    assert_ne!(used, "0");
}

fn top(docker: &Docker) {
    let container = docker.idle(&[]);
    let shown = docker.ok(&["top", &container.id, "-o", "pid,comm"]);
    let lines: Vec<_> = shown.lines().map(words).collect();
    let pid = container.field(".State.Pid");
    assert!(lines.len() == 3 && lines[1..].iter().any(|line| line[..] == [pid.as_str(), "sh"]), "{shown}");
    // the pids are those of the room: /proc there has them
    let procs = read(container.cgroup("pids").join("cgroup.procs"));
    assert_eq!(procs.lines().count(), 2, "{procs}");
}
