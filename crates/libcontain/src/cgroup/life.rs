//! What happens to a cgroup between its making and its end: who is in it, freezing, killing, removal.
//!
//! Nothing is waited for by looking again after a while where the kernel can tell: it does so for `cgroup.events` and for
//! the end of a process. v1 announces no change of `freezer.state`; that alone is looked at.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::io::{Errno, Result};
use rustix::process::Signal;

use super::watch::Events;
use super::{Cgroup, CgroupError, Member, dir};
use crate::small_file;
use crate::wait::Process;

/// How long v1 is asked to freeze: what does not stop within milliseconds sleeps where it cannot be woken.
const FREEZE_V1: Duration = Duration::from_secs(2);
const FREEZE_V2: Duration = Duration::from_secs(10);
/// How long what was killed is waited for.
const DEATH: Duration = Duration::from_secs(10);
/// How long a cgroup may be busy although nobody is listed: the kernel announces somebody's end a little earlier than it is
/// done with it.
const NEARLY_GONE: Duration = Duration::from_secs(1);

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

    /// Whether there is something to freeze it with.
    pub(crate) fn has_freezer(&self) -> bool {
        self.freezer().is_some()
    }

    /// Stops all of it, as far as there is a freezer. What is gone already is fine. If it fails nothing is left frozen.
    ///
    /// # Errors
    /// `unable to freeze`: a process sleeps where it cannot be stopped. `freezer not supported`: Linux before 5.2 has v2
    /// without a freezer.
    pub fn freeze(&self) -> io::Result<()> {
        let Some(member) = self.freezer() else { return Ok(()) };
        let frozen = if member.v2 { member.freeze_v2() } else { member.freeze_v1() };
        match frozen {
            Err(_) if !dir::exists(&member.path) => Ok(()),
            Err(error) => {
                let _ = self.thaw();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
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

    /// Lets those die who have been killed: on v1 nothing frozen does, and a container may have frozen cgroups of its own
    /// below, as on v2, where it does not matter.
    ///
    /// # Errors
    /// What the write gives.
    pub fn thaw_to_die(&self) -> io::Result<()> {
        self.thaw()?;
        let Some(member) = self.v1("freezer") else { return Ok(()) };
        match dir::open(&member.path) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            dir => Ok(thaw_below(dir?.as_fd())?),
        }
    }

    /// Kills every process in it, so that none escapes by forking: with `cgroup.kill` (Linux 5.14, also beside v1), or
    /// frozen; where neither works, again and again. It is not frozen afterwards.
    ///
    /// # Errors
    /// What a signal gave; or, without `cgroup.kill` and freezer, some are still there after ten seconds.
    pub fn kill_all(&self) -> io::Result<()> {
        let kill = |m: &Member| m.write("cgroup.kill", "1").is_ok();
        if self.v2().is_some_and(kill) && self.outside_v2()?.is_empty() {
            return self.thaw_to_die();
        }
        if self.freezer().is_some() && (self.frozen() || self.freeze().is_ok()) {
            let killed = self.kill_listed();
            self.thaw_to_die()?;
            return killed.map(|_| ());
        }
        self.kill_again_and_again()
    }

    /// Whoever was killed forks no more, so that with each round there are fewer who can.
    fn kill_again_and_again(&self) -> io::Result<()> {
        let deadline = Instant::now() + DEATH;
        loop {
            let killed = self.kill_listed()?;
            self.thaw_to_die()?;
            let Some(one) = killed.first() else { return Ok(()) };
            if !one.ends(deadline.saturating_duration_since(Instant::now()))? {
                return Err(io::Error::other(format!("unable to kill {}", self.who_lives())));
            }
        }
    }

    /// Removes it with all cgroups below it. What is gone already is fine; who dies in it is waited for.
    ///
    /// # Errors
    /// `unable to remove container's cgroup`: something is alive in it after ten seconds. The other hierarchies are removed.
    pub fn remove(&self) -> std::result::Result<(), CgroupError> {
        self.remove_within(DEATH)
    }

    pub(super) fn remove_within(&self, limit: Duration) -> std::result::Result<(), CgroupError> {
        let deadline = Instant::now() + limit;
        let mut result = self.remove_now();
        let mut last = None;
        while let Err(error) = &result
            && error.is_busy()
        {
            let empty = self.empties(deadline).unwrap_or(false);
            if !empty || Instant::now() > *last.get_or_insert_with(|| Instant::now() + NEARLY_GONE) {
                let (who, seconds) = (self.who_lives(), limit.as_secs());
                let text = format!("unable to remove container's cgroup: {who} did not end within {seconds} s");
                return result.map_err(|error| error.because(text));
            }
            std::thread::yield_now();
            result = self.remove_now();
        }
        result
    }

    fn who_lives(&self) -> String {
        let pids: Vec<String> = self.pids().unwrap_or_default().iter().map(u32::to_string).collect();
        // Those that cannot be seen from here belong to a pid namespace outside of ours.
        if pids.is_empty() { "a process".into() } else { format!("process {}", pids.join(", ")) }
    }

    /// Waits until nobody is in it. False: the time is over, or there is somebody who cannot be waited for.
    fn empties(&self, deadline: Instant) -> io::Result<bool> {
        if let Some(member) = self.v2() {
            match Events::open(member).and_then(|events| events.wait_for("populated 0", deadline)) {
                Ok(true) | Err(Errno::NOENT | Errno::NODEV) => {}
                other => return Ok(other?),
            }
        }
        // Without v2, or for those that are in v1 alone.
        for process in self.processes()? {
            if !process.ends(deadline.saturating_duration_since(Instant::now()))? {
                return Ok(false);
            }
        }
        Ok(true)
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

    /// Processes that left the v2 cgroup but not those of v1.
    fn outside_v2(&self) -> io::Result<Vec<u32>> {
        let inside: BTreeSet<u32> = self.v2().map(Member::pids).transpose()?.into_iter().flatten().collect();
        Ok(self.pids()?.into_iter().filter(|pid| !inside.contains(pid)).collect())
    }

    /// Those who were there. If one cannot be killed, the others are even so.
    fn kill_listed(&self) -> io::Result<Vec<Process>> {
        let processes = self.processes()?;
        let mut result = Ok(());
        for process in &processes {
            match process.signal(Signal::KILL.as_raw()) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => result = Err(errno.into()),
            }
        }
        result.map(|()| processes)
    }

    /// A pid read from a file may be somebody else's by the time something is done with it. A pidfd cannot change its
    /// mind: open it, then see whether the pid is still listed.
    pub(crate) fn processes(&self) -> io::Result<Vec<Process>> {
        let open = |pid| Some((pid, Process::open(pid).ok()??));
        let opened: Vec<(u32, Process)> = self.pids()?.into_iter().filter_map(open).collect();
        let listed: BTreeSet<u32> = self.pids()?.into_iter().collect();
        Ok(opened.into_iter().filter(|(pid, _)| listed.contains(pid)).map(|(_, process)| process).collect())
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
        let deadline = Instant::now() + FREEZE_V1;
        let mut tries = 0u32;
        while Instant::now() < deadline {
            tries += 1;
            if tries.is_multiple_of(50) {
                self.write("freezer.state", "THAWED")?;
                sleep(Duration::from_millis(10));
            }
            self.write("freezer.state", "FROZEN")?;
            if tries % 25 == 24 {
                sleep(Duration::from_micros(10));
            }
            if self.read("freezer.state")? == "FROZEN" {
                return Ok(());
            }
        }
        Err(io::Error::other("unable to freeze"))
    }

    fn freeze_v2(&self) -> io::Result<()> {
        let events = Events::open(self)?;
        match self.write("cgroup.freeze", "1") {
            Err(Errno::NOENT) if dir::exists(&self.path) => {
                return Err(io::Error::other("freezer not supported: no such file: cgroup.freeze"));
            }
            result => result?,
        }
        if events.wait_for("frozen 1", Instant::now() + FREEZE_V2)? {
            return Ok(());
        }
        Err(io::Error::other("unable to freeze: timeout of 10s reached waiting for the cgroup to freeze"))
    }
}

/// Thaws the v1 cgroups below, from the top down: none thaws in a frozen one.
fn thaw_below(dir: BorrowedFd<'_>) -> Result<()> {
    for name in dir::children(dir)? {
        let thawed = dir::child(dir, &name).and_then(|child| {
            dir::write_at(child.as_fd(), c"freezer.state", "THAWED")?;
            thaw_below(child.as_fd())
        });
        match thawed {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
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
