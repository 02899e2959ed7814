//! The configs that are planned: those of engines (equivalents are the command's test data), the one of `cntr spec`,
//! and one per thing that changes the shape of a plan.

use std::path::Path;

use libcontain::plan::Request;
use libcontain::spec::Spec;

/// Name, text, and the machines (hosts.rs) whose plan is kept as a golden file.
pub const CONFIGS: [(&str, &str, &[&str]); 17] = [
    ("docker-default", include_str!("../../../cntr/tests/data/docker-default.json"), &["hybrid", "v2"]),
    ("docker-limits", include_str!("../../../cntr/tests/data/docker-limits.json"), &["hybrid", "v2", "user"]),
    ("docker-privileged", include_str!("../../../cntr/tests/data/docker-privileged.json"), &["hybrid"]),
    ("podman-default", include_str!("../../../cntr/tests/data/podman-default.json"), &["hybrid", "v2"]),
    ("ctr-default", include_str!("../../../cntr/tests/data/ctr-default.json"), &["hybrid"]),
    ("crio", include_str!("crio.json"), &["v2"]),
    ("buildkit", include_str!("buildkit.json"), &["v2"]),
    ("spec", include_str!("spec.json"), &["hybrid", "v2"]),
    ("rootless", include_str!("rootless.json"), &["hybrid", "user"]),
    ("userns", include_str!("userns.json"), &["hybrid", "v2", "user"]),
    ("userns-joined", include_str!("userns-joined.json"), &["v2"]),
    ("joined", include_str!("joined.json"), &["hybrid", "v2"]),
    ("joined-user", include_str!("joined-user.json"), &["v2", "user"]),
    ("hooks", include_str!("hooks.json"), &["v2"]),
    ("terminal-labels", include_str!("terminal-labels.json"), &["v2"]),
    ("options", include_str!("options.json"), &["v2"]),
    ("bare", include_str!("bare.json"), &["hybrid", "user"]),
];

/// A request as `create` makes it.
pub fn request() -> Request<'static> {
    Request {
        id: "c1",
        bundle: Path::new("/run/bundle"),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        console: true,
        wait_for_start: true,
    }
}

pub fn parse(config: &str) -> Spec {
    serde_json::from_str(config).unwrap()
}

/// The config of this name.
pub fn config(name: &str) -> Spec {
    let (_, text, _) = CONFIGS.iter().find(|(n, ..)| *n == name).expect("a config of this name");
    parse(text)
}
