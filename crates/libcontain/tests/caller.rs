//! The library is a good guest: a process with threads that creates, starts, kills and deletes containers is afterwards
//! what it was before, and so is one whose container could not be made. Everything that a container needs of its own is
//! done after the clone.
//!
//! One test, since any other of the same process would change what it looks at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;

use libcontain::{CreateOptions, Exec, ExecOptions, process_from_json};
use serde_json::{Value, json};
use support::{World, null, rooted, set};

/// Lines of /proc/PID/status that change by themselves. `FDSize` is the room that the kernel keeps for descriptors: it
/// grows with the most that were ever open at once and never shrinks.
const RESTLESS: [&str; 8] = ["State", "Vm", "Rss", "Huge", "voluntary_ctxt", "nonvoluntary_ctxt", "SigQ", "FDSize"];

/// Everything that a guest could leave changed, by name.
fn snapshot() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        thread(&task.unwrap().path(), &mut all);
    }
    for file in [
        "environ",
        "limits",
        "oom_score_adj",
        "cgroup",
        "mountinfo",
        "cmdline",
        "personality",
        "timens_offsets",
        "coredump_filter",
    ] {
        all.insert(file.into(), fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default());
    }
    all.insert("std::env".into(), format!("{:?}", std::env::vars_os().collect::<Vec<_>>()));
    all.insert("std cwd".into(), format!("{:?}", std::env::current_dir()));
    for (name, option) in [
        ("dumpable", libc::PR_GET_DUMPABLE),
        ("keepcaps", libc::PR_GET_KEEPCAPS),
        ("no_new_privs", libc::PR_GET_NO_NEW_PRIVS),
    ] {
        // SAFETY: these options only read, and no argument is a pointer.
        all.insert(name.into(), unsafe { libc::prctl(option, 0, 0, 0, 0) }.to_string());
    }
    for (name, option) in [("subreaper", libc::PR_GET_CHILD_SUBREAPER), ("parent death signal", libc::PR_GET_PDEATHSIG)]
    {
        let mut value: libc::c_int = -1;
        // SAFETY: the kernel writes one int, which outlives the call.
        unsafe { libc::prctl(option, &raw mut value) };
        all.insert(name.into(), value.to_string());
    }
    // SAFETY: KEYCTL_GET_KEYRING_ID (0) with numbers only: -3 is the session keyring, which is not to be made.
    all.insert("session keyring".into(), unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) }.to_string());
    for signal in 1..=64 {
        let mut action = [0u64; 4];
        // SAFETY: the kernel writes one `struct kernel_sigaction` of 32 bytes; nothing is set.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, std::ptr::null::<u64>(), action.as_mut_ptr(), 8) };
        all.insert(format!("signal {signal}"), format!("{action:x?}"));
    }
    descriptors(&mut all);
    all
}

fn thread(task: &Path, all: &mut BTreeMap<String, String>) {
    let name = task.file_name().unwrap().to_string_lossy().into_owned();
    for line in fs::read_to_string(task.join("status")).unwrap_or_default().lines() {
        let (key, value) = line.split_once(':').unwrap();
        if !RESTLESS.iter().any(|restless| key.starts_with(restless)) {
            all.insert(format!("thread {name} {key}"), value.trim().into()); // Umask, Sig*, Cap*, Uid, Groups, Seccomp...
        }
    }
    for link in [
        "cwd",
        "root",
        "exe",
        "ns/mnt",
        "ns/net",
        "ns/pid",
        "ns/pid_for_children",
        "ns/user",
        "ns/uts",
        "ns/ipc",
        "ns/cgroup",
    ] {
        all.insert(format!("thread {name} {link}"), format!("{:?}", fs::read_link(task.join(link)).ok()));
    }
    for file in ["children", "attr/current", "loginuid", "sched"] {
        let text = fs::read_to_string(task.join(file)).unwrap_or_default();
        let kept = if file == "sched" {
            text.lines().filter(|l| l.starts_with("policy") || l.starts_with("prio")).collect()
        } else {
            text
        };
        all.insert(format!("thread {name} {file}"), kept);
    }
}

/// Number, target and flags of every open descriptor, but for the one that reads the list.
fn descriptors(all: &mut BTreeMap<String, String>) {
    let own = format!("/proc/{}/fd", std::process::id());
    for entry in fs::read_dir(&own).unwrap() {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).unwrap_or_default();
        if target != Path::new(&own) {
            let number = path.file_name().unwrap().to_string_lossy().into_owned();
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
            let flags: String = info.lines().filter(|line| line.starts_with("flags")).collect();
            all.insert(format!("descriptor {number}"), format!("{} {flags}", target.display()));
        }
    }
}

/// What differs, in words.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| format!("{name}: {:?} -> {:?}", before.get(name), after.get(name))).collect()
}

/// A config that touches everything a guest could get wrong.
fn config(world: &World) -> Value {
    let mut config = world.minimal("sleep 100");
    for (pointer, value) in [
        ("/hostname", json!("guest")),
        ("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 0o077 })),
        ("/process/cwd", json!("/opt")),
        ("/process/oomScoreAdj", json!(900)),
        ("/process/noNewPrivileges", json!(true)),
        ("/process/env", json!(["PATH=/bin", "GUEST=1"])),
        ("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }])),
        (
            "/process/capabilities",
            json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }),
        ),
        ("/linux/maskedPaths", json!(["/proc/keys", "/proc/scsi"])),
        ("/linux/readonlyPaths", json!(["/proc/sys"])),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })),
        ("/linux/namespaces/-", json!({ "type": "cgroup" })),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["bpf"], "action": "SCMP_ACT_ERRNO" }] }),
        ),
        ("/hooks/createRuntime/-", json!({ "path": "/bin/true" })),
        ("/hooks/createContainer/-", json!({ "path": "/bin/true" })),
        ("/hooks/poststart/-", json!({ "path": "/bin/true" })),
        ("/hooks/poststop/-", json!({ "path": "/bin/true" })),
    ] {
        set(&mut config, pointer, value);
    }
    config
}

fn lifecycle(world: &World, config: &Value) {
    let container = world.create(config).unwrap_or_else(|e| panic!("{e}"));
    container.start().unwrap_or_else(|e| panic!("{e}"));
    container.state().unwrap();
    container.kill(libc::SIGKILL).unwrap();
    assert_eq!(container.wait().unwrap(), 128 + libc::SIGKILL);
    assert!(container.delete(false).unwrap().is_empty());
    world.assert_clean();
}

/// The same container, with an intermediate: the caller must not be left with a zombie.
fn joined(world: &World, config: &Value) {
    let holder = World::new();
    let held = holder.create(&holder.minimal("sleep 100")).unwrap_or_else(|e| panic!("{e}"));
    let mut config = config.clone();
    set(&mut config, "/linux/namespaces/0/path", json!(format!("/proc/{}/ns/pid", held.pid())));
    lifecycle(world, &config);
    held.kill(libc::SIGKILL).unwrap();
    held.wait().unwrap();
    held.delete(false).unwrap();
}

/// Further processes, by several threads at once: some that run and some that cannot.
fn execs(world: &World, config: &Value) {
    let container = world.run(config).unwrap_or_else(|e| panic!("{e}"));
    let null = null();
    let options = ExecOptions { stdio: [Some(null.as_fd()); 3], ..ExecOptions::default() };
    let exec = |args: &[&str]| {
        let process = json!({ "cwd": "/", "args": args, "env": ["PATH=/bin"], "user": { "uid": 1, "gid": 1 } });
        container.exec(&process_from_json(process.to_string().as_bytes()).unwrap().0, &options)
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    reap(&exec(&["true"]).unwrap_or_else(|e| panic!("{e}")));
                    exec(&["/nonesuch"]).map(drop).unwrap_err();
                    exec(&[]).map(drop).unwrap_err();
                }
            });
        }
    });
    // With fewer descriptors than all of them need: whichever is missed, that is told, and no process is left.
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (mut ran, mut failed) = (0, 0);
    for more in (15..75).step_by(2) {
        let limit = set_files(open + more);
        std::thread::scope(|scope| {
            let few = || (0..6).map(|_| exec(&["true"]).map(|exec| reap(&exec)).is_ok()).collect::<Vec<bool>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(few)).collect();
            let all: Vec<bool> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            ran += all.iter().filter(|ran| **ran).count();
            failed += all.iter().filter(|ran| !**ran).count();
        });
        set_files(limit);
    }
    assert!(ran > 20 && failed > 20, "{ran} {failed}");
    // Before it is killed: init could not end while one that has joined its pid namespace is not reaped.
    let children = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path().join("children"));
    let children: String = children.map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
    assert_eq!(children.split_whitespace().collect::<Vec<_>>(), [container.pid().to_string()]);
    container.kill(libc::SIGKILL).unwrap();
    container.wait().unwrap();
    container.delete(false).unwrap();
    world.assert_clean();
}

fn reap(exec: &Exec) {
    let mut status = 0;
    // SAFETY: a child of this process, and an int that outlives the call.
    assert_eq!(unsafe { libc::waitpid(exec.pid() as i32, &raw mut status, 0) }, exec.pid() as i32);
    assert_eq!(status, 0);
}

/// Changes how many descriptors there may be, and tells how many there might be before.
fn set_files(soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit that outlives the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, soft);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

/// Containers that cannot be made, because of the config, the parent, the cgroup, the child early and late, a hook.
fn failures(world: &World, config: &Value) {
    for (pointer, value) in [
        ("/process/cwd", json!("relative")),
        ("/process/args", json!(["/nonesuch"])),
        ("/linux/resources/cpu", json!({ "cpus": "4000" })),
        ("/linux/sysctl", json!({ "net.ipv4.nonesuch": "1" })),
        ("/mounts/-", json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["bogus"] })),
        ("/mounts/-", json!({ "destination": "/mnt", "type": "bind", "source": "/nonesuch", "options": ["bind"] })),
        ("/linux/namespaces/0/path", json!("/proc/self/ns/net")),
        ("/hooks/createRuntime/-", json!({ "path": "/bin/false" })),
        ("/hooks/createContainer/-", json!({ "path": "/bin/false" })),
    ] {
        let mut config = config.clone();
        set(&mut config, pointer, value);
        let error = world.create(&config).map(drop).unwrap_err();
        assert!(!error.to_string().contains("without a word"), "{error}");
        world.run(&config).map(drop).unwrap_err();
        world.assert_clean();
    }
    // what cannot be written at the end: init exists already
    let null = null();
    let nowhere = world.path("nonesuch/pid");
    let options =
        CreateOptions { stdio: [Some(null.as_fd()); 3], pid_file: Some(&nowhere), ..CreateOptions::default() };
    world.runtime().create(&world.name(), &world.bundle(config), &options).map(drop).unwrap_err();
    world.assert_clean();
}

extern "C" fn handler(_: libc::c_int) {}

/// Dispositions and masks that a careless guest would reset or hand on.
fn habits() {
    // SAFETY: the handler does nothing, and ignoring a signal needs no memory.
    unsafe {
        libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t);
        libc::signal(libc::SIGUSR2, libc::SIG_IGN);
    }
}

fn block(signal: libc::c_int) {
    // SAFETY: the set is initialised by sigemptyset before use and outlives the call.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

#[test]
fn the_caller_is_left_as_found() {
    let Some(world) = rooted("the_caller_is_left_as_found") else { return };
    assert_that_changes_are_seen();
    let config = config(&world);
    // No container yet: what the first one leaves changed, no later one would change.
    habits();
    block(libc::SIGHUP);
    let (ready, done) = (Barrier::new(4), Barrier::new(4));
    std::thread::scope(|scope| {
        for signal in [libc::SIGUSR1, libc::SIGCHLD, libc::SIGTERM] {
            let (ready, done) = (&ready, &done);
            scope.spawn(move || {
                block(signal);
                ready.wait();
                done.wait();
            });
        }
        ready.wait();
        let before = snapshot();
        assert!(before.len() > 100 && before.keys().filter(|k| k.ends_with("SigBlk")).count() >= 4, "{before:?}");
        let work = std::panic::catch_unwind(|| {
            let mut wrong = Vec::new();
            for (name, work) in [
                ("a life", lifecycle as fn(&World, &Value)),
                ("joined", joined),
                ("execs", execs),
                ("failures", failures),
            ] {
                work(&world, &config);
                wrong.extend(changes(&before, &snapshot()).into_iter().map(|change| format!("{name}: {change}")));
            }
            wrong
        });
        done.wait();
        assert_eq!(work.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), [""; 0]);
    });
}

/// A snapshot that could not see a change would prove nothing: run by the test above, in a process of its own.
#[test]
fn a_change_is_seen() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let before = snapshot();
    let _kept = fs::File::open("/dev/zero").unwrap();
    habits();
    block(libc::SIGHUP);
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 2 };
    // SAFETY: numbers, literals, and a limit that outlives its call: this process is for nothing else.
    unsafe {
        libc::umask(0o111);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::chdir(c"/usr".as_ptr());
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        libc::syscall(libc::SYS_keyctl, 1, c"_libcontain_test".as_ptr());
    }
    let seen = changes(&before, &snapshot()).join("\n");
    for what in CHANGES {
        assert!(seen.contains(what), "{what} is not among\n{seen}");
    }
}

const ALONE: &str = "LIBCONTAIN_ALONE";
const CHANGES: [&str; 10] = [
    "descriptor",
    "SigBlk",
    "SigCgt",
    "signal 10",
    "Umask",
    "dumpable",
    "subreaper",
    "cwd",
    "limits",
    "session keyring",
];

fn assert_that_changes_are_seen() {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "a_change_is_seen"]).env(ALONE, "1").stdin(Stdio::null());
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
