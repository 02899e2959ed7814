//! What systemd is asked over D-Bus, in one conversation for each `create` and each `delete`.
//!
//! Owns the calls of `org.freedesktop.systemd1.Manager` that make and end a unit, the wait for a job, and the wording of what
//! goes wrong. Which unit, and what is in it, was decided in the plan (`plan/systemd.rs`).
//!
//! Invariants: no wait outlives the deadline of the conversation. A unit that exists is nobody's to take: `UnitExists` is an
//! error unless what exists is a failed remainder, or a slice, which may be shared. Nothing here is needed to end processes:
//! that is done in the cgroup itself, first.
//!
//! Must not enter: cgroup files, the environment, decisions about properties.

use std::fmt;
use std::time::Duration;

use crate::dbus::wire::{Call, Message};
use crate::dbus::{Connection, Deadline, Failure};
use crate::error::{At, Error, Kind};
use crate::plan::systemd::{Manager, Property, Unit, Value};

const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// systemd itself, who listens there for root, bus or no bus.
const PRIVATE: &str = "unix:path=/run/systemd/private";

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// How long systemd and the bus are waited for, all in all, unless the caller says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Which manager, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// A user's manager.
    pub user: bool,
    /// D-Bus addresses; empty: where the machine's are.
    pub bus: String,
    /// For the whole of a conversation.
    pub limit: Duration,
}

/// A conversation with the manager.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Connection,
    user: bool,
}

impl Place {
    /// # Errors
    /// There is no way to it.
    pub fn connect(&self) -> Result<Systemd, Failure> {
        let deadline = Deadline::after(self.limit);
        let bus = match (self.bus.as_str(), self.user) {
            ("", true) => {
                let why = "no bus address is known: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set";
                return Err(Failure::Lost { what: "the user's systemd".into(), why: why.into() });
            }
            // Without a bus there is still systemd.
            ("", false) => match Connection::open(SYSTEM_BUS, true, deadline) {
                Err(lost @ Failure::Lost { .. }) => Connection::open(PRIVATE, false, deadline).map_err(|_| lost)?,
                result => result?,
            },
            (bus, _) => Connection::open(bus, true, deadline)?,
        };
        Ok(Systemd { bus, user: self.user })
    }
}

impl Systemd {
    /// # Errors
    /// No answer, or one that makes no sense.
    pub fn manager(&mut self) -> Result<Manager, Failure> {
        let awaited = "the version and cgroup of systemd";
        let [version, cgroup] = ["Version", "ControlGroup"].map(|name| {
            let body = [text(MANAGER), text(name)];
            self.call_on(PATH, PROPERTIES, "Get", &body)
        });
        let [version, cgroup] = [version?, cgroup?].map(|serial| self.bus.reply(serial, &awaited));
        let number = |text: &str| {
            let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
            digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
        };
        let strange = |what: &str| Failure::Lost { what: awaited.into(), why: format!("an answer without {what}") };
        let version = variant(&version?).as_deref().and_then(number).ok_or_else(|| strange("a version"))?;
        let cgroup = variant(&cgroup?).ok_or_else(|| strange("a cgroup"))?;
        let names: Vec<&str> = cgroup.split('/').filter(|name| !name.is_empty()).collect();
        if names.iter().any(|name| matches!(*name, "." | "..")) {
            return Err(strange("a cgroup"));
        }
        Ok(Manager { version, control_group: format!("/{}", names.join("/")), user: self.user })
    }

    /// Processes are named by their pids, and what one means is another thing outside of our pid namespace.
    ///
    /// # Errors
    /// systemd is outside: it would put somebody else's process into the unit.
    pub fn must_share_pids(&self) -> Result<(), Error> {
        if self.bus.shares_pids() {
            return Ok(());
        }
        let text = "systemd runs outside of this pid namespace and would take another process for the container's";
        Err(Error::new(Kind::Unsupported, text))
    }

    /// Has the unit made, with this process in it, and waits until it is.
    ///
    /// # Errors
    /// [`Fault::taken`] if the unit is another's, and then nothing was changed.
    pub fn start(&mut self, unit: &Unit, pid: Option<u32>) -> Result<(), Fault> {
        let name = unit.name.as_str();
        self.expect_jobs_of(name)?;
        match self.start_once(unit, pid) {
            Err(fault) if fault.taken && !unit.holds_processes => Ok(()), // a slice is there for many
            // What has failed stays loaded under its name until somebody has seen it.
            Err(fault) if fault.taken => {
                self.reset_failed(name);
                self.start_once(unit, pid)
            }
            result => result,
        }
    }

    fn start_once(&mut self, unit: &Unit, pid: Option<u32>) -> Result<(), Fault> {
        let name = unit.name.as_str();
        let mut properties: Vec<Value> = unit.properties.iter().map(property).collect();
        if let Some(pid) = pid {
            let pids = Value::Array("u".into(), vec![Value::U32(pid)]);
            // Where runc has it: after the description, the slice and the delegation.
            properties.insert(properties.len().min(3), pair("PIDs", pids));
        }
        let none = Value::Array("(sa(sv))".into(), Vec::new());
        let body = [text(name), text("replace"), Value::Array("(sv)".into(), properties), none];
        let what = format!("unable to start unit {name:?}");
        let awaited = format!("systemd to create {name}");
        let job = self.job("StartTransientUnit", &body, &awaited).map_err(|failure| Fault {
            taken: failure.is(EXISTS),
            at: blamed(&unit.properties, &failure),
            ..Fault::new(&what, failure)
        })?;
        match self.result_of(&job, &awaited) {
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => {
                self.reset_failed(name);
                let text = format!("error creating systemd unit `{name}`: got `{result}`");
                Err(Fault { text, taken: false, late: false, lost: false, at: None })
            }
            Err(failure) => Err(Fault::new(&what, failure)),
        }
    }

    /// Changes properties of a unit until the next reboot.
    ///
    /// # Errors
    /// One that it does not take; then none is changed.
    pub fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), Fault> {
        let list = Value::Array("(sv)".into(), properties.iter().map(property).collect());
        let body = [text(unit), Value::Bool(true), list];
        let awaited = format!("systemd to set properties of {unit}");
        let sent = self.call("SetUnitProperties", &body);
        sent.and_then(|serial| self.bus.reply(serial, &awaited)).map(drop).map_err(|failure| Fault {
            at: blamed(properties, &failure),
            ..Fault::new(&format!("unable to set properties of unit {unit:?}"), failure)
        })
    }

    /// Ends a unit, and with it what has remained of it as failed. One that is gone is fine.
    ///
    /// # Errors
    /// systemd refuses, or does not answer.
    pub fn stop(&mut self, unit: &str) -> Result<(), Fault> {
        self.expect_jobs_of(unit)?;
        let awaited = format!("systemd to stop {unit}");
        let stopped = self.job("StopUnit", &[text(unit), text("replace")], &awaited);
        match stopped.and_then(|job| self.result_of(&job, &awaited)) {
            // Whatever came of it: what has failed is told by nobody but the unit, which goes now.
            Ok(_) => self.reset_failed(unit),
            Err(failure) if failure.is(NO_SUCH_UNIT) => {}
            Err(failure) => return Err(Fault::new(&format!("unable to stop unit {unit:?}"), failure)),
        }
        Ok(())
    }

    /// Where the cgroup of a unit is, seen from the root of the hierarchy; empty as long as it has none, `None` if there is no
    /// such unit.
    ///
    /// # Errors
    /// No answer, or one that makes no sense.
    pub fn cgroup_of(&mut self, unit: &str) -> Result<Option<String>, Fault> {
        let awaited = format!("systemd to say where {unit} is");
        let fault = |failure| Fault::new(&format!("unable to ask for unit {unit:?}"), failure);
        let sent = self.call("GetUnit", &[text(unit)]);
        let found = match sent.and_then(|serial| self.bus.reply(serial, &awaited)) {
            Err(failure) if failure.is(NO_SUCH_UNIT) => return Ok(None),
            reply => reply.map_err(fault)?,
        };
        let strange = || fault(Failure::Lost { what: awaited.clone(), why: "an answer that is none".into() });
        let Some(Value::Path(path)) = found.body.first() else { return Err(strange()) };
        let kind =
            if unit.ends_with(".slice") { "org.freedesktop.systemd1.Slice" } else { "org.freedesktop.systemd1.Scope" };
        let sent = self.call_on(path, PROPERTIES, "Get", &[text(kind), text("ControlGroup")]);
        let told = sent.and_then(|serial| self.bus.reply(serial, &awaited)).map_err(fault)?;
        variant(&told).map(Some).ok_or_else(strange)
    }

    /// Has a unit that has failed forgotten. Whatever comes of it is of no consequence: mostly there is none.
    pub fn reset_failed(&mut self, unit: &str) {
        let awaited = format!("systemd to forget that {unit} failed");
        let _ = self.call("ResetFailedUnit", &[text(unit)]).and_then(|serial| self.bus.reply(serial, &awaited));
    }

    /// Asks for the ends of this unit's jobs. The replies are not waited for: the bus works in order.
    fn expect_jobs_of(&mut self, unit: &str) -> Result<(), Fault> {
        let rule = format!("type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved',arg2='{unit}'");
        let sent = self.bus.add_match(&rule).and_then(|()| self.call("Subscribe", &[]));
        let serial = sent.map_err(|failure| Fault::new("subscribing to systemd's signals", failure))?;
        self.bus.forget(serial);
        Ok(())
    }

    /// A call that makes a job.
    fn job(&mut self, member: &str, body: &[Value], awaited: &dyn fmt::Display) -> Result<Job, Failure> {
        let serial = self.call(member, body)?;
        let reply = self.bus.reply(serial, awaited)?;
        match reply.body.into_iter().next() {
            Some(Value::Path(path)) => Ok(Job { path, sender: reply.sender }),
            _ => Err(Failure::Lost { what: awaited.to_string(), why: "an answer without a job".into() }),
        }
    }

    /// How the job ended: `done`, `failed`, `timeout`, `canceled`, ...
    fn result_of(&mut self, job: &Job, awaited: &dyn fmt::Display) -> Result<String, Failure> {
        self.bus.signal(awaited, |message| job.ended(message))
    }

    fn call(&mut self, member: &str, body: &[Value]) -> Result<u32, Failure> {
        self.call_on(PATH, MANAGER, member, body)
    }

    fn call_on(&mut self, path: &str, interface: &str, member: &str, body: &[Value]) -> Result<u32, Failure> {
        let destination = self.bus.has_bus.then_some(NAME);
        self.bus.call(&Call { destination, path, interface, member, body })
    }
}

/// Something that systemd has begun to do.
struct Job {
    path: String,
    /// Who does it: nobody else can say that it is done.
    sender: String,
}

impl Job {
    fn ended(&self, message: &Message) -> Option<String> {
        let [_, Value::Path(path), _, Value::Text(result)] = message.body.as_slice() else { return None };
        let ours = message.member == "JobRemoved" && message.sender == self.sender && *path == self.path;
        ours.then(|| result.clone())
    }
}

/// What went wrong with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    text: String,
    /// The unit is there already, and not ours.
    pub taken: bool,
    /// There was no answer in time: what became of it nobody knows.
    pub late: bool,
    /// There is nobody to talk to any more.
    pub lost: bool,
    at: Option<At>,
}

impl Fault {
    fn new(what: &str, failure: Failure) -> Self {
        let late = matches!(failure, Failure::Late { .. });
        let lost = matches!(failure, Failure::Lost { .. });
        let text = match &failure {
            Failure::Late { awaited, limit } if awaited.starts_with("systemd to ") => {
                format!("Timeout waiting for {awaited} (after {limit:?})")
            }
            failure => format!("{what}: {failure}"),
        };
        Fault { text, taken: false, late, lost, at: None }
    }

    /// As an error of a command.
    pub fn error(&self) -> Error {
        Error::new(Kind::Os, self.text.as_str()).with_at(self.at.unwrap_or(At::field("linux.cgroupsPath")))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// There is no way to it, or no answer.
pub(crate) fn unreachable(failure: &Failure) -> Error {
    Error::new(Kind::Os, format!("unable to ask systemd: {failure}"))
}

/// Which property it is that systemd does not take: its words name it.
fn blamed(properties: &[Property], failure: &Failure) -> Option<At> {
    let Failure::Refused { text, .. } = failure else { return None };
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric());
    properties.iter().find(|property| words().any(|word| word == property.name)).map(|property| property.at)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn pair(name: &str, value: Value) -> Value {
    Value::Struct(vec![text(name), Value::Variant(Box::new(value))])
}

fn property(property: &Property) -> Value {
    pair(&property.name, property.value.clone())
}

/// The text in the variant that `Get` returns.
fn variant(reply: &Message) -> Option<String> {
    match reply.body.first() {
        Some(Value::Variant(value)) => match value.as_ref() {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
