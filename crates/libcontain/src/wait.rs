//! Waiting for processes by pidfd: with a limit, without SIGCHLD, and whatever signals the caller handles meanwhile.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

/// Whether the process ends within the limit; without one it is waited for as long as it takes.
pub(crate) fn ends(pidfd: BorrowedFd<'_>, limit: Option<Duration>) -> Result<bool> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
        let mut poll = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut poll, left.as_ref()) {
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
