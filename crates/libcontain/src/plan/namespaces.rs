//! Namespaces: which are new, which are joined, and whether a third process is needed.
//!
//! A namespace of kind pid or time holds for children only, and a user namespace must be entered before the
//! namespaces that it is to own are made. So when one of them is joined (or others are joined beside a new user
//! namespace), the first process joins and then clones init (`Op::Fork`, with `CLONE_PARENT`, so that the caller is
//! init's parent all the same). Otherwise the first process is init.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CStr;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, LinuxTimeOffset, Spec};

use super::annotations;
use super::libc_flag::{NEWCGROUP, NEWIPC, NEWNET, NEWNS, NEWPID, NEWTIME, NEWUSER, NEWUTS};
use super::{Gate, IdMap, JoinedMaps, Maps, Op, Open, Planner, Slot, idmap};
use crate::error::At;

/// The kinds in the order in which they are joined: the mount namespace last, because paths change with it.
const JOIN_ORDER: [u64; 7] = [NEWIPC, NEWUTS, NEWNET, NEWCGROUP, NEWPID, NEWTIME, NEWNS];

/// `linux.namespaces`, by kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    entries: Vec<(u64, usize, Option<Vec<u8>>)>,
}

impl From<&Spec> for Wanted {
    fn from(spec: &Spec) -> Self {
        let list = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
        let entries = list.into_iter().flatten().enumerate().map(|(i, ns)| {
            let path = ns.path().as_ref().map(|p| p.as_os_str().as_encoded_bytes().to_vec());
            (flag(ns.typ()), i, path.filter(|p| !p.is_empty()))
        });
        Wanted { entries: entries.collect() }
    }
}

impl Wanted {
    /// All of them as namespaces that exist.
    pub fn joined(spec: &Spec) -> Self {
        let entries = Wanted::from(spec).entries.into_iter().map(|(kind, i, _)| (kind, i, Some(vec![])));
        Wanted { entries: entries.collect() }
    }

    /// These, and a new one of this kind, which the config does not name.
    pub fn with_new(mut self, kind: u64) -> Self {
        self.entries.push((kind, 0, None));
        self
    }

    /// All kinds that the config names, as clone flags.
    pub fn all(&self) -> u64 {
        self.entries.iter().fold(0, |all, (kind, ..)| all | kind)
    }

    /// Whether the config names this kind, new or by path.
    pub fn has(&self, kind: u64) -> bool {
        self.entries.iter().any(|(k, ..)| *k == kind)
    }

    /// Whether a namespace of this kind is made.
    pub fn is_new(&self, kind: u64) -> bool {
        self.entries.iter().any(|(k, _, path)| *k == kind && path.is_none())
    }

    /// Whether a namespace of this kind is joined by path.
    pub fn is_joined(&self, kind: u64) -> bool {
        self.has(kind) && !self.is_new(kind)
    }

    /// The place of this kind in the config.
    pub fn at(&self, kind: u64) -> At {
        At::item("linux.namespaces[#]", self.index(kind))
    }

    fn index(&self, kind: u64) -> usize {
        self.entries.iter().find(|(k, ..)| *k == kind).map_or(0, |(_, i, _)| *i)
    }

    /// The file to join this kind by.
    pub fn path(&self, kind: u64) -> Option<&[u8]> {
        self.entries.iter().find(|(k, ..)| *k == kind).and_then(|(.., path)| path.as_deref())
    }

    /// Those of `kinds` that are new, as clone flags.
    fn new_of(&self, kinds: u64) -> u64 {
        self.entries.iter().filter(|(k, _, path)| path.is_none() && kinds & k != 0).fold(0, |all, (k, ..)| all | k)
    }

    fn any_joined(&self) -> bool {
        self.entries.iter().any(|(.., path)| path.is_some())
    }

    /// Whether init must be cloned by a process that has joined namespaces before.
    fn needs_fork(&self) -> bool {
        [NEWPID, NEWTIME, NEWUSER].iter().any(|k| self.is_joined(*k)) || (self.is_new(NEWUSER) && self.any_joined())
    }
}

/// The words of `linux.namespaces[].type`, sorted, and the kinds.
const KINDS: [(&str, u64); 8] = [
    ("cgroup", NEWCGROUP),
    ("ipc", NEWIPC),
    ("mount", NEWNS),
    ("network", NEWNET),
    ("pid", NEWPID),
    ("time", NEWTIME),
    ("user", NEWUSER),
    ("uts", NEWUTS),
];

/// The words alone.
pub(crate) fn kinds() -> Vec<&'static str> {
    KINDS.iter().map(|(word, _)| *word).collect()
}

/// What a kind is called in a config.
const fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

fn flag(kind: LinuxNamespaceType) -> u64 {
    KINDS.iter().find(|(name, _)| *name == word(kind)).map_or(0, |(_, flag)| *flag)
}

/// The name of a kind in `/proc/PID/ns`.
pub(crate) const fn file(kind: u64) -> &'static str {
    match kind {
        NEWNS => "mnt",
        NEWCGROUP => "cgroup",
        NEWUTS => "uts",
        NEWIPC => "ipc",
        NEWUSER => "user",
        NEWPID => "pid",
        NEWNET => "net",
        _ => "time",
    }
}

impl Planner<'_> {
    pub(super) fn namespaces(&mut self) {
        let user = self.ns.is_new(NEWUSER) || self.ns.is_joined(NEWUSER);
        // IPC made in the same clone as the user namespace leaves /dev/mqueue owned by nobody; NET and UTS are kept
        // with it. A new cgroup namespace is always made later, from inside the cgroup.
        let at_clone = NEWUSER | NEWPID | NEWTIME | NEWNS | if user { 0 } else { NEWIPC | NEWNET | NEWUTS };
        let mut flags = self.ns.new_of(at_clone) & if self.makes_time_itself() { !NEWTIME } else { !0 };
        let later = self.ns.new_of(NEWIPC | NEWNET | NEWUTS) & !flags;
        if self.ns.needs_fork() {
            if !self.gains_privilege() {
                // Whoever is in a namespace that is joined may see init from its clone on (CVE-2016-9962).
                self.step(At::field("process"), Op::Undumpable);
            }
            self.joins();
            let at = self.ns.at(NEWPID);
            self.step(at, Op::Fork { flags, cgroup: None });
            flags = 0;
        }
        self.spawn.flags = flags;
        if self.ns.is_new(NEWUSER) {
            self.maps();
        } else if self.ns.is_joined(NEWUSER) {
            self.joined_maps();
        }
        if !self.ns.needs_fork() {
            self.joins();
        }
        if later != 0 {
            self.step(self.ns.at(NEWUSER), Op::Unshare(later));
        }
        self.step(At::field("process"), Op::Undumpable);
    }

    /// The offsets of a time namespace are fixed as soon as a process is in it, so it is not made by clone3(2)
    /// (time_namespaces(7)).
    pub(super) fn time_offsets(&mut self) {
        if self.makes_time_itself() && !self.gains_privilege() {
            self.make_time();
        }
    }

    /// An ordinary user may make other namespaces only inside the new user namespace.
    fn gains_privilege(&self) -> bool {
        self.ns.is_new(NEWUSER) && !self.host.is_privileged()
    }

    fn make_time(&mut self) {
        let at = At::field("linux.timeOffsets");
        let sorted: BTreeMap<_, _> = self.offsets().into_iter().flatten().collect();
        let lines = sorted.into_iter().map(|(clock, offset)| {
            format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
        });
        let text = self.text(at, lines.collect::<String>());
        self.step(at, Op::TimeOffsets(text));
    }

    fn makes_time_itself(&self) -> bool {
        self.offsets().is_some() || (self.spawn.old_clone && self.ns.is_new(NEWTIME))
    }

    fn offsets(&self) -> Option<&HashMap<String, LinuxTimeOffset>> {
        self.spec.linux().as_ref()?.time_offsets().as_ref().filter(|offsets| !offsets.is_empty())
    }

    /// Root may enter everything but loses that power with the user namespace, so that comes last; an ordinary user
    /// gains power only by it, so it comes first.
    fn joins(&mut self) {
        let user = self.ns.is_joined(NEWUSER);
        if user && !self.host.is_privileged() {
            self.join_user();
        }
        for kind in JOIN_ORDER {
            if let Some(slot) = self.namespace_slot(kind) {
                self.step(self.ns.at(kind), Op::SetNs(slot, kind));
            }
        }
        if user && self.host.is_privileged() {
            self.join_user();
        }
    }

    fn join_user(&mut self) {
        if let Some(slot) = self.namespace_slot(NEWUSER) {
            let at = self.ns.at(NEWUSER);
            let keep_groups = annotations::keeps_groups(self.spec);
            if !keep_groups {
                self.step(at, Op::DropGroups);
            }
            self.step(at, Op::SetNs(slot, NEWUSER));
            self.step(at, Op::BecomeRoot { keep_groups });
        }
    }

    fn namespace_slot(&mut self, kind: u64) -> Option<Slot> {
        let path = self.ns.path(kind)?.to_vec();
        let at = At::item("linux.namespaces[#].path", self.ns.index(kind));
        let path = self.text(at, path);
        let unless_own = self.unless_own(kind, at, &path);
        Some(self.need(at, Open::Namespace { path, kind, unless_own }))
    }

    /// Why a joined namespace must not be the runtime's own: what is done in it would be done to the host.
    fn unless_own(&self, kind: u64, at: At, path: &CStr) -> Option<(At, String)> {
        let linux = self.spec.linux().as_ref()?;
        if kind == NEWNS {
            // Its root would be replaced for everybody in it, us and the host included.
            return Some((at, format!("{path:?} is the runtime's own mount namespace")));
        }
        if kind == NEWNET && linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()) {
            let text = "unable to move network devices without a NET namespace: the container's is the runtime's own";
            return Some((At::field("linux.netDevices"), text.into()));
        }
        let refused = |key: &String| {
            let path = crate::check::sysctl_path(key).ok()?;
            let of = crate::check::sysctl_namespace(&path).filter(|of| flag(*of) == kind)?;
            Some(crate::check::sysctl_refused(key, &path, Some(of)))
        };
        let text = linux.sysctl().iter().flat_map(|map| map.keys()).filter_map(refused).min()?;
        Some((At::field("linux.sysctl"), text))
    }

    fn maps(&mut self) {
        let Some(linux) = self.spec.linux() else { return };
        let (uids, gids) = (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
        let [may_uid, may_gid] = self.host.may_map();
        let at = At::field("linux.uidMappings");
        let uid =
            Mapper { may: may_uid, own: self.host.euid, program: self.host.newuidmap.as_ref(), name: "newuidmap" };
        let uid = self.id_map(at, uids.unwrap_or(&[]), &uid);
        let gid =
            Mapper { may: may_gid, own: self.host.egid, program: self.host.newgidmap.as_ref(), name: "newgidmap" };
        let gid = self.id_map(At::field("linux.gidMappings"), gids.unwrap_or(&[]), &gid);
        // An ordinary user may map his own group only after giving up setgroups(2) (user_namespaces(7)); newgidmap(1)
        // decides that for itself.
        let deny_setgroups = !may_gid && gid.program.is_none();
        self.spawn.maps = Some(Maps { uid, gid, deny_setgroups });
        self.step(at, Op::Gate(Gate::Map));
        if self.makes_time_itself() && self.gains_privilege() {
            self.make_time(); // while /proc/self is still the user's: another id makes it root's
        }
        self.step(at, Op::BecomeRoot { keep_groups: annotations::keeps_groups(self.spec) });
    }

    /// A config that names a user namespace and its maps as well (containerd, CRI-O) means the same by both.
    fn joined_maps(&mut self) {
        let Some(linux) = self.spec.linux() else { return };
        let list = |mappings: &Option<Vec<LinuxIdMapping>>| idmap::sorted(mappings.as_deref().unwrap_or(&[]));
        let maps = JoinedMaps { uid: list(linux.uid_mappings()), gid: list(linux.gid_mappings()) };
        self.spawn.joined_maps = Some(maps).filter(|maps| !maps.uid.is_empty() || !maps.gid.is_empty());
    }

    fn id_map(&mut self, at: At, mappings: &[LinuxIdMapping], mapper: &Mapper<'_>) -> IdMap {
        let lines = idmap::text(mappings);
        let own_alone = match mappings {
            [] => true, // told by check
            [one] => one.size() == 1 && one.host_id() == mapper.own,
            _ => false,
        };
        let program = mapper.program.filter(|_| !mapper.may && !own_alone).cloned();
        if program.is_none() && !mapper.may && !own_alone {
            let text = format!(
                "needs {} (package uidmap), which is not found in PATH: an ordinary user may map no id but his own, {}",
                mapper.name, mapper.own
            );
            self.problem(at, "config-linux.md#user-namespace-mappings", text);
        }
        IdMap { lines, program }
    }
}

/// Who is to write the map of one kind of id.
struct Mapper<'a> {
    /// The caller may map any.
    may: bool,
    /// The id that he may map in any case.
    own: u32,
    program: Option<&'a PathBuf>,
    name: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind`, or `kind!` for one that is joined by path; `kind?` has an empty path, which is none.
    fn wanted(list: &[&str]) -> Wanted {
        let entry = |text: &&str| match (text.strip_suffix('!'), text.strip_suffix('?')) {
            (Some(kind), _) => serde_json::json!({ "type": kind, "path": "/ns" }),
            (_, Some(kind)) => serde_json::json!({ "type": kind, "path": "" }),
            _ => serde_json::json!({ "type": text }),
        };
        let list: Vec<_> = list.iter().map(entry).collect();
        let spec = serde_json::json!({ "ociVersion": "1.0.2", "linux": { "namespaces": list } });
        Wanted::from(&serde_json::from_value::<Spec>(spec).unwrap())
    }

    #[test]
    fn a_third_process_is_for_namespaces_that_hold_for_children() {
        for (list, forks) in [
            (&["pid", "mount", "user", "time"][..], false),
            (&["pid!", "mount"], true),
            (&["time!"], true),
            (&["user!"], true),
            (&["network!", "ipc!", "uts!", "mount!", "cgroup!"], false),
            (&["user", "network!"], true),
            (&["user", "network?"], false),
            (&[], false),
        ] {
            assert_eq!(wanted(list).needs_fork(), forks, "{list:?}");
        }
    }

    #[test]
    fn an_empty_path_is_a_new_namespace() {
        let ns = wanted(&["ipc", "pid?", "network!"]);
        assert!(ns.is_new(NEWPID) && !ns.is_joined(NEWPID));
        assert!(ns.is_joined(NEWNET) && !ns.is_new(NEWNET));
        assert!(!ns.has(NEWUSER) && !ns.is_joined(NEWUSER));
        assert_eq!(ns.new_of(NEWPID | NEWIPC | NEWNET | NEWUSER), NEWPID | NEWIPC);
        assert_eq!(ns.at(NEWNET).to_string(), "linux.namespaces[2]");
    }

    fn request() -> super::super::Request<'static> {
        super::super::Request {
            id: "c",
            bundle: std::path::Path::new("/b"),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            wait_for_start: true,
            listen_fds: 0,
            listen_fd_names: None,
            notify_dir: None,
            console: None,
        }
    }

    /// Init is not dumpable from its clone on, and again once its ids have changed. Of an ordinary user's init the parent has
    /// to write the maps first.
    #[test]
    fn nobody_traces_who_joins() {
        use super::super::plan;
        use crate::host::Host;
        let root = Host { rootless_cgroups: true, ..Host::privileged() };
        let user = Host { euid: 1000, egid: 100, capabilities: 0, ..root.clone() };
        for (host, list, expected) in [
            (&root, &["pid!"][..], "undumpable join fork undumpable"),
            (&root, &["pid!", "user!"], "undumpable join join root fork undumpable"),
            (&root, &["pid!", "user"], "undumpable join fork root undumpable"),
            (&root, &["network!"], "join undumpable"),
            (&user, &["user!"], "undumpable join root fork undumpable"),
            (&user, &["user", "network!"], "join fork root undumpable"),
        ] {
            let kind = |text: &&str| match text.strip_suffix('!') {
                Some(kind) => serde_json::json!({ "type": kind, "path": "/ns" }),
                None => serde_json::json!({ "type": text }),
            };
            let namespaces: Vec<_> = list.iter().chain(&["mount"]).map(kind).collect();
            let map = serde_json::json!([{ "containerID": 0, "hostID": host.euid, "size": 1 }]);
            let gids = serde_json::json!([{ "containerID": 0, "hostID": host.egid, "size": 1 }]);
            let spec = serde_json::json!({ "ociVersion": "1.0.2",
                "linux": { "namespaces": namespaces, "uidMappings": map, "gidMappings": gids } });
            let plan = plan(&request(), &serde_json::from_value::<Spec>(spec).unwrap(), host).unwrap();
            let word = |step: &super::super::Step| match step.op {
                Op::Undumpable => Some("undumpable"),
                Op::SetNs(..) => Some("join"),
                Op::BecomeRoot { .. } => Some("root"),
                Op::Fork { .. } => Some("fork"),
                _ => None,
            };
            assert_eq!(plan.steps.iter().filter_map(word).collect::<Vec<_>>().join(" "), expected, "{list:?}");
        }
    }

    /// Who writes the maps, for callers with and without capabilities and programs.
    #[test]
    fn maps_are_written_by_who_may() {
        use super::super::plan;
        use crate::host::Host;
        let root = Host { rootless_cgroups: true, ..Host::privileged() };
        let user = Host { euid: 1000, egid: 100, capabilities: 0, ..root.clone() };
        let given =
            Host { newuidmap: Some("/b/newuidmap".into()), newgidmap: Some("/b/newgidmap".into()), ..user.clone() };
        let half = Host { newgidmap: None, ..given.clone() };
        let capable = Host { capabilities: 1 << 7, ..user.clone() };
        let written = |host: &Host, uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]| {
            let list = |rows: &[(u32, u32, u32)]| -> serde_json::Value {
                rows.iter().map(|r| serde_json::json!({"containerID": r.0, "hostID": r.1, "size": r.2})).collect()
            };
            let spec = serde_json::json!({ "ociVersion": "1.0.2", "linux": {
                "namespaces": [{"type": "user"}, {"type": "mount"}], "uidMappings": list(uids), "gidMappings": list(gids),
            }});
            match plan(&request(), &serde_json::from_value::<Spec>(spec).unwrap(), host) {
                Ok(plan) => {
                    let maps = plan.spawn.maps.unwrap();
                    let by =
                        |map: &IdMap| map.program.as_ref().map_or("parent".to_owned(), |p| p.display().to_string());
                    format!("{} {}{}", by(&maps.uid), by(&maps.gid), if maps.deny_setgroups { " deny" } else { "" })
                }
                Err(problems) => problems.iter().map(|p| format!("{} ", p.at)).collect(),
            }
        };
        let (own, range) = ([(0, 1000, 1)], [(0, 1000, 1), (1, 100_000, 9)]);
        let (own_gid, gids) = ([(5, 100, 1)], [(0, 100, 1), (1, 100_000, 9)]);
        for (host, uids, gids, expected) in [
            (&root, &range[..], &gids[..], "parent parent"),
            (&user, &own, &own_gid, "parent parent deny"),
            (&given, &own, &own_gid, "parent parent deny"),
            (&given, &range, &gids, "/b/newuidmap /b/newgidmap"),
            (&given, &own, &gids, "parent /b/newgidmap"),
            (&given, &range, &own_gid, "/b/newuidmap parent deny"),
            (&given, &[(0, 1000, 2)], &[(0, 1000, 1)], "/b/newuidmap /b/newgidmap"),
            (&half, &range, &gids, "linux.gidMappings "),
            (&user, &range, &gids, "linux.uidMappings linux.gidMappings "),
            (&user, &[(0, 0, 1)], &own_gid, "linux.uidMappings "),
            (&capable, &range, &own_gid, "parent parent deny"),
        ] {
            assert_eq!(written(host, uids, gids), expected, "{uids:?} {gids:?}");
        }
    }
}
