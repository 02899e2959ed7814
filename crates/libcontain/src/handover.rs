//! Handing a descriptor to whoever listens on a socket: data with one descriptor (unix(7), SCM_RIGHTS).
//!
//! The other side is a program of somebody else's that may have stopped reading, so there is a deadline; and it may have
//! gone away, which must not kill this process (SIGPIPE). The socket's own flags are the caller's and stay as they are.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, Result};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// One message with a descriptor, without waiting and without heap; how much of `data` has gone. `data` must not be empty: a
/// stream would carry no message then.
pub(crate) fn message(socket: BorrowedFd<'_>, data: &[u8], fd: BorrowedFd<'_>) -> Result<usize> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(socket, &[IoSlice::new(data)], &mut control, FLAGS)
}

/// All of `data`, the descriptor with its first byte.
///
/// # Errors
/// `TIMEDOUT` if the socket does not take all in time; otherwise what `sendmsg(2)` says.
pub(crate) fn send(socket: BorrowedFd<'_>, data: &[u8], fd: BorrowedFd<'_>, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut sent = 0;
    while let Some(rest @ [_, ..]) = data.get(sent..) {
        // What is longer than the socket takes at once goes in parts, and the descriptor with the first of them.
        let went = if sent == 0 { message(socket, rest, fd) } else { rustix::net::send(socket, rest, FLAGS) };
        match went {
            Ok(part) => sent += part,
            Err(Errno::AGAIN) => wait(socket, deadline)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn wait(socket: BorrowedFd<'_>, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let mut poll = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    match rustix::event::poll(&mut poll, Some(&left)) {
        Ok(0) => Err(Errno::TIMEDOUT),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn one_message_with_one_descriptor() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(ours.as_fd(), b"name", writer.as_fd(), SOON).unwrap();
        drop((ours, writer));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut data = [0; 64];
        let mut slices = [std::io::IoSliceMut::new(&mut data)];
        let got = rustix::net::recvmsg(&theirs, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_eq!(&data[..got.bytes], b"name");
        let fds: Vec<_> = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
                _ => vec![],
            })
            .collect();
        assert_eq!(fds.len(), 1);
        rustix::io::write(&fds[0], b"!").unwrap();
        drop(fds);
        let mut text = String::new();
        std::io::BufReader::new(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "!", "it is the descriptor that was sent, and nobody else holds it");
    }

    #[test]
    fn a_peer_that_is_gone_or_does_not_read_is_an_error() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(send(ours.as_fd(), b"x", null.as_fd(), SOON), Err(Errno::PIPE));
        let (ours, _theirs) = UnixDatagram::pair().unwrap();
        let start = Instant::now();
        let end = loop {
            if let Err(errno) = send(ours.as_fd(), b"x", null.as_fd(), SOON) {
                break errno;
            }
        };
        assert_eq!(end, Errno::TIMEDOUT);
        assert!(start.elapsed() >= SOON);
    }
}
