//! Rules about the top level: version, root, names, hooks, annotations.

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::spec::{Hook, Hooks, LinuxNamespaceType};

/// Longest host or domain name; `__NEW_UTS_LEN` of the kernel.
const NAME_MAX: usize = 64;

pub(super) fn oci_version(c: &Ctx<'_>, out: &mut Problems) {
    let version = c.spec.version();
    let text = match major(version) {
        _ if version.is_empty() => "must be given, such as \"1.2.0\"".to_owned(),
        None => format!("{} is not a version of SemVer 2.0.0, expected one such as \"1.2.0\"", quoted(version)),
        Some("1") => return,
        Some(_) => format!("{} is not supported, expected 1.x", quoted(version)),
    };
    out.push(Problem::error(At::field("ociVersion"), "config.md#specification-version", text));
}

/// The major version, if the whole is a semantic version.
fn major(version: &str) -> Option<&str> {
    let (version, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s == "0" || !s.starts_with('0'));
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let pre_word = |s: &str| word(s) && (number(s) || !s.bytes().all(|b| b.is_ascii_digit()));
    let numbers: Vec<&str> = core.split('.').collect();
    let sound = numbers.len() == 3
        && numbers.iter().all(|s| number(s))
        && pre.is_none_or(|p| p.split('.').all(pre_word))
        && build.is_none_or(|b| b.split('.').all(word));
    numbers.first().copied().filter(|_| sound)
}

pub(super) fn root(c: &Ctx<'_>, out: &mut Problems) {
    let clause = "config.md#root";
    match c.spec.root() {
        None => out.push(Problem::error(At::field("root"), clause, "root must be specified")),
        Some(root) if root.path().as_os_str().is_empty() => {
            out.push(Problem::error(At::field("root.path"), clause, "must not be empty (root must be specified)"));
        }
        Some(_) => {}
    }
}

pub(super) fn hostname(c: &Ctx<'_>, out: &mut Problems) {
    let names = [("hostname", c.spec.hostname()), ("domainname", c.spec.domainname())];
    for (member, name) in names {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        let clause = "config.md#hostname";
        if !c.has(LinuxNamespaceType::Uts) {
            let text = format!("unable to set {member} without a private UTS namespace");
            out.push(Problem::error(At::field(member), clause, text));
        }
        if name.len() > NAME_MAX {
            let text = format!("{} has {} bytes, the kernel takes at most {NAME_MAX}", quoted(name), name.len());
            out.push(Problem::error(At::field(member), clause, text));
        }
    }
}

/// What is made or changed in the container's own mount namespace, and would be the host's without one. (Mounts
/// and a read-only root: plan; masked and read-only paths have runc's words: `mounts`.)
pub(super) fn mount_namespace(c: &Ctx<'_>, out: &mut Problems) {
    if c.has(LinuxNamespaceType::Mount) {
        return;
    }
    let devices = c.linux().and_then(|l| l.devices().as_ref()).is_some_and(|list| !list.is_empty());
    let propagation = c.linux().and_then(|l| l.rootfs_propagation().as_ref()).is_some_and(|word| !word.is_empty());
    let table = [
        ("linux.devices", devices, "config-linux.md#devices"),
        ("linux.rootfsPropagation", propagation, "config-linux.md#rootfs-mount-propagation"),
    ];
    for (place, _, clause) in table.into_iter().filter(|(_, asked, _)| *asked) {
        out.push(Problem::error(
            At::field(place),
            clause,
            "needs a mount namespace: without one it would be the host's",
        ));
    }
}

/// Lists of hooks with the places of their members.
struct Kind {
    path: &'static str,
    timeout: &'static str,
    list: fn(&Hooks) -> &Option<Vec<Hook>>,
}

const KINDS: [Kind; 6] = [
    Kind { path: "hooks.prestart[#].path", timeout: "hooks.prestart[#].timeout", list: Hooks::prestart },
    Kind {
        path: "hooks.createRuntime[#].path",
        timeout: "hooks.createRuntime[#].timeout",
        list: Hooks::create_runtime,
    },
    Kind {
        path: "hooks.createContainer[#].path",
        timeout: "hooks.createContainer[#].timeout",
        list: Hooks::create_container,
    },
    Kind {
        path: "hooks.startContainer[#].path",
        timeout: "hooks.startContainer[#].timeout",
        list: Hooks::start_container,
    },
    Kind { path: "hooks.poststart[#].path", timeout: "hooks.poststart[#].timeout", list: Hooks::poststart },
    Kind { path: "hooks.poststop[#].path", timeout: "hooks.poststop[#].timeout", list: Hooks::poststop },
];

/// The lists of hooks, in the order of a container's life.
pub fn hook_lists() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter_map(|kind| kind.path.strip_prefix("hooks.")?.strip_suffix("[#].path"))
}

pub(super) fn hooks(c: &Ctx<'_>, out: &mut Problems) {
    let Some(hooks) = c.spec.hooks() else { return };
    let clause = "config.md#posix-platform-hooks";
    for kind in &KINDS {
        for (i, hook) in (kind.list)(hooks).iter().flatten().enumerate() {
            if !hook.path().is_absolute() {
                let text = format!("{} must be absolute", quoted(hook.path()));
                out.push(Problem::error(At::item(kind.path, i), clause, text));
            }
            if let Some(seconds) = hook.timeout().filter(|seconds| *seconds <= 0) {
                let text = format!("{seconds} must be greater than zero");
                out.push(Problem::error(At::item(kind.timeout, i), clause, text));
            }
        }
    }
}

pub(super) fn annotations(c: &Ctx<'_>, out: &mut Problems) {
    if c.spec.annotations().as_ref().is_some_and(|a| a.contains_key("")) {
        out.push(Problem::error(At::field("annotations"), "config.md#annotations", "keys must not be empty"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use serde_json::{Value, json};

    #[test]
    fn versions() {
        for version in ["1.0.0", "1.3.0", "1.0.2-dev", "1.0.0-rc5", "1.2.0-rc.1+build.5", "1.99.0+0012", "1.0.0--"] {
            assert_eq!(found(json!({"ociVersion": version})), Vec::<String>::new(), "{version}");
        }
        let table = [
            ("", "ociVersion: must be given, such as \"1.2.0\""),
            ("2.0.0", "ociVersion: \"2.0.0\" is not supported, expected 1.x"),
            ("0.9.0", "ociVersion: \"0.9.0\" is not supported, expected 1.x"),
            ("11.0.0", "ociVersion: \"11.0.0\" is not supported, expected 1.x"),
        ];
        for (version, expected) in table {
            assert_eq!(found(json!({"ociVersion": version})), [expected]);
        }
        for version in [
            "1",
            "1.0",
            "v1.0.0",
            "1.0.0.0",
            "1.00.0",
            "1.0.0-",
            "1.0.0-01",
            "1.0.0+",
            "1.0.0-a..b",
            "1.0.x",
            "1.0.0 ",
            "one",
        ] {
            let expected =
                format!("ociVersion: {version:?} is not a version of SemVer 2.0.0, expected one such as \"1.2.0\"");
            assert_eq!(found(json!({"ociVersion": version})), [expected]);
        }
        assert_eq!(found(json!({"ociVersion": null})).len(), 1);
    }

    #[test]
    fn roots() {
        assert_eq!(found(json!({"root": null})), ["root: root must be specified"]);
        assert_eq!(found(json!({"root": {"path": ""}})), ["root.path: must not be empty (root must be specified)"]);
    }

    #[test]
    fn names() {
        let none = json!([{"type": "mount"}]);
        assert_eq!(
            found(json!({"hostname": "h", "domainname": "d", "linux": {"namespaces": none}})),
            [
                "hostname: unable to set hostname without a private UTS namespace",
                "domainname: unable to set domainname without a private UTS namespace"
            ]
        );
        assert_eq!(found(json!({"hostname": "", "linux": {"namespaces": none}})), Vec::<String>::new());
        assert_eq!(found(json!({"hostname": "x".repeat(64)})), Vec::<String>::new());
        assert!(found(json!({"hostname": "x".repeat(65)}))[0].ends_with("has 65 bytes, the kernel takes at most 64"));
        assert!(found(json!({"domainname": "x".repeat(65)}))[0].starts_with("domainname: "));
    }

    #[test]
    fn what_needs_a_mount_namespace() {
        let asked = |namespaces: Value| {
            found(json!({
                "linux": {
                    "namespaces": namespaces, "rootfsPropagation": "private",
                    "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}],
                },
            }))
        };
        let text = "needs a mount namespace: without one it would be the host's";
        let places = ["linux.devices", "linux.rootfsPropagation"];
        assert_eq!(asked(json!([{"type": "pid"}])), places.map(|place| format!("{place}: {text}")));
        assert_eq!(asked(json!([{"type": "mount"}])), Vec::<String>::new());
        let plain = json!({
            "linux": {"namespaces": [], "rootfsPropagation": "", "devices": []},
        });
        assert_eq!(found(plain), Vec::<String>::new());
    }

    #[test]
    fn hooks_of_every_kind() {
        for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
            let hooks = |list: Value| json!({"hooks": {kind: list}});
            let sound = json!([{"path": "/bin/true", "timeout": 1}, {"path": "/bin/true"}]);
            assert_eq!(found(hooks(sound)), Vec::<String>::new());
            let wrong = json!([{"path": "/a"}, {"path": "bin/true", "timeout": 0}, {"path": "", "timeout": -5}]);
            assert_eq!(
                found(hooks(wrong)),
                [
                    format!("hooks.{kind}[1].path: \"bin/true\" must be absolute"),
                    format!("hooks.{kind}[1].timeout: 0 must be greater than zero"),
                    format!("hooks.{kind}[2].path: \"\" must be absolute"),
                    format!("hooks.{kind}[2].timeout: -5 must be greater than zero"),
                ]
            );
        }
    }

    #[test]
    fn annotation_keys() {
        assert_eq!(found(json!({"annotations": {"": "x"}})), ["annotations: keys must not be empty"]);
        assert_eq!(found(json!({"annotations": {"x": ""}})), Vec::<String>::new());
    }
}
