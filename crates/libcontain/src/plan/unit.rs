//! What else is done when systemd makes the cgroup: the gate at which it takes the process, and to whom the cgroup is
//! delegated. The unit and its properties are in `cgroup`.

use super::cgroup::Mode;
use super::libc_flag::{NEWCGROUP, NEWUSER};
use super::{Gate, Op, Plan, Planner, idmap, mount_options};
use crate::error::At;

impl Plan {
    /// Whether a process stands between the runtime and init, which clones init.
    #[must_use]
    pub fn has_intermediate(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.op, Op::Fork { .. }))
    }
}

impl Planner<'_> {
    /// Before anything else: the manager takes a process that exists, and all that comes of it has its cgroup.
    pub(super) fn unit(&mut self) {
        if self.cgroup.unit.is_some() {
            self.cgroup.owner = self.delegate();
            self.step(At::field("linux.cgroupsPath"), Op::Gate(Gate::Cgroup));
        }
    }

    /// Who may make cgroups below the container's: the user of its process, if the config mounts them for writing and shows
    /// no others. `None` also where that is the caller, whose they are anyway.
    fn delegate(&self) -> Option<u32> {
        let writable = |mount: &crate::spec::Mount| {
            mount.destination().as_os_str() == "/sys/fs/cgroup"
                && mount.typ().as_deref().is_some_and(|kind| matches!(kind, "cgroup" | "cgroup2"))
                && mount_options::parse(mount.options().as_deref().unwrap_or_default()).set
                    & mount_options::attr::RDONLY
                    == 0
        };
        if !self.host.is_privileged() {
            return None; // nor may he give anything away
        }
        let shown = self.spec.mounts().iter().flatten().any(writable);
        if self.host.cgroups.mode != Mode::V2 || !self.ns.is_new(NEWCGROUP) || !shown || self.ns.is_joined(NEWUSER) {
            return None;
        }
        let uid = self.process()?.user().uid();
        let mappings = self.spec.linux().as_ref().and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
        let uid = if self.ns.has(NEWUSER) { idmap::host_id(mappings, uid)? } else { uid };
        Some(uid).filter(|uid| *uid != self.host.euid)
    }
}
