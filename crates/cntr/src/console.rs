//! `--console-socket`: the connection that the terminal's master end is sent over.
//!
//! The caller listens at a path; it may be slow or have gone. So the connection is made before there is a container, and
//! with a deadline.

use crate::args::Parsed;
use anyhow::{Context, bail};
use libcontain::Bundle;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How long a listener may take that has as many connections waiting as it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connection that was asked for, if any. A relative path is one in the bundle, where runc is when it connects.
pub fn connected(args: &Parsed, bundle: &Bundle) -> anyhow::Result<Option<OwnedFd>> {
    let path = args.given("console-socket").map(|path| bundle.dir().join(path));
    path.map(|path| dial(&path).with_context(|| format!("dial unix {}", path.display()))).transpose()
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
