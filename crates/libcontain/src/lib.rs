//! libcontain turns an OCI bundle into an isolated process: namespaces, a root file system of its own, cgroup limits,
//! capabilities, seccomp. `cntr`, the runc-compatible command, is a thin layer over it.
//!
//! ```text
//! config.json ──bundle──▶ Spec ─┐
//!                               ├─ check ─▶ every problem, or none
//! machine ──────host───▶ Host ──┤
//! caller ──────────────▶ Request┘
//!                               └─ plan ──▶ Plan { needs, spawn, steps, images, cgroup }     pure: no I/O
//!                                             │
//!                 parent (create.rs)          │ cgroup made and filled; needs opened
//!                    │ clone3 ────────────────────────▶ child (spawn.rs): for step in steps { apply(step)? }
//!                    │ ◀── report: wants the hooks run ── go ──▶                               no heap
//!                    │ ◀── report: ready, or step + errno
//!                    │ state.json, pid file, go ──────▶ waits on exec.fifo (`start`), then execve
//! ```
//!
//! A few words are ours: a *plan* is everything that will be done, decided beforehand; a *step* is one operation and the
//! config member that asked for it; a *need* is what the parent opens for the child; a *gate* is where the child waits for
//! the parent. The rest are the field's: bundle, rootfs, init process, exec FIFO, pidfd.
//!
//! The calling process is left as it was found: no change of directory, umask, environment, signal mask or limits, also
//! while other threads run. A container that was made is found again by its id, from any process:
//!
//! ```no_run
//! use libcontain::{Bundle, CreateOptions, Runtime};
//!
//! # fn main() -> Result<(), libcontain::Error> {
//! libcontain::seal::protect_executable()?; // first of all: no container can overwrite this program
//! let runtime = Runtime::new("/run/my-tool");
//! let id = "web-1".parse()?;
//! let container = runtime.create(&id, &Bundle::open("/srv/web")?, &CreateOptions::default())?;
//! container.start()?;
//! runtime.container(&id)?.kill(15)?;
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod acquire;
mod agent;
mod apply;
mod bundle;
mod cgroup;
mod check;
mod console;
mod container;
mod copy_up;
mod create;
mod dbus;
mod ending;
mod error;
mod exec;
mod fault;
pub mod features;
mod handover;
mod home;
mod hook_state;
mod hooks;
mod host;
mod idmapped;
mod idmaps;
pub mod kernel;
mod lock;
mod locked;
mod mounts;
mod netdev;
pub mod plan;
mod rdt;
mod report;
mod root;
mod runtime;
pub mod seal;
mod small_file;
mod spawn;
mod stage;
mod state;
pub mod stats;
mod sys;
mod systemd;
mod update;
mod wait;
mod wording;

pub use crate::bundle::Bundle;
pub use crate::container::{Container, State, Status, Watch, WatchEvent};
pub use crate::dbus::address_of as bus_address_of;
pub use crate::error::{At, Error, Kind, Level, Problem};
pub use crate::exec::{Exec, ExecOptions, process_from_json};
pub use crate::hook_state::SPEC_VERSION;
pub use crate::host::{Host, Resctrl};
pub use crate::plan::{Plan, Terminal};
pub use crate::runtime::{CgroupDriver, CreateOptions, Found, Id, Runtime};
pub use crate::state::rfc3339;
pub use crate::sys::{keep_child_statuses, signal_mask};
pub use crate::update::Update;
pub use oci_spec::runtime as spec;

/// The README's library example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
