//! Which devices the container may use: from rules to v1 lines or a v2 eBPF program.
//!
//! Owns the emulation of the v1 `devices` controller: the rules of `linux.resources.devices` and the runtime's
//! own are folded into a [`Policy`] (a default and the exceptions from it), and both outputs are made from
//! that, so that a container sees the same devices on v1 and on v2. From one policy to another in a cgroup that is in
//! use leads a [`Transition`] on v1, and another program on v2.
//!
//! Invariants: every exception is the opposite of the default; no two exceptions have the same type, major and
//! minor; exceptions keep the order of the config (`devices.list` shows it). The rule about wildcards is the
//! kernel's: v1 cannot punch a hole into a wildcard exception, so asking for it is an error on v2 as well.
//!
//! Must not enter: I/O, the cgroup's path, how a program is loaded (`sys/bpf.rs`).

use std::fmt;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{At, Problem};

mod program;
mod transition;
pub(crate) mod unit;

pub use program::Program;
pub use transition::Transition;

const CLAUSE: &str = "config-linux.md#allowed-device-list";

/// The two device types that a request can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Block,
    /// A character device.
    Char,
}

/// What is done to a device: bits as `struct bpf_cgroup_dev_ctx` has them (`BPF_DEVCG_ACC_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// `mknod(2)`.
    pub const MKNOD: Access = Access(1);
    /// Opening for reading.
    pub const READ: Access = Access(2);
    /// Opening for writing.
    pub const WRITE: Access = Access(4);
    /// All three.
    pub const ALL: Access = Access(7);

    /// The letters `r`, `w` and `m`, in any order; `None` for anything else.
    fn parse(text: &str) -> Option<Access> {
        text.chars().try_fold(Access(0), |acc, letter| {
            let bit = match letter {
                'r' => Access::READ,
                'w' => Access::WRITE,
                'm' => Access::MKNOD,
                _ => return None,
            };
            Some(acc.union(bit))
        })
    }

    /// The bits as a number.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    const fn union(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    const fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    const fn overlaps(self, other: Access) -> bool {
        self.0 & other.0 != 0
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(Access::READ, "r"), (Access::WRITE, "w"), (Access::MKNOD, "m")];
        letters.iter().filter(|(bit, _)| self.overlaps(*bit)).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// One exception from a policy's default. `None` for a number is the wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Block or character device.
    pub kind: Kind,
    /// The major number.
    pub major: Option<u32>,
    /// The minor number.
    pub minor: Option<u32>,
    /// What the exception is about.
    pub access: Access,
}

impl Exception {
    const fn char(major: Option<u32>, minor: Option<u32>, access: Access) -> Self {
        Exception { kind: Kind::Char, major, minor, access }
    }

    fn same_device(&self, other: &Exception) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// Whether `self` is a wildcard that takes in all devices of `other`, without being the same.
    fn takes_in(&self, other: &Exception) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
            && !self.same_device(other)
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// What runc allows after the rules of the config, in its order (contract.md 6.5): making any node, the nodes
/// of config-linux.md#default-devices, pseudo-terminals and /dev/net/tun.
const APPENDED: [Exception; 11] = [
    Exception::char(None, None, Access::MKNOD),
    Exception { kind: Kind::Block, major: None, minor: None, access: Access::MKNOD },
    Exception::char(Some(1), Some(3), Access::ALL),
    Exception::char(Some(1), Some(8), Access::ALL),
    Exception::char(Some(1), Some(7), Access::ALL),
    Exception::char(Some(5), Some(0), Access::ALL),
    Exception::char(Some(1), Some(5), Access::ALL),
    Exception::char(Some(1), Some(9), Access::ALL),
    Exception::char(Some(136), None, Access::ALL),
    Exception::char(Some(5), Some(2), Access::ALL),
    Exception::char(Some(10), Some(200), Access::ALL),
];

/// A default and the exceptions from it: what the rules come down to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// What happens to a request that no exception speaks about.
    pub allow: bool,
    /// All of them say the opposite of `allow`.
    pub exceptions: Vec<Exception>,
}

/// Folds the config's rules, then the runtime's own, into a policy. Rules that cannot be read or expressed are
/// reported and left out.
pub fn policy(rules: &[LinuxDeviceCgroup], problems: &mut Vec<Problem>) -> Policy {
    let mut policy = Policy::default();
    for (i, rule) in rules.iter().enumerate() {
        if let Err(problem) = policy.rule(i, rule, problems) {
            problems.push(problem);
        }
    }
    for exception in APPENDED {
        if let Err(text) = policy.apply(exception, true) {
            let text = format!("{text}: the runtime's own rules come after the config's");
            problems.push(Problem::error(At::field("linux.resources.devices"), CLAUSE, text));
        }
    }
    policy
}

impl Policy {
    fn rule(&mut self, i: usize, rule: &LinuxDeviceCgroup, problems: &mut Vec<Problem>) -> Result<(), Problem> {
        let access = access(i, rule.access().as_deref().unwrap_or(""), problems)?;
        let major = number(At::item("linux.resources.devices[#].major", i), rule.major())?;
        let minor = number(At::item("linux.resources.devices[#].minor", i), rule.minor())?;
        let kind = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => {
                if (major, minor) != (None, None) || access != Access::ALL {
                    let text = "a rule of type \"a\" is about every access to every device: its numbers and access are ignored";
                    problems.push(Problem::warning(At::item("linux.resources.devices[#]", i), CLAUSE, text));
                }
                *self = Policy { allow: rule.allow(), exceptions: Vec::new() };
                return Ok(());
            }
            LinuxDeviceType::B => Kind::Block,
            LinuxDeviceType::C => Kind::Char,
            other => {
                let text = format!("invalid cgroup device type {:?}: expected \"a\", \"b\" or \"c\"", other.as_str());
                return Err(Problem::error(At::item("linux.resources.devices[#].type", i), CLAUSE, text));
            }
        };
        let at = At::item("linux.resources.devices[#]", i);
        self.apply(Exception { kind, major, minor, access }, rule.allow())
            .map_err(|text| Problem::error(at, CLAUSE, text))
    }

    fn apply(&mut self, rule: Exception, allow: bool) -> Result<(), String> {
        if allow == self.allow { self.remove(rule) } else { self.add(rule) }
            .map(|()| self.exceptions.retain(|e| !e.access.is_empty()))
    }

    fn add(&mut self, rule: Exception) -> Result<(), String> {
        match self.exceptions.iter_mut().find(|e| e.same_device(&rule)) {
            Some(exception) => exception.access = exception.access.union(rule.access),
            None => self.exceptions.push(rule),
        }
        Ok(())
    }

    /// Takes bits out of an exception. The kernel looks for the same numbers only, so bits that a wildcard still
    /// gives would silently stay given (or refused): that is an error.
    fn remove(&mut self, rule: Exception) -> Result<(), String> {
        if let Some(wild) = self.exceptions.iter().find(|e| e.takes_in(&rule) && e.access.overlaps(rule.access)) {
            return Err(format!(
                "requested rule [{rule}] not supported by devices cgroupv1 (cannot punch hole in existing wildcard rule [{wild}])"
            ));
        }
        if let Some(exception) = self.exceptions.iter_mut().find(|e| e.same_device(&rule)) {
            exception.access = exception.access.without(rule.access);
        }
        Ok(())
    }

    /// The v1 files and what to write to them, in order, for a cgroup that was just made (it starts with a copy
    /// of its parent's rules, which the first line drops).
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let (default, other) =
            if self.allow { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
        let exceptions = self.exceptions.iter().map(|e| (other, e.to_string()));
        std::iter::once((default, "a".to_owned())).chain(exceptions).collect()
    }
}

fn is_whole(e: &Exception) -> bool {
    e.major.is_none() && e.minor.is_none()
}

fn access(i: usize, text: &str, problems: &mut Vec<Problem>) -> Result<Access, Problem> {
    let at = At::item("linux.resources.devices[#].access", i);
    if text.is_empty() {
        return Err(Problem::error(at, CLAUSE, format!("device access at {i} field cannot be empty")));
    }
    // runc passes over other letters, and its own tests have some.
    let known: String = text.chars().filter(|letter| "rwm".contains(*letter)).collect();
    let wrong = format!("{text:?} must consist of the letters \"r\", \"w\" and \"m\"");
    match Access::parse(&known) {
        Some(access) if !access.is_empty() => {
            if known != text {
                problems.push(Problem::warning(at, CLAUSE, format!("{wrong}: the others are ignored")));
            }
            Ok(access)
        }
        _ => Err(Problem::error(at, CLAUSE, wrong)),
    }
}

/// Absent and -1 are the wildcard.
fn number(at: At, value: Option<i64>) -> Result<Option<u32>, Problem> {
    match value {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| Problem::error(at, CLAUSE, format!("{n} is no device number: expected 0 to {}", u32::MAX))),
    }
}

#[cfg(test)]
mod tests;
