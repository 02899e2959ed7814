//! Random edits of valid configs: whatever becomes of them, planning does not panic, gives the same answer twice, and
//! what it accepts is in order.

use std::cell::Cell;

use libcontain::plan::{Request, plan};
use libcontain::spec::Spec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::configs::{CONFIGS, request};
use crate::hosts::HOSTS;
use crate::rules::violations;

#[derive(Debug, Clone)]
enum Edit {
    Remove,
    Replace(usize),
    /// One more item equal to this one.
    Double,
    /// Changes place with a sibling.
    Swap(usize),
    /// The value at the same path, or anywhere, of another config.
    Borrow(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => Just(Edit::Remove),
        3 => any::<usize>().prop_map(Edit::Replace),
        2 => Just(Edit::Double),
        2 => any::<usize>().prop_map(Edit::Swap),
        3 => (any::<usize>(), any::<usize>()).prop_map(|(config, place)| Edit::Borrow(config, place)),
    ]
}

/// Values that sit on some boundary.
fn pool() -> Vec<Value> {
    let kinds = ["pid", "network", "ipc", "uts", "mount", "user", "cgroup", "time"];
    let texts = [
        "",
        "/",
        ".",
        "..",
        "../..",
        "/..",
        "a\0b",
        "/proc",
        "/proc/self/exe",
        "/dev",
        "/dev/ptmx",
        "/dev/null",
        "/sys/fs/cgroup",
        "ro",
        "rbind",
        "bind",
        "tmpfs",
        "proc",
        "cgroup",
        "shared",
        "rprivate",
        "size=1",
        "mode=",
        "=",
        "net.ipv4.x",
        "CAP_SYS_ADMIN",
        "\u{fffd}",
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(4095),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u32::MAX),
        json!(u64::MAX),
    ];
    let mut pool: Vec<Value> = texts.iter().map(|t| json!(t)).chain(numbers).collect();
    pool.extend([json!(true), json!(false), json!(null), json!([]), json!({}), json!("x".repeat(5000))]);
    pool.extend(kinds.map(|kind| json!({ "type": kind })));
    pool.extend(kinds.map(|kind| json!({ "type": kind, "path": format!("/proc/7/ns/{kind}") })));
    pool
}

/// JSON pointers of every value.
fn pointers(value: &Value, prefix: &str, all: &mut Vec<String>) {
    if !prefix.is_empty() {
        all.push(prefix.to_owned());
    }
    match value {
        Value::Object(map) => {
            let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
            map.iter().for_each(|(key, inner)| pointers(inner, &format!("{prefix}/{}", escaped(key)), all));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, inner)| pointers(inner, &format!("{prefix}/{i}"), all))
        }
        _ => {}
    }
}

fn pick<T>(list: &[T], number: usize) -> &T {
    &list[number % list.len()]
}

fn apply(config: &mut Value, place: usize, edit: &Edit) {
    let mut all = Vec::new();
    pointers(config, "", &mut all);
    if all.is_empty() {
        return;
    }
    let pointer = pick(&all, place).clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match edit {
        Edit::Replace(number) => {
            let value = config.pointer_mut(&pointer).unwrap();
            // Mostly of the same type: what does not parse is not planned.
            let same = |new: &Value| number % 16 == 0 || std::mem::discriminant(new) == std::mem::discriminant(value);
            let values: Vec<Value> = pool().into_iter().filter(same).collect();
            *value = pick::<Value>(&values, *number).clone();
        }
        Edit::Borrow(number, elsewhere) => {
            let other: Value = serde_json::from_str(pick(CONFIGS, *number).1).unwrap();
            let mut places = Vec::new();
            pointers(&other, "", &mut places);
            let found = other.pointer(&pointer).or_else(|| other.pointer(pick::<String>(&places, *elsewhere)));
            *config.pointer_mut(&pointer).unwrap() = found.unwrap().clone();
        }
        _ => match (config.pointer_mut(parent).unwrap(), edit) {
            (Value::Object(map), Edit::Remove) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
            (Value::Array(list), Edit::Remove) => drop(list.remove(key.parse().unwrap())),
            (Value::Array(list), Edit::Double) => list.push(list[key.parse::<usize>().unwrap()].clone()),
            (Value::Array(list), Edit::Swap(number)) => {
                let other = number % list.len();
                list.swap(key.parse().unwrap(), other);
            }
            _ => {}
        },
    }
}

#[test]
fn edited_configs_are_refused_or_planned_in_order() {
    let (refused, accepted) = (Cell::new(0u32), Cell::new(0u32));
    let edits = proptest::collection::vec((any::<usize>(), edit()), 1..6);
    let inputs = (0..CONFIGS.len(), 0..HOSTS.len(), edits, any::<[bool; 3]>(), 0..4u32);
    // Half of them do not parse, which is no business of the plan's.
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let outcome =
        runner.run(&inputs, |(number, machine, edits, [no_pivot, no_new_keyring, wait_for_start], preserve_fds)| {
            let (name, ..) = CONFIGS[number];
            let (machine, host) = HOSTS[machine];
            let mut config: Value = crate::configs::value(name, machine);
            for (place, edit) in &edits {
                apply(&mut config, *place, edit);
            }
            let Ok(spec) = serde_json::from_value::<Spec>(config.clone()) else { return Ok(()) };
            let asked = Request { no_pivot, no_new_keyring, wait_for_start, preserve_fds, ..request() };
            let first = plan(&asked, &spec, &host());
            let again: Spec = serde_json::from_value(config).unwrap();
            prop_assert_eq!(&first, &plan(&asked, &again, &host()), "{}: another plan the second time", name);
            match first {
                Ok(plan) => {
                    accepted.set(accepted.get() + 1);
                    prop_assert_eq!(violations(&plan), [""; 0], "{}:\n{}", name, plan);
                    prop_assert!(plan.steps.len() <= 4000, "{} steps", plan.steps.len());
                }
                Err(problems) => {
                    refused.set(refused.get() + 1);
                    prop_assert!(problems.iter().any(|p| p.level == libcontain::Level::Error && !p.text.is_empty()));
                }
            }
            Ok(())
        });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Most edits must get past the parser, or this test is about nothing.
    assert!(accepted.get() > 400 && refused.get() > 50, "{} accepted, {} refused", accepted.get(), refused.get());
}
