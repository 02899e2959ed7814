//! A seccomp agent: takes a container's listener from the runtime and answers the system calls that come over it.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::libc;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::Value;

use super::{Sandbox, wait_for};

/// What an agent does with a system call.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// It fails.
    Errno(i32),
    /// The kernel does it.
    Continue,
    /// Nothing: the caller waits.
    Silence,
}

/// One that listens, until the container is gone.
#[derive(Debug)]
pub struct Agent {
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

/// What an agent has learned.
#[derive(Debug, Default)]
struct Seen {
    state: Option<Value>,
    /// How often each number was called.
    calls: BTreeMap<i32, u32>,
}

impl Agent {
    /// Serves one connection, on `agent.sock` in the sandbox's directory. `answers` gets the number of each call; `None` closes the listener at once.
    pub fn start(sandbox: &Sandbox, answers: Option<fn(i32) -> Answer>) -> Agent {
        let path = sandbox.path("agent.sock");
        let _ = std::fs::remove_file(&path);
        let socket = UnixListener::bind(&path).expect("a socket");
        // for a runtime that runs as somebody else
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let known = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let (connection, _) = socket.accept().expect("a connection");
            let (state, listener) = receive(&connection.into());
            known.lock().unwrap().state = Some(state);
            if let Some(answers) = answers {
                serve(&listener, answers, &known);
            }
        });
        Agent { seen, thread: Some(thread) }
    }

    /// The process state that came with the listener.
    pub fn state(&self) -> Value {
        wait_for("the agent to get its listener", || self.seen.lock().unwrap().state.clone())
    }

    /// Waits for the last process of the container and returns how often each call was asked about.
    pub fn finish(mut self) -> BTreeMap<i32, u32> {
        self.thread.take().unwrap().join().expect("the agent does not fail");
        self.seen.lock().unwrap().calls.clone()
    }
}

/// The message, up to the end of the connection, and the one descriptor that comes with it.
fn receive(connection: &OwnedFd) -> (Value, OwnedFd) {
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    loop {
        let mut bytes = [0u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got =
            rustix::net::recvmsg(connection, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let len = got.expect("a message").bytes;
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(list) => fds.extend(list),
                _ => panic!("another control message than SCM_RIGHTS"),
            }
        }
        if len == 0 {
            break;
        }
        text.extend_from_slice(&bytes[..len]);
    }
    assert_eq!(fds.len(), 1, "one descriptor in all");
    (serde_json::from_slice(&text).expect("one JSON document"), fds.pop().unwrap())
}

fn serve(listener: &OwnedFd, answers: fn(i32) -> Answer, seen: &Mutex<Seen>) {
    loop {
        let mut poll = [nix::libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        // SAFETY: one pollfd that lives.
        unsafe { libc::poll(poll.as_mut_ptr(), 1, 60_000) };
        if poll[0].revents & libc::POLLIN == 0 {
            assert!(poll[0].revents & libc::POLLHUP != 0, "nothing was asked for a minute, and the container lives");
            return;
        }
        // SAFETY: zero is a value of every member.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `struct seccomp_notif`.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } < 0 {
            continue; // the caller was killed meanwhile
        }
        *seen.lock().unwrap().calls.entry(asked.data.nr).or_default() += 1;
        let (error, flags) = match answers(asked.data.nr) {
            Answer::Errno(errno) => (-errno, 0),
            Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Silence => continue,
        };
        let answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags };
        // SAFETY: the kernel reads one `struct seccomp_notif_resp`. It fails if the caller was killed meanwhile.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
}
