//! One test's world: a temporary directory with a bundle, a state root and a rootfs, and ids and a cgroup
//! path that no other test has.
//!
//! Invariant: when the sandbox is dropped nothing of it is left, whatever the runtime under test did; a
//! process is killed by its pid, and only when something of it names this sandbox.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{Cmd, Output, leftovers, read, runtime, slow, wait_for, which};

/// Every machine has him, with an entry in /etc/passwd, and he has nothing.
pub const NOBODY: u32 = 65534;

/// The first subordinate id of [`View::Ranges`], and how many there are.
pub const RANGE: (u32, u32) = (200_000, 65536);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Which machine the runtime sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The machine as it is.
    Host,
    /// A private mount namespace with cgroup2 on /sys/fs/cgroup: a pure v2 machine, as far as it has
    /// controllers there. The host's own mounts are never touched.
    V2,
    /// As an ordinary user, without any privilege.
    User(u32),
    /// As nobody, to whom /etc/subuid and /etc/subgid give the ids from [`RANGE`] on: those files are bind-mounted over
    /// the machine's in a mount namespace of each command's own.
    Ranges,
    /// Pid and mount namespaces that the test made: "the host" of a container that shares its pids with it, or
    /// its mounts. A runtime that mounts or kills too much then does it there and not to the machine. The
    /// runtime's working directory is / (so: `--bundle`).
    Pids,
}

/// See the module.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    /// The id of the container, unique on the machine.
    pub id: String,
    /// What the runtime sees.
    pub view: View,
    /// [`View::Pids`]: unshare(1), and the first process of its namespaces.
    host: Option<(Child, u32)>,
}

const APPLETS: &str = "ash awk basename cat chmod cp cut date dd df echo env false find grep head hostname id ifconfig \
    ip kill linux32 ln ls mkdir mkfifo mknod mount mv nc printf ps pwd readlink rm rmdir sed seq setsid sh sleep sort \
    stat stty sync tail tee test timeout touch tr true tty umount uname unshare wc xargs yes";

const DIRS: &str = "bin dev etc home mnt proc root run sys tmp usr/bin var/tmp";

impl Sandbox {
    pub fn new() -> Self {
        Self::with_view(View::Host)
    }

    pub fn with_view(view: View) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("cntr-box-{}-{n}", std::process::id());
        let dir = tempfile::Builder::new().prefix(&format!("{id}.")).tempdir().expect("a temporary directory");
        // a container's user need not be root: the bundle has to be reachable for it
        open_to_all(dir.path());
        let host = (view == View::Pids).then(|| namespaces(dir.path()));
        let sandbox = Sandbox { dir, id, view, host };
        for sub in ["bundle", "bundle/rootfs", "out"] {
            fs::create_dir(sandbox.path(sub)).unwrap();
        }
        busybox_tree(&sandbox.rootfs());
        if let Some(uid) = sandbox.user() {
            let line = format!("nobody:{}:{}\n", RANGE.0, RANGE.1);
            fs::write(sandbox.path("subuid"), line).unwrap();
            fs::create_dir(sandbox.path("xdg")).unwrap();
            std::os::unix::fs::chown(sandbox.path("xdg"), Some(uid), Some(uid)).unwrap();
            fs::set_permissions(sandbox.path("xdg"), fs::Permissions::from_mode(0o700)).unwrap();
            super::host("cp", &[&runtime().to_string_lossy(), &sandbox.path("cntr").to_string_lossy()]);
        }
        sandbox
    }

    /// With a container that is created: it has these resources, and a shell with this script.
    pub fn created(view: View, resources: &Value, script: &str) -> Self {
        let sandbox = Sandbox::with_view(view);
        let mut config = super::bundle::minimal(&sandbox.cgroups_path(), script);
        config["linux"]["resources"] = resources.clone();
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        sandbox
    }

    /// Who runs the runtime, if it is not root.
    fn user(&self) -> Option<u32> {
        match self.view {
            View::User(uid) => Some(uid),
            View::Ranges => Some(NOBODY),
            _ => None,
        }
    }

    /// The directory of this test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    pub fn bundle(&self) -> PathBuf {
        self.path("bundle")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path("bundle/rootfs")
    }

    /// The state root (`--root`).
    pub fn state_root(&self) -> PathBuf {
        match self.view {
            View::User(_) | View::Ranges => self.path("xdg/runc"),
            _ => self.path("state"),
        }
    }

    /// The state directory of a container of this sandbox.
    pub fn state_dir(&self) -> PathBuf {
        self.state_root().join(&self.id)
    }

    /// The `linux.cgroupsPath` of this sandbox.
    pub fn cgroups_path(&self) -> String {
        format!("/{}", self.id)
    }

    /// [`View::Pids`]: the first process of those namespaces.
    pub fn host_pid(&self) -> u32 {
        self.host.as_ref().expect("a sandbox with View::Pids").1
    }

    /// Writes the bundle's config.json.
    pub fn write(&self, config: &Value) {
        fs::write(self.path("bundle/config.json"), serde_json::to_vec_pretty(config).unwrap()).unwrap();
    }

    /// The runtime with its global options; the command and its arguments follow.
    pub fn cntr(&self, args: &[&str]) -> Cmd {
        let binary = if self.user().is_some() { self.path("cntr") } else { runtime() };
        let mut cmd = self.seen(&binary);
        if self.user().is_none() {
            cmd = cmd.arg("--root").arg(self.state_root());
        }
        cmd.args(args)
    }

    /// A program that sees what the runtime sees.
    pub fn seen(&self, program: &Path) -> Cmd {
        let mut argv: Vec<OsString> = Vec::new();
        match self.view {
            View::Host => {}
            View::V2 => {
                let mount = "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";
                argv.extend(["unshare", "-m", "--propagation", "private", "sh", "-c", mount, "sh"].map(OsString::from));
            }
            View::Pids => {
                let pid = self.host_pid().to_string();
                argv.extend(["nsenter", "-t", &pid, "-m", "-p", "--"].map(OsString::from));
            }
            View::User(_) => {}
            View::Ranges => {
                let mount = "for f in subuid subgid; do mount --bind \"$0\" /etc/$f || exit; done; exec \"$@\"";
                argv.extend(["unshare", "-m", "--propagation", "private", "sh", "-c", mount].map(OsString::from));
                argv.push(self.path("subuid").into());
            }
        }
        if let Some(uid) = self.user() {
            let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
            argv.extend(["setpriv", &uid, &gid, "--clear-groups", "--"].map(OsString::from));
        }
        argv.push(program.into());
        let cmd = Cmd::new(argv, &self.path("out")).cwd(&self.bundle());
        match self.user() {
            Some(_) => cmd.env("XDG_RUNTIME_DIR", &self.path("xdg").to_string_lossy()),
            None => cmd,
        }
    }

    /// `COMMAND [options] ID` in the bundle.
    pub fn verb(&self, args: &[&str]) -> Cmd {
        self.cntr(args).arg(&self.id)
    }

    /// The `state` of the container as JSON; `None` when the command fails.
    pub fn state(&self) -> Option<Value> {
        let out = self.verb(&["state"]).run();
        (out.code == Some(0)).then(|| serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:#?}")))
    }

    pub fn status(&self) -> String {
        self.state().map_or_else(|| "none".into(), |s| s["status"].as_str().unwrap().to_owned())
    }

    /// The init process's pid on the host.
    pub fn pid(&self) -> i32 {
        self.state().expect("a container")["pid"].as_i64().unwrap() as i32
    }

    pub fn wait_status(&self, status: &str) {
        wait_for(&format!("{} to be {status}", self.id), || (self.status() == status).then_some(()));
    }

    /// Panics when anything of this sandbox's containers is still on the machine.
    #[track_caller]
    pub fn assert_clean(&self) {
        if let Some(left) = self.left() {
            panic!("left behind by {}: {left:#?}", self.id);
        }
    }

    /// What is left of the containers; processes get a moment to die, since nobody waits for an orphan.
    pub fn left(&self) -> Option<Vec<String>> {
        let mut left = Vec::new();
        for _ in 0..100 * slow() {
            left = leftovers::all(&self.id, self.dir(), &self.state_root());
            if left.is_empty() {
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Some(left)
    }

    /// Runs the bundle in the foreground and expects exit status 0.
    pub fn run_ok(&self) -> Output {
        self.verb(&["run"]).ok()
    }

    /// Removes what the runtime left, if anything, so that a test can go on.
    pub fn clean(&self) {
        for entry in fs::read_dir(self.state_root()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            self.cntr(&["delete", "--force", &id]).run_quietly();
            assert!(leftovers::remove_mounts(self.dir()), "mounts are left below {}", self.dir().display());
            let _ = fs::remove_dir_all(entry.path());
        }
        self.sweep();
    }

    fn sweep(&self) {
        for _ in 0..100 * slow() {
            if leftovers::kill_processes(&self.id, self.dir()) == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        leftovers::remove_cgroups(&self.id);
        leftovers::remove_mounts(self.dir());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // first of all: nothing below may be removed through a mount that the runtime left (see remove_mounts)
        self.dir.disable_cleanup(true);
        let keep = std::thread::panicking() && std::env::var_os("CNTR_TEST_KEEP").is_some();
        for entry in fs::read_dir(self.state_root()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            self.cntr(&["delete", "--force", &id]).run_quietly();
        }
        self.sweep();
        if let Some((mut unshare, first)) = self.host.take() {
            // its end is the end of everything in the pid namespace, and of the mounts
            let _ = kill(Pid::from_raw(first as i32), Signal::SIGKILL);
            let _ = unshare.wait();
        }
        self.dir.disable_cleanup(keep || !leftovers::remove_mounts(self.dir()));
    }
}

/// Makes the namespaces of [`View::Pids`] and a process that keeps them.
fn namespaces(dir: &Path) -> (Child, u32) {
    let args = ["-m", "-p", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sleep", "3600"];
    let unshare = Command::new("unshare").args(args).current_dir(dir).stderr(Stdio::null()).spawn().expect("unshare");
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let first = wait_for("the first process of a pid namespace", || {
        let pid = read(&children).trim().parse::<u32>().ok()?;
        // once it is `sleep` its /proc is mounted
        read(format!("/proc/{pid}/comm")).starts_with("sleep").then_some(pid)
    });
    (unshare, first)
}

fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A root file system of busybox: one static binary, hard-linked from a copy under target/, and a symlink
/// per applet.
pub fn busybox_tree(rootfs: &Path) {
    for dir in DIRS.split(' ') {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    let binary = rootfs.join("bin/busybox");
    if fs::hard_link(busybox(), &binary).is_err() {
        // `cp` and not fs::copy: a file that this process has open for writing while another test forks
        // cannot be executed (ETXTBSY)
        super::host("cp", &[&busybox().to_string_lossy(), &binary.to_string_lossy()]);
    }
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nmars:x:1000:1000::/home:/bin/sh\n").unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\nmars:x:1000:\n").unwrap();
}

fn busybox() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let source = which("busybox").expect("the tests need busybox: apt-get install busybox-static");
        let file = super::host(&source.to_string_lossy(), &["readlink", "-f", &source.to_string_lossy()]);
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("busybox.{}", std::process::id()));
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("busybox");
        if read(&shared).len() != read(file.trim()).len() {
            super::host("cp", &[file.trim(), &copy.to_string_lossy()]);
            fs::rename(&copy, &shared).unwrap();
        }
        shared
    })
}
