//! Rules about `linux.netDevices`: names that the kernel would refuse, and who may move devices where.

use std::collections::HashMap;

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::spec::LinuxNamespaceType;

const AT: At = At::field("linux.netDevices");
const CLAUSE: &str = "config-linux.md#network-devices";

/// Longest name of a device: `IFNAMSIZ` without the NUL.
const LONGEST: usize = 15;

pub(super) fn devices(c: &Ctx<'_>, out: &mut Problems) {
    let Some(devices) = c.linux().and_then(|l| l.net_devices().as_ref()).filter(|d| !d.is_empty()) else { return };
    let mut refuse = |text: String| out.push(Problem::error(AT, CLAUSE, text));
    if !c.has(LinuxNamespaceType::Network) {
        refuse("unable to move network devices without a NET namespace".into());
    }
    if c.host.euid != 0 || c.host.rootless_cgroups {
        refuse("network devices are not supported for rootless containers".into());
    }
    // A map has no order, problems should have one.
    let mut sorted: Vec<_> = devices.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for (name, device) in sorted {
        let target = device.name().as_deref().filter(|target| !target.is_empty());
        for wrong in [Some(name.as_str()), target].into_iter().flatten().filter(|name| !is_valid(name)) {
            refuse(format!("invalid network device name {}", quoted(wrong)));
        }
        if target.is_some_and(|target| !is_plain_or_template(target)) || (target.is_none() && name.contains('%')) {
            let text = format!("invalid network device name {}", quoted(target.unwrap_or(name)));
            refuse(format!("{text}: a % is for one %d, where the kernel puts a number"));
        }
        let target = target.unwrap_or(name);
        if target.contains('%') {
            continue; // each gets a number of its own
        }
        if let Some(other) = taken.insert(target, name) {
            let (other, name, target) = (quoted(other), quoted(name), quoted(target));
            refuse(format!("network devices {other} and {name} would both be called {target}"));
        }
    }
}

/// What the kernel takes for a name (`dev_valid_name`).
fn is_valid(name: &str) -> bool {
    let wrong = |c: char| matches!(c, '/' | ':' | '\0' | '\x0b') || c.is_ascii_whitespace();
    !name.is_empty() && name.len() <= LONGEST && !matches!(name, "." | "..") && !name.contains(wrong)
}

fn is_plain_or_template(name: &str) -> bool {
    name.matches('%').count() == name.matches("%d").count() && name.matches('%').count() < 2
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::Host;
    use serde_json::{Value, json};

    fn devices(devices: Value) -> Vec<String> {
        found(json!({"linux": {"netDevices": devices}}))
    }

    #[test]
    fn names() {
        for name in ["eth0", "0123456789abcde", "a.b", "...", "ä", "x@y-z_1"] {
            assert_eq!(devices(json!({name: {}})), Vec::<String>::new(), "{name}");
            assert_eq!(devices(json!({"e": {"name": name}})), Vec::<String>::new(), "{name}");
        }
        for name in [".", "..", "a/b", "a:b", "a b", "a\tb", "a\nb", "a\u{b}b", "0123456789abcdef", "a\0b"] {
            let expected = format!("linux.netDevices: invalid network device name {name:?}");
            assert_eq!(devices(json!({name: {"name": "x"}}))[0], expected);
            assert_eq!(devices(json!({"e": {"name": name}}))[0], expected);
        }
        assert_eq!(devices(json!({"": {"name": "x"}})), ["linux.netDevices: invalid network device name \"\""]);
        assert_eq!(devices(json!({"e": {"name": ""}, "f": {"name": null}})), Vec::<String>::new());
    }

    #[test]
    fn templates_and_doubles() {
        let percent = "a % is for one %d, where the kernel puts a number";
        let table = [
            (json!({"a": {"name": "eth%d"}, "b": {"name": "eth%d"}}), String::new()),
            (json!({"a%d": {"name": "x"}}), String::new()),
            (json!({"a": {"name": "e%d%d"}}), format!("invalid network device name \"e%d%d\": {percent}")),
            (json!({"a": {"name": "e%s"}}), format!("invalid network device name \"e%s\": {percent}")),
            (json!({"a": {"name": "e%"}}), format!("invalid network device name \"e%\": {percent}")),
            (json!({"a%d": {}}), format!("invalid network device name \"a%d\": {percent}")),
            (
                json!({"b": {"name": "x"}, "a": {"name": "x"}}),
                "network devices \"a\" and \"b\" would both be called \"x\"".into(),
            ),
            (json!({"a": {}, "b": {"name": "a"}}), "network devices \"a\" and \"b\" would both be called \"a\"".into()),
            (json!({"a": {"name": "b"}, "b": {"name": "a"}}), String::new()),
        ];
        for (patch, expected) in table {
            let expected = if expected.is_empty() { vec![] } else { vec![format!("linux.netDevices: {expected}")] };
            assert_eq!(devices(patch.clone()), expected, "{patch}");
        }
    }

    #[test]
    fn who_and_where() {
        let mount_only = json!({"linux": {"netDevices": {"a": {}}, "namespaces": [{"type": "mount"}]}});
        assert_eq!(found(mount_only), ["linux.netDevices: unable to move network devices without a NET namespace"]);
        let rootless = "linux.netDevices: network devices are not supported for rootless containers";
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let with_user = json!({"linux": {
            "netDevices": {"a": {}},
            "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "user"}, {"type": "uts"}],
            "uidMappings": map, "gidMappings": map,
        }});
        let nobody = Host { euid: 1000, capabilities: 0, rootless_cgroups: true, ..Host::privileged() };
        let nested = Host { user_namespace: true, rootless_cgroups: true, ..Host::privileged() };
        for host in [nobody, nested] {
            assert!(found_on(&host, with_user.clone()).contains(&rootless.to_owned()));
        }
        let none = json!({"linux": {"netDevices": {}, "namespaces": [{"type": "mount"}]}});
        assert_eq!(found(none), Vec::<String>::new());
    }
}
