//! The child's contract: no allocation and no free between the clone and `execve`, whatever the config asks for and
//! whichever step fails, in a process with threads that use the heap all the time. As root, on real containers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "child/cases.rs"]
mod cases;
#[path = "child/exec.rs"]
mod exec;
#[path = "child/failures.rs"]
mod failures;
#[path = "child/labels.rs"]
mod labels;
#[path = "child/rich.rs"]
mod rich;
mod support;
#[path = "child/terminal.rs"]
mod terminal;
#[path = "child/trap.rs"]
mod trap;

use std::sync::atomic::{AtomicBool, Ordering};

use support::rooted;

#[global_allocator]
static ALLOCATOR: trap::Trap = trap::Trap;

/// Forks as libc does it; the child ends by signal if `work` does not return.
fn forked(work: fn()) -> i32 {
    // SAFETY: the child calls `work`, which at most uses the heap once and is caught there, and `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        trap::on_purpose();
        work();
        // SAFETY: ends this process at once, without running anything of the test harness.
        unsafe { libc::_exit(7) }
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call; the pid is our child's.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

#[test]
fn a_child_that_uses_the_heap_is_caught() {
    static KEPT: std::sync::Mutex<Option<Box<[u8; 100]>>> = std::sync::Mutex::new(None);
    let allocates = forked(|| drop(std::hint::black_box(Box::new(7u64))));
    assert!(libc::WIFSIGNALED(allocates) && libc::WTERMSIG(allocates) == libc::SIGABRT, "status {allocates:#x}");
    *KEPT.lock().unwrap() = Some(Box::new([0; 100]));
    let frees = forked(|| drop(KEPT.try_lock().ok().and_then(|mut kept| kept.take())));
    assert!(libc::WIFSIGNALED(frees) && libc::WTERMSIG(frees) == libc::SIGABRT, "status {frees:#x}");
    let grows = forked(|| {
        let mut kept = KEPT.try_lock();
        let _ = std::hint::black_box(&mut kept);
    });
    assert!(libc::WIFEXITED(grows) && libc::WEXITSTATUS(grows) == 7, "one that does not is not: {grows:#x}");
}

/// The trap fires for a clone that is init of a pid namespace as well, where SIGABRT is ignored.
#[test]
fn the_first_process_of_a_pid_namespace_is_caught() {
    if rooted("the_first_process_of_a_pid_namespace_is_caught").is_none() {
        return;
    }
    let status = forked(|| {
        // SAFETY: raw calls without memory: the next fork makes the first process of a new namespace.
        let inner = unsafe {
            libc::unshare(libc::CLONE_NEWPID);
            libc::fork()
        };
        if inner == 0 {
            drop(std::hint::black_box(Box::new(7u64)));
        }
        let mut status = 0;
        // SAFETY: `status` outlives the calls, which end this process.
        unsafe {
            libc::waitpid(inner, &raw mut status, 0);
            libc::_exit(if libc::WIFSIGNALED(status) { 1 } else { 2 })
        }
    });
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1, "status {status:#x}");
}

/// Threads that hold the heap's locks at most moments; a child that wanted one would wait for ever.
#[test]
fn threads_that_use_the_heap_do_not_matter() {
    let Some(world) = rooted("threads_that_use_the_heap_do_not_matter") else { return };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..4usize {
            let stop = &stop;
            scope.spawn(move || {
                let mut held: Vec<Vec<u8>> = Vec::new();
                for n in 0usize.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    held.push(vec![0; 1 + (n * seed * 7919) % 200_000]);
                    if held.len() > 20 {
                        held.swap_remove(n % 20);
                    }
                }
            });
        }
        let config = rich::config(&world);
        let made = std::panic::catch_unwind(|| {
            for _ in 0..10 {
                rich::create_start_delete(&world, &config);
                rich::run_delete(&world, &config);
            }
        });
        stop.store(true, Ordering::Relaxed);
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(trap::catches(), 0);
    world.assert_clean();
}

/// The first step waits while systemd makes the cgroup: init itself, or the intermediate that clones it.
#[test]
fn the_gate_of_systemd() {
    let name = "the_gate_of_systemd";
    let Some(world) = rooted(name) else { return };
    if !std::path::Path::new("/run/systemd/system").is_dir() {
        return support::skip(name, "needs systemd");
    }
    let runtime = world.runtime().with_cgroup_driver(libcontain::CgroupDriver::Systemd);
    for joined in [false, true] {
        let mut config = world.minimal("exec sleep 1000");
        config["linux"]["cgroupsPath"] = serde_json::json!(format!(":{}:x", world.id));
        if joined {
            config["linux"]["namespaces"][0]["path"] = "/proc/self/ns/pid".into();
        }
        let null = support::null();
        let options = libcontain::CreateOptions {
            stdio: [Some(std::os::fd::AsFd::as_fd(&null)); 3],
            ..libcontain::CreateOptions::default()
        };
        let container = runtime.create(&world.name(), &world.bundle(&config), &options).unwrap();
        container.start().unwrap();
        let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        assert!(cgroup.contains(&format!("/system.slice/{}-x.scope", world.id)), "{cgroup}");
        assert_eq!(container.delete(true).unwrap(), []);
    }
    assert_eq!(trap::catches(), 0);
    world.assert_clean();
}
