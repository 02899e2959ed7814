//! What the child carries from step to step: its descriptors, and what earlier steps have found.
//!
//! Nothing is closed one by one: [`Stage::sweep`] closes what is not held, a range at a time, which costs a tenth of the
//! calls and cannot forget one. Child's contract: no allocation, no panic.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::fault::{Fault, Result, call};
use crate::mounts::{self, PROC_SUPER_MAGIC};
use crate::plan::Slot;
use crate::root::{self, Buffer, Place};
use crate::sys;

/// A descriptor of the child, until the next sweep.
pub(crate) type Fd = BorrowedFd<'static>;

/// So many descriptors may be open before a sweep: far from any RLIMIT_NOFILE, with what one operation opens on top.
const UNSWEPT: u32 = 64;

/// What the steps done so far leave to the later ones.
pub(crate) struct Stage<'a> {
    /// The descriptors of the plan's needs.
    pub fds: &'a [RawFd],
    /// Numbers that stay open, ascending. Room for [`HELD`] more, since nothing may be allocated.
    keep: Vec<u32>,
    /// Opened since the last sweep.
    pub opened: u32,
    pub root: Option<Fd>,
    pub proc: Option<Fd>,
    /// `/dev` of the container, once all mounts are made.
    dev: Option<Fd>,
    /// The container's `/dev/null`, verified.
    pub null: Option<Fd>,
    /// A read-only, empty tmpfs that hides directories: one superblock for all of them (runc#5275).
    pub empty: Option<Fd>,
    /// Those of stdin, stdout and stderr that are `/dev/null`, and the owners of the others.
    pub stdio: [Stdio; 3],
    /// `process.cwd`, if it was not to be entered as root.
    pub cwd: Option<Fd>,
}

/// What is known of stdin, stdout or stderr.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdio {
    Unknown,
    /// The null device: nobody's to own.
    Null,
    OwnedBy(u32),
}

/// How many descriptors a stage holds besides those it starts with.
const HELD: usize = 9;

impl<'a> Stage<'a> {
    /// `fds` are the plan's needs; the channel to the parent stays open as well. Called before the clone.
    pub fn new(fds: &'a [RawFd], channel: RawFd) -> Self {
        let mut keep: Vec<u32> = fds.iter().copied().chain([channel]).filter_map(|fd| u32::try_from(fd).ok()).collect();
        keep.sort_unstable();
        keep.reserve_exact(HELD);
        let (root, proc, dev, null, empty, cwd) = (None, None, None, None, None, None);
        Stage { fds, keep, opened: 0, root, proc, dev, null, empty, stdio: [Stdio::Unknown; 3], cwd }
    }

    /// The number behind a slot.
    pub fn fd(&self, slot: Slot) -> RawFd {
        self.fds.get(slot.0).copied().unwrap_or(-1)
    }

    /// Once the container is built nothing of what it was built with is held any longer; the next sweep closes it.
    pub fn let_go(&mut self) {
        for held in [&mut self.root, &mut self.proc, &mut self.dev, &mut self.null, &mut self.empty, &mut self.cwd] {
            if let Some(fd) = held.take() {
                self.keep.retain(|kept| i32::try_from(*kept) != Ok(fd.as_raw_fd()));
            }
        }
    }

    /// A slot's descriptor for the last time: the next sweep closes it. What refers to the host must not outlive its step.
    pub fn take(&mut self, slot: Slot) -> Fd {
        let fd = self.fd(slot);
        self.keep.retain(|kept| i32::try_from(*kept) != Ok(fd));
        self.opened += 1;
        sys::borrow(fd)
    }

    /// Hands a descriptor over to the next sweep.
    pub fn lend(&mut self, fd: OwnedFd) -> Fd {
        self.opened += 1;
        sys::borrow(fd.into_raw_fd())
    }

    /// Exempts a descriptor from sweeping.
    pub fn hold(&mut self, fd: Fd) -> Fd {
        if let Ok(number) = u32::try_from(fd.as_raw_fd())
            && self.keep.len() < self.keep.capacity()
        {
            let place = self.keep.partition_point(|kept| *kept < number);
            self.keep.insert(place, number);
        }
        fd
    }

    /// Closes, from `from` on, everything that is not held: what steps have used, and at first what the caller left open
    /// and other containers' channels.
    pub fn sweep(&mut self, from: u32) -> Result<()> {
        self.opened = 0;
        let mut next = from;
        for fd in self.keep.iter().copied().filter(|fd| *fd >= from) {
            if fd > next {
                call("close_range", sys::close_range(next, fd - 1))?;
            }
            next = fd + 1;
        }
        call("close_range", sys::close_range(next, u32::MAX))
    }

    /// Lets go of everything but one.
    pub fn hold_only(&mut self, fd: RawFd) {
        self.keep.clear();
        self.hold(sys::borrow(fd));
    }

    /// Before a step: many binds must not run into RLIMIT_NOFILE.
    pub fn sweep_if_due(&mut self, from: u32) -> Result<()> {
        if self.opened < UNSWEPT { Ok(()) } else { self.sweep(from) }
    }

    /// Makes the rootfs the cwd.
    pub fn enter_rootfs(&self) -> Result<()> {
        call("fchdir", rustix::process::fchdir(self.root()?))
    }

    pub fn root(&self) -> Result<Fd> {
        self.root.ok_or(Fault::new("openat2", Errno::BADF))
    }

    /// A procfs in which this process is: the one just mounted on /proc, reached by its descriptor and not by a path that
    /// something could cover, one of our own, or the runtime's.
    pub fn proc(&mut self) -> Result<Fd> {
        if let Some(proc) = self.proc {
            return Ok(proc);
        }
        let mount = mounts::fsmount(c"proc", c"proc", &Buffer::new(), 0)?;
        let mount = self.lend(mount);
        self.use_proc(mount);
        Ok(mount)
    }

    /// The runtime's procfs, before any path can mean something of the container's.
    pub fn borrow_proc(&mut self) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = call("open", rustix::fs::open(c"/proc", flags, Mode::empty()))?;
        let proc = self.lend(proc);
        if call("fstatfs", rustix::fs::fstatfs(proc))?.f_type != PROC_SUPER_MAGIC {
            return Err(Fault::plain(b"/proc of the runtime is no procfs"));
        }
        self.use_proc(proc);
        Ok(())
    }

    /// The procfs from here on. A config may mount any number of them: the former one makes room.
    pub fn use_proc(&mut self, mount: Fd) {
        let former = self.proc.replace(mount);
        self.hold_instead(mount, former);
    }

    /// The root from here on.
    pub fn use_root(&mut self, mount: Fd) {
        let former = self.root.replace(mount);
        self.hold_instead(mount, former);
    }

    fn hold_instead(&mut self, fd: Fd, former: Option<Fd>) {
        if let Some(former) = former {
            self.keep.retain(|kept| i32::try_from(*kept) != Ok(former.as_raw_fd()));
        }
        self.hold(fd);
    }

    pub fn open(&mut self, path: &CStr, flags: OFlags) -> Result<Fd> {
        let fd = root::open(self.root()?, path, flags)?;
        Ok(self.lend(fd))
    }

    /// Nothing may cover a part of procfs through which the kernel is told what to do (CVE-2019-16884, CVE-2025-52881).
    /// What a path says was judged by the plan; a symlink may lead there all the same.
    pub fn mountpoint(&mut self, place: Place, may_cover_proc: bool) -> Result<Fd> {
        let target = self.lend(place.fd);
        if !may_cover_proc
            && !place.straight
            && call("fstatfs", rustix::fs::fstatfs(target))?.f_type == PROC_SUPER_MAGIC
        {
            return Err(Fault::plain(b"cannot be mounted because it is inside /proc"));
        }
        Ok(target)
    }

    /// Mounts a new file system on an open directory and keeps the descriptor of the mount: unlike a path it cannot come
    /// to mean another one.
    pub fn attach(&mut self, fstype: &CStr, source: &CStr, data: &Buffer, flags: u64, target: Fd) -> Result<Fd> {
        let mount = mounts::fsmount(fstype, source, data, flags)?;
        let mount = self.lend(mount);
        mounts::move_mount(mount, target)?;
        Ok(mount)
    }

    /// The directory of `path`, made if missing, and the last component. `/dev` is opened once.
    pub fn parent<'p>(&mut self, path: &'p CStr) -> Result<(Fd, &'p CStr)> {
        let below_dev = path.to_bytes().strip_prefix(b"/dev/").filter(|name| !name.contains(&b'/'));
        if let (Some(dev), Some(_)) = (self.dev, below_dev) {
            let name = path.to_bytes_with_nul().get(b"/dev/".len()..).unwrap_or(b"\0");
            return Ok((dev, CStr::from_bytes_with_nul(name).unwrap_or(c"")));
        }
        let (dir, name) = root::parent(self.root()?, path)?;
        let dir = self.lend(dir);
        if below_dev.is_some() {
            self.dev = Some(self.hold(dir));
        }
        Ok((dir, name))
    }
}
