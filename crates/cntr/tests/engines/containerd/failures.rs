//! Errors: what the runtime says is what the user reads, and the shim can decode the log that it says it in.

use serde_json::Value;

use super::{Containerd, IMAGE};
use crate::checks::Check;
use crate::support::Output;

pub const CHECKS: &[Check<Containerd>] =
    &[("fails_run", run), ("fails_exec", exec), ("fails_mount", mount), ("fails_log", log)];

/// The end of what `ctr` prints: containerd adds its own words before and behind.
fn says(out: &Output, text: &str) {
    assert!(out.code == Some(1) && out.stderr.contains(text), "expected {text:?}: {out:#?}");
}

fn run(c: &Containerd) {
    let run = |command: &[&str]| c.run_with("fails", &["--rm", IMAGE, "fails"]).args(command).run();
    says(&run(&["nosuch"]), "exec: \"nosuch\": executable file not found in $PATH");
    says(&run(&["/no/such"]), "exec: \"/no/such\": stat /no/such: no such file or directory");
    says(&run(&["/etc/passwd"]), "exec: \"/etc/passwd\": permission denied");
    says(&run(&["/bin/sh/x"]), "not a directory");
    let out = run(&["/etc"]);
    // runc 1.1.5 says it in other words
    assert!(out.code == Some(1) && out.stderr.contains("exec: \"/etc\": "), "{out:#?}");
    // nothing is left: the id is free, and so is the state's
    assert!(!c.room.path("runtime/default/fails").exists(), "the runtime has kept its state");
    assert_eq!(c.run("fails", &[], "exit 8").code, Some(8));
}

fn exec(c: &Containerd) {
    let container = c.detached("failsexec", &[], "sleep 1000");
    let exec = |options: &[&str], command: &str| container.exec_with(options, &[command]).run();
    says(&exec(&[], "nosuch"), "exec failed: unable to start container process: ");
    says(&exec(&[], "nosuch"), "exec: \"nosuch\": executable file not found in $PATH");
    says(&exec(&[], "/no/such"), "exec: \"/no/such\": stat /no/such: no such file or directory");
    says(&exec(&[], "/etc/passwd"), "exec: \"/etc/passwd\": permission denied");
    says(&exec(&["--cwd", "/no/where"], "true"), "no such file or directory");
    assert_eq!(container.exec(&[], "exit 2").code, Some(2));
    assert_eq!(container.status().as_deref(), Some("RUNNING"));
}

fn mount(c: &Containerd) {
    let out = c.run("failsmount", &["--mount", "type=bind,src=/no/such,dst=/x,options=rbind"], "true");
    says(&out, "/no/such");
    says(&out, "no such file or directory");
}

/// Each line that a failure has left is an object with these three members, and the last error is what was printed.
fn log(c: &Containerd) {
    let container = c.detached("failslog", &[], "sleep 1000");
    for command in ["nosuch", "/etc/passwd"] {
        container.exec_with(&[], &[command]).run();
    }
    let log = c.log("failslog");
    let entries: Vec<Value> = serde_json::Deserializer::from_str(&log)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{e}: {log}"));
    assert!(entries.len() >= 2 && log.lines().count() == entries.len(), "{log}");
    for entry in &entries {
        let member = |name: &str| entry[name].as_str().unwrap_or_else(|| panic!("{name}: {entry}"));
        assert!(["error", "warning", "info", "debug"].contains(&member("level")), "{entry}");
        assert!(!member("msg").is_empty(), "{entry}");
        let time = member("time");
        assert!(time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{entry}");
    }
    let errors: Vec<_> = entries.iter().filter(|e| e["level"] == "error").collect();
    assert!(errors.last().unwrap()["msg"].as_str().unwrap().contains("/etc/passwd"), "{log}");
}
