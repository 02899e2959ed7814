//! Rules about `process`, its capabilities aside.

use super::{Ctx, Problems, join_path, quoted};
use crate::error::{At, Problem};
use crate::plan::idmap;
use crate::spec::{LinuxIdMapping, LinuxNamespaceType};
use std::collections::HashMap;

const CLAUSE: &str = "config.md#process";
const USER: &str = "config.md#posix-platform-user";
const LINUX: &str = "config.md#linux-process";

pub(super) fn present(c: &Ctx<'_>, out: &mut Problems) {
    if c.process().is_none() {
        out.push(Problem::error(At::field("process"), CLAUSE, "process property must not be empty"));
    }
}

pub(super) fn args(c: &Ctx<'_>, out: &mut Problems) {
    let Some(process) = c.process() else { return };
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        let text = "must not be empty (args must not be empty)";
        out.push(Problem::error(At::field("process.args"), CLAUSE, text));
    }
}

pub(super) fn cwd(c: &Ctx<'_>, out: &mut Problems) {
    let Some(process) = c.process() else { return };
    let cwd = process.cwd();
    let text = if cwd.as_os_str().is_empty() {
        "must be given (Cwd property must not be empty)".to_owned()
    } else if !cwd.is_absolute() {
        format!("{} must be absolute (Cwd must be an absolute path)", quoted(cwd))
    } else {
        return;
    };
    out.push(Problem::error(At::field("process.cwd"), CLAUSE, text));
}

// The entry is not shown: what has no name may be a secret.
pub(super) fn env(c: &Ctx<'_>, out: &mut Problems) {
    for (i, entry) in c.process().and_then(|p| p.env().as_ref()).into_iter().flatten().enumerate() {
        let text = match entry.split_once('=') {
            None => "invalid environment variable: missing '=', expected NAME=value".to_owned(),
            Some(("", _)) => "invalid environment variable: name cannot be empty".to_owned(),
            Some((name, _)) if entry.contains('\0') => {
                format!("invalid environment variable {}: contains nul byte (\\x00)", quoted(name))
            }
            Some(_) => continue,
        };
        out.push(Problem::error(At::item("process.env[#]", i), CLAUSE, text));
    }
}

pub(super) fn user(c: &Ctx<'_>, out: &mut Problems) {
    let Some(user) = c.process().map(crate::spec::Process::user) else { return };
    if user.umask().is_some_and(|mask| mask > 0o777) {
        let text = format!("only the lowest nine bits of {:#o} count", user.umask().unwrap_or(0));
        out.push(Problem::warning(At::field("process.user.umask"), USER, text));
    }
    // (uid_t)-1 means "no change" to setresuid(2) and its like.
    let text = "4294967295 is no id";
    if user.uid() == u32::MAX {
        out.push(Problem::error(At::field("process.user.uid"), USER, text));
    }
    if user.gid() == u32::MAX {
        out.push(Problem::error(At::field("process.user.gid"), USER, text));
    }
    for (i, gid) in user.additional_gids().iter().flatten().enumerate() {
        if *gid == u32::MAX {
            out.push(Problem::error(At::item("process.user.additionalGids[#]", i), USER, text));
        }
    }
}

/// With a new user namespace, ids without a mapping do not exist.
pub(super) fn mapped_ids(c: &Ctx<'_>, out: &mut Problems) {
    let (Some(user), Some(linux)) = (c.process().map(crate::spec::Process::user), c.linux()) else { return };
    if c.namespace(LinuxNamespaceType::User).is_none_or(|n| join_path(n).is_some()) {
        return;
    }
    // A missing list is another rule's.
    let unmapped = |mappings: &Option<Vec<LinuxIdMapping>>, id: u32| {
        mappings.as_ref().is_some_and(|m| !m.is_empty() && !idmap::is_mapped(m, id))
    };
    let text = |kind: &str, id: u32| format!("cannot set{kind} to unmapped {kind} {id} in user namespace");
    if unmapped(linux.uid_mappings(), user.uid()) {
        out.push(Problem::error(At::field("process.user.uid"), USER, text("uid", user.uid())));
    }
    if unmapped(linux.gid_mappings(), user.gid()) {
        out.push(Problem::error(At::field("process.user.gid"), USER, text("gid", user.gid())));
    }
    for (i, gid) in user.additional_gids().iter().flatten().enumerate() {
        if unmapped(linux.gid_mappings(), *gid) {
            let at = At::item("process.user.additionalGids[#]", i);
            out.push(Problem::error(at, USER, text("gid", *gid)));
        }
    }
}

pub(super) fn rlimits(c: &Ctx<'_>, out: &mut Problems) {
    let mut first = HashMap::new();
    for (i, limit) in c.process().and_then(|p| p.rlimits().as_ref()).into_iter().flatten().enumerate() {
        if let Some(before) = first.insert(limit.typ().to_string(), i) {
            let text = format!("duplicate \"{}\" (first at [{before}])", limit.typ());
            out.push(Problem::error(At::item("process.rlimits[#].type", i), "config.md#posix-process", text));
            first.insert(limit.typ().to_string(), before);
        }
        if limit.soft() > limit.hard() {
            let text = format!("{} is more than the hard limit of {}", limit.soft(), limit.hard());
            out.push(Problem::error(At::item("process.rlimits[#].soft", i), "config.md#posix-process", text));
        }
    }
}

pub(super) fn oom_score_adj(c: &Ctx<'_>, out: &mut Problems) {
    if let Some(score) = c.process().and_then(crate::spec::Process::oom_score_adj)
        && !(-1000..=1000).contains(&score)
    {
        let text = format!("{score} is out of range, expected -1000 to 1000");
        out.push(Problem::error(At::field("process.oomScoreAdj"), LINUX, text));
    }
}

/// The kernel has 16 bits for each.
pub(super) fn console_size(c: &Ctx<'_>, out: &mut Problems) {
    let Some(process) = c.process().filter(|process| process.terminal() == Some(true)) else { return };
    let Some(size) = process.console_size() else { return };
    let parts = [("process.consoleSize.height", size.height()), ("process.consoleSize.width", size.width())];
    for (place, value) in parts.into_iter().filter(|(_, value)| *value > u16::MAX.into()) {
        let text = format!("{value} is out of range, expected 0 to {}", u16::MAX);
        out.push(Problem::error(At::field(place), CLAUSE, text));
    }
}

/// Without SELinux a label is refused, in runc's words: the container would have fewer bounds than its config promises. Without
/// AppArmor a profile is a warning, as with crun: runtime-tools' `linux_process_apparmor_profile` wants such a container to
/// run, and engines send no profile to such a machine.
pub(super) fn security_modules(c: &Ctx<'_>, out: &mut Problems) {
    let Some(process) = c.process() else { return };
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if given(process.apparmor_profile()) && c.host.apparmor == Some(false) {
        let text = "not applied: apparmor is disabled or not supported";
        out.push(Problem::warning(At::field("process.apparmorProfile"), LINUX, text));
    }
    if given(process.selinux_label()) && c.host.selinux == Some(false) {
        let text = "selinux label is specified in config, but selinux is disabled or not supported";
        out.push(Problem::error(At::field("process.selinuxLabel"), LINUX, text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::Host;
    use serde_json::{Value, json};

    fn process(patch: Value) -> Vec<String> {
        found(json!({"process": patch}))
    }

    #[test]
    fn program_and_place() {
        let none = "process.args: must not be empty (args must not be empty)";
        let table = [
            (json!({"args": []}), none),
            (json!({"args": null}), none),
            (json!({"cwd": "tmp"}), "process.cwd: \"tmp\" must be absolute (Cwd must be an absolute path)"),
            (json!({"cwd": ""}), "process.cwd: must be given (Cwd property must not be empty)"),
            (json!({"cwd": null}), "process.cwd: must be given (Cwd property must not be empty)"),
            (json!({"oomScoreAdj": 1001}), "process.oomScoreAdj: 1001 is out of range, expected -1000 to 1000"),
            (json!({"oomScoreAdj": -1001}), "process.oomScoreAdj: -1001 is out of range, expected -1000 to 1000"),
        ];
        for (patch, expected) in table {
            assert_eq!(process(patch), [expected]);
        }
        assert_eq!(process(Value::Null), ["process: process property must not be empty"]);
        for score in [-1000, 0, 1000] {
            assert_eq!(process(json!({"oomScoreAdj": score})), Vec::<String>::new());
        }
    }

    #[test]
    fn sizes_of_terminals() {
        let size = |terminal: bool, height: u64, width: u64| {
            process(json!({"terminal": terminal, "consoleSize": {"height": height, "width": width}}))
        };
        assert_eq!(size(true, 0, 65535), Vec::<String>::new());
        assert_eq!(size(false, 1 << 40, 65536), Vec::<String>::new());
        assert_eq!(
            size(true, 65536, 65536),
            [
                "process.consoleSize.height: 65536 is out of range, expected 0 to 65535",
                "process.consoleSize.width: 65536 is out of range, expected 0 to 65535",
            ]
        );
    }

    #[test]
    fn labels_need_their_security_module() {
        let without = Host { apparmor: Some(false), selinux: Some(false), ..Host::privileged() };
        let asks = json!({"process": {"apparmorProfile": "unconfined", "selinuxLabel": "a:b:c:s0"}});
        assert_eq!(
            found_on(&without, asks.clone()),
            [
                "warning: process.apparmorProfile: not applied: apparmor is disabled or not supported",
                "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported",
            ]
        );
        assert_eq!(found(asks), Vec::<String>::new());
        let empty = json!({"process": {"apparmorProfile": "", "selinuxLabel": ""}});
        assert_eq!(found_on(&without, empty), Vec::<String>::new());
    }

    #[test]
    fn environment() {
        assert_eq!(
            process(json!({"env": ["A=1", "B", "=x", "C=a\u{0}b", "D=", "A=="]})),
            [
                "process.env[1]: invalid environment variable: missing '=', expected NAME=value",
                "process.env[2]: invalid environment variable: name cannot be empty",
                "process.env[3]: invalid environment variable \"C\": contains nul byte (\\x00)",
            ]
        );
    }

    #[test]
    fn users() {
        let all = json!({"user": {"uid": u32::MAX, "gid": u32::MAX, "additionalGids": [1, u32::MAX], "umask": 0o1777}});
        assert_eq!(
            process(all),
            [
                "warning: process.user.umask: only the lowest nine bits of 0o1777 count",
                "process.user.uid: 4294967295 is no id",
                "process.user.gid: 4294967295 is no id",
                "process.user.additionalGids[1]: 4294967295 is no id",
            ]
        );
        assert_eq!(process(json!({"user": {"uid": 4_294_967_294_u32, "umask": 0o777}})), Vec::<String>::new());
    }

    #[test]
    fn users_of_user_namespaces() {
        let with = |path: &str| {
            json!({
                "process": {"user": {"uid": 5, "gid": 6, "additionalGids": [0, 7]}},
                "linux": {
                    "namespaces": [{"type": "mount"}, {"type": "user", "path": path}],
                    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 5}],
                    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 6}],
                },
            })
        };
        assert_eq!(
            found(with("")),
            [
                "process.user.uid: cannot setuid to unmapped uid 5 in user namespace",
                "process.user.gid: cannot setgid to unmapped gid 6 in user namespace",
                "process.user.additionalGids[1]: cannot setgid to unmapped gid 7 in user namespace",
            ]
        );
        assert!(!found(with("/ns")).iter().any(|p| p.contains("unmapped")));
    }

    #[test]
    fn limits() {
        let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
        let list = [
            limit("RLIMIT_NOFILE", 1, 1),
            limit("RLIMIT_CPU", 2, 1),
            limit("RLIMIT_NOFILE", 1, 1),
            limit("RLIMIT_NOFILE", 0, u64::MAX),
        ];
        assert_eq!(
            process(json!({"rlimits": list})),
            [
                "process.rlimits[1].soft: 2 is more than the hard limit of 1",
                "process.rlimits[2].type: duplicate \"RLIMIT_NOFILE\" (first at [0])",
                "process.rlimits[3].type: duplicate \"RLIMIT_NOFILE\" (first at [0])",
            ]
        );
    }
}
