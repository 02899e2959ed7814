//! The plan for one more process in a container: its namespaces are entered, not made, and there is nothing to set up but
//! the process itself.
//!
//! The order, in [`Planner::enter`], has the reasons. What gives up privilege is the same as for init.

use std::ffi::CString;

use oci_spec::runtime::{Process, Spec};

use super::libc_flag::{NEWCGROUP, NEWNS, NEWPID, NEWTIME, NEWUSER};
use super::namespaces::Wanted;
use super::tuning::mask_of;
use super::{Op, Open, Plan, Planner, Request, Tasks, annotations, cgroup};
use crate::error::{At, Problem};
use crate::host::Host;

const NAMESPACES: At = At::field("linux.namespaces");
const CGROUP: At = At::field("linux.cgroupsPath");

/// What is joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Join {
    /// Init, as the caller sees it.
    pub pid: u32,
    /// The container's user namespace is the caller's own, which cannot be entered once more (setns(2)).
    pub same_users: bool,
    /// v1: the `tasks` file of the hierarchy that counts processes.
    pub counted: Option<String>,
    /// v1: those of the others.
    pub tasks: Vec<String>,
    /// v2: the directory.
    pub directory: Option<String>,
    /// Cgroups that may not be entered are left out.
    pub tolerate: bool,
}

/// Plans a process beside init. `spec` is what [`later_part`] has kept, with this process in it.
///
/// # Errors
/// As [`plan`](super::plan).
pub(crate) fn exec(request: &Request<'_>, spec: &Spec, join: &Join, host: &Host) -> Result<Plan, Vec<Problem>> {
    let cgroup = cgroup::Plan { tolerate_failure: join.tolerate, ..cgroup::Plan::default() };
    let ns = Wanted::joined(spec);
    let mut planner = Planner { joins: true, ..Planner::with(request, spec, host, ns, cgroup) };
    planner.enter(join);
    planner.finish()
}

/// What of a config concerns processes that come later.
pub(crate) fn later_part(spec: &Spec) -> Spec {
    let mut kept = Spec::default();
    kept.set_version(spec.version().clone());
    kept.set_process(spec.process().clone());
    kept.set_root(None).set_mounts(None).set_hooks(None).set_annotations(None).set_hostname(None).set_linux(None);
    if let Some(linux) = spec.linux() {
        let mut linux = linux.clone();
        linux.set_resources(None).set_devices(None).set_masked_paths(None).set_readonly_paths(None);
        linux.set_sysctl(None).set_cgroups_path(None).set_intel_rdt(None).set_time_offsets(None);
        linux.set_rootfs_propagation(None).set_mount_label(None).set_net_devices(None);
        kept.set_linux(Some(linux));
    }
    kept
}

impl Planner<'_> {
    fn enter(&mut self, join: &Join) {
        let process = At::field("process");
        self.kernel();
        self.step(process, Op::Undumpable); // first: the container's processes may see it sooner or later (CVE-2016-9962)
        self.initial_cpus(); //  before the cgroup is joined, as the config wants it
        self.oom_score(); //     needs the host's /proc, and the runtime's privilege, if any
        self.host_proc(); //     while "/proc" is the runtime's
        if !self.ns.has(NEWNS) {
            let root = self.text(NAMESPACES, format!("/proc/{}/root", join.pid));
            self.step(NAMESPACES, Op::OpenRoot(root)); // the container's root is below the host's
        }
        self.enter_namespaces(join);
        self.join_cgroups(join); // as late as the CPUs allow: what was done before is not charged to the container
        self.final_cpus();
        self.keyring(); //       the container's own, by its name; in the user namespace whose it is
        if self.ns.has(NEWNS) {
            self.step(NAMESPACES, Op::OpenRoot(c"/".to_owned())); // which setns(2) has made the container's
        } else {
            self.step(NAMESPACES, Op::Chroot);
        }
        self.stdio(false); //    /dev/console is init's
        let umask = self.process().and_then(|p| p.user().umask()).unwrap_or(0o022);
        self.step(At::field("process.user.umask"), Op::Umask(umask));
        self.apparmor();
        self.credentials();
        self.wait_and_exec();
    }

    /// Labels are written through procfs. Root may mount one for the container's pid namespace; who comes into a user
    /// namespace takes the runtime's with him.
    fn host_proc(&mut self) {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let labels = self.process().is_some_and(|p| given(p.apparmor_profile()) || given(p.selinux_label()));
        if labels && (self.ns.has(NEWUSER) || self.host.user_namespace) {
            self.step(At::field("process"), Op::BorrowProc);
        }
    }

    /// All kinds in one call, but for the cgroup namespace: from inside it the kernel would not let a process be born in a
    /// cgroup that is not below the process that clones it (`nsdelegate`).
    fn enter_namespaces(&mut self, join: &Join) {
        let kinds = self.ns.all() & if join.same_users { !NEWUSER } else { !0 };
        let at_once = kinds & !NEWCGROUP;
        let users = kinds & NEWUSER != 0;
        let keep_groups = annotations::keeps_groups(self.spec);
        // pid and time namespaces hold for children. And only who is cloned in a cgroup is counted against its limit.
        let forks = at_once & (NEWPID | NEWTIME) != 0 || join.counted.is_some();
        let born_in = join.directory.as_ref().filter(|_| forks).map(|dir| self.text(CGROUP, dir.as_str()));
        let born_in = born_in.map(|dir| self.need(CGROUP, Open::Cgroup(dir)));
        if let Some(file) = &join.counted {
            self.join_by(join, std::slice::from_ref(file));
        }
        if users && !keep_groups {
            self.step(NAMESPACES, Op::DropGroups);
        }
        if at_once != 0 {
            let init = self.need(NAMESPACES, Open::Init);
            self.step(NAMESPACES, Op::SetNs(init, at_once));
        }
        if users {
            self.step(NAMESPACES, Op::Undumpable); // other credentials may have changed that
        }
        if forks {
            self.step(CGROUP, Op::Fork { flags: 0, cgroup: born_in });
        }
        if kinds & NEWCGROUP != 0 {
            let init = self.need(NAMESPACES, Open::Init);
            self.step(NAMESPACES, Op::SetNs(init, NEWCGROUP));
        }
        if users {
            self.step(NAMESPACES, Op::BecomeRoot { keep_groups });
            self.step(NAMESPACES, Op::Undumpable);
        }
    }

    fn join_cgroups(&mut self, join: &Join) {
        if !join.tasks.is_empty() {
            self.join_by(join, &join.tasks);
        }
    }

    /// Opened by the parent: the kernel judges by who has opened the file, and the path is the host's.
    fn join_by(&mut self, join: &Join, files: &[String]) {
        let mut tasks = Vec::with_capacity(files.len());
        for file in files {
            let file: CString = self.text(CGROUP, file.as_str());
            tasks.push(Tasks::Slot(self.need(CGROUP, Open::Members(file))));
        }
        self.step(CGROUP, Op::JoinCgroup { tasks, tolerate: join.tolerate });
    }

    fn initial_cpus(&mut self) {
        let initial = self.affinity().and_then(|affinity| affinity.initial().as_deref());
        if let Some(mask) = initial.map(mask_of).filter(|mask| !mask.is_empty()) {
            self.step(At::field("process.execCPUAffinity.initial"), Op::Cpus(mask));
        }
    }

    fn final_cpus(&mut self) {
        let last = self.affinity().and_then(|affinity| affinity.cpu_affinity_final().as_deref());
        match last.map(mask_of).filter(|mask| !mask.is_empty()) {
            Some(mask) => self.step(At::field("process.execCPUAffinity.final"), Op::Cpus(mask)),
            None => self.step(At::field("process"), Op::AllCpus),
        }
    }

    fn affinity(&self) -> Option<&crate::spec::ExecCPUAffinity> {
        self.process().and_then(|process: &Process| process.exec_cpu_affinity().as_ref())
    }
}
