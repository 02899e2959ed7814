//! The same commands with runc and with the binary under test, in turns: the same results, and how long they took.
//! `CNTR_TIMING=15` says how often; docs/engines.md has the table and the command that prints it.

use std::time::Instant;

use crate::containerd::{Containerd, IMAGE};
use crate::docker::Docker;
use crate::podman::Podman;
use crate::room::Room;
use crate::support::{Output, runtime, skip, which};

#[test]
fn timing() {
    let times = std::env::var("CNTR_TIMING").ok().and_then(|n| n.parse().ok());
    let (Some(times), Some(runc)) = (times, which("runc")) else {
        skip("measures when CNTR_TIMING says how often, on a machine at rest that has runc");
        return;
    };
    let runtimes = [runc.to_string_lossy().into_owned(), runtime().to_string_lossy().into_owned()];
    println!("| command | runc | cntr | of it |\n|---|---|---|---|");
    time_docker(times);
    time_podman(times, &runtimes);
    time_containerd(times, &runtimes);
}

fn time_docker(times: usize) {
    let Some(docker) = Docker::start(&[]) else { return };
    let names = ["peer", "judged"];
    row("docker run", times, |i| {
        docker.docker(&["run", "--rm", "--network", "none", "--runtime", names[i], "box", "echo", "hello"]).run()
    });
    let containers = names.map(|name| docker.idle(&["--runtime", name]));
    // runc has one file for a container, and cntr another
    let exec_part = |id: &str| {
        let state = docker.room.shell(&format!("find /run . -path '*{id}/state.json' -exec cat {{}} +")).ok().stdout;
        state.contains("init_process_pid") && state.contains("\"exec\":{")
    };
    assert_eq!(containers.each_ref().map(|c| exec_part(&c.id)), [false, true], "each by its own runtime");
    row("docker exec", times, |i| docker.docker(&["exec", &containers[i].id, "echo", "hello"]).run());
}

fn time_podman(times: usize, runtimes: &[String; 2]) {
    let Some(podman) = Podman::new(false) else { return };
    let of = |i: usize| format!("podman --runtime {}", runtimes[i]);
    row("podman run", times, |i| podman.line(&format!("{} run --rm --network none box echo hello", of(i))).run());
    let start = |i: usize| podman.ok(&format!("{} run -d --network none box sleep 10000", of(i)));
    let containers = [start(0), start(1)];
    row("podman exec", times, |i| podman.line(&format!("{} exec {} echo hello", of(i), containers[i])).run());
    podman.ok("podman rm --all --force --time 0");
}

fn time_containerd(times: usize, runtimes: &[String; 2]) {
    let Some(c) = Containerd::start(Room::new) else { return };
    let cgroup = c.cgroup("timing");
    row("ctr run", times, |i| {
        c.ctr(&["run", "--rm", "--runc-binary", &runtimes[i], "--cgroup", &cgroup, IMAGE, "timing", "echo", "hello"])
            .run()
    });
    for (i, id) in ["first", "second"].into_iter().enumerate() {
        let run = c.ctr(&["run", "--detach", "--null-io", "--runc-binary", &runtimes[i], "--cgroup", &c.cgroup(id)]);
        run.args(&[IMAGE, id, "sleep", "10000"]).ok();
    }
    // `ctr` may lose the output of what ends sooner, with either runtime
    row("ctr task exec (50 ms)", times, |i| {
        c.ctr(&["task", "exec", "--exec-id", "timing", ["first", "second"][i], "sh", "-c", "sleep 0.05; echo hello"])
            .run()
    });
    for id in ["first", "second"] {
        c.ctr(&["task", "rm", "--force", id]).run();
    }
}

/// Medians, in milliseconds. The first round is not counted: it fills caches.
fn row(name: &str, times: usize, run: impl Fn(usize) -> Output) {
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..=times {
        let start: Vec<Output> = [round % 2, 1 - round % 2]
            .into_iter()
            .map(|i| {
                let start = Instant::now();
                let out = run(i);
                if round > 0 {
                    taken[i].push(start.elapsed().as_secs_f64() * 1000.0);
                }
                out
            })
            .collect();
        for out in &start {
            assert_eq!(
                (out.code, out.stdout.as_str(), out.stderr.as_str()),
                (Some(0), "hello\n", ""),
                "{name}: {out:#?}"
            );
        }
    }
    let [runc, cntr] = taken.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("| `{name}` | {runc:.0} ms | {cntr:.0} ms | {:.0} % |", cntr / runc * 100.0);
}
