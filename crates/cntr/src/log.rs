//! Log lines in the two forms of Go's logrus: engines parse them.
//!
//! Invariants: one line is one `write(2)` to a descriptor opened O_APPEND, so that several processes can share a
//! file; a failing command writes exactly one error entry and it is the last (podman wants the whole file to be one
//! JSON object, containerd shows the last error); with a file, the plain error goes to standard error as well.
//! Nothing else in the program writes to the log.

use crate::args::Parsed;
use crate::json;
use anyhow::{Context, bail};
use libcontain::Error;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::Location;
use std::time::{Duration, UNIX_EPOCH};

/// Where log lines go and what they look like.
#[derive(Debug, Default)]
pub struct Log {
    /// Standard error if `None`.
    file: Option<File>,
    json: bool,
    debug: bool,
}

/// One line. Members in the order in which JSON shows them: sorted.
#[derive(Debug, Default, Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    func: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    level: &'static str,
    msg: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    time: String,
}

/// RFC 3339 with whole seconds, as logrus prints it.
fn now() -> String {
    let seconds = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    libcontain::rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

impl Log {
    /// As `--debug`, `--log` and `--log-format` say.
    pub fn open(global: &Parsed) -> anyhow::Result<Log> {
        let json = match global.value("log-format").map(|v| v.to_string_lossy()).as_deref() {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => bail!("invalid log-format: {other}"),
        };
        let file = match global.given("log") {
            Some(path) => Some(open(path).with_context(|| format!("open {}", path.display()))?),
            None => None,
        };
        Ok(Log { file, json, debug: global.is_set("debug") })
    }

    /// The final error of a command.
    #[track_caller]
    pub fn error(&self, error: &anyhow::Error) {
        self.error_in_words(error, &message(error));
    }

    /// One that is told to standard error in other words than to a log file. At a terminal a person reads, who gets it all.
    #[track_caller]
    pub fn error_said(&self, error: &anyhow::Error, words: &str) {
        if self.file.is_some() || stderr().is_terminal() {
            return self.error_in_words(error, words);
        }
        let _ = stderr().write_all(format!("{words}\n").as_bytes());
    }

    #[track_caller]
    fn error_in_words(&self, error: &anyhow::Error, words: &str) {
        let msg = message(error);
        let found = error.downcast_ref::<Error>();
        self.write(Entry {
            at: found.and_then(Error::at).map(|at| at.to_string()),
            errno: found.and_then(Error::errno),
            kind: found.map(|e| format!("{:?}", e.kind())),
            level: "error",
            msg,
            problems: found.map_or(Vec::new(), |e| e.problems().iter().map(ToString::to_string).collect()),
            ..self.entry()
        });
        if self.file.is_some() {
            let _ = stderr().write_all(format!("{words}\n").as_bytes());
        }
    }

    /// Something to be told that does not make the command fail.
    #[track_caller]
    pub fn warnings(&self, problems: &[libcontain::Problem]) {
        problems.iter().for_each(|problem| self.warning(&problem.to_string()));
    }

    /// One line of level warning.
    pub fn warning(&self, msg: &str) {
        self.write(Entry { level: "warning", msg: msg.to_owned(), ..self.entry() });
    }

    /// One line about what has failed and changes nothing.
    pub fn warn_of(&self, done: anyhow::Result<()>) {
        if let Err(error) = done {
            self.warning(&format!("{error:#}"));
        }
    }

    /// A line for `--debug`.
    #[track_caller]
    pub fn debug(&self, msg: impl FnOnce() -> String) {
        if self.debug {
            self.write(Entry { level: "debug", msg: msg(), ..self.entry() });
        }
    }

    #[track_caller]
    fn entry(&self) -> Entry {
        // Taken here, not in a closure: that would be the caller otherwise.
        let caller = Location::caller();
        let place = self.debug.then(|| format!("{}:{}", caller.file(), caller.line()));
        Entry { func: place.as_ref().map(|_| "cntr"), file: place, time: now(), ..Entry::default() }
    }

    /// A line that cannot be written is lost: there is nobody left to tell.
    fn write(&self, entry: Entry) {
        let line = if self.json {
            json::compact(&entry).unwrap_or_default() + "\n"
        } else if self.file.is_none() && stderr().is_terminal() {
            for_terminal(&entry)
        } else {
            text(&entry)
        };
        let _ = match &self.file {
            Some(file) => (&mut &*file).write_all(line.as_bytes()),
            None => stderr().write_all(line.as_bytes()),
        };
    }
}

fn open(path: &std::ffi::OsStr) -> std::io::Result<File> {
    let sync = rustix::fs::OFlags::SYNC.bits().cast_signed();
    OpenOptions::new().create(true).append(true).mode(0o644).custom_flags(sync).open(path)
}

/// The text of an error: contexts and cause, up to the library's error, which tells the rest itself.
pub fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(os) = cause.downcast_ref::<std::io::Error>() {
            parts.push(errno_text(os));
            break;
        }
        parts.push(cause.to_string());
        if cause.is::<Error>() {
            break;
        }
    }
    parts.join(": ")
}

/// An errno as Go and C name it: `no such file or directory`.
pub fn errno_text(error: &std::io::Error) -> String {
    let Some(raw) = error.raw_os_error() else { return error.to_string() };
    let text = nix::errno::Errno::from_raw(raw).desc();
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn text(entry: &Entry) -> String {
    let mut line = format!("time={} level={} msg={}", quoted(&entry.time), entry.level, quoted(&entry.msg));
    for (key, value) in [("func", entry.func), ("file", entry.file.as_deref())] {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={}", quoted(value)));
        }
    }
    line.push('\n');
    line
}

/// logrus counts seconds since its start here; a command that fails at once has none to show.
fn for_terminal(entry: &Entry) -> String {
    let level: String = entry.level.to_uppercase().chars().take(4).collect();
    format!("{level}[0000] {}\n", entry.msg)
}

/// A value of the text form: bare where logrus leaves it bare, else quoted as by Go's `%q`.
fn quoted(value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "-._/@^+".contains(c)) {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    value.chars().for_each(|c| quote(&mut out, c));
    out.push('"');
    out
}

fn quote(out: &mut String, c: char) {
    let code = u32::from(c);
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{code:02x}")),
        c if c.is_ascii() || is_printable(c) => out.push(c),
        _ if code < 0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
        _ => out.push_str(&format!("\\U{code:08x}")),
    }
}

/// Rust's notion of printable agrees with Go's, except that Rust also escapes a combining mark at the very beginning.
fn is_printable(c: char) -> bool {
    !String::from_iter(['a', c]).escape_debug().any(|e| e == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_values_are_quoted_as_go_does() {
        for (value, expected) in [
            ("main.rs", "main.rs"),
            ("a-._/@^+Z9", "a-._/@^+Z9"),
            ("", ""),
            ("a b", "\"a b\""),
            ("a\"\\\n\u{1}\u{7f}", "\"a\\\"\\\\\\n\\x01\\x7f\""),
            ("grün", "\"grün\""),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{a0}\u{2028}\u{e0001}", "\"\\u00a0\\u2028\\U000e0001\""),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }

    #[test]
    fn json_keys_are_sorted_and_absent_ones_left_out() {
        let mut entry = Entry { level: "error", msg: "<m>".into(), time: "T".into(), ..Entry::default() };
        assert_eq!(json::compact(&entry).unwrap(), r#"{"level":"error","msg":"\u003cm\u003e","time":"T"}"#);
        entry.at = Some("process.cwd".into());
        entry.errno = Some(2);
        entry.kind = Some("Config".into());
        entry.problems = vec!["x".into()];
        entry.file = Some("a:1".into());
        entry.func = Some("f");
        let text = json::compact(&entry).unwrap();
        let keys: Vec<usize> = ["at", "errno", "file", "func", "kind", "level", "msg", "problems", "time"]
            .iter()
            .map(|key| text.find(&format!("\"{key}\":")).unwrap())
            .collect();
        assert!(keys.is_sorted(), "{text}");
    }

    #[test]
    fn messages_are_framed_and_errnos_read_as_in_go() {
        let error =
            anyhow::Error::from(std::io::Error::from_raw_os_error(2)).context("open /x").context("runc create failed");
        assert_eq!(message(&error), "runc create failed: open /x: no such file or directory");
    }

    #[test]
    fn terminal_form() {
        let entry = Entry { level: "error", msg: "container does not exist".into(), ..Entry::default() };
        assert_eq!(for_terminal(&entry), "ERRO[0000] container does not exist\n");
    }
}
