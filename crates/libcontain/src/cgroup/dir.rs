//! Directories and files of the cgroup file systems.
//!
//! Owns how they are reached. A container's own directory is named by its path below `/sys/fs/cgroup`, which the plan has
//! cleaned of `..`; the kernel makes nothing but directories in there, so that there is no symlink to follow. What the
//! container may have made below has names of its choice and any depth: that is walked by descriptor, name by name.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, statfs};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

const CGROUP2_MAGIC: u64 = 0x6367_7270;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A directory by its path.
pub(super) fn open(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
}

/// A directory that can be locked: `O_PATH` is not enough for flock(2).
pub(super) fn open_to_lock(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY.difference(OFlags::PATH), Mode::empty())
}

/// Who owns a directory.
pub(super) fn owner(path: &str) -> Result<u32> {
    rustix::fs::lstat(path).map(|stat| stat.st_uid)
}

/// Whether a directory has this extended attribute.
pub(super) fn has_mark(path: &str, name: &str) -> bool {
    rustix::fs::lgetxattr(path, name, &mut [0u8; 0][..]).is_ok()
}

/// A directory by its name in another.
pub(super) fn child(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())
}

/// Whether a directory is there.
pub(super) fn exists(path: &str) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
}

/// Whether a directory is of cgroup v2.
pub(super) fn is_v2(path: &str) -> bool {
    statfs(path).is_ok_and(|fs| fs.f_type.cast_unsigned() == CGROUP2_MAGIC)
}

/// A file to write to.
pub(super) fn writable(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

/// One value into one file, in one call: the kernel parses each write by itself.
pub(super) fn write(path: &str, value: &str) -> Result<()> {
    rustix::io::write(writable(path)?, value.as_bytes()).map(|_| ())
}

/// The same into a file of an opened directory.
pub(super) fn write_at(dir: BorrowedFd<'_>, name: &CStr, value: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::io::write(rustix::fs::openat(dir, name, flags, Mode::empty())?, value.as_bytes()).map(|_| ())
}

/// The whole of a file.
pub(super) fn read(path: &str) -> Result<String> {
    crate::small_file::read(CWD, path)
}

/// The names of the cgroups directly below.
pub(super) fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    names(dir, FileType::Directory)
}

/// The names of a cgroup's files.
pub(super) fn files(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    names(dir, FileType::RegularFile)
}

fn names(dir: BorrowedFd<'_>, kind: FileType) -> Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(rustix::fs::openat(dir, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == kind && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Removes a cgroup and all below it; what is gone already is fine.
pub(super) fn remove(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<()> {
    let error = match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => error,
        Ok(()) => return Ok(()),
    };
    // A file system that is mounted read-only says so before it looks for the name.
    let dir = match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir.map_err(|_| error)?,
    };
    // Busy: with processes, or with cgroups below. The latter can be helped.
    if !matches!(error, Errno::BUSY | Errno::NOTEMPTY) {
        return Err(error);
    }
    for child in children(dir.as_fd())? {
        remove(dir.as_fd(), child.as_c_str())?;
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
