//! The config against what the probe saw: the process's side (user, capabilities, limits, namespaces,
//! environment, seccomp). Files and mounts are in [`super::verify_fs`], limits in [`super::verify_cgroup`].
//!
//! All differences are collected, then reported together.

use std::fmt::{Debug, Write};

use serde_json::Value;

use super::bundle::{list, strings};
use super::probe::Probe;
use super::seccomp::{ENOSYS, EPERM, Verdict, verdict};
use super::{read, verify_fs, words};

/// Differences between what was asked for and what was seen.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    pub fn equal<T: PartialEq + Debug>(&mut self, what: &str, asked: &T, seen: &T) {
        if asked != seen {
            self.0.push(format!("{what}: asked for {asked:?}, saw {seen:?}"));
        }
    }

    pub fn check(&mut self, ok: bool, what: impl Into<String>) {
        if !ok {
            self.0.push(what.into());
        }
    }

    /// Panics with everything that was found.
    #[track_caller]
    pub fn done(self, context: &str) {
        assert!(self.0.is_empty(), "{context}: the container is not what its config says:\n  {}", self.0.join("\n  "));
    }
}

/// Everything that a probe can show, against `config`.
pub fn verify(config: &Value, probe: &Probe, findings: &mut Findings) {
    user(config, probe, findings);
    capabilities(config, probe, findings);
    environment(config, probe, findings);
    limits(config, probe, findings);
    namespaces(config, probe, findings);
    seccomp(config, probe, findings);
    let fds: Vec<&str> = probe.lines("fds").iter().filter_map(|l| fd_number(l)).collect();
    findings.equal("open file descriptors", &vec!["0", "1", "2"], &fds);
    verify_fs::verify(config, probe, findings);
}

/// The number in a line of `ls -l /proc/PID/fd`.
fn fd_number(line: &str) -> Option<&str> {
    line.split_once(" -> ").and_then(|(left, _)| left.rsplit(' ').next())
}

fn user(config: &Value, probe: &Probe, findings: &mut Findings) {
    let user = &config["process"]["user"];
    findings.equal("process.user.uid", &user["uid"].to_string().as_str(), &probe.line("uid"));
    findings.equal("process.user.gid", &user["gid"].to_string().as_str(), &probe.line("gid"));
    let mut groups: Vec<u64> = list(&user["additionalGids"]).iter().filter_map(Value::as_u64).collect();
    groups.extend(user["gid"].as_u64());
    groups.sort_unstable();
    groups.dedup();
    let mut seen: Vec<u64> = words(probe.line("groups")).iter().filter_map(|g| g.parse().ok()).collect();
    seen.sort_unstable();
    findings.equal("process.user.additionalGids", &groups, &seen);
    // contract 4.4: an absent umask is 0022
    let umask = user["umask"].as_u64().unwrap_or(0o022);
    findings.equal("process.user.umask", &format!("{umask:04o}").as_str(), &probe.line("umask"));
    findings.equal("process.cwd", &config["process"]["cwd"].as_str().unwrap(), &probe.line("cwd"));
    let oom = config["process"]["oomScoreAdj"].as_i64();
    let oom = oom.map_or_else(|| read("/proc/self/oom_score_adj").trim().to_owned(), |o| o.to_string());
    findings.equal("process.oomScoreAdj", &oom.as_str(), &probe.line("oom"));
}

const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE \
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE \
    SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL \
    SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

/// The mask of a list of CAP_ names.
pub fn mask(names: &Value) -> u64 {
    let number = |name: &str| CAPABILITIES.split_whitespace().position(|c| name.strip_prefix("CAP_") == Some(c));
    strings(names).iter().filter_map(|name| number(name)).fold(0, |mask, n| mask | 1 << n)
}

/// The capabilities that a config names and this process lacks: what cannot be had on this machine.
pub fn lacking(names: &Value) -> Vec<String> {
    let own = own_capabilities();
    let name = |i: usize| format!("CAP_{}", CAPABILITIES.split_whitespace().nth(i).unwrap());
    (0..41).filter(|i| mask(names) & !own & 1 << i != 0).map(name).collect()
}

fn own_capabilities() -> u64 {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

/// capabilities(7), "Transformation of capabilities during execve()", for a program without file capabilities.
fn capabilities(config: &Value, probe: &Probe, findings: &mut Findings) {
    let process = &config["process"];
    let no_new_privs = process["noNewPrivileges"].as_bool() == Some(true);
    let seen =
        |name: &str| u64::from_str_radix(&probe.value("status", name).unwrap_or_default(), 16).unwrap_or(u64::MAX);
    findings.equal("process.noNewPrivileges", &u64::from(no_new_privs), &seen("NoNewPrivs"));
    let caps = &process["capabilities"];
    if caps.is_null() {
        return;
    }
    let set = |name: &str| mask(&caps[name]);
    let ambient = set("ambient") & set("permitted") & set("inheritable");
    let permitted = match process["user"]["uid"].as_u64() {
        Some(0) if no_new_privs => set("bounding") & set("permitted"),
        Some(0) => set("bounding") | set("inheritable"),
        _ => ambient,
    };
    let asked = [
        ("CapBnd", "bounding", set("bounding")),
        ("CapPrm", "permitted", permitted),
        ("CapEff", "effective", permitted),
        ("CapInh", "inheritable", set("inheritable")),
        ("CapAmb", "ambient", ambient),
    ];
    for (line, name, mask) in asked {
        findings.equal(&format!("process.capabilities.{name}"), &format!("{mask:x}"), &format!("{:x}", seen(line)));
    }
}

fn environment(config: &Value, probe: &Probe, findings: &mut Findings) {
    let env = strings(&config["process"]["env"]);
    let name = |e: &str| e.split('=').next().unwrap().to_owned();
    // of a name given twice the last one counts, at its own place
    let mut asked: Vec<String> = Vec::new();
    for (i, e) in env.iter().enumerate() {
        if !env[i + 1..].iter().any(|later| name(later) == name(e)) {
            asked.push((*e).to_owned());
        }
    }
    if !asked.iter().any(|e| name(e) == "HOME") {
        let uid = config["process"]["user"]["uid"].as_u64().unwrap();
        // as in the sandbox's /etc/passwd
        let home = [(0, "/root"), (1000, "/home")].iter().find(|(u, _)| *u == uid).map_or("/", |(_, home)| home);
        asked.push(format!("HOME={home}"));
    }
    findings.equal("process.env", &asked.join("\n").as_str(), &probe.lines("environ").join("\n").as_str());
}

pub const RLIMITS: [(&str, &str); 16] = [
    ("RLIMIT_CPU", "Max cpu time"),
    ("RLIMIT_FSIZE", "Max file size"),
    ("RLIMIT_DATA", "Max data size"),
    ("RLIMIT_STACK", "Max stack size"),
    ("RLIMIT_CORE", "Max core file size"),
    ("RLIMIT_RSS", "Max resident set"),
    ("RLIMIT_NPROC", "Max processes"),
    ("RLIMIT_NOFILE", "Max open files"),
    ("RLIMIT_MEMLOCK", "Max locked memory"),
    ("RLIMIT_AS", "Max address space"),
    ("RLIMIT_LOCKS", "Max file locks"),
    ("RLIMIT_SIGPENDING", "Max pending signals"),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
    ("RLIMIT_NICE", "Max nice priority"),
    ("RLIMIT_RTPRIO", "Max realtime priority"),
    ("RLIMIT_RTTIME", "Max realtime timeout"),
];

/// Limits that the config names have its values; the others are the caller's, untouched.
fn limits(config: &Value, probe: &Probe, findings: &mut Findings) {
    let own = read("/proc/self/limits");
    for (name, label) in RLIMITS {
        let find = |text: &str| text.strip_prefix(label).map(|rest| words(rest)[..2].join(" "));
        let seen = probe.lines("limits").iter().find_map(|l| find(l)).unwrap_or_default();
        let rlimit = list(&config["process"]["rlimits"]).iter().find(|r| r["type"] == name);
        let asked = rlimit.map(|r| format!("{} {}", r["soft"], r["hard"]));
        let asked = asked.unwrap_or_else(|| own.lines().find_map(find).unwrap());
        findings.equal(&format!("process.rlimits {name} (soft hard)"), &asked, &seen);
    }
}

/// Every kind of namespace: its name in the config and in /proc/PID/ns.
pub const NAMESPACES: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mnt"),
    ("network", "net"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

fn namespaces(config: &Value, probe: &Probe, findings: &mut Findings) {
    for (kind, file) in NAMESPACES {
        let own = std::fs::read_link(format!("/proc/self/ns/{file}")).unwrap().to_string_lossy().into_owned();
        let seen = probe.value("ns", file).unwrap_or_default();
        let entry = list(&config["linux"]["namespaces"]).iter().find(|n| n["type"] == kind);
        match entry.map(|n| n["path"].as_str()) {
            None => findings.equal(&format!("no {kind} namespace: the caller's"), &own, &seen),
            Some(None) => findings.check(own != seen, format!("linux.namespaces {kind}: still the caller's {seen}")),
            Some(Some(path)) => {
                let joined = std::fs::read_link(path).unwrap().to_string_lossy().into_owned();
                findings.equal(&format!("linux.namespaces {kind} joined"), &joined, &seen);
            }
        }
    }
    let private =
        |kind: &str| list(&config["linux"]["namespaces"]).iter().any(|n| n["type"] == kind && n["path"].is_null());
    if private("pid") {
        findings.equal("pid in a new pid namespace", &"1", &probe.line("pid"));
        findings.check(probe.lines("pids").len() <= 6, format!("foreign processes: {:?}", probe.lines("pids")));
    }
    if private("network") {
        findings.equal(
            "interfaces in a new network namespace",
            &vec!["lo".to_owned()],
            &probe.lines("lo")[1..].to_vec(),
        );
        let flags = u64::from_str_radix(probe.line("lo").trim_start_matches("0x"), 16).unwrap_or(0);
        findings.check(flags & 1 == 1, format!("lo is not up: flags {flags:x}"));
    }
    let host =
        config["hostname"].as_str().map_or_else(|| read("/proc/sys/kernel/hostname").trim().to_owned(), String::from);
    findings.equal("hostname", &host.as_str(), &probe.line("hostname"));
}

/// Two calls that an unconfined root may make: unshare(CLONE_NEWUSER) and personality(PER_LINUX32).
fn seccomp(config: &Value, probe: &Probe, findings: &mut Findings) {
    let mode = if config["linux"]["seccomp"].is_null() { "0" } else { "2" };
    findings.equal("linux.seccomp: mode", &mode, &probe.value("status", "Seccomp").unwrap_or_default().as_str());
    let text = probe.lines("seccomp").join("\n");
    for (name, call, args) in [("unshare", "unshare", [0x1000_0000]), ("linux32", "personality", [8])] {
        let mut asked = String::new();
        match verdict(config, call, &args, false) {
            Verdict::Allow => write!(asked, "{name} 0").unwrap(),
            Verdict::Errno(EPERM) => asked.push_str("Operation not permitted"),
            Verdict::Errno(ENOSYS) => asked.push_str("Function not implemented"),
            Verdict::Errno(e) => panic!("errno {e} in a test profile"),
        }
        findings
            .check(text.contains(&asked), format!("linux.seccomp: {call}{args:x?}: asked for {asked:?}, saw {text:?}"));
    }
}
