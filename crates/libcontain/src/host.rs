//! Facts about the machine and the caller, asked once.
//!
//! The plan reads a [`Host`] and nothing else of the machine, so any machine can be faked: all fields are public and a
//! test writes the struct by hand. [`Host::probe`] is the only place that asks.

use std::ffi::CStr;
use std::io;

use oci_spec::runtime::Spec;
use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;

use crate::plan::cgroup::Layout;
#[cfg(test)]
use crate::plan::cgroup::Mode;
use crate::{small_file, sys};

const CAP_CHECKPOINT_RESTORE: u8 = 40;
const CAP_SYS_ADMIN: u64 = 1 << 21;

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
    /// Missing permission for cgroups is tolerated where no limit is asked for.
    pub rootless_cgroups: bool,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` or `/sys/fs/cgroup` cannot be read.
    pub fn probe() -> io::Result<Host> {
        let status = small_file::read(CWD, c"/proc/self/status")?;
        let own_namespace = match rustix::fs::stat(c"/proc/self/ns/user") {
            Err(Errno::NOENT) => None, // A kernel without user namespaces.
            file => Some(file?.st_ino),
        };
        let user_namespace = own_namespace.is_some_and(|inode| inode != INITIAL_USER_NAMESPACE);
        let euid = rustix::process::geteuid().as_raw();
        Ok(Host {
            euid,
            egid: rustix::process::getegid().as_raw(),
            user_namespace,
            capabilities: mask(&status, "CapEff:"),
            bounding: mask(&status, "CapBnd:"),
            last_cap: last_cap(),
            setgroups_denied: user_namespace && small_file::read(CWD, c"/proc/self/setgroups")?.starts_with("deny"),
            has_time_namespace: exists(c"/proc/self/ns/time"),
            has_user_namespace: own_namespace.is_some(),
            has_kcore: exists(c"/proc/kcore"),
            apparmor: None,
            selinux: None,
            cgroups: crate::cgroup::probe()?,
            rootless_cgroups: euid != 0 || user_namespace,
        })
    }

    /// Asks what only some configs depend on, unless it is known: most containers are made without these calls.
    pub fn ask_for(&mut self, spec: &Spec) {
        let Some(process) = spec.process() else { return };
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if self.apparmor.is_none() && given(process.apparmor_profile()) {
            self.apparmor = Some(has_apparmor());
        }
        if self.selinux.is_none() && given(process.selinux_label()) {
            self.selinux = Some(has_selinux());
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
            has_time_namespace: true,
            has_user_namespace: true,
            has_kcore: true,
            apparmor: Some(true),
            selinux: Some(true),
            cgroups: Layout { mode: Mode::Absent, hierarchies: vec![] },
            rootless_cgroups: false,
        }
    }

    /// Whether mounts, devices and namespaces can be made without a user namespace.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.capabilities & CAP_SYS_ADMIN != 0
    }
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

/// A hexadecimal mask of `/proc/PID/status`.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}
