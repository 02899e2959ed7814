//! Rules about `linux.sysctl`: only what belongs to a namespace of the container may be set.
//!
//! A key ends up as a path below /proc/sys, and a value as the content of a file there, so both are taken
//! apart before anything is compared: `net.//.kernel.core_pattern` is no network setting.

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::spec::LinuxNamespaceType;
use std::collections::HashMap;

const AT: At = At::field("linux.sysctl");
const CLAUSE: &str = "config-linux.md#sysctl";

/// Settings below `kernel` that belong to the IPC namespace.
const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// The path below /proc/sys that a key names, as sysctl.d(5) has it: if the first separator is a dot, slashes
/// stand for dots in names (`net.ipv4.conf.eth0/1.rp_filter`); if it is a slash, the key is the path.
///
/// # Errors
/// What is wrong with a key that names no file below /proc/sys.
pub fn path(key: &str) -> Result<String, &'static str> {
    let path = match key.find(['.', '/']) {
        Some(first) if key.get(first..).is_some_and(|rest| rest.starts_with('.')) => {
            key.chars().map(swap_separators).collect()
        }
        _ => key.to_owned(),
    };
    if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("holds a blank or control character");
    }
    if path.split('/').any(str::is_empty) {
        return Err("has an empty part");
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err("has a part that is \".\" or \"..\"");
    }
    Ok(path)
}

fn swap_separators(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

pub(super) fn keys(c: &Ctx<'_>, out: &mut Problems) {
    let Some(sysctl) = c.linux().and_then(|l| l.sysctl().as_ref()) else { return };
    // A map has no order, problems should have one.
    let mut entries: Vec<(&String, &String)> = sysctl.iter().collect();
    entries.sort_unstable();
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (key, value) in entries {
        match path(key) {
            Err(fault) => out.push(Problem::error(AT, CLAUSE, format!("key {} {fault}", quoted(key)))),
            Ok(path) => {
                if let Some(text) = refusal(c, key, &path) {
                    out.push(Problem::error(AT, CLAUSE, text));
                }
                if let Some(before) = seen.insert(path, key) {
                    let text = format!("keys {} and {} are the same setting", quoted(before), quoted(key));
                    out.push(Problem::error(AT, CLAUSE, text));
                }
            }
        }
        if value.contains(['\n', '\r', '\0']) {
            let text = format!("value {} of {} must be one line without nul bytes", quoted(value), quoted(key));
            out.push(Problem::error(AT, CLAUSE, text));
        }
    }
}

/// Why a setting may not be made: mostly because it would be made for the host.
fn refusal(c: &Ctx<'_>, key: &str, path: &str) -> Option<String> {
    match namespace(path) {
        Some(kind) if c.has(kind) => None,
        kind => Some(refused(key, path, kind)),
    }
}

/// The kind of namespace that a setting belongs to, by its path below /proc/sys.
pub(crate) fn namespace(path: &str) -> Option<LinuxNamespaceType> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match (first, rest) {
        ("kernel", name) if IPC.contains(&name) => Some(LinuxNamespaceType::Ipc),
        ("fs", name) if name.starts_with("mqueue/") => Some(LinuxNamespaceType::Ipc),
        ("net", name) if !name.is_empty() => Some(LinuxNamespaceType::Network),
        ("user", name) if !name.is_empty() => Some(LinuxNamespaceType::User),
        ("kernel", "domainname") => Some(LinuxNamespaceType::Uts),
        _ => None,
    }
}

/// What is said of a setting without a namespace of its kind.
pub(crate) fn refused(key: &str, path: &str, kind: Option<LinuxNamespaceType>) -> String {
    let quoted = quoted(key);
    match kind {
        Some(LinuxNamespaceType::Ipc) => format!("sysctl {quoted} is not allowed in the hosts ipc namespace"),
        Some(LinuxNamespaceType::Network) => format!("sysctl {quoted} not allowed in host network namespace"),
        Some(LinuxNamespaceType::User) => {
            format!("setting ucounts without a user namespace not allowed: {}", quoted.trim_matches('"'))
        }
        _ if path == "kernel/hostname" => {
            format!("sysctl {quoted} is not allowed as it conflicts with the OCI \"hostname\" field")
        }
        _ => format!("sysctl {quoted} is not in a separate kernel namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::path;
    use serde_json::{Value, json};

    fn with(key: &str, value: &str, namespaces: &[&str]) -> Vec<String> {
        let list: Vec<Value> = namespaces.iter().map(|kind| json!({"type": kind, "path": "/ns"})).collect();
        found(json!({"linux": {"sysctl": {key: value}, "namespaces": list}}))
    }

    #[test]
    fn keys_name_paths() {
        let table = [
            ("net.ipv4.ip_forward", Ok("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Ok("net/ipv4/ip_forward")),
            ("net.ipv4.conf.eth0/1.rp_filter", Ok("net/ipv4/conf/eth0.1/rp_filter")),
            ("net/ipv4/conf/eth0.1/rp_filter", Ok("net/ipv4/conf/eth0.1/rp_filter")),
            ("core_pattern", Ok("core_pattern")),
            ("", Err("has an empty part")),
            ("net.", Err("has an empty part")),
            (".net.x", Err("has an empty part")),
            ("/net/x", Err("has an empty part")),
            ("net..ipv4", Err("has an empty part")),
            ("net/../kernel/core_pattern", Err("has a part that is \".\" or \"..\"")),
            ("net.//.kernel.core_pattern", Err("has a part that is \".\" or \"..\"")),
            ("net././x", Err("has a part that is \".\" or \"..\"")),
            ("net/./x", Err("has a part that is \".\" or \"..\"")),
            ("net.ipv4\0.x", Err("holds a blank or control character")),
            ("net.ipv4.x\nkernel", Err("holds a blank or control character")),
            ("net.a b", Err("holds a blank or control character")),
        ];
        for (key, expected) in table {
            assert_eq!(path(key), expected.map(str::to_owned), "{key:?}");
        }
    }

    #[test]
    fn settings_need_their_namespace() {
        let ipc = "linux.sysctl: sysctl \"@\" is not allowed in the hosts ipc namespace";
        let net = "linux.sysctl: sysctl \"@\" not allowed in host network namespace";
        let none = "linux.sysctl: sysctl \"@\" is not in a separate kernel namespace";
        let user = "linux.sysctl: setting ucounts without a user namespace not allowed: @";
        let host = "linux.sysctl: sysctl \"@\" is not allowed as it conflicts with the OCI \"hostname\" field";
        let all = ["ipc", "network", "uts", "user", "pid", "mount"];
        // key, namespace that allows it, refusal without
        let table = [
            ("kernel.msgmax", "ipc", ipc),
            ("kernel.msgmnb", "ipc", ipc),
            ("kernel.msgmni", "ipc", ipc),
            ("kernel.sem", "ipc", ipc),
            ("kernel.shmall", "ipc", ipc),
            ("kernel.shmmax", "ipc", ipc),
            ("kernel.shmmni", "ipc", ipc),
            ("kernel/shm_rmid_forced", "ipc", ipc),
            ("fs.mqueue.msg_max", "ipc", ipc),
            ("net.ipv4.ip_forward", "network", net),
            ("net/core/somaxconn", "network", net),
            ("kernel.domainname", "uts", none),
            ("user.max_pid_namespaces", "user", user),
            ("kernel.hostname", "", host),
            ("kernel.core_pattern", "", none),
            ("kernel.shmmax.x", "", none),
            ("vm.swappiness", "", none),
            ("fs.mqueuex", "", none),
            ("network.x", "", none),
            ("net", "", none),
        ];
        for (key, namespace, refusal) in table {
            let refusal = refusal.replace('@', key);
            let others: Vec<&str> = all.into_iter().filter(|kind| *kind != namespace).collect();
            assert_eq!(with(key, "1", &others), std::slice::from_ref(&refusal), "{key}");
            let expected = if namespace.is_empty() { vec![refusal] } else { vec![] };
            assert_eq!(with(key, "1", &all), expected, "{key}");
        }
    }

    #[test]
    fn hostile_keys_and_values() {
        assert_eq!(
            with("net.//.kernel.core_pattern", "|/x", &["network"]),
            ["linux.sysctl: key \"net.//.kernel.core_pattern\" has a part that is \".\" or \"..\""]
        );
        for value in ["1\n2", "1\0", "1\r"] {
            let expected = format!("linux.sysctl: value {value:?} of \"net.x\" must be one line without nul bytes");
            assert_eq!(with("net.x", value, &["network"]), [expected]);
        }
        assert_eq!(with("net.ipv4.ping_group_range", "0 2147483647", &["network"]), Vec::<String>::new());
        assert_eq!(
            found(json!({"linux": {"sysctl": {"net.a.b": "1", "net/a/b": "2"}}})),
            ["linux.sysctl: keys \"net.a.b\" and \"net/a/b\" are the same setting"]
        );
    }
}
