//! What runtime.md demands of errors: an operation that is refused changes nothing, and what is made is what the config said
//! when it was read. (contract.md 3.1 and 3.5; values of the config that are refused: `wrong`.)

use std::fs;

use serde_json::json;

use crate::support::{Sandbox, bundle, read, root, wait_for};

/// An id that is taken: the container that has it is as before, and still starts.
#[test]
fn an_id_is_given_once() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "echo first"));
    let first = sandbox.verb(&["create"]).ok();
    let before = (sandbox.state(), read(sandbox.state_dir().join("state.json")));
    sandbox.write(&bundle::minimal(&format!("{}-other", sandbox.cgroups_path()), "echo second"));
    for verb in ["create", "run"] {
        let out = sandbox.verb(&[verb]).run();
        assert!(out.code == Some(1) && out.stderr.contains("container with given ID already exists"), "{out:#?}");
        assert_eq!((sandbox.state(), read(sandbox.state_dir().join("state.json"))), before);
    }
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    assert_eq!(read(&first.stdout_file), "first\n");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// runtime.md#create: later changes of config.json have no effect, and hooks of later operations are those of then.
#[test]
fn a_config_is_read_once() {
    if !root() {
        return;
    }
    for gone in [false, true] {
        let sandbox = Sandbox::new();
        let note = sandbox.path("note");
        let hook = |word: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {word} >>{}", note.display())] }]);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "echo then");
        config["hooks"] = json!({ "poststart": hook("start-then"), "poststop": hook("stop-then") });
        sandbox.write(&config);
        let created = sandbox.verb(&["create"]).ok();
        config["process"]["args"][2] = json!("echo later");
        config["hooks"] = json!({ "poststart": hook("start-later"), "poststop": hook("stop-later") });
        sandbox.write(&config);
        if gone {
            fs::remove_file(sandbox.bundle().join("config.json")).unwrap();
        }
        sandbox.verb(&["start"]).ok();
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        assert_eq!((read(&created.stdout_file), read(&note)), ("then\n".into(), "start-then\nstop-then\n".into()));
        sandbox.assert_clean();
    }
}

/// Commands on what is not there say so in the words that engines look for; only a forced `delete` is content.
#[test]
fn containers_that_do_not_exist() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for verb in ["state", "start", "kill", "delete", "ps"] {
        let out = sandbox.verb(&[verb]).run();
        assert!(out.code == Some(1) && out.stderr.contains("container does not exist"), "{out:#?}");
    }
    let forced = sandbox.verb(&["delete", "--force"]).run();
    assert_eq!((forced.code, forced.stderr.as_str()), (Some(0), ""), "{forced:#?}");
    sandbox.assert_clean();
}

/// A container that waits for `start` can be killed and deleted; one that was deleted leaves its id free.
#[test]
fn a_created_container_is_deleted() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "echo ran"));
    for kill in [false, true] {
        let created = sandbox.verb(&["create"]).ok();
        if kill {
            sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
            sandbox.wait_status("stopped");
        }
        sandbox.verb(&["delete"]).ok();
        assert_eq!(read(&created.stdout_file), "", "its program must not run");
        sandbox.assert_clean();
    }
}

/// linux.cgroupsPath of somebody's: refused, and nobody in it is hurt.
#[test]
fn a_cgroup_that_is_in_use() {
    if !root() || !std::path::Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = std::path::PathBuf::from(format!("/sys/fs/cgroup/pids{}", sandbox.cgroups_path()));
    fs::create_dir(&dir).unwrap();
    let mut tenant = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(dir.join("cgroup.procs"), tenant.id().to_string()).unwrap();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "true"));
    let refused = ["create", "run"].map(|verb| sandbox.verb(&[verb]).run());
    let alive = tenant.try_wait().unwrap().is_none();
    let members = read(dir.join("cgroup.procs"));
    let _ = tenant.kill();
    let _ = tenant.wait();
    wait_for("the cgroup to be empty", || fs::remove_dir(&dir).ok());
    for out in refused {
        let says = ["linux.cgroupsPath", "container's cgroup is not empty: 1 process(es) found"];
        assert!(out.code == Some(1) && says.iter().all(|text| out.stderr.contains(text)), "{out:#?}");
    }
    assert!(alive && members == format!("{}\n", tenant.id()), "{members:?}");
    sandbox.assert_clean();
}

/// A container that could not be made leaves no trace whichever step failed; the directories that it made in the image may
/// stay. Each step here is of another part of the config.
#[test]
fn failures_are_rolled_back() {
    if !root() {
        return;
    }
    let bogus = json!({ "destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["bogus"] });
    let table = [
        ("/mounts/-", bogus),
        ("/linux/resources/cpu/cpus", json!("4000")),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "maybe" })),
        ("/process/args/0", json!("/no/such/program")),
        ("/process/cwd", json!("/etc/passwd")),
        ("/linux/namespaces/4/path", json!("/no/such/namespace")),
        ("/hooks/createRuntime", json!([{ "path": "/bin/false" }])),
        ("/hooks/createContainer", json!([{ "path": "/bin/false" }])),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "63" })),
    ];
    for (pointer, value) in table {
        let sandbox = Sandbox::new();
        let mounts = read("/proc/self/mountinfo");
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
        bundle::set(&mut config, pointer, Some(value));
        sandbox.write(&config);
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb]).run();
            assert_eq!(out.code, Some(1), "{pointer}: {out:#?}");
            sandbox.assert_clean();
            assert!(sandbox.state().is_none(), "{pointer}");
        }
        let own = |text: &str| text.lines().filter(|l| l.contains(&sandbox.id)).count();
        assert_eq!((own(&mounts), own(&read("/proc/self/mountinfo"))), (0, 0), "{pointer}");
        sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "true"));
        sandbox.run_ok();
    }
}
