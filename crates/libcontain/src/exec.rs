//! One more process in a container that exists: joined, not made.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Process;

use crate::bundle;
use crate::container::Container;
use crate::error::{Error, Kind, Problem};

/// What a caller may ask for besides the process.
#[derive(Debug, Default)]
pub struct ExecOptions<'a> {
    /// What becomes its stdin, stdout and stderr; `None` hands on the caller's.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// How many of the caller's descriptors from 3 on it inherits, at the same numbers.
    pub preserve_fds: u32,
    /// A connected socket (`SOCK_STREAM`), over which the terminal's master end is sent, with a name that means nothing.
    /// Demanded by `terminal`, and of no use without.
    pub console: Option<BorrowedFd<'a>>,
    /// A connected `SOCK_STREAM` socket that is sent its pidfd: one message, `setns`, with one descriptor. It is an error if
    /// it cannot be sent within ten seconds.
    pub pidfd_socket: Option<BorrowedFd<'a>>,
    /// Where to write its pid, in decimal and without a newline, once it runs.
    pub pid_file: Option<&'a Path>,
    /// Its signal mask (bit n-1 stands for signal n); `None`: the calling thread's.
    pub signal_mask: Option<u64>,
    /// Existing cgroups below the container's: `PATH` where there is v2 alone, else `CONTROLLER[,...]:PATH` for those
    /// hierarchies. In the others, and without any, it is the container's own.
    pub cgroups: Vec<String>,
    /// Go ahead in a paused container, where it stands still until that is resumed, as does the caller.
    pub ignore_paused: bool,
}

/// A process that was put into a container and runs its program. The caller is its parent.
#[derive(Debug)]
pub struct Exec {
    pid: u32,
    pidfd: OwnedFd,
    warnings: Vec<Problem>,
}

impl Exec {
    /// In the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Polls as readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What the caller should be told although all went well.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// A `process` object of the config in JSON, read as Go reads it: names in any case, `null` as the zero value.
///
/// # Errors
/// [`Kind::Config`]: it is none. The text names the place and line.
pub fn process_from_json(text: &[u8]) -> Result<Process, Error> {
    Ok(bundle::from_json("process", text)?.0)
}

impl Container {
    /// The config's process, as it was when the container was made.
    ///
    /// # Errors
    /// The record has none: the container was made by an older version.
    pub fn process(&self) -> Result<Process, Error> {
        Err(Error::new(Kind::Unsupported, "exec: not implemented yet"))
    }

    /// Runs one more process in a created or running container. What `process` leaves out of capabilities, limits,
    /// `noNewPrivileges`, labels, scheduler, I/O priority and CPU affinity is as for the container's own; the seccomp profile
    /// always is. Returns when the program is executing.
    ///
    /// # Errors
    /// [`Kind::NotRunning`] of a stopped container, [`Kind::Paused`] of a paused one; [`Kind::Config`] with all problems of
    /// `process`; [`Kind::Exec`] of a program that cannot be executed.
    pub fn exec(&self, _process: &Process, _options: &ExecOptions<'_>) -> Result<Exec, Error> {
        Err(Error::new(Kind::Unsupported, "exec: not implemented yet"))
    }
}
