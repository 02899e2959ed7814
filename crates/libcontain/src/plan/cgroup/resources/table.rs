//! The table: every field of `linux.resources`, once.
//!
//! Owns [`TABLE`]: for each field its files on v1 and v2, its property where systemd makes the cgroup, how it reads
//! there, and what that means in words. Creating, updating, `features` and docs/resources.md go through these rows.
//!
//! Invariants: the order is that of writing within a controller (contract 6.9); file names and property names stand
//! here and nowhere else, so that a function which lowers a row takes them from it.
//!
//! Must not enter: how a value is written, and what is known about one machine.

use oci_spec::runtime::{LinuxBlockIo, LinuxMemory, LinuxResources};

use super::{Asking, Sink, block_io, cpu, lists, memory, unified};
use crate::plan::cgroup::How;
use crate::plan::systemd::Value;

/// The two versions of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

/// A value in the words of a file, if the config has one; the error says what is wrong with it.
pub(super) type Text = Result<Option<String>, String>;

/// One field of `linux.resources`, or one list or map whose items are lowered together.
#[derive(Debug)]
pub struct Row {
    /// Its place in the config: `#` is an index of a list, `*` a name in a map.
    pub at: &'static str,
    /// Where it goes on v1, if there is such a thing.
    pub v1: Option<File>,
    /// Where it goes on v2.
    pub v2: Option<File>,
    /// What systemd is asked for besides on a machine with v1 hierarchies.
    pub unit_v1: Option<Property>,
    /// What systemd is asked for besides on a machine with v2 alone.
    pub unit_v2: Option<Property>,
    /// Unit and conversion in words, for users.
    pub words: &'static str,
    /// How it is lowered to files.
    pub(super) lower: Lower,
}

/// A file of a cgroup.
#[derive(Debug)]
pub struct File {
    /// Its controller.
    pub controller: &'static str,
    /// Its name; capitals stand for a part that the config names.
    pub name: &'static str,
    /// Another that is written instead of it or as well.
    pub second: Second,
    /// What a failing write means.
    pub(super) how: How,
}

/// The second file of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// There is none.
    None,
    /// Written if the first does not exist.
    Instead(&'static str),
    /// Written as well.
    Besides(&'static str),
}

/// What systemd is asked for.
#[derive(Debug)]
pub struct Property {
    /// The names of its properties.
    pub names: &'static [&'static str],
    /// The first version of systemd that has them.
    pub since: u32,
    pub(super) value: Asked,
}

/// How a row becomes properties.
#[derive(Debug)]
pub(super) enum Asked {
    /// One, if the config has a value.
    One(fn(&LinuxResources) -> Result<Option<Value>, String>),
    /// By a function that knows more.
    By(fn(&mut Asking<'_>, &LinuxResources)),
}

/// How a row becomes writes.
#[derive(Debug)]
pub(super) enum Lower {
    /// One value in one file.
    Value(fn(&LinuxResources, Version) -> Text),
    /// By a function.
    By(fn(&mut Sink<'_>, &LinuxResources, &'static Row)),
    /// By the function of another row.
    With,
    /// The kernel has given it up: a warning, where the config has it.
    GivenUp(fn(&LinuxResources) -> bool),
    /// Nothing to do for a new cgroup.
    ForUpdate,
    /// `plan/devices.rs`: the rules are there also without the field.
    Policy,
}

const fn file(controller: &'static str, name: &'static str) -> Option<File> {
    Some(File { controller, name, second: Second::None, how: How::Must })
}

/// The kernel checks the bandwidth values against each other, so which of them can be written first depends on what is
/// there already.
const fn again(controller: &'static str, name: &'static str) -> Option<File> {
    Some(File { controller, name, second: Second::None, how: How::Again })
}

const fn two(controller: &'static str, name: &'static str, second: Second) -> Option<File> {
    Some(File { controller, name, second, how: How::Must })
}

const fn one(
    names: &'static [&'static str],
    since: u32,
    value: fn(&LinuxResources) -> Result<Option<Value>, String>,
) -> Option<Property> {
    Some(Property { names, since, value: Asked::One(value) })
}

const NO_LIMIT: &str = "bytes; -1: no limit; 0: not set";
const WEIGHT: &str = "10 to 1000; 0: not set";
const GIVEN_UP: &str = "ignored with a warning: the kernel has given it up";

/// In the order of writing within a controller.
pub(super) static TABLE: [Row; 33] = [
    Row {
        at: "linux.resources.devices[#]",
        v1: two("devices", "devices.allow", Second::Besides("devices.deny")),
        v2: None,
        unit_v1: Some(Property {
            names: &["DevicePolicy", "DeviceAllow"],
            since: 0,
            value: Asked::By(|asking, r| asking.devices(r)),
        }),
        unit_v2: Some(Property {
            names: &["DevicePolicy", "DeviceAllow"],
            since: 0,
            value: Asked::By(|asking, r| asking.devices(r)),
        }),
        words: "the rules in order, then the runtime's own, reduced to a default and its exceptions; v2: a device program \
                (`BPF_PROG_TYPE_CGROUP_DEVICE`)",
        lower: Lower::Policy,
    },
    Row {
        at: "linux.resources.memory.kernel",
        v1: None,
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: GIVEN_UP,
        lower: Lower::GivenUp(|r| memory::get(r, LinuxMemory::kernel).is_some_and(|n| n != 0)),
    },
    Row {
        at: "linux.resources.memory.kernelTCP",
        v1: None,
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: GIVEN_UP,
        lower: Lower::GivenUp(|r| memory::get(r, LinuxMemory::kernel_tcp).is_some_and(|n| n != 0)),
    },
    Row {
        at: "linux.resources.memory.useHierarchy",
        v1: None,
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: GIVEN_UP,
        lower: Lower::GivenUp(|r| memory::get(r, LinuxMemory::use_hierarchy).is_some()),
    },
    Row {
        at: "linux.resources.memory.checkBeforeUpdate",
        v1: None,
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "for `update`: a limit below what is used is refused; a new cgroup uses nothing",
        lower: Lower::ForUpdate,
    },
    Row {
        at: "linux.resources.memory.limit",
        v1: file("memory", "memory.limit_in_bytes"),
        v2: file("memory", "memory.max"),
        unit_v1: one(&["MemoryLimit"], 0, |r| memory::limit(r, LinuxMemory::limit)),
        unit_v2: one(&["MemoryMax"], 0, |r| memory::limit(r, LinuxMemory::limit)),
        words: NO_LIMIT,
        lower: Lower::By(memory::limit_and_swap),
    },
    Row {
        at: "linux.resources.memory.swap",
        v1: file("memory", "memory.memsw.limit_in_bytes"),
        v2: file("memory", "memory.swap.max"),
        unit_v1: None,
        unit_v2: one(&["MemorySwapMax"], 0, memory::swap_max),
        words: "bytes of memory and swap together; -1: no limit; 0: not set; v2: less the memory limit, which has to be \
                there; without a memory limit (-1) there is none for swap either",
        lower: Lower::With,
    },
    Row {
        at: "linux.resources.memory.reservation",
        v1: file("memory", "memory.soft_limit_in_bytes"),
        v2: file("memory", "memory.low"),
        unit_v1: None,
        unit_v2: one(&["MemoryLow"], 0, |r| memory::limit(r, LinuxMemory::reservation)),
        words: NO_LIMIT,
        lower: Lower::Value(|r, version| memory::bytes(memory::get(r, LinuxMemory::reservation), version)),
    },
    Row {
        at: "linux.resources.memory.swappiness",
        v1: file("memory", "memory.swappiness"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "0 to 100; -1 (as an unsigned number): left alone",
        lower: Lower::Value(|r, _| memory::swappiness(r)),
    },
    Row {
        at: "linux.resources.memory.disableOOMKiller",
        v1: file("memory", "memory.oom_control"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "true: `1`; false: left alone",
        lower: Lower::Value(|r, _| {
            Ok(memory::get(r, LinuxMemory::disable_oom_killer).filter(|on| *on).map(|_| "1".to_owned()))
        }),
    },
    Row {
        at: "linux.resources.cpu.realtimePeriod",
        v1: again("cpu", "cpu.rt_period_us"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "microseconds; 0: not set",
        lower: Lower::Value(|r, _| cpu::text(cpu::get(r, |c| c.realtime_period()).filter(|n| *n != 0))),
    },
    Row {
        at: "linux.resources.cpu.realtimeRuntime",
        v1: again("cpu", "cpu.rt_runtime_us"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "microseconds; 0: not set",
        lower: Lower::Value(|r, _| cpu::text(cpu::get(r, |c| c.realtime_runtime()).filter(|n| *n != 0))),
    },
    Row {
        at: "linux.resources.cpu.idle",
        v1: file("cpu", "cpu.idle"),
        v2: file("cpu", "cpu.idle"),
        unit_v1: None,
        unit_v2: one(&["CPUWeight"], cpu::IDLE_SINCE, cpu::idle_weight),
        words: "0 or 1; 1 rules out shares; systemd: 1 is the weight 0",
        lower: Lower::Value(|r, _| cpu::idle(r)),
    },
    Row {
        at: "linux.resources.cpu.shares",
        v1: Some(File { controller: "cpu", name: "cpu.shares", second: Second::None, how: How::ReadBack }),
        v2: file("cpu", "cpu.weight"),
        unit_v1: one(&["CPUShares"], 0, |r| Ok(cpu::shares(r).map(Value::U64))),
        unit_v2: one(&["CPUWeight"], 0, |r| Ok(cpu::shares(r).map(|n| Value::U64(cpu::weight(n).into())))),
        words: "0: not set; v2: a weight of 1 to 10000 on a curve through 2 → 1, 1024 → 100, 262144 → 10000",
        lower: Lower::By(cpu::put_shares),
    },
    Row {
        at: "linux.resources.cpu.burst",
        v1: again("cpu", "cpu.cfs_burst_us"),
        v2: again("cpu", "cpu.max.burst"),
        unit_v1: None,
        unit_v2: None,
        words: "microseconds; 0 is a value",
        lower: Lower::Value(|r, _| cpu::text(cpu::get(r, |c| c.burst()))),
    },
    Row {
        at: "linux.resources.cpu.period",
        v1: again("cpu", "cpu.cfs_period_us"),
        v2: file("cpu", "cpu.max"),
        unit_v1: one(&["CPUQuotaPeriodUSec"], cpu::PERIOD_SINCE, |r| Ok(cpu::period(r).map(Value::U64))),
        unit_v2: one(&["CPUQuotaPeriodUSec"], cpu::PERIOD_SINCE, |r| Ok(cpu::period(r).map(Value::U64))),
        words: "microseconds; 0: not set; v2: the second word; without a quota the first is `max`",
        lower: Lower::Value(cpu::put_period),
    },
    Row {
        at: "linux.resources.cpu.quota",
        v1: file("cpu", "cpu.cfs_quota_us"),
        v2: file("cpu", "cpu.max"),
        unit_v1: one(&["CPUQuotaPerSecUSec"], 0, cpu::quota_per_second),
        unit_v2: one(&["CPUQuotaPerSecUSec"], 0, cpu::quota_per_second),
        words: "microseconds per period; negative: no limit; 0: not set; v2: `QUOTA PERIOD`, the period being 100000 if \
                it is not set; systemd: per second, rounded up to a hundredth of a CPU, and so are the files then",
        lower: Lower::Value(cpu::put_quota),
    },
    Row {
        at: "linux.resources.cpu.cpus",
        v1: file("cpuset", "cpuset.cpus"),
        v2: file("cpuset", "cpuset.cpus"),
        unit_v1: one(&["AllowedCPUs"], cpu::CPUSET_SINCE, |r| cpu::bits_of(cpu::cpus(r))),
        unit_v2: one(&["AllowedCPUs"], cpu::CPUSET_SINCE, |r| cpu::bits_of(cpu::cpus(r))),
        words: "a list such as `0-3,7`; systemd: as bits",
        lower: Lower::Value(|r, _| Ok(cpu::cpus(r).cloned())),
    },
    Row {
        at: "linux.resources.cpu.mems",
        v1: file("cpuset", "cpuset.mems"),
        v2: file("cpuset", "cpuset.mems"),
        unit_v1: one(&["AllowedMemoryNodes"], cpu::CPUSET_SINCE, |r| cpu::bits_of(cpu::mems(r))),
        unit_v2: one(&["AllowedMemoryNodes"], cpu::CPUSET_SINCE, |r| cpu::bits_of(cpu::mems(r))),
        words: "a list such as `0-3,7`; systemd: as bits",
        lower: Lower::Value(|r, _| Ok(cpu::mems(r).cloned())),
    },
    Row {
        at: "linux.resources.pids.limit",
        v1: file("pids", "pids.max"),
        v2: file("pids", "pids.max"),
        unit_v1: one(&["TasksMax"], 0, lists::tasks_max),
        unit_v2: one(&["TasksMax"], 0, lists::tasks_max),
        words: "tasks; negative: no limit (`max`); 0: 1, as systemd has it",
        lower: Lower::Value(|r, _| Ok(lists::pids(r))),
    },
    Row {
        at: "linux.resources.network.classID",
        v1: file("net_cls", "net_cls.classid"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "0: not set",
        lower: Lower::Value(|r, _| Ok(lists::class_id(r))),
    },
    Row {
        at: "linux.resources.blockIO.weight",
        v1: two("blkio", "blkio.weight", Second::Instead("blkio.bfq.weight")),
        v2: two("io", "io.bfq.weight", Second::Instead("io.weight")),
        unit_v1: one(&["BlockIOWeight"], 0, block_io::unit_weight),
        unit_v2: None,
        words: "10 to 1000; 0: not set; v2 without BFQ (`io.weight`): 1 + (weight - 10) × 9999 / 990",
        lower: Lower::By(block_io::weight),
    },
    Row {
        at: "linux.resources.blockIO.leafWeight",
        v1: file("blkio", "blkio.leaf_weight"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: WEIGHT,
        lower: Lower::By(block_io::leaf_weight),
    },
    Row {
        at: "linux.resources.blockIO.weightDevice[#].weight",
        v1: two("blkio", "blkio.weight_device", Second::Instead("blkio.bfq.weight_device")),
        v2: file("io", "io.bfq.weight"),
        unit_v1: None,
        unit_v2: None,
        words: "`MAJOR:MINOR WEIGHT`; 10 to 1000; 0: not set",
        lower: Lower::By(block_io::device_weights),
    },
    Row {
        at: "linux.resources.blockIO.weightDevice[#].leafWeight",
        v1: file("blkio", "blkio.leaf_weight_device"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "`MAJOR:MINOR WEIGHT`; 10 to 1000; 0: not set",
        lower: Lower::By(block_io::device_leaf_weights),
    },
    Row {
        at: "linux.resources.blockIO.throttleReadBpsDevice[#]",
        v1: file("blkio", "blkio.throttle.read_bps_device"),
        v2: file("io", "io.max"),
        unit_v1: None,
        unit_v2: None,
        words: "bytes per second; v1: `MAJOR:MINOR RATE`; v2: `MAJOR:MINOR rbps=RATE`, where 0 is `max`",
        lower: Lower::By(|sink, r, row| {
            block_io::throttle(sink, r, row, LinuxBlockIo::throttle_read_bps_device, "rbps")
        }),
    },
    Row {
        at: "linux.resources.blockIO.throttleWriteBpsDevice[#]",
        v1: file("blkio", "blkio.throttle.write_bps_device"),
        v2: file("io", "io.max"),
        unit_v1: None,
        unit_v2: None,
        words: "bytes per second; v1: `MAJOR:MINOR RATE`; v2: `MAJOR:MINOR wbps=RATE`, where 0 is `max`",
        lower: Lower::By(|sink, r, row| {
            block_io::throttle(sink, r, row, LinuxBlockIo::throttle_write_bps_device, "wbps");
        }),
    },
    Row {
        at: "linux.resources.blockIO.throttleReadIOPSDevice[#]",
        v1: file("blkio", "blkio.throttle.read_iops_device"),
        v2: file("io", "io.max"),
        unit_v1: None,
        unit_v2: None,
        words: "operations per second; v1: `MAJOR:MINOR RATE`; v2: `MAJOR:MINOR riops=RATE`, where 0 is `max`",
        lower: Lower::By(|sink, r, row| {
            block_io::throttle(sink, r, row, LinuxBlockIo::throttle_read_iops_device, "riops");
        }),
    },
    Row {
        at: "linux.resources.blockIO.throttleWriteIOPSDevice[#]",
        v1: file("blkio", "blkio.throttle.write_iops_device"),
        v2: file("io", "io.max"),
        unit_v1: None,
        unit_v2: None,
        words: "operations per second; v1: `MAJOR:MINOR RATE`; v2: `MAJOR:MINOR wiops=RATE`, where 0 is `max`",
        lower: Lower::By(|sink, r, row| {
            block_io::throttle(sink, r, row, LinuxBlockIo::throttle_write_iops_device, "wiops");
        }),
    },
    Row {
        at: "linux.resources.hugepageLimits[#].limit",
        v1: two("hugetlb", "hugetlb.SIZE.limit_in_bytes", Second::Besides("hugetlb.SIZE.rsvd.limit_in_bytes")),
        v2: two("hugetlb", "hugetlb.SIZE.max", Second::Besides("hugetlb.SIZE.rsvd.max")),
        unit_v1: None,
        unit_v2: None,
        words: "bytes; 0 is a limit; SIZE is `pageSize`, such as `2MB`; `rsvd` where the kernel has it",
        lower: Lower::By(lists::hugetlb),
    },
    Row {
        at: "linux.resources.rdma.*",
        v1: file("rdma", "rdma.max"),
        v2: file("rdma", "rdma.max"),
        unit_v1: None,
        unit_v2: None,
        words: "`DEVICE hca_handle=N hca_object=N`, without what is not set",
        lower: Lower::By(lists::rdma),
    },
    Row {
        at: "linux.resources.network.priorities[#]",
        v1: file("net_prio", "net_prio.ifpriomap"),
        v2: None,
        unit_v1: None,
        unit_v2: None,
        words: "`INTERFACE PRIORITY`",
        lower: Lower::By(lists::priorities),
    },
    Row {
        at: "linux.resources.unified",
        v1: None,
        v2: Some(File { controller: "cgroup", name: "FILE", second: Second::None, how: How::Must }),
        unit_v1: None,
        unit_v2: Some(Property { names: unified::PROPERTIES, since: 0, value: Asked::By(unified::properties) }),
        words: "each file by its name (`misc.max`, `io.latency`, ...), line by line and after all others; refused where \
                there is v1; systemd: those that it has a property for",
        lower: Lower::By(unified::files),
    },
];
