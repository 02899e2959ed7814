//! How init is cloned, and what the parent writes for it before it goes on: data only.

use std::path::PathBuf;

use super::idmap;

/// How init is cloned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spawn {
    /// `CLONE_NEW*` flags of the first clone.
    pub flags: u64,
    /// Id maps that the parent writes for the new user namespace.
    pub maps: Option<Maps>,
    /// `oom_score_adj`, which the parent writes before the maps: the kernel wants CAP_SYS_RESOURCE in the initial user
    /// namespace for a value below the last that somebody with it has written.
    pub oom_score: Option<String>,
    /// The id maps that the config expects of the user namespace that is joined.
    pub joined_maps: Option<JoinedMaps>,
    /// Descriptors from 3 on that the program inherits.
    pub preserve_fds: u32,
    /// By clone(2), which makes no time namespace and puts nobody into a cgroup: there is no clone3(2).
    pub old_clone: bool,
}

impl Spawn {
    /// Which users there are in the container's user namespace, if it has one of its own and that is known: container id,
    /// host id, count.
    pub(crate) fn user_maps(&self) -> Option<Vec<[u32; 3]>> {
        let written = self.maps.as_ref().map(|maps| idmap::parse(&maps.uid.lines));
        written.or_else(|| self.joined_maps.as_ref().map(|maps| maps.uid.clone()))
    }
}

/// What the parent writes into `/proc/PID/{uid_map,gid_map,setgroups}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// `uid_map`.
    pub uid: IdMap,
    /// `gid_map`.
    pub gid: IdMap,
    /// Write `deny` to `setgroups` first.
    pub deny_setgroups: bool,
}

/// The map of one kind of id, and who writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// A line per mapping: container id, host id, count.
    pub lines: String,
    /// `newuidmap(1)` or `newgidmap(1)`, which may map what the administrator gave the caller; `None`: the parent itself.
    pub program: Option<PathBuf>,
}

/// The id maps of a user namespace that is joined: container id, host id, count, by container id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMaps {
    /// `uid_map`.
    pub uid: Vec<[u32; 3]>,
    /// `gid_map`.
    pub gid: Vec<[u32; 3]>,
}
