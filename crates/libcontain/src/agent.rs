//! The seccomp agent: a program on the host that answers a container's system calls (`SCMP_ACT_NOTIFY`).
//!
//! It listens on a socket of its own. It gets one connection per container, on it the container process state and the
//! listener of the filter, and the end of the connection (config-linux.md#containerprocessstate). It is looked for before
//! anything is made, and spoken to while init stands still. Nothing here waits without a limit.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result as OsResult, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::container::Container;
use crate::create::FRAME;
use crate::error::{At, Error, Kind, errno_text};
use crate::plan::seccomp::{Agent, Filter};
use crate::report::Failure;
use crate::spawn::Init;
use crate::{handover, hook_state};

/// How long an agent may take to accept the connection, and to make room for what is sent.
const ACCEPTS: Duration = Duration::from_secs(10);

/// How long it may take to let init come to its next word.
const ANSWERS: Duration = Duration::from_secs(20);

const PATH: At = At::field("linux.seccomp.listenerPath");

/// Where an agent listens.
#[derive(Debug)]
pub(crate) struct Socket<'a> {
    agent: &'a Agent,
    /// The socket's inode; `None` for an abstract name.
    file: Option<OwnedFd>,
}

/// Looks for an agent, without a word to it: one that serves a single connection at a time would be held up while a
/// container is made.
pub(crate) fn find(agent: &Agent) -> Result<Socket<'_>, Error> {
    let found = match agent.abstract_name() {
        Some(_) => Ok(None),
        None => rustix::fs::open(&agent.socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(Some),
    };
    let file = found.map_err(|errno| not_connected(agent, errno))?;
    Ok(Socket { agent, file })
}

fn not_connected(agent: &Agent, errno: Errno) -> Error {
    // From connect(2): the agent's queue stays full.
    let errno = if errno == Errno::AGAIN { Errno::TIMEDOUT } else { errno };
    let text = "failed to connect with seccomp agent specified in the seccomp profile";
    let text = format!("{PATH}: {text}: dial unix {}: connect", agent.socket.display());
    Error::os(text, errno).with_at(PATH).within(FRAME)
}

impl Socket<'_> {
    fn connect(&self) -> OsResult<OwnedFd> {
        let address = match (&self.file, self.agent.abstract_name()) {
            // Found once, and whatever the length of its path: an address has room for 107 bytes.
            (Some(file), _) => SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?,
            (None, name) => SocketAddrUnix::new_abstract_name(name.unwrap_or_default())?,
        };
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(ACCEPTS))?; // holds for connect(2) as well
        retry_on_intr(|| rustix::net::connect(&socket, &address))?;
        Ok(socket)
    }

    /// Takes the listener of init, or of a process beside it, and sends it with the state of the container. It is the agent's alone
    /// then, but for init's own.
    pub(crate) fn hand_over(
        &self,
        init: &Init,
        status: &str,
        container: &Container,
        number: RawFd,
    ) -> Result<(), Error> {
        let listener = init.copy_fd(number).map_err(|fault| {
            let hint = match fault.errno {
                libc::EPERM => " (it needs CAP_SYS_PTRACE over init, and kernel.yama.ptrace_scope below 3)",
                _ => "",
            };
            let text = format!("linux.seccomp: taking the listener: {}: {}{hint}", fault.call, errno_text(fault.errno));
            Error::new(Kind::Os, text).with_errno(fault.errno).with_at(At::field("linux.seccomp")).within(FRAME)
        })?;
        let connection = self.connect().map_err(|errno| not_connected(self.agent, errno))?;
        let state = container.hook_state(status, true);
        let state = hook_state::process_state(init.pid, &self.agent.metadata, &state);
        handover::send(connection.as_fd(), &state, listener.as_fd(), ACCEPTS).map_err(|errno| {
            let text = format!("{PATH}: cannot send seccomp fd to {}", self.agent.socket.display());
            Error::os(text, errno).with_at(PATH).within(FRAME)
        })
    }
}

/// Waits for the next word of an init whose calls an agent answers. One that does not answer would hold it up for ever.
pub(crate) fn await_answers(init: &Init) -> Result<(), Error> {
    match init.speaks_within(ANSWERS).map_err(|fault| Error::os(fault.call, Errno::from_raw_os_error(fault.errno)))? {
        true => Ok(()),
        false => {
            let text = format!("{PATH}: the seccomp agent does not answer init's own system calls");
            Err(Error::new(Kind::Os, text).with_at(PATH).within(FRAME))
        }
    }
}

/// What usually is behind a filter that the kernel does not take.
pub(crate) fn load_hint(filter: &Filter, failure: &Failure) -> &'static str {
    match failure.errno {
        libc::EINVAL if filter.waits_killable() => " (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19)",
        libc::EBUSY if filter.notifies() => " (cntr itself runs under a filter with SCMP_ACT_NOTIFY: one is the most)",
        _ => "",
    }
}
