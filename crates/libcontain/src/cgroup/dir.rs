//! Directories and files of the cgroup file systems, by descriptor.
//!
//! Owns how a path is walked: below `/sys/fs/cgroup`, without following a symlink.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use crate::plan::cgroup::ROOT;

pub(super) const CGROUP2_MAGIC: u64 = 0x6367_7270;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// `/sys/fs/cgroup` itself.
pub(super) fn root() -> Result<OwnedFd> {
    rustix::fs::open(ROOT, DIRECTORY, Mode::empty())
}

/// A directory below `root`. The fallback is for kernels before 5.6 and for seccomp profiles that answer EPERM
/// to what they do not know.
pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { "." } else { path };
    match rustix::fs::openat2(root, path, DIRECTORY, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => walk(root, path),
        result => result,
    }
}

fn walk(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let mut dir = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." {
            return Err(Errno::XDEV);
        }
        dir = child(dir.as_fd(), name)?;
    }
    Ok(dir)
}

/// A directory by its name in another.
pub(super) fn child(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())
}

/// `path` as parent and name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Whether a directory is of cgroup v2.
pub(super) fn is_v2(dir: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|fs| fs.f_type.cast_unsigned() == CGROUP2_MAGIC)
}

/// The whole of a file; cgroup files are small, but for `cgroup.procs`.
pub(super) fn read(dir: BorrowedFd<'_>, file: &str) -> Result<String> {
    let fd = rustix::fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let mut text = Vec::with_capacity(4096);
    while rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut text))? > 0 {
        text.reserve(4096);
    }
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// A file to write to.
pub(super) fn writable(dir: BorrowedFd<'_>, file: &str) -> Result<OwnedFd> {
    rustix::fs::openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

/// One value into one file, in one call: the kernel parses each write by itself.
pub(super) fn write(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<()> {
    rustix::io::write(writable(dir, file)?, value.as_bytes()).map(|_| ())
}

/// The names of the cgroups directly below.
pub(super) fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(rustix::fs::openat(dir, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Removes a cgroup and all below it; what is gone already is fine.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::BUSY) => {}
        Err(Errno::NOENT) => return Ok(()),
        result => return result,
    }
    // Busy: with processes, or with cgroups below. The latter can be helped.
    let dir = match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir?,
    };
    for child in children(dir.as_fd())? {
        remove(dir.as_fd(), &child)?;
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
