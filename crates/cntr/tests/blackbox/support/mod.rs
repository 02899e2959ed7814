//! What every suite stands on: a sandbox per test, commands with a deadline, the probe, and the question
//! "is anything left?".

pub mod agent;
pub mod bundle;
pub mod bus;
pub mod command;
pub mod enosys;
pub mod leftovers;
pub mod probe;
pub mod sandbox;
pub mod screen;
pub mod seccomp;
pub mod verify;
pub mod verify_cgroup;
pub mod verify_fs;

pub use command::{Cmd, Output};
pub use sandbox::{NOBODY, RANGE, Sandbox, View};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Says why a test does nothing. Written to the real stderr: libtest only captures the print macros, and a
/// skip that nobody sees is a test that nobody misses.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}

/// Whether this process is root; prints the skip otherwise.
pub fn root() -> bool {
    if std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        return true;
    }
    skip("needs root");
    false
}

/// Whether `program` can be found on PATH; prints the skip otherwise.
pub fn have(program: &str) -> bool {
    if which(program).is_some() {
        return true;
    }
    skip(&format!("needs {program}"));
    false
}

/// Whether cgroup v2 is all that this machine has.
pub fn pure_v2() -> bool {
    read("/proc/self/mounts").lines().any(|line| line.contains(" /sys/fs/cgroup cgroup2 "))
}

/// Where `program` is, by PATH and the usual sbin directories.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"])
        .map(|dir| Path::new(dir).join(program))
        .find(|file| file.is_file())
}

/// The runtime under test.
pub fn runtime() -> PathBuf {
    std::env::var_os("CNTR_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cntr")), PathBuf::from)
}

/// How many times slower than real hardware this machine is, by CNTR_TEST_SLOW: an emulator sets it. Deadlines grow by it,
/// and tests that try something as often as they can try it less often.
pub fn slow() -> u32 {
    std::env::var("CNTR_TEST_SLOW").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(1)
}

/// A deadline for what takes no more than `seconds` on real hardware.
pub fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds) * slow()
}

/// Polls `f` every few milliseconds until it gives a value; panics with `what` after ten seconds ([`patience`]).
pub fn wait_for<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = f() {
            return value;
        }
        assert!(start.elapsed() < patience(10), "waited {:?} for {what}", start.elapsed());
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Runs a program of the host's to its end and panics when it fails.
pub fn host(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Splits a line into its words.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The text of a small file, empty when it cannot be read (a process that has just gone, for instance).
pub fn read(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
