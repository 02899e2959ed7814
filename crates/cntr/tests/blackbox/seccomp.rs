//! seccomp in containers: what each action does to a program, the flags that the filter is loaded with, and agents that
//! answer system calls. Which call meets which action is judged by libcontain's own tests.

use std::process::Command;

use nix::libc;
use serde_json::{Value, json};

use crate::exec::refused;
use crate::exec_place::ONLY_STARTED;
use crate::namespaces::{Holder, UID, in_user_namespace, join, ordinary, ordinary_users_can_unshare, own_directories};
use crate::support::agent::{Agent, Answer};
use crate::support::{Sandbox, View, bundle, have, read, root};

/// A profile that allows what `calls` does not name.
fn profile(action: &str, calls: &[&str]) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": calls, "action": action }] })
}

fn with_profile(sandbox: &Sandbox, script: &str, profile: Value) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["seccomp"] = profile;
    config
}

/// Makes a directory and a mode: `mkdir(2)` and `chmod(2)` under any of their names.
const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];
const CHMOD: [&str; 3] = ["chmod", "fchmodat", "fchmodat2"];

#[test]
fn actions() {
    if !root() {
        return;
    }
    let errno = |errno: u32| {
        let mut errors = profile("SCMP_ACT_ERRNO", &MKDIR);
        errors["syscalls"][0]["errnoRet"] = json!(errno);
        errors
    };
    let list = |names: &[&str]| json!([{ "names": names, "action": "SCMP_ACT_ALLOW" }]);
    // What busybox and the runtime call and not mkdir; calls that are newer than the newest named have ENOSYS anyway.
    let all_but_mkdir: Vec<&str> = ALL.iter().copied().filter(|name| !MKDIR.contains(name)).collect();
    let default = |errno: Value| json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno, "syscalls": list(&all_but_mkdir) });
    let mkdir = "mkdir /tmp/made && echo made";
    // `umask` and `trap` are the shell's own, so that it is the caller itself that is hit.
    let umask = "trap 'echo trapped' SYS; umask 027; echo after";
    for (profile, script, code, stdout, stderr) in [
        (profile("SCMP_ACT_ALLOW", &MKDIR), mkdir, 0, "made\n", ""),
        (profile("SCMP_ACT_LOG", &MKDIR), mkdir, 0, "made\n", ""),
        (profile("SCMP_ACT_ERRNO", &MKDIR), mkdir, 1, "", "Operation not permitted"),
        (errno(123), mkdir, 1, "", "No medium found"),
        (default(json!(null)), mkdir, 1, "", "Operation not permitted"),
        (default(json!(123)), mkdir, 1, "", "No medium found"),
        (profile("SCMP_ACT_TRACE", &MKDIR), mkdir, 1, "", "Function not implemented"),
        (profile("SCMP_ACT_TRAP", &["umask"]), umask, 0, "trapped\nafter\n", ""),
        (profile("SCMP_ACT_KILL", &["umask"]), umask, 128 + libc::SIGSYS, "", ""),
        (profile("SCMP_ACT_KILL_THREAD", &["umask"]), umask, 128 + libc::SIGSYS, "", ""),
        (profile("SCMP_ACT_KILL_PROCESS", &["umask"]), umask, 128 + libc::SIGSYS, "", ""),
    ] {
        for no_new_privileges in [false, true] {
            let sandbox = Sandbox::new();
            let mut config = with_profile(&sandbox, script, profile.clone());
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            sandbox.write(&config);
            // The runtime sets an umask itself: that call comes before the filter in any case.
            let out = sandbox.verb(&["run"]).run();
            let context = format!("{profile} {no_new_privileges}: {out:#?}");
            assert_eq!((out.code, out.stdout.as_str()), (Some(code), stdout), "{context}");
            assert!(out.stderr.contains(stderr), "{context}");
            sandbox.assert_clean();
        }
    }
}

/// The whole process or the thread: a program with two.
#[test]
fn kill_a_thread_or_the_process() {
    if !root() || !have("cc") {
        return;
    }
    const SOURCE: &str = "#include <pthread.h>\n#include <stdio.h>\n#include <sys/stat.h>\n#include <unistd.h>\n\
        static void *hit(void *p) { umask(7); puts(\"alive\"); fflush(stdout); return p; }\n\
        int main(void) { pthread_t t; pthread_create(&t, 0, hit, 0); sleep(1); puts(\"main\"); return 0; }\n";
    for (action, code, stdout) in [
        ("SCMP_ACT_ALLOW", 0, "alive\nmain\n"),
        ("SCMP_ACT_KILL", 0, "main\n"),
        ("SCMP_ACT_KILL_THREAD", 0, "main\n"),
        ("SCMP_ACT_KILL_PROCESS", 128 + libc::SIGSYS, ""),
    ] {
        let sandbox = Sandbox::new();
        let (source, program) = (sandbox.path("threads.c"), sandbox.path("bundle/rootfs/bin/threads"));
        std::fs::write(&source, SOURCE).unwrap();
        let built = Command::new("cc").args(["-static", "-pthread", "-o"]).arg(&program).arg(&source).status().unwrap();
        assert!(built.success());
        let mut config = with_profile(&sandbox, "", profile(action, &["umask"]));
        config["process"]["args"] = json!(["/bin/threads"]);
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!((out.code, out.stdout.as_str()), (Some(code), stdout), "{action}: {out:#?}");
        sandbox.assert_clean();
    }
}

/// What seccomp(2) is called with.
#[test]
fn flags() {
    if !root() || !have("strace") {
        return;
    }
    let (log, spec_allow) = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW");
    let (tsync, wait) = ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    for (flags, expected) in [
        (json!(null), 4),
        (json!([]), 0),
        (json!([tsync]), 0),
        (json!([log]), 2),
        (json!([spec_allow]), 4),
        (json!([log, spec_allow, tsync]), 6),
        (json!([wait]), 0),
        (json!(["notify"]), 8),
        (json!(["notify", wait]), 8 | 32),
    ] {
        let sandbox = Sandbox::new();
        let notifies = flags[0] == json!("notify");
        let action = if notifies { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_LOG" };
        let mut config = with_profile(&sandbox, "true", profile(action, &MKDIR));
        config["linux"]["seccomp"]["flags"] = flags.clone();
        config["linux"]["seccomp"]["listenerPath"] = json!(sandbox.path("agent.sock"));
        if notifies {
            config["linux"]["seccomp"]["flags"].as_array_mut().unwrap().remove(0);
        }
        sandbox.write(&config);
        let agent = notifies.then(|| Agent::start(&sandbox, Some(|_| Answer::Continue)));
        let trace = sandbox.path("trace");
        // raw: the names of the flags are not strace's to know
        let strace =
            ["strace", "-f", "-qq", "-e", "trace=seccomp", "-e", "raw=seccomp", "-o", &trace.to_string_lossy()];
        sandbox.verb(&["run"]).wrapped(&strace).ok();
        let trace = read(&trace);
        let used: Vec<_> = trace.lines().filter_map(|l| l.split_once("seccomp(0x1, ")?.1.split(',').next()).collect();
        assert_eq!(used, [if expected == 0 { "0".into() } else { format!("{expected:#x}") }], "{flags}: {trace}");
        agent.map(Agent::finish);
        sandbox.assert_clean();
    }
}

/// `mkdir` meets an answer, `chmod` is let through.
fn answers(nr: i32) -> Answer {
    let mkdir = [libc::SYS_mkdirat as i32, MKDIR_NR];
    if mkdir.contains(&nr) { Answer::Errno(libc::ENOMEDIUM) } else { Answer::Continue }
}

#[cfg(target_arch = "x86_64")]
const MKDIR_NR: i32 = libc::SYS_mkdir as i32;
#[cfg(not(target_arch = "x86_64"))]
const MKDIR_NR: i32 = -1;

const ASKING: &str = "mkdir /tmp/a; touch /tmp/b; chmod 640 /tmp/b; stat -c %a /tmp/b";

/// A config whose agent is asked about `mkdir` and `chmod`.
fn asking(sandbox: &Sandbox, mut config: Value) -> Value {
    let calls: Vec<&str> = MKDIR.iter().chain(&CHMOD).copied().collect();
    config["linux"]["seccomp"] = profile("SCMP_ACT_NOTIFY", &calls);
    config["linux"]["seccomp"]["listenerPath"] = json!(sandbox.path("agent.sock"));
    config["linux"]["seccomp"]["listenerMetadata"] = json!("for \"me\"");
    config["annotations"] = json!({ "a": "b" });
    config
}

/// That the agent was told what the spec wants, and the program had its answers.
fn asked(sandbox: &Sandbox, agent: Agent, pid: Option<i32>, stdout: &str, stderr: &str) {
    let state = agent.state();
    let pid = pid.unwrap_or(state["pid"].as_i64().unwrap() as i32);
    let inner = json!({ "ociVersion": "1.3.0", "id": sandbox.id, "status": "creating", "pid": pid,
        "bundle": sandbox.bundle(), "annotations": { "a": "b" } });
    let expected =
        json!({ "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": pid, "metadata": "for \"me\"", "state": inner });
    assert_eq!(state, expected);
    assert_eq!(stdout, "640\n", "{stderr}");
    assert!(stderr.contains("No medium found"), "{stderr}");
    let calls = agent.finish();
    assert_eq!(calls.values().sum::<u32>(), 2, "{calls:?}");
}

#[test]
fn an_agent_answers() {
    if !root() {
        return;
    }
    for (no_new_privileges, user, namespace) in [
        (false, 0, false),
        (true, 0, false),
        (false, 1000, false),
        (true, 1000, false),
        (false, 0, true),
        (true, 1000, true),
    ] {
        let sandbox = Sandbox::new();
        let mut config = asking(&sandbox, bundle::minimal(&sandbox.cgroups_path(), ASKING));
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        config["process"]["user"] = json!({ "uid": user, "gid": user });
        if namespace {
            in_user_namespace(&sandbox, &mut config);
        }
        sandbox.write(&config);
        let agent = Agent::start(&sandbox, Some(answers));
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(0), "{no_new_privileges} {user} {namespace}: {out:#?}");
        asked(&sandbox, agent, None, &out.stdout, &out.stderr);

        let agent = Agent::start(&sandbox, Some(answers));
        let (stdout, stderr) = (sandbox.path("stdout"), sandbox.path("stderr"));
        let redirect = format!("exec \"$@\" >{} 2>{}", stdout.display(), stderr.display());
        sandbox.verb(&["create"]).shell(&redirect).ok();
        // before `create` is done
        let pid = sandbox.pid();
        assert_eq!(agent.state()["pid"], json!(pid));
        sandbox.verb(&["start"]).ok();
        sandbox.wait_status("stopped");
        asked(&sandbox, agent, Some(pid), &read(stdout), &read(stderr));
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

/// Nobody who may trace init by a capability takes the listener here.
#[test]
fn an_agent_answers_an_ordinary_users_container() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    for no_new_privileges in [false, true] {
        let sandbox = Sandbox::with_view(View::User(UID));
        own_directories(&sandbox, UID);
        let mut config = asking(&sandbox, ordinary(UID, ASKING));
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        sandbox.write(&config);
        let agent = Agent::start(&sandbox, Some(answers));
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code, Some(0), "{out:#?}");
        asked(&sandbox, agent, None, &out.stdout, &out.stderr);
        // Init was traceable for its parent's sake. It is not while it waits for `start`, where the filter lets it say so.
        for (call, owner) in [("mkdir", 0), ("prctl", UID)] {
            config["linux"]["seccomp"]["syscalls"][0]["names"] = json!([call]);
            sandbox.write(&config);
            let agent = Agent::start(&sandbox, Some(|_| Answer::Continue));
            sandbox.verb(&["create"]).ok();
            let of_init = std::fs::metadata(format!("/proc/{}/environ", sandbox.pid())).unwrap();
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&of_init), owner, "whose files of init are: {call}");
            // Nobody is put beside it who could read the caller's environment there.
            refused(&sandbox.verb(&["exec"]).args(&["cat", "/proc/1/environ"]).run(), ONLY_STARTED);
            sandbox.verb(&["delete", "-f"]).ok();
            agent.finish();
        }
        sandbox.assert_clean();
    }
}

/// What init calls between the filter and the program may be notified as well: all of it but write.
#[test]
fn an_agent_is_asked_about_init_itself() {
    if !root() {
        return;
    }
    for (no_new_privileges, user) in [(false, 0), (true, 0), (false, 1000), (true, 1000)] {
        let sandbox = Sandbox::new();
        let names: Vec<&str> = ALL.iter().copied().filter(|name| *name != "write").collect();
        let mut config = with_profile(&sandbox, "echo ok", profile("SCMP_ACT_NOTIFY", &names));
        config["linux"]["seccomp"]["listenerPath"] = json!("../agent.sock");
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        config["process"]["user"] = json!({ "uid": user, "gid": user });
        config["process"]["cwd"] = json!("/home");
        config["hooks"]["startContainer"] = json!([{ "path": "/bin/true" }]);
        sandbox.write(&config);
        let agent = Agent::start(&sandbox, Some(|_| Answer::Continue));
        let out = sandbox.verb(&["run"]).run();
        assert_eq!((out.code, out.stdout.as_str()), (Some(0), "ok\n"), "{no_new_privileges} {user}: {out:#?}");
        // the first call after the filter: init waits for the agent to have the listener
        let calls = agent.finish();
        assert!(
            calls.contains_key(&(libc::SYS_read as i32)) && calls.contains_key(&(libc::SYS_execve as i32)),
            "{calls:?}"
        );

        let agent = Agent::start(&sandbox, Some(|_| Answer::Continue));
        let created = sandbox.verb(&["create"]).ok();
        sandbox.verb(&["start"]).ok();
        sandbox.wait_status("stopped");
        assert_eq!(read(&created.stdout_file), "ok\n");
        agent.finish();
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

/// The calls of an agent that is gone fail, also while init still has to come to its program.
#[test]
fn an_agent_that_closes_at_once() {
    if !root() {
        return;
    }
    for no_new_privileges in [false, true] {
        let sandbox = Sandbox::new();
        let mut config = asking(&sandbox, bundle::minimal(&sandbox.cgroups_path(), ASKING));
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        sandbox.write(&config);
        let agent = Agent::start(&sandbox, None);
        let out = sandbox.verb(&["run"]).ok();
        assert!(out.stderr.matches("Function not implemented").count() >= 2, "{out:#?}");
        agent.finish();
        let agent = Agent::start(&sandbox, None);
        sandbox.verb(&["create"]).ok();
        agent.finish();
        // init waits for `start`, and holds no listener that would keep its callers waiting
        let pid = sandbox.pid();
        let listener = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("seccomp")));
        assert!(!listener);
        sandbox.verb(&["start"]).ok();
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn an_agent_that_is_not_there() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let dead = sandbox.path("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for (path, why) in [
        (sandbox.path("no/such.sock"), "no such file or directory"),
        (sandbox.path("bundle/config.json"), "connection refused"),
        (dead, "connection refused"),
        ("@cntr-no-such-agent".into(), "connection refused"),
    ] {
        let mut config = asking(&sandbox, bundle::minimal(&sandbox.cgroups_path(), "true"));
        config["linux"]["seccomp"]["listenerPath"] = json!(path);
        sandbox.write(&config);
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb]).run();
            let text = format!("dial unix {}: connect: {why}", path.display());
            assert!(out.code == Some(1) && out.stderr.contains("failed to connect with seccomp agent"), "{out:#?}");
            assert!(out.stderr.contains("linux.seccomp.listenerPath: ") && out.stderr.contains(&text), "{out:#?}");
            sandbox.assert_clean();
        }
    }
}

/// An agent that never accepts, and one that never answers what init has to call: both have their time.
#[test]
fn an_agent_that_does_nothing() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let path = sandbox.path("agent.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let queue = std::os::unix::net::UnixStream::connect(&path).unwrap();
    sandbox.write(&asking(&sandbox, bundle::minimal(&sandbox.cgroups_path(), "true")));
    let out = sandbox.verb(&["create"]).run();
    assert!(out.code == Some(1) && out.stderr.contains("failed to connect with seccomp agent"), "{out:#?}");
    assert!(out.stderr.contains("connect: connection timed out"), "{out:#?}");
    drop((queue, socket));
    sandbox.assert_clean();

    let mut config = with_profile(&sandbox, "true", profile("SCMP_ACT_NOTIFY", &["read"]));
    config["linux"]["seccomp"]["listenerPath"] = json!(path);
    sandbox.write(&config);
    let agent = Agent::start(&sandbox, Some(|_| Answer::Silence));
    let out = sandbox.verb(&["create"]).run();
    let text = "the seccomp agent does not answer init's own system calls";
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    agent.finish();
    sandbox.assert_clean();
}

/// `run` waits for execve, which is init's last call of its own.
#[test]
fn an_agent_that_does_not_answer_execve() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = with_profile(&sandbox, "true", profile("SCMP_ACT_NOTIFY", &["execve"]));
    config["linux"]["seccomp"]["listenerPath"] = json!(sandbox.path("agent.sock"));
    sandbox.write(&config);
    let agent = Agent::start(&sandbox, Some(|_| Answer::Silence));
    let out = sandbox.verb(&["run"]).run();
    let text = "the seccomp agent does not answer init's own system calls";
    assert!(out.code == Some(1) && out.stderr.contains(text), "{out:#?}");
    agent.finish();
    sandbox.assert_clean();
}

/// A listener cannot be taken where init would have to be traceable for other containers.
#[test]
fn an_ordinary_user_needs_a_namespace_of_his_own() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    let holder = Holder::of_user(UID);
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = asking(&sandbox, ordinary(UID, "true"));
    join(&mut config, "user", &holder.path("user"));
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    for map in ["uidMappings", "gidMappings"] {
        config["linux"].as_object_mut().unwrap().remove(map);
    }
    sandbox.write(&config);
    let out = sandbox.verb(&["create"]).run();
    assert!(
        out.code == Some(1) && out.stderr.contains("linux.seccomp: SCMP_ACT_NOTIFY without CAP_SYS_PTRACE"),
        "{out:#?}"
    );
    sandbox.assert_clean();
}

/// A profile that refuses what init speaks to its parent with, or even to end: an error, not two processes that wait for
/// each other.
#[test]
fn a_profile_that_leaves_init_without_words() {
    if !root() {
        return;
    }
    let profiles = [profile("SCMP_ACT_ERRNO", &["write"]), json!({ "defaultAction": "SCMP_ACT_ERRNO" })];
    for (no_new_privileges, profile) in [false, true].iter().flat_map(|no| profiles.iter().map(move |p| (no, p))) {
        let sandbox = Sandbox::new();
        let mut config = with_profile(&sandbox, "true", profile.clone());
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        sandbox.write(&config);
        let out = sandbox.verb(&["create"]).run();
        assert!(out.code == Some(1) && out.stderr.contains("init ended without a word"), "{out:#?}");
        sandbox.assert_clean();
    }
}

/// Every call that busybox's shell, its applets and the runtime's init may need, and the ones that tests are about.
const ALL: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "mkdir",
    "mkdirat",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "sigaltstack",
    "stat",
    "statx",
    "sysinfo",
    "tgkill",
    "umask",
    "uname",
    "utimensat",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];
