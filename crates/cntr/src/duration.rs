//! Go's notation of durations: `5s`, `100ms`, `1h2m3.5s`.

/// Nanoseconds per unit. The micro sign and the Greek letter look the same.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds. `None`: it is no duration, or one that Go has no number for.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum: i128 = 0;
    loop {
        let part;
        (part, rest) = quantity(rest)?;
        sum = sum.checked_add(part)?;
        if rest.is_empty() {
            return i64::try_from(if negative { -sum } else { sum }).ok();
        }
    }
}

/// A number with its unit from the beginning of `text`, and what follows.
fn quantity(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    let (unit, rest) = rest.split_at(rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len()));
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digit by digit; what is below a nanosecond is cut off.
    let (mut part, mut share) = (i128::from(*unit) * 10_i128.pow(15), 0);
    for digit in fraction.bytes() {
        part /= 10;
        share += part * i128::from(digit - b'0');
    }
    share /= 10_i128.pow(15);
    let whole = i128::from(whole).checked_mul(i128::from(*unit))?;
    Some((whole.checked_add(share)?, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go's `time.ParseDuration` says of each.
    #[test]
    fn as_go_reads_them() {
        const S: i64 = 1_000_000_000;
        for (text, expected) in [
            ("5s", Some(5 * S)),
            ("100ms", Some(S / 10)),
            ("1h2m3.5s", Some(3723 * S + S / 2)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0s", Some(0)),
            ("-1.5h", Some(-5400 * S)),
            ("+2us", Some(2000)),
            ("2µs", Some(2000)),
            ("2μs", Some(2000)),
            (".5s", Some(S / 2)),
            ("1.s", Some(S)),
            ("1s1s", Some(2 * S)),
            ("0.3333333333333333333333333333h", Some(1_199_999_999_999)),
            ("1.9ns", Some(1)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("9223372036854775808ns", None),
            ("3000000h", None),
            ("99999999999999999999s", None),
            ("", None),
            ("5", None),
            ("-", None),
            ("s", None),
            (".s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("1 s", None),
            ("1S", None),
            ("--1s", None),
            ("1s ", None),
            ("1smin", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
