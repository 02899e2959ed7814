//! What a container leaves on a machine: processes, cgroups, mounts, state. All four are found by the id or
//! the directory of the sandbox, never by a process's name.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::read;

/// Everything left that names `id` or `dir`, as sentences.
pub fn all(id: &str, dir: &Path, state_root: &Path) -> Vec<String> {
    let mut left: Vec<String> =
        processes(id, dir).into_iter().map(|(pid, why)| format!("process {pid}: {why}")).collect();
    left.extend(cgroups(id).iter().map(|c| format!("cgroup {}", c.display())));
    left.extend(mounts(dir).into_iter().map(|m| format!("mount {m}")));
    left.extend(state(state_root).into_iter().map(|s| format!("state {s}")));
    left
}

/// Live processes of the sandbox: by cgroup, by a mount of their namespace, by what they were started with.
/// A zombie is the business of whoever should wait for it and not a leftover.
pub fn processes(id: &str, dir: &Path) -> Vec<(i32, String)> {
    let dir = dir.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if pid == std::process::id() as i32 {
            continue;
        }
        let proc = entry.path();
        let why = ["cgroup", "cmdline", "mountinfo"].into_iter().find(|file| {
            let text = read(proc.join(file));
            text.contains(id) || text.contains(&*dir)
        });
        let Some(why) = why else { continue };
        let stat = read(proc.join("stat"));
        let state = stat.rsplit(") ").next().unwrap_or("").chars().next();
        if !matches!(state, None | Some('Z' | 'X')) {
            found.push((pid, format!("{} ({why})", stat.split(' ').nth(1).unwrap_or("?"))));
        }
    }
    found
}

/// SIGKILL to each of them; returns how many there were.
pub fn kill_processes(id: &str, dir: &Path) -> usize {
    let found = processes(id, dir);
    for (pid, _) in &found {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    found.len()
}

/// Cgroup directories whose name begins with `id`, two levels deep in every hierarchy.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in directories(Path::new("/sys/fs/cgroup")) {
        for dir in directories(&hierarchy) {
            if names(&dir, id) {
                found.push(dir);
            } else {
                found.extend(directories(&dir).into_iter().filter(|d| names(d, id)));
            }
        }
    }
    found
}

/// Removes the sandbox's cgroups, deepest first.
pub fn remove_cgroups(id: &str) {
    fn remove(dir: &Path) {
        for sub in directories(dir) {
            remove(&sub);
        }
        let _ = fs::remove_dir(dir);
    }
    for dir in cgroups(id) {
        remove(&dir);
    }
}

/// `cntr-test-7-1` names itself and `cntr-test-7-1-x`, not `cntr-test-7-12`.
fn names(dir: &Path, id: &str) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_prefix(id).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Mounts of the host's that name the sandbox.
pub fn mounts(dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy();
    read("/proc/self/mountinfo").lines().filter(|line| line.contains(&*dir)).map(String::from).collect()
}

fn state(root: &Path) -> Vec<String> {
    fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path().display().to_string()).collect()
}
