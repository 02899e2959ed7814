//! The systemd driver, on a machine with systemd: units, their properties, and what is left of them. As root with the
//! machine's manager, as anybody else with his own; `CONTRIBUTING.md` says how to run them in the VM.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::exec::refused;
use crate::exec_place::ONLY_STARTED;
use crate::namespaces::ordinary;
use crate::support::bus::Bus;
use crate::support::{Cmd, Sandbox, bundle, host, read, skip, wait_for};

/// The limits that most tests set, and where they are read back: property, value, file, value.
const LIMITS: [(&str, &str, &str, &str); 4] = [
    ("MemoryMax", "67108864", "memory.max", "67108864"),
    ("TasksMax", "50", "pids.max", "50"),
    ("CPUWeight", "59", "cpu.weight", "59"),
    ("CPUQuotaPerSecUSec", "200ms", "cpu.max", "20000 100000"),
];

fn limits() -> Value {
    json!({
        "memory": { "limit": 67_108_864 },
        "pids": { "limit": 50 },
        "cpu": { "shares": 512, "quota": 20000, "period": 100_000 },
    })
}

/// A sandbox on a machine with systemd, and who asks it.
struct World {
    sandbox: Sandbox,
    uid: u32,
    config: Value,
    bus: Option<Bus>,
}

impl World {
    fn new(script: &str) -> Option<World> {
        if !Path::new("/run/systemd/system").is_dir() {
            skip("needs systemd");
            return None;
        }
        let uid = rustix::process::geteuid().as_raw();
        if uid != 0 && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            skip("needs a login session");
            return None;
        }
        let sandbox = Sandbox::new();
        let mut config = if uid == 0 { bundle::minimal("", script) } else { ordinary(uid, script) };
        config["linux"]["cgroupsPath"] = json!(format!(":{}:x", sandbox.id));
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
        config["linux"]["resources"] = limits();
        Some(World { sandbox, uid, config, bus: None })
    }

    /// The same with a bus of its own.
    fn with_bus(script: &str) -> Option<World> {
        let mut world = World::new(script)?;
        let real = match world.uid {
            0 => PathBuf::from("/run/dbus/system_bus_socket"),
            _ => PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("bus"),
        };
        if !real.exists() {
            skip("needs a bus");
            return None;
        }
        world.bus = Some(Bus::before(&world.sandbox, real));
        Some(world)
    }

    fn unit(&self) -> String {
        format!("{}-x.scope", self.sandbox.id)
    }

    fn environment(&self, cmd: Cmd) -> Cmd {
        let name = if self.uid == 0 { "DBUS_SYSTEM_BUS_ADDRESS" } else { "DBUS_SESSION_BUS_ADDRESS" };
        match (&self.bus, std::env::var("XDG_RUNTIME_DIR")) {
            (Some(bus), _) => cmd.env(name, &bus.address()),
            (None, Ok(dir)) => cmd.env("XDG_RUNTIME_DIR", &dir),
            (None, Err(_)) => cmd,
        }
    }

    /// A command on the container.
    fn verb(&self, args: &[&str]) -> Cmd {
        self.environment(self.sandbox.cntr(&["--systemd-cgroup"]).args(args).arg(&self.sandbox.id))
    }

    fn write(&self) {
        self.sandbox.write(&self.config);
    }

    fn create(&self) -> i32 {
        self.write();
        self.verb(&["create"]).ok();
        self.sandbox.pid()
    }

    fn systemctl(&self, args: &[&str]) -> String {
        let user: &[&str] = if self.uid == 0 { &[] } else { &["--user"] };
        host("systemctl", &[user, args].concat())
    }

    fn show(&self, unit: &str, property: &str) -> String {
        self.systemctl(&["show", "--value", "-p", property, "--", unit]).trim().to_owned()
    }

    /// The cgroup of a process, as a directory.
    fn cgroup(&self, pid: i32) -> PathBuf {
        let text = read(format!("/proc/{pid}/cgroup"));
        let v2 = text.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup v2");
        Path::new("/sys/fs/cgroup").join(v2.trim_start_matches('/'))
    }

    /// No container, and no unit, not even one that has failed.
    #[track_caller]
    fn assert_clean(&self) {
        self.sandbox.assert_clean();
        let unit = self.unit();
        let start = Instant::now();
        while self.show(&unit, "LoadState") != "not-found" {
            let state = || self.systemctl(&["show", "-p", "ActiveState,SubState,Result,ControlGroup", "--", &unit]);
            assert!(start.elapsed() < Duration::from_secs(10), "{unit} is left: {}", state());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether this machine has cgroup v2 alone.
fn v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn a_life() {
    let Some(mut world) = World::new("echo ready; exec sleep 1000") else { return };
    let annotations = json!({ "org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.CollectMode": "'inactive-or-failed'" });
    world.config["annotations"] = annotations;
    let pid = world.create();
    let unit = world.unit();
    assert_eq!(world.show(&unit, "ActiveState"), "active");
    assert_eq!(world.show(&unit, "Description"), "libcontainer container x");
    assert_eq!(world.show(&unit, "Delegate"), "yes");
    assert_eq!(world.show(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(world.show(&unit, "CollectMode"), "inactive-or-failed");
    let slice = if world.uid == 0 { "system.slice" } else { "user.slice" };
    assert_eq!(world.show(&unit, "Slice"), slice);
    if v2() {
        let dir = world.cgroup(pid);
        assert_eq!(
            world.show(&unit, "ControlGroup"),
            dir.strip_prefix("/sys/fs/cgroup").map(|p| format!("/{}", p.display())).unwrap()
        );
        for reloaded in [false, true] {
            for (property, asked, file, value) in LIMITS {
                assert_eq!(world.show(&unit, property), asked, "{property}");
                assert_eq!(read(dir.join(file)).trim(), value, "{file}, reloaded: {reloaded}");
            }
            world.systemctl(&["daemon-reload"]);
        }
    }
    world.verb(&["start"]).ok();
    assert_eq!(world.sandbox.status(), "running");
    if v2() {
        world.verb(&["update", "--pids-limit", "40"]).ok();
        world.systemctl(&["daemon-reload"]);
        assert_eq!(
            (world.show(&unit, "TasksMax"), read(world.cgroup(pid).join("pids.max"))),
            ("40".into(), "40\n".into())
        );
    }
    world.verb(&["kill"]).args(&["KILL"]).ok();
    world.sandbox.wait_status("stopped");
    world.verb(&["delete"]).ok();
    world.assert_clean();
}

/// One for `create`, one for `delete`, none for anything else. And `plan` may look.
#[test]
fn one_conversation_each() {
    let Some(world) = World::with_bus("exec sleep 1000") else { return };
    world.write();
    let bus = world.bus.as_ref().unwrap();
    let plan = world.environment(world.sandbox.cntr(&["--systemd-cgroup", "plan"])).ok();
    assert!(plan.stdout.contains("TasksMax = 50") && plan.stdout.contains("await systemd"), "{}", plan.stdout);
    assert_eq!(bus.connections(), 1);
    world.verb(&["create"]).ok();
    assert_eq!(bus.connections(), 1);
    for verb in [&["start"][..], &["state"]] {
        world.verb(verb).ok();
    }
    for flags in [&["exec"][..], &["exec", "-d"]] {
        world.verb(flags).args(&["true"]).ok();
    }
    world.verb(&["kill"]).args(&["KILL"]).ok();
    world.sandbox.wait_status("stopped");
    assert_eq!(bus.connections(), 0);
    // The record knows the way, whatever the environment says.
    world.sandbox.verb(&["delete"]).ok();
    assert_eq!(bus.connections(), 1);
    world.assert_clean();
}

#[test]
fn slices_are_made_with_what_is_above_them() {
    let Some(mut world) = World::new("exec sleep 1000") else { return };
    let tag = format!("cntrtest{}", std::process::id());
    world.config["linux"]["cgroupsPath"] = json!(format!("{tag}-a-b.slice:{}:x", world.sandbox.id));
    let pid = world.create();
    let path = read(format!("/proc/{pid}/cgroup"));
    let expected = format!("/{tag}.slice/{tag}-a.slice/{tag}-a-b.slice/{}", world.unit());
    assert!(path.trim_end().ends_with(&expected), "{path}");
    world.verb(&["delete", "--force"]).ok();
    world.assert_clean();
    world.systemctl(&["stop", &format!("{tag}.slice")]);

    for path in ["/a/path", "a:b", "a:b:c:d"] {
        world.config["linux"]["cgroupsPath"] = json!(path);
        world.write();
        let out = world.verb(&["create"]).run();
        let told = format!(
            "expected cgroupsPath to be of format \\\"slice:prefix:name\\\" for systemd cgroups, got \\\"{path}\\\" instead"
        );
        assert!(
            out.code == Some(1) && (out.stderr.contains(&told) || out.stderr.contains(&told.replace('\\', ""))),
            "{out:#?}"
        );
        world.assert_clean();
    }
}

/// A slice is there for many: nobody is put into it by systemd.
#[test]
fn a_slice_of_its_own() {
    let Some(mut world) = World::new("exec sleep 1000") else { return };
    if world.uid != 0 {
        return skip("systemd moves nobody into a slice, and an ordinary user may not");
    }
    let slice = format!("{}.slice", world.sandbox.id.replace('-', "_"));
    world.config["linux"]["cgroupsPath"] = json!(format!("::{slice}"));
    let pid = world.create();
    assert!(read(format!("/proc/{pid}/cgroup")).trim_end().ends_with(&format!("/{slice}")));
    assert_eq!((world.show(&slice, "ActiveState").as_str(), world.show(&slice, "TasksMax").as_str()), ("active", "50"));
    world.verb(&["delete", "--force"]).ok();
    assert_eq!(world.show(&slice, "ActiveState"), "inactive");
    assert!(!Path::new("/sys/fs/cgroup").join(&slice).exists());
    world.assert_clean();
}

/// The process that systemd takes is not init, but what comes of it is in the same cgroup.
#[test]
fn a_joined_pid_namespace_and_a_user_namespace() {
    let Some(mut world) = World::new("exec sleep 1000") else { return };
    if world.uid == 0 {
        world.config["linux"]["namespaces"][0] = json!({ "type": "pid", "path": "/proc/self/ns/pid" });
        let pid = world.create();
        assert!(read(format!("/proc/{pid}/cgroup")).trim_end().ends_with(&world.unit()));
        world.verb(&["start"]).ok();
        world.verb(&["delete", "--force"]).ok();
        world.assert_clean();

        world.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        world.config["linux"]["namespaces"][0] = json!({ "type": "pid" });
        let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        world.config["linux"]["uidMappings"] = maps.clone();
        world.config["linux"]["gidMappings"] = maps;
        crate::namespaces::own_directories(&world.sandbox, 100_000);
    }
    if world.uid != 0 {
        world.config["mounts"].as_array_mut().unwrap().remove(2); // the host's /sys has a cgroup2 there already
    }
    let options = json!(["nosuid", "noexec", "nodev", "rw"]);
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options });
    bundle::set(&mut world.config, "/mounts/-", Some(mount));
    let script = "cat /proc/self/cgroup; cd /sys/fs/cgroup && mkdir sub && echo $$ >sub/cgroup.procs && cat /proc/self/cgroup; \
        echo 1 >pids.max || echo kept";
    world.config["process"]["args"][2] = json!(script);
    world.write();
    if v2() {
        let out = world.verb(&["run"]).ok();
        // The cgroup is the container's to divide, and its limits are not.
        assert_eq!(out.stdout, "0::/\n0::/sub\nkept\n", "{out:#?}");
    }
    world.assert_clean();
}

/// Root of a user namespace of an ordinary user's, as rootless Podman is: another number than the one that the bus knows.
#[test]
fn root_of_a_users_namespace() {
    let Some(mut world) = World::new("exec sleep 1000") else { return };
    if world.uid == 0 {
        return skip("needs an ordinary user");
    }
    let cgroups_path = world.config["linux"]["cgroupsPath"].clone();
    world.config = bundle::minimal(cgroups_path.as_str().unwrap(), "exec sleep 1000");
    world.config["linux"]["resources"] = json!({ "pids": { "limit": 50 } });
    world.write();
    let within = |cmd: Cmd| cmd.wrapped(&["unshare", "-Urm"]);
    within(world.verb(&["create"])).ok();
    let pid = world.sandbox.pid();
    assert!(read(format!("/proc/{pid}/cgroup")).trim_end().ends_with(&format!("/user.slice/{}", world.unit())));
    assert_eq!(world.show(&world.unit(), "TasksMax"), "50");
    within(world.verb(&["start"])).ok();
    within(world.sandbox.verb(&["delete", "--force"])).ok();
    world.assert_clean();
}

/// What the container may open, asked each time that `/tmp/go` is there.
const DEVICES: &str = r"
    while :; do
        if rm /tmp/go 2>/dev/null; then
            for d in null zero kmsg; do if (: >/dev/$d) 2>/dev/null; then echo $d; fi; done; echo end
        fi
        sleep 0.02
    done";

/// systemd has a device program of its own, and makes it anew when it is told to look at its units again. What the container
/// may open is what the config says, before and after, also where systemd has no words for it.
#[test]
fn devices_stay_what_they_are() {
    let Some(mut world) = World::new(DEVICES) else { return };
    if world.uid != 0 {
        return skip("an ordinary user has no device program");
    }
    let kmsg =
        json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666, "uid": 0, "gid": 0 });
    world.config["linux"]["devices"] = json!([kmsg]);
    let rule = |allow: bool, numbers: [i64; 2]| json!({ "allow": allow, "type": "c", "major": numbers[0], "minor": numbers[1], "access": "rw" });
    let all = |allow: bool| json!({ "allow": allow, "access": "rwm" });
    for (rules, may) in [
        (json!([all(false)]), "null\nzero\nend\n"),
        (json!([all(false), rule(true, [1, 11])]), "null\nzero\nkmsg\nend\n"),
        (json!([all(false), rule(true, [-1, 11])]), "null\nzero\nkmsg\nend\n"),
        (json!([all(true)]), "null\nzero\nkmsg\nend\n"),
        (json!([all(true), rule(false, [1, 11])]), "null\nzero\nend\n"),
    ] {
        // On v1 systemd writes the files that we write, and has no words for these: it forbids more, until an update.
        if !v2() && (rules[0]["allow"] == true && rules[1].is_object() || rules[1]["major"] == -1) {
            continue;
        }
        world.config["linux"]["resources"]["devices"] = rules.clone();
        world.write();
        let created = world.verb(&["create"]).ok();
        world.verb(&["start"]).ok();
        let mut seen = String::new();
        let unit = world.unit();
        for change in [&["show", &unit][..], &["daemon-reload"], &["set-property", "--runtime", &unit, "TasksMax=60"]] {
            world.systemctl(change);
            std::fs::write(world.sandbox.rootfs().join("tmp/go"), "").unwrap();
            seen.push_str(may);
            wait_for("the devices", || {
                (read(&created.stdout_file).matches("end").count() == seen.matches("end").count()).then_some(())
            });
            assert_eq!(
                read(&created.stdout_file),
                seen,
                "{rules}, after {change:?}; DeviceAllow={}",
                world.show(&unit, "DeviceAllow")
            );
        }
        world.verb(&["delete", "--force"]).ok();
        world.assert_clean();
    }
}

/// A unit that failed keeps its name until somebody looks; that is no reason not to have it again.
#[test]
fn the_name_of_a_failed_unit_is_free() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    let user: &[&str] = if world.uid == 0 { &[] } else { &["--user"] };
    let unit = format!("--unit={}", world.unit());
    let args = ["--scope", "-q", &unit, "-p", "RuntimeMaxSec=1", "-p", "TimeoutStopSec=1", "sleep", "1000"];
    let _ = Command::new("systemd-run").args(user).args(args).status().unwrap();
    wait_for("a unit that has failed", || (world.show(&world.unit(), "ActiveState") == "failed").then_some(()));
    world.create();
    assert_eq!(world.show(&world.unit(), "ActiveState"), "active");
    world.verb(&["delete", "--force"]).ok();
    world.assert_clean();
}

/// Somebody else's unit of the same name, with processes and without: refused, and left alone.
#[test]
fn a_unit_that_is_taken_is_left_alone() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    let user: &[&str] = if world.uid == 0 { &[] } else { &["--user"] };
    let unit = format!("--unit={}", world.unit());
    let mut other =
        Command::new("systemd-run").args(user).args(["--scope", "-q", &unit, "sleep", "1000"]).spawn().unwrap();
    wait_for("the other's unit", || (world.show(&world.unit(), "ActiveState") == "active").then_some(()));
    world.write();
    let out = world.verb(&["create"]).run();
    // The other's process may not have come as far as its cgroup.
    let told = ["container's cgroup is not empty", "was already loaded"];
    assert!(out.code == Some(1) && told.iter().any(|text| out.stderr.contains(text)), "{out:#?}");
    world.sandbox.verb(&["delete", "--force"]).ok();
    assert_eq!(world.show(&world.unit(), "ActiveState"), "active");
    assert!(other.try_wait().unwrap().is_none(), "the other's process was killed");
    other.kill().unwrap();
    other.wait().unwrap();
    world.assert_clean();
}

/// The same in another slice, where nothing is in the way of the cgroup: a `create` that is killed before systemd has refused
/// it leaves the name of a unit that is not its own.
#[test]
fn a_unit_that_was_only_intended_is_left_alone() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    let user: &[&str] = if world.uid == 0 { &[] } else { &["--user"] };
    let unit = format!("--unit={}", world.unit());
    let args = ["--scope", "-q", &unit, "--slice=-.slice", "sleep", "1000"];
    let mut other = Command::new("systemd-run").args(user).args(args).spawn().unwrap();
    wait_for("the other's unit", || (world.show(&world.unit(), "ActiveState") == "active").then_some(()));
    world.write();
    let out = world.verb(&["create"]).run();
    assert!(out.code == Some(1) && out.stderr.contains("was already loaded"), "{out:#?}");
    let start = Instant::now();
    world.verb(&["create"]).run();
    let length = start.elapsed();
    let rounds = 20;
    for round in 0..rounds {
        let running = world.verb(&["create"]).spawn();
        std::thread::sleep(length.mul_f64(f64::from(round) / f64::from(rounds)));
        running.signal(Signal::SIGKILL);
        running.wait();
        world.verb(&["delete", "--force"]).run();
        assert_eq!(world.show(&world.unit(), "ActiveState"), "active", "round {round}");
        assert!(other.try_wait().unwrap().is_none(), "the other's process was killed");
    }
    other.kill().unwrap();
    other.wait().unwrap();
    world.assert_clean();
}

/// In a pid namespace of its own, with the machine's bus: `StartTransientUnit` there means whoever has the number outside.
#[test]
fn pids_that_mean_others_to_systemd() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    if world.uid != 0 {
        return skip("needs root");
    }
    world.write();
    let out = world.verb(&["create"]).wrapped(&["unshare", "-pf", "--mount-proc"]).run();
    let told = "systemd runs outside of this pid namespace and would take another process for the container's";
    assert!(out.code == Some(1) && out.stderr.contains(told), "{out:#?}");
    world.assert_clean();
}

/// Two containers of one unit, one after the other: the end of the first is not the second's.
#[test]
fn a_unit_that_another_container_has_by_now() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    let pid = world.create();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_for("the unit to go", || (world.show(&world.unit(), "LoadState") == "not-found").then_some(()));
    let second = format!("{}-second", world.sandbox.id);
    let verb = |args: &[&str]| world.environment(world.sandbox.cntr(&["--systemd-cgroup"]).args(args).arg(&second));
    verb(&["create"]).ok();
    world.verb(&["delete", "--force"]).ok();
    let state: Value = serde_json::from_str(&verb(&["state"]).ok().stdout).unwrap();
    assert_eq!(state["status"], "created");
    assert_eq!(world.show(&world.unit(), "ActiveState"), "active");
    verb(&["delete", "--force"]).ok();
    world.assert_clean();
}

/// Nothing answers. What was asked is not made; what is there can be removed all the same.
#[test]
fn a_bus_that_has_stopped() {
    let Some(world) = World::with_bus("exec sleep 1000") else { return };
    let second = World::with_bus("exec sleep 1000").unwrap();
    let pid = world.create();
    world.verb(&["start"]).ok();
    let dir = world.cgroup(pid);
    for world in [&world, &second] {
        world.bus.as_ref().unwrap().stop();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            second.write();
            let start = Instant::now();
            let out = second.verb(&["create"]).run();
            let told = "timed out after 30s waiting for an answer of D-Bus at unix:path=";
            assert!(out.code == Some(1) && out.stderr.contains(told), "{out:#?}");
            assert!(start.elapsed() < Duration::from_secs(40));
            second.assert_clean();
        });
        let start = Instant::now();
        let out = world.verb(&["delete", "--force"]).ok();
        assert!(out.stderr.contains("was not ended: ") && out.stderr.contains("level=warning"), "{out:#?}");
        assert!(start.elapsed() < Duration::from_secs(40));
        assert!(!dir.exists());
        world.assert_clean(); // systemd has seen the directory go
    });
}

/// `create` is killed at any moment; `delete --force` leaves no process, cgroup, unit or directory.
#[test]
fn killed_at_random_moments() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    world.create();
    let start = Instant::now();
    world.verb(&["delete", "--force"]).ok();
    world.assert_clean();
    world.verb(&["create"]).ok();
    let length = start.elapsed();
    world.verb(&["delete", "--force"]).ok();
    let rounds = 40;
    for round in 0..rounds {
        // Evenly over the length of an undisturbed one, and a little more.
        let moment = length.mul_f64(1.2 * f64::from(round) / f64::from(rounds));
        let running = world.verb(&["create"]).spawn();
        std::thread::sleep(moment);
        running.signal(Signal::SIGKILL);
        running.wait();
        let deleted = world.verb(&["delete", "--force"]).run();
        assert_eq!((deleted.code, deleted.stderr.as_str()), (Some(0), ""), "round {round}, {moment:?}");
        world.assert_clean();
    }
}

/// A process of `exec` is in the scope, and so in init's cgroup, whatever systemd reads anew in between. An ordinary user may
/// move his processes only below his own manager: who calls from a login session, which is beside that, has it run where he is.
#[test]
fn exec_is_in_the_scope() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    if !v2() {
        return skip("needs cgroup v2");
    }
    let within = |cmd: Cmd| match world.uid {
        0 => cmd,
        _ => cmd.wrapped(&["systemd-run", "--user", "--scope", "--quiet"]),
    };
    let pid = world.create();
    if world.uid != 0 {
        refused(&world.verb(&["exec"]).args(&["true"]).run(), ONLY_STARTED);
    }
    world.verb(&["start"]).ok();
    let of_init = read(format!("/proc/{pid}/cgroup"));
    assert!(of_init.trim_end().ends_with(&world.unit()), "{of_init}");
    world.verb(&["exec"]).args(&["true"]).ok();
    let file = world.sandbox.path("exec.pid");
    let exec = world.verb(&["exec", "-d", "--pid-file", &file.to_string_lossy()]);
    within(exec.args(&["sleep", "1000"])).ok();
    let first = read(&file);
    let unit = world.unit();
    for command in [&["daemon-reload"][..], &["set-property", "--runtime", &unit, "TasksMax=60"]] {
        world.systemctl(command);
        assert_eq!(read(format!("/proc/{first}/cgroup")), of_init, "{command:?}");
        let out = within(world.verb(&["exec"]).args(&["cat", "/proc/self/cgroup"])).ok();
        assert_eq!(out.stdout, "0::/\n", "the root of the cgroup namespace, {command:?}");
    }
    world.verb(&["kill"]).args(&["KILL"]).ok();
    world.sandbox.wait_status("stopped");
    world.verb(&["delete"]).ok();
    world.assert_clean();
}

/// systemd and the files say the same after an update, also when it is refused, and whatever systemd reads anew.
#[test]
fn update() {
    let Some(world) = World::new("exec sleep 1000") else { return };
    if !v2() {
        return skip("needs cgroup v2");
    }
    let pid = world.create();
    world.verb(&["start"]).ok();
    let (cgroup, unit) = (world.cgroup(pid), world.unit());
    let seen = |asked: [&str; 3]| {
        let files = ["memory.max", "pids.max", "cpu.max"].map(|file| read(cgroup.join(file)).trim_end().to_owned());
        assert_eq!(files, asked);
        let names = ["MemoryMax", "TasksMax"].map(|name| world.show(&unit, name));
        assert_eq!(names, asked[..2]);
    };
    world.verb(&["update", "--memory", "128m", "--pids-limit", "60", "--cpu-quota", "30500"]).ok();
    seen(["134217728", "60", "31000 100000"]);
    assert_eq!(world.show(&unit, "CPUQuotaPerSecUSec"), "310ms", "as systemd rounds");
    world.systemctl(&["daemon-reload"]);
    seen(["134217728", "60", "31000 100000"]);
    let file = world.sandbox.path("resources.json");
    let update = |resources: Value| {
        std::fs::write(&file, resources.to_string()).unwrap();
        world.verb(&["update", "-r", &file.to_string_lossy()])
    };
    // the kernel refuses it, after systemd has been told of all
    let out = update(
        json!({ "memory": { "limit": 200 << 20 }, "pids": { "limit": 70 }, "unified": { "cgroup.max.depth": "x" } }),
    )
    .run();
    assert!(out.code == Some(1) && out.stderr.contains("linux.resources.unified"), "{out:#?}");
    seen(["134217728", "60", "31000 100000"]);
    world.systemctl(&["daemon-reload"]);
    seen(["134217728", "60", "31000 100000"]);
    if world.uid == 0 {
        let rare = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" });
        update(json!({ "devices": [{ "allow": false, "access": "rwm" }, rare] })).ok();
        assert!(world.show(&unit, "DeviceAllow").contains("/dev/char/1:11 w"));
    }
    world.verb(&["delete", "--force"]).ok();
    world.assert_clean();
}
