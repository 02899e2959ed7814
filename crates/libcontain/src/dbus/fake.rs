//! A bus for tests: a thread behind a socket that says what the test tells it to.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::wire::{self, Message};
use crate::plan::systemd::Value;

pub(crate) struct Fake {
    dir: tempfile::TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Takes one connection after the other and has each served.
    pub fn start(serve: impl Fn(Peer) + Send + 'static, connections: usize) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("bus")).unwrap();
        let thread = std::thread::spawn(move || {
            for _ in 0..connections {
                serve(Peer { stream: listener.accept().unwrap().0, inbox: Vec::new() });
            }
        });
        Fake { dir, thread: Some(thread) }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("bus")
    }

    pub fn address(&self) -> String {
        super::address_of(&self.path())
    }

    /// What the thread found wrong fails the test.
    pub fn finish(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(crate) struct Peer {
    pub stream: UnixStream,
    inbox: Vec<u8>,
}

/// A call that has arrived.
pub(crate) struct Asked {
    pub serial: u32,
    pub message: Message,
}

impl Peer {
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes); // whoever has gone does not hear it
    }

    /// Until the client has gone.
    pub fn stay(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// The authentication, without an answer.
    pub fn hear_greeting(&mut self) {
        let mut greeting = vec![0; super::GREETING.len()];
        self.stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, super::GREETING);
    }

    /// Lets a client in, as dbus-daemon does.
    pub fn welcome(&mut self) {
        self.hear_greeting();
        self.say(b"DATA\r\n");
        self.say(b"OK 0123456789abcdef0123456789abcdef\r\n");
        let hello = self.call().unwrap();
        assert_eq!(hello.message.member, "Hello");
        self.reply_as("org.freedesktop.DBus", hello.serial, &[Value::Text(":1.7".into())]);
    }

    /// The next call; `None`: the client has gone.
    pub fn call(&mut self) -> Option<Asked> {
        loop {
            if let Some(length) = wire::length(&self.inbox).unwrap()
                && self.inbox.len() >= length
            {
                let bytes: Vec<u8> = self.inbox.drain(..length).collect();
                let serial = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
                return Some(Asked { serial, message: wire::decode(&bytes).unwrap() });
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.inbox.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// The next call of this method; others are answered with nothing.
    pub fn call_of(&mut self, member: &str) -> Asked {
        loop {
            let asked = self.call().unwrap_or_else(|| panic!("gone before {member}"));
            if asked.message.member == member {
                return asked;
            }
            self.reply(asked.serial, &[]);
        }
    }

    pub fn reply(&mut self, serial: u32, body: &[Value]) {
        self.reply_as(":1.1", serial, body);
    }

    pub fn reply_as(&mut self, sender: &str, serial: u32, body: &[Value]) {
        let fields = vec![(5, Value::U32(serial)), (7, Value::Text(sender.into()))];
        self.say(&wire::encode_any(2, 9, fields, body).unwrap());
    }

    pub fn refuse(&mut self, serial: u32, name: &str, text: &str) {
        let fields = vec![(4, Value::Text(name.into())), (5, Value::U32(serial)), (7, Value::Text(":1.1".into()))];
        self.say(&wire::encode_any(3, 9, fields, &[Value::Text(text.into())]).unwrap());
    }

    pub fn job_removed(&mut self, sender: &str, job: &str, result: &str) {
        let fields = vec![
            (1, Value::Path("/org/freedesktop/systemd1".into())),
            (2, Value::Text("org.freedesktop.systemd1.Manager".into())),
            (3, Value::Text("JobRemoved".into())),
            (7, Value::Text(sender.into())),
        ];
        let texts = [Value::Text("u.scope".into()), Value::Text(result.into())];
        let body = [&[Value::U32(1), Value::Path(job.into())][..], &texts].concat();
        self.say(&wire::encode_any(4, 9, fields, &body).unwrap());
    }
}
