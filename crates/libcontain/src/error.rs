//! What can go wrong, and where in the config it was asked for.
//!
//! Owns [`At`] (a place in `config.json`), [`Problem`] (what checking and planning find: all of them in one
//! go) and [`Error`] (what a command returns). Nothing here performs I/O.

use std::fmt;
use std::io;

use crate::bundle::BundleError;

/// A place in `config.json`: a path whose `#` marks stand for list indices. `Copy` and without heap, so that
/// every step of a plan can carry one: `At::item("mounts[#].source", 7)` prints as `mounts[7].source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    path: &'static str,
    index: [usize; 2],
}

impl At {
    /// A member that no list index leads to, such as `process.cwd`.
    #[must_use]
    pub const fn field(path: &'static str) -> Self {
        At { path, index: [0; 2] }
    }

    /// A member below one list item: `path` holds one `#`.
    #[must_use]
    pub const fn item(path: &'static str, index: usize) -> Self {
        At { path, index: [index, 0] }
    }

    /// A member below a list item of a list item: `path` holds two `#`.
    #[must_use]
    pub const fn nested(path: &'static str, outer: usize, inner: usize) -> Self {
        At { path, index: [outer, inner] }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indices = self.index.iter();
        for (i, part) in self.path.split('#').enumerate() {
            if i > 0 {
                write!(f, "{}", indices.next().unwrap_or(&0))?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// Whether a [`Problem`] stops the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The container cannot be made as asked.
    Error,
    /// The spec wants the container made all the same, and the caller told.
    Warning,
}

/// One thing that checking or planning found wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the config.
    pub at: At,
    /// The clause of the runtime-spec behind it, such as `config.md#process`; empty where there is none.
    pub clause: &'static str,
    /// What is wrong and what was expected, without the place.
    pub text: String,
    /// Error or warning.
    pub level: Level,
}

impl Problem {
    /// A problem that stops the container.
    pub fn error(at: At, clause: &'static str, text: impl Into<String>) -> Self {
        Problem { at, clause, text: text.into(), level: Level::Error }
    }

    /// A problem that the caller is told of and nothing more.
    pub fn warning(at: At, clause: &'static str, text: impl Into<String>) -> Self {
        Problem { at, clause, text: text.into(), level: Level::Warning }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)?;
        if !self.clause.is_empty() {
            write!(f, " [{}]", self.clause)?;
        }
        Ok(())
    }
}

/// What sort of failure an [`Error`] is, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The id has a form that no container can have.
    InvalidId,
    /// A container with this id is there already.
    Exists,
    /// No container has this id.
    NotFound,
    /// The container is not in the state that the command needs.
    NotRunning,
    /// The container is paused.
    Paused,
    /// The config is wrong; [`Error::problems`] has every finding.
    Config,
    /// The kernel or this version cannot do what was asked.
    Unsupported,
    /// A hook failed.
    Hook,
    /// The container's program cannot be executed.
    Exec,
    /// A system call failed.
    Os,
}

/// Why a command failed. `Display` is the whole message in the words that engines look for, without the frame
/// (`runc create failed: `) that the command line adds.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    at: Option<String>,
    errno: Option<i32>,
    text: String,
    execve: Option<String>,
    problems: Vec<Problem>,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        let inner = Inner { kind, at: None, errno: None, text: text.into(), execve: None, problems: Vec::new() };
        Error(Box::new(inner))
    }

    /// `what: no such file or directory`.
    pub(crate) fn os(what: impl fmt::Display, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let mut wrapped = Error::new(Kind::Os, format!("{what}: {}", os_text(&error)));
        wrapped.0.errno = error.raw_os_error();
        wrapped
    }

    /// All problems of a config; the message is the first that stops the container.
    pub(crate) fn config(problems: Vec<Problem>) -> Self {
        let first = problems.iter().find(|p| p.level == Level::Error);
        let mut error = Error::new(Kind::Config, first.map_or_else(String::new, Problem::to_string));
        error.0.at = first.map(|p| p.at.to_string());
        error.0.problems = problems;
        error
    }

    pub(crate) fn with_at(mut self, at: At) -> Self {
        self.0.at = Some(at.to_string());
        self
    }

    pub(crate) fn with_errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    pub(crate) fn with_execve(mut self, words: Option<String>) -> Self {
        self.0.execve = words;
        self
    }

    /// `message; more`: something else went wrong because of it.
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.0.text = format!("{}; {more}", self.0.text);
        self
    }

    /// `frame: message`.
    pub(crate) fn within(mut self, frame: impl fmt::Display) -> Self {
        self.0.text = format!("{frame}: {}", self.0.text);
        self
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The config member behind it, if one is: `mounts[7].options`.
    #[must_use]
    pub fn at(&self) -> Option<&str> {
        self.0.at.as_deref()
    }

    /// The errno of the system call behind it, if one is.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// What execve(2) said of a program that had been found, and nothing else: `exec /x: exec format error`.
    #[must_use]
    pub fn execve(&self) -> Option<&str> {
        self.0.execve.as_deref()
    }

    /// Everything that checking and planning found, when [`Kind::Config`].
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        let mut wrapped = Error::new(Kind::Config, error.text);
        wrapped.0.at = error.at;
        wrapped.0.errno = error.errno;
        wrapped
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Error {}

/// The text of an errno as Go and therefore runc print it: lower case, without the number. Callers look for it.
pub(crate) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    // "Is a directory" is "is a directory" there, but names such as "RFS specific error" keep their capitals.
    let mut chars = text.chars();
    match (chars.next(), chars.as_str()) {
        (Some(first), rest) if rest.starts_with(|c: char| !c.is_uppercase()) => {
            first.to_lowercase().chain(rest.chars()).collect()
        }
        _ => text.to_owned(),
    }
}

/// The text of an errno by number.
pub(crate) fn errno_text(errno: i32) -> String {
    os_text(&io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_print_as_config_paths() {
        assert_eq!(At::field("process.cwd").to_string(), "process.cwd");
        assert_eq!(At::item("mounts[#].source", 7).to_string(), "mounts[7].source");
        assert_eq!(
            At::nested("linux.seccomp.syscalls[#].args[#].op", 3, 1).to_string(),
            "linux.seccomp.syscalls[3].args[1].op"
        );
    }

    #[test]
    fn errnos_read_as_gos() {
        for (errno, text) in [
            (2, "no such file or directory"),
            (13, "permission denied"),
            (21, "is a directory"),
            (8, "exec format error"),
        ] {
            assert_eq!(errno_text(errno), text);
        }
    }
}
