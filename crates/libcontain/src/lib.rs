//! libcontain turns an OCI bundle into an isolated process.
#![deny(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod apply;
mod bundle;
mod cgroup;
mod check;
mod container;
mod create;
mod error;
mod fault;
pub mod features;
mod home;
mod hook_state;
mod hooks;
mod host;
mod mounts;
pub mod plan;
mod root;
mod runtime;
mod small_file;
mod spawn;
mod stage;
mod state;
mod sys;

pub use crate::bundle::Bundle;
pub use crate::container::{Container, State, Status};
pub use crate::error::{At, Error, Kind, Level, Problem};
pub use crate::hook_state::SPEC_VERSION;
pub use crate::host::Host;
pub use crate::plan::Plan;
pub use crate::runtime::{CgroupDriver, CreateOptions, Found, Id, Runtime};
pub use crate::state::rfc3339;
pub use crate::sys::signal_mask;
pub use oci_spec::runtime as spec;
