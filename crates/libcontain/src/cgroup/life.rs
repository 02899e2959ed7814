//! What happens to a cgroup between its making and its end: who is in it, freezing, killing, removal.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::{Cgroup, CgroupError, Member, dir};
use crate::small_file;

const FREEZE_TRIES: u32 = 1000;
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);
const REMOVE_TRIES: u32 = 10;

impl Cgroup {
    /// The processes in the cgroup and below it, in any of its hierarchies: sorted, each once. Those of other
    /// pid namespaces, which have no number here, are left out.
    ///
    /// # Errors
    /// A list cannot be read, other than because its cgroup is gone.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let lists = self.members.iter().map(Member::pids);
        let pids: BTreeSet<u32> = lists.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok(pids.into_iter().collect())
    }

    /// Whether it was frozen itself, as opposed to a level above it. A cgroup that is gone is not.
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.freezer().is_some_and(Member::is_frozen)
    }

    /// Lets it run again; nothing when it does.
    ///
    /// # Errors
    /// What the write gives; a cgroup that is gone is no error.
    pub fn thaw(&self) -> io::Result<()> {
        let Some(member) = self.freezer() else { return Ok(()) };
        let (file, value) = if member.v2 { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
        match member.write(file, value) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Sends a signal to every process in it, so that none escapes by forking: with `cgroup.kill` (Linux 5.14,
    /// also beside v1), or frozen. After SIGKILL it is not frozen any more, because v1 lets nothing frozen die;
    /// after others it is as it was.
    ///
    /// # Errors
    /// `unable to freeze`, or what a signal gave; the signals are sent even so.
    pub fn kill_all(&self, signal: Signal) -> io::Result<()> {
        let was_frozen = self.frozen();
        let kill = |m: &Member| m.write("cgroup.kill", "1").is_ok();
        if signal == Signal::KILL && self.v2().is_some_and(kill) && self.outside_v2()?.is_empty() {
            return if was_frozen { self.thaw() } else { Ok(()) };
        }
        let frozen = if was_frozen { Ok(()) } else { self.freeze() };
        let sent = self.signal(signal);
        if !was_frozen || signal == Signal::KILL {
            self.thaw()?;
        }
        sent.and(frozen)
    }

    /// Removes it with all cgroups below it. What is gone already is fine; what still has dying processes in it
    /// is tried again for a second.
    ///
    /// # Errors
    /// `unable to remove container's cgroup`: something is alive in it. The other hierarchies are removed.
    pub fn remove(&self) -> std::result::Result<(), CgroupError> {
        let mut result = self.remove_now();
        for attempt in 0..REMOVE_TRIES {
            if !result.as_ref().is_err_and(CgroupError::is_busy) {
                break;
            }
            sleep(Duration::from_millis(1 << attempt));
            result = self.remove_now();
        }
        result
    }

    /// The same without waiting: one call for each hierarchy where nothing is in the way.
    ///
    /// # Errors
    /// As [`Cgroup::remove`].
    pub fn remove_now(&self) -> std::result::Result<(), CgroupError> {
        let mut result = Ok(());
        for member in &self.members {
            // Of several errors the one that can be helped is told.
            if let Err(errno) = dir::remove(CWD, member.path.as_str())
                && !result.as_ref().is_err_and(CgroupError::is_busy)
            {
                let error = CgroupError::call(member.path.as_str(), "rmdir", errno);
                result = Err(error.because("unable to remove container's cgroup"));
            }
        }
        result
    }

    /// How many processes the kernel killed in it for want of memory; 0 where it does not count them.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let v1 = self.v1("memory").map(|m| (m, "memory.oom_control"));
        let Some((member, file)) = v1.or(self.v2().map(|m| (m, "memory.events"))) else { return 0 };
        let text = member.read(file).unwrap_or_default();
        let count = |line: &str| line.strip_prefix("oom_kill ").and_then(|n| n.parse().ok());
        text.lines().find_map(count).unwrap_or(0)
    }

    fn freezer(&self) -> Option<&Member> {
        self.v1("freezer").or(self.v2())
    }

    /// Stops all that is in it.
    ///
    /// # Errors
    /// `unable to freeze`; a cgroup that is gone is no error.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        let Some(member) = self.freezer() else { return Ok(()) };
        let frozen = if member.v2 { member.freeze_v2() } else { member.freeze_v1().inspect_err(|_| _ = self.thaw()) };
        // Nobody is in what is gone.
        frozen.or_else(|error| if dir::exists(&member.path) { Err(error) } else { Ok(()) })
    }

    /// Processes that left the v2 cgroup but not those of v1.
    fn outside_v2(&self) -> io::Result<Vec<u32>> {
        let inside: BTreeSet<u32> = self.v2().map(Member::pids).transpose()?.into_iter().flatten().collect();
        Ok(self.pids()?.into_iter().filter(|pid| !inside.contains(pid)).collect())
    }

    /// A pid read from a file may be somebody else's by the time the signal is sent. A pidfd cannot change its
    /// mind: open it, then see whether the pid is still listed.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let mut opened: Vec<(u32, Pid, Option<OwnedFd>)> = Vec::new();
        for number in self.pids()? {
            let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { continue };
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(fd) => opened.push((number, pid, Some(fd))),
                Err(Errno::NOSYS) => opened.push((number, pid, None)), // A seccomp filter.
                Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let listed = self.pids()?;
        let mut result = Ok(());
        for (number, pid, fd) in opened {
            if !listed.contains(&number) {
                continue;
            }
            let sent = fd.map_or(Err(Errno::NOSYS), |fd| pidfd_send_signal(fd, signal));
            match if sent == Err(Errno::NOSYS) { kill_process(pid, signal) } else { sent } {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => result = Err(errno.into()),
            }
        }
        result
    }
}

impl Member {
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        match dir::open(&self.path) {
            Err(Errno::NOENT) => {}
            dir => collect_pids(dir?.as_fd(), &mut pids)?,
        }
        Ok(pids)
    }

    pub(super) fn is_frozen(&self) -> bool {
        if self.v2 {
            return self.read("cgroup.freeze").is_ok_and(|text| text == "1");
        }
        // `freezer.state` also says FROZEN below a frozen cgroup.
        self.stands_for("freezer") && self.read("freezer.self_freezing").is_ok_and(|text| text == "1")
    }

    /// v1 can stay FREEZING for ever when a process is caught between two states: a thaw and another try help.
    fn freeze_v1(&self) -> io::Result<()> {
        for i in 1..=FREEZE_TRIES {
            if i % 50 == 0 {
                self.write("freezer.state", "THAWED")?;
                sleep(Duration::from_millis(10));
            }
            self.write("freezer.state", "FROZEN")?;
            if i % 25 == 24 {
                sleep(Duration::from_micros(10));
            }
            if self.read("freezer.state")? == "FROZEN" {
                return Ok(());
            }
        }
        Err(io::Error::other("unable to freeze"))
    }

    /// The kernel announces a change of `cgroup.events` with POLLPRI.
    fn freeze_v2(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let events = rustix::fs::open(self.file("cgroup.events"), flags, Mode::empty())?;
        self.write("cgroup.freeze", "1")?;
        let start = Instant::now();
        loop {
            let mut text = [0; 256];
            let n = rustix::io::pread(&events, &mut text, 0)?;
            if String::from_utf8_lossy(text.get(..n).unwrap_or_default()).lines().any(|line| line == "frozen 1") {
                return Ok(());
            }
            let Some(rest) = FREEZE_DEADLINE.checked_sub(start.elapsed()) else { break };
            let timeout = Timespec { tv_sec: rest.as_secs().cast_signed(), tv_nsec: rest.subsec_nanos().into() };
            poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout))?;
        }
        self.write("cgroup.freeze", "0")?;
        Err(io::Error::other("unable to freeze: timeout of 10s reached waiting for the cgroup to freeze"))
    }
}

fn collect_pids(dir: BorrowedFd<'_>, pids: &mut Vec<u32>) -> Result<()> {
    match small_file::read(dir, c"cgroup.procs") {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0)),
        // Gone, or threaded: then the domain above lists them.
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    let children = match dir::children(dir) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        children => children?,
    };
    for name in children {
        match dir::child(dir, &name) {
            Err(Errno::NOENT | Errno::NODEV) => {}
            child => collect_pids(child?.as_fd(), pids)?,
        }
    }
    Ok(())
}
