//! A world of its own for each test that makes containers: a temporary directory with bundle, rootfs and state root,
//! and an id and a cgroup path that no other test has.
//!
//! Invariant: when a world is dropped nothing of it is left, whatever the library did; what is killed is killed by pid,
//! and only what stands in this world's cgroups.
#![allow(dead_code)] // every test binary uses a part

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use libcontain::{Bundle, Container, CreateOptions, Error, Id, Runtime};
use serde_json::{Value, json};
use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

const APPLETS: &str = "sh true false id test cat grep sleep kill ls mount hostname printf touch umask stat";
const DIRS: &str = "bin dev etc home mnt proc root run sys tmp opt";

/// See the module.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    pub id: String,
}

/// A world, or a line on stderr that says why not.
pub fn rooted(test: &str) -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        skip(test, "needs root");
        return None;
    }
    Some(World::new())
}

/// Says loudly that a test did nothing: on stderr itself, which the test harness does not capture.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl World {
    pub fn new() -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("libcontain-{}-{n}", std::process::id());
        let dir = tempfile::Builder::new().prefix(&format!("{id}.")).tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = World { dir, id };
        for dir in DIRS.split(' ') {
            fs::create_dir_all(world.rootfs().join(dir)).unwrap();
        }
        let shell = world.rootfs().join("bin/busybox");
        fs::hard_link(busybox(), &shell).or_else(|_| copy(busybox(), &shell)).unwrap();
        for applet in APPLETS.split(' ') {
            symlink("busybox", world.rootfs().join("bin").join(applet)).unwrap();
        }
        fs::write(world.rootfs().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nmars:x:1000:1000::/home:/bin/sh\n")
            .unwrap();
        world
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path("bundle/rootfs")
    }

    /// Gives the directories of the rootfs to a user, for a container whose root he is.
    pub fn give_rootfs_to(&self, uid: u32) {
        std::os::unix::fs::chown(self.rootfs(), Some(uid), Some(uid)).unwrap();
        for dir in DIRS.split(' ') {
            std::os::unix::fs::chown(self.rootfs().join(dir), Some(uid), Some(uid)).unwrap();
        }
    }

    /// A test cannot execute its test program once more, and trusts its containers.
    pub fn runtime(&self) -> Runtime {
        Runtime::new(self.path("state")).with_unprotected_executable()
    }

    /// The smallest config in which a shell is of use; the container's cgroup is this world's.
    pub fn minimal(&self, script: &str) -> Value {
        let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            ],
            "linux": {
                "namespaces": namespaces,
                "cgroupsPath": format!("/{}", self.id),
            },
        })
    }

    /// Writes the config and opens the bundle.
    pub fn bundle(&self, config: &Value) -> Bundle {
        fs::write(self.path("bundle/config.json"), serde_json::to_vec_pretty(config).unwrap()).unwrap();
        Bundle::open(self.path("bundle")).unwrap_or_else(|e| panic!("{e}"))
    }

    pub fn name(&self) -> Id {
        self.id.parse().unwrap()
    }

    pub fn create(&self, config: &Value) -> Result<Container, Error> {
        let null = null();
        let options = CreateOptions { stdio: [Some(null.as_fd()); 3], ..CreateOptions::default() };
        self.runtime().create(&self.name(), &self.bundle(config), &options)
    }

    pub fn run(&self, config: &Value) -> Result<Container, Error> {
        self.run_as(config, CreateOptions::default())
    }

    pub fn run_as(&self, config: &Value, options: CreateOptions<'_>) -> Result<Container, Error> {
        let null = null();
        let options = CreateOptions { stdio: [Some(null.as_fd()); 3], ..options };
        self.runtime().run(&self.name(), &self.bundle(config), &options)
    }

    /// What the containers of this world have left, in words.
    pub fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self.cgroups().iter().map(|dir| format!("cgroup {}", dir.display())).collect();
        left.extend(self.mounts());
        let states = fs::read_dir(self.path("state")).into_iter().flatten().flatten();
        left.extend(states.map(|entry| format!("state {}", entry.path().display())));
        left
    }

    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.left(), [""; 0]);
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let below =
            hierarchies.map(|entry| entry.path().join(&self.id)).chain([Path::new("/sys/fs/cgroup").join(&self.id)]);
        below.filter(|dir| dir.is_dir()).collect()
    }

    fn mounts(&self) -> Vec<String> {
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts.lines().filter(|line| line.contains(&dir)).map(|line| format!("mount {line}")).collect()
    }

    fn sweep(&self) {
        for (id, container) in self.runtime().containers().unwrap_or_default() {
            let gone = container.and_then(|c| c.delete(true)).is_ok();
            if !gone {
                let _ = self.runtime().remove_remains(&id);
            }
        }
        for dir in self.cgroups() {
            for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            }
            let _ = fs::remove_dir(dir);
        }
        for line in self.mounts() {
            let point = line.split(' ').nth(5).unwrap_or_default();
            let _ = Command::new("umount").args(["-l", point]).stdin(Stdio::null()).output();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.sweep();
        // A removal would go through a mount into what it shows.
        self.dir.disable_cleanup(!self.mounts().is_empty());
    }
}

pub fn null() -> OwnedFd {
    fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into()
}

/// A copy of busybox, made once: by `cp`, because a file that this process has open for writing while another thread
/// clones cannot be executed (ETXTBSY).
fn busybox() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let all = ["/usr/bin/busybox", "/bin/busybox"].map(Path::new);
        let source = *all.iter().find(|p| p.exists()).expect("the tests need busybox: apt-get install busybox-static");
        let copied = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("busybox.{}", std::process::id()));
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libcontain-busybox");
        let size = |path: &Path| fs::metadata(path).map(|m| m.len()).ok();
        if size(&shared) != size(source) {
            copy(source, &copied).unwrap();
            fs::rename(&copied, &shared).unwrap();
        }
        shared
    })
}

/// `cp`, as a process of its own.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let status = Command::new("cp").arg(from).arg(to).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other("cp failed")) }
}

/// Sets the value at a JSON pointer, making objects on the way; `-` as last part appends to a list.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for part in pointer.split('/').skip(1) {
        if part == "-" {
            if at.is_null() {
                *at = json!([]);
            }
            let list = at.as_array_mut().unwrap();
            list.push(Value::Null);
            at = list.last_mut().unwrap();
        } else if let Ok(index) = part.parse::<usize>() {
            at = &mut at[index];
        } else {
            at = &mut at[part];
        }
    }
    *at = value;
}
