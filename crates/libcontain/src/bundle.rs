//! From a bundle directory to a [`Spec`].
//!
//! Owns the reading of `config.json`, and nothing of its meaning: what the values say is for `check`. A file
//! is read once, at most [`LIMIT`] bytes of it and only if it is a regular file, so that no config can hang
//! the runtime or eat the machine's memory. JSON is taken as Go takes it (see `json`). The caller's working
//! directory is never changed: everything later resolves against [`Bundle::dir`].

mod json;

use crate::error::{At, Error, Problem};
use crate::spec::Spec;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Largest `config.json` that is read, in bytes. Real ones have 10-100 kB.
pub const LIMIT: u64 = 16 << 20;

/// Longest error text about a config, in bytes: it may quote what the config holds.
const LONGEST_TEXT: usize = 600;

/// A bundle: a directory, and the config that it holds.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    spec: Spec,
    config: Vec<u8>,
    warnings: Vec<Problem>,
}

impl Bundle {
    /// Reads the bundle in `dir`.
    ///
    /// # Errors
    /// When the directory or its `config.json` cannot be read, or is not a config. The text names the config
    /// path and line where there is one.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Bundle::load(dir.as_ref())?)
    }

    fn load(given: &Path) -> Result<Self, BundleError> {
        let chdir = |error: &io::Error| BundleError::from_io(&format!("chdir {}", given.display()), error);
        let dir = std::path::absolute(given).map_err(|e| chdir(&e))?;
        let config = read_config(&dir.join("config.json")).map_err(|error| match dir.metadata() {
            // Without a bundle the config is the lesser problem.
            Err(missing) => chdir(&missing),
            Ok(found) if !found.is_dir() => chdir(&io::Error::from_raw_os_error(libc::ENOTDIR)),
            Ok(_) => error,
        })?;
        Bundle::decode(dir, config)
    }

    /// A bundle whose `config.json` the caller has read. Relative paths of the config are taken from `dir`.
    ///
    /// # Errors
    /// When it is not a config. The text names the place and line.
    pub fn from_bytes(dir: impl Into<PathBuf>, config: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let dir = dir.into();
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Ok(Bundle::decode(dir, config.into())?)
    }

    fn decode(dir: PathBuf, config: Vec<u8>) -> Result<Self, BundleError> {
        let (spec, warnings) = from_json("config.json", &config)?;
        Ok(Bundle { dir, spec, config, warnings })
    }

    /// A bundle whose config was made by the caller. Relative paths of the config are taken from `dir`.
    pub fn new(dir: impl Into<PathBuf>, spec: Spec) -> Self {
        let config = serde_json::to_vec(&spec).unwrap_or_default();
        let dir = dir.into();
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Bundle { dir, spec, config, warnings: Vec::new() }
    }

    /// The config.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The bundle directory, absolute, symlinks not resolved.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The config as it stood in the file: hooks and later commands must see what was given, not what a
    /// parser made of it.
    #[must_use]
    pub fn config_bytes(&self) -> &[u8] {
        &self.config
    }

    /// What reading found and got over: capabilities that nobody knows.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// Why a bundle could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BundleError {
    /// The whole message, file and place included.
    pub text: String,
    /// Place in the config, such as `process.args`.
    pub at: Option<String>,
    /// Error number of the system call that failed.
    pub errno: Option<i32>,
}

impl BundleError {
    fn plain(text: String) -> Self {
        BundleError { text, at: None, errno: None }
    }

    /// `what: no such file or directory`, in lower case as Go has it, since callers compare such texts.
    fn from_io(what: &str, error: &io::Error) -> Self {
        let mut text = error.to_string();
        if let Some(at) = text.rfind(" (os error ") {
            text.truncate(at);
        }
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        BundleError { text: format!("{what}: {text}"), at: None, errno: error.raw_os_error() }
    }

    fn from_fault(file: &str, fault: json::Fault) -> Self {
        let mut text = format!("{file}: ");
        if !fault.path.is_empty() {
            text.push_str(&fault.path);
            text.push_str(": ");
        }
        text.push_str(&fault.text);
        shorten(&mut text, LONGEST_TEXT);
        if fault.line > 0 {
            text = format!("{text} (line {})", fault.line);
        }
        BundleError { text, at: Some(fault.path).filter(|path| !path.is_empty()), errno: None }
    }
}

/// Decodes a JSON document of the config's types, as Go would: `file` is its name in messages. Besides the
/// value it returns warnings about capabilities that are not known and were left out.
///
/// # Errors
/// When the text is not UTF-8, not JSON, or does not fit the type.
pub fn from_json<'de, T: Deserialize<'de>>(file: &str, bytes: &'de [u8]) -> Result<(T, Vec<Problem>), BundleError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count();
        BundleError::plain(format!("{file}: invalid UTF-8 at byte {} (line {line})", error.valid_up_to()))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(BundleError::plain(format!("{file}: is empty, expected a JSON object")));
    }
    let (value, dropped) = json::decode(text).map_err(|fault| BundleError::from_fault(file, fault))?;
    Ok((value, unknown_capabilities(dropped)))
}

/// One warning per word, at the first of the lists that hold it. The spec wants them told and ignored.
fn unknown_capabilities(dropped: Vec<json::Dropped>) -> Vec<Problem> {
    let mut words: Vec<String> = Vec::new();
    let mut warnings = Vec::new();
    for json::Dropped { list, index, word } in dropped {
        if words.contains(&word) {
            continue;
        }
        let path = match list.as_str() {
            "bounding" => "process.capabilities.bounding[#]",
            "effective" => "process.capabilities.effective[#]",
            "inheritable" => "process.capabilities.inheritable[#]",
            "permitted" => "process.capabilities.permitted[#]",
            _ => "process.capabilities.ambient[#]",
        };
        let text = format!("ignoring unknown or unavailable capabilities: [{}]", shown(&word));
        warnings.push(Problem::warning(At::item(path, index), "config.md#linux-process", text));
        words.push(word);
    }
    warnings
}

/// Reads the file, if it is one, and not too much of it.
fn read_config(path: &Path) -> Result<Vec<u8>, BundleError> {
    // O_NONBLOCK: opening a FIFO waits for a writer otherwise. O_NOCTTY: a terminal must not become ours.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let text = "JSON specification file config.json not found".to_owned();
            BundleError { text, at: None, errno: error.raw_os_error() }
        }
        _ => BundleError::from_io("open config.json", &error),
    })?;
    let found = file.metadata().map_err(|e| BundleError::from_io("stat config.json", &e))?;
    if let Some(kind) = irregular(found.file_type()) {
        return Err(BundleError::plain(format!("config.json: is {kind}, expected a regular file")));
    }
    if found.len() > LIMIT {
        return Err(too_large(&format!("{} bytes", found.len())));
    }
    read_some(&file, found.len())
}

fn read_some(file: &File, len: u64) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).map_or(0, |len| len.saturating_add(1)));
    // A file may grow while it is read, and those of /proc have no length at all.
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|e| BundleError::from_io("read config.json", &e))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > LIMIT) {
        return Err(too_large("the file"));
    }
    Ok(bytes)
}

fn too_large(what: &str) -> BundleError {
    BundleError::plain(format!("config.json: {what} is more than the limit of {} MiB", LIMIT >> 20))
}

fn irregular(kind: std::fs::FileType) -> Option<&'static str> {
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_char_device() => Some("a character device"),
        () if kind.is_block_device() => Some("a block device"),
        () => Some("no file"),
    }
}

/// A word of the config as messages show it: on one line and not too long.
fn shown(word: &str) -> String {
    let mut word = word.escape_debug().to_string();
    shorten(&mut word, 80);
    word
}

fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Capability, LinuxNamespaceType, LinuxResources, LinuxSchedulerFlag};
    use std::fmt::Write as _;

    fn spec(text: &str) -> Spec {
        let (spec, warnings) = from_json::<Spec>("config.json", text.as_bytes()).expect(text);
        assert_eq!(warnings, []);
        spec
    }

    fn error(text: &str) -> String {
        from_json::<Spec>("config.json", text.as_bytes()).expect_err(text).text
    }

    #[test]
    fn parse_errors_name_the_place() {
        let table = [
            (
                "{\n\"process\": {\n\"args\": \"sh\"}}",
                "config.json: process.args: invalid type: string \"sh\", expected a sequence (line 3)",
            ),
            (
                "{\"process\":{\"args\":[\"a\",\n7]}}",
                "config.json: process.args[1]: invalid type: integer `7`, expected a string (line 2)",
            ),
            (
                "{\"process\":{\"args\":[\"a\",null]}}",
                "config.json: process.args[1]: invalid type: null, expected a string (line 1)",
            ),
            (
                r#"{"process":{"user":{"uid":4294967296}}}"#,
                "config.json: process.user.uid: invalid value: integer `4294967296`, expected u32 (line 1)",
            ),
            (
                r#"{"process":{"user":{"uid":-1}}}"#,
                "config.json: process.user.uid: invalid value: integer `-1`, expected u32 (line 1)",
            ),
            (
                r#"{"process":{"user":{"uid":1.5}}}"#,
                "config.json: process.user.uid: invalid type: floating point `1.5`, expected u32 (line 1)",
            ),
            (
                r#"{"process":{"user":[0,0]}}"#,
                "config.json: process.user: invalid type: sequence, expected an object (line 1)",
            ),
            (
                r#"{"process":{"terminal":"yes"}}"#,
                "config.json: process.terminal: invalid type: string \"yes\", expected a boolean (line 1)",
            ),
            ("[]", "config.json: invalid type: sequence, expected an object (line 1)"),
            ("7", "config.json: invalid type: integer `7`, expected an object (line 1)"),
            ("", "config.json: is empty, expected a JSON object"),
            (" \n", "config.json: is empty, expected a JSON object"),
            ("{} x", "config.json: trailing characters (line 1)"),
            (r#"{"process":{"args":["a" "b"]}}"#, "config.json: process.args[1]: expected `,` or `]` (line 1)"),
            (r#"{"process":{"args":["a""#, "config.json: process.args[1]: EOF while parsing a list (line 1)"),
            (
                "{\"annotations\":{\"a.b\":1}}",
                "config.json: annotations.a.b: invalid type: integer `1`, expected a string (line 1)",
            ),
            (r#"{"process":{"rlimits":[{"soft":1}]}}"#, "config.json: process.rlimits[0].type: must be given (line 1)"),
            (
                r#"{"mounts":[{"destination":"/","options":["a"]},{"options":{}}]}"#,
                "config.json: mounts[1].options: invalid type: map, expected a sequence (line 1)",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected);
        }
        let found = from_json::<Spec>("config.json", br#"{"process":{"args":"sh"}}"#).expect_err("wrong type");
        assert_eq!(found.at.as_deref(), Some("process.args"));
    }

    /// Refusals of a member of `process`, `linux` or `linux.seccomp`, the list of expected words cut off.
    fn refused(table: &[(&str, &str, &str)]) {
        for (parent, member, expected) in table {
            let text = match *parent {
                "linux.seccomp" => format!(r#"{{"linux":{{"seccomp":{{"defaultAction":"SCMP_ACT_LOG",{member}}}}}}}"#),
                parent => format!(r#"{{"{parent}":{{{member}}}}}"#),
            };
            let expected = format!("config.json: {parent}.{expected}");
            let found = error(&text);
            assert!(found.starts_with(&expected), "{found}\n{expected}");
        }
    }

    #[test]
    fn unknown_words_are_refused_with_runc_texts() {
        refused(&[
            (
                "linux",
                r#""namespaces":[{"type":"pid"},{"type":"x"}]"#,
                "namespaces[1].type: namespace \"x\" does not exist, expected one of mount, cgroup, uts, ipc, user, pid, network, time (line 1)",
            ),
            (
                "linux",
                r#""devices":[{"type":"x","path":"/a"}]"#,
                "devices[0].type: invalid device type \"x\", expected one of a, b, c, u, p (line 1)",
            ),
            (
                "linux",
                r#""resources":{"devices":[{"type":"x"}]}"#,
                "resources.devices[0].type: invalid cgroup device type \"x\", expected one of a, b, c, u, p (line 1)",
            ),
            (
                "linux",
                r#""personality":{"domain":"X"}"#,
                "personality.domain: invalid personality domain X, expected one of LINUX, LINUX32",
            ),
            (
                "linux",
                r#""memoryPolicy":{"mode":"X"}"#,
                "memoryPolicy.mode: invalid memory policy mode \"X\", expected one of MPOL_",
            ),
            (
                "linux",
                r#""memoryPolicy":{"mode":"MPOL_BIND","flags":["X"]}"#,
                "memoryPolicy.flags[0]: invalid memory policy flag \"X\"",
            ),
            (
                "process",
                r#""rlimits":[{"type":"RLIMIT_X"}]"#,
                "rlimits[0].type: wrong rlimit value: RLIMIT_X, expected one of RLIMIT_CPU, ",
            ),
            ("process", r#""rlimits":[{"type":7}]"#, "rlimits[0].type: invalid type: integer `7`, expected a string"),
            (
                "process",
                r#""scheduler":{"policy":"X"}"#,
                "scheduler.policy: invalid scheduler policy: X, expected one of SCHED_OTHER, ",
            ),
            (
                "process",
                r#""scheduler":{"policy":"SCHED_RR","flags":["X"]}"#,
                "scheduler.flags[0]: invalid scheduler flag: X",
            ),
            (
                "process",
                r#""ioPriority":{"class":"X"}"#,
                "ioPriority.class: invalid ioPriority.Class: \"X\", expected one of IOPRIO_CLASS_RT, ",
            ),
        ]);
    }

    #[test]
    fn unknown_words_of_seccomp_are_refused_with_runc_texts() {
        refused(&[
            (
                "linux.seccomp",
                r#""syscalls":[{"names":["read"],"action":"SCMP_ACT_X"}]"#,
                "syscalls[0].action: string SCMP_ACT_X is not a valid action for seccomp, expected one of SCMP_ACT_KILL, ",
            ),
            (
                "linux.seccomp",
                r#""syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"op":"SCMP_CMP_XX"}]}]"#,
                "syscalls[0].args[0].op: string SCMP_CMP_XX is not a valid operator for seccomp, expected one of SCMP_CMP_NE, ",
            ),
            (
                "linux.seccomp",
                r#""architectures":["SCMP_ARCH_Z80"]"#,
                "architectures[0]: string SCMP_ARCH_Z80 is not a valid arch for seccomp (line 1)",
            ),
            (
                "linux.seccomp",
                r#""flags":["SECCOMP_X"]"#,
                "flags[0]: seccomp flag SECCOMP_X is not known to runc, expected one of SECCOMP_FILTER_FLAG_LOG, ",
            ),
        ]);
    }

    #[test]
    fn names_match_in_any_case_and_exact_ones_first() {
        let found = spec(
            r#"{"OCIVERSION":"1.2.0","Process":{"CWD":"/a","Args":["x"],"NoNewPrivileges":true},"LINUX":{"maskedpaths":["/m"]}}"#,
        );
        assert_eq!(found.version(), "1.2.0");
        let process = found.process().as_ref().expect("process");
        assert_eq!((process.cwd().to_str(), process.no_new_privileges()), (Some("/a"), Some(true)));
        assert_eq!(found.linux().as_ref().and_then(|l| l.masked_paths().clone()), Some(vec!["/m".to_owned()]));
        let (resources, _) =
            from_json::<LinuxResources>("-", br#"{"CPU":{"Cpus":"1"},"BLOCKio":{"Weight":5}}"#).expect("resources");
        assert_eq!(resources.cpu().as_ref().and_then(|c| c.cpus().clone()).as_deref(), Some("1"));
        assert_eq!(resources.block_io().as_ref().and_then(crate::spec::LinuxBlockIo::weight), Some(5));
        // Keys that are data stay as they are.
        let found = spec(r#"{"annotations":{"A":"1","a":"2"}}"#);
        assert_eq!(found.annotations().as_ref().map(std::collections::HashMap::len), Some(2));
    }

    #[test]
    fn null_is_absent_and_absent_is_zero() {
        let found = spec(
            r#"{"ociVersion":null,"process":{"terminal":null,"user":null,"args":null,"cwd":null},"mounts":[{"type":"proc"}],"hooks":{"poststop":[{"args":["x"]}]},"annotations":{"a":null,"b":""},"linux":{"uidMappings":[{"size":null,"hostID":5}]}}"#,
        );
        assert_eq!(found.version(), "");
        let process = found.process().as_ref().expect("process");
        assert_eq!((process.user().uid(), process.args(), process.cwd().to_str()), (0, &None, Some("")));
        assert_eq!(found.mounts().as_ref().map(|m| m[0].destination().clone()), Some(PathBuf::new()));
        assert_eq!(
            found.hooks().as_ref().and_then(|h| h.poststop().clone()).map(|h| h[0].path().clone()),
            Some(PathBuf::new())
        );
        assert_eq!(
            found.annotations().as_ref().map(|a| a.keys().cloned().collect::<Vec<_>>()),
            Some(vec!["b".to_owned()])
        );
        let mapping = found.linux().as_ref().and_then(|l| l.uid_mappings().clone()).expect("mapping")[0];
        assert_eq!((mapping.host_id(), mapping.size()), (5, 0));
        assert_eq!(spec(r#"{"process":{}}"#).process().as_ref().map(|p| p.user().gid()), Some(0));
    }

    #[test]
    fn lists_of_cpus() {
        let found = |initial: &str| {
            spec(&format!(r#"{{"process":{{"execCPUAffinity":{{"initial":"{initial}","final":"1"}}}}}}"#))
        };
        let affinity =
            |initial| found(initial).process().as_ref().and_then(|p| p.exec_cpu_affinity().clone()).expect("given");
        assert_eq!(affinity("0-3,7").initial().as_deref(), Some("0-3,7"));
        assert_eq!((affinity("").initial(), affinity("").cpu_affinity_final().as_deref()), (&None, Some("1")));
        refused(&[
            (
                "process",
                r#""execCPUAffinity":{"initial":"0-"}"#,
                "execCPUAffinity.initial: bad CPUAffinity.Initial: \"0-\", expected a list such as \"0-3,7\" (line 1)",
            ),
            (
                "process",
                r#""execCPUAffinity":{"final":"x"}"#,
                "execCPUAffinity.final: bad CPUAffinity.Final: \"x\", expected",
            ),
        ]);
    }

    #[test]
    fn of_repeated_members_the_last_counts() {
        let found = spec(
            r#"{"hostname":"a","process":{"cwd":"/1","CWD":"/2","cwd":"/3"},"Hostname":"b","linux":{"maskedPaths":["/x"],"maskedPaths":[]},"process":{"cwd":"/4","args":["a"],"args":["b","c"]},"annotations":{"k":"1","k":"2"}}"#,
        );
        assert_eq!(found.hostname().as_deref(), Some("b"));
        let process = found.process().as_ref().expect("process");
        assert_eq!((process.cwd().to_str(), process.args()), (Some("/4"), &Some(vec!["b".to_owned(), "c".to_owned()])));
        assert_eq!(found.linux().as_ref().and_then(|l| l.masked_paths().clone()), Some(vec![]));
        assert_eq!(found.annotations().as_ref().and_then(|a| a.get("k")).map(String::as_str), Some("2"));
        assert_eq!(spec(r#"{"unknown":1,"unknown":{"a":[]}}"#).hostname(), &None);
        // A wrong type is one even where it would not count: as in Go.
        assert!(error(r#"{"hostname":7,"hostname":"a"}"#).contains("hostname: invalid type: integer `7`"));
    }

    #[test]
    fn words_are_those_of_the_spec_where_oci_spec_errs() {
        let found = spec(
            r#"{"process":{"scheduler":{"policy":"SCHED_RR","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]}}}"#,
        );
        let flags = found.process().as_ref().and_then(|p| p.scheduler().clone()).and_then(|s| s.flags().clone());
        assert_eq!(flags, Some(vec![LinuxSchedulerFlag::SchedResetOnFork, LinuxSchedulerFlag::SchedFlagDLOverrun]));
    }

    #[test]
    fn repetition_is_paid_from_a_budget() {
        // Some hundreds in a config of the usual size are affordable: 500 of each sort in 20 kB.
        let nulls = vec![r#"{"size":null,"size":1,"size":2}"#; 500].join(",");
        let found = spec(&format!(r#"{{"linux":{{"uidMappings":[{nulls}]}}}}"#));
        let mappings = found.linux().as_ref().and_then(|l| l.uid_mappings().clone()).expect("mappings");
        assert!(mappings.len() == 500 && mappings.iter().all(|m| m.size() == 2));
        let mut text = "{".to_owned();
        for i in 0..200_000 {
            write!(text, r#""hostname":"{i}","#).expect("string");
        }
        text.push_str(r#""hostname":"last"}"#);
        let start = std::time::Instant::now();
        assert!(error(&text).starts_with("config.json: hostname: given too often"));
        assert!(start.elapsed().as_secs() < 20);
    }

    #[test]
    fn unknown_members_are_ignored_at_any_depth() {
        let found = spec(r#"{"new":{"deep":[{"a":1e99}]},"process":{"future":[1,2],"cwd":"/x"},"hostname":"h"}"#);
        assert_eq!(found.hostname().as_deref(), Some("h"));
        assert_eq!(found.process().as_ref().and_then(|p| p.cwd().to_str()), Some("/x"));
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(from_json::<Spec>("config.json", deep.as_bytes()).is_ok());
    }

    #[test]
    fn unknown_capabilities_become_warnings() {
        let text = r#"{"process":{"cwd":"/","capabilities":{"bounding":["CAP_KILL","CAP_TEST","CAP_CHOWN","CAP_\nX"],"effective":["CAP_TEST","CAP_KILL"],"ambient":["CAP_NEW"]}},"hostname":"h"}"#;
        let (found, warnings) = from_json::<Spec>("config.json", text.as_bytes()).expect("warnings only");
        let shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let clause = "[config.md#linux-process]";
        assert_eq!(
            shown,
            [
                format!(
                    "process.capabilities.bounding[1]: ignoring unknown or unavailable capabilities: [CAP_TEST] {clause}"
                ),
                format!(
                    "process.capabilities.bounding[3]: ignoring unknown or unavailable capabilities: [CAP_\\nX] {clause}"
                ),
                format!(
                    "process.capabilities.ambient[0]: ignoring unknown or unavailable capabilities: [CAP_NEW] {clause}"
                ),
            ]
        );
        let capabilities = found.process().as_ref().and_then(|p| p.capabilities().clone()).expect("capabilities");
        assert_eq!(capabilities.bounding(), &Some([Capability::Kill, Capability::Chown].into()));
        assert_eq!(capabilities.effective(), &Some([Capability::Kill].into()));
        assert_eq!(capabilities.ambient(), &Some([].into()));
        assert!(
            error(r#"{"process":{"capabilities":{"bounding":[7]}}}"#)
                .contains("process.capabilities.bounding[0]: invalid type: integer `7`")
        );
        assert!(
            error(r#"{"process":{"capabilities":{"bounding":["CAP_X"],"permitted":"all"}}}"#)
                .contains("process.capabilities.permitted: invalid type")
        );
    }

    #[test]
    fn wellformed_configs_agree_with_plain_serde() {
        let made = Spec::default();
        let text = serde_json::to_vec(&made).expect("json");
        let (found, _) = from_json::<Spec>("config.json", &text).expect("own output");
        assert_eq!(found, made);
        assert_eq!(
            found.linux().as_ref().and_then(|l| l.namespaces().clone()).map(|n| n[0].typ()),
            Some(LinuxNamespaceType::Pid)
        );
    }

    #[test]
    fn texts_stay_short_and_on_one_line() {
        let long = "x".repeat(100_000);
        let found = error(&format!(r#"{{"process":{{"args":"{long}"}}}}"#));
        assert!(found.len() < 700 && found.ends_with("… (line 1)"), "{found}");
        assert!(error(&format!(r#"{{"linux":{{"namespaces":[{{"type":"{long}\n"}}]}}}}"#)).len() < 400);
    }

    #[test]
    fn invalid_utf8_is_named() {
        let found = from_json::<Spec>("config.json", b"{\n\"hostname\": \"\xff\"}").expect_err("not UTF-8");
        assert_eq!(found.text, "config.json: invalid UTF-8 at byte 15 (line 2)");
    }

    #[test]
    fn bundles_that_cannot_be_opened() {
        let temp = tempfile::tempdir().expect("temp dir");
        let dir = temp.path();
        let open = |dir: &Path| Bundle::open(dir).expect_err("refused");
        let missing = open(&dir.join("none"));
        assert_eq!(missing.to_string(), format!("chdir {}/none: no such file or directory", dir.display()));
        assert_eq!(missing.errno(), Some(libc::ENOENT));
        assert_eq!(open(dir).to_string(), "JSON specification file config.json not found");
        let config = dir.join("config.json");
        std::fs::create_dir(&config).expect("mkdir");
        assert_eq!(open(dir).to_string(), "config.json: is a directory, expected a regular file");
        assert_eq!(open(&config).to_string(), "JSON specification file config.json not found");
        std::fs::remove_dir(&config).expect("rmdir");
        rustix::fs::mknodat(rustix::fs::CWD, &config, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("mkfifo");
        assert_eq!(open(dir).to_string(), "config.json: is a FIFO, expected a regular file");
        std::fs::remove_file(&config).expect("rm");
        std::os::unix::fs::symlink("/dev/zero", &config).expect("symlink");
        assert_eq!(open(dir).to_string(), "config.json: is a character device, expected a regular file");
        std::fs::remove_file(&config).expect("rm");
        File::create_new(&config).and_then(|f| f.set_len(100 << 20)).expect("sparse file");
        assert_eq!(open(dir).to_string(), "config.json: 104857600 bytes is more than the limit of 16 MiB");
        assert_eq!(open(&config).to_string(), format!("chdir {}: not a directory", config.display()));
    }

    #[test]
    fn files_without_a_length_are_read_up_to_the_limit() {
        let zero = File::open("/dev/zero").expect("/dev/zero");
        assert_eq!(
            read_some(&zero, 0).expect_err("endless").text,
            "config.json: the file is more than the limit of 16 MiB"
        );
    }

    #[test]
    fn an_opened_bundle_keeps_what_was_written() {
        let temp = tempfile::tempdir().expect("temp dir");
        let text = r#"{ "ociVersion": "1.0.2",   "unknown": 7 }"#;
        std::fs::write(temp.path().join("config.json"), text).expect("write");
        let bundle = Bundle::open(temp.path().join(".")).expect("bundle");
        assert_eq!(bundle.config_bytes(), text.as_bytes());
        assert_eq!((bundle.spec().version().as_str(), bundle.dir()), ("1.0.2", temp.path()));
        assert!(Bundle::open("src").expect_err("no config").to_string().starts_with("JSON specification"));
        assert!(Bundle::new("/b", Spec::default()).config_bytes().starts_with(b"{"));
    }
}
