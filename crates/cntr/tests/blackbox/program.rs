//! How the program of `process.args` is found and what it starts with: lookup and its error texts, environment, working
//! directory, every resource limit, and what the machine refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::support::agent::{Agent, Answer};
use crate::support::{Output, Sandbox, bundle, patience, read, root, verify, words};

/// Runs what `edit` makes of the minimal config, whatever becomes of it.
#[track_caller]
fn run(script: &str, edit: impl Fn(&Sandbox, &mut Value)) -> Output {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    edit(&sandbox, &mut config);
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).run();
    sandbox.assert_clean();
    out
}

/// contract.md 5.5: what `create` says about a program that cannot be, word by word and in runc's frame: engines make exit
/// status 126 and 127 of it.
#[test]
fn programs_that_cannot_be_found() {
    if !root() {
        return;
    }
    let table = [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("passwd", "exec: \"passwd\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("./nosuch", "exec: \"./nosuch\": stat ./nosuch: no such file or directory"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("/etc/passwd/x", "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory"),
        ("/dangling", "exec: \"/dangling\": stat /dangling: no such file or directory"),
        ("for-root", "exec: \"for-root\": executable file not found in $PATH"),
        ("/bin/for-root", "exec: \"/bin/for-root\": permission denied"),
    ];
    let sandbox = Sandbox::new();
    symlink("nowhere", sandbox.rootfs().join("dangling")).unwrap();
    let for_root = sandbox.rootfs().join("bin/for-root");
    fs::write(&for_root, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&for_root, fs::Permissions::from_mode(0o700)).unwrap();
    let mut faults = Vec::new();
    for (program, says) in table {
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
        config["process"]["args"] = json!([program, "argument"]);
        config["process"]["env"] = json!(["PATH=/usr/bin:/bin:/etc:relative:."]);
        config["process"]["cwd"] = json!("/etc");
        if program.ends_with("for-root") {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        }
        sandbox.write(&config);
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb]).run();
            let frame = format!("{verb} failed: unable to start container process: error during container init: ");
            let text = out.stderr.replace("\\\"", "\"");
            if out.code != Some(1) || !text.contains(says) || !text.contains(&frame) {
                faults.push(format!("{program}: {says}: {out:#?}"));
            }
            sandbox.assert_clean();
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A path is taken from the working directory; a name from PATH of the container's environment, in its order and
/// absolute directories only; without PATH from the usual directories (as crun).
#[test]
fn programs_that_are_found() {
    if !root() {
        return;
    }
    let path = |dirs: &str| Some(format!("PATH={dirs}"));
    let table = [
        ("./here", path("/bin"), "srv"),
        ("../srv/here", path("/bin"), "srv"),
        ("bin/../here", path("/bin"), "srv"),
        ("here", path("/nowhere:/opt:/bin"), "opt"),
        ("here", path("/bin:/opt"), "bin"),
        ("here", path(".::/opt"), "opt"),
        ("here", None, "bin"),
        ("linked", path("/opt"), "bin"),
    ];
    for (program, path, found) in table {
        let out = run("", |sandbox, c| {
            for dir in ["srv/bin", "srv", "opt", "bin"] {
                fs::create_dir_all(sandbox.rootfs().join(dir)).unwrap();
                let file = sandbox.rootfs().join(dir).join("here");
                fs::write(&file, format!("#!/bin/sh\necho {dir} $0\n")).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            }
            symlink("/bin/here", sandbox.rootfs().join("opt/linked")).unwrap();
            c["process"]["args"] = json!([program]);
            c["process"]["env"] = json!(path.iter().collect::<Vec<_>>());
            c["process"]["cwd"] = json!("/srv");
        });
        assert_eq!((out.code, words(&out.stdout).first().copied()), (Some(0), Some(found)), "{program}: {out:#?}");
    }
}

/// Arguments arrive as they are, also empty ones and what is no ASCII.
#[test]
fn arguments_arrive_untouched() {
    if !root() {
        return;
    }
    let out = run("", |_, c| {
        c["process"]["args"] = json!(["/bin/sh", "-c", "for a; do echo \"<$a>\"; done", "0", "", " a b ", "ü\n$x"])
    });
    assert_eq!(out.stdout, "<>\n< a b >\n<ü\n$x>\n", "{out:#?}");
}

/// An empty HOME is none; of a variable given twice the last one stays; what is no NAME=value is refused.
#[test]
fn environment() {
    if !root() {
        return;
    }
    for (env, home) in [
        (json!(["PATH=/bin", "HOME="]), "/root"),
        (json!(["PATH=/bin"]), "/root"),
        (json!(["PATH=/bin", "HOME=/a", "HOME="]), "/root"),
        (json!(["PATH=/bin", "HOME=", "HOME=/b"]), "/b"),
        (json!(["PATH=/nowhere", "HOME=/c", "PATH=/bin"]), "/c"),
    ] {
        let out = run("tr '\\0' '\\n' </proc/$$/environ; true", |_, c| {
            c["process"]["env"] = env.clone();
            c["process"]["args"][0] = json!("sh");
        });
        let lines: Vec<&str> = out.stdout.lines().collect();
        let of = |name: &str| lines.iter().filter(|l| l.starts_with(name)).copied().collect::<Vec<_>>();
        assert_eq!(
            (of("HOME="), of("PATH=")),
            (vec![format!("HOME={home}").as_str()], vec!["PATH=/bin"]),
            "{env}: {out:#?}"
        );
    }
    let table = [
        ("PLAIN", "process.env[0]", "invalid environment variable: missing '='"),
        ("=value", "process.env[0]", "invalid environment variable: name cannot be empty"),
        ("", "process.env[0]", "invalid environment variable"),
        ("A=b\0c", "process.env[0]", "contains nul byte (\\x00)"),
    ];
    for (variable, place, says) in table {
        let out = run("true", |_, c| c["process"]["env"] = json!([variable, "PATH=/bin"]));
        let text = out.stderr.replace("\\\\", "\\");
        assert!(out.code == Some(1) && text.contains(place) && text.contains(says), "{variable:?}: {out:#?}");
    }
}

/// A missing cwd is made with mode 755, whatever umask the config or the caller has, and belongs to the container's root.
#[test]
fn cwd_is_made() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "pwd; echo $(umask)");
    config["process"]["cwd"] = json!("/made/deep//er/.");
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "umask": 0o077 });
    config["root"]["readonly"] = json!(true);
    sandbox.write(&config);
    let out = sandbox.verb(&["run"]).shell("umask 077; exec \"$@\"").ok();
    assert_eq!(out.stdout, "/made/deep/er\n0077\n", "{out:#?}");
    for dir in ["made", "made/deep", "made/deep/er"] {
        let meta = fs::metadata(sandbox.rootfs().join(dir)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o755, 0, 0), "{dir}");
    }
    sandbox.assert_clean();
}

/// A program of uid 1000 in a user namespace whose root has no right to `process.cwd`: that is the user's, with this mode.
fn in_a_directory_of_the_user(sandbox: &Sandbox, script: &str, mode: u32) -> Value {
    let own = sandbox.rootfs().join("home/own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(105_000), Some(77)).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    let map = |id: u32, host: u32| json!({ "containerID": id, "hostID": host, "size": 1 });
    bundle::set(&mut config, "/linux/namespaces/-", Some(json!({ "type": "user" })));
    config["linux"]["uidMappings"] = json!([map(0, 100_000), map(1000, 105_000)]);
    config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    config["process"]["cwd"] = json!("/home/own");
    config
}

/// A directory that the container's root may not enter (its group is not of the user namespace, so that CAP_DAC_OVERRIDE
/// does not count; on NFS root is squashed), but the user may; and one that neither may.
#[test]
fn cwd_is_entered_as_the_user() {
    if !root() {
        return;
    }
    for (mode, enters) in [(0o700, true), (0o000, false)] {
        let sandbox = Sandbox::new();
        let config = in_a_directory_of_the_user(&sandbox, "pwd; id -u", mode);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        if enters {
            assert_eq!((out.code, out.stdout.as_str()), (Some(0), "/home/own\n1000\n"), "{out:#?}");
        } else {
            let text = out.stderr.replace("\\\"", "\"");
            let says = "chdir to cwd (\"/home/own\") set in config.json failed";
            assert!(out.code == Some(1) && text.contains(says) && text.contains("permission denied"), "{out:#?}");
        }
        sandbox.assert_clean();
    }
}

/// What a directory for the user alone is called is asked once. A seccomp agent stops init between its two tries, and puts
/// a magic link into the place of the directory (CVE-2024-21626; in life, who shares a volume does so).
#[test]
fn cwd_of_the_user_is_not_looked_up_again() {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let home = HOME.get_or_init(|| sandbox.rootfs().join("home"));
    symlink("/proc/self/root/etc", home.join("link")).unwrap();
    let mut config = in_a_directory_of_the_user(&sandbox, "pwd", 0o700);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": sandbox.path("agent.sock"),
        "syscalls": [{ "names": ["setresuid"], "action": "SCMP_ACT_NOTIFY" }],
    });
    sandbox.write(&config);
    let agent = Agent::start(
        &sandbox,
        Some(|_| {
            let home = HOME.get().unwrap();
            renameat_with(CWD, home.join("own"), CWD, home.join("link"), RenameFlags::EXCHANGE).unwrap();
            Answer::Continue
        }),
    );
    let out = sandbox.verb(&["run"]).run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "/home/link\n"), "{out:#?}");
    assert_eq!(agent.finish().len(), 1);
    sandbox.assert_clean();
}

/// Each of the sixteen, as /proc/PID/limits has them; and one that is above what the caller may have.
#[test]
fn every_limit() {
    if !root() {
        return;
    }
    let own = read("/proc/self/limits");
    let mut limits = Vec::new();
    let mut asked = Vec::new();
    for (i, (name, label)) in verify::RLIMITS.into_iter().enumerate() {
        let line = own.lines().find_map(|l| l.strip_prefix(label)).unwrap();
        let hard = words(line)[1].parse().unwrap_or(u64::MAX);
        // below what is there, so that no privilege is needed, and enough for a shell
        let i = i as u64;
        let hard = hard.min((1 << 30) + i);
        let soft = hard.min((1 << 29) + i);
        limits.push(json!({ "type": name, "soft": soft, "hard": hard }));
        asked.push(format!("{label} {soft} {hard}"));
    }
    let out = run("cat /proc/self/limits", |_, c| c["process"]["rlimits"] = json!(limits));
    let seen = |label: &str| {
        let line = out.stdout.lines().find_map(|l| l.strip_prefix(label)).unwrap_or_else(|| panic!("{out:#?}"));
        format!("{label} {}", words(line)[..2].join(" "))
    };
    assert_eq!(asked, verify::RLIMITS.map(|(_, label)| seen(label)));

    let unlimited = json!([{ "type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX }]);
    let out = run("cat /proc/self/limits", |_, c| c["process"]["rlimits"] = unlimited.clone());
    assert!(out.stdout.lines().any(|l| words(l)[..5] == ["Max", "core", "file", "size", "unlimited"]), "{out:#?}");
    if verify::lacking(&json!(["CAP_SYS_RESOURCE"])).is_empty() {
        return;
    }
    let above = json!([{ "type": "RLIMIT_NICE", "soft": 40, "hard": 40 }]);
    let out = run("true", |_, c| c["process"]["rlimits"] = above.clone());
    assert!(out.code == Some(1) && out.stderr.contains("process.rlimits[0]"), "{out:#?}");
    assert!(out.stderr.contains("operation not permitted"), "{out:#?}");
}

/// Raising needs nothing; lowering needs CAP_SYS_RESOURCE, and its refusal is an error in runc's words.
#[test]
fn oom_score() {
    if !root() {
        return;
    }
    for score in [0, 1, 1000] {
        let out = run("cat /proc/self/oom_score_adj", |_, c| c["process"]["oomScoreAdj"] = json!(score));
        assert_eq!(out.stdout, format!("{score}\n"), "{out:#?}");
    }
    if !verify::lacking(&json!(["CAP_SYS_RESOURCE"])).is_empty() {
        let out = run("true", |_, c| c["process"]["oomScoreAdj"] = json!(-500));
        let says = ["process.oomScoreAdj", "failed to update /proc/self/oom_score_adj", "permission denied"];
        assert!(out.code == Some(1) && says.iter().all(|text| out.stderr.contains(text)), "{out:#?}");
    }
}

/// Without process.capabilities root keeps what the caller has and another user has nothing left; an empty object takes all.
#[test]
fn capabilities_that_are_not_given() {
    if !root() {
        return;
    }
    let own = read("/proc/self/status");
    let bounding = own.lines().find(|l| l.starts_with("CapBnd:")).unwrap().replace("CapBnd:\t", "");
    let none = "0000000000000000".to_owned();
    let table = [
        (0, false, bounding.clone(), bounding.clone()),
        (1000, false, none.clone(), bounding),
        (0, true, none.clone(), none),
    ];
    for (uid, given, effective, bounding) in table {
        let out = run("grep -E '^Cap(Eff|Bnd)' /proc/self/status", |_, c| {
            c["process"]["user"]["uid"] = json!(uid);
            if given {
                c["process"]["capabilities"] = json!({});
            }
        });
        assert_eq!(words(&out.stdout), ["CapEff:", &effective, "CapBnd:", &bounding], "{uid} {given}: {out:#?}");
    }
}

/// The limit in seconds is each list's (the other two: hooks.rs); a hook that stays below it is left alone.
#[test]
fn timeouts_of_all_hooks() {
    if !root() {
        return;
    }
    let hook = |seconds: u32| json!([{ "path": "/bin/sleep", "args": ["sleep", seconds.to_string()], "timeout": 1 }]);
    for kind in ["prestart", "startContainer", "poststart", "poststop"] {
        let out = run("sleep 1000", |_, c| {
            c["process"]["args"][2] = json!(if kind == "poststop" { "true" } else { "exec sleep 1000" });
            c["hooks"][kind] = hook(1000);
        });
        let text = format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s");
        // what a hook of `delete` says is a warning
        let failed = kind != "poststop";
        assert!(out.stderr.contains(&text) && (out.code != Some(0)) == failed, "{kind}: {out:#?}");
        assert!(out.took < patience(6), "{kind}: {:?}", out.took);
    }
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let out = run("exec true", |_, c| c["hooks"][kind] = hook(0));
        assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{kind}: {out:#?}");
    }
}

/// A user who is not root may open what he was given as standard streams once more (`echo >/dev/stderr`), so the files behind
/// them are his; their group stays, and so does everything about the host's /dev/null.
#[test]
fn standard_streams_belong_to_the_user() {
    if !root() {
        return;
    }
    let null = || fs::metadata("/dev/null").map(|m| (m.uid(), m.gid(), m.mode())).unwrap();
    let before = null();
    let sandbox = Sandbox::new();
    let script = "echo one >/dev/stdout; echo two >>/dev/stderr; stat -L -c %u:%g /proc/self/fd/1";
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    sandbox.write(&config);
    let created = sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    let owner = fs::metadata(&created.stdout_file).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!((owner, null()), ((1000, 0), before));
    let text = read(&created.stdout_file);
    assert!(text.ends_with("1000:0\n"), "{text:?}"); // the shell truncates what it opens
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}
