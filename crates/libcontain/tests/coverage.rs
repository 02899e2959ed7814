//! docs/spec-coverage.md against the list of the spec's fields (data/spec-fields.txt) and against the tests that exist: no
//! field without a line, no line without a field, and no line without a proof or a reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

const FIELDS: &str = include_str!("data/spec-fields.txt");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> String {
    std::fs::read_to_string(repository().join("docs/spec-coverage.md")).unwrap()
}

/// The names of the list.
fn fields() -> Vec<&'static str> {
    let lines = FIELDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(" = ").map_or(line, |(field, _)| field)).collect()
}

/// The rows of the document: field, how, Linux, proof.
fn rows(document: &str) -> Vec<[&str; 4]> {
    document.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

fn row(line: &str) -> [&str; 4] {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [field, how, linux, proof] = cells[..] else { panic!("{cells:?} are not four cells") };
    [field.trim_matches('`'), how, linux, proof]
}

/// `file::function` in a cell.
fn proofs(cell: &str) -> Vec<(&str, &str)> {
    cell.split('`').skip(1).step_by(2).filter_map(|word| word.rsplit_once("::")).collect()
}

/// Every Rust file of the crates with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut todo = vec![repository().join("crates")];
    let mut sources = Vec::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            sources.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    sources
}

/// Whether `text` has a test of this name: an ordinary one, or one of a property.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    lines.iter().enumerate().any(|(i, line)| {
        let attributes = lines[..i].iter().rev().take_while(|line| line.starts_with("#["));
        line.starts_with(&head) && attributes.clone().any(|line| line.starts_with("#[test]"))
    })
}

#[test]
fn every_field_has_a_line_and_every_line_a_field() {
    let document = document();
    let (listed, told): (Vec<&str>, Vec<&str>) = (fields(), rows(&document).iter().map(|row| row[0]).collect());
    let set = |names: &[&'static str]| names.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<String>>();
    let told_set: BTreeSet<String> = told.iter().map(|s| (*s).to_owned()).collect();
    assert_eq!(listed.len(), set(&listed).len(), "a field stands in the list twice");
    assert_eq!(told.len(), told_set.len(), "a field stands in the document twice");
    let missing: Vec<String> = set(&listed).difference(&told_set).cloned().collect();
    let foreign: Vec<String> = told_set.difference(&set(&listed)).cloned().collect();
    assert!(missing.is_empty() && foreign.is_empty(), "without a line: {missing:?}; without a field: {foreign:?}");
    assert!(listed.len() > 200, "{} fields", listed.len());
}

#[test]
fn every_line_has_a_proof_that_exists_or_a_reason() {
    let (document, sources) = (document(), sources());
    let mut faults = String::new();
    for [field, how, linux, proof] in rows(&document) {
        let mut fault = |text: &str| writeln!(faults, "{field}: {text}").unwrap();
        if [how, linux, proof].iter().any(|cell| cell.contains("TODO")) {
            fault("is yet to be done");
            continue;
        }
        if how.is_empty() {
            fault("does not say how it is applied");
        }
        if proofs(proof).is_empty() && !proof.starts_with("none: ") {
            fault("has neither a test nor a reason for having none");
        }
        for (file, name) in proofs(proof) {
            if !sources.iter().any(|(path, text)| path.ends_with(file) && has_test(text, name)) {
                fault(&format!("there is no test {file}::{name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// The members of a document, dotted; what is not an object is a leaf.
fn leaves(value: &Value, prefix: &str, names: &mut BTreeSet<String>) {
    match value {
        // annotations have names of anybody's
        Value::Object(members) if prefix != "annotations" => {
            for (name, inner) in members {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                leaves(inner, &path, names);
            }
        }
        _ => drop(names.insert(prefix.to_owned())),
    }
}

/// features.md: a member that is absent means "unknown", and this runtime knows itself.
#[test]
fn features_say_something_about_every_member() {
    let document = serde_json::to_value(libcontain::features::features("1.2.3", "abc")).unwrap();
    let mut told = BTreeSet::new();
    leaves(&document, "", &mut told);
    let listed: BTreeSet<String> =
        fields().iter().filter_map(|field| field.strip_prefix("features: ")).map(str::to_owned).collect();
    assert_eq!(told, listed);
}

/// The judges themselves.
#[test]
fn what_is_no_test_is_no_proof() {
    let text = "#[test]\nfn a() {}\n\nfn b() {}\n#[test]\n#[cfg(x)]\nfn c() {}\nfn ab() {}\n";
    assert_eq!(["a", "b", "c", "d", "ab"].map(|name| has_test(text, name)), [true, false, true, false, false]);
    assert_eq!(proofs("`x/y.rs::f`, `z.rs::g`; because of `w`"), [("x/y.rs", "f"), ("z.rs", "g")]);
    assert_eq!(rows("| `a.b[]` | how |  | `x::y` |\ntext\n| field |\n"), [["a.b[]", "how", "", "`x::y`"]]);
}
