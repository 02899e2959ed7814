//! Everything that can be said against a config before anything is done about it.
//!
//! A rule is one small function and one entry in `RULES`. It looks at the config and at what the machine is
//! like ([`Host`]), and adds a [`Problem`] per mistake: the place in the config, the clause of the spec, what
//! is wrong and what was expected. All rules run always, so one run tells everything; where runc's text is one
//! that callers know, it is part of ours. Rules for one resource that has its own lowering (seccomp, cgroup
//! values, device rules) are with that lowering. Pure: no I/O, no panic, and the same problems in the same
//! order for the same input.

mod capabilities;
mod general;
mod idmapped;
mod mounts;
mod namespaces;
mod netdev;
mod process;
mod rdt;
mod strings;
mod sysctl;
mod tuning;

pub use general::hook_lists;
pub use sysctl::path as sysctl_path;
pub(crate) use sysctl::{namespace as sysctl_namespace, refused as sysctl_refused};

use crate::error::{At, Level, Problem};
use crate::host::Host;
use crate::plan::process::CapabilityMasks;
use crate::spec::{Linux, LinuxNamespace, LinuxNamespaceType, Process, Spec};
use std::path::Path;

/// Most problems that are told one by one.
const MOST: usize = 100;

/// What a rule looks at.
struct Ctx<'a> {
    spec: &'a Spec,
    host: &'a Host,
    /// `process.capabilities`, if there are any: translated once, five rules look at them.
    capabilities: Option<CapabilityMasks>,
}

type Problems = Vec<Problem>;
type Rule = fn(&Ctx<'_>, &mut Problems);

/// Rules in the order in which a reader goes through a config: those about its head, about its process, about the rest. A
/// process that comes into a container later is judged by the second.
const RULES: [&[Rule]; 3] = [HEAD, PROCESS, REST];

const HEAD: &[Rule] = &[general::oci_version, general::root];

const PROCESS: &[Rule] = &[
    process::present,
    process::cwd,
    process::args,
    process::env,
    process::user,
    process::mapped_ids,
    process::rlimits,
    process::oom_score_adj,
    process::security_modules,
    process::console_size,
    capabilities::known,
    capabilities::held,
    capabilities::consistent,
    capabilities::ambient,
    tuning::scheduler,
    tuning::io_priority,
    tuning::exec_cpu_affinity,
];

const REST: &[Rule] = &[
    mounts::destinations,
    mounts::types,
    mounts::label,
    idmapped::mounts,
    idmapped::copied,
    mounts::cgroups,
    mounts::owners,
    general::hostname,
    general::mount_namespace,
    general::hooks,
    general::annotations,
    namespaces::unique,
    namespaces::paths,
    namespaces::supported,
    namespaces::rootless,
    namespaces::mappings_wanted,
    namespaces::mappings_used,
    namespaces::mappings_valid,
    namespaces::root_mapped,
    namespaces::time_offsets,
    mounts::devices,
    mounts::devices_in_a_bound_dev,
    mounts::restricted_paths,
    mounts::propagation,
    netdev::devices,
    sysctl::keys,
    tuning::memory_policy,
    rdt::rdt,
    strings::nul_bytes,
];

/// Applies all rules. Anything of [`Level::Error`] in the answer means that the container cannot be made.
#[must_use]
pub fn check(spec: &Spec, host: &Host) -> Vec<Problem> {
    apply(RULES.into_iter().flatten(), spec, host)
}

/// Applies those that are about a later process; `spec` is what the container was made of, with this process in it.
pub(crate) fn check_later(spec: &Spec, host: &Host) -> Vec<Problem> {
    apply(PROCESS.iter().chain([&(strings::nul_bytes as Rule)]), spec, host)
}

fn apply<'r>(rules: impl IntoIterator<Item = &'r Rule>, spec: &Spec, host: &Host) -> Vec<Problem> {
    let capabilities = spec.process().as_ref().and_then(|p| p.capabilities().as_ref()).map(CapabilityMasks::asked);
    let ctx = Ctx { spec, host, capabilities };
    let mut out = Vec::new();
    for rule in rules {
        rule(&ctx, &mut out);
    }
    limit(&mut out);
    out
}

/// A config of megabytes can be wrong a million times: the rest is counted.
fn limit(out: &mut Problems) {
    if out.len() <= MOST {
        return;
    }
    let rest = out.split_off(MOST);
    let text = format!("and {} more problems", rest.len());
    let at = At::field("config.json");
    out.push(match rest.iter().any(|p| p.level == Level::Error) {
        true => Problem::error(at, "", text),
        false => Problem::warning(at, "", text),
    });
}

impl<'a> Ctx<'a> {
    fn process(&self) -> Option<&'a Process> {
        self.spec.process().as_ref()
    }

    fn linux(&self) -> Option<&'a Linux> {
        self.spec.linux().as_ref()
    }

    fn namespaces(&self) -> &'a [LinuxNamespace] {
        self.linux().and_then(|l| l.namespaces().as_deref()).unwrap_or_default()
    }

    /// The entry for a kind of namespace: made new or joined, in any case not the caller's.
    fn namespace(&self, kind: LinuxNamespaceType) -> Option<&'a LinuxNamespace> {
        self.namespaces().iter().find(|n| n.typ() == kind)
    }

    fn has(&self, kind: LinuxNamespaceType) -> bool {
        self.namespace(kind).is_some()
    }
}

/// The namespace to join. An empty path is none, as in Go.
fn join_path(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// A value of the config as messages show it: quoted, on one line, and not too long.
fn quoted(value: impl AsRef<Path>) -> String {
    let mut text = format!("{:?}", value.as_ref());
    if text.len() > 200 {
        text.truncate(text.floor_char_boundary(200));
        text.push_str("…\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A config without problems; tests change one thing in it.
    fn base() -> Value {
        json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]},
        })
    }

    /// JSON merge patch (RFC 7396).
    fn merge(into: &mut Value, patch: Value) {
        match (into, patch) {
            (Value::Object(into), Value::Object(patch)) => {
                for (key, value) in patch {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, patch) => *into = patch,
        }
    }

    fn spec_with(patch: Value) -> Spec {
        let mut config = base();
        merge(&mut config, patch);
        let text = config.to_string();
        crate::bundle::from_json::<Spec>("config.json", text.as_bytes()).expect("test config").0
    }

    /// What is found on a given machine, warnings marked.
    pub(super) fn found_on(host: &Host, patch: Value) -> Vec<String> {
        let shown = |p: &Problem| match p.level {
            Level::Error => format!("{}: {}", p.at, p.text),
            Level::Warning => format!("warning: {}: {}", p.at, p.text),
        };
        check(&spec_with(patch), host).iter().map(shown).collect()
    }

    /// What is found for a privileged caller.
    pub(super) fn found(patch: Value) -> Vec<String> {
        found_on(&Host::privileged(), patch)
    }

    #[test]
    fn a_sound_config_has_no_problems() {
        assert_eq!(found(json!({})), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_found_in_one_run() {
        let found = found(json!({
            "ociVersion": "2.0.0", "root": null, "hostname": "h",
            "process": {"cwd": "tmp", "args": []},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "pid"}]},
        }));
        assert_eq!(
            found,
            [
                "ociVersion: \"2.0.0\" is not supported, expected 1.x",
                "root: root must be specified",
                "process.cwd: \"tmp\" must be absolute (Cwd must be an absolute path)",
                "process.args: must not be empty (args must not be empty)",
                "hostname: unable to set hostname without a private UTS namespace",
                "linux.namespaces[2].type: duplicate \"pid\" (first at [0]): malformed spec file: duplicated ns \"pid\"",
            ]
        );
    }

    #[test]
    fn a_flood_of_problems_is_counted() {
        let env = vec!["x"; 5000];
        let found = found(json!({"process": {"env": env}}));
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found.last().map(String::as_str), Some("config.json: and 4900 more problems"));
    }

    #[test]
    fn problems_carry_a_clause() {
        let spec = spec_with(json!({"process": {"cwd": "tmp"}}));
        let text = check(&spec, &Host::privileged()).first().map(ToString::to_string);
        assert_eq!(
            text.as_deref(),
            Some("process.cwd: \"tmp\" must be absolute (Cwd must be an absolute path) [config.md#process]")
        );
    }

    proptest::proptest! {
        /// Whatever the bytes: no panic, and the same answer twice.
        #[test]
        fn any_config_is_judged(edits in proptest::collection::vec((0_usize..2000, proptest::prelude::any::<u8>()), 0..6)) {
            let mut text = serde_json::to_vec_pretty(&Spec::default()).unwrap();
            for (at, byte) in edits {
                let at = at % text.len();
                text[at] = byte;
            }
            let judge = || crate::bundle::from_json::<Spec>("c", &text).map(|(spec, w)| (check(&spec, &Host::privileged()), w));
            proptest::prop_assert_eq!(judge(), judge());
        }
    }

    #[test]
    fn values_are_quoted_briefly() {
        assert_eq!(quoted("a\n\"b"), "\"a\\n\\\"b\"");
        assert!(quoted("é".repeat(5000)).len() < 210);
    }
}
