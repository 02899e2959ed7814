//! `dockerd --userns-remap`: root of a container is an ordinary id of the host's.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Docker;
use crate::checks::{self, Check};
use crate::room::Room;

const CHECKS: &[Check<Docker>] = &[
    ("run", run),
    ("capabilities", capabilities),
    ("volume", volume),
    ("bridge", bridge),
    ("limits", limits),
    ("read_only", read_only),
    ("host", host),
    ("exec", exec),
    ("exec_user", exec_user),
];

/// The first id of the range, which the room's /etc/subuid gives.
const FIRST: u32 = 200_000;

#[test]
fn docker_userns_remap() {
    let before = |docker: &Docker| {
        let line = format!("nobody:{FIRST}:65536\nnogroup:{FIRST}:65536\n");
        let file = docker.room.path("subids");
        fs::write(&file, line).unwrap();
        let bind = format!("for f in subuid subgid; do mount --bind {} /etc/$f || exit; done", file.display());
        docker.room.shell(&bind).ok();
    };
    let Some(docker) = Docker::prepared(Room::new, &["--userns-remap", "nobody:nogroup"], before) else { return };
    checks::run("docker_userns", &docker, CHECKS);
}

fn run(docker: &Docker) {
    let out = docker.run(&[], "tr -s ' ' </proc/self/uid_map; id -u; stat -c %u /etc /dev/null; touch /x && exit 7");
    assert_eq!((out.code, out.stdout.as_str()), (Some(7), " 0 200000 65536\n0\n0\n65534\n"), "{out:#?}");
}

fn capabilities(docker: &Docker) {
    let script = "grep CapEff /proc/self/status; chown 1000 /tmp && stat -c %u /tmp; mknod /n c 1 3 || echo none";
    let out = docker.run(&[], script);
    assert_eq!(out.stdout, "CapEff:\t00000000a80425fb\n1000\nnone\n", "{out:#?}");
}

/// Files are the host's user's: what he may not, root of the container may not.
fn volume(docker: &Docker) {
    let dir = docker.room.path("remapped");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("secret"), "x").unwrap();
    fs::set_permissions(dir.join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::create_dir(dir.join("open")).unwrap();
    fs::set_permissions(dir.join("open"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let out = docker.run(&["-v", &format!("{}:/v", dir.display())], "touch /v/open/made; cat /v/secret");
    assert!(out.code == Some(1) && out.stderr.contains("Permission denied"), "{out:#?}");
    assert_eq!(fs::metadata(dir.join("open/made")).unwrap().uid(), FIRST);
}

fn bridge(docker: &Docker) {
    let out = docker.run(&["--sysctl", "net.ipv4.ip_local_port_range=2000 3000"], {
        "ip addr show eth0 | grep -c 'inet 172'; cat /proc/sys/net/ipv4/ip_local_port_range"
    });
    assert_eq!(out.stdout, "1\n2000\t3000\n", "{out:#?}");
}

fn limits(docker: &Docker) {
    let container = docker.idle(&["-m", "64m", "--pids-limit", "50"]);
    assert_eq!(container.limit("pids", "pids.max", "pids.max"), "50");
    assert_eq!(container.limit("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    container.ok(&["pause"]);
    container.ok(&["unpause"]);
    container.ok(&["stop"]);
    assert_eq!(container.field(".State.ExitCode"), "0");
}

fn read_only(docker: &Docker) {
    let out = docker.run(&["--read-only", "--tmpfs", "/scratch", "-u", "mars"], "touch /scratch/a && touch /a");
    assert!(out.code == Some(1) && out.stderr.contains("/a: Read-only file system"), "{out:#?}");
}

fn host(docker: &Docker) {
    let out = docker.run(&["--userns", "host"], "tr -s ' ' </proc/self/uid_map");
    assert_eq!(out.stdout, " 0 0 4294967295\n", "{out:#?}");
}

fn exec(docker: &Docker) {
    let container = docker.idle(&[]);
    let script =
        "readlink /proc/self/ns/user; tr -s ' ' </proc/self/uid_map; grep CapEff /proc/self/status; touch /by-exec";
    let own = container.says("readlink /proc/1/ns/user");
    assert_eq!(container.says(script), format!("{own} 0 200000 65536\nCapEff:\t00000000a80425fb\n"));
    let pid = container.field(".State.Pid");
    assert_eq!(docker.room.shell(&format!("stat -c %u /proc/{pid}/root/by-exec")).ok().stdout, "200000\n");
}

fn exec_user(docker: &Docker) {
    let container = docker.idle(&[]);
    let out = container.exec(&["-u", "mars", "-w", "/tmp"], "id -u; pwd; touch mine && stat -c %u mine");
    assert_eq!(out.stdout, "1000\n/tmp\n1000\n", "{out:#?}");
}
