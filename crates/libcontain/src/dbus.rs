//! A conversation over D-Bus: one connection, one deadline for all of it.
//!
//! Owns addresses, the way in (SASL EXTERNAL, `Hello`), who is meant by which reply, and the waiting. The bytes are `wire`'s;
//! what is asked is `systemd.rs`'s.
//!
//! Invariants: nothing here waits longer than the deadline, whatever the other side does or fails to do, and an error says
//! what was being waited for. Nothing that another client of the bus sends us counts for anything: a reply has to carry a
//! serial of ours, which the bus sees to, and a signal the name of whoever has replied.
//!
//! Must not enter: threads, retries, the environment, and descriptors that are passed: none are agreed upon, and the kernel
//! drops what is sent all the same.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::errno_text;
use wire::{Call, Kind, Message};

pub(crate) mod wire;

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";
/// What a client says before any message. No user is named: the bus knows from the socket who we are, and in a user namespace
/// it is another number that it knows us by.
const GREETING: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// The longest line of the authentication that is read.
const LINE: usize = 16384;

/// Why a conversation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The answer is an error.
    Refused { name: String, text: String },
    /// There is no answer: the deadline has passed.
    Late { awaited: String, limit: Duration },
    /// The connection cannot be made or is lost: what was done, and why it failed.
    Lost { what: String, why: String },
}

impl Failure {
    fn lost(what: impl Into<String>, why: impl Into<String>) -> Self {
        Failure::Lost { what: what.into(), why: why.into() }
    }

    /// Whether the answer was this error.
    pub fn is(&self, error: &str) -> bool {
        matches!(self, Failure::Refused { name, .. } if name == error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { name, text } if text.is_empty() => f.write_str(name),
            Failure::Refused { text, .. } => f.write_str(text),
            Failure::Late { awaited, limit } => write!(f, "timed out after {limit:?} waiting for {awaited}"),
            Failure::Lost { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// A moment by which everything has to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    end: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        Deadline { end: Instant::now() + limit, limit }
    }

    /// What is left of it, or the error that says what is late.
    fn left(&self, awaited: &dyn fmt::Display) -> Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        let late = || Failure::Late { awaited: awaited.to_string(), limit: self.limit };
        if left.is_zero() { Err(late()) } else { Ok(left) }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    deadline: Deadline,
    /// There is a bus in between, and not systemd at the other end.
    pub has_bus: bool,
    serial: u32,
    /// What has arrived and was not looked at yet.
    inbox: Vec<u8>,
    /// So much of what comes next belongs to a message that is too long to be ours.
    skip: usize,
    /// Replies that came before they were asked for.
    replies: Vec<Message>,
    /// Serials of calls whose replies were not taken yet.
    open: Vec<u32>,
}

impl Connection {
    /// Connects to the first address of a list that can be connected to, and introduces itself: `unix:path=/run/bus`,
    /// `unix:abstract=name`, separated by `;`. Without a bus there is nobody to be introduced to.
    ///
    /// # Errors
    /// None can; or the one that can does not let us in.
    pub fn open(addresses: &str, has_bus: bool, deadline: Deadline) -> Result<Self> {
        let mut last = Failure::lost("D-Bus", format!("{addresses:?} has no address of a UNIX socket"));
        for address in addresses.split(';').filter_map(unix_address) {
            let place = format!("D-Bus at {}", address.name);
            match address.connect(deadline, &place) {
                Ok(socket) => {
                    let (inbox, replies, open) = (Vec::new(), Vec::new(), Vec::new());
                    let mut made = Connection { socket, deadline, has_bus, serial: 0, inbox, skip: 0, replies, open };
                    made.introduce(&place)?;
                    return Ok(made);
                }
                Err(late @ Failure::Late { .. }) => return Err(late),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Whether whoever listens has a number in our pid namespace. Without one, ours mean other processes to it.
    pub fn shares_pids(&self) -> bool {
        crate::sys::peer_pid(self.socket.as_fd()) != Ok(0)
    }

    fn introduce(&mut self, place: &str) -> Result<()> {
        let awaited = format!("an answer of {place}");
        self.write(GREETING, &awaited)?;
        // First it asks for the data that we have none of, then it says OK and who it is.
        loop {
            let line = self.line(&awaited)?;
            match line.split_whitespace().next() {
                Some("DATA") => {}
                Some("OK") => break,
                _ => return Err(Failure::lost(place, format!("authentication by EXTERNAL refused: {line:?}"))),
            }
        }
        if self.has_bus {
            let call = Call {
                destination: Some(BUS),
                path: "/org/freedesktop/DBus",
                interface: BUS,
                member: "Hello",
                body: &[],
            };
            let serial = self.call(&call)?;
            self.reply(serial, &awaited)?;
        }
        Ok(())
    }

    /// A line of the authentication, without its end.
    fn line(&mut self, awaited: &str) -> Result<String> {
        loop {
            if let Some(end) = self.inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(self.inbox.get(..end).unwrap_or_default()).into_owned();
                self.inbox.drain(..end + 2);
                return Ok(line);
            }
            if self.inbox.len() > LINE {
                return Err(Failure::lost(awaited, "a line without an end"));
            }
            self.fill(&awaited)?;
        }
    }

    /// Sends a call; its reply can be taken by the number returned.
    ///
    /// # Errors
    /// It has no encoding, or the connection is lost.
    pub fn call(&mut self, call: &Call<'_>) -> Result<u32> {
        self.serial += 1;
        let broken = |e: wire::Malformed| Failure::lost(call.member, format!("cannot be encoded: {e}"));
        let bytes = wire::encode(self.serial, call).map_err(broken)?;
        self.write(&bytes, &format_args!("D-Bus to take {}", call.member))?;
        self.open.push(self.serial);
        Ok(self.serial)
    }

    /// Asks the bus for signals. A rule that is wrong is answered with an error, which nobody waits for.
    pub fn add_match(&mut self, rule: &str) -> Result<()> {
        if !self.has_bus {
            return Ok(()); // systemd sends its signals to whoever is connected
        }
        let body = [crate::plan::systemd::Value::Text(rule.to_owned())];
        let path = "/org/freedesktop/DBus";
        let serial =
            self.call(&Call { destination: Some(BUS), path, interface: BUS, member: "AddMatch", body: &body })?;
        self.forget(serial);
        Ok(())
    }

    /// The reply to a call is of no interest.
    pub fn forget(&mut self, serial: u32) {
        self.open.retain(|open| *open != serial);
    }

    /// The reply to a call.
    ///
    /// # Errors
    /// It is an error; or it does not come.
    pub fn reply(&mut self, serial: u32, awaited: &dyn fmt::Display) -> Result<Message> {
        loop {
            if let Some(at) = self.replies.iter().position(|message| message.reply_to == Some(serial)) {
                self.forget(serial);
                return as_result(self.replies.swap_remove(at));
            }
            self.next(awaited)?;
        }
    }

    /// The first signal that `find` finds something in. Signals that came before this call was made are gone.
    ///
    /// # Errors
    /// None comes.
    pub fn signal<T>(&mut self, awaited: &dyn fmt::Display, find: impl Fn(&Message) -> Option<T>) -> Result<T> {
        loop {
            if let Some(message) = self.next(awaited)?
                && let Some(found) = find(&message)
            {
                return Ok(found);
            }
        }
    }

    /// Reads the next message. A reply that somebody waits for is put aside, a signal is returned, all else is dropped, whether
    /// it can be understood or not: other clients of the bus may send us whatever they like.
    fn next(&mut self, awaited: &dyn fmt::Display) -> Result<Option<Message>> {
        let broken = |e: wire::Malformed| Failure::lost(awaited.to_string(), format!("the other side sent {e}"));
        loop {
            let skipped = self.skip.min(self.inbox.len());
            self.inbox.drain(..skipped);
            self.skip -= skipped;
            if self.skip == 0
                && let Some(length) = wire::length(&self.inbox).map_err(broken)?
            {
                if length > wire::MESSAGE {
                    self.skip = length;
                    continue;
                }
                if let Some(bytes) = self.inbox.get(..length) {
                    let decoded = wire::decode(bytes);
                    let for_us = wire::is_answer(bytes);
                    self.inbox.drain(..length);
                    match decoded {
                        Ok(message) => return Ok(self.sort(message)),
                        Err(malformed) if for_us => return Err(broken(malformed)),
                        Err(_) => continue, // a bus may pass on what is too deep for us
                    }
                }
            }
            self.fill(awaited)?;
        }
    }

    fn sort(&mut self, message: Message) -> Option<Message> {
        match message.kind {
            Kind::Signal => Some(message),
            Kind::Reply | Kind::Error => {
                if message.reply_to.is_some_and(|serial| self.open.contains(&serial)) {
                    self.replies.push(message);
                }
                None
            }
            Kind::Other => None,
        }
    }

    fn fill(&mut self, awaited: &dyn fmt::Display) -> Result<()> {
        let mut chunk = [0u8; 4096];
        self.until(PollFlags::IN, awaited)?;
        match rustix::net::recv(&self.socket, &mut chunk, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Failure::lost(awaited.to_string(), "the other side hung up")),
            Ok((count, _)) => {
                self.inbox.extend_from_slice(chunk.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => {
                Err(Failure::lost(awaited.to_string(), format!("recv: {}", errno_text(errno.raw_os_error()))))
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], awaited: &dyn fmt::Display) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.until(PollFlags::OUT, awaited)?,
                Err(errno) => {
                    let why = format!("send: {}", errno_text(errno.raw_os_error()));
                    return Err(Failure::lost(awaited.to_string(), why));
                }
            }
        }
        Ok(())
    }

    fn until(&self, events: PollFlags, awaited: &dyn fmt::Display) -> Result<()> {
        loop {
            let left = self.deadline.left(awaited)?;
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.socket, events)], Some(&left)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => {
                    return Err(Failure::lost(
                        awaited.to_string(),
                        format!("poll: {}", errno_text(errno.raw_os_error())),
                    ));
                }
            }
        }
    }
}

fn as_result(message: Message) -> Result<Message> {
    if message.kind != Kind::Error {
        return Ok(message);
    }
    let text = match message.body.into_iter().next() {
        Some(crate::plan::systemd::Value::Text(text)) => text,
        _ => String::new(),
    };
    Err(Failure::Refused { name: message.error, text })
}

/// An address that can be connected to.
struct Address {
    /// As it is told to the user.
    name: String,
    is_abstract: bool,
    bytes: Vec<u8>,
}

impl Address {
    fn connect(&self, deadline: Deadline, place: &str) -> Result<OwnedFd> {
        let os =
            |call: &str, errno: Errno| Failure::lost(place, format!("{call}: {}", errno_text(errno.raw_os_error())));
        let address = match self.is_abstract {
            true => SocketAddrUnix::new_abstract_name(&self.bytes),
            false => SocketAddrUnix::new(self.bytes.as_slice()),
        };
        let address = address.map_err(|e| os("connect", e))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.map_err(|e| os("socket", e))?;
        // A bus that has stopped takes no connections once its queue is full. There is nothing to poll for then, but
        // connect(2) waits as long as send(2) may.
        let awaited = format!("{place} to take a connection");
        loop {
            let left = deadline.left(&awaited)?.max(Duration::from_millis(1));
            set_socket_timeout(&socket, Timeout::Send, Some(left)).map_err(|e| os("setsockopt", e))?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => return Ok(socket),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(os("connect", errno)),
            }
        }
    }
}

/// One address of a list, if it is of a UNIX socket: `unix:path=/run/user/1000/bus,guid=...`.
fn unix_address(address: &str) -> Option<Address> {
    let pairs = address.trim().strip_prefix("unix:")?;
    pairs.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let is_abstract = match key {
            "path" => false,
            "abstract" => true,
            _ => return None,
        };
        let bytes = unescape(value)?;
        Some(Address { name: format!("unix:{key}={value}"), is_abstract, bytes }).filter(|a| !a.bytes.is_empty())
    })
}

/// `%2f` is a slash. `None`: an escape that is none, or a NUL, which no path has.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(bytes).filter(|bytes| !bytes.contains(&0))
}

/// The D-Bus address of a socket in the file system, for [`Runtime::with_bus_address`](crate::Runtime::with_bus_address).
#[must_use]
pub fn address_of(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_/.\\*".contains(b);
    let escape = |b: &u8| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02x}") };
    format!("unix:path={}", path.as_os_str().as_bytes().iter().map(escape).collect::<String>())
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
