//! Machines and callers, written by hand: nothing here asks the one that runs the test.

use libcontain::Host;
use libcontain::kernel::{Call, Calls};
use libcontain::plan::cgroup::{Hierarchy, Layout, Mode};
use libcontain::plan::systemd::Manager;

const ALL: u64 = (1 << 41) - 1;

/// A name, and how to make the machine.
pub type Machine = (&'static str, fn() -> Host);

/// The kinds of machine and caller for which everything is planned.
pub const HOSTS: [Machine; 11] = [
    ("v1", v1),
    ("hybrid", hybrid),
    ("v2", v2),
    ("user", user),
    ("ranges", ranges),
    ("inner", inner),
    ("filtered", filtered),
    ("old", old),
    ("systemd", systemd),
    ("systemd-user", systemd_user),
    ("systemd-v1", systemd_v1),
];

/// Root on a machine with v1 hierarchies alone, some controllers mounted together, as systemd did it.
pub fn v1() -> Host {
    let dirs = [
        "cpuset",
        "cpu,cpuacct",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls,net_prio",
        "perf_event",
        "rdma",
    ];
    let named = |dir: &str, names: &str| Hierarchy {
        dir: dir.into(),
        controllers: names.split(',').map(str::to_owned).collect(),
        own: "/system.slice/caller.service".into(),
        v2: false,
    };
    let mut hierarchies: Vec<Hierarchy> = dirs.map(|dir| named(dir, dir)).into();
    hierarchies.push(named("systemd", "name=systemd"));
    Host { cgroups: Layout { mode: Mode::V1, hierarchies }, ..v2() }
}

/// Root on a machine with a v1 hierarchy per controller, and v2 beside them.
pub fn hybrid() -> Host {
    let v1 = |dir: &str, name: &str| Hierarchy {
        dir: dir.into(),
        controllers: vec![name.into()],
        own: "/".into(),
        v2: false,
    };
    let names = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];
    let mut hierarchies: Vec<Hierarchy> = names.map(|name| v1(name, name)).into();
    hierarchies.push(v1("systemd", "name=systemd"));
    hierarchies.push(unified("unified", &["hugetlb"], "/"));
    Host { cgroups: Layout { mode: Mode::Hybrid, hierarchies }, ..v2() }
}

/// Root on a machine with cgroup v2 alone.
pub fn v2() -> Host {
    let all = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    Host {
        euid: 0,
        egid: 0,
        user_namespace: false,
        capabilities: ALL,
        bounding: ALL,
        last_cap: 40,
        setgroups_denied: false,
        foreign_mounts: false,
        newuidmap: None,
        newgidmap: None,
        missing: Calls::default(),
        has_time_namespace: true,
        has_user_namespace: true,
        has_kcore: true,
        apparmor: None,
        selinux: None,
        cgroups: Layout { mode: Mode::V2, hierarchies: vec![unified("", &all, "/system.slice/caller.service")] },
        manager: None,
        rootless_cgroups: false,
        resctrl: None,
        kernel_mounts: vec![],
    }
}

/// An ordinary user on the same machine, in the session that systemd made.
pub fn user() -> Host {
    let own = "/user.slice/user-1000.slice/session-1.scope";
    Host {
        euid: 1000,
        egid: 1000,
        capabilities: 0,
        cgroups: Layout { mode: Mode::V2, hierarchies: vec![unified("", &["cpu", "memory", "pids"], own)] },
        rootless_cgroups: true,
        ..v2()
    }
}

/// The same user, with the programs that map the ids he was given.
pub fn ranges() -> Host {
    let program = |name: &str| Some(std::path::Path::new("/usr/bin").join(name));
    Host { newuidmap: program("newuidmap"), newgidmap: program("newgidmap"), ..user() }
}

/// Root of a user namespace that has mounts of its own, as rootless Podman makes one for itself.
pub fn inner() -> Host {
    Host { euid: 0, egid: 0, user_namespace: true, capabilities: ALL, ..user() }
}

/// Root inside a seccomp filter that has no clone3(2), as systemd's `RestrictNamespaces=` makes it.
pub fn filtered() -> Host {
    Host { missing: [Call::Clone3].into_iter().collect(), ..v2() }
}

/// Root on a kernel that has none of the system calls that may be missing.
pub fn old() -> Host {
    Host { missing: Call::all().collect(), ..v2() }
}

/// Root, where systemd makes the cgroups: Debian 13.
pub fn systemd() -> Host {
    Host { manager: manager(257, "/", false), ..v2() }
}

/// An ordinary user's systemd.
pub fn systemd_user() -> Host {
    Host { manager: manager(257, "/user.slice/user-1000.slice/user@1000.service", true), ..ranges() }
}

/// Root, where systemd makes cgroups in v1 hierarchies: Debian 11, booted that way.
pub fn systemd_v1() -> Host {
    Host { manager: manager(247, "/", false), ..v1() }
}

fn manager(version: u32, control_group: &str, user: bool) -> Option<Manager> {
    Some(Manager { version, control_group: control_group.into(), user })
}

fn unified(dir: &str, controllers: &[&str], own: &str) -> Hierarchy {
    let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
    Hierarchy { dir: dir.into(), controllers, own: own.into(), v2: true }
}
