//! Processes: the clone, the child's loop over the plan, and the words that parent and child exchange.
//!
//! One of the two rooms that may hold `unsafe`. **The child's contract**, because a caller may have many threads and any
//! of them may hold any lock at the moment of the clone: (1) no allocation or free; (2) no lock, no std I/O, no
//! environment, no formatting, no panic; (3) only `sys` and rustix calls, with data from the plan or the stack; (4) it
//! leaves by `execve` or `_exit`; (5) descriptors beyond stdio are close-on-exec from birth.
//!
//! The protocol, over one `SOCK_SEQPACKET` pair: the child sends reports (`report.rs`), the parent answers single bytes.
//! | child | parent |
//! |---|---|
//! | `Gate`, reads at `Gate(Cgroup)`, its first step | has systemd make the cgroup with it inside, GO |
//! | `Pid` (after `Op::Fork`), init reads | takes init's pid, GO, reaps the intermediate |
//! | reads at `Gate(Map)` | writes the id maps, GO |
//! | `Gate`, reads at `Gate(Network)` | moves network devices, GO |
//! | `Gate`, reads at `Gate(Hooks)` | runs prestart and createRuntime hooks, GO |
//! | `Listener`, reads | takes the seccomp listener of that number, hands it to the agent, GO |
//! | `Ready`, reads | writes state and pid file, GO |
//! | `Executes`, if startContainer hooks ran in `run` | takes the end of file for success |
//! | `Failed` | words the error with the step that it planned |
//!
//! The parent's death is the end of file in the child's read, upon which the child exits; before that the parent-death
//! signal holds. A successful `execve` closes the child's end: the parent reads the end of file.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions};

use crate::apply::{apply, die_with_parent};
use crate::fault::{Fault, Result, call};
use crate::plan::seccomp::Filter;
use crate::plan::{Bind, ContainerHook, Gate, Image, Op, Plan, Slot, Tree};
use crate::report::{
    Event, GATE_CGROUP, GATE_HOOKS, GATE_NETWORK, KIND_EXECUTES, KIND_FAILED, KIND_GATE, KIND_LISTENER, KIND_PID,
    KIND_READY, KIND_TREE, REPORT, decode, encode, number,
};
use crate::root::{Buffer, open_same_mount};
use crate::stage::Stage;
use crate::sys::{self, CloneArgs};
use crate::{ending, mounts, wait};

const GO: [u8; 1] = [b'g'];

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Everything that the clone needs.
pub(crate) struct Launch<'a> {
    pub plan: &'a Plan,
    /// The plan's needs, opened.
    pub fds: &'a [OwnedFd],
    /// What becomes 0, 1 and 2; `None` leaves the caller's. Numbers above 2.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// v2 directory to start in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The program's signal mask.
    pub signal_mask: u64,
}

/// The init process, seen from the parent.
#[derive(Debug)]
pub(crate) struct Init {
    pub pid: u32,
    pub pidfd: OwnedFd,
    channel: OwnedFd,
    /// False: the intermediate has not cloned init yet, or has failed before. Then its report is still to be read.
    pub is_init: bool,
}

/// Clones the child and returns at once, or, with an intermediate, when init's pid is known. An intermediate that stops
/// before that, for its cgroup, is waited for when the caller has let it go on: [`Init::follow_fork`].
pub(crate) fn spawn(launch: &Launch<'_>) -> Result<Init> {
    let (ours, theirs) = call(
        "socketpair",
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None),
    )?;
    let numbers: Vec<RawFd> = launch.fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut child = Child::prepare(launch, &numbers, theirs.as_raw_fd());
    let mut pidfd: RawFd = -1;
    let mut flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | launch.plan.spawn.flags;
    if launch.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let args = CloneArgs {
        flags,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        cgroup: launch.cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
        ..CloneArgs::default()
    };
    // A handler of the caller's must not run in the child before CLONE_CLEAR_SIGHAND's effect is all there is.
    let mask = call("rt_sigprocmask", sys::set_signal_mask(u64::MAX))?;
    let cloned = if launch.plan.spawn.old_clone {
        // SAFETY: as below.
        call("clone", unsafe { sys::clone(CLONE_PIDFD | launch.plan.spawn.flags | args.exit_signal, &mut pidfd) })
    } else {
        // SAFETY: the child enters `Child::main`, which keeps the contract at the head of this file and never returns.
        call("clone3", unsafe { sys::clone3(&args) })
    };
    if cloned == Ok(0) {
        child.main();
    }
    call("rt_sigprocmask", sys::set_signal_mask(mask)).map(drop)?;
    let pid = cloned?;
    drop(theirs);
    // SAFETY: the kernel has just stored the descriptor of the pidfd there, and it is nobody else's.
    let pidfd = unsafe { sys::own(pidfd) }.ok_or(Fault::new("clone3", Errno::BADF))?;
    let mut init = Init { pid, pidfd, channel: ours, is_init: true };
    if launch.plan.has_intermediate() {
        init.is_init = false;
        if launch.plan.cgroup.unit.is_none() {
            init.follow_fork().inspect_err(|_| init.end())?;
        }
    }
    Ok(init)
}

impl Init {
    /// The intermediate reports init's pid and exits. If it fails instead, its report is left to be read.
    ///
    /// # Errors
    /// Init cannot be held (EMFILE). It is ended: a zombie would keep the pid namespace that it has joined from ending.
    pub fn follow_fork(&mut self) -> Result<()> {
        let mut report = [0u8; REPORT];
        let len = receive(self.channel.as_fd(), &mut report, RecvFlags::PEEK)?;
        if report.first() != Some(&KIND_PID) || len == 0 {
            return Ok(());
        }
        receive(self.channel.as_fd(), &mut report, RecvFlags::empty())?;
        let pid = number(&report, 4);
        let pidfd = open_pidfd(pid).inspect_err(|_| end_child(pid))?;
        let intermediate = std::mem::replace(&mut self.pidfd, pidfd);
        self.pid = pid;
        self.is_init = true;
        self.go();
        call("waitid", wait::reap(intermediate.as_fd())).map(drop)
    }

    /// The child's next word.
    pub fn next(&self) -> Result<Event> {
        let mut report = [0u8; REPORT];
        let len = receive(self.channel.as_fd(), &mut report, RecvFlags::empty())?;
        Ok(decode(report.get(..len).unwrap_or(&[])))
    }

    /// Whether the child says something, or dies, within this time.
    pub fn speaks_within(&self, limit: Duration) -> Result<bool> {
        call("poll", wait::ends(self.channel.as_fd(), Some(limit)))
    }

    /// A copy of the child's descriptor: `pidfd_getfd(2)`, Linux 5.6. The child stands still meanwhile.
    pub fn copy_fd(&self, number: RawFd) -> Result<OwnedFd> {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        call("pidfd_getfd", rustix::process::pidfd_getfd(&self.pidfd, number, flags))
    }

    /// Kills and reaps it.
    pub fn end(&self) {
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait::reap(self.pidfd.as_fd());
    }

    /// Lets the child go on. A child that died meanwhile is found out by [`Init::next`].
    pub fn go(&self) {
        let _ = rustix::net::send(&self.channel, &GO, SendFlags::NOSIGNAL);
    }
}

/// Kills and reaps a child that cannot be held: until it is reaped its number is its own.
fn end_child(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let _ = sys::kill(pid, libc::SIGKILL);
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
}

fn open_pidfd(pid: u32) -> Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Fault::new("pidfd_open", Errno::SRCH))?;
    call("pidfd_open", rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()))
}

fn receive(channel: BorrowedFd<'_>, report: &mut [u8; REPORT], flags: RecvFlags) -> Result<usize> {
    loop {
        match rustix::net::recv(channel, &mut report[..], flags) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(0), // the child died with our GO unread
            result => return call("recvfrom", result).map(|(len, _)| len),
        }
    }
}

/// `argv` and `envp` of an image: pointers into the plan, made before the clone.
struct Pointers {
    argv: Vec<*const c_char>,
    /// One slot more than variables, for HOME, and the null at the end.
    env: Vec<*const c_char>,
}

impl Pointers {
    fn new(image: &Image) -> Self {
        let argv = image.argv.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
        let env = image.env.iter().map(|e| e.as_ptr()).chain([std::ptr::null(); 2]).collect();
        Pointers { argv, env }
    }
}

/// The child's whole world, prepared by the parent.
struct Child<'a> {
    plan: &'a Plan,
    stage: Stage<'a>,
    stdio: [RawFd; 3],
    channel: RawFd,
    /// The first number that is not the program's.
    first_own: u32,
    images: Vec<Pointers>,
    signal_mask: u64,
    /// Of the step that is being done.
    number: u32,
    /// The caller's umask.
    umask: Mode,
    /// Which candidate of the program's image was found.
    program: usize,
    home: Buffer,
    /// `/proc/self/fd` of the container's procfs.
    own_fds: Option<OwnedFd>,
    /// The exec FIFO, once `start` has opened it.
    fifo: Option<OwnedFd>,
}

impl<'a> Child<'a> {
    fn prepare(launch: &Launch<'a>, numbers: &'a [RawFd], channel: RawFd) -> Self {
        let stdio = launch.stdio.map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd()));
        Child {
            plan: launch.plan,
            stage: Stage::new(numbers, channel),
            stdio,
            channel,
            first_own: launch.plan.spawn.preserve_fds.saturating_add(3),
            images: launch.plan.images.iter().map(Pointers::new).collect(),
            signal_mask: launch.signal_mask,
            number: 0,
            umask: Mode::empty(),
            program: 0,
            home: Buffer::new(),
            own_fds: None,
            fifo: None,
        }
    }

    fn main(&mut self) -> ! {
        if let Err(fault) = self.prologue() {
            self.fail(u32::MAX, &fault);
        }
        let plan = self.plan;
        for (number, step) in (0u32..).zip(&plan.steps) {
            self.number = number;
            if let Err(fault) = self.stage.sweep_if_due(self.first_own).and_then(|()| self.step(&step.op)) {
                self.fail(number, &fault);
            }
        }
        sys::exit(255)
    }

    fn prologue(&mut self) -> Result<()> {
        for (number, fd) in (0..).zip(self.stdio) {
            if fd >= 0 {
                call("dup3", sys::dup_onto(sys::borrow(fd), number))?;
            }
        }
        // Descriptors of the caller that are not close-on-exec, and the parent's ends of other containers' channels.
        self.stage.sweep(self.first_own)?;
        if self.plan.spawn.old_clone {
            call("rt_sigaction", sys::clear_handlers())?; // all signals are blocked until then
        }
        call("rt_sigaction", sys::default_signal(libc::SIGPIPE))?;
        self.umask = rustix::process::umask(Mode::empty());
        self.lead()?;
        call("rt_sigprocmask", sys::set_signal_mask(self.signal_mask)).map(drop)
    }

    /// What every process that may be init does first.
    fn lead(&self) -> Result<()> {
        die_with_parent(true)?;
        let _ = rustix::process::setsid(); // EPERM: we lead one already
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Fork { flags, cgroup } => self.fork(*flags, *cgroup),
            Op::Gate(Gate::Map) => self.wait_for_go(),
            Op::Gate(Gate::Cgroup) => self.wait_at(GATE_CGROUP),
            Op::Gate(Gate::Network) => self.wait_at(GATE_NETWORK),
            Op::Gate(Gate::Hooks) => self.wait_at(GATE_HOOKS),
            Op::Hook(hook) => self.hook(hook),
            Op::Bind(bind @ Bind { tree: Tree::Inside { mapped: Some(_), .. }, .. }) => self.bind_mapped(bind),
            Op::ArmStart => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let dir = open_same_mount(self.stage.proc()?, c"thread-self/fd", flags)?;
                self.stage.hold(sys::borrow(dir.as_raw_fd()));
                self.own_fds = Some(dir);
                end_when_told()
            }
            Op::FindProgram => {
                if self.own_fds.is_some() {
                    // A created container may wait for years: it keeps nothing that it does not need.
                    self.stage.let_go();
                    // A seccomp profile may refuse close_range: everything is close-on-exec all the same.
                    let _ = self.stage.sweep(self.first_own);
                }
                self.find_program()?;
                // The last call before `Ready` that may take its time is behind us.
                die_with_parent(false)
            }
            Op::Seccomp(filter) if filter.notifies() => self.seccomp_with_listener(filter),
            Op::Ready => {
                self.report(KIND_READY, 0);
                self.wait_for_go()
            }
            Op::AwaitStart(slot) => self.await_start(*slot),
            Op::CloseFrom(from) => {
                self.close_all_but_the_reports(*from);
                Ok(())
            }
            Op::Exec { announced } => {
                if *announced {
                    self.report(KIND_EXECUTES, 0);
                }
                Err(self.exec())
            }
            op => apply(&mut self.stage, op),
        }
    }

    /// `MOUNT_ATTR_IDMAP` asks for more privilege than init may have, and for a user namespace that only the parent has open.
    fn bind_mapped(&mut self, bind: &Bind) -> Result<()> {
        let tree = mounts::open_tree(&mut self.stage, &bind.tree)?;
        self.say(&encode(KIND_TREE, self.number, &Fault { errno: tree.as_raw_fd(), ..Fault::plain(b"") }));
        self.wait_for_go()?;
        mounts::bind_tree(&mut self.stage, bind, tree)
    }

    /// A child that cannot speak, because the parent is gone or a seccomp profile refuses `write`, ends: the parent would
    /// wait for its word, and it for the parent's.
    fn say(&self, report: &[u8; REPORT]) {
        if rustix::io::write(sys::borrow(self.channel), report).is_err() {
            sys::exit(1);
        }
    }

    fn report(&self, kind: u8, number: u32) {
        self.say(&encode(kind, number, &Fault::plain(b"")));
    }

    /// From the load on the agent may be asked about any call but `write`, so the number of the listener goes out by one.
    /// The next call returns once the agent has the listener. Ours is closed then: as long as a copy is open somewhere,
    /// nobody is told that an agent has died.
    fn seccomp_with_listener(&self, filter: &Filter) -> Result<()> {
        let number = call("seccomp", sys::seccomp(&filter.program, filter.flags))?;
        self.report(KIND_LISTENER, number.unsigned_abs());
        self.wait_for_go()?;
        // SAFETY: the kernel has just made it for us.
        drop(unsafe { sys::own(number) });
        Ok(())
    }

    fn wait_at(&self, gate: u32) -> Result<()> {
        self.report(KIND_GATE, gate);
        self.wait_for_go()
    }

    fn wait_for_go(&self) -> Result<()> {
        let mut byte = [0u8; 1];
        loop {
            match rustix::io::read(sys::borrow(self.channel), &mut byte) {
                Err(Errno::INTR) => {}
                Ok(1) => return Ok(()),
                _ => sys::exit(1), // the parent is gone, and so is the wish for a container
            }
        }
    }

    fn fail(&mut self, step: u32, fault: &Fault) -> ! {
        let report = encode(KIND_FAILED, step, fault);
        match &self.fifo {
            None => drop(rustix::io::write(sys::borrow(self.channel), &report)),
            Some(fifo) if is_read(fifo.as_fd()) => drop(rustix::io::write(fifo, &report)),
            Some(_) => complain(fault),
        }
        // 255 is what callers see of a program that could not be executed after `start`.
        sys::exit(if self.fifo.is_some() { 255 } else { 1 })
    }

    /// Clones init; this process, the intermediate, reports its pid and ends.
    fn fork(&mut self, flags: u64, cgroup: Option<Slot>) -> Result<()> {
        // CLONE_PARENT: init is a child of the runtime. It takes the exit signal of this process, so none is given.
        let mut args = CloneArgs { flags: flags | CLONE_PARENT, ..CloneArgs::default() };
        if let Some(slot) = cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = u64::from(self.stage.take(slot).as_raw_fd().unsigned_abs());
        }
        let cloned = if self.plan.spawn.old_clone {
            // SAFETY: as below.
            call("clone", unsafe { sys::clone(args.flags, &mut -1) })
        } else {
            // SAFETY: still in the child: parent and child go on under the same contract.
            call("clone3", unsafe { sys::clone3(&args) })
        };
        match cloned? {
            0 => {
                self.lead()?;
                // Faster than the intermediate, init would be taken for it: its first word has to come second.
                self.wait_for_go()?;
                // It may be in sight of the container's processes from here on: what the intermediate has used goes.
                self.stage.sweep(self.first_own)
            }
            pid => {
                self.report(KIND_PID, pid);
                sys::exit(0)
            }
        }
    }

    fn find_program(&mut self) -> Result<()> {
        let Some(image) = self.plan.images.last() else { return Err(Fault::new("execve", Errno::NOENT)) };
        if let Some(uid) = image.home_of {
            crate::home::find(uid, &mut self.home)?;
        }
        let by_path = image.argv.first().is_some_and(|name| name.to_bytes().contains(&b'/'));
        let mut missing = Fault::new("stat", Errno::NOENT);
        for (number, path) in image.candidates.iter().enumerate() {
            match executable(path) {
                Ok(()) => {
                    self.program = number;
                    return Ok(());
                }
                // A name that is looked up in PATH is simply not found, whatever the reason for each directory.
                Err(fault) if by_path => missing = fault,
                Err(_) => {}
            }
        }
        Err(missing)
    }

    fn await_start(&mut self, slot: Slot) -> Result<()> {
        let mut name = Buffer::new();
        name.push_number(self.stage.fd(slot).unsigned_abs())?;
        let dir = self.own_fds.as_ref().ok_or(Fault::new("openat", Errno::BADF))?;
        let fifo = loop {
            match rustix::fs::openat(dir, name.as_cstr(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::INTR) => {}
                result => break call("openat", result)?,
            }
        };
        call("write", rustix::io::write(&fifo, b"0"))?;
        self.stage.hold(sys::borrow(fifo.as_raw_fd()));
        self.fifo = Some(fifo);
        Ok(())
    }

    /// For real, and not only on `execve`: nothing may be reachable through `/proc/self/fd` while the kernel resolves the
    /// program and its interpreter (CVE-2024-21626). What stays is a socket or FIFO that is close-on-exec. A seccomp
    /// profile may refuse `close_range`: everything is close-on-exec from birth.
    fn close_all_but_the_reports(&mut self, from: u32) {
        let reports = self.fifo.as_ref().map_or(self.channel, AsRawFd::as_raw_fd);
        self.stage.hold_only(reports);
        let _ = self.stage.sweep(from);
    }

    fn exec(&mut self) -> Fault {
        let last = self.images.len().saturating_sub(1);
        self.exec_image(last, self.program)
    }

    fn exec_image(&mut self, number: usize, candidate: usize) -> Fault {
        let missing = Fault::new("execve", Errno::NOENT);
        let Some(image) = self.plan.images.get(number) else { return missing };
        let Some(path) = image.candidates.get(candidate) else { return missing };
        let Some(pointers) = self.images.get_mut(number) else { return missing };
        if image.home_of.is_some()
            && let Some(slot) = pointers.env.get_mut(image.env.len())
        {
            *slot = self.home.as_cstr().as_ptr();
        }
        // SAFETY: `Pointers::new` ends both with null, and they point into the plan and `self.home`, which live.
        let errno = unsafe { sys::execve(path, &pointers.argv, &pointers.env) };
        Fault::new("execve", errno).with_note(path.to_bytes())
    }

    /// Runs a hook inside the container. stdin, stdout and stderr are memfds: nothing blocks, nothing is to be drained.
    fn hook(&mut self, hook: &ContainerHook) -> Result<()> {
        let [input, output, errors] = hook.stdio.map(|slot| self.stage.fd(slot));
        let mut pid = Buffer::new();
        pid.push_number(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs())?;
        let [head, tail] = &hook.state;
        for part in [head.as_slice(), pid.as_bytes(), tail.as_slice()] {
            call("write", rustix::io::write(sys::borrow(input), part))?;
        }
        call("lseek", rustix::fs::seek(sys::borrow(input), rustix::fs::SeekFrom::Start(0)))?;
        let mut pidfd: RawFd = -1;
        // SAFETY: still in the child: the hook's process goes on under the same contract until its `execve`.
        if call("clone", unsafe { sys::fork(&mut pidfd) })? == 0 {
            self.become_hook(hook, [input, output, errors]);
        }
        // SAFETY: as in `spawn`.
        let pidfd = unsafe { sys::own(pidfd) }.ok_or(Fault::new("clone", Errno::BADF))?;
        let ended = wait_for_hook(pidfd.as_fd(), hook.timeout)?;
        match hook_failure(ended, hook)? {
            None => Ok(()),
            Some(text) => Err(Fault::plain(text.as_bytes())),
        }
    }

    fn become_hook(&mut self, hook: &ContainerHook, stdio: [RawFd; 3]) -> ! {
        for (number, fd) in (0..).zip(stdio) {
            let _ = sys::dup_onto(sys::borrow(fd), number);
        }
        if hook.list == "createContainer" {
            let _ = self.stage.enter_rootfs(); // runc's cwd for it; the path of the hook is still the host's
            rustix::process::umask(self.umask); // the container's comes later
        }
        let _ = sys::close_range(3, u32::MAX);
        // Without a pid namespace of its own the hook would outlive an init that is killed.
        let _ = sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.unsigned_abs().into(), 0);
        complain(&self.exec_image(hook.image, 0));
        sys::exit(127)
    }
}

/// To the first process of a pid namespace the kernel delivers only signals that have a handler (pid_namespaces(7)), and a
/// container that waits for `start` has nobody who could give them one: those that ask it to end do end it, as they would
/// any other process. `execve` takes the handlers away. Installed while no filter can refuse that.
fn end_when_told() -> Result<()> {
    if rustix::process::getpid() != Pid::INIT {
        return Ok(());
    }
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]
        .into_iter()
        .try_for_each(|signal| call("rt_sigaction", sys::exit_upon(signal)))
}

/// Whether somebody has the other end of the FIFO open: writing to one without a reader would kill us with SIGPIPE.
fn is_read(fifo: BorrowedFd<'_>) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(fifo, PollFlags::OUT)];
    let _ = rustix::event::poll(&mut poll, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    poll.iter().all(|p| !p.revents().contains(PollFlags::ERR))
}

/// The last resort, on the container's own stderr, in runc's words: `exec /x: exec format error`.
fn complain(fault: &Fault) {
    let mut text = Buffer::new();
    let parts: [&[u8]; 4] = match fault.call {
        "execve" => [b"exec ", fault.note.as_bytes(), b": ", errno_text(fault.errno)],
        "" => [b"error running ", fault.note.as_bytes(), b"", b""],
        name => [name.as_bytes(), b": ", errno_text(fault.errno), b""],
    };
    for part in parts.into_iter().chain([b"\n".as_slice()]) {
        let _ = text.push(part);
    }
    let _ = rustix::io::write(sys::borrow(2), text.as_bytes());
}

/// What `execve(2)` fails with; formatting any errno would take libc's locale and its locks.
fn errno_text(errno: i32) -> &'static [u8] {
    match errno {
        libc::ENOENT => b"no such file or directory",
        libc::ENOEXEC => b"exec format error",
        libc::EACCES => b"permission denied",
        libc::EPERM => b"operation not permitted",
        libc::ENOMEM => b"cannot allocate memory",
        libc::E2BIG => b"argument list too long",
        libc::ETXTBSY => b"text file busy",
        libc::ELOOP => b"too many levels of symbolic links",
        libc::EIO => b"input/output error",
        _ => b"cannot be executed",
    }
}

fn executable(path: &CStr) -> Result<()> {
    let stat = call("stat", rustix::fs::stat(path))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(Fault::new("stat", Errno::ISDIR));
    }
    let access = rustix::fs::Access::EXEC_OK;
    match rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS) {
        // A seccomp profile that is older than the call (Linux 5.8): go by the mode, and let execve judge.
        Err(Errno::PERM | Errno::NOSYS) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::PERM | Errno::NOSYS) => Err(Fault::new("faccessat2", Errno::ACCESS)),
        result => call("faccessat2", result),
    }
}

/// How a hook ended: its status, or `None` for running past its time.
fn wait_for_hook(pidfd: BorrowedFd<'_>, timeout: Option<u32>) -> Result<Option<WaitIdStatus>> {
    let limit = timeout.map(|s| Timespec { tv_sec: s.into(), tv_nsec: 0 });
    let mut poll = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let late = call("poll", rustix::event::poll(&mut poll, limit.as_ref()))? == 0;
    if late {
        let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    }
    let status = call("waitid", rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))?;
    Ok(status.filter(|_| !late))
}

/// `startContainer hook #0: exit status 1`, or nothing if it went well.
fn hook_failure(ended: Option<WaitIdStatus>, hook: &ContainerHook) -> Result<Option<Buffer>> {
    if ended.as_ref().and_then(WaitIdStatus::exit_status) == Some(0) {
        return Ok(None);
    }
    let mut text = Buffer::new();
    text.push(hook.list.as_bytes())?;
    text.push(b" hook #")?;
    text.push_number(u32::try_from(hook.index).unwrap_or(0))?;
    text.push(b": ")?;
    match ended {
        None => {
            text.push(b"hook ran past specified timeout of ")?;
            text.push_number(hook.timeout.unwrap_or(0))?;
            text.push(b".0s")?;
        }
        Some(status) => push_ending(&mut text, &status)?,
    }
    Ok(Some(text))
}

/// As `ending::describe`, without heap.
fn push_ending(text: &mut Buffer, status: &WaitIdStatus) -> Result<()> {
    if let Some(code) = status.exit_status() {
        text.push(b"exit status ")?;
        return text.push_number(code.unsigned_abs());
    }
    let number = status.terminating_signal().unwrap_or(0);
    text.push(b"signal: ")?;
    match ending::signal(number) {
        Some(name) => text.push(name.as_bytes())?,
        None => {
            text.push(b"signal ")?;
            text.push_number(number.unsigned_abs())?;
        }
    }
    if status.dumped() { text.push(ending::DUMPED.as_bytes()) } else { Ok(()) }
}
