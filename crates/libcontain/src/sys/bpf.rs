//! The commands of `bpf(2)` that a device program takes.
//!
//! Our programs have a name ([`NAME`]), by which they are found again among those of others, such as systemd's. Owns the layouts of the kernel's `union bpf_attr` for them. The instructions come from `plan/devices`; the
//! kernel's verifier, not this file, is what makes them safe to run.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// Other programs of this cgroup and those of its parents stay in force: all of them have to say yes.
const F_ALLOW_MULTI: u32 = 2;
/// In place of another one, and at once (Linux 5.6).
const F_REPLACE: u32 = 4;

/// The name of our device programs: what a kernel allows as such, padded to its length.
const NAME: [u8; 16] = *b"libcontain\0\0\0\0\0\0";

/// As many programs as the kernel attaches to one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MOST: usize = 64;

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
    prog_name: [u8; 16],
}
const _: () = assert!(size_of::<Load>() == 64);

/// The part of `union bpf_attr` that `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` have had since Linux 5.6, and a gap.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
    gap: u32,
}
const _: () = assert!(size_of::<Attach>() == 24);

/// The whole of `union bpf_attr` for `BPF_PROG_QUERY`: the kernel writes to members of it that it does not ask the size
/// for (`revision`, the last one, from Linux 6.17 on), so that none may be missing.
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    gap: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}
const _: () = assert!(size_of::<Query>() == 64);

/// `union bpf_attr` for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}
const _: () = assert!(size_of::<ById>() == 12);

/// `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct Info {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}
const _: () = assert!(size_of::<Info>() == 16);

/// `struct bpf_prog_info` up to the name (Linux 4.15). The lengths say that no instructions are wanted.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}
const _: () = assert!(size_of::<ProgInfo>() == 80);

fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long> {
    // SAFETY: the kernel reads `size` bytes of `attr`, which outlives the call. What it writes, it writes to members that
    // `T` has (see `Query`), or through pointers in it that the functions below take from buffers of their own, together
    // with the length of each.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    } else {
        Ok(result)
    }
}

/// The descriptor that a command answered with.
fn descriptor(result: libc::c_long) -> Result<OwnedFd> {
    let fd = i32::try_from(result).map_err(|_| Errno::BADF)?;
    // SAFETY: the command made a new descriptor (close-on-exec), which nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `BPF_PROG_LOAD` of a device program (Linux 4.15); the program lives as long as the descriptor or an
/// attachment does.
///
/// # Errors
/// `EPERM` without CAP_BPF or CAP_SYS_ADMIN, or with too little RLIMIT_MEMLOCK before Linux 5.11.
pub fn load_device_program(insns: &[[u8; 8]]) -> Result<OwnedFd> {
    load(insns, NAME)
}

fn load(insns: &[[u8; 8]], name: [u8; 16]) -> Result<OwnedFd> {
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
        prog_name: name,
    };
    bpf(PROG_LOAD, &mut attr).and_then(descriptor)
}

/// `BPF_PROG_ATTACH` of a device program to a v2 cgroup, beside what is attached already.
///
/// # Errors
/// `EINVAL` for a v1 directory, `EPERM` as for loading or when a parent forbids it.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    bpf(PROG_ATTACH, &mut attachment(cgroup, program, F_ALLOW_MULTI)).map(|_| ())
}

/// The same in place of a program that is attached there: each request is answered by the one or the other.
///
/// # Errors
/// As for attaching; `ENOENT` if the old one is not there any more.
pub fn replace_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, old: BorrowedFd<'_>) -> Result<()> {
    let attr = attachment(cgroup, program, F_ALLOW_MULTI | F_REPLACE);
    bpf(PROG_ATTACH, &mut Attach { replace_bpf_fd: old.as_raw_fd().cast_unsigned(), ..attr }).map(|_| ())
}

/// `BPF_PROG_DETACH`.
///
/// # Errors
/// `ENOENT` if it is not attached there.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    bpf(PROG_DETACH, &mut attachment(cgroup, program, 0)).map(|_| ())
}

fn attachment(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32) -> Attach {
    Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: 0,
        gap: 0,
    }
}

/// Our device programs among those that are attached to this very cgroup, in their order. `BPF_PROG_QUERY`, Linux 4.15.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN.
pub fn own_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MOST];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: u32::try_from(MOST).map_err(|_| Errno::INVAL)?,
        gap: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    bpf(PROG_QUERY, &mut attr)?;
    let mut own = Vec::new();
    for id in ids.into_iter().take(usize::try_from(attr.prog_cnt).unwrap_or(0)) {
        let program = match bpf(PROG_GET_FD_BY_ID, &mut ById { id, next_id: 0, open_flags: 0 }) {
            Err(Errno::NOENT) => continue, // gone meanwhile
            opened => opened.and_then(descriptor)?,
        };
        if name(program.as_fd())? == NAME {
            own.push(program);
        }
    }
    Ok(own)
}

fn name(program: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut info = ProgInfo::default();
    let mut attr = Info {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<ProgInfo>()).map_err(|_| Errno::INVAL)?,
        info: std::ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.name)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};

    use super::*;

    fn attached(cgroup: BorrowedFd<'_>) -> usize {
        own_device_programs(cgroup).unwrap().len()
    }

    /// Systemd has its own there, and may have more.
    #[test]
    fn other_peoples_programs_are_left_alone() {
        let tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let top = tops.into_iter().find(|dir| std::fs::metadata(format!("{dir}/cgroup.controllers")).is_ok());
        let (Some(top), true) = (top, rustix::process::geteuid().is_root()) else {
            return eprintln!("skipped: needs root and cgroup v2");
        };
        let path = format!("{top}/cntr-bpf-{}", std::process::id());
        std::fs::create_dir(&path).unwrap();
        let cgroup = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let cgroup = cgroup.as_fd();
        // r0 = 1; exit
        let allow = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        let foreign = load(&allow, *b"sd_devices\0\0\0\0\0\0").unwrap();
        let [first, second] = [(); 2].map(|()| load_device_program(&allow).unwrap());
        attach_device_program(cgroup, foreign.as_fd()).unwrap();
        assert_eq!(attached(cgroup), 0);
        attach_device_program(cgroup, first.as_fd()).unwrap();
        let ours = own_device_programs(cgroup).unwrap();
        replace_device_program(cgroup, second.as_fd(), ours[0].as_fd()).unwrap();
        assert_eq!(attached(cgroup), 1);
        assert_eq!(detach_device_program(cgroup, first.as_fd()), Err(Errno::NOENT), "it was replaced");
        detach_device_program(cgroup, second.as_fd()).unwrap();
        assert_eq!(attached(cgroup), 0);
        detach_device_program(cgroup, foreign.as_fd()).expect("still attached");
        std::fs::remove_dir(&path).unwrap();
    }
}
