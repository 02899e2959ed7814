//! The cgroup by systemd: a process that waits at its first step is handed to the manager of units, who makes a cgroup around
//! it; what systemd does not know of is done here.

use std::os::fd::OwnedFd;

use super::{FRAME, Making, cgroup_error, died};
use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::error::Error;
use crate::plan::systemd::Unit;
use crate::report::Event;

impl Making<'_> {
    /// Has the unit made around the process that was cloned, and lets it go on.
    pub(super) fn enter_unit(&self, container: &mut Container, unit: &Unit, fds: &[OwnedFd]) -> Result<Cgroup, Error> {
        match container.next_event()? {
            Event::Cgroup => {}
            Event::Failed(failure) => return Err(self.wording(fds).describe(&failure)),
            _ => return Err(died(container, &Cgroup::default())),
        }
        container.start_unit(unit).map_err(|e| e.within(FRAME))?;
        let planned = &self.plan.cgroup;
        let cgroup = Cgroup::complete(planned).map_err(|e| cgroup_error(&e))?;
        container.own_cgroup()?;
        cgroup.apply(planned).map_err(|e| cgroup_error(&e))?;
        cgroup.adopt(container.pid(), unit, planned).map_err(|e| cgroup_error(&e))?;
        planned.owner.map_or(Ok(()), |uid| cgroup.delegate(uid)).map_err(|e| cgroup_error(&e))?;
        container.go();
        container.follow_fork(self.plan)?;
        Ok(cgroup)
    }
}
