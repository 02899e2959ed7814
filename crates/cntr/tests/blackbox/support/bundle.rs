//! Configs: what the engines wrote (tests/data), a minimal one, and how a test changes them.

use serde_json::{Value, json};

use super::probe;

/// Four configs that have to run, as Docker, Podman and containerd pass them.
pub const ENGINES: [&str; 4] = ["docker-default", "docker-limits", "podman-default", "ctr-default"];

/// A config of tests/data.
pub fn load(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).expect("JSON")
}

/// An engine's config made ready for this machine and test: its own cgroup, a block device that exists, the
/// probe as program.
pub fn engine(name: &str, cgroups_path: &str) -> Value {
    let mut config = load(name);
    config["linux"]["cgroupsPath"] = json!(cgroups_path);
    let throttles = &mut config["linux"]["resources"]["blockIO"]["throttleReadBpsDevice"];
    if throttles.is_array() {
        match block_device() {
            Some((major, minor)) => {
                throttles[0]["major"] = json!(major);
                throttles[0]["minor"] = json!(minor);
            }
            None => *throttles = json!([]),
        }
    }
    config["process"]["args"] = json!(["/bin/sh", "-c", probe::script(&config)]);
    config
}

/// The smallest config with which a shell is of use: private namespaces and /proc, /dev, /sys. Its fields are
/// few on purpose, so that a test shows what it is about.
pub fn minimal(cgroups_path: &str, script: &str) -> Value {
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|t| json!({ "type": t }));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
        },
        "root": { "path": "rootfs" },
        "hostname": "tests",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid", "noexec", "nodev"] },
        ],
        "linux": { "namespaces": namespaces, "cgroupsPath": cgroups_path },
    })
}

/// Sets the value at a JSON pointer, making objects on the way; `None` removes the member.
pub fn set(config: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with /");
    let mut at = config;
    for part in parent.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(i) if at.is_array() => &mut at[i],
            _ => &mut at[part],
        };
    }
    match (value, at) {
        (Some(value), Value::Array(list)) => match key.parse::<usize>() {
            Ok(i) => list[i] = value,
            Err(_) => list.push(value),
        },
        (Some(value), at) => at[key] = value,
        (None, Value::Object(map)) => drop(map.remove(key)),
        (None, at) => panic!("{pointer}: cannot remove from {at}"),
    }
}

/// The items of a list, or none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The strings of a list, or none.
pub fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}

/// Takes away the limits whose controllers cgroup v2 has not got on this machine. Device rules need none.
pub fn drop_limits_without_v2_controller(config: &mut Value) {
    let controllers = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .map(super::read)
        .collect::<String>();
    let have = |name: &str| controllers.split_whitespace().any(|c| c == name);
    let Some(resources) = config["linux"]["resources"].as_object_mut() else { return };
    for (field, controller) in [("memory", "memory"), ("pids", "pids"), ("blockIO", "io"), ("cpu", "cpu")] {
        if !have(controller) {
            resources.remove(field);
        }
    }
    if let Some(cpu) = resources.get_mut("cpu").and_then(Value::as_object_mut)
        && !have("cpuset")
    {
        cpu.remove("cpus");
        cpu.remove("mems");
    }
}

/// Major and minor number of a disk of this machine.
pub fn block_device() -> Option<(u64, u64)> {
    let mut names: Vec<_> = std::fs::read_dir("/sys/block").ok()?.flatten().map(|e| e.file_name()).collect();
    names.sort_by_key(|n| (n.to_string_lossy().starts_with("loop"), n.clone()));
    let dev = super::read(format!("/sys/block/{}/dev", names.first()?.to_string_lossy()));
    let (major, minor) = dev.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
