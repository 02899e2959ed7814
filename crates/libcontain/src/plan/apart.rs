//! Mounts, and a read-only root, of a container without a mount namespace of its own: it has the runtime's
//! (config-linux.md#namespaces), but they are not made there, where everybody would see them and nobody would unmount them. Init is cloned into a new one, as if
//! the config had asked for it, and leaves it again when all is built, with a copy of the root. That belongs to no
//! namespace, has nothing above it, and goes with the last process that is in it.

use oci_spec::runtime::Spec;

use super::libc_flag::{MS_UNBINDABLE, NEWNS, NEWUSER};
use super::{Op, Open, Planner, mount_options, namespaces::Wanted};
use crate::error::At;

/// The thread's and not the process's: the library's caller may have threads in others.
const OWN: &std::ffi::CStr = c"/proc/thread-self/ns/mnt";

const MOUNTS: At = At::field("mounts");

pub(super) fn is_wanted(spec: &Spec, namespaces: &Wanted) -> bool {
    !namespaces.has(NEWNS) && (has_mounts(spec) || has_readonly_root(spec))
}

fn has_mounts(spec: &Spec) -> bool {
    spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty())
}

fn has_readonly_root(spec: &Spec) -> bool {
    spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false)
}

impl Planner<'_> {
    /// Copies are made of mounts of one's own namespace only, so this comes when nothing more is mounted.
    pub(super) fn leave_mount_namespace(&mut self) {
        if !self.apart {
            return;
        }
        let clause = "config.md#mounts";
        if self.ns.has(NEWUSER) || !self.host.may_copy_mounts() {
            let (at, what) = match has_mounts(self.spec) {
                true => (MOUNTS, "mounts need"),
                false => (At::field("root.readonly"), "needs"),
            };
            let text = "a mount namespace: without privilege over the runtime's, nobody comes back to it";
            self.problem(at, clause, format!("{what} {text}"));
        }
        for (i, mount) in self.spec.mounts().iter().flatten().enumerate() {
            let options = mount_options::parse(mount.options().as_deref().unwrap_or(&[]));
            if options.propagation.iter().any(|flags| flags & MS_UNBINDABLE != 0) {
                let text = "unbindable needs a mount namespace: without one the mounts are copied";
                self.problem(At::item("mounts[#].options", i), clause, text);
            }
        }
        let runtimes = self.need(MOUNTS, Open::Namespace { path: OWN.to_owned(), kind: NEWNS, unless_own: None });
        self.step(MOUNTS, Op::LeaveMountNamespace(runtimes));
    }
}
