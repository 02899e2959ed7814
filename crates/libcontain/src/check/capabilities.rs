//! Rules about `process.capabilities`: what the kernel knows, what the caller can give, what fits together.
//!
//! One problem per capability, at the first list where it is wrong: engines ask for the same capability in
//! three lists at once.

use super::{Ctx, Problems};
use crate::error::{At, Problem};
use crate::plan::process::{CapabilityMasks, known_mask, names};
use crate::spec::LinuxNamespaceType;

const CLAUSE: &str = "config.md#linux-process";

fn places(m: &CapabilityMasks) -> [(u64, &'static str); 4] {
    [
        (m.bounding, "process.capabilities.bounding"),
        (m.permitted, "process.capabilities.permitted"),
        (m.effective, "process.capabilities.effective"),
        (m.inheritable, "process.capabilities.inheritable"),
    ]
}

/// The spec wants those that this kernel lacks told and ignored.
pub(super) fn known(c: &Ctx<'_>, out: &mut Problems) {
    let Some(wanted) = c.capabilities else { return };
    let mut told = known_mask(c.host.last_cap);
    for (mask, place) in places(&wanted) {
        for name in names(mask & !told) {
            let text = format!("ignoring unknown or unavailable capabilities: [{name}]");
            out.push(Problem::warning(At::field(place), CLAUSE, text));
        }
        told |= mask;
    }
}

/// Nobody can give away what he does not have. In a user namespace of its own a process has everything.
pub(super) fn held(c: &Ctx<'_>, out: &mut Problems) {
    // Without privilege and without a user namespace nothing works anyway: another rule's.
    if c.has(LinuxNamespaceType::User) || c.host.euid != 0 {
        return;
    }
    let Some(wanted) = c.capabilities.map(|asked| asked.grantable(c.host.last_cap)) else { return };
    let mut told = 0;
    for (mask, place) in places(&wanted) {
        let (held, set) = match place {
            "process.capabilities.bounding" => (c.host.bounding, "bounding"),
            _ => (c.host.capabilities, "permitted"),
        };
        let missing = mask & !held & !told;
        for name in names(missing) {
            let text = format!("{name} cannot be granted: it is not in the caller's {set} set");
            out.push(Problem::error(At::field(place), CLAUSE, text));
        }
        told |= missing;
    }
}

/// What capset(2) refuses with EPERM whoever asks: effective ones that are not permitted, and, after the
/// bounding set has been reduced, inheritable ones that are not in it.
pub(super) fn consistent(c: &Ctx<'_>, out: &mut Problems) {
    let Some(wanted) = c.capabilities.map(|asked| asked.grantable(c.host.last_cap)) else { return };
    let m = &wanted;
    let rules = [
        (m.effective & !m.permitted, "process.capabilities.effective", "permitted"),
        (m.inheritable & !m.bounding, "process.capabilities.inheritable", "bounding"),
    ];
    for (mask, place, set) in rules {
        for name in names(mask) {
            let text = format!("{name} is not in process.capabilities.{set} as well");
            out.push(Problem::error(At::field(place), CLAUSE, text));
        }
    }
}

/// runc tells and goes on, and so do we.
pub(super) fn ambient(c: &Ctx<'_>, out: &mut Problems) {
    let Some(asked) = c.capabilities else { return };
    let refused = asked.ambient & !asked.grantable(c.host.last_cap).ambient;
    // One for all: Buildah asks for a dozen with each RUN, and its user sees them.
    let list: Vec<String> = names(refused & known_mask(c.host.last_cap)).collect();
    let (word, why) = match list.len() {
        0 => return,
        1 => ("capability", "it is"),
        _ => ("capabilities", "they are"),
    };
    let text = format!(
        "can't raise ambient {word} {}: operation not permitted, {why} not both permitted and inheritable",
        list.join(", ")
    );
    out.push(Problem::warning(At::field("process.capabilities.ambient"), CLAUSE, text));
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::Host;
    use serde_json::{Value, json};

    fn with(capabilities: Value) -> Value {
        json!({"process": {"capabilities": capabilities}})
    }

    fn without(mask: u64) -> Host {
        let all = Host::privileged();
        Host { capabilities: all.capabilities & !mask, bounding: all.bounding & !mask, ..all }
    }

    #[test]
    fn a_capability_that_the_caller_lacks() {
        let list = json!(["CAP_CHOWN", "CAP_SYS_RESOURCE"]);
        let usual = with(json!({"bounding": list, "permitted": list, "effective": list, "inheritable": list}));
        let bounding =
            "process.capabilities.bounding: CAP_SYS_RESOURCE cannot be granted: it is not in the caller's bounding set";
        assert_eq!(found_on(&without(1 << 24), usual.clone()), [bounding]);
        assert_eq!(found(usual.clone()), Vec::<String>::new());
        let permitted = Host { bounding: Host::privileged().bounding, ..without(1 << 24) };
        assert_eq!(
            found_on(&permitted, usual.clone()),
            [
                "process.capabilities.permitted: CAP_SYS_RESOURCE cannot be granted: it is not in the caller's permitted set"
            ]
        );
        let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
        let mut namespaced = usual;
        namespaced["linux"] =
            json!({"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": map, "gidMappings": map});
        assert_eq!(found_on(&without(1 << 24), namespaced), Vec::<String>::new());
        assert_eq!(found_on(&without(u64::MAX), with(json!({"bounding": []}))), Vec::<String>::new());
    }

    #[test]
    fn a_capability_that_the_kernel_lacks() {
        let old = Host { last_cap: 37, capabilities: (1 << 38) - 1, bounding: (1 << 38) - 1, ..Host::privileged() };
        let list = json!(["CAP_BPF", "CAP_CHOWN"]);
        assert_eq!(
            found_on(&old, with(json!({"bounding": list, "permitted": list, "ambient": ["CAP_BPF"]}))),
            ["warning: process.capabilities.bounding: ignoring unknown or unavailable capabilities: [CAP_BPF]"]
        );
    }

    #[test]
    fn sets_that_contradict_each_other() {
        assert_eq!(
            found(with(json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]}))),
            [
                "process.capabilities.effective: CAP_KILL is not in process.capabilities.permitted as well",
                "process.capabilities.inheritable: CAP_CHOWN is not in process.capabilities.bounding as well",
            ]
        );
    }

    #[test]
    fn ambient_needs_permitted_and_inheritable() {
        let sets = |permitted: Value, inheritable: Value| {
            with(
                json!({"bounding": ["CAP_KILL"], "permitted": permitted, "inheritable": inheritable, "ambient": ["CAP_KILL"]}),
            )
        };
        let warning = "warning: process.capabilities.ambient: can't raise ambient capability CAP_KILL: operation not permitted, it is not both permitted and inheritable";
        assert_eq!(found(sets(json!(["CAP_KILL"]), json!([]))), [warning]);
        assert_eq!(found(sets(json!([]), json!(["CAP_KILL"]))), [warning]);
        assert_eq!(found(sets(json!(["CAP_KILL"]), json!(["CAP_KILL"]))), Vec::<String>::new());
    }
}
