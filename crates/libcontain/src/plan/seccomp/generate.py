#!/usr/bin/env python3
"""Writes syscalls.rs (standard output) from the kernel's own uapi headers.

How to rerun for a newer kernel (any Debian, nothing gets installed):
    apt-get download linux-libc-dev               # from sid: one package holds every architecture since 6.11
    apt-get download linux-libc-dev-s390x-cross   # from bookworm: the last one with the 31-bit s390 table
    dpkg-deb -x linux-libc-dev_*.deb uapi && dpkg-deb -x linux-libc-dev-s390x-cross_*.deb s390
    ./generate.py uapi/usr/lib/linux/uapi s390/usr/s390x-linux-gnu/include > syscalls.rs && rustfmt syscalls.rs
"""
import re
import sys
from pathlib import Path

# Column -> header below the first directory, what the header's base macro stands for, macro prefix.
COLUMNS = [
    ("x86_64", "x86/asm/unistd_64.h", 0),
    ("x86", "x86/asm/unistd_32.h", 0),
    ("x32", "x86/asm/unistd_x32.h", 0),  # without the x32 bit: the compiler adds it
    ("aarch64", "arm64/asm/unistd_64.h", 0),
    ("arm", "arm/asm/unistd-eabi.h", 0),
    ("mips", "mips/asm/unistd_o32.h", 4000),
    ("mips64", "mips/asm/unistd_n64.h", 5000),
    ("mips64n32", "mips/asm/unistd_n32.h", 6000),
    ("ppc", "powerpc/asm/unistd_32.h", 0),
    ("ppc64", "powerpc/asm/unistd_64.h", 0),
    ("riscv64", "riscv/asm/unistd_64.h", 0),
    ("loongarch64", "loongarch/asm/unistd_64.h", 0),
    ("s390", None, 0),
    ("s390x", "s390/asm/unistd_64.h", 0),
]
ABSENT = 0xFFFF
# Arm's private calls start at 0x0f0000, which no u16 holds: kept as 0xf000 + n, widened by the reader.
ARM_PRIVATE = {"breakpoint": 1, "cacheflush": 2, "usr26": 3, "usr32": 4, "set_tls": 5, "get_tls": 6}
# The same number under the name that Linux gives it elsewhere.
ALIASES = {
    "arm": [("sync_file_range2", "arm_sync_file_range"), ("arm_sync_file_range", "sync_file_range2")],
}
DEFINE = re.compile(r"#define\s+__NR_(\w+)\s+(?:\(\s*\w+\s*\+\s*(\d+)\s*\)|(\d+))\s*$")
NOT_CALLS = re.compile(r"(Linux|syscalls|Linux_syscalls|SYSCALL_BASE|(unused|reserved)\d+)$")
# What socketcall(2) and ipc(2) call by their first argument, on the architectures that have them.
SOCKETCALL = (
    "- socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown "
    "setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
).split()
IPC = {
    "semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14,
    "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
}


def table(path: Path, base: int) -> dict[str, int]:
    found = {}
    for line in path.read_text().splitlines():
        match = DEFINE.match(line)
        if match and not NOT_CALLS.match(match[1]):
            found[match[1]] = base + int(match[2] or match[3])
    return found


def multiplexed(name: str) -> int:
    if name in SOCKETCALL:
        return 100 + SOCKETCALL.index(name)
    return 200 + IPC[name] if name in IPC else 0


def main() -> None:
    uapi, s390 = Path(sys.argv[1]), Path(sys.argv[2])
    columns = {}
    for name, header, base in COLUMNS:
        path = uapi / header if header else s390 / "asm/unistd_32.h"
        columns[name] = table(path, base)
        for alias, target in ALIASES.get(name, []):
            if target in columns[name]:
                columns[name].setdefault(alias, columns[name][target])
    # s390 has left the kernel; what is newer carries one number on every architecture.
    for call, number in columns["s390x"].items():
        if number > max(columns["s390"].values()):
            columns["s390"][call] = number
    columns["arm"].update({call: 0xF000 + n for call, n in ARM_PRIVATE.items()})
    names = sorted(set().union(*columns.values()), key=str.encode)

    offsets = [0]
    for name in names:
        offsets.append(offsets[-1] + len(name))
    print("//! Name to number of every system call of every architecture. Written by generate.py from Linux's uapi")
    print("//! headers: do not edit. Names are sorted and joined in one string, so that the table needs no pointers")
    print("//! (in a static-pie binary each would be a relocation at start-up).")
    print()
    print(f"/// How many names there are.\npub(super) const COUNT: usize = {len(names)};\n")
    print(f"/// Stands for: this architecture has no such call.\npub(super) const ABSENT: u16 = 0x{ABSENT:04x};\n")
    print("/// All names, sorted, without separators.\n#[rustfmt::skip]")
    print('pub(super) static NAMES: &str = "\\')
    line = ""
    for name in names:
        if len(line) + len(name) > 116:
            print(f"{line}\\")
            line = ""
        line += name
    print(f'{line}";\n')
    print("/// Where each name starts in [`NAMES`], and the end.\n#[rustfmt::skip]")
    print(f"pub(super) static OFFSETS: [u16; COUNT + 1] = [")
    for i in range(0, len(offsets), 20):
        print("    " + ", ".join(map(str, offsets[i:i + 20])) + ",")
    print("];\n")
    print("/// The number of each name: one column per architecture, in the order " + " ".join(columns) + ";")
    print("/// the last column is 100 + n for call n of socketcall(2), 200 + n for call n of ipc(2), else 0.")
    print("#[rustfmt::skip]")
    print(f"pub(super) static NUMBERS: [[u16; {len(columns) + 1}]; COUNT] = [")
    for name in names:
        row = [columns[c].get(name, ABSENT) for c in columns] + [multiplexed(name)]
        print("    [" + ", ".join("!0" if n == ABSENT else str(n) for n in row) + f"], // {name}")
    print("];")


main()
