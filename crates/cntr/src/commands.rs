//! The table of commands and flags: parsing, help and the manual page are all read from here.
//!
//! Names and meanings are runc's (contract of the OCI command line); texts are ours. Data only.

use crate::args::{Command, Count, Flag, Takes};
use crate::{create, events, exec, kill, list, ps, run, spec, update, verbs};

const ID: Count = exactly(1);
const MANY: usize = usize::MAX;

const fn exactly(n: usize) -> Count {
    Count { min: n, max: n }
}

const fn flag(long: &'static str, takes: Takes, help: &'static str) -> Flag {
    Flag { long, short: "", takes, help }
}

const fn short(long: &'static str, short: &'static str, takes: Takes, help: &'static str) -> Flag {
    Flag { long, short, takes, help }
}

use Takes::{Bool, Duration, Int, Ints, List, Value};

pub const GLOBAL: &[Flag] = &[
    flag("debug", Bool, "log more; entries then name the place in the source"),
    flag("log", Value, "append log lines to this file instead of standard error"),
    flag("log-format", Value, "form of log lines: text (default) or json"),
    flag("root", Value, "directory of container state (default: /run/runc, or $XDG_RUNTIME_DIR/runc)"),
    flag("criu", Value, ""),
    flag("systemd-cgroup", Bool, "let systemd make the cgroups; cgroupsPath is then slice:prefix:name"),
    flag("rootless", Value, "tolerate missing permission on cgroups: true, false or auto (default)"),
    short("version", "v", Bool, "print the version"),
];

const BUNDLE: Flag = short("bundle", "b", Value, "bundle directory (default: the current one)");
const CONSOLE: Flag = flag("console-socket", Value, "AF_UNIX socket that is sent the terminal's master end");
const PIDFD: Flag = flag("pidfd-socket", Value, "AF_UNIX socket that is sent a pidfd of the process");
const PID_FILE: Flag = flag("pid-file", Value, "file to write the pid to");
const NO_PIVOT: Flag =
    flag("no-pivot", Bool, "use MS_MOVE and chroot(2) instead of pivot_root(2), for a rootfs on a ramdisk");
const NO_KEYRING: Flag = flag("no-new-keyring", Bool, "keep the caller's session keyring");
const PRESERVE: Flag = flag("preserve-fds", Int, "pass this many file descriptors, from 3 on");
const DETACH: Flag = short("detach", "d", Bool, "return when the process runs");
const NO_SUBREAPER: Flag = flag("no-subreaper", Bool, "do not become the reaper of orphaned descendants");
const FORMAT: Flag = short("format", "f", Value, "table (default) or json");

const CREATE_FLAGS: &[Flag] = &[BUNDLE, CONSOLE, PIDFD, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE];

const RUN_FLAGS: &[Flag] = &[
    BUNDLE,
    CONSOLE,
    PIDFD,
    DETACH,
    flag("keep", Bool, "leave the container's state when it has ended"),
    PID_FILE,
    NO_SUBREAPER,
    NO_PIVOT,
    NO_KEYRING,
    PRESERVE,
];

const EXEC_FLAGS: &[Flag] = &[
    CONSOLE,
    PIDFD,
    flag("cwd", Value, "working directory in the container"),
    short("env", "e", List, "NAME=VALUE to add to the environment"),
    short("tty", "t", Bool, "give the process a terminal"),
    short("user", "u", Value, "UID[:GID], as numbers"),
    short("additional-gids", "g", Ints, "additional group, as number"),
    short(
        "process",
        "p",
        Value,
        "file with a process object, in place of COMMAND and of the flags that change the process",
    ),
    DETACH,
    PID_FILE,
    flag("process-label", Value, "SELinux label"),
    flag("apparmor", Value, "AppArmor profile"),
    flag("no-new-privs", Bool, "set no_new_privs"),
    short("cap", "c", List, "capability to add"),
    PRESERVE,
    flag("cgroup", List, "[CONTROLLER[,...]:]PATH of an existing cgroup below the container's"),
    flag("ignore-paused", Bool, "go ahead in a paused container"),
];

const UPDATE_FLAGS: &[Flag] = &[
    short(
        "resources",
        "r",
        Value,
        "file with a linux.resources object, - for standard input; other flags are then ignored, but for the two schemas",
    ),
    flag("blkio-weight", Int, "block I/O weight, 10 to 1000"),
    flag("cpu-period", Value, "CFS period in microseconds"),
    flag("cpu-quota", Value, "CFS quota in microseconds per period"),
    flag("cpu-burst", Value, "CFS burst in microseconds"),
    flag("cpu-share", Value, "CPU shares"),
    flag("cpu-rt-period", Value, "real-time period in microseconds"),
    flag("cpu-rt-runtime", Value, "real-time runtime in microseconds per period"),
    flag("cpu-idle", Value, "1 for SCHED_IDLE, 0 for the default"),
    flag("cpuset-cpus", Value, "CPUs"),
    flag("cpuset-mems", Value, "memory nodes"),
    flag("kernel-memory", Value, ""),
    flag("kernel-memory-tcp", Value, ""),
    flag("memory", Value, "memory limit, such as 64m; -1 for none"),
    flag("memory-reservation", Value, "memory soft limit"),
    flag("memory-swap", Value, "limit of memory and swap together; -1 for none"),
    flag("pids-limit", Int, "number of tasks; -1 for no limit"),
    flag("l3-cache-schema", Value, "Intel RDT L3 cache schema"),
    flag("mem-bw-schema", Value, "Intel RDT memory bandwidth schema"),
];

const EVENTS_FLAGS: &[Flag] = &[
    flag("interval", Duration, "time between two records, such as 500ms or 1m30s (default: 5s)"),
    flag("stats", Bool, "print one record and end"),
];

const PLAN_FLAGS: &[Flag] =
    &[BUNDLE, flag("id", Value, "container id to plan for (default: plan)"), NO_PIVOT, NO_KEYRING, PRESERVE];

const WHICH: &str = "CONTAINER-ID";

/// All commands, in the order of `help`.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "checkpoint",
        about: "save a running container's processes (not implemented yet)",
        operands: WHICH,
        text: "",
        // Nothing is accepted, not even --help: podman takes a working `checkpoint --help` for support.
        flags: &[],
        count: ID,
        interleaved: true,
        run: verbs::not_yet,
    },
    Command {
        name: "create",
        about: "create a container",
        operands: WHICH,
        text: "Makes the container that the bundle's config.json describes. Its process waits until `start`.",
        flags: CREATE_FLAGS,
        count: ID,
        interleaved: true,
        run: create::create,
    },
    Command {
        name: "delete",
        about: "delete a container and all that was made for it",
        operands: WHICH,
        text: "The container has to be stopped or not started yet, unless --force is given.",
        flags: &[short("force", "f", Bool, "kill a running container first; a missing one is no error")],
        count: ID,
        interleaved: true,
        run: verbs::delete,
    },
    Command {
        name: "events",
        about: "print resource usage and out-of-memory events as JSON lines",
        operands: WHICH,
        text: "Ends when the container has ended, or when nobody reads its output.",
        flags: EVENTS_FLAGS,
        count: ID,
        interleaved: true,
        run: events::events,
    },
    Command {
        name: "exec",
        about: "run another process in a container",
        operands: "CONTAINER-ID COMMAND [ARGUMENT...] | -p PROCESS.JSON CONTAINER-ID",
        text: "The process is as the config's, as it was when the container was made, but for COMMAND and the flags. Without\n\
               --tty it has no terminal. The command ends with the status of the process, or 128 and the number of the signal\n\
               that killed it; with --detach it ends with 0 when the process runs. It ends with 255 if there is none.",
        flags: EXEC_FLAGS,
        count: Count { min: 1, max: MANY },
        interleaved: false,
        run: exec::exec,
    },
    Command {
        name: "features",
        about: "print what this runtime can do, as JSON",
        operands: "",
        text: "The document is that of features.md in the OCI runtime-spec.",
        flags: &[],
        count: exactly(0),
        interleaved: true,
        run: verbs::features,
    },
    Command {
        name: "kill",
        about: "send a signal to a container's init process",
        operands: "CONTAINER-ID [SIGNAL]",
        text: "SIGNAL is a number or a name, with or without SIG, in any case; TERM by default.",
        flags: &[short("all", "a", Bool, "")],
        count: Count { min: 1, max: 2 },
        interleaved: false,
        run: kill::kill,
    },
    Command {
        name: "list",
        about: "list the containers of a root",
        operands: "",
        text: "",
        flags: &[FORMAT, short("quiet", "q", Bool, "print ids only")],
        count: exactly(0),
        interleaved: true,
        run: list::list,
    },
    Command {
        name: "pause",
        about: "freeze all processes of a container",
        operands: WHICH,
        text: "",
        flags: &[],
        count: ID,
        interleaved: true,
        run: verbs::pause,
    },
    Command {
        name: "plan",
        about: "print what create would do, step by step, and do nothing",
        operands: "[BUNDLE]",
        text: "Needs no privilege. Every problem of the config is reported.",
        flags: PLAN_FLAGS,
        count: Count { min: 0, max: 1 },
        interleaved: true,
        run: create::plan,
    },
    Command {
        name: "ps",
        about: "list the processes of a container",
        operands: "CONTAINER-ID [PS-OPTION...]",
        text: "The table is that of the host's ps(1), called with the options given (default: -ef).",
        flags: &[FORMAT],
        count: Count { min: 1, max: MANY },
        interleaved: false,
        run: ps::ps,
    },
    Command {
        name: "restore",
        about: "restore a container from a checkpoint (not implemented yet)",
        operands: WHICH,
        text: "",
        // As for checkpoint: podman probes for flags here, too.
        flags: &[],
        count: ID,
        interleaved: true,
        run: verbs::not_yet,
    },
    Command {
        name: "resume",
        about: "thaw a paused container",
        operands: WHICH,
        text: "",
        flags: &[],
        count: ID,
        interleaved: true,
        run: verbs::resume,
    },
    Command {
        name: "run",
        about: "create and start a container",
        operands: WHICH,
        text: "In the foreground (without --detach) the command forwards signals, ends with the status of the\n\
               container's process and then deletes the container.",
        flags: RUN_FLAGS,
        count: ID,
        interleaved: true,
        run: run::run,
    },
    Command {
        name: "spec",
        about: "write a config.json to start from",
        operands: "",
        text: "The file runs `sh` in a terminal over the directory rootfs.",
        flags: &[BUNDLE, flag("rootless", Bool, "make it work for an ordinary user")],
        count: exactly(0),
        interleaved: true,
        run: spec::spec,
    },
    Command {
        name: "start",
        about: "start the process of a created container",
        operands: WHICH,
        text: "",
        flags: &[],
        count: ID,
        interleaved: true,
        run: verbs::start,
    },
    Command {
        name: "state",
        about: "print a container's state as JSON",
        operands: WHICH,
        text: "",
        flags: &[],
        count: ID,
        interleaved: true,
        run: verbs::state,
    },
    Command {
        name: "update",
        about: "change a container's resource limits",
        operands: WHICH,
        text: "The container is created, running or paused. What is not given stays as it is; 0 is as not given for limits of\n\
               memory, shares, quota, period and weight. All of the change is made, or none of it. A file may also hold\n\
               devices, in place of all rules of the config, and every other member of linux.resources.\n\
               Sizes have a unit: b, k, m, g, t or p, each 1024 times the one before.",
        flags: UPDATE_FLAGS,
        count: ID,
        interleaved: true,
        run: update::update,
    },
];

/// The row of a command name.
pub fn find(name: &std::ffi::OsStr) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| name == c.name)
}

/// Commands that must not even answer `--help`.
pub fn is_absent(command: &Command) -> bool {
    matches!(command.name, "checkpoint" | "restore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for command in COMMANDS {
            let mut names: Vec<&str> =
                command.flags.iter().flat_map(|f| [f.long, f.short]).filter(|n| !n.is_empty()).collect();
            let given = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), given, "{}", command.name);
            assert!(!names.contains(&"help") && !names.contains(&"h"), "{}", command.name);
        }
    }

    #[test]
    fn data_behind_the_id_is_left_alone_where_it_is_data() {
        let stopping: Vec<&str> = COMMANDS.iter().filter(|c| !c.interleaved).map(|c| c.name).collect();
        assert_eq!(stopping, ["exec", "kill", "ps"]);
    }
}
