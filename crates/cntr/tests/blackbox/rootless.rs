//! Containers of ordinary users: ranges of ids by newuidmap(1) and newgidmap(1), what is refused and in which words, and
//! root of a user namespace, as Podman makes one. Their cgroups are in `delegated`.
//!
//! The ranges are of the tests' own making (`View::Ranges`): the machine needs no user who was given any.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::namespaces::{UID, ordinary, ordinary_users_can_unshare, own_directories};
use crate::support::probe::{self, Probe};
use crate::support::verify::{Findings, verify};
use crate::support::{NOBODY, RANGE, Sandbox, View, bundle, have, read, root, wait_for, words};

pub(crate) fn possible() -> bool {
    root() && ordinary_users_can_unshare() && have("newuidmap") && have("newgidmap")
}

/// Host id, container id, count, as newuidmap(1) takes them the other way round.
pub(crate) fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!({ "containerID": container, "hostID": host, "size": size })
}

/// Podman's map: the user is root, the others are the ids that he was given.
fn ranges() -> Value {
    json!([mapping(0, NOBODY, 1), mapping(1, RANGE.0, RANGE.1)])
}

/// Podman's `--userns=keep-id`: the user keeps his number (1000 here), between two parts of the range.
fn keep_id() -> Value {
    json!([mapping(0, RANGE.0, 1000), mapping(1000, NOBODY, 1), mapping(1001, RANGE.0 + 1000, 5000)])
}

/// A sandbox of nobody's, with these maps.
pub(crate) fn mapped(maps: &Value, script: &str) -> (Sandbox, Value) {
    let sandbox = Sandbox::with_view(View::Ranges);
    own_directories(&sandbox, maps[0]["hostID"].as_u64().unwrap() as u32);
    let mut config = ordinary(NOBODY, script);
    config["linux"]["uidMappings"] = maps.clone();
    config["linux"]["gidMappings"] = maps.clone();
    (sandbox, config)
}

/// The values of a line of /proc/PID/status.
fn status(pid: i32, key: &str) -> Vec<String> {
    let text = read(format!("/proc/{pid}/status"));
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
    words(line).into_iter().map(String::from).collect()
}

fn triples(maps: &Value) -> Vec<Vec<String>> {
    let text = |m: &Value, key: &str| m[key].to_string();
    bundle::list(maps).iter().map(|m| ["containerID", "hostID", "size"].map(|key| text(m, key)).into()).collect()
}

fn map_of(pid: i32, file: &str) -> Vec<Vec<String>> {
    let text = read(format!("/proc/{pid}/{file}"));
    text.lines().map(|line| words(line).into_iter().map(String::from).collect()).collect()
}

/// The life of a container whose program is another user than its root, with groups that only newgidmap(1) can give.
#[test]
fn ranges_by_newuidmap() {
    if !possible() {
        return;
    }
    let script = "id; touch /tmp/mine; echo made $(stat -c %u:%g /tmp/mine /tmp/theirs); echo ready; exec sleep 1000";
    let (sandbox, mut config) = mapped(&ranges(), script);
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 65536] });
    // what an image holds: files of users of its own
    let theirs = sandbox.rootfs().join("tmp/theirs");
    std::fs::write(&theirs, "").unwrap();
    std::os::unix::fs::chown(&theirs, Some(RANGE.0 + 32), Some(RANGE.0)).unwrap();
    sandbox.write(&config);
    let created = sandbox.verb(&["create"]).ok();
    let pid = sandbox.pid();
    assert_eq!((map_of(pid, "uid_map"), map_of(pid, "gid_map")), (triples(&ranges()), triples(&ranges())));
    assert_eq!(read(format!("/proc/{pid}/setgroups")), "allow\n");
    assert_eq!(status(pid, "Uid:"), vec![(RANGE.0 + 999).to_string(); 4]);
    assert_eq!(status(pid, "Gid:"), vec![(RANGE.0 + 1000).to_string(); 4]);
    let groups = [RANGE.0 + 4, RANGE.0 + 65535].map(|gid| gid.to_string());
    assert_eq!(status(pid, "Groups:"), groups);
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || read(&created.stdout_file).contains("ready").then_some(()));
    let text = read(&created.stdout_file);
    assert!(text.starts_with("uid=1000(mars) gid=1001 groups=5,65536\n"), "{text}");
    assert!(text.contains("made 1000:1001 33:1\n"), "{text}");
    let mine = std::fs::metadata(sandbox.rootfs().join("tmp/mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid()), (RANGE.0 + 999, RANGE.0 + 1000));
    let running: Value = serde_json::from_str(&sandbox.cntr(&["list", "-f", "json"]).ok().stdout).unwrap();
    assert_eq!((&running[0]["status"], &running[0]["owner"]), (&json!("running"), &json!("nobody")));
    // the process is another user's than the runtime's, whose user namespace it is all the same
    sandbox.verb(&["kill"]).arg("KILL").ok();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// The container's root is a subordinate id, and the user himself is in the middle: what is his, and closed to others,
/// is there for him and for root inside.
#[test]
fn the_user_keeps_his_id() {
    if !possible() {
        return;
    }
    for user in [1000, 0, 1001] {
        let script = "cat /mnt/secret && touch /mnt/made; cat /proc/self/uid_map";
        let (sandbox, mut config) = mapped(&keep_id(), script);
        let volume = sandbox.path("volume");
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(volume.join("secret"), "his own\n").unwrap();
        for path in [&volume, &volume.join("secret")] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        config["process"]["user"] = json!({ "uid": user, "gid": user });
        // the caps of Podman's default, for root to pass
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE", "CAP_CHOWN"]);
        }
        let bind = json!({ "destination": "/mnt", "type": "bind", "source": volume, "options": ["rbind", "rprivate"] });
        bundle::set(&mut config, "/mounts/-", Some(bind));
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let his = out.stdout.starts_with("his own\n");
        assert_eq!((out.code, his), (Some(0), user != 1001), "{user}: {out:#?}");
        let made = std::fs::metadata(volume.join("made")).map(|m| m.uid()).ok();
        assert_eq!(made, [(1000, NOBODY), (0, RANGE.0)].iter().find(|(id, _)| *id == user).map(|(_, uid)| *uid));
        let map: Vec<Vec<&str>> = out.stdout.lines().skip(usize::from(his)).map(words).collect();
        assert_eq!(map, triples(&keep_id()));
        sandbox.assert_clean();
    }
}

/// Everything that an engine's default asks for, verified fact by fact, and hooks on both sides.
#[test]
fn an_engines_defaults_with_ranges() {
    if !possible() {
        return;
    }
    let podman = bundle::load("podman-default");
    for net in [true, false] {
        let (sandbox, mut config) = mapped(&ranges(), "");
        config["process"]["capabilities"] = podman["process"]["capabilities"].clone();
        config["process"]["rlimits"] = podman["process"]["rlimits"].clone();
        config["process"]["oomScoreAdj"] = json!(100);
        config["linux"]["seccomp"] = podman["linux"]["seccomp"].clone();
        config["linux"]["maskedPaths"] = json!(["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/sys"]);
        config["mounts"].as_array_mut().unwrap().extend([
            json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
            json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64000k"] }),
            json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"] }),
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"] }),
        ]);
        if let Ok(fuse) = std::fs::metadata("/dev/fuse") {
            // bound, so with the host's mode and owner
            let node = json!({ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                "fileMode": fuse.mode() & 0o777, "uid": NOBODY, "gid": NOBODY });
            config["linux"]["devices"] = json!([node]);
        }
        if net {
            bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "network" })));
            config["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "9000" });
            config["mounts"][2] = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"] });
        }
        let log = sandbox.path("xdg/hooks");
        let hook = |name: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >>{}", log.display())] }]);
        config["hooks"] = json!({ "createRuntime": hook("createRuntime"), "poststop": hook("poststop"),
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "id -u >/tmp/hook"] }] });
        // what is nobody's in here refuses to be written before it is read-only
        let mut rest = config.clone();
        bundle::set(&mut rest, "/linux/readonlyPaths", None);
        config["process"]["args"][2] = probe::script(&rest).into();
        sandbox.write(&config);
        let probe = Probe::parse(&sandbox.run_ok().stdout);
        let fuse = |line: &&String| line.starts_with("/dev/fuse a:e5 ");
        assert_eq!(probe.lines("dev").iter().filter(fuse).count(), bundle::list(&config["linux"]["devices"]).len());
        for path in bundle::strings(&config["linux"]["readonlyPaths"]) {
            let mounts = crate::support::verify_fs::mounts(&probe);
            assert!(mounts.iter().any(|m| m.point == path && m.has("ro")), "{path}: {mounts:#?}");
        }
        let mut findings = Findings::default();
        verify(&rest, &probe, &mut findings);
        findings.done(&format!("network namespace: {net}"));
        assert_eq!(read(&log), "createRuntime\npoststop\n");
        assert_eq!(std::fs::metadata(sandbox.rootfs().join("tmp/hook")).unwrap().uid(), NOBODY);
        assert_eq!(read(sandbox.rootfs().join("tmp/hook")), "0\n");
        sandbox.assert_clean();
    }
}

/// What is missing is named, with the field that needs it, before anything is made; a range that was not given to the
/// user is refused by newuidmap(1), whose words are passed on.
#[test]
fn ranges_that_cannot_be_had() {
    if !possible() {
        return;
    }
    let needs = |field: &str, name: &str| vec![format!("linux.{field}: needs {name} (package uidmap)"), "PATH".into()];
    let foreign = json!([mapping(0, NOBODY, 1), mapping(1, 300_000, 5)]);
    let (missing, usual) = ("/nonexistent:relative:", "/usr/local/bin:/usr/bin:/bin");
    let table = [
        ("uidMappings", ranges(), missing, needs("uidMappings", "newuidmap")),
        ("gidMappings", ranges(), missing, needs("gidMappings", "newgidmap")),
        ("uidMappings", json!([mapping(0, NOBODY, 2)]), missing, needs("uidMappings", "newuidmap")),
        ("uidMappings", json!([mapping(0, 0, 1)]), missing, needs("uidMappings", "newuidmap")),
        (
            "uidMappings",
            foreign.clone(),
            usual,
            vec!["linux.uidMappings: ".into(), "/newuidmap ".into(), "not allowed".into()],
        ),
        ("gidMappings", foreign, usual, vec!["linux.gidMappings: ".into(), "/newgidmap ".into(), "not allowed".into()]),
    ];
    for (field, maps, path, says) in table {
        let (sandbox, mut config) = mapped(&json!([mapping(0, NOBODY, 1)]), "true");
        config["linux"][field] = maps;
        sandbox.write(&config);
        for verb in ["create", "run"] {
            // the programs around the runtime are found by the machine's PATH
            let env = sandbox.seen(std::path::Path::new("/usr/bin/env")).arg(format!("PATH={path}"));
            let out = env.arg(sandbox.path("cntr")).args(&[verb, &sandbox.id]).run();
            assert!(out.code == Some(1) && says.iter().all(|text| out.stderr.contains(text)), "{field}: {out:#?}");
            sandbox.assert_clean();
        }
    }
}

/// A program that does not come to an end, say because a directory service does not answer it, is ended and named.
#[test]
fn a_map_program_that_hangs() {
    if !possible() {
        return;
    }
    let (sandbox, config) = mapped(&ranges(), "true");
    sandbox.write(&config);
    for name in ["newuidmap", "newgidmap"] {
        let program = sandbox.path(name);
        std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("PATH={}", sandbox.dir().display());
    let env = sandbox.seen(std::path::Path::new("/usr/bin/env")).arg(path);
    let out = env.arg(sandbox.path("cntr")).args(&["create", &sandbox.id]).run();
    let text = "linux.gidMappings: ";
    assert!(
        out.code == Some(1) && out.stderr.contains(text) && out.stderr.contains(": no answer within 20 s"),
        "{out:#?}"
    );
    sandbox.assert_clean();
}

/// A SIGCHLD that is ignored is inherited, and the kernel then reaps children unseen: how newuidmap ended is learnt all the same.
#[test]
fn a_caller_that_ignores_sigchld() {
    if !possible() {
        return;
    }
    let (sandbox, config) = mapped(&ranges(), "cat /proc/self/uid_map");
    sandbox.write(&config);
    sandbox.verb(&["create"]).wrapped(&["env", "--ignore-signal=CHLD"]).ok();
    assert_eq!(map_of(sandbox.pid(), "uid_map"), triples(&ranges()));
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// One id needs nobody's help. It costs setgroups(2), and groups with it.
#[test]
fn one_id_without_the_programs() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = ordinary(UID, "cat /proc/self/setgroups");
    sandbox.write(&config);
    let out = sandbox.seen(std::path::Path::new("/usr/bin/env")).arg("PATH=").arg(sandbox.path("cntr"));
    assert_eq!(out.args(&["run", &sandbox.id]).ok().stdout, "deny\n");
    // the state root is his, and marked so that cleaners of XDG_RUNTIME_DIR leave it alone
    let root = std::fs::metadata(sandbox.state_root()).unwrap();
    assert_eq!((root.uid(), root.mode() & 0o7777), (UID, 0o1700));
    // on a machine without any cgroup file system as well
    let hide = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
    let out = sandbox.verb(&["run"]).wrapped(&["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh"]);
    assert_eq!(out.ok().stdout, "deny\n");
    config["process"]["user"]["additionalGids"] = json!([0]);
    sandbox.write(&config);
    let out = sandbox.verb(&["create"]).run();
    let text = "process.user.additionalGids: cannot set any additional groups in a rootless container";
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    sandbox.assert_clean();
}

/// Without a cgroup and without a pid namespace nothing holds the container's processes together: it is told.
#[test]
fn nothing_holds_the_processes_together() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = ordinary(UID, "exec sleep 1000");
    config["mounts"][0] = json!({ "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"] });
    config["linux"]["sysctl"] = json!({ "kernel.msgmax": "9000" });
    for pid_namespace in [true, false] {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| pid_namespace || n["type"] != "pid");
        sandbox.write(&config);
        let out = sandbox.verb(&["create"]).ok();
        for text in ["no cgroup and no private pid namespace", "Such configuration is strongly discouraged"] {
            assert_eq!(out.stderr.contains(text), !pid_namespace, "{out:#?}");
        }
        sandbox.verb(&["start"]).ok();
        sandbox.verb(&["kill"]).arg("KILL").ok();
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

/// The config that `spec --rootless` writes runs as it is, but for the terminal.
#[test]
fn the_template_runs() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    for view in [View::User(UID), View::Ranges] {
        if view == View::Ranges && !possible() {
            continue;
        }
        let sandbox = Sandbox::with_view(view);
        let uid = if view == View::Ranges { NOBODY } else { UID };
        own_directories(&sandbox, uid);
        std::os::unix::fs::chown(sandbox.bundle(), Some(uid), Some(uid)).unwrap();
        sandbox.cntr(&["spec", "--rootless"]).ok();
        let mut config: Value = serde_json::from_str(&read(sandbox.path("bundle/config.json"))).unwrap();
        config["process"]["terminal"] = json!(false);
        let script = "hostname; touch /x || touch /sys/x || mkdir /sys/fs/cgroup/x || echo readonly";
        config["process"]["args"] = json!(["sh", "-c", script]);
        sandbox.write(&config);
        assert_eq!(sandbox.run_ok().stdout, "runc\nreadonly\n");
        sandbox.assert_clean();
    }
}

/// A command of nobody's inside the namespaces that unshare(1) makes with these flags.
fn inside(sandbox: &Sandbox, flags: &[&str], script: &str) -> crate::support::Cmd {
    let args = [flags, &["--", "/bin/sh", "-ec", script, "sh"]].concat();
    sandbox.seen(std::path::Path::new("/usr/bin/unshare")).args(&args).arg(sandbox.path("cntr")).arg(&sandbox.id)
}

/// Run, and all of a life, of the container $2 by the runtime $1.
const LIFE: &str = "\"$1\" run \"$2\"; \"$1\" create \"$2\" >/dev/null; \"$1\" start \"$2\"
    \"$1\" kill \"$2\" KILL 2>/dev/null || :
    i=0; until \"$1\" delete \"$2\" 2>/dev/null || [ $i = 200 ]; do i=$((i + 1)); sleep 0.01; done";

/// What a container of such a root may have: `ranges` if it has more ids than its own, `nested` in a user namespace below,
/// which begins with another id then.
fn inner(ranges: bool, nested: bool) -> (Sandbox, Value) {
    let script =
        "cat /proc/self/uid_map; id; touch /tmp/made; ls /dev/null /sys/fs/cgroup; test -c /dev/zero && hostname";
    let (sandbox, mut config) = mapped(&json!([mapping(0, NOBODY, 1)]), script);
    if ranges && nested {
        own_directories(&sandbox, RANGE.0);
    }
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.extend(["network", "cgroup"].map(|kind| json!({ "type": kind })));
    namespaces.retain(|n| nested || n["type"] != "user");
    let maps = if ranges {
        json!([mapping(0, 1, 1), mapping(1, 0, 1), mapping(2, 2, 1000)])
    } else {
        json!([mapping(0, 0, 1)])
    };
    for list in ["uidMappings", "gidMappings"] {
        bundle::set(&mut config, &format!("/linux/{list}"), nested.then(|| maps.clone()));
    }
    config["mounts"].as_array_mut().unwrap().extend([
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue" }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] }),
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] }),
    ]);
    config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/sys/firmware"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "1" });
    if ranges {
        config["process"]["user"] = json!({ "uid": 1, "gid": 1, "additionalGids": [2] });
    }
    sandbox.write(&config);
    (sandbox, config)
}

/// Root of a user namespace, with and without mounts of its own, with one id and with ranges; the container in that user
/// namespace or in another one below it. It has no cgroup that it could use.
#[test]
fn root_of_a_user_namespace() {
    if !possible() {
        return;
    }
    let one: &[&str] = &["-U", "-r"];
    let many: &[&str] = &["-U", "-r", "--map-auto"];
    for (flags, mounts) in [(one, false), (one, true), (many, false), (many, true)] {
        for nested in [false, true] {
            let ranges = flags == many;
            let (sandbox, _) = inner(ranges, nested);
            let flags = [flags, if mounts { &["-m"] } else { &[] }].concat();
            let out = inside(&sandbox, &flags, LIFE).run();
            let context = format!("{flags:?} nested {nested}: {out:#?}");
            assert_eq!(out.code, Some(0), "{context}");
            let id = if ranges { "uid=1 gid=1 groups=2" } else { "uid=0(root) gid=0(root)" };
            assert!(out.stdout.contains(id) && out.stdout.contains("tests\n"), "{context}");
            let first = words(out.stdout.lines().next().unwrap()).join(" ");
            // as seen from the container: what is outside of its own namespace is outside of the test's
            let expected = match (nested, ranges) {
                (true, true) => "0 1 1",
                (true, false) => "0 0 1",
                (false, _) => "0 65534 1",
            };
            assert_eq!(first, expected, "{context}");
            sandbox.assert_clean();
        }
    }
}

/// A hierarchy of v1 for each that the machine has, although the container got no cgroup: in a cgroup namespace its root, else
/// what the runtime itself is in, and that read-only whatever is asked for. systemd in a container, as Podman starts it, has
/// a mount on /sys/fs/cgroup/systemd.
#[test]
fn hierarchies_without_a_cgroup() {
    if !possible() {
        return;
    }
    let own = crate::support::read("/proc/self/cgroup");
    let own: Vec<Vec<&str>> = own.lines().map(|line| line.splitn(3, ':').collect()).collect();
    let v1: Vec<(&str, &str)> = own
        .iter()
        .map(|f| (f[1].strip_prefix("name=").unwrap_or(f[1]), f[2]))
        .filter(|(name, _)| !name.is_empty() && std::path::Path::new("/sys/fs/cgroup").join(name).is_dir())
        .collect();
    if v1.is_empty() {
        crate::support::skip("needs cgroup v1");
        return;
    }
    let script = "cat /proc/self/mountinfo; for d in /sys/fs/cgroup/*; do mkdir $d/made 2>&1; done";
    for (namespace, option) in [(true, "ro"), (false, "ro"), (false, "rw")] {
        let (sandbox, mut config) = inner(true, false);
        bundle::set(&mut config, "/process/user", Some(json!({ "uid": 0, "gid": 0 })));
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| namespace || n["type"] != "cgroup");
        let mount = config["mounts"].as_array_mut().unwrap().iter_mut().find(|m| m["type"] == "cgroup").unwrap();
        mount["options"] = json!([option]);
        sandbox.write(&config);
        let out = inside(&sandbox, &["-U", "-r", "--map-auto", "-m"], "exec \"$1\" run \"$2\"").run();
        for (name, path) in &v1 {
            let point = format!("/sys/fs/cgroup/{name}");
            // The last one: above what the host has there.
            let line = out.stdout.lines().map(words).rfind(|w| w.get(4) == Some(&point.as_str()));
            let line = line.unwrap_or_else(|| panic!("{namespace} {option}: no {name}: {out:#?}"));
            // A directory that the user may not search is not seen by the runtime: then it takes the hierarchy's root.
            let expected = if namespace { vec!["/"] } else { vec![*path, "/"] };
            assert!(expected.contains(&line[3]), "{namespace} {option}: {line:?}");
            assert!(line[5].split(',').any(|flag| flag == "ro"), "{namespace} {option}: {line:?}");
        }
        assert_eq!(out.stdout.matches("Read-only file system").count(), v1.len(), "{out:#?}");
        sandbox.assert_clean();
    }
}
