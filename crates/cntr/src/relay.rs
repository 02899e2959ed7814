//! What goes between a process in the foreground and this process's own streams: by three pipes, or by its terminal.
//!
//! Data moves in a poll loop (foreground.rs), which hands on signals as well, so nothing here blocks. The caller's
//! descriptors keep their flags, since O_NONBLOCK belongs to the open file, which others share: where it is a pipe or a
//! terminal, output goes through an open file of ours. Else a stream writes only what a writable pipe is sure to take.

use crate::foreground::Owner;
use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, fchown, fcntl_setfl, fstat, major, minor, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::stdio;
use rustix::termios::isatty;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const BUFFER: usize = 32 * 1024;

/// PIPE_BUF: what a pipe that polls writable takes without blocking.
const CHUNK: usize = 4096;

/// `/dev/ptmx` (Documentation/admin-guide/devices.txt).
const MULTIPLEXER: (u32, u32) = (5, 2);

const INPUT: usize = 0;
const OUTPUT: usize = 1;

/// Input, output and, but for a terminal, error output, in the order of their descriptors.
#[derive(Debug)]
pub struct Relay {
    streams: Vec<Stream>,
    /// Input and output are two descriptors of one terminal.
    terminal: bool,
    /// Its other end, while the process lives: who closes his own for a while (a daemon, an init with its console) has not
    /// hung up, and must not be hung up on.
    held: Option<OwnedFd>,
}

#[derive(Debug)]
struct Stream {
    /// `None` once either side is closed.
    ends: Option<Ends>,
    buffer: Vec<u8>,
    /// What of the buffer has been read but not written.
    pending: Range<usize>,
    /// There will be no more than there is: who wrote it has ended.
    last: bool,
}

#[derive(Debug)]
struct Ends {
    from: End,
    to: End,
}

/// This process's own stream, which stays open, or a descriptor that is the relay's alone: its end of a pipe, an output that
/// was opened once more.
#[derive(Debug)]
enum End {
    Own(BorrowedFd<'static>),
    Pipe(OwnedFd),
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            End::Own(fd) => *fd,
            End::Pipe(fd) => fd.as_fd(),
        }
    }
}

/// Three pipes: this process's ends with its own streams behind them, and the ends for the container.
pub fn pipes(owner: Owner) -> anyhow::Result<(Relay, [OwnedFd; 3])> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).context("pipe2");
    let ((input, to_input), (from_output, output), (from_error, error)) = (pipe()?, pipe()?, pipe()?);
    // A container that does not read must not stop its output from being read.
    fcntl_setfl(&to_input, OFlags::NONBLOCK).map_err(std::io::Error::from).context("fcntl")?;
    let theirs = [input, output, error];
    hand_over(&theirs, owner);
    let streams = vec![
        Stream::new(End::Own(stdio::stdin()), End::Pipe(to_input)),
        Stream::new(End::Pipe(from_output), output_to(stdio::stdout())),
        Stream::new(End::Pipe(from_error), output_to(stdio::stderr())),
    ];
    Ok((Relay { streams, terminal: false, held: None }, theirs))
}

/// A terminal's master end, which nobody else has open.
pub fn terminal(master: OwnedFd) -> anyhow::Result<Relay> {
    fcntl_setfl(&master, OFlags::NONBLOCK).map_err(std::io::Error::from).context("fcntl")?;
    let again = master.try_clone().context("fcntl")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    // Of a process that has ended by now, and has been hung up on, it may not be there to be opened.
    let held = ioctl_tiocgptpeer(&master, flags).ok();
    let streams = vec![
        Stream::new(End::Own(stdio::stdin()), End::Pipe(again)),
        Stream::new(End::Pipe(master), output_to(stdio::stdout())),
    ];
    Ok(Relay { streams, terminal: true, held })
}

/// A terminal polls as writable when there is room for one byte, and a pipe may be filled by another stream of ours, or by
/// somebody else. Who may not open it (`su`) writes as it is, and so does who writes to anything else.
fn output_to(own: BorrowedFd<'static>) -> End {
    opened_once_more(own).map_or(End::Own(own), End::Pipe)
}

fn opened_once_more(own: BorrowedFd<'_>) -> Option<OwnedFd> {
    let stat = fstat(own).ok()?;
    let is_pipe = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
    // To open a master end is to make another terminal.
    let is_master = (major(stat.st_rdev), minor(stat.st_rdev)) == MULTIPLEXER;
    if !is_pipe && (is_master || !isatty(own)) {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(format!("/proc/self/fd/{}", own.as_raw_fd()), flags, Mode::empty()).ok()
}

/// Whether this can be written right now, whatever was true a moment ago.
fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Makes the container's root owner of its pipes, so that it can open /dev/stdout and the like. Where that is not
/// permitted (an ordinary user's subordinate ids) the pipes work all the same, only not by name.
fn hand_over(pipes: &[OwnedFd; 3], Owner { uid, gid }: Owner) {
    if uid.is_some() || gid.is_some() {
        for pipe in pipes {
            let _ = fchown(pipe, uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        }
    }
}

impl Relay {
    /// What each open stream waits for, with its number.
    pub fn wanted(&self) -> Vec<(usize, BorrowedFd<'_>, PollFlags)> {
        let open = self.streams.iter().enumerate();
        open.filter_map(|(number, stream)| stream.wanted().map(|(fd, events)| (number, fd, events))).collect()
    }

    /// Moves data of a stream that is ready.
    pub fn step(&mut self, number: usize) {
        if let Some(stream) = self.streams.get_mut(number) {
            stream.step();
        }
        // Whoever has lost his output is to notice: a terminal hangs up when both descriptors of its master are closed.
        if self.terminal && self.master().is_none() {
            self.close_input();
        }
    }

    /// The master end of the terminal, if it is one and still open.
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        let output = self.streams.get(OUTPUT).filter(|_| self.terminal)?;
        output.ends.as_ref().map(|ends| ends.from.as_fd())
    }

    /// What the process has written is in the pipe, whoever else holds it, or in the terminal, which a process that it left
    /// behind may keep open for ever: there, what is not yet written will not be waited for (as in runc).
    pub fn process_has_ended(&mut self) {
        self.close_input();
        self.held = None;
        if self.terminal
            && let Some(output) = self.streams.get_mut(OUTPUT)
        {
            output.last = true;
            output.read_last();
        }
    }

    /// Nobody reads any more.
    fn close_input(&mut self) {
        if let Some(stream) = self.streams.get_mut(INPUT) {
            stream.ends = None;
        }
    }

    /// Whether all output has been passed on and nobody holds a writing end.
    pub fn is_drained(&self) -> bool {
        self.streams.iter().skip(INPUT + 1).all(|stream| stream.ends.is_none())
    }
}

impl Stream {
    fn new(from: End, to: End) -> Self {
        Stream { ends: Some(Ends { from, to }), buffer: vec![0; BUFFER], pending: 0..0, last: false }
    }

    fn wanted(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let Ends { from, to } = self.ends.as_ref()?;
        Some(if self.pending.is_empty() { (from.as_fd(), PollFlags::IN) } else { (to.as_fd(), PollFlags::OUT) })
    }

    /// One read or one write. An end, or a side that has gone away, closes both sides: the other one is to notice.
    fn step(&mut self) {
        let Some(ends) = &self.ends else { return };
        let moved = if self.pending.is_empty() {
            rustix::io::read(&ends.from, &mut *self.buffer).inspect(|&n| self.pending = 0..n)
        } else if matches!(ends.to, End::Own(own) if !is_writable(own)) {
            Err(Errno::AGAIN)
        } else {
            let chunk = self.pending.start..self.pending.end.min(self.pending.start + CHUNK);
            let data = self.buffer.get(chunk).unwrap_or_default();
            rustix::io::write(&ends.to, data).inspect(|&n| self.pending.start += n)
        };
        match moved {
            Ok(0) => self.ends = None,
            Ok(_) => self.read_last(),
            Err(Errno::AGAIN) if self.last && self.pending.is_empty() => self.ends = None,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.ends = None, // EIO of a terminal's master: nobody has its other end open
        }
    }

    /// Of a process that has ended nothing is waited for: there is something to read now, or that was all.
    fn read_last(&mut self) {
        if self.last && self.ends.is_some() && self.pending.is_empty() {
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (OwnedFd, Stream, OwnedFd) {
        let (from, feed) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (drain, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (feed, Stream::new(End::Pipe(from), End::Pipe(to)), drain)
    }

    #[test]
    fn data_goes_through_in_chunks_and_the_end_follows() {
        let (feed, mut stream, drain) = stream();
        rustix::io::write(&feed, &[7; CHUNK + 1]).unwrap();
        drop(feed);
        let mut events = Vec::new();
        while let Some((_, event)) = stream.wanted() {
            events.push(event);
            stream.step();
        }
        assert_eq!(events, [PollFlags::IN, PollFlags::OUT, PollFlags::OUT, PollFlags::IN]);
        let mut got = vec![0; BUFFER];
        assert_eq!(rustix::io::read(&drain, &mut *got), Ok(CHUNK + 1));
        assert_eq!(rustix::io::read(&drain, &mut *got), Ok(0));
    }

    #[test]
    fn a_reader_that_leaves_closes_the_writer_too() {
        let (feed, mut stream, drain) = stream();
        drop(drain);
        rustix::io::write(&feed, b"x").unwrap();
        stream.step();
        stream.step();
        assert!(stream.wanted().is_none());
        assert_eq!(rustix::io::write(&feed, b"x"), Err(Errno::PIPE));
    }
}
