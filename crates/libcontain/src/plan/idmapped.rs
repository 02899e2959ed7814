//! Mounts whose ids are translated (`idmap`, `ridmap`, `mounts[].uidMappings`), and file systems that are made detached.
//!
//! All of it is done by the parent. `MOUNT_ATTR_IDMAP` asks for CAP_SYS_ADMIN over the superblock and over the user
//! namespace that lends the maps (mount_setattr(2)); init has neither as soon as it is in a user namespace of its own, and a
//! disk could not even be mounted there. Without one init could do it, but then a second way would have to be tested.

use std::ffi::CString;

use oci_spec::runtime::{LinuxIdMapping, Mount};

use super::libc_flag::{MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_SYNCHRONOUS, NEWNS, NEWUSER};
use super::mount_options::{Options, attr};
use super::{Detached, Filesystem, Mapped, Open, Planner, Users, UsersFrom, idmap};
use crate::error::At;
use crate::plan::cgroup::Mode;

/// Flags of a superblock as fsconfig(2) takes them.
const SUPERBLOCK_WORDS: [(u64, &str); 4] =
    [(MS_SYNCHRONOUS, "sync"), (MS_DIRSYNC, "dirsync"), (MS_MANDLOCK, "mand"), (MS_LAZYTIME, "lazytime")];

/// Types that are made of the namespaces of whoever mounts them, and of no device whatever their source is called.
const NODEV: [&[u8]; 6] = [b"proc", b"sysfs", b"tmpfs", b"devpts", b"mqueue", b"overlay"];

impl Planner<'_> {
    /// How the ids of a mount are translated, if they are. What is missing for it, check has told.
    pub(super) fn mapped(&mut self, index: usize, mount: &Mount, options: &Options) -> Option<Mapped> {
        let [uid, gid] = [mount.uid_mappings(), mount.gid_mappings()].map(|list| list.as_deref().unwrap_or(&[]));
        let recursive = match options.idmap {
            Some(recursive) => recursive,
            None if uid.is_empty() && gid.is_empty() => return None,
            None => false,
        };
        let (place, from) = if uid.is_empty() && gid.is_empty() {
            ("mounts[#].options", self.container_users()?)
        } else {
            ("mounts[#].uidMappings", maps(uid, gid))
        };
        // One namespace serves all mounts with the same maps.
        let users = self.users.iter().position(|users| users.from == from).unwrap_or_else(|| {
            self.users.push(Users { at: At::item(place, index), from });
            self.users.len() - 1
        });
        Some(Mapped { users, recursive })
    }

    /// The maps of the container's own user namespace.
    fn container_users(&mut self) -> Option<UsersFrom> {
        if let Some(path) = self.ns.path(NEWUSER).map(<[u8]>::to_vec) {
            let path = self.text(self.ns.at(NEWUSER), path);
            return Some(UsersFrom::Path(path));
        }
        let linux = self.spec.linux().as_ref().filter(|_| self.ns.is_new(NEWUSER))?;
        Some(maps(linux.uid_mappings().as_deref()?, linux.gid_mappings().as_deref()?))
    }

    /// Has a file system made by the mount API of Linux 5.2, so that it can be mapped or filled before it is attached.
    pub(super) fn detach(&mut self, at: At, fs: &mut Filesystem, options: &Options, mapped: Option<Mapped>) {
        let by_parent = mapped.is_some() || self.is_closed_disk(fs);
        let mut words: Vec<&[u8]> =
            SUPERBLOCK_WORDS.iter().filter(|(flag, _)| fs.flags & flag != 0).map(|(_, word)| word.as_bytes()).collect();
        let readonly = fs.flags & attr::RDONLY; // the same number as MS_RDONLY, which is not there if it comes late
        if readonly != 0 {
            words.push(b"ro"); // mount(2) would make both read-only, mount and superblock
        }
        if !fs.data.is_empty() {
            words.push(fs.data.as_bytes());
        }
        let data = self.text(at, words.join(&b','));
        let attr = options.set & !attr::RDONLY | readonly;
        let made = by_parent.then(|| {
            let (source, fstype, data) = (fs.source.clone(), fs.fstype.clone(), data.clone());
            self.need(at, Open::Filesystem { source, fstype, data, attr, mapped })
        });
        fs.data = if made.is_some() { CString::default() } else { data };
        fs.detached = Some(Detached { made, attr, copy_up: options.copy_up });
    }

    /// Whether this is a disk that init could not open: on v2 the device rules hold for it from its first moment, and they are
    /// meant for the container. (On v1 init joins its cgroup later.) A mount namespace that is joined may have another device
    /// of this name, and who is not privileged may mount none.
    pub(super) fn is_closed_disk(&self, fs: &Filesystem) -> bool {
        let disk = fs.source.to_bytes().starts_with(b"/dev/") && !NODEV.contains(&fs.fstype.to_bytes());
        let v2 = self.host.cgroups.mode == Mode::V2 && self.host.is_privileged() && !self.host.user_namespace;
        disk && v2 && self.ns.is_new(NEWNS) && !self.ns.has(NEWUSER)
    }
}

fn maps(uid: &[LinuxIdMapping], gid: &[LinuxIdMapping]) -> UsersFrom {
    UsersFrom::Maps { uid: idmap::text(uid), gid: idmap::text(gid) }
}
