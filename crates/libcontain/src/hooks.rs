//! Hooks in the runtime's namespaces: prestart, createRuntime, poststart, poststop.
//!
//! stdin, stdout and stderr are memfds: a hook that does not read or writes much can neither block us nor be killed by
//! SIGPIPE, and nothing has to be drained. A hook that runs past its time is killed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use oci_spec::runtime::Hook;
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, WaitIdStatus};

use crate::error::{At, Error, Kind, os_text};
use crate::{sys, wait};

/// Of sd_listen_fds(3).
const LISTEN_VARIABLES: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Runs the hooks of one list in order.
///
/// # Errors
/// The first that fails: `error running createRuntime hook #1: exit status 1, stdout: , stderr: `.
pub(crate) fn run(
    list: &'static str,
    hooks: Option<&[Hook]>,
    state: &[u8],
    cwd: &Path,
    mask: u64,
) -> Result<(), Error> {
    for (index, hook) in hooks.unwrap_or(&[]).iter().enumerate() {
        run_one(hook, state, cwd, mask).map_err(|why| failed(list, index, &why))?;
    }
    Ok(())
}

/// Runs every hook, whether others fail or not, and returns the failures with their places.
pub(crate) fn run_all(list: &'static str, hooks: &[Hook], state: &[u8], cwd: &Path, mask: u64) -> Vec<(usize, Error)> {
    let fail = |index, why: &str| (index, failed(list, index, why));
    let run = |(index, hook): (usize, &Hook)| run_one(hook, state, cwd, mask).err().map(|why| fail(index, &why));
    hooks.iter().enumerate().filter_map(run).collect()
}

/// The error of one hook, in the words that callers know.
pub(crate) fn failed(list: &'static str, index: usize, why: &str) -> Error {
    Error::new(Kind::Hook, format!("error running {list} hook #{index}: {why}")).with_at(place(list, index))
}

fn place(list: &'static str, index: usize) -> At {
    match list {
        "prestart" => At::item("hooks.prestart[#]", index),
        "createRuntime" => At::item("hooks.createRuntime[#]", index),
        "createContainer" => At::item("hooks.createContainer[#]", index),
        "startContainer" => At::item("hooks.startContainer[#]", index),
        "poststart" => At::item("hooks.poststart[#]", index),
        _ => At::item("hooks.poststop[#]", index),
    }
}

fn run_one(hook: &Hook, state: &[u8], cwd: &Path, mask: u64) -> Result<(), String> {
    let say = |error: std::io::Error| os_text(&error);
    let mut input = memfd().map_err(say)?;
    input.write_all(state).and_then(|()| input.rewind()).map_err(say)?;
    let (output, errors) = (memfd().map_err(say)?, memfd().map_err(say)?);
    let mut command = Command::new(hook.path());
    command.stdin(input).stdout(output.try_clone().map_err(say)?).stderr(errors.try_clone().map_err(say)?);
    if let Some([name, args @ ..]) = hook.args().as_deref() {
        command.arg0(name).args(args);
    }
    // No env at all: the hook inherits ours, as with runc and crun (contract section 3.3).
    match hook.env() {
        Some(env) => command.env_clear().envs(env.iter().filter_map(|entry| entry.split_once('='))),
        // Which tells of sockets that are the container's, not the hook's.
        None => LISTEN_VARIABLES.iter().fold(&mut command, |command, name| command.env_remove(name)),
    };
    if cwd.is_dir() {
        command.current_dir(cwd);
    }
    let started = sys::spawn_cleanly(&mut command, mask);
    let mut child = started.map_err(|error| format!("fork/exec {}: {}", hook.path().display(), os_text(&error)))?;
    let pidfd = open_pidfd(child.id()).map_err(say)?;
    let limit = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let in_time = wait::ends(pidfd.as_fd(), limit).map_err(|e| say(e.into()))?;
    if !in_time {
        child.kill().map_err(say)?;
    }
    let status = wait::reap(pidfd.as_fd()).map_err(|e| say(e.into()))?;
    match status {
        _ if !in_time => Err(format!("hook ran past specified timeout of {}.0s", hook.timeout().unwrap_or(0))),
        None => Err("its exit status was taken by somebody else".into()),
        Some(status) if status.exit_status() == Some(0) => Ok(()),
        Some(status) => Err(with_output(&describe(&status), output, errors)),
    }
}

/// `why` and what the hook wrote.
pub(crate) fn with_output(why: &str, output: File, errors: File) -> String {
    format!("{why}, stdout: {}, stderr: {}", content(output), content(errors))
}

fn content(mut file: File) -> String {
    let mut bytes = Vec::new();
    // What a hook wrote is a courtesy: if it cannot be read back, the error stands without it.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(64 * 1024).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn describe(status: &WaitIdStatus) -> String {
    match status.exit_status() {
        Some(code) => format!("exit status {code}"),
        None => format!("signal {}", status.terminating_signal().unwrap_or(0)),
    }
}

fn memfd() -> std::io::Result<File> {
    Ok(File::from(open_memfd()?))
}

/// An empty memfd for one of a hook's three streams.
pub(crate) fn open_memfd() -> rustix::io::Result<OwnedFd> {
    rustix::fs::memfd_create(c"hook", MemfdFlags::CLOEXEC)
}

fn open_pidfd(pid: u32) -> std::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}
