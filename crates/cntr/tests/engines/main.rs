//! The engines as callers: Docker, Podman, Buildah and containerd, with the binary under test as their runtime.
//!
//! Every check is a command that users type, and looks at what came of it: `docker run --cpus 1.5`, and the quota in the
//! container's cgroup. The binary is that of the black-box tests: the debug build, or what `CNTR_BIN` names.
//!
//! **A check has to pass with runc first**: `CNTR_BIN=/usr/sbin/runc cargo test -p cntr --test engines`. One that runc
//! fails on this machine says something about the machine, and does not belong here; what is not run and why is in the
//! head of each engine's file.
//!
//! * [`room::Room`] is a machine of an engine's own, made of namespaces: processes, mounts (with an empty /run), network,
//!   IPC and hostname. A daemon with its default bridge and its iptables rules, its shims and its containers are in there,
//!   and end with the room, even if the test program is killed. On the host a room has one directory and, in each
//!   hierarchy, cgroups below one of its name, which the engine has to be told (`--cgroup-parent`); both go with it.
//! * [`checks::run`] is what the one `#[test]` function of an engine calls: it started the daemon, gives a table of named
//!   checks, and stops the daemon when it returns. The checks run three at a time; all failures are told at the end.
//!   `CNTR_CHECK=pause` runs those with this in their name; with `--nocapture` each says how long it took.
//! * [`image`] makes the one image there is, from busybox-static: as a tree, as a tar (`docker import`, `podman import`),
//!   as a tar with an OCI layout (`ctr images import`, `podman load`). Nothing is pulled.
//! * `support` is that of the black-box tests. An engine that is not installed is a `SKIPPED name: reason`.
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

#[allow(dead_code, unused_imports, reason = "it is made for the black-box tests, which use all of it")]
#[path = "../blackbox/support/mod.rs"]
mod support;

mod checks;
mod conmon;
mod containerd;
mod docker;
mod image;
mod machine;
mod podman;
mod room;
mod timing;
