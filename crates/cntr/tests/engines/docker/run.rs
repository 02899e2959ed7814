//! `docker run`: the process and what it may, seen by itself.

use std::fs::{self, File};

use serde_json::json;

use super::Docker;
use crate::checks::Check;

pub const CHECKS: &[Check<Docker>] = &[
    ("run", run),
    ("run_stdin", stdin),
    ("run_user", user),
    ("run_place", place),
    ("run_capabilities", capabilities),
    ("run_ulimit", ulimit),
    ("run_sysctl", sysctl),
    ("run_init", init),
    ("run_no_new_privileges", no_new_privileges),
    ("run_seccomp", seccomp),
    ("run_seccomp_file", seccomp_file),
    ("run_masked_paths", masked_paths),
    ("run_oom_score", oom_score),
    ("run_nothing_left", nothing_left),
    ("run_missing_command", missing_command),
    ("run_directory_as_command", directory_as_command),
    ("run_no_permission", no_permission),
    ("build", build),
    ("build_by_buildkit", build_by_buildkit),
    ("runtime_arguments", runtime_arguments),
];

/// What a script says with these options; it has to succeed.
#[track_caller]
fn said(docker: &Docker, options: &[&str], script: &str) -> String {
    let out = docker.run(options, script);
    assert_eq!(out.code, Some(0), "{out:#?}");
    out.stdout
}

fn run(docker: &Docker) {
    let out = docker.run(&[], "id -u; echo problem >&2; exit 7");
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(7), "0\n", "problem\n"), "{out:#?}");
}

fn stdin(docker: &Docker) {
    let file = docker.room.path("words");
    fs::write(&file, "one\ntwo\n").unwrap();
    let out = docker.docker(&["run", "--rm", "-i", "box", "wc", "-l"]).stdin(File::open(&file).unwrap()).ok();
    assert_eq!(out.stdout, "2\n");
}

fn user(docker: &Docker) {
    assert_eq!(said(docker, &["-u", "1000:5", "--group-add", "7"], "id"), "uid=1000(mars) gid=5 groups=5,7\n");
    assert_eq!(said(docker, &["-u", "mars"], "id -u; id -g; echo $HOME"), "1000\n1000\n/home\n");
    let out = docker.run(&["-u", "nemo"], "id");
    assert_ne!(out.code, Some(0), "{out:#?}");
}

fn place(docker: &Docker) {
    let options = ["-w", "/new/place", "-h", "mars", "-e", "A=b c", "--label", "x=y"];
    assert_eq!(said(docker, &options, "pwd; hostname; echo $A; cat /etc/hostname"), "/new/place\nmars\nb c\nmars\n");
}

fn capabilities(docker: &Docker) {
    let show = "grep -E 'Cap(Eff|Bnd|Amb)' /proc/self/status | tr '\\n\\t' '  '";
    let all = |bits: &str, ambient: &str| format!("CapEff: {bits} CapBnd: {bits} CapAmb: {ambient} ");
    assert_eq!(said(docker, &[], show), all("00000000a80425fb", "0000000000000000"));
    let options = ["--cap-drop", "ALL", "--cap-add", "NET_RAW", "--cap-add", "CAP_CHOWN"];
    assert_eq!(said(docker, &options, show), all("0000000000002001", "0000000000000000"));
    // another user has the bounding set, and nothing of it
    let bounding = "CapEff: 0000000000000000 CapBnd: 0000000000002001 CapAmb: 0000000000000000 ";
    assert_eq!(said(docker, &[&options[..], &["-u", "mars"]].concat(), show), bounding);
}

fn ulimit(docker: &Docker) {
    let options = ["--ulimit", "nofile=100:200", "--ulimit", "core=0"];
    assert_eq!(said(docker, &options, "ulimit -Sn; ulimit -Hn; ulimit -c"), "100\n200\n0\n");
}

fn sysctl(docker: &Docker) {
    let options = ["--sysctl", "net.ipv4.ip_local_port_range=2000 3000", "--sysctl", "kernel.msgmax=4242"];
    let script = "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/msgmax";
    assert_eq!(said(docker, &options, script), "2000\t3000\n4242\n");
}

/// `--init` is a bind mount of docker-init and a longer command line; it reaps.
fn init(docker: &Docker) {
    if !crate::support::have("docker-init") {
        return;
    }
    let out = docker.run(
        &["--init"],
        "cat /proc/1/comm; (sleep 0.1 & exec sleep 0); sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status; exit 9",
    );
    assert_eq!((out.code, out.stdout.as_str()), (Some(9), "docker-init\n"), "{out:#?}");
}

fn no_new_privileges(docker: &Docker) {
    let show = "grep NoNewPrivs /proc/self/status";
    assert_eq!(said(docker, &["--security-opt", "no-new-privileges"], show), "NoNewPrivs:\t1\n");
    assert_eq!(said(docker, &[], show), "NoNewPrivs:\t0\n");
}

/// Docker's own profile, with its hundreds of rules; and none.
fn seccomp(docker: &Docker) {
    let script = "grep '^Seccomp:' /proc/self/status; unshare -U true 2>/dev/null && echo unshared; true";
    assert_eq!(said(docker, &[], script), "Seccomp:\t2\n");
    assert_eq!(said(docker, &["--security-opt", "seccomp=unconfined"], script), "Seccomp:\t0\nunshared\n");
}

fn seccomp_file(docker: &Docker) {
    let file = docker.room.path("profile.json");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    fs::write(&file, profile.to_string()).unwrap();
    let out = docker.run(&["--security-opt", &format!("seccomp={}", file.display())], "mkdir /tmp/x");
    assert!(out.code == Some(1) && out.stderr.contains("No space left on device"), "{out:#?}");
}

fn masked_paths(docker: &Docker) {
    let script = "wc -c </proc/timer_list; echo 1 >/proc/sys/kernel/panic";
    let out = docker.run(&[], script);
    assert!(out.code == Some(1) && out.stdout == "0\n" && out.stderr.contains("Read-only file system"), "{out:#?}");
    let script = "test $(wc -c </proc/timer_list) -gt 0; grep -c ' /proc/' /proc/self/mounts";
    assert_eq!(docker.run(&["--security-opt", "systempaths=unconfined"], script).stdout, "0\n");
}

fn oom_score(docker: &Docker) {
    assert_eq!(said(docker, &["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj"), "500\n");
}

/// After `--rm` there is no cgroup and no state of the runtime's.
fn nothing_left(docker: &Docker) {
    let file = docker.room.path("cid");
    let out = docker.run(&["--cidfile", &file.to_string_lossy()], "exit 0");
    assert_eq!(out.code, Some(0), "{out:#?}");
    let id = fs::read_to_string(&file).unwrap();
    let find = format!("find /sys/fs/cgroup {} -name {id}", docker.room.path("exec").display());
    crate::support::wait_for("the end of a container", || {
        docker.room.shell(&find).run().stdout.is_empty().then_some(())
    });
    assert!(!docker.ok(&["ps", "-a", "--no-trunc", "-q"]).contains(&id));
}

fn missing_command(docker: &Docker) {
    for command in ["nosuch", "/no/such"] {
        let out = docker.docker(&["run", "--rm", "box", command]).run();
        assert_eq!(out.code, Some(127), "{out:#?}");
        let why = if command == "nosuch" { "executable file not found in $PATH" } else { "no such file or directory" };
        assert!(out.stderr.contains(&format!("exec: \"{command}\"")) && out.stderr.contains(why), "{out:#?}");
        assert!(out.stderr.contains("OCI runtime create failed: runc create failed: "), "{out:#?}");
    }
}

/// By what the runtime says: "permission denied". Newer runcs say "is a directory", which Docker looks for since version 23.
fn directory_as_command(docker: &Docker) {
    let out = docker.docker(&["run", "--rm", "box", "/etc"]).run();
    assert_eq!(out.code, Some(126), "{out:#?}");
    assert!(out.stderr.contains("exec: \"/etc\": "), "{out:#?}");
}

fn no_permission(docker: &Docker) {
    let out = docker.docker(&["run", "--rm", "box", "/etc/passwd"]).run();
    assert_eq!(out.code, Some(126), "{out:#?}");
    assert!(out.stderr.contains("exec: \"/etc/passwd\"") && out.stderr.contains("permission denied"), "{out:#?}");
}

const DOCKERFILE: &str = "FROM box\nRUN id -u >/made && test -e /sys/class/net/eth0 -o -e /sys/class/net/lo\n\
    USER mars\nWORKDIR /home/mars\nRUN pwd >/tmp/where\nCMD cat /made /tmp/where\n";

/// `RUN` is a container of the default runtime for the old builder.
fn build(docker: &Docker) {
    assert_eq!(built(docker, "0"), "0\n/home/mars\n");
}

/// BuildKit calls a program `runc` itself, by PATH: dockerd has one in which that is the binary under test.
fn build_by_buildkit(docker: &Docker) {
    assert_eq!(built(docker, "1"), "0\n/home/mars\n");
}

/// What an image says that is built here.
fn built(docker: &Docker, buildkit: &str) -> String {
    let dir = docker.room.path(&format!("context{buildkit}"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    let name = format!("built{buildkit}");
    let command = docker.docker(&["build", "--no-cache", "-t", &name]).arg(&dir);
    command.env("DOCKER_BUILDKIT", buildkit).ok();
    docker.ok(&["run", "--rm", &name])
}

/// `runtimeArgs`: Docker writes a script that executes the runtime with them and with its own.
fn runtime_arguments(docker: &Docker) {
    for (name, debug) in [("judged", false), ("talkative", true)] {
        let container = docker.idle(&["--runtime", name]);
        let script = format!("cat $(find {} -path '*{}/log.json')", docker.room.path("exec").display(), container.id);
        let log = docker.room.shell(&script).ok().stdout;
        assert_eq!(log.contains("\"level\":\"debug\""), debug, "{log}");
        assert_eq!(container.says("echo found"), "found\n");
    }
}
