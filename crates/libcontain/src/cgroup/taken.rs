//! Whose a cgroup is that was there already, and whether a process in it would run.
//!
//! Owns the reasons not to use an existing cgroup. Invariant: nothing is changed here. A container whose init joined a
//! cgroup of somebody else would set limits for his processes, and be killed with them; one in a frozen cgroup would never
//! report, and its `create` would wait for ever.

use rustix::io::Errno;

use super::{CgroupError, Member, dir};

type Checked<T> = std::result::Result<T, CgroupError>;

/// systemd marks the cgroups of its units (`cgroup_xattr_apply`), in the hierarchy that it keeps: until v250 in the name space
/// of root alone.
const UNIT_MARKS: [&str; 2] = ["user.invocation_id", "trusted.invocation_id"];

impl Member {
    /// Not another user's, who could change its limits and kill what is in it, and not one that systemd manages. The
    /// former is a refusal by permission, as if the directory were not to be written.
    pub(super) fn must_be_the_callers(&self) -> Checked<()> {
        let owner = dir::owner(&self.path).map_err(|e| CgroupError::call(self.path.as_str(), "stat", e))?;
        if owner != rustix::process::geteuid().as_raw() {
            let text = format!("container's cgroup {} belongs to another user (uid {owner})", self.path);
            let error = CgroupError::text(self.path.as_str(), text);
            return Err(CgroupError { errno: Errno::ACCESS.raw_os_error(), ..error });
        }
        if UNIT_MARKS.iter().any(|mark| dir::has_mark(&self.path, mark)) {
            let text = format!("container's cgroup {} is that of a systemd unit", self.path);
            return Err(CgroupError::text(self.path.as_str(), text));
        }
        Ok(())
    }

    /// Nobody in it nor below, and not frozen.
    pub(super) fn must_be_unused(&self) -> Checked<()> {
        let pids = self.pids().map_err(|e| CgroupError::call(self.path.as_str(), "read", e))?;
        let who = match pids.len() {
            // Who is in another pid namespace has no number here, and a threaded cgroup no list of processes.
            0 if self.v2 && self.says("cgroup.events", "populated 1") => {
                "threads, or processes of another pid namespace,"
            }
            0 => "",
            _ => "process(es)",
        };
        if !who.is_empty() {
            let count = if pids.is_empty() { String::new() } else { format!("{} ", pids.len()) };
            let text = format!("container's cgroup is not empty: {count}{who} found");
            return Err(CgroupError::text(self.path.as_str(), text));
        }
        if self.is_frozen() {
            return Err(CgroupError::text(self.path.as_str(), "container's cgroup unexpectedly frozen"));
        }
        Ok(())
    }

    /// What is made below a frozen cgroup is frozen.
    pub(super) fn must_not_be_frozen_above(&self) -> Checked<()> {
        let frozen = match self.v2 {
            true => self.says("cgroup.events", "frozen 1"),
            false => self.stands_for("freezer") && self.says("freezer.parent_freezing", "1"),
        };
        if frozen {
            let text = format!("container's cgroup unexpectedly frozen: one above {} is", self.path);
            return Err(CgroupError::text(self.path.as_str(), text));
        }
        Ok(())
    }

    fn says(&self, file: &str, line: &str) -> bool {
        self.read(file).is_ok_and(|text| text.lines().any(|l| l == line))
    }
}
