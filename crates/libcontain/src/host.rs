//! Facts about the machine and the caller, asked once.
//!
//! The plan reads a [`Host`] and nothing else of the machine, so any machine can be faked: all fields are public and a
//! test writes the struct by hand. [`Host::probe`] is the only place that asks.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::{CWD, Mode as Bits, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::kernel::{self, Call, Calls};
use crate::plan::cgroup::{Layout, Mode};
use crate::plan::systemd::Manager;
use crate::{small_file, sys};

const CAP_CHECKPOINT_RESTORE: u8 = 40;
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;

/// The inode number of the initial user namespace's file (`PROC_USER_INIT_INO`). An identity map would not tell:
/// systemd 260 gives one to user namespaces of its own.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What planning and checking need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Effective user of the caller.
    pub euid: u32,
    /// Effective group of the caller.
    pub egid: u32,
    /// The caller is not in the initial user namespace.
    pub user_namespace: bool,
    /// Effective capabilities of the caller, as a bit mask.
    pub capabilities: u64,
    /// Bounding set of the caller.
    pub bounding: u64,
    /// The last capability that the kernel knows, of those that have a name here.
    pub last_cap: u8,
    /// `setgroups(2)` is denied in the caller's user namespace.
    pub setgroups_denied: bool,
    /// The caller's mount namespace belongs to a user namespace above his own: he may be root there, and copy no mount.
    pub foreign_mounts: bool,
    /// Where `newuidmap(1)` is. Looked for on behalf of callers who may not write every id map themselves.
    pub newuidmap: Option<PathBuf>,
    /// Where `newgidmap(1)` is.
    pub newgidmap: Option<PathBuf>,
    /// System calls that the kernel or a seccomp filter around the caller has not got.
    pub missing: Calls,
    /// The kernel has time namespaces (Linux 5.6).
    pub has_time_namespace: bool,
    /// The kernel has user namespaces.
    pub has_user_namespace: bool,
    /// `/proc/kcore` exists, so `/dev/core` is made.
    pub has_kcore: bool,
    /// AppArmor is enabled; `None`: nobody has asked, see [`Host::ask_for`].
    pub apparmor: Option<bool>,
    /// SELinux is enabled and has a policy; `None`: nobody has asked.
    pub selinux: Option<bool>,
    /// Where cgroups are.
    pub cgroups: Layout,
    /// Who makes cgroups, if that is systemd; `None`: the library itself, in `/sys/fs/cgroup`.
    pub manager: Option<Manager>,
    /// Missing permission for cgroups is tolerated where no limit is asked for.
    pub rootless_cgroups: bool,
    /// Where resctrl is mounted, if it is. [`Host::probe`] leaves it out: asking is for configs that need it.
    pub resctrl: Option<Resctrl>,
    /// Where all of a procfs or a sysfs is mounted. [`Host::probe`] leaves it out: only without `pivot_root(2)` do the host's
    /// mounts stay.
    pub kernel_mounts: Vec<PathBuf>,
}

/// Intel's Resource Director Technology and its like, as the kernel offers them (Linux 4.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resctrl {
    /// The mount point, `/sys/fs/resctrl`.
    pub mount: String,
    /// Shares of the L3 cache can be given (CAT).
    pub cache: bool,
    /// Shares of the memory bandwidth can be given (MBA).
    pub bandwidth: bool,
    /// The use of either can be counted (CMT, MBM).
    pub monitoring: bool,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` or `/sys/fs/cgroup` cannot be read.
    pub fn probe() -> io::Result<Host> {
        Ok(Host { cgroups: crate::cgroup::probe()?, ..Host::probe_caller()? })
    }

    /// The same without the cgroups, which who joins a container finds in its record.
    pub(crate) fn probe_caller() -> io::Result<Host> {
        let status = small_file::read(CWD, c"/proc/self/status")?;
        let own_namespace = own_user_namespace()?;
        let user_namespace = own_namespace.is_some_and(|inode| inode != INITIAL_USER_NAMESPACE);
        let euid = rustix::process::geteuid().as_raw();
        let capabilities = mask(&status, "CapEff:");
        Ok(Host {
            euid,
            egid: rustix::process::getegid().as_raw(),
            user_namespace,
            capabilities,
            bounding: mask(&status, "CapBnd:"),
            last_cap: last_cap(),
            setgroups_denied: user_namespace && small_file::read(CWD, c"/proc/self/setgroups")?.starts_with("deny"),
            foreign_mounts: user_namespace && capabilities & CAP_SYS_ADMIN != 0 && has_foreign_mounts(),
            newuidmap: None,
            newgidmap: None,
            missing: missing(&status),
            has_time_namespace: exists(c"/proc/self/ns/time"),
            has_user_namespace: own_namespace.is_some(),
            has_kcore: exists(c"/proc/kcore"),
            apparmor: None,
            selinux: None,
            cgroups: Layout { mode: Mode::Absent, hierarchies: vec![] },
            manager: None,
            rootless_cgroups: euid != 0 || user_namespace,
            resctrl: None,
            kernel_mounts: vec![],
        })
    }

    /// Asks what only some configs depend on, unless it is known: most containers are made without these calls.
    pub fn ask_for(&mut self, spec: &Spec) {
        if self.resctrl.is_none() && spec.linux().as_ref().is_some_and(|linux| linux.intel_rdt().is_some()) {
            self.resctrl = crate::rdt::probe();
        }
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let labels_mounts = spec.linux().as_ref().is_some_and(|linux| given(linux.mount_label()));
        if self.selinux.is_none() && labels_mounts {
            self.selinux = Some(has_selinux());
        }
        let Some(process) = spec.process() else { return };
        if self.apparmor.is_none() && given(process.apparmor_profile()) {
            self.apparmor = Some(has_apparmor());
        }
        if self.selinux.is_none() && given(process.selinux_label()) {
            self.selinux = Some(has_selinux());
        }
    }

    /// Asks what only a container depends on whose root is entered without `pivot_root(2)`.
    pub fn ask_for_kernel_mounts(&mut self) {
        if self.kernel_mounts.is_empty() {
            // Its lines may be long: no small file.
            let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
            self.kernel_mounts = mounts.split(|byte| *byte == b'\n').filter_map(kernel_mount).collect();
        }
    }

    /// Root with all capabilities of Linux 5.9 and later, on a kernel with all namespaces and no cgroups.
    #[cfg(test)]
    pub(crate) fn privileged() -> Host {
        let all = crate::plan::process::known_mask(40);
        Host {
            euid: 0,
            egid: 0,
            user_namespace: false,
            capabilities: all,
            bounding: all,
            last_cap: 40,
            setgroups_denied: false,
            foreign_mounts: false,
            newuidmap: None,
            newgidmap: None,
            missing: Calls::default(),
            has_time_namespace: true,
            has_user_namespace: true,
            has_kcore: true,
            apparmor: Some(true),
            selinux: Some(true),
            cgroups: Layout { mode: Mode::Absent, hierarchies: vec![] },
            manager: None,
            rootless_cgroups: false,
            resctrl: None,
            kernel_mounts: vec![],
        }
    }

    /// Whether mounts, devices and namespaces can be made without a user namespace.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.capabilities & CAP_SYS_ADMIN != 0
    }

    /// Whether the caller may trace processes that are not dumpable.
    pub(crate) fn may_trace(&self) -> bool {
        self.capabilities & CAP_SYS_PTRACE != 0
    }

    /// Whether the caller may copy mounts of the namespace that he is in.
    #[must_use]
    pub fn may_copy_mounts(&self) -> bool {
        self.is_privileged() && !self.foreign_mounts
    }

    /// Whether the caller may write any `uid_map`, and whether any `gid_map`, of a user namespace that he makes.
    #[must_use]
    pub fn may_map(&self) -> [bool; 2] {
        [CAP_SETUID, CAP_SETGID].map(|capability| self.capabilities & capability != 0)
    }

    /// Looks for `newuidmap(1)` and `newgidmap(1)`, if they are needed, in directories separated by colons. Those that
    /// are not absolute count from wherever the caller happens to be, so they are left out.
    pub(crate) fn find_map_programs(&mut self, directories: &OsStr) {
        let find = |name: &str| {
            let dirs = directories.as_bytes().split(|b| *b == b':').map(|dir| Path::new(OsStr::from_bytes(dir)));
            let mut files = dirs.filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
            files.find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
        };
        let [uid, gid] = self.may_map();
        self.newuidmap = if uid { None } else { find("newuidmap") };
        self.newgidmap = if gid { None } else { find("newgidmap") };
    }
}

/// Its inode number.
fn own_user_namespace() -> Result<Option<u64>, Errno> {
    match rustix::fs::stat(c"/proc/self/ns/user") {
        Err(Errno::NOENT) => Ok(None), // A kernel without user namespaces.
        file => Ok(Some(file?.st_ino)),
    }
}

/// Whether the caller is certainly in another than the initial user namespace.
pub(crate) fn in_user_namespace() -> bool {
    own_user_namespace().is_ok_and(|inode| inode.is_some_and(|inode| inode != INITIAL_USER_NAMESPACE))
}

/// `NS_GET_USERNS` says which user namespace a mount namespace belongs to, unless that is above the caller's
/// (ioctl_nsfs(2)). On doubt he may not copy mounts.
fn has_foreign_mounts() -> bool {
    let own = rustix::fs::open(c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Bits::empty());
    own.and_then(|own| sys::owner_of_namespace(own.as_fd())).is_err()
}

/// One call tells where nothing is filtered and the kernel is recent: then all are there. Elsewhere each is asked for.
fn missing(status: &str) -> Calls {
    let unfiltered = status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "0"));
    if unfiltered && kernel::is_recent(&rustix::system::uname().release().to_string_lossy()) {
        return Calls::default();
    }
    Call::all().filter(|call| !sys::ask::is_there(*call)).collect()
}

fn exists(path: &CStr) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
}

/// The kernel has the file if AppArmor is built in, and lets it be read if it is enabled.
fn has_apparmor() -> bool {
    small_file::read(CWD, c"/proc/self/attr/apparmor/current").is_ok()
}

/// As libselinux does it: its file system is mounted, and not read-only, by which a container is told that it is to see no
/// SELinux. Before a policy is loaded everything is `kernel`, and any label would be taken and mean nothing.
fn has_selinux() -> bool {
    const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
    let Ok(found) = rustix::fs::statfs(c"/sys/fs/selinux") else { return false };
    let readonly = StatVfsMountFlags::RDONLY.bits();
    found.f_type == SELINUX_MAGIC
        && u64::try_from(found.f_flags).unwrap_or(readonly) & readonly == 0
        && small_file::read(CWD, c"/proc/self/attr/current").is_ok_and(|label| label.trim_end_matches('\0') != "kernel")
}

/// Asked of the bounding set, which knows every capability that the kernel knows: one call, where
/// `/proc/sys/kernel/cap_last_cap` takes three. What is newer than Linux 5.9 has no name here.
fn last_cap() -> u8 {
    let known = |cap: &u8| sys::prctl(libc::PR_CAPBSET_READ, u64::from(*cap), 0).is_ok();
    (0..=CAP_CHECKPOINT_RESTORE).rev().find(known).unwrap_or(0)
}

/// The mount point of a line of mountinfo, if all of a procfs or a sysfs is there.
fn kernel_mount(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    (root == b"/" && matches!(kind, b"proc" | b"sysfs")).then(|| unescaped(point))
}

/// The kernel writes blanks and the like as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { others.get(3..).unwrap_or_default() } else { others };
    }
    PathBuf::from(OsString::from_vec(path))
}

/// A hexadecimal mask of `/proc/PID/status`.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_mounts_are_whole_ones() {
        let found = |line: &str| kernel_mount(line.as_bytes()).map(|path| path.into_os_string().into_string().unwrap());
        assert_eq!(found("22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw").as_deref(), Some("/proc"));
        assert_eq!(found(r"60 1 0:21 / /a\040b\134040/sys rw - sysfs none rw").as_deref(), Some(r"/a b\040/sys"));
        assert_eq!(found("61 1 0:21 /sys /proc/sys ro shared:1 master:2 - proc proc rw"), None, "a part");
        assert_eq!(found("62 1 8:1 / /proc rw - ext4 /dev/sda1 rw"), None);
        assert_eq!(found("23 1 0:5 / / rw - rootfs proc rw"), None);
        assert_eq!(found(""), None);
    }
}
