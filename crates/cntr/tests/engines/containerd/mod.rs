//! containerd, by `ctr`: its shim calls the binary under test.
//!
//! What `ctr` passes: `--runc-binary`, `--runc-root`, a cgroup below the room's, and for the rest of the config what the
//! options of `ctr run` make of it. The shim's own arguments (`--log`, `--log-format json`, pid files, `--process`) are
//! those of Kubernetes and Docker as well.
//!
//! Not run:
//! * `ctr task checkpoint`, `ctr c restore`: cntr has no checkpoints.
//! * `--cni`: networks are made before the runtime is called, and joined by path as in `with_ns`.
//! * `--gpus`: needs NVIDIA's hook and its hardware; `wrapper` stands for it.
//! * `--rdt-class`: no machine here has resctrl; the black-box tests have a stand-in.
//! * `--apparmor-*`: on the machine that has AppArmor (vm/test).

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::room::{Daemon, Room};
use crate::support::command::Running;
use crate::support::{Cmd, Output, bundle, have, read, runtime, slow, wait_for};
use crate::{checks, image};

mod cri;
mod failures;
mod run;
mod systemd;
mod task;

pub const IMAGE: &str = "docker.io/library/box:latest";

/// A containerd with one image.
#[derive(Debug)]
pub struct Containerd {
    pub room: Room,
    daemon: Daemon,
    /// How `ctr run` is told which runtime to take.
    runtime: Vec<String>,
}

impl Containerd {
    pub fn start(room: impl FnOnce() -> Option<Room>) -> Option<Self> {
        if !have("containerd") || !have("ctr") {
            return None;
        }
        let room = room()?;
        fs::write(room.path("config.toml"), config(&room)).unwrap();
        // The `runc` that is found on PATH is the binary under test by another name.
        fs::create_dir(room.path("bin")).unwrap();
        std::os::unix::fs::symlink(runtime(), room.path("bin/runc")).unwrap();
        let path = format!("{}:/usr/bin:/bin", room.path("bin").display());
        let containerd = room.command("containerd").env("PATH", &path).arg("--config").arg(room.path("config.toml"));
        let daemon = room.daemon(containerd);
        let root = room.path("runtime").to_string_lossy().into_owned();
        let mut runtime =
            vec!["--runc-binary".into(), runtime().to_string_lossy().into_owned(), "--runc-root".into(), root];
        if room.systemd() {
            runtime.push("--runc-systemd-cgroup".into());
        }
        let containerd = Containerd { room, daemon, runtime };
        wait_for("containerd", || (containerd.ctr(&["version"]).run().code == Some(0)).then_some(()));
        let archive = image::archive(containerd.room.dir(), IMAGE);
        containerd.ok(&["images", "import", &archive.to_string_lossy()]);
        Some(containerd)
    }

    pub fn ctr(&self, args: &[&str]) -> Cmd {
        let socket = self.room.path("containerd.sock").to_string_lossy().into_owned();
        self.room.command("ctr").env("CONTAINERD_ADDRESS", &socket).args(args)
    }

    /// A command that has to succeed; its stdout.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.ctr(args).ok().stdout
    }

    fn options(&self, id: &str) -> Vec<String> {
        let mut options = self.runtime.clone();
        options.extend(["--cgroup".into(), self.cgroup(id)]);
        options
    }

    /// A cgroup in the room's, as the runtime is told of it.
    pub fn cgroup(&self, id: &str) -> String {
        let parent = self.room.cgroup_parent();
        if self.room.systemd() { format!("{parent}:cntr:{id}") } else { format!("{parent}/{id}") }
    }

    /// `ctr run OPTIONS`, and which runtime and cgroup; what follows is for the caller to add.
    pub fn run_with(&self, id: &str, options: &[&str]) -> Cmd {
        let own = self.options(id);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        self.ctr(&["run"]).args(&own).args(options)
    }

    /// `ctr run --rm OPTIONS IMAGE ID sh -c SCRIPT`, whatever comes of it.
    pub fn run(&self, id: &str, options: &[&str], script: &str) -> Output {
        self.run_with(id, &["--rm"]).args(options).args(&[IMAGE, id, "sh", "-c", script]).run()
    }

    /// `ctr run --detach OPTIONS IMAGE ID sh -c SCRIPT`: a container that goes on.
    #[track_caller]
    pub fn detached<'a>(&'a self, id: &'static str, options: &[&str], script: &str) -> Detached<'a> {
        let pid_file = self.room.path(&format!("{id}.pid")).to_string_lossy().into_owned();
        let run = self.run_with(id, &["--detach", "--null-io", "--pid-file", &pid_file]).args(options);
        run.args(&[IMAGE, id, "sh", "-c", script]).ok();
        Detached { containerd: self, id, pid: read(&pid_file).parse().expect("a pid and nothing else") }
    }

    /// A config.json for the image's files, changed by `change`; its path.
    pub fn config_file(&self, id: &str, script: &str, change: impl Fn(&mut Value)) -> String {
        let mut config = bundle::load("ctr-default");
        config["root"]["path"] = self.room.path("rootfs").to_string_lossy().into();
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["linux"]["cgroupsPath"] = format!("{}/{id}", self.room.cgroup_parent()).into();
        change(&mut config);
        let file = self.room.path(&format!("{id}.json"));
        fs::write(&file, config.to_string()).unwrap();
        file.to_string_lossy().into_owned()
    }

    /// A line of shell in a terminal, in which `ctr` finds this containerd.
    pub fn terminal(&self, line: &str) -> Output {
        let socket = self.room.path("containerd.sock").to_string_lossy().into_owned();
        self.room.command("script").env("CONTAINERD_ADDRESS", &socket).args(&["-qec", line, "/dev/null"]).run()
    }

    /// A file of procfs, of a process by its pid in the room.
    pub fn proc(&self, pid: i32, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/proc/{pid}/{file}", self.room.first()))
    }

    /// What the state of a container is, as `ctr task ls` says.
    pub fn status(&self, id: &str) -> Option<String> {
        let list = self.ok(&["task", "ls"]);
        list.lines().find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            (words.first() == Some(&id)).then(|| words[2].to_owned())
        })
    }

    /// The lines of the log that the shim reads after each call of the runtime.
    pub fn log(&self, id: &str) -> String {
        read(self.room.path(&format!("state/io.containerd.runtime.v2.task/default/{id}/log.json")))
    }
}

/// Of a process that ends before `ctr task exec` has opened its pipes the output is lost, with runc as well: one in hundreds,
/// on a busy machine.
fn late(script: &str) -> String {
    format!("sleep {}; {script}", 0.05 * f64::from(slow()))
}

/// A container that runs in the background; gone when this is.
#[derive(Debug)]
pub struct Detached<'a> {
    containerd: &'a Containerd,
    id: &'static str,
    /// In the room.
    pid: i32,
}

impl Detached<'_> {
    /// `ctr task exec OPTIONS ID COMMAND`.
    pub fn exec_with(&self, options: &[&str], command: &[&str]) -> Cmd {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let exec_id = format!("exec{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let ctr = self.containerd.ctr(&["task", "exec", "--exec-id", &exec_id]);
        ctr.args(options).arg(self.id).args(command)
    }

    pub fn exec(&self, options: &[&str], script: &str) -> Output {
        self.exec_with(options, &["sh", "-c", &late(script)]).run()
    }

    pub fn spawn(&self, script: &str) -> Running {
        self.exec_with(&[], &["sh", "-c", &late(script)]).spawn()
    }

    pub fn status(&self) -> Option<String> {
        self.containerd.status(self.id)
    }

    pub fn kill(&self, signal: &str) {
        self.containerd.ok(&["task", "kill", "-s", signal, self.id]);
    }

    pub fn wait_status(&self, status: &str) {
        wait_for(status, || (self.status().as_deref() == Some(status)).then_some(()));
    }
}

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        self.containerd.ctr(&["task", "rm", "--force", self.id]).run_quietly();
        self.containerd.ctr(&["c", "rm", self.id]).run_quietly();
    }
}

/// What docs/engines.md says to write, and where this containerd may keep its things.
fn config(room: &Room) -> String {
    let (dir, binary) = (room.dir().display(), runtime());
    let (binary, pause) = (binary.display(), cri::PAUSE);
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "cntr"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.cntr]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.cntr.options]
    BinaryName = "{binary}"
    SystemdCgroup = {systemd}
"#,
        systemd = room.systemd()
    )
}

#[test]
fn containerd() {
    let Some(containerd) = Containerd::start(Room::new) else { return };
    let all = [cri::CHECKS, failures::CHECKS, run::CHECKS, task::CHECKS].concat();
    checks::run("containerd", &containerd, &all);
    containerd.daemon.end(Signal::SIGTERM);
}

/// With systemd's cgroups, where there is a systemd: what has to do with cgroups, and what only this machine lets a container do.
#[test]
fn containerd_with_systemd() {
    let Some(containerd) = Containerd::start(Room::whole_machine) else { return };
    let all = [&[cri::CHECKS[1]], systemd::CHECKS].concat();
    checks::run("containerd_with_systemd", &containerd, &all);
    containerd.daemon.end(Signal::SIGTERM);
}
