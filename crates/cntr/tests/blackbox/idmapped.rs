//! Mounts whose ids are translated: binds and whole file systems, with maps of their own and with those of the container.
//! On disk an id is `containerID`, in the mount it is `hostID`; seen from a user namespace that maps it, it is `containerID`
//! again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};

use crate::namespaces::{in_user_namespace, with_shared_mounts, within};
use crate::support::{Output, Sandbox, View, bundle, have, host, read, root, words};

/// `size` ids from 0 of the disk are those from `to` of the mount.
fn map(to: u32, size: u32) -> Value {
    json!([{ "containerID": 0, "hostID": to, "size": size }])
}

fn mount(config: &mut Value, fstype: &str, source: impl AsRef<Path>, options: &[&str], maps: Option<Value>) {
    let mut mount = json!({ "destination": "/mnt", "type": fstype, "source": source.as_ref(), "options": options });
    if let Some(maps) = maps {
        mount["uidMappings"] = maps.clone();
        mount["gidMappings"] = maps;
    }
    bundle::set(config, "/mounts/-", Some(mount));
}

/// A directory with files whose names are their owners.
fn owned(sandbox: &Sandbox) -> std::path::PathBuf {
    let dir = sandbox.path("owned");
    fs::create_dir(&dir).unwrap();
    for id in [0, 5, 20] {
        fs::write(dir.join(id.to_string()), "").unwrap();
        chown(dir.join(id.to_string()), Some(id), Some(id)).unwrap();
    }
    dir
}

#[track_caller]
fn ran(sandbox: &Sandbox, config: &Value) -> Output {
    sandbox.write(config);
    let out = sandbox.run_ok();
    sandbox.assert_clean();
    out
}

const OWNERS: &str = "cd /mnt; for f in 0 5 20; do echo $f $(stat -c %u:%g $f); done";

/// With the word and without it; a user namespace of the container does not come into it.
#[test]
fn a_bind_with_maps_of_its_own() {
    if !root() {
        return;
    }
    for options in [&["bind"][..], &["bind", "idmap"], &["rbind", "ridmap"], &["rbind", "ro", "idmap", "noexec"]] {
        let sandbox = Sandbox::new();
        let dir = owned(&sandbox);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), &format!("{OWNERS}; touch new; true"));
        config["process"]["user"] = json!({ "uid": 1002, "gid": 1003 });
        mount(&mut config, "bind", &dir, options, Some(map(1000, 10)));
        let out = ran(&sandbox, &config);
        let expected = "0 1000:1000\n5 1005:1005\n20 65534:65534\n";
        assert!(out.stdout.starts_with(expected), "{options:?}: {out:#?}");
        let new = fs::metadata(dir.join("new"));
        if options.contains(&"ro") {
            assert!(new.is_err() && out.stderr.contains("Read-only file system"), "{out:#?}");
        } else {
            assert_eq!(new.map(|m| (m.uid(), m.gid())).unwrap(), (2, 3), "{options:?}: {out:#?}");
        }
    }
}

/// Only the mount itself, or those below it too.
#[test]
fn the_mounts_below() {
    if !root() {
        return;
    }
    for (options, below) in
        [(&["rbind", "idmap"][..], "0"), (&["rbind", "ridmap"], "1000"), (&["rbind"], "0"), (&["bind", "idmap"], "")]
    {
        let sandbox = with_shared_mounts();
        let dir = owned(&sandbox);
        fs::create_dir(dir.join("below")).unwrap();
        within(&sandbox, &["mount", "-t", "tmpfs", "below", &dir.join("below").to_string_lossy()]);
        within(&sandbox, &["touch", &dir.join("below/file").to_string_lossy()]);
        let mounts = || read(format!("/proc/{}/mountinfo", sandbox.host_pid()));
        let before = mounts();
        let script = "stat -c %u /mnt/0 /mnt/below/file 2>&1";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        mount(&mut config, "bind", &dir, options, Some(map(1000, 10)));
        sandbox.write(&config);
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
        let found = words(&out.stdout);
        assert_eq!(found[0], "1000", "{options:?}: {out:#?}");
        assert!(if below.is_empty() { found.len() > 2 } else { found[1..] == [below] }, "{options:?}: {out:#?}");
        // crun 1.28: the mapped copy came up on the host
        assert_eq!(mounts(), before, "{options:?}");
        sandbox.assert_clean();
    }
}

/// Without maps, those of the container's user namespace: new, or joined.
#[test]
fn the_maps_of_the_container() {
    if !root() {
        return;
    }
    for joined in [false, true] {
        let sandbox = Sandbox::new();
        let dir = owned(&sandbox);
        let holder = Sandbox::new();
        let mut config =
            bundle::minimal(&sandbox.cgroups_path(), &format!("{OWNERS}; touch new; cat /proc/self/uid_map"));
        in_user_namespace(&sandbox, &mut config);
        if joined {
            let mut held = bundle::minimal(&holder.cgroups_path(), "true");
            in_user_namespace(&holder, &mut held);
            holder.write(&held);
            holder.verb(&["create"]).ok();
            let last = config["linux"]["namespaces"].as_array().unwrap().len() - 1;
            config["linux"]["namespaces"][last]["path"] = json!(format!("/proc/{}/ns/user", holder.pid()));
            for list in ["uidMappings", "gidMappings"] {
                config["linux"].as_object_mut().unwrap().remove(list);
            }
        }
        mount(&mut config, "none", &dir, &["rbind", "idmap"], None);
        let out = ran(&sandbox, &config);
        assert_eq!(words(&out.stdout), words("0 0:0 5 5:5 20 20:20 0 100000 65536"), "{joined}: {out:#?}");
        assert_eq!(fs::metadata(dir.join("new")).unwrap().uid(), 0);
    }
}

/// Mode of the mountpoint, attributes and options are as without a mapping; read-only comes late.
#[test]
fn a_tmpfs() {
    if !root() {
        return;
    }
    for user in [false, true] {
        let sandbox = Sandbox::new();
        let script = "stat -c '%u %a' /mnt; grep ' /mnt' /proc/self/mountinfo; touch /mnt/x; ls -A /mnt";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        if user {
            in_user_namespace(&sandbox, &mut config);
        }
        fs::set_permissions(sandbox.rootfs().join("mnt"), fs::Permissions::from_mode(0o2711)).unwrap();
        let options = ["idmap", "nosuid", "noatime", "sync", "size=1m", "ro"];
        mount(&mut config, "tmpfs", "t", &options, Some(map(100_000, 1000)));
        if user {
            // made before it is read-only
            let made = json!({ "destination": "/mnt/made", "type": "tmpfs", "source": "t" });
            bundle::set(&mut config, "/mounts/-", Some(made));
        }
        let out = ran(&sandbox, &config);
        let owner = if user { "0 2711" } else { "100000 2711" };
        assert_eq!(out.stdout.lines().next(), Some(owner), "{out:#?}");
        assert_eq!(out.stdout.ends_with("\nmade\n"), user, "{out:#?}");
        assert!(out.stderr.contains("Read-only"), "{out:#?}");
        let line = out.stdout.lines().find(|l| l.contains(" /mnt ")).unwrap();
        for word in ["nosuid", "noatime", "idmapped", "sync", "size=1024k"] {
            assert!(line.contains(word), "{word}: {line}");
        }
    }
}

/// A disk image on a loop device, as long as this lives.
pub(crate) struct Disk {
    pub device: String,
}

impl Disk {
    pub fn new(sandbox: &Sandbox, fstype: &str, megabytes: u64) -> Option<Self> {
        let mkfs = format!("mkfs.{fstype}");
        if !have(&mkfs) || !have("losetup") {
            return None;
        }
        let image = sandbox.path(fstype);
        fs::File::create_new(&image).unwrap().set_len(megabytes << 20).unwrap();
        let image = image.to_string_lossy();
        host(&mkfs, &["-q", &image]);
        let device = host("losetup", &["--find", "--show", &image]).trim().to_owned();
        Some(Disk { device })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// A disk that belongs to root is usable in a user namespace, which could not even mount it.
#[test]
fn whole_file_systems() {
    if !root() {
        return;
    }
    for (fstype, megabytes) in [("ext4", 16), ("btrfs", 120), ("xfs", 320)] {
        let sandbox = Sandbox::new();
        let Some(disk) = Disk::new(&sandbox, fstype, megabytes) else { continue };
        let script =
            "stat -c %u /mnt; touch /mnt/x-$1; stat -c %u /mnt/x-$1; grep ' /mnt ' /proc/self/mountinfo; ls /mnt";
        for (name, user) in [("own", false), ("user", true)] {
            let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
            config["process"]["args"] = json!(["/bin/sh", "-c", script, "sh", name]);
            if user {
                in_user_namespace(&sandbox, &mut config);
                mount(&mut config, fstype, &disk.device, &["idmap", "nodev"], None);
            } else {
                mount(
                    &mut config,
                    fstype,
                    &disk.device,
                    &["nodev"],
                    Some(json!([
                        { "containerID": 0, "hostID": 7, "size": 1 }, { "containerID": 1, "hostID": 0, "size": 1 }
                    ])),
                );
            }
            let out = ran(&sandbox, &config);
            let owners = if user { "0\n0\n" } else { "7\n0\n" };
            assert!(out.stdout.starts_with(owners), "{fstype} {name}: {out:#?}");
            assert!(out.stdout.contains("idmapped") && out.stdout.contains("nodev"), "{fstype} {name}: {out:#?}");
        }
        // What is on the disk are the ids of the other side.
        let look = format!("mount {} /mnt && stat -c '%n %u' /mnt/x-*", disk.device);
        let found = host("unshare", &["-m", "--propagation", "private", "sh", "-c", &look]);
        assert_eq!(words(&found), words("/mnt/x-own 1 /mnt/x-user 0"), "{fstype}");
    }
}

#[test]
fn what_cannot_be_mapped() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = owned(&sandbox);
    let refused = |expected: &str, edit: &dyn Fn(&mut Value)| {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        edit(&mut config);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let text = out.stderr.replace('\\', "");
        assert!(out.code == Some(1) && text.contains(expected), "{expected}: {out:#?}");
        sandbox.assert_clean();
    };
    let hint = "invalid argument (maybe the filesystem used doesn't support idmap mounts on this kernel?)";
    refused(&format!("mounts[3].source: failed to set MOUNT_ATTR_IDMAP on /proc: {hint}"), &|c| {
        mount(c, "bind", "/proc", &["bind"], Some(map(1000, 10)));
    });
    // ramfs cannot, and neither can an overlay itself (its layers can)
    refused(&format!("failed to set MOUNT_ATTR_IDMAP on r: {hint}"), &|c| {
        mount(c, "ramfs", "r", &["idmap"], Some(map(1000, 10)));
    });
    refused(&format!("failed to set MOUNT_ATTR_IDMAP on o: {hint}"), &|c| {
        let lower = format!("lowerdir={}:{}", dir.display(), sandbox.rootfs().display());
        mount(c, "overlay", "o", &["idmap", &lower], Some(map(1000, 10)));
    });
    refused("Unknown parameter 'bogus'", &|c| mount(c, "tmpfs", "t", &["idmap", "bogus=1"], Some(map(1000, 10))));
    refused("nonesuch", &|c| mount(c, "bind", "/nonesuch", &["bind"], Some(map(1000, 10))));
    refused("id-mapped mounts must have both uid and gid mappings specified", &|c| {
        mount(c, "bind", &dir, &["bind", "idmap"], None);
    });
    refused("a file system of type \"mqueue\" cannot be id-mapped", &|c| {
        mount(c, "mqueue", "mqueue", &[], Some(map(1000, 10)));
    });
    refused("mappings are taken from uidMappings and gidMappings", &|c| {
        mount(c, "bind", &dir, &["bind", "idmap=uids=0-1-10;gids=0-1-10"], None);
    });
}

#[test]
fn an_ordinary_user_is_refused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(1000));
    let mut config = bundle::minimal("", "true");
    config["linux"] = json!({
        "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "pid" }, { "type": "uts" }],
        "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
        "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
    });
    mount(&mut config, "bind", "/usr", &["bind", "idmap"], None);
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    let text = "mounts[3].options: id-mapped mounts are not supported for rootless containers";
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    sandbox.assert_clean();
}

/// A mapped bind of a volume does not lead out, whatever the image put at its mountpoint.
#[test]
fn a_hostile_mountpoint() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = owned(&sandbox);
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir(sandbox.rootfs().join("mnt")).unwrap();
    std::os::unix::fs::symlink(&outside, sandbox.rootfs().join("mnt")).unwrap();
    let before = fs::metadata(&outside).unwrap();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "stat -c %u /mnt/0");
    mount(&mut config, "bind", &dir, &["bind"], Some(map(1000, 10)));
    let out = ran(&sandbox, &config);
    assert_eq!(out.stdout, "1000\n");
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "stat -c %u /mnt/.");
    mount(&mut config, "tmpfs", "t", &["idmap", "tmpcopyup"], Some(map(1000, 10)));
    assert_eq!(ran(&sandbox, &config).stdout, "1000\n");
    let after = fs::metadata(&outside).unwrap();
    assert_eq!((before.mtime(), before.ctime(), before.mode()), (after.mtime(), after.ctime(), after.mode()));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}
