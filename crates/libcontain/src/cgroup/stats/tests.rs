//! Whole cgroups as they were read on real machines: a hybrid one (Linux 6.18; hugetlb alone is in v2) and one with v2
//! (Linux 6.12). And the same with other contents.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

const HYBRID: &str = include_str!("../../../tests/data/cgroup-hybrid.txt");
const V2: &str = include_str!("../../../tests/data/cgroup-v2.txt");

/// Makes the files of a capture: `### DIRECTORY`, `--- FILE`, and the contents, which may be replaced.
fn restore(capture: &str, replaced: Option<&str>) -> (TempDir, Cgroup) {
    let root = tempfile::tempdir().unwrap();
    let mut members = Vec::new();
    for hierarchy in capture.split("### ").skip(1) {
        let (name, files) = hierarchy.split_once('\n').unwrap();
        let dir = root.path().join(name);
        fs::create_dir(&dir).unwrap();
        for file in files.split("--- ").skip(1) {
            let (file, text) = file.split_once('\n').unwrap();
            fs::write(dir.join(file), replaced.unwrap_or(text)).unwrap();
        }
        members.push(member(name, &dir));
    }
    (root, Cgroup { members, entry: None })
}

fn member(name: &str, dir: &Path) -> Member {
    let v2 = name == "unified";
    Member { keys: if v2 { vec![] } else { vec![name.into()] }, path: dir.to_str().unwrap().into(), v2 }
}

/// In JSON, without the many lines of `memory.stat`, and their number.
fn shown(stats: &Stats) -> (String, usize) {
    let mut rest = stats.clone();
    let raw = std::mem::take(&mut rest.memory.raw);
    (serde_json::to_string(&rest).unwrap(), raw.len())
}

#[test]
fn a_hybrid_machine() {
    let (_root, cgroup) = restore(HYBRID, None);
    let expected = concat!(
        r#"{"cpu":{"usage":{"total":36498329,"percpu":[36498329,0],"percpu_kernel":[4000000,0],"#,
        r#""percpu_user":[44000000,0],"kernel":0,"user":30000000},"throttling":{"periods":7}},"#,
        r#""cpuset":{"cpus":[0],"cpu_exclusive":0,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
        r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":1,"#,
        r#""sched_relax_domain_level":-1},"#,
        r#""memory":{"cache":1982464,"usage":{"limit":67108864,"usage":2502656,"max":2846720,"failcnt":0},"#,
        r#""swap":{"limit":134217728,"usage":2568192,"max":2846720,"failcnt":0},"#,
        r#""kernel":{"limit":9223372036854771712,"usage":118784,"max":286720,"failcnt":0},"#,
        r#""kernelTCP":{"limit":9223372036854771712,"failcnt":0}},"pids":{"current":1,"limit":50},"#,
        r#""blkio":{"ioServiceBytesRecursive":[{"major":254,"op":"Read"},{"major":254,"op":"Write","value":167936},"#,
        r#"{"major":254,"op":"Sync","value":167936},{"major":254,"op":"Async"},{"major":254,"op":"Discard"},"#,
        r#"{"major":254,"op":"Total","value":167936}],"ioServicedRecursive":[{"major":254,"op":"Read"},"#,
        r#"{"major":254,"op":"Write","value":42},{"major":254,"op":"Sync","value":42},{"major":254,"op":"Async"},"#,
        r#"{"major":254,"op":"Discard"},{"major":254,"op":"Total","value":42}]},"#,
        r#""hugetlb":{"1GB":{"failcnt":0},"2MB":{"failcnt":0}},"intel_rdt":{},"network_interfaces":null}"#,
    );
    let stats = cgroup.stats().unwrap();
    assert_eq!(shown(&stats), (expected.to_owned(), 42));
    assert_eq!(stats.memory.raw["hierarchical_memsw_limit"], 134_217_728);
}

#[test]
fn a_v2_machine() {
    let (_root, cgroup) = restore(V2, None);
    let none = r#"{"avg10":0,"avg60":0,"avg300":0,"total":0}"#;
    let idle = format!(r#""psi":{{"some":{none},"full":{none}}}"#);
    let expected = [
        r#"{"cpu":{"usage":{"total":3947060000,"kernel":1962316000,"user":1984743000},"#,
        r#""throttling":{"periods":57,"throttledPeriods":52,"throttledTime":4294125000},"#,
        r#""psi":{"some":{"avg10":29.43,"avg60":5.91,"avg300":1.25,"total":4457109},"#,
        r#""full":{"avg10":28.69,"avg60":5.73,"avg300":1.21,"total":4360157}}},"#,
        r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"#,
        r#""memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
        r#""memory":{"cache":286720,"usage":{"limit":67108864,"usage":561152,"max":10199040,"failcnt":0},"#,
        r#""swap":{"limit":134217728,"usage":561152,"failcnt":0},"#,
        r#""kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"#,
        &idle,
        r#"},"pids":{"current":1,"limit":50},"#,
        r#""blkio":{"ioServiceBytesRecursive":[{"major":254,"op":"Read","value":315392},{"major":254,"op":"Write"}],"#,
        r#""ioServicedRecursive":[{"major":254,"op":"Read","value":9},{"major":254,"op":"Write"}],"#,
        &idle,
        r#"},"hugetlb":{"1GB":{"failcnt":0},"2MB":{"failcnt":0}},"intel_rdt":{},"network_interfaces":null}"#,
    ];
    let stats = cgroup.stats().unwrap();
    let lines = V2.split("--- memory.stat\n").nth(1).unwrap().lines().take_while(|line| !line.starts_with("---"));
    assert_eq!(shown(&stats), (expected.concat(), lines.count()));
    assert_eq!(stats.memory.raw["anon"], 61_440);
}

/// Without limits, and with swap: v2 says `max`, and counts swap by itself.
#[test]
fn no_limit_and_swap_on_v2() {
    for (memory, swap, limit) in
        [("max", "max", u64::MAX), ("max", "4096", u64::MAX), ("8192", "max", u64::MAX), ("8192", "4096", 12_288)]
    {
        let (root, cgroup) = restore(V2, None);
        let dir = root.path().join("unified");
        fs::write(dir.join("memory.max"), memory).unwrap();
        fs::write(dir.join("memory.swap.max"), swap).unwrap();
        fs::write(dir.join("memory.swap.current"), "1000").unwrap();
        let seen = cgroup.stats().unwrap().memory.swap;
        assert_eq!(seen, MemoryEntry { limit, usage: 562_152, max: 0, failcnt: 0 }, "{memory} {swap}");
    }
}

#[test]
fn whatever_is_missing_is_zero() {
    for (capture, name) in [(HYBRID, "hybrid"), (V2, "v2")] {
        let (root, cgroup) = restore(capture, None);
        for dir in fs::read_dir(root.path()).unwrap() {
            for file in fs::read_dir(dir.unwrap().path()).unwrap() {
                fs::remove_file(file.unwrap().path()).unwrap();
            }
        }
        assert_eq!(cgroup.stats().unwrap(), Stats::default(), "{name}: no file");
        drop(root);
        assert_eq!(cgroup.stats().unwrap(), Stats::default(), "{name}: no directory");
    }
    assert_eq!(Cgroup { members: Vec::new(), entry: None }.stats().unwrap(), Stats::default());
}

/// A directory in place of each file: there, and not readable, even for root.
#[test]
fn what_cannot_be_read_is_an_error_that_names_the_file() {
    let mut tried = 0;
    for (capture, hybrid) in [(HYBRID, true), (V2, false)] {
        let (root, cgroup) = restore(capture, None);
        for file in files(root.path()).into_iter().filter(|file| is_read(file, hybrid)) {
            let text = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
            match cgroup.stats() {
                Err(error) => assert_eq!(error.to_string(), format!("read {}: is a directory", file.display())),
                Ok(_) => panic!("{} is not missed", file.display()),
            }
            tried += 1;
            fs::remove_dir(&file).unwrap();
            fs::write(&file, text).unwrap();
        }
    }
    assert!(tried > 45, "{tried}");
}

fn files(root: &Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(root).unwrap().map(|dir| dir.unwrap().path());
    dirs.flat_map(|dir| fs::read_dir(dir).unwrap().map(|file| file.unwrap().path())).collect()
}

/// Whether something is taken from this file of a capture.
fn is_read(file: &Path, hybrid: bool) -> bool {
    let (name, v2) = (file.file_name().unwrap().to_str().unwrap(), file.parent().unwrap().ends_with("unified"));
    if name.starts_with("hugetlb.") {
        // Page sizes are found by their files, and reservations are taken where they are counted.
        return name.ends_with(".events");
    }
    match (hybrid, v2) {
        (true, true) => false,
        // The first that has something to say.
        (true, false) => !name.starts_with("blkio.") || name.ends_with("_recursive"),
        (false, _) => !name.starts_with("cpuset."),
    }
}

/// The kernel writes these files, but a FUSE file system may stand in for it.
#[test]
fn hostile_contents_are_refused_or_understood() {
    let long = "9".repeat(100_000);
    let wide = "1 ".repeat(10_000);
    let texts = [
        "",
        "\n\n\n",
        "\0\0\0",
        "-",
        "-1",
        "18446744073709551616",
        "max max",
        "some avg10=1e999 total=1",
        "some avg10 total",
        "0-65535,0-65535",
        "65535-0",
        ":::",
        "1:2:3 = = =",
        "254:0 rbytes==1 wbytes=-",
        "cpu user system\n0\n",
        "\u{feff}1",
        "a  b\n c\n",
        &long,
        &wide,
    ];
    for capture in [HYBRID, V2] {
        for text in texts {
            let (root, cgroup) = restore(capture, Some(text));
            if let Err(error) = cgroup.stats() {
                let told = error.to_string();
                assert!(told.starts_with("unable to parse ") && told.contains(root.path().to_str().unwrap()), "{told}");
                assert!(told.len() < 400, "{told}");
            }
        }
    }
}
