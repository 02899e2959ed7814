//! sd_notify(3) through the wall: what the container's program says to its own socket is passed on to the host's.
//!
//! Of all that a program may say only its `READY=` is: the rest (a main pid, descriptors to keep) would be taken for
//! this process's word and mean something else on the host. The host's manager is then told which process to watch, and
//! asked to close a pipe once it has read all that (sd_notify_barrier(3)): it looks up who sent a message, so the sender
//! must not be gone by then. Only [`Notifier::wait`] and [`Notifier::finish`] wait.

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, recv, sendmsg, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{OsStr, OsString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// For one message to a manager whose queue is full.
const SENDING: Duration = Duration::from_secs(5);

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// So many unread messages a program may have left; more than net.unix.max_dgram_qlen usually allows.
const QUEUE: usize = 1024;

/// For the manager to answer a barrier. One that does not know barriers never does.
const BARRIER: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Who is to be told that the program is ready: `NOTIFY_SOCKET`.
pub fn host() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Listens for the program's READY and passes it on, once.
#[derive(Debug)]
pub struct Notifier {
    host: OsString,
    /// What the host's manager will be told to watch.
    main_pid: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// At the container's socket.
    Listening(OwnedFd),
    /// READY has been passed on; the pipe ends when the host's manager has seen it.
    Passed(OwnedFd),
    Done,
}

impl Notifier {
    pub fn new(host: OsString, socket: OwnedFd, main_pid: u32) -> Self {
        Notifier { host, main_pid, stage: Stage::Listening(socket) }
    }

    /// What to wait for until the next [`Notifier::step`].
    pub fn wanted(&self) -> Option<BorrowedFd<'_>> {
        match &self.stage {
            Stage::Listening(fd) | Stage::Passed(fd) => Some(fd.as_fd()),
            Stage::Done => None,
        }
    }

    /// Takes one message, or notes that the manager has seen what it was told. After an error there is nothing more to do.
    pub fn step(&mut self) -> anyhow::Result<()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Listening(socket) = stage else { return Ok(()) };
        let mut message = [0; 4096];
        // Descriptors that come with a message are dropped by the kernel: there is no room for them.
        match recv(&socket, &mut message[..], RecvFlags::DONTWAIT) {
            Ok((len, _)) => match ready(message.get(..len).unwrap_or_default()) {
                Some(line) => self.stage = Stage::Passed(self.pass_on(line)?),
                None => self.stage = Stage::Listening(socket),
            },
            Err(Errno::AGAIN | Errno::INTR) => self.stage = Stage::Listening(socket),
            Err(error) => return Err(std::io::Error::from(error)).context("reading the notify socket"),
        }
        Ok(())
    }

    fn pass_on(&self, ready: &[u8]) -> anyhow::Result<OwnedFd> {
        let told = || {
            let host = dial(&self.host)?;
            send(&host, &[ready, b"\n"].concat(), None)?;
            send(&host, format!("MAINPID={}\n", self.main_pid).as_bytes(), None)?;
            let (end, held) = pipe_with(PipeFlags::CLOEXEC)?;
            send(&host, b"BARRIER=1", Some(held.as_fd()))?;
            Ok(end)
        };
        told().map_err(|e: Errno| std::io::Error::from(e)).with_context(|| format!("notifying {}", self.host.display()))
    }

    /// Until the host's manager knows that the program is ready, or the program has ended without having been.
    pub fn wait(mut self, program: BorrowedFd<'_>) -> anyhow::Result<()> {
        while let Stage::Listening(socket) = &self.stage {
            let mut fds = [socket.as_fd(), program].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(std::io::Error::from).context("poll")?,
            };
            let [said, _] = fds.map(|fd| !fd.revents().is_empty());
            if !said {
                break;
            }
            self.step()?;
        }
        self.finish()
    }

    /// Once the program has ended or said that it is ready: what it said last may still be unread, and what it said is to
    /// have reached the manager.
    pub fn finish(mut self) -> anyhow::Result<()> {
        for _ in 0..QUEUE {
            match &self.stage {
                Stage::Listening(socket) if is_readable(socket, NOW) => self.step()?,
                _ => break,
            }
        }
        if let Stage::Passed(pipe) = &self.stage {
            is_readable(pipe, BARRIER);
        }
        Ok(())
    }
}

fn is_readable(fd: &OwnedFd, limit: Timespec) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
}

/// The line of a message that says so: `READY=1`.
fn ready(message: &[u8]) -> Option<&[u8]> {
    message.split(|b| *b == b'\n').find(|line| line.starts_with(b"READY="))
}

/// A socket connected to a path, or to an abstract name, written with `@`.
fn dial(host: &OsStr) -> Result<OwnedFd, Errno> {
    let address = match host.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(host)?,
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(SENDING))?;
    connect(&socket, &address)?;
    Ok(socket)
}

fn send(socket: &OwnedFd, message: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    let fds: Vec<BorrowedFd<'_>> = fds.into_iter().flatten().collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// The program has said more than one message and has ended before any was read.
    #[test]
    fn what_was_said_last_is_read_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host");
        let host = UnixDatagram::bind(&path).unwrap();
        let (program, socket) = UnixDatagram::pair().unwrap();
        for message in ["STATUS=1", "STATUS=2", "READY=1", "STATUS=3"] {
            program.send(message.as_bytes()).unwrap();
        }
        drop(program);
        let heard = std::thread::spawn(move || {
            // Without room for the barrier's descriptor the kernel closes it: the barrier is answered.
            let mut message = [0; 64];
            [(); 3].map(|()| {
                host.recv(&mut message).map(|len| String::from_utf8_lossy(&message[..len]).into_owned()).unwrap()
            })
        });
        Notifier::new(path.into(), socket.into(), 5).finish().unwrap();
        assert_eq!(heard.join().unwrap(), ["READY=1\n", "MAINPID=5\n", "BARRIER=1"]);
    }

    #[test]
    fn only_a_line_that_begins_so_says_ready() {
        for (message, expected) in [
            ("READY=1", Some("READY=1")),
            ("STATUS=up\nREADY=1\nMAINPID=2", Some("READY=1")),
            ("READY=1\n", Some("READY=1")),
            ("STATUS=READY=1", None),
            (" READY=1", None),
            ("", None),
        ] {
            assert_eq!(ready(message.as_bytes()), expected.map(str::as_bytes), "{message:?}");
        }
    }
}
