//! Containers with everything that a config can ask the child for.

use std::process::{Command, Stdio};

use libcontain::{Container, CreateOptions};
use serde_json::{Value, json};

use crate::support::{World, rooted, set};
use crate::trap;

/// What the program of [`config`] looks at, so that it is known that the steps did something.
const SCRIPT: &str = "test $(id -u) = 1000 && test $(umask) = 0027 && test $(hostname) = rich && test $PWD = /opt/made \
    && test $HOME = /home && grep -q ' /bound ' /proc/self/mountinfo && test -z \"$(cat /proc/keys)\" && test -c /dev/own && test -p /dev/pipe \
    && test -f /tmp/bound-file && test -f /srv/link/b/file && test -d /mapped/below && \
    grep -q ' /filled .* - tmpfs' /proc/self/mountinfo && test $(cat /proc/sys/kernel/shm_rmid_forced) = 1 && ! touch /proc/sys/kernel/hostname";

/// Every kind of mount, device, path, limit, hook and credential at once, without a user namespace.
pub fn config(world: &World) -> Value {
    for dir in ["bound/below", "upper", "work"] {
        std::fs::create_dir_all(world.path(dir)).unwrap();
    }
    std::fs::write(world.path("file"), "x").unwrap();
    for below in ["a/b/c", "d"] {
        std::fs::create_dir_all(world.rootfs().join("srv").join(below)).unwrap();
    }
    std::fs::write(world.rootfs().join("srv/a/b/file"), "x").unwrap();
    std::os::unix::fs::symlink("a", world.rootfs().join("srv/link")).unwrap_or_default(); // made by an earlier config
    let mut config = world.minimal(SCRIPT);
    set(&mut config, "/hostname", json!("rich"));
    set(&mut config, "/domainname", json!("example.org"));
    set(&mut config, "/annotations", json!({ "a": "b" }));
    for mount in mounts(world) {
        set(&mut config, "/mounts/-", mount);
    }
    for (part, members) in [("process", process()), ("linux", linux())] {
        for (key, value) in members.as_object().unwrap() {
            set(&mut config, &format!("/{part}/{key}"), value.clone());
        }
    }
    // createContainer too: its path is the host's
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "cat; exit 0"], "timeout": 20 });
    for list in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        set(&mut config, &format!("/hooks/{list}/-"), hook.clone());
    }
    set(&mut config, "/hooks/startContainer/-", json!({ "path": "/bin/cat", "args": ["cat"], "env": ["A=b"] }));
    set(&mut config, "/hooks/startContainer/-", json!({ "path": "/bin/true" }));
    config
}

fn mounts(world: &World) -> Vec<Value> {
    let overlay = format!(
        "lowerdir={},upperdir={},workdir={}",
        world.path("bound").display(),
        world.path("upper").display(),
        world.path("work").display()
    );
    let overlay: Vec<&str> = overlay.split(',').collect();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    vec![
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }),
        json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64k"] }),
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }),
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"] }),
        json!({ "destination": "/bound", "type": "bind", "source": world.path("bound"), "options": ["rbind", "ro", "nosuid", "noatime", "rprivate"] }),
        json!({ "destination": "/deep/er/file", "type": "bind", "source": world.path("file"), "options": ["bind", "rw"] }),
        json!({ "destination": "/tmp/bound-file", "type": "bind", "source": "../file", "options": ["bind", "ro", "unbindable"] }),
        json!({ "destination": "/opt", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"] }),
        json!({ "destination": "/opt/ro", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=711", "rslave"] }),
        json!({ "destination": "/mnt", "type": "overlay", "source": "overlay", "options": overlay }),
        json!({ "destination": "/proc/meminfo", "type": "bind", "source": world.path("file"), "options": ["bind", "ro"] }),
        json!({ "destination": "/srv", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "size=1m"] }),
        json!({ "destination": "/mapped", "type": "bind", "source": world.path("bound"), "options": ["rbind", "ridmap"],
            "uidMappings": map, "gidMappings": map }),
        json!({ "destination": "/filled", "type": "tmpfs", "source": "t", "options": ["noexec"], "uidMappings": map, "gidMappings": map }),
        json!({ "destination": world.rootfs().join("inside"), "type": "bind", "source": "rootfs/bound", "options": ["bind"] }),
        json!({ "destination": "/inside-mapped", "type": "bind", "source": "rootfs/opt", "options": ["rbind"],
            "uidMappings": map, "gidMappings": map }),
    ]
}

fn process() -> Value {
    let caps = json!(["CAP_NET_BIND_SERVICE", "CAP_KILL"]);
    json!({
        "user": { "uid": 1000, "gid": 1000, "additionalGids": [7, 8], "umask": 0o027 },
        "cwd": "/opt/made",
        "capabilities": { "bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": ["CAP_KILL"] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
        "oomScoreAdj": 777,
    })
}

fn linux() -> Value {
    json!({
        "sysctl": { "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" },
        "devices": [
            { "path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 1000, "gid": 1000 },
            { "path": "/dev/deep/block", "type": "b", "major": 7, "minor": 0 },
            { "path": "/dev/pipe", "type": "p", "fileMode": 0o644 },
            { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 },
        ],
        "maskedPaths": ["/proc/keys", "/proc/acpi", "/proc/scsi", "/sys/firmware", "/nonesuch", "/proc/timer_list"],
        "readonlyPaths": ["/proc/sys", "/proc/bus", "/nonesuch"],
        "rootfsPropagation": "rprivate",
        "resources": { "pids": { "limit": 50 }, "memory": { "limit": 100 << 20 }, "devices": [{ "allow": false, "access": "rwm" }] },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{ "names": ["bpf", "userfaultfd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
                { "names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] }],
        },
    })
}

fn ends_well(world: &World, container: Container) {
    assert_eq!(container.wait().unwrap(), 0, "the program's status");
    let failed = container.delete(false).unwrap_or_else(|e| panic!("{e}"));
    assert!(failed.is_empty(), "{failed:?}");
    world.assert_clean();
    assert_eq!(trap::catches(), 0, "the child used the heap");
}

pub fn create_start_delete(world: &World, config: &Value) {
    let container = world.create(config).unwrap_or_else(|e| panic!("{e}"));
    container.start().unwrap_or_else(|e| panic!("{e}"));
    ends_well(world, container);
}

pub fn run_delete(world: &World, config: &Value) {
    ends_well(world, world.run(config).unwrap_or_else(|e| panic!("{e}")));
}

/// Both ways of making a container.
fn both(world: &World, config: &Value) {
    create_start_delete(world, config);
    run_delete(world, config);
}

#[test]
fn everything_at_once() {
    let Some(world) = rooted("everything_at_once") else { return };
    let mut config = config(&world);
    both(&world, &config);
    set(&mut config, "/process/noNewPrivileges", json!(true));
    set(&mut config, "/root/readonly", json!(true));
    set(&mut config, "/linux/namespaces/-", json!({ "type": "cgroup" }));
    both(&world, &config);
}

#[test]
fn without_pivot_root() {
    let Some(world) = rooted("without_pivot_root") else { return };
    let mut config = config(&world);
    set(&mut config, "/linux/rootfsPropagation", json!("rslave"));
    let options = CreateOptions { no_pivot: true, ..CreateOptions::default() };
    ends_well(&world, world.run_as(&config, options).unwrap_or_else(|e| panic!("{e}")));
}

/// Its listener is taken and given away while the child stands between filter and program.
#[test]
fn a_seccomp_agent() {
    let Some(world) = rooted("a_seccomp_agent") else { return };
    let socket = std::os::unix::net::UnixListener::bind(world.path("agent")).unwrap();
    // What arrives is dropped, and with it the descriptor.
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let _ = std::io::copy(&mut connection.unwrap(), &mut std::io::sink());
        }
    });
    let mut config = config(&world);
    set(&mut config, "/linux/seccomp/syscalls/-", json!({ "names": ["bpf"], "action": "SCMP_ACT_NOTIFY" }));
    set(&mut config, "/linux/seccomp/syscalls/0/names", json!(["userfaultfd"]));
    set(&mut config, "/linux/seccomp/listenerPath", json!(world.path("agent")));
    both(&world, &config);
    set(&mut config, "/process/noNewPrivileges", json!(true));
    both(&world, &config);
}

#[test]
fn a_shared_root() {
    let Some(world) = rooted("a_shared_root") else { return };
    let mut config = config(&world);
    for propagation in ["rshared", "shared", "slave"] {
        set(&mut config, "/linux/rootfsPropagation", json!(propagation));
        both(&world, &config);
    }
}

#[test]
fn a_user_namespace() {
    let Some(world) = rooted("a_user_namespace") else { return };
    world.give_rootfs_to(100_000);
    let mut config = config(&world);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    for (pointer, value) in [
        ("/linux/uidMappings", map.clone()),
        ("/linux/gidMappings", map),
        ("/linux/namespaces/-", json!({ "type": "user" })),
        ("/linux/namespaces/-", json!({ "type": "cgroup" })),
        // the limits of a user namespace: no such devices, no overlay on a directory of the host's root
        ("/linux/devices", json!([{ "path": "/dev/pipe", "type": "p" }])),
        ("/process/args/2", json!(SCRIPT.replace("test -c /dev/own", "true"))),
        // access times of the host's mounts are locked
        ("/mounts/7/options", json!(["rbind", "ro", "nosuid", "atime", "rprivate"])),
        ("/mounts/12", json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" })),
    ] {
        set(&mut config, pointer, value);
    }
    both(&world, &config);
}

#[test]
fn joined_namespaces() {
    let Some(world) = rooted("joined_namespaces") else { return };
    let holder = World::new();
    let held = holder.create(&holder.minimal("sleep 100")).unwrap_or_else(|e| panic!("{e}"));
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", held.pid());
    for kinds in [vec!["net", "ipc"], vec!["net", "pid", "uts", "ipc"], vec!["pid"]] {
        let mut config = config(&world);
        for (kind, name) in [("net", "network"), ("pid", "pid"), ("uts", "uts"), ("ipc", "ipc")] {
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            let entry = list.iter_mut().find(|ns| ns["type"] == name).unwrap();
            if kinds.contains(&kind) {
                entry["path"] = json!(path(kind));
            }
        }
        both(&world, &config);
    }
    held.delete(true).unwrap();
    holder.assert_clean();
}

#[test]
fn a_joined_user_namespace() {
    let Some(world) = rooted("a_joined_user_namespace") else { return };
    let holder = World::new();
    let mut config = holder.minimal("sleep 100");
    holder.give_rootfs_to(100_000);
    world.give_rootfs_to(100_000);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    set(&mut config, "/linux/uidMappings", map.clone());
    set(&mut config, "/linux/gidMappings", map);
    set(&mut config, "/linux/namespaces/-", json!({ "type": "user" }));
    let held = holder.create(&config).unwrap_or_else(|e| panic!("{e}"));
    let path = |kind: &str| json!(format!("/proc/{}/ns/{kind}", held.pid()));
    let mut config = world.minimal("test $(id -u) = 1000");
    set(&mut config, "/process/user", json!({ "uid": 1000, "gid": 1000 }));
    set(&mut config, "/linux/namespaces/-", json!({ "type": "user", "path": path("user") }));
    set(&mut config, "/linux/namespaces/4/path", path("net"));
    both(&world, &config);
    held.delete(true).unwrap();
    holder.assert_clean();
}

#[test]
fn without_a_mount_namespace() {
    let Some(world) = rooted("without_a_mount_namespace") else { return };
    let mut config = world.minimal("true");
    set(&mut config, "/mounts", json!([]));
    set(&mut config, "/linux/namespaces", json!([{ "type": "pid" }]));
    both(&world, &config);
}

/// 600 mounts and 1000 masked files.
fn many(world: &World) -> Value {
    let script = "test -f /many/599/config.json && test -z \"$(cat /etc/f999)\" && test $(grep -c /many/ /proc/self/mounts) = 600";
    let mut config = world.minimal(script);
    let mount = |n| json!({ "destination": format!("/many/{n}"), "type": "bind", "source": world.path("bundle"), "options": ["bind", "ro"] });
    for n in 0..600 {
        set(&mut config, "/mounts/-", mount(n));
    }
    for n in 0..1000 {
        std::fs::write(world.rootfs().join(format!("etc/f{n}")), "secret").unwrap();
        set(&mut config, "/linux/maskedPaths/-", json!(format!("/etc/f{n}")));
    }
    config
}

#[test]
fn many_mounts_in_a_user_namespace() {
    let Some(world) = rooted("many_mounts_in_a_user_namespace") else { return };
    world.give_rootfs_to(100_000);
    let mut config = many(&world);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    set(&mut config, "/linux/uidMappings", map.clone());
    set(&mut config, "/linux/gidMappings", map);
    set(&mut config, "/linux/namespaces/-", json!({ "type": "user" }));
    both(&world, &config);
}

/// More mounts, nodes and paths than descriptors that may be open at once, in a process with that limit.
#[test]
fn few_descriptors() {
    if rooted("few_descriptors").is_none() {
        return;
    }
    let inner = "ulimit -n 120 && exec \"$0\" --exact rich::many_mounts_with_few_descriptors";
    let mut command = Command::new("sh");
    command.args(["-c", inner]).arg(std::env::current_exe().unwrap()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Started by `few_descriptors` once more, with a limit.
#[test]
fn many_mounts_with_few_descriptors() {
    let Some(world) = rooted("many_mounts_with_few_descriptors") else { return };
    let mut config = many(&world);
    for n in 0..300 {
        let node = json!({ "path": format!("/dev/deep{n}/null"), "type": "c", "major": 1, "minor": 3 });
        set(&mut config, "/linux/devices/-", node);
    }
    both(&world, &config);
}

#[test]
fn a_container_that_is_killed() {
    let Some(world) = rooted("a_container_that_is_killed") else { return };
    let container = world.create(&world.minimal("sleep 100")).unwrap_or_else(|e| panic!("{e}"));
    container.start().unwrap_or_else(|e| panic!("{e}"));
    container.kill(libc::SIGKILL).unwrap();
    assert_eq!(container.wait().unwrap(), 128 + libc::SIGKILL);
    container.delete(false).unwrap();
    world.assert_clean();
}

/// Nodes of the image get the owner and mode that the config asks for.
#[test]
fn nodes_that_are_there() {
    let Some(world) = rooted("nodes_that_are_there") else { return };
    let dev = world.rootfs().join("dev");
    let made = Command::new("mknod").arg(dev.join("odd")).args(["c", "1", "5"]).stdin(Stdio::null()).status().unwrap();
    assert!(made.success());
    let mut config = world.minimal("test \"$(stat -c %a:%u /dev/odd)\" = 4600:7");
    config["mounts"].as_array_mut().unwrap().remove(1);
    let odd = json!({ "path": "/dev/odd", "type": "c", "major": 1, "minor": 5, "fileMode": 0o4600, "uid": 7 });
    set(&mut config, "/linux/devices/-", odd);
    both(&world, &config);
}
