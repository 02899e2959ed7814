//! Black-box tests: the `cntr` binary as its callers see it, on real configs and a real machine.
//!
//! Owns nothing of the implementation: only the binary (`CNTR_BIN` names another one), its arguments, its
//! output, and what the kernel says afterwards. What a test expects is computed from the `config.json` that
//! the runtime was given, so that a field which the runtime ignores makes the test fail.
//!
//! Every test has its own state root, ids and cgroup path, and its [`support::Sandbox`] removes whatever a
//! failing runtime left behind: tests run in parallel and more than once on one machine. What needs root or
//! a program that is not installed says so on stderr (uncaptured) and passes.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy's allow-*-in-tests do not reach the helpers of an integration test"
)]

mod support;

mod apart;
mod attached;
mod budget;
mod copyup;
mod crash;
mod credentials;
mod debian;
mod delegated;
mod devicerules;
mod devices;
mod enforced;
mod events;
mod exec;
mod exec_detached;
mod exec_place;
mod exec_process;
mod exec_security;
mod files;
mod foreground;
mod harness;
mod hooks;
mod idmapped;
mod inside;
mod joined;
mod kernel;
mod labels;
mod lifecycle;
mod limits;
mod mountoptions;
mod musts;
mod namespaces;
mod netdevices;
mod parallel;
mod pause;
mod placement;
mod process;
mod program;
mod protocols;
mod races;
mod rootless;
mod seal;
mod seccomp;
mod security;
mod settings;
mod sysctls;
mod systemd;
mod systemd_driver;
mod terminal;
mod update;
mod wrong;
