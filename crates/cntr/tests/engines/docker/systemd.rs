//! Docker on a machine with systemd, cgroup v2 alone, all capabilities and AppArmor: what differs there.

use super::{Docker, exec, life, limits, run, terminal};
use crate::checks::{self, Check};
use crate::room::Room;
use crate::support::{host, read};

const CHECKS: &[Check<Docker>] =
    &[("unit", unit), ("privileged", privileged), ("privileged_exec", privileged_exec), ("apparmor", apparmor)];

/// Of the other checks: the emulator takes seconds for each container. (Not `run_seccomp`: what it does without a filter is
/// forbidden by Docker's AppArmor profile here.)
const CHOSEN: &[&str] = &[
    "run",
    "run_missing_command",
    "limits",
    "limits_update",
    "limits_cpuset",
    "limits_oom",
    "pause",
    "stats",
    "exec",
    "exec_limits",
    "exec_capabilities",
    "health",
    "restart",
    "terminal_exec",
];

#[test]
fn docker_with_systemd() {
    let Some(mut docker) = Docker::prepared(Room::whole_machine, &[], |_| ()) else { return };
    let others = [run::CHECKS, limits::CHECKS, exec::CHECKS, life::CHECKS, terminal::CHECKS].concat();
    let chosen = others.into_iter().filter(|(name, _)| CHOSEN.contains(name));
    checks::run("docker_with_systemd", &docker, &CHECKS.iter().copied().chain(chosen).collect::<Vec<_>>());
    docker.stop();
}

/// `dockerd --userns-remap`, by the range of an ordinary user.
#[test]
fn docker_userns_remap_with_systemd() {
    let Some(mut docker) = Docker::prepared(Room::whole_machine, &["--userns-remap", "user"], |_| ()) else { return };
    checks::run("docker_userns_with_systemd", &docker, &[("remapped", remapped)]);
    docker.stop();
}

/// The limits are the unit's, exec joins it, and it goes with the container.
fn unit(docker: &Docker) {
    let container = docker.idle(&["-m", "64m", "--cpus", "0.5", "--pids-limit", "77"]);
    let name = format!("docker-{}.scope", container.id);
    let show = || host("systemctl", &["show", "-p", "MemoryMax", "-p", "CPUQuotaPerSecUSec", "-p", "TasksMax", &name]);
    assert_eq!(show(), "CPUQuotaPerSecUSec=500ms\nMemoryMax=67108864\nTasksMax=77\n");
    container.ok(&["update", "--pids-limit", "88"]);
    assert_eq!(show(), "CPUQuotaPerSecUSec=500ms\nMemoryMax=67108864\nTasksMax=88\n");
    // daemon-reload has systemd write its own idea of limits and devices again
    host("systemctl", &["daemon-reload"]);
    assert_eq!(container.limit("pids", "", "pids.max"), "88");
    let out = container.exec(&[], "cat /proc/1/cgroup /proc/self/cgroup; : >/dev/null && echo open");
    assert_eq!(out.stdout, "0::/\n0::/\nopen\n", "{out:#?}");
    container.ok(&["rm", "--force"]);
    assert_eq!(host("systemctl", &["list-units", "--all", "--no-legend", &name]), "");
}

/// `CapEff:` of this process: all that the machine has.
fn everything() -> String {
    let status = read("/proc/self/status");
    status.lines().find(|line| line.starts_with("CapEff")).unwrap().to_owned()
}

fn privileged(docker: &Docker) {
    let script = "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; mount -t tmpfs tmpfs /mnt && echo mounted; \
        test -c /dev/kmsg && : >/dev/kmsg && echo kmsg; cat /proc/self/attr/current";
    let out = docker.run(&["--privileged"], script);
    let seen = out.stdout.trim_end_matches('\0');
    assert_eq!(seen, format!("{}\nSeccomp:\t0\nmounted\nkmsg\nunconfined\n", everything()), "{out:#?}");
}

fn privileged_exec(docker: &Docker) {
    let container = docker.idle(&[]);
    let script = "grep CapEff /proc/self/status";
    assert_eq!(container.says(script), "CapEff:\t00000000a80425fb\n");
    assert_eq!(container.exec(&["--privileged"], script).stdout, format!("{}\n", everything()));
    assert_eq!(container.says(script), "CapEff:\t00000000a80425fb\n");
}

/// Docker's own profile, for what exec starts as well.
fn apparmor(docker: &Docker) {
    let container = docker.idle(&[]);
    let script = "cat /proc/1/attr/current /proc/self/attr/current; mount -t tmpfs tmpfs /mnt";
    let out = container.exec(&[], script);
    assert_eq!(out.stdout.replace('\0', ""), "docker-default (enforce)\n".repeat(2), "{out:#?}");
    assert_ne!(out.code, Some(0));
}

fn remapped(docker: &Docker) {
    let container = docker.idle(&["-m", "64m", "--pids-limit", "50"]);
    let out = docker.run(&[], "tr -s ' ' </proc/self/uid_map; id -u; stat -c %u /etc");
    assert_eq!(out.stdout, " 0 100000 65536\n0\n0\n", "{out:#?}");
    assert_eq!(container.limit("pids", "", "pids.max"), "50");
    // its cgroup belongs to its root, whom the host does not know as its own
    let out = container.exec(&[], "id -u; cat /proc/1/cgroup; cat /proc/self/cgroup");
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert!(matches!(lines[..], ["0", init, own] if init == own), "{out:#?}");
    container.ok(&["pause"]);
    container.ok(&["unpause"]);
    let host = docker.run(&["--userns", "host"], "tr -s ' ' </proc/self/uid_map");
    assert_eq!(host.stdout, " 0 0 4294967295\n");
    container.ok(&["stop"]);
    assert_eq!(container.field(".State.ExitCode"), "0");
}
