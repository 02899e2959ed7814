//! Rules about namespaces and id mappings.

use super::{Ctx, Problems, join_path, quoted};
use crate::error::{At, Problem};
use crate::plan::idmap::{self, Fault, Side};
use crate::spec::{LinuxIdMapping, LinuxNamespaceType};

const CLAUSE: &str = "config-linux.md#namespaces";
const OFFSETS: &str = "config-linux.md#offset-for-time-namespace";
const USER: &str = "config-linux.md#user-namespace-mappings";

/// A kind of namespace as the config names it: oci-spec's `Display` has the names of /proc/PID/ns.
fn name(kind: LinuxNamespaceType) -> &'static str {
    use LinuxNamespaceType as T;
    match kind {
        T::Cgroup => "cgroup",
        T::Ipc => "ipc",
        T::Mount => "mount",
        T::Network => "network",
        T::Pid => "pid",
        T::Time => "time",
        T::User => "user",
        T::Uts => "uts",
    }
}

pub(super) fn unique(c: &Ctx<'_>, out: &mut Problems) {
    for (i, namespace) in c.namespaces().iter().enumerate() {
        // There are eight kinds, so the first of a kind is never far.
        let first = c.namespaces().iter().position(|n| n.typ() == namespace.typ()).unwrap_or(i);
        if first < i {
            let kind = name(namespace.typ());
            let text =
                format!("duplicate \"{kind}\" (first at [{first}]): malformed spec file: duplicated ns \"{kind}\"");
            out.push(Problem::error(At::item("linux.namespaces[#].type", i), CLAUSE, text));
        }
    }
}

pub(super) fn paths(c: &Ctx<'_>, out: &mut Problems) {
    for (i, namespace) in c.namespaces().iter().enumerate() {
        if let Some(path) = join_path(namespace).filter(|path| !path.is_absolute()) {
            let text = format!("{} must be absolute", quoted(path));
            out.push(Problem::error(At::item("linux.namespaces[#].path", i), CLAUSE, text));
        }
    }
}

pub(super) fn supported(c: &Ctx<'_>, out: &mut Problems) {
    for (i, namespace) in c.namespaces().iter().enumerate() {
        let there = match namespace.typ() {
            LinuxNamespaceType::Time => c.host.has_time_namespace,
            LinuxNamespaceType::User => c.host.has_user_namespace,
            _ => true,
        };
        if !there {
            let text = format!("{} namespaces aren't enabled in the kernel", name(namespace.typ()));
            out.push(Problem::error(At::item("linux.namespaces[#].type", i), CLAUSE, text));
        }
    }
}

/// Whoever is not root can only make namespaces inside a user namespace of his own.
pub(super) fn rootless(c: &Ctx<'_>, out: &mut Problems) {
    if c.host.euid == 0 {
        return;
    }
    match c.namespace(LinuxNamespaceType::User) {
        None => {
            let text = "rootless container requires user namespaces, expected an entry of type \"user\"";
            out.push(Problem::error(At::field("linux.namespaces"), CLAUSE, text));
        }
        Some(namespace) if join_path(namespace).is_none() => {
            for (list, kind, _) in lists(c).into_iter().filter(|(_, _, mappings)| mappings.is_empty()) {
                let text = format!("rootless containers requires at least one {} mapping", kind.to_uppercase());
                out.push(Problem::error(At::field(list), USER, text));
            }
        }
        Some(_) => {}
    }
}

/// The two mapping lists: place, kind of id, list.
fn lists<'a>(c: &Ctx<'a>) -> [(&'static str, &'static str, &'a [LinuxIdMapping]); 2] {
    let linux = c.linux();
    let uid = linux.and_then(|l| l.uid_mappings().as_deref()).unwrap_or_default();
    let gid = linux.and_then(|l| l.gid_mappings().as_deref()).unwrap_or_default();
    [("linux.uidMappings", "uid", uid), ("linux.gidMappings", "gid", gid)]
}

pub(super) fn mappings_wanted(c: &Ctx<'_>, out: &mut Problems) {
    let new = c.namespace(LinuxNamespaceType::User).is_some_and(|n| join_path(n).is_none());
    if !new || c.host.euid != 0 {
        return;
    }
    for (list, _, _) in lists(c).into_iter().filter(|(_, _, mappings)| mappings.is_empty()) {
        let text = "user namespaces enabled, but no namespace path to join nor mappings to apply specified";
        out.push(Problem::error(At::field(list), USER, text));
    }
}

pub(super) fn mappings_used(c: &Ctx<'_>, out: &mut Problems) {
    let user = c.namespace(LinuxNamespaceType::User);
    let mut given = lists(c).into_iter().filter(|(_, _, mappings)| !mappings.is_empty());
    if user.is_none() {
        for (list, _, _) in given {
            let text = "user namespace mappings specified, but user namespace isn't enabled in the config";
            out.push(Problem::error(At::field(list), USER, text));
        }
    } else if user.and_then(join_path).is_some()
        && let Some((list, _, _)) = given.next()
    {
        // That they match is found out when the namespace has been joined.
        let text = "config.json has both a userns path to join and a matching userns mapping specified -- you may only \
                    provide one";
        out.push(Problem::warning(At::field(list), USER, text));
    }
}

pub(super) fn mappings_valid(c: &Ctx<'_>, out: &mut Problems) {
    for (list, kind, mappings) in lists(c) {
        for fault in idmap::faults(mappings) {
            let at = match (kind, fault) {
                (_, Fault::TooLong) => At::field(list),
                ("uid", Fault::Empty(i)) => At::item("linux.uidMappings[#].size", i),
                (_, Fault::Empty(i)) => At::item("linux.gidMappings[#].size", i),
                ("uid", Fault::Overruns(i, Side::Container) | Fault::Overlaps(i, _, Side::Container)) => {
                    At::item("linux.uidMappings[#].containerID", i)
                }
                ("uid", Fault::Overruns(i, Side::Host) | Fault::Overlaps(i, _, Side::Host)) => {
                    At::item("linux.uidMappings[#].hostID", i)
                }
                (_, Fault::Overruns(i, Side::Container) | Fault::Overlaps(i, _, Side::Container)) => {
                    At::item("linux.gidMappings[#].containerID", i)
                }
                (_, Fault::Overruns(i, Side::Host) | Fault::Overlaps(i, _, Side::Host)) => {
                    At::item("linux.gidMappings[#].hostID", i)
                }
            };
            out.push(Problem::error(at, USER, fault.to_string()));
        }
    }
}

/// Everything that is set up before the program runs is set up as the container's root.
pub(super) fn root_mapped(c: &Ctx<'_>, out: &mut Problems) {
    if c.namespace(LinuxNamespaceType::User).is_none_or(|n| join_path(n).is_some()) {
        return;
    }
    for (list, kind, mappings) in lists(c) {
        if !mappings.is_empty() && idmap::host_root(mappings).is_none() {
            let text = format!("user namespaces enabled, but no mapping found for {kind} 0");
            out.push(Problem::error(At::field(list), USER, text));
        }
    }
}

pub(super) fn time_offsets(c: &Ctx<'_>, out: &mut Problems) {
    let offsets = c.linux().and_then(|l| l.time_offsets().as_ref()).filter(|offsets| !offsets.is_empty());
    let Some(offsets) = offsets else { return };
    let at = At::field("linux.timeOffsets");
    let mut clocks: Vec<_> = offsets.iter().collect();
    clocks.sort_unstable_by_key(|(clock, _)| *clock);
    for (clock, offset) in clocks {
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            let text = format!("{}: no clock that a time namespace shifts (monotonic, boottime)", quoted(clock));
            out.push(Problem::error(at, OFFSETS, text));
        }
        if let Some(nanosecs) = offset.nanosecs().filter(|n| *n > 999_999_999) {
            let text = format!("{}: nanosecs {nanosecs} is a second or more", quoted(clock));
            out.push(Problem::error(at, OFFSETS, text));
        }
    }
    let text = match c.namespace(LinuxNamespaceType::Time) {
        None => "time namespace offsets specified, but time namespace isn't enabled in the config",
        Some(namespace) if join_path(namespace).is_some() => {
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
        }
        Some(_) => return,
    };
    out.push(Problem::error(at, OFFSETS, text));
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::Host;
    use serde_json::{Value, json};

    /// A config with a user namespace and these lists for both kinds of id.
    fn mapped(path: &str, mappings: Value) -> Value {
        json!({"linux": {
            "namespaces": [{"type": "mount"}, {"type": "user", "path": path}],
            "uidMappings": mappings, "gidMappings": mappings,
        }})
    }

    fn one(container: u32, host: u32, size: u32) -> Value {
        json!({"containerID": container, "hostID": host, "size": size})
    }

    #[test]
    fn each_kind_once() {
        let all = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"];
        let list: Vec<Value> = all.iter().chain(&all).map(|kind| json!({"type": kind, "path": "/x"})).collect();
        let expected: Vec<String> = all
            .iter()
            .enumerate()
            .map(|(i, kind)| {
                let at = i + all.len();
                format!("linux.namespaces[{at}].type: duplicate \"{kind}\" (first at [{i}]): malformed spec file: duplicated ns \"{kind}\"")
            })
            .collect();
        assert_eq!(found(json!({"linux": {"namespaces": list}})), expected);
    }

    #[test]
    fn paths_to_join() {
        let list = json!([{"type": "pid", "path": "proc/1/ns/pid"}, {"type": "ipc", "path": ""}, {"type": "uts", "path": "/x"}]);
        assert_eq!(
            found(json!({"linux": {"namespaces": list}})),
            ["linux.namespaces[0].path: \"proc/1/ns/pid\" must be absolute"]
        );
    }

    #[test]
    fn kernels_without_some_kinds() {
        let old = Host { has_time_namespace: false, has_user_namespace: false, ..Host::privileged() };
        let list = json!([{"type": "mount"}, {"type": "cgroup"}, {"type": "time"}, {"type": "user", "path": "/x"}]);
        let patch = json!({"linux": {"namespaces": list}});
        assert_eq!(
            found_on(&old, patch.clone()),
            [
                "linux.namespaces[2].type: time namespaces aren't enabled in the kernel",
                "linux.namespaces[3].type: user namespaces aren't enabled in the kernel",
            ]
        );
        assert_eq!(found(patch), Vec::<String>::new());
    }

    #[test]
    fn callers_without_privilege() {
        let user = Host { euid: 1000, capabilities: 0, ..Host::privileged() };
        let caps = json!({"process": {"capabilities": {"permitted": ["CAP_KILL"]}}});
        assert_eq!(
            found_on(&user, caps),
            ["linux.namespaces: rootless container requires user namespaces, expected an entry of type \"user\""]
        );
        assert_eq!(
            found_on(&user, mapped("", json!([]))),
            [
                "linux.uidMappings: rootless containers requires at least one UID mapping",
                "linux.gidMappings: rootless containers requires at least one GID mapping",
            ]
        );
        assert_eq!(found_on(&user, mapped("", json!([one(0, 1000, 1)]))), Vec::<String>::new());
        assert_eq!(found_on(&user, mapped("/ns", json!([]))), Vec::<String>::new());
    }

    #[test]
    fn mappings_and_user_namespaces_go_together() {
        let text = "user namespaces enabled, but no namespace path to join nor mappings to apply specified";
        assert_eq!(
            found(mapped("", json!([]))),
            [format!("linux.uidMappings: {text}"), format!("linux.gidMappings: {text}")]
        );
        let text = "user namespace mappings specified, but user namespace isn't enabled in the config";
        let patch = json!({"linux": {"uidMappings": [one(0, 1, 1)]}});
        assert_eq!(found(patch), [format!("linux.uidMappings: {text}")]);
        let text = "config.json has both a userns path to join and a matching userns mapping specified -- you may only \
                    provide one";
        assert_eq!(found(mapped("/ns", json!([one(0, 1, 1)]))), [format!("warning: linux.uidMappings: {text}")]);
        assert_eq!(found(mapped("", json!([one(0, 1, 1)]))), Vec::<String>::new());
    }

    #[test]
    fn mappings_that_the_kernel_refuses() {
        let both = |member: &str, text: &str| {
            [format!("linux.uidMappings{member}: {text}"), format!("linux.gidMappings{member}: {text}")]
        };
        let table = [
            (vec![one(0, 0, 1), one(5, 5, 0)], both("[1].size", "size must be at least 1")),
            (
                vec![one(0, 1, 1), one(1, 2, u32::MAX - 1)],
                both("[1].hostID", "hostID and size run over 4294967294, the largest id"),
            ),
            (
                vec![one(0, 1, 1), one(2, 2, u32::MAX - 1)],
                both("[1].containerID", "containerID and size run over 4294967294, the largest id"),
            ),
            (vec![one(0, 10, 5), one(4, 100, 1)], both("[1].containerID", "containerID range overlaps that of [0]")),
            (vec![one(0, 10, 5), one(5, 14, 1)], both("[1].hostID", "hostID range overlaps that of [0]")),
        ];
        for (list, expected) in table {
            let found: Vec<String> =
                found(mapped("", json!(list))).into_iter().filter(|text| expected.contains(text)).collect();
            assert_eq!(found, expected);
        }
        let many: Vec<Value> = (0..341).map(|i| one(i, i, 1)).collect();
        assert!(
            found(mapped("", json!(many)))[0].starts_with("linux.uidMappings: the kernel takes at most 340 mappings")
        );
    }

    #[test]
    fn the_containers_root_is_mapped() {
        let text = "user namespaces enabled, but no mapping found for";
        let mut patch = mapped("", json!([one(1, 1, 10)]));
        patch["process"] = json!({"user": {"uid": 1, "gid": 1}});
        assert_eq!(
            found(patch),
            [format!("linux.uidMappings: {text} uid 0"), format!("linux.gidMappings: {text} gid 0")]
        );
    }

    #[test]
    fn offsets_need_a_new_time_namespace() {
        let with = |namespaces: Value| {
            found(json!({"linux": {"timeOffsets": {"boottime": {"secs": 1}}, "namespaces": namespaces}}))
        };
        assert_eq!(
            with(json!([{"type": "mount"}])),
            ["linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config"]
        );
        assert_eq!(
            with(json!([{"type": "time", "path": "/ns"}])),
            [
                "linux.timeOffsets: time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
            ]
        );
        assert_eq!(with(json!([{"type": "time"}])), Vec::<String>::new());
        assert_eq!(
            found(json!({"linux": {
                "timeOffsets": {"realtime": {"secs": 1}, "monotonic": {"nanosecs": 1_000_000_000}},
                "namespaces": [{"type": "time"}],
            }})),
            [
                "linux.timeOffsets: \"monotonic\": nanosecs 1000000000 is a second or more",
                "linux.timeOffsets: \"realtime\": no clock that a time namespace shifts (monotonic, boottime)"
            ]
        );
    }
}
