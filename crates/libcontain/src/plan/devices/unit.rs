//! The device policy in the words of systemd: `DevicePolicy=` and `DeviceAllow=`.
//!
//! systemd applies them when the unit is made and again whenever it likes (`daemon-reload`). On v1 it writes the files
//! that we write too, so where it cannot say what the policy says it has to say less: then nothing that is forbidden is
//! ever allowed. On v2 its program stands beside ours and both have to say yes, so there it may say more, and never less:
//! ours decides.
//!
//! Must not enter: which devices the machine has.

use super::{Access, Exception, Kind, Policy};
use crate::plan::systemd::Value;

/// Since then `char-5` means a major number; before, names of /proc/devices only, which are not known here.
const MAJORS_SINCE: u32 = 240;

/// The properties by name, in order, and what could not be said. The list is emptied first: setting it adds to it.
pub(crate) fn properties(policy: &Policy, v2: bool, version: u32) -> (Vec<(&'static str, Value)>, Vec<String>) {
    let list = |entries: Vec<Value>| ("DeviceAllow", Value::Array("(ss)".to_owned(), entries));
    let rule = |name: &'static str| ("DevicePolicy", Value::Text(name.to_owned()));
    if policy.allow {
        if policy.exceptions.is_empty() {
            return (vec![rule("auto"), list(vec![])], vec![]);
        }
        let warning = "systemd cannot allow all devices but some";
        let (name, rest) = if v2 { ("auto", "it allows all") } else { ("strict", "it allows none") };
        return (
            vec![rule(name), list(vec![])],
            vec![format!("{warning}: {rest}, until the rules are set in the cgroup")],
        );
    }
    let (mut entries, mut warnings) = (Vec::<(String, Access)>::new(), Vec::new());
    for exception in &policy.exceptions {
        let Some(node) = node(exception, version).or_else(|| v2.then(|| all(exception))) else {
            warnings.push(format!("systemd cannot express the rule [{exception}]: it is set in the cgroup only"));
            continue;
        };
        // systemd keeps one entry for each node, and of two the last.
        match entries.iter_mut().find(|(other, _)| *other == node) {
            Some((_, access)) => *access = access.union(exception.access),
            None => entries.push((node, exception.access)),
        }
    }
    let entry =
        |(node, access): (String, Access)| Value::Struct(vec![Value::Text(node), Value::Text(access.to_string())]);
    (vec![rule("strict"), list(vec![]), list(entries.into_iter().map(entry).collect())], warnings)
}

fn word(kind: Kind) -> &'static str {
    if kind == Kind::Block { "block" } else { "char" }
}

fn all(exception: &Exception) -> String {
    format!("{}-*", word(exception.kind))
}

/// The device or the group of devices, if systemd has a word for it.
fn node(exception: &Exception, version: u32) -> Option<String> {
    const PSEUDO_TERMINALS: (Kind, u32) = (Kind::Char, 136);
    let kind = word(exception.kind);
    match (exception.major, exception.minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) if version >= MAJORS_SINCE => Some(format!("{kind}-{major}")),
        (Some(major), None) if (exception.kind, major) == PSEUDO_TERMINALS => Some("char-pts".to_owned()),
        (None, None) => Some(all(exception)),
        (Some(_) | None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(policy: &Policy, v2: bool, version: u32) -> (String, Vec<String>) {
        let (properties, warnings) = properties(policy, v2, version);
        let text: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (text.join(" "), warnings)
    }

    fn allow(exceptions: Vec<Exception>) -> Policy {
        Policy { allow: false, exceptions }
    }

    fn device(kind: Kind, major: Option<u32>, minor: Option<u32>) -> Exception {
        Exception { kind, major, minor, access: Access::READ }
    }

    #[test]
    fn every_form_of_a_rule() {
        use Kind::{Block, Char};
        let cases = [
            (device(Char, Some(1), Some(3)), 239, Some("/dev/char/1:3")),
            (device(Block, Some(8), Some(0)), 257, Some("/dev/block/8:0")),
            (device(Char, Some(136), None), 257, Some("char-136")),
            (device(Char, Some(136), None), 239, Some("char-pts")),
            (device(Block, Some(136), None), 239, None),
            (device(Block, Some(8), None), 240, Some("block-8")),
            (device(Char, None, None), 239, Some("char-*")),
            (device(Block, None, None), 239, Some("block-*")),
            (device(Char, None, Some(7)), 257, None),
        ];
        for (exception, version, expected) in cases {
            let strict = "DevicePolicy=strict DeviceAllow=[]";
            let (text, warnings) = shown(&allow(vec![exception]), false, version);
            let list = expected.map_or("[]".to_owned(), |node| format!("[({node}, r)]"));
            assert_eq!(text, format!("{strict} DeviceAllow={list}"), "{exception}");
            assert_eq!(warnings.len(), usize::from(expected.is_none()), "{exception}: {warnings:?}");
            // Never less than the policy on v2, where our own program stands beside it.
            let wide = if exception.kind == Block { "block-*" } else { "char-*" };
            let (text, warnings) = shown(&allow(vec![exception]), true, version);
            assert_eq!(text, format!("{strict} DeviceAllow=[({}, r)]", expected.unwrap_or(wide)), "{exception}");
            assert!(warnings.is_empty());
        }
    }

    /// systemd would keep the last word about a node alone.
    #[test]
    fn a_node_has_one_entry() {
        let nodes = |access| Exception { access, ..device(Kind::Char, None, None) };
        let policy = allow(vec![device(Kind::Char, None, Some(7)), nodes(Access::MKNOD), nodes(Access::WRITE)]);
        assert_eq!(shown(&policy, true, 257).0, "DevicePolicy=strict DeviceAllow=[] DeviceAllow=[(char-*, rwm)]");
    }

    #[test]
    fn what_is_allowed_by_default() {
        let all = Policy { allow: true, exceptions: vec![] };
        for v2 in [false, true] {
            assert_eq!(shown(&all, v2, 257), ("DevicePolicy=auto DeviceAllow=[]".to_owned(), vec![]));
        }
        let but_one = Policy { allow: true, exceptions: vec![device(Kind::Char, Some(1), Some(3))] };
        for (v2, policy) in [(false, "strict"), (true, "auto")] {
            let (text, warnings) = shown(&but_one, v2, 257);
            assert_eq!((text, warnings.len()), (format!("DevicePolicy={policy} DeviceAllow=[]"), 1));
        }
    }
}
