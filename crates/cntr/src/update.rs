//! `update`: what the flags, or a file with a `linux.resources` object, ask for.
//!
//! Owns the words of the flags: numbers, and sizes with a unit as Docker's go-units reads them. What is done with them is
//! the library's.

use crate::args::Parsed;
use crate::document;
use crate::globals::{Globals, id};
use anyhow::anyhow;
use libcontain::Update;
use libcontain::spec::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

/// Changes the resources of a container.
pub fn update(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let mut container = globals.runtime().container(&id(args.operand(0))?)?;
    let mut update = match args.given("resources") {
        Some(file) => Update::from_json(&document::read_file_or_stdin(file)?)?,
        None => Update { resources: resources(args)?, ..Update::default() },
    };
    if forget_kernel_memory(&mut update.resources) {
        globals.log.warning("Kernel memory settings are ignored and will be removed");
    }
    let text = |flag: &str| args.given(flag).map(|value| value.to_string_lossy().into_owned());
    (update.l3_cache_schema, update.mem_bw_schema) = (text("l3-cache-schema"), text("mem-bw-schema"));
    globals.log.warnings(&container.update(&update)?);
    Ok(0)
}

/// Whether there was anything to forget.
fn forget_kernel_memory(resources: &mut LinuxResources) -> bool {
    #[allow(deprecated)]
    let given = |m: &LinuxMemory| m.kernel().is_some() || m.kernel_tcp().is_some();
    let Some(mut memory) = (*resources.memory()).filter(given) else { return false };
    #[allow(deprecated)]
    memory.set_kernel(None).set_kernel_tcp(None);
    resources.set_memory(Some(memory));
    true
}

/// What the flags say. A flag with an empty value is as one that is not given.
fn resources(args: &Parsed) -> anyhow::Result<LinuxResources> {
    let flags = Flags(args);
    let mut memory = LinuxMemory::default();
    memory.set_limit(flags.size("memory")?).set_swap(flags.size("memory-swap")?);
    memory.set_reservation(flags.size("memory-reservation")?);
    #[allow(deprecated)]
    memory.set_kernel(flags.size("kernel-memory")?).set_kernel_tcp(flags.size("kernel-memory-tcp")?);
    let mut cpu = LinuxCpu::default();
    cpu.set_period(flags.unsigned("cpu-period")?).set_quota(flags.signed("cpu-quota")?);
    cpu.set_burst(flags.unsigned("cpu-burst")?).set_shares(flags.unsigned("cpu-share")?);
    cpu.set_realtime_period(flags.unsigned("cpu-rt-period")?).set_realtime_runtime(flags.signed("cpu-rt-runtime")?);
    cpu.set_idle(flags.signed("cpu-idle")?);
    cpu.set_cpus(flags.text("cpuset-cpus")).set_mems(flags.text("cpuset-mems"));
    let mut block_io = LinuxBlockIo::default();
    let weight = flags.signed("blkio-weight")?;
    let out_of_range = |n| anyhow!("invalid value for blkio-weight: {n} is out of range: expected 10 to 1000");
    block_io.set_weight(weight.map(|n| u16::try_from(n).map_err(|_| out_of_range(n))).transpose()?);
    let mut resources = LinuxResources::default();
    resources.set_memory(Some(memory)).set_cpu(Some(cpu)).set_block_io(Some(block_io));
    resources.set_pids(flags.signed("pids-limit")?.map(|limit| *LinuxPids::default().set_limit(limit)));
    Ok(resources)
}

/// Values of flags, by their long names.
struct Flags<'a>(&'a Parsed);

impl Flags<'_> {
    fn text(&self, flag: &str) -> Option<String> {
        self.0.given(flag).map(|value| value.to_string_lossy().into_owned())
    }

    fn parsed<T>(&self, flag: &str, parse: fn(&str) -> Result<T, String>) -> anyhow::Result<Option<T>> {
        let Some(text) = self.text(flag) else { return Ok(None) };
        parse(&text).map(Some).map_err(|why| anyhow!("invalid value for {flag}: {why}"))
    }

    fn unsigned(&self, flag: &str) -> anyhow::Result<Option<u64>> {
        self.parsed(flag, |text| text.parse().map_err(|error| go_error("ParseUint", text, &error)))
    }

    fn signed(&self, flag: &str) -> anyhow::Result<Option<i64>> {
        self.parsed(flag, |text| text.parse().map_err(|error| go_error("ParseInt", text, &error)))
    }

    fn size(&self, flag: &str) -> anyhow::Result<Option<i64>> {
        self.parsed(flag, |text| if text == "-1" { Ok(-1) } else { size(text) })
    }
}

/// An error of Go's strconv.
fn go_error(call: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
    format!("strconv.{call}: parsing {text:?}: {why}")
}

/// Bytes: a number, perhaps with a fraction, and a unit of which each is 1024 times the one before: `64m`, `50 MB`,
/// `1.5GiB`, `100b`, `7`.
fn size(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)? + 1;
    let (number, unit) = text.split_at(end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let unit = unit.to_ascii_lowercase();
    let (letter, rest) = unit.split_at(unit.chars().next().map_or(0, char::len_utf8));
    let power = match (letter, rest) {
        ("", "") | ("b", "") => 0,
        (letter, "" | "b" | "ib") if !letter.is_empty() && "kmgtp".contains(letter) => {
            "kmgtp".find(letter).and_then(|at| u32::try_from(at).ok()).unwrap_or(0) + 1
        }
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return Err(invalid());
    }
    // In whole numbers: the digits as one, then what they are too big by. More than 18 of a fraction are less than a byte.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let number: u128 = format!("{whole}{fraction}").parse().map_err(|_| invalid())?;
    let bytes = number.checked_mul(1u128 << (10 * power)).map(|n| n / scale);
    bytes.and_then(|n| i64::try_from(n).ok()).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("7", 7),
            ("100b", 100),
            ("64m", 64 << 20),
            ("50M", 50 << 20),
            ("50MB", 50 << 20),
            ("1GiB", 1 << 30),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("2 kb", 2048),
            ("3t", 3 << 40),
            ("1p", 1 << 50),
            ("0.0000000001k", 0),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("", "invalid size: ''"),
            ("abc", "invalid size: 'abc'"),
            ("-5", "invalid size: '-5'"),
            ("1 2", "invalid size: '1 2'"),
            ("1..5m", "invalid size: '1..5m'"),
            (".", "invalid size: '.'"),
            ("9223372036854775808", "invalid size: '9223372036854775808'"),
            (
                "99999999999999999999999999999999999999999p",
                "invalid size: '99999999999999999999999999999999999999999p'",
            ),
            ("5x", "invalid suffix: 'x'"),
            ("5bb", "invalid suffix: 'bb'"),
            ("5mm", "invalid suffix: 'mm'"),
            ("5kibi", "invalid suffix: 'kibi'"),
            ("5ü", "invalid suffix: 'ü'"),
        ] {
            assert_eq!(size(text), Err(why.to_owned()), "{text}");
        }
    }
}
