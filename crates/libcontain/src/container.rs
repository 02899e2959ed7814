//! A container that exists: its state, and what can be done with it.
//!
//! What engines call, in order: `create`, `start`, `state` and `kill` as they like, `delete`. The status is never
//! stored: it is derived from the freezer, from init's start time and from the exec FIFO at each call.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::error::{At, Error, Kind, Problem, errno_text};
use crate::hook_state::{self, SPEC_VERSION};
use crate::kernel::Call;
use crate::plan::annotations::hook_output_of;
use crate::report::{Event, Failure, decode};
use crate::runtime::Id;
use crate::spawn::Init;
use crate::state::{Record, StateDir, process_stat};
use crate::systemd::{self, Systemd};
use crate::wait::{self, Process};
use crate::{hooks, rdt, sys};

mod begin;
mod pause;
mod unit;
mod watch;

pub use self::watch::{Event as WatchEvent, Watch};

/// How long `delete` waits for a killed init to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Init waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// All processes are frozen.
    Paused,
    /// Init is gone.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The state document of the runtime-spec (runtime.md#state), with runc's additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec that the library implements.
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// Init's pid in the caller's pid namespace; 0 when stopped.
    pub pid: u32,
    /// Status.
    pub status: Status,
    /// Absolute bundle directory.
    pub bundle: String,
    /// Absolute root file system.
    pub rootfs: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The config's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Always empty; `list` fills it.
    pub owner: String,
}

/// Whether the cgroup of the record is the container's, so that what runs in it may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// `create` has not made it yet; if it is there, it is somebody else's.
    None,
    /// A `create` that died may have made it or may have been about to be refused.
    Unknown,
    /// `create` has made it.
    Ours,
    /// A `create` that died has made it, and perhaps its init is still there.
    Remains,
}

/// A container on disk, and, right after `create` or `run`, the process that was made.
#[derive(Debug)]
pub struct Container {
    id: Id,
    dir: StateDir,
    record: Record,
    init: Option<Init>,
    notify: Option<OwnedFd>,
    claim: Claim,
    /// The conversation with systemd that made it, and how long another may take.
    manager: Option<Systemd>,
    bus_limit: Duration,
    /// It is entered also if it could overwrite the executable of this process.
    unprotected: bool,
    signal_mask: u64,
    warnings: Vec<Problem>,
}

impl Container {
    /// A container that is there.
    pub(crate) fn new(id: Id, dir: StateDir, record: Record) -> Self {
        Container { claim: Claim::Ours, ..Container::intended(id, dir, record) }
    }

    /// A container that is about to be made.
    pub(crate) fn intended(id: Id, dir: StateDir, record: Record) -> Self {
        Container {
            id,
            dir,
            record,
            init: None,
            notify: None,
            claim: Claim::None,
            manager: None,
            bus_limit: systemd::PATIENCE,
            unprotected: false,
            signal_mask: sys::signal_mask(),
            warnings: Vec::new(),
        }
    }

    /// What a `create` that died has left.
    pub(crate) fn remains(id: Id, dir: StateDir, record: Record, owned: bool) -> Self {
        let claim = if owned { Claim::Remains } else { Claim::Unknown };
        Container { claim, ..Container::intended(id, dir, record) }
    }

    /// Notes whether the class of service is removed with what has been made so far, or with the container.
    pub(crate) fn own_rdt(&mut self, own: bool) {
        self.record.intel_rdt_own = own;
    }

    /// How long systemd is waited for.
    pub(crate) fn with_bus_limit(self, bus_limit: Duration) -> Self {
        Container { bus_limit, ..self }
    }

    /// As [`Runtime::with_unprotected_executable`](crate::Runtime::with_unprotected_executable) says.
    pub(crate) fn with_unprotected_executable(self, unprotected: bool) -> Self {
        Container { unprotected, ..self }
    }

    pub(crate) fn has_unprotected_executable(&self) -> bool {
        self.unprotected
    }

    pub(crate) fn own_cgroup(&mut self) -> Result<(), Error> {
        self.dir.own_cgroup()?;
        self.claim = Claim::Ours;
        Ok(())
    }

    /// Forgets directories that were planned and are not the container's: a rootless one lives without them.
    pub(crate) fn keep_cgroup(&mut self, cgroup: &Cgroup) {
        let planned = !self.record.cgroup_paths.is_empty();
        self.record.cgroup_paths.retain(|_, path| cgroup.has(path));
        if planned && self.record.cgroup_paths.is_empty() && !self.record.has_private_pid_namespace() {
            // The last sentence is runc's.
            let text = "a rootless container with no cgroup and no private pid namespace: what its first process leaves \
                        behind cannot be found and killed. Such configuration is strongly discouraged";
            self.warn(&[Problem::warning(At::field("linux.namespaces"), "", text)]);
        }
    }

    /// The mask that hooks of this container get.
    pub(crate) fn mask_signals(&mut self, mask: u64) {
        self.signal_mask = mask;
    }

    pub(crate) fn signal_mask(&self) -> u64 {
        self.signal_mask
    }

    /// Whether the process known so far is init, and not an intermediate that has failed.
    pub(crate) fn has_init(&self) -> bool {
        self.init.as_ref().is_some_and(|init| init.is_init)
    }

    pub(crate) fn warn(&mut self, problems: &[Problem]) {
        self.warnings.extend_from_slice(problems);
    }

    /// What the caller should be told although all went well.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    pub(crate) fn dir(&self) -> &StateDir {
        &self.dir
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn set_record(&mut self, record: Record) {
        self.record = record;
    }

    pub(crate) fn adopt(&mut self, init: Init) {
        self.record.init_process_pid = init.pid;
        self.init = Some(init);
    }

    pub(crate) fn go(&self) {
        if let Some(init) = &self.init {
            init.go();
        }
    }

    /// The process that was made, in the process that made it.
    pub(crate) fn init(&self) -> Option<&Init> {
        self.init.as_ref()
    }

    pub(crate) fn next_event(&self) -> Result<Event, Error> {
        let Some(init) = &self.init else { return Ok(Event::Closed) };
        init.next().map_err(|fault| Error::os(fault.call, Errno::from_raw_os_error(fault.errno)))
    }

    /// Notes who init is, now that it is set up.
    pub(crate) fn record_init(&mut self, created: String) {
        self.record.set_init(self.record.init_process_pid, created);
    }

    /// The state document of this moment, as hooks and agents read it.
    pub(crate) fn hook_state(&self, status: &str, with_pid: bool) -> Vec<u8> {
        let record = &self.record;
        let halves = hook_state::halves(&record.id, status, record.bundle(), &record.annotations());
        hook_state::document(&halves, with_pid.then_some(record.init_process_pid))
    }

    /// What hooks of the runtime's namespaces find, at this point of the container's life.
    pub(crate) fn hook_setting(&self, status: &str, with_pid: bool) -> hooks::Setting<'_> {
        let (annotations, bundle) = (self.record.annotations(), Path::new(self.record.bundle()));
        hooks::Setting {
            state: self.hook_state(status, with_pid),
            cwd: bundle,
            mask: self.signal_mask,
            output: hook_output_of(|name| annotations.get(name).copied(), bundle),
        }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Init's pid, whether it still lives or not.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.record.init_process_pid
    }

    /// Init's pidfd, in the process that created the container.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.init.as_ref().map(|init| init.pidfd.as_fd())
    }

    pub(crate) fn bind_notify_socket(&mut self) -> Result<(), Error> {
        self.notify = self.dir.bind_notify_socket()?;
        Ok(())
    }

    /// The socket (`SOCK_DGRAM`) at which the program's sd_notify(3) messages arrive, if the container was made with
    /// [`CreateOptions::notify`](crate::CreateOptions) and nobody has taken it. For a container that waits for
    /// [`Container::start`] it is bound by this call, so it has to be made before that.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn notify_socket(&mut self) -> Result<Option<OwnedFd>, Error> {
        // A started container's socket is somebody else's, who listens there.
        if self.notify.is_none() && self.dir.has_fifo() {
            self.bind_notify_socket()?;
        }
        Ok(self.notify.take())
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::from_paths(&self.record.cgroup_paths)
    }

    pub(crate) fn is_alive(&self) -> bool {
        let same = |(letter, start)| !matches!(letter, b'Z' | b'X') && start == self.record.init_process_start;
        // What cannot be looked at has not ended: who is told so removes what a running container needs.
        let is_same = |pid| process_stat(pid).map_or(true, |found| found.is_some_and(same));
        self.record.init_process_pid != 0 && is_same(self.record.init_process_pid)
    }

    /// Whether a cgroup of this container's is another's by now, which lives there or is just being made: the config gave
    /// both the same path, and a cgroup whose processes have ended may be taken.
    fn has_successor(&self) -> bool {
        let shares =
            |r: &Record| r.cgroup_paths.values().any(|p| self.record.cgroup_paths.values().any(|own| own == p));
        self.dir.others().into_iter().any(|dir| match dir.read_state() {
            Ok(Some(record)) => shares(&record) && Container::new(self.id.clone(), dir, record).is_alive(),
            _ => dir.read_intent().is_some_and(|(record, owned)| owned && shares(&record)),
        })
    }

    /// Where the container is in its life.
    ///
    /// # Errors
    /// The freezer cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        // Before liveness: what is killed while frozen is not gone before it is thawed.
        if self.cgroup().frozen() {
            return Ok(Status::Paused);
        }
        Ok(match self.is_alive() {
            false => Status::Stopped,
            true if self.dir.has_fifo() => Status::Created,
            true => Status::Running,
        })
    }

    /// Whether its init has not been told to execute the program.
    pub(crate) fn awaits_start(&self) -> bool {
        self.dir.has_fifo()
    }

    /// The state document.
    ///
    /// # Errors
    /// As [`Container::status`].
    pub fn state(&self) -> Result<State, Error> {
        let status = self.status()?;
        let annotations = self.record.annotations().into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
        Ok(State {
            oci_version: SPEC_VERSION.into(),
            id: self.id.to_string(),
            pid: if status == Status::Stopped { 0 } else { self.pid() },
            status,
            bundle: self.record.bundle().into(),
            rootfs: self.record.config.rootfs.clone(),
            created: self.record.created.clone(),
            annotations: annotations.collect(),
            owner: String::new(),
        })
    }

    /// Uid of the state directory's owner, for `list`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn owner(&self) -> Result<u32, Error> {
        self.dir.owner().map_err(|e| Error::os("stat", e))
    }

    /// Lets the program of a created container run, and runs the poststart hooks once it does.
    ///
    /// # Errors
    /// The container is not `created`; the program cannot be executed; a poststart hook failed, and init was killed.
    pub fn start(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::new(Kind::NotRunning, text));
        match self.status()? {
            Status::Created => {}
            Status::Running => return refuse("cannot start an already running container"),
            Status::Stopped => return refuse("cannot start a container that has stopped"),
            Status::Paused => return refuse("cannot start a container in the paused state"),
        }
        // Before the FIFO: an init that dies later is seen by its pidfd, one that is dead already is not waited for.
        let Some(init) = self.find_init()? else { return refuse("cannot start a container that has stopped") };
        let Some(pidfd) = init.pidfd else {
            let text = format!("this kernel or its seccomp filter lacks {}", Call::PidfdOpen);
            return Err(Error::new(Kind::Unsupported, text));
        };
        let fifo = match self.dir.open_fifo(OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fifo) => fifo,
            Err(Errno::NOENT) => return refuse("cannot start an already running container"),
            Err(errno) => return Err(Error::os("open exec.fifo", errno)),
        };
        if read_fifo(&fifo, &pidfd, &mut [0u8; 1])? != 1 {
            if self.status()? == Status::Running {
                return refuse("cannot start an already running container"); // by another `start`
            }
            return refuse("exec fifo is empty: container init did not signal execve readiness, is it dead?");
        }
        self.dir.remove_fifo()?;
        let mut report = [0u8; 128];
        let len = read_fifo(&fifo, &pidfd, &mut report)?;
        if let Event::Failed(failure) = decode(report.get(..len).unwrap_or(&[])) {
            return Err(late_failure(&failure));
        }
        self.run_poststart()
    }

    /// Runs the poststart hooks. If one fails, the container is stopped.
    pub(crate) fn run_poststart(&self) -> Result<(), Error> {
        let hooks = self.record.config.hooks.as_ref().and_then(|h| h.poststart().as_deref());
        if hooks.is_none_or(<[_]>::is_empty) {
            return Ok(());
        }
        self.let_init_begin();
        hooks::run("poststart", hooks, &self.hook_setting("running", true)).inspect_err(|_| {
            let _ = self.kill_init_and_wait();
        })
    }

    /// A new pidfd of init, from whichever process; `None` if it is gone, or if pidfd_open(2) is not to be had.
    #[must_use]
    pub fn open_pidfd(&self) -> Option<OwnedFd> {
        self.find_init().ok().flatten()?.pidfd
    }

    /// Init, if it is still the process that was made: opened first and verified then, so that it cannot be another
    /// process with the same pid.
    pub(crate) fn find_init(&self) -> Result<Option<Process>, Error> {
        let failed = |e| Error::os("looking for the container's init", e);
        let process = Process::open(self.pid()).map_err(failed)?;
        let found = process_stat(self.pid()).map_err(failed)?;
        Ok(process.filter(|_| found.is_some_and(|(_, start)| start == self.record.init_process_start)))
    }

    /// Sends a signal to init; SIGKILL goes to all processes of a container without a pid namespace of its own.
    ///
    /// # Errors
    /// [`Kind::NotRunning`] when there is nobody to signal; what the kernel says otherwise.
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        let not_running = || Error::new(Kind::NotRunning, "container not running");
        let status = self.status()?;
        // Who has the cgroup now may have paused it, and then its status is not that of this container.
        let foreign = !self.is_alive() && self.has_successor();
        if signal == libc::SIGKILL && !self.record.has_private_pid_namespace() && !foreign && !self.pids()?.is_empty() {
            return self.cgroup().kill_all().map_err(|e| Error::new(Kind::Os, e.to_string()));
        }
        if status == Status::Stopped || foreign {
            return Err(not_running());
        }
        let init = self.find_init()?.ok_or_else(not_running)?;
        match init.signal(signal) {
            Err(Errno::SRCH) => return Err(not_running()),
            result => result.map_err(|e| Error::os("unable to signal init", e))?,
        }
        if signal == libc::SIGKILL {
            self.cgroup().thaw_to_die().map_err(|e| Error::new(Kind::Os, e.to_string()))?;
        }
        Ok(())
    }

    /// Pids of all processes in the container's cgroup, in the caller's pid namespace.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        self.cgroup().pids().map_err(|e| Error::os("reading the container's processes", e))
    }

    /// Waits for init, whose parent the caller must be, and returns its exit status: the code, or 128 and the number of
    /// the signal that ended it.
    ///
    /// # Errors
    /// The caller is not init's parent.
    pub fn wait(&self) -> Result<i32, Error> {
        let Some(init) = &self.init else {
            return Err(Error::new(Kind::Os, "only its creator can wait for a container"));
        };
        let status = wait::reap(init.pidfd.as_fd()).map_err(|e| Error::os("waitid", e))?;
        let status = status.ok_or_else(|| Error::os("waitid", Errno::CHILD))?;
        Ok(status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0)))
    }

    /// Ends what init left behind. With a pid namespace of its own the kernel has done that; without one, processes that
    /// init has started live on, and whoever waits for the container's output would wait for them.
    ///
    /// # Errors
    /// The cgroup cannot be read or written.
    pub fn kill_rest(&self) -> Result<(), Error> {
        if self.record.has_private_pid_namespace() || self.pids()?.is_empty() || self.has_successor() {
            return Ok(());
        }
        self.cgroup().kill_all().map_err(|e| Error::new(Kind::Os, e.to_string()))
    }

    /// Removes a stopped container, or, as engines expect it, one that was never started. `force` ends a running one
    /// first. Returns what the caller should be told: poststop hooks that failed.
    ///
    /// # Errors
    /// It runs; or something of it cannot be removed, and then its directory stays, so that `delete` can be repeated.
    pub fn delete(self, force: bool) -> Result<Vec<Problem>, Error> {
        match self.status()? {
            Status::Stopped => {}
            Status::Created => self.kill_init_and_wait()?,
            _ if force => self.kill_init_and_wait()?,
            Status::Paused if !self.is_alive() => {}
            status => {
                let text = format!("cannot delete container {} that is not stopped: {status}", self.id);
                return Err(Error::new(Kind::NotRunning, text));
            }
        }
        self.destroy()
    }

    /// SIGKILL, and the wait for its effect, without sleeping.
    fn kill_init_and_wait(&self) -> Result<(), Error> {
        // With a dead one it may be somebody else's cgroup by now that is thawed.
        let Some(init) = self.find_init()?.filter(|_| self.is_alive()) else { return Ok(()) };
        let _ = init.signal(libc::SIGKILL);
        let _ = self.cgroup().thaw_to_die();
        match init.ends(DEATH) {
            Ok(true) => Ok(()),
            _ => Err(Error::new(Kind::Os, "container init still running")),
        }
    }

    /// Undoes a `create` that failed: init first, which is our child and must be reaped.
    pub(crate) fn destroy_now(mut self) -> Result<Vec<Problem>, Error> {
        self.end_init();
        self.destroy()
    }

    /// Ends a container that failed but whose directory is to stay (`run --keep`): as if it had stopped by itself.
    pub(crate) fn stop_now(mut self) -> Result<(), Error> {
        self.end_init();
        self.remove_cgroup().map(drop)?;
        self.remove_rdt()?;
        self.dir.remove_fifo()?;
        self.dir.write_state(&self.record)
    }

    fn end_init(&mut self) {
        if let Some(init) = self.init.take() {
            init.end();
        }
    }

    /// With the unit, if systemd has made one. What should be told is returned: a bus that is silent is no reason to keep
    /// the rest.
    fn remove_cgroup(&mut self) -> Result<Vec<Problem>, Error> {
        let Some(unit) = self.record.unit.clone() else { return self.remove_directories().map(|()| vec![]) };
        self.remove_unit(&unit)
    }

    fn remove_directories(&self) -> Result<(), Error> {
        let cgroup = self.cgroup();
        let os = |error: &dyn fmt::Display| Error::new(Kind::Os, error.to_string());
        match self.claim {
            Claim::None => Ok(()),
            // There was no init yet. Whoever is in there is not the container's, and not waited for.
            Claim::Unknown => {
                cgroup.take_back();
                Ok(())
            }
            // Mostly nobody is left in there, and it can just go.
            Claim::Ours | Claim::Remains if cgroup.remove_now().is_ok() => Ok(()),
            // With a pid namespace of its own all of it died with init: others are another container's in the same cgroup.
            Claim::Ours if self.record.has_private_pid_namespace() => cgroup.remove().map_err(|e| os(&e)),
            Claim::Ours | Claim::Remains if self.has_successor() => cgroup.remove().map_err(|e| os(&e)),
            Claim::Ours | Claim::Remains => {
                if !cgroup.pids().unwrap_or_default().is_empty() {
                    cgroup.kill_all().map_err(|e| os(&e))?;
                }
                cgroup.remove().map_err(|e| os(&e))
            }
        }
    }

    fn remove_rdt(&self) -> Result<(), Error> {
        let Record { intel_rdt_path: class, intel_rdt_mon_path: monitor, .. } = &self.record;
        if class.is_empty() {
            return Ok(());
        }
        let class = Some(class.as_str()).filter(|_| self.record.intel_rdt_own);
        let monitor = Some(monitor.as_str()).filter(|path| !path.is_empty());
        let complete = !self.record.created.is_empty();
        rdt::remove(class, monitor, complete)
    }

    /// Removes everything: processes left in the cgroup, the cgroup, the class of service, the directory; then the poststop hooks, of which
    /// one that fails is no reason not to run the others (runtime.md#lifecycle, step 13).
    pub(crate) fn destroy(mut self) -> Result<Vec<Problem>, Error> {
        let told = self.remove_cgroup()?;
        self.remove_rdt()?;
        self.dir.remove()?;
        let setting = self.hook_setting("stopped", false);
        let hooks = self.record.config.hooks.as_ref().and_then(|h| h.poststop().as_deref());
        let failed = hooks::run_all("poststop", hooks.unwrap_or(&[]), &setting);
        let tell =
            |(index, e): (usize, Error)| Problem::warning(At::item("hooks.poststop[#]", index), "", e.to_string());
        Ok(told.into_iter().chain(failed.into_iter().map(tell)).collect())
    }
}

/// Waits for what init writes, or for its end: init closes the FIFO when it executes the program.
fn read_fifo(fifo: &OwnedFd, pidfd: &OwnedFd, buf: &mut [u8]) -> Result<usize, Error> {
    let mut written = false;
    loop {
        let mut polled = [fifo, pidfd].map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os("poll", errno)),
        }
        let [readable, ended] = polled.map(|fd| !fd.revents().is_empty());
        // A FIFO that nobody has opened for writing yet does not poll as readable, but reads as ended.
        written |= readable;
        match rustix::io::read(fifo, &mut *buf) {
            Ok(0) if !written && !ended => {}
            Err(Errno::AGAIN | Errno::INTR) if !ended => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            result => return result.map_err(|e| Error::os("read exec.fifo", e)),
        }
    }
}

/// What init reported after `start`: only the report itself says what was done.
fn late_failure(failure: &Failure) -> Error {
    if failure.call.is_empty() {
        return Error::new(Kind::Hook, format!("error running {}", failure.note));
    }
    let text = format!("{} {}: {}", failure.call.replace("execve", "exec"), failure.note, errno_text(failure.errno));
    Error::new(Kind::Exec, text).with_errno(failure.errno)
}
