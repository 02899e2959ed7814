//! `list`: every container of a state root, as table, as ids or as JSON.

use crate::args::Parsed;
use crate::globals::{Globals, Origin};
use crate::{json, print};
use anyhow::{Context, bail};
use libcontain::{Container, State};
use std::io::Write;

/// Of the table, which is that of Go's text/tabwriter: cells grow with their longest text, never below this.
const CELL_MIN: usize = 12;
const CELL_GAP: usize = 3;

/// Prints the containers, sorted by id.
pub fn list(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let states = states(globals)?;
    let format = args.value("format").map_or("table".into(), |f| f.to_string_lossy());
    if args.is_set("quiet") {
        let ids: String = states.iter().map(|s| format!("{}\n", s.id)).collect();
        return print(&ids).map(|()| 0);
    }
    let text = match &*format {
        "table" => table(&states),
        "json" if states.is_empty() => "null\n".to_owned(),
        "json" => json::compact(&states)? + "\n",
        _ => bail!("invalid format option"),
    };
    print(&text).map(|()| 0)
}

/// A container that cannot be read, or that goes away meanwhile, does not keep the others from being shown.
fn states(globals: &Globals<'_>) -> anyhow::Result<Vec<State>> {
    if let Err(error) = std::fs::metadata(&globals.root) {
        if error.kind() == std::io::ErrorKind::NotFound && globals.origin != Origin::Given {
            return Ok(Vec::new());
        }
        return Err(error).with_context(|| format!("open {}", globals.root.display()));
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut states = Vec::new();
    for (id, container) in globals.runtime().containers()? {
        match container.and_then(|c| with_owner(&c, &users)) {
            Ok(state) => states.push(state),
            // Plain, as runc prints it; not an error entry.
            Err(error) => _ = writeln!(std::io::stderr(), "load container {id}: {error}"),
        }
    }
    Ok(states)
}

fn with_owner(container: &Container, users: &str) -> Result<State, libcontain::Error> {
    Ok(State { owner: user_name(users, container.owner()?), ..container.state()? })
}

/// /etc/passwd only: a static program has no NSS.
fn user_name(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let named = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    named.and_then(|line| line.split(':').next()).map_or(format!("#{uid}"), str::to_owned)
}

fn table(states: &[State]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(states.iter().map(|s| {
        [
            s.id.to_string(),
            s.pid.to_string(),
            s.status.to_string(),
            s.bundle.to_string(),
            s.created.to_string(),
            s.owner.to_string(),
        ]
    }));
    align(&rows)
}

/// All cells of a column get one width, except the last column's, which end the line.
fn align(rows: &[[String; 6]]) -> String {
    let mut widths = [CELL_MIN; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + CELL_GAP);
        }
    }
    let mut out = String::new();
    for [cells @ .., last] in rows {
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(&format!("{cell:width$}"));
        }
        out.push_str(last);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_table() {
        let expected = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(table(&[]), expected);
    }

    #[test]
    fn cells_are_twelve_wide_or_three_more_than_their_longest() {
        let rows = [
            ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
            ["ct1", "18271", "created", "/srv/exp/bundle", "2026-11-22T00:26:34.346705752Z", "root"],
            ["123456789", "1", "x", "ü", "y", "z"],
        ]
        .map(|row| row.map(str::to_owned));
        let expected = "\
ID          PID         STATUS      BUNDLE            CREATED                          OWNER
ct1         18271       created     /srv/exp/bundle   2026-11-22T00:26:34.346705752Z   root
123456789   1           x           ü                 y                                z
";
        assert_eq!(align(&rows), expected);
    }

    #[test]
    fn owners_have_names_or_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nbroken\n";
        assert_eq!(user_name(passwd, 0), "root");
        assert_eq!(user_name(passwd, 1), "daemon");
        assert_eq!(user_name(passwd, 1000), "#1000");
    }
}
