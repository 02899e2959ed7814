//! Podman on this machine, with the binary under test as its runtime: root's and an ordinary user's; and Buildah.
//!
//! Not run here: checkpoints (cntr has none), `--privileged` with all capabilities (which this machine has not got: VM), pausing
//! and limits of an ordinary user's (cgroup v2: VM), `OOMKilled` (conmon does not see it in a cgroup namespace of v1, with runc
//! neither), `update --pids-limit` (a newer Podman's), quadlets and anything that pulls from a registry.

use crate::machine::{Machine, fails, says};
use crate::support::{Cmd, Output};
use crate::{checks, image};

mod build;
mod exec;
mod life;
mod pods;
mod protocols;
mod rootless;
mod run;
mod systemd;

/// Podman with an image `box`.
#[derive(Debug)]
pub struct Podman {
    pub machine: Machine,
    rootless: bool,
}

/// `plain` is the same runtime under a name that Podman does not ask for JSON. The limits are those that a machine without
/// CAP_SYS_RESOURCE can give.
const CONTAINERS_CONF: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "cntr"
runtime_supports_json = ["cntr"]

[engine.runtimes]
cntr = ["/usr/local/bin/cntr"]
plain = ["/usr/local/bin/cntr"]
"#;

const STORAGE_CONF: &str = r#"
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"#;

impl Podman {
    pub fn new(rootless: bool) -> Option<Self> {
        let podman = Podman { machine: Machine::new(&["podman", "conmon", "catatonit"])?, rootless };
        podman.machine.etc("containers/containers.conf", CONTAINERS_CONF);
        if !rootless {
            podman.machine.etc("containers/storage.conf", STORAGE_CONF);
        }
        podman.machine.etc("containers/policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n");
        let tar = image::tar(podman.machine.room.dir());
        podman
            .line(&format!(
                "podman import -q -c 'ENV PATH=/usr/bin:/bin' -c 'CMD [\"/bin/sh\"]' {} localhost/box",
                tar.display()
            ))
            .ok();
        Some(podman)
    }

    /// A line of shell, by root or the ordinary user.
    pub fn line(&self, line: &str) -> Cmd {
        if self.rootless { self.machine.user(&format!("cd && {line}")) } else { self.machine.root(line) }
    }

    /// The line, which has to succeed and to say this.
    #[track_caller]
    pub fn says(&self, line: &str, text: &str) {
        says(&self.line(line).run(), text);
    }

    /// The line, which has to succeed; what it says.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.line(line).ok().stdout.trim().to_owned()
    }

    /// The line, which has to fail with this status and these words.
    #[track_caller]
    pub fn fails(&self, line: &str, code: i32, text: &str) -> Output {
        let out = self.line(line).run();
        fails(&out, code, text);
        out
    }

    /// Nothing of a container's is left: no cgroup, no state of the runtime's.
    #[track_caller]
    fn nothing_left(&self) {
        self.ok("podman rm --all --force --time 0");
        assert_eq!(self.machine.cgroups("libpod-"), [""; 0]);
        let root = if self.rootless { "/run/user/4000/runc" } else { "/run/runc" };
        self.machine.root(&format!("test -z \"$(ls {root} 2>/dev/null)\"")).ok();
    }
}

#[test]
fn podman() {
    let Some(podman) = Podman::new(false) else { return };
    let checks = [run::CHECKS, life::CHECKS, exec::CHECKS, pods::CHECKS, protocols::CHECKS, build::CHECKS].concat();
    checks::run("podman", &podman, &checks);
    podman.nothing_left();
}

/// An ordinary user's: the same ground, as far as cgroup v1 lets him.
#[test]
fn rootless_podman() {
    let Some(podman) = Podman::new(true) else { return };
    checks::run("rootless", &podman, &[rootless::CHECKS, exec::ROOTLESS, build::ROOTLESS].concat());
    podman.nothing_left();
}
