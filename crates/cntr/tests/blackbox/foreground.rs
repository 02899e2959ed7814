//! `run` in the foreground and its flags: exit status, signals, stdio, `-d`, `--keep`, `--pid-file`,
//! `--preserve-fds`, `--no-pivot`, `--no-new-keyring`, odd descriptors 0-2.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::verify_fs::Mount;
use crate::support::{Cmd, Sandbox, View, bundle, read, root, wait_for, words};

fn shell(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), script));
    sandbox
}

/// Without a pid namespace, so that the program is not pid 1 and signals do to it what they usually do.
fn shell_with_host_pids(script: &str) -> Sandbox {
    let sandbox = Sandbox::with_view(View::Pids);
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    sandbox.write(&config);
    sandbox
}

#[test]
fn exit_status() {
    if !root() {
        return;
    }
    for status in [0, 1, 42, 255] {
        let sandbox = shell(&format!("exit {status}"));
        assert_eq!(sandbox.verb(&["run"]).run().code, Some(status));
        sandbox.assert_clean();
    }
    for (name, number) in [("TERM", 15), ("KILL", 9), ("USR1", 10)] {
        let sandbox = shell_with_host_pids(&format!("kill -{name} $$"));
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
        assert_eq!(out.code, Some(128 + number), "{name}: {out:#?}");
        sandbox.assert_clean();
    }
}

#[test]
fn signals_reach_the_process() {
    if !root() {
        return;
    }
    let script = "for s in HUP INT TERM USR1 USR2 QUIT; do trap \"echo got $s; exit 3\" $s; done; echo ready; \
                  while :; do sleep 0.02; done";
    for (signal, name) in
        [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGHUP, "HUP"), (Signal::SIGUSR2, "USR2")]
    {
        let sandbox = shell(script);
        let running = sandbox.verb(&["run"]).spawn();
        wait_for("the program", || running.stdout().contains("ready").then_some(()));
        running.signal(signal);
        let out = running.wait();
        assert!(out.code == Some(3) && out.stdout.contains(&format!("got {name}")), "{out:#?}");
        sandbox.assert_clean();
    }
}

#[test]
fn killed_from_outside() {
    if !root() {
        return;
    }
    let sandbox = shell("echo ready; sleep 1000");
    let running = sandbox.verb(&["run"]).spawn();
    wait_for("the program", || running.stdout().contains("ready").then_some(()));
    sandbox.cntr(&["kill", &sandbox.id, "SIGKILL"]).ok();
    assert_eq!(running.wait().code, Some(137));
    sandbox.assert_clean();
}

/// stdin goes through to its last byte, and its end is seen.
#[test]
fn stdin_and_its_end() {
    if !root() {
        return;
    }
    let sandbox = shell("wc -c; echo end");
    let mut running = sandbox.verb(&["run"]).stdin(Stdio::piped()).spawn();
    let mut stdin = running.child.stdin.take().unwrap();
    for _ in 0..30 {
        stdin.write_all(&[b'x'; 10_000]).unwrap();
    }
    drop(stdin);
    assert_eq!(running.wait().stdout, "300000\nend\n");
    // a program that does not read: its end is not waited for
    let sandbox = shell("exit 5");
    let mut running = sandbox.verb(&["run"]).stdin(Stdio::piped()).spawn();
    let stdin = running.child.stdin.take();
    assert_eq!(running.wait().code, Some(5));
    drop(stdin);
}

#[test]
fn ten_megabytes_of_stdout() {
    if !root() {
        return;
    }
    let sandbox = shell("seq 1 1500000; seq 1 1000 >&2; exit 9");
    let mut running = sandbox.verb(&["run"]).stdout(Stdio::piped()).spawn();
    let mut bytes = Vec::new();
    running.child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    let out = running.wait();
    assert_eq!(out.code, Some(9));
    let lines = |n: u32| (1..=n).map(|i| format!("{i}\n")).collect::<String>();
    assert!(bytes.len() > 10_000_000 && bytes == lines(1_500_000).into_bytes(), "{} bytes", bytes.len());
    assert_eq!(out.stderr, lines(1000));
    sandbox.assert_clean();
}

#[test]
fn detached_and_kept() {
    if !root() {
        return;
    }
    let sandbox = shell("echo from inside; sleep 1000");
    let out = sandbox
        .cntr(&["run", "-d", "--pid-file", "my.pid", "--bundle"])
        .arg(sandbox.bundle())
        .arg(&sandbox.id)
        .cwd(&sandbox.path("out"))
        .ok();
    assert_eq!(out.stderr, "");
    assert_eq!(sandbox.status(), "running");
    // relative to the caller's directory, not to the bundle
    assert_eq!(read(sandbox.path("out/my.pid")), sandbox.pid().to_string());
    wait_for("output", || read(&out.stdout_file).contains("from inside").then_some(()));
    sandbox.verb(&["delete", "-f"]).ok();
    sandbox.assert_clean();

    let sandbox = shell("exit 4");
    assert_eq!(sandbox.verb(&["run", "--keep"]).run().code, Some(4));
    assert_eq!(sandbox.status(), "stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// The numbers of the descriptors that the program has, and what they are.
const FDS: &str = "ls -l /proc/$$/fd";

fn numbers(listing: &str) -> Vec<&str> {
    listing.lines().filter_map(|l| l.split_once(" -> ")?.0.rsplit(' ').next()).collect()
}

#[test]
fn preserve_fds() {
    if !root() {
        return;
    }
    let open = "exec 3</etc/passwd 4</etc/group 5</proc/version; exec \"$@\"";
    let run = |args: &[&str]| {
        let sandbox = shell(&format!("{FDS}; head -n 1 <&4"));
        let out = sandbox.cntr(args).arg(&sandbox.id).shell(open).run();
        sandbox.assert_clean();
        out
    };
    let out = run(&["run", "--preserve-fds", "2"]);
    assert_eq!(numbers(&out.stdout), ["0", "1", "2", "3", "4"], "{out:#?}");
    assert!(out.stdout.contains(read("/etc/group").lines().next().unwrap()), "{out:#?}");
    assert_eq!(numbers(&run(&["run"]).stdout), ["0", "1", "2"]);
    let out = run(&["run", "--preserve-fds=9"]);
    assert!(
        out.code == Some(1) && out.stderr.contains("unable to stat preserved-fd") && out.stderr.contains("(of 9)"),
        "{out:#?}"
    );
}

#[test]
fn no_pivot() {
    if !root() {
        return;
    }
    let sandbox = shell("cat /proc/self/mountinfo; ls /; ls /nowhere-on-the-host");
    fs::create_dir(sandbox.rootfs().join("nowhere-on-the-host")).unwrap();
    let out = sandbox.verb(&["run", "--no-pivot"]).ok();
    let seen: Vec<Mount> = out.stdout.lines().filter(|l| l.contains(" - ")).map(Mount::parse).collect();
    assert!(seen.iter().any(|m| m.point == "/proc" && m.fstype == "proc"), "{seen:#?}");
    let host: Vec<&str> =
        out.stdout.lines().filter(|l| !l.contains(" - ") && ["usr", "work", "lib64", "boot"].contains(l)).collect();
    assert_eq!(host, ["usr"], "the rootfs and not the host: {}", out.stdout);
    sandbox.assert_clean();
}

/// What the config masks stays so for a user namespace of the container's own: a procfs can be mounted there only if one is
/// in sight that shows all of it, and without pivot_root(2) the host's would be.
#[test]
fn no_pivot_and_a_procfs_of_ones_own() {
    if !root() {
        return;
    }
    for kind in ["none", "createContainer"] {
        let sandbox = Sandbox::new();
        let mount = "unshare -mrpf mount -t proc none /proc && echo bare";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), mount);
        config["linux"]["maskedPaths"] = json!(["/proc/sys"]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SETFCAP"]);
        }
        if kind != "none" {
            config["hooks"][kind] = json!([{ "path": "/bin/true" }]);
        }
        sandbox.write(&config);
        let out = sandbox.verb(&["run", "--no-pivot"]).run();
        assert!(out.code == Some(1) && out.stderr.contains("mount: permission denied"), "{kind}: {out:#?}");
        bundle::set(&mut config, "/linux/maskedPaths", None);
        sandbox.write(&config);
        let out = sandbox.verb(&["run", "--no-pivot"]).ok();
        assert_eq!(out.stdout, "bare\n", "{kind}: nothing is masked");
        sandbox.assert_clean();
    }
}

/// A new session keyring is called `_ses.ID`; --no-new-keyring leaves the caller's.
#[test]
fn keyring() {
    if !root() {
        return;
    }
    if fs::metadata("/proc/keys").is_err() {
        crate::support::skip("no /proc/keys");
        return;
    }
    // one sandbox each: the kernel lists a keyring for a while after its last user has gone
    for (args, asked) in [(&["run"][..], true), (&["run", "--no-new-keyring"], false)] {
        let sandbox = shell("cat /proc/keys");
        let keys = sandbox.verb(args).ok().stdout;
        assert_eq!(keys.contains(&format!("_ses.{}:", sandbox.id)), asked, "{args:?}: {keys}");
        sandbox.assert_clean();
    }
}

/// 0-2 closed in every combination that matters: the container starts, and gets nothing of the runtime's.
/// (runc 1.1.5 gives it /sys/fs/cgroup as descriptor 0.)
#[test]
fn closed_stdio() {
    if !root() {
        return;
    }
    for close in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        let sandbox = shell("exec sleep 1000");
        let script = format!("exec \"$@\" {close}");
        sandbox.verb(&["create"]).shell(&script).ok();
        sandbox.verb(&["start"]).shell(&script).ok();
        let dir = format!("/proc/{}", sandbox.pid());
        wait_for("the program", || read(format!("{dir}/cmdline")).starts_with("sleep").then_some(()));
        for fd in fs::read_dir(format!("{dir}/fd")).unwrap().flatten() {
            let target = fs::read_link(fd.path()).unwrap();
            let given = target.ends_with("dev/null") || target.starts_with(sandbox.path("out"));
            assert!(given, "{close}: {:?} is {target:?}", fd.file_name());
        }
        sandbox.verb(&["delete", "--force"]).shell(&script).ok();
        sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exit 6"));
        assert_eq!(sandbox.verb(&["run"]).shell(&script).run().code, Some(6), "run {close}");
        sandbox.assert_clean();
    }
}

/// `create` gives its own descriptors to the program: the very same files, and no other.
#[test]
fn create_hands_its_stdio_over() {
    if !root() {
        return;
    }
    let sandbox = shell(&format!("{FDS}; cat"));
    let input = sandbox.path("input");
    fs::write(&input, "line\n").unwrap();
    let created = sandbox.verb(&["create"]).stdin(File::open(&input).unwrap()).ok();
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    let seen = read(&created.stdout_file);
    assert_eq!(numbers(&seen), ["0", "1", "2"]);
    assert!(seen.contains("line\n"), "{seen}");
    let target = |n: usize| {
        seen.lines().filter(|l| l.contains(" -> ")).nth(n).map(|l| words(l).last().copied().unwrap_or("").to_owned())
    };
    assert!(target(0).unwrap().ends_with("/input") && target(1).unwrap().ends_with(".out"), "{seen}");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// The commands that callers parse write nothing but what is parsed, and work with an empty environment.
#[test]
fn quiet_with_an_empty_environment() {
    if !root() {
        return;
    }
    let sandbox = shell("sleep 1000");
    let empty = |cmd: Cmd| cmd.wrapped(&["/usr/bin/env", "-i"]).ok();
    empty(sandbox.verb(&["create"]));
    empty(sandbox.verb(&["start"]));
    for args in [&["state"][..], &["ps", "--format", "json"]] {
        let out = empty(sandbox.verb(args));
        assert_eq!(out.stderr, "", "{out:#?}");
        let _: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:#?}"));
    }
    let pids: serde_json::Value = serde_json::from_str(&empty(sandbox.verb(&["ps", "-f", "json"])).stdout).unwrap();
    assert!(bundle::list(&pids).contains(&json!(sandbox.pid())), "{pids}");
    empty(sandbox.verb(&["delete", "--force"]));
    sandbox.assert_clean();
}

/// Without a pid namespace nobody kills what init leaves behind: a child that holds stdout must not keep `run` waiting,
/// and must not stay.
#[test]
fn ends_with_init_although_a_child_holds_stdout() {
    if !root() {
        return;
    }
    for script in ["sleep 1000 & echo hi; exit 3", "setsid sleep 1000 & echo hi; exit 3"] {
        let sandbox = shell_with_host_pids(script);
        let out = sandbox.verb(&["run", "--bundle", &sandbox.bundle().to_string_lossy()]).run();
        assert_eq!((out.code, out.stdout.as_str()), (Some(3), "hi\n"), "{out:#?}");
        assert!(out.took.as_secs() < 20, "{out:#?}");
        sandbox.assert_clean();
    }
}

/// --keep is for looking at what is left: of a container that failed to start as well.
#[test]
fn kept_although_it_failed() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    config["process"]["args"] = json!(["/nonexistent"]);
    sandbox.write(&config);
    let out = sandbox.verb(&["run", "--keep"]).run();
    assert!(out.code.is_some_and(|c| c != 0) && out.stderr.contains("/nonexistent"), "{out:#?}");
    assert_eq!(sandbox.status(), "stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// Three more than these are beyond a u32, or beyond what a descriptor's number can be.
#[test]
fn preserve_fds_beyond_all_numbers() {
    if !root() {
        return;
    }
    let sandbox = shell("true");
    for count in ["2147483645", "4294967292", "4294967293", "4294967295"] {
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb, "--preserve-fds", count]).run();
            assert_eq!((out.code, out.signal), (Some(1), None), "{out:#?}");
            assert!(out.stderr.contains("preserve") && !out.stderr.contains("panicked"), "{out:#?}");
            sandbox.assert_clean();
        }
    }
}
