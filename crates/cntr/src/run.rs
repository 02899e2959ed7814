//! `run`: create and start, and in the foreground stay until the end.
//!
//! Invariants of the foreground: signals are blocked and a signalfd is open *before* anything is cloned, so that
//! neither a forwarded signal nor the end of a very short process can be missed; the end is seen by pidfd; every
//! signal but CHLD, WINCH and URG goes to the container's process; output is drained before the status is returned.

use crate::args::Parsed;
use crate::console::connected;
use crate::create::{become_subreaper, check_terminal, options, pid_file, subject};
use crate::globals::Globals;
use crate::relay::{Relay, pipes};
use anyhow::{Context, bail};
use libcontain::{Bundle, Container, CreateOptions, Id, Kind};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, getpid, wait, waitid};
use std::os::fd::AsFd;
use std::path::Path;

/// As in a shell's `$?`.
const SIGNAL_BASE: i32 = 128;

/// Creates and starts a container.
pub fn run(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let pid_file = pid_file(args)?;
    run_as_told(globals, args, pid_file.as_deref()).context("runc run failed")
}

fn run_as_told(globals: &Globals<'_>, args: &Parsed, pid_file: Option<&Path>) -> anyhow::Result<u8> {
    let (id, bundle) = subject(args)?;
    let detached = args.is_set("detach");
    check_terminal(&bundle, args, detached)?;
    let runtime = globals.making_runtime()?;
    globals.prepare_root()?;
    if !args.is_set("no-subreaper") {
        become_subreaper()?;
    }
    let options = options(args, pid_file)?;
    if detached {
        let console = connected(args, &bundle)?;
        let options = CreateOptions { console: console.as_ref().map(AsFd::as_fd), ..options };
        let container = runtime.run(&id, &bundle, &options)?;
        globals.log.warnings(container.warnings());
        return Ok(0);
    }
    let (container, status) = foreground(globals, &id, &bundle, options)?;
    if !args.is_set("keep") {
        delete(globals, container);
    }
    Ok(status)
}

/// The container has done its work: what is wrong now is told, but does not replace its status.
fn delete(globals: &Globals<'_>, container: Container) {
    match container.delete(false) {
        Ok(warnings) => globals.log.warnings(&warnings),
        // Somebody else was faster.
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => globals.log.warning(&error.to_string()),
    }
}

fn foreground(
    globals: &Globals<'_>,
    id: &Id,
    bundle: &Bundle,
    options: CreateOptions<'_>,
) -> anyhow::Result<(Container, u8)> {
    let before = libcontain::signal_mask();
    let everything = SigSet::all();
    everything.thread_set_mask().context("sigprocmask")?;
    let signals =
        SignalFd::with_flags(&everything, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")?;
    let (mut relay, theirs) = pipes(bundle.spec())?;
    let stdio = theirs.each_ref().map(|fd| Some(fd.as_fd()));
    let options = CreateOptions { stdio, signal_mask: Some(before), ..options };
    let container = globals.making_runtime()?.run(id, bundle, &options)?;
    globals.log.warnings(container.warnings());
    // Ours only: the ends of output could not be seen while this process holds the writing ends.
    drop(theirs);
    match serve(&container, &signals, &mut relay) {
        Ok(status) => Ok((container, status)),
        Err(error) => {
            let _ = container.delete(true);
            Err(error)
        }
    }
}

/// Forwards signals and moves data until the process has ended and its output has been passed on.
fn serve(container: &Container, signals: &SignalFd, relay: &mut Relay) -> anyhow::Result<u8> {
    let mut ended = None;
    loop {
        if ended.is_some() {
            container.kill_rest()?;
            relay.close_input();
            if relay.is_drained() {
                break;
            }
        }
        let gone = wait_for_work(container, signals, relay, ended.is_some())?;
        let children = forward_signals(container, signals)?;
        if gone || children {
            ended = reap(container)?.or(ended);
        }
        if gone && ended.is_none() {
            bail!("the container's process ended, but its status went to somebody else");
        }
    }
    Ok(ended.map_or(u8::MAX, status))
}

/// Sleeps until something can be done, and moves data. Whether init's pidfd says that it has ended.
fn wait_for_work(container: &Container, signals: &SignalFd, relay: &mut Relay, ended: bool) -> anyhow::Result<bool> {
    let wanted = relay.wanted();
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(wanted.iter().map(|(_, fd, events)| PollFd::new(fd, *events)));
    let pidfd = container.pidfd().filter(|_| !ended);
    fds.extend(pidfd.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(std::io::Error::from(error)).context("poll"),
    }
    let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let streams: Vec<usize> =
        wanted.iter().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready).map(|((stream, ..), _)| *stream).collect();
    let gone = pidfd.is_some() && ready.last().copied().unwrap_or(false);
    streams.into_iter().for_each(|stream| relay.step(stream));
    Ok(gone)
}

/// Hands signals on. Whether one of them says that a child has ended.
fn forward_signals(container: &Container, signals: &SignalFd) -> anyhow::Result<bool> {
    let mut children = false;
    while let Some(info) = signals.read_signal().context("read signalfd")? {
        let signal = i32::try_from(info.ssi_signo)?;
        children |= signal == Signal::SIGCHLD as i32;
        if !is_ours(signal, &info) {
            // It may have ended just now; then there is nobody left to tell.
            let _ = container.kill(signal);
        }
    }
    Ok(children)
}

/// Signals about this process. A SIGPIPE that it sent to itself comes from a write to a closed pipe.
fn is_ours(signal: i32, info: &siginfo) -> bool {
    let own_pipe = signal == Signal::SIGPIPE as i32 && i32::try_from(info.ssi_pid) == Ok(getpid().as_raw_pid());
    own_pipe || [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGURG].iter().any(|s| *s as i32 == signal)
}

/// How init ended: exit code or signal.
type End = (Option<i32>, Option<i32>);

/// Takes init's status, and every other child that has ended: as subreaper this process has more of them than it made.
fn reap(container: &Container) -> anyhow::Result<Option<End>> {
    let mut ended = None;
    if let Some(pidfd) = container.pidfd()
        && let Ok(Some(end)) = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    {
        ended = Some((end.exit_status(), end.terminating_signal()));
    }
    let init = i32::try_from(container.pid())?;
    loop {
        match wait(WaitOptions::NOHANG) {
            // It may have ended since it was asked for.
            Ok(Some((pid, end))) if pid.as_raw_pid() == init => {
                ended = Some((end.exit_status(), end.terminating_signal()));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).context("wait"),
        }
    }
}

fn status((code, signal): End) -> u8 {
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
            assert_eq!(status((code, signal)), expected, "{code:?} {signal:?}");
        }
    }
}
