//! What can go wrong, and where in the config it was asked for.
//!
//! Owns [`At`] (a place in `config.json`), [`Problem`] (what checking and planning find: all of them in one
//! go) and [`Error`] (what a command returns). Nothing here performs I/O.

use std::fmt;

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
}
