//! `create` and `plan`, and what they share with `run`: the bundle, the options, and the order of the checks.
//!
//! The order callers know: bundle directory, config.json, its syntax, the id, then everything the library checks.
//! The process does not change into the bundle; names in error texts are as if it did.

use crate::args::Parsed;
use crate::globals::{self, Globals};
use crate::socket::Sockets;
use crate::{activation, notify, print};
use anyhow::{Context, anyhow, bail};
use libcontain::{Bundle, CreateOptions, Id};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Makes a container whose process waits for `start`.
pub fn create(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let pid_file = pid_file(args)?;
    let made = create_as_told(globals, args, pid_file.as_deref());
    made.context("runc create failed").map(|()| 0)
}

fn create_as_told(globals: &Globals<'_>, args: &Parsed, pid_file: Option<&Path>) -> anyhow::Result<()> {
    let (id, bundle) = subject(args)?;
    check_terminal(wants_terminal(&bundle), args, true)?;
    let runtime = globals.making_runtime()?;
    let sockets = Sockets::dial(args, bundle.dir())?;
    globals.prepare_root()?;
    become_subreaper()?;
    let options = sockets.lend(options(args, pid_file)?);
    let container = runtime.create(&id, &bundle, &options)?;
    globals.log.warnings(container.warnings());
    Ok(())
}

/// Prints what `create` would do.
pub fn plan(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let bundle = open_bundle(args.operands.first().map(AsRef::as_ref).or(args.given("bundle")))?;
    let id = globals::id(args.given("id").unwrap_or(OsStr::new("plan")))?;
    let plan = globals.making_runtime()?.plan(&id, &bundle, &options(args, None)?)?;
    let text = plan.to_string();
    print(text.trim_end_matches('\n'))?;
    print("\n")?;
    Ok(0)
}

/// The container to be and its bundle, checked in the order callers know.
pub fn subject(args: &Parsed) -> anyhow::Result<(Id, Bundle)> {
    let bundle = open_bundle(args.given("bundle"))?;
    Ok((globals::id(args.operand(0))?, bundle))
}

fn open_bundle(given: Option<&OsStr>) -> anyhow::Result<Bundle> {
    let dir = match given {
        Some(path) => real_path(path).with_context(|| format!("chdir {}", path.display()))?,
        None => std::env::current_dir().context("getwd")?,
    };
    // Asked only after a failure: the good path costs no further call.
    Bundle::open(&dir).map_err(|error| match std::fs::metadata(dir.join("config.json")) {
        Err(e) if e.kind() == ErrorKind::NotFound => anyhow!("JSON specification file config.json not found"),
        _ => error.into(),
    })
}

/// Where a process would find itself after chdir(2) to `path`. Without /proc that is not known, and the path as
/// given serves as well.
pub fn real_path(path: &OsStr) -> anyhow::Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from)?;
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).or_else(|_| globals::absolute(path))
}

/// The pid file against the caller's directory.
pub fn pid_file(args: &Parsed) -> anyhow::Result<Option<PathBuf>> {
    args.given("pid-file").map(globals::absolute).transpose()
}

/// What the flags ask of the library.
pub fn options<'a>(args: &Parsed, pid_file: Option<&'a Path>) -> anyhow::Result<CreateOptions<'a>> {
    let (listen_fds, listen_fd_names) = activation::sockets();
    Ok(CreateOptions {
        listen_fds,
        listen_fd_names,
        notify: notify::host().is_some(),
        preserve_fds: preserve_fds(args)?,
        pid_file,
        no_pivot: args.is_set("no-pivot"),
        no_new_keyring: args.is_set("no-new-keyring"),
        keep: args.is_set("keep"),
        ..CreateOptions::default()
    })
}

/// The number, as the library has it.
pub fn preserve_fds(args: &Parsed) -> anyhow::Result<u32> {
    let Some(given) = args.value("preserve-fds").map(OsStr::to_string_lossy) else { return Ok(0) };
    given.parse().map_err(|_| anyhow!("invalid value {given:?} for flag -preserve-fds: value out of range"))
}

pub fn wants_terminal(bundle: &Bundle) -> bool {
    bundle.spec().process().as_ref().and_then(|p| p.terminal()).unwrap_or(false)
}

/// Who would hold the terminal's master end.
pub fn check_terminal(terminal: bool, args: &Parsed, detached: bool) -> anyhow::Result<()> {
    let socket = args.given("console-socket").is_some();
    if terminal && detached && !socket {
        bail!("cannot allocate tty if runc will detach without setting console socket");
    }
    if socket && !(detached && terminal) {
        bail!("cannot use console socket if runc will not detach or allocate tty");
    }
    Ok(())
}

/// Descendants whose parent has gone come to this process while it works, instead of to a parent that may not reap.
pub fn become_subreaper() -> anyhow::Result<()> {
    // Which process is named does not matter to the kernel, as long as one is.
    rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT))
        .map_err(std::io::Error::from)
        .context("prctl PR_SET_CHILD_SUBREAPER")
}
