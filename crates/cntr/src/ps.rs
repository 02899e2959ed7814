//! `ps`: the container's processes, as pids of the host or as rows of the host's `ps(1)`.

use crate::args::Parsed;
use crate::globals::{Globals, id};
use crate::{json, print};
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::process::Command;

/// Prints the processes; none is fine.
pub fn ps(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let pids = globals.runtime().container(&id(args.operand(0))?)?.pids()?;
    let format = args.value("format").map_or("table".into(), |f| f.to_string_lossy());
    let text = match &*format {
        "table" => rows(&host_ps(args.operands.get(1..).unwrap_or_default())?, &pids)?,
        "json" if pids.is_empty() => "null\n".to_owned(),
        "json" => json::compact(&pids)? + "\n",
        _ => bail!("invalid format option"),
    };
    print(&text).map(|()| 0)
}

fn host_ps(options: &[OsString]) -> anyhow::Result<String> {
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef")
    } else {
        command.args(options)
    };
    let output = command.output().context("ps")?;
    if !output.status.success() {
        bail!("ps: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The heading, and the rows whose PID column holds one of `pids`.
fn rows(output: &str, pids: &[u32]) -> anyhow::Result<String> {
    let mut lines = output.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|title| title == "PID") else {
        bail!("couldn't find PID field in ps output");
    };
    let mut out = format!("{heading}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: u32 = field.parse().with_context(|| format!("unable to parse pid {field:?} of ps output"))?;
        if pids.contains(&pid) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_the_pid_column() {
        let output = "UID   PID  PPID CMD\nroot    1     0 init 12\nroot   12     1 sh\n\n";
        assert_eq!(rows(output, &[12]).unwrap(), "UID   PID  PPID CMD\nroot   12     1 sh\n");
        assert_eq!(rows(output, &[]).unwrap(), "UID   PID  PPID CMD\n");
    }

    #[test]
    fn output_without_pids_is_refused() {
        assert_eq!(rows("CMD\nsh\n", &[1]).unwrap_err().to_string(), "couldn't find PID field in ps output");
        assert!(rows("PID\nsh\n", &[1]).is_err());
    }
}
