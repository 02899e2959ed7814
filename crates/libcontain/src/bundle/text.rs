//! From bytes to text, as Go's `encoding/json` does it: what is not Unicode becomes U+FFFD, and is no error.
//!
//! That holds inside strings; elsewhere such a character is a syntax error, for Go and for the parser.

use std::borrow::Cow;

/// The document with a replacement character for each byte that is not UTF-8, and for each escaped half of a surrogate
/// pair without the other half.
pub(super) fn as_go_reads(bytes: &[u8]) -> Cow<'_, str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replaced(bytes)),
    };
    if text.contains("\\ud") || text.contains("\\uD") { Cow::Owned(paired(&text)) } else { text }
}

/// One per byte: `String::from_utf8_lossy` would give one per broken sequence.
fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Goes from one backslash to the next, so that the second of two is not taken for the begin of an escape.
fn paired(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(plain);
        let (first, second) = (unit(escape), escape.get(6..).and_then(unit));
        let (kept, len) = match (first, second) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (escape.get(..12), 12),
            (Some(0xd800..0xe000), _) => (Some("\\ufffd"), 6),
            // A backslash and what it escapes, which is one byte or not JSON.
            _ => (escape.get(..2), 2),
        };
        let Some(after) = kept.and(escape.get(len..)) else {
            out.push_str(escape);
            return out;
        };
        out.push_str(kept.unwrap_or_default());
        rest = after;
    }
    out + rest
}

/// The UTF-16 unit of `\uXXXX`.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unicode_is_replaced() {
        let table: [(&[u8], &str); 12] = [
            (b"plain", "plain"),
            ("\u{e4}".as_bytes(), "\u{e4}"),
            (b"a\xffb", "a\u{fffd}b"),
            (b"\xe2\x82", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (br"\ud83d\ude00", r"\ud83d\ude00"),
            (br"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (br"\uDE00x\n", r"\ufffdx\n"),
            (br"\\ud800", r"\\ud800"),
            (br"\\\ud800", r"\\\ufffd"),
            (br"\ud8", r"\ud8"),
            (b"\\ud800\\", "\\ufffd\\"),
        ];
        for (bytes, expected) in table {
            assert_eq!(as_go_reads(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
