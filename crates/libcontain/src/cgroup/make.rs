//! Making the directories.
//!
//! Owns `create`: it makes all directories of a plan or none. Levels above the container's own that were made
//! stay when it succeeds (they belong to whoever named the path) and go when it fails.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::{Errno, Result};

use super::{Cgroup, CgroupError, Member, dir};
use crate::error::At;
use crate::plan::cgroup::{Dir, Plan, ROOT};

const ROOTLESS: &str = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
/// A level above may be removed by somebody else's clean-up between our two steps.
const RACES: usize = 10;

impl Cgroup {
    /// Makes the plan's directories. A cgroup that exists may be used if it is empty and not frozen. On failure
    /// nothing that was made is left.
    ///
    /// # Errors
    /// `container's cgroup is not empty: N process(es) found`, `container's cgroup unexpectedly frozen`, or the
    /// call that failed.
    pub fn create(plan: &Plan) -> std::result::Result<Cgroup, CgroupError> {
        let mut made = Made(Vec::new());
        let members = if plan.dirs.is_empty() { Vec::new() } else { made.all(plan)? };
        made.0.clear();
        Ok(Cgroup { members })
    }
}

/// The directories that were made, outermost first: removed again when dropped.
struct Made(Vec<String>);

impl Drop for Made {
    fn drop(&mut self) {
        let Ok(root) = dir::root() else { return };
        for path in self.0.drain(..).rev() {
            let (parent, name) = dir::split(&path);
            if let (Ok(parent), Ok(name)) = (dir::open(root.as_fd(), parent), CString::new(name)) {
                // Somebody else may have put a cgroup below ours meanwhile: then it stays, and is theirs.
                let _ = rustix::fs::unlinkat(parent, &name, rustix::fs::AtFlags::REMOVEDIR);
            }
        }
    }
}

impl Made {
    fn all(&mut self, plan: &Plan) -> std::result::Result<Vec<Member>, CgroupError> {
        let root = dir::root().map_err(|e| CgroupError::call(ROOT, "open", e))?;
        let mut members = Vec::new();
        for (i, planned) in plan.dirs.iter().enumerate() {
            match self.one(root.as_fd(), planned) {
                Ok(member) => members.push(member),
                Err(error) if error.is_permission() => denied(error, i, plan)?,
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    fn one(&mut self, root: BorrowedFd<'_>, planned: &Dir) -> std::result::Result<Member, CgroupError> {
        let path = format!("{}{}", planned.mount, planned.path).trim_start_matches('/').to_owned();
        let before = self.0.len();
        let mut result = Err(Errno::NOENT);
        for _ in 0..RACES {
            result = self.levels(root, planned, &path);
            if !matches!(result, Err(Errno::NOENT)) {
                break;
            }
        }
        let dir = result.map_err(|e| CgroupError::call(planned.absolute(), "mkdir", e))?;
        let made = self.0.get(before..).unwrap_or_default();
        let existed = !made.contains(&path);
        let member = Member { keys: planned.keys.clone(), path, v2: planned.v2, dir };
        if planned.v2 {
            member.must_be_enterable(planned, root, made)?;
        }
        if existed {
            member.must_be_unused()?;
        }
        Ok(member)
    }

    /// Opens the deepest level that exists and makes the others.
    fn levels(&mut self, root: BorrowedFd<'_>, planned: &Dir, path: &str) -> Result<OwnedFd> {
        let (parent, leaf) = dir::split(path);
        // Most containers' parent exists, and without controllers to hand down nothing has to be done to it.
        if planned.stays_above()
            && let Ok(dir) = dir::open(root, parent)
        {
            return self.level(dir.as_fd(), planned, leaf, path);
        }
        let mut current = dir::open(root, &planned.mount)?;
        let mut so_far = planned.mount.clone();
        for name in planned.path.split('/').filter(|name| !name.is_empty()) {
            so_far = if so_far.is_empty() { name.to_owned() } else { format!("{so_far}/{name}") };
            if planned.enable {
                enable_controllers(current.as_fd());
            }
            current = self.level(current.as_fd(), planned, name, &so_far)?;
        }
        Ok(current)
    }

    fn level(&mut self, parent: BorrowedFd<'_>, planned: &Dir, name: &str, path: &str) -> Result<OwnedFd> {
        let made = match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                self.0.push(path.to_owned());
                true
            }
            Err(Errno::EXIST) => false,
            // An ancestor that belongs to root may exist all the same.
            Err(error) => return dir::child(parent, name).map_err(|_| error),
        };
        let dir = dir::child(parent, name)?;
        if planned.keys.iter().any(|key| key == "cpuset") {
            inherit_cpuset(parent, dir.as_fd(), made)?;
        }
        Ok(dir)
    }
}

impl Dir {
    fn stays_above(&self) -> bool {
        !self.enable && !self.keys.iter().any(|key| key == "cpuset")
    }
}

/// What a refusal by permission means: see contract.md 6.1, rootless cgroupfs.
fn denied(error: CgroupError, dir: usize, plan: &Plan) -> std::result::Result<(), CgroupError> {
    let Some(planned) = plan.dirs.get(dir) else { return Err(error) };
    if !plan.tolerate_failure {
        return Err(error.at(At::field("linux.cgroupsPath")));
    }
    if planned.v2 && planned.keys.is_empty() && plan.dirs.len() == 1 {
        return match plan.limited {
            None => Ok(()),
            Some(at) => Err(error.at(at).because(ROOTLESS)),
        };
    }
    match plan.writes.iter().find(|w| w.dir == dir && w.how != crate::plan::cgroup::How::Tolerated) {
        None => Ok(()),
        Some(write) => {
            let text = format!("cannot set {} limit: container could not join or create cgroup", write.controller);
            Err(error.at(write.at).because(text))
        }
    }
}

/// A v1 cpuset begins without a CPU and without memory, and nothing can join it then. Levels that somebody else
/// made and left empty get theirs as well.
fn inherit_cpuset(parent: BorrowedFd<'_>, dir: BorrowedFd<'_>, made: bool) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if made || dir::read(dir, file)?.is_empty() {
            let value = dir::read(parent, file)?;
            if !value.is_empty() {
                dir::write(dir, file, &value)?;
            }
        }
    }
    Ok(())
}

/// v2: hands down what the level has. A level that belongs to somebody else, or that holds processes, refuses
/// some or all; then a limit that needs one says so.
fn enable_controllers(dir: BorrowedFd<'_>) {
    let list = |file| dir::read(dir, file).unwrap_or_default();
    let (available, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let is_on = |name: &&str| enabled.split_whitespace().any(|on| on == *name);
    let missing: Vec<String> = available.split_whitespace().filter(|n| !is_on(n)).map(|n| format!("+{n}")).collect();
    if !missing.is_empty() && dir::write(dir, "cgroup.subtree_control", &missing.join(" ")).is_err() {
        for one in missing {
            let _ = dir::write(dir, "cgroup.subtree_control", &one);
        }
    }
}

impl Member {
    /// Below a threaded cgroup new ones are in no valid state until they are threaded too, from the top down.
    fn must_be_enterable(
        &self,
        planned: &Dir,
        root: BorrowedFd<'_>,
        made: &[String],
    ) -> std::result::Result<(), CgroupError> {
        let kind = dir::read(self.dir.as_fd(), "cgroup.type").unwrap_or_default();
        let state = match kind.as_str() {
            "domain invalid" if !planned.domain => {
                for path in made {
                    let _ = dir::open(root, path).and_then(|dir| dir::write(dir.as_fd(), "cgroup.type", "threaded"));
                }
                return Ok(());
            }
            "domain invalid" => "in an invalid state",
            "threaded" if planned.domain => "in threaded mode",
            _ => return Ok(()),
        };
        let path = self.absolute();
        let text = format!("cannot enter cgroupv2 {path:?} with domain controllers -- it is {state}");
        Err(CgroupError::text(path, text))
    }

    fn must_be_unused(&self) -> std::result::Result<(), CgroupError> {
        let pids = self.pids().map_err(|e| CgroupError::call(self.absolute(), "read", e))?;
        if !pids.is_empty() {
            let text = format!("container's cgroup is not empty: {} process(es) found", pids.len());
            return Err(CgroupError::text(self.absolute(), text));
        }
        if self.is_frozen() {
            return Err(CgroupError::text(self.absolute(), "container's cgroup unexpectedly frozen"));
        }
        Ok(())
    }
}
