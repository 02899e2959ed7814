//! Bytes are GVariant text, as an annotation has it. What is read can be sent over D-Bus: a bus drops who sends it anything
//! else, and the container's unit would not start for a reason that nobody is told.

use libcontain::plan::systemd::Value;
use libcontain::plan::systemd::gvariant::parse;

/// D-Bus's bounds.
const LONGEST_SIGNATURE: usize = 255;
const DEEPEST: usize = 64;

pub fn judge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = parse(&text);
    assert_eq!(read, parse(&text));
    match read {
        Ok(value) => {
            assert!(signature(&value, DEEPEST).len() <= LONGEST_SIGNATURE);
            // More text around it is not overlooked.
            assert!(parse(&format!("{text} 1")).is_err());
            assert_eq!(parse(&format!("\n{text}\t")), Ok(value.clone()));
            // No text is deep enough to reach the bound and still a value in a variant.
            if let Ok(inside) = parse(&format!("<{text}>")) {
                assert_eq!(inside, Value::Variant(Box::new(value)));
            }
        }
        Err(fault) => assert!(text.is_char_boundary(fault.offset) && !fault.text.is_empty(), "{fault:?}"),
    }
}

/// The type of a value that D-Bus carries.
fn signature(value: &Value, depth: usize) -> String {
    let depth = depth.checked_sub(1).expect("not that deep");
    match value {
        Value::Bool(_) => "b".to_owned(),
        Value::Byte(_) => "y".to_owned(),
        Value::I16(_) => "n".to_owned(),
        Value::U16(_) => "q".to_owned(),
        Value::I32(_) => "i".to_owned(),
        Value::U32(_) => "u".to_owned(),
        Value::I64(_) => "x".to_owned(),
        Value::U64(_) => "t".to_owned(),
        Value::Double(_) => "d".to_owned(),
        Value::Text(text) => {
            assert!(!text.contains('\0'));
            "s".to_owned()
        }
        Value::Path(path) => {
            assert!(path.starts_with('/') && !path.contains("//") && (path == "/" || !path.ends_with('/')), "{path}");
            "o".to_owned()
        }
        Value::Signature(text) => {
            assert!(text.len() <= LONGEST_SIGNATURE && text.bytes().all(|b| b"abynqiuxtdsogv(){}".contains(&b)));
            "g".to_owned()
        }
        Value::Array(of, items) => {
            items.iter().for_each(|item| assert_eq!(&signature(item, depth), of));
            assert!(!of.is_empty());
            format!("a{of}")
        }
        Value::Struct(items) => {
            assert!(!items.is_empty());
            format!("({})", items.iter().map(|item| signature(item, depth)).collect::<String>())
        }
        Value::Entry(entry) => {
            let key = signature(&entry.0, depth);
            assert!(key.len() == 1 && key != "v");
            format!("{{{key}{}}}", signature(&entry.1, depth))
        }
        Value::Variant(inner) => {
            assert!(signature(inner, depth).len() <= LONGEST_SIGNATURE);
            "v".to_owned()
        }
    }
}
