//! The seal: no container can overwrite the executable that makes it (CVE-2019-5736).
//!
//! The first process in a container runs our executable until its `execve(2)`, and whoever sees it there finds the file at
//! `/proc/PID/exe`. A program `#!/proc/self/exe`, or one with this as ELF interpreter, makes the kernel run it once more,
//! as a process of the container's own. A file that runs cannot be written, but who has opened it waits for the end.
//!
//! So the executable is exchanged at the very start, by executing it anew from a place where nobody can write: the same
//! file on a read-only mount of its own, which is in no mount namespace from then on, so that not even root with
//! CAP_SYS_ADMIN can change or copy it; or, for who may make no mounts, a copy in sealed memory. Nothing is done where
//! there is nothing to write to.
//!
//! Owns: what the executable is, and what becomes of it. That it was exchanged is seen from what `/proc/self/exe` is, never
//! from the environment or the arguments, which are the caller's. It cannot loop: what is executed was looked at before,
//! with the same eyes.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags};

use crate::error::{Error, Kind};
use crate::host;
use crate::sys::{self, MountAttr};

const OWN: &std::ffi::CStr = c"/proc/self/exe";

const CAP_LINUX_IMMUTABLE: u64 = 1 << 9;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What stat(2) says of an owner who has no number in the user namespace.
const OVERFLOW_ID: u32 = 65534;

const TMPFS: i64 = 0x0102_1994;
const OVERLAYFS: i64 = 0x794c_7630;

const FRAME: &str = "sealing the executable";

/// Protects the executable of this process from the containers that it is going to make or enter (CVE-2019-5736), unless
/// nothing can happen to it. For the first lines of `main`, before there are threads, children or open files: the program
/// is **executed once more**, as the same process, with the same arguments and environment. The second time this returns at
/// once.
///
/// All that `execve(2)` keeps stays: pid, parent, parent-death signal, directory, umask, ignored signals, descriptors that
/// are not close-on-exec, limits. What it does not keep goes: threads, memory, handlers of signals, and the capabilities
/// that the file's owner gave to it (setcap(8)). `/proc/self/exe` leads to the executable as ever, but reads `/` or
/// `/memfd:executable (deleted)`: a program that looks for files beside its own (`current_exe`, an `$ORIGIN` in its
/// `RUNPATH`) does not find them.
///
/// # Errors
/// The executable needs protection, and neither a mount nor a copy in memory can be had. It names the step.
pub fn protect_executable() -> Result<(), Error> {
    let file = open_own().map_err(|e| Error::os(format_args!("{FRAME}: open /proc/self/exe"), e))?;
    let executable = Executable::look(file.as_fd()).map_err(|failure| failed(&failure))?;
    if executable.is_exchanged() {
        take_name_back();
    }
    let failure = match decide(&executable) {
        Way::Nothing => return Ok(()),
        Way::Copy => copied(file.as_fd()).map_or_else(|failure| failed(&failure), again),
        Way::Mount => match mounted() {
            Ok(tree) => again(tree),
            // Not every executable is in a mount of ours, and filters refuse mounts more often than memory.
            Err(first) => copied(file.as_fd()).map_or_else(|second| failed(&second).and(first), again),
        },
    };
    Err(failure)
}

/// For a process that is about to make or enter a container.
///
/// # Errors
/// Its executable could be overwritten from there. `maps` says which users there are in the container's user namespace, if
/// it has one: container id, host id, count.
pub(crate) fn demand(maps: impl FnOnce() -> Option<Vec<[u32; 3]>>) -> Result<(), Error> {
    let file = open_own().map_err(|e| Error::os("open /proc/self/exe", e))?;
    let executable = Executable::look(file.as_fd()).map_err(|failure| failed(&failure))?;
    let safe = decide(&executable) == Way::Nothing || maps().is_some_and(|maps| is_nobodys(&executable, &maps));
    if safe { Ok(()) } else { Err(Error::new(Kind::Unsupported, UNPROTECTED)) }
}

const UNPROTECTED: &str = "the container could overwrite the executable of this process (CVE-2019-5736): call \
                           libcontain::seal::protect_executable at the start of main";

/// What there is to know about the file.
#[derive(Debug, Clone, Default)]
struct Executable {
    /// The mount or the whole file system is read-only.
    readonly: bool,
    /// It is what is mounted, not something below.
    mount_root: bool,
    /// Memory that can never be written again (memfd_create(2)).
    sealed: bool,
    /// The kernel keeps its content (fs-verity).
    verity: bool,
    /// chattr +i
    immutable: bool,
    owner: u32,
    mode: u32,
}

impl Executable {
    fn look(file: BorrowedFd<'_>) -> Result<Self, Failure> {
        let fs = rustix::fs::fstatfs(file).map_err(|e| Failure("fstatfs", e))?;
        let flags = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::UID;
        let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, flags).map_err(|e| Failure("statx", e))?;
        let has = |attribute| stat.stx_attributes.contains(attribute);
        let seals = if fs.f_type == TMPFS { rustix::fs::fcntl_get_seals(file).ok() } else { None };
        Ok(Executable {
            readonly: u64::try_from(fs.f_flags).is_ok_and(|bits| bits & StatVfsMountFlags::RDONLY.bits() != 0),
            mount_root: has(StatxAttributes::MOUNT_ROOT),
            sealed: seals.is_some_and(|seals| seals.contains(SEALS)),
            // Through overlayfs it is that of a lower file, and who writes makes an upper one.
            verity: has(StatxAttributes::VERITY) && fs.f_type != OVERLAYFS,
            immutable: has(StatxAttributes::IMMUTABLE),
            owner: stat.stx_uid,
            mode: stat.stx_mode.into(),
        })
    }

    fn is_kept(&self) -> bool {
        self.readonly || self.sealed || self.verity
    }

    /// As [`protect_executable`] leaves it. Somebody else may have mounted it so: that is as good.
    fn is_exchanged(&self) -> bool {
        self.sealed || (self.readonly && self.mount_root)
    }
}

/// Who runs it.
#[derive(Debug, Clone, Default)]
struct Caller {
    euid: u32,
    capabilities: u64,
    /// He is in a user namespace; asked only if it matters.
    user_namespace: bool,
}

impl Caller {
    fn look(executable: &Executable) -> Self {
        Caller {
            euid: rustix::process::geteuid().as_raw(),
            capabilities: rustix::thread::capabilities(None).map_or(u64::MAX, |sets| sets.permitted.bits()),
            user_namespace: executable.owner == OVERFLOW_ID && host::in_user_namespace(),
        }
    }
}

/// How the executable is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is safe where it is.
    Nothing,
    /// By a read-only mount.
    Mount,
    /// By a copy in sealed memory.
    Copy,
}

/// Who the caller is, is asked if it matters.
fn decide(executable: &Executable) -> Way {
    if executable.is_kept() { Way::Nothing } else { way(executable, &Caller::look(executable)) }
}

fn way(executable: &Executable, caller: &Caller) -> Way {
    if is_unwritable(executable, caller) || is_out_of_reach(executable, caller) {
        Way::Nothing
    } else if caller.capabilities & CAP_SYS_ADMIN != 0 {
        Way::Mount
    } else {
        Way::Copy
    }
}

/// Nobody can write there, however privileged in a container. A read-only file system can be made writable again by
/// CAP_SYS_ADMIN of its user namespace alone, with which a container is no bound to anybody. To take back `immutable`, a
/// capability is enough that a caller with it might give to a container.
fn is_unwritable(executable: &Executable, caller: &Caller) -> bool {
    let immutable = executable.immutable && caller.capabilities & CAP_LINUX_IMMUTABLE == 0;
    executable.is_kept() || immutable
}

/// The file is neither the caller's nor of anybody that a container of his could be: its owner has no number in the
/// caller's user namespace, or is root to a caller who has no capability. Bits of an ACL that let others write show as the
/// group's.
fn is_out_of_reach(executable: &Executable, caller: &Caller) -> bool {
    let foreign = match executable.owner {
        OVERFLOW_ID => caller.user_namespace,
        0 => caller.euid != 0 && caller.capabilities == 0,
        _ => false, // may be one of the subordinate ids that newuidmap(1) gives to a container of the caller's
    };
    foreign && !others_may_write(executable)
}

/// Whether nobody in a user namespace with these maps may write the file.
fn is_nobodys(executable: &Executable, maps: &[[u32; 3]]) -> bool {
    let mapped = |[_, host, count]: &[u32; 3]| executable.owner.checked_sub(*host).is_some_and(|n| n < *count);
    !others_may_write(executable) && !maps.iter().any(mapped)
}

fn others_may_write(executable: &Executable) -> bool {
    executable.mode & 0o022 != 0
}

/// A call that failed.
#[derive(Debug)]
struct Failure(&'static str, Errno);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0, crate::error::errno_text(self.1.raw_os_error()))
    }
}

fn failed(failure: &Failure) -> Error {
    Error::os(format_args!("{FRAME}: {}", failure.0), failure.1)
}

/// Without permission to read it there is a descriptor all the same: a mount needs no more.
fn open_own() -> Result<OwnedFd, Errno> {
    let flags = OFlags::CLOEXEC;
    match rustix::fs::open(OWN, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => rustix::fs::open(OWN, flags | OFlags::PATH, Mode::empty()),
        result => result,
    }
}

/// The executable on a mount of its own. It is private, so that nothing that is mounted elsewhere comes here. What is set
/// besides `RDONLY` has no effect on a mount in no namespace, and says so.
fn mounted() -> Result<OwnedFd, Failure> {
    const RDONLY_NOSUID_NODEV: u64 = 1 | 2 | 4;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, OWN, flags).map_err(|e| Failure("open_tree", e))?;
    let private = MountPropagationFlags::PRIVATE.bits().into();
    let attr = MountAttr { set: RDONLY_NOSUID_NODEV, propagation: private, ..MountAttr::default() };
    sys::mount_setattr(tree.as_fd(), false, &attr).map_err(|e| Failure("mount_setattr", e))?;
    Ok(tree)
}

const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// The executable in memory that is never written again.
fn copied(file: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    const NAME: &std::ffi::CStr = c"executable";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 all of them can be executed.
        Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, flags),
        result => result,
    };
    let copy = copy.map_err(|e| match e {
        Errno::ACCESS => Failure("memfd_create (the sysctl vm.memfd_noexec=2 forbids executable memory)", e),
        e => Failure("memfd_create", e),
    })?;
    const PIECE: usize = 0x7fff_f000; // the most that the kernel moves at once
    loop {
        match rustix::fs::sendfile(&copy, file, None, PIECE) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Failure("sendfile", e)),
        }
    }
    rustix::fs::fcntl_add_seals(&copy, SEALS).map_err(|e| Failure("fcntl(F_ADD_SEALS)", e))?;
    Ok(copy)
}

/// Executes what was made, unless it would be made again. Returns on failure only.
#[expect(clippy::needless_pass_by_value, reason = "it is not for anything else")]
fn again(program: OwnedFd) -> Error {
    match Executable::look(program.as_fd()) {
        Err(failure) => return failed(&failure),
        Ok(executable) if !executable.is_exchanged() => {
            return Error::new(Kind::Unsupported, format!("{FRAME}: the kernel does not say that it is read-only"));
        }
        Ok(_) => {}
    }
    // No argument can hold a NUL.
    let arguments = std::env::args_os().filter_map(|argument| CString::new(argument.as_bytes()).ok()).collect();
    failed(&Failure("execveat", sys::execute_anew(program.as_fd(), arguments)))
}

/// What is executed by descriptor is called by its number, before Linux 6.14, and by the file's name then: the name that
/// the program was called by is that of a link, perhaps, and looked for.
fn take_name_back() {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or(OsStr::new(""));
    if let Ok(name) = CString::new(name.as_bytes()) {
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << 41) - 1;

    fn file(owner: u32, mode: u32) -> Executable {
        Executable { owner, mode, ..Executable::default() }
    }

    fn caller(euid: u32, capabilities: u64) -> Caller {
        Caller { euid, capabilities, user_namespace: false }
    }

    #[test]
    fn who_could_write_decides() {
        let root = caller(0, ALL);
        let bounded = caller(0, ALL & !CAP_SYS_ADMIN);
        let user = caller(1000, 0);
        let inside = Caller { user_namespace: true, ..root.clone() }; // rootless Podman's root
        let few = Caller { user_namespace: true, ..bounded.clone() };
        let binary = file(0, 0o755);
        for (what, executable, caller, expected) in [
            ("root and a binary", binary.clone(), &root, Way::Mount),
            ("without CAP_SYS_ADMIN", binary.clone(), &bounded, Way::Copy),
            ("root's, and run by a user", binary.clone(), &user, Way::Nothing),
            ("the user's own", file(1000, 0o755), &user, Way::Copy),
            ("the user's own, not writable: he may change that", file(1000, 0o555), &user, Way::Copy),
            ("another user's, perhaps a subordinate id", file(100_005, 0o755), &user, Way::Copy),
            ("root's, and its group may write", file(0, 0o775), &user, Way::Copy),
            ("root's, and all may write", file(0, 0o757), &user, Way::Copy),
            ("a user with one capability may become root", binary.clone(), &caller(1000, 1 << 7), Way::Copy),
            ("a user with CAP_SYS_ADMIN", binary.clone(), &caller(1000, CAP_SYS_ADMIN), Way::Mount),
            ("nobody's file is nobody's on the host", file(OVERFLOW_ID, 0o755), &root, Way::Mount),
            ("nobody's file, and a user", file(OVERFLOW_ID, 0o755), &user, Way::Copy),
            ("in a user namespace it is somebody's outside", file(OVERFLOW_ID, 0o755), &inside, Way::Nothing),
            ("the same, and all may write", file(OVERFLOW_ID, 0o777), &inside, Way::Mount),
            ("in a user namespace, its root's", binary, &inside, Way::Mount),
            ("in a user namespace, without mounts", file(0, 0o755), &few, Way::Copy),
        ] {
            assert_eq!(way(&executable, caller), expected, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_left_alone() {
        let base = file(0, 0o755);
        let bounded = ALL & !CAP_LINUX_IMMUTABLE;
        for (what, executable, capabilities, expected) in [
            ("read-only", Executable { readonly: true, ..base.clone() }, ALL, Way::Nothing),
            ("a mount of its own", Executable { mount_root: true, ..base.clone() }, ALL, Way::Mount),
            ("sealed memory", Executable { sealed: true, mode: 0o777, ..base.clone() }, ALL, Way::Nothing),
            ("fs-verity", Executable { verity: true, ..base.clone() }, ALL, Way::Nothing),
            ("immutable, and it can be taken back", Executable { immutable: true, ..base.clone() }, ALL, Way::Mount),
            ("immutable", Executable { immutable: true, ..base }, bounded, Way::Nothing),
        ] {
            assert_eq!(way(&executable, &caller(0, capabilities)), expected, "{what}");
        }
    }

    /// What `again` asks for is what the next start sees as done: else it would not end.
    #[test]
    fn what_is_exchanged_is_not_exchanged_again() {
        for bits in 0..32u32 {
            let bit = |n: u32| bits & 1 << n != 0;
            let executable = Executable {
                readonly: bit(0),
                mount_root: bit(1),
                sealed: bit(2),
                verity: bit(3),
                immutable: bit(4),
                ..file(0, 0o777)
            };
            if executable.is_exchanged() {
                assert_eq!(way(&executable, &caller(0, ALL)), Way::Nothing, "{executable:?}");
            }
        }
    }

    #[test]
    fn user_namespaces_protect_what_they_do_not_map() {
        for (what, executable, maps, safe) in [
            ("a range above", file(0, 0o755), &[[0, 100_000, 65536]][..], true),
            ("no range", file(0, 0o755), &[], true),
            ("the owner among them", file(100_005, 0o755), &[[0, 100_000, 65536]], false),
            ("the last of a range", file(165_535, 0o755), &[[0, 100_000, 65536]], false),
            ("the one after it", file(165_536, 0o755), &[[0, 100_000, 65536]], true),
            ("root itself", file(0, 0o755), &[[0, 100_000, 1000], [1000, 0, 1]], false),
            ("all may write", file(0, 0o757), &[[0, 100_000, 65536]], false),
            ("the group may write", file(0, 0o775), &[[0, 100_000, 65536]], false),
        ] {
            assert_eq!(is_nobodys(&executable, maps), safe, "{what}");
        }
    }

    /// On the machine that the test runs on: a copy is exchanged, and what a test runs from usually is not.
    #[test]
    fn a_copy_can_be_executed_and_never_written() {
        let source = rustix::fs::open(c"/bin/true", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let copy = copied(source.as_fd()).unwrap();
        let executable = Executable::look(copy.as_fd()).unwrap();
        assert!(executable.sealed && executable.is_exchanged() && executable.mode & 0o111 == 0o111, "{executable:?}");
        assert_eq!(rustix::io::pwrite(&copy, b"x", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&copy, 0), Err(Errno::PERM));
        let size = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_size;
        assert_eq!(size(&copy), size(&source));
        assert!(!Executable::look(source.as_fd()).unwrap().sealed);
    }
}
