use proptest::prelude::*;

use super::*;
use crate::plan::systemd::Value;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn array(signature: &str, items: Vec<Value>) -> Value {
    Value::Array(signature.to_owned(), items)
}

fn entry(key: Value, value: Value) -> Value {
    Value::Entry(Box::new((key, value)))
}

fn double(value: f64) -> Value {
    Value::Double(value.to_bits())
}

fn read(cases: &[(&str, Value)]) {
    for (given, expected) in cases {
        assert_eq!(parse(given).as_ref(), Ok(expected), "{given}");
    }
}

fn refused(cases: &[(&str, usize, &str)]) {
    for (given, offset, says) in cases {
        let fault = parse(given).expect_err(given);
        assert!(fault.text.contains(says), "{given}: {fault}");
        assert_eq!(fault.offset, *offset, "{given}: {fault}");
    }
}

/// GLib's documentation of the format, and what engines send.
#[test]
fn every_form_of_a_value() {
    use Value::{Bool, Byte, I16, I32, I64, Path, Signature, U16, U32, U64};
    let cases = [
        ("true", Bool(true)),
        (" false ", Bool(false)),
        ("boolean true", Bool(true)),
        ("15", I32(15)),
        ("-2147483648", I32(i32::MIN)),
        ("+7", I32(7)),
        ("0x1f", I32(31)),
        ("-0X1F", I32(-31)),
        ("017", I32(15)),
        ("0", I32(0)),
        ("byte 0xff", Byte(255)),
        ("int16 -5", I16(-5)),
        ("uint16 65535", U16(65535)),
        ("int32 5", I32(5)),
        ("uint32 4294967295", U32(u32::MAX)),
        ("int64 -9223372036854775808", I64(i64::MIN)),
        ("uint64 18446744073709551615", U64(u64::MAX)),
        ("uint64 30000000", U64(30_000_000)),
        ("@t 5", U64(5)),
        ("@y 5", Byte(5)),
        ("double 5", double(5.0)),
        ("1.5", double(1.5)),
        ("-1e3", double(-1000.0)),
        ("inf", double(f64::INFINITY)),
        ("-infinity", double(f64::NEG_INFINITY)),
        ("'inactive-or-failed'", text("inactive-or-failed")),
        ("\"two \\\"words\\\"\"", text("two \"words\"")),
        (r"'\a\b\f\n\r\t\v\\\'\q'", text("\x07\x08\x0c\n\r\t\x0b\\'q")),
        (r"'\u00e9\U0001f600'", text("é😀")),
        ("'a\\\nb'", text("ab")),
        ("''", text("")),
        ("string 'x'", text("x")),
        ("objectpath '/a/b_1'", Path("/a/b_1".to_owned())),
        ("@o '/'", Path("/".to_owned())),
        ("signature 'a{sv}i'", Signature("a{sv}i".to_owned())),
        ("@g ''", Signature(String::new())),
        (r"b'a\0\101\n'", array("y", b"a\0A\n\0".map(Byte).to_vec())),
        ("b\"\"", array("y", vec![Byte(0)])),
    ];
    read(&cases);
}

#[test]
fn every_form_of_a_container() {
    use Value::{Byte, I32, Path, Struct, U64, Variant};
    let cases = [
        ("['a.target']", array("s", vec![text("a.target")])),
        ("['a', \"b\"]", array("s", vec![text("a"), text("b")])),
        ("@as []", array("s", vec![])),
        ("@as ['x']", array("s", vec![text("x")])),
        ("[1, 2]", array("i", vec![I32(1), I32(2)])),
        ("[1, uint64 2, 3]", array("t", vec![U64(1), U64(2), U64(3)])),
        ("[1, 2.5]", array("d", vec![double(1.0), double(2.5)])),
        ("['/', objectpath '/a']", array("o", vec![Path("/".to_owned()), Path("/a".to_owned())])),
        ("[@ai [], [1]]", array("ai", vec![array("i", vec![]), array("i", vec![I32(1)])])),
        ("[[], [byte 1]]", array("ay", vec![array("y", vec![]), array("y", vec![Byte(1)])])),
        ("(1, 'a')", Struct(vec![I32(1), text("a")])),
        ("(1,)", Struct(vec![I32(1)])),
        ("@(ts) (1, 'a')", Struct(vec![U64(1), text("a")])),
        ("[('/dev/null', 'rw')]", array("(ss)", vec![Struct(vec![text("/dev/null"), text("rw")])])),
        ("<5>", Variant(Box::new(I32(5)))),
        ("[<1>, <'a'>]", array("v", vec![Variant(Box::new(I32(1))), Variant(Box::new(text("a")))])),
        ("@a{sv} {}", array("{sv}", vec![])),
        ("{'a': <1>}", array("{sv}", vec![entry(text("a"), Variant(Box::new(I32(1))))])),
        ("{1: 'a', 2: 'b'}", array("{is}", vec![entry(I32(1), text("a")), entry(I32(2), text("b"))])),
        ("[{1, 'a'}, {byte 2, 'b'}]", array("{ys}", vec![entry(Byte(1), text("a")), entry(Byte(2), text("b"))])),
    ];
    read(&cases);
}

#[test]
fn what_is_no_value() {
    let cases = [
        ("", 0, "unexpected end, expected a value"),
        ("mixed", 0, "\"mixed\" is neither a number nor a keyword"),
        ("1 2", 2, "something follows the value"),
        ("'a", 2, "unterminated string"),
        ("b'a", 3, "unterminated string"),
        ("b'\\777'", 3, "expected an octal byte"),
        ("'\\u12'", 3, "expected 4 hexadecimal digits"),
        ("'\\ud800'", 3, "expected 4 hexadecimal digits"),
        ("2147483648", 0, "2147483648 is out of range for type 'i'"),
        ("uint64 -1", 7, "-1 is out of range for type 't'"),
        ("byte 256", 5, "256 is out of range"),
        ("--5", 0, "\"--5\" is neither"),
        ("0x", 0, "\"0x\" is neither"),
        ("0x-5", 0, "\"0x-5\" is neither"),
        ("08", 0, "\"08\" is neither"),
        ("1_000", 0, "\"1_000\" is neither"),
        ("True", 0, "\"True\" is neither"),
        ("uint64 'a'", 7, "this is no value of type 't'"),
        ("uint64 1.5", 7, "this is no value of type 't'"),
    ];
    refused(&cases);
}

#[test]
fn what_is_no_type() {
    let cases = [
        ("[1, 'a']", 4, "unable to find a common type"),
        ("[1, true]", 4, "unable to find a common type"),
        ("[uint64 1, byte 2]", 11, "unable to find a common type"),
        ("[uint64 1, 2.5]", 11, "unable to find a common type"),
        ("[1, -1, uint64 2]", 4, "-1 is out of range"),
        ("[]", 0, "unable to infer"),
        ("{}", 0, "unable to infer"),
        ("<[]>", 1, "unable to infer"),
        ("[1,", 3, "unexpected end, expected a value"),
        ("[1 2]", 3, "unexpected '2', expected ','"),
        ("[1,]", 3, "unexpected ']', expected a value"),
        ("()", 0, "D-Bus has no empty tuple"),
        ("(1)", 2, "unexpected ')', expected ','"),
        ("{1: 2", 5, "unexpected end, expected ','"),
        ("{1}", 2, "unexpected '}', expected ':'"),
        ("{1, 2}", 0, "an entry stands in an array"),
        ("({1, 2},)", 0, "D-Bus has no such type"),
        ("<{1, 2}>", 1, "an entry stands in an array"),
        ("{<1>: 2}", 0, "D-Bus has no such type"),
        ("just 5", 0, "D-Bus has no maybe type"),
        ("nothing", 0, "D-Bus has no maybe type"),
        ("@mi 5", 0, "\"mi\" is no type of D-Bus"),
        ("@h 5", 0, "\"h\" is no type"),
        ("@() ()", 0, "\"()\" is no type"),
        ("@a{vs} {}", 0, "\"a{vs}\" is no type"),
        ("@ii 5", 0, "\"ii\" is no type"),
        ("@ 5", 0, "\"\" is no type"),
        ("handle 3", 0, "a descriptor"),
        (r"'\u0000'", 0, "this is no value of type 's'"),
        ("objectpath 'a'", 11, "this is no value of type 'o'"),
        ("objectpath '/a/'", 11, "this is no value of type 'o'"),
        ("objectpath '/a-b'", 11, "this is no value of type 'o'"),
        ("signature 'a'", 10, "this is no value of type 'g'"),
        ("signature '(i'", 10, "this is no value of type 'g'"),
        ("é", 0, "unexpected 'é'"),
    ];
    refused(&cases);
    assert_eq!(parse("x").unwrap_err().to_string(), "\"x\" is neither a number nor a keyword at offset 0");
}

#[test]
fn the_nesting_is_bounded() {
    for (open, close) in [("[", "]"), ("<", ">"), ("(", ",)"), ("@ai ", ""), ("uint64 ", ""), ("{1: ", "}")] {
        for deep in [DEEPEST, 100_000] {
            let text = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            assert!(parse(&text).is_err(), "{deep} of {open}");
        }
    }
    let fits = format!("{}1{}", "[".repeat(DEEPEST - 1), "]".repeat(DEEPEST - 1));
    assert!(parse(&fits).is_ok());
    assert!(parse(&format!("@{}i []", "a".repeat(DEEPEST - 1))).is_ok());
    assert!(parse(&format!("@{}i []", "a".repeat(DEEPEST))).is_err());
    // An empty array in arrays has a type that is deeper than the text.
    assert!(parse(&format!("[@{}i []]", "a".repeat(DEEPEST - 1))).is_err());
    assert!(parse(&format!("@({}) ({})", "i".repeat(300), "1,".repeat(300))).is_err(), "a signature of 302 bytes");
}

/// A value as text that says all of its type.
fn printed(value: &Value) -> String {
    let quoted = |text: &str| {
        let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        format!("'{escaped}'")
    };
    let list = |items: &[Value]| items.iter().map(|item| printed(item) + ",").collect::<String>();
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Byte(n) => format!("byte {n}"),
        Value::I16(n) => format!("int16 {n}"),
        Value::U16(n) => format!("uint16 {n}"),
        Value::I32(n) => format!("int32 {n}"),
        Value::U32(n) => format!("uint32 0x{n:x}"),
        Value::I64(n) => format!("int64 {n}"),
        Value::U64(n) => format!("uint64 0{n:o}"),
        Value::Double(bits) => format!("double {:e}", f64::from_bits(*bits)),
        Value::Text(text) => format!("string {}", quoted(text)),
        Value::Path(text) => format!("objectpath {}", quoted(text)),
        Value::Signature(text) => format!("signature {}", quoted(text)),
        Value::Array(signature, items) => {
            format!("@a{signature} [{}]", list(items).trim_end_matches(','))
        }
        Value::Struct(items) => format!(
            "({})",
            if items.len() == 1 { list(items) } else { list(items)[..list(items).len() - 1].to_owned() }
        ),
        Value::Entry(entry) => format!("{{{}, {}}}", printed(&entry.0), printed(&entry.1)),
        Value::Variant(inner) => format!("<{}>", printed(inner)),
    }
}

fn values() -> impl Strategy<Value = Value> {
    let basic = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<f64>().prop_filter("a number", |n| n.is_finite()).prop_map(double),
        "[^\0]{0,8}".prop_map(Value::Text),
        "(/[a-z_0-9]{1,3}){1,3}".prop_map(Value::Path),
        "(a?[bynqiuxtdsogv]){0,5}".prop_map(Value::Signature),
    ];
    basic.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            inner.clone().prop_map(|value| Value::Variant(Box::new(value))),
            proptest::collection::vec(any::<u32>(), 0..4)
                .prop_map(|list| array("u", list.into_iter().map(Value::U32).collect())),
            proptest::collection::vec(("[a-z]{1,3}", inner), 0..3).prop_map(|list| {
                let pair = |(key, value)| entry(text(key), Value::Variant(Box::new(value)));
                array("{sv}", list.iter().map(|(key, value)| pair((key.as_str(), value.clone()))).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(value in values()) {
        prop_assert_eq!(parse(&printed(&value)), Ok(value));
    }

    #[test]
    fn any_text_is_a_value_or_a_fault_inside_it(text in r#"([\[\](){}<>,:@'" a-z0-9.\\-]|true|uint64 |@as ){0,20}"#) {
        if let Err(fault) = parse(&text) {
            prop_assert!(fault.offset <= text.len() && text.is_char_boundary(fault.offset), "{}: {}", text, fault);
        }
    }
}
