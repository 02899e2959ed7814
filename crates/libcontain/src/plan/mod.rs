//! The plan.
pub mod cgroup;
pub mod devices;
pub mod idmap;
pub mod mount_options;
pub mod process;
pub mod seccomp;
