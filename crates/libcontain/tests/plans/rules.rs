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
    map_gate: Op::Gate(Gate::Map),
    hooks_gate: Op::Gate(Gate::Hooks),
    network_gate: Op::Gate(Gate::Network),
    become_root: Op::BecomeRoot,
    undumpable: Op::Undumpable,
    fork: Op::Fork(..),
    set_ns: Op::SetNs(..),
    set_mount_ns: Op::SetNs(_, NEWNS),
    set_user_ns: Op::SetNs(_, NEWUSER),
    unshare: Op::Unshare(..),
    unshare_cgroup: Op::Unshare(NEWCGROUP),
    join_cgroup: Op::JoinCgroup { .. },
    keyring: Op::Keyring(..),
    loopback: Op::LoopbackUp,
    propagate: Op::Propagate(..),
    root: Op::AttachRoot { .. } | Op::OpenRoot(..),
    mount: Op::Bind(..) | Op::Filesystem(..) | Op::CgroupV1(..),
    device: Op::Device(..) | Op::Ptmx | Op::Symlink(..),
    node: Op::Device(..),
    arm_start: Op::ArmStart,
    open_proc: Op::OpenProc,
    enter_root: Op::PivotRoot { .. } | Op::Chroot,
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

fn namespaces(op: &Op) -> bool {
    set_ns(op) || fork(op) || map_gate(op) || become_root(op)
}

fn paths(op: &Op) -> bool {
    readonly(op) || mask(op) || sysctl(op)
}

/// The facts.
pub const RULES: &[Rule] = &[
    rule("oom_score_adj needs the caller's privilege and /proc", oom_score, namespaces),
    rule("time offsets need a /proc that can be trusted and is ours", time_offsets, namespaces),
    rule("what is joined by the first process is joined before init is cloned", set_ns, undumpable),
    rule("paths change with the mount namespace", other_ns, set_mount_ns),
    rule("nobody is root of a user namespace without maps", map_gate, become_root),
    rule("IPC, UTS and NET are to be owned by the container's root", become_root, late_namespaces),
    rule("the first process ends with the clone of init", fork, map_gate),
    rule("a change of all ids makes a process dumpable again", become_root, undumpable),
    rule("init is not dumpable when it first holds something of the host's", undumpable, root),
    rule("nothing is written to a cgroup by a process with the container's keys", undumpable, keyring),
    rule("the cgroup namespace is rooted where the process is when it is made", join_cgroup, unshare_cgroup),
    rule("runtime hooks find the container in its cgroup", join_cgroup, hooks_gate),
    rule("container hooks run in the container's cgroup", join_cgroup, hook_before_pivot),
    rule("a network namespace is there before lo is", late_namespaces, loopback),
    rule("devices come into the container's network namespace", net_namespaces, network_gate),
    rule("runtime hooks find the devices", network_gate, hooks_gate),
    rule("container hooks find the devices", network_gate, hook_before_pivot),
    rule("no mount of ours reaches the host", propagate, root),
    rule("mounts are made in the rootfs", root, below_root),
    rule("nodes are made in what is mounted on /dev", mount, device),
    rule("every node is there when hooks run", below_root, hooks_gate),
    rule("runtime hooks run before container hooks", hooks_gate, hook_before_pivot),
    rule("createContainer hooks see the host's root", hook_before_pivot, enter_root),
    rule("a procfs can be had only while the host's is in sight", arm_start, enter_root),
    rule("a procfs for sysctls and labels as well", open_proc, enter_root),
    rule("host paths are used before the root changes", below_root, enter_root),
    rule("the new root's propagation is set on the new root", enter_root, new_root_propagation),
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
    rule("names are the container's", enter_root, names),
    rule("a profile is set through the container's /proc", enter_root, apparmor),
    rule("the names are set before the profile (contract 5.3)", names, apparmor),
    rule("the profile is set before sysctls (contract 5.3)", apparmor, sysctl),
    rule("the label is set with privilege", exec_label, credentials),
    rule("the label is set before the filter", exec_label, seccomp),
    rule("a session keyring is made with its label", key_label, keyring),
    rule("sysctls are set through the container's /proc", enter_root, sysctl),
    rule("sysctls are set before /proc/sys is read-only", sysctl, readonly),
    rule("sysctls are set before anything is masked", sysctl, mask),
    rule("a mask below a read-only path stays a mask", readonly, mask),
    rule("paths are hidden with privilege", paths, credentials),
    rule("paths are hidden before the filter", paths, seccomp),
    rule("no_new_privs lets a process load a filter without privilege", no_new_privs, seccomp),
    rule("a limit may be raised only by root", rlimit, user),
    rule("cwd is entered as root first", chdir, user),
    rule("the filter sees the set-up's chdir only if it must", chdir, seccomp),
    Rule { without: no_new_privs, ..rule("a filter without no_new_privs needs CAP_SYS_ADMIN", seccomp, credentials) },
    Rule {
        with: no_new_privs,
        ..rule("with no_new_privs the filter need not allow the set-up's calls", credentials, seccomp)
    },
    Rule { with: no_new_privs, ..rule("the program is looked up before the filter", find_program, seccomp) },
    rule("dropping from the bounding set needs CAP_SETPCAP", bounding, user),
    rule("setresuid(2) clears the effective set", user, capabilities),
    rule("ambient capabilities have to be permitted and inheritable", capabilities, ambient),
    rule("the second chdir is the user's", user, chdir_as_user),
    rule("the program has to be executable for the user", capabilities, find_program),
    rule("a relative program is found in cwd", chdir_as_user, find_program),
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
    must([exec, ready, close, enter_root, root].iter().all(|w| count(*w) == 1), "some steps stand exactly once");
    must(
        [fork, map_gate, network_gate, hooks_gate, seccomp, user, await_start].iter().all(|w| count(*w) <= 1),
        "some steps stand at most once",
    );
    must(slots_are_used_once(plan), "a descriptor is closed with its step, so every need is of exactly one");
    must(images_exist(plan), "images exist");
    must(readonly_is_late(&plan.steps), "a mount becomes read-only when nothing more is made in it");
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
        Tree::Path { .. } => vec![],
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
        Op::SetNs(slot, _) | Op::AwaitStart(slot) => vec![*slot],
        Op::Console(console) => vec![console.socket],
        Op::JoinCgroup { tasks, .. } => tasks.iter().filter_map(slot_of_tasks).collect(),
        Op::CgroupV1(mount) => mount.hierarchies.iter().flat_map(|h| of_content(&h.content)).collect(),
        Op::AttachRoot { tree, .. } => of(tree),
        Op::Bind(bind) => of(&bind.tree),
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
