//! The architectures a filter can speak of, and the one place that knows what distinguishes them.
//!
//! Owns [`Arch`]: its SCMP name, the AUDIT_ARCH value that the kernel reports, its column in the table of
//! numbers, its word size and its byte order. x32 is no architecture of its own for the kernel: it is x86_64
//! with bit 30 set in the number.

use super::syscalls;
use crate::spec;
use std::cmp::Ordering;

/// Set in the number of every x32 call.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// The bit of an AUDIT_ARCH value that says little endian (linux/audit.h).
pub(super) const AUDIT_LITTLE_ENDIAN: u32 = 0x4000_0000;

/// An architecture whose calls a filter can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Mips,
    Mips64,
    Mips64n32,
    Mipsel,
    Mipsel64,
    Mipsel64n32,
    Ppc,
    Ppc64,
    Ppc64le,
    Riscv64,
    Loongarch64,
    S390,
    S390x,
}

/// What one architecture is like.
struct Traits {
    name: &'static str,
    audit: u32,
    column: usize,
    /// Arguments are compared as 64 bits; otherwise only the low half counts, as the kernel's compat entry
    /// (and libseccomp) sees it.
    wide: bool,
}

/// The column of [`syscalls::NUMBERS`] behind the architectures.
const MULTIPLEXED: usize = 14;

const fn traits(name: &'static str, audit: u32, column: usize, wide: bool) -> Traits {
    Traits { name, audit, column, wide }
}

impl Arch {
    /// Every architecture, sorted by SCMP name: what `features` prints.
    pub const ALL: [Arch; 18] = [
        Arch::Aarch64,
        Arch::Arm,
        Arch::Loongarch64,
        Arch::Mips,
        Arch::Mips64,
        Arch::Mips64n32,
        Arch::Mipsel,
        Arch::Mipsel64,
        Arch::Mipsel64n32,
        Arch::Ppc,
        Arch::Ppc64,
        Arch::Ppc64le,
        Arch::Riscv64,
        Arch::S390,
        Arch::S390x,
        Arch::X32,
        Arch::X86,
        Arch::X86_64,
    ];

    /// The architecture this library was built for; `None` where no table exists for it.
    #[must_use]
    pub const fn native() -> Option<Arch> {
        let little = cfg!(target_endian = "little");
        let narrow = cfg!(target_pointer_width = "32");
        Some(if cfg!(target_arch = "x86_64") {
            if narrow { Arch::X32 } else { Arch::X86_64 }
        } else if cfg!(target_arch = "x86") {
            Arch::X86
        } else if cfg!(target_arch = "aarch64") {
            Arch::Aarch64
        } else if cfg!(target_arch = "arm") && little {
            Arch::Arm
        } else if cfg!(target_arch = "mips") {
            if little { Arch::Mipsel } else { Arch::Mips }
        } else if cfg!(target_arch = "mips64") {
            if little { Arch::Mipsel64 } else { Arch::Mips64 }
        } else if cfg!(target_arch = "powerpc") {
            Arch::Ppc
        } else if cfg!(target_arch = "powerpc64") {
            if little { Arch::Ppc64le } else { Arch::Ppc64 }
        } else if cfg!(target_arch = "riscv64") {
            Arch::Riscv64
        } else if cfg!(target_arch = "loongarch64") {
            Arch::Loongarch64
        } else if cfg!(target_arch = "s390x") {
            Arch::S390x
        } else {
            return None;
        })
    }

    const fn traits(self) -> Traits {
        match self {
            Arch::X86_64 => traits("SCMP_ARCH_X86_64", 0xc000_003e, 0, true),
            Arch::X86 => traits("SCMP_ARCH_X86", 0x4000_0003, 1, false),
            Arch::X32 => traits("SCMP_ARCH_X32", 0xc000_003e, 2, false),
            Arch::Aarch64 => traits("SCMP_ARCH_AARCH64", 0xc000_00b7, 3, true),
            Arch::Arm => traits("SCMP_ARCH_ARM", 0x4000_0028, 4, false),
            Arch::Mips => traits("SCMP_ARCH_MIPS", 0x0000_0008, 5, false),
            Arch::Mipsel => traits("SCMP_ARCH_MIPSEL", 0x4000_0008, 5, false),
            Arch::Mips64 => traits("SCMP_ARCH_MIPS64", 0x8000_0008, 6, true),
            Arch::Mipsel64 => traits("SCMP_ARCH_MIPSEL64", 0xc000_0008, 6, true),
            Arch::Mips64n32 => traits("SCMP_ARCH_MIPS64N32", 0xa000_0008, 7, false),
            Arch::Mipsel64n32 => traits("SCMP_ARCH_MIPSEL64N32", 0xe000_0008, 7, false),
            Arch::Ppc => traits("SCMP_ARCH_PPC", 0x0000_0014, 8, false),
            Arch::Ppc64 => traits("SCMP_ARCH_PPC64", 0x8000_0015, 9, true),
            Arch::Ppc64le => traits("SCMP_ARCH_PPC64LE", 0xc000_0015, 9, true),
            Arch::Riscv64 => traits("SCMP_ARCH_RISCV64", 0xc000_00f3, 10, true),
            Arch::Loongarch64 => traits("SCMP_ARCH_LOONGARCH64", 0xc000_0102, 11, true),
            Arch::S390 => traits("SCMP_ARCH_S390", 0x0000_0016, 12, false),
            Arch::S390x => traits("SCMP_ARCH_S390X", 0x8000_0016, 13, true),
        }
    }

    /// The architecture a profile names; `None` for those that runc does not know either.
    pub(super) fn from_spec(arch: spec::Arch) -> Option<Arch> {
        Some(match arch {
            spec::Arch::ScmpArchX86 => Arch::X86,
            spec::Arch::ScmpArchX86_64 => Arch::X86_64,
            spec::Arch::ScmpArchX32 => Arch::X32,
            spec::Arch::ScmpArchArm => Arch::Arm,
            spec::Arch::ScmpArchAarch64 => Arch::Aarch64,
            spec::Arch::ScmpArchMips => Arch::Mips,
            spec::Arch::ScmpArchMips64 => Arch::Mips64,
            spec::Arch::ScmpArchMips64n32 => Arch::Mips64n32,
            spec::Arch::ScmpArchMipsel => Arch::Mipsel,
            spec::Arch::ScmpArchMipsel64 => Arch::Mipsel64,
            spec::Arch::ScmpArchMipsel64n32 => Arch::Mipsel64n32,
            spec::Arch::ScmpArchPpc => Arch::Ppc,
            spec::Arch::ScmpArchPpc64 => Arch::Ppc64,
            spec::Arch::ScmpArchPpc64le => Arch::Ppc64le,
            spec::Arch::ScmpArchS390 => Arch::S390,
            spec::Arch::ScmpArchS390x => Arch::S390x,
            spec::Arch::ScmpArchRiscv64 => Arch::Riscv64,
            spec::Arch::ScmpArchLoongarch64 => Arch::Loongarch64,
            _ => return None,
        })
    }

    /// The name that profiles use, such as `SCMP_ARCH_X86_64`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.traits().name
    }

    /// The AUDIT_ARCH value in `seccomp_data.arch`; x32 shares x86_64's.
    #[must_use]
    pub const fn audit(self) -> u32 {
        self.traits().audit
    }

    /// Whether a compare looks at all 64 bits of an argument.
    pub(super) const fn wide(self) -> bool {
        self.traits().wide
    }

    /// Whether the high half of an argument comes first in memory.
    pub(super) const fn big_endian(self) -> bool {
        self.audit() & AUDIT_LITTLE_ENDIAN == 0
    }

    /// Whether socket and System V IPC calls are also reached through `socketcall` and `ipc`.
    pub(super) const fn multiplexes(self) -> bool {
        matches!(
            self,
            Arch::X86 | Arch::Mips | Arch::Mipsel | Arch::Ppc | Arch::Ppc64 | Arch::Ppc64le | Arch::S390 | Arch::S390x
        )
    }

    /// The number of a call: `None` where this architecture lacks it.
    #[must_use]
    pub fn number(self, call: Call) -> Option<u32> {
        let raw = *syscalls::NUMBERS.get(call.0)?.get(self.traits().column)?;
        match (self, raw) {
            (_, syscalls::ABSENT) => None,
            (Arch::Arm, 0xf000..) => Some(ARM_PRIVATE + u32::from(raw & 0xfff)),
            (Arch::X32, _) => Some(X32_BIT | u32::from(raw)),
            _ => Some(u32::from(raw)),
        }
    }
}

/// Arm's private calls (`set_tls`, `cacheflush`, …) live above every other number.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

/// A system call that some architecture knows: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call(usize);

impl Call {
    /// Finds a call by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Call> {
        Self::between(name, 0, syscalls::COUNT)
    }

    /// The same, looking first right behind the call found before: profiles list names in order, and with most
    /// calls named the next one is a few rows away.
    pub(super) fn named_after(name: &str, before: Option<Call>) -> Option<Call> {
        let Some(Call(before)) = before else { return Self::named(name) };
        let (mut low, mut step) = (before, 1);
        if Call(low).name()? >= name {
            return Self::between(name, 0, low + 1);
        }
        while let Some(probed) = Call(low + step).name() {
            match probed.cmp(name) {
                Ordering::Less => (low, step) = (low + step, step * 2),
                Ordering::Equal => return Some(Call(low + step)),
                Ordering::Greater => return Self::between(name, low + 1, low + step),
            }
        }
        Self::between(name, low + 1, syscalls::COUNT)
    }

    fn between(name: &str, mut low: usize, mut high: usize) -> Option<Call> {
        while low < high {
            let middle = low.midpoint(high);
            match Call(middle).name()?.cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(Call(middle)),
            }
        }
        None
    }

    /// Every call there is.
    pub fn all() -> impl Iterator<Item = Call> {
        (0..syscalls::COUNT).map(Call)
    }

    /// The call's name.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let start = usize::from(*syscalls::OFFSETS.get(self.0)?);
        let end = usize::from(*syscalls::OFFSETS.get(self.0 + 1)?);
        syscalls::NAMES.get(start..end)
    }

    /// The multiplexer that also reaches this call and the first argument that selects it.
    pub(super) fn multiplexed(self) -> Option<(&'static str, u64)> {
        match *syscalls::NUMBERS.get(self.0)?.get(MULTIPLEXED)? {
            0 => None,
            n @ 1..200 => Some(("socketcall", u64::from(n - 100))),
            n => Some(("ipc", u64::from(n - 200))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        let names: Vec<_> = Call::all().map(|c| c.name().unwrap()).collect();
        assert!(names.windows(2).all(|w| w[0] < w[1]));
        for (i, name) in names.iter().enumerate() {
            assert_eq!(Call::named(name), Some(Call(i)), "{name}");
        }
        for unknown in ["", "a", "zzz", "rea", "readd"] {
            assert_eq!(Call::named(unknown), None, "{unknown}");
        }
        for before in [0, 1, 200, names.len() - 1].map(Call) {
            for name in names.iter().chain(&["", "a", "zzz", "rea", "readd"]) {
                assert_eq!(Call::named_after(name, Some(before)), Call::named(name), "{name} after {before:?}");
            }
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        let table = [
            ("read", [Some(0), Some(3), Some(0x4000_0000), Some(63), Some(3), Some(3)]),
            ("execve", [Some(59), Some(11), Some(0x4000_0208), Some(221), Some(11), Some(11)]),
            ("clone3", [Some(435), Some(435), Some(0x4000_01b3), Some(435), Some(435), Some(435)]),
            ("socketcall", [None, Some(102), None, None, None, Some(102)]),
            ("accept", [Some(43), None, Some(0x4000_002b), Some(202), Some(285), None]),
            ("set_tls", [None, None, None, None, Some(0x000f_0005), None]),
        ];
        let archs = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::S390x];
        for (name, expected) in table {
            assert_eq!(archs.map(|a| a.number(Call::named(name).unwrap())), expected, "{name}");
        }
        assert_eq!(Arch::Mipsel64.number(Call::named("read").unwrap()), Some(5000));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(i64::from(Arch::X86_64.number(Call::named("openat2").unwrap()).unwrap()), libc::SYS_openat2);
    }

    #[test]
    fn architectures_are_sorted_by_name_and_known_to_the_spec() {
        assert!(Arch::ALL.windows(2).all(|w| w[0].name() < w[1].name()));
        for arch in Arch::ALL {
            let parsed: spec::Arch = serde_json::from_value(arch.name().into()).unwrap();
            assert_eq!(Arch::from_spec(parsed), Some(arch));
            if arch != Arch::X32 {
                assert_eq!(parsed as u32, arch.audit());
            }
        }
    }

    #[test]
    fn multiplexed_calls_know_their_selector() {
        let select = |name| Call::named(name).and_then(Call::multiplexed);
        assert_eq!(select("socket"), Some(("socketcall", 1)));
        assert_eq!(select("sendmmsg"), Some(("socketcall", 20)));
        assert_eq!(select("shmctl"), Some(("ipc", 24)));
        assert_eq!(select("read"), None);
    }
}
