//! libcontain turns an OCI bundle into an isolated process.
#![deny(unsafe_code)]

pub mod bundle;
pub mod container;
pub mod error;
pub mod features;
pub mod plan;
pub use bundle::Bundle;
pub use container::{CgroupDriver, Container, CreateOptions, Error, Id, Kind, Plan, Runtime, State, Status};
pub use oci_spec::runtime as spec;
