//! What a class of service is, and what it has used.
//!
//! Missing files are resources that the machine has not got, or does not count.

use rustix::fs::CWD;
use rustix::io::Errno;

use super::{Result, failed, resctrl_at};
use crate::small_file;
use crate::stats::{CmtStats, IntelRdt, L3CacheInfo, MbmStats, MemBwInfo};

/// Of the class whose directory this is, and of the monitoring group in it, if the container has one.
pub(crate) fn stats(class: &str, monitor: Option<&str>) -> Result<IntelRdt> {
    // The class is a directory of the mount, or the mount itself.
    let is_root = |path: &str| rustix::fs::access(format!("{path}/info"), rustix::fs::Access::EXISTS).is_ok();
    let above = class.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
    let mount = if is_root(class) { class } else { above };
    let can = resctrl_at(mount);
    let (root, own) = (text(mount, "schemata")?, text(class, "schemata")?);
    let mut stats =
        IntelRdt { schemata: own.lines().map(|line| line.trim().to_owned()).collect(), ..IntelRdt::default() };
    if can.cache {
        stats.l3_cache_info = Some(L3CacheInfo {
            cbm_mask: text(mount, "info/L3/cbm_mask")?,
            min_cbm_bits: number(mount, "info/L3/min_cbm_bits")?,
            num_closids: number(mount, "info/L3/num_closids")?,
        });
        stats.l3_cache_schema_root = line(&root, "L3");
        stats.l3_cache_schema = line(&own, "L3");
    }
    if can.bandwidth {
        stats.mem_bw_info = Some(MemBwInfo {
            bandwidth_gran: number(mount, "info/MB/bandwidth_gran")?,
            delay_linear: number(mount, "info/MB/delay_linear")?,
            min_bandwidth: number(mount, "info/MB/min_bandwidth")?,
            num_closids: number(mount, "info/MB/num_closids")?,
        });
        stats.mem_bw_schema_root = line(&root, "MB");
        stats.mem_bw_schema = line(&own, "MB");
    }
    if can.monitoring {
        count(&mut stats, mount, monitor.unwrap_or(class))?;
    }
    Ok(stats)
}

/// `mon_data` has a directory for each L3 cache.
fn count(stats: &mut IntelRdt, mount: &str, group: &str) -> Result<()> {
    let features = text(mount, "info/L3_MON/mon_features")?;
    let has = |name: &str| features.lines().any(|line| line == name);
    let caches = caches(&format!("{group}/mon_data"))?;
    if has("mbm_total_bytes") || has("mbm_local_bytes") {
        let counted = caches.iter().map(|dir| {
            let (total, local) = (number(dir, "mbm_total_bytes")?, number(dir, "mbm_local_bytes")?);
            Ok(MbmStats { mbm_total_bytes: total, mbm_local_bytes: local })
        });
        stats.mbm_stats = Some(counted.collect::<Result<_>>()?);
    }
    if has("llc_occupancy") {
        let counted = caches.iter().map(|dir| Ok(CmtStats { llc_occupancy: number(dir, "llc_occupancy")? }));
        stats.cmt_stats = Some(counted.collect::<Result<_>>()?);
    }
    Ok(())
}

fn caches(path: &str) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            entries.map_err(|e| failed(format_args!("open {path}"), Errno::from_io_error(&e).unwrap_or(Errno::IO)))?
        }
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut dirs: Vec<String> =
        names.filter(|name| name.starts_with("mon_L3_")).map(|n| format!("{path}/{n}")).collect();
    dirs.sort();
    Ok(dirs)
}

/// Empty where there is no such file.
fn text(dir: &str, file: &str) -> Result<String> {
    let path = format!("{dir}/{file}");
    match small_file::read(CWD, path.as_str()) {
        Err(Errno::NOENT) => Ok(String::new()),
        text => text.map_err(|errno| failed(format_args!("read {path}"), errno)),
    }
}

/// A counter that cannot be read just now says `Unavailable` or `Error`.
fn number(dir: &str, file: &str) -> Result<u64> {
    Ok(text(dir, file)?.parse().unwrap_or(0))
}

/// The line of a resource, without the blanks in front of it: `L3:0=ff;1=ff`.
fn line(schemata: &str, resource: &str) -> String {
    let is_its = |line: &&str| line.strip_prefix(resource).is_some_and(|rest| rest.starts_with(':'));
    schemata.lines().map(str::trim).find(is_its).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn machine(dir: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    const FILES: [(&str, &str); 16] = [
        ("schemata", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff\n"),
        ("info/L3/cbm_mask", "fffff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("info/MB/delay_linear", "1\n"),
        ("info/MB/min_bandwidth", "10\n"),
        ("info/MB/num_closids", "8\n"),
        ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
        ("c1/schemata", "    MB:0= 50;1=100\n    L3:0=000f0;1=fffff\n"),
        ("c1/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n"),
        ("c1/mon_data/mon_L3_00/llc_occupancy", "4096\n"),
        ("c1/mon_data/mon_L3_00/mbm_total_bytes", "7\n"),
        ("c1/mon_data/mon_L3_00/mbm_local_bytes", "5\n"),
        ("c1/mon_groups/m/mon_data/mon_L3_00/llc_occupancy", "1\n"),
        ("c1/tasks", ""),
    ];

    #[test]
    fn a_class_with_everything() {
        let dir = tempfile::tempdir().unwrap();
        machine(dir.path(), &FILES);
        let class = dir.path().join("c1").to_string_lossy().into_owned();
        let seen = stats(&class, None).unwrap();
        let expected = concat!(
            r#"{"l3_cache_info":{"cbm_mask":"fffff","min_cbm_bits":1,"num_closids":16},"#,
            r#""l3_cache_schema_root":"L3:0=fffff;1=fffff","l3_cache_schema":"L3:0=000f0;1=fffff","#,
            r#""mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":10,"num_closids":8},"#,
            r#""mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0= 50;1=100","#,
            r#""schemata":["MB:0= 50;1=100","L3:0=000f0;1=fffff"],"#,
            r#""mbm_stats":[{"mbm_total_bytes":7,"mbm_local_bytes":5},{}],"cmt_stats":[{"llc_occupancy":4096},{}]}"#,
        );
        assert_eq!(serde_json::to_string(&seen).unwrap(), expected);
        let monitor = format!("{class}/mon_groups/m");
        assert_eq!(stats(&class, Some(&monitor)).unwrap().cmt_stats, Some(vec![CmtStats { llc_occupancy: 1 }]));
        let root = dir.path().to_string_lossy();
        assert_eq!(stats(&root, None).unwrap().l3_cache_schema, "L3:0=fffff;1=fffff");
    }

    #[test]
    fn a_machine_that_has_the_bandwidth_alone() {
        let dir = tempfile::tempdir().unwrap();
        machine(dir.path(), &[("info/MB/num_closids", "8\n"), ("c1/schemata", "MB:0=10\n")]);
        let seen = stats(&dir.path().join("c1").to_string_lossy(), None).unwrap();
        let info = MemBwInfo { num_closids: 8, ..MemBwInfo::default() };
        let schemata = vec!["MB:0=10".to_owned()];
        let expected =
            IntelRdt { mem_bw_info: Some(info), mem_bw_schema: "MB:0=10".into(), schemata, ..IntelRdt::default() };
        assert_eq!(seen, expected);
    }
}
