//! Live restore: containers that go on while there is no dockerd, and what the next one knows of them.

use nix::sys::signal::Signal;

use super::Docker;

#[test]
fn docker_live_restore() {
    let Some(mut docker) = Docker::start(&["--live-restore"]) else { return };
    let script = "trap 'echo asked; exit 4' TERM; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done";
    let id = docker.ok(&["run", "-d", "-p", "8081:80", "box", "sh", "-c", script]).trim().to_owned();
    let short = docker.ok(&["run", "-d", "box", "sh", "-c", "sleep 1; exit 6"]).trim().to_owned();
    let pid = docker.ok(&["inspect", "-f", "{{.State.Pid}}", &id]);

    docker.daemon.take().unwrap().end(Signal::SIGKILL);
    let cmdline = format!("cat /proc/{}/cmdline", pid.trim());
    assert!(docker.room.shell(&cmdline).ok().stdout.starts_with("sh\0"), "it ended with the daemon");
    std::thread::sleep(std::time::Duration::from_secs(2));
    docker.start_daemon();

    assert_eq!(docker.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", &id]), format!("running {pid}"));
    assert_eq!(docker.ok(&["wait", &short]), "6\n", "of one that ended in the meantime");
    assert_eq!(docker.ok(&["exec", &id, "sh", "-c", "echo inside; readlink /proc/1/exe"]), "inside\n/bin/busybox\n");
    docker.ok(&["pause", &id]);
    docker.ok(&["unpause", &id]);
    docker.ok(&["update", "--pids-limit", "50", &id]);
    docker.ok(&["stop", "-t", "30", &id]);
    assert_eq!(docker.ok(&["inspect", "-f", "{{.State.ExitCode}}", &id]), "4\n");
    let logs = docker.ok(&["logs", &id]);
    assert!(logs.starts_with("line 1\n") && logs.ends_with("asked\n"), "{logs}");
    docker.ok(&["start", &id]);
    docker.ok(&["rm", "-f", &id, &short]);
}
