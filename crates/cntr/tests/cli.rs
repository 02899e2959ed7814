//! The command line as callers see it: frozen strings, exit codes, streams, log shapes, documents.
//!
//! One binary. What is in this file runs as anybody and makes no container; `cli/containers.rs` does. Each test has
//! its own state root.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is test code"
)]

#[path = "cli/callers.rs"]
mod callers;
#[path = "cli/containers.rs"]
mod containers;
#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/place.rs"]
mod place;

use place::{CNTR, Got, Place, anywhere, assert_time, entries, message};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[test]
fn wrong_usage_shows_help_on_stdout_and_one_error() {
    for (line, shown, error) in [
        (
            "-xyz",
            "Incorrect Usage: flag provided but not defined: -xyz\n\nNAME:\n   cntr - ",
            "flag provided but not defined: -xyz",
        ),
        (
            "create -xyz a",
            "Incorrect Usage: flag provided but not defined: -xyz\n\nNAME:\n   cntr create - ",
            "flag provided but not defined: -xyz",
        ),
        ("run -td a", "Incorrect Usage: flag", "flag provided but not defined: -td"),
        ("create --detach a", "Incorrect Usage: flag", "flag provided but not defined: -detach"),
        ("run --bundle", "Incorrect Usage: flag", "flag needs an argument: -bundle"),
        ("run -d=x a", "Incorrect Usage: inv", "invalid boolean value \"x\" for -d: parse error"),
        ("run --preserve-fds x a", "Incorrect Usage: inv", "invalid value \"x\" for flag -preserve-fds: parse error"),
        ("create", "Incorrect Usage.\n\nNAME:\n   cntr create - ", "ARGV0: \"create\" requires exactly 1 argument(s)"),
        ("create a b", "Incorrect Usage.\n\nNAME:\n", "ARGV0: \"create\" requires exactly 1 argument(s)"),
        ("state", "Incorrect Usage.\n\nNAME:\n", "ARGV0: \"state\" requires exactly 1 argument(s)"),
        ("list a", "Incorrect Usage.\n\nNAME:\n", "ARGV0: \"list\" requires exactly 0 argument(s)"),
        ("kill", "Incorrect Usage.\n\nNAME:\n", "ARGV0: \"kill\" requires a minimum of 1 argument(s)"),
        ("kill a b c", "Incorrect Usage.\n\nNAME:\n", "ARGV0: \"kill\" requires a maximum of 2 argument(s)"),
        ("ps", "Incorrect Usage.\n\nNAME:\n", "ARGV0: \"ps\" requires a minimum of 1 argument(s)"),
    ] {
        let got = anywhere(line);
        assert!(got.out.starts_with(shown), "{line}: {}", got.out);
        assert_eq!(message(&got), error.replace("ARGV0", CNTR), "{line}");
        assert_eq!(got.code, Some(1), "{line}");
    }
}

#[test]
fn unknown_commands_end_with_status_3() {
    for line in ["foo", "help foo", "--debug=0 foo -x"] {
        let got = anywhere(line);
        assert_eq!(message(&got), "No help topic for 'foo'", "{line}");
        assert_eq!((got.code, got.out.as_str()), (Some(3), ""), "{line}");
    }
}

#[test]
fn help_is_on_stdout_and_names_flags() {
    for line in ["", "help", "h", "--help", "-h"] {
        let got = anywhere(line);
        assert_eq!((got.code, got.err.as_str()), (Some(0), ""), "{line}");
        let head = "NAME:\n   cntr - Open Container Initiative runtime\n";
        assert!(got.out.starts_with(head) && got.out.contains("--systemd-cgroup"), "{}", got.out);
    }
    for line in ["create --help", "create -h", "help create", "create a --help"] {
        let got = anywhere(line);
        assert_eq!((got.code, got.err.as_str()), (Some(0), ""), "{line}");
        assert!(got.out.starts_with("NAME:\n   cntr create - "), "{}", got.out);
        for flag in ["--bundle value, -b value", "--console-socket", "--pid-file", "--no-pivot", "--preserve-fds"] {
            assert!(got.out.contains(flag), "{flag} not in {}", got.out);
        }
    }
    assert!(anywhere("update --help").out.contains("--memory-reservation value"));
}

#[test]
fn the_manual_is_made_from_the_same_table() {
    let got = anywhere("help --man");
    assert!(got.out.starts_with(".TH CNTR 8 ") && got.out.contains("\\fB\\-\\-pid\\-file value\\fR"), "{}", got.out);
}

#[test]
fn version_is_named_after_the_program() {
    let got = anywhere("--version");
    let version = env!("CARGO_PKG_VERSION");
    let lines: Vec<&str> = got.out.lines().collect();
    assert_eq!(lines[0], format!("cntr version {version}"));
    assert!(lines[1].starts_with("commit: ") && lines[1].len() > 8, "{lines:?}");
    assert_eq!(lines[2], "spec: 1.3.0");
    assert_eq!((got.code, got.err.as_str()), (Some(0), ""));
    assert_eq!(anywhere("-v").out, got.out);
    let place = Place::new();
    std::os::unix::fs::symlink(CNTR, place.path("runc")).unwrap();
    let got = Got::from(Command::new(place.path("runc")).arg("--version").output().unwrap());
    assert_eq!(got.out.lines().next().unwrap(), format!("runc version {version}"));
}

#[test]
fn later_commands_say_so() {
    let place = Place::new();
    // Callers take what these answer for support.
    for line in ["checkpoint --help", "help checkpoint", "restore --lsm-mount-context", "checkpoint a", "restore a"] {
        let got = place.run(line);
        assert_ne!(got.code, Some(0), "{line}");
        assert!(!got.out.contains("--") && !got.err.contains("needs an argument"), "{got:?}");
    }
}

#[test]
fn errors_go_to_the_log_and_plain_to_stderr() {
    let place = Place::new();
    let log = place.path("log");
    let with = |format: &str| place.run(&format!("--log {} --log-format={format} state nope", log.display()));
    for format in ["json", "json", "text", ""] {
        let got = with(format);
        assert_eq!((got.code, got.err.as_str(), got.out.as_str()), (Some(1), "container does not exist\n", ""));
    }
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    for line in lines.iter().take(2) {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&entry["level"], &entry["msg"]), (&"error".into(), &"container does not exist".into()));
        assert_time(entry["time"].as_str().unwrap());
        let keys: Vec<usize> = ["\"level\":", "\"msg\":", "\"time\":"].iter().map(|k| line.find(k).unwrap()).collect();
        assert!(keys.is_sorted(), "{line}");
    }
    for line in lines.iter().skip(2) {
        assert!(
            line.starts_with("time=\"2") && line.ends_with("Z\" level=error msg=\"container does not exist\""),
            "{line}"
        );
    }
    assert_eq!(rustix::fs::stat(&log).unwrap().st_mode & 0o777 & !0o644, 0);
}

#[test]
fn log_options_are_checked() {
    let got = anywhere("--log-format xml list");
    assert_eq!((message(&got).as_str(), got.code), ("invalid log-format: xml", Some(1)));
    let got = anywhere("--log /nonexistent/dir/log list");
    assert_eq!((message(&got).as_str(), got.code), ("open /nonexistent/dir/log: no such file or directory", Some(1)));
}

#[test]
fn a_successful_command_leaves_an_empty_log() {
    let place = Place::new();
    assert_eq!(place.run("--log log --log-format json list").code, Some(0));
    assert_eq!(std::fs::read(place.path("log")).unwrap(), b"");
}

#[test]
fn debug_entries_name_their_place() {
    let place = Place::new();
    place.run("--debug --log log --log-format json state nope");
    let entries = entries(&place.path("log"));
    assert!(entries.len() > 1);
    assert!(entries.iter().all(|e| e["file"].is_string() && e["func"].is_string()), "{entries:?}");
    assert_eq!(entries.iter().filter(|e| e["level"] == "error").count(), 1);
    assert_eq!(entries.last().unwrap()["level"], "error");
}

#[test]
fn several_processes_share_a_log() {
    let place = Place::new();
    let start = || place.command("--log log --log-format json state nope").stderr(Stdio::null()).spawn().unwrap();
    let children: Vec<Child> = (0..24).map(|_| start()).collect();
    children.into_iter().for_each(|mut child| assert_eq!(child.wait().unwrap().code(), Some(1)));
    assert_eq!(entries(&place.path("log")).len(), 24);
}

#[test]
fn root_is_checked() {
    let got = anywhere("--root / list");
    assert_eq!((message(&got).as_str(), got.code), ("Option --root argument should not be set to /", Some(1)));
    assert_eq!(message(&anywhere("--root= delete -f x")), "Option --root argument should not be empty");
    assert_eq!(message(&anywhere("-root=/tmp/.. list")), "Option --root argument should not be set to /");
    let got = anywhere("--root /nonexistent/root list");
    assert_eq!((message(&got).as_str(), got.code), ("open /nonexistent/root: no such file or directory", Some(1)));
    let place = Place::new();
    let got = Got::from(
        Command::new(CNTR).args(["--root", "root", "list", "-q"]).current_dir(place.dir.path()).output().unwrap(),
    );
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (Some(0), "", ""));
}

#[test]
fn other_global_options() {
    let place = Place::new();
    for line in
        ["--criu /x list", "--rootless=true list", "--rootless auto list", "-rootless=false list", "--debug=false list"]
    {
        let got = place.run(line);
        assert_eq!((got.code, got.err.as_str()), (Some(0), ""), "{line}");
    }
    assert_eq!(place.run("--rootless=maybe list").code, Some(1));
}

#[test]
fn ids_are_checked() {
    let place = Place::new();
    for (line, error) in [
        ("state ''", "container id cannot be empty"),
        ("state a/b", "invalid container ID format"),
        ("start ..", "invalid container ID format"),
        ("kill a:b", "invalid container ID format"),
        ("delete .", "invalid container ID format"),
        ("ps a~b", "invalid container ID format"),
        ("state nope", "container does not exist"),
        ("start nope", "container does not exist"),
        ("kill nope", "container does not exist"),
        ("kill nope FOO", "container does not exist"),
        ("kill nope -9", "container does not exist"),
        ("kill --all nope 9", "container does not exist"),
        ("delete nope", "container does not exist"),
        ("ps nope -ef", "container does not exist"),
        ("ps --format json nope", "container does not exist"),
    ] {
        let got = place.run(line);
        assert_eq!((message(&got).as_str(), got.code, got.out.as_str()), (error, Some(1), ""), "{line}");
    }
}

#[test]
fn delete_removes_what_a_dead_create_left() {
    let place = Place::new();
    let remains = place.path("root/half");
    for (line, code) in [("delete half", 1), ("delete half --force", 0)] {
        std::fs::create_dir(&remains).unwrap();
        assert_eq!(place.run(line).code, Some(code), "{line}");
        assert!(!remains.exists(), "{line}");
    }
    for line in ["delete --force nope", "delete -f nope", "delete nope -force"] {
        let got = place.run(line);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (Some(0), "", ""), "{line}");
    }
}

#[test]
fn lists_of_nothing() {
    let place = Place::new();
    for (line, expected) in [
        ("list", "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"),
        ("list -f table", "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"),
        ("list --format=json", "null\n"),
        ("list -q", ""),
    ] {
        let got = place.run(line);
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (Some(0), expected, ""), "{line}");
    }
    assert_eq!(message(&place.run("list -f yaml")), "invalid format option");
}

#[test]
fn list_skips_what_it_cannot_read() {
    let place = Place::new();
    std::fs::create_dir(place.path("root/half")).unwrap();
    let got = place.run("list -q");
    assert_eq!((got.code, got.out.as_str()), (Some(0), ""));
    assert_eq!(got.err, "load container half: container does not exist\n");
}

#[test]
fn features_are_json_alone() {
    let got = Got::from(Command::new(CNTR).arg("features").env_clear().output().unwrap());
    assert_eq!((got.code, got.err.as_str()), (Some(0), ""));
    assert!(
        got.out
            .starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1.3.0\",\n    \"hooks\": [\n")
    );
    assert!(got.out.ends_with("\n}\n"));
    let document: Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!(document["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(document["annotations"]["io.github.cntr.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
}

#[test]
fn spec_writes_once() {
    let place = Place::new();
    let got = place.run("spec");
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (Some(0), "", ""));
    let text = std::fs::read_to_string(place.path("config.json")).unwrap();
    assert!(
        text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,")
            && text.ends_with("\n}"),
        "{text}"
    );
    let got = place.run("spec");
    assert_eq!((message(&got).as_str(), got.code), ("File config.json exists. Remove it first", Some(1)));
    assert_eq!(std::fs::read_to_string(place.path("config.json")).unwrap(), text);
    std::fs::create_dir(place.path("b")).unwrap();
    assert_eq!(place.run("spec --rootless -b b").code, Some(0));
    let config: Value = serde_json::from_slice(&std::fs::read(place.path("b/config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], rustix::process::geteuid().as_raw());
    assert_eq!(message(&place.run("spec -b nope")), "chdir nope: no such file or directory");
}

#[test]
fn bundles_are_checked_before_ids() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    std::fs::write(place.path("file"), "").unwrap();
    place.bundle("b", "true");
    for verb in ["create", "run"] {
        for (rest, error) in [
            ("-b nope a/b", "chdir nope: no such file or directory"),
            ("-b /nope a", "chdir /nope: no such file or directory"),
            ("-b file a", "chdir file: not a directory"),
            ("-b empty a/b", "JSON specification file config.json not found"),
            ("a", "JSON specification file config.json not found"),
            ("-b b a/b", "invalid container ID format"),
            ("-b b ''", "container id cannot be empty"),
        ] {
            let got = place.run(&format!("{verb} {rest}"));
            assert_eq!(message(&got), format!("runc {verb} failed: {error}"), "{rest}");
            assert_eq!((got.code, got.out.as_str()), (Some(1), ""), "{rest}");
        }
    }
    assert_eq!(std::fs::read_dir(place.path("root")).unwrap().count(), 0);
}

#[test]
fn terminals_need_somebody_to_hold_them() {
    let place = Place::new();
    place.bundle("plain", "true");
    place.bundle("tty", "true");
    place.edit("tty", |config| config["process"]["terminal"] = true.into());
    let (no_socket, no_use) = (
        "cannot allocate tty if runc will detach without setting console socket",
        "cannot use console socket if runc will not detach or allocate tty",
    );
    for (line, error) in [
        ("create -b tty a", no_socket),
        ("run -d -b tty a", no_socket),
        ("create --console-socket s -b plain a", no_use),
        ("run -d --console-socket s -b plain a", no_use),
        ("run --console-socket s -b tty a", no_use),
    ] {
        assert!(message(&place.run(line)).ends_with(error), "{line}");
    }
    assert_eq!(std::fs::read_dir(place.path("root")).unwrap().count(), 0);
}

#[test]
fn wrong_configs_add_keys_to_the_log_entry() {
    let place = Place::new();
    place.bundle("b", "true");
    place.edit("b", |config| config["process"]["args"] = "sh".into());
    let got = place.run("--log log --log-format json create -b b a");
    assert_eq!(got.code, Some(1));
    let entries = entries(&place.path("log"));
    assert_eq!(entries.len(), 1, "{entries:?}");
    let msg = entries[0]["msg"].as_str().unwrap();
    assert!(msg.starts_with("runc create failed: "), "{msg}");
    assert_eq!(got.err, format!("{msg}\n"));
    assert_eq!(entries[0]["kind"], "Config");
}

#[test]
fn plan_prints_steps_and_does_nothing() {
    let place = Place::new();
    place.bundle("b", "true");
    for line in ["plan -b b", "plan b"] {
        let got = place.run(line);
        assert_eq!((got.code, got.err.as_str()), (Some(0), ""), "{line}");
        assert!(got.out.starts_with("spawn ") && got.out.ends_with('\n') && !got.out.ends_with("\n\n"), "{}", got.out);
    }
    assert_eq!(std::fs::read_dir(place.path("root")).unwrap().count(), 0);
}

#[test]
fn systemd_is_looked_for() {
    let place = Place::new();
    place.bundle("b", "true");
    // Where there is one, the black-box tests ask it.
    if !Path::new("/run/systemd/system").is_dir() {
        let got = place.run("--systemd-cgroup create -b b a");
        let missing = "runc create failed: systemd not running on this host, cannot use systemd cgroups manager";
        assert_eq!((message(&got).as_str(), got.code), (missing, Some(1)));
    }
    // Callers pass the option to every command.
    assert_eq!(place.run("--systemd-cgroup delete -f a").code, Some(0));
}

#[test]
fn stdout_that_fails_is_an_error_and_no_panic() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for (stdout, error) in [
        (OwnedFd::from(full), "write /dev/stdout: no space left on device"),
        (writer.into(), "write /dev/stdout: broken pipe"),
    ] {
        let got = Got::from(Command::new(CNTR).arg("features").stdout(stdout).stderr(Stdio::piped()).output().unwrap());
        assert_eq!((message(&got).as_str(), got.code), (error, Some(1)));
    }
}

#[test]
fn works_without_environment_and_streams() {
    let place = Place::new();
    let script = "exec \"$0\" --root \"$1\" --log \"$2\" state nope <&- >&- 2>&-";
    let status = Command::new("/bin/sh")
        .args(["-c", script, CNTR])
        .args([place.path("root"), place.path("log")])
        .env_clear()
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    let text = std::fs::read_to_string(place.path("log")).unwrap();
    assert_eq!(text.lines().count(), 1, "the plain error must not land in the log: {text}");
}
