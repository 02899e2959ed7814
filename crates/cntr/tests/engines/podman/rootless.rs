//! Podman of an ordinary user's, who has subordinate ids and, with cgroup v1, no cgroup of his own: limits are ignored with a
//! warning, and pausing is refused by Podman.

use super::Podman;
use crate::checks::Check;
use crate::machine::{FIRST_SUBORDINATE, USER};

pub const CHECKS: &[Check<Podman>] = &[
    ("run", run),
    ("users", users),
    ("volumes", volumes),
    ("keep_groups", keep_groups),
    ("bounds", bounds),
    ("namespaces", namespaces),
    ("failures", failures),
    ("life", life),
    ("pods", pods),
];

/// The maps as they are, with one blank between the numbers.
const MAP: &str = "tr -s ' ' </proc/self/uid_map";

fn run(p: &Podman) {
    p.says("podman run --rm box sh -c 'id -u; echo problem >&2'", "0");
    // the network of slirp4netns
    p.says("podman run --rm box sh -c 'ls /sys/class/net; ifconfig tap0 | grep -o 10.0.2.100'", "lo\ntap0\n10.0.2.100");
    p.says("podman run --rm --network none box ls /sys/class/net", "lo");
    p.fails("podman run --rm --init box sh -c 'cat /proc/1/comm; exit 9'", 9, "");
    p.says("podman run --rm --ulimit nofile=100:200 --ulimit nproc=300:400 box sh -c 'ulimit -n'", "100");
    p.says("podman run --rm --sysctl kernel.msgmax=4242 box cat /proc/sys/kernel/msgmax", "4242");
    p.says("podman run --rm --device /dev/null:/dev/mine box sh -c 'echo x >/dev/mine && echo written'", "written");
    p.says("podman run --rm -m 64m box echo hi", "hi");
    p.says("script -qec 'podman run --rm -t box tty' /dev/null | tr -d '\\r'", "/dev/pts/0");
}

fn users(p: &Podman) {
    let usual = format!("0 {USER} 1\n 1 {FIRST_SUBORDINATE} 65536");
    p.says(&format!("podman run --rm --network none box sh -c \"{MAP}\""), &usual);
    p.says("podman run --rm --network none -u mars box sh -c 'id -un; touch /tmp/x; stat -c %u /tmp/x'", "mars\n1000");
    p.says(&format!("podman run --rm --network none --uidmap 0:1:500 box sh -c \"{MAP}\""), "0 1 500");
    p.says(&format!("podman run --rm --network none --userns nomap box sh -c \"{MAP}\""), "0 1 65536");
    // from wherever Podman finds that many free
    let line = format!("podman run --rm --network none --userns auto:size=500 box sh -c \"{MAP}\" | cut -d ' ' -f 2,4");
    p.says(&line, "0 500");
    // of the room's: nobody has made it his
    p.says("stat -c %u:%g /dev/null", "0:0");
}

fn volumes(p: &Podman) {
    p.ok("mkdir -p volume");
    let line = "podman run --rm --network none -v $PWD/volume:/v -v $PWD/volume:/ro:ro box sh -c 'touch /v/made /ro/x'";
    p.fails(line, 1, "/ro/x: Read-only file system");
    p.says("stat -c %u volume/made", &USER.to_string());
    let keep =
        "podman run --rm --network none --userns keep-id -v $PWD/volume:/v box sh -c 'id -u; stat -c %u /v/made'";
    p.says(keep, &format!("{USER}\n{USER}"));
    p.ok("podman run --rm --network none -u mars -v named:/n:U box touch /n/made && podman volume rm named");
}

/// The groups that he has on the host, among them one that no map has: what it may read can be read.
fn keep_groups(p: &Podman) {
    let friends = USER + 1;
    let dir = "/var/tmp/friends";
    p.machine
        .root(&format!(
            "mkdir -p {dir} && echo shared >{dir}/file && chgrp {friends} {dir}/file && chmod 640 {dir}/file"
        ))
        .ok();
    let read = |options: &str| format!("podman run --rm --network none {options} -v {dir}:/f:ro box cat /f/file");
    p.says(&read("--group-add keep-groups"), "shared");
    p.fails(&read(""), 1, "Permission denied");
    p.machine.root(&format!("rm -r {dir}")).ok();
}

fn bounds(p: &Podman) {
    let show = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | cut -f 2";
    let run = |options: &str| format!("podman run --rm --network none {options} box sh -c \"{show}\"");
    p.says(&run("--cap-drop all --cap-add chown --security-opt no-new-privileges"), "0000000000000001\n1\n2");
    p.says(&run("--cap-drop all --security-opt seccomp=unconfined"), "0000000000000000\n0\n0");
    let script = "touch /t/new && echo tmpfs; touch /new";
    let line = format!("podman run --rm --network none --read-only --tmpfs /t box sh -c '{script}'");
    p.fails(&line, 1, "/new: Read-only file system");
}

fn namespaces(p: &Podman) {
    for (option, kind) in [("--network host", "net"), ("--pid host", "pid"), ("--uts host", "uts")] {
        let line = format!("podman run --rm {option} box readlink /proc/self/ns/{kind}");
        p.says(&line, &p.ok(&format!("readlink /proc/self/ns/{kind}")));
    }
    p.says("podman run --rm --network none --cgroupns private box cut -d : -f 3 /proc/self/cgroup | sort -u", "/");
    p.ok("podman run -d --network none --name target box sleep 1000");
    let shared = "--network container:target --pid container:target --ipc container:target";
    p.says(&format!("podman run --rm {shared} box cat /proc/1/comm"), "sleep");
    p.ok("podman rm -f -t 0 target");
}

fn failures(p: &Podman) {
    p.fails("podman run --rm box nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH");
    p.fails("podman run --rm box /etc", 126, "exec: \"/etc\": ");
    p.fails("podman --runtime plain run --rm box nosuch", 127, "executable file not found in $PATH");
}

fn life(p: &Podman) {
    let script = "trap \"echo bye; exit 7\" TERM; echo ready; while :; do sleep 0.05; done";
    p.ok(&format!("podman run -d --network none --name life box sh -c '{script}'"));
    p.says("until podman logs life | grep -q ready; do sleep 0.1; done; podman stop -t 5 life", "life");
    p.says("podman wait life; podman logs life", "7\nready\nbye");
    p.ok("podman start life");
    p.says("podman top life comm | grep -c sh", "1");
    p.says("podman cp /etc/hostname life:/tmp/h && podman exec life cat /tmp/h", &p.ok("cat /etc/hostname"));
    p.ok("podman commit -q --pause=false life localhost/life && podman rmi -f localhost/life");
    p.fails("podman pause life", 125, "can not pause containers on rootless containers with cgroup V1");
    p.says("podman kill life && podman wait life && podman rm life", "life\n137\nlife");
}

fn pods(p: &Podman) {
    p.ok("podman pod create --name pod --network none && podman run -d --pod pod --name member box sleep 1000");
    p.says("podman run --rm --pod pod box hostname; podman exec member hostname", "pod\npod");
    p.ok("podman pod rm -f -t 0 pod");
    p.ok("podman pod create --name kept --network none --userns keep-id");
    p.ok("podman run -d --pod kept --name own box sleep 1000");
    p.says("podman exec own id -u", &USER.to_string());
    p.ok("podman pod rm -f -t 0 kept");
}
