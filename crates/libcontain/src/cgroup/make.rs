//! Making the directories.
//!
//! Owns `create`: it makes all directories of a plan or none. Levels above the container's own that were made
//! stay when it succeeds (they belong to whoever named the path) and go when it fails.
//!
//! Invariants: whether an existing cgroup may be used at all is known (`taken.rs`) before anything is changed in it or above
//! it; nobody in it is ever signalled. The v2 directory, on a machine without v2 the first one, is locked (flock(2)) until
//! the descriptor is closed, which is after init has joined: of two that were given one path at the same time one is refused.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::{Errno, Result};

use super::{Cgroup, CgroupError, Member, dir};
use crate::error::At;
use crate::plan::cgroup::{Dir, How, Plan};

const ROOTLESS: &str = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
/// A level above may be removed by somebody else's clean-up between our two steps.
const RACES: usize = 10;

type Checked<T> = std::result::Result<T, CgroupError>;

impl Cgroup {
    /// Makes the plan's directories. A cgroup that exists may be used if it is the caller's, empty, and not frozen. On
    /// failure nothing that was made is left, and nothing is changed in what was there.
    ///
    /// # Errors
    /// `container's cgroup is not empty: N process(es) found`, `container's cgroup unexpectedly frozen` and others that say
    /// whose it is; or the call that failed.
    pub fn create(plan: &Plan) -> Checked<Cgroup> {
        Cgroup::make(plan, false)
    }

    /// Makes what systemd has not made of a unit's directories, which init is in already.
    ///
    /// # Errors
    /// The call that failed.
    pub(crate) fn complete(plan: &Plan) -> Checked<Cgroup> {
        Cgroup::make(plan, true)
    }

    /// What is there of a unit's directories has to be empty and not frozen, before systemd is asked for them.
    ///
    /// # Errors
    /// As [`Cgroup::create`], but for whose it is: systemd knows that.
    pub(crate) fn must_be_free(plan: &Plan) -> Checked<()> {
        let there = plan.dirs.iter().filter(|planned| dir::exists(&planned.absolute())).map(Member::of);
        there.into_iter().try_for_each(|member| member.must_be_unused()).map_err(CgroupError::of_the_path)
    }

    fn make(plan: &Plan, inhabited: bool) -> Checked<Cgroup> {
        let mut made = Made { paths: Vec::new(), inhabited };
        let cgroup = made.all(plan).map_err(CgroupError::of_the_path)?;
        made.paths.clear();
        Ok(cgroup)
    }

    /// Takes back what a `create` that died may have made. Nobody knows whether it was its own: so it goes if nothing is in
    /// it, and neither processes nor cgroups of others are touched.
    pub(crate) fn take_back(&self) {
        for member in &self.members {
            let _ = rustix::fs::rmdir(member.path.as_str());
        }
    }
}

/// The directories that were made, outermost first: removed again when dropped.
struct Made {
    paths: Vec<String>,
    /// Those that are there are not looked into: systemd has made them, and init is in them.
    inhabited: bool,
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.drain(..).rev() {
            // Somebody else may have put a cgroup below ours meanwhile: then it stays, and is theirs.
            let _ = rustix::fs::rmdir(&path);
        }
    }
}

impl Made {
    fn all(&mut self, plan: &Plan) -> Checked<Cgroup> {
        let mut found = Vec::new();
        for (i, planned) in plan.dirs.iter().enumerate() {
            match self.one(planned) {
                Ok((member, existed)) => found.push((planned, member, existed)),
                Err(error) if error.is_permission() => denied(error, i, plan)?,
                Err(error) => return Err(error),
            }
        }
        let inhabited = self.inhabited;
        let existing = || found.iter().filter(|(.., existed)| *existed && !inhabited).map(|(_, member, _)| member);
        existing().try_for_each(Member::must_be_unused)?;
        let entry = self.lock(found.iter().map(|(_, member, _)| member))?;
        // Once more: whoever held the lock has put somebody there.
        existing().try_for_each(Member::must_be_unused)?;
        for (planned, member, existed) in &found {
            self.prepare(planned, member, *existed)?;
        }
        Ok(Cgroup { members: found.into_iter().map(|(_, member, _)| member).collect(), entry })
    }

    /// Makes one, and says whether it was there.
    fn one(&mut self, planned: &Dir) -> Checked<(Member, bool)> {
        let path = planned.absolute();
        let mut made = Err(Errno::NOENT);
        for _ in 0..RACES {
            made = match self.mkdir(&path) {
                Err(Errno::NOENT) => self.levels(planned),
                result => result,
            };
            if !matches!(made, Err(Errno::NOENT | Errno::NODEV)) {
                break;
            }
        }
        let existed = !made.map_err(|e| CgroupError::call(path.as_str(), "mkdir", e).because(cause(e)))?;
        let member = Member::of(planned);
        if existed && !self.inhabited {
            member.must_be_the_callers()?;
        }
        Ok((member, existed))
    }

    /// From the hierarchy's root down: makes what is missing. Whether the last one was.
    fn levels(&mut self, planned: &Dir) -> Result<bool> {
        let mut made = false;
        for path in planned.levels().skip(1) {
            made = self.mkdir(&path)?;
        }
        Ok(made)
    }

    /// Whether it was not there.
    fn mkdir(&mut self, path: &str) -> Result<bool> {
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                self.paths.push(path.to_owned());
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens and locks the directory that stands for all: that of v2, which init is born into.
    fn lock<'m>(&mut self, mut members: impl Iterator<Item = &'m Member> + Clone) -> Checked<Option<OwnedFd>> {
        let Some(member) = members.clone().find(|m| m.v2).or_else(|| members.next()) else { return Ok(None) };
        let dir = dir::open_to_lock(&member.path).map_err(|e| CgroupError::call(member.path.as_str(), "open", e))?;
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                self.paths.clear(); // It goes with the container of whoever was faster.
                Err(CgroupError::text(
                    member.path.as_str(),
                    "container's cgroup is just being given to another container",
                ))
            }
            result => result.map(|()| Some(dir)).map_err(|e| CgroupError::call(member.path.as_str(), "flock", e)),
        }
    }

    /// Gives it what it needs of the levels above, unless one of them is in the way of it. Directly below the root none is.
    fn prepare(&self, planned: &Dir, member: &Member, existed: bool) -> Checked<()> {
        if planned.path.rfind('/') != Some(0) {
            member.must_not_be_frozen_above()?;
        }
        if planned.v2 && (existed || planned.path.rfind('/') != Some(0)) {
            member.must_be_enterable(planned, &self.paths)?;
        }
        if planned.is_cpuset() {
            inherit_cpusets(planned, !existed).map_err(|(path, e)| CgroupError::call(path, "write", e))?;
        }
        if !planned.enable || member.has(&planned.offered) || enable_controllers(planned, member) {
            return Ok(());
        }
        member.must_be_enterable(planned, &self.paths) // what it got may have made it threaded
    }
}

impl Dir {
    /// The directories from the hierarchy's root to the container's own.
    fn levels(&self) -> impl DoubleEndedIterator<Item = String> {
        let own = self.absolute();
        let below = own.len() - self.path.len();
        let ends: Vec<usize> =
            own.match_indices('/').map(|(i, _)| i).filter(|i| *i >= below).chain([own.len()]).collect();
        ends.into_iter().filter_map(move |end| own.get(..end).map(str::to_owned))
    }

    fn is_cpuset(&self) -> bool {
        self.keys.iter().any(|key| key == "cpuset")
    }
}

/// What a refusal by permission means: see contract.md 6.1, rootless cgroupfs.
fn denied(error: CgroupError, dir: usize, plan: &Plan) -> Checked<()> {
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
    match plan.writes.iter().find(|w| w.dir == dir && w.how != How::Tolerated) {
        None => Ok(()),
        Some(write) => {
            let text = format!("cannot set {} limit: container could not join or create cgroup", write.controller);
            Err(error.at(write.at).because(text))
        }
    }
}

/// What errno does not say.
fn cause(errno: Errno) -> &'static str {
    match errno {
        Errno::AGAIN => "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached",
        Errno::NOSPC => {
            "the controller has as many cgroups as it can have, those that were removed and still hold memory included"
        }
        _ => "",
    }
}

/// A v1 cpuset begins without a CPU and without memory, and nothing can join it then: it gets what the level above has. Levels
/// that somebody else made and left empty get theirs as well, which only needs to be looked into when there is nothing to take.
fn inherit_cpusets(planned: &Dir, made: bool) -> std::result::Result<(), (String, Errno)> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut empty = Vec::new();
        let mut value = String::new();
        for (i, level) in planned.levels().rev().enumerate() {
            let path = format!("{level}/{file}");
            if i > 0 || !made {
                value = dir::read(&path).map_err(|e| (path.clone(), e))?;
            }
            if !value.is_empty() {
                break;
            }
            empty.push(path);
        }
        for path in empty.into_iter().rev().filter(|_| !value.is_empty()) {
            dir::write(&path, &value).map_err(|e| (path, e))?;
        }
    }
    Ok(())
}

/// v2: hands down what each level has, and says whether all of it arrived. A level that belongs to somebody else, or that
/// holds processes, refuses some or all; then a limit that needs one says so.
fn enable_controllers(planned: &Dir, member: &Member) -> bool {
    for level in planned.levels().rev().skip(1).collect::<Vec<_>>().into_iter().rev() {
        let list = |file: &str| dir::read(&format!("{level}/{file}")).unwrap_or_default();
        let (available, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
        let is_on = |name: &&str| enabled.split_whitespace().any(|on| on == *name);
        let missing: Vec<String> =
            available.split_whitespace().filter(|n| !is_on(n)).map(|n| format!("+{n}")).collect();
        let file = format!("{level}/cgroup.subtree_control");
        if missing.is_empty() {
            continue;
        }
        match dir::write(&file, &missing.join(" ")) {
            Ok(()) | Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {}
            // Processes are in there. Some controllers alone would make all below threaded, which these limits are not for.
            Err(Errno::BUSY) if planned.domain => {}
            Err(_) => missing.iter().for_each(|one| _ = dir::write(&file, one)),
        }
    }
    member.has(&planned.offered)
}

impl Member {
    /// v2: whether it has all of these controllers.
    fn has(&self, controllers: &[String]) -> bool {
        if controllers.is_empty() {
            return true;
        }
        let own = self.read("cgroup.controllers").unwrap_or_default();
        controllers.iter().all(|wanted| own.split_whitespace().any(|name| name == wanted))
    }

    fn of(planned: &Dir) -> Member {
        Member { keys: planned.keys.clone(), path: planned.absolute(), v2: planned.v2 }
    }

    /// Below a threaded cgroup new ones are in no valid state until they are threaded too, from the top down.
    fn must_be_enterable(&self, planned: &Dir, made: &[String]) -> Checked<()> {
        let kind = self.read("cgroup.type").unwrap_or_default();
        let state = match kind.as_str() {
            "domain invalid" if !planned.domain => {
                let hierarchy = planned.levels().next().unwrap_or_default();
                for path in made.iter().filter(|path| path.starts_with(&hierarchy)) {
                    let _ = dir::write(&format!("{path}/cgroup.type"), "threaded");
                }
                return Ok(());
            }
            "domain invalid" => "in an invalid state",
            "threaded" if planned.domain => "in threaded mode",
            _ => return Ok(()),
        };
        let path = self.path.as_str();
        let text = format!("cannot enter cgroupv2 {path:?} with domain controllers -- it is {state}");
        Err(CgroupError::text(path, text))
    }
}
