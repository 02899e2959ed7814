//! The verbs that are little more than one call of the library.

use crate::args::Parsed;
use crate::globals::{Globals, id};
use crate::notify::{self, Notifier};
use crate::{COMMIT, VERSION, json, print};
use anyhow::bail;
use libcontain::Kind;
use std::os::fd::AsFd;

/// A command of runc's that comes later.
pub fn not_yet(_: &Globals<'_>, _: &Parsed) -> anyhow::Result<u8> {
    bail!("not implemented yet")
}

/// Lets a created container's process run.
pub fn start(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let mut container = globals.runtime().container(&id(args.operand(0))?)?;
    let host = notify::host();
    let socket = if host.is_some() { container.notify_socket()? } else { None };
    container.start()?;
    if let (Some(host), Some(socket), Some(pidfd)) = (host, socket, container.open_pidfd()) {
        Notifier::new(host, socket, container.pid()).wait(pidfd.as_fd())?;
    }
    Ok(0)
}

/// Freezes a container.
pub fn pause(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    globals.runtime().container(&id(args.operand(0))?)?.pause()?;
    Ok(0)
}

/// Lets a frozen container go on.
pub fn resume(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    globals.runtime().container(&id(args.operand(0))?)?.resume()?;
    Ok(0)
}

/// Two spaces of indentation and no newline at the end, as callers' golden files have it.
pub fn state(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let state = globals.runtime().container(&id(args.operand(0))?)?.state()?;
    print(&json::pretty(&state, "  ")?)?;
    Ok(0)
}

/// Removes a container. What a `create` that died has left behind is removed as well, though it is no container.
pub fn delete(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let (runtime, id, force) = (globals.runtime(), id(args.operand(0))?, args.is_set("force"));
    match runtime.container(&id) {
        Ok(container) => globals.log.warnings(&container.delete(force)?),
        Err(missing) if missing.kind() == Kind::NotFound => match runtime.remove_remains(&id) {
            Err(error) if error.kind() != Kind::NotFound => return Err(error.into()),
            _ if force => {}
            _ => return Err(missing.into()),
        },
        Err(other) => return Err(other.into()),
    }
    Ok(0)
}

/// Four spaces of indentation and a newline.
pub fn features(_: &Globals<'_>, _: &Parsed) -> anyhow::Result<u8> {
    let document = libcontain::features::features(VERSION, COMMIT);
    print(&(json::pretty(&document, "    ")? + "\n"))?;
    Ok(0)
}
