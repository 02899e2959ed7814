//! Mounts of containers that have no mount namespace of their own (libcontain's `plan/apart.rs`).

use serde_json::json;

use crate::support::{Sandbox, View, bundle, read, root, wait_for};

/// Mounts without a mount namespace: the container's is the runtime's, and still nobody else has them. (runc leaves them on
/// the host.) They are there for an exec as well, and end with the container.
#[test]
fn mounts_without_a_mount_namespace() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let host = |file: &str| format!("/proc/{}/{file}", sandbox.host_pid());
    let before = read(host("mountinfo"));
    let script = "readlink /proc/self/ns/mnt; echo x >/dev/null && echo $(ls -d /dev/pts/ptmx /dev/zero /..); \
        cd /dev/shm && echo made >file; ls /mnt; exec sleep 1000";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "mount");
    config["mounts"] = json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid", "mode=755"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm" },
        { "destination": "/mnt", "type": "bind", "source": sandbox.bundle(), "options": ["rbind", "ro"] },
    ]);
    sandbox.write(&config);
    let created = sandbox.verb(&["create", "--bundle", &sandbox.bundle().to_string_lossy()]).ok();
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || read(&created.stdout_file).contains("config.json").then_some(()));
    let namespace = std::fs::read_link(host("ns/mnt")).unwrap();
    let expected = format!("{}\n/.. /dev/pts/ptmx /dev/zero\nconfig.json\nrootfs\n", namespace.display());
    assert_eq!(read(&created.stdout_file), expected);
    assert_eq!(read(host("mountinfo")), before, "mounts of the host");
    let exec = |script: &str| sandbox.cntr(&["exec", &sandbox.id, "sh", "-c", script]).run();
    let out = exec("cat /dev/shm/file; touch /dev/x || ls /mnt");
    assert_eq!(out.stdout, "made\nconfig.json\nrootfs\n", "{out:#?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:#?}");
    sandbox.verb(&["delete", "--force"]).ok();
    assert_eq!(read(host("mountinfo")), before, "mounts of the host, in the end");
    sandbox.assert_clean();
}

/// Its root is read-only for the container, and as it was for everybody else; with mounts and without. (runc leaves it
/// writable.)
#[test]
fn a_readonly_root_without_a_mount_namespace() {
    if !root() {
        return;
    }
    for mounts in [json!([]), json!([{ "destination": "/mnt", "type": "tmpfs", "source": "t" }])] {
        let sandbox = Sandbox::with_view(View::Pids);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "touch /x; touch /mnt/x && echo mounted");
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "mount");
        config["root"]["readonly"] = true.into();
        config["mounts"] = mounts.clone();
        sandbox.write(&config);
        let before = read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
        assert!(out.stderr.contains("touch: /x: Read-only file system"), "{out:#?}");
        assert_eq!(out.stdout == "mounted\n", mounts != json!([]), "{out:#?}");
        assert_eq!(read(format!("/proc/{}/mountinfo", sandbox.host_pid())), before);
        std::fs::write(sandbox.rootfs().join("x"), "").unwrap();
        sandbox.assert_clean();
    }
}

/// They are made only by who may come back from where they are made, and only if they can be copied.
#[test]
fn mounts_that_need_a_mount_namespace() {
    if !root() {
        return;
    }
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
    let mapped = json!({ "namespaces": [{ "type": "user" }], "uidMappings": map, "gidMappings": map });
    let table = [
        (mapped, json!(["nosuid"]), "mounts: mounts need a mount namespace"),
        (json!({}), json!(["unbindable"]), "mounts[0].options: unbindable needs a mount namespace"),
    ];
    for (linux, options, says) in table {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal("", "true");
        config["linux"] = linux;
        config.as_object_mut().unwrap().remove("hostname");
        config["mounts"] = json!([{ "destination": "/mnt", "type": "tmpfs", "source": "x", "options": options }]);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert!(out.code == Some(1) && out.stderr.contains(says), "{out:#?}");
        sandbox.assert_clean();
    }
}
