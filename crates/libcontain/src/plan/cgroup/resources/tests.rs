//! The table against contract 4.9, 6.3 and 6.9, written down once more by hand: whoever changes a row has to change it
//! here as well, and a row without a case fails.

use super::*;
use crate::host::Host;
use crate::plan::cgroup::tests::{planned, v1, v2};
use crate::plan::systemd::Value;

mod cases;
use self::cases::{CPU, Case, IO, LISTS, MEMORY, NOT_IN_V2, UNIFIED_CASES};

fn cases() -> impl Iterator<Item = &'static Case> {
    [MEMORY, CPU, IO, LISTS, UNIFIED_CASES].into_iter().flatten()
}

fn manager(version: u32) -> Manager {
    Manager { version, control_group: "/".to_owned(), user: false }
}

/// A value with the type that D-Bus gets.
fn typed(value: &Value) -> String {
    match value {
        Value::U64(_) => format!("t {value}"),
        Value::Text(_) => format!("s {value}"),
        Value::Array(signature, items) => {
            items.iter().fold(format!("a{signature}"), |text, item| format!("{text} {item}"))
        }
        other => panic!("no property has a value such as {other:?}"),
    }
}

fn files(resources: &str, layout: &Layout) -> (Vec<String>, Vec<Problem>) {
    let (plan, problems) = planned(&format!(r#"{{"resources":{resources}}}"#), layout, false);
    let rules = resources.contains("devices");
    let writes = plan.writes.iter().filter(|w| rules || w.controller != "devices");
    let line = |w: &Write| match &w.how {
        How::Or(file, value) => format!("{}={} or {file}={value}", w.file, w.value),
        _ => format!("{}={}", w.file, w.value),
    };
    (writes.map(line).collect(), problems)
}

fn asked(resources: &str, layout: &Layout, version: u32) -> (Vec<String>, Vec<Problem>) {
    let mut problems = Vec::new();
    let resources = serde_json::from_str(resources).unwrap();
    let properties = properties(&resources, layout, &manager(version), &mut problems);
    (properties.iter().map(|p| format!("{}={}", p.name, typed(&p.value))).collect(), problems)
}

/// Lines as expected, and after them the problems, each beginning as expected.
fn judge(what: &str, expected: &[&str], (lines, problems): &(Vec<String>, Vec<Problem>)) {
    let (wrong, right): (Vec<&str>, Vec<&str>) = expected.iter().partition(|line| line.starts_with('!'));
    assert_eq!(lines, &right, "{what}");
    assert_eq!(problems.len(), wrong.len(), "{what}: {problems:?}");
    for (problem, wrong) in problems.iter().zip(wrong) {
        let wrong = wrong.trim_start_matches('!').replace("NOT_IN_V2", NOT_IN_V2);
        assert!(problem.to_string().starts_with(&format!("linux.resources.{wrong}")), "{what}: {problem}");
    }
}

#[test]
fn every_row_of_the_table() {
    for (resources, [on_v1, on_v2, unit_v1, unit_v2]) in cases() {
        judge(&format!("{resources} on v1"), on_v1, &files(resources, &v1()));
        judge(&format!("{resources} on v2"), on_v2, &files(resources, &v2()));
        judge(&format!("{resources}, systemd on v1"), unit_v1, &asked(resources, &v1(), 257));
        judge(&format!("{resources}, systemd on v2"), unit_v2, &asked(resources, &v2(), 257));
    }
}

/// Each file and each property of each row is the answer to some case that has the row's field.
#[test]
fn every_row_has_a_case() {
    for row in rows() {
        let of_row = || cases().filter(|(resources, _)| members(row.at).all(|name| resources.contains(&name)));
        assert!(of_row().next().is_some(), "{} has no case", row.at);
        let must_answer = |column: usize, name: &str| {
            let answers = |(_, expected): &Case| {
                let lines = expected.get(column).into_iter().flat_map(|lines| lines.iter());
                lines.flat_map(|line| line.split(" or ")).any(|line| line.split('=').next() == Some(name))
            };
            assert!(of_row().any(answers), "{}: no case answers with {name} in column {column}", row.at);
        };
        for (column, file) in [&row.v1, &row.v2].into_iter().enumerate() {
            let Some(file) = file.as_ref().filter(|file| file.name != "FILE") else { continue };
            let second = match file.second {
                Second::Instead(name) | Second::Besides(name) => Some(name),
                Second::None => None,
            };
            [Some(file.name), second]
                .into_iter()
                .flatten()
                .for_each(|n| must_answer(column, &n.replace("SIZE", "2MB")));
        }
        for (column, unit) in [(2, &row.unit_v1), (3, &row.unit_v2)] {
            let names = unit.iter().flat_map(|unit| unit.names).filter(|name| **name != "OOMPolicy");
            names.for_each(|name| must_answer(column, name));
        }
    }
}

/// The member names of a place: `linux.resources.a[#].b` has `"a"` and `"b"`.
fn members(at: &'static str) -> impl Iterator<Item = String> {
    let parts = at.trim_start_matches("linux.resources.").split('.').filter(|part| *part != "*");
    parts.map(|part| format!("\"{}\"", part.trim_end_matches("[#]")))
}

/// The spec's fields are all in the table, by themselves or with the list that they are in.
#[test]
fn every_field_of_the_spec_has_a_row() {
    let fields = include_str!("../../../../tests/data/spec-fields.txt").lines();
    let fields: Vec<String> = fields
        .filter(|line| line.starts_with("linux.resources."))
        .map(|line| line.split(" = ").next().unwrap_or_default().replace("[]", "[#]"))
        .collect();
    assert!(fields.len() > 40, "{fields:?}");
    for field in fields {
        let list = |row: &Row| row.at.trim_end_matches(".limit").trim_end_matches(".weight").to_owned();
        let has = |row: &Row| field == row.at || (row.at.contains(['#', '*']) && field.starts_with(&list(row)));
        assert!(rows().iter().any(has), "{field} has no row");
    }
    let mut places: Vec<&str> = rows().iter().map(|row| row.at).collect();
    places.sort_unstable();
    assert!(places.is_sorted_by(|a, b| a < b), "a field stands twice");
}

#[test]
fn shares_become_weights() {
    let vectors = [
        (2, 1),
        (3, 2),
        (10, 4),
        (50, 10),
        (100, 17),
        (102, 17),
        (128, 21),
        (200, 29),
        (256, 35),
        (512, 59),
        (1000, 99),
        (1024, 100),
        (1536, 138),
        (2048, 174),
        (4096, 303),
        (8192, 532),
        (10240, 639),
        (65536, 3023),
        (100_000, 4340),
        (262_144, 10000),
        (1, 1),
        (u64::MAX, 10000),
    ];
    for (shares, weight) in vectors {
        let resources = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
        assert_eq!(files(&resources, &v2()).0, [format!("cpu.weight={weight}")], "{shares}");
        assert_eq!(asked(&resources, &v2(), 257).0, [format!("CPUWeight=t {weight}")], "{shares}");
    }
}

#[test]
fn block_io_weights_scale() {
    for (weight, scaled) in [(10, 1), (100, 910), (300, 2930), (500, 4950), (750, 7475), (1000, 10000)] {
        let (writes, _) = files(&format!(r#"{{"blockIO":{{"weight":{weight}}}}}"#), &v2());
        assert_eq!(writes, [format!("io.bfq.weight={weight} or io.weight={scaled}")]);
    }
}

/// What a systemd does not have yet is the files' alone.
#[test]
fn properties_have_a_first_version() {
    let cases = [
        (r#"{"cpu":{"period":50000}}"#, 242, "CPUQuotaPeriodUSec"),
        (r#"{"cpu":{"cpus":"0"}}"#, 244, "AllowedCPUs"),
        (r#"{"cpu":{"mems":"0"}}"#, 244, "AllowedMemoryNodes"),
        (r#"{"cpu":{"idle":1}}"#, 252, "CPUWeight"),
        (r#"{"unified":{"cpu.max":"max 50000"}}"#, 242, "CPUQuotaPeriodUSec"),
        (r#"{"unified":{"cpuset.cpus":"0"}}"#, 244, "AllowedCPUs"),
        (r#"{"unified":{"cpuset.mems":"0"}}"#, 244, "AllowedMemoryNodes"),
        (r#"{"unified":{"cpu.idle":"1"}}"#, 252, "CPUWeight"),
        (r#"{"unified":{"memory.min":"1"}}"#, 240, "MemoryMin"),
    ];
    for (resources, since, name) in cases {
        let has = |version| {
            let (lines, problems) = asked(resources, &v2(), version);
            assert_eq!(problems, []);
            lines.iter().any(|line| line.starts_with(&format!("{name}=")))
        };
        assert_eq!((has(since - 1), has(since)), (false, true), "{resources}");
    }
    // Without the weight 0 the other one counts.
    let both = r#"{"unified":{"cpu.idle":"1","cpu.weight":"5"}}"#;
    assert_eq!(asked(both, &v2(), 251), (vec!["CPUWeight=t 5".to_owned()], vec![]));
}

/// A whole number of percents, never less than asked for; the files have the same.
#[test]
fn the_quota_is_rounded_as_systemd_does() {
    let cases = [
        // quota, period, per second, the files' quota
        (5000, 10_000, 500_000, 5000),
        (1, 100_000, 10_000, 1000),
        (12_345, 100_000, 130_000, 13_000),
        (3000, 10_000, 300_000, 3000),
        (33_333, 50_000, 670_000, 33_500),
        (250_000, 100_000, 2_500_000, 250_000),
        (1001, 1000, 1_010_000, 1010),
        (1000, 999_999, 10_000, 9999),
        (i64::MAX, 100_000, u64::MAX, i64::MAX),
    ];
    for (quota, period, per_second, rounded) in cases {
        let resources = |quota| format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#);
        let per_second = if per_second == u64::MAX { "infinity".to_owned() } else { per_second.to_string() };
        for quota in [quota, rounded] {
            let asked = asked(&resources(quota), &v2(), 257).0;
            assert_eq!(asked.last(), Some(&format!("CPUQuotaPerSecUSec=t {per_second}")), "{quota} of {period}");
        }
        let files = as_systemd_rounds(&serde_json::from_str(&resources(quota)).unwrap());
        assert_eq!(files.cpu().as_ref().and_then(|cpu| cpu.quota()), Some(rounded), "{quota} of {period}");
    }
    for same in [r#"{"cpu":{"quota":-1}}"#, r#"{"cpu":{"quota":0}}"#, r#"{"cpu":{"period":7}}"#, "{}"] {
        let given: LinuxResources = serde_json::from_str(same).unwrap();
        assert_eq!(as_systemd_rounds(&given), given);
    }
    let host = Host { cgroups: v2(), manager: Some(manager(257)), ..Host::privileged() };
    let spec = crate::plan::cgroup::tests::spec(r#"{"resources":{"cpu":{"quota":12345}}}"#);
    let plan = crate::plan::cgroup::plan("c1", &spec, &host, &mut Vec::new());
    assert_eq!(plan.writes.first().map(|w| w.value.as_str()), Some("13000 100000"));
}

#[test]
fn lists_of_cpus_become_bits() {
    let bytes = |list: &str| match cpu::bits(list) {
        Ok(value) => typed(&value),
        Err(text) => text,
    };
    for (list, bits) in [
        ("0", "ay 1"),
        ("0-3", "ay 15"),
        ("8", "ay 0 1"),
        ("0-2,8-9", "ay 7 3"),
        (" 1 , 2 \n", "ay 6"),
        ("1,,1", "ay 2"),
        ("5-5", "ay 32"),
    ] {
        assert_eq!(bytes(list), bits, "{list}");
    }
    for list in ["", ",", "x", "1-", "-1", "3-1", "0-1-2", "8192", "0-99999999", "0:2", "0-10:1/2"] {
        assert!(bytes(list).contains("is no list of numbers"), "{list}: {}", bytes(list));
    }
}
