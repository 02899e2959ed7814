//! `linux.mountLabel`: the SELinux context of everything in the file systems that are made for the container.
//!
//! It becomes an option of those file systems, which the kernel's SELinux takes before the file system sees it. procfs and
//! sysfs are labelled by policy, and so are cgroups; mqueue knows no option and is labelled by an extended attribute; what
//! is bound has labels already. Without SELinux there is nobody to take the option, and check warns.

use std::ffi::CString;

use super::{Planner, annotations};
use crate::error::At;

/// Types that do not take the option.
const WITHOUT: [&str; 5] = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue"];

/// The options of SELinux: mount(8). The first is the one that is meant unless an annotation says otherwise.
pub(crate) const KINDS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

impl Planner<'_> {
    fn mount_label(&self) -> Option<&str> {
        let label = self.spec.linux().as_ref()?.mount_label().as_deref()?;
        (!label.is_empty() && self.host.selinux != Some(false)).then_some(label)
    }

    /// The option for a file system of this type, unless its own options have one. The quotes are for the commas of
    /// categories.
    pub(super) fn context_option(&self, fstype: &str, own: &[(String, Option<String>)]) -> Option<String> {
        let has_own = own.iter().any(|(key, _)| KINDS.contains(&key.as_str()));
        let label = self.mount_label().filter(|_| !has_own && !WITHOUT.contains(&fstype))?;
        let kind = annotations::mount_context_type(self.spec).unwrap_or("context");
        Some(format!("{kind}=\"{label}\""))
    }

    /// The label of a file system that gets it as `security.selinux`.
    pub(super) fn label_attribute(&mut self, fstype: &str) -> Option<CString> {
        let label = self.mount_label().filter(|_| fstype == "mqueue").map(str::to_owned)?;
        Some(self.text(At::field("linux.mountLabel"), label))
    }
}
