use proptest::prelude::*;

use super::*;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn call(body: &[Value]) -> Vec<u8> {
    let destination = Some("org.freedesktop.systemd1");
    let path = "/org/freedesktop/systemd1";
    encode(7, &Call { destination, path, interface: MANAGER, member: "StopUnit", body }).unwrap()
}

/// A reply with this body, written by hand as a bus writes it.
fn reply(signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = Writer(vec![b'l', 2, 1, 1]);
    fields.u32(u32::try_from(body.len()).unwrap());
    fields.u32(99);
    let variant = |value| Value::Variant(Box::new(value));
    let field = |code, value| Value::Struct(vec![Value::Byte(code), variant(value)]);
    let list = vec![
        field(5, Value::U32(7)),
        field(7, text(":1.1")),
        field(8, Value::Signature(signature.to_owned())),
        field(200, text("of the future")),
    ];
    fields.value(&Value::Array("(yv)".into(), list), DEPTH).unwrap();
    fields.align(8);
    fields.0.extend_from_slice(body);
    fields.0
}

/// The bytes that `busctl` sent for `GetUnit s a.scope` from a little-endian machine, counted by hand.
#[test]
fn a_call_is_these_bytes() {
    let path = "/a";
    let bytes =
        encode(1, &Call { destination: None, path, interface: "b.c", member: "D", body: &[text("xy")] }).unwrap();
    let expected: Vec<u8> = [
        &b"l\x01\x00\x01"[..],
        &[7, 0, 0, 0],
        &[1, 0, 0, 0],
        &[55, 0, 0, 0],
        b"\x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00",
        b"\x02\x01s\x00\x03\x00\x00\x00b.c\x00\x00\x00\x00\x00",
        b"\x03\x01s\x00\x01\x00\x00\x00D\x00\x00\x00\x00\x00\x00\x00",
        b"\x08\x01g\x00\x01s\x00\x00",
        b"\x02\x00\x00\x00xy\x00",
    ]
    .concat();
    assert_eq!(bytes, expected, "{bytes:?}");
}

#[test]
fn values_go_out_with_their_boundaries() {
    for (value, signature, bytes) in [
        (Value::Bool(true), "b", vec![1, 0, 0, 0]),
        (Value::U64(1), "t", vec![1, 0, 0, 0, 0, 0, 0, 0]),
        (Value::I16(-2), "n", vec![0xfe, 0xff]),
        (Value::Array("t".into(), vec![]), "at", vec![0; 8]),
        (Value::Array("y".into(), vec![Value::Byte(9)]), "ay", vec![1, 0, 0, 0, 9]),
        (Value::Array("u".into(), vec![Value::U32(5)]), "au", vec![4, 0, 0, 0, 5, 0, 0, 0]),
        (Value::Variant(Box::new(Value::U32(3))), "v", vec![1, b'u', 0, 0, 3, 0, 0, 0]),
        (
            Value::Array("(ss)".into(), vec![Value::Struct(vec![text("a"), text("")])]),
            "a(ss)",
            [&[13u8, 0, 0, 0, 0, 0, 0, 0][..], &[1, 0, 0, 0, b'a', 0, 0, 0], &[0, 0, 0, 0, 0]].concat(),
        ),
        (
            Value::Array("{su}".into(), vec![Value::Entry(Box::new((text("k"), Value::U32(1))))]),
            "a{su}",
            [&[12u8, 0, 0, 0, 0, 0, 0, 0][..], &[1, 0, 0, 0, b'k', 0, 0, 0], &[1, 0, 0, 0]].concat(),
        ),
    ] {
        assert_eq!(signature_of(&value), signature);
        let mut writer = Writer::default();
        writer.value(&value, DEPTH).unwrap();
        assert_eq!(writer.0, bytes, "{value:?}");
        let mut reader = Reader { bytes: &bytes, at: 0, big_endian: false };
        assert_eq!(reader.value(signature, DEPTH).unwrap(), value);
    }
}

#[test]
fn what_has_no_encoding_is_not_sent() {
    let nested = |n| (0..n).fold(Value::U32(1), |inner, _| Value::Variant(Box::new(inner)));
    for (value, why) in [
        (text("a\0b"), "a text with a NUL in it"),
        (Value::Path("a".into()), "an object path that is none"),
        (Value::Path("/a//b".into()), "an object path that is none"),
        (Value::Path("/a/".into()), "an object path that is none"),
        (Value::Signature("(".into()), "a signature that is none"),
        (Value::Signature("a{vs}".into()), "a signature that is none"),
        (Value::Struct(vec![]), "a struct without members"),
        (Value::Array("s".into(), vec![text("a"), Value::U32(1)]), "an array whose elements are not of its type"),
        (Value::Array("()".into(), vec![]), "an array whose elements are not of its type"),
        (Value::Array("h".into(), vec![]), "an array whose elements are not of its type"),
        (nested(40), "values nested too deeply"),
    ] {
        let call = Call { destination: None, path: "/", interface: "a.b", member: "C", body: &[value] };
        assert_eq!(encode(1, &call), Err(Malformed(why)));
    }
    assert!(
        encode(1, &Call { destination: None, path: "/", interface: "a.b", member: "C", body: &[nested(20)] }).is_ok()
    );
}

#[test]
fn a_reply_is_read_in_either_order_of_bytes() {
    let body = [&[3u8, 0, 0, 0][..], b"257\0"].concat();
    let message = decode(&reply("s", &body)).unwrap();
    assert_eq!((message.kind, message.reply_to, message.sender.as_str()), (Kind::Reply, Some(7), ":1.1"));
    assert_eq!(message.body, [text("257")]);

    let big: Vec<u8> = [
        &b"B\x04\x01\x01"[..],
        &[0, 0, 0, 5],
        &[0, 0, 0, 9],
        &[0, 0, 0, 7],
        b"\x08\x01g\x00\x01s\x00\x00",
        &[0, 0, 0, 0],
        b"\0",
    ]
    .concat();
    let message = decode(&big).unwrap();
    assert_eq!((message.kind, message.body.as_slice()), (Kind::Signal, &[text("")][..]));
}

#[test]
fn what_is_no_message_is_refused() {
    let good = reply("s", b"\x03\0\0\x00257\0");
    assert!(decode(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, why) in [
        (with(0, b'x'), "not a message of version 1"),
        (with(1, 0), "a message of no type"),
        (with(3, 2), "not a message of version 1"),
        (with(4, 200), "not a whole message"),
        (with(7, 255), "a message longer than 128 MiB"),
        (with(15, 255), "a message longer than 128 MiB"),
        (reply("s", b"\xff\xff\xff\xff257\0"), "a message that ends too early"),
        (reply("s", b"\x02\0\0\x00257\0"), "a text that does not end where it says"),
        (reply("s", b"\x03\0\0\x002\xff7\0"), "a text that is not UTF-8"),
        (reply("as", b"\xf0\0\0\x00257\0"), "an array that is longer than its message"),
        (reply("as", b"\x02\0\0\x00\0\0\0\0\0"), "an array that ends amid an element"),
        (reply("b", b"\x02\0\0\0"), "a truth value that is neither"),
        (reply("v", b"\x02ss\0\0\0\0\0"), "a variant of several values"),
        (reply("yu", b"\x01\x01\0\0\0\0\0\0"), "padding that is not zero"),
    ] {
        assert_eq!(decode(&bytes), Err(Malformed(why)), "{bytes:?}");
    }
    for cut in 0..good.len() {
        assert!(decode(&good[..cut]).is_err(), "{cut}");
    }
    assert_eq!(length(&good[..15]), Ok(None));
    assert_eq!(length(&good[..16]), Ok(Some(good.len())));
}

/// Variants in variants: as deep as bytes last, and no stack overflows.
#[test]
fn no_depth_is_followed_for_ever() {
    let body = b"\x01v\0".repeat(50_000);
    assert_eq!(decode(&reply("v", &body)), Err(Malformed("values nested too deeply")));
    let deep = "a".repeat(250) + "y";
    assert!(!is_signature(&deep));
    assert!(!is_signature(&"(".repeat(255)));
    assert!(is_signature("a(sa(sv))"));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::Double),
        "[^\0]{0,12}".prop_map(Value::Text),
        "(/[a-z_0-9]{1,4}){1,3}".prop_map(Value::Path),
        Just(Value::Signature("a{sv}".into())),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            inner.clone().prop_map(|value| Value::Variant(Box::new(value))),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            (inner.clone(), 0usize..4).prop_map(|(value, n)| Value::Array(signature_of(&value), vec![value; n])),
            (any::<u16>(), inner).prop_map(|(key, value)| {
                let entry = Value::Entry(Box::new((Value::U16(key), value)));
                Value::Array(signature_of(&entry), vec![entry])
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(body in proptest::collection::vec(values(), 0..4)) {
        let mut bytes = call(&body);
        prop_assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        bytes[1] = 2;
        let message = decode(&bytes).unwrap();
        prop_assert_eq!(message.body, body);
        prop_assert_eq!((message.interface.as_str(), message.member.as_str()), (MANAGER, "StopUnit"));
    }

    #[test]
    fn no_bytes_are_too_bad(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200, by in any::<u8>()) {
        let _ = decode(&bytes);
        let _ = length(&bytes);
        let mut nearly = reply("a{sv}", &bytes);
        let _ = decode(&nearly);
        let at = at % nearly.len();
        nearly[at] = by;
        let _ = decode(&nearly);
    }
}
