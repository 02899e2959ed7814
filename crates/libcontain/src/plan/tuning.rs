//! Scheduling, I/O priority, execution domain and memory placement, as the numbers that the kernel takes.
//!
//! What is out of range has been told by `check`; here every value becomes something.

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process,
};

use super::{Op, Planner};
use crate::error::{At, Problem};

/// No machine has so many nodes, nor does any kernel know so many; today's limit is 1024, and the kernel's to say.
pub(crate) const MAX_NODES: u32 = 1 << 16;

/// `struct sched_attr` of `sched_setattr(2)`, without its size and the values of the utilization clamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`: runtime, deadline, period.
    pub times: [u64; 3],
}

impl Scheduler {
    /// `SCHED_FIFO` or `SCHED_RR`.
    pub(crate) fn is_real_time(&self) -> bool {
        matches!(self.policy, 1 | 2)
    }
}

/// The words of `linux.memoryPolicy.mode`.
pub const MEMORY_MODES: [&str; 7] = [
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// The words of `linux.memoryPolicy.flags`.
pub const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// Arguments of `set_mempolicy(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` and `MPOL_F_*`.
    pub mode: u32,
    /// One bit per node.
    pub nodes: Vec<u64>,
}

impl Planner<'_> {
    /// runc's order. The execution domain comes before any seccomp filter, which may forbid `personality(2)`.
    pub(super) fn tuning(&mut self, process: &Process) {
        if let Some(given) = process.scheduler() {
            let flags = given.flags().iter().flatten().fold(0, |flags, flag| flags | scheduler_flag(*flag));
            let times = [given.runtime(), given.deadline(), given.period()].map(|time| time.unwrap_or(0));
            let priority = given.priority().and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
            let (policy, nice) = (scheduler_policy(*given.policy()), given.nice().unwrap_or(0));
            self.step(
                At::field("process.scheduler"),
                Op::Scheduler(Scheduler { policy, flags, nice, priority, times }),
            );
        }
        if let Some(given) = process.io_priority() {
            self.step(At::field("process.ioPriority"), Op::IoPriority(io_priority(given)));
        }
        let Some(linux) = self.spec.linux() else { return };
        if let Some(given) = linux.personality() {
            self.personality(given);
        }
        if let Some(given) = linux.memory_policy() {
            self.step(At::field("linux.memoryPolicy"), Op::MemoryPolicy(memory_policy(given)));
        }
    }

    fn personality(&mut self, given: &LinuxPersonality) {
        if given.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
            let text = "personality flags are not supported at this time: ignored";
            self.problems.push(Problem::warning(
                At::field("linux.personality.flags"),
                "config-linux.md#personality",
                text,
            ));
        }
        let domain = match given.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        };
        self.step(At::field("linux.personality"), Op::Personality(domain));
    }
}

const fn scheduler_policy(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    }
}

const fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 1,
        LinuxSchedulerFlag::SchedFlagReclaim => 2,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 4,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 8,
        LinuxSchedulerFlag::SchedFlagKeepParams => 16,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 32,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 64,
    }
}

/// The class in the upper bits, the level below (`IOPRIO_PRIO_VALUE`).
fn io_priority(given: &LinuxIOPriority) -> u32 {
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    (class << 13) | u32::try_from(given.priority()).unwrap_or(0)
}

fn memory_policy(given: &LinuxMemoryPolicy) -> MemoryPolicy {
    let mode = match given.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flag = |flag: &MemoryPolicyFlagType| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    };
    let mode = given.flags().iter().flatten().fold(mode, |mode, f| mode | flag(f));
    MemoryPolicy { mode, nodes: mask_of(given.nodes().as_deref().unwrap_or("")) }
}

/// The bits of a list such as `0-3,7`.
pub(super) fn mask_of(list: &str) -> Vec<u64> {
    let mut mask: Vec<u64> = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) else { continue };
        for node in first..=last.min(MAX_NODES - 1) {
            let word = usize::try_from(node / u64::BITS).unwrap_or(0);
            mask.resize(mask.len().max(word + 1), 0);
            if let Some(word) = mask.get_mut(word) {
                *word |= 1 << (node % u64::BITS);
            }
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn node_lists() {
        for (list, mask) in
            [("", vec![]), ("0", vec![1]), ("0-2,4", vec![0b10111]), ("64, 1", vec![2, 1]), ("3-1", vec![])]
        {
            assert_eq!(mask_of(list), mask, "{list:?}");
        }
        assert!(mask_of("0-4294967295").len() <= 1025, "a list cannot take the memory of the machine");
    }

    #[test]
    fn words_are_all_that_are_known() {
        let modes = MEMORY_MODES.map(|word| memory_policy(&parsed(json!({"mode": word}))).mode);
        assert_eq!(modes, [2, 0, 3, 4, 1, 5, 6]);
        let flags =
            MEMORY_FLAGS.map(|word| memory_policy(&parsed(json!({"mode": "MPOL_DEFAULT", "flags": [word]}))).mode);
        assert_eq!(flags, [1 << 13, 1 << 14, 1 << 15]);
    }

    #[test]
    fn numbers_are_the_kernels() {
        let io = |class: &str, level: i32| io_priority(&parsed(json!({"class": class, "priority": level})));
        assert_eq!(
            [io("IOPRIO_CLASS_RT", 0), io("IOPRIO_CLASS_BE", 4), io("IOPRIO_CLASS_IDLE", 7)],
            [0x2000, 0x4004, 0x6007]
        );
        let given =
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]});
        assert_eq!(memory_policy(&parsed(given)), MemoryPolicy { mode: 2 | 1 << 15 | 1 << 13, nodes: vec![1] });
    }
}
