//! The plan.
pub mod cgroup;
pub mod devices;
pub mod seccomp;
