//! `linux.resources` as writes and as properties of a unit: the table of contract 4.9 and 6.3, and what goes through it.
//!
//! Owns `writes` and `properties`, which take each of the [`rows`] in turn, and where writes and problems go. What
//! a value looks like is in the files below, by subject.
//!
//! Invariants: a field that is absent, or 0 where 0 means "not set", gives nothing; any other gives a write or a
//! problem. A controller is looked for on v1 first, then on v2, so that a hybrid machine uses both. A value that
//! is wrong is reported by `writes` alone; what systemd cannot be told goes to the files all the same.

use std::collections::HashMap;

use oci_spec::runtime::LinuxResources;

use self::table::{Asked, Lower, TABLE};
use super::{How, Layout, Mode, Plan, Write};
use crate::error::{At, Problem};
use crate::plan::devices;
use crate::plan::systemd::{Manager, Property, Value};

mod block_io;
mod cpu;
mod lists;
mod memory;
mod table;
mod unified;

pub use self::table::{File, Property as UnitProperty, Row, Second, Version};
pub(super) use self::unified::oom_policy;

const CLAUSE: &str = "config-linux.md#control-groups";
pub(super) const UNIFIED: At = At::field("linux.resources.unified");
const DEVICES: At = At::field("linux.resources.devices");

/// The v2 controllers that threaded cgroups cannot have.
const DOMAIN: [&str; 5] = ["memory", "io", "hugetlb", "rdma", "misc"];

/// Every field of `linux.resources`, in the order of writing within a controller.
#[must_use]
pub fn rows() -> &'static [Row] {
    &TABLE
}

/// Puts the writes of all resources but the devices into the plan.
pub(super) fn writes(r: &LinuxResources, layout: &Layout, plan: &mut Plan, problems: &mut Vec<Problem>) {
    let mut sink = Sink { layout, plan, problems };
    for row in &TABLE {
        sink.row(row, r);
    }
}

/// What systemd is asked for on behalf of the resources. Of a machine with v1 hierarchies it is the v1 properties: systemd
/// sets no limit on the v2 side of a hybrid one. Devices are left alone where the config has no rules at all.
pub(super) fn properties(
    r: &LinuxResources,
    layout: &Layout,
    manager: &Manager,
    problems: &mut Vec<Problem>,
) -> Vec<Property> {
    let v2 = layout.mode == Mode::V2;
    let mut asking = Asking { v2, manager, properties: Vec::new(), problems };
    for row in &TABLE {
        let Some(unit) = (if v2 { &row.unit_v2 } else { &row.unit_v1 }) else { continue };
        match &unit.value {
            Asked::By(function) => function(&mut asking, r),
            Asked::One(_) if manager.version < unit.since => {}
            Asked::One(value) => match value(r) {
                Ok(Some(value)) => unit.names.iter().for_each(|n| asking.put(At::field(row.at), n, value.clone())),
                Ok(None) => {}
                Err(text) => asking.problems.push(Problem::error(At::field(row.at), CLAUSE, text)),
            },
        }
    }
    asking.properties
}

/// The resources as systemd will have them: it rounds the quota, and the files have to say the same.
pub(super) fn as_systemd_rounds(r: &LinuxResources) -> LinuxResources {
    let mut rounded = r.clone();
    if let Some(mut cpu) = r.cpu().clone()
        && let Some(quota) = cpu::rounded_quota(&cpu)
    {
        cpu.set_quota(Some(quota));
        rounded.set_cpu(Some(cpu));
    }
    rounded
}

/// Where properties and problems go.
struct Asking<'a> {
    v2: bool,
    manager: &'a Manager,
    properties: Vec<Property>,
    problems: &'a mut Vec<Problem>,
}

impl Asking<'_> {
    fn put(&mut self, at: At, name: &str, value: Value) {
        self.properties.push(Property { at, name: name.to_owned(), value });
    }

    fn warning(&mut self, at: At, text: impl Into<String>) {
        self.problems.push(Problem::warning(at, CLAUSE, text));
    }

    /// Rules that cannot be read were reported where the files are planned.
    fn devices(&mut self, r: &LinuxResources) {
        let Some(rules) = r.devices() else { return };
        let policy = devices::policy(rules, &mut Vec::new());
        let (properties, warnings) = devices::unit::properties(&policy, self.v2, self.manager.version);
        for (name, value) in properties {
            self.put(DEVICES, name, value);
        }
        for text in warnings {
            self.warning(DEVICES, text);
        }
    }
}

/// Where writes and problems go.
struct Sink<'a> {
    layout: &'a Layout,
    plan: &'a mut Plan,
    problems: &'a mut Vec<Problem>,
}

/// A controller that was found.
#[derive(Clone, Copy)]
struct Place {
    dir: usize,
    controller: &'static str,
    v2: bool,
}

impl Place {
    fn version(self) -> Version {
        if self.v2 { Version::V2 } else { Version::V1 }
    }
}

impl Row {
    fn file(&self, version: Version) -> Option<&File> {
        if version == Version::V2 { self.v2.as_ref() } else { self.v1.as_ref() }
    }
}

impl Sink<'_> {
    fn error(&mut self, at: At, text: impl Into<String>) {
        self.problems.push(Problem::error(at, CLAUSE, text));
    }

    fn warning(&mut self, at: At, text: impl Into<String>) {
        self.problems.push(Problem::warning(at, CLAUSE, text));
    }

    fn put(&mut self, at: At, place: Place, file: impl Into<String>, value: impl Into<String>, how: How) {
        let (file, value) = (file.into(), value.into());
        self.plan.writes.push(Write { at, dir: place.dir, controller: place.controller.to_owned(), file, value, how });
        if let Some(dir) = self.plan.dirs.get_mut(place.dir).filter(|_| place.v2) {
            dir.enable = true;
            dir.domain |= DOMAIN.contains(&place.controller);
        }
    }

    fn find(&self, row: &'static Row) -> Option<Place> {
        if let Some(File { controller, .. }) = row.v1
            && let Some(dir) = self.plan.dirs.iter().position(|d| d.keys.iter().any(|k| k == controller))
        {
            return Some(Place { dir, controller, v2: false });
        }
        let controller = row.v2.as_ref()?.controller;
        let has = |c: &String| c == controller;
        self.layout.hierarchies.iter().find(|h| h.v2 && h.controllers.iter().any(has))?;
        Some(Place { dir: self.plan.dirs.iter().position(|d| d.v2)?, controller, v2: true })
    }

    /// The controller of something that the config asks for, or a problem.
    fn place(&mut self, at: At, row: &'static Row) -> Option<Place> {
        let place = self.find(row);
        if place.is_some() {
            return place;
        }
        let v2 = self.layout.mode == Mode::V2;
        match (if v2 { &row.v2 } else { &row.v1 }, v2) {
            (None, true) => self.warning(at, "ignored: there is no such thing in cgroup v2"),
            (file, _) => {
                let name = file.as_ref().map_or("cgroup", |file| file.controller);
                let text = format!(
                    "cannot set {name} limit: container could not join or create cgroup: this machine has no {name} controller"
                );
                self.error(at, text);
            }
        }
        None
    }

    /// The controller, and the row's file in it.
    fn file(&mut self, at: At, row: &'static Row) -> Option<(Place, &'static File)> {
        let place = self.place(at, row)?;
        Some((place, row.file(place.version())?))
    }

    fn row(&mut self, row: &'static Row, r: &LinuxResources) {
        match &row.lower {
            Lower::By(function) => function(self, r, row),
            Lower::Value(value) => self.value(row, r, *value),
            Lower::GivenUp(is_there) if is_there(r) => {
                self.warning(At::field(row.at), "ignored: the kernel has given it up");
            }
            Lower::GivenUp(_) | Lower::With | Lower::ForUpdate | Lower::Policy => {}
        }
    }

    fn value(&mut self, row: &'static Row, r: &LinuxResources, value: fn(&LinuxResources, Version) -> table::Text) {
        let at = At::field(row.at);
        if value(r, Version::V1) == Ok(None) && value(r, Version::V2) == Ok(None) {
            return;
        }
        let Some((place, file)) = self.file(at, row) else { return };
        match value(r, place.version()) {
            Ok(Some(value)) => self.put(at, place, file.name, value, file.how.clone()),
            Ok(None) => {}
            Err(text) => self.error(at, text),
        }
    }
}

/// Plans are compared and printed, so the order of a map must not show.
fn sorted<V>(map: Option<&HashMap<String, V>>) -> Vec<(&String, &V)> {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

#[cfg(test)]
mod tests;
