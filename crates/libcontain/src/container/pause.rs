//! `pause` and `resume`: the freezer is the only record of either, so that whoever is killed in the middle leaves a
//! container that is paused, or not, to whoever asks next.

use super::{Container, Status};
use crate::error::{Error, Kind};

impl Container {
    /// Freezes all processes of a created or running container. A freeze that fails is undone.
    ///
    /// # Errors
    /// [`Kind::NotRunning`], also when it is paused already; `freezer not supported` when it has no cgroup that could be
    /// frozen; `unable to freeze` when a process cannot be stopped within ten seconds (v1: two).
    pub fn pause(&self) -> Result<(), Error> {
        let not_running = || Error::new(Kind::NotRunning, "container not running");
        if !matches!(self.status()?, Status::Created | Status::Running) {
            return Err(not_running());
        }
        let cgroup = self.cgroup();
        cgroup.freeze().map_err(|e| Error::new(Kind::Os, e.to_string()))?;
        // It may have ended first. An empty cgroup freezes as well, and would be taken for a container.
        if !self.is_alive() {
            cgroup.thaw().map_err(|e| Error::new(Kind::Os, e.to_string()))?;
            return Err(not_running());
        }
        Ok(())
    }

    /// Lets a paused container go on, also one that was not quite frozen when its `pause` was killed. One that stands still
    /// because a cgroup above its own is frozen is not paused.
    ///
    /// # Errors
    /// [`Kind::NotRunning`] when it is not paused; what the kernel says otherwise.
    pub fn resume(&self) -> Result<(), Error> {
        if self.status()? != Status::Paused {
            return Err(Error::new(Kind::NotRunning, "container not paused"));
        }
        self.cgroup().thaw().map_err(|e| Error::new(Kind::Os, e.to_string()))
    }
}
