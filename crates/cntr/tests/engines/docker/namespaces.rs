//! Networks, and namespaces that are the host's or another container's. "The host" is the room.

use super::Docker;
use crate::checks::Check;
use crate::support::wait_for;

pub const CHECKS: &[Check<Docker>] = &[
    ("network_none", network_none),
    ("network_bridge", network_bridge),
    ("network_port", network_port),
    ("network_named", network_named),
    ("network_container", network_container),
    ("network_host", network_host),
    ("pid_container", pid_container),
    ("pid_host", pid_host),
    ("ipc", ipc),
    ("uts_host", uts_host),
    ("cgroupns", cgroupns),
];

const LINKS: &str = "ls /sys/class/net | tr '\\n' ' '";

/// Answers one connection on port 80 with its hostname.
const SERVER: &str = "echo ready; hostname | nc -l -p 80";

fn network_none(docker: &Docker) {
    let script = format!("{LINKS}; ip addr show lo | grep -c 127.0.0.1");
    assert_eq!(docker.run(&["--network", "none"], &script).stdout, "lo 1\n");
}

/// Two containers on the default bridge.
fn network_bridge(docker: &Docker) {
    let server = docker.detached(&["-h", "server"], SERVER);
    server.wait_log("ready");
    let address = server.field(".NetworkSettings.IPAddress");
    let script = format!("{LINKS}; until nc {address} 80 </dev/null; do sleep 0.1; done");
    assert_eq!(docker.run(&[], &script).stdout, "eth0 lo server\n");
}

fn network_port(docker: &Docker) {
    let server = docker.detached(&["-h", "server", "-p", "127.0.0.1:8080:80"], SERVER);
    server.wait_log("ready");
    let connect = "exec 3<>/dev/tcp/127.0.0.1/8080 && read -r line <&3 && echo $line";
    let answer = wait_for("an answer", || {
        let out = docker.room.command("bash").args(&["-c", connect]).run();
        (out.code == Some(0)).then_some(out.stdout)
    });
    assert_eq!(answer, "server\n");
}

/// A network of the user's, with Docker's own name server, and a container that comes to it later.
fn network_named(docker: &Docker) {
    docker.ok(&["network", "create", "own"]);
    let server = docker.detached(&["--network", "own", "--name", "its-name", "-h", "server"], SERVER);
    server.wait_log("ready");
    let script = "until nc its-name 80 </dev/null; do sleep 0.1; done; grep nameserver /etc/resolv.conf";
    assert_eq!(docker.run(&["--network", "own"], script).stdout, "server\nnameserver 127.0.0.11\n");
    let late = docker.detached(&["--network", "none"], "until test -e /sys/class/net/eth0; do sleep 0.05; done");
    docker.ok(&["network", "disconnect", "none", &late.id]);
    docker.ok(&["network", "connect", "own", &late.id]);
    assert_eq!(late.ok(&["wait"]), "0\n");
    drop((server, late));
    docker.ok(&["network", "rm", "own"]);
}

fn network_container(docker: &Docker) {
    let first = docker.detached(&["-h", "first"], "readlink /proc/self/ns/net; sleep 1000");
    first.wait_log("net:");
    let out = docker.run(&["--network", &format!("container:{}", first.id)], "readlink /proc/self/ns/net; hostname");
    assert_eq!(out.stdout, format!("{}first\n", first.ok(&["logs"])), "{out:#?}");
}

fn network_host(docker: &Docker) {
    let room = docker.room.shell("readlink /proc/self/ns/net").ok().stdout;
    let script = "readlink /proc/self/ns/net; test -e /sys/class/net/docker0 || echo no bridge";
    let out = docker.run(&["--network", "host"], script);
    assert!(out.stdout.starts_with(&room), "{out:#?}");
}

fn pid_container(docker: &Docker) {
    let first = docker.detached(&[], "sleep 1111; true");
    let script = "until pgrep() { ps | grep -q '[s]leep 1111'; }; pgrep; do sleep 0.05; done; cat /proc/1/cmdline";
    let out = docker.run(&["--pid", &format!("container:{}", first.id)], script);
    assert_eq!(out.stdout, "sh\0-c\0sleep 1111; true\0", "{out:#?}");
    // the guest has gone, and its end was not that of the owner of the namespace
    assert_eq!(first.field(".State.Status"), "running");
    // a guest that goes on does not outlive the owner
    let guest = docker.idle(&["--pid", &format!("container:{}", first.id)]);
    first.ok(&["kill"]);
    assert_eq!(guest.ok(&["wait"]), "137\n");
}

/// A container in the host's pid namespace ends with all of its processes, and with no others.
fn pid_host(docker: &Docker) {
    let container = docker.detached(&["--pid", "host"], "sleep 2222 & sleep 2223; true");
    let running = || docker.room.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").ok().stdout;
    let both = |text: &str| (text.contains("sleep 2222"), text.contains("sleep 2223"));
    wait_for("two processes", || (both(&running()) == (true, true)).then_some(()));
    assert_eq!(docker.run(&["--pid", "host"], "cat /proc/*/comm | grep -c '^dockerd$'").stdout, "1\n");
    container.ok(&["kill"]);
    assert_eq!(container.ok(&["wait"]), "137\n");
    wait_for("the end of both", || (both(&running()) == (false, false)).then_some(()));
}

fn ipc(docker: &Docker) {
    let first =
        docker.detached(&["--ipc", "shareable"], "echo here >/dev/shm/file; readlink /proc/self/ns/ipc; sleep 1000");
    first.wait_log("ipc:");
    let script = "readlink /proc/self/ns/ipc; cat /dev/shm/file";
    let out = docker.run(&["--ipc", &format!("container:{}", first.id)], script);
    assert_eq!(out.stdout, format!("{}here\n", first.ok(&["logs"])), "{out:#?}");
    let room = docker.room.shell("readlink /proc/self/ns/ipc").ok().stdout;
    assert_eq!(docker.run(&["--ipc", "host"], "readlink /proc/self/ns/ipc").stdout, room);
    let none = docker.run(&["--ipc", "none"], "readlink /proc/self/ns/ipc; ls /dev/shm");
    assert_ne!(none.stdout, room, "{none:#?}");
}

fn uts_host(docker: &Docker) {
    let room = docker.room.shell("hostname; readlink /proc/self/ns/uts").ok().stdout;
    assert_eq!(docker.run(&["--uts", "host"], "hostname; readlink /proc/self/ns/uts").stdout, room);
}

fn cgroupns(docker: &Docker) {
    let script =
        "cut -d: -f3 /proc/self/cgroup | sort -u; ls -d /sys/fs/cgroup/*/tasks /sys/fs/cgroup/cgroup.procs | wc -l";
    let private = docker.run(&["--cgroupns", "private"], script);
    let lines: Vec<_> = private.stdout.lines().collect();
    assert!(lines[0] == "/" && lines.len() == 2 && lines[1] != "0", "{private:#?}");
    let host = docker.run(&["--cgroupns", "host"], script);
    assert!(host.stdout.starts_with(&docker.room.cgroup_parent()), "{host:#?}");
}
