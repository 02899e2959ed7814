//! `update`: changing the resources of a container that runs, is paused or waits for `start`.
//!
//! Owns [`Update`] (what is asked) and the order of things: alone ([`crate::lock`]), the record read anew, everything that can
//! be wrong found by the plan, then limits, class of service, device rules, and last the record. Whatever fails takes back
//! all that was done before it, so that an update is made or is not made. A process that is killed in between leaves limits
//! of both kinds and the old record: the container can be updated again, and deleted.
//!
//! Must not enter: which value goes to which file (`plan/cgroup`), how it is written (`cgroup/update.rs`).

use std::time::Duration;

use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde::Deserialize;

use crate::bundle;
use crate::cgroup::{self, Cgroup, CgroupError, DeviceUndo, Undo};
use crate::container::{Container, Status};
use crate::error::{At, Error, Kind, Level, Problem};
use crate::plan::cgroup::update::{Facts, Merged, before, dirs, merge, plan, properties};
use crate::plan::cgroup::{Layout, Plan};
use crate::plan::devices::{Policy, policy};
use crate::plan::rdt::schemata;
use crate::rdt;
use crate::state::not_found;

const DEVICES: At = At::field("linux.resources.devices");
/// Engines pass all the rules that they know of with each change of a limit. Those that a wrapper of the runtime has added to
/// the config (nvidia-container-runtime) are not among them; runc never changes a rule, so nobody has noticed.
const KEPT: &str = "left as they are: an update of other limits takes no device away. Give the rules alone for that";

/// How long another update is waited for. The kernel may take its time to get memory back.
const PATIENCE: Duration = Duration::from_secs(60);

/// What [`Container::update`] is to change. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// In the form and units of the config's `linux.resources`. 0 is "not set" for limits of memory, for shares, quota,
    /// period and weights, and -1 "no limit" for limits of memory, quota and the number of tasks. Lists for devices, page
    /// sizes and interfaces change the items that they name; `devices` replaces all rules of the config, unless it is empty
    /// or says the same; with other limits beside them, rules by which something would be lost are left with a warning.
    pub resources: LinuxResources,
    /// New lines of the class of service for L3 cache, such as `L3:0=ff;1=f`.
    pub l3_cache_schema: Option<String>,
    /// The same for memory bandwidth: `MB:0=50`.
    pub mem_bw_schema: Option<String>,
}

impl Update {
    /// From a `linux.resources` object in JSON, read as Go reads it: names in any case, `null` as the zero value.
    ///
    /// # Errors
    /// [`Kind::Config`]: it is none. The text names the place and line.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let (mut resources, _): (LinuxResources, _) = bundle::from_json("resources", text)?;
        // An absent number is "no limit" to who makes a container, and "as it is" to who changes one.
        let (given, _): (Given, _) = bundle::from_json("resources", text)?;
        if given.pids.and_then(|pids| pids.limit).is_none() {
            resources.set_pids(None);
        }
        Ok(Update { resources, ..Update::default() })
    }
}

/// Whether a number stands where the types of the config put one for none.
#[derive(Deserialize)]
struct Given {
    pids: Option<GivenPids>,
}

#[derive(Deserialize)]
struct GivenPids {
    limit: Option<i64>,
}

/// What will be done, without a problem in it.
struct Change {
    merged: Merged,
    plan: Plan,
    facts: Facts,
    layout: Layout,
    /// Old and new.
    devices: Option<(Policy, Policy)>,
    /// The texts for the class of service.
    schemata: Vec<String>,
}

/// What leads back from what has been done, or may have been.
#[derive(Default)]
struct Done {
    /// systemd has been told.
    manager: bool,
    files: Undo,
    /// The settings of the class of service, of before.
    class: Option<String>,
    devices: Option<DeviceUndo>,
    /// What was found and got over.
    told: Vec<Problem>,
}

impl Container {
    /// Changes resources. All of the change is made or none of it; a paused container stays paused. Another update of the
    /// same container is waited for. Returns what the caller should be told although all went well.
    ///
    /// # Errors
    /// [`Kind::NotRunning`] of a stopped container. [`Kind::Config`] with all problems, before anything is written. Else
    /// what the kernel refused: the config's member, file, value and errno.
    pub fn update(&mut self, update: &Update) -> Result<Vec<Problem>, Error> {
        let _alone = self.dir().lock(PATIENCE)?;
        let record = self.dir().read_state()?.ok_or_else(not_found)?;
        self.set_record(record);
        if self.status()? == Status::Stopped {
            return Err(Error::new(Kind::NotRunning, "container not running"));
        }
        let layout = cgroup::probe().map_err(|e| Error::os("asking the machine for its cgroups", e))?;
        let cgroup = self.cgroup();
        let mut problems = Vec::new();
        let change = self.plan_update(update, &cgroup, &layout, &mut problems);
        if problems.iter().any(|p| p.level == Level::Error) {
            return Err(Error::config(problems));
        }
        let mut done = Done::default();
        // On v1 systemd writes device rules of its own, that may say less, and ours come after them.
        let pause = change.devices.is_some() && self.record().unit.is_some() && cgroup.has_device_files();
        let pause = pause && !cgroup.frozen();
        let os = |error: std::io::Error| Error::new(Kind::Os, error.to_string());
        if pause {
            cgroup.freeze().map_err(os)?;
        }
        let made = match self.carry_out(&change, &cgroup, &mut done) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.take_back(&change, &cgroup, &mut done).into_iter().fold(error, Error::and)),
        };
        if pause {
            cgroup.thaw().map_err(os)?;
        }
        problems.extend(done.told);
        made.map(|()| problems)
    }

    fn plan_update(&self, asked: &Update, cgroup: &Cgroup, layout: &Layout, problems: &mut Vec<Problem>) -> Change {
        let old = self.record().config.cgroups.resources();
        let mut merged = merge(old, &asked.resources);
        let mut devices = new_rules(old, &merged, problems);
        if devices.as_ref().is_some_and(|(old, new)| old.loses_with(new)) && asks_for_more(&asked.resources) {
            problems.push(Problem::warning(DEVICES, "", KEPT));
            merged.stored.set_devices(old.devices().clone());
            devices = None;
        }
        if devices.is_none() {
            merged.written.set_devices(None);
        }
        let dirs = dirs(&self.record().cgroup_paths, layout);
        let (facts, by_systemd) = (cgroup.facts(), self.record().unit.is_some());
        let plan = plan(&merged, dirs, layout, (&facts, by_systemd), problems);
        let schemata = asked.schemata();
        if !schemata.is_empty() && self.record().intel_rdt_path.is_empty() {
            let text = "updating a non-existent Intel RDT configuration is not supported";
            problems.push(Problem::error(At::field("linux.intelRdt"), "", text));
        }
        Change { merged, plan, facts, layout: layout.clone(), devices, schemata }
    }

    /// Everything that `done` does not speak of when it fails is as it was.
    fn carry_out(&mut self, change: &Change, cgroup: &Cgroup, done: &mut Done) -> Result<(), Error> {
        let prepared = cgroup.prepare(&change.plan).map_err(|e| of_the_cgroup(&e))?;
        let devices = change.devices.as_ref().map(|(old, _)| cgroup.device_rules(old)).transpose();
        let devices = self.tolerated(devices, done)?.flatten();
        (done.files, done.devices) = (prepared.undo(), devices); // from here on systemd writes to them, too
        self.tell_systemd(&change.merged, change, &mut done.told)?;
        done.manager = true;
        prepared.write().map_err(|e| of_the_cgroup(&e))?;
        if !change.schemata.is_empty() {
            done.class = Some(rdt::change(&self.record().intel_rdt_path, &change.schemata)?);
        }
        if let Some((old, new)) = change.devices.as_ref().filter(|_| done.devices.is_some()) {
            self.tolerated(cgroup.change_devices(old, new), done)?;
        }
        let mut record = self.record().clone();
        record.config.cgroups.set_resources(change.merged.stored.clone());
        self.dir().write_state(&record)?;
        self.set_record(record);
        Ok(())
    }

    /// As when it was made: who may not restrict devices need not, if he is not root.
    fn tolerated<T: Default>(&self, result: Result<T, CgroupError>, done: &mut Done) -> Result<T, Error> {
        match result {
            Err(error) if self.record().rootless && error.is_permission() => {
                done.told.push(Problem::warning(DEVICES, "", format!("ignored: {error}")));
                Ok(T::default())
            }
            result => result.map_err(|e| of_the_cgroup(&e)),
        }
    }

    /// In reverse, but that what systemd writes comes first; returns what could not be taken back, in words.
    fn take_back(&self, change: &Change, cgroup: &Cgroup, done: &mut Done) -> Vec<String> {
        let old = before(self.record().config.cgroups.resources(), &change.merged, &change.facts);
        let manager = done.manager.then(|| self.tell_systemd(&old, change, &mut Vec::new()).err()).flatten();
        let devices = done.devices.take().zip(change.devices.as_ref());
        let devices = devices.and_then(|(undo, (_, new))| cgroup.revert_devices(undo, new));
        let class = done.class.take().and_then(|before| rdt::change_back(&self.record().intel_rdt_path, &before));
        let files = std::mem::take(&mut done.files).revert();
        let manager = manager.map(|error| format!("systemd has the new limits: {error}"));
        manager.into_iter().chain(devices).chain(class).chain(files).collect()
    }

    /// Before limits are written, so that systemd does not write its own over them later. Nothing if the cgroup is not its.
    fn tell_systemd(&self, merged: &Merged, change: &Change, told: &mut Vec<Problem>) -> Result<(), Error> {
        self.set_unit_properties(|manager| {
            let mut problems = Vec::new();
            let properties = properties(merged, &change.layout, &change.facts, manager, &mut problems);
            if problems.iter().any(|p| p.level == Level::Error) {
                return Err(Error::config(problems));
            }
            told.extend(problems);
            Ok(properties)
        })
    }
}

impl Update {
    /// The texts for the class of service.
    fn schemata(&self) -> Vec<String> {
        let mut rdt = LinuxIntelRdt::default();
        rdt.set_l3_cache_schema(self.l3_cache_schema.clone()).set_mem_bw_schema(self.mem_bw_schema.clone());
        schemata(&rdt)
    }
}

/// The device rules of before and those that take their place. `None`: they say the same. Kubernetes passes all of the
/// config's rules to change a number of CPUs, and what a hook of the container has allowed besides them has to stay.
fn new_rules(old: &LinuxResources, merged: &Merged, problems: &mut Vec<Problem>) -> Option<(Policy, Policy)> {
    merged.written.devices().as_ref()?;
    let rules =
        |r: &LinuxResources, problems: &mut Vec<Problem>| policy(r.devices().as_deref().unwrap_or_default(), problems);
    // The problems of the old ones were told when the container was made.
    let (old, new) = (rules(old, &mut Vec::new()), rules(&merged.stored, problems));
    if let Err(text) = new.program() {
        problems.push(Problem::error(DEVICES, "", text));
    }
    (!old.is_same(&new)).then_some((old, new))
}

/// Whether anything but device rules is asked for.
fn asks_for_more(asked: &LinuxResources) -> bool {
    let mut rest = asked.clone();
    rest.set_devices(None);
    rest != LinuxResources::default()
}

fn of_the_cgroup(error: &CgroupError) -> Error {
    let wrapped = Error::new(Kind::Os, error.to_string()).with_at(error.at.unwrap_or(At::field("linux.resources")));
    if error.errno == 0 { wrapped } else { wrapped.with_errno(error.errno) }
}
