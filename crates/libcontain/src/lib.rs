//! libcontain turns an OCI bundle into an isolated process.
#![deny(unsafe_code)]

pub mod bundle;
pub mod check;
pub mod error;
pub mod plan;
pub use oci_spec::runtime as spec;
