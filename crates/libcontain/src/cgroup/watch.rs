//! What the kernel tells about a cgroup by itself: that it ran out of memory, that it froze, that it became empty.
//!
//! Owns the descriptors that this takes: `cgroup.events` and `memory.events` of v2, whose changes are announced with
//! POLLPRI, and on v1 an eventfd that is registered for `memory.oom_control`. (An inotify(7) watch would say the same of
//! the v2 files, at the price of one of the few that a user may have.)

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use super::{Cgroup, CgroupError, Member, dir};
use crate::wait;

/// The files are small; what does not fit would come after the lines that are looked for.
const TEXT: usize = 1024;

/// A v2 file whose changes are announced.
#[derive(Debug)]
pub(crate) struct Events(OwnedFd);

impl Events {
    /// `cgroup.events`.
    pub(super) fn open(member: &Member) -> Result<Self> {
        Events::open_file(member, "cgroup.events")
    }

    fn open_file(member: &Member, name: &str) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(member.file(name), flags, Mode::empty()).map(Events)
    }

    /// The file polls as changed until it is read.
    fn text(&self) -> Result<String> {
        let mut text = [0; TEXT];
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(&self.0, &mut text, 0))?;
        Ok(String::from_utf8_lossy(text.get(..read).unwrap_or_default()).into_owned())
    }

    pub fn says(&self, line: &str) -> Result<bool> {
        Ok(self.text()?.lines().any(|found| found == line))
    }

    /// Whether it says so in time.
    pub(super) fn wait_for(&self, line: &str, deadline: Instant) -> Result<bool> {
        while !self.says(line)? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !wait::polls(self.0.as_fd(), PollFlags::PRI, Some(left))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Tells when the kernel found no memory for the cgroup.
#[derive(Debug)]
pub(crate) enum Oom {
    /// Counts up with each time, and once more when the cgroup is removed: then the control file is gone.
    V1 { events: OwnedFd, control: String },
    /// `memory.events`, and how many processes had been killed when it was read last.
    V2 { events: Events, kills: u64 },
}

impl Cgroup {
    /// `None`: nobody counts its memory.
    ///
    /// # Errors
    /// The files are there and do not let themselves be watched.
    pub(crate) fn watch_oom(&self) -> std::result::Result<Option<Oom>, CgroupError> {
        let Some(member) = self.v1("memory").or(self.v2()) else { return Ok(None) };
        let file = if member.v2 { "memory.events" } else { "cgroup.event_control" };
        match if member.v2 { Oom::v2(member) } else { Oom::v1(member) } {
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            other => other.map(Some).map_err(|errno| CgroupError::call(member.file(file), "open", errno)),
        }
    }

    /// `cgroup.events` of v2, also beside v1; `None` where there is none.
    pub(crate) fn events(&self) -> Option<Events> {
        self.v2().and_then(|member| Events::open(member).ok())
    }
}

impl Oom {
    fn v1(member: &Member) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let subject = rustix::fs::open(member.file("memory.oom_control"), flags, Mode::empty())?;
        let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        member.write("cgroup.event_control", &format!("{} {}", events.as_raw_fd(), subject.as_raw_fd()))?;
        Ok(Oom::V1 { events, control: member.file("cgroup.event_control") })
    }

    fn v2(member: &Member) -> Result<Self> {
        let events = Events::open_file(member, "memory.events")?;
        let kills = kills(&events.text()?);
        Ok(Oom::V2 { events, kills })
    }

    pub fn awaited(&self) -> PollFlags {
        match self {
            Oom::V1 { .. } => PollFlags::IN,
            Oom::V2 { .. } => PollFlags::PRI,
        }
    }

    /// Whether it has happened since this was asked last. ENODEV: a v2 cgroup is gone.
    pub fn happened(&mut self) -> Result<bool> {
        match self {
            Oom::V1 { events, control } => {
                let mut counter = [0; 8];
                match rustix::io::retry_on_intr(|| rustix::io::read(&*events, &mut counter)) {
                    Err(Errno::AGAIN) => return Ok(false),
                    read => read?,
                };
                let removed = u64::from(!dir::exists(control));
                Ok(u64::from_ne_bytes(counter) > removed)
            }
            Oom::V2 { events, kills: before } => {
                let now = kills(&events.text()?);
                Ok(std::mem::replace(before, now) < now)
            }
        }
    }
}

impl AsFd for Oom {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Oom::V1 { events, .. } => events.as_fd(),
            Oom::V2 { events, .. } => events.as_fd(),
        }
    }
}

fn kills(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}
