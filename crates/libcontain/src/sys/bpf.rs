//! The two commands of `bpf(2)` that a device program takes.
//!
//! Owns the layouts of the kernel's `union bpf_attr` for them. The instructions come from `plan/devices`; the
//! kernel's verifier, not this file, is what makes them safe to run.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// Other programs of this cgroup and those of its parents stay in force: all of them have to say yes.
const F_ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` has had since Linux 4.15.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}
const _: () = assert!(size_of::<Load>() == 48);

/// The part of `union bpf_attr` that `BPF_PROG_ATTACH` has had since Linux 4.10.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}
const _: () = assert!(size_of::<Attach>() == 16);

fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long> {
    // SAFETY: the kernel reads `size` bytes of `attr`, which outlives the call; commands that this file uses
    // write nothing back, and follow pointers of `attr` only for reading.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    } else {
        Ok(result)
    }
}

/// `BPF_PROG_LOAD` of a device program (Linux 4.15); the program lives as long as the descriptor or an
/// attachment does.
///
/// # Errors
/// `EPERM` without CAP_BPF or CAP_SYS_ADMIN, or with too little RLIMIT_MEMLOCK before Linux 5.11.
pub fn load_device_program(insns: &[[u8; 8]]) -> Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attr = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(insns.len()).map_err(|_| Errno::TOOBIG)?,
        insns: insns.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    let fd = bpf(PROG_LOAD, &mut attr)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: BPF_PROG_LOAD answers with a new descriptor (close-on-exec), which nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `BPF_PROG_ATTACH` of a device program to a v2 cgroup, beside what is attached already.
///
/// # Errors
/// `EINVAL` for a v1 directory, `EPERM` as for loading or when a parent forbids it.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &mut attr).map(|_| ())
}
