//! Fields of `process` and `linux` that no engine's default config shows, and the seccomp profiles syscall by
//! syscall.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::namespaces::in_user_namespace;
use crate::support::probe::{self, Probe};
use crate::support::seccomp::{Verdict, verdict};
use crate::support::verify::{Findings, verify};
use crate::support::verify_fs::Mount;
use crate::support::{Sandbox, bundle, host, root, skip, verify_cgroup, words};

#[track_caller]
fn runs_as_asked(edit: impl Fn(&mut Value)) {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
    edit(&mut config);
    config["process"]["args"][2] = probe::script(&config).into();
    sandbox.write(&config);
    let probe = Probe::parse(&sandbox.run_ok().stdout);
    let mut findings = Findings::default();
    verify(&config, &probe, &mut findings);
    findings.done("run");
    sandbox.assert_clean();
}

/// Of A given three times the last one stays, at its own place (runc 1.1.5: at the first one's).
#[test]
fn user_groups_umask_env_cwd() {
    runs_as_asked(|c| {
        c["process"]["user"] =
            json!({ "uid": 1000, "gid": 7, "umask": 0o077, "additionalGids": [20, 1000, 4_000_000] });
        c["process"]["cwd"] = json!("/made/by/the/runtime");
        c["process"]["env"] = json!(["A=1", "PATH=/usr/bin:/bin", "A=2", "EMPTY=", "A=3", "HOME=/elsewhere"]);
    });
}

#[test]
fn home_comes_from_passwd() {
    runs_as_asked(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    runs_as_asked(|c| c["process"]["user"] = json!({ "uid": 4242, "gid": 0 }));
}

#[test]
fn five_capability_sets() {
    runs_as_asked(|c| {
        c["process"]["user"]["uid"] = json!(1000);
        let some = json!(["CAP_NET_BIND_SERVICE", "CAP_KILL"]);
        let more = json!(["CAP_NET_BIND_SERVICE", "CAP_KILL", "CAP_CHOWN", "CAP_SYS_PTRACE"]);
        c["process"]["capabilities"] = json!({ "bounding": more, "permitted": some, "effective": some, "inheritable": some, "ambient": ["CAP_NET_BIND_SERVICE"] });
    });
    runs_as_asked(|c| c["process"]["capabilities"] = json!({}));
    runs_as_asked(|c| {
        c["process"]["capabilities"] =
            json!({ "bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "permitted": ["CAP_KILL"] })
    });
}

#[test]
fn limits_and_privileges() {
    runs_as_asked(|c| {
        let limit =
            |name: &str, soft: u64, hard: u64| json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard });
        c["process"]["rlimits"] = json!([
            limit("NOFILE", 77, 99),
            limit("CORE", 0, 4096),
            limit("CPU", 100, 200),
            limit("STACK", 1 << 20, 2 << 20),
            limit("FSIZE", 1 << 30, 1 << 31),
            limit("NPROC", 500, 600),
            limit("SIGPENDING", 50, 60),
            limit("MSGQUEUE", 1000, 2000),
            limit("MEMLOCK", 4096, 8192),
        ]);
        c["process"]["noNewPrivileges"] = json!(true);
        c["process"]["oomScoreAdj"] = json!(321);
    });
}

/// runc 1.1.5 takes the default rule for /dev/null away when the config has a device of that path, and fails.
#[test]
fn devices_sysctls_paths() {
    runs_as_asked(|c| {
        c["linux"]["devices"] = json!([
            { "path": "/dev/full2", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 5, "gid": 6 },
            { "path": "/dev/block", "type": "b", "major": 7, "minor": 200 },
            { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o622, "uid": 0, "gid": 9 },
        ]);
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4096", "net.ipv4.ip_local_port_range": "2000 3000",
            "kernel.shm_rmid_forced": "1" });
        c["linux"]["maskedPaths"] = json!(["/proc/timer_list", "/etc/passwd", "/home", "/not/there"]);
        c["linux"]["readonlyPaths"] = json!(["/proc/sys", "/usr", "/etc/group", "/not/there"]);
        c["process"]["env"] = json!(["PATH=/usr/bin:/bin", "HOME=/x"]);
        c["root"]["readonly"] = json!(true);
    });
}

/// Sysctls need a procfs, and inside a user namespace one can be had only while the runtime's is in sight.
#[test]
fn sysctls_without_a_proc() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/sys/net/ipv4/ip_forward || echo none");
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    config["mounts"].as_array_mut().unwrap().remove(0);
    in_user_namespace(&sandbox, &mut config);
    sandbox.write(&config);
    assert_eq!(sandbox.run_ok().stdout, "none\n");
    sandbox.verb(&["create"]).ok();
    let pid = sandbox.pid().to_string();
    let seen = host("nsenter", &["--net", "--target", &pid, "cat", "/proc/sys/net/ipv4/ip_forward"]);
    assert_eq!(seen, "1\n");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// A mode in the options wins over that of the mountpoint (runc 1.1.5: the other way round).
#[test]
fn mounts_and_their_options() {
    runs_as_asked(|c| {
        let mut mount = |destination: &str, fstype: &str, source: &str, options: Value| {
            let mount = json!({ "destination": destination, "type": fstype, "source": source, "options": options });
            bundle::set(c, "/mounts/-", Some(mount));
        };
        mount("/mnt/made/dir", "tmpfs", "tmpfs", json!(["ro", "nosuid", "noexec", "size=2m", "mode=700"]));
        mount("/run", "tmpfs", "run", json!(["nodev", "noatime", "size=4096k", "mode=750"]));
        mount("/etc/made", "bind", "/etc/hostname", json!(["bind", "ro", "nosuid"]));
        mount("/usr", "none", "/usr", json!(["rbind", "ro", "rprivate"]));
        mount("/dev/shm", "tmpfs", "shm", json!(["nosuid", "noexec", "nodev", "mode=1777", "size=1024k"]));
        mount("/dev/mqueue", "mqueue", "mqueue", json!(["nosuid"]));
        // later options override earlier ones
        mount("/var/tmp", "tmpfs", "tmpfs", json!(["ro", "noexec", "rw"]));
    });
}

/// runc 1.1.5 does not do `shared` and `unbindable`.
#[test]
fn propagation_of_the_root() {
    if !root() {
        return;
    }
    for (value, asked) in
        [("private", ""), ("rprivate", ""), ("shared", "shared:"), ("rshared", "shared:"), ("unbindable", "unbindable")]
    {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /proc/self/mountinfo");
        config["linux"]["rootfsPropagation"] = json!(value);
        sandbox.write(&config);
        let out = sandbox.run_ok();
        let mount = out.stdout.lines().map(Mount::parse).rfind(|m| m.point == "/").unwrap();
        let tags = mount.propagation.join(" ");
        assert!(if asked.is_empty() { tags.is_empty() } else { tags.contains(asked) }, "{value}: {mount:?}");
        sandbox.assert_clean();
    }
}

/// Every limit that this issue is to apply, on v1 as the machine has it. (pids.limit 0 is 1 since runc 1.4.)
#[test]
fn cgroup_limits() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "sleep 1000");
    config["linux"]["resources"] = json!({
        "memory": { "limit": 100 << 20, "reservation": 50 << 20, "swap": 150 << 20, "swappiness": 10 },
        "cpu": { "shares": 333, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 33 },
        "devices": [{ "allow": false, "access": "rwm" }],
    });
    sandbox.write(&config);
    sandbox.verb(&["create"]).ok();
    let mut findings = Findings::default();
    verify_cgroup::verify(&config, sandbox.pid(), sandbox.view, &mut findings);
    findings.done("resources");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
    for (limit, file) in [(-1, "max"), (0, "1")] {
        config["linux"]["resources"] = json!({ "pids": { "limit": limit } });
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        let mut findings = Findings::default();
        verify_cgroup::verify(&config, sandbox.pid(), sandbox.view, &mut findings);
        findings.done(&format!("pids.limit {limit} is {file}"));
        sandbox.verb(&["delete", "--force"]).ok();
    }
    sandbox.assert_clean();
}

/// Without cgroupsPath the cgroup is called like the container, and goes with it.
#[test]
fn cgroup_without_a_path() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal("", "cat /proc/self/cgroup");
    config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    sandbox.write(&config);
    let out = sandbox.run_ok();
    for line in out.stdout.lines() {
        assert!(line.ends_with(&format!("/{}", sandbox.id)), "{line}");
    }
    sandbox.assert_clean();
}

/// Name, number on x86-64, arguments, and whether it is newer than the profiles. With the arguments given,
/// none of them does anything.
const CALLS: [(&str, u64, &[u64], bool); 20] = [
    ("getppid", 110, &[], false),
    ("unshare", 272, &[0], false),
    ("personality", 135, &[0xffff_ffff], false),
    ("personality", 135, &[0x0004_0000], false),
    ("personality", 135, &[8], false),
    ("personality", 135, &[0], false),
    ("clone3", 435, &[0, 0], false),
    ("clone", 56, &[0x1000_0000_u64, 0, 0, 0, 0], false),
    ("add_key", 248, &[0, 0, 0, 0, 0], false),
    ("keyctl", 250, &[999, 0], false),
    ("io_uring_setup", 425, &[0, 0], false),
    ("userfaultfd", 323, &[0xffff], false),
    ("lookup_dcookie", 212, &[0, 0, 0], false),
    ("name_to_handle_at", 303, &[0, 0, 0, 0, 0xffff], false),
    ("openat2", 437, &[0, 0, 0, 0], false),
    ("socket", 41, &[999, 1, 0], false),
    ("mincore", 27, &[1, 0, 0], false),
    ("get_mempolicy", 239, &[0, 0, 0, 0, 0xffff], false),
    ("uselib", 134, &[0], false),
    ("no_such_call", 999, &[], true),
];

/// The errno of each call, by a perl of the host's: the only interpreter that every Debian has and that can
/// make any syscall.
fn errnos(profile: &Value) -> BTreeMap<String, i32> {
    let sandbox = Sandbox::new();
    let mut script = String::from(
        "use POSIX; $| = 1; sub t { my ($n, @a) = @_; $! = 0; my $c = shift @a; my $r = syscall($c, @a); \
        if (defined $r && $r == 0 && $n =~ /^clone /) { POSIX::_exit(0) } print \"$n=\", ($r == -1 ? $! + 0 : 0), \"\\n\"; }\n",
    );
    for (name, number, args, _) in CALLS {
        let args: Vec<String> = args.iter().map(u64::to_string).collect();
        script.push_str(&format!(
            "t('{name} {}', {});\n",
            args.join(","),
            [&[number.to_string()], &args[..]].concat().join(",")
        ));
    }
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
    config["process"]["args"] = json!(["/usr/bin/perl", "-e", script]);
    if !profile.is_null() {
        config["linux"]["seccomp"] = profile.clone();
    }
    for dir in ["/usr", "/lib", "/lib64"] {
        if std::path::Path::new(dir).exists() {
            bundle::set(
                &mut config,
                "/mounts/-",
                Some(json!({ "destination": dir, "type": "bind", "source": dir, "options": ["rbind", "ro"] })),
            );
        }
    }
    sandbox.write(&config);
    let out = sandbox.run_ok();
    let errnos =
        out.stdout.lines().filter_map(|l| l.split_once('=')).map(|(n, e)| (n.to_owned(), e.parse().unwrap())).collect();
    sandbox.assert_clean();
    errnos
}

#[test]
fn seccomp_syscall_by_syscall() {
    if !root() {
        return;
    }
    if !std::path::Path::new("/usr/bin/perl").is_file() || !cfg!(target_arch = "x86_64") {
        skip("needs /usr/bin/perl and x86-64 syscall numbers");
        return;
    }
    let unconfined = errnos(&Value::Null);
    assert_eq!(unconfined.len(), CALLS.len(), "{unconfined:?}");
    for name in ["docker-default", "docker-limits", "podman-default"] {
        let config = bundle::load(name);
        let seen = errnos(&config["linux"]["seccomp"]);
        let mut faults = Vec::new();
        let (mut allowed, mut refused) = (0, 0);
        for (call, _, args, newer) in CALLS {
            let key = format!("{call} {}", args.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
            let verdict = verdict(&config, call, args, newer);
            let asked = match verdict {
                Verdict::Allow => unconfined[&key],
                Verdict::Errno(e) => e,
            };
            allowed += usize::from(verdict == Verdict::Allow);
            refused += usize::from(verdict != Verdict::Allow);
            if seen.get(&key) != Some(&asked) {
                faults.push(format!("{key}: {verdict:?}, errno {asked}; saw {:?}", seen.get(&key)));
            }
        }
        assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
        assert!(
            allowed >= 5 && refused >= 5,
            "{name}: a profile that allows {allowed} and refuses {refused} shows little"
        );
    }
}

/// Comparisons of every operator on a harmless call: personality(query) with bits.
#[test]
fn seccomp_operators() {
    if !root() {
        return;
    }
    let rows = [
        ("SCMP_CMP_EQ", 8, 0, true),
        ("SCMP_CMP_NE", 8, 0, false),
        ("SCMP_CMP_LT", 8, 0, false),
        ("SCMP_CMP_LE", 8, 0, true),
        ("SCMP_CMP_GT", 8, 0, false),
        ("SCMP_CMP_GE", 8, 0, true),
        ("SCMP_CMP_GT", 7, 0, true),
        ("SCMP_CMP_LT", 9, 0, true),
        ("SCMP_CMP_MASKED_EQ", 12, 8, true),
        ("SCMP_CMP_MASKED_EQ", 12, 12, false),
    ];
    for (op, value, two, hit) in rows {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "linux32 true");
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{
            "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": [{ "index": 0, "value": value, "valueTwo": two, "op": op }] }] });
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        assert_eq!(out.code == Some(0), !hit, "{op} {value} {two}: {out:#?}");
        assert!(!hit || out.stderr.contains("Function not implemented"), "{op}: {out:#?}");
    }
}

/// `ps` lists the container's processes with their pids on the host.
#[test]
fn ps_shows_the_tree() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "sleep 1000 & sleep 1000 & wait"));
    sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    let table = || sandbox.verb(&["ps"]).ok().stdout;
    crate::support::wait_for("three rows", || (table().lines().count() == 4).then_some(()));
    let text = table();
    assert!(words(text.lines().next().unwrap()).contains(&"PID"), "{text}");
    assert!(text.lines().skip(1).any(|l| words(l).contains(&sandbox.pid().to_string().as_str())), "{text}");
    sandbox.verb(&["delete", "-f"]).ok();
    sandbox.assert_clean();
}

/// What the process is tuned with, read by itself: execution domain, policy and nice value (fields 41 and 19 of its stat),
/// I/O priority, memory policy.
#[test]
fn scheduling_and_placement() {
    if !root() {
        return;
    }
    let script = "uname -m; cut -d' ' -f19,41 /proc/self/stat; busybox ionice -p 1; head -n 1 /proc/self/numa_maps";
    let seen = |edit: &dyn Fn(&mut Value)| {
        let sandbox = Sandbox::new();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        edit(&mut config);
        sandbox.write(&config);
        let lines: Vec<String> = sandbox.run_ok().stdout.lines().map(str::to_owned).collect();
        sandbox.assert_clean();
        lines
    };
    let tuned = seen(&|c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
        c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 4 });
        c["linux"]["personality"] = json!({ "domain": "LINUX32" });
        c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" });
    });
    assert_eq!(tuned[1..3], ["7 3", "idle"], "{tuned:?}");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(tuned[0], "i686", "{tuned:?}");
    }
    let plain = seen(&|_| ());
    assert_eq!(plain[1..3], ["0 0", "none: prio 0"], "{plain:?}");
    assert_eq!(plain[0], std::env::consts::ARCH, "{plain:?}");
    // Kernels without NUMA have no such file.
    if let (Some(tuned), Some(plain)) = (tuned.get(3), plain.get(3)) {
        assert_eq!((words(tuned)[1], words(plain)[1]), ("bind:0", "default"));
    }
}

/// A program of 32 bits that makes two calls through `int 0x80`: getppid, and exit with its error number as status.
const I386: [u8; 18] = [0xb8, 64, 0, 0, 0, 0xcd, 0x80, 0x89, 0xc3, 0xf7, 0xdb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80];

/// The smallest ELF file for i386 that has `code` in it.
fn elf_of_32_bits(code: &[u8]) -> Vec<u8> {
    let (base, headers) = (0x0804_8000_u32, 84);
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |words: &[u32]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    // type EXEC and machine 386, version, entry, program headers, no section headers, flags
    put(&[0x0003_0002, 1, base + headers, 52, 0, 0]);
    // sizes: of this header and of a program header; one of these; none of sections
    put(&[0x0020_0034, 40 << 16 | 1, 0]);
    // one loaded segment: offset, addresses, sizes, readable and executable, alignment
    let size = headers + code.len() as u32;
    put(&[1, 0, base, base, size, size, 5, 0x1000]);
    file.extend(code);
    file
}

/// A rule holds for the architectures that are listed and for the machine's own; what calls by another one is killed, or
/// it would go round every rule (libseccomp's answer to a foreign architecture).
#[test]
fn seccomp_architectures() {
    if !root() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let file = elf_of_32_bits(&I386);
    let run = |seccomp: Value| {
        let sandbox = Sandbox::new();
        let program = sandbox.rootfs().join("bin/i386");
        std::fs::write(&program, &file).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
        config["process"]["args"] = json!(["/bin/i386"]);
        config["linux"]["seccomp"] = seccomp;
        sandbox.write(&config);
        let out = sandbox.verb(&["run"]).run();
        sandbox.assert_clean();
        out
    };
    let plain = run(Value::Null);
    if plain.code != Some(0) {
        return skip("needs a kernel that runs programs of 32 bits");
    }
    let profile = |archs: Value| {
        let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 });
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": [rule] })
    };
    for (archs, code) in [
        (json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), 38),
        (json!(["SCMP_ARCH_X86"]), 38),
        (json!(["SCMP_ARCH_X86_64"]), 128 + 31),
        (json!([]), 128 + 31),
        (Value::Null, 128 + 31),
    ] {
        let out = run(profile(archs.clone()));
        assert_eq!(out.code, Some(code), "{archs}: {out:#?}");
    }
}
