//! Every seed of the fuzz targets (`fuzz/seeds/TARGET/`), judged as the fuzzer judges it: without a fuzzer.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// Judges the files of a directory; the name of the one that fails is in the output.
fn replay(target: &str, judge: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3, "{}: hardly a seed", dir.display());
    for file in files {
        println!("{}", file.display());
        judge(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn config_plan() {
    replay("config_plan", targets::config_plan::judge);
}

#[test]
fn devices() {
    replay("devices", targets::devices::judge);
}

#[test]
fn gvariant() {
    replay("gvariant", targets::gvariant::judge);
}

#[test]
fn idmap() {
    replay("idmap", targets::idmap::judge);
}

#[test]
fn mount_options() {
    replay("mount_options", targets::mount_options::judge);
}

#[test]
fn seccomp() {
    replay("seccomp", targets::seccomp::judge);
}

#[test]
fn state_json() {
    replay("state_json", targets::state_json::judge);
}
