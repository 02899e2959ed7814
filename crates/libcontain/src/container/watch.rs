//! What a container has used, and the news of it: out of memory, and its end.
//!
//! Owns [`Watch`]. All of it is pushed by the kernel; nothing is read again on the suspicion that it might have changed.
//! A container has ended when init has and its cgroup is empty: without a pid namespace of its own others may live on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::{Container, Status};
use crate::cgroup::{Cgroup, CgroupError, Events, Oom};
use crate::error::{Error, Kind};
use crate::kernel::Call;
use crate::rdt;
use crate::stats::Stats;
use crate::wait::{self, Process};

/// Something that happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The kernel found no memory for it, once or more often. Mostly it has killed a process for that.
    Oom,
    /// Nobody lives in it any more. Nothing else follows.
    End,
    /// Nobody reads what is written to the descriptor that was handed over.
    Unread,
}

/// The news of one container, from the moment it was made: [`Container::watch`].
#[derive(Debug)]
pub struct Watch {
    cgroup: Cgroup,
    oom: Option<Oom>,
    /// Of v2, also beside v1. It matters once init is gone, and is not read before.
    events: Option<Events>,
    /// As long as it lives.
    init: Option<OwnedFd>,
    /// Whom init has left behind, where no `cgroup.events` tells of them.
    left: Vec<OwnedFd>,
    ended: bool,
}

impl Container {
    /// What the container has used until now.
    ///
    /// # Errors
    /// A file that is there cannot be read or understood.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = self.cgroup().stats().map_err(|e| failed(&e))?;
        let (class, monitor) = (self.record.intel_rdt_path.as_str(), self.record.intel_rdt_mon_path.as_str());
        if !class.is_empty() {
            stats.intel_rdt = rdt::stats(class, Some(monitor).filter(|path| !path.is_empty()))?;
        }
        Ok(stats)
    }

    /// Watches the container from now on.
    ///
    /// # Errors
    /// [`Kind::NotRunning`] when it is stopped; the kernel does not let it be watched.
    pub fn watch(&self) -> Result<Watch, Error> {
        let stopped = || Error::new(Kind::NotRunning, format!("container with id {} is not running", self.id));
        if self.status()? == Status::Stopped {
            return Err(stopped());
        }
        let cgroup = self.cgroup();
        let oom = cgroup.watch_oom().map_err(|e| failed(&e))?;
        let events = cgroup.events();
        // Last: what has ended before is seen now, what ends later is told.
        let init = match self.find_init()? {
            Some(Process { pidfd: None, .. }) => {
                let text = format!("this kernel or its seccomp filter lacks {}", Call::PidfdOpen);
                return Err(Error::new(Kind::Unsupported, text));
            }
            init => init.and_then(|init| init.pidfd),
        };
        Ok(Watch { cgroup, oom, events, init, left: Vec::new(), ended: false })
    }
}

fn failed(error: &CgroupError) -> Error {
    let os = Error::new(Kind::Os, error.to_string());
    if error.errno == 0 { os } else { os.with_errno(error.errno) }
}

impl Watch {
    /// Waits for the next event; `None`: the limit is over, or there is none of it and nothing more to come. With `output`
    /// it is also told that nobody reads from that pipe or socket any more, so that a caller who has nothing to write need
    /// not stay.
    ///
    /// # Errors
    /// poll(2) or a file of the cgroup failed.
    pub fn wait(&mut self, limit: Option<Duration>, output: Option<BorrowedFd<'_>>) -> Result<Option<Event>, Error> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        while !self.ended {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let ready = self.poll(left, output).map_err(|e| Error::os("poll", e))?;
            if self.has_oom()? {
                return Ok(Some(Event::Oom));
            }
            if ready.init {
                self.init = None;
            }
            if self.init.is_none() && self.is_empty()? {
                // The last one may have been killed for want of memory just now.
                self.ended = true;
                return Ok(Some(if self.has_oom()? { Event::Oom } else { Event::End }));
            }
            if ready.unread {
                return Ok(Some(Event::Unread));
            }
            if !ready.any {
                return Ok(None);
            }
        }
        Ok(Some(Event::End))
    }

    fn has_oom(&mut self) -> Result<bool, Error> {
        let Some(oom) = &mut self.oom else { return Ok(false) };
        match oom.happened() {
            // The cgroup is gone, and its file polls as changed for ever.
            Err(Errno::NODEV) => {
                self.oom = None;
                Ok(false)
            }
            happened => happened.map_err(|e| Error::os("reading out-of-memory events", e)),
        }
    }

    fn poll(&self, limit: Option<Duration>, output: Option<BorrowedFd<'_>>) -> rustix::io::Result<Ready> {
        let output = output.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
        let init = self.init.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN));
        let (has_output, has_init) = (output.is_some(), init.is_some());
        let mut fds: Vec<PollFd<'_>> = output.into_iter().chain(init).collect();
        fds.extend(self.oom.iter().map(|oom| PollFd::from_borrowed_fd(oom.as_fd(), oom.awaited())));
        if !has_init {
            fds.extend(self.events.iter().map(|events| PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)));
        }
        fds.extend(self.left.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let any = wait::poll(&mut fds, limit)?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let unread = has_output && ready.next().unwrap_or(false);
        let init = has_init && ready.next().unwrap_or(false);
        Ok(Ready { any, unread, init })
    }

    /// Asked after init's end, and after each sign of life of those it has left behind.
    fn is_empty(&mut self) -> Result<bool, Error> {
        // Read in any case, or it polls as changed for ever.
        let populated = self.events.as_ref().map(|events| events.says("populated 1"));
        match populated {
            Some(Ok(true)) => {
                self.left.clear(); // who ended among them would be told for ever
                return Ok(false);
            }
            Some(Err(_)) => self.events = None, // gone
            _ => {}
        }
        let left = self.cgroup.processes().map_err(|e| Error::os("reading the container's processes", e))?;
        let empty = left.is_empty();
        self.left = left.into_iter().filter_map(|process: Process| process.pidfd).collect();
        Ok(empty)
    }
}

/// What poll(2) said.
struct Ready {
    any: bool,
    unread: bool,
    init: bool,
}
