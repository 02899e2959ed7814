//! `pause` and `resume`; and `kill` and `delete` of what is frozen, crowded, or does not want to die.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::namespaces::{ordinary, ordinary_users_can_unshare, own_directories};
use crate::support::{NOBODY, Sandbox, View, bundle, patience, read, root, skip, wait_for};

fn made(view: View, script: &str) -> Sandbox {
    let sandbox = Sandbox::with_view(view);
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), script));
    sandbox.verb(&["create"]).ok();
    sandbox
}

const COUNTING: &str = "n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.01; done";

fn count(sandbox: &Sandbox) -> u64 {
    read(sandbox.rootfs().join("count")).trim().parse().unwrap_or(0)
}

#[track_caller]
fn refused(sandbox: &Sandbox, verb: &str, says: &str) {
    let out = sandbox.verb(&[verb]).run();
    assert!(out.code == Some(1) && out.stderr.contains(&format!("msg=\"{says}\"")), "{out:#?}");
}

fn ended(sandbox: &Sandbox) {
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// The v1 freezer's directory of a path, if the machine has one.
fn freezer(path: &str) -> Option<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup/freezer");
    if !top.join("cgroup.procs").exists() {
        skip("needs the v1 freezer");
        return None;
    }
    Some(top.join(path.trim_start_matches('/')))
}

#[test]
fn nothing_runs_while_paused() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = made(view, COUNTING);
        sandbox.verb(&["start"]).ok();
        refused(&sandbox, "resume", "container not paused");
        wait_for("it to count", || (count(&sandbox) > 2).then_some(()));
        let paused = sandbox.verb(&["pause"]).ok();
        assert!(paused.stdout.is_empty() && paused.stderr.is_empty(), "{paused:#?}");
        assert_eq!(sandbox.status(), "paused");
        let before = count(&sandbox);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(count(&sandbox), before, "{view:?}");
        refused(&sandbox, "pause", "container not running");
        refused(&sandbox, "start", "cannot start a container in the paused state");
        refused(&sandbox, "delete", &format!("cannot delete container {} that is not stopped: paused", sandbox.id));
        sandbox.verb(&["resume"]).ok();
        assert_eq!(sandbox.status(), "running");
        wait_for("it to count on", || (count(&sandbox) > before + 2).then_some(()));
        sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
        sandbox.wait_status("stopped");
        refused(&sandbox, "pause", "container not running");
        refused(&sandbox, "resume", "container not paused");
        ended(&sandbox);
    }
}

#[test]
fn a_created_container_is_paused_as_well() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = made(view, "exec sleep 1000");
        sandbox.verb(&["pause"]).ok();
        assert_eq!(sandbox.status(), "paused");
        sandbox.verb(&["resume"]).ok();
        assert_eq!(sandbox.status(), "created");
        sandbox.verb(&["start"]).ok();
        assert_eq!(sandbox.status(), "running");
        ended(&sandbox);
    }
}

/// Each way out of a pause but `resume`.
#[test]
fn what_is_paused_can_be_killed_and_deleted() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        for started in [false, true] {
            let sandbox = made(view, "sleep 1000 & exec sleep 1000");
            if started {
                sandbox.verb(&["start"]).ok();
            }
            sandbox.verb(&["pause"]).ok();
            ended(&sandbox);
        }
        let sandbox = made(view, "sleep 1000 & exec sleep 1000");
        sandbox.verb(&["start"]).ok();
        sandbox.verb(&["pause"]).ok();
        sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

/// A cgroup above is frozen by somebody else: the container stands still, and is not paused.
#[test]
fn frozen_from_above_is_not_paused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(above) = freezer(&sandbox.cgroups_path()) else { return };
    sandbox.write(&bundle::minimal(&format!("{}/c", sandbox.cgroups_path()), "exec sleep 1000"));
    sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    fs::write(above.join("freezer.state"), "FROZEN").unwrap();
    assert_eq!(sandbox.status(), "running");
    refused(&sandbox, "resume", "container not paused");
    sandbox.verb(&["pause"]).ok();
    assert_eq!(sandbox.status(), "paused");
    fs::write(above.join("freezer.state"), "THAWED").unwrap();
    assert_eq!(sandbox.status(), "paused", "by itself");
    sandbox.verb(&["resume"]).ok();
    assert_eq!(sandbox.status(), "running");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.clean(); // the level above is not the container's
    sandbox.assert_clean();
}

/// Whoever comes after a `pause` that was killed finds a container that is paused, or not.
#[test]
fn a_pause_that_is_killed_leaves_nothing_half_done() {
    if !root() {
        return;
    }
    let sandbox = made(View::Host, "sleep 1000 & sleep 1000 & exec sleep 1000");
    sandbox.verb(&["start"]).ok();
    let length = sandbox.verb(&["pause"]).ok().took;
    sandbox.verb(&["resume"]).ok();
    for round in 0..40u32 {
        let pause = sandbox.verb(&["pause"]).spawn();
        std::thread::sleep(length.mul_f64(f64::from(round) / 40.0));
        pause.signal(Signal::SIGKILL);
        pause.wait();
        match sandbox.status().as_str() {
            "paused" => drop(sandbox.verb(&["resume"]).ok()),
            status => assert_eq!(status, "running"),
        }
        assert_eq!(sandbox.status(), "running");
    }
    ended(&sandbox);
}

/// A container that may write its cgroups freezes its own processes, which v1 then lets nobody kill.
#[test]
fn what_a_container_has_frozen_is_killed() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(own) = freezer(&sandbox.cgroups_path()) else { return };
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000"));
    for verb in [&["kill", "KILL"][..], &["delete", "--force"]] {
        sandbox.verb(&["create"]).ok();
        sandbox.verb(&["start"]).ok();
        let below = own.join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("cgroup.procs"), sandbox.pid().to_string()).unwrap();
        fs::write(below.join("freezer.state"), "FROZEN").unwrap();
        match verb {
            ["kill", signal] => {
                sandbox.cntr(&["kill", &sandbox.id, signal]).ok();
                sandbox.wait_status("stopped");
            }
            verb => drop(sandbox.verb(verb).ok()),
        }
        if verb[0] == "kill" {
            sandbox.verb(&["delete"]).ok();
        }
        sandbox.assert_clean();
    }
}

/// A process that SIGKILL does not end (here: frozen in a cgroup that is not the container's) is waited for ten seconds, and
/// told of; the container can be deleted once it has died.
#[test]
fn a_death_that_does_not_come() {
    if !root() {
        return;
    }
    let sandbox = made(View::Host, "exec sleep 1000");
    let Some(ice) = freezer(&format!("{}-ice", sandbox.id)) else { return ended(&sandbox) };
    sandbox.verb(&["start"]).ok();
    fs::create_dir(&ice).unwrap();
    fs::write(ice.join("cgroup.procs"), sandbox.pid().to_string()).unwrap();
    fs::write(ice.join("freezer.state"), "FROZEN").unwrap();
    let out = sandbox.verb(&["delete", "--force"]).run();
    let state = sandbox.status();
    fs::write(ice.join("freezer.state"), "THAWED").unwrap();
    assert!(out.code == Some(1) && out.stderr.contains("container init still running"), "{out:#?}");
    assert!(out.took >= Duration::from_secs(9) && out.took < patience(20), "{:?}", out.took);
    assert_eq!(state, "running");
    sandbox.verb(&["delete", "--force"]).ok();
    wait_for("the cgroup to be empty", || fs::remove_dir(&ice).is_ok().then_some(()));
    sandbox.assert_clean();
}

/// Somebody else's process in the container's cgroup is neither killed nor waited for longer than ten seconds; it is named.
#[test]
fn a_cgroup_that_does_not_empty() {
    if !root() {
        return;
    }
    let sandbox = made(View::Host, "true");
    let dir = crate::support::verify_cgroup::directory(sandbox.pid(), "pids")
        .or_else(|| crate::support::verify_cgroup::directory(sandbox.pid(), ""))
        .expect("a cgroup");
    let mut guest = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(dir.join("cgroup.procs"), guest.id().to_string()).unwrap();
    let out = sandbox.verb(&["delete", "--force"]).run();
    assert!(out.took < patience(20), "{:?}", out.took);
    let alive = guest.try_wait().unwrap().is_none();
    guest.kill().unwrap();
    guest.wait().unwrap();
    let says = format!("unable to remove container's cgroup: process {} did not end within 10 s: rmdir ", guest.id());
    assert!(out.code == Some(1) && out.stderr.contains(&says), "{out:#?}");
    assert!(alive);
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// A thousand processes, and processes that make others as fast as they can: gone at once, with or without a pid namespace.
#[test]
fn crowds() {
    if !root() {
        return;
    }
    let thousand = "i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i+1)); done; echo all >/all; wait";
    let bomb = "f() { f | f & }; f; echo all >/all; while :; do sleep 1; done";
    for (script, limit) in [(thousand, 1100), (bomb, 300)] {
        for own_pids in [true, false] {
            let sandbox = Sandbox::with_view(if own_pids { View::Host } else { View::Pids });
            let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
            config["linux"]["resources"] = json!({ "pids": { "limit": limit } });
            if !own_pids {
                config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
            }
            sandbox.write(&config);
            sandbox.cntr(&["create", "--bundle", &sandbox.bundle().to_string_lossy(), &sandbox.id]).ok();
            sandbox.verb(&["start"]).ok();
            wait_for("the crowd", || sandbox.rootfs().join("all").exists().then_some(()));
            let start = Instant::now();
            sandbox.verb(&["pause"]).ok();
            sandbox.verb(&["resume"]).ok();
            sandbox.verb(&["delete", "--force"]).ok();
            assert!(start.elapsed() < patience(10), "{own_pids} {script}: {:?}", start.elapsed());
            sandbox.assert_clean();
        }
    }
}

/// `ps` lists what is in cgroups below and in either version's hierarchy; nobody is `null`.
#[test]
fn processes_wherever_they_are() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = made(view, "sleep 1000 & sleep 1000 & exec sleep 1000");
        sandbox.verb(&["start"]).ok();
        let pids = || -> Vec<u32> {
            let out = sandbox.cntr(&["ps", "--format", "json", &sandbox.id]).ok();
            assert!(out.stderr.is_empty(), "{out:#?}");
            serde_json::from_str::<Option<Vec<u32>>>(&out.stdout).unwrap().unwrap_or_default()
        };
        wait_for("three processes", || (pids().len() == 3).then_some(()));
        let before = pids();
        for dir in crate::support::leftovers::cgroups(&sandbox.id) {
            // One goes two levels down, in each hierarchy.
            let below = dir.join("a/b");
            fs::create_dir_all(&below).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|file| dir.join(file).exists()) {
                let _ = fs::write(dir.join("a").join(file), read(dir.join(file)));
                let _ = fs::write(below.join(file), read(dir.join(file)));
            }
            fs::write(below.join("cgroup.procs"), before[1].to_string()).unwrap();
        }
        assert_eq!(pids(), before, "{view:?}");
        let table = sandbox.cntr(&["ps", &sandbox.id, "-e", "-o", "pid,args"]).ok().stdout;
        assert!(table.lines().count() == 4 && table.lines().skip(1).all(|l| l.contains("sleep 1000")), "{table}");
        sandbox.cntr(&["kill", &sandbox.id, "KILL"]).ok();
        sandbox.wait_status("stopped");
        assert_eq!(sandbox.cntr(&["ps", "--format", "json", &sandbox.id]).ok().stdout, "null\n");
        assert_eq!(sandbox.cntr(&["ps", &sandbox.id, "-e", "-o", "pid"]).ok().stdout.trim(), "PID");
        ended(&sandbox);
    }
}

/// As above with v2's freezer, where SIGKILL needs no thaw; and without a pid namespace, where the cgroup is all there is.
#[test]
fn frozen_cgroups_below_keep_nobody_alive() {
    if !root() {
        return;
    }
    for view in [View::V2, View::Pids] {
        let sandbox = Sandbox::with_view(view);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "sleep 1000 & sleep 1000 & wait");
        if view == View::Pids {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
        }
        sandbox.write(&config);
        sandbox.cntr(&["run", "--detach", "--bundle", &sandbox.bundle().to_string_lossy(), &sandbox.id]).ok();
        // Where the container is frozen, and how.
        let v1 = PathBuf::from("/sys/fs/cgroup/freezer").join(&sandbox.id);
        let v1 = (view == View::Pids && v1.exists()).then_some(v1);
        let (file, value) = if v1.is_some() { ("freezer.state", "FROZEN") } else { ("cgroup.freeze", "1") };
        let found = crate::support::leftovers::cgroups(&sandbox.id);
        let own = found.into_iter().find(|dir| v1.as_ref().map_or(dir.join(file).exists(), |v1| v1 == dir)).unwrap();
        let pids = || read(own.join("cgroup.procs"));
        wait_for("three processes", || (pids().lines().count() == 3).then_some(()));
        let below = own.join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("cgroup.procs"), pids().lines().last().unwrap()).unwrap();
        fs::write(below.join(file), value).unwrap();
        let start = Instant::now();
        ended(&sandbox);
        assert!(start.elapsed() < patience(5), "{view:?}: {:?}", start.elapsed());
    }
}

/// An ordinary user's container may have no cgroup at all.
#[test]
fn without_a_freezer_it_says_so() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(NOBODY));
    own_directories(&sandbox, NOBODY);
    sandbox.write(&ordinary(NOBODY, "sleep 1000"));
    sandbox.verb(&["create"]).ok();
    if read(format!("/proc/{}/cgroup", sandbox.pid())).contains(&sandbox.id) {
        skip("nobody has cgroups here");
    } else {
        refused(&sandbox, "pause", "freezer not supported: the container has no cgroup that could be frozen");
        assert_eq!(sandbox.status(), "created");
    }
    ended(&sandbox);
}
