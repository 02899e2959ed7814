//! The rule that what becomes a C string holds no nul byte: the kernel would see something else than we checked.

use super::{Ctx, Problems};
use crate::error::{At, Problem};
use crate::spec::{Hook, Hooks};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const TEXT: &str = "contains a nul byte";

/// Notes a place if its value holds a nul byte.
fn see(out: &mut Problems, at: At, value: impl AsRef<Path>) {
    if value.as_ref().as_os_str().as_bytes().contains(&0) {
        out.push(Problem::error(at, "", TEXT));
    }
}

fn see_all(out: &mut Problems, place: &'static str, values: &Option<Vec<String>>) {
    for (i, value) in values.iter().flatten().enumerate() {
        see(out, At::item(place, i), value);
    }
}

// `process.env` and `linux.sysctl` have rules of their own, words are compared with tables.
pub(super) fn nul_bytes(c: &Ctx<'_>, out: &mut Problems) {
    if let Some(process) = c.process() {
        see(out, At::field("process.cwd"), process.cwd());
        see_all(out, "process.args[#]", process.args());
        see(out, At::field("process.apparmorProfile"), process.apparmor_profile().as_deref().unwrap_or_default());
        see(out, At::field("process.selinuxLabel"), process.selinux_label().as_deref().unwrap_or_default());
    }
    if let Some(linux) = c.linux() {
        see(out, At::field("linux.mountLabel"), linux.mount_label().as_deref().unwrap_or_default());
    }
    if let Some(root) = c.spec.root() {
        see(out, At::field("root.path"), root.path());
    }
    see(out, At::field("hostname"), c.spec.hostname().as_deref().unwrap_or_default());
    see(out, At::field("domainname"), c.spec.domainname().as_deref().unwrap_or_default());
    mounts(c, out);
    linux(c, out);
    if let Some(hooks) = c.spec.hooks() {
        all_hooks(hooks, out);
    }
}

fn mounts(c: &Ctx<'_>, out: &mut Problems) {
    for (i, mount) in c.spec.mounts().iter().flatten().enumerate() {
        let fields = [
            ("mounts[#].destination", mount.destination().as_os_str()),
            ("mounts[#].type", mount.typ().as_deref().unwrap_or_default().as_ref()),
            ("mounts[#].source", mount.source().as_ref().map(|s| s.as_os_str()).unwrap_or_default()),
        ];
        for (place, _) in fields.into_iter().filter(|(_, field)| field.as_bytes().contains(&0)) {
            out.push(Problem::error(At::item(place, i), "", "mount field contains null byte"));
        }
        if mount.options().iter().flatten().any(|option| option.contains('\0')) {
            out.push(Problem::error(At::item("mounts[#].options", i), "", "mount field contains null byte"));
        }
    }
}

fn linux(c: &Ctx<'_>, out: &mut Problems) {
    let Some(linux) = c.linux() else { return };
    if let Some(path) = linux.cgroups_path() {
        see(out, At::field("linux.cgroupsPath"), path);
    }
    for (i, namespace) in c.namespaces().iter().enumerate() {
        if let Some(path) = namespace.path() {
            see(out, At::item("linux.namespaces[#].path", i), path);
        }
    }
    for (i, device) in linux.devices().iter().flatten().enumerate() {
        see(out, At::item("linux.devices[#].path", i), device.path());
    }
    see_all(out, "linux.maskedPaths[#]", linux.masked_paths());
    see_all(out, "linux.readonlyPaths[#]", linux.readonly_paths());
}

fn all_hooks(hooks: &Hooks, out: &mut Problems) {
    let kinds: [(&'static str, &Option<Vec<Hook>>); 6] = [
        ("hooks.prestart[#]", hooks.prestart()),
        ("hooks.createRuntime[#]", hooks.create_runtime()),
        ("hooks.createContainer[#]", hooks.create_container()),
        ("hooks.startContainer[#]", hooks.start_container()),
        ("hooks.poststart[#]", hooks.poststart()),
        ("hooks.poststop[#]", hooks.poststop()),
    ];
    for (place, list) in kinds {
        for (i, hook) in list.iter().flatten().enumerate() {
            let words = hook.args().iter().flatten().chain(hook.env().iter().flatten());
            if hook.path().as_os_str().as_bytes().contains(&0) || words.into_iter().any(|word| word.contains('\0')) {
                out.push(Problem::error(At::item(place, i), "", TEXT));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use serde_json::json;

    #[test]
    fn nul_bytes_are_found_wherever_the_kernel_would_stop_reading() {
        let table = [
            (json!({"process": {"args": ["sh", "a\0b"]}}), "process.args[1]: contains a nul byte"),
            (json!({"process": {"apparmorProfile": "a\0"}}), "process.apparmorProfile: contains a nul byte"),
            (json!({"process": {"selinuxLabel": "a\0"}}), "process.selinuxLabel: contains a nul byte"),
            (json!({"process": {"cwd": "/\0"}}), "process.cwd: contains a nul byte"),
            (json!({"root": {"path": "a\0"}}), "root.path: contains a nul byte"),
            (json!({"hostname": "a\0"}), "hostname: contains a nul byte"),
            (json!({"domainname": "a\0"}), "domainname: contains a nul byte"),
            (
                json!({"mounts": [{"destination": "/a\0", "type": "x"}]}),
                "mounts[0].destination: mount field contains null byte",
            ),
            (
                json!({"mounts": [{"destination": "/a", "type": "x\0"}]}),
                "mounts[0].type: mount field contains null byte",
            ),
            (
                json!({"mounts": [{"destination": "/a", "type": "x", "source": "\0"}]}),
                "mounts[0].source: mount field contains null byte",
            ),
            (
                json!({"mounts": [{"destination": "/a", "type": "x", "options": ["ro", "\0"]}]}),
                "mounts[0].options: mount field contains null byte",
            ),
            (json!({"linux": {"cgroupsPath": "/a\0"}}), "linux.cgroupsPath: contains a nul byte"),
            (
                json!({"linux": {"namespaces": [{"type": "pid", "path": "/a\0"}]}}),
                "linux.namespaces[0].path: contains a nul byte",
            ),
            (
                json!({"linux": {"devices": [{"path": "/a\0", "type": "p"}]}}),
                "linux.devices[0].path: contains a nul byte",
            ),
            (json!({"linux": {"maskedPaths": ["/a", "/a\0"]}}), "linux.maskedPaths[1]: contains a nul byte"),
            (json!({"linux": {"readonlyPaths": ["/a\0"]}}), "linux.readonlyPaths[0]: contains a nul byte"),
        ];
        for (patch, expected) in table {
            assert_eq!(found(patch), [expected]);
        }
        for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
            let hooks = json!([{"path": "/a"}, {"path": "/a\0"}, {"path": "/a", "args": ["\0"]}, {"path": "/a", "env": ["A=\0"]}]);
            let expected: Vec<String> = (1..4).map(|i| format!("hooks.{kind}[{i}]: contains a nul byte")).collect();
            assert_eq!(found(json!({"hooks": {kind: hooks}})), expected);
        }
    }
}
