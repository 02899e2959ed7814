//! `exec --detach`, and what goes to callers by other ways than the status: pid file, pidfd, terminal, descriptors.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::event::Timespec;
use serde_json::json;

use crate::exec::{ended, exec, from_file, idle, refused, shell};
use crate::protocols::{long, readable, receive};
use crate::support::{Sandbox, View, bundle, read, root, skip, wait_for, words};

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

fn plain() -> Sandbox {
    idle(View::Host, |_, _| ())
}

fn perl() -> bool {
    let there = Path::new("/usr/bin/perl").is_file() && cfg!(target_arch = "x86_64");
    if !there {
        skip("needs /usr/bin/perl and x86-64 syscall numbers");
    }
    there
}

/// The pid in a file, where nothing else may be.
fn pid_in(path: &Path) -> i32 {
    let text = read(path);
    text.parse().unwrap_or_else(|_| panic!("a pid file with {text:?}"))
}

#[test]
fn returns_when_the_process_runs() {
    if !root() {
        return;
    }
    for view in [View::Host, View::V2] {
        let sandbox = idle(view, |_, _| ());
        let pid_file = sandbox.path("pid");
        let script = "echo out; echo err >&2; while ! test -e /go; do sleep 0.02; done; echo end";
        let out = shell(&sandbox, &["-d", "--pid-file", pid_file.to_str().unwrap()], script).ok();
        let pid = pid_in(&pid_file);
        assert!(read(format!("/proc/{pid}/cmdline")).starts_with("sh\0-c\0"), "{view:?}: it is executing");
        wait_for("its output", || (read(&out.stdout_file) == "out\n").then_some(()));
        assert_eq!(read(out.stdout_file.with_extension("err")), "err\n");
        // the streams are the caller's own, not pipes of somebody who would have to stay
        let errors = out.stdout_file.with_extension("err");
        for (fd, expected) in [Path::new("/dev/null"), &out.stdout_file, &errors].iter().enumerate() {
            assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap(), *expected, "{view:?} {fd}");
        }
        let listed = sandbox.cntr(&["ps", "--format", "json", &sandbox.id]).ok().stdout;
        assert!(listed.contains(&pid.to_string()), "{listed}");
        fs::write(sandbox.rootfs().join("go"), "").unwrap();
        wait_for("its end", || read(&out.stdout_file).ends_with("end\n").then_some(()));
        assert_eq!(sandbox.status(), "running");
        ended(&sandbox);
    }
}

/// A relative pid file is one in the caller's directory; what was there is replaced, and never seen half written.
#[test]
fn pid_files() {
    if !root() {
        return;
    }
    let sandbox = plain();
    fs::write(sandbox.path("pid"), "something that is longer").unwrap();
    exec(&sandbox, &["-d", "--pid-file", "pid"], &["sleep", "1000"]).cwd(sandbox.dir()).ok();
    assert!(read(format!("/proc/{}/cmdline", pid_in(&sandbox.path("pid")))).starts_with("sleep"));
    let out = exec(&sandbox, &["--pid-file", "pid"], &["sh", "-c", "echo $PPID"]).cwd(sandbox.dir()).ok();
    assert_eq!(out.stdout, "0\n", "its parent is outside");
    pid_in(&sandbox.path("pid"));
    let left: Vec<_> = fs::read_dir(sandbox.dir()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".pid")), "{left:?}");
    ended(&sandbox);
}

/// containerd's shim and conmon are subreapers and wait for the pid of the pid file. perl is the shim here.
#[test]
fn the_nearest_subreaper_gets_the_process() {
    if !root() || !perl() {
        return;
    }
    let sandbox = plain();
    let shim = "syscall(157, 36, 1, 0, 0, 0) == 0 or die; my $s = system(@ARGV); print \"exec $s\\n\"; \
                while ((my $p = wait()) > 0) { print \"$p $?\\n\" }";
    let flags = ["-d", "--pid-file", "pid"];
    let cmd = shell(&sandbox, &flags, "sleep 0.2; exit 5").cwd(sandbox.dir());
    let out = cmd.wrapped(&["/usr/bin/perl", "-e", shim]).ok();
    assert_eq!(out.stdout, format!("exec 0\n{} {}\n", pid_in(&sandbox.path("pid")), 5 << 8));
    ended(&sandbox);
}

/// The foreground reaps its process alone, and leaves nobody's children behind.
#[test]
fn the_foreground_is_no_subreaper() {
    if !root() || !perl() {
        return;
    }
    let sandbox = plain();
    let shim = "syscall(157, 36, 1, 0, 0, 0) == 0 or die; my $s = system(@ARGV); print \"exec $s\\n\"; \
                while ((my $p = wait()) > 0) { print \"child $?\\n\" }";
    // of an orphan inside, init is the new parent: it does not come out
    let cmd = shell(&sandbox, &[], "(sleep 0.2; exit 5) >/dev/null 2>&1 & exit 3");
    let out = cmd.wrapped(&["/usr/bin/perl", "-e", shim]).ok();
    assert_eq!(out.stdout, format!("exec {}\n", 3 << 8));
    ended(&sandbox);
}

/// The process behind a pidfd; -1 if it has been reaped.
fn process_of(pidfd: &OwnedFd) -> i32 {
    let text = read(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(pidfd)));
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap_or_else(|| panic!("no pidfd: {text}"));
    pid.trim().parse().unwrap()
}

/// Contract 1.9: one message, `setns`, one descriptor. A relative path is the caller's.
#[test]
fn the_pidfd_socket_gets_the_processs_pidfd() {
    if !root() {
        return;
    }
    let sandbox = plain();
    let path = sandbox.path("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    for (detached, socket) in [(true, path.to_str().unwrap()), (true, "pidfd.sock"), (false, "pidfd.sock")] {
        let mut flags = vec!["--pidfd-socket", socket, "--pid-file", "pid"];
        flags.extend(detached.then_some("-d"));
        let _ = fs::remove_file(sandbox.rootfs().join("go"));
        let script = "while ! test -e /go; do sleep 0.02; done; exit 7";
        let running = shell(&sandbox, &flags, script).cwd(sandbox.dir()).spawn();
        assert!(readable(&listener, long()), "nobody has connected");
        let (stream, _) = listener.accept().unwrap();
        let (name, mut fds) = receive(&stream);
        assert_eq!((name.as_str(), fds.len()), ("setns", 1));
        let pidfd = fds.remove(0);
        let (rest, more) = receive(&stream);
        assert!(rest.is_empty() && more.is_empty(), "one message only");
        wait_for("the pid file", || sandbox.path("pid").exists().then_some(()));
        let running = if detached {
            assert_eq!(running.wait().code, Some(0));
            None
        } else {
            Some(running)
        };
        assert_eq!(process_of(&pidfd), pid_in(&sandbox.path("pid")));
        assert!(!readable(&pidfd, NOW), "it has not ended yet");
        fs::write(sandbox.rootfs().join("go"), "").unwrap();
        assert!(readable(&pidfd, long()), "its end can be waited for");
        running.into_iter().for_each(|running| assert_eq!(running.wait().code, Some(7)));
        fs::remove_file(sandbox.path("pid")).unwrap();
    }
    ended(&sandbox);
}

/// A container with a devpts.
fn with_terminals() -> Sandbox {
    idle(View::Host, |_, config| {
        let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] });
        bundle::set(config, "/mounts/-", Some(devpts));
        config["process"]["consoleSize"] = json!({ "height": 11, "width": 22 });
    })
}

/// The master end of the one who connects.
fn master(listener: &UnixListener) -> File {
    assert!(readable(listener, long()), "nobody has connected");
    let (stream, _) = listener.accept().unwrap();
    let (name, mut fds) = receive(&stream);
    assert!(!name.is_empty() && fds.len() == 1, "{name} {fds:?}");
    File::from(fds.remove(0))
}

/// What a terminal shows until its last slave is closed.
fn shown(master: &mut File) -> String {
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    while readable(master, long()) {
        match master.read(&mut chunk) {
            Ok(count @ 1..) => text.extend(&chunk[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

/// By flag and by file. The size of the file's own, or of the config; it is the controlling terminal and the user's.
#[test]
fn a_terminal_goes_over_the_console_socket() {
    if !root() {
        return;
    }
    let sandbox = with_terminals();
    let path = sandbox.path("tty.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let script = "tty; stat -c %u $(tty); stty size; read line; echo got $line; echo to the terminal >/dev/tty";
    let size = json!({ "height": 5, "width": 6 });
    let process = json!({ "terminal": true, "user": { "uid": 1000 }, "consoleSize": size });
    let socket = ["-d", "--console-socket", path.to_str().unwrap()];
    for (size, cmd) in [
        ("11 22", shell(&sandbox, &[&socket[..], &["-t", "-u", "1000"]].concat(), script)),
        ("5 6", from_file(&sandbox, &socket, &process, script)),
    ] {
        let running = cmd.spawn(); // one after the other: who connects first is not known otherwise
        let mut master = master(&listener);
        assert_eq!(running.wait().code, Some(0));
        master.write_all(b"in\n").unwrap();
        // but for the echo, which comes when it likes
        let text = shown(&mut master).replacen("in\n", "", 1);
        assert!(text.starts_with("/dev/pts/"), "{text}");
        assert!(text.contains(&format!("\n1000\n{size}\n")), "{text}");
        assert!(text.ends_with("got in\nto the terminal\n"), "{text}");
    }
    ended(&sandbox);
}

/// At the same numbers; and no other of the runtime's own or of its caller's, be it a directory of the host (CVE-2024-21626).
#[test]
fn descriptors() {
    if !root() {
        return;
    }
    let sandbox = plain();
    fs::write(sandbox.path("three"), "3").unwrap();
    fs::write(sandbox.path("four"), "4").unwrap();
    let opened = format!(
        "exec 3<{0}/three 4<{0}/four 5</ 6</etc 7<{0} 8</proc/self/ns/mnt; exec \"$@\"",
        sandbox.dir().display()
    );
    // ls has the directory that it lists open
    for (flags, expected) in [
        (&[][..], "0 1 2 3\n"),
        (&["-d"], "0 1 2 3\n"),
        (&["--preserve-fds", "2"], "0 1 2 3 4 5\n"),
        (&["-d", "--preserve-fds", "2"], "0 1 2 3 4 5\n"),
        (&["--preserve-fds", "0"], "0 1 2 3\n"),
    ] {
        let out = shell(&sandbox, flags, "exec ls /proc/self/fd").shell(&opened).ok();
        let seen = wait_for("a list", || Some(read(&out.stdout_file)).filter(|text| !text.is_empty()));
        assert_eq!(words(&seen).join(" ") + "\n", expected, "{flags:?}");
    }
    let out = shell(&sandbox, &["--preserve-fds", "2"], "cat <&3; cat <&4").shell(&opened).ok();
    assert_eq!(out.stdout, "34");
    let out = exec(&sandbox, &["--preserve-fds", "2"], &["id"]).shell("exec 4<&-; exec 3</dev/null; exec \"$@\"").run();
    refused(&out, "unable to stat preserved-fd 1 (of 2)");
    ended(&sandbox);
}

/// A caller without stdin, stdout or stderr: what is opened meanwhile must not land there.
#[test]
fn closed_streams() {
    if !root() {
        return;
    }
    let sandbox = plain();
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for flags in [&[][..], &["-d"]] {
            let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done >/seen; echo done >>/seen";
            let _ = fs::remove_file(sandbox.rootfs().join("seen"));
            shell(&sandbox, flags, script).shell(&format!("exec {closed}; exec \"$@\"")).ok();
            let seen = wait_for("the streams", || {
                Some(read(sandbox.rootfs().join("seen"))).filter(|text| text.ends_with("done\n"))
            });
            assert!(!seen.contains("socket:") && !seen.contains("anon_inode"), "{closed} {flags:?}: {seen}");
        }
    }
    ended(&sandbox);
}
