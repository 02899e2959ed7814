//! A root without `pivot_root(2)`: the host's mounts stay, out of reach below the container's root.
//!
//! Out of reach, but not without effect. In a user namespace a process may mount a procfs or a sysfs if its mount namespace
//! has one that shows as much, wherever that is (`mount_too_revealing()` in Linux): the host's would do, and what the config
//! masks could be seen and written all the same. So these do not stay.

use std::os::unix::ffi::OsStrExt;

use super::{Op, Planner};
use crate::error::At;

impl Planner<'_> {
    /// Comes when no host path is needed any more, and before the root is entered.
    pub(super) fn hide_kernel_mounts(&mut self, at: At) {
        let host = self.host;
        // A root that is attached at its own path covers what the host has there.
        let covered = (!self.attaches_over_slash()).then(|| self.absolute_root());
        for path in &host.kernel_mounts {
            if covered.as_ref().is_some_and(|root| path.starts_with(root)) {
                continue;
            }
            let path = self.text(at, path.as_os_str().as_bytes());
            self.step(at, Op::HideHost(path));
        }
    }
}
