//! What can be made to fail, and what must be said then: one case per step and reason.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{World, set};

pub struct Case {
    /// The step that fails.
    pub step: &'static str,
    /// What makes it fail.
    pub wrong: fn(&World, &mut Value),
    /// The config path in the error.
    pub at: &'static str,
    /// What the message must hold.
    pub says: &'static [&'static str],
}

fn mount(config: &mut Value, destination: &str, fstype: &str, options: &[&str]) {
    set(
        config,
        "/mounts/-",
        json!({ "destination": destination, "type": fstype, "source": fstype, "options": options }),
    );
}

fn bind(config: &mut Value, source: PathBuf, destination: &str, options: &[&str]) {
    set(
        config,
        "/mounts/-",
        json!({ "destination": destination, "type": "bind", "source": source, "options": options }),
    );
}

pub fn hook(config: &mut Value, list: &str, hook: Value) {
    set(config, &format!("/hooks/{list}/-"), hook);
}

pub fn script(text: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", text] })
}

pub const MOUNTS: &[Case] = &[
    Case {
        step: "Filesystem: an option that the file system refuses",
        wrong: |_, c| mount(c, "/mnt", "tmpfs", &["bogusopt=1"]),
        at: "mounts[2]",
        says: &["error mounting \"tmpfs\" to rootfs at \"/mnt\"", "Unknown parameter 'bogusopt'", "invalid argument"],
    },
    Case {
        step: "Filesystem: a value that the file system refuses",
        wrong: |_, c| mount(c, "/mnt", "tmpfs", &["size=much"]),
        at: "mounts[2]",
        says: &["size", "invalid argument"],
    },
    Case {
        step: "Filesystem: a type that the kernel does not have",
        wrong: |_, c| mount(c, "/mnt", "nonesuchfs", &[]),
        at: "mounts[2]",
        says: &["nonesuchfs", "no such device"],
    },
    Case {
        step: "Filesystem: overlay without its lower directory",
        wrong: |_, c| mount(c, "/mnt", "overlay", &["lowerdir=/nonesuch/lower"]),
        at: "mounts[2]",
        says: &["overlay", "no such file or directory"],
    },
    Case {
        step: "Filesystem: below a file",
        wrong: |_, c| mount(c, "/etc/passwd/x", "tmpfs", &[]),
        at: "mounts[2]",
        says: &["/etc/passwd/x", "not a directory"],
    },
    Case {
        step: "Filesystem: on a name that is too long",
        wrong: |_, c| mount(c, &format!("/{}", "x".repeat(256)), "tmpfs", &[]),
        at: "mounts[2]",
        says: &["file name too long"],
    },
    Case {
        step: "Filesystem: on a path that is too long",
        wrong: |_, c| mount(c, &"/x".repeat(2100), "tmpfs", &[]),
        at: "mounts[2]",
        says: &["file name too long"],
    },
    Case {
        step: "Filesystem: on symlinks that go round",
        wrong: |w, c| {
            symlink("two", w.rootfs().join("one")).unwrap();
            symlink("one", w.rootfs().join("two")).unwrap();
            mount(c, "/one", "tmpfs", &[]);
        },
        at: "mounts[2]",
        says: &["too many levels of symbolic links"],
    },
    Case {
        step: "Filesystem: procfs on a symlink",
        wrong: |w, c| {
            symlink("/tmp", w.rootfs().join("link")).unwrap();
            mount(c, "/link", "proc", &[]);
        },
        at: "mounts[2]",
        says: &["must be mounted on ordinary directory"],
    },
    Case {
        step: "Filesystem: over a part of procfs, which planning finds",
        wrong: |_, c| mount(c, "/proc/sys/kernel", "tmpfs", &[]),
        at: "mounts[2].destination",
        says: &["cannot be mounted because it is inside /proc"],
    },
    Case {
        step: "Filesystem: more options than the kernel reads",
        wrong: |_, c| {
            let mut options = vec!["size=1m"; 600];
            options.push("bogusopt=1");
            mount(c, "/mnt", "tmpfs", &options);
        },
        at: "mounts[2]",
        says: &["too long"],
    },
    Case {
        step: "Bind: a directory on a file",
        wrong: |w, c| bind(c, w.path("bundle"), "/etc/passwd", &["bind"]),
        at: "mounts[2]",
        says: &["error mounting", "/etc/passwd", "not a directory"],
    },
    Case {
        step: "Bind: a file on a directory",
        wrong: |w, c| bind(c, w.path("bundle/config.json"), "/etc", &["bind"]),
        at: "mounts[2]",
        says: &["error mounting", "to rootfs at \"/etc\""],
    },
    Case {
        step: "Bind: a source in the rootfs that is not there",
        wrong: |w, c| bind(c, w.rootfs().join("none"), "/mnt", &["bind"]),
        at: "mounts[2]",
        says: &["error mounting", "mounts[2].source: open", "/rootfs/none: no such file or directory"],
    },
    Case {
        step: "AttachRoot: the rootfs is a file",
        wrong: |w, c| {
            fs::write(w.path("bundle/file"), "").unwrap();
            set(c, "/root/path", json!("file"));
        },
        at: "root.path",
        says: &["not a directory"],
    },
    Case {
        step: "Device: something else has the name",
        wrong: |w, c| {
            fs::write(w.rootfs().join("dev/odd"), "").unwrap();
            set(c, "/mounts", json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]));
            set(c, "/linux/devices/-", json!({ "path": "/dev/odd", "type": "c", "major": 1, "minor": 3 }));
        },
        at: "linux.devices[0]",
        says: &["error creating device nodes", "/dev/odd", "another type or number"],
    },
    Case {
        step: "Device: a node with another number",
        wrong: |_, c| {
            set(c, "/linux/devices/-", json!({ "path": "/dev/odd", "type": "c", "major": 1, "minor": 3 }));
            set(c, "/linux/devices/-", json!({ "path": "/dev/./odd", "type": "c", "major": 1, "minor": 5 }));
        },
        at: "linux.devices[1]",
        says: &["error creating device nodes", "another type or number"],
    },
    Case {
        step: "Device: below a file",
        wrong: |_, c| {
            set(c, "/linux/devices/-", json!({ "path": "/etc/passwd/odd", "type": "c", "major": 1, "minor": 3 }))
        },
        at: "linux.devices[0]",
        says: &["error creating device nodes", "not a directory"],
    },
    Case {
        step: "Symlink: below a file",
        wrong: |w, c| {
            fs::create_dir(w.path("dev")).unwrap();
            mount(c, "/dev/pts", "tmpfs", &[]);
            fs::remove_dir(w.rootfs().join("dev")).unwrap();
            fs::write(w.rootfs().join("dev"), "").unwrap();
            set(c, "/mounts", json!([]));
        },
        at: "default devices",
        says: &["error creating device nodes", "not a directory"],
    },
    Case {
        step: "Ptmx: a directory has the name",
        wrong: |_, c| mount(c, "/dev/ptmx", "tmpfs", &[]),
        at: "default devices",
        says: &["error setting up ptmx"],
    },
];

pub const PATHS: &[Case] = &[
    Case {
        step: "MakeCwd: a file",
        wrong: |_, c| set(c, "/process/cwd", json!("/etc/passwd")),
        at: "process.cwd",
        says: &["not a directory"],
    },
    Case {
        step: "MakeCwd: a magic link",
        wrong: |_, c| set(c, "/process/cwd", json!("/proc/self/root/home")),
        at: "process.cwd",
        says: &["/proc/self/root/home", "too many levels of symbolic links"],
    },
    Case {
        step: "Sysctl: a value that the kernel refuses",
        wrong: |_, c| set(c, "/linux/sysctl", json!({ "net.ipv4.ip_forward": "many" })),
        at: "linux.sysctl",
        says: &["ip_forward", "invalid argument"],
    },
    Case {
        step: "Sysctl: one that the kernel does not have",
        wrong: |_, c| set(c, "/linux/sysctl", json!({ "net.ipv4.nonesuch": "1" })),
        at: "linux.sysctl",
        says: &["nonesuch", "no such file or directory"],
    },
    Case {
        step: "Readonly: symlinks that go round",
        wrong: |w, c| {
            symlink("round", w.rootfs().join("round")).unwrap();
            set(c, "/linux/readonlyPaths", json!(["/round"]));
        },
        at: "linux.readonlyPaths[0]",
        says: &["/round", "too many levels of symbolic links"],
    },
    Case {
        step: "Mask: symlinks that go round",
        wrong: |w, c| {
            symlink("round", w.rootfs().join("round")).unwrap();
            set(c, "/linux/maskedPaths", json!(["/nonesuch", "/proc/keys", "/round"]));
        },
        at: "linux.maskedPaths[2]",
        says: &["/round", "too many levels of symbolic links"],
    },
    Case {
        step: "Mask: a /dev/null that is none",
        wrong: |w, c| {
            fs::create_dir(w.path("own-dev")).unwrap();
            fs::write(w.path("own-dev/null"), "").unwrap();
            let dev = w.path("own-dev");
            set(c, "/mounts/1", json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] }));
            set(c, "/linux/maskedPaths", json!(["/etc/passwd"]));
        },
        at: "linux.maskedPaths[0]",
        says: &["container's /dev/null is invalid"],
    },
    Case {
        step: "Domainname: too long, which checking finds",
        wrong: |_, c| set(c, "/domainname", json!("d".repeat(65))),
        at: "domainname",
        says: &["has 65 bytes, the kernel takes at most 64"],
    },
    Case {
        step: "Hostname: too long, which checking finds",
        wrong: |_, c| set(c, "/hostname", json!("h".repeat(65))),
        at: "hostname",
        says: &["has 65 bytes, the kernel takes at most 64"],
    },
];

pub const CREDENTIALS: &[Case] = &[
    Case {
        step: "Rlimit: more descriptors than the machine has",
        wrong: |_, c| set(c, "/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_u64 << 40 }])),
        at: "process.rlimits[0]",
        says: &["operation not permitted"],
    },
    Case {
        step: "OomScore: out of range, which checking finds",
        wrong: |_, c| set(c, "/process/oomScoreAdj", json!(1001)),
        at: "process.oomScoreAdj",
        says: &["1001 is out of range"],
    },
    Case {
        step: "User: an unmapped uid, which checking finds",
        wrong: |w, c| {
            w.give_rootfs_to(100_000);
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
            set(c, "/linux/uidMappings", map.clone());
            set(c, "/linux/gidMappings", map);
            set(c, "/linux/namespaces/-", json!({ "type": "user" }));
            set(c, "/process/user/uid", json!(10));
        },
        at: "process.user.uid",
        says: &["cannot setuid to unmapped uid 10 in user namespace"],
    },
    Case {
        step: "SetNs: our own user namespace",
        wrong: |_, c| set(c, "/linux/namespaces/-", json!({ "type": "user", "path": "/proc/self/ns/user" })),
        at: "linux.namespaces[5]",
        says: &["setns"],
    },
    Case {
        step: "User: setresuid is refused",
        wrong: |_, c| {
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [{ "names": ["setresuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122 }] });
            set(c, "/linux/seccomp", profile);
        },
        at: "process.user",
        says: &["unable to setup user", "setresuid", "quota"],
    },
    Case {
        step: "Capabilities: capset is refused",
        wrong: |_, c| {
            set(
                c,
                "/process/capabilities",
                json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }),
            );
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["capset"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] });
            set(c, "/linux/seccomp", profile);
        },
        at: "process.capabilities",
        says: &["unable to apply caps", "capset", "operation not permitted"],
    },
    Case {
        step: "Bounding: prctl is refused",
        wrong: |_, c| {
            set(c, "/process/capabilities", json!({ "bounding": ["CAP_KILL"], "effective": [], "permitted": [] }));
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] });
            set(c, "/linux/seccomp", profile);
        },
        at: "process.capabilities.bounding",
        says: &["unable to apply caps", "PR_CAPBSET_DROP", "operation not permitted"],
    },
    Case {
        step: "User: setgroups is refused",
        wrong: |_, c| {
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["setgroups"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] });
            set(c, "/linux/seccomp", profile);
            set(c, "/process/user/additionalGids", json!([7]));
        },
        at: "process.user",
        says: &["unable to setup user", "setgroups", "operation not permitted"],
    },
];

pub const PROGRAMS: &[Case] = &[
    Case {
        step: "FindProgram: not in PATH",
        wrong: |_, c| set(c, "/process/args", json!(["nonesuch"])),
        at: "process.args[0]",
        says: &["exec: \"nonesuch\": executable file not found in $PATH"],
    },
    Case {
        step: "FindProgram: no such file",
        wrong: |_, c| set(c, "/process/args", json!(["/bin/nonesuch"])),
        at: "process.args[0]",
        says: &["exec: \"/bin/nonesuch\": stat /bin/nonesuch: no such file or directory"],
    },
    Case {
        step: "FindProgram: not executable",
        wrong: |_, c| set(c, "/process/args", json!(["/etc/passwd"])),
        at: "process.args[0]",
        says: &["exec: \"/etc/passwd\": permission denied"],
    },
    Case {
        step: "FindProgram: a directory",
        wrong: |_, c| set(c, "/process/args", json!(["/etc"])),
        at: "process.args[0]",
        says: &["exec: \"/etc\": is a directory"],
    },
];

pub const HOOKS: &[Case] = &[
    Case {
        step: "Hook: createContainer fails",
        wrong: |_, c| {
            hook(c, "createContainer", json!({ "path": "/bin/true" }));
            hook(c, "createContainer", script("echo out; echo err >&2; exit 3"));
        },
        at: "hooks.createContainer[1]",
        says: &["error running createContainer hook #1: exit status 3", "stdout: out", "stderr: err"],
    },
    Case {
        step: "Hook: createContainer is killed",
        wrong: |_, c| hook(c, "createContainer", script("kill -9 $$")),
        at: "hooks.createContainer[0]",
        says: &["error running createContainer hook #0: signal: killed"],
    },
    Case {
        step: "Hook: createContainer past its time",
        wrong: |_, c| {
            hook(c, "createContainer", json!({ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }))
        },
        at: "hooks.createContainer[0]",
        says: &["error running createContainer hook #0: hook ran past specified timeout of 1.0s"],
    },
    Case {
        step: "Hook: createContainer is missing",
        wrong: |_, c| hook(c, "createContainer", json!({ "path": "/nonesuch/hook" })),
        at: "hooks.createContainer[0]",
        says: &["error running createContainer hook #0", "no such file or directory"],
    },
    Case {
        step: "Hook: the hook cannot be cloned",
        wrong: |_, c| {
            set(c, "/linux/resources/pids/limit", json!(1));
            hook(c, "createContainer", json!({ "path": "/bin/true" }));
        },
        at: "hooks.createContainer[0]",
        says: &["createContainer hook #0"],
    },
    Case {
        step: "Gate: createRuntime fails while the child waits",
        wrong: |_, c| hook(c, "createRuntime", script("exit 4")),
        at: "hooks.createRuntime[0]",
        says: &["error running createRuntime hook #0: exit status 4"],
    },
];

/// Failures whose words are the point.
pub const WORDS: &[Case] = &[
    Case {
        step: "Filesystem: over a part of procfs, through a symlink",
        wrong: |w, c| {
            symlink("/proc/sys/kernel", w.rootfs().join("link")).unwrap();
            mount(c, "/link", "tmpfs", &[]);
        },
        at: "mounts[2]",
        says: &["cannot be mounted because it is inside /proc"],
    },
    Case {
        step: "Bind: over a part of procfs, through a symlink",
        wrong: |w, c| {
            symlink("../proc", w.rootfs().join("opt/link")).unwrap();
            bind(c, w.path("bundle"), "/opt/link/self", &["rbind"]);
        },
        at: "mounts[2]",
        says: &["cannot be mounted because it is inside /proc"],
    },
    Case {
        step: "Bind: the source has a name (contract 1.7: error mounting \"S\" to rootfs at \"D\")",
        wrong: |w, c| bind(c, w.path("bundle"), "/etc/passwd", &["bind"]),
        at: "mounts[2]",
        says: &["error mounting \"/", "/bundle\" to rootfs at \"/etc/passwd\"", "not a directory"],
    },
    Case {
        step: "Bind: a file on a directory",
        wrong: |w, c| bind(c, w.path("bundle/config.json"), "/etc", &["bind"]),
        at: "mounts[2]",
        says: &["not a directory"],
    },
    Case {
        step: "SetNs: the namespace has a path",
        wrong: |_, c| set(c, "/linux/namespaces/-", json!({ "type": "user", "path": "/proc/self/ns/user" })),
        at: "linux.namespaces[5]",
        says: &["setns", "/proc/self/ns/user"],
    },
    Case {
        step: "Hook: why it cannot be cloned",
        wrong: |_, c| {
            set(c, "/linux/resources/pids/limit", json!(1));
            hook(c, "createContainer", json!({ "path": "/bin/true" }));
        },
        at: "hooks.createContainer[0]",
        says: &["createContainer hook #0: clone: resource temporarily unavailable"],
    },
];
