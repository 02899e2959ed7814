//! Whole cgroups as captured from a hybrid machine (Linux 6.18, v1) and from one with v2 (Linux 6.12), in a directory that
//! stands for them; what they mean is what runc printed of the same cgroup.

use super::*;

/// Shortened: what is left out is of the same form.
const V1: [(&str, &str); 33] = [
    ("cpuacct.usage", "14428935\n"),
    ("cpuacct.usage_percpu", "10528545 3900390 \n"),
    ("cpuacct.usage_all", "cpu user system\n0 8000000 7000000\n1 0 0\n"),
    ("cpuacct.stat", "user 1\nsystem 2\n"),
    ("cpu.stat", "nr_periods 1\nnr_throttled 0\nthrottled_time 0\nnr_bursts 0\nburst_time 0\n"),
    ("cpuset.cpus", "0-1\n"),
    ("cpuset.mems", "0\n"),
    ("cpuset.cpu_exclusive", "0\n"),
    ("cpuset.mem_hardwall", "0\n"),
    ("cpuset.sched_load_balance", "1\n"),
    ("cpuset.sched_relax_domain_level", "-1\n"),
    ("memory.stat", "cache 4096\nrss 53248\nhierarchical_memory_limit 67108864\ntotal_cache 4096\n"),
    ("memory.limit_in_bytes", "67108864\n"),
    ("memory.usage_in_bytes", "856064\n"),
    ("memory.max_usage_in_bytes", "2330624\n"),
    ("memory.failcnt", "0\n"),
    ("memory.memsw.limit_in_bytes", "9223372036854771712\n"),
    ("memory.memsw.usage_in_bytes", "856064\n"),
    ("memory.memsw.max_usage_in_bytes", "2330624\n"),
    ("memory.memsw.failcnt", "0\n"),
    ("memory.kmem.limit_in_bytes", "9223372036854771712\n"),
    ("memory.kmem.usage_in_bytes", "491520\n"),
    ("memory.kmem.max_usage_in_bytes", "610304\n"),
    ("memory.kmem.failcnt", "0\n"),
    ("memory.kmem.tcp.limit_in_bytes", "9223372036854771712\n"),
    ("pids.current", "1\n"),
    ("pids.max", "50\n"),
    ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
    ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 8192\n254:0 Total 8192\nTotal 8192\n"),
    ("blkio.throttle.io_service_bytes", "254:0 Read 1\n"),
    ("hugetlb.2MB.usage_in_bytes", "0\n"),
    ("hugetlb.2MB.max_usage_in_bytes", "2097152\n"),
    ("hugetlb.2MB.failcnt", "3\n"),
];

const V1_SEEN: &str = concat!(
    r#"{"cpu":{"usage":{"total":14428935,"percpu":[10528545,3900390],"percpu_kernel":[7000000,0],"percpu_user":[8000000,0],"#,
    r#""kernel":20000000,"user":10000000},"throttling":{"periods":1}},"#,
    r#""cpuset":{"cpus":[0,1],"cpu_exclusive":0,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
    r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":1,"sched_relax_domain_level":-1},"#,
    r#""memory":{"cache":4096,"usage":{"limit":67108864,"usage":856064,"max":2330624,"failcnt":0},"#,
    r#""swap":{"limit":9223372036854771712,"usage":856064,"max":2330624,"failcnt":0},"#,
    r#""kernel":{"limit":9223372036854771712,"usage":491520,"max":610304,"failcnt":0},"#,
    r#""kernelTCP":{"limit":9223372036854771712,"failcnt":0},"#,
    r#""raw":{"cache":4096,"hierarchical_memory_limit":67108864,"rss":53248,"total_cache":4096}},"#,
    r#""pids":{"current":1,"limit":50},"#,
    r#""blkio":{"ioServiceBytesRecursive":[{"major":254,"op":"Read","value":8192},{"major":254,"op":"Total","value":8192}]},"#,
    r#""hugetlb":{"2MB":{"max":2097152,"failcnt":3}},"intel_rdt":{},"network_interfaces":null}"#,
);

const V2: [(&str, &str); 21] = [
    (
        "cpu.stat",
        "usage_usec 498071\nuser_usec 262376\nsystem_usec 235694\nnr_periods 6\nnr_throttled 3\nthrottled_usec 113858\n",
    ),
    (
        "cpu.pressure",
        "some avg10=1.25 avg60=0.00 avg300=0.00 total=88828\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=70961\n",
    ),
    ("cpuset.cpus", "0-1\n"),
    ("memory.stat", "anon 53248\nfile 335872\nkernel 245760\n"),
    ("memory.max", "67108864\n"),
    ("memory.current", "860160\n"),
    ("memory.peak", "7958528\n"),
    ("memory.swap.max", "max\n"),
    ("memory.swap.current", "4096\n"),
    (
        "memory.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ),
    ("pids.current", "1\n"),
    ("pids.max", "max\n"),
    ("io.stat", "254:0 rbytes=335872 wbytes=0 rios=10 wios=0 dbytes=0 dios=0\n"),
    ("hugetlb.1GB.current", "1\n"),
    ("hugetlb.1GB.events", "max 0\n"),
    ("hugetlb.2MB.current", "4194304\n"),
    ("hugetlb.2MB.rsvd.current", "2097152\n"),
    ("hugetlb.2MB.events", "max 5\n"),
    ("hugetlb.2MB.max", "max\n"),
    ("hugetlb.2MB.rsvd.max", "max\n"),
    ("cgroup.events", "populated 1\nfrozen 0\n"),
];

const V2_SEEN: &str = concat!(
    r#"{"cpu":{"usage":{"total":498071000,"kernel":235694000,"user":262376000},"#,
    r#""throttling":{"periods":6,"throttledPeriods":3,"throttledTime":113858000},"#,
    r#""psi":{"some":{"avg10":1.25,"avg60":0,"avg300":0,"total":88828},"full":{"avg10":0,"avg60":0,"avg300":0,"total":70961}}},"#,
    r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"#,
    r#""memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
    r#""memory":{"cache":335872,"usage":{"limit":67108864,"usage":860160,"max":7958528,"failcnt":0},"#,
    r#""swap":{"limit":18446744073709551615,"usage":864256,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"#,
    r#""kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":53248,"file":335872,"kernel":245760},"#,
    r#""psi":{"some":{"avg10":0,"avg60":0,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},"#,
    r#""pids":{"current":1},"blkio":{"ioServiceBytesRecursive":[{"major":254,"op":"Read","value":335872},{"major":254,"op":"Write"}],"#,
    r#""ioServicedRecursive":[{"major":254,"op":"Read","value":10},{"major":254,"op":"Write"}]},"#,
    r#""hugetlb":{"1GB":{"usage":1,"failcnt":0},"2MB":{"usage":2097152,"failcnt":5}},"intel_rdt":{},"network_interfaces":null}"#,
);

fn cgroup(files: &[(&str, &str)], controllers: &[&str]) -> (tempfile::TempDir, Cgroup) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let keys = controllers.iter().map(|c| (*c).to_owned()).collect();
    let member = Member { keys, path: dir.path().to_string_lossy().into_owned(), v2: controllers.is_empty() };
    (dir, Cgroup { members: vec![member], entry: None })
}

const CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"];

fn seen(cgroup: &Cgroup) -> String {
    serde_json::to_string(&cgroup.stats().unwrap()).unwrap()
}

#[test]
fn both_versions_read_as_runc_reads_them() {
    assert_eq!(seen(&cgroup(&V1, &CONTROLLERS).1), V1_SEEN);
    assert_eq!(seen(&cgroup(&V2, &[]).1), V2_SEEN);
}

#[test]
fn what_is_missing_is_zero() {
    let nothing = serde_json::to_string(&Stats::default()).unwrap();
    assert_eq!(seen(&Cgroup { members: Vec::new(), entry: None }), nothing);
    for controllers in [&CONTROLLERS[..], &[]] {
        let (dir, cgroup) = cgroup(&[], controllers);
        assert_eq!(seen(&cgroup), nothing, "no file");
        drop(dir);
        assert_eq!(seen(&cgroup), nothing, "no directory");
    }
}

/// Without a limit on memory or on swap there is none on both.
#[test]
fn v2_swap_is_told_with_memory() {
    for (memory, swap, both) in [("4096", "100", 4196), ("max", "100", u64::MAX), ("4096", "max", u64::MAX)] {
        let files =
            [("memory.max", memory), ("memory.swap.max", swap), ("memory.current", "5"), ("memory.swap.current", "7")];
        let seen = cgroup(&files, &[]).1.stats().unwrap().memory.swap;
        assert_eq!(seen, MemoryEntry { limit: both, usage: 12, max: 0, failcnt: 0 });
    }
}

#[test]
fn what_cannot_be_understood_is_named() {
    let (dir, broken) = cgroup(&[("pids.current", "many\n")], &[]);
    let text = broken.stats().unwrap_err().to_string();
    assert_eq!(text, format!("unable to parse \"many\" of {}/pids.current", dir.path().display()));
    let (dir, broken) = cgroup(&[], &[]);
    std::fs::create_dir(dir.path().join("memory.max")).unwrap();
    let text = broken.stats().unwrap_err().to_string();
    assert_eq!(text, format!("read {}/memory.max: is a directory", dir.path().display()));
}
