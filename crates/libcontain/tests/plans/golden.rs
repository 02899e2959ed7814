//! What is planned, as text in files: a change of behaviour is a change in the diff that a reviewer reads.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use libcontain::plan::{Request, plan};
use libcontain::spec::Spec;
use libcontain::{Host, Problem};

use crate::configs::{CONFIGS, config_on, parse, request};
use crate::hosts::{HOSTS, hybrid, v2};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(format!("{name}.plan"))
}

/// A plan as `cntr plan` prints it, or every reason why there is none.
fn text(request: &Request<'_>, config: &Spec, host: &Host) -> String {
    let listed =
        |problems: Vec<Problem>| problems.iter().fold(String::new(), |text, p| text + &format!("{:?} {p}\n", p.level));
    plan(request, config, host).map_or_else(listed, |plan| plan.to_string())
}

/// Compares with the file, or writes it. Returns what to say about a difference.
fn compare(name: &str, text: &str) -> Option<String> {
    let path = file(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
        return None;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    (golden != text).then(|| format!("{}:\n{}", path.display(), diff(&golden, text)))
}

/// The lines that differ, with one line around them: `-` is what the file has, `+` what was planned.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // Longest common subsequence, from the end: a plan has some hundred lines.
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let skip = common[i + 1][j].max(common[i][j + 1]);
            common[i][j] = if body(old[i]) == body(new[j]) { common[i + 1][j + 1] + 1 } else { skip };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && body(old[i]) == body(new[j]) {
            lines.push((' ', new[j]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let near = |n: usize| lines[n.saturating_sub(1)..lines.len().min(n + 2)].iter().any(|(mark, _)| *mark != ' ');
    let shown = lines.iter().enumerate().filter(|(n, _)| near(*n));
    shown.fold(String::new(), |mut text, (_, (mark, line))| {
        let _ = writeln!(text, "  {mark} {line}");
        text
    })
}

/// A line without the number of its step: one step more is one line in the diff and not a hundred.
fn body(line: &str) -> &str {
    line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start()
}

fn check(differences: &[String]) {
    assert!(differences.is_empty(), "{}\nUPDATE=1 rewrites the golden files.", differences.concat());
}

#[test]
#[cfg(target_arch = "x86_64")] // the size of a seccomp filter depends on it
fn what_is_planned_for_real_configs() {
    let mut differences = Vec::new();
    for (name, _, machines) in CONFIGS {
        for (machine, host) in HOSTS.iter().filter(|(machine, _)| machines.contains(machine)) {
            let text = text(&request(), &config_on(name, machine), &host());
            differences.extend(compare(&format!("{name}.{machine}"), &text));
        }
    }
    check(&differences);
}

#[test]
fn what_the_caller_asks_for_besides_the_config() {
    let asked = Request { no_pivot: true, no_new_keyring: true, preserve_fds: 2, wait_for_start: false, ..request() };
    let first = text(&asked, &parse(include_str!("spec.json")), &hybrid());
    let mut differences: Vec<_> = compare("spec-run-no-pivot-preserve-fds.hybrid", &first).into_iter().collect();
    let sockets = Request {
        listen_fds: 2,
        listen_fd_names: Some("a:b"),
        notify_dir: Some(Path::new("/run/cntr/c1/notify")),
        preserve_fds: 1,
        ..request()
    };
    for (name, config) in [("spec", include_str!("spec.json")), ("userns", include_str!("userns.json"))] {
        differences.extend(compare(&format!("spec-run-sockets-{name}.v2"), &text(&sockets, &parse(config), &v2())));
    }
    check(&differences);
}

#[test]
fn every_golden_file_belongs_to_a_case() {
    let files =
        |(name, _, machines): &(&str, _, &[&str])| machines.iter().map(move |m| format!("{name}.{m}.plan")).collect();
    let cases: Vec<String> = CONFIGS.iter().flat_map::<Vec<_>, _>(files).collect();
    for entry in std::fs::read_dir(file("x").parent().unwrap()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stale = name.ends_with(".plan") && !name.starts_with("spec-run-") && !cases.contains(&name);
        assert!(!stale, "{name} is of no case");
    }
}

#[test]
fn equal_input_gives_an_equal_plan() {
    for (name, ..) in CONFIGS {
        for (machine, host) in HOSTS {
            let made = || plan(&request(), &config_on(name, machine), &host());
            // parsed twice: the maps of a config have another order each time
            let (first, second) = (made(), made());
            assert_eq!(first, second, "{name} on {machine}");
        }
    }
}

#[test]
fn a_difference_is_shown_with_little_around_it() {
    let old = "  0     a   one\n  1     b   two\n  2     c   three\n  3     d   four\n";
    let new = "  0     a   one\n  1     x   new\n  2     b   two\n  3     c   three\n  4     d   4\n";
    let shown = diff(old, new);
    assert_eq!(shown.lines().filter(|l| l.starts_with("  + ")).count(), 2, "{shown}");
    assert_eq!(shown.lines().filter(|l| l.starts_with("  - ")).count(), 1, "{shown}");
    assert!(shown.contains("+   1     x   new"), "{shown}");
    assert!(diff(old, old).is_empty());
}
