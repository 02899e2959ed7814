//! The configs that are planned: those of engines (equivalents are the command's test data), the one of `cntr spec`,
//! and one per thing that changes the shape of a plan.

use std::path::Path;

use libcontain::plan::{Request, Terminal};
use libcontain::spec::Spec;

/// Name, text, and the machines (hosts.rs) whose plan is kept as a golden file.
pub const CONFIGS: &[(&str, &str, &[&str])] = &[
    ("docker-default", include_str!("../../../cntr/tests/data/docker-default.json"), &["v1", "hybrid", "v2"]),
    (
        "docker-limits",
        include_str!("../../../cntr/tests/data/docker-limits.json"),
        &["v1", "hybrid", "v2", "user", "systemd", "systemd-v1"],
    ),
    ("docker-privileged", include_str!("../../../cntr/tests/data/docker-privileged.json"), &["hybrid"]),
    ("podman-default", include_str!("../../../cntr/tests/data/podman-default.json"), &["v1", "hybrid", "v2"]),
    ("ctr-default", include_str!("../../../cntr/tests/data/ctr-default.json"), &["hybrid", "v2"]),
    ("docker-modern", include_str!("docker-modern.json"), &["hybrid", "v2"]),
    ("containerd-cri", include_str!("containerd-cri.json"), &["v1", "hybrid", "v2"]),
    ("crio", include_str!("crio.json"), &["hybrid", "v2", "systemd"]),
    ("buildkit", include_str!("buildkit.json"), &["v1", "hybrid", "v2"]),
    ("spec", include_str!("spec.json"), &["hybrid", "v2", "filtered", "old"]),
    ("rootless", include_str!("rootless.json"), &["hybrid", "user"]),
    ("userns", include_str!("userns.json"), &["hybrid", "v2", "user"]),
    ("podman-rootless", include_str!("podman-rootless.json"), &["ranges", "inner", "systemd-user"]),
    ("podman-pid-host", include_str!("podman-pid-host.json"), &["ranges"]),
    ("podman-inner", include_str!("podman-inner.json"), &["inner"]),
    ("userns-joined", include_str!("userns-joined.json"), &["v2"]),
    ("joined", include_str!("joined.json"), &["hybrid", "v2", "filtered"]),
    ("joined-user", include_str!("joined-user.json"), &["v2", "user"]),
    ("hooks", include_str!("hooks.json"), &["v2"]),
    ("terminal-labels", include_str!("terminal-labels.json"), &["v2"]),
    ("options", include_str!("options.json"), &["v2"]),
    ("notify", include_str!("notify.json"), &["v2", "user"]),
    ("shared-mounts", include_str!("shared-mounts.json"), &["hybrid", "user"]),
    ("bare", include_str!("bare.json"), &["hybrid", "user"]),
];

/// Where the engines put these containers if systemd makes the cgroups; elsewhere `cgroupsPath` is left out.
const UNITS: [(&str, &str); 4] = [
    ("docker-default", "system.slice:docker:c1"),
    ("docker-limits", "system.slice:docker:c1"),
    ("crio", "kubepods-burstable-pod7.slice:crio:c0ffee"),
    ("podman-rootless", "user.slice:libpod:c1"),
];

/// A request as `create` makes it.
pub fn request() -> Request<'static> {
    Request {
        id: "c1",
        bundle: Path::new("/run/bundle"),
        no_pivot: false,
        no_new_keyring: false,
        listen_fds: 0,
        listen_fd_names: None,
        preserve_fds: 0,
        notify_dir: None,
        console: Some(Terminal::default()),
        wait_for_start: true,
    }
}

pub fn parse(config: &str) -> Spec {
    serde_json::from_str(config).unwrap()
}

/// The config of this name, with the `cgroupsPath` of the driver that the machine has.
pub fn value(name: &str, machine: &str) -> serde_json::Value {
    let (_, text, _) = CONFIGS.iter().find(|(n, ..)| *n == name).expect("a config of this name");
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    if machine.starts_with("systemd")
        && let Some(linux) = value["linux"].as_object_mut()
    {
        linux.remove("cgroupsPath");
        linux.extend(UNITS.iter().filter(|(n, _)| *n == name).map(|(_, path)| ("cgroupsPath".into(), (*path).into())));
    }
    value
}

/// The config of this name, for this machine.
pub fn config_on(name: &str, machine: &str) -> Spec {
    serde_json::from_value(value(name, machine)).unwrap()
}

/// The config of this name.
pub fn config(name: &str) -> Spec {
    config_on(name, "")
}
