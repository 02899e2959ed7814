//! `spec`: a config.json to start from.
//!
//! Owns the template (contract: the same lists as runc's) and the writing of the file; never overwrites one.

use crate::args::Parsed;
use crate::create::real_path;
use crate::globals::Globals;
use crate::json;
use anyhow::{Context, bail};
use libcontain::SPEC_VERSION;
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Template {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

#[derive(Serialize)]
struct Rlimit {
    r#type: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    r#type: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdMapping {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    r#type: &'static str,
}

const ENV: [&str; 2] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"];

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// Destination, type, source, options.
const MOUNTS: &[(&str, &str, &str, &[&str])] = &[
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

/// In place of sysfs, which a user namespace may mount only together with a network namespace of its own.
const ROOTLESS_SYS: (&str, &str, &str, &[&str]) =
    ("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);

const NAMESPACES: &[&str] = &["pid", "network", "ipc", "uts", "mount"];

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Who runs a rootless container: its root is this user.
struct Owner {
    uid: u32,
    gid: u32,
}

/// Writes config.json into the bundle directory.
pub fn spec(_: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let dir = match args.given("bundle") {
        Some(path) => real_path(path).with_context(|| format!("chdir {}", path.display()))?,
        None => PathBuf::new(),
    };
    let owner = args
        .is_set("rootless")
        .then(|| Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() });
    let unified = std::fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    write(&dir.join("config.json"), &json::pretty(&template(unified, owner.as_ref()), "\t")?)?;
    Ok(0)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).context("write config.json"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("File config.json exists. Remove it first"),
        Err(error) => Err(error).context("open config.json"),
    }
}

fn template(unified: bool, owner: Option<&Owner>) -> Template {
    Template {
        oci_version: SPEC_VERSION,
        process: process(),
        root: Root { path: "rootfs", readonly: true },
        hostname: "runc",
        mounts: mounts(owner.is_some()),
        linux: linux(unified, owner),
    }
}

fn process() -> Process {
    Process {
        terminal: true,
        user: User { uid: 0, gid: 0 },
        args: ["sh"],
        env: ENV,
        cwd: "/",
        capabilities: Capabilities { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
        rlimits: [Rlimit { r#type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
        no_new_privileges: true,
    }
}

/// A rootless container knows only one user and one group: `uid=` and `gid=` options would name others.
fn mounts(rootless: bool) -> Vec<Mount> {
    let kept = |option: &&str| !(rootless && (option.starts_with("uid=") || option.starts_with("gid=")));
    let rows = MOUNTS.iter().map(|row| if rootless && row.0 == ROOTLESS_SYS.0 { &ROOTLESS_SYS } else { row });
    rows.map(|&(destination, r#type, source, options)| Mount {
        destination,
        r#type,
        source,
        options: options.iter().copied().filter(kept).collect(),
    })
    .collect()
}

fn linux(unified: bool, owner: Option<&Owner>) -> Linux {
    let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    let mut namespaces = NAMESPACES.to_vec();
    if owner.is_some() {
        namespaces.retain(|n| *n != "network");
        namespaces.push("user");
    }
    if unified {
        namespaces.push("cgroup");
    }
    Linux {
        uid_mappings: owner.map_or(Vec::new(), |o| map(o.uid)),
        gid_mappings: owner.map_or(Vec::new(), |o| map(o.gid)),
        resources: owner.is_none().then_some(Resources { devices: [DeviceRule { allow: false, access: "rwm" }] }),
        namespaces: namespaces.into_iter().map(|r#type| Namespace { r#type }).collect(),
        masked_paths: MASKED,
        readonly_paths: READONLY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(unified: bool, owner: Option<&Owner>) -> serde_json::Value {
        serde_json::to_value(template(unified, owner)).unwrap()
    }

    #[test]
    fn the_template_is_a_config_the_library_can_read() {
        for owner in [None, Some(&Owner { uid: 1000, gid: 1001 })] {
            let text = json::pretty(&template(true, owner), "\t").unwrap();
            serde_json::from_str::<libcontain::spec::Spec>(&text).unwrap();
        }
    }

    #[test]
    fn rootless_differs_in_namespaces_mappings_mounts_and_resources() {
        let plain = document(false, None);
        let rootless = document(false, Some(&Owner { uid: 1000, gid: 1001 }));
        let namespaces = |d: &serde_json::Value| {
            let list = d["linux"]["namespaces"].as_array().unwrap();
            list.iter().map(|n| n["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(namespaces(&plain), "pid network ipc uts mount");
        assert_eq!(namespaces(&rootless), "pid ipc uts mount user");
        assert_eq!(namespaces(&document(true, None)), "pid network ipc uts mount cgroup");
        assert_eq!(
            rootless["linux"]["uidMappings"],
            serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 1}])
        );
        assert_eq!(rootless["linux"]["gidMappings"][0]["hostID"], 1001);
        assert!(rootless["linux"].get("resources").is_none());
        assert_eq!(rootless["mounts"][5]["source"], "/sys");
        assert_eq!(rootless["mounts"][5]["options"][0], "rbind");
        let options = |d: &serde_json::Value| d["mounts"][2]["options"].to_string();
        assert!(options(&plain).contains("gid=5"));
        assert!(!options(&rootless).contains("gid=5"));
    }
}
