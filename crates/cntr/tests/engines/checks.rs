//! Named checks on one engine that runs: a table, three workers, and all failures at the end.

use std::any::Any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A name and what it does with an engine; it fails by panicking.
pub type Check<E> = (&'static str, fn(&E));

/// At the same time: an engine is asked from several sides, and two cores have something to do while it waits.
const WORKERS: usize = 3;

/// Runs all checks, or those that `CNTR_CHECK` is part of, and panics if any has failed. `engine` stands before their
/// names. Each has a thread of its name, so that `support::skip` says who skips.
pub fn run<E: Sync>(engine: &str, env: &E, checks: &[Check<E>]) {
    let filter = std::env::var("CNTR_CHECK").unwrap_or_default();
    let chosen: Vec<_> = checks
        .iter()
        .map(|(name, check)| (format!("{engine}::{name}"), check))
        .filter(|(name, _)| name.contains(&filter))
        .collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((name, check)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let thread = std::thread::Builder::new().name(name.clone());
                    let end = thread.spawn_scoped(scope, || check(env)).expect("a thread").join();
                    println!("{name} {} {:?}", if end.is_ok() { "ok" } else { "FAILED" }, start.elapsed());
                    if let Err(why) = end {
                        let first = text(&*why).lines().next().unwrap_or_default();
                        failed.lock().unwrap().push(format!("  {name}: {first}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), chosen.len(), failed.join("\n"));
}

/// What a panic said.
fn text(why: &(dyn Any + Send)) -> &str {
    why.downcast_ref::<String>().map(String::as_str).or(why.downcast_ref::<&str>().copied()).unwrap_or("?")
}
