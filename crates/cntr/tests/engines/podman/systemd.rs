//! Podman on a machine with systemd and cgroup v2 alone: root's, and an ordinary user's in a login session, whose cgroups
//! are those that his systemd was given. With the lines of docs/engines.md as its configuration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checks::{self, Check};
use crate::image;
use crate::machine::{fails, says};
use crate::room::Room;
use crate::support::{Cmd, Output, have, host, read, runtime, skip, wait_for};

const CHECKS: &[Check<Podman>] = &[
    ("run", run),
    ("unit", unit),
    ("update", update),
    ("exec", exec),
    ("exec_terminal", exec_terminal),
    ("pause", pause),
    ("missing_command", missing_command),
    ("health", health),
    ("pod", pod),
    ("build", build),
    ("log", log),
];
const ROOT: &[Check<Podman>] = &[("privileged", privileged), ("apparmor", apparmor)];
const USER: &[Check<Podman>] = &[("keep_id", keep_id)];

/// Podman with an image `box`.
#[derive(Debug)]
struct Podman {
    room: Room,
    home: PathBuf,
    bus: Vec<(String, String)>,
}

impl Podman {
    fn new(of_root: bool) -> Option<Self> {
        if !have("podman") {
            return None;
        }
        let room = Room::whole_machine()?;
        let is_root = fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        if is_root != of_root {
            skip(if of_root { "needs root" } else { "needs an ordinary user's session: vm/test rootless" });
            return None;
        }
        let home = PathBuf::from(std::env::var_os("HOME").expect("HOME"));
        let config = if of_root { PathBuf::from("/etc/containers") } else { home.join(".config/containers") };
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("policy.json"), "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n").unwrap();
        let lines = format!(
            "[engine]\nruntime = \"cntr\"\nruntime_supports_json = [\"cntr\"]\n\n[engine.runtimes]\ncntr = [\"{}\"]\n",
            runtime().display()
        );
        fs::write(config.join("containers.conf"), lines).unwrap();
        let variables = ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "USER"];
        let bus = variables.iter().filter_map(|v| Some(((*v).to_owned(), std::env::var(v).ok()?))).collect();
        let podman = Podman { room, home, bus };
        let tar = image::tar(podman.room.dir());
        podman.ok(&format!(
            "podman import -q -c 'ENV PATH=/usr/bin:/bin' -c 'CMD [\"/bin/sh\"]' {} localhost/box",
            tar.display()
        ));
        Some(podman)
    }

    /// A line of shell.
    fn line(&self, line: &str) -> Cmd {
        let cmd = self.room.shell(line).env("HOME", &self.home.to_string_lossy());
        self.bus.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        self.line(line).ok().stdout.trim().to_owned()
    }

    /// The cgroup of a container, below /sys/fs/cgroup.
    fn cgroup(&self, name: &str) -> PathBuf {
        let pid = self.ok(&format!("podman inspect -f '{{{{.State.Pid}}}}' {name}"));
        let text = read(format!("/proc/{pid}/cgroup"));
        let path = text.trim().strip_prefix("0::").unwrap_or_else(|| panic!("{pid}: {text:?}"));
        Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
    }
}

fn file(dir: &Path, name: &str) -> String {
    read(dir.join(name)).trim().to_owned()
}

fn run(podman: &Podman) {
    let out = podman.line("podman run --rm --network none box sh -c 'id -u; echo problem >&2; exit 7'").run();
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(7), "0\n", "problem\n"), "{out:#?}");
}

/// The limits are in a scope of systemd's, which goes with the container.
fn unit(podman: &Podman) {
    podman.ok("podman run -d --name unit --network none -m 64m --cpus 0.5 --pids-limit 77 box sleep 1000");
    let dir = podman.cgroup("unit");
    let scope = dir.ancestors().find(|d| d.extension().is_some_and(|e| e == "scope")).expect("a scope").to_owned();
    assert!(scope.file_name().unwrap().to_string_lossy().starts_with("libpod-"), "{}", dir.display());
    let limits = ["memory.max", "cpu.max", "pids.max"].map(|name| file(&scope, name));
    assert_eq!(limits, ["67108864", "50000 100000", "77"]);
    podman.ok("podman rm -f -t 0 unit");
    wait_for("the unit to go", || (!scope.exists()).then_some(()));
}

fn update(podman: &Podman) {
    podman.ok("podman run -d --name update --network none -m 64m box sleep 1000");
    podman.ok("podman update --memory 96m --pids-limit 88 update");
    let dir = podman.cgroup("update");
    assert_eq!((file(&dir, "memory.max"), file(&dir, "pids.max")), ("100663296".into(), "88".into()));
    let stats = podman.ok("podman stats --no-stream --format '{{.PIDS}} {{.MemUsage}}' update");
    assert!(stats.starts_with("1 ") && stats.ends_with("100.7MB"), "{stats}");
    podman.ok("podman rm -f -t 0 update");
}

fn exec(podman: &Podman) {
    podman.ok("podman run -d --name exec --network none -e WORD=config box sleep 1000");
    let out = podman.line("podman exec -u 1000 -w /tmp exec sh -c 'id -u; pwd; echo $WORD; exit 5'").run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(5), "1000\n/tmp\nconfig\n"), "{out:#?}");
    podman.ok("podman exec -d exec sleep 2000");
    wait_for("the process", || (file(&podman.cgroup("exec"), "cgroup.procs").lines().count() == 2).then_some(()));
    fails(&podman.line("podman exec exec nosuch").run(), 127, "executable file");
    assert_eq!(podman.ok("podman kill -s KILL exec && podman wait exec"), "exec\n137");
    podman.ok("podman rm exec");
}

fn exec_terminal(podman: &Podman) {
    podman.ok("podman run -d --name tty --network none box sleep 1000");
    let out = podman.line("script -qec \"podman exec -it tty sh -c 'tty; test -t 0 && exit 4'\" /dev/null").run();
    assert!(out.code == Some(4) && out.stdout.contains("/dev/pts/0"), "{out:#?}");
    podman.ok("podman rm -f -t 0 tty");
}

fn pause(podman: &Podman) {
    podman.ok("podman run -d --name pause --network none box sleep 1000");
    podman.ok("podman pause pause");
    let dir = podman.cgroup("pause");
    let frozen = || dir.ancestors().take(3).any(|d| file(d, "cgroup.freeze") == "1");
    assert!(frozen(), "{}", dir.display());
    podman.ok("podman unpause pause");
    assert!(!frozen(), "{}", dir.display());
    podman.ok("podman rm -f -t 0 pause");
}

fn missing_command(podman: &Podman) {
    let run = |command: &str| -> Output { podman.line(&format!("podman run --rm --network none box {command}")).run() };
    fails(&run("nosuch"), 127, "executable file");
    fails(&run("/etc/passwd"), 126, "ermission denied");
}

fn health(podman: &Podman) {
    podman.ok("podman run -d --name health --network none --health-cmd 'test -e /tmp/fine' --health-interval disable box sleep 1000");
    assert_eq!(podman.line("podman healthcheck run health").run().code, Some(1));
    podman.ok("podman exec health touch /tmp/fine");
    podman.ok("podman healthcheck run health");
    podman.ok("podman rm -f -t 0 health");
}

fn pod(podman: &Podman) {
    podman.ok("podman pod create --name pod --network none --infra-image localhost/box --infra-command 'sleep 1000' --share ipc,net,uts,pid");
    podman.ok("podman run -d --pod pod --name inpod box sleep 1000");
    let ns = "podman exec inpod sh -c 'ps | grep -c \"sleep 100[0]\"'";
    says(&podman.line(ns).run(), "2");
    podman.ok("podman pod rm -f -t 0 pod");
}

/// Podman's builds run the same runtime.
fn build(podman: &Podman) {
    let dir = podman.room.path("build");
    fs::create_dir_all(&dir).unwrap();
    let lines = "FROM localhost/box\nRUN echo made >/file && id -u >>/file\nUSER mars\nCMD [\"cat\", \"/file\"]\n";
    fs::write(dir.join("Containerfile"), lines).unwrap();
    podman.ok(&format!("podman build -q --network none -t built {}", dir.display()));
    says(&podman.line("podman run --rm --network none built").run(), "made\n0");
}

/// The runtime's log is one object; Podman shows what it says.
fn log(podman: &Podman) {
    let out = podman.line("podman run --rm --network none -w /etc/passwd/x box true").run();
    assert!(out.code.is_some_and(|code| code > 0) && out.stderr.contains("not a directory"), "{out:#?}");
}

fn privileged(podman: &Podman) {
    let own = read("/proc/self/status");
    let own = own.lines().find(|line| line.starts_with("CapEff")).unwrap();
    let script = "grep CapEff /proc/self/status; mount -t tmpfs tmpfs /mnt && echo mounted";
    let run = podman.line(&format!("podman run --rm --privileged --network none box sh -c '{script}'")).run();
    says(&run, &format!("{own}\nmounted"));
    podman.ok("podman run -d --name plain --network none box sleep 1000");
    says(&podman.line("podman exec --privileged plain grep CapEff /proc/self/status").run(), own);
    podman.ok("podman rm -f -t 0 plain");
}

fn apparmor(podman: &Podman) {
    let out = podman.line("podman run --rm --network none box cat /proc/self/attr/current").run();
    assert!(out.stdout.starts_with("containers-default-") && out.stdout.contains("(enforce)"), "{out:#?}");
}

fn keep_id(podman: &Podman) {
    let id = host("id", &["-u"]);
    says(&podman.line("podman run --rm --network none --userns keep-id box id -u").run(), id.trim());
}

#[test]
fn podman_with_systemd() {
    let Some(podman) = Podman::new(true) else { return };
    checks::run("podman_with_systemd", &podman, &[CHECKS, ROOT].concat());
    podman.ok("podman rm --all --force --time 0");
}

#[test]
fn podman_in_a_session() {
    let Some(podman) = Podman::new(false) else { return };
    checks::run("podman_in_a_session", &podman, &[CHECKS, USER].concat());
    podman.ok("podman rm --all --force --time 0");
}
