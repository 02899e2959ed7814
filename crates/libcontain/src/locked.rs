//! The host's mounts as a user namespace gets them: with their flags locked (mount_namespaces(7)).
//!
//! What a container's user namespace gets by copying the mount namespace, it can neither make writable again, nor take apart
//! to see what lies below a mount. What the parent copies for it, because init may not pass the directories on the way,
//! must be no more than that; and the kernel locks nothing else than copies of a whole mount namespace. So the parent has
//! one made, by a process in a user namespace that nobody uses, and copies from there. Nothing but the thread that does it
//! enters it: the caller's threads keep their root, directory and mount namespace.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::error::{At, Error};
use crate::plan::NEWNS;
use crate::sys;

/// A mount namespace of its own, and the runtime's root directory in it.
pub(crate) struct Mounts {
    namespace: OwnedFd,
    root: OwnedFd,
}

impl Mounts {
    pub(crate) fn of_a_user_namespace() -> core::result::Result<Self, Error> {
        Self::make().map_err(|e| Error::os("a mount namespace to copy mounts from", e).with_at(AT))
    }

    fn make() -> Result<Self> {
        let any = || rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let mounts = Mounts { namespace: any()?, root: any()? };
        let (_, pidfd) = sys::process_with_mounts(mounts.namespace.as_fd(), mounts.root.as_fd())?;
        match sys::wait_for_short_process(pidfd.as_fd())? {
            Some(0) => Ok(mounts),
            errno => Err(Errno::from_raw_os_error(errno.unwrap_or(libc::ECHILD))),
        }
    }

    /// Has something done there, where all paths mean what they mean to the runtime.
    pub(crate) fn within<T: Send>(
        &self,
        work: impl FnOnce() -> core::result::Result<T, Error> + Send,
    ) -> core::result::Result<T, Error> {
        let failed = |e: Errno| Error::os("a thread to copy mounts in", e).with_at(AT);
        let work = || self.enter().map_err(failed).and_then(|()| work());
        let mask = sys::set_signal_mask(u64::MAX).map_err(failed)?; // no handler of the caller's runs in it
        let done = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, work);
            thread.map(|thread| thread.join().unwrap_or(Err(failed(Errno::CANCELED))))
        });
        sys::set_signal_mask(mask).map_err(failed)?;
        done.map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)))?
    }

    fn enter(&self) -> Result<()> {
        sys::unshare(u64::try_from(libc::CLONE_FS).unwrap_or(0))?; // root and directory are this thread's
        sys::setns(self.namespace.as_fd(), NEWNS)?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(c".") // a runtime that is in a chroot stays there
    }
}

const AT: At = At::field("linux.namespaces");
