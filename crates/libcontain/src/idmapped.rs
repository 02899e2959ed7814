//! Id-mapped mounts, in the parent: the user namespaces that lend their maps, and the trees and file systems that get them
//! while nobody can see them (Linux 5.12; see `plan/idmapped.rs` for why the parent does it).

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{At, Error, Kind, errno_text};
use crate::fault::Fault;
use crate::plan::{self, Mapped, Users, UsersFrom};
use crate::root::Buffer;
use crate::sys::{self, MountAttr};
use crate::{idmaps, mounts};

/// Opens a user namespace.
pub(crate) fn open_users(users: &Users) -> Result<OwnedFd, Error> {
    let at = users.at;
    match &users.from {
        UsersFrom::Maps { uid, gid } => make_users(at, uid, gid),
        UsersFrom::Path(path) => {
            let path = Path::new(OsStr::from_bytes(path.to_bytes()));
            let fd = open(at, path)?;
            if sys::namespace_kind(fd.as_fd()) != Ok(plan::NEWUSER) {
                let text = format!("{at}: {path:?} is not a namespace of this type");
                return Err(Error::new(Kind::Config, text).with_at(at));
            }
            Ok(fd)
        }
    }
}

/// A user namespace begins with a process. That one has ended by the time its maps are written.
fn make_users(at: At, uid: &str, gid: &str) -> Result<OwnedFd, Error> {
    let failed = |e| Error::os(format_args!("{at}: clone of a user namespace for the id mapping"), e).with_at(at);
    let (pid, pidfd) = sys::zombie_in_user_namespace().map_err(failed)?;
    let made = idmaps::into_file(at, pid, "gid_map", gid)
        .and_then(|()| idmaps::into_file(at, pid, "uid_map", uid))
        .and_then(|()| open(at, Path::new(&format!("/proc/{pid}/ns/user"))));
    sys::wait_for_short_process(pidfd.as_fd()).map_err(failed)?;
    made
}

fn open(at: At, path: &Path) -> Result<OwnedFd, Error> {
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(|e| Error::os(format_args!("{at}: open {}", path.display()), e).with_at(at))
}

/// Maps the ids of a detached mount, which is called `source`, as this user namespace has it.
pub(crate) fn map(
    mount: &OwnedFd,
    source: &CStr,
    at: At,
    mapped: Mapped,
    users: Option<&OwnedFd>,
) -> Result<(), Error> {
    // No descriptor has the largest number.
    let userns_fd = users.map_or(u64::MAX, |fd| u64::from(fd.as_raw_fd().unsigned_abs()));
    let attr = MountAttr { set: sys::MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
    sys::mount_setattr(mount.as_fd(), mapped.recursive, &attr).map_err(|errno| {
        let hint = match errno {
            rustix::io::Errno::INVAL => " (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
            _ => "",
        };
        let (source, why) = (source.to_string_lossy(), errno_text(errno.raw_os_error()));
        let text = format!("{at}: failed to set MOUNT_ATTR_IDMAP on {source}: {why}{hint}");
        Error::new(Kind::Os, text).with_errno(errno.raw_os_error()).with_at(at)
    })
}

/// A new file system as a detached mount.
pub(crate) fn filesystem(at: At, fstype: &CStr, source: &CStr, data: &CStr, attr: u64) -> Result<OwnedFd, Error> {
    let make = |context: BorrowedFd<'_>| {
        Buffer::from(data.to_bytes()).and_then(|data| mounts::fsmount_of(context, source, &data, attr))
    };
    mounts::fsopen(fstype).and_then(|context| make(context.as_fd())).map_err(|fault| {
        let Fault { call, errno, note } = fault;
        let note = String::from_utf8_lossy(note.as_bytes()).into_owned();
        let said = if note.is_empty() { String::new() } else { format!("{note}: ") };
        let source = source.to_string_lossy();
        let text = format!("error mounting {source:?}: {at}: {call}: {said}{}", errno_text(errno));
        Error::new(Kind::Os, text).with_errno(errno).with_at(at)
    })
}
