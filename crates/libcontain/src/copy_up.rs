//! `tmpcopyup`: fills a new tmpfs with what the rootfs holds at its mountpoint, before anybody sees it.
//!
//! The source belongs to whoever built the image, and may change while it is read. So it is read through a copy of its
//! mount on which the kernel opens no device and follows no symlink, and only ever by a descriptor and one component;
//! what was opened is looked at again. The destination is nobody's but ours. Child's contract: no allocation, no panic.
//! A directory has two descriptors as long as something below it is copied, so the depth is limited.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, SeekFrom, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::fault::{Fault, Result, call};
use crate::mounts;
use crate::stage::{Fd, Stage};
use crate::sys::MountAttr;

/// Directories in each other that can be copied.
const DEPTH: usize = 128;
/// The largest extended attribute, and list of their names, that is copied.
const XATTR: usize = 16 << 10;
/// So much at a time: sendfile(2) takes less than 2 GiB.
const CHUNK: u64 = 1 << 30;

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
    /// Where to read on (getdents64(2), `d_off`).
    next: u64,
}

/// Copies what is below the directory `from` into the root of the mount `to`.
pub(crate) fn copy(stage: &mut Stage<'_>, from: Fd, to: Fd) -> Result<()> {
    let source = mounts::clone_of(stage, from, true)?;
    // Read-only also because reading must not change access times. Opening a device can have effects.
    let set =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;
    mounts::set_attributes(source, true, MountAttr { set: set.bits().into(), ..MountAttr::default() })?;
    tree(Level { from: directory(source, c".")?, to: directory(to, c".")?, next: 0 })
}

fn directory(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    call("openat", rustix::fs::openat(dir, name, flags, Mode::empty()))
}

fn tree(top: Level) -> Result<()> {
    let mut above: [Option<Level>; DEPTH] = [const { None }; DEPTH];
    let mut depth = 0;
    let mut level = top;
    loop {
        if let Some(below) = until_directory(&mut level)? {
            let Some(slot) = above.get_mut(depth) else {
                return Err(Fault::plain(b"tmpcopyup: more than 128 directories in each other"));
            };
            *slot = Some(std::mem::replace(&mut level, below));
            depth += 1;
            continue;
        }
        if depth == 0 {
            return Ok(()); // the root itself keeps the mode and the owner that its mount gives it
        }
        // Last, since what is made in a directory changes its time.
        finish(&level.from, &level.to)?;
        depth -= 1;
        match above.get_mut(depth).and_then(Option::take) {
            Some(upper) => level = upper,
            None => return Ok(()),
        }
    }
}

/// Copies entries until one is a directory, which is made and returned.
fn until_directory(level: &mut Level) -> Result<Option<Level>> {
    call("lseek", rustix::fs::seek(&level.from, SeekFrom::Start(level.next)))?;
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
    let mut entries = RawDir::new(&level.from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = call("getdents64", entry)?;
        level.next = entry.next_entry_cookie();
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let below = one(level.from.as_fd(), level.to.as_fd(), name);
        let below = below
            .map_err(|fault| if fault.note.as_bytes().is_empty() { fault.with_note(name.to_bytes()) } else { fault })?;
        if below.is_some() {
            return Ok(below);
        }
    }
    Ok(None)
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<Option<Level>> {
    let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None), // gone since it was listed
        result => call("fstatat", result)?,
    };
    let made = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return subdirectory(from, to, name),
        FileType::RegularFile => file(from, to, name),
        FileType::Symlink => symlink(from, to, name, &stat),
        kind => node(to, name, kind, &stat),
    };
    match made {
        // Listed twice, as a directory that changes may be.
        Err(fault) if fault.is(Errno::EXIST) => Ok(None),
        result => result.map(|()| None),
    }
}

fn subdirectory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<Option<Level>> {
    match rustix::fs::mkdirat(to, name, Mode::RWXU) {
        Err(Errno::EXIST) => return Ok(None),
        result => call("mkdirat", result)?,
    }
    Ok(Some(Level { from: directory(from, name)?, to: directory(to, name)?, next: 0 }))
}

/// Not blocking, in case that it has become a FIFO.
fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = call("openat", rustix::fs::openat(from, name, flags, Mode::empty()))?;
    let stat = call("fstat", rustix::fs::fstat(&source))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::plain(b"tmpcopyup: a file has changed its type while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = call("openat", rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR))?;
    content(&source, &copy, u64::try_from(stat.st_size).unwrap_or(0))?;
    finish(&source, &copy)
}

/// What the file held when it was opened, no matter how fast somebody makes it grow. Holes stay holes.
fn content(source: &OwnedFd, copy: &OwnedFd, size: u64) -> Result<()> {
    call("ftruncate", rustix::fs::ftruncate(copy, size))?;
    let mut end = 0;
    while end < size {
        let start = match rustix::fs::seek(source, SeekFrom::Data(end)) {
            Err(Errno::NXIO) => break, // nothing but a hole to the end
            result => call("lseek", result)?,
        };
        end = call("lseek", rustix::fs::seek(source, SeekFrom::Hole(start)))?.min(size);
        call("lseek", rustix::fs::seek(source, SeekFrom::Start(start)))?;
        call("lseek", rustix::fs::seek(copy, SeekFrom::Start(start)))?;
        let mut left = end.saturating_sub(start);
        while left > 0 {
            let most = usize::try_from(left.min(CHUNK)).unwrap_or(0);
            match call("sendfile", rustix::fs::sendfile(copy, source, None, most))? {
                0 => return Ok(()), // cut short meanwhile
                sent => left = left.saturating_sub(u64::try_from(sent).unwrap_or(left)),
            }
        }
        end = end.max(start);
    }
    Ok(())
}

fn symlink(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let mut target = [0u8; 4096];
    let len = match rustix::fs::readlinkat_raw(from, name, &mut target[..]) {
        Err(Errno::INVAL) => {
            return Err(Fault::plain(b"tmpcopyup: a symlink has changed its type while it was copied"));
        }
        result => call("readlinkat", result)?,
    };
    // Longer targets than 4095 bytes do not exist, so there is room for the NUL.
    let target = target.get(..=len).and_then(|text| CStr::from_bytes_with_nul(text).ok());
    call("symlinkat", rustix::fs::symlinkat(target.unwrap_or(c""), to, name))?;
    own(to, name, stat)
}

/// A device, FIFO or socket.
fn node(to: BorrowedFd<'_>, name: &CStr, kind: FileType, stat: &Stat) -> Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    call("mknodat", rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev))?;
    own(to, name, stat)
}

/// The owner of what is not opened, and its time.
fn own(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    call("fchownat", rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
    call("utimensat", rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW))
}

/// Owner, mode, extended attributes and times of a file or directory, in this order: a change of owner takes away set-id
/// bits and file capabilities.
fn finish(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let stat = call("fstat", rustix::fs::fstat(from))?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    call("fchown", rustix::fs::fchown(to, Some(uid), Some(gid)))?;
    call("fchmod", rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)))?;
    attributes(from, to)?;
    call("utimensat", rustix::fs::futimens(to, &times(&stat)))
}

fn times(stat: &Stat) -> Timestamps {
    let at = |sec: i64, nsec: u64| Timespec { tv_sec: sec, tv_nsec: i64::try_from(nsec).unwrap_or(0) };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn attributes(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut names = [0u8; XATTR];
    let len = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        result => call("flistxattr", result)?,
    };
    for name in names.get(..len).unwrap_or(&[]).split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // The label of the new file is the policy's business, or linux.mountLabel's.
        if name != c"security.selinux" {
            attribute(from, to, name)?;
        }
    }
    Ok(())
}

fn attribute(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let mut value = [0u8; XATTR];
    let len = match rustix::fs::fgetxattr(from, name, &mut value[..]) {
        Err(Errno::NODATA) => return Ok(()), // gone since it was listed
        result => call("fgetxattr", result).map_err(|fault| fault.with_note(name.to_bytes()))?,
    };
    match rustix::fs::fsetxattr(to, name, value.get(..len).unwrap_or(&[]), XattrFlags::empty()) {
        // A tmpfs has no user.* before Linux 6.6; trusted.* is the host's root's alone.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(Errno::PERM) if name.to_bytes().starts_with(b"trusted.") => Ok(()),
        result => call("fsetxattr", result).map_err(|fault| fault.with_note(name.to_bytes())),
    }
}
