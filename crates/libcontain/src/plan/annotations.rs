//! Annotations that mean something to a runtime. All others are handed on and nothing more.
//!
//! They come from crun, whose callers (podman) send them to any runtime. What they change on the host must not be an image's
//! to ask for: `features` lists them as unsafe, and engines then refuse them from there.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

/// `1`: the container's processes keep the supplementary groups of the runtime (podman's `--group-add keep-groups`).
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// `context`, `fscontext`, `defcontext` or `rootcontext`.
pub(crate) const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// Files that what hooks write is appended to: stdout, stderr.
pub(crate) const HOOK_OUTPUT: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// Whether the groups are to be kept.
pub(crate) fn keeps_groups(spec: &Spec) -> bool {
    of(spec, KEEP_GROUPS) == Some("1")
}

/// Where hooks write to, absolute.
pub(super) fn hook_output(spec: &Spec, bundle: &Path) -> [Option<PathBuf>; 2] {
    hook_output_of(|name| of(spec, name), bundle)
}

/// As [`hook_output`], for annotations that are kept otherwise. An empty name is none; a relative one is the bundle's,
/// which is where callers run a runtime.
pub(crate) fn hook_output_of<'a>(annotation: impl Fn(&str) -> Option<&'a str>, bundle: &Path) -> [Option<PathBuf>; 2] {
    HOOK_OUTPUT.map(|name| annotation(name).filter(|path| !path.is_empty()).map(|path| bundle.join(path)))
}

/// Which of SELinux's options `linux.mountLabel` becomes (podman's `--security-opt label`): as the annotation has it.
pub(crate) fn mount_context_type(spec: &Spec) -> Option<&str> {
    of(spec, MOUNT_CONTEXT_TYPE)
}

fn of<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(annotations: Value) -> Spec {
        serde_json::from_value(json!({"ociVersion": "1.0.0", "annotations": annotations})).unwrap()
    }

    #[test]
    fn values() {
        assert!(keeps_groups(&with(json!({KEEP_GROUPS: "1"}))));
        for other in [json!({}), json!({KEEP_GROUPS: "0"}), json!({KEEP_GROUPS: ""}), json!({"x": "1"})] {
            assert!(!keeps_groups(&with(other)));
        }
        let output = |value| hook_output(&with(json!({"run.oci.hooks.stderr": value})), Path::new("/b"));
        assert_eq!(output("/var/log/x"), [None, Some("/var/log/x".into())]);
        assert_eq!(output("x"), [None, Some("/b/x".into())]);
        assert_eq!(output(""), [None, None]);
    }
}
