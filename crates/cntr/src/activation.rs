//! Sockets that systemd, or who speaks as it does, opened for the program (sd_listen_fds(3)).
//!
//! They are this process's descriptors from 3 on, without close-on-exec, which an `execve(2)` would have closed. The
//! variables stay in this process's environment, which is never changed; what it starts is started without them.

use std::ffi::OsStr;

/// How many there are, and their names. None if the variables are for another process: they were inherited by accident.
pub fn sockets() -> (u32, Option<String>) {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(count) = variable("LISTEN_FDS") else { return (0, None) };
    let meant = variable("LISTEN_PID");
    let count = count_for(meant.as_deref(), &count, std::process::id());
    let names = variable("LISTEN_FDNAMES").filter(|_| count > 0);
    (count, names.and_then(|names| names.into_string().ok()))
}

fn count_for(meant: Option<&OsStr>, count: &OsStr, own: u32) -> u32 {
    let number = |text: &OsStr| text.to_str().and_then(|text| text.parse().ok());
    if meant.and_then(number) == Some(own) { number(count).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_counts() {
        for (meant, count, expected) in [
            (Some("7"), "2", 2),
            (Some("8"), "2", 0),
            (Some(""), "2", 0),
            (None, "2", 0),
            (Some("7"), "x", 0),
            (Some("7"), "-1", 0),
            (Some("7"), "4294967296", 0),
        ] {
            assert_eq!(count_for(meant.map(OsStr::new), OsStr::new(count), 7), expected, "{meant:?} {count}");
        }
    }
}
