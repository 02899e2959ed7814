//! JSON as Go's `encoding/json` writes it, byte for byte: callers compare and grep.
//!
//! Member order is that of the serialised struct; maps are `BTreeMap`s and therefore sorted.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

/// On one line, without a newline at its end.
pub fn compact(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(html_safe(&serde_json::to_string(value)?))
}

/// One member per line, without a newline at its end.
pub fn pretty(value: &impl Serialize, indent: &str) -> anyhow::Result<String> {
    let mut out = Vec::new();
    let format = PrettyFormatter::with_indent(indent.as_bytes());
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, format))?;
    Ok(html_safe(&String::from_utf8(out)?))
}

/// Go escapes what could end a `<script>` element. None of these characters can stand outside of a string in JSON,
/// so the finished text can be searched.
fn html_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn go_escapes() {
        let text = compact(&"<a> & \u{2028}\u{2029} \"ü\" \n\u{1}").unwrap();
        assert_eq!(text, "\"\\u003ca\\u003e \\u0026 \\u2028\\u2029 \\\"ü\\\" \\n\\u0001\"");
    }

    #[test]
    fn go_indentation() {
        let value = BTreeMap::from([("b", vec![1]), ("a", vec![])]);
        assert_eq!(pretty(&value, "\t").unwrap(), "{\n\t\"a\": [],\n\t\"b\": [\n\t\t1\n\t]\n}");
    }
}
