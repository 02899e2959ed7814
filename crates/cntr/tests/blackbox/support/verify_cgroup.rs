//! The config's limits against the cgroup files of the running container, read from outside: where
//! /proc/PID/cgroup says that the process is, which is also where an engine looks.

use std::path::PathBuf;

use serde_json::Value;

use super::bundle::list;
use super::verify::Findings;
use super::{View, read};

/// Where the process is in the hierarchy of `controller` ("" for v2).
pub fn directory(pid: i32, controller: &str) -> Option<PathBuf> {
    let text = read(format!("/proc/{pid}/cgroup"));
    let line = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        controllers.split(',').any(|c| c == controller).then(|| fields.next().map(String::from))?
    })?;
    let mount = read("/proc/self/mounts").lines().find_map(|l| {
        let fields = super::words(l);
        let wanted = if controller.is_empty() {
            fields[2] == "cgroup2"
        } else {
            fields[2] == "cgroup" && fields[3].split(',').any(|o| o == controller)
        };
        wanted.then(|| PathBuf::from(fields[1]))
    })?;
    Some(mount.join(line.trim_start_matches('/')))
}

/// The limits of `config` against the cgroup of `pid`.
pub fn verify(config: &Value, pid: i32, view: View, findings: &mut Findings) {
    let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    let text = read(format!("/proc/{pid}/cgroup"));
    // in the v2 view the v1 hierarchies do not exist for the runtime
    for line in text.lines().filter(|l| view != View::V2 || l.starts_with("0::")) {
        let place = line.rsplit(':').next().unwrap();
        findings.check(place == path, format!("linux.cgroupsPath {path}: the process is in {line}"));
    }
    let v2 = view == View::V2 || !read("/proc/self/mounts").contains(" cgroup rw");
    for row in rows(config, v2) {
        let Some(dir) = directory(pid, if v2 { "" } else { row.controller }) else {
            findings.check(false, format!("{}: no hierarchy {}", row.at, row.controller));
            continue;
        };
        let file = dir.join(row.file);
        let seen = read(&file);
        findings.check(
            seen.lines().any(|l| l.trim() == row.value || l.starts_with(&format!("{} ", row.value))), // io.max goes on
            format!("{}: asked for {}, {} says {seen:?}", row.at, row.value, file.display()),
        );
    }
}

struct Row {
    at: String,
    controller: &'static str,
    file: &'static str,
    value: String,
}

/// The files that have to have a value, by the table of contract.md 4.9; a zero means "not set".
fn rows(config: &Value, v2: bool) -> Vec<Row> {
    let resources = &config["linux"]["resources"];
    let mut rows = Vec::new();
    let mut row = |at: &str, controller, v1: &'static str, in_v2: &'static str, value: String| {
        let (at, file) = (format!("linux.resources.{at}"), if v2 { in_v2 } else { v1 });
        rows.push(Row { at, controller, file, value });
    };
    let number = |field: &Value| field.as_i64().filter(|n| *n != 0);
    let (memory, cpu) = (&resources["memory"], &resources["cpu"]);
    if let Some(limit) = number(&memory["limit"]) {
        row("memory.limit", "memory", "memory.limit_in_bytes", "memory.max", limit.to_string());
        if let Some(swap) = number(&memory["swap"]) {
            let value = if v2 { swap - limit } else { swap };
            row("memory.swap", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max", value.to_string());
        }
    }
    if let Some(low) = number(&memory["reservation"]) {
        row("memory.reservation", "memory", "memory.soft_limit_in_bytes", "memory.low", low.to_string());
    }
    if let Some(shares) = number(&cpu["shares"]) {
        let value = if v2 { weight(shares) } else { shares };
        row("cpu.shares", "cpu", "cpu.shares", "cpu.weight", value.to_string());
    }
    if let Some(quota) = number(&cpu["quota"]) {
        let period = number(&cpu["period"]).unwrap_or(100_000);
        let value = if v2 { format!("{quota} {period}") } else { quota.to_string() };
        row("cpu.quota", "cpu", "cpu.cfs_quota_us", "cpu.max", value);
        if !v2 {
            row("cpu.period", "cpu", "cpu.cfs_period_us", "cpu.max", period.to_string());
        }
    }
    if let Some(cpus) = cpu["cpus"].as_str().filter(|s| !s.is_empty()) {
        row("cpu.cpus", "cpuset", "cpuset.cpus", "cpuset.cpus", cpus.to_owned());
    }
    if let Some(limit) = resources["pids"]["limit"].as_i64() {
        let value = if limit < 0 { "max".into() } else { limit.max(1).to_string() };
        row("pids.limit", "pids", "pids.max", "pids.max", value);
    }
    for device in list(&resources["blockIO"]["throttleReadBpsDevice"]) {
        let limit = if v2 { "rbps=" } else { "" };
        let value = format!("{}:{} {limit}{}", device["major"], device["minor"], device["rate"]);
        row("blockIO.throttleReadBpsDevice[0]", "blkio", "blkio.throttle.read_bps_device", "io.max", value);
    }
    if !v2 && !list(&resources["devices"]).is_empty() {
        // deny all, then at least what every container may have
        row("devices", "devices", "devices.list", "", "c 1:3 rwm".into());
    }
    rows
}

/// cpu.shares to cpu.weight, contract.md 4.9 (the curve of 2025, through 1024 -> 100).
fn weight(shares: i64) -> i64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as i64
        }
    }
}
