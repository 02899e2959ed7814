//! Device rules of a container that runs: what is allowed before and after an update is refused to nobody meanwhile, on v1
//! and with the program of v2, also in cgroups below; what is newly denied is refused, what is newly allowed works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Sandbox, View, bundle, read, root, skip, verify_cgroup, wait_for};

/// Opens and reads /dev/null for ever, and then says how often; the shell's complaint goes to stderr. The device
/// /dev/rare is no node that a container has by default: it is opened, not written.
const READER: &str = "reader() { n=0; until [ -e /stop ]; do i=0; while [ $i -lt 100 ]; do read x </dev/null; i=$((i+1)); \
    done; n=$((n+100)); done; echo $n; }; ";

fn rule(allow: bool, kind: &str, numbers: Option<(i64, Option<i64>)>, access: &str) -> Value {
    let mut rule = json!({ "allow": allow, "type": kind, "access": access });
    if let Some((major, minor)) = numbers {
        rule["major"] = json!(major);
        rule["minor"] = json!(minor);
    }
    rule
}

fn deny_all() -> Value {
    rule(false, "a", None, "rwm")
}

/// The kernel's log: opening it for writing needs no capability.
fn allow_rare() -> Value {
    rule(true, "c", Some((1, Some(11))), "w")
}

struct World {
    sandbox: Sandbox,
    v1: bool,
}

impl World {
    fn new(view: View, script: &str) -> Option<World> {
        if !root() {
            return None;
        }
        if view == View::V2 && verify_cgroup::directory(std::process::id().cast_signed(), "").is_none() {
            skip("needs cgroup v2 where the tests can see it");
            return None;
        }
        let sandbox = Sandbox::with_view(view);
        let mut config = bundle::minimal(&sandbox.cgroups_path(), &format!("{READER}{script}"));
        config["linux"]["devices"] =
            json!([{ "path": "/dev/rare", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 }]);
        config["linux"]["resources"] = json!({ "devices": [deny_all()] });
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        let v1 = view != View::V2 && verify_cgroup::directory(sandbox.pid(), "devices").is_some();
        sandbox.verb(&["start"]).ok();
        Some(World { sandbox, v1 })
    }

    fn dir(&self) -> PathBuf {
        verify_cgroup::directory(self.sandbox.pid(), if self.v1 { "devices" } else { "" }).unwrap()
    }

    fn file(&self, name: &str, devices: &Value) -> PathBuf {
        let path = self.sandbox.path(name);
        fs::write(&path, json!({ "devices": devices }).to_string()).unwrap();
        path
    }

    fn update(&self, devices: &Value) {
        let file = self.file("one.json", devices);
        self.sandbox.cntr(&["update", "-r", &file.to_string_lossy(), &self.sandbox.id]).ok();
    }

    /// As many updates as asked for, with each of the files in turn.
    fn rounds(&self, count: usize, files: &[PathBuf]) {
        let cntr = crate::support::runtime();
        let words: Vec<String> = files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
        let script = "i=0; while [ $i -lt $0 ]; do for f; do \"$CNTR\" --root \"$ROOT\" update -r $f \"$ID\" || exit 1; \
                      i=$((i+1)); done; done";
        let cmd = self.sandbox.seen(Path::new("/bin/sh")).args(&["-c", script, &count.to_string()]);
        let cmd = words.iter().fold(cmd, |cmd, word| cmd.arg(word)).env("CNTR", &cntr.to_string_lossy());
        let out = cmd.env("ROOT", &self.sandbox.state_root().to_string_lossy()).env("ID", &self.sandbox.id).run();
        assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:#?}");
    }

    /// Ends the readers, and returns how often each has read.
    fn counts(&self, readers: usize) -> Vec<u64> {
        fs::write(self.sandbox.rootfs().join("stop"), "").unwrap();
        let out = wait_for("the readers to end", || {
            let text = self.output("out");
            (text.lines().count() == readers).then_some(text)
        });
        out.lines().map(|n| n.parse().unwrap()).collect()
    }

    /// What the container's processes have printed; the commands of this test print nothing there.
    fn output(&self, ending: &str) -> String {
        let files = fs::read_dir(self.sandbox.path("out")).unwrap().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|e| e == ending));
        files.map(read).filter(|text| !text.starts_with('{')).collect()
    }

    /// Whether a process in this cgroup may open the container's /dev/rare.
    fn opens(&self, cgroup: &Path) -> bool {
        let script = "echo $$ >\"$0/cgroup.procs\" && exec 3>/proc/\"$1\"/root/dev/rare";
        let pid = self.sandbox.pid().to_string();
        let out = Command::new("/bin/sh").arg("-c").arg(script).arg(cgroup).arg(pid).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() || text.contains("Operation not permitted"), "{out:?}");
        out.status.success()
    }

    /// As the record has them.
    fn rules(&self) -> Value {
        let record: Value = serde_json::from_str(&read(self.sandbox.state_dir().join("state.json"))).unwrap();
        record["config"]["cgroups"]["resources"]["devices"].clone()
    }

    fn done(self) {
        self.sandbox.verb(&["delete", "--force"]).ok();
        self.sandbox.assert_clean();
    }
}

const VIEWS: [View; 2] = [View::Host, View::V2];

#[test]
fn nothing_is_refused_while_rules_change() {
    for view in VIEWS {
        let Some(world) = World::new(view, "reader & reader; wait; sleep 1000") else { return };
        // the second reader lives in a cgroup below
        let nested = world.dir().join("nested");
        fs::create_dir(&nested).unwrap();
        let second = wait_for("the second reader", || {
            let own = world.sandbox.pid().to_string();
            let list = read(world.dir().join("cgroup.procs"));
            list.lines().find(|pid| *pid != own).map(str::to_owned)
        });
        fs::write(nested.join("cgroup.procs"), second).unwrap();
        let rules = [
            json!([deny_all()]),
            json!([deny_all(), allow_rare()]),
            // gives with one line what several gave, and takes it back
            json!([deny_all(), rule(true, "c", Some((1, None)), "rwm"), rule(true, "c", Some((10, None)), "r")]),
            json!([deny_all(), rule(true, "b", Some((8, Some(0))), "r"), allow_rare()]),
        ];
        let files: Vec<PathBuf> =
            rules.iter().enumerate().map(|(i, rules)| world.file(&format!("{i}.json"), rules)).collect();
        (0..10).for_each(|_| world.rounds(100, &files));
        let counts = world.counts(2);
        assert_eq!(world.output("err"), "", "{view:?}: refused");
        assert!(counts.iter().all(|n| *n >= 10_000), "{view:?}: {counts:?}");
        eprintln!("{view:?}: {counts:?} reads during 1000 updates");
        world.done();
    }
}

#[test]
fn what_is_denied_is_refused_and_what_is_allowed_works() {
    for view in VIEWS {
        let Some(world) = World::new(view, "sleep 1000") else { return };
        let nested = world.dir().join("nested");
        fs::create_dir(&nested).unwrap();
        // given rules of its own, by which it stays
        let own = world.dir().join("own");
        fs::create_dir(&own).unwrap();
        if world.v1 {
            fs::write(own.join("devices.deny"), "c 10:200 rwm").unwrap();
        }
        for (rules, opens) in [
            (json!([deny_all()]), false),
            (json!([deny_all(), allow_rare()]), true),
            (json!([allow_rare(), rule(false, "c", Some((1, Some(11))), "w")]), false),
            (json!([deny_all(), rule(true, "c", Some((1, None)), "w")]), true),
            (json!([deny_all(), rule(true, "c", Some((1, None)), "r")]), false),
            (json!([rule(true, "a", None, "rwm")]), true),
            (json!([deny_all()]), false),
        ] {
            world.update(&rules);
            for cgroup in [world.dir(), nested.clone()] {
                assert_eq!(world.opens(&cgroup), opens, "{view:?} {} {rules}", cgroup.display());
            }
            if world.v1 {
                assert!(!world.opens(&own) || rules[0]["allow"] == true, "{rules}");
                assert!(!read(own.join("devices.list")).contains("c 10:200"), "{rules}");
            }
        }
        // an empty list and none leave them
        world.update(&json!([deny_all(), allow_rare()]));
        world.update(&json!([]));
        world.sandbox.cntr(&["update", "--cpu-share", "", &world.sandbox.id]).ok();
        assert!(world.opens(&world.dir()));
        world.done();
    }
}

/// Kubernetes passes the whole config to change a number of CPUs: what a hook has allowed besides its rules stays allowed.
#[test]
fn the_same_rules_again_change_nothing() {
    for view in VIEWS {
        let Some(world) = World::new(view, "sleep 1000") else { return };
        let rules = json!([rule(false, "a", None, "rwm")]);
        let hooked = world.v1;
        if hooked {
            fs::write(world.dir().join("devices.allow"), "c 1:11 w").unwrap();
        }
        world.update(&rules);
        assert_eq!(world.opens(&world.dir()), hooked, "{view:?}: the same");
        world.update(&json!([{ "allow": false, "access": "mwr" }]));
        assert_eq!(world.opens(&world.dir()), hooked, "{view:?}: the same in other words");
        world.update(&json!([deny_all(), rule(true, "c", Some((1, Some(11))), "r")]));
        assert!(!world.opens(&world.dir()), "{view:?}: others");
        world.done();
    }
}

/// v1 forgets the exceptions with the default: nobody runs meanwhile.
#[test]
fn from_one_default_to_the_other() {
    for view in VIEWS {
        let Some(world) = World::new(view, "reader; sleep 1000") else { return };
        let all = rule(true, "a", None, "rwm");
        let but_rare = json!([all.clone(), rule(false, "c", Some((1, Some(11))), "w")]);
        let files = [json!([deny_all()]), json!([all.clone()]), but_rare.clone(), json!([deny_all(), allow_rare()])];
        let files: Vec<PathBuf> =
            files.iter().enumerate().map(|(i, rules)| world.file(&format!("{i}.json"), rules)).collect();
        world.rounds(100, &files);
        for (rules, opens, list) in
            [(but_rare, false, true), (json!([all]), true, true), (json!([deny_all()]), false, false)]
        {
            world.update(&rules);
            assert_eq!(world.opens(&world.dir()), opens, "{view:?} {rules}");
            assert!(!world.v1 || read(world.dir().join("devices.list")).starts_with("a *:* rwm") == list, "{rules}");
        }
        assert_eq!(world.sandbox.status(), "running");
        assert!(world.counts(1)[0] > 1000);
        assert_eq!(world.output("err"), "", "{view:?}: refused");
        world.done();
    }
}

/// Engines pass the rules that they know of with every limit; a wrapper of the runtime may have added others to the config.
#[test]
fn an_update_of_limits_takes_no_device_away() {
    for view in VIEWS {
        let Some(world) = World::new(view, "sleep 1000") else { return };
        world.update(&json!([deny_all(), allow_rare()]));
        let (recorded, file) = (world.rules(), world.sandbox.path("limits.json"));
        let update = |devices: Value| {
            // an old name of a limit that no kernel has any more: asked for, and written nowhere
            fs::write(&file, json!({ "memory": { "kernelTCP": 1 }, "devices": devices }).to_string()).unwrap();
            world.sandbox.cntr(&["update", "-r", &file.to_string_lossy(), &world.sandbox.id]).ok()
        };
        let out = update(json!([deny_all()]));
        assert!(out.stderr.contains("linux.resources.devices: left as they are"), "{out:#?}");
        assert!(world.opens(&world.dir()), "{view:?}");
        assert_eq!(world.rules(), recorded, "{view:?}");
        let more = json!([deny_all(), allow_rare(), rule(true, "c", Some((7, Some(1))), "r")]);
        let out = update(more.clone());
        assert!(!out.stderr.contains("left as they are"), "{out:#?}");
        assert_eq!(world.rules(), more, "{view:?}");
        world.update(&json!([deny_all()]));
        assert!(!world.opens(&world.dir()), "{view:?}: alone");
        world.done();
    }
}

/// Before they are written, and after: then it is the record that cannot be.
#[test]
fn a_refused_update_leaves_the_rules() {
    for view in VIEWS {
        let Some(world) = World::new(view, "sleep 1000") else { return };
        let list = || read(world.dir().join("devices.list"));
        let state = || read(world.sandbox.state_dir().join("state.json"));
        let (all, one) = (rule(true, "a", None, "rwm"), world.sandbox.path("refused.json"));
        for start in [json!([deny_all(), allow_rare()]), json!([all])] {
            world.update(&start);
            let before = (list(), state());
            let other = if world.v1 { json!({ "cgroup.max.depth": "1" }) } else { json!({ "cgroup.max.depth": "x" }) };
            let more = json!([deny_all(), allow_rare(), rule(true, "c", Some((7, Some(1))), "r")]);
            for resources in [json!({ "devices": more, "unified": other }), json!({ "devices": [deny_all()] })] {
                fs::write(&one, resources.to_string()).unwrap();
                let dir = world.sandbox.state_dir().to_string_lossy().into_owned();
                let read_only = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
                let cmd = world.sandbox.cntr(&["update", "-r", &one.to_string_lossy(), &world.sandbox.id]);
                let out = cmd.wrapped(&["unshare", "-m", "sh", "-c", read_only, &dir]).run();
                let says =
                    if resources["unified"].is_null() { "read-only file system" } else { "linux.resources.unified" };
                assert!(out.code == Some(1) && out.stderr.contains(says) && !out.stderr.contains("stay"), "{out:#?}");
                assert!(world.opens(&world.dir()), "{view:?} {start} {resources}");
                assert_eq!((list(), state()), before, "{view:?}");
            }
        }
        assert_eq!(world.sandbox.status(), "running");
        world.done();
    }
}
