//! `cntr`: a runc-compatible OCI container runtime over `libcontain`.
//!
//! Owns argv, the streams and the exit status: parse, dispatch, print one error. Before a command runs nothing has
//! been opened but the log, no thread or signal handler exists (Rust's own start ignores SIGPIPE and opens
//! /dev/null for a closed fd 0-2, which is just what is wanted here). The process stays in its caller's directory.
#![forbid(unsafe_code)]

mod activation;
mod args;
mod commands;
mod create;
mod document;
mod duration;
mod events;
mod exec;
mod foreground;
mod globals;
mod help;
mod json;
mod kill;
mod list;
mod log;
mod notify;
mod ps;
mod relay;
mod run;
mod socket;
mod spec;
mod terminal;
mod update;
mod verbs;

use anyhow::{Context, anyhow};
use args::{Command, Misuse, Parsed};
use globals::Globals;
use log::Log;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// A command: what was typed in, the exit status out.
pub type Verb = fn(&Globals, &Parsed) -> anyhow::Result<u8>;

/// Of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it was built from: set by the build, else the release.
pub const COMMIT: &str = match option_env!("CNTR_COMMIT") {
    Some(commit) => commit,
    None => concat!("v", env!("CARGO_PKG_VERSION")),
};

const FAILURE: u8 = 1;
const NO_SUCH_COMMAND: u8 = 3;

fn main() -> ExitCode {
    libcontain::keep_child_statuses(); // a caller that ignores SIGCHLD hands that down
    let mut argv = std::env::args_os();
    let argv0 = argv.next().unwrap_or_default();
    let argv: Vec<OsString> = argv.collect();
    ExitCode::from(program(argv0, &argv))
}

fn program(argv0: OsString, argv: &[OsString]) -> u8 {
    let name = program_name(&argv0);
    let global = match args::parse(argv, commands::GLOBAL, false) {
        Ok(global) => global,
        Err(misuse) => return refuse(&Log::default(), misuse, &help::program(name, VERSION)),
    };
    if global.is_set("version") {
        return show(&Log::default(), &version(name));
    }
    if global.help || global.operands.is_empty() {
        return show(&Log::default(), &help::program(name, VERSION));
    }
    let log = match Log::open(&global) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), &error, FAILURE),
    };
    match Globals::resolve(&global, &log, name, argv0) {
        Ok(globals) => dispatch(&globals, &global),
        Err(error) => fail(&log, &error, FAILURE),
    }
}

fn dispatch(globals: &Globals<'_>, global: &Parsed) -> u8 {
    let name = global.operand(0);
    let rest = global.operands.get(1..).unwrap_or_default();
    if name == "help" || name == "h" {
        return show_help(globals, rest.first());
    }
    match commands::find(name) {
        Some(command) => call(globals, command, rest),
        None => no_topic(globals, name),
    }
}

fn call(globals: &Globals<'_>, command: &Command, argv: &[OsString]) -> u8 {
    if commands::is_absent(command) {
        return fail(globals.log, &anyhow!("{}: not implemented yet", command.name), FAILURE);
    }
    let parsed = match args::parse(argv, command.flags, command.interleaved) {
        Ok(parsed) => parsed,
        Err(misuse) => return refuse(globals.log, misuse, &help::command(globals.name, command)),
    };
    if parsed.help {
        return show(globals.log, &help::command(globals.name, command));
    }
    if let Some(text) = miscount(globals, command, parsed.operands.len()) {
        let _ = print(&format!("Incorrect Usage.\n\n{}", help::command(globals.name, command)));
        return fail(globals.log, &anyhow!(text), FAILURE);
    }
    if let Err((error, status)) = protect(command) {
        return fail(globals.log, &error, status);
    }
    globals.log.debug(|| format!("{} {:?}", command.name, parsed.operands));
    match (command.run)(globals, &parsed) {
        Ok(status) => status,
        Err(error) => fail(globals.log, &error, FAILURE),
    }
}

/// Commands by which our executable gets into containers: what is said before an error of theirs, and its exit status.
const ENTER_CONTAINERS: [(&str, &str, u8); 3] =
    [("create", "runc create failed", FAILURE), ("run", "runc run failed", FAILURE), ("exec", "exec failed", 255)];

/// Executes this program once more, from where no container can write to it. Before a config is read or a file is opened.
fn protect(command: &Command) -> Result<(), (anyhow::Error, u8)> {
    match ENTER_CONTAINERS.iter().find(|(name, ..)| *name == command.name) {
        Some((_, frame, status)) => {
            libcontain::seal::protect_executable().context(*frame).map_err(|error| (error, *status))
        }
        None => Ok(()),
    }
}

fn miscount(globals: &Globals<'_>, command: &Command, given: usize) -> Option<String> {
    let args::Count { min, max } = command.count;
    let (limit, number) = match given {
        n if min == max && n != min => ("exactly", min),
        n if n < min => ("a minimum of", min),
        n if n > max => ("a maximum of", max),
        _ => return None,
    };
    Some(format!("{}: \"{}\" requires {limit} {number} argument(s)", globals.argv0.display(), command.name))
}

fn show_help(globals: &Globals<'_>, topic: Option<&OsString>) -> u8 {
    let text = match topic {
        None => help::program(globals.name, VERSION),
        Some(topic) if topic == "--man" => help::manual(VERSION),
        Some(topic) => match commands::find(topic) {
            Some(command) if !commands::is_absent(command) => help::command(globals.name, command),
            _ => return no_topic(globals, topic),
        },
    };
    show(globals.log, &text)
}

fn no_topic(globals: &Globals<'_>, topic: &OsStr) -> u8 {
    fail(globals.log, &anyhow!("No help topic for '{}'", topic.display()), NO_SUCH_COMMAND)
}

/// containerd and others read the first line of `--version` and want runc's name there: they get it by calling
/// the program so, through a link of that name.
fn program_name(argv0: &OsStr) -> &'static str {
    if Path::new(argv0).file_name() == Some(OsStr::new("runc")) { "runc" } else { "cntr" }
}

fn version(name: &str) -> String {
    format!("{name} version {VERSION}\ncommit: {COMMIT}\nspec: {}\n", libcontain::SPEC_VERSION)
}

fn refuse(log: &Log, misuse: Misuse, help: &str) -> u8 {
    let _ = print(&format!("Incorrect Usage: {misuse}\n\n{help}"));
    fail(log, &misuse.into(), FAILURE)
}

fn fail(log: &Log, error: &anyhow::Error, status: u8) -> u8 {
    log.error(error);
    status
}

fn show(log: &Log, text: &str) -> u8 {
    match print(text) {
        Ok(()) => 0,
        Err(error) => fail(log, &error, FAILURE),
    }
}

/// Writes to standard output; a reader that has gone away is an error like any other.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write /dev/stdout")
}
