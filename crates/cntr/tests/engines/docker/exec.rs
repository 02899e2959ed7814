//! `docker exec`, and what Docker does by it: health checks.

use std::fs::{self, File};

use super::Docker;
use crate::checks::Check;
use crate::support::{read, wait_for};

pub const CHECKS: &[Check<Docker>] = &[
    ("exec", exec),
    ("exec_options", options),
    ("exec_stdin", stdin),
    ("exec_detached", detached),
    ("exec_is_inside", is_inside),
    ("exec_capabilities", capabilities),
    ("exec_missing_command", missing_command),
    ("exec_directory_as_command", directory_as_command),
    ("exec_many", many),
    ("exec_much_output", much_output),
    ("exec_ends_with_the_container", ends_with_the_container),
    ("exec_limits", limits),
    ("exec_read_only", read_only),
    ("exec_pid_host", pid_host),
    ("exec_stopped", stopped),
    ("exec_nothing_left", nothing_left),
    ("health", health),
];

fn exec(docker: &Docker) {
    let container = docker.idle(&[]);
    let out = container.exec(&[], "echo out; echo problem >&2; exit 7");
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(7), "out\n", "problem\n"), "{out:#?}");
    // what it writes is not the container's
    assert_eq!(container.ok(&["logs"]), "ready\n");
}

fn options(docker: &Docker) {
    let container = docker.idle(&["-e", "OLD=1", "-w", "/home", "-h", "mars"]);
    assert_eq!(container.says("pwd; echo $OLD; hostname; id -u"), "/home\n1\nmars\n0\n");
    let out = container.exec(&["-u", "1000:5", "-e", "A=b c", "-e", "OLD=2", "-w", "/tmp"], "id; echo $A $OLD; pwd");
    assert_eq!(out.stdout, "uid=1000(mars) gid=5 groups=5\nb c 2\n/tmp\n", "{out:#?}");
    assert_eq!(container.exec(&["-u", "mars"], "id -u; echo $HOME").stdout, "1000\n/home\n");
}

fn stdin(docker: &Docker) {
    let file = docker.room.path("exec-words");
    fs::write(&file, "one\ntwo\nthree\n").unwrap();
    let container = docker.idle(&[]);
    let command = docker.docker(&["exec", "-i", &container.id, "wc", "-l"]);
    assert_eq!(command.stdin(File::open(&file).unwrap()).ok().stdout, "3\n");
    // without -i there is nothing to be read
    let command = docker.docker(&["exec", &container.id, "wc", "-l"]);
    assert_eq!(command.stdin(File::open(&file).unwrap()).ok().stdout, "0\n");
}

fn detached(docker: &Docker) {
    let container = docker.idle(&[]);
    let out = container.exec(&["-d"], "sleep 0.3; echo done >/tmp/file");
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), ""), "{out:#?}");
    wait_for("a detached process", || (container.exec(&[], "cat /tmp/file").stdout == "done\n").then_some(()));
}

/// All namespaces, all cgroups, the root: those of the container's first process.
fn is_inside(docker: &Docker) {
    let container = docker.idle(&["--cgroupns", "private"]);
    let script = "for n in cgroup ipc mnt net pid user uts; do test $(readlink /proc/$$/ns/$n) = $(readlink /proc/1/ns/$n) \
        || echo $n; done; cat /proc/self/cgroup >/tmp/own; cmp /proc/1/cgroup /tmp/own 2>/dev/null || \
        test \"$(cat /proc/1/cgroup)\" = \"$(cat /tmp/own)\" || echo cgroups; ls / | head -n 1";
    assert_eq!(container.says(script), "bin\n");
    let long = container.exec(&["-d"], "exec sleep 3333");
    assert_eq!(long.code, Some(0), "{long:#?}");
    let members = || read(container.cgroup("pids").join("cgroup.procs")).lines().count();
    wait_for("three members of the cgroup", || (members() == 3).then_some(()));
}

/// What the container may: capabilities, no_new_privs, a seccomp filter, limits of its own.
fn capabilities(docker: &Docker) {
    let show =
        "grep -E '^(Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status; ulimit -n; cat /proc/self/oom_score_adj";
    let options = ["--cap-drop", "ALL", "--cap-add", "NET_RAW", "--security-opt", "no-new-privileges"];
    let more = ["--ulimit", "nofile=100:200", "--oom-score-adj", "300"];
    let container = docker.detached(&[&options[..], &more[..]].concat(), &format!("{show}; sleep 1000"));
    container.wait_log("300");
    let own = container.ok(&["logs"]);
    assert!(own.contains("CapEff:\t0000000000002000") && own.contains("Seccomp:\t2"), "{own}");
    assert_eq!(container.says(show), own);
    let other = container.exec(&["-u", "mars"], show).stdout;
    assert_eq!(other, own.replace("CapEff:\t0000000000002000", "CapEff:\t0000000000000000"));
}

/// Docker 20.10 says 126 where it means 127.
fn missing_command(docker: &Docker) {
    let container = docker.idle(&[]);
    let out = docker.docker(&["exec", &container.id, "nosuch"]).run();
    assert!(matches!(out.code, Some(126 | 127)), "{out:#?}");
    let said = format!("{}{}", out.stdout, out.stderr);
    assert!(said.contains("OCI runtime exec failed: exec failed: unable to start container process: "), "{out:#?}");
    assert!(said.contains("exec: \"nosuch\": executable file not found in $PATH"), "{out:#?}");
}

fn directory_as_command(docker: &Docker) {
    let container = docker.idle(&[]);
    let out = docker.docker(&["exec", &container.id, "/etc"]).run();
    assert_eq!(out.code, Some(126), "{out:#?}");
    assert!(format!("{}{}", out.stdout, out.stderr).contains("exec: \"/etc\""), "{out:#?}");
}

/// Sixteen at the same time, each with its own output and status.
fn many(docker: &Docker) {
    let container = docker.idle(&[]);
    let running: Vec<_> = (0..16)
        .map(|n| docker.docker(&["exec", &container.id, "sh", "-c", &format!("echo {n}; exit {n}")]).spawn())
        .collect();
    for (n, running) in running.into_iter().enumerate() {
        let out = running.wait();
        assert_eq!((out.code, out.stdout), (Some(n as i32), format!("{n}\n")));
    }
}

fn much_output(docker: &Docker) {
    let container = docker.idle(&[]);
    let out = container.exec(&[], "seq 1 1500000");
    assert_eq!((out.code, out.stdout.lines().count()), (Some(0), 1_500_000));
    assert!(out.stdout.ends_with("\n1500000\n"));
}

fn ends_with_the_container(docker: &Docker) {
    let container = docker.idle(&[]);
    let running = docker.docker(&["exec", &container.id, "sh", "-c", "echo here; sleep 1000; true"]).spawn();
    wait_for("an exec", || (running.stdout() == "here\n").then_some(()));
    container.ok(&["kill"]);
    assert_eq!(running.wait().code, Some(137));
}

/// What it uses is the container's.
fn limits(docker: &Docker) {
    let container = docker.idle(&["-m", "16m", "--memory-swap", "16m", "--pids-limit", "7"]);
    assert_eq!(container.exec(&[], "tail /dev/zero; echo $?").stdout, "137\n");
    let out = container.exec(&[], "for n in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait");
    assert!(out.stderr.contains("can't fork"), "{out:#?}");
    assert_eq!(container.field(".State.Status"), "running");
}

fn read_only(docker: &Docker) {
    let container = docker.idle(&["--read-only", "--tmpfs", "/scratch"]);
    let out = container.exec(&["-w", "/scratch"], "touch a && ls && touch /a");
    assert!(out.code == Some(1) && out.stdout == "a\n" && out.stderr.contains("Read-only file system"), "{out:#?}");
}

fn pid_host(docker: &Docker) {
    let container = docker.idle(&["--pid", "host"]);
    assert_eq!(container.says("grep -l '^dockerd$' /proc/[0-9]*/comm | wc -l"), "1\n");
}

fn stopped(docker: &Docker) {
    let container = docker.idle(&[]);
    container.ok(&["stop"]);
    let out = container.exec(&[], "true");
    assert!(out.code == Some(1) && out.stderr.contains("is not running"), "{out:#?}");
}

/// The container has its own two processes afterwards, and none that nobody has waited for.
fn nothing_left(docker: &Docker) {
    let container = docker.idle(&[]);
    for _ in 0..5 {
        container.says("true & exit 0");
    }
    let members = || read(container.cgroup("pids").join("cgroup.procs")).lines().count();
    wait_for("two members of the cgroup", || (members() == 2).then_some(()));
    assert_eq!(container.says("grep -l '^State:.Z' /proc/[0-9]*/status; true"), "");
}

fn health(docker: &Docker) {
    let check = ["--health-cmd", "cat /tmp/fine", "--health-interval", "200ms", "--health-retries", "2"];
    let container = docker.idle(&check);
    container.wait_field(".State.Health.Status", "unhealthy");
    container.says("echo well >/tmp/fine");
    container.wait_field(".State.Health.Status", "healthy");
    let last = container.field("range .State.Health.Log}}{{.ExitCode}}={{.Output}} {{end");
    assert!(last.contains("1=cat: ") && last.contains("0=well"), "{last:?}");
}
