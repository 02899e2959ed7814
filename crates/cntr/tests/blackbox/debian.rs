//! A whole Debian as container: apt, ps, mount, a daemon that forks.
//!
//! The tree is made once by mmdebstrap and kept under target/ (or $CNTR_TEST_CACHE); it is used read-only, so
//! that tests can share it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{Sandbox, bundle, have, read, root, skip, wait_for};

const SUITE: &str = "bookworm";

/// The tree; `None` when it cannot be made here, which has been said then.
fn tree() -> Option<&'static Path> {
    static TREE: OnceLock<Option<PathBuf>> = OnceLock::new();
    TREE.get_or_init(make).as_deref()
}

fn make() -> Option<PathBuf> {
    if !have("mmdebstrap") {
        return None;
    }
    let cache =
        std::env::var_os("CNTR_TEST_CACHE").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let tree = cache.join(format!("debian-{SUITE}"));
    if tree.join("etc/debian_version").is_file() {
        return Some(tree);
    }
    fs::create_dir_all(&cache).unwrap();
    let fresh = cache.join(format!("debian-{SUITE}.{}", std::process::id()));
    let out = std::process::Command::new("mmdebstrap")
        .args(["--variant=minbase", "--include=procps", "--aptopt=Acquire::Languages \"none\"", SUITE])
        .arg(&fresh)
        .output()
        .unwrap();
    if !out.status.success() {
        let _ = fs::remove_dir_all(&fresh);
        skip(&format!("mmdebstrap failed: {}", String::from_utf8_lossy(&out.stderr)));
        return None;
    }
    // a run beside this one may have been faster: its tree is as good
    if fs::rename(&fresh, &tree).is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    Some(tree)
}

/// Docker's config over the tree, with room for a daemon to write.
fn config(sandbox: &Sandbox, tree: &Path, script: &str) -> Value {
    let mut config = bundle::engine("docker-default", &sandbox.cgroups_path());
    config["root"] = json!({ "path": tree, "readonly": true });
    config["process"]["args"] = json!(["/bin/bash", "-c", script]);
    for dir in ["/tmp", "/run", "/var/cache/apt", "/var/lib/apt/lists"] {
        let mount = json!({ "destination": dir, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"] });
        bundle::set(&mut config, "/mounts/-", Some(mount));
    }
    config
}

#[test]
fn programs() {
    if !root() {
        return;
    }
    let Some(tree) = tree() else { return };
    let sandbox = Sandbox::new();
    let script = "set -e; apt-get --version | head -n 1; apt-get -s -o Dir::Cache=/tmp check >/dev/null && echo checked; \
                  ps -e -o pid,comm; mount | head -n 3; cat /etc/debian_version; dpkg -l procps | tail -n 1; perl -e 'print \"perl\\n\"'; \
                  getent passwd root; id";
    sandbox.write(&config(&sandbox, tree, script));
    let out = sandbox.run_ok().stdout;
    let version = read(tree.join("etc/debian_version"));
    for text in [
        "apt 2.",
        "checked",
        "1 bash",
        " on / type ",
        "proc on /proc type proc",
        version.trim(),
        "ii  procps",
        "perl",
        "root:x:0:0",
        "uid=0(root)",
    ] {
        assert!(out.contains(text), "{text:?} is not in:\n{out}");
    }
    sandbox.assert_clean();
}

/// The daemon's parent has gone, it goes on; `delete --force` takes it with the container.
#[test]
fn daemon_that_forks() {
    if !root() {
        return;
    }
    let Some(tree) = tree() else { return };
    let sandbox = Sandbox::new();
    let script = "start-stop-daemon --start --background --make-pidfile --pidfile /run/d.pid --exec /bin/sleep -- 1000; \
                  sleep 0.1; kill -0 $(cat /run/d.pid) && echo daemon runs; while :; do sleep 0.1; done";
    sandbox.write(&config(&sandbox, tree, script));
    let created = sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    wait_for("the daemon", || read(&created.stdout_file).contains("daemon runs").then_some(()));
    let table = sandbox.cntr(&["ps", &sandbox.id, "-e", "-o", "pid,ppid,args"]).ok().stdout;
    assert!(table.contains("sleep 1000"), "{table}");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}
