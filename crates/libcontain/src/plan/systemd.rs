//! A container's cgroup as systemd is asked for it: a transient unit and its properties, as data.
//!
//! Owns [`Unit`] and [`Value`]; below are what the config says about the unit: its place (`place`), and properties in
//! annotations. `systemd.rs` (outside the plan) sends them over D-Bus; nothing is decided there.
//!
//! Must not enter: I/O, and the encoding of D-Bus.

use std::fmt::{self, Write as _};

use crate::error::At;

mod annotations;
pub mod gvariant;
mod place;

pub(crate) use self::annotations::annotated;
pub(crate) use self::place::Place;

/// What the manager of units says about itself, where it is the one who makes cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// The number of systemd's version: 257.
    pub version: u32,
    /// The cgroup of the manager, cleaned: `/`, or `/user.slice/user-1000.slice/user@1000.service` for a user's.
    pub control_group: String,
    /// A user's manager, and not the machine's.
    pub user: bool,
}

/// A transient unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `runc-ID.scope`, or the name of a slice.
    pub name: String,
    /// In the order of `StartTransientUnit`, without `PIDs`, which only the clone tells.
    pub properties: Vec<Property>,
    /// Init becomes a member of it: a scope. A slice has none.
    pub holds_processes: bool,
}

/// One property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// What asked for it.
    pub at: At,
    /// systemd's name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A value with its D-Bus type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`, as its bits: plans are compared.
    Double(u64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`: the signature of the elements, and the elements.
    Array(String, Vec<Value>),
    /// `(...)`
    Struct(Vec<Value>),
    /// `{..}`, an element of an array.
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<36} {} = {}", self.at.to_string(), self.name, self.value)
    }
}

/// As `cntr plan` shows it: text bare, no types.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Value]| {
            items.iter().enumerate().try_for_each(|(i, item)| write!(f, "{}{item}", if i == 0 { "" } else { ", " }))
        };
        match self {
            Value::Bool(value) => value.fmt(f),
            Value::Byte(value) => value.fmt(f),
            Value::I16(value) => value.fmt(f),
            Value::U16(value) => value.fmt(f),
            Value::I32(value) => value.fmt(f),
            Value::U32(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::U64(u64::MAX) => f.write_str("infinity"),
            Value::U64(value) => value.fmt(f),
            Value::Double(bits) => f64::from_bits(*bits).fmt(f),
            Value::Text(text) | Value::Path(text) | Value::Signature(text) => {
                text.chars().flat_map(char::escape_debug).try_for_each(|c| f.write_char(c))
            }
            Value::Array(_, items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Value::Struct(items) => {
                f.write_str("(")?;
                list(f, items)?;
                f.write_str(")")
            }
            Value::Entry(entry) => write!(f, "{}: {}", entry.0, entry.1),
            Value::Variant(value) => write!(f, "<{value}>"),
        }
    }
}
