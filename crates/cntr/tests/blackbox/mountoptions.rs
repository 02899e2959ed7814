//! Every word of `mounts[].options`, read back from inside: mountinfo, stat, and what is refused. One container has all
//! rows of a table.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::idmapped::Disk;
use crate::namespaces::{in_user_namespace, with_shared_mounts, within};
use crate::support::verify_fs::Mount;
use crate::support::{Output, Sandbox, View, bundle, root, words};

fn add(config: &mut Value, destination: &str, fstype: &str, source: &str, options: &[&str]) {
    let mount = json!({ "destination": destination, "type": fstype, "source": source, "options": options });
    bundle::set(config, "/mounts/-", Some(mount));
}

#[track_caller]
fn mount_on(out: &Output, point: &str) -> Mount {
    let lines = out.stdout.lines().filter(|line| line.contains(" - "));
    lines.map(Mount::parse).rfind(|m| m.point == point).unwrap_or_else(|| panic!("no mount on {point} in {out:#?}"))
}

/// Words, and what a new tmpfs with them has (`sb:` in its superblock) and has not (`!`).
const NEW: &[(&str, &str)] = &[
    ("defaults silent loud iversion noiversion", "rw relatime !nosuid !nodev !noexec !nosymfollow !sb:sync"),
    ("ro", "ro"),
    ("ro rw", "rw"),
    ("nosuid nodev noexec nosymfollow", "nosuid nodev noexec nosymfollow"),
    ("nosuid suid nodev dev noexec exec nosymfollow symfollow", "!nosuid !nodev !noexec !nosymfollow"),
    ("noatime", "noatime !relatime"),
    ("noatime atime", "relatime !noatime"),
    ("noatime relatime", "relatime !noatime"),
    ("noatime norelatime", "noatime"),
    ("nodiratime", "nodiratime relatime"),
    ("nodiratime diratime", "!nodiratime"),
    ("strictatime", "!relatime !noatime"),
    ("strictatime nostrictatime", "relatime"),
    ("sync dirsync lazytime mand", "sb:sync sb:dirsync sb:lazytime sb:mand"),
    ("sync async lazytime nolazytime mand nomand", "!sb:sync !sb:lazytime !sb:mand"),
    // on one mount the words for a tree are those for the mount
    (
        "rro rnosuid rnodev rnoexec rnoatime rnodiratime rnosymfollow",
        "ro nosuid nodev noexec noatime nodiratime nosymfollow",
    ),
    ("ro rrw nodev rdev noexec rexec nosuid rsuid noatime ratime", "rw !nodev !noexec !nosuid relatime"),
];

/// Words, and what a bind of a `plain` or a `strict` mount has, and the mount below it (`below:`).
const BOUND: &[(&str, &str, &str)] = &[
    ("plain", "rbind", "rw relatime !nosuid below:rw"),
    ("strict", "rbind", "ro nosuid nodev noexec noatime nodiratime nosymfollow below:ro below:nodev"),
    ("plain", "rbind ro nosuid nodev noexec nosymfollow", "ro nosuid nodev noexec nosymfollow below:rw !below:nosuid"),
    ("plain", "rbind noatime nodiratime", "noatime nodiratime !below:noatime"),
    ("plain", "rbind strictatime", "!relatime !noatime below:relatime"),
    ("plain", "rbind nodiratime", "nodiratime relatime"),
    ("plain", "rbind nodiratime norelatime", "nodiratime relatime"),
    // what is named or not goes, once one word is there; access times stay, as does what is below
    ("strict", "rbind rw", "rw !nosuid !nodev !noexec !nosymfollow noatime nodiratime below:ro below:nosuid"),
    ("strict", "rbind ro dev exec suid symfollow", "ro !nosuid !nodev !noexec !nosymfollow"),
    // and to take one back is to name none of them, as with mount(8)
    ("strict", "rbind atime", "rw !nosuid noatime nodiratime"),
    ("strict", "rbind diratime norelatime nostrictatime", "rw !nosuid noatime nodiratime"),
    ("strict", "rbind relatime", "relatime !noatime !nodiratime below:noatime"),
    ("strict", "rbind noatime", "noatime !nodiratime"),
    ("strict", "rbind strictatime", "!relatime !noatime !nodiratime"),
    ("plain", "rbind rro", "ro below:ro"),
    ("strict", "rbind rrw", "rw below:rw nosuid below:nosuid"),
    ("plain", "rbind rnosuid", "nosuid below:nosuid"),
    ("strict", "rbind rsuid", "!nosuid !below:nosuid below:nodev"),
    ("plain", "rbind rnodev", "nodev below:nodev"),
    ("strict", "rbind rdev", "!nodev !below:nodev below:noexec"),
    ("plain", "rbind rnoexec", "noexec below:noexec"),
    ("strict", "rbind rexec", "!noexec !below:noexec below:ro"),
    ("plain", "rbind rnodiratime", "nodiratime below:nodiratime"),
    ("strict", "rbind rdiratime", "!nodiratime !below:nodiratime below:noatime"),
    ("plain", "rbind rnoatime", "noatime below:noatime"),
    ("strict", "rbind ratime", "!noatime !below:noatime below:relatime"),
    ("strict", "rbind rrelatime", "relatime below:relatime"),
    ("strict", "rbind rnorelatime", "!noatime !below:noatime"),
    ("plain", "rbind rstrictatime", "!relatime !below:relatime !below:noatime"),
    ("strict", "rbind rnostrictatime", "relatime below:relatime"),
    ("plain", "rbind rnosymfollow", "nosymfollow below:nosymfollow"),
    ("strict", "rbind rsymfollow", "!nosymfollow !below:nosymfollow below:ro"),
    ("strict", "rbind rw rro", "ro !nosuid below:ro below:nosuid"),
];

/// The same where flags of the source are locked: what is not named stays, and so do access times. Symlinks may be followed
/// all the same.
const BOUND_FOR_A_USER_NAMESPACE: &[(&str, &str, &str)] = &[
    ("plain", "rbind", "rw relatime !nosuid below:rw"),
    ("strict", "rbind", "ro nosuid nodev noexec noatime nodiratime nosymfollow below:ro below:nodev"),
    ("plain", "rbind ro nosuid nodev noexec nosymfollow", "ro nosuid nodev noexec nosymfollow below:rw !below:nosuid"),
    ("plain", "rbind relatime", "relatime"),
    ("strict", "rbind nosuid", "ro nosuid nodev noexec !nosymfollow noatime nodiratime below:ro below:nosymfollow"),
    ("strict", "rbind symfollow atime diratime norelatime", "ro nosuid nodev noexec !nosymfollow noatime nodiratime"),
    ("strict", "rbind noatime nodiratime", "ro nosuid !nosymfollow noatime nodiratime"),
    ("plain", "rbind rro rnosuid", "ro nosuid below:ro below:nosuid"),
    ("strict", "rbind rsymfollow", "ro !nosymfollow !below:nosymfollow below:ro"),
];

#[track_caller]
fn verify(out: &Output, point: &str, expected: &str, context: &str) {
    for word in expected.split_whitespace() {
        let (wanted, word) = word.strip_prefix('!').map_or((true, word), |word| (false, word));
        let (point, word) = match word.strip_prefix("below:") {
            Some(word) => (format!("{point}/below"), word),
            None => (point.to_owned(), word),
        };
        let mount = mount_on(out, &point);
        let found = match word.strip_prefix("sb:") {
            Some(word) => mount.superblock.iter().any(|o| o == word),
            None => mount.has(word),
        };
        assert_eq!(found, wanted, "{context}: {word}: {mount:?}");
    }
}

#[test]
fn words_on_new_file_systems() {
    if !root() {
        return;
    }
    for user in [false, true] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
        for (i, (options, _)) in NEW.iter().enumerate() {
            add(&mut config, &format!("/mnt/{i}"), "tmpfs", "t", &words(options));
            // the same by the way that fills it first
            add(&mut config, &format!("/mnt/filled/{i}"), "tmpfs", "t", &words(&format!("tmpcopyup {options}")));
        }
        if user {
            in_user_namespace(&sandbox, &mut config);
        }
        sandbox.write(&config);
        let out = sandbox.run_ok();
        for (i, (options, expected)) in NEW.iter().enumerate() {
            // a user namespace's file system takes no mandatory locks, and may not say so
            let expected = if user { expected.replace("sb:mand", "") } else { (*expected).to_owned() };
            verify(&out, &format!("/mnt/{i}"), &expected, options);
            verify(&out, &format!("/mnt/filled/{i}"), &expected, &format!("tmpcopyup {options}"));
        }
        sandbox.assert_clean();
    }
}

/// A sandbox with a `plain` and a `strict` mount, in a directory that is open to nobody else, and one `below` each.
fn with_sources() -> Sandbox {
    let sandbox = with_shared_mounts();
    fs::create_dir(sandbox.path("closed")).unwrap();
    let strict = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    for (name, options) in [("plain", "rw"), ("strict", strict)] {
        let dir = source(&sandbox, name);
        fs::create_dir(&dir).unwrap();
        within(&sandbox, &["mount", "-t", "tmpfs", "t", &dir]);
        within(&sandbox, &["mkdir", &format!("{dir}/below")]);
        within(&sandbox, &["touch", &format!("{dir}/below/hidden")]);
        within(&sandbox, &["mount", "-t", "tmpfs", "-o", options, "t", &format!("{dir}/below")]);
        within(&sandbox, &["mount", "-o", &format!("remount,bind,{options}"), &dir]);
    }
    fs::set_permissions(sandbox.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    sandbox
}

fn source(sandbox: &Sandbox, name: &str) -> String {
    sandbox.path("closed").join(name).to_string_lossy().into_owned()
}

fn run(sandbox: &Sandbox) -> Output {
    sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run()
}

#[test]
fn words_on_binds() {
    if !root() {
        return;
    }
    for (user, rows) in [(false, BOUND), (true, BOUND_FOR_A_USER_NAMESPACE)] {
        let sandbox = with_sources();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
        for (i, (name, options, _)) in rows.iter().enumerate() {
            add(&mut config, &format!("/mnt/{i}"), "none", &source(&sandbox, name), &words(options));
        }
        if user {
            in_user_namespace(&sandbox, &mut config);
        }
        sandbox.write(&config);
        let out = run(&sandbox);
        assert_eq!(out.code, Some(0), "{out:#?}");
        for (i, (name, options, expected)) in rows.iter().enumerate() {
            verify(&out, &format!("/mnt/{i}"), expected, &format!("{name} {options} user namespace: {user}"));
        }
        sandbox.assert_clean();
    }
}

/// What the parent copies for a user namespace is no more than that may have (mount_namespaces(7)): its flags are locked
/// against the config, and against root of the container, who can also not look below a mount that came with it.
#[test]
fn flags_of_the_host_are_locked_for_a_user_namespace() {
    if !root() {
        return;
    }
    let refused = |sandbox: &Sandbox, name: &str, options: &str, script: &str| {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        add(&mut config, "/mnt", "none", &source(sandbox, name), &words(options));
        in_user_namespace(sandbox, &mut config);
        sandbox.write(&config);
        let out = run(sandbox);
        sandbox.assert_clean();
        out
    };
    let sandbox = with_sources();
    for (name, options, expected) in [
        ("strict", "rbind rw", "cannot clear locked flags ro"),
        ("strict", "rbind ro dev exec suid", "cannot clear locked flags nodev nosuid noexec"),
        ("strict", "rbind rdev", "cannot clear locked flags nodev"),
        ("strict", "rbind relatime", "cannot change locked atime flags"),
        ("strict", "rbind noatime", "cannot change locked atime flags"),
        ("plain", "rbind noatime", "cannot change locked atime flags"),
        ("plain", "rbind nodiratime", "cannot change locked atime flags"),
        ("plain", "rbind rstrictatime", "cannot change locked atime flags"),
    ] {
        let out = refused(&sandbox, name, options, "true");
        let told = ["error mounting", expected, "operation not permitted"].iter().all(|t| out.stderr.contains(t));
        assert!(out.code == Some(1) && told, "{name} {options}: {out:#?}");
    }
    for (attack, expected) in [
        ("mount -o remount,bind,rw /mnt; touch /mnt/x", "touch: /mnt/x: Read-only file system"),
        ("mount -o remount,bind,rw /mnt/below; touch /mnt/below/x", "touch: /mnt/below/x: Read-only file system"),
        ("umount /mnt/below; ls /mnt/below/hidden", "ls: /mnt/below/hidden: No such file or directory"),
        ("umount -l /mnt/below; ls /mnt/below/hidden", "ls: /mnt/below/hidden: No such file or directory"),
    ] {
        let out = refused(&sandbox, "strict", "rbind", attack);
        assert!(out.stderr.contains(expected), "{attack}: {out:#?}");
    }
}

/// Each word for the mount, and its `r` form for the mounts below as well.
#[test]
fn propagation_words() {
    if !root() {
        return;
    }
    let sandbox = with_shared_mounts();
    let dir = sandbox.path("volume").to_string_lossy().into_owned();
    fs::create_dir(&dir).unwrap();
    within(&sandbox, &["mount", "-t", "tmpfs", "t", &dir]);
    within(&sandbox, &["mkdir", &format!("{dir}/below")]);
    within(&sandbox, &["mount", "-t", "tmpfs", "t", &format!("{dir}/below")]);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
    // the root is a slave of the host's, which is what nothing else is said of
    let rows = [
        ("rbind", "master:", "master:"),
        ("rbind private", "", "master:"),
        ("rbind rprivate", "", ""),
        ("rbind slave", "master:", "master:"),
        ("rbind rslave", "master:", "master:"),
        ("rbind shared", "shared:", "master:"),
        ("rbind rshared", "shared:", "shared:"),
        ("rbind unbindable", "unbindable", "master:"),
        ("rbind runbindable", "unbindable", "unbindable"),
        ("rbind rprivate shared", "shared:", ""),
    ];
    for (i, (options, ..)) in rows.iter().enumerate() {
        add(&mut config, &format!("/mnt/{i}"), "none", &dir, &words(options));
    }
    let new = [("shared", "shared:"), ("unbindable", "unbindable"), ("private", ""), ("rslave", "")];
    for (i, (option, _)) in new.iter().enumerate() {
        add(&mut config, &format!("/mnt/new/{i}"), "tmpfs", "t", &[option]);
        add(&mut config, &format!("/mnt/filled/{i}"), "tmpfs", "t", &["tmpcopyup", option]);
    }
    sandbox.write(&config);
    let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
    let verify = |point: &str, expected: &str, context: &str| {
        let mount = mount_on(&out, point);
        let tags = mount.propagation.join(" ");
        let fits = if expected.is_empty() { tags.is_empty() } else { tags.contains(expected) };
        assert!(fits, "{context}: {expected:?}: {mount:?}");
    };
    for (i, (options, own, below)) in rows.iter().enumerate() {
        verify(&format!("/mnt/{i}"), own, options);
        verify(&format!("/mnt/{i}/below"), below, options);
    }
    for (i, (option, expected)) in new.iter().enumerate() {
        verify(&format!("/mnt/new/{i}"), expected, option);
        verify(&format!("/mnt/filled/{i}"), expected, option);
    }
    sandbox.assert_clean();
}

/// New options for a mount of the container, and of nothing else: neither of the source of a bind, nor through a symlink.
#[test]
fn remount() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("volume")).unwrap();
    let volume = sandbox.path("volume").to_string_lossy().into_owned();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
    add(&mut config, "/mnt/bind", "bind", &volume, &["bind", "nosuid", "noexec"]);
    add(&mut config, "/mnt/bind", "none", "", &["bind", "remount", "ro", "nodev", "noatime"]);
    add(&mut config, "/mnt/tmpfs", "tmpfs", "t", &["nosuid", "size=1m"]);
    add(&mut config, "/mnt/tmpfs", "tmpfs", "t", &["remount", "nodev", "size=2m"]);
    add(&mut config, "/sys", "none", "none", &["bind", "remount", "ro", "nosuid", "private"]);
    sandbox.write(&config);
    let out = sandbox.run_ok();
    verify(&out, "/mnt/bind", "ro nodev noatime !nosuid !noexec", "bind");
    verify(&out, "/mnt/tmpfs", "nodev !nosuid sb:size=2048k", "tmpfs");
    verify(&out, "/sys", "ro nosuid !nodev", "sys");
    assert_eq!(out.stdout.matches(" /mnt/").count(), 2, "{out:#?}");
    fs::write(sandbox.path("volume/file"), "").unwrap();
    // an image that turns it to another mount is refused, and so is what is no mount
    symlink("/sys", sandbox.rootfs().join("link")).unwrap();
    for (destination, error) in
        [("/link", "too many levels"), ("/etc", "invalid argument"), ("/nonesuch", "no such file")]
    {
        for options in [&["bind", "remount", "rw"][..], &["remount", "rw"]] {
            let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
            add(&mut config, destination, "none", "", options);
            sandbox.write(&config);
            let out = sandbox.verb(&["run"]).run();
            let told = out.stderr.contains("error remounting") && out.stderr.contains(error);
            assert!(out.code == Some(1) && told, "{destination} {options:?}: {out:#?}");
        }
    }
    sandbox.assert_clean();
}

/// What is missing is made, files as 0644 and directories as 0755, and a symlink is followed inside the root.
#[test]
fn mountpoints() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "content\n").unwrap();
    let file = sandbox.path("file").to_string_lossy().into_owned();
    symlink("/run", sandbox.rootfs().join("var/run")).unwrap();
    symlink("../../../../../../tmp/target", sandbox.rootfs().join("up")).unwrap();
    let script = "cat /new/deep/file /up /run/through relative/file; grep -c ' /run/t ' /proc/self/mountinfo";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    add(&mut config, "/new/deep/file", "bind", &file, &["bind"]);
    add(&mut config, "/up", "bind", &file, &["bind", "ro"]);
    add(&mut config, "/var/run/through", "bind", &file, &["bind"]);
    add(&mut config, "/var/run/t", "tmpfs", "t", &[]);
    add(&mut config, "relative/file", "bind", &file, &["bind"]);
    sandbox.write(&config);
    let out = sandbox.run_ok();
    assert_eq!(out.stdout, "content\ncontent\ncontent\ncontent\n1\n", "{out:#?}");
    assert!(out.stderr.contains("mounts[7].destination") && out.stderr.contains("should be absolute"), "{out:#?}");
    let mode = |path: &str| fs::symlink_metadata(sandbox.rootfs().join(path)).unwrap().mode();
    for (path, expected) in [
        ("new/deep/file", 0o100_644),
        ("new/deep", 0o040_755),
        ("new", 0o040_755),
        ("tmp/target", 0o100_644),
        ("run/through", 0o100_644),
        ("run/t", 0o040_755),
        ("relative/file", 0o100_644),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
    sandbox.assert_clean();
}

/// Data goes to the file system, whichever it is.
#[test]
fn data_of_disks_and_overlays() {
    if !root() {
        return;
    }
    for (fstype, megabytes, options, expected) in [
        ("ext4", 16, "acl data=writeback nodev", "nodev sb:data=writeback"),
        ("ext4", 16, "nodelalloc ro", "ro sb:ro sb:nodelalloc"),
        ("btrfs", 120, "compress=zstd subvol=/ noatime", "noatime sb:compress=zstd:3"),
        ("xfs", 320, "sync nodiratime", "nodiratime sb:sync"),
    ] {
        let sandbox = Sandbox::new();
        let Some(disk) = Disk::new(&sandbox, fstype, megabytes) else { continue };
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "touch /mnt/file; ls /mnt; cat /proc/self/mountinfo");
        add(&mut config, "/mnt", fstype, &disk.device, &words(options));
        sandbox.write(&config);
        let out = sandbox.run_ok();
        verify(&out, "/mnt", expected, &format!("{fstype} {options}"));
        assert_eq!(out.stdout.contains("file\n"), !options.contains("ro"), "{fstype} {options}: {out:#?}");
        sandbox.assert_clean();
    }
    let sandbox = Sandbox::new();
    for dir in ["lower", "a,b", "upper", "work"] {
        fs::create_dir(sandbox.path(dir)).unwrap();
        fs::write(sandbox.path(dir).join(format!("in-{dir}")), "").unwrap();
    }
    fs::remove_file(sandbox.path("work/in-work")).unwrap();
    let dir = sandbox.dir().display();
    let lower = format!("lowerdir={dir}/lower:{dir}/a\\,b");
    let (upper, work) = (format!("upperdir={dir}/upper"), format!("workdir={dir}/work"));
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "touch /mnt/new; ls /mnt");
    add(&mut config, "/mnt", "overlay", "overlay", &[&lower, &upper, &work]);
    sandbox.write(&config);
    assert_eq!(words(&sandbox.run_ok().stdout), ["in-a,b", "in-lower", "in-upper", "new"]);
    assert!(sandbox.path("upper/new").exists() && !sandbox.path("lower/new").exists());
    sandbox.assert_clean();
}

/// In a user namespace whose mounts are copies of somebody else's, some flags stay (mount_namespaces(7)): to ask for them to
/// go is an error that names them, and what was not asked for stays silently.
#[test]
fn locked_flags() {
    if !root() {
        return;
    }
    for (options, expected) in [
        (&["bind", "dev"][..], "cannot clear locked flags nodev"),
        (&["bind", "ro", "suid", "dev"], "cannot clear locked flags nodev nosuid"),
        (&["rbind", "rdev"], "cannot clear locked flags nodev"),
        (&["bind", "relatime"], "cannot change locked atime flags"),
        (&["bind", "ro"], ""),
        (&["bind", "noexec"], ""),
        (&["bind"], ""),
    ] {
        let sandbox = Sandbox::with_view(View::User(1000));
        let volume = sandbox.path("volume").to_string_lossy().into_owned();
        fs::create_dir(&volume).unwrap();
        let mut config = bundle::minimal("", "cat /proc/self/mountinfo");
        config["linux"] = json!({
            "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "pid" }, { "type": "uts" }],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
            "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
        });
        config["mounts"].as_array_mut().unwrap().truncate(2);
        crate::namespaces::own_directories(&sandbox, 1000);
        add(&mut config, "/mnt", "bind", &volume, options);
        sandbox.write(&config);
        let script = format!("mount -t tmpfs -o nodev,nosuid,noatime t {volume} && exec \"$@\"");
        let out = sandbox.verb(&["run"]).shell(&script).wrapped(&["unshare", "-m", "--propagation", "private"]).run();
        if expected.is_empty() {
            assert_eq!(out.code, Some(0), "{options:?}: {out:#?}");
            verify(&out, "/mnt", "nodev nosuid noatime", &format!("{options:?}"));
        } else {
            let told = out.stderr.contains(expected) && out.stderr.contains("mounts[2]");
            assert!(out.code == Some(1) && told, "{options:?}: {out:#?}");
        }
        sandbox.assert_clean();
    }
}

/// A label without SELinux: the container runs, and its maker is told.
#[test]
fn labels_without_selinux() {
    if !root() || std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "grep -c context /proc/self/mountinfo");
    config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
    config["linux"]["maskedPaths"] = json!(["/proc/scsi"]);
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    assert_eq!(out.stdout, "0\n", "{out:#?}");
    assert!(out.stderr.contains("linux.mountLabel: not applied: selinux is disabled or not supported"), "{out:#?}");
    sandbox.assert_clean();
}

/// What no kernel or no rule of ours lets through, and where the error says it is.
#[test]
fn what_is_refused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.dir().to_string_lossy().into_owned();
    for (destination, fstype, source, options, at, says) in [
        ("/", "tmpfs", "t", &[][..], "mounts[3].destination", "is on the top of rootfs"),
        ("/mnt/..", "bind", "/etc", &["bind"], "mounts[3].destination", "is on the top of rootfs"),
        ("/mnt", "tmpfs", "t", &["X-mount.mkdir=1"], "mounts[3]", "Unknown parameter 'X-mount.mkdir'"),
        ("/mnt", "tmpfs", "t", &["rO"], "mounts[3]", "Unknown parameter 'rO'"),
        ("/mnt", "tmpfs", "t", &["tmpcopyup", "bogus"], "mounts[3]", "Unknown parameter 'bogus'"),
        ("/mnt", "", "t", &[], "mounts[3].type", "must be given"),
        ("/mnt", "nonesuch", "t", &[], "mounts[3]", "no such device"),
        ("/mnt", "bind", "/nonesuch", &["bind"], "mounts[3].source", "no such file or directory"),
        ("/mnt", "bind", dir.as_str(), &["tmpcopyup"], "mounts[3].options", "for file systems of type tmpfs only"),
        ("/m\0nt", "tmpfs", "t", &[], "mounts[3].destination", "mount field contains null byte"),
        ("/mnt", "tmpfs", "t\0", &[], "mounts[3].source", "mount field contains null byte"),
        ("/mnt", "tmpfs", "t", &["size=1\0"], "mounts[3].options", "mount field contains null byte"),
        ("/proc/sys", "tmpfs", "t", &[], "mounts[3].destination", "cannot be mounted because it is inside /proc"),
        ("/proc", "tmpfs", "t", &[], "mounts[3].type", "cannot be mounted because it is not of type proc"),
        ("/proc", "bind", "/etc", &["bind"], "mounts[3]", "cannot be mounted because it is not of type proc"),
    ] {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        add(&mut config, destination, fstype, source, options);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let told = out.stderr.contains(at) && out.stderr.contains(says);
        assert!(out.code == Some(1) && told, "{destination} {fstype} {options:?}: {out:#?}");
        sandbox.assert_clean();
    }
}
