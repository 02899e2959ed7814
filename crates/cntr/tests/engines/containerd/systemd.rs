//! containerd on a machine with systemd, cgroup v2 alone, all capabilities and AppArmor.

use super::{Containerd, IMAGE, task};
use crate::checks::Check;
use crate::support::{host, read};

pub const CHECKS: &[Check<Containerd>] = &[
    ("limits", limits),
    ("pause_resume", task::pause_resume),
    ("metrics", task::metrics),
    ("privileged", privileged),
    ("apparmor", apparmor),
];

/// The limits are the unit's, and so are the processes that exec adds.
fn limits(c: &Containerd) {
    let options = ["--memory-limit", "67108864", "--cpus", "0.5"];
    let container = c.detached("limits", &options, "sleep 1000");
    let cgroup = read(c.proc(container.pid, "cgroup"));
    let place = cgroup.trim().strip_prefix("0::").expect("v2").to_owned();
    assert!(place.ends_with(&format!("{}/cntr-limits.scope", c.room.cgroup_parent())), "{place}");
    let file = |name: &str| read(format!("/sys/fs/cgroup{place}/{name}")).trim().to_owned();
    assert_eq!((file("memory.max"), file("cpu.max")), ("67108864".into(), "50000 100000".into()));
    let show = ["show", "-p", "MemoryMax", "-p", "CPUQuotaPerSecUSec", "cntr-limits.scope"];
    assert_eq!(host("systemctl", &show), "CPUQuotaPerSecUSec=500ms\nMemoryMax=67108864\n");
    let before = file("cgroup.procs").lines().count();
    c.ok(&["task", "exec", "--detach", "--exec-id", "more", "limits", "sleep", "1000"]);
    assert_eq!(file("cgroup.procs").lines().count(), before + 1);
    container.kill("KILL");
    container.wait_status("STOPPED");
    c.ctr(&["task", "rm", "limits"]).run();
    let unit = host("systemctl", &["list-units", "--all", "--no-legend", "cntr-limits.scope"]);
    assert_eq!(unit, "", "the unit is still there");
}

/// Everything that the machine has, and the same for what exec adds.
fn privileged(c: &Containerd) {
    let container = c.detached("privileged", &["--privileged"], "sleep 1000");
    let out = container.exec(&[], "grep CapEff /proc/self/status; mount -t tmpfs tmpfs /mnt && echo mounted");
    let own = read("/proc/self/status");
    let own = own.lines().find(|l| l.starts_with("CapEff")).unwrap();
    assert_eq!(out.stdout, format!("{own}\nmounted\n"), "{out:#?}");
}

fn apparmor(c: &Containerd) {
    let profile = c.room.path("apparmor");
    std::fs::write(&profile, "profile cntr-engines flags=(attach_disconnected) { file, deny /etc/passwd r, }\n")
        .unwrap();
    host("apparmor_parser", &["--replace", &profile.to_string_lossy()]);
    let run = c.run_with("apparmor", &["--rm", "--apparmor-profile", "cntr-engines", IMAGE, "apparmor"]);
    let out = run.args(&["sh", "-c", "cat /proc/self/attr/current; cat /etc/passwd"]).run();
    assert_eq!((out.code, out.stdout.trim_matches('\0')), (Some(1), "cntr-engines (enforce)\n"), "{out:#?}");
}
