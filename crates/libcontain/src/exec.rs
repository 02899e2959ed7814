//! One more process in a container that exists: `exec`.
//!
//! It is planned from what `create` has saved of the config, so that nobody can change it by editing the bundle. The
//! container is asked for nothing and nothing of it is changed: one record is read, the process joins by itself, and systemd
//! is not spoken to. What fails leaves no process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::acquire::{Given, acquire, is_own_namespace};
use crate::container::{Container, Status};
use crate::create::{self, FRAME};
use crate::error::{At, Error, Kind, Problem, errno_text};
use crate::host::Host;
use crate::kernel::Call;
use crate::plan::{self, Join, NEWUSER, Plan, Request, Terminal, idmap};
use crate::report::Event;
use crate::runtime::accepted;
use crate::spawn::{Init, Launch, spawn};
use crate::state::Saved;
use crate::wording::Wording;
use crate::{agent, bundle, cgroup, check, handover, rdt, seal, small_file, sys, wait};

/// How long init may take to end after one of its container has been killed with it.
const LAST_MOMENTS: Duration = Duration::from_millis(200);

/// What a caller may ask for besides the process.
#[derive(Debug, Default)]
pub struct ExecOptions<'a> {
    /// What becomes its stdin, stdout and stderr; `None` hands on the caller's.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// How many of the caller's descriptors from 3 on it inherits, at the same numbers.
    pub preserve_fds: u32,
    /// A connected socket (`SOCK_STREAM`), over which the terminal's master end is sent, with a name that means nothing.
    /// Demanded by `terminal`, and of no use without.
    pub console: Option<BorrowedFd<'a>>,
    /// What that terminal is like.
    pub terminal: Terminal,
    /// A connected `SOCK_STREAM` socket that is sent its pidfd: one message, `setns`, with one descriptor. It is an error if
    /// it cannot be sent within ten seconds.
    pub pidfd_socket: Option<BorrowedFd<'a>>,
    /// Where to write its pid, in decimal and without a newline, once it runs.
    pub pid_file: Option<&'a Path>,
    /// Its signal mask (bit n-1 stands for signal n); `None`: the calling thread's.
    pub signal_mask: Option<u64>,
    /// Existing cgroups below the container's: `PATH` where there is v2 alone, else `CONTROLLER[,...]:PATH` for those
    /// hierarchies. In the others, and without any, it is the container's own.
    pub cgroups: Vec<String>,
    /// Go ahead in a paused container, where it stands still until that is resumed, as does the caller.
    pub ignore_paused: bool,
}

/// A process that was put into a container and runs its program. The caller is its parent.
#[derive(Debug)]
pub struct Exec {
    pid: u32,
    pidfd: OwnedFd,
    warnings: Vec<Problem>,
}

impl Exec {
    /// In the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Polls as readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends it a signal, and never another process with its pid.
    ///
    /// # Errors
    /// It has ended; what the kernel says otherwise.
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        sys::pidfd_send_signal(self.pidfd.as_fd(), signal).map_err(|e| Error::os("unable to signal the process", e))
    }

    /// What the caller should be told although all went well.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// A `process` object of the config in JSON, read as Go reads it: names in any case, `null` as the zero value. Names of
/// capabilities that nobody knows are left out, and told.
///
/// # Errors
/// [`Kind::Config`]: it is none. The text names the place and line.
pub fn process_from_json(text: &[u8]) -> Result<(Process, Vec<Problem>), Error> {
    Ok(bundle::from_json("process", text)?)
}

impl Container {
    /// The config's process, as it was when the container was made.
    ///
    /// # Errors
    /// The record has none: the container was made by an older version.
    pub fn process(&self) -> Result<Process, Error> {
        let spec = self.saved()?.spec()?;
        spec.process().clone().ok_or_else(|| Error::new(Kind::Config, "process property must not be empty"))
    }

    /// Runs one more process in a created or running container. What `process` leaves out of capabilities, limits,
    /// `noNewPrivileges`, labels, scheduler, I/O priority and CPU affinity is as for the container's own; the seccomp profile
    /// and the OOM score always are. Returns when the program is executing.
    ///
    /// # Errors
    /// [`Kind::NotRunning`] of a stopped container, [`Kind::Paused`] of a paused one; [`Kind::Unsupported`] if the container
    /// could overwrite the executable of this process (see [`seal`](crate::seal)); [`Kind::Config`] with all problems of
    /// `process`; [`Kind::Exec`] of a program that cannot be executed. Nothing is left of the process.
    pub fn exec(&self, process: &Process, options: &ExecOptions<'_>) -> Result<Exec, Error> {
        create::check_inherited(0, options.preserve_fds)?;
        let init = self.init_to_join(options.ignore_paused)?;
        let spec = self.config_of(process)?;
        let os = |e| Error::os("asking the machine", e);
        let mut host = Host::probe_caller().map_err(os)?;
        host.ask_for(&spec);
        if self.awaits_start() && !host.may_trace() {
            return Err(only_started());
        }
        let pid = self.pid();
        let mut join = self.cgroup().entrance(&options.cgroups, pid)?;
        join.tolerate = host.rootless_cgroups;
        if has_users(&spec) {
            join.same_users = is_own_namespace(rustix::fs::stat(format!("/proc/{pid}/ns/user")), NEWUSER);
            host.setgroups_denied |= denies_groups(pid);
        }
        if !self.has_unprotected_executable() {
            let own_users = has_users(&spec) && !join.same_users;
            seal::demand(|| own_users.then(|| users_of(pid)).flatten())?;
        }
        // Where it goes if its place takes nobody, last first. Named cgroups are meant as they are.
        let mut others = vec![];
        if options.cgroups.is_empty() && join.directory.is_some() {
            others.extend(join.tolerate.then_some(None));
            others.push(cgroup::directory_of(pid));
        }
        loop {
            let joining = Joining { container: self, init: init.as_fd(), spec: &spec, options };
            match joining.attempt(&join, &host) {
                Err(error) if takes_nobody(&error) && !others.is_empty() => {
                    join.directory = others.pop().flatten();
                }
                // Whatever the kernel says about namespaces without an init.
                Err(error) if error.kind() == Kind::Os && (!self.is_alive() || is_ending(&error, init.as_fd())) => {
                    return Err(stopped());
                }
                result => return result,
            }
        }
    }

    fn init_to_join(&self, ignore_paused: bool) -> Result<OwnedFd, Error> {
        match self.status()? {
            Status::Stopped => return Err(stopped()),
            Status::Paused if !ignore_paused => {
                let text = "cannot exec in a paused container (use --ignore-paused to override)";
                return Err(Error::new(Kind::Paused, text));
            }
            Status::Created | Status::Running | Status::Paused => {}
        }
        let Some(init) = self.find_init()? else { return Err(stopped()) };
        init.pidfd.ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("this kernel or its seccomp filter lacks {}", Call::PidfdOpen))
        })
    }

    fn saved(&self) -> Result<&Saved, Error> {
        let text = "the container was made by a version that could not exec: its record has no process";
        self.record().config.exec.as_ref().ok_or_else(|| Error::new(Kind::Unsupported, text))
    }

    /// The container's config with this process.
    fn config_of(&self, process: &Process) -> Result<Spec, Error> {
        let mut spec = self.saved()?.spec()?;
        let annotations = self.record().annotations().into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        spec.set_annotations(Some(annotations));
        let process = completed(process.clone(), spec.process().as_ref());
        spec.set_process(Some(process));
        Ok(spec)
    }
}

/// The memory and the environment of an init that has not executed its program yet are copies of the caller's. It is not
/// dumpable, so that the kernel would refuse an ordinary user as well; but one that a seccomp agent was given a listener of
/// may have had to stay so, and what is put beside it could read them.
fn only_started() -> Error {
    let text = "joining the container's init: operation not permitted (without CAP_SYS_PTRACE only a container that was \
                started can be joined)";
    Error::new(Kind::Os, text).with_errno(libc::EPERM)
}

fn stopped() -> Error {
    Error::new(Kind::NotRunning, "cannot exec in a stopped container")
}

/// What is left out is the container's. Its OOM score is always (runc), since no engine means to change it here.
fn completed(mut process: Process, own: Option<&Process>) -> Process {
    let Some(own) = own else { return process };
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.rlimits().is_none() {
        process.set_rlimits(own.rlimits().clone());
    }
    process.set_no_new_privileges(process.no_new_privileges().or(own.no_new_privileges()));
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if !given(process.apparmor_profile()) {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if !given(process.selinux_label()) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
    process.set_oom_score_adj(own.oom_score_adj());
    process
}

fn has_users(spec: &Spec) -> bool {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    list.into_iter().flatten().any(|namespace| namespace.typ() == LinuxNamespaceType::User)
}

/// Nothing is known of a process that has ended.
fn users_of(pid: u32) -> Option<Vec<[u32; 3]>> {
    let text = small_file::read(CWD, format!("/proc/{pid}/uid_map")).ok()?;
    Some(idmap::parse(&text)).filter(|maps| !maps.is_empty())
}

fn denies_groups(pid: u32) -> bool {
    small_file::read(CWD, format!("/proc/{pid}/setgroups")).is_ok_and(|text| text.starts_with("deny"))
}

/// Init still has to wait for others, but has left its namespaces (`setns`: ESRCH), or lets nobody in (`clone`: ENOMEM).
fn is_ending(error: &Error, init: BorrowedFd<'_>) -> bool {
    let told = [Errno::SRCH, Errno::NOMEM].iter().any(|e| error.errno() == Some(e.raw_os_error()));
    told && wait::ends(init, Some(LAST_MOMENTS)).unwrap_or(false)
}

/// The cgroup is gone, is threaded, has given its controllers to those below it, or belongs to somebody else.
fn takes_nobody(error: &Error) -> bool {
    let refused = [Errno::NOENT, Errno::NODEV, Errno::BUSY, Errno::OPNOTSUPP, Errno::ACCESS];
    error.at() == Some("linux.cgroupsPath") && refused.iter().any(|e| error.errno() == Some(e.raw_os_error()))
}

/// A container, and what is put into it.
struct Joining<'a> {
    container: &'a Container,
    init: BorrowedFd<'a>,
    spec: &'a Spec,
    options: &'a ExecOptions<'a>,
}

impl Joining<'_> {
    fn attempt(&self, join: &Join, host: &Host) -> Result<Exec, Error> {
        let plan = self.plan(join, host)?;
        let agent = plan.seccomp_agent.as_ref().map(agent::find).transpose()?;
        let given = Given { dir: self.container.dir(), console: self.options.console, init: Some(self.init) };
        let fds = acquire(&plan, &given).map_err(|e| e.within(FRAME))?;
        let process = self.spawn(&plan, join, &fds)?;
        if let Err(error) = self.converse(&process, &plan, agent.as_ref(), &fds).and_then(|()| self.announce(&process))
        {
            process.end();
            return Err(error);
        }
        let Init { pid, pidfd, .. } = process;
        Ok(Exec { pid, pidfd, warnings: plan.warnings })
    }

    fn plan(&self, join: &Join, host: &Host) -> Result<Plan, Error> {
        let record = self.container.record();
        let request = Request {
            id: &record.id,
            bundle: Path::new(record.bundle()),
            no_pivot: false,
            no_new_keyring: self.container.saved()?.no_new_keyring,
            listen_fds: 0,
            listen_fd_names: None,
            preserve_fds: self.options.preserve_fds,
            notify_dir: None,
            console: self.options.console.map(|_| self.options.terminal),
            wait_for_start: false,
        };
        accepted(plan::exec(&request, self.spec, join, host), check::check_later(self.spec, host))
    }

    fn spawn(&self, plan: &Plan, join: &Join, fds: &[OwnedFd]) -> Result<Init, Error> {
        let at = At::field("linux.cgroupsPath");
        // Who clones another process is not in the cgroup itself: neither its memory nor it is counted there.
        let born_in = join.directory.as_ref().filter(|_| !plan.has_intermediate());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let born_in = born_in.map(|dir| rustix::fs::open(dir.as_str(), flags, Mode::empty())).transpose();
        let opened = |e| Error::os("open the container's cgroup", e).with_at(at).within(FRAME);
        let born_in = born_in.map_err(opened)?;
        let copies = create::above_stdio(self.options.stdio)?;
        let launch = Launch {
            plan,
            fds,
            stdio: create::lent(&copies, self.options.stdio),
            cgroup: born_in.as_ref().map(AsFd::as_fd),
            signal_mask: self.options.signal_mask.unwrap_or_else(sys::signal_mask),
        };
        spawn(&launch).map_err(|fault| {
            // A clone outside of it has nothing to do with it, nor have the other calls.
            let in_it = born_in.is_some() && fault.call.starts_with("clone");
            let at = if in_it { at } else { At::field("process") };
            let text = format!("{at}: {}: {}", fault.call, errno_text(fault.errno));
            Error::new(Kind::Os, text).with_errno(fault.errno).with_at(at).within(FRAME)
        })
    }

    /// Answers it until it executes its program.
    fn converse(
        &self,
        process: &Init,
        plan: &Plan,
        agent: Option<&agent::Socket<'_>>,
        fds: &[OwnedFd],
    ) -> Result<(), Error> {
        let bundle = Path::new(self.container.record().bundle());
        let wording = Wording { plan, spec: self.spec, bundle, fds, frame: FRAME };
        let (mut asked, mut ready) = (false, false);
        loop {
            if asked {
                agent::await_answers(process)?;
            }
            let event = process.next().map_err(|f| Error::os(f.call, Errno::from_raw_os_error(f.errno)))?;
            match event {
                Event::Listener(number) => {
                    let status = self.container.status()?.to_string();
                    agent.map_or(Ok(()), |agent| agent.hand_over(process, &status, self.container, number))?;
                    asked = true;
                }
                Event::Ready => {
                    self.admit(process)?;
                    ready = true;
                }
                Event::Failed(failure) => return Err(wording.describe(&failure)),
                Event::Closed if ready => return Ok(()),
                Event::Closed => return Err(self.died(process)),
                Event::Cgroup | Event::Network | Event::Hooks | Event::Tree { .. } | Event::Executes => {}
            }
            process.go();
        }
    }

    /// What is done with a process that is complete and waits.
    fn admit(&self, process: &Init) -> Result<(), Error> {
        let record = self.container.record();
        if !record.intel_rdt_path.is_empty() {
            let monitor = Some(record.intel_rdt_mon_path.as_str()).filter(|path| !path.is_empty());
            rdt::join(&record.intel_rdt_path, monitor, process.pid).map_err(|e| e.within(FRAME))?;
        }
        let Some(socket) = self.options.pidfd_socket else { return Ok(()) };
        let sent = handover::send(socket, b"setns", process.pidfd.as_fd(), create::PATIENCE);
        sent.map_err(|e| Error::os("sending the pidfd to the pidfd socket", e).within(FRAME))
    }

    fn announce(&self, process: &Init) -> Result<(), Error> {
        self.options.pid_file.map_or(Ok(()), |path| create::write_pid_file(path, process.pid))
    }

    fn died(&self, process: &Init) -> Error {
        let status = wait::reap(process.pidfd.as_fd()).ok().flatten();
        let signal = status.as_ref().and_then(rustix::process::WaitIdStatus::terminating_signal);
        // The first process of a pid namespace ends after all others, which it has killed.
        if signal == Some(libc::SIGKILL) && wait::ends(self.init, Some(LAST_MOMENTS)).unwrap_or(false) {
            return stopped();
        }
        if signal == Some(libc::SIGKILL) && self.container.cgroup().oom_kills() > 0 {
            let text =
                "the process was OOM-killed before it could execute its program (is the container's memory full?)";
            return Error::new(Kind::Os, text).with_at(At::field("linux.resources.memory.limit")).within(FRAME);
        }
        let how = match (status.as_ref().and_then(rustix::process::WaitIdStatus::exit_status), signal) {
            (Some(code), _) => format!("status {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => "unknown".into(),
        };
        Error::new(Kind::Os, format!("the process ended without a word: {how}")).within(FRAME)
    }
}
