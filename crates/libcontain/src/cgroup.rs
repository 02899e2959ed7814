//! Does what `plan/cgroup.rs` planned: makes the container's cgroup, writes its limits, signals what is in it
//! and removes it.
//!
//! Owns [`probe`] (the machine's hierarchies) and [`Cgroup`] (one directory per hierarchy, held open).
//!
//! Invariants: directories are opened below `/sys/fs/cgroup`, component by component or with `openat2`, never
//! through a symlink; files are opened by name in such a directory; nothing outside the planned directories and
//! the levels above them is touched; the working directory is not used. Nothing is retried that the plan or the
//! kernel's documentation does not say to retry.
//!
//! Must not enter: decisions about values or paths. Joining is done by the child itself, with the descriptors
//! of [`Cgroup::tasks`] or `CLONE_INTO_CGROUP`: moving another process costs an RCU grace period.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::At;
use crate::plan::cgroup::ROOT;

mod dir;
mod fill;
mod life;
mod make;
mod probe;

pub use probe::probe;

/// An existing cgroup: the directories of a container, by hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    members: Vec<Member>,
}

/// The directory in one hierarchy.
#[derive(Debug)]
struct Member {
    /// The controllers it stands for; empty for v2.
    keys: Vec<String>,
    /// Below `/sys/fs/cgroup`, without a slash at the beginning.
    path: String,
    v2: bool,
    /// Opened with `O_PATH`.
    dir: OwnedFd,
}

/// What failed on a cgroup, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupError {
    /// The place in the config that asked for it, if a value did.
    pub at: Option<At>,
    /// The file or directory.
    pub path: String,
    /// The system call; empty when none failed.
    pub call: &'static str,
    /// Its errno; 0 when none failed.
    pub errno: i32,
    /// What it means to the user; empty when the call says it all.
    pub text: String,
}

impl CgroupError {
    fn call(path: impl Into<String>, call: &'static str, errno: Errno) -> Self {
        CgroupError { at: None, path: path.into(), call, errno: errno.raw_os_error(), text: String::new() }
    }

    fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        CgroupError { at: None, path: path.into(), call: "", errno: 0, text: text.into() }
    }

    fn at(self, at: At) -> Self {
        CgroupError { at: Some(at), ..self }
    }

    fn because(self, text: impl Into<String>) -> Self {
        CgroupError { text: text.into(), ..self }
    }

    /// A rootless caller gets these for what belongs to root.
    fn is_permission(&self) -> bool {
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
        write!(f, "{separator}{} {}: {reason}", self.call, self.path)
    }
}

impl std::error::Error for CgroupError {}

impl Member {
    fn absolute(&self) -> String {
        format!("{ROOT}/{}", self.path)
    }

    fn stands_for(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key)
    }
}

impl Cgroup {
    /// The container's cgroup as state.json names it (`cgroup_paths`): what is left of it. Paths that do not lie
    /// below a hierarchy's root are left out, because killing there would be about the whole machine.
    #[must_use]
    pub fn from_paths(paths: &BTreeMap<String, String>) -> Cgroup {
        let mut members: Vec<Member> = Vec::new();
        let Ok(root) = dir::root() else { return Cgroup { members } };
        let depth = if dir::is_v2(root.as_fd()) { 1 } else { 2 };
        for (key, absolute) in paths {
            let Some(path) = absolute.strip_prefix(ROOT).map(|p| p.trim_matches('/')) else { continue };
            if path.split('/').filter(|name| !name.is_empty()).count() < depth {
                continue;
            }
            if let Some(member) = members.iter_mut().find(|m| m.path == path && !key.is_empty()) {
                member.keys.push(key.clone());
                continue;
            }
            let Ok(dir) = dir::open(root.as_fd(), path) else { continue };
            let keys = if key.is_empty() { Vec::new() } else { vec![key.clone()] };
            members.push(Member { keys, path: path.to_owned(), v2: key.is_empty(), dir });
        }
        Cgroup { members }
    }

    /// `cgroup_paths` of state.json: the empty key is v2, the others are v1 controllers.
    #[must_use]
    pub fn paths(&self) -> BTreeMap<String, String> {
        let keys = |m: &Member| if m.v2 { vec![String::new()] } else { m.keys.clone() };
        self.members.iter().flat_map(|m| keys(m).into_iter().map(|key| (key, m.absolute()))).collect()
    }

    /// v1: the `tasks` file of each hierarchy, close-on-exec, for the child to write `0` to. The memory cgroup
    /// comes last: what the child needs until then is not charged to the container.
    ///
    /// # Errors
    /// What opening a file gives, usually a cgroup that was removed behind our back.
    pub fn tasks(&self) -> io::Result<Vec<OwnedFd>> {
        let mut v1: Vec<&Member> = self.members.iter().filter(|m| !m.v2).collect();
        v1.sort_by_key(|m| m.stands_for("memory"));
        let open = |m: &Member| rustix::fs::openat(&m.dir, "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        v1.into_iter().map(|m| Ok(open(m)?)).collect()
    }

    /// The v2 directory, for `CLONE_INTO_CGROUP`: the container's only cgroup, or that of a hybrid machine.
    #[must_use]
    pub fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        self.members.iter().find(|m| m.v2).map(|m| m.dir.as_fd())
    }

    fn v1(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.stands_for(key))
    }

    fn v2(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.v2)
    }
}

#[cfg(test)]
mod tests;
