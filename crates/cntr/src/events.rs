//! `events`: what a container uses, now and then, and what happens to it, as it happens. One JSON object per line.

use crate::args::Parsed;
use crate::globals::{Globals, id};
use crate::{duration, json};
use anyhow::{Context, bail};
use libcontain::stats::Stats;
use libcontain::{Container, Status, WatchEvent};
use rustix::stdio;
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Record<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

/// Prints records until the container, or its reader, is gone.
pub fn events(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let container = globals.runtime().container(&id(args.operand(0))?)?;
    let interval = interval(args)?;
    if container.status()? == Status::Stopped {
        bail!("container with id {} is not running", container.id());
    }
    if args.is_set("stats") {
        return print(&container, "stats", Some(container.stats()?)).map(|_| 0);
    }
    follow(globals, &container, interval)
}

fn interval(args: &Parsed) -> anyhow::Result<Duration> {
    let Some(given) = args.value("interval") else { return Ok(INTERVAL) };
    let nanoseconds = duration::parse(&given.to_string_lossy()).and_then(|n| u64::try_from(n).ok());
    match nanoseconds.filter(|n| *n > 0) {
        Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        None => bail!("duration interval must be greater than 0"),
    }
}

fn follow(globals: &Globals<'_>, container: &Container, interval: Duration) -> anyhow::Result<u8> {
    let mut watch = container.watch()?;
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let done = match watch.wait(Some(left), Some(stdio::stdout().as_fd()))? {
            Some(WatchEvent::Oom) => print(container, "oom", None)?,
            Some(_) => ControlFlow::Break(()),
            None => {
                // Of several that are due at once, after this process was stopped for a while, one is enough.
                next = (next + interval).max(Instant::now());
                match container.stats() {
                    Ok(stats) => print(container, "stats", Some(stats))?,
                    Err(error) => {
                        globals.log.warning(&error.to_string());
                        ControlFlow::Continue(())
                    }
                }
            }
        };
        if done.is_break() {
            return Ok(0);
        }
    }
}

/// A reader that has gone away ends it.
fn print(container: &Container, kind: &'static str, data: Option<Stats>) -> anyhow::Result<ControlFlow<()>> {
    let line = json::compact(&Record { kind, id: container.id().as_str(), data })? + "\n";
    let mut out = std::io::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        written => written.context("write /dev/stdout").map(ControlFlow::Continue),
    }
}
