use std::time::{Duration, Instant};

use super::fake::{Fake, Peer};
use super::*;
use crate::plan::systemd::Value;

fn open(address: &str, milliseconds: u64) -> Result<Connection> {
    Connection::open(address, true, Deadline::after(Duration::from_millis(milliseconds)))
}

/// What a client that calls `Ping` gets of such a bus.
fn ping(serve: impl Fn(Peer) + Send + 'static) -> Result<Message> {
    let fake = Fake::start(serve, 1);
    let start = Instant::now();
    let result = open(&fake.address(), 300).and_then(|mut bus| {
        let call = Call { destination: Some("a.b"), path: "/", interface: "a.b", member: "Ping", body: &[] };
        let serial = bus.call(&call)?;
        bus.reply(serial, &"the answer to Ping")
    });
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(fake);
    result
}

fn lost(what: &str, why: &str) -> Result<Message> {
    Err(Failure::lost(what, why))
}

#[test]
fn an_answer_comes_through_whatever_comes_between() {
    let reply = ping(|mut peer| {
        peer.welcome();
        let asked = peer.call_of("Ping");
        peer.job_removed(":1.66", "/somebody/elses", "done");
        peer.reply(asked.serial + 7, &[Value::U32(666)]);
        peer.say(&wire::encode_any(9, 3, vec![], &[]).unwrap()); // a type of the future
        let call = Call { destination: None, path: "/", interface: "a.b", member: "Pong", body: &[] };
        peer.say(&wire::encode(1, &call).unwrap());
        // Half a megabyte of somebody who does not like us.
        peer.say(&wire::encode_any(4, 9, vec![], &[Value::Text("x".repeat(500_000))]).unwrap());
        // A signal that the specification allows, and that we do not look into so deeply.
        let mut deep = wire::encode_any(4, 9, vec![(8, Value::Signature("v".into()))], &[]).unwrap();
        let body = [b"\x01v\0".repeat(40), b"\x01y\0\x01".to_vec()].concat();
        deep[4..8].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        peer.say(&[deep, body].concat());
        // And the answer byte by byte.
        let bytes = wire::encode_any(2, 9, vec![(5, Value::U32(asked.serial))], &[Value::U32(4)]).unwrap();
        for byte in bytes {
            peer.say(&[byte]);
        }
        peer.call();
    });
    assert_eq!(reply.unwrap().body, [Value::U32(4)]);
}

#[test]
fn an_error_is_told_with_its_name() {
    let refused = ping(|mut peer| {
        peer.welcome();
        let asked = peer.call_of("Ping");
        peer.refuse(asked.serial, "org.example.No", "no such thing");
        peer.call();
    });
    let failure = refused.unwrap_err();
    assert!(failure.is("org.example.No") && !failure.is("no such thing"));
    assert_eq!(failure.to_string(), "no such thing");
}

#[test]
fn whoever_says_nothing_is_waited_for_no_longer_than_that() {
    let limit = Duration::from_millis(300);
    for (awaited, silent) in [
        ("an answer of D-Bus at", (|mut peer: Peer| peer.stay()) as fn(Peer)),
        ("an answer of D-Bus at", |mut peer| {
            peer.hear_greeting();
            peer.say(b"DATA\r\nO");
            peer.stay();
        }),
        ("the answer to Ping", |mut peer| {
            peer.welcome();
            while peer.call().is_some() {}
        }),
        ("the answer to Ping", |mut peer| {
            peer.welcome();
            while peer.call().is_some() {
                peer.say(b"l\x02\x01\x01\x00\x00"); // begins a message
            }
        }),
    ] {
        let Err(Failure::Late { awaited: told, limit: after }) = ping(silent) else { panic!("{awaited}") };
        assert!(told.starts_with(awaited), "{told}");
        assert_eq!(after, limit);
    }
}

#[test]
fn one_that_hangs_up_or_raves_is_told_of() {
    for (result, serve) in [
        (
            lost("the answer to Ping", "the other side hung up"),
            (|mut peer: Peer| {
                peer.welcome();
                peer.call();
            }) as fn(Peer),
        ),
        (lost("the answer to Ping", "the other side hung up"), |mut peer| {
            peer.welcome();
            let asked = peer.call().unwrap();
            let bytes = wire::encode_any(2, 9, vec![(5, Value::U32(asked.serial))], &[Value::U32(4)]).unwrap();
            peer.say(&bytes[..bytes.len() - 1]);
        }),
        (lost("the answer to Ping", "the other side sent not a message of version 1"), |mut peer| {
            peer.welcome();
            peer.say(&[0xaa; 100]);
            peer.call();
            peer.call();
        }),
        (lost("the answer to Ping", "the other side sent a message longer than 128 MiB"), |mut peer| {
            peer.welcome();
            peer.say(b"l\x02\x01\x01\xff\xff\xff\xff\x01\0\0\0\0\0\0\0");
            peer.call();
            peer.call();
        }),
    ] {
        assert_eq!(ping(serve), result);
    }
    let refused = ping(|mut peer| {
        peer.hear_greeting();
        peer.say(b"REJECTED EXTERNAL\r\n");
        peer.call();
    });
    let text = refused.unwrap_err().to_string();
    assert!(
        text.starts_with("D-Bus at unix:path=/")
            && text.ends_with("authentication by EXTERNAL refused: \"REJECTED EXTERNAL\""),
        "{text}"
    );
    let endless = ping(|mut peer| {
        peer.hear_greeting();
        for _ in 0..100 {
            peer.say(&[b'x'; 1000]);
        }
        peer.call();
    });
    assert!(endless.unwrap_err().to_string().ends_with("a line without an end"));
}

#[test]
fn the_first_address_with_somebody_behind_it_is_taken() {
    let fake = Fake::start(|mut peer| peer.welcome(), 1);
    let addresses =
        format!("tcp:host=localhost;unix:path=/no/such%20socket;unix:abstract=cntr-nobody;{},guid=1", fake.address());
    open(&addresses, 5000).unwrap();
    fake.finish();
    let told = |addresses: &str| open(addresses, 5000).unwrap_err().to_string();
    assert_eq!(
        told("unix:path=/no/such%20socket"),
        "D-Bus at unix:path=/no/such%20socket: connect: no such file or directory"
    );
    assert_eq!(told("unix:abstract=cntr-nobody"), "D-Bus at unix:abstract=cntr-nobody: connect: connection refused");
    assert_eq!(told("tcp:host=x"), "D-Bus: \"tcp:host=x\" has no address of a UNIX socket");
    assert!(told(&format!("unix:path=/{}", "x".repeat(200))).ends_with("connect: file name too long"));
}

/// The queue of the socket is full: connect(2) itself has to be given up.
#[test]
fn a_bus_that_takes_no_connections_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let address = SocketAddrUnix::new(dir.path().join("bus")).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let text = address_of(&dir.path().join("bus"));
    let failures: Vec<Failure> = (0..3).map(|_| open(&text, 200).unwrap_err()).collect();
    let told = failures.last().unwrap().to_string();
    assert!(told.ends_with(" to take a connection"), "{told}");
}

#[test]
fn addresses_are_unescaped() {
    for (address, bytes) in [
        ("unix:path=/run/user/1000/bus", Some(&b"/run/user/1000/bus"[..])),
        ("unix:guid=00,path=/a%2Fb%3b", Some(b"/a/b;")),
        ("unix:abstract=/tmp/dbus-x,guid=1", Some(b"/tmp/dbus-x")),
        ("unix:path=/a%2", None),
        ("unix:path=/a%zz", None),
        ("unix:path=/a%00b", None),
        ("unix:path=", None),
        ("unix:tmpdir=/tmp", None),
        ("unixexec:path=/bin/sh", None),
    ] {
        assert_eq!(unix_address(address).map(|a| a.bytes).as_deref(), bytes, "{address}");
    }
    let path = std::path::Path::new("/tmp/a b;c,d=e%f");
    assert_eq!(unix_address(&address_of(path)).unwrap().bytes, b"/tmp/a b;c,d=e%f");
}
