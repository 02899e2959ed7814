//! Cgroups of ordinary users: what they may make, what they must not be able to write from inside, and living without.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::rootless::{mapped, mapping, possible};
use crate::support::{NOBODY, Sandbox, bundle, read, skip};

/// Puts a command on a machine with cgroup v2 alone, in a cgroup of it.
fn on_v2(cmd: crate::support::Cmd, cgroup: &str) -> crate::support::Cmd {
    let script = format!(
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup && echo $$ >/sys/fs/cgroup{cgroup}/cgroup.procs && exec \"$@\""
    );
    cmd.wrapped(&["unshare", "-m", "--propagation", "private", "sh", "-c", &script, "sh"])
}

/// A v2 cgroup that belongs to nobody, as systemd gives one to a user; removed when dropped.
struct Delegated(PathBuf);

impl Delegated {
    fn new(sandbox: &Sandbox) -> Option<Self> {
        let mut tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new);
        let Some(top) = tops.find(|dir| dir.join("cgroup.controllers").exists()) else {
            skip("no cgroup v2 on this machine");
            return None;
        };
        // not the name that the container's own cgroup gets by default
        let dir = top.join(format!("{}.user", sandbox.id));
        std::fs::create_dir_all(dir.join("session")).unwrap();
        for dir in [&dir, &dir.join("session")] {
            for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                std::os::unix::fs::chown(dir.join(file), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Some(Delegated(dir))
    }

    /// As a path in the hierarchy.
    fn path(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_string_lossy())
    }

    fn children(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().flatten().filter(|e| e.path().is_dir()).count()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.0.join("session"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// CVE-2023-25809: cgroups that belong to the user on the host are not writable in his container, though it has root
/// who is him, and the host's tree in sight.
#[test]
fn the_users_own_cgroups_are_read_only() {
    if !possible() {
        return;
    }
    let cgroup = |options: Value| json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options });
    for mounts in [vec![], vec![cgroup(json!(["ro"]))], vec![cgroup(json!([]))], vec![cgroup(json!(["rw", "nosuid"]))]]
    {
        let (sandbox, mut config) = mapped(&json!([mapping(0, NOBODY, 1)]), "");
        let Some(delegated) = Delegated::new(&sandbox) else { return };
        let dir = format!("/sys/fs/cgroup{}", delegated.path());
        config["process"]["args"][2] = json!(format!("ls -d {dir}; mkdir {dir}/made && echo WRITABLE"));
        config["mounts"].as_array_mut().unwrap().extend(mounts.clone());
        sandbox.write(&config);
        let outside = format!("mkdir {dir}/made && rmdir {dir}/made");
        on_v2(sandbox.seen(Path::new("/bin/sh")).args(&["-c", &outside]), "").ok();
        let out = on_v2(sandbox.verb(&["run"]), "").run();
        assert_eq!(out.stdout, format!("{dir}\n"), "{mounts:?} {out:#?}");
        assert!(out.stderr.contains("Read-only file system"), "{mounts:?} {out:#?}");
        let told = mounts.iter().any(|m| m["options"][0] == "rw");
        assert_eq!(out.stderr.contains("read-only all the same"), told, "{mounts:?} {out:#?}");
        drop(delegated);
        sandbox.assert_clean();
    }
}

/// With permission an ordinary user's container has a cgroup of its own, by path or beside his.
#[test]
fn cgroups_that_the_user_may_make() {
    if !possible() {
        return;
    }
    let (sandbox, mut config) = mapped(&json!([mapping(0, NOBODY, 1)]), "grep ^0:: /proc/self/cgroup");
    let Some(delegated) = Delegated::new(&sandbox) else { return };
    let (path, session) = (delegated.path(), format!("{}/session", delegated.path()));
    // a limit that needs no controller: this machine's v2 may not have any
    let limits = json!({ "unified": { "cgroup.max.descendants": "5" } });
    for (cgroups_path, resources, expected) in [
        (json!(format!("{path}/own")), Value::Null, format!("{path}/own")),
        (json!(format!("{path}/own")), limits.clone(), format!("{path}/own")),
        (Value::Null, limits, format!("{path}/{}", sandbox.id)),
    ] {
        config["linux"]["cgroupsPath"] = cgroups_path;
        config["linux"]["resources"] = resources;
        sandbox.write(&config);
        assert_eq!(on_v2(sandbox.verb(&["run"]), &session).ok().stdout, format!("0::{expected}\n"));
        assert_eq!(delegated.children(), 1, "the session alone");
    }
    drop(delegated);
    sandbox.assert_clean();
}

/// Without permission he must have asked for nothing.
#[test]
fn cgroups_that_the_user_may_not_make() {
    if !possible() {
        return;
    }
    let (sandbox, mut config) = mapped(&json!([mapping(0, NOBODY, 1)]), "grep ^0:: /proc/self/cgroup");
    let Some(delegated) = Delegated::new(&sandbox) else { return };
    let own = json!(format!("{}/own", delegated.path()));
    let limits = json!({ "unified": { "cgroup.max.descendants": "5" } });
    let rootless = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    let not_his =
        "unable to apply cgroup configuration: linux.cgroupsPath: mkdir /sys/fs/cgroup/not-mine: permission denied";
    for (cgroups_path, resources, text) in [
        (Value::Null, Value::Null, ""),
        (Value::Null, limits, rootless),
        (json!("/not-mine"), Value::Null, not_his),
        // may be made, and not be entered from where he is
        (own, Value::Null, "the cgroup may not be entered"),
    ] {
        config["linux"]["cgroupsPath"] = cgroups_path;
        config["linux"]["resources"] = resources;
        sandbox.write(&config);
        let out = on_v2(sandbox.verb(&["run"]), "").run();
        let expected = if text.is_empty() { (Some(0), "0::/\n") } else { (Some(1), "") };
        assert_eq!((out.code, out.stdout.as_str()), expected, "{out:#?}");
        assert!(out.stderr.contains(text) && delegated.children() == 1, "{text}: {out:#?}");
    }
    // There already, and not to be entered: lived without, unless a limit was asked for.
    let taken = delegated.0.with_file_name(&sandbox.id);
    std::fs::create_dir(&taken).unwrap();
    bundle::set(&mut config, "/linux/cgroupsPath", None);
    assert_eq!(on_v2(sandbox.verb(&["run"]), "").run().code, Some(1), "the config of the last round");
    sandbox.write(&config);
    assert_eq!(on_v2(sandbox.verb(&["run"]), "").ok().stdout, "0::/\n");
    let _ = std::fs::remove_dir(&taken);
    drop(delegated);
    sandbox.assert_clean();
}

/// v1, and v1 beside v2: each limit needs its own controller.
#[test]
fn limits_on_hierarchies_that_the_user_may_not_write() {
    if !possible() || !read("/proc/self/mounts").contains(" cgroup rw") {
        return;
    }
    let (sandbox, mut config) = mapped(&json!([mapping(0, NOBODY, 1)]), "true");
    config["linux"]["resources"] = json!({ "pids": { "limit": 10 } });
    sandbox.write(&config);
    let out = sandbox.verb(&["create"]).run();
    let text = "cannot set pids limit: container could not join or create cgroup";
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    sandbox.assert_clean();
}
