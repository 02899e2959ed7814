//! Many at once: 200 containers, made, listed, killed and deleted by 8 workers under one state root; and 500 that are there at
//! the same time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

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

/// All cgroups of the machine but those of tests, which come and go meanwhile, and of which the sandbox knows its own.
fn layout() -> BTreeSet<PathBuf> {
    fn walk(dir: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let foreign = entry.file_name().to_string_lossy().starts_with("cntr-");
            if entry.file_type().is_ok_and(|t| t.is_dir()) && !foreign {
                walk(&entry.path(), found);
                found.insert(entry.path());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/cgroup"), &mut found);
    found
}

/// Each worker does `what` with its share of the ids.
fn share_out(ids: &[String], what: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for ids in ids.chunks(ids.len().div_ceil(WORKERS)) {
            let what = &what;
            scope.spawn(move || ids.iter().for_each(|id| what(id)));
        }
    });
}

/// 500, or `CNTR_TEST_CONTAINERS`, made of one bundle and all there at once.
#[test]
fn five_hundred_at_once() {
    if !root() {
        return;
    }
    let count = std::env::var("CNTR_TEST_CONTAINERS").ok().and_then(|n| n.parse().ok()).unwrap_or(500 / slow());
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal("", "exec sleep 1000");
    config["linux"].as_object_mut().unwrap().remove("cgroupsPath"); // by the id, then
    config["root"]["readonly"] = true.into();
    config["linux"]["resources"]["pids"]["limit"] = 10.into();
    sandbox.write(&config);
    let before = layout();
    let ids: Vec<String> = (0..count).map(|n| format!("{}-{n:03}", sandbox.id)).collect();
    let silent = |verb: &[&str], id: &str| {
        let out = sandbox.cntr(verb).arg(id).ok();
        assert!(out.stderr.is_empty(), "{out:#?}");
        out.stdout
    };
    let list = || -> Vec<Value> {
        let out = sandbox.cntr(&["list", "--format", "json"]).ok();
        serde_json::from_str::<Option<Vec<Value>>>(&out.stdout)
            .unwrap_or_else(|e| panic!("{e}: {out:#?}"))
            .unwrap_or_default()
    };
    let start = Instant::now();
    share_out(&ids, |id| drop(silent(&["create"], id)));
    let created = start.elapsed();
    let listed = list();
    assert_eq!(listed.iter().map(|c| c["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert!(listed.iter().all(|c| c["status"] == "created"), "{listed:#?}");
    let (some, _) = ids.split_at(ids.len() / 10);
    share_out(some, |id| drop(silent(&["pause"], id)));
    assert_eq!(list().iter().filter(|c| c["status"] == "paused").count(), some.len());
    share_out(some, |id| {
        let record: Value = serde_json::from_str(&silent(&["events", "--stats"], id)).unwrap();
        assert_eq!(record["data"]["pids"]["current"].as_u64().unwrap_or(1), 1, "{record}");
        silent(&["resume"], id);
        silent(&["start"], id);
    });
    assert_eq!(list().iter().filter(|c| c["status"] == "running").count(), some.len());
    let before_delete = start.elapsed();
    share_out(&ids, |id| drop(silent(&["delete", "--force"], id)));
    let all = start.elapsed();
    eprintln!("{count} containers: created in {created:?}, deleted in {:?}, all of it {all:?}", all - before_delete);
    assert_eq!(list().len(), 0);
    sandbox.assert_clean();
    // Whoever else makes cgroups on this machine takes his away again.
    wait_for("the cgroups to be those of before", || layout().is_subset(&before).then_some(()));
}
