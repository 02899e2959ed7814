//! The seal as a library's user meets it: a container is refused while it could overwrite the program, and is made once the
//! program has called the function that protects it, or has said that it does not mind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use libcontain::{CreateOptions, Error, ExecOptions, Kind, Runtime};
use serde_json::{Value, json};
use support::{World, null, rooted, set};

const PROTECT: &str = "LIBCONTAIN_PROTECT";

fn run(world: &World, runtime: &Runtime, config: &Value) -> Result<libcontain::Container, Error> {
    let null = null();
    let options = CreateOptions { stdio: [Some(null.as_fd()); 3], ..CreateOptions::default() };
    runtime.run(&world.name(), &world.bundle(config), &options)
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(error.to_string().contains("call libcontain::seal::protect_executable at the start of main"), "{error}");
}

/// This test program is root's, and can be written by him.
#[test]
fn an_unprotected_program_makes_no_containers() {
    let Some(world) = rooted("an_unprotected_program_makes_no_containers") else { return };
    let config = world.minimal("sleep 1000");
    let strict = Runtime::new(world.path("state"));
    for create in [true, false] {
        let bundle = world.bundle(&config);
        let options = CreateOptions::default();
        let made = if create {
            strict.create(&world.name(), &bundle, &options)
        } else {
            strict.run(&world.name(), &bundle, &options)
        };
        assert_refused(made);
        world.assert_clean();
    }
    let trusting = world.runtime();
    let container = run(&world, &trusting, &config).unwrap();
    let process = container.process().unwrap();
    assert_refused(strict.container(&world.name()).unwrap().exec(&process, &ExecOptions::default()));
    container.delete(true).unwrap();
    world.assert_clean();
}

/// Nobody there is root of the host.
#[test]
fn a_user_namespace_protects_what_it_does_not_map() {
    let Some(world) = rooted("a_user_namespace_protects_what_it_does_not_map") else { return };
    let strict = Runtime::new(world.path("state"));
    let mut config = world.minimal("sleep 1000");
    set(&mut config, "/linux/namespaces/-", json!({ "type": "user" }));
    for (host, protects) in [(100_000u32, true), (0, false)] {
        world.give_rootfs_to(host);
        let map = json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
        set(&mut config, "/linux/uidMappings", map.clone());
        set(&mut config, "/linux/gidMappings", map);
        let made = run(&world, &strict, &config);
        if protects {
            let container = made.unwrap();
            let mut process = container.process().unwrap();
            process.set_args(Some(vec!["/bin/true".into()]));
            let exec = strict.container(&world.name()).unwrap().exec(&process, &ExecOptions::default()).unwrap();
            let reaped = rustix::process::waitid(
                rustix::process::WaitId::PidFd(exec.pidfd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            assert_eq!(reaped.unwrap().unwrap().exit_status(), Some(0));
            container.delete(true).unwrap();
        } else {
            assert_refused(made);
        }
        world.assert_clean();
    }
}

/// The test program executes itself with the test's name, and there once more by what it asks for.
#[test]
fn a_protected_program_makes_containers() {
    let Some(world) = rooted("a_protected_program_makes_containers") else { return };
    if std::env::var_os(PROTECT).is_some() {
        libcontain::seal::protect_executable().unwrap();
        assert_eq!(std::fs::read_link("/proc/self/exe").unwrap().to_str(), Some("/"));
        libcontain::seal::protect_executable().unwrap(); // does nothing now
        let container = run(&world, &Runtime::new(world.path("state")), &world.minimal("sleep 1000")).unwrap();
        container.delete(true).unwrap();
        world.assert_clean();
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "a_protected_program_makes_containers"]).env(PROTECT, "1").stdin(Stdio::null());
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
