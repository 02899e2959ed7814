//! What the tests call the command with, and how they read its answers.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const CNTR: &str = env!("CARGO_BIN_EXE_cntr");

/// A state root and a place for files.
pub struct Place {
    pub dir: TempDir,
}

/// What came of one call.
#[derive(Debug)]
pub struct Got {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
}

impl From<Output> for Got {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Got { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
    }
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        Place { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With this place's state root, in this place's directory, and never on the tester's own standard input: a
    /// container in the foreground reads it.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(CNTR);
        command.arg("--root").arg(self.path("root")).args(words(line)).current_dir(self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Got {
        self.command(line).output().unwrap().into()
    }

    /// A bundle in `NAME/` whose program is a busybox shell with this script.
    pub fn bundle(&self, name: &str, script: &str) {
        let dir = self.path(name);
        std::fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
        for empty in ["proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(dir.join("rootfs").join(empty)).unwrap();
        }
        if Path::new("/bin/busybox").is_file() {
            std::fs::copy("/bin/busybox", dir.join("rootfs/bin/busybox")).unwrap();
        }
        assert_eq!(self.run(&format!("spec -b {name}")).code, Some(0));
        self.edit(name, |config| {
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = serde_json::json!(["/bin/busybox", "sh", "-c", script]);
        });
    }

    pub fn edit(&self, bundle: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path(bundle).join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// Waits for a container to be in a state.
    pub fn await_status(&self, id: &str, status: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let got = self.run(&format!("state {id}"));
            if serde_json::from_str::<Value>(&got.out).is_ok_and(|s| s["status"] == status) {
                return;
            }
            assert!(Instant::now() < end, "{id} is not {status}: {got:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A line cut at spaces; `''` is an empty word.
pub fn words(line: &str) -> Vec<&str> {
    line.split(' ').filter(|w| !w.is_empty()).map(|w| if w == "''" { "" } else { w }).collect()
}

pub fn anywhere(line: &str) -> Got {
    Command::new(CNTR).args(words(line)).output().unwrap().into()
}

/// The `msg` of the one text line that standard error holds.
pub fn message(got: &Got) -> String {
    let line = got.err.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {got:?}"));
    assert!(!line.contains('\n'), "more than one line: {got:?}");
    let (time, rest) = line.split_once(" level=error msg=").unwrap_or_else(|| panic!("not an error line: {line}"));
    let time = time.strip_prefix("time=\"").and_then(|t| t.strip_suffix('"')).unwrap();
    assert_time(time);
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\\\"", "\"").replace("\\\\", "\\"),
        None => rest.to_owned(),
    }
}

/// RFC 3339, seconds, UTC.
pub fn assert_time(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99T99:99:99Z");
}

pub fn entries(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Containers can be made here.
pub fn can_make_containers() -> bool {
    let able = rustix::process::geteuid().is_root() && Path::new("/bin/busybox").is_file();
    if !able {
        eprintln!("skipped: needs root and /bin/busybox");
    }
    able
}

/// Waits for a command with little output; one that does not end in time has failed.
pub fn finish(mut child: Child) -> Got {
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("does not end: {child:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}

/// Not to meet a container of another test run in the cgroup tree.
pub fn unique(name: &str) -> String {
    format!("cli-test-{}-{name}", std::process::id())
}
