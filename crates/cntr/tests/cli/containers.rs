//! Commands on containers that run. They want root and busybox, and say so when they are skipped.

use crate::place::{Place, can_make_containers, finish, message, unique};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

#[test]
fn foreground_passes_streams_and_status() {
    if !can_make_containers() {
        return;
    }
    let place = Place::new();
    place.bundle("b", "echo out; echo err >&2; cat; exit 7");
    let id = unique("streams");
    let mut child = place
        .command(&format!("run -b b {id} --pid-file=pid"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"in\n").unwrap();
    let got = finish(child);
    assert_eq!((got.out.as_str(), got.err.as_str(), got.code), ("out\nin\n", "err\n", Some(7)));
    assert!(std::fs::read_to_string(place.path("pid")).unwrap().parse::<u32>().is_ok());
    assert_eq!(place.run("list -q").out, "");
}

#[test]
fn foreground_moves_more_than_pipes_hold() {
    if !can_make_containers() {
        return;
    }
    let place = Place::new();
    place.bundle("b", "cat");
    let mut child = place
        .command(&format!("run -b b {}", unique("bulk")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let data: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut stdin = child.stdin.take().unwrap();
    let expected = data.clone();
    let feeder = std::thread::spawn(move || stdin.write_all(&data).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success() && output.stdout == expected);
}

#[test]
fn foreground_forwards_signals() {
    if !can_make_containers() {
        return;
    }
    let place = Place::new();
    place.bundle("b", "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.1; done");
    let id = unique("signals");
    let mut child = place.command(&format!("run -b b {id}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    stdout.read_line(&mut out).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    for harmless in [rustix::process::Signal::WINCH, rustix::process::Signal::URG] {
        rustix::process::kill_process(pid, harmless).unwrap();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    let code = finish(child).code;
    stdout.read_to_string(&mut out).unwrap();
    assert_eq!((out.as_str(), code), ("ready\nusr1\n", Some(3)));
}

#[test]
fn a_killed_process_is_128_and_the_signal() {
    if !can_make_containers() {
        return;
    }
    let place = Place::new();
    place.bundle("b", "while :; do sleep 1; done");
    let id = unique("killed");
    let child = place.command(&format!("run --keep -b b {id}")).spawn().unwrap();
    place.await_status(&id, "running");
    assert_eq!(message(&place.run(&format!("kill {id} FOO"))), "unknown signal \"FOO\"");
    assert_eq!(place.run(&format!("kill {id} KILL")).code, Some(0));
    assert_eq!(finish(child).code, Some(137));
    place.await_status(&id, "stopped");
    assert_eq!(message(&place.run(&format!("kill {id} 9"))), "container not running");
    assert_eq!(place.run(&format!("kill -a {id} 9")).code, Some(0));
    assert_eq!(place.run(&format!("delete {id}")).code, Some(0));
    assert_eq!(place.run("list -q").out, "");
}

#[test]
fn documents_of_a_running_container() {
    if !can_make_containers() {
        return;
    }
    let place = Place::new();
    place.bundle("b", "while :; do sleep 1; done");
    let id = unique("documents");
    // The command writes nothing; the container holds its streams, so that they must not be pipes read to the end.
    let status = place
        .command(&format!("run -d -b b {id}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
    place.await_status(&id, "running");
    let got = place.run(&format!("state {id}"));
    assert!(
        got.out.starts_with("{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": ") && got.out.ends_with("\n}"),
        "{}",
        got.out
    );
    assert_eq!(got.err, "");
    let state: Value = serde_json::from_str(&got.out).unwrap();
    let bundle = place.path("b").canonicalize().unwrap();
    assert_eq!(state["bundle"], bundle.to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.join("rootfs").to_str().unwrap());
    assert_eq!(state["owner"], "");
    let pid = state["pid"].as_u64().unwrap();
    assert_eq!(place.run("list -q").out, format!("{id}\n"));
    let listed: Value = serde_json::from_str(&place.run("list -f json").out).unwrap();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["owner"], &listed[0]["pid"]),
        (&id.as_str().into(), &"root".into(), &pid.into())
    );
    let pids: Vec<u64> = serde_json::from_str(&place.run(&format!("ps -f json {id}")).out).unwrap();
    assert!(pids.contains(&pid), "{pids:?}");
    let rows = place.run(&format!("ps {id} -o pid,stat")).out;
    assert!(rows.lines().skip(1).any(|row| row.split_whitespace().next() == Some(pid.to_string().as_str())), "{rows}");
    let got = place.run(&format!("delete {id}"));
    assert_eq!(message(&got), format!("cannot delete container {id} that is not stopped: running"));
    assert_eq!(place.run(&format!("delete --force {id}")).code, Some(0));
}
