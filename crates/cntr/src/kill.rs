//! `kill`: which signal is meant, and whom it concerns.

use crate::args::Parsed;
use crate::globals::{Globals, id};
use anyhow::bail;
use libcontain::Kind;
use nix::sys::signal::Signal;
use std::str::FromStr;

/// Where glibc's SIGRTMIN and SIGRTMAX are: it keeps 32 and 33 for itself, and so does every shell's `kill`.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Sends a signal to a container's init.
pub fn kill(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let container = globals.runtime().container(&id(args.operand(0))?)?;
    let name = args.operand(1).to_string_lossy();
    let Some(signal) = signal(&name) else { bail!("unknown signal \"{name}\"") };
    match container.kill(signal) {
        // Callers that say --all are clearing up: what is gone already is fine.
        Err(error) if error.kind() == Kind::NotRunning && args.is_set("all") => Ok(0),
        other => other.map(|()| 0).map_err(Into::into),
    }
}

/// A number is taken as it is (the kernel judges it), a name in any case and with or without `SIG`; nothing is TERM.
fn signal(name: &str) -> Option<i32> {
    if name.is_empty() {
        return Some(Signal::SIGTERM as i32);
    }
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    real_time(bare).or_else(|| Signal::from_str(&format!("SIG{bare}")).ok().map(|s| s as i32))
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`: crun knows them, runc does not.
fn real_time(bare: &str) -> Option<i32> {
    let number = match bare.strip_prefix("RTMIN") {
        Some("") => RTMIN,
        Some(more) => RTMIN + more.strip_prefix('+')?.parse::<u8>().map(i32::from).ok()?,
        None => match bare.strip_prefix("RTMAX")? {
            "" => RTMAX,
            less => RTMAX - less.strip_prefix('-')?.parse::<u8>().map(i32::from).ok()?,
        },
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (name, expected) in [
            ("", Some(15)),
            ("9", Some(9)),
            ("-9", Some(-9)),
            ("64", Some(64)),
            ("0", Some(0)),
            ("KILL", Some(9)),
            ("SIGKILL", Some(9)),
            ("sigusr1", Some(10)),
            ("Stkflt", Some(16)),
            ("SYS", Some(31)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("rtmax-1", Some(63)),
            ("RTMAX", Some(64)),
            ("RTMIN+31", None),
            ("RTMIN3", None),
            ("RTMAX-31", None),
            ("IOT", None),
            ("POLL", None),
            ("SIG", None),
            ("SIGSIGKILL", None),
            ("FOO", None),
            ("9x", None),
        ] {
            assert_eq!(signal(name), expected, "{name:?}");
        }
    }

    #[test]
    fn all_classic_names_are_known() {
        let names = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP \
                     TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";
        let numbers: Vec<i32> = names.split_whitespace().map(|n| signal(n).unwrap()).collect();
        assert_eq!(numbers, (1..=31).collect::<Vec<i32>>());
    }
}
