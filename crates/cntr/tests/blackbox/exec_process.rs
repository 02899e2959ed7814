//! What a process of `exec` is like, by every flag and every member of a process file: asked from inside. Members that the
//! file leaves out, and all of them without a file, are the container's.

use std::path::Path;

use serde_json::{Value, json};

use crate::exec::{ended, exec, from_file, idle, refused, shell};
use crate::namespaces::in_user_namespace;
use crate::support::{Sandbox, View, host, read, root, skip, wait_for, words};

/// A container with something in every member that a process can have of it.
fn rich() -> Sandbox {
    idle(View::Host, |_, config| {
        let process = json!({
            "user": { "uid": 1000, "gid": 1001, "additionalGids": [20, 30], "umask": 0o027 },
            "env": ["PATH=/usr/bin:/bin", "A=config"],
            "cwd": "/tmp",
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 99 }, { "type": "RLIMIT_CORE", "soft": 1024, "hard": 4096 }],
            "noNewPrivileges": true,
            "oomScoreAdj": 100,
            "scheduler": { "policy": "SCHED_BATCH", "nice": 5 },
            "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 6 },
        });
        config["process"].as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
    })
}

const IDS: &str = "echo $(grep -E '^(Uid|Gid|Groups):' /proc/self/status)";
const CAPS: &str = "echo $(grep ^Cap /proc/self/status | cut -f 2)";
const LIMITS: &str = "echo $(ulimit -n) $(ulimit -Hn) $(ulimit -c) $(ulimit -Hc)";
const PRIVILEGES: &str = "grep NoNewPrivs /proc/self/status | cut -f 2";
const OOM: &str = "cat /proc/self/oom_score_adj";
/// Nice value, real-time priority and policy.
const SCHEDULE: &str = "cut -d ' ' -f 19,40,41 /proc/self/stat";
const IO: &str = "busybox ionice -p $$";
const CPUS: &str = "grep Cpus_allowed_list /proc/self/status | cut -f 2";

/// Mask of capabilities by number, as in /proc/PID/status.
fn mask(numbers: &[u32]) -> String {
    format!("{:016x}", numbers.iter().map(|n| 1u64 << n).sum::<u64>())
}

fn five(sets: [&[u32]; 5]) -> String {
    sets.map(mask).join(" ")
}

const CHOWN: u32 = 0;
const CAP_KILL: u32 = 5;
const RAW: u32 = 13;

/// Without a flag everything is as the container's own process has it.
#[test]
fn without_flags_it_is_as_the_containers_process() {
    if !root() {
        return;
    }
    let sandbox = rich();
    let kill: &[u32] = &[CAP_KILL];
    for (script, expected) in [
        (IDS, "Uid: 1000 1000 1000 1000 Gid: 1001 1001 1001 1001 Groups: 20 30".into()),
        ("umask", "0027".into()),
        ("echo $A $HOME", "config /home".into()),
        ("pwd", "/tmp".into()),
        (CAPS, five([kill, kill, kill, &[CHOWN, CAP_KILL], kill])),
        (LIMITS, "77 99 2 8".into()),
        (PRIVILEGES, "1".into()),
        (OOM, "100".into()),
        (SCHEDULE, "5 0 3".into()),
        (IO, "best-effort: prio 6".into()),
    ] {
        assert_eq!(shell(&sandbox, &[], script).ok().stdout.trim(), expected, "{script}");
    }
    ended(&sandbox);
}

#[test]
fn flags() {
    if !root() {
        return;
    }
    let sandbox = rich();
    let kill: &[u32] = &[CAP_KILL];
    // of another user than root execve leaves what is ambient, and that needs inheritable
    let added = five([kill, kill, kill, &[CHOWN, CAP_KILL, RAW], kill]);
    for (flags, script, expected) in [
        (&["--user", "1"][..], IDS, "Uid: 1 1 1 1 Gid: 1001 1001 1001 1001 Groups: 20 30"),
        (&["-u", "0:5"], IDS, "Uid: 0 0 0 0 Gid: 5 5 5 5 Groups: 20 30"),
        (
            &["--additional-gids", "7", "-g", "8"],
            IDS,
            "Uid: 1000 1000 1000 1000 Gid: 1001 1001 1001 1001 Groups: 7 8 20 30",
        ),
        (&["--cwd", "/usr/bin"], "pwd", "/usr/bin"),
        (&["-e", "A=flag", "--env", "B=x,y z"], "echo \"$A\" \"$B\"", "flag x,y z"),
        (&["-e", "HOME=/x", "-e", "EMPTY="], "echo $HOME ${EMPTY-unset}.", "/x ."),
        (&["-u", "0"], "echo $HOME", "/root"),
        (&["--cap", "CAP_NET_RAW"], CAPS, &added),
        (&["--no-new-privs=false"], PRIVILEGES, "0"),
        (&["--no-new-privs"], PRIVILEGES, "1"),
        (&["--tty=false"], "tty", "not a tty"),
    ] {
        assert_eq!(shell(&sandbox, flags, script).run().stdout.trim(), expected, "{flags:?}");
    }
    let out = shell(&sandbox, &["-c", "CAP_NET_RAW", "-c", "CAP_NONE"], CAPS).ok();
    assert_eq!(out.stdout.trim(), added);
    assert!(
        out.stderr.contains("level=warning msg=\"ignoring unknown or unavailable capabilities: [CAP_NONE]\""),
        "{out:#?}"
    );
    ended(&sandbox);
}

/// CVE-2026-30892: what is not quite a number became root.
#[test]
fn users_by_number() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |sandbox, config| {
        config["process"]["user"] = json!({ "uid": 7, "gid": 8 });
        // CVE-2016-3697: a name that looks like a number
        std::fs::write(sandbox.rootfs().join("etc/passwd"), "1:x:0:0::/:\n1000:x:0:0::/:\nroot:x:0:0::/root:\n")
            .unwrap();
    });
    for (user, expected) in [
        ("1", Some("1 8")),
        ("1:2", Some("1 2")),
        ("01", Some("1 8")),
        ("1000", Some("1000 8")),
        ("4294967294", Some("4294967294 8")),
        (":5", None),
        ("4294967295", None),
        ("4294967296", None),
        ("-1", None),
        (" 1", None),
        ("1 ", None),
        ("1:", None),
        ("1:4294967295", None),
        ("root", None),
    ] {
        let out = shell(&sandbox, &["--user", user], "echo $(id -u) $(id -g)").run();
        match expected {
            Some(ids) => assert_eq!((out.stdout.trim(), out.code), (ids, Some(0)), "{user:?}: {out:#?}"),
            None => refused(&out, "bad "),
        }
    }
    ended(&sandbox);
}

/// CVE-2022-29162: the inheritable set stays as it is, which is empty; and without one in the config there are no ambient ones.
#[test]
fn added_capabilities() {
    if !root() {
        return;
    }
    let none: &[u32] = &[];
    let raw: &[u32] = &[RAW];
    let (kill, both): (&[u32], &[u32]) = (&[CAP_KILL], &[CAP_KILL, RAW]);
    let sets = |inheritable: Value| json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": inheritable });
    for (config_sets, user, expected) in [
        (sets(json!(null)), "0", five([none, both, both, both, none])),
        (sets(json!([])), "0", five([none, both, both, both, none])),
        (sets(json!(["CAP_KILL"])), "0", five([kill, both, both, both, none])),
        (json!({}), "0", five([none, raw, raw, raw, none])),
        // runc crashes
        (json!(null), "0", five([none, raw, raw, raw, none])),
        // execve takes what is not ambient away from others than root
        (sets(json!(null)), "1000", five([none, none, none, both, none])),
    ] {
        let sandbox = idle(View::Host, |_, config| config["process"]["capabilities"] = config_sets.clone());
        let out = shell(&sandbox, &["--cap", "CAP_NET_RAW", "-u", user], CAPS).ok();
        assert_eq!(out.stdout.trim(), expected, "{config_sets}: {out:#?}");
        ended(&sandbox);
    }
}

/// Members, where they are seen, and what was asked for. What is not among them is the container's, or nothing: the
/// environment, user and directory belong to the file.
#[test]
fn members_of_a_process_file() {
    if !root() {
        return;
    }
    let sandbox = rich();
    let none: &[u32] = &[];
    let raw: &[u32] = &[RAW];
    let all = json!(["CAP_NET_RAW"]);
    let limit =
        |name: &str, soft: u32, hard: u32| json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard });
    for (process, script, expected) in [
        (json!({}), IDS, "Uid: 0 0 0 0 Gid: 0 0 0 0 Groups:".into()),
        (
            json!({ "user": { "uid": 5, "gid": 6, "additionalGids": [9, 4_000_000] } }),
            IDS,
            "Uid: 5 5 5 5 Gid: 6 6 6 6 Groups: 9 4000000".into(),
        ),
        (json!({ "user": { "umask": 0o077 } }), "umask", "0077".into()),
        (json!({}), "echo ${A-unset} $HOME $PATH", "unset /root /usr/bin:/bin".into()),
        (
            json!({ "env": ["PATH=/bin", "A=1", "B=2", "A=3", "HOME="], "user": { "uid": 1000 } }),
            "env | grep -E '^(A|B|HOME)=' | sort",
            "A=3\nB=2\nHOME=/home".into(),
        ),
        (json!({ "env": [] }), "echo ok", "ok".into()),
        (json!({ "cwd": "/var/tmp" }), "pwd", "/var/tmp".into()),
        (json!({ "args": ["printf", "%s|", "a b", "", "ü"] }), "", "a b||ü|".into()),
        (
            json!({ "capabilities": { "bounding": all, "permitted": all, "effective": all } }),
            CAPS,
            five([none, raw, raw, raw, none]),
        ),
        (json!({ "capabilities": {} }), CAPS, five([none; 5])),
        (
            json!({ "capabilities": { "bounding": ["CAP_NET_RAW", "CAP_KILL"], "permitted": all, "effective": all, "inheritable": all, "ambient": all }, "user": { "uid": 5 } }),
            CAPS,
            five([raw, raw, raw, &[CAP_KILL, RAW], raw]),
        ),
        (json!({ "rlimits": [limit("NOFILE", 55, 66)] }), "echo $(ulimit -n) $(ulimit -Hn)", "55 66".into()),
        (
            json!({ "rlimits": [limit("FSIZE", 512 << 10, 512 << 11), limit("STACK", 1 << 20, 1 << 21)] }),
            "echo $(ulimit -f) $(ulimit -Hf) $(ulimit -s) $(ulimit -Hs)",
            "1024 2048 1024 2048".into(),
        ),
        (json!({ "noNewPrivileges": true }), PRIVILEGES, "1".into()),
        (json!({ "scheduler": { "policy": "SCHED_OTHER", "nice": 7 } }), SCHEDULE, "7 0 0".into()),
        (json!({ "scheduler": { "policy": "SCHED_IDLE" } }), SCHEDULE, "0 0 5".into()),
        (json!({ "ioPriority": { "class": "IOPRIO_CLASS_IDLE" } }), IO, "idle".into()),
        (json!({ "ioPriority": { "class": "IOPRIO_CLASS_RT", "priority": 2 } }), IO, "realtime: prio 2".into()),
        // names in any case and others than the spec's, as Go reads them
        (json!({ "NoNewPrivileges": true, "bogus": [1] }), PRIVILEGES, "1".into()),
    ] {
        let out = from_file(&sandbox, &[], &process, script).run();
        assert_eq!((out.stdout.trim(), out.code), (expected.as_str(), Some(0)), "{process}: {out:#?}");
    }
    ended(&sandbox);
}

#[test]
fn members_that_a_process_file_leaves_out() {
    if !root() {
        return;
    }
    let sandbox = rich();
    let kill: &[u32] = &[CAP_KILL];
    // root gets from execve what is bounding, but not with no_new_privs
    let all: &[u32] = &[CHOWN, CAP_KILL];
    for (script, expected) in [
        (CAPS, five([kill, kill, kill, all, kill])),
        (LIMITS, "77 99 2 8".into()),
        (PRIVILEGES, "1".into()),
        (OOM, "100".into()),
        (SCHEDULE, "5 0 3".into()),
        (IO, "best-effort: prio 6".into()),
    ] {
        let out = from_file(&sandbox, &[], &json!({}), script).ok();
        assert_eq!(out.stdout.trim(), expected, "{script}");
    }
    ended(&sandbox);
}

/// The file is in place of the flags that would change the process, right or wrong, and of further arguments.
#[test]
fn a_process_file_is_in_place_of_flags() {
    if !root() {
        return;
    }
    let sandbox = rich();
    let ignored = [
        "-u",
        "nobody",
        "-e",
        "A",
        "-g",
        "-1",
        "--cwd",
        "x",
        "-t",
        "-c",
        "CAP_NONE",
        "--apparmor",
        "x",
        "--process-label",
        "x",
    ];
    let script = format!("{IDS}; pwd; tty; echo ${{A-unset}}");
    let out = from_file(&sandbox, &ignored, &json!({}), &script).args(&["ls", "-l"]).run();
    assert_eq!(out.stdout, "Uid: 0 0 0 0 Gid: 0 0 0 0 Groups:\n/\nnot a tty\nunset\n", "{out:#?}");
    assert_eq!(out.stderr, "");
    ended(&sandbox);
}

/// No PATH at all: the usual one. An empty element is the directory that one is in, from which nothing is executed.
#[test]
fn programs_are_looked_for_in_the_processs_path() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |sandbox, _| {
        let rootfs = sandbox.rootfs();
        std::fs::create_dir_all(rootfs.join("opt")).unwrap();
        for (path, word) in [("opt/tool", "opt"), ("tmp/tool", "tmp")] {
            std::fs::write(rootfs.join(path), format!("#!/bin/sh\necho {word}\n")).unwrap();
            std::fs::set_permissions(rootfs.join(path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    });
    let run = |path: &str, cwd: &str, name: &str| {
        from_file(&sandbox, &[], &json!({ "args": [name], "env": [path], "cwd": cwd }), "").run()
    };
    assert_eq!(run("PATH=/nonesuch:/opt:/tmp", "/", "tool").stdout, "opt\n");
    assert_eq!(run("PATH=/bin", "/tmp", "./tool").stdout, "tmp\n");
    assert_eq!(run("PATH=/bin", "/", "opt/tool").stdout, "opt\n");
    assert_eq!(run("X=1", "/", "true").code, Some(0));
    refused(&run("PATH=/bin", "/opt", "tool"), "exec: \"tool\": executable file not found in $PATH");
    ended(&sandbox);
}

#[test]
fn oom_scores() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, config| config["process"]["oomScoreAdj"] = json!(321));
    assert_eq!(shell(&sandbox, &[], OOM).ok().stdout, "321\n");
    assert_eq!(from_file(&sandbox, &[], &json!({}), OOM).ok().stdout, "321\n");
    ended(&sandbox);
    // without one in the config it is the caller's
    let sandbox = idle(View::Host, |_, _| ());
    let own = read("/proc/self/oom_score_adj");
    assert_eq!(shell(&sandbox, &[], OOM).ok().stdout, own);
    ended(&sandbox);
}

/// Not those of the caller; and `execCPUAffinity` of the file, or else the config.
#[test]
fn cpus() {
    if !root() || !crate::support::have("taskset") {
        return;
    }
    let all = host("sh", &["-c", CPUS]);
    if !all.contains(['-', ',']) {
        return skip("needs two CPUs");
    }
    for view in [View::Host, View::V2] {
        let sandbox = idle(view, |_, _| ());
        let bound = |cmd: crate::support::Cmd| cmd.wrapped(&["taskset", "-c", "0"]).ok().stdout;
        assert_eq!(bound(shell(&sandbox, &[], CPUS)), all, "{view:?}");
        for (affinity, expected) in [
            (json!({ "final": "1" }), "1\n"),
            (json!({ "initial": "0", "final": "1" }), "1\n"),
            (json!({ "initial": "0" }), all.as_str()),
        ] {
            let process = json!({ "execCPUAffinity": affinity });
            assert_eq!(bound(from_file(&sandbox, &[], &process, CPUS)), expected, "{view:?}: {process}");
        }
        ended(&sandbox);
    }
    let sandbox = idle(View::Host, |_, config| config["process"]["execCPUAffinity"] = json!({ "final": "1" }));
    assert_eq!(shell(&sandbox, &[], CPUS).ok().stdout, "1\n");
    assert_eq!(from_file(&sandbox, &[], &json!({}), CPUS).ok().stdout, "1\n");
    let own = json!({ "execCPUAffinity": { "final": "0" } });
    assert_eq!(from_file(&sandbox, &[], &own, CPUS).ok().stdout, "0\n");
    ended(&sandbox);
    let sandbox =
        idle(View::Host, |_, config| config["linux"]["resources"]["cpu"] = json!({ "cpus": "1", "mems": "0" }));
    assert_eq!(shell(&sandbox, &[], CPUS).ok().stdout, "1\n", "of the cpuset");
    ended(&sandbox);
}

/// The profile is the config's, with or without privileges to gain: chmod fails with an errno of its own.
#[test]
fn seccomp_profiles() {
    if !root() {
        return;
    }
    for privileges in [false, true] {
        let sandbox = idle(View::Host, |_, config| {
            config["process"]["noNewPrivileges"] = json!(privileges);
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                { "names": ["chmod", "fchmodat", "fchmodat2", "fchmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }] });
        });
        let script = "grep ^Seccomp: /proc/self/status; touch /tmp/x$$; chmod 700 /tmp/x$$";
        for cmd in [shell(&sandbox, &[], script), from_file(&sandbox, &[], &json!({}), script)] {
            let out = cmd.run();
            assert_eq!((out.stdout.as_str(), out.code), ("Seccomp:\t2\n", Some(1)), "{privileges}: {out:#?}");
            assert!(out.stderr.contains("No space left on device"), "{privileges}: {out:#?}");
        }
        ended(&sandbox);
    }
}

#[test]
fn personality_and_keyring() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, config| config["linux"]["personality"] = json!({ "domain": "LINUX32" }));
    assert_eq!(shell(&sandbox, &[], "cat /proc/self/personality").ok().stdout, "00000008\n");
    if Path::new("/proc/keys").exists() {
        // the session's keyring of this process alone is listed as its own: by the name that init's has
        let out = shell(&sandbox, &[], "cat /proc/keys").ok();
        assert!(out.stdout.contains(&format!("_ses.{}", sandbox.id)), "{out:#?}");
    } else {
        skip("no /proc/keys");
    }
    ended(&sandbox);
}

/// They can be opened by name.
#[test]
fn streams_belong_to_the_user() {
    if !root() {
        return;
    }
    let plain = idle(View::Host, |_, _| ());
    let mapped = idle(View::Host, in_user_namespace);
    for sandbox in [&plain, &mapped] {
        for user in ["0", "1000"] {
            let out = shell(sandbox, &["-u", user], "echo out >/proc/self/fd/1; echo err >/proc/self/fd/2").ok();
            assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"), "{user}");
        }
        ended(sandbox);
    }
}

/// A directory that the user alone may enter, and one that only root may.
#[test]
fn directories_of_the_user() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |sandbox, config| {
        let none = json!([]);
        config["process"]["capabilities"] = json!({ "bounding": none, "permitted": none, "effective": none });
        for (name, owner) in [("his", 1000), ("roots", 0)] {
            let dir = sandbox.rootfs().join(name);
            std::fs::create_dir(&dir).unwrap();
            std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&dir, Some(owner), Some(owner)).unwrap();
        }
    });
    for cwd in ["/his", "/roots"] {
        let out = exec(&sandbox, &["--cwd", cwd, "-u", "1000"], &["/bin/pwd"]).ok();
        assert_eq!(out.stdout.trim(), cwd);
    }
    ended(&sandbox);
}

/// CVE-2024-21626: a directory of the host behind a descriptor, or a symlink to one.
#[test]
fn directories_outside() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |sandbox, _| {
        std::os::unix::fs::symlink("/proc/self/fd/7", sandbox.rootfs().join("link")).unwrap();
    });
    let inside = std::fs::metadata(sandbox.rootfs()).unwrap();
    let opened = "exec 5</ 6</sys/fs/cgroup 7</ 8</etc 9</proc; exec \"$@\"";
    let paths = (0..16).map(|n| format!("/proc/self/fd/{n}")).chain(["/link".into(), "/proc/1/cwd".into()]);
    for path in paths {
        let out = exec(&sandbox, &["--cwd", &path], &["sh", "-c", "/bin/pwd; stat -c %i . ; ls"]).shell(opened).run();
        let foreign = out.stdout.contains("unreachable") || out.stdout.contains("boot\n");
        assert!(!foreign, "{path}: {out:#?}");
        if out.code == Some(0) {
            let inode = out.stdout.lines().nth(1).unwrap();
            assert_eq!(inode, std::os::unix::fs::MetadataExt::ino(&inside).to_string(), "{path}: {out:#?}");
        } else {
            assert_eq!(out.code, Some(255), "{path}: {out:#?}");
        }
    }
    ended(&sandbox);
}

/// Processes that are there for a moment only.
#[test]
fn short_lives() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, _| ());
    for _ in 0..20 {
        assert_eq!(exec(&sandbox, &[], &["true"]).run().code, Some(0));
        exec(&sandbox, &["-d"], &["true"]).ok();
    }
    wait_for("the last to end", || {
        let pids = sandbox.cntr(&["ps", "-f", "json", &sandbox.id]).ok().stdout;
        (words(&pids.replace([',', '[', ']'], " ")).len() == 1).then_some(())
    });
    ended(&sandbox);
}

/// By flag and by file, as for `create`: refused where nobody would enforce it.
#[test]
fn a_label_that_nobody_enforces() {
    if !root() || Path::new("/sys/fs/selinux/policy").exists() {
        return;
    }
    let sandbox = idle(View::Host, |_, _| ());
    let flag = "--process-label";
    refused(&exec(&sandbox, &[flag, "x"], &["id"]).run(), "selinux is disabled or not supported");
    refused(&from_file(&sandbox, &[], &json!({ "selinuxLabel": "x" }), "id").run(), "process.selinuxLabel: ");
    assert_eq!(exec(&sandbox, &[flag, ""], &["true"]).run().code, Some(0));
    ended(&sandbox);
}
