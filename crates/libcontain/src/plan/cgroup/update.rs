//! `update`: what the resources of a container become, what of that is written, and in which order the kernel takes it.
//!
//! Owns [`merge`] (contract.md 1.6), [`Facts`] (what the kernel has to be asked first), [`plan`] and [`undo`].
//!
//! Invariants: only what was asked for is written, and what the kernel or the config counts together with it (memory with
//! swap, quota with period), so that a value which somebody else has set meanwhile stays. 0 is "not set" where the table
//! of `resources` says so, here as well. A problem is found before anything is written.
//!
//! Must not enter: I/O.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxInterfacePriority, LinuxMemory, LinuxNetwork, LinuxPids,
    LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};

use super::{Dir, Layout, Plan, ROOT, Write, rank, resources};
use crate::error::{At, Problem};
use crate::plan::systemd::{Manager, Property};

const LIMIT: &str = "memory.limit_in_bytes";
const LIMIT_WITH_SWAP: &str = "memory.memsw.limit_in_bytes";

/// An update as it will be, if it succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// The container's resources from then on.
    pub stored: LinuxResources,
    /// Those that are written now.
    pub written: LinuxResources,
    /// The quota among them was not asked for, only the period: that is what a refusal is about.
    period_alone: bool,
}

/// What the kernel says before an update; `None` where it has no such file, or where nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// v1: memory and swap together, in bytes.
    pub limit_with_swap: Option<u64>,
    /// v2: memory in use, in bytes.
    pub usage: Option<u64>,
    /// v2: swap in use, in bytes.
    pub swap_usage: Option<u64>,
    /// A quota, or `max` or -1 for none, and a period: `cpu.max` of v2.
    pub bandwidth: Option<String>,
    /// The most tasks, or `max`.
    pub tasks: Option<String>,
}

impl Facts {
    /// Quota and period, as the config has them.
    fn bandwidth(&self) -> Option<(i64, u64)> {
        let (quota, period) = self.bandwidth.as_deref()?.split_once(' ')?;
        Some((unlimited_or(quota)?, period.parse().ok()?))
    }
}

fn unlimited_or(text: &str) -> Option<i64> {
    if text == "max" { Some(-1) } else { text.parse().ok() }
}

/// Joins what is asked for with what there was. What is absent stays as it was, except for the CPUs and memory nodes,
/// burst, idle, the number of tasks and the unified files: of these the container's record forgets the old value, and
/// the kernel keeps it.
#[must_use]
pub fn merge(old: &LinuxResources, asked: &LinuxResources) -> Merged {
    let mut merged = Merged { stored: old.clone(), written: asked.clone(), period_alone: false };
    let (stored, written) = (&mut merged.stored, &mut merged.written);
    if let Some(asked) = asked.memory() {
        let (all, now) = memory(old.memory().unwrap_or_default(), *asked);
        stored.set_memory(Some(all));
        written.set_memory(Some(now));
    }
    let no_cpu = LinuxCpu::default();
    let (old_cpu, asked_cpu) = (old.cpu().as_ref(), asked.cpu().as_ref());
    if old_cpu.is_some() || asked_cpu.is_some() {
        let (all, now) = cpu(old_cpu.unwrap_or(&no_cpu), asked_cpu.unwrap_or(&no_cpu));
        stored.set_cpu(Some(all));
        written.set_cpu(asked_cpu.is_some().then_some(now));
    }
    let given = |cpu: &LinuxCpu| (cpu.quota().unwrap_or(0) != 0, cpu.period().unwrap_or(0) != 0);
    merged.period_alone = asked_cpu.map(given) == Some((false, true));
    stored.set_pids(asked.pids().as_ref().map(|pids| limited(pids.limit())));
    if let Some(asked) = asked.block_io() {
        stored.set_block_io(Some(block_io(old.block_io().clone().unwrap_or_default(), asked)));
    }
    if let Some(asked) = asked.hugepage_limits() {
        let same = |a: &LinuxHugepageLimit, b: &LinuxHugepageLimit| a.page_size() == b.page_size();
        stored.set_hugepage_limits(Some(upserted(old.hugepage_limits().as_deref(), asked, same)));
    }
    if let Some(asked) = asked.network() {
        stored.set_network(Some(network(old.network().clone().unwrap_or_default(), asked)));
    }
    if let Some(asked) = asked.rdma() {
        let mut all = old.rdma().clone().unwrap_or_default();
        all.extend(asked.iter().map(|(device, limit)| (device.clone(), *limit)));
        stored.set_rdma(Some(all));
    }
    stored.set_unified(asked.unified().clone());
    // An empty list of rules is none: engines send it with each update.
    if asked.devices().as_ref().is_some_and(|rules| !rules.is_empty()) {
        stored.set_devices(asked.devices().clone());
    } else {
        written.set_devices(None);
    }
    merged
}

fn limited(limit: i64) -> LinuxPids {
    let mut pids = LinuxPids::default();
    pids.set_limit(limit);
    pids
}

/// What is stored, and what is written.
fn memory(old: LinuxMemory, asked: LinuxMemory) -> (LinuxMemory, LinuxMemory) {
    let set = |n: Option<i64>| n.filter(|n| *n != 0);
    let (mut stored, mut written) = (old, asked);
    let limit = set(asked.limit());
    // Without a limit of memory one of memory and swap has nothing to stand on.
    let swap = if limit == Some(-1) { set(asked.swap()) } else { set(asked.swap()).or(old.swap()) };
    stored.set_limit(limit.or(old.limit())).set_swap(swap);
    stored.set_reservation(set(asked.reservation()).or(old.reservation()));
    stored.set_swappiness(asked.swappiness().or(old.swappiness()));
    stored.set_disable_oom_killer(asked.disable_oom_killer().or(old.disable_oom_killer()));
    stored.set_check_before_update(asked.check_before_update().or(old.check_before_update()));
    let either = limit.is_some() || set(asked.swap()).is_some();
    written.set_limit(stored.limit().filter(|_| either)).set_swap(stored.swap().filter(|_| either));
    (stored, written)
}

fn cpu(old: &LinuxCpu, asked: &LinuxCpu) -> (LinuxCpu, LinuxCpu) {
    let (mut stored, mut written) = (old.clone(), asked.clone());
    let shares = asked.shares().filter(|n| *n != 0);
    // The kernel gives up the weight of an idle cgroup, and an old one with it.
    stored.set_shares(if asked.idle().is_some() { shares } else { shares.or(old.shares()) });
    let (period, quota) = (asked.period().filter(|n| *n != 0), asked.quota().filter(|n| *n != 0));
    let either = period.is_some() || quota.is_some();
    stored.set_period(period.or(old.period()).filter(|_| either));
    stored.set_quota(quota.or(old.quota()).filter(|_| either));
    written.set_period(stored.period()).set_quota(stored.quota());
    stored.set_realtime_period(asked.realtime_period().filter(|n| *n != 0).or(old.realtime_period()));
    stored.set_realtime_runtime(asked.realtime_runtime().filter(|n| *n != 0).or(old.realtime_runtime()));
    stored.set_burst(asked.burst()).set_idle(asked.idle());
    stored.set_cpus(asked.cpus().clone()).set_mems(asked.mems().clone());
    (stored, written)
}

fn block_io(mut all: LinuxBlockIo, asked: &LinuxBlockIo) -> LinuxBlockIo {
    all.set_weight(asked.weight().filter(|n| *n != 0).or(all.weight()));
    all.set_leaf_weight(asked.leaf_weight().filter(|n| *n != 0).or(all.leaf_weight()));
    if let Some(list) = asked.weight_device() {
        let same = |a: &LinuxWeightDevice, b: &LinuxWeightDevice| (a.major(), a.minor()) == (b.major(), b.minor());
        all.set_weight_device(Some(upserted(all.weight_device().as_deref(), list, same)));
    }
    if let Some(list) = asked.throttle_read_bps_device() {
        all.set_throttle_read_bps_device(Some(throttled(all.throttle_read_bps_device().as_deref(), list)));
    }
    if let Some(list) = asked.throttle_write_bps_device() {
        all.set_throttle_write_bps_device(Some(throttled(all.throttle_write_bps_device().as_deref(), list)));
    }
    if let Some(list) = asked.throttle_read_iops_device() {
        all.set_throttle_read_iops_device(Some(throttled(all.throttle_read_iops_device().as_deref(), list)));
    }
    if let Some(list) = asked.throttle_write_iops_device() {
        all.set_throttle_write_iops_device(Some(throttled(all.throttle_write_iops_device().as_deref(), list)));
    }
    all
}

fn throttled(old: Option<&[LinuxThrottleDevice]>, asked: &[LinuxThrottleDevice]) -> Vec<LinuxThrottleDevice> {
    upserted(old, asked, |a, b| (a.major(), a.minor()) == (b.major(), b.minor()))
}

fn network(mut all: LinuxNetwork, asked: &LinuxNetwork) -> LinuxNetwork {
    all.set_class_id(asked.class_id().filter(|n| *n != 0).or(all.class_id()));
    if let Some(list) = asked.priorities() {
        let same = |a: &LinuxInterfacePriority, b: &LinuxInterfacePriority| a.name() == b.name();
        all.set_priorities(Some(upserted(all.priorities().as_deref(), list, same)));
    }
    all
}

/// A new item takes the place of an old one for the same subject; of several new ones the last counts.
fn upserted<T: Clone>(old: Option<&[T]>, asked: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all = old.unwrap_or_default().to_vec();
    for new in asked {
        match all.iter_mut().find(|item| same(item, new)) {
            Some(item) => *item = new.clone(),
            None => all.push(new.clone()),
        }
    }
    all
}

/// The directories of a container that exists, by the paths of its record (`cgroup_paths`).
#[must_use]
pub fn dirs(paths: &BTreeMap<String, String>, layout: &Layout) -> Vec<Dir> {
    let mut dirs: Vec<Dir> = Vec::new();
    for hierarchy in &layout.hierarchies {
        let mount = if hierarchy.dir.is_empty() { ROOT.to_owned() } else { format!("{ROOT}/{}", hierarchy.dir) };
        let is_of = |key: &String| if hierarchy.v2 { key.is_empty() } else { hierarchy.controllers.contains(key) };
        let Some((_, absolute)) = paths.iter().find(|(key, _)| is_of(key)) else { continue };
        let Some(path) = absolute.strip_prefix(&mount).filter(|path| path.starts_with('/')) else { continue };
        dirs.push(Dir {
            mount: hierarchy.dir.clone(),
            path: path.to_owned(),
            own: hierarchy.own.clone(),
            keys: if hierarchy.v2 { Vec::new() } else { hierarchy.controllers.clone() },
            v2: hierarchy.v2,
            enable: false,
            domain: false,
            offered: Vec::new(),
        });
    }
    dirs
}

/// The writes of an update, without the device rules, for a container with these directories. If
/// systemd has made them, it is told before ([`properties`]), and rounds.
pub fn plan(
    merged: &Merged,
    dirs: Vec<Dir>,
    layout: &Layout,
    (facts, by_systemd): (&Facts, bool),
    problems: &mut Vec<Problem>,
) -> Plan {
    let mut plan = Plan { dirs, ..Plan::default() };
    let mut written = merged.written.clone();
    complete_bandwidth(&mut written, facts);
    if by_systemd {
        written = resources::as_systemd_rounds(&written);
    }
    resources::writes(&written, layout, &mut plan, problems);
    must_be_above_usage(merged, facts, problems);
    let (quota, period) = (At::field("linux.resources.cpu.quota"), At::field("linux.resources.cpu.period"));
    for write in plan.writes.iter_mut().filter(|w| merged.period_alone && w.at == quota) {
        write.at = period;
    }
    plan.writes.sort_by_key(|w| rank(w, layout));
    order_memory(&mut plan.writes, facts);
    plan
}

/// What systemd is told of an update, so that it does not write its own over it later.
pub fn properties(
    merged: &Merged,
    layout: &Layout,
    facts: &Facts,
    manager: &Manager,
    problems: &mut Vec<Problem>,
) -> Vec<Property> {
    let mut written = merged.written.clone();
    complete_bandwidth(&mut written, facts);
    resources::properties(&written, layout, manager, problems)
}

/// What systemd is told if the update fails after all: of what was written, the old values, or what there is without any.
/// What an update before this one has had the record forget, the kernel has told.
#[must_use]
pub fn before(old: &LinuxResources, merged: &Merged, facts: &Facts) -> Merged {
    let mut back = merged.written.clone();
    if let (Some(old), Some(mut now)) = (old.memory().or(Some(LinuxMemory::default())), *back.memory()) {
        let either = now.limit().is_some() || now.swap().is_some();
        let none = Some(-1).filter(|_| either);
        now.set_limit(old.limit().or(none)).set_swap(old.swap().or(none.filter(|_| old.limit().is_none())));
        now.set_reservation(old.reservation());
        back.set_memory(Some(now));
    }
    if let Some(now) = back.cpu().clone() {
        let mut all = old.cpu().clone().unwrap_or_default();
        let bandwidth = now.quota().is_some() || now.period().is_some();
        if bandwidth && all.quota().is_none() {
            let (quota, period) = facts.bandwidth().map_or((-1, None), |(quota, period)| (quota, Some(period)));
            let period = all.period().or(period);
            all.set_quota(Some(quota)).set_period(period);
        }
        all.set_shares(all.shares().or(Some(1024).filter(|_| now.shares().is_some() || now.idle().is_some())));
        back.set_cpu(Some(all));
    }
    if back.pids().is_some() {
        let told = || facts.tasks.as_deref().and_then(unlimited_or).unwrap_or(-1);
        back.set_pids(Some(old.pids().unwrap_or_else(|| limited(told()))));
    }
    if back.block_io().is_some() {
        back.set_block_io(old.block_io().clone());
    }
    if back.devices().is_some() {
        back.set_devices(Some(old.devices().clone().unwrap_or_default()));
    }
    back.set_unified(old.unified().clone());
    Merged { stored: old.clone(), written: back, period_alone: false }
}

/// v2 has quota and period in one file, and systemd in one number: the one that nobody speaks about stays as the kernel
/// has it.
fn complete_bandwidth(written: &mut LinuxResources, facts: &Facts) {
    let Some((quota, period)) = facts.bandwidth() else { return };
    let Some(mut cpu) = written.cpu().clone() else { return };
    match (cpu.quota().filter(|n| *n != 0), cpu.period().filter(|n| *n != 0)) {
        (None, Some(_)) => cpu.set_quota(Some(quota)),
        (Some(_), None) => cpu.set_period(Some(period)),
        _ => return,
    };
    written.set_cpu(Some(cpu));
}

/// v2 kills who does not fit into a new limit. v1 refuses it by itself.
fn must_be_above_usage(merged: &Merged, facts: &Facts, problems: &mut Vec<Problem>) {
    let checked = merged.stored.memory().and_then(|m| m.check_before_update()) == Some(true);
    let (Some(memory), Some(usage), true) = (merged.written.memory(), facts.usage, checked) else { return };
    let swap_usage = usage.saturating_add(facts.swap_usage.unwrap_or(0));
    // Callers see the first; runc's is that of both together.
    let limits = [
        ("linux.resources.memory.swap", "memory+swap", memory.swap(), swap_usage),
        ("linux.resources.memory.limit", "memory", memory.limit(), usage),
    ];
    for (at, name, limit, usage) in limits {
        let limit = limit.and_then(|n| u64::try_from(n).ok()).filter(|n| *n != 0);
        if let Some(limit) = limit.filter(|limit| *limit <= usage) {
            let text = format!("rejecting {name} limit {limit} <= usage {usage}");
            problems.push(Problem::error(At::field(at), "", text));
        }
    }
}

/// v1 never lets memory alone be above memory and swap: what is raised above that goes second, what is lowered first.
fn order_memory(writes: &mut [Write], facts: &Facts) {
    let place = |file: &str| writes.iter().position(|w| w.file == file);
    let (Some(limit), Some(both)) = (place(LIMIT), place(LIMIT_WITH_SWAP)) else { return };
    let asked = writes.get(limit).and_then(|w| w.value.parse::<u64>().ok()).unwrap_or(u64::MAX);
    if limit < both && facts.limit_with_swap.is_some_and(|now| asked > now) {
        writes.swap(limit, both);
    }
}

/// What to write to a file to have it as it was before `value` was written; `None` if there is no such text.
#[must_use]
pub fn undo(file: &str, value: &str, before: &str) -> Option<String> {
    let flag = |name: &str| before.lines().find_map(|line| line.strip_prefix(name)).map(|n| n.trim().to_owned());
    if file == "memory.oom_control" {
        return flag("oom_kill_disable");
    }
    let per_subject = ["_device", "io.max", "io.weight", "io.bfq.weight", "rdma.max", "net_prio.ifpriomap"];
    if !per_subject.iter().any(|end| file.ends_with(end)) {
        // An empty list of CPUs is written as an empty line: a write of nothing is none.
        let text = if before.is_empty() { "\n" } else { before };
        return (text.lines().count() <= 1).then(|| text.to_owned());
    }
    let Some((subject, _)) = value.split_once(' ') else { return flag("default").or(flag("")) };
    let old = before.lines().find(|line| line.split_once(' ').is_some_and(|(name, _)| name == subject));
    if old.is_some() {
        return old.map(str::to_owned);
    }
    match file {
        "io.max" => Some(format!("{subject} rbps=max wbps=max riops=max wiops=max")),
        "io.weight" | "io.bfq.weight" => Some(format!("{subject} default")),
        "rdma.max" | "net_prio.ifpriomap" => None,
        _ => Some(format!("{subject} 0")),
    }
}

#[cfg(test)]
mod tests;
