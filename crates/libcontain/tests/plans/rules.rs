//! The order of a plan's steps as facts (contract.md 5.3), each with its reason, and a judge of whole plans. One way of
//! writing them serves the golden configs, the proof that each fact can fail, and the random edits.

use std::collections::BTreeMap;

use libcontain::plan::{Gate, HierarchyContent, Op, Open, Plan, Slot, Step, Tasks, Tree};

const NEWCGROUP: u64 = 0x200_0000;
const NEWUSER: u64 = 0x1000_0000;
const NEWNS: u64 = 0x2_0000;

type Which = fn(&Op) -> bool;

/// Every step that `first` holds for stands before every step that `then` holds for.
pub struct Rule {
    pub why: &'static str,
    /// Only for plans that have such a step.
    pub with: Which,
    /// Only for plans that have no such step.
    pub without: Which,
    pub first: Which,
    pub then: Which,
}

const fn rule(why: &'static str, first: Which, then: Which) -> Rule {
    Rule { why, with: any, without: none, first, then }
}

const fn any(_: &Op) -> bool {
    true
}

const fn none(_: &Op) -> bool {
    false
}

macro_rules! which {
    ($($name:ident: $pattern:pat),+ $(,)?) => { $(pub fn $name(op: &Op) -> bool { matches!(op, $pattern) })+ };
}

which! {
    oom_score: Op::OomScore(..),
    time_offsets: Op::TimeOffsets(..),
    cgroup_gate: Op::Gate(Gate::Cgroup),
    not_cgroup_gate: Op::Gate(Gate::Map | Gate::Network | Gate::Hooks) | Op::OomScore(..) | Op::Fork { .. } | Op::SetNs(..)
        | Op::Unshare(..) | Op::BecomeRoot { .. } | Op::Keyring(..) | Op::JoinCgroup { .. } | Op::AttachRoot { .. },
    map_gate: Op::Gate(Gate::Map),
    hooks_gate: Op::Gate(Gate::Hooks),
    all_cpus: Op::AllCpus,
    network_gate: Op::Gate(Gate::Network),
    become_root: Op::BecomeRoot { .. },
    drop_groups: Op::DropGroups,
    disowned: Op::BecomeRoot { .. } | Op::Undumpable | Op::Unshare(..) | Op::AttachRoot { .. } | Op::OpenRoot(..),
    undumpable: Op::Undumpable,
    traceable: Op::Traceable(true),
    traceable_no_more: Op::Traceable(false),
    fork: Op::Fork { .. },
    set_ns: Op::SetNs(..),
    set_mount_ns: Op::SetNs(_, NEWNS),
    set_user_ns: Op::SetNs(_, NEWUSER),
    unshare: Op::Unshare(..),
    unshare_cgroup: Op::Unshare(NEWCGROUP),
    join_cgroup: Op::JoinCgroup { .. },
    keyring: Op::Keyring(..),
    loopback: Op::LoopbackUp,
    borrow_proc: Op::BorrowProc,
    propagate: Op::Propagate(..),
    root: Op::AttachRoot { .. } | Op::OpenRoot(..),
    mount: Op::Bind(..) | Op::Remount(..) | Op::Filesystem(..) | Op::CgroupV1(..),
    device: Op::Device(..) | Op::Ptmx | Op::Symlink(..),
    node: Op::Device(..),
    arm_start: Op::ArmStart,
    open_proc: Op::OpenProc,
    leave_mounts: Op::LeaveMountNamespace(..),
    enter_root: Op::PivotRoot | Op::Chroot,
    new_root_propagation: Op::RootPropagation(..),
    reopen_null: Op::ReopenNull,
    console: Op::Console(..),
    make_cwd: Op::MakeCwd(..),
    root_readonly: Op::RootReadonly,
    umask: Op::Umask(..),
    names: Op::Hostname(..) | Op::Domainname(..),
    apparmor: Op::AppArmor(..),
    key_label: Op::KeyLabel(..),
    exec_label: Op::ExecLabel(..),
    sysctl: Op::Sysctl(..),
    readonly: Op::Readonly(..),
    mask: Op::Mask(..),
    no_new_privs: Op::NoNewPrivs,
    rlimit: Op::Rlimit(..),
    seccomp: Op::Seccomp(..),
    chdir: Op::Chdir(..),
    chdir_as_user: Op::ChdirAsUser(..),
    bounding: Op::Bounding(..),
    user: Op::User { .. },
    capabilities: Op::Capabilities(..),
    ambient: Op::Ambient(..),
    find_program: Op::FindProgram,
    ready: Op::Ready,
    await_start: Op::AwaitStart(..),
    close: Op::CloseFrom(..),
    exec: Op::Exec { .. },
}

pub fn other_ns(op: &Op) -> bool {
    set_ns(op) && !set_mount_ns(op) && !set_user_ns(op)
}

fn below_root(op: &Op) -> bool {
    mount(op) || device(op)
}

/// Whatever makes a mount or changes one.
fn mounting(op: &Op) -> bool {
    below_root(op)
        || enter_root(op)
        || new_root_propagation(op)
        || console(op)
        || root_readonly(op)
        || paths(op)
        || matches!(op, Op::RemountReadonly(..))
}

fn limits(op: &Op) -> bool {
    rlimit(op) || seccomp(op)
}

fn hook_before_pivot(op: &Op) -> bool {
    matches!(op, Op::Hook(hook) if hook.list == "createContainer")
}

fn hook_before_exec(op: &Op) -> bool {
    matches!(op, Op::Hook(hook) if hook.list == "startContainer")
}

fn late_namespaces(op: &Op) -> bool {
    unshare(op) && !unshare_cgroup(op)
}

fn net_namespaces(op: &Op) -> bool {
    other_ns(op) || fork(op) || late_namespaces(op)
}

fn credentials(op: &Op) -> bool {
    bounding(op) || user(op) || capabilities(op) || ambient(op)
}

/// Row 18.
fn tuning(op: &Op) -> bool {
    matches!(op, Op::Scheduler(_) | Op::IoPriority(_) | Op::Personality(_) | Op::MemoryPolicy(_))
}

/// What may stand behind a filter, and so what its profile has to allow (the sentence below the table): with
/// no_new_privs the exec FIFO, hooks and execve; without it also the change of ids. `Traceable(false)` is planned for
/// filters that allow it.
fn behind_a_filter(op: &Op, no_new_privs: bool) -> bool {
    let last = ready(op) || await_start(op) || hook_before_exec(op) || close(op) || exec(op) || traceable_no_more(op);
    last || !no_new_privs && (credentials(op) || chdir_as_user(op) || find_program(op))
}

fn namespaces(op: &Op) -> bool {
    set_ns(op) || fork(op) || map_gate(op) || become_root(op)
}

fn paths(op: &Op) -> bool {
    readonly(op) || mask(op) || sysctl(op)
}

/// The facts. A row is one of the table in contract.md 5.3.
pub const RULES: &[Rule] = &[
    rule("systemd takes the first process, and all that comes of it is in its cgroup", cgroup_gate, not_cgroup_gate),
    // 5.2, the stages before init: namespaces that are joined, maps, ids.
    rule("oom_score_adj needs the caller's privilege and /proc", oom_score, namespaces),
    rule("time offsets need a /proc that can be trusted and is ours", time_offsets, disowned),
    rule("/proc has to be the runtime's, seen by who init will be", become_root, borrow_proc),
    rule("/proc has to be the runtime's", borrow_proc, root),
    rule("what is joined by the first process is joined before init is cloned", set_ns, fork),
    rule("a user namespace may deny setgroups(2)", drop_groups, set_user_ns),
    rule("paths change with the mount namespace", other_ns, set_mount_ns),
    rule("nobody is root of a user namespace without maps", map_gate, become_root),
    rule("IPC, UTS and NET are to be owned by the container's root", become_root, late_namespaces),
    rule("the first process ends with the clone of init", fork, map_gate),
    // With a fork it is done twice: namespaces.rs tests that.
    Rule { without: fork, ..rule("a change of all ids makes a process dumpable again", become_root, undumpable) },
    // Row 1: the session keyring.
    rule("init is not dumpable when it first holds something of the host's", undumpable, root),
    rule("nothing is written to a cgroup by a process with the container's keys", undumpable, keyring),
    rule("the key belongs to the container's user namespace", become_root, keyring),
    rule("nothing is mounted with the caller's keys", keyring, propagate),
    // 5.1, 7: the cgroup. On v2 init is born in it.
    rule("the cgroup namespace is rooted where the process is when it is made", join_cgroup, unshare_cgroup),
    rule("all CPUs are those of the container's cgroup", join_cgroup, all_cpus),
    rule("container hooks have the container's CPUs", all_cpus, hook_before_pivot),
    rule("runtime hooks find the container in its cgroup", join_cgroup, hooks_gate),
    rule("container hooks run in the container's cgroup", join_cgroup, hook_before_pivot),
    // Row 2: the network.
    rule("a network namespace is there before lo is", late_namespaces, loopback),
    rule("devices come into the container's network namespace", net_namespaces, network_gate),
    rule("runtime hooks find the devices", network_gate, hooks_gate),
    rule("container hooks find the devices", network_gate, hook_before_pivot),
    rule("runtime hooks find lo up", loopback, hooks_gate),
    rule("container hooks find lo up", loopback, hook_before_pivot),
    // Row 3: propagation and the root.
    rule("no mount of ours reaches the host", propagate, root),
    // Rows 4 and 5: mounts, nodes, links; see `mounts_are_in_order` too.
    rule("mounts are made in the rootfs", root, below_root),
    rule("nodes are made in what is mounted on /dev", mount, device),
    // Rows 6 and 7: hooks while the host can be seen.
    rule("every node is there when hooks run", below_root, hooks_gate),
    rule("every mount and node is there when container hooks run", below_root, hook_before_pivot),
    rule("runtime hooks run before container hooks", hooks_gate, hook_before_pivot),
    rule("createContainer hooks see the host's root", hook_before_pivot, enter_root),
    // Rows 8 and 9: the change of root.
    rule("a procfs can be had only while the host's is in sight", arm_start, enter_root),
    rule("a procfs for sysctls and labels as well", open_proc, enter_root),
    rule("host paths are used before the root changes", below_root, enter_root),
    rule("the new root's propagation is set on the new root", enter_root, new_root_propagation),
    // Row 10: standard streams, cwd. Row 12: what becomes read-only, umask.
    rule("/dev/null is the container's", enter_root, reopen_null),
    rule("the terminal is of the container's devpts", mount, console),
    rule("the terminal is the container's", enter_root, console),
    rule("/dev/console is made while the root can be written", console, root_readonly),
    rule("the terminal is there before its owner is", console, user),
    rule("process.cwd is made inside the root", enter_root, make_cwd),
    rule("process.cwd is made while the root can be written", make_cwd, root_readonly),
    rule("nodes are made while the root can be written", device, root_readonly),
    rule("modes in the config are meant exactly", below_root, umask),
    rule("directories on the way to cwd have mode 755", make_cwd, umask),
    rule("container hooks have the caller's umask", hook_before_pivot, umask),
    rule("startContainer hooks have the program's umask", umask, hook_before_exec),
    rule("the root becomes read-only with privilege", root_readonly, credentials),
    // Row 13: names.
    rule("names are the container's", enter_root, names),
    rule("a profile is set through the container's /proc", enter_root, apparmor),
    rule("the names are set before the profile (contract 5.3)", names, apparmor),
    rule("the profile is set before sysctls (contract 5.3)", apparmor, sysctl),
    rule("the label is set with privilege", exec_label, credentials),
    rule("the label is set before the filter", exec_label, seccomp),
    rule("a session keyring is made with its label", key_label, keyring),
    rule("container hooks before the change of root see the host's names", hook_before_pivot, names),
    rule("setting a name needs CAP_SYS_ADMIN", names, credentials),
    // Rows 15 and 16: sysctls, read-only paths, masks.
    rule("sysctls are set through the container's /proc", enter_root, sysctl),
    rule("sysctls are set before /proc/sys is read-only", sysctl, readonly),
    rule("sysctls are set before anything is masked", sysctl, mask),
    rule("a mask below a read-only path stays a mask", readonly, mask),
    rule("paths are hidden with privilege", paths, credentials),
    rule("paths are hidden before the filter", paths, seccomp),
    rule("paths are hidden in the new root", enter_root, paths),
    rule("hooks before the change of root see what will be hidden", hook_before_pivot, paths),
    // A mount namespace that the config does not name.
    rule("what is mounted is in the copy that is taken along", mounting, leave_mounts),
    rule("a mount namespace is left with privilege", leave_mounts, credentials),
    rule("a mount namespace is left before there are limits and a filter", leave_mounts, limits),
    // Row 17: no_new_privs. Row 18: scheduling and placement. Row 19: limits.
    rule("no_new_privs lets a process load a filter without privilege", no_new_privs, seccomp),
    rule("no_new_privs holds when the parent is told that all is ready", no_new_privs, ready),
    rule("a cpuset decides which policies can be had", join_cgroup, tuning),
    rule("real-time policies and priorities need CAP_SYS_NICE", tuning, credentials),
    rule("the filter need not allow what tunes the process", tuning, seccomp),
    rule("what is set up is not limited", below_root, rlimit),
    rule("the filter need not allow prlimit(2)", rlimit, seccomp),
    rule("a limit may be raised only by root", rlimit, user),
    // Rows 21 and 30: the filter, by noNewPrivileges. Row 24: cwd.
    rule("cwd is entered as root first", chdir, user),
    rule("the filter sees the set-up's chdir only if it must", chdir, seccomp),
    Rule { without: no_new_privs, ..rule("a filter without no_new_privs needs CAP_SYS_ADMIN", seccomp, credentials) },
    Rule {
        with: no_new_privs,
        ..rule("with no_new_privs the filter need not allow the set-up's calls", credentials, seccomp)
    },
    Rule { with: no_new_privs, ..rule("the program is looked up before the filter", find_program, seccomp) },
    rule("init is traceable only once nothing of the host's is in sight", enter_root, traceable),
    rule("the listener of a filter is taken from an init that is traceable", traceable, seccomp),
    rule("init is traceable no longer than it takes to take the listener", seccomp, traceable_no_more),
    Rule { with: no_new_privs, ..rule("a change of ids makes init untraceable", user, traceable) },
    // Rows 25 to 27: ids, capabilities, cwd once more. Row 29: the lookup.
    rule("dropping from the bounding set needs CAP_SETPCAP", bounding, user),
    rule("setresuid(2) clears the effective set", user, capabilities),
    rule("ambient capabilities have to be permitted and inheritable", capabilities, ambient),
    rule("the second chdir is the user's", user, chdir_as_user),
    rule("the second chdir has what the program may", capabilities, chdir_as_user),
    rule("the program has to be executable for the user", capabilities, find_program),
    rule("a relative program is found in cwd", chdir_as_user, find_program),
    // Rows 31 to 34: ready, the exec FIFO, hooks, descriptors, execve.
    rule("create tells what is wrong with the program", find_program, ready),
    rule("create tells what is wrong with the filter", seccomp, ready),
    rule("create has told before start is awaited", ready, await_start),
    rule("startContainer hooks run after start", await_start, hook_before_exec),
    rule("hooks' descriptors are open when they run", hook_before_exec, close),
    rule("no descriptor is open when the program is resolved", close, exec),
];

/// Everything that is wrong with the order and the references of a plan.
pub fn violations(plan: &Plan) -> Vec<&'static str> {
    let broken = RULES.iter().filter(|rule| rule.applies(&plan.steps) && !rule.holds(&plan.steps)).map(|rule| rule.why);
    let mut found: Vec<&'static str> = broken.collect();
    let count = |which: Which| plan.steps.iter().filter(|step| which(&step.op)).count();
    let mut must = |holds: bool, why| found.extend((!holds).then_some(why));
    must(plan.steps.last().is_some_and(|step| exec(&step.op)), "exec is last");
    must(
        [exec, ready, close, enter_root, root, all_cpus].iter().all(|w| count(*w) == 1),
        "some steps stand exactly once",
    );
    must(
        [fork, map_gate, network_gate, hooks_gate, seccomp, user, await_start].iter().all(|w| count(*w) <= 1),
        "some steps stand at most once",
    );
    must(
        plan.seccomp_agent.is_some() == plan.steps.iter().any(|s| matches!(&s.op, Op::Seccomp(f) if f.notifies())),
        "a listener has an agent",
    );
    must(slots_are_used_once(plan), "a descriptor is closed with its step, so every need is of exactly one");
    must(images_exist(plan), "images exist");
    must(readonly_is_late(&plan.steps), "a mount becomes read-only when nothing more is made in it");
    must(mounts_are_in_order(&plan.steps), "mounts are made in the config's order");
    must(little_is_behind_the_filter(&plan.steps), "the profile has to allow little of the runtime");
    must(tuning_is_in_order(&plan.steps), "scheduler, I/O priority, personality and memory policy in runc's order");
    found
}

impl Rule {
    pub fn applies(&self, steps: &[Step]) -> bool {
        steps.iter().any(|s| (self.with)(&s.op)) && !steps.iter().any(|s| (self.without)(&s.op))
    }

    /// The last of the first ones, and the first of those that follow.
    pub fn places(&self, steps: &[Step]) -> Option<(usize, usize)> {
        let last = steps.iter().rposition(|s| (self.first)(&s.op))?;
        let first = steps.iter().position(|s| (self.then)(&s.op))?;
        Some((last, first))
    }

    fn holds(&self, steps: &[Step]) -> bool {
        self.places(steps).is_none_or(|(last, first)| last < first)
    }
}

fn of(tree: &Tree) -> Vec<Slot> {
    match tree {
        Tree::Slot(slot) => vec![*slot],
        Tree::Path { .. } | Tree::Inside { .. } => vec![],
    }
}

fn of_content(content: &HierarchyContent) -> Vec<Slot> {
    match content {
        HierarchyContent::Own(tree) => of(tree),
        HierarchyContent::Mount(_) => vec![],
    }
}

fn slot_of_tasks(tasks: &Tasks) -> Option<Slot> {
    match tasks {
        Tasks::Slot(slot) => Some(*slot),
        Tasks::Path(_) => None,
    }
}

fn slots(op: &Op) -> Vec<Slot> {
    match op {
        Op::SetNs(slot, _) | Op::AwaitStart(slot) | Op::LeaveMountNamespace(slot) => vec![*slot],
        Op::Console(console) => vec![console.socket],
        Op::JoinCgroup { tasks, .. } => tasks.iter().filter_map(slot_of_tasks).collect(),
        Op::CgroupV1(mount) => mount.hierarchies.iter().flat_map(|h| of_content(&h.content)).collect(),
        Op::AttachRoot { tree, .. } => of(tree),
        Op::Bind(bind) => of(&bind.tree),
        Op::Filesystem(fs) => fs.detached.and_then(|d| d.made).into_iter().collect(),
        Op::Device(device) => device.bind.as_ref().map_or(vec![], of),
        Op::Hook(hook) => hook.stdio.to_vec(),
        _ => vec![],
    }
}

fn slots_are_used_once(plan: &Plan) -> bool {
    let mut uses = BTreeMap::new();
    for slot in plan.steps.iter().flat_map(|step| slots(&step.op)) {
        *uses.entry(slot.0).or_insert(0) += 1;
    }
    let dirs = plan.cgroup.dirs.len();
    let exists = |what: &Open| !matches!(what, Open::CgroupTree(dir) | Open::CgroupTasks(dir) if *dir >= dirs);
    uses.values().all(|n| *n == 1) && uses.len() == plan.needs.len() && plan.needs.iter().all(|n| exists(&n.what))
}

fn images_exist(plan: &Plan) -> bool {
    plan.steps.iter().all(|step| !matches!(&step.op, Op::Hook(hook) if hook.image >= plan.images.len()))
}

/// Where a step makes something, as a clean path.
fn made_at(op: &Op) -> Option<Vec<u8>> {
    let path = match op {
        Op::Console(_) => c"/dev/console",
        Op::Bind(bind) => &bind.target,
        Op::Filesystem(fs) => &fs.target,
        Op::CgroupV1(mount) => &mount.tmpfs.target,
        Op::Device(device) => &device.path,
        Op::Symlink(_, path) => path,
        _ => return None,
    };
    Some(clean(path.to_bytes()))
}

fn clean(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.fold(Vec::new(), |path, part| [&path, &b"/"[..], part].concat())
}

fn readonly_is_late(steps: &[Step]) -> bool {
    steps.iter().enumerate().all(|(place, step)| {
        let Op::RemountReadonly(path) = &step.op else { return true };
        let dir = [clean(path.to_bytes()), b"/".to_vec()].concat();
        steps[place..].iter().all(|s| made_at(&s.op).is_none_or(|made| !made.starts_with(&dir)))
    })
}

/// The numbers in `mounts[N]`.
fn mounts_are_in_order(steps: &[Step]) -> bool {
    let number = |step: &Step| step.at.to_string().strip_prefix("mounts[")?.strip_suffix(']')?.parse::<usize>().ok();
    let made = steps.iter().filter(|step| mount(&step.op)).filter_map(number);
    made.collect::<Vec<_>>().is_sorted()
}

fn little_is_behind_the_filter(steps: &[Step]) -> bool {
    let with = steps.iter().any(|step| no_new_privs(&step.op));
    let behind = steps.iter().skip_while(|step| !seccomp(&step.op)).skip(1);
    behind.into_iter().all(|step| behind_a_filter(&step.op, with))
}

/// Row 18 names four in this order.
fn tuning_is_in_order(steps: &[Step]) -> bool {
    let rank = |op: &Op| match op {
        Op::Scheduler(_) => Some(0),
        Op::IoPriority(_) => Some(1),
        Op::Personality(_) => Some(2),
        Op::MemoryPolicy(_) => Some(3),
        _ => None,
    };
    steps.iter().filter_map(|step| rank(&step.op)).collect::<Vec<_>>().is_sorted()
}
