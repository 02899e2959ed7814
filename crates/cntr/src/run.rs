//! `run`: create and start, and in the foreground (foreground.rs) stay until the end, and delete what was made.

use crate::args::Parsed;
use crate::create::{become_subreaper, check_terminal, options, pid_file, subject, wants_terminal};
use crate::foreground::{Foreground, Owner, Program};
use crate::globals::Globals;
use crate::notify::{self, Notifier};
use crate::socket::Sockets;
use anyhow::Context;
use libcontain::{Bundle, Container, CreateOptions, Error, Id, Kind};
use std::path::Path;

const NOT_EXECUTED: u8 = 255;

/// Creates and starts a container.
pub fn run(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let pid_file = pid_file(args)?;
    let ran = run_as_told(globals, args, pid_file.as_deref()).context("runc run failed");
    ran.or_else(|error| refused_program(globals, error))
}

/// With runc a program that execve(2) refuses is the container's failure, since init runs by then: one plain line on standard
/// error, and the status of a program that could not be executed.
fn refused_program(globals: &Globals<'_>, error: anyhow::Error) -> anyhow::Result<u8> {
    let Some(words) = error.downcast_ref::<Error>().and_then(Error::execve) else { return Err(error) };
    globals.log.error_said(&error, words);
    Ok(NOT_EXECUTED)
}

fn run_as_told(globals: &Globals<'_>, args: &Parsed, pid_file: Option<&Path>) -> anyhow::Result<u8> {
    let (id, bundle) = subject(args)?;
    let detached = args.is_set("detach");
    check_terminal(wants_terminal(&bundle), args, detached)?;
    let runtime = globals.making_runtime()?;
    let sockets = Sockets::dial(args, bundle.dir())?;
    globals.prepare_root()?;
    if !args.is_set("no-subreaper") {
        become_subreaper()?;
    }
    let options = options(args, pid_file)?;
    if detached {
        let mut container = runtime.run(&id, &bundle, &sockets.lend(options))?;
        globals.log.warnings(container.warnings());
        if let (Some(notifier), Some(pidfd)) = (notifier(&mut container, true)?, container.pidfd()) {
            // The program runs, whether its manager hears of it or not.
            globals.log.warn_of(notifier.wait(pidfd));
        }
        return Ok(0);
    }
    let (container, status) = in_foreground(globals, &id, &bundle, options, sockets)?;
    if !args.is_set("keep") {
        delete(globals, container);
    }
    Ok(status)
}

/// Who passes on what the program says by sd_notify(3). The main process of a service is the container's, except in the
/// foreground, where it is this one: the service manager is its parent, and it stays until the end.
fn notifier(container: &mut Container, detached: bool) -> anyhow::Result<Option<Notifier>> {
    let pid = if detached { container.pid() } else { std::process::id() };
    let Some(host) = notify::host() else { return Ok(None) };
    Ok(container.notify_socket()?.map(|socket| Notifier::new(host, socket, pid)))
}

/// The container has done its work: what is wrong now is told, but does not replace its status.
fn delete(globals: &Globals<'_>, container: Container) {
    match container.delete(false) {
        Ok(warnings) => globals.log.warnings(&warnings),
        // Somebody else was faster.
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => globals.log.warning(&error.to_string()),
    }
}

fn in_foreground(
    globals: &Globals<'_>,
    id: &Id,
    bundle: &Bundle,
    options: CreateOptions<'_>,
    sockets: Sockets,
) -> anyhow::Result<(Container, u8)> {
    let foreground = Foreground::prepare(wants_terminal(bundle), Owner::of_spec(bundle.spec()))?;
    let options = CreateOptions {
        stdio: foreground.stdio(),
        console: foreground.console(),
        terminal: foreground.terminal(),
        signal_mask: Some(foreground.signal_mask()),
        ..sockets.lend(options)
    };
    let mut container = globals.making_runtime()?.run(id, bundle, &options)?;
    globals.log.warnings(container.warnings());
    let notifier = notifier(&mut container, false)?;
    drop(sockets); // all that their listeners get has been sent
    match foreground.serve(globals.log, Program::Container(&container), notifier) {
        Ok(status) => Ok((container, status)),
        Err(error) => {
            let _ = container.delete(true);
            Err(error)
        }
    }
}
