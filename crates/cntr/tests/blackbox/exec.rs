//! `exec`: streams, exit status, signals, states of the container, programs that cannot be executed. What the process is like
//! is in `exec_process`, where it is in `exec_place`.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Cmd, Output, Sandbox, View, bundle, read, root, wait_for, words};

/// A container that runs and does nothing.
pub(crate) fn idle(view: View, edit: impl FnOnce(&Sandbox, &mut Value)) -> Sandbox {
    let sandbox = Sandbox::with_view(view);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "exec sleep 1000");
    edit(&sandbox, &mut config);
    start(&sandbox, &config);
    sandbox
}

pub(crate) fn start(sandbox: &Sandbox, config: &Value) {
    sandbox.write(config);
    sandbox.verb(&["create", "--bundle", sandbox.bundle().to_str().unwrap()]).ok();
    sandbox.verb(&["start"]).ok();
}

fn plain() -> Sandbox {
    idle(View::Host, |_, _| ())
}

/// `exec FLAGS ID COMMAND`.
pub(crate) fn exec(sandbox: &Sandbox, flags: &[&str], command: &[&str]) -> Cmd {
    sandbox.cntr(&["exec"]).args(flags).arg(&sandbox.id).args(command)
}

pub(crate) fn shell(sandbox: &Sandbox, flags: &[&str], script: &str) -> Cmd {
    exec(sandbox, flags, &["sh", "-c", script])
}

/// `exec --process FILE FLAGS ID`, with `cwd`, `args` (a shell) and `PATH` where `process` has none.
pub(crate) fn from_file(sandbox: &Sandbox, flags: &[&str], process: &Value, script: &str) -> Cmd {
    let mut whole = json!({ "cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], "user": { "uid": 0, "gid": 0 } });
    whole.as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
    let path = sandbox.path("process.json");
    fs::write(&path, whole.to_string()).unwrap();
    sandbox.cntr(&["exec", "--process"]).arg(path).args(flags).arg(&sandbox.id)
}

/// Fails as `exec` does: 255, one line, and nothing on stdout.
#[track_caller]
pub(crate) fn refused(out: &Output, says: &str) {
    let lines = out.stderr.lines().count();
    assert_eq!((out.code, lines, out.stdout.as_str()), (Some(255), 1, ""), "{says}: {out:#?}");
    let text = out.stderr.replace("\\\"", "\"");
    assert!(text.contains("level=error") && text.contains("exec failed: ") && text.contains(says), "{says}: {out:#?}");
}

pub(crate) fn ended(sandbox: &Sandbox) {
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

#[test]
fn streams_and_status() {
    if !root() {
        return;
    }
    let sandbox = plain();
    for status in [0, 1, 42, 255] {
        let out = shell(&sandbox, &[], &format!("exit {status}")).run();
        assert_eq!((out.code, out.stderr.as_str()), (Some(status), ""));
    }
    for (signal, number) in [("KILL", 9), ("TERM", 15), ("USR1", 10)] {
        assert_eq!(shell(&sandbox, &[], &format!("kill -{signal} $$")).run().code, Some(128 + number), "{signal}");
    }
    let mut running = shell(&sandbox, &[], "echo out; echo err >&2; wc -c; exit 7").stdin(Stdio::piped()).spawn();
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(&[b'x'; 100_000]).unwrap();
    drop(stdin);
    let out = running.wait();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str(), out.code), ("out\n100000\n", "err\n", Some(7)));
    // whatever is behind the id is the command's
    let out = exec(&sandbox, &["--"], &["echo", "-d", "--tty", "--", "x"]).ok();
    assert_eq!(out.stdout, "-d --tty -- x\n");
    assert_eq!(sandbox.status(), "running");
    ended(&sandbox);
}

/// The output of a child that outlives the process is waited for, as runc does; the container goes on.
#[test]
fn output_of_children_is_waited_for() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let out = shell(&sandbox, &[], "(sleep 0.3; echo late) & echo early; exit 3").run();
    assert_eq!((out.stdout.as_str(), out.code), ("early\nlate\n", Some(3)));
    ended(&sandbox);
}

#[test]
fn signals_are_forwarded() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let script = "for s in HUP INT TERM USR1 USR2 QUIT; do trap \"echo got $s; exit 3\" $s; done; \
                  trap 'echo wrong' WINCH URG; echo ready; while :; do sleep 0.02; done";
    for (signal, name) in
        [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGHUP, "HUP"), (Signal::SIGUSR2, "USR2")]
    {
        let running = shell(&sandbox, &[], script).spawn();
        wait_for("the process", || running.stdout().contains("ready").then_some(()));
        running.signal(Signal::SIGWINCH);
        running.signal(Signal::SIGURG);
        running.signal(signal);
        let out = running.wait();
        assert_eq!((out.code, out.stdout.as_str()), (Some(3), format!("ready\ngot {name}\n").as_str()));
    }
    // one that is not caught kills it, and the status says so
    let running = shell(&sandbox, &[], "echo ready; exec sleep 1000").spawn();
    wait_for("the process", || running.stdout().contains("ready").then_some(()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, Some(143));
    ended(&sandbox);
}

/// What the caller has blocked or ignored is not the process's.
#[test]
fn signals_of_the_process_are_as_inits() {
    if !root() || !std::path::Path::new("/usr/bin/perl").is_file() {
        return;
    }
    let sandbox = plain();
    let ignoring = "$SIG{INT} = $SIG{CHLD} = 'IGNORE'; exec @ARGV";
    for flags in [&[][..], &["-d"]] {
        let cmd = exec(&sandbox, flags, &["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]);
        let out = cmd.wrapped(&["/usr/bin/perl", "-e", ignoring]).ok();
        let seen = wait_for("two lines", || Some(read(&out.stdout_file)).filter(|text| text.lines().count() == 2));
        let masks: Vec<u64> = seen.lines().map(|l| u64::from_str_radix(words(l)[1], 16).unwrap()).collect();
        assert_eq!(masks[0], 0, "blocked: {seen}");
        assert_eq!(masks[1] & (1 << (17 - 1)), 0, "SIGCHLD: {seen}");
    }
    ended(&sandbox);
}

/// Before `start` as well as after, and neither disturbs the other.
#[test]
fn in_a_created_container() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = Sandbox::created(view, &json!({}), "touch /started; exec sleep 1000");
        let out = shell(&sandbox, &[], "echo $(hostname) $$; test -e /started || echo not yet").ok();
        assert!(out.stdout.starts_with("tests ") && out.stdout.ends_with("not yet\n"), "{view:?}: {out:#?}");
        assert_eq!(sandbox.status(), "created");
        sandbox.verb(&["start"]).ok();
        wait_for("the program", || sandbox.rootfs().join("started").exists().then_some(()));
        assert_eq!(shell(&sandbox, &[], "test -e /started").run().code, Some(0));
        ended(&sandbox);
    }
}

#[test]
fn in_a_container_that_has_stopped() {
    if !root() {
        return;
    }
    let sandbox = plain();
    sandbox.verb(&["kill"]).arg("KILL").ok();
    sandbox.wait_status("stopped");
    for flags in [&[][..], &["-d"], &["--ignore-paused"]] {
        refused(&exec(&sandbox, flags, &["id"]).run(), "exec failed: cannot exec in a stopped container");
    }
    sandbox.verb(&["delete"]).ok();
    refused(&exec(&sandbox, &[], &["id"]).run(), "exec failed: container does not exist");
    sandbox.assert_clean();
}

#[test]
fn in_a_paused_container() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = idle(view, |_, _| ());
        sandbox.verb(&["pause"]).ok();
        let says = "cannot exec in a paused container (use --ignore-paused to override)";
        for flags in [&[][..], &["-d"], &["--ignore-paused=false"]] {
            refused(&exec(&sandbox, flags, &["id"]).run(), says);
        }
        let mut running = exec(&sandbox, &["--ignore-paused"], &["echo", "thawed"]).spawn();
        std::thread::sleep(Duration::from_millis(300));
        assert!(running.child.try_wait().unwrap().is_none(), "{view:?}: it waits");
        assert_eq!(running.stdout(), "", "{view:?}");
        sandbox.verb(&["resume"]).ok();
        let out = running.wait();
        assert_eq!((out.code, out.stdout.as_str()), (Some(0), "thawed\n"), "{view:?}: {out:#?}");
        ended(&sandbox);
    }
}

/// The config is that of `create`: what has become of the bundle does not matter. (runc reads it again.)
#[test]
fn the_saved_config_is_used() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, config| {
        config["process"]["env"] = json!(["PATH=/bin", "A=old"]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] });
        config["process"]["cwd"] = json!("/tmp");
        config["process"]["noNewPrivileges"] = json!(true);
    });
    let script = "echo $A $(id -u):$(id -g):$(id -G) $(pwd) $(grep NoNewPrivs /proc/self/status)";
    let expected = "old 1000:1001:1001 7 /tmp NoNewPrivs: 1\n";
    assert_eq!(shell(&sandbox, &[], script).ok().stdout, expected);
    let mut other = bundle::minimal(&sandbox.cgroups_path(), "");
    other["process"]["env"] = json!(["PATH=/bin", "A=new"]);
    sandbox.write(&other);
    assert_eq!(shell(&sandbox, &[], script).ok().stdout, expected);
    fs::write(sandbox.bundle().join("config.json"), "{").unwrap();
    assert_eq!(shell(&sandbox, &[], script).ok().stdout, expected);
    fs::remove_file(sandbox.bundle().join("config.json")).unwrap();
    assert_eq!(shell(&sandbox, &[], script).ok().stdout, expected);
    let elsewhere = sandbox.path("elsewhere");
    fs::rename(sandbox.bundle(), &elsewhere).unwrap();
    let out = shell(&sandbox, &[], script).cwd(sandbox.dir()).ok();
    assert_eq!(out.stdout, expected);
    fs::rename(elsewhere, sandbox.bundle()).unwrap();
    ended(&sandbox);
}

/// Engines tell these by their texts: 127 for what is missing, 126 for what is not executable.
#[test]
fn programs_that_cannot_be_executed() {
    if !root() {
        return;
    }
    let sandbox = plain();
    for (name, text) in [("garbage", "no program"), ("script", "#!/no/such/interpreter\n"), ("closed", "#!/bin/sh\n")] {
        let path = sandbox.rootfs().join("bin").join(name);
        fs::write(&path, text).unwrap();
        let mode = if name == "closed" { 0o644 } else { 0o755 };
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let pid_file = sandbox.path("pid");
    let frame = "exec failed: unable to start container process: ";
    for (command, says) in [
        ("foo", "exec: \"foo\": executable file not found in $PATH"),
        ("/foo", "exec: \"/foo\": stat /foo: no such file or directory"),
        ("/bin/sh/x", "exec: \"/bin/sh/x\": stat /bin/sh/x: not a directory"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/bin/closed", "exec: \"/bin/closed\": permission denied"),
        ("/bin/garbage", "exec /bin/garbage: exec format error"),
        ("/bin/script", "exec /bin/script: no such file or directory"),
        ("", "exec: \"\": executable file not found in $PATH"),
    ] {
        for flags in [&[][..], &["-d"]] {
            let all: Vec<&str> = [&["--pid-file", pid_file.to_str().unwrap()], flags].concat();
            let out = exec(&sandbox, &all, &[command]).run();
            refused(&out, frame);
            refused(&out, says);
            assert!(!pid_file.exists(), "{command}: a pid of nobody");
        }
    }
    assert_eq!(sandbox.status(), "running");
    ended(&sandbox);
}

/// Podman wants the log to be one JSON object, containerd shows the last of them.
#[test]
fn a_failure_is_one_object_in_the_log() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let log = sandbox.path("log.json");
    let run = |flags: &[&str], command: &[&str]| {
        let cmd = sandbox.cntr(&["--log-format", "json", "--log"]).arg(&log).arg("exec").args(flags);
        cmd.arg(&sandbox.id).args(command).run()
    };
    for (flags, command) in [(&["-d"][..], &["foo"][..]), (&[], &["foo"]), (&["--cap", "CAP_X"], &["foo"]), (&[], &[])]
    {
        let out = run(flags, command);
        assert_eq!(out.code, Some(255), "{out:#?}");
        let entry: Value = serde_json::from_str(&read(&log)).unwrap_or_else(|e| panic!("{e}: {}", read(&log)));
        assert_eq!(entry["level"], "error");
        assert_eq!(out.stderr, format!("{}\n", entry["msg"].as_str().unwrap()));
        fs::remove_file(&log).unwrap();
    }
    run(&[], &["true"]);
    assert_eq!(read(&log), "", "success is silent");
    ended(&sandbox);
}

#[test]
fn flags_that_are_wrong() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let no_socket = "cannot allocate tty if runc will detach without setting console socket";
    let no_use = "cannot use console socket if runc will not detach or allocate tty";
    for (flags, command, says) in [
        (&[][..], &[][..], "exec args cannot be empty"),
        (&["-d", "-t"], &["id"], no_socket),
        (&["-t", "--console-socket", "s"], &["id"], no_use),
        (&["--console-socket", "s"], &["id"], no_use),
        (&["-d", "--console-socket", "s"], &["id"], no_use),
        (
            &["-d", "-t", "--console-socket", "nonesuch"],
            &["id"],
            "dial unix nonesuch: connect: no such file or directory",
        ),
        (&["--pidfd-socket", "/nonesuch"], &["id"], "dial unix /nonesuch: connect: no such file or directory"),
        (&["--user", "mars"], &["id"], "bad uid: "),
        (&["--user", "1:"], &["id"], "bad gid: "),
        (&["-g", "-1"], &["id"], "additional-gids must be a positive number -1"),
        (&["--cwd", "bin"], &["id"], "Cwd must be an absolute path"),
        (
            &["--cwd", "/nonesuch"],
            &["id"],
            "chdir to cwd (\"/nonesuch\") set in config.json failed: process.cwd: openat2: no such file or directory",
        ),
        (&["-e", "A"], &["id"], "invalid environment variable: missing '='"),
        (&["-e", "=A"], &["id"], "invalid environment variable: name cannot be empty"),
        (&["--process", "/nonesuch"], &[], "open /nonesuch: no such file or directory"),
        (&["--preserve-fds", "1"], &["id"], "unable to stat preserved-fd 0 (of 1)"),
        (&["--pid-file", "/nonesuch/pid"], &["id"], "no such file or directory"),
        (&["--cgroup", "a:x", "--cgroup", "b"], &["id"], "invalid --cgroup argument: b (missing <controller>: prefix)"),
    ] {
        refused(&exec(&sandbox, flags, command).run(), says);
    }
    ended(&sandbox);
}

#[test]
fn process_files_that_are_wrong() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let path = sandbox.path("process.json");
    for (text, says) in [
        ("", "process"),
        ("null", "process"),
        ("{", "process"),
        ("{}", "Cwd property must not be empty"),
        (r#"{"cwd":"/"}"#, "args must not be empty"),
        (r#"{"cwd":"/","args":[]}"#, "args must not be empty"),
        (r#"{"cwd":"x","args":["id"]}"#, "Cwd must be an absolute path"),
        (r#"{"cwd":"/","args":"id"}"#, "args"),
        (r#"{"cwd":"/","args":["id"],"user":{"uid":4294967295}}"#, "4294967295"),
        (r#"{"cwd":"/","args":["id"],"rlimits":[{"type":"RLIMIT_X"}]}"#, "wrong rlimit value: RLIMIT_X"),
        (
            r#"{"cwd":"/","args":["id"],"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}"#,
            "invalid ioPriority.Priority: 8",
        ),
        (r#"{"cwd":"/","args":["id"],"execCPUAffinity":{"initial":"x"}}"#, "bad CPUAffinity.Initial: "),
        (r#"{"cwd":"/","args":["id"],"scheduler":{"policy":"SCHED_FUN"}}"#, "invalid scheduler policy: SCHED_FUN"),
        (r#"{"cwd":"/","args":["id"],"env":["A"]}"#, "invalid environment variable: missing '='"),
        (r#"{"cwd":"/","args":["id"],"terminal":true}"#, "cannot allocate tty if runc will detach"),
    ] {
        fs::write(&path, text).unwrap();
        refused(&sandbox.cntr(&["exec", "-d", "-p"]).arg(&path).arg(&sandbox.id).run(), says);
    }
    ended(&sandbox);
}

#[test]
fn many_at_a_time_leave_nothing() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let before = read(sandbox.state_dir().join("state.json"));
    for _ in 0..3 {
        let running: Vec<_> = (0..20).map(|n| shell(&sandbox, &[], &format!("echo {n}; exit {n}")).spawn()).collect();
        for (n, running) in (0..).zip(running) {
            let out = running.wait();
            assert_eq!((out.code, out.stdout), (Some(n), format!("{n}\n")));
        }
    }
    let processes = sandbox.cntr(&["ps", "--format", "json", &sandbox.id]).ok().stdout;
    assert_eq!(processes.trim(), format!("[{}]", sandbox.pid()));
    let zombies = shell(&sandbox, &[], "grep -l '^State:.Z' /proc/[0-9]*/status").run();
    assert_eq!(zombies.stdout, "");
    assert_eq!(read(sandbox.state_dir().join("state.json")), before);
    ended(&sandbox);
}

/// Init is killed while others join it or have just done so: each of them has an end, and its container too.
#[test]
fn dying_while_joined() {
    if !root() {
        return;
    }
    for round in 0..10 {
        let sandbox = plain();
        let running: Vec<_> = (0..4).map(|_| shell(&sandbox, &[], "exec sleep 1000").spawn()).collect();
        std::thread::sleep(Duration::from_millis(round * 2));
        sandbox.verb(&["kill"]).arg("KILL").ok();
        for running in running {
            let out = running.wait();
            assert!(matches!(out.code, Some(137 | 255)), "{out:#?}");
        }
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}
