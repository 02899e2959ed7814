//! Paths inside the rootfs, for the child: resolved by the kernel, inside the root, once.
//!
//! The rootfs belongs to whoever built the image: any component may be a symlink to anywhere, and a volume shared with
//! a running container may change while we look (CVE-2019-18837, CVE-2021-30465, CVE-2024-45310, CVE-2026-41579). So a path
//! is only ever given to `openat2(RESOLVE_IN_ROOT)` on the root's descriptor; what changes something gets a directory
//! descriptor and a single component, which the kernel does not follow. No heap: this runs after `clone3`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::fault::{Fault, Result, call};

/// How many dangling symlinks are followed in making one path, as many as the kernel follows in resolving one.
const MAX_SYMLINKS: usize = 40;
const PATH_MAX: usize = 4096;

/// What to make where nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Directory,
    File,
}

/// Opens `path` inside `root`, following symlinks as if the root were "/". A rename race inside the root makes
/// openat2 answer EAGAIN; it is tried again a bounded number of times.
pub(crate) fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// The same, refusing symlinks in any component with ELOOP.
pub(crate) fn open_ordinary(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// Opens `path` below `dir` without leaving the mount that `dir` is on: for procfs, where a file that something
/// was mounted over must not be taken for the real one (CVE-2025-52881).
pub(crate) fn open_same_mount(dir: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    resolve(dir, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS)
}

fn resolve(dir: BorrowedFd<'_>, path: &CStr, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            result => return call("openat2", result),
        }
    }
}

/// A place to mount on or to make something in.
pub(crate) struct Place {
    pub fd: OwnedFd,
    /// It was there before.
    pub existed: bool,
    /// No symlink led to it: it is what its path says.
    pub straight: bool,
}

/// The directory at `path`, made with its parents if missing.
pub(crate) fn directory(root: BorrowedFd<'_>, path: &CStr) -> Result<Place> {
    place(root, path, OFlags::PATH | OFlags::DIRECTORY, Make::Directory)
}

/// The file at `path`, made empty with its parents if missing.
pub(crate) fn file(root: BorrowedFd<'_>, path: &CStr) -> Result<Place> {
    place(root, path, OFlags::PATH, Make::File)
}

fn place(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, kind: Make) -> Result<Place> {
    match open_ordinary(root, path, flags) {
        Ok(fd) => return Ok(Place { fd, existed: true, straight: true }),
        // No symlink before the gap, so following would not find it either.
        Err(fault) if fault.is(Errno::NOENT) => {}
        Err(fault) if fault.is(Errno::LOOP) => match open(root, path, flags) {
            Err(fault) if fault.is(Errno::NOENT) => {}
            result => return result.map(|fd| Place { fd, existed: true, straight: false }),
        },
        Err(fault) => return Err(fault),
    }
    Ok(Place { fd: make(root, path, kind)?, existed: false, straight: false })
}

/// The file `name` in `dir` itself, made empty if nothing has the name. A symlink is refused with ELOOP.
pub(crate) fn own_file(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    make_component(dir, name.to_bytes(), Make::File)?.ok_or(Fault::new("openat", Errno::LOOP))
}

/// The parent directory of `path`, made if missing, and the last component.
pub(crate) fn parent<'p>(root: BorrowedFd<'_>, path: &'p CStr) -> Result<(OwnedFd, &'p CStr)> {
    let bytes = path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|b| *b == b'/');
    let name = bytes.get(slash.map_or(0, |s| s + 1)..).and_then(|b| CStr::from_bytes_with_nul(b).ok());
    let name =
        name.filter(|n| !matches!(n.to_bytes(), b"" | b"." | b"..")).ok_or(Fault::new("openat2", Errno::INVAL))?;
    let mut dir = Buffer::new();
    dir.push(b"/")?;
    dir.push(bytes.get(..slash.unwrap_or(0)).unwrap_or(&[]))?;
    Ok((directory(root, dir.as_cstr())?.fd, name))
}

/// Makes what `path` lacks, component by component. A dangling symlink is followed inside the root by making its
/// target (images have /var/run → /run and no /run).
fn make(root: BorrowedFd<'_>, path: &CStr, last: Make) -> Result<OwnedFd> {
    if let Some(made) = make_last(root, path.to_bytes(), last)? {
        return Ok(made);
    }
    let mut path = Buffer::from(path.to_bytes())?;
    for _ in 0..MAX_SYMLINKS {
        match make_once(root, &path, last)? {
            Made::Done(fd) => return Ok(fd),
            Made::Link(through) => path = through,
        }
    }
    Err(Fault::new("openat2", Errno::LOOP))
}

/// The common case: only the last component is missing.
fn make_last(root: BorrowedFd<'_>, path: &[u8], last: Make) -> Result<Option<OwnedFd>> {
    let Some(slash) = path.iter().rposition(|b| *b == b'/') else { return Ok(None) };
    let (above, name) = path.split_at_checked(slash).unwrap_or((path, b""));
    let name = name.get(1..).unwrap_or(b"");
    if matches!(name, b"" | b"." | b"..") {
        return Ok(None);
    }
    let mut dir = Buffer::new();
    dir.push(if above.is_empty() { b"/" } else { above })?;
    match open(root, dir.as_cstr(), OFlags::PATH | OFlags::DIRECTORY) {
        Err(fault) if fault.is(Errno::NOENT) => Ok(None),
        result => make_component(result?.as_fd(), name, last),
    }
}

#[allow(clippy::large_enum_variant)] // there is no heap to box it on
enum Made {
    Done(OwnedFd),
    /// A component is a dangling symlink: the path with it replaced by its target.
    Link(Buffer),
}

fn make_once(root: BorrowedFd<'_>, path: &Buffer, last: Make) -> Result<Made> {
    let mut dir = open(root, c"/", OFlags::PATH | OFlags::DIRECTORY)?;
    let mut prefix = Buffer::new();
    prefix.push(b"/")?;
    let mut rest = path.as_bytes();
    loop {
        let (name, after) = first_component(rest);
        if name.is_empty() {
            return Ok(Made::Done(dir));
        }
        rest = after;
        let kind = if is_last(rest) { last } else { Make::Directory };
        let above = prefix.len;
        prefix.push(b"/")?;
        prefix.push(name)?;
        let wanted = if kind == Make::Directory { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::PATH };
        let found = match open(root, prefix.as_cstr(), wanted) {
            Err(fault) if fault.is(Errno::NOENT) => make_component(dir.as_fd(), name, kind)?,
            result => Some(result?),
        };
        match found {
            Some(fd) => dir = fd,
            None => return through_symlink(dir.as_fd(), &prefix, above, name, rest),
        }
    }
}

/// Makes one component and opens it; `None` if a symlink is in the way.
fn make_component(dir: BorrowedFd<'_>, name: &[u8], kind: Make) -> Result<Option<OwnedFd>> {
    let name = Buffer::from(name)?;
    let name = name.as_cstr();
    let made = match kind {
        Make::Directory => call("mkdirat", rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))),
        Make::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            call("openat", rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))).map(drop)
        }
    };
    match made {
        // Somebody else made it meanwhile, or it is a dangling symlink: opening without following tells.
        Err(fault) if fault.is(Errno::EXIST) => {}
        result => result?,
    }
    let extra = if kind == Make::Directory { OFlags::DIRECTORY } else { OFlags::empty() };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | extra;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) => Ok(None),
        result => {
            let fd = call("openat", result)?;
            // O_DIRECTORY has refused a symlink already.
            let link = kind == Make::File && is_symlink(fd.as_fd())?;
            Ok((!link).then_some(fd))
        }
    }
}

fn is_symlink(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = call("fstat", rustix::fs::fstat(fd))?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink)
}

/// `prefix[..above]`/`target`/`rest`, or `target`/`rest` for an absolute target.
fn through_symlink(dir: BorrowedFd<'_>, prefix: &Buffer, above: usize, name: &[u8], rest: &[u8]) -> Result<Made> {
    let name = Buffer::from(name)?;
    let mut target = [0u8; PATH_MAX];
    let len = call("readlinkat", rustix::fs::readlinkat_raw(dir, name.as_cstr(), &mut target[..]))?;
    let target = target.get(..len).unwrap_or(&[]);
    let mut path = Buffer::new();
    if !target.starts_with(b"/") {
        path.push(prefix.as_bytes().get(..above).unwrap_or(&[]))?;
    }
    path.push(b"/")?;
    path.push(target)?;
    path.push(b"/")?;
    path.push(rest)?;
    Ok(Made::Link(path))
}

/// The first component and what follows it; empty at the end.
fn first_component(path: &[u8]) -> (&[u8], &[u8]) {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    let path = path.get(start..).unwrap_or(&[]);
    let end = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
    path.split_at_checked(end).unwrap_or((path, &[]))
}

fn is_last(rest: &[u8]) -> bool {
    rest.iter().all(|b| *b == b'/')
}

/// A path being put together on the stack.
pub(crate) struct Buffer {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl Buffer {
    pub fn new() -> Self {
        Buffer { bytes: [0; PATH_MAX], len: 0 }
    }

    pub fn from(bytes: &[u8]) -> Result<Self> {
        let mut buffer = Buffer::new();
        buffer.push(bytes)?;
        Ok(buffer)
    }

    /// Appends; the last byte stays NUL.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.len + bytes.len();
        match self.bytes.get_mut(self.len..end) {
            Some(to) if end < PATH_MAX => to.copy_from_slice(bytes),
            _ => return Err(Fault::new("openat2", Errno::NAMETOOLONG)),
        }
        self.len = end;
        Ok(())
    }

    /// Appends a decimal number.
    pub fn push_number(&mut self, number: u32) -> Result<()> {
        let mut digits = [0u8; 10];
        let mut rest = number;
        let mut first = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            first -= 1;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(first..).unwrap_or(&[]))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    pub fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn root(dir: &Path) -> OwnedFd {
        rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn make_dir(dir: &Path, path: &str) -> Result<bool> {
        directory(root(dir).as_fd(), &CString::new(path).unwrap()).map(|place| place.existed)
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_left() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(make_dir(dir.path(), "/a/b//c/"), Ok(false));
        assert!(dir.path().join("a/b/c").is_dir());
        assert_eq!(make_dir(dir.path(), "a/./b/c"), Ok(true));
        file(root(dir.path()).as_fd(), c"/a/b/f").unwrap();
        assert!(dir.path().join("a/b/f").is_file());
    }

    #[test]
    fn symlinks_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("abs")).unwrap();
        symlink("../../../..", dir.path().join("up")).unwrap();
        symlink("/run", dir.path().join("var")).unwrap();
        assert_eq!(make_dir(dir.path(), "/abs/x"), Ok(false));
        assert_eq!(make_dir(dir.path(), "/up/y"), Ok(false));
        assert_eq!(make_dir(dir.path(), "/var/z"), Ok(false));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "nothing may appear outside");
        let inside = outside.path().strip_prefix("/").unwrap();
        assert!(dir.path().join(inside).join("x").is_dir());
        assert!(dir.path().join("y").is_dir());
        assert!(dir.path().join("run/z").is_dir());
    }

    #[test]
    fn a_symlink_loop_ends() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(make_dir(dir.path(), "/a/x").unwrap_err().errno, Errno::LOOP.raw_os_error());
    }

    #[test]
    fn a_parent_and_a_last_component() {
        let dir = tempfile::tempdir().unwrap();
        let (_, name) = parent(root(dir.path()).as_fd(), c"/dev/net/tun").unwrap();
        assert_eq!(name, c"tun");
        assert!(dir.path().join("dev/net").is_dir());
        assert!(parent(root(dir.path()).as_fd(), c"/dev/..").is_err());
        assert!(parent(root(dir.path()).as_fd(), c"/dev/").is_err());
    }

    #[test]
    fn numbers() {
        let mut buffer = Buffer::new();
        for n in [0, 7, 10, u32::MAX] {
            buffer.push_number(n).unwrap();
            buffer.push(b" ").unwrap();
        }
        assert_eq!(buffer.as_bytes(), b"0 7 10 4294967295 ");
    }
}
