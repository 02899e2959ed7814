//! What goes over sockets between the runtime and those around it: `--pidfd-socket`.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::namespaces::{Holder, in_user_namespace, join};
use crate::support::{Sandbox, bundle, patience, read, root, wait_for};

/// For what comes at once.
pub(crate) fn long() -> Timespec {
    Timespec { tv_sec: patience(10).as_secs() as i64, tv_nsec: 0 }
}

pub(crate) fn readable(fd: &impl std::os::fd::AsFd, limit: Timespec) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&limit)).unwrap() == 1
}

/// One message of a socket and the descriptors that came with it.
pub(crate) fn receive(socket: &impl std::os::fd::AsFd) -> (String, Vec<OwnedFd>) {
    assert!(readable(socket, long()), "no message");
    let (mut data, mut fds) = ([0; 4096], Vec::new());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut data)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            fds.extend(given);
        }
    }
    (String::from_utf8_lossy(&data[..got.bytes]).into_owned(), fds)
}

/// The process behind a pidfd, in this pid namespace; -1 if it has been reaped.
fn process_of(pidfd: &OwnedFd) -> i32 {
    let text = read(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap_or_else(|| panic!("no pidfd: {text}"));
    pid.trim().parse().unwrap()
}

/// What a listener of `--pidfd-socket` gets: one message, one pidfd, and then the end.
fn take_pidfd(listener: &UnixListener) -> OwnedFd {
    assert!(readable(listener, long()), "nobody has connected");
    let (stream, _) = listener.accept().unwrap();
    let (name, mut fds) = receive(&stream);
    assert_eq!((name.as_str(), fds.len()), ("standard", 1));
    let (rest, more) = receive(&stream);
    assert!(rest.is_empty() && more.is_empty(), "one message only");
    fds.remove(0)
}

/// A sandbox whose program waits until somebody makes `/go`, and a listener at `pidfd.sock` in the bundle.
fn listened(edit: impl Fn(&Sandbox, &mut Value)) -> (Sandbox, UnixListener) {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "while ! test -e /go; do sleep 0.02; done; exit 7");
    edit(&sandbox, &mut config);
    sandbox.write(&config);
    let listener = UnixListener::bind(sandbox.bundle().join("pidfd.sock")).unwrap();
    (sandbox, listener)
}

fn let_go(sandbox: &Sandbox) {
    std::fs::write(sandbox.rootfs().join("go"), "").unwrap();
}

#[test]
fn the_pidfd_socket_gets_inits_pidfd() {
    if !root() {
        return;
    }
    let holder = Holder::new(&["-p", "--fork", "--kill-child"]);
    let joined = holder.path("pid_for_children");
    type Edit<'e> = &'e dyn Fn(&Sandbox, &mut Value);
    let kinds: [(&str, Edit); 3] = [
        ("plain", &|_, _| ()),
        ("user namespace", &|sandbox, config| in_user_namespace(sandbox, config)),
        // init is cloned by an intermediate, whose own pidfd must not be taken for it
        ("joined pid namespace", &|_, config| join(config, "pid", &joined)),
    ];
    for (kind, edit) in kinds {
        for verb in ["create", "run -d", "run"] {
            let context = format!("{kind}, {verb}");
            let (sandbox, listener) = listened(edit);
            let socket = sandbox.bundle().join("pidfd.sock");
            let mut args: Vec<&str> = verb.split(' ').collect();
            args.extend(["--pidfd-socket", socket.to_str().unwrap()]);
            let running = sandbox.verb(&args).spawn();
            let pidfd = take_pidfd(&listener);
            let running = if verb == "run" {
                Some(running)
            } else {
                assert_eq!(running.wait().code, Some(0), "{context}");
                None
            };
            wait_for("the state", || sandbox.state());
            assert_eq!(process_of(&pidfd), sandbox.pid(), "{context}");
            assert!(!readable(&pidfd, Timespec { tv_sec: 0, tv_nsec: 0 }), "{context}: it has not ended yet");
            if verb == "create" {
                sandbox.verb(&["start"]).ok();
            }
            let_go(&sandbox);
            assert!(readable(&pidfd, long()), "{context}: the end can be waited for");
            match running {
                Some(running) => assert_eq!(running.wait().code, Some(7), "{context}"),
                None => drop(sandbox.verb(&["delete", "--force"]).ok()),
            }
            sandbox.assert_clean();
        }
    }
}

/// Engines end what has not been started as well, and not by KILL alone. No handler of ours survives into the program.
#[test]
fn signals_end_a_created_container() {
    if !root() {
        return;
    }
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        let (sandbox, listener) = listened(|_, _| ());
        let create = sandbox.verb(&["create", "--pidfd-socket", "pidfd.sock"]).spawn();
        let pidfd = take_pidfd(&listener);
        assert_eq!(create.wait().code, Some(0), "{signal:?}");
        rustix::process::pidfd_send_signal(&pidfd, Signal::USR1).unwrap();
        assert_eq!(sandbox.status(), "created", "a signal that means something to a program only");
        rustix::process::pidfd_send_signal(&pidfd, signal).unwrap();
        assert!(readable(&pidfd, long()), "{signal:?}: it goes on waiting");
        sandbox.wait_status("stopped");
        sandbox.verb(&["delete"]).ok();
        sandbox.assert_clean();
    }
    let (sandbox, _listener) = listened(|_, c| c["process"]["args"] = json!(["/bin/sleep", "1000"]));
    sandbox.verb(&["create"]).ok();
    sandbox.verb(&["start"]).ok();
    let status = read(format!("/proc/{}/status", sandbox.pid()));
    assert!(status.contains("SigCgt:\t0000000000000000"), "{status}");
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

/// It may wait for years: of what it was built with it holds nothing, but what start takes.
#[test]
fn descriptors_of_a_created_container() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    config["linux"]["maskedPaths"] = json!(["/proc/acpi", "/proc/kcore", "/sys/firmware"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/sys"]);
    config["linux"]["devices"] = json!([{ "path": "/dev/more", "type": "c", "major": 1, "minor": 3 }]);
    // Somebody else's home, which root without capabilities cannot enter, but the user can.
    config["process"]["cwd"] = json!("/tmp/home");
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    config["process"]["capabilities"] = json!({});
    config["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] });
    sandbox.write(&config);
    let created = sandbox.verb(&["create"]).run();
    assert_eq!(created.code, Some(0), "{created:#?}");
    let allowed = ["socket:[", "/memfd:hook", "/proc/1/task/1/fd"];
    for entry in std::fs::read_dir(format!("/proc/{}/fd", sandbox.pid())).unwrap().flatten() {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let target = std::fs::read_link(entry.path()).unwrap().display().to_string();
        let is_allowed = number < 3 || target.ends_with("/exec.fifo") || allowed.iter().any(|a| target.starts_with(a));
        assert!(is_allowed, "{number}: {target}");
    }
    sandbox.verb(&["start"]).ok();
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// runc is in the bundle's directory by then, so that is what a relative path is relative to.
#[test]
fn a_relative_pidfd_socket_is_the_bundles() {
    if !root() {
        return;
    }
    let (sandbox, listener) = listened(|_, _| ());
    let bundle = sandbox.bundle();
    let bundle = bundle.to_str().unwrap();
    let args = ["create", "--bundle", bundle, "--pidfd-socket", "pidfd.sock"];
    let running = sandbox.verb(&args).cwd(Path::new("/")).spawn();
    let pidfd = take_pidfd(&listener);
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(process_of(&pidfd), sandbox.pid());
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

#[test]
fn nothing_is_made_for_a_pidfd_socket_without_a_listener() {
    if !root() {
        return;
    }
    let (sandbox, listener) = listened(|_, _| ());
    drop(listener);
    for (path, why) in [("pidfd.sock", "connection refused"), ("none.sock", "no such file"), ("rootfs", "refused")] {
        for verb in ["create", "run"] {
            let out = sandbox.verb(&[verb, "--pidfd-socket", path]).run();
            assert_eq!(out.code, Some(1), "{path}: {out:#?}");
            assert!(out.stderr.contains("dial unix") && out.stderr.to_lowercase().contains(why), "{path}: {out:#?}");
            assert!(!sandbox.state_root().exists(), "{path}: nothing has been made");
        }
    }
    sandbox.assert_clean();
}

/// The listener is there when the runtime connects and goes away without having read: no container without its pidfd.
#[test]
fn a_pidfd_that_cannot_be_sent_undoes_create() {
    if !root() {
        return;
    }
    let (sandbox, listener) = listened(|_, config| {
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do test -e gone && exit 0; sleep 1; done; exit 1";
        let hook = serde_json::json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        config["hooks"] = serde_json::json!({ "createRuntime": [hook] });
    });
    let running = sandbox.verb(&["create", "--pidfd-socket", "pidfd.sock"]).spawn();
    let (stream, _) = listener.accept().unwrap();
    drop((stream, listener));
    std::fs::write(sandbox.bundle().join("gone"), "").unwrap();
    let start = Instant::now();
    let out = running.wait();
    assert!(out.code == Some(1) && out.stderr.contains("pidfd socket"), "{out:#?}");
    assert!(start.elapsed() < patience(10));
    assert_eq!(sandbox.status(), "none");
    sandbox.assert_clean();
}
