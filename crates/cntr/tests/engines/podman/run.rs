//! `podman run`: each option, and what the process in the container sees of it.

use std::fs;

use super::Podman;
use crate::checks::Check;

pub const CHECKS: &[Check<Podman>] = &[
    ("run", run),
    ("run_interactive", interactive),
    ("run_terminal", terminal),
    ("run_limits", limits),
    ("run_capabilities", capabilities),
    ("run_read_only", read_only),
    ("run_volumes", volumes),
    ("run_devices", devices),
    ("run_settings", settings),
    ("run_users", users),
    ("run_init", init),
    ("run_networks", networks),
    ("run_shared_namespaces", shared_namespaces),
    ("run_cgroupns", cgroupns),
    ("run_security", security),
    ("run_user_namespaces", user_namespaces),
    ("run_privileged", privileged),
    ("run_missing_command", missing_command),
    ("run_no_command", no_command),
    ("run_text_mode", text_mode),
];

fn run(p: &Podman) {
    p.says("podman run --rm box sh -c 'echo hi; echo problem >&2'", "hi");
    p.fails("podman run --rm box sh -c 'echo problem >&2; exit 42'", 42, "problem");
    // by a child, since a signal that kills does not reach the first process of a pid namespace from inside
    p.fails("podman run --rm --init box sh -c 'kill -9 $$'", 137, "");
    p.says("podman run --rm --entrypoint '[\"/bin/echo\", \"a\"]' box b c", "a b c");
    p.says("podman run --rm -e A='b c' --env-host=false box sh -c 'echo $A $container'", "b c podman");
    p.says("podman run --rm --rootfs $PWD/rootfs ls /etc/passwd", "/etc/passwd");
}

fn interactive(p: &Podman) {
    p.says("printf 'one\\ntwo\\n' | podman run --rm -i box wc -l", "2");
    p.says("podman run --rm box wc -l </dev/null", "0");
    // a megabyte through conmon, both ways
    let line = "head -c 1000000 /dev/zero | tr '\\0' x | podman run --rm -i box cat | wc -c";
    p.says(line, "1000000");
}

/// script(1) is the terminal; what is typed goes through Podman and conmon to the pty that the runtime has made.
fn terminal(p: &Podman) {
    let line = "{ sleep 1; echo 'tty; test -t 2 && echo three; stty size; exit 7'; sleep 2; } | \
        script -qec 'stty rows 33 cols 77; podman run --rm -it box sh' /dev/null";
    let out = p.line(line).run();
    assert_eq!(out.code, Some(7), "{out:#?}");
    for text in ["/dev/pts/0", "three", "33 77"] {
        assert!(out.stdout.contains(text), "{text}: {out:#?}");
    }
    p.says(
        "script -qec \"podman run --rm -t box sh -c 'tty; readlink /proc/self/fd/0'\" /dev/null | tr -d '\\r'",
        "/dev/pts/0\n/dev/pts/0",
    );
}

fn limits(p: &Podman) {
    let cat = "sh -c 'cd /sys/fs/cgroup && cat $0'";
    for (option, file, value) in [
        ("-m 64m", "memory/memory.limit_in_bytes", "67108864"),
        ("-m 64m --memory-swap 128m", "memory/memory.memsw.limit_in_bytes", "134217728"),
        ("--memory-reservation 32m", "memory/memory.soft_limit_in_bytes", "33554432"),
        ("--cpus 0.5", "cpu/cpu.cfs_quota_us", "50000"),
        ("--cpu-shares 512", "cpu/cpu.shares", "512"),
        ("--cpuset-cpus 0", "cpuset/cpuset.cpus", "0"),
        ("--cpuset-mems 0", "cpuset/cpuset.mems", "0"),
        ("--pids-limit 33", "pids/pids.max", "33"),
    ] {
        p.says(&format!("podman run --rm {option} box {cat} {file}"), value);
    }
    p.says(
        "podman run --rm --ulimit nofile=100:200 --ulimit nproc=300:400 box sh -c 'ulimit -Sn; ulimit -Hn; ulimit -u'",
        "100\n200\n300",
    );
    p.says("podman run --rm --oom-score-adj 500 box cat /proc/self/oom_score_adj", "500");
    p.fails("podman run --rm --pids-limit 5 box sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done'", 2, "can't fork");
}

fn capabilities(p: &Podman) {
    let show = "sh -c 'grep -E Cap.Prm,Eff,Bnd,Amb /proc/self/status || grep -E \"Cap(Prm|Eff|Bnd|Amb)\" /proc/self/status' | cut -f 2";
    let sets = |prm: &str, bnd: &str| format!("{prm}\n{prm}\n{bnd}\n0000000000000000");
    let some = "00000000800405fb";
    p.says(&format!("podman run --rm box {show}"), &sets(some, some));
    let one = "0000000000002000";
    p.says(&format!("podman run --rm --cap-drop all --cap-add net_raw box {show}"), &sets(one, one));
    p.says(&format!("podman run --rm --cap-drop all box {show}"), &sets("0000000000000000", "0000000000000000"));
    p.says(&format!("podman run --rm -u mars box {show}"), &sets("0000000000000000", some));
}

fn read_only(p: &Podman) {
    let script = "sh -c 'touch /new; touch /tmp/new /run/new /dev/shm/new && echo tmpfs'";
    let out = p.line(&format!("podman run --rm --read-only box {script}")).run();
    assert!(out.stderr.contains("touch: /new: Read-only file system") && out.stdout == "tmpfs\n", "{out:#?}");
    p.says("podman run --rm --tmpfs /t:size=1m,mode=700 box sh -c 'grep -c \" /t tmpfs rw.*size=1024k\" /proc/mounts; stat -c %a /t'", "1\n700");
    p.says("podman run --rm --mount type=tmpfs,dst=/etc,tmpfs-size=1m box ls /etc/passwd", "/etc/passwd");
    p.says(
        "podman run --rm --shm-size 2m box sh -c 'df /dev/shm | tail -n 1 | tr -s \" \" | cut -d \" \" -f 2'",
        "2048",
    );
}

fn volumes(p: &Podman) {
    let dir = p.machine.room.path("volume");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "text\n").unwrap();
    let dir = dir.display();
    let out = p
        .line(&format!("podman run --rm -v {dir}:/v:ro -v {dir}:/w box sh -c 'cat /v/file; touch /w/made; touch /v/x'"))
        .run();
    assert!(
        out.code == Some(1) && out.stdout == "text\n" && out.stderr.contains("/v/x: Read-only file system"),
        "{out:#?}"
    );
    p.says(&format!("stat -c %u {dir}/made"), "0");
    p.says(
        &format!("podman run --rm --mount type=bind,src={dir}/file,dst=/etc/new/file,ro box cat /etc/new/file"),
        "text",
    );
    p.says(
        &format!("podman run --rm -v {dir}:/v:O box sh -c 'touch /v/over; ls /v'; ls {dir}"),
        "file\nmade\nover\nfile\nmade",
    );
    p.says("podman volume create data && podman run --rm -v data:/d box touch /d/kept && podman run --rm -v data:/d box ls /d", "data\nkept");
    // propagation: what is mounted in the volume afterwards, on the side that the option says
    for (option, seen) in [("rshared", "below"), ("rslave", "below"), ("rprivate", "")] {
        let name = format!("propagation-{option}");
        p.ok(&format!("mkdir -p {dir}/m && podman run -d --name {name} -v {dir}:/v:{option} box sleep 1000"));
        p.ok(&format!("mount -t tmpfs tmpfs {dir}/m && touch {dir}/m/below"));
        let first = p.ok(&format!("podman inspect -f '{{{{.State.Pid}}}}' {name}"));
        p.says(&format!("ls /proc/{first}/root/v/m"), seen);
        p.ok(&format!("umount {dir}/m; podman rm -f -t 0 {name}"));
    }
}

fn devices(p: &Podman) {
    p.says(
        "podman run --rm --device /dev/null:/dev/mine:rw box sh -c 'stat -c \"%t %T\" /dev/mine; echo x >/dev/mine'",
        "1 3",
    );
    p.says(
        "podman run --rm --device /dev/fuse:/dev/mine:r box sh -c ': </dev/mine && echo read; : >/dev/mine' || true",
        "read",
    );
    p.says(
        "podman run --rm --device /dev/fuse:/dev/mine:rw box sh -c ': </dev/mine && : >/dev/mine && echo both'",
        "both",
    );
    // one that nobody has asked for
    p.says("podman run --rm --cap-add mknod box sh -c 'mknod /tmp/d b 254 0 && (cat /tmp/d) 2>&1 | grep -o \"Operation not permitted\"'",
        "Operation not permitted");
    p.says("podman run --rm box sh -c 'cd /dev; for d in full null random tty urandom zero; do stat -c \"%n %a\" $d; done'",
        "full 666\nnull 666\nrandom 666\ntty 666\nurandom 666\nzero 666");
}

fn settings(p: &Podman) {
    p.says(
        "podman run --rm -w /usr/bin -h venus box sh -c 'pwd; hostname; cat /etc/hostname'",
        "/usr/bin\nvenus\nvenus",
    );
    p.says("podman run --rm --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4242 box cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", "1\n4242");
    p.says("podman run --rm --umask 0077 box sh -c umask", "0077");
    p.says("podman run --rm --tz=UTC box date +%Z", "UTC");
    p.says("podman run --rm --annotation a=b --label c=d --stop-signal USR1 box true", "");
}

fn users(p: &Podman) {
    p.says("podman run --rm -u 1000:5 --group-add 7 box id", "uid=1000(mars) gid=5(5) groups=5(5),7");
    p.says("podman run --rm -u mars box sh -c 'id -un; id -gn; echo $HOME'", "mars\nmars\n/home");
    p.says("podman run --rm --group-add mars box id", "uid=0(root) gid=0(root) groups=1000(mars)");
    p.says("setpriv --groups 0,77,78 podman run --rm --group-add keep-groups --annotation run.oci.keep_original_groups=1 box true", "");
    p.fails("podman run --rm -u nemo box id", 126, "unable to find user nemo");
}

fn init(p: &Podman) {
    let script =
        "cat /proc/1/comm; (sleep 0.1 & exec true); sleep 0.5; grep -l \"^State:.Z\" /proc/[0-9]*/status; exit 9";
    let out = p.line(&format!("podman run --rm --init box sh -c '{script}'")).run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(9), "podman-init\n"), "{out:#?}");
}

fn networks(p: &Podman) {
    p.says("podman run --rm --network none box sh -c 'ls /sys/class/net; ifconfig lo | grep -c 127.0.0.1'", "lo\n1");
    p.says(
        "podman run --rm --network host box readlink -n /proc/self/ns/net; readlink /proc/self/ns/net | sed 's/^/ /'",
        &{
            let ns = p.ok("readlink /proc/self/ns/net");
            format!("{ns} {ns}")
        },
    );
    // the bridge: two containers that reach each other
    let address = p.ok("podman run -d --name bridged box nc -l -p 80 -e echo answer >/dev/null; podman inspect -f '{{.NetworkSettings.IPAddress}}' bridged");
    p.says(&format!("podman run --rm box nc -w 5 {address} 80 </dev/null"), "answer");
    p.ok("podman rm -f -t 0 bridged");
}

fn shared_namespaces(p: &Podman) {
    p.ok("podman run -d --name sharer --ipc shareable -h jupiter box sleep 1000");
    let namespaces = "sh -c 'for n in net pid ipc uts cgroup mnt; do readlink /proc/self/ns/$n; done'";
    let first = p.ok("podman inspect -f '{{.State.Pid}}' sharer");
    let theirs = |kinds: &str| p.ok(&format!("for n in {kinds}; do readlink /proc/{first}/ns/$n; done"));
    let got = p.ok(&format!("podman run --rm --network container:sharer --pid container:sharer --ipc container:sharer --uts container:sharer box {namespaces}"));
    let got: Vec<_> = got.lines().collect();
    assert_eq!(got[..4], theirs("net pid ipc uts").lines().collect::<Vec<_>>());
    assert!(!got[4..].contains(&theirs("mnt").as_str()));
    p.says("podman run --rm --pid container:sharer box sh -c 'cat /proc/1/comm'", "sleep");
    p.ok("podman rm -f -t 0 sharer");
    let host = p.ok("for n in net pid ipc uts; do readlink /proc/self/ns/$n; done");
    let got = p.ok(&format!("podman run --rm --network host --pid host --ipc host --uts host box {namespaces}"));
    assert_eq!(got.lines().take(4).collect::<Vec<_>>(), host.lines().collect::<Vec<_>>());
    // without a pid namespace of its own, everything in it has to be found when it is killed
    p.ok("podman run -d --name hostpid --pid host box sh -c 'sleep 4321 & sleep 4321 & wait'");
    p.ok("podman rm -f -t 0 hostpid");
    p.says("grep -lsE '^sleep.4321' /proc/[0-9]*/cmdline | wc -l", "0");
}

fn cgroupns(p: &Podman) {
    p.says("podman run --rm --cgroupns private box sh -c 'cut -d : -f 3 /proc/self/cgroup | sort -u'", "/");
    let own = p.ok("podman run --rm --cgroupns host box sh -c 'cut -d : -f 3 /proc/self/cgroup | sort -u'");
    assert!(own.starts_with("/libpod_parent/libpod-") && own.lines().count() == 1, "{own}");
    let own = p.ok("podman run --rm --cgroupns host --cgroup-parent /mine/deep box sh -c 'cut -d : -f 3 /proc/self/cgroup | sort -u'");
    assert!(own.starts_with("/mine/deep/libpod-") && own.lines().count() == 1, "{own}");
    p.says("podman run --rm --cgroups no-conmon box echo hi", "hi");
}

fn security(p: &Podman) {
    let show = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | cut -f 2";
    p.says(&format!("podman run --rm box sh -c \"{show}\""), "0\n2");
    p.says(&format!("podman run --rm --security-opt no-new-privileges box sh -c \"{show}\""), "1\n2");
    p.says(&format!("podman run --rm --security-opt seccomp=unconfined box sh -c \"{show}\""), "0\n0");
    let file = p.machine.room.path("profile.json");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    fs::write(&file, profile).unwrap();
    p.fails(
        &format!("podman run --rm --security-opt seccomp={} box mkdir /tmp/x", file.display()),
        1,
        "No space left on device",
    );
    p.says("podman run --rm box sh -c 'wc -c </proc/timer_list; (echo 1 >/proc/sys/kernel/panic) 2>&1 | grep -o \"Read-only file system\"'",
        "0\nRead-only file system");
    p.says("podman run --rm --security-opt unmask=ALL box sh -c 'grep -c \" /proc/\" /proc/self/mounts; true'", "0");
    p.says("podman run --rm --security-opt mask=/etc/passwd box sh -c 'wc -c </etc/passwd'", "0");
}

fn user_namespaces(p: &Podman) {
    let maps = "sh -c 'cat /proc/self/uid_map /proc/self/gid_map | tr -s \" \"; id -u; touch /made; stat -c %u /made /etc/passwd'";
    p.says(
        &format!("podman run --rm --uidmap 0:200000:1000 --gidmap 0:300000:1000 box {maps}"),
        "0 200000 1000\n 0 300000 1000\n0\n0\n0",
    );
    p.says("podman run --rm --userns auto:size=2000 box sh -c 'cat /proc/self/uid_map | tr -s \" \" | cut -d \" \" -f 2,4'", "0 2000");
    p.says(
        "podman run --rm --uidmap 0:200000:2000 -u mars box sh -c 'id -un; cat /proc/self/setgroups'",
        "mars\nallow",
    );
    p.says(
        "podman run --rm --uidmap 0:200000:2000 box sh -c 'stat -c \"%u %g %a\" /dev/null /proc/self/fd/'",
        "65534 65534 666\n0 0 500",
    );
    // Podman gives it to root of the container if it is mounted as one of the rootfs's
    p.says("stat -c %u:%g /dev/null", "0:0");
}

fn privileged(p: &Podman) {
    let own = p.ok("grep CapBnd /proc/self/status | cut -f 2");
    p.says(
        "podman run --rm --privileged box sh -c 'grep -E \"^(CapEff|Seccomp):\" /proc/self/status | cut -f 2'",
        &format!("{own}\n0"),
    );
    p.says("podman run --rm --privileged box sh -c 'mount -t tmpfs tmpfs /mnt && grep -c \" /mnt tmpfs\" /proc/mounts; echo 4343 >/proc/sys/kernel/msgmax && cat /proc/sys/kernel/msgmax'", "1\n4343");
    p.says("podman run --rm --privileged box sh -c 'stat -c \"%t %T\" /dev/full /dev/net/tun'", "1 7\na c8");
}

fn missing_command(p: &Podman) {
    let out = p.fails("podman run --rm box nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH");
    assert!(out.stderr.contains("OCI runtime attempted to invoke a command that was not found"), "{out:#?}");
    p.fails("podman run --rm box /no/such", 127, "exec: \"/no/such\": stat /no/such: no such file or directory");
    // a log of one JSON object is read; what is shown is its message alone
    assert!(out.stderr.starts_with("Error: cntr: runc create failed: ") && out.stderr.lines().count() == 1, "{out:#?}");
}

fn no_command(p: &Podman) {
    p.fails("podman run --rm box /etc", 126, "exec: \"/etc\": ");
    p.fails("podman run --rm box /etc/passwd", 126, "exec: \"/etc/passwd\": permission denied");
    p.fails("podman run --rm -w /no/such box true", 126, "workdir \"/no/such\" does not exist");
    p.fails("podman run --rm -v /no/such:/v box true", 125, "no such file or directory");
    p.fails("podman run --rm --nosuch box true", 125, "unknown flag");
}

/// A runtime that is not listed in `runtime_supports_json`: conmon passes what stands on stderr.
fn text_mode(p: &Podman) {
    p.says("podman --runtime plain run --rm box echo hi", "hi");
    let out = p.fails("podman --runtime plain run --rm box nosuch", 127, "executable file not found in $PATH");
    assert!(out.stderr.contains("level=error msg=\"runc create failed: "), "{out:#?}");
    p.fails("podman --runtime plain run --rm box /etc/passwd", 126, "permission denied");
    // by its path, too
    p.says("podman --runtime /usr/local/bin/cntr run --rm box echo hi", "hi");
}
