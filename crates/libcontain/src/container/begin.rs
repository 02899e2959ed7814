//! The begin of the program, which poststart hooks come after.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Container;
use crate::state::process_stat;

/// What neither waits for anything nor ends is not waited for any longer.
const LIMIT: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(1);

impl Container {
    /// Until init sleeps or has ended. When execve(2) has succeeded, the program has not done anything yet: a hook that is
    /// called "after the user-specified process is executed" (runtime.md#lifecycle) would be as fast as the program, and
    /// find what that makes first or not (runtime-tools' `poststart`). No event of the kernel's says so; only those who have
    /// such hooks wait.
    pub(super) fn let_init_begin(&self) {
        let until = Instant::now() + LIMIT;
        let own = |start| start == self.record.init_process_start;
        let begins = || {
            process_stat(self.pid())
                .ok()
                .flatten()
                .is_some_and(|(letter, start)| own(start) && matches!(letter, b'R' | b'D'))
        };
        while begins() && Instant::now() < until {
            sleep(LOOK);
        }
    }
}
