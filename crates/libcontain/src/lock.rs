//! One change of a container at a time.
//!
//! Owns [`Lock`]: flock(2) on the state directory, held while an update reads the record, writes limits and writes the
//! record. Two updates at once come one after the other; neither sees half of the other. A process that dies gives it
//! up. Nothing else waits for it: `state`, `kill` and `delete` of a container whose update hangs go ahead.
//!
//! flock(2) cannot wait with a deadline. Who gives up the lock closes the directory, which inotify(7) tells; a process
//! that dies may close it a moment before the lock is gone, and so the lock is tried again now and then as well.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Kind};

const AGAIN: Duration = Duration::from_millis(200);

/// Given up when dropped.
#[derive(Debug)]
pub(crate) struct Lock(OwnedFd);

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the descriptor is closed, by which others hear of it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Takes the lock on a directory; `dir` is a descriptor of it that nobody else has.
    pub fn take(dir: OwnedFd, path: &Path, patience: Duration) -> Result<Lock, Error> {
        let failed = |call: &str, errno: Errno| Error::os(format_args!("{call} {}", path.display()), errno);
        let start = Instant::now();
        let mut closings = None;
        loop {
            match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(dir)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(errno) => return Err(failed("flock", errno)),
            }
            let Some(rest) = patience.checked_sub(start.elapsed()) else { break };
            match &closings {
                // Once more before waiting: it may have been given up since.
                None => closings = Some(watch(path).map_err(|e| failed("inotify", e))?),
                Some(watch) => wait(watch, rest.min(AGAIN)).map_err(|e| failed("poll inotify", e))?,
            }
        }
        let text = format!("another update of the container is under way, and not at its end after {patience:?}");
        Err(Error::new(Kind::Os, text))
    }
}

fn watch(path: &Path) -> Result<OwnedFd, Errno> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, path, WatchFlags::CLOSE_NOWRITE | WatchFlags::ONLYDIR)?;
    Ok(watch)
}

fn wait(watch: &OwnedFd, time: Duration) -> Result<(), Errno> {
    let timeout = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    match poll(&mut [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    // Which events they are does not matter: the lock tells.
    let mut events = [0u8; 4096];
    match rustix::io::read(watch, &mut events) {
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn take(dir: &Path, patience: Duration) -> Result<Lock, Error> {
        Lock::take(File::open(dir).unwrap().into(), dir, patience)
    }

    #[test]
    fn who_comes_second_waits_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path(), Duration::ZERO).unwrap();
        let refused = take(dir.path(), Duration::from_millis(20)).unwrap_err();
        assert!(refused.to_string().contains("not at its end after 20ms"), "{refused}");
        let second = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let lock = take(dir.path(), Duration::from_secs(60)).unwrap();
                (lock, Instant::now())
            });
            std::thread::sleep(Duration::from_millis(450));
            let given_up = Instant::now();
            drop(first);
            let (lock, taken) = waiting.join().unwrap();
            assert!(taken >= given_up && taken - given_up < AGAIN, "{:?}", taken - given_up);
            lock
        });
        drop(second);
        take(dir.path(), Duration::ZERO).unwrap();
    }
}
