//! The root file system: mounts, `/dev`, masked and read-only paths, and the change of root.
//!
//! Every path here is a path inside the rootfs, resolved by `root.rs` when the step runs; the only host paths are the
//! sources of bind mounts and the rootfs itself, which the parent opens ([`Open::Tree`]).

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Mount};

use super::bind::inherited;
use super::libc_flag::{
    MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_REC,
    MS_SHARED, MS_SLAVE, MS_STRICTATIME, MS_UNBINDABLE, NEWCGROUP, NEWNS, NEWUSER,
};
use super::mount_options::{self, Options, attr};
use super::{
    Bind, CgroupV1, Console, Detached, Device, Filesystem, Hierarchy, HierarchyContent, Mapped, Mountpoint, Op, Open,
    Planner, Tree,
};
use crate::error::{At, Problem};
use crate::plan::cgroup::Mode;

/// Attributes of a mount as flags of mount(2).
const ATTRIBUTE_FLAGS: [(u64, u64); 8] = [
    (attr::RDONLY, MS_RDONLY),
    (attr::NOSUID, MS_NOSUID),
    (attr::NODEV, MS_NODEV),
    (attr::NOEXEC, MS_NOEXEC),
    (attr::NOSYMFOLLOW, MS_NOSYMFOLLOW),
    (attr::NOATIME, MS_NOATIME),
    (attr::STRICTATIME, MS_STRICTATIME),
    (attr::NODIRATIME, MS_NODIRATIME),
];

/// Nodes that every container has (config-linux.md#default-devices).
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// Links that every container has.
const DEFAULT_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Files of procfs that a mount may cover: lxcfs and its like present per-container values there.
const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

const S_IFMT: u32 = 0o170_000;
const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;

impl Planner<'_> {
    fn linux(&self) -> Option<&Linux> {
        self.spec.linux().as_ref()
    }

    /// Whether what belongs to the host's ordinary users may belong to the container.
    pub(super) fn is_rootless(&self) -> bool {
        self.host.euid != 0 || self.host.user_namespace
    }

    pub(super) fn rootfs(&mut self) {
        if !self.ns.has(NEWNS) {
            return self.rootfs_without_mount_namespace();
        }
        let propagation = self.root_propagation();
        let at = At::field("linux.rootfsPropagation");
        // Shared: mounts made in the copied volumes are to reach the host. The parent opens these, so they are its mounts'
        // peers. What is here is not, whatever is asked for: the root is attached to it (pivot_root(2) wants no shared parent)
        // and it is unmounted, and neither is to reach the host.
        let shared = propagation & MS_SHARED != 0;
        let base = if propagation & (MS_SHARED | MS_UNBINDABLE) != 0 { MS_SLAVE | MS_REC } else { propagation };
        self.step(at, Op::Propagate(base));
        let path = self.root_path();
        let at = At::field("root.path");
        let tree = self.tree(at, path.clone(), true);
        let on = if self.attaches_over_slash() { c"/".into() } else { path };
        let of_root = inherited(&tree, base);
        self.step(at, Op::AttachRoot { on, tree, inherit: of_root });
        let inherit = if shared { 0 } else { base };
        let mounts = self.mounts();
        for (i, mount) in mounts.iter().enumerate() {
            self.mount(i, mount, inherit);
        }
        self.notify_mount(inherit);
        let dev_is_bound = mounts.iter().any(|m| is_path(m, "/dev") && is_bind(m));
        if !dev_is_bound {
            self.devices();
        }
    }

    /// Over "/", no directory on the way to the rootfs has to be open to a user namespace. But then no host path may be
    /// walked any more: one that climbs to "/" by `..` would come down in the container's root. So only where the parent
    /// opens all of them, and hooks, which look for the rootfs at its own path (NVIDIA's mount into it), do not run.
    pub(super) fn attaches_over_slash(&self) -> bool {
        self.opens_in_parent() && !self.has_hooks_before_pivot()
    }

    fn rootfs_without_mount_namespace(&mut self) {
        let path = self.root_path();
        self.step(At::field("root.path"), Op::OpenRoot(path));
        self.notify_needs_a_mount_namespace();
    }

    pub(super) fn root_path(&mut self) -> CString {
        self.text(At::field("root.path"), self.absolute_root().into_os_string().into_encoded_bytes())
    }

    pub(super) fn absolute_root(&self) -> PathBuf {
        let path = self.spec.root().as_ref().map_or(Path::new("rootfs"), |r| r.path().as_path());
        self.request.bundle.join(path)
    }

    pub(super) fn root_propagation(&self) -> u64 {
        match self.linux().and_then(|l| l.rootfs_propagation().as_deref()) {
            Some("private" | "rprivate") => MS_PRIVATE | MS_REC,
            Some("shared") => MS_SHARED,
            Some("rshared") => MS_SHARED | MS_REC,
            Some("unbindable") => MS_UNBINDABLE,
            Some("runbindable") => MS_UNBINDABLE | MS_REC,
            _ => MS_SLAVE | MS_REC,
        }
    }

    fn mount(&mut self, index: usize, mount: &Mount, inherit: u64) {
        let options = options_of(mount);
        let mapped = self.mapped(index, mount, &options);
        let at = At::item("mounts[#]", index);
        let target = self.text(At::item("mounts[#].destination", index), mount.destination().as_os_str().as_bytes());
        if clean(mount.destination()) == b"/" {
            let text = format!("mountpoint {:?} is on the top of rootfs", mount.destination());
            return self.problem(At::item("mounts[#].destination", index), "config.md#mounts", text);
        }
        if is_in_proc(mount.destination()) && !may_cover(mount.destination()) {
            let text = format!("{:?} cannot be mounted because it is inside /proc", mount.destination());
            return self.problem(At::item("mounts[#].destination", index), "", text);
        }
        match mount.typ().as_deref().unwrap_or("") {
            _ if options.remount => self.remount(at, target, is_bind(mount), options),
            _ if is_bind(mount) => self.bind(index, mount, target, options, (inherit, mapped)),
            fstype if fstype != "proc" && is_path(mount, "/proc") => {
                let text = format!("{fstype:?} cannot be mounted because it is not of type proc");
                self.problem(At::item("mounts[#].type", index), "", text);
            }
            "cgroup" => self.cgroup_mount(at, target, &options),
            fstype => {
                let source = mount.source().as_ref().map_or(OsStr::new(""), |s| s.as_os_str());
                self.filesystem(at, target, fstype, source.as_bytes(), &options, mapped);
            }
        }
    }

    fn filesystem(
        &mut self,
        at: At,
        target: CString,
        fstype: &str,
        source: &[u8],
        options: &Options,
        mapped: Option<Mapped>,
    ) {
        let mut filesystem = self.new_filesystem(at, target, fstype, source, options);
        if mapped.is_some() || options.copy_up || self.is_closed_disk(&filesystem) {
            self.detach(at, &mut filesystem, options, mapped);
        }
        self.step(at, Op::Filesystem(filesystem));
    }

    fn new_filesystem(
        &mut self,
        at: At,
        target: CString,
        fstype: &str,
        source: &[u8],
        options: &Options,
    ) -> Filesystem {
        let late = remounts_late(fstype, target.as_bytes());
        let flags = mount_flags(options) & if late { !MS_RDONLY } else { !0 };
        let context = self.context_option(fstype, &options.data);
        let data = [options.data_text(), context.unwrap_or_default()];
        let data = self.text(at, data.join(",").trim_matches(','));
        let label = self.label_attribute(fstype);
        let has_mode = options.data.iter().any(|(key, _)| key == "mode");
        let mountpoint = match fstype {
            "proc" | "sysfs" => Mountpoint::Ordinary,
            "tmpfs" if !has_mode => Mountpoint::KeepMode,
            _ => Mountpoint::Directory,
        };
        // With `subset=pid` there is no /proc/sys in it, so it cannot serve as the handle for sysctls.
        let path = Path::new(OsStr::from_bytes(target.to_bytes()));
        let plain = flags & !(MS_NOSUID | MS_NODEV | MS_NOEXEC) == 0 && options.data.is_empty();
        let is_proc = fstype == "proc" && clean(path) == b"/proc" && plain && options.propagation.is_empty();
        let may_cover_proc = fstype == "proc" || may_cover(path);
        let (source, fstype) = (self.text(at, source), self.text(at, fstype));
        let propagation = options.propagation.clone();
        let detached = None;
        Filesystem {
            target,
            source,
            fstype,
            flags,
            data,
            label,
            propagation,
            mountpoint,
            is_proc,
            may_cover_proc,
            detached,
        }
    }

    /// A file system that is to be read-only but in which something is made after mounting it (mountpoints below it,
    /// device nodes): made read-only at the end.
    fn late_readonly(&mut self, index: usize, mount: &Mount) {
        let fstype = mount.typ().as_deref().unwrap_or("");
        let target = mount.destination().as_os_str().as_bytes();
        let options = options_of(mount);
        if !is_bind(mount) && !options.remount && remounts_late(fstype, target) && options.set & attr::RDONLY != 0 {
            let at = At::item("mounts[#]", index);
            let target = self.text(at, target);
            self.step(at, Op::RemountReadonly(target));
        }
    }

    /// Type `cgroup`: v2's one tree, or v1's directory of hierarchies.
    fn cgroup_mount(&mut self, at: At, target: CString, options: &Options) {
        let own_user = self.ns.has(NEWUSER) || self.host.user_namespace || !self.host.is_privileged();
        match self.host.cgroups.mode {
            Mode::Absent => {}
            Mode::V2 if own_user && !self.ns.has(NEWCGROUP) => {
                // The kernel refuses a cgroup2 mount that would show more than the caller's namespace does. What is bound
                // in its place shows cgroups that are not the container's, so it is read-only (CVE-2023-25809).
                if options.clear & attr::RDONLY != 0 {
                    let text = "read-only all the same: without a cgroup namespace these are the host's cgroups";
                    self.problems.push(Problem::warning(at, "", text));
                }
                let tree = self.tree(at, c"/sys/fs/cgroup".into(), true);
                let propagation = options.propagation.clone();
                let bind = Bind {
                    inherit: MS_PRIVATE | MS_REC,
                    set: options.set,
                    clear: options.clear & !attr::RDONLY,
                    tree_set: attr::RDONLY,
                    propagation,
                    ..Bind::plain(c"/sys/fs/cgroup".into(), target, tree)
                };
                self.step(at, Op::Bind(bind));
            }
            Mode::V2 => {
                let plain = Options { data: vec![], ..options.clone() };
                let mut tree = self.new_filesystem(at, target, "cgroup2", b"cgroup", &plain);
                if self.binds_above(&tree.target) {
                    // The host's /sys is bound, and so the same file system is there already: mount(2) refuses (EBUSY).
                    tree.detached = Some(Detached { made: None, attr: options.set, copy_up: false });
                }
                self.step(at, Op::Filesystem(tree));
            }
            Mode::V1 | Mode::Hybrid => self.cgroup_v1_mount(at, &target, options),
        }
    }

    /// Whether a bind mount may have brought along what is at this path.
    fn binds_above(&self, target: &CStr) -> bool {
        let target = clean(Path::new(OsStr::from_bytes(target.to_bytes())));
        let target = Path::new(OsStr::from_bytes(&target));
        let mounts = self.mounts();
        let mut binds = mounts.iter().filter(|mount| is_bind(mount));
        binds.any(|bind| target.starts_with(OsStr::from_bytes(&clean(bind.destination()))))
    }

    fn cgroup_v1_mount(&mut self, at: At, target: &CString, options: &Options) {
        let tmpfs = Options {
            set: attr::NOSUID | attr::NODEV | attr::NOEXEC,
            data: vec![("mode".into(), Some("755".into()))],
            propagation: options.propagation.clone(),
            ..Options::default()
        };
        let tmpfs = self.new_filesystem(at, target.clone(), "tmpfs", b"cgroup", &tmpfs);
        let dirs: Vec<_> = self.cgroup.dirs.iter().enumerate().filter(|(_, d)| !d.v2).collect();
        let namespace = self.ns.is_new(NEWCGROUP);
        // Without a cgroup namespace what is shown is bound, and an ordinary user cannot copy the host's mounts.
        let may_bind =
            if self.cgroup.tolerate_failure { self.host.may_copy_mounts() } else { self.host.is_privileged() };
        let dirs = if namespace || may_bind { dirs } else { vec![] };
        let named: Vec<_> = dirs.into_iter().map(|(i, d)| (i, d.mount.clone(), d.absolute())).collect();
        let hierarchies = named.into_iter().map(|(i, name, dir)| self.hierarchy(at, i, &name, dir)).collect();
        // Where no cgroup could be made this is the runtime's own, which the container must not write to (CVE-2023-25809).
        let protect = if self.cgroup.tolerate_failure && !namespace { attr::RDONLY } else { 0 };
        let attr = options.set | protect;
        self.step(at, Op::CgroupV1(CgroupV1 { tmpfs, hierarchies, attr, flags: mount_flags(options) }));
    }

    fn hierarchy(&mut self, at: At, index: usize, name: &str, dir: String) -> Hierarchy {
        let content = if self.ns.is_new(NEWCGROUP) {
            HierarchyContent::Mount(self.text(at, hierarchy_options(name)))
        } else if self.cgroup.unit.is_none() && (self.opens_in_parent() || self.cgroup.tolerate_failure) {
            HierarchyContent::Own(Tree::Slot(self.need(at, Open::CgroupTree(index))))
        } else {
            HierarchyContent::Own(Tree::Path { path: self.text(at, dir), recursive: false })
        };
        let links = name.split(',').filter(|alias| *alias != name).map(|alias| self.text(at, alias)).collect();
        Hierarchy { name: self.text(at, name), links, content }
    }

    fn devices(&mut self) {
        let listed: Vec<LinuxDevice> = self.linux().and_then(|l| l.devices().clone()).unwrap_or_default();
        for (path, major, minor) in DEFAULT_DEVICES {
            if listed.iter().all(|d| clean(d.path()) != path.as_bytes()) {
                let at = At::field("default devices");
                self.device(at, path.as_bytes(), S_IFCHR | 0o666, makedev(major, minor), None);
            }
        }
        for (i, device) in listed.iter().enumerate() {
            let path = device.path().as_os_str().as_bytes();
            if clean(device.path()) == b"/dev/ptmx" {
                continue; // always the link to the container's own devpts
            }
            let kind = match device.typ() {
                LinuxDeviceType::B => S_IFBLK,
                LinuxDeviceType::P => S_IFIFO,
                _ => S_IFCHR,
            };
            let mode = kind | (device.file_mode().unwrap_or(0o666) & 0o7777);
            let number = |n: i64| u32::try_from(n).unwrap_or(0);
            let rdev = if kind == S_IFIFO { 0 } else { makedev(number(device.major()), number(device.minor())) };
            let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
            self.device(At::item("linux.devices[#]", i), path, mode, rdev, Some(owner));
        }
        let at = At::field("default devices");
        self.step(at, Op::Ptmx);
        let core = self.host.has_kcore.then_some(("/proc/kcore", "/dev/core"));
        for (to, link) in DEFAULT_LINKS.into_iter().chain(core) {
            let (to, link) = (self.text(at, to), self.text(at, link));
            self.step(at, Op::Symlink(to, link));
        }
    }

    /// `owner`: of a node that the config lists.
    fn device(&mut self, at: At, path: &[u8], mode: u32, rdev: u64, owner: Option<(u32, u32)>) {
        // mknod(2) needs CAP_MKNOD in the initial user namespace.
        let in_userns = self.ns.has(NEWUSER) || self.host.user_namespace || !self.host.is_privileged();
        let path = self.text(at, clean(Path::new(OsStr::from_bytes(path))));
        let bind = (in_userns && mode & S_IFMT != S_IFIFO).then(|| self.tree(at, path.clone(), false));
        let (uid, gid) = owner.unwrap_or((0, 0));
        self.step(at, Op::Device(Device { path, mode, rdev, uid, gid, is_default: owner.is_none(), bind }));
    }

    pub(super) fn enter_root(&mut self) {
        let at = At::field("root.path");
        let own_mounts = self.ns.has(NEWNS);
        let propagation = self.root_propagation();
        if own_mounts && !self.request.no_pivot {
            self.step(at, Op::PivotRoot);
        } else {
            if own_mounts {
                self.hide_kernel_mounts(at);
            }
            if own_mounts && !self.attaches_over_slash() {
                self.step(at, Op::MoveRoot); // a chroot(2) below the old root could be left again
            }
            self.step(at, Op::Chroot);
        }
        if own_mounts && propagation & (MS_SHARED | MS_UNBINDABLE) != 0 {
            let at = At::field("linux.rootfsPropagation");
            if propagation & MS_SHARED != 0 {
                // "a new peer group", and no slave of the host's; what is mounted on it keeps its peers
                self.step(at, Op::RootPropagation(MS_PRIVATE));
            }
            self.step(at, Op::RootPropagation(propagation));
        }
        if own_mounts && self.request.no_pivot && propagation & MS_PRIVATE != 0 {
            let text = "rootfsPropagation of [r]private is not safe without pivot_root";
            self.problem(At::field("linux.rootfsPropagation"), "", text);
        }
        self.stdio(own_mounts);
        if let Some(process) = self.process() {
            let at = At::field("process.cwd");
            let cwd = self.text(at, process.cwd().as_os_str().as_bytes());
            if cwd.as_bytes() != b"/" {
                self.step(at, Op::MakeCwd(cwd));
            }
        }
        for (i, mount) in self.mounts().iter().enumerate() {
            self.late_readonly(i, mount);
        }
        if own_mounts && self.spec.root().as_ref().and_then(|r| r.readonly()).unwrap_or(false) {
            self.step(At::field("root.readonly"), Op::RootReadonly);
        }
        let umask = self.process().and_then(|p| p.user().umask()).unwrap_or(0o022);
        self.step(At::field("process.user.umask"), Op::Umask(umask));
    }

    /// A terminal takes the place of all three, or else what is the host's `/dev/null` is replaced.
    pub(super) fn stdio(&mut self, own_mounts: bool) {
        let at = At::field("process.terminal");
        let process = self.process().filter(|process| process.terminal() == Some(true));
        let Some(process) = process else { return self.step(At::field("process"), Op::ReopenNull) };
        let Some(asked) = self.request.console else {
            return self.problem(at, "", "there is nobody to take the terminal's master end (--console-socket)");
        };
        let part = |n: u64| u16::try_from(n).ok().filter(|n| *n != 0);
        let size = || process.console_size().and_then(|size| Some((part(size.height())?, part(size.width())?)));
        let (size, bare_newlines) = (asked.size.or_else(size), asked.bare_newlines);
        let socket = self.need(at, Open::ConsoleSocket);
        // Without a mount namespace /dev/console would be covered for everybody who sees this directory.
        self.step(at, Op::Console(Console { socket, size, bare_newlines, bind: own_mounts }));
    }

    pub(super) fn readonly_paths(&mut self) {
        let paths = self.linux().and_then(|l| l.readonly_paths().clone()).unwrap_or_default();
        for (i, path) in paths.iter().enumerate() {
            let at = At::item("linux.readonlyPaths[#]", i);
            let path = self.text(at, path.as_str());
            self.step(at, Op::Readonly(path));
        }
    }

    pub(super) fn masked_paths(&mut self) {
        let paths = self.linux().and_then(|l| l.masked_paths().clone()).unwrap_or_default();
        for (i, path) in paths.iter().enumerate() {
            if paths.iter().take(i).any(|earlier| earlier == path) {
                continue;
            }
            let at = At::item("linux.maskedPaths[#]", i);
            let path = self.text(at, path.as_str());
            let context = self.context_option("tmpfs", &[]).map(|context| self.text(at, context));
            self.step(at, Op::Mask(path, context));
        }
    }
}

fn options_of(mount: &Mount) -> Options {
    let options = mount_options::parse(mount.options().as_deref().unwrap_or(&[]));
    if is_bind(mount) { options } else { options.of_one_mount() }
}

pub(super) fn is_bind(mount: &Mount) -> bool {
    let word = |o: &String| o == "bind" || o == "rbind";
    matches!(mount.typ().as_deref(), Some("bind" | "rbind")) || mount.options().iter().flatten().any(word)
}

pub(super) fn is_path(mount: &Mount, path: &str) -> bool {
    clean(mount.destination()) == path.as_bytes()
}

/// tmpfs and whatever lies on /dev: mountpoints and nodes are made in them after they are mounted.
fn remounts_late(fstype: &str, target: &[u8]) -> bool {
    fstype == "tmpfs" || clean(Path::new(OsStr::from_bytes(target))) == b"/dev"
}

/// Options that select a v1 hierarchy: its controllers, or its name.
fn hierarchy_options(dir: &str) -> &str {
    if dir == "systemd" { "none,name=systemd" } else { dir }
}

pub(super) fn mount_flags(options: &Options) -> u64 {
    let attributes = ATTRIBUTE_FLAGS.iter().filter(|(attribute, _)| options.set & attribute != 0);
    attributes.fold(options.sb_flags, |flags, (_, flag)| flags | flag)
}

fn is_in_proc(path: &Path) -> bool {
    clean(path).starts_with(b"/proc/")
}

pub(super) fn may_cover(path: &Path) -> bool {
    let path = clean(path);
    COVERABLE.iter().any(|c| c.as_bytes() == path)
}

/// The path with `.`, `..` and doubled slashes taken out, as if "/" were its root.
pub(super) fn clean(path: &Path) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.as_os_str().as_bytes().split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut cleaned = vec![b'/'];
    cleaned.extend(parts.join(&b'/'));
    cleaned
}

/// The kernel's device number for user space (as glibc's `makedev`).
fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_if_rooted() {
        let table = [
            ("/a/b", "/a/b"),
            ("a//b/", "/a/b"),
            ("/a/./b/..", "/a"),
            ("/../..", "/"),
            ("", "/"),
            ("/..a/...", "/..a/..."),
            ("/a/../../b", "/b"),
        ];
        for (given, expected) in table {
            assert_eq!(clean(Path::new(given)), expected.as_bytes(), "{given}");
        }
    }

    #[test]
    fn what_lies_in_procfs() {
        for (path, inside, coverable) in [
            ("/proc", false, false),
            ("/proc/", false, false),
            ("/procfs", false, false),
            ("/proc/sys", true, false),
            ("/proc/../etc", false, false),
            ("/tmp/../proc/1", true, false),
            ("/proc/./meminfo", true, true),
            ("/proc/meminfo/x", true, false),
        ] {
            assert_eq!((is_in_proc(Path::new(path)), may_cover(Path::new(path))), (inside, coverable), "{path}");
        }
    }

    #[test]
    fn device_numbers_are_the_kernels() {
        assert_eq!(makedev(1, 3), 0x103);
        for (major, minor) in [(0, 0), (10, 229), (4095, 0xf_ffff), (0x12345, 0x6789a), (u32::MAX, u32::MAX)] {
            assert_eq!(makedev(major, minor), rustix::fs::makedev(major, minor), "{major}:{minor}");
        }
    }

    #[test]
    fn mounts_that_become_read_only_late() {
        for (fstype, target, late) in [
            ("tmpfs", "/x", true),
            ("sysfs", "/sys", false),
            ("devtmpfs", "/dev/", true),
            ("devpts", "/dev/pts", false),
            ("proc", "/proc", false),
        ] {
            assert_eq!(remounts_late(fstype, target.as_bytes()), late, "{fstype} on {target}");
        }
    }

    #[test]
    fn v1_hierarchies_are_selected_by_controllers_or_name() {
        assert_eq!(hierarchy_options("cpu,cpuacct"), "cpu,cpuacct");
        assert_eq!(hierarchy_options("systemd"), "none,name=systemd");
    }
}
