//! The seal against CVE-2019-5736: containers that try to overwrite the runtime's binary, from the file that they see at
//! `/proc/PID/exe` while it is at work for another container in the same pid namespace.
//!
//! What they attack is a copy. The attacker is this test program, in a container of its own; what it sees and tries it writes
//! down for the test. That the attack works at all is shown on the same binary, on a read-only mount, so that it sees no
//! need to be sealed, and which the host makes writable once the attacker has it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags};
use serde_json::{Value, json};

use crate::namespaces::{join, ordinary, ordinary_users_can_unshare};
use crate::support::command::Running;
use crate::support::{Cmd, NOBODY, Sandbox, View, bundle, host, read, root, runtime, slow, wait_for};

/// What the attacker leaves at the beginning of a file.
const MARK: &[u8] = b"overwritten";

/// Set for the attacker.
const ATTACK: &str = "CNTR_TEST_ATTACK";

/// With these one can do all that a container could try.
pub(crate) const ALL: [&str; 13] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_CHOWN",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_MKNOD",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_LINUX_IMMUTABLE",
];

// --- the attacker, in a container --------------------------------------------------------------------------------------

/// In a container it attacks; without its environment variable it has nothing to do.
#[test]
fn attacker() {
    if std::env::var_os(ATTACK).is_none() {
        return;
    }
    let own: BTreeSet<(u64, u64)> = ["/attacker", "/bin/busybox"].map(identity).into_iter().flatten().collect();
    let mut report = OpenOptions::new().append(true).open("/report").unwrap();
    let mut tell = |line: String| report.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut caught: Vec<OwnedFd> = Vec::new();
    let mut seen = BTreeSet::new();
    tell("ready".into());
    while !Path::new("/over").exists() {
        for pid in fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        {
            let exe = format!("/proc/{pid}/exe");
            match identity(&exe) {
                Some(file) if !own.contains(&file) && seen.insert(file) => {}
                _ => continue,
            }
            let name = fs::read_link(&exe).unwrap_or_default();
            if name.ends_with("program") {
                continue; // the other container's own
            }
            for flags in [OFlags::RDONLY, OFlags::PATH] {
                if let Ok(fd) = rustix::fs::open(&*exe, flags | OFlags::CLOEXEC, Mode::empty()) {
                    caught.push(fd);
                }
            }
            tell(format!("caught {}", name.display()));
            caught.iter().for_each(|fd| tell(format!("early {}", overwrite(fd))));
        }
    }
    for fd in &caught {
        tell(format!("late {}", overwrite(fd)));
        for (what, result) in make_writable(fd) {
            tell(format!("{what} {}", word(result)));
            tell(format!("then {}", overwrite(fd)));
        }
    }
    tell("done".into());
}

fn identity(path: impl AsRef<Path>) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn word(result: Result<(), Errno>) -> String {
    match result {
        Ok(()) => "succeeded".into(),
        Err(Errno::TXTBSY) => "busy".into(),
        Err(Errno::ROFS) => "read-only".into(),
        Err(Errno::PERM) => "not permitted".into(),
        Err(errno) => errno.to_string(),
    }
}

/// The file was opened for reading, or not even for that; through /proc it is opened once more.
fn overwrite(fd: &OwnedFd) -> String {
    let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let write = || {
        let file = rustix::fs::open(&*again, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::pwrite(file, MARK, 0).map(drop)
    };
    word(write())
}

/// What root with CAP_SYS_ADMIN may try.
fn make_writable(fd: &OwnedFd) -> Vec<(&'static str, Result<(), Errno>)> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(CWD, &*path, clone);
    let copied = copy.map(|tree| drop((clear_readonly(&tree), overwrite(&tree))));
    let remount = |flags| rustix::mount::mount_remount(&*path, flags, "");
    vec![
        ("mount_setattr", clear_readonly(fd)),
        ("open_tree", copied),
        ("remount of the mount", remount(MountFlags::BIND)),
        ("remount of the file system", remount(MountFlags::empty())),
        ("mount_setattr in a new namespace", {
            // SAFETY: no memory is passed. Only this thread's mount namespace changes, and the attacker has no other thread
            // that looks.
            unsafe { libc::unshare(libc::CLONE_NEWNS) };
            clear_readonly(fd)
        }),
    ]
}

fn clear_readonly(fd: &impl AsFd) -> Result<(), Errno> {
    const RDONLY: u64 = 1;
    let attr = [0, RDONLY, 0, 0u64];
    let fd = fd.as_fd().as_raw_fd();
    let (empty, size) = (c"".as_ptr(), size_of_val(&attr));
    // SAFETY: the kernel reads an empty path and one `struct mount_attr`, four u64.
    let ret = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, empty, libc::AT_EMPTY_PATH, attr.as_ptr(), size) };
    if ret == 0 { Ok(()) } else { Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap()) }
}

// --- the test's side ---------------------------------------------------------------------------------------------------

/// A container in which the attacker works.
struct Attacker(Sandbox);

impl Attacker {
    fn new(capabilities: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let program = sandbox.rootfs().join("attacker");
        let own = std::env::current_exe().unwrap();
        if fs::hard_link(&own, &program).is_err() {
            host("cp", &[&own.to_string_lossy(), &program.to_string_lossy()]);
        }
        fs::write(sandbox.rootfs().join("report"), "").unwrap();
        let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
        config["process"]["args"] = json!(["/attacker", "--exact", "seal::attacker", "--nocapture"]);
        config["process"]["env"] = json!([format!("{ATTACK}=1"), "RUST_TEST_THREADS=1"]);
        config["process"]["capabilities"] =
            json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
        sandbox.write(&config);
        sandbox.verb(&["create"]).ok();
        sandbox.verb(&["start"]).ok();
        let attacker = Attacker(sandbox);
        attacker.wait("ready");
        attacker
    }

    fn wait(&self, word: &str) {
        wait_for(word, || self.report().lines().any(|line| line.starts_with(word)).then_some(()));
    }

    fn report(&self) -> String {
        read(self.0.rootfs().join("report"))
    }

    fn pid_namespace(&self) -> String {
        format!("/proc/{}/ns/pid", self.0.pid())
    }

    /// Tells the attacker that what it was after has ended, and waits until it has tried everything.
    fn finish(self) -> Vec<String> {
        fs::write(self.0.rootfs().join("over"), "").unwrap();
        self.wait("done");
        self.0.wait_status("stopped");
        self.0.verb(&["delete"]).ok();
        self.0.assert_clean();
        self.report().lines().map(String::from).collect()
    }
}

/// How the binary comes to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As it is installed: it is sealed by a mount.
    Ordinary,
    /// From a mount that is gone, which cannot be copied: it is sealed by a copy in memory.
    Gone,
    /// On a read-only mount: it is not sealed.
    ReadOnly,
}

/// A runtime that is attacked.
struct Victim {
    sandbox: Sandbox,
    place: Place,
    before: Vec<u8>,
}

impl Victim {
    fn new(place: Place) -> Self {
        let victim = Victim { sandbox: Sandbox::new(), place, before: vec![] };
        let binary = victim.binary();
        host("cp", &[&runtime().to_string_lossy(), &binary.to_string_lossy()]);
        // A debug build is large, and each copy in memory as well.
        let _ = std::process::Command::new("strip").arg(&binary).status();
        let before = fs::read(&binary).unwrap();
        if place == Place::ReadOnly {
            let path = &*binary.to_string_lossy();
            host("mount", &["--bind", path, path]);
            host("mount", &["-o", "remount,bind,ro", path]);
        }
        Victim { before, ..victim }
    }

    fn binary(&self) -> PathBuf {
        self.sandbox.path("victim")
    }

    fn verb(&self, args: &[&str]) -> Cmd {
        self.verb_at(&self.sandbox.state_root(), args)
    }

    fn verb_at(&self, state_root: &Path, args: &[&str]) -> Cmd {
        let cmd = self.sandbox.seen(&self.binary()).arg("--root").arg(state_root).args(args);
        let gone = format!(
            "mount --bind {0} {0} && exec 9<{0} && umount -l {0} && shift && exec /proc/self/fd/9 \"$@\"",
            self.binary().display()
        );
        if self.place == Place::Gone { cmd.shell(&gone) } else { cmd }
    }

    /// From the host's side.
    fn make_writable(&self) {
        if self.place == Place::ReadOnly {
            host("mount", &["-o", "remount,bind,rw", &self.binary().to_string_lossy()]);
        }
    }

    fn is_overwritten(&self) -> bool {
        fs::read(self.binary()).unwrap() != self.before
    }

    fn finish(self) {
        if self.place == Place::ReadOnly {
            host("umount", &[&self.binary().to_string_lossy()]);
        }
        self.sandbox.assert_clean();
    }
}

/// What makes the kernel run the runtime as the container's own program. It opens its log, a FIFO, and waits there.
const PROGRAMS: [(&str, &[&str]); 2] =
    [("#!/proc/self/exe --log=/fifo\n", &["/script"]), ("", &["/proc/self/exe", "--log", "/fifo", "list"])];

/// A config whose container shares the pid namespace.
fn neighbour(victim: &Victim, attacker: &Attacker, args: &[&str]) -> Value {
    let mut config = bundle::minimal(&victim.sandbox.cgroups_path(), "");
    config["process"]["args"] = json!(args);
    config["process"]["capabilities"] = json!({}); // who has less may not look at it
    join(&mut config, "pid", &attacker.pid_namespace());
    config
}

fn plant_script(rootfs: &Path, text: &str) {
    let script = rootfs.join("script");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let fifo = rootfs.join("fifo");
    if !fifo.exists() {
        host("mkfifo", &[&fifo.to_string_lossy()]);
    }
}

/// The whole attack: it is caught at work as a program of a container, and written to when it has ended. What the attacker
/// says, and whether it has had success.
fn attack(place: Place, capabilities: &[&str], (script, args): (&str, &[&str])) -> (Vec<String>, bool) {
    let (victim, attacker) = (Victim::new(place), Attacker::new(capabilities));
    plant_script(&victim.sandbox.rootfs(), script);
    victim.sandbox.write(&neighbour(&victim, &attacker, args));
    let running = victim.verb(&["run", &victim.sandbox.id]).spawn();
    let fifo = victim.sandbox.rootfs().join("fifo");
    caught(victim, attacker, running, &fifo)
}

/// What comes of it once the attacker holds the program, which waits at `fifo`.
fn caught(victim: Victim, attacker: Attacker, running: Running, fifo: &Path) -> (Vec<String>, bool) {
    attacker.wait("caught");
    victim.make_writable();
    // It goes on when somebody reads, and then has nothing to do.
    drop(File::open(fifo).unwrap());
    running.wait();
    let report = attacker.finish();
    let overwritten = victim.is_overwritten();
    victim.finish();
    (report, overwritten)
}

#[test]
fn the_attack_works_where_nothing_is_sealed() {
    if !root() {
        return;
    }
    for program in PROGRAMS {
        let (report, overwritten) = attack(Place::ReadOnly, &[], program);
        assert!(overwritten, "{program:?}: {report:#?}");
        let busy = report.iter().filter(|line| line.starts_with("early ")).all(|line| line == "early busy");
        assert!(busy && report.iter().any(|line| line == "late succeeded"), "{program:?}: {report:#?}");
    }
}

/// With and without the capabilities to change mounts; sealed by a mount, and in memory.
#[test]
fn a_program_that_is_the_runtime_itself() {
    if !root() {
        return;
    }
    for place in [Place::Ordinary, Place::Gone] {
        for capabilities in [&[][..], &ALL] {
            for program in PROGRAMS {
                let (report, overwritten) = attack(place, capabilities, program);
                let what = format!("{place:?} {capabilities:?} {program:?}: {report:#?}");
                assert!(!overwritten, "{what}");
                let seen = if place == Place::Gone { "caught /memfd:executable (deleted)" } else { "caught /" };
                assert!(report.iter().any(|line| line == seen), "{what}");
                assert!(!report.iter().any(|line| line.ends_with("succeeded")), "{what}");
                let late: Vec<&str> = report.iter().filter_map(|line| line.strip_prefix("late ")).collect();
                let refusal = if place == Place::Gone { "not permitted" } else { "read-only" };
                assert!(late.len() >= 2 && late.iter().all(|word| *word == refusal), "{what}");
            }
        }
    }
}

/// Before its `execve` init runs the runtime's binary as well; an attacker who may trace everybody sees it.
#[test]
fn an_init_before_its_program() {
    if !root() {
        return;
    }
    for (capabilities, sees) in [(&ALL[..], true), (&[], false)] {
        let (victim, attacker) = (Victim::new(Place::Ordinary), Attacker::new(capabilities));
        let config = neighbour(&victim, &attacker, &["/bin/true"]);
        victim.sandbox.write(&config);
        for round in 0..(40 / slow()) {
            if round % 2 == 0 {
                victim.verb(&["run", &victim.sandbox.id]).ok();
            } else {
                victim.verb(&["create", &victim.sandbox.id]).ok();
                victim.verb(&["start", &victim.sandbox.id]).ok();
                victim.sandbox.wait_status("stopped");
                victim.verb(&["delete", &victim.sandbox.id]).ok();
            }
        }
        let report = attacker.finish();
        assert!(!victim.is_overwritten(), "{report:#?}");
        assert_eq!(report.iter().any(|line| line == "caught /"), sees, "{report:#?}");
        assert!(!report.iter().any(|line| line.ends_with("succeeded")), "{report:#?}");
        victim.finish();
    }
}

/// The kernel maps the interpreter of an ELF file beside the program, which need not be able to run.
#[test]
fn an_elf_interpreter() {
    if !root() {
        return;
    }
    let (victim, attacker) = (Victim::new(Place::Ordinary), Attacker::new(&ALL));
    let program = victim.sandbox.rootfs().join("program");
    fs::write(&program, elf_with_interpreter("/proc/self/exe")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    victim.sandbox.write(&neighbour(&victim, &attacker, &["/program", "list"]));
    for _ in 0..(20 / slow()) {
        let out = victim.verb(&["run", &victim.sandbox.id]).run();
        assert!(!out.stderr.contains("exec format error") && !out.stderr.contains("no such file"), "{out:#?}");
    }
    let report = attacker.finish();
    assert!(!victim.is_overwritten() && !report.iter().any(|line| line.ends_with("succeeded")), "{report:#?}");
    victim.finish();
}

/// The smallest ELF file of this machine's kind that has an interpreter: itself in memory, and the name.
fn elf_with_interpreter(name: &str) -> Vec<u8> {
    let own = File::open(std::env::current_exe().unwrap()).unwrap();
    let mut machine = [0; 2];
    own.read_exact_at(&mut machine, 18).unwrap();
    let (ehsize, phsize, base) = (64u64, 56u64, 0x40_0000u64);
    let at = ehsize + 2 * phsize;
    let size = at + name.len() as u64 + 1;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(machine);
    elf.extend(1u32.to_le_bytes());
    elf.extend([base + at, ehsize, 0].iter().flat_map(|n| n.to_le_bytes())); // entry, program headers, no sections
    elf.extend(0u32.to_le_bytes());
    elf.extend([64u16, 56, 2, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    for (kind, flags, offset, length, align) in [(3u32, 4u32, at, name.len() as u64 + 1, 1u64), (1, 7, 0, size, 0x1000)]
    {
        elf.extend(kind.to_le_bytes().into_iter().chain(flags.to_le_bytes()));
        let address = base + offset;
        elf.extend([offset, address, address, length, length, align].iter().flat_map(|n| n.to_le_bytes()));
    }
    elf.extend(name.bytes().chain([0]));
    elf
}

// --- who is sealed, and what stays as it was ---------------------------------------------------------------------------

/// What a runtime in the foreground is, as the kernel says, while its container runs.
fn while_it_runs<T>(sandbox: &Sandbox, cmd: Cmd, look: impl FnOnce(&Path) -> T) -> T {
    let running = cmd.spawn();
    let program = wait_for("a program", || {
        let pid = sandbox.state().filter(|state| state["status"] == "running")?["pid"].as_i64()?;
        read(format!("/proc/{pid}/comm")).starts_with("sleep").then_some(pid)
    });
    let found = look(Path::new(&format!("/proc/{}", running.child.id())));
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(program as i32), nix::sys::signal::Signal::SIGKILL);
    let out = running.wait();
    assert_eq!(out.code, Some(137), "{out:#?}");
    found
}

fn executable_of(process: &Path) -> String {
    fs::read_link(process.join("exe")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn who_could_write_is_sealed() {
    if !root() {
        return;
    }
    for (place, expected) in [
        (Place::Ordinary, "/".to_owned()),
        (Place::Gone, "/memfd:executable (deleted)".into()),
        (Place::ReadOnly, String::new()),
    ] {
        let victim = Victim::new(place);
        victim.sandbox.write(&bundle::minimal(&victim.sandbox.cgroups_path(), "exec sleep 1000"));
        let own = victim.binary().to_string_lossy().into_owned();
        let run = victim.verb(&["run", &victim.sandbox.id]);
        let found = while_it_runs(&victim.sandbox, run, executable_of);
        assert_eq!(found, if expected.is_empty() { own } else { expected }, "{place:?}");
        victim.finish();
    }
}

/// An ordinary user cannot write root's binary, and so none of his containers can.
#[test]
fn an_ordinary_user_seals_what_he_could_write() {
    if !root() || !ordinary_users_can_unshare() {
        return;
    }
    for (owner, mode, sealed) in [(0, 0o755, false), (NOBODY, 0o755, true), (NOBODY, 0o555, true), (0, 0o757, true)] {
        let sandbox = Sandbox::with_view(View::User(NOBODY));
        let binary = sandbox.path("cntr");
        std::os::unix::fs::chown(&binary, Some(owner), None).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(mode)).unwrap();
        sandbox.write(&ordinary(NOBODY, "exec sleep 1000"));
        let found = while_it_runs(&sandbox, sandbox.verb(&["run"]), executable_of);
        let own = binary.to_string_lossy().into_owned();
        let expected = if sealed { "/memfd:executable (deleted)".to_owned() } else { own };
        assert_eq!(found, expected, "owner {owner}, mode {mode:o}");
        sandbox.assert_clean();
    }
}

/// `execve(2)` keeps nearly everything; the name is put back.
#[test]
fn the_runtime_is_what_its_caller_started() {
    if !root() {
        return;
    }
    for place in [Place::Ordinary, Place::Gone] {
        for name in ["runc", "cntr"] {
            let victim = Victim::new(place);
            victim.sandbox.write(&bundle::minimal(&victim.sandbox.cgroups_path(), "exec sleep 1000"));
            // exec -a, since the name is not always that of a file
            let script = "trap '' HUP; umask 027; exec 5<. 7<&-; shift; exec -a NAME PATH \"$@\"";
            let path =
                if place == Place::Gone { "/proc/self/fd/9".into() } else { victim.binary().display().to_string() };
            let gone = format!("mount --bind {0} {0} && exec 9<{0} && umount -l {0}; ", victim.binary().display());
            let script = format!("{}{script}", if place == Place::Gone { gone } else { String::new() });
            let script = script.replace("NAME", &format!("/opt/{name}")).replace("PATH", &path);
            let cmd = victim.sandbox.seen(&victim.binary()).arg("--root").arg(victim.sandbox.state_root());
            let cmd = cmd.args(&["run", &victim.sandbox.id]).wrapped(&["bash", "-c", &script, "bash"]);
            let (comm, line, status, five) = while_it_runs(&victim.sandbox, cmd, |process| {
                let status = read(process.join("status"));
                let five = fs::read_link(process.join("fd/5")).unwrap_or_default();
                (read(process.join("comm")), read(process.join("cmdline")), status, five)
            });
            assert_eq!(comm.trim(), name, "{place:?}");
            assert!(line.starts_with(&format!("/opt/{name}\0--root\0")), "{place:?} {line:?}");
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
            assert_eq!(u64::from_str_radix(&field("SigIgn:"), 16).unwrap() & 1, 1, "{place:?} {status}");
            assert_eq!(field("Umask:"), "0027", "{place:?}");
            assert_eq!(five, victim.sandbox.bundle(), "{place:?}");
            victim.finish();
        }
    }
}

/// The signal that the caller has set for its own end.
#[test]
fn a_runtime_dies_with_its_parent() {
    if !root() {
        return;
    }
    for place in [Place::Ordinary, Place::Gone] {
        let victim = Victim::new(place);
        victim.sandbox.write(&bundle::minimal(&victim.sandbox.cgroups_path(), "exec sleep 1000"));
        let run = victim.verb(&["run", &victim.sandbox.id]).wrapped(&["setpriv", "--pdeathsig", "KILL"]);
        let parent = run.shell("\"$@\" & echo $! >pid; read never </dev/zero || :; wait").spawn();
        victim.sandbox.wait_status("running");
        let pid = read(victim.sandbox.path("bundle/pid")).trim().to_owned();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        parent.signal(nix::sys::signal::Signal::SIGKILL);
        assert_eq!(parent.wait().signal, Some(9));
        wait_for("its end", || match read(format!("/proc/{pid}/stat")) {
            stat if stat.is_empty() || stat.contains(") Z ") => Some(()),
            _ => None,
        });
        victim.verb(&["delete", "--force", &victim.sandbox.id]).ok();
        victim.finish();
    }
}

/// Where neither a mount nor memory can be had, nothing is made, and the sysctl is named.
#[test]
fn no_seal_no_container() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::with_view(View::Pids);
    let binary = sandbox.path("victim");
    host("cp", &[&runtime().to_string_lossy(), &binary.to_string_lossy()]);
    let pid = sandbox.host_pid().to_string();
    let nsenter = ["nsenter", "-t", &pid, "-m", "-p", "--"];
    let forbid = "echo 2 >/proc/sys/vm/memfd_noexec";
    if !std::process::Command::new(nsenter[0])
        .args(&nsenter[1..])
        .args(["sh", "-c", forbid])
        .status()
        .unwrap()
        .success()
    {
        crate::support::skip("needs vm.memfd_noexec (Linux 6.3)");
        return;
    }
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "true"));
    let gone = format!(
        "mount --bind {0} {0} && exec 9<{0} && umount -l {0} && shift && exec /proc/self/fd/9 \"$@\"",
        binary.display()
    );
    for verb in ["create", "run"] {
        let cmd = Cmd::new(vec![binary.clone().into()], &sandbox.path("out")).arg("--root").arg(sandbox.state_root());
        let cmd = cmd.args(&[verb, "--bundle"]).arg(sandbox.bundle()).arg(&sandbox.id).shell(&gone).wrapped(&nsenter);
        let out = cmd.run();
        assert_eq!(out.code, Some(1), "{out:#?}");
        let text = format!(
            "runc {verb} failed: sealing the executable: memfd_create (the sysctl vm.memfd_noexec=2 forbids \
                            executable memory): permission denied; open_tree: invalid argument"
        );
        assert!(out.stderr.contains(&text), "{out:#?}");
        assert!(!sandbox.state_dir().exists());
    }
    sandbox.assert_clean();
}

// --- exec --------------------------------------------------------------------------------------------------------------

/// The container's own program is the attacker here; everything that `exec` starts is the runtime itself, or the runtime until
/// its `execve`.
fn attack_exec(place: Place, capabilities: &[&str], (script, args): (&str, &[&str])) -> (Vec<String>, bool) {
    let (victim, attacker) = (Victim::new(place), Attacker::new(capabilities));
    plant_script(&attacker.0.rootfs(), script);
    let (root, fifo) = (attacker.0.state_root(), attacker.0.rootfs().join("fifo"));
    let running = victim.verb_at(&root, &["exec", &attacker.0.id]).args(args).spawn();
    caught(victim, attacker, running, &fifo)
}

#[test]
fn exec_of_the_runtime_itself() {
    if !root() {
        return;
    }
    for capabilities in [&[][..], &ALL] {
        for program in PROGRAMS {
            let (report, overwritten) = attack_exec(Place::ReadOnly, capabilities, program);
            assert!(overwritten, "the attack works where nothing is sealed: {program:?}: {report:#?}");
            for place in [Place::Ordinary, Place::Gone] {
                let (report, overwritten) = attack_exec(place, capabilities, program);
                let what = format!("{place:?} {capabilities:?} {program:?}: {report:#?}");
                assert!(!overwritten && !report.iter().any(|line| line.ends_with("succeeded")), "{what}");
                assert!(report.iter().any(|line| line.starts_with("late ")), "{what}");
            }
        }
    }
}

/// The attacker looks for what joins its container before it is another program.
#[test]
fn what_joins_a_container_for_exec() {
    if !root() {
        return;
    }
    for (capabilities, sees) in [(&ALL[..], true), (&[], false)] {
        let (victim, attacker) = (Victim::new(Place::Ordinary), Attacker::new(capabilities));
        for _ in 0..(100 / slow()) {
            victim.verb_at(&attacker.0.state_root(), &["exec", &attacker.0.id, "/bin/true"]).ok();
        }
        let report = attacker.finish();
        assert!(!victim.is_overwritten(), "{report:#?}");
        assert_eq!(report.iter().any(|line| line == "caught /"), sees, "{report:#?}");
        assert!(!report.iter().any(|line| line.ends_with("succeeded")), "{report:#?}");
        victim.finish();
    }
}
