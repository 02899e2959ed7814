//! `exec` into a container that attacks it, and under load. Further attacks: on the binary in `seal`; users, capabilities and
//! directories in `exec_process`; cgroups in `exec_place`. The attacks are those of security.md 2.1.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use serde_json::{Value, json};

use crate::exec::{ended, exec, from_file, idle, refused, shell, start};
use crate::seal::ALL;
use crate::support::{Sandbox, View, bundle, host, pure_v2, read, root, skip, slow, wait_for, words};

/// Set for the spy.
const SPY: &str = "CNTR_TEST_SPY";

// --- CVE-2016-9962: what can be seen of a process that joins ---------------------------------------------------------------

/// In a container it looks at everybody; without its environment variable it has nothing to do.
#[test]
fn spy() {
    if std::env::var_os(SPY).is_none() {
        return;
    }
    let mut report = OpenOptions::new().append(true).open("/report").unwrap();
    let mut seen = BTreeSet::new();
    let mut tell = |line: String| {
        if seen.insert(line.clone()) {
            report.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
    };
    tell("ready".into());
    let own = std::process::id();
    let root = fs::metadata("/").map(|meta| (meta.dev(), meta.ino())).unwrap();
    while !Path::new("/over").exists() {
        for pid in fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        {
            if pid != own {
                look_at(pid, root, &mut tell);
            }
        }
    }
    tell("done".into());
}

/// Whether it has not become a program of the container's yet. One that has ended says that it has no executable.
fn is_ours(pid: u32) -> bool {
    match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(exe) => exe != Path::new("/bin/busybox"),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

fn look_at(pid: u32, root: (u64, u64), tell: &mut impl FnMut(String)) {
    let proc = format!("/proc/{pid}");
    if is_ours(pid) {
        tell("met".into());
    }
    for entry in fs::read_dir(format!("{proc}/fd")).into_iter().flatten().flatten() {
        // stdin, stdout and stderr are for the program. How many there are, root may know of everybody's.
        let number: u32 = entry.file_name().to_str().and_then(|name| name.parse().ok()).unwrap_or(0);
        if number < 3 || !is_ours(pid) {
            continue;
        }
        if let Ok(link) = fs::read_link(entry.path()) {
            tell(format!("descriptor {}", link.display().to_string().split(':').next().unwrap()));
        }
        if fs::metadata(entry.path()).is_ok() {
            tell("file".into());
        }
    }
    for name in ["root", "cwd"] {
        let opened = fs::metadata(format!("{proc}/{name}")).map(|meta| (meta.dev(), meta.ino()));
        if opened.is_ok_and(|file| file != root) && is_ours(pid) {
            tell(format!("its {name}"));
        }
    }
    if OpenOptions::new().read(true).write(true).open(format!("{proc}/mem")).is_ok() && is_ours(pid) {
        tell("memory".into());
    }
    if stopped(pid) {
        if is_ours(pid) {
            tell("traced".into());
        }
        // SAFETY: no memory is passed.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
    }
}

/// Traces a process, and has it stand still: it is what it is then.
fn stopped(pid: u32) -> bool {
    // SAFETY: no memory is passed to either; the status is a live integer.
    unsafe {
        let seized =
            libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) == 0 && libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) == 0;
        let mut status = 0;
        seized && libc::waitpid(pid as i32, &raw mut status, libc::__WALL) == pid as i32 && libc::WIFSTOPPED(status)
    }
}

/// What the spy has seen, while processes have joined its container.
fn spied(capabilities: &[&str], execs: u32) -> Vec<String> {
    let sandbox = Sandbox::new();
    let program = sandbox.rootfs().join("spy");
    host("cp", &[&std::env::current_exe().unwrap().to_string_lossy(), &program.to_string_lossy()]);
    fs::write(sandbox.rootfs().join("report"), "").unwrap();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
    config["process"]["args"] = json!(["/spy", "--exact", "exec_security::spy", "--nocapture"]);
    config["process"]["env"] = json!([format!("{SPY}=1"), "RUST_TEST_THREADS=1", "PATH=/bin"]);
    config["process"]["capabilities"] =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    start(&sandbox, &config);
    let report = || read(sandbox.rootfs().join("report"));
    wait_for("the spy", || report().contains("ready").then_some(()));
    for _ in 0..execs {
        exec(&sandbox, &[], &["/bin/true"]).run();
    }
    fs::write(sandbox.rootfs().join("over"), "").unwrap();
    wait_for("its end", || report().contains("done").then_some(()));
    let lines = report().lines().filter(|l| *l != "ready" && *l != "done").map(String::from).collect();
    ended(&sandbox);
    lines
}

/// It meets them, and that is all.
#[test]
fn nothing_of_ours_is_seen_by_roots_processes() {
    if root() {
        assert_eq!(spied(&[], 200 / slow()), ["met"]);
    }
}

/// With CAP_SYS_PTRACE in the initial user namespace nobody is safe, whatever a runtime does: a container that has it can
/// trace what joins it, and through that is the host's root. That the spy sees it then shows that it would see it above.
#[test]
fn a_tracer_sees_what_joins_its_container() {
    if root() {
        let seen = spied(&ALL, 200 / slow());
        assert!(seen.iter().any(|line| line.starts_with("descriptor ")), "{seen:#?}");
        assert!(seen.iter().any(|line| line == "traced" || line == "memory"), "{seen:#?}");
    }
}

// --- CVE-2024-21626: descriptors of the caller -----------------------------------------------------------------------------

/// Twenty directories of the host, from 3 on, none of them close-on-exec.
fn directories() -> String {
    let opened: String = (3..23).map(|n| format!("exec {n}</etc; ")).collect();
    format!("{opened} exec \"$@\"")
}

#[test]
fn directories_of_the_host_stay_outside() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, _| ());
    let bash = ["bash", "-c", &directories(), "bash"];
    for (flags, expected) in [(&[][..], "0 1 2 3"), (&["--preserve-fds", "2"], "0 1 2 3 4 5")] {
        let out = exec(&sandbox, flags, &["ls", "/proc/self/fd"]).wrapped(&bash).ok();
        assert_eq!(words(&out.stdout).join(" "), expected, "{flags:?}"); // ls has the directory itself open
    }
    let inside = fs::metadata(sandbox.rootfs()).unwrap().ino().to_string();
    let outside = fs::metadata("/etc").unwrap().ino().to_string();
    for n in 0..64 / slow() {
        let cwd = format!("/proc/self/fd/{n}");
        let script = "stat -c %i .; /bin/pwd";
        let by_flag = shell(&sandbox, &["--cwd", &cwd], script).wrapped(&bash).run();
        let by_file = from_file(&sandbox, &[], &json!({ "cwd": cwd }), script).wrapped(&bash).run();
        for out in [by_flag, by_file] {
            let first = out.stdout.lines().next().unwrap_or(&inside);
            assert!(first != outside && first == inside, "{cwd}: {out:#?}");
            assert!(!out.stdout.contains("unreachable"), "{cwd}: {out:#?}");
        }
    }
    ended(&sandbox);
}

// --- credentials -----------------------------------------------------------------------------------------------------------

/// CVE-2023-25173: groups of the caller's. CVE-2016-8867: an ordinary user has what is ambient, and that is nothing.
#[test]
fn nothing_of_the_callers_credentials() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, config| {
        let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
        config["process"]["capabilities"] = json!({ "bounding": caps, "permitted": caps, "effective": caps });
    });
    let groups = ["setpriv", "--groups", "4,5,27"];
    for (flags, expected) in [(&[][..], "0"), (&["-u", "1000:1001"], "1001"), (&["-g", "7", "-g", "9"], "0 7 9")] {
        let out = exec(&sandbox, flags, &["id", "-G"]).wrapped(&groups).ok();
        assert_eq!(out.stdout.trim(), expected, "{flags:?}");
    }
    let out = exec(&sandbox, &["-u", "1000"], &["grep", "Cap", "/proc/self/status"]).ok();
    for line in out.stdout.lines().filter(|line| !line.starts_with("CapBnd")) {
        assert!(line.ends_with("0000000000000000"), "{}", out.stdout);
    }
    ended(&sandbox);
}

/// HOME is looked up in a file that the container may have put anything in place of.
#[test]
fn a_hostile_passwd() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, _| ());
    let passwd = sandbox.rootfs().join("etc/passwd");
    let own_home = fs::read_to_string("/etc/passwd").unwrap();
    assert!(own_home.starts_with("root:"));
    let home = |what: &str| {
        let out = shell(&sandbox, &["-u", "1000"], "echo $HOME").run();
        assert!(out.took < crate::support::patience(5), "{what}: {out:#?}");
        out
    };
    fs::write(&passwd, "x:x:1000:1000::/of/x:/bin/sh\n").unwrap();
    assert_eq!(home("a file").stdout, "/of/x\n");
    fs::write(&passwd, [vec![b'a'; 1 << 20], b"\nx:x:1000:1000::/of/x:\n".to_vec()].concat()).unwrap();
    assert_eq!(home("a long line").stdout, "/of/x\n");
    for (what, planted) in [
        ("a fifo", "mkfifo"),
        ("a directory", "mkdir"),
        ("nothing", "true"),
        ("a device that never ends", "ln -s /dev/zero"),
        ("the host's", "ln -s ../../../../../../../../etc/passwd"),
        ("itself", "ln -s passwd"),
    ] {
        let _ = fs::remove_file(&passwd).or_else(|_| fs::remove_dir(&passwd));
        host("sh", &["-c", &format!("{planted} {}", passwd.display())]);
        let out = home(what);
        assert!(matches!((out.code, out.stdout.as_str()), (Some(0), "/\n") | (Some(255), "")), "{what}: {out:#?}");
    }
    ended(&sandbox);
}

// --- load ------------------------------------------------------------------------------------------------------------------

/// Twenty at a time, as in a container whose health is asked for by everybody.
#[test]
fn a_thousand_execs() {
    if !root() {
        return;
    }
    let sandbox = idle(View::Host, |_, _| ());
    let files = || (read(sandbox.state_dir().join("state.json")), fs::read_dir(sandbox.state_dir()).unwrap().count());
    let open = || fs::read_dir(format!("/proc/{}/fd", sandbox.pid())).unwrap().count();
    let before = (files(), open());
    for round in 0..50 / slow() {
        let running: Vec<_> = (0..20).map(|n| shell(&sandbox, &[], &format!("echo {n}; exit {n}")).spawn()).collect();
        for (n, running) in (0..).zip(running) {
            let out = running.wait();
            let (text, status) = (format!("{n}\n"), Some(n));
            assert_eq!((out.stdout.as_str(), out.code), (text.as_str(), status), "round {round}: {out:#?}");
        }
    }
    assert_eq!((files(), open()), before);
    let processes = sandbox.cntr(&["ps", "--format", "json", &sandbox.id]).ok().stdout;
    assert_eq!(processes.trim(), format!("[{}]", sandbox.pid()));
    let zombies = shell(&sandbox, &[], "grep -l '^State:.Z' /proc/[0-9]*/status").run();
    assert_eq!(zombies.stdout, "");
    ended(&sandbox);
}

fn limited(resources: &Value, script: &str) -> Sandbox {
    let sandbox = Sandbox::created(View::Host, resources, script);
    sandbox.verb(&["start"]).ok();
    sandbox
}

/// No process more is allowed: the error says which limit it is, and the container is unharmed.
#[test]
fn in_a_container_with_all_the_processes_that_it_may_have() {
    if !root() {
        return;
    }
    let sandbox = limited(&json!({ "pids": { "limit": 3 } }), "sleep 1000 & sleep 1000 & wait");
    let count = || words(&sandbox.cntr(&["ps", "-f", "json", &sandbox.id]).ok().stdout.replace(',', " ")).len();
    wait_for("three processes", || (count() == 3).then_some(()));
    for flags in [&[][..], &["-d"]] {
        for _ in 0..5 {
            let out = exec(&sandbox, flags, &["true"]).run();
            refused(&out, "(the limit of processes of the cgroup, or of the user, is reached)");
        }
    }
    assert_eq!((count(), sandbox.status().as_str()), (3, "running"));
    sandbox.verb(&["update"]).args(&["--pids-limit", "10"]).ok();
    exec(&sandbox, &[], &["true"]).ok();
    ended(&sandbox);
}

/// No memory is left: the process is made or it is not, and nobody else is killed for it.
#[test]
fn in_a_container_without_memory() {
    if !root() {
        return;
    }
    let limit = 16 << 20;
    // a file in a tmpfs is memory that cannot be had back
    let script = "dd if=/dev/zero of=/dev/fill bs=64k 2>/dev/null; : >/full; exec sleep 1000";
    let sandbox = idle(View::Host, |_, config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": limit, "swap": limit } });
        config["mounts"][1]["options"] = json!(["mode=755", "size=14m"]);
        config["process"]["args"][2] = json!(script);
    });
    wait_for("a full memory", || sandbox.rootfs().join("full").exists().then_some(()));
    for _ in 0..20 {
        let out = exec(&sandbox, &[], &["/bin/true"]).run();
        assert!(matches!(out.code, Some(0 | 137 | 255)), "{out:#?}");
        assert_eq!(sandbox.status(), "running", "{out:#?}");
    }
    exec(&sandbox, &[], &["rm", "/dev/fill"]).run();
    ended(&sandbox);
}

/// Of v2: a process too many is the only one that is killed for it, or all of the container are, as `memory.oom.group` says.
#[test]
fn in_a_container_with_and_without_an_oom_group() {
    if !root() {
        return;
    }
    if !pure_v2() {
        return skip("needs cgroup v2 with controllers");
    }
    for group in ["0", "1"] {
        let resources =
            json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 }, "unified": { "memory.oom.group": group } });
        let sandbox = limited(&resources, "exec sleep 1000");
        assert_eq!(exec(&sandbox, &[], &["true"]).run().code, Some(0));
        // what sort(1) has not sorted yet it keeps
        let out = exec(&sandbox, &[], &["sh", "-c", "exec sort /dev/zero"]).run();
        assert_eq!(out.code, Some(137), "memory.oom.group {group}: {out:#?}");
        if group == "0" {
            assert_eq!(sandbox.status(), "running");
            exec(&sandbox, &[], &["true"]).ok();
        } else {
            sandbox.wait_status("stopped");
        }
        ended(&sandbox);
    }
}

/// Init ends while others join: each of them has an end and a reason, and the container can be removed.
#[test]
fn in_a_container_that_is_about_to_end() {
    if !root() {
        return;
    }
    for round in 0..100 / slow() {
        let sandbox = Sandbox::new();
        let wait = f64::from(round % 25) / 1000.0;
        start(&sandbox, &bundle::minimal(&sandbox.cgroups_path(), &format!("sleep {wait}")));
        let running: Vec<_> = (0..2).map(|_| exec(&sandbox, &[], &["/bin/true"]).spawn()).collect();
        for running in running {
            let out = running.wait();
            if out.code == Some(255) {
                refused(&out, "cannot exec in a stopped container");
            } else {
                assert!(matches!(out.code, Some(0 | 137)), "{out:#?}");
            }
        }
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}
