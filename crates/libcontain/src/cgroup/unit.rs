//! A cgroup that systemd has made, or the part of it that it knows of.
//!
//! Owns how init comes into the rest, and to whom the cgroup is delegated. systemd's own directories stay as they are.

use rustix::fs::{CWD, Uid};
use rustix::io::Errno;

use super::{Cgroup, CgroupError, Member};
use crate::plan::cgroup::Plan;
use crate::plan::systemd::Unit;
use crate::small_file;

/// The files that go with a delegated cgroup, as the kernel lists them since Linux 4.15; and those of before.
const DELEGATED: &str = "/sys/kernel/cgroup/delegate";
const OLDER: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

impl Cgroup {
    /// Moves a process into the directories that it is not in yet: v1 hierarchies that are not systemd's, or a slice, in
    /// which systemd puts nobody.
    ///
    /// # Errors
    /// It may not be moved. Or systemd has made the scope elsewhere: then what is written here would limit nobody.
    pub(crate) fn adopt(&self, pid: u32, unit: &Unit, plan: &Plan) -> Result<(), CgroupError> {
        let number = pid.to_string();
        for member in &self.members {
            let listed = member.read("cgroup.procs").unwrap_or_default();
            if listed.lines().any(|line| line == number) {
                continue;
            }
            if unit.holds_processes && member.v2 && self.members.len() == 1 {
                let text = format!("systemd has made unit {:?}, but its cgroup is not {}", unit.name, member.path);
                return Err(CgroupError::text(member.path.as_str(), text));
            }
            match member.write("cgroup.procs", &number) {
                Ok(()) => {}
                Err(Errno::ACCESS | Errno::PERM) if plan.may_be_left_out() => {}
                Err(errno) => {
                    return Err(CgroupError::call(member.file("cgroup.procs"), "write", errno).of_the_path());
                }
            }
        }
        Ok(())
    }

    /// Gives the v2 directory to the user whom the container's root is on the host, so that it can make cgroups of its own:
    /// the directory, and the files that are about what is below. Limits stay out of reach.
    ///
    /// # Errors
    /// `chown`: the caller may not give it away.
    pub(crate) fn delegate(&self, uid: u32) -> Result<(), CgroupError> {
        let Some(member) = self.v2() else { return Ok(()) };
        let files = small_file::read(CWD, DELEGATED).unwrap_or_else(|_| OLDER.into());
        member.give("", uid)?;
        files.lines().try_for_each(|file| member.give(file, uid))
    }
}

impl Member {
    fn give(&self, file: &str, uid: u32) -> Result<(), CgroupError> {
        let path = if file.is_empty() { self.path.clone() } else { self.file(file) };
        match rustix::fs::chown(path.as_str(), Some(Uid::from_raw(uid)), None) {
            Ok(()) | Err(Errno::NOENT) => Ok(()), // not every file is there in every cgroup
            Err(errno) => Err(CgroupError::call(path, "chown", errno).of_the_path()),
        }
    }
}
