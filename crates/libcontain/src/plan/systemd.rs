//! A container's cgroup as systemd is asked for it: a transient unit and its properties, as data.
//!
//! Owns [`Unit`] and [`Value`]. `systemd.rs` (outside the plan) sends them over D-Bus; nothing is decided there.
//!
//! Must not enter: I/O, and the encoding of D-Bus.

use crate::error::At;

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
