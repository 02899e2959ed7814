//! A machine of an engine's own: pid, mount, network, IPC and UTS namespaces, with a process that keeps them.
//!
//! Invariant: when the room is dropped, nothing of it is left. What runs in it dies with its first process, and that one
//! with this test program, however it ends (unshare(1) is killed with the thread that called [`Room::new`], and kills it).
//! Mounts, links, rules and bridges are in the namespaces. Cgroups and the directory are removed by name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::command::Running;
use crate::support::{Cmd, leftovers, read, root, runtime, skip, slow, wait_for};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What the first process does before it waits for its end. As on a machine that systemd has booted, / is shared: volumes
/// are propagated. Engines keep sockets and state in /run whatever they are told. A shell is a first process that reaps.
const BOOT: &str = "mount --make-rshared / && mount -t tmpfs tmpfs /run && mkdir /run/lock && ip link set lo up && \
    : >\"$0\" && while :; do sleep 1000; done";

#[derive(Debug)]
pub struct Room {
    /// Its name, unique on the machine: `cntr-test-PID-N`.
    pub id: String,
    dir: TempDir,
    /// None if it is the machine itself.
    unshare: Option<Child>,
    first: i32,
}

impl Room {
    /// `None`, and a word of it, for an ordinary user. The thread that calls this has to live as long as the room.
    pub fn new() -> Option<Self> {
        Self::furnished("exec \"$@\"", &[], BOOT)
    }

    /// One with more namespaces and another first process. `before` is a script that executes its arguments outside, with
    /// the room's name as `$0`; `boot` has a file to make as `$0` once it is done, and the runtime under test as `$1`.
    pub fn furnished(before: &str, namespaces: &[&str], boot: &str) -> Option<Self> {
        if !root() {
            return None;
        }
        let (id, dir) = name_and_directory();
        let booted = dir.path().join("booted");
        let complaints = fs::OpenOptions::new().write(true).create_new(true).open(dir.path().join("out/room")).unwrap();
        let unshare = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-ec", before, &id, "unshare", "--mount", "--pid", "--net", "--ipc"])
            .args(namespaces)
            .args(["--uts", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-ec", boot])
            .args([&booted, &runtime()])
            .stdin(Stdio::null())
            .stderr(complaints)
            .spawn()
            .expect("setpriv");
        let first = wait_for("a room", || booted.exists().then(|| child(unshare.id() as i32)).flatten());
        Some(Room { id, dir, unshare: Some(unshare), first })
    }

    /// The machine itself, whose systemd serves no other: for a machine that is thrown away afterwards, as that of vm/test.
    pub fn whole_machine() -> Option<Self> {
        if std::env::var_os("CNTR_TEST_THROWAWAY").is_none() || !Path::new("/run/systemd/system").exists() {
            skip("needs a machine with systemd that is thrown away: vm/test engines");
            return None;
        }
        let (id, dir) = name_and_directory();
        Some(Room { id, dir, unshare: None, first: 1 })
    }

    /// The directory of this room, on the host's disk and at the same path inside.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    /// Whether cgroups are systemd's business.
    pub fn systemd(&self) -> bool {
        self.unshare.is_none()
    }

    /// The cgroup that everything an engine makes has to be in; a slice of systemd's if that makes them.
    pub fn cgroup_parent(&self) -> String {
        if self.systemd() { format!("{}.slice", self.id) } else { format!("/{}", self.id) }
    }

    /// The cgroup of a container in there, from the top: with systemd, a slice is in those that its name begins with, and a
    /// container is a scope that an engine calls after itself.
    pub fn cgroup(&self, engine: &str, container: &str) -> String {
        if !self.systemd() {
            return format!("/{}/{container}", self.id);
        }
        let dashes = self.id.match_indices('-').map(|(at, _)| at);
        let slices: String = dashes.chain([self.id.len()]).map(|end| format!("/{}.slice", &self.id[..end])).collect();
        format!("{slices}/{engine}-{container}.scope")
    }

    /// The pid, on the host, of the room's first process: `/proc/PID/root` and `/proc/PID/ns` are the room.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// A command in the room. At its deadline only nsenter(1) is killed; what it ran ends with the room.
    pub fn command(&self, program: &str) -> Cmd {
        let first = self.first.to_string();
        let nsenter = ["nsenter", "-t", &first, "-m", "-p", "-n", "-i", "-u", "--", program];
        let argv = if self.systemd() { &nsenter[9..] } else { &nsenter };
        Cmd::new(argv.iter().map(Into::into).collect(), &self.path("out")).cwd(self.dir())
    }

    /// A line of shell in the room.
    pub fn shell(&self, script: &str) -> Cmd {
        self.command("sh").args(&["-c", script])
    }

    /// Starts a daemon in the room.
    pub fn daemon(&self, command: Cmd) -> Daemon {
        let running = command.spawn();
        let started = running.child.id() as i32;
        let pid = if self.systemd() { started } else { wait_for("a daemon", || child(started)) };
        Daemon { running, pid }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.dir.disable_cleanup(true);
        let keep = std::thread::panicking() && std::env::var_os("CNTR_TEST_KEEP").is_some();
        if let Some(unshare) = &mut self.unshare {
            let _ = kill(Pid::from_raw(self.first), Signal::SIGKILL);
            leftovers::thaw(&self.id);
            let _ = unshare.wait();
        } else {
            // empty slices stay as long as nobody says this; an ordinary user has none of this name
            let _ = Command::new("systemctl").args(["stop", &self.cgroup_parent()]).output();
        }
        // killed processes leave their cgroups in a moment
        for _ in 0..100 * slow() {
            leftovers::remove_cgroups(&self.id);
            if leftovers::cgroups(&self.id).is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.dir.disable_cleanup(keep || !leftovers::remove_mounts(self.dir()));
    }
}

fn name_and_directory() -> (String, TempDir) {
    let id = format!("cntr-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let dir = tempfile::Builder::new().prefix(&format!("{id}.")).tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    (id, dir)
}

/// The only child of a process.
fn child(pid: i32) -> Option<i32> {
    read(format!("/proc/{pid}/task/{pid}/children")).trim().parse().ok()
}

/// A program that goes on in the room: it ends with the room, or when it is told to.
#[derive(Debug)]
pub struct Daemon {
    running: Running,
    /// On the host.
    pub pid: i32,
}

impl Daemon {
    /// Sends a signal and waits for the end.
    pub fn end(mut self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
        wait_for("the end of a daemon", || self.running.child.try_wait().unwrap());
    }

    /// What it writes to stderr. With `CNTR_TEST_KEEP` it can be read after a failure.
    pub fn log(&self) -> &Path {
        &self.running.stderr
    }
}
