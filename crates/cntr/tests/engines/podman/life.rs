//! From `create` to `rm`: what is done to a container that is there.

use super::Podman;
use crate::checks::Check;
use crate::support::wait_for;

pub const CHECKS: &[Check<Podman>] = &[
    ("life_detached", detached),
    ("life_create_start", create_start),
    ("life_signals", signals),
    ("life_stop", stop),
    ("life_restart_policy", restart_policy),
    ("life_pause", pause),
    ("life_update", update),
    ("life_look", look),
    ("life_copy", copy),
    ("life_commit", commit),
    ("life_attach", attach),
    ("life_nothing_left", nothing_left),
];

/// The part of `podman inspect` that a template shows.
fn inspect(p: &Podman, name: &str, template: &str) -> String {
    p.ok(&format!("podman inspect -f '{template}' {name}"))
}

fn status(p: &Podman, name: &str) -> String {
    inspect(p, name, "{{.State.Status}} {{.State.ExitCode}}")
}

fn detached(p: &Podman) {
    let id = p.ok("podman run -d --name detached box sh -c 'echo begun; sleep 0.3; echo ended; exit 3'");
    assert_eq!(id.len(), 64);
    p.says("podman wait detached", "3");
    p.says("podman logs detached", "begun\nended");
    assert_eq!(status(p, "detached"), "exited 3");
    p.says("podman start -a detached; echo $?", "begun\nended\n3");
    p.ok("podman rm detached");
    // its end alone removes it
    let id = p.ok("podman run -d --rm box sleep 0.1");
    wait_for("--rm", || (p.line(&format!("podman container exists {id}")).run().code == Some(1)).then_some(()));
}

/// Podman has `init`, which creates in the runtime's sense, and no more.
fn create_start(p: &Podman) {
    p.ok("podman create --name created box sh -c 'echo runs; sleep 1000'");
    assert_eq!(status(p, "created"), "created 0");
    p.ok("podman init created");
    assert_eq!(status(p, "created"), "initialized 0");
    let pid = inspect(p, "created", "{{.State.Pid}}");
    p.says("podman logs created", "");
    p.ok("podman start created");
    assert_eq!((status(p, "created"), inspect(p, "created", "{{.State.Pid}}")), ("running 0".into(), pid));
    wait_for("its first word", || (p.ok("podman logs created") == "runs").then_some(()));
    p.fails("podman rm created", 2, "running");
    p.says("podman rename created renamed && podman rm -f -t 0 renamed", "renamed");
    p.fails("podman start renamed", 125, "no such container");
    // created and never started
    p.ok("podman create --name never box sleep 1000 && podman init never && podman rm -f never");
}

const TRAPS: &str = r#"trap "echo usr1" USR1; trap "echo term; exit 7" TERM; echo ready; while :; do sleep 0.05; done"#;

fn started(p: &Podman, name: &str, script: &str) {
    p.ok(&format!("podman run -d --name {name} box sh -c '{script}'"));
    wait_for("the program", || p.ok(&format!("podman logs {name}")).contains("ready").then_some(()));
}

fn signals(p: &Podman) {
    started(p, "signals", TRAPS);
    p.says("podman kill -s USR1 signals", "signals");
    wait_for("USR1", || p.ok("podman logs signals").contains("usr1").then_some(()));
    p.says("podman kill --signal 15 signals && podman wait signals", "signals\n7");
    p.fails("podman kill signals", 125, "can only kill running containers");
    p.says("podman start signals && podman kill signals && podman wait signals", "signals\nsignals\n137");
    p.fails("podman kill -s NOSUCH signals", 125, "invalid signal");
    p.ok("podman rm signals");
    // the signal of a foreground podman goes to the container
    let running = p.line(&format!("exec podman run --rm --name proxied box sh -c '{TRAPS}'")).spawn();
    wait_for("the program", || running.stdout().contains("ready").then_some(()));
    p.ok("pkill -TERM -f '^podman run --rm --name proxied'");
    let out = running.wait();
    assert_eq!((out.code, out.stdout.as_str()), (Some(7), "ready\nterm\n"), "{out:#?}");
}

fn stop(p: &Podman) {
    started(p, "stopped", TRAPS);
    p.says("podman stop -t 5 stopped", "stopped");
    assert_eq!(status(p, "stopped"), "exited 7");
    p.says("podman stop stopped", "stopped");
    let first = p.ok("podman start stopped >/dev/null; podman inspect -f '{{.State.Pid}}' stopped");
    p.ok("podman restart -t 5 stopped");
    let second = inspect(p, "stopped", "{{.State.Status}} {{.State.Pid}}");
    assert!(second.starts_with("running ") && second != format!("running {first}"), "{second}");
    p.ok("podman rm -f -t 0 stopped");
    // who does not listen is killed
    started(p, "deaf", "trap \"\" TERM; echo ready; while :; do sleep 0.05; done");
    p.ok("podman stop -t 1 deaf 2>/dev/null");
    assert_eq!(status(p, "deaf"), "exited 137");
    p.ok("podman rm deaf");
}

fn restart_policy(p: &Podman) {
    p.ok("podman run -d --name again --restart on-failure:2 box sh -c 'echo run; exit 1'");
    wait_for("two restarts", || (p.ok("podman logs again") == "run\nrun\nrun").then_some(()));
    wait_for("its end", || (status(p, "again") == "exited 1").then_some(()));
    assert_eq!(inspect(p, "again", "{{.RestartCount}}"), "2");
    p.ok("podman rm again");
}

fn pause(p: &Podman) {
    started(p, "paused", "echo ready; while :; do date +%s.%N >/tmp/now; sleep 0.02; done");
    let pid = inspect(p, "paused", "{{.State.Pid}}");
    let now = || p.ok(&format!("cat /proc/{pid}/root/tmp/now"));
    p.says("podman pause paused", "paused");
    assert_eq!(status(p, "paused"), "paused 0");
    let then = now();
    p.says("sleep 0.2; podman ps -a --filter status=paused --format '{{.Names}}'", "paused");
    assert_eq!(now(), then);
    p.fails("podman exec paused true", 255, "can only create exec sessions on running containers");
    p.fails("podman pause paused", 125, "already paused");
    p.says("podman unpause paused", "paused");
    wait_for("the container to go on", || (now() != then).then_some(()));
    p.fails("podman unpause paused", 125, "not paused");
    p.ok("podman pause paused && podman rm -f -t 0 paused");
}

fn update(p: &Podman) {
    p.ok("podman run -d --name updated -m 64m --cgroupns host box sleep 1000");
    let pid = inspect(p, "updated", "{{.State.Pid}}");
    let in_cgroup = |controller: &str, file: &str| {
        p.ok(&format!(
            "cat /sys/fs/cgroup/{controller}$(sed -n 's/^[0-9]*:{controller}://p' /proc/{pid}/cgroup)/{file}"
        ))
    };
    assert_eq!(in_cgroup("memory", "memory.limit_in_bytes"), "67108864");
    p.ok("podman update --memory 96m --cpu-shares 512 --cpus 0.7 --cpuset-cpus 1 updated");
    assert_eq!(in_cgroup("memory", "memory.limit_in_bytes"), "100663296");
    assert_eq!(in_cgroup("cpu", "cpu.shares"), "512");
    assert_eq!(in_cgroup("cpu", "cpu.cfs_quota_us"), "70000");
    assert_eq!(in_cgroup("cpuset", "cpuset.cpus"), "1");
    p.fails("podman update --cpuset-cpus 4096 updated", 125, "cpuset.cpus");
    assert_eq!(in_cgroup("cpuset", "cpuset.cpus"), "1");
    p.ok("podman rm -f -t 0 updated");
}

/// `ps`, `top`, `stats`, `inspect`, `logs`.
fn look(p: &Podman) {
    p.ok("podman run -d --name looked -u mars --cpus 1.5 -l a=b box sh -c 'echo out; echo err >&2; sleep 1234 & exec sleep 4321'");
    p.says(
        "podman ps --filter name=looked --format '{{.Names}} {{.Image}} {{.Labels.a}}'",
        "looked localhost/box:latest b",
    );
    p.says("podman top looked user pid comm | tail -n +2 | tr -s ' '", "mars 1 sleep\nmars 2 sleep");
    p.says("podman top looked pid args | tail -n +2 | tr -s ' ' | sed 's/ $//'", "1 sleep 4321\n2 sleep 1234");
    p.says("podman top looked -- -o pid | wc -l", "3");
    p.says("podman stats --no-stream --format '{{.Name}} {{.PIDs}}' looked", "looked 2");
    let memory = p.ok("podman stats --no-stream --no-reset --format '{{.MemUsage}}' looked");
    assert!(memory.contains("B / ") && !memory.starts_with("0B"), "{memory}");
    assert_eq!(
        inspect(p, "looked", "{{.HostConfig.NanoCpus}} {{.Config.User}} {{.OCIRuntime}}"),
        "1500000000 mars cntr"
    );
    let out = p.line("podman logs looked").ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
    p.says("podman logs --timestamps --tail 1 looked 2>&1 | wc -l", "1");
    p.ok("podman rm -f -t 0 looked");
}

fn copy(p: &Podman) {
    p.ok("podman run -d --name copied --tmpfs /t box sleep 1000");
    p.ok("mkdir -p tree/sub && echo text >tree/sub/file && podman cp tree copied:/tmp");
    p.ok("podman cp copied:/tmp/tree/sub/file back && cmp back tree/sub/file");
    // into what is mounted in the container only
    p.ok("podman cp back copied:/t/ && podman cp copied:/t/back - | tar -t | grep -x back");
    p.ok("podman pause copied && podman cp copied:/etc/passwd - | tar -xO | grep '^mars'");
    p.ok("podman unpause copied && podman rm -f -t 0 copied");
}

fn commit(p: &Podman) {
    started(p, "source", "echo made >/made; echo ready; sleep 1000");
    // it pauses the container meanwhile
    p.ok("podman commit -q source localhost/running");
    assert_eq!(status(p, "source"), "running 0");
    p.says("podman run --rm running cat /made", "made");
    p.ok("podman pause source && podman commit -q source localhost/paused");
    assert_eq!(status(p, "source"), "paused 0");
    p.says("podman run --rm localhost/paused cat /made", "made");
    p.ok("podman commit -q --pause=false source localhost/unpaused");
    p.ok("podman rm -f -t 0 source && podman rmi running localhost/paused unpaused");
}

fn attach(p: &Podman) {
    p.ok("podman run -d -i --name attached box sh -c 'echo ready; while read line; do echo got $line; done; exit 5'");
    wait_for("the program", || p.ok("podman logs attached").contains("ready").then_some(()));
    let out = p.line("{ sleep 0.5; echo one; echo two; } | podman attach attached").run();
    assert_eq!(out.stdout.trim_end(), "got one\ngot two", "{out:#?}");
    p.ok("podman rm -f -t 0 attached");
}

/// After a container's end there is no cgroup of its, no state of the runtime's and no process; conmon has gone.
fn nothing_left(p: &Podman) {
    let id = p.ok("podman run -d --pid host box sh -c 'sleep 7531 & sleep 7531'");
    p.ok(&format!("podman rm -f -t 0 {id}"));
    assert_eq!(p.machine.cgroups(&format!("libpod-{id}")), [""; 0]);
    p.says(&format!("ls /run/runc /run/user/*/runc 2>/dev/null | grep {id} || true"), "");
    wait_for("its processes to end", || {
        let left = p.ok("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '");
        (!left.contains(&id) && !left.contains("sleep 7531")).then_some(())
    });
}
