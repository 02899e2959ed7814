//! Changing the device rules of a cgroup that is in use.
//!
//! Invariant: what was allowed and stays allowed is refused to nobody meanwhile, also in cgroups below. On v2 one program
//! takes the place of another. On v1 lines are written in the order of the [`Transition`]; where that leads over another
//! default, the container is frozen for the time, and a runtime that is killed then leaves it paused.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::{Cgroup, CgroupError, Member, dir};
use crate::error::At;
use crate::plan::devices::{Policy, Transition};
use crate::sys::bpf;

const AT: At = At::field("linux.resources.devices");
const LIST: &str = "devices.list";
const ALLOW: &str = "devices.allow";

type Result<T> = std::result::Result<T, CgroupError>;

/// What leads back.
#[derive(Debug)]
pub enum DeviceUndo {
    /// v1: the policy of before.
    Policy(Policy),
    /// v2: our program of before, if there was one.
    Program(Option<OwnedFd>),
}

impl Cgroup {
    /// What leads back to the rules that are in force. `old` is what the container's record says: the kernel does not show
    /// all of it. `None`: there is nothing to restrict devices with.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn device_rules(&self, old: &Policy) -> Result<Option<DeviceUndo>> {
        match (self.v1("devices"), self.v2()) {
            (Some(member), _) => member.policy(old).map(|policy| Some(DeviceUndo::Policy(policy))),
            (None, Some(member)) => Ok(Some(DeviceUndo::Program(member.programs()?.into_iter().next()))),
            (None, None) => Ok(None),
        }
    }

    /// Puts the policy `new` in place of what is in force.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn change_devices(&self, old: &Policy, new: &Policy) -> Result<()> {
        match (self.v1("devices"), self.v2()) {
            (Some(member), _) => member.policy(old).and_then(|now| self.follow(member, &now, new)),
            (None, Some(member)) => {
                let program = new.program().map_err(|text| CgroupError::text(member.path.as_str(), text).at(AT))?;
                let loaded = program.map(|program| bpf::load_device_program(&program.bytes())).transpose();
                member.put_program(loaded.map_err(|errno| member.bpf_failed(errno))?.as_ref())
            }
            (None, None) => Ok(()),
        }
    }

    /// Has the old rules in force again; what failed at that, in words. `new` is what they were to become.
    #[must_use]
    pub fn revert_devices(&self, undo: DeviceUndo, new: &Policy) -> Option<String> {
        let done = match (undo, self.v1("devices"), self.v2()) {
            // What was written so far may be anything between the two.
            (DeviceUndo::Policy(old), Some(member), _) => {
                member.policy(new).and_then(|between| self.follow(member, &between, &old))
            }
            (DeviceUndo::Program(old), None, Some(member)) => member.put_program(old.as_ref()),
            _ => Ok(()),
        };
        done.err().map(|error| format!("the device rules stay changed: {error}"))
    }

    /// v1: from `now`, which is in force, to `new`.
    fn follow(&self, member: &Member, now: &Policy, new: &Policy) -> Result<()> {
        // Everything can be allowed by wildcards, too; the kernel keeps the default of a cgroup that has others below.
        let wildcards = new.allows_all() && !now.allow && !member.below()?.is_empty();
        let target = if wildcards { &Policy::wildcards() } else { new };
        let transition = now.transition(target);
        if transition.changes_default && !self.frozen() {
            let failed = |e: io::Error| CgroupError::text(member.path.as_str(), e.to_string()).at(AT);
            self.freeze().map_err(failed)?;
            let followed = member.follow(&transition, now, target);
            let thawed = self.thaw().map_err(|e| failed(io::Error::other(format!("unable to thaw: {e}"))));
            return followed.and(thawed);
        }
        member.follow(&transition, now, target)
    }
}

impl Member {
    /// What is in force on v1. The list says nothing about the exceptions of a cgroup that allows by default: then it is
    /// what the record says.
    fn policy(&self, recorded: &Policy) -> Result<Policy> {
        let list = self.read(LIST).map_err(|e| CgroupError::call(self.file(LIST), "read", e).at(AT))?;
        let allows = || if recorded.allow { recorded.clone() } else { Policy { allow: true, ..Policy::default() } };
        Ok(Policy::listed(&list).unwrap_or_else(allows))
    }

    fn follow(&self, transition: &Transition, now: &Policy, target: &Policy) -> Result<()> {
        let (allow, deny): (Vec<_>, Vec<_>) = transition.lines.iter().partition(|(file, _)| *file == ALLOW);
        if transition.changes_default {
            self.write_lines(&transition.lines)?;
        } else {
            self.write_lines(allow.iter().copied())?;
            self.tell_below(&allow, now)?;
            self.write_lines(deny)?;
        }
        let after = self.policy(target)?;
        if after.is_same(target) {
            return Ok(());
        }
        let text = format!("{LIST} is not as asked for: {:?}", self.read(LIST).unwrap_or_default());
        Err(CgroupError::text(self.path.as_str(), text).at(AT))
    }

    fn write_lines<'a>(&self, lines: impl IntoIterator<Item = &'a (&'static str, String)>) -> Result<()> {
        let write = |(file, value): &(&str, String)| self.write(file, value).map_err(|e| self.refused(file, value, e));
        lines.into_iter().try_for_each(write)
    }

    fn refused(&self, file: &str, value: &str, errno: Errno) -> CgroupError {
        let error = CgroupError::call(self.file(file), "write", errno).at(AT).of(value);
        match errno {
            Errno::INVAL if value == "a" => {
                error.because("the default of a v1 devices cgroup cannot be changed while there are cgroups below it")
            }
            Errno::PERM => error.because("the cgroup above does not allow it"),
            _ => error,
        }
    }

    /// What is refused here, the kernel refuses below as well. What is allowed has to be told to those that have had the
    /// same rules; others have been given rules of their own, inside, on purpose. Before anything is refused here, which
    /// may be what they have had in its place; and after it is allowed here, which new cgroups begin with.
    fn tell_below(&self, allow: &[&(&'static str, String)], old: &Policy) -> Result<()> {
        for path in self.below()? {
            let Ok(list) = dir::read(&format!("{path}/{LIST}")) else { continue };
            if !Policy::listed(&list).map_or(old.allow, |had| had.is_same(old)) {
                continue;
            }
            for (file, value) in allow {
                let file = format!("{path}/{file}");
                match dir::write(&file, value) {
                    Err(Errno::NOENT | Errno::NODEV) => break,
                    told => told.map_err(|e| CgroupError::call(file, "write", e).at(AT).of(value))?,
                }
            }
        }
        Ok(())
    }

    /// The cgroups below, outer ones first.
    fn below(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut todo = vec![self.path.clone()];
        while let Some(path) = todo.pop() {
            let children = dir::open(&path).and_then(|fd| dir::children(fd.as_fd()));
            let children = match children {
                Err(Errno::NOENT | Errno::NODEV) => continue,
                children => children.map_err(|e| CgroupError::call(path.as_str(), "read", e).at(AT))?,
            };
            let paths: Vec<String> = children.iter().map(|c| format!("{path}/{}", c.to_string_lossy())).collect();
            todo.extend(paths.iter().cloned());
            found.extend(paths);
        }
        Ok(found)
    }

    /// Has this program, and no other of ours, attached.
    fn put_program(&self, program: Option<&OwnedFd>) -> Result<()> {
        let cgroup = dir::open(&self.path).map_err(|e| CgroupError::call(self.path.as_str(), "open", e).at(AT))?;
        let mut ours = self.programs()?.into_iter();
        let put = match (program, ours.next()) {
            (Some(new), Some(old)) => bpf::replace_device_program(cgroup.as_fd(), new.as_fd(), old.as_fd()),
            (Some(new), None) => bpf::attach_device_program(cgroup.as_fd(), new.as_fd()),
            (None, Some(old)) => bpf::detach_device_program(cgroup.as_fd(), old.as_fd()),
            (None, None) => Ok(()),
        };
        put.map_err(|errno| self.bpf_failed(errno))?;
        // There is one; more would all have to say yes.
        ours.try_for_each(|old| bpf::detach_device_program(cgroup.as_fd(), old.as_fd()))
            .map_err(|errno| self.bpf_failed(errno))
    }

    fn programs(&self) -> Result<Vec<OwnedFd>> {
        let cgroup = dir::open(&self.path).and_then(|fd| bpf::own_device_programs(fd.as_fd()));
        cgroup.map_err(|errno| self.bpf_failed(errno))
    }

    fn bpf_failed(&self, errno: Errno) -> CgroupError {
        CgroupError::call(self.path.as_str(), "bpf", errno).at(AT)
    }
}
