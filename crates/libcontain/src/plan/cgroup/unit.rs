//! The cgroup as systemd is asked for it: one `StartTransientUnit` with everything in it.
//!
//! Owns the order of the properties (contract 6.3): what the unit is, what the annotations say, what the limits are. The
//! last word counts to systemd, so an annotation changes the first and no limit.
//!
//! Must not enter: what a limit is (`resources`), and D-Bus.

use oci_spec::runtime::Spec;

use super::{CLAUSE, Layout, Mode, PATH, resources};
use crate::error::{At, Problem};
use crate::plan::systemd::{Manager, Place, Property, Unit, Value, annotated};

/// systemd has it of scopes since then.
const OOM_POLICY_SINCE: u32 = 253;
const ACCOUNTING: At = At::field("linux.resources");

/// Reads `cgroupsPath`, or says why there can be no unit.
pub(super) fn place(
    id: &str,
    configured: &str,
    layout: &Layout,
    manager: &Manager,
    problems: &mut Vec<Problem>,
) -> Option<Place> {
    let mut refuse = |text: String| problems.push(Problem::error(PATH, CLAUSE, text));
    match layout.mode {
        Mode::Absent => {
            refuse("systemd cannot make a cgroup: there is no cgroup file system at /sys/fs/cgroup".to_owned());
            return None;
        }
        Mode::V1 | Mode::Hybrid if manager.user => {
            refuse("cannot use rootless systemd cgroups manager on cgroup v1".to_owned());
            return None;
        }
        Mode::V1 | Mode::Hybrid | Mode::V2 => {}
    }
    Place::parse(configured, id, manager).map_err(refuse).ok()
}

/// The unit with all of its properties.
pub(super) fn unit(
    place: &Place,
    spec: &Spec,
    layout: &Layout,
    manager: &Manager,
    problems: &mut Vec<Problem>,
) -> Unit {
    let mut properties = what_it_is(place, layout);
    annotated(spec, &mut properties, problems);
    let mut resources = spec.linux().as_ref().and_then(|l| l.resources().clone()).unwrap_or_default();
    if let Some(policy) = resources::oom_policy(&resources)
        && layout.mode == Mode::V2
        && manager.version >= OOM_POLICY_SINCE
        && !place.is_slice()
    {
        properties.push(property(resources::UNIFIED, "OOMPolicy", Value::Text(policy.to_owned())));
    }
    // A container has a device policy whatever the config says.
    resources.set_devices(Some(resources.devices().clone().unwrap_or_default()));
    properties.extend(resources::properties(&resources, layout, manager, problems));
    Unit { name: place.unit.clone(), properties, holds_processes: !place.is_slice() }
}

fn what_it_is(place: &Place, layout: &Layout) -> Vec<Property> {
    let on = Value::Bool(true);
    let text = |text: &str| Value::Text(text.to_owned());
    // runc's words, by which tools know a container's scope.
    let mut properties = vec![property(PATH, "Description", text(&format!("libcontainer container {}", place.name)))];
    if place.is_slice() {
        properties.push(property(PATH, "Wants", Value::Array("s".to_owned(), vec![text(&place.slice)])));
    } else {
        properties.push(property(PATH, "Slice", text(&place.slice)));
        properties.push(property(PATH, "Delegate", on.clone()));
    }
    let io = if layout.mode == Mode::V2 { "IOAccounting" } else { "BlockIOAccounting" };
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(property(ACCOUNTING, name, on.clone()));
    }
    properties.push(property(PATH, "DefaultDependencies", Value::Bool(false)));
    properties
}

fn property(at: At, name: &str, value: Value) -> Property {
    Property { at, name: name.to_owned(), value }
}
