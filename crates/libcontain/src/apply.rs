//! Does what the plan says: one arm per operation, no decision that a plan could have taken.
//!
//! Runs in the child after `clone3`: no allocation, no lock, no formatting, no panic (`tests/child.rs` proves the first
//! with an allocator that aborts). An operation either succeeds or returns a [`Fault`], which `spawn.rs` reports; what
//! waits for the parent or starts a process (gates, forks, hooks, exec) is in `spawn.rs` as well.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::fault::{Fault, Result, call};
use crate::plan::{Bind, Device, Filesystem, Mountpoint, Op, Param, Slot, Tree};
use crate::root::{self, Buffer};
use crate::sys::{self, MountAttr};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// In runc's words, which callers know.
pub(crate) const NOT_ORDINARY: &str = "must be mounted on ordinary directory";
const MS_REC: u64 = 0x4000;

/// What the steps done so far leave to the later ones.
pub(crate) struct Stage<'a> {
    /// The descriptors of the plan's needs.
    pub fds: &'a [RawFd],
    root: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    /// The container's `/dev/null`, verified.
    null: Option<OwnedFd>,
    /// A read-only, empty tmpfs that hides directories: one superblock for all of them (runc#5275).
    empty: Option<OwnedFd>,
    /// `process.cwd` was not to be entered as root.
    chdir_as_user: bool,
}

impl<'a> Stage<'a> {
    pub fn new(fds: &'a [RawFd]) -> Self {
        Stage { fds, root: None, proc: None, null: None, empty: None, chdir_as_user: false }
    }

    /// The number behind a slot.
    pub fn fd(&self, slot: Slot) -> RawFd {
        self.fds.get(slot.0).copied().unwrap_or(-1)
    }

    /// A slot's descriptor, to be closed after use: what refers to the host must not outlive its step.
    pub fn take(&self, slot: Slot) -> Result<OwnedFd> {
        sys::own(self.fd(slot)).ok_or(Fault::new("open", Errno::BADF))
    }

    /// Makes the rootfs the cwd.
    pub fn enter_rootfs(&self) -> Result<()> {
        call("fchdir", rustix::process::fchdir(self.root()?))
    }

    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Fault::new("openat2", Errno::BADF))
    }

    /// A procfs of the container's pid namespace: the one just mounted on /proc, reached by its descriptor and not by a
    /// path that something could cover, or one of our own.
    pub fn proc(&mut self) -> Result<BorrowedFd<'_>> {
        if self.proc.is_none() {
            let context = call("fsopen", rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC))?;
            self.proc = Some(fsmount(&context, &[], 0)?);
        }
        self.proc.as_ref().map(AsFd::as_fd).ok_or(Fault::new("fsopen", Errno::BADF))
    }
}

/// Does one operation.
pub(crate) fn apply(stage: &mut Stage<'_>, op: &Op) -> Result<()> {
    match op {
        Op::BecomeRoot => become_root(),
        Op::Undumpable => call("prctl", sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)).map(drop),
        Op::Unshare(flags) => call("unshare", sys::unshare(*flags)),
        Op::SetNs(slot, kind) => call("setns", sys::setns(stage.take(*slot)?.as_fd(), *kind)),
        Op::JoinCgroup(slots) => slots.iter().try_for_each(|slot| write(stage.take(*slot)?.as_fd(), b"0")),
        Op::OomScore(score) => write_file(c"/proc/self/oom_score_adj", score),
        Op::Keyring(name, search) => keyring(name, *search),
        Op::LoopbackUp => sys::loopback_up().map_err(|(name, errno)| Fault::new(name, errno)),
        Op::Propagate(flags) | Op::RootPropagation(flags) => propagate(*flags),
        Op::AttachRoot { on, tree, inherit } => attach_root(stage, on, tree, *inherit),
        Op::OpenRoot(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            stage.root = Some(call("open", rustix::fs::open(path.as_c_str(), flags, Mode::empty()))?);
            Ok(())
        }
        Op::Bind(bind) => apply_bind(stage, bind),
        Op::Filesystem(fs) => apply_filesystem(stage, fs),
        Op::RemountReadonly(path) => {
            let mount = root::open(stage.root()?, path, OFlags::PATH)?;
            set_attributes(mount.as_fd(), false, readonly())
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
        Op::MakeCwd(path) => root::directory(stage.root()?, path).map(drop),
        Op::RootReadonly => set_attributes(stage.root()?, false, readonly()),
        Op::Umask(mask) => {
            rustix::process::umask(Mode::from_raw_mode(*mask));
            Ok(())
        }
        Op::Hostname(name) => call("sethostname", rustix::system::sethostname(name.to_bytes())),
        Op::Domainname(name) => call("setdomainname", rustix::system::setdomainname(name.to_bytes())),
        Op::Sysctl(path, value) => {
            let file = root::open_same_mount(stage.proc()?, path, OFlags::WRONLY)?;
            write(file.as_fd(), value.to_bytes())
        }
        Op::Readonly(path) => readonly_path(stage, path),
        Op::Mask(path) => mask(stage, path),
        Op::NoNewPrivs => call("prctl", sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)).map(drop),
        Op::Rlimit(resource, soft, hard) => call("prlimit", sys::setrlimit(*resource, *soft, *hard)),
        Op::Seccomp(filter) => call("seccomp", sys::seccomp(&filter.program, filter.flags)),
        Op::Chdir(path) => chdir(stage, path),
        Op::ChdirAsUser(path) if stage.chdir_as_user => call("chdir", rustix::process::chdir(path.as_c_str())),
        Op::Bounding(keep) => drop_bounding(*keep),
        Op::User { uid, gid, groups } => become_user(*uid, *gid, groups.as_deref()),
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

fn open_tree(stage: &Stage<'_>, tree: &Tree) -> Result<OwnedFd> {
    match tree {
        Tree::Slot(slot) => stage.take(*slot),
        Tree::Path { path, recursive } => clone_tree(rustix::fs::CWD, path, *recursive),
    }
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

fn set_attributes(mount: BorrowedFd<'_>, recursive: bool, attr: MountAttr) -> Result<()> {
    call("mount_setattr", sys::mount_setattr(mount, recursive, &attr))
}

fn set_propagation(mount: BorrowedFd<'_>, flags: u64) -> Result<()> {
    if flags == 0 {
        return Ok(());
    }
    let attr = MountAttr { propagation: flags & !MS_REC, ..MountAttr::default() };
    set_attributes(mount, flags & MS_REC != 0, attr)
}

fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    call("move_mount", rustix::mount::move_mount(from, c"", to, c"", flags))
}

fn attach_root(stage: &mut Stage<'_>, on: &CStr, tree: &Tree, inherit: u64) -> Result<()> {
    let tree = open_tree(stage, tree)?;
    if file_type(tree.as_fd())? != FileType::Directory {
        return Err(Fault::new("open_tree", Errno::NOTDIR));
    }
    set_propagation(tree.as_fd(), inherit)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    call("move_mount", rustix::mount::move_mount(&tree, c"", rustix::fs::CWD, on, flags))?;
    stage.root = Some(tree);
    Ok(())
}

fn apply_bind(stage: &mut Stage<'_>, bind: &Bind) -> Result<()> {
    let tree = open_tree(stage, &bind.tree)?;
    set_propagation(tree.as_fd(), bind.inherit)?;
    let attr = MountAttr { set: bind.set, clear: bind.clear | bind.drop, ..MountAttr::default() };
    if attr != MountAttr::default() {
        match set_attributes(tree.as_fd(), false, attr) {
            // Flags that a user namespace holds locked stay, unless the config cleared them by name.
            Err(fault) if fault.is(Errno::PERM) && bind.drop != 0 => {
                set_attributes(tree.as_fd(), false, MountAttr { clear: bind.clear, ..attr })?;
            }
            result => result?,
        }
    }
    for flags in &bind.propagation {
        set_propagation(tree.as_fd(), *flags)?;
    }
    let target = if file_type(tree.as_fd())? == FileType::Directory {
        root::directory(stage.root()?, &bind.target)?.0
    } else {
        root::file(stage.root()?, &bind.target)?
    };
    refuse_proc(target.as_fd(), bind.may_cover_proc)?;
    move_mount(tree.as_fd(), target.as_fd())
}

/// Nothing may cover a part of procfs through which the kernel is told what to do (CVE-2019-16884, CVE-2025-52881).
fn refuse_proc(target: BorrowedFd<'_>, allowed: bool) -> Result<()> {
    if allowed {
        return Ok(());
    }
    let stat = call("fstatfs", rustix::fs::fstatfs(target))?;
    if stat.f_type == PROC_SUPER_MAGIC {
        return Err(Fault::new("", Errno::PERM).with_note(b"cannot be mounted because it is inside /proc"));
    }
    Ok(())
}

fn apply_filesystem(stage: &mut Stage<'_>, fs: &Filesystem) -> Result<()> {
    let (target, keep_mode) = match fs.mountpoint {
        Mountpoint::Directory => (root::directory(stage.root()?, &fs.target)?.0, false),
        Mountpoint::KeepMode => root::directory(stage.root()?, &fs.target)?,
        Mountpoint::Ordinary => (ordinary_directory(stage.root()?, &fs.target)?, false),
    };
    refuse_proc(target.as_fd(), fs.may_cover_proc)?;
    let context = call("fsopen", rustix::mount::fsopen(fs.fstype.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC))
        .map_err(|fault| fault.with_note(fs.fstype.to_bytes()))?;
    if keep_mode {
        let mode = mode_text(target.as_fd())?;
        let set = rustix::mount::fsconfig_set_string(&context, c"mode", mode.as_cstr());
        explain(&context, call("fsconfig", set))?;
    }
    let mount = fsmount(&context, &fs.params, fs.attr)?;
    for flags in &fs.propagation {
        set_propagation(mount.as_fd(), *flags)?;
    }
    move_mount(mount.as_fd(), target.as_fd())?;
    if fs.is_proc {
        stage.proc = Some(mount);
    }
    Ok(())
}

/// A mountpoint that must not be reached through a symlink.
fn ordinary_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = match root::open_ordinary(root, path, flags) {
        Err(fault) if fault.is(Errno::NOENT) => {
            root::directory(root, path)?;
            root::open_ordinary(root, path, flags)
        }
        result => result,
    };
    match opened {
        Err(fault) if fault.is(Errno::LOOP) || fault.is(Errno::NOTDIR) => {
            Err(fault.with_note(NOT_ORDINARY.as_bytes()))
        }
        result => result,
    }
}

fn mode_text(dir: BorrowedFd<'_>) -> Result<Buffer> {
    let mode = call("fstat", rustix::fs::fstat(dir))?.st_mode;
    let mut text = Buffer::new();
    for shift in [9, 6, 3, 0] {
        text.push(&[b'0' + u8::try_from((mode >> shift) & 7).unwrap_or(0)])?;
    }
    Ok(text)
}

fn fsmount(context: &OwnedFd, params: &[Param], attr: u64) -> Result<OwnedFd> {
    for Param { key, value } in params {
        let set = match value {
            Some(value) => rustix::mount::fsconfig_set_string(context, key.as_c_str(), value.as_c_str()),
            None => rustix::mount::fsconfig_set_flag(context, key.as_c_str()),
        };
        let set = call("fsconfig", set).map_err(|fault| fault.with_note(key.to_bytes()));
        explain(context, set)?;
    }
    explain(context, call("fsconfig", rustix::mount::fsconfig_create(context)))?;
    let attr = MountAttrFlags::from_bits_retain(u32::try_from(attr).unwrap_or(0));
    explain(context, call("fsmount", rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attr)))
}

/// Adds what the kernel has to say: it leaves messages such as `e tmpfs: Unknown parameter 'bogusopt'` in the context.
fn explain<T>(context: &OwnedFd, result: Result<T>) -> Result<T> {
    result.map_err(|fault| {
        let mut text = [0u8; 128];
        match rustix::io::read(context, &mut text[..]) {
            Ok(len) => fault.with_note(text.get(2..len).unwrap_or(&[]).trim_ascii()),
            Err(_) => fault,
        }
    })
}

fn apply_device(stage: &mut Stage<'_>, device: &Device) -> Result<()> {
    if let Some(tree) = &device.bind {
        let tree = open_tree(stage, tree)?;
        let target = root::file(stage.root()?, &device.path)?;
        return move_mount(tree.as_fd(), target.as_fd());
    }
    let (dir, name) = root::parent(stage.root()?, &device.path)?;
    let kind = FileType::from_raw_mode(device.mode);
    let made = rustix::fs::mknodat(&dir, name, kind, Mode::from_raw_mode(device.mode & 0o7777), device.rdev);
    let existed = match made {
        Err(Errno::EXIST) => true,
        result => call("mknodat", result).map(|()| false)?,
    };
    if existed || device.uid != 0 || device.gid != 0 {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = call("openat", rustix::fs::openat(&dir, name, flags, Mode::empty()))?;
        let stat = call("fstat", rustix::fs::fstat(&node))?;
        if FileType::from_raw_mode(stat.st_mode) != kind || (device.rdev != 0 && stat.st_rdev != device.rdev) {
            return Err(Fault::new("mknodat", Errno::EXIST).with_note(b"exists with another type or number"));
        }
        call("fchownat", sys::fchown(node.as_fd(), device.uid, device.gid))?;
    }
    Ok(())
}

fn symlink(stage: &Stage<'_>, target: &CStr, path: &CStr) -> Result<()> {
    let (dir, name) = root::parent(stage.root()?, path)?;
    match rustix::fs::symlinkat(target, &dir, name) {
        Err(Errno::EXIST) => Ok(()),
        result => call("symlinkat", result),
    }
}

fn ptmx(stage: &Stage<'_>) -> Result<()> {
    let (dir, name) = root::parent(stage.root()?, c"/dev/ptmx")?;
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        result => call("unlinkat", result)?,
    }
    call("symlinkat", rustix::fs::symlinkat(c"pts/ptmx", &dir, name))
}

/// `pivot_root(".", ".")` stacks the old root on the new one (pivot_root(2), NOTES), from where it is unmounted. It is a
/// slave or private by now, so nothing of that reaches the host.
fn pivot_root(stage: &Stage<'_>) -> Result<()> {
    call("fchdir", rustix::process::fchdir(stage.root()?))?;
    call("pivot_root", rustix::process::pivot_root(c".", c"."))?;
    call("umount2", rustix::mount::unmount(c".", UnmountFlags::DETACH))?;
    call("chdir", rustix::process::chdir(c"/"))
}

fn file_type(fd: BorrowedFd<'_>) -> Result<FileType> {
    Ok(FileType::from_raw_mode(call("fstat", rustix::fs::fstat(fd))?.st_mode))
}

fn is_null(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// A container that could keep the host's `/dev/null` open could change that inode. No symlink is followed and the
/// node is verified (CVE-2026-88265); an image without one keeps what it has.
fn reopen_null(stage: &Stage<'_>) -> Result<()> {
    for (number, flags) in [(0, OFlags::RDONLY), (1, OFlags::RDWR), (2, OFlags::RDWR)] {
        if !is_null(sys::borrow(number)) {
            continue;
        }
        let opened = root::open_ordinary(stage.root()?, c"/dev/null", flags | OFlags::NOCTTY | OFlags::NONBLOCK);
        let Ok(null) = opened else { continue };
        if is_null(null.as_fd()) {
            call("dup3", sys::dup_onto(null.as_fd(), number))?;
        }
    }
    Ok(())
}

fn readonly_path(stage: &Stage<'_>, path: &CStr) -> Result<()> {
    let Some(target) = open_if_there(stage, path)? else { return Ok(()) };
    let tree = clone_tree(target.as_fd(), c"", true)?;
    set_attributes(tree.as_fd(), true, readonly())?;
    move_mount(tree.as_fd(), target.as_fd())
}

fn open_if_there(stage: &Stage<'_>, path: &CStr) -> Result<Option<OwnedFd>> {
    match root::open(stage.root()?, path, OFlags::PATH) {
        Err(fault) if fault.is(Errno::NOENT) || fault.is(Errno::NOTDIR) => Ok(None),
        result => result.map(Some),
    }
}

fn mask(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
    let Some(target) = open_if_there(stage, path)? else { return Ok(()) };
    if file_type(target.as_fd())? == FileType::Directory {
        return mask_directory(stage, target.as_fd());
    }
    if stage.null.is_none() {
        // CVE-2025-31133: what is bound over /proc/kcore must be the null device and nothing that a symlink leads to.
        let null = root::open_ordinary(stage.root()?, c"/dev/null", OFlags::PATH | OFlags::NOFOLLOW)
            .map_err(|fault| fault.with_note(b"container's /dev/null is invalid"))?;
        if !is_null(null.as_fd()) {
            return Err(Fault::new("fstat", Errno::NODEV).with_note(b"container's /dev/null is invalid"));
        }
        stage.null = Some(null);
    }
    let null = stage.null.as_ref().map(AsFd::as_fd).ok_or(Fault::new("openat2", Errno::BADF))?;
    let tree = clone_tree(null, c"", false)?;
    move_mount(tree.as_fd(), target.as_fd())
}

fn mask_directory(stage: &mut Stage<'_>, target: BorrowedFd<'_>) -> Result<()> {
    if let Some(empty) = &stage.empty {
        let tree = clone_tree(empty.as_fd(), c"", false)?;
        return move_mount(tree.as_fd(), target);
    }
    let context = call("fsopen", rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC))?;
    for (key, value) in [(c"source", c"tmpfs"), (c"nr_blocks", c"1"), (c"nr_inodes", c"1")] {
        explain(&context, call("fsconfig", rustix::mount::fsconfig_set_string(&context, key, value)))?;
    }
    explain(&context, call("fsconfig", rustix::mount::fsconfig_set_flag(&context, c"ro")))?;
    let mount = fsmount(&context, &[], readonly().set)?;
    move_mount(mount.as_fd(), target)?;
    stage.empty = Some(mount); // attached: dropping it later costs no RCU wait
    Ok(())
}

fn chdir(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
    let entered = root::open(stage.root()?, path, OFlags::PATH | OFlags::DIRECTORY)
        .and_then(|dir| call("fchdir", rustix::process::fchdir(dir)));
    match entered {
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

fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    call("prctl(PR_SET_KEEPCAPS)", sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0))?;
    for number in 0..3 {
        let fd = sys::borrow(number);
        // So that `> /dev/stderr` works for the user. Refused by read-only or foreign files: of no consequence.
        if !is_null(fd) && rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_uid != uid) {
            let _ = sys::fchown(fd, uid, u32::MAX);
        }
    }
    if let Some(groups) = groups {
        call("setgroups", sys::setgroups(groups))?;
    }
    call("setresgid", sys::setresgid(gid))?;
    call("setresuid", sys::setresuid(uid))?;
    call("prctl(PR_SET_KEEPCAPS)", sys::prctl(libc::PR_SET_KEEPCAPS, 0, 0))?;
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
