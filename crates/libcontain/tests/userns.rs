//! Containers without root: the test binary is started again as an ordinary user, whose one id is mapped to the
//! container's root, and takes containers through their life.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libcontain::{Bundle, CreateOptions, Runtime, Status};
use serde_json::{Value, json};
use support::{World, copy, null, set, skip};

use std::os::fd::AsFd;

const WHERE: &str = "LIBCONTAIN_USER_WORLD";
/// nobody: every machine has him, and he has nothing.
const NOBODY: u32 = 65534;

/// As root: prepares a world for the user and becomes him. As a user: goes on in this process.
#[test]
fn an_ordinary_user() {
    if !user_namespaces() {
        return skip("an_ordinary_user", "this machine lets no ordinary user make a user namespace");
    }
    let world = World::new();
    let binary = world.path("tests");
    copy(&std::env::current_exe().unwrap(), &binary).unwrap();
    let mut inner = Command::new(binary);
    inner.args(["--exact", "life_of_a_container", "--nocapture"]).env(WHERE, world.dir());
    inner.current_dir("/").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        give(world.dir(), NOBODY);
        // std drops the supplementary groups of root as well
        inner.uid(NOBODY).gid(NOBODY);
    }
    let output = inner.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    world.assert_clean();
}

fn user_namespaces() -> bool {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.status().is_ok_and(|status| status.success())
}

fn give(dir: &Path, uid: u32) {
    std::os::unix::fs::lchown(dir, Some(uid), Some(uid)).unwrap();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => give(&entry.path(), uid),
            // busybox may be a link to a file of others
            kind if kind.is_file() && entry.file_name() == "busybox" => {}
            _ => std::os::unix::fs::lchown(entry.path(), Some(uid), Some(uid)).unwrap(),
        }
    }
}

/// The config of `cntr spec --rootless` for the caller, without a cgroup path: the machine may not let him make one.
fn config(script: &str) -> Value {
    let mut config: Value = serde_json::from_str(include_str!("plans/rootless.json")).unwrap();
    set(&mut config, "/process/terminal", json!(false));
    set(&mut config, "/process/args", json!(["/bin/sh", "-c", script]));
    set(&mut config, "/process/env", json!(["PATH=/bin"]));
    for (mappings, id) in
        [("uidMappings", rustix::process::geteuid().as_raw()), ("gidMappings", rustix::process::getegid().as_raw())]
    {
        set(&mut config, &format!("/linux/{mappings}/0/hostID"), json!(id));
    }
    config
}

struct User {
    dir: PathBuf,
    runtime: Runtime,
}

impl User {
    fn create(&self, id: &str, config: &Value, run: bool) -> Result<libcontain::Container, libcontain::Error> {
        fs::write(self.dir.join("bundle/config.json"), serde_json::to_vec(config).unwrap()).unwrap();
        let bundle = Bundle::open(self.dir.join("bundle")).unwrap();
        let null = null();
        let options = CreateOptions { stdio: [Some(null.as_fd()); 3], ..CreateOptions::default() };
        let id = id.parse().unwrap();
        if run { self.runtime.run(&id, &bundle, &options) } else { self.runtime.create(&id, &bundle, &options) }
    }
}

/// Started by `an_ordinary_user`, as him; by itself it has nothing to do.
#[test]
fn life_of_a_container() {
    let Some(dir) = std::env::var_os(WHERE).map(PathBuf::from) else { return };
    assert!(!rustix::process::geteuid().is_root());
    // this program is his own, and a test cannot execute it once more
    let user = User { runtime: Runtime::new(dir.join("state")).with_unprotected_executable(), dir };
    life(&user);
    exits(&user);
    remembers(&user);
    refuses(&user);
    assert_eq!(fs::read_dir(user.dir.join("state")).unwrap().count(), 0);
}

/// create, start, kill, delete.
fn life(user: &User) {
    let config = config("sleep 100");
    let container = user.create("one", &config, false).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(container.status().unwrap(), Status::Created);
    let map = fs::read_to_string(format!("/proc/{}/uid_map", container.pid())).unwrap();
    let map: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(map, ["0", &rustix::process::geteuid().as_raw().to_string(), "1"]);
    container.start().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(container.status().unwrap(), Status::Running);
    assert_eq!(
        user.create("one", &config, false).map(drop).unwrap_err().to_string(),
        "container with given ID already exists"
    );
    let found = user.runtime.container(&"one".parse().unwrap()).unwrap();
    assert_eq!(found.state().unwrap().pid, container.pid());
    assert_eq!(
        found.delete(false).unwrap_err().to_string(),
        "cannot delete container one that is not stopped: running"
    );
    container.kill(libc::SIGKILL).unwrap();
    assert_eq!(container.wait().unwrap(), 128 + libc::SIGKILL);
    assert_eq!(container.status().unwrap(), Status::Stopped);
    container.delete(false).unwrap();
}

/// What the container looks like from inside, and its exit status, by `run` and by create and start.
fn exits(user: &User) {
    let script = "test $(id -u) = 0 && test $(id -g) = 0 && test $$ = 1 && test $(hostname) = runc && test -c /dev/null \
        && grep -q ' /sys ' /proc/self/mountinfo && ! touch /x 2>/dev/null && ! mount -t tmpfs none /mnt 2>/dev/null && exit 7";
    let container = user.create("two", &config(script), true).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(container.wait().unwrap(), 7);
    container.delete(false).unwrap();
    let container = user.create("two", &config(script), false).unwrap_or_else(|e| panic!("{e}"));
    container.start().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(container.wait().unwrap(), 7);
    container.delete(false).unwrap();
}

/// A container that was never started, deleted by somebody who did not create it.
fn remembers(user: &User) {
    let container = user.create("three", &config("true"), false).unwrap_or_else(|e| panic!("{e}"));
    let all = user.runtime.containers().unwrap();
    assert_eq!(all.len(), 1);
    let (_, found) = all.into_iter().next().unwrap();
    found.unwrap().delete(false).unwrap_or_else(|e| panic!("{e}"));
    container.wait().unwrap();
}

/// What an ordinary user cannot have is said with its place, and nothing is left.
fn refuses(user: &User) {
    for (pointer, value, says) in [
        ("/linux/uidMappings/0/hostID", json!(0), "linux.uidMappings"),
        ("/linux/uidMappings/0/size", json!(5), "linux.uidMappings"),
        ("/process/user/uid", json!(1), "process.user.uid"),
        ("/process/user/additionalGids", json!([1]), "process.user.additionalGids"),
        (
            "/mounts/-",
            json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["bogus"] }),
            "mounts[7]",
        ),
        (
            "/mounts/-",
            json!({ "destination": "/mnt", "type": "bind", "source": "/nonesuch", "options": ["bind"] }),
            "mounts[7]",
        ),
        ("/process/args", json!(["/nonesuch"]), "process.args[0]"),
        ("/linux/resources", json!({ "memory": { "limit": 1 << 30 } }), "linux.resources.memory"),
    ] {
        let mut config = config("true");
        set(&mut config, pointer, value);
        for run in [false, true] {
            let error = user.create("four", &config, run).map(drop).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("without a word"), "{pointer}: {error}");
        }
    }
}
