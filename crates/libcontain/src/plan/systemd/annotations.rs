//! Annotations `org.systemd.property.NAME`: any property of the unit, its value as GVariant text.
//!
//! Owns the names (`...Sec` is `...USec` on D-Bus, in microseconds) and runc's words for what is wrong.

use oci_spec::runtime::Spec;

use super::{Property, Value, gvariant};
use crate::error::{At, Problem};

const PREFIX: &str = "org.systemd.property.";

/// Elsewhere than the plan says, or with processes of others, the unit would not be the container's cgroup.
const PLANNED: [&str; 3] = ["PIDFDs", "PIDs", "Slice"];

/// The properties that the annotations ask for, sorted by name.
pub(crate) fn annotated(spec: &Spec, properties: &mut Vec<Property>, problems: &mut Vec<Problem>) {
    let mut all: Vec<_> = spec.annotations().iter().flatten().collect();
    all.sort();
    let at = At::field("annotations");
    for (key, text) in all {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        match read(name, text) {
            Ok((name, value)) => properties.push(Property { at, name, value }),
            Err(Wrong::Name(why)) => {
                problems.push(Problem::error(at, "", format!("annotation {key} name incorrect: {why}")));
            }
            Err(Wrong::Value(why)) => {
                problems.push(Problem::error(at, "", format!("annotation {key}={text} value parse error: {why}")));
            }
        }
    }
}

enum Wrong {
    Name(&'static str),
    Value(String),
}

fn read(name: &str, text: &str) -> Result<(String, Value), Wrong> {
    if name.len() < 3 {
        return Err(Wrong::Name("too short"));
    }
    if !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(Wrong::Name("contains non-alphabetic character"));
    }
    if PLANNED.contains(&name) {
        return Err(Wrong::Name("linux.cgroupsPath and the runtime decide it"));
    }
    let value = gvariant::parse(text).map_err(|e| Wrong::Value(e.to_string()))?;
    match name.strip_suffix("Sec") {
        // Not `...USec`, which is what it will be.
        Some(stem) if stem.ends_with(|c: char| c.is_ascii_lowercase()) => {
            let value = microseconds(&value).ok_or_else(|| Wrong::Value("not a number".to_owned()))?;
            Ok((format!("{stem}USec"), Value::U64(value)))
        }
        _ => Ok((name.to_owned(), value)),
    }
}

/// What is negative, or too long to be counted, is no time.
fn microseconds(seconds: &Value) -> Option<u64> {
    const MICRO: u64 = 1_000_000;
    let whole = |n: i64| u64::try_from(n).ok();
    let seconds = match *seconds {
        Value::Double(bits) => return fraction(f64::from_bits(bits)),
        Value::Byte(n) => n.into(),
        Value::U16(n) => n.into(),
        Value::U32(n) => n.into(),
        Value::U64(n) => n,
        Value::I16(n) => whole(n.into())?,
        Value::I32(n) => whole(n.into())?,
        Value::I64(n) => whole(n)?,
        _ => return None,
    };
    seconds.checked_mul(MICRO)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "judged before")]
fn fraction(seconds: f64) -> Option<u64> {
    let micro = (seconds * 1e6).trunc();
    // 2^63: far above any time, and below what u64 holds.
    (0.0..9_223_372_036_854_775_808.0).contains(&micro).then_some(micro as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str, value: &str) -> (Vec<String>, Vec<String>) {
        let mut spec = Spec::default();
        spec.set_annotations(Some([(key.to_owned(), value.to_owned())].into()));
        let (mut properties, mut problems) = (vec![], vec![]);
        annotated(&spec, &mut properties, &mut problems);
        let shown = |p: &Property| format!("{} {:?}", p.name, p.value);
        (properties.iter().map(shown).collect(), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_and_values() {
        let cases = [
            ("CollectMode", "'inactive-or-failed'", r#"CollectMode Text("inactive-or-failed")"#),
            ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec U64(5)"),
            ("TimeoutStopSec", "5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "byte 5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "int16 5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "uint16 5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "uint32 5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "int64 5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "uint64 5", "TimeoutStopUSec U64(5000000)"),
            ("TimeoutStopSec", "1.5", "TimeoutStopUSec U64(1500000)"),
            ("KillSignal", "15", "KillSignal I32(15)"),
            ("FooSEC", "5", "FooSEC I32(5)"),
            ("Sec", "5", "Sec I32(5)"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(asked(&format!("{PREFIX}{name}"), value), (vec![expected.to_owned()], vec![]), "{name}");
        }
        for other in ["org.systemd.propert.CollectMode", "org.systemd.property", "bundle"] {
            assert_eq!(asked(other, "'x'"), (vec![], vec![]));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_runcs_words() {
        let cases = [
            ("Ab", "1", "annotations: annotation org.systemd.property.Ab name incorrect: too short"),
            ("", "1", "annotations: annotation org.systemd.property. name incorrect: too short"),
            (
                "Ab1",
                "1",
                "annotations: annotation org.systemd.property.Ab1 name incorrect: contains non-alphabetic character",
            ),
            (
                "TimeoutStopSec",
                "'soon'",
                "annotations: annotation org.systemd.property.TimeoutStopSec='soon' value parse error: not a number",
            ),
            (
                "Slice",
                "'a.slice'",
                "annotations: annotation org.systemd.property.Slice name incorrect: linux.cgroupsPath and the runtime decide it",
            ),
            ("PIDs", "[uint32 1]", "annotations: annotation org.systemd.property.PIDs name incorrect: "),
            ("KillMode", "mixed", "annotations: annotation org.systemd.property.KillMode=mixed value parse error: "),
        ];
        for (name, value, expected) in cases {
            let (properties, problems) = asked(&format!("{PREFIX}{name}"), value);
            assert!(properties.is_empty() && problems.len() == 1, "{name}: {properties:?}");
            assert!(problems[0].starts_with(expected), "{problems:?}");
        }
        for time in ["-1", "int64 -5", "-0.5", "1e30", "inf", "nan", "uint64 18446744073709551615", "true", "[1]"] {
            let (_, problems) = asked(&format!("{PREFIX}TimeoutStopSec"), time);
            assert!(problems[0].ends_with("value parse error: not a number"), "{problems:?}");
        }
    }
}
