//! Hooks in the runtime's namespaces: prestart, createRuntime, poststart, poststop.
//!
//! stdin, stdout and stderr are memfds: a hook that does not read or writes much can neither block us nor be killed by
//! SIGPIPE, and nothing has to be drained; or, where annotations name them, files of the caller's. A hook that runs past its
//! time is killed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use oci_spec::runtime::Hook;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};

use crate::error::{At, Error, Kind, os_text};
use crate::{ending, sys, wait};

/// Of sd_listen_fds(3).
const LISTEN_VARIABLES: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Runs the hooks of one list in order.
///
/// # Errors
/// The first that fails: `error running createRuntime hook #1: exit status 1, stdout: , stderr: `.
pub(crate) fn run(list: &'static str, hooks: Option<&[Hook]>, setting: &Setting<'_>) -> Result<(), Error> {
    for (index, hook) in hooks.unwrap_or(&[]).iter().enumerate() {
        run_one(hook, setting).map_err(|why| failed(list, index, &why))?;
    }
    Ok(())
}

/// Runs every hook, whether others fail or not, and returns the failures with their places.
pub(crate) fn run_all(list: &'static str, hooks: &[Hook], setting: &Setting<'_>) -> Vec<(usize, Error)> {
    let fail = |index, why: &str| (index, failed(list, index, why));
    let run = |(index, hook): (usize, &Hook)| run_one(hook, setting).err().map(|why| fail(index, &why));
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

fn run_one(hook: &Hook, setting: &Setting<'_>) -> Result<(), String> {
    let say = |error: std::io::Error| os_text(&error);
    let mut input = memfd().map_err(say)?;
    input.write_all(&setting.state).and_then(|()| input.rewind()).map_err(say)?;
    let [output, errors] = &setting.output;
    let (output, errors) = (Stream::open(output.as_deref())?, Stream::open(errors.as_deref())?);
    let mut command = Command::new(hook.path());
    command.stdin(input).stdout(output.given().map_err(say)?).stderr(errors.given().map_err(say)?);
    if let Some([name, args @ ..]) = hook.args().as_deref() {
        command.arg0(name).args(args);
    }
    // No env at all: the hook inherits ours, as with runc and crun (contract section 3.3).
    match hook.env() {
        Some(env) => command.env_clear().envs(env.iter().filter_map(|entry| entry.split_once('='))),
        // Which tells of sockets that are the container's, not the hook's.
        None => LISTEN_VARIABLES.iter().fold(&mut command, |command, name| command.env_remove(name)),
    };
    if setting.cwd.is_dir() {
        command.current_dir(setting.cwd);
    }
    let started = sys::spawn_cleanly(&mut command, setting.mask);
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
        Some(status) => Err(with_output(&ending::describe(&status), output.read_back(), errors.read_back())),
    }
}

/// What the hooks of a list have in common.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    /// The state document.
    pub state: Vec<u8>,
    /// Left as it is if this is no directory.
    pub cwd: &'a Path,
    /// Their signal mask.
    pub mask: u64,
    /// Files that their stdout and stderr are appended to.
    pub output: [Option<PathBuf>; 2],
}

/// stdout or stderr of a hook.
enum Stream {
    /// Kept for the message, should the hook fail.
    Kept(File),
    /// Appended to a file of the caller's, where it can be found.
    Appended(File),
}

impl Stream {
    fn open(path: Option<&Path>) -> Result<Stream, String> {
        match path {
            None => memfd().map(Stream::Kept).map_err(|e| os_text(&e)),
            Some(path) => match open_output(path) {
                Ok(file) => Ok(Stream::Appended(file.into())),
                Err(errno) => Err(format!("open {}: {}", path.display(), os_text(&errno.into()))),
            },
        }
    }

    fn given(&self) -> std::io::Result<File> {
        let (Stream::Kept(file) | Stream::Appended(file)) = self;
        file.try_clone()
    }

    fn read_back(self) -> Option<File> {
        if let Stream::Kept(file) = self { Some(file) } else { None }
    }
}

/// A file that what hooks write is appended to.
pub(crate) fn open_output(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
}

/// `why` and what the hook wrote, as far as it was kept.
pub(crate) fn with_output(why: &str, output: Option<File>, errors: Option<File>) -> String {
    let kept = |file: Option<File>| file.map_or_else(String::new, content);
    format!("{why}, stdout: {}, stderr: {}", kept(output), kept(errors))
}

/// What is in a file, from its beginning.
pub(crate) fn content(mut file: File) -> String {
    let mut bytes = Vec::new();
    // What a hook wrote is a courtesy: if it cannot be read back, the error stands without it.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(64 * 1024).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn memfd() -> std::io::Result<File> {
    Ok(File::from(open_memfd()?))
}

/// An empty memfd for one of a hook's three streams.
pub(crate) fn open_memfd() -> rustix::io::Result<OwnedFd> {
    rustix::fs::memfd_create(c"hook", MemfdFlags::CLOEXEC)
}

pub(crate) fn open_pidfd(pid: u32) -> std::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}
