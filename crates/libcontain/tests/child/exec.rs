//! A process that comes later, without the heap: where it joins, and where it cannot.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use libcontain::spec::Process;
use libcontain::{Container, Error, ExecOptions, Kind};
use serde_json::{Value, json};

use crate::rich;
use crate::support::{World, null, rooted, set};
use crate::trap;

fn process(script: &str) -> Value {
    json!({ "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/" })
}

fn parsed(process: &Value) -> Process {
    libcontain::process_from_json(process.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}")).0
}

/// Runs it and returns its output and its status.
fn exec(container: &Container, process: &Value) -> Result<(String, i32), Error> {
    let (output, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null = null();
    let stdio = [Some(null.as_fd()), Some(writer.as_fd()), Some(writer.as_fd())];
    let exec = container.exec(&parsed(process), &ExecOptions { stdio, ..ExecOptions::default() })?;
    drop(writer);
    let mut text = String::new();
    File::from(output).read_to_string(&mut text).unwrap();
    Ok((text, reap(exec.pidfd())))
}

fn reap(pidfd: std::os::fd::BorrowedFd<'_>) -> i32 {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
}

fn started(world: &World, config: &Value) -> Container {
    world.run(config).unwrap_or_else(|e| panic!("{e}"))
}

/// As the init process sees its namespaces, and as one sees them who comes later.
#[test]
fn who_joins_is_where_init_is() {
    let Some(world) = rooted("who_joins_is_where_init_is") else { return };
    let kinds = ["pid", "mount", "ipc", "uts", "network", "cgroup"].map(|kind| json!({ "type": kind }));
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
    for users in [false, true] {
        let mut config = world.minimal("exec sleep 1000");
        set(&mut config, "/linux/namespaces", json!(kinds));
        if users {
            world.give_rootfs_to(100_000);
            set(&mut config, "/linux/namespaces/-", json!({ "type": "user" }));
            set(&mut config, "/linux/uidMappings", ids.clone());
            set(&mut config, "/linux/gidMappings", ids.clone());
        }
        let container = started(&world, &config);
        let script = "cd /proc/1/ns && for n in *; do ls -l $n | grep -o '[a-z_]*:.[0-9]*.$'; done; \
                      cd /proc/self/ns && for n in *; do ls -l $n | grep -o '[a-z_]*:.[0-9]*.$'; done";
        let (text, status) = exec(&container, &process(script)).unwrap_or_else(|e| panic!("users {users}: {e}"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((status, lines.len()), (0, 20), "{text}");
        assert_eq!(lines[..10], lines[10..], "users {users}");
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let theirs = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        let (text, _) = exec(&container, &process("cat /proc/self/cgroup; cat /proc/1/cgroup")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..lines.len() / 2], lines[lines.len() / 2..], "users {users}");
        assert_ne!(own, theirs);
        container.delete(true).unwrap();
    }
    world.assert_clean();
    assert_eq!(trap::catches(), 0);
}

#[test]
fn everything_at_once() {
    let Some(world) = rooted("exec::everything_at_once") else { return };
    let mut config = rich::config(&world);
    set(&mut config, "/process/args", json!(["/bin/sleep", "1000"]));
    let container = started(&world, &config);
    let mut later = config["process"].clone();
    set(&mut later, "/args", json!(["/bin/sh", "-c", "exit 7"]));
    set(&mut later, "/execCPUAffinity", json!({ "initial": "0", "final": "0" }));
    for _ in 0..3 {
        assert_eq!(exec(&container, &later).unwrap_or_else(|e| panic!("{e}")).1, 7);
    }
    container.delete(true).unwrap();
    world.assert_clean();
    assert_eq!(trap::catches(), 0);
}

/// Each is said with its place, and nothing of it is left in the container.
#[test]
fn what_cannot_be_joined_is_said() {
    let Some(world) = rooted("what_cannot_be_joined_is_said") else { return };
    let container = started(&world, &world.minimal("exec sleep 1000"));
    type Wrong = fn(&mut Value);
    let cases: [(Wrong, Kind, &str); 6] = [
        (|p| set(p, "/cwd", json!("/nonesuch")), Kind::Os, "chdir to cwd (\"/nonesuch\") set in config.json failed"),
        (|p| set(p, "/cwd", json!("/proc/self/fd/3")), Kind::Os, "chdir to cwd (\"/proc/self/fd/3\")"),
        (
            |p| set(p, "/args", json!(["nonesuch"])),
            Kind::Exec,
            "exec: \"nonesuch\": executable file not found in $PATH",
        ),
        (|p| set(p, "/args", json!(["/etc"])), Kind::Exec, "exec: \"/etc\": is a directory"),
        (|p| set(p, "/args", json!([])), Kind::Config, "args must not be empty"),
        (|p| set(p, "/terminal", json!(true)), Kind::Config, "process.terminal"),
    ];
    for (wrong, kind, says) in cases {
        let mut process = process("true");
        wrong(&mut process);
        let error = exec(&container, &process).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(container.pids().unwrap(), [container.pid()]);
    container.kill(9).unwrap();
    assert_eq!(container.wait().unwrap(), 137);
    let error = exec(&container, &process("true")).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotRunning, "cannot exec in a stopped container"));
    container.delete(false).unwrap();
    world.assert_clean();
    assert_eq!(trap::catches(), 0);
}

/// Descriptors of ours: of the caller's own many none is handed on, but those that are preserved.
#[test]
fn only_what_is_meant_to_be_inherited_is() {
    let Some(world) = rooted("only_what_is_meant_to_be_inherited_is") else { return };
    let container = started(&world, &world.minimal("exec sleep 1000"));
    let dirs: Vec<OwnedFd> = (0..20).map(|_| std::fs::File::open("/").unwrap().into()).collect();
    let (text, status) = exec(&container, &process("ls /proc/self/fd")).unwrap();
    assert_eq!((text.as_str(), status), ("0\n1\n2\n3\n", 0), "3 is the directory that ls reads");
    drop(dirs);
    container.delete(true).unwrap();
    world.assert_clean();
}
