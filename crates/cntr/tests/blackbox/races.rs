//! Attacks that exchange what a path means while the runtime works: a thread renames two things into each other's place
//! (`RENAME_EXCHANGE`) as fast as it can. CNTR_RACE_ROUNDS says how often a container is tried; by default it is little,
//! so that the tests stay quick. The attacks are those of security.md 2.1.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// How many containers are tried per attack.
pub(crate) fn rounds() -> usize {
    std::env::var("CNTR_RACE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

/// Exchanges pairs of paths, as long as it lives.
pub(crate) struct Flipper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flipper {
    pub fn new(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let work = move || {
            let mut count = 0;
            while !seen.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                    count += 1;
                }
                // On two cores a thread that never sleeps keeps the runtime from getting anywhere.
                std::thread::sleep(std::time::Duration::from_micros(count % 50));
            }
            count
        };
        Flipper { stop, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for Flipper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.take().and_then(|thread| thread.join().ok());
        assert!(std::thread::panicking() || count.is_some_and(|count| count > 0), "nothing was ever exchanged");
    }
}
