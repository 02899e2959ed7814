//! Attacks that exchange what a path means while the runtime works: a thread renames two things into each other's place
//! (`RENAME_EXCHANGE`) as fast as it can. CNTR_RACE_ROUNDS says how often a container is tried; by default it is little,
//! so that the tests stay quick. The attacks are those of security.md 2.1.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::security::{Print, canary, unchanged, without_dev};
use crate::support::{Sandbox, bundle, host, root, slow};

/// How many containers are tried per attack.
pub(crate) fn rounds() -> usize {
    std::env::var("CNTR_RACE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100 / slow() as usize)
}

/// Exchanges pairs of paths, as long as it lives.
pub(crate) struct Flipper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flipper {
    pub fn new(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let work = move || {
            let (mut count, mut turns) = (0, 0);
            while !seen.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    count += u64::from(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok());
                }
                turns += 1;
                // On two cores a thread that never sleeps keeps the runtime from getting anywhere.
                std::thread::sleep(std::time::Duration::from_micros(turns % 50));
            }
            count
        };
        Flipper { stop, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for Flipper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.take().and_then(|thread| thread.join().ok());
        assert!(std::thread::panicking() || count.is_some_and(|count| count > 0), "nothing was ever exchanged");
    }
}

/// Runs the bundle again and again, while `pairs` are exchanged: the canary stays as it is, no mount comes up on the host,
/// and what the container says is one of `fine`, or it was refused.
fn race(sandbox: &Sandbox, before: &Print, name: &str, pairs: Vec<(PathBuf, PathBuf)>, fine: &[&str]) {
    let flipper = Flipper::new(pairs);
    let mut ran = 0;
    for round in 0..rounds() {
        let out = sandbox.verb(&["run"]).run();
        unchanged(sandbox, before, name, &out);
        ran += usize::from(out.code == Some(0));
        let told = out.code == Some(0) && fine.contains(&out.stdout.as_str());
        let refused = out.code == Some(1) && out.stdout.is_empty() && out.stderr.contains("level=error");
        assert!(told || refused, "{name}, round {round}: {out:#?}");
        assert!(!out.stdout.contains("content of"), "{name}, round {round}: {out:#?}");
    }
    drop(flipper);
    sandbox.assert_clean();
    assert!(ran > 0, "{name}: nothing was ever made, so nothing was tried");
}

fn add(config: &mut Value, destination: &str, fstype: &str, source: &Path, options: &[&str]) {
    let mount = json!({ "destination": destination, "type": fstype, "source": source, "options": options });
    bundle::set(config, "/mounts/-", Some(mount));
}

/// A sandbox, its canary, and a volume that somebody else can change.
fn shared() -> (Sandbox, Print, PathBuf) {
    let sandbox = Sandbox::new();
    let before = canary(&sandbox);
    let volume = sandbox.path("volume");
    fs::create_dir_all(volume.join("mnt/dir")).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    (sandbox, before, volume)
}

/// CVE-2021-30465: the mountpoint lies in a shared volume and is exchanged for symlinks to the root and to the host.
#[test]
fn a_mountpoint_in_a_shared_volume() {
    if !root() {
        return;
    }
    for target in ["/", "../../../canary", "canary"] {
        let (sandbox, before, volume) = shared();
        let target =
            if target == "canary" { sandbox.path("canary").to_string_lossy().into_owned() } else { target.into() };
        symlink(target, volume.join("other")).unwrap();
        // a mount that went elsewhere could not be seen from here
        let script = "cat /vol/*/dir/ptmx /dir/ptmx 2>/dev/null; grep -c ' raced ' /proc/self/mountinfo; true";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        add(&mut config, "/vol", "bind", &volume, &["rbind"]);
        add(&mut config, "/vol/mnt/dir", "tmpfs", Path::new("raced"), &[]);
        sandbox.write(&config);
        race(&sandbox, &before, "mountpoint", vec![(volume.join("mnt"), volume.join("other"))], &["1\n"]);
    }
}

/// CVE-2024-45310: what a mountpoint lacks is made through a component that is exchanged.
#[test]
fn a_mountpoint_that_is_made() {
    if !root() {
        return;
    }
    for target in ["../../canary/dir", "canary/dir"] {
        let (sandbox, before, volume) = shared();
        let absolute = sandbox.path(target).to_string_lossy().into_owned();
        symlink(if target.starts_with("..") { target } else { &absolute }, volume.join("other")).unwrap();
        let source = sandbox.path("source");
        fs::write(&source, "").unwrap();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        add(&mut config, "/vol", "bind", &volume, &["rbind"]);
        for n in 0..4 {
            add(&mut config, &format!("/vol/mnt/made{n}/deep/file"), "bind", &source, &["bind"]);
            add(&mut config, &format!("/vol/mnt/made{n}/er"), "tmpfs", Path::new("tmpfs"), &[]);
        }
        sandbox.write(&config);
        race(&sandbox, &before, "made", vec![(volume.join("mnt"), volume.join("other"))], &[""]);
    }
}

/// CVE-2019-18837: the target of a bind of a file.
#[test]
fn a_file_to_bind_on() {
    if !root() {
        return;
    }
    let (sandbox, before, _) = shared();
    let etc = sandbox.rootfs().join("etc");
    fs::write(etc.join("hosts"), "").unwrap();
    symlink(sandbox.path("canary/file"), etc.join("other")).unwrap();
    let source = sandbox.path("source");
    fs::write(&source, "bound\n").unwrap();
    // one of the two names is the mount, except in the moment between two looks
    let script = "for n in 0 1 2 3 4 5 6 7 8 9; do cat /etc/hosts /etc/other 2>/dev/null; done | sort -u";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    add(&mut config, "/etc/hosts", "bind", &source, &["bind", "ro"]);
    sandbox.write(&config);
    race(&sandbox, &before, "bind", vec![(etc.join("hosts"), etc.join("other"))], &["bound\n"]);
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2025-54867, CVE-2025-52881: /proc is exchanged for a symlink to a directory that has
/// the files which a runtime would write to.
#[test]
fn a_false_proc() {
    if !root() {
        return;
    }
    let (sandbox, before, _) = shared();
    let rootfs = sandbox.rootfs();
    let files = ["sys/net/ipv4/ip_forward", "self/attr/exec", "self/attr/apparmor/exec", "self/oom_score_adj", "keys"];
    for file in files {
        let path = rootfs.join("tmp/fake").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "untouched").unwrap();
    }
    for (i, target) in ["tmp/fake", "/tmp/fake"].iter().enumerate() {
        symlink(target, rootfs.join(format!("other{i}"))).unwrap();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        config["process"]["oomScoreAdj"] = json!(500);
        sandbox.write(&config);
        race(&sandbox, &before, "proc", vec![(rootfs.join("proc"), rootfs.join(format!("other{i}")))], &[""]);
        for file in files {
            assert_eq!(fs::read_to_string(rootfs.join("tmp/fake").join(file)).unwrap(), "untouched", "{file}");
        }
        // an odd number of exchanges leaves them the other way round
        if fs::symlink_metadata(rootfs.join("proc")).unwrap().is_symlink() {
            fs::remove_file(rootfs.join("proc")).unwrap();
            fs::create_dir(rootfs.join("proc")).unwrap();
        }
    }
}

/// CVE-2025-31133: the null device that hides files is exchanged for a symlink to another file.
#[test]
fn a_false_null() {
    if !root() {
        return;
    }
    let (sandbox, before, volume) = shared();
    for (name, rdev) in [("null", "3"), ("zero", "5")] {
        host("mknod", &["-m", "666", &volume.join(name).to_string_lossy(), "c", "1", rdev]);
    }
    fs::write(sandbox.rootfs().join("etc/bait"), "bait\n").unwrap();
    fs::write(sandbox.rootfs().join("etc/secret"), "secret\n").unwrap();
    symlink("/etc/bait", volume.join("other")).unwrap();
    let script = "head -c 9 /etc/secret; echo x >/etc/secret; grep -c x /etc/bait /etc/secret";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), &format!("{script}; true"));
    config["mounts"][1] = json!({ "destination": "/dev", "type": "bind", "source": volume, "options": ["rbind"] });
    config["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    sandbox.write(&config);
    let fine = ["/etc/bait:0\n/etc/secret:0\n"];
    race(&sandbox, &before, "null", vec![(volume.join("null"), volume.join("other"))], &fine);
    assert_eq!(fs::read_to_string(sandbox.rootfs().join("etc/bait")).unwrap(), "bait\n");
}

/// CVE-2026-41579, CVE-2026-47766: /dev of the image is exchanged for a symlink to a directory of the host that has a `ptmx`.
#[test]
fn a_false_dev() {
    if !root() {
        return;
    }
    for target in ["../../canary/bare", "canary/bare"] {
        let (sandbox, before, _) = shared();
        let rootfs = sandbox.rootfs();
        let absolute = sandbox.path(target).to_string_lossy().into_owned();
        symlink(if target.starts_with("..") { target } else { &absolute }, rootfs.join("other")).unwrap();
        let mut config = without_dev(&sandbox, "true");
        config["linux"]["devices"] = json!([{ "path": "/dev/made", "type": "c", "major": 1, "minor": 3 }]);
        sandbox.write(&config);
        race(&sandbox, &before, "dev", vec![(rootfs.join("dev"), rootfs.join("other"))], &[""]);
    }
}
