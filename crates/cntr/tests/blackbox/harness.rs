//! The harness itself: what it takes for a leftover, and, more important, what it does not: leftovers are
//! killed.

use std::process::Command;

use crate::support::{Sandbox, bundle, host, leftovers, root, wait_for};

/// A runtime that leaves a mount on the host makes every process's mountinfo name the sandbox. That mount is a
/// leftover; the processes are not ours.
#[test]
fn a_leaked_mount_makes_no_process_ours() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let rootfs = sandbox.rootfs().to_string_lossy().into_owned();
    host("mount", &["--bind", &rootfs, &rootfs]);
    // a foreign process, younger than this one, in a mount namespace of its own and with the leaked mount in it
    let mut foreign = Command::new("unshare").args(["-m", "sleep", "1000"]).spawn().unwrap();
    let exe = format!("/proc/{}/exe", foreign.id());
    wait_for("sleep", || std::fs::read_link(&exe).is_ok_and(|e| e.ends_with("sleep")).then_some(()));
    let found = leftovers::processes(&sandbox.id, sandbox.dir());
    let left = sandbox.left();
    leftovers::kill_processes("cntr-box-no-such", std::path::Path::new("/nowhere"));
    let alive = foreign.try_wait().unwrap().is_none();
    let _ = foreign.kill();
    let _ = foreign.wait();
    assert!(leftovers::remove_mounts(sandbox.dir()), "the mount is still there");
    assert!(found.is_empty(), "{found:?}");
    assert!(alive);
    let left = left.expect("the mount is a leftover");
    assert!(left.len() == 1 && left[0].starts_with("mount "), "{left:?}");
}

/// A container's processes are found, and nothing else is.
#[test]
fn processes_of_a_container_are_found() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "sleep 1000 & exec sleep 1000"));
    sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    let found = || leftovers::processes(&sandbox.id, sandbox.dir());
    wait_for("two processes", || (found().len() == 2).then_some(()));
    assert!(found().iter().any(|(pid, _)| *pid == sandbox.pid()));
    assert!(leftovers::all(&sandbox.id, sandbox.dir(), &sandbox.state_root()).iter().any(|l| l.starts_with("cgroup ")));
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}
