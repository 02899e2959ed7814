//! Where a container's cgroup is made (contract 6.1), and cgroups that are not to be touched: of somebody else, frozen,
//! threaded. On the machine as it is, and on v2 alone. The refusals: one clear error, nothing changed, nobody killed.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::support::{Cmd, NOBODY, Output, Sandbox, View, bundle, read, root, skip, verify_cgroup, wait_for, words};

/// The mount points of all hierarchies below /sys/fs/cgroup.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = read("/proc/self/mounts");
    let cgroup = |l: &str| matches!(words(l)[2], "cgroup" | "cgroup2") && words(l)[1].starts_with("/sys/fs/cgroup");
    mounts.lines().filter(|l| cgroup(l)).map(|l| PathBuf::from(words(l)[1])).collect()
}

/// Where v2 is mounted.
fn v2() -> Option<PathBuf> {
    let found = hierarchies().into_iter().find(|dir| dir.join("cgroup.controllers").exists());
    found.or_else(|| {
        skip("no cgroup v2 on this machine");
        None
    })
}

/// Cgroups of the test's own, some with a process; they go with it.
struct Made {
    dirs: Vec<PathBuf>,
    inhabitants: Vec<Child>,
}

impl Made {
    fn new(dirs: impl IntoIterator<Item = PathBuf>) -> Made {
        let dirs: Vec<PathBuf> = dirs.into_iter().collect();
        for dir in &dirs {
            fs::create_dir_all(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = read(dir.join("..").join(file));
                if dir.starts_with("/sys/fs/cgroup/cpuset") && read(dir.join(file)).trim().is_empty() {
                    fs::write(dir.join(file), above).unwrap();
                }
            }
        }
        Made { dirs, inhabitants: Vec::new() }
    }

    /// A process in each of these.
    fn inhabit(&mut self, dirs: &[&Path]) -> u32 {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id();
        self.inhabitants.push(child);
        for dir in dirs {
            fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        }
        pid
    }

    /// What is set in them, and who is in them.
    fn look(&self) -> Vec<(PathBuf, String)> {
        let mut seen = Vec::new();
        for dir in &self.dirs {
            let mut files: Vec<_> = fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).collect();
            files.sort();
            let counts = [
                "stat",
                "usage",
                "pressure",
                "local",
                "current",
                "peak",
                "failcnt",
                "numa",
                "throttle.io",
                "bfq",
                // what a level above gives to all below it
                "cgroup.controllers",
            ];
            for file in files.into_iter().filter(|f| !counts.iter().any(|part| f.to_string_lossy().contains(part))) {
                seen.push((file.clone(), read(&file)));
            }
        }
        seen
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for mut child in self.inhabitants.drain(..) {
            let _ = child.kill();
            for dir in &self.dirs {
                for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
                    let _ = dir.join(file).exists().then(|| fs::write(dir.join(file), value));
                }
            }
            let _ = child.wait();
        }
        for dir in self.dirs.iter().rev() {
            for _ in 0..200 {
                if fs::remove_dir(dir).is_ok() || !dir.exists() {
                    break; // or it is a leftover, which `assert_clean` tells
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

/// `create` has to fail with this, and to leave the cgroups alone.
#[track_caller]
fn refused(sandbox: &Sandbox, made: &mut Made, says: &str) {
    let before = made.look();
    let out = sandbox.verb(&["create"]).run();
    let text = out.stderr.replace('\\', "");
    assert!(out.code == Some(1) && text.contains(says), "{says:?}: {out:#?}");
    assert_eq!(text.matches("level=error").count(), 1, "one error: {out:#?}");
    let after = made.look();
    for (file, text) in &before {
        let now = after.iter().find(|(f, _)| f == file).map(|(_, text)| text);
        assert_eq!(now, Some(text), "{} was changed", file.display());
    }
    for child in &mut made.inhabitants {
        assert!(child.try_wait().unwrap().is_none(), "killed what was in there");
    }
    assert!(!sandbox.state_dir().exists(), "{out:#?}");
}

/// Limits and device rules that would show if they were written.
fn limited(sandbox: &Sandbox, path: &str) -> Value {
    let mut config = bundle::minimal(path, "sleep 1000");
    config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if !matches!(sandbox.view, View::V2) {
        config["linux"]["resources"]["pids"] = json!({ "limit": 99 });
        config["linux"]["resources"]["cpu"] = json!({ "shares": 99, "cpus": "0" });
    }
    config
}

/// In any one of the hierarchies, itself or below.
#[test]
fn with_processes() {
    if !root() {
        return;
    }
    for (i, hierarchy) in hierarchies().iter().enumerate() {
        let sandbox = Sandbox::new();
        let own = hierarchy.join(&sandbox.id);
        let below = own.join("below");
        let mut made = Made::new([own.clone(), below.clone()]);
        made.inhabit(&[if i % 2 == 0 { &own } else { &below }]);
        sandbox.write(&limited(&sandbox, &sandbox.cgroups_path()));
        refused(&sandbox, &mut made, "linux.cgroupsPath: container's cgroup is not empty: 1 process(es) found");
        assert_eq!(hierarchies().iter().filter(|h| h.join(&sandbox.id).exists()).count(), 1, "what was made is gone");
        drop(made);
        sandbox.assert_clean();
    }
}

/// Another container's: created, running, paused by its freezer.
#[test]
fn of_another_container() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        if view == View::V2 && v2().is_none() {
            continue;
        }
        let sandbox = Sandbox::with_view(view);
        sandbox.write(&limited(&sandbox, &sandbox.cgroups_path()));
        sandbox.verb(&["create"]).ok();
        let other = format!("{}-other", sandbox.id);
        for verb in ["start", "state"] {
            let out = sandbox.cntr(&["create", &other]).run();
            let says = "container's cgroup is not empty: 1 process(es) found";
            assert!(out.code == Some(1) && out.stderr.contains(says), "{out:#?}");
            sandbox.verb(&[verb]).ok();
        }
        assert_eq!(sandbox.status(), "running");
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

/// Of several that get one path in the same moment one has it, and the others are told so.
#[test]
fn given_to_two_at_once() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&limited(&sandbox, &sandbox.cgroups_path()));
    for round in 0..15 {
        let ids: Vec<String> = (0..4).map(|i| format!("{}-{i}", sandbox.id)).collect();
        let running: Vec<_> = ids.iter().map(|id| sandbox.cntr(&["create", id]).spawn()).collect();
        let outs: Vec<Output> = running.into_iter().map(|r| r.wait()).collect();
        let (won, lost): (Vec<&Output>, Vec<&Output>) = outs.iter().partition(|out| out.code == Some(0));
        assert!(won.len() <= 1, "round {round}: {outs:#?}");
        let told = |out: &&Output| out.code == Some(1) && out.stderr.contains("linux.cgroupsPath: ");
        assert!(lost.iter().all(told), "round {round}: {outs:#?}");
        for (id, out) in ids.iter().zip(&outs) {
            if out.code == Some(0) {
                let state: Value = serde_json::from_str(&sandbox.cntr(&["state", id]).ok().stdout).unwrap();
                assert_eq!(state["status"], "created");
                sandbox.cntr(&["delete", "--force", id]).ok();
            }
        }
        sandbox.assert_clean();
    }
}

/// The path of a container that has stopped is free again, and what is there then is safe from the first one's delete.
#[test]
fn of_a_container_that_stopped() {
    if !root() {
        return;
    }
    for private in [true, false] {
        let sandbox = Sandbox::new();
        let mut config = limited(&sandbox, &sandbox.cgroups_path());
        if !private {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
        }
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        // Not by `cntr kill`: some kernels let nobody be born where cgroup.kill was written.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(sandbox.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
        sandbox.wait_status("stopped");
        let second = format!("{}-second", sandbox.id);
        sandbox.cntr(&["create", &second]).ok();
        // Paused, it makes the first one appear so as well.
        for (verb, status) in [("pause", "paused"), ("resume", "created")] {
            sandbox.cntr(&[verb, &second]).ok();
            let killed = sandbox.verb(&["kill"]).args(&["KILL"]).run();
            assert!(killed.code == Some(1) && killed.stderr.contains("container not running"), "{verb}: {killed:#?}");
            let out = sandbox.verb(&["delete", "--force"]).run();
            assert!(out.code == Some(1) && out.stderr.contains("unable to remove container's cgroup"), "{out:#?}");
            let state: Value = serde_json::from_str(&sandbox.cntr(&["state", &second]).ok().stdout).unwrap();
            assert_eq!(state["status"], status, "private pid namespace: {private}");
        }
        sandbox.cntr(&["delete", "--force", &second]).ok();
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

/// A `create` that was killed has left a cgroup without anybody in it, which another container was given since then.
#[test]
fn of_a_create_that_died() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&limited(&sandbox, &sandbox.cgroups_path()));
    sandbox.verb(&["create"]).ok();
    let remains = format!("{}-remains", sandbox.id);
    let dir = sandbox.state_root().join(&remains);
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(sandbox.state_dir().join("state.json"), dir.join("creating.owned.json")).unwrap();
    let out = sandbox.cntr(&["delete", "--force", &remains]).run();
    assert_eq!(sandbox.status(), "created", "{out:#?}");
    assert!(out.code == Some(1) && out.stderr.contains("unable to remove container's cgroup"), "{out:#?}");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.cntr(&["delete", "--force", &remains]).ok();
    sandbox.assert_clean();
}

/// Empty, and another user's: he could kill what is in it.
#[test]
fn of_another_user() {
    if !root() {
        return;
    }
    for hierarchy in hierarchies() {
        let sandbox = Sandbox::new();
        let own = hierarchy.join(&sandbox.id);
        let mut made = Made::new([own.clone()]);
        chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
        sandbox.write(&limited(&sandbox, &sandbox.cgroups_path()));
        let says =
            format!("linux.cgroupsPath: container's cgroup {} belongs to another user (uid {NOBODY})", own.display());
        refused(&sandbox, &mut made, &says);
        assert_eq!(fs::metadata(&own).unwrap().uid(), NOBODY);
        drop(made);
        sandbox.assert_clean();
    }
}

/// Empty, and marked as systemd marks those of its units.
#[test]
fn of_a_unit() {
    if !root() {
        return;
    }
    let keeps = |h: &PathBuf| h.join("cgroup.controllers").exists() || h.ends_with("systemd");
    for hierarchy in hierarchies().into_iter().filter(keeps) {
        for mark in ["user.invocation_id", "trusted.invocation_id"] {
            let sandbox = Sandbox::new();
            let own = hierarchy.join(&sandbox.id);
            let mut made = Made::new([own.clone()]);
            let id = b"0123456789abcdef0123456789abcdef";
            if let Err(e) = rustix::fs::setxattr(&own, mark, id, rustix::fs::XattrFlags::empty()) {
                skip(&format!("no {mark} in {}: {e}", hierarchy.display())); // v1 has the name space of root only
                continue;
            }
            sandbox.write(&limited(&sandbox, &sandbox.cgroups_path()));
            refused(&sandbox, &mut made, "is that of a systemd unit");
            drop(made);
            sandbox.assert_clean();
        }
    }
}

/// Itself, or below one that is: init would stop where it joins, and `create` would wait for ever.
#[test]
fn frozen() {
    if !root() {
        return;
    }
    let freezers = hierarchies().into_iter().filter_map(|h| match h {
        h if h.join("cgroup.controllers").exists() => Some((h, "cgroup.freeze", "1", "0")),
        h if h.ends_with("freezer") => Some((h, "freezer.state", "FROZEN", "THAWED")),
        _ => None,
    });
    for (hierarchy, file, frozen, thawed) in freezers {
        for below in ["", "/a", "/a/b"] {
            let sandbox = Sandbox::new();
            let own = hierarchy.join(&sandbox.id);
            let mut made = Made::new([own.clone()]);
            fs::write(own.join(file), frozen).unwrap();
            sandbox.write(&limited(&sandbox, &format!("{}{below}", sandbox.cgroups_path())));
            refused(&sandbox, &mut made, "linux.cgroupsPath: container's cgroup unexpectedly frozen");
            fs::write(own.join(file), thawed).unwrap();
            drop(made);
            sandbox.assert_clean();
        }
    }
}

/// Below a threaded cgroup there is nothing that could have a limit on memory or huge pages.
#[test]
fn threaded() {
    if !root() {
        return;
    }
    let Some(v2) = v2() else { return };
    let sandbox = Sandbox::with_view(View::V2);
    let (top, inner) = (v2.join(&sandbox.id), v2.join(&sandbox.id).join("t"));
    let mut made = Made::new([top, inner.clone()]);
    fs::write(inner.join("cgroup.type"), "threaded").unwrap();
    let path = format!("{}/t/c", sandbox.cgroups_path());
    let mut config = bundle::minimal(&path, "sleep 1000");
    config["linux"]["resources"] = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }] });
    sandbox.write(&config);
    if read(v2.join("cgroup.controllers")).contains("hugetlb") {
        refused(&sandbox, &mut made, "with domain controllers -- it is in an invalid state");
    } else {
        skip("no hugetlb controller");
    }
    // A thread that is in there makes it non-empty, though no process is listed.
    let config = bundle::minimal(&format!("{}/t", sandbox.cgroups_path()), "sleep 1000");
    sandbox.write(&config);
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = child.id().to_string();
    fs::write(made.dirs[0].join("cgroup.procs"), &pid).unwrap();
    fs::write(inner.join("cgroup.threads"), &pid).unwrap();
    refused(&sandbox, &mut made, "container's cgroup is not empty: ");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(made);
    sandbox.assert_clean();
}

/// The administrator has said how many there may be.
#[test]
fn more_than_there_may_be() {
    if !root() {
        return;
    }
    let Some(v2) = v2() else { return };
    for (file, path) in [("cgroup.max.descendants", "/c"), ("cgroup.max.depth", "/c/d")] {
        let sandbox = Sandbox::new();
        let own = v2.join(&sandbox.id);
        let mut made = Made::new([own.clone()]);
        fs::write(own.join(file), if path == "/c" { "0" } else { "1" }).unwrap();
        sandbox.write(&limited(&sandbox, &format!("{}{path}", sandbox.cgroups_path())));
        refused(&sandbox, &mut made, "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached: mkdir ");
        drop(made);
        for hierarchy in hierarchies() {
            assert!(!hierarchy.join(&sandbox.id).exists(), "levels above are taken back: {}", hierarchy.display());
        }
        sandbox.assert_clean();
    }
}

/// What a program makes in its own cgroup, and where it has moved to, goes with the container.
#[test]
fn cgroups_of_the_containers_own() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        if view == View::V2 && v2().is_none() {
            continue;
        }
        let sandbox = Sandbox::with_view(view);
        let script = "for d in $(ls -d /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null); do \
            d=${d%/cgroup.procs}; mkdir -p $d/a/b $d/c || exit 1; cat $d/cpuset.cpus >$d/a/cpuset.cpus; \
            cat $d/cpuset.mems >$d/a/cpuset.mems; echo $$ >$d/a/cgroup.procs || exit 2; done 2>/tmp/err; \
            cat /proc/self/cgroup >/tmp/cgroup; exec sleep 1000";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        config["mounts"].as_array_mut().unwrap().push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup",
            "source": "cgroup", "options": ["nosuid", "noexec", "nodev"] }));
        bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "cgroup" })));
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        sandbox.verb(&["start"]).ok();
        let seen =
            wait_for("the program", || Some(read(sandbox.rootfs().join("tmp/cgroup"))).filter(|t| t.ends_with('\n')));
        let moved = seen.lines().filter(|l| l.ends_with(":/a")).count();
        assert!(moved >= 1, "{view:?}: {seen} {}", read(sandbox.rootfs().join("tmp/err")));
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

/// A runtime that is in a cgroup of its own: relative paths count from there, on v2 from the level above.
#[test]
fn below_the_runtimes_own() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let outer = format!("{}.outer", sandbox.id);
    let dirs = hierarchies().into_iter().flat_map(|h| [h.join(&outer), h.join(&outer).join("runtime")]);
    let made = Made::new(dirs);
    let alone = hierarchies() == [PathBuf::from("/sys/fs/cgroup")];
    let enter = |cmd: Cmd| {
        let files =
            made.dirs.iter().filter(|d| d.ends_with("runtime")).map(|d| format!("{}/cgroup.procs", d.display()));
        let script =
            format!("for f in {}; do echo 0 >$f || exit; done; exec \"$@\"", files.collect::<Vec<_>>().join(" "));
        cmd.shell(&script)
    };
    let base = if alone { format!("/{outer}") } else { format!("/{outer}/runtime") };
    let id = &sandbox.id;
    for (path, place) in [
        (Value::Null, format!("{base}/{id}")),
        (json!(id), format!("{base}/{id}")),
        (json!(format!("x/../../../{id}")), format!("{base}/{id}")),
        (json!(format!("/{id}")), format!("/{id}")),
    ] {
        let mut config = bundle::minimal("", "cat /proc/self/cgroup");
        config["linux"]["cgroupsPath"] = path.clone();
        sandbox.write(&config);
        let out = enter(sandbox.verb(&["run"])).ok();
        for line in out.stdout.lines() {
            assert_eq!(line.splitn(3, ':').nth(2), Some(place.as_str()), "{path}: {out:#?}");
        }
    }
    // Behind a cgroup namespace of its own it sees itself at the root, and all is made below.
    let mut config = bundle::minimal("", "cat /proc/self/cgroup");
    bundle::set(&mut config, "/linux/cgroupsPath", None);
    sandbox.write(&config);
    let script = if alone { "umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup" } else { "true" };
    let wrap =
        ["unshare", "-C", "-m", "--propagation", "private", "sh", "-c", &format!("{script} && exec \"$@\""), "sh"];
    let out = enter(sandbox.verb(&["run"]).wrapped(&wrap)).ok();
    let inside = format!("/{outer}/runtime/{id}");
    let expected = if alone { format!("0::{inside}\n") } else { String::new() };
    assert!(!alone || out.stdout == expected || out.stdout == format!("0::/{id}\n"), "{out:#?}");
    drop(made);
    sandbox.assert_clean();
}

/// v2: a level above that holds processes has no controllers to give: the limit names itself, and what is missing.
#[test]
fn above_it_no_controller() {
    if !root() {
        return;
    }
    let Some(v2) = v2() else { return };
    let controllers = read(v2.join("cgroup.controllers"));
    // Those that threads cannot have: they are refused above processes.
    let Some((name, resources)) = [
        ("memory", json!({ "memory": { "limit": 64 << 20 } })),
        ("hugetlb", json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }] })),
    ]
    .into_iter()
    .find(|(name, _)| controllers.split_whitespace().any(|c| c == *name)) else {
        return skip("no controller on v2");
    };
    let sandbox = Sandbox::with_view(View::V2);
    let own = v2.join(&sandbox.id);
    let mut made = Made::new([own.clone()]);
    let mut config = bundle::minimal(&format!("{}/c", sandbox.cgroups_path()), "sleep 1000");
    config["linux"]["resources"] = resources;
    sandbox.write(&config);
    let control = read(own.join("cgroup.subtree_control"));
    made.inhabit(&[&own]);
    refused(&sandbox, &mut made, &format!("controller \"{name}\" not available"));
    assert_eq!(read(own.join("cgroup.subtree_control")), control);
    drop(made);
    sandbox.assert_clean();
}

/// v2: levels that have given nothing yet do.
#[test]
fn controllers_are_handed_down() {
    if !root() {
        return;
    }
    let Some(v2) = v2() else { return };
    let sandbox = Sandbox::with_view(View::V2);
    let made = Made::new([v2.join(&sandbox.id)]);
    sandbox.write(&bundle::minimal(&format!("{}/a/c", sandbox.cgroups_path()), "sleep 1000"));
    sandbox.verb(&["create"]).ok();
    let dir = verify_cgroup::directory(sandbox.pid(), "").unwrap();
    assert_eq!(read(dir.join("cgroup.controllers")), read(v2.join("cgroup.controllers")), "{}", dir.display());
    assert_eq!(read(dir.join("cgroup.subtree_control")), "\n".trim(), "none for the container's own children");
    sandbox.verb(&["delete", "--force"]).ok();
    fs::remove_dir(v2.join(&sandbox.id).join("a")).unwrap();
    drop(made);
    sandbox.assert_clean();
}
