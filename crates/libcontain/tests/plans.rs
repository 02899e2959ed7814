//! The plan, without privilege: golden files of what is planned for real configs on three machines, facts about the
//! order of the steps, and random edits of valid configs. All through the public, pure `plan()`.
//!
//! `UPDATE=1 cargo test -p libcontain --test plans` rewrites the golden files (tests/plans/NAME.HOST.plan).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "plans/configs.rs"]
mod configs;
#[path = "plans/edits.rs"]
mod edits;
#[path = "plans/features.rs"]
mod features;
#[path = "plans/golden.rs"]
mod golden;
#[path = "plans/hosts.rs"]
mod hosts;
#[path = "plans/order.rs"]
mod order;
#[path = "plans/rules.rs"]
mod rules;
#[path = "plans/silent.rs"]
mod silent;
