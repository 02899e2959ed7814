//! Sockets that callers name on the command line: this program connects, and something is sent.
//!
//! Connected before anything is made, and with a deadline: a caller who does not listen costs nothing.

use crate::args::Parsed;
use anyhow::{Context, bail};
use libcontain::{CreateOptions, ExecOptions};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How long a listener may take that has as many connections waiting as it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connections that were asked for.
pub struct Sockets {
    console: Option<OwnedFd>,
    pidfd: Option<OwnedFd>,
}

impl Sockets {
    /// A relative path is one in `dir`: where runc is when it connects.
    pub fn dial(args: &Parsed, dir: &Path) -> anyhow::Result<Self> {
        let connected = |flag| {
            let path = args.given(flag).map(|path| dir.join(path));
            path.map(|path| dial(&path).with_context(|| format!("dial unix {}", path.display()))).transpose()
        };
        Ok(Sockets { console: connected("console-socket")?, pidfd: connected("pidfd-socket")? })
    }

    /// The options with these sockets.
    pub fn lend<'a>(&'a self, options: CreateOptions<'a>) -> CreateOptions<'a> {
        let [console, pidfd_socket] = self.borrowed();
        CreateOptions { console, pidfd_socket, ..options }
    }

    /// The options with these sockets.
    pub fn lend_exec<'a>(&'a self, options: ExecOptions<'a>) -> ExecOptions<'a> {
        let [console, pidfd_socket] = self.borrowed();
        ExecOptions { console, pidfd_socket, ..options }
    }

    fn borrowed(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [&self.console, &self.pidfd].map(|socket| socket.as_ref().map(AsFd::as_fd))
    }
}

fn dial(path: &Path) -> anyhow::Result<OwnedFd> {
    let os = std::io::Error::from;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(os).context("socket")?;
    // For connect(2) too (unix(7) does not say so, socket(7) does).
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE)).map_err(os).context("setsockopt")?;
    let result = match SocketAddrUnix::new(path) {
        Ok(address) => connect(&socket, &address),
        // An address holds 108 bytes: by way of the open file a longer path fits as well.
        Err(Errno::NAMETOOLONG) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags, Mode::empty()).map_err(os).context("open")?;
            let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(os)?;
            connect(&socket, &address)
        }
        Err(error) => Err(error),
    };
    match result {
        Err(Errno::AGAIN) => bail!("connect: no answer within {} s", PATIENCE.as_secs()),
        result => result.map_err(os).context("connect")?,
    }
    Ok(socket)
}
