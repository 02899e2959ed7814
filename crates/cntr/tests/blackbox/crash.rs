//! The runtime is killed with SIGKILL at 300 random moments of `create`, and of `run`: afterwards `delete
//! --force` succeeds and the machine is as before.
//!
//! Moments are drawn from a seeded generator (CNTR_TEST_SEED; printed on failure) over the measured length of
//! an undisturbed run: a third of them early, a third late, a third anywhere.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Sandbox, bundle, root, slow, wait_for};

const ROUNDS: u32 = 300;

/// xorshift64*: enough for spreading moments, and the same everywhere.
struct Random(u64);

impl Random {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn seed() -> u64 {
    let given = std::env::var("CNTR_TEST_SEED").ok().and_then(|s| s.parse().ok());
    given.unwrap_or(0x00c0_ffee)
}

fn prepare() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "sleep 1000");
    // some limits, so that there are cgroup files to be written when the runtime dies
    config["linux"]["resources"] = serde_json::json!({ "pids": { "limit": 20 }, "cpu": { "shares": 512 } });
    sandbox.write(&config);
    sandbox
}

fn kill_at_random_moments(verb: &str, length: impl Fn(&Sandbox) -> Duration) {
    if !root() {
        return;
    }
    let sandbox = prepare();
    let length = length(&sandbox);
    let mut random = Random(seed());
    let mut faults = Vec::new();
    for round in 0..ROUNDS / slow() {
        let share = match round % 3 {
            0 => 0.3 * random.next(),
            1 => 0.7 + 0.6 * random.next(),
            _ => 1.3 * random.next(),
        };
        let moment = length.mul_f64(share);
        let start = Instant::now();
        let running = sandbox.verb(&[verb]).spawn();
        std::thread::sleep(moment.saturating_sub(start.elapsed()));
        running.signal(Signal::SIGKILL);
        let killed = running.wait();
        let deleted = sandbox.verb(&["delete", "--force"]).run();
        if deleted.code != Some(0) {
            faults.push(format!("round {round}, {moment:?}: delete --force: {:?} {}", deleted.code, deleted.stderr));
        }
        if let Some(left) = sandbox.left() {
            faults.push(format!("round {round}, {moment:?}, {verb} ended with {:?}: left: {left:?}", killed.code));
            sandbox.clean();
        }
        if faults.len() >= 10 {
            break;
        }
    }
    assert!(faults.is_empty(), "seed {}, {verb} takes {length:?}:\n{}", seed(), faults.join("\n"));
}

#[test]
fn create() {
    kill_at_random_moments("create", |sandbox| {
        let took = sandbox.verb(&["create"]).ok().took;
        sandbox.verb(&["delete", "--force"]).ok();
        sandbox.assert_clean();
        took
    });
}

#[test]
fn run() {
    kill_at_random_moments("run", |sandbox| {
        let running = sandbox.verb(&["run"]).spawn();
        let start = Instant::now();
        wait_for("run to be running", || (sandbox.status() == "running").then_some(()));
        let took = start.elapsed();
        sandbox.verb(&["delete", "--force"]).ok();
        running.wait();
        sandbox.assert_clean();
        took
    });
}
