//! The files behind [`Stats`](crate::stats::Stats), as text: pure functions.
//!
//! The kernel adds lines, columns and names from release to release, so that more than is known is no error; a known place
//! that holds something else than expected is one, because a wrong number is worse than none. Nothing is indexed and nothing
//! counted past what the text has.

use std::collections::BTreeMap;

use crate::stats::{Blkio, BlkioEntry, CpuUsage, Pressure, Stall, Throttling};

/// What could not be read: the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed(pub String);

pub(super) type Parsed<T> = Result<T, Malformed>;

const NANOSECONDS: u64 = 1_000;
/// `USER_HZ` is 100 on every architecture that has containers.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

fn malformed(line: &str) -> Malformed {
    Malformed(line.chars().take(80).collect())
}

/// A counter. The kernel prints some of them signed, and then less than nothing is nothing.
pub(super) fn number(text: &str) -> Parsed<u64> {
    let text = text.trim();
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) if text.starts_with('-') && text.len() > 1 && text.bytes().skip(1).all(|b| b.is_ascii_digit()) => Ok(0),
        Err(_) => Err(malformed(text)),
    }
}

pub(super) fn signed(text: &str) -> Parsed<i64> {
    text.trim().parse().map_err(|_| malformed(text))
}

/// A limit of v2: `max` is none.
pub(super) fn limit(text: &str) -> Parsed<u64> {
    if text.trim() == "max" { Ok(u64::MAX) } else { number(text) }
}

/// `pids.max`, where none is 0.
pub(super) fn pids_limit(text: &str) -> Parsed<u64> {
    if text.trim() == "max" { Ok(0) } else { number(text) }
}

/// Lines of a key and a number.
pub(super) fn keyed(text: &str) -> Parsed<BTreeMap<String, u64>> {
    let mut map = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').ok_or_else(|| malformed(line))?;
        map.insert(key.to_owned(), number(value).map_err(|_| malformed(line))?);
    }
    Ok(map)
}

/// Of lines of a key and a number, those whose key is among `keys`; 0 for a key that has none.
fn values<const N: usize>(text: &str, keys: [&str; N]) -> Parsed<[u64; N]> {
    let mut found = [0; N];
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        for (slot, _) in found.iter_mut().zip(keys).filter(|(_, wanted)| *wanted == key) {
            *slot = number(value).map_err(|_| malformed(line))?;
        }
    }
    Ok(found)
}

/// v1 `cpu.stat`.
pub(super) fn throttling(text: &str) -> Parsed<Throttling> {
    let [periods, throttled_periods, throttled_time] = values(text, ["nr_periods", "nr_throttled", "throttled_time"])?;
    Ok(Throttling { periods, throttled_periods, throttled_time })
}

/// v2 `cpu.stat`.
pub(super) fn cpu_stat(text: &str) -> Parsed<(CpuUsage, Throttling)> {
    let times = ["usage_usec", "system_usec", "user_usec", "throttled_usec"];
    let [total, kernel, user, throttled_time] = values(text, times)?.map(|usec| usec.saturating_mul(NANOSECONDS));
    let [periods, throttled_periods] = values(text, ["nr_periods", "nr_throttled"])?;
    let usage = CpuUsage { total, kernel, user, ..CpuUsage::default() };
    Ok((usage, Throttling { periods, throttled_periods, throttled_time }))
}

/// v1 `cpuacct.stat`: time in the kernel, and in programs.
pub(super) fn cpuacct_stat(text: &str) -> Parsed<[u64; 2]> {
    Ok(values(text, ["system", "user"])?.map(|ticks| ticks.saturating_mul(NANOSECONDS_PER_TICK)))
}

/// v1 `cpuacct.usage_percpu`.
pub(super) fn numbers(text: &str) -> Parsed<Vec<u64>> {
    text.split_whitespace().map(number).collect()
}

/// v1 `cpuacct.usage_all`: time in the kernel, and in programs, of each processor. Columns are found by their names.
pub(super) fn usage_all(text: &str) -> Parsed<(Vec<u64>, Vec<u64>)> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let column = |name| heading.split_whitespace().position(|title| title == name);
    let (Some(user), Some(system)) = (column("user"), column("system")) else { return Ok(Default::default()) };
    let (mut kernel, mut program) = (Vec::new(), Vec::new());
    for line in lines {
        let cell = |column| line.split_whitespace().nth(column).ok_or_else(|| malformed(line)).and_then(number);
        kernel.push(cell(system)?);
        program.push(cell(user)?);
    }
    Ok((kernel, program))
}

/// A list such as `0-3,8`. It cannot grow beyond the numbers of its type.
pub(super) fn ranges(text: &str) -> Parsed<Vec<u16>> {
    let mut list = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let number = |text: &str| text.parse::<u16>().map_err(|_| malformed(part));
        match part.split_once('-') {
            None => list.push(number(part)?),
            Some((first, last)) if number(first)? <= number(last)? => list.extend(number(first)?..=number(last)?),
            Some(_) => return Err(malformed(part)),
        }
    }
    Ok(list)
}

/// A v1 file of the block controller: `MAJOR:MINOR [OPERATION] NUMBER`, and a total of all devices that is left out.
pub(super) fn blkio(text: &str) -> Parsed<Vec<BlkioEntry>> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (device, op, value) = match words.as_slice() {
            ["Total", _] | [] => continue,
            [device, value] => (device, "", value),
            [device, op, value] => (device, *op, value),
            _ => return Err(malformed(line)),
        };
        let (major, minor) = device_of(device).ok_or_else(|| malformed(line))?;
        let value = number(value).map_err(|_| malformed(line))?;
        entries.push(BlkioEntry { major, minor, op: op.to_owned(), value });
    }
    Ok(entries)
}

fn device_of(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// v2 `io.stat`: `MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N ...`. The kernel prints some devices as `(unknown)`.
pub(super) fn io_stat(text: &str) -> Parsed<Blkio> {
    let mut blkio = Blkio::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device_of) else { continue };
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match name {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            let value = number(value).map_err(|_| malformed(line))?;
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    Ok(blkio)
}

/// A `*.pressure` file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
pub(super) fn pressure(text: &str) -> Parsed<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        *stall = words.try_fold(Stall::default(), stalled).ok_or_else(|| malformed(line))?;
    }
    Ok(pressure)
}

fn stalled(mut stall: Stall, word: &str) -> Option<Stall> {
    let (name, value) = word.split_once('=')?;
    let share = || value.parse::<f64>().ok().filter(|share| share.is_finite());
    match name {
        "avg10" => stall.avg10 = share()?,
        "avg60" => stall.avg60 = share()?,
        "avg300" => stall.avg300 = share()?,
        "total" => stall.total = number(value).ok()?,
        _ => {}
    }
    Some(stall)
}

/// The number behind a key, of lines of both; 0 where there is none.
pub(super) fn value(text: &str, key: &str) -> Parsed<u64> {
    values(text, [key]).map(|[value]| value)
}

/// The page size that a file of the huge page controller is about, and whether it counts reservations:
/// `hugetlb.2MB.rsvd.current`.
pub(super) fn page_size<'n>(file: &'n str, suffix: &str) -> Option<(&'n str, bool)> {
    let size = file.strip_prefix("hugetlb.")?.strip_suffix(suffix)?.strip_suffix('.')?;
    match size.strip_suffix(".rsvd") {
        Some(size) => Some((size, true)),
        None => Some((size, false)),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// Each text with what it means; `None`: refused, and by the line that is wrong.
    #[track_caller]
    fn table<T: Debug + PartialEq>(parse: impl Fn(&str) -> Parsed<T>, rows: Vec<(&str, Option<T>)>) {
        for (text, expected) in rows {
            assert_eq!(parse(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn single_values() {
        let huge = "18446744073709551616";
        table(number, vec![("0\n", Some(0)), ("18446744073709551615", Some(u64::MAX)), (huge, None), ("-5", Some(0))]);
        table(number, vec![("-99999999999999999999", Some(0)), ("", None), ("-", None), ("-x", None), ("1 2", None)]);
        table(signed, vec![("-1\n", Some(-1)), ("5", Some(5)), ("", None), (huge, None)]);
        table(limit, vec![("max\n", Some(u64::MAX)), ("4096\n", Some(4096)), ("maximum", None)]);
        table(pids_limit, vec![("max\n", Some(0)), ("50\n", Some(50)), ("", None)]);
    }

    #[test]
    fn lists_of_numbers() {
        table(
            numbers,
            vec![("10528545 3900390 \n", Some(vec![10_528_545, 3_900_390])), ("", Some(vec![])), ("1 x", None)],
        );
        let long: Vec<u16> = (0..=u16::MAX).collect();
        table(
            ranges,
            vec![("0-1\n", Some(vec![0, 1])), ("0-2,8,10-10", Some(vec![0, 1, 2, 8, 10])), ("\n", Some(vec![]))],
        );
        table(ranges, vec![("0-65535", Some(long)), ("3-1", None), ("0-65536", None), ("-", None), ("a", None)]);
        table(ranges, vec![("0-4294967295", None), ("1-2-3", None)]);
    }

    #[test]
    fn v1_processor_time() {
        let stat = "nr_periods 5\nnr_throttled 3\nthrottled_time 113858000\nnr_bursts 0\nburst_time 0\n";
        let seen = Throttling { periods: 5, throttled_periods: 3, throttled_time: 113_858_000 };
        table(throttling, vec![(stat, Some(seen)), ("", Some(Throttling::default())), ("nr_periods x", None)]);
        table(cpuacct_stat, vec![("user 3\nsystem 2\n", Some([20_000_000, 30_000_000])), ("user\n", Some([0, 0]))]);
        table(cpuacct_stat, vec![("user 18446744073709551615\n", Some([0, u64::MAX]))]);
        let all = "cpu user system\n0 8000000 7000000\n1 0 1\n";
        let seen = (vec![7_000_000, 1], vec![8_000_000, 0]);
        table(usage_all, vec![(all, Some(seen)), ("", Some(Default::default())), ("cpu user system\n0 1\n", None)]);
        table(
            usage_all,
            vec![("cpu nice\n0 1\n", Some(Default::default())), ("cpu system user\n0 1 2\n", Some((vec![1], vec![2])))],
        );
    }

    #[test]
    fn v2_processor_time() {
        let text = "usage_usec 498071\nuser_usec 262376\nsystem_usec 235694\nnice_usec 0\nnr_periods 6\nnr_throttled 3\n\
                    throttled_usec 113858\nnr_bursts 0\nburst_usec 0\n";
        let usage = CpuUsage { total: 498_071_000, user: 262_376_000, kernel: 235_694_000, ..CpuUsage::default() };
        let throttling = Throttling { periods: 6, throttled_periods: 3, throttled_time: 113_858_000 };
        table(
            cpu_stat,
            vec![(text, Some((usage, throttling))), ("", Some(Default::default())), ("usage_usec -\n", None)],
        );
        let endless = CpuUsage { total: u64::MAX, ..CpuUsage::default() };
        table(cpu_stat, vec![("usage_usec 18446744073709551615", Some((endless, Throttling::default())))]);
    }

    #[test]
    fn v1_block_devices() {
        let text = "254:0 Read 335872\n254:0 Write 0\n254:0 Sync 1\n254:0 Total 335872\nTotal 335872\n";
        let entry = |op: &str, value| BlkioEntry { major: 254, minor: 0, op: op.into(), value };
        let seen = vec![entry("Read", 335_872), entry("Write", 0), entry("Sync", 1), entry("Total", 335_872)];
        table(blkio, vec![(text, Some(seen)), ("Total 0\n", Some(vec![])), ("254:0 11\n", Some(vec![entry("", 11)]))]);
        table(
            blkio,
            vec![("254 Read 1", None), ("254:0 Read x", None), ("1:2 a b c", None), (":: 1", None), ("x", None)],
        );
    }

    #[test]
    fn v2_block_devices() {
        let text = "254:0 rbytes=335872 wbytes=0 rios=10 wios=0 dbytes=0 dios=0\n(unknown) rbytes=1\n\n7:0 \n";
        let entry = |op: &str, value| BlkioEntry { major: 254, minor: 0, op: op.into(), value };
        let seen = Blkio {
            io_service_bytes_recursive: vec![entry("Read", 335_872), entry("Write", 0)],
            io_serviced_recursive: vec![entry("Read", 10), entry("Write", 0)],
            ..Blkio::default()
        };
        table(io_stat, vec![(text, Some(seen)), ("", Some(Blkio::default())), ("8:0 rbytes=x\n", None)]);
        table(io_stat, vec![("8:0 cost.usage=1 rbytes\n", Some(Blkio::default()))]);
    }

    #[test]
    fn pressures() {
        let text =
            "some avg10=1.50 avg60=0.00 avg300=0.07 total=88828\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=70961\n";
        let some = Stall { avg10: 1.5, avg60: 0.0, avg300: 0.07, total: 88_828 };
        let seen = Pressure { some, full: Stall { total: 70_961, ..Stall::default() } };
        table(pressure, vec![(text, Some(seen)), ("", Some(Pressure::default())), ("some avg10", None)]);
        table(
            pressure,
            vec![("some avg10=NaN", None), ("some total=-", None), ("some new=x", Some(Pressure::default()))],
        );
    }

    #[test]
    fn keys_and_values() {
        let map = |pairs: &[(&str, u64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<BTreeMap<_, _>>();
        table(keyed, vec![("cache 0\nrss 53248\n", Some(map(&[("cache", 0), ("rss", 53_248)]))), ("", Some(map(&[])))]);
        table(keyed, vec![("cache", None), ("cache 1 2", None), ("a 1\na 2", Some(map(&[("a", 2)])))]);
        assert_eq!(keyed("a 1\nb nonsense\n"), Err(Malformed("b nonsense".into())));
        assert_eq!(number(&"y".repeat(5000)).unwrap_err().0.len(), 80);
        table(|text| value(text, "max"), vec![("low 1\nmax 3\n", Some(3)), ("maximum 3\n", Some(0)), ("max m", None)]);
    }

    #[test]
    fn page_sizes_are_read_from_names() {
        assert_eq!(page_size("hugetlb.2MB.current", "current"), Some(("2MB", false)));
        assert_eq!(page_size("hugetlb.1GB.rsvd.current", "current"), Some(("1GB", true)));
        assert_eq!(page_size("hugetlb.64KB.usage_in_bytes", "usage_in_bytes"), Some(("64KB", false)));
        for other in ["hugetlb.2MB.max", "memory.current", "hugetlb.current", "hugetlb.2MB.max_usage_in_bytes"] {
            assert_eq!(page_size(other, "current").or(page_size(other, "usage_in_bytes")), None, "{other}");
        }
    }
}
