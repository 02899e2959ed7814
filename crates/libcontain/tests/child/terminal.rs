//! Terminals without the heap, where they are made and where they cannot be; and a caller who does not read.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use libcontain::{Container, CreateOptions, Error};
use serde_json::{Value, json};

use crate::rich;
use crate::support::{World, null, rooted, set};
use crate::trap;

fn config(world: &World, script: &str) -> Value {
    let mut config = world.minimal(script);
    set(&mut config, "/process/terminal", json!(true));
    set(&mut config, "/process/consoleSize", json!({ "height": 24, "width": 80 }));
    set(&mut config, "/mounts/-", json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts" }));
    config
}

fn make(world: &World, config: &Value, console: Option<BorrowedFd<'_>>, run: bool) -> Result<Container, Error> {
    let null = null();
    let options = CreateOptions { stdio: [Some(null.as_fd()); 3], console, ..CreateOptions::default() };
    let (runtime, bundle) = (world.runtime(), world.bundle(config));
    if run { runtime.run(&world.name(), &bundle, &options) } else { runtime.create(&world.name(), &bundle, &options) }
}

#[test]
fn everything_at_once_in_a_terminal() {
    let Some(world) = rooted("everything_at_once_in_a_terminal") else { return };
    let mut config = rich::config(&world);
    set(&mut config, "/process/terminal", json!(true));
    set(&mut config, "/process/consoleSize", json!({ "height": 24, "width": 80 }));
    for run in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let container = make(&world, &config, Some(theirs.as_fd()), run).unwrap_or_else(|e| panic!("{e}"));
        if !run {
            container.start().unwrap_or_else(|e| panic!("{e}"));
        }
        assert_eq!(container.wait().unwrap(), 0, "run: {run}");
        container.delete(false).unwrap();
        drop(ours);
    }
    world.assert_clean();
    assert_eq!(trap::catches(), 0);
}

#[test]
fn what_can_be_wrong_with_the_image() {
    if rooted("what_can_be_wrong_with_the_image").is_none() {
        return;
    }
    type Wrong = fn(&World, &mut Value);
    let cases: [(Wrong, &str); 5] = [
        (|_, c| set(c, "/mounts/2/destination", json!("/dev/other")), "openat2: /dev/pts: no such file or directory"),
        (|_, c| set(c, "/mounts/2/type", json!("tmpfs")), "/dev/pts is not a devpts"),
        (
            |w, c| {
                symlink("/etc/passwd", w.rootfs().join("dev/console")).unwrap();
                c["mounts"].as_array_mut().unwrap().remove(1);
            },
            "openat: /dev/console: too many levels of symbolic links",
        ),
        (
            |_, c| set(c, "/mounts/-", json!({ "destination": "/dev/console", "type": "tmpfs", "source": "tmpfs" })),
            "move_mount: /dev/console",
        ),
        (
            |w, c| {
                fs::create_dir(w.path("covered")).unwrap();
                let own = json!({ "destination": "/dev/pts", "type": "bind", "source": w.path("covered"), "options": ["bind"] });
                set(c, "/mounts/-", own);
            },
            "/dev/pts is not a devpts",
        ),
    ];
    for (wrong, says) in cases {
        let world = World::new();
        let mut config = config(&world, "true");
        wrong(&world, &mut config);
        for run in [false, true] {
            let (_ours, theirs) = UnixStream::pair().unwrap();
            let error = make(&world, &config, Some(theirs.as_fd()), run).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("error setting up console: process.terminal: {says}")), "{text}");
            assert_eq!(error.at().unwrap().to_string(), "process.terminal");
            world.assert_clean();
        }
    }
    assert_eq!(trap::catches(), 0);
}

/// A peer that has gone, one that does not read, and what is no socket: none is waited for.
#[test]
fn what_can_be_wrong_with_the_caller() {
    let Some(world) = rooted("what_can_be_wrong_with_the_caller") else { return };
    let config = config(&world, "true");
    let fails = |console: Option<BorrowedFd<'_>>, says: &str| {
        let text = make(&world, &config, console, false).unwrap_err().to_string();
        assert!(text.contains(&format!("process.terminal: {says}")), "{text}");
        world.assert_clean();
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    fails(Some(theirs.as_fd()), "sendmsg: broken pipe");
    let (_ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    while theirs.write(&[0; 4096]).is_ok() {}
    theirs.set_nonblocking(false).unwrap();
    fails(Some(theirs.as_fd()), "sendmsg: resource temporarily unavailable");
    fails(Some(null().as_fd()), "sendmsg: socket operation on non-socket");
    fails(None, "there is nobody to take the terminal's master end");
    assert_eq!(trap::catches(), 0);
}
