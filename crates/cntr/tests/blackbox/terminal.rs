//! `process.terminal` with `--console-socket`: what the caller is sent, what the program has, and images that want another
//! file to be taken for the terminal.

use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::namespaces::in_user_namespace;
use crate::security::{canary, plant, unchanged};
use crate::support::{Output, Sandbox, bundle, patience, read, root, wait_for, words};

/// A caller that listens for the master end of a terminal.
struct Caller {
    listener: UnixListener,
    path: PathBuf,
}

/// The master end, as it was sent.
struct Terminal {
    master: fs::File,
    connection: UnixStream,
}

fn readable(fd: impl AsFd, seconds: i64) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
}

impl Caller {
    fn new(sandbox: &Sandbox) -> Self {
        let path = sandbox.path("tty.sock");
        let _ = fs::remove_file(&path);
        Caller { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// `args --console-socket PATH ID`.
    fn run(&self, sandbox: &Sandbox, args: &[&str]) -> Output {
        sandbox.cntr(args).arg("--console-socket").arg(&self.path).arg(&sandbox.id).run()
    }

    /// One message: a name that is not empty, and one descriptor.
    fn accept(&self) -> Terminal {
        assert!(readable(&self.listener, 20), "nobody has connected");
        let (connection, _) = self.listener.accept().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0u8; 4096];
        assert!(readable(&connection, 20), "nothing was sent");
        let got =
            recvmsg(&connection, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert!((1..4096).contains(&got.bytes), "the name has {} bytes", got.bytes);
        let mut sent: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(fds) => sent.extend(fds),
                _ => panic!("something else than descriptors was sent"),
            }
        }
        assert_eq!(sent.len(), 1, "one descriptor");
        Terminal { master: fs::File::from(sent.remove(0)), connection }
    }
}

impl Terminal {
    /// What is written to the terminal until `end` holds, or its last slave is closed.
    fn read_until(&mut self, end: impl Fn(&str) -> bool) -> String {
        let (start, mut text) = (Instant::now(), Vec::new());
        loop {
            let so_far = String::from_utf8_lossy(&text).replace("\r\n", "\n");
            if end(&so_far) {
                return so_far;
            }
            assert!(start.elapsed() < patience(20), "the terminal has shown {so_far:?}");
            if !readable(&self.master, 1) {
                continue;
            }
            let mut chunk = [0u8; 4096];
            match self.master.read(&mut chunk) {
                Ok(n) if n > 0 => text.extend(&chunk[..n]),
                _ => return String::from_utf8_lossy(&text).replace("\r\n", "\n"), // EIO: hung up
            }
        }
    }

    fn read_all(&mut self) -> String {
        self.read_until(|_| false)
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }
}

fn config(sandbox: &Sandbox, script: &str) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["process"]["terminal"] = json!(true);
    let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] });
    bundle::set(&mut config, "/mounts/-", Some(devpts));
    config
}

/// What the program shows on its terminal, by `create` and `start`.
#[track_caller]
fn shown(sandbox: &Sandbox, config: &Value) -> Vec<String> {
    sandbox.write(config);
    let caller = Caller::new(sandbox);
    let out = caller.run(sandbox, &["create"]);
    assert_eq!(out.code, Some(0), "{out:#?}");
    let mut terminal = caller.accept();
    sandbox.verb(&["start"]).ok();
    let text = terminal.read_all();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
    text.lines().map(String::from).collect()
}

const LOOK: &str = "tty; s=$(stty size 2>/dev/null); echo ${s:-no size}; for n in 0 1 2; do test -t $n && echo $n; done; stat -c '%t:%T %F' /dev/console; \
    cut -d' ' -f7 /proc/self/stat; stat -c '%u %a' /dev/pts/0; echo x >/dev/console; \
    echo y >/dev/tty; echo z >/dev/stderr; ls -1 /proc/$$/fd; true";

/// 136:0 is 0x88:0 for stat(1), and 34816 for the kernel.
fn seen(size: &str, uid: u32) -> Vec<String> {
    let owner = format!("{uid} 620");
    let lines = ["/dev/pts/0", size, "0", "1", "2", "88:0 character special file", "34816", &owner];
    lines.iter().chain(&["x", "y", "z", "0", "1", "2"]).map(|line| (*line).to_owned()).collect()
}

#[test]
fn the_program_has_a_terminal() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let sizes = [
        (Value::Null, "no size"),
        (json!({ "height": 33, "width": 111 }), "33 111"),
        (json!({ "height": 33, "width": 0 }), "no size"),
        (json!({ "height": 29999, "width": 2 }), "29999 2"),
    ];
    for (size, expected) in sizes {
        let mut config = config(&sandbox, LOOK);
        config["process"]["consoleSize"] = size;
        assert_eq!(shown(&sandbox, &config), seen(expected, 0));
    }
}

#[test]
fn the_terminal_is_the_users() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = config(&sandbox, LOOK);
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    // terminals are allowed whatever the rules (contract 6.5)
    config["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }]);
    assert_eq!(shown(&sandbox, &config), seen("no size", 1000));
}

#[test]
fn in_user_namespaces() {
    if !root() {
        return;
    }
    for uid in [0, 1000] {
        let sandbox = Sandbox::new();
        let mut config = config(&sandbox, LOOK);
        in_user_namespace(&sandbox, &mut config);
        config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        assert_eq!(shown(&sandbox, &config), seen("no size", uid));
    }
}

/// `run -d` does the same. What is read-only is so for the program, and not while /dev/console is made.
#[test]
fn read_only_places_and_run() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = format!("{LOOK}; touch /dev/x /x 2>&1 | grep -c 'Read-only'");
    let mut config = config(&sandbox, &script);
    config["root"]["readonly"] = json!(true);
    config["mounts"][1]["options"] = json!(["ro", "nosuid", "mode=755"]);
    sandbox.write(&config);
    let caller = Caller::new(&sandbox);
    let out = caller.run(&sandbox, &["run", "-d"]);
    assert_eq!(out.code, Some(0), "{out:#?}");
    let text = caller.accept().read_all();
    let mut expected = seen("no size", 0);
    expected.push("2".into());
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// Everything that follows from the terminal being the controlling one: job control, and ^C for the foreground job only.
#[test]
fn job_control() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = config(&sandbox, "");
    config["process"]["args"] = json!(["/bin/sh", "-i"]);
    config["process"]["env"] = json!(["PATH=/bin", "PS1=ready "]);
    sandbox.write(&config);
    let caller = Caller::new(&sandbox);
    assert_eq!(caller.run(&sandbox, &["run", "-d"]).code, Some(0));
    let mut terminal = caller.accept();
    let first = terminal.read_until(|text| text.contains("ready "));
    assert!(!first.contains("job control"), "{first}");
    terminal.type_in("echo up; sleep 1000; echo ended with $?\n");
    terminal.read_until(|text| text.contains("\nup\n"));
    let sleeps = || read(format!("/proc/{0}/task/{0}/children", sandbox.pid())).trim().parse::<u32>().ok();
    wait_for("sleep to run", || read(format!("/proc/{}/comm", sleeps()?)).starts_with("sleep").then_some(()));
    terminal.type_in("\x03");
    terminal.read_until(|text| text.contains("ready "));
    assert_eq!(sandbox.status(), "running", "the shell goes on");
    terminal.type_in("exit 3\n");
    terminal.read_all();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// The caller alone has the master: when it goes, the container hears of it. And the connection ends with the command.
#[test]
fn nobody_else_keeps_the_master() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let config = config(&sandbox, "trap 'echo gone >/gone; exit' HUP; touch /up; while :; do sleep 0.05; done");
    sandbox.write(&config);
    let caller = Caller::new(&sandbox);
    assert_eq!(caller.run(&sandbox, &["create"]).code, Some(0));
    let mut terminal = caller.accept();
    assert!(readable(&terminal.connection, 20), "create has ended, the connection has not");
    assert_eq!(terminal.connection.read(&mut [0; 8]).unwrap(), 0, "one message and no more");
    let open = fs::read_dir(format!("/proc/{}/fd", sandbox.pid())).unwrap().flatten();
    let open: Vec<PathBuf> = open.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    assert!(!open.iter().any(|path| path.to_string_lossy().contains("ptmx")), "{open:?}");
    sandbox.verb(&["start"]).ok();
    wait_for("the program", || sandbox.rootfs().join("up").exists().then_some(()));
    drop(terminal);
    wait_for("SIGHUP", || (read(sandbox.rootfs().join("gone")) == "gone\n").then_some(()));
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// It is enough that somebody listens; when he takes what was sent is his affair.
#[test]
fn a_caller_that_accepts_late() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, "echo hello"));
    let caller = Caller::new(&sandbox);
    assert_eq!(caller.run(&sandbox, &["create"]).code, Some(0));
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    assert_eq!(caller.accept().read_all(), "hello\n");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// A caller whose queue is full, and who does not accept: there is an end to the waiting.
#[test]
fn a_caller_that_never_accepts() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, "true"));
    let caller = Caller::new(&sandbox);
    rustix::net::listen(&caller.listener, 0).unwrap();
    let _waits = UnixStream::connect(&caller.path).unwrap();
    let out = caller.run(&sandbox, &["create"]);
    assert_eq!(out.code, Some(1), "{out:#?}");
    assert!(out.stderr.contains("connect: no answer within 10 s") && out.took.as_secs() >= 9, "{out:#?}");
    sandbox.assert_clean();
}

#[test]
fn what_cannot_be_is_said() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let with_terminal = config(&sandbox, "true");
    let fails = |config: &Value, args: &[&str], says: &str| {
        sandbox.write(config);
        let out = Caller::new(&sandbox).run(&sandbox, args);
        assert_eq!(out.code, Some(1), "{out:#?}");
        assert!(out.stderr.replace('\\', "").contains(says), "{says}: {out:#?}");
        sandbox.assert_clean();
    };
    let edited = |pointer: &str, value: Option<Value>| {
        let mut config = with_terminal.clone();
        bundle::set(&mut config, pointer, value);
        config
    };
    let place = "error setting up console: process.terminal: ";
    let mut without = with_terminal.clone();
    without["mounts"].as_array_mut().unwrap().pop();
    fails(&without, &["create"], &format!("{place}openat2: /dev/pts: no such file or directory"));
    let tmpfs = json!({ "destination": "/dev/pts", "type": "tmpfs", "source": "tmpfs" });
    fails(&edited("/mounts/3", Some(tmpfs)), &["create"], &format!("{place}/dev/pts is not a devpts"));
    let directory = json!({ "destination": "/dev/console", "type": "tmpfs", "source": "tmpfs" });
    fails(&edited("/mounts/-", Some(directory)), &["run", "-d"], &format!("{place}move_mount: /dev/console: "));
    let wide = edited("/process/consoleSize", Some(json!({ "height": 1, "width": 65536 })));
    fails(&wide, &["create"], "process.consoleSize.width: 65536 is out of range, expected 0 to 65535");

    sandbox.write(&with_terminal);
    for (path, says) in [("nonesuch", "no such file or directory"), ("config.json", "connection refused")] {
        let out = sandbox.verb(&["create", "--console-socket", path]).run();
        let full = format!("dial unix {}/{path}: connect: {says}", sandbox.bundle().display());
        assert!(out.code == Some(1) && out.stderr.contains(&full), "{out:#?}");
        sandbox.assert_clean();
    }
    sandbox.assert_clean();
}

/// An address holds 108 bytes. A relative path is one in the bundle.
#[test]
fn long_and_relative_paths() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&config(&sandbox, "echo hello"));
    let deep = sandbox.path("bundle").join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    let caller = Caller::new(&sandbox);
    fs::rename(&caller.path, deep.join("s")).unwrap();
    let relative = format!("{}/s", "d".repeat(100));
    for path in [deep.join("s").to_string_lossy().into_owned(), relative] {
        let bundle = sandbox.bundle().to_string_lossy().into_owned();
        let args = ["run", "-d", "--bundle", &bundle, "--console-socket", &path];
        sandbox.cntr(&args).arg(&sandbox.id).cwd(sandbox.dir()).ok();
        assert_eq!(caller.accept().read_all(), "hello\n");
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
    }
    sandbox.assert_clean();
}

/// CVE-2026-88264: /dev/console of the image is a symlink to the host, and no mount covers /dev.
#[test]
fn console_is_a_symlink() {
    if !root() {
        return;
    }
    for target in ["file", "new"] {
        for absolute in [false, true] {
            let sandbox = Sandbox::new();
            let before = canary(&sandbox);
            let host = sandbox.path("canary").join(target).to_string_lossy().into_owned();
            plant(&sandbox, "dev/console", if absolute { &host } else { "../../../canary/file" });
            // inside the root as well: something that the image wants to have covered or made
            fs::create_dir_all(sandbox.rootfs().join(host.trim_start_matches('/')).parent().unwrap()).unwrap();
            let mut config = config(&sandbox, "true");
            config["mounts"].as_array_mut().unwrap().remove(1);
            sandbox.write(&config);
            let caller = Caller::new(&sandbox);
            let out = caller.run(&sandbox, &["create"]);
            unchanged(&sandbox, &before, target, &out);
            assert_eq!(out.code, Some(1), "{out:#?}");
            assert!(out.stderr.contains("/dev/console: too many levels of symbolic links"), "{out:#?}");
            assert!(!sandbox.rootfs().join(host.trim_start_matches('/')).exists(), "made inside");
            sandbox.assert_clean();
        }
    }
}

/// CVE-2025-52565: the slave is looked up by its name in a directory of somebody else's.
#[test]
fn slaves_are_symlinks() {
    if !root() {
        return;
    }
    for multiplexer in ["/real/ptmx", "/dev/tty", "none"] {
        let sandbox = Sandbox::new();
        let before = canary(&sandbox);
        let pattern = read("/proc/sys/kernel/core_pattern");
        let volume = sandbox.path("volume");
        fs::create_dir(&volume).unwrap();
        for number in 0..10 {
            symlink("/proc/sys/kernel/core_pattern", volume.join(number.to_string())).unwrap();
        }
        symlink(multiplexer, volume.join("ptmx")).unwrap();
        let mut config = config(&sandbox, "stat -c %t /dev/console; echo owned >/dev/console");
        let devpts = config["mounts"].as_array_mut().unwrap().pop().unwrap();
        let volume = json!({ "destination": "/dev/pts", "type": "bind", "source": volume, "options": ["rbind"] });
        bundle::set(&mut config, "/mounts/-", Some(devpts));
        config["mounts"][3]["destination"] = json!("/real");
        bundle::set(&mut config, "/mounts/-", Some(volume));
        sandbox.write(&config);
        let caller = Caller::new(&sandbox);
        let out = caller.run(&sandbox, &["run", "-d"]);
        if out.code == Some(0) {
            assert_eq!(words(&caller.accept().read_all()).first(), Some(&"88"), "{out:#?}");
        } else {
            assert!(out.stderr.contains("/dev/pts is not a devpts"), "{out:#?}");
        }
        assert_eq!(read("/proc/sys/kernel/core_pattern"), pattern);
        unchanged(&sandbox, &before, multiplexer, &out);
        sandbox.verb(&["delete", "--force"]).run();
        sandbox.assert_clean();
    }
}

/// CVE-2026-88265: what is reopened in place of the host's /dev/null is then given to the user. A symlink must not choose
/// it, even to a node of the right number.
#[test]
fn null_is_a_symlink() {
    if !root() {
        return;
    }
    for terminal in [false, true] {
        let sandbox = Sandbox::new();
        let before = canary(&sandbox);
        let dev = sandbox.path("volume");
        fs::create_dir_all(dev.join("pts")).unwrap();
        let node = sandbox.rootfs().join("etc/node");
        crate::support::host("mknod", &[&node.to_string_lossy(), "c", "1", "3"]);
        symlink("/etc/node", dev.join("null")).unwrap();
        let mut config = config(&sandbox, "true");
        config["process"]["terminal"] = json!(terminal);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["mounts"][1] = json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] });
        sandbox.write(&config);
        let caller = Caller::new(&sandbox);
        let null = || fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        let mut command = sandbox.cntr(&["run", "-d"]).stdin(null()).stdout(null());
        if terminal {
            command = command.arg("--console-socket").arg(&caller.path);
        }
        let out = command.arg(&sandbox.id).run();
        unchanged(&sandbox, &before, "null", &out);
        sandbox.wait_status("stopped");
        assert_eq!(fs::metadata(&node).unwrap().uid(), 0, "{out:#?}");
        assert_eq!(fs::metadata("/dev/null").unwrap().uid(), 0, "{out:#?}");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
}
