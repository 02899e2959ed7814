//! The plan in words: the dry run (`cntr plan`), which is also the format of the golden tests, and the phrases that
//! errors of a step are framed in (runc's, where callers know them).

use std::ffi::CStr;
use std::fmt;

use super::libc_flag::{
    MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_PRIVATE, MS_RDONLY, MS_REC, MS_SHARED, MS_SLAVE, MS_STRICTATIME, MS_SYNCHRONOUS, MS_UNBINDABLE, NEWCGROUP,
    NEWIPC, NEWNET, NEWNS, NEWPID, NEWTIME, NEWUSER, NEWUTS,
};
use super::{
    Bind, CgroupV1, Detached, Filesystem, Gate, HierarchyContent, IdMap, Image, Mapped, Op, Open, Plan, Remount, Tasks,
    Tree, UsersFrom,
};

const NAMESPACES: [(u64, &str); 8] = [
    (NEWPID, "PID"),
    (NEWNS, "NS"),
    (NEWUTS, "UTS"),
    (NEWNET, "NET"),
    (NEWIPC, "IPC"),
    (NEWUSER, "USER"),
    (NEWCGROUP, "CGROUP"),
    (NEWTIME, "TIME"),
];

const ATTRIBUTES: [(u64, &str); 9] = [
    (0x1, "ro"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x70, "atime"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
    (0x80, "nodiratime"),
    (0x20_0000, "nosymfollow"),
];

const MOUNT_FLAGS: [(u64, &str); 12] = [
    (MS_RDONLY, "ro"),
    (MS_NOSUID, "nosuid"),
    (MS_NODEV, "nodev"),
    (MS_NOEXEC, "noexec"),
    (MS_SYNCHRONOUS, "sync"),
    (MS_MANDLOCK, "mand"),
    (MS_DIRSYNC, "dirsync"),
    (MS_NOSYMFOLLOW, "nosymfollow"),
    (MS_NOATIME, "noatime"),
    (MS_NODIRATIME, "nodiratime"),
    (MS_STRICTATIME, "strictatime"),
    (MS_LAZYTIME, "lazytime"),
];

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old = self.spawn.old_clone;
        let born = |dir: &&super::cgroup::Dir| dir.v2 && !old && self.cgroup.unit.is_none();
        let hybrid = self.cgroup.dirs.iter().find(born);
        write!(f, "spawn   {} {}", if old { "clone" } else { "clone3" }, namespaces(self.spawn.flags))?;
        if let Some(dir) = hybrid {
            write!(f, ", into cgroup {}", dir.absolute())?;
        }
        writeln!(f)?;
        if let Some(score) = &self.spawn.oom_score {
            writeln!(f, "parent  oom_score_adj {score}")?;
        }
        if let Some(maps) = &self.spawn.maps {
            let by = |map: &IdMap| map.program.as_ref().map_or(String::new(), |p| format!(" by {}", p.display()));
            let shown = |map: &IdMap| format!("{}{}", lines(&map.lines), by(map));
            let denied = if maps.deny_setgroups { "; setgroups denied" } else { "" };
            writeln!(f, "maps    uid {}; gid {}{denied}", shown(&maps.uid), shown(&maps.gid))?;
        }
        if let Some(maps) = &self.spawn.joined_maps {
            let shown =
                |rows: &[[u32; 3]]| rows.iter().map(|[c, h, n]| format!("{c} {h} {n}")).collect::<Vec<_>>().join(", ");
            writeln!(f, "maps    expected: uid {}; gid {}", shown(&maps.uid), shown(&maps.gid))?;
        }
        cgroup(f, &self.cgroup)?;
        if let Some(rdt) = &self.rdt {
            writeln!(f, "rdt     {:<36} {}", "linux.intelRdt", rdt.group)?;
            for text in rdt.schemata.iter().flat_map(|text| text.lines()) {
                writeln!(f, "rdt     {:<36} schemata = {text}", "linux.intelRdt")?;
            }
            if let Some(path) = &rdt.monitor {
                writeln!(f, "rdt     {:<36} mkdir {path}", "linux.intelRdt.enableMonitoring")?;
            }
        }
        for device in &self.net_devices {
            writeln!(f, "netdev  {:<36} {} as {}", "linux.netDevices", device.name, device.target)?;
        }
        if let Some(agent) = &self.seccomp_agent {
            writeln!(f, "agent   {:<36} connect {}", "linux.seccomp.listenerPath", agent.socket.display())?;
        }
        for (i, users) in self.users.iter().enumerate() {
            write!(f, "users {i} {:<36} ", users.at.to_string())?;
            match &users.from {
                UsersFrom::Maps { uid, gid } => writeln!(f, "uid {}; gid {}", lines(uid), lines(gid))?,
                UsersFrom::Path(path) => writeln!(f, "of {}", text(path))?,
            }
        }
        if self.locks_trees {
            writeln!(f, "needs   {:<36} host mounts are copied with their flags locked", "linux.namespaces")?;
        }
        for (i, need) in self.needs.iter().enumerate() {
            writeln!(f, "need {i:>2} {:<36} {}", need.at.to_string(), need.what)?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            writeln!(f, "{i:>3}     {:<36} {}", step.at.to_string(), Shown(&step.op, &self.images))?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning {warning}")?;
        }
        Ok(())
    }
}

/// The unit, the directories and what is written into them.
fn cgroup(f: &mut fmt::Formatter<'_>, plan: &super::cgroup::Plan) -> fmt::Result {
    if let Some(unit) = &plan.unit {
        writeln!(f, "unit    {:<36} start {}", "linux.cgroupsPath", unit.name)?;
        for property in &unit.properties {
            writeln!(f, "unit    {property}")?;
        }
    }
    for dir in &plan.dirs {
        writeln!(f, "cgroup  {:<36} mkdir {}", "linux.cgroupsPath", dir.absolute())?;
    }
    for write in &plan.writes {
        writeln!(f, "cgroup  {:<36} {} = {}", write.at.to_string(), write.file, write.value)?;
    }
    if let Some(program) = &plan.devices {
        writeln!(f, "cgroup  {:<36} device program, {} instructions", "linux.resources.devices", program.len())?;
    }
    Ok(())
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Open::Tree { path, recursive } => write!(f, "{} {}", tree_word(*recursive), text(path)),
            Open::MappedTree { path, recursive, mapped } => {
                write!(f, "{} {}{mapped}", tree_word(*recursive), text(path))
            }
            Open::Filesystem { source, fstype, data, attr, mapped } => {
                write!(f, "mount {} {}", text(fstype), text(source))?;
                for shown in [attributes(*attr), text(data)].iter().filter(|shown| !shown.is_empty()) {
                    write!(f, " {shown}")?;
                }
                mapped.iter().try_for_each(|mapped| write!(f, "{mapped}"))
            }
            Open::CgroupTree(dir) => write!(f, "tree of cgroup directory {dir}"),
            Open::CgroupTasks(dir) => write!(f, "tasks of cgroup directory {dir}"),
            Open::Namespace { path, kind, .. } => write!(f, "namespace {} {}", namespaces(*kind), text(path)),
            Open::ConsoleSocket => f.write_str("console socket"),
            Open::ExecFifo => f.write_str("exec.fifo"),
            Open::Init => f.write_str("pidfd of init"),
            Open::Members(path) => write!(f, "open {}", text(path)),
            Open::Cgroup(path) => write!(f, "cgroup {}", text(path)),
            Open::Memfd => f.write_str("memfd"),
            Open::HookOutput(path) => write!(f, "append to {}", text(path)),
        }
    }
}

impl fmt::Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} users {}", if self.recursive { "ridmap" } else { "idmap" }, self.users)
    }
}

/// An operation beside the images it may run.
struct Shown<'a>(&'a Op, &'a [Image]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(op, images) = self;
        let program = |image: usize| {
            images.get(image).map_or(String::new(), |i| i.argv.iter().map(|a| text(a)).collect::<Vec<_>>().join(" "))
        };
        match op {
            Op::Hook(hook) => {
                write!(f, "run {} hook #{} {}", hook.list, hook.index, program(hook.image))?;
                hook.timeout.map_or(Ok(()), |t| write!(f, ", at most {t} s"))
            }
            Op::FindProgram => {
                let tried: Vec<String> =
                    images.last().into_iter().flat_map(|i| &i.candidates).map(|c| text(c)).collect();
                write!(f, "find {}", tried.join(" or "))
            }
            Op::Exec { .. } => {
                write!(f, "exec {}", program(images.len().saturating_sub(1)))?;
                let home = images.last().and_then(|i| i.home_of);
                home.map_or(Ok(()), |uid| write!(f, "; HOME of uid {uid}"))
            }
            op => op.fmt(f),
        }
    }
}

impl fmt::Display for Op {
    #[allow(clippy::too_many_lines, clippy::cognitive_complexity)] // one line per operation
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Gate(Gate::Cgroup) => f.write_str("await systemd"),
            Op::Gate(Gate::Map) => f.write_str("await id maps"),
            Op::Gate(Gate::Network) => f.write_str("await network devices"),
            Op::Gate(Gate::Hooks) => f.write_str("await prestart and createRuntime hooks"),
            Op::DropGroups => f.write_str("drop groups"),
            Op::BecomeRoot { keep_groups: false } => f.write_str("become root of the user namespace"),
            Op::BecomeRoot { keep_groups: true } => f.write_str("become root of the user namespace, groups kept"),
            Op::Undumpable => f.write_str("not dumpable"),
            Op::Traceable(yes) => f.write_str(if *yes { "traceable by the parent" } else { "not traceable" }),
            Op::Unshare(flags) => write!(f, "unshare {}", namespaces(*flags)),
            Op::SetNs(slot, kind) => write!(f, "setns {} need {}", namespaces(*kind), slot.0),
            Op::Fork { flags, cgroup } => {
                write!(f, "clone init {}", namespaces(*flags))?;
                cgroup.map_or(Ok(()), |slot| write!(f, " into need {}", slot.0))
            }
            Op::JoinCgroup { tasks, tolerate } => {
                write!(f, "join cgroups{}:", if *tolerate { ", those that are there" } else { "" })?;
                tasks.iter().try_for_each(|tasks| match tasks {
                    Tasks::Slot(slot) => write!(f, " need {}", slot.0),
                    Tasks::Path(path) => write!(f, " {}", text(path)),
                })
            }
            Op::OomScore(score) => write!(f, "oom_score_adj {}", text(score)),
            Op::TimeOffsets(offsets) => write!(f, "unshare time with {}", text(offsets).trim_end().replace('\n', ", ")),
            Op::Keyring(name, _) => write!(f, "join session keyring {}", text(name)),
            Op::BorrowProc => f.write_str("the runtime's /proc for later steps"),
            Op::LoopbackUp => f.write_str("lo up"),
            Op::Propagate(flags) => write!(f, "propagate / {}", propagation(*flags)),
            Op::RootPropagation(flags) => write!(f, "propagate new / {}", propagation(*flags)),
            Op::AttachRoot { on, tree, inherit } => {
                write!(f, "root {} on {} {}", Shows(tree), text(on), propagation(*inherit))
            }
            Op::OpenRoot(path) => write!(f, "root {}", text(path)),
            Op::Bind(bind) => bind.fmt(f),
            Op::Remount(remount) => remount.fmt(f),
            Op::Filesystem(fs) => fs.fmt(f),
            Op::CgroupV1(mount) => mount.fmt(f),
            Op::RemountReadonly(path) => write!(f, "make {} read-only", text(path)),
            Op::Device(device) => {
                let (major, minor) = ((device.rdev >> 8) & 0xfff, device.rdev & 0xff);
                write!(
                    f,
                    "device {} {:o} {major}:{minor} {}:{}",
                    text(&device.path),
                    device.mode,
                    device.uid,
                    device.gid
                )?;
                device.bind.as_ref().map_or(Ok(()), |tree| write!(f, " bound from {}", Shows(tree)))
            }
            Op::Symlink(to, path) => write!(f, "symlink {} -> {}", text(path), text(to)),
            Op::Ptmx => f.write_str("symlink /dev/ptmx -> pts/ptmx"),
            Op::Hook(hook) => write!(f, "run {} hook #{}", hook.list, hook.index),
            Op::OpenProc => f.write_str("open a procfs"),
            Op::ArmStart => f.write_str("open /proc/self/fd for exec.fifo"),
            Op::HideHost(path) => write!(f, "hide the host's {}", text(path)),
            Op::PivotRoot => f.write_str("pivot_root"),
            Op::MoveRoot => f.write_str("move root over /"),
            Op::Chroot => f.write_str("chroot"),
            Op::LeaveMountNamespace(slot) => {
                write!(f, "a copy of the root, and back to mount namespace need {}", slot.0)
            }
            Op::ReopenNull => f.write_str("stdio on /dev/null becomes the container's"),
            Op::Console(console) => {
                write!(f, "terminal")?;
                console.size.map_or(Ok(()), |(rows, columns)| write!(f, " {rows}x{columns}"))?;
                f.write_str(if console.bare_newlines { ", bare newlines" } else { "" })?;
                write!(f, ", master to need {}", console.socket.0)?;
                if console.bind { f.write_str(", bound on /dev/console") } else { Ok(()) }
            }
            Op::MakeCwd(path) => write!(f, "mkdir -p {}", text(path)),
            Op::RootReadonly => f.write_str("make / read-only"),
            Op::Umask(mask) => write!(f, "umask {mask:04o}"),
            Op::Hostname(name) => write!(f, "sethostname {}", text(name)),
            Op::Domainname(name) => write!(f, "setdomainname {}", text(name)),
            Op::AppArmor(command) => write!(f, "apparmor {}", text(command)),
            Op::KeyLabel(label) => write!(f, "selinux keys {}", text(label)),
            Op::ExecLabel(label) => write!(f, "selinux exec {}", text(label)),
            Op::Sysctl(path, value) => {
                let key = text(path).trim_start_matches("sys/").replace('/', ".");
                write!(f, "sysctl {key} = {}", text(value))
            }
            Op::Readonly(path) => write!(f, "read-only {}", text(path)),
            Op::Mask(path, context) => {
                write!(f, "mask {}", text(path))?;
                context.as_ref().map_or(Ok(()), |context| write!(f, " {}", text(context)))
            }
            Op::AllCpus => f.write_str("all CPUs of the cgroup"),
            Op::Cpus(mask) => write!(f, "CPUs {mask:x?}"),
            Op::NoNewPrivs => f.write_str("no_new_privs"),
            Op::Scheduler(s) => {
                let [runtime, deadline, period] = s.times;
                write!(
                    f,
                    "scheduler policy {} flags {:#x} nice {} priority {}",
                    s.policy, s.flags, s.nice, s.priority
                )?;
                write!(f, " runtime {runtime} deadline {deadline} period {period}")
            }
            Op::IoPriority(priority) => write!(f, "ioprio {priority:#x}"),
            Op::Personality(domain) => write!(f, "personality {domain:#x}"),
            Op::MemoryPolicy(policy) => write!(f, "mempolicy {:#x} nodes {:x?}", policy.mode, policy.nodes),
            Op::Rlimit(resource, soft, hard) => write!(f, "rlimit {resource} {soft} {hard}"),
            Op::Seccomp(filter) => {
                write!(f, "seccomp {} instructions, flags {:#x}", filter.program.len(), filter.flags)?;
                f.write_str(if filter.notifies() { "; hand over the listener" } else { "" })
            }
            Op::Chdir(path) => write!(f, "chdir {}", text(path)),
            Op::ChdirAsUser(path) => write!(f, "chdir {} as the user, if need be", text(path)),
            Op::Bounding(mask) => write!(f, "caps bounding={mask:x}"),
            Op::User { uid, gid, groups: Some(groups), .. } => write!(f, "user {uid}:{gid} groups {groups:?}"),
            Op::User { uid, gid, groups: None, .. } => write!(f, "user {uid}:{gid}, groups kept"),
            Op::Capabilities(e, p, i) => write!(f, "caps effective={e:x} permitted={p:x} inheritable={i:x}"),
            Op::Ambient(mask) => write!(f, "caps ambient={mask:x}"),
            Op::FindProgram => f.write_str("find the program"),
            Op::Ready => f.write_str("ready"),
            Op::AwaitStart(_) => f.write_str("await exec.fifo"),
            Op::CloseFrom(from) => write!(f, "close fds from {from}"),
            Op::Exec { .. } => f.write_str("exec"),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bind {} -> {}", Shows(&self.tree), text(&self.target))?;
        let own = [("set", self.set), ("clear", self.clear), ("drop", self.drop)];
        let tree = [("set in all", self.tree_set), ("clear in all", self.tree_clear)];
        for (word, mask) in own.into_iter().chain(tree) {
            if mask != 0 {
                write!(f, " {word} {}", attributes(mask))?;
            }
        }
        self.propagation.iter().try_for_each(|flags| write!(f, " {}", propagation(*flags)))
    }
}

impl fmt::Display for Remount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remount {}", text(&self.target))?;
        if let Some((flags, data)) = &self.superblock {
            let words = [mount_flags(*flags), text(data)];
            words.iter().filter(|word| !word.is_empty()).try_for_each(|word| write!(f, " {word}"))?;
        } else {
            let own = [("set", self.set), ("clear", self.clear), ("drop", self.drop)];
            let mut changes = own.into_iter().filter(|(_, mask)| *mask != 0);
            changes.try_for_each(|(word, mask)| write!(f, " {word} {}", attributes(mask)))?;
        }
        self.propagation.iter().try_for_each(|flags| write!(f, " {}", propagation(*flags)))
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [source, fstype, target] = [&self.source, &self.fstype, &self.target].map(|t| text(t));
        write!(f, "mount {fstype} {source} -> {target}")?;
        for shown in [mount_flags(self.flags), text(&self.data)].iter().filter(|shown| !shown.is_empty()) {
            write!(f, " {shown}")?;
        }
        self.label.as_ref().map_or(Ok(()), |label| write!(f, " selinux {}", text(label)))?;
        if let Some(Detached { made, copy_up, .. }) = self.detached {
            made.map_or(Ok(()), |slot| write!(f, " made as need {}", slot.0))?;
            f.write_str(if copy_up { " with a copy of what is there" } else { "" })?;
        }
        self.propagation.iter().try_for_each(|flags| write!(f, " {}", propagation(*flags)))
    }
}

impl fmt::Display for CgroupV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with", self.tmpfs)?;
        for hierarchy in &self.hierarchies {
            match &hierarchy.content {
                HierarchyContent::Own(tree) => write!(f, " {}: {}", text(&hierarchy.name), Shows(tree))?,
                HierarchyContent::Mount(_) => write!(f, " {}", text(&hierarchy.name))?,
            }
        }
        write!(f, " {}", attributes(self.attr))
    }
}

struct Shows<'a>(&'a Tree);

impl fmt::Display for Shows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Tree::Slot(slot) => write!(f, "need {}", slot.0),
            Tree::Path { path, recursive } => write!(f, "{} {}", tree_word(*recursive), text(path)),
            Tree::Inside { path, recursive, mapped } => {
                write!(f, "{} {} of the container", tree_word(*recursive), text(path))?;
                mapped.map_or(Ok(()), |mapped| write!(f, " with ids of {}", mapped.users))
            }
        }
    }
}

impl Op {
    /// The phrase that an error of this operation is framed in.
    #[must_use]
    pub fn frame(&self) -> String {
        match self {
            Op::Bind(bind) => format!("error mounting {:?} to rootfs at {:?}", text(&bind.source), text(&bind.target)),
            Op::Filesystem(fs) | Op::CgroupV1(CgroupV1 { tmpfs: fs, .. }) => {
                format!("error mounting {:?} to rootfs at {:?}", text(&fs.source), text(&fs.target))
            }
            Op::Remount(remount) => format!("error remounting {:?}", text(&remount.target)),
            Op::Device(device) => format!("error creating device nodes: {}", text(&device.path)),
            Op::Ptmx => "error setting up ptmx".into(),
            Op::Symlink(..) => "error setting up /dev symlinks".into(),
            Op::AttachRoot { .. } | Op::Propagate(_) | Op::OpenRoot(_) => "error preparing rootfs".into(),
            Op::HideHost(_) | Op::PivotRoot | Op::MoveRoot | Op::Chroot | Op::LeaveMountNamespace(_) => {
                "error jailing process inside rootfs".into()
            }
            Op::Console(_) => "error setting up console".into(),
            Op::OomScore(_) => "failed to update /proc/self/oom_score_adj".into(),
            Op::TimeOffsets(_) => "failed to update /proc/self/timens_offsets".into(),
            Op::Chdir(path) | Op::ChdirAsUser(path) => {
                format!("chdir to cwd ({:?}) set in config.json failed", text(path))
            }
            Op::User { .. } => "unable to setup user".into(),
            Op::Bounding(_) | Op::Capabilities(..) | Op::Ambient(_) => "unable to apply caps".into(),
            Op::Seccomp(_) => "unable to init seccomp".into(),
            Op::AppArmor(_) => "apparmor failed to apply profile".into(),
            Op::KeyLabel(_) | Op::ExecLabel(_) => "can't set process label".into(),
            op => op.to_string(),
        }
    }
}

fn text(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn lines(map: &str) -> String {
    map.trim_end().replace('\n', ", ")
}

fn tree_word(recursive: bool) -> &'static str {
    if recursive { "rbind" } else { "bind" }
}

/// `PID|NET` for clone flags.
pub(crate) fn namespaces(flags: u64) -> String {
    let names: Vec<&str> = NAMESPACES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "-".into() } else { names.join("|") }
}

fn attributes(mask: u64) -> String {
    let exact = |(bits, _): &&(u64, &str)| match *bits {
        0x70 => mask & 0x70 == 0x70,
        bits @ (0x10 | 0x20) => mask & 0x70 == bits,
        bits => mask & bits != 0,
    };
    ATTRIBUTES.iter().filter(exact).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

fn mount_flags(flags: u64) -> String {
    MOUNT_FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
}

fn propagation(flags: u64) -> String {
    let words = [(MS_SHARED, "shared"), (MS_SLAVE, "slave"), (MS_PRIVATE, "private"), (MS_UNBINDABLE, "unbindable")];
    let word = words.iter().find(|(flag, _)| flags & flag != 0).map_or("", |(_, word)| word);
    format!("{}{word}", if flags & MS_REC != 0 { "r" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_read_as_mount_options() {
        for (mask, words) in [
            (0, ""),
            (0x1 | 0x8, "ro,noexec"),
            (0x10, "noatime"),
            (0x20 | 0x80, "strictatime,nodiratime"),
            (0x70 | 0x2, "nosuid,atime"),
            (0x20_0000, "nosymfollow"),
        ] {
            assert_eq!(attributes(mask), words, "{mask:#x}");
        }
    }

    #[test]
    fn propagation_and_namespaces_have_names() {
        assert_eq!(propagation(MS_SLAVE | MS_REC), "rslave");
        assert_eq!(propagation(MS_UNBINDABLE), "unbindable");
        assert_eq!(namespaces(NEWNS | NEWUSER | NEWPID), "PID|NS|USER");
        assert_eq!(namespaces(0), "-");
        // a namespace that has no name would be missing from the dry run
        let all = NEWCGROUP | NEWIPC | NEWNET | NEWNS | NEWPID | NEWTIME | NEWUSER | NEWUTS;
        assert_eq!(NAMESPACES.iter().fold(0, |mask, (flag, _)| mask | flag), all);
    }

    #[test]
    fn operations_are_framed_in_words_that_callers_know() {
        let path = || c"/x".to_owned();
        for (op, frame) in [
            (Op::PivotRoot, "error jailing process inside rootfs"),
            (Op::LeaveMountNamespace(crate::plan::Slot(0)), "error jailing process inside rootfs"),
            (Op::Chroot, "error jailing process inside rootfs"),
            (Op::OpenRoot(path()), "error preparing rootfs"),
            (Op::Ptmx, "error setting up ptmx"),
            (Op::Symlink(path(), path()), "error setting up /dev symlinks"),
            (Op::Chdir(path()), "chdir to cwd (\"/x\") set in config.json failed"),
            (Op::User { uid: 0, gid: 0, groups: None, may_keep: false }, "unable to setup user"),
            (Op::Bounding(0), "unable to apply caps"),
            (Op::Ambient(0), "unable to apply caps"),
            (Op::OomScore(path()), "failed to update /proc/self/oom_score_adj"),
            (Op::TimeOffsets(path()), "failed to update /proc/self/timens_offsets"),
            (Op::AppArmor(path()), "apparmor failed to apply profile"),
            (Op::ExecLabel(path()), "can't set process label"),
        ] {
            assert_eq!(op.frame(), frame);
        }
    }
}
