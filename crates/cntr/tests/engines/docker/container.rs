//! A container that goes on by itself (`docker run -d`), and where to look at it from outside.

use std::path::PathBuf;

use super::Docker;
use crate::support::{Output, pure_v2, read, wait_for};

#[derive(Debug)]
pub struct Container<'a> {
    pub docker: &'a Docker,
    /// All 64 digits of it.
    pub id: String,
}

impl Docker {
    /// `docker run -d OPTIONS box sh -c SCRIPT`.
    #[track_caller]
    pub fn detached(&self, options: &[&str], script: &str) -> Container<'_> {
        let out = self.docker(&["run", "-d"]).args(options).args(&["box", "sh", "-c", script]).ok();
        Container { docker: self, id: out.stdout.trim().to_owned() }
    }

    /// One that waits, and ends at once when it is asked to.
    #[track_caller]
    pub fn idle(&self, options: &[&str]) -> Container<'_> {
        let container =
            self.detached(options, "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done");
        container.wait_log("ready");
        container
    }
}

impl Container<'_> {
    /// `docker VERB [OPTION]... ID`, which has to succeed; its stdout.
    #[track_caller]
    pub fn ok(&self, verb: &[&str]) -> String {
        self.docker.docker(verb).arg(&self.id).ok().stdout
    }

    /// A field of `docker inspect`, such as `.State.Pid`.
    #[track_caller]
    pub fn field(&self, path: &str) -> String {
        self.ok(&["inspect", "--format", &format!("{{{{{path}}}}}")]).trim().to_owned()
    }

    #[track_caller]
    pub fn wait_field(&self, path: &str, value: &str) {
        let what = format!("{path} of a container to be {value}, not {}", self.field(path));
        wait_for(&what, || (self.field(path) == value).then_some(()));
    }

    /// Waits until the container has written a text.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_for(&format!("{text:?} in a log"), || self.ok(&["logs"]).contains(text).then_some(()));
    }

    /// `docker exec OPTIONS ID sh -c SCRIPT`, whatever comes of it.
    pub fn exec(&self, options: &[&str], script: &str) -> Output {
        self.docker.docker(&["exec"]).args(options).args(&[&self.id, "sh", "-c", script]).run()
    }

    /// That, which has to succeed; its stdout.
    #[track_caller]
    pub fn says(&self, script: &str) -> String {
        self.docker.docker(&["exec", &self.id, "sh", "-c", script]).ok().stdout
    }

    /// A directory of the container's cgroups on the host.
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        let top = if pure_v2() { "/sys/fs/cgroup".into() } else { format!("/sys/fs/cgroup/{controller}") };
        PathBuf::from(format!("{top}{}", self.docker.room.cgroup("docker", &self.id)))
    }

    /// A limit, by its file's name in v1 and in v2.
    pub fn limit(&self, controller: &str, v1: &str, v2: &str) -> String {
        read(self.cgroup(controller).join(if pure_v2() { v2 } else { v1 })).trim().to_owned()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.docker.docker(&["rm", "-f", "-v", &self.id]).run_quietly();
    }
}
