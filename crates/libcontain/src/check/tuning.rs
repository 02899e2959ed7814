//! Rules about scheduling and memory placement: values that the kernel would refuse.

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::plan::tuning::MAX_NODES;
use crate::spec::{LinuxSchedulerPolicy as Policy, MemoryPolicyModeType as Mode};

const PROCESS: &str = "config.md#linux-process";
/// No kernel is made for more (`NR_CPUS`).
pub(crate) const MAX_CPUS: u32 = 8192;

const MEMORY: &str = "config-linux.md#memory-policy";

pub(super) fn scheduler(c: &Ctx<'_>, out: &mut Problems) {
    let Some(s) = c.process().and_then(|p| p.scheduler().as_ref()) else { return };
    let policy = *s.policy();
    let nice = s.nice().unwrap_or(0);
    if matches!(policy, Policy::SchedOther | Policy::SchedBatch) && !(-20..=19).contains(&nice) {
        let text = format!("invalid scheduler.nice: {nice} when scheduler.policy is {policy}, expected -20 to 19");
        out.push(Problem::error(At::field("process.scheduler.nice"), PROCESS, text));
    }
    if s.priority().unwrap_or(0) != 0 && !matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
        let text = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        out.push(Problem::error(At::field("process.scheduler.priority"), PROCESS, text));
    }
    let times = [s.runtime(), s.deadline(), s.period()];
    if times.iter().any(|t| t.unwrap_or(0) != 0) && policy != Policy::SchedDeadline {
        let text = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
        out.push(Problem::error(At::field("process.scheduler"), PROCESS, text));
    }
}

pub(super) fn io_priority(c: &Ctx<'_>, out: &mut Problems) {
    let Some(priority) = c.process().and_then(|p| p.io_priority().as_ref()).map(crate::spec::LinuxIOPriority::priority)
    else {
        return;
    };
    if !(0..=7).contains(&priority) {
        let text = format!("invalid ioPriority.Priority: {priority}, expected 0 to 7");
        out.push(Problem::error(At::field("process.ioPriority.priority"), PROCESS, text));
    }
}

/// For processes that are started in the container later, and not for init (config.md#linux-process), which has all
/// CPUs of its cgroup.
pub(super) fn exec_cpu_affinity(c: &Ctx<'_>, out: &mut Problems) {
    let Some(given) = c.process().and_then(|p| p.exec_cpu_affinity().as_ref()) else { return };
    let lists = [
        ("process.execCPUAffinity.initial", "Initial", given.initial()),
        ("process.execCPUAffinity.final", "Final", given.cpu_affinity_final()),
    ];
    for (place, name, list) in lists {
        for range in list.iter().flat_map(|list| list.split(',')) {
            if let Some(fault) = cpu_range_fault(range) {
                out.push(Problem::error(At::field(place), PROCESS, format!("bad CPUAffinity.{name}: {fault}")));
            }
        }
    }
}

fn cpu_range_fault(range: &str) -> Option<String> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u32>(), last.parse::<u32>()) {
        (Ok(first), Ok(last)) if first > last => Some(format!("invalid range: {range}")),
        (Ok(_), Ok(last)) if last < MAX_CPUS => None,
        (Ok(_), Ok(_)) => Some(format!("values larger than {} are not supported", MAX_CPUS - 1)),
        _ => Some(format!("{} is not a number or a range of CPUs", quoted(range))),
    }
}

pub(super) fn memory_policy(c: &Ctx<'_>, out: &mut Problems) {
    let Some(policy) = c.linux().and_then(|l| l.memory_policy().as_ref()) else { return };
    let at = At::field("linux.memoryPolicy.nodes");
    let list = policy.nodes().as_deref().unwrap_or_default();
    let Some(nodes) = count_nodes(list) else {
        let text = format!("invalid memory policy nodes {}: expected a list such as \"0-3,7\"", quoted(list));
        out.push(Problem::error(at, MEMORY, text));
        return;
    };
    let text = match policy.mode() {
        Mode::MpolDefault | Mode::MpolLocal if nodes > 0 => {
            format!("memory policy mode requires 0 nodes but got {nodes}")
        }
        Mode::MpolBind | Mode::MpolInterleave | Mode::MpolPreferredMany | Mode::MpolWeightedInterleave
            if nodes == 0 =>
        {
            "memory policy mode requires at least one node but got 0".to_owned()
        }
        _ => return,
    };
    out.push(Problem::error(at, MEMORY, text));
}

/// The number of nodes in a list such as `0-3,7`, nodes that are named twice counted twice.
fn count_nodes(list: &str) -> Option<u64> {
    let mut nodes = 0_u64;
    for part in list.trim().split(',').filter(|_| !list.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        nodes += u64::from(last.checked_sub(first).filter(|_| last < MAX_NODES)?) + 1;
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use serde_json::{Value, json};

    fn wrong(patch: Value) -> Vec<String> {
        found(patch)
    }

    #[test]
    fn scheduling() {
        let nice = |policy: &str, nice: i32| json!({"policy": policy, "nice": nice});
        let table = [
            (nice("SCHED_OTHER", 19), ""),
            (nice("SCHED_BATCH", -20), ""),
            (nice("SCHED_FIFO", 50), ""),
            (
                nice("SCHED_OTHER", 20),
                "process.scheduler.nice: invalid scheduler.nice: 20 when scheduler.policy is SCHED_OTHER, expected -20 to 19",
            ),
            (
                nice("SCHED_BATCH", -21),
                "process.scheduler.nice: invalid scheduler.nice: -21 when scheduler.policy is SCHED_BATCH, expected -20 to 19",
            ),
            (json!({"policy": "SCHED_RR", "priority": 5}), ""),
            (
                json!({"policy": "SCHED_OTHER", "priority": 5}),
                "process.scheduler.priority: scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
            ),
            (json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}), ""),
            (
                json!({"policy": "SCHED_RR", "period": 3}),
                "process.scheduler: scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
            ),
        ];
        for (scheduler, expected) in table {
            assert_eq!(wrong(json!({"process": {"scheduler": scheduler}})).join("\n"), expected, "{scheduler}");
        }
    }

    #[test]
    fn io_priorities() {
        let of = |priority: i32| {
            wrong(json!({"process": {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": priority}}}))
        };
        assert_eq!((of(0), of(7)), (vec![], vec![]));
        assert_eq!(of(8), ["process.ioPriority.priority: invalid ioPriority.Priority: 8, expected 0 to 7"]);
        assert_eq!(of(-1), ["process.ioPriority.priority: invalid ioPriority.Priority: -1, expected 0 to 7"]);
    }

    #[test]
    fn cpus_of_later_processes() {
        let of = |list: &str| wrong(json!({"process": {"execCPUAffinity": {"initial": list, "final": list}}}));
        assert_eq!((of("0-3,7"), of("8191"), of("")), (vec![], vec![], vec![]));
        for (list, fault) in [
            ("3-1", "invalid range: 3-1"),
            ("0,8192", "values larger than 8191 are not supported"),
            ("0-8192", "values larger than 8191 are not supported"),
            ("99999999999", "\"99999999999\" is not a number or a range of CPUs"),
        ] {
            let expected = ["Initial", "Final"].map(|name| {
                format!("process.execCPUAffinity.{}: bad CPUAffinity.{name}: {fault}", name.to_lowercase())
            });
            assert_eq!(of(list), expected);
        }
    }

    #[test]
    fn memory_policies() {
        let table = [
            ("MPOL_DEFAULT", "", ""),
            ("MPOL_LOCAL", "0", "memory policy mode requires 0 nodes but got 1"),
            ("MPOL_DEFAULT", "0-3,7", "memory policy mode requires 0 nodes but got 5"),
            ("MPOL_BIND", "", "memory policy mode requires at least one node but got 0"),
            ("MPOL_PREFERRED_MANY", " ", "memory policy mode requires at least one node but got 0"),
            ("MPOL_PREFERRED", "", ""),
            ("MPOL_INTERLEAVE", "0-3,7", ""),
            ("MPOL_BIND", "3-0", "invalid memory policy nodes \"3-0\": expected a list such as \"0-3,7\""),
            ("MPOL_BIND", "0,", "invalid memory policy nodes \"0,\": expected a list such as \"0-3,7\""),
            ("MPOL_BIND", "1024", ""),
            ("MPOL_BIND", "0-65536", "invalid memory policy nodes \"0-65536\": expected a list such as \"0-3,7\""),
            ("MPOL_BIND", "x", "invalid memory policy nodes \"x\": expected a list such as \"0-3,7\""),
        ];
        for (mode, nodes, expected) in table {
            let expected =
                if expected.is_empty() { vec![] } else { vec![format!("linux.memoryPolicy.nodes: {expected}")] };
            assert_eq!(
                wrong(json!({"linux": {"memoryPolicy": {"mode": mode, "nodes": nodes}}})),
                expected,
                "{mode} {nodes}"
            );
        }
    }
}
