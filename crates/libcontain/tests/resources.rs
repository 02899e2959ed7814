//! docs/resources.md against the table of resources: the page is printed from it. `UPDATE=1 cargo test -p libcontain --test
//! resources` rewrites it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::path::Path;

use libcontain::plan::cgroup::resources::{File, Row, Second, UnitProperty, rows};

const BEGIN: &str = "<!-- the table -->\n";
const END: &str = "<!-- end of the table -->\n";

fn file(file: Option<&File>) -> String {
    let Some(file) = file else { return "-".to_owned() };
    match file.second {
        Second::None => format!("`{}`", file.name),
        Second::Instead(second) => format!("`{}` / `{second}`", file.name),
        Second::Besides(second) => format!("`{}`, `{second}`", file.name),
    }
}

fn property(unit: Option<&UnitProperty>) -> String {
    let Some(unit) = unit else { return "-".to_owned() };
    let names: Vec<String> = unit.names.iter().map(|name| format!("`{name}`")).collect();
    let since = if unit.since == 0 { String::new() } else { format!(" ({})", unit.since) };
    format!("{}{since}", names.join(", "))
}

/// Devices are a program on v2, and `unified` names its files itself.
fn v2(row: &Row) -> String {
    match &row.v2 {
        Some(file) if file.name == "FILE" => "the file of that name".to_owned(),
        None if row.v1.as_ref().is_some_and(|file| file.controller == "devices") => "a device program".to_owned(),
        other => file(other.as_ref()),
    }
}

fn table() -> String {
    let mut text =
        "| `linux.resources.` | v1 | v2 | systemd on v1 | systemd on v2 | value |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for row in rows() {
        let field = row.at.trim_start_matches("linux.resources.").replace("[#]", "[]");
        let (on_v1, on_v2) = (property(row.unit_v1.as_ref()), property(row.unit_v2.as_ref()));
        let (v1, v2) = (file(row.v1.as_ref()), v2(row));
        writeln!(text, "| `{field}` | {v1} | {v2} | {on_v1} | {on_v2} | {} |", row.words).unwrap();
    }
    text
}

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/resources.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let printed = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, printed).unwrap();
    } else {
        assert!(page == printed, "{} is not what the table says: UPDATE=1 rewrites it", path.display());
    }
}

#[test]
fn every_row_says_what_its_value_is() {
    for row in rows() {
        assert!(!row.words.is_empty() && !row.words.contains(['|', '\n']) && !row.words.contains("  "), "{}", row.at);
    }
}
