//! `ctr task`: what is done to a container that runs.

use std::fs;

use serde_json::{Value, json};

use super::Containerd;
use crate::checks::Check;
use crate::support::{read, wait_for, words};

pub const CHECKS: &[Check<Containerd>] = &[
    ("exec", exec),
    ("exec_stdin", exec_stdin),
    ("exec_tty", exec_tty),
    ("exec_detached", exec_detached),
    ("exec_cgroup", exec_cgroup),
    ("exec_parallel", exec_parallel),
    ("exec_paused", exec_paused),
    ("kill", kill),
    ("kill_all", kill_all),
    ("kill_host_pids", kill_host_pids),
    ("kill_stopped", kill_stopped),
    ("pause_resume", pause_resume),
    ("metrics", metrics),
    ("task_delete", delete),
    ("task_start", start),
    ("shim_dies", shim_dies),
];

fn exec(c: &Containerd) {
    let container = c.detached("exec", &["--env", "WORD=config"], "sleep 1000");
    let out = container.exec(&[], "id -u; echo $WORD; pwd; echo problem >&2; exit 3");
    assert_eq!((out.code, out.stdout.as_str()), (Some(3), "0\nconfig\n/\n"), "{out:#?}");
    assert_eq!(out.stderr, "problem\n");
    let out = container.exec(&["--cwd", "/tmp", "--user", "mars"], "id -u; id -g; pwd");
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "1000\n1000\n/tmp\n"), "{out:#?}");
    let out = container.exec(&[], "kill -9 $$");
    assert_eq!(out.code, Some(137), "{out:#?}");
    assert_eq!(container.status().as_deref(), Some("RUNNING"));
}

fn exec_stdin(c: &Containerd) {
    let container = c.detached("execstdin", &[], "sleep 1000");
    let text = c.room.path("exec.text");
    fs::write(&text, "a line\n".repeat(20_000)).unwrap();
    let out = container.exec_with(&[], &["cat"]).stdin(fs::File::open(&text).unwrap()).ok();
    assert!(out.stdout == read(&text), "{} of {} bytes have arrived", out.stdout.len(), read(&text).len());
}

fn exec_tty(c: &Containerd) {
    let container = c.detached("exectty", &[], "sleep 1000");
    let out = container.exec(&[], "tty");
    assert_eq!((out.code, out.stdout.as_str()), (Some(1), "not a tty\n"), "{out:#?}");
    let out = c.terminal("ctr task exec --exec-id t --tty exectty sh -c 'tty; test -t 0 -a -t 2 && exit 5'");
    assert!(out.code == Some(5) && out.stdout.replace('\r', "").contains("/dev/pts/0\n"), "{out:#?}");
}

/// A process in the background: the shim knows it by its exec id, and so can it be killed.
fn exec_detached(c: &Containerd) {
    let container = c.detached("execd", &[], "sleep 1000");
    c.ok(&["task", "exec", "--detach", "--exec-id", "back", "execd", "sleep", "2000"]);
    let ps = || c.ok(&["task", "ps", "execd"]);
    assert!(ps().contains("ExecID:back"), "{}", ps());
    assert_eq!(ps().lines().count(), 3, "{}", ps());
    c.ok(&["task", "kill", "--exec-id", "back", "-s", "KILL", "execd"]);
    wait_for("the end of the process", || (ps().lines().count() == 2).then_some(()));
    assert_eq!(container.status().as_deref(), Some("RUNNING"));
}

/// What exec starts is in the container's cgroups and namespaces.
fn exec_cgroup(c: &Containerd) {
    let container = c.detached("execcg", &[], "sleep 1000");
    let script = "cat /proc/self/cgroup; for n in pid mnt net ipc uts cgroup; do readlink /proc/self/ns/$n; done";
    let init = script.replace("/self/", "/1/");
    let (new, init) = (container.exec(&[], script), container.exec(&["--user", "0"], &init));
    assert_eq!((new.code, &new.stdout), (Some(0), &init.stdout), "{new:#?}{init:#?}");
}

fn exec_parallel(c: &Containerd) {
    let container = c.detached("execmany", &[], "sleep 1000");
    for round in 0..3 {
        let running: Vec<_> = (0..8).map(|i| container.spawn(&format!("echo {round}.{i}; exit {i}"))).collect();
        for (i, process) in running.into_iter().enumerate() {
            let out = process.wait();
            assert_eq!((out.code, out.stdout), (Some(i as i32), format!("{round}.{i}\n")), "{}", out.stderr);
        }
    }
    assert_eq!(c.ok(&["task", "ps", "execmany"]).lines().count(), 2, "processes are left");
}

/// containerd refuses by itself, before it asks the runtime.
fn exec_paused(c: &Containerd) {
    let container = c.detached("execpaused", &[], "sleep 1000");
    c.ok(&["task", "pause", "execpaused"]);
    let out = container.exec(&[], "true");
    assert!(out.code == Some(1) && out.stderr.contains("paused"), "{out:#?}");
    c.ok(&["task", "resume", "execpaused"]);
    assert_eq!(container.exec(&[], "true").code, Some(0));
}

fn kill(c: &Containerd) {
    let script = "trap 'exit 9' USR1; touch /ready; while :; do sleep 0.05; done";
    let container = c.detached("kill", &[], script);
    wait_for("the trap", || (container.exec(&[], "test -e /ready").code == Some(0)).then_some(()));
    container.kill("SIGUSR1");
    container.wait_status("STOPPED");
    let out = c.ctr(&["task", "rm", "kill"]).run();
    assert!(out.stderr.contains("exit code 9"), "{out:#?}");
}

fn kill_all(c: &Containerd) {
    let container = c.detached("killall", &[], "sleep 1000 & sleep 2000 & wait");
    c.ok(&["task", "kill", "--all", "--signal", "KILL", "killall"]);
    container.wait_status("STOPPED");
}

/// Processes that init leaves behind in a pid namespace which is not its own are killed with the container.
fn kill_host_pids(c: &Containerd) {
    let container = c.detached("hostpids", &["--with-ns", "pid:/proc/1/ns/pid"], "sleep 1234 & echo $! >/child; wait");
    let child = wait_for("the child", || {
        let out = container.exec(&[], "cat /child");
        out.stdout.trim().parse::<i32>().ok()
    });
    assert!(read(c.proc(child, "cmdline")).contains("1234"), "the pid namespace is not the room's");
    container.kill("KILL");
    container.wait_status("STOPPED");
    c.ctr(&["task", "rm", "hostpids"]).run();
    wait_for("the end of the child", || (!c.proc(child, "cmdline").exists()).then_some(()));
}

fn kill_stopped(c: &Containerd) {
    let container = c.detached("killstopped", &[], "exit 0");
    container.wait_status("STOPPED");
    let out = c.ctr(&["task", "kill", "killstopped"]).run();
    assert!(out.code == Some(1) && out.stderr.contains("not found"), "{out:#?}");
}

pub fn pause_resume(c: &Containerd) {
    let script = "i=0; while :; do i=$((i + 1)); echo $i >/count; done";
    let container = c.detached("pause", &["--cpus", "0.2"], script);
    let count = || read(c.proc(container.pid, "root/count")).trim().parse::<u64>().unwrap_or(0);
    wait_for("the container's work", || (count() > 0).then_some(()));
    c.ok(&["task", "pause", "pause"]);
    assert_eq!(container.status().as_deref(), Some("PAUSED"));
    let paused = count();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(), paused, "it has gone on");
    c.ok(&["task", "resume", "pause"]);
    assert_eq!(container.status().as_deref(), Some("RUNNING"));
    wait_for("the container's work", || (count() > paused).then_some(()));
}

/// The shim reads the cgroups' files itself: they are where /proc says.
pub fn metrics(c: &Containerd) {
    let container = c.detached("metrics", &["--memory-limit", "67108864"], "sleep 1000");
    let metrics: Value =
        serde_json::from_str(&c.ok(&["task", "metrics", "--format", "json", "metrics"])).expect("JSON");
    assert_eq!(metrics["pids"]["current"], 1, "{metrics}");
    let limit = metrics["memory"]["usage"]["limit"].as_u64().or(metrics["memory"]["usage_limit"].as_u64());
    assert_eq!(limit, Some(67_108_864), "{metrics}");
    drop(container);
}

/// A task that runs is not deleted, except by force; then nothing of it is left.
fn delete(c: &Containerd) {
    let container = c.detached("delete", &[], "sleep 1000");
    let out = c.ctr(&["task", "rm", "delete"]).run();
    assert!(out.code == Some(1) && container.status().as_deref() == Some("RUNNING"), "{out:#?}");
    let cgroup = read(c.proc(container.pid, "cgroup"));
    assert!(words(&cgroup).iter().any(|l| l.ends_with(&format!("{}/delete", c.room.id))), "{cgroup}");
    c.ctr(&["task", "rm", "--force", "delete"]).run();
    assert_eq!(container.status(), None);
    assert!(!c.room.path("runtime/default/delete").exists(), "the runtime has kept its state");
    let left = crate::support::leftovers::cgroups(&c.room.id);
    let left: Vec<_> = left.into_iter().filter(|dir| dir.join("delete").exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A container and its task in two steps, with the runtime that is called `runc`; the same id again after that.
fn start(c: &Containerd) {
    let file = c.config_file("start", "echo started; exit 6", |_| ());
    for round in ["first", "second"] {
        let output = c.room.path(round);
        let uri = format!("file://{}", output.display());
        c.ok(&["c", "create", "--config", &file, "start"]);
        let out = c.ctr(&["task", "start", "--log-uri", &uri, "start"]).run();
        assert_eq!((out.code, read(&output).as_str()), (Some(6), "started\n"), "{out:#?}");
        c.ctr(&["task", "rm", "start"]).run();
        c.ok(&["c", "rm", "start"]);
    }
    c.ok(&[
        "c",
        "create",
        "--config",
        &c.config_file("start", "", |config| config["process"]["args"] = json!(["nosuch"])),
        "start",
    ]);
    let out = c.ctr(&["task", "start", "start"]).run();
    assert!(
        out.code == Some(1) && out.stderr.contains("exec: \"nosuch\": executable file not found in $PATH"),
        "{out:#?}"
    );
    c.ok(&["c", "rm", "start"]);
}

/// If a shim dies, containerd has the runtime delete what the shim had: by its id, in a new process.
fn shim_dies(c: &Containerd) {
    let container = c.detached("orphan", &[], "sleep 1000");
    let status = read(c.proc(container.pid, "status"));
    let shim = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).expect("a parent").to_owned();
    c.room.shell(&format!("kill -9 {shim}")).ok();
    wait_for("the end of the container", || (!c.proc(container.pid, "status").exists()).then_some(()));
    wait_for("the end of its task", || {
        container.status().is_none_or(|s| s == "STOPPED" || s == "UNKNOWN").then_some(())
    });
    wait_for("the end of its state", || (!c.room.path("runtime/default/orphan").exists()).then_some(()));
}
