//! `linux.resources` as writes: the table of contract.md 4.9.
//!
//! Owns [`ROWS`], one row per config field with its v1 and its v2 file and how the value reads in each, and the
//! functions for what is no single value: memory with swap, blkio, hugetlb, rdma, network, unified. `devices`
//! is not here (`plan/devices.rs`).
//!
//! Invariants: a field that is absent, or 0 where 0 means "not set", gives nothing; any other gives a write or a
//! problem. A controller is looked for on v1 first, then on v2, so that a hybrid machine uses both.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxBlockIo, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{How, Layout, Mode, Plan, Write};
use crate::error::{At, Problem};

const CLAUSE: &str = "config-linux.md#control-groups";
pub(super) const UNIFIED: At = At::field("linux.resources.unified");

/// The v2 controllers that threaded cgroups cannot have.
const DOMAIN: [&str; 5] = ["memory", "io", "hugetlb", "rdma", "misc"];

/// A value in the words of a file, if the config has one; the error says what is wrong with it.
type Value = Result<Option<String>, String>;

/// One field: where it goes on v1, and where on v2. `None`: there is no such thing in that version.
struct Row {
    at: &'static str,
    v1: File,
    v2: Option<File>,
}

/// One file of one controller.
struct File {
    controller: &'static str,
    name: &'static str,
    how: How,
    value: fn(&LinuxResources) -> Value,
}

const fn file(controller: &'static str, name: &'static str, how: How, value: fn(&LinuxResources) -> Value) -> File {
    File { controller, name, how, value }
}

/// In the order of writing within a controller (6.9). `Again`: the kernel checks the three bandwidth values
/// against each other, so which of them can be written first depends on what is there.
static ROWS: [Row; 14] = [
    Row {
        at: "linux.resources.memory.reservation",
        v1: file("memory", "memory.soft_limit_in_bytes", How::Must, |r| {
            bytes(memory(r, LinuxMemory::reservation), "-1")
        }),
        v2: Some(file("memory", "memory.low", How::Must, |r| bytes(memory(r, LinuxMemory::reservation), "max"))),
    },
    Row {
        at: "linux.resources.memory.swappiness",
        v1: file("memory", "memory.swappiness", How::Must, swappiness),
        v2: None,
    },
    Row {
        at: "linux.resources.memory.disableOOMKiller",
        v1: file("memory", "memory.oom_control", How::Must, |r| {
            Ok(memory(r, LinuxMemory::disable_oom_killer).filter(|on| *on).map(|_| "1".to_owned()))
        }),
        v2: None,
    },
    Row {
        at: "linux.resources.cpu.realtimePeriod",
        v1: file("cpu", "cpu.rt_period_us", How::Again, |r| text(cpu(r, |c| c.realtime_period()).filter(|n| *n != 0))),
        v2: None,
    },
    Row {
        at: "linux.resources.cpu.realtimeRuntime",
        v1: file("cpu", "cpu.rt_runtime_us", How::Again, |r| {
            text(cpu(r, |c| c.realtime_runtime()).filter(|n| *n != 0))
        }),
        v2: None,
    },
    Row {
        at: "linux.resources.cpu.idle",
        v1: file("cpu", "cpu.idle", How::Must, idle),
        v2: Some(file("cpu", "cpu.idle", How::Must, idle)),
    },
    Row {
        at: "linux.resources.cpu.shares",
        v1: file("cpu", "cpu.shares", How::ReadBack, |r| text(shares(r))),
        v2: Some(file("cpu", "cpu.weight", How::Must, |r| text(shares(r).map(weight_of_shares)))),
    },
    Row {
        at: "linux.resources.cpu.burst",
        v1: file("cpu", "cpu.cfs_burst_us", How::Again, |r| text(cpu(r, |c| c.burst()))),
        v2: Some(file("cpu", "cpu.max.burst", How::Again, |r| text(cpu(r, |c| c.burst())))),
    },
    Row {
        at: "linux.resources.cpu.period",
        v1: file("cpu", "cpu.cfs_period_us", How::Again, |r| text(period(r))),
        v2: Some(file("cpu", "cpu.max", How::Must, |r| {
            Ok(period(r).filter(|_| quota(r).is_none()).map(|period| format!("max {period}")))
        })),
    },
    Row {
        at: "linux.resources.cpu.quota",
        v1: file("cpu", "cpu.cfs_quota_us", How::Must, |r| text(quota(r).map(|q| q.max(-1)))),
        v2: Some(file("cpu", "cpu.max", How::Must, |r| {
            let quota = quota(r).map(|q| if q < 0 { "max".to_owned() } else { q.to_string() });
            Ok(quota.map(|quota| format!("{quota} {}", period(r).unwrap_or(100_000))))
        })),
    },
    Row {
        at: "linux.resources.cpu.cpus",
        v1: file("cpuset", "cpuset.cpus", How::Must, |r| Ok(list(r.cpu().as_ref().and_then(|c| c.cpus().as_ref())))),
        v2: Some(file("cpuset", "cpuset.cpus", How::Must, |r| {
            Ok(list(r.cpu().as_ref().and_then(|c| c.cpus().as_ref())))
        })),
    },
    Row {
        at: "linux.resources.cpu.mems",
        v1: file("cpuset", "cpuset.mems", How::Must, |r| Ok(list(r.cpu().as_ref().and_then(|c| c.mems().as_ref())))),
        v2: Some(file("cpuset", "cpuset.mems", How::Must, |r| {
            Ok(list(r.cpu().as_ref().and_then(|c| c.mems().as_ref())))
        })),
    },
    Row {
        at: "linux.resources.pids.limit",
        v1: file("pids", "pids.max", How::Must, pids),
        v2: Some(file("pids", "pids.max", How::Must, pids)),
    },
    Row {
        at: "linux.resources.network.classID",
        v1: file("net_cls", "net_cls.classid", How::Must, |r| {
            text(r.network().as_ref().and_then(|n| n.class_id()).filter(|n| *n != 0))
        }),
        v2: None,
    },
];

/// Puts the writes of all resources but the devices into the plan.
pub(super) fn writes(r: &LinuxResources, layout: &Layout, plan: &mut Plan, problems: &mut Vec<Problem>) {
    let mut sink = Sink { layout, plan, problems };
    sink.ignored(r);
    sink.memory_and_swap(r);
    for row in &ROWS {
        sink.row(row, r);
    }
    if let Some(block_io) = r.block_io() {
        sink.weights(block_io);
        sink.throttles(block_io);
    }
    sink.hugetlb(r);
    sink.rdma(r);
    sink.priorities(r);
    sink.unified(r);
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

    fn find(&self, v1: &'static str, v2: Option<&'static str>) -> Option<Place> {
        if let Some(dir) = self.plan.dirs.iter().position(|d| d.keys.iter().any(|k| k == v1)) {
            return Some(Place { dir, controller: v1, v2: false });
        }
        let controller = v2?;
        let has = |c: &String| c == controller;
        self.layout.hierarchies.iter().find(|h| h.v2 && h.controllers.iter().any(has))?;
        Some(Place { dir: self.plan.dirs.iter().position(|d| d.v2)?, controller, v2: true })
    }

    /// The controller of something that the config asks for, or a problem.
    fn place(&mut self, at: At, v1: &'static str, v2: Option<&'static str>) -> Option<Place> {
        let place = self.find(v1, v2);
        match (place, self.layout.mode, v2) {
            (Some(_), ..) => {}
            (None, Mode::V2, None) => self.warning(at, "ignored: there is no such thing in cgroup v2"),
            (None, mode, _) => {
                let name = v2.filter(|_| mode == Mode::V2).unwrap_or(v1);
                let text = format!(
                    "cannot set {name} limit: container could not join or create cgroup: this machine has no {name} controller"
                );
                self.error(at, text);
            }
        }
        place
    }

    fn row(&mut self, row: &Row, r: &LinuxResources) {
        let at = At::field(row.at);
        let asked = |file: &File| (file.value)(r) != Ok(None);
        if !asked(&row.v1) && !row.v2.as_ref().is_some_and(asked) {
            return;
        }
        let Some(place) = self.place(at, row.v1.controller, row.v2.as_ref().map(|f| f.controller)) else { return };
        let Some(file) = (if place.v2 { row.v2.as_ref() } else { Some(&row.v1) }) else { return };
        match (file.value)(r) {
            Ok(Some(value)) => self.put(at, place, file.name, value, file.how.clone()),
            Ok(None) => {}
            Err(text) => self.error(at, text),
        }
    }

    /// Fields that the kernel gave up, and fields that rule each other out.
    fn ignored(&mut self, r: &LinuxResources) {
        if let Some(memory) = r.memory() {
            let kernel = memory.kernel().is_some_and(|n| n != 0);
            let fields = [
                ("linux.resources.memory.kernel", kernel),
                ("linux.resources.memory.kernelTCP", memory.kernel_tcp().is_some_and(|n| n != 0)),
                ("linux.resources.memory.useHierarchy", memory.use_hierarchy().is_some()),
            ];
            for (at, _) in fields.into_iter().filter(|(_, present)| *present) {
                self.warning(At::field(at), "ignored: the kernel has given it up");
            }
        }
        if is_idle(r) && cpu(r, |c| c.shares()).is_some_and(|n| n != 0) {
            self.warning(At::field("linux.resources.cpu.shares"), "ignored: unable to apply both shares and idle");
        }
    }

    /// v1 limits memory and memory+swap, and the first can never be above the second: on a new cgroup, where
    /// neither is set, memory goes first. v2 limits swap by itself.
    fn memory_and_swap(&mut self, r: &LinuxResources) {
        let (limit, swap) = (At::field("linux.resources.memory.limit"), At::field("linux.resources.memory.swap"));
        let asked = |f| memory(r, f).filter(|n| *n != 0);
        let (memory, both) = (asked(LinuxMemory::limit), asked(LinuxMemory::swap));
        let Some(at) = memory.map(|_| limit).or(both.map(|_| swap)) else { return };
        let Some(place) = self.place(at, "memory", Some("memory")) else { return };
        let unlimited = if place.v2 { "max" } else { "-1" };
        let (memory_file, swap_file, swap_text) = if place.v2 {
            ("memory.max", "memory.swap.max", swap_v2(memory, both))
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", swap_v1(memory, both))
        };
        let mut files = [
            (limit, memory_file, How::Must, bytes(memory, unlimited)),
            // A kernel without swap accounting need not be told that there is no limit, or no swap.
            (swap, swap_file, if is_needless(&swap_text, unlimited) { How::IfPresent } else { How::Must }, swap_text),
        ];
        if place.v2 {
            files.reverse();
        }
        for (at, file, how, value) in files {
            match value {
                Ok(Some(value)) => self.put(at, place, file, value, how),
                Ok(None) => {}
                Err(text) => self.error(at, text),
            }
        }
    }

    /// `blkio.bfq.*` instead of `blkio.*` where the BFQ scheduler does the weighing.
    fn weights(&mut self, block_io: &LinuxBlockIo) {
        let at = At::field("linux.resources.blockIO.weight");
        if let Some(weight) = self.weight(at, block_io.weight())
            && let Some(place) = self.place(at, "blkio", Some("io"))
        {
            let raw = weight.to_string();
            if place.v2 {
                let scaled = (1 + (u32::from(weight) - 10) * 9999 / 990).to_string();
                self.put(at, place, "io.bfq.weight", raw, How::Or("io.weight".to_owned(), scaled));
            } else {
                self.put(at, place, "blkio.weight", raw.clone(), How::Or("blkio.bfq.weight".to_owned(), raw));
            }
        }
        let at = At::field("linux.resources.blockIO.leafWeight");
        if let Some(weight) = self.weight(at, block_io.leaf_weight())
            && let Some(place) = self.place(at, "blkio", None)
        {
            self.put(at, place, "blkio.leaf_weight", weight.to_string(), How::Must);
        }
        for (i, device) in block_io.weight_device().iter().flatten().enumerate() {
            let at = At::item("linux.resources.blockIO.weightDevice[#]", i);
            let Some(name) = self.device(at, device.major(), device.minor()) else { continue };
            let at = At::item("linux.resources.blockIO.weightDevice[#].weight", i);
            if let Some(weight) = self.weight(at, device.weight())
                && let Some(place) = self.place(at, "blkio", Some("io"))
            {
                let value = format!("{name} {weight}");
                if place.v2 {
                    self.put(at, place, "io.bfq.weight", value, How::Must);
                } else {
                    let or = How::Or("blkio.bfq.weight_device".to_owned(), value.clone());
                    self.put(at, place, "blkio.weight_device", value, or);
                }
            }
            let at = At::item("linux.resources.blockIO.weightDevice[#].leafWeight", i);
            if let Some(weight) = self.weight(at, device.leaf_weight())
                && let Some(place) = self.place(at, "blkio", None)
            {
                self.put(at, place, "blkio.leaf_weight_device", format!("{name} {weight}"), How::Must);
            }
        }
    }

    fn weight(&mut self, at: At, weight: Option<u16>) -> Option<u16> {
        let weight = weight.filter(|w| *w != 0)?;
        if (10..=1000).contains(&weight) {
            return Some(weight);
        }
        self.error(at, format!("{weight} is out of range: expected 10 to 1000"));
        None
    }

    fn device(&mut self, at: At, major: i64, minor: i64) -> Option<String> {
        if let (Ok(major), Ok(minor)) = (u32::try_from(major), u32::try_from(minor)) {
            return Some(format!("{major}:{minor}"));
        }
        self.error(at, format!("{major}:{minor} is no device number: expected 0 to {}", u32::MAX));
        None
    }

    fn throttles(&mut self, block_io: &LinuxBlockIo) {
        type List = Option<Vec<LinuxThrottleDevice>>;
        let lists: [(&'static str, &List, &str, &str); 4] = [
            (
                "linux.resources.blockIO.throttleReadBpsDevice[#]",
                block_io.throttle_read_bps_device(),
                "blkio.throttle.read_bps_device",
                "rbps",
            ),
            (
                "linux.resources.blockIO.throttleWriteBpsDevice[#]",
                block_io.throttle_write_bps_device(),
                "blkio.throttle.write_bps_device",
                "wbps",
            ),
            (
                "linux.resources.blockIO.throttleReadIOPSDevice[#]",
                block_io.throttle_read_iops_device(),
                "blkio.throttle.read_iops_device",
                "riops",
            ),
            (
                "linux.resources.blockIO.throttleWriteIOPSDevice[#]",
                block_io.throttle_write_iops_device(),
                "blkio.throttle.write_iops_device",
                "wiops",
            ),
        ];
        for (path, list, v1, key) in lists {
            for (i, device) in list.iter().flatten().enumerate() {
                let at = At::item(path, i);
                let Some(name) = self.device(at, device.major(), device.minor()) else { continue };
                let Some(place) = self.place(at, "blkio", Some("io")) else { return };
                // 0 is "no limit" on v1, and out of range on v2.
                match (place.v2, device.rate()) {
                    (false, rate) => self.put(at, place, v1, format!("{name} {rate}"), How::Must),
                    (true, 0) => self.put(at, place, "io.max", format!("{name} {key}=max"), How::Must),
                    (true, rate) => self.put(at, place, "io.max", format!("{name} {key}={rate}"), How::Must),
                }
            }
        }
    }

    /// The page size becomes part of a file name: nothing but a size may pass (runc#4103).
    fn hugetlb(&mut self, r: &LinuxResources) {
        for (i, huge) in r.hugepage_limits().iter().flatten().enumerate() {
            let (size, limit) = (huge.page_size(), huge.limit());
            if !is_page_size(size) {
                let at = At::item("linux.resources.hugepageLimits[#].pageSize", i);
                self.error(
                    at,
                    format!("{size:?} is no page size: expected a number and KB, MB or GB, such as \"2MB\""),
                );
                continue;
            }
            let at = At::item("linux.resources.hugepageLimits[#].limit", i);
            if limit < 0 {
                self.error(at, format!("{limit} must not be negative"));
                continue;
            }
            let Some(place) = self.place(at, "hugetlb", Some("hugetlb")) else { return };
            let end = if place.v2 { "max" } else { "limit_in_bytes" };
            self.put(at, place, format!("hugetlb.{size}.{end}"), limit.to_string(), How::Must);
            self.put(at, place, format!("hugetlb.{size}.rsvd.{end}"), limit.to_string(), How::IfPresent);
        }
    }

    fn rdma(&mut self, r: &LinuxResources) {
        let at = At::field("linux.resources.rdma");
        for (device, limit) in sorted(r.rdma().as_ref()) {
            if !is_word(device) {
                self.error(at, format!("{device:?} is no device name"));
                continue;
            }
            let handles = limit.hca_handles().map(|n| format!(" hca_handle={n}")).unwrap_or_default();
            let objects = limit.hca_objects().map(|n| format!(" hca_object={n}")).unwrap_or_default();
            if handles.is_empty() && objects.is_empty() {
                continue;
            }
            let Some(place) = self.place(at, "rdma", Some("rdma")) else { return };
            self.put(at, place, "rdma.max", format!("{device}{handles}{objects}"), How::Must);
        }
    }

    fn priorities(&mut self, r: &LinuxResources) {
        let priorities = r.network().as_ref().and_then(|n| n.priorities().as_ref());
        for (i, interface) in priorities.into_iter().flatten().enumerate() {
            let at = At::item("linux.resources.network.priorities[#]", i);
            if !is_word(interface.name()) {
                self.error(at, format!("{:?} is no interface name", interface.name()));
                continue;
            }
            let Some(place) = self.place(at, "net_prio", None) else { return };
            let value = format!("{} {}", interface.name(), interface.priority());
            self.put(at, place, "net_prio.ifpriomap", value, How::Must);
        }
    }

    /// Files by name. Several lines in a value are several writes: the files take one line each.
    fn unified(&mut self, r: &LinuxResources) {
        let entries = sorted(r.unified().as_ref());
        if !entries.is_empty() && self.layout.mode != Mode::V2 {
            self.error(UNIFIED, "invalid configuration: cannot use unified on cgroup v1");
            return;
        }
        for (name, value) in entries {
            match self.unified_place(name) {
                Ok(place) => {
                    for line in value.lines() {
                        self.put(UNIFIED, place, name, line, How::Must);
                    }
                }
                Err(text) => self.error(UNIFIED, text),
            }
        }
    }

    fn unified_place(&self, name: &str) -> Result<Place, String> {
        if name.contains('/') {
            return Err(format!("unified resource {name:?} must be a file name (no slashes)"));
        }
        let controller = match name.split_once('.') {
            Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() && !name.contains('\0') => {
                controller
            }
            _ => return Err(format!("unified resource {name:?} must be in the form CONTROLLER.PARAMETER")),
        };
        let known = |c: &String| c == controller;
        // The files of the core and the pressure files are there without any controller.
        let core = controller == "cgroup" || name.ends_with(".pressure");
        let available = self.layout.hierarchies.iter().any(|h| h.v2 && h.controllers.iter().any(known));
        match self.plan.dirs.iter().position(|d| d.v2) {
            Some(dir) if core || available => Ok(Place { dir, controller: place_name(controller), v2: true }),
            _ => Err(format!("unified resource {name:?} can't be set: controller {controller:?} not available")),
        }
    }
}

/// Controllers are named by constants, so that a plan's writes compare and sort; others keep a general name.
fn place_name(controller: &str) -> &'static str {
    const NAMES: [&str; 8] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"];
    NAMES.into_iter().find(|name| *name == controller).unwrap_or("cgroup")
}

fn memory<T>(r: &LinuxResources, field: fn(&LinuxMemory) -> Option<T>) -> Option<T> {
    r.memory().as_ref().and_then(field)
}

fn cpu<T>(r: &LinuxResources, field: fn(&oci_spec::runtime::LinuxCpu) -> Option<T>) -> Option<T> {
    r.cpu().as_ref().and_then(field)
}

fn text(value: Option<impl ToString>) -> Value {
    Ok(value.map(|v| v.to_string()))
}

fn list(value: Option<&String>) -> Option<String> {
    value.filter(|v| !v.is_empty()).cloned()
}

/// 0 is "not set", -1 is "no limit".
fn bytes(value: Option<i64>, unlimited: &str) -> Value {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(unlimited.to_owned())),
        Some(n) if n < 0 => Err(format!("{n} must be -1 (no limit) or a number of bytes")),
        Some(n) => Ok(Some(n.to_string())),
    }
}

fn is_needless(swap: &Value, unlimited: &str) -> bool {
    matches!(swap, Ok(Some(value)) if value == unlimited || value == "0")
}

fn checked_swap(memory: Option<i64>, both: Option<i64>) -> Result<(), String> {
    match (memory.unwrap_or(0), both.unwrap_or(0)) {
        (_, both) if both < -1 => Err(format!("{both} must be -1 (no limit) or a number of bytes")),
        (memory, both) if memory > 0 && both > 0 && both < memory => {
            Err("memory+swap limit should be >= memory limit".to_owned())
        }
        _ => Ok(()),
    }
}

/// Unlimited memory with limited memory+swap cannot be: without a word about swap it is unlimited as well.
fn swap_v1(memory: Option<i64>, both: Option<i64>) -> Value {
    checked_swap(memory, both)?;
    bytes(if memory == Some(-1) { both.or(Some(-1)) } else { both }, "-1")
}

/// The config's value counts memory and swap together, v2's file swap alone.
fn swap_v2(memory: Option<i64>, both: Option<i64>) -> Value {
    checked_swap(memory, both)?;
    match (memory, both) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (Some(-1), Some(both)) => Ok(Some(both.to_string())),
        (None, Some(_)) => Err("unable to set swap limit without memory limit".to_owned()),
        (Some(memory), Some(both)) => Ok(Some(both.saturating_sub(memory).to_string())),
    }
}

/// -1, which engines pass as an unsigned number, leaves it alone.
fn swappiness(r: &LinuxResources) -> Value {
    match memory(r, LinuxMemory::swappiness) {
        None | Some(u64::MAX) => Ok(None),
        Some(n) if n > 100 => Err(format!("invalid memory swappiness value: {n} (valid range is 0-100)")),
        Some(n) => Ok(Some(n.to_string())),
    }
}

fn period(r: &LinuxResources) -> Option<u64> {
    cpu(r, |c| c.period()).filter(|n| *n != 0)
}

fn quota(r: &LinuxResources) -> Option<i64> {
    cpu(r, |c| c.quota()).filter(|n| *n != 0)
}

fn idle(r: &LinuxResources) -> Value {
    match cpu(r, |c| c.idle()) {
        Some(n) if n != 0 && n != 1 => Err(format!("{n} must be 0 or 1")),
        idle => text(idle),
    }
}

fn is_idle(r: &LinuxResources) -> bool {
    cpu(r, |c| c.idle()) == Some(1)
}

/// None for an idle cgroup: the kernel refuses a weight there.
fn shares(r: &LinuxResources) -> Option<u64> {
    cpu(r, |c| c.shares()).filter(|n| *n != 0 && !is_idle(r))
}

/// A curve through (2, 1), (1024, 100) and (262144, 10000), the lowest, the default and the highest of both
/// (runc from 1.3.2, crun from 1.24; the older straight line made the default 39).
fn weight_of_shares(shares: u64) -> u16 {
    let clamped = u32::try_from(shares.clamp(2, 262_144)).unwrap_or(262_144);
    let l = f64::from(clamped).log2();
    let weight = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
    (1..10_000).find(|w| f64::from(*w) >= weight).unwrap_or(10_000)
}

fn pids(r: &LinuxResources) -> Value {
    Ok(r.pids().as_ref().map(|pids| match pids.limit() {
        n if n < 0 => "max".to_owned(),
        0 => "1".to_owned(), // As systemd has it: 0 would not let init in.
        n => n.to_string(),
    }))
}

fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or("");
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Plans are compared and printed, so the order of a map must not show.
fn sorted<V>(map: Option<&HashMap<String, V>>) -> Vec<(&String, &V)> {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}
