//! The config against what the probe saw: mounts and their flags, /dev, masked and read-only paths, sysctls,
//! device rules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bundle::{list, strings};
use super::probe::{Probe, can_make_nodes};
use super::verify::Findings;
use super::words;

/// One line of /proc/PID/mountinfo.
#[derive(Debug, Clone)]
pub struct Mount {
    pub root: String,
    pub point: String,
    pub options: Vec<String>,
    pub propagation: Vec<String>,
    pub fstype: String,
    pub superblock: Vec<String>,
}

impl Mount {
    /// Parses one line; proc(5).
    pub fn parse(line: &str) -> Self {
        let (left, right) = line.split_once(" - ").unwrap_or_else(|| panic!("mountinfo: {line}"));
        let (left, right) = (words(left), words(right));
        let split = |s: &str| s.split(',').map(String::from).collect();
        Mount {
            root: left[3].into(),
            point: left[4].into(),
            options: split(left[5]),
            propagation: left[6..].iter().map(|s| (*s).into()).collect(),
            fstype: right[0].into(),
            superblock: split(right.get(2).unwrap_or(&"")),
        }
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

pub fn mounts(probe: &Probe) -> Vec<Mount> {
    probe.lines("mountinfo").iter().map(|l| Mount::parse(l)).collect()
}

pub fn verify(config: &Value, probe: &Probe, findings: &mut Findings) {
    let mounts = mounts(probe);
    for (i, mount) in list(&config["mounts"]).iter().enumerate() {
        mounted(&format!("mounts[{i}]"), mount, &mounts, findings);
        if mount["type"] == "cgroup" {
            hierarchies(&format!("mounts[{i}]"), config, mount, &mounts, findings);
        }
    }
    let root = mounts.iter().rfind(|m| m.point == "/");
    let readonly = config["root"]["readonly"].as_bool() == Some(true);
    findings.check(root.is_some_and(|m| m.has("ro") == readonly), format!("root.readonly {readonly}: {root:?}"));
    device_nodes(config, probe, findings);
    paths(config, probe, &mounts, findings);
    for (key, value) in config["linux"]["sysctl"].as_object().into_iter().flatten() {
        let seen = probe.value("sysctl", key).unwrap_or_default();
        findings.equal(&format!("linux.sysctl {key}"), &words(value.as_str().unwrap()), &words(&seen));
    }
    device_rules(config, probe, findings);
}

fn mounted(place: &str, mount: &Value, mounts: &[Mount], findings: &mut Findings) {
    let destination = mount["destination"].as_str().unwrap();
    let fstype = mount["type"].as_str().unwrap_or("none");
    let Some(seen) = mounts.iter().rfind(|m| m.point == destination) else {
        findings.check(false, format!("{place}: nothing is mounted on {destination}"));
        return;
    };
    let options = strings(&mount["options"]);
    match fstype {
        "bind" | "none" => {}
        // v1: a tmpfs with a directory per hierarchy; v2: the hierarchy itself
        "cgroup" => findings.check(
            if super::pure_v2() {
                seen.fstype == "cgroup2"
            } else {
                ["tmpfs", "cgroup2"].contains(&seen.fstype.as_str())
            },
            format!("{place}: {destination} is a {}", seen.fstype),
        ),
        other => findings.equal(&format!("{place}.type"), &other, &seen.fstype.as_str()),
    }
    for (i, option) in options.iter().copied().enumerate() {
        // a later option takes an earlier one back
        if options[i + 1..].iter().any(|later| opposite(option) == Some(later)) {
            continue;
        }
        let ok = match option {
            "ro" | "nosuid" | "nodev" | "noexec" | "noatime" | "nodiratime" | "relatime" => seen.has(option),
            "rw" => seen.has("rw"),
            "suid" | "dev" | "exec" => !seen.has(&format!("no{option}")),
            "strictatime" => !seen.has("relatime") && !seen.has("noatime"),
            "private" | "rprivate" => seen.propagation.is_empty(),
            _ if fstype == "tmpfs" && option.starts_with("size=") => tmpfs_size(option, seen),
            // mode= of a tmpfs is checked with stat below /dev; the rest is data that only the kernel sees
            _ => true,
        };
        findings.check(ok, format!("{place}.options: {option}: {seen:?}"));
    }
}

fn opposite(option: &str) -> Option<&'static str> {
    let pairs = [("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")];
    pairs.iter().find_map(|(a, b)| if *a == option { Some(*b) } else { (*b == option).then_some(*a) })
}

/// v1: below the tmpfs each of the host's v1 hierarchies, showing the container's own cgroup as its root.
fn hierarchies(place: &str, config: &Value, mount: &Value, mounts: &[Mount], findings: &mut Findings) {
    let destination = mount["destination"].as_str().unwrap();
    let tmpfs = mounts.iter().rfind(|m| m.point == destination).is_some_and(|m| m.fstype == "tmpfs");
    // Without a path of its own a rootless container may have no cgroup, and sees none.
    let Some(path) = config["linux"]["cgroupsPath"].as_str().filter(|_| tmpfs) else { return };
    for line in super::read("/proc/self/mounts").lines().filter(|l| l.contains(" cgroup rw")) {
        let point = line.replace("/sys/fs/cgroup", destination);
        let point = words(&point)[1];
        let seen = mounts.iter().rfind(|m| m.point == point);
        let readonly = strings(&mount["options"]).contains(&"ro");
        let ok = seen.is_some_and(|m| m.fstype == "cgroup" && m.root == path && m.has("ro") == readonly);
        findings.check(ok, format!("{place}: {point} is to show {path} (ro {readonly}): {seen:?}"));
    }
}

/// `size=1m`, `size=65536k` and `size=67108864` against the superblock's `size=...k`.
fn tmpfs_size(option: &str, seen: &Mount) -> bool {
    let bytes = |text: &str| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "k" => 1 << 10,
            "m" => 1 << 20,
            _ => 1,
        };
        digits.parse::<u64>().unwrap() * unit
    };
    let value = |o: &str| o.strip_prefix("size=").map(bytes);
    seen.superblock.iter().find_map(|o| value(o)) == value(option)
}

const DEFAULT_NODES: [(&str, &str); 6] =
    [("null", "1:3"), ("random", "1:8"), ("full", "1:7"), ("tty", "5:0"), ("zero", "1:5"), ("urandom", "1:9")];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

fn device_nodes(config: &Value, probe: &Probe, findings: &mut Findings) {
    let mut asked: BTreeSet<String> = LINKS.iter().map(|(path, to)| format!("{path} link {to}")).collect();
    let given = list(&config["linux"]["devices"]);
    // nobody may mknod in a user namespace: the nodes are binds of the host's, whose owner is not mapped
    let in_userns = list(&config["linux"]["namespaces"]).iter().any(|n| n["type"] == "user");
    let owner = if in_userns { "65534:65534" } else { "0:0" };
    for (name, numbers) in DEFAULT_NODES {
        if !given.iter().any(|d| d["path"] == format!("/dev/{name}")) {
            asked.insert(format!("/dev/{name} {numbers} 666 {owner} character special file"));
        }
    }
    for device in given {
        let kind = if device["type"] == "b" { "block special file" } else { "character special file" };
        let number = |member: &str| device[member].as_u64().unwrap_or(0);
        asked.insert(format!(
            "{} {:x}:{:x} {:o} {}:{} {kind}",
            device["path"].as_str().unwrap(),
            number("major"),
            number("minor"),
            device["fileMode"].as_u64().unwrap_or(0o666) & 0o777,
            number("uid"),
            number("gid"),
        ));
    }
    let seen: BTreeSet<String> = probe
        .lines("dev")
        .iter()
        .filter(|l| !l.ends_with(" directory") && !l.starts_with("/dev/core link"))
        .cloned()
        .collect();
    findings.equal("linux.devices and the default nodes", &asked, &seen);
    for mount in list(&config["mounts"]) {
        let mode = strings(&mount["options"]).iter().find_map(|o| o.strip_prefix("mode=").map(String::from));
        let (Some(mode), Some(path)) = (mode, mount["destination"].as_str()) else { continue };
        if let Some(seen) = probe.value("modes", path) {
            findings.equal(&format!("mode of {path}"), &mode.trim_start_matches('0'), &seen.as_str());
        }
    }
}

fn paths(config: &Value, probe: &Probe, mounts: &[Mount], findings: &mut Findings) {
    for line in probe.lines("masked") {
        let [kind, path, size] = words(line)[..] else { panic!("masked: {line}") };
        findings.check(size == "0", format!("linux.maskedPaths: {path} is not empty ({size})"));
        let covered = mounts.iter().any(|m| m.point == path);
        findings.check(kind == "absent" || covered, format!("linux.maskedPaths: nothing is mounted on {path}"));
    }
    let root = config["process"]["user"]["uid"] == 0;
    for line in probe.lines("readonly") {
        let word = words(line);
        let readonly = mounts.iter().rfind(|m| m.point == word[1]).is_some_and(|m| m.has("ro"));
        findings.check(
            word[0] == "absent" || readonly,
            format!("linux.readonlyPaths: {} is not mounted read-only", word[1]),
        );
        let text = if root { "Read-only file system" } else { "" };
        findings.check(
            word[0] == "absent" || (word[0] == "refused" && line.contains(text)),
            format!("linux.readonlyPaths: writing: {line}"),
        );
    }
}

/// 1:11 is /dev/kmsg, which no engine allows; 1:5 is /dev/zero, which always is.
fn device_rules(config: &Value, probe: &Probe, findings: &mut Findings) {
    if !can_make_nodes(config) || config["linux"]["resources"]["devices"].is_null() {
        return;
    }
    let text = probe.lines("devices").join("\n");
    findings.check(text.contains("Operation not permitted"), format!("linux.resources.devices: c 1:11 opened: {text}"));
    findings.equal("linux.resources.devices: c 1:5", &"1", &probe.lines("devices").last().map_or("", String::as_str));
}
