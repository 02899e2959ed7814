use proptest::prelude::*;

use super::*;

fn rules(json: &str) -> Vec<LinuxDeviceCgroup> {
    serde_json::from_str(json).unwrap()
}

fn planned(json: &str) -> (Policy, Vec<Problem>) {
    let mut problems = Vec::new();
    let policy = policy(&rules(json), &mut problems);
    (policy, problems)
}

/// What the policy says, in the words of the kernel's devices controller.
pub(super) fn reference(p: &Policy, kind: Kind, major: u32, minor: u32, access: Access) -> bool {
    let speaks =
        |e: &&Exception| e.kind == kind && e.major.is_none_or(|m| m == major) && e.minor.is_none_or(|m| m == minor);
    if p.allow {
        !p.exceptions.iter().filter(speaks).any(|e| e.access.overlaps(access))
    } else {
        p.exceptions.iter().filter(speaks).any(|e| access.without(e.access).is_empty())
    }
}

/// The program in an interpreter; `None` when there is nothing to run.
fn compiled(p: &Policy) -> Option<Vec<u8>> {
    let program = p.program().unwrap()?;
    assert!(reachable(&program), "{:x?}", program.bytes());
    Some(program.bytes().concat())
}

fn execute(code: Option<&Vec<u8>>, kind: Kind, major: u32, minor: u32, access: Access) -> bool {
    let Some(code) = code else { return true };
    let kind: u32 = if kind == Kind::Block { 1 } else { 2 };
    let mut request = [kind | u32::from(access.bits()) << 16, major, minor].map(u32::to_ne_bytes).concat();
    rbpf::EbpfVmRaw::new(Some(code)).unwrap().execute_program(&mut request).unwrap() == 1
}

fn run(p: &Policy, kind: Kind, major: u32, minor: u32, access: Access) -> bool {
    execute(compiled(p).as_ref(), kind, major, minor, access)
}

/// The kernel's check_cfg: no instruction that no path leads to.
fn reachable(program: &Program) -> bool {
    let code = program.bytes();
    let mut seen = vec![false; code.len()];
    let mut todo = vec![0usize];
    while let Some(i) = todo.pop() {
        if std::mem::replace(&mut seen[i], true) {
            continue;
        }
        let off = usize::try_from(i16::from_ne_bytes([code[i][2], code[i][3]])).unwrap();
        match code[i][0] {
            0x95 => {}
            0x05 => todo.push(i + 1 + off),
            0x18 => {
                seen[i + 1] = true;
                todo.push(i + 2);
            }
            op if op & 7 == 5 => todo.extend([i + 1, i + 1 + off]),
            _ => todo.push(i + 1),
        }
    }
    seen.iter().all(|s| *s)
}

const DENY_ALL: &str = r#"[{"allow":false,"access":"rwm"}]"#;

#[test]
fn the_default_rules_are_runcs() {
    let (p, problems) = planned(DENY_ALL);
    assert_eq!(problems, []);
    let lines: Vec<String> = p.lines().iter().map(|(file, line)| format!("{file} {line}")).collect();
    let expected = [
        "devices.deny a",
        "devices.allow c *:* m",
        "devices.allow b *:* m",
        "devices.allow c 1:3 rwm",
        "devices.allow c 1:8 rwm",
        "devices.allow c 1:7 rwm",
        "devices.allow c 5:0 rwm",
        "devices.allow c 1:5 rwm",
        "devices.allow c 1:9 rwm",
        "devices.allow c 136:* rwm",
        "devices.allow c 5:2 rwm",
        "devices.allow c 10:200 rwm",
    ];
    assert_eq!(lines, expected);
    assert_eq!(planned("[]").0, p, "no rules at all deny as well");
    let len = p.program().unwrap().unwrap().len();
    assert!(len <= 24, "{len} instructions");
}

#[test]
fn default_rules_answer_as_runcs() {
    let (p, _) = planned(DENY_ALL);
    let cases = [
        (Kind::Char, 1, 3, "rw", true),
        (Kind::Char, 1, 3, "rwm", true),
        (Kind::Char, 1, 4, "r", false),
        (Kind::Char, 1, 4, "m", true),
        (Kind::Char, 1, 4, "rm", false),
        (Kind::Block, 8, 0, "m", true),
        (Kind::Block, 8, 0, "r", false),
        (Kind::Block, 1, 3, "r", false),
        (Kind::Char, 136, 77, "rwm", true),
        (Kind::Char, 10, 200, "rw", true),
        (Kind::Char, 10, 229, "rw", false),
        (Kind::Char, 1, 67, "r", false),
        (Kind::Char, 1, 3 + (1 << 31), "r", false),
    ];
    for (kind, major, minor, access, expected) in cases {
        let access = Access::parse(access).unwrap();
        assert_eq!(run(&p, kind, major, minor, access), expected, "{kind:?} {major}:{minor} {access}");
    }
}

#[test]
fn rules_edit_exceptions() {
    let cases = [
        (r#"{"allow":true,"type":"c","major":7,"minor":7,"access":"r"}"#, "c 7:7 r", true),
        (
            r#"{"allow":true,"type":"c","major":7,"minor":7,"access":"r"},{"allow":true,"type":"c","major":7,"minor":7,"access":"wr"}"#,
            "c 7:7 rw",
            true,
        ),
        (
            r#"{"allow":true,"type":"b","major":7,"minor":7,"access":"rwm"},{"allow":false,"type":"b","major":7,"minor":7,"access":"w"}"#,
            "b 7:7 rm",
            true,
        ),
        (
            r#"{"allow":true,"type":"b","major":7,"access":"rw"},{"allow":false,"type":"b","major":7,"minor":-1,"access":"rw"}"#,
            "b 7:* ",
            false,
        ),
        (r#"{"allow":true,"type":"b","major":7,"access":"rw"},{"allow":false,"access":"rwm"}"#, "b 7:* ", false),
    ];
    for (rules, line, present) in cases {
        let (p, problems) = planned(&format!("[{rules}]"));
        assert_eq!(problems, [], "{rules}");
        assert_eq!(p.lines().iter().any(|(_, l)| l.starts_with(line)), present, "{rules}: {:?}", p.lines());
    }
}

#[test]
fn everything_allowed_takes_no_program() {
    let (p, problems) = planned(r#"[{"allow":true,"access":"rwm"}]"#);
    assert_eq!((p.program().unwrap(), problems.len()), (None, 0));
    assert_eq!(p.lines(), [("devices.allow", "a".to_owned())]);
    let both = r#"[{"allow":true,"type":"c","access":"rwm"},{"allow":true,"type":"b","access":"rwm"}]"#;
    assert_eq!(planned(both).0.program().unwrap(), None);
}

#[test]
fn a_denied_bit_denies_the_whole_request() {
    let p = Policy { allow: true, exceptions: vec![Exception::char(Some(10), Some(229), Access::WRITE)] };
    assert!(run(&p, Kind::Char, 10, 229, Access::READ));
    assert!(!run(&p, Kind::Char, 10, 229, Access::READ.union(Access::WRITE)));
}

#[test]
fn wrong_rules_are_named() {
    let cases = [
        (
            r#"{"allow":true,"type":"c","access":""}"#,
            "linux.resources.devices[0].access",
            "device access at 0 field cannot be empty",
        ),
        (
            r#"{"allow":true,"type":"c"}"#,
            "linux.resources.devices[0].access",
            "device access at 0 field cannot be empty",
        ),
        (r#"{"allow":true,"type":"c","access":"x"}"#, "linux.resources.devices[0].access", "letters"),
        (
            r#"{"allow":true,"type":"p","access":"r"}"#,
            "linux.resources.devices[0].type",
            "invalid cgroup device type \"p\"",
        ),
        (
            r#"{"allow":true,"type":"c","major":-2,"access":"r"}"#,
            "linux.resources.devices[0].major",
            "no device number",
        ),
        (
            r#"{"allow":true,"type":"c","minor":4294967296,"access":"r"}"#,
            "linux.resources.devices[0].minor",
            "no device number",
        ),
        (
            r#"{"allow":true,"type":"c","major":9,"access":"rw"},{"allow":false,"type":"c","major":9,"minor":1,"access":"w"}"#,
            "linux.resources.devices[1]",
            "requested rule [c 9:1 w] not supported by devices cgroupv1 (cannot punch hole in existing wildcard rule [c 9:* rw])",
        ),
        (
            r#"{"allow":true,"access":"rwm"},{"allow":false,"type":"c","access":"r"}"#,
            "linux.resources.devices",
            "cannot punch hole",
        ),
    ];
    for (rules, at, text) in cases {
        let (_, problems) = planned(&format!("[{rules}]"));
        let found = problems.iter().any(|p| p.at.to_string() == at && p.text.contains(text));
        assert!(found, "{rules}: {problems:?}");
    }
    let (_, problems) = planned(r#"[{"allow":true,"type":"a","major":1,"access":"rwm"}]"#);
    assert!(problems.iter().all(|p| p.level == crate::error::Level::Warning) && problems.len() == 1);
}

#[test]
fn letters_that_mean_nothing_are_passed_over() {
    let rules = |access: &str| format!(r#"[{{"allow":true,"type":"c","major":7,"minor":7,"access":"{access}"}}]"#);
    let (policy, problems) = planned(&rules("rwa"));
    assert!(policy.lines().contains(&("devices.allow", "c 7:7 rw".to_owned())), "{policy:?}");
    let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(told.starts_with("linux.resources.devices[0].access: \"rwa\" must consist of the letters"), "{told}");
    assert!(problems.len() == 1 && problems.iter().all(|p| p.level == crate::error::Level::Warning), "{told}");
    assert!(planned(&rules("wr")).1.is_empty());
}

#[test]
fn a_program_too_long_to_jump_over_is_an_error() {
    let exceptions = (0..40_000).map(|i| Exception::char(Some(i), Some(i), Access::ALL)).collect();
    let p = Policy { allow: false, exceptions };
    assert!(p.program().unwrap_err().contains("too many device rules"));
}

/// A policy with few numbers, so that exceptions meet.
pub(super) fn any_policy() -> impl Strategy<Value = Policy> {
    let number = || prop_oneof![1 => Just(None), 3 => (0u32..3).prop_map(Some)];
    let one = (any::<bool>(), number(), number(), 1u8..8).prop_map(|(block, major, minor, access)| Exception {
        kind: if block { Kind::Block } else { Kind::Char },
        major,
        minor,
        access: Access(access),
    });
    (any::<bool>(), prop::collection::vec(one, 0..6)).prop_map(|(allow, list)| {
        let mut policy = Policy { allow, exceptions: Vec::new() };
        list.into_iter().for_each(|e| policy.add(e).unwrap());
        policy
    })
}

/// What a line written to the kernel's devices controller makes of a policy.
pub(super) fn simulated(policy: &Policy, file: &str, line: &str) -> Policy {
    let allow = file == "devices.allow";
    if line == "a" {
        return Policy { allow, exceptions: Vec::new() };
    }
    let (mut after, rule) = (policy.clone(), Policy::listed(line).unwrap().exceptions[0]);
    if allow != policy.allow {
        after.add(rule).unwrap();
    } else if let Some(e) = after.exceptions.iter_mut().find(|e| e.same_device(&rule)) {
        e.access = e.access.without(rule.access);
    }
    after.exceptions.retain(|e| !e.access.is_empty());
    after
}

fn exception() -> impl Strategy<Value = Exception> {
    let number = || prop_oneof![1 => Just(None), 4 => (0u32..5).prop_map(Some), 3 => (0u32..200).prop_map(Some), 1 => any::<u32>().prop_map(Some)];
    let minor = prop_oneof![number(), (0u32..80).prop_map(Some)];
    (any::<bool>(), number(), minor, 1u8..8).prop_map(|(block, major, minor, access)| Exception {
        kind: if block { Kind::Block } else { Kind::Char },
        major,
        minor,
        access: Access(if access == 6 { 7 } else { access }),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn the_program_says_what_the_rules_say(
        start in any::<bool>(),
        rules in prop::collection::vec((exception(), prop::bool::weighted(0.8)), 0..60),
        one_major in any::<bool>(),
        probes in prop::collection::vec(exception(), 40),
    ) {
        let mut p = Policy { allow: start, exceptions: Vec::new() };
        for (mut rule, add) in rules.iter().copied() {
            if one_major && rule.major.is_some() {
                rule.major = Some(3); // Many minors in one group: the bitmaps.
            }
            let _ = p.apply(rule, add != start);
        }
        let code = compiled(&p);
        for probe in p.exceptions.iter().chain(&probes) {
            for (major, minor) in [(0, 0), (0, 1), (1, 0)].map(|(a, b)| (probe.major.unwrap_or(7).wrapping_add(a), probe.minor.unwrap_or(7).wrapping_add(b))) {
                for access in 0..8 {
                    let expected = reference(&p, probe.kind, major, minor, Access(access));
                    prop_assert_eq!(execute(code.as_ref(), probe.kind, major, minor, Access(access)), expected, "{:?} {}:{} {}", p, major, minor, access);
                }
            }
        }
    }
}
