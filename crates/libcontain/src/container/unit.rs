//! A container's unit: asked for, and ended.
//!
//! Crash-only: the record names the unit and the way to its manager before either is touched. A unit that was only intended
//! may be somebody else's, so nothing in it is ended then; it is ours once [`Container::own_cgroup`] has said so.

use std::time::Duration;

use super::{Claim, Container};
use crate::create::Driver;
use crate::error::{At, Error, Kind, Problem};
use crate::plan::Plan;
use crate::plan::systemd::{Manager, Property, Unit};
use crate::state::UnitRecord;
use crate::systemd::{self, Fault, Place, Systemd};

const PATH: At = At::field("linux.cgroupsPath");

impl Container {
    /// Notes which unit there will be, and who is asked for it.
    pub(crate) fn intend_unit(&mut self, name: &str, driver: Driver) {
        let Driver { place, systemd } = driver;
        self.record.unit = Some(UnitRecord { name: name.to_owned(), user: place.user, bus: place.bus });
        self.manager = systemd;
        self.bus_limit = place.limit;
    }

    /// Has systemd make the unit, with the process that was cloned in it.
    ///
    /// # Errors
    /// It exists, or cannot be made, or systemd does not answer: that is no proof that it will not be made.
    pub(crate) fn start_unit(&mut self, unit: &Unit) -> Result<(), Error> {
        let pid = unit.holds_processes.then_some(self.pid());
        let Some(record) = self.record.unit.clone() else { return Ok(()) };
        let mut manager = self.manager(&record)?;
        self.claim = Claim::Unknown;
        let started = manager.start(unit, pid);
        match &started {
            Ok(()) => {} // what comes next may take long, and its end is another conversation
            Err(fault) if fault.late => self.bus_limit = Duration::ZERO, // nor would anything else be answered
            Err(fault) if fault.lost => {} // another conversation may come to somebody
            Err(_) => self.manager = Some(manager),
        }
        started.map_err(|fault| {
            if fault.taken {
                self.claim = Claim::None;
            }
            fault.error()
        })
    }

    /// Has systemd set properties of the container's unit, which depend on which systemd it is: in a conversation of its own.
    /// Nothing if the cgroup is not systemd's. On v1 it forbids all devices before it allows those of the unit: nobody may be
    /// running there to notice.
    ///
    /// # Errors
    /// systemd does not take them, and then none is set; or it does not answer.
    pub(crate) fn set_unit_properties(
        &self,
        properties: impl FnOnce(&Manager) -> Result<Vec<Property>, Error>,
    ) -> Result<(), Error> {
        let Some(unit) = &self.record.unit else { return Ok(()) };
        let mut systemd = self.connect(unit)?;
        let manager = systemd.manager().map_err(|failure| systemd::unreachable(&failure))?;
        let properties = properties(&manager)?;
        if properties.is_empty() {
            return Ok(());
        }
        systemd.set(&unit.name, &properties).map_err(|fault| fault.error())
    }

    /// An intermediate that has waited for the cgroup clones init now.
    pub(crate) fn follow_fork(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(init) = self.init.as_mut().filter(|_| plan.has_intermediate()) else { return Ok(()) };
        let followed = init.follow_fork();
        self.record.init_process_pid = init.pid;
        followed.map_err(|fault| Error::os(fault.call, rustix::io::Errno::from_raw_os_error(fault.errno)))
    }

    /// The conversation that goes on, or a new one.
    fn manager(&mut self, unit: &UnitRecord) -> Result<Systemd, Error> {
        self.manager.take().map_or_else(|| self.connect(unit), Ok)
    }

    fn connect(&self, unit: &UnitRecord) -> Result<Systemd, Error> {
        let place = Place { user: unit.user, bus: unit.bus.clone(), limit: self.bus_limit };
        place.connect().map_err(|failure| systemd::unreachable(&failure))
    }

    /// First what is in the cgroup, by itself, so that nobody has to be waited for; then the unit; then what is left of the
    /// directories. systemd gives up a scope whose directory is gone, so that a bus that is silent costs a warning.
    pub(super) fn remove_unit(&mut self, unit: &UnitRecord) -> Result<Vec<Problem>, Error> {
        if self.claim == Claim::None {
            return Ok(vec![]);
        }
        let cgroup = self.cgroup();
        let ours = matches!(self.claim, Claim::Ours | Claim::Remains);
        let inhabited = cgroup.pids().map_or(true, |pids| !pids.is_empty());
        // systemd has given up the unit with its last process, and has made it anew for another container.
        if ours && inhabited && self.has_successor() {
            return Ok(vec![]);
        }
        if ours && inhabited {
            cgroup.kill_all().map_err(|e| Error::new(Kind::Os, e.to_string()))?;
        }
        let told = match self.end_unit(unit, ours, inhabited) {
            Ok(()) => vec![],
            Err(text) => vec![Problem::warning(PATH, "", format!("the unit {:?} was not ended: {text}", unit.name))],
        };
        if ours {
            cgroup.remove().map_err(|e| Error::new(Kind::Os, e.to_string()))?;
        } else {
            cgroup.take_back();
        }
        Ok(told)
    }

    fn end_unit(&mut self, unit: &UnitRecord, ours: bool, inhabited: bool) -> Result<(), String> {
        let mut manager = self.manager(unit).map_err(|e| e.to_string())?;
        let told = |fault: Fault| fault.to_string();
        // An intended unit with nobody in it is stopped as well: a slice stays when it is empty, and so does a scope whose
        // process had died before systemd moved it there, as the process of a `create` does that is killed. In another slice
        // there may be somebody else's of that name, whose processes are not in the cgroup that was intended.
        let intended = &self.record.config.cgroups.path;
        let may_be_ours = |path: String| path.is_empty() || !inhabited && path == *intended;
        if ours || manager.cgroup_of(&unit.name).map_err(told)?.is_some_and(may_be_ours) {
            manager.stop(&unit.name).map_err(told)
        } else {
            manager.reset_failed(&unit.name);
            Ok(())
        }
    }
}
