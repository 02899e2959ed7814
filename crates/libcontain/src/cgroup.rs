//! Does what `plan/cgroup.rs` planned: makes the container's cgroup, writes its limits, signals what is in it
//! and removes it.
//!
//! Owns [`probe`] (the machine's hierarchies) and [`Cgroup`] (one directory per hierarchy, by path).
//!
//! Invariants: every path lies below the root of a hierarchy below `/sys/fs/cgroup` and has no `..`; nothing outside
//! the planned directories and the levels above them is touched; the working directory is not used. Nothing is
//! opened that is neither read nor written: there are a dozen hierarchies, and each call counts twelvefold. Nothing
//! is retried that the plan or the kernel's documentation does not say to retry.
//!
//! Must not enter: decisions about values or paths. Joining is done by the child itself, by writing `0` to the v1
//! `tasks` files, or with `CLONE_INTO_CGROUP`: moving another process costs an RCU grace period.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

use crate::error::At;
use crate::plan::cgroup::ROOT;

mod devices;
mod dir;
mod enter;
mod fill;
mod life;
mod make;
mod probe;
mod stats;
mod taken;
mod unit;
mod update;
mod watch;

pub(crate) use enter::directory_of;
pub(crate) use watch::{Events, Oom};

pub use devices::DeviceUndo;
pub use probe::probe;
pub use update::Undo;

/// The cgroup of a container: its directories, by hierarchy. Any of them may be gone at any time.
#[derive(Debug, Default)]
pub struct Cgroup {
    members: Vec<Member>,
    /// The v2 directory, or the first one where there is no v2, open and locked where this process has made it.
    entry: Option<OwnedFd>,
}

/// The directory in one hierarchy.
#[derive(Debug)]
struct Member {
    /// The controllers it stands for; empty for v2.
    keys: Vec<String>,
    /// Absolute.
    path: String,
    v2: bool,
}

/// What failed on a cgroup, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupError {
    /// The place in the config that asked for it, if a value did.
    pub at: Option<At>,
    /// The file or directory.
    pub path: String,
    /// What was written; empty when nothing was.
    pub value: Box<str>,
    /// The system call; empty when none failed.
    pub call: &'static str,
    /// Its errno; 0 when none failed.
    pub errno: i32,
    /// What it means to the user; empty when the call says it all.
    pub text: String,
}

impl CgroupError {
    fn call(path: impl Into<String>, call: &'static str, errno: Errno) -> Self {
        CgroupError { call, errno: errno.raw_os_error(), ..CgroupError::text(path, "") }
    }

    fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        CgroupError { at: None, path: path.into(), value: "".into(), call: "", errno: 0, text: text.into() }
    }

    fn at(self, at: At) -> Self {
        CgroupError { at: Some(at), ..self }
    }

    /// What is wrong with the cgroup itself and not with a limit.
    fn of_the_path(self) -> Self {
        CgroupError { at: self.at.or(Some(At::field("linux.cgroupsPath"))), ..self }
    }

    fn of(self, value: &str) -> Self {
        CgroupError { value: value.into(), ..self }
    }

    fn because(self, text: impl Into<String>) -> Self {
        CgroupError { text: text.into(), ..self }
    }

    /// Processes are in it, dying or alive.
    fn is_busy(&self) -> bool {
        [Errno::BUSY, Errno::NOTEMPTY].iter().any(|e| e.raw_os_error() == self.errno)
    }

    /// A rootless caller gets these for what belongs to root.
    pub(crate) fn is_permission(&self) -> bool {
        [Errno::ACCESS, Errno::PERM, Errno::ROFS].iter().any(|e| e.raw_os_error() == self.errno)
    }
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.text)?;
        if self.call.is_empty() {
            return Ok(());
        }
        let separator = if self.text.is_empty() { "" } else { ": " };
        let reason = io::Error::from_raw_os_error(self.errno).to_string();
        // Callers look for Go's spelling, which has a small letter and no number.
        let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
        write!(f, "{separator}{} {}", self.call, self.path)?;
        if !self.value.is_empty() {
            write!(f, " {:?}", self.value)?;
        }
        write!(f, ": {reason}")
    }
}

impl std::error::Error for CgroupError {}

impl Member {
    fn stands_for(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key)
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn read(&self, name: &str) -> Result<String> {
        dir::read(&self.file(name))
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        dir::write(&self.file(name), value)
    }
}

impl Cgroup {
    /// The container's cgroup as state.json names it (`cgroup_paths`): the empty key is v2, the others are v1 controllers.
    /// Paths that do not lie below a hierarchy's root are left out, because killing there would be about the whole machine.
    #[must_use]
    pub fn from_paths(paths: &BTreeMap<String, String>) -> Cgroup {
        let mut members: Vec<Member> = Vec::new();
        for (key, path) in paths.iter().filter(|(key, path)| is_below_a_root(key, path)) {
            let v2 = key.is_empty();
            match members.iter_mut().find(|m| m.path == *path && !v2) {
                Some(member) => member.keys.push(key.clone()),
                None => members.push(Member {
                    keys: if v2 { Vec::new() } else { vec![key.clone()] },
                    path: path.clone(),
                    v2,
                }),
            }
        }
        Cgroup { members, entry: None }
    }

    /// The v2 directory that [`Cgroup::create`] made, for `CLONE_INTO_CGROUP`: the container's only cgroup, or that of
    /// a hybrid machine.
    #[must_use]
    pub fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2().and(self.entry.as_ref()).map(AsFd::as_fd)
    }

    /// Whether this directory is one of its.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.members.iter().any(|m| m.path == path)
    }

    /// Gives up the v2 directory, which cannot be entered: it goes if it was made here, and stays whose it is otherwise.
    pub(crate) fn leave_v2(&mut self) {
        for member in self.members.extract_if(.., |m| m.v2) {
            let _ = rustix::fs::rmdir(member.path.as_str());
        }
        self.entry = None;
    }

    /// Whether devices are restricted by files that somebody else may write as well: v1.
    pub(crate) fn has_device_files(&self) -> bool {
        self.v1("devices").is_some()
    }

    fn v1(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.stands_for(key))
    }

    fn v2(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.v2)
    }
}

/// A hierarchy's root is `/sys/fs/cgroup` itself, where v2 is mounted there, or a directory in it.
fn is_below_a_root(key: &str, path: &str) -> bool {
    let Some(names) = path.strip_prefix(ROOT).and_then(|below| below.strip_prefix('/')) else { return false };
    match names.split('/').collect::<Vec<_>>().as_slice() {
        names if names.iter().any(|name| matches!(*name, "" | "." | "..")) => false,
        [_] => key.is_empty() && dir::is_v2(ROOT),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
