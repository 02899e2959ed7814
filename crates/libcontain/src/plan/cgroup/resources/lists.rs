//! pids, huge pages, RDMA and network: what is left of `linux.resources`.
//!
//! Owns the checks of names that become part of a file name or of a line.

use oci_spec::runtime::LinuxResources;

use super::table::{Row, Second};
use super::{Sink, sorted};
use crate::error::At;
use crate::plan::cgroup::How;
use crate::plan::systemd::Value;

/// 0 would not let init in: as systemd has it, it is 1.
fn pids_limit(r: &LinuxResources) -> Option<u64> {
    r.pids().as_ref().map(|pids| match pids.limit() {
        0 => 1,
        n => u64::try_from(n).unwrap_or(u64::MAX),
    })
}

pub(super) fn pids(r: &LinuxResources) -> Option<String> {
    pids_limit(r).map(|n| if n == u64::MAX { "max".to_owned() } else { n.to_string() })
}

#[expect(clippy::unnecessary_wraps, reason = "a column of the table")]
pub(super) fn tasks_max(r: &LinuxResources) -> Result<Option<Value>, String> {
    Ok(pids_limit(r).map(Value::U64))
}

pub(super) fn class_id(r: &LinuxResources) -> Option<String> {
    r.network().as_ref().and_then(|n| n.class_id()).filter(|n| *n != 0).map(|n| n.to_string())
}

/// The page size becomes part of a file name: nothing but a size may pass (runc#4103).
pub(super) fn hugetlb(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    for (i, huge) in r.hugepage_limits().iter().flatten().enumerate() {
        let (size, limit) = (huge.page_size(), huge.limit());
        if !is_page_size(size) {
            let text = format!("{size:?} is no page size: expected a number and KB, MB or GB, such as \"2MB\"");
            sink.error(At::item("linux.resources.hugepageLimits[#].pageSize", i), text);
            continue;
        }
        let at = At::item(row.at, i);
        if limit < 0 {
            sink.error(at, format!("{limit} must not be negative"));
            continue;
        }
        let Some((place, file)) = sink.file(at, row) else { return };
        sink.put(at, place, file.name.replace("SIZE", size), limit.to_string(), How::Must);
        if let Second::Besides(second) = file.second {
            sink.put(at, place, second.replace("SIZE", size), limit.to_string(), How::IfPresent);
        }
    }
}

fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or("");
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn rdma(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    let at = At::field("linux.resources.rdma");
    for (device, limit) in sorted(r.rdma().as_ref()) {
        if !is_word(device) {
            sink.error(at, format!("{device:?} is no device name"));
            continue;
        }
        let handles = limit.hca_handles().map(|n| format!(" hca_handle={n}")).unwrap_or_default();
        let objects = limit.hca_objects().map(|n| format!(" hca_object={n}")).unwrap_or_default();
        if handles.is_empty() && objects.is_empty() {
            continue;
        }
        let Some((place, file)) = sink.file(at, row) else { return };
        sink.put(at, place, file.name, format!("{device}{handles}{objects}"), How::Must);
    }
}

pub(super) fn priorities(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    let priorities = r.network().as_ref().and_then(|n| n.priorities().as_ref());
    for (i, interface) in priorities.into_iter().flatten().enumerate() {
        let at = At::item(row.at, i);
        if !is_word(interface.name()) {
            sink.error(at, format!("{:?} is no interface name", interface.name()));
            continue;
        }
        let Some((place, file)) = sink.file(at, row) else { return };
        sink.put(at, place, file.name, format!("{} {}", interface.name(), interface.priority()), How::Must);
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}
