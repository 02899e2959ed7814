//! Mounts, device nodes and masks: the operations that build the container's file tree.
//!
//! A mountpoint is a descriptor that `root.rs` has opened inside the root; no path inside the rootfs reaches a mutating call.
//! Copies of host trees are made and given their attributes while nobody can see them, then moved into place. Child's
//! contract: no allocation, no panic.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use crate::copy_up;
use crate::fault::{Fault, Result, call};
use crate::plan::{
    Bind, CgroupV1, Detached, Device, Filesystem, HierarchyContent, Mountpoint, NEWNS, Remount, Slot, Tree,
};
use crate::root::{self, Buffer, Place};
use crate::stage::{Fd, Stage};
use crate::sys::{self, MountAttr};

pub(crate) const PROC_SUPER_MAGIC: i64 = 0x9fa0;
pub(crate) const PROC_ROOT_INO: u64 = 1;
/// In runc's words, which callers know.
pub(crate) const NOT_ORDINARY: &str = "must be mounted on ordinary directory";
const MS_REC: u64 = 0x4000;
const PERMISSIONS: u32 = 0o7777;
const SET_IDS: u32 = 0o6000;

pub(crate) fn open_tree(stage: &mut Stage<'_>, tree: &Tree) -> Result<Fd> {
    match tree {
        Tree::Inside { path, recursive, .. } => {
            let found = stage.open(path, OFlags::PATH).map_err(|fault| Fault { call: "open_tree", ..fault })?;
            clone_of(stage, found, *recursive)
        }
        Tree::Slot(slot) => Ok(stage.take(*slot)),
        Tree::Path { path, recursive } => {
            let tree = clone_tree(rustix::fs::CWD, path, *recursive)?;
            Ok(stage.lend(tree))
        }
    }
}

/// A copy of the mount that `of` is on, from there on.
pub(crate) fn clone_of(stage: &mut Stage<'_>, of: Fd, recursive: bool) -> Result<Fd> {
    let tree = clone_tree(of, c"", recursive)?;
    Ok(stage.lend(tree))
}

/// A detached copy of the mount tree at a host path.
pub(crate) fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    call("open_tree", rustix::mount::open_tree(dir, path, flags))
}

pub(crate) fn readonly() -> MountAttr {
    MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..MountAttr::default() }
}

pub(crate) fn set_attributes(mount: Fd, recursive: bool, attr: MountAttr) -> Result<()> {
    call("mount_setattr", sys::mount_setattr(mount, recursive, &attr))
}

fn set_propagation(mount: Fd, flags: u64) -> Result<()> {
    if flags == 0 {
        return Ok(());
    }
    let attr = MountAttr { propagation: flags & !MS_REC, ..MountAttr::default() };
    set_attributes(mount, flags & MS_REC != 0, attr)
}

pub(crate) fn move_mount(from: Fd, to: Fd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    call("move_mount", rustix::mount::move_mount(from, c"", to, c"", flags))
}

/// A mount that a user namespace holds locked (mount_namespaces(7)) cannot be taken away, but covered; what is gone with the
/// mount that it lies on is no mount point any more.
pub(crate) fn hide_host(path: &CStr) -> Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => call("mount", rustix::mount::mount(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, None)),
    }
}

/// `MS_MOVE` of the root over "/", for `chroot(2)`.
pub(crate) fn move_root(stage: &Stage<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    call("move_mount", rustix::mount::move_mount(stage.root()?, c"", rustix::fs::CWD, c"/", flags))
}

pub(crate) fn attach_root(stage: &mut Stage<'_>, on: &CStr, tree: &Tree, inherit: u64) -> Result<()> {
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

pub(crate) fn bind(stage: &mut Stage<'_>, bind: &Bind) -> Result<()> {
    let tree = open_tree(stage, &bind.tree)?;
    bind_tree(stage, bind, tree)
}

/// The rest, once there is the copy.
pub(crate) fn bind_tree(stage: &mut Stage<'_>, bind: &Bind, tree: Fd) -> Result<()> {
    set_propagation(tree, bind.inherit)?;
    own_attributes(tree, bind.set, bind.clear, bind.drop)?;
    let attr = MountAttr { set: bind.tree_set, clear: bind.tree_clear, ..MountAttr::default() };
    if attr != MountAttr::default() {
        set_attributes(tree, true, attr).map_err(|fault| locked(fault, tree, attr))?;
    }
    for flags in &bind.propagation {
        set_propagation(tree, *flags)?;
    }
    if bind.must_be_proc && call("fstatfs", rustix::fs::fstatfs(tree))?.f_type != PROC_SUPER_MAGIC {
        return Err(Fault::plain(b"cannot be mounted because it is not of type proc"));
    }
    let kind = file_type(tree)?;
    let target = match kind {
        FileType::Directory => root::directory(stage.root()?, &bind.target)?,
        _ => root::file(stage.root()?, &bind.target)?,
    };
    let target = stage.mountpoint(target, bind.may_cover_proc)?;
    move_mount(tree, target).map_err(|fault| match file_type(target) {
        // A file on a directory: ENOTDIR, as mount(2) says it; move_mount(2) says EINVAL.
        Ok(FileType::Directory) if kind != FileType::Directory => Fault::new("move_mount", Errno::NOTDIR),
        _ => fault,
    })
}

fn own_attributes(mount: Fd, set: u64, clear: u64, drop: u64) -> Result<()> {
    let attr = MountAttr { set, clear: clear | drop, ..MountAttr::default() };
    if attr == MountAttr::default() {
        return Ok(());
    }
    match set_attributes(mount, false, attr) {
        // Flags that a user namespace holds locked stay, unless the config cleared them by name.
        Err(fault) if fault.is(Errno::PERM) && drop != 0 => {
            let attr = MountAttr { clear: clear | drop & !lockable(mount)?, ..attr };
            set_attributes(mount, false, attr).map_err(|fault| locked(fault, mount, attr))
        }
        result => result.map_err(|fault| locked(fault, mount, attr)),
    }
}

/// Flags that a user namespace may hold locked, as statvfs(2) and as mount_setattr(2) have them.
const LOCKABLE: [(StatVfsMountFlags, MountAttrFlags, &[u8]); 4] = [
    (StatVfsMountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY, b" ro"),
    (StatVfsMountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV, b" nodev"),
    (StatVfsMountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID, b" nosuid"),
    (StatVfsMountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC, b" noexec"),
];

/// Those that a mount has, as `MOUNT_ATTR_*`.
fn lockable(mount: Fd) -> Result<u64> {
    let found = call("fstatvfs", rustix::fs::fstatvfs(mount))?.f_flag;
    let has = LOCKABLE.iter().filter(|(flag, ..)| found.contains(*flag));
    Ok(has.fold(0, |bits, (_, attr, _)| bits | u64::from(attr.bits())))
}

/// Says which flags a user namespace may not clear (mount_namespaces(7)), in runc's words. Of mounts below, the one on top
/// is looked at.
fn locked(fault: Fault, mount: Fd, attr: MountAttr) -> Fault {
    let Ok(found) = rustix::fs::fstatvfs(mount) else { return fault };
    if !fault.is(Errno::PERM) {
        return fault;
    }
    let mut text = Buffer::new();
    let clears = |bits: MountAttrFlags| attr.clear & u64::from(bits.bits()) != 0;
    let mut names = LOCKABLE.iter().filter(|(flag, bits, _)| found.f_flag.contains(*flag) && clears(*bits));
    let pushed =
        text.push(b"cannot clear locked flags").and_then(|()| names.try_for_each(|(.., name)| text.push(name)));
    if pushed.is_ok() && text.as_bytes() != b"cannot clear locked flags" {
        return fault.with_note(text.as_bytes());
    }
    let atime = clears(MountAttrFlags::MOUNT_ATTR__ATIME)
        || attr.set & u64::from(MountAttrFlags::MOUNT_ATTR_NODIRATIME.bits()) != 0;
    if atime { fault.with_note(b"cannot change locked atime flags") } else { fault }
}

/// No symlink is followed: an image must not choose which mount gets the options.
pub(crate) fn remount(stage: &mut Stage<'_>, remount: &Remount) -> Result<()> {
    let mount = root::open_ordinary(stage.root()?, &remount.target, OFlags::PATH)?;
    let mount = stage.lend(mount);
    match &remount.superblock {
        Some((flags, data)) => {
            call("fchdir", rustix::process::fchdir(mount))?;
            call("mount", sys::mount(c"", c".", c"", *flags, data))?;
        }
        None => own_attributes(mount, remount.set, remount.clear, remount.drop)?,
    }
    remount.propagation.iter().try_for_each(|flags| set_propagation(mount, *flags))
}

pub(crate) fn filesystem(stage: &mut Stage<'_>, fs: &Filesystem) -> Result<()> {
    let target = match fs.mountpoint {
        Mountpoint::Directory | Mountpoint::KeepMode => root::directory(stage.root()?, &fs.target)?,
        Mountpoint::Ordinary => ordinary_directory(stage.root()?, &fs.target)?,
    };
    let existed = target.existed;
    let keep_mode = fs.mountpoint == Mountpoint::KeepMode && existed;
    let target = stage.mountpoint(target, fs.may_cover_proc)?;
    if let Some(Detached { made: Some(slot), copy_up, .. }) = fs.detached {
        let mount = stage.take(slot);
        if keep_mode {
            set_root_mode(mount, call("fstat", rustix::fs::fstat(target))?.st_mode)?;
        }
        return attach(stage, fs, mount, target, copy_up && existed);
    }
    let mut data = Buffer::new();
    if keep_mode {
        data.push(b"mode=")?;
        push_octal(&mut data, call("fstat", rustix::fs::fstat(target))?.st_mode)?;
        data.push(b",")?;
    }
    data.push(fs.data.to_bytes())?;
    if let Some(Detached { attr, copy_up, .. }) = fs.detached {
        let mount = fsmount(&fs.fstype, &fs.source, &data, attr)?;
        let mount = stage.lend(mount);
        return attach(stage, fs, mount, target, copy_up && existed);
    }
    if fs.is_proc {
        let mount = stage.attach(&fs.fstype, &fs.source, &data, fs.flags, target)?;
        stage.use_proc(mount);
        return Ok(());
    }
    mount_on(target, &fs.source, &fs.fstype, fs.flags, &data)?;
    if let Some(label) = &fs.label {
        let root = stage.open(&fs.target, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let label = label.to_bytes_with_nul();
        call("fsetxattr", rustix::fs::fsetxattr(root, c"security.selinux", label, XattrFlags::empty()))?;
    }
    if !fs.propagation.is_empty() {
        let mount = stage.open(&fs.target, OFlags::PATH)?;
        fs.propagation.iter().try_for_each(|flags| set_propagation(mount, *flags))?;
    }
    Ok(())
}

/// Brings a complete file system to its place.
fn attach(stage: &mut Stage<'_>, fs: &Filesystem, mount: Fd, target: Fd, copy_up: bool) -> Result<()> {
    if copy_up {
        copy_up::copy(stage, target, mount)?;
    }
    move_mount(mount, target)?;
    fs.propagation.iter().try_for_each(|flags| set_propagation(mount, *flags))
}

/// The mode of the root directory of a mount that nobody can see yet.
fn set_root_mode(mount: Fd, mode: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = call("openat", rustix::fs::openat(mount, c".", flags, Mode::empty()))?;
    call("fchmod", rustix::fs::fchmod(&root, Mode::from_raw_mode(mode & 0o7777)))
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

/// A detached mount of a new file system, with these `MOUNT_ATTR_*`. (`MS_NOSUID`, `MS_NODEV`, `MS_NOEXEC` and `MS_RDONLY`
/// have the values of the attributes of their names.)
pub(crate) fn fsmount(fstype: &CStr, source: &CStr, data: &Buffer, attr: u64) -> Result<OwnedFd> {
    let context = fsopen(fstype)?;
    fsmount_of(sys::borrow(context.into_raw_fd()), source, data, attr) // for the sweep
}

/// The context of a new file system.
pub(crate) fn fsopen(fstype: &CStr) -> Result<OwnedFd> {
    let context = call("fsopen", rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC));
    context.map_err(|fault| fault.with_note(fstype.to_bytes()))
}

/// As [`fsmount`], in a given context.
pub(crate) fn fsmount_of(context: BorrowedFd<'_>, source: &CStr, data: &Buffer, attr: u64) -> Result<OwnedFd> {
    let attr = MountAttrFlags::from_bits_retain(u32::try_from(attr).unwrap_or(0));
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

fn set_options(context: BorrowedFd<'_>, data: &Buffer) -> Result<()> {
    let mut rest = data.as_bytes();
    while !rest.is_empty() {
        let (option, after) = first_option(rest);
        rest = after;
        if option.is_empty() {
            continue;
        }
        let equals = option.iter().position(|b| *b == b'=');
        let (key, value) = option.split_at_checked(equals.unwrap_or(option.len())).unwrap_or((option, b""));
        let value = value.get(1..).unwrap_or(b"");
        // The quotes are mount(2)'s, for the commas in between.
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        let (key, value) = (Buffer::from(key)?, Buffer::from(value)?);
        let set = match equals {
            Some(_) => rustix::mount::fsconfig_set_string(context, key.as_cstr(), value.as_cstr()),
            None => rustix::mount::fsconfig_set_flag(context, key.as_cstr()),
        };
        call("fsconfig", set)?;
    }
    Ok(())
}

/// The first option and what is behind it. As in the plan, a comma in quotes or behind a backslash separates nothing.
fn first_option(data: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    let end = data.iter().position(|b| {
        let plain = !escaped;
        escaped = plain && *b == b'\\';
        quoted ^= plain && *b == b'"';
        plain && !quoted && *b == b','
    });
    let (option, rest) = data.split_at_checked(end.unwrap_or(data.len())).unwrap_or((data, b""));
    (option, rest.get(1..).unwrap_or(b""))
}

/// The tmpfs has just been made and nobody else can reach it, so names in it are safe to use.
pub(crate) fn cgroup_v1(stage: &mut Stage<'_>, mount: &CgroupV1) -> Result<()> {
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
    mount.tmpfs.propagation.iter().try_for_each(|flags| set_propagation(tmpfs, *flags))?;
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

pub(crate) fn device(stage: &mut Stage<'_>, device: &Device) -> Result<()> {
    if let Some(tree) = &device.bind {
        return bind_device(stage, device, tree);
    }
    let (dir, name) = stage.parent(&device.path)?;
    let kind = FileType::from_raw_mode(device.mode);
    let made = rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(device.mode & PERMISSIONS), device.rdev);
    let existed = match made {
        Err(Errno::EXIST) => true,
        result => call("mknodat", result).map(|()| false)?,
    };
    if !existed && device.uid == 0 && device.gid == 0 {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = stage.lend(call("openat", rustix::fs::openat(dir, name, flags, Mode::empty()))?);
    let found = call("fstat", rustix::fs::fstat(node))?;
    if !is_asked_for(&found, device) {
        return Err(Fault::new("mknodat", Errno::EXIST).with_note(b"exists with another type or number"));
    }
    // What need not be changed is left alone: a devtmpfs is the host's.
    if existed && device.is_default {
        return Ok(());
    }
    let mut mode = found.st_mode & PERMISSIONS;
    if (found.st_uid, found.st_gid) != (device.uid, device.gid) {
        call("fchownat", sys::fchown(node, device.uid, device.gid))?;
        mode &= !SET_IDS; // as chown(2) does
    }
    if mode == device.mode & PERMISSIONS { Ok(()) } else { set_node_mode(stage, node, device.mode) }
}

/// `mknod(2)` is not for user namespaces: the host's node, which has its own owner and mode, is put there. It must be the
/// one that the config describes, whatever the host has at this path.
fn bind_device(stage: &mut Stage<'_>, device: &Device, tree: &Tree) -> Result<()> {
    let tree = open_tree(stage, tree)?;
    if !is_asked_for(&call("fstat", rustix::fs::fstat(tree))?, device) {
        return Err(Fault::plain(b"the host has something of another type or number there"));
    }
    let target = root::file(stage.root()?, &device.path)?;
    let target = stage.mountpoint(target, false)?;
    move_mount(tree, target)
}

fn is_asked_for(found: &rustix::fs::Stat, device: &Device) -> bool {
    let kind = FileType::from_raw_mode(device.mode);
    FileType::from_raw_mode(found.st_mode) == kind && (kind == FileType::Fifo || found.st_rdev == device.rdev)
}

/// `chmod(2)` of an `O_PATH` descriptor by its link in our own procfs, since `fchmodat2(2)` is of Linux 6.6. By its name it
/// could be another file by now.
fn set_node_mode(stage: &mut Stage<'_>, node: Fd, mode: u32) -> Result<()> {
    let links = root::open_same_mount(stage.proc()?, c"self/fd", OFlags::PATH | OFlags::DIRECTORY)?;
    let links = stage.lend(links);
    let mut name = Buffer::new();
    name.push_number(node.as_raw_fd().unsigned_abs())?;
    let mode = Mode::from_raw_mode(mode & PERMISSIONS);
    call("fchmodat", rustix::fs::chmodat(links, name.as_cstr(), mode, AtFlags::empty()))
}

pub(crate) fn symlink(stage: &mut Stage<'_>, target: &CStr, path: &CStr) -> Result<()> {
    let (dir, name) = stage.parent(path)?;
    match rustix::fs::symlinkat(target, dir, name) {
        Err(Errno::EXIST) => Ok(()),
        result => call("symlinkat", result),
    }
}

pub(crate) fn ptmx(stage: &mut Stage<'_>) -> Result<()> {
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
pub(crate) fn pivot_root(stage: &Stage<'_>) -> Result<()> {
    call("fchdir", rustix::process::fchdir(stage.root()?))?;
    call("pivot_root", rustix::process::pivot_root(c".", c"."))?;
    call("umount2", rustix::mount::unmount(c".", UnmountFlags::DETACH))?;
    call("chdir", rustix::process::chdir(c"/"))
}

pub(crate) fn change_root(to: Fd) -> Result<()> {
    call("fchdir", rustix::process::fchdir(to))?;
    call("chroot", rustix::process::chroot(c"."))
}

/// With the namespace that is left its mounts go. Those of the copy stay together, although they are unmounted as soon as its
/// descriptor is closed: so does the kernel keep what was never attached anywhere.
pub(crate) fn leave_namespace(stage: &mut Stage<'_>, to: Slot) -> Result<()> {
    let copy = clone_of(stage, stage.root()?, true)?;
    call("setns", sys::setns(stage.take(to), NEWNS))?;
    change_root(copy)?;
    stage.use_root(copy);
    Ok(())
}

pub(crate) fn readonly_path(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
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

pub(crate) fn mask(stage: &mut Stage<'_>, path: &CStr, context: Option<&CStr>) -> Result<()> {
    let Some(target) = open_if_there(stage, path)? else { return Ok(()) };
    if file_type(target)? == FileType::Directory {
        return mask_directory(stage, target, context);
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

fn mask_directory(stage: &mut Stage<'_>, target: Fd, context: Option<&CStr>) -> Result<()> {
    if let Some(empty) = stage.empty {
        let tree = clone_of(stage, empty, false)?;
        return move_mount(tree, target);
    }
    let mut data = Buffer::from(b"nr_blocks=1,nr_inodes=1,ro,")?;
    data.push(context.map_or(b"", CStr::to_bytes))?;
    let mount = stage.attach(c"tmpfs", c"tmpfs", &data, readonly().set, target)?;
    stage.empty = Some(stage.hold(mount)); // attached: dropping it later costs no RCU wait
    Ok(())
}

fn file_type(fd: Fd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(call("fstat", rustix::fs::fstat(fd))?.st_mode))
}

pub(crate) fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_mount_does() {
        let table: [(&[u8], &[u8], &[u8]); 6] = [
            (b"a=b,c", b"a=b", b"c"),
            (b"a", b"a", b""),
            (b",a", b"", b"a"),
            (b"context=\"u:r:t:c1,c2\",x", b"context=\"u:r:t:c1,c2\"", b"x"),
            (b"lowerdir=/a\\,b:/c,d", b"lowerdir=/a\\,b:/c", b"d"),
            (b"a=\\\\,b", b"a=\\\\", b"b"),
        ];
        for (data, option, rest) in table {
            assert_eq!(first_option(data), (option, rest), "{}", String::from_utf8_lossy(data));
        }
    }
}
