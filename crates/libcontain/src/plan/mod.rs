//! The plan: what will be done for a container, decided before anything is done.
//!
//! `plan(&Request, &Spec, &Host)` is pure: no system call, no file, no clock, so that it is tested and fuzzed without
//! privilege and printed as a dry run (`cntr plan`). All defaults, orders and fallbacks are decided here; `apply.rs`
//! executes the steps and decides nothing. The order of the steps stands in one place, `Planner::order`, each with
//! the reason for its neighbours. Nothing of `std::fs`, `std::env`, `std::process`, `sys` or `spawn` may enter.

pub(crate) mod annotations;
mod apart;
mod bind;
pub mod cgroup;
mod clone;
pub mod devices;
mod exec;
pub mod idmap;
mod idmapped;
pub(crate) mod libc_flag;
pub(crate) mod mount_label;
pub mod mount_options;
mod namespaces;
mod netdev;
mod no_pivot;
mod op;
pub mod process;
mod program;
pub mod rdt;
mod remount;
mod rootfs;
pub mod seccomp;
mod show;
mod sockets;
pub mod systemd;
pub mod tuning;
mod unit;

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{Hook, Process, Spec};

pub use self::clone::{IdMap, JoinedMaps, Maps, Spawn};
pub use self::op::{
    Bind, CgroupV1, Console, ContainerHook, Detached, Device, Filesystem, Gate, Hierarchy, HierarchyContent, Image,
    Mapped, Mountpoint, Need, NetDevice, Op, Open, Remount, Slot, Step, Tasks, Terminal, Tree, Users, UsersFrom,
};
use crate::error::{At, Level, Problem};
use crate::host::Host;
use crate::kernel::Call;

pub(crate) use self::exec::{Join, exec, later_part};
pub(crate) use self::libc_flag::{NEWNS, NEWTIME, NEWUSER};
pub(crate) use self::namespaces::file as namespace_file;
pub(crate) use self::namespaces::kinds as namespace_kinds;
pub(crate) use self::show::namespaces as namespace_names;
pub(crate) use self::sockets::NOTIFY_SOCKET;

/// An option of prctl(2).
const PR_SET_DUMPABLE: u64 = 4;

/// What is asked for besides the config.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Container id.
    pub id: &'a str,
    /// Absolute bundle directory.
    pub bundle: &'a Path,
    /// `MS_MOVE`-style root and `chroot(2)` in place of `pivot_root(2)`: the root file system is a ramdisk.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on are sockets of sd_listen_fds(3), which the program inherits and is told about.
    pub listen_fds: u32,
    /// Their names, separated by colons.
    pub listen_fd_names: Option<&'a str>,
    /// How many descriptors after those the program inherits.
    pub preserve_fds: u32,
    /// Host directory in which there is or will be a socket for sd_notify(3).
    pub notify_dir: Option<&'a Path>,
    /// There is a socket that the terminal's master end can be sent over, and this is asked of the terminal.
    pub console: Option<Terminal>,
    /// Whether init waits on the exec FIFO for `start`, or goes on at once (`run`).
    pub wait_for_start: bool,
}

/// Everything that will be done for one container.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// User namespaces whose maps some of the needs take.
    pub users: Vec<Users>,
    /// Descriptors that the parent opens first.
    pub needs: Vec<Need>,
    /// The host's mounts are copied with their flags locked: a user namespace gets them that is not the runtime's.
    pub locks_trees: bool,
    /// How init is cloned.
    pub spawn: Spawn,
    /// What init does, in order.
    pub steps: Vec<Step>,
    /// Programs that init runs: hooks, and last the container's own.
    pub images: Vec<Image>,
    /// The cgroup and its limits.
    pub cgroup: cgroup::Plan,
    /// Network devices that the parent moves at [`Gate::Network`].
    pub net_devices: Vec<NetDevice>,
    /// The class of service of cache and memory bandwidth.
    pub rdt: Option<rdt::Rdt>,
    /// Who gets the listener of the seccomp filter, if it has one.
    pub seccomp_agent: Option<seccomp::Agent>,
    /// What the caller should be told although the container can be made.
    pub warnings: Vec<Problem>,
}

/// Plans a container, or says every reason why it cannot be made.
///
/// # Errors
/// All problems of level [`Level::Error`], in the order of the plan, with the warnings among them.
pub fn plan(request: &Request<'_>, spec: &Spec, host: &Host) -> Result<Plan, Vec<Problem>> {
    let mut planner = Planner::new(request, spec, host);
    planner.order();
    planner.rdt();
    planner.finish()
}

/// A plan in the making.
struct Planner<'a> {
    request: &'a Request<'a>,
    spec: &'a Spec,
    host: &'a Host,
    ns: namespaces::Wanted,
    users: Vec<Users>,
    needs: Vec<Need>,
    spawn: Spawn,
    steps: Vec<Step>,
    images: Vec<Image>,
    cgroup: cgroup::Plan,
    /// Others are in the container already.
    joins: bool,
    /// The mount namespace in which the root is built is left in the end.
    apart: bool,
    net_devices: Vec<NetDevice>,
    rdt: Option<rdt::Rdt>,
    seccomp_agent: Option<seccomp::Agent>,
    problems: Vec<Problem>,
}

impl<'a> Planner<'a> {
    fn new(request: &'a Request<'a>, spec: &'a Spec, host: &'a Host) -> Self {
        let mut problems = Vec::new();
        let cgroup = cgroup::plan(request.id, spec, host, &mut problems);
        let ns = namespaces::Wanted::from(spec);
        let apart = apart::is_wanted(spec, &ns);
        let ns = if apart { ns.with_new(libc_flag::NEWNS) } else { ns };
        Planner { problems, apart, ..Planner::with(request, spec, host, ns, cgroup) }
    }

    fn with(
        request: &'a Request<'a>,
        spec: &'a Spec,
        host: &'a Host,
        ns: namespaces::Wanted,
        cgroup: cgroup::Plan,
    ) -> Self {
        let preserve_fds = request.listen_fds.saturating_add(request.preserve_fds);
        let old_clone = host.missing.has(Call::Clone3);
        let spawn = Spawn { preserve_fds, old_clone, ..Spawn::default() };
        Planner {
            request,
            spec,
            host,
            ns,
            spawn,
            cgroup,
            joins: false,
            apart: false,
            problems: vec![],
            users: vec![],
            needs: vec![],
            steps: vec![],
            images: vec![],
            net_devices: vec![],
            rdt: None,
            seccomp_agent: None,
        }
    }

    /// The one place where the order is decided (runc's, contract section 5.3). Each line says why it stands there.
    fn order(&mut self) {
        self.kernel();
        self.unit(); //             systemd takes a process that exists; what comes of it has the same cgroup
        self.oom_score(); //        needs the host's /proc; and the runtime's privilege, if any
        self.time_offsets(); //     needs the host's /proc as well
        self.namespaces(); //       joins and maps first: all later privilege is relative to them
        let join_early = self.ns.is_new(libc_flag::NEWCGROUP);
        if join_early {
            self.join_cgroup(); //  the cgroup namespace is rooted where the process is when it is made
        }
        self.keyring(); //          before anything could use the caller's keys
        self.loopback();
        self.net_devices(); //      every hook finds them
        self.borrow_proc(); //      while "/proc" is the runtime's
        self.rootfs(); //           propagation, root, mounts in the config's order, devices
        if !join_early {
            self.join_cgroup(); //  as late as the hooks allow: what was set up is not charged to the container
        }
        // A taskset on the runtime is none on the container. In its cgroup, whose cpuset then decides on any kernel (since
        // Linux 6.2 a task keeps what it has asked for when it changes its cpuset).
        self.step(At::field("process"), Op::AllCpus);
        self.hooks_before_pivot(); // createRuntime in the runtime's namespaces, createContainer in the container's
        if self.request.wait_for_start {
            // A procfs of our own can be had only while the runtime's is in sight (user namespaces).
            self.step(At::field("process"), Op::ArmStart);
        } else if self.needs_own_proc() {
            self.step(At::field("mounts"), Op::OpenProc);
        }
        self.enter_root(); //       pivot; from here no path can mean the host
        self.host_name();
        self.apparmor();
        self.sysctls(); //          before /proc/sys becomes read-only
        self.readonly_paths(); //   before the masks: a mask below a read-only path stays visible as a mask
        self.masked_paths();
        self.leave_mount_namespace(); // nothing is mounted any more; takes privilege
        self.credentials(); //      privilege goes last; see there for seccomp's place
        self.wait_and_exec();
    }

    fn finish(self) -> Result<Plan, Vec<Problem>> {
        if self.problems.iter().any(|p| p.level == Level::Error) {
            return Err(self.problems);
        }
        let locks_trees = self.ns.has(libc_flag::NEWUSER) && self.needs.iter().any(|need| need.what.is_tree());
        Ok(Plan {
            locks_trees,
            users: self.users,
            needs: self.needs,
            spawn: self.spawn,
            steps: self.steps,
            images: self.images,
            cgroup: self.cgroup,
            net_devices: self.net_devices,
            rdt: self.rdt,
            seccomp_agent: self.seccomp_agent,
            warnings: self.problems,
        })
    }

    fn step(&mut self, at: At, op: Op) {
        self.steps.push(Step { at, op });
    }

    fn need(&mut self, at: At, what: Open) -> Slot {
        self.needs.push(Need { at, what });
        Slot(self.needs.len() - 1)
    }

    fn problem(&mut self, at: At, clause: &'static str, text: impl Into<String>) {
        self.problems.push(Problem::error(at, clause, text));
    }

    /// Text on its way to a system call. A NUL inside would silently cut it.
    fn text(&mut self, at: At, text: impl Into<Vec<u8>>) -> CString {
        CString::new(text).unwrap_or_else(|_| {
            self.problem(at, "", "contains nul byte (\\x00)");
            CString::default()
        })
    }

    fn process(&self) -> Option<&'a Process> {
        self.spec.process().as_ref()
    }

    /// What every container needs. clone3(2) can be done without.
    fn kernel(&mut self) {
        let needed = Call::all().filter(|call| !matches!(call, Call::Clone3 | Call::PidfdGetfd));
        self.needs_calls(At::field("linux"), needed);
    }

    /// What is missing is named, all of it in one sentence.
    fn needs_calls(&mut self, at: At, calls: impl IntoIterator<Item = Call>) {
        let missing = calls.into_iter().filter(|call| self.host.missing.has(*call));
        let lacks = missing.map(|call| call.to_string()).collect::<Vec<_>>().join("; ");
        if !lacks.is_empty() {
            self.problem(at, "", format!("this kernel or its seccomp filter lacks {lacks}"));
        }
    }

    fn oom_score(&mut self) {
        let Some(score) = self.process().and_then(Process::oom_score_adj) else { return };
        if self.ns.is_new(libc_flag::NEWUSER) {
            self.spawn.oom_score = Some(score.to_string());
            return;
        }
        let at = At::field("process.oomScoreAdj");
        let text = self.text(at, score.to_string());
        self.step(at, Op::OomScore(text));
    }

    fn join_cgroup(&mut self) {
        let at = At::field("linux.cgroupsPath");
        // On v2 init was born in its cgroup. From a unit's others are not far, and the parent has seen to them.
        let by_itself =
            |(_, dir): &(usize, &cgroup::Dir)| self.cgroup.unit.is_none() && (!dir.v2 || self.spawn.old_clone);
        let joined: Vec<usize> = self.cgroup.dirs.iter().enumerate().filter(by_itself).map(|(i, _)| i).collect();
        if !joined.is_empty() {
            let tasks = joined.into_iter().map(|i| self.tasks(at, i)).collect();
            let tolerate = self.cgroup.tolerate_failure;
            self.step(at, Op::JoinCgroup { tasks, tolerate });
        }
        if self.ns.is_new(libc_flag::NEWCGROUP) {
            self.step(self.ns.at(libc_flag::NEWCGROUP), Op::Unshare(libc_flag::NEWCGROUP));
        }
    }

    fn tasks(&mut self, at: At, index: usize) -> Tasks {
        if self.opens_in_parent() {
            return Tasks::Slot(self.need(at, Open::CgroupTasks(index)));
        }
        let file = self.cgroup.dirs.get(index).map_or_else(String::new, cgroup::Dir::members);
        Tasks::Path(self.text(at, file))
    }

    /// Whether the parent opens host paths for init. Only if init is less than the parent is: in a user namespace it may
    /// neither pass directories nor write files that belong to the host's root; and for a shared root, because copies are to
    /// be peers of the host's mounts. Not where the parent may not copy mounts itself: root of a user namespace that was
    /// made without a mount namespace (`unshare -Ur`). Otherwise init opens them, which costs no descriptor in the parent.
    fn opens_in_parent(&self) -> bool {
        let shared = self.root_propagation() & libc_flag::MS_SHARED != 0;
        (self.ns.has(libc_flag::NEWUSER) || shared) && self.host.may_copy_mounts()
    }

    fn keyring(&mut self) {
        if !self.request.no_new_keyring {
            if let Some(label) = self.selinux_label() {
                self.step(At::field("process.selinuxLabel"), Op::KeyLabel(label));
            }
            let at = At::field("process");
            let name = self.text(at, format!("_ses.{}", self.request.id));
            // Search by the user; in a user namespace the key's owner is somebody else's id, so by others as well.
            let search = if self.ns.has(libc_flag::NEWUSER) { 0x8_0008 } else { 0x8_0000 };
            self.step(at, Op::Keyring(name, search));
        }
    }

    fn loopback(&mut self) {
        if self.ns.is_new(libc_flag::NEWNET) {
            self.step(self.ns.at(libc_flag::NEWNET), Op::LoopbackUp);
        }
    }

    /// procfs shows one pid namespace, to whom has power over it: nobody in a user namespace of his own has over one that
    /// is not. A mount namespace that is joined may have anything at /proc.
    fn borrow_proc(&mut self) {
        let own_user = self.ns.has(libc_flag::NEWUSER) || self.host.user_namespace;
        if own_user && !self.ns.is_new(libc_flag::NEWPID) && !self.ns.is_joined(libc_flag::NEWNS) {
            self.step(At::field("process"), Op::BorrowProc);
        }
    }

    #[allow(deprecated)] // prestart: still what NVIDIA's and Docker's hooks use
    fn has_runtime_hooks(&self) -> bool {
        self.spec.hooks().as_ref().is_some_and(|hooks| any(hooks.prestart()) || any(hooks.create_runtime()))
    }

    fn has_hooks_before_pivot(&self) -> bool {
        self.has_runtime_hooks() || self.spec.hooks().as_ref().is_some_and(|hooks| any(hooks.create_container()))
    }

    fn hooks_before_pivot(&mut self) {
        let Some(hooks) = self.spec.hooks() else { return };
        if self.has_runtime_hooks() {
            self.step(At::field("hooks.createRuntime"), Op::Gate(Gate::Hooks));
        }
        for (i, hook) in hooks.create_container().iter().flatten().enumerate() {
            let at = At::item("hooks.createContainer[#]", i);
            self.container_hook(at, "createContainer", i, hook, "creating", None);
        }
    }

    fn container_hook(
        &mut self,
        at: At,
        list: &'static str,
        index: usize,
        hook: &Hook,
        status: &str,
        fallback: Option<&Image>,
    ) {
        let path = self.text(at, hook.path().as_os_str().as_encoded_bytes());
        let argv = match hook.args() {
            Some(args) if !args.is_empty() => args.iter().map(|a| self.text(at, a.as_str())).collect(),
            _ => vec![path.clone()],
        };
        let own: Vec<CString> = hook.env().iter().flatten().map(|e| self.text(at, e.as_str())).collect();
        // De facto: a startContainer hook without variables of its own sees the container's.
        let (env, home_of) = match fallback {
            Some(image) if own.is_empty() => (image.env.clone(), image.home_of),
            _ => (own, None),
        };
        self.images.push(Image { candidates: vec![path], argv, env, home_of });
        let image = self.images.len() - 1;
        let input = self.need(at, Open::Memfd);
        let [output, errors] = annotations::hook_output(self.spec, self.request.bundle).map(|path| match path {
            Some(path) => {
                let path = self.text(At::field("annotations"), path.into_os_string().into_encoded_bytes());
                self.need(At::field("annotations"), Open::HookOutput(path))
            }
            None => self.need(at, Open::Memfd),
        });
        let stdio = [input, output, errors];
        let timeout = hook.timeout().and_then(|t| u32::try_from(t).ok());
        let state = crate::hook_state::around_pid(self.request, self.spec, status);
        self.step(at, Op::Hook(ContainerHook { image, list, index, timeout, state, stdio }));
    }

    fn host_name(&mut self) {
        if let Some(name) = self.spec.hostname().as_deref().filter(|n| !n.is_empty()) {
            let at = At::field("hostname");
            let name = self.text(at, name);
            self.step(at, Op::Hostname(name));
        }
        if let Some(name) = self.spec.domainname().as_deref().filter(|n| !n.is_empty()) {
            let at = At::field("domainname");
            let name = self.text(at, name);
            self.step(at, Op::Domainname(name));
        }
    }

    /// Whether something is written through procfs later on, and no mount of the config serves for that.
    fn needs_own_proc(&self) -> bool {
        let sysctls = self.spec.linux().as_ref().and_then(|l| l.sysctl().as_ref()).is_some_and(|map| !map.is_empty());
        let labels = self.has_labels();
        let there = |step: &Step| match &step.op {
            Op::Filesystem(fs) => fs.is_proc,
            op => *op == Op::BorrowProc,
        };
        (sysctls || labels) && !self.steps.iter().any(there)
    }

    /// An empty name is none; `unconfined` is a name as any other. Without AppArmor nobody takes it, and check warns.
    fn apparmor_profile(&self) -> Option<&'a str> {
        let profile = self.process()?.apparmor_profile().as_deref()?;
        (!profile.is_empty() && self.host.apparmor != Some(false)).then_some(profile)
    }

    /// Holds from `execve(2)` on.
    fn apparmor(&mut self) {
        let Some(profile) = self.apparmor_profile() else { return };
        let at = At::field("process.apparmorProfile");
        let command = self.text(at, format!("exec {profile}"));
        self.step(at, Op::AppArmor(command));
    }

    /// Whether something is written to `attr/`.
    fn has_labels(&self) -> bool {
        let label = self.process().and_then(|p| p.selinux_label().as_ref()).is_some_and(|label| !label.is_empty());
        label || self.apparmor_profile().is_some()
    }

    fn selinux_label(&mut self) -> Option<CString> {
        let label = self.process()?.selinux_label().as_deref().filter(|label| !label.is_empty())?;
        Some(self.text(At::field("process.selinuxLabel"), label))
    }

    fn sysctls(&mut self) {
        let Some(map) = self.spec.linux().as_ref().and_then(|l| l.sysctl().as_ref()) else { return };
        let at = At::field("linux.sysctl");
        let mut sorted: Vec<_> = map.iter().collect();
        sorted.sort(); // a HashMap has no order, a plan must have one
        for (key, value) in sorted {
            let Ok(path) = crate::check::sysctl_path(key) else { continue }; // told by check
            let path = self.text(at, format!("sys/{path}"));
            let value = self.text(at, value.as_str());
            self.step(at, Op::Sysctl(path, value));
        }
    }

    /// Gives up privilege. Seccomp without no_new_privs needs CAP_SYS_ADMIN, so it must come before the user changes;
    /// with it, it comes as late as possible, so that the profile need not allow what the set-up calls.
    fn credentials(&mut self) {
        let Some(process) = self.process() else { return };
        let no_new_privs = process.no_new_privileges().unwrap_or(false);
        if no_new_privs {
            self.step(At::field("process.noNewPrivileges"), Op::NoNewPrivs);
        }
        self.tuning(process);
        for (i, limit) in process::rlimits(process.rlimits().as_deref().unwrap_or(&[])).into_iter().enumerate() {
            let at = At::item("process.rlimits[#]", i);
            self.step(at, Op::Rlimit(limit.resource, limit.soft, limit.hard));
        }
        let cwd = self.text(At::field("process.cwd"), process.cwd().as_os_str().as_encoded_bytes());
        let below_root = cwd.as_bytes() != b"/"; // where init is anyway
        if below_root {
            self.step(At::field("process.cwd"), Op::Chdir(cwd.clone()));
        }
        if let Some(label) = self.selinux_label() {
            // A filter may refuse to open and write; from here on nothing else is opened through procfs.
            self.step(At::field("process.selinuxLabel"), Op::ExecLabel(label));
        }
        if !no_new_privs {
            self.seccomp();
        }
        let caps = process.capabilities().as_ref().map(|c| process::capabilities(c, self.host.last_cap));
        if let Some(caps) = &caps {
            self.step(At::field("process.capabilities.bounding"), Op::Bounding(caps.bounding));
        }
        let user = process.user();
        let groups = self.additional_groups(user.additional_gids().as_deref().unwrap_or(&[]));
        self.step(
            At::field("process.user"),
            Op::User { uid: user.uid(), gid: user.gid(), groups, may_keep: !self.host.is_privileged() },
        );
        if self.joins {
            // Another id may have made it dumpable (fs.suid_dumpable), in sight of the user's other processes.
            self.step(At::field("process.user"), Op::Undumpable);
        }
        if let Some(caps) = caps {
            let at = At::field("process.capabilities");
            self.step(at, Op::Capabilities(caps.effective, caps.permitted, caps.inheritable));
            if caps.ambient != 0 {
                self.step(At::field("process.capabilities.ambient"), Op::Ambient(caps.ambient));
            }
        }
        if below_root {
            self.step(At::field("process.cwd"), Op::ChdirAsUser(cwd));
        }
        self.program(process);
        self.step(At::field("process.args[0]"), Op::FindProgram);
        if no_new_privs {
            self.seccomp();
        }
    }

    /// `setgroups(2)` is denied where an ordinary user's map had to give it up (user_namespaces(7)).
    fn additional_groups(&mut self, gids: &[u32]) -> Option<Vec<u32>> {
        if annotations::keeps_groups(self.spec) {
            if !gids.is_empty() {
                let text = format!("ignored, as the annotation {} is set", annotations::KEEP_GROUPS);
                let at = At::field("process.user.additionalGids");
                self.problems.push(Problem::warning(at, "", text));
            }
            return None;
        }
        let denied = self.spawn.maps.as_ref().is_some_and(|m| m.deny_setgroups) || self.host.setgroups_denied;
        if denied && !gids.is_empty() {
            let text = "cannot set any additional groups in a rootless container";
            self.problem(At::field("process.user.additionalGids"), "config.md#posix-platform-user", text);
        }
        (!denied).then(|| gids.to_vec())
    }

    fn seccomp(&mut self) {
        let Some(profile) = self.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()) else { return };
        let at = At::field("linux.seccomp");
        let Some(arch) = seccomp::Arch::native() else {
            self.problem(at, "", "seccomp is not supported on this architecture");
            return;
        };
        let Some(filter) = seccomp::compile(profile, arch, &mut self.problems) else { return };
        if filter.notifies() {
            self.seccomp_agent = Some(seccomp::Agent::of(profile, self.request.bundle));
            self.needs_calls(at, [Call::PidfdGetfd]);
        }
        let traceable = filter.notifies() && self.becomes_traceable(at);
        let may_end = filter.allows(arch, "prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0, 0]);
        self.step(at, Op::Seccomp(filter));
        if traceable && may_end {
            self.step(at, Op::Traceable(false));
        }
    }

    /// The parent takes the listener by pidfd_getfd(2), as a tracer would. Without CAP_SYS_PTRACE where it stands that
    /// needs an init that is dumpable again. Nobody else may come to trace it by that: processes that see it have to be
    /// the caller's, or, in a user namespace that is new, powerless.
    fn becomes_traceable(&mut self, at: At) -> bool {
        if self.host.may_trace() {
            return false;
        }
        if !self.ns.is_new(libc_flag::NEWPID) && !self.ns.is_new(libc_flag::NEWUSER) {
            let text = "SCMP_ACT_NOTIFY without CAP_SYS_PTRACE needs a new pid or user namespace: the process has to be \
                        traceable while its listener is taken, and others could see it";
            self.problem(at, "", text);
        }
        self.step(at, Op::Traceable(true));
        true
    }

    fn program(&mut self, process: &Process) {
        let mut entries = process.env().clone().unwrap_or_default();
        entries.extend(self.socket_variables());
        let env = process::environment(&entries);
        let at = At::field("process.env");
        let vars: Vec<CString> = env.list.iter().map(|v| self.text(at, v.as_str())).collect();
        let args = At::field("process.args");
        let argv: Vec<CString> = process.args().iter().flatten().map(|a| self.text(args, a.as_str())).collect();
        let name = process.args().iter().flatten().next().map_or("", String::as_str);
        let found = program::candidates(name, process::variable(&env.list, "PATH"));
        let candidates = found.into_iter().map(|c| self.text(args, c)).collect();
        let home_of = env.needs_home.then(|| process.user().uid());
        self.images.push(Image { candidates, argv, env: vars, home_of });
    }

    fn wait_and_exec(&mut self) {
        let at = At::field("process");
        self.step(at, Op::Ready);
        if self.request.wait_for_start {
            let fifo = self.need(at, Open::ExecFifo);
            self.step(at, Op::AwaitStart(fifo));
        }
        let own = self.images.pop();
        let before = self.images.len() + 1;
        if let (Some(hooks), Some(own)) = (self.spec.hooks(), &own) {
            for (i, hook) in hooks.start_container().iter().flatten().enumerate() {
                let at = At::item("hooks.startContainer[#]", i);
                self.container_hook(at, "startContainer", i, hook, "created", Some(own));
            }
        }
        self.images.extend(own); // the last image is the container's program
        self.step(at, Op::CloseFrom(self.spawn.preserve_fds.saturating_add(3)));
        let announced = !self.request.wait_for_start && self.images.len() > before;
        self.step(At::field("process.args[0]"), Op::Exec { announced });
    }
}

fn any(list: &Option<Vec<Hook>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}
