//! Writing the id maps of a container's new user namespace, as the plan says: by the runtime itself, or by the setuid
//! programs `newuidmap(1)` and `newgidmap(1)`, which know the ranges that the administrator gave to each user (subuid(5)).
//!
//! A map is written once and whole. The programs check by themselves that the process is the caller's and that the
//! ranges are his; what they have to say when it is not so is the error.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::error::{At, Error, Kind, os_text};
use crate::plan::{IdMap, JoinedMaps, Maps, idmap};
use crate::{ending, hooks, sys, wait};

/// How long a program may take: it may ask a directory service which ranges are the user's.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes what the plan says for process `pid`. `mask` is the signal mask of programs.
///
/// # Errors
/// With the place in the config: what the kernel refuses, or what the program says.
pub(crate) fn write(pid: u32, maps: &Maps, mask: u64) -> Result<(), Error> {
    let gids = At::field("linux.gidMappings");
    if maps.deny_setgroups {
        into_file(gids, pid, "setgroups", "deny")?;
    }
    one(gids, pid, "gid_map", &maps.gid, mask)?;
    one(At::field("linux.uidMappings"), pid, "uid_map", &maps.uid, mask)
}

/// Whether process `pid`, which has joined a user namespace, has these maps there. Seen from the runtime's user namespace,
/// whose ids are the config's.
///
/// # Errors
/// In runc's words.
pub(crate) fn expect(pid: u32, maps: &JoinedMaps) -> Result<(), Error> {
    for (at, file, expected) in
        [(At::field("linux.uidMappings"), "uid_map", &maps.uid), (At::field("linux.gidMappings"), "gid_map", &maps.gid)]
    {
        // One that has died meanwhile has a better story to tell.
        let Ok(text) = crate::small_file::read(CWD, format!("/proc/{pid}/{file}")) else { return Ok(()) };
        if idmap::parse(&text) != *expected {
            let text = "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only \
                        provide one";
            return Err(Error::new(Kind::Config, format!("{at}: {text}")).with_at(at));
        }
    }
    Ok(())
}

fn one(at: At, pid: u32, file: &str, map: &IdMap, mask: u64) -> Result<(), Error> {
    let Some(program) = &map.program else { return into_file(at, pid, file, &map.lines) };
    by_program(program, pid, &map.lines, mask).map_err(|why| {
        let arguments = map.lines.split_whitespace().collect::<Vec<_>>().join(" ");
        Error::new(Kind::Os, format!("{at}: {} {pid} {arguments}: {why}", program.display())).with_at(at)
    })
}

/// Writes one file of a process that the caller made.
pub(crate) fn into_file(at: At, pid: u32, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    let mut options = std::fs::OpenOptions::new();
    let written = options.write(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        // A host id that the caller does not have himself: he is in a user namespace, or has not got CAP_SETFCAP, which
        // id 0 takes (Linux 5.12).
        let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM) if file != "setgroups" => " (a host id that is not the caller's to give)",
            _ => "",
        };
        let text = format!("{at}: write {path}: {}{hint}", os_text(&error));
        let wrapped = Error::new(Kind::Os, text).with_at(at);
        wrapped.with_errno(error.raw_os_error().unwrap_or(0))
    })
}

fn by_program(program: &Path, pid: u32, lines: &str, mask: u64) -> Result<(), String> {
    let say = |error: std::io::Error| os_text(&error);
    let words = hooks::memfd().map_err(say)?;
    let (out, err) = (words.try_clone().map_err(say)?, words.try_clone().map_err(say)?);
    let mut command = Command::new(program);
    // Setuid programs: nothing of our environment is their business.
    command.env_clear().arg(pid.to_string()).args(lines.split_whitespace());
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let mut child = sys::spawn_cleanly(&mut command, mask).map_err(say)?;
    let pidfd = hooks::open_pidfd(child.id()).map_err(say)?;
    let in_time = wait::ends(pidfd.as_fd(), Some(PATIENCE)).map_err(|e| say(e.into()))?;
    if !in_time {
        // Its user is still the caller, in whose name it works.
        child.kill().map_err(say)?;
    }
    match wait::reap(pidfd.as_fd()).map_err(|e| say(e.into()))? {
        _ if !in_time => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        Some(status) if status.exit_status() == Some(0) => Ok(()),
        status => {
            let how =
                status.as_ref().map_or_else(|| "its exit status was taken by somebody else".into(), ending::describe);
            let said = hooks::content(words);
            let said = said.trim().replace('\n', "; ");
            Err(if said.is_empty() { how } else { format!("{how}: {said}") })
        }
    }
}
