//! Sockets that callers name on the command line: this program connects, and something is sent.
//!
//! Connected before anything is made, so that a caller who does not listen costs nothing.

use anyhow::Context;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// A listener whose queue is full and who does not accept is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream to the listener at `path`, seen from `dir` if it is relative (the bundle: that is where runc is by then).
pub fn dial(path: &OsStr, dir: &Path) -> anyhow::Result<OwnedFd> {
    let path = dir.join(path);
    let connected = || {
        let address = SocketAddrUnix::new(&path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It holds for connect(2) as well.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        connect(&socket, &address).map(|()| socket)
    };
    connected().map_err(std::io::Error::from).with_context(|| format!("dial unix {}: connect", path.display()))
}
