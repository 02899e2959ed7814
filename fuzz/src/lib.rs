//! What each fuzz target does with its input: `judge` panics if the library does anything that it must not.
//!
//! Plain functions, so that the same lines serve libFuzzer (`targets/`) and an ordinary test, which judges every file
//! of `seeds/` (libcontain's `tests/seeds.rs`).
#![allow(missing_docs, reason = "each file says what it is about")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target fails by panicking"
)]

mod bytes;
pub mod config_plan;
pub mod devices;
pub mod gvariant;
pub mod idmap;
pub mod mount_options;
pub mod seccomp;
pub mod state_json;
