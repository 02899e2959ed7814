//! The system calls that are newer than the oldest kernels around, as data: what each is called, since when it is there,
//! and what cannot be had without it.
//!
//! A kernel of the supported age has all of them, but a seccomp filter around the runtime may not let them through, one
//! by one: systemd's `RestrictNamespaces=` takes away clone3(2) alone, a profile that is older than a call the call. What
//! is missing is a fact of [`Host`](crate::Host), asked once; the plan decides what becomes of it. Pure.

use std::fmt;

/// One of those system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is its man page
#[repr(u8)]
pub enum Call {
    PidfdSendSignal,
    OpenTree,
    MoveMount,
    Fsopen,
    Fsconfig,
    Fsmount,
    Clone3,
    PidfdOpen,
    Openat2,
    PidfdGetfd,
    CloseRange,
    MountSetattr,
}

/// Call, name, first kernel, what it does for a container. By age.
const TABLE: [(Call, &str, &str, &str); 12] = [
    (Call::PidfdSendSignal, "pidfd_send_signal", "5.1", "ends a container and never another process with its pid"),
    (Call::OpenTree, "open_tree", "5.2", "copies mounts while nobody can see them"),
    (Call::MoveMount, "move_mount", "5.2", "mounts on what was opened, whatever its path means by then"),
    (Call::Fsopen, "fsopen", "5.2", "makes a procfs that nothing can stand in for"),
    (Call::Fsconfig, "fsconfig", "5.2", "makes a procfs that nothing can stand in for"),
    (Call::Fsmount, "fsmount", "5.2", "makes a procfs that nothing can stand in for"),
    (Call::Clone3, "clone3", "5.3", "makes a container's first process, in its cgroup"),
    (Call::PidfdOpen, "pidfd_open", "5.3", "waits for a container and never for another process with its pid"),
    (Call::Openat2, "openat2", "5.6", "keeps paths inside the rootfs"),
    (Call::PidfdGetfd, "pidfd_getfd", "5.6", "takes the listener of a seccomp profile with SCMP_ACT_NOTIFY"),
    (Call::CloseRange, "close_range", "5.9", "keeps descriptors of the host out of the container"),
    (Call::MountSetattr, "mount_setattr", "5.12", "makes mounts read-only before they are seen"),
];

impl Call {
    /// All of them, by age.
    pub fn all() -> impl Iterator<Item = Call> {
        TABLE.iter().map(|(call, ..)| *call)
    }

    fn row(self) -> (&'static str, &'static str, &'static str) {
        let row = TABLE.iter().find(|(call, ..)| *call == self);
        row.map_or(("", "", ""), |(_, name, since, purpose)| (name, since, purpose))
    }

    /// As its man page is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }
}

/// `openat2(2) (Linux 5.6), which keeps paths inside the rootfs`
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, since, purpose) = self.row();
        write!(f, "{name}(2) (Linux {since}), which {purpose}")
    }
}

/// A set of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls(u16);

impl Calls {
    /// Whether the call is among them.
    #[must_use]
    pub fn has(self, call: Call) -> bool {
        self.0 & 1 << call as u8 != 0
    }

    /// Those that are among them, by age.
    pub fn iter(self) -> impl Iterator<Item = Call> {
        Call::all().filter(move |call| self.has(*call))
    }
}

impl FromIterator<Call> for Calls {
    fn from_iter<I: IntoIterator<Item = Call>>(calls: I) -> Self {
        Calls(calls.into_iter().fold(0, |set, call| set | 1 << call as u8))
    }
}

/// Whether a kernel that calls itself so has all of them: 5.12 has.
#[must_use]
pub fn is_recent(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (5, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_row_and_a_bit_of_its_own() {
        let all: Calls = Call::all().collect();
        assert_eq!(all.iter().count(), TABLE.len());
        assert_eq!(all.0.count_ones() as usize, TABLE.len());
        for call in Call::all() {
            let one = Calls::from_iter([call]);
            assert_eq!(one.iter().collect::<Vec<_>>(), [call]);
            assert!(!call.name().is_empty());
        }
        assert_eq!(Call::Openat2.to_string(), "openat2(2) (Linux 5.6), which keeps paths inside the rootfs");
    }

    #[test]
    fn releases() {
        for (release, recent) in [
            ("5.12.0", true),
            ("5.14.0-427.el9.x86_64", true),
            ("6.1.0-18-amd64", true),
            ("10.0", true),
            ("5.11.22", false),
            ("4.18.0-553.el8_10.x86_64", false),
            ("4.4.0", false), // gVisor
            ("5", false),
            ("", false),
        ] {
            assert_eq!(is_recent(release), recent, "{release}");
        }
    }
}
