//! `run`: create and start, and in the foreground stay until the end.
//!
//! Invariants of the foreground: signals are blocked and a signalfd is open *before* anything is cloned, so that
//! neither a forwarded signal nor the end of a very short process can be missed; the end is seen by pidfd; every
//! signal but CHLD, WINCH and URG goes to the container's process; output is drained before the status is returned.

use crate::args::Parsed;
use crate::create::{become_subreaper, check_terminal, options, pid_file, subject};
use crate::globals::Globals;
use crate::notify::{self, Notifier};
use crate::relay::{Relay, pipes};
use crate::socket::Sockets;
use anyhow::{Context, bail};
use libcontain::{Bundle, Container, CreateOptions, Id, Kind};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, getpid, wait, waitid};
use std::os::fd::{AsFd, BorrowedFd};
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
    let sockets = Sockets::dial(args, &bundle)?;
    globals.prepare_root()?;
    if !args.is_set("no-subreaper") {
        become_subreaper()?;
    }
    let options = options(args, pid_file)?;
    if detached {
        let mut container = runtime.run(&id, &bundle, &sockets.lend(options))?;
        globals.log.warnings(container.warnings());
        if let (Some(notifier), Some(pidfd)) = (notifier(&mut container, true)?, container.pidfd()) {
            tell(globals, notifier.wait(pidfd));
        }
        return Ok(0);
    }
    let (container, status) = foreground(globals, &id, &bundle, options, sockets)?;
    if !args.is_set("keep") {
        delete(globals, container);
    }
    Ok(status)
}

/// Who passes on what the program says by sd_notify(3). The main process of a service is the container's, except in the
/// foreground, where it is this one: the service manager is its parent, and it stays until the end.
fn notifier(container: &mut Container, detached: bool) -> anyhow::Result<Option<Notifier>> {
    let pid = if detached { container.pid() } else { std::process::id() };
    let Some(host) = notify::host() else { return Ok(None) };
    Ok(container.notify_socket()?.map(|socket| Notifier::new(host, socket, pid)))
}

/// The program runs, whether its manager hears of it or not.
fn tell(globals: &Globals<'_>, notified: anyhow::Result<()>) {
    if let Err(error) = notified {
        globals.log.warning(&format!("{error:#}"));
    }
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
    sockets: Sockets,
) -> anyhow::Result<(Container, u8)> {
    let before = libcontain::signal_mask();
    let everything = SigSet::all();
    everything.thread_set_mask().context("sigprocmask")?;
    let signals =
        SignalFd::with_flags(&everything, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")?;
    let (mut relay, theirs) = pipes(bundle.spec())?;
    let stdio = theirs.each_ref().map(|fd| Some(fd.as_fd()));
    let options = sockets.lend(CreateOptions { stdio, signal_mask: Some(before), ..options });
    let mut container = globals.making_runtime()?.run(id, bundle, &options)?;
    globals.log.warnings(container.warnings());
    let mut notifier = notifier(&mut container, false)?;
    // Ours only: the ends of output could not be seen while this process holds the writing ends.
    drop(theirs);
    drop(sockets); // all that their listeners get has been sent
    match serve(globals, &container, &signals, &mut relay, &mut notifier) {
        Ok(status) => {
            if let Some(notifier) = notifier {
                tell(globals, notifier.finish());
            }
            Ok((container, status))
        }
        Err(error) => {
            let _ = container.delete(true);
            Err(error)
        }
    }
}

/// Forwards signals and moves data until the process has ended and its output has been passed on.
fn serve(
    globals: &Globals<'_>,
    container: &Container,
    signals: &SignalFd,
    relay: &mut Relay,
    notifier: &mut Option<Notifier>,
) -> anyhow::Result<u8> {
    let mut ended = None;
    loop {
        if ended.is_some() && relay.is_drained() {
            break;
        }
        let notified = notifier.as_ref().and_then(Notifier::wanted);
        let ready = wait_for_work(container, signals, relay, notified, ended.is_some())?;
        let gone = ready.gone;
        if let Some(notifier) = notifier.as_mut().filter(|_| ready.notified) {
            tell(globals, notifier.step());
        }
        let children = forward_signals(container, signals)?;
        if gone || children {
            let before = ended.is_some();
            ended = reap(container)?.or(ended);
            if ended.is_some() && !before {
                // None of them escapes, so that the ends of output that they hold are closed as fast as they die.
                container.kill_rest()?;
                relay.close_input();
            }
        }
        if gone && ended.is_none() {
            bail!("the container's process ended, but its status went to somebody else");
        }
    }
    Ok(ended.map_or(u8::MAX, status))
}

/// What there is to do besides moving data.
struct Ready {
    /// Init's pidfd says that it has ended.
    gone: bool,
    notified: bool,
}

/// Sleeps until something can be done, and moves data.
fn wait_for_work(
    container: &Container,
    signals: &SignalFd,
    relay: &mut Relay,
    notified: Option<BorrowedFd<'_>>,
    ended: bool,
) -> anyhow::Result<Ready> {
    let wanted = relay.wanted();
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(wanted.iter().map(|(_, fd, events)| PollFd::new(fd, *events)));
    let pidfd = container.pidfd().filter(|_| !ended);
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
