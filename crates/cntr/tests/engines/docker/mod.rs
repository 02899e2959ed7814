//! Docker on this machine: `dockerd` with the binary under test as its default runtime, and with its own defaults for the
//! rest: the bridge, iptables, overlay2, the json-file log. Further daemons have `--userns-remap` and `--live-restore`.
//!
//! Not run:
//! * `--privileged`, `exec --privileged`, `--cap-add ALL`, limits above the daemon's: they ask for CAP_SYS_RESOURCE, which
//!   this machine has not got, and fail with any runtime. In the virtual machine.
//! * the systemd cgroup driver, cgroup v2, AppArmor: in the virtual machine as well.
//! * `--blkio-weight`, `--kernel-memory`: this kernel has no such files, and Docker leaves them out.
//! * `--gpus`: NVIDIA's hook and its hardware; what the hook needs of a runtime is a black-box test.
//! * `docker checkpoint`: cntr has no checkpoints.
//! * registries, swarm, log and volume drivers: no runtime sees anything of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::room::{Daemon, Room};
use crate::support::{Cmd, Output, have, runtime, wait_for, which};
use crate::{checks, image};

mod container;
mod exec;
mod files;
mod life;
mod limits;
mod namespaces;
mod restore;
mod run;
mod systemd;
mod terminal;
mod userns;

/// A daemon with one image, `box`.
#[derive(Debug)]
pub struct Docker {
    pub room: Room,
    pub daemon: Option<Daemon>,
    options: Vec<String>,
}

impl Docker {
    /// Starts one in a room of its own; `options` are dockerd's.
    pub fn start(options: &[&str]) -> Option<Self> {
        Self::prepared(Room::new, options, |_| ())
    }

    /// With something to be done before the daemon starts.
    fn prepared(room: fn() -> Option<Room>, options: &[&str], before: fn(&Docker)) -> Option<Self> {
        if !have("dockerd") || !have("docker") {
            return None;
        }
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        let mut docker = Docker { room: room()?, daemon: None, options };
        fs::create_dir(docker.room.path("cli")).unwrap();
        fs::create_dir(docker.room.path("bin")).unwrap();
        symlink(runtime(), docker.room.path("bin/runc")).unwrap();
        before(&docker);
        docker.start_daemon();
        let tar = image::tar(docker.room.dir()).to_string_lossy().into_owned();
        docker.ok(&["import", "--change", "CMD [\"/bin/sh\"]", "--change", "ENV PATH=/usr/bin:/bin", &tar, "box"]);
        Some(docker)
    }

    /// Starts dockerd, for the first time or again.
    fn start_daemon(&mut self) {
        let path = |sub: &str| self.room.path(sub).to_string_lossy().into_owned();
        let path_of_all = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path("bin"));
        let driver = if self.room.systemd() { "systemd" } else { "cgroupfs" };
        // the lines of docs/engines.md
        let config = json!({
            "runtimes": {
                "judged": { "path": runtime() },
                "talkative": { "path": runtime(), "runtimeArgs": ["--debug"] },
                // what this dockerd finds as `runc` is the runtime under test, for BuildKit
                "peer": { "path": which("runc").unwrap_or_else(runtime) },
            },
            "default-runtime": "judged",
            "exec-opts": [format!("native.cgroupdriver={driver}")],
            "cgroup-parent": self.room.cgroup_parent(),
        });
        fs::write(self.room.path("daemon.json"), config.to_string()).unwrap();
        let dockerd = self
            .room
            .command("dockerd")
            .env("PATH", &path_of_all)
            .args(&["--config-file", &path("daemon.json"), "--host", &self.host()])
            .args(&["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("dockerd.pid")])
            .args(&self.options.iter().map(String::as_str).collect::<Vec<_>>());
        let daemon = self.room.daemon(dockerd);
        let up = || self.docker(&["version"]).run().code == Some(0);
        wait_for(&format!("dockerd, which writes to {}", daemon.log().display()), || up().then_some(()));
        self.daemon = Some(daemon);
    }

    /// Ends the daemon, and with it the containers.
    fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.end(Signal::SIGTERM);
        }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.room.path("docker.sock").display())
    }

    /// The client, of the package that the daemon is from if there are several.
    pub fn docker(&self, args: &[&str]) -> Cmd {
        let debian = PathBuf::from("/usr/bin/docker");
        let client = if debian.exists() { "/usr/bin/docker" } else { "docker" };
        let config = self.room.path("cli").to_string_lossy().into_owned();
        self.room.command(client).env("DOCKER_HOST", &self.host()).env("DOCKER_CONFIG", &config).args(args)
    }

    /// The client, which has to succeed; its stdout.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.docker(args).ok().stdout
    }

    /// `docker run --rm OPTIONS box sh -c SCRIPT`, whatever comes of it.
    pub fn run(&self, options: &[&str], script: &str) -> Output {
        self.docker(&["run", "--rm"]).args(options).args(&["box", "sh", "-c", script]).run()
    }
}

#[test]
fn docker() {
    let Some(docker) = Docker::start(&[]) else { return };
    let groups =
        [run::CHECKS, limits::CHECKS, files::CHECKS, namespaces::CHECKS, life::CHECKS, exec::CHECKS, terminal::CHECKS];
    checks::run("docker", &docker, &groups.concat());
}
