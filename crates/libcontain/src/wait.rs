//! Waiting for processes by pidfd: with a limit, without SIGCHLD, and whatever signals the caller handles meanwhile.
//!
//! And [`Process`], for signals to one that is not the caller's child: `kill` and `delete` have to work also where a
//! seccomp filter has no pidfds, for what was made without that filter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::sys;

/// How often a process without a pidfd is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A process, held so that a signal cannot reach another one with its pid. By the pid alone where the kernel or a seccomp
/// filter has no pidfd_open(2): then whoever opened it has to have looked who it is right before.
pub(crate) struct Process {
    pid: Pid,
    pub pidfd: Option<OwnedFd>,
}

impl Process {
    /// `None`: there is none with this pid. An error (EMFILE, ENOMEM) does not say that.
    pub fn open(pid: u32) -> Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Process { pid, pidfd: Some(pidfd) })),
            // The kernel knows no EPERM here: filters do (Docker's of old).
            Err(Errno::NOSYS | Errno::PERM) => Ok(Some(Process { pid, pidfd: None })),
            // A thread is no process, and its number is.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        match self.pidfd.as_ref().map(|pidfd| sys::pidfd_send_signal(pidfd.as_fd(), signal)) {
            None | Some(Err(Errno::NOSYS | Errno::PERM)) => sys::kill(self.pid, signal),
            Some(result) => result,
        }
    }

    /// As [`ends`]. Without a pidfd a zombie that nobody reaps has not ended.
    pub fn ends(&self, limit: Duration) -> Result<bool> {
        if let Some(pidfd) = &self.pidfd {
            return ends(pidfd.as_fd(), Some(limit));
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if sys::kill(self.pid, 0) == Err(Errno::SRCH) {
                return Ok(true);
            }
            std::thread::sleep(LOOK);
        }
        Ok(false)
    }
}

/// Whether the process ends within the limit; without one it is waited for as long as it takes.
pub(crate) fn ends(pidfd: BorrowedFd<'_>, limit: Option<Duration>) -> Result<bool> {
    polls(pidfd, PollFlags::IN, limit)
}

/// Whether a descriptor polls as awaited within the limit.
pub(crate) fn polls(fd: BorrowedFd<'_>, awaited: PollFlags, limit: Option<Duration>) -> Result<bool> {
    poll(&mut [PollFd::from_borrowed_fd(fd, awaited)], limit)
}

/// poll(2) that signals do not disturb. False: the limit is over.
pub(crate) fn poll(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<bool> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
        match rustix::event::poll(fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}

/// How our child ended, once it has. `None`: it was reaped by somebody else, or by the kernel because the caller ignores
/// SIGCHLD.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<WaitIdStatus>> {
    match retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)) {
        Err(Errno::CHILD) => Ok(None),
        result => result,
    }
}
