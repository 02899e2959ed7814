//! The operations that a plan consists of: data only.
//!
//! An [`Op`] says what init does, `apply.rs` does it; there is one arm per operation there and nothing to decide.
//! Everything an operation needs is in it as bytes ready for a system call (`CString`, masks, numbers) or as a
//! [`Slot`]: the number of a descriptor that the parent opens before the clone.

use std::ffi::CString;

use crate::error::At;
use crate::plan::seccomp::Filter;
use crate::plan::tuning::{MemoryPolicy, Scheduler};

/// The n-th entry of [`Plan::needs`](super::Plan::needs): an open descriptor by the time steps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// What the parent opens before the clone, while host paths and host privilege are at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The config member that asks for it.
    pub at: At,
    /// What to open.
    pub what: Open,
}

/// The kinds of [`Need`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// A detached copy of the mount tree at a host path: `open_tree(OPEN_TREE_CLONE)`.
    Tree {
        /// Host path.
        path: CString,
        /// With the mounts below it.
        recursive: bool,
    },
    /// The same with its ids mapped.
    MappedTree {
        /// Host path.
        path: CString,
        /// With the mounts below it.
        recursive: bool,
        /// How.
        mapped: Mapped,
    },
    /// A new file system as a detached mount.
    Filesystem {
        /// What mountinfo shows as source, or a device: host path.
        source: CString,
        /// Type.
        fstype: CString,
        /// Options of the type and of every superblock, separated by commas.
        data: CString,
        /// `MOUNT_ATTR_*`.
        attr: u64,
        /// How its ids are mapped, if they are.
        mapped: Option<Mapped>,
    },
    /// The container's own directory in the n-th hierarchy of the cgroup plan, as a detached mount.
    CgroupTree(usize),
    /// The `tasks` (v2: `cgroup.procs`) file of the n-th hierarchy of the cgroup plan, for writing.
    CgroupTasks(usize),
    /// A namespace file, which must be of this kind (`CLONE_NEW*`).
    Namespace {
        /// Host path.
        path: CString,
        /// `CLONE_NEW*`.
        kind: u64,
        /// Where and why the runtime's own is refused.
        unless_own: Option<(At, String)>,
    },
    /// The caller's connected socket, over which the terminal's master end is sent.
    ConsoleSocket,
    /// The exec FIFO of the state directory, `O_PATH`.
    ExecFifo,
    /// The pidfd of the init process whose namespaces are joined.
    Init,
    /// A file of a cgroup that exists, `tasks` or `cgroup.procs`, for writing: host path.
    Members(CString),
    /// A cgroup that exists, to clone into: host path.
    Cgroup(CString),
    /// An empty memfd: a hook's stdin, stdout or stderr.
    Memfd,
    /// A host file that a hook's output is appended to.
    HookOutput(CString),
}

impl Open {
    /// Whether it is a copy of mounts of the host.
    pub(crate) fn is_tree(&self) -> bool {
        matches!(self, Open::Tree { .. } | Open::MappedTree { .. } | Open::CgroupTree(_))
    }
}

/// How the ids of a mount are translated: `MOUNT_ATTR_IDMAP` of mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Which of [`Plan::users`](super::Plan::users) has the maps.
    pub users: usize,
    /// The mounts below as well.
    pub recursive: bool,
}

/// A user namespace that lends its maps to mounts. The parent alone uses it, and closes it before the clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// The config member that asks for it.
    pub at: At,
    /// Where it comes from.
    pub from: UsersFrom,
}

/// Where the user namespace of an id mapping comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsersFrom {
    /// Made for the purpose, with these lines in its `uid_map` and `gid_map`.
    Maps {
        /// `uid_map`.
        uid: String,
        /// `gid_map`.
        gid: String,
    },
    /// The one that the container joins: host path.
    Path(CString),
}

/// Where a mount tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Cloned by the parent: it may see paths that a user namespace hides from init.
    Slot(Slot),
    /// Cloned by init itself: an ordinary user's process gets the privilege only inside its user namespace. The host
    /// path is walked before the root changes.
    Path {
        /// Host path.
        path: CString,
        /// With the mounts below it.
        recursive: bool,
    },
    /// Cloned by init inside the container's root, where it may lie on what an earlier step has mounted.
    Inside {
        /// Path inside the rootfs, resolved as if that were "/".
        path: CString,
        /// With the mounts below it.
        recursive: bool,
        /// The parent maps its ids before it is used.
        mapped: Option<Mapped>,
    },
}

/// A `tasks` file of a v1 hierarchy, or v2's `cgroup.procs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tasks {
    /// Opened by the parent.
    Slot(Slot),
    /// Opened by init itself, before the root changes: host path.
    Path(CString),
}

/// One v1 hierarchy as the container sees it, a directory in the tmpfs of a cgroup mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Directory name: `memory`, `cpu,cpuacct`.
    pub name: CString,
    /// Links to it: `cpu`, `cpuacct`.
    pub links: Vec<CString>,
    /// What is mounted there.
    pub content: HierarchyContent,
}

/// What a container sees of a v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HierarchyContent {
    /// Its own directory only, bound.
    Own(Tree),
    /// The hierarchy with these options (controllers, or a name); a cgroup namespace hides its root.
    Mount(CString),
}

/// A cgroup mount on a v1 host: a tmpfs with a directory per hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupV1 {
    /// The tmpfs.
    pub tmpfs: Filesystem,
    /// What is in it.
    pub hierarchies: Vec<Hierarchy>,
    /// `MOUNT_ATTR_*` of each bound hierarchy; read-only is also the tmpfs's.
    pub attr: u64,
    /// `MS_*` of each mounted hierarchy.
    pub flags: u64,
}

/// One thing that init does, and the config member that asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The config member; errors print it.
    pub at: At,
    /// The operation.
    pub op: Op,
}

/// Points at which init waits for the parent's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// systemd has made the cgroup, and the process is in it.
    Cgroup,
    /// The id maps are written.
    Map,
    /// The network devices are in the container's namespace.
    Network,
    /// The prestart and createRuntime hooks have run.
    Hooks,
}

/// A network device of the runtime's namespace, to be moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetDevice {
    /// Its name there.
    pub name: String,
    /// Its name in the container; `%d` becomes a number.
    pub target: String,
}

/// Bind mount of a host tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Path inside the rootfs.
    pub target: CString,
    /// The host path that the config names, for messages.
    pub source: CString,
    /// What is mounted.
    pub tree: Tree,
    /// What the container's root asks of every copied mount (`MS_SLAVE`, `MS_PRIVATE`, or 0 to stay a peer).
    pub inherit: u64,
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear because the config says so word by word: failing to is an error.
    pub clear: u64,
    /// `MOUNT_ATTR_*` to clear because a remount with given flags drops the others; a user namespace may forbid that.
    pub drop: u64,
    /// `MOUNT_ATTR_*` to set on the mount and all below it, after the others.
    pub tree_set: u64,
    /// Likewise to clear.
    pub tree_clear: u64,
    /// Propagation words, in order (`MS_*`, with `MS_REC`).
    pub propagation: Vec<u64>,
    /// One of the few files of procfs that may be covered.
    pub may_cover_proc: bool,
    /// On /proc itself: only procfs may be bound there.
    pub must_be_proc: bool,
}

impl Bind {
    /// A mount that looks as its source does.
    pub(super) fn plain(source: CString, target: CString, tree: Tree) -> Self {
        Bind {
            target,
            source,
            tree,
            inherit: 0,
            set: 0,
            clear: 0,
            drop: 0,
            tree_set: 0,
            tree_clear: 0,
            propagation: vec![],
            may_cover_proc: false,
            must_be_proc: false,
        }
    }
}

/// Other options for what is mounted already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remount {
    /// Path inside the rootfs.
    pub target: CString,
    /// `MOUNT_ATTR_*`, as in [`Bind`].
    pub set: u64,
    /// As in [`Bind`].
    pub clear: u64,
    /// As in [`Bind`].
    pub drop: u64,
    /// The file system's own options, `MS_*` and data: mount(2) in place of the attributes.
    pub superblock: Option<(u64, CString)>,
    /// Propagation words, in order.
    pub propagation: Vec<u64>,
}

/// A new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Path inside the rootfs.
    pub target: CString,
    /// What mountinfo shows as source; a device where the type has one.
    pub source: CString,
    /// Type.
    pub fstype: CString,
    /// `MS_*`, of the mount and of the file system.
    pub flags: u64,
    /// Options of the type, separated by commas.
    pub data: CString,
    /// `security.selinux` of its root directory.
    pub label: Option<CString>,
    /// Propagation words, in order.
    pub propagation: Vec<u64>,
    /// What the mountpoint has to be.
    pub mountpoint: Mountpoint,
    /// This mount serves as the procfs handle of later steps.
    pub is_proc: bool,
    /// procfs itself, or over one of the few files of it that may be covered.
    pub may_cover_proc: bool,
    /// It is made detached and attached when it is complete; otherwise mount(2) does both.
    pub detached: Option<Detached>,
}

/// A file system that something has to happen to before anybody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detached {
    /// The parent has made it, with its ids mapped.
    pub made: Option<Slot>,
    /// `MOUNT_ATTR_*`, where init makes it. What is about the superblock is among [`Filesystem::data`].
    pub attr: u64,
    /// Fill it with what the mountpoint holds (`tmpcopyup`).
    pub copy_up: bool,
}

/// What a mountpoint has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mountpoint {
    /// A directory; symlinks inside the rootfs are followed, what is missing is made.
    Directory,
    /// The same, and its mode, if it was there, is the new file system's (tmpfs without `mode=`).
    KeepMode,
    /// A directory at exactly this path, no component a symlink (procfs and sysfs: CVE-2019-19921, CVE-2023-27561).
    Ordinary,
}

/// The terminal of the container's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Console {
    /// Connected socket, over which its master end is sent.
    pub socket: Slot,
    /// Rows and columns.
    pub size: Option<(u16, u16)>,
    /// Newlines come out as they are, without a carriage return before them: `ONLCR` is off.
    pub bare_newlines: bool,
    /// Whether it is bound on `/dev/console`.
    pub bind: bool,
}

/// What a terminal is like from its first byte on, for who takes its master end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terminal {
    /// Rows and columns, in place of `process.consoleSize`.
    pub size: Option<(u16, u16)>,
    /// Newlines come out as they are: for who passes them on to a terminal that adds the carriage return itself.
    pub bare_newlines: bool,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path inside the rootfs.
    pub path: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO` and the permission bits.
    pub mode: u32,
    /// Device number, 0 for a FIFO.
    pub rdev: u64,
    /// Owner inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
    /// One that every container has: if it is there, its owner and mode are left as they are.
    pub is_default: bool,
    /// In a user namespace `mknod(2)` is refused: the host's node is bound instead.
    pub bind: Option<Tree>,
}

/// A program with its arguments and environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Paths to try, in order: one for a path with a slash, else one per `PATH` directory.
    pub candidates: Vec<CString>,
    /// `argv`.
    pub argv: Vec<CString>,
    /// `envp`.
    pub env: Vec<CString>,
    /// Append `HOME` from the container's `/etc/passwd` (uid).
    pub home_of: Option<u32>,
}

/// A hook that runs in the container: createContainer or startContainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerHook {
    /// Which of [`Plan::images`](super::Plan::images).
    pub image: usize,
    /// The runtime-spec's name of the list.
    pub list: &'static str,
    /// Its place in the list.
    pub index: usize,
    /// Seconds, if limited.
    pub timeout: Option<u32>,
    /// The state document in two halves; the pid, known only to init, goes between.
    pub state: [Vec<u8>; 2],
    /// stdin, stdout, stderr: memfds.
    pub stdio: [Slot; 3],
}

/// The operations. Paths are inside the rootfs unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Wait for the parent.
    Gate(Gate),
    /// No supplementary groups, if they can be dropped: before a user namespace is joined that may deny it.
    DropGroups,
    /// All ids 0 in the new user namespace.
    BecomeRoot {
        /// The supplementary groups stay.
        keep_groups: bool,
    },
    /// `prctl(PR_SET_DUMPABLE, 0)`: nobody may trace init or open its descriptors until `execve`.
    Undumpable,
    /// `prctl(PR_SET_DUMPABLE)` once more: whether the parent may trace init without a capability.
    Traceable(bool),
    /// `unshare(CLONE_NEW*)`.
    Unshare(u64),
    /// Join a namespace of this kind; by the pidfd of an init process, its namespaces of these kinds in one call (Linux 5.8).
    SetNs(Slot, u64),
    /// Clone the next process and hand over to it: pid and time namespaces hold for children only.
    Fork {
        /// `CLONE_NEW*`.
        flags: u64,
        /// The v2 directory that it is born in.
        cgroup: Option<Slot>,
    },
    /// Write `0` to these files: the calling thread moves itself, which needs no RCU grace period.
    JoinCgroup {
        /// One per hierarchy.
        tasks: Vec<Tasks>,
        /// Those that are not there or not ours to write are left out (rootless).
        tolerate: bool,
    },
    /// Make a time namespace, write `/proc/self/timens_offsets` if there are any, enter it.
    TimeOffsets(CString),
    /// Write `/proc/self/oom_score_adj`.
    OomScore(CString),
    /// Join a new session keyring of this name and add these permissions to it.
    Keyring(CString, u32),
    /// The runtime's procfs serves those steps that otherwise use one of the container's own.
    BorrowProc,
    /// `lo` up.
    LoopbackUp,
    /// Set the propagation of `/` and everything below (`MS_*`).
    Propagate(u64),
    /// Put the rootfs into the new mount namespace.
    AttachRoot {
        /// Host path to mount it on.
        on: CString,
        /// The rootfs.
        tree: Tree,
        /// As [`Bind::inherit`].
        inherit: u64,
    },
    /// Open the rootfs (a host path) without a mount namespace of our own.
    OpenRoot(CString),
    /// Bind mount.
    Bind(Bind),
    /// Other options for a mount that is there.
    Remount(Remount),
    /// New file system.
    Filesystem(Filesystem),
    /// The hierarchies of a v1 host.
    CgroupV1(CgroupV1),
    /// Make the mount at this path read-only, now that nothing more is made in it.
    RemountReadonly(CString),
    /// Device node.
    Device(Device),
    /// Symlink: target, path. Left alone if something is there.
    Symlink(CString, CString),
    /// `/dev/ptmx` → `pts/ptmx`, replacing whatever is there.
    Ptmx,
    /// Run a hook inside the container.
    Hook(ContainerHook),
    /// Unmount what is mounted at this path of the host, or cover it.
    HideHost(CString),
    /// `pivot_root(2)` into the rootfs and drop the old root.
    PivotRoot,
    /// Move the root, which is attached at its own path, over `/`.
    MoveRoot,
    /// Enter the rootfs by `chroot(2)`.
    Chroot,
    /// Enter this mount namespace, with a copy of the root and of all mounts in it as root.
    LeaveMountNamespace(Slot),
    /// Propagation of the new root (`MS_*`), after the pivot.
    RootPropagation(u64),
    /// Of stdin, stdout and stderr, those that are the host's `/dev/null` become the container's.
    ReopenNull,
    /// Make a terminal in the container's devpts: stdin, stdout, stderr, controlling terminal, `/dev/console`.
    Console(Console),
    /// `mkdir -p` of `process.cwd`.
    MakeCwd(CString),
    /// The root mount becomes read-only.
    RootReadonly,
    /// `umask(2)`.
    Umask(u32),
    /// `sethostname(2)`.
    Hostname(CString),
    /// `setdomainname(2)`.
    Domainname(CString),
    /// `exec PROFILE` into `attr/apparmor/exec` of our own procfs: the profile holds from `execve(2)` on.
    AppArmor(CString),
    /// An SELinux context into `attr/keycreate`: that of the keys made from here to `execve(2)`.
    KeyLabel(CString),
    /// An SELinux context into `attr/exec`: that of what `execve(2)` makes.
    ExecLabel(CString),
    /// Write a value to a file below `/proc/sys`.
    Sysctl(CString, CString),
    /// Read-only over itself, with what is below.
    Readonly(CString),
    /// Hidden behind `/dev/null` or an empty directory: a tmpfs with this option, if any.
    Mask(CString, Option<CString>),
    /// `sched_setaffinity(2)` to all CPUs: of those the kernel gives what the cgroup allows.
    AllCpus,
    /// `sched_setaffinity(2)` to these: one bit per CPU.
    Cpus(Vec<u64>),
    /// `prctl(PR_SET_NO_NEW_PRIVS)`.
    NoNewPrivs,
    /// `sched_setattr(2)`.
    Scheduler(Scheduler),
    /// `ioprio_set(2)` of the process group.
    IoPriority(u32),
    /// `personality(2)`.
    Personality(u32),
    /// `set_mempolicy(2)`.
    MemoryPolicy(MemoryPolicy),
    /// `prlimit(2)`: resource, soft, hard.
    Rlimit(u32, u64, u64),
    /// Load the filter; if it has a listener, have the parent take it and wait for its word.
    Seccomp(Filter),
    /// Into `process.cwd`, resolved inside the root, no magic link followed (CVE-2024-21626); if that is refused, it is
    /// tried again as the user.
    Chdir(CString),
    /// Drop every capability that is not in the mask from the bounding set.
    Bounding(u64),
    /// `fchown` of fds 0 to 2, groups, gid, uid; capabilities are kept across the change.
    User {
        /// In the container's user namespace.
        uid: u32,
        /// In the container's user namespace.
        gid: u32,
        /// `None`: `setgroups(2)` is denied in this user namespace.
        groups: Option<Vec<u32>>,
        /// An ordinary user who has joined a user namespace that denies `setgroups(2)` has no way to drop his groups.
        may_keep: bool,
    },
    /// Effective, permitted, inheritable.
    Capabilities(u64, u64, u64),
    /// Raise these.
    Ambient(u64),
    /// The cwd again, as the user, if need be.
    ChdirAsUser(CString),
    /// The program is looked up now, so that `create` can say what is wrong.
    FindProgram,
    /// Everything is in place: tell the parent and wait for its word.
    Ready,
    /// Make a procfs of our own, for sysctls and labels.
    OpenProc,
    /// Open `/proc/self/fd` of the container's own procfs, through which the exec FIFO will be opened.
    ArmStart,
    /// Wait on the exec FIFO for `start`.
    AwaitStart(Slot),
    /// Close every descriptor from this number on, but for the one that a failing `execve(2)` is reported on.
    CloseFrom(u32),
    /// `execve(2)` of the program.
    Exec {
        /// Tell the parent right before: hooks have run since its `go`, and it would take init's death for success.
        announced: bool,
    },
}
