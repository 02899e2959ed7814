//! What the container's process starts with: environment, capability masks, resource limits, umask.
//!
//! Turns the lists of names in `process` into what the kernel takes. Nothing here judges: what is wrong is for
//! `check`, and what cannot be expressed is left out. Pure: no I/O, no panic.

use crate::spec::{Capabilities, Capability, LinuxCapabilities, PosixRlimit, PosixRlimitType, User};
use std::collections::HashSet;

/// The environment of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `NAME=value` entries, no name twice.
    pub list: Vec<String>,
    /// There is no `HOME` among them: it comes last, from the container's /etc/passwd.
    pub needs_home: bool,
}

/// Of entries with the same name the last stays, at its own place. An empty `HOME` is none.
#[must_use]
pub fn environment(entries: &[String]) -> Environment {
    let mut names = HashSet::with_capacity(entries.len());
    let mut list = Vec::with_capacity(entries.len());
    for entry in entries.iter().rev() {
        // The last HOME counts, and if that is empty an earlier one does not come back.
        if names.insert(name(entry)) && entry != "HOME=" {
            list.push(entry.clone());
        }
    }
    list.reverse();
    let needs_home = variable(&list, "HOME").is_none();
    Environment { list, needs_home }
}

/// The value of a variable.
#[must_use]
pub fn variable<'e>(entries: &'e [String], name: &str) -> Option<&'e str> {
    entries.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// The five sets of capabilities(7), bit n standing for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilityMasks {
    /// What can ever be gained.
    pub bounding: u64,
    /// What counts in the kernel's checks.
    pub effective: u64,
    /// What is kept across execve(2) of a file that has it as inheritable too.
    pub inheritable: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What is kept across execve(2) of any file.
    pub ambient: u64,
}

impl CapabilityMasks {
    /// The sets as the config has them.
    #[must_use]
    pub fn asked(wanted: &LinuxCapabilities) -> Self {
        let set = |names: &Option<Capabilities>| names.as_ref().map_or(0, mask);
        CapabilityMasks {
            bounding: set(wanted.bounding()),
            effective: set(wanted.effective()),
            inheritable: set(wanted.inheritable()),
            permitted: set(wanted.permitted()),
            ambient: set(wanted.ambient()),
        }
    }

    /// Without what this kernel does not know (`last_cap` is the number in /proc/sys/kernel/cap_last_cap), and
    /// without ambient ones that the kernel would refuse to raise because they are not permitted and
    /// inheritable: the spec wants both left out, with a warning.
    #[must_use]
    pub fn grantable(self, last_cap: u8) -> Self {
        let known = known_mask(last_cap);
        CapabilityMasks {
            bounding: self.bounding & known,
            effective: self.effective & known,
            inheritable: self.inheritable & known,
            permitted: self.permitted & known,
            ambient: self.ambient & self.permitted & self.inheritable & known,
        }
    }
}

/// The sets to set for what the config asks for.
#[must_use]
pub fn capabilities(wanted: &LinuxCapabilities, last_cap: u8) -> CapabilityMasks {
    CapabilityMasks::asked(wanted).grantable(last_cap)
}

/// All capabilities up to and including number `last_cap`.
#[must_use]
pub fn known_mask(last_cap: u8) -> u64 {
    u64::MAX.checked_shr(63_u32.saturating_sub(u32::from(last_cap))).unwrap_or(0)
}

/// One set as a mask.
#[must_use]
pub fn mask(names: &Capabilities) -> u64 {
    names.iter().fold(0, |mask, name| mask | bit(*name))
}

/// The bit of one capability.
#[must_use]
pub fn bit(capability: Capability) -> u64 {
    // oci-spec's names lack the prefix. A name that the caps crate does not have cannot be granted.
    let name = format!("CAP_{capability}");
    name.parse().map_or(0, |known: caps::Capability| known.bitmask())
}

/// The names of the capabilities in a mask, in the kernel's order; `CAP_63` where there is no name.
pub fn names(mask: u64) -> impl Iterator<Item = String> {
    (0..64_u8).filter(move |number| mask >> number & 1 == 1).map(|number| {
        let named = caps::all().into_iter().find(|known| known.index() == number);
        named.map_or_else(|| format!("CAP_{number}"), |known| known.to_string())
    })
}

/// A resource limit as prlimit(2) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// The limits, in the order of the config.
#[must_use]
pub fn rlimits(limits: &[PosixRlimit]) -> Vec<Rlimit> {
    limits.iter().map(|l| Rlimit { resource: resource(l.typ()), soft: l.soft(), hard: l.hard() }).collect()
}

/// The number of a limit; libc's, because some architectures number them differently.
#[must_use]
pub fn resource(kind: PosixRlimitType) -> u32 {
    use PosixRlimitType as T;
    match kind {
        T::RlimitAs => libc::RLIMIT_AS,
        T::RlimitCore => libc::RLIMIT_CORE,
        T::RlimitCpu => libc::RLIMIT_CPU,
        T::RlimitData => libc::RLIMIT_DATA,
        T::RlimitFsize => libc::RLIMIT_FSIZE,
        T::RlimitLocks => libc::RLIMIT_LOCKS,
        T::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        T::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        T::RlimitNice => libc::RLIMIT_NICE,
        T::RlimitNofile => libc::RLIMIT_NOFILE,
        T::RlimitNproc => libc::RLIMIT_NPROC,
        T::RlimitRss => libc::RLIMIT_RSS,
        T::RlimitRtprio => libc::RLIMIT_RTPRIO,
        T::RlimitRttime => libc::RLIMIT_RTTIME,
        T::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        T::RlimitStack => libc::RLIMIT_STACK,
    }
}

/// The file mode creation mask of the container's first process: 0022 where the config has none.
#[must_use]
pub fn umask(user: &User) -> u32 {
    user.umask().unwrap_or(0o022) & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{LinuxCapabilitiesBuilder, PosixRlimitBuilder, UserBuilder};

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|e| (*e).to_owned()).collect()
    }

    #[test]
    fn of_equal_names_the_last_stays_in_its_place() {
        let table: [(&[&str], &[&str], bool); 8] = [
            (&[], &[], true),
            (&["A=1", "B=2", "A=3"], &["B=2", "A=3"], true),
            (&["HOME=/h", "A="], &["HOME=/h", "A="], false),
            (&["HOME=", "A=1"], &["A=1"], true),
            (&["HOME=/h", "HOME="], &[], true),
            (&["HOME=", "HOME=/h"], &["HOME=/h"], false),
            (&["A=1", "AB=2", "A=1=2"], &["AB=2", "A=1=2"], true),
            (&["HOMES=/x", "a=1", "A=1"], &["HOMES=/x", "a=1", "A=1"], true),
        ];
        for (given, expected, needs_home) in table {
            assert_eq!(environment(&list(given)), Environment { list: list(expected), needs_home }, "{given:?}");
        }
        assert_eq!(variable(&list(&["PATHS=/x", "PATH=/a", "PATH=/b=c"]), "PATH"), Some("/b=c"));
        assert_eq!(variable(&list(&["PATH"]), "PATH"), None);
    }

    #[test]
    fn every_capability_has_the_kernels_number() {
        let all: Vec<Capability> =
            serde_json::from_value(serde_json::json!(names(known_mask(40)).collect::<Vec<_>>())).expect("41 names");
        assert_eq!(all.len(), 41);
        for (number, capability) in all.iter().enumerate() {
            assert_eq!(bit(*capability), 1 << number, "{capability}");
        }
        let numbers = [
            (Capability::Chown, 0),
            (Capability::NetRaw, 13),
            (Capability::SysAdmin, 21),
            (Capability::CheckpointRestore, 40),
        ];
        for (capability, number) in numbers {
            assert_eq!(bit(capability), 1 << number, "{capability}");
        }
        assert_eq!(names(1 << 24 | 1).collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_SYS_RESOURCE"]);
        assert_eq!(names(1 << 63).collect::<Vec<_>>(), ["CAP_63"]);
    }

    #[test]
    fn masks_hold_what_the_kernel_can_grant() {
        use Capability::{Bpf, Chown, Fowner, Kill};
        let wanted = LinuxCapabilitiesBuilder::default()
            .bounding([Chown, Kill, Bpf])
            .effective([Kill])
            .inheritable([Chown, Kill])
            .permitted([Kill, Fowner])
            .ambient([Chown, Kill, Fowner, Bpf])
            .build()
            .expect("capabilities");
        let masks = CapabilityMasks {
            bounding: 1 << 39 | 0x21,
            effective: 0x20,
            inheritable: 0x21,
            permitted: 0x28,
            ambient: 0x20,
        };
        assert_eq!(capabilities(&wanted, 40), masks);
        assert_eq!(capabilities(&wanted, 38), CapabilityMasks { bounding: 0x21, ..masks });
        let none = LinuxCapabilitiesBuilder::default().bounding([]).build().expect("capabilities");
        assert_eq!(capabilities(&none, 40).bounding, 0);
        assert_eq!(
            [known_mask(0), known_mask(40), known_mask(63), known_mask(255)],
            [1, (1 << 41) - 1, u64::MAX, u64::MAX]
        );
    }

    #[test]
    fn limits_have_the_kernels_numbers() {
        let names =
            "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME";
        for (number, name) in names.split(' ').enumerate() {
            let kind: PosixRlimitType =
                serde_json::from_value(serde_json::json!(format!("RLIMIT_{name}"))).expect(name);
            assert_eq!(usize::try_from(resource(kind)), Ok(number), "{name}");
        }
        let limit =
            |kind, soft| PosixRlimitBuilder::default().typ(kind).soft(soft).hard(u64::MAX).build().expect("limit");
        assert_eq!(
            rlimits(&[limit(PosixRlimitType::RlimitNofile, 5_u64), limit(PosixRlimitType::RlimitCpu, u64::MAX)]),
            [Rlimit { resource: 7, soft: 5, hard: u64::MAX }, Rlimit { resource: 0, soft: u64::MAX, hard: u64::MAX }]
        );
    }

    #[test]
    fn umask_has_a_default() {
        assert_eq!(umask(&User::default()), 0o022);
        for (given, expected) in [(0_u32, 0), (0o077, 0o077), (0o7777, 0o777)] {
            assert_eq!(umask(&UserBuilder::default().umask(given).build().expect("user")), expected);
        }
    }
}
