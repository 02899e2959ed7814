//! The printed form of the command table: `--help`, `help CMD` and the manual page.
//!
//! The shape (NAME, USAGE, OPTIONS; options as `--long value, -s value`) is the one that callers search for words.

use crate::args::{Command, Flag, Takes};
use crate::commands::{COMMANDS, GLOBAL};
use std::fmt::Write;

const ABOUT: &str = "Open Container Initiative runtime";

const HELP: Flag = Flag { long: "help", short: "h", takes: Takes::Bool, help: "show help" };

/// Help for the program itself.
pub fn program(name: &str, version: &str) -> String {
    let mut out = format!("NAME:\n   {name} - {ABOUT}\n\n");
    let _ = writeln!(out, "USAGE:\n   {name} [global options] command [command options] [arguments...]\n");
    let _ = writeln!(out, "VERSION:\n   {version}\n\nCOMMANDS:");
    let width = COMMANDS.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for command in COMMANDS {
        let _ = writeln!(out, "   {:width$}  {}", command.name, command.about);
    }
    let _ = writeln!(out, "   {:width$}  list the commands, or show the help of one\n\nGLOBAL OPTIONS:", "help, h");
    options(&mut out, GLOBAL);
    out
}

/// Help for one command.
pub fn command(name: &str, command: &Command) -> String {
    let mut out = format!("NAME:\n   {name} {} - {}\n\n", command.name, command.about);
    let _ = writeln!(out, "USAGE:\n   {name} {} [command options] {}", command.name, command.operands);
    if !command.text.is_empty() {
        let _ = writeln!(out, "\nDESCRIPTION:\n   {}", command.text.replace('\n', "\n   "));
    }
    out.push_str("\nOPTIONS:\n");
    options(&mut out, command.flags);
    out
}

fn options(out: &mut String, flags: &[Flag]) {
    let shown = || flags.iter().filter(|f| !f.help.is_empty()).chain([&HELP]);
    let width = shown().map(|f| spelling(f).len()).max().unwrap_or(0);
    for flag in shown() {
        let _ = writeln!(out, "   {:width$}  {}", spelling(flag), flag.help);
    }
}

fn spelling(flag: &Flag) -> String {
    let value = if flag.takes == Takes::Bool { "" } else { " value" };
    match flag.short {
        "" => format!("--{}{value}", flag.long),
        short => format!("--{}{value}, -{short}{value}", flag.long),
    }
}

/// The manual page, in man(7) macros.
pub fn manual(version: &str) -> String {
    let mut out = format!(".TH CNTR 8 \"\" \"cntr {version}\"\n.SH NAME\ncntr \\- {ABOUT}\n.SH SYNOPSIS\n");
    out.push_str(".B cntr\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR...]\n");
    out.push_str(".SH GLOBAL OPTIONS\n");
    manual_flags(&mut out, GLOBAL);
    out.push_str(".SH COMMANDS\n");
    for command in COMMANDS {
        let _ = writeln!(out, ".SS \"{} {}\"\n{}.", command.name, roff(command.operands), roff(command.about));
        if !command.text.is_empty() {
            let _ = writeln!(out, ".PP\n{}", roff(command.text));
        }
        manual_flags(&mut out, command.flags);
    }
    out
}

fn manual_flags(out: &mut String, flags: &[Flag]) {
    for flag in flags.iter().filter(|f| !f.help.is_empty()) {
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", roff(&spelling(flag)), roff(flag.help));
    }
}

/// Keeps text from being read as requests: backslashes, dashes, and lines that begin with a control character.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    escaped
        .lines()
        .map(|l| if l.starts_with(['.', '\'']) { format!("\\&{l}") } else { l.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_command_and_its_visible_flags() {
        let kill = COMMANDS.iter().find(|c| c.name == "kill").unwrap();
        let text = command("runc", kill);
        assert!(text.starts_with("NAME:\n   runc kill - send a signal"), "{text}");
        assert!(!text.contains("--all"), "hidden flag shown: {text}");
        let create = COMMANDS.iter().find(|c| c.name == "create").unwrap();
        let text = command("cntr", create);
        assert!(text.contains("\n   --bundle value, -b value  "), "{text}");
        assert!(text.contains("\n   --help, -h  "), "{text}");
    }

    #[test]
    fn every_command_is_listed() {
        let text = program("cntr", "1");
        let page = manual("1");
        for command in COMMANDS {
            assert!(text.contains(&format!("\n   {} ", command.name)), "{}", command.name);
            assert!(page.contains(&format!("\n.SS \"{} ", command.name)), "{}", command.name);
        }
    }
}
