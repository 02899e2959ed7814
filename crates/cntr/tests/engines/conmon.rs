//! conmon and a runtime as CRI-O drives them, which is not in Debian: `create` through conmon with `--runtime-arg`, everything
//! else by the runtime itself, `exec` attached and, with a terminal, through the runtime's own.

use crate::machine::{Machine, fails, says};
use crate::support::{Output, wait_for};

const CONFIG: &str = r#"{
    "ociVersion": "1.0.2",
    "process": {
        "args": ["sh", "-c", "echo begun; echo err >&2; trap 'exit 3' TERM; while :; do sleep 0.05; done"],
        "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}
    },
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}
    ],
    "linux": {
        "cgroupsPath": "/crio/one",
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]
    }
}"#;

/// A container of this id, by conmon; what it tells over its pipe once the runtime has ended.
fn create(machine: &Machine, id: &str) -> String {
    let line = format!(
        "_OCI_SYNCPIPE=3 conmon -b $PWD/bundle -c {id} -n {id} -u 0123456789 -r /usr/local/bin/cntr -p $PWD/{id}.pid \
         -l $PWD/{id}.log --exit-dir $PWD/exits --socket-dir-path $PWD/attach -P $PWD/{id}.conmon \
         --runtime-arg --root=$PWD/state 3>{id}.sync"
    );
    machine.root(&line).ok();
    wait_for("conmon's word", || {
        let told = machine.root(&format!("cat {id}.sync")).ok().stdout;
        told.ends_with('\n').then_some(told)
    })
}

fn cntr(machine: &Machine, line: &str) -> Output {
    machine.root(&format!("cntr --root $PWD/state {line}")).run()
}

/// A process file; `exec` is with it, as an exec probe and as `crictl exec` are.
fn process(machine: &Machine, name: &str, terminal: bool, script: &str) {
    let process = serde_json::json!({
        "terminal": terminal,
        "args": ["sh", "-c", script],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 },
    });
    std::fs::write(machine.room.path(name), process.to_string()).unwrap();
}

#[test]
fn conmon() {
    let Some(machine) = Machine::new(&["conmon", "script"]) else { return };
    crate::image::tar(machine.room.dir());
    machine.root("mkdir bundle exits attach && mv rootfs bundle").ok();
    std::fs::write(machine.room.path("bundle/config.json"), CONFIG).unwrap();

    let told = create(&machine, "one");
    let pid = machine.root("cat one.pid").ok().stdout;
    assert_eq!(told.trim(), format!("{{\"pid\": {pid}}}"));
    assert!(cntr(&machine, "state one").stdout.contains("\"status\": \"created\""));
    says(&cntr(&machine, "start one"), "");
    wait_for("what it writes", || {
        (machine.root("cut -d ' ' -f 2- one.log | sort").ok().stdout == "stderr F err\nstdout F begun\n").then_some(())
    });
    execs(&machine);
    changes(&machine);
    end(&machine);
    failing(&machine);
    says(&machine.root("ls state; find /sys/fs/cgroup/*/crio -mindepth 1 -type d").run(), "");
}

fn execs(machine: &Machine) {
    process(machine, "plain", false, "echo out; echo err >&2; exit 5");
    let out = cntr(machine, "exec --process plain one");
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(5), "out\n", "err\n"), "{out:#?}");
    // the runtime's stdio is a terminal of CRI-O's, and the runtime in between; runc 1.1 tells the size only after the start
    process(machine, "terminal", true, "tty; test -t 0 && test -t 1 && test -t 2 && stty size; exit 6");
    let line = "script -qec 'stty rows 20 cols 70; cntr --root $PWD/state exec --process terminal one' /dev/null";
    let out = machine.root(&format!("sleep 1 | {line}")).run();
    assert_eq!((out.code, out.stdout.replace('\r', "")), (Some(6), "/dev/pts/0\n20 70\n".into()), "{out:#?}");
    process(machine, "through", false, "cat");
    let line = "head -c 300000 /dev/zero | cntr --root $PWD/state exec --process through one | wc -c";
    says(&machine.root(line).run(), "300000");
}

fn changes(machine: &Machine) {
    says(&cntr(machine, "pause one"), "");
    fails(&cntr(machine, "exec --process plain one"), 255, "cannot exec in a paused container");
    says(&cntr(machine, "resume one"), "");
    says(
        &machine
            .root("echo '{\"memory\": {\"limit\": 67108864}}' | cntr --root $PWD/state update --resources - one")
            .run(),
        "",
    );
    says(&machine.root("cat /sys/fs/cgroup/memory/crio/one/memory.limit_in_bytes").run(), "67108864");
}

/// conmon writes the exit status; a second signal has nobody to go to, in the words that CRI-O takes for an end.
fn end(machine: &Machine) {
    says(&cntr(machine, "kill one TERM"), "");
    wait_for("the exit file", || {
        let code = machine.root("cat exits/one").run().stdout;
        (!code.is_empty()).then(|| assert_eq!(code.trim(), "3"))
    });
    fails(&cntr(machine, "kill one TERM"), 1, "container not running");
    says(&cntr(machine, "kill -a one 9"), "");
    says(&cntr(machine, "delete --force one"), "");
    says(&cntr(machine, "delete --force one"), "");
    fails(&cntr(machine, "state one"), 1, "container does not exist");
}

/// What a user sees of a create that fails is what the runtime wrote to stderr.
fn failing(machine: &Machine) {
    std::fs::write(machine.room.path("bundle/config.json"), CONFIG.replacen("\"sh\"", "\"nosuch\"", 1)).unwrap();
    let told = create(machine, "two");
    assert!(told.starts_with("{\"pid\": -1, "), "{told}");
    assert!(told.contains("executable file not found in $PATH"), "{told}");
}
