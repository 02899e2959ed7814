//! Namespaces: joined by path, shared with the host, and user namespaces with mappings; as root and as an
//! ordinary user.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::probe::{self, Probe};
use crate::support::verify::{Findings, NAMESPACES, verify};
use crate::support::{Sandbox, View, bundle, host, read, root, skip, wait_for};

/// A process that holds namespaces open until it is dropped.
pub(crate) struct Holder(Child);

impl Holder {
    /// `flags` are unshare(1)'s.
    pub(crate) fn new(flags: &[&str]) -> Self {
        Holder(
            Command::new("unshare").args(flags).args(["sleep", "1000"]).stderr(Stdio::null()).spawn().expect("unshare"),
        )
    }

    /// A user namespace of an ordinary user, who is root in it.
    pub(crate) fn of_user(uid: u32) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sleep", "1000"]).uid(uid).gid(uid).stderr(Stdio::null());
        let holder = Holder(command.spawn().expect("unshare"));
        // its map is written before it becomes `sleep`
        let comm = format!("/proc/{}/comm", holder.0.id());
        wait_for("the map of a user namespace", || read(&comm).starts_with("sleep").then_some(()));
        holder
    }

    /// The path of one of its namespaces, once it is another one than ours.
    pub(crate) fn path(&self, file: &str) -> String {
        let path = format!("/proc/{}/ns/{file}", self.0.id());
        let own = std::fs::read_link(format!("/proc/self/ns/{}", file.trim_end_matches("_for_children"))).unwrap();
        wait_for(&path, || std::fs::read_link(&path).is_ok_and(|n| n != own).then_some(()));
        path
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(sandbox: &Sandbox) -> Value {
    bundle::minimal(&sandbox.cgroups_path(), "")
}

fn with_probe(mut config: Value) -> Value {
    config["process"]["args"][2] = probe::script(&config).into();
    config
}

fn runs_as_asked(sandbox: &Sandbox, config: &Value, context: &str) -> Probe {
    sandbox.write(config);
    let probe = Probe::parse(&sandbox.run_ok().stdout);
    let mut findings = Findings::default();
    verify(config, &probe, &mut findings);
    findings.done(context);
    sandbox.assert_clean();
    probe
}

pub(crate) fn join(config: &mut Value, kind: &str, path: &str) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != kind);
    namespaces.push(json!({ "type": kind, "path": path }));
}

#[test]
fn joined_network_uts_ipc() {
    if !root() {
        return;
    }
    let holder = Holder::new(&["-n", "-u", "-i"]);
    for (kind, file) in NAMESPACES.into_iter().filter(|(_, f)| ["net", "uts", "ipc"].contains(f)) {
        let sandbox = Sandbox::new();
        let mut config = config(&sandbox);
        config.as_object_mut().unwrap().remove("hostname");
        join(&mut config, kind, &holder.path(file));
        runs_as_asked(&sandbox, &with_probe(config), kind);
    }
}

#[test]
fn joined_pid_namespace() {
    if !root() {
        return;
    }
    // not --fork: `sleep` is in the old pid namespace, its first child would be pid 1 of the new one. With
    // --fork unshare(1) stays as the parent, and its own pid_for_children is the namespace.
    let holder = Holder::new(&["-p", "--fork", "--kill-child"]);
    let sandbox = Sandbox::new();
    let mut config = config(&sandbox);
    join(&mut config, "pid", &holder.path("pid_for_children"));
    let probe = runs_as_asked(&sandbox, &with_probe(config), "pid");
    assert!(probe.line("pid").parse::<i32>().unwrap() > 1, "pid 1 is the holder's");
}

/// runc 1.1.5 asks for mappings even then.
#[test]
fn joined_user_namespace() {
    if !root() {
        return;
    }
    let holder = Holder::new(&["-U"]);
    let path = holder.path("user");
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", holder.0.id()), "0 100000 65536").unwrap();
    }
    let sandbox = Sandbox::new();
    own_directories(&sandbox, 100_000);
    let mut config = config(&sandbox);
    join(&mut config, "user", &path);
    let probe = runs_as_asked(&sandbox, &with_probe(config), "user");
    assert_eq!(probe.line("uid"), "0");
}

/// Gives the directories of the rootfs (not busybox, which is a hard link that all tests share) to `uid`.
pub(crate) fn own_directories(sandbox: &Sandbox, uid: u32) {
    host(
        "find",
        &[
            &sandbox.rootfs().to_string_lossy(),
            "-xdev",
            "-type",
            "d",
            "-exec",
            "chown",
            &format!("{uid}:{uid}"),
            "{}",
            "+",
        ],
    );
}

/// Puts the container in a user namespace whose root is 100000 of the host.
pub(crate) fn in_user_namespace(sandbox: &Sandbox, config: &mut Value) {
    own_directories(sandbox, 100_000);
    bundle::set(config, "/linux/namespaces/-", Some(json!({ "type": "user" })));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

#[test]
fn user_namespace_with_mappings() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    own_directories(&sandbox, 100_000);
    let mut config = config(&sandbox);
    bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "user" })));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }, { "containerID": 1000, "hostID": 300_000, "size": 5000 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5, 1001] });
    bundle::set(
        &mut config,
        "/mounts/-",
        Some(
            json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }),
        ),
    );
    let script = "cat /proc/self/uid_map /proc/self/gid_map; echo owner $(stat -c %u /dev/mqueue) $(stat -c %u /proc/self/fd/1/.. 2>/dev/null)";
    let mut probed = with_probe(config);
    let full = format!("{}\necho @@maps\n{script}\n", probed["process"]["args"][2].as_str().unwrap());
    probed["process"]["args"][2] = full.into();
    let probe = runs_as_asked(&sandbox, &probed, "user namespace");
    let maps: Vec<Vec<&str>> = probe.lines("maps").iter().map(|l| crate::support::words(l)).collect();
    assert_eq!(
        maps[..4],
        [["0", "100000", "1000"], ["1000", "300000", "5000"], ["0", "100000", "1000"], ["1000", "300000", "5000"]]
    );
    // an IPC namespace made before the map was written leaves /dev/mqueue to nobody (design.md, section 2)
    assert_eq!(maps[4][..2], ["owner", "0"]);

    sandbox.verb(&["create"]).ok();
    let status = read(format!("/proc/{}/status", sandbox.pid()));
    let uid = status.lines().find(|l| l.starts_with("Uid:")).unwrap().to_owned();
    assert_eq!(crate::support::words(&uid), ["Uid:", "300000", "300000", "300000", "300000"]);
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// No entry: the host's namespace.
#[test]
fn shared_with_the_host() {
    if !root() {
        return;
    }
    for kind in ["network", "ipc", "uts"] {
        let sandbox = Sandbox::new();
        let mut config = config(&sandbox);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
        if kind == "uts" {
            config.as_object_mut().unwrap().remove("hostname");
        }
        runs_as_asked(&sandbox, &with_probe(config), kind);
    }
}

/// The host's pid namespace (one that the test made): KILL reaches everything of the container, since no init
/// of a pid namespace takes the rest with it, and nothing else. runc 1.1.5 does that with `--all` only.
#[test]
fn kill_in_a_shared_pid_namespace() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let mut config = bundle::minimal(
        &sandbox.cgroups_path(),
        "readlink /proc/self/ns/pid; sleep 1000 & setsid sleep 1000 & echo ready; wait",
    );
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    sandbox.write(&config);
    let created = sandbox.verb(&["create", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || read(&created.stdout_file).contains("ready").then_some(()));
    let shared = std::fs::read_link(format!("/proc/{}/ns/pid", sandbox.host_pid())).unwrap();
    assert!(read(&created.stdout_file).starts_with(&*shared.to_string_lossy()), "{}", read(&created.stdout_file));
    let pids = || serde_json::from_str::<Value>(&sandbox.verb(&["ps", "-f", "json"]).ok().stdout).unwrap();
    wait_for("three processes", || (bundle::list(&pids()).len() == 3).then_some(()));
    sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
    wait_for("all of them to end", || pids().as_array().is_none_or(Vec::is_empty).then_some(()));
    let bystander = read(format!("/proc/{}/comm", sandbox.host_pid()));
    assert_eq!(bystander, "sleep\n", "a process of the host was killed too");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// A config without any namespace: the rootfs is a chroot, nothing is mounted on the host. runc 1.1.5 fails
/// without a /proc in the rootfs, and leaves a mount behind; the "host" is therefore one that the test made.
#[test]
fn no_namespace_at_all() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let mounts = || read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
    let before = mounts();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "echo ran as $(id -u) in $(pwd); ls /bin/busybox");
    config["linux"]["namespaces"] = json!([]);
    config["mounts"] = json!([]);
    config.as_object_mut().unwrap().remove("hostname");
    sandbox.write(&config);
    let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
    assert_eq!(mounts(), before, "mounts of the host, after {out:#?}");
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "ran as 0 in /\n/bin/busybox\n"), "{out:#?}");
    sandbox.assert_clean();
}

/// The config that an ordinary user can have: one id mapped, the host's network, no cgroup.
pub(crate) fn ordinary(uid: u32, script: &str) -> Value {
    let map = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    let mut config = bundle::minimal("", script);
    let linux = config["linux"].as_object_mut().unwrap();
    linux.remove("cgroupsPath");
    linux.insert("uidMappings".into(), map.clone());
    linux.insert("gidMappings".into(), map);
    linux.insert("namespaces".into(), json!(["pid", "mount", "ipc", "uts", "user"].map(|t| json!({ "type": t }))));
    config["mounts"][2] = json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
    config
}

pub(crate) const UID: u32 = 54321;

pub(crate) fn ordinary_users_can_unshare() -> bool {
    let allowed = read("/proc/sys/kernel/unprivileged_userns_clone").trim() != "0";
    let some = read("/proc/sys/user/max_user_namespaces").trim() != "0";
    if !(allowed && some) {
        skip("user namespaces are not for ordinary users here");
    }
    allowed && some
}

#[test]
fn ordinary_user() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = ordinary(UID, "");
    let script = format!("{}\necho @@maps\ncat /proc/self/uid_map /proc/self/gid_map\n", probe::script(&config));
    config["process"]["args"][2] = script.into();
    let probe = runs_as_asked(&sandbox, &config, "as an ordinary user");
    for line in probe.lines("maps") {
        assert_eq!(crate::support::words(line), ["0", &UID.to_string(), "1"]);
    }
}

#[test]
fn ordinary_user_create_start_kill_delete() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    sandbox.write(&ordinary(UID, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
    let created = sandbox.verb(&["create"]).ok();
    // the default root: below XDG_RUNTIME_DIR
    assert!(sandbox.state_dir().is_dir(), "{}", sandbox.state_dir().display());
    assert_eq!(sandbox.status(), "created");
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || read(&created.stdout_file).contains("ready").then_some(()));
    let list: Value = serde_json::from_str(&sandbox.cntr(&["list", "-f", "json"]).ok().stdout).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(sandbox.id), &json!("running")));
    sandbox.verb(&["kill"]).ok();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// Limits that an ordinary user cannot have are refused and not ignored.
#[test]
fn ordinary_user_with_limits() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = ordinary(UID, "true");
    config["linux"]["resources"] = json!({ "pids": { "limit": 10 } });
    sandbox.write(&config);
    let out = sandbox.verb(&["create"]).run();
    assert!(
        out.code == Some(1) && (out.stderr.contains("cgroup") || out.stderr.contains("linux.resources")),
        "{out:#?}"
    );
    sandbox.assert_clean();
}

/// A sandbox with mounts of its own, all of them shared as systemd does it: in peer groups that the test has made, so
/// that nothing reaches the machine's.
pub(crate) fn with_shared_mounts() -> Sandbox {
    let sandbox = Sandbox::with_view(View::Pids);
    within(&sandbox, &["mount", "--make-rprivate", "/"]);
    within(&sandbox, &["mount", "--make-rshared", "/"]);
    sandbox
}

/// A program in the mount namespace of a sandbox with [`View::Pids`].
pub(crate) fn within(sandbox: &Sandbox, argv: &[&str]) {
    let pid = sandbox.host_pid().to_string();
    host("nsenter", &[&["-t", pid.as_str(), "-m", "--"], argv].concat());
}

/// A root that is shared has to be made so in a peer group of its own: mounts of the container, and the unmounting of
/// the old root with all that lies below it, are nothing to the host. With a hook the root is attached at its own path,
/// where Docker's bridge and its hook want a volume that is rshared to work as well.
#[test]
fn shared_root_leaves_the_mounts_of_the_host_alone() {
    if !root() {
        return;
    }
    for propagation in ["shared", "rshared", "slave", "rslave", "private"] {
        for (user, hook) in [(false, false), (false, true), (true, false), (true, true)] {
            let sandbox = with_shared_mounts();
            let mut config = config(&sandbox);
            config["linux"]["rootfsPropagation"] = propagation.into();
            if hook {
                config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] });
            }
            if user {
                in_user_namespace(&sandbox, &mut config);
            }
            config["process"]["args"][2] = "echo ran".into();
            sandbox.write(&config);
            let rootfs = sandbox.rootfs().to_string_lossy().into_owned();
            within(&sandbox, &["mount", "--bind", &rootfs, &rootfs]);
            let mounts = || read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
            let before = mounts();
            let context = format!("{propagation}, user namespace: {user}, hook: {hook}");
            let created = sandbox.verb(&["create", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
            assert_eq!(mounts(), before, "{context}: {created:#?}");
            assert_eq!(created.code, Some(0), "{context}: {created:#?}");
            sandbox.verb(&["start"]).ok();
            sandbox.wait_status("stopped");
            assert_eq!(read(&created.stdout_file), "ran\n", "{context}");
            sandbox.verb(&["delete"]).ok();
            assert_eq!(mounts(), before, "{context}: deleted");
            sandbox.assert_clean();
        }
    }
}

/// What rshared is for: a container that mounts for others (CSI drivers). Only what it mounts in the volume arrives.
#[test]
fn mounts_in_a_shared_volume_reach_the_host() {
    if !root() {
        return;
    }
    let sandbox = with_shared_mounts();
    let volume = sandbox.path("volume");
    std::fs::create_dir(&volume).unwrap();
    within(&sandbox, &["mount", "-t", "tmpfs", "volume", &volume.to_string_lossy()]);
    let script = "mkdir /mnt/made && mount -t tmpfs made /mnt/made && mkdir /tmp/own && mount -t tmpfs own /tmp/own";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["rootfsPropagation"] = "rshared".into();
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
    }
    let bind = json!({ "destination": "/mnt", "type": "bind", "source": volume, "options": ["rbind", "rshared"] });
    bundle::set(&mut config, "/mounts/-", Some(bind));
    sandbox.write(&config);
    let mounts = || read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
    let before = mounts();
    sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
    let after = mounts();
    let made: Vec<&str> = after.lines().filter(|l| !before.lines().any(|b| b == *l)).collect();
    let point = volume.join("made");
    assert!(made.len() == 1 && crate::support::words(made[0])[4] == point.to_string_lossy(), "{made:#?}");
    assert!(before.lines().all(|b| after.lines().any(|a| a == b)), "{before}\n{after}");
    sandbox.assert_clean();
}

/// A container that was moved to a machine that booted later: its clocks go on from where they were. Alone, in a user
/// namespace of its own, and beside a pid namespace that is joined.
#[test]
fn clocks_are_shifted() {
    if !root() || !std::path::Path::new("/proc/self/ns/time").exists() {
        return;
    }
    let holder = Holder::new(&["-p", "--fork", "--kill-child"]);
    for kind in ["alone", "user", "joined pid"] {
        let sandbox = Sandbox::new();
        let script = "cat /proc/self/timens_offsets /proc/uptime; echo 'boottime 1 1' >/proc/self/timens_offsets";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "time" })));
        let offsets =
            json!({ "boottime": { "secs": 1_000_000, "nanosecs": 5 }, "monotonic": { "secs": 86400, "nanosecs": 7 } });
        config["linux"]["timeOffsets"] = offsets;
        match kind {
            "user" => {
                in_user_namespace(&sandbox, &mut config);
            }
            "joined pid" => join(&mut config, "pid", &holder.path("pid_for_children")),
            _ => {}
        }
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let lines: Vec<Vec<&str>> = out.stdout.lines().map(crate::support::words).collect();
        assert_eq!(lines.len(), 3, "{kind}: {out:#?}");
        assert_eq!(lines[0], ["monotonic", "86400", "7"], "{kind}: {out:#?}");
        assert_eq!(lines[1], ["boottime", "1000000", "5"], "{kind}: {out:#?}");
        let host: f64 = read("/proc/uptime").split(' ').next().unwrap().parse().unwrap();
        let shifted = lines[2][0].parse::<f64>().unwrap() - host;
        assert!((999_940.0..=1_000_000.0).contains(&shifted), "{kind}: {shifted}");
        assert_ne!(out.code, Some(0), "{kind}: the container can shift no more");
        sandbox.assert_clean();
    }
}

/// The kernel says which offsets are too far; the error names the field.
#[test]
fn clocks_before_their_beginning_are_refused() {
    if !root() || !std::path::Path::new("/proc/self/ns/time").exists() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "time" })));
    config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": -1_000_000_000 } });
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    let says = ["linux.timeOffsets", "/proc/self/timens_offsets", "numerical result out of range"];
    assert!(out.code == Some(1) && says.iter().all(|text| out.stderr.contains(text)), "{out:#?}");
    sandbox.assert_clean();
}

/// `ro` makes the top of a tree read-only, `rro` all of it (Kubernetes' recursiveReadOnly); the host's own mounts stay
/// as they are. On a single new mount the words for the tree are words for the mount.
#[test]
fn attributes_of_a_whole_tree() {
    if !root() {
        return;
    }
    let table = [
        (vec!["rbind", "ro"], "mount", ["ro", "rw"]),
        (vec!["rbind", "rro", "rnoexec", "rnodev"], "mount", ["ro,nodev,noexec", "ro,nodev,noexec"]),
        (vec!["rbind", "rro", "rrw", "rnosuid", "rsuid", "rnosuid"], "mount", ["rw,nosuid", "rw,nosuid"]),
        (vec!["rbind", "noexec", "rro"], "mount", ["ro,noexec", "ro"]),
        (vec!["rbind", "rnoatime", "rnosymfollow"], "mount", ["rw,noatime,nosymfollow", "rw,noatime,nosymfollow"]),
        (vec!["rbind", "rnoatime", "rstrictatime"], "strict", ["rw", "rw"]),
        (vec!["bind", "rro"], "single", ["ro", ""]),
        (vec!["ro", "rrw", "rnosuid"], "tmpfs", ["rw,nosuid", ""]),
        (vec!["rro", "rnodev", "noexec", "rexec"], "tmpfs", ["ro,nodev", ""]),
    ];
    for (options, kind, wanted) in table {
        let sandbox = with_shared_mounts();
        let volume = sandbox.path("volume");
        std::fs::create_dir(&volume).unwrap();
        within(&sandbox, &["mount", "-t", "tmpfs", "volume", &volume.to_string_lossy()]);
        let below = volume.join("below");
        within(&sandbox, &["mkdir", &below.to_string_lossy()]);
        within(&sandbox, &["mount", "-t", "tmpfs", "below", &below.to_string_lossy()]);
        let mounts = || read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
        let before = mounts();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
        let (fstype, source) = if kind == "tmpfs" { ("tmpfs", "x".into()) } else { ("bind", volume.to_string_lossy()) };
        let mount = json!({ "destination": "/mnt", "type": fstype, "source": source, "options": options });
        bundle::set(&mut config, "/mounts/-", Some(mount));
        sandbox.write(&config);
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
        assert_eq!(out.code, Some(0), "{options:?}: {out:#?}");
        let found = ["/mnt", "/mnt/below"].map(|point| {
            let line = out.stdout.lines().map(crate::support::words).find(|words| words[4] == point);
            line.map_or(String::new(), |words| words[5].replace(",relatime", ""))
        });
        assert_eq!(found, wanted, "{options:?}: {out:#?}");
        assert_eq!(out.stdout.contains("/mnt/below"), kind != "single" && kind != "tmpfs", "{options:?}");
        if kind == "strict" {
            let times = out.stdout.lines().filter(|line| line.contains(" /mnt") && line.contains("atime"));
            assert_eq!(times.count(), 0, "strict is neither relatime nor noatime: {out:#?}");
        }
        assert_eq!(mounts(), before, "{options:?}: the host's");
        sandbox.assert_clean();
    }
}

/// In its own mount namespace the runtime would pivot away the root under itself and everybody else.
#[test]
fn the_mount_namespace_of_the_runtime_is_not_joined() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let state = || {
        let mut names: Vec<_> = std::fs::read_dir(format!("/proc/{}/root", sandbox.host_pid()))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        names.sort();
        // Copies of other tests' mounts go when these remove their mountpoints.
        let mounts = read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
        let mounts: Vec<String> = mounts.lines().filter(|line| !line.contains("/tmp/")).map(str::to_owned).collect();
        (mounts, names)
    };
    let before = state();
    for path in ["/proc/self/ns/mnt", "/proc/1/ns/mnt"] {
        let mut config = config(&sandbox);
        config["process"]["args"][2] = "true".into();
        join(&mut config, "mount", path);
        let place = format!("linux.namespaces[{}].path", bundle::list(&config["linux"]["namespaces"]).len() - 1);
        sandbox.write(&config);
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb, "--bundle", &sandbox.bundle().to_string_lossy()]).run();
            assert_eq!(state(), before, "{path}");
            assert!(out.code == Some(1) && out.stderr.contains(&place), "{out:#?}");
            sandbox.assert_clean();
        }
    }
}

/// The intermediate that joins namespaces fails while its parent waits to write its id map: what went wrong is the
/// joining, and not the map of a process that has gone.
#[test]
fn a_namespace_that_cannot_be_joined_is_what_the_error_names() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = ordinary(UID, "true");
    // it can be opened, being the runtime's own, and not be joined: that takes CAP_SYS_ADMIN over it
    join(&mut config, "network", "/proc/self/ns/net");
    let place = format!("linux.namespaces[{}].path", bundle::list(&config["linux"]["namespaces"]).len() - 1);
    sandbox.write(&config);
    for verb in ["create", "run"] {
        let out = sandbox.verb(&[verb]).run();
        assert_eq!(out.code, Some(1), "{out:#?}");
        assert!(out.stderr.contains("setns") && out.stderr.contains(&place), "{out:#?}");
        assert!(!out.stderr.contains("_map") && !out.stderr.contains("mapping"), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// CVE-2023-25173 once more: where setgroups(2) is denied the groups have to go before that namespace is joined.
#[test]
fn groups_are_not_taken_into_a_joined_user_namespace() {
    if !root() {
        return;
    }
    let holder = Holder::new(&["-U", "-r"]);
    let path = holder.path("user");
    let proc = format!("/proc/{}", holder.0.id());
    wait_for("the id maps", || (!read(format!("{proc}/uid_map")).is_empty()).then_some(()));
    wait_for("the id maps", || (!read(format!("{proc}/gid_map")).is_empty()).then_some(()));
    assert_eq!(read(format!("{proc}/setgroups")), "deny\n");
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "id -G; exec sleep 1000");
    join(&mut config, "user", &path);
    sandbox.write(&config);
    let created = sandbox.verb(&["create"]).wrapped(&["setpriv", "--groups", "4,24,1000", "--"]).ok();
    let groups = || {
        let status = read(format!("/proc/{}/status", sandbox.pid()));
        status.lines().find_map(|l| l.strip_prefix("Groups:").map(|g| g.trim().to_owned()))
    };
    assert_eq!(groups().as_deref(), Some(""));
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || read(&created.stdout_file).contains('\n').then_some(()));
    assert_eq!(read(&created.stdout_file), "0\n");
    assert_eq!(groups().as_deref(), Some(""));
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}
