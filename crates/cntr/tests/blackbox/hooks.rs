//! Hooks of all six kinds: order, what they are given (state, environment, directory, descriptors, namespaces),
//! and what happens when one fails. The table is contract.md 3.3.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Sandbox, bundle, patience, read, root, slow, wait_for};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that writes what it was given below `dir`, and its name into `dir/order`. It says /proc/self and
/// not /proc/$$: a createContainer hook has a pid of the container's and still the host's /proc.
fn recorder(kind: &str, index: usize, dir: &str) -> Value {
    let script = format!(
        "f={dir}/{kind}.{index}; cat >$f.state; echo {kind}.{index} >>{dir}/order; pwd >$f.cwd; \
         cat /proc/self/environ | tr '\\0' '\\n' | grep -vE '^(PWD|SHLVL|_)=' >$f.env; readlink /proc/self/ns/mnt >$f.mnt; ls /proc/self/fd >$f.fds; \
         echo \"$0 $*\" >$f.args; echo noise; echo noise >&2"
    );
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script, "argv0", "one", "two"], "env": ["PATH=/usr/bin:/bin", format!("HOOK={kind}")] })
}

/// A bundle whose hooks all record into one directory, which the container sees as /hooks.
fn recorded() -> (Sandbox, Value, PathBuf) {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("hooks");
    std::fs::create_dir(&dir).unwrap();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "echo process >>/hooks/order; exec sleep 1000");
    let host = dir.to_string_lossy().into_owned();
    bundle::set(
        &mut config,
        "/mounts/-",
        Some(json!({ "destination": "/hooks", "source": host, "type": "bind", "options": ["bind"] })),
    );
    for kind in KINDS {
        let dir = if kind == "startContainer" { "/hooks" } else { host.as_str() };
        config["hooks"][kind] = json!([recorder(kind, 0, dir), recorder(kind, 1, dir)]);
    }
    config["annotations"] = json!({ "made.by": "a test" });
    (sandbox, config, dir)
}

fn order(dir: &Path) -> Vec<String> {
    read(dir.join("order")).lines().map(String::from).collect()
}

fn both(kinds: &[&str]) -> Vec<String> {
    kinds.iter().flat_map(|k| [format!("{k}.0"), format!("{k}.1")]).collect()
}

/// runc 1.1.5 runs poststart at the end of `create`; since 2026 it belongs to `start` (contract.md 3.2).
#[test]
fn order_and_what_they_see() {
    if !root() {
        return;
    }
    let (sandbox, config, dir) = recorded();
    sandbox.write(&config);
    let created = sandbox.verb(&["create"]).ok();
    assert_eq!(order(&dir), both(&["prestart", "createRuntime", "createContainer"]), "after create");
    let pid = sandbox.pid();
    let mnt = |p: &str| std::fs::read_link(format!("/proc/{p}/ns/mnt")).unwrap().to_string_lossy().into_owned();
    let (host, inside) = (mnt("self"), mnt(&pid.to_string()));

    sandbox.verb(&["start"]).ok();
    wait_for("the process", || order(&dir).contains(&"process".to_owned()).then_some(()));
    let after = order(&dir).split_off(6);
    let place =
        |name: &str| after.iter().position(|o| o == name).unwrap_or_else(|| panic!("{name} did not run: {after:?}"));
    assert!(place("startContainer.0") < place("startContainer.1"), "{after:?}");
    assert!(place("startContainer.1") < place("process"), "{after:?}");
    assert!(
        place("startContainer.1") < place("poststart.0") && place("poststart.0") < place("poststart.1"),
        "{after:?}"
    );
    assert_eq!(after.len(), 5, "{after:?}");
    sandbox.verb(&["delete", "--force"]).ok();
    assert_eq!(order(&dir).split_off(11), both(&["poststop"]));
    assert_eq!(read(&created.stdout_file), "", "hooks do not write to the caller's stdout");

    what_they_see(&sandbox, &config, &dir, pid, &[host, inside]);
    sandbox.assert_clean();
}

/// What the recorders wrote, against the table of contract.md 3.3. `pid` is init's on the host, `namespaces`
/// are the host's and the container's mount namespace.
#[track_caller]
fn what_they_see(sandbox: &Sandbox, config: &Value, dir: &Path, pid: i32, namespaces: &[String; 2]) {
    let [host, inside] = namespaces;
    let (bundle_dir, rootfs) = (sandbox.bundle().display().to_string(), sandbox.rootfs().display().to_string());
    let table = [
        ("prestart", "creating", Some(pid), host, bundle_dir.as_str()),
        ("createRuntime", "creating", Some(pid), host, &bundle_dir),
        ("createContainer", "creating", Some(1), inside, &rootfs),
        ("startContainer", "created", Some(1), inside, "/"),
        ("poststart", "running", Some(pid), host, &bundle_dir),
        ("poststop", "stopped", None, host, &bundle_dir),
    ];
    let mut faults = Vec::new();
    for (kind, status, pid, namespace, cwd) in table {
        let text = |what: &str| read(dir.join(format!("{kind}.1.{what}")));
        let state: Value =
            serde_json::from_str(&text("state")).unwrap_or_else(|e| panic!("{kind}: {e}: {:?}", text("state")));
        let mut equal = |what: &str, asked: &str, seen: &str| {
            if asked != seen {
                faults.push(format!("{kind}: {what}: asked for {asked:?}, saw {seen:?}"));
            }
        };
        equal("status", status, state["status"].as_str().unwrap_or("none"));
        equal(
            "pid",
            &format!("{pid:?}"),
            &format!("{:?}", state["pid"].as_i64().filter(|p| *p != 0).map(|p| p as i32)),
        );
        equal("id", &sandbox.id, state["id"].as_str().unwrap_or("none"));
        equal("bundle", &bundle_dir, state["bundle"].as_str().unwrap_or("none"));
        equal("annotations", &config["annotations"].to_string(), &state["annotations"].to_string());
        equal("ociVersion", "1.", &state["ociVersion"].as_str().unwrap_or("none").chars().take(2).collect::<String>());
        equal("one line", "1", &text("state").trim_end().lines().count().to_string());
        equal("mount namespace", namespace, text("mnt").trim());
        equal("cwd", cwd, text("cwd").trim());
        equal("args", "argv0 one two", text("args").trim());
        // a shell puts its variables into an order of its own
        let mut env: Vec<String> = text("env").lines().map(String::from).collect();
        env.sort();
        equal("env", &format!("HOOK={kind} PATH=/usr/bin:/bin"), &env.join(" "));
        // 3 is the directory that `ls` reads. runc leaks more to createContainer hooks, cntr must not; hooks on
        // the host may see what the caller leaked into the runtime (contract.md 3.3).
        let allowed = |fd: &str| ["0", "1", "2", "3"].contains(&fd) || (namespace == host && inherited(fd));
        let fds = text("fds");
        equal("foreign fds", "", &fds.split_whitespace().filter(|fd| !allowed(fd)).collect::<Vec<_>>().join(" "));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether this test process itself has the descriptor, and passes it on.
fn inherited(fd: &str) -> bool {
    let flags = read(format!("/proc/self/fdinfo/{fd}"));
    let flags =
        flags.lines().find_map(|l| l.strip_prefix("flags:")).and_then(|f| u32::from_str_radix(f.trim(), 8).ok());
    flags.is_some_and(|f| f & 0o2_000_000 == 0)
}

/// A list without `env` inherits: the caller's environment for hooks on the host, nothing for createContainer
/// (whose runtime has cleared its own), the process's for startContainer. An empty list is empty.
#[test]
fn environment() {
    if !root() {
        return;
    }
    let (sandbox, mut config, dir) = recorded();
    let host = dir.to_string_lossy().into_owned();
    for kind in KINDS {
        let to = if kind == "startContainer" { "/hooks" } else { host.as_str() };
        let script = |n: &str| json!(["sh", "-c", format!("exec /bin/cat /proc/self/environ >{to}/{kind}.{n}")]);
        config["hooks"][kind] = json!([
            { "path": "/bin/sh", "args": script("absent") },
            { "path": "/bin/sh", "args": script("empty"), "env": [] },
        ]);
    }
    config["process"]["env"] = json!(["PATH=/usr/bin:/bin", "FROM=process"]);
    config["process"]["args"] = json!(["/bin/true"]);
    sandbox.write(&config);
    sandbox.verb(&["create"]).env("FROM", "caller").ok();
    sandbox.verb(&["start"]).env("FROM", "caller").ok();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).env("FROM", "caller").ok();
    let from = |kind: &str, which: &str| {
        let text = read(dir.join(format!("{kind}.{which}")));
        text.split('\0').find_map(|e| e.strip_prefix("FROM=").map(String::from)).unwrap_or_default()
    };
    let mut seen = Vec::new();
    for kind in KINDS {
        assert!(dir.join(format!("{kind}.empty")).is_file(), "{kind} did not run");
        seen.push((kind, from(kind, "absent"), from(kind, "empty")));
    }
    let row = |kind, absent: &str, empty: &str| (kind, absent.to_owned(), empty.to_owned());
    let asked = [
        row("prestart", "caller", ""),
        row("createRuntime", "caller", ""),
        row("createContainer", "", ""),
        row("startContainer", "process", "process"),
        row("poststart", "caller", ""),
        row("poststop", "caller", ""),
    ];
    assert_eq!(seen, asked);
    sandbox.assert_clean();
}

/// A failing create-time hook: the frozen text with its index, nothing left, and poststop hooks run.
#[test]
fn failing_hooks_of_create() {
    if !root() {
        return;
    }
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let (sandbox, mut config, dir) = recorded();
        let fails = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo to-out; echo to-err >&2; exit 3"] });
        bundle::set(&mut config, &format!("/hooks/{kind}/1"), Some(fails));
        sandbox.write(&config);
        for verb in ["create", "run"] {
            let _ = std::fs::remove_file(dir.join("order"));
            let out = sandbox.verb(&[verb]).run();
            assert_eq!(out.code, Some(1), "{out:#?}");
            let text = out.stderr.replace("\\n", "\n").replace("\\\"", "\"");
            assert!(text.contains(&format!("error running {kind} hook #1: exit status 3, stdout: to-out")), "{out:#?}");
            assert!(text.contains("stderr: to-err"), "{out:#?}");
            assert!(order(&dir).ends_with(&both(&["poststop"])), "poststop after a failed create: {:?}", order(&dir));
            assert!(!order(&dir).contains(&"process".to_owned()), "the process must not run");
            sandbox.assert_clean();
        }
    }
}

/// In Go's words, wherever the hook runs: `signal: terminated`, not a number.
#[test]
fn hooks_that_are_killed() {
    if !root() {
        return;
    }
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let (sandbox, mut config, _dir) = recorded();
        config["hooks"] = json!({ kind: [{ "path": "/bin/sh", "args": ["sh", "-c", "kill $$"] }] });
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        let text = format!("error running {kind} hook #0: signal: terminated, stdout: , stderr: ");
        assert!(out.code.is_some_and(|c| c != 0), "{out:#?}");
        assert!(format!("{}{}", out.stdout, out.stderr).contains(&text), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// A failing startContainer hook: `start` has returned, the program does not run, the container is stopped.
#[test]
fn failing_start_container_hook() {
    if !root() {
        return;
    }
    let (sandbox, mut config, dir) = recorded();
    config["hooks"]["startContainer"] = json!([{ "path": "/bin/false" }]);
    config["hooks"].as_object_mut().unwrap().remove("poststart");
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    assert!(out.code.is_some_and(|c| c != 0), "{out:#?}");
    assert!(
        format!("{}{}", out.stdout, out.stderr).contains("error running startContainer hook #0: exit status 1"),
        "{out:#?}"
    );
    assert!(!order(&dir).contains(&"process".to_owned()), "the process must not run");
    sandbox.assert_clean();
}

/// What the program makes before it first waits for anything is there when poststart hooks run. (Of three tries one counts:
/// a machine may be so busy that the program is not run in time.)
#[test]
fn poststart_hooks_find_what_the_program_has_begun_with() {
    if !root() {
        return;
    }
    let in_order = || {
        let (sandbox, mut config, dir) = recorded();
        let turns = 10_000 / slow(); // some ten milliseconds
        let busy = format!(
            "i=0; while [ $i -lt {turns} ]; do i=$((i + 1)); done; echo process >>/hooks/order; exec sleep 1000"
        );
        config["process"]["args"][2] = busy.into();
        config["hooks"] = json!({ "poststart": [recorder("poststart", 0, &dir.to_string_lossy())] });
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        sandbox.verb(&["start"]).ok();
        wait_for("the process", || order(&dir).contains(&"process".to_owned()).then_some(()));
        let ran = order(&dir);
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
        ran == ["process", "poststart.0"]
    };
    assert!((0..3).any(|_| in_order()));
}

/// A failing poststart hook: an error, and the container is stopped (`start`) or gone (`run`).
#[test]
fn failing_poststart_hook() {
    if !root() {
        return;
    }
    let (sandbox, mut config, _dir) = recorded();
    bundle::set(&mut config, "/hooks/poststart/0", Some(json!({ "path": "/bin/false" })));
    sandbox.write(&config);
    let text = "error running poststart hook #0: exit status 1";
    sandbox.verb(&["create"]).ok();
    let out = sandbox.verb(&["start"]).run();
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
    let out = sandbox.verb(&["run"]).run();
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    sandbox.assert_clean();
}

/// A failing poststop hook is a warning, and the others run (spec; runc stops and exits 1).
#[test]
fn failing_poststop_hook_is_a_warning() {
    if !root() {
        return;
    }
    let (sandbox, mut config, dir) = recorded();
    bundle::set(&mut config, "/hooks/poststop/0", Some(json!({ "path": "/bin/false" })));
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    let out = sandbox.verb(&["delete", "--force"]).run();
    assert_eq!(out.code, Some(0), "{out:#?}");
    assert!(out.stderr.contains("warning") && out.stderr.contains("poststop hook #0"), "{out:#?}");
    assert!(order(&dir).ends_with(&["poststop.1".to_owned()]), "{:?}", order(&dir));
    sandbox.assert_clean();
}

#[test]
fn timeout() {
    if !root() {
        return;
    }
    for kind in ["createRuntime", "createContainer"] {
        let (sandbox, mut config, _dir) = recorded();
        config["hooks"][kind] = json!([{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }]);
        sandbox.write(&config);
        let out = sandbox.verb(&["create"]).run();
        assert!(out.code == Some(1) && out.stderr.contains("hook ran past specified timeout of 1.0s"), "{out:#?}");
        assert!(out.took < patience(5), "{:?}", out.took);
        sandbox.assert_clean();
    }
}

/// More output than a pipe holds, and a hook that never reads its stdin.
#[test]
fn talkative_and_deaf_hooks() {
    if !root() {
        return;
    }
    let (sandbox, mut config, _dir) = recorded();
    let loud = json!({ "path": "/bin/sh", "args": ["sh", "-c", "exec <&-; seq 1 100000; seq 1 100000 >&2"], "env": ["PATH=/usr/bin:/bin"] });
    config["hooks"] =
        json!({ "createRuntime": [loud], "createContainer": [loud], "poststart": [loud], "poststop": [loud] });
    bundle::set(&mut config, "/process/args/2", Some("true".into()));
    sandbox.write(&config);
    sandbox.run_ok();
    sandbox.assert_clean();
}

/// A foreground run blocks every signal for its signalfd, and a mask survives execve(2): a hook with that mask cannot be
/// interrupted. `cp` and not a shell: dash clears the mask before it runs anything.
#[test]
fn hooks_have_no_blocked_signals() {
    if !root() {
        return;
    }
    let (sandbox, mut config, dir) = recorded();
    for kind in KINDS {
        let to = if kind == "startContainer" { "/hooks".into() } else { dir.to_string_lossy() };
        let args = json!(["cp", "/proc/self/status", format!("{to}/{kind}.status")]);
        config["hooks"][kind] = json!([{ "path": "/bin/cp", "args": args }]);
    }
    bundle::set(&mut config, "/process/args/2", Some("true".into()));
    sandbox.write(&config);
    sandbox.run_ok();
    for kind in KINDS {
        let status = read(dir.join(format!("{kind}.status")));
        let blocked = status.lines().find_map(|l| l.strip_prefix("SigBlk:")).map(str::trim);
        assert_eq!(blocked, Some("0000000000000000"), "{kind}");
    }
    sandbox.assert_clean();
}

/// createContainer hooks run between the runtime's umask of 0 and the container's: what they make must have neither.
#[test]
fn hooks_have_the_umask_of_the_caller() {
    if !root() {
        return;
    }
    let (sandbox, mut config, dir) = recorded();
    let kinds = KINDS.into_iter().filter(|k| *k != "startContainer");
    for kind in kinds.clone() {
        let script = format!("umask >{}/{kind}.umask", dir.display());
        config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    }
    config["process"]["user"]["umask"] = json!(0o77);
    bundle::set(&mut config, "/process/args/2", Some("true".into()));
    sandbox.write(&config);
    sandbox.verb(&["run"]).shell("umask 027; exec \"$@\"").ok();
    for kind in kinds {
        assert_eq!(read(dir.join(format!("{kind}.umask"))), "0027\n", "{kind}");
    }
    sandbox.assert_clean();
}

/// The kernel reaps the children of a process that ignores SIGCHLD, and a caller hands that down through execve(2): exit
/// statuses, of the container as of hooks, must not get lost.
#[test]
fn a_caller_that_ignores_sigchld() {
    if !root() {
        return;
    }
    const IGNORE: [&str; 2] = ["env", "--ignore-signal=CHLD"];
    let (sandbox, mut config, dir) = recorded();
    bundle::set(&mut config, "/process/args/2", Some("echo process >>/hooks/order; exit 7".into()));
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).wrapped(&IGNORE).run();
    assert_eq!(out.code, Some(7), "{out:#?}");
    let mut ran = order(&dir);
    ran.sort();
    let mut asked = both(&KINDS);
    asked.push("process".into());
    asked.sort();
    assert_eq!(ran, asked);
    sandbox.assert_clean();

    sandbox.verb(&["create"]).wrapped(&IGNORE).ok();
    sandbox.verb(&["start"]).wrapped(&IGNORE).ok();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).wrapped(&IGNORE).ok();
    sandbox.assert_clean();

    for kind in ["createRuntime", "createContainer"] {
        let mut fails = config.clone();
        fails["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "exit 3"] }]);
        sandbox.write(&fails);
        let out = sandbox.verb(&["run"]).wrapped(&IGNORE).run();
        assert!(out.code == Some(1) && out.stderr.contains("hook #0: exit status 3"), "{kind}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// An init that dies in a startContainer hook has not executed the program: `run -d` must not say that it did, nor run
/// the poststart hooks.
#[test]
fn init_killed_in_a_start_container_hook() {
    if !root() {
        return;
    }
    let (sandbox, mut config, dir) = recorded();
    let script = "echo in >/hooks/in; exec sleep 1000";
    config["hooks"]["startContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    sandbox.write(&config);
    let running = sandbox.verb(&["run", "-d"]).spawn();
    wait_for("the hook", || dir.join("in").exists().then_some(()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(sandbox.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    let out = running.wait();
    assert!(out.code.is_some_and(|c| c != 0), "{out:#?}");
    let ran = order(&dir);
    assert!(!ran.iter().any(|o| o == "process" || o.starts_with("poststart")), "{ran:?}");
    sandbox.assert_clean();
}
