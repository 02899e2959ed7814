//! Making the directories.
//!
//! Owns `create`: it makes all directories of a plan or none. Levels above the container's own that were made
//! stay when it succeeds (they belong to whoever named the path) and go when it fails.

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
        let members = made.all(plan).map_err(CgroupError::of_the_path)?;
        let v2 = members.iter().find(|m| m.v2);
        let entry = v2.map(|m| dir::open(&m.path).map_err(|e| CgroupError::call(m.path.as_str(), "open", e)));
        let entry = entry.transpose()?;
        made.0.clear();
        Ok(Cgroup { members, entry })
    }
}

/// The directories that were made, outermost first: removed again when dropped.
struct Made(Vec<String>);

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.drain(..).rev() {
            // Somebody else may have put a cgroup below ours meanwhile: then it stays, and is theirs.
            let _ = rustix::fs::rmdir(&path);
        }
    }
}

impl Made {
    fn all(&mut self, plan: &Plan) -> std::result::Result<Vec<Member>, CgroupError> {
        let mut members = Vec::new();
        for (i, planned) in plan.dirs.iter().enumerate() {
            match self.one(planned) {
                Ok(member) => members.push(member),
                Err(error) if error.is_permission() => denied(error, i, plan)?,
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    fn one(&mut self, planned: &Dir) -> std::result::Result<Member, CgroupError> {
        let path = planned.absolute();
        let before = self.0.len();
        let mut result = Err(Errno::NOENT);
        for _ in 0..RACES {
            result = self.make(planned, &path);
            if !matches!(result, Err(Errno::NOENT | Errno::NODEV)) {
                break;
            }
        }
        result.map_err(|e| CgroupError::call(path.as_str(), "mkdir", e))?;
        let made = self.0.get(before..).unwrap_or_default();
        let existed = !made.contains(&path);
        let member = Member { keys: planned.keys.clone(), path, v2: planned.v2 };
        if planned.v2 && (existed || planned.enable || planned.domain || !planned.is_at_the_top()) {
            member.must_be_enterable(planned, made)?;
        }
        if existed {
            member.must_be_unused()?;
        }
        Ok(member)
    }

    /// The parent of most containers exists, so that one call makes a directory.
    fn make(&mut self, planned: &Dir, path: &str) -> Result<()> {
        if planned.enable {
            return self.levels(planned);
        }
        match self.mkdir(path) {
            Ok(made) if planned.is_cpuset() && !inherit_cpuset(dir::parent(path), path, made)? => self.levels(planned),
            Err(Errno::NOENT) => self.levels(planned),
            result => result.map(|_| ()),
        }
    }

    /// From the hierarchy's root down: makes what is missing, and gives each level what it needs from the one above.
    fn levels(&mut self, planned: &Dir) -> Result<()> {
        let mut above = planned.hierarchy();
        for name in planned.path.split('/').filter(|name| !name.is_empty()) {
            let path = format!("{above}/{name}");
            if planned.enable {
                enable_controllers(&above);
            }
            let made = self.mkdir(&path)?;
            if planned.is_cpuset() {
                inherit_cpuset(&above, &path, made)?;
            }
            above = path;
        }
        Ok(())
    }

    /// Whether it was not there.
    fn mkdir(&mut self, path: &str) -> Result<bool> {
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                self.0.push(path.to_owned());
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Dir {
    fn hierarchy(&self) -> String {
        if self.mount.is_empty() { ROOT.to_owned() } else { format!("{ROOT}/{}", self.mount) }
    }

    fn is_cpuset(&self) -> bool {
        self.keys.iter().any(|key| key == "cpuset")
    }

    /// Directly below the root, where a new cgroup can always be entered.
    fn is_at_the_top(&self) -> bool {
        self.path.rfind('/') == Some(0)
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
/// made and left empty get theirs as well. False: the level above has none itself.
fn inherit_cpuset(parent: &str, path: &str, made: bool) -> Result<bool> {
    let mut complete = true;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = format!("{path}/{file}");
        if made || dir::read(&own)?.is_empty() {
            match dir::read(&format!("{parent}/{file}"))?.as_str() {
                "" => complete = false,
                value => dir::write(&own, value)?,
            }
        }
    }
    Ok(complete)
}

/// v2: hands down what the level has. A level that belongs to somebody else, or that holds processes, refuses
/// some or all; then a limit that needs one says so.
fn enable_controllers(path: &str) {
    let list = |file: &str| dir::read(&format!("{path}/{file}")).unwrap_or_default();
    let (available, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let is_on = |name: &&str| enabled.split_whitespace().any(|on| on == *name);
    let missing: Vec<String> = available.split_whitespace().filter(|n| !is_on(n)).map(|n| format!("+{n}")).collect();
    let file = format!("{path}/cgroup.subtree_control");
    if !missing.is_empty() && dir::write(&file, &missing.join(" ")).is_err() {
        for one in missing {
            let _ = dir::write(&file, &one);
        }
    }
}

impl Member {
    /// Below a threaded cgroup new ones are in no valid state until they are threaded too, from the top down.
    fn must_be_enterable(&self, planned: &Dir, made: &[String]) -> std::result::Result<(), CgroupError> {
        let kind = self.read("cgroup.type").unwrap_or_default();
        let state = match kind.as_str() {
            "domain invalid" if !planned.domain => {
                for path in made {
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

    fn must_be_unused(&self) -> std::result::Result<(), CgroupError> {
        let pids = self.pids().map_err(|e| CgroupError::call(self.path.as_str(), "read", e))?;
        if !pids.is_empty() {
            let text = format!("container's cgroup is not empty: {} process(es) found", pids.len());
            return Err(CgroupError::text(self.path.as_str(), text));
        }
        if self.is_frozen() {
            return Err(CgroupError::text(self.path.as_str(), "container's cgroup unexpectedly frozen"));
        }
        Ok(())
    }
}
