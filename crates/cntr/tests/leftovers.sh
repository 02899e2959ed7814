#!/bin/sh
# Prints what tests left on this machine, a line each: cgroups of any hierarchy, processes, mounts, directories. Nothing else
# is a container's; its state is in a directory of the test's.
#
# All of it bears the name of a test, cntr-box-PID-N or cntr-test-PID-N, where PID is the test program. What belongs to
# one that still runs is not left yet: other people may test on this machine.
set -eu

find_all() {
    find /sys/fs/cgroup -type d -name 'cntr-*' 2>/dev/null | sed 's/^/cgroup /' || true
    cut -d ' ' -f 5 /proc/self/mountinfo | sed -n 's/.*cntr-.*/mount &/p'
    find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'cntr-*' | sed 's/^/directory /'
    for proc in /proc/[0-9]*; do
        # Both are gone if the process is, and empty if it waits for its parent alone.
        { tr '\0' ' ' <"$proc/cmdline"; echo; cat "$proc/cgroup"; } 2>/dev/null |
            sed -n "s,.*\(cntr-\(box\|test\)-[0-9]*-[0-9]*\).*,process ${proc#/proc/} of \1,p" | head -n 1
    done
}

find_all | sed -n 's/.*cntr-\(box\|test\)-\([0-9][0-9]*\)-[0-9].*/\2 &/p' | sort -u | while read -r pid what; do
    [ -e "/proc/$pid" ] || printf '%s\n' "$what"
done
