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

/// A write whose file was found and read.
struct Prepared<'a> {
    member: &'a Member,
    write: &'a Write,
    file: &'a str,
    value: &'a str,
    before: String,
}

/// What leads back.
#[derive(Debug, Default)]
pub struct Undo {
    /// Path, what is to be found there, and the text that makes it so: in the order of the writes.
    steps: Vec<(String, String, String)>,
}

impl Undo {
    /// Has every file say again what it said before; what failed at that, in words.
    #[must_use]
    pub fn revert(self) -> Vec<String> {
        let back = |(path, before, text): (String, String, String)| {
            if dir::read(&path).is_ok_and(|now| now == before) {
                return None;
            }
            let failed = dir::write(&path, &text).err()?;
            Some(format!("{path} stays changed: {}", CgroupError::call(path.as_str(), "write", failed).of(&text)))
        };
        self.steps.into_iter().rev().filter_map(back).collect()
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
            bandwidth: read(self.v2(), "cpu.max"),
        }
    }

    /// Writes the plan's values, without its device rules. What has been written is in `done`, also if it fails.
    ///
    /// # Errors
    /// The first value that could not be set, with its place in the config.
    pub fn change(&self, plan: &Plan, done: &mut Undo) -> Result<(), CgroupError> {
        let mut prepared = Vec::new();
        for write in &plan.writes {
            if let Some(member) = self.member(plan, write)? {
                prepared.extend(member.prepare(write)?);
            }
        }
        write_all(&prepared, done)
    }
}

fn write_all(prepared: &[Prepared<'_>], done: &mut Undo) -> Result<(), CgroupError> {
    let mut again = Vec::new();
    for one in prepared {
        match one.write() {
            Err(Errno::INVAL) if one.write.how == How::Again => again.push(one),
            Err(errno) => return Err(one.explain(errno)),
            Ok(undo) => {
                done.steps.extend(undo);
                if one.write.how == How::ReadBack {
                    one.member.must_have_taken(one.write)?;
                }
            }
        }
    }
    for one in again {
        done.steps.extend(one.write().map_err(|errno| one.explain(errno))?);
    }
    Ok(())
}

impl Member {
    /// Finds the file and reads it. `None`: it is not there, and need not be.
    fn prepare<'a>(&'a self, write: &'a Write) -> Result<Option<Prepared<'a>>, CgroupError> {
        let mut found = (write.file.as_str(), write.value.as_str(), self.read(&write.file));
        if let (Err(Errno::NOENT), How::Or(file, value)) = (&found.2, &write.how) {
            found = (file, value, self.read(file));
        }
        let (file, value, before) = found;
        match before {
            Err(Errno::NOENT) if write.how == How::IfPresent => Ok(None),
            Err(Errno::NOENT) => Err(self.explain(write, Errno::NOENT)),
            // Some files can be written only (`memory.reclaim`), and some not be read just now.
            before => Ok(Some(Prepared { member: self, write, file, value, before: before.unwrap_or_default() })),
        }
    }
}

impl Prepared<'_> {
    fn explain(&self, errno: Errno) -> CgroupError {
        self.member.explain(&Write { file: self.file.into(), value: self.value.into(), ..self.write.clone() }, errno)
    }

    /// Writes it, and says what leads back: the kernel gives an idle cgroup another weight, and does not remember the old.
    fn write(&self) -> Result<Vec<(String, String, String)>, Errno> {
        let weight = if self.member.v2 { "cpu.weight" } else { "cpu.shares" };
        let weight = (self.file == "cpu.idle").then(|| self.member.read(weight).ok().map(|text| (weight, text)));
        let path = self.member.file(self.file);
        dir::write(&path, self.value)?;
        let weight = weight.flatten().map(|(file, text)| (self.member.file(file), text.clone(), text));
        let own = undo(self.file, self.value, &self.before).map(|text| (path, self.before.clone(), text));
        Ok(weight.into_iter().chain(own).collect())
    }
}
