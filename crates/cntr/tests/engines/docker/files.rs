//! Volumes, tmpfs, devices, `cp`, `commit`: the container's file system.

use std::fs;

use super::Docker;
use crate::checks::Check;
use crate::support::{skip, wait_for};

pub const CHECKS: &[Check<Docker>] = &[
    ("files_read_only", read_only),
    ("files_volumes", volumes),
    ("files_propagation", propagation),
    ("files_named_volume", named_volume),
    ("files_tmpfs", tmpfs),
    ("files_shm", shm),
    ("files_device", device),
    ("files_device_rules", device_rules),
    ("files_device_default", device_default),
    ("files_cp", cp),
    ("files_commit", commit),
];

fn read_only(docker: &Docker) {
    let out = docker.run(&["--read-only", "--tmpfs", "/scratch"], "touch /scratch/a; touch /a");
    assert!(out.code == Some(1) && out.stderr.contains("/a: Read-only file system"), "{out:#?}");
}

fn volumes(docker: &Docker) {
    let dir = docker.room.path("volume");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "mine\n").unwrap();
    let volume = |to: &str| format!("{}{to}", dir.display());
    let out = docker.run(&["-v", &volume(":/v"), "-v", &volume(":/r:ro"), "-v", &volume("/file:/etc/motd")], {
        "cat /etc/motd; echo new >/v/made; cat /r/made; echo x >/r/made"
    });
    assert!(out.code == Some(1) && out.stdout == "mine\nnew\n", "{out:#?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:#?}");
    assert_eq!(fs::read_to_string(dir.join("made")).unwrap(), "new\n");
    // `--mount` refuses a source that is not there, by Docker itself; -v makes one
    let made = dir.join("not/yet");
    docker.run(&["-v", &format!("{}:/v", made.display())], "touch /v/x");
    assert!(made.join("x").exists());
}

/// What the host mounts below an rslave or rshared volume appears; what the container mounts leaves a shared one only.
fn propagation(docker: &Docker) {
    let dir = docker.room.path("propagated");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::create_dir_all(dir.join("back")).unwrap();
    for (how, arrives, returns) in [("rprivate", false, false), ("rslave", true, false), ("rshared", true, true)] {
        let volume = format!("{}:/v:{how}", dir.display());
        let script = "echo ready; until test -e /go; do sleep 0.05; done; grep -c ' /v/sub ' /proc/self/mounts; \
            mount -t tmpfs tmpfs /v/back && echo mounted; sleep 1000";
        let options = ["-v", &volume, "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
        let container = docker.detached(&options, script);
        container.wait_log("ready");
        docker.room.shell(&format!("mount -t tmpfs tmpfs {}/sub", dir.display())).ok();
        let pid = container.field(".State.Pid");
        docker.room.shell(&format!(": >/proc/{pid}/root/go")).ok();
        container.wait_log("mounted");
        let seen = container.ok(&["logs"]);
        assert_eq!(seen, format!("ready\n{}\nmounted\n", i32::from(arrives)), "{how}");
        let mounts = docker.room.shell("cat /proc/self/mounts").ok().stdout;
        let back = mounts.contains(&format!(" {}/back ", dir.display()));
        let unmount = format!("umount {0}/sub; umount -q {0}/back; true", dir.display());
        docker.room.shell(&unmount).ok();
        assert_eq!(back, returns, "{how}");
    }
}

/// A volume of Docker's starts with what the image has there, and outlives the container.
fn named_volume(docker: &Docker) {
    let out = docker.run(&["-v", "keep:/home"], "echo kept >/home/file");
    assert_eq!(out.code, Some(0), "{out:#?}");
    assert_eq!(docker.run(&["-v", "keep:/home:ro"], "cat /home/file").stdout, "kept\n");
    docker.ok(&["volume", "rm", "keep"]);
}

fn tmpfs(docker: &Docker) {
    let out = docker.run(&["--tmpfs", "/t:size=1m,mode=1710,exec"], "grep ' /t ' /proc/self/mounts; stat -c %a /t");
    assert!(out.stdout.contains("size=1024k") && out.stdout.ends_with("1710\n"), "{out:#?}");
    assert!(out.stdout.contains("nosuid,nodev") && !out.stdout.contains("noexec"), "{out:#?}");
}

fn shm(docker: &Docker) {
    let out = docker.run(&["--shm-size", "2m"], "df -k /dev/shm | tail -n 1");
    assert!(out.stdout.starts_with("shm ") && out.stdout.contains(" 2048 "), "{out:#?}");
}

/// Devices by other names, one for reading only: the cgroup says no to the rest.
fn device(docker: &Docker) {
    // no capability is wanted to open it, and it does nothing then
    let some = "/dev/loop-control";
    if !std::path::Path::new(some).exists() {
        return skip("needs loop devices");
    }
    for (access, written) in [("r", false), ("rw", true)] {
        let options = ["--device", &format!("{some}:/dev/nil:{access}"), "--device", "/dev/zero:/dev/nought"];
        let script = "head -c 3 /dev/nought | wc -c; : </dev/nil && : >/dev/nil && echo opened";
        let out = docker.run(&options, script);
        assert_eq!(out.stdout, if written { "3\nopened\n" } else { "3\n" }, "{out:#?}");
        assert_eq!(out.stderr.contains("Operation not permitted"), !written, "{out:#?}");
    }
}

fn device_rules(docker: &Docker) {
    let script = "mknod /kmsg c 1 11 && test -c /kmsg && : >>/kmsg && echo opened";
    let out = docker.run(&["--device-cgroup-rule", "c 1:11 rwm"], script);
    assert_eq!(out.stdout, "opened\n", "{out:#?}");
    let out = docker.run(&[], script);
    assert!(out.stdout.is_empty() && out.stderr.contains("Operation not permitted"), "{out:#?}");
}

fn device_default(docker: &Docker) {
    // with /proc/kcore there is "core" as well
    let names = "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    let out = docker.run(&["-t"], "ls /dev | grep -v '^core$' | tr '\\r\\n' '  ' | tr -s ' '");
    assert_eq!(out.stdout.trim(), names, "{out:#?}");
}

/// Both ways, into one that runs and one that has ended.
fn cp(docker: &Docker) {
    let (from, to) = (docker.room.path("copied"), docker.room.path("returned"));
    fs::write(&from, "text\n").unwrap();
    let container = docker.detached(&[], "until test -e /tmp/copied; do sleep 0.05; done; cp /tmp/copied /tmp/again");
    docker.ok(&["cp", &from.to_string_lossy(), &format!("{}:/tmp/", container.id)]);
    assert_eq!(container.ok(&["wait"]), "0\n");
    docker.ok(&["cp", &format!("{}:/tmp/again", container.id), &to.to_string_lossy()]);
    assert_eq!(fs::read_to_string(&to).unwrap(), "text\n");
}

/// A commit pauses a container that runs, and lets it go on.
fn commit(docker: &Docker) {
    let container = docker.detached(&[], "echo made >/made; echo ready; while :; do sleep 0.05; date >>/going; done");
    container.wait_log("ready");
    let image = container.ok(&["commit", "--change", "CMD cat /made"]);
    assert_eq!(docker.ok(&["run", "--rm", image.trim()]), "made\n");
    assert_eq!(container.field(".State.Status"), "running");
    let size = || docker.room.shell(&format!("wc -c </proc/{}/root/going", container.field(".State.Pid"))).ok().stdout;
    let before = size();
    wait_for("a container to go on", || (size() != before).then_some(()));
}
