//! A seccomp filter that answers ENOSYS for some system calls, as an older kernel does, or EPERM, as many a sandbox around
//! the runtime.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc::{self, c_long, sock_filter};

/// The calls that can be taken away: name and number.
pub const CALLS: [(&str, c_long); 13] = [
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("clone3", libc::SYS_clone3),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("faccessat2", libc::SYS_faccessat2),
    ("close_range", libc::SYS_close_range),
    ("mount_setattr", libc::SYS_mount_setattr),
];

/// Puts the filter on the program that `command` will be; what it starts has it as well. Needs root.
pub fn take_away(command: &mut Command, calls: &[&str], errno: i32) {
    let program = filter(calls, errno);
    // SAFETY: the closure makes one system call, with memory that was allocated before the fork.
    unsafe { command.pre_exec(move || load(&program)) };
}

fn filter(calls: &[&str], errno: i32) -> Vec<sock_filter> {
    let insn = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for name in calls {
        let (_, number) = CALLS.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}?"));
        program.push(insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *number as u32));
        program.push(insn(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    program.push(insn(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

fn load(program: &[sock_filter]) -> io::Result<()> {
    let len = program.len() as u16;
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions during the call.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) };
    if ret == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
