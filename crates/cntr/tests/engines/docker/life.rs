//! A container's life: create, start, signals, stop, restart, wait, logs, remove.

use std::time::Instant;

use super::Docker;
use crate::checks::Check;
use crate::support::{patience, wait_for};

pub const CHECKS: &[Check<Docker>] = &[
    ("create_start", create_start),
    ("start_interactive", start_interactive),
    ("kill_signal", kill_signal),
    ("stop", stop),
    ("stop_by_force", stop_by_force),
    ("stop_signal", stop_signal),
    ("restart", restart),
    ("restart_policy", restart_policy),
    ("start_again", start_again),
    ("logs", logs),
    ("logs_long", logs_long),
    ("inspect", inspect),
    ("rm_force", rm_force),
    ("many", many),
];

fn create_start(docker: &Docker) {
    let id = docker.ok(&["create", "box", "sh", "-c", "echo out; exit 3"]);
    let out = docker.docker(&["start", "-a", id.trim()]).run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(3), "out\n"), "{out:#?}");
    docker.ok(&["rm", id.trim()]);
}

fn start_interactive(docker: &Docker) {
    let file = docker.room.path("input");
    std::fs::write(&file, "hello\n").unwrap();
    let id = docker.ok(&["create", "-i", "box", "cat"]);
    let out = docker.docker(&["start", "-ai", id.trim()]).stdin(std::fs::File::open(&file).unwrap()).ok();
    assert_eq!(out.stdout, "hello\n");
    docker.ok(&["rm", id.trim()]);
}

fn kill_signal(docker: &Docker) {
    let script =
        "trap 'echo usr1' USR1; trap 'echo hup; exit 4' HUP; echo ready; while :; do sleep 1000 & wait $!; done";
    let container = docker.detached(&[], script);
    container.wait_log("ready");
    container.ok(&["kill", "-s", "USR1"]);
    container.wait_log("usr1");
    container.ok(&["kill", "--signal", "1"]);
    assert_eq!(container.ok(&["wait"]), "4\n");
    assert_eq!(container.ok(&["logs"]), "ready\nusr1\nhup\n");
}

fn stop(docker: &Docker) {
    let container = docker.idle(&[]);
    let start = Instant::now();
    container.ok(&["stop", "-t", "30"]);
    assert!(start.elapsed() < patience(15), "{:?}", start.elapsed());
    assert_eq!(container.field(".State.ExitCode"), "0");
}

/// What hears no SIGTERM is killed after a second.
fn stop_by_force(docker: &Docker) {
    let container = docker.detached(&[], "trap '' TERM; echo ready; while :; do sleep 1; done");
    container.wait_log("ready");
    container.ok(&["stop", "-t", "1"]);
    assert_eq!(container.field(".State.ExitCode"), "137");
}

fn stop_signal(docker: &Docker) {
    let script = "trap 'exit 6' QUIT; echo ready; while :; do sleep 1000 & wait $!; done";
    let container = docker.detached(&["--stop-signal", "SIGQUIT"], script);
    container.wait_log("ready");
    container.ok(&["stop", "-t", "30"]);
    assert_eq!(container.field(".State.ExitCode"), "6");
}

fn restart(docker: &Docker) {
    let container = docker.idle(&[]);
    let pid = container.field(".State.Pid");
    container.ok(&["restart", "-t", "30"]);
    wait_for("a second start", || (container.ok(&["logs"]) == "ready\nready\n").then_some(()));
    assert_ne!(container.field(".State.Pid"), pid);
    assert_eq!(container.field(".State.Status"), "running");
}

fn restart_policy(docker: &Docker) {
    let container = docker.detached(&["--restart", "on-failure:2"], "echo once; exit 1");
    wait_for("three starts", || (container.ok(&["logs"]) == "once\nonce\nonce\n").then_some(()));
    container.wait_field(".State.Status", "exited");
    assert_eq!(container.field(".RestartCount"), "2");
}

/// The file system is kept from one start to the next.
fn start_again(docker: &Docker) {
    let container = docker.detached(&[], "echo line >>/file; wc -l </file");
    assert_eq!(container.ok(&["wait"]), "0\n");
    container.ok(&["start"]);
    assert_eq!(container.ok(&["wait"]), "0\n");
    assert_eq!(container.ok(&["logs"]), "1\n2\n");
}

fn logs(docker: &Docker) {
    let container = docker.detached(&[], "echo one; echo two >&2; echo three");
    container.ok(&["wait"]);
    let out = docker.docker(&["logs", &container.id]).ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("one\nthree\n", "two\n"), "{out:#?}");
    let followed = docker.detached(&[], "sleep 0.5; echo late");
    assert_eq!(followed.ok(&["logs", "-f"]), "late\n");
}

/// Ten megabytes, and every line of it.
fn logs_long(docker: &Docker) {
    let out = docker.run(&[], "seq 1 1500000");
    assert_eq!((out.code, out.stdout.lines().count()), (Some(0), 1_500_000));
    assert!(out.stdout.ends_with("\n1500000\n"));
}

fn inspect(docker: &Docker) {
    let container = docker.idle(&["--name", "looked-at"]);
    assert_eq!(container.field(".HostConfig.Runtime"), "judged");
    let pid = container.field(".State.Pid");
    let first = docker.room.shell(&format!("grep NSpid /proc/{pid}/status")).ok().stdout;
    assert!(first.ends_with("\t1\n"), "{first:?}");
    container.ok(&["stop"]);
    assert_eq!(container.field(".State.Status"), "exited");
    assert_eq!(container.field(".State.Pid"), "0");
}

fn rm_force(docker: &Docker) {
    let container = docker.detached(&[], "sleep 1000");
    let cgroup = container.cgroup("pids");
    assert!(cgroup.is_dir());
    container.ok(&["rm", "-f"]);
    assert!(!cgroup.exists());
    assert!(!docker.ok(&["ps", "-aq", "--no-trunc"]).contains(&container.id));
}

/// Ten at once.
fn many(docker: &Docker) {
    let running: Vec<_> = (0..10)
        .map(|n| docker.docker(&["run", "--rm", "--network", "none", "box", "sh", "-c", &format!("exit {n}")]).spawn())
        .collect();
    let codes: Vec<_> = running.into_iter().map(|r| r.wait().code.unwrap()).collect();
    assert_eq!(codes, (0..10).collect::<Vec<_>>());
}
