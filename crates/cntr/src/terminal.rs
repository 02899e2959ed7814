//! The caller's terminal, for a process in the foreground that has one of its own: found, made raw, and put back.
//!
//! What holds: it is as it was found when this process leaves, on every way that can be seen (signals are blocked and read, so
//! that none ends this process half-way). What is typed goes to the process as it is: ^C is a byte to us, and its own terminal
//! makes a signal of it. Output keeps the caller's processing, which adds carriage returns: the process's terminal adds none.

use anyhow::{Context, bail};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use rustix::stdio;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The caller's terminal.
#[derive(Debug)]
pub struct Host {
    fd: Fd,
    /// How it was found, once it has been changed.
    before: Option<Termios>,
}

/// One of this process's own streams, or `/dev/tty`.
#[derive(Debug)]
enum Fd {
    Own(BorrowedFd<'static>),
    Controlling(OwnedFd),
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Fd::Own(fd) => *fd,
            Fd::Controlling(fd) => fd.as_fd(),
        }
    }
}

impl Host {
    /// runc's order: stderr is the least often redirected.
    ///
    /// # Errors
    /// There is none: a terminal in the foreground would have nobody in front of it.
    pub fn find() -> anyhow::Result<Self> {
        let own = [stdio::stderr(), stdio::stdout(), stdio::stdin()].into_iter().find(|fd| isatty(fd));
        let fd = match own {
            Some(fd) => Fd::Own(fd),
            None => {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
                let opened = rustix::fs::open(c"/dev/tty", flags, Mode::empty());
                Fd::Controlling(opened.map_err(std::io::Error::from).context("open /dev/tty")?)
            }
        };
        Ok(Host { fd, before: None })
    }

    /// Rows and columns; `None` for a terminal that nobody looks at.
    pub fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.fd).ok()?;
        Some((size.ws_row, size.ws_col)).filter(|(rows, columns)| *rows != 0 && *columns != 0)
    }

    /// Until this is dropped.
    pub fn make_raw(&mut self) -> anyhow::Result<()> {
        let before = tcgetattr(&self.fd).map_err(std::io::Error::from).context("tcgetattr")?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= before.output_modes & OutputModes::OPOST;
        tcsetattr(&self.fd, OptionalActions::Now, &raw).map_err(std::io::Error::from).context("tcsetattr")?;
        self.before = Some(before);
        Ok(())
    }

    /// The process's terminal becomes as large; it is told by the kernel.
    pub fn resize(&self, master: BorrowedFd<'_>) {
        if let Some((ws_row, ws_col)) = self.size() {
            let _ = tcsetwinsize(master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 });
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.fd, OptionalActions::Now, before);
        }
    }
}

/// Ours and the process's end of a connection over which the master end comes.
pub fn connection() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(std::io::Error::from).context("socketpair")
}

/// Takes the master end, which was sent before the process was ready.
pub fn receive(connection: &OwnedFd) -> anyhow::Result<OwnedFd> {
    let mut name = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(connection, &mut [IoSliceMut::new(&mut name)], &mut control, flags);
    received.map_err(std::io::Error::from).context("recvmsg of the terminal")?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message
            && let Some(master) = fds.next()
        {
            return Ok(master);
        }
    }
    bail!("the terminal's master end was not sent")
}
