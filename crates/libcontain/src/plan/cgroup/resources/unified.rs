//! `linux.resources.unified`: files by name, and what systemd has properties for.
//!
//! Owns which names may be files, and the table from files to properties.

use oci_spec::runtime::LinuxResources;

use super::table::Row;
use super::{Asking, Place, Sink, UNIFIED, cpu, sorted};
use crate::plan::cgroup::{How, Mode};
use crate::plan::systemd::Value;

/// A value of a file as that of a property, if systemd would take it.
type Convert = fn(&str) -> Option<Value>;

const WEIGHT: &str = "cpu.weight";

/// Files with a property: name, property, since which systemd, the value. A value that systemd would not take is the
/// kernel's to refuse, which says why.
static FILES: [(&str, &str, u32, Convert); 10] = [
    ("cpu.idle", "CPUWeight", cpu::IDLE_SINCE, |v| (v == "1").then_some(Value::U64(0))),
    (WEIGHT, "CPUWeight", 0, |v| v.parse().ok().filter(|n| (1..=10_000).contains(n)).map(Value::U64)),
    ("cpuset.cpus", "AllowedCPUs", cpu::CPUSET_SINCE, |v| cpu::bits(v).ok()),
    ("cpuset.mems", "AllowedMemoryNodes", cpu::CPUSET_SINCE, |v| cpu::bits(v).ok()),
    ("memory.high", "MemoryHigh", 0, |v| bytes(v).filter(is_taken)),
    ("memory.low", "MemoryLow", 0, bytes),
    ("memory.max", "MemoryMax", 0, |v| bytes(v).filter(is_taken)),
    ("memory.min", "MemoryMin", 240, bytes),
    ("memory.swap.max", "MemorySwapMax", 0, bytes),
    ("pids.max", "TasksMax", 0, |v| {
        let tasks = if v == "max" { Some(u64::MAX) } else { v.parse().ok() };
        tasks.map(Value::U64).filter(is_taken)
    }),
];

/// All of them; `cpu.max` is two, and `memory.oom.group` is for units that are started.
pub(super) const PROPERTIES: &[&str] = &[
    "CPUWeight",
    "CPUQuotaPeriodUSec",
    "CPUQuotaPerSecUSec",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "MemoryHigh",
    "MemoryLow",
    "MemoryMax",
    "MemoryMin",
    "MemorySwapMax",
    "TasksMax",
    "OOMPolicy",
];

/// To the kernel 0 is a limit, also where systemd takes it for a mistake.
fn is_taken(limit: &Value) -> bool {
    *limit != Value::U64(0)
}

/// As the kernel reads memory sizes: a number and perhaps a letter; `max`.
fn bytes(value: &str) -> Option<Value> {
    if value == "max" {
        return Some(Value::U64(u64::MAX));
    }
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match value.get(number.len()..)? {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        "E" | "e" => 60,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).map(Value::U64)
}

/// Files by name. Several lines in a value are several writes: the files take one line each.
pub(super) fn files(sink: &mut Sink<'_>, r: &LinuxResources, _row: &'static Row) {
    let entries = sorted(r.unified().as_ref());
    if !entries.is_empty() && sink.layout.mode != Mode::V2 {
        sink.error(UNIFIED, "invalid configuration: cannot use unified on cgroup v1");
        return;
    }
    let idle = idles(&entries);
    for (name, value) in entries {
        // The kernel refuses a weight of an idle cgroup, and systemd has but one property for both.
        if idle && name == WEIGHT {
            sink.warning(UNIFIED, "ignored: unable to apply both cpu.weight and cpu.idle");
            continue;
        }
        match place(sink, name) {
            Ok(place) => {
                for line in value.lines() {
                    sink.put(UNIFIED, place, name, line, How::Must);
                }
            }
            Err(text) => sink.error(UNIFIED, text),
        }
    }
}

fn place(sink: &Sink<'_>, name: &str) -> Result<Place, String> {
    if name.contains('/') {
        return Err(format!("unified resource {name:?} must be a file name (no slashes)"));
    }
    let controller = match name.split_once('.') {
        Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() && !name.contains('\0') => controller,
        _ => return Err(format!("unified resource {name:?} must be in the form CONTROLLER.PARAMETER")),
    };
    let known = |c: &String| c == controller;
    // The files of the core and the pressure files are there without any controller.
    let core = controller == "cgroup" || name.ends_with(".pressure");
    let available = sink.layout.hierarchies.iter().any(|h| h.v2 && h.controllers.iter().any(known));
    match sink.plan.dirs.iter().position(|d| d.v2) {
        Some(dir) if core || available => Ok(Place { dir, controller: place_name(controller), v2: true }),
        _ => Err(format!("unified resource {name:?} can't be set: controller {controller:?} not available")),
    }
}

/// Controllers are named by constants, so that a plan's writes compare and sort; others keep a general name.
fn place_name(controller: &str) -> &'static str {
    const NAMES: [&str; 8] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"];
    NAMES.into_iter().find(|name| *name == controller).unwrap_or("cgroup")
}

fn idles(entries: &[(&String, &String)]) -> bool {
    entries.iter().any(|(name, value)| *name == "cpu.idle" && value.trim() == "1")
}

/// After the properties of all other fields, since the files come last as well.
pub(super) fn properties(asking: &mut Asking<'_>, r: &LinuxResources) {
    let entries = sorted(r.unified().as_ref());
    let idle = asking.manager.version >= cpu::IDLE_SINCE && idles(&entries);
    for (name, value) in entries {
        let value = value.trim();
        if name == WEIGHT && idle {
            continue; // said where the files are planned
        }
        if name == "cpu.max" {
            bandwidth(asking, value);
        } else if let Some((_, property, since, convert)) = FILES.iter().find(|(file, ..)| file == name)
            && asking.manager.version >= *since
            && let Some(value) = convert(value)
        {
            asking.put(UNIFIED, property, value);
        }
    }
}

/// `QUOTA PERIOD`, `QUOTA`, `max`: the period stays what it is where it is not given.
fn bandwidth(asking: &mut Asking<'_>, value: &str) {
    let mut words = value.split_whitespace();
    let (quota, period) = (words.next().unwrap_or_default(), words.next().map(str::parse::<u64>));
    let period = match period {
        Some(Ok(period)) if period != 0 => Some(period),
        None => None,
        Some(_) => return,
    };
    if words.next().is_some() {
        return;
    }
    let quota = match quota.parse::<i64>() {
        _ if quota == "max" => u64::MAX,
        Ok(quota) if quota > 0 => cpu::per_second(quota, period.unwrap_or(cpu::DEFAULT_PERIOD)),
        _ => return,
    };
    if let Some(period) = period.filter(|_| asking.manager.version >= cpu::PERIOD_SINCE) {
        asking.put(UNIFIED, "CPUQuotaPeriodUSec", Value::U64(period));
    }
    asking.put(UNIFIED, "CPUQuotaPerSecUSec", Value::U64(quota));
}

/// What `memory.oom.group` is to systemd, which takes it for scopes that are started only (from 253 on).
pub(in crate::plan::cgroup) fn oom_policy(r: &LinuxResources) -> Option<&'static str> {
    match r.unified().as_ref()?.get("memory.oom.group")?.trim() {
        "0" => Some("continue"),
        "1" => Some("kill"),
        _ => None,
    }
}
