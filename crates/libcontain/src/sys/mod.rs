//! Thin, safe wrappers over the system calls that rustix does not have.
//!
//! One of the two rooms that may hold `unsafe` (the other is `spawn.rs`). One function per call, safe signature,
//! and a `SAFETY` comment that says which kernel contract makes it sound. Everything here may run in the child
//! after `clone3`: no allocation, no lock, no formatting, no panic. Decisions do not belong here.
#![allow(unsafe_code)]

pub(crate) mod ask;
pub(crate) mod bpf;

use std::ffi::{CStr, CString, c_char, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::process::{WaitId, WaitIdOptions};

use crate::plan::seccomp::Insn;
use crate::plan::tuning::Scheduler;

fn check(ret: c_long) -> Result<c_long> {
    if ret >= 0 {
        return Ok(ret);
    }
    // SAFETY: __errno_location returns a valid pointer to this thread's errno; it neither allocates nor locks.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}

/// `struct clone_args` of `clone3(2)`, version 2 (Linux 5.7, with `cgroup`).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}
const _: () = assert!(size_of::<CloneArgs>() == 88);

/// `clone3(2)` without `CLONE_VM`: the child is a copy, as after `fork(2)`. `Ok(0)` is the child.
///
/// # Safety
/// In the child, only async-signal-safe calls are allowed until `execve` or `_exit`: another thread of the
/// caller may have held any lock (malloc's, stdio's) at the moment of the copy.
pub(crate) unsafe fn clone3(args: &CloneArgs) -> Result<u32> {
    // SAFETY: the kernel reads `args` (size given) and writes the pidfd to the address in it, which `spawn`
    // points at a live i32. Without CLONE_VM no memory is shared with the child.
    let ret = check(unsafe { libc::syscall(libc::SYS_clone3, args, size_of::<CloneArgs>()) })?;
    Ok(u32::try_from(ret).unwrap_or(0))
}

/// `clone(2)` without `CLONE_VM`, on a copy of this stack: where `clone3` is refused, by seccomp profiles of containers
/// or by one around the runtime. The lowest byte of `flags` is the exit signal.
///
/// # Safety
/// As [`clone3`].
pub(crate) unsafe fn clone(flags: u64, pidfd: &mut RawFd) -> Result<u32> {
    // SAFETY: no new stack, so the child runs on its copy of this one; the kernel writes the pidfd to a live i32, if
    // CLONE_PIDFD asks for it.
    let ret = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut *pidfd, 0usize, 0usize) })?;
    Ok(u32::try_from(ret).unwrap_or(0))
}

/// `clone(2)` as `fork(2)` with a pidfd, for hooks.
///
/// # Safety
/// As [`clone3`].
pub(crate) unsafe fn fork(pidfd: &mut RawFd) -> Result<u32> {
    // SAFETY: the caller's promise.
    unsafe { clone(u64::try_from(libc::CLONE_PIDFD | libc::SIGCHLD).unwrap_or(0), pidfd) }
}

/// A process in a user namespace of its own, which has ended by the time it is looked at: it stays a zombie until it is
/// reaped, and the files of a zombie in procfs still lead to its user namespace.
pub(crate) fn zombie_in_user_namespace() -> Result<(u32, OwnedFd)> {
    // SAFETY: nothing is called.
    unsafe { short_process(libc::CLONE_NEWUSER, || 0) }
}

/// A process in a user and a mount namespace of its own puts the latter in the place of the descriptor `namespace`, and its
/// root directory in that of `root`. It ends with an errno, or 0.
pub(crate) fn process_with_mounts(namespace: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(u32, OwnedFd)> {
    let replace = |path: &CStr, flags: i32, fd: BorrowedFd<'_>| {
        // SAFETY: the path is NUL-terminated. The number that is replaced is borrowed, and stays open.
        unsafe {
            let opened =
                check(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags | libc::O_CLOEXEC))?;
            let replaced = check(libc::syscall(libc::SYS_dup3, opened, fd.as_raw_fd(), libc::O_CLOEXEC));
            libc::syscall(libc::SYS_close, opened);
            replaced.map(drop)
        }
    };
    let body = || {
        let both = replace(c"/proc/self/ns/mnt", libc::O_RDONLY, namespace)
            .and_then(|()| replace(c"/", libc::O_PATH | libc::O_DIRECTORY, root));
        both.err().map_or(0, Errno::raw_os_error)
    };
    // SAFETY: system calls only. What the process opens is the caller's, and it closes it.
    unsafe { short_process(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_FILES, body) }
}

/// A process that ends with what `body` returns. It has no exit signal, so that its end is no news to the caller, and is
/// waited for with `__WALL`.
///
/// # Safety
/// `body` does what a child may do after [`clone3`], and nothing to descriptors that others own.
unsafe fn short_process(flags: i32, body: impl FnOnce() -> i32) -> Result<(u32, OwnedFd)> {
    let flags = u64::try_from(libc::CLONE_PIDFD | flags).unwrap_or(0);
    let mut pidfd: RawFd = -1;
    let mask = set_signal_mask(u64::MAX)?; // no handler of the caller's runs in it
    // SAFETY: the caller's promise.
    let cloned = unsafe { clone(flags, &mut pidfd) };
    if cloned == Ok(0) {
        exit(body());
    }
    set_signal_mask(mask)?;
    let pid = cloned?;
    // SAFETY: the kernel has just stored the descriptor of the pidfd there, and it is nobody else's.
    let pidfd = unsafe { own(pidfd) }.ok_or(Errno::BADF)?;
    Ok((pid, pidfd))
}

/// Reaps one of these, and says what it has ended with, unless it was by a signal.
pub(crate) fn wait_for_short_process(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let wall = WaitIdOptions::from_bits_retain(libc::__WALL.unsigned_abs());
    let wait = || rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | wall);
    Ok(rustix::io::retry_on_intr(wait)?.and_then(|status| status.exit_status()))
}

/// `pidfd_send_signal(2)` with any number: what is no signal is the kernel's to refuse.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo makes the kernel fill in its own.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0usize, 0) }).map(drop)
}

/// `kill(2)` of one process with any number.
pub(crate) fn kill(pid: rustix::process::Pid, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_kill, pid.as_raw_nonzero().get(), signal) }).map(drop)
}

/// `dup3(2)` onto a number of the caller's choice, without close-on-exec.
pub(crate) fn dup_onto(fd: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    // SAFETY: no memory is passed. The number replaced (0, 1 or 2) is owned by nobody in the child.
    check(unsafe { libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), number, 0) }).map(drop)
}

/// Wraps a descriptor that the kernel has stored, if it has.
///
/// # Safety
/// A number that is not negative is an open descriptor that nobody else owns.
pub(crate) unsafe fn own(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: the caller's promise.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Borrows a descriptor by number: the child knows its inherited descriptors by number only. A number that is not open
/// makes the call that uses it fail with EBADF.
pub(crate) fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    let number = if fd < 0 { RawFd::MAX } else { fd };
    // SAFETY: not -1, which is the one value that the type forbids. No memory depends on the descriptor, and the child
    // closes none that it still uses.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Starts a program with a signal mask of its own, since the caller's thread may have blocked every signal for a signalfd,
/// and with no descriptor but stdin, stdout and stderr: others that are not close-on-exec are the container's.
pub(crate) fn spawn_cleanly(command: &mut std::process::Command, mask: u64) -> std::io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    let prepare = move || {
        let _ = close_on_exec(3, u32::MAX); // a kernel or filter without it makes no containers, but deletes them
        set_signal_mask(mask).map(drop)
    };
    // SAFETY: the closure makes two system calls and touches nothing else, as is demanded between fork and exec.
    unsafe { command.pre_exec(move || prepare().map_err(std::io::Error::from)) };
    command.spawn()
}

/// `close_range(2)` with `CLOSE_RANGE_CLOEXEC`, Linux 5.11: closes nothing before `execve(2)`.
fn close_on_exec(first: u32, last: u32) -> Result<()> {
    // SAFETY: sets a flag of descriptors; no memory is passed, and none is closed while it is in use.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Puts SIGCHLD back to its default action. For `main` of a program whose caller may have ignored it: the kernel reaps
/// children of such a process by itself, and their exit statuses are lost.
pub fn keep_child_statuses() {
    let _ = default_signal(libc::SIGCHLD);
}

/// `close_range(2)`, Linux 5.9.
pub(crate) fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: closes descriptors of the child, which uses none of these numbers again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// User namespace for `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}

/// `MOUNT_ATTR_IDMAP`; Linux 5.12.
pub(crate) const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

const _: () = assert!(size_of::<MountAttr>() == 32);

/// `mount_setattr(2)`, Linux 5.12, on the mount that `fd` refers to (`AT_EMPTY_PATH`).
pub(crate) fn mount_setattr(fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel only reads the empty path and `attr`, whose size is passed along.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd.as_raw_fd(), c"".as_ptr(), flags, attr, size_of::<MountAttr>())
    })
    .map(drop)
}

/// `mount(2)` of a new file system.
pub(crate) fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<()> {
    let [source, target, fstype, data] = [source, target, fstype, data].map(CStr::as_ptr);
    // SAFETY: the kernel reads four NUL-terminated strings.
    check(unsafe { libc::syscall(libc::SYS_mount, source, target, fstype, flags, data) }).map(drop)
}

/// `seccomp(2)` with `SECCOMP_SET_MODE_FILTER`, for the calling thread. With `SECCOMP_FILTER_FLAG_NEW_LISTENER` (Linux
/// 5.0) the answer is the listener's number, close-on-exec; otherwise 0.
pub(crate) fn seccomp(program: &[Insn], flags: u32) -> Result<RawFd> {
    #[repr(C)]
    struct Fprog {
        len: u16,
        filter: *const Insn,
    }
    const { assert!(size_of::<Insn>() == 8) };
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let prog = Fprog { len, filter: program.as_ptr() };
    // SAFETY: `Insn` has the layout of `struct sock_filter`; the kernel copies `len` of them during the call.
    let ret =
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const prog) })?;
    RawFd::try_from(ret).map_err(|_| Errno::BADF)
}

/// Whether the kernel takes these flags of a filter: it looks at them before it looks for the filter, and there is none.
pub(crate) fn seccomp_takes(flags: u32) -> bool {
    // SAFETY: the filter would be read at an address that no process can have mapped, so none is ever loaded.
    let result =
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, usize::MAX & !7) });
    result == Err(Errno::FAULT)
}

/// `setns(2)`: `flags` is the kind of namespace that `fd` must be, so that a wrong file is refused with EINVAL.
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: no memory is passed, and a namespace is the calling thread's.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags) }).map(drop)
}

/// `unshare(2)`, for the single-threaded child, or a thread that is made for the purpose.
pub(crate) fn unshare(flags: u64) -> Result<()> {
    // SAFETY: no memory is passed. CLONE_FILES and CLONE_VM are never among the planned flags.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}

/// Joins a new session keyring called `name` and returns its serial: `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<i32> {
    // SAFETY: the kernel reads a NUL-terminated name.
    let id = check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    i32::try_from(id).map_err(|_| Errno::OVERFLOW)
}

/// Reads the permissions of key `id` out of its description `type;uid;gid;perm;name`: `keyctl(KEYCTL_DESCRIBE)`.
pub(crate) fn describe_key(id: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes.
    let n = check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, id, buf.as_mut_ptr(), buf.len()) })?;
    usize::try_from(n).map(|n| n.min(buf.len())).map_err(|_| Errno::OVERFLOW)
}

/// `keyctl(KEYCTL_SETPERM)`.
pub(crate) fn set_key_permissions(id: i32, perm: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, id, perm) }).map(drop)
}

/// `setgroups(2)` for this thread only (libc's would signal every thread of the process).
pub(crate) fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads `len` group ids.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// How many supplementary groups this thread has.
pub(crate) fn group_count() -> Result<c_long> {
    // SAFETY: with a size of 0 nothing is written.
    check(unsafe { libc::syscall(libc::SYS_getgroups, 0, 0usize) })
}

/// `setresgid(2)` for this thread only.
pub(crate) fn setresgid(gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// `setresuid(2)` for this thread only.
pub(crate) fn setresuid(uid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// `sched_setattr(2)` of this thread, Linux 3.14; with utilization clamps, Linux 5.3. The config has flags for those and
/// no values, which are 0 then, as runc's.
pub(crate) fn sched_setattr(scheduler: &Scheduler) -> Result<()> {
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        times: [u64; 3],
        clamps: [u32; 2],
    }
    const SIZE: u32 = 56; // SCHED_ATTR_SIZE_VER1
    const { assert!(size_of::<SchedAttr>() == SIZE as usize) };
    let Scheduler { policy, flags, nice, priority, times } = *scheduler;
    let attr = SchedAttr { size: SIZE, policy, flags, nice, priority, times, clamps: [0; 2] };
    // SAFETY: the kernel reads as many bytes as `size` says.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// `sched_setaffinity(2)` of this thread to every CPU that a kernel can have; the kernel takes those that the cpuset has.
pub(crate) fn use_all_cpus() -> Result<()> {
    static ALL: [u64; 8192 / 64] = [u64::MAX; 8192 / 64];
    use_cpus(&ALL)
}

/// `sched_setaffinity(2)` of the calling thread: one bit per CPU. Those that the machine has not got are left out.
pub(crate) fn use_cpus(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads at most as many bytes as it is told, and cuts a mask that is longer than its own.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// `ioprio_set(2)` of the calling process's group.
pub(crate) fn ioprio_set(priority: u32) -> Result<()> {
    const IOPRIO_WHO_PGRP: i32 = 2;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, priority) }).map(drop)
}

/// `personality(2)`.
pub(crate) fn personality(domain: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_personality, domain) }).map(drop)
}

/// `set_mempolicy(2)`; no nodes is no mask.
pub(crate) fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // The kernel takes one bit less than it is told (set_mempolicy(2), BUGS).
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    // SAFETY: the kernel reads the words that hold `bits - 1` bits, which is all of `nodes`.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// `prlimit(2)` of this process. `u64::MAX` is infinity.
pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: the kernel reads one `struct rlimit64`, two u64, and writes nothing.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), 0usize) }).map(drop)
}

/// `fchownat(2)` of the file behind `fd` itself; `u32::MAX` leaves an id as it is.
pub(crate) fn fchown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: the kernel reads the empty path.
    check(unsafe { libc::syscall(libc::SYS_fchownat, fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) })
        .map(drop)
}

/// `capset(2)` of this thread: effective, permitted and inheritable sets as bit masks.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let low = |mask: u64| (mask & 0xffff_ffff) as u32;
    let high = |mask: u64| (mask >> 32) as u32;
    let header = Header { version: 0x2008_0522, pid: 0 }; // _LINUX_CAPABILITY_VERSION_3
    let data =
        [[low(effective), low(permitted), low(inheritable)], [high(effective), high(permitted), high(inheritable)]];
    // SAFETY: version 3 makes the kernel read two `struct __user_cap_data_struct`, which is three u32 each.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// `prctl(2)` with integer arguments only.
pub(crate) fn prctl(option: i32, arg2: u64, arg3: u64) -> Result<c_long> {
    // SAFETY: the options that are passed here take integers, so no memory is touched.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, arg2, arg3, 0, 0) })
}

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Default)]
struct KernelSigaction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Puts a signal back to its default action: Rust's runtime ignores SIGPIPE, and what is ignored stays so across
/// `execve`.
pub(crate) fn default_signal(signal: i32) -> Result<()> {
    let action = KernelSigaction::default(); // SIG_DFL is 0
    // SAFETY: the kernel reads `action`; with SIG_DFL no code address is involved.
    check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0usize, 8usize) }).map(drop)
}

/// Lets a signal end this process with 128 and its number.
pub(crate) fn exit_upon(signal: i32) -> Result<()> {
    /// The kernel of x86-64 delivers to no handler that has nothing to return to. Ours does not return.
    const SA_RESTORER: u64 = 0x0400_0000;
    extern "C" fn end(signal: i32) {
        exit(128 + signal)
    }
    let end = end as *const () as usize;
    let action = KernelSigaction { handler: end, flags: SA_RESTORER, restorer: end, mask: u64::MAX };
    // SAFETY: the kernel reads `action`. The handler makes system calls alone, touches no data of what it interrupts, and
    // never returns, so that the restorer is never called.
    check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0usize, 8usize) }).map(drop)
}

/// Puts every signal that has a handler back to its default action, as `CLONE_CLEAR_SIGHAND` does; what is ignored stays so.
pub(crate) fn clear_handlers() -> Result<()> {
    const SIG_IGN: usize = 1;
    for signal in 1..=64 {
        let mut action = KernelSigaction::default();
        // SAFETY: the kernel writes one `action`.
        check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, 0usize, &raw mut action, 8usize) })?;
        if action.handler > SIG_IGN {
            default_signal(signal)?;
        }
    }
    Ok(())
}

/// Sets this thread's signal mask (bit n-1 stands for signal n) and returns the former one.
pub(crate) fn set_signal_mask(mask: u64) -> Result<u64> {
    let mut former = 0u64;
    // SAFETY: the kernel reads eight bytes and writes eight.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut former, size_of::<u64>())
    })?;
    Ok(former)
}

/// The calling thread's signal mask, in the form that [`CreateOptions::signal_mask`](crate::CreateOptions) takes: bit n-1
/// stands for signal n.
#[must_use]
pub fn signal_mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: the kernel writes eight bytes. The call fails for wrong arguments only.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, 0usize, &raw mut mask, size_of::<u64>()) };
    mask
}

/// `execve(2)`; returns only on failure.
///
/// # Safety
/// `argv` and `envp` end with a null pointer, and every pointer before it is a NUL-terminated string that lives.
pub(crate) unsafe fn execve(path: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    // SAFETY: the caller's promise.
    let ret = check(unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv.as_ptr(), envp.as_ptr()) });
    ret.err().unwrap_or(Errno::INVAL)
}

/// `execveat(2)` of the file behind `program`, with these arguments and the environment as it is; returns only on failure.
/// For a process that has one thread.
pub(crate) fn execute_anew(program: BorrowedFd<'_>, arguments: Vec<CString>) -> Errno {
    let end = std::iter::once(std::ptr::null());
    let argv: Vec<*const c_char> = arguments.iter().map(|argument| argument.as_ptr()).chain(end).collect();
    // SAFETY: `argv` ends with a null pointer and points into `arguments`, which live. `environ` is libc's list, which only a
    // call changes that must not be made while others may read it (`std::env::set_var`). The kernel copies both.
    let ret = check(unsafe {
        let envp = libc::environ;
        let (fd, path) = (program.as_raw_fd(), c"".as_ptr());
        libc::syscall(libc::SYS_execveat, fd, path, argv.as_ptr(), envp, libc::AT_EMPTY_PATH)
    });
    ret.err().unwrap_or(Errno::INVAL)
}

/// `exit_group(2)`: no destructors, no flushing. A seccomp profile may refuse that, and whatever else there is to call:
/// then an instruction that is none. Its signal cannot be blocked or ignored, not even by the first process of a pid
/// namespace.
pub(crate) fn exit(code: i32) -> ! {
    for call in [libc::SYS_exit_group, libc::SYS_exit] {
        // SAFETY: ends the process; if it is refused, nothing has happened. The child has one thread.
        unsafe { libc::syscall(call, code) };
    }
    fault()
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn fault() -> ! {
    // SAFETY: touches neither memory nor registers: the kernel answers it with SIGILL.
    unsafe { std::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}

#[cfg(target_arch = "aarch64")]
fn fault() -> ! {
    // SAFETY: touches neither memory nor registers: the kernel answers it with SIGTRAP.
    unsafe { std::arch::asm!("brk #1", options(noreturn, nomem, nostack)) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
fn fault() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Sets `IFF_UP` on `lo`: `socket`, `SIOCSIFFLAGS`.
pub(crate) fn loopback_up() -> std::result::Result<(), (&'static str, Errno)> {
    #[repr(C)]
    struct IfReq {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    const { assert!(size_of::<IfReq>() == 40) };
    let flags = u16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    let mut req = IfReq { name: [0; 16], flags, rest: [0; 22] };
    for (to, from) in req.name.iter_mut().zip(b"lo") {
        *to = *from;
    }
    // SAFETY: integers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
        .map_err(|e| ("socket", e))?;
    // SAFETY: `req` has the size and layout of `struct ifreq`.
    let ret = check(unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::SIOCSIFFLAGS, &raw mut req) });
    // SAFETY: the socket made above.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    ret.map(drop).map_err(|e| ("ioctl(SIOCSIFFLAGS)", e))
}

/// The kind (`CLONE_NEW*`) of a namespace file: `ioctl(NS_GET_NSTYPE)`, Linux 4.11.
pub(crate) fn namespace_kind(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_NSTYPE: u64 = 0xb703;
    // SAFETY: no memory is passed.
    let kind = check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE, 0) })?;
    u64::try_from(kind).map_err(|_| Errno::INVAL)
}

/// The user namespace that a namespace belongs to: `ioctl(NS_GET_USERNS)`, Linux 4.9. EPERM if that is not the caller's
/// own or one below it.
pub(crate) fn owner_of_namespace(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const NS_GET_USERNS: u64 = 0xb701;
    // SAFETY: no memory is passed.
    let owner = check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_USERNS, 0) })?;
    // SAFETY: the kernel has just made this descriptor.
    unsafe { own(i32::try_from(owner).unwrap_or(-1)) }.ok_or(Errno::BADF)
}

/// The process that listens at the other end of a socket, as `SO_PEERCRED` has it: 0, if it has no number in our pid namespace,
/// which rustix has no type for.
pub(crate) fn peer_pid(socket: BorrowedFd<'_>) -> Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = u32::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the kernel writes no more than `length` bytes to `peer`, which are integers.
    check(unsafe {
        libc::syscall(libc::SYS_getsockopt, socket.as_raw_fd(), level, option, &raw mut peer, &raw mut length)
    })?;
    u32::try_from(peer.pid).map_err(|_| Errno::INVAL)
}
