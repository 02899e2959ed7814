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
        if self.has_labels() && (self.ns.has(NEWUSER) || self.host.user_namespace) {
            self.step(At::field("process"), Op::BorrowProc);
        }
    }

    /// Before the clone those that hold for children, after it all others in one call: to be born in a cgroup, a process must
    /// be cloned by somebody whom the host knows, and from outside the container's cgroup namespace (`nsdelegate`). An
    /// ordinary user may enter any of them only together with the user namespace.
    fn enter_namespaces(&mut self, join: &Join) {
        let kinds = self.ns.all() & if join.same_users { !NEWUSER } else { !0 };
        let users = kinds & NEWUSER != 0;
        // Only who is cloned in a cgroup is counted against its limit.
        let forks = kinds & (NEWPID | NEWTIME) != 0 || join.counted.is_some();
        let first = match forks {
            false => 0,
            true if users && !self.host.is_privileged() => kinds & !NEWCGROUP,
            true => kinds & (NEWPID | NEWTIME),
        };
        let born_in = join.directory.as_ref().filter(|_| forks).map(|dir| self.text(CGROUP, dir.as_str()));
        let born_in = born_in.map(|dir| self.need(CGROUP, Open::Cgroup(dir)));
        if let Some(file) = &join.counted {
            self.join_by(join, std::slice::from_ref(file));
        }
        self.set_namespaces(first);
        if forks {
            self.step(CGROUP, Op::Fork { flags: 0, cgroup: born_in });
        }
        self.set_namespaces(kinds & !first);
        if users {
            self.step(NAMESPACES, Op::BecomeRoot { keep_groups: annotations::keeps_groups(self.spec) });
            self.step(NAMESPACES, Op::Undumpable);
        }
    }

    fn set_namespaces(&mut self, kinds: u64) {
        if kinds == 0 {
            return;
        }
        let users = kinds & NEWUSER != 0;
        if users && !annotations::keeps_groups(self.spec) {
            self.step(NAMESPACES, Op::DropGroups);
        }
        let init = self.need(NAMESPACES, Open::Init);
        self.step(NAMESPACES, Op::SetNs(init, kinds));
        if users {
            self.step(NAMESPACES, Op::Undumpable); // other credentials may have changed that
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(kinds: &[&str], process: &Value) -> Spec {
        let kinds: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let config = json!({
            "ociVersion": "1.2.0",
            "root": { "path": "rootfs", "readonly": true },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "hostname": "h",
            "hooks": { "poststart": [{ "path": "/hook" }] },
            "process": process,
            "linux": { "namespaces": kinds, "maskedPaths": ["/proc/kcore"], "sysctl": { "net.ipv4.ip_forward": "1" },
                       "resources": { "pids": { "limit": 7 } }, "cgroupsPath": "/c" },
        });
        later_part(&serde_json::from_value(config).unwrap())
    }

    fn sh() -> Value {
        json!({ "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh"], "cwd": "/" })
    }

    fn v1() -> Join {
        let tasks = |name: &str| format!("/sys/fs/cgroup/{name}/c/tasks");
        Join { pid: 42, counted: Some(tasks("pids")), tasks: vec![tasks("cpu"), tasks("memory")], ..Join::default() }
    }

    fn v2() -> Join {
        Join { pid: 42, directory: Some("/sys/fs/cgroup/c".into()), ..Join::default() }
    }

    fn planned(spec: &Spec, join: &Join) -> Plan {
        planned_on(&Host::privileged(), spec, join)
    }

    fn planned_on(host: &Host, spec: &Spec, join: &Join) -> Plan {
        let bundle = std::path::Path::new("/b");
        let request = Request {
            id: "c",
            bundle,
            no_pivot: false,
            no_new_keyring: true,
            listen_fds: 0,
            listen_fd_names: None,
            preserve_fds: 0,
            notify_dir: None,
            console: Some(crate::plan::Terminal::default()),
            wait_for_start: false,
        };
        exec(&request, spec, join, host).unwrap()
    }

    /// The steps without their places, down to those that are init's as well.
    fn steps(plan: &Plan) -> Vec<String> {
        let lines = plan.steps.iter().map(|step| step.op.to_string());
        lines.take_while(|line| !line.starts_with("stdio") && !line.starts_with("terminal")).collect()
    }

    #[test]
    fn what_concerns_init_alone_is_not_kept() {
        let kept = serde_json::to_value(spec(&["pid"], &sh())).unwrap();
        let linux: Vec<&String> = kept["linux"].as_object().unwrap().keys().collect();
        assert_eq!(linux, ["namespaces"]);
        let members: Vec<&String> = kept.as_object().unwrap().keys().collect();
        assert_eq!(members, ["linux", "ociVersion", "process"]);
    }

    #[test]
    fn by_two_calls_and_born_in_the_cgroup_between_them() {
        let plan = planned(&spec(&["pid", "mount", "cgroup", "ipc"], &sh()), &v2());
        assert_eq!(
            steps(&plan),
            [
                "not dumpable",
                "setns PID need 1",
                "clone init - into need 0",
                "setns NS|IPC|CGROUP need 2",
                "all CPUs of the cgroup",
                "root /",
            ]
        );
        let needs: Vec<String> = plan.needs.iter().map(|need| need.what.to_string()).collect();
        assert_eq!(needs, ["cgroup /sys/fs/cgroup/c", "pidfd of init", "pidfd of init"]);
        assert!(plan.has_intermediate());
    }

    /// Without a namespace that holds for children there is no second process: the parent clones it in the cgroup.
    #[test]
    fn two_processes_where_two_are_enough() {
        let plan = planned(&spec(&["mount"], &sh()), &v2());
        assert_eq!(steps(&plan), ["not dumpable", "setns NS need 0", "all CPUs of the cgroup", "root /"]);
        assert!(!plan.has_intermediate());
    }

    /// v1 counts only who is cloned inside. What costs memory is joined last.
    #[test]
    fn v1_counts_it_and_charges_little() {
        let plan = planned(&spec(&["mount"], &sh()), &v1());
        assert_eq!(
            steps(&plan),
            [
                "not dumpable",
                "join cgroups: need 0",
                "clone init -",
                "setns NS need 1",
                "join cgroups: need 2 need 3",
                "all CPUs of the cgroup",
                "root /",
            ]
        );
    }

    #[test]
    fn a_user_namespace_makes_root_of_it() {
        let users = spec(&["pid", "mount", "user"], &sh());
        let plan = planned(&users, &v2());
        assert_eq!(
            steps(&plan),
            [
                "not dumpable",
                "setns PID need 1",
                "clone init - into need 0",
                "drop groups",
                "setns NS|USER need 2",
                "not dumpable",
                "become root of the user namespace",
                "not dumpable",
                "all CPUs of the cgroup",
                "root /",
            ]
        );
        // It cannot be entered by who is in it.
        let same = planned(&users, &Join { same_users: true, ..v2() });
        assert!(steps(&same).contains(&"setns NS need 2".to_owned()), "{:?}", steps(&same));
        let user = Host { euid: 1000, capabilities: 0, ..Host::privileged() };
        let plan = planned_on(&user, &users, &v2());
        let taken: Vec<String> = steps(&plan).into_iter().take(5).collect();
        let first =
            ["not dumpable", "drop groups", "setns PID|NS|USER need 1", "not dumpable", "clone init - into need 0"];
        assert_eq!(taken, first, "an ordinary user gains all by the user namespace");
    }

    #[test]
    fn without_a_mount_namespace_the_root_is_inits() {
        let plan = planned(&spec(&[], &sh()), &v2());
        assert_eq!(steps(&plan), ["not dumpable", "root /proc/42/root", "all CPUs of the cgroup", "chroot"]);
    }

    #[test]
    fn cpus_before_and_after_the_cgroup_and_the_score_before_all() {
        let mut process = sh();
        process["execCPUAffinity"] = json!({ "initial": "0-1", "final": "3" });
        process["oomScoreAdj"] = json!(5);
        let plan = planned(&spec(&["pid"], &process), &v2());
        assert_eq!(
            steps(&plan),
            [
                "not dumpable",
                "CPUs [3]",
                "oom_score_adj 5",
                "root /proc/42/root",
                "setns PID need 1",
                "clone init - into need 0",
                "CPUs [8]",
                "chroot",
            ]
        );
    }

    /// Nothing is set up for it, and it is not dumpable once it has the user's id either.
    #[test]
    fn it_ends_as_init_does() {
        let mut process = sh();
        process["terminal"] = json!(true);
        process["user"] = json!({ "uid": 5, "gid": 6 });
        let plan = planned(&spec(&["pid", "mount"], &process), &v2());
        let all: Vec<String> = plan.steps.iter().map(|step| step.op.to_string()).collect();
        let from = all.iter().position(|line| line.starts_with("terminal")).unwrap();
        let expected =
            ["terminal, master to need 3", "umask 0022", "user 5:6", "not dumpable", "find", "ready", "close", "exec"];
        assert_eq!(all.len() - from, expected.len(), "{all:#?}");
        for (line, begins) in all.iter().skip(from).zip(expected) {
            assert!(line.starts_with(begins), "{line:?} {begins:?}");
        }
    }
}
