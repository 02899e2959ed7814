//! Does what the plan says: one arm per operation, no decision that a plan could have taken.
//!
//! Runs in the child after `clone3`: no allocation, no lock, no formatting, no panic (`tests/child.rs` proves the first
//! with an allocator that aborts). An operation either succeeds or returns a [`Fault`], which `spawn.rs` reports; what
//! waits for the parent or starts a process (gates, forks, hooks, exec) is in `spawn.rs` as well.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::fault::{Fault, Result, call};
use crate::plan::{Bind, CgroupV1, Device, Filesystem, HierarchyContent, Mountpoint, Op, Slot, Tasks, Tree};
use crate::root::{self, Buffer, Place};
use crate::sys::{self, MountAttr};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// In runc's words, which callers know.
pub(crate) const NOT_ORDINARY: &str = "must be mounted on ordinary directory";
const MS_REC: u64 = 0x4000;

/// A descriptor of the child. Nothing is closed one by one: [`Stage::sweep`] closes what is not held, a range at a time.
type Fd = BorrowedFd<'static>;

/// So many descriptors may be open before a sweep; each operation opens less than five.
const UNSWEPT: u32 = 64;

/// What the steps done so far leave to the later ones.
pub(crate) struct Stage<'a> {
    /// The descriptors of the plan's needs.
    pub fds: &'a [RawFd],
    /// Numbers that stay open, ascending. Room for [`HELD`] more, since nothing may be allocated.
    keep: Vec<u32>,
    /// Opened since the last sweep.
    opened: u32,
    root: Option<Fd>,
    proc: Option<Fd>,
    /// `/dev` of the container, once all mounts are made.
    dev: Option<Fd>,
    /// The container's `/dev/null`, verified.
    null: Option<Fd>,
    /// A read-only, empty tmpfs that hides directories: one superblock for all of them (runc#5275).
    empty: Option<Fd>,
    /// Those of stdin, stdout and stderr that are `/dev/null`, and the owners of the others.
    stdio: [Stdio; 3],
    /// `process.cwd` was not to be entered as root.
    chdir_as_user: bool,
}

/// What is known of stdin, stdout or stderr.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stdio {
    Unknown,
    /// The null device: nobody's to own.
    Null,
    OwnedBy(u32),
}

/// How many descriptors a stage holds besides those it starts with.
const HELD: usize = 8;

impl<'a> Stage<'a> {
    /// `fds` are the plan's needs, `others` what has to stay open besides. Called before the clone.
    pub fn new(fds: &'a [RawFd], others: impl Iterator<Item = RawFd>) -> Self {
        let mut keep: Vec<u32> = Vec::new();
        keep.extend(fds.iter().copied().chain(others).filter_map(|fd| u32::try_from(fd).ok()));
        keep.sort_unstable();
        keep.reserve_exact(HELD);
        let (root, proc, dev, null, empty) = (None, None, None, None, None);
        Stage { fds, keep, opened: 0, root, proc, dev, null, empty, stdio: [Stdio::Unknown; 3], chdir_as_user: false }
    }

    /// The number behind a slot.
    pub fn fd(&self, slot: Slot) -> RawFd {
        self.fds.get(slot.0).copied().unwrap_or(-1)
    }

    /// A slot's descriptor for the last time: the next sweep closes it. What refers to the host must not outlive its step.
    fn take(&mut self, slot: Slot) -> Fd {
        let fd = self.fd(slot);
        self.keep.retain(|kept| i32::try_from(*kept) != Ok(fd));
        self.opened += 1;
        sys::borrow(fd)
    }

    /// Hands a descriptor over to the next sweep.
    fn lend(&mut self, fd: OwnedFd) -> Fd {
        self.opened += 1;
        sys::borrow(fd.into_raw_fd())
    }

    /// Exempts a descriptor from sweeping.
    pub fn hold(&mut self, fd: Fd) -> Fd {
        if let Ok(number) = u32::try_from(fd.as_raw_fd())
            && self.keep.len() < self.keep.capacity()
        {
            let place = self.keep.partition_point(|kept| *kept < number);
            self.keep.insert(place, number);
        }
        fd
    }

    /// Closes, from `from` on, everything that is not held: what steps have used, and at first what the caller left open
    /// and other containers' channels.
    pub fn sweep(&mut self, from: u32) -> Result<()> {
        self.opened = 0;
        let mut next = from;
        for fd in self.keep.iter().copied().filter(|fd| *fd >= from) {
            if fd > next {
                call("close_range", sys::close_range(next, fd - 1))?;
            }
            next = fd + 1;
        }
        call("close_range", sys::close_range(next, u32::MAX))
    }

    /// Lets go of everything but one.
    pub fn hold_only(&mut self, fd: RawFd) {
        self.keep.clear();
        self.hold(sys::borrow(fd));
    }

    /// Before a step: many binds must not run into RLIMIT_NOFILE.
    pub fn sweep_if_due(&mut self, from: u32) -> Result<()> {
        if self.opened < UNSWEPT { Ok(()) } else { self.sweep(from) }
    }

    /// Makes the rootfs the cwd.
    pub fn enter_rootfs(&self) -> Result<()> {
        call("fchdir", rustix::process::fchdir(self.root()?))
    }

    fn root(&self) -> Result<Fd> {
        self.root.ok_or(Fault::new("openat2", Errno::BADF))
    }

    /// A procfs of the container's pid namespace: the one just mounted on /proc, reached by its descriptor and not by a
    /// path that something could cover, or one of our own.
    pub fn proc(&mut self) -> Result<Fd> {
        if let Some(proc) = self.proc {
            return Ok(proc);
        }
        let mount = fsmount(c"proc", c"proc", &Buffer::new(), 0)?;
        let mount = self.lend(mount);
        self.proc = Some(self.hold(mount));
        Ok(mount)
    }

    fn open(&mut self, path: &CStr, flags: OFlags) -> Result<Fd> {
        let fd = root::open(self.root()?, path, flags)?;
        Ok(self.lend(fd))
    }

    /// Nothing may cover a part of procfs through which the kernel is told what to do (CVE-2019-16884, CVE-2025-52881).
    /// What a path says was judged by the plan; a symlink may lead there all the same.
    fn mountpoint(&mut self, place: Place, may_cover_proc: bool) -> Result<Fd> {
        let target = self.lend(place.fd);
        if !may_cover_proc
            && !place.straight
            && call("fstatfs", rustix::fs::fstatfs(target))?.f_type == PROC_SUPER_MAGIC
        {
            return Err(Fault::plain(b"cannot be mounted because it is inside /proc"));
        }
        Ok(target)
    }

    /// Mounts a new file system on an open directory and keeps the descriptor of the mount: unlike a path it cannot come
    /// to mean another one.
    fn attach(&mut self, fstype: &CStr, source: &CStr, data: &Buffer, flags: u64, target: Fd) -> Result<Fd> {
        let mount = fsmount(fstype, source, data, flags)?;
        let mount = self.lend(mount);
        move_mount(mount, target)?;
        Ok(mount)
    }

    /// The directory of `path`, made if missing, and the last component. `/dev` is opened once.
    fn parent<'p>(&mut self, path: &'p CStr) -> Result<(Fd, &'p CStr)> {
        let below_dev = path.to_bytes().strip_prefix(b"/dev/").filter(|name| !name.contains(&b'/'));
        if let (Some(dev), Some(_)) = (self.dev, below_dev) {
            let name = path.to_bytes_with_nul().get(b"/dev/".len()..).unwrap_or(b"\0");
            return Ok((dev, CStr::from_bytes_with_nul(name).unwrap_or(c"")));
        }
        let (dir, name) = root::parent(self.root()?, path)?;
        let dir = self.lend(dir);
        if below_dev.is_some() {
            self.dev = Some(self.hold(dir));
        }
        Ok((dir, name))
    }
}

/// Does one operation.
#[allow(clippy::too_many_lines)] // one arm per operation
pub(crate) fn apply(stage: &mut Stage<'_>, op: &Op) -> Result<()> {
    match op {
        Op::BecomeRoot => become_root(),
        Op::Undumpable => call("prctl", sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)).map(drop),
        Op::Unshare(flags) => call("unshare", sys::unshare(*flags)),
        Op::SetNs(slot, kind) => call("setns", sys::setns(stage.take(*slot), *kind)),
        Op::JoinCgroup { tasks, tolerate } => tasks.iter().try_for_each(|tasks| join(stage, tasks, *tolerate)),
        Op::OomScore(score) => write_file(c"/proc/self/oom_score_adj", score),
        Op::Keyring(name, search) => keyring(name, *search),
        Op::LoopbackUp => sys::loopback_up().map_err(|(name, errno)| Fault::new(name, errno)),
        Op::Propagate(flags) | Op::RootPropagation(flags) => propagate(*flags),
        Op::AttachRoot { on, tree, inherit } => attach_root(stage, on, tree, *inherit),
        Op::OpenRoot(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = stage.lend(call("open", rustix::fs::open(path.as_c_str(), flags, Mode::empty()))?);
            stage.root = Some(stage.hold(root));
            Ok(())
        }
        Op::Bind(bind) => apply_bind(stage, bind),
        Op::Filesystem(fs) => apply_filesystem(stage, fs),
        Op::CgroupV1(mount) => apply_cgroup_v1(stage, mount),
        Op::RemountReadonly(path) => {
            let mount = stage.open(path, OFlags::PATH)?;
            set_attributes(mount, false, readonly())
        }
        Op::Device(device) => apply_device(stage, device),
        Op::Symlink(target, path) => symlink(stage, target, path),
        Op::Ptmx => ptmx(stage),
        Op::PivotRoot => pivot_root(stage),
        Op::Chroot => {
            call("fchdir", rustix::process::fchdir(stage.root()?))?;
            call("chroot", rustix::process::chroot(c"."))
        }
        Op::ReopenNull => reopen_null(stage),
        Op::MakeCwd(path) => {
            let dir = root::directory(stage.root()?, path)?;
            stage.lend(dir.fd);
            Ok(())
        }
        Op::RootReadonly => set_attributes(stage.root()?, false, readonly()),
        Op::Umask(mask) => {
            rustix::process::umask(Mode::from_raw_mode(*mask));
            Ok(())
        }
        Op::Hostname(name) => call("sethostname", rustix::system::sethostname(name.to_bytes())),
        Op::Domainname(name) => call("setdomainname", rustix::system::setdomainname(name.to_bytes())),
        Op::Sysctl(path, value) => {
            let file = root::open_same_mount(stage.proc()?, path, OFlags::WRONLY)?;
            write(stage.lend(file), value.to_bytes())
        }
        Op::Readonly(path) => readonly_path(stage, path),
        Op::Mask(path) => mask(stage, path),
        Op::NoNewPrivs => call("prctl", sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)).map(drop),
        Op::Rlimit(resource, soft, hard) => call("prlimit", sys::setrlimit(*resource, *soft, *hard)),
        Op::Seccomp(filter) => call("seccomp", sys::seccomp(&filter.program, filter.flags)),
        Op::Chdir(path) => chdir(stage, path),
        Op::ChdirAsUser(path) if stage.chdir_as_user => call("chdir", rustix::process::chdir(path.as_c_str())),
        Op::Bounding(keep) => drop_bounding(*keep),
        Op::User { uid, gid, groups } => become_user(stage, *uid, *gid, groups.as_deref()),
        Op::Capabilities(effective, permitted, inheritable) => {
            call("capset", sys::capset(*effective, *permitted, *inheritable))
        }
        Op::Ambient(mask) => raise_ambient(*mask),
        // The rest waits or starts processes: spawn.rs.
        _ => Ok(()),
    }
}

fn become_root() -> Result<()> {
    // EPERM: setgroups is denied in this user namespace; then the caller's groups stay, as nobody.
    match sys::setgroups(&[]) {
        Err(Errno::PERM) => {}
        result => call("setgroups", result)?,
    }
    call("setresgid", sys::setresgid(0))?;
    call("setresuid", sys::setresuid(0))
}

fn keyring(name: &CStr, search: u32) -> Result<()> {
    let id = match sys::join_session_keyring(name) {
        Err(Errno::NOSYS) => return Ok(()), // a kernel without CONFIG_KEYS has no keyring to leak
        result => call("keyctl(JOIN_SESSION_KEYRING)", result)?,
    };
    let mut description = [0u8; 256];
    let len = call("keyctl(DESCRIBE)", sys::describe_key(id, &mut description))?;
    let permissions = description.get(..len).and_then(|d| d.split(|b| *b == b';').nth(3)).unwrap_or(&[]);
    let permissions = permissions.iter().fold(0u32, |n, b| (n << 4) | char::from(*b).to_digit(16).unwrap_or(0));
    call("keyctl(SETPERM)", sys::set_key_permissions(id, permissions | search))
}

fn propagate(flags: u64) -> Result<()> {
    let flags = MountPropagationFlags::from_bits_retain(u32::try_from(flags).unwrap_or(0));
    call("mount", rustix::mount::mount_change(c"/", flags))
}

/// `0` is the writing thread itself.
fn join(stage: &mut Stage<'_>, tasks: &Tasks, tolerate: bool) -> Result<()> {
    let fd = match tasks {
        Tasks::Slot(slot) => stage.take(*slot),
        Tasks::Path(path) => {
            let opened = rustix::fs::open(path.as_c_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            match call("open", opened) {
                Err(_) if tolerate => return Ok(()),
                result => stage.lend(result.map_err(|fault| fault.with_note(path.to_bytes()))?),
            }
        }
    };
    write(fd, b"0")
}

fn open_tree(stage: &mut Stage<'_>, tree: &Tree) -> Result<Fd> {
    match tree {
        Tree::Slot(slot) => Ok(stage.take(*slot)),
        Tree::Path { path, recursive } => {
            let tree = clone_tree(rustix::fs::CWD, path, *recursive)?;
            Ok(stage.lend(tree))
        }
    }
}

/// A copy of the mount that `of` is on, from there on.
fn clone_of(stage: &mut Stage<'_>, of: Fd, recursive: bool) -> Result<Fd> {
    let tree = clone_tree(of, c"", recursive)?;
    Ok(stage.lend(tree))
}

/// A detached copy of the mount tree at a host path.
pub(crate) fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    call("open_tree", rustix::mount::open_tree(dir, path, flags))
}

fn readonly() -> MountAttr {
    MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..MountAttr::default() }
}

fn set_attributes(mount: Fd, recursive: bool, attr: MountAttr) -> Result<()> {
    call("mount_setattr", sys::mount_setattr(mount, recursive, &attr))
}

fn set_propagation(mount: Fd, flags: u64) -> Result<()> {
    if flags == 0 {
        return Ok(());
    }
    let attr = MountAttr { propagation: flags & !MS_REC, ..MountAttr::default() };
    set_attributes(mount, flags & MS_REC != 0, attr)
}

fn move_mount(from: Fd, to: Fd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    call("move_mount", rustix::mount::move_mount(from, c"", to, c"", flags))
}

fn attach_root(stage: &mut Stage<'_>, on: &CStr, tree: &Tree, inherit: u64) -> Result<()> {
    let tree = open_tree(stage, tree)?;
    if file_type(tree)? != FileType::Directory {
        return Err(Fault::new("open_tree", Errno::NOTDIR));
    }
    set_propagation(tree, inherit)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    call("move_mount", rustix::mount::move_mount(tree, c"", rustix::fs::CWD, on, flags))?;
    stage.root = Some(stage.hold(tree));
    Ok(())
}

fn apply_bind(stage: &mut Stage<'_>, bind: &Bind) -> Result<()> {
    let tree = open_tree(stage, &bind.tree)?;
    set_propagation(tree, bind.inherit)?;
    let attr = MountAttr { set: bind.set, clear: bind.clear | bind.drop, ..MountAttr::default() };
    if attr != MountAttr::default() {
        match set_attributes(tree, false, attr) {
            // Flags that a user namespace holds locked stay, unless the config cleared them by name.
            Err(fault) if fault.is(Errno::PERM) && bind.drop != 0 => {
                set_attributes(tree, false, MountAttr { clear: bind.clear, ..attr })?;
            }
            result => result?,
        }
    }
    for flags in &bind.propagation {
        set_propagation(tree, *flags)?;
    }
    if bind.must_be_proc && call("fstatfs", rustix::fs::fstatfs(tree))?.f_type != PROC_SUPER_MAGIC {
        return Err(Fault::plain(b"cannot be mounted because it is not of type proc"));
    }
    let target = match file_type(tree)? {
        FileType::Directory => root::directory(stage.root()?, &bind.target)?,
        _ => root::file(stage.root()?, &bind.target)?,
    };
    let target = stage.mountpoint(target, bind.may_cover_proc)?;
    move_mount(tree, target)
}

fn apply_filesystem(stage: &mut Stage<'_>, fs: &Filesystem) -> Result<()> {
    let target = match fs.mountpoint {
        Mountpoint::Directory | Mountpoint::KeepMode => root::directory(stage.root()?, &fs.target)?,
        Mountpoint::Ordinary => ordinary_directory(stage.root()?, &fs.target)?,
    };
    let keep_mode = fs.mountpoint == Mountpoint::KeepMode && target.existed;
    let target = stage.mountpoint(target, fs.may_cover_proc)?;
    let mut data = Buffer::new();
    if keep_mode {
        data.push(b"mode=")?;
        push_octal(&mut data, call("fstat", rustix::fs::fstat(target))?.st_mode)?;
        data.push(b",")?;
    }
    data.push(fs.data.to_bytes())?;
    if fs.is_proc {
        let mount = stage.attach(&fs.fstype, &fs.source, &data, fs.flags, target)?;
        stage.proc = Some(stage.hold(mount));
        return Ok(());
    }
    mount_on(target, &fs.source, &fs.fstype, fs.flags, &data)?;
    if !fs.propagation.is_empty() {
        let mount = stage.open(&fs.target, OFlags::PATH)?;
        fs.propagation.iter().try_for_each(|flags| set_propagation(mount, *flags))?;
    }
    Ok(())
}

/// `mount(2)` on an open directory: by way of the cwd, which is the child's own, so that no path is walked. For a new file
/// system that takes a third of the calls of the mount API of Linux 5.2, which explains failures better: it is asked
/// once something has failed.
fn mount_on(target: Fd, source: &CStr, fstype: &CStr, flags: u64, data: &Buffer) -> Result<()> {
    call("fchdir", rustix::process::fchdir(target))?;
    call("mount", sys::mount(source, c".", fstype, flags, data.as_cstr())).map_err(|fault| {
        let told = fsmount(fstype, source, data, 0).err().map(|explained| explained.note);
        let note = told.filter(|note| !note.as_bytes().is_empty());
        note.map_or(fault.with_note(fstype.to_bytes()), |note| Fault { note, ..fault })
    })
}

/// A detached mount of a new file system. `flags` are `MS_NOSUID`, `MS_NODEV`, `MS_NOEXEC` and `MS_RDONLY`, which have
/// the values of the `MOUNT_ATTR_*` of their names.
fn fsmount(fstype: &CStr, source: &CStr, data: &Buffer, flags: u64) -> Result<OwnedFd> {
    let context = call("fsopen", rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC));
    let context = context.map_err(|fault| fault.with_note(fstype.to_bytes()))?;
    let context = sys::borrow(context.into_raw_fd()); // for the sweep
    let attr = MountAttrFlags::from_bits_retain(u32::try_from(flags).unwrap_or(0));
    let made = call("fsconfig", rustix::mount::fsconfig_set_string(context, c"source", source))
        .and_then(|()| set_options(context, data))
        .and_then(|()| call("fsconfig", rustix::mount::fsconfig_create(context)))
        .and_then(|()| call("fsmount", rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attr)));
    // The kernel leaves messages such as `e tmpfs: Unknown parameter 'bogusopt'` in the context.
    made.map_err(|fault| {
        let mut text = [0u8; 128];
        match rustix::io::read(context, &mut text[..]) {
            Ok(len) => fault.with_note(text.get(2..len).unwrap_or(&[]).trim_ascii()),
            Err(_) => fault,
        }
    })
}

fn set_options(context: Fd, data: &Buffer) -> Result<()> {
    for option in data.as_bytes().split(|b| *b == b',').filter(|option| !option.is_empty()) {
        let equals = option.iter().position(|b| *b == b'=');
        let (key, value) = option.split_at_checked(equals.unwrap_or(option.len())).unwrap_or((option, b""));
        let (key, value) = (Buffer::from(key)?, Buffer::from(value.get(1..).unwrap_or(b""))?);
        let set = match equals {
            Some(_) => rustix::mount::fsconfig_set_string(context, key.as_cstr(), value.as_cstr()),
            None => rustix::mount::fsconfig_set_flag(context, key.as_cstr()),
        };
        call("fsconfig", set)?;
    }
    Ok(())
}

/// The tmpfs has just been made and nobody else can reach it, so names in it are safe to use.
fn apply_cgroup_v1(stage: &mut Stage<'_>, mount: &CgroupV1) -> Result<()> {
    let target = root::directory(stage.root()?, &mount.tmpfs.target)?;
    let target = stage.mountpoint(target, false)?;
    let data = Buffer::from(mount.tmpfs.data.to_bytes())?;
    let tmpfs = stage.attach(&mount.tmpfs.fstype, &mount.tmpfs.source, &data, mount.tmpfs.flags, target)?;
    for hierarchy in &mount.hierarchies {
        let name = hierarchy.name.as_c_str();
        call("mkdirat", rustix::fs::mkdirat(tmpfs, name, Mode::from_raw_mode(0o755)))?;
        match &hierarchy.content {
            HierarchyContent::Own(tree) => {
                let tree = open_tree(stage, tree)?;
                let private = MountPropagationFlags::PRIVATE.bits().into();
                set_attributes(
                    tree,
                    false,
                    MountAttr { set: mount.attr, propagation: private, ..MountAttr::default() },
                )?;
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                call("move_mount", rustix::mount::move_mount(tree, c"", tmpfs, name, flags))?;
            }
            HierarchyContent::Mount(options) => {
                call("fchdir", rustix::process::fchdir(tmpfs))?;
                call("mount", sys::mount(c"cgroup", name, c"cgroup", mount.flags, options))
                    .map_err(|fault| fault.with_note(options.to_bytes()))?;
            }
        }
        for link in &hierarchy.links {
            call("symlinkat", rustix::fs::symlinkat(name, tmpfs, link.as_c_str()))?;
        }
    }
    if mount.attr & readonly().set != 0 { set_attributes(tmpfs, false, readonly()) } else { Ok(()) }
}

/// A mountpoint that must not be reached through a symlink.
fn ordinary_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<Place> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = match root::open_ordinary(root, path, flags) {
        Err(fault) if fault.is(Errno::NOENT) => {
            root::directory(root, path)?;
            root::open_ordinary(root, path, flags)
        }
        result => result,
    };
    match opened {
        Err(fault) if fault.is(Errno::LOOP) || fault.is(Errno::NOTDIR) => Err(fault.with_note(NOT_ORDINARY.as_bytes())),
        result => result.map(|fd| Place { fd, existed: true, straight: true }),
    }
}

/// Four octal digits.
fn push_octal(text: &mut Buffer, mode: u32) -> Result<()> {
    [9, 6, 3, 0].iter().try_for_each(|shift| text.push(&[b'0' + u8::try_from((mode >> shift) & 7).unwrap_or(0)]))
}

fn apply_device(stage: &mut Stage<'_>, device: &Device) -> Result<()> {
    if let Some(tree) = &device.bind {
        let tree = open_tree(stage, tree)?;
        let target = root::file(stage.root()?, &device.path)?;
        return move_mount(tree, stage.lend(target.fd));
    }
    let (dir, name) = stage.parent(&device.path)?;
    let kind = FileType::from_raw_mode(device.mode);
    let made = rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(device.mode & 0o7777), device.rdev);
    let existed = match made {
        Err(Errno::EXIST) => true,
        result => call("mknodat", result).map(|()| false)?,
    };
    if existed || device.uid != 0 || device.gid != 0 {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = stage.lend(call("openat", rustix::fs::openat(dir, name, flags, Mode::empty()))?);
        let stat = call("fstat", rustix::fs::fstat(node))?;
        if FileType::from_raw_mode(stat.st_mode) != kind || (device.rdev != 0 && stat.st_rdev != device.rdev) {
            return Err(Fault::new("mknodat", Errno::EXIST).with_note(b"exists with another type or number"));
        }
        call("fchownat", sys::fchown(node, device.uid, device.gid))?;
    }
    Ok(())
}

fn symlink(stage: &mut Stage<'_>, target: &CStr, path: &CStr) -> Result<()> {
    let (dir, name) = stage.parent(path)?;
    match rustix::fs::symlinkat(target, dir, name) {
        Err(Errno::EXIST) => Ok(()),
        result => call("symlinkat", result),
    }
}

fn ptmx(stage: &mut Stage<'_>) -> Result<()> {
    let (dir, name) = stage.parent(c"/dev/ptmx")?;
    let link = || rustix::fs::symlinkat(c"pts/ptmx", dir, name);
    match link() {
        Err(Errno::EXIST) => {
            call("unlinkat", rustix::fs::unlinkat(dir, name, AtFlags::empty()))?;
            call("symlinkat", link())
        }
        result => call("symlinkat", result),
    }
}

/// `pivot_root(".", ".")` stacks the old root on the new one (pivot_root(2), NOTES), from where it is unmounted. It is a
/// slave or private by now, so nothing of that reaches the host.
fn pivot_root(stage: &Stage<'_>) -> Result<()> {
    call("fchdir", rustix::process::fchdir(stage.root()?))?;
    call("pivot_root", rustix::process::pivot_root(c".", c"."))?;
    call("umount2", rustix::mount::unmount(c".", UnmountFlags::DETACH))?;
    call("chdir", rustix::process::chdir(c"/"))
}

fn file_type(fd: Fd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(call("fstat", rustix::fs::fstat(fd))?.st_mode))
}

fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3)
}

/// A container that could keep the host's `/dev/null` open could change that inode. No symlink is followed and the
/// node is verified (CVE-2026-88265); an image without one keeps what it has.
fn reopen_null(stage: &mut Stage<'_>) -> Result<()> {
    for (number, flags) in [(0, OFlags::RDONLY), (1, OFlags::RDWR), (2, OFlags::RDWR)] {
        let Ok(stat) = rustix::fs::fstat(sys::borrow(number)) else { continue };
        let found = if is_null(&stat) { Stdio::Null } else { Stdio::OwnedBy(stat.st_uid) };
        if let Some(known) = usize::try_from(number).ok().and_then(|n| stage.stdio.get_mut(n)) {
            *known = found;
        }
        if found != Stdio::Null {
            continue;
        }
        let opened = root::open_ordinary(stage.root()?, c"/dev/null", flags | OFlags::NOCTTY | OFlags::NONBLOCK);
        let Ok(null) = opened else { continue };
        let null = stage.lend(null);
        if rustix::fs::fstat(null).is_ok_and(|stat| is_null(&stat)) {
            call("dup3", sys::dup_onto(null, number))?;
        }
    }
    Ok(())
}

fn readonly_path(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
    let Some(target) = open_if_there(stage, path)? else { return Ok(()) };
    let tree = clone_of(stage, target, true)?;
    set_attributes(tree, true, readonly())?;
    move_mount(tree, target)
}

fn open_if_there(stage: &mut Stage<'_>, path: &CStr) -> Result<Option<Fd>> {
    match stage.open(path, OFlags::PATH) {
        Err(fault) if fault.is(Errno::NOENT) || fault.is(Errno::NOTDIR) => Ok(None),
        result => result.map(Some),
    }
}

fn mask(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
    let Some(target) = open_if_there(stage, path)? else { return Ok(()) };
    if file_type(target)? == FileType::Directory {
        return mask_directory(stage, target);
    }
    let null = verified_null(stage)?;
    let tree = clone_of(stage, null, false)?;
    move_mount(tree, target)
}

/// CVE-2025-31133: what is bound over /proc/kcore must be the null device and nothing that a symlink leads to.
fn verified_null(stage: &mut Stage<'_>) -> Result<Fd> {
    const INVALID: &[u8] = b"container's /dev/null is invalid";
    if let Some(null) = stage.null {
        return Ok(null);
    }
    let opened = root::open_ordinary(stage.root()?, c"/dev/null", OFlags::PATH | OFlags::NOFOLLOW);
    let null = stage.lend(opened.map_err(|fault| fault.with_note(INVALID))?);
    if !is_null(&call("fstat", rustix::fs::fstat(null))?) {
        return Err(Fault::new("fstat", Errno::NODEV).with_note(INVALID));
    }
    stage.null = Some(stage.hold(null));
    Ok(null)
}

fn mask_directory(stage: &mut Stage<'_>, target: Fd) -> Result<()> {
    if let Some(empty) = stage.empty {
        let tree = clone_of(stage, empty, false)?;
        return move_mount(tree, target);
    }
    let data = Buffer::from(b"nr_blocks=1,nr_inodes=1,ro")?;
    let mount = stage.attach(c"tmpfs", c"tmpfs", &data, readonly().set, target)?;
    stage.empty = Some(stage.hold(mount)); // attached: dropping it later costs no RCU wait
    Ok(())
}

fn chdir(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
    let entered = stage.open(path, OFlags::PATH | OFlags::DIRECTORY);
    match entered.and_then(|dir| call("fchdir", rustix::process::fchdir(dir))) {
        // A directory that only the user may enter (root squashed by NFS or FUSE).
        Err(fault) if fault.is(Errno::ACCESS) || fault.is(Errno::PERM) => stage.chdir_as_user = true,
        result => result?,
    }
    Ok(())
}

fn drop_bounding(keep: u64) -> Result<()> {
    for cap in 0..u64::from(u64::BITS) {
        if keep & (1 << cap) == 0 {
            match sys::prctl(libc::PR_CAPBSET_DROP, cap, 0) {
                Err(Errno::INVAL) => break, // the kernel's last capability is behind us
                result => call("prctl(PR_CAPBSET_DROP)", result)?,
            };
        }
    }
    Ok(())
}

fn become_user(stage: &Stage<'_>, uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    let loses_capabilities = uid != 0;
    if loses_capabilities {
        call("prctl(PR_SET_KEEPCAPS)", sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0))?;
    }
    for (number, stdio) in (0..).zip(stage.stdio) {
        // So that `> /dev/stderr` works for the user. Refused by read-only or foreign files: of no consequence.
        if !matches!(stdio, Stdio::OwnedBy(owner) if owner == uid) && stdio != Stdio::Null {
            let _ = sys::fchown(sys::borrow(number), uid, u32::MAX);
        }
    }
    if let Some(groups) = groups {
        call("setgroups", sys::setgroups(groups))?;
    }
    call("setresgid", sys::setresgid(gid))?;
    call("setresuid", sys::setresuid(uid))?;
    if loses_capabilities {
        call("prctl(PR_SET_KEEPCAPS)", sys::prctl(libc::PR_SET_KEEPCAPS, 0, 0))?;
    }
    // A created container outlives its `create`. From here to `Ready` nothing blocks, and there init finds out by itself
    // that its parent is gone. Changing the user may have cleared the signal already; now it is sure.
    call("prctl(PR_SET_PDEATHSIG)", sys::prctl(libc::PR_SET_PDEATHSIG, 0, 0)).map(drop)
}

/// What is not permitted and inheritable cannot be raised: the plan has warned of it.
fn raise_ambient(mask: u64) -> Result<()> {
    let ambient = |action: i32, cap: u64| sys::prctl(libc::PR_CAP_AMBIENT, u64::from(action.unsigned_abs()), cap);
    call("prctl(PR_CAP_AMBIENT)", ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0))?;
    for cap in (0..u64::from(u64::BITS)).filter(|cap| mask & (1 << cap) != 0) {
        match ambient(libc::PR_CAP_AMBIENT_RAISE, cap) {
            Err(Errno::PERM) => {}
            result => call("prctl(PR_CAP_AMBIENT)", result).map(drop)?,
        }
    }
    Ok(())
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    call("write", rustix::io::write(fd, bytes)).map(drop)
}

fn write_file(path: &CStr, text: &CStr) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = call("open", rustix::fs::open(path, flags, Mode::empty()))?;
    write(file.as_fd(), text.to_bytes())
}
