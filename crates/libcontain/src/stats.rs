//! What a container has used: the document that `cntr events --stats` prints.
//!
//! Owns names, order and types of its members, which are runc's (`types.Stats`), down to which of them are left out when they
//! are zero: programs decode it. Sizes are bytes, times nanoseconds, unless a member says something else. What the
//! machine does not count is zero or empty. Where the values come from is `cgroup/stats.rs`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Everything at one moment, as far as files that are read one after the other can tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors and memory nodes (v1 only).
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by size: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Cache and memory bandwidth, of a container with `linux.intelRdt`.
    pub intel_rdt: IntelRdt,
    /// Always absent: runc counts here what only its own library could configure.
    pub network_interfaces: Option<Vec<NetworkInterface>>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// What was withheld.
    pub throttling: Throttling,
    /// How long tasks waited for a processor (v2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Processor time used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// In all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor (v1 only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, by processor (v1 only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In programs, by processor (v1 only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What the quota has withheld.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which there was something to run.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those of them in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// How long tasks stood still for that.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some tasks waited.
    pub some: Stall,
    /// All tasks waited.
    pub full: Stall,
}

/// Shares of time, in percent, in which tasks waited.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Of the last ten seconds.
    #[serde(serialize_with = "go_float")]
    pub avg10: f64,
    /// Of the last minute.
    #[serde(serialize_with = "go_float")]
    pub avg60: f64,
    /// Of the last five minutes.
    #[serde(serialize_with = "go_float")]
    pub avg300: f64,
    /// In all, in microseconds.
    pub total: u64,
}

/// The v1 cpuset; flags are 0 or 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cpuset {
    /// Processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// Nobody else has them.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// The kernel's own memory is bound to them as well.
    pub mem_hardwall: u64,
    /// Nobody else has them.
    pub mem_exclusive: u64,
    /// Pages move when the nodes change.
    pub memory_migrate: u64,
    /// The page cache is spread.
    pub memory_spread_page: u64,
    /// Slabs are spread.
    pub memory_spread_slab: u64,
    /// How hard it is to find free memory.
    pub memory_pressure: u64,
    /// Load is balanced over the processors.
    pub sched_load_balance: u64,
    /// How far that may reach; -1: the system's default.
    pub sched_relax_domain_level: i64,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Of files.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// In all.
    pub usage: MemoryEntry,
    /// Memory and swap together, on v2 as on v1.
    pub swap: MemoryEntry,
    /// The kernel's (v1 only).
    pub kernel: MemoryEntry,
    /// Of TCP buffers (v1 only).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`, with the kernel's names and units.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// How long tasks waited for memory (v2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The limit; without one, 2^64-1 on v2 and the kernel's largest number of pages on v1.
    pub limit: u64,
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most there was.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit (v1 only).
    pub failcnt: u64,
}

/// Tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0: any number.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices. v2 has the first two and the pressure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Requests in the queue.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    /// Time in the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Time in the queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Requests merged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Time for which the device was the container's, in milliseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long tasks waited for block devices (v2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One operation on one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Its minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write`, and on v1 `Sync`, `Async`, `Discard`, `Total`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// How many.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes: those reserved, where the kernel counts them (Linux 5.7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most there was (v1 only).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// The container's class of service in resctrl.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IntelRdt {
    /// What the machine's L3 cache can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    /// The `L3` line of the default class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    /// The `L3` line of the container's class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// What the machine's memory bandwidth allocation can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    /// The `MB` line of the default class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    /// The `MB` line of the container's class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// All lines of the container's class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// Memory bandwidth used, by L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<MbmStats>>,
    /// Cache used, by L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<CmtStats>>,
}

/// `info/L3`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct L3CacheInfo {
    /// All bits that can be given, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    /// How many of them at least.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_cbm_bits: u64,
    /// How many classes there can be.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// `info/MB`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemBwInfo {
    /// The smallest step, in percent.
    #[serde(skip_serializing_if = "is_zero")]
    pub bandwidth_gran: u64,
    /// The scale is linear.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_linear: u64,
    /// The smallest share, in percent.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_bandwidth: u64,
    /// How many classes there can be.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// Memory traffic behind one L3 cache, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MbmStats {
    /// To any memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub mbm_total_bytes: u64,
    /// To memory of the same node.
    #[serde(skip_serializing_if = "is_zero")]
    pub mbm_local_bytes: u64,
}

/// What is in one L3 cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CmtStats {
    /// Bytes of the container's.
    #[serde(skip_serializing_if = "is_zero")]
    pub llc_occupancy: u64,
}

/// Traffic of a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkInterface {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received and broken.
    pub rx_errors: u64,
    /// Packets received and dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Go prints a whole number without a fraction.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage, and checked to be whole")]
fn go_float<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let is_whole = number.fract() == 0.0 && (0.0..1e15).contains(number);
    if is_whole { serializer.serialize_u64(*number as u64) } else { serializer.serialize_f64(*number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runc prints for a container without any cgroup.
    #[test]
    fn zeros_are_left_out_where_runc_leaves_them_out() {
        let expected = concat!(
            r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"#,
            r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"#,
            r#""memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
            r#""memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"#,
            r#""kernelTCP":{"limit":0,"failcnt":0}},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#,
        );
        assert_eq!(json(&Stats::default()), expected);
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn names_are_runcs() {
        let throttling = Throttling { periods: 1, throttled_periods: 2, throttled_time: 3 };
        assert_eq!(json(&throttling), r#"{"periods":1,"throttledPeriods":2,"throttledTime":3}"#);
        let entry = || vec![BlkioEntry { major: 8, minor: 0, op: "Read".into(), value: 1 }];
        let blkio = Blkio {
            io_service_bytes_recursive: entry(),
            io_serviced_recursive: entry(),
            io_queued_recursive: entry(),
            io_service_time_recursive: entry(),
            io_wait_time_recursive: entry(),
            io_merged_recursive: entry(),
            io_time_recursive: entry(),
            sectors_recursive: entry(),
            psi: Some(Pressure {
                some: Stall { avg10: 1.5, avg60: 2.0, avg300: 0.0, total: 7 },
                full: Stall::default(),
            }),
        };
        let list = r#"[{"major":8,"op":"Read","value":1}]"#;
        let names = "ioServiceBytesRecursive ioServicedRecursive ioQueueRecursive ioServiceTimeRecursive ioWaitTimeRecursive \
                     ioMergedRecursive ioTimeRecursive sectorsRecursive";
        let lists: Vec<String> = names.split(' ').map(|name| format!("\"{name}\":{list}")).collect();
        let psi = r#""psi":{"some":{"avg10":1.5,"avg60":2,"avg300":0,"total":7},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}"#;
        assert_eq!(json(&blkio), format!("{{{},{psi}}}", lists.join(",")));
        let interface = NetworkInterface { name: "eth0".into(), rx_bytes: 1, ..NetworkInterface::default() };
        let expected = r#"{"Name":"eth0","RxBytes":1,"RxPackets":0,"RxErrors":0,"RxDropped":0,"TxBytes":0,"TxPackets":0,"TxErrors":0,"TxDropped":0}"#;
        assert_eq!(json(&interface), expected);
    }
}
