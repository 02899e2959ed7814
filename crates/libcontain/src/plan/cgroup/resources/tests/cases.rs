//! The cases: what contract 4.9 and 6.3 say, as literal files, values and properties.

/// Resources; files and values on v1, and on v2; properties with their D-Bus types of systemd 257 on v1, and on v2. `!`
/// marks a problem instead.
pub(super) type Case = (&'static str, [&'static [&'static str]; 4]);

pub(super) const NOT_IN_V2: &str = "ignored: there is no such thing in cgroup v2";
const NONE: &[&str] = &[];

pub(super) const MEMORY: &[Case] = &[
    (
        r#"{"memory":{"limit":1048576}}"#,
        [
            &["memory.limit_in_bytes=1048576"],
            &["memory.max=1048576"],
            &["MemoryLimit=t 1048576"],
            &["MemoryMax=t 1048576"],
        ],
    ),
    (
        r#"{"memory":{"limit":-1}}"#,
        [
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
            &["memory.swap.max=max", "memory.max=max"],
            &["MemoryLimit=t infinity"],
            &["MemoryMax=t infinity", "MemorySwapMax=t infinity"],
        ],
    ),
    (r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, [NONE; 4]),
    (
        r#"{"memory":{"limit":100,"swap":300}}"#,
        [
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=300"],
            &["memory.swap.max=200", "memory.max=100"],
            &["MemoryLimit=t 100"],
            &["MemoryMax=t 100", "MemorySwapMax=t 200"],
        ],
    ),
    (
        r#"{"memory":{"limit":100,"swap":100}}"#,
        [
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
            &["memory.swap.max=0", "memory.max=100"],
            &["MemoryLimit=t 100"],
            // runc leaves it out, and a daemon-reload gives the swap back.
            &["MemoryMax=t 100", "MemorySwapMax=t 0"],
        ],
    ),
    (
        r#"{"memory":{"limit":100,"swap":-1}}"#,
        [
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"],
            &["memory.swap.max=max", "memory.max=100"],
            &["MemoryLimit=t 100"],
            &["MemoryMax=t 100", "MemorySwapMax=t infinity"],
        ],
    ),
    (
        r#"{"memory":{"limit":-1,"swap":300}}"#,
        [
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=300"],
            &["memory.swap.max=300", "memory.max=max"],
            &["MemoryLimit=t infinity"],
            &["MemoryMax=t infinity", "MemorySwapMax=t 300"],
        ],
    ),
    (
        r#"{"memory":{"swap":300}}"#,
        [
            &["memory.memsw.limit_in_bytes=300"],
            &["!memory.swap: unable to set swap limit without memory limit"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"memory":{"limit":300,"swap":100}}"#,
        [
            &["memory.limit_in_bytes=300", "!memory.swap: memory+swap limit should be >= memory limit"],
            &["memory.max=300", "!memory.swap: memory+swap limit should be >= memory limit"],
            &["MemoryLimit=t 300"],
            &["MemoryMax=t 300"],
        ],
    ),
    (
        r#"{"memory":{"limit":-2,"swap":-3}}"#,
        [
            &["!memory.limit: -2 must be -1 (no limit) or a number of bytes", "!memory.swap: -3 must"],
            &["!memory.swap: -3 must be -1 (no limit) or a number of bytes", "!memory.limit: -2 must"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"memory":{"reservation":7}}"#,
        [&["memory.soft_limit_in_bytes=7"], &["memory.low=7"], NONE, &["MemoryLow=t 7"]],
    ),
    (
        r#"{"memory":{"reservation":-1}}"#,
        [&["memory.soft_limit_in_bytes=-1"], &["memory.low=max"], NONE, &["MemoryLow=t infinity"]],
    ),
    (
        r#"{"memory":{"reservation":-5}}"#,
        [&["!memory.reservation: -5 must"], &["!memory.reservation: -5 must"], NONE, NONE],
    ),
    (r#"{"memory":{"swappiness":0}}"#, [&["memory.swappiness=0"], &["!memory.swappiness: NOT_IN_V2"], NONE, NONE]),
    (r#"{"memory":{"swappiness":18446744073709551615}}"#, [NONE; 4]),
    (
        r#"{"memory":{"swappiness":101}}"#,
        [
            &["!memory.swappiness: invalid memory swappiness value: 101 (valid range is 0-100)"],
            &["!memory.swappiness: NOT_IN_V2"],
            NONE,
            NONE,
        ],
    ),
    (r#"{"memory":{"disableOOMKiller":false}}"#, [NONE; 4]),
    (
        r#"{"memory":{"disableOOMKiller":true}}"#,
        [&["memory.oom_control=1"], &["!memory.disableOOMKiller: NOT_IN_V2"], NONE, NONE],
    ),
    (r#"{"memory":{"kernel":0,"kernelTCP":0,"checkBeforeUpdate":true}}"#, [NONE; 4]),
    (
        r#"{"memory":{"kernel":1,"kernelTCP":-1,"useHierarchy":false}}"#,
        [
            &[
                "!memory.kernel: ignored: the kernel has given it up",
                "!memory.kernelTCP: ignored: the kernel has given it up",
                "!memory.useHierarchy: ignored: the kernel has given it up",
            ],
            &["!memory.kernel: ignored", "!memory.kernelTCP: ignored", "!memory.useHierarchy: ignored"],
            NONE,
            NONE,
        ],
    ),
];

pub(super) const CPU: &[Case] = &[
    (
        r#"{"cpu":{"shares":1024}}"#,
        [&["cpu.shares=1024"], &["cpu.weight=100"], &["CPUShares=t 1024"], &["CPUWeight=t 100"]],
    ),
    (
        r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":"","realtimePeriod":0,"realtimeRuntime":0}}"#,
        [NONE; 4],
    ),
    (
        r#"{"cpu":{"quota":5000}}"#,
        [
            &["cpu.cfs_quota_us=5000"],
            &["cpu.max=5000 100000"],
            &["CPUQuotaPerSecUSec=t 50000"],
            &["CPUQuotaPerSecUSec=t 50000"],
        ],
    ),
    (
        r#"{"cpu":{"quota":-1}}"#,
        [
            &["cpu.cfs_quota_us=-1"],
            &["cpu.max=max 100000"],
            &["CPUQuotaPerSecUSec=t infinity"],
            &["CPUQuotaPerSecUSec=t infinity"],
        ],
    ),
    (
        r#"{"cpu":{"period":50000}}"#,
        [
            &["cpu.cfs_period_us=50000"],
            &["cpu.max=max 50000"],
            &["CPUQuotaPeriodUSec=t 50000", "CPUQuotaPerSecUSec=t infinity"],
            &["CPUQuotaPeriodUSec=t 50000", "CPUQuotaPerSecUSec=t infinity"],
        ],
    ),
    (
        r#"{"cpu":{"quota":5000,"period":10000,"burst":0}}"#,
        [
            &["cpu.cfs_burst_us=0", "cpu.cfs_period_us=10000", "cpu.cfs_quota_us=5000"],
            &["cpu.max.burst=0", "cpu.max=5000 10000"],
            &["CPUQuotaPeriodUSec=t 10000", "CPUQuotaPerSecUSec=t 500000"],
            &["CPUQuotaPeriodUSec=t 10000", "CPUQuotaPerSecUSec=t 500000"],
        ],
    ),
    (
        r#"{"cpu":{"idle":1,"shares":5}}"#,
        [
            &["cpu.idle=1", "!cpu.shares: ignored: unable to apply both shares and idle"],
            &["cpu.idle=1", "!cpu.shares: ignored: unable to apply both shares and idle"],
            NONE,
            &["CPUWeight=t 0"],
        ],
    ),
    (
        r#"{"cpu":{"idle":0,"shares":10}}"#,
        [&["cpu.idle=0", "cpu.shares=10"], &["cpu.idle=0", "cpu.weight=4"], &["CPUShares=t 10"], &["CPUWeight=t 4"]],
    ),
    (r#"{"cpu":{"idle":2}}"#, [&["!cpu.idle: 2 must be 0 or 1"], &["!cpu.idle: 2 must be 0 or 1"], NONE, NONE]),
    (
        r#"{"cpu":{"realtimeRuntime":900,"realtimePeriod":1000}}"#,
        [
            &["cpu.rt_period_us=1000", "cpu.rt_runtime_us=900"],
            &["!cpu.realtimePeriod: NOT_IN_V2", "!cpu.realtimeRuntime: NOT_IN_V2"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"cpu":{"cpus":"0-1,9","mems":"0"}}"#,
        [
            &["cpuset.cpus=0-1,9", "cpuset.mems=0"],
            &["cpuset.cpus=0-1,9", "cpuset.mems=0"],
            &["AllowedCPUs=ay 3 2", "AllowedMemoryNodes=ay 1"],
            &["AllowedCPUs=ay 3 2", "AllowedMemoryNodes=ay 1"],
        ],
    ),
    (
        r#"{"cpu":{"cpus":"1-0"}}"#,
        [
            &["cpuset.cpus=1-0"],
            &["cpuset.cpus=1-0"],
            &["!cpu.cpus: \"1-0\" is no list of numbers and ranges below 8192"],
            &["!cpu.cpus: \"1-0\" is no list of numbers and ranges below 8192"],
        ],
    ),
];

pub(super) const IO: &[Case] = &[
    (r#"{"blockIO":{"weight":0,"leafWeight":0}}"#, [NONE; 4]),
    (
        r#"{"blockIO":{"weight":300}}"#,
        [
            &["blkio.weight=300 or blkio.bfq.weight=300"],
            &["io.bfq.weight=300 or io.weight=2930"],
            &["BlockIOWeight=t 300"],
            NONE,
        ],
    ),
    (
        r#"{"blockIO":{"weight":9}}"#,
        [
            &["!blockIO.weight: 9 is out of range: expected 10 to 1000"],
            &["!blockIO.weight: 9 is out of range: expected 10 to 1000"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"blockIO":{"leafWeight":300}}"#,
        [&["blkio.leaf_weight=300"], &["!blockIO.leafWeight: NOT_IN_V2"], NONE, NONE],
    ),
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":20,"leafWeight":30}]}}"#,
        [
            &["blkio.weight_device=8:0 20 or blkio.bfq.weight_device=8:0 20", "blkio.leaf_weight_device=8:0 30"],
            &["io.bfq.weight=8:0 20", "!blockIO.weightDevice[0].leafWeight: NOT_IN_V2"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":1,"leafWeight":2000},{"major":-8,"minor":0,"weight":20}]}}"#,
        [
            &[
                "!blockIO.weightDevice[0].weight: 1 is out of range",
                "!blockIO.weightDevice[1]: -8:0 is no device number: expected 0 to 4294967295",
                "!blockIO.weightDevice[0].leafWeight: 2000 is out of range",
            ],
            &["!blockIO.weightDevice[0].weight", "!blockIO.weightDevice[1]", "!blockIO.weightDevice[0].leafWeight"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":2}],
            "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":0}]}}"#,
        [
            &[
                "blkio.throttle.read_bps_device=8:0 1",
                "blkio.throttle.write_bps_device=8:1 2",
                "blkio.throttle.read_iops_device=8:2 3",
                "blkio.throttle.write_iops_device=8:3 0",
            ],
            &["io.max=8:0 rbps=1", "io.max=8:1 wbps=2", "io.max=8:2 riops=3", "io.max=8:3 wiops=max"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}"#,
        [
            &["!blockIO.throttleReadBpsDevice[0]: -8:0 is no device number"],
            &["!blockIO.throttleReadBpsDevice[0]: -8:0 is no device number"],
            NONE,
            NONE,
        ],
    ),
];

pub(super) const LISTS: &[Case] = &[
    (r#"{"pids":{"limit":10}}"#, [&["pids.max=10"], &["pids.max=10"], &["TasksMax=t 10"], &["TasksMax=t 10"]]),
    (
        r#"{"pids":{"limit":-1}}"#,
        [&["pids.max=max"], &["pids.max=max"], &["TasksMax=t infinity"], &["TasksMax=t infinity"]],
    ),
    (r#"{"pids":{"limit":0}}"#, [&["pids.max=1"], &["pids.max=1"], &["TasksMax=t 1"], &["TasksMax=t 1"]]),
    (r#"{}"#, [NONE; 4]),
    (
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0},{"pageSize":"1GB","limit":5}]}"#,
        [
            &[
                "hugetlb.2MB.limit_in_bytes=0",
                "hugetlb.2MB.rsvd.limit_in_bytes=0",
                "hugetlb.1GB.limit_in_bytes=5",
                "hugetlb.1GB.rsvd.limit_in_bytes=5",
            ],
            &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0", "hugetlb.1GB.max=5", "hugetlb.1GB.rsvd.max=5"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"hugepageLimits":[{"pageSize":"../x","limit":0},{"pageSize":"2MB/../../x","limit":0},{"pageSize":"MB","limit":0},
            {"pageSize":"2mb","limit":0},{"pageSize":"2MB","limit":-1}]}"#,
        [
            &[
                "!hugepageLimits[0].pageSize: \"../x\" is no page size: expected a number and KB, MB or GB",
                "!hugepageLimits[1].pageSize: \"2MB/../../x\" is no page size",
                "!hugepageLimits[2].pageSize: \"MB\" is no page size",
                "!hugepageLimits[3].pageSize: \"2mb\" is no page size",
                "!hugepageLimits[4].limit: -1 must not be negative",
            ],
            &["!hugepage", "!hugepage", "!hugepage", "!hugepage", "!hugepageLimits[4].limit"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
        [
            &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
            &["!network.classID: NOT_IN_V2", "!network.priorities[0]: NOT_IN_V2"],
            NONE,
            NONE,
        ],
    ),
    (r#"{"network":{"classID":0,"priorities":[]}}"#, [NONE; 4]),
    (
        r#"{"network":{"priorities":[{"name":"a b","priority":5},{"name":"","priority":5}]}}"#,
        [
            &["!network.priorities[0]: \"a b\" is no interface name", "!network.priorities[1]: \"\" is no"],
            &["!network.priorities[0]: \"a b\" is no interface name", "!network.priorities[1]: \"\" is no"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4},"a":{"hcaObjects":1},"b":{}}}"#,
        [
            &["rdma.max=a hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=4"],
            &["rdma.max=a hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=4"],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"rdma":{"a b":{"hcaObjects":1}}}"#,
        [&["!rdma: \"a b\" is no device name"], &["!rdma: \"a b\" is no device name"], NONE, NONE],
    ),
    (
        r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"r"}]}"#,
        [
            &[
                "devices.deny=a",
                "devices.allow=b 8:* r",
                "devices.allow=c *:* m",
                "devices.allow=b *:* m",
                "devices.allow=c 1:3 rwm",
                "devices.allow=c 1:8 rwm",
                "devices.allow=c 1:7 rwm",
                "devices.allow=c 5:0 rwm",
                "devices.allow=c 1:5 rwm",
                "devices.allow=c 1:9 rwm",
                "devices.allow=c 136:* rwm",
                "devices.allow=c 5:2 rwm",
                "devices.allow=c 10:200 rwm",
            ],
            NONE,
            &[
                "DevicePolicy=s strict",
                "DeviceAllow=a(ss)",
                "DeviceAllow=a(ss) (block-8, r) (char-*, m) (block-*, m) (/dev/char/1:3, rwm) (/dev/char/1:8, rwm) \
                 (/dev/char/1:7, rwm) (/dev/char/5:0, rwm) (/dev/char/1:5, rwm) (/dev/char/1:9, rwm) (char-136, rwm) \
                 (/dev/char/5:2, rwm) (/dev/char/10:200, rwm)",
            ],
            &[
                "DevicePolicy=s strict",
                "DeviceAllow=a(ss)",
                "DeviceAllow=a(ss) (block-8, r) (char-*, m) (block-*, m) (/dev/char/1:3, rwm) (/dev/char/1:8, rwm) \
                 (/dev/char/1:7, rwm) (/dev/char/5:0, rwm) (/dev/char/1:5, rwm) (/dev/char/1:9, rwm) (char-136, rwm) \
                 (/dev/char/5:2, rwm) (/dev/char/10:200, rwm)",
            ],
        ],
    ),
];

const ON_V1: &[&str] = &["!unified: invalid configuration: cannot use unified on cgroup v1"];

pub(super) const UNIFIED_CASES: &[Case] = &[
    (
        r#"{"unified":{"memory.high":"1\n2","cgroup.max.depth":"3","memory.pressure":"x","misc.max":"res_a 1"},"pids":{"limit":1}}"#,
        [
            &["pids.max=1", "!unified: invalid configuration: cannot use unified on cgroup v1"],
            &[
                "pids.max=1",
                "cgroup.max.depth=3",
                "memory.high=1",
                "memory.high=2",
                "memory.pressure=x",
                "misc.max=res_a 1",
            ],
            &["TasksMax=t 1"],
            &["TasksMax=t 1"],
        ],
    ),
    (
        r#"{"unified":{"../x.y":"1","nodot":"1","foo.bar":"1",".x":"1"}}"#,
        [
            ON_V1,
            &[
                "!unified: unified resource \"../x.y\" must be a file name (no slashes)",
                "!unified: unified resource \".x\" must be in the form CONTROLLER.PARAMETER",
                "!unified: unified resource \"foo.bar\" can't be set: controller \"foo\" not available",
                "!unified: unified resource \"nodot\" must be",
            ],
            NONE,
            NONE,
        ],
    ),
    (r#"{"unified":{}}"#, [NONE; 4]),
    (
        r#"{"unified":{"memory.high":"1G","memory.low":"2048","memory.max":"max","memory.min":"5k","memory.swap.max":"0","pids.max":"max"}}"#,
        [
            ON_V1,
            &[
                "memory.high=1G",
                "memory.low=2048",
                "memory.max=max",
                "memory.min=5k",
                "memory.swap.max=0",
                "pids.max=max",
            ],
            NONE,
            &[
                "MemoryHigh=t 1073741824",
                "MemoryLow=t 2048",
                "MemoryMax=t infinity",
                "MemoryMin=t 5120",
                "MemorySwapMax=t 0",
                "TasksMax=t infinity",
            ],
        ],
    ),
    (
        r#"{"unified":{"cpu.idle":"1","cpu.weight":"5","cpu.max":"1234 50000","cpuset.cpus":"0,3","cpuset.mems":"1"}}"#,
        [
            ON_V1,
            &[
                "cpu.idle=1",
                "cpu.max=1234 50000",
                "cpuset.cpus=0,3",
                "cpuset.mems=1",
                "!unified: ignored: unable to apply both cpu.weight and cpu.idle",
            ],
            NONE,
            &[
                "CPUWeight=t 0",
                "CPUQuotaPeriodUSec=t 50000",
                "CPUQuotaPerSecUSec=t 30000",
                "AllowedCPUs=ay 9",
                "AllowedMemoryNodes=ay 2",
            ],
        ],
    ),
    (
        r#"{"unified":{"cpu.idle":"0","cpu.weight":"5","cpu.max":"max"}}"#,
        [
            ON_V1,
            &["cpu.idle=0", "cpu.max=max", "cpu.weight=5"],
            NONE,
            &["CPUQuotaPerSecUSec=t infinity", "CPUWeight=t 5"],
        ],
    ),
    // What systemd would not take is the kernel's to judge.
    (
        r#"{"unified":{"cpu.max":"1 2 3","cpu.weight":"0","cpuset.cpus":"x","memory.max":"99999999999999999999","memory.low":"1q","pids.max":"-1"}}"#,
        [
            ON_V1,
            &[
                "cpu.max=1 2 3",
                "cpu.weight=0",
                "cpuset.cpus=x",
                "memory.low=1q",
                "memory.max=99999999999999999999",
                "pids.max=-1",
            ],
            NONE,
            NONE,
        ],
    ),
    (
        r#"{"unified":{"memory.high":"0","memory.low":"0","memory.max":"0","memory.min":"0","pids.max":"0"}}"#,
        [
            ON_V1,
            &["memory.high=0", "memory.low=0", "memory.max=0", "memory.min=0", "pids.max=0"],
            NONE,
            &["MemoryLow=t 0", "MemoryMin=t 0"],
        ],
    ),
    // The unit's policy is for when it is started.
    (r#"{"unified":{"memory.oom.group":"1"}}"#, [ON_V1, &["memory.oom.group=1"], NONE, NONE]),
];
