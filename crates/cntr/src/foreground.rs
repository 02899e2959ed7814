//! The foreground of `run` and `exec`: from before there is a process until its end, and the end of its output.
//!
//! What holds. Signals are blocked and a signalfd is open *before* anything is cloned ([`Foreground::prepare`]), so that
//! neither a forwarded signal nor the end of a very short process can be missed. The end is seen by pidfd. Every signal but
//! CHLD, WINCH and URG goes to the process. Output is drained before the status is returned: a background child that holds
//! stdout keeps `exec` waiting, as it does runc's; `run` ends what its container has left. `run` is a subreaper and takes
//! the statuses of all its children; `exec` never is one, and waits for its own process only. The caller's descriptors are
//! left as they are.

use crate::log::Log;
use crate::notify::Notifier;
use crate::relay::{self, Relay, pipes};
use crate::terminal::{self, Host};
use anyhow::{Context, bail};
use libcontain::plan::idmap;
use libcontain::spec::{LinuxIdMapping, Spec};
use libcontain::{Container, Exec, Terminal};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, getpid, wait, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As in a shell's `$?`.
const SIGNAL_BASE: i32 = 128;

/// All that has to be there before a process is.
pub struct Foreground {
    /// The caller's, which the process gets.
    mask: u64,
    signals: SignalFd,
    io: Io,
}

/// What the process's stdio is.
enum Io {
    /// Pipes, and the process's ends of them.
    Pipes(Relay, [OwnedFd; 3]),
    /// A terminal, whose master end comes over a connection: our end of that and the process's.
    Terminal(Host, [OwnedFd; 2]),
}

/// What runs in the foreground.
#[derive(Clone, Copy)]
pub enum Program<'a> {
    /// A container that this process has made.
    Container(&'a Container),
    /// A further process in one.
    Exec(&'a Exec),
}

/// Who the container's root is on the host, as far as it is somebody else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Foreground {
    /// Blocks all signals of this process for good, and makes the stdio: pipes, or a terminal.
    pub fn prepare(terminal: bool, owner: Owner) -> anyhow::Result<Self> {
        let io = if terminal { Io::for_terminal()? } else { Io::for_pipes(owner)? };
        let mask = libcontain::signal_mask();
        let everything = SigSet::all();
        everything.thread_set_mask().context("sigprocmask")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&everything, flags).context("signalfd")?;
        Ok(Foreground { mask, signals, io })
    }

    /// For the process: its stdin, stdout and stderr, if they are no terminal.
    pub fn stdio(&self) -> [Option<BorrowedFd<'_>>; 3] {
        match &self.io {
            Io::Pipes(_, theirs) => theirs.each_ref().map(|fd| Some(fd.as_fd())),
            Io::Terminal(..) => [None; 3],
        }
    }

    /// For the process: the socket over which its terminal's master end comes here.
    pub fn console(&self) -> Option<BorrowedFd<'_>> {
        match &self.io {
            Io::Pipes(..) => None,
            Io::Terminal(_, [_, theirs]) => Some(theirs.as_fd()),
        }
    }

    /// For the process: its terminal is as large as the caller's, which adds the carriage returns.
    pub fn terminal(&self) -> Terminal {
        match &self.io {
            Io::Pipes(..) => Terminal::default(),
            Io::Terminal(host, _) => Terminal { size: host.size(), bare_newlines: true },
        }
    }

    /// For the process: which signals it has blocked.
    pub fn signal_mask(&self) -> u64 {
        self.mask
    }

    /// Forwards signals and moves data until the process has ended and its output has been passed on. Returns its status as a
    /// shell has it.
    pub fn serve(self, log: &Log, program: Program<'_>, mut notifier: Option<Notifier>) -> anyhow::Result<u8> {
        let Foreground { signals, io, .. } = self;
        let (mut relay, host) = io.relay()?;
        let mut ended = None;
        while ended.is_none() || !relay.is_drained() {
            let notified = notifier.as_ref().and_then(Notifier::wanted);
            let ready = wait_for_work(program.pidfd().filter(|_| ended.is_none()), &signals, &mut relay, notified)?;
            if let Some(notifier) = notifier.as_mut().filter(|_| ready.notified) {
                log.warn_of(notifier.step());
            }
            let told = forward_signals(program, &signals)?;
            if let (true, Some(host), Some(master)) = (told.resized, &host, relay.master()) {
                host.resize(master);
            }
            if !(ready.gone || told.children) {
                continue;
            }
            let before = ended.is_some();
            ended = program.reap()?.or(ended);
            if ended.is_some() && !before {
                program.end_rest()?;
                relay.process_has_ended();
            }
            if ready.gone && ended.is_none() {
                bail!("the process ended, but its status went to somebody else");
            }
        }
        if let Some(notifier) = notifier {
            log.warn_of(notifier.finish());
        }
        Ok(ended.map_or(u8::MAX, status))
    }
}

impl Io {
    fn for_pipes(owner: Owner) -> anyhow::Result<Self> {
        pipes(owner).map(|(relay, theirs)| Io::Pipes(relay, theirs))
    }

    fn for_terminal() -> anyhow::Result<Self> {
        let host = Host::find()?;
        terminal::connection().map(|(ours, theirs)| Io::Terminal(host, [ours, theirs]))
    }

    /// Once the process is there. Only ours is kept: the ends of output could not be seen while this process holds the writing
    /// ends.
    fn relay(self) -> anyhow::Result<(Relay, Option<Host>)> {
        match self {
            Io::Pipes(relay, _) => Ok((relay, None)),
            Io::Terminal(mut host, [ours, _]) => {
                let relay = relay::terminal(terminal::receive(&ours)?)?;
                host.make_raw()?;
                Ok((relay, Some(host)))
            }
        }
    }
}

impl Program<'_> {
    fn pid(&self) -> u32 {
        match self {
            Program::Container(container) => container.pid(),
            Program::Exec(exec) => exec.pid(),
        }
    }

    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Program::Container(container) => container.pidfd(),
            Program::Exec(exec) => Some(exec.pidfd()),
        }
    }

    /// It may have ended just now; then there is nobody left to tell.
    fn signal(&self, signal: i32) {
        let _ = match self {
            Program::Container(container) => container.kill(signal),
            Program::Exec(exec) => exec.kill(signal),
        };
    }

    /// A container ends with its first process. None of the others escapes, so that the ends of output that they hold are
    /// closed as fast as they die.
    fn end_rest(&self) -> anyhow::Result<()> {
        match self {
            Program::Container(container) => Ok(container.kill_rest()?),
            Program::Exec(_) => Ok(()),
        }
    }

    /// Takes the status, if it has ended; a subreaper takes that of every other child too, since it has more than it made.
    fn reap(&self) -> anyhow::Result<Option<End>> {
        let ended = self.pidfd().and_then(|pidfd| {
            let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            status.ok().flatten().map(|status| End::from_waitid(&status))
        });
        match self {
            Program::Container(_) => Ok(reap_all(self.pid())?.or(ended)),
            Program::Exec(_) => Ok(ended),
        }
    }
}

/// Every child that has ended. `first` may have since it was asked for.
fn reap_all(first: u32) -> anyhow::Result<Option<End>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_pid()) == Ok(first) => {
                ended = Some(End { code: status.exit_status(), signal: status.terminating_signal() });
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).context("wait"),
        }
    }
}

impl Owner {
    /// By a config.
    pub fn of_spec(spec: &Spec) -> Self {
        let root = |mappings: &Option<Vec<LinuxIdMapping>>| {
            let mappings = mappings.iter().flatten();
            mappings.filter(|m| m.size() > 0).find(|m| m.container_id() == 0).map(LinuxIdMapping::host_id)
        };
        let Some(linux) = spec.linux() else { return Owner::default() };
        Owner { uid: root(linux.uid_mappings()), gid: root(linux.gid_mappings()) }
    }

    /// By a container's process. That has ended: nobody.
    pub fn of_process(pid: u32) -> Self {
        let root = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok().and_then(|map| host_root(&map));
        Owner { uid: root("uid_map"), gid: root("gid_map") }
    }
}

fn host_root(map: &str) -> Option<u32> {
    let rows = idmap::parse(map);
    rows.iter().find(|[container, ..]| *container == 0).map(|[_, host, _]| *host)
}

/// What there is to do besides moving data.
struct Ready {
    /// The pidfd says that the process has ended.
    gone: bool,
    notified: bool,
}

/// Sleeps until something can be done, and moves data.
fn wait_for_work(
    pidfd: Option<BorrowedFd<'_>>,
    signals: &SignalFd,
    relay: &mut Relay,
    notified: Option<BorrowedFd<'_>>,
) -> anyhow::Result<Ready> {
    let wanted = relay.wanted();
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(wanted.iter().map(|(_, fd, events)| PollFd::new(fd, *events)));
    fds.extend(notified.iter().chain(&pidfd).map(|fd| PollFd::new(fd, PollFlags::IN)));
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(std::io::Error::from(error)).context("poll"),
    }
    let mut ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let gone = pidfd.is_some() && ready.pop().unwrap_or(false);
    let notified = notified.is_some() && ready.pop().unwrap_or(false);
    let streams: Vec<usize> =
        wanted.iter().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready).map(|((stream, ..), _)| *stream).collect();
    streams.into_iter().for_each(|stream| relay.step(stream));
    Ok(Ready { gone, notified })
}

/// What signals have said about this process itself.
#[derive(Default)]
struct Told {
    /// A child has ended.
    children: bool,
    /// The caller's terminal has another size.
    resized: bool,
}

/// Hands signals on, but for those about this process.
fn forward_signals(program: Program<'_>, signals: &SignalFd) -> anyhow::Result<Told> {
    let mut told = Told::default();
    while let Some(info) = signals.read_signal().context("read signalfd")? {
        let signal = i32::try_from(info.ssi_signo)?;
        told.children |= signal == Signal::SIGCHLD as i32;
        told.resized |= signal == Signal::SIGWINCH as i32;
        if !is_ours(signal, &info) {
            program.signal(signal);
        }
    }
    Ok(told)
}

/// Signals about this process. A SIGPIPE that it sent to itself comes from a write to a closed pipe.
fn is_ours(signal: i32, info: &siginfo) -> bool {
    let own_pipe = signal == Signal::SIGPIPE as i32 && i32::try_from(info.ssi_pid) == Ok(getpid().as_raw_pid());
    own_pipe || [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGURG].iter().any(|s| *s as i32 == signal)
}

/// How a process ended.
#[derive(Clone, Copy)]
struct End {
    code: Option<i32>,
    signal: Option<i32>,
}

impl End {
    fn from_waitid(status: &WaitIdStatus) -> Self {
        End { code: status.exit_status(), signal: status.terminating_signal() }
    }
}

fn status(End { code, signal }: End) -> u8 {
    let status = code.or(signal.map(|signal| SIGNAL_BASE + signal));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_shell() {
        for (code, signal, expected) in
            [(Some(0), None, 0), (Some(255), None, 255), (None, Some(9), 137), (None, Some(64), 192), (None, None, 255)]
        {
            assert_eq!(status(End { code, signal }), expected, "{code:?} {signal:?}");
        }
    }

    #[test]
    fn root_of_a_map() {
        for (map, expected) in [
            ("         0          0 4294967295\n", Some(0)),
            ("         1     100001         10\n         0       1000          1\n", Some(1000)),
            ("        10     100000          5\n", None),
            ("", None),
        ] {
            assert_eq!(host_root(map), expected, "{map:?}");
        }
    }
}
