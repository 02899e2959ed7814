//! What engines read of `--version` and `features`, each as it looks for it.

use std::process::Command;

use serde_json::Value;

use crate::{CNTR, Got, Place};

/// The output of the binary under the name by which engines know its kind.
fn as_runc(argument: &str) -> Got {
    let place = Place::new();
    std::os::unix::fs::symlink(CNTR, place.path("runc")).unwrap();
    // found on PATH: its name is all that it is told
    let path = place.path("");
    Got::from(
        Command::new("/bin/sh").args(["-c", &format!("exec runc {argument}")]).env("PATH", path).output().unwrap(),
    )
}

/// containerd's client for runc: the first line begins with a fixed text, the others by their keys.
#[test]
fn containerd_reads_the_version() {
    let got = as_runc("--version");
    let lines: Vec<&str> = got.out.trim().lines().collect();
    assert_eq!(lines[0].strip_prefix("runc version "), Some(env!("CARGO_PKG_VERSION")));
    let value = |key: &str| lines[1..].iter().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    assert!(!value("commit: ").is_empty(), "{lines:?}");
    assert_eq!(value("spec: "), "1.3.0");
}

/// Docker: the one line with "version" in it has the name before the word and the version behind.
#[test]
fn docker_reads_the_version() {
    for (got, name) in
        [(as_runc("--version"), "runc"), (Got::from(Command::new(CNTR).arg("--version").output().unwrap()), "cntr")]
    {
        let lines: Vec<&str> = got.out.lines().filter(|line| line.contains("version")).collect();
        let [line] = lines[..] else { panic!("{lines:?}") };
        let (before, after) = line.split_once("version").unwrap();
        assert_eq!((before.trim(), after.trim()), (name, env!("CARGO_PKG_VERSION")));
        assert_eq!(got.out.lines().filter(|line| line.starts_with("commit:")).count(), 1);
        assert_eq!(got.err, "");
    }
}

/// CRI-O takes stdout and stderr together for JSON, and looks for recursive read-only mounts and id-mapped ones.
#[test]
fn cri_o_reads_the_features() {
    let got = as_runc("features");
    let document: Value = serde_json::from_str(&(got.out + &got.err)).expect("JSON and nothing else");
    for member in ["ociVersionMin", "ociVersionMax"] {
        let version = document[member].as_str().unwrap();
        assert_eq!(version.split('.').filter(|n| n.parse::<u32>().is_ok()).count(), 3, "{version}");
    }
    assert!(document["mountOptions"].as_array().unwrap().contains(&"rro".into()), "{document}");
    assert_eq!(document["linux"]["mountExtensions"]["idmap"]["enabled"], true);
}
