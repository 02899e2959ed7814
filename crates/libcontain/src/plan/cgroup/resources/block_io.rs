//! `linux.resources.blockIO`: weights, and limits for each device.
//!
//! Owns the range of weights and how a device is written. `blkio.bfq.*` and `io.bfq.*` are there where the BFQ
//! scheduler does the weighing.

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

use super::Sink;
use super::table::{Row, Second};
use crate::error::At;
use crate::plan::cgroup::How;
use crate::plan::systemd::Value;

const LOWEST: u16 = 10;
const HIGHEST: u16 = 1000;

fn in_range(weight: u16) -> bool {
    (LOWEST..=HIGHEST).contains(&weight)
}

/// What is wrong with it, the file's value says.
#[expect(clippy::unnecessary_wraps, reason = "a column of the table")]
pub(super) fn unit_weight(r: &LinuxResources) -> Result<Option<Value>, String> {
    let weight = r.block_io().as_ref().and_then(LinuxBlockIo::weight);
    Ok(weight.filter(|weight| in_range(*weight)).map(|weight| Value::U64(weight.into())))
}

pub(super) fn weight(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    let at = At::field(row.at);
    let Some(weight) = checked(sink, at, r.block_io().as_ref().and_then(LinuxBlockIo::weight)) else { return };
    let Some((place, file)) = sink.file(at, row) else { return };
    let Second::Instead(second) = file.second else { return };
    let scaled = 1 + u32::from(weight - LOWEST) * 9999 / u32::from(HIGHEST - LOWEST);
    let other = if place.v2 { scaled } else { weight.into() };
    sink.put(at, place, file.name, weight.to_string(), How::Or(second.to_owned(), other.to_string()));
}

pub(super) fn leaf_weight(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    let at = At::field(row.at);
    if let Some(weight) = checked(sink, at, r.block_io().as_ref().and_then(LinuxBlockIo::leaf_weight))
        && let Some((place, file)) = sink.file(at, row)
    {
        sink.put(at, place, file.name, weight.to_string(), How::Must);
    }
}

pub(super) fn device_weights(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    each_device(sink, r, row, LinuxWeightDevice::weight, true);
}

pub(super) fn device_leaf_weights(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    each_device(sink, r, row, LinuxWeightDevice::leaf_weight, false);
}

/// A wrong device number is reported by the first of the two rows that share the list.
fn each_device(
    sink: &mut Sink<'_>,
    r: &LinuxResources,
    row: &'static Row,
    weight: fn(&LinuxWeightDevice) -> Option<u16>,
    reports: bool,
) {
    let list = r.block_io().as_ref().and_then(|b| b.weight_device().as_ref());
    for (i, device) in list.into_iter().flatten().enumerate() {
        let name = match name(device.major(), device.minor()) {
            Ok(name) => name,
            Err(text) if reports => {
                sink.error(At::item("linux.resources.blockIO.weightDevice[#]", i), text);
                continue;
            }
            Err(_) => continue,
        };
        let at = At::item(row.at, i);
        let Some(weight) = checked(sink, at, weight(device)) else { continue };
        let Some((place, file)) = sink.file(at, row) else { continue };
        let value = format!("{name} {weight}");
        let how = match file.second {
            Second::Instead(second) => How::Or(second.to_owned(), value.clone()),
            Second::None | Second::Besides(_) => How::Must,
        };
        sink.put(at, place, file.name, value, how);
    }
}

fn checked(sink: &mut Sink<'_>, at: At, weight: Option<u16>) -> Option<u16> {
    let weight = weight.filter(|w| *w != 0)?;
    if in_range(weight) {
        return Some(weight);
    }
    sink.error(at, format!("{weight} is out of range: expected {LOWEST} to {HIGHEST}"));
    None
}

fn name(major: i64, minor: i64) -> Result<String, String> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => Err(format!("{major}:{minor} is no device number: expected 0 to {}", u32::MAX)),
    }
}

/// 0 is "no limit" on v1, and out of range on v2.
pub(super) fn throttle(
    sink: &mut Sink<'_>,
    r: &LinuxResources,
    row: &'static Row,
    list: fn(&LinuxBlockIo) -> &Option<Vec<LinuxThrottleDevice>>,
    key: &str,
) {
    let list = r.block_io().as_ref().and_then(|b| list(b).as_ref());
    for (i, device) in list.into_iter().flatten().enumerate() {
        let at = At::item(row.at, i);
        let name = match name(device.major(), device.minor()) {
            Ok(name) => name,
            Err(text) => {
                sink.error(at, text);
                continue;
            }
        };
        let Some((place, file)) = sink.file(at, row) else { return };
        let value = match (place.v2, device.rate()) {
            (false, rate) => format!("{name} {rate}"),
            (true, 0) => format!("{name} {key}=max"),
            (true, rate) => format!("{name} {key}={rate}"),
        };
        sink.put(at, place, file.name, value, How::Must);
    }
}
