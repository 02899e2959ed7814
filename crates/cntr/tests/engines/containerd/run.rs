//! `ctr run`: what its options do, seen from within and from the host.

use std::fs;

use serde_json::{Value, json};

use super::{Containerd, IMAGE};
use crate::checks::Check;
use crate::support::{bundle, host, leftovers, read, runtime, words};

pub const CHECKS: &[Check<Containerd>] = &[
    ("run", run),
    ("run_stdin", stdin),
    ("run_detached", detached),
    ("run_tty", tty),
    ("run_cwd_env", cwd_env),
    ("run_config", config),
    ("run_mounts", mounts),
    ("run_read_only", read_only),
    ("run_limits", limits),
    ("run_net_host", net_host),
    ("run_with_ns", with_ns),
    ("run_capabilities", capabilities),
    ("run_new_privileges", new_privileges),
    ("run_seccomp", seccomp),
    ("run_device", device),
    ("run_user_namespace", user_namespace),
    ("run_no_pivot", no_pivot),
    ("run_log_file", log_file),
    ("run_as_runc", as_runc),
    ("run_short", short),
    ("wrapper", wrapper),
];

fn run(c: &Containerd) {
    let out = c.run("run", &[], "id -u; echo problem >&2; exit 7");
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(7), "0\n", "problem\n"), "{out:#?}");
    assert_eq!(c.status("run"), None);
    assert!(!c.room.path("runtime/default/run").exists(), "the runtime has kept its state");
}

/// The FIFOs that the shim opened are what the program has as its stdin and stdout. (It counts, because `ctr run` does
/// not always pass on the end.)
fn stdin(c: &Containerd) {
    let text = c.room.path("text");
    fs::write(&text, "a line\n".repeat(20_000)).unwrap();
    let run = c.run_with("stdin", &["--rm"]).args(&[IMAGE, "stdin", "head", "-n", "20000"]);
    let out = run.stdin(fs::File::open(&text).unwrap()).ok();
    assert!(out.stdout == read(&text), "{} of {} bytes have arrived", out.stdout.len(), read(&text).len());
}

/// The pid file holds a pid and nothing else, the shim is init's parent and reaps it.
fn detached(c: &Containerd) {
    let container = c.detached("detached", &[], "sleep 1000");
    assert_eq!(container.status().as_deref(), Some("RUNNING"));
    let status = read(c.proc(container.pid, "status"));
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).expect("a parent").parse().unwrap();
    let shim = read(c.proc(parent, "cmdline"));
    assert!(shim.contains("containerd-shim-runc-v2"), "the parent of init is {shim:?}");
    container.kill("KILL");
    container.wait_status("STOPPED");
    assert!(!c.proc(container.pid, "status").exists(), "nobody has waited for init");
    let out = c.ctr(&["task", "rm", "detached"]).run();
    assert!(out.stderr.contains("137"), "{out:#?}");
}

fn tty(c: &Containerd) {
    let options = c.options("tty").join(" ");
    let script = "tty; test -t 0 -a -t 2 && stat -c %t:%T /dev/tty; exit 4";
    let out = c.terminal(&format!("ctr run --rm -t {options} {IMAGE} tty sh -c '{script}'"));
    // among what script(1) and ctr say themselves
    assert!(out.code == Some(4) && out.stdout.replace('\r', "").contains("/dev/pts/0\n5:0\n"), "{out:#?}");
}

fn cwd_env(c: &Containerd) {
    let out = c.run("cwd", &["--cwd", "/var/tmp", "--env", "WORD=two words"], "pwd; echo \"$WORD\"");
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "/var/tmp\ntwo words\n"), "{out:#?}");
}

/// A config.json of one's own.
fn config(c: &Containerd) {
    let script = "id -u; hostname; ulimit -n; cat /proc/sys/kernel/msgmax; touch /file 2>/dev/null || echo read-only";
    let file = c.config_file("config", script, |config| {
        bundle::set(config, "/process/user/uid", Some(1000.into()));
        bundle::set(config, "/hostname", Some("mine".into()));
        bundle::set(config, "/root/readonly", Some(true.into()));
        bundle::set(config, "/linux/sysctl", Some(json!({ "kernel.msgmax": "9000" })));
    });
    let out = c.run_with("config", &["--rm", "--config", &file, "config"]).ok();
    assert_eq!(out.stdout, "1000\nmine\n1024\n9000\nread-only\n");
}

fn mounts(c: &Containerd) {
    let dir = c.room.path("volume");
    fs::create_dir(&dir).unwrap();
    let bind = |at: &str, options: &str| format!("type=bind,src={},dst={at},options={options}", dir.display());
    let (ro, rw) = (bind("/ro", "rbind:ro"), bind("/rw", "rbind:rw"));
    let tmpfs = "type=tmpfs,src=tmpfs,dst=/small,options=nosuid:size=64k";
    let script = "touch /rw/file && ls /ro; touch /ro/no; grep -c ' /small tmpfs .*size=64k' /proc/mounts";
    let out = c.run("mounts", &["--mount", &ro, "--mount", &rw, "--mount", tmpfs], script);
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "file\n1\n"), "{out:#?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:#?}");
    assert!(dir.join("file").exists());
}

fn read_only(c: &Containerd) {
    let out = c.run("readonly", &["--read-only"], "touch /file");
    assert!(out.code == Some(1) && out.stderr.contains("Read-only file system"), "{out:#?}");
}

/// Where the limits are and what they say, by the process's own cgroup.
fn limits(c: &Containerd) {
    let options = ["--memory-limit", "67108864", "--cpus", "0.5", "--cpu-shares", "512"];
    let container = c.detached("limits", &options, "sleep 1000");
    let place = format!("{}/limits", c.room.cgroup_parent());
    let cgroup = read(c.proc(container.pid, "cgroup"));
    assert!(cgroup.lines().any(|l| l.ends_with(&place)), "{cgroup}");
    let dirs = leftovers::cgroups(&c.room.id);
    let file = |v1: &str, v2: &str| {
        let mut files = dirs.iter().flat_map(|dir| [dir.join("limits").join(v1), dir.join("limits").join(v2)]);
        let file = files.find(|f| f.exists()).unwrap_or_else(|| panic!("no {v1} in {dirs:?}"));
        read(file).trim().to_owned()
    };
    assert_eq!(file("memory.limit_in_bytes", "memory.max"), "67108864");
    let quota = file("cpu.cfs_quota_us", "cpu.max");
    assert!(["50000", "50000 100000"].contains(&quota.as_str()), "{quota}");
    let shares = file("cpu.shares", "cpu.weight");
    assert!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
}

fn net_host(c: &Containerd) {
    let room = fs::read_link(format!("/proc/{}/ns/net", c.room.first())).unwrap().display().to_string();
    let script = "readlink /proc/self/ns/net";
    assert_eq!(c.run("nethost", &["--net-host"], script).stdout.trim(), room);
    assert_ne!(c.run("netown", &[], script).stdout.trim(), room);
}

/// A network namespace that was made before, as CNI plugins make it.
fn with_ns(c: &Containerd) {
    c.room.shell("ip netns add made && ip -n made link add name there type bridge").ok();
    let out = c.run("withns", &["--with-ns", "network:/run/netns/made"], "ls /sys/class/net");
    assert!(words(&out.stdout).contains(&"there"), "{out:#?}");
}

fn capabilities(c: &Containerd) {
    let bounding = |options: &[&str]| {
        let out = c.run("caps", options, "grep CapEff /proc/self/status");
        u64::from_str_radix(words(&out.stdout).get(1).unwrap_or_else(|| panic!("{out:#?}")), 16).unwrap()
    };
    let (chown, ptrace, default) = (1 << 0, 1 << 19, bounding(&[]));
    assert_eq!(default & (chown | ptrace), chown);
    let changed = bounding(&["--cap-add", "CAP_SYS_PTRACE", "--cap-drop", "CAP_CHOWN"]);
    assert_eq!(changed, (default | ptrace) & !chown);
}

fn new_privileges(c: &Containerd) {
    let seen = |options: &[&str]| c.run("newprivs", options, "grep NoNewPrivs /proc/self/status").stdout;
    assert_eq!(seen(&[]), "NoNewPrivs:\t1\n");
    assert_eq!(seen(&["--allow-new-privs"]), "NoNewPrivs:\t0\n");
}

fn seccomp(c: &Containerd) {
    let out = c.run("seccomp", &["--seccomp"], "grep Seccomp: /proc/self/status");
    assert_eq!(out.stdout, "Seccomp:\t2\n", "{out:#?}");
    let profile = c.room.path("profile.json");
    let rules = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"], "syscalls": [
        { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }] }"#;
    fs::write(&profile, rules).unwrap();
    let out = c.run("profile", &["--seccomp", "--seccomp-profile", &profile.to_string_lossy()], "mkdir /x");
    assert!(out.code == Some(1) && out.stderr.contains("Operation not supported"), "{out:#?}");
}

/// A device that the default rules do not allow: to be opened, it has to be in the list.
fn device(c: &Containerd) {
    let node = "/dev/cntr-kmsg";
    c.room.shell(&format!("test -e {node} || mknod -m 666 {node} c 1 11")).ok();
    let out = c.run("device", &["--device", node], &format!("stat -c %t:%T {node} && : >{node}"));
    fs::remove_file(node).unwrap();
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "1:b\n"), "{out:#?}");
}

fn user_namespace(c: &Containerd) {
    let map = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    let out = c.run("userns", &map, "cat /proc/self/uid_map; stat -c %u /");
    let seen: Vec<_> = out.stdout.lines().map(words).collect();
    assert_eq!(seen, [vec!["0", "100000", "65536"], vec!["0"]], "{out:#?}");
}

fn no_pivot(c: &Containerd) {
    let out = c.run("nopivot", &["--no-pivot"], "ls /etc");
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), "group\npasswd\n"), "{out:#?}");
}

fn log_file(c: &Containerd) {
    let file = c.room.path("output");
    let uri = format!("file://{}", file.display());
    c.run_with("logfile", &["--rm", "--log-uri", &uri]).args(&[IMAGE, "logfile", "echo", "logged"]).ok();
    assert_eq!(read(&file), "logged\n");
}

/// No `--runc-binary`: the shim runs whatever is called `runc` on its PATH, which in this room is a symlink to the binary
/// under test, and the only one.
fn as_runc(c: &Containerd) {
    let cgroup = c.cgroup("asrunc");
    let run = c.ctr(&["run", "--rm", "--cgroup", &cgroup, IMAGE, "asrunc", "echo", "found"]).ok();
    assert_eq!(run.stdout, "found\n");
    let version = c.room.command(&c.room.path("bin/runc").to_string_lossy()).arg("--version").ok().stdout;
    assert!(version.starts_with("runc version ") && version.contains("\nspec: "), "{version}");
}

/// Programs that end at once: their status arrives, and their output, however quick they are.
fn short(c: &Containerd) {
    for i in 0..10 {
        let out = c.run("short", &[], &format!("echo {i}; exit {i}"));
        assert_eq!((out.code, out.stdout.trim()), (Some(i), i.to_string().as_str()), "{out:#?}");
    }
}

/// What nvidia-container-runtime does: a program between the shim and the runtime that changes the config of a `create`
/// and passes on its arguments as they are.
fn wrapper(c: &Containerd) {
    let script = r#"#!/bin/sh
create= bundle= previous=
for argument; do
    case $argument in create) create=1 ;; --bundle=*) bundle=${argument#*=} ;; esac
    case $previous in --bundle | -b) bundle=$argument ;; esac
    previous=$argument
done
echo "$@" >>DIR/wrapper.seen
[ -z "$create" ] || sed -i 's|^{|{"hooks":{"prestart":[PRESTART],"createContainer":[CREATE]},|; s|"env":\[|&"ADDED=by the wrapper",|' "$bundle/config.json"
exec RUNTIME "$@"
"#;
    let hook = r#"{"path":"/bin/sh","args":["sh","-c","cat >DIR/NAME.state; pwd >DIR/NAME.cwd"]}"#;
    let script = script
        .replace("PRESTART", &hook.replace("NAME", "prestart"))
        .replace("CREATE", &hook.replace("NAME", "create"));
    let script = script.replace("RUNTIME", &runtime().to_string_lossy());
    let file = c.room.path("wrapper");
    fs::write(&file, script.replace("DIR", &c.room.dir().to_string_lossy())).unwrap();
    host("chmod", &["755", &file.to_string_lossy()]);
    let cgroup = c.cgroup("wrapper");
    let run = c.ctr(&["run", "--rm", "--cgroup", &cgroup, "--runc-binary", &file.to_string_lossy(), IMAGE, "wrapper"]);
    assert_eq!(run.args(&["sh", "-c", "echo $ADDED"]).ok().stdout, "by the wrapper\n");
    let seen = read(c.room.path("wrapper.seen"));
    assert!(seen.contains(" create --bundle "), "{seen}");
    for (hook, below) in [("prestart", ""), ("create", "rootfs")] {
        let state: Value =
            serde_json::from_str(&read(c.room.path(&format!("{hook}.state")))).expect("the hook's state");
        assert_eq!((&state["id"], &state["status"]), (&"wrapper".into(), &"creating".into()), "{hook}: {state}");
        // runc 1.1.5 tells createContainer the pid that init has inside
        assert!(hook == "create" || state["pid"].as_u64().is_some_and(|pid| pid > 1), "{hook}: {state}");
        let cwd = read(c.room.path(&format!("{hook}.cwd")));
        let bundle = state["bundle"].as_str().unwrap();
        assert_eq!(cwd.trim().trim_end_matches(below).trim_end_matches('/'), bundle, "{hook}");
    }
}
