//! `tmpcopyup`: a tmpfs that begins with what the image has there. The image may be hostile: nothing outside of it is read
//! or changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::namespaces::in_user_namespace;
use crate::security::{canary, unchanged};
use crate::support::{Sandbox, bundle, have, host, root, words};

fn tmpfs(config: &mut Value, options: &[&str]) {
    let mut all = vec!["tmpcopyup"];
    all.extend(options);
    let mount = json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": all });
    bundle::set(config, "/mounts/-", Some(mount));
}

/// Files of every type and with every attribute that is copied. Ids are higher than in the container by `shift`.
fn image(sandbox: &Sandbox, shift: u32) -> std::path::PathBuf {
    let data = sandbox.rootfs().join("data");
    let text = |path: &str| data.join(path).to_string_lossy().into_owned();
    fs::create_dir_all(data.join("sub/deep/er")).unwrap();
    fs::write(data.join("file"), "content\n").unwrap();
    fs::write(data.join("sub/deep/er/program"), "#!/bin/sh\necho ran\n").unwrap();
    fs::hard_link(data.join("file"), data.join("sub/linked")).unwrap();
    symlink("sub/deep", data.join("link")).unwrap();
    symlink("/nonesuch/at/all", data.join("dangling")).unwrap();
    host("mkfifo", &["-m", "604", &text("fifo")]);
    fs::write(data.join("long"), "x".repeat(3 << 20)).unwrap();
    fs::File::options().append(true).open(data.join("long")).unwrap().set_len(64 << 20).unwrap();
    host("chown", &["-hR", &format!("{shift}:{shift}"), &text("")]);
    let owners = [
        ("file", 0o640, 7),
        ("sub/deep/er/program", 0o6755, 8),
        ("sub", 0o1770, 9),
        ("sub/deep", 0o2711, 10),
        ("", 0o751, 11),
    ];
    for (path, mode, id) in owners {
        chown(data.join(path), Some(id + shift), Some(id + 100 + shift)).unwrap();
        fs::set_permissions(data.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::lchown(data.join("link"), Some(12 + shift), Some(112 + shift)).unwrap();
    host("touch", &["-d", "@1000000000", &text("file")]);
    host("touch", &["-d", "@1000000001", &text("sub/deep")]);
    data
}

const LOOK: &str = "cd /data; for f in file sub/linked sub/deep/er/program sub sub/deep link fifo; do
    echo $f $(stat -c '%a %u %g %F' $f); done; cat file; sub/deep/er/program; readlink link; readlink dangling
    stat -c %Y file sub/deep; stat -c %a /data; head -c 3145728 long | tr -d x | wc -c; stat -c '%s' long; du -k long
    echo changed >file; rm -r sub; ls -A";

#[test]
fn what_the_image_has() {
    if !root() {
        return;
    }
    for user in [false, true] {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), LOOK);
        if user {
            in_user_namespace(&sandbox, &mut config);
        }
        let data = image(&sandbox, if user { 100_000 } else { 0 });
        if !user {
            host("mknod", &["-m", "620", &data.join("sub/node").to_string_lossy(), "c", "1", "7"]);
            config["process"]["args"][2] = json!(format!("stat -c '%t:%T %a' /data/sub/node\n{LOOK}"));
        }
        tmpfs(&mut config, &["size=16m", "nosuid"]);
        sandbox.write(&config);
        let out = sandbox.run_ok();
        let mut expected = "file 640 7 107 regular file\nsub/linked 640 7 107 regular file\n\
            sub/deep/er/program 6755 8 108 regular file\nsub 1770 9 109 directory\nsub/deep 2711 10 110 directory\n\
            link 777 12 112 symbolic link\nfifo 604 0 0 fifo\ncontent\nran\nsub/deep\n/nonesuch/at/all\n\
            1000000000\n1000000001\n751\n0\n67108864\n3072\tlong\ndangling\nfifo\nfile\nlink\nlong\n"
            .to_owned();
        if !user {
            expected.insert_str(0, "1:7 620\n");
        }
        assert_eq!(out.stdout, expected, "{user}: {out:#?}");
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "content\n");
        assert!(data.join("sub/deep/er/program").exists());
        sandbox.assert_clean();
    }
}

/// `mode=` wins over the mountpoint's; a mountpoint that is made is empty; read-only comes when all is copied.
#[test]
fn options_beside_it() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    image(&sandbox, 0);
    let mut config = bundle::minimal(
        &sandbox.cgroups_path(),
        "stat -c %a /data; cat /data/file; touch /data/x; ls -A /made | wc -l; grep ' /data ' /proc/self/mountinfo",
    );
    tmpfs(&mut config, &["mode=700", "ro", "noexec", "noatime", "rprivate"]);
    let made = json!({ "destination": "/made", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] });
    bundle::set(&mut config, "/mounts/-", Some(made));
    sandbox.write(&config);
    let out = sandbox.run_ok();
    assert!(out.stdout.starts_with("700\ncontent\n0\n") && out.stderr.contains("Read-only"), "{out:#?}");
    for word in ["ro,", "noexec", "noatime"] {
        assert!(out.stdout.contains(word), "{word}: {out:#?}");
    }
    sandbox.assert_clean();
}

/// A file capability is an extended attribute, which a change of owner would take away.
#[test]
fn extended_attributes() {
    if !root() || !have("setcap") || !have("getcap") {
        return;
    }
    let sandbox = Sandbox::new();
    let data = image(&sandbox, 0);
    let program = data.join("sub/deep/er/program");
    host("setcap", &["cap_net_raw+ep", &program.to_string_lossy()]);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    tmpfs(&mut config, &[]);
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    let copy = format!("/proc/{}/root/data/sub/deep/er/program", sandbox.pid());
    assert!(host("getcap", &[&copy]).contains("cap_net_raw=ep"));
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o7777, 0o6755);
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// Symlinks to the host as entries, as the mountpoint and on the way to it: the links are copied, or followed inside the
/// root, and what they name outside is neither read nor touched.
#[test]
fn symlinks_to_the_host() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    let data = image(&sandbox, 0);
    let target = sandbox.path("canary").to_string_lossy().into_owned();
    symlink(&target, data.join("sub/out")).unwrap();
    symlink("../../../canary/file", data.join("sub/secret")).unwrap();
    let mut config =
        bundle::minimal(&sandbox.cgroups_path(), "cd /data/sub; readlink out; readlink secret; cat secret out/file");
    tmpfs(&mut config, &[]);
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    unchanged(&sandbox, &before, "entries", &out);
    assert_eq!(out.stdout, format!("{target}\n../../../canary/file\n"), "{out:#?}");
    for mountpoint in ["data", "data/sub"] {
        let point = sandbox.rootfs().join(mountpoint);
        fs::create_dir_all(&point).unwrap();
        fs::remove_dir_all(&point).unwrap();
        symlink(&target, &point).unwrap();
        config["mounts"][3]["destination"] = json!(format!("/{mountpoint}/dir"));
        config["process"]["args"][2] = json!("find /data/* | wc -l");
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        unchanged(&sandbox, &before, mountpoint, &out);
        assert!(!out.stdout.contains("content of"), "{out:#?}");
        fs::remove_file(&point).unwrap();
    }
    sandbox.assert_clean();
}

/// As deep as PATH_MAX allows anybody to name: an error, and one that says why. What is less deep is copied.
#[test]
fn deep_trees() {
    if !root() {
        return;
    }
    for (depth, fits) in [(100, true), (128, true), (129, false), (1500, false)] {
        let sandbox = Sandbox::new();
        let data = sandbox.rootfs().join("data");
        let path = vec!["d"; depth].join("/");
        fs::create_dir_all(data.join(&path)).unwrap();
        fs::write(data.join(&path).join("end"), "").unwrap();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "find /data -name end | wc -c");
        tmpfs(&mut config, &[]);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        if fits {
            assert_eq!(out.stdout.trim(), format!("{}", "/data/".len() + path.len() + "/end\n".len()), "{out:#?}");
        } else {
            let text = "tmpcopyup: more than 128 directories in each other";
            assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
        }
        sandbox.assert_clean();
    }
}

/// A directory of many entries, of which many are directories: none is left out or copied twice.
#[test]
fn wide_trees() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let data = sandbox.rootfs().join("data");
    for n in 0..1500 {
        let name = format!("{n:03}-{}", "x".repeat(n % 200));
        if n % 3 == 0 {
            fs::create_dir_all(data.join(&name)).unwrap();
            fs::write(data.join(name).join("f"), n.to_string()).unwrap();
        } else {
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join(name), n.to_string()).unwrap();
        }
    }
    let sums = |dir: &Path| format!("cd {} && find . -type f | sort | xargs cat | cksum", dir.display());
    let expected = host("sh", &["-c", &sums(&data)]);
    let script =
        "cd /data && find . -type f | sort | xargs cat | wc -c; find . -type f | wc -l; find . -type d | wc -l";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    tmpfs(&mut config, &[]);
    sandbox.write(&config);
    let out = sandbox.run_ok();
    assert_eq!(words(&out.stdout), [words(&expected)[1], "1500", "501"], "{out:#?}");
    sandbox.assert_clean();
}

/// More than the tmpfs may hold: the error of the kernel, with the name of the file.
#[test]
fn what_does_not_fit() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    image(&sandbox, 0);
    for options in [&["size=1m"][..], &["nr_inodes=4"]] {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        tmpfs(&mut config, options);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert!(out.code == Some(1) && out.stderr.contains("no space left on device"), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// Somebody exchanges what is copied for a symlink to the host, a FIFO and back, all the while.
#[test]
fn a_tree_that_changes_while_it_is_copied() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    let data = sandbox.rootfs().join("data");
    for n in 0..50 {
        fs::create_dir_all(data.join(format!("{n}"))).unwrap();
        fs::write(data.join(format!("{n}/file")), "inside\n").unwrap();
    }
    symlink(sandbox.path("canary/dir"), data.join("other-dir")).unwrap();
    symlink(sandbox.path("canary/file"), data.join("other-file")).unwrap();
    host("mkfifo", &[&data.join("fifo").to_string_lossy()]);
    let flippers: Vec<_> = (0..50)
        .step_by(7)
        .flat_map(|n| {
            [
                (format!("{n}"), "other-dir"),
                (format!("{}/file", n + 1), "other-file"),
                (format!("{}/file", n + 2), "fifo"),
            ]
        })
        .map(|(name, other)| (data.join(name), data.join(other)))
        .collect();
    let flipper = crate::races::Flipper::new(flippers);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "find /data -type f | xargs cat | sort -u");
    tmpfs(&mut config, &[]);
    sandbox.write(&config);
    for _ in 0..crate::races::rounds() / 4 {
        let out = sandbox.verb(&["run"]).run();
        unchanged(&sandbox, &before, "exchange", &out);
        let told = ["changed its type", "too many levels", "not a directory", "no such file", "no such device"];
        let refused = out.code == Some(1) && told.iter().any(|text| out.stderr.contains(text));
        assert!(refused || (out.code == Some(0) && out.stdout == "inside\n"), "{out:#?}");
        assert!(!out.stdout.contains("content of"), "{out:#?}");
    }
    drop(flipper);
    sandbox.assert_clean();
}
