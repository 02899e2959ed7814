//! How a process ended, in words: those of Go, which stand in runc's messages and which their readers know.
//!
//! Owns the names of the signals that end a process. Data only; also the child may use it.

use rustix::process::WaitIdStatus;

/// What `exec.ExitError` says of it after `signal: `. `None` for a real-time signal: those have numbers only.
pub(crate) fn signal(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        libc::SIGSTKFLT => "stack fault",
        libc::SIGXCPU => "CPU time limit exceeded",
        libc::SIGXFSZ => "file size limit exceeded",
        libc::SIGVTALRM => "virtual timer expired",
        libc::SIGPROF => "profiling timer expired",
        libc::SIGIO => "I/O possible",
        libc::SIGPWR => "power failure",
        libc::SIGSYS => "bad system call",
        _ => return None,
    })
}

/// `exit status 1`, `signal: killed`.
pub(crate) fn describe(status: &WaitIdStatus) -> String {
    if let Some(code) = status.exit_status() {
        return format!("exit status {code}");
    }
    let number = status.terminating_signal().unwrap_or(0);
    let name = signal(number).map_or_else(|| format!("signal {number}"), str::to_owned);
    format!("signal: {name}{}", if status.dumped() { DUMPED } else { "" })
}

/// Behind the name of a signal upon which the kernel has written a core.
pub(crate) const DUMPED: &str = " (core dumped)";

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    /// A name that is missing would be a number in the message. Those of the others end nothing (signal(7)).
    #[test]
    fn signals_that_end_a_process_have_names() {
        let ignored = [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH];
        let stopping = [libc::SIGCONT, libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        for number in 1..=31 {
            let ends = !ignored.contains(&number) && !stopping.contains(&number);
            assert_eq!(signal(number).is_some(), ends, "{number}");
        }
        assert_eq!((signal(9), signal(34)), (Some("killed"), None));
    }

    #[test]
    fn endings_are_worded_as_go_does() {
        for (script, words) in [
            ("exit 3", "exit status 3"),
            ("ulimit -c 0; kill -SYS $$", "signal: bad system call"),
            ("kill -34 $$", "signal: signal 34"),
        ] {
            let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pid = WaitId::Pid(rustix::process::Pid::from_child(&child));
            let status = waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap().unwrap();
            child.wait().unwrap();
            assert_eq!(describe(&status), words, "{script}");
        }
    }
}
