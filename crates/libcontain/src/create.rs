//! Making a container: claim, cgroup, descriptors, clone, and the talk with init until it may go on.
//!
//! Crash-only: what will exist is written down before it does, so that `delete --force` can remove what a killed
//! `create` left. An error here removes everything at once, through the same door ([`Container::destroy`]).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use oci_spec::runtime::Hook;
use rustix::io::{Errno, FdFlags};

use crate::acquire::{Given, acquire};
use crate::bundle::Bundle;
use crate::cgroup::{Cgroup, CgroupError};
use crate::container::Container;
use crate::error::{At, Error, Kind, errno_text};
use crate::fault::Fault;
use crate::netdev::Transfer;
use crate::plan::{Bind, Op, Plan, Step, Tree};
use crate::rdt::Found;
use crate::report::Event;
use crate::runtime::{CreateOptions, Id};
use crate::spawn::{Init, Launch, spawn};
use crate::state::{self, Record, StateDir};
use crate::systemd::{Place, Systemd};
use crate::wording::Wording;
use crate::{agent, handover, hooks, idmapped, idmaps, rdt, sys};

mod unit;

pub(crate) const FRAME: &str = "unable to start container process";
const CGROUP_FRAME: &str = "unable to apply cgroup configuration"; // runc's
const INIT_FRAME: &str = "unable to start container process: error during container init";

/// How long a listener that does not read is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the container that `plan` describes.
pub(crate) fn create(
    root: &Path,
    id: &Id,
    bundle: &Bundle,
    plan: &Plan,
    options: &CreateOptions<'_>,
    driver: Driver,
) -> Result<Container, Error> {
    check_inherited(options.listen_fds, options.preserve_fds)?;
    let dir = StateDir::claim(root, id.as_str())?;
    let record = Record::new(id.as_str(), bundle, plan, options);
    let mut container = Container::intended(id.clone(), dir, record);
    if let Some(unit) = &plan.cgroup.unit {
        container.intend_unit(&unit.name, driver);
    }
    container.mask_signals(options.signal_mask.unwrap_or_else(sys::signal_mask));
    let mut making = Making { bundle, plan, options, agent: None, network: None };
    // The first error is the one to tell; what cannot be removed now, `delete` will find again.
    match making.make(&mut container) {
        Ok(()) => Ok(container),
        Err(error) => {
            // What is lost with the container's network namespace, nobody will find again.
            let lost = making.network.as_mut().map(Transfer::give_back).unwrap_or_default();
            let error = lost.into_iter().fold(error, Error::and);
            let _ = if options.keep { container.stop_now() } else { container.destroy_now().map(drop) };
            Err(error)
        }
    }
}

/// The sockets of sd_listen_fds(3), from 3 on, and what is to be preserved after them.
pub(crate) fn check_inherited(listen: u32, preserve: u32) -> Result<(), Error> {
    for n in 0..listen {
        let tell = |e| Error::os(format_args!("LISTEN_FDS: unable to stat fd {} ({n} of {listen})", 3 + n), e);
        inherited(3 + n).map_err(tell)?;
    }
    for n in 0..preserve {
        let tell = |e| Error::os(format_args!("unable to stat preserved-fd {n} (of {preserve})"), e);
        inherited(3 + listen + n).map_err(tell)?;
    }
    Ok(())
}

/// What is close-on-exec is somebody's own and not meant to be handed on.
fn inherited(fd: u32) -> Result<(), Errno> {
    let flags = rustix::io::fcntl_getfd(sys::borrow(i32::try_from(fd).unwrap_or(i32::MAX)))?;
    if flags.contains(FdFlags::CLOEXEC) { Err(Errno::BADF) } else { Ok(()) }
}

struct Making<'a> {
    bundle: &'a Bundle,
    plan: &'a Plan,
    options: &'a CreateOptions<'a>,
    /// Who gets the listener of the seccomp filter.
    agent: Option<agent::Socket<'a>>,
    /// Devices that have left the caller's network namespace.
    network: Option<Transfer>,
}

/// Who makes the cgroup, if that is systemd: the conversation that has begun while it was planned for, if one has.
#[derive(Debug)]
pub(crate) struct Driver {
    pub place: Place,
    pub systemd: Option<Systemd>,
}

impl Making<'_> {
    fn make(&mut self, container: &mut Container) -> Result<(), Error> {
        container.warn(&self.plan.warnings);
        let class = self.plan.rdt.as_ref().map(|rdt| Ok((rdt, rdt::look(rdt)?)));
        let class = class.transpose().map_err(|e: Error| e.within(FRAME))?;
        container.own_rdt(class.is_some_and(|(_, found)| found == Found::Nothing));
        container.dir().write_intent(container.record())?;
        // Before anything else is made: most often an agent is just not there.
        self.agent = self.plan.seccomp_agent.as_ref().map(agent::find).transpose()?;
        let waits = self.plan.steps.iter().any(|step| matches!(step.op, Op::AwaitStart(_)));
        if waits {
            container.dir().make_fifo()?;
        }
        if self.options.notify {
            container.dir().make_notify_dir()?;
            if !waits {
                container.bind_notify_socket()?; // the program may have something to say at once
            }
        }
        let mut cgroup = self.make_cgroup(container)?;
        class.map_or(Ok(()), |(rdt, found)| rdt::make(rdt, found)).map_err(|e| e.within(FRAME))?;
        let given = Given { dir: container.dir(), console: self.options.console, init: None };
        let fds = acquire(self.plan, &given)?;
        let init = self.spawn(&mut cgroup, &fds, container.signal_mask())?;
        container.adopt(init);
        if let Some(unit) = &self.plan.cgroup.unit {
            cgroup = self.enter_unit(container, unit, &fds)?;
        }
        container.keep_cgroup(&cgroup);
        if let Some((rdt, _)) = class.filter(|_| container.has_init()) {
            rdt::join(&rdt.group, rdt.monitor.as_deref(), container.pid()).map_err(|e| e.within(FRAME))?;
        }
        self.converse(container, &cgroup, &fds)?;
        self.hand_over_pidfd(container)?;
        self.announce(container)?;
        container.go();
        if !waits {
            self.wait_for_exec(container, &cgroup, &fds)?;
            container.run_poststart()?;
        }
        Ok(())
    }

    /// With its limits, before anybody is in it. systemd makes one around a process, which there has to be first.
    fn make_cgroup(&self, container: &mut Container) -> Result<Cgroup, Error> {
        let planned = &self.plan.cgroup;
        if planned.unit.is_some() {
            return Cgroup::must_be_free(planned).map(|()| Cgroup::default()).map_err(|e| cgroup_error(&e));
        }
        let cgroup = Cgroup::create(planned).map_err(|e| of_cgroup(&e).within(CGROUP_FRAME).within(FRAME))?;
        container.own_cgroup()?;
        cgroup.apply(planned).map(|()| cgroup).map_err(|e| cgroup_error(&e))
    }

    fn spawn(&self, cgroup: &mut Cgroup, fds: &[OwnedFd], signal_mask: u64) -> Result<Init, Error> {
        let copies = above_stdio(self.options.stdio)?;
        let launch = Launch {
            plan: self.plan,
            fds,
            stdio: lent(&copies, self.options.stdio),
            cgroup: cgroup.clone_fd().filter(|_| !self.plan.spawn.old_clone),
            signal_mask,
        };
        let mut spawned = spawn(&launch);
        // A cgroup that may not be entered is to a rootless container as one that may not be made.
        if spawned.as_ref().is_err_and(|fault| fault.is(Errno::ACCESS)) && self.plan.cgroup.may_be_left_out() {
            spawned = spawn(&Launch { cgroup: None, ..launch });
            cgroup.leave_v2();
        }
        spawned.map_err(|fault| {
            let text = format!("{}: {}{}", fault.call, errno_text(fault.errno), clone_hint(&fault));
            Error::new(Kind::Os, text).with_errno(fault.errno).with_at(At::field("linux.namespaces")).within(FRAME)
        })
    }

    /// Answers init until it is ready.
    fn converse(&mut self, container: &Container, cgroup: &Cgroup, fds: &[OwnedFd]) -> Result<(), Error> {
        let mut asked = false;
        if let Some(maps) = self.plan.spawn.maps.as_ref().filter(|_| container.has_init()) {
            if let Some(score) = &self.plan.spawn.oom_score {
                let at = At::field("process.oomScoreAdj");
                idmaps::into_file(at, container.pid(), "oom_score_adj", score).map_err(|e| e.within(FRAME))?;
            }
            idmaps::write(container.pid(), maps, container.signal_mask()).map_err(|e| e.within(FRAME))?;
            container.go();
        }
        if let Some(maps) = self.plan.spawn.joined_maps.as_ref().filter(|_| container.has_init()) {
            idmaps::expect(container.pid(), maps).map_err(|e| e.within(FRAME))?;
        }
        loop {
            if asked {
                container.init().map_or(Ok(()), agent::await_answers)?;
            }
            match container.next_event()? {
                Event::Cgroup => container.go(), // answered before: `enter_unit`
                Event::Network => {
                    self.move_devices(container).map_err(|e| e.within(FRAME))?;
                    container.go();
                }
                Event::Hooks => {
                    self.runtime_hooks(container)?;
                    container.go();
                }
                Event::Tree { step, number } => {
                    self.map_tree(container, step, number).map_err(|e| e.within(INIT_FRAME))?;
                    container.go();
                }
                Event::Listener(number) => {
                    if let (Some(agent), Some(init)) = (&self.agent, container.init()) {
                        agent.hand_over(init, "creating", container, number)?;
                    }
                    container.go();
                    asked = true;
                }
                Event::Ready => return Ok(()),
                Event::Failed(failure) => return Err(self.wording(fds).describe(&failure)),
                Event::Executes | Event::Closed => return Err(died(container, cgroup)),
            }
        }
    }

    fn wording<'a>(&'a self, fds: &'a [OwnedFd]) -> Wording<'a> {
        Wording { plan: self.plan, spec: self.bundle.spec(), bundle: self.bundle.dir(), fds, frame: INIT_FRAME }
    }

    /// Maps the ids of a tree that init has copied, in its own mount namespace.
    fn map_tree(&self, container: &Container, step: usize, number: RawFd) -> Result<(), Error> {
        let (Some(step), Some(init)) = (self.plan.steps.get(step), container.init()) else { return Ok(()) };
        let Op::Bind(Bind { source, tree: Tree::Inside { mapped: Some(mapped), .. }, .. }) = &step.op else {
            return Ok(());
        };
        let named = |e: Error| e.within(step.op.frame());
        let tree = init.copy_fd(number).map_err(|fault| {
            let text = format!("{}: taking the tree to map its ids: {}", step.at, fault.call);
            named(Error::os(text, Errno::from_raw_os_error(fault.errno)).with_at(step.at))
        })?;
        let users = self.plan.users.get(mapped.users).map(idmapped::open_users).transpose().map_err(named)?;
        idmapped::map(&tree, source, step.at, *mapped, users.as_ref()).map_err(named)
    }

    fn move_devices(&mut self, container: &Container) -> Result<(), Error> {
        let transfer = self.network.insert(Transfer::open(container.pid())?);
        self.plan.net_devices.iter().try_for_each(|device| transfer.take(device))
    }

    fn runtime_hooks(&self, container: &Container) -> Result<(), Error> {
        let Some(hooks) = self.bundle.spec().hooks() else { return Ok(()) };
        let setting = container.hook_setting("creating", true);
        let run = |list, hooks: &Option<Vec<Hook>>| hooks::run(list, hooks.as_deref(), &setting);
        #[allow(deprecated)]
        run("prestart", hooks.prestart()).map_err(|e| e.within(FRAME))?;
        run("createRuntime", hooks.create_runtime()).map_err(|e| e.within(FRAME))
    }

    /// To whoever asked for it. Init is complete, and if this fails nobody has heard of it yet.
    fn hand_over_pidfd(&self, container: &Container) -> Result<(), Error> {
        let (Some(socket), Some(pidfd)) = (self.options.pidfd_socket, container.pidfd()) else { return Ok(()) };
        let sent = handover::send(socket, b"standard", pidfd, PATIENCE);
        sent.map_err(|e| Error::os("sending the pidfd to the pidfd socket", e).within(FRAME))
    }

    /// Makes the container known: first the state, by which it can be deleted; last the pid file, which callers wait for.
    fn announce(&self, container: &mut Container) -> Result<(), Error> {
        container.record_init(state::rfc3339(SystemTime::now()));
        if self.plan.rdt.as_ref().is_some_and(|rdt| rdt.shared) {
            container.own_rdt(false); // others may be in it from now on
        }
        container.dir().write_state(container.record())?;
        self.options.pid_file.map_or(Ok(()), |path| write_pid_file(path, container.pid()))
    }

    /// The channel is closed by a successful `execve`, but by init's death as well. Between `go` and there lies next to
    /// nothing, unless hooks run: then init says when it has come so far.
    fn wait_for_exec(&self, container: &Container, cgroup: &Cgroup, fds: &[OwnedFd]) -> Result<(), Error> {
        let announced = |step: &Step| matches!(step.op, Op::Exec { announced: true });
        let mut expected = self.plan.steps.iter().any(announced);
        loop {
            if self.agent.is_some() && !expected {
                // Of execve itself; hooks have their own time.
                container.init().map_or(Ok(()), agent::await_answers)?;
            }
            match container.next_event()? {
                Event::Failed(failure) => return Err(self.wording(fds).describe(&failure)),
                Event::Executes => expected = false,
                _ if expected => return Err(died(container, cgroup)),
                _ => return Ok(()),
            }
        }
    }
}

/// 0, 1 and 2 are replaced one after the other, so none of them may be a source: copies of those that are.
pub(crate) fn above_stdio(stdio: [Option<BorrowedFd<'_>>; 3]) -> Result<[Option<OwnedFd>; 3], Error> {
    let mut copies = [None, None, None];
    for (copy, fd) in copies.iter_mut().zip(stdio) {
        if let Some(fd) = fd.filter(|fd| fd.as_raw_fd() < 3) {
            let above = rustix::io::fcntl_dupfd_cloexec(fd, 3);
            *copy = Some(above.map_err(|e| Error::os("duplicating stdio", e))?);
        }
    }
    Ok(copies)
}

/// The copies, and what needs none.
pub(crate) fn lent<'a>(
    copies: &'a [Option<OwnedFd>; 3],
    stdio: [Option<BorrowedFd<'a>>; 3],
) -> [Option<BorrowedFd<'a>>; 3] {
    let [input, output, errors] = copies.each_ref().map(|copy| copy.as_ref().map(AsFd::as_fd));
    let [given_input, given_output, given_errors] = stdio;
    [input.or(given_input), output.or(given_output), errors.or(given_errors)]
}

/// Init is dead without a word.
fn died(container: &Container, cgroup: &Cgroup) -> Error {
    if cgroup.oom_kills() > 0 {
        let text = "container init was OOM-killed (memory limit too low?)";
        return Error::new(Kind::Os, text).with_at(At::field("linux.resources.memory.limit")).within(FRAME);
    }
    let how = match container.wait() {
        // Linux 6.18 compares the count of kills of the cgroup where a process is born with that of its parent's.
        Ok(status) if status == 128 + libc::SIGKILL && cgroup.clone_fd().is_some() => format!(
            "init ended without a word: status {status} (some kernels kill init where cgroup.kill was ever written, in the \
            container's cgroup or in the caller's: another cgroup helps)"
        ),
        Ok(status) => format!("init ended without a word: status {status}"),
        Err(error) => format!("init ended without a word: {error}"),
    };
    Error::new(Kind::Os, how).within(FRAME)
}

/// What usually is behind a clone that fails.
pub(crate) fn clone_hint(fault: &Fault) -> &'static str {
    match (fault.call, fault.errno) {
        ("clone3", libc::EACCES) => {
            " (the cgroup may not be entered: cgroup.procs of the nearest one above it and the caller's is not the caller's to write)"
        }
        ("clone3" | "clone", libc::ENOSPC | libc::EUSERS) => " (a limit in /proc/sys/user/max_*_namespaces is reached)",
        ("clone3" | "clone", libc::EINVAL) => " (a kind of namespace that isn't enabled in the kernel)",
        ("clone3" | "clone", libc::EPERM) => {
            " (namespaces need CAP_SYS_ADMIN or a user namespace, which kernel.unprivileged_userns_clone or \
             kernel.apparmor_restrict_unprivileged_userns may forbid to ordinary users)"
        }
        _ => "",
    }
}

fn cgroup_error(error: &CgroupError) -> Error {
    of_cgroup(error).within(FRAME)
}

fn of_cgroup(error: &CgroupError) -> Error {
    let wrapped = Error::new(Kind::Os, error.to_string()).with_at(error.at.unwrap_or(At::field("linux.cgroupsPath")));
    if error.errno == 0 { wrapped } else { wrapped.with_errno(error.errno) }
}

/// As `.NAME` beside it and by rename: a reader never sees half a number.
pub(crate) fn write_pid_file(path: &Path, pid: u32) -> Result<(), Error> {
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    let temp = path.with_file_name(hidden);
    let _ = std::fs::remove_file(&temp); // of an earlier run that was killed
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temp)
        .and_then(|mut file| std::io::Write::write_all(&mut file, pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temp, path))
        .map_err(|e| Error::os(format_args!("writing pid file {}", path.display()), e))
}
