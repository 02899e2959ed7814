//! Members that stand in an object more than once: one is made of them, as Go's `encoding/json` does.
//!
//! Go decodes into what is there. So the members of a repeated object add to, and replace, those of the earlier one, also
//! item by item in lists; a map's values are replaced as a whole; `null` leaves strings and booleans as they are and
//! clears lists and objects. What `null` does to a number depends on Go's type of it, so that is refused, as are values of
//! different types. No engine writes such configs. But another reader in the chain (an admission check, say) may go by
//! Go's reading, and a runtime that goes by another one would run what was not checked.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Members that are maps, in small letters: the names in them are data and differ by case.
const MAPS: [&str; 6] = ["annotations", "netdevices", "rdma", "sysctl", "timeoffsets", "unified"];

/// The document without repeated members; names are in small letters where case does not matter.
///
/// # Errors
/// It is not JSON, or nested more than 128 deep.
pub(super) fn merge(text: &str) -> Result<String, serde_json::Error> {
    let into = Into { earlier: Node::default(), is_map: false };
    let node = into.deserialize(&mut serde_json::Deserializer::from_str(text))?;
    serde_json::to_string(&node)
}

/// Whether a member's name means the field of this name: Go folds case by Unicode's simple rules, by which two letters
/// outside ASCII belong to ASCII ones.
pub(super) fn same_name(field: &str, name: &str) -> bool {
    field.eq_ignore_ascii_case(name) || (!name.is_ascii() && field.to_ascii_lowercase() == folded(name))
}

fn folded(name: &str) -> String {
    let fold = |c: char| match c {
        '\u{17f}' => 's',  // long s
        '\u{212a}' => 'k', // Kelvin sign
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).collect()
}

const TWO_TYPES: &str = "given more than once, as values of different types";

enum Node {
    Leaf(Value),
    List(Vec<Node>),
    Object(BTreeMap<String, Node>),
}

impl Default for Node {
    fn default() -> Self {
        Node::Leaf(Value::Null)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Leaf(value) => value.serialize(to),
            Node::List(items) => items.serialize(to),
            Node::Object(members) => members.serialize(to),
        }
    }
}

/// A value that is decoded into an earlier one.
struct Into {
    earlier: Node,
    is_map: bool,
}

impl Into {
    fn leaf<E: Error>(self, value: Value) -> Result<Node, E> {
        let kind = std::mem::discriminant::<Value>;
        match self.earlier {
            Node::Leaf(earlier) if earlier.is_null() || kind(&earlier) == kind(&value) => Ok(Node::Leaf(value)),
            _ => Err(E::custom(TWO_TYPES)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Into {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Node, D::Error> {
        de.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Into {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        match self.earlier {
            Node::Leaf(Value::Number(_)) => Err(E::custom("given more than once, as a number and as null")),
            Node::Leaf(kept) => Ok(Node::Leaf(kept)),
            Node::List(_) | Node::Object(_) => Ok(Node::default()),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.leaf(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.leaf(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.leaf(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.leaf(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.leaf(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut earlier = match self.earlier {
            Node::List(items) => items.into_iter(),
            Node::Leaf(Value::Null) => vec![].into_iter(),
            _ => return Err(A::Error::custom(TWO_TYPES)),
        };
        let mut items = Vec::new();
        loop {
            let into = Into { earlier: earlier.next().unwrap_or_default(), is_map: false };
            match seq.next_element_seed(into)? {
                Some(item) => items.push(item),
                None => return Ok(Node::List(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = match self.earlier {
            Node::Object(members) => members,
            Node::Leaf(Value::Null) => BTreeMap::new(),
            _ => return Err(A::Error::custom(TWO_TYPES)),
        };
        while let Some(name) = map.next_key::<String>()? {
            let name = if self.is_map { name } else { folded(&name) };
            let earlier = members.remove(&name).filter(|_| !self.is_map).unwrap_or_default();
            let is_map = !self.is_map && MAPS.contains(&name.as_str());
            let value = map.next_value_seed(Into { earlier, is_map })?;
            members.insert(name, value);
        }
        Ok(Node::Object(members))
    }
}
