//! Namespaces that are joined by path, alone and together: what the container is in is read from inside and compared with
//! whose it was. What cannot be joined is refused with its place, and nothing is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::namespaces::{UID, ordinary, ordinary_users_can_unshare, own_directories};
use crate::support::verify::NAMESPACES;
use crate::support::{Output, Sandbox, View, bundle, host, read, root, wait_for, words};

/// A pod's first process: it has a new namespace of every kind, and ids from 100000 on.
struct Pod {
    unshare: Child,
    /// The process in them.
    pid: u32,
}

impl Pod {
    fn new() -> Self {
        let flags =
            ["-U", "-m", "-n", "-u", "-i", "-C", "-T", "-p", "--fork", "--kill-child", "--propagation", "private"];
        let script = "read go; exec sleep 1000";
        let mut unshare = Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", script])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let pid: u32 = wait_for("the pod", || read(&children).trim().parse().ok());
        for file in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{pid}/{file}"), "0 100000 65536").unwrap();
        }
        drop(unshare.stdin.take());
        Pod { unshare, pid }
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.pid)
    }

    fn link(&self, file: &str) -> String {
        link(&self.path(file))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn link(path: &str) -> String {
    std::fs::read_link(path).unwrap_or_default().to_string_lossy().into_owned()
}

/// A config whose program prints its namespaces. No /sys: whether sysfs may be mounted depends on who owns the network.
fn config(sandbox: &Sandbox, namespaces: Value) -> Value {
    let script = "for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink /proc/self/ns/$n); done; id -u";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config.as_object_mut().unwrap().remove("hostname");
    config["mounts"].as_array_mut().unwrap().remove(2);
    config["linux"]["namespaces"] = namespaces;
    config
}

fn bound_proc() -> Value {
    json!({ "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"] })
}

fn seen(out: &Output) -> BTreeMap<String, String> {
    let pairs = out.stdout.lines().map(words).filter(|w| w.len() == 2);
    pairs.map(|w| (w[0].to_owned(), w[1].to_owned())).collect()
}

/// Any of seven kinds joined, the others new, or not there: all 128 choices, each with new mounts, as pods are made.
#[test]
fn every_combination() {
    if !root() {
        return;
    }
    let pod = Pod::new();
    let kinds: Vec<(&str, &str)> = NAMESPACES.into_iter().filter(|(kind, _)| *kind != "mount").collect();
    let sandbox = Sandbox::new();
    own_directories(&sandbox, 100_000);
    for choice in 0..1 << kinds.len() {
        let is_joined = |i: usize| choice >> i & 1 == 1;
        // a new user namespace beside joined ones has no power over them; that is another test
        let wanted = |i: usize| is_joined(i) || (kinds[i].0 != "user" && !(choice + i).is_multiple_of(3));
        let entry = |i: usize| match is_joined(i) {
            true => json!({ "type": kinds[i].0, "path": pod.path(kinds[i].1) }),
            false => json!({ "type": kinds[i].0 }),
        };
        let mut namespaces: Vec<Value> = (0..kinds.len()).filter(|i| wanted(*i)).map(entry).collect();
        namespaces.insert(choice % (namespaces.len() + 1), json!({ "type": "mount" }));
        let context = format!("{namespaces:?}");
        let mut config = config(&sandbox, namespaces.into());
        // procfs shows a pid namespace, to whom has power over it
        let own = |kind: &str| kinds.iter().position(|(k, _)| *k == kind).unwrap();
        if is_joined(own("user")) && !wanted(own("pid")) {
            config["mounts"][0] = bound_proc();
        }
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!((out.code, out.stdout.ends_with("\n0\n")), (Some(0), true), "{context}: {out:#?}");
        let seen = seen(&out);
        for (i, (kind, file)) in kinds.iter().enumerate() {
            let (ours, pods) = (link(&format!("/proc/self/ns/{file}")), pod.link(file));
            let right = match (wanted(i), is_joined(i)) {
                (true, true) => seen[*file] == pods,
                (true, false) => seen[*file] != pods && seen[*file] != ours,
                (false, _) => seen[*file] == ours,
            };
            assert!(right, "{kind}: the pod's is {pods}, ours {ours}: {context}: {out:#?}");
        }
    }
    sandbox.assert_clean();
}

/// Init may be faster than the process that cloned it, here by a fifth of a second. It is init all the same whose pid is
/// recorded, and whose end and status count.
#[test]
fn an_intermediate_that_is_slow() {
    if !root() || !crate::support::have("strace") {
        return;
    }
    let pod = Pod::new();
    let sandbox = Sandbox::new();
    let namespaces = json!([{ "type": "pid", "path": pod.path("pid") }, { "type": "mount" }, { "type": "network" }]);
    let mut config = config(&sandbox, namespaces);
    config["process"]["args"][2] = "sleep 1; echo done; exit 7".into();
    sandbox.write(&config);
    let slow =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", "-e", "inject=clone3:delay_exit=200000"];
    let out = sandbox.verb(&["run"]).wrapped(&slow).run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(7), "done\n"), "{out:#?}");
    sandbox.assert_clean();
}

/// A new user namespace has no power over a network namespace of others, which is why that is joined before.
#[test]
fn a_new_user_namespace_beside_joined_ones() {
    if !root() {
        return;
    }
    let pod = Pod::new();
    for joined in
        [&["network"][..], &["network", "ipc", "uts"], &["pid"], &["time", "cgroup"], &["pid", "network", "ipc"]]
    {
        let sandbox = Sandbox::new();
        own_directories(&sandbox, 300_000);
        let file = |kind: &str| NAMESPACES.into_iter().find(|(k, _)| *k == kind).unwrap().1;
        let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "user" })];
        namespaces.extend(joined.iter().map(|kind| json!({ "type": kind, "path": pod.path(file(kind)) })));
        if !joined.contains(&"pid") {
            namespaces.push(json!({ "type": "pid" }));
        }
        let mut config = config(&sandbox, namespaces.into());
        if joined.contains(&"pid") {
            config["mounts"][0] = bound_proc();
        }
        for list in ["uidMappings", "gidMappings"] {
            config["linux"][list] = json!([{ "containerID": 0, "hostID": 300_000, "size": 10 }]);
        }
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(0), "{joined:?}: {out:#?}");
        let seen = seen(&out);
        for kind in joined {
            assert_eq!(seen[file(kind)], pod.link(file(kind)), "{joined:?}: {out:#?}");
        }
        assert!(seen["user"] != pod.link("user") && seen["user"] != link("/proc/self/ns/user"), "{out:#?}");
        // the exec FIFO is opened through a procfs, which not everybody may mount
        sandbox.verb(&["create"]).ok();
        sandbox.verb(&["start"]).ok();
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

/// The root is changed in the mount namespace that is joined, and nowhere else.
#[test]
fn a_joined_mount_namespace() {
    if !root() {
        return;
    }
    for others in [&["pid"][..], &["user", "pid"], &["user", "pid", "network", "ipc", "uts", "cgroup", "time"]] {
        let pod = Pod::new();
        let sandbox = Sandbox::new();
        own_directories(&sandbox, 100_000);
        let kinds = NAMESPACES.into_iter().filter(|(kind, _)| *kind == "mount" || others.contains(kind));
        let namespaces: Vec<_> =
            kinds.clone().map(|(kind, file)| json!({ "type": kind, "path": pod.path(file) })).collect();
        let mut config = config(&sandbox, namespaces.into());
        let script = format!("{}; ls /bin/busybox", config["process"]["args"][2].as_str().unwrap());
        config["process"]["args"][2] = script.into();
        sandbox.write(&config);
        let before = read("/proc/self/mountinfo");
        let out = sandbox.verb(&["run"]).ok();
        let seen = seen(&out);
        for (kind, file) in kinds {
            assert_eq!(seen[file], pod.link(file), "{kind}: {others:?}: {out:#?}");
        }
        assert!(out.stdout.ends_with("/bin/busybox\n"), "{out:#?}");
        assert_eq!(read("/proc/self/mountinfo").contains(&sandbox.id), before.contains(&sandbox.id));
        drop(pod);
        sandbox.assert_clean();
    }
}

/// What containerd and CRI-O write: the path of a user namespace and its maps as well. They are compared, in any order.
#[test]
fn a_joined_user_namespace_and_its_maps() {
    if !root() {
        return;
    }
    let pod = Pod::new();
    let sandbox = Sandbox::new();
    own_directories(&sandbox, 100_000);
    let row = |container: u32, host: u32, size: u32| json!({ "containerID": container, "hostID": host, "size": size });
    let right = json!([row(0, 100_000, 65536)]);
    let error = "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only provide one";
    let warning = "config.json has both a userns path to join and a matching userns mapping specified -- you may only provide one";
    for (uids, gids, says) in [
        (Value::Null, Value::Null, ""),
        (right.clone(), right.clone(), warning),
        (json!([row(0, 100_000, 65535)]), right.clone(), "linux.uidMappings"),
        (right.clone(), json!([row(0, 100_001, 65536)]), "linux.gidMappings"),
        (right.clone(), Value::Null, "linux.gidMappings"),
        (Value::Null, right, "linux.uidMappings"),
        (json!([row(0, 100_000, 1), row(1, 100_001, 65535)]), Value::Null, "linux.uidMappings"),
    ] {
        let namespaces = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "user", "path": pod.path("user") }]);
        let mut config = config(&sandbox, namespaces);
        config["linux"]["uidMappings"] = uids;
        config["linux"]["gidMappings"] = gids;
        sandbox.write(&config);
        for verb in ["run", "create"] {
            let out = sandbox.verb(&[verb]).run();
            if says.is_empty() || says == warning {
                assert_eq!(out.code, Some(0), "{out:#?}");
                assert_eq!(out.stderr.lines().count(), usize::from(!says.is_empty()), "{out:#?}");
                assert!(out.stderr.contains(says), "{out:#?}");
            } else {
                assert!(out.code == Some(1) && out.stderr.contains(&format!("{says}: {error}")), "{out:#?}");
            }
            let _ = sandbox.verb(&["delete", "--force"]).run();
            sandbox.assert_clean();
        }
    }
}

/// Two lines, written in another order than the kernel shows them.
#[test]
fn maps_of_several_lines_match_in_any_order() {
    if !root() {
        return;
    }
    let mut holder = Command::new("unshare").args(["-U", "sleep", "1000"]).stderr(Stdio::null()).spawn().unwrap();
    let path = format!("/proc/{}/ns/user", holder.id());
    wait_for(&path, || (link(&path) != link("/proc/self/ns/user")).then_some(()));
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", holder.id()), "0 100000 10\n10 200000 10\n").unwrap();
    }
    let sandbox = Sandbox::new();
    own_directories(&sandbox, 100_000);
    let mut config =
        config(&sandbox, json!([{ "type": "user", "path": path }, { "type": "mount" }, { "type": "pid" }]));
    for list in ["uidMappings", "gidMappings"] {
        config["linux"][list] = json!([{ "containerID": 10, "hostID": 200_000, "size": 10 }, { "containerID": 0, "hostID": 100_000, "size": 10 }]);
    }
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    let _ = holder.kill();
    let _ = holder.wait();
    assert_eq!(out.code, Some(0), "{out:#?}");
    sandbox.assert_clean();
}

/// A file that is no namespace, one of another kind, one that is not there.
#[test]
fn what_is_no_namespace_of_the_kind_is_refused() {
    if !root() {
        return;
    }
    let pod = Pod::new();
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("file"), "").unwrap();
    let plain = sandbox.path("file").to_string_lossy().into_owned();
    for (i, (kind, _)) in NAMESPACES.into_iter().enumerate() {
        let other = pod.path(NAMESPACES[(i + 1) % NAMESPACES.len()].1);
        for (path, says) in [
            (other.as_str(), "is not a namespace of this type"),
            (plain.as_str(), "is not a namespace of this type"),
            ("/nonexistent", "open /nonexistent: no such file or directory"),
            ("relative", "must be absolute"),
        ] {
            let mut namespaces = vec![json!({ "type": kind, "path": path })];
            namespaces.extend((kind != "mount").then(|| json!({ "type": "mount" })));
            sandbox.write(&config(&sandbox, namespaces.into()));
            for verb in ["create", "run"] {
                let out = sandbox.verb(&[verb]).run();
                let place = "linux.namespaces[0].path: ";
                assert!(
                    out.code == Some(1) && out.stderr.contains(place) && out.stderr.contains(says),
                    "{kind} {path}: {out:#?}"
                );
                sandbox.assert_clean();
            }
        }
    }
}

/// `ip netns add` keeps a network namespace by a mount: its path is a plain file with something on it.
#[test]
fn a_network_namespace_that_a_mount_keeps() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let pid = sandbox.host_pid().to_string();
    let file = sandbox.path("netns").to_string_lossy().into_owned();
    std::fs::write(&file, "").unwrap();
    let make = format!("mount --bind /proc/self/ns/net {file} && readlink /proc/self/ns/net");
    // the mount is made in the sandbox's mount namespace, from inside a new network namespace
    let made = host("nsenter", &["-t", &pid, "-m", "-p", "unshare", "-n", "sh", "-c", &make]);
    sandbox
        .write(&config(&sandbox, json!([{ "type": "network", "path": file }, { "type": "mount" }, { "type": "pid" }])));
    let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
    assert_eq!(seen(&out)["net"], made.trim());
    sandbox.assert_clean();
}

/// An ordinary user's clocks: the time namespace is made inside his user namespace.
#[test]
fn an_ordinary_users_clocks() {
    if !root() || !ordinary_users_can_unshare() || !Path::new("/proc/self/ns/time").exists() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    for (offsets, without) in [(true, &[][..]), (true, &["clone3"]), (false, &[]), (false, &["clone3"])] {
        let mut config = ordinary(UID, "cat /proc/self/timens_offsets; readlink /proc/self/ns/time");
        bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "time" })));
        if offsets {
            config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1000 } });
        }
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).without(without).ok();
        let lines: Vec<Vec<&str>> = out.stdout.lines().map(words).collect();
        assert_eq!(lines[1], ["boottime", if offsets { "1000" } else { "0" }, "0"], "{without:?}: {out:#?}");
        assert_ne!(lines[2][0], link("/proc/self/ns/time"), "{without:?}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// What root gets to read (contract.md 4.5): namespaces, mapping of container id 0 or another to host id 1, offsets.
const TEXTS: [(&[&str], Option<u32>, bool, &str); 6] = [
    (&["mount", "x"], None, false, r#"namespace \"x\" does not exist"#),
    (&["mount", "network", "network"], None, false, r#"malformed spec file: duplicated ns \"network\""#),
    (&["mount"], Some(0), false, "user namespace mappings specified, but user namespace isn't enabled in the config"),
    (
        &["mount", "user"],
        None,
        false,
        "user namespaces enabled, but no namespace path to join nor mappings to apply specified",
    ),
    (&["mount", "user"], Some(1), false, "user namespaces enabled, but no mapping found for uid 0"),
    (&["mount"], None, true, "time namespace offsets specified, but time namespace isn't enabled in the config"),
];

fn assert_says(sandbox: &Sandbox, config: &Value, text: &str) {
    sandbox.write(config);
    for out in [sandbox.cntr(&["plan"]).run(), sandbox.verb(&["create"]).run(), sandbox.verb(&["run"]).run()] {
        assert!(out.code == Some(1) && out.stderr.contains(text), "{text}: {out:#?}");
    }
    assert!(!sandbox.state_dir().exists(), "{text}");
    sandbox.assert_clean();
}

#[test]
fn texts_of_namespaces_and_mappings() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for (kinds, mapped, offsets, text) in TEXTS {
        let kinds: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let mut config = config(&sandbox, kinds.into());
        config["process"]["user"] = json!({ "uid": 1, "gid": 1 });
        for list in ["uidMappings", "gidMappings"] {
            config["linux"][list] =
                mapped.map_or(json!([]), |id| json!([{ "containerID": id, "hostID": 1, "size": 5 }]));
        }
        if offsets {
            config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 1 } });
        }
        assert_says(&sandbox, &config, text);
    }
    let mut both = config(&sandbox, json!([{ "type": "mount" }, { "type": "time", "path": "/proc/self/ns/time" }]));
    both["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 1 } });
    let text = "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one";
    assert_says(&sandbox, &both, text);
}

/// What an ordinary user gets to read.
#[test]
fn texts_of_rootless_containers() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    for (kinds, text) in [
        (json!([{ "type": "mount" }, { "type": "pid" }]), "rootless container requires user namespaces"),
        (json!([{ "type": "mount" }, { "type": "user" }]), "rootless containers requires at least one UID mapping"),
    ] {
        assert_says(&sandbox, &config(&sandbox, kinds), text);
    }
}
