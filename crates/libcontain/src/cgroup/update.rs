//! Changing the limits of a cgroup that is in use, all of them or none.
//!
//! Owns [`Undo`]: for each file that was written, what was read from it before the first write. Whoever drops it without
//! a word keeps the change.
//!
//! Invariants: nothing is written before every file has been read; what is taken back is so in reverse, so that each step
//! is to a state that the kernel has accepted before.

use rustix::io::Errno;

use super::{Cgroup, CgroupError, Member, dir};
use crate::plan::cgroup::update::{Facts, undo};
use crate::plan::cgroup::{How, Plan, Write};

/// Writes whose files were found and read: nothing has been written yet.
#[derive(Debug)]
pub struct Prepared<'a>(Vec<One<'a>>);

#[derive(Debug)]
struct One<'a> {
    member: &'a Member,
    write: &'a Write,
    file: &'a str,
    value: &'a str,
    /// `None`: it can be written only.
    before: Option<String>,
}

/// What leads back.
#[derive(Debug, Default)]
pub struct Undo {
    /// Path, what is to be found there, and the text that makes it so: in the order of the writes.
    steps: Vec<(String, String, String)>,
}

impl Undo {
    /// Has every file say again what it said before; what failed at that, in words. What was written in another order, as
    /// the kernel took it ([`How::Again`]), does not go back in one go.
    #[must_use]
    pub fn revert(self) -> Vec<String> {
        let back = |(path, before, text): &(String, String, String)| {
            if dir::read(path).is_ok_and(|now| now == *before) {
                return None;
            }
            let failed = dir::write(path, text).err()?;
            Some(format!("{path} stays changed: {}", CgroupError::call(path.as_str(), "write", failed).of(text)))
        };
        let refused: Vec<_> = self.steps.iter().rev().filter(|step| back(step).is_some()).collect();
        refused.into_iter().filter_map(back).collect()
    }
}

impl Cgroup {
    /// What an update has to know.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let read = |member: Option<&Member>, file: &str| member.and_then(|m| m.read(file).ok());
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        Facts {
            limit_with_swap: number(read(self.v1("memory"), "memory.memsw.limit_in_bytes")),
            usage: number(read(self.v2(), "memory.current")),
            swap_usage: number(read(self.v2(), "memory.swap.current")),
            bandwidth: self.bandwidth(),
            tasks: read(self.v1("pids").or(self.v2()), "pids.max"),
        }
    }

    fn bandwidth(&self) -> Option<String> {
        let Some(member) = self.v1("cpu") else { return self.v2()?.read("cpu.max").ok() };
        let read = |file: &str| member.read(file).ok();
        Some(format!("{} {}", read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?))
    }

    /// Finds and reads the files of the plan's values, without its device rules.
    ///
    /// # Errors
    /// One is not there, and has to be.
    pub fn prepare<'a>(&'a self, plan: &'a Plan) -> Result<Prepared<'a>, CgroupError> {
        let mut prepared = Vec::new();
        for write in &plan.writes {
            if let Some(member) = self.member(plan, write)? {
                prepared.extend(member.prepare(write)?);
            }
        }
        Ok(Prepared(prepared))
    }
}

impl Prepared<'_> {
    /// What leads back to here, whoever writes to these files from now on.
    #[must_use]
    pub fn undo(&self) -> Undo {
        Undo { steps: self.0.iter().flat_map(One::undo).collect() }
    }

    /// Writes the values.
    ///
    /// # Errors
    /// The first that could not be set, with its place in the config.
    pub fn write(&self) -> Result<(), CgroupError> {
        let mut again = Vec::new();
        for one in &self.0 {
            match dir::write(&one.member.file(one.file), one.value) {
                Err(Errno::INVAL) if one.write.how == How::Again => again.push(one),
                Err(errno) => return Err(one.explain(errno)),
                Ok(()) if one.write.how == How::ReadBack => one.member.must_have_taken(one.write)?,
                Ok(()) => {}
            }
        }
        let write = |one: &One<'_>| dir::write(&one.member.file(one.file), one.value).map_err(|e| one.explain(e));
        again.into_iter().try_for_each(write)
    }
}

impl Member {
    /// Finds the file and reads it. `None`: it is not there, and need not be.
    fn prepare<'a>(&'a self, write: &'a Write) -> Result<Option<One<'a>>, CgroupError> {
        let mut found = (write.file.as_str(), write.value.as_str(), self.read(&write.file));
        if let (Err(Errno::NOENT), How::Or(file, value)) = (&found.2, &write.how) {
            found = (file, value, self.read(file));
        }
        let (file, value, before) = found;
        match before {
            Err(Errno::NOENT) if write.how == How::IfPresent => Ok(None),
            Err(Errno::NOENT) => Err(self.explain(write, Errno::NOENT)),
            before => Ok(Some(One { member: self, write, file, value, before: before.ok() })),
        }
    }
}

impl One<'_> {
    fn explain(&self, errno: Errno) -> CgroupError {
        self.member.explain(&Write { file: self.file.into(), value: self.value.into(), ..self.write.clone() }, errno)
    }

    /// The kernel gives an idle cgroup another weight, and does not remember the old: that comes back after idle.
    fn undo(&self) -> Vec<(String, String, String)> {
        let weight = if self.member.v2 { "cpu.weight" } else { "cpu.shares" };
        let weight = (self.file == "cpu.idle").then(|| self.member.read(weight).ok().map(|text| (weight, text)));
        let weight = weight.flatten().map(|(file, text)| (self.member.file(file), text.clone(), text));
        let own = self.before.as_ref().and_then(|before| {
            let text = undo(self.file, self.value, before)?;
            Some((self.member.file(self.file), before.clone(), text))
        });
        weight.into_iter().chain(own).collect()
    }
}
