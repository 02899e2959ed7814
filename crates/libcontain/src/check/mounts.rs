//! Rules about what the container sees of files: mounts, devices, masked and read-only paths, propagation.

use super::{Ctx, Problems, join_path, quoted};
use crate::error::{At, Problem};
use crate::plan::{annotations, idmap, mount_label, mount_options};
use crate::spec::{LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Mount};
use std::path::{Component, Path};

const MOUNTS: &str = "config.md#mounts";
const LABEL: &str = "config-linux.md#mount-label";
const DEVICES: &str = "config-linux.md#devices";

/// Largest device numbers; `MINORBITS` of the kernel is 20, which leaves 12 for the major.
const MAJOR_MAX: i64 = 0xfff;
const MINOR_MAX: i64 = 0xf_ffff;

fn mounts<'a>(c: &Ctx<'a>) -> impl Iterator<Item = (usize, &'a Mount)> + use<'a> {
    c.spec.mounts().iter().flatten().enumerate()
}

/// Whether a path of the container is its root, as `/..` is.
fn is_root(path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.saturating_sub(1),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    depth == 0
}

pub(super) fn destinations(c: &Ctx<'_>, out: &mut Problems) {
    let rootfs = c.spec.root().as_ref().map(|r| r.path().as_path()).unwrap_or(Path::new(""));
    for (i, mount) in mounts(c) {
        let (at, destination) = (At::item("mounts[#].destination", i), mount.destination());
        if destination.as_os_str().is_empty() {
            out.push(Problem::error(at, MOUNTS, "must be given"));
        } else if is_root(destination) {
            let text = format!("mountpoint {} is on the top of rootfs {}", quoted(destination), quoted(rootfs));
            out.push(Problem::error(at, MOUNTS, text));
        } else if !destination.is_absolute() {
            let text = format!("{} should be absolute, it is taken relative to \"/\"", quoted(destination));
            out.push(Problem::warning(at, MOUNTS, text));
        }
    }
}

pub(super) fn types(c: &Ctx<'_>, out: &mut Problems) {
    for (i, mount) in mounts(c) {
        let options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or_default();
        let bind = options.bind || kind == "bind";
        let source = mount.source().as_deref().filter(|s| !s.as_os_str().is_empty());
        if options.remount {
            continue;
        }
        if bind && source.is_none() {
            out.push(Problem::error(At::item("mounts[#].source", i), MOUNTS, "must be given for a bind mount"));
        }
        if kind.is_empty() && !bind {
            let text = "must be given, unless options hold \"bind\" or \"rbind\"";
            out.push(Problem::error(At::item("mounts[#].type", i), MOUNTS, text));
        }
        // runc refuses; the validation suite of runtime-tools wants such a mount made, and the kernel ignores them.
        if let Some((name, _)) = options.data.first().filter(|_| bind) {
            let text =
                format!("{} is ignored: bind mounts cannot have any filesystem-specific options applied", quoted(name));
            out.push(Problem::warning(At::item("mounts[#].options", i), MOUNTS, text));
        }
    }
}

/// A label says who may open what, so without SELinux it would bound nothing: the container has no less than it was
/// promised, and engines' configs with one run everywhere, as with crun. (runc has the kernel refuse each mount.)
pub(super) fn label(c: &Ctx<'_>, out: &mut Problems) {
    let at = At::field("linux.mountLabel");
    if let Some(kind) = annotations::mount_context_type(c.spec).filter(|kind| !mount_label::KINDS.contains(kind)) {
        let text = format!(
            "{}: {} is none of {}",
            annotations::MOUNT_CONTEXT_TYPE,
            quoted(kind),
            mount_label::KINDS.join(", ")
        );
        out.push(Problem::error(At::field("annotations"), "", text));
    }
    let Some(label) = c.linux().and_then(|l| l.mount_label().as_deref()).filter(|label| !label.is_empty()) else {
        return;
    };
    if label.contains('"') {
        out.push(Problem::error(at, LABEL, format!("{} has a quotation mark in it", quoted(label))));
    }
    if c.host.selinux == Some(false) {
        out.push(Problem::warning(at, LABEL, "not applied: selinux is disabled or not supported"));
    }
}

/// In a new user namespace a file system takes no owner that is not mapped.
pub(super) fn owners(c: &Ctx<'_>, out: &mut Problems) {
    if c.namespace(LinuxNamespaceType::User).is_none_or(|n| join_path(n).is_some()) {
        return;
    }
    let Some(linux) = c.linux() else { return };
    for (i, mount) in mounts(c) {
        let options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        if options.bind || mount.typ().as_deref() == Some("bind") {
            continue;
        }
        for (key, value) in &options.data {
            let (kind, mappings) = match key.as_str() {
                "uid" => ("uid", linux.uid_mappings()),
                "gid" => ("gid", linux.gid_mappings()),
                _ => continue,
            };
            let id = value.as_ref().and_then(|value| value.parse().ok());
            let mapped = |id: u32| mappings.as_ref().is_none_or(|m| m.is_empty() || idmap::is_mapped(m, id));
            if let Some(id) = id.filter(|id| !mapped(*id)) {
                let text = format!(
                    "cannot specify {key}={id} mount option for rootless container: no mapping found for {kind} {id}"
                );
                out.push(Problem::error(At::item("mounts[#].options", i), MOUNTS, text));
            }
        }
    }
}

pub(super) fn devices(c: &Ctx<'_>, out: &mut Problems) {
    for (i, device) in c.linux().and_then(|l| l.devices().as_ref()).into_iter().flatten().enumerate() {
        if !device.path().is_absolute() || is_root(device.path()) {
            let text = format!("{} must be an absolute path below \"/\"", quoted(device.path()));
            out.push(Problem::error(At::item("linux.devices[#].path", i), DEVICES, text));
        }
        match device.typ() {
            LinuxDeviceType::A => {
                let text = "invalid device type \"a\", expected one of c, b, u, p";
                out.push(Problem::error(At::item("linux.devices[#].type", i), DEVICES, text));
            }
            // A FIFO has no numbers.
            LinuxDeviceType::P => {}
            LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U => numbers(i, device, out),
        }
    }
}

fn numbers(i: usize, device: &LinuxDevice, out: &mut Problems) {
    let rules =
        [("linux.devices[#].major", device.major(), MAJOR_MAX), ("linux.devices[#].minor", device.minor(), MINOR_MAX)];
    for (place, number, max) in rules {
        if !(0..=max).contains(&number) {
            let text = format!("{number} is out of range, expected 0 to {max}");
            out.push(Problem::error(At::item(place, i), DEVICES, text));
        }
    }
}

pub(super) fn restricted_paths(c: &Ctx<'_>, out: &mut Problems) {
    let Some(linux) = c.linux() else { return };
    let lists = [
        ("linux.maskedPaths", "linux.maskedPaths[#]", "config-linux.md#masked-paths", linux.masked_paths()),
        ("linux.readonlyPaths", "linux.readonlyPaths[#]", "config-linux.md#readonly-paths", linux.readonly_paths()),
    ];
    for (list, item, clause, paths) in lists {
        let Some(paths) = paths.as_ref().filter(|paths| !paths.is_empty()) else { continue };
        if !c.has(LinuxNamespaceType::Mount) {
            let text = "unable to restrict sys entries without a private MNT namespace";
            out.push(Problem::error(At::field(list), clause, text));
        }
        for (i, path) in paths.iter().enumerate().filter(|(_, path)| !path.starts_with('/')) {
            out.push(Problem::error(At::item(item, i), clause, format!("{} must be absolute", quoted(path))));
        }
    }
}

pub(super) fn propagation(c: &Ctx<'_>, out: &mut Problems) {
    const WORDS: [&str; 9] =
        ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];
    let Some(word) = c.linux().and_then(|l| l.rootfs_propagation().as_deref()) else { return };
    if !WORDS.contains(&word) {
        let text = format!(
            "rootfsPropagation={} is not supported, expected one of private, slave, shared, unbindable, or these with an r in front",
            word.escape_debug().take(80).collect::<String>()
        );
        out.push(Problem::error(
            At::field("linux.rootfsPropagation"),
            "config-linux.md#rootfs-mount-propagation",
            text,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::Host;
    use serde_json::{Value, json};

    fn mount(mount: Value) -> Vec<String> {
        found(json!({"mounts": [{"destination": "/proc", "type": "proc"}, mount]}))
    }

    fn linux(patch: Value) -> Vec<String> {
        found(json!({"linux": patch}))
    }

    #[test]
    fn mount_points() {
        let at = |destination: &str| mount(json!({"destination": destination, "type": "tmpfs"}));
        assert_eq!(at("/a/.."), ["mounts[1].destination: mountpoint \"/a/..\" is on the top of rootfs \"rootfs\""]);
        for root in ["/", "//", "/.", "/..", ".", "a/.."] {
            assert!(at(root)[0].contains(&format!("mountpoint {root:?} is on the top of rootfs")), "{root}");
        }
        assert_eq!(at(""), ["mounts[1].destination: must be given"]);
        assert_eq!(
            at("a/b"),
            ["warning: mounts[1].destination: \"a/b\" should be absolute, it is taken relative to \"/\""]
        );
        assert_eq!(at("/../a"), Vec::<String>::new());
    }

    #[test]
    fn mount_types() {
        let table = [
            (json!({"destination": "/a", "type": "bind", "source": "/x"}), ""),
            (json!({"destination": "/a", "options": ["rbind", "ro"], "source": "x"}), ""),
            (json!({"destination": "/a", "type": "tmpfs"}), ""),
            (json!({"destination": "/a", "type": "tmpfs", "options": ["size=1"]}), ""),
            (json!({"destination": "/a", "options": ["remount", "ro"]}), ""),
            (json!({"destination": "/a"}), "mounts[1].type: must be given, unless options hold \"bind\" or \"rbind\""),
            (
                json!({"destination": "/a", "type": "", "source": "/x"}),
                "mounts[1].type: must be given, unless options hold \"bind\" or \"rbind\"",
            ),
            (json!({"destination": "/a", "type": "bind"}), "mounts[1].source: must be given for a bind mount"),
            (
                json!({"destination": "/a", "options": ["bind"], "source": ""}),
                "mounts[1].source: must be given for a bind mount",
            ),
            (
                json!({"destination": "/a", "options": ["rbind", "size=5"], "source": "/x"}),
                "warning: mounts[1].options: \"size\" is ignored: bind mounts cannot have any filesystem-specific options applied",
            ),
        ];
        for (given, expected) in table {
            assert_eq!(mount(given.clone()).join("\n"), expected, "{given}");
        }
    }

    #[test]
    fn labels() {
        let labelled = |label: &str| json!({"linux": {"mountLabel": label}});
        let without = Host { selinux: Some(false), ..Host::privileged() };
        assert_eq!(found(labelled("u:object_r:t:s0:c1,c2")), Vec::<String>::new());
        assert_eq!(
            found_on(&without, labelled("u:object_r:t:s0")),
            ["warning: linux.mountLabel: not applied: selinux is disabled or not supported"]
        );
        assert_eq!(found_on(&without, labelled("")), Vec::<String>::new());
        assert_eq!(found(labelled("a\",b")), ["linux.mountLabel: \"a\\\",b\" has a quotation mark in it"]);
        let kind = |kind: &str| found(json!({"annotations": {"run.oci.mount_context_type": kind}}));
        assert_eq!(kind("rootcontext"), Vec::<String>::new());
        assert_eq!(
            kind("Context"),
            [
                "annotations: run.oci.mount_context_type: \"Context\" is none of context, fscontext, defcontext, rootcontext"
            ]
        );
    }

    #[test]
    fn owners_in_a_user_namespace() {
        let with = |path: &str, mount: Value| {
            let map = json!([{"containerID": 0, "hostID": 1000, "size": 5}]);
            found(json!({
                "mounts": [mount],
                "linux": {"namespaces": [{"type": "mount"}, {"type": "user", "path": path}], "uidMappings": map, "gidMappings": map},
            }))
        };
        let of =
            |kind: &str, options: Value| json!({"destination": "/a", "type": kind, "source": "/x", "options": options});
        let told = |option: &str, id: &str| {
            format!(
                "mounts[0].options: cannot specify {option} mount option for rootless container: no mapping found for {id}"
            )
        };
        let strange = json!(["uid=4", "gid=5", "uid=5", "gid=tty", "uid", "umask=9"]);
        assert_eq!(with("", of("tmpfs", strange.clone())), [told("gid=5", "gid 5"), told("uid=5", "uid 5")]);
        assert!(with("", of("bind", strange.clone())).iter().all(|text| text.starts_with("warning")));
        assert!(!with("/ns", of("tmpfs", strange)).iter().any(|text| text.contains("mount option")));
    }

    #[test]
    fn device_nodes() {
        let sound = json!([
            {"path": "/dev/a", "type": "c", "major": 4095, "minor": 1_048_575},
            {"path": "/dev/p", "type": "p"},
            {"path": "/dev/b", "type": "b", "major": 0, "minor": 0},
        ]);
        assert_eq!(linux(json!({"devices": sound})), Vec::<String>::new());
        let wrong = json!([
            {"path": "dev/a", "type": "a", "major": -1},
            {"path": "/", "type": "u", "major": 4096, "minor": -1},
            {"type": "b", "minor": 1_048_576},
        ]);
        assert_eq!(
            linux(json!({"devices": wrong})),
            [
                "linux.devices[0].path: \"dev/a\" must be an absolute path below \"/\"",
                "linux.devices[0].type: invalid device type \"a\", expected one of c, b, u, p",
                "linux.devices[1].path: \"/\" must be an absolute path below \"/\"",
                "linux.devices[1].major: 4096 is out of range, expected 0 to 4095",
                "linux.devices[1].minor: -1 is out of range, expected 0 to 1048575",
                "linux.devices[2].path: \"\" must be an absolute path below \"/\"",
                "linux.devices[2].minor: 1048576 is out of range, expected 0 to 1048575",
            ]
        );
    }

    #[test]
    fn masked_and_readonly_paths() {
        assert_eq!(
            linux(
                json!({"maskedPaths": ["/proc/keys", "proc"], "readonlyPaths": [""], "namespaces": [{"type": "pid"}]})
            ),
            [
                "linux.maskedPaths: unable to restrict sys entries without a private MNT namespace",
                "linux.maskedPaths[1]: \"proc\" must be absolute",
                "linux.readonlyPaths: unable to restrict sys entries without a private MNT namespace",
                "linux.readonlyPaths[0]: \"\" must be absolute",
            ]
        );
        assert_eq!(linux(json!({"maskedPaths": [], "readonlyPaths": [], "namespaces": []})), Vec::<String>::new());
        assert_eq!(linux(json!({"maskedPaths": ["/a"], "readonlyPaths": ["/b"]})), Vec::<String>::new());
    }

    #[test]
    fn propagation_words() {
        for word in ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"] {
            assert_eq!(linux(json!({"rootfsPropagation": word})), Vec::<String>::new(), "{word}");
        }
        for word in ["Private", "rprivate ", "none"] {
            let expected =
                format!("linux.rootfsPropagation: rootfsPropagation={word} is not supported, expected one of ");
            assert!(linux(json!({"rootfsPropagation": word}))[0].starts_with(&expected), "{word}");
        }
    }
}
