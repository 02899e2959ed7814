//! GVariant text: how annotations write a value with its type (GLib's "GVariant Text Format").
//!
//! Owns reading it into a [`Value`](super::Value). A number without a type is an int32, or what its neighbours in the array are; a
//! string is a string. What D-Bus has no type for (maybes, handles, empty tuples) is refused, and so is text that a bus
//! would not carry (NUL, paths and signatures that are none).
//!
//! Invariants: the nesting is bounded, so no text exhausts the stack; a value that is returned can be sent, its arrays
//! are of one type.
//!
//! Must not enter: what a property means.

mod read;
mod types;

pub use self::read::parse;

/// What is wrong with a text, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} at offset {offset}")]
pub struct Fault {
    /// Where, in bytes.
    pub offset: usize,
    /// What was found and expected.
    pub text: String,
}

impl Fault {
    fn new<T>(offset: usize, text: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { offset, text: text.into() })
    }
}

/// How deep arrays, tuples and variants may be in each other: half of what D-Bus has.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests;
