//! Where a process of `exec` is: in the namespaces and cgroups of init, whoever made them and whatever the container has of
//! its own; and rootless containers.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::exec::{ended, exec, from_file, idle, refused, shell, start};
use crate::namespaces::{Holder, UID, in_user_namespace, join, ordinary, ordinary_users_can_unshare, own_directories};
use crate::rootless::{mapped, mapping, possible};
use crate::support::{NOBODY, RANGE, Sandbox, View, bundle, read, root, skip, wait_for, words};

const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

fn links(pid: &str) -> Vec<String> {
    KINDS.map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()).into()
}

/// In the same namespaces, root and cgroups as init: seen from outside.
#[track_caller]
fn is_with_init(sandbox: &Sandbox, context: &str) {
    let init = sandbox.pid().to_string();
    let _ = fs::remove_file(sandbox.path("pid"));
    let flags = ["-d", "--pid-file", sandbox.path("pid").to_str().unwrap()].map(str::to_owned);
    exec(sandbox, &flags.each_ref().map(String::as_str), &["sleep", "1000"]).ok();
    let pid = pid_of(sandbox);
    assert_eq!(links(&pid), links(&init), "{context}");
    let file = |pid: &str, name: &str| read(format!("/proc/{pid}/{name}"));
    assert_eq!(file(&pid, "cgroup"), file(&init, "cgroup"), "{context}");
    assert_eq!(file(&pid, "mountinfo"), file(&init, "mountinfo"), "{context}");
    let place = |pid: &str| fs::read_link(format!("/proc/{pid}/root")).unwrap();
    assert_eq!(place(&pid), place(&init), "{context}");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), place(&init), "{context}");
}

/// The pid in the file, in the pid namespace of the test.
fn pid_of(sandbox: &Sandbox) -> String {
    let text = read(sandbox.path("pid"));
    if sandbox.view != View::Pids {
        return text;
    }
    let outside = |entry: fs::DirEntry| {
        let status = read(entry.path().join("status"));
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).map(words)?;
        let named = ids.len() >= 2 && ids[1] == text && read(entry.path().join("cmdline")).starts_with("sleep\x001000");
        named.then(|| ids[0].to_owned())
    };
    fs::read_dir("/proc").unwrap().flatten().find_map(outside).expect("the process")
}

/// All new, all but one, and none but the mount namespace.
#[test]
fn namespaces_are_inits() {
    if !root() {
        return;
    }
    let kinds = ["pid", "ipc", "uts", "network", "cgroup", "time", "user"];
    let variants = (0..kinds.len()).map(Some).chain([None]);
    for left_out in variants {
        let sandbox = idle(View::Host, |sandbox, config| {
            let wanted = |i: &usize| Some(*i) != left_out;
            // without a pid namespace of its own, a container is best made among pids that are not the machine's
            let list = (0..kinds.len()).filter(wanted).map(|i| json!({ "type": kinds[i] }));
            let list: Vec<Value> = list.filter(|n| n["type"] != "user").chain([json!({ "type": "mount" })]).collect();
            config["linux"]["namespaces"] = list.into();
            if left_out != Some(6) {
                in_user_namespace(sandbox, config);
            }
            if left_out == Some(2) {
                config.as_object_mut().unwrap().remove("hostname");
            }
            if left_out == Some(0) || left_out == Some(3) {
                // what shows a namespace that is not the container's is bound
                let (mount, path) = if left_out == Some(0) { (0, "/proc") } else { (2, "/sys") };
                config["mounts"][mount] =
                    json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"] });
            }
        });
        is_with_init(&sandbox, &format!("without {:?}", left_out.map(|i| kinds[i])));
        let out = shell(&sandbox, &[], "for n in pid user uts; do readlink /proc/self/ns/$n; done; id -u").ok();
        assert!(out.stdout.ends_with("\n0\n"), "{out:#?}");
        ended(&sandbox);
    }
}

#[test]
fn namespaces_that_init_has_joined() {
    if !root() {
        return;
    }
    let holder = Holder::new(&["-n", "-u", "-i", "-p", "--fork", "--kill-child"]);
    for (kind, file) in [("network", "net"), ("uts", "uts"), ("ipc", "ipc"), ("pid", "pid_for_children")] {
        let sandbox = idle(View::Host, |_, config| {
            if kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
            join(config, kind, &holder.path(file));
        });
        is_with_init(&sandbox, kind);
        ended(&sandbox);
    }
    let user = Holder::new(&["-U"]);
    let path = user.path("user");
    for file in ["uid_map", "gid_map"] {
        fs::write(path.replace("ns/user", file), "0 100000 65536").unwrap();
    }
    let sandbox = idle(View::Host, |sandbox, config| {
        own_directories(sandbox, 100_000);
        join(config, "user", &path);
    });
    is_with_init(&sandbox, "user");
    assert_eq!(shell(&sandbox, &["-u", "5"], "id -u").ok().stdout, "5\n");
    ended(&sandbox);
}

/// The host's pids, or what a test takes for them; and its mounts.
#[test]
fn shared_with_the_host() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Pids, |_, config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    });
    let out = shell(&sandbox, &[], "readlink /proc/self/ns/pid; exit 4").run();
    assert_eq!(out.code, Some(4), "{out:#?}");
    let host = fs::read_link(format!("/proc/{}/ns/pid", sandbox.host_pid())).unwrap();
    assert_eq!(out.stdout.trim(), host.to_str().unwrap());
    shell(&sandbox, &["-d"], "exec sleep 1000").ok();
    // there is no pid namespace to take it along
    sandbox.verb(&["kill"]).arg("KILL").ok();
    ended(&sandbox);
}

#[test]
fn without_pivot() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    sandbox.verb(&["run", "-d", "--no-pivot"]).ok();
    is_with_init(&sandbox, "no pivot");
    assert_eq!(shell(&sandbox, &[], "ls /bin/busybox; ls -d /../../..").ok().stdout, "/bin/busybox\n/../../..\n");
    ended(&sandbox);
}

/// Two containers of one pid namespace, as of a pod: what is run in the second is there for the first to see.
#[test]
fn pods_share_pids() {
    if !root() {
        return;
    }
    let first = idle(View::Host, |_, _| ());
    let second = idle(View::Host, |_, config| join(config, "pid", &format!("/proc/{}/ns/pid", first.pid())));
    is_with_init(&second, "second");
    shell(&second, &["-d"], "exec sleep 1234").ok();
    let seen = shell(&first, &[], "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").ok();
    assert!(seen.stdout.contains("sleep 1234"), "{seen:#?}");
    assert_eq!(shell(&second, &[], "exit 6").run().code, Some(6));
    ended(&second);
    ended(&first);
}

/// Every hierarchy of the machine, and v2 alone.
#[test]
fn cgroups_are_inits() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        for limit in [json!({}), json!({ "pids": { "limit": 50 } })] {
            let sandbox = idle(view, |_, config| {
                config["linux"]["resources"] = limit.clone();
                if view == View::V2 {
                    bundle::drop_limits_without_v2_controller(config);
                }
            });
            is_with_init(&sandbox, &format!("{view:?}"));
            let inside = shell(&sandbox, &[], "cat /proc/self/cgroup").ok().stdout;
            assert_eq!(inside, read(format!("/proc/{}/cgroup", sandbox.pid())), "{view:?}");
            ended(&sandbox);
        }
    }
}

/// Directories of a cgroup below the container's, in these hierarchies.
struct Below(Vec<PathBuf>);

impl Below {
    fn new(sandbox: &Sandbox, hierarchies: &[&str], name: &str) -> Self {
        let dir = |hierarchy: &&str| PathBuf::from("/sys/fs/cgroup").join(hierarchy).join(&sandbox.id).join(name);
        let dirs: Vec<PathBuf> = hierarchies.iter().map(dir).collect();
        dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        Below(dirs)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        // processes that have just ended are still in it
        for dir in &self.0 {
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// The part of a line of /proc/PID/cgroup below the container's cgroup.
fn below(text: &str, sandbox: &Sandbox, controller: &str) -> String {
    let line = text.lines().find(|l| l.split(':').nth(1).unwrap().split(',').any(|c| c == controller)).unwrap();
    line.rsplit(&sandbox.id).next().unwrap().to_owned()
}

#[test]
fn cgroups_below_on_v1() {
    if !root() {
        return;
    }
    if !["cpu", "memory", "pids"].iter().all(|c| PathBuf::from("/sys/fs/cgroup").join(c).join("tasks").exists()) {
        return skip("needs v1 hierarchies of cpu, memory and pids");
    }
    let sandbox = idle(View::Host, |_, _| ());
    let run = |flags: &[&str]| exec(&sandbox, flags, &["cat", "/proc/self/cgroup"]).run();
    {
        let _below = Below::new(&sandbox, &["cpu", "memory"], "sub");
        let out = run(&["--cgroup", "cpu:sub", "--cgroup", "memory:/sub"]);
        assert_eq!(out.code, Some(0), "{out:#?}");
        let seen = ["cpu", "memory", "pids"].map(|controller| below(&out.stdout, &sandbox, controller));
        assert_eq!(seen, ["/sub", "/sub", ""], "{out:#?}");
        let out = run(&["--cgroup", "cpu,memory:sub"]);
        let seen = ["cpu", "memory", "pids"].map(|controller| below(&out.stdout, &sandbox, controller));
        assert_eq!(seen, ["/sub", "/sub", ""], "{out:#?}");
    }
    let out = run(&["--cgroup", "/"]);
    assert_eq!(out.stdout, read(format!("/proc/{}/cgroup", sandbox.pid())));
    for (flags, says) in [
        (&["--cgroup", "nonesuch"][..], " adding pid "),
        (&["--cgroup", "cpu:nonesuch"], " adding pid "),
        (&["--cgroup", "whaaat:/"], "unknown controller whaaat"),
        (&["--cgroup", ".."], "bad sub cgroup path: .."),
        (&["--cgroup", "../.."], "bad sub cgroup path: ../.."),
        (&["--cgroup", "cpu:../.."], "bad sub cgroup path: ../.."),
        (&["--cgroup", "cpu:a/../../.."], "bad sub cgroup path: a/../../.."),
        (&["--cgroup", ":x"], "invalid --cgroup argument: :x (empty <controller> prefix)"),
        (&["--cgroup", "cpu:a", "--cgroup", "b"], "invalid --cgroup argument: b (missing <controller>: prefix)"),
        (
            &["--cgroup", "cpu:a", "--cgroup", "cpu:b"],
            "invalid --cgroup argument(s): controller cpu specified multiple times",
        ),
    ] {
        refused(&run(flags), says);
    }
    ended(&sandbox);
}

#[test]
fn cgroups_below_on_v2() {
    if !root() {
        return;
    }
    let sandbox = idle(View::V2, |_, _| ());
    let hierarchy = if crate::support::pure_v2() { "" } else { "unified" };
    if !PathBuf::from("/sys/fs/cgroup").join(hierarchy).join("cgroup.procs").exists() {
        return skip("no cgroup2 is mounted");
    }
    let run = |flags: &[&str]| exec(&sandbox, flags, &["cat", "/proc/self/cgroup"]).run();
    {
        let _below = Below::new(&sandbox, &[hierarchy], "sub");
        for path in ["sub", "/sub", "sub/"] {
            let out = run(&["--cgroup", path]);
            assert_eq!(below(&out.stdout, &sandbox, ""), "/sub", "{path}: {out:#?}");
        }
        let out = run(&["--cgroup", "/"]);
        assert_eq!(below(&out.stdout, &sandbox, ""), "", "{out:#?}");
    }
    for (flags, says) in [
        (&["--cgroup", "nonesuch"][..], " adding pid "),
        (&["--cgroup", ".."], "bad sub cgroup path: .."),
        (&["--cgroup", "a/../../x"], "bad sub cgroup path: a/../../x"),
        (&["--cgroup", "a", "--cgroup", "b"], "invalid --cgroup argument: "),
    ] {
        refused(&run(flags), says);
    }
    ended(&sandbox);
}

/// Init is in a cgroup of its own making, and that of the container cannot take processes any more: whoever comes goes to
/// init. What was asked for by `--cgroup` stays asked for.
#[test]
fn init_has_moved_on_v2() {
    if !root() {
        return;
    }
    let sandbox = idle(View::V2, |_, config| {
        bundle::set(config, "/linux/namespaces/-", Some(json!({ "type": "cgroup" })));
        let cgroup = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" });
        bundle::set(config, "/mounts/-", Some(cgroup));
        let script = "mkdir /sys/fs/cgroup/init && echo 1 >/sys/fs/cgroup/init/cgroup.procs && \
                      for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c; done >/sys/fs/cgroup/cgroup.subtree_control; \
                      touch /moved; exec sleep 1000";
        config["process"]["args"][2] = json!(script);
    });
    wait_for("init to move", || sandbox.rootfs().join("moved").exists().then_some(()));
    let of_init = read(format!("/proc/{}/cgroup", sandbox.pid()));
    let unified = of_init.lines().find(|l| l.starts_with("0::")).unwrap();
    if !unified.ends_with("/init") {
        ended(&sandbox);
        return skip(&format!("init cannot move: {unified}"));
    }
    let out = from_file(&sandbox, &[], &json!({}), "cat /proc/self/cgroup").ok();
    let inside = out.stdout.lines().find(|l| l.starts_with("0::")).unwrap();
    let top = if crate::support::pure_v2() { "" } else { "unified/" };
    let has_controllers = !read(format!("/sys/fs/cgroup/{top}{}/cgroup.subtree_control", sandbox.id)).trim().is_empty();
    assert!(has_controllers || !crate::support::pure_v2(), "{of_init}");
    // without controllers there both places are as good
    assert!(inside == "0::/init" || (!has_controllers && inside == "0::/"), "{inside} {has_controllers}");
    if has_controllers {
        // who names the cgroup gets no other
        let busy = "error adding pid of a new process to cgroups: linux.cgroupsPath: clone3: device or resource busy";
        refused(&shell(&sandbox, &["--cgroup", "/"], "true").run(), busy);
    }
    ended(&sandbox);
}

/// What an ordinary user is told who execs before `start`: the kernel lets him trace his program, not the runtime before it. If
/// it did, the process could read the caller's environment and memory in /proc/1, of which init's are a copy.
pub(crate) const ONLY_STARTED: &str =
    "operation not permitted (without CAP_SYS_PTRACE only a container that was started can be joined)";

/// One id, no cgroup, the host's network.
#[test]
fn of_an_ordinary_user() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    sandbox.write(&ordinary(UID, "exec sleep 1000"));
    sandbox.verb(&["create"]).ok();
    refused(&shell(&sandbox, &[], "true").run(), ONLY_STARTED);
    assert_eq!(sandbox.status(), "created");
    sandbox.verb(&["start"]).ok();
    let out = shell(&sandbox, &[], "id -u; cat /proc/self/uid_map; hostname; exit 3").run();
    assert_eq!(words(&out.stdout), ["0", "0", &UID.to_string(), "1", "tests"], "{out:#?}");
    assert_eq!(out.code, Some(3));
    let out = shell(&sandbox, &["-d", "--pid-file", "/dev/null/x"], "true").run();
    refused(&out, "not a directory");
    refused(&shell(&sandbox, &["--user", "1"], "true").run(), "unmapped");
    ended(&sandbox);
}

/// Ranges of ids by newuidmap(1): another user than the container's root, and groups.
#[test]
fn of_an_ordinary_user_with_ranges() {
    if !possible() {
        return;
    }
    let maps = json!([mapping(0, NOBODY, 1), mapping(1, RANGE.0, RANGE.1)]);
    let (sandbox, mut config) = mapped(&maps, "exec sleep 1000");
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE", "CAP_CHOWN"]);
    }
    start(&sandbox, &config);
    let out = shell(&sandbox, &["-u", "1000:1001", "-g", "5"], "id; echo x >/proc/self/fd/1").ok();
    assert_eq!(out.stdout, "uid=1000(mars) gid=1001 groups=5\nx\n");
    let out = from_file(&sandbox, &[], &json!({ "user": { "uid": 0, "additionalGids": [5, 6] } }), "id -u; id -G").ok();
    assert_eq!(out.stdout, "0\n0 5 6\n");
    ended(&sandbox);
}
