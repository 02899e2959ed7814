//! `linux.devices` (contract 4.3): every type, where it may be, and what is there already.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::namespaces::in_user_namespace;
use crate::support::{Sandbox, bundle, host, root};

fn config(sandbox: &Sandbox, script: &str, devices: Value) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["devices"] = devices;
    config
}

/// /dev is a directory of the image then.
fn without_dev(mut config: Value) -> Value {
    config["mounts"].as_array_mut().unwrap().remove(1);
    config
}

fn node(path: &Path, kind: &str, numbers: &[&str]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let path = path.to_string_lossy();
    host("mknod", &[&[&*path, kind], numbers].concat());
}

#[track_caller]
fn refused(sandbox: &Sandbox, config: &Value, says: &[&str]) {
    sandbox.write(config);
    let out = sandbox.verb(&["create"]).run();
    assert_eq!(out.code, Some(1), "{out:#?}");
    let text = out.stderr.replace('\\', "");
    assert!(says.iter().all(|part| text.contains(part)), "{says:?}: {out:#?}");
    sandbox.assert_clean();
}

/// Types, modes (what a mode says of the type does not count), owners, directories on the way, places outside of /dev.
#[test]
fn every_type() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let devices = json!([
        { "path": "/dev/char", "type": "c", "major": 10, "minor": 300, "fileMode": 0o640, "uid": 5, "gid": 6 },
        { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 7 },
        { "path": "/dev/block", "type": "b", "major": 4095, "minor": 1_048_575, "fileMode": 0o020_600 },
        { "path": "/dev/pipe", "type": "p", "fileMode": 0o4622, "gid": 7 },
        { "path": "/dev/pipe2", "type": "p", "major": 9, "minor": 9 },
        { "path": "/dev/deep/er/node", "type": "c", "major": 1, "minor": 3 },
        { "path": "/opt/x/../node", "type": "c", "major": 1, "minor": 3, "fileMode": 0 },
        { "path": "/dev/ptmx", "type": "c", "major": 1, "minor": 3 },
    ]);
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' char unbuffered block pipe pipe2 deep/er/node deep deep/er \
        /opt/node; readlink ptmx; : </dev/unbuffered; echo a >/dev/deep/er/node; echo $?";
    sandbox.write(&config(&sandbox, script, devices));
    let expected = "char character special file a:12c 640 5:6\n\
        unbuffered character special file 1:7 666 0:0\n\
        block block special file fff:fffff 600 0:0\n\
        pipe fifo 0:0 4622 0:7\n\
        pipe2 fifo 0:0 666 0:0\n\
        deep/er/node character special file 1:3 666 0:0\n\
        deep directory 0:0 755 0:0\n\
        deep/er directory 0:0 755 0:0\n\
        /opt/node character special file 1:3 0 0:0\n\
        pts/ptmx\n0\n";
    assert_eq!(sandbox.run_ok().stdout, expected);
    sandbox.assert_clean();
}

#[test]
fn types_that_are_none() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for kind in ["a", "x", "C", "cc"] {
        let devices = json!([{ "path": "/dev/x", "type": kind, "major": 1, "minor": 3 }]);
        let says = format!("invalid device type \"{kind}\"");
        refused(&sandbox, &config(&sandbox, "true", devices), &["linux.devices[0].type", &says]);
    }
}

/// A node of the image that is the one asked for is used, and has the owner and mode that were asked for.
#[test]
fn nodes_that_are_there() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for (name, kind, numbers) in [
        ("char", "c", ["1", "5"].as_slice()),
        ("block", "b", &["7", "9"]),
        ("pipe", "p", &[]),
        ("tty", "c", &["5", "0"]),
    ] {
        node(&sandbox.rootfs().join("dev").join(name), kind, numbers);
    }
    host("chown", &["3:4", &sandbox.rootfs().join("dev/tty").to_string_lossy()]);
    host("chmod", &["601", &sandbox.rootfs().join("dev/tty").to_string_lossy()]);
    let devices = json!([
        { "path": "/dev/char", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600 },
        { "path": "/dev/block", "type": "b", "major": 7, "minor": 9, "fileMode": 0o660, "uid": 1, "gid": 2 },
        { "path": "/dev/pipe", "type": "p", "uid": 8 },
    ]);
    let script = "cd /dev; stat -c '%n %t:%T %a %u:%g' char block pipe tty";
    sandbox.write(&without_dev(config(&sandbox, script, devices)));
    // a default one is whoever's it was: on a devtmpfs it would be the host's
    let expected = "char 1:5 600 0:0\nblock 7:9 660 1:2\npipe 0:0 666 8:0\ntty 5:0 601 3:4\n";
    for _ in 0..2 {
        assert_eq!(sandbox.run_ok().stdout, expected);
    }
    sandbox.assert_clean();
}

#[test]
fn other_things_that_are_there() {
    if !root() {
        return;
    }
    let asked = json!([{ "path": "/dev/odd", "type": "c", "major": 1, "minor": 3, "uid": 9 }]);
    let whiteout = json!([{ "path": "/dev/odd", "type": "c", "major": 0, "minor": 0 }]);
    let pipe = json!([{ "path": "/dev/odd", "type": "p" }]);
    type Make = fn(&Path);
    let cases: [(Make, &Value); 8] = [
        (|p| node(p, "c", &["1", "5"]), &asked),
        (|p| node(p, "b", &["1", "3"]), &asked),
        (|p| node(p, "p", &[]), &asked),
        (|p| fs::write(p, "").unwrap(), &asked),
        (|p| fs::create_dir(p).unwrap(), &asked),
        (|p| symlink("null", p).unwrap(), &asked),
        (|p| node(p, "c", &["1", "5"]), &whiteout),
        (|p| fs::write(p, "").unwrap(), &pipe),
    ];
    for (make, devices) in cases {
        let sandbox = Sandbox::new();
        make(&sandbox.rootfs().join("dev/odd"));
        let config = without_dev(config(&sandbox, "true", devices.clone()));
        let says =
            ["error creating device nodes: /dev/odd: linux.devices[0]: mknodat: exists with another type or number"];
        refused(&sandbox, &config, &says);
    }
}

/// In a user namespace nodes are the host's, and are looked at: /dev/fuse must not become what the host has there.
#[test]
fn nodes_of_the_host() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let made = |devices: Value| {
        let mut config = config(&sandbox, "cd /dev; stat -c '%n %F %t:%T' zero pipe; stat -c %a:%u pipe", devices);
        in_user_namespace(&sandbox, &mut config);
        config
    };
    let zero = json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 5 });
    sandbox.write(&made(json!([zero, { "path": "/dev/pipe", "type": "p", "fileMode": 0o600, "uid": 1000 }])));
    assert_eq!(sandbox.run_ok().stdout, "zero character special file 1:5\npipe fifo 0:0\n600:1000\n");
    let place = "error creating device nodes: /dev/zero: linux.devices[0]: ";
    let other = format!("{place}the host has something of another type or number there");
    let wrong = [
        json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 3 }),
        json!({ "path": "/dev/zero", "type": "b", "major": 1, "minor": 5 }),
    ];
    for device in wrong {
        refused(&sandbox, &made(json!([device])), &[&other]);
    }
    let missing = json!([{ "path": "/dev/nonesuch", "type": "c", "major": 1, "minor": 3 }]);
    refused(&sandbox, &made(missing), &["/dev/nonesuch", "no such file or directory"]);
}

/// Where the image's /dev, or a directory in it, is a symlink within the image, that is where nodes are made. (What leads
/// out of it: security.rs.)
#[test]
fn symlinks_within_the_image() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.rootfs().join("dev")).unwrap();
    fs::create_dir_all(sandbox.rootfs().join("opt/dev")).unwrap();
    symlink("/opt/dev", sandbox.rootfs().join("dev")).unwrap();
    symlink("../../../../../opt", sandbox.rootfs().join("opt/dev/up")).unwrap();
    let devices = json!([
        { "path": "/dev/made", "type": "c", "major": 1, "minor": 3 },
        { "path": "/dev/up/made", "type": "p" },
    ]);
    sandbox.write(&without_dev(config(&sandbox, "stat -c '%n %F' /opt/dev/made /opt/made /opt/dev/null", devices)));
    let expected = "/opt/dev/made character special file\n/opt/made fifo\n/opt/dev/null character special file\n";
    assert_eq!(sandbox.run_ok().stdout, expected);
    sandbox.assert_clean();
}

/// A symlink must not lead a node of the host's over a part of procfs.
#[test]
fn nodes_over_procfs() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    symlink("/proc/sys/kernel/core_pattern", sandbox.rootfs().join("dev/zero")).unwrap();
    let mut config = without_dev(config(&sandbox, "true", json!([])));
    in_user_namespace(&sandbox, &mut config);
    refused(&sandbox, &config, &["/dev/zero", "cannot be mounted because it is inside /proc"]);
}
