//! `podman exec`, health checks, and the exit codes that Podman makes of the runtime's words.

use super::Podman;
use crate::checks::Check;
use crate::support::wait_for;

pub const CHECKS: &[Check<Podman>] = &[
    ("exec_plain", plain),
    ("exec_flags", flags),
    ("exec_terminal", terminal),
    ("exec_detached", detached),
    ("exec_failures", failures),
    ("exec_without_json", without_json),
    ("exec_health", health),
];

/// What an ordinary user tries.
pub const ROOTLESS: &[Check<Podman>] = &[
    ("exec_plain", plain),
    ("exec_flags", flags),
    ("exec_terminal", terminal),
    ("exec_detached", detached),
    ("exec_failures", failures),
    ("exec_keep_id", keep_id),
];

fn started(p: &Podman, name: &str) {
    p.ok(&format!("podman run -d --name {name} box sleep 1000"));
}

fn ended(p: &Podman, name: &str) {
    p.ok(&format!("podman rm -f -t 0 {name}"));
}

fn plain(p: &Podman) {
    started(p, "plain");
    p.says("podman exec plain sh -c 'echo out; cat; exit 0' </dev/null", "out");
    p.says("echo through | podman exec -i plain cat", "through");
    p.says("podman exec plain sh -c 'exit 42'; echo $?", "42");
    p.says("podman exec plain sh -c 'kill -9 $$'; echo $?", "137");
    p.says("podman exec plain sh -c 'echo err >&2' 2>&1 >/dev/null", "err");
    p.says("for n in 1 2 3 4 5; do podman exec plain echo $n; done | tr '\\n' ' '", "1 2 3 4 5");
    ended(p, "plain");
}

fn flags(p: &Podman) {
    started(p, "flags");
    p.says("podman exec -u mars flags id -un", "mars");
    p.says("podman exec -u 5:6 flags sh -c 'echo $(id -u) $(id -g)'", "5 6");
    p.says("podman exec -e A=1 -e B='2 3' flags sh -c 'echo $A $B'", "1 2 3");
    p.says("podman exec -w /tmp flags pwd", "/tmp");
    p.says(
        "podman exec flags cat /proc/self/cgroup | sort >a; podman exec flags cat /proc/1/cgroup | sort | cmp - a",
        "",
    );
    p.says("podman exec flags sh -c 'grep Seccomp: /proc/self/status | tr -s \"[:space:]\" \" \"'", "Seccomp: 2");
    ended(p, "flags");
}

fn terminal(p: &Podman) {
    started(p, "terminal");
    p.says("sleep 1 | script -qec 'podman exec -it terminal tty' /dev/null | grep -o /dev/pts/0", "/dev/pts/0");
    p.says(
        "sleep 1 | script -qec \"podman exec -it terminal sh -c 'test -t 0 && test -t 1 && echo both'\" /dev/null | grep -o both",
        "both",
    );
    p.says("sleep 1 | script -qec \"podman exec -it terminal sh -c 'exit 9'\" /dev/null >/dev/null; echo $?", "9");
    ended(p, "terminal");
}

fn detached(p: &Podman) {
    started(p, "detached_exec");
    let session = p.ok("podman exec -d detached_exec sh -c 'sleep 0.2; echo done >/tmp/done'");
    assert_eq!(session.len(), 64, "{session}");
    wait_for("what it does", || {
        (p.line("podman exec detached_exec cat /tmp/done").run().stdout.trim() == "done").then_some(())
    });
    ended(p, "detached_exec");
}

fn failures(p: &Podman) {
    started(p, "failures");
    p.fails("podman exec failures nonesuch", 127, "exec: \"nonesuch\": executable file not found in $PATH");
    p.fails("podman exec failures /etc", 126, "exec: \"/etc\": ");
    p.fails("podman exec -w /nonesuch failures true", 127, "/nonesuch");
    p.fails("podman exec nosuchcontainer true", 125, "no such container");
    p.says("podman exec failures true", "");
    p.fails("podman run --rm box nonesuch", 127, "nonesuch");
    p.fails("podman run --rm box /etc", 126, "exec: \"/etc\": ");
    ended(p, "failures");
    p.ok("podman run --name over box true");
    p.fails("podman exec over true", 255, "can only create exec sessions on running containers");
    p.ok("podman rm over");
}

/// A runtime whose name Podman does not know is driven by what it writes to stderr.
fn without_json(p: &Podman) {
    p.says("podman --runtime plain run --rm box echo text", "text");
    p.fails("podman --runtime plain run --rm box nonesuch", 127, "nonesuch");
    p.fails("podman --runtime plain run --rm box /etc", 126, "/etc");
    p.ok("podman --runtime plain run -d --name text box sleep 1000");
    p.says("podman exec text echo in", "in");
    p.fails("podman exec text nonesuch", 127, "nonesuch");
    ended(p, "text");
}

fn health(p: &Podman) {
    p.ok("podman run -d --name health --health-cmd 'test -e /tmp/well' --health-interval=disable box sleep 1000");
    p.fails("podman healthcheck run health", 1, "");
    p.ok("podman exec health touch /tmp/well && podman healthcheck run health");
    p.says("podman inspect -f '{{len .State.Health.Log}}' health || podman inspect -f '{{len .State.Healthcheck.Log}}' health", "2");
    ended(p, "health");
}

fn keep_id(p: &Podman) {
    p.says("podman run --rm --userns=keep-id box sh -c 'echo $(id -u) $(cat /proc/self/uid_map | wc -l)'", "4000 3");
    p.ok("podman run -d --userns=keep-id --name kept box sleep 1000");
    p.says("podman exec kept id -u", "4000");
    p.says("podman exec -u 0 kept id -u", "0");
    ended(p, "kept");
}
