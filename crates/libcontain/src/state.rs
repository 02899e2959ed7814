//! What is on disk for a container: `<root>/<id>/state.json` and its neighbours.
//!
//! | file | |
//! |---|---|
//! | `<root>/<id>/` | its `mkdir` is the claim of the id |
//! | `creating.json` | written before the first side effect: what there will be to remove. Gone when state.json is there |
//! | `creating.owned.json` | its name once the cgroup is made: whoever is in that is the container's |
//! | `state.json` | written, by rename, when init is set up and before it may go on |
//! | `exec.fifo` | there until `start` |
//! | `notify/notify.sock` | for sd_notify(3), if asked for; the container sees this directory |
//!
//! Nothing here waits for a lock, and but for updates, which exclude each other ([`StateDir::lock`]), nobody takes one: mkdir is
//! exclusive, rename is atomic, and whether a process lives, is frozen or has started is asked of the kernel each time. The layout and the top-level members are runc's, which cAdvisor and others read.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{Hooks, LinuxNamespaceType, LinuxResources, Spec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::Bundle;
use crate::error::{Error, Kind};
use crate::lock::Lock;
use crate::plan::{self, NOTIFY_SOCKET, Plan};
use crate::runtime::CreateOptions;
use crate::small_file;

pub(crate) const EXEC_FIFO: &str = "exec.fifo";
pub(crate) const NOTIFY_DIR: &str = "notify";
const STATE: &str = "state.json";
const CREATING: &str = "creating.json";
const OWNING: &str = "creating.owned.json";
/// How often a directory is emptied before that is given up: from an update a file comes into it once.
const TRIES: u32 = 3;

/// `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Record {
    pub id: String,
    pub init_process_pid: u32,
    /// Clock ticks since boot: tells the process from a later one with the same pid.
    pub init_process_start: u64,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    pub config: Config,
    pub rootless: bool,
    pub cgroup_paths: BTreeMap<String, String>,
    /// The unit that systemd made the cgroup for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitRecord>,
    pub namespace_paths: BTreeMap<String, String>,
    pub external_descriptors: Vec<String>,
    pub intel_rdt_path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub intel_rdt_mon_path: String,
    /// The directory at `intel_rdt_path` goes with the container.
    #[serde(default)]
    pub intel_rdt_own: bool,
}

/// The part of the config that outlives `create`.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Config {
    pub rootfs: String,
    pub namespaces: Vec<Namespace>,
    pub cgroups: CgroupNames,
    /// `bundle=PATH`, then the annotations as `key=value`.
    pub labels: Vec<String>,
    #[serde(rename = "Hooks")]
    pub hooks: Option<Hooks>,
    /// What later processes take from the config. Records of before there were any have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Saved>,
}

/// The part of the config that holds for every process of the container, as it was when `create` read it: of those who read
/// the record only `exec` takes it apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// A config without what concerns init alone.
    spec: Box<RawValue>,
    pub no_new_keyring: bool,
}

impl PartialEq for Saved {
    fn eq(&self, other: &Self) -> bool {
        (self.spec.get(), self.no_new_keyring) == (other.spec.get(), other.no_new_keyring)
    }
}

impl Saved {
    fn new(spec: &Spec, no_new_keyring: bool) -> Option<Self> {
        let spec = serde_json::value::to_raw_value(&plan::later_part(spec)).ok()?;
        Some(Saved { spec, no_new_keyring })
    }

    /// The config, without annotations, which the record has elsewhere.
    pub fn spec(&self) -> Result<Spec, Error> {
        serde_json::from_str(self.spec.get())
            .map_err(|e| Error::new(Kind::Os, format!("{STATE}: config.exec.spec: {e}")))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// `NEWPID` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
}

/// All that is needed to have it removed, from any environment.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct UnitRecord {
    pub name: String,
    /// The manager is a user's.
    pub user: bool,
    /// Addresses of the manager's bus; empty: where the machine's are.
    pub bus: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq, Default)]
pub(crate) struct CgroupNames {
    pub path: String,
    pub name: String,
    pub parent: String,
    /// As they are: the next update builds on them. Our own form, which records of before it had do not have.
    #[serde(default)]
    resources: LinuxResources,
    #[serde(flatten, default)]
    limits: Limits,
}

/// Some of the resources once more, where readers of runc's record look for them; 0 and empty: not set.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq, Default)]
#[serde(default)]
struct Limits {
    memory: i64,
    memory_reservation: i64,
    memory_swap: i64,
    cpu_shares: u64,
    cpu_quota: i64,
    cpu_period: u64,
    cpuset_cpus: String,
    cpuset_mems: String,
    pids_limit: i64,
    blkio_weight: u16,
}

/// The namespaces of `namespace_paths`: the kind, and its file in `/proc/PID/ns`.
const NAMESPACES: [(LinuxNamespaceType, &str, &str); 8] = [
    (LinuxNamespaceType::Cgroup, "NEWCGROUP", "cgroup"),
    (LinuxNamespaceType::Ipc, "NEWIPC", "ipc"),
    (LinuxNamespaceType::Network, "NEWNET", "net"),
    (LinuxNamespaceType::Mount, "NEWNS", "mnt"),
    (LinuxNamespaceType::Pid, "NEWPID", "pid"),
    (LinuxNamespaceType::Time, "NEWTIME", "time"),
    (LinuxNamespaceType::User, "NEWUSER", "user"),
    (LinuxNamespaceType::Uts, "NEWUTS", "uts"),
];

impl Record {
    /// What is known before anything is made.
    pub fn new(id: &str, bundle: &Bundle, plan: &Plan, options: &CreateOptions<'_>) -> Record {
        let spec = bundle.spec();
        let root = spec.root().as_ref().map_or(Path::new(""), |r| r.path().as_path());
        let annotations: BTreeMap<_, _> = spec.annotations().iter().flatten().collect();
        let labels = annotations.into_iter().map(|(key, value)| format!("{key}={value}"));
        Record {
            id: id.to_owned(),
            init_process_pid: 0,
            init_process_start: 0,
            created: String::new(),
            config: Config {
                rootfs: bundle.dir().join(root).to_string_lossy().into_owned(),
                namespaces: namespaces(spec),
                cgroups: CgroupNames::new(
                    plan.cgroup.dirs.first().map_or("", |dir| dir.path.as_str()),
                    spec.linux().as_ref().and_then(|l| l.resources().clone()).unwrap_or_default(),
                ),
                // The bundle's first: an annotation of that name must not stand in for it.
                labels: [format!("bundle={}", bundle.dir().display())].into_iter().chain(labels).collect(),
                hooks: spec.hooks().as_ref().map(later_hooks),
                exec: Saved::new(spec, options.no_new_keyring),
            },
            rootless: !rustix::process::geteuid().is_root(),
            cgroup_paths: plan.cgroup.paths(),
            unit: None,
            namespace_paths: BTreeMap::new(),
            external_descriptors: descriptors(options.stdio),
            intel_rdt_path: plan.rdt.as_ref().map_or_else(String::new, |rdt| rdt.group.clone()),
            intel_rdt_mon_path: plan.rdt.as_ref().and_then(|rdt| rdt.monitor.clone()).unwrap_or_default(),
            intel_rdt_own: false,
        }
    }

    /// Notes who init is.
    pub fn set_init(&mut self, pid: u32, created: String) {
        self.init_process_pid = pid;
        self.init_process_start = process_stat(pid).ok().flatten().map_or(0, |(_, start)| start);
        self.created = created;
        let paths = NAMESPACES.iter().map(|(_, name, file)| ((*name).into(), format!("/proc/{pid}/ns/{file}")));
        self.namespace_paths = paths.collect();
    }

    /// The first label; an annotation that happens to be called `bundle` comes after it.
    pub fn bundle(&self) -> &str {
        self.config.labels.first().and_then(|label| label.strip_prefix("bundle=")).unwrap_or("")
    }

    pub fn annotations(&self) -> BTreeMap<&str, &str> {
        self.config.labels.iter().skip(1).filter_map(|label| label.split_once('=')).collect()
    }

    /// Whether init is pid 1 of a namespace of its own, so that all processes die with it.
    pub fn has_private_pid_namespace(&self) -> bool {
        self.config.namespaces.iter().any(|n| n.kind == "NEWPID" && n.path.is_empty())
    }
}

impl CgroupNames {
    fn new(path: &str, resources: LinuxResources) -> Self {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let limits = Limits::of(&resources);
        CgroupNames { path: path.into(), name: name.into(), parent: parent.into(), resources, limits }
    }

    pub fn resources(&self) -> &LinuxResources {
        &self.resources
    }

    pub fn set_resources(&mut self, resources: LinuxResources) {
        self.limits = Limits::of(&resources);
        self.resources = resources;
    }
}

impl Limits {
    fn of(resources: &LinuxResources) -> Self {
        let memory = resources.memory().unwrap_or_default();
        let cpu = resources.cpu().clone().unwrap_or_default();
        Limits {
            memory: memory.limit().unwrap_or(0),
            memory_reservation: memory.reservation().unwrap_or(0),
            memory_swap: memory.swap().unwrap_or(0),
            cpu_shares: cpu.shares().unwrap_or(0),
            cpu_quota: cpu.quota().unwrap_or(0),
            cpu_period: cpu.period().unwrap_or(0),
            cpuset_cpus: cpu.cpus().clone().unwrap_or_default(),
            cpuset_mems: cpu.mems().clone().unwrap_or_default(),
            pids_limit: resources.pids().map_or(0, |pids| pids.limit()),
            blkio_weight: resources.block_io().as_ref().and_then(|b| b.weight()).unwrap_or(0),
        }
    }
}

fn namespaces(spec: &Spec) -> Vec<Namespace> {
    let list = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
    let name = |kind| NAMESPACES.iter().find(|(k, ..)| *k == kind).map_or("", |(_, name, _)| name);
    let path = |p: &Option<PathBuf>| p.as_ref().map_or_else(String::new, |p| p.to_string_lossy().into_owned());
    list.into_iter().flatten().map(|n| Namespace { kind: name(n.typ()).into(), path: path(n.path()) }).collect()
}

/// Only what runs after `create` is kept.
fn later_hooks(hooks: &Hooks) -> Hooks {
    let mut later = Hooks::default();
    later.set_poststart(hooks.poststart().clone());
    later.set_poststop(hooks.poststop().clone());
    later
}

/// A container's directory, held open: what is done in it cannot be led elsewhere.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    fd: OwnedFd,
}

impl StateDir {
    /// Claims the id.
    pub fn claim(root: &Path, id: &str) -> Result<StateDir, Error> {
        let path = root.join(id);
        let made = rustix::fs::mkdir(&path, Mode::from_raw_mode(0o711));
        let made = match made {
            Err(rustix::io::Errno::NOENT) => {
                make_root(root).and_then(|()| Ok(rustix::fs::mkdir(&path, Mode::from_raw_mode(0o711))?))
            }
            result => result.map_err(io::Error::from),
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::new(Kind::Exists, "container with given ID already exists"))
            }
            Err(error) => Err(Error::os(format_args!("mkdir {}", path.display()), error)),
            Ok(()) => StateDir::open(root, id)?.ok_or_else(not_found),
        }
    }

    /// The directory of an id, if there is one. A symlink is none.
    pub fn open(root: &Path, id: &str) -> Result<Option<StateDir>, Error> {
        let path = root.join(id);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(StateDir { path, fd })),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => Ok(None),
            Err(errno) => Err(Error::os(format_args!("open {}", path.display()), errno)),
        }
    }

    /// The directories of the other containers below the same root.
    pub fn others(&self) -> Vec<StateDir> {
        let Some(root) = self.path.parent() else { return Vec::new() };
        let names = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let others = names.filter(|name| Some(name.as_os_str()) != self.path.file_name());
        others.filter_map(|name| StateDir::open(root, name.to_str()?).ok().flatten()).collect()
    }

    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says what will exist, before any of it does. Half a file is as good as none, as nothing else is there then.
    pub fn write_intent(&self, record: &Record) -> Result<(), Error> {
        self.write(CREATING, OFlags::EXCL, record)
    }

    /// Makes the container known.
    pub fn write_state(&self, record: &Record) -> Result<(), Error> {
        let what = || format!("rename {}", self.path.join(STATE).display());
        let temp = format!("{STATE}.{}", rustix::process::getpid().as_raw_nonzero());
        self.write(&temp, OFlags::TRUNC, record)?;
        rustix::fs::renameat(&self.fd, &temp, &self.fd, STATE).map_err(|e| Error::os(what(), e))?;
        let _ = rustix::fs::unlinkat(&self.fd, OWNING, AtFlags::empty());
        Ok(())
    }

    fn write(&self, name: &str, flags: OFlags, record: &Record) -> Result<(), Error> {
        let what = |call: &str| format!("{call} {}", self.path.join(name).display());
        let text = serde_json::to_vec(record).map_err(|e| Error::new(Kind::Os, format!("{}: {e}", what("write"))))?;
        let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600));
        let file = file.map_err(|e| Error::os(what("open"), e))?;
        io::Write::write_all(&mut std::fs::File::from(file), &text).map_err(|e| Error::os(what("write"), e))
    }

    /// Excludes other updates, until it is dropped; waits for one that is under way.
    pub fn lock(&self, patience: Duration) -> Result<Lock, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A description of its own: the lock is one's of what was opened, not of the process.
        let dir = rustix::fs::openat(&self.fd, ".", flags, Mode::empty());
        Lock::take(dir.map_err(|e| Error::os(format_args!("open {}", self.path.display()), e))?, &self.path, patience)
    }

    /// The container's record; `None` while it is being made, or was left so.
    pub fn read_state(&self) -> Result<Option<Record>, Error> {
        self.read(STATE)
    }

    /// The cgroup that was intended has been made: it is nobody else's.
    pub fn own_cgroup(&self) -> Result<(), Error> {
        let renamed = rustix::fs::renameat(&self.fd, CREATING, &self.fd, OWNING);
        renamed.map_err(|e| Error::os(format_args!("rename {}", self.path.join(CREATING).display()), e))
    }

    /// What a `create` that died left to be removed, and whether the cgroup is surely its own.
    pub fn read_intent(&self) -> Option<(Record, bool)> {
        let owned = self.read(OWNING).ok().flatten().map(|record| (record, true));
        owned.or_else(|| Some((self.read(CREATING).ok().flatten()?, false)))
    }

    fn read(&self, name: &str) -> Result<Option<Record>, Error> {
        let what = || self.path.join(name).display().to_string();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::os(format_args!("open {}", what()), errno)),
        };
        let mut text = Vec::new();
        io::Read::read_to_end(&mut std::fs::File::from(file), &mut text).map_err(|e| Error::os(what(), e))?;
        serde_json::from_slice(&text).map(Some).map_err(|e| Error::new(Kind::Os, format!("{}: {e}", what())))
    }

    /// Makes the FIFO that `start` opens. Root of a user namespace, who is somebody else here, has to be able to write it.
    pub fn make_fifo(&self) -> Result<(), Error> {
        let what = |call: &str| format!("{call} {}", self.path.join(EXEC_FIFO).display());
        let mode = Mode::from_raw_mode(0o622);
        rustix::fs::mknodat(&self.fd, EXEC_FIFO, rustix::fs::FileType::Fifo, mode, 0)
            .map_err(|e| Error::os(what("mkfifo"), e))?;
        // The caller's umask has taken bits from the mode.
        rustix::fs::chmodat(&self.fd, EXEC_FIFO, mode, AtFlags::empty()).map_err(|e| Error::os(what("chmod"), e))
    }

    pub fn open_fifo(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(&self.fd, EXEC_FIFO, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    pub fn has_fifo(&self) -> bool {
        rustix::fs::accessat(&self.fd, EXEC_FIFO, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    pub fn remove_fifo(&self) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, EXEC_FIFO, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::os(format_args!("unlink {}", self.path.join(EXEC_FIFO).display()), errno)),
        }
    }

    /// Makes the directory that the container will see.
    pub fn make_notify_dir(&self) -> Result<(), Error> {
        let what = |call: &str| format!("{call} {}", self.path.join(NOTIFY_DIR).display());
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&self.fd, NOTIFY_DIR, mode).map_err(|e| Error::os(what("mkdir"), e))?;
        rustix::fs::chmodat(&self.fd, NOTIFY_DIR, mode, AtFlags::empty()).map_err(|e| Error::os(what("chmod"), e))
    }

    /// A socket in that directory, to which everybody in the container may send; `None` if there is no such directory.
    pub fn bind_notify_socket(&self) -> Result<Option<OwnedFd>, Error> {
        let what = || format!("bind {}", self.path.join(NOTIFY_DIR).join(NOTIFY_SOCKET).display());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, NOTIFY_DIR, flags | OFlags::DIRECTORY, Mode::empty()) {
            Ok(dir) => bind_notify(&dir, flags).map(Some).map_err(|e| Error::os(what(), e)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::os(what(), errno)),
        }
    }

    /// Owner of the directory, for `list`.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&self.fd)?.st_uid)
    }

    /// Removes the directory and what is in it: files, mostly one, and perhaps the notify directory. An update that is under
    /// way may put its file there in between.
    pub fn remove(&self) -> Result<(), Error> {
        let _ = rustix::fs::unlinkat(&self.fd, STATE, AtFlags::empty());
        let mut removed = rustix::fs::rmdir(&self.path);
        for _ in 0..TRIES {
            let Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) = removed else { break };
            self.remove_files()?;
            removed = rustix::fs::rmdir(&self.path);
        }
        match removed {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::os(format_args!("rmdir {}", self.path.display()), errno)),
        }
    }

    fn remove_files(&self) -> Result<(), Error> {
        let entries = rustix::fs::Dir::read_from(&self.fd).map_err(|e| Error::os(self.path.display(), e))?;
        for entry in entries.flatten() {
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                let _ = rustix::fs::unlinkat(&self.fd, entry.file_name(), AtFlags::empty());
            }
        }
        // A privileged container may have remounted it writable and filled it.
        let notify = self.path.join(NOTIFY_DIR);
        if let Err(error) = std::fs::remove_dir_all(&notify)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::os(format_args!("remove {}", notify.display()), error));
        }
        Ok(())
    }
}

/// The address is a path through /proc, since the one of the state directory may be longer than an address can be
/// (108 bytes). The mode is set on what was opened and found to be a socket: the container sees this directory, and a
/// name in it proves nothing.
fn bind_notify(dir: &OwnedFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::unlinkat(dir, NOTIFY_SOCKET, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {} // of a `start` that failed
        Err(errno) => return Err(errno),
    }
    let own = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(format!("{}/{NOTIFY_SOCKET}", own(dir)))?)?;
    let file = rustix::fs::openat(dir, NOTIFY_SOCKET, flags, Mode::empty())?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind != rustix::fs::FileType::Socket {
        return Err(rustix::io::Errno::EXIST);
    }
    rustix::fs::chmod(own(&file), Mode::from_raw_mode(0o777))?;
    Ok(socket)
}

pub(crate) fn not_found() -> Error {
    Error::new(Kind::NotFound, "container does not exist")
}

#[allow(clippy::disallowed_methods)]
fn make_root(root: &Path) -> io::Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).recursive(true).create(root)
}

/// State letter and start time of a process, from `/proc/PID/stat`; `None` if there is none.
///
/// # Errors
/// It cannot be looked at (EMFILE, ENOMEM), which does not say that it has ended.
pub(crate) fn process_stat(pid: u32) -> rustix::io::Result<Option<(u8, u64)>> {
    match small_file::read(CWD, format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(letter_and_start(&stat)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

fn letter_and_start(stat: &str) -> Option<(u8, u64)> {
    // The name, in parentheses, may hold anything, parentheses and blanks too.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let letter = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((letter, start))
}

/// Where fds 0 to 2 lead to, as CRIU and tools that read state.json expect it.
fn descriptors(stdio: [Option<BorrowedFd<'_>>; 3]) -> Vec<String> {
    let link = |(number, fd): (i32, Option<BorrowedFd<'_>>)| {
        let number = fd.map_or(number, |fd| fd.as_raw_fd());
        let target = std::fs::read_link(format!("/proc/self/fd/{number}"));
        target.map_or_else(|_| "/dev/null".into(), |path| path.to_string_lossy().into_owned())
    };
    (0..).zip(stdio).map(link).collect()
}

/// The time as Go prints RFC 3339 with nanoseconds: trailing zeros trimmed, UTC.
#[must_use]
pub fn rfc3339(time: std::time::SystemTime) -> String {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let nanos = format!("{:09}", since.subsec_nanos());
    let nanos = nanos.trim_end_matches('0');
    let dot = if nanos.is_empty() { "" } else { "." };
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{nanos}Z")
}

/// Days since 1970-01-01 as a date of the Gregorian calendar. Years are counted from March, so that the leap day is the
/// last of its year, in eras of 400 years (146 097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn times_read_as_gos() {
        for (secs, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_795_306_594, 346_705_752, "2026-11-22T00:16:34.346705752Z"),
            (1_767_225_599, 500_000_000, "2025-12-31T23:59:59.5Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(secs, nanos)), text);
        }
    }

    #[test]
    fn our_own_process_has_a_start_time() {
        let (letter, start) = process_stat(std::process::id()).unwrap().unwrap();
        assert!(matches!(letter, b'R' | b'S'), "{letter}");
        assert!(start > 0);
        assert_eq!(process_stat(u32::MAX), Ok(None));
    }

    /// The path of the socket is longer than an address of a socket may be.
    #[test]
    fn a_notify_socket_is_for_everybody_and_goes_with_the_directory() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::claim(root.path(), &"x".repeat(200)).unwrap();
        assert!(dir.bind_notify_socket().unwrap().is_none(), "not asked for");
        dir.make_notify_dir().unwrap();
        for bound in ["first", "again"] {
            let socket = dir.bind_notify_socket().unwrap().unwrap();
            let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            let notify = dir.path().join(NOTIFY_DIR);
            assert_eq!((mode(notify.clone()), mode(notify.join(NOTIFY_SOCKET))), (0o755, 0o777));
            let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
            let near = std::fs::File::open(&notify).unwrap();
            client.send_to(bound.as_bytes(), format!("/proc/self/fd/{}/{NOTIFY_SOCKET}", near.as_raw_fd())).unwrap();
            let mut message = [0; 8];
            let (len, _) = rustix::net::recv(&socket, &mut message[..], rustix::net::RecvFlags::empty()).unwrap();
            assert_eq!(&message[..len], bound.as_bytes());
        }
        std::fs::create_dir_all(dir.path().join("notify/left/by/a/container")).unwrap();
        dir.remove().unwrap();
        assert!(!dir.path().exists());
    }

    #[test]
    fn an_id_is_claimed_once_and_a_symlink_is_no_container() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::claim(root.path(), "c1").unwrap();
        assert_eq!(StateDir::claim(root.path(), "c1").unwrap_err().kind(), Kind::Exists);
        std::os::unix::fs::symlink(dir.path(), root.path().join("link")).unwrap();
        assert!(StateDir::open(root.path(), "link").unwrap().is_none());
        assert_eq!(dir.read_state().unwrap(), None);
        dir.make_fifo().unwrap();
        assert!(dir.has_fifo());
        std::fs::write(dir.path().join(CREATING), r#"{"id":"c1","ini"#).unwrap();
        assert_eq!(dir.read_intent(), None, "the writer was killed");
        dir.remove().unwrap();
        assert!(!dir.path().exists());
        dir.remove().unwrap();
    }
}
