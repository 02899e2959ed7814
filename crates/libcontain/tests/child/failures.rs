//! Every step that can be made to fail in the child: the error is the step's own, with its config path, and the child
//! says it without the heap. Nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use libcontain::{CreateOptions, Error, Host};
use serde_json::json;

use crate::cases::{CREDENTIALS, Case, HOOKS, MOUNTS, PATHS, PROGRAMS, WORDS, hook, script};
use crate::support::{World, rooted, set, skip};
use crate::trap;

const SYS_RESOURCE: u64 = 1 << 24;

fn executable(world: &World, name: &str, content: &[u8]) {
    fs::write(world.rootfs().join(name), content).unwrap();
    fs::set_permissions(world.rootfs().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn check(case: &Case, how: &str, result: Result<libcontain::Container, Error>) -> Option<String> {
    let wrong = |why: String| Some(format!("{} ({how}): {why}", case.step));
    let error = match result {
        Ok(container) => {
            let _ = container.delete(true);
            return wrong("it did not fail".into());
        }
        Err(error) => error,
    };
    let text = error.to_string();
    if text.contains("without a word")
        || text.contains(": success")
        || case.says.iter().any(|part| !text.contains(part))
    {
        return wrong(format!("{text:?} does not say {:?}", case.says));
    }
    let at = error.at().map(|at| at.to_string()).unwrap_or_default();
    if at != case.at || !text.contains(case.at) && !case.at.starts_with("hooks.") {
        return wrong(format!("at {at:?} and not {:?}: {text}", case.at));
    }
    None
}

fn all_fail(test: &str, cases: &[Case]) {
    if rooted(test).is_none() {
        return;
    }
    let mut wrong = Vec::new();
    for case in cases {
        let world = World::new();
        let mut config = world.minimal("true");
        (case.wrong)(&world, &mut config);
        wrong.extend(check(case, "create", world.create(&config)));
        let left = world.left();
        wrong.extend((!left.is_empty()).then(|| format!("{}: left {left:?}", case.step)));
        wrong.extend(check(case, "run", world.run(&config)));
        let caught = trap::catches();
        assert_eq!(caught, 0, "{}: the child used the heap", case.step);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn plain_words() {
    all_fail("plain_words", WORDS);
}

#[test]
fn mounts_and_devices() {
    all_fail("mounts_and_devices", MOUNTS);
}

#[test]
fn paths_and_names() {
    all_fail("paths_and_names", PATHS);
}

#[test]
fn credentials() {
    all_fail("credentials", CREDENTIALS);
}

#[test]
fn programs() {
    all_fail("programs", PROGRAMS);
}

#[test]
fn hooks() {
    all_fail("hooks", HOOKS);
}

/// What `execve` says is known only after `start`: by `run` at once, by `start` through the FIFO.
#[test]
fn programs_that_the_kernel_does_not_execute() {
    let Some(world) = rooted("programs_that_the_kernel_does_not_execute") else { return };
    executable(&world, "bin/noise", &[0x7f, b'E', b'L', b'F', 9, 9, 9, 9]);
    executable(&world, "bin/script", b"#!/nonesuch/interpreter\n");
    for (program, says) in [
        ("/bin/noise", "exec /bin/noise: exec format error"),
        ("/bin/script", "exec /bin/script: no such file or directory"),
    ] {
        for hook in [false, true] {
            let mut config = world.minimal("");
            set(&mut config, "/process/args", json!([program]));
            set(&mut config, "/process/noNewPrivileges", json!(hook));
            if hook {
                set(&mut config, "/hooks/startContainer/-", json!({ "path": "/bin/true" }));
            }
            let container = world.create(&config).unwrap_or_else(|e| panic!("{e}"));
            let error = container.start().unwrap_err().to_string();
            assert!(error.contains(says), "start: {error}");
            assert_eq!(container.wait().unwrap(), 255);
            container.delete(false).unwrap();
            let error = world.run(&config).unwrap_err();
            assert!(error.to_string().contains(says), "run: {error}");
            assert_eq!(error.at().unwrap().to_string(), "process.args[0]");
            world.assert_clean();
        }
    }
    assert_eq!(trap::catches(), 0);
}

#[test]
fn start_container_hooks() {
    let Some(world) = rooted("start_container_hooks") else { return };
    let hooks = [
        (script("exit 5"), "startContainer hook #0: exit status 5"),
        (
            json!({ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }),
            "hook ran past specified timeout of 1.0s",
        ),
        (json!({ "path": "/nonesuch" }), "startContainer hook #0"),
        (script("kill -15 $$"), "startContainer hook #0: signal: terminated"),
    ];
    for (given, says) in hooks {
        let mut config = world.minimal("true");
        hook(&mut config, "startContainer", given);
        let container = world.create(&config).unwrap_or_else(|e| panic!("{e}"));
        let error = container.start().unwrap_err().to_string();
        assert!(error.contains(says), "start: {error}");
        container.wait().unwrap();
        container.delete(false).unwrap();
        let error = world.run(&config).unwrap_err();
        assert!(error.to_string().contains(says), "run: {error}");
        world.assert_clean();
    }
    assert_eq!(trap::catches(), 0);
}

/// A host that is said to have more than it has, so that the child finds out.
#[test]
fn what_checking_cannot_know() {
    let Some(world) = rooted("what_checking_cannot_know") else { return };
    let host = Host::probe().unwrap();
    if host.capabilities & SYS_RESOURCE != 0 {
        return skip("what_checking_cannot_know", "the caller has CAP_SYS_RESOURCE");
    }
    let every = Host { capabilities: host.capabilities | SYS_RESOURCE, bounding: host.bounding | SYS_RESOURCE, ..host };
    let runtime = world.runtime().with_host(every);
    let caps = json!(["CAP_SYS_RESOURCE"]);
    let all = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    let inherited = json!({ "bounding": caps, "effective": [], "permitted": [], "inheritable": caps });
    for (pointer, value, says) in [
        ("/process/capabilities", all, "unable to apply caps: process.capabilities: capset: operation not permitted"),
        (
            "/process/capabilities",
            inherited,
            "unable to apply caps: process.capabilities: capset: operation not permitted",
        ),
        ("/process/oomScoreAdj", json!(-1000), "process.oomScoreAdj: write: permission denied"),
    ] {
        let mut config = world.minimal("true");
        set(&mut config, pointer, value);
        let error = runtime.create(&world.name(), &world.bundle(&config), &CreateOptions::default()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        world.assert_clean();
    }
    assert_eq!(trap::catches(), 0);
}

/// A process in a pid namespace whose first process is dead: nothing can be cloned into it.
struct Dead(Child);

impl Dead {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--pid", "sh", "-c", "/bin/true & wait; exec 3<&-; echo; read x"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // its first and only child, `true`, has ended when it says so
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Dead(child)
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/pid_for_children", self.0.id())
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_intermediate_cannot_clone() {
    let Some(world) = rooted("the_intermediate_cannot_clone") else { return };
    let dead = Dead::new();
    let mut config = world.minimal("true");
    set(&mut config, "/linux/namespaces/0/path", json!(dead.namespace()));
    for result in [world.create(&config), world.run(&config)] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("cannot allocate memory"), "{error}");
        assert_eq!(error.at().unwrap().to_string(), "linux.namespaces[0]");
    }
    world.assert_clean();
    assert_eq!(trap::catches(), 0);
}

/// The config cannot tell which ids a user namespace has that it joins.
#[test]
fn an_unmapped_id_in_a_joined_user_namespace() {
    let Some(world) = rooted("an_unmapped_id_in_a_joined_user_namespace") else { return };
    let holder = World::new();
    let mut config = holder.minimal("sleep 100");
    holder.give_rootfs_to(100_000);
    world.give_rootfs_to(100_000);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
    set(&mut config, "/linux/uidMappings", map.clone());
    set(&mut config, "/linux/gidMappings", map);
    set(&mut config, "/linux/namespaces/-", json!({ "type": "user" }));
    let held = holder.create(&config).unwrap_or_else(|e| panic!("{e}"));
    for (user, says) in [
        (json!({ "uid": 10, "gid": 0 }), "cannot setuid to unmapped uid 10 in user namespace"),
        (json!({ "uid": 0, "gid": 11 }), "cannot setgid to unmapped gid 11 in user namespace"),
        (json!({ "uid": 0, "gid": 0, "additionalGids": [12] }), "unmapped gid"), // which of them is not said
    ] {
        let mut config = world.minimal("true");
        set(&mut config, "/process/user", user);
        set(
            &mut config,
            "/linux/namespaces/-",
            json!({ "type": "user", "path": format!("/proc/{}/ns/user", held.pid()) }),
        );
        let error = world.create(&config).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        world.assert_clean();
    }
    held.delete(true).unwrap();
    holder.assert_clean();
    assert_eq!(trap::catches(), 0);
}
