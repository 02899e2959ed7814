//! Moves network devices into a container's network namespace, and back if the container cannot be made.
//!
//! Done by the parent while init waits at `Gate::Network`, before any hook. Crash-only needs nothing here: if `create` is
//! killed, init dies and with it a namespace that was made for it; the kernel then gives physical devices back to the
//! initial namespace and deletes virtual ones. So does it at the container's end (config-linux.md#network-devices). A
//! namespace that was joined by path keeps what was moved. [`Transfer`] holds a socket in the container's namespace, which
//! keeps that alive until everything is back, even when init is dead.

mod message;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::LinkNameSpaceType;

use self::message::{Address, Link, Reply, Request, UP, flag, ifla, kind};
use crate::error::{At, Error, errno_text};
use crate::plan::NetDevice;

const AT: At = At::field("linux.netDevices");

/// More than any reply in one piece: the kernel makes its dumps in pieces of at most 32 KiB.
const REPLY: usize = 64 * 1024;

/// How often a dump is asked for again because something has changed meanwhile.
const PATIENCE: u32 = 10;

type Result<T> = std::result::Result<T, Error>;
type Os<T> = rustix::io::Result<T>;

/// Devices on their way, and what they were.
#[derive(Debug)]
pub(crate) struct Transfer {
    host: Side,
    container: Side,
    devices: Vec<Device>,
}

/// A network namespace, and a socket in it.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    socket: OwnedFd,
    sequence: u32,
}

/// A device as it was.
#[derive(Debug)]
struct Device {
    was: Link,
    addresses: Vec<Address>,
    /// Its index in the container, from the moment when it is moved.
    there: Option<u32>,
}

impl Transfer {
    /// Between the calling thread's network namespace and that of the process `pid`.
    pub fn open(pid: u32) -> Result<Transfer> {
        let host = Side::own().map_err(|errno| failed("opening the runtime's network namespace", errno))?;
        let container = Side::of(pid).map_err(|errno| failed("opening the container's network namespace", errno))?;
        Ok(Transfer { host, container, devices: Vec::new() })
    }

    /// Moves a device and sets it up. What has been done when this fails is undone by [`Transfer::give_back`].
    pub fn take(&mut self, wanted: &NetDevice) -> Result<()> {
        let NetDevice { name, target } = wanted;
        let fail = |what: &str, errno| failed(format_args!("network device {name:?}: {what}"), errno);
        let was = self.host.link_named(name);
        let was =
            was.map_err(|e| failed(format_args!("link not found for interface {name} on runtime namespace"), e))?;
        let here = was.index;
        let addresses = self.host.addresses(here).map_err(|e| fail("fail to get ip addresses", e))?;
        let others = self.container.links().map_err(|e| fail("listing the container's devices", e))?;
        if others.iter().any(|other| other.name == *target) {
            return Err(fail(
                &format!("the name {target:?} is taken in the container's network namespace"),
                Errno::EXIST,
            ));
        }
        let there = free_index(here, &others);
        self.devices.push(Device { was, addresses, there: None });
        self.host.set_up(here, false).map_err(|e| fail("fail to set link down", e))?;
        let Some(device) = self.devices.last_mut() else { return Ok(()) };
        device.there = Some(there);
        let moved = self.host.give(here, &self.container.namespace, target, there);
        moved.map_err(|e| fail(&format!("fail to move it to the container's network namespace as {target:?}"), e))?;
        for address in device.addresses.iter().filter(|address| address.goes_along()) {
            let added = self.container.ask(address.request(there, device.was.name == *target));
            added.map_err(|e| fail("fail to set up its addresses in the container", e))?;
        }
        self.container.set_up(there, true).map_err(|e| fail("fail to set link up", e))
    }

    /// Undoes [`Transfer::take`], the last first. Returns what could not be undone.
    pub fn give_back(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        for device in std::mem::take(&mut self.devices).iter().rev() {
            if let Err((what, errno)) = self.give_one_back(device) {
                let (name, errno) = (&device.was.name, errno_text(errno.raw_os_error()));
                failures.push(format!("network device {name:?} could not be given back: {what}: {errno}"));
            }
        }
        failures
    }

    fn give_one_back(&mut self, device: &Device) -> std::result::Result<(), (&'static str, Errno)> {
        let was = &device.was;
        let Transfer { host, container, .. } = self;
        // A move that was refused because of the name may have been half done: moved, and not renamed.
        let is_here = host.link(was.index).is_ok_and(|link| link.name == was.name);
        if let Some(there) = device.there.filter(|_| !is_here) {
            container.give(there, &host.namespace, &was.name, was.index).map_err(|e| ("moving", e))?;
        }
        for address in device.addresses.iter().filter(|address| !address.is_temporary()) {
            match host.ask(address.request(was.index, true)) {
                Err(Errno::EXIST) => {} // never left, or made by the kernel
                result => result.map(drop).map_err(|e| ("adding an address", e))?,
            }
        }
        if let Some(master) = was.master {
            let joined = host.ask(Request::change(was.index, 0, 0).with(ifla::MASTER, &master.to_ne_bytes()));
            joined.map_err(|e| ("joining its bridge", e))?;
        }
        if was.up { host.set_up(was.index, true).map_err(|e| ("setting it up", e)) } else { Ok(()) }
    }
}

fn failed(what: impl std::fmt::Display, errno: Errno) -> Error {
    Error::os(format_args!("{AT}: {what}"), errno).with_at(AT)
}

/// The index of a device after its move, chosen here so that it is known: a name may be a template. Its old one, which
/// the kernel prefers as well, or the next that is free.
fn free_index(wanted: u32, others: &[Link]) -> u32 {
    let taken = others.iter().any(|other| other.index == wanted);
    let last = others.iter().map(|other| other.index).max().unwrap_or(0);
    if taken { last + 1 } else { wanted }
}

impl Side {
    fn own() -> Os<Side> {
        // Not /proc/self: namespaces belong to threads, and init was cloned by this one.
        let namespace = open("/proc/thread-self/ns/net")?;
        Ok(Side { namespace, socket: socket()?, sequence: 0 })
    }

    fn of(pid: u32) -> Os<Side> {
        let namespace = open(&format!("/proc/{pid}/ns/net"))?;
        let socket = socket_in(namespace.as_fd())?;
        Ok(Side { namespace, socket, sequence: 0 })
    }

    fn link_named(&mut self, name: &str) -> Os<Link> {
        self.one_link(Request::link(kind::GET_LINK, flag::ACK, 0).named(name))
    }

    fn link(&mut self, index: u32) -> Os<Link> {
        self.one_link(Request::link(kind::GET_LINK, flag::ACK, index))
    }

    fn one_link(&mut self, request: Request) -> Os<Link> {
        self.collect(&request, Link::parse)?.into_iter().next().ok_or(Errno::NODEV)
    }

    fn links(&mut self) -> Os<Vec<Link>> {
        self.collect(&Request::link(kind::GET_LINK, flag::DUMP, 0), Link::parse)
    }

    /// In the order in which they have to be given to come to the same order again, which decides between them as source
    /// addresses: the kernel puts a new IPv6 address before the others.
    fn addresses(&mut self, index: u32) -> Os<Vec<Address>> {
        let mut all = self.collect(&Request::addresses(), Address::parse)?;
        all.retain(|address| address.index == index);
        let (mut ordered, newest_first): (Vec<_>, Vec<_>) = all.into_iter().partition(|address| !address.is_ipv6());
        ordered.extend(newest_first.into_iter().rev());
        Ok(ordered)
    }

    fn set_up(&mut self, index: u32, up: bool) -> Os<()> {
        self.ask(Request::change(index, if up { UP } else { 0 }, UP)).map(drop)
    }

    /// Move and new name in one request, so that it is never seen under its old name in there.
    fn give(&mut self, index: u32, to: &OwnedFd, name: &str, there: u32) -> Os<()> {
        let request = Request::link(kind::NEW_LINK, flag::ACK, index).named(name);
        let request = request.with(ifla::NET_NS_FD, &to.as_raw_fd().to_ne_bytes());
        self.ask(request.with(ifla::NEW_IFINDEX, &there.to_ne_bytes())).map(drop)
    }

    /// Every reply that `parse` understands; again, if something has changed while they were put together.
    fn collect<T>(&mut self, request: &Request, parse: fn(&Reply<'_>) -> Option<T>) -> Os<Vec<T>> {
        for _ in 0..PATIENCE {
            let mut found = Vec::new();
            let mut interrupted = false;
            self.each(request.clone(), |reply| {
                interrupted |= reply.flags & flag::DUMP_INTERRUPTED != 0;
                found.extend(parse(&reply));
            })?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(Errno::AGAIN)
    }

    fn ask(&mut self, request: Request) -> Os<()> {
        self.each(request, |_| {})
    }

    /// Sends a request and hands over what comes until the kernel says that it is done.
    fn each(&mut self, request: Request, mut see: impl FnMut(Reply<'_>)) -> Os<()> {
        self.sequence += 1;
        rustix::net::send(&self.socket, &request.numbered(self.sequence), SendFlags::empty())?;
        let mut buffer = vec![0; REPLY];
        loop {
            let length = receive(&self.socket, &mut buffer)?;
            let datagram = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            for reply in message::replies(datagram).filter(|reply| reply.sequence == self.sequence) {
                match reply.kind {
                    kind::DONE => return Ok(()),
                    kind::ERROR if reply.errno() == 0 => return Ok(()),
                    kind::ERROR => return Err(Errno::from_raw_os_error(reply.errno())),
                    _ => see(reply),
                }
            }
        }
    }
}

/// The length of the next datagram of the kernel's. Who has privilege in the container's network namespace, if it was
/// joined, may send to our port as well.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Os<usize> {
    loop {
        match rustix::net::recvfrom(socket, &mut *buffer, RecvFlags::TRUNC) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok((_, length, from)) => {
                let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                if from.is_some_and(|from| from.pid() == 0) {
                    return Ok(length);
                }
            }
        }
    }
}

fn open(path: &str) -> Os<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn socket() -> Os<OwnedFd> {
    let route = None; // NETLINK_ROUTE is 0
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, route)
}

/// A socket belongs to the namespace of the thread that makes it. A thread of its own, so that the caller's stays where
/// it is.
fn socket_in(namespace: BorrowedFd<'_>) -> Os<OwnedFd> {
    let make = || {
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        socket()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, make);
        let thread = thread.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::AGAIN))?;
        thread.join().unwrap_or(Err(Errno::IO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_its_index_if_it_can() {
        let link = |index| Link { index, name: "x".into(), up: false, master: None };
        assert_eq!(free_index(4, &[link(1), link(7)]), 4);
        assert_eq!(free_index(7, &[link(1), link(7), link(9)]), 10);
        assert_eq!(free_index(2, &[]), 2);
    }
}
