//! Types: read from signatures, guessed from values, and what a value has to be to have one.
//!
//! Owns [`Type`], which may have holes until [`Type::unify`] has seen all neighbours and [`Type::whole`] fills the rest.

use super::DEEPEST;
use crate::plan::systemd::Value;

/// A type of D-Bus, or one that is not known yet in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Not known: the element of an empty array.
    Any,
    /// Some number.
    Number,
    /// Text, a path or a signature.
    Words,
    /// A basic type by its letter.
    Basic(u8),
    Array(Box<Type>),
    Struct(Vec<Type>),
    Entry(Box<(Type, Type)>),
    Variant,
}

/// Letters of numbers, booleans and words; `h`, a descriptor, is none that a text could name.
const NUMBERS: &[u8] = b"ynqiuxtd";
const BASIC: &[u8] = b"bynqiuxtdsog";
const KEYWORDS: [(&str, u8); 12] = [
    ("boolean", b'b'),
    ("byte", b'y'),
    ("int16", b'n'),
    ("uint16", b'q'),
    ("int32", b'i'),
    ("uint32", b'u'),
    ("int64", b'x'),
    ("uint64", b't'),
    ("double", b'd'),
    ("string", b's'),
    ("objectpath", b'o'),
    ("signature", b'g'),
];

pub(super) fn keyword(word: &str) -> Option<Type> {
    KEYWORDS.iter().find(|(name, _)| *name == word).map(|(_, letter)| Type::Basic(*letter))
}

impl Type {
    /// One complete type and nothing else.
    pub(super) fn parse(signature: &str) -> Option<Type> {
        let (first, rest) = take(signature.as_bytes(), DEEPEST)?;
        rest.is_empty().then_some(first)
    }

    /// What two elements of one array are together.
    pub(super) fn unify(self, other: Type) -> Option<Type> {
        use Type::{Any, Array, Basic, Entry, Number, Struct, Words};
        Some(match (self, other) {
            (Any, known) | (known, Any) => known,
            (Number, Basic(b)) | (Basic(b), Number) if NUMBERS.contains(&b) => Basic(b),
            (Words, Basic(b)) | (Basic(b), Words) if b"sog".contains(&b) => Basic(b),
            (Array(a), Array(b)) => Array(Box::new(a.unify(*b)?)),
            (Struct(a), Struct(b)) if a.len() == b.len() => {
                Struct(a.into_iter().zip(b).map(|(a, b)| a.unify(b)).collect::<Option<_>>()?)
            }
            (Entry(a), Entry(b)) => Entry(Box::new((a.0.unify(b.0)?, a.1.unify(b.1)?))),
            (a, b) if a == b => a,
            _ => return None,
        })
    }

    /// Without holes: numbers are int32 and words are text. `None`: an empty array without a type.
    pub(super) fn whole(self) -> Option<Type> {
        Some(match self {
            Type::Any => return None,
            Type::Number => Type::Basic(b'i'),
            Type::Words => Type::Basic(b's'),
            Type::Array(element) => Type::Array(Box::new(element.whole()?)),
            Type::Struct(members) => Type::Struct(members.into_iter().map(Type::whole).collect::<Option<_>>()?),
            Type::Entry(entry) => Type::Entry(Box::new((entry.0.whole()?, entry.1.whole()?))),
            known @ (Type::Basic(_) | Type::Variant) => known,
        })
    }

    /// Within the bounds that D-Bus has for a signature, and with entries in arrays alone.
    pub(super) fn is_sendable(&self) -> bool {
        is_signature(&self.signature())
    }

    pub(super) fn signature(&self) -> String {
        match self {
            Type::Any | Type::Number | Type::Words => String::new(),
            Type::Basic(letter) => char::from(*letter).to_string(),
            Type::Array(element) => format!("a{}", element.signature()),
            Type::Struct(members) => format!("({})", members.iter().map(Type::signature).collect::<String>()),
            Type::Entry(entry) => format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
            Type::Variant => "v".to_owned(),
        }
    }
}

/// The first complete type of a signature, and what follows it.
fn take(signature: &[u8], depth: usize) -> Option<(Type, &[u8])> {
    let depth = depth.checked_sub(1)?;
    match signature {
        [b'v', rest @ ..] => Some((Type::Variant, rest)),
        [letter, rest @ ..] if BASIC.contains(letter) => Some((Type::Basic(*letter), rest)),
        [b'a', b'{', key, rest @ ..] if BASIC.contains(key) => {
            let (value, rest) = take(rest, depth)?;
            let entry = Type::Entry(Box::new((Type::Basic(*key), value)));
            Some((Type::Array(Box::new(entry)), rest.strip_prefix(b"}")?))
        }
        [b'a', rest @ ..] => take(rest, depth).map(|(element, rest)| (Type::Array(Box::new(element)), rest)),
        [b'(', rest @ ..] => {
            let (mut members, mut rest) = (Vec::new(), rest);
            loop {
                match rest {
                    [b')', rest @ ..] if !members.is_empty() => return Some((Type::Struct(members), rest)),
                    more => {
                        let (member, after) = take(more, depth)?;
                        members.push(member);
                        rest = after;
                    }
                }
            }
        }
        _ => None,
    }
}

/// A whole number as this type, if it is in its range.
pub(super) fn number(value: i128, letter: u8) -> Option<Value> {
    Some(match letter {
        b'y' => Value::Byte(value.try_into().ok()?),
        b'n' => Value::I16(value.try_into().ok()?),
        b'q' => Value::U16(value.try_into().ok()?),
        b'i' => Value::I32(value.try_into().ok()?),
        b'u' => Value::U32(value.try_into().ok()?),
        b'x' => Value::I64(value.try_into().ok()?),
        b't' => Value::U64(value.try_into().ok()?),
        _ => return None,
    })
}

/// Text as this type. A bus drops who sends a NUL, or a path that is none.
pub(super) fn words(text: String, letter: u8) -> Option<Value> {
    match letter {
        b's' if !text.contains('\0') => Some(Value::Text(text)),
        b'o' if is_path(&text) => Some(Value::Path(text)),
        b'g' if is_signature(&text) => Some(Value::Signature(text)),
        _ => None,
    }
}

fn is_path(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

fn is_signature(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match take(rest, DEEPEST) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    text.len() <= 255
}
