//! Writing the limits.
//!
//! Owns `apply`: the plan's writes in the plan's order, before anybody is in the cgroup. What a failing write
//! means was decided by the plan (`How`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

use super::{Cgroup, CgroupError, Member, dir};
use crate::plan::cgroup::{How, Plan, Write};
use crate::plan::devices::Program;
use crate::sys::bpf;

impl Cgroup {
    /// Writes the plan's values and attaches its device program. To be called on a cgroup that nobody has joined
    /// yet: some limits cannot be set later, and none of them should come late.
    ///
    /// # Errors
    /// The first value that could not be set, with its place in the config.
    pub fn apply(&self, plan: &Plan) -> std::result::Result<(), CgroupError> {
        let mut again = Vec::new();
        let mut open = Open(None);
        for write in &plan.writes {
            let Some(member) = self.member(plan, write)? else { continue };
            match member.fill(write, &mut open) {
                Err(Errno::INVAL) if write.how == How::Again => again.push((member, write)),
                Err(_) if write.how == How::Tolerated => {}
                Err(errno) => return Err(member.explain(write, errno)),
                Ok(()) if write.how == How::ReadBack => member.must_have_taken(write)?,
                Ok(()) => {}
            }
        }
        for (member, write) in again {
            member.fill(write, &mut open).map_err(|errno| member.explain(write, errno))?;
        }
        match (&plan.devices, self.v2(), &self.entry) {
            (Some(program), Some(member), Some(dir)) => member.attach(dir.as_fd(), program, plan.tolerate_devices),
            _ => Ok(()),
        }
    }

    /// Rootless containers may lack a directory; limits that need it were refused when it was not made.
    pub(super) fn member(&self, plan: &Plan, write: &Write) -> std::result::Result<Option<&Member>, CgroupError> {
        let path = plan.dirs.get(write.dir).map(crate::plan::cgroup::Dir::absolute).unwrap_or_default();
        let member = self.members.iter().find(|m| m.path == path);
        if member.is_none() && write.how != How::Tolerated {
            let text = format!("cannot set {} limit: container could not join or create cgroup", write.controller);
            return Err(CgroupError::text(path, text).at(write.at));
        }
        Ok(member)
    }
}

/// The file that was written last: a dozen device rules go through one descriptor.
struct Open<'a>(Option<(usize, &'a str, OwnedFd)>);

impl<'a> Open<'a> {
    fn write(&mut self, member: &Member, write: &'a Write) -> Result<()> {
        let fd = match self.0.take() {
            Some((dir, file, fd)) if dir == write.dir && file == write.file => fd,
            _ => dir::writable(&member.file(&write.file))?,
        };
        let (_, _, fd) = self.0.insert((write.dir, write.file.as_str(), fd));
        rustix::io::write(fd, write.value.as_bytes()).map(|_| ())
    }
}

impl Member {
    fn fill<'a>(&self, write: &'a Write, open: &mut Open<'a>) -> Result<()> {
        match (open.write(self, write), &write.how) {
            (Err(Errno::NOENT), How::IfPresent) => Ok(()),
            (Err(Errno::NOENT), How::Or(file, value)) => self.write(file, value),
            (result, _) => result,
        }
    }

    pub(super) fn explain(&self, write: &Write, errno: Errno) -> CgroupError {
        let error = CgroupError::call(self.file(&write.file), "write", errno).at(write.at).of(&write.value);
        let controller = write.file.split('.').next().unwrap_or_default();
        let available = || self.read("cgroup.controllers").unwrap_or_default();
        if errno == Errno::NOENT && self.v2 && !available().split_whitespace().any(|c| c == controller) {
            return error.because(format!("{:?} can't be set: controller {controller:?} not available", write.file));
        }
        if errno == Errno::BUSY && write.file == "memory.limit_in_bytes" {
            let read = |file| self.read(file).unwrap_or_default();
            let (usage, peak) = (read("memory.usage_in_bytes"), read("memory.max_usage_in_bytes"));
            let limit = &write.value;
            let text = format!("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})");
            return error.because(text);
        }
        error
    }

    pub(super) fn must_have_taken(&self, write: &Write) -> std::result::Result<(), CgroupError> {
        let taken = self.read(&write.file).map_err(|errno| self.explain(write, errno))?;
        let (Ok(asked), Ok(taken)) = (write.value.parse::<u64>(), taken.parse::<u64>()) else { return Ok(()) };
        let which = match asked.cmp(&taken) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => "minimum",
            std::cmp::Ordering::Greater => "maximum",
        };
        let text = format!("the {which} allowed cpu-shares is {taken}");
        Err(CgroupError::text(self.path.as_str(), text).at(write.at))
    }

    fn attach(&self, dir: BorrowedFd<'_>, program: &Program, tolerate: bool) -> std::result::Result<(), CgroupError> {
        let attached = bpf::load_device_program(&program.bytes())
            .and_then(|loaded| bpf::attach_device_program(dir, loaded.as_fd()));
        match attached {
            Err(errno) if !tolerate => {
                let error = CgroupError::call(self.path.as_str(), "bpf", errno);
                Err(error.at(crate::error::At::field("linux.resources.devices")))
            }
            _ => Ok(()),
        }
    }
}
