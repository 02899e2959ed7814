//! Go's zero values: what stands for `null`, and for members that the derived types do not do without.

use super::json::{Place, Step, spoken};
use super::repeat;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;
use std::fmt;

/// Go's zero value for members whose absence the derived types refuse, or take for something else: (type, member,
/// value). Where nothing sensible comes of it, such as an empty `cwd`, the checks say so, together with whatever
/// else they find. `pids.limit` is a pointer in Go: without a value there is no limit.
pub(super) const ABSENT: &[(&str, &str, &str)] = &[
    ("Hook", "path", "\"\""),
    ("LinuxIOPriority", "class", "\"\""),
    ("LinuxMemoryPolicy", "mode", "\"\""),
    ("LinuxPersonality", "domain", "\"\""),
    ("LinuxPids", "limit", "-1"),
    ("LinuxSeccompArg", "index", "0"),
    ("LinuxSeccompArg", "value", "0"),
    ("Mount", "destination", "\"\""),
    ("Process", "cwd", "\"\""),
    ("Process", "user", "{}"),
    ("Scheduler", "policy", "\"\""),
];

/// The one member that is demanded of a seccomp profile.
pub(super) const SECCOMP: &str = "linux.seccomp.defaultAction";

/// The document without its seccomp profile, if that is Go's zero value: no default action and no calls. runc takes it
/// for no profile at all.
pub(super) fn without_empty_seccomp(text: &str) -> Option<String> {
    // Merged, because the parser would keep the last of two members only; names are in lower case then.
    let mut document: Value = serde_json::from_str(&repeat::merge(text).ok()?).ok()?;
    let linux = document.get_mut("linux")?.as_object_mut()?;
    let profile = linux.get("seccomp")?;
    let is_zero = |name| match profile.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    if !(is_zero("defaultaction") && is_zero("syscalls")) {
        return None;
    }
    linux.remove("seccomp");
    Some(document.to_string())
}

/// What a JSON value has to be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl Kind {
    /// A value of this kind; what stands for `null` depends on the member.
    pub fn or_null<V>(self, place: &Place<'_>, visitor: V) -> Nullable<V> {
        let own = |name| ABSENT.iter().find(|(owner, field, _)| *owner == place.owner && *field == name);
        let zero = match place.step {
            Step::Member(name) => own(name).map(|(.., value)| *value),
            _ => None,
        };
        Nullable { kind: self, zero: zero.unwrap_or(self.zero()), visitor }
    }

    /// What Go leaves in place of a `null`.
    fn zero(self) -> &'static str {
        match self {
            Kind::Bool => "false",
            Kind::Number => "0",
            Kind::Text => "\"\"",
            Kind::List => "[]",
            Kind::Object => "{}",
        }
    }

    fn read<'de, D: Deserializer<'de>, V: Visitor<'de>>(self, de: D, visitor: V) -> Result<V::Value, D::Error> {
        match self {
            Kind::Bool => de.deserialize_bool(visitor),
            Kind::Number => de.deserialize_u64(visitor),
            Kind::Text => de.deserialize_str(visitor),
            Kind::List => de.deserialize_seq(visitor),
            Kind::Object => de.deserialize_map(visitor),
        }
    }
}

/// A value whose type has no place for a `null`.
pub(super) struct Nullable<V> {
    kind: Kind,
    zero: &'static str,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Nullable<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visit_none()
    }

    // serde_json again, so that no type is compiled for a second parser.
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        let mut parser = serde_json::Deserializer::from_str(self.zero);
        self.kind.read(&mut parser, self.visitor).map_err(|error| E::custom(spoken(&error)))
    }

    fn visit_some<D: Deserializer<'de>>(self, de: D) -> Result<V::Value, D::Error> {
        self.kind.read(de, self.visitor)
    }
}
