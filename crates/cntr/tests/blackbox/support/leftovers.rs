//! What a container leaves on a machine: processes, cgroups, mounts, state. All four are found by the id or
//! the directory of the sandbox, never by a process's name.

use std::fs;
use std::io::Write;
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

/// Live processes that this sandbox's containers are made of. One rule is enough, each is a proof of its own:
/// its cgroup is called like the sandbox; it has another mount namespace than ours, with a rootfs below `dir`
/// as its "/"; an argument is the sandbox's id and another its directory or something below.
///
/// Not a rule, ever: that its mountinfo names `dir` somewhere. A runtime that leaves one mount on the host
/// makes that true of every process of the machine, and what is found here is killed by
/// [`kill_processes`]. (runc 1.1.5 leaves such a mount for a config without a mount namespace.)
/// A zombie is the business of whoever should wait for it and not a leftover.
pub fn processes(id: &str, dir: &Path) -> Vec<(i32, String)> {
    let own_start = start_time(&read("/proc/self/stat"));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let proc = entry.path();
        let stat = read(proc.join("stat"));
        // whatever is older than this test process was not started by it
        if pid <= 1 || pid == std::process::id() as i32 || start_time(&stat) < own_start {
            continue;
        }
        let why = if in_own_cgroup(&proc, id) {
            "its cgroup"
        } else if has_own_root(&proc, dir) {
            "its root"
        } else if has_own_arguments(&proc, id, dir) {
            "its arguments"
        } else {
            continue;
        };
        let state = stat.rsplit(") ").next().unwrap_or("").chars().next();
        if !matches!(state, None | Some('Z' | 'X')) {
            found.push((pid, format!("{} by {why}", stat.split(' ').nth(1).unwrap_or("?"))));
        }
    }
    found
}

/// Field 22 of /proc/PID/stat; 0 when the process has gone, which makes it older than everything.
fn start_time(stat: &str) -> u64 {
    let after_name = stat.rsplit(") ").next().unwrap_or("");
    after_name.split(' ').nth(19).and_then(|f| f.parse().ok()).unwrap_or(0)
}

fn in_own_cgroup(proc: &Path, id: &str) -> bool {
    let text = read(proc.join("cgroup"));
    text.lines()
        .filter_map(|l| l.splitn(3, ':').nth(2))
        .any(|path| Path::new(path).ancestors().any(|dir| names(dir, id)))
}

fn has_own_root(proc: &Path, dir: &Path) -> bool {
    let namespace = |p: &Path| fs::read_link(p.join("ns/mnt")).ok();
    let Some(theirs) = namespace(proc) else { return false };
    if Some(theirs) == namespace(Path::new("/proc/self")) {
        return false;
    }
    let text = read(proc.join("mountinfo"));
    text.lines().any(|l| {
        let fields = super::words(l);
        fields.get(4) == Some(&"/") && fields.get(3).is_some_and(|root| Path::new(root).starts_with(dir))
    })
}

fn has_own_arguments(proc: &Path, id: &str, dir: &Path) -> bool {
    let text = read(proc.join("cmdline"));
    let arguments: Vec<&str> = text.split('\0').collect();
    arguments.iter().any(|a| names(Path::new(a), id) && !a.contains('/'))
        && arguments.iter().any(|a| Path::new(a).starts_with(dir))
}

/// The most processes that a sandbox of these tests can have. More means that the search is wrong.
const MANY: usize = 64;

/// SIGKILL to each of them; returns how many there were. Refuses when there are more than a test can have
/// made: better some leftovers than somebody else's process.
pub fn kill_processes(id: &str, dir: &Path) -> usize {
    let found = processes(id, dir);
    if found.len() > MANY {
        let _ = writeln!(std::io::stderr(), "{} processes are said to belong to {id}: none is killed", found.len());
        return 0;
    }
    for (pid, _) in &found {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    found.len()
}

/// Cgroup directories whose name begins with `id`, two levels deep in every hierarchy: on a machine with v2 alone that is
/// /sys/fs/cgroup itself, with v1 a directory below it.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    fn search(dir: &Path, depth: usize, id: &str, found: &mut Vec<PathBuf>) {
        for dir in directories(dir) {
            if names(&dir, id) {
                found.push(dir);
            } else if depth > 1 {
                search(&dir, depth - 1, id, found);
            }
        }
    }
    let mut found = Vec::new();
    search(Path::new("/sys/fs/cgroup"), 3, id, &mut found);
    found
}

/// Removes the sandbox's cgroups, deepest first.
pub fn remove_cgroups(id: &str) {
    thaw(id);
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

/// What is frozen on v1 does not die, and the first process of its pid namespace waits for it.
pub fn thaw(id: &str) {
    fn below(dir: &Path) {
        let _ = fs::write(dir.join("freezer.state"), "THAWED");
        directories(dir).iter().for_each(|dir| below(dir));
    }
    cgroups(id).iter().filter(|dir| dir.join("freezer.state").exists()).for_each(|dir| below(dir));
}

/// `cntr-box-7-1` names itself and `cntr-box-7-1-x`, not `cntr-box-7-12`.
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

/// Takes away the mounts that a runtime left below `dir`, and only those. Says whether none is left: only then
/// may `dir` be removed, since a removal goes through a bind mount into what it shows.
pub fn remove_mounts(dir: &Path) -> bool {
    for line in mounts(dir).iter().rev() {
        let point = super::words(line)[4];
        if Path::new(point).starts_with(dir) {
            let _ = std::process::Command::new("umount").args(["-l", "--", point]).output();
        }
    }
    mounts(dir).is_empty()
}

fn state(root: &Path) -> Vec<String> {
    fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path().display().to_string()).collect()
}
