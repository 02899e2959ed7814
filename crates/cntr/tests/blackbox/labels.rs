//! `process.apparmorProfile` and `process.selinuxLabel`: applied where the machine can; where it cannot, a label is refused and
//! a profile warned about. What a
//! process is confined by is read from the host.

use std::fs;

use serde_json::{Value, json};

use crate::exec::{ended, from_file, refused, shell, start};
use crate::namespaces::in_user_namespace;
use crate::support::{Sandbox, bundle, have, host, read, root, skip, wait_for, words};

fn has_apparmor() -> bool {
    fs::read("/proc/self/attr/apparmor/current").is_ok()
}

fn has_selinux() -> bool {
    fs::exists("/sys/fs/selinux/policy").unwrap()
}

fn config(sandbox: &Sandbox, script: &str, field: &str, value: &str) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["process"][field] = json!(value);
    config
}

#[test]
fn a_label_without_selinux_is_refused() {
    if !root() || has_selinux() {
        return;
    }
    let says = "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported";
    for value in ["unconfined", "docker-default"] {
        let sandbox = Sandbox::new();
        sandbox.write(&config(&sandbox, "true", "selinuxLabel", value));
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb]).run();
            assert_eq!(out.code, Some(1), "{out:#?}");
            assert!(out.stderr.contains(says), "{out:#?}");
            sandbox.assert_clean();
        }
    }
}

/// As crun does it. For an exec as well, and with the procfs that a profile would be written through or without.
#[test]
fn a_profile_without_apparmor_is_a_warning() {
    if !root() || has_apparmor() {
        return;
    }
    let says = |text: &str| {
        let says = "process.apparmorProfile: not applied: apparmor is disabled or not supported";
        assert!(text.contains("level=warning") && text.contains(says), "{text}");
    };
    for mounts in [1, 0] {
        let sandbox = Sandbox::new();
        let mut config = config(&sandbox, "echo ran; exec sleep 1000", "apparmorProfile", "docker-default");
        config["mounts"].as_array_mut().unwrap().truncate(mounts);
        sandbox.write(&config);
        let created = sandbox.verb(&["create"]).ok();
        says(&created.stderr);
        sandbox.verb(&["start"]).ok();
        wait_for("the program", || (read(&created.stdout_file) == "ran\n").then_some(()));
        let out = sandbox.cntr(&["exec", "--apparmor", "another", &sandbox.id, "echo", "ran"]).ok();
        assert_eq!(out.stdout, "ran\n");
        says(&out.stderr);
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
}

/// An empty string is none.
#[test]
fn empty_labels_are_none() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = config(&sandbox, "true", "apparmorProfile", "");
    config["process"]["selinuxLabel"] = json!("");
    sandbox.write(&config);
    sandbox.run_ok();
    sandbox.assert_clean();
}

/// A profile that is loaded as long as it lives: everything but writing to files called `denied`.
struct Profile(String);

impl Profile {
    fn load(sandbox: &Sandbox) -> Option<Self> {
        if !has_apparmor() {
            skip("needs AppArmor");
            return None;
        }
        if !have("apparmor_parser") {
            return None;
        }
        let profile = Profile(format!("profile-of-{}", sandbox.id));
        let rules = "file, capability, network, mount, umount, signal, ptrace, unix,";
        let text =
            format!("profile {} flags=(attach_disconnected) {{ {rules} userns, deny /**/denied w, }}\n", profile.0);
        fs::write(sandbox.path("profile"), text).unwrap();
        host("apparmor_parser", &["--skip-cache", "--replace", &sandbox.path("profile").to_string_lossy()]);
        Some(profile)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = fs::write("/sys/kernel/security/apparmor/.remove", &self.0);
    }
}

/// What confines the container's process, as the host sees it.
fn confinement(sandbox: &Sandbox) -> String {
    read(format!("/proc/{}/attr/apparmor/current", sandbox.pid())).trim().to_owned()
}

fn started(sandbox: &Sandbox, config: &Value) -> String {
    sandbox.write(config);
    sandbox.verb(&["create"]).ok();
    let before = confinement(sandbox);
    sandbox.verb(&["start"]).ok();
    assert_eq!(before, "unconfined", "the profile holds from execve on: hooks are the host's");
    let found = confinement(sandbox);
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
    found
}

#[test]
fn a_profile_is_applied() {
    let sandbox = Sandbox::new();
    if !root() {
        return;
    }
    let Some(profile) = Profile::load(&sandbox) else { return };
    let enforced = format!("{} (enforce)", profile.0);
    for (no_new_privs, uid) in [(false, 0), (true, 0), (false, 1000), (true, 1000)] {
        let mut config = config(&sandbox, "sleep 100", "apparmorProfile", &profile.0);
        config["process"]["noNewPrivileges"] = json!(no_new_privs);
        config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        assert_eq!(started(&sandbox, &config), enforced, "no_new_privs {no_new_privs}, uid {uid}");
    }
    assert_eq!(started(&sandbox, &config(&sandbox, "sleep 100", "apparmorProfile", "unconfined")), "unconfined");
    let script = "echo a >/tmp/allowed && cat /tmp/allowed; (echo b >/tmp/denied) 2>&1; cat /proc/self/attr/current";
    sandbox.write(&config(&sandbox, script, "apparmorProfile", &profile.0));
    let out = sandbox.run_ok().stdout;
    let denied = "/bin/sh: can't create /tmp/denied: Permission denied";
    assert_eq!(out.lines().collect::<Vec<_>>(), ["a", denied, &enforced]);
}

#[test]
fn a_profile_in_a_user_namespace() {
    let sandbox = Sandbox::new();
    if !root() {
        return;
    }
    let Some(profile) = Profile::load(&sandbox) else { return };
    let mut config = config(&sandbox, "sleep 100", "apparmorProfile", &profile.0);
    in_user_namespace(&sandbox, &mut config);
    assert_eq!(started(&sandbox, &config), format!("{} (enforce)", profile.0));
}

#[test]
fn a_profile_that_is_not_loaded() {
    if !root() {
        return;
    }
    if !has_apparmor() {
        return skip("needs AppArmor");
    }
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, "true", "apparmorProfile", "cntr-tests-nonesuch"));
    let out = sandbox.verb(&["run"]).run();
    assert_eq!(out.code, Some(1), "{out:#?}");
    let says = "apparmor failed to apply profile: process.apparmorProfile: ";
    assert!(
        out.stderr.contains(says) && out.stderr.contains("cntr-tests-nonesuch: no such file or directory"),
        "{out:#?}"
    );
    sandbox.assert_clean();
}

/// CVE-2019-16884, CVE-2023-28642, CVE-2025-52881: whatever stands where the profile would be written, the program is
/// confined by it or does not run. (What is written where without AppArmor: libcontain's tests/child/labels.rs.)
#[test]
fn a_false_proc_does_not_take_the_profile() {
    let sandbox = Sandbox::new();
    if !root() {
        return;
    }
    let Some(profile) = Profile::load(&sandbox) else { return };
    let enforced = format!("{} (enforce)", profile.0);
    for name in ["self/attr/exec", "thread-self/attr/exec", "thread-self/attr/apparmor/exec"] {
        let path = sandbox.rootfs().join("proc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let mut without = config(&sandbox, "sleep 100", "apparmorProfile", &profile.0);
    without["mounts"] = json!([]);
    assert_eq!(started(&sandbox, &without), enforced, "nothing is mounted on /proc");

    let fake = sandbox.path("fake");
    fs::create_dir_all(fake.join("exec")).unwrap();
    fs::write(fake.join("file"), "").unwrap();
    let fake = fake.to_string_lossy();
    for cover in [
        format!("mount --bind {fake}/file proc/1/task/1/attr/apparmor/exec"),
        "mount --bind proc/1/comm proc/1/task/1/attr/apparmor/exec".to_owned(),
        format!("mount --bind {fake} proc/1/task/1/attr/apparmor"),
        "mount -t tmpfs tmpfs proc/1/task".to_owned(),
    ] {
        let mut covered = config(&sandbox, "true", "apparmorProfile", &profile.0);
        covered["hooks"]["createContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", cover] }]);
        sandbox.write(&covered);
        let out = sandbox.verb(&["run"]).run();
        assert!(out.code == Some(1) && out.stderr.contains("invalid cross-device link"), "{cover}: {out:#?}");
        sandbox.assert_clean();
    }
    for (destination, source) in [("/proc/self/attr", &*fake), ("/proc", &*fake), ("/link/self/attr", &*fake)] {
        let link = sandbox.rootfs().join("link");
        if !link.is_symlink() {
            std::os::unix::fs::symlink("proc", link).unwrap();
        }
        let mut covered = config(&sandbox, "true", "apparmorProfile", &profile.0);
        let bind = json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind"] });
        bundle::set(&mut covered, "/mounts/-", Some(bind));
        sandbox.write(&covered);
        let out = sandbox.verb(&["run"]).run();
        assert!(out.code == Some(1) && out.stderr.contains("cannot be mounted because it is"), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// A process of `exec` is confined as the container's own, or by the profile that it is given.
#[test]
fn exec_has_the_containers_profile() {
    let sandbox = Sandbox::new();
    if !root() {
        return;
    }
    let Some(profile) = Profile::load(&sandbox) else { return };
    let enforced = format!("{} (enforce)", profile.0);
    let script = "(echo b >/tmp/denied) 2>&1; cat /proc/self/attr/current";
    let denied = "sh: can't create /tmp/denied: Permission denied";
    for (no_new_privs, user_namespace) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut config = config(&sandbox, "exec sleep 1000", "apparmorProfile", &profile.0);
        config["process"]["noNewPrivileges"] = json!(no_new_privs);
        if user_namespace {
            in_user_namespace(&sandbox, &mut config);
        }
        start(&sandbox, &config);
        let context = format!("noNewPrivileges {no_new_privs}, user namespace {user_namespace}");
        for flags in [&[][..], &["-u", "1000"]] {
            let out = shell(&sandbox, flags, script).run();
            assert_eq!(out.stdout.lines().collect::<Vec<_>>(), [denied, &enforced], "{context} {flags:?}: {out:#?}");
        }
        let out = from_file(&sandbox, &[], &json!({ "apparmorProfile": "" }), script).run();
        assert_eq!(out.stdout.lines().last(), Some(&*enforced), "{context}: {out:#?}");
        let out = shell(&sandbox, &["--apparmor", "cntr-tests-nonesuch"], "true").run();
        refused(&out, "cntr-tests-nonesuch: no such file or directory");
        ended(&sandbox);
    }
}

/// `--apparmor` and the file's member, where the container itself is not confined.
#[test]
fn exec_with_a_profile_of_its_own() {
    let sandbox = Sandbox::new();
    if !root() {
        return;
    }
    let Some(profile) = Profile::load(&sandbox) else { return };
    let enforced = format!("{} (enforce)\n", profile.0);
    start(&sandbox, &bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    let show = "cat /proc/self/attr/current";
    assert_eq!(shell(&sandbox, &[], show).ok().stdout, "unconfined\n");
    assert_eq!(shell(&sandbox, &["--apparmor", &profile.0], show).ok().stdout, enforced);
    let member = json!({ "apparmorProfile": profile.0 });
    assert_eq!(from_file(&sandbox, &[], &member, show).ok().stdout, enforced);
    ended(&sandbox);
}

/// The attacks of [`a_false_proc_does_not_take_the_profile`] by a container that is there when the label is written, and so
/// has all the time that it wants.
#[test]
fn a_false_proc_does_not_take_the_profile_of_exec() {
    let sandbox = Sandbox::new();
    if !root() {
        return;
    }
    let Some(profile) = Profile::load(&sandbox) else { return };
    let show = "exec 2>&1; mount -t proc proc /tmp/proc && cat /tmp/proc/self/attr/current";
    for cover in [
        "mount -t tmpfs tmpfs /proc; mkdir -p /proc/self/attr/apparmor /proc/thread-self/attr/apparmor; \
         for d in self thread-self; do : >/proc/$d/attr/exec; : >/proc/$d/attr/apparmor/exec; done",
        "mount --bind /tmp/fake /proc",
        "mount --bind /proc/1/attr /proc/self/attr; mount -t tmpfs tmpfs /proc/1/task",
        "umount -l /proc; ln -s /tmp/fake /proc/self; true",
    ] {
        fs::create_dir_all(sandbox.rootfs().join("tmp/fake/self/attr")).unwrap();
        fs::create_dir_all(sandbox.rootfs().join("tmp/proc")).unwrap();
        fs::write(sandbox.rootfs().join("tmp/fake/self/attr/exec"), "").unwrap();
        let script = format!("{cover}\n: >/tmp/covered; exec sleep 1000");
        let mut config = config(&sandbox, &script, "apparmorProfile", &profile.0);
        for set in ["bounding", "effective", "permitted"] {
            bundle::set(&mut config, &format!("/process/capabilities/{set}"), Some(json!(["CAP_SYS_ADMIN"])));
        }
        start(&sandbox, &config);
        let covered = sandbox.rootfs().join("tmp/covered");
        wait_for("the cover", || covered.exists().then_some(()));
        let out = shell(&sandbox, &[], show).run();
        assert_eq!(out.stdout, format!("{} (enforce)\n", profile.0), "{cover}: {out:#?}");
        ended(&sandbox);
        fs::remove_file(covered).unwrap();
    }
}

const LABEL: &str = "system_u:system_r:init_t:s0:c1,c2";

/// The program and the keyring of its session.
#[test]
fn a_label_is_applied() {
    if !root() || !have("keyctl") {
        return;
    }
    if !has_selinux() {
        return skip("needs SELinux");
    }
    for (no_new_privs, namespace) in [(false, false), (true, false), (false, true)] {
        let sandbox = Sandbox::new();
        let mut config = config(&sandbox, "sleep 100", "selinuxLabel", LABEL);
        config["process"]["noNewPrivileges"] = json!(no_new_privs);
        if namespace {
            in_user_namespace(&sandbox, &mut config);
        }
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        let label = || read(format!("/proc/{}/attr/current", sandbox.pid())).trim_end_matches('\0').to_owned();
        assert_ne!(label(), LABEL, "it holds from execve on");
        sandbox.verb(&["start"]).ok();
        assert_eq!(label(), LABEL);
        // root of the host may not look at a keyring of a user namespace
        if !namespace {
            let (keys, name) = (read("/proc/keys"), format!("_ses.{}", sandbox.id));
            let line = keys.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("no {name} in {keys}"));
            let key = format!("0x{}", words(line)[0]);
            assert_eq!(host("keyctl", &["security", &key]).trim_end_matches('\0').trim(), LABEL, "{line}");
        }
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
    }
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, "true", "selinuxLabel", "no:such:label"));
    let out = sandbox.verb(&["run"]).run();
    let says = "can't set process label: process.selinuxLabel: write: no:such:label: invalid argument";
    assert!(out.code == Some(1) && out.stderr.contains(says), "{out:#?}");
    sandbox.assert_clean();
}
