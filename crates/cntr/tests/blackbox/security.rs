//! Hostile rootfs trees and leaked descriptors. CANARY is a tree on the host, outside the bundle: whatever the
//! runtime does (refuse, or run), nothing of it may change. The attacks are those of security.md 2.1.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::namespaces::in_user_namespace;
use crate::support::{Output, Sandbox, bundle, root, words};

/// mode, owner, group, size, mtime, ctime, content.
pub(crate) type Print = BTreeMap<String, (u32, u32, u32, u64, i64, i64, Vec<u8>)>;

pub(crate) fn canary(sandbox: &Sandbox) -> Print {
    let dir = sandbox.path("canary");
    fs::create_dir_all(dir.join("dir")).unwrap();
    fs::create_dir_all(dir.join("bare")).unwrap(); // nothing that a runtime would stumble over before it does harm
    for name in ["file", "dir/ptmx", "dir/null", "dir/fd", "bare/ptmx"] {
        fs::write(dir.join(name), format!("content of {name}\n")).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    print(&dir)
}

fn print(dir: &Path) -> Print {
    let mut prints = Print::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        // ctime shows a chown or chmod to what it was before
        let times =
            (meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), meta.ctime() * 1_000_000_000 + meta.ctime_nsec());
        let name = path.to_string_lossy().into_owned();
        prints.insert(name, (meta.mode(), meta.uid(), meta.gid(), meta.size(), times.0, times.1, content));
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().flatten().map(|e| e.path()));
        }
    }
    prints
}

#[track_caller]
pub(crate) fn unchanged(sandbox: &Sandbox, before: &Print, attack: &str, out: &Output) {
    let after = print(&sandbox.path("canary"));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> = names.into_iter().filter(|n| before.get(*n) != after.get(*n)).collect();
    assert!(changed.is_empty(), "{attack}: of the canary these are not as before: {changed:#?}\n{out:#?}");
}

/// Replaces whatever is at `name` in the rootfs by a symlink.
pub(crate) fn plant(sandbox: &Sandbox, name: &str, target: &str) {
    let path = sandbox.rootfs().join(name);
    let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

pub(crate) fn without_dev(sandbox: &Sandbox, script: &str) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    config
}

/// create, start when there is something to start, delete; the canary after each.
pub(crate) fn attack(sandbox: &Sandbox, before: &Print, name: &str) -> Output {
    let out = sandbox.verb(&["create"]).run();
    unchanged(sandbox, before, name, &out);
    if out.code == Some(0) {
        let started = sandbox.verb(&["start"]).run();
        unchanged(sandbox, before, name, &started);
    }
    let deleted = sandbox.verb(&["delete", "--force"]).run();
    unchanged(sandbox, before, name, &deleted);
    sandbox.assert_clean();
    out
}

/// CVE-2026-41579, CVE-2026-47766: /dev of the image leads out, no mount covers it. runc 1.1.5 has this one.
#[test]
fn dev_is_a_symlink() {
    if !root() {
        return;
    }
    for absolute in [false, true] {
        for devices in [json!([]), json!([{ "path": "/dev/made", "type": "c", "major": 1, "minor": 3 }])] {
            let sandbox = Sandbox::new();
            let before = canary(&sandbox);
            let target = sandbox.path("canary/bare").to_string_lossy().into_owned();
            plant(&sandbox, "dev", if absolute { &target } else { "../../canary/bare" });
            let mut config = without_dev(&sandbox, "true");
            config["linux"]["devices"] = devices;
            sandbox.write(&config);
            attack(&sandbox, &before, "/dev is a symlink");
        }
    }
}

/// CVE-2026-88265 and kin: the nodes themselves are symlinks.
#[test]
fn device_nodes_are_symlinks() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    for (node, target) in
        [("null", "file"), ("tty", "new-tty"), ("ptmx", "dir/ptmx"), ("fd", "dir"), ("console", "new-console")]
    {
        plant(&sandbox, &format!("dev/{node}"), &format!("../../../canary/{target}"));
        sandbox.write(&without_dev(&sandbox, "true"));
        attack(&sandbox, &before, node);
        fs::remove_file(sandbox.rootfs().join("dev").join(node)).unwrap();
    }
}

/// CVE-2019-19921, CVE-2023-27561: /proc or /sys of the image is a symlink. A refusal, in these words, or a
/// mount on a real directory.
#[test]
fn proc_and_sys_are_symlinks() {
    if !root() {
        return;
    }
    for (name, fstype) in [("proc", "proc"), ("sys", "sysfs")] {
        for target in ["tmp/fake", "/tmp/fake", "chain"] {
            let sandbox = Sandbox::new();
            let before = canary(&sandbox);
            fs::create_dir_all(sandbox.rootfs().join("tmp/fake")).unwrap();
            plant(&sandbox, "chain", "tmp/fake");
            plant(&sandbox, name, target);
            sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "true"));
            let out = attack(&sandbox, &before, target);
            assert_eq!(out.code, Some(1), "{out:#?}");
            let text = out.stderr.replace('\\', "");
            assert!(
                text.contains(&format!("filesystem \"{fstype}\" must be mounted on ordinary directory")),
                "{out:#?}"
            );
        }
    }
}

/// CVE-2019-18837: the target of a bind mount is a symlink to the host; also one whose parent is, one that
/// does not exist yet, and `..` in the destination.
#[test]
fn mount_targets_lead_out() {
    if !root() {
        return;
    }
    let cases = [
        ("etc/hosts", "../../../canary/file", "/etc/hosts"),
        ("etc/hosts", "../../../canary/new", "/etc/hosts"),
        ("a", "../../canary/dir", "/a/made"),
        ("a", "../../canary/dir", "/a/made/deep/er"),
        ("b", "../../canary", "/b/../../../../canary/made"),
    ];
    for (link, target, destination) in cases {
        for absolute in [false, true] {
            let sandbox = Sandbox::new();
            let before = canary(&sandbox);
            let host = sandbox.path("canary").join(target.rsplit_once("canary").unwrap().1.trim_start_matches('/'));
            plant(&sandbox, link, if absolute { host.to_str().unwrap() } else { target });
            let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
            fs::write(sandbox.path("source"), "").unwrap();
            let bind = json!({ "destination": destination, "type": "bind", "source": sandbox.path("source"), "options": ["bind"] });
            bundle::set(&mut config, "/mounts/-", Some(bind));
            bundle::set(
                &mut config,
                "/mounts/-",
                Some(json!({ "destination": format!("{destination}.d"), "type": "tmpfs", "source": "t" })),
            );
            sandbox.write(&config);
            attack(&sandbox, &before, destination);
        }
    }
}

/// CVE-2025-31133: the /dev/null that masks files is not /dev/null. A refusal, or the mask is empty all the
/// same; never the file that the symlink names. runc 1.1.5 has this one.
#[test]
fn masked_with_a_false_null() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    let dev = sandbox.path("volume");
    fs::create_dir(&dev).unwrap();
    fs::write(sandbox.rootfs().join("etc/bait"), "bait\n").unwrap();
    for target in ["/proc/sys/kernel/domainname", "/etc/bait", "zero"] {
        let null = dev.join("null");
        let _ = fs::remove_file(&null);
        symlink(target, &null).unwrap();
        let mut config =
            bundle::minimal(&sandbox.cgroups_path(), "echo mask:$(head -c 9 /proc/timer_list | tr '\\0' 0)");
        config["mounts"][1] =
            json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind", "rw"] });
        config["linux"]["maskedPaths"] = json!(["/proc/timer_list"]);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        unchanged(&sandbox, &before, target, &out);
        let refused = out.code == Some(1) && out.stderr.contains("/dev/null");
        assert!(refused || out.stdout == "mask:\n", "{target}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// Masked and read-only paths that are symlinks to the host, or lie below one.
#[test]
fn masked_paths_lead_out() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    plant(&sandbox, "etc/secret", "../../../canary/file");
    plant(&sandbox, "out", "../../canary");
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    let paths = json!(["/etc/secret", "/out/file", "/out/dir", "/../../canary/dir"]);
    config["linux"]["maskedPaths"] = paths.clone();
    config["linux"]["readonlyPaths"] = paths;
    sandbox.write(&config);
    attack(&sandbox, &before, "masked paths");
}

/// What opens twenty directories of the host before the runtime starts.
const LEAK: &str = "exec 3</ 4</etc 5</usr 6</sys/fs/cgroup 7</sys/fs/cgroup 8</proc 9</tmp; \
    for n in 10 11 12 13 14 15 16 17 18 19 20 21 22; do eval \"exec $n</root\" 2>/dev/null; done; exec \"$@\"";

/// bash, because dash knows descriptors of one digit only.
fn leaking(sandbox: &Sandbox, args: &[&str]) -> Output {
    sandbox.cntr(args).arg(&sandbox.id).wrapped(&["/bin/bash", "-c", LEAK, "bash"]).run()
}

/// CVE-2024-21626: the working directory is a descriptor that the runtime, or its caller, left open.
#[test]
fn cwd_is_a_leaked_descriptor() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    let host: Vec<String> = ["/", "/etc", "/usr", "/proc", "/tmp", "/root", "/sys/fs/cgroup"].map(inode).to_vec();
    for n in 3..=30 {
        for through_link in [false, true] {
            if through_link && n % 5 != 0 {
                continue;
            }
            let mut cwd = format!("/proc/self/fd/{n}");
            if through_link {
                plant(&sandbox, "link", &cwd);
                cwd = "/link".into();
            }
            let mut config = bundle::minimal(&sandbox.cgroups_path(), "echo $(stat -c %d:%i .) $(/bin/pwd); ls");
            config["process"]["cwd"] = json!(cwd);
            sandbox.write(&config);
            let out = leaking(&sandbox, &["run"]);
            unchanged(&sandbox, &before, &cwd, &out);
            if out.code == Some(0) {
                let line = words(out.stdout.lines().next().unwrap_or(""));
                assert!(!host.contains(&line[0].to_owned()), "{cwd} is a directory of the host: {out:#?}");
                assert!(line.get(1).is_some_and(|p| p.starts_with('/')), "{cwd} is outside of the root: {out:#?}");
            } else {
                assert_eq!(out.code, Some(1), "{cwd}: {out:#?}");
            }
            sandbox.assert_clean();
        }
    }
}

fn inode(path: &str) -> String {
    let meta = fs::metadata(path).unwrap();
    format!("{}:{}", meta.dev(), meta.ino())
}

/// Nothing of the caller's descriptors arrives in the container or its hooks.
#[test]
fn descriptors_do_not_leak() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "ls /proc/$$/fd; true"));
    let out = leaking(&sandbox, &["run"]);
    assert_eq!((out.code, words(&out.stdout)), (Some(0), vec!["0", "1", "2"]), "{out:#?}");
    sandbox.assert_clean();
}

/// CVE-2023-25173 and kin: the caller's supplementary groups are not the container's.
#[test]
fn groups_are_not_inherited() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for (user, groups) in
        [(json!({ "uid": 0, "gid": 0 }), "0"), (json!({ "uid": 5, "gid": 6, "additionalGids": [7] }), "6 7")]
    {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "id -G");
        config["process"]["user"] = user;
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).wrapped(&["setpriv", "--groups", "4,24,1000", "--"]).ok();
        assert_eq!(out.stdout.trim(), groups, "{out:#?}");
    }
    sandbox.assert_clean();
}

/// Names in the config that become file names (runc #4103, CVE-2022-0811): none may leave its directory. A
/// sysctl value is one line (runc 1.1.5 writes what it is given, and the kernel reads up to the newline).
#[test]
fn names_with_slashes_are_refused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let cases = [
        ("/linux/resources/unified", json!({ "../cgroup.procs": "0" })),
        ("/linux/resources/hugepageLimits", json!([{ "pageSize": "../x", "limit": 0 }])),
        ("/linux/sysctl", json!({ "net.ipv4/../../kernel/domainname": "x" })),
        ("/linux/sysctl", json!({ "net/../kernel/core_pattern": "x" })),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1\nx" })),
    ];
    for (pointer, value) in cases {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        bundle::set(&mut config, pointer, Some(value.clone()));
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(1), "{value}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// A cgroup path with `..` is cleaned as if the hierarchy were the root.
#[test]
fn cgroup_path_stays_inside() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let config = bundle::minimal(&format!("/../../..{}", sandbox.cgroups_path()), "cat /proc/self/cgroup");
    sandbox.write(&config);
    let out = sandbox.run_ok();
    for line in out.stdout.lines() {
        assert!(line.ends_with(&format!(":{}", sandbox.cgroups_path())), "{out:#?}");
    }
    sandbox.assert_clean();
}

/// `..` of the host's root is the root: a source that climbs there names the host's file, and never what an image has
/// put at the same path.
#[test]
fn bind_sources_that_climb_to_the_root() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    let wanted = sandbox.path("wanted");
    fs::write(&wanted, "the host's\n").unwrap();
    let inside = wanted.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    plant(&sandbox, &inside, sandbox.path("canary/file").to_str().unwrap());
    let up = |dir: &Path| "../".repeat(dir.components().count() - 1) + &inside;
    symlink(up(sandbox.dir()), sandbox.path("link")).unwrap();
    symlink(format!("../../{}", up(sandbox.dir())), sandbox.path("higher")).unwrap();
    let sources = [
        sandbox.path("link").to_string_lossy().into_owned(),
        sandbox.path("higher").to_string_lossy().into_owned(),
        up(&sandbox.bundle()),
        format!("../{}", up(&sandbox.bundle())),
    ];
    for source in sources {
        // in a user namespace init may not be able to open the source itself
        for user in [false, true] {
            let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /mnt/x");
            let bind = json!({ "destination": "/mnt/x", "type": "bind", "source": source, "options": ["bind"] });
            bundle::set(&mut config, "/mounts/-", Some(bind));
            if user {
                in_user_namespace(&sandbox, &mut config);
            }
            sandbox.write(&config);
            let out = sandbox.verb(&["run"]).run();
            unchanged(&sandbox, &before, &source, &out);
            assert_eq!((out.code, out.stdout.as_str()), (Some(0), "the host's\n"), "{source}: {out:#?}");
            sandbox.assert_clean();
        }
    }
}

/// The classic way out of a chroot, by a process that holds a directory above its new root. With --no-pivot and hooks it
/// must end at the container's root all the same. "inside" shows that the attack itself worked.
#[test]
fn no_pivot_is_no_mere_chroot() {
    if !root() {
        return;
    }
    for kind in ["none", "prestart", "createRuntime", "createContainer"] {
        let sandbox = Sandbox::new();
        let before = canary(&sandbox);
        let secret = sandbox.path("canary/file").to_string_lossy().into_owned();
        fs::create_dir_all(sandbox.rootfs().join("esc/bin")).unwrap();
        fs::create_dir_all(sandbox.rootfs().join("esc/proc")).unwrap();
        fs::hard_link(sandbox.rootfs().join("bin/busybox"), sandbox.rootfs().join("esc/bin/busybox")).unwrap();
        fs::write(sandbox.rootfs().join("etc/inside"), "inside\n").unwrap();
        let up = "../".repeat(64);
        let script = format!(
            "exec 3</; chroot /esc /bin/busybox cat /proc/self/fd/3/etc/inside /proc/self/fd/3/{up}etc/inside \
             /proc/self/fd/3/{up}{}",
            &secret[1..]
        );
        let mut config = bundle::minimal(&sandbox.cgroups_path(), &script);
        let proc = json!({ "destination": "/esc/proc", "type": "proc", "source": "proc" });
        bundle::set(&mut config, "/mounts/-", Some(proc));
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_CHROOT"]);
        }
        if kind != "none" {
            config["hooks"][kind] = json!([{ "path": "/bin/true" }]);
        }
        sandbox.write(&config);
        for args in [&["run", "--no-pivot"][..], &["run"]] {
            let out = sandbox.verb(args).run();
            unchanged(&sandbox, &before, kind, &out);
            assert_eq!((out.code, out.stdout.as_str()), (Some(1), "inside\ninside\n"), "{kind}: {out:#?}");
            assert!(out.stderr.contains("No such file"), "{kind}: {out:#?}");
            sandbox.assert_clean();
        }
    }
}

/// The image's /etc/passwd may be of any size: reading all of it would be an endless `create`, whose init must besides
/// die with it.
#[test]
fn a_passwd_of_a_tebibyte() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    // zeros only: no line that could be found early
    let passwd = fs::OpenOptions::new().write(true).truncate(true).open(sandbox.rootfs().join("etc/passwd"));
    passwd.unwrap().set_len(1 << 40).unwrap();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    for moment in [2, 5, 10, 20, 40, 80, 160] {
        let running = sandbox.verb(&["create"]).spawn();
        std::thread::sleep(std::time::Duration::from_millis(moment));
        running.signal(nix::sys::signal::Signal::SIGKILL);
        running.wait();
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
    let out = sandbox.verb(&["create"]).run();
    assert!(out.took.as_secs() < 20, "{out:#?}");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// Profiles that are older than close_range(2) (Linux 5.9) and faccessat2(2) (5.8): the runtime's own calls after the
/// filter is there must not need them.
#[test]
fn seccomp_profiles_without_newer_calls() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for names in [&["close_range"][..], &["faccessat2"], &["close_range", "faccessat2"]] {
        for errno in [nix::libc::EPERM, nix::libc::ENOSYS] {
            for no_new_privileges in [false, true] {
                let mut config = bundle::minimal(&sandbox.cgroups_path(), "echo ok");
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    { "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }
                ] });
                sandbox.write(&config);
                let out = sandbox.verb(&["run"]).run();
                let context = format!("{names:?} {errno} {no_new_privileges}");
                assert_eq!((out.code, out.stdout.as_str()), (Some(0), "ok\n"), "{context}: {out:#?}");
                let created = sandbox.verb(&["create"]).ok();
                sandbox.verb(&["start"]).ok();
                sandbox.wait_status("stopped");
                assert_eq!(crate::support::read(&created.stdout_file), "ok\n", "{context}");
                sandbox.verb(&["delete"]).ok();
                sandbox.assert_clean();
            }
        }
    }
}

/// A config may mount procfs on /proc as often as it likes: what hides the masked paths is held for all of them.
#[test]
fn masks_behind_many_procfs() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /secret/*");
    fs::create_dir(sandbox.rootfs().join("secret")).unwrap();
    let names: Vec<String> = (0..200).map(|i| format!("/secret/{i}")).collect();
    for name in &names {
        fs::write(sandbox.rootfs().join(&name[1..]), "secret").unwrap();
    }
    for _ in 0..12 {
        let proc = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
        bundle::set(&mut config, "/mounts/-", Some(proc));
    }
    config["linux"]["maskedPaths"] = json!(names);
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), ""), "{out:#?}");
    sandbox.assert_clean();
}
