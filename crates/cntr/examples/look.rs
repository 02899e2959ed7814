//! The program inside the container of `./demo`: shows a person what isolation looks like from within.
//!
//! Static and alone in its rootfs: no shell, no libc files, nothing to download. It only reads /proc, /dev and /sys
//! and makes four harmless attempts that are meant to fail. What only the host knows (inode numbers of its
//! namespaces, how many processes it runs) comes in through `LOOK_HOST_*` variables, for comparison; without them it
//! runs anywhere, also outside any container. No `unsafe`, no dependency.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// Widest label of a line: what follows is aligned behind it.
const LABEL: usize = 17;

fn main() -> ExitCode {
    let mut page = Page::default();
    process(&mut page);
    user(&mut page);
    namespaces(&mut page);
    files(&mut page);
    neighbours(&mut page);
    privileges(&mut page);
    masks(&mut page);
    cgroup(&mut page);
    match io::stdout().write_all(page.text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The text so far; printed in one go, so that other output cannot cut it in pieces.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Opens a section: its name and one line that says what the reader is about to see.
    fn section(&mut self, name: &str, meaning: &str) {
        let _ = write!(self.text, "\n{name}\n  {meaning}\n");
    }

    /// One finding.
    fn line(&mut self, label: &str, value: impl AsRef<str>) {
        let _ = writeln!(self.text, "    {label:<LABEL$} {}", value.as_ref());
    }

    /// A list too long for one line, broken at words.
    fn list(&mut self, label: &str, words: &[&str]) {
        let mut label = label;
        let mut row = String::new();
        for word in words {
            if row.len() + word.len() > 70 {
                self.line(label, &row);
                label = "";
                row.clear();
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        self.line(label, if row.is_empty() { "none" } else { &row });
    }
}

fn process(page: &mut Page) {
    page.section(
        "PROCESS",
        "A program with a PID namespace of its own starts counting at 1 and has no visible parent.",
    );
    page.line("pid", std::process::id().to_string());
    let parent = std::os::unix::process::parent_id();
    page.line("parent", if parent == 0 { "0 (outside: not visible from here)".into() } else { parent.to_string() });
    page.line("hostname", read("/proc/sys/kernel/hostname"));
    let limits = read("/proc/self/limits");
    let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap_or_default();
    page.line("open files", format!("at most {}", files.split_whitespace().nth(3).unwrap_or("?")));
}

fn user(page: &mut Page) {
    page.section("USER", "Who the program is in here, and who that is on the host.");
    let status = read("/proc/self/status");
    let first = |key| field(&status, key).split_whitespace().next().unwrap_or("?").to_owned();
    page.line("uid, gid", format!("{}, {}", first("Uid"), first("Gid")));
    let groups = field(&status, "Groups");
    page.line("other groups", if groups.is_empty() { "none" } else { groups });
    for (label, path) in [("uid map", "/proc/self/uid_map"), ("gid map", "/proc/self/gid_map")] {
        for map in read(path).lines() {
            page.line(label, id_map(map));
        }
    }
}

/// Says a line of /proc/self/uid_map ("inside outside count") in words.
fn id_map(line: &str) -> String {
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    match *numbers.as_slice() {
        [0, 0, 4_294_967_295] => "the host's own: no user namespace".to_owned(),
        [inside, outside, 1] => format!("{inside} in here is {outside} outside; no other id exists"),
        [inside, outside, count] => format!("{inside} and the next {} are {outside} and up outside", count - 1),
        _ => line.to_owned(),
    }
}

fn namespaces(page: &mut Page) {
    page.section(
        "NAMESPACES",
        "Each kind is a separate view of the system; another number than the host's means another view.",
    );
    let host = env::var("LOOK_HOST_NAMESPACES").unwrap_or_default();
    for kind in ["user", "pid", "mnt", "net", "uts", "ipc", "cgroup", "time"] {
        let Ok(here) = fs::read_link(format!("/proc/self/ns/{kind}")) else { continue };
        let here = here.to_string_lossy().into_owned();
        let there = host.split_whitespace().find(|link| link.starts_with(&format!("{kind}:")));
        let verdict = match there {
            None => here,
            Some(there) if there == here => format!("{here}   shared with the host"),
            Some(there) => format!("{here}   own (the host's is {there})"),
        };
        page.line(kind, verdict);
    }
}

fn files(page: &mut Page) {
    page.section("FILES", "The file tree is the bundle's; nothing of the host's can be reached by any path.");
    page.list("/ holds", &borrowed(&names("/")));
    page.list("/dev holds", &borrowed(&names("/dev")));
    let probe = Path::new("/look-was-here");
    let verdict = match OpenOptions::new().write(true).create_new(true).open(probe) {
        Ok(_) => {
            let _ = fs::remove_file(probe);
            "succeeds: the root is writable".to_owned()
        }
        Err(e) => format!("fails: {}", reason(&e)),
    };
    page.line("new file in /", verdict);
    for mount in read("/proc/self/mountinfo").lines() {
        if let Some((target, rest)) = mount_line(mount) {
            page.line(target, rest);
        }
    }
}

/// Target and "type flags" of a line of /proc/self/mountinfo, or nothing where the line would tell little: single
/// masked files, device files of the host, one line for each v1 cgroup controller.
fn mount_line(line: &str) -> Option<(&str, String)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let (target, options) = (left.next()?, left.next()?);
    let kind = right.split(' ').next()?;
    let single_device = target.starts_with("/dev/") && kind == "devtmpfs";
    if target.starts_with("/proc/") || target.starts_with("/sys/fs/cgroup/") || single_device {
        return None;
    }
    let flags: Vec<&str> = options.split(',').filter(|o| !o.contains("atime")).collect();
    Some((target, format!("{kind:<8} {}", flags.join(","))))
}

fn neighbours(page: &mut Page) {
    page.section("NEIGHBOURS", "Other processes and network interfaces: only the container's own are visible.");
    let processes: Vec<String> = names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .map(|pid| format!("{}({pid})", read(&format!("/proc/{pid}/comm"))))
        .collect();
    page.list("processes", &shortened(&borrowed(&processes)));
    compared(page, "LOOK_HOST_PROCESSES");
    let table = read("/proc/self/net/dev");
    let interfaces: Vec<&str> = table.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name.trim()).collect();
    page.list("interfaces", &shortened(&interfaces));
    compared(page, "LOOK_HOST_INTERFACES");
}

/// The host's number for the line above, where the caller gave one.
fn compared(page: &mut Page, variable: &str) {
    if let Ok(count) = env::var(variable) {
        page.line("", format!("(the host has {count})"));
    }
}

fn privileges(page: &mut Page) {
    page.section("PRIVILEGES", "Even uid 0 can do no more than these capabilities and the system call filter let it.");
    let status = read("/proc/self/status");
    for (label, key) in [("may use now", "CapEff"), ("could ever gain", "CapBnd"), ("over exec", "CapAmb")] {
        let mask = u64::from_str_radix(field(&status, key), 16).unwrap_or(0);
        page.list(label, &capabilities(mask));
    }
    page.line(
        "no_new_privs",
        if field(&status, "NoNewPrivs") == "1" { "set: setuid files give nothing" } else { "not set" },
    );
    let seccomp = match field(&status, "Seccomp") {
        "2" => "a filter judges every system call",
        "1" => "strict mode",
        _ => "no filter",
    };
    page.line("seccomp", seccomp);
    let chroot = match std::os::unix::fs::chroot("/") {
        Ok(()) => "succeeds: nothing refuses it".to_owned(),
        Err(e) => format!("fails: {}", reason(&e)),
    };
    page.line("chroot(\"/\")", chroot);
}

/// Names of the bits of a capability mask, without their `CAP_`. "all" stands for more than 38 of them.
fn capabilities(mask: u64) -> Vec<&'static str> {
    if mask.count_ones() > 38 {
        return vec!["all or nearly all"];
    }
    CAPABILITIES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

fn masks(page: &mut Page) {
    page.section("MASKED", "Kernel files that would tell about the host or change it are covered or read-only.");
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
        page.line(path, content(path));
    }
    if Path::new("/sys/firmware").exists() {
        page.line("/sys/firmware", format!("{} entries", names("/sys/firmware").len()));
    }
    let sysctl = "/proc/sys/kernel/hostname";
    let verdict = match OpenOptions::new().write(true).open(sysctl) {
        Ok(_) => "may be opened for writing".to_owned(),
        Err(e) => format!("fails: {}", reason(&e)),
    };
    page.line("write /proc/sys", verdict);
}

/// How much of a file can be read: one byte is asked for, /proc/kcore can be 128 TiB long.
fn content(path: &str) -> String {
    let mut byte = [0];
    match fs::File::open(path).and_then(|mut f| f.read(&mut byte)) {
        Ok(0) => "reads as empty".to_owned(),
        Ok(_) => "readable".to_owned(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => "does not exist on this kernel".to_owned(),
        Err(e) => format!("unreadable: {}", reason(&e)),
    }
}

/// One limit: label, controller, v2 file, v1 file, and how to say what the file holds.
struct Limit(&'static str, &'static str, &'static str, &'static str, fn(&str) -> String);

const LIMITS: &[Limit] = &[
    Limit("memory limit", "memory", "memory.max", "memory.limit_in_bytes", bytes),
    Limit("memory used", "memory", "memory.current", "memory.usage_in_bytes", bytes),
    Limit("tasks limit", "pids", "pids.max", "pids.max", str::to_owned),
    Limit("tasks now", "pids", "pids.current", "pids.current", str::to_owned),
    Limit("cpu quota (us)", "cpu", "cpu.max", "cpu.cfs_quota_us", str::to_owned),
    Limit("cpu period (us)", "cpu", "", "cpu.cfs_period_us", str::to_owned),
];

fn cgroup(page: &mut Page) {
    page.section("CGROUP", "What the kernel lets the container consume, as its own cgroup files say.");
    let own = read("/proc/self/cgroup");
    let mut paths: Vec<&str> = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    paths.sort_unstable();
    paths.dedup();
    page.list("my place", &shortened(&paths));
    let mut seen = false;
    for Limit(label, controller, v2, v1, say) in LIMITS {
        let v2 = if v2.is_empty() { None } else { value(&format!("/sys/fs/cgroup/{v2}")) };
        if let Some(value) = v2.or_else(|| value(&format!("/sys/fs/cgroup/{controller}/{v1}"))) {
            page.line(label, say(&value));
            seen = true;
        }
    }
    if !seen {
        page.line("limits", "none set for this container, or no cgroup file is visible from here");
    }
}

/// A cgroup number of bytes, in MiB where that is shorter to read.
fn bytes(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(n) if n >= 1 << 62 => "none".to_owned(),
        Ok(n) => format!("{}.{} MiB", n >> 20, (n >> 10 & 1023) * 10 / 1024),
        Err(_) => text.to_owned(),
    }
}

/// First words of an error, without "(os error 13)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Whole text of a small file without the last newline; empty when it cannot be read.
fn read(path: &str) -> String {
    value(path).unwrap_or_default()
}

fn value(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// Value of a `Key:\tvalue` line of /proc/self/status.
fn field<'a>(status: &'a str, key: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    found.unwrap_or_default().trim()
}

/// Sorted names in a directory.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// At most twelve words; outside a container the lists are long.
fn shortened<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut short: Vec<&str> = words.iter().take(12).copied().collect();
    if words.len() > short.len() {
        short.push("...");
    }
    short
}

/// Names in the order of their bits: include/uapi/linux/capability.h, complete up to Linux 6.18.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
