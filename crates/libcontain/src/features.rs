//! The `features` document (features.md of the runtime-spec): what this build can do, not what this host can, with one
//! exception that the specification makes: `seccomp.supportedFlags` are those of the kernel.
//!
//! Owns the shape and the contents. Invariants: member order is the specification's; a member that is absent
//! means "unknown", `false` means "known not to work"; nothing is claimed that the planner cannot lower. Lists
//! that a planner table knows come from that table, so that the document cannot drift from the code, and a test puts
//! each word of each list into a config (tests/plans/features.rs).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::hook_state::SPEC_VERSION;
use crate::plan::cgroup::resources::{self, Row};
use crate::plan::{annotations, mount_options, seccomp, tuning};
use crate::{check, plan, sys};

/// The oldest runtime-spec whose configs are accepted.
const SPEC_VERSION_MIN: &str = "1.0.0";

/// Everything the runtime says about itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Vec<&'static str>,
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: BTreeMap<&'static str, String>,
    potentially_unsafe_config_annotations: &'static [&'static str],
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<&'static str>,
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: Vec<&'static str>,
    known_flags: Vec<&'static str>,
    supported_flags: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Debug, Clone, Serialize)]
struct MemoryPolicy {
    modes: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Debug, Clone, Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Enabled {
    enabled: bool,
}

const YES: Enabled = Enabled { enabled: true };

/// Annotations that change what the runtime does on the host, so that engines must not take them from an image.
/// `bundle` is not an option, but a label of that name in state.json would hide the bundle's own.
const UNSAFE_ANNOTATIONS: &[&str] = &[
    "bundle",
    "org.criu.config",
    "org.systemd.property.",
    annotations::HOOK_OUTPUT[1],
    annotations::HOOK_OUTPUT[0],
    annotations::KEEP_GROUPS,
    annotations::MOUNT_CONTEXT_TYPE,
];

/// The document of this build. `version` and `commit` are those of the program that shows it.
#[must_use]
pub fn features(version: &str, commit: &str) -> Features {
    Features {
        oci_version_min: SPEC_VERSION_MIN,
        oci_version_max: SPEC_VERSION,
        hooks: check::hook_lists().collect(),
        mount_options: mount_options::known_words().collect(),
        linux: linux(),
        annotations: own_annotations(version, commit),
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
    }
}

fn linux() -> Linux {
    Linux {
        namespaces: plan::namespace_kinds(),
        capabilities: capabilities(),
        cgroup: cgroup(),
        seccomp: Seccomp {
            enabled: true,
            actions: &seccomp::ACTIONS,
            operators: &seccomp::OPERATORS,
            archs: seccomp::Arch::ALL.map(seccomp::Arch::name).to_vec(),
            known_flags: seccomp::FLAGS.iter().map(|(name, _)| *name).collect(),
            supported_flags: supported_flags(),
        },
        apparmor: YES,
        selinux: YES,
        intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
        memory_policy: MemoryPolicy { modes: &tuning::MEMORY_MODES, flags: &tuning::MEMORY_FLAGS },
        mount_extensions: MountExtensions { idmap: YES },
        net_devices: YES,
    }
}

/// From the table of resources: a driver or version that no field has a column for cannot be offered.
fn cgroup() -> Cgroup {
    let any = |has: fn(&Row) -> bool| resources::rows().iter().any(has);
    let user = any(|row| row.unit_v2.is_some()); // A user's manager has v2 alone.
    Cgroup {
        v1: any(|row| row.v1.is_some()),
        v2: any(|row| row.v2.is_some()),
        systemd: user && any(|row| row.unit_v1.is_some()),
        systemd_user: user,
        rdma: any(|row| row.v2.as_ref().is_some_and(|file| file.controller == "rdma")),
    }
}

/// Of the flags known here, those that this kernel takes. None, where seccomp(2) itself is missing or forbidden.
fn supported_flags() -> Vec<&'static str> {
    let taken = |flag| sys::seccomp_takes(seccomp::probe_flags(flag));
    seccomp::FLAGS.iter().filter(|(_, flag)| taken(*flag)).map(|(name, _)| *name).collect()
}

/// All names that can be given, in the kernel's order.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

/// Tools look for runc's keys; the same facts stand under this project's own name as well.
fn own_annotations(version: &str, commit: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("io.github.cntr.commit", commit.to_owned()),
        ("io.github.cntr.version", version.to_owned()),
        ("org.opencontainers.runc.checkpoint.enabled", "false".to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> serde_json::Value {
        serde_json::to_value(features("1.2.3", "abc")).unwrap()
    }

    #[test]
    fn capabilities_are_complete_and_in_kernel_order() {
        let names = capabilities();
        assert_eq!(names.len(), 41);
        assert_eq!(names[0], "CAP_CHOWN");
        assert_eq!(names[21], "CAP_SYS_ADMIN");
        assert_eq!(names[40], "CAP_CHECKPOINT_RESTORE");
    }

    #[test]
    fn the_kernel_is_asked_for_flags() {
        let flags = supported_flags();
        assert!(flags.is_empty() || !sys::seccomp_takes(1 << 30), "a flag that nobody has");
    }

    #[test]
    fn lists_that_the_spec_wants_sorted_are_sorted_and_without_doubles() {
        let document = document();
        for pointer in [
            "/mountOptions",
            "/linux/namespaces",
            "/linux/seccomp/actions",
            "/linux/seccomp/archs",
            "/linux/seccomp/operators",
            "/linux/seccomp/knownFlags",
        ] {
            let list: Vec<&str> =
                document.pointer(pointer).unwrap().as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
            assert!(list.is_sorted_by(|a, b| a < b), "{pointer}: {list:?}");
        }
    }

    #[test]
    fn members_engines_read_are_there_under_the_spec_names() {
        let document = document();
        for (pointer, expected) in [
            ("/ociVersionMin", serde_json::json!("1.0.0")),
            ("/ociVersionMax", serde_json::json!("1.3.0")),
            ("/linux/mountExtensions/idmap/enabled", serde_json::json!(true)),
            ("/linux/cgroup/systemd", serde_json::json!(true)),
            ("/linux/cgroup/systemdUser", serde_json::json!(true)),
            ("/linux/cgroup/rdma", serde_json::json!(true)),
            ("/linux/intelRdt", serde_json::json!({"enabled": true, "schemata": true, "monitoring": true})),
            ("/linux/memoryPolicy/modes/3", serde_json::json!("MPOL_LOCAL")),
            ("/linux/memoryPolicy/flags/2", serde_json::json!("MPOL_F_STATIC_NODES")),
            ("/linux/netDevices/enabled", serde_json::json!(true)),
            ("/linux/seccomp/enabled", serde_json::json!(true)),
            ("/annotations/org.opencontainers.runc.checkpoint.enabled", serde_json::json!("false")),
        ] {
            assert_eq!(document.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert!(document["mountOptions"].as_array().unwrap().contains(&"ro".into()));
        let unsafe_ones = document["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
        for name in
            ["run.oci.hooks.stdout", "run.oci.hooks.stderr", "run.oci.keep_original_groups", "org.systemd.property."]
        {
            assert!(unsafe_ones.contains(&name.into()), "{name}");
        }
    }
}
