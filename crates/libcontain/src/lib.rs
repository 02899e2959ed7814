//! libcontain turns an OCI bundle into an isolated process.
#![deny(unsafe_code)]

pub mod cgroup;
pub mod error;
pub mod plan;
#[allow(unsafe_code)]
mod sys;
pub use oci_spec::runtime as spec;
