//! Does what the plan says: one arm per operation, no decision that a plan could have taken.
//!
//! Runs in the child after `clone3`: no allocation, no lock, no formatting, no panic (`tests/child.rs` proves the first
//! with an allocator that aborts). An operation either succeeds or returns a [`Fault`], which `spawn.rs` reports; what
//! waits for the parent or starts a process (gates, forks, hooks, exec) is in `spawn.rs` as well.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use crate::console;
use crate::fault::{Fault, Result, call};
use crate::mounts::{self, is_null};
use crate::plan::{NEWTIME, Op, Tasks};
use crate::root;
use crate::stage::{Stage, Stdio};
use crate::sys;

/// Does one operation.
#[allow(clippy::too_many_lines)] // one arm per operation
pub(crate) fn apply(stage: &mut Stage<'_>, op: &Op) -> Result<()> {
    match op {
        Op::DropGroups => {
            // The caller's groups count on the host's files, whatever the user namespace (CVE-2023-25173). An ordinary user
            // cannot drop them.
            let _ = sys::setgroups(&[]);
            Ok(())
        }
        Op::BecomeRoot { keep_groups } => become_root(*keep_groups),
        Op::Undumpable => call("prctl", sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)).map(drop),
        Op::Traceable(yes) => call("prctl", sys::prctl(libc::PR_SET_DUMPABLE, u64::from(*yes), 0)).map(drop),
        Op::Unshare(flags) => call("unshare", sys::unshare(*flags)),
        Op::SetNs(slot, kind) => call("setns", sys::setns(stage.take(*slot), *kind)),
        Op::JoinCgroup { tasks, tolerate } => tasks.iter().try_for_each(|tasks| join(stage, tasks, *tolerate)),
        Op::OomScore(score) => write_file(c"/proc/self/oom_score_adj", score),
        Op::TimeOffsets(offsets) => time_offsets(stage, offsets),
        Op::Keyring(name, search) => keyring(name, *search),
        Op::BorrowProc => stage.borrow_proc(),
        Op::LoopbackUp => sys::loopback_up().map_err(|(name, errno)| Fault::new(name, errno)),
        Op::Propagate(flags) | Op::RootPropagation(flags) => propagate(*flags),
        Op::AttachRoot { on, tree, inherit } => mounts::attach_root(stage, on, tree, *inherit),
        Op::OpenRoot(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = stage.lend(call("open", rustix::fs::open(path.as_c_str(), flags, Mode::empty()))?);
            stage.root = Some(stage.hold(root));
            Ok(())
        }
        Op::Bind(bind) => mounts::bind(stage, bind),
        Op::Remount(remount) => mounts::remount(stage, remount),
        Op::Filesystem(fs) => mounts::filesystem(stage, fs),
        Op::CgroupV1(mount) => mounts::cgroup_v1(stage, mount),
        Op::RemountReadonly(path) => {
            let mount = stage.open(path, OFlags::PATH)?;
            mounts::set_attributes(mount, false, mounts::readonly())
        }
        Op::Device(device) => mounts::device(stage, device),
        Op::Symlink(target, path) => mounts::symlink(stage, target, path),
        Op::Ptmx => mounts::ptmx(stage),
        Op::HideHost(path) => mounts::hide_host(path),
        Op::PivotRoot => mounts::pivot_root(stage),
        Op::MoveRoot => mounts::move_root(stage),
        Op::Chroot => mounts::change_root(stage.root()?),
        Op::LeaveMountNamespace(slot) => mounts::leave_namespace(stage, *slot),
        Op::ReopenNull => reopen_null(stage),
        Op::Console(asked) => console::console(stage, asked),
        Op::MakeCwd(path) => {
            let dir = root::directory(stage.root()?, path)?;
            stage.lend(dir.fd);
            Ok(())
        }
        Op::RootReadonly => mounts::set_attributes(stage.root()?, false, mounts::readonly()),
        Op::Umask(mask) => {
            rustix::process::umask(Mode::from_raw_mode(*mask));
            Ok(())
        }
        Op::Hostname(name) => call("sethostname", rustix::system::sethostname(name.to_bytes())),
        Op::Domainname(name) => call("setdomainname", rustix::system::setdomainname(name.to_bytes())),
        Op::OpenProc => stage.proc().map(drop),
        Op::AppArmor(command) => {
            let proc = stage.proc()?;
            let attribute = match root::open_same_mount(proc, c"thread-self/attr/apparmor/exec", OFlags::WRONLY) {
                // Built without a directory per security module: the attribute is the first one's.
                Err(fault) if fault.is(Errno::NOENT) => {
                    root::open_same_mount(proc, c"thread-self/attr/exec", OFlags::WRONLY)
                }
                result => result,
            };
            write_label(stage.lend(attribute?), command)
        }
        Op::ExecLabel(label) => {
            let attribute = root::open_same_mount(stage.proc()?, c"thread-self/attr/exec", OFlags::WRONLY)?;
            write_label(stage.lend(attribute), label)
        }
        Op::KeyLabel(label) => {
            let proc = first_proc()?;
            let attribute = root::open_same_mount(proc.as_fd(), c"thread-self/attr/keycreate", OFlags::WRONLY)?;
            write_label(attribute.as_fd(), label)
        }
        Op::Sysctl(path, value) => {
            let file = root::open_same_mount(stage.proc()?, path, OFlags::WRONLY)?;
            write(stage.lend(file), value.to_bytes())
        }
        Op::Readonly(path) => mounts::readonly_path(stage, path),
        Op::Mask(path, context) => mounts::mask(stage, path, context.as_deref()),
        Op::AllCpus => {
            // Nobody has asked for it in the config: where a sandbox around the runtime forbids the call, its CPUs stay.
            let _ = sys::use_all_cpus();
            Ok(())
        }
        Op::Cpus(mask) => call("sched_setaffinity", sys::use_cpus(mask)),
        Op::NoNewPrivs => call("prctl", sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)).map(drop),
        Op::Scheduler(scheduler) => call("sched_setattr", sys::sched_setattr(scheduler)),
        Op::IoPriority(priority) => call("ioprio_set", sys::ioprio_set(*priority)),
        Op::Personality(domain) => call("personality", sys::personality(*domain)),
        Op::MemoryPolicy(policy) => call("set_mempolicy", sys::set_mempolicy(policy.mode, &policy.nodes)),
        Op::Rlimit(resource, soft, hard) => call("prlimit", sys::setrlimit(*resource, *soft, *hard)),
        Op::Seccomp(filter) => call("seccomp", sys::seccomp(&filter.program, filter.flags)).map(drop),
        Op::Chdir(path) => chdir(stage, path),
        Op::ChdirAsUser(_) => match stage.cwd {
            Some(dir) => call("fchdir", rustix::process::fchdir(dir)),
            None => Ok(()),
        },
        Op::Bounding(keep) => drop_bounding(*keep),
        Op::User { uid, gid, groups, may_keep } => {
            if let Some(groups) = groups {
                set_groups(groups, *may_keep)?;
            }
            become_user(stage, *uid, *gid)
        }
        Op::Capabilities(effective, permitted, inheritable) => {
            call("capset", sys::capset(*effective, *permitted, *inheritable))
        }
        Op::Ambient(mask) => raise_ambient(*mask),
        // Listed, so that an operation that nobody does is no operation that is silently skipped.
        Op::Fork { .. }
        | Op::Gate(_)
        | Op::Hook(_)
        | Op::ArmStart
        | Op::FindProgram
        | Op::Ready
        | Op::AwaitStart(_)
        | Op::CloseFrom(_)
        | Op::Exec { .. } => Err(Fault::plain(b"an operation of spawn.rs reached apply.rs")),
    }
}

fn become_root(keep_groups: bool) -> Result<()> {
    // EPERM: setgroups is denied in this user namespace; then the caller's groups stay, as nobody.
    match if keep_groups { Ok(()) } else { sys::setgroups(&[]) } {
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

/// The procfs of the mount namespace that init starts in. It is the caller's, or that of whoever has made a namespace
/// that is joined; so it has to be the root of a procfs, reached through no symlink.
fn first_proc() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = call("open", rustix::fs::open(c"/", flags, Mode::empty()))?;
    let proc = root::open_ordinary(root.as_fd(), c"/proc", OFlags::PATH | OFlags::DIRECTORY)?;
    let is_procfs = call("fstatfs", rustix::fs::fstatfs(&proc))?.f_type == mounts::PROC_SUPER_MAGIC;
    if is_procfs && call("fstat", rustix::fs::fstat(&proc))?.st_ino == mounts::PROC_ROOT_INO {
        return Ok(proc);
    }
    Err(Fault::plain(b"/proc is not a procfs"))
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

fn chdir(stage: &mut Stage<'_>, path: &CStr) -> Result<()> {
    let dir = stage.open(path, OFlags::PATH | OFlags::DIRECTORY)?;
    match rustix::process::fchdir(dir) {
        // A directory that only the user may enter (root squashed by NFS or FUSE). Kept as it was resolved now: by its
        // path it could be a symlink into /proc/self/fd by then (CVE-2024-21626).
        Err(Errno::ACCESS | Errno::PERM) => stage.cwd = Some(stage.hold(dir)),
        result => call("fchdir", result)?,
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

/// EPERM: denied in a user namespace that was joined. That is well if there is nothing to drop.
fn set_groups(groups: &[u32], may_keep: bool) -> Result<()> {
    match sys::setgroups(groups) {
        Err(Errno::PERM) if groups.is_empty() && (may_keep || sys::group_count() == Ok(0)) => Ok(()),
        result => call("setgroups", result),
    }
}

fn become_user(stage: &Stage<'_>, uid: u32, gid: u32) -> Result<()> {
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
    call("setresgid", sys::setresgid(gid))?;
    call("setresuid", sys::setresuid(uid))?;
    if loses_capabilities {
        call("prctl(PR_SET_KEEPCAPS)", sys::prctl(libc::PR_SET_KEEPCAPS, 0, 0))?;
    }
    // Changing the user has cleared it.
    die_with_parent(true)
}

/// Until init is ready it dies with its parent; from then on it finds out by itself, and after that it is on its own.
pub(crate) fn die_with_parent(yes: bool) -> Result<()> {
    let signal = if yes { libc::SIGKILL.unsigned_abs() } else { 0 };
    call("prctl(PR_SET_PDEATHSIG)", sys::prctl(libc::PR_SET_PDEATHSIG, signal.into(), 0)).map(drop)
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

/// ENOENT is AppArmor's for a profile that is not loaded, EINVAL SELinux's for a label that its policy does not know.
fn write_label(attribute: BorrowedFd<'_>, label: &CStr) -> Result<()> {
    write(attribute, label.to_bytes()).map_err(|fault| fault.with_note(label.to_bytes()))
}

/// `unshare(2)` makes the namespace for children only; entering it closes its offsets for good.
fn time_offsets(stage: &mut Stage<'_>, offsets: &CStr) -> Result<()> {
    call("unshare", sys::unshare(NEWTIME))?;
    if !offsets.is_empty() {
        write_file(c"/proc/self/timens_offsets", offsets)?;
    }
    let path = c"/proc/self/ns/time_for_children";
    let made = call("open", rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))?;
    let made = stage.lend(made);
    call("setns", sys::setns(made, NEWTIME))
}

fn write_file(path: &CStr, text: &CStr) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = call("open", rustix::fs::open(path, flags, Mode::empty()))?;
    write(file.as_fd(), text.to_bytes())
}
