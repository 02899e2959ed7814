//! Values of `linux.resources.cpu`.
//!
//! Owns shares as weights, quota and period, and lists of CPUs as the bits that systemd takes.

use oci_spec::runtime::{LinuxCpu, LinuxResources};

use super::Sink;
use super::table::{Row, Text, Version};
use crate::error::At;
use crate::plan::systemd::Value;

/// systemd took the weight 0, for an idle cgroup, in 252.
pub(super) const IDLE_SINCE: u32 = 252;
pub(super) const CPUSET_SINCE: u32 = 244;
pub(super) const PERIOD_SINCE: u32 = 242;

pub(super) const DEFAULT_PERIOD: u64 = 100_000;
/// What the kernel could have at most (`CONFIG_NR_CPUS` of any architecture): a bound on what a list may ask for.
const MOST_CPUS: usize = 8192;

pub(super) fn get<T>(r: &LinuxResources, field: fn(&LinuxCpu) -> Option<T>) -> Option<T> {
    r.cpu().as_ref().and_then(field)
}

pub(super) fn text(value: Option<impl ToString>) -> Text {
    Ok(value.map(|v| v.to_string()))
}

pub(super) fn period(r: &LinuxResources) -> Option<u64> {
    get(r, |c| c.period()).filter(|n| *n != 0)
}

fn quota(r: &LinuxResources) -> Option<i64> {
    get(r, |c| c.quota()).filter(|n| *n != 0)
}

pub(super) fn put_period(r: &LinuxResources, version: Version) -> Text {
    match version {
        Version::V1 => text(period(r)),
        // With a quota they are one line, which the quota's row has.
        Version::V2 => Ok(period(r).filter(|_| quota(r).is_none()).map(|period| format!("max {period}"))),
    }
}

pub(super) fn put_quota(r: &LinuxResources, version: Version) -> Text {
    match version {
        Version::V1 => text(quota(r).map(|q| q.max(-1))),
        Version::V2 => {
            let quota = quota(r).map(|q| if q < 0 { "max".to_owned() } else { q.to_string() });
            Ok(quota.map(|quota| format!("{quota} {}", period(r).unwrap_or(DEFAULT_PERIOD))))
        }
    }
}

/// systemd keeps whole percents of a CPU, that is 10 ms of a second: rounded up, so that nobody gets less than he has
/// asked for. A period alone means no limit.
#[expect(clippy::unnecessary_wraps, reason = "a column of the table")]
pub(super) fn quota_per_second(r: &LinuxResources) -> Result<Option<Value>, String> {
    let period = period(r);
    Ok(match quota(r) {
        None => period.map(|_| Value::U64(u64::MAX)),
        Some(quota) => Some(Value::U64(per_second(quota, period.unwrap_or(DEFAULT_PERIOD)))),
    })
}

pub(super) fn per_second(quota: i64, period: u64) -> u64 {
    const PERCENT: u128 = 10_000;
    let Ok(quota) = u128::try_from(quota) else { return u64::MAX };
    let exact = quota * 1_000_000 / u128::from(period.max(1));
    u64::try_from(exact.div_ceil(PERCENT) * PERCENT).unwrap_or(u64::MAX)
}

/// The quota that systemd makes of the config's: what the files have to say as well, so that both agree.
pub(super) fn rounded_quota(cpu: &LinuxCpu) -> Option<i64> {
    let quota = cpu.quota().filter(|quota| *quota > 0)?;
    let period = cpu.period().filter(|period| *period != 0).unwrap_or(DEFAULT_PERIOD);
    let per_second = Some(per_second(quota, period)).filter(|usec| *usec != u64::MAX)?;
    i64::try_from(u128::from(per_second) * u128::from(period) / 1_000_000).ok()
}

pub(super) fn idle(r: &LinuxResources) -> Text {
    match get(r, |c| c.idle()) {
        Some(n) if n != 0 && n != 1 => Err(format!("{n} must be 0 or 1")),
        idle => text(idle),
    }
}

fn is_idle(r: &LinuxResources) -> bool {
    get(r, |c| c.idle()) == Some(1)
}

#[expect(clippy::unnecessary_wraps, reason = "a column of the table")]
pub(super) fn idle_weight(r: &LinuxResources) -> Result<Option<Value>, String> {
    Ok(is_idle(r).then_some(Value::U64(0)))
}

/// None for an idle cgroup: the kernel refuses a weight there.
pub(super) fn shares(r: &LinuxResources) -> Option<u64> {
    get(r, |c| c.shares()).filter(|n| *n != 0 && !is_idle(r))
}

pub(super) fn put_shares(sink: &mut Sink<'_>, r: &LinuxResources, row: &'static Row) {
    let at = At::field(row.at);
    if is_idle(r) && get(r, |c| c.shares()).is_some_and(|n| n != 0) {
        sink.warning(at, "ignored: unable to apply both shares and idle");
    }
    let Some(shares) = shares(r) else { return };
    let Some((place, file)) = sink.file(at, row) else { return };
    let value = if place.v2 { weight(shares).into() } else { shares };
    sink.put(at, place, file.name, value.to_string(), file.how.clone());
}

/// A curve through (2, 1), (1024, 100) and (262144, 10000), the lowest, the default and the highest of both
/// (runc from 1.3.2, crun from 1.24; the older straight line made the default 39).
pub(super) fn weight(shares: u64) -> u16 {
    let clamped = u32::try_from(shares.clamp(2, 262_144)).unwrap_or(262_144);
    let l = f64::from(clamped).log2();
    let weight = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
    (1..10_000).find(|w| f64::from(*w) >= weight).unwrap_or(10_000)
}

pub(super) fn cpus(r: &LinuxResources) -> Option<&String> {
    r.cpu().as_ref().and_then(|c| c.cpus().as_ref()).filter(|list| !list.is_empty())
}

pub(super) fn mems(r: &LinuxResources) -> Option<&String> {
    r.cpu().as_ref().and_then(|c| c.mems().as_ref()).filter(|list| !list.is_empty())
}

pub(super) fn bits_of(list: Option<&String>) -> Result<Option<Value>, String> {
    list.map(|list| bits(list)).transpose()
}

/// `0-2,8` as bits, the lowest first.
pub(super) fn bits(list: &str) -> Result<Value, String> {
    let wrong = || format!("{list:?} is no list of numbers and ranges below {MOST_CPUS}, such as \"0-3,7\"");
    let number = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n < MOST_CPUS).ok_or_else(wrong);
    let mut bytes: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        for n in first..=last {
            if let Some(byte) = bytes.get_mut(n / 8) {
                *byte |= 1 << (n % 8);
            }
        }
    }
    if bytes.is_empty() {
        return Err(wrong());
    }
    Ok(Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()))
}
