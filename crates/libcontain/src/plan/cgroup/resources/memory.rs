//! Values of `linux.resources.memory`.
//!
//! Owns what 0 and -1 mean, and memory with swap: the config counts both together, as v1 does, v2 swap alone.

use oci_spec::runtime::{LinuxMemory, LinuxResources};

use super::table::{Row, Text, Version};
use super::{Sink, TABLE};
use crate::error::At;
use crate::plan::cgroup::How;
use crate::plan::systemd::Value;

pub(super) fn get<T>(r: &LinuxResources, field: fn(&LinuxMemory) -> Option<T>) -> Option<T> {
    r.memory().as_ref().and_then(field)
}

fn unlimited(version: Version) -> &'static str {
    if version == Version::V2 { "max" } else { "-1" }
}

/// 0 is "not set", -1 is "no limit".
pub(super) fn bytes(value: Option<i64>, version: Version) -> Text {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(unlimited(version).to_owned())),
        Some(n) if n < 0 => Err(format!("{n} must be -1 (no limit) or a number of bytes")),
        Some(n) => Ok(Some(n.to_string())),
    }
}

/// The same as systemd has it, whose "no limit" is the highest number. What is wrong, the file's value says.
#[expect(clippy::unnecessary_wraps, reason = "a column of the table")]
pub(super) fn limit(r: &LinuxResources, field: fn(&LinuxMemory) -> Option<i64>) -> Result<Option<Value>, String> {
    Ok(match get(r, field) {
        None | Some(0) => None,
        Some(-1) => Some(Value::U64(u64::MAX)),
        Some(n) => u64::try_from(n).ok().map(Value::U64),
    })
}

/// v1 limits memory and memory+swap, and the first can never be above the second: on a new cgroup, where neither is set,
/// memory goes first. On v2 swap goes first.
pub(super) fn limit_and_swap(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    const SWAP: &str = "linux.resources.memory.swap";
    let Some(swap_row) = TABLE.iter().find(|row| row.at == SWAP) else { return };
    let asked = |f| get(r, f).filter(|n| *n != 0);
    let (memory, both) = (asked(LinuxMemory::limit), asked(LinuxMemory::swap));
    let at = if memory.is_some() { row.at } else { SWAP };
    if memory.is_none() && both.is_none() {
        return;
    }
    let Some(place) = sink.place(At::field(at), row) else { return };
    let version = place.version();
    let (Some(memory_file), Some(swap_file)) = (row.file(version), swap_row.file(version)) else { return };
    let swap_text = if place.v2 { swap_v2(memory, both) } else { swap_v1(memory, both) };
    // A kernel without swap accounting need not be told that there is no limit, or no swap.
    let swap_how = if is_needless(&swap_text, version) { How::IfPresent } else { How::Must };
    let mut files = [
        (row.at, memory_file.name, How::Must, bytes(memory, version)),
        (swap_row.at, swap_file.name, swap_how, swap_text),
    ];
    if place.v2 {
        files.reverse();
    }
    for (at, file, how, value) in files {
        match value {
            Ok(Some(value)) => sink.put(At::field(at), place, file, value, how),
            Ok(None) => {}
            Err(text) => sink.error(At::field(at), text),
        }
    }
}

fn is_needless(swap: &Text, version: Version) -> bool {
    matches!(swap, Ok(Some(value)) if value == unlimited(version) || value == "0")
}

fn checked_swap(memory: Option<i64>, both: Option<i64>) -> Result<(), String> {
    match (memory.unwrap_or(0), both.unwrap_or(0)) {
        (_, both) if both < -1 => Err(format!("{both} must be -1 (no limit) or a number of bytes")),
        (memory, both) if memory > 0 && both > 0 && both < memory => {
            Err("memory+swap limit should be >= memory limit".to_owned())
        }
        _ => Ok(()),
    }
}

/// Unlimited memory with limited memory+swap cannot be: without a word about swap it is unlimited as well.
fn swap_v1(memory: Option<i64>, both: Option<i64>) -> Text {
    checked_swap(memory, both)?;
    bytes(if memory == Some(-1) { both.or(Some(-1)) } else { both }, Version::V1)
}

/// The config's value counts memory and swap together, v2's file swap alone.
fn swap_v2(memory: Option<i64>, both: Option<i64>) -> Text {
    checked_swap(memory, both)?;
    match (memory, both) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (Some(-1), Some(both)) => Ok(Some(both.to_string())),
        (None, Some(_)) => Err("unable to set swap limit without memory limit".to_owned()),
        (Some(memory), Some(both)) => Ok(Some(both.saturating_sub(memory).to_string())),
    }
}

/// The property has the number that the file has.
#[expect(clippy::unnecessary_wraps, reason = "a column of the table")]
pub(super) fn swap_max(r: &LinuxResources) -> Result<Option<Value>, String> {
    let asked = |f| get(r, f).filter(|n| *n != 0);
    Ok(match swap_v2(asked(LinuxMemory::limit), asked(LinuxMemory::swap)) {
        Ok(Some(text)) if text == "max" => Some(Value::U64(u64::MAX)),
        Ok(Some(text)) => text.parse().ok().map(Value::U64),
        Ok(None) | Err(_) => None,
    })
}

/// -1, which engines pass as an unsigned number, leaves it alone.
pub(super) fn swappiness(r: &LinuxResources) -> Text {
    match get(r, LinuxMemory::swappiness) {
        None | Some(u64::MAX) => Ok(None),
        Some(n) if n > 100 => Err(format!("invalid memory swappiness value: {n} (valid range is 0-100)")),
        Some(n) => Ok(Some(n.to_string())),
    }
}
