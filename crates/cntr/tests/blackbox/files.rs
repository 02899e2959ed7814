//! What a container sees of files: the root, its propagation, hidden and read-only paths, `/dev` and its nodes. Read from
//! inside (mountinfo, stat) and, where the host could notice, from outside.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::namespaces::{in_user_namespace, with_shared_mounts, within};
use crate::support::verify_fs::Mount;
use crate::support::{Output, Sandbox, View, bundle, read, root, skip, wait_for, words};

/// The mount on `point`, the topmost one, as the output of `cat /proc/self/mountinfo` has it.
#[track_caller]
fn mount_on(output: &str, point: &str) -> Mount {
    let lines = output.lines().filter(|line| line.contains(" - "));
    lines.map(Mount::parse).rfind(|m| m.point == point).unwrap_or_else(|| panic!("no mount on {point} in\n{output}"))
}

/// The text behind `name=` in a line of its own.
#[track_caller]
fn value<'o>(out: &'o Output, name: &str) -> &'o str {
    let line = out.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} in {out:#?}"))
}

fn add_mount(config: &mut Value, destination: &str, fstype: &str, source: &str, options: &[&str]) {
    let mount = json!({ "destination": destination, "type": fstype, "source": source, "options": options });
    bundle::set(config, "/mounts/-", Some(mount));
}

/// Runs `script` with what `edit` makes of the minimal config.
#[track_caller]
fn run(script: &str, edit: impl Fn(&Sandbox, &mut Value)) -> Output {
    run_in(View::Host, script, edit)
}

#[track_caller]
fn run_in(view: View, script: &str, edit: impl Fn(&Sandbox, &mut Value)) -> Output {
    let sandbox = Sandbox::with_view(view);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    edit(&sandbox, &mut config);
    sandbox.write(&config);
    let out = sandbox.run_ok();
    sandbox.assert_clean();
    out
}

/// Only the root itself: a tmpfs below it can be written. In a user namespace the flags of the mount that the rootfs lies on
/// are locked, and have to stay.
#[test]
fn the_root_is_read_only() {
    if !root() {
        return;
    }
    let script = "cat /proc/self/mountinfo; (: >/file) 2>&1; (: >/etc/passwd) 2>&1; : >/tmp/file && echo tmp=written";
    for (user, locked) in [(false, false), (true, false), (true, true), (false, true)] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        config["root"]["readonly"] = json!(true);
        add_mount(&mut config, "/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
        if user {
            in_user_namespace(&sandbox, &mut config);
        }
        sandbox.write(&config);
        let rootfs = sandbox.rootfs().to_string_lossy().into_owned();
        let flags = if locked { "nosuid,nodev" } else { "suid,dev" }; // a /tmp may have its own
        let on = format!("mount --bind {rootfs} {rootfs} && mount -o remount,bind,{flags} {rootfs}");
        let script = format!("{on} && exec \"$@\"");
        let out = sandbox.verb(&["run"]).shell(&script).wrapped(&["unshare", "-m", "--propagation", "private"]).ok();
        let mount = mount_on(&out.stdout, "/");
        assert!(mount.has("ro"), "{user} {locked}: {mount:?}");
        assert_eq!((mount.has("nosuid"), mount.has("nodev")), (locked, locked), "{user}: {mount:?}");
        assert_eq!(out.stdout.matches("Read-only file system").count(), 2, "{user} {locked}: {out:#?}");
        assert_eq!(value(&out, "tmp"), "written");
        assert!(!sandbox.rootfs().join("file").exists());
        sandbox.assert_clean();
    }
}

/// The names are the container's alone, also the longest that the kernel takes.
#[test]
fn host_and_domain_name() {
    if !root() {
        return;
    }
    let names = || ["hostname", "domainname"].map(|n| read(format!("/proc/sys/kernel/{n}")));
    let before = names();
    for (host, domain) in [("inside", "inside.example"), (&"h".repeat(64), &"d".repeat(64))] {
        for user in [false, true] {
            let script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname";
            let out = run(script, |sandbox, c| {
                (c["hostname"], c["domainname"]) = (json!(host), json!(domain));
                if user {
                    in_user_namespace(sandbox, c);
                }
            });
            assert_eq!(out.stdout, format!("{host}\n{domain}\n"));
        }
    }
    assert_eq!(names(), before, "the host's");
    for field in ["hostname", "domainname"] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "uts");
        config.as_object_mut().unwrap().remove("hostname");
        config[field] = json!("x");
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let says = format!("unable to set {field} without a private UTS namespace");
        assert!(out.code == Some(1) && out.stderr.contains(&says), "{out:#?}");
        sandbox.assert_clean();
    }
    assert_eq!(names(), before, "the host's");
}

/// Each value: how the root is tagged inside, whether a mount that the host makes in a volume while the container runs
/// arrives there, and whether one that the container makes there arrives on the host.
#[test]
fn root_propagation_inside_and_outside() {
    if !root() {
        return;
    }
    let table = [
        ("", "master", true, false),
        ("slave", "master", true, false),
        ("rslave", "master", true, false),
        ("private", "", false, false),
        ("rprivate", "", false, false),
        ("shared", "shared", true, true),
        ("rshared", "shared", true, true),
        ("unbindable", "unbindable", true, false),
        ("runbindable", "unbindable", false, false),
    ];
    for (word, tag, comes_in, goes_out) in table {
        let sandbox = with_shared_mounts();
        let volume = sandbox.path("volume");
        let point = volume.to_string_lossy().into_owned();
        fs::create_dir(&volume).unwrap();
        within(&sandbox, &["mount", "-t", "tmpfs", "volume", &point]);
        let script = "mkdir /mnt/out /mnt/in && mount -t tmpfs out /mnt/out && : >/tmp/ready; exec sleep 1000";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        config["linux"]["rootfsPropagation"] = json!(word);
        add_mount(&mut config, "/mnt", "bind", &point, &["rbind"]);
        sandbox.write(&config);
        sandbox.verb(&["create", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
        sandbox.verb(&["start"]).ok();
        wait_for("the mount inside", || sandbox.rootfs().join("tmp/ready").exists().then_some(()));
        // `state` gives the pid in the namespace of the runtime, which is the sandbox's own
        let mountinfo = |pid: &str| {
            let host = sandbox.host_pid().to_string();
            let path = format!("/proc/{pid}/mountinfo");
            crate::support::host("nsenter", &["-t", &host, "-m", "-p", "--", "cat", &path])
        };
        let init = sandbox.pid().to_string();
        within(&sandbox, &["mount", "-t", "tmpfs", "in", &format!("{point}/in")]);
        let (inside, outside) = (mountinfo(&init), mountinfo("1"));
        let tags = mount_on(&inside, "/").propagation.join(" ");
        assert!(if tag.is_empty() { tags.is_empty() } else { tags.contains(tag) }, "{word}: {tags:?}");
        assert!(tag != "shared" || !tags.contains("master"), "a peer group of its own, {word}: {tags:?}");
        assert_eq!(inside.contains(" /mnt/in "), comes_in, "{word}: host to container\n{inside}");
        assert_eq!(outside.contains(&format!(" {point}/out ")), goes_out, "{word}: container to host\n{outside}");
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

/// Files read as empty and swallow nothing; directories are empty, read-only and of one file system; what is not there is
/// left out, what is given twice is masked once, and a symlink hides what it leads to inside the rootfs.
#[test]
fn masked_paths() {
    if !root() {
        return;
    }
    let script = "cat /proc/self/mountinfo; echo file=$(stat -c %t:%T /etc/secret) $(wc -c </etc/secret); \
        echo link=$(stat -L -c %t:%T /etc/link) $(cat /etc/target | wc -c); echo dir=$(ls -A /dir/one | wc -l); \
        echo same=$(stat -c %d /dir/one) $(stat -c %d /dir/two); echo proc=$(stat -c %t:%T /proc/interrupts); \
        (: >/dir/one/new) 2>&1; (mkdir /dir/two/new) 2>&1; echo more >>/etc/secret; umount /etc/secret 2>&1; true";
    for user in [false, true] {
        let out = run(script, |sandbox, c| {
            for dir in ["dir/one", "dir/two/below"] {
                fs::create_dir_all(sandbox.rootfs().join(dir)).unwrap();
                fs::write(sandbox.rootfs().join(dir).join("content"), "secret\n").unwrap();
            }
            for file in ["etc/secret", "etc/target"] {
                fs::write(sandbox.rootfs().join(file), "secret\n").unwrap();
            }
            symlink("/etc/target", sandbox.rootfs().join("etc/link")).unwrap();
            if user {
                in_user_namespace(sandbox, c);
            }
            c["process"]["capabilities"] = json!({ "bounding": ["CAP_DAC_OVERRIDE"], "permitted": ["CAP_DAC_OVERRIDE"], "effective": ["CAP_DAC_OVERRIDE"] });
            c["linux"]["maskedPaths"] = json!([
                "/etc/secret",
                "/not/there",
                "/dir/one",
                "/dir/two",
                "/etc/link",
                "/etc/secret",
                "/dir/one",
                "/proc/interrupts",
                "/etc/secret/below",
            ]);
        });
        assert_eq!(value(&out, "file"), "1:3 0", "{user}");
        assert_eq!(value(&out, "link"), "1:3 0", "{user}");
        assert_eq!(value(&out, "proc"), "1:3", "{user}");
        assert_eq!(value(&out, "dir"), "0", "{user}");
        let devices = words(value(&out, "same"));
        assert_eq!(devices[0], devices[1], "{user}: one tmpfs serves all directories");
        let mounts: Vec<Mount> = out.stdout.lines().filter(|l| l.contains(" - ")).map(Mount::parse).collect();
        let on = |point: &str| mounts.iter().filter(|m| m.point == point).count();
        assert_eq!([on("/etc/secret"), on("/dir/one"), on("/etc/target"), on("/etc/link")], [1, 1, 1, 0], "{user}");
        assert!(mount_on(&out.stdout, "/dir/one").has("ro") && mount_on(&out.stdout, "/dir/two").has("ro"));
        assert_eq!(out.stdout.matches("Read-only file system").count(), 2, "{user}: {out:#?}");
    }
}

/// CVE-2025-31133: masking with a /dev/null that is none is refused in runc's words, and without a mask it does not matter.
#[test]
fn masked_with_an_invalid_null() {
    if !root() {
        return;
    }
    let edit = |sandbox: &Sandbox, config: &mut Value| {
        let dev = sandbox.path("volume");
        fs::create_dir(&dev).unwrap();
        fs::write(dev.join("null"), "").unwrap();
        config["mounts"][1] = json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] });
    };
    for masked in [true, false] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        edit(&sandbox, &mut config);
        config["linux"]["maskedPaths"] = if masked { json!(["/proc/interrupts"]) } else { json!([]) };
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(i32::from(masked)), "{out:#?}");
        assert_eq!(out.stderr.contains("container's /dev/null is invalid"), masked, "{out:#?}");
        assert_eq!(out.stderr.contains("linux.maskedPaths[0]"), masked, "{out:#?}");
        sandbox.assert_clean();
    }
}

/// Read-only over itself: the mount's other flags stay, a symlink leads inside the rootfs, what is not there is left out,
/// and a file can be one. Nobody can take it back without CAP_SYS_ADMIN.
#[test]
fn readonly_paths() {
    if !root() {
        return;
    }
    let script = "cat /proc/self/mountinfo; for f in /mnt/dir/new /etc/group /usr/new /proc/sys/kernel/hostname; do \
        (: >>$f) 2>&1; done; mount -o remount,rw /usr 2>&1; : >/mnt/free && echo free=yes";
    for user in [false, true] {
        let out = run(script, |sandbox, c| {
            add_mount(c, "/mnt", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
            fs::create_dir(sandbox.path("volume")).unwrap();
            add_mount(c, "/mnt/dir", "bind", &sandbox.path("volume").to_string_lossy(), &["bind", "nosuid", "nodev"]);
            symlink("/usr", sandbox.rootfs().join("link")).unwrap();
            if user {
                in_user_namespace(sandbox, c);
            }
            c["process"]["capabilities"] = json!({ "bounding": ["CAP_DAC_OVERRIDE"], "permitted": ["CAP_DAC_OVERRIDE"], "effective": ["CAP_DAC_OVERRIDE"] });
            c["linux"]["readonlyPaths"] = json!(["/mnt/dir", "/etc/group", "/link", "/proc/sys", "/not/there"]);
        });
        // the files of the image are not the container's in a user namespace
        let refused =
            out.stdout.matches("Read-only file system").count() + out.stdout.matches("Permission denied").count();
        assert!(refused == 4 && (user || !out.stdout.contains("Permission denied")), "{user}: {out:#?}");
        let dir = mount_on(&out.stdout, "/mnt/dir");
        assert!(["ro", "nosuid", "nodev"].iter().all(|flag| dir.has(flag)), "{user}: {dir:?}");
        assert!(mount_on(&out.stdout, "/usr").has("ro") && mount_on(&out.stdout, "/etc/group").has("ro"), "{user}");
        assert_eq!(value(&out, "free"), "yes", "{user}");
    }
}

/// Of an image without anything mounted on /dev: links and nodes that are there stay, but for ptmx; `core` is there if the
/// host has a kcore. A /dev that is bound is left alone.
#[test]
fn default_devices_in_an_image() {
    if !root() {
        return;
    }
    let script = "cd /dev; for f in *; do if [ -L $f ]; then echo $f=link $(readlink $f); \
        else echo $f=$(stat -c '%F %t:%T %a %u:%g' $f); fi; done";
    let out = run(script, |sandbox, c| {
        c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
        let dev = sandbox.rootfs().join("dev");
        fs::write(dev.join("ptmx"), "an image's own").unwrap();
        symlink("elsewhere", dev.join("stdin")).unwrap();
        // as an earlier run, or the image, has made it
        crate::support::host("mknod", &["-m", "600", &dev.join("null").to_string_lossy(), "c", "1", "3"]);
    });
    assert_eq!(value(&out, "ptmx"), "link pts/ptmx");
    assert_eq!(value(&out, "stdin"), "link elsewhere");
    assert_eq!(value(&out, "stdout"), "link /proc/self/fd/1");
    assert_eq!(value(&out, "fd"), "link /proc/self/fd");
    assert!(value(&out, "null").starts_with("character special file 1:3 "), "{out:#?}");
    assert_eq!(value(&out, "urandom"), "character special file 1:9 666 0:0");
    let core = out.stdout.lines().any(|line| line == "core=link /proc/kcore");
    assert_eq!(core, std::path::Path::new("/proc/kcore").exists());

    let bound = run("ls /dev", |sandbox, c| {
        let dev = sandbox.path("volume");
        fs::create_dir(&dev).unwrap();
        crate::support::host("mknod", &[&dev.join("null").to_string_lossy(), "c", "1", "3"]);
        c["mounts"][1] = json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] });
    });
    assert_eq!(bound.stdout, "null\n", "nothing is made in a /dev of somebody else's");
}

/// /dev/null that the caller gave as standard streams is the container's own afterwards, so that a path like
/// /proc/self/fd/0 does not lead to the host's devtmpfs.
#[test]
fn standard_streams_are_the_null_of_the_container() {
    if !root() {
        return;
    }
    let script = "null=$(stat -c %d:%i /dev/null); for n in 0 2; do [ $(stat -L -c %d:%i /proc/self/fd/$n) = $null ] && \
        echo same $n; done; echo >&2; cat; ls -l /proc/self/fd/0";
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), script));
    sandbox.verb(&["create"]).shell("exec \"$@\" </dev/null 2>/dev/null").ok();
    let created = sandbox.path("out");
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    let text: String = fs::read_dir(created).unwrap().flatten().map(|e| read(e.path())).collect();
    assert!(text.contains("same 0\nsame 2\n") && text.contains("/dev/null"), "{text}");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// Each member of a device rule decides: type, major, minor, access, allow, and the order. What no rule allows is refused,
/// the nodes that every container has are allowed anyway. By files of v1, and by a program of v2.
#[test]
fn device_rules() {
    if !root() {
        return;
    }
    // c 1:11 is /dev/kmsg, c 10:229 /dev/fuse, b 7:3 a loop device; a node that cannot be opened says so in one word.
    let script = "mknod /n/kmsg c 1 11; mknod /n/fuse c 10 229; mknod /n/loop b 7 3; mknod /n/zero c 1 5; \
        for f in kmsg fuse loop zero; do for how in r w; do \
        [ -e /n/$f ] || { echo $f $how none; continue; }; if [ $how = r ]; then (exec 3</n/$f); else (exec 3>>/n/$f); fi 2>/n/err && echo $f $how yes || \
        { grep -q 'not permitted' /n/err && echo $f $how no || cat /n/err; }; done; done";
    let deny = json!({ "allow": false, "access": "rwm" });
    let rule = |allow: bool, kind: &str, major: i64, minor: i64, access: &str| {
        let mut rule = json!({ "allow": allow, "type": kind, "access": access });
        for (name, number) in [("major", major), ("minor", minor)] {
            if number >= 0 {
                rule[name] = json!(number);
            }
        }
        rule
    };
    let table = [
        (vec![deny.clone()], ""),
        (vec![], ""),
        (vec![deny.clone(), rule(true, "c", 1, 11, "r")], "kmsg r"),
        (vec![deny.clone(), rule(true, "c", 1, 11, "rw")], "kmsg r,kmsg w"),
        (vec![deny.clone(), rule(true, "c", 10, -1, "rwm")], "fuse r,fuse w"),
        (vec![deny.clone(), rule(true, "b", 7, 3, "rw")], "loop r,loop w"),
        (vec![deny.clone(), rule(true, "b", 7, 4, "rw")], ""),
        (vec![deny.clone(), rule(true, "c", 7, 3, "rw")], ""),
        (vec![deny.clone(), rule(true, "c", 1, 11, "rw"), rule(false, "c", 1, 11, "w")], "kmsg r"),
        (vec![json!({ "allow": true, "access": "rwm" })], "kmsg r,kmsg w,fuse r,fuse w,loop r,loop w"),
        (vec![rule(true, "a", -1, -1, "rwm"), rule(false, "c", 1, 11, "rwm")], "fuse r,fuse w,loop r,loop w"),
        (vec![rule(true, "a", -1, -1, "rwm"), rule(false, "c", 10, 229, "m")], "kmsg r,kmsg w,loop r,loop w"),
        (vec![rule(true, "a", -1, -1, "rwm"), deny], ""),
    ];
    for (view, (rules, opened)) in
        [View::Host, View::V2].into_iter().flat_map(|view| table.iter().map(move |row| (view, row)))
    {
        let out = run_in(view, script, |_, c| {
            c["linux"]["resources"]["devices"] = json!(rules);
            add_mount(c, "/n", "tmpfs", "tmpfs", &["dev"]); // where the sandbox lies may be nodev
        });
        let yes: Vec<&str> = out.stdout.lines().filter_map(|line| line.strip_suffix(" yes")).collect();
        let asked: Vec<&str> = opened.split(',').filter(|s| !s.is_empty()).chain(["zero r", "zero w"]).collect();
        assert_eq!(yes, asked, "{view:?} {rules:?}: {out:#?}");
        assert_eq!(out.stdout.lines().count(), 8, "{view:?} {rules:?}: opened, refused or not made: {out:#?}");
    }
}

/// Without a mount namespace these would change the host's files: refused by name, and nothing is touched.
#[test]
fn what_needs_a_mount_namespace() {
    if !root() {
        return;
    }
    let node = json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3 }]);
    let table = [
        ("linux.devices", "/linux/devices", node),
        ("linux.rootfsPropagation", "/linux/rootfsPropagation", json!("private")),
    ];
    for (place, pointer, value) in table {
        let sandbox = Sandbox::with_view(View::Pids);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "mount");
        config["mounts"] = json!([]);
        bundle::set(&mut config, pointer, Some(value));
        sandbox.write(&config);
        let mounts = || read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
        let before = mounts();
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
        assert!(out.code == Some(1) && out.stderr.contains(place), "{place}: {out:#?}");
        assert!(out.stderr.contains("mount namespace"), "{place}: {out:#?}");
        assert_eq!(mounts(), before, "{place}");
        assert!(!sandbox.rootfs().join("dev/x").exists());
        sandbox.assert_clean();
    }
}

/// The nodes that a config lists for a /dev that is bound are not made, and that is said.
#[test]
fn devices_of_a_bound_dev_are_a_warning() {
    if !root() {
        return;
    }
    let out = run("ls /dev", |sandbox, c| {
        let dev = sandbox.path("volume");
        fs::create_dir(&dev).unwrap();
        crate::support::host("mknod", &[&dev.join("null").to_string_lossy(), "c", "1", "3"]);
        c["mounts"][1] = json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] });
        c["linux"]["devices"] = json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3 }]);
    });
    assert_eq!(out.stdout, "null\n");
    assert!(out.stderr.contains("level=warning") && out.stderr.contains("linux.devices: ignored"), "{out:#?}");
}

/// A propagation word on a mount of type cgroup is for all of it, on v1 the tmpfs and each hierarchy (Podman says
/// `rprivate`).
#[test]
fn propagation_of_cgroup_mounts() {
    if !root() {
        return;
    }
    for (options, asked) in [
        (vec!["ro", "rprivate"], ""),
        (vec!["ro"], ""),
        (vec!["ro", "rshared"], "shared:"),
        (vec!["runbindable"], "unbindable"),
    ] {
        let sandbox = with_shared_mounts();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
        add_mount(&mut config, "/sys/fs/cgroup", "cgroup", "cgroup", &options);
        sandbox.write(&config);
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
        let below = out.stdout.lines().map(Mount::parse).filter(|m| m.point.starts_with("/sys/fs/cgroup"));
        let tags: Vec<String> = below.map(|m| m.propagation.join(" ")).collect();
        let as_asked = |tags: &String| if asked.is_empty() { tags.is_empty() } else { tags.contains(asked) };
        assert!(!tags.is_empty() && tags.iter().all(as_asked), "{options:?}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// Without SELinux there is nothing to label: said, and the container is made (runtime-tools' linux_mount_label wants that).
#[test]
fn mount_label_without_selinux_is_a_warning() {
    if !root() {
        return;
    }
    if fs::exists("/sys/fs/selinux/policy").unwrap() {
        return skip("the machine has SELinux");
    }
    let out = run("cat /proc/self/mountinfo", |_, c| {
        c["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
    });
    assert!(out.stderr.contains("level=warning") && out.stderr.contains("linux.mountLabel: not applied"), "{out:#?}");
    assert!(!out.stdout.contains("context="), "{out:#?}");
}
