//! Many at once: 200 containers, made, listed, killed and deleted by 8 workers under one state root.

use serde_json::Value;

use crate::support::{Sandbox, bundle, root, slow, wait_for};

const WORKERS: usize = 8;
const EACH: u32 = 25;

fn one(sandbox: &Sandbox, id: &str) {
    let dir = sandbox.path(&format!("b-{id}"));
    std::fs::create_dir(&dir).unwrap();
    let mut config = bundle::minimal(&format!("/{id}"), "sleep 1000");
    config["root"]["path"] = sandbox.rootfs().to_string_lossy().into();
    config["root"]["readonly"] = true.into();
    config["linux"]["resources"]["pids"]["limit"] = 10.into();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let quiet = |args: &[&str]| {
        let out = sandbox.cntr(args).arg(id).ok();
        assert!(out.stderr.is_empty(), "{out:#?}");
        out.stdout
    };
    quiet(&["create", "--bundle", &dir.to_string_lossy()]);
    quiet(&["start"]);
    // other workers' containers come and go meanwhile: the list has to be whole all the same (runc 1.1.5 fails
    // when a state directory goes between readdir and stat)
    let list = sandbox.cntr(&["list", "--format", "json"]).ok();
    let list: Value = serde_json::from_str(&list.stdout).unwrap_or_else(|e| panic!("{e}: {list:#?}"));
    let own = bundle::list(&list).iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("{id} is not in {list:#}"));
    assert_eq!(own["status"], "running");
    let killed = sandbox.cntr(&["kill", id, "KILL"]).ok();
    assert!(killed.stderr.is_empty(), "{killed:#?}");
    wait_for("the container to end", || quiet(&["state"]).contains("\"stopped\"").then_some(()));
    quiet(&["delete"]);
}

#[test]
fn two_hundred_containers() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for n in 0..EACH / slow() {
                    one(sandbox, &format!("{}-{worker}.{n}", sandbox.id));
                }
            });
        }
    });
    let list = sandbox.cntr(&["list", "--quiet"]).ok();
    assert_eq!(list.stdout, "");
    sandbox.assert_clean();
}
