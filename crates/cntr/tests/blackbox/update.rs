//! `update`: every field of a container that is there, by file, standard input and flags, read back from the cgroup; and
//! that an update which fails has changed nothing.
//!
//! The limits are looked for on this machine's v1 hierarchies and, in the v2 view, where v2 has the controller: each line
//! of the tables says which it needs.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Cmd, Output, Sandbox, View, bundle, read, root, skip, verify_cgroup};

/// A running container with these resources.
fn running(view: View, resources: &Value) -> Sandbox {
    let sandbox = Sandbox::created(view, resources, "sleep 1000");
    sandbox.verb(&["start"]).ok();
    sandbox
}

fn update(sandbox: &Sandbox, resources: &Value) -> Cmd {
    let file = sandbox.path("resources.json");
    fs::write(&file, resources.to_string()).unwrap();
    sandbox.cntr(&["update", "-r", &file.to_string_lossy(), &sandbox.id])
}

/// The directory of a file of the container's cgroup: v1's is named by the controller, v2's by nothing.
fn dir(sandbox: &Sandbox, controller: &str) -> Option<PathBuf> {
    verify_cgroup::directory(sandbox.pid(), controller)
}

fn value(sandbox: &Sandbox, controller: &str, file: &str) -> String {
    let dir = dir(sandbox, controller).unwrap_or_else(|| panic!("no hierarchy {controller:?}"));
    let text = fs::read_to_string(dir.join(file)).unwrap_or_else(|e| panic!("{controller}/{file}: {e}"));
    text.trim_end().to_owned()
}

/// Whether a file of that name is in the container's cgroup: its controller, where it has one.
fn has(sandbox: &Sandbox, controller: &str, file: &str) -> bool {
    dir(sandbox, controller).is_some_and(|dir| dir.join(file).exists())
}

/// Everything that an update could have changed.
fn snapshot(sandbox: &Sandbox) -> Vec<(PathBuf, String)> {
    let mut all = vec![sandbox.state_dir().join("state.json")];
    let controllers = ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb", "devices", ""];
    for dir in controllers.into_iter().filter_map(|c| dir(sandbox, c)) {
        let names = fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
        // what counts by itself is left out
        let moving = ["stat", "usage", "current", "pressure", "peak", "events", "failcnt", "cpuacct", "procs", "tasks"];
        all.extend(names.filter(|path| !moving.iter().any(|word| path.to_string_lossy().contains(word))));
    }
    all.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Where the container's number of tasks and its quota are, by the version of cgroups that it has them of.
fn two_limits(sandbox: &Sandbox) -> Option<[(&'static str, &'static str); 2]> {
    let all = [[("pids", "pids.max"), ("cpu", "cpu.cfs_quota_us")], [("", "pids.max"), ("", "cpu.max")]];
    all.into_iter().find(|files| files.iter().all(|(controller, file)| has(sandbox, controller, file)))
}

/// Goes through with a container in each view that has those two.
fn with_two_limits(make: fn(View) -> Sandbox, test: fn(&Sandbox, [(&str, &str); 2])) {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = make(view);
        match two_limits(&sandbox) {
            Some(files) => test(&sandbox, files),
            None => skip(&format!("needs pids and cpu in the view {view:?}")),
        }
        done(&sandbox);
    }
}

/// Else no container with a quota can be made in the v2 view.
fn v2_has_cpu() -> bool {
    let lists = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"];
    lists.iter().any(|file| read(file).split_whitespace().any(|name| name == "cpu"))
}

/// The first number in a file.
fn number(sandbox: &Sandbox, (controller, file): (&str, &str)) -> String {
    value(sandbox, controller, file).split(' ').next().unwrap().to_owned()
}

fn message(out: &Output) -> String {
    out.stderr.replace("\\\"", "\"")
}

fn done(sandbox: &Sandbox) {
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// What is asked, and the files that have to show it. A line that begins with a file which is not there is left out.
type Table<'t> = &'t [(Value, &'t [(&'t str, &'t str, &'t str)])];

fn check(view: View, table: Table<'_>) {
    if !root() {
        return;
    }
    let sandbox = running(view, &json!({}));
    let mut missing = std::collections::BTreeSet::new();
    for (resources, files) in table {
        let absent = files.iter().find(|(controller, file, _)| !has(&sandbox, controller, file));
        if let Some((controller, file, _)) = absent {
            missing.insert(format!("{controller}/{file}"));
            continue;
        }
        update(&sandbox, resources).ok();
        for (controller, file, expected) in *files {
            assert_eq!(value(&sandbox, controller, file), *expected, "{controller}/{file} after {resources}");
        }
        assert_eq!(sandbox.status(), "running");
    }
    if !missing.is_empty() {
        skip(&format!("needs, in the view {view:?}: {}", missing.into_iter().collect::<Vec<_>>().join(" ")));
    }
    done(&sandbox);
}

#[test]
fn memory_on_v1() {
    let m = |members: Value| json!({ "memory": members });
    let (limit, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    let none = "9223372036854771712";
    check(
        View::Host,
        &[
            (m(json!({ "limit": 64 << 20 })), &[("memory", limit, "67108864")]),
            (
                m(json!({ "limit": 32 << 20, "swap": 48 << 20 })),
                &[("memory", limit, "33554432"), ("memory", both, "50331648")],
            ),
            // raising both leads over a memory limit that is above the old one of both
            (
                m(json!({ "limit": 96 << 20, "swap": 128 << 20 })),
                &[("memory", limit, "100663296"), ("memory", both, "134217728")],
            ),
            (
                m(json!({ "limit": 16 << 20, "swap": 16 << 20 })),
                &[("memory", limit, "16777216"), ("memory", both, "16777216")],
            ),
            (m(json!({ "swap": 24 << 20 })), &[("memory", limit, "16777216"), ("memory", both, "25165824")]),
            (m(json!({ "swap": -1 })), &[("memory", limit, "16777216"), ("memory", both, none)]),
            (m(json!({ "limit": -1 })), &[("memory", limit, none), ("memory", both, none)]),
            (
                m(json!({ "reservation": 8 << 20 })),
                &[("memory", "memory.soft_limit_in_bytes", "8388608"), ("memory", limit, none)],
            ),
            (m(json!({ "swappiness": 11 })), &[("memory", "memory.swappiness", "11")]),
            (
                m(json!({ "limit": 0, "swap": 0, "reservation": 0 })),
                &[("memory", limit, none), ("memory", "memory.soft_limit_in_bytes", "8388608")],
            ),
        ],
    );
    if !root() {
        return;
    }
    let sandbox = running(View::Host, &json!({}));
    if has(&sandbox, "memory", "memory.oom_control") {
        update(&sandbox, &m(json!({ "disableOOMKiller": true }))).ok();
        assert!(value(&sandbox, "memory", "memory.oom_control").starts_with("oom_kill_disable 1"));
        let out = update(&sandbox, &m(json!({ "kernel": 5, "kernelTCP": 5 }))).ok();
        let text = "Kernel memory settings are ignored and will be removed";
        assert_eq!(out.stderr.matches(text).count(), 1, "{out:#?}");
    }
    done(&sandbox);
}

#[test]
fn memory_on_v2() {
    let m = |members: Value| json!({ "memory": members });
    let (max, swap) = ("memory.max", "memory.swap.max");
    check(
        View::V2,
        &[
            (m(json!({ "limit": 64 << 20 })), &[("", max, "67108864")]),
            (m(json!({ "limit": 30 << 20, "swap": 50 << 20 })), &[("", max, "31457280"), ("", swap, "20971520")]),
            // memory and swap stay what they are together
            (m(json!({ "limit": 40 << 20 })), &[("", max, "41943040"), ("", swap, "10485760")]),
            (m(json!({ "swap": 60 << 20 })), &[("", max, "41943040"), ("", swap, "20971520")]),
            (m(json!({ "limit": 60 << 20, "swap": 60 << 20 })), &[("", max, "62914560"), ("", swap, "0")]),
            (m(json!({ "limit": -1 })), &[("", max, "max"), ("", swap, "max")]),
            (m(json!({ "reservation": 8 << 20 })), &[("", "memory.low", "8388608"), ("", max, "max")]),
            (
                json!({ "unified": { "memory.high": "50331648", "memory.min": "4096" } }),
                &[("", "memory.high", "50331648"), ("", "memory.min", "4096")],
            ),
        ],
    );
}

#[test]
fn cpu_on_v1() {
    let c = |members: Value| json!({ "cpu": members });
    let (quota, period) = ("cpu.cfs_quota_us", "cpu.cfs_period_us");
    check(
        View::Host,
        &[
            (c(json!({ "quota": 50_000 })), &[("cpu", quota, "50000"), ("cpu", period, "100000")]),
            (c(json!({ "period": 60_000 })), &[("cpu", quota, "50000"), ("cpu", period, "60000")]),
            (c(json!({ "quota": 10_000, "period": 20_000 })), &[("cpu", quota, "10000"), ("cpu", period, "20000")]),
            (c(json!({ "burst": 5_000 })), &[("cpu", "cpu.cfs_burst_us", "5000"), ("cpu", quota, "10000")]),
            // each of the three is impossible beside the old two
            (
                c(json!({ "quota": 90_000, "period": 90_000, "burst": 80_000 })),
                &[("cpu", "cpu.cfs_burst_us", "80000"), ("cpu", quota, "90000")],
            ),
            (c(json!({ "quota": -1, "burst": 0 })), &[("cpu", quota, "-1"), ("cpu", period, "90000")]),
            (c(json!({ "shares": 77 })), &[("cpu", "cpu.shares", "77"), ("cpu", quota, "-1")]),
            (c(json!({ "idle": 1 })), &[("cpu", "cpu.idle", "1")]),
            (c(json!({ "idle": 0, "shares": 99 })), &[("cpu", "cpu.idle", "0"), ("cpu", "cpu.shares", "99")]),
            (c(json!({ "realtimeRuntime": 1_000 })), &[("cpu", "cpu.rt_runtime_us", "1000")]),
            (
                c(json!({ "realtimeRuntime": 2_000, "realtimePeriod": 500_000 })),
                &[("cpu", "cpu.rt_runtime_us", "2000"), ("cpu", "cpu.rt_period_us", "500000")],
            ),
            (c(json!({ "cpus": "1", "mems": "0" })), &[("cpuset", "cpuset.cpus", "1"), ("cpuset", "cpuset.mems", "0")]),
            (c(json!({ "cpus": "0-1" })), &[("cpuset", "cpuset.cpus", "0-1"), ("cpuset", "cpuset.mems", "0")]),
            (c(json!({ "cpus": "0" })), &[("cpuset", "cpuset.cpus", "0")]),
        ],
    );
}

#[test]
fn cpu_on_v2() {
    let c = |members: Value| json!({ "cpu": members });
    check(
        View::V2,
        &[
            (c(json!({ "quota": 50_000 })), &[("", "cpu.max", "50000 100000")]),
            (c(json!({ "period": 60_000 })), &[("", "cpu.max", "50000 60000")]),
            (json!({ "memory": {} }), &[("", "cpu.max", "50000 60000")]),
            // the record has forgotten them by now, and the kernel has not
            (c(json!({ "period": 70_000 })), &[("", "cpu.max", "50000 70000")]),
            (c(json!({ "quota": 10_000, "period": 20_000 })), &[("", "cpu.max", "10000 20000")]),
            (c(json!({ "burst": 5_000 })), &[("", "cpu.max.burst", "5000"), ("", "cpu.max", "10000 20000")]),
            (
                c(json!({ "quota": 90_000, "period": 90_000, "burst": 80_000 })),
                &[("", "cpu.max.burst", "80000"), ("", "cpu.max", "90000 90000")],
            ),
            (c(json!({ "quota": -1 })), &[("", "cpu.max", "max 90000")]),
            (c(json!({ "shares": 1024 })), &[("", "cpu.weight", "100")]),
            (c(json!({ "shares": 2048 })), &[("", "cpu.weight", "174")]),
            (c(json!({ "idle": 1 })), &[("", "cpu.idle", "1")]),
            (c(json!({ "idle": 0, "shares": 512 })), &[("", "cpu.idle", "0"), ("", "cpu.weight", "59")]),
            (c(json!({ "cpus": "0", "mems": "0" })), &[("", "cpuset.cpus", "0"), ("", "cpuset.mems", "0")]),
        ],
    );
}

#[test]
fn pids() {
    let p = |limit: i64| json!({ "pids": { "limit": limit } });
    for (view, c) in [(View::Host, "pids"), (View::V2, "")] {
        check(
            view,
            &[
                (p(33), &[(c, "pids.max", "33")]),
                // absent, or without a number: as it was
                (json!({ "cpu": {} }), &[(c, "pids.max", "33")]),
                (json!({ "pids": {} }), &[(c, "pids.max", "33")]),
                (json!({ "pids": { "limit": null } }), &[(c, "pids.max", "33")]),
                (p(-1), &[(c, "pids.max", "max")]),
                (p(0), &[(c, "pids.max", "1")]),
            ],
        );
    }
}

#[test]
fn block_io() {
    if !root() {
        return;
    }
    let Some((major, minor)) = bundle::block_device() else { return skip("needs a block device") };
    let rates = |list: [(&str, u64); 4]| {
        let device = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
        let members = list.map(|(name, rate)| (format!("throttle{name}Device"), device(rate)));
        json!({ "blockIO": members.into_iter().collect::<serde_json::Map<_, _>>() })
    };
    let asked = rates([("ReadBps", 1 << 30), ("WriteBps", 2 << 30), ("ReadIOPS", 30_000), ("WriteIOPS", 40_000)]);
    let off = rates([("ReadBps", 0), ("WriteBps", 0), ("ReadIOPS", 0), ("WriteIOPS", 0)]);
    let line = |rate: u64| format!("{major}:{minor} {rate}");
    let names = ["read_bps", "write_bps", "read_iops", "write_iops"].map(|n| format!("blkio.throttle.{n}_device"));
    let values = [line(1 << 30), line(2 << 30), line(30_000), line(40_000)];
    let set: Vec<(&str, &str, &str)> =
        names.iter().zip(&values).map(|(n, v)| ("blkio", n.as_str(), v.as_str())).collect();
    let unset: Vec<(&str, &str, &str)> = names.iter().map(|n| ("blkio", n.as_str(), "")).collect();
    check(
        View::Host,
        &[
            (asked.clone(), &set),
            (off.clone(), &unset),
            (json!({ "blockIO": { "weight": 321 } }), &[("blkio", "blkio.bfq.weight", "321")]),
        ],
    );
    let v2 = format!("{major}:{minor} rbps={} wbps={} riops=30000 wiops=40000", 1u64 << 30, 2u64 << 30);
    check(View::V2, &[(asked, &[("", "io.max", &v2)]), (off, &[("", "io.max", "")])]);
}

#[test]
fn hugepages_and_files_by_name() {
    let huge = |limit: u64| json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": limit }] });
    for view in [View::Host, View::V2] {
        let files = [("", "hugetlb.2MB.max", "4194304"), ("", "hugetlb.2MB.rsvd.max", "4194304")];
        check(view, &[(huge(4 << 20), &files), (huge(0), &[("", "hugetlb.2MB.max", "0")])]);
    }
    check(
        View::V2,
        &[
            (json!({ "unified": { "cgroup.max.depth": "5" } }), &[("", "cgroup.max.depth", "5")]),
            (
                json!({ "unified": { "cgroup.max.descendants": "7" } }),
                &[("", "cgroup.max.depth", "5"), ("", "cgroup.max.descendants", "7")],
            ),
        ],
    );
}

/// Fields of which the machine, or this version of cgroups, has no file are refused or told, as when making a container.
#[test]
fn what_there_is_no_file_for() {
    if !root() {
        return;
    }
    let sandbox = running(View::Host, &json!({}));
    let table = [
        ("net_cls", json!({ "network": { "classID": 7 } }), "linux.resources.network.classID"),
        (
            "net_prio",
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 1 }] } }),
            "linux.resources.network.priorities[0]",
        ),
        ("rdma", json!({ "rdma": { "mlx5_1": { "hcaHandles": 3 } } }), "linux.resources.rdma"),
        ("none", json!({ "blockIO": { "leafWeight": 30 } }), "linux.resources.blockIO.leafWeight"),
        ("none", json!({ "unified": { "pids.max": "3" } }), "linux.resources.unified"),
    ];
    for (controller, resources, place) in table {
        if dir(&sandbox, controller).is_none() && dir(&sandbox, "pids").is_some() {
            let out = update(&sandbox, &resources).run();
            assert!(out.code == Some(1) && message(&out).contains(place), "{resources} {out:#?}");
        }
    }
    done(&sandbox);
    let sandbox = running(View::V2, &json!({}));
    for (resources, place) in [
        (json!({ "memory": { "swappiness": 3 } }), "linux.resources.memory.swappiness: ignored"),
        (json!({ "network": { "classID": 7 } }), "linux.resources.network.classID: ignored"),
        (json!({ "cpu": { "realtimePeriod": 7 } }), "linux.resources.cpu.realtimePeriod: ignored"),
    ] {
        let out = update(&sandbox, &resources).ok();
        assert!(out.stderr.contains("warning") && message(&out).contains(place), "{out:#?}");
    }
    done(&sandbox);
}

/// Each is the last word of the command or followed by others.
fn by_flags(sandbox: &Sandbox, flags: &str) -> Output {
    sandbox.cntr(&["update", &sandbox.id]).args(&flags.split(' ').collect::<Vec<_>>()).run()
}

/// All flags at once, then one by one over what is there.
#[test]
fn flags() {
    if !root() {
        return;
    }
    let sandbox = running(View::Host, &json!({}));
    let needed = [("memory", "memory.limit_in_bytes"), ("cpu", "cpu.idle")];
    if !needed.iter().all(|(controller, file)| has(&sandbox, controller, file)) {
        done(&sandbox);
        return skip("needs the v1 controllers memory and cpu");
    }
    let rt =
        if has(&sandbox, "cpu", "cpu.rt_runtime_us") { " --cpu-rt-period 400000 --cpu-rt-runtime 1000" } else { "" };
    let io = if has(&sandbox, "blkio", "blkio.bfq.weight") { " --blkio-weight 222" } else { "" };
    let out = by_flags(
        &sandbox,
        &format!(
            "--memory 64m --memory-swap=1GiB -memory-reservation 50M --cpu-period 50000 --cpu-quota 20000 --cpu-burst 7000 \
         --cpu-share 88 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 44 --kernel-memory 5m --kernel-memory-tcp 5m{rt}{io}"
        ),
    );
    assert!(out.code == Some(0) && out.stderr.contains("Kernel memory settings are ignored"), "{out:#?}");
    for (controller, file, expected) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "1073741824"),
        ("memory", "memory.soft_limit_in_bytes", "52428800"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_burst_us", "7000"),
        ("cpu", "cpu.shares", "88"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "44"),
        ("cpu", "cpu.rt_period_us", "400000"),
        ("cpu", "cpu.rt_runtime_us", "1000"),
        ("blkio", "blkio.bfq.weight", "222"),
    ] {
        if has(&sandbox, controller, file) {
            assert_eq!(value(&sandbox, controller, file), expected, "{file}");
        }
    }
    for (flags, controller, file, expected) in [
        ("--memory -1", "memory", "memory.memsw.limit_in_bytes", "9223372036854771712"),
        ("--pids-limit -1", "pids", "pids.max", "max"),
        ("--pids-limit 0", "pids", "pids.max", "1"),
        ("--cpu-idle 1", "cpu", "cpu.idle", "1"),
        ("--cpu-idle 0", "cpu", "cpu.idle", "0"),
        ("--cpu-quota -1", "cpu", "cpu.cfs_quota_us", "-1"),
    ] {
        let out = by_flags(&sandbox, flags);
        assert!(out.code == Some(0) && out.stderr.is_empty(), "{out:#?}");
        assert_eq!(value(&sandbox, controller, file), expected, "{flags}");
    }
    done(&sandbox);
}

#[test]
fn wrong_flags() {
    with_two_limits(
        |view| running(view, &json!({})),
        |sandbox, _| {
            for (flags, text) in [
                ("--memory abc", "invalid value for memory: invalid size: 'abc'"),
                ("--memory-swap 5x", "invalid value for memory-swap: invalid suffix: 'x'"),
                ("--memory-reservation -5", "invalid value for memory-reservation: invalid size: '-5'"),
                ("--cpu-period x", "invalid value for cpu-period: strconv.ParseUint: parsing \"x\": invalid syntax"),
                ("--cpu-quota 99999999999999999999", "parsing \"99999999999999999999\": value out of range"),
                ("--cpu-idle 2", "linux.resources.cpu.idle"),
                ("--cpu-period 100", "linux.resources.cpu.period"),
                ("--blkio-weight 7", "linux.resources.blockIO.weight"),
                ("--blkio-weight 70000", "invalid value for blkio-weight"),
                ("--pids-limit x", "invalid value \"x\" for flag -pids-limit"),
                ("--l3-cache-schema L3:0=f", "updating a non-existent Intel RDT configuration is not supported"),
                ("--mem-bw-schema MB:0=50", "updating a non-existent Intel RDT configuration is not supported"),
            ] {
                let before = snapshot(sandbox);
                let out = by_flags(sandbox, flags);
                assert!(out.code == Some(1) && message(&out).contains(text), "{flags}: {out:#?}");
                assert_eq!(snapshot(sandbox), before, "{flags}");
            }
        },
    );
}

/// Names in any case, `null`, what nobody knows; and other flags do not count then.
#[test]
fn standard_input() {
    with_two_limits(
        |view| running(view, &json!({})),
        |sandbox, [pids, quota]| {
            let run = |text: &str, flags: &[&str]| {
                fs::write(sandbox.path("in"), text).unwrap();
                let cmd = sandbox.cntr(&["update", "-r", "-"]).args(flags).arg(&sandbox.id);
                cmd.stdin(fs::File::open(sandbox.path("in")).unwrap()).run()
            };
            let text =
                r#"{ "PIDS": { "Limit": 21 }, "memory": null, "cpu": { "quota": 6600, "idle": null }, "what": [1] } {"#;
            let out = run(text, &["--pids-limit", "7", "--cpu-quota", "8000"]);
            assert_eq!(out.code, Some(0), "{out:#?}");
            assert_eq!((number(sandbox, pids), number(sandbox, quota)), ("21".into(), "6600".into()));
            let before = snapshot(sandbox);
            for (text, says) in [
                ("", "resources: is empty"),
                ("[]", "resources: "),
                (r#"{ "memory": { "limit": "5m" } }"#, "resources: memory.limit: "),
                (r#"{ "pids": { "limit": 1.5 } }"#, "resources: pids.limit: "),
            ] {
                let out = run(text, &[]);
                assert!(out.code == Some(1) && message(&out).contains(says), "{text}: {out:#?}");
            }
            let out = sandbox.cntr(&["update", "-r", "/nonesuch", &sandbox.id]).run();
            assert!(
                out.code == Some(1) && out.stderr.contains("open /nonesuch: no such file or directory"),
                "{out:#?}"
            );
            assert_eq!(snapshot(sandbox), before);
        },
    );
}

/// What the kernel refuses in the middle, and what is refused before: no file and no record has changed, also where the
/// file said something that the record does not know.
#[test]
fn a_refused_update_changes_nothing() {
    if !root() {
        return;
    }
    let all = json!({ "memory": { "limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20 }, "cpu": { "shares": 300 }, "pids": { "limit": 55 } });
    for (view, needs) in [(View::Host, ["memory", "pids", "cpu"]), (View::V2, ["", "", ""])] {
        let sandbox = running(view, &json!({}));
        let names = if view == View::V2 {
            ["memory.max", "pids.max", "cpu.max"]
        } else {
            ["memory.limit_in_bytes", "pids.max", "cpu.shares"]
        };
        if needs.iter().zip(names).any(|(controller, file)| !has(&sandbox, controller, file)) {
            done(&sandbox);
            skip(&format!("needs {names:?} in the view {view:?}"));
            continue;
        }
        update(&sandbox, &all).ok();
        // somebody else's doing
        fs::write(dir(&sandbox, needs[1]).unwrap().join("pids.max"), "66").unwrap();
        let before = snapshot(&sandbox);
        for (resources, at) in [
            // in the middle, by the kernel: everything comes before or after it in some order
            (
                json!({ "memory": { "limit": 32 << 20, "swap": 40 << 20 }, "pids": { "limit": 9 }, "cpu": { "idle": 1, "quota": 100, "period": 10_000, "cpus": "0" } }),
                "linux.resources.cpu.quota",
            ),
            (
                json!({ "memory": { "limit": 200 << 20, "swap": 400 << 20 }, "pids": { "limit": 9 }, "cpu": { "shares": 99, "cpus": "4000" } }),
                "linux.resources.cpu.cpus",
            ),
            (json!({ "memory": { "limit": -1 }, "pids": { "limit": 5_000_000 } }), "linux.resources.pids.limit"),
            // before
            (
                json!({ "memory": { "limit": 256 << 20 }, "pids": { "limit": 9 } }),
                "linux.resources.memory.swap: memory+swap limit should be >= memory limit",
            ),
            (json!({ "pids": { "limit": 9 }, "cpu": { "idle": 3 } }), "linux.resources.cpu.idle"),
            (json!({ "pids": { "limit": 9 }, "blockIO": { "weight": 5 } }), "linux.resources.blockIO.weight"),
            (
                json!({ "pids": { "limit": 9 }, "devices": [{ "allow": true, "type": "c", "access": "x" }] }),
                "linux.resources.devices[0].access",
            ),
            (
                json!({ "pids": { "limit": 9 }, "hugepageLimits": [{ "pageSize": "../x", "limit": 1 }] }),
                "linux.resources.hugepageLimits[0].pageSize",
            ),
        ] {
            let out = update(&sandbox, &resources).run();
            assert!(out.code == Some(1) && message(&out).contains(at), "{resources}: {out:#?}");
            assert_eq!(snapshot(&sandbox), before, "{resources}: {out:#?}");
        }
        let out = update(&sandbox, &json!({ "pids": { "limit": 5_000_000 } })).run();
        let text = message(&out);
        assert!(text.contains("/pids.max \"5000000\": invalid argument"), "file, value and errno: {out:#?}");
        done(&sandbox);
    }
}

/// More than the limit is in use, and cannot be given back.
#[test]
fn a_limit_below_the_usage() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        // what lies in a tmpfs cannot be given back without swap
        let sandbox = Sandbox::created(
            view,
            &json!({}),
            "mount -t tmpfs t /mnt; head -c 30000000 /dev/zero >/mnt/x; echo full; sleep 1000",
        );
        let file = if view == View::V2 { ("", "memory.max") } else { ("memory", "memory.limit_in_bytes") };
        if !has(&sandbox, file.0, file.1) {
            done(&sandbox);
            skip(&format!("needs {file:?} in the view {view:?}"));
            continue;
        }
        sandbox.verb(&["start"]).ok();
        let used = if view == View::V2 { "memory.current" } else { "memory.usage_in_bytes" };
        crate::support::wait_for("30 MB in use", || {
            value(&sandbox, file.0, used).parse::<u64>().is_ok_and(|n| n > 30_000_000).then_some(())
        });
        let before = snapshot(&sandbox);
        let limit = json!({ "memory": { "limit": 1 << 20, "swap": 1 << 20, "checkBeforeUpdate": true } });
        let out = update(&sandbox, &limit).run();
        let (says, place) = if view == View::V2 {
            ("rejecting memory+swap limit 1048576 <= usage ", "linux.resources.memory.swap")
        } else {
            ("unable to set memory limit to 1048576 (current usage: ", "linux.resources.memory.limit")
        };
        assert!(out.code == Some(1) && message(&out).contains(says), "{out:#?}");
        assert!(view == View::V2 || message(&out).contains(", peak usage: "), "{out:#?}");
        assert!(message(&out).contains(place), "{out:#?}");
        assert_eq!(snapshot(&sandbox), before);
        assert_eq!(sandbox.status(), "running");
        done(&sandbox);
    }
}

#[test]
fn states() {
    with_two_limits(
        |view| Sandbox::created(view, &json!({}), "sleep 1000"),
        |sandbox, [pids, _]| {
            let limit = |n: i64| json!({ "pids": { "limit": n } });
            update(sandbox, &limit(31)).ok();
            assert_eq!((sandbox.status(), number(sandbox, pids)), ("created".into(), "31".into()));
            sandbox.verb(&["start"]).ok();
            let (freezer, frozen, thawed) = if has(sandbox, "freezer", "freezer.state") {
                (dir(sandbox, "freezer").unwrap().join("freezer.state"), "FROZEN", "THAWED")
            } else {
                (dir(sandbox, "").unwrap().join("cgroup.freeze"), "1", "0")
            };
            fs::write(&freezer, frozen).unwrap();
            crate::support::wait_for("a paused container", || (sandbox.status() == "paused").then_some(()));
            let all = json!([{ "allow": true, "access": "rwm" }]);
            update(sandbox, &json!({ "pids": { "limit": 32 }, "devices": all })).ok();
            assert_eq!((sandbox.status(), number(sandbox, pids)), ("paused".into(), "32".into()));
            assert!(
                !has(sandbox, "devices", "devices.deny") || value(sandbox, "devices", "devices.list") == "a *:* rwm"
            );
            fs::write(&freezer, thawed).unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(sandbox.pid()), Signal::SIGKILL).unwrap();
            sandbox.wait_status("stopped");
            let out = update(sandbox, &limit(33)).run();
            assert!(out.code == Some(1) && out.stderr.contains("container not running"), "{out:#?}");
            let out = sandbox.cntr(&["update", "--pids-limit", "3", "nonesuch"]).run();
            assert!(out.code == Some(1) && out.stderr.contains("container does not exist"), "{out:#?}");
        },
    );
}

/// What it holds; and one of before there were updates, which has no resources in it.
#[test]
fn the_record() {
    fn asked() -> Value {
        let devices = json!([{ "allow": true, "type": "c", "major": 4, "minor": 4, "access": "r" }]);
        json!({ "cpu": { "quota": 5_000, "period": 50_000 }, "devices": devices })
    }
    with_two_limits(
        |view| running(view, &if View::V2 == view && !v2_has_cpu() { json!({}) } else { asked() }),
        |sandbox, [pids, quota]| {
            let file = sandbox.state_dir().join("state.json");
            let record = || serde_json::from_str::<Value>(&read(&file)).unwrap();
            let cgroups = || record()["config"]["cgroups"].clone();
            assert_eq!(cgroups()["resources"], asked());
            assert_eq!((&cgroups()["cpu_quota"], &cgroups()["pids_limit"]), (&json!(5_000), &json!(0)));
            update(sandbox, &json!({ "pids": { "limit": 12 } })).ok();
            assert_eq!((&cgroups()["cpu_quota"], &cgroups()["pids_limit"]), (&json!(0), &json!(12)));
            assert_eq!(cgroups()["resources"]["devices"], asked()["devices"]);
            let mut old = record();
            let names = old["config"]["cgroups"].as_object_mut().unwrap();
            names.retain(|name, _| ["path", "name", "parent"].contains(&name.as_str()));
            fs::write(&file, old.to_string()).unwrap();
            update(sandbox, &json!({ "pids": { "limit": 13 } })).ok();
            assert_eq!((number(sandbox, pids), number(sandbox, quota)), ("13".into(), "5000".into()));
            assert_eq!(cgroups()["resources"]["pids"]["limit"], 13);
        },
    );
}

/// Each has two limits; whoever comes last, both are his, and the record says so.
#[test]
fn two_at_once_do_not_mix() {
    with_two_limits(
        |view| running(view, &json!({})),
        |sandbox, [pids, quota]| {
            for round in 0..10u64 {
                let numbers = (1..=4).map(|n| 10_000 + 10 * round + n);
                let started: Vec<_> = numbers
                    .clone()
                    .map(|n| n.to_string())
                    .map(|n| sandbox.cntr(&["update", "--pids-limit", &n, "--cpu-quota", &n, &sandbox.id]).spawn())
                    .collect();
                for running in started {
                    let out = running.wait();
                    assert_eq!(out.code, Some(0), "{out:#?}");
                }
                let last = number(sandbox, pids);
                assert!(numbers.map(|n| n.to_string()).any(|n| n == last));
                assert_eq!(number(sandbox, quota), last);
                let record: Value = serde_json::from_str(&read(sandbox.state_dir().join("state.json"))).unwrap();
                let resources = &record["config"]["cgroups"]["resources"];
                let stored = (resources["pids"]["limit"].to_string(), resources["cpu"]["quota"].to_string());
                assert_eq!(stored, (last.clone(), last));
            }
        },
    );
}
