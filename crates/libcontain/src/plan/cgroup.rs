//! Which cgroup the container gets, and what is written into it.
//!
//! Owns [`Layout`] (the machine's hierarchies, as data), [`Plan`] (directories and writes, in order) and the
//! rules about paths (contract.md 6.1). The lowering of `linux.resources` is in [`resources`]; where systemd makes the
//! cgroup, what it is asked for is in `unit`.
//!
//! Invariants: every directory is cleaned as if rooted, so that no path leaves its hierarchy, and lies below the
//! root of it, so that nothing here can be about every process of the machine. Every write goes to a file name
//! without a slash, in a directory of the plan. A limit either has a write or a [`Problem`].
//!
//! Must not enter: I/O, and anything that looks at the machine: facts come in through `Layout`.

use std::collections::BTreeMap;
use std::fmt;

use oci_spec::runtime::Spec;

use super::devices::{self, Program};
use super::systemd::{Property, Unit};
use crate::error::{At, Problem};
use crate::host::Host;

pub mod resources;
mod unit;
pub mod update;

/// Where cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The v1 hierarchies that a container joins (contract.md 6.1), in the order of their writes (6.9).
const V1: [&str; 15] = [
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "name=systemd",
    "misc",
];

/// The order of writes on v2 (6.9). What is not named comes before the unified files, which come last.
const V2: [&str; 6] = ["pids", "memory", "io", "cpu", "cpuset", "hugetlb"];

const PATH: At = At::field("linux.cgroupsPath");
const CLAUSE: &str = "config-linux.md#cgroups-path";

/// What is mounted at `/sys/fs/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// v1 hierarchies only.
    V1,
    /// v1 hierarchies, and a v2 hierarchy at `unified`.
    Hybrid,
    /// One v2 hierarchy.
    V2,
    /// No cgroup file system.
    Absent,
}

/// The cgroup facts of a machine, as this process sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What is mounted.
    pub mode: Mode,
    /// Every mounted hierarchy.
    pub hierarchies: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its directory below `/sys/fs/cgroup`: `memory`, `cpu,cpuacct`, `systemd`, `unified`, empty for pure v2.
    pub dir: String,
    /// v1: its controllers as `/proc/self/cgroup` names them (`name=systemd`); v2: `cgroup.controllers`.
    pub controllers: Vec<String>,
    /// The runtime's own cgroup in it, seen from the mount: begins with `/`.
    pub own: String,
    /// Whether it is cgroup v2.
    pub v2: bool,
}

/// The container's cgroup: what to make, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One directory per hierarchy, in the order of making them.
    pub dirs: Vec<Dir>,
    /// The unit that systemd is asked for, if it makes the cgroup.
    pub unit: Option<Unit>,
    /// In the order of writing them.
    pub writes: Vec<Write>,
    /// v2: the device program. On v1 the rules are among the writes.
    pub devices: Option<Program>,
    /// Whom its v2 directory is given to: the user, as the host knows him, that the container's process is.
    pub owner: Option<u32>,
    /// Rootless: a device program that cannot be loaded or attached is no failure.
    pub tolerate_devices: bool,
    /// Rootless, without a path in the config: a directory that may not be made is left out.
    pub tolerate_failure: bool,
    /// The first limit that was asked for, which forbids leaving out what it needs.
    pub limited: Option<At>,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir {
    /// The hierarchy's directory below `/sys/fs/cgroup`; empty for pure v2.
    pub mount: String,
    /// The cgroup below it, cleaned, beginning with `/`.
    pub path: String,
    /// The runtime's own cgroup there, cleaned: where a container stays for which none could be made.
    pub own: String,
    /// The controllers it stands for; empty for v2.
    pub keys: Vec<String>,
    /// Whether it is cgroup v2.
    pub v2: bool,
    /// v2: the controllers that the hierarchy has.
    pub offered: Vec<String>,
    /// v2: give the controllers to each level above this one.
    pub enable: bool,
    /// v2: limits are asked for that a threaded cgroup cannot have.
    pub domain: bool,
}

/// One value to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What asked for it.
    pub at: At,
    /// Index into [`Plan::dirs`].
    pub dir: usize,
    /// The controller of the file, for messages.
    pub controller: String,
    /// A file name.
    pub file: String,
    /// The value.
    pub value: String,
    /// What a failure means.
    pub how: How,
}

/// What a failing write means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// An error.
    Must,
    /// No file, no write: the kernel was built without it.
    IfPresent,
    /// No such file: this file and value instead.
    Or(String, String),
    /// `EINVAL`: once more after the other writes, because it depends on one of them.
    Again,
    /// Read it back: the kernel clamps what is out of range without a word.
    ReadBack,
    /// Nothing: a rootless container lives without it.
    Tolerated,
}

impl Dir {
    /// Where it is.
    #[must_use]
    pub fn absolute(&self) -> String {
        self.below(&self.path)
    }

    /// Where the runtime's own cgroup is.
    #[must_use]
    pub fn runtime(&self) -> String {
        self.below(&self.own)
    }

    fn below(&self, path: &str) -> String {
        if self.mount.is_empty() { format!("{ROOT}{path}") } else { format!("{ROOT}/{}{path}", self.mount) }
    }

    /// The file that who writes `0` to it joins by: v1 has one for single threads, which is faster.
    #[must_use]
    pub fn members(&self) -> String {
        format!("{}/{}", self.absolute(), if self.v2 { "cgroup.procs" } else { "tasks" })
    }
}

impl Plan {
    /// Whether the container can live without its cgroup: nobody has asked for one.
    #[must_use]
    pub fn may_be_left_out(&self) -> bool {
        self.tolerate_failure && self.limited.is_none()
    }

    /// The paths as state.json has them (`cgroup_paths`): the empty key is v2, the others are v1 controllers.
    /// Known before anything is made, so that state written first allows removal after a crash at any point.
    #[must_use]
    pub fn paths(&self) -> BTreeMap<String, String> {
        let mut paths = BTreeMap::new();
        for dir in &self.dirs {
            if dir.v2 {
                paths.insert(String::new(), dir.absolute());
            }
            paths.extend(dir.keys.iter().map(|key| (key.clone(), dir.absolute())));
        }
        paths
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<36} {} = {}", self.at.to_string(), self.file, self.value)
    }
}

/// One line per directory, write and program, without a newline at the end.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit.iter().map(|unit| format!("{:<36} unit {}", PATH.to_string(), unit.name));
        let asked = self.unit.iter().flat_map(|unit| &unit.properties).map(Property::to_string);
        let dirs = self.dirs.iter().map(|dir| format!("{:<36} {}", PATH.to_string(), dir.absolute()));
        let writes = self.writes.iter().map(Write::to_string);
        let devices = self.devices.iter().map(|program| {
            format!("{:<36} device program of {} instructions", "linux.resources.devices", program.len())
        });
        f.write_str(&unit.chain(asked).chain(dirs).chain(writes).chain(devices).collect::<Vec<_>>().join("\n"))
    }
}

/// Plans the container's cgroup. Problems are reported, and what they are about is left out of the plan.
pub fn plan(id: &str, spec: &Spec, host: &Host, problems: &mut Vec<Problem>) -> Plan {
    let linux = spec.linux().as_ref();
    let configured = linux.and_then(|l| l.cgroups_path().as_ref()).map(|p| p.to_string_lossy()).unwrap_or_default();
    let resources = linux.and_then(|l| l.resources().as_ref());
    let (layout, rootless) = (&host.cgroups, host.rootless_cgroups);

    let mut plan = Plan { tolerate_devices: rootless, ..Plan::default() };
    let rounded;
    let resources = if let Some(manager) = &host.manager {
        let Some(place) = unit::place(id, &configured, layout, manager, problems) else { return plan };
        plan.dirs = dirs(layout, |_| place.path.clone());
        plan.unit = Some(unit::unit(&place, spec, layout, manager, problems));
        rounded = resources.map(resources::as_systemd_rounds);
        rounded.as_ref()
    } else {
        plan.tolerate_failure = rootless && configured.is_empty();
        let asked = if configured.is_empty() { id } else { configured.as_ref() };
        if !names_a_cgroup(asked, problems) {
            return plan;
        }
        if looks_like_a_unit(asked) {
            let text = "taken as a path: slice:prefix:name is for the systemd driver (--systemd-cgroup)";
            problems.push(Problem::warning(PATH, CLAUSE, text));
        }
        plan.dirs = dirs(layout, |hierarchy| place(asked, hierarchy, layout.mode));
        resources
    };
    if let Some(resources) = resources {
        resources::writes(resources, layout, &mut plan, problems);
    }
    plan.limited = plan.writes.first().map(|w| w.at);
    let rules = resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
    devices(&devices::policy(rules, problems), layout, rootless, &mut plan, problems);
    plan.writes.sort_by_key(|w| rank(w, layout));
    plan
}

fn names_a_cgroup(asked: &str, problems: &mut Vec<Problem>) -> bool {
    let text = if asked.contains('\0') {
        "contains a NUL"
    } else if clean(asked) == "/" {
        // The root, or the runtime's own cgroup: killing what is in it would kill the caller or the machine.
        "must name a cgroup below the root of the hierarchy, for this container alone"
    } else {
        return true;
    };
    problems.push(Problem::error(PATH, CLAUSE, format!("{asked:?} {text}")));
    false
}

/// A path like any other to this driver, so the container is made there; but whoever wrote it meant the other one.
fn looks_like_a_unit(asked: &str) -> bool {
    let mut parts = asked.split(':');
    let slice = parts.next().is_some_and(|slice| slice.ends_with(".slice") && !slice.contains('/'));
    slice && parts.count() == 2
}

fn dirs(layout: &Layout, place: impl Fn(&Hierarchy) -> String) -> Vec<Dir> {
    let joined = layout.hierarchies.iter().filter(|h| h.v2 || h.controllers.iter().any(|c| V1.contains(&c.as_str())));
    let make = |h: &Hierarchy| Dir {
        mount: h.dir.clone(),
        path: place(h),
        own: clean(&h.own),
        keys: if h.v2 { Vec::new() } else { h.controllers.clone() },
        v2: h.v2,
        offered: if h.v2 { h.controllers.clone() } else { Vec::new() },
        enable: layout.mode == Mode::V2,
        domain: false,
    };
    joined.map(make).collect()
}

/// Absolute paths count from the mount, others from the runtime's own cgroup, except on pure v2: that cgroup
/// holds processes, and a cgroup that does cannot give controllers to children, so siblings are made there.
fn place(asked: &str, hierarchy: &Hierarchy, mode: Mode) -> String {
    let own = clean(&hierarchy.own);
    let base = match own.rsplit_once('/') {
        _ if asked.starts_with('/') => "",
        Some((parent, _)) if mode == Mode::V2 => parent,
        _ => own.as_str(),
    };
    clean(&format!("{base}{}", clean(asked)))
}

/// The path as if the root were the end of the world: absolute, without `.`, `..` or empty components.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The device rules have a place on every machine that has cgroups at all; without one nothing would stand
/// between the container and the host's disks.
fn devices(policy: &devices::Policy, layout: &Layout, rootless: bool, plan: &mut Plan, problems: &mut Vec<Problem>) {
    let at = At::field("linux.resources.devices");
    if layout.mode == Mode::V2 {
        match policy.program() {
            Ok(program) => plan.devices = program,
            Err(text) => problems.push(Problem::error(at, "", text)),
        }
    } else if let Some(dir) = plan.dirs.iter().position(|d| d.keys.iter().any(|k| k == "devices")) {
        let how = if rootless { How::Tolerated } else { How::Must };
        plan.writes.extend(policy.lines().into_iter().map(|(file, value)| Write {
            at,
            dir,
            controller: "devices".to_owned(),
            file: file.to_owned(),
            value,
            how: how.clone(),
        }));
    } else if !rootless {
        let text = "cannot restrict devices: there is no devices cgroup at /sys/fs/cgroup";
        problems.push(Problem::error(at, "", text));
    }
}

fn rank(write: &Write, layout: &Layout) -> usize {
    if write.at == resources::UNIFIED {
        return usize::MAX; // Whoever names the file itself has the last word.
    }
    let order: &[&str] = if layout.mode == Mode::V2 { &V2 } else { &V1 };
    order.iter().position(|c| *c == write.controller).unwrap_or(order.len())
}

#[cfg(test)]
mod tests;
